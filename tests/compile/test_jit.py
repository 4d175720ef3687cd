"""jit: the face of the compiler. Arguments and results of every kind, composition, retraces, errors, threads and processes."""

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fad
import fad.nn
from fad.core.primitive import Primitive, registry
from fad.errors import DtypeError, FadError, OutOfRangeError, TraceError, TreeError
from fad.testing import assert_close

X = np.linspace(-1.0, 2.0, 12).reshape(3, 4)
V = np.linspace(0.1, 0.9, 5)


def same(f, *args, ulp=4, **kwargs):
    """fad.jit(f) on these arguments, three times, is f; returns the result."""
    compiled, want = fad.jit(f), f(*args, **kwargs)
    for _ in range(3):  # the first call compiles, the second finds the program, the third takes the short way
        got = compiled(*args, **kwargs)
        assert_close(got, fad.tree.map(lambda y: y if isinstance(y, np.ndarray) and y.ndim else np.asarray(y)[()], want), ulp=ulp)
    return got


# -- trees in and out --------------------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_trees_of_every_kind():
    def f(parts, pair, scale=2.0):
        return {"sum": np.sum(parts["a"]) * scale, "rest": [parts["b"][0] + pair[0], (pair[1],)], "none": None, "empty": ()}

    same(f, {"a": X, "b": [V, None]}, (V, 3.0))
    same(f, {"a": X, "b": [V, None]}, (V, 3.0), scale=0.5)
    assert type(same(lambda p: (p, [p[0] * 2.0]), (X, V))[1]) is list


def test_no_arguments_no_results_and_none():
    assert fad.jit(lambda: None)() is None
    assert fad.jit(lambda x: None)(X) is None
    assert fad.jit(lambda x: ())(X) == ()
    assert fad.jit(lambda x: {"a": None, "b": []})(X) == {"a": None, "b": []}
    assert fad.jit(lambda: np.arange(3.0))().tolist() == [0.0, 1.0, 2.0]
    assert fad.jit(lambda d: d["x"] * 2.0)({"x": 1.5, "none": None}) == 3.0


def test_another_structure_is_another_signature():
    f = fad.jit(lambda t: fad.tree.map(lambda x: x * 2.0, t))
    for t in (1.0, (1.0,), [1.0], {"a": 1.0}, (1.0, [2.0]), ((1.0,), 2.0), V, (V, None), 1.0, (1.0,)):
        assert_close(f(t), fad.tree.map(lambda x: np.asarray(x * 2.0)[()], t))
    assert len(f.compiled) == 8


@pytest.mark.smoke
@pytest.mark.parametrize(
    "f",
    [
        lambda x: (x, x),
        lambda x: x,
        lambda x: [np.sin(x)] * 3,
        lambda x: (x.reshape(-1), x),
        lambda x: (x.T, x[::2], x),
        lambda x: (lambda y: (y.reshape(-1), y, y.T, y[1:]))(np.sin(x)),
        lambda x: (lambda y: (y[1:], y, y))(np.cumprod(x)),
        lambda x: (CONSTANT, CONSTANT, x * 0.0 + CONSTANT[0]),
        lambda x: (np.zeros((3, 4)), np.zeros((3, 4))),
        lambda x: np.broadcast_to(x[0, 0], (3, 4)),
        lambda x: (fad.stop_gradient(x), +x, x * 1.0),
    ],
)
def test_results_are_the_callers_own(f):
    """No result shares memory with an argument, a constant, another result, or what the next call gives."""
    g, x = fad.jit(f), X.copy()
    want = [np.array(y) for y in fad.tree.leaves(f(X))]
    for _ in range(3):
        got = fad.tree.leaves(g(x))
        for k, y in enumerate(got):
            assert y.flags.writeable and not np.shares_memory(y, x) and not np.shares_memory(y, CONSTANT)
            assert not any(np.shares_memory(y, z) for z in got[:k])
            assert_close(y, want[k])
            y[...] = 7.0
        assert np.array_equal(x, X)


CONSTANT = np.arange(1.0, 6.0)


def test_a_captured_array_is_taken_as_it_was():
    weights = np.arange(5.0)
    f = fad.jit(lambda x: x * weights + 1.0)
    first = f(V)
    weights[:] = 100.0
    assert np.array_equal(f(V), first)
    assert np.array_equal(fad.jit(lambda x: x * np.arange(5.0) + 1.0)(V), first)  # an equal program, from the cache
    assert np.array_equal(fad.jit(lambda x: x * weights + 1.0)(V), V * 100.0 + 1.0)


