"""Ufuncs that are not NumPy's on nodes: identity counts, not the name; numba's run their source; the rest is refused."""

import math
import subprocess
import sys

import numpy as np
import pytest
import scipy.special as sc

import fad
from fad.core.primitive import registry
from fad.errors import AssignmentError, TraceError
from fad.primitives.special import BY_SCIPY

numba = pytest.importorskip("numba")

POINTS = np.array([[-1.0, 2.0, 0.5], [3.0, -0.25, 0.0]])
CALLS = {
    "grad": lambda f, x: fad.grad(lambda x: np.sum(f(x)))(x),
    "jvp": lambda f, x: fad.jvp(f, (x,), (np.ones_like(x),))[1],
    "jit": lambda f, x: fad.jit(fad.grad(lambda x: np.sum(f(x))))(x),
    "elements": lambda f, x: fad.vmap(fad.vmap(fad.grad(f)))(x),
}


def named(name, f, *signatures, **options):
    f.__name__ = f.__qualname__ = name
    return numba.vectorize(*signatures, **options)(f)


# -- identity -----------------------------------------------------------------------------------------------------


ELEMENTWISE = sorted(name for name in registry if isinstance(getattr(np, name, None), np.ufunc) or name in BY_SCIPY)


@pytest.mark.parametrize("name", ["square", "sinc", "softplus", "psi", "digamma", "where", "astype", *ELEMENTWISE[::9]])
def test_a_ufunc_of_the_user_is_not_taken_for_a_primitive_of_its_name(name):
    f = named(name, lambda x: x * x + 100.0 * x)
    assert fad.jvp(f, (2.0,), (1.0,)) == (204.0, 104.0)
    assert fad.jit(lambda x: f(x))(2.0) == 204.0
    for call in CALLS.values():
        np.testing.assert_allclose(call(f, POINTS), 2 * POINTS + 100.0, rtol=1e-15)


def test_scipys_own_ufuncs_are_found_by_identity():
    for name, op in BY_SCIPY.items():
        ufunc = getattr(sc, name)
        if isinstance(ufunc, np.ufunc):
            assert ufunc(*[fad.var("x", ())] * ufunc.nin).op is op
    assert sc.psi(fad.var("x", ())).op is registry["digamma"]
    assert np.radians(fad.var("x", ())).op is registry["deg2rad"]


