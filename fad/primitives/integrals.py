"""Error functions beside erf, the logarithm of the normal distribution, exponential integrals.

Where a rule would subtract what is nearly equal, a series takes over, so that tails keep their relative accuracy.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fad.core.primitive import Primitive
from fad.primitives.special import ANY, POSITIVE, ROOT_TWO_PI, TWO_OVER_ROOT_PI, _special, no_derivative

__all__ = ["erfcx", "erfi", "erfcinv", "dawsn", "log_ndtr", "ndtri_exp", "exprel", "exp1", "expi", "expn"]

ROOT_HALF = 0.7071067811865476
_FAR = 30.0  # from here on six terms of the asymptotic series are good to 1e-15


def polynomial(t: Any, *coefficients: float) -> Any:
    """A polynomial, constant first."""
    y = coefficients[-1]
    for c in coefficients[-2::-1]:
        y = y * t + c
    return y


def _erfcx_slope(y: Any, x: Any) -> Any:
    far = np.real(x) > _FAR
    t = 1 / np.square(np.where(far, x, _FAR))
    series = -t * polynomial(t, 1.0, -1.5, 3.75, -13.125, 59.0625, -324.84375) * (TWO_OVER_ROOT_PI / 2)
    return np.where(far, series, 2 * x * y - TWO_OVER_ROOT_PI)


def _dawsn_slope(y: Any, x: Any) -> Any:
    far = (np.abs(x) > _FAR) & (np.abs(np.imag(x)) < 1)
    t = 1 / np.square(np.where(far, x, _FAR))
    return np.where(far, -t * polynomial(t, 0.5, 0.75, 1.875, 6.5625, 29.53125, 162.421875), 1 - 2 * x * y)


erfcx = _special("erfcx", (_erfcx_slope,), flops=40, domains=(ANY,), source="exp(x^2) erfc(x), DLMF 7.7.1, 7.12.1", analytic=True)
erfi = _special("erfi", (lambda y, x: TWO_OVER_ROOT_PI * np.exp(x * x),), flops=30, source="-i erf(i x)", analytic=True)
erfcinv = _special(
    "erfcinv", (lambda y, x: -np.exp(y * y) / TWO_OVER_ROOT_PI,), flops=40, domains=((0.1, 1.9),), source="DLMF 7.17"
)
dawsn = _special("dawsn", (_dawsn_slope,), flops=40, source="DLMF 7.10.2, 7.12.1", analytic=True)
log_ndtr = _special(
    "log_ndtr",
    (lambda y, x: 2 / ROOT_TWO_PI / erfcx(-x * ROOT_HALF),),
    flops=50,
    source="log(ndtr(x)); its slope is the inverse Mills ratio",
)
ndtri_exp = _special(
    "ndtri_exp",
    (lambda x, y: ROOT_TWO_PI / 2 * erfcx(-x * ROOT_HALF),),
    flops=80,
    domains=((-4.0, -0.1),),
    source="the inverse of log_ndtr",
)

# -- exponential integrals ------------------------------------------------------------------------------


_EXPREL = np.cumprod([0.5, *((n + 1) / n / (n + 2) for n in range(1, 18))]).tolist()  # (n + 1) / (n + 2)!


def exprel_slope(x: Any) -> Any:
    """The derivative of (exp(x) - 1) / x, to any order."""
    near, above = np.abs(x) < 1, x >= 1
    far = np.where(near, 1, x)
    y = exprel(far)
    away = np.where(above, y + (1 - y) / far, (np.exp(np.where(above, 0, far)) - y) / far)
    return np.where(near, polynomial(np.where(near, x, 0), *_EXPREL), away)


exprel = _special("exprel", (lambda y, x: exprel_slope(x),), flops=25, source="(exp(x) - 1) / x")
exp1 = _special("exp1", (lambda y, x: -np.exp(-x) / x,), flops=50, domains=(POSITIVE,), source="DLMF 6.2.1", analytic=True)
expi = _special("expi", (lambda y, x: np.exp(x) / x,), flops=50, domains=(POSITIVE,), source="DLMF 6.2.5", analytic=True)
expn: Primitive = _special(
    "expn",
    (no_derivative("expn", "n"), lambda y, n, x: np.where(n == 0, -y * (1 + 1 / x), -expn(np.maximum(n - 1, 0), x))),
    flops=60,
    domains=(),
    source="DLMF 8.19.13",
    sample=lambda rng, shape, dtype: ((rng.integers(0, 4, shape), rng.uniform(*POSITIVE, shape).astype(dtype)), {}),
)
