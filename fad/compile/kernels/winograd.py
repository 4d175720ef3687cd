"""Convolutions with windows of 3 x 3 in 16 multiplications for 4 results, where the definition has 36.

    Y = A^T [ (G w G^T) * (B^T d B) ] A        (Winograd's F(2 x 2, 3 x 3), * element by element)

for tiles Y of 2 x 2 results, d of 4 x 4 inputs. Summed over channels, each of the 16 places is a product of matrices:
[tiles, channels] by [channels, columns]. So many tiles are taken at a time that all of them stay in the second cache.

The transformations only add, subtract and halve. A result comes from no inputs but its own window's, so that what is not
finite does not spread. Rounding errors are relative to the largest product in the window; for data of one magnitude they are
smaller than those of the definition, as the sums are shorter.

(Lavin, Gray, "Fast Algorithms for Convolutional Neural Networks", 2015; Winograd, "Arithmetic Complexity of Computations",
SIAM 1980; Barabasz et al., "Error Analysis and Improving the Accuracy of Winograd Convolution for DNNs", TOMS 2020.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

from fad.native.ir import Block, Loop, Value, call, itemsize, resized, unflattened
from fad.native.tile import (
    Epilogue,
    Tile,
    accumulate,
    at,
    each_vector,
    either,
    filled,
    fixed,
    load,
    one_panel,
    panels_between,
    panels_of,
    repeated,
    rounded,
    share_of,
    store,
)

__all__ = ["PLACES", "Filters", "Tiling", "Winograd", "address", "both_ways", "gains", "of_input"]

PLACES = 16  # elements of a tile of inputs


# -- the transformations -------------------------------------------------------------------------------------------------


def of_filter(g: list) -> list:
    """G g: four of three."""
    ends = (g[0] + g[2]) * 0.5
    half = g[1] * 0.5
    return [g[0], ends + half, ends - half, g[2]]


def of_input(d: list) -> list:
    """B^T d: four of four."""
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]


def of_result(m: list) -> list:
    """A^T m: two of four."""
    return [m[0] + m[1] + m[2], m[1] - m[2] - m[3]]


def both_ways(transform: Callable[[list], list], rows: list[list]) -> list:
    """A transformation of the columns of a matrix, then of its rows; the elements of the result, row by row."""
    columns = [transform(list(column)) for column in zip(*rows, strict=True)]
    return [value for row in zip(*columns, strict=True) for value in transform(list(row))]


@dataclass(frozen=True)
class Tiling:
    """How tiles of 2 x 2 cover the output (images, *output) of a convolution, whose 4 x 4 inputs begin ``before`` x does."""

    images: int
    size: tuple[int, int]
    before: tuple[int, int]
    output: tuple[int, int]

    @property
    def grid(self) -> tuple[int, int, int]:
        """The tiles."""
        return self.images, -(-self.output[0] // 2), -(-self.output[1] // 2)

    @property
    def count(self) -> int:
        """The number of tiles."""
        return prod(self.grid)

    @property
    def taps(self) -> int:
        """How many taps of the windows meet the input, at all positions of all images together."""
        met = [
            sum(0 <= i + k - low < size for i in range(n) for k in range(3))
            for n, low, size in zip(self.output, self.before, self.size, strict=True)
        ]
        return self.images * prod(met)

    def addresses(self, x: Value, zeros: Value, steps: tuple[int, int, int], tile: Value, taken: Sequence) -> list[list[Value]]:
        """Where a tile's inputs lie, four in each of the rows ``taken`` (of four); zeros for those outside of x."""
        image, *places = unflattened(tile, self.grid)
        top, left = (i * 2 - low for i, low in zip(places, self.before, strict=True))
        rows = [top + k for k in taken]
        met = self.inside(rows, 0), self.inside([left + k for k in range(4)], 1)
        bases = [at(x, image * steps[0], i * steps[1], left * steps[2]) for i in rows]
        return [[address(at(p, b * steps[2]), zeros, (met[0][a], met[1][b])) for b in range(4)] for a, p in enumerate(bases)]

    def visit(self, piece: Block, chunk: Value, chunks: int, block: int, steps: Sequence[Callable]) -> None:
        """``step(block, first tile, count)`` for all steps one after another, on every so many tiles of a chunk."""
        first, last = (((chunk + k) * self.count).quotient(chunks) for k in (0, 1))
        with piece.loop(first, last, block) as iteration:
            count = call("smin", last - iteration.index, piece.integer(block))
            for step in steps:
                with iteration.section() as inside:
                    step(inside, iteration.index, count)

    def inside(self, line: list[Value], axis: int) -> list[Value | None]:
        """Whether the input has these rows (axis 0) or columns; None where that is certain."""
        low, size = self.before[axis], self.size[axis]
        certain = low <= 0 and 2 * self.grid[axis + 1] + 2 - low <= size
        return [None if certain else (i >= 0) & (i < size) for i in line]