def test_scipy_is_imported_by_nobody_but_the_user():
    code = (
        "import sys, numpy as np, fad\n"
        "try: fad.grad(lambda x: np.frexp(x)[0])(1.0)\n"
        "except fad.errors.TraceError: assert 'scipy.special' not in sys.modules and 'numba' not in sys.modules\n"
        "else: raise AssertionError\n"
        "import scipy.special as sc; assert fad.grad(sc.erfc)(0.0) < -1\n"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_static_arguments_of_one_name_and_two_types_are_two():
    import enum
    from collections import namedtuple

    first = enum.IntEnum("Kind", {"a": 1})
    second = enum.IntEnum("Kind", {"a": 1})
    f = fad.jit(lambda x, kind: x * (2.0 if isinstance(kind, first) else 3.0), static_argnums=1)
    assert (f(1.0, first.a), f(1.0, second.a)) == (2.0, 3.0)
    pair = namedtuple("pair", "a b")
    g = fad.jit(lambda x, p: x * (p.a if isinstance(p, pair) else 5.0), static_argnums=1)
    assert (g(1.0, pair(1.0, 2.0)), g(1.0, (1.0, 2.0))) == (1.0, 5.0)


# -- numba.vectorize ------------------------------------------------------------------------------------------------


def bent(x):
    if x > 0:
        return math.sin(x) * x
    return x * x


BENT_SLOPE = np.where(POINTS > 0, np.sin(POINTS) + POINTS * np.cos(POINTS), 2 * POINTS)


@pytest.mark.parametrize("signatures", [(), (["float64(float64)"],)])
def test_branches_are_followed_element_by_element(signatures):
    f = numba.vectorize(*signatures)(bent)
    np.testing.assert_allclose(fad.grad(lambda x: np.sum(f(x)))(POINTS), BENT_SLOPE, rtol=1e-14)
    curvature = np.where(POINTS > 0, 2 * np.cos(POINTS) - POINTS * np.sin(POINTS), 2.0)
    np.testing.assert_allclose(fad.hvp(lambda x: np.sum(f(x)), POINTS, np.ones_like(POINTS)), curvature, rtol=1e-13)
    assert fad.grad(lambda x: np.sum(f(x)))(np.zeros((0, 2))).shape == (0, 2)
    with pytest.raises(TraceError, match=r"symbolic(.|\n)*test_foreign.py:\d+ in bent(.|\n)*np.where"):
        fad.jit(lambda x: f(x))(POINTS)


def test_a_source_that_makes_arrays_sees_one_number_at_a_time():
    f = numba.vectorize(lambda x: (np.linspace(0.0, 1.0, 4) * x).sum() + np.arange(6).sum())
    for call in CALLS.values():
        np.testing.assert_allclose(call(f, POINTS), np.full_like(POINTS, 2.0), rtol=1e-15)


def test_arguments_broadcast_and_may_be_numbers_lists_and_constants():
    f = numba.vectorize(lambda x, y: max(x * y, 0.0) + y)
    row, column = POINTS[0], np.array([[1.0], [-2.0]])
    total = lambda x, y: np.sum(f(x, y))
    by_x, by_y = fad.grad(total, (0, 1))(row, column)
    on = row * column > 0
    np.testing.assert_allclose(by_x, np.sum(on * column, axis=0))
    np.testing.assert_allclose(by_y, np.sum(on * row + 1.0, axis=1, keepdims=True))
    assert np.array_equal(fad.grad(lambda x: np.sum(f(x, [1.0, 2.0, 3.0])))(row), (row > 0) * [1.0, 2.0, 3.0])
    assert np.array_equal(fad.grad(lambda y: np.sum(f(2, y)))(row), 2 * (row > 0) + 1.0)
    constant = np.ones(3)
    grows = numba.vectorize(lambda x, y: _grown(x, y))
    assert np.array_equal(fad.grad(lambda x: np.sum(grows(x, constant)))(row), np.ones(3))
    assert np.array_equal(constant, np.ones(3))


@numba.njit
def _grown(x, y):
    y += x
    return y


def test_fixed_signatures_fix_the_dtypes():
    narrow, wide = (numba.vectorize([s])(lambda x: x * 3) for s in ("float32(float32)", "float64(float64)"))
    x = np.ones(2, np.float32)
    assert fad.jvp(narrow, (x,), (x,))[1].dtype == np.float32
    y, slope = fad.jvp(wide, (x,), (x,))
    assert (y.dtype, slope.dtype) == (np.float64, np.float64)


def test_called_from_njit_and_without_nodes():
    f = numba.vectorize(bent)
    outer = numba.njit(lambda x: f(x) * 2.0)
    np.testing.assert_allclose(fad.grad(lambda x: np.sum(outer(x)))(POINTS), 2 * BENT_SLOPE, rtol=1e-14)
    np.testing.assert_allclose(fad.grad(lambda x: x * f(2.0))(1.0), 2 * np.sin(2.0))
    np.testing.assert_allclose(f(POINTS), np.vectorize(bent)(POINTS))


# -- what is refused --------------------------------------------------------------------------------------------------


def test_what_has_no_source_or_writes_into_arrays_is_refused():
    def total(x, out):
        out[0] = x.sum()

    parallel = named("exp", lambda x: x * 3.0, ["float64(float64)"], target="parallel")
    fixed, dynamic = numba.guvectorize(["(float64[:], float64[:])"], "(n)->()")(total), numba.guvectorize("(n)->()")(total)
    f = numba.vectorize(lambda x: x * 2.0)
    out = np.zeros(3)
    cases = {
        r"the ufunc exp has no rule(.|\n)*fad.vmap": parallel,
        r"the ufunc .* \(vectorized\) has no rule(.|\n)*fad.vmap": np.frompyfunc(lambda x: 2 * x, 1, 1),
        r"the ufunc total has no rule(.|\n)*returns its result": lambda x: fixed(x),
        r"the ufunc total has no rule(.|\n)*return": lambda x: dynamic(x, out),
        r"a node as an ndarray(.|\n)*fad.vmap\(f\) for np.vectorize\(f\)": np.vectorize(lambda x: 2 * x),
        r"np.frexp has no rule": lambda x: np.frexp(x)[0],
        r"scipy.special.mathieu_a has no derivative here(.|\n)*characteristic values": lambda x: sc.mathieu_a(1, x),
        r"out=(.|\n)*returns": lambda x: f(x, out=out),
        r"out= and(.|\n)*returns": lambda x: f(x, out),
    }
    for message, g in cases.items():
        with pytest.raises((TraceError, AssignmentError), match=message) as caught:
            fad.vjp(g, np.ones(3))
        assert "test_foreign.py:" in str(caught.value)
    assert np.array_equal(out, np.zeros(3))
    with pytest.raises(TraceError, match="the ufunc .*reduce has no rule"):
        fad.grad(lambda x: numba.vectorize(lambda x, y: x + y).reduce(x))(np.ones(3))
