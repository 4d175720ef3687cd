"""The gradient by weights of a convolution with windows of 3 x 3, through the transformations of `winograd`:

    w_bar = G^T [ sum over tiles of (B^T d B) * (A y_bar A^T) ] G

At each of the 16 places the sum over tiles is a product of matrices, [channels, tiles] by [tiles, columns]. Its four rows of
places share few operations, and are work for different threads.
"""

from __future__ import annotations

from dataclasses import dataclass

from fad.compile.kernels.winograd import PLACES, Tiling, address, both_ways, of_input
from fad.native.ir import Block, Value, fma, itemsize, resized, unflattened, where
from fad.native.tile import (
    Epilogue,
    Tile,
    accumulate,
    at,
    balanced,
    each_vector,
    filled,
    fixed,
    load,
    panels_between,
    panels_of,
    repeated,
    rounded,
    share_of,
    store,
)

__all__ = ["Restored", "Summed"]


def of_cotangent(y: list) -> list:
    """A y_bar: four of two."""
    return [y[0], y[0] + y[1], y[0] - y[1], -y[1]]


def of_sums(m: list) -> list:
    """G^T m: three of four."""
    half = (m[1] + m[2]) * 0.5
    return [m[0] + half, (m[1] - m[2]) * 0.5, half + m[3]]


@dataclass(frozen=True)
class Summed:
    """The sums over tiles at every place, [chunk, place, channel, column], of x and y_bar."""

    tiling: Tiling
    x_steps: tuple[int, int, int]  # elements from one image, row, column to the next; channels are neighbours
    g_steps: tuple[int, int, int]
    depth: int
    width: int
    tile: Tile
    kind: str
    block: int  # tiles that are transformed at a time
    chunks: int  # of the tiles, each with sums of its own
    shares: int  # of the panels, each with one row of places of one chunk a piece of work

    @property
    def panels(self) -> list[tuple[int, list[int], int]]:
        """Panels as (first column, lanes of vectors, count)."""
        return panels_of(self.width, self.tile)

    @property
    def columns(self) -> int:
        """Columns with those that fill the last vector."""
        return rounded(self.width, self.tile.lanes)

    @property
    def pitches(self) -> tuple[int, int]:
        """Elements from a tile to the next among transformed inputs and cotangents: not a page's part, for the cache's sake."""
        lanes = self.tile.lanes
        return rounded(self.depth, lanes) + lanes, self.columns + lanes

    @property
    def scratch(self) -> int:
        """Elements of memory that a piece of work has for itself: zeros, inputs and cotangents."""
        return max(self.pitches) + 4 * self.block * sum(self.pitches)

    @property
    def pieces(self) -> int:
        """Pieces of work."""
        return 4 * self.chunks * self.shares

    @property
    def size(self) -> int:
        """Elements of the sums."""
        return self.chunks * PLACES * self.depth * self.columns

    @property
    def work(self) -> float:
        """Operations."""
        return 2.0 * PLACES * self.tiling.count * self.depth * self.width

    def write(self, block: Block, pointers: list[Value], epilogue: Epilogue | None, begin: Value, end: Value) -> None:
        """The code of pieces from begin to end; ``pointers`` are those of x, y_bar, the sums and the scratch of the pieces."""
        x, g, sums, scratch = pointers
        with block.loop(begin, end) as piece:
            row, rest = piece.index.remainder(4), piece.index.quotient(4)
            chunk, share = rest.remainder(self.chunks), rest.quotient(self.chunks)
            out = at(sums, (chunk * 4 + row) * (4 * self.depth * self.columns))
            work = _Piece(self, x, g, out, at(scratch, piece.index * self.scratch), row, share)
            work.clear(piece)
            self.tiling.visit(piece, chunk, self.chunks, self.block, (work.transform, work.multiply))


