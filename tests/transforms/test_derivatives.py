"""Transformations against closed forms and against each other."""

import dataclasses
import pickle
import threading
from collections import namedtuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fad
from fad.errors import DtypeError, TreeError

X = np.array([0.5, -1.0, 2.0])


def cubic(x):
    return np.sum(x**3) + x[0] * x[1]


@pytest.mark.smoke
def test_closed_forms():
    assert np.isclose(fad.grad(np.tanh)(0.3), 1 - np.tanh(0.3) ** 2)
    assert np.allclose(fad.grad(cubic)(X), 3 * X**2 + [X[1], X[0], 0])
    assert np.allclose(fad.hessian(cubic)(X), np.diag(6 * X) + [[0, 1, 0], [1, 0, 0], [0, 0, 0]])
    y, dot = fad.jvp(np.sin, (X,), (2 * X,))
    assert np.allclose(y, np.sin(X)) and np.allclose(dot, 2 * X * np.cos(X))


@pytest.mark.smoke
@pytest.mark.parametrize("order", range(6))
def test_orders(order):
    f = np.sin
    for _ in range(order):
        f = fad.grad(f)
    assert np.isclose(f(0.7), [np.sin, np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x)][order % 4](0.7))


def test_modes_nest_in_any_order():
    def forward(f):
        return lambda x: fad.jvp(f, (x,), (1.0,))[1]

    for outer in (fad.grad, forward):
        for middle in (fad.grad, forward):
            for inner in (fad.grad, forward):
                assert np.isclose(outer(middle(inner(lambda x: np.exp(2 * x))))(0.3), 8 * np.exp(0.6))


@pytest.mark.smoke
def test_perturbation_confusion_cannot_be_expressed():
    assert fad.grad(lambda x: x * fad.grad(lambda y: x + y)(1.0))(1.0) == 1.0
    assert fad.grad(lambda x: x * fad.grad(lambda y: x + y)(x))(1.0) == 1.0
    assert fad.grad(lambda x: x * fad.jvp(lambda y: x * y, (x,), (1.0,))[1])(3.0) == 6.0
    assert fad.grad(lambda x: fad.grad(lambda y: x * y * y)(x))(3.0) == 12.0


def test_closures_over_outer_arguments():
    assert fad.grad(lambda z: fad.grad(lambda x: z * z * x)(3.0))(2.0) == 4.0
    jac = fad.jacobian(lambda z: fad.grad(lambda x: np.sum(z * x**2))(X))(X)
    assert np.allclose(jac, np.diag(2 * X))


def test_python_control_flow_follows_values():
    def newton(a):
        x = a
        while abs(x * x - a) > 1e-12:
            x = 0.5 * (x + a / x)
        return x

    assert np.isclose(fad.grad(newton)(2.0), 0.5 / np.sqrt(2.0))
    assert fad.grad(lambda x: x**3 if x > 0 else -x)(2.0) == 12.0


Pair = namedtuple("Pair", "a b")


@dataclasses.dataclass
class Model:
    w: np.ndarray
    b: float


class Own:
    def __init__(self, x):
        self.x = x


fad.tree.register(Own, lambda o: ((o.x,), None), lambda _, children: Own(*children))


def test_pytrees():
    for args, get in (
        ((X, 2.0), lambda p: p),
        ([X, 2.0], lambda p: p),
        ({"a": X, "b": 2.0}, lambda p: (p["a"], p["b"])),
        (Pair(X, 2.0), lambda p: p),
        (Model(X, 2.0), lambda p: (p.w, p.b)),
        ((Own(X), 2.0), lambda p: (p[0].x, p[1])),
    ):

        def f(p, get=get):
            w, b = get(p)
            return np.sum(w * w) * b

        slope = fad.grad(f)(args)
        assert type(slope) is type(args)
        w_bar, b_bar = get(slope)
        assert np.allclose(w_bar, 4 * X) and np.isclose(b_bar, np.sum(X * X))


def test_results_are_pytrees():
    f = lambda x: {"sum": x.sum(), "both": (x, 2 * x)}
    jac = fad.jacobian(f)(X)
    assert np.array_equal(jac["sum"], np.ones(3)) and np.array_equal(jac["both"][1], 2 * np.eye(3))
    y, pullback = fad.vjp(f, X)
    assert np.array_equal(pullback({"sum": 1.0, "both": (X, X)})[0], 1 + 3 * X)
    primal, tangent = fad.jvp(f, (X,), (X,))
    assert np.isclose(tangent["sum"], X.sum()) and np.array_equal(primal["both"][0], X)