def gains(tiling: Tiling, depth: int, width: int, lanes: int) -> bool:
    """Whether fewer multiplications outweigh the transformations, by the cycles of both.

    A vector of a tile is transformed in some 80 cycles, an element of the filters in 20, as most of them do not stay in cache."""
    product = depth * width / (2 * lanes)
    transformations = tiling.count * 80 * (-(-depth // lanes) + -(-width // lanes)) + 20 * depth * width
    return tiling.taps * product > 1.15 * (1.1 * PLACES * tiling.count * product + transformations)


def address(base: Value, zeros: Value, conditions: tuple[Value | None, ...]) -> Value:
    """An address, or that of zeros where one of the conditions does not hold."""
    for inside in conditions:
        base = base if inside is None else either(inside, base, zeros)
    return fixed(base)


@dataclass(frozen=True)
class Filters:
    """w[tap, c, f] to [place, panel, c, f within the panel], the last panel filled with 0."""

    depth: int
    width: int
    tap: int  # elements of w from one tap to the next, and from one channel to the next, where it is not packed
    step: int
    packed: bool
    flipped: bool  # whether taps are taken from the last to the first, as gradients by the input do
    tile: Tile
    kind: str

    @property
    def columns(self) -> int:
        """Columns with those that fill the last vector."""
        return rounded(self.width, self.tile.lanes)

    @property
    def size(self) -> int:
        """Elements of the result."""
        return PLACES * self.depth * self.columns

    @property
    def panels(self) -> list[tuple[int, list[int], int]]:
        """Panels as (first column, lanes of vectors, count)."""
        return panels_of(self.width, self.tile)

    @property
    def parts(self) -> int:
        """Of the channels, each with all panels a piece of work."""
        return min(self.depth, 64)

    @property
    def pieces(self) -> int:
        """Pieces of work."""
        return self.parts * sum(count for _, _, count in self.panels)

    @property
    def work(self) -> float:
        """Operations, or what takes as long."""
        return 4.0 * self.size

    def write(self, block: Block, pointers: list[Value], epilogue: Epilogue | None, begin: Value, end: Value) -> None:
        """The code of pieces from begin to end; ``pointers`` are those of w and of the result."""
        w, out = pointers
        with block.loop(begin, end) as piece:
            part, panel = piece.index.remainder(self.parts), piece.index.quotient(self.parts)
            for inside, column, widths in one_panel(piece, self.panels, panel, self.tile.lanes):
                first, last = (((part + k) * self.depth).quotient(self.parts) for k in (0, 1))
                with inside.loop(first, last) as loop:
                    self.channel(loop, w, at(out, column * self.depth), column, widths)

    def channel(self, loop: Loop, w: Value, out: Value, column: Value, widths: list[int]) -> None:
        """One channel of one panel."""
        size, lanes, span = itemsize(self.kind), self.tile.lanes, len(widths) * self.tile.lanes
        tap, step = (self.depth * span, span) if self.packed else (self.tap, self.step)
        source = at(w, column * (9 * self.depth if self.packed else 1), loop.index * step)
        target = fixed(at(out, loop.index * span))
        order = range(8, -1, -1) if self.flipped else range(9)
        for v, n in enumerate(widths):
            taps = [load(loop, at(source, t * tap + v * lanes), lanes if self.packed else n, size) for t in order]
            for k, value in enumerate(both_ways(of_filter, [taps[0:3], taps[3:6], taps[6:9]])):
                store(loop, at(target, k * (self.depth * self.columns) + v * lanes), filled(value, lanes), size)


# -- the convolution -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Winograd:
    """The convolution of x (images, *size, depth) with transformed filters."""

    tiling: Tiling
    steps: tuple[int, int, int]  # elements of x from one image, row, column to the next; channels are neighbours
    depth: int
    width: int
    tile: Tile
    kind: str
    block: int  # tiles that are transformed at a time
    chunks: int  # of the tiles
    shares: int  # of the panels, each with each chunk a piece of work

    @property
    def panels(self) -> list[tuple[int, list[int], int]]:
        """Panels as (first column, lanes of vectors, count)."""
        return panels_of(self.width, self.tile)

    @property
    def columns(self) -> int:
        """Columns with those that fill the last vector."""
        return rounded(self.width, self.tile.lanes)

    @property
    def pitch(self) -> int:
        """Elements from a tile to the next among transformed inputs: not a page's part, which would crowd the first cache."""
        return rounded(self.depth, self.tile.lanes) + self.tile.lanes

    @property
    def inputs(self) -> int:
        """Elements of a place of transformed inputs."""
        return self.block * self.pitch

    @property
    def products(self) -> int:
        """Elements of a place of products."""
        return self.block * self.columns + self.tile.lanes

    @property
    def scratch(self) -> int:
        """Elements of memory that one piece of work has for itself: zeros, inputs and products."""
        return self.pitch + PLACES * (self.inputs + self.products)

    @property
    def pieces(self) -> int:
        """Pieces of work."""
        return self.chunks * self.shares

    @property
    def work(self) -> float:
        """Operations."""
        return 2.0 * PLACES * self.tiling.count * self.depth * self.width

    def write(self, block: Block, pointers: list[Value], epilogue: Epilogue | None, begin: Value, end: Value) -> None:
        """The code of pieces from begin to end; ``pointers`` are those of x, the filters and the scratch of the pieces."""
        x, filters, scratch = pointers
        assert epilogue is not None
        with block.loop(begin, end) as piece:
            chunk, share = piece.index.remainder(self.chunks), piece.index.quotient(self.chunks)
            work = _Piece(self, piece, x, filters, at(scratch, piece.index * self.scratch), share, epilogue)
            work.clear(piece)
            self.tiling.visit(piece, chunk, self.chunks, self.block, (work.transform, work.multiply, work.finish))


class _Piece:
    """A share of the panels for a chunk of the tiles."""

    def __init__(self, spec: Winograd, block: Block, x: Value, filters: Value, scratch: Value, share: Value, epilogue: Epilogue):
        self.spec, self.x, self.filters, self.epilogue = spec, x, filters, epilogue
        self.bytes, self.lanes = itemsize(spec.kind), spec.tile.lanes
        self.zeros, self.v = scratch, at(scratch, spec.pitch)
        self.m = at(self.v, PLACES * spec.inputs)
        self.bounds, self.low, self.high = share_of(spec.panels, share, spec.shares, self.lanes)

    def clear(self, block: Block) -> None:
        """Zeros for inputs that are outside."""
        zero = repeated(block, 0.0, self.spec.kind, self.lanes)
        with block.loop(0, self.spec.pitch, self.lanes) as loop:
            store(loop, at(self.zeros, loop.index), zero, self.bytes)

    def transform(self, block: Block, first: Value, count: Value) -> None:
        """The inputs of so many tiles."""
        spec, zero, depth = self.spec, block.integer(0), block.integer(self.spec.depth)
        with block.loop(0, count) as t:
            corners = spec.tiling.addresses(self.x, self.zeros, spec.steps, first + t.index, range(4))
            target = fixed(at(self.v, t.index * spec.pitch))

            def take(inside: Block, c: Value, lanes: int) -> None:
                d = [[load(inside, at(p, c), lanes, self.bytes) for p in row] for row in corners]
                to = fixed(at(target, c))
                for k, value in enumerate(both_ways(of_input, d)):
                    store(inside, at(to, k * spec.inputs), value, self.bytes)

            each_vector(t, zero, depth, spec.depth, self.lanes, take)

    def multiply(self, block: Block, first: Value, count: Value) -> None:
        """At each place the products of tiles and columns; after the last tile of a chunk some that nobody reads."""
        spec, tile = self.spec, self.spec.tile
        tiles = (count + (tile.rows - 1)).quotient(tile.rows)
        with block.loop(0, PLACES) as k:
            v, m = at(self.v, k.index * spec.inputs), at(self.m, k.index * spec.products)
            filters = at(self.filters, k.index * (spec.depth * spec.columns))
            for panel, _, column, widths in panels_between(k, spec.panels, self.bounds, self.lanes):
                u, vectors = fixed(at(filters, column * spec.depth)), len(widths)
                with panel.loop(0, tiles) as iteration:
                    a = fixed(at(v, iteration.index * (tile.rows * spec.pitch)))
                    target = at(m, iteration.index * (tile.rows * spec.columns), column)
                    for n, value in enumerate(self.sums(iteration, a, u, vectors)):
                        r, i = divmod(n, vectors)
                        store(iteration, at(target, r * spec.columns + i * self.lanes), value, self.bytes)

    def sums(self, block: Block, v: Value, u: Value, vectors: int) -> list[Value]:
        """The sums of one tile of registers."""
        spec, rows, span = self.spec, self.spec.tile.rows, vectors * self.lanes
        a = lambda inside, c, r: load(inside, at(at(v, c), r * spec.pitch), 1, self.bytes)
        b = lambda inside, c, i: load(inside, at(at(u, c * span), i * self.lanes), self.lanes, self.bytes)
        zero = repeated(block, 0.0, spec.kind, self.lanes)
        return accumulate(block, [zero] * (rows * vectors), spec.depth, a, b, (0, rows), vectors)

    def finish(self, block: Block, first: Value, count: Value) -> None:
        """The results of so many tiles, of which the last of a row or column may reach beyond the end."""
        spec = self.spec
        with block.loop(0, count) as t:
            source = fixed(at(self.m, t.index * spec.columns))
            with t.loop(self.low, self.high, self.lanes) as loop:
                at_column = at(source, loop.index)
                m = [
                    [load(loop, at(at_column, (4 * a + b) * spec.products), self.lanes, self.bytes) for b in range(4)]
                    for a in range(4)
                ]
                for k, value in enumerate(both_ways(of_result, m)):
                    store(loop, at(at_column, k * spec.products), value, self.bytes)
            image, *places = unflattened(first + t.index, spec.tiling.grid)
            ends = [
                call("smin", n - i * 2, block.integer(2)) if n % 2 else 2 for n, i in zip(spec.tiling.output, places, strict=True)
            ]
            with t.loop(0, ends[0]) as r, r.loop(0, ends[1]) as s:
                index = [image, places[0] * 2 + r.index, places[1] * 2 + s.index]
                self.deliver(s, at(source, (r.index * 2 + s.index) * spec.products), index)

    def deliver(self, block: Block, source: Value, index: list[Value]) -> None:
        """The columns of one result to the epilogue."""

        def take(inside: Block, column: Value, lanes: int) -> None:
            value = load(inside, at(source, column), self.lanes, self.bytes)
            self.epilogue(inside, [*index, column], resized(value, lanes))

        each_vector(block, self.low, self.high, self.spec.width, self.lanes, take)
