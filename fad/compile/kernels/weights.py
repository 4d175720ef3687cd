"""The gradient of a windowed product by its weights, of which the product x^T g of matrices is the case without a window.

    w_bar[g, t, c, f] = sum over positions i of  x[g, i * stride + t * dilation + offset, c] * y_bar[g, i, f]

A tile holds the sums of some channels (rows) and columns f of one tap, and runs over a block of positions, small enough for
what it reads to stay in cache while all taps and channels pass over it. Where there are few channels, the rows of a tile are
those of several taps of the last axis. Sums of blocks add up in memory, in order.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

from fad.compile.kernels.window import Axis, runs, span
from fad.native.ir import Block, Loop, Value, call, itemsize, unflattened, where
from fad.native.tile import (
    Epilogue,
    Tile,
    accumulate,
    at,
    balanced,
    deliver,
    fixed,
    load,
    panels_between,
    panels_of,
    plus,
    repeated,
    store,
)

STACK = 1 << 17  # bytes of a copy on the stack

__all__ = ["Weights", "joins_taps", "write_weights"]


@dataclass(frozen=True)
class Weights:
    """Axes are those of the positions; results are laid out [chunk, group, taps..., channel, column]."""

    axes: tuple[Axis, ...]
    steps: tuple[int, ...]  # elements of y_bar from one position to the next
    depth: int  # channels of a group
    depth_step: int  # elements of x from one to the next
    width: int  # columns of a group
    groups: int
    x_group: int
    g_group: int
    out: tuple[int, int, int]  # elements of the result from one group, tap, channel to the next
    tile: Tile
    kind: str
    blocks: tuple[int, int]  # the axis that is cut into blocks, and into how many
    chunks: int  # of blocks, each with a result of its own
    shares: int  # of the tiles, each a piece of work
    rank: int  # window axes of the result

    @property
    def taps(self) -> int:
        """Taps in all."""
        return prod(a.taps for a in self.axes)

    @property
    def elements(self) -> int:
        """Of the result."""
        return self.taps * self.depth * self.width * self.groups

    @property
    def joined(self) -> bool:
        """Whether a tile's rows go over the taps of the last axis."""
        return joins_taps(self.axes[-1], self.depth)

    @property
    def panels(self) -> list[tuple[int, list[int], int]]:
        """Panels as (first column, lanes of vectors, count)."""
        return panels_of(self.width, self.tile)

    @property
    def row_tiles(self) -> list[tuple[int, int, int]]:
        """Tiles of rows as (first row, rows, count)."""
        found, start = [], 0
        for rows, count in balanced(self.depth * (self.axes[-1].taps if self.joined else 1), self.tile.rows):
            found.append((start, rows, count))
            start += rows * count
        return found

    @property
    def row_kinds(self) -> list[tuple[int, int, int]]:
        """`row_tiles`, one by one where each has taps of its own."""
        if not self.joined:
            return self.row_tiles
        return [(row + k * rows, rows, 1) for row, rows, count in self.row_tiles for k in range(count)]

    @property
    def outer_taps(self) -> int:
        """Taps that tiles do not go over."""
        return self.taps // (self.axes[-1].taps if self.joined else 1)

    @property
    def strips(self) -> int:
        """Tiles of a panel."""
        return self.outer_taps * sum(count for _, _, count in self.row_tiles)

    @property
    def count_blocks(self) -> int:
        """Blocks of positions."""
        return prod(a.extent for a in self.axes[: self.blocks[0]]) * self.blocks[1]

    @property
    def gathered(self) -> int:
        """Elements of a copy of y_bar's panel in a block; 0 where it is read as it lies."""
        axis, count = self.blocks
        positions = -(-self.axes[axis].extent // count) * prod(a.extent for a in self.axes[axis + 1 :])
        elements = positions * self.tile.vectors * self.tile.lanes
        apart = self.steps[-1] > self.tile.vectors * self.tile.lanes and self.strips >= 8 * self.shares
        return elements if apart and elements * itemsize(self.kind) <= STACK else 0

    @property
    def pieces(self) -> int:
        """Pieces of work."""
        return self.chunks * self.groups * self.shares

    @property
    def work(self) -> float:
        """Operations."""
        return 2.0 * self.groups * prod(a.extent for a in self.axes) * self.width * self.depth * self.taps

    @property
    def whole(self) -> bool:
        """Whether every chunk is one block, so that sums never wait in memory."""
        return self.count_blocks == self.chunks

    def write(self, block: Block, pointers: list[Value], epilogue: Epilogue | None, begin: Value, end: Value) -> None:
        """The code of pieces from begin to end; ``pointers`` are those of x, y_bar and, unless it is whole, the sums."""
        x, g, *sums = pointers
        write_weights(block, self, x, g, sums[0] if sums else x, epilogue, begin, end)  # what is whole leaves no sums in memory


def joins_taps(axis: Axis, depth: int) -> bool:
    """Whether a tile's rows go over the taps of an axis: where there are few channels, and not so many taps that code is long."""
    return axis.taps > 1 and depth < 6 and axis.taps * depth <= 128


def write_weights(
    block: Block, spec: Weights, x: Value, g: Value, out: Value, epilogue: Epilogue | None, begin: Value, end: Value
) -> None:
    """Pieces of work from begin to end. Sums go to ``out``; ``epilogue(block, index, value)`` takes the vectors of the
    result where there is one chunk. It may be what stores them: where there is one block, ``out`` is left alone."""
    kept = (
        Value(block, block.root.effect(f"alloca [{spec.gathered} x {spec.kind}], align 64", "ptr", 1).name, spec.kind, 1)
        if spec.gathered
        else None
    )
    with block.loop(begin, end) as piece:
        share, rest = piece.index.remainder(spec.shares), piece.index.quotient(spec.shares)
        group, chunk = rest.remainder(spec.groups), rest.quotient(spec.groups)
        work = _Piece(spec, x, g, out, epilogue, group, chunk, share, kept)
        if spec.whole:
            work.add(piece, chunk)
            return
        work.each(piece, lambda inside, strip: strip.clear(inside))
        first, last = ((chunk + k) * spec.count_blocks for k in (0, 1))
        with piece.loop(first.quotient(spec.chunks), last.quotient(spec.chunks)) as loop:
            work.add(loop, loop.index)
        if epilogue is not None and spec.chunks == 1:
            work.each(piece, lambda inside, strip: strip.finish(inside))


class _Piece:
    """One share of the tiles, over one chunk of the blocks. Tiles are counted panel by panel."""

    def __init__(
        self,
        spec: Weights,
        x: Value,
        g: Value,
        out: Value,
        epilogue: Epilogue | None,
        group: Value,
        chunk: Value,
        share: Value,
        kept: Value | None,
    ):
        self.spec, self.epilogue, self.group, self.kept = spec, epilogue, group, kept
        self.size = itemsize(spec.kind)
        many = spec.groups > 1
        self.x = at(x, group * spec.x_group) if many else x
        self.g = at(g, group * spec.g_group) if many else g
        self.out = at(out, group * spec.out[0]) if many else out
        if spec.chunks > 1:
            self.out = at(self.out, chunk * spec.elements)
        total = spec.strips * sum(count for _, _, count in spec.panels)
        self.bounds = [((share + k) * total).quotient(spec.shares) for k in (0, 1)] if spec.shares > 1 else None

    def each(self, block: Block, action: Callable) -> None:
        """An action on every tile of the share."""
        for inside, panel in self.panels(block):
            panel.strips(inside, action)

    def add(self, block: Block, number: Value) -> None:
        """The products of one block of positions to the sums of every tile."""
        positions = _Positions(self.spec, block, number)
        for inside, panel in self.panels(block):
            g, steps = at(self.g, panel.column), self.spec.steps
            if self.kept is not None:
                g, steps = positions.gather(inside, g, self.kept, panel.widths, self.size)
            panel.strips(inside, lambda within, strip, g=g, steps=steps: strip.sum_up(within, positions, g, steps))

    def panels(self, block: Block) -> Iterator[tuple]:
        """The panels of the share."""
        spec, bounds = self.spec, None
        if self.bounds:
            bounds = [self.bounds[0].quotient(spec.strips), (self.bounds[1] + (spec.strips - 1)).quotient(spec.strips)]
        for loop, number, column, widths in panels_between(block, spec.panels, bounds, spec.tile.lanes):
            yield loop, _Panel(self, loop, number, column, widths)


class _Panel:
    """Some columns, and the tiles of the share there."""

    def __init__(self, piece: _Piece, block: Block, number: Value, column: Value, widths: list[int]):
        self.piece, self.column, self.widths = piece, column, widths
        self.bounds = [b - number * piece.spec.strips for b in piece.bounds] if piece.bounds else None

    def strips(self, block: Block, action: Callable) -> None:
        """An action on every tile: those of one shape are a loop."""
        spec, before = self.piece.spec, 0
        for row, rows, count in spec.row_kinds:
            number = count * spec.outer_taps
            low, high, empty = block.integer(0), block.integer(number), False
            if self.bounds:
                low, high, empty = call("smax", self.bounds[0] - before, low), call("smin", self.bounds[1] - before, high), True
            with block.loop(low, high, empty=empty) as loop:
                k, tap = loop.index.remainder(count), loop.index.quotient(count)
                action(loop, _Strip(self.piece, loop, tap, k * rows + row, rows, self.column, self.widths, row))
            before += number


class _Positions:
    """One block of positions, given by its number."""

    def __init__(self, spec: Weights, block: Block, number: Value):
        self.spec, (self.axis, count) = spec, spec.blocks
        *self.outer, part = unflattened(number, (*(a.extent for a in spec.axes[: self.axis]), count))  # positions along axes before
        extent = spec.axes[self.axis].extent
        self.bounds = (0, extent) if count == 1 else tuple(((part + k) * extent).quotient(count) for k in (0, 1))

    def first(self, steps: tuple) -> list[Value]:
        """Distances to the block's own part of an array."""
        return [i * s for i, s in zip(self.outer, steps, strict=False)]

    def gather(self, block: Block, g: Value, to: Value, widths: list[int], size: int) -> tuple[Value, tuple]:
        """The panel of y_bar copied one position after another: so it stays in cache, whatever its distances were.
        Address and distances, as if the copy began at position 0."""
        spec, lanes = self.spec, self.spec.tile.lanes
        inner = [a.extent for a in spec.axes[self.axis :]]
        steps = [prod(inner[k + 1 :]) * len(widths) * lanes for k in range(len(inner))]
        start = self.bounds[0]
        to = at(to, -(start * steps[0])) if isinstance(start, Value) else to

        def copy(inside: Block, k: int, source: Value, target: Value) -> None:
            if k == len(inner):
                for v, n in enumerate(widths):
                    store(inside, at(target, v * lanes), load(inside, at(source, v * lanes), n, size), size)
                return
            with inside.loop(*(self.bounds if k == 0 else (0, inner[k]))) as loop:
                copy(loop, k + 1, at(source, loop.index * spec.steps[self.axis + k]), at(target, loop.index * steps[k]))

        copy(block, 0, at(g, *self.first(spec.steps)), to)
        return to, (*(0,) * self.axis, *steps)


class _Strip:
    """One tile: some rows and columns of one tap, or of one tap of each but the last axis."""

    def __init__(
        self, piece: _Piece, block: Block, tap: Value, row: Value, rows: int, column: Value, widths: list[int], static_row: int
    ):
        spec = piece.spec
        self.piece, self.spec, self.rows, self.row, self.column, self.static_row = piece, spec, rows, row, column, static_row
        self.widths, self.vectors = widths, len(widths)
        *before, last = spec.axes
        self.taps = unflattened(tap, (*(a.taps for a in before), 1 if spec.joined else last.taps))
        x = piece.x
        if not spec.joined:
            x = at(x, row * spec.depth_step)
            place = tap * spec.out[1] + row * spec.out[2]
        else:
            place = tap * (last.taps * spec.out[1])
        for axis, t in zip(spec.axes, self.taps, strict=True):
            x = at(x, t * (axis.dilation * axis.step), axis.offset * axis.step)
        self.x = x
        self.place = fixed(at(piece.out, place + column))

    def split(self, r: int) -> tuple[int, int]:
        """Tap of the last axis and channel of a row of a joined tile."""
        return divmod(self.static_row + r, self.spec.depth)

    def spot(self, r: int) -> int:
        """Elements of the result from ``place`` to a row."""
        if not self.spec.joined:
            return r * self.spec.out[2]
        tap, c = self.split(r)
        return tap * self.spec.out[1] + c * self.spec.out[2]

    def clear(self, block: Block) -> None:
        """Sums at zero."""
        for _, p, lanes in self.places():
            store(block, p, repeated(block, 0.0, self.spec.kind, lanes), self.piece.size)

    def places(self) -> list[tuple[int, Value, int]]:
        """(row, address, lanes) of every vector of the result."""
        return [
            (r, at(at(self.place, self.spot(r)), v * self.spec.tile.lanes), lanes)
            for r in range(self.rows)
            for v, lanes in enumerate(self.widths)
        ]

    def finish(self, block: Block) -> None:
        """What becomes of sums that are complete."""
        with block.section() as inside:
            values = [load(inside, p, lanes, self.piece.size) for _, p, lanes in self.places()]
            self.done(inside, values)

    def done(self, block: Block, values: list[Value]) -> None:
        """Vectors of the result to the epilogue."""
        spec, epilogue = self.spec, self.piece.epilogue
        assert epilogue is not None
        if spec.joined:  # each row has a tap of its own
            for k, value in enumerate(values):
                epilogue(block, self.index(block, *divmod(k, self.vectors)), value)
            return
        taps = self.taps[1:] if len(self.taps) > spec.rank else [block.integer(0)] * spec.rank
        place = lambda r, v: [*taps, plus(self.row, r), self.column_of(v)]
        deliver(block, epilogue, values, self.widths, place, prod(a.extent for a in spec.axes))

    def index(self, block: Block, r: int, v: int) -> list[Value]:
        """The index in the result of a row and vector of a joined tile."""
        tap, c = self.split(r)
        return [*self.taps[1:-1], block.integer(tap), block.integer(c), self.column_of(v)]

    def column_of(self, v: Any) -> Value:
        """The column of a vector in the result."""
        column = plus(self.column, v * self.spec.tile.lanes)
        return column + self.piece.group * self.spec.width if self.spec.groups > 1 else column

    def sum_up(self, block: Block, positions: _Positions, g: Value, steps: tuple) -> None:
        """Add the products of one block of positions; y_bar's panel is at ``g``, its positions these steps apart."""
        spec = self.spec
        if spec.whole:
            sums = [repeated(block, 0.0, self.spec.kind, lanes) for _ in range(self.rows) for lanes in self.widths]
        else:
            sums = [load(block, p, lanes, self.piece.size) for _, p, lanes in self.places()]
        self.steps = steps
        x = at(self.x, *positions.first(tuple(a.stride * a.step for a in spec.axes)))
        g = at(g, *positions.first(steps)) if steps is spec.steps else g
        met = [self.holds(block, a, t, i) for a, t, i in zip(spec.axes, self.taps, positions.outer, strict=False)]
        conditions = [c for c in met if c is not None]
        ok = functools.reduce(Value.__and__, conditions) if conditions else None
        sums = self.along(block, positions.axis, x, g, sums, positions.bounds, ok)
        with block.section() as after:
            if spec.whole and self.piece.epilogue is not None and spec.chunks == 1:
                self.done(after, sums)
            else:
                for (_, p, _), value in zip(self.places(), sums, strict=True):
                    store(after, p, value, self.piece.size)

    def holds(self, block: Block, axis: Axis, tap: Any, i: Value) -> Value | None:
        """Whether a tap at a position meets the input; None where all do."""
        if axis.inside:
            return None
        place = i * axis.stride + (tap * axis.dilation + axis.offset)
        return (place >= 0) & (place < axis.size)

    def along(self, block: Block, k: int, x: Value, g: Value, sums: list, bounds: tuple, ok: Value | None = None) -> list:
        """The sums after the positions of the axes from the k-th on."""
        spec, axis, last = self.spec, self.spec.axes[k], len(self.spec.axes) - 1
        if k == last and spec.joined:
            return self.columns(block, x, g, sums, bounds, ok)
        low, high = bounds
        empty = not axis.inside
        if empty:
            low, high = self.clipped(block, axis, self.taps[k], low, high)
        if ok is not None:
            high = where(ok, high, 0) if isinstance(high, Value) else where(ok, block.integer(high), 0)
            empty = True

        def iterate(loop: Loop, inside: list) -> list:
            further = at(x, loop.index * (axis.stride * axis.step)), at(g, loop.index * self.steps[k])
            if k == last:
                return self.product(loop, *further, inside, (0, self.rows))
            return self.along(loop, k + 1, *further, inside, (0, spec.axes[k + 1].extent))

        return block.repeat(low, high, sums, iterate, empty=empty)

    def clipped(self, block: Block, axis: Axis, tap: Any, low: Any, high: Any) -> tuple:
        """The positions within a range at which a tap meets the input."""
        zero = block.integer(0)
        shift = tap * axis.dilation + axis.offset
        upward = lambda v: (
            (call("smax", v, zero) + (axis.stride - 1)).quotient(axis.stride) if axis.stride > 1 else call("smax", v, zero)
        )
        as_value = lambda n: n if isinstance(n, Value) else block.integer(n)
        return call("smax", upward(-shift), as_value(low)), call("smin", upward(axis.size - shift), as_value(high))

    def columns(self, block: Block, x: Value, g: Value, sums: list, bounds: tuple, ok: Value | None) -> list:
        """The positions of the last axis where a tile goes over its taps: those that miss some of the rows one by one."""
        axis = self.spec.axes[-1]
        pattern = tuple(span([axis.valid(i, self.split(r)[0]) for r in range(self.rows)]) for i in range(axis.extent))
        size, cut = axis.stride * axis.step, ok is not None or isinstance(bounds[0], Value)
        for first, count, rows in runs(pattern):
            if count == 1 and not cut:
                sums = self.product(block, at(x, first * size), at(g, first * self.steps[-1]), sums, rows)
                continue
            low, high = block.integer(first), block.integer(first + count)
            if cut:
                begin, end = (b if isinstance(b, Value) else block.integer(b) for b in bounds)
                low, high = call("smax", low, begin), call("smin", high, end)
                high = high if ok is None else where(ok, high, 0)
            iterate = lambda loop, inside, rows=rows: self.product(
                loop, at(x, loop.index * size), at(g, loop.index * self.steps[-1]), inside, rows
            )
            sums = block.repeat(low, high, sums, iterate, empty=cut)
        return sums

    def product(self, block: Block, x: Value, g: Value, sums: list, rows: tuple[int, int]) -> list:
        """The sums with the products of one position."""
        spec, size = self.spec, self.piece.size

        x, g = fixed(x), fixed(g)

        def a(inside: Block, k: Value, r: int) -> Value:
            if not spec.joined:
                return load(inside, at(x, r * spec.depth_step), 1, size)
            tap, c = self.split(r)
            return load(inside, at(x, tap * spec.axes[-1].dilation * spec.axes[-1].step + c * spec.depth_step), 1, size)

        def b(inside: Block, k: Value, v: int) -> Value:
            return load(inside, at(g, v * spec.tile.lanes), self.widths[v], size)

        return accumulate(block, sums, 1, a, b, rows, self.vectors)
