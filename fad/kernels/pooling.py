"""Pooling over windows of up to three spatial axes of data (N, *spatial, C): the largest element of each window, or the sum.

A NaN is larger than any number, the first maximum counts, and padding never wins. The maximum is looked for again where its
place is wanted, which costs less than keeping it. Where windows overlap, threads share the input's rows among them: each adds
to its own.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, prange
from numba.extending import register_jitable

from fad.kernels.axes import Axis, forward_axis, outputs_inside, outputs_meeting, steps, taps_inside
from fad.kernels.pieces import Kernel, cached, floats, numbers, part
from fad.native.machine_model import PIECE_ELEMENTS, PIECES_PER_THREAD

__all__ = ["Pools", "plan_pools", "pool", "pool_all", "pool_grad", "pool_grad_pieces", "pool_pieces"]


class Pools(NamedTuple):
    """How the rows of the middle axis are shared; steps count positions."""

    channels: int
    slabs: int  # pieces of one example
    slab: int  # rows of one piece: of the output, or of the input in gradients
    x_batch: int
    y_batch: int


# One tap, for a row of outputs: arrays are (positions, channels), and the loops over channels become vectors. None of them
# stores only where a condition holds, which is slow.


@part
def add_rows(x, at, x_step, y, to, y_step, count):
    """y += x."""
    for r in range(count):
        for q in range(x.shape[1]):
            y[to + r * y_step, q] += x[at + r * x_step, q]


@part
def keep_larger(x, at, x_step, y, to, count):
    """y = max(x, y), NaN where there is one."""
    for r in range(count):
        for q in range(x.shape[1]):
            y[to + r, q] = np.maximum(x[at + r * x_step, q], y[to + r, q])


@part
def keep_first(x, at, x_step, largest, taps, tap, k, count):
    """taps = min(taps, tap) where x is the largest, or both are NaN."""
    for r in range(k, k + count):
        for q in range(x.shape[1]):
            v = x[at + (r - k) * x_step, q]  # NaN only where the largest is
            taps[r, q] = min(taps[r, q], np.int32(tap) if (v == largest[r, q]) | (v != v) else np.int32(2**31 - 1))


@part
def add_where(g, at, taps, tap, k, y, to, y_step, count):
    """y += g where the tap is this one."""
    zero = g.dtype.type(0)
    for r in range(count):
        for q in range(g.shape[1]):
            y[to + r * y_step, q] += g[at + r, q] if taps[k + r, q] == tap else zero


@part
def find_largest(x, corner, i_taps, j_taps, a, b, c, y, to):
    """The largest element of each window of a row of outputs; ``corner`` is where the first one would begin."""
    y[to : to + c.outputs] = -np.inf
    for i in range(*i_taps):
        for j in range(*j_taps):
            for tap in range(c.taps):
                k, k_end = outputs_inside(c, tap)
                at = corner + i * a.x_step + j * b.x_step + k * c.step + tap
                keep_larger(x, at, c.step, y, to + k, k_end - k)


@part
def find_taps(x, corner, i_taps, j_taps, a, b, c, largest, taps):
    """At which tap the largest element comes first; taps are counted, those of the last axis first."""
    taps[:] = 2**31 - 1
    for i in range(*i_taps):
        for j in range(*j_taps):
            for tap in range(c.taps):
                k, k_end = outputs_inside(c, tap)
                at = corner + i * a.x_step + j * b.x_step + k * c.step + tap
                keep_first(x, at, c.step, largest, taps, (i * b.taps + j) * c.taps + tap, k, k_end - k)


# Windows to outputs, and outputs to windows.


@part
def pool(what, x, t, y, p, a, b, c, begin, end):
    """y is the sum of each window (``what`` 0), its largest element (1), or the element of t where x has that (2)."""
    x, t, y = x.reshape(-1, p.channels), t.reshape(-1, p.channels), y.reshape(-1, p.channels)
    largest, taps = np.empty((c.outputs, p.channels), x.dtype), np.empty((c.outputs, p.channels), np.int32)
    for piece in range(begin, end):
        n, first = piece // p.slabs, piece % p.slabs * p.slab
        for i in range(a.outputs):
            i_x = i * a.step + a.start
            for j in range(first, min(first + p.slab, b.outputs)):
                j_x = j * b.step + b.start
                i_taps, j_taps = taps_inside(a, i_x), taps_inside(b, j_x)
                corner, to = n * p.x_batch + i_x * a.x_step + j_x * b.x_step + c.start, n * p.y_batch + i * a.y_step + j * b.y_step
                if what == 0:
                    y[to : to + c.outputs] = 0
                    for i_tap in range(*i_taps):
                        for j_tap in range(*j_taps):
                            for tap in range(c.taps):
                                k, k_end = outputs_inside(c, tap)
                                at = corner + i_tap * a.x_step + j_tap * b.x_step + k * c.step + tap
                                add_rows(x, at, c.step, y, to + k, 1, k_end - k)
                elif what == 1:
                    find_largest(x, corner, i_taps, j_taps, a, b, c, y, to)
                else:
                    find_largest(x, corner, i_taps, j_taps, a, b, c, largest, 0)
                    find_taps(x, corner, i_taps, j_taps, a, b, c, largest, taps)
                    for k in range(c.outputs):
                        for q in range(p.channels):
                            tap = taps[k, q]
                            i_tap, j_tap, k_tap = tap // (b.taps * c.taps), tap // c.taps % b.taps, tap % c.taps
                            y[to + k, q] = t[corner + i_tap * a.x_step + j_tap * b.x_step + k * c.step + k_tap, q]


@part
def pool_grad(what, x, g, x_bar, p, a, b, c, begin, end):
    """g is added to each element of its window (``what`` 0), or where x is first the largest (1), in the rows of x_bar that a
    piece has."""
    x, g, x_bar = x.reshape(-1, p.channels), g.reshape(-1, p.channels), x_bar.reshape(-1, p.channels)
    largest, taps = np.empty((c.outputs, p.channels), x.dtype), np.empty((c.outputs, p.channels), np.int32)
    for piece in range(begin, end):
        n, first = piece // p.slabs, piece % p.slabs * p.slab
        last = min(first + p.slab, b.size)
        for i in range(a.size):
            start = n * p.x_batch + i * a.x_step
            x_bar[start + first * b.x_step : start + last * b.x_step] = 0
        for i in range(a.outputs):
            i_x = i * a.step + a.start
            for j in range(*outputs_meeting(b, first, last)):
                j_x = j * b.step + b.start
                i_taps, j_taps = taps_inside(a, i_x), taps_inside(b, j_x)
                corner, row = n * p.x_batch + i_x * a.x_step + j_x * b.x_step + c.start, n * p.y_batch + i * a.y_step + j * b.y_step
                if what == 1:
                    find_largest(x, corner, i_taps, j_taps, a, b, c, largest, 0)
                    find_taps(x, corner, i_taps, j_taps, a, b, c, largest, taps)
                for i_tap in range(*i_taps):
                    for j_tap in range(max(j_taps[0], first - j_x), min(j_taps[1], last - j_x)):
                        for tap in range(c.taps):
                            k, k_end = outputs_inside(c, tap)
                            at = corner + i_tap * a.x_step + j_tap * b.x_step + k * c.step + tap
                            if what == 0:
                                add_rows(g, row + k, 1, x_bar, at, c.step, k_end - k)
                            else:
                                add_where(
                                    g, row + k, taps, (i_tap * b.taps + j_tap) * c.taps + tap, k, x_bar, at, c.step, k_end - k
                                )


@cached
@njit(parallel=True, error_model="numpy")
def pool_all(what, x, t, y, p, a, b, c, pieces):
    """`pool` on numba's threads."""
    for piece in prange(pieces):
        pool(what, x, t, y, p, a, b, c, piece, piece + 1)