class _Piece:
    """A share of the panels, at one row of places, for a chunk of the tiles."""

    def __init__(self, spec: Summed, x: Value, g: Value, out: Value, scratch: Value, row: Value, share: Value):
        self.spec, self.x, self.g, self.out, self.row = spec, x, g, out, row
        self.bytes, self.lanes = itemsize(spec.kind), spec.tile.lanes
        self.zeros, self.v = scratch, at(scratch, max(spec.pitches))
        self.m = at(self.v, 4 * spec.block * spec.pitches[0])
        self.zero = repeated(row.block, 0.0, spec.kind, self.lanes)
        plus, minus = (repeated(row.block, x, spec.kind, 1) for x in (1.0, -1.0))
        self.sign = where(row == 1, plus, minus)  # of the second row of two
        integer = row.block.root.integer
        # of a tile's four rows of inputs, the two that these places take
        self.taken = where(row == 3, integer(1), row), where(row == 3, integer(3), where(row == 2, integer(1), integer(2)))
        self.bounds, self.low, self.high = share_of(spec.panels, share, spec.shares, self.lanes)

    def clear(self, block: Block) -> None:
        """Zeros for what is outside, and sums at zero."""
        spec = self.spec
        with block.loop(0, max(spec.pitches), self.lanes) as loop:
            store(loop, at(self.zeros, loop.index), self.zero, self.bytes)
        with block.loop(0, 4 * spec.depth) as c, c.loop(self.low, self.high, self.lanes) as loop:
            store(loop, at(self.out, c.index * spec.columns, loop.index), self.zero, self.bytes)

    def transform(self, block: Block, first: Value, count: Value) -> None:
        """The inputs and cotangents of so many tiles, at one row of places: sums of two rows of theirs."""
        spec, lanes = self.spec, self.lanes
        with block.loop(0, count) as t:
            x = spec.tiling.addresses(self.x, self.zeros, spec.x_steps, first + t.index, self.taken)
            g = self.cotangents(first + t.index)
            v, m = (fixed(at(p, t.index * pitch)) for p, pitch in zip((self.v, self.m), spec.pitches, strict=True))
            zero, depth = block.integer(0), block.integer(spec.depth)
            each_vector(t, zero, depth, spec.depth, lanes, lambda inside, i, n: self.one(inside, x, v, i, n))
            each_vector(t, self.low, self.high, spec.width, lanes, lambda inside, i, n: self.one(inside, g, m, i, n))

    def cotangents(self, tile: Value) -> list[list[Value]]:
        """Addresses of the cotangents of a tile: two in each of its rows, zeros for a row without part in these places."""
        tiling, (image_step, row_step, column_step) = self.spec.tiling, self.spec.g_steps
        image, i, j = unflattened(tile, tiling.grid)
        base = at(self.g, image * image_step, i * (2 * row_step), j * (2 * column_step))
        part = [self.row < 3, self.row > 0]
        ends = [[None, place * 2 + 1 < n if n % 2 else None] for place, n in zip((i, j), tiling.output, strict=True)]
        return [
            [address(at(base, a * row_step + b * column_step), self.zeros, (part[a], ends[0][a], ends[1][b])) for b in range(2)]
            for a in range(2)
        ]

    def one(self, block: Block, corners: list[list[Value]], target: Value, i: Value, lanes: int) -> None:
        """A vector of channels or columns of one tile, transformed, to four places."""
        pitch, transform = (self.spec.pitches[0], of_input) if len(corners[0]) == 4 else (self.spec.pitches[1], of_cotangent)
        upper, lower = ([load(block, at(p, i), lanes, self.bytes) for p in row] for row in corners)
        summed = [fma(self.sign, q, p) for p, q in zip(upper, lower, strict=True)]
        to = fixed(at(target, i))
        for b, value in enumerate(transform(summed)):
            store(block, at(to, b * self.spec.block * pitch), filled(value, self.lanes), self.bytes)

    def multiply(self, block: Block, first: Value, count: Value) -> None:
        """What so many tiles add to the sums."""
        spec, (v_pitch, m_pitch) = self.spec, self.spec.pitches
        with block.loop(0, 4) as k:
            v, m = at(self.v, k.index * (spec.block * v_pitch)), at(self.m, k.index * (spec.block * m_pitch))
            out = at(self.out, k.index * (spec.depth * spec.columns))
            for panel, _, column, widths in panels_between(k, spec.panels, self.bounds, self.lanes):
                start = 0
                for rows, times in balanced(spec.depth, spec.tile.rows):
                    with panel.loop(0, times) as iteration:
                        c, tile = iteration.index * rows + start, Tile(rows, len(widths), self.lanes)
                        sums = at(out, c * spec.columns, column), spec.columns
                        add_tile(iteration, tile, (at(v, c), v_pitch), (at(m, column), m_pitch), sums, count)
                    start += rows * times