# -- static arguments, keywords, methods -------------------------------------------------------------------------------


def power(x, n, *, flag=False):
    y = x
    for _ in range(n - 1):  # Python's own loop over a static number
        y = y * x
    return -y if flag else y


@pytest.mark.parametrize(
    "options",
    [
        {"static_argnums": 1, "static_argnames": "flag"},
        {"static_argnums": (1,), "static_argnames": ("flag",)},
        {"static_argnames": ("n", "flag")},
        {"static_argnums": (-1,), "static_argnames": ["flag"]},
    ],
)
def test_static_arguments(options):
    f = fad.jit(power, **options)
    for n in (1, 2, 3, 2):
        assert_close(f(V, n), power(V, n))
        assert_close(f(V, n, flag=True), power(V, n, flag=True))
    if options.get("static_argnums") != (-1,):
        assert_close(f(V, n=3), power(V, 3))
        assert_close(f(x=V, n=3), power(V, 3))
    assert f.__name__ == "power"


def test_static_strings_functions_and_none():
    f = fad.jit(lambda x, how, then: then(np.sin(x)) if how == "sin" else x, static_argnums=(1, 2))
    assert_close(f(V, "sin", np.exp), np.exp(np.sin(V)))
    assert_close(f(V, "sin", np.sum), np.sum(np.sin(V)), ulp=8)
    assert_close(f(V, None, None), V)


def test_static_numbers_of_several_kinds_are_several_programs():
    f = fad.jit(lambda x, n: x * n, static_argnums=1)
    ints = np.arange(3)
    assert [f(ints, n).dtype for n in (2, 2.0, True, 2.0, 2)] == [np.dtype(d) for d in (int, float, int, float, int)]
    h = fad.jit(lambda x, n: x * n[0], static_argnums=1)
    assert [h(ints, n).dtype for n in ((2,), (2.0,), (2,))] == [np.dtype(d) for d in (int, float, int)]
    g = fad.jit(lambda x, n: np.copysign(x, n), static_argnums=1)
    assert [g(1.0, n) for n in (0.0, -0.0)] == [1.0, -1.0]


def test_as_a_decorator_with_options_and_on_a_method():
    @fad.jit(static_argnames="k")
    def f(x, k=2):
        """Documented."""
        return x * k

    assert f.__doc__ == "Documented." and f.__wrapped__(1.0) == 2.0
    assert f(V, k=3).tolist() == (V * 3).tolist() and f(V).tolist() == (V * 2).tolist()

    class Model:
        def __init__(self, w):
            self.w = w

        @fad.jit(static_argnums=0)
        def predict(self, x):
            return x * self.w

    a, b = Model(2.0), Model(3.0)
    assert [m.predict(1.5) for m in (a, b, a)] == [3.0, 4.5, 3.0]


def test_defaults_and_keywords():
    f = fad.jit(lambda x, *, scale=1.0, shift: x * scale + shift)
    assert f(2.0, shift=1.0) == 3.0
    assert f(2.0, shift=1.0, scale=V[0]) == 2.0 * V[0] + 1.0
    with pytest.raises(TypeError, match="shift"):
        f(2.0)


# -- dtypes ------------------------------------------------------------------------------------------------------------


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64", "int32", "uint8", "bool", "complex64", "complex128"])
def test_python_numbers_are_weak(dtype):
    x = np.array([0, 1, 1]).astype(dtype)
    for k in (2, 2.5, True, 1j):
        same(lambda x, k: x * k, x, k)
        same(lambda x, k=k: x * k, x)


def test_python_numbers_and_numpy_scalars():
    python = 3, -3, 2**40, True, False, 2.5, -0.0, float("nan"), 1 + 2j
    for x in (*python, np.float32(1.5), np.int8(-3), np.bool_(True), np.array(2.5), np.uint8(200)):
        same(lambda x: (x, x * 1, -np.sin(x * 1.0)), x)
        same(lambda x, y: x * y, x, V)
        same(lambda d: d["x"] + d["y"][0] * 1.0, {"x": x, "y": [x]})


