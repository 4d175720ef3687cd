"""Exponentials, logarithms and powers against long double (float64 for float32) and mpmath: at most 2 ulp, C99's special values."""

import functools

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fad.native import vecmath
from tests.compile.vector import EDGES, elementwise, exact, log_spaced, patterns, ulps

# Where a function's values are neither 0 nor infinite, for float64 and float32.
UNARY = {
    "exp": {"f8": (-746, 710), "f4": (-104, 89)},
    "exp2": {"f8": (-1076, 1024), "f4": (-150, 128)},
    "expm1": {"f8": (-40, 710), "f4": (-20, 89)},
    "log": {"f8": (0.25, 4), "f4": (0.25, 4)},
    "log2": {"f8": (0.25, 4), "f4": (0.25, 4)},
    "log10": {"f8": (0.25, 4), "f4": (0.25, 4)},
    "log1p": {"f8": (-0.9, 3), "f4": (-0.9, 3)},
    "cbrt": {"f8": (-10, 10), "f4": (-10, 10)},
}
BOTH = pytest.mark.parametrize("dtype", ["f8", "f4"])
EACH = pytest.mark.parametrize("name", UNARY)


@functools.cache
def compiled(name, dtype, lanes=0, has_fma=None):
    lanes = lanes or 64 // np.dtype(dtype).itemsize
    return elementwise(getattr(vecmath, name), dtype, lanes, 2 if name == "pow" else 1, has_fma)


def points(name, dtype, n=20_000):
    rng = np.random.default_rng(7)
    x = np.concatenate(
        [rng.uniform(*UNARY[name][dtype], n), rng.uniform(-1, 1, n), log_spaced(rng, dtype, n), 1 + log_spaced(rng, dtype, n)]
    )
    return np.concatenate([x.astype(dtype), patterns(rng, dtype, n), EDGES[dtype]])


def check(got, truth, bound=2.0):
    error = ulps(got, truth)
    worst = np.argmax(error)
    assert error[worst] <= bound, (error[worst], got[worst], truth[worst])
    same_sign = np.signbit(got) == np.signbit(truth)
    assert np.all(same_sign | np.isnan(truth))


@BOTH
@EACH
@pytest.mark.parametrize("lanes, has_fma", [(0, None), (4, None), (4, False)], ids=["widest", "narrow", "no fma"])
def test_two_ulp(name, dtype, lanes, has_fma):
    x = points(name, dtype)
    check(compiled(name, dtype, lanes, has_fma)(x), exact(name, x))


@EACH
def test_two_ulp_against_mpmath(name):
    x = points(name, "f8", 100)
    got = compiled(name, "f8")(x)
    keep = np.isfinite(got) & (np.abs(got) > 1e-300) & np.isfinite(x)
    f = {
        "log2": lambda v: mpmath.log(v, 2),
        "exp2": lambda v: mpmath.mpf(2) ** v,
        "cbrt": lambda v: mpmath.sign(v) * mpmath.cbrt(abs(v)),
    }.get(name) or getattr(mpmath, name)
    with mpmath.workdps(40):
        for u, v in zip(x[keep], got[keep]):
            assert abs(f(mpmath.mpf(float(u))) - mpmath.mpf(float(v))) <= 2 * np.spacing(abs(v)), (u, v)


@pytest.mark.smoke
@BOTH
@EACH
@given(data=st.data())
def test_any_float(name, dtype, data):
    """NaN, infinity, zero with its sign, subnormal numbers: as the oracle has them."""
    width = 8 * np.dtype(dtype).itemsize
    x = np.array(data.draw(st.lists(st.floats(width=width), min_size=1, max_size=40)), dtype)
    check(compiled(name, dtype)(x), exact(name, x))
    check(compiled(name, dtype, 4, False)(x), exact(name, x))


@BOTH
@pytest.mark.parametrize("name", [*UNARY, "pow", "sin", "tan"])
@pytest.mark.parametrize("lanes", [1, 3, 8, 32])
def test_any_number_of_lanes(name, dtype, lanes):
    """The same bits, also where wide vectors have instructions of their own."""
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.uniform(0.1, 3, 200), rng.uniform(-800, 0, 100)]).astype(dtype)
    args = (x, x[::-1]) if name == "pow" else (x,)
    np.testing.assert_array_equal(compiled(name, dtype, lanes)(*args), compiled(name, dtype)(*args))