def add_tile(block: Block, tile: Tile, a: tuple[Value, int], b: tuple[Value, int], sums: tuple[Value, int], count: Value) -> None:
    """Add ``count`` products a_i b_i^T to the sums of one tile; each operand is an address, and the elements between rows."""
    (p, p_row), (q, q_row), (out, out_row) = a, b, sums
    out, size = fixed(out), itemsize(p.kind)
    places = [at(out, r * out_row + v * tile.lanes) for r in range(tile.rows) for v in range(tile.vectors)]
    left = lambda inside, i, r: load(inside, at(fixed(at(p, i * p_row)), r), 1, size)
    right = lambda inside, i, v: load(inside, at(fixed(at(q, i * q_row)), v * tile.lanes), tile.lanes, size)
    before = [load(block, place, tile.lanes, size) for place in places]
    after = accumulate(block, before, count, left, right, (0, tile.rows), tile.vectors)
    with block.section() as end:
        for place, value in zip(places, after, strict=True):
            store(end, place, value, size)


@dataclass(frozen=True)
class Restored:
    """The gradient [3, 3, channel, column] from the sums over tiles of all chunks, which it leaves no longer whole."""

    chunks: int
    depth: int
    width: int
    lanes: int
    kind: str

    @property
    def columns(self) -> int:
        """Columns with those that fill the last vector."""
        return rounded(self.width, self.lanes)

    @property
    def pieces(self) -> int:
        """Pieces of work."""
        return self.depth

    @property
    def work(self) -> float:
        """Operations, or what takes as long."""
        return 4.0 * PLACES * self.chunks * self.depth * self.columns

    def write(self, block: Block, pointers: list[Value], epilogue: Epilogue | None, begin: Value, end: Value) -> None:
        """The code of pieces from begin to end, each one channel; the pointer is that of the sums."""
        assert epilogue is not None
        size, lanes, place = itemsize(self.kind), self.lanes, self.depth * self.columns
        with block.loop(begin, end) as piece:
            sums = fixed(at(pointers[0], piece.index * self.columns))
            with piece.loop(0, self.columns, lanes) as loop:
                p = at(sums, loop.index)
                zero = repeated(block, 0.0, self.kind, lanes)

                def add(inside: Block, chunk: Value, old: list[Value], p: Value = p) -> list[Value]:
                    one = fixed(at(p, chunk * (PLACES * place)))
                    return [x + load(inside, at(one, k * place), lanes, size) for k, x in enumerate(old)]

                total = loop.repeat(0, self.chunks, [zero] * PLACES, lambda inside, old: add(inside, inside.index, old))
                with loop.section() as after:
                    for k, value in enumerate(both_ways(of_sums, [total[4 * a : 4 * a + 4] for a in range(4)])):
                        store(after, at(p, k * place), value, size)
            with piece.loop(0, 3) as a, a.loop(0, 3) as b:
                source, index = at(sums, (a.index * 3 + b.index) * place), [a.index, b.index, piece.index]

                def take(inside: Block, column: Value, n: int, source: Value = source, index: list = index) -> None:
                    epilogue(inside, [*index, column], resized(load(inside, at(source, column), lanes, size), n))

                each_vector(b, block.integer(0), block.integer(self.width), self.width, lanes, take)
