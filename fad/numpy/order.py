"""Sorting, searching, and the statistics of order.

Values flow through the permutation that sorts; positions have no derivative.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fad.core.expr import Expr, concrete, short
from fad.numpy.dispatch import as_array, axes_of, axis_of, implements, no_out, unsupported
from fad.numpy.index import getitem, take_along_axis
from fad.numpy.shape import permuted, ravel, reshaped
from fad.primitives import reduce as primitives
from fad.primitives.families import reduced_shape
from fad.primitives.select import strong_multiply

__all__ = [
    "sort",
    "argsort",
    "partition",
    "argpartition",
    "median",
    "nanmedian",
    "quantile",
    "percentile",
    "searchsorted",
    "digitize",
    "bincount",
]


def _flat_or(a: Any, axis: Any) -> tuple:
    x = as_array(a)
    return (ravel(x), 0) if axis is None else (x, axis_of(axis, x.ndim))


@implements(np.argsort)
def argsort(a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Any:
    """The order that sorts, equal elements staying in theirs."""
    if order is not None:
        raise unsupported("argsort", f"order={order!r}", "leave order= away: nodes have no fields")
    x = as_array(a)
    x, axis = _flat_or(x, axis if axis is None or x.ndim or axes_of(axis, 0) else None)
    return primitives.argsort(x, axis=axis)


@implements(np.sort)
def sort(a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Any:
    """The elements in increasing order."""
    x, axis = _flat_or(a, axis)
    return take_along_axis(x, argsort(x, axis, order=order), axis)


@implements(np.partition)
def partition(a: Any, kth: Any, axis: Any = -1, kind: Any = None, order: Any = None) -> Any:
    """The elements sorted, which is one of the partitions."""
    return sort(a, axis, order=order)


@implements(np.argpartition)
def argpartition(a: Any, kth: Any, axis: Any = -1, kind: Any = None, order: Any = None) -> Any:
    """The order that sorts, which is one of those that partition."""
    return argsort(a, axis, order=order)


# -- quantiles -------------------------------------------------------------------------------------


def _rows_sorted(a: Any, axis: Any) -> tuple:
    """The elements over the axes as a sorted last axis, and the shape that keepdims gives."""
    x = as_array(a)
    x = x if x.dtype.kind == "f" else x.astype(np.float64)
    axes = axes_of(axis, x.ndim)
    others = tuple(i for i in range(x.ndim) if i not in axes)
    shape = (*(x.shape[i] for i in others), prod(x.shape[i] for i in axes))
    return sort(reshaped(permuted(x, (*others, *axes)), shape)), reduced_shape(x.shape, axes, True)


def _between(alpha: float, beta: float) -> Any:
    """A position between elements, by Hyndman and Fan's two numbers."""
    return lambda q, n: n * q + (alpha + q * (1 - alpha - beta)) - 1


_BETWEEN = {
    "interpolated_inverted_cdf": (0, 1),
    "hazen": (0.5, 0.5),
    "weibull": (0, 0),
    "median_unbiased": (1 / 3, 1 / 3),
    "normal_unbiased": (3 / 8, 3 / 8),
}  # alpha and beta of Hyndman and Fan 1996
_PLACES = {
    "linear": lambda q, n: q * (n - 1),
    "lower": lambda q, n: np.floor(q * (n - 1)),
    "higher": lambda q, n: np.ceil(q * (n - 1)),
    "nearest": lambda q, n: np.rint(q * (n - 1)),
    "midpoint": lambda q, n: (np.floor(q * (n - 1)) + np.ceil(q * (n - 1))) / 2,
    "inverted_cdf": lambda q, n: np.ceil(q * n - 1),
    "averaged_inverted_cdf": lambda q, n: (np.ceil(q * n - 1) + np.floor(q * n)) / 2,
    "closest_observation": lambda q, n: _odd_at_ties(q * n - 1.5),
    **{name: _between(alpha, beta) for name, (alpha, beta) in _BETWEEN.items()},
}
_ONE_ELEMENT = ("lower", "higher", "nearest", "inverted_cdf", "closest_observation")


def _odd_at_ties(place: Any) -> Any:
    whole = np.floor(place)
    return np.where((place == whole) & (whole % 2 == 1), whole, whole + 1)


def _place(method: str, q: Any, n: int) -> Any:
    """Where in the sorted row the quantile lies, between two elements or at one."""
    if method not in _PLACES:
        raise ValueError(f"method {method!r} is none of {', '.join(_PLACES)}")
    place = _PLACES[method](q, n)
    return place if method == "linear" else np.clip(place, 0, n - 1)  # never outside, and so with a slope at both ends