def test_argnums_aux_and_unused_arguments():
    f = lambda x, y: (np.sum(x * y), {"x": x})
    (value, aux), (gx, gy) = fad.value_and_grad(f, argnums=(0, 1), has_aux=True)(X, 2 * X)
    assert np.isclose(value, 2 * X @ X) and np.array_equal(aux["x"], X)
    assert np.array_equal(gx, 2 * X) and np.array_equal(gy, X)
    assert np.array_equal(fad.grad(lambda x, y: np.sum(y), argnums=0)(X, X), np.zeros(3))
    assert fad.grad(lambda x: 3.0)(1.0) == 0.0
    y, pullback, aux = fad.vjp(f, X, X, has_aux=True)
    assert np.array_equal(pullback(1.0)[1], X)


def scaled(x, scale=1.0, aux=False):
    y = np.sum(x**3) * scale
    return (y, {"x": x, "scale": scale, "name": "cubes"}) if aux else y


def pulled(f, x, **options):
    y, pullback, *aux = fad.vjp(f, x, **options)
    return (pullback(1.0)[0], *aux) if aux else pullback(1.0)[0]


def pushed(f, x, **options):
    y, dot, *aux = fad.jvp(f, (x,), (np.ones(3),), **options)
    return (dot, *aux) if aux else dot


def linear(f, x, **options):
    y, apply, *aux = fad.linearize(f, x, **options)
    return (apply(np.ones(3)), *aux) if aux else apply(np.ones(3))


def of(transform):
    """A transformation of one that gives a function, called as those that take the arguments at once."""
    return lambda f, x, has_aux=False, **kwargs: transform(f, has_aux=has_aux)(x, **kwargs)


EVERY = {  # by name: the result, without aux and with it, for f, x and keyword arguments; and the derivative of sum(x^3) at x
    "grad": (of(fad.grad), 3 * X**2),
    "jacobian": (of(fad.jacobian), 3 * X**2),
    "jacfwd": (of(fad.jacfwd), 3 * X**2),
    "jacrev": (of(fad.jacrev), 3 * X**2),
    "hessian": (of(fad.hessian), np.diag(6 * X)),
    "vjp": (pulled, 3 * X**2),
    "jvp": (pushed, np.sum(3 * X**2)),
    "linearize": (linear, np.sum(3 * X**2)),
    "hvp": (lambda f, x, **options: fad.hvp(f, x, np.ones(3), **options), 6 * X),
    "grad of jit": (
        lambda f, x, has_aux=False, **kwargs: fad.grad(fad.jit(f, static_argnames="aux"), has_aux=has_aux)(x, **kwargs),
        3 * X**2,
    ),
}


@pytest.mark.parametrize("name", EVERY)
def test_keyword_arguments_in_every_transformation(name):
    transform, expected = EVERY[name]
    assert np.allclose(transform(scaled, X), expected)
    assert np.allclose(transform(scaled, X, scale=2.0), 2 * expected)


@pytest.mark.parametrize("name", [name for name in EVERY if "jit" not in name])
def test_aux_in_every_transformation(name):
    transform, expected = EVERY[name]
    x, scale = X.copy(), np.array([2.0])
    derivative, aux = transform(
        lambda x, scale: (np.sum(x**3) * scale[0], (x, scale, scale[0:], "cubes", 2)), x, has_aux=True, scale=scale
    )
    assert np.allclose(derivative, 2 * expected)
    assert np.array_equal(aux[0], X) and aux[3:] == ("cubes", 2)
    for part in aux[:3]:  # results are never inputs, nor views of them
        assert type(part) is np.ndarray and not np.shares_memory(part, x) and not np.shares_memory(part, scale)
        part[...] = -1
    assert np.array_equal(x, X) and scale == 2.0
    with pytest.raises(TreeError, match="return y, aux"):
        transform(lambda x: np.sum(x), X, has_aux=True)


