"""The gamma family of real arguments: gamma, beta, incomplete gamma and beta functions by their variable."""

from __future__ import annotations

from typing import Any

import numpy as np

from fad.core.primitive import Kink
from fad.primitives.special import POSITIVE, PROBABILITY, _special, digamma, gammaln, no_derivative

__all__ = [
    "gamma",
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
gamma = _special("gamma", (lambda y, x: y * digamma(x),), flops=40, domains=(POSITIVE,), source="DLMF 5.2.2", kinks=(_POLES,))


def _rgamma_slope(y: Any, x: Any) -> Any:
    """-psi / gamma; left of 1/2 by reflection, where the poles of psi cancel."""
    left = np.where(x < 0.5, x, 0.0)
    reflected = gamma(1 - left) * (np.cos(np.pi * left) - np.sin(np.pi * left) * digamma(1 - left) / np.pi)
    return np.where(x < 0.5, reflected, -y * digamma(np.where(x < 0.5, 1.0, x)))


rgamma = _special("rgamma", (_rgamma_slope,), flops=60, domains=((-2.5, 4.0),), source="DLMF 5.2.2, 5.5.3")
loggamma = _special("loggamma", (lambda y, x: digamma(x),), flops=40, domains=(POSITIVE,), source="DLMF 5.2.1")
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

# -- incomplete functions: no derivative by their parameters yet ---------------------------------------


def with_parameters(count: int, interval: tuple) -> Any:
    """Samples with ``count`` integer parameters, by which no derivative is taken, before the variable."""
    return lambda rng, shape, dtype: (
        (*(rng.integers(1, 4, shape) for _ in range(count)), rng.uniform(*interval, shape).astype(dtype)),
        {},
    )


def _gamma_density(a: Any, x: Any) -> Any:
    return np.exp((a - 1) * np.log(x) - x - gammaln(a))


def _beta_density(a: Any, b: Any, x: Any) -> Any:
    return np.exp((a - 1) * np.log(x) + (b - 1) * np.log1p(-x) - betaln(a, b))


gammainc = _special(
    "gammainc",
    (no_derivative("gammainc", "a"), lambda y, a, x: _gamma_density(a, x)),
    flops=80,
    domains=(),
    sample=with_parameters(1, POSITIVE),
    source="DLMF 8.8.13",
)
gammaincc = _special(
    "gammaincc",
    (no_derivative("gammaincc", "a"), lambda y, a, x: -_gamma_density(a, x)),
    flops=80,
    domains=(),
    sample=with_parameters(1, POSITIVE),
    source="DLMF 8.8.13",
)
gammaincinv = _special(
    "gammaincinv",
    (no_derivative("gammaincinv", "a"), lambda x, a, y: 1 / _gamma_density(a, x)),
    flops=200,
    domains=(),
    sample=with_parameters(1, PROBABILITY),
    source="the inverse of gammainc",
)
gammainccinv = _special(
    "gammainccinv",
    (no_derivative("gammainccinv", "a"), lambda x, a, y: -1 / _gamma_density(a, x)),
    flops=200,
    domains=(),
    sample=with_parameters(1, PROBABILITY),
    source="the inverse of gammaincc",
)
betainc = _special(
    "betainc",
    (no_derivative("betainc", "a"), no_derivative("betainc", "b"), lambda y, a, b, x: _beta_density(a, b, x)),
    flops=100,
    domains=(),
    sample=with_parameters(2, PROBABILITY),
    source="DLMF 8.17.1",
)
betaincc = _special(
    "betaincc",
    (no_derivative("betaincc", "a"), no_derivative("betaincc", "b"), lambda y, a, b, x: -_beta_density(a, b, x)),
    flops=100,
    domains=(),
    sample=with_parameters(2, PROBABILITY),
    source="1 - betainc",
)
betaincinv = _special(
    "betaincinv",
    (no_derivative("betaincinv", "a"), no_derivative("betaincinv", "b"), lambda x, a, b, y: 1 / _beta_density(a, b, x)),
    flops=200,
    domains=(),
    sample=with_parameters(2, PROBABILITY),
    source="the inverse of betainc",
)
betainccinv = _special(
    "betainccinv",
    (no_derivative("betainccinv", "a"), no_derivative("betainccinv", "b"), lambda x, a, b, y: -1 / _beta_density(a, b, x)),
    flops=200,
    domains=(),
    sample=with_parameters(2, PROBABILITY),
    source="the inverse of betaincc",
)