def test_numbers_change_from_call_to_call():
    f = fad.jit(lambda n, x, b, z: (n + 1, x * 2.0, ~np.asarray(b) if isinstance(b, bool) else np.logical_not(b), z * 2))
    for n in (0, 1, -1, 2**40, -(2**62), 7):
        got = f(n, n / 3, n % 2 == 0, complex(n, -n))
        assert got == (n + 1, n / 3 * 2.0, n % 2 != 0, complex(n, -n) * 2)


def test_a_number_that_does_not_fit():
    with pytest.raises((FadError, OverflowError)):
        fad.jit(lambda x: x * 2)(10**30)


# -- arrays of every layout --------------------------------------------------------------------------------------------


class Subclass(np.ndarray):
    """Does nothing."""


def layouts():
    x = np.linspace(-1.0, 2.0, 60).reshape(3, 4, 5)
    yield "plain", x
    yield "Fortran", np.asfortranarray(x)
    yield "transposed", x.transpose(2, 0, 1).copy().transpose(1, 2, 0)
    yield "reversed", x[::-1, :, ::-1].copy()[::-1, :, ::-1]
    yield "strided", np.repeat(x, 2, axis=2)[:, :, ::2]
    yield "broadcast", np.broadcast_to(x[:1, :, :1], (3, 4, 5))
    yield "byte-swapped", x.astype(x.dtype.newbyteorder())
    yield "misaligned", np.frombuffer(b"\0" + x.tobytes() + b"\0" * 7, np.uint8)[1:-7].view(float).reshape(x.shape)
    yield "subclass", x.view(Subclass)
    yield "byte-swapped subclass", x.astype(x.dtype.newbyteorder()).view(Subclass)
    frozen = x.copy()
    frozen.flags.writeable = False
    yield "read-only", frozen


@pytest.mark.parametrize("name, x", list(layouts()), ids=[name for name, _ in layouts()])
def test_layouts(name, x):
    before, twice = x.tobytes(), fad.jit(lambda x: (x * 2.0, np.sum(x, axis=1), x[::-1], np.cumprod(x, axis=0)))
    plain = np.array(x, float, order="C", subok=False)
    for _ in range(3):
        for y, want in zip(twice(x), twice.f(plain), strict=True):
            assert type(y) is np.ndarray and y.dtype.isnative
            assert_close(y, want)
        assert_close(twice(plain), twice.f(plain))  # the short way must tell them apart
    assert x.tobytes() == before


def test_memmap(tmp_path):
    x = np.memmap(tmp_path / "x", float, "w+", shape=(4, 5))
    x[:] = np.arange(20.0).reshape(4, 5)
    f = fad.jit(lambda x: np.sum(x * x, axis=0))
    for a in (x, np.memmap(tmp_path / "x", float, "r", shape=(4, 5)), x[1:, ::2]):
        assert type(f(a)) is np.ndarray
        assert_close(f(a), np.sum(np.array(a) ** 2, axis=0))


def test_shapes_and_dtypes_that_alternate():
    f = fad.jit(lambda x, y: x * y + 1.0)
    arguments = [
        (V, 2.0),
        (V.astype(np.float32), 2.0),
        (V[:3], 2.0),
        (V, V),
        (V[:, None], V),
        (np.float32(2.0), 2.0),
        (3, 2.0),
        (V[::2], 2.0),
        (V[:0], 2.0),
    ]
    for _ in range(3):
        for args in [*arguments, *arguments[::-1]]:
            got = f(*args)
            assert_close(got, np.asarray(args[0] * args[1] + 1.0)[()])


# -- composition -------------------------------------------------------------------------------------------------------


def loss(x):
    return np.sum(np.sin(x) ** 2 * np.exp(0.1 * x)) + np.prod(x)


