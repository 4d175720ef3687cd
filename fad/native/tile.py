"""The register tile under every product: R rows by V vectors of sums that stay in registers while the depth runs.

A step of the depth loads V vectors of one operand and R numbers of the other, each spread over a vector, and makes R * V
fused multiply-adds. The rows' numbers lie at constant distances, so that one address serves them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from fad.native.cpu import Machine
from fad.native.ir import Block, Value, call, constant, fma, itemsize, resized, typed, write
from fad.native.machine_model import FIRST_CACHE_SETS, FIRST_CACHE_WAYS

__all__ = [
    "Epilogue",
    "Tile",
    "accumulate",
    "at",
    "balanced",
    "counted",
    "deliver",
    "each_vector",
    "either",
    "filled",
    "fixed",
    "horizontal",
    "joined",
    "load",
    "moved",
    "one_panel",
    "panels_between",
    "panels_of",
    "plus",
    "ranked_tiles",
    "repeated",
    "rounded",
    "share_of",
    "shuffled",
    "store",
    "transposed",
]


@dataclass(frozen=True)
class Tile:
    """The number of rows and of vectors, and the lanes of a vector."""

    rows: int
    vectors: int
    lanes: int


def ranked_tiles(machine: Machine, itemsize: int, rows: int, width: int, row_bytes: int = 0) -> list[Tile]:
    """Tiles for so many rows and columns, the rows so many bytes apart; those with the least work first.

    The cost of a step is that of its multiply-adds or of its loads, or the wait for the sums; tails count in full."""
    lanes = machine.vector_bytes // itemsize
    vectors = -(-width // lanes)
    found: list[tuple[float, int, Tile]] = []
    for v in range(1, min(vectors, machine.registers // 2) + 1):
        for r in range(1, min(rows, (machine.registers - v - 1) // v) + 1):
            cost = sum(step_cost(len_r, len_v) * n * m for len_r, n in balanced(rows, r) for len_v, m in balanced(vectors, v))
            found.append((cost * crowding(r, row_bytes), -r * v, Tile(r, v, lanes)))
    return [tile for *_, tile in sorted(found, key=lambda f: f[:2])]


def step_cost(rows: int, vectors: int) -> float:
    """Cycles of one step of the depth: a multiply-add or a load each, four to wait for a sum, one for the loop."""
    return max(rows * vectors, 0.9 * (rows + vectors), 4) + 0.06 * (rows + vectors) + 0.3


def crowding(rows: int, row_bytes: int) -> float:
    """How much dearer loads are when rows lie so many bytes apart that they fall into few sets of the cache."""
    if not row_bytes:
        return 1.0
    sets = [(r * row_bytes // 64) % FIRST_CACHE_SETS for r in range(rows)]
    return 1.6 if max(map(sets.count, sets)) > FIRST_CACHE_WAYS else 1.0


def balanced(n: int, most: int) -> list[tuple[int, int]]:
    """n in parts of at most so many, as equal as they can be: (length, count), the longer ones first."""
    parts = -(-n // most)
    short, longer = divmod(n, parts)
    return [(size, count) for size, count in ((short + 1, longer), (short, parts - longer)) if count]


@dataclass(frozen=True)
class Epilogue:
    """What becomes of a result, vector by vector at its index, in so many instructions each."""

    take: Callable[[Block, list[Value], Value], None]
    length: int = 0

    def __call__(self, block: Block, index: list[Value], value: Value) -> None:
        self.take(block, index, value)


def deliver(block: Block, epilogue: Epilogue, values: list[Value], widths: list[int], place: Callable, depth: int) -> None:
    """Rows of vectors to an epilogue, ``place(r, v)`` being the index of row r and vector v.

    A long epilogue is written once, in a loop over the vectors in memory on the stack, after sums of some depth."""
    vectors, lanes = len(widths), values[0].lanes
    whole = widths.count(lanes)
    if len(values) < 4 or epilogue.length * len(values) < 48 or depth * epilogue.length < 512 or not whole:
        for k, value in enumerate(values):
            r, v = divmod(k, vectors)
            epilogue(block, place(r, v), resized(value, widths[v]))
        return
    size = itemsize(values[0].kind)
    stack = block.root.effect(f"alloca [{len(values)} x {values[0].type}], align 64", values[0].kind, 1)
    for k, value in enumerate(values):
        store(block, at(stack, k * lanes), value, size)
    with block.loop(0, len(values) // vectors) as rows:
        with rows.loop(0, whole) as loop:
            value = load(loop, at(stack, rows.index * (vectors * lanes), loop.index * lanes), lanes, size)
            epilogue(loop, place(rows.index, loop.index), value)
        if whole < vectors:
            with rows.section() as rest:
                value = load(rest, at(stack, rows.index * (vectors * lanes), whole * lanes), lanes, size)
                epilogue(rest, place(rows.index, whole), resized(value, widths[-1]))


def panels_of(width: int, tile: Tile) -> list[tuple[int, list[int], int]]:
    """Columns in panels: (first column, lanes of its vectors, count) of those that are alike; the last may have a short vector."""
    lanes, found, start = tile.lanes, [], 0
    for vectors, count in balanced(-(-width // lanes), tile.vectors):
        tail = width - (start + vectors * count * lanes) < 0
        if count > tail:
            found.append((start, [lanes] * vectors, count - tail))
        start += vectors * count * lanes
        if tail:
            found.append((start - vectors * lanes, [lanes] * (vectors - 1) + [width - start + lanes], 1))
    return found


def rounded(n: int, lanes: int) -> int:
    """The elements of whole vectors for so many."""
    return -(-n // lanes) * lanes


def one_panel(block: Block, panels: list, number: Value, lanes: int) -> Iterator[tuple[Block, Value, list[int]]]:
    """The panel with a number, as (block that runs for it, its first column, lanes of its vectors) for each kind of panels."""
    before = 0
    for start, widths, count in panels:
        with block.when((number >= before) & (number < before + count)) if len(panels) > 1 else block.section() as inside:
            yield inside, (number - before) * (len(widths) * lanes) + start, widths
        before += count


def panels_between(block: Block, panels: list, bounds: list[Value] | None, lanes: int) -> Iterator[tuple]:
    """The panels from one number up to another, or all, each kind in a loop: (its block, number, first column, widths)."""
    before = 0
    for start, widths, count in panels:
        low, high = block.integer(0), block.integer(count)
        if bounds:
            low, high = call("smax", bounds[0] - before, low), call("smin", bounds[1] - before, high)
        with block.loop(low, high, empty=bool(bounds)) as loop:
            yield loop, loop.index + before, loop.index * (len(widths) * lanes) + start, widths
        before += count


def share_of(panels: list, share: Value, shares: int, lanes: int) -> tuple[list[Value] | None, Value, Value]:
    """A share of the panels: the first and after the last of them (None where there is one share), and so for the columns of
    their vectors."""
    integer, total = share.block.root.integer, sum(count for _, _, count in panels)
    if shares == 1:
        return None, integer(0), integer(sum(len(widths) * count for _, widths, count in panels) * lanes)
    bounds = [((share + k) * total).quotient(shares) for k in (0, 1)]
    columns = [integer(0), integer(0)]
    before = 0
    for _, widths, count in panels:
        for k in (0, 1):
            within = call("smin", call("smax", bounds[k] - before, integer(0)), integer(count))
            columns[k] = within * (len(widths) * lanes) + columns[k]
        before += count
    return bounds, columns[0], columns[1]


def each_vector(block: Block, low: Value, high: Value, width: int, lanes: int, act: Callable[[Block, Value, int], None]) -> None:
    """``act(block, column, lanes)`` for the vectors from one column to another; that at the end of all ``width`` may be short."""
    whole, rest = width - width % lanes, width % lanes
    if whole:
        with block.loop(low, call("smin", high, block.integer(whole)) if rest else high, lanes, empty=bool(rest)) as loop:
            act(loop, loop.index, lanes)
    if rest:
        with block.when(high > whole) as last:
            act(last, last.integer(whole), rest)


def accumulate(
    block: Block, sums: list[Value], depth: int | Value, a: Callable, b: Callable, rows: tuple[int, int], vectors: int
) -> list:
    """The sums after ``depth`` steps for the rows from ``rows[0]`` to ``rows[1]``; ``a(block, k, r)`` and ``b(block, k, v)``
    give the operands at step k."""

    def step(inside: Block, k: Any, old: list[Value]) -> list[Value]:
        new = list(old)
        right = [b(inside, k, v) for v in range(vectors)]
        for r in range(*rows):
            left = a(inside, k, r)
            for v in range(vectors):
                new[r * vectors + v] = fma(left, right[v], old[r * vectors + v])
        return new

    if isinstance(depth, int) and depth <= 4:
        for k in range(depth):
            sums = step(block, block.integer(k), sums)
        return sums
    live = range(rows[0] * vectors, rows[1] * vectors)
    before, after = sums[: live.start], sums[live.stop :]
    iterate = lambda loop, inside: step(loop, loop.index, [*before, *inside, *after])[live.start : live.stop]
    return [*before, *block.repeat(0, depth, sums[live.start : live.stop], iterate), *after]


# -- memory --------------------------------------------------------------------------------------------------------------


def at(base: Value, *offsets: Any) -> Value:
    """An address some elements (values or integers) further on; ``base`` knows its element kind."""
    total: Any = 0
    for offset in offsets:
        total = offset + total if isinstance(offset, Value) else total + offset
    name = total.name if isinstance(total, Value) else str(total)
    operands = (base, total) if isinstance(total, Value) else (base,)
    if name == "0":
        return base
    return write(f"getelementptr {base.kind}, ptr {base.name}, i64 {name}", base.kind, base.lanes, *operands)


def moved(p: Value, steps: tuple, places: Any) -> Value:
    """An address moved by these places along axes: values or integers."""
    for place, step in zip(places, steps, strict=True):
        p = at(p, place * step) if step else p
    return p


def counted(block: Block, lanes: int, first: int = 0, kind: str = "i64") -> Value:
    """A vector of ``first``, ``first + 1``, ..."""
    if lanes == 1:
        return Value(block.root, str(first), kind, 1)
    return Value(block.root, f"<{', '.join(f'{kind} {first + k}' for k in range(lanes))}>", kind, lanes)


def fixed(p: Value) -> Value:
    """An address whose making LLVM does not look at: its strength reduction takes long for many addresses in nested loops,
    and these are constant distances from this one."""
    return write(f"freeze ptr {p.name}", p.kind, 1, p)


def plus(i: Value, n: Any) -> Value:
    """An index some places on."""
    return i + n if isinstance(n, Value) or n else i


def either(condition: Value, p: Value, q: Value) -> Value:
    """One of two addresses."""
    return write(f"select i1 {condition.name}, ptr {p.name}, ptr {q.name}", p.kind, 1, condition, p, q)


def load(block: Block, p: Value, lanes: int, size: int) -> Value:
    """Elements from an address, read here and not before: it may be valid only here."""
    return block.effect(f"load {typed(p.kind, lanes)}, ptr {p.name}, align {size}", p.kind, lanes)


def store(block: Block, p: Value, x: Value, size: int) -> None:
    """Elements to an address."""
    block.append(f"store {x.type} {x.name}, ptr {p.name}, align {size}")


def transposed(rows: list[Value]) -> list[Value]:
    """As many vectors as they have lanes, as a matrix transposed: blocks of 1, 2, 4, ... change places."""
    n = len(rows)
    size = 1
    while size < n:
        rows = list(rows)
        for i in range(n):
            if not i & size:
                x, y = rows[i], rows[i + size]
                low = [j if not j & size else n + j - size for j in range(n)]
                high = [j + size if not j & size else n + j for j in range(n)]
                rows[i], rows[i + size] = shuffled(x, y, low), shuffled(x, y, high)
        size *= 2
    return rows


def shuffled(x: Value, y: Value, lanes: list[int]) -> Value:
    """Lanes of x, and after them lanes of y, by their numbers."""
    if len(lanes) == 1:
        one = x if lanes[0] < x.lanes else y
        return write(f"extractelement {x.type} {one.name}, i64 {lanes[0] % x.lanes}", x.kind, 1, x, y)
    order = ", ".join(f"i32 {k}" for k in lanes)
    return write(f"shufflevector {x.type} {x.name}, {y.type} {y.name}, <{len(lanes)} x i32> <{order}>", x.kind, len(lanes), x, y)


def filled(x: Value, lanes: int) -> Value:
    """A short vector with zeros after it."""
    if x.lanes == lanes:
        return x
    zero = constant(0.0, x)
    if x.lanes > 1:
        return shuffled(x, zero, [min(k, x.lanes) for k in range(lanes)])
    wide = typed(x.kind, lanes)
    return write(f"insertelement {wide} {zero.spread(lanes).name}, {x.kind} {x.name}, i64 0", x.kind, lanes, x)


def repeated(block: Block, x: float, kind: str, lanes: int) -> Value:
    """A number in every lane."""
    return constant(x, Value(block.root, "0", kind, 1)).spread(lanes)


def joined(values: list[Value]) -> Value:
    """Numbers as one vector."""
    first, lanes = values[0], len(values)
    if lanes == 1:
        return first
    x = Value(first.block, "poison", first.kind, lanes)
    for k, value in enumerate(values):
        x = write(f"insertelement {x.type} {x.name}, {x.kind} {value.name}, i64 {k}", x.kind, lanes, value, x)
    return x


def horizontal(x: Value) -> Value:
    """The sum of all lanes, halves upon halves."""
    while x.lanes > 1:
        half = x.lanes // 2
        x = shuffled(x, x, list(range(half))) + shuffled(x, x, list(range(half, x.lanes)))
    return x
