"""call: a function with derivative rules of its own, as one node.

``call(*args; body, rule)`` gives the results of ``body(*args)``. Its derivative is what the rule says: a linear map from tangents
of arguments to tangents of results, or one from cotangents of results to cotangents of arguments. Either is the transpose of the
other, so one of them is enough for both modes. Programs have the body in its place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from fad import tree
from fad.control.closing import close
from fad.control.functions import batch_function, pull_function, push_function, zeros_like
from fad.core.expr import Expr, Var, short
from fad.core.function import Function
from fad.core.primitive import ByMode
from fad.core.results import Results
from fad.errors import NotLinearError, TraceError
from fad.primitives.families import dtype_of, front, shape_of, structural
from fad.primitives.result import results_of

__all__ = ["Rule", "call"]


Linear = Callable[[list, list, list], list]


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """What the derivative of a body is.

    ``push(args, results, tangents of the args given)`` gives tangents of the results ``told``, ``pull(args, results, cotangents of
    the results told)`` cotangents of the args ``given``, all of them lists. Other results are residuals, with derivatives as the
    body has them."""

    name: str
    given: tuple[int, ...]
    told: tuple[int, ...]
    push: Linear | None
    pull: Linear | None
    fixed: tuple[int, ...] = ()  # args on which nothing depends: what stands for them was found by other means


def linear_map(rule: Rule, body: Function, forward: bool) -> Linear:
    """The map of one mode, from the other one where it has none."""
    own, other = (rule.push, rule.pull) if forward else (rule.pull, rule.push)
    if own is not None:
        return own
    assert other is not None
    like = [body.inputs[k] for k in rule.given], [body.outputs[k] for k in rule.told]
    f = transposed(rule.name, close_map(rule.name, other, body, like[forward]), len(like[forward]))
    return lambda args, results, linear: f.run([*args, *results, *linear])


def close_map(name: str, f: Linear, body: Function, linear: list) -> Function:
    """A map as a Function of arguments, results, and tangents or cotangents like these."""
    n, m = len(body.inputs), len(body.outputs)
    like = [Var("x", x.shape, x.dtype) for x in (*body.inputs, *body.outputs, *linear)]
    flat = lambda *x: f(list(x[:n]), list(x[n : n + m]), list(x[n + m :]))
    made = close(f"{name}: a derivative rule", flat, like, tree.structure(tuple(like)), list, 0)
    for x in made.captured:
        if isinstance(x, Expr):
            raise TraceError(
                f"{name}: a derivative rule closes over a value of a trace",
                got=short(x),
                rule="where a rule is transposed or batched, it is a function of its arguments",
                fix="pass the value as an argument of the function, or among the residuals",
            )
    own = [Var("x", x.shape, x.dtype) for x in like]
    return Function(own, made.function.run([*made.captured, *own]))


def transposed(name: str, f: Function, count: int) -> Function:
    """The transpose of a Function that is linear in so many of its last arguments."""
    held = len(f.inputs) - count
    found = pull_function(f, (*(False for _ in range(held)), *(True for _ in range(count))), (True,) * len(f.outputs), False)
    bars = [zeros_like(x) if b is None else b for b, x in zip(found.bars[held:], found.inputs[held:], strict=True)]
    try:
        return Function([*found.inputs[:held], *found.cotangents], bars, name=f.name)
    except TraceError:
        raise NotLinearError(
            f"{name}: its derivative rule is not linear",
            got="a result in which a tangent or cotangent does not stand by itself",
            rule="tangents of results are linear in tangents of arguments, and cotangents likewise: each is the other's transpose",
            fix="multiply tangents and cotangents by what depends on the arguments alone",
        ) from None


def push(tangents: dict, guarded: bool, out: Any, *args: Any, body: Function, rule: Rule) -> dict:
    """The rule's tangents."""
    refuse_closed(rule, tangents, args)
    dots = [tangents.get(k, np.zeros(shape_of(args[k]), dtype_of(args[k]))) for k in rule.given]
    found = dict(zip(rule.told, linear_map(rule, body, forward=True)(list(args), results_of(out), dots), strict=True))
    kept = [k for k in range(len(body.outputs)) if k not in rule.told]
    if kept:
        pushed, flags = push_function(choose_outputs(body, tuple(kept)), tuple(k in tangents for k in range(len(args))), guarded)
        own = iter(pushed.run([*args, *[tangents[k] for k in sorted(tangents)]])[len(kept) :])
        found |= {k: next(own) for k, flag in zip(kept, flags, strict=True) if flag}
    return found


