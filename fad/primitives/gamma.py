"""The gamma family of real arguments: gamma, beta, incomplete gamma and beta functions and their inverses."""

from __future__ import annotations

from typing import Any

import numpy as np

from fad.core.primitive import Kink
from fad.primitives.incomplete import beta_density, betainc_by, gamma_density, gammainc_by
from fad.primitives.special import POSITIVE, PROBABILITY, _special, digamma

__all__ = [
    "gamma",
    "gammasgn",
    "rgamma",
    "loggamma",
    "beta",
    "betaln",
    "gammainc",
    "gammaincc",
    "gammaincinv",
    "gammainccinv",
    "betainc",
    "betaincc",
    "betaincinv",
    "betainccinv",
]

_POLES = Kink("x = -1, -2, ...", "nan", "a pole")
gamma = _special(
    "gamma", (lambda y, x: y * digamma(x),), flops=40, domains=(POSITIVE,), source="DLMF 5.2.2", kinks=(_POLES,), analytic=True
)
gammasgn = _special("gammasgn", None, flops=4, domains=(POSITIVE,), source="the sign of gamma, a step function")


def _rgamma_slope(y: Any, x: Any) -> Any:
    """-psi / gamma; left of 1/2 by reflection, where the poles of psi cancel."""
    is_left = np.real(x) < 0.5
    left = np.where(is_left, x, 0.0)
    reflected = gamma(1 - left) * (np.cos(np.pi * left) - np.sin(np.pi * left) * digamma(1 - left) / np.pi)
    return np.where(is_left, reflected, -y * digamma(np.where(is_left, 1.0, x)))


rgamma = _special("rgamma", (_rgamma_slope,), flops=60, domains=((-2.5, 4.0),), source="DLMF 5.2.2, 5.5.3", analytic=True)
loggamma = _special("loggamma", (lambda y, x: digamma(x),), flops=40, domains=(POSITIVE,), source="DLMF 5.2.1", analytic=True)
beta = _special(
    "beta",
    (lambda z, a, b: z * (digamma(a) - digamma(a + b)), lambda z, a, b: z * (digamma(b) - digamma(a + b))),
    flops=80,
    domains=(POSITIVE, POSITIVE),
    source="DLMF 5.12.1",
)
betaln = _special(
    "betaln",
    (lambda z, a, b: digamma(a) - digamma(a + b), lambda z, a, b: digamma(b) - digamma(a + b)),
    flops=80,
    domains=(POSITIVE, POSITIVE),
    source="DLMF 5.12.1",
)

# -- incomplete functions: their inverses by the implicit function theorem ----------------------------------


def with_parameters(count: int, interval: tuple) -> Any:
    """Samples with ``count`` integer parameters, by which no derivative is taken, before the variable."""
    return lambda rng, shape, dtype: (
        (*(rng.integers(1, 4, shape) for _ in range(count)), rng.uniform(*interval, shape).astype(dtype)),
        {},
    )


_SHAPE = (0.5, 4.0)  # parameters of distributions


def _by_shape(a: Any, x: Any) -> Any:
    return gammainc_by(a, x, order=1)


gammainc = _special(
    "gammainc",
    (lambda y, a, x: _by_shape(a, x), lambda y, a, x: gamma_density(a, x)),
    flops=80,
    domains=(_SHAPE, POSITIVE),
    source="DLMF 8.8.13; by a: quadrature",
)
gammaincc = _special(
    "gammaincc",
    (lambda y, a, x: -_by_shape(a, x), lambda y, a, x: -gamma_density(a, x)),
    flops=80,
    domains=(_SHAPE, POSITIVE),
    source="DLMF 8.8.13; by a: quadrature",
)
gammaincinv = _special(
    "gammaincinv",
    (lambda x, a, y: -_by_shape(a, x) / gamma_density(a, x), lambda x, a, y: 1 / gamma_density(a, x)),
    flops=200,
    domains=(_SHAPE, PROBABILITY),
    source="the inverse of gammainc",
)
gammainccinv = _special(
    "gammainccinv",
    (lambda x, a, y: -_by_shape(a, x) / gamma_density(a, x), lambda x, a, y: -1 / gamma_density(a, x)),
    flops=200,
    domains=(_SHAPE, PROBABILITY),
    source="the inverse of gammaincc",
)


def _by_a(a: Any, b: Any, x: Any) -> Any:
    return betainc_by(a, b, x, order=(1, 0))


def _by_b(a: Any, b: Any, x: Any) -> Any:
    return betainc_by(a, b, x, order=(0, 1))


betainc = _special(
    "betainc",
    (lambda y, a, b, x: _by_a(a, b, x), lambda y, a, b, x: _by_b(a, b, x), lambda y, a, b, x: beta_density(a, b, x)),
    flops=100,
    domains=(_SHAPE, _SHAPE, PROBABILITY),
    source="DLMF 8.17.1; by a and b: quadrature",
)
betaincc = _special(
    "betaincc",
    (lambda y, a, b, x: -_by_a(a, b, x), lambda y, a, b, x: -_by_b(a, b, x), lambda y, a, b, x: -beta_density(a, b, x)),
    flops=100,
    domains=(_SHAPE, _SHAPE, PROBABILITY),
    source="1 - betainc",
)
_THROUGH = (lambda x, a, b, y: -_by_a(a, b, x) / beta_density(a, b, x), lambda x, a, b, y: -_by_b(a, b, x) / beta_density(a, b, x))
betaincinv = _special(
    "betaincinv",
    (*_THROUGH, lambda x, a, b, y: 1 / beta_density(a, b, x)),
    flops=200,
    domains=(_SHAPE, _SHAPE, PROBABILITY),
    source="the inverse of betainc",
)
betainccinv = _special(
    "betainccinv",
    (*_THROUGH, lambda x, a, b, y: -1 / beta_density(a, b, x)),
    flops=200,
    domains=(_SHAPE, _SHAPE, PROBABILITY),
    source="the inverse of betaincc",
)
