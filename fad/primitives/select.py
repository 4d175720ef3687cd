"""Selection, and the product that respects it: the zeros of what is not taken stay zero against infinity and NaN."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from fad.core.lowering import ByKind, numbers
from fad.core.primitive import Kink, Linear, Primitive
from fad.native import elementwise as native
from fad.native.ir import where as choose
from fad.primitives.families import as_float, elementwise, promoted

__all__ = ["select", "where", "strong_multiply", "strong_divide"]

ANY = (-3.0, 3.0)


def _select(condition: Any, x: Any, y: Any) -> Any:
    return np.where(condition, x, y)


_TAKE_FIRST = lambda t, c, x, y: where(c, t, np.zeros((), t.dtype))
_TAKE_SECOND = lambda t, c, x, y: where(c, np.zeros((), t.dtype), t)

select = elementwise(
    "where",
    _select,
    Linear((None, _TAKE_FIRST, _TAKE_SECOND), push=(None, _TAKE_FIRST, _TAKE_SECOND)),
    domains=(),
    selects=True,
    keeps=(0,),
    dtype=lambda dtypes: promoted(dtypes[1:]),
    kinks=(Kink("the edge of the condition", "that of the side taken", "NaN-safe: the other side contributes nothing"),),
    sample=lambda rng, shape, dtype: (
        (rng.random(shape) < 0.5, rng.normal(size=shape).astype(dtype), rng.normal(size=shape[1:]).astype(dtype)),
        {},
    ),
    lower=ByKind(choose, choose, choose, operands=lambda given, out: (np.dtype(bool), out, out)),
)


def where(condition: Any, x: Any, y: Any) -> Any:
    """``np.where`` with three arguments."""
    return select(condition, x, y)


def _strong(z: Any, x: Any) -> Any:
    y = np.multiply(z, x)
    lost = np.isnan(y)
    if not lost.any():  # 0 times a number is 0 anyway
        return y
    return np.where(lost & (np.equal(z, 0) | np.equal(x, 0)), np.zeros((), y.dtype), y)[()]


strong_multiply: Primitive = elementwise(
    "strong_multiply",
    _strong,
    Linear((lambda ct, z, x: strong_multiply(ct, x), lambda ct, z, x: strong_multiply(z, ct))),
    domains=(ANY, ANY),
    selects=True,
    dtype=lambda dtypes: promoted(dtypes),
    source="strong zero: 0 times anything, NaN and infinity too, is 0",
    lower=numbers(native.strong_multiply, operator.and_),
)

strong_divide: Primitive = elementwise(
    "strong_divide",
    lambda x, y: np.where(x == 0, 0, x / np.where(x == 0, 1, y))[()],
    (lambda z, x, y: 1 / y, lambda z, x, y: -strong_divide(z, y)),
    flops=4,
    domains=(ANY, (0.2, 3.0)),
    dtype=lambda dtypes: as_float(promoted(dtypes)),
    source="x / y, and 0 at 0 / 0, with the derivative of x / y everywhere",
    composite=True,
)
