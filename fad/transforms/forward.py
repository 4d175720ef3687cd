"""Forward mode: dual numbers. One sweep in creation order carries each node's tangent beside its value."""

from __future__ import annotations

from typing import Any

import numpy as np

from fad.core.expr import Expr
from fad.core.nans import watched_sweep
from fad.primitives.elementwise import cast
from fad.transforms.rules import primal, push
from fad.transforms.trace import Graph

__all__ = ["like", "tangents_of"]


def tangents_of(graph: Graph, inputs: list, tangents: list, outputs: list) -> list:
    """Tangents of the outputs for these tangents of the inputs; None where an output does not depend on them."""
    plain, guarded = graph.plain, graph.guarded
    dots = {var.id: t for var, t in zip(inputs, tangents, strict=True) if t is not None}
    watch = watched_sweep("forward")
    with watch or np.errstate(all="ignore"):
        for node in graph.nodes:
            active = [i for i, a in enumerate(node.args) if isinstance(a, Expr) and a.id in graph.active]
            found = {i: dots[node.args[i].id] for i in active if node.args[i].id in dots}
            if not found or node.op.derivative is None:
                continue
            args = tuple([primal(a, plain) for a in node.args])
            rule = watch.rule(push, node) if watch else push
            dot = rule(node.op, found, active, node.id in guarded, primal(node, plain), args, node.params)
            if dot is not None:
                dots[node.id] = like(dot, node)
    return [dots.get(y.id) if isinstance(y, Expr) else None for y in outputs]


def like(dot: Any, node: Any) -> Any:
    """A tangent in the shape and dtype of what it belongs to."""
    if type(dot) is dict:  # of a node with several results
        return dot
    if dot.shape != node.shape:
        dot = np.broadcast_to(dot, node.shape)
    return cast(dot, node.dtype)