TRANSFORMATIONS = {
    "grad": lambda f: fad.grad(f),
    "value_and_grad": lambda f: fad.value_and_grad(f),
    "hessian": lambda f: fad.hessian(f),
    "jacfwd": lambda f: fad.jacfwd(f),
    "jacrev": lambda f: fad.jacrev(f),
    "jacobian": lambda f: fad.jacobian(f),
    "jvp": lambda f: lambda x: fad.jvp(f, (x,), (np.cos(x),)),
    "vjp": lambda f: lambda x: fad.vjp(f, x)[1](2.0),
    "linearize": lambda f: lambda x: fad.linearize(f, x)[1](np.cos(x)),
    "Hessian times vector": lambda f: lambda x: fad.jvp(fad.grad(f), (x,), (np.cos(x),))[1],
    "vmap": lambda f: lambda x: fad.vmap(f)(np.stack([x, x + 1.0])),
    "vmap of grad": lambda f: lambda x: fad.vmap(fad.grad(f))(np.stack([x, x + 1.0])),
    "grad of vmap": lambda f: fad.grad(lambda x: np.sum(fad.vmap(f)(np.stack([x, x * x])))),
    "third order": lambda f: fad.grad(lambda x: np.sum(fad.jvp(fad.grad(f), (x,), (np.ones(5),))[1] ** 2)),
    "trace": lambda f: lambda x: fad.trace(f)(x)(x),
}


@pytest.mark.smoke
@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_jit_and_transformations_commute(name):
    transform = TRANSFORMATIONS[name]
    want = transform(loss)(V)
    scale = max(float(np.max(np.abs(y))) for y in fad.tree.leaves(want))
    jit = fad.jit
    for g in (transform(jit(loss)), jit(transform(loss)), jit(transform(jit(loss))), jit(jit(transform(loss)))):
        assert_close(g(V), want, ulp=4, atol=1e-14 * scale)
        assert_close(g(V), want, ulp=4, atol=1e-14 * scale)


def test_derivatives_of_any_order_of_a_scalar():
    f, g = lambda x: np.tanh(x) * np.exp(x), fad.jit(lambda x: np.tanh(x) * np.exp(x))
    for _ in range(4):
        f, g = fad.grad(f), fad.jit(fad.grad(g))
        assert_close(g(0.7), f(0.7), ulp=64)  # far from the zeros of each derivative


def test_jit_of_jit_is_jit():
    f = fad.jit(loss)
    assert fad.jit(f) is f
    assert "jit" in repr(f) and "loss" in repr(f)


@pytest.mark.parametrize(
    "outer",
    [
        fad.grad,
        lambda f: lambda x: fad.jvp(f, (x,), (1.0,))[1],
        lambda f: fad.jit(fad.grad(f)),
        lambda f: lambda x: fad.vmap(fad.grad(f))(np.stack([x]))[0],
        lambda f: lambda x: fad.trace(fad.grad(f))(x)(x),
    ],
)
def test_a_jitted_function_may_close_over_what_is_traced_outside(outer):
    """d/dx of x y over y = 2, where the jitted function of y finds x around it."""
    assert_close(outer(lambda x: fad.jit(lambda y: x * y + np.sin(y))(2.0))(3.0), np.float64(2.0))
    assert_close(outer(lambda x: np.sum(fad.jit(lambda y: x * x * y)(np.ones(4))))(3.0), np.float64(24.0))
    assert_close(outer(lambda x: fad.grad(fad.jit(lambda y: x * y * y))(2.0))(3.0), np.float64(4.0))


def test_static_and_tree_arguments_under_transformations():
    f = fad.jit(lambda p, n: np.sum(p["w"] ** n) + p["b"], static_argnums=1)
    value, gradient = fad.value_and_grad(f)({"w": V, "b": 1.0}, 3)
    assert_close(gradient, {"w": 3 * V**2, "b": np.float64(1.0)}, ulp=8)
    assert_close(fad.jit(fad.grad(f), static_argnums=1)({"w": V, "b": 1.0}, 3), gradient, ulp=8)


def test_a_jitted_function_inside_a_jitted_loss_and_a_training_step():
    layer = fad.jit(lambda w, x: np.tanh(x @ w))

    def cost(w):
        return np.mean((layer(w, layer(np.eye(4), X)) - 0.5) ** 2)

    w, slow = np.eye(4), np.eye(4)
    step = fad.jit(lambda w: w - 0.1 * fad.grad(cost)(w))
    for _ in range(10):
        w, slow = step(w), slow - 0.1 * fad.grad(cost)(slow)
    assert_close(w, slow, ulp=8, atol=1e-14)


# -- what is told ------------------------------------------------------------------------------------------------------


