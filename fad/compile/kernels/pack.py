"""Weights copied into the order in which tiles read them: panels of columns, in each the rows of the depth one after another.

A step of the depth then reads one piece of memory, however far apart its rows were, and whichever way the matrix lay.
"""

from __future__ import annotations

from dataclasses import dataclass

from fad.native.ir import Block, Value, itemsize
from fad.native.tile import Tile, at, filled, fixed, load, one_panel, panels_of, repeated, rounded, store, transposed

__all__ = ["Pack", "write_pack"]


@dataclass(frozen=True)
class Pack:
    """w[g, t, c, f] with these distances in elements, to [g, panel, t, c, f within the panel], the last panel filled with 0."""

    groups: int
    taps: int
    depth: int
    width: int
    steps: tuple[int, int, int, int]
    vectors: int  # of a panel at most
    lanes: int
    kind: str

    @property
    def columns(self) -> int:
        """Columns of a group with those that fill its last vector."""
        return rounded(self.width, self.lanes)

    @property
    def size(self) -> int:
        """Elements of the copy."""
        return self.groups * self.taps * self.depth * self.columns

    @property
    def distances(self) -> tuple[int, int, int]:
        """Elements from one group, tap, row of the depth to the next in a copy that is one panel."""
        return self.taps * self.depth * self.columns, self.depth * self.columns, self.columns

    @property
    def pieces(self) -> int:
        """Pieces of work."""
        return self.groups * self.taps * -(-self.columns // (self.vectors * self.lanes))

    @property
    def work(self) -> float:
        """Operations, or what takes as long."""
        return 2.0 * self.size

    def write(self, block: Block, pointers: list[Value], epilogue: object, begin: Value, end: Value) -> None:
        """The code of pieces from begin to end; ``pointers`` are those of w and its copy."""
        w, out = pointers
        write_pack(block, self, w, out, begin, end)


def write_pack(block: Block, pack: Pack, w: Value, out: Value, begin: Value, end: Value) -> None:
    """Pieces of work from begin to end: each one panel of one tap."""
    lanes, rows = pack.lanes, pack.taps * pack.depth
    with block.loop(begin, end) as piece:
        tap, rest = piece.index.remainder(pack.taps), piece.index.quotient(pack.taps)
        panels = panels_of(pack.width, Tile(1, pack.vectors, lanes))
        total = sum(count for _, _, count in panels)
        number, group = rest.remainder(total), rest.quotient(total)
        source = at(w, group * pack.steps[0], tap * pack.steps[1])
        target = at(out, group * (rows * pack.columns))
        for inside, column, widths in one_panel(piece, panels, number, lanes):
            span = len(widths) * lanes
            to = at(target, column * rows, tap * (pack.depth * span))
            one = _Panel(pack, at(source, column * pack.steps[3]), to, span)
            one.copy_transposed(inside, widths) if pack.steps[2] == 1 and pack.steps[3] != 1 else one.copy(inside, widths)


class _Panel:
    """One panel of one tap."""

    def __init__(self, pack: Pack, source: Value, target: Value, span: int):
        self.pack, self.source, self.target, self.span = pack, source, target, span
        self.size = itemsize(pack.kind)

    def copy(self, block: Block, widths: list[int]) -> None:
        """Rows of the depth as they are."""
        _, _, row, step = self.pack.steps
        with block.loop(0, self.pack.depth) as loop:
            for v, n in enumerate(widths):
                p = at(self.source, loop.index * row, v * self.pack.lanes * step)
                x = load(loop, p, n, self.size) if step == 1 else self.gathered(loop, p, step, n)
                store(loop, at(self.target, loop.index * self.span, v * self.pack.lanes), filled(x, self.pack.lanes), self.size)

    def gathered(self, block: Block, p: Value, step: int, n: int) -> Value:
        """Elements some distance apart."""
        x = repeated(block, 0.0, self.pack.kind, n)
        for k in range(n):
            one = load(block, at(p, k * step), 1, self.size)
            x = one if n == 1 else block.effect(f"insertelement {x.type} {x.name}, {x.kind} {one.name}, i64 {k}", x.kind, n)
        return x

    def copy_transposed(self, block: Block, widths: list[int]) -> None:
        """Columns whose elements are neighbours: square blocks are transposed in registers."""
        lanes = self.pack.lanes
        whole, rest = divmod(self.pack.depth, lanes)
        full = widths.count(lanes)
        for start, count, n in ((0, full, lanes), (full, len(widths) - full, widths[-1])):
            if not count:
                continue
            with block.loop(start, start + count) as v:
                if whole:
                    with v.loop(0, whole) as loop:
                        self.square(loop, loop.index * lanes, v.index, n, lanes)
                if rest:
                    with v.section() as inside:
                        self.square(inside, block.integer(whole * lanes), v.index, n, rest)

    def square(self, block: Block, row: Value, v: Value, n: int, depth: int) -> None:
        """n columns of the v-th vector, and so many rows from a row on."""
        lanes, step = self.pack.lanes, self.pack.steps[3]
        source = fixed(at(self.source, row + v * (lanes * step)))
        columns = [filled(load(block, at(source, k * step), depth, self.size), lanes) for k in range(n)]
        rows = transposed(columns + [repeated(block, 0.0, self.pack.kind, lanes)] * (lanes - n))
        target = fixed(at(self.target, row * self.span + v * lanes))
        for k in range(depth):
            store(block, at(target, k * self.span), rows[k], self.size)
