"""Special functions against mpmath (and long double in bulk): within the stated ulp, special values and tails as in SciPy."""

import functools

import mpmath
import numpy as np
import pytest
import scipy.special as sc
from hypothesis import given
from hypothesis import strategies as st

from fad.native import vecmath
from tests.compile.vector import EDGES, elementwise, log_spaced, ulps

BOTH = pytest.mark.parametrize("dtype", ["f8", "f4"])
BUILDS = pytest.mark.parametrize("lanes, has_fma", [(0, None), (3, None), (4, False)], ids=["widest", "odd", "no fma"])
BINARY = ("logaddexp", "hypot")


def from_start(f, derivative, start):
    """Newton's method in mpmath: the root of f near a double."""
    x = mpmath.mpf(start)
    for _ in range(4):
        x -= f(x) / derivative(x)
    return x


def erfinv(x):
    if abs(x) < 0.5:
        return from_start(lambda v: mpmath.erf(v) - x, density, float(sc.erfinv(float(x)))) if x else x
    root = from_start(
        lambda v: mpmath.log(mpmath.erfc(v) / (1 - abs(x))),
        lambda v: -density(v) / mpmath.erfc(v),
        float(sc.erfcinv(float(1 - abs(x)))),
    )
    return mpmath.sign(x) * root


def density(v):
    return 2 / mpmath.sqrt(mpmath.pi) * mpmath.exp(-v * v)


def ndtri(p):
    low = min(p, 1 - p)
    if low == 0.5:
        return mpmath.mpf(0)
    root = from_start(
        lambda v: mpmath.log(mpmath.ncdf(v) / low), lambda v: mpmath.npdf(v) / mpmath.ncdf(v), float(sc.ndtri(float(low)))
    )
    return root if p < 0.5 else -root


# value by mpmath; where to look, float64 and float32; the largest error in ulp, with and without fma
log1p_exp = lambda x: mpmath.log1p(mpmath.exp(x))
CASES = {
    "expit": (lambda x: 1 / (1 + mpmath.exp(-x)), (-745, 40), (-103, 20), 2, 2),
    "log_expit": (lambda x: -log1p_exp(-x), (-40, 745), (-20, 103), 2, 2),
    "softplus": (log1p_exp, (-745, 40), (-103, 20), 2, 2),
    "logit": (lambda p: mpmath.log(p / (1 - p)), (0, 1), (0, 1), 2, 2),
    "erf": (mpmath.erf, (-6, 6), (-4, 4), 2, 2.2),
    "erfc": (mpmath.erfc, (-6, 26.5), (-4, 9.1), 2.5, 4),
    "ndtr": (mpmath.ncdf, (-37.5, 9), (-12.8, 6), 3, 4),
    "erfinv": (erfinv, (-1, 1), (-1, 1), 2, 2),
    "ndtri": (ndtri, (0, 1), (0, 1), 2.5, 3),
    "gammaln": (lambda x: mpmath.loggamma(x).real, (0, 12), (0, 12), 2.5, 3),
    "digamma": (mpmath.digamma, (0, 12), (0, 12), 2.5, 3),
}
EACH = pytest.mark.parametrize("name", CASES)


@functools.cache
def compiled(name, dtype, lanes=0, has_fma=None):
    lanes = lanes or 64 // np.dtype(dtype).itemsize
    return elementwise(getattr(vecmath, name), dtype, lanes, 2 if name in BINARY else 1, has_fma)


def scipy_value(name, *x):
    """SciPy's value; softplus and hypot are NumPy's."""
    with np.errstate(all="ignore"):
        if name == "softplus":
            return np.logaddexp(x[0], np.zeros_like(x[0]))
        return getattr(np if name in BINARY else sc, name)(*x)


@functools.cache
def table(name, dtype, n=60):
    """Points in the function's domain, and mpmath's values."""
    rng = np.random.default_rng(5)
    value, wide, narrow, *_ = CASES[name]
    low, high = wide if dtype == "f8" else narrow
    tiny = np.abs(log_spaced(rng, dtype, n, 0))
    joints = np.array([0.075, 0.25, 0.75, 0.85, 0.925, 1, 2, 2.5, 5, 7, 1 - 2.8e-11])[:, None]  # where formulas meet
    x = np.concatenate(
        [
            (joints * (1 + np.finfo(dtype).eps * np.arange(-2, 3))).ravel(),
            rng.uniform(low, high, 2 * n),
            rng.uniform(max(low, -2), min(high, 2), 2 * n),
            low + tiny,
            0.5 + 0.4 * tiny,
            tiny,
            1 - tiny,
        ]
    ).astype(dtype)
    x = x[(x > low) & (x < high) & (x != 0)]
    with mpmath.workdps(60):
        exact = [value(mpmath.mpf(float(v))) for v in x]
        truth = np.array([np.longdouble(mpmath.nstr(v, 25)) for v in exact])
    return x, truth


