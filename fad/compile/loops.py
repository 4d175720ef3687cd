"""Loops: the axes of a box merged where memory allows, ordered, and one of them chosen to run in vectors.

Kept axes come first, reduced ones inside. Reductions whose operands serve several iterations of a kept axis take these side by
side, which is the register tile of a matrix product.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any

from fad.compile.body import Access, Body
from fad.native.machine_model import HEAVY, LOOK_AHEAD, PACKING_REUSE, SHORT_CODE_WORK

__all__ = ["Loops", "arrange", "jam_axis", "permute_loops", "split_axis"]


@dataclass(frozen=True, slots=True)
class Loops:
    """A body with loops: extents, which are reduced, one of them in vectors. The ``outer`` first ones are shared among threads."""

    body: Body
    extents: tuple[int, ...]
    reduced: tuple[bool, ...]
    vector: int  # the axis that runs in vectors
    lanes: int
    outer: int = 0
    strip: int = 0  # elements of the vector axis in one piece of work, where that axis is shared among threads
    exact: bool = False  # every element is computed once; otherwise the last vector may overlap the one before it
    jam: int = -1  # the axis whose iterations are written out side by side, for operands in registers to be used by all

    @property
    def bodies(self) -> list[Body]:
        """The one body."""
        return [self.body]

    @property
    def work(self) -> float:
        """Operations of the whole nest."""
        return prod(self.extents) * (self.body.cost + len(self.body.stores))

    @property
    def pieces(self) -> int:
        """Strips, or iterations of the outer loops together."""
        return -(-self.extents[0] // self.strip) if self.strip else prod(self.extents[: self.outer])


def arrange(body: Body, vector_bytes: int, exact: bool = False, pack: Callable | None = None, rows: int = 0) -> Loops:
    """Loops for a body. ``pack(access, extents, axes)`` gives a copy of an operand whose axes lie in memory in that order.
    The first ``rows`` axes stay as they are, and outermost."""
    extents = tuple([hi - lo for lo, hi in body.box])
    reduced = tuple([a in body.reduced for a in range(len(extents))])
    starts = [lo for lo, _ in body.box]
    body = body.map_accesses(lambda a: a._replace(offset=a.offset + sum(map(int.__mul__, starts, a.strides))))
    body, extents, reduced = merge(body, extents, reduced, rows)
    width = vector_bytes // max([i.dtype.itemsize for i in body.instructions if i.dtype.kind == "f"], default=8)
    vector = best_axis(body, extents, reduced, width, rows)
    if vector < 0:
        return Loops(body, extents, reduced, vector, 1, outer=rows, exact=exact)
    if pack is not None and body.folds and extents:
        body, vector = pack_operands(body, extents, reduced, width, vector, pack)
    lanes = width if extents else 1
    if extents:
        if prod(extents) * body.cost >= SHORT_CODE_WORK and not any(abs(x.strides[vector]) > 1 for x in body.accesses):
            lanes = width * count_vectors(body)
        lanes = min(lanes, max(extents[vector] // width * width, min(width, extents[vector])))
    loads = body.loads if body.folds else []
    shared = [-sum([x.strides[a] != 0 for x in loads]) for a in range(len(extents))]  # what is used again and again stays in cache
    place = lambda a: (a >= rows, reduced[a], a == vector, 0 if a < rows or reduced[a] else shared[a], a)
    order = sorted(range(len(extents)), key=place)
    body, extents, reduced = permute(body, extents, reduced, order)
    return Loops(body, extents, reduced, order.index(vector) if order else 0, lanes, rows, exact=exact or bool(body.scatters))


def jam_axis(loops: Loops, vector_bytes: int) -> list[Loops]:
    """Loops whose last kept axis takes several iterations at once, and those for what is left of it: a matrix product's tile."""
    body, v = loops.body, loops.vector
    kept = [a for a, r in enumerate(loops.reduced) if not r and a != v]
    if not body.folds or not kept or body.cost > 16 or body.stores or loops.work < SHORT_CODE_WORK:
        return [loops]
    axis = kept[-1]
    if all(a.strides[axis] for a in body.loads):
        return [loops]
    width = vector_bytes // max(i.dtype.itemsize for i in body.instructions)
    vectors = -(-min(loops.lanes, loops.extents[v]) // width)
    n = loops.extents[axis]
    most = max(1, min(n, 16 // vectors, 8, int(48 // body.cost)))
    count = next((c for c in range(most, most // 2, -1) if n % c == 0), most)
    if count == 1:
        return [loops]
    main, rest = split_axis(loops, axis, count)
    order = [a for a in range(len(main.extents)) if a != axis + 1]
    first = next((k for k, a in enumerate(order) if main.reduced[a] or a == main.vector), len(order))
    main = replace(permute_loops(main, [*order[:first], axis + 1, *order[first:]]), jam=first)
    return [main, *([rest] if rest else [])]


def drop_axis(axis: int, access: Access) -> Access:
    """An access without an axis of its loops."""
    return access._replace(strides=access.strides[:axis] + access.strides[axis + 1 :])


def merge(body: Body, extents: tuple, reduced: tuple, rows: int = 0) -> tuple[Body, tuple, tuple]:
    """Drop axes of length one, and join neighbours that memory does not tell apart; not among the first ``rows``."""
    keep = [a for a, n in enumerate(extents) if n != 1 or a < rows]
    body, extents, reduced = permute(body, extents, reduced, keep)
    a = len(extents) - 2
    while a >= rows:
        if reduced[a] == reduced[a + 1] and all(x.strides[a] == x.strides[a + 1] * extents[a + 1] for x in body.accesses):
            extents = (*extents[:a], extents[a] * extents[a + 1], *extents[a + 2 :])
            reduced = reduced[:a] + reduced[a + 1 :]
            body = body.map_accesses(partial(drop_axis, a))
        a -= 1
    return body, extents, reduced


def permute(body: Body, extents: tuple, reduced: tuple, order: list) -> tuple[Body, tuple, tuple]:
    """The axes in another order, or fewer of them."""
    if order == list(range(len(extents))):
        return body, extents, reduced
    changed = body.map_accesses(lambda x: x._replace(strides=tuple(x.strides[a] for a in order)))
    return changed, tuple([extents[a] for a in order]), tuple([reduced[a] for a in order])


def count_vectors(body: Body) -> int:
    """How many vectors to take at a time: several where instructions wait for one another."""
    longest: list[float] = []  # operations on the longest way to each instruction
    for i in body.instructions:
        longest.append(i.cost + max([longest[a] for a in i.args], default=0.0))
    work, path = body.cost, max(longest, default=0.0)
    if any(i.cost > HEAVY for i in body.instructions):
        if work < LOOK_AHEAD:  # the processor itself overlaps one iteration with the next
            return 1
        return 4 if work < 1.3 * path else 2 if work < 2.5 * path else 1
    return 4 if body.folds and work <= 8 else 2


def best_axis(body: Body, extents: tuple, reduced: tuple, width: int, rows: int = 0) -> int:
    """The axis to run in vectors of ``width`` elements: the one that costs least for each element; -1 if all are rows."""
    axes = range(rows, len(extents))
    return min(axes, key=lambda a: (price(body, extents, reduced, width, a), -a), default=-1 if rows else 0)


def price(body: Body, extents: tuple, reduced: tuple, width: int, a: int, free: Any = ()) -> float:
    """What one element costs if this axis runs in vectors; loads in ``free`` count as contiguous."""
    n, trip = extents[a], prod([e for e, r in zip(extents, reduced, strict=True) if r])
    each = body.cost / 4
    for x in body.accesses:
        step = 1 if x in free else x.strides[a]
        each += {0: 0.5, 1: 1.0, -1: 1.5}.get(step, width)
    for _, x, _ in body.folds:  # stored once for the whole reduction
        each -= (1 - 1 / trip) * {0: 0.5, 1: 1.0, -1: 1.5}.get(x.strides[a], width)
    across = 16 * len(body.folds) if reduced[a] else 0  # to fold the lanes at the end
    return round((each * -(-n // width) + across) / n, 6)


def pack_operands(body: Body, extents: tuple, reduced: tuple, width: int, vector: int, pack: Callable) -> tuple[Body, int]:
    """The body with small operands copied into the order in which vectors want them, where that pays; and its vector axis."""
    best, chosen, moved = 0.7 * price(body, extents, reduced, width, vector), vector, set()
    for a, n in enumerate(extents):
        bad = {i.access for i in body.instructions if i.name == "load" and abs(i.access.strides[a]) > 1}
        size = sum([prod([e for e, s in zip(extents, x.strides, strict=True) if s]) for x in bad])
        if reduced[a] or n < width // 2 or not bad or size * PACKING_REUSE > prod(extents):
            continue
        cost = price(body, extents, reduced, width, a, bad)
        if cost < best:
            best, chosen, moved = cost, a, bad
    copies = {}
    for x in moved:
        axes = sorted([k for k, s in enumerate(x.strides) if s], key=lambda k: (k == chosen, -abs(x.strides[k])))
        copies[x] = pack(x, extents, axes)
    return (body.map_accesses(lambda x: copies.get(x, x)) if copies else body), chosen


def split_axis(loops: Loops, axis: int, size: int) -> tuple[Loops, Loops | None]:
    """An axis as (blocks, size), and what is left over as loops of its own."""
    n = loops.extents[axis]
    blocks, rest = divmod(n, size)
    body = loops.body.map_accesses(lambda x: x._replace(strides=(*x.strides[:axis], x.strides[axis] * size, *x.strides[axis:])))
    main = replace(
        loops,
        body=body,
        extents=(*loops.extents[:axis], blocks, size, *loops.extents[axis + 1 :]),
        reduced=(*loops.reduced[:axis], loops.reduced[axis], *loops.reduced[axis:]),
        vector=loops.vector + (loops.vector >= axis),
    )
    if not rest:
        return main, None
    moved = loops.body.map_accesses(lambda x: x._replace(offset=x.offset + blocks * size * x.strides[axis]))
    extents = (*loops.extents[:axis], rest, *loops.extents[axis + 1 :])
    return main, replace(loops, body=moved, extents=extents, lanes=min(loops.lanes, max(extents[loops.vector], 1)))


def permute_loops(loops: Loops, order: list) -> Loops:
    """The loops in another order."""
    body, extents, reduced = permute(loops.body, loops.extents, loops.reduced, order)
    return replace(loops, body=body, extents=extents, reduced=reduced, vector=order.index(loops.vector))
