"""Distribution functions of `scipy.special` and their inverses: by all arguments that are no counts.

An inverse has its derivatives by the implicit function theorem. Counts (of events, trials, successes) have none: what
SciPy computes is a step function of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fad.primitives.bessel import ive
from fad.primitives.entropy import by_power
from fad.primitives.hypergeometric import student_by_freedom, student_density
from fad.primitives.incomplete import beta_density, betainc_by, gamma_density, gammainc_by
from fad.primitives.integrals import ROOT_HALF
from fad.primitives.special import ANY, POSITIVE, PROBABILITY, ROOT_TWO_PI, _special, erf, ndtri, no_derivative

__all__ = [
    "bdtr",
    "bdtrc",
    "bdtri",
    "bdtrik",
    "bdtrin",
    "btdtria",
    "btdtrib",
    "chdtr",
    "chdtrc",
    "chdtri",
    "chdtriv",
    "chndtr",
    "chndtrinc",
    "chndtrix",
    "fdtr",
    "fdtrc",
    "fdtri",
    "fdtridfd",
    "gdtr",
    "gdtrc",
    "gdtria",
    "gdtrib",
    "gdtrix",
    "kolmogi",
    "kolmogorov",
    "nbdtr",
    "nbdtrc",
    "nbdtri",
    "nbdtrik",
    "nbdtrin",
    "nrdtrimn",
    "nrdtrisd",
    "owens_t",
    "pdtr",
    "pdtrc",
    "pdtri",
    "pdtrik",
    "stdtridf",
    "tklmbda",
]

SHAPE = (0.5, 4.0)
COUNTS = "what counts events is whole, and the function a step function of it"


def _smooth(name: str, partials: tuple, domains: tuple, source: str) -> Any:
    return _special(name, partials, flops=200, domains=domains, source=source)


def _of_counts(name: str, counts: str, slope: Any, source: str) -> Any:
    """A function of counts k (and n > k) and one variable."""

    def sample(rng: np.random.Generator, shape: tuple, dtype: Any) -> tuple:
        k = rng.integers(1, 4, shape)
        return (k, *(k + 2 for _ in counts[1:]), rng.uniform(*PROBABILITY, shape).astype(dtype)), {}

    refusals = tuple(no_derivative(name, argument, COUNTS) for argument in counts)
    return _special(name, (*refusals, slope), flops=100, domains=(), sample=sample, source=source)


# -- chi-square and gamma: P(a, x) = gammainc --------------------------------------------------------------


def _by_a(a: Any, x: Any) -> Any:
    return gammainc_by(a, x, order=1)


chdtr = _smooth(
    "chdtr",
    (lambda y, v, x: _by_a(v / 2, x / 2) / 2, lambda y, v, x: gamma_density(v / 2, x / 2) / 2),
    (SHAPE, POSITIVE),
    "P(v / 2, x / 2)",
)
chdtrc = _smooth(
    "chdtrc",
    (lambda y, v, x: -_by_a(v / 2, x / 2) / 2, lambda y, v, x: -gamma_density(v / 2, x / 2) / 2),
    (SHAPE, POSITIVE),
    "1 - P(v / 2, x / 2)",
)
chdtri = _smooth(
    "chdtri",
    (lambda x, v, p: -_by_a(v / 2, x / 2) / gamma_density(v / 2, x / 2), lambda x, v, p: -2 / gamma_density(v / 2, x / 2)),
    (SHAPE, PROBABILITY),
    "the inverse of chdtrc",
)
chdtriv = _smooth(
    "chdtriv",
    (lambda v, p, x: 2 / _by_a(v / 2, x / 2), lambda v, p, x: -gamma_density(v / 2, x / 2) / _by_a(v / 2, x / 2)),
    (PROBABILITY, (1.0, 4.0)),
    "the inverse of chdtr in v",
)
gdtr = _smooth(
    "gdtr",
    (
        lambda y, a, b, x: x * gamma_density(b, a * x),
        lambda y, a, b, x: _by_a(b, a * x),
        lambda y, a, b, x: a * gamma_density(b, a * x),
    ),
    (SHAPE, SHAPE, POSITIVE),
    "P(b, a x)",
)
gdtrc = _smooth(
    "gdtrc",
    (
        lambda y, a, b, x: -x * gamma_density(b, a * x),
        lambda y, a, b, x: -_by_a(b, a * x),
        lambda y, a, b, x: -a * gamma_density(b, a * x),
    ),
    (SHAPE, SHAPE, POSITIVE),
    "1 - P(b, a x)",
)
gdtrix = _smooth(
    "gdtrix",
    (
        lambda x, a, b, p: -x / a,
        lambda x, a, b, p: -_by_a(b, a * x) / (a * gamma_density(b, a * x)),
        lambda x, a, b, p: 1 / (a * gamma_density(b, a * x)),
    ),
    (SHAPE, SHAPE, PROBABILITY),
    "the inverse of gdtr",
)
gdtria = _smooth(
    "gdtria",
    (
        lambda a, p, b, x: 1 / (x * gamma_density(b, a * x)),
        lambda a, p, b, x: -_by_a(b, a * x) / (x * gamma_density(b, a * x)),
        lambda a, p, b, x: -a / x,
    ),
    (PROBABILITY, SHAPE, POSITIVE),
    "the inverse of gdtr in a",
)
gdtrib = _smooth(
    "gdtrib",
    (
        lambda b, a, p, x: -x * gamma_density(b, a * x) / _by_a(b, a * x),
        lambda b, a, p, x: 1 / _by_a(b, a * x),
        lambda b, a, p, x: -a * gamma_density(b, a * x) / _by_a(b, a * x),
    ),
    (SHAPE, PROBABILITY, (1.0, 4.0)),
    "the inverse of gdtr in b",
)

# -- Poisson ------------------------------------------------------------------------------------------------


def _events(k: Any) -> Any:
    return np.floor(k) + 1


pdtr = _of_counts("pdtr", "k", lambda y, k, m: -gamma_density(_events(k), m), "1 - P(k + 1, m)")
pdtrc = _of_counts("pdtrc", "k", lambda y, k, m: gamma_density(_events(k), m), "P(k + 1, m)")
pdtri = _of_counts("pdtri", "k", lambda m, k, y: -1 / gamma_density(_events(k), m), "the inverse of pdtr in m")
pdtrik = _smooth(
    "pdtrik",
    (lambda k, p, m: -1 / _by_a(k + 1, m), lambda k, p, m: -gamma_density(k + 1, m) / _by_a(k + 1, m)),
    ((0.2, 0.9), (3.0, 6.0)),
    "the inverse of 1 - P(k + 1, m) in k, any real number",
)

# -- binomial: 1 - I(k + 1, n - k, p), and negative binomial: I(n, k + 1, p), with I = betainc ---------------


def _binomial_density(k: Any, n: Any, p: Any) -> Any:
    k = np.floor(k)
    within = k < n
    return np.where(within, beta_density(k + 1, np.where(within, n - k, 1), p), 0)


def _negative_density(k: Any, n: Any, p: Any) -> Any:
    return beta_density(n, np.floor(k) + 1, p)


bdtr = _of_counts("bdtr", "kn", lambda y, k, n, p: -_binomial_density(k, n, p), "the binomial distribution function")
bdtrc = _of_counts("bdtrc", "kn", lambda y, k, n, p: _binomial_density(k, n, p), "1 - bdtr")
bdtri = _of_counts("bdtri", "kn", lambda p, k, n, y: -1 / _binomial_density(k, n, p), "the inverse of bdtr in p")
nbdtr = _of_counts("nbdtr", "kn", lambda y, k, n, p: _negative_density(k, n, p), "the negative binomial distribution function")
nbdtrc = _of_counts("nbdtrc", "kn", lambda y, k, n, p: -_negative_density(k, n, p), "1 - nbdtr")
nbdtri = _of_counts("nbdtri", "kn", lambda p, k, n, y: 1 / _negative_density(k, n, p), "the inverse of nbdtr in p")


def _beta_by(a: Any, b: Any, x: Any) -> tuple:
    return betainc_by(a, b, x, order=(1, 0)), betainc_by(a, b, x, order=(0, 1)), beta_density(a, b, x)


def _implicit(gradient: Any, place: int, by: int) -> Any:
    """The derivative by the argument at ``by`` of what solves p = f for that at ``place``, where p stands among the arguments."""

    def rule(out: Any, *args: Any) -> Any:
        slopes = gradient(*args[:place], out, *args[place + 1 :])
        return (1 if by == place else -slopes[by]) / slopes[place]

    return rule


def _binomial(k: Any, n: Any, p: Any) -> tuple:
    by_a, by_b, by_x = _beta_by(k + 1, n - k, p)
    return by_b - by_a, -by_b, -by_x


def _negative(k: Any, n: Any, p: Any) -> tuple:
    by_a, by_b, by_x = _beta_by(n, k + 1, p)
    return by_b, by_a, by_x


def _inverse(name: str, gradient: Any, place: int, domains: tuple, source: str) -> Any:
    """The solution in the argument at ``place``, where the value of the function stands instead."""
    rules = tuple(_implicit(gradient, place, i) for i in range(3))
    return _smooth(name, rules, domains, source)


bdtrik = _inverse("bdtrik", _binomial, 0, ((0.3, 0.9), (6.0, 9.0), (0.3, 0.7)), "the inverse of bdtr in k, any real number")
bdtrin = _inverse("bdtrin", _binomial, 1, ((1.0, 3.0), (0.2, 0.8), (0.3, 0.7)), "the inverse of bdtr in n, any real number")
nbdtrik = _inverse("nbdtrik", _negative, 0, ((0.5, 0.9), (2.0, 4.0), (0.3, 0.5)), "the inverse of nbdtr in k, any real number")
nbdtrin = _inverse("nbdtrin", _negative, 1, ((2.0, 4.0), (0.3, 0.7), (0.4, 0.6)), "the inverse of nbdtr in n, any real number")
btdtria = _inverse("btdtria", _beta_by, 0, (PROBABILITY, SHAPE, (0.2, 0.8)), "the inverse of betainc in a")
btdtrib = _inverse("btdtrib", _beta_by, 1, (SHAPE, PROBABILITY, (0.2, 0.8)), "the inverse of betainc in b")

# -- F, Student's t -----------------------------------------------------------------------------------------


def _fisher(n: Any, d: Any, x: Any) -> tuple:
    """The slopes of fdtr = I(n / 2, d / 2, n x / (d + n x))."""
    whole = d + n * x
    by_a, by_b, by_x = _beta_by(n / 2, d / 2, n * x / whole)
    return by_a / 2 + by_x * x * d / whole**2, by_b / 2 - by_x * n * x / whole**2, by_x * n * d / whole**2


FISHER = ((1.0, 4.0), (1.0, 4.0), POSITIVE)
fdtr = _smooth("fdtr", tuple(lambda y, *args, i=i: _fisher(*args)[i] for i in range(3)), FISHER, "of the F distribution")
fdtrc = _smooth("fdtrc", tuple(lambda y, *args, i=i: -_fisher(*args)[i] for i in range(3)), FISHER, "1 - fdtr")
fdtri = _inverse("fdtri", _fisher, 2, ((1.0, 4.0), (1.0, 4.0), (0.2, 0.8)), "the inverse of fdtr in x")
fdtridfd = _inverse("fdtridfd", _fisher, 1, ((1.0, 1.5), (0.55, 0.6), (1.0, 1.1)), "the inverse of fdtr in its second argument")
stdtridf = _smooth(
    "stdtridf",
    (lambda df, p, t: 1 / student_by_freedom(df, t), lambda df, p, t: -student_density(df, t) / student_by_freedom(df, t)),
    ((0.8, 0.82), (1.0, 1.1)),
    "the inverse of stdtr in df",
)

# -- normal -------------------------------------------------------------------------------------------------


def _normal_width(p: Any) -> Any:
    """The derivative of ndtri."""
    return ROOT_TWO_PI * np.exp(ndtri(p) ** 2 / 2)


nrdtrimn = _smooth(
    "nrdtrimn",
    (lambda m, p, s, x: -s * _normal_width(p), lambda m, p, s, x: -ndtri(p), 1),
    (PROBABILITY, POSITIVE, ANY),
    "x - s ndtri(p)",
)
nrdtrisd = _smooth(
    "nrdtrisd",
    (lambda s, m, p, x: -1 / ndtri(p), lambda s, m, p, x: -s * _normal_width(p) / ndtri(p), lambda s, m, p, x: 1 / ndtri(p)),
    ((-3.0, 0.0), (0.6, 0.9), (0.5, 3.0)),
    "(x - m) / ndtri(p)",
)
owens_t = _smooth(
    "owens_t",
    (
        lambda y, h, a: -np.exp(-h * h / 2) * erf(a * h * ROOT_HALF) / (2 * ROOT_TWO_PI),
        lambda y, h, a: np.exp(-h * h * (1 + a * a) / 2) / (1 + a * a) / ROOT_TWO_PI**2,
    ),
    (ANY, ANY),
    "Owen 1956",
)

# -- noncentral chi-square ----------------------------------------------------------------------------------


def _noncentral_density(x: Any, df: Any, nc: Any) -> Any:
    near = np.exp(-((np.sqrt(x) - np.sqrt(nc)) ** 2) / 2)
    return near * (x / nc) ** (df / 4 - 0.5) * ive(df / 2 - 1, np.sqrt(nc * x)) / 2


_FREEDOM = "the derivative of a Bessel function by its order has no closed form"


def _noncentral(name: str, partials: tuple, domains: tuple, source: str) -> Any:
    def sample(rng: np.random.Generator, shape: tuple, dtype: Any) -> tuple:
        first, last = [rng.uniform(low, high, shape).astype(dtype) for low, high in domains]
        return (first, rng.integers(3, 5, shape), last), {}

    rules = (partials[0], no_derivative(name, "df", _FREEDOM), partials[1])
    return _special(name, rules, flops=400, domains=(), sample=sample, source=source)


chndtr = _noncentral(
    "chndtr",
    (lambda y, x, df, nc: _noncentral_density(x, df, nc), lambda y, x, df, nc: -_noncentral_density(x, df + 2, nc)),
    ((1.0, 6.0), (0.5, 3.0)),
    "Johnson, Kotz and Balakrishnan 1995, 29.3",
)
chndtrix = _noncentral(
    "chndtrix",
    (
        lambda x, p, df, nc: 1 / _noncentral_density(x, df, nc),
        lambda x, p, df, nc: _noncentral_density(x, df + 2, nc) / _noncentral_density(x, df, nc),
    ),
    ((0.2, 0.8), (0.5, 3.0)),
    "the inverse of chndtr in x",
)
chndtrinc = _noncentral(
    "chndtrinc",
    (
        lambda nc, x, df, p: _noncentral_density(x, df, nc) / _noncentral_density(x, df + 2, nc),
        lambda nc, x, df, p: -1 / _noncentral_density(x, df + 2, nc),
    ),
    ((8.0, 9.0), (0.3, 0.5)),
    "the inverse of chndtr in nc",
)

# -- Kolmogorov, Tukey --------------------------------------------------------------------------------------


def _kolmogorov_slope(x: Any) -> Any:
    """Of the two series for it, that in exp(-2 x^2) on the right, that in exp(-pi^2 / (8 x^2)) on the left."""
    right = x > 1
    above, below = np.where(right, x, 1), np.where(right | (x <= 0.02), 1, x)
    far = sum((-1) ** k * k * k * np.exp(-2 * (k * above) ** 2) for k in range(1, 6)) * 8 * above
    rates = [(2 * k - 1) ** 2 * np.pi**2 / 8 for k in range(1, 6)]
    near = sum((1 - 2 * r / below**2) * np.exp(-r / below**2) for r in rates) * ROOT_TWO_PI / below**2
    return np.where(right, far, np.where(x <= 0.02, 0, near))


kolmogorov = _smooth("kolmogorov", (lambda y, x: _kolmogorov_slope(x),), ((0.4, 2.0),), "DLMF 20.2.4; 20.7.33 on the left")
kolmogi = _smooth("kolmogi", (lambda x, p: 1 / _kolmogorov_slope(x),), (PROBABILITY,), "the inverse of kolmogorov")


def _tukey(rule: Any) -> Any:
    """A rule of (p, 1 - p, l) inside the support; 0 outside."""

    def partial(p: Any, x: Any, l: Any) -> Any:
        inside = (p > 0) & (p < 1)
        p = np.where(inside, p, 0.5)
        return np.where(inside, rule(p, 1 - p, l) / (p ** (l - 1) + (1 - p) ** (l - 1)), 0)

    return partial


tklmbda = _smooth(
    "tklmbda",
    (_tukey(lambda p, q, l: 1.0), _tukey(lambda p, q, l: by_power(np.log(q), l) - by_power(np.log(p), l))),
    ((-0.4, 0.4), (0.3, 1.8)),
    "Tukey's lambda, the inverse of (p^l - (1 - p)^l) / l",
)
