"""Distributions: SciPy's values over grids with tails, derivatives in the variable and all parameters, compiled and in float32."""

import numpy as np
import pytest
import scipy.stats as ss

import fad
import fad.scipy.stats as fs
from fad.testing import check_grads

WIDE = np.array([-40.0, -9.0, -2.5, -0.3, 0.4, 1.7, 6.0, 38.0])
ABOVE = np.array([-1.0, 1e-8, 0.02, 0.5, 1.3, 4.0, 30.0, 300.0])
SHARE = np.array([-0.5, 1e-9, 0.01, 0.3, 0.6, 0.98, 1.5])
Q = np.array([1e-12, 1e-3, 0.3, 0.5, 0.9, 0.999])
# name: shapes, where to look, where to differentiate
CONTINUOUS = {
    "norm": ((), WIDE, 0.7),
    "lognorm": ((0.8,), ABOVE, 0.7),
    "halfnorm": ((), ABOVE, 0.7),
    "t": ((3.5,), WIDE, 0.7),
    "cauchy": ((), WIDE, 0.7),
    "laplace": ((), WIDE, 0.7),
    "logistic": ((), WIDE, 0.7),
    "expon": ((), ABOVE, 0.7),
    "gamma": ((2.3,), ABOVE, 1.7),
    "invgamma": ((2.3,), ABOVE, 0.7),
    "beta": ((2.2, 0.7), SHARE, 0.3),
    "chi2": ((3.0,), ABOVE, 1.7),
    "pareto": ((2.5,), ABOVE + 1, 1.7),
    "weibull_min": ((1.6,), ABOVE, 0.9),
    "uniform": ((), SHARE, 0.3),
    "gumbel_r": ((), WIDE[2:], 0.7),
    "truncnorm": ((-1.0, 2.5), WIDE, 0.7),
    "vonmises": ((1.7,), np.linspace(-3, 3, 7), 0.7),
}
DISCRETE = {
    "binom": ((7.0, 0.3), np.arange(-1.0, 9.0, 0.5)),
    "bernoulli": ((0.3,), np.array([-1.0, 0.0, 0.5, 1.0, 2.0])),
    "poisson": ((2.5,), np.arange(-1.0, 9.0, 0.5)),
    "nbinom": ((2.5, 0.4), np.arange(-1.0, 9.0, 0.5)),
    "geom": ((0.3,), np.arange(-1.0, 9.0, 0.5)),
}
METHODS = ("logpdf", "pdf", "cdf", "sf", "logcdf", "logsf")


def has(name, method):
    return not (name == "vonmises" and method not in ("logpdf", "pdf"))


def close(y, expected, **more):
    np.testing.assert_allclose(y, expected, **{"rtol": 1e-9, "atol": 1e-300} | more)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CONTINUOUS)
def test_values_are_scipys(name):
    shapes, x, _ = CONTINUOUS[name]
    ours, theirs = getattr(fs, name), getattr(ss, name)
    for method in METHODS:
        if not has(name, method):
            continue
        for more in ((), (0.5, 2.0)):
            expected = getattr(theirs, method)(x, *shapes, *more)
            y = getattr(ours, method)(x, *shapes, *more)
            if method in ("logcdf", "logsf"):  # SciPy's are log(cdf) for some
                expected, y = np.where(expected < -600, 0, expected), np.where(expected < -600, 0, y)
            close(y, expected, rtol=1e-7, atol=1e-250, err_msg=f"{name}.{method}")
    if name != "vonmises":
        close(ours.ppf(Q, *shapes), theirs.ppf(Q, *shapes), rtol=1e-7, atol=1e-12)
        close(ours.isf(Q, *shapes, 1.0, 2.0), theirs.isf(Q, *shapes, 1.0, 2.0), rtol=1e-7, atol=1e-12)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CONTINUOUS)
def test_derivatives_in_everything(name):
    shapes, _, at = CONTINUOUS[name]
    ours = getattr(fs, name)
    args = (np.array([at]), *map(np.float64, shapes), np.float64(0.05), np.float64(1.1))
    for method in METHODS:
        if has(name, method):
            check_grads(lambda *xs, m=method: getattr(ours, m)(*xs), args, order=1)
    check_grads(lambda *xs: ours.logpdf(*xs), args, order=2)
    if name != "vonmises":
        check_grads(lambda *xs: ours.ppf(*xs), (np.array([0.3]), *args[1:]), order=1)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", DISCRETE)