def check(got, truth, bound, absolute=0.0):
    error = np.where(np.abs(got - truth) <= absolute, 0, ulps(got, truth))
    worst = np.argmax(error)
    assert error[worst] <= bound, (error[worst], got[worst], truth[worst])


@BOTH
@EACH
@BUILDS
def test_few_ulp(name, dtype, lanes, has_fma):
    x, truth = table(name, dtype)
    check(compiled(name, dtype, lanes, has_fma)(x), truth, CASES[name][4 if has_fma is False else 3])


@EACH
def test_float32_and_float64_agree_in_bulk(name):
    rng = np.random.default_rng(8)
    x = rng.uniform(*CASES[name][2], 100_000).astype("f4")
    check(compiled(name, "f4")(x), compiled(name, "f8")(x), CASES[name][3])


@EACH
def test_near_scipy_in_bulk(name):
    low, high = CASES[name][1]
    x = np.random.default_rng(9).uniform(max(low, -30), min(high, 30), 100_000)
    atol = 1e-15 if name in ("gammaln", "digamma", "logit") else 0
    np.testing.assert_allclose(compiled(name, "f8")(x), scipy_value(name, x), rtol=3e-13, atol=atol)


@pytest.mark.smoke
@BOTH
@EACH
def test_special_values(name, dtype):
    """Zeros with their signs, infinities, NaN, poles, and what lies outside the domain, as SciPy has them."""
    x = np.concatenate([EDGES[dtype], [-1, -2, -3, 2, 0.5, -0.5, 1e3, -1e3]]).astype(dtype)
    x = x[(np.abs(x) >= np.finfo(dtype).smallest_normal) | (x == 0) | np.isnan(x)]  # below, SciPy has inf for gammaln
    if name == "digamma":
        x = x[(np.abs(x + 1) > 1e-3) | (x == -1)]  # beside the pole SciPy is wrong
    got, want = compiled(name, dtype)(x), scipy_value(name, x).astype(dtype)
    exact = np.isnan(want) | np.isinf(want) | (want == 0)
    np.testing.assert_array_equal(got[exact], want[exact])
    np.testing.assert_array_equal(np.signbit(got[want == 0]), np.signbit(want[want == 0]))
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(got[~exact], want[~exact], rtol=30 * eps, atol=eps if name in ("gammaln", "digamma") else 0)


@BOTH
@EACH
@given(data=st.data())
def test_any_float(name, dtype, data):
    """Any bits: NaN and infinity where SciPy has them, and near its value elsewhere."""
    width = 8 * np.dtype(dtype).itemsize
    x = np.array(data.draw(st.lists(st.floats(width=width, allow_subnormal=False), min_size=1, max_size=40)), dtype)
    x = np.where((name == "gammaln") & (np.abs(x) > 1e30), 1, x)  # where SciPy overflows early
    got, want = compiled(name, dtype)(x), scipy_value(name, x.astype("f8"))
    same = np.isnan(got) & np.isnan(want)
    info = np.finfo(dtype)
    if name in ("gammaln", "digamma"):
        want = np.where((x < 0) & (x == np.rint(x)), got, want) if name == "digamma" else want
        near = np.abs(got - want) <= 1e-11 * np.abs(want) + (1e-9 if dtype == "f8" else 1e-4) * (1 + np.abs(x) * (x < 0))
    else:
        near = np.abs(got - want) <= (1e-11 if dtype == "f8" else 2e-6) * np.abs(want) + 4 * info.smallest_normal
    assert np.all(same | near | (got == want.astype(dtype))), (x, got, want)


# -- tails and joints -------------------------------------------------------------------------------------------------------


def test_subnormal_results():
    """Where the value is less than the smallest normal number the error stays within an ulp of subnormal numbers."""
    with mpmath.workdps(60):
        for name, low, high in (("expit", -745, -709), ("softplus", -745, -709), ("erfc", 26.55, 27.2), ("ndtr", -38.4, -37.6)):
            x = np.linspace(low, high, 40)
            truth = np.array([np.longdouble(mpmath.nstr(CASES[name][0](mpmath.mpf(v)), 25)) for v in x])
            check(compiled(name, "f8")(x), truth, 2.5)


def test_small_values_of_log_expit():
    x = np.array([700.0, 740, 800, 1e5])
    np.testing.assert_allclose(compiled("log_expit", "f8")(x), -np.exp(-x), rtol=1e-13)


