"""Riemann's and Hurwitz's zeta functions, by both arguments and to any order."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from fad.core.primitive import Primitive
from fad.primitives.families import dtype_of, elementwise
from fad.primitives.maclaurin import zeta_by_exponent
from fad.primitives.special import _real_dtype, _special

__all__ = ["zeta", "zetac"]


def _zeta(x: Any, q: Any, *, order: int) -> Any:
    dtype = _real_dtype((dtype_of(x), dtype_of(q)))
    x, q = np.broadcast_arrays(np.asarray(x, float), np.asarray(q, float))
    if order == 0:
        return np.asarray(import_module("scipy.special").zeta(x, q)).astype(dtype)[()]
    fair = (x > 1) & (q > 0) & np.isfinite(x + q)
    with np.errstate(under="ignore"):
        y = zeta_by_exponent(np.where(fair, x, 2), np.where(fair, q, 1), order)
    return np.where(fair, y, np.nan).astype(dtype)[()]


def _by_shift(y: Any, x: Any, q: Any, *, order: int) -> Any:
    """That by q is -x zeta(x + 1, q)."""
    slope = -x * zeta(x + 1, q, order=order)
    return slope - order * zeta(x + 1, q, order=order - 1) if order else slope


zeta: Primitive = elementwise(
    "zeta",
    _zeta,
    (lambda y, x, q, *, order: zeta(x, q, order=order + 1), _by_shift),
    flops=600,
    domains=(),
    dtype=lambda dtypes, order: _real_dtype(dtypes),
    sample=lambda rng, shape, dtype: (
        (rng.uniform(1.5, 4.0, shape).astype(dtype), rng.uniform(0.5, 4.0, shape).astype(dtype)),
        {"order": int(rng.integers(0, 2))},
    ),
    source="DLMF 25.11.1, 25.11.17; by x: 25.11.7, of any order",
    real_only=True,
    rough=16,
)
zetac = _special(
    "zetac", (lambda y, x: zeta(x, 1.0, order=1),), flops=100, domains=((1.5, 4.0),), source="zeta(x, 1) - 1, for x > 1", rough=16
)
