"""Rules: the one derivative fact of a record as a tangent (`push`) or as cotangents (`pull`) of one operation.

Both modes apply partials, weights and structural zeros in the same way, so what they share stands here once. A fact that has a
tangent rule alone is pulled by transposing that rule, which is itself a reverse sweep: `pull` is handed the function that does it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from fad.core.expr import Expr, Var, former
from fad.core.primitive import ByMode, Joint, Jvp, Linear, LinearIn, Partials, Primitive, Weights
from fad.primitives.reduce import expand
from fad.primitives.select import strong_multiply

__all__ = ["primal", "pull", "push"]


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


def partials(fact: Partials, wanted: Iterable, active: list, out: Any, args: tuple, params: dict) -> list:
    """One partial for each wanted argument; None for those that are zero everywhere."""
    if fact.ties:
        both = fact.ties(active, out, *args)
        return [both[i] for i in wanted]
    rules = [fact.rules[i] for i in wanted]
    found = [rule(out, *args, **params) if callable(rule) else rule for rule in rules]
    return [None if type(p) in (int, float) and p == 0 else p for p in found]  # a literal, not np.float64(0)


def push(op: Primitive, tangents: dict, active: list, guarded: bool, out: Any, args: tuple, params: dict) -> Any:
    """The tangent of ``out = op(*args, **params)`` for tangents by argument position; None where it is zero.

    ``active`` are the positions that depend on the inputs, with a tangent or not: they decide ties.
    """
    fact = op.derivative
    if isinstance(fact, Jvp):
        return fact.rule(tangents, out, *args, **params)
    if isinstance(fact, Joint):
        return fact.push(tangents, *args, **params)
    if isinstance(fact, ByMode):
        return fact.push(tangents, guarded, out, *args, **params)
    if isinstance(fact, LinearIn):
        return op(*args[: fact.place], _through(fact, tangents, out, args, params), *args[fact.place + 1 :], **params)
    if isinstance(fact, Partials):
        factors = partials(fact, tangents, active, out, args, params)
        terms = [scale(t, p, guarded) for t, p in zip(tangents.values(), factors, strict=True) if p is not None]
    elif isinstance(fact, Linear):
        terms = [
            fact.push[i](t, *args, **params) if fact.push else op(*args[:i], t, *args[i + 1 :], **params)
            for i, t in tangents.items()
            if i < len(fact.transpose) and fact.transpose[i]
        ]
    else:
        assert isinstance(fact, Weights)
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


def pull(op: Primitive, ct: Any, active: list, guarded: bool, out: Any, args: tuple, params: dict, transpose: Callable) -> list:
    """The cotangents of the arguments at positions ``active``, for the cotangent of ``out = op(*args, **params)``.

    ``transpose(rule, ct, active, guarded, out, args, params)`` gives them from a tangent rule.
    """
    fact = op.derivative
    if isinstance(fact, Partials):
        return [None if p is None else scale(ct, p, guarded) for p in partials(fact, active, active, out, args, params)]
    if isinstance(fact, Linear):
        return [
            rule(ct, *args, **params) if rule else None
            for rule in (fact.transpose[i] if i < len(fact.transpose) else None for i in active)
        ]
    if isinstance(fact, Joint):
        return fact.pull(ct, active, *args, **params)
    if isinstance(fact, ByMode):
        return fact.pull(ct, active, guarded, out, *args, **params)
    if isinstance(fact, LinearIn):
        through = fact.pull(ct, *args, **params)
        others = [i for i in active if i != fact.place]
        found = iter(transpose(fact.rule, through, others, guarded, out, args, params) if others else ())
        return [through if i == fact.place else next(found) for i in active]
    if isinstance(fact, Jvp):
        return transpose(fact.rule, ct, active, guarded, out, args, params)
    assert isinstance(fact, Weights)
    axes = params["axes"]
    return [
        scale(
            np.broadcast_to(expand(ct, args[0], axes), args[0].shape),
            fact.weight(expand(out, args[0], axes), args[0], axes),
            guarded,
        )
    ]
