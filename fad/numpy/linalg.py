"""Norms and powers of matrices: the part of `numpy.linalg` that needs no factorisation."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from fad.errors import ShapeError
from fad.expr import short
from fad.numpy.dispatch import as_array, axes_of, axis_of, implements, no_out, unsupported
from fad.numpy.products import cross, matmul, outer, tensordot
from fad.numpy.products import linalg_vecdot as vecdot
from fad.numpy.reduce import euclidean
from fad.numpy.shape import linalg_diagonal as diagonal
from fad.numpy.shape import linalg_trace as trace
from fad.numpy.shape import matrix_transpose, ravel, reshaped

__all__ = ["norm", "vector_norm", "matrix_norm", "matrix_power", "multi_dot", "cross", "diagonal", "matmul",
           "matrix_transpose", "outer", "tensordot", "trace", "vecdot"]


def _float(x: Any) -> Any:
    x = as_array(x)
    return x if x.dtype.kind in "fc" else x.astype(np.float64)


def _vector(x: Any, p: Any, axes: tuple, keepdims: bool) -> Any:
    """(sum |x|^p)^(1/p) over axes, and its limits."""
    if p is None or p == 2:
        return euclidean(x, axes, keepdims)
    if p == np.inf:
        return np.max(np.abs(x), axis=axes, keepdims=keepdims)
    if p == -np.inf:
        return np.min(np.abs(x), axis=axes, keepdims=keepdims)
    if p == 0:
        return np.sum(x != 0, axis=axes, keepdims=keepdims).astype(np.abs(x).dtype)
    if p == 1:
        return np.sum(np.abs(x), axis=axes, keepdims=keepdims)
    size = np.abs(x)
    total = np.sum(size**p, axis=axes, keepdims=keepdims)
    zero = total == 0
    at_zero = np.sum(size, axis=axes, keepdims=keepdims) if p > 0 else total  # 0, with the kink that every norm has there
    return np.where(zero, at_zero, np.where(zero, 1, total) ** (1 / p))


def _matrix(x: Any, ord: Any, rows: int, columns: int, keepdims: bool) -> Any:
    if ord is None or ord == "fro":
        return _vector(x, 2, axes_of((rows, columns), x.ndim), keepdims)
    if ord in (1, -1, np.inf, -np.inf):
        summed, left = (rows, columns) if abs(ord) == 1 else (columns, rows)
        extremum = np.max if ord > 0 else np.min
        sums = np.sum(np.abs(x), axis=summed, keepdims=True)
        y = extremum(sums, axis=left, keepdims=True)
        return y if keepdims else np.squeeze(y, (rows, columns))
    raise unsupported(
        "linalg.norm",
        f"ord={ord!r} of a matrix",
        "ord None, 'fro', 1, -1, inf or -inf; the others need an SVD",
    )


@implements(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """The norm of vectors (one axis) or matrices (two), by default of all elements; its derivative at 0 is 0.

    >>> norm(np.array([3.0, 4.0]))
    np.float64(5.0)
    """
    x = _float(x)
    if axis is None and ord is None:
        return _vector(x, 2, tuple(range(x.ndim)), keepdims)
    axes = tuple(range(x.ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    axes = tuple(axis_of(i, x.ndim) for i in axes)
    if len(axes) == 1:
        return _vector(x, ord, axes, keepdims)
    if len(axes) == 2:
        return _matrix(x, ord, *axes, keepdims)
    raise ShapeError(
        "norm over more than two axes",
        got=f"{short(x)}, axis={axis}",
        rule="vectors have one, matrices two",
        fix="np.linalg.norm(x.ravel(), ord), or name the axes",
    )


@implements(np.linalg.vector_norm)
def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    """The p-norm over axes taken together."""
    x = _float(x)
    if x.dtype.kind == "c" and axis is None and not keepdims:
        x = ravel(x)
    return _vector(x, ord, axes_of(axis, x.ndim), keepdims)


@implements(np.linalg.matrix_norm)
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """The norm of the matrices on the last two axes."""
    x = _float(x)
    return _matrix(x, ord, x.ndim - 2, x.ndim - 1, keepdims)


@implements(np.linalg.matrix_power)
def matrix_power(a: Any, n: int) -> Any:
    """``a @ a @ ... @ a`` by repeated squaring."""
    a, n = as_array(a), operator.index(n)
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise ShapeError(
            "power of what is no square matrix",
            got=short(a),
            rule="the last two axes have one length",
            fix="a @ b",
        )
    if n < 0:
        a, n = np.linalg.inv(a), -n
    result = None
    while n:
        if n % 2:
            result = a if result is None else matmul(result, a)
        n //= 2
        a = matmul(a, a) if n else a
    return np.broadcast_to(np.eye(a.shape[-1], dtype=a.dtype), a.shape).copy() if result is None else result


@implements(np.linalg.multi_dot)
def multi_dot(arrays: Any, *, out: Any = None) -> Any:
    """The product of a chain of matrices in the order that costs least; the ends may be vectors."""
    no_out(out)
    xs = [as_array(x) for x in arrays]
    row, column = xs[0].ndim == 1, xs[-1].ndim == 1
    if row:
        xs[0] = reshaped(xs[0], (1, *xs[0].shape))
    if column:
        xs[-1] = reshaped(xs[-1], (*xs[-1].shape, 1))
    y = _chain(xs)
    shape = y.shape[1:] if row else y.shape
    return reshaped(y, shape[:-1] if column else shape)


def _chain(xs: list) -> Any:
    """Matrices multiplied where splitting costs least (Cormen, Leiserson, Rivest and Stein, section 14.2)."""
    n = len(xs)
    sizes = [xs[0].shape[0], *(x.shape[1] for x in xs)]
    cost = {(i, i): 0 for i in range(n)}
    best: dict = {}
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            cost[i, j], best[i, j] = min(
                (cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j)
            )

    def product(i: int, j: int) -> Any:
        return xs[i] if i == j else matmul(product(i, best[i, j]), product(best[i, j] + 1, j))

    return product(0, n - 1)
