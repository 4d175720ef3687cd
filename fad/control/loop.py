"""loop: a body run again and again on what it gave before, with rows of arrays going in and coming out.

``loop([count], *consts, *inits, *xs)`` runs ``body(*consts, *carry, *rows of xs) -> (*carry, *ys)``: `length` times, or at
most so often while ``condition(*consts, *carry)`` holds, or `count` times where that is an argument. Its results are the last
carry and the stacked ys. ``reverse`` takes the rows from the last to the first. Scans, counted loops, while loops and maps are
all of them this one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from fad.control.checkpoint import recomputed
from fad.control.functions import activity, batch_function, fresh, pull_function, push_function, zeros_like
from fad.control.residuals import Backward, split_pulled
from fad.core.expr import Expr, Var, concrete
from fad.core.function import Function
from fad.core.nans import is_watching
from fad.core.primitive import ByMode
from fad.core.results import Results
from fad.kernels.rent import SPECIALISED
from fad.primitives.families import dtype_of, front, shape_of, structural
from fad.primitives.result import results_of

__all__ = ["loop", "map_lanes"]


LONG = 20_000  # operations that Python evaluates in the time in which a loop is compiled


def divide(items: Any, consts: int, carry: int, counted: bool = False) -> tuple[Any, Any, Any, Any]:
    """(count, consts, inits, xs) of a loop's arguments, or of anything that stands beside these."""
    k, m = int(counted), int(counted) + consts
    return items[:k], items[k:m], items[m : m + carry], items[m + carry :]


def iterations(count: Any, length: int | None, reverse: bool) -> Iterator[int]:
    """The rows in the order in which they are taken."""
    most = [int(c) for c in count] + [n for n in (length,) if n is not None]
    if not most:
        return itertools.count()
    total = min(most)
    return iter(range(total - 1, -1, -1) if reverse else range(total))


def evaluate(
    *args: Any,
    body: Function,
    condition: Function | None,
    consts: int,
    carry: int,
    length: int | None,
    reverse: bool,
    counted: bool,
) -> tuple:
    """The loop in Python; when that has taken as long as it takes to compile it, or will, as native code if all of it has any."""
    params = {"body": body, "condition": condition, "consts": consts, "carry": carry, "length": length, "reverse": reverse}
    count, held, inits, xs = divide(args, consts, carry, counted)
    held, state = list(held), [as_declared(a, x) for a, x in zip(inits, body.inputs[consts:], strict=False)]
    ys = [np.zeros((length or 0, *y.shape), y.dtype) for y in body.outputs[carry:]]
    some = LONG // len(body.schedule[1] or "1")
    buys = some if condition is not None or (length or 0) <= some else 0
    for k, t in enumerate(iterations(count, length, reverse)):
        if condition is not None and not condition.run([*held, *state])[0]:
            break
        if k == buys and not is_watching() and (found := SPECIALISED["loop"](args, params | {"counted": counted})) is not None:
            return found
        outs = body.run([*held, *state, *[x[t] for x in xs]])
        state = outs[:carry]
        for y, row in zip(ys, outs[carry:], strict=True):
            y[t] = row
    return (*[as_declared(s, y) for s, y in zip(state, body.outputs, strict=False)], *ys)


def as_declared(value: Any, like: Any) -> Any:
    """A number or array in the dtype that a Function says."""
    return value if getattr(value, "dtype", None) == like.dtype else np.asarray(value, like.dtype)[()]


def abstract(*args: Any, body: Function, carry: int, length: int | None, **params: Any) -> tuple:
    """The last carry, and a row of ys for each iteration."""
    last = [(y.shape, y.dtype) for y in body.outputs[:carry]]
    return (), Results(tuple(last + [((length, *y.shape), y.dtype) for y in body.outputs[carry:]]))


