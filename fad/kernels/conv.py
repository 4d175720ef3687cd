"""Direct convolution in 1, 2 and 3 spatial dimensions, and its two adjoints.

    y[n, o, f] = sum over taps k and channels c of  x[n, o * stride + k * dilation - pad_low, c] * w[k, c, f]

as in the deep-learning literature (a cross-correlation), x being 0 outside its bounds. Data is
(N, *spatial, C), weights are (*window, C // groups, O). With groups, the g-th block of O // groups output
channels sees only the g-th block of C // groups input channels. Nothing is padded or unrolled in memory: for
each tap the positions that meet the input are a range, known in closed form. Every output element is summed
by one thread in a fixed order, so results do not depend on the number of threads.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from fad.errors import ShapeError
from fad.kernels.geometry import Ints, Windows, check_cotangent, kernel_dtype, lift_data, lift_weights
from fad.kernels.threads import frozen, inner, kernel
from fad.kernels.tile import accumulate

__all__ = ["conv", "conv_input_grad", "conv_weight_grad"]

Padding = tuple[tuple[int, int], ...]
CHANNEL_BLOCK = 16  # input channels per task of the weight gradient


def conv(
    x: np.ndarray, w: np.ndarray, strides: Ints, padding: Padding, dilation: Ints, groups: int = 1
) -> np.ndarray:
    """Convolve x (N, *spatial, C) with w (*window, C // groups, O), giving (N, *output, O).

    The output's spatial size is (size + low + high - dilation * (taps - 1) - 1) // stride + 1, or 0 where
    that is negative. Raises ShapeError for shapes that do not fit, DtypeError unless float32 or float64.

    >>> conv(np.ones((1, 4, 1)), np.ones((3, 1, 1)), (1,), ((1, 1),), (1,)).ravel()
    array([2., 3., 3., 2.])
    """
    windows = Windows(x.shape[1:-1], w.shape[:-2], strides, padding, dilation)
    _check_channels(x.shape[-1], w.shape, groups)
    dtype = kernel_dtype(x, w)
    y = np.zeros((x.shape[0], *windows.output, w.shape[-1]), dtype)
    if y.size and x.size:
        _conv(
            frozen(lift_data(x).astype(dtype, copy=False)),
            frozen(lift_weights(w).astype(dtype, copy=False)),
            lift_data(y),
            *windows.lifted(),
            groups,
        )
    return y


def conv_input_grad(
    g: np.ndarray,
    w: np.ndarray,
    input_shape: Ints,
    strides: Ints,
    padding: Padding,
    dilation: Ints,
    groups: int = 1,
) -> np.ndarray:
    """The x_bar of shape `input_shape` with <g, conv(x, w)> = <x_bar, x> for every x.

    >>> conv_input_grad(np.ones((1, 4, 1)), np.ones((3, 1, 1)), (1, 4, 1), (1,), ((1, 1),), (1,)).ravel()
    array([2., 3., 3., 2.])
    """
    windows = Windows(tuple(input_shape[1:-1]), w.shape[:-2], strides, padding, dilation)
    _check_channels(input_shape[-1], w.shape, groups)
    check_cotangent(g, (input_shape[0], *windows.output, w.shape[-1]))
    dtype = kernel_dtype(g, w)
    x_bar = np.zeros(input_shape, dtype)
    if x_bar.size and g.size:
        transposed = lift_weights(w).astype(dtype, copy=False).swapaxes(-1, -2)  # (*window, O, C // groups)
        _conv_input_grad(
            frozen(lift_data(g).astype(dtype, copy=False)),
            frozen(transposed),
            lift_data(x_bar),
            *windows.lifted(),
            groups,
        )
    return x_bar


def conv_weight_grad(
    x: np.ndarray,
    g: np.ndarray,
    window: Ints,
    strides: Ints,
    padding: Padding,
    dilation: Ints,
    groups: int = 1,
) -> np.ndarray:
    """The w_bar of shape (*window, C // groups, O) with <g, conv(x, w)> = <w_bar, w> for every w.

    >>> conv_weight_grad(np.ones((1, 4, 1)), np.ones((1, 4, 1)), (3,), (1,), ((1, 1),), (1,)).ravel()
    array([3., 4., 3.])
    """
    windows = Windows(x.shape[1:-1], tuple(window), strides, padding, dilation)
    if groups < 1 or x.shape[-1] % groups:
        raise ShapeError(
            "groups must divide the input channels", got=f"groups={groups}, {x.shape[-1]} channels"
        )
    weights_shape = (*window, x.shape[-1] // groups, g.shape[-1])
    _check_channels(x.shape[-1], weights_shape, groups)
    check_cotangent(g, (x.shape[0], *windows.output, g.shape[-1]))
    dtype = kernel_dtype(x, g)
    w_bar = np.zeros(weights_shape, dtype)
    if w_bar.size and x.size and g.size:
        _conv_weight_grad(
            frozen(lift_data(x).astype(dtype, copy=False)),
            frozen(lift_data(g).astype(dtype, copy=False)),
            lift_weights(w_bar),
            *windows.lifted(),
            groups,
        )
    return w_bar


def _check_channels(channels: int, weights_shape: Ints, groups: int) -> None:
    depth, features = weights_shape[-2:]
    if groups < 1 or channels != depth * groups or features % groups:
        raise ShapeError(
            "the channels of x and w do not fit",
            got=f"{channels} channels in x, w of shape {tuple(weights_shape)}, groups={groups}",
            rule="w is (*window, C // groups, O), and groups divides both C and O",
        )


@inner
def positions(tap_offset, stride, size, count):
    """The half-open range of outputs o < count with 0 <= o * stride + tap_offset < size."""
    first = max(0, -(tap_offset // stride))
    last = min(count, -((tap_offset - size) // stride))
    return first, max(first, last)


@kernel
def _conv(x, w, y, strides, low, dilation, groups):
    rows = y.shape[0] * y.shape[1] * y.shape[2]
    for row in prange(rows):
        _output_row(x, w, y, row, strides, low, dilation, groups)


@inner
def _output_row(x, w, y, row, strides, low, dilation, groups):
    """Sum into one innermost row of the output, y[n, a, h, :, :]."""
    h = row % y.shape[2]
    a = row // y.shape[2] % y.shape[1]
    n = row // (y.shape[1] * y.shape[2])
    out = y[n, a, h].reshape(-1)
    whole = groups == 1 and dilation[2] == 1
    for ka in range(w.shape[0]):
        ia = a * strides[0] + ka * dilation[0] - low[0]
        if ia < 0 or ia >= x.shape[1]:
            continue
        for kh in range(w.shape[1]):
            ih = h * strides[1] + kh * dilation[1] - low[1]
            if ih < 0 or ih >= x.shape[2]:
                continue
            row_in = x[n, ia, ih].reshape(-1)
            if whole:
                _whole_window(row_in, w[ka, kh], out, y.shape[3], x.shape[3], strides[2], low[2])
            else:
                _tap_by_tap(
                    row_in, w[ka, kh], out, y.shape[3], x.shape[3], strides[2], low[2], dilation[2], groups
                )


@inner
def _whole_window(row_in, w, out, outputs, size, stride, low):
    """Where all taps of a row meet the input, (tap, channel) is one contiguous axis; edges go tap by tap."""
    taps, channels, features = w.shape
    flat = w.reshape(-1)
    begin, _ = positions(-low, stride, size, outputs)
    _, end = positions(taps - 1 - low, stride, size, outputs)
    end = max(begin, end)
    accumulate(
        out[begin * features :],
        features,
        row_in[max(0, begin * stride - low) * channels :],
        stride * channels,
        1,
        flat,
        features,
        end - begin,
        taps * channels,
        features,
    )
    for k in range(taps):
        first, last = positions(k - low, stride, size, outputs)
        for lo, hi in ((first, min(last, begin)), (max(first, end), last)):
            if lo < hi:
                accumulate(
                    out[lo * features :],
                    features,
                    row_in[(lo * stride + k - low) * channels :],
                    stride * channels,
                    1,
                    flat[k * channels * features :],
                    features,
                    hi - lo,
                    channels,
                    features,
                )


@inner
def _tap_by_tap(row_in, w, out, outputs, size, stride, low, dilation, groups):
    taps, depth, features = w.shape
    channels, width = depth * groups, features // groups
    for k in range(taps):
        flat = w[k].reshape(-1)
        offset = k * dilation - low
        first, last = positions(offset, stride, size, outputs)
        if first == last:
            continue
        for group in range(groups):
            accumulate(
                out[first * features + group * width :],
                features,
                row_in[(first * stride + offset) * channels + group * depth :],
                stride * channels,
                1,
                flat[group * width :],
                features,
                last - first,
                depth,
                width,
            )


@kernel
def _conv_input_grad(g, w, x_bar, strides, low, dilation, groups):
    rows = x_bar.shape[0] * x_bar.shape[1] * x_bar.shape[2]
    for row in prange(rows):
        _input_row(g, w, x_bar, row, strides, low, dilation, groups)


@inner
def _input_row(g, w, x_bar, row, strides, low, dilation, groups):
    """Gather into one innermost row of the cotangent, x_bar[n, a, h, :, :]; w is (*window, O, depth)."""
    h = row % x_bar.shape[2]
    a = row // x_bar.shape[2] % x_bar.shape[1]
    n = row // (x_bar.shape[1] * x_bar.shape[2])
    out = x_bar[n, a, h].reshape(-1)
    channels = x_bar.shape[4]
    features, depth = w.shape[3], w.shape[4]
    width = features // groups
    for ka in range(w.shape[0]):
        oa = output_at(a, ka, strides[0], low[0], dilation[0], g.shape[1])
        if oa < 0:
            continue
        for kh in range(w.shape[1]):
            oh = output_at(h, kh, strides[1], low[1], dilation[1], g.shape[2])
            if oh < 0:
                continue
            row_g = g[n, oa, oh].reshape(-1)
            for k in range(w.shape[2]):
                flat = w[ka, kh, k].reshape(-1)
                offset = k * dilation[2] - low[2]
                first, last = positions(offset, strides[2], x_bar.shape[3], g.shape[3])
                if first == last:
                    continue
                for group in range(groups):
                    accumulate(
                        out[(first * strides[2] + offset) * channels + group * depth :],
                        strides[2] * channels,
                        row_g[first * features + group * width :],
                        features,
                        1,
                        flat[group * width * depth :],
                        depth,
                        last - first,
                        width,
                        depth,
                    )


@inner
def output_at(i, k, stride, low, dilation, count):
    """The output whose tap k reads input i, or -1."""
    start = i + low - k * dilation
    if start < 0 or start % stride:
        return -1
    return start // stride if start // stride < count else -1


@kernel
def _conv_weight_grad(x, g, w_bar, strides, low, dilation, groups):
    taps = w_bar.shape[0] * w_bar.shape[1] * w_bar.shape[2]
    blocks = (w_bar.shape[3] + CHANNEL_BLOCK - 1) // CHANNEL_BLOCK
    for task in prange(taps * blocks):
        _weight_block(
            x, g, w_bar, task // blocks, task % blocks * CHANNEL_BLOCK, strides, low, dilation, groups
        )


@inner
def _weight_block(x, g, w_bar, tap, block, strides, low, dilation, groups):
    """Sum into w_bar[ka, kh, kw, block : block + CHANNEL_BLOCK, :] over all images and positions."""
    kw = tap % w_bar.shape[2]
    kh = tap // w_bar.shape[2] % w_bar.shape[1]
    ka = tap // (w_bar.shape[1] * w_bar.shape[2])
    offset_a = ka * dilation[0] - low[0]
    offset_h = kh * dilation[1] - low[1]
    offset_w = kw * dilation[2] - low[2]
    first_a, last_a = positions(offset_a, strides[0], x.shape[1], g.shape[1])
    first_h, last_h = positions(offset_h, strides[1], x.shape[2], g.shape[2])
    first, last = positions(offset_w, strides[2], x.shape[3], g.shape[3])
    if first == last:
        return
    depth, features = w_bar.shape[3], w_bar.shape[4]
    channels, width = x.shape[4], features // groups
    out = w_bar[ka, kh, kw].reshape(-1)[block * features :]
    rows = min(CHANNEL_BLOCK, depth - block)
    for n in range(x.shape[0]):
        for a in range(first_a, last_a):
            for h in range(first_h, last_h):
                row_x = x[n, a * strides[0] + offset_a, h * strides[1] + offset_h].reshape(-1)
                row_x = row_x[(first * strides[2] + offset_w) * channels + block :]
                row_g = g[n, a, h].reshape(-1)[first * features :]
                for group in range(groups):
                    accumulate(
                        out[group * width :],
                        features,
                        row_x[group * depth :],
                        1,
                        strides[2] * channels,
                        row_g[group * width :],
                        features,
                        rows,
                        last - first,
                        width,
                    )
