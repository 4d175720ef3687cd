"""`scipy.stats`: densities, distribution functions and quantiles, differentiable in the variable and in all parameters.

Arguments are SciPy's: the variable, shape parameters, ``loc=0``, ``scale=1``; arrays and nodes alike. A distribution says what it
is on its standard scale, in logarithms where tails need it; the rest follows in one place. Outside of the support the
density is 0, with derivative 0; where a parameter is none, NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.special as sp

from fad.errors import TraceError
from fad.numpy import linalg
from fad.numpy.dispatch import as_array, floating
from fad.scipy.linalg import solve_triangular

__all__ = [
    *("norm", "lognorm", "halfnorm", "t", "cauchy", "laplace", "logistic", "expon", "gamma", "invgamma", "beta", "chi2", "pareto"),
    *("weibull_min", "uniform", "truncnorm", "vonmises", "gumbel_r", "bernoulli", "binom", "poisson", "nbinom", "geom"),
    *("multivariate_normal", "dirichlet", "multinomial"),
]

LOG_ROOT_TWO_PI = 0.9189385332046727
Function = Callable[..., Any]


def _number(x: Any) -> Any:
    """An argument as floats; Python's numbers stay such, which promote weakly."""
    return float(x) if isinstance(x, int | float) and not isinstance(x, np.generic) else floating(x)


# -- continuous ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Continuous:
    """A distribution with a density, on its standard scale: functions of (x, *shapes).

    ``support(*shapes)`` gives the ends; ``valid(*shapes)`` says which parameters are some; of cdf and sf, logcdf and logsf those
    that are not given are made of the others.
    """

    name: str
    shapes: int
    log_density: Function
    cdf_: Function | None = None
    sf_: Function | None = None
    logcdf_: Function | None = None
    logsf_: Function | None = None
    quantile: Function | None = None
    upper: Function | None = None  # the inverse of sf
    support: Function = lambda *shapes: (-np.inf, np.inf)
    valid: Function = lambda *shapes: True
    closed: bool = True  # whether there is a density at the ends of the support

    def __repr__(self) -> str:
        return f"fad.scipy.stats.{self.name}"

    def _split(self, given: tuple, loc: Any, scale: Any) -> tuple:
        if not self.shapes <= len(given) <= self.shapes + 2:
            raise TraceError(
                f"{self!r}: the number of parameters",
                got=f"{len(given)}",
                rule=f"{self.shapes} of shape, then loc and scale",
                fix=f"see scipy.stats.{self.name}",
            )
        rest = given[self.shapes :]
        loc = rest[0] if rest else loc
        scale = rest[1] if len(rest) > 1 else scale
        return tuple(map(_number, given[: self.shapes])), _number(loc), _number(scale)

    def _at(
        self, function: Function, x: Any, given: tuple, loc: Any, scale: Any, below: float, above: float, closed: bool = False
    ) -> Any:
        """A function inside of the support, its ends included where it is ``closed``, and numbers outside of it."""
        shapes, loc, scale = self._split(given, loc, scale)
        z = (floating(x) - loc) / scale
        low, high = self.support(*shapes)
        inside = (z >= low) & (z <= high) if closed else (z > low) & (z < high)
        some = np.where(inside, z, _within(low, high))
        y = function(some, *shapes)
        y = np.where(inside, y, np.where(z <= low, below, np.where(np.isnan(z), np.nan, above))).astype(z.dtype)
        return np.where((scale > 0) & self.valid(*shapes), y, np.nan)

    def logpdf(self, x: Any, *args: Any, loc: Any = 0.0, scale: Any = 1.0) -> Any:
        """The logarithm of the density, -inf outside of the support."""
        scaled = self._split(args, loc, scale)[2]
        return self._at(self.log_density, x, args, loc, scale, -np.inf, -np.inf, closed=self.closed) - _log(scaled)

    def pdf(self, x: Any, *args: Any, loc: Any = 0.0, scale: Any = 1.0) -> Any:
        """The density."""
        return np.exp(self.logpdf(x, *args, loc=loc, scale=scale))

    def cdf(self, x: Any, *args: Any, loc: Any = 0.0, scale: Any = 1.0) -> Any:
        """The probability of at most x."""
        return self._at(self._cdf, x, args, loc, scale, 0.0, 1.0)

    def sf(self, x: Any, *args: Any, loc: Any = 0.0, scale: Any = 1.0) -> Any:
        """The probability of more than x."""
        return self._at(self._sf, x, args, loc, scale, 1.0, 0.0)

    def logcdf(self, x: Any, *args: Any, loc: Any = 0.0, scale: Any = 1.0) -> Any:
        """The logarithm of the probability of at most x."""
        return self._at(self._logcdf, x, args, loc, scale, -np.inf, 0.0)

    def logsf(self, x: Any, *args: Any, loc: Any = 0.0, scale: Any = 1.0) -> Any:
        """The logarithm of the probability of more than x."""
        return self._at(self._logsf, x, args, loc, scale, 0.0, -np.inf)

    def ppf(self, q: Any, *args: Any, loc: Any = 0.0, scale: Any = 1.0) -> Any:
        """The quantile: the inverse of `cdf`."""
        return self._inverse(self.quantile, "ppf", q, args, loc, scale)

    def isf(self, q: Any, *args: Any, loc: Any = 0.0, scale: Any = 1.0) -> Any:
        """The inverse of `sf`."""
        if self.upper is None:
            return self.ppf(1.0 - _number(q), *args, loc=loc, scale=scale)
        return self._inverse(self.upper, "isf", q, args, loc, scale)

    def _inverse(self, function: Function | None, what: str, q: Any, given: tuple, loc: Any, scale: Any) -> Any:
        if function is None:
            raise TraceError(
                f"{self!r}.{what} has no rule in fad",
                got="",
                rule="its inverse has no closed form",
                fix="fad.scipy.optimize.brentq of cdf",
            )
        shapes, loc, scale = self._split(given, loc, scale)
        q = floating(q)
        ok = (q >= 0) & (q <= 1) & (scale > 0) & self.valid(*shapes)
        return np.where(ok, function(np.where(ok, q, 0.5), *shapes) * scale + loc, np.nan)

    # what is not given follows from what is

    def _cdf(self, z: Any, *s: Any) -> Any:
        if self.cdf_:
            return self.cdf_(z, *s)
        return 1.0 - self.sf_(z, *s) if self.sf_ else np.exp(self._logcdf(z, *s))

    def _sf(self, z: Any, *s: Any) -> Any:
        if self.sf_:
            return self.sf_(z, *s)
        return np.exp(self.logsf_(z, *s)) if self.logsf_ else 1.0 - self._cdf(z, *s)

    def _logcdf(self, z: Any, *s: Any) -> Any:
        return self.logcdf_(z, *s) if self.logcdf_ else _log_of(self._cdf(z, *s), self._sf(z, *s))

    def _logsf(self, z: Any, *s: Any) -> Any:
        return self.logsf_(z, *s) if self.logsf_ else _log_of(self._sf(z, *s), self._cdf(z, *s))