# -- forward -------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def pushed(body: Function, active: tuple, guarded: bool, consts: int, carry: int) -> tuple[Function, tuple, tuple]:
    """A body that takes tangents beside the carry, for tangents of the inputs marked; which carries and which outputs have them."""
    while True:
        extended, flags = push_function(body, active, guarded)
        grown = tuple(a or b for a, b in zip(active[consts : consts + carry], flags, strict=False))
        if grown == active[consts : consts + carry]:
            break
        active = (*active[:consts], *grown, *active[consts + carry :])
    n = len(body.inputs)
    primal, own_tangents = extended.inputs[:n], iter(extended.inputs[n:])
    tangents = [next(own_tangents) if a else None for a in active]
    groups = [[*group, *[t for t in dots if t is not None]] for group, dots in zip(
        divide(primal, consts, carry)[1:], divide(tangents, consts, carry)[1:], strict=True)]  # fmt: skip
    outs, rest = extended.outputs[: len(flags)], iter(extended.outputs[len(flags) :])
    dots = [next(rest) if f else None for f in flags]
    last = [zeros_like(y) if d is None else d for a, y, d in zip(grown, outs, dots, strict=False) if a]
    own = Function(
        [x for g in groups for x in g], [*outs[:carry], *last, *outs[carry:], *[d for d in dots[carry:] if d is not None]]
    )
    return own, active, (*grown, *flags[carry:])


def push(tangents: dict, guarded: bool, out: Any, *args: Any, **params: Any) -> dict:
    """The loop of the body's tangent: tangents of the carry go beside it."""
    body, consts, carry, counted = params["body"], params["consts"], params["carry"], params["counted"]
    marked = tuple(k + counted in tangents for k in range(len(body.inputs)))
    extended, active, flags = pushed(body, marked, guarded, consts, carry)
    count, *groups = divide(args, consts, carry, counted)
    dots = [
        tangents.get(k + counted, zero_tangent(a)) if m else None
        for k, (a, m) in enumerate(zip(args[counted:], active, strict=True))
    ]
    sides = [[d for d in side if d is not None] for side in divide(dots, consts, carry)[1:]]
    found = loop(
        *count,
        *[x for group, side in zip(groups, sides, strict=True) for x in (*group, *side)],
        **params
        | {
            "body": extended,
            "condition": rewired(params["condition"], consts, len(sides[0]), carry, extended.inputs),
            "consts": consts + len(sides[0]),
            "carry": carry + len(sides[1]),
        },
    )
    results = results_of(found)
    both, ys = results[carry : carry + len(sides[1])], results[len(sides[1]) + len(body.outputs) :]
    own = iter([*both, *ys])
    return {k: next(own) for k, f in enumerate(flags) if f}


def zero_tangent(a: Any) -> Any:
    """The tangent of an init that has none, in a loop that gives it one."""
    return np.zeros(shape_of(a), np.dtype(dtype_of(a)))


def rewired(condition: Function | None, consts: int, more: int, carry: int, inputs: Any) -> Function | None:
    """A condition on the first carries of a loop that has more of them, and ``more`` constants."""
    if condition is None:
        return None
    new = fresh(inputs)
    held, state = new[:consts], new[consts + more : consts + more + carry]
    size = len(inputs)
    return Function(new[:size], condition.run([*held, *state]))


# -- reverse -------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def pulled(body: Function, active: tuple, given: tuple, guarded: bool, consts: int, carry: int, leaves_products: bool) -> Backward:
    """The body with what the way back reads, and the body of the way back; for cotangents of the outputs in ``given``."""
    while True:  # the inits that matter depend on which cotangents of the carry there are, and the other way round
        found = pull_function(body, active, given, guarded)
        bars = found.bars[consts : consts + carry]
        grown = tuple(g or b is not None for g, b in zip(given, bars, strict=False)) + given[carry:]
        if grown == given:
            return split_pulled(found, given, consts, carry, leaves_products)
        given = grown