def test_poles_of_the_gamma_family():
    x = np.array([0.0, -0.0, -1, -2, -100, -np.inf, np.inf])
    np.testing.assert_array_equal(compiled("gammaln", "f8")(x), [np.inf] * 5 + [-np.inf, np.inf])
    np.testing.assert_array_equal(compiled("digamma", "f8")(x), [-np.inf, np.inf, np.nan, np.nan, np.nan, np.nan, np.inf])


def test_gamma_family_below_zero():
    x = -np.random.default_rng(2).uniform(0, 50, 400)
    with mpmath.workdps(40):
        for name, f in (("gammaln", lambda v: mpmath.loggamma(v).real), ("digamma", mpmath.digamma)):
            truth = np.array([float(f(mpmath.mpf(v))) for v in x])
            np.testing.assert_allclose(compiled(name, "f8")(x), truth, rtol=1e-15 * 4, atol=5e-15)


def test_gamma_family_at_its_zeros():
    """gammaln keeps its relative accuracy at 1 and 2, digamma at 1.46...: the factor that vanishes is exact there."""
    rng = np.random.default_rng(4)
    with mpmath.workdps(50):
        for name, zero in (("gammaln", 1.0), ("gammaln", 2.0), ("digamma", 1.4616321449683622)):
            x = zero + 10.0 ** rng.uniform(-15, -2, 60) * rng.choice([-1, 1], 60)
            x = x[x != zero]
            truth = np.array([np.longdouble(mpmath.nstr(CASES[name][0](mpmath.mpf(v)), 25)) for v in x])
            check(compiled(name, "f8")(x), truth, 4)


# -- inverses and sums ------------------------------------------------------------------------------------------------------


@given(st.floats(-5, 5))
def test_erfinv_inverts_erf(x):
    y = compiled("erf", "f8")(x)
    error = np.abs(compiled("erfinv", "f8")(y) - x)
    assert np.all(error <= 4 * np.spacing(np.abs(x)) + 4 * np.spacing(np.abs(y)) / (2 / np.sqrt(np.pi) * np.exp(-x * x)))


@given(st.floats(-37, 5))
def test_ndtri_inverts_ndtr(x):
    p = compiled("ndtr", "f8")(x)
    error = np.abs(compiled("ndtri", "f8")(p) - x)
    assert np.all(error <= 8 * np.spacing(np.abs(x)) + 4 * np.spacing(p) / (np.exp(-x * x / 2) / np.sqrt(2 * np.pi)))


@BOTH
def test_erf_and_erfc_add_to_one(dtype):
    x = np.random.default_rng(6).uniform(-5, 5, 50_000).astype(dtype)
    total = compiled("erf", dtype)(x).astype("f8") + compiled("erfc", dtype)(x)
    np.testing.assert_allclose(total, 1, rtol=0, atol=4 * np.finfo(dtype).eps)


@BOTH
@BUILDS
def test_logaddexp(dtype, lanes, has_fma):
    rng = np.random.default_rng(7)
    x, y = (rng.uniform(-40, 40, (2, 50_000)) * rng.choice([0.02, 1], 50_000)).astype(dtype)
    truth = np.logaddexp(x.astype("g"), y.astype("g"))
    check(compiled("logaddexp", dtype, lanes, has_fma)(x, y), truth, 2.0, absolute=np.finfo(dtype).eps)
    x, y = (a.ravel() for a in np.meshgrid(EDGES[dtype], EDGES[dtype]))
    check(compiled("logaddexp", dtype, lanes, has_fma)(x, y), scipy_value("logaddexp", x, y), 2.0)


@BOTH
@BUILDS
def test_hypot(dtype, lanes, has_fma):
    rng = np.random.default_rng(8)
    x, y = log_spaced(rng, dtype, 50_000), log_spaced(rng, dtype, 50_000)
    x[::2] = y[::2] * rng.uniform(-2, 2, 25_000).astype(dtype)
    with np.errstate(over="ignore"):
        check(compiled("hypot", dtype, lanes, has_fma)(x, y), np.hypot(x.astype("g"), y.astype("g")), 1.5)
    x, y = (a.ravel() for a in np.meshgrid(EDGES[dtype], EDGES[dtype]))
    got, want = compiled("hypot", dtype, lanes, has_fma)(x, y), scipy_value("hypot", x, y)
    check(got, want, 1.5)


@pytest.mark.parametrize("lanes", [1, 3, 8, 16, 32])
@BOTH
@pytest.mark.parametrize("name", [*CASES, *BINARY])
def test_any_number_of_lanes(name, dtype, lanes):
    rng = np.random.default_rng(10)
    arguments = rng.uniform(0, 1, (2 if name in BINARY else 1, 200)).astype(dtype)
    got, want = compiled(name, dtype, lanes)(*arguments), compiled(name, dtype)(*arguments)
    np.testing.assert_allclose(got, want, rtol=4 * np.finfo(dtype).eps, atol=np.finfo(dtype).eps)
