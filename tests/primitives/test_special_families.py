"""The gamma family, Bessel functions, integrals and power transforms: values and two derivatives against mpmath."""

import mpmath
import numpy as np
import pytest
import scipy.special as sc

import fad
from fad.core.primitive import registry
from fad.errors import TraceError
from fad.primitives import bessel, elementary, entropy, gamma, hypergeometric, integrals, probability
from tests.numpy.oracle import check

mpmath.mp.dps = 40
m = mpmath


def erfcx(x):
    return m.exp(x * x) * m.erfc(x)


def boxcox(x, power):
    return m.log(x) if power == 0 else m.expm1(power * m.log(m.mpf(x))) / power


WIDE = (1e-3, 0.1, 0.7, 1.3, 4.0, 29.0, 31.0, 150.0)
BOTH = (-25.5, -3.2, -0.6, -1e-3, 1e-3, 0.4, 2.9, 25.0)
# name: (function of mpmath, points); arguments before the variable are part of a point
BY_VARIABLE = {
    "gamma": (m.gamma, (-2.5, -0.3, *WIDE)),
    "rgamma": (m.rgamma, (-2.0, -1.0, 0.0, -2.5, 0.49, 0.51, 1.0, 4.0, 50.0)),
    "loggamma": (m.loggamma, WIDE),
    "beta": (m.beta, ((0.3, 2.0), (5.0, 0.1), (20.0, 30.0))),
    "betaln": (lambda a, b: m.log(m.beta(a, b)), ((0.3, 2.0), (5.0, 0.1), (20.0, 30.0))),
    "gammainc": (lambda a, x: m.gammainc(a, 0, x, regularized=True), ((0.5, 0.1), (3.0, 2.0), (30.0, 20.0))),
    "gammaincc": (lambda a, x: m.gammainc(a, x, m.inf, regularized=True), ((0.5, 0.1), (3.0, 2.0), (3.0, 50.0))),
    "betainc": (lambda a, b, x: m.betainc(a, b, 0, x, regularized=True), ((0.5, 2.0, 0.1), (3.0, 2.0, 0.9))),
    "betaincc": (lambda a, b, x: 1 - m.betainc(a, b, 0, x, regularized=True), ((0.5, 2.0, 0.1), (3.0, 2.0, 0.9))),
    "poch": (m.rf, ((0.3, 2.0), (5.0, 0.1))),
    "binom": (m.binomial, ((5.5, 2.0), (3.3, 0.4))),
    "hyp0f1": (m.hyp0f1, ((2, 0.0), (1.5, -2.0), (3, 4.0))),
    "hyp1f1": (m.hyp1f1, ((1, 2, 0.0), (0.5, 1.5, -2.0))),
    "hyp2f1": (m.hyp2f1, ((1, 2, 3, 0.0), (0.5, 1.5, 2.5, -0.4), (1, 1, 3, 0.6))),
    "ellipk": (m.ellipk, (-3.0, -0.1, -0.05, 0.0, 0.02, 0.1, 0.7)),
    "ellipe": (m.ellipe, (-3.0, -0.1, -0.05, 0.0, 0.02, 0.1, 0.7)),
    "ellipkm1": (lambda p: m.ellipk(1 - p), (1e-8, 0.3, 0.95, 1.0, 3.0)),
    "spence": (lambda z: m.polylog(2, 1 - z), (0.05, 0.9, 1.0, 1.05, 1.9)),
    "stdtr": (
        lambda df, t: (1 + m.sign(t) * (1 - m.betainc(df / 2, 0.5, 0, df / (df + t * t), regularized=True))) / 2,
        ((3.0, 0.7), (1.0, -20.0), (50.0, 2.0)),
    ),
    "exp10": (lambda x: m.mpf(10) ** x, (-30.0, 0.0, 2.0)),
    "cosm1": (lambda x: m.cos(x) - 1, (1e-9, 0.4, 3.0)),
    "powm1": (lambda x, y: m.mpf(x) ** y - 1, ((0.3, 2.0), (1.1, 1e-9), (3.0, -0.7))),
    "sindg": (lambda x: m.sin(x * m.pi / 180), (0.0, 30.0, 200.0)),
    "cosdg": (lambda x: m.cos(x * m.pi / 180), (10.0, 89.0)),
    "tandg": (lambda x: m.tan(x * m.pi / 180), (0.0, 30.0)),
    "cotdg": (lambda x: m.cot(x * m.pi / 180), (20.0, 80.0)),
    "wrightomega": (lambda x: m.lambertw(m.exp(x)).real, (-30.0, 0.0, 2.0, 20.0)),
    "yn": (m.bessely, ((0, 0.3), (3, 30.0))),
    "kn": (m.besselk, ((0, 0.3), (3, 30.0))),
    "jv": (m.besselj, ((0, 0.0), (1, 0.0), (2, 3.0), (0.5, 2.0), (3, 30.0))),
    "yv": (m.bessely, ((0, 0.3), (1.5, 2.0), (3, 30.0))),
    "iv": (m.besseli, ((0, 0.0), (1, 0.0), (0.5, 2.0), (3, 30.0))),
    "kv": (m.besselk, ((0, 0.3), (1.5, 2.0), (3, 30.0))),
    "ive": (lambda v, x: m.besseli(v, x) * m.exp(-x), ((0.5, 2.0), (3, 30.0))),
    "kve": (lambda v, x: m.besselk(v, x) * m.exp(x), ((0.5, 2.0), (3, 30.0))),
    **{f"j{n}": (lambda x, n=n: m.besselj(n, x), (-2.0, 0.0, 0.3, 25.0)) for n in (0, 1)},
    **{f"y{n}": (lambda x, n=n: m.bessely(n, x), (0.3, 25.0)) for n in (0, 1)},
    **{f"i{n}": (lambda x, n=n: m.besseli(n, x), (-2.0, 0.0, 0.3, 25.0)) for n in (0, 1)},
    **{f"k{n}": (lambda x, n=n: m.besselk(n, x), (0.3, 25.0)) for n in (0, 1)},
    **{f"i{n}e": (lambda x, n=n: m.besseli(n, x) * m.exp(-abs(x)), (-2.0, 0.3, 25.0)) for n in (0, 1)},
    **{f"k{n}e": (lambda x, n=n: m.besselk(n, x) * m.exp(x), (0.3, 25.0)) for n in (0, 1)},
    "erfcx": (erfcx, (-4.0, 0.0, 1.0, 10.0, 29.9, 30.1, 1e4, 1e8)),
    "erfi": (m.erfi, (-3.0, 0.0, 0.5, 5.0)),
    "erfcinv": (lambda x: m.erfinv(1 - x), (0.01, 0.5, 1.0, 1.9)),
    "dawsn": (lambda x: m.sqrt(m.pi) / 2 * m.exp(-x * x) * m.erfi(x), (-35.0, -3.0, 0.0, 0.4, 10.0, 29.9, 30.1, 60.0)),
    "log_ndtr": (lambda x: m.log(m.erfc(-x / m.sqrt(2)) / 2), (-1e4, -50.0, -5.0, 0.0, 2.0, 8.0)),
    "exprel": (lambda x: m.mpf(1) if x == 0 else m.expm1(x) / x, (-50.0, -1.0, -0.99, -1e-9, 0.0, 1e-5, 0.5, 1.0, 1.01, 30.0)),
    "exp1": (m.e1, WIDE),
    "expi": (m.ei, (0.01, 0.5, 2.0, 30.0)),
    "expn": (m.expint, ((0, 0.7), (1, 0.7), (2, 0.1), (5, 20.0))),
    "kl_div": (lambda x, y: x * m.log(x / y) - x + y, ((0.3, 2.0), (5.0, 0.1))),
    "rel_entr": (lambda x, y: x * m.log(x / y), ((0.3, 2.0), (5.0, 0.1))),
    "pseudo_huber": (lambda d, r: d * d * (m.sqrt(1 + (r / d) ** 2) - 1), ((1.0, 0.5), (2.0, 1e-4), (0.1, -30.0))),
    "huber": (lambda d, r: r * r / 2 if abs(r) <= d else d * (abs(r) - d / 2), ((1.0, 0.5), (1.0, -1.5), (0.3, 4.0))),
    "boxcox": (boxcox, ((0.3, 0.0), (2.0, 0.0), (2.0, 1e-9), (3.0, -0.7), (0.1, 2.0))),
    "boxcox1p": (lambda x, power: boxcox(m.mpf(1) + x, power), ((0.3, 0.0), (1e-9, 0.5), (2.0, -0.7))),
    "inv_boxcox": (
        lambda y, power: m.exp(y) if power == 0 else (power * y + 1) ** (1 / power),
        ((0.3, 0.0), (0.5, 0.7), (0.5, 1e-9)),
    ),
    "inv_boxcox1p": (lambda y, power: (m.exp(y) if power == 0 else (power * y + 1) ** (1 / power)) - 1, ((0.3, 0.0), (0.5, 0.7))),
}
INVERSES = {
    "gammaincinv": "gammainc",
    "gammainccinv": "gammaincc",
    "betaincinv": "betainc",
    "betainccinv": "betaincc",
    "ndtri_exp": "log_ndtr",
}
CONSTANT = dict.fromkeys(("jv", "yv", "iv", "kv", "ive", "kve", "expn", "yn", "kn", "hyp0f1"), 1) | {"hyp1f1": 2, "hyp2f1": 3}
ROUGH = {"beta": 1e-11, "betaln": 1e-11, "expn": 1e-10, "dawsn": 1e-10, "erfcx": 1e-10, "log_ndtr": 1e-10}


