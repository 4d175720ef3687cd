"""Riemann's and Hurwitz's zeta functions, by both arguments and to any order, by Euler's and Maclaurin's formula."""

from __future__ import annotations

from importlib import import_module
from math import comb, factorial
from typing import Any

import numpy as np

from fad.core.primitive import Primitive
from fad.primitives.families import dtype_of, elementwise
from fad.primitives.special import _real_dtype, _special

__all__ = ["zeta", "zetac"]

TERMS = 24  # summed one by one, before the integral takes over
BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330)


def _by_exponent(x: Any, q: Any, order: int) -> Any:
    """The first terms, the integral of the rest and its corrections (DLMF 25.11.7), differentiated as Leibniz has it."""
    logs = np.log(q[..., None] + np.arange(TERMS))
    y = np.sum((-logs) ** order * np.exp(-x[..., None] * logs), axis=-1)
    whole = q + TERMS
    log = np.log(whole)
    power = np.exp(-x * log)
    integral = sum(comb(order, k) * (-log) ** (order - k) * (-1) ** k * factorial(k) / (x - 1) ** (k + 1) for k in range(order + 1))
    y = y + power * (whole * integral + (-log) ** order / 2)
    rising = np.polynomial.Polynomial([0.0, 1.0])  # x (x + 1) ... (x + 2 j - 2)
    for j, number in enumerate(BERNOULLI, 1):
        change = sum(comb(order, k) * (-log) ** (order - k) * rising.deriv(k)(x) for k in range(min(order, 2 * j - 1) + 1))
        y = y + number / factorial(2 * j) * change * power * whole ** (1.0 - 2 * j)
        rising = rising * np.polynomial.Polynomial([2 * j - 1, 1.0]) * np.polynomial.Polynomial([2 * j, 1.0])
    return y


def polygamma_of_complex(n: Any, z: Any) -> Any:
    """(-1)^(n + 1) n! zeta(n + 1, z), and psi for n = 0; real part above -20, NaN elsewhere (DLMF 25.11.12)."""
    special = import_module("scipy.special")
    n, z = np.broadcast_arrays(np.asarray(n, float), np.asarray(z, complex))
    fair = (n > 0) & (z.real > -20)
    order = np.where(n > 0, n, 1)
    sign = np.where(order % 2 == 1, 1, -1)
    sums = sign * special.gamma(order + 1) * _by_exponent(order + 1, np.where(fair, z, 1), 0)
    return np.where(n == 0, special.psi(z), np.where(fair, sums, np.nan))


def _zeta(x: Any, q: Any, *, order: int) -> Any:
    dtype = _real_dtype((dtype_of(x), dtype_of(q)))
    x, q = np.broadcast_arrays(np.asarray(x, float), np.asarray(q, float))
    if order == 0:
        return np.asarray(import_module("scipy.special").zeta(x, q)).astype(dtype)[()]
    fair = (x > 1) & (q > 0) & np.isfinite(x + q)
    with np.errstate(under="ignore"):
        y = _by_exponent(np.where(fair, x, 2), np.where(fair, q, 1), order)
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
