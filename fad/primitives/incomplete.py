"""Derivatives of the incomplete gamma and beta functions by their parameters, to any order, by quadrature.

The gamma and the beta distribution have densities exp(a s + b r - A) with s, r functions of the variable t (log t; log t and
log(1 - t)). So the derivative of an integral of the density is that of the density times a polynomial in s and r, which is
its conditional mean in that tail times the tail's probability, which SciPy knows to nearly all digits, however small:

    d P(a, x) / da = P(a, x) E[log t - psi(a) | t < x] = -Q(a, x) E[log t - psi(a) | t > x].

Of the two the first is free of cancellation where log x < psi(a), the second elsewhere. In z = log t, or log(t / (1 - t)), the
density is log-concave and smooth, so fixed Gauss-Legendre nodes, from x to where it has fallen to exp(-50), give 1e-12.
Cf. Moore 1982 (AS 187), Boik and Robison-Cox 1998, who sum series by recurrence, for moderate arguments.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from itertools import pairwise
from math import comb
from typing import Any

import numpy as np

from fad.core.primitive import Primitive
from fad.primitives.families import elementwise
from fad.primitives.special import _real_dtype, digamma, gammaln, polygamma

__all__ = ["beta_density", "betainc_by", "gamma_density", "gammainc_by"]

FALL = 50.0  # the logarithm of what is left out of a tail
NEAR = 16.0  # z this far beyond where a factor of the density bends, it is straight to 1e-7
NODES = 64  # in each of the pieces


@cache
def _gauss() -> tuple:
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    return (nodes + 1) / 2, weights / 2


def _pieces(*edges: Any) -> tuple:
    """Nodes and weights, along a last axis, of the intervals between these arrays."""
    nodes, weights = _gauss()
    lengths = [np.asarray(high - low)[..., None] for low, high in pairwise(edges)]
    places = [np.asarray(low)[..., None] + length * nodes for low, length in zip(edges[:-1], lengths, strict=True)]
    return np.concatenate(places, axis=-1), np.concatenate([length * weights for length in lengths], axis=-1)


def _mean(log_density: Any, weights: Any, values: Any) -> Any:
    density = weights * np.exp(log_density - np.max(log_density, axis=-1, keepdims=True))
    return np.sum(density * values, axis=-1) / np.sum(density, axis=-1)


def bell(m: int, n: int, slope: Any) -> Any:
    """The derivative of order m by a and n by b of exp(g), over exp(g), from the derivatives ``slope(i, j)`` of g."""
    known: dict = {(0, 0): 1.0}
    for i in range(m + 1):
        for j in range(n + 1):
            if i + j == 0:
                continue
            p, q = (i - 1, j) if i else (0, j - 1)  # one of the derivatives is that of g, the others are shared out
            shares = [(k, l) for k in range(p + 1) for l in range(q + 1)]
            terms = [comb(p, k) * comb(q, l) * known[p - k, q - l] * slope(k + (i > 0), l + (i == 0)) for k, l in shares]
            known[i, j] = sum(terms[1:], start=terms[0])
    return known[m, n]


# -- the gamma distribution ------------------------------------------------------------------------------


def _gamma_slopes(a: Any, log_t: Any) -> Any:
    return lambda i, j: log_t - digamma(a) if i == 1 else -polygamma(i - 1, a)


def _gamma_tail(a: Any, x: Any, order: int, upper: bool) -> Any:
    """The mean of the polynomial over t > x or t < x. Nodes are at t = x exp(w)."""
    if upper:
        middle = np.maximum(x, np.minimum(a, 0.1))  # the slow part below it, where a is small
        top = np.maximum(middle, a)
        linear = 2 * (top - a - FALL)  # top (1 + u): (top - a) u + a u^2 / (2 + 2 u) has risen to FALL
        root = np.sqrt(linear * linear + 8 * FALL * (2 * top - a))
        rise = np.where(linear > 0, 4 * FALL / (np.abs(linear) + root), (root - linear) / (2 * (2 * top - a)))
        w, weights = _pieces(0 * x, np.log(middle / x), np.log(top / x) + np.log1p(rise))
    else:
        linear = 2 * (a - x) - FALL  # (a - x) w + x w^2 / (2 + w) has risen to FALL
        root = np.sqrt(linear * linear + 8 * a * FALL)
        w, weights = _pieces(0 * x, np.where(linear > 0, 4 * FALL / (np.abs(linear) + root), (root - linear) / (2 * a)))
        w = -w
    a, x = a[..., None], x[..., None]
    with np.errstate(over="ignore"):
        log_density = a * w - x * np.expm1(w)
    return _mean(log_density, weights, bell(order, 0, _gamma_slopes(a, np.log(x) + w)))


def _gammainc_by(a: Any, x: Any, *, order: int) -> Any:
    dtype = _real_dtype((getattr(a, "dtype", type(a)), getattr(x, "dtype", type(x))))
    a, x = np.broadcast_arrays(np.asarray(a, float), np.asarray(x, float))
    special = import_module("scipy.special")
    y = np.where(np.isnan(a) | np.isnan(x) | (a <= 0) | (x < 0), np.nan, 0.0)
    fair = (a > 0) & (x > 0) & np.isfinite(x) & np.isfinite(a)
    below = np.zeros(a.shape, bool)
    below[fair] = np.log(x[fair]) < special.digamma(a[fair])
    for where, tail, upper in ((below, special.gammainc, False), (fair & ~below, special.gammaincc, True)):
        if where.any():
            p, q = a[where], x[where]
            y[where] = (-1 if upper else 1) * tail(p, q) * _gamma_tail(p, q, order, upper)
    return y.astype(dtype)[()]


def gamma_density(a: Any, x: Any, order: int = 0) -> Any:
    """x^(a - 1) exp(-x) / gamma(a), or its derivative by a."""
    density = np.exp((a - 1) * np.log(x) - x - gammaln(a))
    return density * bell(order, 0, _gamma_slopes(a, np.log(x))) if order else density


gammainc_by: Primitive = elementwise(
    "gammainc_by",
    _gammainc_by,
    (lambda y, a, x, *, order: gammainc_by(a, x, order=order + 1), lambda y, a, x, *, order: gamma_density(a, x, order)),
    flops=3000,
    domains=(),
    dtype=lambda dtypes, order: _real_dtype(dtypes),
    sample=lambda rng, shape, dtype: (
        (rng.uniform(0.5, 4.0, shape).astype(dtype), rng.uniform(0.3, 5.0, shape).astype(dtype)),
        {"order": int(rng.integers(1, 3))},
    ),
    source="the derivative of gammainc by a, of any order; quadrature of the density's",
    real_only=True,
    rough=64,
)

# -- the beta distribution --------------------------------------------------------------------------------


def _beta_slopes(a: Any, b: Any, log_t: Any, log_rest: Any) -> Any:
    def slope(i: int, j: int) -> Any:
        if i + j == 1:
            return log_t - digamma(a) + digamma(a + b) if i else log_rest - digamma(b) + digamma(a + b)
        k = i + j - 1
        both = polygamma(k, a + b)
        return both if i and j else both - polygamma(k, a if i else b)

    return slope


def _log_shrunk(x: Any, rest: Any, w: Any) -> Any:
    """log(1 - x + x exp(-w)), with rest = 1 - x."""
    return np.where(w < 0.5, np.log1p(x * np.expm1(-np.minimum(w, 1))), np.log(rest + x * np.exp(-w)))


def _beta_tail(a: Any, b: Any, x: Any, rest: Any, m: int, n: int) -> Any:
    """The mean of the polynomial over t < x; rest = 1 - x. Nodes are where log(t / (1 - t)) is w less than at x."""
    start = np.log(x) - np.log(rest)

    def log_density(a: Any, b: Any, x: Any, rest: Any, w: Any) -> Any:
        return -a * w - (a + b) * _log_shrunk(x, rest, w)

    peak = np.maximum(0, start - np.log(a / b))
    bent = _log_shrunk(x, rest, peak)
    end = peak + (FALL - (a + b) * (np.log(rest) - bent)) / a  # beyond: Newton's steps come back, from this side
    highest = log_density(a, b, x, rest, peak)
    for _ in range(8):
        with np.errstate(over="ignore"):
            t = 1 / (1 + rest / x * np.exp(np.minimum(end, 700)))
        rate = np.maximum(a - (a + b) * t, 1e-300)
        end = np.maximum(end - (highest - log_density(a, b, x, rest, end) - FALL) / rate, peak)
    first = np.clip(start - np.log(np.maximum(a, 1)) - NEAR, 0, end)
    second = np.clip(start + np.log(np.maximum(b, 1)) + NEAR, first, end)
    w, weights = _pieces(0 * x, first, second, end)
    a, b, x, rest = (v[..., None] for v in (a, b, x, rest))
    shrunk = _log_shrunk(x, rest, w)
    slopes = _beta_slopes(a, b, np.log(x) - w - shrunk, np.log(rest) - shrunk)
    return _mean(-a * w - (a + b) * shrunk, weights, bell(m, n, slopes))


def _betainc_by(a: Any, b: Any, x: Any, *, order: tuple) -> Any:
    dtype = _real_dtype(tuple(getattr(v, "dtype", type(v)) for v in (a, b, x)))
    a, b, x = np.broadcast_arrays(*(np.asarray(v, float) for v in (a, b, x)))
    special = import_module("scipy.special")
    outside = np.isnan(a + b + x) | (a <= 0) | (b <= 0) | (x < 0) | (x > 1)
    y = np.where(outside, np.nan, 0.0)
    fair = ~outside & (x > 0) & (x < 1) & np.isfinite(a + b)
    below = np.zeros(x.shape, bool)
    p, q, t = a[fair], b[fair], x[fair]
    total = special.digamma(p + q)
    below[fair] = np.log(t) < special.digamma(p) - total if order[0] else np.log1p(-t) > special.digamma(q) - total
    if below.any():
        p, q, t = a[below], b[below], x[below]
        y[below] = special.betainc(p, q, t) * _beta_tail(p, q, t, 1 - t, *order)
    above = fair & ~below
    if above.any():
        p, q, t = a[above], b[above], x[above]
        y[above] = -special.betaincc(p, q, t) * _beta_tail(q, p, 1 - t, t, *order[::-1])
    return y.astype(dtype)[()]


def beta_density(a: Any, b: Any, x: Any, order: tuple = (0, 0)) -> Any:
    """x^(a - 1) (1 - x)^(b - 1) / beta(a, b), or its derivative by a and b."""
    density = np.exp((a - 1) * np.log(x) + (b - 1) * np.log1p(-x) + gammaln(a + b) - gammaln(a) - gammaln(b))
    return density * bell(order[0], order[1], _beta_slopes(a, b, np.log(x), np.log1p(-x))) if any(order) else density


betainc_by: Primitive = elementwise(
    "betainc_by",
    _betainc_by,
    (
        lambda y, a, b, x, *, order: betainc_by(a, b, x, order=(order[0] + 1, order[1])),
        lambda y, a, b, x, *, order: betainc_by(a, b, x, order=(order[0], order[1] + 1)),
        lambda y, a, b, x, *, order: beta_density(a, b, x, order),
    ),
    flops=6000,
    domains=(),
    dtype=lambda dtypes, order: _real_dtype(dtypes),
    sample=lambda rng, shape, dtype: (
        (*(rng.uniform(0.5, 4.0, shape).astype(dtype) for _ in range(2)), rng.uniform(0.1, 0.9, shape).astype(dtype)),
        {"order": ((1, 0), (0, 1), (1, 1))[rng.integers(3)]},
    ),
    source="the derivative of betainc by a and b, of any orders; quadrature of the density's",
    real_only=True,
    rough=64,
)
