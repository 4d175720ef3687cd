"""Inverse trigonometric functions against long double (float64 for float32) and mpmath: at most 2 ulp, C99's special values."""

import functools

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fad.native import vecmath
from tests.compile.vector import EDGES, elementwise, exact, log_spaced, patterns, ulps

NAMES = {"asin": "arcsin", "acos": "arccos", "atan": "arctan"}
BOTH = pytest.mark.parametrize("dtype", ["f8", "f4"])
EACH = pytest.mark.parametrize("name", NAMES)
BUILDS = pytest.mark.parametrize("lanes, has_fma", [(0, None), (3, None), (4, False)], ids=["widest", "odd", "no fma"])


@functools.cache
def compiled(name, dtype, lanes=0, has_fma=None):
    lanes = lanes or 64 // np.dtype(dtype).itemsize
    return elementwise(getattr(vecmath, name), dtype, lanes, 2 if name == "atan2" else 1, has_fma)


def points(dtype, n=20_000, seed=12):
    rng = np.random.default_rng(seed)
    small = np.abs(log_spaced(rng, dtype, n, 0))
    x = [
        rng.uniform(-1, 1, n),
        rng.uniform(-5, 5, n),
        log_spaced(rng, dtype, n),
        log_spaced(rng, dtype, n, 1),
        1 - small,
        small - 1,
        EDGES[dtype],
        [0.5, -0.5, 2, -2],
    ]
    return np.concatenate([np.concatenate(x).astype(dtype), patterns(rng, dtype, n)])


def check(got, truth, bound=2.0):
    error = ulps(got, truth)
    worst = np.argmax(error)
    assert error[worst] <= bound, (error[worst], got[worst], truth[worst])
    assert np.all((np.signbit(got) == np.signbit(truth)) | np.isnan(truth))


@BOTH
@EACH
@BUILDS
def test_two_ulp(name, dtype, lanes, has_fma):
    x = points(dtype)
    check(compiled(name, dtype, lanes, has_fma)(x), exact(NAMES[name], x))


@BOTH
@BUILDS
def test_atan2_two_ulp(dtype, lanes, has_fma):
    y, x = points(dtype), np.random.default_rng(1).permutation(points(dtype, seed=13))
    check(compiled("atan2", dtype, lanes, has_fma)(y, x), exact("arctan2", y, x))


@BOTH
def test_atan2_of_every_pair_of_edges(dtype):
    y, x = (a.ravel() for a in np.meshgrid(EDGES[dtype], EDGES[dtype]))
    check(compiled("atan2", dtype)(y, x), exact("arctan2", y, x))


@EACH
def test_two_ulp_against_mpmath(name):
    x = points("f8", 60)
    got = compiled(name, "f8")(x)
    keep = np.isfinite(got) & (np.abs(got) > 1e-300)
    with mpmath.workdps(40):
        for u, v in zip(x[keep], got[keep]):
            truth = getattr(mpmath, name)(mpmath.mpf(float(u)))
            assert abs(truth - mpmath.mpf(float(v))) <= 2 * np.spacing(abs(v)), (u, v)


def test_atan2_two_ulp_against_mpmath():
    rng = np.random.default_rng(3)
    y, x = rng.standard_normal((2, 300)) * 10.0 ** rng.uniform(-20, 20, (2, 300))
    with mpmath.workdps(40):
        for a, b, v in zip(y, x, compiled("atan2", "f8")(y, x)):
            assert abs(mpmath.atan2(mpmath.mpf(a), mpmath.mpf(b)) - mpmath.mpf(v)) <= 2 * np.spacing(abs(v)), (a, b, v)


@BOTH
@given(data=st.data())
def test_any_float(dtype, data):
    """NaN, infinity, zero with its sign, subnormal numbers, points outside the domain: as the oracle has them."""
    number = st.floats(width=8 * np.dtype(dtype).itemsize)
    y, x = np.array(data.draw(st.lists(st.tuples(number, number), min_size=1, max_size=30)), dtype).T
    for lanes, has_fma in ((0, None), (4, False)):
        check(compiled("atan2", dtype, lanes, has_fma)(y, x), exact("arctan2", y, x))
        for name, numpy_name in NAMES.items():
            check(compiled(name, dtype, lanes, has_fma)(x), exact(numpy_name, x))


@BOTH
def test_symmetries_to_the_last_bit(dtype):
    x = points(dtype)
    for name in ("asin", "atan"):
        np.testing.assert_array_equal(compiled(name, dtype)(-x), -compiled(name, dtype)(x))
    y = np.roll(x, 1)
    atan2 = compiled("atan2", dtype)
    np.testing.assert_array_equal(atan2(-y, x), -atan2(y, x))


@pytest.mark.parametrize("lanes", [1, 3, 8, 16, 32])
@BOTH
@EACH
def test_lanes_agree_to_the_last_bit(name, dtype, lanes):
    x = points(dtype, 300)
    np.testing.assert_array_equal(compiled(name, dtype, lanes)(x), compiled(name, dtype)(x))
