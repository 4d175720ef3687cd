"""NaNs: which operation made the first one, and at which line, where `debug_nans` asks.

While it is on, nodes note the user's line as they are made, and every result is looked at: of an operation in `bind`, of a step in
`Function.run`, of a derivative or batching rule in the sweeps. What a rule computes on its way to a result is not: a partial of the
branch that ``where`` does not take may be NaN there, and a strong zero takes it out. While it is off, all that is left of it are
tests of an empty list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from fad.core.expr import FUNCTIONS, WATCHING, Expr, short
from fad.errors import NonFiniteError, user_line

__all__ = [
    "debug_nans",
    "holds_nan",
    "is_watching",
    "line_of",
    "noted_lines",
    "report_compiled",
    "watched_steps",
    "watched_sweep",
    "Sweep",
]

EVALUATION = "evaluation"
_mode: ContextVar[Any] = ContextVar("debug_nans", default=None)  # EVALUATION; within a sweep the Sweep; None: off
_note = vars(Expr)["line"].__set__
_UNKNOWN = "a line that was not noted, as the tree was made outside of debug_nans"
_RULE = "debug_nans is on: no result may hold a NaN"


@contextmanager
def debug_nans(on: bool = True) -> Iterator[None]:
    """The first NaN raises: in evaluation, in a forward or reverse sweep, in a batch, in the result of a compiled function.

    Args:
        on: False switches it off inside of a block where it is on.
    It holds for this thread, or asyncio task, and looks at what nodes and Functions compute: NumPy calls that see no node are not
    fad's. A NaN in the branch that ``where`` does not take raises as well. A compiled function whose result holds a NaN is run
    once more by NumPy, node by node. Infinities are let pass.
    Raises: NonFiniteError, which names the operation, its inputs, and the line where its node was made.

    >>> with debug_nans():
    ...     fad.grad(np.sqrt)(-1.0)
    Traceback (most recent call last):
        ...
    fad.errors.NonFiniteError: sqrt made a NaN: got sqrt(x:f64[] = -1.) = nan; debug_nans is on...
    """
    with _in_mode(EVALUATION if on else None):
        yield


@contextmanager
def noted_lines() -> Iterator[None]:
    """Nodes note the user's line as they are made, and no result is looked at: for who repeats a trace to name a line."""
    with _in_mode(_mode.get() or Sweep("")):
        yield


@contextmanager
def _in_mode(mode: Any) -> Iterator[None]:
    token = _mode.set(mode)
    WATCHING.append(None)
    try:
        yield
    finally:
        WATCHING.pop()
        _mode.reset(token)


def is_watching() -> bool:
    """Whether results are looked at here and now: not within a sweep, which looks at its own."""
    return _mode.get() is EVALUATION


def holds_nan(x: Any) -> bool:
    """Whether an array, number or node with a value holds a NaN."""
    x = _array(x)
    return x is not None and bool(np.isnan(x).any())


def _array(x: Any) -> Any:
    """A float or complex array; None for anything else."""
    x = x.value if isinstance(x, Expr) else x
    kind = getattr(x, "dtype", None)
    return x if isinstance(x, float | complex) or (kind is not None and kind.kind in "fc") else None


# -- evaluation ---------------------------------------------------------------------------------------------------


def _watch(node: Expr, values: list) -> None:
    """Note the line of a new node, and raise where its value holds a NaN."""
    mode = _mode.get()
    if mode is None:
        return
    if mode is not EVALUATION:
        _note(node, mode.line())
        return
    _note(node, user_line())
    if node.value is not None and holds_nan(node.value):
        _report(node, node.args, values, node.value)


FUNCTIONS["watch"] = _watch


def watched_steps(steps: list, nodes: list[Expr]) -> list:
    """The steps of a schedule, each with a look at its result; ``nodes`` are what they compute."""
    return [(_step(op, node), *rest) for (op, *rest), node in zip(steps, nodes, strict=True)]


def _step(op: Any, node: Expr) -> Callable:
    def run(*args: Any, **params: Any) -> Any:
        y = op(*args, **params)
        if not isinstance(y, Expr) and holds_nan(y):  # a node was looked at when it was made
            _report(node, node.args, args, y)
        return y

    return run


def _report(node: Expr, args: Any, values: Any, result: Any, how: str = "") -> None:
    """Raise for an operation whose result holds a NaN."""
    before = any(map(holds_nan, values))
    name = node.op.name
    raise NonFiniteError(
        f"{name} passed on a NaN that its inputs hold{how}" if before else f"{name} made a NaN{how}",
        got=f"{name}({', '.join(map(_text, args, values))}) = {_text(result)}{_place(node, values, result)}",
        rule=_RULE,
        where=line_of(node),
        fix="look for the NaN in what is passed to the function"
        if before
        else f"keep the inputs of {name} where it is defined, e.g. np.where(ok, x, 1.0) before it and not behind it",
    )


def _text(a: Any, value: Any = None) -> str:
    """An argument, with its value where that is short."""
    value = a if value is None else value
    if isinstance(value, Expr):
        return short(value)
    name = f"{short(a).split(' = ')[0]} = " if isinstance(a, Expr) else ""
    if isinstance(value, np.ndarray | np.generic) and value.size <= 4:
        return name + " ".join(np.array2string(np.asarray(value), precision=6).split())
    return name.removesuffix(" = ") or short(value)