@BOTH
def test_integer_powers_are_exact(dtype):
    n = np.arange(-1074, 1024) if dtype == "f8" else np.arange(-149, 128)
    two = np.ldexp(np.dtype(dtype).type(1), n)
    np.testing.assert_array_equal(compiled("exp2", dtype)(n), two)
    np.testing.assert_array_equal(compiled("log2", dtype)(two), n)
    np.testing.assert_array_equal(compiled("pow", dtype)(2, n), two)
    cubes = np.arange(-200, 200)
    np.testing.assert_array_equal(compiled("cbrt", dtype)(cubes**3), cubes)


@BOTH
def test_exp_underflows_gradually(dtype):
    tiny = np.finfo(dtype).smallest_normal
    x = np.linspace(np.log(tiny) - 37 if dtype == "f8" else np.log(tiny) - 17, np.log(tiny), 3000).astype(dtype)
    got = compiled("exp", dtype)(x)
    assert np.sum((got > 0) & (got < tiny)) > 2500 and np.all(np.diff(got) >= 0)
    check(got, exact("exp", x), 1.0)


# -- pow --------------------------------------------------------------------------------------------------------------------


def power_points(dtype, n=40_000):
    """Pairs whose power covers all magnitudes of the format, for bases near 1 and far from it."""
    rng = np.random.default_rng(3)
    x = np.concatenate(
        [np.abs(log_spaced(rng, dtype, n)), 1 + 0.1 * log_spaced(rng, dtype, n, top=0), rng.uniform(0.1, 3, n)]
    ).astype(dtype)
    log_x = np.log(x.astype("f8"))
    x, log_x = x[log_x != 0], log_x[log_x != 0]
    return x, (rng.uniform(-1.06, 1.03, x.size) * (709 if dtype == "f8" else 88) / log_x).astype(dtype)


@BOTH
@pytest.mark.parametrize("lanes, has_fma", [(0, None), (4, None), (4, False)], ids=["widest", "narrow", "no fma"])
def test_pow_two_ulp(dtype, lanes, has_fma):
    x, y = power_points(dtype)
    check(compiled("pow", dtype, lanes, has_fma)(x, y), exact("power", x, y))


def test_pow_two_ulp_against_mpmath():
    x, y = (a[::300] for a in power_points("f8"))
    got = compiled("pow", "f8")(x, y)
    keep = (got > 1e-300) & np.isfinite(got)
    assert keep.sum() > 200
    with mpmath.workdps(50):
        for u, v, w in zip(x[keep], y[keep], got[keep]):
            assert abs(mpmath.mpf(float(u)) ** mpmath.mpf(float(v)) - mpmath.mpf(float(w))) <= 2 * np.spacing(w), (u, v, w)


@BOTH
def test_pow_special_values(dtype):
    """Every pair of special numbers, signs included: C99 F.9.4.4, as NumPy has it."""
    odd = [-7, -3, -1, 1, 3, 5, 2**23 - 1, 2**23 + 1, 2.0**52 + 1, 2.0**53 - 1]
    special = np.array([*EDGES[dtype], *odd, 0.5, -0.5, 2, -2, 4, -4, 2.5, -2.5, 2.0**53, 1e30, -1e30, 2.0**23 - 0.5], dtype)
    x, y = (a.ravel() for a in np.meshgrid(special, special))
    for run in (compiled("pow", dtype), compiled("pow", dtype, 4, False)):
        check(run(x, y), exact("power", x, y))


@BOTH
@given(data=st.data())
def test_pow_of_any_floats(dtype, data):
    width = 8 * np.dtype(dtype).itemsize
    number = st.one_of(st.floats(width=width), st.integers(-40, 40).map(float), st.sampled_from(EDGES[dtype].tolist()))
    pairs = data.draw(st.lists(st.tuples(number, number), min_size=1, max_size=40))
    x, y = np.array(pairs, dtype).T
    check(compiled("pow", dtype)(x, y), exact("power", x, y))
