"""Hyperbolic functions against long double (float64 for float32) and mpmath: at most 2 ulp, C99's special values, parity."""

import functools

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fad.native import vecmath
from tests.compile.vector import EDGES, elementwise, exact, log_spaced, patterns, ulps

# NumPy's name, and where values are neither constant nor infinite, for float64 and float32
CASES = {
    "tanh": ("tanh", {"f8": (-20, 20), "f4": (-10, 10)}),
    "sinh": ("sinh", {"f8": (-711, 711), "f4": (-90, 90)}),
    "cosh": ("cosh", {"f8": (-711, 711), "f4": (-90, 90)}),
    "asinh": ("arcsinh", {"f8": (-9, 9), "f4": (-9, 9)}),
    "acosh": ("arccosh", {"f8": (1, 9), "f4": (1, 9)}),
    "atanh": ("arctanh", {"f8": (-1, 1), "f4": (-1, 1)}),
}
BOTH = pytest.mark.parametrize("dtype", ["f8", "f4"])
EACH = pytest.mark.parametrize("name", CASES)


@functools.cache
def compiled(name, dtype, lanes=0, has_fma=None):
    return elementwise(getattr(vecmath, name), dtype, lanes or 64 // np.dtype(dtype).itemsize, 1, has_fma)


def points(name, dtype, n=20_000):
    rng = np.random.default_rng(11)
    low, high = CASES[name][1][dtype]
    x = [
        rng.uniform(low, high, n),
        rng.uniform(-3, 3, n),
        log_spaced(rng, dtype, n),
        1 + np.abs(log_spaced(rng, dtype, n, 0)),
        1 - np.abs(log_spaced(rng, dtype, n, 0)),
        EDGES[dtype],
    ]
    return np.concatenate([np.concatenate(x).astype(dtype), patterns(rng, dtype, n)])


def check(got, truth, bound=2.0):
    error = ulps(got, truth)
    worst = np.argmax(error)
    assert error[worst] <= bound, (error[worst], got[worst], truth[worst])
    assert np.all((np.signbit(got) == np.signbit(truth)) | np.isnan(truth))


@BOTH
@EACH
@pytest.mark.parametrize("lanes, has_fma", [(0, None), (3, None), (4, False)], ids=["widest", "odd", "no fma"])
def test_two_ulp(name, dtype, lanes, has_fma):
    x = points(name, dtype)
    check(compiled(name, dtype, lanes, has_fma)(x), exact(CASES[name][0], x))


@EACH
def test_two_ulp_against_mpmath(name):
    x = points(name, "f8", 60)
    got = compiled(name, "f8")(x)
    keep = np.isfinite(got) & (np.abs(got) > 1e-300)
    with mpmath.workdps(40):
        for u, v in zip(x[keep], got[keep]):
            truth = getattr(mpmath, name)(mpmath.mpf(float(u)))
            assert abs(truth - mpmath.mpf(float(v))) <= 2 * np.spacing(abs(v)), (u, v)


@BOTH
@EACH
@given(data=st.data())
def test_any_float(name, dtype, data):
    """NaN, infinity, zero with its sign, subnormal numbers, points outside the domain: as the oracle has them."""
    width = 8 * np.dtype(dtype).itemsize
    x = np.array(data.draw(st.lists(st.floats(width=width), min_size=1, max_size=40)), dtype)
    check(compiled(name, dtype)(x), exact(CASES[name][0], x))
    check(compiled(name, dtype, 4, False)(x), exact(CASES[name][0], x))


@BOTH
@pytest.mark.parametrize("name, sign", [("tanh", -1), ("sinh", -1), ("asinh", -1), ("atanh", -1), ("cosh", 1)])
def test_odd_or_even_to_the_last_bit(name, sign, dtype):
    x = points(name, dtype)
    f = compiled(name, dtype)
    np.testing.assert_array_equal(f(-x), sign * f(x))


@BOTH
def test_tanh_stays_within_one_and_rises(dtype):
    x = np.sort(points("tanh", dtype))
    x = x[~np.isnan(x)]
    y = compiled("tanh", dtype)(x)
    assert np.all(np.abs(y) <= 1)
    assert np.all(np.diff(y.astype("f8")) >= -4 * np.spacing(np.abs(y[1:])))  # rises but for roundings


@pytest.mark.parametrize("lanes", [1, 3, 8, 16, 32])
@BOTH
@EACH
def test_lanes_agree(name, dtype, lanes):
    """Every width computes the same function: what differs is the kernel for the last bits of a logarithm."""
    x = points(name, dtype, 300)
    check(compiled(name, dtype, lanes)(x), exact(CASES[name][0], x))
