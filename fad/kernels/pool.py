"""Pooling over windows of the 1, 2 or 3 spatial axes of data laid out (N, *spatial, C)."""

from __future__ import annotations

import numpy as np
from numba import prange

from fad.errors import ShapeError
from fad.kernels.conv import Padding, output_at, positions
from fad.kernels.geometry import Ints, Windows, check_cotangent, kernel_dtype, lift, lift_data
from fad.kernels.threads import frozen, inner, kernel

__all__ = ["max_pool_argmax", "sum_pool", "sum_pool_grad"]


def max_pool_argmax(x: np.ndarray, window: Ints, strides: Ints, padding: Padding) -> np.ndarray:
    """Index into x.ravel() of each window's maximum, int64 of shape (N, *output, C).

    Ties go to the first position and NaN counts as larger than any number, both as in np.argmax; padding
    never wins. Raises ShapeError where a window lies in padding alone, DtypeError unless float32 or float64.

    >>> max_pool_argmax(np.array([[[1.0], [3.0], [3.0], [2.0]]]), (2,), (2,), ((0, 0),)).ravel()
    array([1, 2])
    """
    windows = _windows(x.shape, window, strides, padding)
    if windows.sees_only_padding:
        raise ShapeError(
            "max pooling of nothing: a window lies entirely in padding",
            got=f"spatial shape {windows.spatial}, window {window}, strides {strides}, padding {padding}",
            rule="every window must meet the input",
            fix="pad by less than the window's size",
        )
    kernel_dtype(x)
    index = np.empty((x.shape[0], *windows.output, x.shape[-1]), np.int64)
    if index.size:
        strides3, low, _ = windows.lifted()
        _max_pool_argmax(frozen(lift_data(x)), lift_data(index), lift(window, 1), strides3, low)
    return index


def sum_pool(x: np.ndarray, window: Ints, strides: Ints, padding: Padding) -> np.ndarray:
    """Sum of each window, padding counting as 0, in the dtype of x and of shape (N, *output, C).

    >>> sum_pool(np.array([[[1.0], [3.0], [3.0], [2.0]]]), (2,), (2,), ((0, 0),)).ravel()
    array([4., 5.])
    """
    windows = _windows(x.shape, window, strides, padding)
    y = np.zeros((x.shape[0], *windows.output, x.shape[-1]), kernel_dtype(x))
    if y.size and x.size:
        strides3, low, _ = windows.lifted()
        _sum_pool(frozen(lift_data(x)), lift_data(y), lift(window, 1), strides3, low)
    return y


def sum_pool_grad(
    g: np.ndarray, input_shape: Ints, window: Ints, strides: Ints, padding: Padding
) -> np.ndarray:
    """The x_bar of shape `input_shape` with <g, sum_pool(x)> = <x_bar, x> for every x.

    >>> sum_pool_grad(np.array([[[4.0], [5.0]]]), (1, 4, 1), (2,), (2,), ((0, 0),)).ravel()
    array([4., 4., 5., 5.])
    """
    windows = _windows(input_shape, window, strides, padding)
    check_cotangent(g, (input_shape[0], *windows.output, input_shape[-1]))
    x_bar = np.zeros(input_shape, kernel_dtype(g))
    if x_bar.size and g.size:
        strides3, low, _ = windows.lifted()
        _sum_pool_grad(frozen(lift_data(g)), lift_data(x_bar), lift(window, 1), strides3, low)
    return x_bar


def _windows(shape: Ints, window: Ints, strides: Ints, padding: Padding) -> Windows:
    return Windows(tuple(shape[1:-1]), tuple(window), strides, padding, (1,) * len(window))


@kernel
def _max_pool_argmax(x, index, window, strides, low):
    rows = index.shape[0] * index.shape[1] * index.shape[2]
    for row in prange(rows):
        _argmax_row(x, index, row, window, strides, low)


