"""Convolution and its gradient by the input, for any shape: data (N, *spatial, C), weights (*window, C // groups, O), 1 to 3
spatial axes.

    y[n, o, f] = sum over taps t and channels c of  x[n, o stride + t dilation - pad, c] w[t, c, f]

One kernel serves both: the gradient is a convolution of g with the window flipped, one for each remainder of the position
by the stride. It is a product of matrices. Its rows are positions of y: those whose window lies inside x read x where it lies,
the others read a copy of their window, in which zeros stand for what is outside. Its depth is taps and channels, its columns
are features.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, prange
from numba.extending import register_jitable

from fad.kernels.axes import Axis, copy_window, following, forward_axis, gradient_axis, holds, position, steps, tap_tables
from fad.kernels.pieces import Kernel, cached, floats, numbers, part
from fad.kernels.tile import BYTES, ROWS, fill_up, multiply, pack, width_of
from fad.native.machine_model import (
    FEW_ROWS_OF_CONVOLUTION,
    PACKING_PIECES_PER_THREAD,
    PANEL_DEPTH,
    PANELS_OF_CONVOLUTION,
    PIECE_ROWS,
)

__all__ = ["Product", "convolve", "convolve_all", "convolve_pieces", "plan_forward", "plan_gradient"]


class Product(NamedTuple):
    """What is multiplied, and in what pieces; steps count elements."""

    rows: int  # positions of y, of all examples
    chunk: int  # of them in a piece
    columns: int  # features of y in one group
    share: int  # of them in a piece
    groups: int
    depth: int  # channels of x in one group
    joined: int  # whether the last axis's taps and the channels lie in one run of memory
    x_batch: int
    y_batch: int
    w_row: int  # from channel to channel of x
    w_column: int  # from feature to feature of y
    w_group: int


@part
def convolve(x, w, y, p, a, b, c, begin, end):
    """Pieces of y: each some rows and some columns of one group."""
    taps, run_taps = a.taps * b.taps * c.taps, c.taps if p.joined else 1
    x_shift, w_shift, away = tap_tables(a, b, c)
    run_shift, alone = x_shift[::run_taps].copy(), np.zeros(1, np.int64)
    block_taps = min(max(1, PANEL_DEPTH // (run_taps * p.depth)) * run_taps, taps)
    deepest = block_taps * min(p.depth, PANEL_DEPTH)
    width = width_of(p.share, BYTES // x.itemsize)
    wide = width * PANELS_OF_CONVOLUTION
    panels, padded = np.empty(deepest * wide, x.dtype), -(-p.chunk // ROWS) * ROWS
    inside, inside_y = np.empty(padded, np.int64), np.empty(padded, np.int64)
    outside, outside_y, corner = np.empty(padded, np.int64), np.empty(padded, np.int64), np.empty((padded, 3), np.int64)
    patch_rows, shares = np.empty(padded, np.int64), -(-p.columns // p.share)
    for piece in range(begin, end):
        group, share, first = piece % p.groups, piece // p.groups % shares, piece // (shares * p.groups) * p.chunk
        n_in, n_out = list_rows(p, a, b, c, group, first, inside, inside_y, outside, outside_y, corner)
        patches, last = np.empty(n_out * deepest, x.dtype), min(share * p.share + p.share, p.columns)
        for t in range(0, taps, block_taps):
            t_end = min(t + block_taps, taps)
            run, runs = t // run_taps, (t_end - t) // run_taps
            for q in range(0, p.depth, PANEL_DEPTH):
                channels, add = min(p.depth - q, PANEL_DEPTH), t > 0 or q > 0
                deep, depth = channels * run_taps, (t_end - t) * channels
                for r in range(n_out):
                    i, j, k = corner[r]
                    patch_rows[r] = r * depth
                    copy_window(x, outside[r] + q, i, j, k, a, b, c, away, t, t_end, run_taps, channels, patches, r * depth)
                fill_up(patch_rows, n_out)
                for some in range(share * p.share, last, wide):
                    start = group * p.w_group + q * p.w_row + some * p.w_column
                    for tap in range(t, t_end):
                        at, to = start + w_shift[tap], (tap - t) * channels * width
                        pack(w, at, p.w_row, p.w_column, channels, min(last - some, wide), width, panels, to, depth * width)
                    for f in range(some, min(last, some + wide), width):
                        columns, at = min(width, last - f), (f - some) * depth
                        multiply(x, q, inside, n_in, run_shift, run, runs, deep, 1, panels, at, width, columns, y, f, inside_y, add)
                        multiply(
                            patches, 0, patch_rows, n_out, alone, 0, 1, depth, 1, panels, at, width, columns, y, f, outside_y, add
                        )


@part
def list_rows(p, a, b, c, group, first, inside, inside_y, outside, outside_y, corner):
    """The rows of a piece and their places in y: where the windows that lie inside of x begin, and the corners of the others."""
    n, i, j, k = position(first, a, b, c)
    n_in = n_out = 0
    for _ in range(first, min(first + p.chunk, p.rows)):
        i_x, j_x, k_x = i * a.step + a.start, j * b.step + b.start, k * c.step + c.start
        base = group * p.depth + n * p.x_batch
        place = group * p.columns + n * p.y_batch + a.y_start + b.y_start + c.y_start
        place += i * a.y_step + j * b.y_step + k * c.y_step
        if holds(a, i_x) and holds(b, j_x) and holds(c, k_x):
            inside[n_in], inside_y[n_in] = base + i_x * a.x_step + j_x * b.x_step + k_x * c.x_step, place
            n_in += 1
        else:
            outside[n_out], outside_y[n_out] = base, place
            corner[n_out, 0], corner[n_out, 1], corner[n_out, 2] = i_x, j_x, k_x
            n_out += 1
        n, i, j, k = following(n, i, j, k, a, b, c)
    for rows, count in ((inside, n_in), (inside_y, n_in), (outside_y, n_out)):
        fill_up(rows, count)
    return n_in, n_out


@cached
@njit(parallel=True, error_model="numpy")
def convolve_all(x, w, y, p, a, b, c, pieces):
    """`convolve` on numba's threads."""
    for piece in prange(pieces):
        convolve(x, w, y, p, a, b, c, piece, piece + 1)


