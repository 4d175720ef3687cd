"""Depthwise convolution: each channel has a window of its own, or several. Data (N, *spatial, C), weights (*window, 1, C m).

    y[n, o, c m + j] = sum over taps t of  x[n, o stride + t dilation - pad, c] w[t, c m + j]

A row of outputs is computed tap by tap: arrays are (positions, channels), and the loops over channels become vectors. In the
gradient by the input, threads share the input's rows among them, and each adds to its own; that by the weights is summed in
chunks of examples and rows.
"""

from __future__ import annotations

from typing import NamedTuple

from numba.extending import register_jitable

from fad.kernels.axes import Axis, forward_axis, outputs_inside, outputs_meeting, steps, taps_inside
from fad.kernels.pieces import Kernel, floats, numbers, part
from fad.native.machine_model import PIECE_ELEMENTS, PIECES_PER_THREAD, WEIGHT_PIECES

__all__ = ["Depthwise", "depthwise", "depthwise_pieces", "plan_depthwise"]


class Depthwise(NamedTuple):
    """How the rows of the middle axis are shared; steps count positions."""

    channels: int
    each: int  # features of a channel
    slabs: int  # pieces of one example
    slab: int  # rows of one piece: of the output, or of the input in the gradient by it
    x_batch: int
    y_batch: int


@part
def add_products(x, at, step, w, tap, y, to, count, each):
    """y += x w for one tap and a row of outputs."""
    for r in range(count):
        if each == 1:
            for q in range(x.shape[1]):
                y[to + r, q] += x[at + r * step, q] * w[tap, q]
        else:
            for q in range(x.shape[1]):
                for j in range(each):
                    y[to + r, q * each + j] += x[at + r * step, q] * w[tap, q * each + j]


@part
def add_transposed(g, at, w, tap, x_bar, to, step, count, each):
    """x_bar += g w for one tap and a row of outputs."""
    for r in range(count):
        if each == 1:
            for q in range(x_bar.shape[1]):
                x_bar[to + r * step, q] += g[at + r, q] * w[tap, q]
        else:
            for q in range(x_bar.shape[1]):
                for j in range(each):
                    x_bar[to + r * step, q] += g[at + r, q * each + j] * w[tap, q * each + j]


@part
def add_weights(x, at, step, g, at_g, w_bar, tap, count, each):
    """w_bar += x g for one tap and a row of outputs."""
    for r in range(count):
        if each == 1:
            for q in range(x.shape[1]):
                w_bar[tap, q] += x[at + r * step, q] * g[at_g + r, q]
        else:
            for q in range(x.shape[1]):
                for j in range(each):
                    w_bar[tap, q * each + j] += x[at + r * step, q] * g[at_g + r, q * each + j]


@part
def depthwise(what, x, w, y, p, a, b, c, begin, end):
    """``what`` 0: y from x and w. 1: x, the gradient by the input, from w and y, that by the output. 2: w, that by the weights,
    a slice for each piece, from x and y."""
    taps, x, y = a.taps * b.taps * c.taps, x.reshape(-1, p.channels), y.reshape(-1, p.channels * p.each)
    w = w.reshape(-1, p.channels * p.each)
    for piece in range(begin, end):
        n, first = piece // p.slabs, piece % p.slabs * p.slab
        low, high = 0, b.size  # rows of x that the piece may touch
        j_from, j_to = first, min(first + p.slab, b.outputs)
        if what == 1:
            low, high = first, min(first + p.slab, b.size)
            j_from, j_to = outputs_meeting(b, low, high)
            for i in range(a.size):
                start = n * p.x_batch + i * a.x_step
                x[start + low * b.x_step : start + high * b.x_step] = 0
        elif what == 2:
            w[piece * taps : (piece + 1) * taps] = 0
        for i in range(a.outputs):
            for j in range(j_from, j_to):
                i_x, j_x, to = i * a.step + a.start, j * b.step + b.start, n * p.y_batch + i * a.y_step + j * b.y_step
                corner = n * p.x_batch + i_x * a.x_step + j_x * b.x_step + c.start
                if what == 0:
                    y[to : to + c.outputs] = 0
                for i_tap in range(*taps_inside(a, i_x)):
                    for j_tap in range(*taps_inside(b, j_x)):
                        if not low <= j_x + j_tap * b.spread < high:
                            continue
                        for k_tap in range(c.taps):
                            tap, (k, k_end) = (i_tap * b.taps + j_tap) * c.taps + k_tap, outputs_inside(c, k_tap)
                            at = corner + i_tap * a.spread * a.x_step + j_tap * b.spread * b.x_step + k * c.step + k_tap * c.spread
                            if what == 0:
                                add_products(x, at, c.step, w, tap, y, to + k, k_end - k, p.each)
                            elif what == 1:
                                add_transposed(y, to + k, w, tap, x, at, c.step, k_end - k, p.each)
                            else:
                                add_weights(x, at, c.step, y, to + k, w, piece * taps + tap, k_end - k, p.each)


@Kernel
def depthwise_pieces(data, begin, end):
    """`depthwise` as the pool calls it."""
    a, b, c = numbers(data, 0, 11), numbers(data, 11, 11), numbers(data, 22, 11)
    depthwise(
        numbers(data, 39, 1)[0],
        floats(data, 0),
        floats(data, 1),
        floats(data, 2),
        Depthwise(*numbers(data, 33, 6)),
        Axis(*a),
        Axis(*b),
        Axis(*c),
        begin,
        end,
    )


@register_jitable
def plan_depthwise(what, x_shape, w_shape, y_shape, strides, lows, dilation, threads):
    """How rows are shared, the axes, and pieces. Of a gradient by weights these depend on shapes alone, and so do the results."""
    batch, size, channels, outputs, taps = x_shape[0], x_shape[1:4], x_shape[4], y_shape[1:4], w_shape[:3]
    xs, ys = steps(size, 1), steps(outputs, 1)
    a = forward_axis(outputs[0], size[0], taps[0], strides[0], lows[0], dilation[0], xs[0], 0, ys[0])
    b = forward_axis(outputs[1], size[1], taps[1], strides[1], lows[1], dilation[1], xs[1], 0, ys[1])
    c = forward_axis(outputs[2], size[2], taps[2], strides[2], lows[2], dilation[2], xs[2], 0, ys[2])
    each, rows = size[0] * xs[0], size[1] if what == 1 else outputs[1]
    wanted = WEIGHT_PIECES if what == 2 else PIECES_PER_THREAD * threads
    slabs = max(1, min(rows, -(-wanted // batch), each * channels // PIECE_ELEMENTS))
    slab = -(-rows // slabs)
    slabs = -(-rows // slab)
    return Depthwise(channels, w_shape[4] // channels, slabs, slab, each, outputs[0] * ys[0]), a, b, c, batch * slabs