@inner
def _argmax_row(x, index, row, window, strides, low):
    """The argmax of one innermost row of windows, index[n, a, h, :, :]."""
    h = row % index.shape[2]
    a = row // index.shape[2] % index.shape[1]
    n = row // (index.shape[1] * index.shape[2])
    channels = x.shape[4]
    best = np.empty(channels, x.dtype)
    first_a, last_a = clipped(a * strides[0] - low[0], window[0], x.shape[1])
    first_h, last_h = clipped(h * strides[1] - low[1], window[1], x.shape[2])
    for o in range(index.shape[3]):
        first_w, last_w = clipped(o * strides[2] - low[2], window[2], x.shape[3])
        where = index[n, a, h, o]
        start = (((n * x.shape[1] + first_a) * x.shape[2] + first_h) * x.shape[3] + first_w) * channels
        for c in range(channels):
            best[c] = x[n, first_a, first_h, first_w, c]
            where[c] = start + c
        for ia in range(first_a, last_a):
            for ih in range(first_h, last_h):
                for iw in range(first_w, last_w):
                    start = (((n * x.shape[1] + ia) * x.shape[2] + ih) * x.shape[3] + iw) * channels
                    pixel = x[n, ia, ih, iw]
                    for c in range(channels):
                        # not (value <= best) holds for larger values and NaN; only NaN differs from itself
                        wins = (not pixel[c] <= best[c]) and best[c] == best[c]
                        best[c] = pixel[c] if wins else best[c]
                        where[c] = start + c if wins else where[c]


@inner
def clipped(start, taps, size):
    """The part of [start, start + taps) inside [0, size), as a half-open range."""
    return max(0, start), min(size, start + taps)


@kernel
def _sum_pool(x, y, window, strides, low):
    rows = y.shape[0] * y.shape[1] * y.shape[2]
    for row in prange(rows):
        _sum_row(x, y, row, window, strides, low)


@inner
def _sum_row(x, y, row, window, strides, low):
    """The sums of one innermost row of windows, y[n, a, h, :, :]."""
    h = row % y.shape[2]
    a = row // y.shape[2] % y.shape[1]
    n = row // (y.shape[1] * y.shape[2])
    first_a, last_a = clipped(a * strides[0] - low[0], window[0], x.shape[1])
    first_h, last_h = clipped(h * strides[1] - low[1], window[1], x.shape[2])
    for ia in range(first_a, last_a):
        for ih in range(first_h, last_h):
            for o in range(y.shape[3]):
                first_w, last_w = clipped(o * strides[2] - low[2], window[2], x.shape[3])
                for iw in range(first_w, last_w):
                    for c in range(x.shape[4]):
                        y[n, a, h, o, c] += x[n, ia, ih, iw, c]


@kernel
def _sum_pool_grad(g, x_bar, window, strides, low):
    rows = x_bar.shape[0] * x_bar.shape[1] * x_bar.shape[2]
    for row in prange(rows):
        _spread_row(g, x_bar, row, window, strides, low)


@inner
def _spread_row(g, x_bar, row, window, strides, low):
    """Gather the cotangents of all windows that hold x_bar[n, a, h, :, :]."""
    h = row % x_bar.shape[2]
    a = row // x_bar.shape[2] % x_bar.shape[1]
    n = row // (x_bar.shape[1] * x_bar.shape[2])
    for ka in range(window[0]):
        oa = output_at(a, ka, strides[0], low[0], 1, g.shape[1])
        if oa < 0:
            continue
        for kh in range(window[1]):
            oh = output_at(h, kh, strides[1], low[1], 1, g.shape[2])
            if oh < 0:
                continue
            for kw in range(window[2]):
                first, last = positions(kw - low[2], strides[2], x_bar.shape[3], g.shape[3])
                for o in range(first, last):
                    for c in range(x_bar.shape[4]):
                        x_bar[n, a, h, o * strides[2] + kw - low[2], c] += g[n, oa, oh, o, c]
