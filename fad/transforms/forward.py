"""Forward mode: dual numbers. One sweep in creation order carries each node's tangent beside its value."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from fad.core.expr import Expr, Var, former
from fad.core.primitive import Joint, Jvp, Linear, LinearIn, Partials, Primitive
from fad.primitives.elementwise import cast
from fad.primitives.reduce import expand
from fad.primitives.select import strong_multiply
from fad.transforms.trace import Graph

__all__ = ["push", "tangents_of"]


def tangents_of(graph: Graph, inputs: list, tangents: list, outputs: list) -> list:
    """Tangents of the outputs for these tangents of the inputs; None where an output does not depend on them."""
    plain, guarded = graph.plain, graph.guarded
    dots = {var.id: t for var, t in zip(inputs, tangents, strict=True) if t is not None}
    with np.errstate(all="ignore"):
        for node in graph.nodes:
            active = [i for i, a in enumerate(node.args) if isinstance(a, Expr) and a.id in graph.active]
            found = {i: dots[node.args[i].id] for i in active if node.args[i].id in dots}
            if not found or node.op.derivative is None:
                continue
            args = tuple([primal(a, plain) for a in node.args])
            dot = push(node.op, found, active, node.id in guarded, primal(node, plain), args, node.params)
            if dot is not None:
                dots[node.id] = _like(dot, node)
    return [dots.get(y.id) if isinstance(y, Expr) else None for y in outputs]


def primal(a: Any, plain: bool) -> Any:
    """An argument as rules see it: its value in a plain sweep, the node itself otherwise."""
    kind = type(a)
    if kind is not Expr and kind is not Var:
        if not isinstance(a, Expr):
            return a
        a = former(a)
    return a.value if plain and a.value is not None else a


def scale(t: Any, factor: Any, guarded: bool) -> Any:
    """factor * t. On a path through a selection zeros are structural, and stay zero against inf and NaN."""
    if type(factor) in (int, float) and factor == 1:
        return t
    return strong_multiply(t, factor) if guarded else t * factor


def _like(dot: Any, node: Expr) -> Any:
    if dot.shape != node.shape:
        dot = np.broadcast_to(dot, node.shape)
    return cast(dot, node.dtype)


def push(op: Primitive, tangents: dict, active: list, guarded: bool, out: Any, args: tuple, params: dict) -> Any:
    """The tangent of ``out = op(*args, **params)`` for tangents by argument position; None where it is zero.

    ``active`` are the positions that depend on the inputs, with a tangent or not: they decide ties.
    """
    fact = op.derivative
    if isinstance(fact, Jvp):
        return fact.rule(tangents, out, *args, **params)
    if isinstance(fact, Joint):
        return fact.push(tangents, *args, **params)
    if isinstance(fact, LinearIn):
        return op(*args[: fact.place], _through(fact, tangents, out, args, params), *args[fact.place + 1 :], **params)
    if isinstance(fact, Partials):
        factors = partials(fact, tangents, active, out, args)
        terms = [scale(t, p, guarded) for t, p in zip(tangents.values(), factors, strict=True) if p is not None]
    elif isinstance(fact, Linear):
        terms = [
            fact.push[i](t, *args, **params) if fact.push else op(*args[:i], t, *args[i + 1 :], **params)
            for i, t in tangents.items()
            if i < len(fact.transpose) and fact.transpose[i]
        ]
    else:
        weight = fact.weight(expand(out, args[0], params["axes"]), args[0], params["axes"])
        terms = [np.sum(scale(tangents[0], weight, guarded), axis=params["axes"], keepdims=params["keepdims"])]
    if not terms:
        return None
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _through(fact: LinearIn, tangents: dict, out: Any, args: tuple, params: dict) -> Any:
    """The one tangent of the linear argument that does what all the tangents do."""
    others = {i: t for i, t in tangents.items() if i != fact.place}
    if not others:
        return tangents[fact.place]
    equal = fact.rule(others, out, *args, **params)
    return tangents[fact.place] + equal if fact.place in tangents else equal


def partials(fact: Partials, wanted: Iterable, active: list, out: Any, args: tuple) -> list:
    """One partial for each wanted argument; None for those that are zero everywhere."""
    if fact.ties:
        both = fact.ties(active, out, *args)
        return [both[i] for i in wanted]
    rules = [fact.rules[i] for i in wanted]
    found = [rule(out, *args) if callable(rule) else rule for rule in rules]
    return [None if type(p) in (int, float) and p == 0 else p for p in found]  # a literal, not np.float64(0)
