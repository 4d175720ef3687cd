"""Differences, sums over a grid, interpolation and polynomials."""

from __future__ import annotations

from typing import Any

import numpy as np

from fad.core.expr import short
from fad.errors import ShapeError
from fad.numpy.dispatch import as_array, axes_of, axis_of, floating, implements, unsupported
from fad.numpy.index import getitem
from fad.numpy.join import concatenate
from fad.numpy.order import searchsorted
from fad.numpy.shape import ravel, reshaped
from fad.primitives.elementwise import cast

__all__ = ["diff", "ediff1d", "gradient", "trapezoid", "interp", "polyval", "unwrap"]


def _along(axis: int, entry: Any) -> tuple:
    return (*(slice(None),) * axis, entry)


@implements(np.diff)
def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Any:
    """``a[i + 1] - a[i]`` along an axis, ``n`` times; booleans are compared."""
    x = as_array(a)
    if n < 0 or x.ndim == 0:
        raise ShapeError("diff", got=f"n={n} of {short(x)}", rule="n is not negative, and the array has an axis", fix="n=1")
    axis = axis_of(axis, x.ndim)
    if n == 0:
        return x  # as NumPy, which leaves the ends away then
    ends = []
    for end in (prepend, append):
        if end is not None and end is not np._NoValue:
            end = as_array(end)
            ends.append(end if end.ndim else np.broadcast_to(end, (*x.shape[:axis], 1, *x.shape[axis + 1 :])))
        else:
            ends.append(None)
    x = concatenate([part for part in (ends[0], x, ends[1]) if part is not None], axis)
    for _ in range(n):
        later, earlier = getitem(x, _along(axis, slice(1, None))), getitem(x, _along(axis, slice(None, -1)))
        x = later != earlier if x.dtype.kind == "b" else later - earlier
    return x


@implements(np.ediff1d)
def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    """Differences of the flattened array, with given ends."""
    x = ravel(ary)
    return concatenate([cast(ravel(part), x.dtype) for part in (to_begin, diff(x), to_end) if part is not None])


@implements(getattr(np, "trapezoid", None), getattr(np, "trapz", None))
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    """The trapezoidal rule over the points ``x``, or over steps ``dx``."""
    y = as_array(y)
    axis = axis_of(axis, y.ndim)
    if x is not None:
        x = as_array(x)
        dx = diff(x, axis=axis if x.ndim > 1 else 0)
        if x.ndim == 1:
            dx = reshaped(dx, (*dx.shape, *(1,) * (y.ndim - 1 - axis)))
    pairs = getitem(y, _along(axis, slice(1, None))) + getitem(y, _along(axis, slice(None, -1)))
    return np.sum(dx * pairs / 2.0, axis=axis)


@implements(np.gradient)
def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """Central differences inside, one-sided ones at the ends, along each axis; spacings are numbers or coordinates."""
    f = floating(f)
    axes = tuple(axis_of(i, f.ndim) for i in axis) if isinstance(axis, tuple | list) else axes_of(axis, f.ndim)
    spacings = varargs or (1.0,)
    spacings = spacings * len(axes) if len(spacings) == 1 else spacings
    if len(spacings) != len(axes):
        raise ShapeError(
            "gradient: the number of spacings",
            got=f"{len(spacings)} for axes {axes}",
            rule="one, or one per axis",
            fix="pass one number for all",
        )
    found = [_slopes(f, as_array(h), i, edge_order) for i, h in zip(axes, spacings, strict=True)]
    return found[0] if len(found) == 1 else tuple(found)


def _slopes(f: Any, h: Any, axis: int, edge_order: int) -> Any:
    """Second order inside, for steps a before and b after a point; DLMF 3.4(i)."""
    n = f.shape[axis]
    if edge_order not in (1, 2) or n < edge_order + 1:
        raise ShapeError(
            "gradient: too few points",
            got=f"{n} along axis {axis}, edge_order={edge_order}",
            rule="edge_order is 1 or 2, with edge_order + 1 points",
            fix="edge_order=1",
        )
    x = np.moveaxis(f, axis, -1)
    steps = diff(h) if h.ndim else np.broadcast_to(h, (n - 1,))
    if steps.shape != (n - 1,):
        raise ShapeError(
            "gradient: the coordinates do not fit",
            got=f"{short(h)} along axis {axis}",
            rule=f"{n} coordinates",
            fix="one coordinate per point",
        )
    steps = cast(steps, np.result_type(steps.dtype, f.dtype) if h.ndim else f.dtype)
    slope = (x[..., 1:] - x[..., :-1]) / steps
    a, b = steps[:-1], steps[1:]
    inside = (slope[..., :-1] * b + slope[..., 1:] * a) / (a + b)
    if edge_order == 1:
        first, last = slope[..., :1], slope[..., -1:]
    else:
        bend = (slope[..., 1:] - slope[..., :-1]) / (a + b)
        first = slope[..., :1] - bend[..., :1] * steps[0]
        last = slope[..., -1:] + bend[..., -1:] * steps[-1]
    return np.moveaxis(concatenate([first, inside, last], -1, dtype=f.dtype), -1, axis)


@implements(np.interp)
def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Any:
    """Linear interpolation through the points (xp, fp), xp increasing; constant outside.

    At a point of ``xp`` the derivative is that of the piece on its right.
    """
    if period is not None:
        raise unsupported("interp", f"period={period}", "x % period, with xp and fp sorted and their ends repeated")
    x, xp, fp = as_array(x), as_array(xp), as_array(fp)
    x, xp = (v if v.dtype == np.float64 else v.astype(np.float64) for v in (x, xp))
    fp = fp if fp.dtype.kind == "c" or fp.dtype == np.float64 else fp.astype(np.float64)
    n = xp.shape[0]
    below, above = (fp[0] if left is None else left), (fp[-1] if right is None else right)
    if n == 1:
        inside = np.broadcast_to(fp[0], x.shape)
    else:
        i = np.clip(searchsorted(xp, x, "right") - 1, 0, n - 2)
        x0, x1, y0, y1 = (getitem(v, j) for v, j in ((xp, i), (xp, i + 1), (fp, i), (fp, i + 1)))
        inside = np.where(x == x1, y1, y0 + (x - x0) * ((y1 - y0) / (x1 - x0)))
    y = np.where(x < xp[0], below, np.where(x > xp[-1], above, inside))
    return np.where(np.isnan(x), x, y)


@implements(np.polyval)
def polyval(p: Any, x: Any) -> Any:
    """The polynomial with coefficients ``p``, the highest power first, by Horner's rule."""
    p, x = as_array(p), as_array(x)
    y = np.zeros(x.shape, x.dtype)
    for k in range(p.shape[0]):
        y = y * x + p[k]
    return y


@implements(np.unwrap)
def unwrap(p: Any, discont: Any = None, axis: int = -1, *, period: Any = 2 * np.pi) -> Any:
    """Angles made continuous by adding periods; the derivative is that of the identity."""
    p = as_array(p)
    axis = axis_of(axis, p.ndim)
    d = diff(p, axis=axis)
    limit = period / 2 if discont is None else np.maximum(discont, period / 2)
    wrapped = (d + period / 2) % period - period / 2
    wrapped = np.where((wrapped == -period / 2) & (d > 0), period / 2, wrapped)
    jumps = np.rint(np.where(np.abs(d) < limit, 0, wrapped - d) / period) * period
    zero = np.zeros((*p.shape[:axis], 1, *p.shape[axis + 1 :]), jumps.dtype)
    return p + np.cumsum(concatenate([zero, jumps], axis), axis)
