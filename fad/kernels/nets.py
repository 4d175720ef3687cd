"""Convolution and pooling on arrays: shapes are checked, pieces of work chosen, and the kernels run on all threads.

Data is (N, *spatial, C) with 1 to 3 spatial axes, float32 or float64, of any strides; it is fastest contiguous. No result
depends on the number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from fad.errors import ShapeError
from fad.kernels.arrays import contiguous
from fad.kernels.convolution import convolve_pieces, plan_forward, plan_gradient
from fad.kernels.depthwise import depthwise_pieces, plan_depthwise
from fad.kernels.pieces import run
from fad.kernels.pooling import plan_pools, pool_grad_pieces, pool_pieces
from fad.kernels.rent import specialised
from fad.kernels.weights import plan_weights, sum_weights_pieces
from fad.kernels.windows import Ints, Windows, check_cotangent, kernel_dtype
from fad.native.machine_model import FILLED_COLUMNS, POSITION_WORK, WINDOW_ELEMENT_WORK
from fad.native.threads import get_num_threads

__all__ = ["conv", "conv_input_grad", "conv_weight_grad", "max_pool", "max_pool_grad", "max_pool_push", "sum_pool", "sum_pool_grad"]

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
    if own := specialised("conv", key, count_work(y.shape, prod(w.shape[:-1]), w.shape[-1] // groups, groups)):
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


def conv_input_grad(
    g: np.ndarray, w: np.ndarray, input_shape: Ints, strides: Ints, padding: Padding, dilation: Ints, groups: int = 1
) -> np.ndarray:
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
    depth = prod(w.shape[:-2]) * w.shape[-1] // groups
    if own := specialised("conv_input_grad", key, count_work(input_shape, depth, w.shape[-2], groups)):
        return own(g, w, input_shape, strides, padding, dilation, groups)
    g, w = contiguous(g, dtype), contiguous(w, dtype)
    shapes, moves = spatial_3d(g.shape, w.shape, tuple(input_shape)), moves_3d(strides, padding, dilation)
    if is_depthwise(w.shape, groups):
        x_bar = np.empty(input_shape, dtype)
        *geometry, pieces = plan_depthwise(1, shapes[2], shapes[1], shapes[0], *moves, get_num_threads())
        run(depthwise_pieces, (x_bar, w, g), flat(geometry, 1), pieces)
        return x_bar
    phases = [
        plan_gradient(phase, *shapes, *moves, groups, dtype.itemsize, get_num_threads())
        for phase in np.ndindex(*map(min, moves[0], shapes[2][1:4]))
    ]
    x_bar = (np.empty if all(pieces for *_, pieces in phases) else np.zeros)(input_shape, dtype)
    for *geometry, pieces in phases:
        if pieces:
            run(convolve_pieces, (g, w, x_bar), flat(geometry), pieces)
    return x_bar


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
    shape = (*window, x.shape[-1] // groups, g.shape[-1])
    check_channels(x.shape[-1], shape, groups)
    check_cotangent(g, (x.shape[0], *windows.output, g.shape[-1]))
    dtype = kernel_dtype(x, g)
    if not (x.size and g.size and 0 not in shape):
        return np.zeros(shape, dtype)
    key = (x.shape, g.shape, window, strides, padding, dilation, groups, dtype)
    if own := specialised("conv_weight_grad", key, count_work(g.shape, prod(shape[:-1]), g.shape[-1] // groups, groups)):
        return own(x, g, window, strides, padding, dilation, groups)
    x, g = contiguous(x, dtype), contiguous(g, dtype)
    shapes, moves = spatial_3d(x.shape, shape, g.shape), moves_3d(strides, padding, dilation)
    if is_depthwise(shape, groups):
        *geometry, pieces = plan_depthwise(2, *shapes, *moves, 1)
        sums = np.empty((pieces, *shape), dtype)
        run(depthwise_pieces, (x, sums, g), flat(geometry, 2), pieces)
        return sums.sum(0)
    *geometry, pieces, chunks = plan_weights(*shapes, *moves, groups, get_num_threads())
    sums = np.empty((chunks, *shape), dtype)
    run(sum_weights_pieces, (x, g, sums), flat(geometry), pieces)
    return sums[0] if chunks == 1 else sums.sum(0)


def count_work(shape: Ints, depth: int, columns: int, groups: int) -> float:
    """Operations in the time that these kernels take for a result of this shape, or for its gradients, as `rent` counts them: the
    vectors of a tile that few columns do not fill, and finding each position's window, count too."""
    if 1 < groups == shape[-1]:  # depthwise: vectors go along the channels
        return 2.0 * prod(shape) * depth
    filled = -(-columns // FILLED_COLUMNS) * FILLED_COLUMNS
    return groups * prod(shape[:-1]) * (2.0 * depth * filled + POSITION_WORK)


def is_depthwise(w_shape: Ints, groups: int) -> bool:
    """Whether each channel is convolved by itself."""
    return w_shape[-2] == 1 and groups > 1


def flat(geometry: Sequence[Any], *more: int) -> tuple[int, ...]:
    """What a plan returns, (record, axes...), as the integers that a kernel reads: axes first, then the record."""
    record, *axes = geometry
    return (*(number for axis in axes for number in axis), *record, *more)


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
        raise ShapeError(
            "the channels of x and w do not fit",
            got=f"{channels} channels in x, w of shape {tuple(weights_shape)}, groups={groups}",
            rule="w is (*window, C // groups, O), and groups divides both C and O",
        )


# -- pooling ----------------------------------------------------------------------------------------------------------------


def max_pool(x: np.ndarray, window: Ints, strides: Ints, padding: Padding) -> np.ndarray:
    """The largest element of each window, of shape (N, *output, C); NaN where there is one.

    Raises ShapeError where a window lies in padding alone, DtypeError unless float32 or float64.

    >>> max_pool(np.array([[[1.0], [3.0], [3.0], [2.0]]]), (2,), (2,), ((0, 0),)).ravel()
    array([3., 3.])
    """
    windows = Windows(tuple(x.shape[1:-1]), window, strides, padding, (1,) * len(window)).for_maxima()
    return fold_windows("max_pool", 1, windows, kernel_dtype(x), x)


def max_pool_push(x: np.ndarray, t: np.ndarray, window: Ints, strides: Ints, padding: Padding) -> np.ndarray:
    """The element of t at the first maximum of each window of x. Raises as `max_pool`.

    >>> max_pool_push(np.array([[[1.0], [3.0], [3.0], [2.0]]]), np.arange(4.0).reshape(1, 4, 1), (2,), (2,), ((0, 0),)).ravel()
    array([1., 2.])
    """
    windows = Windows(tuple(x.shape[1:-1]), window, strides, padding, (1,) * len(window)).for_maxima()
    dtype = kernel_dtype(x, t)
    if t.shape != x.shape:
        raise ShapeError("the tangent does not have the input's shape", got=t.shape, rule=f"the input is {x.shape}")
    return fold_windows("max_pool_push", 2, windows, dtype, x, t).astype(t.dtype, copy=False)


def sum_pool(x: np.ndarray, window: Ints, strides: Ints, padding: Padding) -> np.ndarray:
    """Sum of each window, padding counting as 0, in the dtype of x and of shape (N, *output, C).

    >>> sum_pool(np.array([[[1.0], [3.0], [3.0], [2.0]]]), (2,), (2,), ((0, 0),)).ravel()
    array([4., 5.])
    """
    windows = Windows(tuple(x.shape[1:-1]), window, strides, padding, (1,) * len(window))
    return fold_windows("sum_pool", 0, windows, kernel_dtype(x), x)


def max_pool_grad(x: np.ndarray, g: np.ndarray, window: Ints, strides: Ints, padding: Padding) -> np.ndarray:
    """The x_bar with <g, max_pool_push(x, t)> = <x_bar, t> for every t. Raises as `max_pool`.

    >>> max_pool_grad(np.array([[[1.0], [3.0], [3.0], [2.0]]]), np.array([[[4.0], [5.0]]]), (2,), (2,), ((0, 0),)).ravel()
    array([0., 4., 5., 0.])
    """
    windows = Windows(tuple(x.shape[1:-1]), window, strides, padding, (1,) * len(window)).for_maxima()
    return spread_windows("max_pool_grad", 1, windows, kernel_dtype(x, g), x.shape, x, g).astype(g.dtype, copy=False)


def sum_pool_grad(g: np.ndarray, input_shape: Ints, window: Ints, strides: Ints, padding: Padding) -> np.ndarray:
    """The x_bar of shape `input_shape` with <g, sum_pool(x)> = <x_bar, x> for every x.

    >>> sum_pool_grad(np.array([[[4.0], [5.0]]]), (1, 4, 1), (2,), (2,), ((0, 0),)).ravel()
    array([4., 4., 5., 5.])
    """
    windows = Windows(tuple(input_shape[1:-1]), window, strides, padding, (1,) * len(window))
    return spread_windows("sum_pool_grad", 0, windows, kernel_dtype(g), tuple(input_shape), g)


def fold_windows(name: str, what: int, windows: Windows, dtype: np.dtype, *operands: np.ndarray) -> np.ndarray:
    """Windows of x to one element each; `what` as the kernel `pooling.pool` counts them."""
    x = operands[0]
    y = np.empty((x.shape[0], *windows.output, x.shape[-1]), dtype)
    if not (y.size and x.size):
        return np.zeros_like(y)
    if own := specialised(name, (x.shape, windows, dtype), WINDOW_ELEMENT_WORK * y.size * prod(windows.window)):
        return own(*operands, windows.window, windows.strides, windows.padding)
    operands = tuple(contiguous(a, dtype) for a in operands)
    *geometry, pieces = plan_windows(windows, x.shape, y.shape, by_input=False)
    run(pool_pieces, (operands[0], operands[-1], y), flat(geometry, what), pieces)
    return y


def spread_windows(name: str, what: int, windows: Windows, dtype: np.dtype, shape: Ints, *operands: np.ndarray) -> np.ndarray:
    """Elements of g, the last operand, to their windows; `what` as the kernel `pooling.pool_grad` counts them."""
    g = operands[-1]
    check_cotangent(g, (shape[0], *windows.output, shape[-1]))
    x_bar = np.empty(shape, dtype)
    if not (x_bar.size and g.size):
        return np.zeros_like(x_bar)
    if own := specialised(name, (shape, windows, dtype), WINDOW_ELEMENT_WORK * g.size * prod(windows.window)):
        return own(*operands, *(() if what else (shape,)), windows.window, windows.strides, windows.padding)
    operands = tuple(contiguous(a, dtype) for a in operands)
    *geometry, pieces = plan_windows(windows, shape, g.shape, by_input=True)
    run(pool_grad_pieces, (operands[0], operands[-1], x_bar), flat(geometry, what), pieces)
    return x_bar


def plan_windows(windows: Windows, x_shape: Ints, y_shape: Ints, by_input: bool) -> Any:
    """The geometry of pooling, from the record of its windows."""
    x_shape, (*window, _, _), y_shape = spatial_3d(x_shape, (*windows.window, 1, 1), y_shape)
    strides, lows, _ = moves_3d(windows.strides, windows.padding, windows.dilation)
    return plan_pools(x_shape, y_shape, tuple(window), strides, lows, by_input, get_num_threads())
