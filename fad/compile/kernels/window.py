"""Windowed products: convolution, its gradient by input, and the dense product, which is one without a window.

    y[g, i, f] = sum over taps t and channels c of  x[g, i * stride + t * dilation + offset, c] * w[g, t, c, f]

for positions i in up to four dimensions, x being 0 outside its bounds. Rows of the tile are neighbouring positions of the
last axis. Nothing is padded: taps of outer axes that meet the input are a range known when the row begins, and at the
ends of the last axis the tile leaves out the rows whose input is not there.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

from fad.native.ir import Block, Loop, Value, call, itemsize, unflattened
from fad.native.tile import (
    Epilogue,
    Tile,
    accumulate,
    at,
    balanced,
    deliver,
    filled,
    fixed,
    horizontal,
    joined,
    load,
    one_panel,
    panels_of,
    plus,
    repeated,
)

TAP_RUNS = 24  # runs of taps in the code of one row of tiles

__all__ = ["Axis", "Window", "write_window"]


@dataclass(frozen=True)
class Axis:
    """Positions of the output along one axis, and where their taps meet the input."""

    extent: int
    step: int  # elements of x from one input position to the next
    stride: int = 1
    taps: int = 1
    dilation: int = 1
    offset: int = 0
    size: int = 0  # input positions
    tap_step: int = 0  # taps of w from one tap of this axis to the next
    w_step: int = 0  # elements of w from one position to the next, in a stack of products
    first: int = 0  # where the output's positions begin in their array, and how far apart they are
    apart: int = 1

    @property
    def inside(self) -> bool:
        """Whether every tap of every position meets the input."""
        if not self.taps:
            return False
        reach = (self.taps - 1) * self.dilation
        low, high = min(0, reach), max(0, reach)
        return self.offset + low >= 0 and (self.extent - 1) * self.stride + self.offset + high < self.size

    def valid(self, position: int, tap: int) -> bool:
        """Whether a tap meets the input."""
        return 0 <= position * self.stride + tap * self.dilation + self.offset < self.size


@dataclass(frozen=True)
class Window:
    """A windowed product; w is packed in panels, or as it is (``w_step`` elements from one channel, or vector of them, to the
    next)."""

    axes: tuple[Axis, ...]  # the last one is the tile's
    depth: int  # channels of a group
    depth_step: int
    width: int  # columns of a group
    groups: int
    x_group: int  # elements of x from one group to the next
    w_group: int
    w_tap: int  # elements of w from one tap to the next, and from one channel to the next, where it is not packed
    w_step: int
    w_first: int  # tap of w with which the window begins
    taps: int  # of all of w
    packed: bool
    tile: Tile
    kind: str  # LLVM's name of the element type
    inner: bool  # whether one piece of work takes all panels, not one
    shares: int  # of the tiles of a row, each a piece of work
    across: int = 0  # lanes of vectors along the depth, in products with few columns: sums are then folded at the end
    w_column: int = 1  # elements of w from one column to the next

    @property
    def rows(self) -> int:
        """Rows of tiles."""
        return self.groups * prod(a.extent for a in self.axes[:-1])

    @property
    def panels(self) -> list[tuple[int, list[int], int]]:
        """Panels as (first column, lanes of vectors, count)."""
        return panels_of(self.width, self.tile)

    @property
    def pieces(self) -> int:
        """Pieces of work."""
        return self.shares * self.rows * (1 if self.inner else sum(count for _, _, count in self.panels))

    @property
    def work(self) -> float:
        """Operations."""
        return 2.0 * self.rows * self.axes[-1].extent * self.width * (1 + self.depth * prod(a.taps for a in self.axes))

    def write(self, block: Block, pointers: list[Value], epilogue: Epilogue | None, begin: Value, end: Value) -> None:
        """The code of pieces from begin to end; ``pointers`` are those of x and w."""
        x, w = pointers
        assert epilogue is not None
        write_window(block, self, x, w, epilogue, begin, end)


def write_window(block: Block, window: Window, x: Value, w: Value, epilogue: Epilogue, begin: Value, end: Value) -> None:
    """Pieces of work from begin to end. ``epilogue(block, index, value)`` takes every vector of the result."""
    with block.loop(begin, end) as iteration:
        share, number = iteration.index.remainder(window.shares), iteration.index.quotient(window.shares)
        row = _Row(window, iteration, number.remainder(window.rows), share, x, w, epilogue)
        lanes = window.tile.lanes
        if not window.inner:
            for inside, column, widths in one_panel(iteration, window.panels, number.quotient(window.rows), lanes):
                row.panel(inside, column, widths)
            return
        for start, widths, count in window.panels:
            for inside, k in counted(iteration, count):
                row.panel(inside, k * (len(widths) * lanes) + start, widths)


def counted(block: Block, count: int) -> Any:
    """One block and index for each of so many iterations: a loop, written out where there is one."""
    if count == 1:
        with block.section() as inside:
            yield inside, block.integer(0)
    else:
        with block.loop(0, count) as loop:
            yield loop, loop.index


class _Row:
    """The tiles along the last axis, for one position in the axes before it."""

    def __init__(self, window: Window, block: Block, number: Value, share: Value, x: Value, w: Value, epilogue: Epilogue):
        self.window, self.share, self.epilogue = window, share, epilogue
        self.size = itemsize(window.kind)
        self.group, *self.index = unflattened(number, (window.groups, *(a.extent for a in window.axes[:-1])))
        self.x, self.w = at(x, *([self.group * window.x_group] if window.groups > 1 else [])), w
        self.ranges: list[tuple] = []
        for axis, i in zip(window.axes[:-1], self.index, strict=True):
            base = i * axis.stride + axis.offset
            self.x = at(self.x, base * axis.step)
            self.w = at(self.w, i * axis.w_step) if axis.w_step else self.w
            self.ranges.append(self.taps(block, axis, base))

    def taps(self, block: Block, axis: Axis, base: Value) -> tuple:
        """The range of taps that meet the input, and whether it may be empty."""
        if axis.inside:
            return 0, axis.taps, False
        zero, distance = block.integer(0), abs(axis.dilation)
        largest = lambda v: call("smax", v, zero)
        upward = lambda v: (largest(v) + (distance - 1)).quotient(distance) if distance > 1 else largest(v)
        low, high = (-base, axis.size - base) if axis.dilation > 0 else (base - (axis.size - 1), base + 1)
        return upward(low), call("smin", upward(high), block.integer(axis.taps)), True

    def panel(self, block: Block, column: Value, widths: list[int]) -> None:
        """All tiles of one panel, by its first column."""
        window = self.window
        group = [self.group * window.w_group] if window.groups > 1 else []
        w = at(self.w, column * (window.taps * window.depth if window.packed else window.w_column), *group)
        strip = _Strip(self, w, column, widths)
        kinds = tiles(window.axes[-1], window.tile.rows)
        if window.shares == 1:
            for first, size, count, pattern in kinds:
                for inside, j in counted(block, count):
                    strip.tile(inside, j * size + first, size, pattern)
            return
        total, before = sum(count for _, _, count, _ in kinds), 0
        low = (self.share * total).quotient(window.shares)
        high = ((self.share + 1) * total).quotient(window.shares)
        for first, size, count, pattern in kinds:
            bounds = call("smax", low - before, block.integer(0)), call("smin", high - before, block.integer(count))
            with block.loop(*bounds, empty=True) as loop:
                strip.tile(loop, loop.index * size + first, size, pattern)
            before += count


def tiles(axis: Axis, most: int) -> list[tuple]:
    """The tiles along an axis as (first position, rows, count, for each tap the range of rows whose input is there).

    Where that would be long code, as for windows of many taps, positions at the ends are tiles of one row whose taps are
    found as it runs; they have None for a pattern."""
    found: list[list] = []
    start = 0
    for size, count in balanced(axis.extent, most):
        for _ in range(count):
            pattern = tuple(span([axis.valid(start + r, t) for r in range(size)]) for t in range(axis.taps))
            if found and found[-1][1] == size and found[-1][3] == pattern:
                found[-1][2] += 1
            else:
                found.append([start, size, 1, pattern])
            start += size
    if sum(len(runs(f[3])) for f in found) <= TAP_RUNS:
        return [tuple(f) for f in found]
    whole = [all(axis.valid(i, t) for t in range(axis.taps)) for i in range(axis.extent)]
    begin, end = span(whole)
    ends = [(first, 1, count, None) for first, count in ((0, begin), (end, axis.extent - end)) if count]
    middle, start = [], begin
    for size, count in balanced(end - begin, most) if end > begin else []:
        middle.append((start, size, count, ((0, size),) * axis.taps))
        start += size * count
    return middle + ends


def span(valid: list[bool]) -> tuple[int, int]:
    """From the first True to after the last; they are neighbours."""
    return (valid.index(True), len(valid) - valid[::-1].index(True)) if any(valid) else (0, 0)


def runs(pattern: tuple) -> list[tuple[int, int, tuple]]:
    """Neighbouring taps with the same rows: (first tap, count, rows)."""
    found: list[list] = []
    for t, rows in enumerate(pattern):
        if found and found[-1][2] == rows and sum(found[-1][:2]) == t:
            found[-1][1] += 1
        elif rows[0] < rows[1]:
            found.append([t, 1, rows])
    return [tuple(f) for f in found]


class _Strip:
    """The tiles of a row that share a panel of w."""

    def __init__(self, row: _Row, w: Value, column: Value, widths: list[int]):
        self.row, self.window, self.w, self.column, self.widths = row, row.window, w, column, widths
        self.vectors = len(widths)
        packed, lanes = self.window.packed, self.window.tile.lanes
        self.loaded = [self.window.across or lanes] * self.vectors if packed or self.window.across else widths  # lanes of sums
        self.w_step = self.vectors * lanes if packed else self.window.w_step
        self.w_tap = self.window.depth * self.w_step if packed else self.window.w_tap
        self.range: tuple = ()  # of taps of the last axis, where that is found as it runs

    def tile(self, block: Block, position: Value, rows: int, pattern: tuple) -> None:
        """One tile: its sums, and what becomes of them."""
        window, axis = self.window, self.window.axes[-1]
        x = at(self.row.x, position * (axis.stride * axis.step), axis.offset * axis.step)
        if pattern is None:
            self.range = self.row.taps(block, axis, position * axis.stride + axis.offset)
        w = at(self.w, window.w_first * self.w_tap)
        zero = [repeated(block, 0.0, window.kind, n) for n in self.loaded]
        sums = self.outer(block, 0, x, w, zero * rows, pattern)
        with block.section() as after:
            if window.across:
                for r in range(rows):
                    folded = joined([horizontal(s) for s in sums[r * self.vectors : (r + 1) * self.vectors]])
                    self.row.epilogue(after, self.place(position, r, 0), folded)
            else:
                depth = window.depth * prod(a.taps for a in window.axes)
                deliver(after, self.row.epilogue, sums, self.widths, functools.partial(self.place, position), depth)

    def place(self, position: Value, r: Any, v: Any) -> list[Value]:
        """The index in the result of a row, and of a vector of the panel."""
        window = self.window
        index = [*self.row.index, plus(position, r)]
        index = [i * a.apart + a.first if (a.apart, a.first) != (1, 0) else i for i, a in zip(index, window.axes, strict=True)]
        column = plus(self.column, v * window.tile.lanes)
        return [*index, column + self.row.group * window.width if window.groups > 1 else column]

    def outer(self, block: Block, k: int, x: Value, w: Value, sums: list, pattern: tuple) -> list:
        """The sums after the taps of the axes from the k-th on."""
        axes = self.window.axes
        if k == len(axes) - 1 and pattern is not None:
            return self.taps(block, x, w, sums, pattern)
        axis, (low, high, empty) = axes[k], self.row.ranges[k] if k < len(axes) - 1 else self.range
        if axis.taps == 1 and not empty:
            return self.outer(block, k + 1, x, w, sums, pattern)

        def iterate(loop: Loop, inside: list) -> list:
            further = at(x, loop.index * (axis.dilation * axis.step)), at(w, loop.index * (axis.tap_step * self.w_tap))
            if k == len(axes) - 1:
                return self.product(loop, *further, inside, self.window.depth, (0, 1))
            return self.outer(loop, k + 1, *further, inside, pattern)

        return block.repeat(low, high, sums, iterate, empty=empty)

    def taps(self, block: Block, x: Value, w: Value, sums: list, pattern: tuple) -> list:
        """The sums after the taps of the last axis; those that follow one another in x and w are one depth."""
        window, axis = self.window, self.window.axes[-1]
        depth = window.depth
        apart = self.w_step // (window.across or 1)  # channels of w
        contiguous = window.depth_step == 1 and axis.dilation * axis.step == depth and axis.tap_step * self.w_tap == depth * apart
        for first, count, rows in runs(pattern):
            if count == 1 or contiguous:
                sums = self.product(
                    block,
                    at(x, first * axis.dilation * axis.step),
                    at(w, first * axis.tap_step * self.w_tap),
                    sums,
                    depth * count,
                    rows,
                )
                continue

            def iterate(loop: Loop, inside: list, first: int = first, rows: tuple = rows) -> list:
                t = plus(loop.index, first)
                return self.product(
                    loop, at(x, t * (axis.dilation * axis.step)), at(w, t * (axis.tap_step * self.w_tap)), inside, depth, rows
                )

            sums = block.repeat(0, count, sums, iterate)
        return sums

    def product(self, block: Block, x: Value, w: Value, sums: list, depth: int, rows: tuple[int, int]) -> list:
        """The sums after the depth of one tap, or of several joined."""
        window, axis, size = self.window, self.window.axes[-1], self.row.size
        row_step = axis.stride * axis.step
        if window.across:
            return self.folding(block, x, w, sums, depth, rows)

        def a(inside: Block, k: Value, r: int) -> Value:
            return load(inside, at(fixed(at(x, k * window.depth_step)), r * row_step), 1, size)

        def b(inside: Block, k: Value, v: int) -> Value:
            return load(inside, at(fixed(at(w, k * self.w_step)), v * window.tile.lanes), self.loaded[v], size)

        return accumulate(block, sums, depth, a, b, rows, self.vectors)

    def folding(self, block: Block, x: Value, w: Value, sums: list, depth: int, rows: tuple[int, int]) -> list:
        """As `product`, with vectors along the depth; what is left of it is filled up with zeros."""
        window, axis, size, lanes = self.window, self.window.axes[-1], self.row.size, self.window.across
        row_step, (whole, rest) = axis.stride * axis.step, divmod(depth, lanes)

        def a(inside: Block, k: Value, r: int) -> Value:
            return load(inside, at(at(x, k * lanes), r * row_step), lanes, size)

        def b(inside: Block, k: Value, v: int) -> Value:
            return load(inside, at(at(w, k * self.w_step), v * window.w_column), lanes, size)

        def tail(read: Callable) -> Callable:
            return lambda inside, k, j: filled(load(inside, read(j), rest, size), lanes)

        if whole:
            sums = accumulate(block, sums, whole, a, b, rows, self.vectors)
        if rest:
            sums = accumulate(
                block,
                sums,
                1,
                tail(lambda r: at(x, whole * lanes + r * row_step)),
                tail(lambda v: at(w, whole * self.w_step + v * window.w_column)),
                rows,
                self.vectors,
            )
        return sums