def test_keyword_arguments_of_the_others():
    function = fad.trace(scaled)(X, scale=2.0)
    assert np.isclose(function(X), 2 * np.sum(X**3))
    with pytest.raises(TreeError, match="keyword"):
        function(X, scale=3.0)
    (value, aux), slope = fad.value_and_grad(scaled, has_aux=True)(X, scale=2.0, aux=True)
    assert np.allclose(slope, 6 * X**2) and aux["scale"] == 2.0 and aux["name"] == "cubes"
    report = fad.compare_modes(scaled, X, repeats=1, scale=2.0, aux=True, has_aux=True)
    assert report.agree and report.inputs == 3


def test_results_of_arguments_passed_through_are_the_callers_own():
    x, w, constant = X.copy(), X.copy(), np.ones(3)
    f = lambda x, w: (x, w, w[1:], constant)
    for result in (fad.jvp(f, (x, w), (x, None))[0], fad.vjp(f, x, w)[0], fad.linearize(f, x, w)[0]):
        for part in result:
            assert not any(np.shares_memory(part, other) for other in (x, w, constant))


@pytest.mark.parametrize(
    "argnums, expected", [(0, 3.0), (-1, 2.0), (np.int64(1), 2.0), ((1, 0), (2.0, 3.0)), ([-2], (3.0,)), ((), ())]
)
def test_argnums(argnums, expected):
    for transform in (fad.grad, fad.jacobian):
        assert transform(np.multiply, argnums=argnums)(2.0, 3.0) == expected


INTEGERS = [np.array([1, 2, 3]), np.int64(1), np.uint8(1), np.array(True), np.array([True]), True]


@pytest.mark.parametrize("x", INTEGERS, ids=str)
@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("compiled", [False, True])
def test_integers_are_refused_in_every_transformation(name, x, compiled):
    transform = EVERY[name][0]
    call = lambda x: transform(lambda x: np.sum(np.sin(x)), x)
    with pytest.raises(DtypeError, match="cannot be differentiated"):
        (fad.jit(call) if compiled else call)(x)


def test_integers_stay_where_no_tangent_moves_them():
    n = np.array([1, 2, 3])
    assert np.allclose(fad.jvp(np.power, (2.0, n), (1.0, None))[1], n * 2.0 ** (n - 1))
    f = lambda p: p["x"] * np.sum(p["n"])
    for tangent in (None, 0, np.zeros(3), np.zeros(3, int)):
        assert fad.jvp(f, ({"x": 2.0, "n": n},), ({"x": 1.0, "n": tangent},))[1] == 6.0
    with pytest.raises(DtypeError, match="integers do not move"):
        fad.jvp(f, ({"x": 2.0, "n": n},), ({"x": 1.0, "n": np.ones(3)},))


def test_numbers_as_leaves_mean_the_same_in_compiled_code():
    params = {"w": np.abs(X).astype(np.float32), "n": 2, "flag": True, "k": np.array([1, 2]), "c": 1j}
    tangents = {"w": X, "n": 1, "flag": None, "k": None, "c": 2.0}
    f = lambda p: np.sum(p["w"] ** p["n"]) * np.abs(p["c"])
    for g in (
        fad.grad(f),
        fad.value_and_grad(f),
        fad.jacobian(f),
        lambda p: fad.vjp(f, p)[1](1.0),
        lambda p: fad.jvp(f, (p,), (tangents,)),
    ):
        (plain, structure), (compiled, structure_) = fad.tree.flatten(g(params)), fad.tree.flatten(fad.jit(g)(params))
        assert structure == structure_
        for a, b in zip(plain, compiled, strict=True):
            assert a.dtype == b.dtype and np.allclose(a, b)


def test_methods_of_an_argument_are_ndarrays():
    from fad.core.expr import Expr, Var

    assert np.array_equal(fad.grad(lambda x: x.trace())(np.ones((2, 2))), np.eye(2))
    hidden = {name for cls in (Expr, Var) for name in cls.__slots__ if hasattr(np.ndarray, name)}
    assert hidden == {"shape", "dtype"}  # which mean what ndarray's mean


def test_linearize_gives_a_linear_function():
    y, f_lin = fad.linearize(lambda x: np.sin(x) * x, X)
    assert isinstance(f_lin, fad.Function)
    assert np.allclose(f_lin(X), fad.jvp(lambda x: np.sin(x) * x, (X,), (X,))[1])
    assert np.allclose(f_lin(2 * X), 2 * f_lin(X))
    assert fad.grad(lambda x: fad.linearize(lambda y: x * y * y, x)[1](1.0))(3.0) == 12.0