def activate(body: Function, active: tuple, consts: int, carry: int) -> tuple:
    """The inputs marked, and the carries that come to depend on them."""
    while True:
        back = activity(body, active)[:carry]
        grown = (*active[:consts], *[a or b for a, b in zip(active[consts:], back, strict=False)], *active[consts + carry :])
        if grown == active:
            return active
        active = grown


def pull(cts: dict, active: list, guarded: bool, out: Any, *args: Any, **params: Any) -> list:
    """The loop again with what the body's pullback reads stacked, then the loop of the pullback the other way."""
    body, consts, carry, counted = params["body"], params["consts"], params["carry"], params["counted"]
    marked = activate(body, tuple(k + counted in active for k in range(len(body.inputs))), consts, carry)
    floats = tuple(m and x.dtype.kind in "fc" for m, x in zip(marked, body.inputs, strict=True))
    count, held, inits, xs = divide(args, consts, carry, counted)
    if params["length"] is None and not count:
        count = [count_iterations(args, params)]
    is_endless = params["length"] is None and isinstance(count[0], Expr) and count[0].value is None
    back = pulled(body, floats, tuple(k in cts for k in range(len(body.outputs))), guarded, consts, carry, not is_endless)
    if is_endless:
        return pull_in_segments(back, count[0], held, inits, cts, active, params)
    if params["length"] is None:
        params = params | {"length": int(concrete(count[0], "the count of a loop")), "condition": None, "counted": False}
        args, count = (*held, *inits), []
    stacks, count = record(back, args, count, params)
    start = [zeros_like(body.inputs[k]) for k in back.summed]
    start += [cts.get(k, zero_tangent(body.outputs[k])) for k in back.carried]
    rows = [*[xs[k] for k in back.rows], *stacks, *[cts[k] for k in back.given]]
    found = results_of(
        loop(
            *count,
            *[held[k] for k in back.held],
            *start,
            *rows,
            body=back.reverse,
            condition=None,
            consts=len(back.held),
            carry=len(start),
            length=params["length"],
            reverse=not params["reverse"],
            counted=bool(count),
        )
    )
    places = [*back.summed, *[consts + k for k in back.carried], *back.results]
    bars: dict[int, Any] = dict(zip(places, found, strict=False))
    whole = {"xs": xs, "residuals": stacks, "ys": found[len(places) :]}
    for p in back.products:
        product = sum_products(*[whole[kind][k] for kind, k, _ in p.operands], *[t for _, _, t in p.operands])
        bars[p.position] = bars[p.position] + product if p.position in bars else product
    return [bars.get(k - counted) for k in active]


def sum_products(a: Any, b: Any, a_transposed: bool, b_transposed: bool) -> Any:
    """The sum of the products of two stacks of matrices."""
    return np.tensordot(a, b, ((0, 1 if a_transposed else 2), (0, 2 if b_transposed else 1)))


def record(back: Backward, args: tuple, count: Any, params: dict) -> tuple[list, list]:
    """What the way back reads of each iteration, and how many there were, where the length does not say."""
    carry, condition, consts = params["carry"], params["condition"], params["consts"]
    if condition is None:
        stacks = results_of(loop(*args, **params | {"body": back.forward})) if back.stored else []
        return stacks[len(params["body"].outputs) :], list(count)
    counting = with_count(back.forward, consts, carry)
    more = {"condition": rewired(condition, consts, 0, carry, counting.inputs[: consts + carry + 1]), "carry": carry + 1}
    _, held, inits, xs = divide(args, consts, carry, params["counted"])
    args = (*count, *held, *inits, np.zeros((), np.int64), *xs)
    found = results_of(loop(*args, **params | more | {"body": counting}))
    return found[len(params["body"].outputs) + 1 :], [found[carry]]