def pull(cts: dict, active: list, guarded: bool, out: Any, *args: Any, body: Function, rule: Rule) -> list:
    """The rule's cotangents."""
    refuse_closed(rule, active, args)
    bars = [cts.get(k, zeros_like(body.outputs[k])) for k in rule.told]
    found = linear_map(rule, body, forward=False)(list(args), results_of(out), bars)
    kept = tuple([k for k in sorted(cts) if k not in rule.told])
    if not kept:
        return [found[rule.given.index(k)] if k in rule.given else None for k in active]
    f = choose_outputs(body, kept)
    pulled = pull_function(f, tuple(k in active for k in range(len(args))), (True,) * len(kept), guarded)
    wanted = [k for k in active if pulled.bars[k] is not None]
    more = Function([*pulled.inputs, *pulled.cotangents], [pulled.bars[k] for k in wanted])
    sums = dict(zip(wanted, more.run([*args, *[cts[k] for k in kept]]), strict=True))
    return [found[rule.given.index(k)] + sums[k] if k in sums else found[rule.given.index(k)] for k in active]


@lru_cache(maxsize=256)
def choose_outputs(f: Function, outputs: tuple[int, ...]) -> Function:
    """A Function of some of the results."""
    return Function(f.inputs, [f.outputs[k] for k in outputs])


def refuse_closed(rule: Rule, active: Any, args: tuple) -> None:
    """Raise where what is differentiated is no argument of the function, so that the rule does not know of it."""
    for k in active:
        if k not in rule.given and k not in rule.fixed:
            raise TraceError(
                f"{rule.name}: it closes over a value that is differentiated",
                got=short(args[k]),
                rule="a derivative rule speaks of arguments only",
                fix="pass the value as an argument, or stop_gradient(it)",
            )


def batch(size: int, args: tuple, batched: tuple, *, body: Function, rule: Rule) -> tuple:
    """The call of the batched body, with the batched rule."""
    args = tuple([front(size, a, b) if k in rule.given else a for k, (a, b) in enumerate(zip(args, batched, strict=True))])
    flags = tuple([b or k in rule.given for k, b in enumerate(batched)])
    wide = batch_function(body, size, flags, (True,) * len(body.outputs))[0]

    def batched_map(f: Linear | None, like: list) -> Linear | None:
        if f is None:
            return None
        single = f

        def of(*x: list) -> list:
            one = close_map(rule.name, single, body, like)
            every = (*flags, *(True for _ in range(len(one.inputs) - len(flags))))
            return batch_function(one, size, every, (True,) * len(one.outputs))[0].run([a for group in x for a in group])

        return of

    push = batched_map(rule.push, [body.inputs[k] for k in rule.given])
    pull = batched_map(rule.pull, [body.outputs[k] for k in rule.told])
    return tuple(results_of(call(*args, body=wide, rule=Rule(rule.name, rule.given, rule.told, push, pull, rule.fixed))))


call = structural(
    "call",
    lambda *args, body, rule: tuple(body.run(list(args))),
    lambda *args, body, rule: ((), Results(tuple([(y.shape, y.dtype) for y in body.outputs]))),
    ByMode(push, pull),
    batch=batch,
    flops=lambda out, *args, body, rule: body.flops,
    role="call",
    functions=("body",),
)