def test_hvp_is_hessian_times_vector():
    f = lambda x: np.sum(np.sin(x) * x[0])
    assert np.allclose(fad.hvp(f, X, X), fad.hessian(f)(X) @ X)


def test_stop_gradient():
    assert fad.grad(lambda x: x * fad.stop_gradient(x))(3.0) == 3.0
    assert fad.jvp(lambda x: fad.stop_gradient(x), (3.0,), (1.0,))[1] == 0.0


@given(st.integers(0, 4), st.integers(0, 4), st.sampled_from(["forward", "reverse", "auto"]))
def test_jacobians_of_any_size(n, m, mode):
    a = np.arange(m * n, dtype=float).reshape(m, n)
    assert np.array_equal(fad.jacobian(lambda x: a @ x, mode=mode)(np.ones(n)), a)


def test_transformations_of_functions_are_functions():
    f = fad.trace(cubic)(X)
    gradient = fad.grad(f)
    assert isinstance(gradient, fad.Function) and np.allclose(gradient(X), fad.grad(cubic)(X))
    assert isinstance(fad.hessian(f), fad.Function) and np.allclose(fad.hessian(f)(X), fad.hessian(cubic)(X))
    assert np.allclose(pickle.loads(pickle.dumps(gradient))(X), gradient(X))


def test_float32_stays_float32():
    x = X.astype(np.float32)
    f = lambda x: np.sum(np.tanh(x * 2.0 / 3) ** 2 + np.where(x > 0, x, 0.5))
    assert fad.grad(f)(x).dtype == fad.hessian(f)(x).dtype == fad.jvp(f, (x,), (x,))[1].dtype == np.float32


def test_complex():
    z = 1 + 2j
    assert np.isclose(fad.grad(lambda z: np.abs(z) ** 2)(z), 2 * np.conj(z))
    _, dot = fad.jvp(np.exp, (z,), (1j,))
    assert np.isclose(dot, 1j * np.exp(z))
    assert np.isclose(fad.grad(lambda x: np.real(np.exp(1j * x)))(0.3), -np.sin(0.3))


def test_long_chains_do_not_recurse():
    def chain(x):
        for _ in range(20_000):
            x = np.sin(x) * 1.0001
        return x

    assert np.isclose(fad.grad(chain)(0.5), fad.jvp(chain, (0.5,), (1.0,))[1])
    function = fad.trace(chain)(0.5)
    assert str(function).count("\n") == 40_001
    assert pickle.loads(pickle.dumps(function)) == function


def test_reading_every_element_is_linear():
    assert np.array_equal(fad.grad(lambda x: sum(v * v for v in x))(np.arange(3000.0)), 2 * np.arange(3000.0))


def test_threads_do_not_meet():
    results = {}

    def work(k):
        results[k] = [float(fad.grad(fad.grad(lambda x: x**3 * k))(1.0 + i)) for i in range(50)]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert all(results[k] == [6.0 * k * (1 + i) for i in range(50)] for k in range(8))


def test_residuals_are_freed_during_the_sweep():
    import tracemalloc

    def deep(x):
        for _ in range(30):
            x = np.tanh(x)
        return np.sum(x)

    x = np.ones(50_000)
    tracemalloc.start()
    fad.grad(deep)(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 38 * x.nbytes  # 30 residuals and a few temporaries; holding cotangents as well would double it


def test_arrays_differentiated_inside_other_traces_are_constants_there():
    inner = lambda x: fad.grad(lambda w: np.sum(w * w * x))(X)
    assert np.allclose(fad.vmap(inner)(np.ones((2, 3))), np.stack([2 * X, 2 * X]))
    assert np.allclose(fad.trace(inner)(np.ones(3))(np.ones(3)), 2 * X)
    assert np.allclose(fad.jacobian(inner)(np.ones(3)), np.diag(2 * X))

    def two_after_another(x):
        a = inner(x)
        return np.sum(fad.grad(lambda v: np.sum(v * a))(np.ones(3)))

    assert np.allclose(fad.grad(two_after_another)(np.ones(3)), 2 * X)


def test_a_result_that_is_a_number_of_python():
    assert fad.jvp(lambda x: (3.0, x), (1.0,), (2.0,)) == ((3.0, 1.0), (0.0, 2.0))