def count_iterations(args: tuple, params: dict) -> Any:
    """How often a loop goes round that a condition ends."""
    consts, carry, condition = params["consts"], params["carry"], params["condition"]
    counting = with_count(params["body"], consts, carry)
    more = {"condition": rewired(condition, consts, 0, carry, counting.inputs), "carry": carry + 1, "body": counting}
    return results_of(loop(*args, np.zeros((), np.int64), **params | more))[carry]


def with_count(body: Function, consts: int, carry: int) -> Function:
    """A body that counts its iterations, in a carry after the others."""
    count = Var("count", (), np.dtype(np.int64))
    inputs, outputs = body.inputs, body.outputs
    at = consts + carry
    return Function([*inputs[:at], count, *inputs[at:]], [*outputs[:carry], np.add(count, 1), *outputs[carry:]])


# -- reverse, where the number of iterations is not known before the program runs -------------------------------------------

SEGMENT = 256  # iterations, or segments of iterations, whose residuals or states are kept at a time
LEVELS = 4  # of segments of segments


def pull_in_segments(back: Backward, count: Any, held: list, inits: list, cts: dict, active: list, params: dict) -> list:
    """The way back in memory of a fixed size: states at the beginnings of long segments, of the short ones in the one at hand, and
    residuals of the last ones. Each iteration is computed at most `LEVELS` times again (Griewank and Walther 2000)."""
    body, consts, carry, counted = params["body"], params["consts"], params["carry"], params["counted"]
    start = [zeros_like(body.inputs[k]) for k in back.summed]
    start += [cts.get(k, zero_tangent(body.outputs[k])) for k in back.carried]
    whole = segments_function(back, body, consts, carry, LEVELS)
    found = whole.run([*held, count, *inits, *start])
    fits = np.where(count <= SEGMENT**LEVELS, 1.0, np.nan)  # beyond there is no memory for states
    found = [y * fits.astype(y.dtype) for y in found]
    bars = dict(zip([*back.summed, *[consts + k for k in back.carried]], found, strict=True))
    return [bars.get(k - counted) for k in active]


@lru_cache(maxsize=64)
def segments_function(back: Backward, body: Function, consts: int, carry: int, level: int) -> Function:
    """(constants, n, carry, cotangents) to the cotangents before n iterations, up to SEGMENT ** level of them."""
    held, state = fresh(body.inputs[:consts]), fresh(body.inputs[consts:])
    count, k = integer("n"), integer("k")
    sums = fresh([*[body.inputs[k] for k in back.summed], *[body.outputs[k] for k in back.carried]], "ct")
    inputs = [*held, count, *state, *sums]
    if level == 1:
        p = {"condition": None, "length": SEGMENT, "counted": True}
        stacks = results_of(loop(count, *held, *state, body=back.forward, consts=consts, carry=carry, reverse=False, **p))[carry:]
        some = [held[k] for k in back.held]
        found = results_of(
            loop(count, *some, *sums, *stacks, body=back.reverse, consts=len(some), carry=len(sums), reverse=True, **p)
        )
        return Function(inputs, found[: len(sums)])
    inner, stride = segments_function(back, body, consts, carry, level - 1), SEGMENT ** (level - 1)
    number = np.ceil(count / stride).astype(np.int64)
    p = {"condition": None, "length": SEGMENT, "counted": True, "consts": consts + 1}
    going = advance_function(body, consts, carry, stride)
    states = results_of(loop(number, *held, number, *state, np.int64(1), body=going, carry=carry + 1, reverse=False, **p))
    new, row, before, whole = fresh(held), fresh(state), fresh(sums), integer("n")
    size = np.minimum(whole - k * stride, stride)
    step = Function([*new, whole, *before, k, *row], [*recomputed(inner, [*new, size, *row, *before]), k - 1])
    found = results_of(
        loop(number, *held, count, *sums, number - 1, *states[carry + 1 :], body=step, carry=len(sums) + 1, reverse=True, **p)
    )
    return Function(inputs, found[: len(sums)])


