"""Products of matrices and sums of rows, on arrays: on all threads by the kernels where that is faster, otherwise by NumPy.

numba is loaded by the first call that needs a kernel. No result depends on the number of threads.
"""

from __future__ import annotations

from math import prod

import numpy as np

from fad.errors import OutOfRangeError, ShapeError
from fad.kernels.windows import Ints, kernel_dtype
from fad.native.machine_model import BLAS_PRODUCT, BLAS_SIDE, PIECES_PER_THREAD, SCATTER_ELEMENTS, STACK_WORK
from fad.native.threads import get_num_threads

__all__ = ["contiguous", "dense", "matmul", "multiply_stack", "scatter_add"]


def contiguous(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """x itself if it lies as kernels read it, otherwise a copy."""
    x = np.ascontiguousarray(x, dtype)
    return x if x.flags.aligned else x.copy()


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

    One product is BLAS's, which measures as fast as these kernels or faster. Of a stack of small ones np.matmul computes each
    on one thread: where there is work enough for all threads, they are computed here.

    >>> matmul(np.ones((2, 3)), np.ones((3, 1))).ravel()
    array([3., 3.])
    """
    x, w = np.asarray(x), np.asarray(w)
    if x.ndim > 2 and w.ndim == 2 and x.flags.c_contiguous and x.shape[-1] == w.shape[0] and x.size:
        return np.matmul(x.reshape(-1, x.shape[-1]), w).reshape(*x.shape[:-1], w.shape[1])  # one product, for BLAS on all threads
    if x.ndim > 2 and w.ndim > 2 and x.dtype == w.dtype and x.dtype in (np.float32, np.float64):
        rows, depth, columns, stack = x.shape[-2], x.shape[-1], w.shape[-1], max(prod(x.shape[:-2]), prod(w.shape[:-2]))
        each = rows * depth * columns
        if min(rows, depth, columns) >= BLAS_SIDE and each <= BLAS_PRODUCT and each * stack >= STACK_WORK:
            return multiply_stack(x, w)
    return np.matmul(x, w)


def multiply_stack(x: np.ndarray, w: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    """x @ w (+ bias) of stacks of matrices, of one dtype, by the kernel."""
    dtype, (rows, depth), columns = kernel_dtype(x, w), x.shape[-2:], w.shape[-1]
    if w.shape[-2] != depth:
        raise ShapeError("matmul: shapes do not fit", got=f"{x.shape} and {w.shape}", rule="x is (..., m, k) and w (..., k, n)")
    stack = np.broadcast_shapes(x.shape[:-2], w.shape[:-2])
    y = np.empty((*stack, rows, columns), dtype)
    if not (y.size and depth):
        y[...] = 0 if bias is None else bias
        return y
    x, w = steps_known(x, dtype), steps_known(w, dtype)
    x_at, w_at = starts(x, stack), starts(w, stack)
    steps = [s // dtype.itemsize for s in (*x.strides[-2:], *w.strides[-2:])]
    from fad.kernels.pieces import run
    from fad.kernels.products import multiply_pieces, plan_matrices

    *geometry, pieces = plan_matrices(
        len(x_at), rows, columns, depth, *steps, int(bias is not None), dtype.itemsize, get_num_threads()
    )
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


def scatter_add(target_shape: Ints, flat_index: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Zeros of shape (m, *row), then y[flat_index[i]] += values[i] for each row of values (n, *row).

    Repeated indices add up in the order of i. Rows of one element, few values, and dtypes other than float32 and float64 go
    through np.add.at. Raises ShapeError; OutOfRangeError unless 0 <= index < m.

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
    if width == 1 or values.size < SCATTER_ELEMENTS or values.dtype not in (np.float32, np.float64):
        np.add.at(y.reshape(-1) if width == 1 else y, flat_index, values.reshape(-1) if width == 1 else values)
        return y
    from fad.kernels.pieces import run
    from fad.kernels.scatter import add_rows_pieces

    index, order, firsts = sort_by_range(flat_index.astype(np.int64), target_shape[0], values.size)
    run(add_rows_pieces, (contiguous(values, values.dtype), y, index, order, firsts), (width,), len(firsts) - 1)
    return y


def sort_by_range(index: np.ndarray, rows: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rows in ranges, one a piece: the indices, their numbers sorted by range, and where each range begins among them."""
    ranges = max(1, min(PIECES_PER_THREAD * get_num_threads(), rows, size // SCATTER_ELEMENTS))
    if ranges == 1:
        return index, np.arange(len(index)), np.array([0, len(index)])
    which = (index * ranges // rows).astype(np.uint16)  # which NumPy sorts by its digits
    firsts = np.concatenate([[0], np.cumsum(np.bincount(which, minlength=ranges))])
    return index, np.argsort(which, kind="stable"), firsts
