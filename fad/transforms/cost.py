"""What a Jacobian costs in each mode, by counting: a model of the interpreter, and the choice that follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fad.core.expr import Expr, reachable
from fad.native.machine_model import BANDWIDTH, CALL, DISPATCH, FLOPS
from fad.primitives.families import is_node
from fad.transforms.forward import tangents_of
from fad.transforms.reverse import cotangents_of
from fad.transforms.trace import Graph, Trace

__all__ = ["Cost", "costs", "cheaper", "seeds"]


@dataclass(frozen=True)
class Cost:
    """What one mode needs for a whole Jacobian: ``nodes`` are the operations of the function and of its linear tree,
    ``flops`` and ``traffic`` (bytes) are for one pass."""

    passes: int
    nodes: int
    flops: int
    traffic: int
    residuals: int

    @property
    def dispatch(self) -> float:
        """Seconds that the interpreter takes for its operations, whatever their size."""
        return CALL + self.nodes * DISPATCH

    @property
    def arithmetic(self) -> float:
        """Seconds that the flops of a pass take."""
        return self.flops / FLOPS

    @property
    def movement(self) -> float:
        """Seconds that the bytes of a pass take."""
        return self.traffic / BANDWIDTH

    def seconds(self, passes: int | None = None) -> float:
        """Predicted seconds, for this many passes."""
        return self.dispatch + (self.passes if passes is None else passes) * (self.arithmetic + self.movement)


def seeds(x: Any, others: list) -> int:
    """How many directions each element of x needs: a complex one needs 1 and i where something on the other side is real."""
    return 2 if x.dtype.kind == "c" and any(y.dtype.kind != "c" for y in others) else 1


def passes(inputs: list, outputs: list) -> tuple[int, int]:
    """(forward, reverse) passes for the whole Jacobian."""
    return sum(x.size * seeds(x, outputs) for x in inputs), sum(y.size * seeds(y, inputs) for y in outputs)


def costs(graph: Graph, inputs: list, outputs: list) -> tuple[Cost, Cost]:
    """(forward, reverse) cost of the Jacobian of a traced function."""
    n_in, n_out = passes(inputs, outputs)
    pushed = Trace("forward")
    dots = tangents_of(graph, inputs, [pushed.symbol(x.shape, x.dtype, "t") for x in inputs], outputs)
    pulled = Trace("reverse")
    bars = cotangents_of(graph.copy(), inputs, list(outputs), [pulled.symbol(y.shape, y.dtype, "ct") for y in outputs])
    return (
        _weigh(pushed, dots, n_in, len(graph.nodes), _peak_live(graph.nodes, outputs)),
        _weigh(pulled, bars, n_out, len(graph.nodes), sum(n.nbytes for n in graph.nodes)),
    )


def _weigh(swept: Trace, results: list, passes: int, primal_nodes: int, residuals: int) -> Cost:
    """Cost of a linear tree beside that of its function."""
    found: list[Expr] = reachable([y for y in results if is_node(y)], swept.start)[0] if swept.start is not None else []
    nodes = [n for n in found if n.op is not None]
    return Cost(
        passes,
        primal_nodes + len(nodes),
        sum(n.op.flops(n, *n.args, **n.params) for n in nodes),
        sum(n.nbytes for n in nodes),
        residuals,
    )


def _peak_live(nodes: list[Expr], outputs: list) -> int:
    """Bytes alive at once where every node is dropped after its last use, as a forward sweep may."""
    last = {a.id: n.id for n in nodes for a in n.args if isinstance(a, Expr)}
    kept = {y.id for y in outputs}
    live = peak = 0
    sizes: dict[int, int] = {}
    for node in nodes:
        sizes[node.id] = node.nbytes
        live += node.nbytes
        peak = max(peak, live)
        for a in node.args:
            if isinstance(a, Expr) and last.get(a.id) == node.id and a.id not in kept:
                live -= sizes.pop(a.id, 0)
    return peak


def cheaper(graph: Graph, inputs: list, outputs: list) -> str:
    """The mode whose predicted time for the whole Jacobian is the smaller."""
    n_in, n_out = passes(inputs, outputs)
    if min(n_in, n_out) * 8 < max(n_in, n_out):  # clear without building both linear trees
        return "forward" if n_in < n_out else "reverse"
    forward, reverse = costs(graph, inputs, outputs)
    return "forward" if forward.seconds() <= reverse.seconds() else "reverse"
