"""The gradient of a convolution by its weights: sums over positions.

    w_bar[t, c, f] = sum over n and o of  x[n, o stride + t dilation - pad, c] g[n, o, f]

It is a product of matrices. Its rows are channels at some taps, its columns are features, and its depth is positions, whose
windows are copied side by side, a block of them at a time. Few weights are summed in several chunks of positions, which are
added up in order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, prange
from numba.extending import register_jitable

from fad.kernels.axes import Axis, copy_windows, forward_axis, steps, tap_tables
from fad.kernels.pieces import Kernel, cached, floats, numbers, part
from fad.kernels.tile import BYTES, ROWS, fill_up, multiply, pack, width_of
from fad.native.machine_model import (
    FEW_ROWS_OF_PRODUCT,
    PACKING_PIECES_PER_THREAD,
    PANEL_POSITIONS,
    PANELS_OF_PRODUCT,
    WEIGHT_PIECES,
    WEIGHT_POSITIONS,
    WEIGHT_ROWS,
)

__all__ = ["Sums", "plan_weights", "sum_weights", "sum_weights_all", "sum_weights_pieces"]


class Sums(NamedTuple):
    """A gradient by weights: sums over positions."""

    positions: int
    chunk: int  # of them in a piece
    rows: int  # of the weights in a piece: channels of some taps
    columns: int  # features of one group
    groups: int
    depth: int  # channels of x in one group
    joined: int  # whether the last axis's taps and the channels lie in one run of memory
    x_batch: int
    g_step: int  # from one position to the next
    size: int  # elements of the weights


@part
def sum_weights(x, g, y, p, a, b, c, begin, end):
    """Pieces of the gradient: each some rows of one group, summed over a chunk of positions; y has a slice for each chunk."""
    (_, w_shift, away), run_taps = tap_tables(a, b, c), c.taps if p.joined else 1
    width = width_of(p.columns, BYTES // x.itemsize)
    wide = width * PANELS_OF_PRODUCT
    panels, windows = np.empty(PANEL_POSITIONS * wide, x.dtype), np.empty(PANEL_POSITIONS * p.rows, x.dtype)
    alone, padded = np.zeros(1, np.int64), -(-p.rows // ROWS) * ROWS
    places, to = np.empty(padded, np.int64), np.empty(padded, np.int64)
    parts, some_taps = -(-p.depth // p.rows), max(1, p.rows // p.depth)
    blocks = -(-len(w_shift) // some_taps) * parts
    for piece in range(begin, end):
        block, group, chunk = piece % blocks, piece // blocks % p.groups, piece // (blocks * p.groups)
        t, q = block // parts * some_taps, block % parts * p.rows
        t_end, channels = min(t + some_taps, len(w_shift)), min(p.depth - q, p.rows)
        rows = (t_end - t) * channels
        for r in range(rows):
            places[r] = r
            to[r] = chunk * p.size + w_shift[t + r // channels] + ((q + r % channels) * p.groups + group) * p.columns
        fill_up(places, rows)
        fill_up(to, rows)
        for first in range(chunk * p.chunk, min(p.positions, chunk * p.chunk + p.chunk), PANEL_POSITIONS):
            count, add = min(PANEL_POSITIONS, p.positions - first), first > chunk * p.chunk
            copy_windows(
                x, first, count, group * p.depth + q, p.x_batch, a, b, c, away, t, t_end, run_taps, channels, windows, rows
            )
            for some in range(0, p.columns, wide):
                start = first * p.g_step + group * p.columns + some
                pack(g, start, p.g_step, 1, count, min(p.columns - some, wide), width, panels, 0, count * width)
                for f in range(some, min(p.columns, some + wide), width):
                    at, columns = (f - some) * count, min(width, p.columns - f)
                    multiply(windows, 0, places, rows, alone, 0, 1, count, rows, panels, at, width, columns, y, f, to, add)


@cached
@njit(parallel=True, error_model="numpy")
def sum_weights_all(x, g, y, p, a, b, c, pieces):
    """`sum_weights` on numba's threads."""
    for piece in prange(pieces):
        sum_weights(x, g, y, p, a, b, c, piece, piece + 1)


@Kernel
def sum_weights_pieces(data, begin, end):
    """`sum_weights` as the pool calls it."""
    a, b, c = numbers(data, 0, 11), numbers(data, 11, 11), numbers(data, 22, 11)
    sum_weights(
        floats(data, 0), floats(data, 1), floats(data, 2), Sums(*numbers(data, 33, 10)), Axis(*a), Axis(*b), Axis(*c), begin, end
    )


@register_jitable
def count_blocks(rows, depth, taps):
    """Blocks of so many rows: some taps, or some channels of one."""
    return -(-taps[0] * taps[1] * taps[2] // max(1, rows // depth)) * -(-depth // rows)


@register_jitable
def plan_weights(x_shape, w_shape, g_shape, strides, lows, dilation, groups, threads):
    """The sums, their axes, pieces, and how many chunks of positions there are. Chunks, on which rounding depends, are a matter of
    shapes alone; for many threads the rows are shared more finely."""
    batch, size, channels, outputs, taps, depth, width = (
        x_shape[0],
        x_shape[1:4],
        x_shape[4],
        g_shape[1:4],
        w_shape[:3],
        w_shape[3],
        w_shape[4],
    )
    xs, ws = steps(size, channels), steps(taps, depth * width)
    a = forward_axis(outputs[0], size[0], taps[0], strides[0], lows[0], dilation[0], xs[0], ws[0], 0)
    b = forward_axis(outputs[1], size[1], taps[1], strides[1], lows[1], dilation[1], xs[1], ws[1], 0)
    c = forward_axis(outputs[2], size[2], taps[2], strides[2], lows[2], dilation[2], xs[2], ws[2], 0)
    positions = batch * outputs[0] * outputs[1] * outputs[2]
    joined = groups == 1 and dilation[2] == 1 and taps[2] * depth <= WEIGHT_ROWS
    unit = taps[2] * depth if joined else depth  # rows that stay together
    rows = WEIGHT_ROWS // unit * unit if unit <= WEIGHT_ROWS else WEIGHT_ROWS
    blocks = groups * count_blocks(rows, depth, taps)
    chunks = max(1, min(-(-WEIGHT_PIECES // blocks), -(-positions // WEIGHT_POSITIONS)))
    while blocks * chunks < PACKING_PIECES_PER_THREAD * threads and rows >= 2 * FEW_ROWS_OF_PRODUCT:
        half = rows // 2
        rows = half // unit * unit if half >= unit else half // depth * depth if half >= depth else -(-half // ROWS) * ROWS
        joined = joined and rows % unit == 0
        blocks = groups * count_blocks(rows, depth, taps)
    chunk = -(-positions // (chunks * PANEL_POSITIONS)) * PANEL_POSITIONS
    chunks = -(-positions // chunk)
    size_of = taps[0] * taps[1] * taps[2] * depth * width
    p = Sums(positions, chunk, rows, width // groups, groups, depth, int(joined), size[0] * xs[0], width, size_of)
    return p, a, b, c, blocks * chunks, chunks
