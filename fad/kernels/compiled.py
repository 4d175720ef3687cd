"""The functions of `fad.kernels` in code that numba compiles: the same names, arguments and results, on numba's threads.

    from numba import njit
    from fad.kernels import conv, dense, max_pool

    @njit
    def features(x, w, v, b):                                  # x (N, H, W, C), w (3, 3, C, O), v (O, M), b (M,)
        y = conv(x, w, (1, 1), ((1, 1), (1, 1)), (1, 1))       # (N, H, W, O)
        return dense(max_pool(y, (2, 2), (2, 2), ((0, 0), (0, 0)))[:, 0, 0], v, b)

Arrays are float32 or float64, all of one dtype; those that are not contiguous are copied. ValueError says that shapes do not fit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import config, njit, types
from numba.core.errors import TypingError
from numba.extending import overload, register_jitable

from fad.kernels import arrays, nets
from fad.kernels.convolution import convolve_all, plan_forward, plan_gradient
from fad.kernels.pieces import cached
from fad.kernels.pooling import plan_pools, pool_all
from fad.kernels.products import multiply_all, plan_matrices
from fad.kernels.weights import plan_weights, sum_weights_all

__all__: list[str] = []

THREADS = config.NUMBA_NUM_THREADS  # at most: a constant, as a function that asks for their number is not kept on disk
FLOATS = (types.float32, types.float64)
# Three spatial axes, of which the first ones have length one: shapes without the first and the last axis, and shapes as they were.
THREE = {1: lambda t: (1, 1, t[0]), 2: lambda t: (1, t[0], t[1]), 3: lambda t: (t[0], t[1], t[2])}
LOWS = {1: lambda p: (0, 0, p[0][0]), 2: lambda p: (0, p[0][0], p[1][0]), 3: lambda p: (p[0][0], p[1][0], p[2][0])}
HIGHS = {1: lambda p: (0, 0, p[0][1]), 2: lambda p: (0, p[0][1], p[1][1]), 3: lambda p: (p[0][1], p[1][1], p[2][1])}
SHAPE = {1: lambda n, s, c: (n, s[2], c), 2: lambda n, s, c: (n, s[1], s[2], c), 3: lambda n, s, c: (n, s[0], s[1], s[2], c)}


def by_rank(*arrays: Any) -> tuple[Callable, ...]:
    """The functions above for arrays of this rank; raises where there is none, or dtypes differ."""
    rank = arrays[0].ndim - 2
    if rank not in THREE or any(a.dtype not in FLOATS or a.dtype != arrays[0].dtype for a in arrays):
        raise TypingError("fad.kernels: data has 1 to 3 spatial axes, and all arrays are float32, or all float64")
    return tuple(register_jitable(table[rank]) for table in (THREE, LOWS, HIGHS, SHAPE))


@cached
@njit
def outputs_of(size, taps, strides, lows, highs, dilation):
    """How many windows there are along each axis."""
    found = np.empty(3, np.int64)
    for k in range(3):
        if strides[k] < 1 or taps[k] < 1 or dilation[k] < 1 or lows[k] < 0 or highs[k] < 0:
            raise ValueError("fad.kernels: windows, strides and dilation are at least 1, and padding is not negative")
        found[k] = max(0, (size[k] + lows[k] + highs[k] - dilation[k] * (taps[k] - 1) - 1) // strides[k] + 1)
    return found[0], found[1], found[2]


@cached
@njit
def check_channels(channels, depth, features, groups):
    """Whether groups divide the channels of x as they do those of w."""
    if groups < 1 or channels != depth * groups or features % groups:
        raise ValueError("fad.kernels: w is (*window, C // groups, O), and groups divides both C and O")


# The work, on arrays with three spatial axes: compiled once for each dtype, and kept on disk.


@cached
@njit
def conv_3d(x, w, y, strides, lows, dilation, groups):
    p, a, b, c, pieces = plan_forward(x.shape, w.shape, y.shape, strides, lows, dilation, groups, x.itemsize, THREADS)
    convolve_all(x.ravel(), w.ravel(), y.ravel(), p, a, b, c, pieces)


@cached
@njit
def conv_input_grad_3d(g, w, x, strides, lows, dilation, groups):
    for i in range(min(strides[0], x.shape[1])):
        for j in range(min(strides[1], x.shape[2])):
            for k in range(min(strides[2], x.shape[3])):
                p, a, b, c, pieces = plan_gradient(
                    (i, j, k), g.shape, w.shape, x.shape, strides, lows, dilation, groups, g.itemsize, THREADS
                )
                convolve_all(g.ravel(), w.ravel(), x.ravel(), p, a, b, c, pieces)


@cached
@njit
def conv_weight_grad_3d(x, g, w, strides, lows, dilation, groups):
    p, a, b, c, pieces, chunks = plan_weights(x.shape, w.shape, g.shape, strides, lows, dilation, groups, THREADS)
    sums = np.empty((chunks, w.size), x.dtype)
    sum_weights_all(x.ravel(), g.ravel(), sums.ravel(), p, a, b, c, pieces)
    total = w.ravel()
    for chunk in range(chunks):
        total += sums[chunk]


@cached
@njit
def pool_3d(what, x, y, window, strides, lows):
    p, a, b, c, pieces = plan_pools(x.shape, y.shape, window, strides, lows, False, THREADS)
    pool_all(what, x.ravel(), x.ravel(), y.ravel(), p, a, b, c, pieces)


@cached
@njit
def dense_2d(x, w, y):
    (rows, depth), columns, start = x.shape, w.shape[1], np.zeros(1, np.int64)
    p, pieces = plan_matrices(1, rows, columns, depth, depth, 1, columns, 1, 0, x.itemsize, THREADS)
    multiply_all(x.ravel(), w.ravel(), y.ravel(), y.ravel(), start, start, p, pieces)


# What callers compile: shapes are checked, and spatial axes of length one put in front.


@overload(nets.conv)
def compile_conv(x, w, strides, padding, dilation, groups=1):
    three, lows, highs, shape_of = by_rank(x, w)

    def conv(x, w, strides, padding, dilation, groups=1):
        size, taps = three(x.shape[1:-1]), three(w.shape[:-2])
        check_channels(x.shape[-1], w.shape[-2], w.shape[-1], groups)
        moves, low, spread = three(strides), lows(padding), three(dilation)
        outputs = outputs_of(size, taps, moves, low, highs(padding), spread)
        y = np.zeros((x.shape[0], *outputs, w.shape[-1]), x.dtype)
        if y.size and x.size and w.size:
            full_x = np.ascontiguousarray(x).reshape((x.shape[0], *size, x.shape[-1]))
            full_w = np.ascontiguousarray(w).reshape((*taps, w.shape[-2], w.shape[-1]))
            conv_3d(full_x, full_w, y, moves, low, spread, groups)
        return y.reshape(shape_of(x.shape[0], outputs, w.shape[-1]))

    return conv


@overload(nets.conv_input_grad)
def compile_input_grad(g, w, input_shape, strides, padding, dilation, groups=1):
    three, lows, highs, shape_of = by_rank(g, w)

    def conv_input_grad(g, w, input_shape, strides, padding, dilation, groups=1):
        size, taps, outputs = three(input_shape[1:-1]), three(w.shape[:-2]), three(g.shape[1:-1])
        check_channels(input_shape[-1], w.shape[-2], w.shape[-1], groups)
        moves, low, spread, n = three(strides), lows(padding), three(dilation), input_shape[0]
        if g.shape[0] != n or g.shape[-1] != w.shape[-1] or outputs_of(size, taps, moves, low, highs(padding), spread) != outputs:
            raise ValueError("fad.kernels: g is (N, *output, O)")
        x_bar = np.zeros((n, *size, input_shape[-1]), g.dtype)
        if x_bar.size and g.size and w.size:
            full_g = np.ascontiguousarray(g).reshape((n, *outputs, w.shape[-1]))
            full_w = np.ascontiguousarray(w).reshape((*taps, w.shape[-2], w.shape[-1]))
            conv_input_grad_3d(full_g, full_w, x_bar, moves, low, spread, groups)
        return x_bar.reshape(shape_of(n, size, input_shape[-1]))

    return conv_input_grad


@overload(nets.conv_weight_grad)
def compile_weight_grad(x, g, window, strides, padding, dilation, groups=1):
    three, lows, highs, _ = by_rank(x, g)

    def conv_weight_grad(x, g, window, strides, padding, dilation, groups=1):
        size, taps, outputs = three(x.shape[1:-1]), three(window), three(g.shape[1:-1])
        moves, low, spread = three(strides), lows(padding), three(dilation)
        if outputs_of(size, taps, moves, low, highs(padding), spread) != outputs or x.shape[0] != g.shape[0]:
            raise ValueError("fad.kernels: g is (N, *output, O)")
        channels, features = x.shape[-1], g.shape[-1]
        check_channels(channels, channels // max(groups, 1), features, groups)
        w_bar = np.zeros((*taps, channels // groups, features), x.dtype)
        if x.size and g.size and w_bar.size:
            full_x = np.ascontiguousarray(x).reshape((x.shape[0], *size, channels))
            full_g = np.ascontiguousarray(g).reshape((x.shape[0], *outputs, features))
            conv_weight_grad_3d(full_x, full_g, w_bar, moves, low, spread, groups)
        return w_bar.reshape((*window, channels // groups, features))

    return conv_weight_grad


def compile_pool(what: int) -> Callable:
    """The overload of a pool: of sums (0) or of largest elements (1)."""

    def overloaded(x, window, strides, padding):
        three, lows, highs, shape_of = by_rank(x)

        def pool(x, window, strides, padding):
            size, taps, moves, low = three(x.shape[1:-1]), three(window), three(strides), lows(padding)
            high = highs(padding)
            outputs = outputs_of(size, taps, moves, low, high, (1, 1, 1))
            for k in range(3):
                if what == 1 and (low[k] >= taps[k] or high[k] >= taps[k]):
                    raise ValueError("fad.kernels: every window of max_pool must meet the input: pad by less than its size")
            y = np.zeros((x.shape[0], *outputs, x.shape[-1]), x.dtype)
            if y.size and x.size:
                pool_3d(what, np.ascontiguousarray(x).reshape((x.shape[0], *size, x.shape[-1])), y, taps, moves, low)
            return y.reshape(shape_of(x.shape[0], outputs, x.shape[-1]))

        return pool

    return overloaded


overload(nets.sum_pool)(compile_pool(0))
overload(nets.max_pool)(compile_pool(1))


@overload(arrays.dense)
def compile_dense(x, w, b=None):
    if x.ndim != 2 or w.ndim != 2 or x.dtype not in FLOATS or w.dtype != x.dtype:
        raise TypingError("fad.kernels.dense: x is (n, k) and w (k, m), both float32 or both float64")

    def dense(x, w, b=None):
        if x.shape[1] != w.shape[0] or (b is not None and b.shape[0] != w.shape[1]):
            raise ValueError("fad.kernels.dense: x must be (n, k), w (k, m) and b (m,)")
        y = np.zeros((x.shape[0], w.shape[1]), x.dtype)
        if x.size and w.size:
            dense_2d(np.ascontiguousarray(x), np.ascontiguousarray(w), y)
        return y if b is None else y + b

    return dense
