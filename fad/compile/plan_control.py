"""Plans of loops and branches: the nests of what they hold, and which buffers are rows, carries, or lie outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fad.compile.control import Carry, Choice, Outside, Repeat, Row, Scope
from fad.compile.kernel import KernelRun
from fad.compile.loops import Loops
from fad.compile.segment import Segment, accesses, is_parallel, launches
from fad.compile.steps import Control, Partition
from fad.compile.storage import lay_out, may_share, round_up
from fad.control.loop import divide
from fad.native.machine_model import WAKE_WORK

__all__ = ["plan_control"]

STATE = 64  # bytes at the head of the scratch memory: whether the loop is done, and the number of the next iteration
SMALL = 1024  # bytes up to which a carry is copied at the end of an iteration; the buffers of larger ones take turns
STACK = 1 << 16  # bytes that an iteration of several threads may have for itself


def plan_control(step: Control, outer: Partition, buffer: Callable, plan_held: Callable) -> Repeat | Choice:
    """The plan of a loop or branch; ``buffer(bytes)`` gives it memory, ``plan_held(partition, carries)`` nests and sizes."""
    bases = [outer.alias.get(a.id, a).id for a in step.node.args]
    results = {r.params["index"]: r.id for r in step.results}
    unread = 0 if step.node.op.role == "branch" else step.node.params["carry"]
    for k, y in enumerate(step.held[0].function.outputs[unread:], unread):
        if k not in results:  # what read it was simplified away
            results[k] = buffer(y.nbytes * max(step.node.params.get("length") or 1, 1))
    if step.node.op.role == "branch":
        return plan_choice(step, bases, results, buffer, plan_held)
    return plan_repeat(step, bases, results, buffer, plan_held)


def plan_repeat(step: Control, bases: list, results: dict[int, int], buffer: Callable, plan_held: Callable) -> Repeat:
    """The plan of a loop."""
    p, parts, body = step.node.params, step.held[0], step.held[0].function
    consts, carry, length = p["consts"], p["carry"], p["length"]
    count, held, inits, xs = divide(bases, consts, carry, p["counted"])
    steps, sizes = plan_held(parts, {x.id for x in body.inputs[consts : consts + carry]})
    carries = [
        Carry(x.id, x.id if is_in_place(steps, x, y) else y.id, init, results.get(k), y.nbytes)
        for k, (x, y, init) in enumerate(zip(body.inputs[consts : consts + carry], body.outputs, inits, strict=False))
    ]
    in_place = {c.now: y.id for c, y in zip(carries, body.outputs, strict=False) if c.now == c.new}
    steps = [n for n in steps if not is_copy(n, in_place)]
    stacks = [(y, results[carry + k]) for k, y in enumerate(body.outputs[carry:])]
    rows = [Row(x.id, whole, x.nbytes) for x, whole in zip(body.inputs[consts + carry :], xs, strict=True)]
    rows += [Row(y.id, whole, y.nbytes) for y, whole in stacks]
    names = {x.id: b for x, b in zip(body.inputs, held, strict=False)}
    names |= {y.id: c.now for y, c in zip(body.outputs, carries, strict=False) if c.now == c.new}
    scope = make_scope(parts, steps, sizes, names, [b for c in carries for b in {c.now: c, c.new: c}], STATE, carries)
    test = (
        None if p["condition"] is None else plan_test(step.held[1], [*held, *[c.now for c in carries]], end_of([scope]), plan_held)
    )
    some = bool(count) or test is not None
    scopes = [scope, *([test] if test else [])]
    reads, writes, asks = seen_outside(scopes, {r.buffer for r in rows}, [*count, *inits, *xs], [b for _, b in stacks])
    own = sum([n for n, _ in scope.own.values()])
    work = (length or 0) * sum([n.work for n in steps])
    shared = not carries and not some and work > WAKE_WORK and own <= STACK and not any(map(is_parallel, steps)) and length > 1
    return Repeat(
        scope,
        test,
        step.held[1].function.outputs[0].id if test else 0,
        tuple(carries),
        tuple(rows),
        tuple([(b, y.nbytes * length) for y, b in stacks]) if some else (),
        length,
        count[0] if count else None,
        p["reverse"],
        shared,
        Outside(
            buffer(end_of(scopes)),
            reads,
            (*writes, *[c.last for c in carries if c.last is not None]),
            asks,
            any(map(launches, steps)) and not shared,
            any(map(goes_on, steps)),
        ),
    )


def plan_test(parts: Partition, told: list[int], begin: int, plan_held: Callable) -> Scope:
    """What says whether there is a next iteration: a condition of these buffers."""
    steps, sizes = plan_held(parts, set())
    names = {x.id: b for x, b in zip(parts.function.inputs, told, strict=True)}
    return make_scope(parts, steps, sizes, names, [parts.function.outputs[0].id], begin, [])


def plan_choice(step: Control, bases: list, results: dict[int, int], buffer: Callable, plan_held: Callable) -> Choice:
    """The plan of a branch."""
    index, *operands = bases
    scopes: list[Scope] = []
    for parts in step.held:
        steps, sizes = plan_held(parts, set())
        names = {x.id: b for x, b in zip(parts.function.inputs, operands, strict=True)}
        names |= {y.id: results[k] for k, y in enumerate(parts.function.outputs)}
        scopes.append(make_scope(parts, steps, sizes, names, [], end_of(scopes), []))
    reads, writes, _ = seen_outside(scopes, set(), [index], list(results.values()))
    together = any(launches(n) for s in scopes for n in s.steps)
    long = any(goes_on(n) for s in scopes for n in s.steps)
    return Choice(index, tuple(scopes), Outside(buffer(end_of(scopes)), reads, writes, True, together, long))


def is_in_place(steps: list, x: Any, y: Any) -> bool:
    """Whether a large carry is written where it is read."""
    return y.nbytes > SMALL and may_share([n for n in steps if any(a.buffer in (x.id, y.id) for a in accesses(n))], x.id, y.id)


def goes_on(n: Any) -> bool:
    """Whether a step is, or holds, a loop that may go on for long."""
    return isinstance(n, Repeat | Choice) and (n.outside.polls or (isinstance(n, Repeat) and n.is_endless))


def is_copy(n: Any, in_place: dict[int, int]) -> bool:
    """Whether a nest copies what is to be written in place."""
    if not isinstance(n, Loops) or len(n.body.instructions) != 1 or len(n.body.stores) != 1 or n.body.folds or n.body.scatters:
        return False
    read, write = n.body.instructions[0].access, n.body.stores[0][0]
    return read is not None and read.buffer in in_place and write == read._replace(buffer=in_place[read.buffer])


def make_scope(parts: Partition, steps: list, sizes: dict, names: dict[int, int], kept: list, begin: int, carries: list) -> Scope:
    """Steps with a place in the scratch memory, from ``begin``, for each buffer of theirs; those ``kept`` have it to themselves."""
    alone = {c.now: c.nbytes for c in carries} | {c.new: c.nbytes for c in carries}
    alone |= {b: sizes[b] for b in kept if b not in alone}
    ends = {y.id for y in parts.function.outputs} | names.keys() | alone.keys()
    offsets, size = lay_out(parts, [Segment(tuple(steps))], {b: n for b, n in sizes.items() if b not in ends})
    own = {b: (sizes[b], begin + at) for b, at in offsets.items()}
    at = begin + round_up(size)
    for b, n in alone.items():
        own[b] = (n, at)
        at += round_up(n)
    return Scope(tuple(steps), names, own)


def end_of(scopes: list[Scope]) -> int:
    """Where the memory of scopes ends."""
    return max([round_up(at + n) for s in scopes for n, at in s.own.values()], default=STATE)


def seen_outside(scopes: list[Scope], rows: set[int], reads: list, writes: list) -> tuple[tuple, tuple, bool]:
    """The buffers outside that steps of these scopes read and write, and whether they ask if indices are in range."""
    found, asks = dict.fromkeys(reads), False
    for scope in scopes:
        inside = scope.own.keys() | rows | scopes[0].own.keys()
        for n in scope.steps:
            asks = asks or (isinstance(n, Repeat | Choice) and n.outside.asks) or any(b.asks_range for b in n.bodies)
            asks = asks or (isinstance(n, KernelRun) and n.asks)
            for a in accesses(n):
                b = scope.names.get(a.buffer, a.buffer)
                if b not in inside and b not in writes:
                    found[b] = None
    return tuple(found), tuple(dict.fromkeys(writes)), asks