def derivative(f, point, i, order):
    """That of mpmath's function by argument i."""
    along = lambda t: f(*point[:i], t, *point[i + 1 :])
    with m.workdps(60):
        return float(m.diff(along, m.mpf(point[i]), order))


@pytest.mark.parametrize("name", BY_VARIABLE)
def test_two_derivatives(name):
    f, points = BY_VARIABLE[name]
    op = getattr(sc, name)
    for point in points:
        point = point if isinstance(point, tuple) else (point,)
        for i in range(CONSTANT.get(name, 0), len(point)):
            along = lambda t, i=i, point=point: op(*point[:i], t, *point[i + 1 :])
            x, tolerance = np.float64(point[i]), ROUGH.get(name, 1e-11)
            exact = [derivative(f, point, i, order) for order in (1, 2)]
            np.testing.assert_allclose(fad.grad(along)(x), exact[0], rtol=tolerance, atol=1e-300, err_msg=str(point))
            scale = (
                1e-15 * max(1.0, *map(abs, exact)) / max(abs(x), 1e-5)
            )  # a second derivative near 0 loses what a difference loses
            np.testing.assert_allclose(fad.grad(fad.grad(along))(x), exact[1], rtol=100 * tolerance, atol=scale, err_msg=str(point))


@pytest.mark.parametrize("name", INVERSES)
def test_inverses(name):
    """d f^-1(y) = 1 / f'(f^-1(y)), and f(f^-1(y)) = y to second order."""
    inverse, f = getattr(sc, name), getattr(sc, INVERSES[name])
    shape = {"ndtri_exp": (), "betaincinv": (2.0, 3.0), "betainccinv": (2.0, 3.0)}.get(name, (2.5,))
    for y in (-40.0, -3.0, -0.2) if name == "ndtri_exp" else (0.01, 0.4, 0.97):
        identity = lambda y: f(*shape, inverse(*shape, y))
        assert fad.grad(identity)(y) == pytest.approx(1, rel=1e-9)
        assert fad.grad(fad.grad(identity))(y) == pytest.approx(0, abs=1e-6)


