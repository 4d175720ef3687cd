"""Forward against reverse, measured: how long each mode takes for a function, whether they agree, and why one is faster."""

from __future__ import annotations

import functools
import html
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fad import tree
from fad.core.expr import Const, Expr
from fad.transforms.cost import Cost, costs
from fad.transforms.derivatives import open_arguments, split_aux
from fad.transforms.jacobians import jacfwd, jacrev
from fad.transforms.trace import Trace
from fad.transforms.transformed import name_of

__all__ = ["compare_modes", "ModeReport"]


@dataclass(frozen=True)
class ModeReport:
    """Forward and reverse mode of one function at one point; prints as a table, `plot` draws the model."""

    name: str
    inputs: int
    outputs: int
    forward: Cost
    reverse: Cost
    forward_seconds: float
    reverse_seconds: float
    pace: float
    difference: float
    relative: float
    ulp: float
    tolerance: float

    @property
    def winner(self) -> str:
        """The faster mode, as measured."""
        return "forward" if self.forward_seconds <= self.reverse_seconds else "reverse"

    @property
    def predicted(self) -> str:
        """The mode `fad.jacobian` takes: the faster one by the cost model."""
        return "forward" if self.forward.seconds() <= self.reverse.seconds() else "reverse"

    def predicted_seconds(self, mode: str, passes: int | None = None) -> float:
        """The model's time for a mode on this machine, for this many passes."""
        return self.pace * getattr(self, mode).seconds(passes)

    @property
    def agree(self) -> bool:
        """Whether the two Jacobians are equal up to rounding."""
        return self.difference <= self.tolerance  # false for NaN

    @property
    def why(self) -> str:
        """One sentence on the winner, from the rows of the table."""
        fast, slow = sorted((self.forward_seconds, self.reverse_seconds))
        won = f"{self.winner} wins by {slow / max(fast, 1e-12):.1f}x"
        cheap, dear = sorted((self.forward, self.reverse), key=Cost.seconds)
        if dear.seconds() < 1.05 * cheap.seconds():
            return f"{won} as measured; the counts hardly differ"
        reason = _reason(cheap, dear)
        return f"{won}: {reason}" if self.winner == self.predicted else f"{won} as measured; {self.predicted} takes {reason}"

    def rows(self) -> list[tuple[str, str, str]]:
        """The table: what, forward, reverse."""
        f, r = self.forward, self.reverse
        predicted = self.predicted_seconds("forward"), self.predicted_seconds("reverse")
        return [
            ("passes", f"{f.passes:,}", f"{r.passes:,}"),
            ("operations", f"{f.nodes:,}", f"{r.nodes:,}"),
            ("flop per pass", f"{f.flops:,}", f"{r.flops:,}"),
            ("flop in all", f"{f.passes * f.flops:,}", f"{r.passes * r.flops:,}"),
            ("bytes in all", f"{f.passes * f.traffic:,}", f"{r.passes * r.traffic:,}"),
            ("peak residuals (bytes)", f"{f.residuals:,}", f"{r.residuals:,}"),
            ("predicted (ms)", f"{predicted[0] * 1e3:.3g}", f"{predicted[1] * 1e3:.3g}"),
            ("measured (ms)", f"{self.forward_seconds * 1e3:.3g}", f"{self.reverse_seconds * 1e3:.3g}"),
        ]

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.inputs} inputs, {self.outputs} outputs", f"{'':24}{'forward':>14}{'reverse':>14}"]
        lines += [f"{what:24}{a:>14}{b:>14}" for what, a, b in self.rows()]
        lines += [f"largest difference {self.difference:.2g} ({self.ulp:.2g} ulp, {self.relative:.2g} relative)", self.why]
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        cells = "".join(f"<tr><th>{what}</th><td>{a}</td><td>{b}</td></tr>" for what, a, b in self.rows())
        return (
            f"<table><caption>{html.escape(self.name)}: {self.inputs} inputs, {self.outputs} outputs</caption>"
            f"<tr><th></th><th>forward</th><th>reverse</th></tr>{cells}</table>"
            f"<p>Largest difference {self.difference:.2g} ({self.ulp:.2g} ulp). {html.escape(self.why)}.</p>"
        )

    def plot(self, axes: Any = None) -> Any:
        """Draw predicted time of both modes over the number of inputs and outputs, with this function marked.

        Returns the matplotlib axes: left, time over inputs; right, the faster mode over both sizes.
        """
        import matplotlib.pyplot as plt

        left, right = axes if axes is not None else plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")[1]
        top = max(10 * max(self.inputs, self.outputs), 100)
        sizes = np.unique(np.geomspace(1, top, 60).astype(int))
        ours = np.array([self.predicted_seconds("forward", int(n)) for n in sizes])
        theirs = np.array([self.predicted_seconds("reverse", int(n)) for n in sizes])
        left.loglog(sizes, ours * 1e3, color="C0", label="forward, n inputs")
        left.loglog(sizes, theirs * 1e3, color="C1", label="reverse, n outputs")
        left.plot(max(self.inputs, 1), self.forward_seconds * 1e3, "o", color="C0", label="measured here")
        left.plot(max(self.outputs, 1), self.reverse_seconds * 1e3, "o", color="C1")
        left.set(xlabel="passes n", ylabel="whole Jacobian (ms)", title="cost of a pass")
        left.legend(frameon=False)
        ratio = np.log2(ours[None, :] / theirs[:, None])
        limit = max(float(np.abs(ratio).max()), 1.0)
        mesh = right.pcolormesh(sizes, sizes, ratio, cmap="RdBu_r", vmin=-limit, vmax=limit, shading="nearest")
        right.plot(max(self.inputs, 1), max(self.outputs, 1), "k*", markersize=14, label=self.name)
        right.set(xscale="log", yscale="log", xlabel="inputs", ylabel="outputs", title="blue: forward wins, red: reverse wins")
        right.legend(loc="upper left")
        right.figure.colorbar(mesh, ax=right, label="log2(forward / reverse)")
        return left, right