def _log(x: Any) -> Any:
    """The logarithm, a Python number of one."""
    return float(np.log(x)) if isinstance(x, float) and not isinstance(x, np.generic) else np.log(x)


def _log_of(p: Any, rest: Any) -> Any:
    """log p for ``p + rest = 1``, by the smaller of them."""
    return np.where(p < 0.5, np.log(p), np.log1p(-rest))


def _within(low: Any, high: Any) -> Any:
    """A place in a support, for what lies outside of it."""
    below, above = np.isfinite(low), np.isfinite(high)
    begin, end = np.where(below, low, 0.0), np.where(above, high, 0.0)
    return np.where(below & above, 0.5 * (begin + end), np.where(below, begin + 1.0, 0.0))


def _positive(*shapes: Any) -> Any:
    """Whether all are above 0."""
    ok: Any = True
    for s in shapes:
        ok = ok & (s > 0)
    return ok


POSITIVE = lambda *shapes: (0.0, np.inf)
UNIT = lambda *shapes: (0.0, 1.0)

norm = Continuous(
    "norm", 0,
    lambda z: -0.5 * z * z - LOG_ROOT_TWO_PI,
    cdf_=lambda z: sp.ndtr(z), sf_=lambda z: sp.ndtr(-z), logcdf_=lambda z: sp.log_ndtr(z), logsf_=lambda z: sp.log_ndtr(-z),
    quantile=lambda q: sp.ndtri(q), upper=lambda q: -sp.ndtri(q),
)  # fmt: skip
lognorm = Continuous(
    "lognorm", 1,
    lambda x, s: -0.5 * (np.log(x) / s) ** 2 - LOG_ROOT_TWO_PI - np.log(s * x),
    cdf_=lambda x, s: sp.ndtr(np.log(x) / s), sf_=lambda x, s: sp.ndtr(-np.log(x) / s),
    logcdf_=lambda x, s: sp.log_ndtr(np.log(x) / s), logsf_=lambda x, s: sp.log_ndtr(-np.log(x) / s),
    quantile=lambda q, s: np.exp(s * sp.ndtri(q)), upper=lambda q, s: np.exp(-s * sp.ndtri(q)),
    support=POSITIVE, valid=_positive, closed=False,
)  # fmt: skip
halfnorm = Continuous(
    "halfnorm", 0,
    lambda x: 0.5 * np.log(2 / np.pi) - 0.5 * x * x,
    cdf_=lambda x: sp.erf(x / np.sqrt(2)), sf_=lambda x: sp.erfc(x / np.sqrt(2)), logsf_=lambda x: np.log(2) + sp.log_ndtr(-x),
    quantile=lambda q: np.sqrt(2) * sp.erfinv(q), upper=lambda q: -sp.ndtri(q / 2), support=POSITIVE,
)  # fmt: skip
t = Continuous(
    "t", 1,
    lambda x, v: sp.gammaln((v + 1) / 2) - sp.gammaln(v / 2) - 0.5 * np.log(np.pi * v) - (v + 1) / 2 * np.log1p(x * x / v),
    cdf_=lambda x, v: sp.stdtr(v, x), sf_=lambda x, v: sp.stdtr(v, -x),
    quantile=lambda q, v: sp.stdtrit(v, q), upper=lambda q, v: -sp.stdtrit(v, q), valid=_positive,
)  # fmt: skip
cauchy = Continuous(
    "cauchy", 0,
    lambda x: -np.log(np.pi) - np.log1p(x * x),
    cdf_=lambda x: np.arctan2(1.0, -x) / np.pi, sf_=lambda x: np.arctan2(1.0, x) / np.pi,
    quantile=lambda q: -1 / np.tan(np.pi * q), upper=lambda q: 1 / np.tan(np.pi * q),
)  # fmt: skip
laplace = Continuous(
    "laplace", 0,
    lambda x: -np.abs(x) - np.log(2),
    cdf_=lambda x: np.where(x > 0, 1 - 0.5 * np.exp(-np.abs(x)), 0.5 * np.exp(-np.abs(x))),
    sf_=lambda x: np.where(x > 0, 0.5 * np.exp(-np.abs(x)), 1 - 0.5 * np.exp(-np.abs(x))),
    logcdf_=lambda x: np.where(x > 0, np.log1p(-0.5 * np.exp(-np.abs(x))), x - np.log(2)),
    logsf_=lambda x: np.where(x > 0, -x - np.log(2), np.log1p(-0.5 * np.exp(-np.abs(x)))),
    quantile=lambda q: np.where(q > 0.5, -np.log(2 * (1 - q)), np.log(2 * q)),
    upper=lambda q: np.where(q > 0.5, np.log(2 * (1 - q)), -np.log(2 * q)),
)  # fmt: skip
logistic = Continuous(
    "logistic", 0,
    lambda x: -np.abs(x) - 2 * np.log1p(np.exp(-np.abs(x))),
    cdf_=lambda x: sp.expit(x), sf_=lambda x: sp.expit(-x), logcdf_=lambda x: sp.log_expit(x), logsf_=lambda x: sp.log_expit(-x),
    quantile=lambda q: sp.logit(q), upper=lambda q: -sp.logit(q),
)  # fmt: skip
expon = Continuous(
    "expon", 0,
    lambda x: -x,
    cdf_=lambda x: -np.expm1(-x), sf_=lambda x: np.exp(-x), logsf_=lambda x: -x,
    quantile=lambda q: -np.log1p(-q), upper=lambda q: -np.log(q), support=POSITIVE,
)  # fmt: skip
gamma = Continuous(
    "gamma", 1,
    lambda x, a: sp.xlogy(a - 1, x) - x - sp.gammaln(a),
    cdf_=lambda x, a: sp.gammainc(a, x), sf_=lambda x, a: sp.gammaincc(a, x),
    quantile=lambda q, a: sp.gammaincinv(a, q), upper=lambda q, a: sp.gammainccinv(a, q), support=POSITIVE, valid=_positive,
)  # fmt: skip
invgamma = Continuous(
    "invgamma", 1,
    lambda x, a: -(a + 1) * np.log(x) - 1 / x - sp.gammaln(a),
    cdf_=lambda x, a: sp.gammaincc(a, 1 / x), sf_=lambda x, a: sp.gammainc(a, 1 / x),
    quantile=lambda q, a: 1 / sp.gammainccinv(a, q), upper=lambda q, a: 1 / sp.gammaincinv(a, q),
    support=POSITIVE, valid=_positive, closed=False,
)  # fmt: skip
chi2 = Continuous(
    "chi2", 1,
    lambda x, k: sp.xlogy(k / 2 - 1, x) - x / 2 - sp.gammaln(k / 2) - k / 2 * np.log(2),
    cdf_=lambda x, k: sp.gammainc(k / 2, x / 2), sf_=lambda x, k: sp.gammaincc(k / 2, x / 2),
    quantile=lambda q, k: 2 * sp.gammaincinv(k / 2, q), upper=lambda q, k: 2 * sp.gammainccinv(k / 2, q),
    support=POSITIVE, valid=_positive,
)  # fmt: skip
beta = Continuous(
    "beta", 2,
    lambda x, a, b: sp.xlogy(a - 1, x) + sp.xlog1py(b - 1, -x) - sp.betaln(a, b),
    cdf_=lambda x, a, b: sp.betainc(a, b, x), sf_=lambda x, a, b: sp.betaincc(a, b, x),
    quantile=lambda q, a, b: sp.betaincinv(a, b, q), upper=lambda q, a, b: sp.betainccinv(a, b, q), support=UNIT, valid=_positive,
)  # fmt: skip
pareto = Continuous(
    "pareto", 1,
    lambda x, b: np.log(b) - (b + 1) * np.log(x),
    cdf_=lambda x, b: -np.expm1(-b * np.log(x)), sf_=lambda x, b: x**-b, logsf_=lambda x, b: -b * np.log(x),
    quantile=lambda q, b: np.exp(-np.log1p(-q) / b), upper=lambda q, b: q ** (-1 / b),
    support=lambda b: (1.0, np.inf), valid=_positive,
)  # fmt: skip
weibull_min = Continuous(
    "weibull_min", 1,
    lambda x, c: np.log(c) + sp.xlogy(c - 1, x) - x**c,
    cdf_=lambda x, c: -np.expm1(-(x**c)), sf_=lambda x, c: np.exp(-(x**c)), logsf_=lambda x, c: -(x**c),
    quantile=lambda q, c: (-np.log1p(-q)) ** (1 / c), upper=lambda q, c: (-np.log(q)) ** (1 / c), support=POSITIVE, valid=_positive,
)  # fmt: skip
uniform = Continuous(
    "uniform", 0,
    lambda x: 0.0 * x,
    cdf_=lambda x: x, sf_=lambda x: 1 - x, logcdf_=lambda x: np.log(x), logsf_=lambda x: np.log1p(-x),
    quantile=lambda q: q, upper=lambda q: 1 - q, support=UNIT,
)  # fmt: skip
gumbel_r = Continuous(
    "gumbel_r", 0,
    lambda x: -x - np.exp(-x),
    cdf_=lambda x: np.exp(-np.exp(-x)), sf_=lambda x: -np.expm1(-np.exp(-x)), logcdf_=lambda x: -np.exp(-x),
    quantile=lambda q: -np.log(-np.log(q)), upper=lambda q: -np.log(-np.log1p(-q)),
)  # fmt: skip


