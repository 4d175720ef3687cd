"""Products of vectors, matrices and tensors, all of them one matmul between reshapes."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fad.core.expr import short
from fad.errors import ShapeError
from fad.numpy.dispatch import as_array, axis_of, implements, no_out, ufunc_rule
from fad.numpy.shape import permuted, ravel, reshaped
from fad.numpy.smooth import square_sum
from fad.primitives import linalg as primitives

__all__ = [
    "matmul",
    "dot",
    "vdot",
    "vecdot",
    "matvec",
    "vecmat",
    "inner",
    "outer",
    "tensordot",
    "kron",
    "cross",
    "convolve",
    "correlate",
]


def _misfit(name: str, a: Any, b: Any, rule: str, fix: str) -> ShapeError:
    return ShapeError(f"{name}: the shapes do not fit", got=f"{short(a)} and {short(b)}", rule=rule, fix=fix)


def _conjugate(x: Any) -> Any:
    """NumPy's conjugate of a boolean is an int8; its products leave them alone."""
    return np.conj(x) if x.dtype.kind == "c" else x


@ufunc_rule(np.matmul)
def matmul(a: Any, b: Any) -> Any:
    """``a @ b``: (..., m, k) by (..., k, n); a vector is a row on the left and a column on the right."""
    a, b = as_array(a), as_array(b)
    if not a.shape or not b.shape:
        raise _misfit("matmul", a, b, "scalars have no axis to sum over", "a * b")
    if a.shape[-1] != b.shape[-2 if len(b.shape) > 1 else 0]:
        raise _misfit(
            "matmul",
            a,
            b,
            "the last axis of the first and the last but one of the second have one length",
            "transpose one of them: a.T @ b or a @ b.T",
        )
    row, column = len(a.shape) == 1, len(b.shape) == 1
    if not row and not column:
        return primitives.matmul(a, b)
    if a is b and (smooth := square_sum(a)) is not None:
        return smooth
    y = primitives.matmul(reshaped(a, (1, *a.shape)) if row else a, reshaped(b, (*b.shape, 1)) if column else b)
    shape = y.shape[:-1] if column else y.shape
    return reshaped(y, (*shape[:-2], shape[-1]) if row and not column else shape[:-1] if row else shape)


FUNCTION_MATMUL = implements(np.linalg.matmul)(lambda x1, x2, /: matmul(x1, x2))


@implements(np.dot)
def dot(a: Any, b: Any, out: Any = None) -> Any:
    """Sums over the last axis of ``a`` and the last but one of ``b``; with a scalar, the product."""
    no_out(out)
    a, b = as_array(a), as_array(b)
    if not a.shape or not b.shape:
        return a * b
    if len(b.shape) == 1 or (len(a.shape) <= 2 and len(b.shape) == 2):
        return matmul(a, b)
    return tensordot(a, b, ((-1,), (-2,)))


@implements(np.vdot)
def vdot(a: Any, b: Any) -> Any:
    """``sum(conj(a) b)`` of the flattened arrays."""
    return matmul(_conjugate(ravel(a)), ravel(b))


@implements(np.inner)
def inner(a: Any, b: Any) -> Any:
    """Sums over the last axes of both."""
    a, b = as_array(a), as_array(b)
    if not a.shape or not b.shape:
        return a * b
    return tensordot(a, b, ((-1,), (-1,)))


@implements(np.outer, np.linalg.outer)
def outer(a: Any, b: Any, out: Any = None) -> Any:
    """``a[i] b[j]`` of the flattened arrays."""
    no_out(out)
    a, b = ravel(a), ravel(b)
    return reshaped(a, (*a.shape, 1)) * b


def _vecdot(x1: Any, x2: Any) -> Any:
    """``sum(conj(a) b)`` over the last axis."""
    a, b = as_array(x1), as_array(x2)
    if a.shape[-1] != b.shape[-1]:
        raise _misfit("vecdot", a, b, "the last axes have one length", "np.vdot or np.outer")
    terms = _conjugate(a) * b
    return np.sum(terms, axis=-1, dtype=terms.dtype)


vecdot = ufunc_rule(getattr(np, "vecdot", None))(_vecdot)


@implements(np.linalg.vecdot)
def linalg_vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """``sum(conj(a) b)`` over an axis."""
    return _vecdot(np.moveaxis(as_array(x1), axis, -1), np.moveaxis(as_array(x2), axis, -1))


