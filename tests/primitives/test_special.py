"""Special functions: values against mpmath, derivatives against mpmath's in the tails, dtypes, dispatch."""

import mpmath
import numpy as np
import pytest
import scipy.special as sc
from hypothesis import given
from hypothesis import strategies as st

import fad
from fad.errors import DtypeError
from fad.primitives import special
from tests.numpy.oracle import check, concrete, symbolic

mpmath.mp.dps = 60

root_pi = mpmath.sqrt(mpmath.pi)

# name: fad's function, its value, its derivative, where to look
FUNCTIONS = {
    "expit": (special.expit, lambda x: 1 / (1 + mpmath.exp(-x)), lambda x: mpmath.exp(-x) / (1 + mpmath.exp(-x)) ** 2, (-700, 700)),
    "logit": (special.logit, lambda x: mpmath.log(x / (1 - x)), lambda x: 1 / (x * (1 - x)), (1e-12, 0.49)),
    "log_expit": (special.log_expit, lambda x: -mpmath.log1p(mpmath.exp(-x)), lambda x: 1 / (1 + mpmath.exp(x)), (-800, 600)),
    "softplus": (special.softplus, lambda x: mpmath.log1p(mpmath.exp(x)), lambda x: 1 / (1 + mpmath.exp(-x)), (-600, 800)),
    "erf": (special.erf, mpmath.erf, lambda x: 2 / root_pi * mpmath.exp(-x * x), (-5, 5)),
    "erfc": (special.erfc, mpmath.erfc, lambda x: -2 / root_pi * mpmath.exp(-x * x), (-5, 20)),
    "erfinv": (special.erfinv, mpmath.erfinv, lambda x: root_pi / 2 * mpmath.exp(mpmath.erfinv(x) ** 2), (-0.999, 0.999)),
    "ndtr": (special.ndtr, mpmath.ncdf, mpmath.npdf, (-30, 5)),
    "ndtri": (
        special.ndtri,
        lambda p: mpmath.sqrt(2) * mpmath.erfinv(2 * p - 1),
        lambda p: 1 / mpmath.npdf(mpmath.sqrt(2) * mpmath.erfinv(2 * p - 1)),
        (1e-10, 0.4),
    ),
    "gammaln": (special.gammaln, mpmath.loggamma, mpmath.digamma, (3, 1e5)),
    "digamma": (special.digamma, mpmath.digamma, lambda x: mpmath.polygamma(1, x), (2, 1e5)),
    "trigamma": (lambda x: special.polygamma(1, x), lambda x: mpmath.polygamma(1, x), lambda x: mpmath.polygamma(2, x), (0.1, 1e3)),
    "entr": (special.entr, lambda x: -x * mpmath.log(x), lambda x: -mpmath.log(x) - 1, (1e-9, 0.3)),
}


@pytest.mark.smoke
@pytest.mark.parametrize("name", FUNCTIONS)
@given(t=st.floats(0, 1))
def test_value_and_derivative_keep_their_relative_accuracy(name, t):
    f, oracle, derivative, (low, high) = FUNCTIONS[name]
    x = np.float64(low + t * (high - low))
    value, slope = fad.value_and_grad(f)(x)
    np.testing.assert_allclose(value, float(oracle(mpmath.mpf(float(x)))), rtol=1e-11, atol=1e-300)
    # e^-x^2 loses x^2 roundings
    np.testing.assert_allclose(slope, float(derivative(mpmath.mpf(float(x)))), rtol=2e-11, atol=1e-290)


def test_tails():
    assert special.log_expit(-800.0) == -800.0
    assert fad.grad(special.log_expit)(-800.0) == 1.0
    assert fad.grad(special.softplus)(800.0) == 1.0
    assert fad.grad(special.softplus)(-800.0) == 0.0
    assert fad.grad(special.expit)(40.0) == pytest.approx(np.exp(-40.0), rel=1e-12)
    assert special.erfc(25.0) > 0
    assert fad.grad(special.xlogy, argnums=1)(0.0, 0.0) == 0
    assert special.xlogy(0.0, 0.0) == 0


@pytest.mark.parametrize(("f", "g"), [(special.xlogy, lambda x, y: x * np.log(y)), (special.xlog1py, lambda x, y: x * np.log1p(y))])
def test_two_arguments(f, g):
    for argument in (0, 1):
        for x, y in ((0.5, 2.0), (-3.0, 0.1), (0.0, 0.3)):
            assert fad.grad(f, argnums=argument)(x, y) == pytest.approx(fad.grad(g, argnums=argument)(x, y), rel=1e-12, abs=1e-12)


def test_digamma_to_any_order():
    f = special.gammaln
    for order in range(1, 6):
        f = fad.grad(f)
        assert f(1.7) == pytest.approx(float(mpmath.polygamma(order - 1, mpmath.mpf(1.7))), rel=1e-10)


@pytest.mark.parametrize(
    "name", ["expit", "logit", "log_expit", "erf", "erfc", "erfinv", "gammaln", "psi", "xlogy", "xlog1py", "entr", "ndtr", "ndtri"]
)
def test_scipys_ufuncs_find_them(name):
    ufunc = getattr(sc, name)
    x = np.array([0.2, 0.5, 0.7])
    for dtype in (np.float64, np.float32):
        check(lambda *xs: ufunc(*xs), *(x.astype(dtype),) * ufunc.nin)


def test_dtypes():
    for name in special.__all__:
        if name == "polygamma":
            continue
        f = getattr(special, name)
        n = 2 if name.startswith("xlog") else 1
        assert f(*[symbolic(np.ones(2, np.float32))] * n).dtype == np.float32
        assert f(*[symbolic(np.ones(2, int))] * n).dtype == np.float64
        assert fad.grad(lambda x, f=f, n=n: np.sum(f(*[x] * n)))(np.full(2, 0.5, np.float32)).dtype == np.float32
    assert special.polygamma(2, concrete(np.ones(2, np.float32))).dtype == np.float32


def test_complex_numbers_are_refused():
    with pytest.raises(DtypeError, match="real"):
        special.expit(concrete(np.ones(2, complex)))
    with pytest.raises(DtypeError, match="real"):
        special.ndtr(symbolic(np.ones(2, complex)))
