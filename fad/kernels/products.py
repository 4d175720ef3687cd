"""Products of matrices, for any shape, transposed or not, one or many: y[s] = x[s] w[s] + b with x (m, k), w (k, n), b (n,).

Blocks of the depth k are multiplied one after another. Of each, columns of w are packed into panels that stay in the caches,
and rows of x are read where they lie, or from a copy side by side where x is transposed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, prange
from numba.extending import register_jitable

from fad.kernels.pieces import Kernel, cached, floats, integers, numbers, part
from fad.kernels.tile import BYTES, ROWS, fill_up, move, multiply, pack, width_of
from fad.native.machine_model import (
    FEW_ROWS_OF_PRODUCT,
    PANEL_DEPTH,
    PANELS_OF_PRODUCT,
    PIECE_ROWS,
    PIECES_PER_THREAD,
    SMALL_PRODUCTS,
)

__all__ = ["Matrices", "multiply_all", "multiply_matrices", "multiply_pieces", "plan_matrices"]


class Matrices(NamedTuple):
    """What is multiplied, and in what pieces; steps count elements."""

    stack: int  # how many products
    rows: int
    columns: int
    depth: int
    several: int  # products in a piece
    chunk: int  # rows in a piece
    share: int  # columns in a piece
    x_row: int
    x_column: int
    w_row: int
    w_column: int
    has_bias: int


@part
def multiply_matrices(x, w, y, bias, x_at, w_at, p, begin, end):
    """Pieces of y: some rows and columns of some products; product s reads x from x_at[s] on and w from w_at[s]."""
    width, alone, padded = width_of(p.share, BYTES // x.itemsize), np.zeros(1, np.int64), -(-p.chunk // ROWS) * ROWS
    x_rows, y_rows = np.empty(padded, np.int64), np.empty(padded, np.int64)
    wide, deepest, beside = width * PANELS_OF_PRODUCT, min(p.depth, PANEL_DEPTH), p.x_column != 1
    panels, copied = np.empty(deepest * wide, x.dtype), np.empty(deepest * p.chunk if beside else 0, x.dtype)
    chunks, shares = -(-p.rows // p.chunk), -(-p.columns // p.share)
    for piece in range(begin, end):
        share, chunk, stack = piece % shares, piece // shares % chunks, piece // (shares * chunks) * p.several
        first, last, c_first = chunk * p.chunk, min(chunk * p.chunk + p.chunk, p.rows), share * p.share
        rows, c_last = last - first, min(c_first + p.share, p.columns)
        for r in range(rows):
            x_rows[r] = r if beside else (first + r) * p.x_row
            y_rows[r] = (first + r) * p.columns
        fill_up(x_rows, rows)
        fill_up(y_rows, rows)
        for s in range(stack, min(stack + p.several, p.stack)):
            to = s * p.rows * p.columns
            if p.has_bias:
                for r in range(rows):
                    move(bias, c_first, y, to + y_rows[r] + c_first, c_last - c_first)
            for k in range(0, p.depth, PANEL_DEPTH):
                n, add = min(p.depth - k, PANEL_DEPTH), k > 0 or p.has_bias > 0
                if beside:
                    for q in range(n):
                        move(x, x_at[s] + first * p.x_row + (k + q) * p.x_column, copied, q * rows, rows)
                for some in range(c_first, c_last, wide):
                    start = w_at[s] + k * p.w_row + some * p.w_column
                    pack(w, start, p.w_row, p.w_column, n, min(c_last - some, wide), width, panels, 0, n * width)
                    for f in range(some, min(c_last, some + wide), width):
                        at, columns, y_at = (f - some) * n, min(width, c_last - f), to + f
                        if beside:  # copied: a row of x is a column of it
                            multiply(
                                copied, 0, x_rows, rows, alone, 0, 1, n, rows, panels, at, width, columns, y, y_at, y_rows, add
                            )
                        else:
                            x_k = x_at[s] + k
                            multiply(x, x_k, x_rows, rows, alone, 0, 1, n, 1, panels, at, width, columns, y, y_at, y_rows, add)


@cached
@njit(parallel=True, error_model="numpy")
def multiply_all(x, w, y, bias, x_at, w_at, p, pieces):
    """`multiply_matrices` on numba's threads."""
    for piece in prange(pieces):
        multiply_matrices(x, w, y, bias, x_at, w_at, p, piece, piece + 1)


@Kernel
def multiply_pieces(data, begin, end):
    """`multiply_matrices` as the pool calls it."""
    multiply_matrices(
        floats(data, 0),
        floats(data, 1),
        floats(data, 2),
        floats(data, 3),
        integers(data, 4),
        integers(data, 5),
        Matrices(*numbers(data, 0, 12)),
        begin,
        end,
    )


@register_jitable
def plan_matrices(stack, rows, columns, depth, x_row, x_column, w_row, w_column, has_bias, itemsize, threads):
    """The products, and how many pieces they have; results do not depend on it."""
    several, chunk, share, width = 1, -(-min(rows, PIECE_ROWS) // ROWS) * ROWS, columns, width_of(columns, BYTES // itemsize)
    if stack >= 2 * PIECES_PER_THREAD * threads:
        several = max(1, min(SMALL_PRODUCTS // (rows * columns * depth), stack // (PIECES_PER_THREAD * threads)))
    elif rows * columns * depth > SMALL_PRODUCTS:
        while stack * -(-rows // chunk) * -(-columns // share) < PIECES_PER_THREAD * threads and share > PANELS_OF_PRODUCT * width:
            share = -(-share // 2 // width) * width
        while stack * -(-rows // chunk) * -(-columns // share) < PIECES_PER_THREAD * threads and chunk > FEW_ROWS_OF_PRODUCT:
            chunk = max(FEW_ROWS_OF_PRODUCT, -(-chunk // 2 // ROWS) * ROWS)
        while stack * -(-rows // chunk) * -(-columns // share) < PIECES_PER_THREAD * threads and share > width:
            share = -(-share // 2 // width) * width
    p = Matrices(stack, rows, columns, depth, several, chunk, share, x_row, x_column, w_row, w_column, has_bias)
    return p, -(-stack // several) * -(-rows // chunk) * -(-columns // share)