def advance_function(body: Function, consts: int, carry: int, stride: int) -> Function:
    """(constants, number of segments, carry, k) to the carry after a segment, k + 1 and the carry before; the last one stays."""
    held, state = fresh(body.inputs[:consts]), fresh(body.inputs[consts:])
    number, k = integer("n"), integer("k")
    count = np.where(k < number, stride, 0)
    p = {"condition": None, "length": None, "counted": True, "reverse": False}
    after = results_of(loop(count, *held, *state, body=body, consts=consts, carry=carry, **p))
    return Function([*held, number, *state, k], [*after, k + 1, *state])


def integer(name: str) -> Any:
    """A new integer."""
    return Var(name, (), np.dtype(np.int64))


# -- batches -------------------------------------------------------------------------------------------------------------


MASKED = 512  # operations of an iteration up to which lanes that have ended go along, and what they compute is left out
BLOCK = 512  # lanes that go along with one another


def batch(size: int, args: tuple, batched: tuple, **params: Any) -> Any:
    """One loop of batched bodies. Where lanes differ in how often they go round, those that have ended go along in blocks if
    an iteration is cheap, until the last of the block has ended; otherwise each runs its own loop."""
    body, consts, carry, counted = params["body"], params["consts"], params["carry"], params["counted"]
    if counted and batched[0]:
        return map_lanes(loop, size, args, batched, params)
    flags = batched[counted:]
    while True:
        wanted = (*flags[consts : consts + carry], *(True for _ in body.outputs[carry:]))
        wide, out = batch_function(body, size, flags, wanted)
        if out[:carry] == flags[consts : consts + carry]:
            break
        flags = (*flags[:consts], *out[:carry], *flags[consts + carry :])
    condition = params["condition"]
    if condition is not None:
        condition, (many,) = batch_function(condition, size, flags[: consts + carry], (False,))
        if many:
            return batch_while(size, args, batched, flags, params)
    return loop_batched(size, args, batched, flags, params | {"body": wide, "condition": condition})


def loop_batched(size: int, args: tuple, batched: tuple, flags: tuple, params: dict) -> tuple:
    """The results of the loop of a batched body, whose inputs are batched as ``flags`` say."""
    consts, carry, counted = params["consts"], params["carry"], params["counted"]
    count, held, inits, xs = divide(args, consts, carry, counted)
    given, want = divide(batched, consts, carry, counted)[2], flags[consts : consts + carry]
    inits = [front(size, a, b) if w else a for a, b, w in zip(inits, given, want, strict=True)]
    xs = [np.moveaxis(x, 0, 1) if b else x for x, b in zip(xs, flags[consts + carry :], strict=True)]
    found = results_of(loop(*count, *held, *inits, *xs, **params))
    last = [y if w else np.broadcast_to(y, (size, *y.shape)) for y, w in zip(found, want, strict=False)]
    return (*last, *[np.moveaxis(y, 0, 1) for y in found[carry:]])


def batch_while(size: int, args: tuple, batched: tuple, flags: tuple, params: dict) -> tuple:
    """The results of a loop that lanes leave one by one."""
    body, consts, carry, counted = params["body"], params["consts"], params["carry"], params["counted"]
    if any(n.op.functions for n in body.nodes) or body.flops + params["condition"].flops > MASKED:
        return map_lanes(loop, size, args, batched, params)
    is_symbolic = any(isinstance(a, Expr) and a.value is None for a, b in zip(args, batched, strict=True) if b)
    if size > 2 * BLOCK and is_symbolic:  # native code: each block stays in cache, and threads take blocks
        return batch_blocks(size, args, batched, params)
    flags = (*flags[:consts], *(True for _ in range(carry)), *flags[consts + carry :])
    masked, goes_on = masked_functions(body, params["condition"], size, flags, consts, carry)
    count, held, inits, xs = divide(args, consts, carry, counted)
    inits = [front(size, a, b) for a, b in zip(inits, divide(batched, consts, carry, counted)[2], strict=True)]
    begin = batch_function(params["condition"], size, flags[: consts + carry], (True,))[0].run([*held, *inits])
    more = {"body": masked, "condition": goes_on, "carry": carry + 1}
    own = (*(b for b in batched[: counted + consts]), *(True for _ in range(carry + 1)), *batched[counted + consts + carry :])
    found = loop_batched(
        size, (*count, *held, *inits, *begin, *xs), own, (*flags[: consts + carry], True, *flags[consts + carry :]), params | more
    )
    return (*found[:carry], *found[carry + 1 :])


