"""Reverse mode: one sweep against creation order carries each node's cotangent (vjp).

Nodes are dropped as they are passed, so what only the sweep held is freed on the way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fad.core.expr import Expr
from fad.core.nans import watched_sweep
from fad.primitives.elementwise import cast
from fad.primitives.shape import embed, getitem
from fad.transforms.rules import primal, pull
from fad.transforms.trace import Graph, Trace

__all__ = ["cotangents_of", "transpose_rule"]


def cotangents_of(graph: Graph, inputs: list, outputs: list, cotangents: list) -> list:
    """Cotangents of the inputs for these cotangents of the outputs; None where nothing flows.

    Empties the graph and ``outputs``: the tree is freed while it is swept, unless the caller holds it elsewhere.
    """
    nodes, active, guarded, plain = graph.nodes, graph.active, graph.guarded, graph.plain
    bars = Accumulator()
    for y, ct in zip(outputs, cotangents, strict=True):
        if ct is not None and isinstance(y, Expr) and y.id in active:
            bars.add(y, ct)
    outputs.clear()
    y = None
    watch = watched_sweep("reverse")
    with watch or np.errstate(all="ignore"):
        while nodes:
            node = nodes.pop()
            bar = bars.take(node)
            if bar is None or node.op.derivative is None:
                continue
            positions = [i for i, a in enumerate(node.args) if isinstance(a, Expr) and a.id in active]
            if plain and node.op is getitem:
                bars.add_at(node.args[0], node.params["index"], bar)
                continue
            args = tuple([primal(a, plain) for a in node.args])
            rule = watch.rule(pull, node) if watch else pull
            found = rule(node.op, bar, positions, node.id in guarded, primal(node, plain), args, node.params, transpose_rule)
            for i, ct in zip(positions, found):
                if ct is not None:
                    bars.add(node.args[i], ct)
            del bar, args, found
    found = [bars.take(var) for var in inputs]
    if watch:
        for var, bar in zip(inputs, found, strict=True):
            watch.look(var, [bar])
    return found


class Accumulator:
    """Sums of cotangents by node."""

    def __init__(self) -> None:
        self.sums: dict[int, Any] = {}
        self.owned: set[int] = set()  # sums that are arrays of our own, safe to add into

    def take(self, node: Expr) -> Any:
        """The cotangent of a node; it is forgotten here."""
        return self.sums.pop(node.id, None)

    def add(self, node: Expr, ct: Any) -> None:
        """Add a cotangent, summed to the node's shape where the node was broadcast."""
        key = node.id
        if type(ct) is dict:  # of a node with several results
            for index, part in ct.items():
                held = self.sums.setdefault(key, {})
                held[index] = part if held.get(index) is None else held[index] + part
            return
        ct = fit(ct, node)
        old = self.sums.get(key)
        self.sums[key] = ct if old is None else old + ct
        self.owned.discard(key)

    def add_at(self, node: Expr, index: tuple, ct: Any) -> None:
        """Add the cotangent of ``node[index]`` in place, so that reading n elements costs n, not n squared."""
        key = node.id
        old = self.sums.get(key)
        if isinstance(ct, Expr) or isinstance(old, Expr):
            self.add(node, embed(ct, index=index, shape=node.shape))
            return
        if key not in self.owned:
            self.sums[key] = np.zeros(node.shape, node.dtype) if old is None else np.array(old)
            self.owned.add(key)
        self.sums[key][index] += ct


def fit(ct: Any, like: Any) -> Any:
    """The transpose of broadcasting and promotion: ``ct`` summed to the shape, cast to the dtype of ``like``."""
    if ct.shape != like.shape:
        lead = len(ct.shape) - len(like.shape)
        axes = (*range(lead), *(i + lead for i, s in enumerate(like.shape) if s == 1 and ct.shape[i + lead] != 1))
        if lead >= 0 and axes:
            ct = np.sum(ct, axis=axes)
        if ct.shape != like.shape:  # kept axes of length one, or a partial narrower than its argument
            ct = np.reshape(ct, like.shape) if ct.size == like.size else np.broadcast_to(ct, like.shape)
    return ct if ct.dtype == like.dtype else cast(ct, like.dtype)


def transpose_rule(rule: Callable, ct: Any, active: list, guarded: bool, out: Any, args: tuple, params: dict) -> list:
    """Run the tangent rule on symbols, which gives a linear tree, and sweep that tree backwards."""
    trace = Trace("transpose")
    tangents = {i: trace.symbol(args[i].shape, args[i].dtype, "t") for i in active}
    outputs = [rule(tangents, out, *args, **params)]
    graph = trace.graph(outputs)
    graph.guarded = graph.active if guarded else graph.guarded
    return cotangents_of(graph, trace.inputs, outputs, [ct])