@Kernel
def convolve_pieces(data, begin, end):
    """`convolve` as the pool calls it."""
    a, b, c = numbers(data, 0, 11), numbers(data, 11, 11), numbers(data, 22, 11)
    convolve(
        floats(data, 0), floats(data, 1), floats(data, 2), Product(*numbers(data, 33, 12)), Axis(*a), Axis(*b), Axis(*c), begin, end
    )


# -- what is multiplied, from shapes -----------------------------------------------------------------------------------------


@register_jitable
def shares_of(rows, columns, groups, width, threads):
    """How many rows and columns a piece has: all columns while there are pieces enough; results do not depend on it."""
    chunk, share = -(-min(rows, PIECE_ROWS) // ROWS) * ROWS, columns
    wanted = PACKING_PIECES_PER_THREAD * threads
    while -(-rows // chunk) * groups * -(-columns // share) < wanted and share > width:
        share = -(-share // 2 // width) * width
    while -(-rows // chunk) * groups * -(-columns // share) < wanted and chunk > FEW_ROWS_OF_CONVOLUTION:
        chunk = max(FEW_ROWS_OF_CONVOLUTION, -(-chunk // 2 // ROWS) * ROWS)
    return chunk, share


@register_jitable
def plan(a, b, c, batch, columns, groups, depth, x_batch, y_batch, w_row, w_column, w_group, itemsize, threads):
    """The product, and how many pieces it has."""
    rows = batch * a.outputs * b.outputs * c.outputs
    joined = groups == 1 and c.spread * c.x_step == depth and 1 < c.taps and c.taps * depth <= PANEL_DEPTH
    chunk, share = shares_of(rows, columns, groups, width_of(columns, BYTES // itemsize), threads)
    p = Product(rows, chunk, columns, share, groups, depth, int(joined), x_batch, y_batch, w_row, w_column, w_group)
    return p, -(-rows // chunk) * groups * -(-columns // share)


@register_jitable
def plan_forward(x_shape, w_shape, y_shape, strides, lows, dilation, groups, itemsize, threads):
    """y = conv(x, w), all with three spatial axes: the product, its axes, and pieces."""
    batch, size, channels, outputs, taps, depth, width = (
        x_shape[0],
        x_shape[1:4],
        x_shape[4],
        y_shape[1:4],
        w_shape[:3],
        w_shape[3],
        w_shape[4],
    )
    xs, ws, ys = steps(size, channels), steps(taps, depth * width), steps(outputs, width)
    a = forward_axis(outputs[0], size[0], taps[0], strides[0], lows[0], dilation[0], xs[0], ws[0], ys[0])
    b = forward_axis(outputs[1], size[1], taps[1], strides[1], lows[1], dilation[1], xs[1], ws[1], ys[1])
    c = forward_axis(outputs[2], size[2], taps[2], strides[2], lows[2], dilation[2], xs[2], ws[2], ys[2])
    columns = width // groups
    p, pieces = plan(
        a, b, c, batch, columns, groups, depth, size[0] * xs[0], outputs[0] * ys[0], width, 1, columns, itemsize, threads
    )
    return p, a, b, c, pieces


@register_jitable
def plan_gradient(phase, g_shape, w_shape, x_shape, strides, lows, dilation, groups, itemsize, threads):
    """x_bar at the positions that are ``phase`` by the strides; without taps, where it is 0, there are no pieces."""
    batch, size, channels, outputs, taps, depth, width = (
        x_shape[0],
        x_shape[1:4],
        x_shape[4],
        g_shape[1:4],
        w_shape[:3],
        w_shape[3],
        w_shape[4],
    )
    gs, ws, xs = steps(outputs, width), steps(taps, depth * width), steps(size, channels)
    a = gradient_axis(phase[0], outputs[0], size[0], taps[0], strides[0], lows[0], dilation[0], gs[0], ws[0], xs[0])
    b = gradient_axis(phase[1], outputs[1], size[1], taps[1], strides[1], lows[1], dilation[1], gs[1], ws[1], xs[1])
    c = gradient_axis(phase[2], outputs[2], size[2], taps[2], strides[2], lows[2], dilation[2], gs[2], ws[2], xs[2])
    features = width // groups
    p, pieces = plan(
        a, b, c, batch, depth, groups, features, outputs[0] * gs[0], size[0] * xs[0], 1, width, features, itemsize, threads
    )
    return p, a, b, c, pieces * min(1, a.taps * b.taps * c.taps)
