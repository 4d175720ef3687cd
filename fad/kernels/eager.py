"""What eager evaluation calls: functions of arrays that check shapes, choose pieces of work, and run the kernels on all threads.

Data is (N, *spatial, C) with 1 to 3 spatial axes, float32 or float64, of any strides; it is fastest contiguous. No result depends on
the number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from fad.errors import OutOfRangeError, ShapeError
from fad.kernels.convolution import convolve_pieces, plan_forward, plan_gradient
from fad.kernels.depthwise import depthwise_pieces, plan_depthwise
from fad.kernels.pieces import run
from fad.kernels.pooling import plan_pools, pool_grad_pieces, pool_pieces
from fad.kernels.products import multiply_pieces, plan_matrices
from fad.kernels.rent import specialised
from fad.kernels.scatter import add_rows_pieces
from fad.kernels.threefry import BLOCKS, draw_pieces
from fad.kernels.weights import plan_weights, sum_weights_pieces
from fad.kernels.windows import Ints, Windows, check_cotangent, kernel_dtype
from fad.native.launch import get_num_threads

__all__ = ["conv", "conv_input_grad", "conv_weight_grad", "dense", "draw_bits", "matmul", "max_pool", "max_pool_grad", "max_pool_push", "scatter_add",
           "sum_pool", "sum_pool_grad"]

Padding = tuple[tuple[int, int], ...]

# -- convolution ------------------------------------------------------------------------------------------------------------


def conv(x: np.ndarray, w: np.ndarray, strides: Ints, padding: Padding, dilation: Ints, groups: int = 1) -> np.ndarray:
    """Convolve x (N, *spatial, C) with w (*window, C // groups, O), giving (N, *output, O).

    The output's spatial size is (size + low + high - dilation * (taps - 1) - 1) // stride + 1, or 0 where
    that is negative. Raises ShapeError for shapes that do not fit, DtypeError unless float32 or float64.

    >>> conv(np.ones((1, 4, 1)), np.ones((3, 1, 1)), (1,), ((1, 1),), (1,)).ravel()
    array([2., 3., 3., 2.])
    """
    windows = Windows(x.shape[1:-1], w.shape[:-2], strides, padding, dilation)
    check_channels(x.shape[-1], w.shape, groups)
    dtype = kernel_dtype(x, w)
    y = np.empty((x.shape[0], *windows.output, w.shape[-1]), dtype)
    if not y.size:
        return y
    if not (x.size and w.size):
        return np.zeros_like(y)
    key = (x.shape, w.shape, strides, padding, dilation, groups, dtype)
    if own := specialised("conv", key, 2.0 * y.size * prod(w.shape[:-1])):
        return own(x, w, strides, padding, dilation, groups)
    x, w = contiguous(x, dtype), contiguous(w, dtype)
    shapes, moves = spatial_3d(x.shape, w.shape, y.shape), moves_3d(strides, padding, dilation)
    if is_depthwise(w.shape, groups):
        *geometry, pieces = plan_depthwise(0, *shapes, *moves, get_num_threads())
        run(depthwise_pieces, (x, w, y), flat(geometry, 0), pieces)
        return y
    *geometry, pieces = plan_forward(*shapes, *moves, groups, dtype.itemsize, get_num_threads())
    run(convolve_pieces, (x, w, y), flat(geometry), pieces)
    return y


def conv_input_grad(g: np.ndarray, w: np.ndarray, input_shape: Ints, strides: Ints, padding: Padding, dilation: Ints, groups: int = 1) -> np.ndarray:
    """The x_bar of shape `input_shape` with <g, conv(x, w)> = <x_bar, x> for every x.

    >>> conv_input_grad(np.ones((1, 4, 1)), np.ones((3, 1, 1)), (1, 4, 1), (1,), ((1, 1),), (1,)).ravel()
    array([2., 3., 3., 2.])
    """
    windows = Windows(tuple(input_shape[1:-1]), w.shape[:-2], strides, padding, dilation)
    check_channels(input_shape[-1], w.shape, groups)
    check_cotangent(g, (input_shape[0], *windows.output, w.shape[-1]))
    dtype = kernel_dtype(g, w)
    if not (g.size and w.size and 0 not in input_shape):
        return np.zeros(input_shape, dtype)
    key = (g.shape, w.shape, input_shape, strides, padding, dilation, groups, dtype)
    if own := specialised("conv_input_grad", key, 2.0 * g.size * prod(w.shape[:-1])):
        return own(g, w, input_shape, strides, padding, dilation, groups)
    g, w = contiguous(g, dtype), contiguous(w, dtype)
    shapes, moves = spatial_3d(g.shape, w.shape, tuple(input_shape)), moves_3d(strides, padding, dilation)
    if is_depthwise(w.shape, groups):
        x_bar = np.empty(input_shape, dtype)
        *geometry, pieces = plan_depthwise(1, shapes[2], shapes[1], shapes[0], *moves, get_num_threads())
        run(depthwise_pieces, (x_bar, w, g), flat(geometry, 1), pieces)
        return x_bar
    phases = [plan_gradient(phase, *shapes, *moves, groups, dtype.itemsize, get_num_threads())
              for phase in np.ndindex(*map(min, moves[0], shapes[2][1:4]))]
    x_bar = (np.empty if all(pieces for *_, pieces in phases) else np.zeros)(input_shape, dtype)
    for *geometry, pieces in phases:
        if pieces:
            run(convolve_pieces, (g, w, x_bar), flat(geometry), pieces)
    return x_bar


def conv_weight_grad(x: np.ndarray, g: np.ndarray, window: Ints, strides: Ints, padding: Padding, dilation: Ints, groups: int = 1) -> np.ndarray:
    """The w_bar of shape (*window, C // groups, O) with <g, conv(x, w)> = <w_bar, w> for every w.

    >>> conv_weight_grad(np.ones((1, 4, 1)), np.ones((1, 4, 1)), (3,), (1,), ((1, 1),), (1,)).ravel()
    array([3., 4., 3.])
    """
    windows = Windows(x.shape[1:-1], tuple(window), strides, padding, dilation)
    if groups < 1 or x.shape[-1] % groups:
        raise ShapeError("groups must divide the input channels", got=f"groups={groups}, {x.shape[-1]} channels")
    shape = (*window, x.shape[-1] // groups, g.shape[-1])
    check_channels(x.shape[-1], shape, groups)
    check_cotangent(g, (x.shape[0], *windows.output, g.shape[-1]))
    dtype = kernel_dtype(x, g)
    if not (x.size and g.size and 0 not in shape):
        return np.zeros(shape, dtype)
    key = (x.shape, g.shape, window, strides, padding, dilation, groups, dtype)
    if own := specialised("conv_weight_grad", key, 2.0 * g.size * prod(shape[:-1])):
        return own(x, g, window, strides, padding, dilation, groups)
    x, g = contiguous(x, dtype), contiguous(g, dtype)
    shapes, moves = spatial_3d(x.shape, shape, g.shape), moves_3d(strides, padding, dilation)
    if is_depthwise(shape, groups):
        *geometry, pieces = plan_depthwise(2, *shapes, *moves, 1)
        sums = np.empty((pieces, *shape), dtype)
        run(depthwise_pieces, (x, sums, g), flat(geometry, 2), pieces)
        return sums.sum(0)
    *geometry, pieces, chunks = plan_weights(*shapes, *moves, groups)
    sums = np.empty((chunks, *shape), dtype)
    run(sum_weights_pieces, (x, g, sums), flat(geometry), pieces)
    return sums[0] if chunks == 1 else sums.sum(0)


def is_depthwise(w_shape: Ints, groups: int) -> bool:
    """Whether each channel is convolved by itself."""
    return w_shape[-2] == 1 and groups > 1


def flat(geometry: Sequence[Any], *more: int) -> tuple[int, ...]:
    """What a plan returns, (record, axes...), as the integers that a kernel reads: axes first, then the record."""
    record, *axes = geometry
    return (*(number for axis in axes for number in axis), *record, *more)


def contiguous(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """x itself if it lies as kernels read it, otherwise a copy."""
    x = np.ascontiguousarray(x, dtype)
    return x if x.flags.aligned else x.copy()


def spatial_3d(x_shape: Ints, w_shape: Ints, y_shape: Ints) -> tuple[Ints, Ints, Ints]:
    """Shapes of data, weights and data, with three spatial axes: axes of length one come first."""
    ones = (1,) * (5 - len(x_shape))
    return (x_shape[0], *ones, *x_shape[1:]), (*ones, *w_shape), (y_shape[0], *ones, *y_shape[1:])


def moves_3d(strides: Ints, padding: Padding, dilation: Ints) -> tuple[Ints, Ints, Ints]:
    """Strides, padding in front, and dilation of three spatial axes."""
    rest = 3 - len(strides)
    return (1,) * rest + tuple(strides), (0,) * rest + tuple(low for low, _ in padding), (1,) * rest + tuple(dilation)


def check_channels(channels: int, weights_shape: Ints, groups: int) -> None:
    """Raise ShapeError unless groups divide the channels of x as they do those of w."""
    depth, features = weights_shape[-2:]
    if groups < 1 or channels != depth * groups or features % groups:
        raise ShapeError("the channels of x and w do not fit", got=f"{channels} channels in x, w of shape {tuple(weights_shape)}, groups={groups}",
                         rule="w is (*window, C // groups, O), and groups divides both C and O")


# -- products ---------------------------------------------------------------------------------------------------------------


def dense(x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
    """x @ w + b for x (n, k), w (k, m) and b (m,), giving (n, m).

    >>> dense(np.array([[1.0, 2.0]]), np.eye(2), np.array([10.0, 20.0]))
    array([[11., 22.]])
    """
    if x.ndim != 2 or w.ndim != 2 or x.shape[1] != w.shape[0] or (b is not None and b.shape != w.shape[1:]):
        raise ShapeError(
            "dense: shapes do not fit",
            got=f"x {x.shape}, w {w.shape}, b {None if b is None else b.shape}",
            rule="x must be (n, k), w (k, m) and b (m,)",
        )
    y = matmul(x, w)
    if b is None:
        return y
    if np.can_cast(b.dtype, y.dtype):
        y += b
        return y
    return y + b


def matmul(x, w, bias=None):
    """x @ w as np.matmul, for two or more dimensions, and b added."""
    dtype = kernel_dtype(x, w)
    (m, k), n = x.shape[-2:], w.shape[-1]
    x, w = lined_up(x, dtype), lined_up(w, dtype)
    lead = np.broadcast_shapes(x.shape[:-2], w.shape[:-2])
    y = np.empty((*lead, m, n), dtype)
    if not y.size or not k:
        return np.zeros_like(y)
    each = dtype.itemsize
    x_at, w_at = starts(x, lead), starts(w, lead)
    xs, ws = [s // each for s in x.strides[-2:]], [s // each for s in w.strides[-2:]]
    p, pieces = plan_matrices(len(x_at), m, n, k, *xs, *ws, int(bias is not None), each, get_num_threads())
    run(multiply_pieces, (x, w, y, y if bias is None else bias, x_at, w_at), p, pieces)
    return y


def lined_up(x, dtype):
    each = dtype.itemsize
    x = x.astype(dtype, copy=False)
    s = x.strides
    if x.ndim and each in s[-2:] and all(v % each == 0 and v >= 0 for v in s) and x.flags.aligned and max(s[-2:]) >= each:
        return x
    return np.ascontiguousarray(x)


def starts(x, lead):
    at = np.zeros((1,) * len(lead), np.int64)
    shape, strides = x.shape[:-2], x.strides[:-2]
    shape, strides = (1,) * (len(lead) - len(shape)) + shape, (0,) * (len(lead) - len(strides)) + strides
    for axis, (n, s) in enumerate(zip(shape, strides)):
        if n > 1:
            at = at + np.arange(n).reshape((-1,) + (1,) * (len(lead) - axis - 1)) * (s // x.itemsize)
    return np.ascontiguousarray(np.broadcast_to(at, lead)).reshape(-1)


# POOLS
def max_pool(x, window, strides, padding):
    return _pool(1, x, x, window, strides, padding)


def max_pool_push(x, t, window, strides, padding):
    return _pool(2, x, t, window, strides, padding)


def sum_pool(x, window, strides, padding):
    return _pool(0, x, x, window, strides, padding)


def _pool(what, x, t, window, strides, padding):
    windows = Windows(x.shape[1:-1], window, strides, padding, (1,) * len(window))
    dtype = kernel_dtype(x, t)
    x, t = np.ascontiguousarray(x, dtype), np.ascontiguousarray(t, dtype)
    y = np.empty((x.shape[0], *windows.output, x.shape[-1]), dtype)
    if not (y.size and x.size):
        return np.zeros_like(y)
    xs, ws, ys = spatial_3d(x.shape, (*window, 1, 1), y.shape)
    moves = moves_3d(strides, padding, (1,) * len(window))
    p, a, b, c, pieces = plan_pools(xs, ys, ws[:3], moves[0], moves[1], False, get_num_threads())
    run(pool_pieces, (x, t, y), (*a, *b, *c, *p, what), pieces)
    return y


def max_pool_grad(x, g, window, strides, padding):
    return _pool_grad(1, x, g, x.shape, window, strides, padding)


def sum_pool_grad(g, input_shape, window, strides, padding):
    return _pool_grad(0, g, g, input_shape, window, strides, padding)


def _pool_grad(what, x, g, shape, window, strides, padding):
    dtype = kernel_dtype(x, g)
    x, g = np.ascontiguousarray(x, dtype), np.ascontiguousarray(g, dtype)
    x_bar = np.empty(shape, dtype)
    if not (x_bar.size and g.size):
        return np.zeros_like(x_bar)
    xs, ws, gs = spatial_3d(shape, (*window, 1, 1), g.shape)
    moves = moves_3d(strides, padding, (1,) * len(window))
    p, a, b, c, pieces = plan_pools(xs, gs, ws[:3], moves[0], moves[1], True, get_num_threads())
    run(pool_grad_pieces, (x, g, x_bar), (*a, *b, *c, *p, what), pieces)
    return x_bar


def scatter_add(target_shape, index, values):
    m, n = target_shape[0], len(index)
    width = values.size // n
    y = np.zeros(target_shape, values.dtype)
    if width == 1:
        np.add.at(y.reshape(-1), index, values.reshape(-1))
        return y
    values = np.ascontiguousarray(values)
    index = np.ascontiguousarray(index, np.int64)
    ranges = max(1, min(4 * get_num_threads(), m, values.size // 16384)) if get_num_threads() > 1 else 1
    if ranges > 1:
        which = (index * ranges // m).astype(np.uint16)
        order = np.argsort(which, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(which, minlength=ranges))])
    else:
        order, starts = np.arange(n), np.array([0, n])
    run(add_rows_pieces, (values, y, index, order, starts), (width,), ranges)
    return y


def threefry_bits(key, n):
    words = np.empty(2 * ((n + 1) // 2), np.uint32)
    run(draw_pieces, (np.ascontiguousarray(key, np.uint32), words), (), -(-len(words) // (2 * BLOCKS)))
    return words[:n]
