"""named, collect, inject: intermediate values read and replaced, under every transformation."""

import pickle
import threading

import numpy as np
import pytest

import fad
from fad.errors import DtypeError, NameMissingError, ShapeError, TreeError

X = np.array([0.5, 1.5])
XS = np.stack([X, 2 * X, 3 * X])
TABLE = np.arange(5.0)


def f(x):
    latent = fad.named(np.sin(x), "latent")
    return np.sum(latent**2)


def twice(x):
    y = fad.named(2 * x, "y")
    return fad.named(y + 1, "y")


def same(a, b):
    assert fad.tree.structure(a) == fad.tree.structure(b)
    assert all(np.allclose(u, v, rtol=1e-13) for u, v in zip(fad.tree.leaves(a), fad.tree.leaves(b), strict=True)), (a, b)


LATENT = {"latent": np.sin(X)}
BATCH = {"latent": np.sin(XS)}
VALUES = np.sum(np.sin(XS) ** 2, 1)
SLOPE = 2 * np.sin(X) * np.cos(X)


@pytest.mark.parametrize(
    "collected, expected",
    [
        (lambda: fad.collect(f, "latent")(X), (f(X), LATENT)),
        (lambda: fad.collect(f)(X), (f(X), LATENT)),
        (lambda: fad.jit(fad.collect(f, "latent"))(X), (f(X), LATENT)),
        (lambda: fad.collect(fad.jit(f), "latent")(X), (f(X), LATENT)),
        (lambda: fad.collect(lambda x: 2 * fad.jit(f)(x))(X), (2 * f(X), LATENT)),
        (lambda: fad.vmap(fad.collect(f))(XS), (VALUES, BATCH)),
        (lambda: fad.collect(fad.vmap(f))(XS), (VALUES, BATCH)),
        (lambda: fad.collect(fad.vmap(f, in_axes=1))(XS.T), (VALUES, BATCH)),
        (lambda: fad.jit(fad.collect(fad.vmap(f)))(XS), (VALUES, BATCH)),
        (lambda: fad.grad(fad.collect(f), has_aux=True)(X), (SLOPE, LATENT)),
        (lambda: fad.collect(fad.grad(f))(X), (SLOPE, LATENT)),
        (lambda: fad.collect(fad.jit(fad.grad(f)))(X), (SLOPE, LATENT)),
        (lambda: fad.collect(fad.jacfwd(f))(X), (SLOPE, LATENT)),
        (lambda: fad.collect(fad.vmap(fad.grad(f)))(XS), (2 * np.sin(XS) * np.cos(XS), BATCH)),
        (lambda: fad.collect(fad.trace(f)(X))(X), (f(X), LATENT)),
        (lambda: fad.trace(fad.collect(f))(X)(X), (f(X), LATENT)),
        (lambda: fad.collect(twice, "y")(X), (2 * X + 1, {"y": (2 * X, 2 * X + 1)})),
        (lambda: fad.jit(fad.collect(twice))(X), (2 * X + 1, {"y": (2 * X, 2 * X + 1)})),
    ],
)
def test_collect(collected, expected):
    same(collected(), expected)


def test_collect_chooses_by_name_and_meets_what_no_result_depends_on():
    def g(x):
        fad.named(x + 1, "unused")
        fad.named(3.0, "constant")
        return fad.named(x, "x")

    same(fad.collect(g, ("unused", "constant"))(X)[1], {"constant": 3.0, "unused": X + 1})
    same(fad.grad(lambda x: fad.collect(g)(x)[1]["unused"][0])(X), np.array([1.0, 0.0]))


def test_collected_values_are_the_callers_own():
    x = X.copy()
    y, found = fad.collect(lambda x: fad.named(x, "x"))(x)
    found["x"][:] = 7.0
    y[:] = 8.0
    assert np.array_equal(x, X) and not np.shares_memory(found["x"], y)


def test_a_value_is_collected_as_it_was_when_it_was_named():
    def g(x):
        y = fad.named(x * 1.0, "y")
        y += 1.0
        return np.sum(y)

    same(fad.collect(g)(X)[1], {"y": X})
    same(fad.grad(fad.collect(g), has_aux=True)(X), (np.ones(2), {"y": X}))


def test_derivatives_flow_through_collected_values():
    same(fad.grad(lambda x: np.sum(fad.collect(f)(x)[1]["latent"]))(X), np.cos(X))
    same(fad.jit(fad.hessian(lambda x: np.sum(fad.collect(f)(x)[1]["latent"])))(X), np.diag(-np.sin(X)))
    same(fad.jvp(lambda x: fad.named(x, "x") ** 2, (X,), (np.ones(2),)), (X**2, 2 * X))


Z = np.array([2.0, 3.0])