@lru_cache(maxsize=256)
def masked_functions(body: Function, condition: Function, size: int, flags: tuple, consts: int, carry: int) -> tuple:
    """The body with a last carry that says which lanes go on, and changes these only; and whether any does."""
    wide, _ = batch_function(body, size, flags, (True,) * len(body.outputs))
    test, _ = batch_function(condition, size, flags[: consts + carry], (True,))
    inputs, at = fresh(wide.inputs), consts + carry
    alive = Var("alive", (size,), np.dtype(bool))
    outs = wide.run(list(inputs))
    pick = lambda y, old: np.where(np.reshape(alive, (size, *(1,) * (len(y.shape) - 1))), y, old)
    state = [pick(y, old) for y, old in zip(outs, inputs[consts:at], strict=False)]
    goes_on = np.logical_and(alive, test.run([*inputs[:consts], *state])[0])
    rows = [pick(y, np.zeros((), y.dtype)) for y in outs[carry:]]
    masked = Function([*inputs[:at], alive, *inputs[at:]], [*state, goes_on, *rows])
    others = fresh([*inputs[:at], alive])
    return masked, Function(others, [np.any(others[-1])])


def batch_blocks(size: int, args: tuple, batched: tuple, params: dict) -> tuple:
    """Blocks of lanes, each a loop of its own, one after another or on several threads."""
    whole = size // BLOCK * BLOCK
    first = [np.reshape(a[:whole], (-1, BLOCK, *a.shape[1:])) if b else a for a, b in zip(args, batched, strict=True)]
    batch_one = lambda *inner, **p: batch(BLOCK, inner, batched, **p)
    found = map_lanes(batch_one, whole // BLOCK, tuple(first), batched, params)
    found = tuple([np.reshape(y, (whole, *y.shape[2:])) for y in found])
    if whole == size:
        return found
    rest = batch(size - whole, tuple([a[whole:] if b else a for a, b in zip(args, batched, strict=True)]), batched, **params)
    return tuple([np.concatenate([a, b]) for a, b in zip(found, rest, strict=True)])


def map_lanes(op: Any, size: int, args: tuple, batched: tuple, params: dict) -> tuple:
    """An operation of several results on each example by itself: a loop without a carry."""
    order = [*[k for k, b in enumerate(batched) if not b], *[k for k, b in enumerate(batched) if b]]
    inner: list[Any] = [None] * len(args)
    for k, a in enumerate(args):
        inner[k] = Var("x", shape_of(a)[batched[k] :], np.dtype(dtype_of(a)))
    body = Function([inner[k] for k in order], results_of(op(*inner, **params)))
    held = len(args) - sum(batched)
    found = loop(
        *[args[k] for k in order], body=body, condition=None, consts=held, carry=0, length=size, reverse=False, counted=False
    )
    return tuple(results_of(found))


def count_flops(out: Any, *args: Any, body: Function, length: int | None, **params: Any) -> int:
    """Of a loop whose length is not known, those of one iteration."""
    return body.flops * (1 if length is None else length)


loop = structural(
    "loop",
    evaluate,
    abstract,
    ByMode(push, pull),
    batch=batch,
    flops=count_flops,
    role="loop",
    keeps_out=False,
    functions=("body", "condition"),
)