@ufunc_rule(getattr(np, "matvec", None))
def matvec(x1: Any, x2: Any) -> Any:
    """Matrices (..., m, n) by vectors (..., n)."""
    return np.squeeze(matmul(x1, np.expand_dims(as_array(x2), -1)), -1)


@ufunc_rule(getattr(np, "vecmat", None))
def vecmat(x1: Any, x2: Any) -> Any:
    """Conjugate vectors (..., n) by matrices (..., n, m)."""
    return np.squeeze(matmul(_conjugate(np.expand_dims(as_array(x1), -2)), x2), -2)


@implements(np.tensordot, np.linalg.tensordot)
def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """Sums over pairs of axes: the last ``axes`` of ``a`` with the first of ``b``, or the two lists given."""
    a, b = as_array(a), as_array(b)
    if isinstance(axes, int):
        left, right = tuple(range(-axes, 0)), tuple(range(axes))
    else:
        left, right = (tuple(side) if isinstance(side, tuple | list) else (side,) for side in axes)
    left, right = tuple(axis_of(i, a.ndim) for i in left), tuple(axis_of(i, b.ndim) for i in right)
    summed = tuple(a.shape[i] for i in left)
    if summed != tuple(b.shape[i] for i in right):
        raise _misfit("tensordot", a, b, f"axes {left} of the first pair with {right} of the second", "name axes of equal length")
    free_a = tuple(i for i in range(a.ndim) if i not in left)
    free_b = tuple(i for i in range(b.ndim) if i not in right)
    rows, columns = tuple(a.shape[i] for i in free_a), tuple(b.shape[i] for i in free_b)
    y = primitives.matmul(
        reshaped(permuted(a, (*free_a, *left)), (prod(rows), prod(summed))),
        reshaped(permuted(b, (*right, *free_b)), (prod(summed), prod(columns))),
    )
    return reshaped(y, (*rows, *columns))


@implements(np.kron)
def kron(a: Any, b: Any) -> Any:
    """Kronecker's product: every element of ``a`` times the whole of ``b``."""
    a, b = as_array(a), as_array(b)
    n = max(a.ndim, b.ndim)
    sa, sb = (1,) * (n - a.ndim) + a.shape, (1,) * (n - b.ndim) + b.shape
    grid = reshaped(a, tuple(s for i in sa for s in (i, 1))) * reshaped(b, tuple(s for i in sb for s in (1, i)))
    return reshaped(grid, tuple(i * j for i, j in zip(sa, sb, strict=True)))


@implements(np.cross, np.linalg.cross)
def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Any:
    """The vector product of vectors with three components."""
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = np.moveaxis(as_array(a), axisa, 0), np.moveaxis(as_array(b), axisb, 0)
    if a.shape[0] != 3 or b.shape[0] != 3:
        raise _misfit("cross", a, b, "vectors have 3 components", "a[0] * b[1] - a[1] * b[0] in the plane")
    y = np.stack([a[i] * b[j] - a[j] * b[i] for i, j in ((1, 2), (2, 0), (0, 1))])
    return np.moveaxis(y, 0, axisc)


# -- convolution of two rows -----------------------------------------------------------------------


@implements(np.convolve)
def convolve(a: Any, v: Any, mode: str = "full") -> Any:
    """``sum_k a[k] v[n - k]``: 'full' (n + m - 1), 'same' (the longer), 'valid' (whole overlap)."""
    a, v = np.atleast_1d(as_array(a)), np.atleast_1d(as_array(v))
    if a.ndim != 1 or v.ndim != 1 or not a.shape[0] or not v.shape[0]:
        raise _misfit("convolve", a, v, "two rows that are not empty", "fad.nn.conv for more axes")
    if a.shape[0] < v.shape[0]:
        a, v = v, a
    m = v.shape[0]
    if mode not in ("full", "same", "valid"):
        raise ValueError(f"mode {mode!r} is none of 'full', 'same', 'valid'")
    before, after = {"full": (m - 1, m - 1), "same": (m // 2, (m - 1) - m // 2), "valid": (0, 0)}[mode]
    return primitives.slide(np.pad(a, (before, after)), v[::-1])


@implements(np.correlate)
def correlate(a: Any, v: Any, mode: str = "valid") -> Any:
    """``sum_n a[n + k] conj(v[n])``."""
    a, v = as_array(a), as_array(v)
    if a.shape[0] >= v.shape[0]:
        return convolve(a, np.conj(v)[::-1], mode)
    return np.conj(convolve(v, np.conj(a)[::-1], mode))[::-1]