@implements(np.quantile)
def quantile(
    a: Any,
    q: Any,
    axis: Any = None,
    out: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
) -> Any:
    """The value below which a part ``q`` of the elements lies, by any of NumPy's methods; NaN spreads."""
    no_out(out)
    if weights is not None:
        raise unsupported("quantile", f"weights={short(weights)}", "leave weights= away")
    rows, kept = _rows_sorted(a, axis)
    q = np.asarray(q, rows.dtype) if isinstance(q, int | float) else as_array(q)
    n = rows.shape[-1]
    place = _place(method, q, n)
    last = n - 1 if method in _ONE_ELEMENT else max(n - 2, 0)  # so that the last place has a slope, that to its left
    below = np.clip(np.floor(place), 0, last)
    t = place - below
    below = below.astype(np.intp)
    above = np.minimum(below + 1, n - 1)
    front, back = tuple(range(q.ndim)), tuple(range(-q.ndim, 0))
    low, high = (np.moveaxis(getitem(rows, (Ellipsis, i)), back, front) for i in (below, above))
    if method in _ONE_ELEMENT:  # equal elements share, as for max
        y = np.max(np.where(rows <= low[..., None], rows, -np.inf), axis=-1)
    else:
        t, gap = reshaped(t, (*t.shape, *(1,) * (low.ndim - t.ndim))), high - low
        y = np.where(t < 0.5, low + strong_multiply(t, gap), high - strong_multiply(1 - t, gap))  # both ends exact, infinite too
    y = np.where(np.isnan(rows[..., -1]), np.nan, y)
    return reshaped(y, (*q.shape, *kept)) if keepdims else y


@implements(np.percentile)
def percentile(
    a: Any,
    q: Any,
    axis: Any = None,
    out: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
) -> Any:
    """`quantile` of ``q / 100``."""
    return quantile(
        a,
        q / 100 if isinstance(q, int | float) else as_array(q) / 100,
        axis,
        out,
        overwrite_input,
        method,
        keepdims,
        weights=weights,
    )


@implements(np.median)
def median(a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: bool = False) -> Any:
    """The middle element, or the mean of the two; NaN where there is one among them."""
    no_out(out)
    rows, kept = _rows_sorted(a, axis)
    n = rows.shape[-1]
    y = np.mean(rows[..., (n - 1) // 2 : n // 2 + 1], axis=-1)
    y = np.where(np.isnan(rows[..., -1]), np.nan, y) if n else y
    return reshaped(y, kept) if keepdims else y


@implements(np.nanmedian)
def nanmedian(a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: bool = False) -> Any:
    """`median` of what is not NaN."""
    no_out(out)
    rows, kept = _rows_sorted(a, axis)
    if not rows.shape[-1]:
        return np.full(kept if keepdims else rows.shape[:-1], np.nan, rows.dtype)
    n = np.sum(np.logical_not(np.isnan(rows)), axis=-1, keepdims=True)
    low, high = (take_along_axis(rows, np.maximum(i, 0), -1) for i in ((n - 1) // 2, n // 2))
    y = np.where(n == 0, np.nan, (low + high) / 2)
    return reshaped(y, kept if keepdims else y.shape[:-1])


# -- searching -------------------------------------------------------------------------------------


@implements(np.searchsorted)
def searchsorted(a: Any, v: Any, side: Any = "left", sorter: Any = None) -> Any:
    """Where to insert ``v`` in the sorted ``a``. Symbolic nodes are compared with every element of a short a; in a long one the
    place is doubled up to."""
    a, v = as_array(a), as_array(v)
    if sorter is not None:
        a = getitem(a, sorter)
    if any(isinstance(x, Expr) and x.value is None for x in (a, v)):
        if a.size > SHORT:
            return _bisect(a, v, np.less if side == "left" else np.less_equal)
        v = np.expand_dims(v, -1)
        return np.sum(a < v if side == "left" else a <= v, axis=-1)
    return np.searchsorted(concrete(a, "a"), concrete(v, "v"), side)


SHORT = 64  # elements that are compared as fast as a place among them is found step by step


def _bisect(a: Any, v: Any, is_before: Any) -> Any:
    """How many elements of the sorted ``a`` are before ``v``: the bits of the number, from the highest."""
    count = np.zeros(v.shape, np.int64)
    for bit in reversed(range(a.size.bit_length())):
        more = count + (1 << bit)
        reaches = np.logical_and(more <= a.size, is_before(getitem(a, np.minimum(more, a.size) - 1), v))
        count = np.where(reaches, more, count)
    return count


@implements(np.digitize)
def digitize(x: Any, bins: Any, right: bool = False) -> Any:
    """The number of the bin that holds each element; bins increase, or decrease if their values are known."""
    bins = as_array(bins)
    known = bins.value if isinstance(bins, Expr) else bins
    if known is not None and known.size > 1 and known[0] > known[-1]:
        return known.size - searchsorted(bins[::-1], x, "right" if right else "left")
    return searchsorted(bins, x, "left" if right else "right")


@implements(np.bincount)
def bincount(x: Any, /, weights: Any = None, minlength: int = 0) -> Any:
    """The number, or the sum of weights, of each integer from 0; needs the integers' values."""
    from fad.primitives.index import scatter_add

    x = concrete(as_array(x), "np.bincount")
    if weights is None:
        return np.bincount(x, minlength=minlength)
    size = max(int(x.max(initial=-1)) + 1, minlength)
    return scatter_add(as_array(weights).astype(np.float64), x, shape=(size,))
