"""Gaussian elimination and Cholesky's method for matrices that fit the first cache, as loops over vectors along rows.

A call of LAPACK costs more than the work on a small matrix, and its threads get in the way of those that share a stack. Rows lie
``lead`` elements apart, whole vectors, so no loop has a tail; what is beside a matrix is computed along and never read.
"""

from __future__ import annotations

from typing import Any

from fad.native.ir import Block, Value, call, constant, where
from fad.native.tile import at, counted, load, rounded, store

__all__ = ["MOST", "Rows", "factor_cholesky", "factor_lu", "substitute", "swap_rows"]

MOST = 64  # rows of a matrix up to which this is faster than LAPACK's blocks, as measured


class Rows:
    """A matrix in memory, row after row."""

    def __init__(self, start: Value, rows: int, columns: int, lanes: int, size: int):
        self.start, self.rows, self.columns, self.lanes, self.size = start, rows, columns, lanes, size
        self.lead = rounded(columns, lanes)  # how far rows lie apart

    def place(self, i: Any, j: Any = 0) -> Value:
        """The address of an element."""
        return at(self.start, i * self.lead, j)

    def number(self, block: Block, i: Any, j: Any) -> Value:
        """An element."""
        return load(block, self.place(i, j), 1, self.size)

    def put(self, block: Block, i: Any, j: Any, x: Value) -> None:
        """An element or a vector into its place."""
        store(block, self.place(i, j), x, self.size)

    def vector(self, block: Block, i: Any, j: Any) -> Value:
        """The vector that begins at an element."""
        return load(block, self.place(i, j), self.lanes, self.size)

    def vectors_from(self, block: Block, j: Value) -> Any:
        """A loop over the vectors of a row, from that which has column j."""
        first = j.quotient(self.lanes) * self.lanes if self.lanes > 1 else j
        return block.loop(first, self.lead, self.lanes)


def swap_rows(block: Block, a: Rows, i: Value, j: Value) -> None:
    """Two rows in each other's place."""
    with block.loop(0, a.lead, a.lanes) as v:
        x, y = a.vector(v, i, v.index), a.vector(v, j, v.index)
        a.put(v, i, v.index, y)
        a.put(v, j, v.index, x)


def factor_lu(block: Block, a: Rows, order: Rows) -> Value:
    """l and u in the place of a matrix, rows ordered so that each pivot is the largest of its column; ``order`` takes the row that
    came to each place, as a float. Returns the sign of that order."""
    n, one = a.rows, constant(1.0, Value(block, "poison", a.start.kind, 1))

    def step(outer: Any, state: list[Value]) -> list[Value]:
        k = outer.index
        first = abs(a.number(outer, k, k))

        def compare(loop: Any, best: list[Value]) -> list[Value]:
            x = abs(a.number(loop, loop.index, k))
            larger = x > best[0]
            return [where(larger, x, best[0]), where(larger, loop.index, best[1])]

        _, p = outer.repeat(k + 1, n, [first, k], compare, empty=True)
        order.put(outer, 0, k, p.to(a.start.kind))
        with outer.when(p != k) as inside:
            swap_rows(inside, a, k, p)
        below = 1.0 / a.number(outer, k, k)
        with outer.loop(k + 1, n, empty=True) as row:
            factor = a.number(row, row.index, k) * below
            with a.vectors_from(row, k + 1) as v:
                beyond = counted(v, a.lanes) + v.index.spread(a.lanes) > k.spread(a.lanes)
                x = a.vector(v, row.index, v.index)
                less = x - factor.spread(a.lanes) * a.vector(v, k, v.index)
                a.put(v, row.index, v.index, where(beyond, less, x))
            a.put(row, row.index, k, factor)
        return [where(p != k, -state[0], state[0])]

    (sign,) = block.repeat(0, n, [one], step)
    return sign


def factor_cholesky(block: Block, a: Rows) -> Value:
    """The upper triangle u such that u^T u is the matrix of which only the upper triangle is read, in its place. Returns whether
    there is none."""

    def step(outer: Any, state: list[Value]) -> list[Value]:
        k = outer.index
        pivot = a.number(outer, k, k)
        by = (1.0 / call("sqrt", pivot)).spread(a.lanes)
        with a.vectors_from(outer, k) as v:
            a.put(v, k, v.index, a.vector(v, k, v.index) * by)
        with outer.loop(k + 1, a.rows, empty=True) as row:
            factor = a.number(row, k, row.index).spread(a.lanes)
            with a.vectors_from(row, row.index) as v:
                a.put(v, row.index, v.index, a.vector(v, row.index, v.index) - factor * a.vector(v, k, v.index))
        return [state[0] | ~(pivot > 0)]

    false = Value(block.root, "false", "i1", 1)
    (bad,) = block.repeat(0, a.rows, [false], step)
    return bad


def substitute(block: Block, a: Rows, b: Rows, lower: bool, unit: bool = False, transposed: bool = False) -> None:
    """The solution for a triangle of ``a``, or its transpose, in the place of the right sides; not finite where a pivot is 0."""
    n = a.rows
    forward = lower != transposed
    with block.loop(0, n) as outer:
        k = outer.index if forward else (n - 1) - outer.index
        by = 1.0 / a.number(outer, k, k)
        with outer.loop(0, b.lead, b.lanes) as v:
            x = b.vector(v, k, v.index)
            if not unit:
                x = x * by.spread(b.lanes)
                b.put(v, k, v.index, x)
            with v.loop(k + 1 if forward else 0, n if forward else k, empty=True) as row:
                i = row.index
                factor = (a.number(row, k, i) if transposed else a.number(row, i, k)).spread(b.lanes)
                b.put(row, i, v.index, b.vector(row, i, v.index) - factor * x)
