"""jet: Taylor arithmetic against nested forward mode for every primitive, and against series that are known."""

from math import factorial

import numpy as np
import pytest

import fad
import fad.nn
import fad.random
import fad.stax  # so that every record is in the registry
from fad import tree
from fad.core.primitive import registry
from fad.errors import DtypeError, NonFiniteError, ShapeError, TreeError
from fad.primitives import load_primitives

load_primitives()
OPS = {name: op for name, op in registry.items() if op.sample is not None and op.derivative is not None}
X, V = np.array([0.3, 0.7]), np.array([1.0, -0.5])


def nested(f, order):
    """The derivatives of a function of one number at 0, by forward mode in itself."""
    found = []
    for _ in range(order):
        f = (lambda g: lambda t: fad.jvp(g, (t,), (1.0,))[1])(f)
        found.append(f(0.0))
    return found


def curve(x, series):
    """t -> x + series[0] t + series[1] t^2 / 2 + ..."""
    return lambda t: x + sum(c * t ** (k + 1) / factorial(k + 1) for k, c in enumerate(series))


@pytest.mark.parametrize("name", sorted(OPS))
def test_every_primitive(name):
    """The third order along a curve, all float arguments moving."""
    op, rng = OPS[name], np.random.default_rng(3)
    args, params = op.sample(rng, (2, 3), np.dtype(float))
    args = [np.asarray(a) for a in args]
    places = [i for i, a in enumerate(args) if a.dtype.kind in "fc"]
    floats = [args[i] for i in places]
    series = [[0.1 * rng.normal(size=x.shape).astype(x.dtype) for _ in range(3)] for x in floats]

    def apply(*xs):
        inner = list(args)
        for i, x in zip(places, xs, strict=True):
            inner[i] = x
        return op(*inner, **params)

    with np.errstate(all="ignore"):
        y, found = fad.jet(apply, tuple(floats), tuple(series))
        expected = nested(lambda t: apply(*(curve(x, s)(t) for x, s in zip(floats, series, strict=True))), 3)
        assert np.array_equal(y, apply(*floats), equal_nan=True)
    for k, (got, wanted) in enumerate(zip(found, expected, strict=True), 1):
        np.testing.assert_allclose(got, wanted, rtol=1e-7, atol=1e-7 * (1 + np.abs(wanted).max(initial=0)), err_msg=f"order {k}")


COMPOSED = {
    "quotient": lambda x: np.sin(x) / (1 + x * x),
    "powers": lambda x: x**3 + x**-1.5 + x**x + 2**x,
    "products": lambda x: np.outer(x, x) @ np.exp(x),
    "three factors": lambda x: np.einsum("i,j,k->", x, np.sin(x), x),
    "softmax": lambda x: np.exp(x) / np.sum(np.exp(x)),
    "solve": lambda x: np.linalg.solve(np.outer(x, x) + np.eye(2), np.sin(x)),
    "det and inv": lambda x: np.linalg.det(np.outer(x, x) + np.eye(2)) * np.linalg.inv(np.outer(x, x) + np.eye(2)),
    "kinks": lambda x: np.maximum(x, x[::-1]) ** 2 + np.abs(x - 0.5) ** 3 + np.where(x > 0.5, np.tanh(x), x * x),
    "layers": lambda x: fad.nn.dense(np.tanh(fad.nn.dense(x[None], np.outer(x, V), x)), np.outer(x, x), V),
    "index": lambda x: fad.at(np.concatenate([x, np.sin(x)]))[1:3].multiply(x) ** 2,
}


@pytest.mark.parametrize("name", COMPOSED)
def test_compositions_to_order_five(name):
    f, series = COMPOSED[name], [V, -V, 0.3 * V, V**2, X]
    _, found = fad.jet(f, (X,), (series,))
    for got, wanted in zip(found, nested(lambda t: f(curve(X, series)(t)), 5), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-8, atol=1e-8)


def test_series_that_are_known_to_order_thirty():
    order = 30
    along = [1.0] + [None] * (order - 1)
    assert np.allclose(fad.jet(np.exp, (0.0,), (along,))[1], 1.0)
    assert np.allclose(fad.jet(np.sin, (0.0,), (along,))[1], [np.sin((k + 1) * np.pi / 2) for k in range(order)])
    geometric = fad.jet(lambda x: 1 / (1 - x), (0.0,), (along,))[1]
    assert np.allclose(geometric, [float(factorial(k + 1)) for k in range(order)], rtol=1e-12)
    half = fad.jet(lambda x: (1 + x) ** 0.5, (0.0,), (along,))[1]
    products = np.cumprod([0.5 - k for k in range(order)])
    assert np.allclose(half, products, rtol=1e-10)
    assert np.allclose(fad.jet(np.sqrt, (1.0,), (along,))[1], products, rtol=1e-10)


def test_work_grows_with_the_square_of_the_order():
    """Counted in operations of the compiled tree, where nested forward mode doubles with every order."""
    f = lambda x: np.tanh(np.sin(x) * np.exp(x))
    count = lambda k: len(fad.trace(lambda x: fad.jet(f, (x,), ([1.0] + [None] * (k - 1),))[1][-1])(0.5).nodes)
    assert count(16) < 4.5 * count(8) < 4.5 * 4.5 * count(4)


