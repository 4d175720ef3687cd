"""Reductions and scans under NumPy's names and with its options.

A node in ``where=`` is not seen by NumPy's dispatch, so these functions call each other, not ``np``.
"""

from __future__ import annotations

from math import prod as _product
from typing import Any

import numpy as np

from fad.core.expr import UFUNCS, short
from fad.errors import ShapeError
from fad.numpy.dispatch import as_array, axes_of, axis_of, floating, implements, no_out, unsupported
from fad.numpy.memory import copied
from fad.primitives import reduce as primitives
from fad.primitives.elementwise import cast
from fad.primitives.families import reduced_shape
from fad.primitives.select import strong_multiply
from fad.primitives.shape import reshape

__all__ = [
    "sum",
    "prod",
    "max",
    "min",
    "amax",
    "amin",
    "mean",
    "var",
    "std",
    "ptp",
    "average",
    "any",
    "all",
    "count_nonzero",
    "argmax",
    "argmin",
    "cumsum",
    "cumprod",
    "cumulative_sum",
    "cumulative_prod",
    "nansum",
    "nanprod",
    "nanmean",
    "nanvar",
    "nanstd",
    "nanmax",
    "nanmin",
    "nancumsum",
    "nancumprod",
    "logsumexp",
]


def _typed(a: Any, dtype: Any) -> Any:
    x = as_array(a)
    return x if dtype is None else cast(x, np.dtype(dtype))


def _in(y: Any, dtype: Any) -> Any:
    """A result in the dtype asked for: sums of narrow integers and booleans are made in wider ones, whose last bits are theirs."""
    return y if dtype is None or y.dtype == np.dtype(dtype) else cast(y, np.dtype(dtype))