def test_explain_names_the_argument_that_caused_a_retrace():
    f = fad.jit(lambda x, data, n: x * data["w"] * n, static_argnames="n")
    f.__name__ = "f"
    assert f.explain().startswith("f: 0 signatures")
    f(1.0, {"w": V}, n=2)
    f(1.0, {"w": V}, n=2)
    assert "1 signature" in f.explain() and "retraced" not in f.explain()
    for args, n, why in (
        ((1.0, {"w": V[:3]}), 2, ("w", "f64[3]", "f64[5]")),
        ((np.float32(1), {"w": V}), 2, ("x", "f32", "float")),
        ((1.0, {"w": V}), 3, ("n", "3", "2")),
        ((1.0, {"w": V, "b": 1.0}), 2, ("structure",)),
    ):
        f(*args, n=n)
        last = f.explain().splitlines()[-1]
        assert "retraced" in last and all(part in last for part in why), last
    assert "5 signatures" in f.explain() and "ms" in f.explain() and "nodes" in f.explain()


def test_equal_functions_share_a_program():
    def make():
        return fad.jit(lambda x: np.sin(x) * 1.2345 + np.arange(5.0))

    first, second = make(), make()
    assert np.array_equal(first(V), second(V))
    (a,), (b,) = first.compiled.values(), second.compiled.values()
    assert a.program is b.program and "found in this process" in second.explain()
    other = fad.jit(lambda x: np.sin(x) * 1.2346 + np.arange(5.0))
    other(V)
    assert "found" not in other.explain()


def test_lowered_text():
    lowered = fad.jit(lambda x: np.sum(np.sin(x) * 2.0)).lower(V)
    assert "sin" in lowered.tree and "sum" in lowered.tree
    assert "loops" in lowered.loops and "arena" in lowered.loops
    assert "define" in lowered.llvm and "fmul" in lowered.llvm
    assert "ret" in lowered.assembly
    assert all(part in str(lowered) for part in (lowered.tree, lowered.loops, lowered.llvm))
    assert "call argsort" in fad.jit(np.argsort).lower(V).loops


def test_trace_is_the_function_that_is_compiled():
    function = fad.jit(lambda x, k: x * k, static_argnums=1).trace(V, 3)
    assert isinstance(function, fad.Function) and [n.op.name for n in function.nodes] == ["multiply"]


# -- errors ------------------------------------------------------------------------------------------------------------

ERRORS = {
    "not a function": (lambda: fad.jit(3), DtypeError, "function"),
    "string": (lambda: fad.jit(lambda x, s: x)(V, "abc"), DtypeError, r"\[1\].*'abc'"),
    "string in a tree": (lambda: fad.jit(lambda d: d["x"])({"x": 1.0, "name": "abc"}), DtypeError, "name"),
    "object": (lambda: fad.jit(lambda x, o: x)(V, object()), DtypeError, "static"),
    "array of objects": (lambda: fad.jit(lambda x: x)(np.array([1, "a"], object)), DtypeError, "object"),
    "array of strings": (lambda: fad.jit(lambda x: x)(np.array(["a"])), DtypeError, "number"),
    "dates": (lambda: fad.jit(lambda x: x)(np.array(["2020-01-01"], "M8[D]")), DtypeError, "datetime"),
    "records": (lambda: fad.jit(lambda x: x)(np.zeros(2, [("a", float)])), DtypeError, "number"),
    "ragged list": (lambda: fad.jit(lambda x: np.sum(x * np.asarray([[1.0], [2.0, 3.0]])))(V), ValueError, ""),
    "unhashable static": (lambda: fad.jit(lambda x, n: x, static_argnums=1)(V, [1]), TreeError, "hashable.*tuple"),
    "if": (lambda: fad.jit(lambda x: x if x > 0 else -x)(1.0), TraceError, "np.where"),
    "while": (lambda: fad.jit(countdown)(3.0), TraceError, "np.where"),
    "float": (lambda: fad.jit(lambda x: float(x))(1.0), TraceError, "fad.value"),
    "range": (lambda: fad.jit(lambda n: sum(range(n)))(3), TraceError, "static"),
    "item": (lambda: fad.jit(lambda x: x.sum().item())(V), TraceError, "fad.value"),
    "assignment": (lambda: fad.jit(assign)(V), TypeError, "fad.at"),
    "index from an array": (lambda: fad.jit(lambda x: [1, 2, 3][x])(1), TraceError, "static"),
    "result that is a string": (lambda: fad.jit(lambda x: "abc")(1.0), DtypeError, "abc"),
    "shapes": (lambda: fad.jit(lambda x, y: x + y)(V, V[:3]), ValueError, "shape"),
    "index out of range": (lambda: fad.jit(lambda x: x[9])(V), OutOfRangeError, "9"),
    "too many arguments": (lambda: fad.jit(lambda x: x)(V, V), TypeError, "positional"),
    "function without a rule": (lambda: fad.jit(lambda x: np.busday_count(x, x))(V), TraceError, "busday_count"),
    "lower of nodes": (lambda: fad.grad(lambda x: fad.jit(np.sin).lower(x))(1.0), TraceError, "lower"),
}


