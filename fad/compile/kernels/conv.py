"""Convolution in 1, 2 and 3 spatial dimensions, and its two adjoints.

    y[n, o, f] = sum over taps k and channels c of  x[n, o * stride + k * dilation - pad_low, c] * w[k, c, f]

as in the deep-learning literature (a cross-correlation), x being 0 outside its bounds. Data is
(N, *spatial, C), weights are (*window, C // groups, O). With groups, the g-th block of O // groups output
channels sees only the g-th block of C // groups input channels. Data may have any strides; it is fastest with channels
contiguous. Every output element is summed in an order that does not depend on the number of threads.
"""

from __future__ import annotations

import numpy as np

from fad.compile.kernels import conv_recipes
from fad.compile.kernels.recipe import run
from fad.compile.kernels.tune import tuned
from fad.errors import ShapeError
from fad.kernels.windows import Ints, Windows, aligned, check_cotangent, kernel_dtype, steps

__all__ = ["conv", "conv_input_grad", "conv_weight_grad"]

Padding = tuple[tuple[int, int], ...]


def conv(x: np.ndarray, w: np.ndarray, strides: Ints, padding: Padding, dilation: Ints, groups: int = 1) -> np.ndarray:
    """Convolve x (N, *spatial, C) with w (*window, C // groups, O), giving (N, *output, O).

    The output's spatial size is (size + low + high - dilation * (taps - 1) - 1) // stride + 1, or 0 where
    that is negative. Raises ShapeError for shapes that do not fit, DtypeError unless float32 or float64.

    >>> conv(np.ones((1, 4, 1)), np.ones((3, 1, 1)), (1,), ((1, 1),), (1,)).ravel()
    array([2., 3., 3., 2.])
    """
    windows = Windows(x.shape[1:-1], w.shape[:-2], strides, padding, dilation)
    _check_channels(x.shape[-1], w.shape, groups)
    dtype = kernel_dtype(x, w)
    shape = (x.shape[0], *windows.output, w.shape[-1])
    if not (x.size and w.size and 0 not in shape):
        return np.zeros(shape, dtype)
    x, w = aligned(x, dtype), np.ascontiguousarray(w, dtype)
    made = tuned(conv_recipes.conv, x.shape, steps(x), w.shape, steps(w), dtype, strides, padding, dilation, groups, windows.output)
    return run(made, [x, w], dtype)


def conv_input_grad(
    g: np.ndarray, w: np.ndarray, input_shape: Ints, strides: Ints, padding: Padding, dilation: Ints, groups: int = 1
) -> np.ndarray:
    """The x_bar of shape `input_shape` with <g, conv(x, w)> = <x_bar, x> for every x.

    >>> conv_input_grad(np.ones((1, 4, 1)), np.ones((3, 1, 1)), (1, 4, 1), (1,), ((1, 1),), (1,)).ravel()
    array([2., 3., 3., 2.])
    """
    windows = Windows(tuple(input_shape[1:-1]), w.shape[:-2], strides, padding, dilation)
    _check_channels(input_shape[-1], w.shape, groups)
    check_cotangent(g, (input_shape[0], *windows.output, w.shape[-1]))
    dtype = kernel_dtype(g, w)
    if not (g.size and w.size and 0 not in input_shape):
        return np.zeros(input_shape, dtype)
    g, w = aligned(g, dtype), np.ascontiguousarray(w, dtype)
    made = tuned(
        conv_recipes.conv_input_grad,
        g.shape,
        steps(g),
        w.shape,
        steps(w),
        dtype,
        tuple(input_shape),
        strides,
        padding,
        dilation,
        groups,
    )
    return run(made, [g, w], dtype)


def conv_weight_grad(
    x: np.ndarray, g: np.ndarray, window: Ints, strides: Ints, padding: Padding, dilation: Ints, groups: int = 1
) -> np.ndarray:
    """The w_bar of shape (*window, C // groups, O) with <g, conv(x, w)> = <w_bar, w> for every w.

    >>> conv_weight_grad(np.ones((1, 4, 1)), np.ones((1, 4, 1)), (3,), (1,), ((1, 1),), (1,)).ravel()
    array([3., 4., 3.])
    """
    windows = Windows(x.shape[1:-1], tuple(window), strides, padding, dilation)
    if groups < 1 or x.shape[-1] % groups:
        raise ShapeError("groups must divide the input channels", got=f"groups={groups}, {x.shape[-1]} channels")
    weights_shape = (*window, x.shape[-1] // groups, g.shape[-1])
    _check_channels(x.shape[-1], weights_shape, groups)
    check_cotangent(g, (x.shape[0], *windows.output, g.shape[-1]))
    dtype = kernel_dtype(x, g)
    if not (x.size and g.size and 0 not in weights_shape):
        return np.zeros(weights_shape, dtype)
    x, g = aligned(x, dtype), np.ascontiguousarray(g, dtype)
    made = tuned(
        conv_recipes.conv_weight_grad,
        x.shape,
        steps(x),
        g.shape,
        steps(g),
        dtype,
        tuple(window),
        strides,
        padding,
        dilation,
        groups,
    )
    return run(made, [x, g], dtype)


def _check_channels(channels: int, weights_shape: Ints, groups: int) -> None:
    depth, features = weights_shape[-2:]
    if groups < 1 or channels != depth * groups or features % groups:
        raise ShapeError(
            "the channels of x and w do not fit",
            got=f"{channels} channels in x, w of shape {tuple(weights_shape)}, groups={groups}",
            rule="w is (*window, C // groups, O), and groups divides both C and O",
        )
