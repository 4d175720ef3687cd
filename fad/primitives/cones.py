"""Slopes of cones: what |x| and norms have at 0.

The slope is 0 there, the subgradient of least norm. It has no derivative itself, and a 0 in its place would be a wrong second
derivative of the many smooth functions that pass through a cone, so it is NaN. (Even powers are written without the
cone: fad.numpy.smooth.)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fad.core.expr import Expr
from fad.core.primitive import Kink
from fad.primitives.families import as_float, broadcast_shape, dtype_of, elementwise, promoted

__all__ = ["cone", "sign_slope", "direction"]

POSITIVE = (0.2, 3.0)
ANY = (-3.0, 3.0)


def cone(at: str) -> tuple:
    """The kinks of |x| and of norms."""
    why = "the slope jumps; even powers, which are smooth, are differentiated as such"
    return Kink(at, "0"), Kink(f"{at}, second derivative", "nan", why)


def _sign_of_reals(x: Any) -> Any:
    if np.dtype(dtype_of(x)).kind == "c":
        raise TypeError("the slope of |x| is a sign for real x alone")
    return np.sign(x)


sign_slope = elementwise(
    "sign_slope",
    _sign_of_reals,
    (lambda y, x: np.where(x == 0, np.nan * x, 0),),
    dtype=lambda dtypes: dtypes[0],
    source="the slope of |x|",
    real_only=True,
    composite=True,
)


def _direction(x: Any, r: Any, other: Any) -> Any:
    slope = np.where(r == 0, 0, x / np.where(r == 0, 1, r))
    far = r == np.inf
    if not isinstance(far, Expr) and not np.any(far):
        shape = broadcast_shape([slope.shape, np.shape(other)])
        return slope[()] if slope.shape == shape else np.array(np.broadcast_to(slope, shape))
    part = np.where(np.isinf(other), 0.7071067811865476, 1.0)
    limit = np.where(np.isinf(x), np.where(x > 0, part, -part), 0.0)
    return np.where(far, limit, slope).astype(slope.dtype)[()]


direction = elementwise(
    "direction",
    _direction,
    (lambda d, x, r, other: _inverse(r), lambda d, x, r, other: -d * _inverse(r), 0),
    flops=5,
    domains=(ANY, POSITIVE, ANY),
    dtype=lambda dtypes: as_float(promoted(dtypes)),
    source="x / r, the slope of the norm r of x and another number, which decides at infinity",
    composite=True,
)


def _inverse(r: Any) -> Any:
    """1 / r, and NaN at 0, to every order."""
    return np.where(r == 0, np.nan * r, 1 / r)