def _reduce(primitive: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    axes = axes_of(axis, x.ndim)
    if not axes and x.dtype.kind in "fc":
        return copied(x) if x.shape else x
    return primitive(x, axes=axes, keepdims=bool(keepdims))


def _count(shape: tuple, axis: Any) -> int:
    return _product(shape[i] for i in axes_of(axis, len(shape)))


# -- sums and products -----------------------------------------------------------------------------


@implements(np.sum)
def sum(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False, initial: Any = None, where: Any = True
) -> Any:
    """The sum over axes."""
    no_out(out)
    x = _typed(a, dtype)
    if where is not True:
        x = np.where(where, x, np.zeros((), x.dtype))
    y = _in(_reduce(primitives.sum_, x, axis, keepdims), dtype)
    return y if initial is None else y + initial


@implements(np.prod)
def prod(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False, initial: Any = None, where: Any = True
) -> Any:
    """The product over axes; zeros in it are no special case."""
    no_out(out)
    x = _typed(a, dtype)
    if where is not True:
        x = np.where(where, x, np.ones((), x.dtype))
    y = _in(_reduce(primitives.prod_, x, axis, keepdims), dtype)
    return y if initial is None else y * initial


def _extremum(primitive: Any, combine: Any, a: Any, axis: Any, out: Any, keepdims: bool, initial: Any, where: Any) -> Any:
    no_out(out)
    x = as_array(a)
    if where is not True:
        if initial is None:
            raise ValueError("where= needs initial=, the value of an empty selection")
        x = np.where(where, x, initial)
    if _count(x.shape, axis) == 0 and x.ndim:
        if initial is None:
            raise ShapeError(
                "the extremum of no elements",
                got=f"{short(x)}, axis={axis}",
                rule="it has no identity",
                fix="pass initial=, e.g. initial=-np.inf",
            )
        return np.full(reduced_shape(x.shape, axes_of(axis, x.ndim), keepdims), initial, x.dtype)
    y = _reduce(primitive, x, axis, keepdims)
    return y if initial is None else combine(y, initial)


@implements(np.max, np.amax)
def max(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False, initial: Any = None, where: Any = True) -> Any:
    """The largest element; equal ones share its derivative."""
    return _extremum(primitives.max_, np.maximum, a, axis, out, keepdims, initial, where)


@implements(np.min, np.amin)
def min(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False, initial: Any = None, where: Any = True) -> Any:
    """The smallest element; equal ones share its derivative."""
    return _extremum(primitives.min_, np.minimum, a, axis, out, keepdims, initial, where)


amax, amin = max, min


@implements(np.ptp)
def ptp(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
    """``max - min``."""
    no_out(out)
    return max(a, axis, keepdims=keepdims) - min(a, axis, keepdims=keepdims)


@implements(np.any)
def any(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False, *, where: Any = True) -> Any:
    """Whether some element is not zero."""
    no_out(out)
    true = _nonzero(as_array(a))
    return _reduce(primitives.any_, true if where is True else true & where, axis, keepdims)


@implements(np.all)
def all(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False, *, where: Any = True) -> Any:
    """Whether no element is zero."""
    no_out(out)
    true = _nonzero(as_array(a))
    return _reduce(primitives.all_, true if where is True else true | np.logical_not(where), axis, keepdims)


def _nonzero(x: Any) -> Any:
    return x if x.dtype.kind == "b" else x != 0


@implements(np.count_nonzero)
def count_nonzero(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    """The number of elements that are not zero."""
    return sum(_nonzero(as_array(a)), axis, keepdims=keepdims)


# -- moments ---------------------------------------------------------------------------------------


@implements(np.mean)
def mean(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False, *, where: Any = True) -> Any:
    """The mean over axes; integers give float64, unless dtype= says in what to add up."""
    no_out(out)
    x = as_array(a)
    if dtype is None and x.dtype.kind in "biu":
        x = cast(x, np.dtype(np.float64))
    y = sum(x, axis, dtype, keepdims=keepdims, where=where) / _divisor(x, axis, keepdims, where)
    return y if dtype is None else cast(y, np.dtype(dtype))


def _divisor(x: Any, axis: Any, keepdims: bool, where: Any) -> Any:
    """The number of elements averaged."""
    if where is True:
        return _count(x.shape, axis)
    return sum(np.broadcast_to(where, x.shape), axis, keepdims=keepdims).astype(
        np.empty(0, x.dtype).real.dtype if x.dtype.kind in "fc" else np.float64
    )


def _deviation(a: Any, axis: Any, dtype: Any, where: Any, around: Any) -> Any:
    x = as_array(a)
    if dtype is not None and np.dtype(dtype).kind in "biu":
        raise unsupported("var", f"dtype={np.dtype(dtype)}", "a dtype of floats, and astype of the result")
    around = mean(x, axis, dtype, keepdims=True, where=where) if around is None else around
    x = x - around
    return x if where is True else np.where(where, x, np.zeros((), x.dtype))


def _sum_of_squares(d: Any, axis: Any, dtype: Any, keepdims: bool) -> Any:
    squares = d * d if d.dtype.kind != "c" else np.real(d) ** 2 + np.imag(d) ** 2
    return sum(squares, axis, dtype, keepdims=keepdims)


def euclidean(x: Any, axes: tuple, keepdims: bool) -> Any:
    """The root of the sum of ``|x|**2``: for complex numbers the norm of their parts, so that zeros among them are no kinks."""
    if x.dtype.kind != "c":
        return primitives.norm(x, axes=axes, keepdims=keepdims)
    parts = np.stack([np.real(x), np.imag(x)], axis=-1)
    y = primitives.norm(parts, axes=(*axes, x.ndim), keepdims=keepdims)
    return np.squeeze(y, -1) if keepdims else y


@implements(np.var)
def var(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    where: Any = True,
    mean: Any = None,
    correction: float | None = None,
) -> Any:
    """The mean of ``|x - mean|**2``, with divisor ``n - ddof``."""
    no_out(out)
    d = _deviation(a, axis, dtype, where, mean)
    n = _divisor(d, axis, keepdims, where) - (ddof if correction is None else correction)
    y = _sum_of_squares(d, axis, dtype, keepdims) / n
    return y if dtype is None else cast(y, np.dtype(dtype))


@implements(np.std)
def std(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    where: Any = True,
    mean: Any = None,
    correction: float | None = None,
) -> Any:
    """The root of `var`; where all elements are equal its derivative is 0, the subgradient of least norm."""
    no_out(out)
    d = _deviation(a, axis, dtype, where, mean)
    n = _divisor(d, axis, keepdims, where) - (ddof if correction is None else correction)
    y = euclidean(d, axes_of(axis, d.ndim), bool(keepdims)) / n**0.5
    return y if dtype is None else cast(y, np.dtype(dtype))


@implements(np.average)
def average(a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: bool = False) -> Any:
    """``sum(w a) / sum(w)``; weights of the shape of ``a`` or, in one dimension, along ``axis``."""
    x = as_array(a)
    if weights is None:
        value = mean(x, axis, keepdims=keepdims)
        total = np.full(value.shape, _count(x.shape, axis), value.dtype)
        return (value, total) if returned else value
    w = as_array(weights)
    if w.shape != x.shape:
        axes = axes_of(axis, x.ndim)
        if axis is None or w.shape != tuple(x.shape[i] for i in axes):
            raise ShapeError(
                "average: weights do not fit",
                got=f"{short(w)} for {short(x)}, axis={axis}",
                rule="they have the shape of a, or of a along axis",
                fix="np.broadcast_to(weights, a.shape)",
            )
        w = reshape(w, shape=tuple(s if i in axes else 1 for i, s in enumerate(x.shape)))
    w = np.broadcast_to(w, x.shape)
    if np.result_type(x.dtype, w.dtype).kind in "biu":
        w = w.astype(np.float64)
    total = sum(w, axis, keepdims=keepdims)
    value = sum(x * w, axis, keepdims=keepdims) / total
    return (value, total) if returned else value


# -- leaving NaN out -------------------------------------------------------------------------------


def _number(x: Any, where: Any = True) -> Any:
    """Where x is not NaN, and ``where`` holds."""
    number = np.logical_not(np.isnan(x))
    return number if where is True else number & where


@implements(np.nansum)
def nansum(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False, initial: Any = None, where: Any = True
) -> Any:
    """`sum` of what is not NaN."""
    x = as_array(a)
    return sum(x, axis, dtype, out, keepdims, initial, _number(x, where))


@implements(np.nanprod)
def nanprod(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False, initial: Any = None, where: Any = True
) -> Any:
    """`prod` of what is not NaN."""
    x = as_array(a)
    return prod(x, axis, dtype, out, keepdims, initial, _number(x, where))


@implements(np.nanmean)
def nanmean(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False, *, where: Any = True) -> Any:
    """`mean` of what is not NaN; NaN where nothing is left."""
    x = as_array(a)
    return mean(x, axis, dtype, out, keepdims, where=_number(x, where))


@implements(np.nanvar)
def nanvar(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    where: Any = True,
    mean: Any = None,
    correction: float | None = None,
) -> Any:
    """`var` of what is not NaN."""
    x = as_array(a)
    return var(x, axis, dtype, out, ddof, keepdims, where=_number(x, where), mean=mean, correction=correction)


@implements(np.nanstd)
def nanstd(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    where: Any = True,
    mean: Any = None,
    correction: float | None = None,
) -> Any:
    """`std` of what is not NaN."""
    x = as_array(a)
    return std(x, axis, dtype, out, ddof, keepdims, where=_number(x, where), mean=mean, correction=correction)


def _nan_extremum(extremum: Any, worst: float, a: Any, axis: Any, keepdims: bool) -> Any:
    x = as_array(a)
    if x.dtype.kind != "f":
        return extremum(x, axis, keepdims=keepdims)
    nothing = all(np.isnan(x), axis, keepdims=keepdims)
    return np.where(nothing, np.nan, extremum(np.where(np.isnan(x), worst, x), axis, keepdims=keepdims))


@implements(np.nanmax)
def nanmax(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
    """`max` of what is not NaN; NaN where nothing is left."""
    no_out(out)
    return _nan_extremum(max, -np.inf, a, axis, keepdims)


@implements(np.nanmin)
def nanmin(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
    """`min` of what is not NaN; NaN where nothing is left."""
    no_out(out)
    return _nan_extremum(min, np.inf, a, axis, keepdims)


# -- positions and scans ---------------------------------------------------------------------------


def _position(primitive: Any, a: Any, axis: Any, out: Any, keepdims: bool) -> Any:
    no_out(out)
    x = as_array(a)
    shape = x.shape
    if axis is None or not (x.ndim or axes_of(axis, 0)):
        y = primitive(reshape(x, shape=(_product(shape),)), axis=0)
        return reshape(y, shape=(1,) * len(shape)) if keepdims else y
    axis = axis_of(axis, x.ndim)
    y = primitive(x, axis=axis)
    return reshape(y, shape=reduced_shape(shape, (axis,), True)) if keepdims else y


@implements(np.argmax)
def argmax(a: Any, axis: Any = None, out: Any = None, *, keepdims: bool = False) -> Any:
    """The index of the first largest element."""
    return _position(primitives.argmax, a, axis, out, keepdims)


@implements(np.argmin)
def argmin(a: Any, axis: Any = None, out: Any = None, *, keepdims: bool = False) -> Any:
    """The index of the first smallest element."""
    return _position(primitives.argmin, a, axis, out, keepdims)


def _scan(primitive: Any, a: Any, axis: Any, dtype: Any, out: Any) -> Any:
    no_out(out)
    x = _typed(a, dtype)
    if axis is None or not (x.ndim or axes_of(axis, 0)):
        x, axis = reshape(x, shape=(_product(x.shape),)), 0
    return _in(primitive(x, axis=axis_of(axis, x.ndim)), dtype)


@implements(np.cumsum)
def cumsum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    """The sums of the first elements, of the flattened array by default."""
    return _scan(primitives.cumsum, a, axis, dtype, out)


@implements(np.cumprod)
def cumprod(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    """The products of the first elements, of the flattened array by default."""
    return _scan(primitives.cumprod, a, axis, dtype, out)


@implements(np.nancumsum)
def nancumsum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    """`cumsum` with 0 in place of NaN."""
    x = as_array(a)
    return cumsum(np.where(_number(x), x, np.zeros((), x.dtype)), axis, dtype, out)


@implements(np.nancumprod)
def nancumprod(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    """`cumprod` with 1 in place of NaN."""
    x = as_array(a)
    return cumprod(np.where(_number(x), x, np.ones((), x.dtype)), axis, dtype, out)


def _cumulative(scan: Any, neutral: Any, x: Any, axis: Any, dtype: Any, out: Any, include_initial: bool) -> Any:
    x = np.atleast_1d(as_array(x))
    if axis is None and x.ndim != 1:
        raise ShapeError("cumulative: axis is missing", got=short(x), rule="only one axis can go unnamed", fix="pass axis=")
    axis = axis_of(0 if axis is None else axis, x.ndim)
    y = scan(x, axis, dtype, out)
    if not include_initial:
        return y
    return np.concatenate([neutral((*x.shape[:axis], 1, *x.shape[axis + 1 :]), y.dtype), y], axis)


@implements(getattr(np, "cumulative_sum", None))
def cumulative_sum(x: Any, /, *, axis: Any = None, dtype: Any = None, out: Any = None, include_initial: bool = False) -> Any:
    """`cumsum`, with a leading 0 if asked."""
    return _cumulative(cumsum, np.zeros, x, axis, dtype, out, include_initial)


@implements(getattr(np, "cumulative_prod", None))
def cumulative_prod(x: Any, /, *, axis: Any = None, dtype: Any = None, out: Any = None, include_initial: bool = False) -> Any:
    """`cumprod`, with a leading 1 if asked."""
    return _cumulative(cumprod, np.ones, x, axis, dtype, out, include_initial)


@implements()
def logsumexp(x: Any, axis: Any = None, keepdims: bool = False, b: Any = None) -> Any:
    """``log(sum(b exp(x)))`` without overflow (Blanchard, Higham and Higham 2021).

    >>> round(float(logsumexp(np.array([1000.0, 1000.0]))), 6)
    1000.693147
    """
    if b is None:
        x = floating(x)
        return primitives.logsumexp(x, axes=axes_of(axis, x.ndim), keepdims=bool(keepdims))
    x, b = as_array(x), as_array(b)
    shape = np.broadcast_shapes(x.shape, b.shape)
    x = np.broadcast_to(x, shape)
    counted = np.where(b == 0, -np.inf, x)
    top = np.floor(max(counted, axis, keepdims=True))  # any shift near the largest will do; floor has no derivative
    top = np.where(np.isfinite(top), top, 0)
    y = np.log(sum(strong_multiply(b, np.exp(x - top)), axis, keepdims=True)) + top
    return reshape(y, shape=reduced_shape(shape, axes_of(axis, len(shape)), keepdims))


# -- the methods of ufuncs, whose axis is 0 by default ---------------------------------------------

for _ufunc, _rule in (
    (np.add, sum),
    (np.multiply, prod),
    (np.maximum, max),
    (np.minimum, min),
    (np.logical_and, all),
    (np.logical_or, any),
    (np.logaddexp, logsumexp),
):
    UFUNCS[_ufunc, "reduce"] = lambda x, axis=0, _rule=_rule, **options: _rule(x, axis, **options)
for _ufunc, _rule in ((np.add, cumsum), (np.multiply, cumprod)):
    UFUNCS[_ufunc, "accumulate"] = lambda x, axis=0, dtype=None, _rule=_rule: _rule(x, axis, dtype)


def _accumulate(ufunc: np.ufunc) -> Any:
    """``ufunc.accumulate`` of an associative ufunc: Hillis and Steele's scan, whose step doubles."""

    def accumulate(array: Any, axis: Any = 0, dtype: Any = None) -> Any:
        x = _typed(array, dtype)
        axis = axis_of(axis, x.ndim)
        y, step = np.moveaxis(x, axis, 0), 1
        while step < y.shape[0]:
            y = np.concatenate([y[:step], ufunc(y[:-step], y[step:])])
            step *= 2
        return np.moveaxis(y, 0, axis)

    return accumulate


for _scanned in (np.maximum, np.minimum, np.fmax, np.fmin, np.logaddexp, np.logaddexp2, np.hypot):
    UFUNCS[_scanned, "accumulate"] = _accumulate(_scanned)