def _place(node: Expr, values: Any, result: Any) -> str:
    """Where the first NaN is in an array, and for an elementwise operation the inputs there."""
    bad = np.isnan(_array(result))
    if not bad.ndim:
        return ""
    count = int(bad.sum())
    first = tuple(int(i) for i in np.unravel_index(int(np.argmax(bad)), bad.shape))
    text = f", NaN at [{', '.join(map(str, first))}]" + (f" and {count - 1} more" if count > 1 else "")
    if node.op.role != "elementwise":
        return text
    numbers = [x.value if isinstance(x, Expr) else x for x in values]
    try:
        inputs = [f"{np.broadcast_to(x, bad.shape)[first]:.6g}" for x in numbers]
    except (TypeError, ValueError):  # under vmap, whose inputs are aligned by the rule
        return text
    return f"{text}, from {', '.join(inputs)}"


def line_of(node: Expr) -> str:
    """The user's line where a node was made, if it was noted."""
    return getattr(node, "line", _UNKNOWN)


# -- sweeps ---------------------------------------------------------------------------------------------------------


def watched_sweep(name: str) -> Sweep | None:
    """A watch on the sweep of this name that begins; None where nobody asks, or a sweep around it looks at its result."""
    return Sweep(name) if WATCHING and is_watching() else None


class Sweep:
    """A sweep whose rules' results are looked at; as a context it stands in for ``np.errstate(all="ignore")``."""

    def __init__(self, name: str):
        self.name = name
        self.node: Any = None  # whose rule runs
        self.errors: Any = None
        self.token: Any = None

    def __enter__(self) -> None:
        self.errors, self.token = np.errstate(all="ignore"), _mode.set(self)
        self.errors.__enter__()

    def __exit__(self, *raised: Any) -> None:
        self.errors.__exit__(*raised)
        _mode.reset(self.token)

    def line(self) -> str:
        """The line of the node whose rule runs, for the nodes that the rule makes."""
        return f"{line_of(self.node)}, in its {self.name} sweep" if self.node is not None else user_line()

    def rule(self, rule: Callable, node: Expr) -> Callable:
        """`push` or `pull` of a node, with a look at what goes in and at what it gives."""

        def run(op: Any, given: Any, active: list, guarded: bool, out: Any, args: tuple, *more: Any) -> Any:
            self.node = node
            what = "tangent" if isinstance(given, dict) else "cotangent"
            before = list(given.values()) if isinstance(given, dict) else [given]
            self.look(node, before)
            found = rule(op, given, active, guarded, out, args, *more)
            for x in found if isinstance(found, list) else [found]:
                if x is not None and holds_nan(x):
                    inputs, cause = ", ".join(map(_text, node.args, args)), ", ".join(map(_text, before))
                    raise NonFiniteError(
                        f"the derivative of {op.name} made a NaN in the {self.name} sweep",
                        got=f"{op.name}({inputs}) = {_text(out)} with {what} {cause}, which gave {_text(x)}",
                        rule=_RULE,
                        where=line_of(node),
                        fix=f"keep the inputs of {op.name} away from where its derivative is infinite or does not exist",
                    )
            return found

        return run

    def batch(self, node: Expr) -> Callable:
        """The batching rule of a node, with a look at its result."""

        def run(size: int, args: tuple, flags: tuple, **params: Any) -> Any:
            self.node = node
            y = node.op.batch(size, args, flags, **params)
            if holds_nan(y):
                _report(node, node.args, args, y, " under vmap")
            return y

        return run

    def check_order(self, node: Expr, order: int, c: Any) -> None:
        """Raise where the Taylor coefficient of this order is a NaN."""
        if c is not None and holds_nan(c):
            raise NonFiniteError(
                f"the Taylor coefficient of order {order} of {node.op.name} is a NaN",
                got=f"{short(node)}, coefficient {_text(c)}",
                rule=_RULE,
                where=line_of(node),
                fix=f"keep the inputs of {node.op.name} away from where a derivative is infinite or does not exist",
            )

    def look(self, node: Expr, given: list) -> None:
        """Raise where the tangents or cotangents that have come together at a node hold a NaN that no rule has made."""
        for x in given:
            if x is not None and holds_nan(x):
                raise NonFiniteError(
                    f"a NaN came to {short(node).split(' = ')[0]} in the {self.name} sweep",
                    got=_text(x),
                    rule=f"{_RULE}; no rule made this one: it was given, or infinities of both signs were added",
                    where=line_of(node) if node.op is not None and node.op.name != "alias" else user_line(),
                    fix="pass finite tangents and cotangents, and look for what overflowed behind this node",
                )


def report_compiled(name: str, run: Callable) -> None:
    """Raise for a compiled function whose result holds a NaN: ``run()`` computes its leaves once more, node by node.

    Returns where no operation raises, and the NaN is that of an argument which is passed through."""
    with np.errstate(all="ignore"):
        if any(map(holds_nan, run())):
            return
    raise NonFiniteError(
        f"jit({name}): the result holds a NaN that NumPy does not make",
        got="a finite result of the same tree, run node by node",
        rule=_RULE,
        fix="run it with FAD_CHECK=1, and report it with lower(...) of this call",
    )
