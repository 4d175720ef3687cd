"""Revolve: the way back through a loop with so many of its carries at hand at a time.

Snapshots of the carry are taken at blocks that make for the least work (Griewank and Walther, Algorithm 799: Revolve, 2000). Which,
and when, is a schedule of events; a loop over the events is the way back, so its code does not depend on how many there are.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from fad.control.blocks import recomputing, run_rows, segment
from fad.control.branch import branch
from fad.control.call import Rule, call
from fad.control.functions import fresh, pull_function, zeros_like
from fad.control.loop import integer, loop
from fad.core.expr import Var
from fad.core.function import Function
from fad.primitives.index import gather, scatter_set
from fad.primitives.result import results_of
from fad.transforms.derivatives import jvp

__all__ = ["run_binomial", "schedule"]

MOST = 1024  # blocks of iterations among which snapshots are spread


def run_binomial(body: Function, held: list, inits: list, xs: list, length: int, snapshots: int | None) -> list:
    """The last carry and the ys of a loop of which reverse mode holds so many carries at a time, log2 of the number by default."""
    consts, carry = len(held), len(inits)
    size = -(-length // MOST)
    count = length // size
    whole = [np.reshape(x[: count * size], (count, size, *x.shape[1:])) for x in xs]
    limit = max(2, min(snapshots or count.bit_length() + 1, count + 1))
    outs = _Revolve(segment(body, consts, carry, size), consts, carry, count, limit).run(held, inits, whole)
    last, ys = outs[:carry], [np.reshape(y, (count * size, *y.shape[2:])) for y in outs[carry:]]
    if rest := length - count * size:
        f = recomputing(segment(body, consts, carry, rest))
        outs = f.run([*held, *last, *[x[count * size :] for x in xs]])
        last, ys = outs[:carry], [np.concatenate([a, b]) for a, b in zip(ys, outs[carry:], strict=True)]
    return [*last, *ys]


class _Revolve:
    """A loop over ``count`` blocks, ``step(constants, carry, rows)`` being one, and its way back with so many snapshots.

    The way back is a loop over events. Its carry: the sums that become cotangents of the constants, the cotangents of the carry,
    those of all rows of xs, and the snapshots; the latter two have a place more, for what an event does not make."""

    def __init__(self, step: Function, consts: int, carry: int, count: int, snapshots: int):
        self.step, self.consts, self.carry, self.count, self.snapshots = step, consts, carry, count, snapshots
        at = consts + carry
        self.given = tuple([k for k, x in enumerate(step.inputs) if x.dtype.kind in "fc"])
        self.told = tuple([k for k, y in enumerate(step.outputs) if y.dtype.kind in "fc"])
        self.summed = [x for k, x in enumerate(step.inputs[:consts]) if k in self.given]
        self.moved = [y for k, y in enumerate(step.outputs[:carry]) if k in self.told]
        self.rows = [k - at for k in self.given if k >= at]

    def run(self, held: list, inits: list, xs: list) -> list:
        """The last carry and the stacked ys."""
        at = self.consts + self.carry
        inputs = [*fresh(self.step.inputs[:at]), *[Var("x", x.shape, x.dtype) for x in xs]]
        results = run_rows(self.step, inputs[: self.consts], inputs[self.consts : at], inputs[at:], self.count)
        body = Function(inputs, results)

        def push(args: list, results: list, dots: list) -> list:
            def f(*some: Any) -> tuple:
                own = dict(zip(self.given, some, strict=True))
                outs = body.run([own.get(k, a) for k, a in enumerate(args)])
                return tuple([outs[k] for k in self.told])

            return list(jvp(f, tuple([args[k] for k in self.given]), tuple(dots))[1])

        def pull(args: list, results: list, cts: list) -> list:
            return self.go_back(args, dict(zip(self.told, cts, strict=True)))

        return results_of(call(*held, *inits, *xs, body=body, rule=Rule("scan", self.given, self.told, push, pull)))

    def go_back(self, args: list, cts: dict) -> list:
        """The cotangents of the args, from those of the results."""
        at, step = self.consts + self.carry, self.step
        xs = args[at:]
        sums = [zeros_like(x) for x in self.summed]
        bars = [cts[k] for k in self.told if k < self.carry]
        x_bars = [np.zeros((self.count + 1, *xs[k].shape[1:]), xs[k].dtype) for k in self.rows]
        snapshots = [
            scatter_set(np.zeros((self.snapshots + 1, *x.shape), x.dtype), np.reshape(c, (1, *x.shape)), np.zeros(1, np.int64))
            for c, x in zip(args[self.consts : at], step.inputs[self.consts :], strict=False)
        ]
        constants = [*args[: self.consts], *xs, *[cts[k] for k in self.told if k >= self.carry]]
        like = [*step.inputs[: self.consts], *constants[self.consts :]]
        state = [*sums, *bars, *x_bars, *snapshots]
        events = schedule(self.count, self.snapshots)
        found = run_rows(self.event(fresh(like), fresh(state)), constants, state, list(events), len(events[0]))
        some = len(sums) + len(bars)
        return [*found[:some], *[y[: self.count] for y in found[some : some + len(x_bars)]]]

    def event(self, constants: list, state: list) -> Function:
        """One event: from a snapshot some blocks onward, and there a new snapshot, or a block pulled back."""
        source, start, steps, target = map(integer, ("source", "start", "steps", "target"))
        some = len(self.summed) + len(self.moved)
        linear, x_bars, snapshots = state[:some], state[some : some + len(self.rows)], state[some + len(self.rows) :]
        held, rest = constants[: self.consts], constants[self.consts :]
        xs = rest[: len(self.step.inputs) - self.consts - self.carry]
        here = self.advance(held, xs, [gather(s, source) for s in snapshots], start, steps)
        is_store, at = target < self.snapshots, start + steps
        operands = [*held, *here, *[gather(x, np.minimum(at, self.count - 1)) for x in rest], *linear]
        back, stay = self.pulled(operands), fresh(operands)
        staying = [*stay[len(stay) - some :], *[np.zeros(x.shape[1:], x.dtype) for x in x_bars]]
        found = results_of(branch(np.where(is_store, 1, 0).astype(np.int64), *operands, branches=(back, Function(stay, staying))))
        place, slot = np.reshape(np.where(is_store, self.count, at), (1,)), np.reshape(target, (1,))
        x_bars = [scatter_set(x, np.reshape(g, (1, *g.shape)), place) for x, g in zip(x_bars, found[some:], strict=True)]
        snapshots = [scatter_set(s, np.reshape(c, (1, *c.shape)), slot) for s, c in zip(snapshots, here, strict=True)]
        return Function([*constants, *state, source, start, steps, target], [*found[:some], *x_bars, *snapshots])

    def advance(self, held: list, xs: list, state: list, start: Any, steps: Any) -> list:
        """The carry some blocks further on."""
        fixed, now, k = fresh([*held, *xs]), fresh(state), integer("k")
        outs = self.step.run([*fixed[: self.consts], *now, *[gather(x, k) for x in fixed[self.consts :]]])[: self.carry]
        body = Function([*fixed, *now, k], [*outs, k + 1])
        p = {"condition": None, "consts": len(fixed), "carry": self.carry + 1, "length": None, "reverse": False, "counted": True}
        return results_of(loop(steps, *held, *xs, *state, start, body=body, **p))[: self.carry]

    def pulled(self, like: list) -> Function:
        """(constants, carry, rows, cotangents of ys, sums, cotangents of the carry) to new sums, cotangents of carry and rows."""
        active = tuple(k in self.given for k in range(len(self.step.inputs)))
        found = pull_function(self.step, active, tuple(k in self.told for k in range(len(self.step.outputs))), False)
        bars = [zeros_like(x) if b is None else b for b, x, a in zip(found.bars, self.step.inputs, active, strict=True) if a]
        cts, sums = found.cotangents, fresh(self.summed)
        own, ys = ([c for c in group if c is not None] for group in (cts[: self.carry], cts[self.carry :]))
        totals = [s + b for s, b in zip(sums, bars, strict=False)]
        return Function([*found.inputs, *ys, *sums, *own], [*totals, *bars[len(sums) :]])


@lru_cache(maxsize=64)
def schedule(count: int, snapshots: int) -> tuple[np.ndarray, ...]:
    """Events (source, start, steps, target): from the snapshot in a slot, which is of block ``start``, so many blocks onward; there
    a snapshot for the slot ``target``, or, where that is ``snapshots``, the block pulled back."""
    events: list[tuple[int, int, int, int]] = []
    taken = [0]
    for t in reversed(range(count)):
        while True:
            slot, begin = len(taken) - 1, taken[-1]
            ahead, free = t - begin, snapshots - len(taken)
            if ahead and free:
                onward = split(ahead + 1, free + 1)
                events.append((slot, begin, onward, slot + 1))
                taken.append(begin + onward)
                continue
            events.append((slot, begin, ahead, snapshots))
            if not ahead and slot:
                taken.pop()
            break
    return tuple(np.array(events, np.int64).T.copy())


def split(length: int, slots: int) -> int:
    """How far to go for the next snapshot, of so many iterations with so many slots: the later part has one slot less."""
    reach = lambda slots, times: math.comb(slots + times, slots) if times >= 0 else 0  # iterations, each taken so often at most
    times = next(r for r in range(1, length + 1) if reach(slots, r) >= length)
    return max(1, min(length - 1, max(length - reach(slots - 1, times), reach(slots, times - 2))))
