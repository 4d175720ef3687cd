"""Derivatives at infinities, at the ends of the range and next to switches: single points, where test_tails.py has a law.

The numbers in comments are of public reports that found the like in other libraries.
"""

import math

import mpmath
import numpy as np
import pytest

import fad
from fad import grad
from fad.core.primitive import registry
from tests.primitives.tails import ONE

inf = math.inf
INFINITE = {
    "logaddexp, pytorch#49724": (np.logaddexp, (inf, 0.0), (1.0, 0.0)),
    "logaddexp of -inf": (np.logaddexp, (-inf, 0.0), (0.0, 1.0)),
    "hypot, ForwardDiff.jl#669": (np.hypot, (inf, 1.0), (1.0, 0.0)),
    "hypot of -inf": (np.hypot, (2.0, -inf), (0.0, -1.0)),
    "arctan2 of inf by its first argument": (np.arctan2, (inf, 1.0), (0.0, 0.0)),
    "arctan2 of inf by its second": (np.arctan2, (1.0, -inf), (0.0, 0.0)),
    "arctan2 of two": (np.arctan2, (inf, inf), (0.0, 0.0)),
    "remainder by inf": (np.remainder, (-1.0, inf), (1.0, 1.0)),
    "fmod by inf": (np.fmod, (-1.0, inf), (1.0, 0.0)),
}


@pytest.mark.parametrize("case", INFINITE)
def test_of_infinities(case):
    f, args, want = INFINITE[case]
    assert grad(f, (0, 1))(*args) == want
    assert fad.jit(grad(f, (0, 1)))(*args) == want


@pytest.mark.parametrize(
    "z, want",
    [
        (complex(inf, 0), 1),
        (complex(0, -inf), 1j),
        (complex(inf, 5), 1),
        (1e-310 + 0j, 1),
        (3e-320 - 4e-320j, 0.6 + 0.8j),
        (3e307 - 4e307j, 0.6 + 0.8j),
        (3 - 4j, 0.6 + 0.8j),
    ],
)
def test_slope_of_complex_absolute_values(z, want):  # jax#25681: conj(z) / |z|
    for f in (grad(np.abs), fad.jit(grad(np.abs))):
        np.testing.assert_allclose(f(z), want, rtol=1e-3 if abs(z) < 1e-300 else 1e-15)


def test_the_sign_of_a_complex_number_has_a_slope():
    """z/|z| turns with z: along t its derivative is i (Im(conj(z) t) / |z|^2) z/|z|."""

    def want(z, t):
        return 1j * (np.conj(z) * t).imag / abs(z) ** 2 * z / abs(z)

    for z in (3 + 4j, -1e-5 + 2j, 1e150 - 1e150j):
        for t in (1.0, 1j, z):
            y, slope = fad.jvp(np.sign, (z,), (complex(t),))
            np.testing.assert_allclose((y, slope), (np.sign(z), want(z, t)), rtol=1e-14, atol=1e-15)
    y, slope = fad.jvp(np.sign, (0j,), (1 + 1j,))
    assert y == 0 and np.isnan(slope)  # as every slope of a cone
    assert fad.jvp(np.sign, (-2.0,), (1.0,)) == (-1.0, 0.0)
    curvature = grad(grad(lambda t: np.real(np.sign(t + 1j))))(0.5)
    assert curvature == pytest.approx(float(mpmath.diff(lambda t: t / mpmath.sqrt(t * t + 1), 0.5, 2)), rel=1e-13)


def test_angles_of_small_and_large_numbers():  # CppAD#120
    assert grad(np.arctan2, (0, 1))(1e200, 1e200) == pytest.approx((5e-201, -5e-201), rel=1e-14)
    assert grad(np.arctan2, (0, 1))(1e-200, 1e-200) == pytest.approx((5e199, -5e199), rel=1e-14)
    assert grad(np.angle)(1e-200 + 1e-200j) == pytest.approx(-5e199 - 5e199j, rel=1e-14)
    assert grad(np.angle)(1e200 + 1e200j) == pytest.approx(-5e-201 - 5e-201j, rel=1e-14)


def test_the_tail_of_tanh_and_of_logaddexp():  # pytorch#195527, pytorch#195530
    assert grad(np.tanh)(20.0) == pytest.approx(1.6993417021166355e-17, rel=1e-14)
    assert grad(np.tanh)(np.float32(9.5)) == pytest.approx(1 / math.cosh(9.5) ** 2, rel=1e-6)
    assert grad(grad(lambda x: np.logaddexp(x, 0.0)))(40.0) == pytest.approx(4.248354255291589e-18, rel=1e-14)