def test_counts(name):
    shapes, k = DISCRETE[name]
    ours, theirs = getattr(fs, name), getattr(ss, name)
    for method in ("logpmf", "pmf", "cdf", "sf"):
        close(getattr(ours, method)(k, *shapes), getattr(theirs, method)(k, *shapes), rtol=1e-8, atol=1e-15, err_msg=method)
        check_grads(
            lambda p, m=method: np.sum(
                getattr(ours, m)(np.array([0.0, 1.0]) if name == "bernoulli" else np.array([1.0, 3.0]), *shapes[:-1], p)
                * np.array([1.0, 2.0])
            ),
            (np.float64(shapes[-1]),),
        )


def test_outside_of_the_support_and_of_the_parameters():
    assert fad.grad(lambda x: fs.gamma.pdf(x, 2.0))(-1.0) == 0
    assert fad.grad(lambda a: fs.gamma.logpdf(-1.0, a))(2.0) == 0
    assert fs.beta.logpdf(2.0, 1.0, 1.0) == -np.inf
    assert np.isnan(fs.gamma.logpdf(1.0, -1.0)) and np.isnan(fs.norm.pdf(0.0, 0.0, -1.0)) and np.isnan(fs.norm.cdf(np.nan))


def test_tails():
    assert fad.grad(fs.norm.logsf)(40.0) == pytest.approx(-40.0249688, rel=1e-7)
    assert fad.grad(fs.norm.logcdf)(-1e5) == pytest.approx(1e5, rel=1e-7)
    assert np.isfinite(fad.grad(lambda a: fs.truncnorm.logpdf(21.0, a, 25.0))(20.0))


@pytest.mark.parametrize("name", ["norm", "t", "gamma", "beta"])
def test_compiled_and_float32(name):
    shapes, _, at = CONTINUOUS[name]
    ours, x = getattr(fs, name), np.linspace(0.1, 0.9, 50)
    f = lambda *p: np.sum(ours.logpdf(x, *p) + ours.cdf(x, *p))
    places = tuple(range(len(shapes) + 2))
    p = (*shapes, 0.01, 1.2)
    np.testing.assert_allclose(fad.jit(fad.grad(f, places))(*p), fad.grad(f, places)(*p), rtol=1e-9)
    assert ours.logpdf(x.astype(np.float32), *map(np.float32, shapes)).dtype == np.float32
    assert fad.vmap(lambda loc: ours.logpdf(at, *shapes, loc))(np.zeros(3)).shape == (3,)


def test_of_several_variables():
    rng = np.random.default_rng(0)
    x, mean, half = rng.normal(size=(5, 3)), rng.normal(size=3), rng.normal(size=(3, 3))
    cov = half @ half.T + np.eye(3)
    close(fs.multivariate_normal.logpdf(x, mean, cov), ss.multivariate_normal.logpdf(x, mean, cov))
    close(
        fs.multivariate_normal.logpdf(x[0], mean, np.array([1.0, 2.0, 3.0])),
        ss.multivariate_normal.logpdf(x[0], mean, [1.0, 2.0, 3.0]),
    )
    close(fs.multivariate_normal.pdf(0.3), ss.multivariate_normal.pdf(0.3))
    close(fs.multivariate_normal.entropy(mean, cov), ss.multivariate_normal.entropy(mean, cov))
    check_grads(lambda x, m, h: np.sum(fs.multivariate_normal.logpdf(x, m, h @ h.T + np.eye(3))), (x, mean, half), order=2)
    p, alpha = np.array([0.2, 0.3, 0.5]), np.array([1.5, 0.7, 2.0])
    close(fs.dirichlet.logpdf(p, alpha), ss.dirichlet.logpdf(p, alpha))
    check_grads(lambda p, a: fs.dirichlet.logpdf(p, a), (p, alpha), order=2)
    counts = np.array([[2.0, 1.0, 3.0], [6.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    close(fs.multinomial.logpmf(counts, 6, p), ss.multinomial.logpmf(counts, 6, p))
    check_grads(lambda p: fs.multinomial.logpmf(counts[:2], 6, p), (p,), order=2)


def test_scipys_own_distributions():
    x = np.array([0.3, 1.2])
    for f in (
        lambda x, m: ss.norm.logpdf(x, m, 2.0),
        lambda x, m: ss.norm.logpdf(x, loc=m, scale=2.0),
        lambda x, m: ss.norm(0.0, 2.0).logpdf(x - m),
        lambda x, m: ss.gamma.cdf(x, 2.0, scale=1 + m),
        lambda x, m: ss.poisson.logpmf(np.array([1, 3]), np.exp(m)) + x,
    ):
        check_grads(lambda x, m, f=f: np.sum(f(x, m)), (x, 0.1), order=1)
    assert ss.norm.logpdf(0.0) == pytest.approx(-0.9189385332046727)
    with pytest.raises(fad.errors.TraceError, match="no rule"):
        fad.grad(lambda x: ss.alpha.logpdf(x, 1.0))(1.0)