@Kernel
def pool_pieces(data, begin, end):
    """`pool` as the pool of threads calls it."""
    a, b, c = numbers(data, 0, 11), numbers(data, 11, 11), numbers(data, 22, 11)
    pool(
        numbers(data, 38, 1)[0],
        floats(data, 0),
        floats(data, 1),
        floats(data, 2),
        Pools(*numbers(data, 33, 5)),
        Axis(*a),
        Axis(*b),
        Axis(*c),
        begin,
        end,
    )


@Kernel
def pool_grad_pieces(data, begin, end):
    """`pool_grad` as the pool of threads calls it."""
    a, b, c = numbers(data, 0, 11), numbers(data, 11, 11), numbers(data, 22, 11)
    pool_grad(
        numbers(data, 38, 1)[0],
        floats(data, 0),
        floats(data, 1),
        floats(data, 2),
        Pools(*numbers(data, 33, 5)),
        Axis(*a),
        Axis(*b),
        Axis(*c),
        begin,
        end,
    )


@register_jitable
def plan_pools(x_shape, y_shape, window, strides, lows, by_input, threads):
    """How the rows of the middle axis are shared, of the output or of the input, the axes, and pieces."""
    batch, size, channels, outputs = x_shape[0], x_shape[1:4], x_shape[4], y_shape[1:4]
    xs, ys = steps(size, 1), steps(outputs, 1)
    a = forward_axis(outputs[0], size[0], window[0], strides[0], lows[0], 1, xs[0], 0, ys[0])
    b = forward_axis(outputs[1], size[1], window[1], strides[1], lows[1], 1, xs[1], 0, ys[1])
    c = forward_axis(outputs[2], size[2], window[2], strides[2], lows[2], 1, xs[2], 0, ys[2])
    each, rows = size[0] * xs[0], size[1] if by_input else outputs[1]
    slabs = max(1, min(rows, -(-PIECES_PER_THREAD * threads // batch), each * channels // PIECE_ELEMENTS))
    slab = -(-rows // slabs)
    slabs = -(-rows // slab)
    return Pools(channels, slabs, slab, each, outputs[0] * ys[0]), a, b, c, batch * slabs