def countdown(x):
    while x > 0:
        x = x - 1.0
    return x


def assign(x):
    x[0] = 1.0
    return x


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case):
    act, kind, text = ERRORS[case]
    for _ in range(2):  # nothing half-made is kept
        with pytest.raises(kind, match=f"(?s){text}"):
            act()


def test_an_error_leaves_the_jitted_function_usable():
    f = fad.jit(lambda x: x + 1.0 if x.ndim else x.undefined)
    with pytest.raises(AttributeError):
        f(1.0)
    assert_close(f(V), V + 1.0)
    assert len(f.compiled) == 1


def test_a_node_that_escapes_is_inert():
    kept = []
    fad.jit(lambda x: kept.append(x * 2.0) or x)(V)
    with pytest.raises(TraceError):
        fad.grad(lambda y: np.sum(y * kept[0]))(V)
    assert fad.jit(lambda x: x * 2.0)(1.0) == 2.0


# -- callbacks ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def primitive():
    """``primitive(f)``: an operation that NumPy evaluates with f, of the shape and dtype of its argument."""
    made = []

    def make(f):
        made.append(f"test_jit_{len(made)}")
        return Primitive(made[-1], f, lambda x: (x.shape, x.dtype), None, lambda size, args, batched: None, lambda out, x: 0)

    yield make
    for name in made:
        del registry[name]


def test_an_exception_in_a_callback_leaves_everything_usable(primitive):
    def picky(x):
        if np.any(x > 10.0):
            raise ZeroDivisionError("picky")
        return x + 0.0

    op = primitive(picky)
    f = fad.jit(lambda x: op(np.exp(x)) * np.sum(np.exp(x)))
    want = f(V)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError, match="picky"):
            f(V + 10.0)
        assert np.array_equal(f(V), want)


def test_a_callback_may_call_jitted_functions(primitive):
    big = np.linspace(0.0, 1.0, 3000).reshape(3, 1000)
    softmax = fad.jit(lambda x: np.sum(np.exp(x - np.max(x, axis=1, keepdims=True)), axis=1) * np.max(x, axis=1))

    def busy(x):
        softmax(big)
        return x + 0.0

    op = primitive(busy)

    def f(x):
        e = np.exp(x) * 2.0
        return op(np.sin(x)) + e * np.sum(e)

    same(f, np.linspace(0.0, 1.0, 50), ulp=8)


def test_indices_are_checked_in_native_code():
    f = fad.jit(lambda x, i: np.sin(x)[i] * 2.0)
    good = f(V, np.array([0, -1, 4]))
    for bad in ([0, 5, 1], [-6, 0, 0]):
        with pytest.raises(IndexError):
            f(V, np.array(bad))
    assert np.array_equal(f(V, np.array([0, -1, 4])), good)


def test_warnings_and_error_states_are_not_touched():
    with np.errstate(all="raise"):
        assert fad.jit(lambda x: (np.log(x), np.cumprod(x / 0.0)))(np.zeros(3))[0].tolist() == [-np.inf] * 3
        with pytest.raises(FloatingPointError):
            np.log(np.zeros(3))


# -- threads, processes, interrupts ------------------------------------------------------------------------------------