WHOLE = ("expn", "yn", "kn", "bdtr", "bdtrc", "bdtri", "nbdtr", "nbdtrc", "nbdtri", "pdtri")  # their first arguments are integers


@pytest.mark.parametrize(
    "name",
    [name for module in (bessel, elementary, entropy, gamma, hypergeometric, integrals, probability) for name in module.__all__],
)
def test_scipy_finds_them(name):
    """With SciPy's own dtypes, for arrays, integers and scalars; float32 stays float32; complex numbers are refused by functions of real ones."""
    ufunc = getattr(sc, name)
    x = np.array([0.2, 0.5, 0.7])
    for dtype in (np.float64, np.float32):
        if name not in WHOLE:
            check(lambda *xs: ufunc(*xs), *(x.astype(dtype),) * ufunc.nin)
    if not registry[name].real_only:
        return
    with pytest.raises(TypeError):
        fad.jvp(lambda z: ufunc(*[z] * ufunc.nin), (x + 0j,), (x + 0j,))


@pytest.mark.parametrize("name", CONSTANT)
def test_no_derivative_by_a_parameter_is_said(name):
    ufunc = getattr(sc, name)
    for transform in (fad.grad, lambda f: fad.jacfwd(f)):
        with pytest.raises(TraceError, match=rf"scipy\.special\.{name}: no derivative by"):
            transform(lambda v: ufunc(*[v] * (ufunc.nin - 1), 0.5))(1.0)