def _mass(a: Any, b: Any) -> Any:
    """log(ndtr(b) - ndtr(a)), from the tail where both lie."""
    flip = a > 0
    a, b = np.where(flip, -b, a), np.where(flip, -a, b)
    low, high = sp.log_ndtr(a), sp.log_ndtr(b)
    return high + np.log(-np.expm1(low - high))


truncnorm = Continuous(
    "truncnorm", 2,
    lambda x, a, b: -0.5 * x * x - LOG_ROOT_TWO_PI - _mass(a, b),
    logcdf_=lambda x, a, b: _mass(a, x) - _mass(a, b), logsf_=lambda x, a, b: _mass(x, b) - _mass(a, b),
    quantile=lambda q, a, b: _from_mass(q, a, b),
    support=lambda a, b: (a, b), valid=lambda a, b: a < b,
)  # fmt: skip


def _from_mass(q: Any, a: Any, b: Any) -> Any:
    """The place below which a share q of the mass between a and b lies."""
    flip = a > 0
    low, high, share = np.where(flip, -b, a), np.where(flip, -a, b), np.where(flip, 1 - q, q)
    x = sp.ndtri_exp(np.logaddexp(sp.log_ndtr(low), np.log(share) + _mass(low, high)))
    return np.where(flip, -x, x)