def test_many_threads_at_once():
    """The same and different functions, first calls among them, small and on the thread pool: always the same bits."""
    big = np.linspace(0.0, 1.0, 200_000)
    rows = np.linspace(0.0, 1.0, 60_000).reshape(300, 200)
    functions = [(fad.jit(lambda x, k=k: (np.sum(np.sin(x) * (k + 1.0)), np.exp(x[::-1]))), big) for k in range(3)]
    functions += [
        (fad.jit(lambda x: fad.nn.softmax(x, axis=-1)), rows),
        (fad.jit(fad.grad(loss)), V),
        (fad.jit(np.sort), rows),
        (fad.jit(lambda x: x * 2.0), 1.5),
    ]
    shared = fad.jit(lambda x: np.sum(x * x) + x)
    calls = [*functions, *[(shared, np.linspace(0.0, 1.0, n)) for n in (3, 3, 50_000, 50_001)]]
    barrier, failures = threading.Barrier(8), []

    def bits(result):
        return [np.asarray(y).tobytes() for y in fad.tree.leaves(result)]

    def work(seed):
        try:
            barrier.wait()
            mine = {}
            for k in np.random.default_rng(seed).permutation(np.tile(np.arange(len(calls)), 6)):
                got = bits(calls[k][0](calls[k][1]))
                assert mine.setdefault(k, got) == got
            return mine
        except BaseException as error:  # so that the other threads are not left at the barrier
            failures.append(error)
            raise

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(work, range(8)))
    assert not failures and all(r == results[0] for r in results)
    for k, (f, x) in enumerate(calls):
        assert results[0][k] == bits(f(x))


CHILD = """
import multiprocessing, sys
import numpy as np, fad
f = fad.jit(lambda x: (np.sum(np.sin(x)), np.exp(x)))
g = fad.jit(fad.grad(lambda x: np.sum(np.tanh(x) ** 2)))
big, small = np.linspace(0.0, 1.0, 300_000), np.linspace(0.0, 1.0, 7)

def run(_):
    new = fad.jit(lambda x: np.cos(x) * 3.0)
    return [float(f(big)[0]), float(np.sum(f(big)[1])), g(small).tolist(), new(small).tolist(), float(np.sum(new(big)))]

if __name__ == "__main__":
    want = run(0)
    for method in sys.argv[1:]:
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert pool.map(run, range(4)) == [want] * 4, method
        assert run(0) == want
    print("fine")
"""


@pytest.mark.parametrize("method", [m for m in ("fork", "spawn", "forkserver") if m in multiprocessing.get_all_start_methods()])
def test_children_after_use(method, tmp_path):
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, str(script), method]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=env, check=False)
    assert done.stdout.strip() == "fine", done.stderr


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers that send signals")
def test_an_interrupt_during_a_long_native_call():
    def f(x):
        for _ in range(60):
            x = np.sin(x) + 0.1
        return x, np.sum(x)

    g, x = fad.jit(f), np.linspace(0.0, 1.0, 400_000)
    want = [np.asarray(y).tobytes() for y in g(x)]
    interrupts = 0

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for k in range(12):
            signal.setitimer(signal.ITIMER_REAL, 0.0005 + 0.001 * k)
            try:
                g(x)
                time.sleep(0.05)
            except KeyboardInterrupt:
                interrupts += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0.0)
            assert [np.asarray(y).tobytes() for y in g(x)] == want
    finally:
        signal.signal(signal.SIGALRM, before)
    assert interrupts == 12


# -- size --------------------------------------------------------------------------------------------------------------


def test_trees_of_20_000_nodes():
    """Neither recursion nor quadratic time: a chain, and a sum of many terms."""

    def chain(x):
        y = x
        for k in range(10_000):
            y = y * (1.0 / (k + 1)) + x
        return y

    assert_close(fad.jit(chain)(0.5), np.float64(chain(0.5)))
    assert_close(fad.jit(fad.grad(chain))(0.5), fad.grad(chain)(0.5))


def test_many_arguments_and_results():
    xs = [float(k) for k in range(300)]
    assert fad.jit(lambda xs: [x * 2.0 for x in xs])(xs) == [x * 2.0 for x in xs]
    assert fad.jit(lambda xs: sum(xs))(xs) == sum(xs)


def test_a_jitted_function_does_not_keep_its_arguments_alive():
    import gc
    import weakref

    class Tracked(np.ndarray):
        """An array that can be watched."""

    f = fad.jit(lambda x: np.sum(x))
    x = np.zeros(1000).view(Tracked)
    watch = weakref.ref(x)
    f(x)
    del x
    gc.collect()
    assert watch() is None


def test_jit_pickles_by_name():
    """A module-level jitted function goes to other processes as any function does."""
    assert pickle.loads(pickle.dumps(module_level))(2.0) == 4.0


@fad.jit
def module_level(x):
    """x doubled."""
    return x * 2.0