@pytest.mark.parametrize(
    "injected, expected",
    [
        (lambda: fad.inject(f, {"latent": Z})(X), 13.0),
        (lambda: fad.inject(fad.jit(f), {"latent": Z})(X), 13.0),
        (lambda: fad.inject(fad.trace(f)(X), {"latent": Z})(X), 13.0),
        (lambda: fad.inject(f, {"latent": Z.astype(np.float32)})(X), 13.0),
        (lambda: fad.jit(lambda z: fad.inject(f, {"latent": z})(X))(Z), 13.0),
        (lambda: fad.grad(lambda z: fad.inject(f, {"latent": z})(X))(Z), 2 * Z),
        (lambda: fad.jit(fad.grad(lambda z: fad.inject(f, {"latent": z})(X)))(Z), 2 * Z),
        (lambda: fad.hessian(lambda z: fad.inject(f, {"latent": z})(X))(Z), 2 * np.eye(2)),
        (lambda: fad.inject(fad.grad(f), {"latent": Z})(X), np.zeros(2)),
        (lambda: fad.vmap(lambda z: fad.inject(f, {"latent": z})(X))(XS), np.sum(XS**2, 1)),
        (lambda: fad.vmap(fad.inject(f, {"latent": Z}))(XS), np.full(3, 13.0)),
        (lambda: fad.inject(fad.vmap(f), {"latent": XS})(XS), np.sum(XS**2, 1)),
        (lambda: fad.inject(twice, {"y": (Z, 5 * Z)})(X), 5 * Z),
        (lambda: fad.inject(fad.collect(f), {"latent": Z})(X), (13.0, {"latent": Z})),
        (lambda: fad.collect(fad.inject(f, {"latent": Z}))(X), (13.0, {"latent": Z})),
        (lambda: fad.inject(fad.inject(f, {"latent": Z}), {"latent": 2 * Z})(X), 13.0),
    ],
)
def test_inject(injected, expected):
    same(injected(), expected)


@pytest.mark.parametrize(
    "function, x",
    [(f, X), (twice, X), (fad.vmap(f), XS), (fad.vmap(twice), XS)],
    ids=["f", "twice", "batch of f", "batch of twice"],
)
def test_injecting_what_was_collected_changes_nothing(function, x):
    y, found = fad.collect(function)(x)
    same(fad.inject(function, found)(x), y)


def test_branches_follow_injected_values():
    g = lambda x: 1.0 if fad.named(x, "x") > 0 else -1.0
    assert g(1.0) == 1.0 and fad.inject(g, {"x": -2.0})(1.0) == -1.0


def test_arrays_that_symbols_index():
    """Such a function runs a second time with nodes for its arrays: what it named the first time does not count."""
    g = lambda i: fad.named(fad.named(1.0 * i, "a") + TABLE[i], "t")
    same(fad.vmap(fad.collect(g))(np.array([3, 1])), (np.array([6.0, 2.0]), {"a": np.array([3.0, 1.0]), "t": np.array([6.0, 2.0])}))
    same(fad.jit(fad.collect(g))(2), (4.0, {"a": 2.0, "t": 4.0}))


def test_named_costs_nothing_in_compiled_code():
    plain, marked = fad.jit(lambda x: np.sum(np.sin(x) ** 2)).lower(X), fad.jit(f).lower(X)
    assert "named" in str(fad.jit(f).trace(X)) and "named" not in marked.tree
    assert marked.loops == plain.loops


def test_numbers():
    assert type(fad.named(2.0, "x")) is np.float64
    half = np.ones(2, np.float32)
    g = lambda x: half * fad.named(x, "x")
    assert g(2.0).dtype == fad.jit(g)(2.0).dtype == fad.trace(g)(2.0)(2.0).dtype == np.float64


def test_other_threads_are_left_alone():
    found = []

    def g(x):
        other = threading.Thread(target=lambda: found.append(f(x)))
        other.start()
        other.join()
        return fad.named(x, "x")

    assert list(fad.collect(g)(X)[1]) == ["x"] and found == [f(X)]


def test_pickles():
    same(pickle.loads(pickle.dumps(fad.collect(np.sin)))(X), (np.sin(X), {}))
    same(pickle.loads(pickle.dumps(fad.trace(f)(X)))(X), f(X))


@pytest.mark.parametrize(
    "wrong, error, message",
    [
        (lambda: fad.collect(f, "lat")(X), NameMissingError, r"names no such value: got 'lat'; the names it gives are 'latent'"),
        (lambda: fad.collect(np.sin, "lat")(X), NameMissingError, "it gives no names"),
        (lambda: fad.inject(f, {"lat": X})(X), NameMissingError, "the names it gives are 'latent'"),
        (lambda: fad.inject(twice, {"y": X})(X), NameMissingError, "1 for 'y', which is given a second time"),
        (lambda: fad.inject(twice, {"y": (X,)})(X), NameMissingError, "1 for 'y', which is given 2 times"),
        (lambda: fad.inject(twice, {"y": (X, X, X)})(X), NameMissingError, "3 for 'y', which is given 2 times"),
        (lambda: fad.inject(f, {"latent": 1.0})(X), ShapeError, r"another shape for 'latent': got .* for f64\[2\]"),
        (lambda: fad.inject(f, {"latent": 1j * X})(X), DtypeError, "another kind for 'latent'"),
        (lambda: fad.inject(f, {"latent": "no"})(X), (DtypeError, ShapeError), "latent"),
        (lambda: fad.inject(f, [X]), DtypeError, "a dict from names to arrays"),
        (lambda: fad.collect(f, 3), DtypeError, "a str, or a tuple of them"),
        (lambda: fad.named("latent", X), DtypeError, "the name comes second"),
        (lambda: fad.named({"w": X}, "w"), TreeError, "a name belongs to one array"),
        (lambda: fad.named([X, X], "w"), TreeError, "a name belongs to one array"),
    ],
)  # fmt: skip
def test_errors(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()
