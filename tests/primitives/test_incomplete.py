"""Incomplete gamma and beta functions, Student's t: derivatives by their parameters against mpmath, far into the tails."""

import mpmath
import numpy as np
import pytest
import scipy.special as sc

import fad
from fad.primitives.incomplete import betainc_by, gammainc_by
from fad.testing import check_grads

m = mpmath
RNG = np.random.default_rng(0)


def slope(f, v):
    """A central difference in 60 digits."""
    with m.workdps(60):
        v, h = m.mpf(v), m.mpf(v) * m.mpf(10) ** -18
        return float((f(v + h) - f(v - h)) / (2 * h))


def log_uniform(low, high):
    return float(10 ** RNG.uniform(low, high))


def gamma_points():
    for _ in range(40):
        a, p = log_uniform(-2, 4), log_uniform(-10, 0)
        for inverse in (sc.gammaincinv, sc.gammainccinv):
            x = float(inverse(a, p))
            if x > 1e-290:
                yield a, x


def beta_points():
    for _ in range(20):
        a, b, p = log_uniform(-2, 4), log_uniform(-2, 4), log_uniform(-10, 0)
        for inverse in (sc.betaincinv, sc.betainccinv):
            x = float(inverse(a, b, p))
            if 1e-290 < x < 1 - 1e-15:
                yield a, b, x


def beta_tail(a, b, x):
    """betainc as a series of positive terms, DLMF 8.17.8."""
    return x**a * (1 - x) ** b / a / m.beta(a, b) * m.hyp2f1(a + b, 1, a + 1, x)


def test_gammainc_by_a():
    points = list(gamma_points())
    assert len(points) > 60
    for a, x in points:
        low = x < a
        exact = slope(lambda a, x=x, low=low: m.gammainc(a, *((0, x) if low else (x, m.inf)), regularized=True), a)
        assert fad.grad(sc.gammainc)(a, x) == pytest.approx(exact if low else -exact, rel=1e-11), (a, x)
        assert fad.grad(sc.gammaincc)(a, x) == -fad.grad(sc.gammainc)(a, x)


def test_betainc_by_a_and_b():
    points = list(beta_points())
    assert len(points) > 25
    for a, b, x in points:
        y = m.mpf(x)
        if sc.betainc(a, b, x) < 0.5:
            exact = slope(lambda a, b=b, y=y: beta_tail(a, b, y), a), slope(lambda b, a=a, y=y: beta_tail(a, b, y), b)
        else:
            exact = (-slope(lambda a, b=b, y=y: beta_tail(b, a, 1 - y), a), -slope(lambda b, a=a, y=y: beta_tail(b, a, 1 - y), b))
        for i in (0, 1):
            assert fad.grad(sc.betainc, argnums=i)(a, b, x) == pytest.approx(exact[i], rel=1e-10), (a, b, x, i)


def test_student_by_freedom():
    def cdf(df, t):
        tail = m.betainc(df / 2, 0.5, 0, df / (df + t * t), regularized=True) / 2
        return tail if t < 0 else 1 - tail

    for df, tolerance in ((0.1, 1e-12), (1.0, 1e-12), (3.0, 1e-12), (30.0, 1e-11), (1e3, 1e-8)):
        for t in (-30.0, -4.0, -0.7, -1e-3, 1e-5, 0.3, 2.0):
            exact = slope(lambda df, t=t: cdf(df, m.mpf(t)), df)
            assert fad.grad(sc.stdtr)(df, t) == pytest.approx(exact, rel=tolerance), (df, t)


@pytest.mark.parametrize(
    ("f", "args"),
    [
        (sc.gammainc, (2.5, 1.3)),
        (sc.gammaincc, (0.3, 2.0)),
        (sc.gammaincinv, (2.5, 0.3)),
        (sc.gammainccinv, (2.5, 0.3)),
        (sc.betainc, (2.5, 1.5, 0.3)),
        (sc.betaincc, (0.5, 1.5, 0.8)),
        (sc.betaincinv, (2.5, 1.5, 0.3)),
        (sc.betainccinv, (2.5, 1.5, 0.3)),
        (sc.stdtr, (3.0, -1.3)),
        (sc.stdtr, (3.0, 0.0)),
        (sc.stdtrit, (3.0, 0.2)),
    ],
)
def test_two_orders_by_all_arguments(f, args):
    check_grads(f, args, order=2)
    assert fad.jit(fad.grad(f))(*args) == pytest.approx(fad.grad(f)(*args), rel=1e-13)
    columns = tuple(np.full(3, v) for v in args)
    np.testing.assert_allclose(fad.vmap(fad.grad(f))(*columns), fad.grad(f)(*args), rtol=1e-12)


def test_third_order_by_the_parameter():
    third = fad.grad(fad.grad(fad.grad(sc.gammainc)))(2.5, 1.3)
    with m.workdps(40):
        exact = m.diff(lambda a: m.gammainc(a, 0, m.mpf("1.3"), regularized=True), 2.5, 3)
    assert third == pytest.approx(float(exact), rel=1e-11)


def test_ends_and_bad_input():
    assert gammainc_by(2.0, 0.0, order=1) == gammainc_by(2.0, np.inf, order=1) == 0
    assert betainc_by(2.0, 3.0, 0.0, order=(1, 0)) == betainc_by(2.0, 3.0, 1.0, order=(0, 1)) == 0
    for a, x in ((-1.0, 1.0), (1.0, -1.0), (np.nan, 1.0), (1.0, np.nan)):
        assert np.isnan(gammainc_by(a, x, order=1))
    for args in ((-1.0, 1.0, 0.5), (1.0, 0.0, 0.5), (1.0, 1.0, 1.5), (1.0, 1.0, np.nan)):
        assert np.isnan(betainc_by(*args, order=(1, 0)))
    assert gammainc_by(np.ones((0, 2)), np.ones(2), order=1).shape == (0, 2)
    assert gammainc_by(np.float32(2), np.float32(1), order=1).dtype == np.float32