def _reason(cheap: Cost, dear: Cost) -> str:
    """The row of the table that saves the cheaper mode most."""
    rows = [
        (dear.dispatch - cheap.dispatch, "operations", cheap.nodes, dear.nodes),
        (
            dear.passes * dear.arithmetic - cheap.passes * cheap.arithmetic,
            "flop in all",
            cheap.passes * cheap.flops,
            dear.passes * dear.flops,
        ),
        (
            dear.passes * dear.movement - cheap.passes * cheap.movement,
            "bytes in all",
            cheap.passes * cheap.traffic,
            dear.passes * dear.traffic,
        ),
    ]
    _, what, few, many = max(rows)
    return f"{few:,} {what} against {many:,}"


@functools.cache
def pace() -> float:
    """How long this machine takes for what the model counts as a second: measured once, in a few milliseconds."""

    def reference(x: Any) -> Any:
        for _ in range(6):
            x = np.sin(x) * x
        return x

    x = np.linspace(0.1, 1, 20)
    opened = Trace("pace", reference)
    inner, _ = open_arguments(opened, (x,), (0,))
    outputs = [opened.call(*inner)]
    counted = sum(cost.seconds() for cost in costs(opened.graph(outputs), opened.inputs, outputs))
    return sum(min(_times(jacobian(reference), (x,), {}, 7)[1]) for jacobian in (jacfwd, jacrev)) / counted


def compare_modes(f: Callable, *args: Any, repeats: int = 5, has_aux: bool = False, **kwargs: Any) -> ModeReport:
    """Differentiate f at args in both modes and report agreement, passes, flops, memory and time of each.

    Args:
        f: function of float arrays or pytrees of them with float results; with ``has_aux`` it returns (y, aux).
        repeats: timings taken of each mode; the median counts.

    >>> report = compare_modes(lambda x: np.sin(x).sum(), np.ones(50))
    >>> report.forward.passes, report.reverse.passes, report.agree
    (50, 1, True)
    """
    everything = tuple(range(len(args)))
    opened = Trace("compare_modes", f)
    inner, _ = open_arguments(opened, args, everything)
    y, _ = split_aux(opened.call(*inner, **kwargs), has_aux)
    outputs = [y if isinstance(y, Expr) else Const(y) for y in tree.leaves(y)]
    forward, reverse = costs(opened.graph(outputs), opened.inputs, outputs)
    n_in, n_out = sum(x.size for x in opened.inputs), sum(y.size for y in outputs)
    a, forward_times = _times(jacfwd(f, everything, has_aux), args, kwargs, repeats)
    b, reverse_times = _times(jacrev(f, everything, has_aux), args, kwargs, repeats)
    if has_aux:
        a, b = a[0], b[0]
    difference = relative = ulp = tolerance = 0.0
    for u, v in zip(tree.leaves(a), tree.leaves(b), strict=True):
        if np.size(u):
            tolerance = max(tolerance, float(np.finfo(u.dtype).eps ** 0.6 * np.max(np.abs(u))))  # 4e-10 in float64
            gap = np.abs(np.where(u == v, 0, u - v))
            size = np.maximum(np.abs(u), np.abs(v))
            difference = float(np.fmax(difference, gap.max())) if not np.isnan(gap).any() else float("nan")
            relative = max(relative, float(np.max(gap / np.where(size == 0, 1, size))))
            ulp = max(ulp, float(np.max(gap / np.spacing(np.where(size == 0, 1, size)))))
    return ModeReport(
        name_of(f),
        n_in,
        n_out,
        forward,
        reverse,
        float(np.median(forward_times)),
        float(np.median(reverse_times)),
        pace(),
        difference,
        relative,
        ulp,
        tolerance,
    )


def _times(f: Callable, args: tuple, kwargs: dict, repeats: int) -> tuple[Any, list[float]]:
    """The result, and the seconds of each call."""
    times = []
    for _ in range(max(repeats, 1)):
        start = time.perf_counter()
        result = f(*args, **kwargs)
        times.append(time.perf_counter() - start)
    return result, times
