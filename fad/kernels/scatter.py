"""Rows added at indices, in parallel and in order: y[index[i]] += values[i], the adjoint of gathering rows.

Each piece owns a range of the rows of y and adds, in the order of i, those values that belong there. To find them without
looking at all indices in every piece, `arrays.sort_by_range` sorts their numbers by range, stably.
"""

from __future__ import annotations

from fad.kernels.pieces import Kernel, floats, integers, numbers, part

__all__ = ["add_rows", "add_rows_pieces"]


@part
def add_rows(values, y, index, order, starts, width, begin, end):
    """Ranges of the rows of y: range r gets the values order[starts[r]] to order[starts[r + 1]], one after another."""
    for piece in range(begin, end):
        for k in range(starts[piece], starts[piece + 1]):
            i = order[k]
            row, value = y[index[i] * width : (index[i] + 1) * width], values[i * width : (i + 1) * width]
            for q in range(width):
                row[q] += value[q]


@Kernel
def add_rows_pieces(data, begin, end):
    """`add_rows` as the pool calls it."""
    add_rows(
        floats(data, 0),
        floats(data, 1),
        integers(data, 2),
        integers(data, 3),
        integers(data, 4),
        numbers(data, 0, 1)[0],
        begin,
        end,
    )