vonmises = Continuous(
    "vonmises", 1,
    lambda x, kappa: kappa * (np.cos(x) - 1) - np.log(2 * np.pi * sp.i0e(kappa)),
    valid=lambda kappa: kappa >= 0,
)  # fmt: skip

# -- discrete ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Discrete:
    """A distribution on whole numbers from ``support(*shapes)``: functions of (k, *shapes); ``loc`` moves it."""

    name: str
    shapes: int
    log_mass: Function
    cdf_: Function
    sf_: Function
    support: Function
    valid: Function

    def __repr__(self) -> str:
        return f"fad.scipy.stats.{self.name}"

    def _at(self, function: Function, k: Any, shapes: tuple, loc: Any, below: float, above: float, exact: bool) -> Any:
        if len(shapes) == self.shapes + 1:
            *shapes, loc = shapes  # type: ignore[assignment]
        shapes = tuple(map(_number, shapes))
        k = floating(k) - loc
        low, high = self.support(*shapes)
        whole = np.floor(k)
        inside = (k >= low) & (k <= high) & ((k == whole) if exact else (whole < high))
        y = function(np.where(inside, whole, low), *shapes)
        y = np.where(inside, y, np.where((k < low) | exact, below, above))
        return np.where(self.valid(*shapes) & ~np.isnan(k), y, np.nan)

    def logpmf(self, k: Any, *args: Any, loc: Any = 0) -> Any:
        """The logarithm of the probability of k; -inf where k is not whole or not in the support."""
        return self._at(self.log_mass, k, args, loc, -np.inf, -np.inf, exact=True)

    def pmf(self, k: Any, *args: Any, loc: Any = 0) -> Any:
        """The probability of k."""
        return np.exp(self.logpmf(k, *args, loc=loc))

    def cdf(self, k: Any, *args: Any, loc: Any = 0) -> Any:
        """The probability of at most k."""
        return self._at(self.cdf_, k, args, loc, 0.0, 1.0, exact=False)

    def sf(self, k: Any, *args: Any, loc: Any = 0) -> Any:
        """The probability of more than k."""
        return self._at(self.sf_, k, args, loc, 1.0, 0.0, exact=False)

    def logcdf(self, k: Any, *args: Any, loc: Any = 0) -> Any:
        """The logarithm of `cdf`."""
        return np.log(self.cdf(k, *args, loc=loc))

    def logsf(self, k: Any, *args: Any, loc: Any = 0) -> Any:
        """The logarithm of `sf`."""
        return np.log(self.sf(k, *args, loc=loc))


