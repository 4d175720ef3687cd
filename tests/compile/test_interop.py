"""Jitted functions called from `@njit` code: the same numbers as the jitted function gives in Python."""

import gc
import threading
from typing import Any

import numba
import numpy as np
import pytest

import fad
from fad.errors import DtypeError, TraceError, TreeError

RNG = np.random.default_rng(0)


def equal(x: Any, y: Any) -> bool:
    """The same type of result, and every bit of it."""
    if isinstance(y, tuple):
        return isinstance(x, tuple) and len(x) == len(y) and all(map(equal, x, y))
    if np.ndim(x) == 0:  # numba gives Python's floats
        return not isinstance(x, np.ndarray) and x == y
    return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()


PROGRAMS = {
    "scalar": (lambda x: 3.0 * x**2, (2.0,)),
    "integer scalar": (lambda n: n * 3, (5,)),
    "float32 scalar": (lambda x: np.sin(x) * 2, (np.float32(0.3),)),
    "boolean": (lambda x, yes: np.where(yes, x, -x), (np.arange(3.0), np.bool_(False))),
    "vector": (lambda x: np.exp(x) - x, (RNG.normal(size=7),)),
    "float32": (lambda x, y: x * y + x, (RNG.normal(size=(2, 3)).astype(np.float32), RNG.normal(size=3).astype(np.float32))),
    "integers": (lambda x: x * 2 + 1, (np.arange(5),)),
    "empty": (lambda x: (x * 2, np.sum(x)), (np.zeros((0, 3)),)),
    "constants": (lambda x: x * np.arange(4.0) + np.ones((2, 4)), (RNG.normal(size=(2, 4)),)),
    "outputs": (lambda x, k: (np.sin(x), np.sum(x) * k, np.max(x), x > 0), (RNG.normal(size=(3, 4)), 2.0)),
    "one output in a tuple": (lambda x: (np.sum(x),), (np.ones(3),)),
    "inputs and constants": (lambda x, k: (x, x.reshape(-1), k, np.arange(3.0), 1.5, x), (RNG.normal(size=(3, 4)), 2.0)),
    "one twice": (lambda x: (lambda y: (y, y, y.reshape(6), np.sum(y)))(np.sin(x)), (RNG.normal(size=(2, 3)),)),
    "shapes of one element": (lambda x, k: (x.reshape(()), np.reshape(k, (1, 1)), x * k), (np.ones(1), 3.0)),
    "an arena": (lambda x: np.sum(np.exp(x - np.max(x, 1, keepdims=True)), 1) * np.max(x, 1), (RNG.normal(size=(4, 5)),)),
    "nothing": (lambda: np.arange(3.0) + 1, ()),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_results_are_those_of_the_jitted_function(name: str) -> None:
    f, args = PROGRAMS[name]
    jitted = fad.jit(f)
    expected = jitted(*args)
    inner = jitted.as_numba(*args)
    user = numba.njit(lambda *given: inner(*given)) if args else numba.njit(lambda: inner())
    assert equal(user(*args), expected)


@pytest.mark.smoke
def test_newtons_method_in_numba() -> None:
    slope = fad.jit(fad.value_and_grad(lambda x: np.exp(x) - 2.0)).as_numba(0.0)

    @numba.njit
    def root(x):
        for _ in range(20):
            y, dy = slope(x)
            x -= y / dy
        return x

    assert root(1.0) == pytest.approx(np.log(2.0), rel=1e-15)


def test_results_are_arrays_of_their_own() -> None:
    x = np.ones(3)
    inner = fad.jit(lambda x: (x, x, np.ones(3), np.sin(x))).as_numba(x)

    @numba.njit
    def user(x):
        for y in inner(x):
            y[:] = 0.0
        return inner(x)

    assert all(np.array_equal(y, z) for y, z in zip(user(x), (x, x, np.ones(3), np.sin(x)), strict=True))
    assert np.array_equal(x, np.ones(3))


def test_rows_slices_and_global_arrays_are_arguments() -> None:
    inner = fad.jit(lambda x: np.sum(x * x)).as_numba(np.ones(3))
    table = np.arange(3.0)  # read-only in numba code

    @numba.njit
    def user(rows, x):
        return inner(rows[1]), inner(x[1:]), inner(table)

    assert user(np.arange(8.0).reshape(2, 4)[:, :3].copy(), np.arange(4.0)) == (4.0**2 + 5.0**2 + 6.0**2, 1.0 + 4.0 + 9.0, 5.0)


def test_in_a_prange_without_the_gil() -> None:
    inner = fad.jit(fad.grad(lambda x: np.sum(np.sin(x) * x))).as_numba(np.ones(5))

    @numba.njit(parallel=True, nogil=True)
    def user(rows, out):
        for k in numba.prange(len(rows)):
            out[k] = inner(rows[k])

    rows = RNG.normal(size=(300, 5))
    out = np.empty_like(rows)
    user(rows, out)
    assert np.allclose(out, np.cos(rows) * rows + np.sin(rows), rtol=1e-14)


def test_programs_that_use_all_cores_from_many_threads() -> None:
    x = RNG.normal(size=400_000)
    jitted = fad.jit(lambda x: np.exp(np.sin(x) * x) * np.sin(x + 1.0) * np.exp(-x))
    inner = jitted.as_numba(x)
    assert "pieces over threads" in jitted.lower(x).loops

    @numba.njit(nogil=True)
    def user(x, n):
        total = 0.0
        for _ in range(n):
            total += inner(x).sum()
        return total

    found: list[float] = []
    workers = [threading.Thread(target=lambda: found.append(user(x, 5))) for _ in range(4)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert found == [user(x, 5)] * 4
    assert np.array_equal(inner(x), jitted(x))


def test_the_machine_code_outlives_the_jitted_function() -> None:
    def users() -> Any:
        constant = np.arange(10_000.0)
        inner = fad.jit(lambda x: np.sum(x * constant)).as_numba(np.ones(10_000))
        return numba.njit(lambda x: inner(x))

    user = users()
    user(np.ones(10_000))
    fad.compile.cache._programs.clear()
    gc.collect()
    assert user(np.ones(10_000)) == 10_000 * 9_999 / 2


def test_static_arguments_are_left_out() -> None:
    inner = fad.jit(lambda x, n: x**n, static_argnums=1).as_numba(2.0, 3)
    assert numba.njit(lambda x: inner(x))(2.0) == 8.0


def test_nothing_is_donated() -> None:
    x = np.arange(3.0)
    inner = fad.jit(lambda x: np.sin(x) * 2, donate=0).as_numba(x)
    assert np.array_equal(numba.njit(lambda x: inner(x))(x), np.sin(np.arange(3.0)) * 2)
    assert np.array_equal(x, np.arange(3.0))


def test_without_examples_it_is_the_only_signature() -> None:
    f = fad.jit(lambda x: x * 2)
    with pytest.raises(TraceError, match="0 compiled signatures"):
        f.as_numba()
    f(1.0)
    assert f.as_numba()(4.0) == 8.0
    f(np.ones(2))
    with pytest.raises(TraceError, match="2 compiled signatures"):
        f.as_numba()


def test_fad_traces_through_it() -> None:
    inner = fad.jit(lambda x: x**3).as_numba(1.0)
    outer = numba.njit(lambda x: 2.0 * inner(x))
    assert fad.grad(outer)(2.0) == fad.jit(fad.grad(outer))(2.0) == 24.0


def test_other_shapes_raise() -> None:
    inner = fad.jit(lambda x: x * 2).as_numba(np.ones((2, 3)))
    user = numba.njit(lambda x: inner(x))
    with pytest.raises(ValueError, match=r"argument 0 has another shape than \(2, 3\).*\n?.*fix"):
        user(np.ones((3, 3)))


def test_other_dtypes_and_ranks_do_not_type() -> None:
    inner = fad.jit(lambda x: x * 2).as_numba(np.ones(3))
    for wrong in (np.ones(3, np.float32), np.ones((3, 1)), np.ones(6)[::2]):
        with pytest.raises(numba.TypingError, match="float64"):
            numba.njit(lambda x: inner(x))(wrong)


def test_an_index_out_of_range_raises() -> None:
    inner = fad.jit(lambda x, k: x[k] * 2).as_numba(np.arange(3.0), np.array([0, 1]))
    user = numba.njit(lambda x, k: inner(x, k))
    assert np.array_equal(user(np.arange(3.0), np.array([2, -1])), [4.0, 4.0])
    with pytest.raises(IndexError, match="out of range"):
        user(np.arange(3.0), np.array([0, 3]))


def test_what_numba_cannot_call_is_named() -> None:
    with pytest.raises(TraceError, match=r"sort has no native form(.|\n)*fix"):
        fad.jit(lambda x: np.sort(x) * 2).as_numba(np.ones(3))
    with pytest.raises(TreeError, match="arguments that are pytrees"):
        fad.jit(lambda p: p["w"] * 2).as_numba({"w": np.ones(3)})
    with pytest.raises(TreeError, match="arguments that are pytrees"):
        fad.jit(lambda p, x: p[0] * x).as_numba((np.ones(3),), 2.0)
    with pytest.raises(TreeError, match="the result is a pytree"):
        fad.jit(lambda x: {"y": x * 2}).as_numba(np.ones(3))
    with pytest.raises(TraceError, match="of nodes"):
        fad.grad(lambda x: fad.jit(lambda y: y * 2).as_numba(x))(1.0)
    with pytest.raises(DtypeError, match="numba has no such dtype"):
        fad.jit(lambda x: x).as_numba(np.ones(3, np.longdouble))