def test_large_arguments_in_single_precision():
    assert grad(np.arcsinh)(np.float32(1e20)) == pytest.approx(1e-20, rel=1e-6)
    assert grad(np.arctan)(np.float32(1e18)) == pytest.approx(1e-36, rel=1e-6)


@pytest.mark.parametrize("f", [np.fmod, np.remainder])
def test_the_quotient_is_the_one_the_remainder_belongs_to(f):
    assert grad(f, 1)(1.0, 0.1) == -9.0  # 1.0 / 0.1 rounds to 10, and 1.0 is 9 * 0.1 + 0.0999...
    rng = np.random.default_rng(0)
    y = rng.uniform(0.01, 1.0, 1000)
    x = y * rng.integers(1, 1000, 1000)  # on either side of a whole multiple, by rounding
    quotient = [
        int((mpmath.mpf(a) - mpmath.mpf(float(r))) / mpmath.mpf(b) + mpmath.mpf(0.5)) for a, b, r in zip(x, y, f(x, y), strict=True)
    ]
    assert np.array_equal(grad(lambda y: np.sum(f(x, y)))(y), -np.array(quotient, float))


@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-12), (np.float32, 1e-4)])
def test_both_sides_of_the_switch_of_sinc(dtype, tolerance):
    """The series and the quotient, right and left of 1/4, where each is at its worst, and at 0."""
    x = np.array(
        [-0.2500001, -0.2499999, -1e-3, 0.0, 1e-30, 0.0099, 0.0101, 0.2, 0.2499, 0.2499999, 0.25, 0.2500001, 0.3, 0.95], dtype
    )
    f = np.sinc
    for order in (1, 2, 3):
        f = grad(lambda x, f=f: np.sum(f(x)))
        want = [float(ONE["sinc"].derivative((float(v),), (order,))) if v else (0.0, -(np.pi**2) / 3, 0.0)[order - 1] for v in x]
        np.testing.assert_allclose(f(x), want, rtol=tolerance, atol=1e-300)


def test_what_is_not_a_number_shares_the_slope_of_an_extremum():
    """The maximum of numbers with NaN among them is NaN; the elements that are NaN made it so, and share the slope."""
    x = np.array([1.0, np.nan, 2.0, np.nan])
    for f in (np.max, np.min):
        for g in (grad(f), fad.jit(grad(f))):
            assert np.array_equal(g(x), [0.0, 0.5, 0.0, 0.5])
    rows = np.array([[1.0, np.nan], [3.0, 2.0]])
    assert np.array_equal(grad(lambda x: np.sum(np.max(x, axis=1)))(rows), [[0.0, 1.0], [1.0, 0.0]])
    assert np.array_equal(fad.jvp(np.max, (x,), (np.arange(4.0),))[1], 2.0)


def test_powers_of_a_negative_base_have_no_slope_by_a_real_exponent():
    for f in (np.power, np.float_power):
        for x, y in ((-2.0, 2.0), (-2.0, 3.0), (-0.5, -1.0)):
            assert np.isnan(grad(f, 1)(x, y))
            assert grad(f, 0)(x, y) == pytest.approx(y * x ** (y - 1), rel=1e-15)
    assert grad(np.power, 1)(2.0, 3.0) == pytest.approx(8 * math.log(2), rel=1e-15)


def test_logsumexp_of_complex_numbers_is_the_principal_value():
    from fad.numpy import logsumexp

    z = np.array([1 + 3j, 2 + 3.1j, 1 + 3j])
    exact = np.log(np.sum(np.exp(z)))
    assert logsumexp(z) == pytest.approx(exact, rel=1e-14)
    assert fad.vjp(logsumexp, z)[0] == pytest.approx(exact, rel=1e-14)
    assert logsumexp(z + 1000) == pytest.approx(exact + 1000, rel=1e-14)
    np.testing.assert_allclose(fad.vjp(logsumexp, z)[1](1 + 0j)[0], np.exp(z - exact), rtol=1e-14)


def test_sech_is_the_reciprocal_of_cosh():
    x = np.array([-800.0, -2.0, 0.0, 1e-300, 0.3, 20.0, 700.0])
    want = [float(mpmath.sech(mpmath.mpf(v))) for v in x]
    for f in (registry["sech"], fad.jit(lambda x: registry["sech"](x))):
        np.testing.assert_allclose(f(x), want, rtol=1e-15, atol=0)