def _is_probability(p: Any) -> Any:
    return (p >= 0) & (p <= 1)


def _choices(n: Any, k: Any) -> Any:
    """log(n over k)."""
    return sp.gammaln(n + 1) - sp.gammaln(k + 1) - sp.gammaln(n - k + 1)


NATURAL = lambda *shapes: (0.0, np.inf)
binom = Discrete(
    "binom", 2,
    lambda k, n, p: _choices(n, k) + sp.xlogy(k, p) + sp.xlog1py(n - k, -p),
    lambda k, n, p: sp.betainc(np.maximum(n - k, 0.5), k + 1, 1 - p), lambda k, n, p: sp.betainc(k + 1, np.maximum(n - k, 0.5), p),
    lambda n, p: (0.0, n), lambda n, p: _is_probability(p) & (n >= 0),
)  # fmt: skip
bernoulli = Discrete(
    "bernoulli", 1,
    lambda k, p: sp.xlogy(k, p) + sp.xlog1py(1 - k, -p),
    lambda k, p: 1 - p + 0 * k, lambda k, p: p + 0 * k, lambda p: (0.0, 1.0), _is_probability,
)  # fmt: skip
poisson = Discrete(
    "poisson", 1,
    lambda k, mu: sp.xlogy(k, mu) - sp.gammaln(k + 1) - mu,
    lambda k, mu: sp.gammaincc(k + 1, mu), lambda k, mu: sp.gammainc(k + 1, mu), NATURAL, lambda mu: mu >= 0,
)  # fmt: skip
nbinom = Discrete(
    "nbinom", 2,
    lambda k, n, p: sp.gammaln(n + k) - sp.gammaln(k + 1) - sp.gammaln(n) + n * np.log(p) + sp.xlog1py(k, -p),
    lambda k, n, p: sp.betainc(n, k + 1, p), lambda k, n, p: sp.betaincc(n, k + 1, p),
    NATURAL, lambda n, p: (n > 0) & (p > 0) & (p <= 1),
)  # fmt: skip
geom = Discrete(
    "geom", 1,
    lambda k, p: np.log(p) + sp.xlog1py(k - 1, -p),
    lambda k, p: -np.expm1(sp.xlog1py(k, -p)), lambda k, p: np.exp(sp.xlog1py(k, -p)),
    lambda p: (1.0, np.inf), lambda p: (p > 0) & (p <= 1),
)  # fmt: skip

