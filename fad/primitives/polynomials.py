"""Orthogonal polynomials and Legendre and parabolic cylinder functions by their variable (DLMF 18.9, 14.10, 12.8)."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from fad.core.primitive import Primitive
from fad.primitives.families import dtype_of, elementwise
from fad.primitives.special import BY_SCIPY, _real_dtype, _special, no_derivative

__all__ = [
    "eval_chebyc",
    "eval_chebys",
    "eval_chebyt",
    "eval_chebyu",
    "eval_gegenbauer",
    "eval_genlaguerre",
    "eval_hermite",
    "eval_hermitenorm",
    "eval_jacobi",
    "eval_laguerre",
    "eval_legendre",
    "eval_sh_chebyt",
    "eval_sh_chebyu",
    "eval_sh_jacobi",
    "eval_sh_legendre",
    "lpmv",
]

DEGREE = "polynomials have whole degrees"
PARAMETER = "the derivative by a parameter is a sum over all lower degrees"


def _sample(parameters: int, interval: tuple) -> Any:
    low, high = interval

    def sample(rng: np.random.Generator, shape: tuple, dtype: Any) -> tuple:
        integers = (rng.integers(1, 4, shape) + 3 * (i == 1) for i in range(1 + parameters))  # p > q - 1 in eval_sh_jacobi
        return (*integers, rng.uniform(low, high, shape).astype(dtype)), {}

    return sample


def _polynomial(name: str, parameters: str, slope: Any, interval: tuple, source: str) -> Any:
    """A function of (n, *parameters, x); ``slope(n - 1, *parameters, x)`` is its derivative for n > 0."""

    def by_x(y: Any, n: Any, *rest: Any) -> Any:
        return np.where(n == 0, 0, slope(np.where(n == 0, 0, n - 1), *rest))

    refusals = [no_derivative(name, "n", DEGREE), *(no_derivative(name, p, PARAMETER) for p in parameters.split())]
    sample = _sample(len(refusals) - 1, interval)
    return _special(
        name, (*refusals, by_x), flops=60, domains=(), sample=sample, source=source, lower=None
    )  # another recurrence for whole degrees


INSIDE, SHIFTED, RIGHT = (-0.9, 0.9), (0.1, 0.9), (0.1, 5.0)  # in the slopes, k = n - 1
eval_jacobi: Primitive = _polynomial(
    "eval_jacobi", "alpha beta", lambda k, a, b, x: (k + a + b + 2) / 2 * eval_jacobi(k, a + 1, b + 1, x), INSIDE, "DLMF 18.9.15"
)
eval_gegenbauer: Primitive = _polynomial(
    "eval_gegenbauer", "alpha", lambda k, a, x: 2 * a * eval_gegenbauer(k, a + 1, x), INSIDE, "DLMF 18.9.19"
)
eval_legendre = _polynomial("eval_legendre", "", lambda k, x: eval_gegenbauer(k, 1.5, x), INSIDE, "DLMF 18.9.19")
eval_chebyt = _polynomial("eval_chebyt", "", lambda k, x: (k + 1) * eval_chebyu(k, x), INSIDE, "DLMF 18.9.21")
eval_chebyu: Primitive = _polynomial("eval_chebyu", "", lambda k, x: 2 * eval_gegenbauer(k, 2.0, x), INSIDE, "DLMF 18.9.19")
eval_chebyc = _polynomial("eval_chebyc", "", lambda k, x: (k + 1) * eval_chebyu(k, x / 2), INSIDE, "2 T(x / 2)")
eval_chebys = _polynomial("eval_chebys", "", lambda k, x: eval_gegenbauer(k, 2.0, x / 2), INSIDE, "U(x / 2)")
eval_sh_legendre = _polynomial("eval_sh_legendre", "", lambda k, x: 2 * eval_gegenbauer(k, 1.5, 2 * x - 1), SHIFTED, "P(2 x - 1)")
eval_sh_chebyt = _polynomial("eval_sh_chebyt", "", lambda k, x: 2 * (k + 1) * eval_chebyu(k, 2 * x - 1), SHIFTED, "T(2 x - 1)")
eval_sh_chebyu = _polynomial("eval_sh_chebyu", "", lambda k, x: 4 * eval_gegenbauer(k, 2.0, 2 * x - 1), SHIFTED, "U(2 x - 1)")
eval_sh_jacobi: Primitive = _polynomial(
    "eval_sh_jacobi", "p q", lambda k, p, q, x: (k + 1) * eval_sh_jacobi(k, p + 2, q + 1, x), SHIFTED, "monic; DLMF 18.1.2"
)
eval_genlaguerre: Primitive = _polynomial(
    "eval_genlaguerre", "alpha", lambda k, a, x: -eval_genlaguerre(k, a + 1, x), RIGHT, "DLMF 18.9.23"
)
eval_laguerre = _polynomial("eval_laguerre", "", lambda k, x: -eval_genlaguerre(k, 1.0, x), RIGHT, "DLMF 18.9.23")


def _hermite(name: str, factor: int, source: str) -> Primitive:
    """SciPy takes nothing but integers for the degree."""

    def evaluate(n: Any, x: Any) -> Any:
        y = getattr(import_module("scipy.special"), name)(np.asarray(n).astype(int), x)
        return np.asarray(y).astype(_real_dtype((dtype_of(x),)))[()]

    def by_x(y: Any, n: Any, x: Any) -> Any:
        return factor * n * primitive(np.maximum(n - 1, 0), x)

    rules = (no_derivative(name, "n", DEGREE), by_x)
    primitive: Primitive = elementwise(
        name,
        evaluate,
        rules,
        flops=60,
        domains=(),
        dtype=lambda dtypes: _real_dtype(dtypes[1:]),
        sample=_sample(0, INSIDE),
        source=source,
        real_only=True,
        rough=4,
    )
    BY_SCIPY[name] = primitive
    return primitive


eval_hermite = _hermite("eval_hermite", 2, "DLMF 18.9.25")
eval_hermitenorm = _hermite("eval_hermitenorm", 1, "DLMF 18.9.27")

lpmv: Primitive = _special(
    "lpmv",
    (
        no_derivative("lpmv", "m", "the order is whole"),
        no_derivative("lpmv", "v"),
        lambda y, m, v, x: (v * x * y - (v + m) * lpmv(m, v - 1, x)) / (x * x - 1),
    ),
    flops=80,
    domains=(),
    sample=lambda rng, shape, dtype: (
        (rng.integers(0, 2, shape), rng.integers(2, 5, shape), rng.uniform(*INSIDE, shape).astype(dtype)),
        {},
    ),
    source="DLMF 14.10.5",
)