def test_tails():
    assert fad.grad(sc.log_ndtr)(-1e8) == pytest.approx(1e8)
    assert fad.grad(sc.log_ndtr)(50.0) == 0
    assert fad.grad(sc.erfcx)(np.float32(1e4)) == pytest.approx(-1 / np.sqrt(np.pi) / 1e8, rel=1e-5)
    assert fad.grad(sc.exprel)(-1e4) == pytest.approx(1e-8)
    assert fad.grad(fad.grad(sc.exprel))(0.0) == pytest.approx(1 / 3)
    assert fad.grad(np.i0)(0.5) == pytest.approx(sc.i1(0.5))


# -- what SciPy writes in Python ---------------------------------------------------------------------------------------


X = np.random.default_rng(0).normal(size=(2, 3))
PYTHON = {
    "softmax": [sc.softmax, lambda x: sc.softmax(x, axis=1)],
    "log_softmax": [sc.log_softmax, lambda x: sc.log_softmax(x, axis=0)],
    "logsumexp": [
        sc.logsumexp,
        lambda x: sc.logsumexp(x, axis=1, keepdims=True),
        lambda x: sc.logsumexp(x, b=X * X),
        lambda x: sc.logsumexp(x, axis=1, b=np.array([1.0, -2.0, 0.5]), return_sign=True),
    ],
    "multigammaln": [lambda x: sc.multigammaln(x * x + 3, 3)],
    "polygamma": [lambda x: sc.polygamma(2, x * x + 1)],
}


@pytest.mark.parametrize("f", [pytest.param(f, id=f"{name}-{i}") for name, fs in PYTHON.items() for i, f in enumerate(fs)])
def test_functions_in_python(f):
    """As SciPy gives them, with derivatives; and SciPy's own code where there is no node."""
    results = lambda x: f(x) if isinstance(f(x), tuple) else (f(x),)
    total = lambda x: sum(np.sum(y**2) for y in results(x))
    step = 1e-6 * np.cos(np.arange(6.0).reshape(2, 3))
    slope = (total(X + step) - total(X - step)) / 2
    np.testing.assert_allclose(np.sum(fad.grad(total)(X) * step), slope, rtol=1e-6)
    for y, node in zip(results(X), fad.trace(results)(X)(X), strict=True):
        assert np.shape(y) == np.shape(node)
        np.testing.assert_allclose(node, y, rtol=1e-12, atol=1e-12)


def test_they_keep_their_signatures():
    import inspect
    import pickle

    fad.grad(sc.logsumexp)(np.zeros(2))
    assert list(inspect.signature(sc.logsumexp).parameters) == ["a", "axis", "b", "keepdims", "return_sign"]
    assert pickle.loads(pickle.dumps(sc.softmax)) is sc.softmax
    np.testing.assert_array_equal(sc.softmax([0.0, 0.0]), [0.5, 0.5])
