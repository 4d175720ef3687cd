"""Elliptic integrals, hypergeometric functions by their variable, and what is made of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from fad.core.primitive import Primitive
from fad.primitives.gamma import with_parameters
from fad.primitives.incomplete import betainc_by
from fad.primitives.integrals import polynomial
from fad.primitives.special import POSITIVE, _special, digamma, gammaln, no_derivative

__all__ = ["binom", "ellipe", "ellipk", "ellipkm1", "hyp0f1", "hyp1f1", "hyp2f1", "hyperu", "log_wright_bessel", "poch", "spence"]
__all__ += ["stdtr", "stdtrit", "wright_bessel"]

# -- complete elliptic integrals: near m = 0 the series of K' and E', elsewhere the closed form ------------

_NEAR = 0.1
_SQUARES = np.cumprod([1.0, *(((2 * n - 1) / (2 * n)) ** 2 for n in range(1, 18))]) * np.pi / 2  # K = sum c m^n, DLMF 19.5.1
_ORDERS = np.arange(1, 18)
_OF_K = (_SQUARES[1:] * _ORDERS).tolist()
_OF_E = (-_SQUARES[1:] * _ORDERS / (2 * _ORDERS - 1)).tolist()


def _away(m: Any) -> tuple:
    """Whether m is near 0, m where it is, and m where it is not."""
    near = np.abs(m) < _NEAR
    return near, np.where(near, m, 0.0), np.where(near, 0.5, m)


def _slope_of_k(k: Any, m: Any, rest: Any) -> Any:
    near, small, m = _away(m)
    rest = np.where(near, 0.5, rest)  # 1 - m
    far = (ellipe(1 - rest) / rest - np.where(near, 0, k)) / (2 * m)
    return np.where(near, polynomial(small, *_OF_K), far)


def _slope_of_e(e: Any, m: Any) -> Any:
    near, small, m = _away(m)
    return np.where(near, polynomial(small, *_OF_E), (e - ellipk(m)) / (2 * m))


_MODULI = (-2.0, 0.9)
ellipk = _special("ellipk", (lambda y, m: _slope_of_k(y, m, 1 - m),), flops=40, domains=(_MODULI,), source="DLMF 19.4.1")
ellipkm1 = _special(
    "ellipkm1", (lambda y, p: -_slope_of_k(y, 1 - p, p),), flops=40, domains=((0.1, 3.0),), source="ellipk(1 - p), DLMF 19.4.1"
)
ellipe = _special("ellipe", (_slope_of_e,), flops=40, domains=(_MODULI,), source="DLMF 19.4.2")

# -- hypergeometric functions ------------------------------------------------------------------------------

hyp0f1: Primitive = _special(
    "hyp0f1",
    (no_derivative("hyp0f1", "v"), lambda y, v, x: hyp0f1(v + 1, x) / v),
    flops=80,
    domains=(),
    sample=with_parameters(1, (-2.0, 2.0)),
    source="DLMF 16.3.1",
    analytic=True,
)
hyp1f1: Primitive = _special(
    "hyp1f1",
    (no_derivative("hyp1f1", "a"), no_derivative("hyp1f1", "b"), lambda y, a, b, x: a / b * hyp1f1(a + 1, b + 1, x)),
    flops=100,
    domains=(),
    sample=with_parameters(2, (-2.0, 2.0)),
    source="DLMF 13.3.15",
    analytic=True,
)
hyp2f1: Primitive = _special(
    "hyp2f1",
    (*(no_derivative("hyp2f1", v) for v in "abc"), lambda y, a, b, c, x: a * b / c * hyp2f1(a + 1, b + 1, c + 1, x)),
    flops=150,
    domains=(),
    sample=with_parameters(3, (-0.5, 0.5)),
    source="DLMF 15.5.1",
    analytic=True,
)


hyperu: Primitive = _special(
    "hyperu",
    (no_derivative("hyperu", "a"), no_derivative("hyperu", "b"), lambda y, a, b, x: -a * hyperu(a + 1, b + 1, x)),
    flops=150,
    domains=(),
    sample=with_parameters(2, POSITIVE),
    source="DLMF 13.3.22",
    rough=1 << 8,
)
wright_bessel: Primitive = _special(
    "wright_bessel",
    (*(no_derivative("wright_bessel", v) for v in "ab"), lambda y, a, b, x: wright_bessel(a, a + b, x)),
    flops=300,
    domains=(),
    sample=with_parameters(2, POSITIVE),
    source="the sum of x^k / (k! gamma(a k + b)), DLMF 10.46",
    rough=1 << 8,
)
log_wright_bessel: Primitive = _special(
    "log_wright_bessel",
    (*(no_derivative("log_wright_bessel", v) for v in "ab"), lambda y, a, b, x: np.exp(log_wright_bessel(a, a + b, x) - y)),
    flops=300,
    domains=(),
    sample=with_parameters(2, POSITIVE),
    source="the logarithm of wright_bessel",
    rough=1 << 8,
)


def _spence_slope(y: Any, z: Any) -> Any:
    near, small, away = _away(z - 1)
    return -np.where(near, polynomial(small, *((-1) ** n / (n + 1) for n in range(18))), np.log1p(away) / away)


spence = _special(
    "spence", (_spence_slope,), flops=60, domains=((0.2, 3.0),), source="the dilogarithm of 1 - z, DLMF 25.12.2", analytic=True
)

# -- ratios of gamma functions, Student's t ------------------------------------------------------------------

poch = _special(
    "poch",
    (lambda y, x, m: y * (digamma(x + m) - digamma(x)), lambda y, x, m: y * digamma(x + m)),
    flops=80,
    domains=(POSITIVE, POSITIVE),
    source="gamma(x + m) / gamma(x), DLMF 5.2.5",
)
binom = _special(
    "binom",
    (lambda y, n, k: y * (digamma(n + 1) - digamma(n - k + 1)), lambda y, n, k: y * (digamma(n - k + 1) - digamma(k + 1))),
    flops=120,
    domains=((3.3, 5.7), (0.3, 2.7)),
    source="gamma(n + 1) / (gamma(k + 1) gamma(n - k + 1))",
)


def student_density(df: Any, t: Any) -> Any:
    return np.exp(gammaln((df + 1) / 2) - gammaln(df / 2) - np.log1p(t * t / df) * (df + 1) / 2) / np.sqrt(np.pi * df)


def student_by_freedom(df: Any, t: Any) -> Any:
    """By df, through 1 - betainc(df / 2, 1 / 2, x) / 2 with x = df / (df + t^2), or the other way round where that is near 1."""
    far = t * t > df
    whole = df + t * t
    x = np.where(far, df, t * t) / whole
    tail = np.where(
        far,
        -betainc_by(df / 2, 0.5, np.where(far, x, 0.5), order=(1, 0)),
        betainc_by(0.5, df / 2, np.where(far, 0.5, x), order=(0, 1)),
    )
    away = np.sign(1.0 * t) * tail / 4 - t / (2 * df) * student_density(df, t)
    near = t * t < 1e-6 * np.minimum(df, 1)
    return np.where(near, _student_center(df, np.where(near, t, 0)), away)


def _student_center(df: Any, t: Any) -> Any:
    """The derivative by df of the first terms in t of stdtr: density at 0 times t - t^3 (1 + 1 / df) / 6 + ..."""
    r, square = 1 / df, t * t
    slope = (digamma((df + 1) / 2) - digamma(df / 2) - r) / 2
    terms = t * (1 - square * (1 + r) / 6 + square * square * (1 + r) * (1 + 3 * r) / 40)
    change = t * square * r * r * (1 / 6 - square * (4 + 6 * r) / 40)
    return student_density(df, 0 * t) * (slope * terms + change)


stdtr = _special(
    "stdtr",
    (lambda y, df, t: student_by_freedom(df, t), lambda y, df, t: student_density(df, t)),
    flops=100,
    domains=((1.5, 6.0), (0.3, 3.0)),
    source="the distribution function of Student's t, DLMF 8.17",
)
stdtrit = _special(
    "stdtrit",
    (lambda t, df, p: -student_by_freedom(df, t) / student_density(df, t), lambda t, df, p: 1 / student_density(df, t)),
    flops=200,
    domains=((1.5, 6.0), (0.6, 0.95)),
    source="the inverse of stdtr",
)
