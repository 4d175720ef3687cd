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

SMALL, LARGE = 8, 1 << 21  # sides, at least, and multiply-adds, at most, of a matrix product that BLAS does on one thread
MANY = 1 << 24  # multiply-adds of a stack, from which it is worth all threads
FEW = 1 << 14  # elements that are scattered, to which one thread is enough
PIECES = 4  # ranges of a scatter for each thread
ELEMENT = 10.0  # operations that one element of a window is worth, to `rent`

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


def matmul(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """x @ w, as np.matmul for two or more dimensions.

    One product is BLAS's, which measures as fast as these kernels or faster. Of a stack of small ones np.matmul computes each on one thread:
    where there is work enough for all threads, they are computed here.

    >>> matmul(np.ones((2, 3)), np.ones((3, 1))).ravel()
    array([3., 3.])
    """
    x, w = np.asarray(x), np.asarray(w)
    if x.ndim > 2 and w.ndim > 2 and x.dtype == w.dtype and x.dtype in (np.float32, np.float64):
        rows, depth, columns, stack = x.shape[-2], x.shape[-1], w.shape[-1], max(prod(x.shape[:-2]), prod(w.shape[:-2]))
        each = rows * depth * columns
        if min(rows, depth, columns) >= SMALL and each <= LARGE and each * stack >= MANY:
            return multiply_stack(x, w)
    return np.matmul(x, w)


def multiply_stack(x: np.ndarray, w: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    """x @ w (+ bias) of stacks of matrices, of one dtype, by the kernel."""
    dtype, (rows, depth), columns = kernel_dtype(x, w), x.shape[-2:], w.shape[-1]
    stack = np.broadcast_shapes(x.shape[:-2], w.shape[:-2])
    y = np.empty((*stack, rows, columns), dtype)
    if not (y.size and depth):
        return np.zeros_like(y)
    x, w = steps_known(x, dtype), steps_known(w, dtype)
    x_at, w_at = starts(x, stack), starts(w, stack)
    steps = [s // dtype.itemsize for s in (*x.strides[-2:], *w.strides[-2:])]
    *geometry, pieces = plan_matrices(len(x_at), rows, columns, depth, *steps, int(bias is not None), dtype.itemsize, get_num_threads())
    run(multiply_pieces, (x, w, y, y if bias is None else contiguous(bias, dtype), x_at, w_at), geometry[0], pieces)
    return y


def steps_known(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """x itself if rows or columns of its matrices are contiguous, otherwise a copy."""
    lies = x.dtype == dtype and x.flags.aligned and all(s >= 0 and s % dtype.itemsize == 0 for s in x.strides)
    return x if lies and dtype.itemsize in x.strides[-2:] else contiguous(x, dtype)


def starts(x: np.ndarray, stack: Ints) -> np.ndarray:
    """Where the matrices of a stack begin, in elements of x, whose stack broadcasts to this one."""
    at = np.zeros(x.shape[:-2], np.int64)
    for axis, step in enumerate(x.strides[:-2]):
        at += (np.arange(x.shape[axis]) * (step // x.itemsize)).reshape(-1, *(1,) * (x.ndim - 3 - axis))
    return np.ascontiguousarray(np.broadcast_to(at, stack)).reshape(-1)


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
    if own := specialised(name, (x.shape, windows, dtype), ELEMENT * y.size * prod(windows.window)):
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
    if own := specialised(name, (shape, windows, dtype), ELEMENT * g.size * prod(windows.window)):
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


# -- scatter, random bits ---------------------------------------------------------------------------------------------------


def scatter_add(target_shape: Ints, flat_index: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Zeros of shape (m, *row), then y[flat_index[i]] += values[i] for each row of values (n, *row).

    Repeated indices add up in the order of i. Rows of one element, few values, and dtypes other than float32 and float64 go through np.add.at.
    Raises ShapeError; OutOfRangeError unless 0 <= index < m.

    >>> scatter_add((3,), np.array([2, 0, 2]), np.array([1.0, 2.0, 3.0]))
    array([2., 0., 4.])
    """
    target_shape = tuple(target_shape)
    if flat_index.ndim != 1 or values.shape != (len(flat_index), *target_shape[1:]):
        raise ShapeError(
            "scatter_add: shapes differ",
            got=f"values {values.shape}, index {flat_index.shape}, target {target_shape}",
            rule="values must be (n, *row), index (n,), target (m, *row)",
        )
    if len(flat_index) and not 0 <= flat_index.min() <= flat_index.max() < target_shape[0]:
        raise OutOfRangeError(
            "scatter_add: index out of range",
            got=f"indices from {flat_index.min()} to {flat_index.max()}",
            rule=f"the target has {target_shape[0]} rows, and negative indices are not wrapped here",
        )
    y = np.zeros(target_shape, values.dtype)
    width = prod(target_shape[1:])
    if width == 1 or values.size < FEW or values.dtype not in (np.float32, np.float64):
        np.add.at(y.reshape(len(y), -1)[:, 0] if width == 1 else y, flat_index, values.reshape(-1) if width == 1 else values)
        return y
    index, order, firsts = sort_by_range(flat_index.astype(np.int64), target_shape[0], values.size)
    run(add_rows_pieces, (contiguous(values, values.dtype), y, index, order, firsts), (width,), len(firsts) - 1)
    return y


def sort_by_range(index: np.ndarray, rows: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rows in ranges, one a piece: the indices, their numbers sorted by range, and where each range begins among them."""
    ranges = max(1, min(PIECES * get_num_threads(), rows, size // FEW))
    if ranges == 1:
        return index, np.arange(len(index)), np.array([0, len(index)])
    which = (index * ranges // rows).astype(np.uint16)  # which NumPy sorts by its digits
    firsts = np.concatenate([[0], np.cumsum(np.bincount(which, minlength=ranges))])
    return index, np.argsort(which, kind="stable"), firsts


def draw_bits(key: np.ndarray, n: int) -> np.ndarray:
    """n random words, uint32 of shape (n,), for a key (2,): `fad.kernels.threefry`."""
    words = np.empty(-(-n // 2) * 2, np.uint32)
    run(draw_pieces, (np.ascontiguousarray(key, np.uint32), words), (), -(-len(words) // (2 * BLOCKS)))
    return words[:n]