def test_other_transformations():
    f = lambda x: np.sum(np.tanh(np.sin(x) @ np.ones((2, 2)) * np.exp(x)))
    third = lambda x, v: fad.jet(f, (x,), ([v, None, None],))[1][2]
    expected = nested(lambda t: f(X + t * V), 4)
    assert third(X, V) == pytest.approx(expected[2])
    assert fad.jit(third)(X, V) == pytest.approx(expected[2])
    assert fad.jet(fad.jit(f), (X,), ([V, None, None],))[1][2] == pytest.approx(expected[2])
    assert fad.jet(fad.trace(f)(X), (X,), ([V, None, None],))[1][2] == pytest.approx(expected[2])
    assert fad.grad(third)(X, V) @ V == pytest.approx(expected[3])
    assert fad.jvp(third, (X, V), (V, None))[1] == pytest.approx(expected[3])
    assert np.allclose(fad.vmap(third, (None, 0))(X, np.stack([V, 2 * V])), [expected[2], 8 * expected[2]])
    (inner,) = fad.jet(lambda x: third(x, V), (X,), ([V],))[1]
    assert inner == pytest.approx(expected[3])


def test_values_that_were_freed():
    """Of large arrays a node keeps what its own derivative reads: the rest is computed again where it is asked for."""
    x = np.linspace(0.1, 1, 5000)
    f = lambda x: np.sum(np.sqrt(np.exp(np.sin(x) * 2) / (1 + np.tanh(x))) * np.logaddexp(np.exp(x), x + 1))
    _, found = fad.jet(f, (x,), ([x, None, x],))
    assert np.allclose(found, nested(lambda t: f(x + x * t + x * t**3 / 6), 3))
    second = lambda s: fad.jet(f, (s * x,), ([x, None],))[1][1]
    assert fad.grad(second)(1.0) == pytest.approx(fad.jet(f, (x,), ([x, None, None],))[1][2])


def test_structural_zeros_and_kinks():
    safe = lambda x: np.where(x > 0, np.sqrt(x), 0.0)
    _, found = fad.jet(safe, (np.array([0.0, 4.0]),), ([np.ones(2), None],))
    assert found[0].tolist() == [0.0, 0.25] and found[1].tolist() == [0.0, -1 / 32]
    times_infinity = lambda x: np.where(x > 0, x, 0.0) * np.array([np.inf, 1.0])
    assert fad.jet(times_infinity, (np.array([-1.0, 1.0]),), ([np.ones(2)],))[1][0].tolist() == [0.0, 1.0]
    assert fad.jet(lambda x: x**2.5, (0.0,), ([1.0, None, None],))[1] == [0.0, 0.0, np.inf]
    assert fad.jet(lambda x: x**3, (0.0,), ([1.0, None, None, None],))[1] == [0.0, 0.0, 6.0, 0.0]


def test_pytrees_constants_integers_and_dtypes():
    f = lambda p, k, scale: ({"a": scale * p["x"] * p["n"], "n": p["n"]}, 3.0)
    (y, three), (first, second) = fad.jet(f, ({"x": 2.0, "n": np.arange(3)}, 7), ([{"x": 1.0, "n": None}, None], None), scale=2.0)
    assert y["a"].tolist() == [0.0, 4.0, 8.0] and three == 3.0
    assert first[0]["a"].tolist() == [0.0, 2.0, 4.0] and first[0]["n"] is None and first[1] == 0.0
    assert second[0]["a"].tolist() == [0.0, 0.0, 0.0] and second[0]["n"] is None
    _, (one, two) = fad.jet(lambda x: np.sin(x) / x, (np.ones(2, np.float32),), ([np.ones(2), None],))
    assert one.dtype == two.dtype == np.float32
    _, (one, two) = fad.jet(lambda x: np.exp(1j * x), (0.0,), ([1.0, None],))
    assert (one, two) == (1j, -1)
    assert fad.jet(np.sin, (0.0,), ([],)) == (0.0, [])


def test_auxiliary_results():
    y, (first, second), aux = fad.jet(lambda x: (x * x, {"x": x}), (3.0,), ([1.0, 5.0],), has_aux=True)
    assert (y, first, second, aux) == (9.0, 6.0, 2.0 + 2 * 3.0 * 5.0, {"x": 3.0})


def test_results_are_the_callers_own():
    v = np.ones(2)
    y, (first,) = fad.jet(lambda x: (x, x), (X,), ([v],))
    for a in tree.leaves((y, first)):
        assert not any(np.shares_memory(a, b) for b in (X, v))
    assert first[0] is not first[1]


def test_nans_are_named():
    with (
        fad.debug_nans(),
        pytest.raises(NonFiniteError, match=r"the Taylor coefficient of order 1 of multiply is a NaN(.|\n)*test_jet.py"),
    ):
        fad.jet(lambda x: np.sqrt(x) * x, (0.0,), ([1.0],))


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ((1.0, [1.0]), TreeError, "two tuples with one entry for each argument"),
        (((1.0,), ([1.0], [1.0])), TreeError, "two tuples with one entry for each argument"),
        (((1.0,), (1.0,)), TreeError, "a series is no list"),
        (((1.0,), ([np.ones(2)],)), ShapeError, "a derivative has another shape than its primal"),
        (((1.0,), (["one"],)), DtypeError, "jet: a derivative"),
        ((({"x": 1.0},), ([1.0],)), TreeError, "a derivative of another structure"),
        (((1.0, 1.0), ([1.0], [1.0, 0.0])), ShapeError, "series of different orders: got 1, 2"),
        (((np.arange(2),), ([np.ones(2)],)), DtypeError, "cannot be differentiated"),
    ],
)
def test_errors(arguments, error, message):
    with pytest.raises(error, match=message):
        fad.jet(lambda *xs: xs[0], *arguments)