# -- of several variables ------------------------------------------------------------------------------------------------


class multivariate_normal:
    """The normal distribution of vectors, along the last axis; one Cholesky factor for value and derivatives."""

    @staticmethod
    def logpdf(x: Any, mean: Any = None, cov: Any = 1.0, allow_singular: bool = False) -> Any:
        """``-((x - mean)^T cov^-1 (x - mean) + log det(2 pi cov)) / 2``; a ``cov`` with one axis is the diagonal.

        Raises SingularError where cov is not positive definite.
        """
        if allow_singular:
            raise TraceError("multivariate_normal: no derivative with allow_singular=True", got="", rule="cov has an inverse",
                             fix="a density on the space that cov spans")  # fmt: skip
        x, cov = floating(x), floating(cov)
        mean = 0.0 if mean is None else floating(mean)
        n = max([a.shape[-1] for a in (x, mean) if getattr(a, "ndim", 0)] + [cov.shape[-1] if cov.ndim else 1])
        if x.ndim == 0:
            x = x[None]
        elif n == 1 and x.shape[-1] != 1:
            x = x[..., None]
        z = x - mean
        if cov.ndim < 2:
            scale = np.sqrt(np.broadcast_to(cov, (n,)))
            w, log = z / scale, np.sum(np.log(scale))
        else:
            factor = linalg.cholesky(cov)
            flat = np.reshape(z, (-1, n))
            w = np.swapaxes(solve_triangular(factor, np.swapaxes(flat, 0, 1), lower=True), 0, 1)
            w, log = np.reshape(w, z.shape), np.sum(np.log(np.diagonal(factor)))
        return -0.5 * np.sum(w * w, axis=-1) - log - n * LOG_ROOT_TWO_PI

    @staticmethod
    def pdf(x: Any, mean: Any = None, cov: Any = 1.0, allow_singular: bool = False) -> Any:
        """The density."""
        return np.exp(multivariate_normal.logpdf(x, mean, cov, allow_singular))

    @staticmethod
    def entropy(mean: Any = None, cov: Any = 1.0) -> Any:
        """``log det(2 pi e cov) / 2``."""
        cov = floating(cov)
        cov = cov * np.eye(1) if cov.ndim == 0 else np.diag(cov) if cov.ndim == 1 else cov
        return 0.5 * (cov.shape[-1] * (np.log(2 * np.pi) + 1) + linalg.slogdet(cov).logabsdet)


class dirichlet:
    """The Dirichlet distribution of probabilities, along axis 0."""

    @staticmethod
    def logpdf(x: Any, alpha: Any) -> Any:
        """``sum((alpha - 1) log x) - log B(alpha)``; the last probability may be left out."""
        x, alpha = floating(x), floating(alpha)
        if x.shape[0] + 1 == alpha.shape[0]:
            x = np.concatenate([x, 1 - np.sum(x, axis=0, keepdims=True)], axis=0)
        powers = np.reshape(alpha, (-1, *(1,) * (x.ndim - 1)))
        return np.sum(sp.xlogy(powers - 1, x), axis=0) - np.sum(sp.gammaln(alpha)) + sp.gammaln(np.sum(alpha))

    @staticmethod
    def pdf(x: Any, alpha: Any) -> Any:
        """The density."""
        return np.exp(dirichlet.logpdf(x, alpha))


class multinomial:
    """Counts of n draws, along the last axis."""

    @staticmethod
    def logpmf(x: Any, n: Any, p: Any) -> Any:
        """``log(n! / prod(x!)) + sum(x log p)``; -inf where the counts are not n in all."""
        x, p = floating(x), floating(p)
        n = as_array(n)
        y = sp.gammaln(n + 1.0) + np.sum(sp.xlogy(x, p) - sp.gammaln(x + 1), axis=-1)
        fits = (np.sum(x, axis=-1) == n) & np.all((x >= 0) & (x == np.floor(x)), axis=-1)
        return np.where(fits, y, -np.inf)

    @staticmethod
    def pmf(x: Any, n: Any, p: Any) -> Any:
        """The probability."""
        return np.exp(multinomial.logpmf(x, n, p))
