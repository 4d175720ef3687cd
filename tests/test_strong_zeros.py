"""0 times infinity in a derivative: one rule, the same in both modes, eager and compiled.

On a path through a selection 0 times anything is 0, whatever comes first; everywhere else it is NaN, as in NumPy.
"""

import itertools

import numpy as np
import pytest

import fad

INF, NAN = np.inf, np.nan

SELECTIONS = {
    "where": lambda y: np.where(y > -1, y, 0.0)[0],
    "maximum": lambda y: np.maximum(y, -1)[0],
    "minimum": lambda y: np.minimum(y, 9)[0],
    "clip": lambda y: np.clip(y, -1, 1)[0],
    "sort": lambda y: np.sort(y)[0],
    "an element": lambda y: y[0],
    "a slice": lambda y: np.sum(y[:1]),
    "take": lambda y: np.take(y, 0),
    "max": np.max,
    "median": np.median,
    "select": lambda y: np.select([y > -1], [y])[0],
    "nan_to_num": lambda y: np.nan_to_num(y)[0],
    "at.set": lambda y: fad.at(np.concatenate([y, y]))[1].set(0.0)[0],
    "split": lambda y: np.split(np.concatenate([y, y]), 2)[0][0],
    "none": np.sum,
}
INNER = {
    "root of a square": lambda x: np.sqrt(x**2),
    "square of a root": lambda x: np.sqrt(x) ** 2,
    "cbrt of a cube": lambda x: np.cbrt(x**3),
    "cube of cbrt": lambda x: np.cbrt(x) ** 3,
    "root of a product": lambda x: np.sqrt(x * x),
    "x sqrt x": lambda x: x * np.sqrt(x),
    "x / x": lambda x: np.exp(np.log(x)),
    "root of a norm": lambda x: np.reshape(np.sqrt(np.sum(x * x)), (1,)),
    "a selection first": lambda x: np.sqrt(np.where(x > -1, x, 0.0) ** 2),
    "arccos": lambda x: np.arccos(1 - x) ** 2,
}


def slopes(f, x):
    """df/dx, by every way there is."""
    one = np.ones(1)
    yield fad.grad(f)(x)[0]
    yield fad.jvp(f, (x,), (one,))[1]
    yield fad.jacfwd(f)(x)[0]
    yield fad.linearize(f, x)[1](one)
    yield fad.jit(fad.grad(f))(x)[0]
    yield fad.jit(lambda x: fad.jvp(f, (x,), (one,))[1])(x)
    yield fad.trace(fad.grad(f))(x)(x)[0]


@pytest.mark.parametrize(("selection", "inner"), list(itertools.product(SELECTIONS, INNER)))
def test_both_modes_have_one_rule(selection, inner):
    f = lambda x: SELECTIONS[selection](INNER[inner](x))
    found = [float(s) for s in slopes(f, np.zeros(1))]
    np.testing.assert_array_equal(found, found[0])
    if selection == "none" and inner not in ("a selection first", "x sqrt x"):
        assert np.isnan(found[0])


LIMITS = {  # functions that have reached a limit where an exponential overflows, by hand: slope 0 there
    "logistic": (lambda x: 1 / (1 + np.exp(-x)), -1000.0),
    "reciprocal": (lambda x: np.reciprocal(1 + np.exp(x)), 1000.0),
    "square of sech": (lambda x: 1 / np.cosh(x) ** 2, 1000.0),
    "complementary log-log": (lambda x: np.exp(-np.exp(x)), 1000.0),
    "tanh of exp": (lambda x: np.tanh(np.exp(x)), 1000.0),
    "arctan of sinh": (lambda x: np.arctan(np.sinh(x)), -1000.0),
    "exp2": (lambda x: 3 / (1 + np.exp2(x)), 2000.0),
    "expm1": (lambda x: 1 / np.expm1(x), 1000.0),
    "float32": (lambda x: 1 / (1 + np.exp(-x)), np.float32(-100.0)),
}


@pytest.mark.parametrize("name", LIMITS)
def test_an_exponential_that_overflows_behind_a_limit(name):
    f, x = LIMITS[name]
    one = type(x)(1)
    with np.errstate(over="ignore"):
        for g in (fad.grad(f), lambda x: fad.jvp(f, (x,), (one,))[1], fad.jit(fad.grad(f)), fad.grad(fad.grad(f))):
            assert g(x) == 0.0


def test_an_exponential_that_overflows_without_a_limit_is_not_hidden():
    for f in (lambda x: np.log(1 + np.exp(x)), lambda x: np.sqrt(np.exp(x))):
        with np.errstate(over="ignore"):
            assert not np.isfinite(f(1000.0))
            assert np.isnan(fad.grad(f)(1000.0))
            assert np.isnan(fad.jvp(f, (1000.0,), (1.0,))[1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logsumexp_by_weights(dtype):
    """d/db log sum b exp(x) = exp(x) / sum, also at b = 0 (jax#37729), where x is large, and where nothing else is left."""
    lse = fad.numpy.logsumexp
    b = np.array([2.0, 0.0, 5.0], dtype)
    e = np.array([0.0, 1.0, 0.0], dtype)
    f = lambda b: lse(np.zeros(3, dtype), b=b)
    np.testing.assert_allclose(fad.jvp(f, (b,), (e,))[1], 1 / 7, rtol=1e-6)
    np.testing.assert_allclose(fad.grad(f)(b), np.full(3, 1 / 7), rtol=1e-6)
    np.testing.assert_allclose(fad.hessian(f)(b), np.full((3, 3), -1 / 49), rtol=1e-5)
    np.testing.assert_allclose(lse(np.array([1.0, 1000.0], dtype), b=np.array([1.0, 0.0], dtype)), 1.0)
    g = fad.grad(lambda x: lse(x, b=b))(np.array([1.0, 1e4, 1.0], dtype))
    np.testing.assert_allclose(g, [2 / 7, 0, 5 / 7], rtol=1e-6)


def test_quantile_by_q_at_a_knot():
    """Between two elements the slope is their distance times n - 1; at a knot that of one side."""
    slope = fad.grad(lambda q: np.quantile(np.array([1.0, 2.0, 4.0]), q))
    assert [slope(q) for q in (0.0, 0.2, 0.5, 0.8, 1.0)] == [2.0, 2.0, 4.0, 4.0, 4.0]
    assert fad.grad(lambda q: np.quantile(np.array([3.0]), q))(0.5) == 0.0
    x = np.array([-INF, 1.0, 2.0, INF])
    for q, value in ((0.0, -INF), (1 / 3, 1.0), (0.5, 1.5), (2 / 3, 2.0), (1.0, INF)):  # NumPy's own is NaN beside infinities
        assert fad.jit(lambda x, q=q: np.quantile(x, q))(x) == fad.value_and_grad(lambda x, q=q: np.quantile(x, q))(x)[0] == value
