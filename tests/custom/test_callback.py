"""pure_callback: plain Python in traces, batches, loops and programs."""

import numpy as np
import pytest

import fad
from fad.errors import DtypeError, ShapeError, TraceError, TreeError

X = np.array([3.0, 1.0, 2.0])


def ordered(x):
    return fad.pure_callback(np.sort, x, x)


def test_everywhere():
    for f in (ordered, fad.jit(ordered), fad.trace(ordered)(X)):
        np.testing.assert_array_equal(f(X), [1, 2, 3])
    loop = lambda x: fad.scan(lambda c, _: (ordered(c) * 0.5, None), x, length=3)[0]
    for f in (loop, fad.jit(loop)):
        np.testing.assert_array_equal(f(X), np.sort(X) / 8)


@pytest.mark.parametrize("jit", [lambda f: f, fad.jit])
def test_batches(jit):
    calls = []

    def f(x, k):
        calls.append(x.shape)
        return {"s": np.sort(x, -1), "n": np.sum(x, -1) + k}

    result = {"s": X, "n": 0.0}
    rows = np.stack([X, -X])
    for how in ("sequential", "broadcast_all"):
        calls.clear()
        y = jit(fad.vmap(lambda x, how=how: fad.pure_callback(f, result, x, 1.0, vmap_method=how)))(rows)
        np.testing.assert_array_equal(y["s"], np.sort(rows, -1))
        np.testing.assert_array_equal(y["n"], np.sum(rows, -1) + 1)
        assert set(calls) == ({(3,)} if how == "sequential" else {(2, 3)})


def test_with_a_rule():
    @fad.custom_jvp
    def f(x):
        return fad.pure_callback(lambda v: np.sin(v), x, x)

    f.defjvps(lambda t, out, x: np.cos(x) * t)
    for g in (fad.grad(f), fad.jit(fad.grad(f)), fad.jacfwd(f)):
        assert g(0.5) == np.cos(0.5)


def test_it_gets_arrays_of_its_own():
    def spoil(x):
        x[:] = 0
        return x

    x = X.copy()
    fad.jit(lambda x: fad.pure_callback(spoil, x, x))(x)
    np.testing.assert_array_equal(x, X)


@pytest.mark.parametrize("jit", [lambda f: f, fad.jit])
@pytest.mark.parametrize(
    ("error", "f"),
    [
        (ZeroDivisionError, lambda x: 1 / 0),
        (ShapeError, lambda x: x[:1]),
        (DtypeError, lambda x: x * 1j),
        (TreeError, lambda x: (x, x)),
    ],
)
def test_errors(error, f, jit):
    with pytest.raises(error):
        jit(lambda x: fad.pure_callback(f, x, x))(X)


def test_derivatives_ask_for_a_rule():
    with pytest.raises(TraceError, match="custom_jvp"):
        fad.grad(lambda x: np.sum(ordered(x)))(X)
    with pytest.raises(DtypeError, match="fix:"):
        fad.pure_callback(np.sort, "x", X)
    with pytest.raises(DtypeError, match="fix:"):
        fad.pure_callback(np.sort, X, X, vmap_method="fast")
