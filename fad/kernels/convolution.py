"""Convolution and its adjoints, for any shape: data (N, *spatial, C), weights (*window, C // groups, O), 1 to 3 spatial axes.

    y[n, o, f] = sum over taps t and channels c of  x[n, o stride + t dilation - pad, c] w[t, c, f]

One kernel serves the forward product and the gradient by the input, which is a convolution of g with the window turned round. The rows
of the product are positions of y. Those whose window lies inside x read x where it lies; the others read a copy of their window, in
which zeros stand for what is outside. The gradient by the weights is a sum over positions, whose windows are copied a block at a time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from fad.kernels.pieces import entry, floats, numbers
from fad.kernels.tile import BYTES, ROWS, clear, fill_up, move, multiply, pack, width_of

DEPTH = 256  # steps of the depth in one block: a panel of so many rows stays in the first cache
PANELS = 4  # that are packed together: longer pieces of memory are read, and all stay in the second cache
POSITIONS = 128  # of a gradient by weights in one block


class Axis(NamedTuple):
    """A spatial axis: output i and tap t meet at input i step + start + t spread, if that lies in [0, size)."""

    outputs: int
    size: int
    step: int
    start: int
    spread: int
    taps: int
    x_step: int  # elements from one input to the next
    w_start: int  # and of the weights to the first tap, and from one tap to the next
    w_step: int
    y_start: int
    y_step: int


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


@njit(cache=True, error_model="numpy")
def tap_tables(a, b, c):
    """For each tap, how far on its input and its weights lie, in elements, and its distance along each axis."""
    taps = a.taps * b.taps * c.taps
    x_shift, w_shift, away = np.empty(taps, np.int64), np.empty(taps, np.int64), np.empty((taps, 3), np.int64)
    for t in range(taps):
        i, j, k = t // (b.taps * c.taps), t // c.taps % b.taps, t % c.taps
        away[t, 0], away[t, 1], away[t, 2] = i * a.spread, j * b.spread, k * c.spread
        x_shift[t] = away[t, 0] * a.x_step + away[t, 1] * b.x_step + away[t, 2] * c.x_step
        w_shift[t] = a.w_start + b.w_start + c.w_start + i * a.w_step + j * b.w_step + k * c.w_step
    return x_shift, w_shift, away


@njit(cache=True, error_model="numpy")
def position(row, a, b, c):
    """A row as the indices of its example and its place."""
    plane = b.outputs * c.outputs
    return row // (a.outputs * plane), row // plane % a.outputs, row // c.outputs % b.outputs, row % c.outputs


@njit(cache=True, error_model="numpy")
def following(n, i, j, k, a, b, c):
    """The position after this one."""
    k += 1
    if k == c.outputs:
        j, k = j + 1, 0
        if j == b.outputs:
            i, j = i + 1, 0
            if i == a.outputs:
                n, i = n + 1, 0
    return n, i, j, k


@njit(cache=True, error_model="numpy")
def holds(axis, first):
    """Whether a window that begins there lies inside the axis."""
    return first >= 0 and first + (axis.taps - 1) * axis.spread < axis.size


@njit(cache=True, error_model="numpy")
def copy_window(x, base, i, j, k, a, b, c, away, t, t_end, run_taps, channels, windows, at):
    """The channels at some taps of the window that begins at i, j, k, run by run, and zeros where it is outside of x."""
    for tap in range(t, t_end, run_taps):
        i_x, j_x, k_x = i + away[tap, 0], j + away[tap, 1], k + away[tap, 2]
        low, high = max(0, -k_x), min(run_taps, c.size - k_x)  # taps of the run that are inside; a run of several is one of neighbours
        if low < high and 0 <= i_x < a.size and 0 <= j_x < b.size:
            if high - low < run_taps:
                clear(windows, at, run_taps * channels)
            move(x, base + i_x * a.x_step + j_x * b.x_step + (k_x + low) * c.x_step, windows, at + low * channels, (high - low) * channels)
        else:
            clear(windows, at, run_taps * channels)
        at += run_taps * channels


@njit(cache=True, error_model="numpy")
def convolve(x, w, y, p, a, b, c, begin, end):
    """Pieces of y: each some rows and some columns of one group."""
    taps, run_taps = a.taps * b.taps * c.taps, c.taps if p.joined else 1
    x_shift, w_shift, away = tap_tables(a, b, c)
    run_shift, alone = x_shift[::run_taps].copy(), np.zeros(1, np.int64)
    block_taps = min(max(1, DEPTH // (run_taps * p.depth)) * run_taps, taps)
    deepest = block_taps * min(p.depth, DEPTH)
    width = width_of(p.share, BYTES // x.itemsize)
    panels = np.empty(deepest * width * PANELS, x.dtype)
    room = -(-p.chunk // ROWS) * ROWS
    inside, inside_y, outside, outside_y = (np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int64),
                                            np.empty(room, np.int64))
    corner, patch_rows = np.empty((room, 3), np.int64), np.empty(room, np.int64)
    shares = -(-p.columns // p.share)
    for piece in range(begin, end):
        group, share, first = piece % p.groups, piece // p.groups % shares, piece // (shares * p.groups) * p.chunk
        n, i, j, k = position(first, a, b, c)
        n_in = n_out = 0
        for _ in range(first, min(first + p.chunk, p.rows)):
            i_x, j_x, k_x = i * a.step + a.start, j * b.step + b.start, k * c.step + c.start
            base = group * p.depth + n * p.x_batch
            place = group * p.columns + n * p.y_batch + i * a.y_step + j * b.y_step + k * c.y_step + a.y_start + b.y_start + c.y_start
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
        patches = np.empty(n_out * deepest, x.dtype)
        for t in range(0, taps, block_taps):
            t_end = min(t + block_taps, taps)
            for q in range(0, p.depth, DEPTH):
                channels = min(p.depth - q, DEPTH)
                depth = (t_end - t) * channels
                for r in range(n_out):
                    patch_rows[r] = r * depth
                    copy_window(x, outside[r] + q, corner[r, 0], corner[r, 1], corner[r, 2], a, b, c, away, t, t_end, run_taps, channels, patches,
                                r * depth)
                fill_up(patch_rows, n_out)
                add, last = t > 0 or q > 0, min(share * p.share + p.share, p.columns)
                for some in range(share * p.share, last, width * PANELS):
                    for tap in range(t, t_end):
                        start = w_shift[tap] + group * p.w_group + q * p.w_row + some * p.w_column
                        pack(w, start, p.w_row, p.w_column, channels, min(last - some, width * PANELS), width, panels,
                             (tap - t) * channels * width, depth * width)
                    for column in range(some, min(last, some + width * PANELS), width):
                        columns, panel = min(width, last - column), (column - some) * depth
                        multiply(x, q, inside, n_in, run_shift, t // run_taps, (t_end - t) // run_taps, channels * run_taps, 1,
                                 panels, panel, width, columns, y, column, inside_y, add)
                        multiply(patches, 0, patch_rows, n_out, alone, 0, 1, depth, 1, panels, panel, width, columns, y, column, outside_y, add)


@entry
def convolve_pieces(data, begin, end):
    """`convolve` as the pool calls it."""
    a, b, c = numbers(data, 6, 11), numbers(data, 17, 11), numbers(data, 28, 11)
    convolve(floats(data, 0), floats(data, 2), floats(data, 4), Product(*numbers(data, 39, 12)), Axis(*a), Axis(*b), Axis(*c), begin, end)


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


@njit(cache=True, error_model="numpy")
def sum_weights(x, g, y, p, a, b, c, begin, end):
    """Pieces of the gradient: each some rows of one group, summed over a chunk of positions; y has a slice for each chunk."""
    (_, w_shift, away), run_taps = tap_tables(a, b, c), c.taps if p.joined else 1
    width = width_of(p.columns, BYTES // x.itemsize)
    panels, windows = np.empty(POSITIONS * width * PANELS, x.dtype), np.empty(POSITIONS * p.rows, x.dtype)
    alone, room = np.zeros(1, np.int64), -(-p.rows // ROWS) * ROWS
    places, to = np.empty(room, np.int64), np.empty(room, np.int64)
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
        for first in range(chunk * p.chunk, min(p.positions, chunk * p.chunk + p.chunk), POSITIONS):
            count, add = min(POSITIONS, p.positions - first), first > chunk * p.chunk
            n, i, j, k = position(first, a, b, c)
            for s in range(count):
                copy_window(x, n * p.x_batch + group * p.depth + q, i * a.step + a.start, j * b.step + b.start, k * c.step + c.start,
                            a, b, c, away, t, t_end, run_taps, channels, windows, s * rows)
                n, i, j, k = following(n, i, j, k, a, b, c)
            for some in range(0, p.columns, width * PANELS):
                start = first * p.g_step + group * p.columns + some
                pack(g, start, p.g_step, 1, count, min(p.columns - some, width * PANELS), width, panels, 0, count * width)
                for column in range(some, min(p.columns, some + width * PANELS), width):
                    multiply(windows, 0, places, rows, alone, 0, 1, count, rows, panels, (column - some) * count, width,
                             min(width, p.columns - column), y, column, to, add)


@entry
def sum_weights_pieces(data, begin, end):
    """`sum_weights` as the pool calls it."""
    a, b, c = numbers(data, 6, 11), numbers(data, 17, 11), numbers(data, 28, 11)
    sum_weights(floats(data, 0), floats(data, 2), floats(data, 4), Sums(*numbers(data, 39, 10)), Axis(*a), Axis(*b), Axis(*c), begin, end)
