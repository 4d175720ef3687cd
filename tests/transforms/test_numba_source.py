"""numba functions in traces: derivatives of their Python sources, wherever they are called."""

import math
import subprocess
import sys
import types
from concurrent.futures import ThreadPoolExecutor
from math import exp, lgamma
from typing import Any

import mpmath
import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba.extending import intrinsic, register_jitable

import fad
from fad.errors import AssignmentError, TraceError

# name, mpmath's function, a point, of math's functions of one argument
ONE = [
    ("acos", "acos", 0.3),
    ("acosh", "acosh", 1.7),
    ("asin", "asin", 0.3),
    ("asinh", "asinh", 0.3),
    ("atan", "atan", 0.3),
    ("atanh", "atanh", 0.3),
    ("cbrt", "cbrt", 0.7),
    ("cos", "cos", 0.3),
    ("cosh", "cosh", 0.3),
    ("degrees", "degrees", 0.3),
    ("erf", "erf", 0.4),
    ("erfc", "erfc", 0.4),
    ("exp", "exp", 0.3),
    ("exp2", lambda x: mpmath.mpf(2) ** x, 0.3),
    ("expm1", "expm1", 0.3),
    ("fabs", "fabs", -0.3),
    ("gamma", "gamma", 2.3),
    ("gamma", "gamma", -0.4),
    ("gamma", "gamma", -1.4),
    ("lgamma", "loggamma", 2.3),
    ("log", "log", 2.3),
    ("log10", "log10", 2.3),
    ("log1p", "log1p", 0.3),
    ("log2", lambda x: mpmath.log(x, 2), 2.3),
    ("radians", "radians", 0.3),
    ("sin", "sin", 0.3),
    ("sinh", "sinh", 0.3),
    ("sqrt", "sqrt", 2.3),
    ("tan", "tan", 0.3),
    ("tanh", "tanh", 0.3),
]
TWO = [
    ("atan2", lambda y, x: mpmath.atan2(y, x), 0.3, -0.4),
    ("copysign", lambda x, y: -x, 0.3, -1.0),
    ("fmod", lambda x, y: x - 3 * y, 2.0, 0.6),
    ("hypot", lambda x, y: mpmath.sqrt(x * x + y * y), 0.3, 0.4),
    ("log", lambda x, b: mpmath.log(x, b), 2.3, 3.0),
    ("pow", lambda x, y: x**y, 1.3, 2.4),
]


def of_math(name: str, arity: int) -> Any:
    """A function as a user writes it around one of math's."""
    source = f"def f({'x, y'[: 3 * arity - 2]}):\n    return math.{name}({'x, y'[: 3 * arity - 2]})\n"
    names = {"math": math}
    exec(source, names)
    return numba.njit(names["f"])


@pytest.mark.parametrize("name, exact, x", ONE)
def test_maths_functions(name: str, exact: Any, x: float) -> None:
    if not hasattr(math, name):  # exp2 and cbrt came with Python 3.11
        pytest.skip(name)
    exact = getattr(mpmath, exact) if isinstance(exact, str) else exact
    f = of_math(name, 1)
    value, slope = fad.value_and_grad(f)(x)
    assert value == pytest.approx(float(exact(mpmath.mpf(x))), rel=1e-14)
    assert slope == pytest.approx(float(mpmath.diff(exact, x)), rel=1e-12)


@pytest.mark.parametrize("name, exact, x, y", TWO)
def test_maths_functions_of_two_arguments(name: str, exact: Any, x: float, y: float) -> None:
    f = of_math(name, 2)
    value, slopes = fad.value_and_grad(f, argnums=(0, 1))(x, y)
    assert value == pytest.approx(float(exact(mpmath.mpf(x), mpmath.mpf(y))), rel=1e-14)
    assert slopes == pytest.approx([float(mpmath.diff(exact, (x, y), n)) for n in ((1, 0), (0, 1))], rel=1e-12, abs=1e-15)


@numba.njit
def smooth(x):
    return math.sin(x) * exp(x) + 2.0 * x


def smooth_slope(x: Any) -> Any:
    return np.exp(x) * (np.sin(x) + np.cos(x)) + 2.0


@numba.njit("float64(float64)")
def fixed(x):
    return math.tanh(x)


@numba.njit
def outer(x, k=2.0):
    return smooth(x) * k + fixed(x)


@numba.njit
def starred(x, *more):
    return x * len(more) + more[0] * more[-1]


@register_jitable
def helper(x):
    return math.log(x)


@numba.njit
def power(x, n):
    return 1.0 if n == 0 else x * power(x, n - 1)


@pytest.mark.smoke
def test_every_transformation() -> None:
    x = 0.3
    assert fad.grad(smooth)(x) == pytest.approx(smooth_slope(x), rel=1e-15)
    assert fad.jit(smooth)(x) == pytest.approx(smooth(x), rel=1e-15)
    assert fad.jit(fad.grad(smooth))(x) == pytest.approx(smooth_slope(x), rel=1e-14)
    assert fad.grad(fad.jit(smooth))(x) == pytest.approx(smooth_slope(x), rel=1e-14)
    assert fad.jvp(smooth, (x,), (1.0,))[1] == pytest.approx(smooth_slope(x), rel=1e-15)
    xs = np.linspace(-1, 1, 5)
    assert np.allclose(fad.vmap(smooth)(xs), [smooth(v) for v in xs], rtol=1e-15)
    assert np.allclose(fad.vmap(fad.grad(smooth))(xs), smooth_slope(xs), rtol=1e-14)
    assert fad.hessian(smooth)(x) == pytest.approx(2 * np.exp(x) * np.cos(x), rel=1e-14)
    assert fad.grad(fad.grad(fad.grad(smooth)))(x) == pytest.approx(2 * np.exp(x) * (np.cos(x) - np.sin(x)), rel=1e-13)
    assert len(fad.trace(smooth)(x).nodes) == 5


@given(st.floats(-20, 20))
def test_values_are_those_that_numba_computes(x: float) -> None:
    for f in (smooth, outer):
        assert fad.value_and_grad(f)(x)[0] == pytest.approx(f(x), rel=1e-13, abs=1e-13)


def test_float32_and_arrays() -> None:
    slope = fad.grad(smooth)(np.float32(0.3))
    assert slope.dtype == np.float32 and slope == pytest.approx(smooth_slope(0.3), rel=1e-6)
    total = numba.njit(lambda x, w: np.sum(np.sin(x) * w) + x[0] * math.cos(w[1]))
    x, w = np.arange(3.0), np.array([1.0, 2.0, 3.0])
    assert np.allclose(fad.grad(total)(x, w), np.cos(x) * w + [np.cos(2.0), 0, 0], rtol=1e-15)


def test_called_from_python_code() -> None:
    class Model:
        slope = staticmethod(smooth)

        def __call__(self, x: Any) -> Any:
            return self.slope(x) ** 2

    inside = types.ModuleType("inside")
    inside.f = smooth
    expected = 2 * smooth(0.3) * smooth_slope(0.3)
    for f in (lambda x: smooth(x) ** 2, Model(), lambda x: inside.f(x) * [smooth][0](x=x), lambda x: smooth(x) * smooth(0.3) * 2):
        assert fad.grad(f)(0.3) == pytest.approx(expected, rel=1e-14)
    assert fad.jit(fad.grad(lambda x: smooth(x) ** 2))(0.3) == pytest.approx(expected, rel=1e-14)


def test_numba_functions_that_call_each_other() -> None:
    slope = 2 * smooth_slope(0.3) + 1 / np.cosh(0.3) ** 2
    assert fad.grad(outer)(0.3) == pytest.approx(slope, rel=1e-14)
    assert fad.grad(lambda x: outer(x))(0.3) == pytest.approx(slope, rel=1e-14)
    assert fad.grad(lambda x: starred(x, x, x * x))(0.5) == fad.grad(starred)(0.5, 1.0, 1.0) + 3 * 0.5**2 == 2.75
    assert fad.grad(lambda k: outer(0.3, k))(2.0) == pytest.approx(smooth(0.3), rel=1e-15)
    assert fad.grad(power)(2.0, 5) == 80.0
    assert fad.grad(fixed)(0.3) == fad.grad(np.tanh)(0.3) == pytest.approx(fad.grad(fad.jit(fixed))(0.3), rel=1e-15)


def test_helpers_closures_and_functions_by_name() -> None:
    from math import tanh

    scale = 3.0

    def twice(x):
        return tanh(x) * scale

    inner = register_jitable(twice)

    @numba.njit
    def f(x):
        return inner(x) + helper(x) + lgamma(x) * scale

    x = 0.7
    expected = 3 / mpmath.cosh(x) ** 2 + 1 / mpmath.mpf(x) + 3 * mpmath.digamma(x)
    assert fad.grad(f)(x) == pytest.approx(float(expected), rel=1e-13)
    assert fad.grad(lambda y: f(y))(x) == fad.grad(f)(x)


def test_closures_that_refer_to_themselves() -> None:
    def down(x, n):
        return math.sin(x) if n == 0 else down(x, n - 1) * x

    f = numba.njit(lambda x: down(x, 3))  # numba itself could not compile this one
    x = 0.4
    assert fad.grad(f)(x) == pytest.approx(3 * x**2 * np.sin(x) + x**3 * np.cos(x), rel=1e-14)


def test_branches_and_loops_follow_the_values() -> None:
    @numba.njit
    def root(a):
        x = 1.0
        while abs(x * x - a) > 1e-14:
            x = 0.5 * (x + a / x)
        return x if a > 0 else -x

    assert fad.grad(root)(3.0) == pytest.approx(0.5 / np.sqrt(3.0), rel=1e-12)
    with pytest.raises(TraceError, match=r"test_numba_source.py:\d+ in root"):
        fad.jit(root)(3.0)


@pytest.mark.parametrize("x, low, high", [(0.5, 1.0, 0.0), (2.0, 0.0, 1.0)])
def test_max_and_min_are_nodes_too(x: float, low: float, high: float) -> None:
    largest = numba.njit(lambda x: max(x, 1.0, 0.2 * x))
    smallest = numba.njit(lambda x: min((x, 1.0)))
    assert fad.grad(smallest)(x) == fad.jit(fad.grad(smallest))(x) == low
    assert fad.grad(largest)(x) == fad.jit(fad.grad(largest))(x) == high
    assert fad.value_and_grad(largest)(np.float32(x))[0].dtype == np.float32


def test_integers_from_floats() -> None:
    f = numba.njit(lambda x, table: table[math.floor(x)] * (x - math.floor(x)))
    table = np.array([1.0, 3.0, 5.0])
    assert fad.grad(f)(1.25, table) == 3.0
    assert np.array_equal(fad.grad(f, argnums=1)(1.25, table), [0.0, 0.25, 0.0])


def test_complex_functions() -> None:
    import cmath

    f = numba.njit(lambda x: (cmath.exp(1j * x) * cmath.sqrt(x)).real)
    x = 0.7
    exact = lambda t: (mpmath.exp(1j * t) * mpmath.sqrt(t)).real
    assert fad.grad(f)(x) == pytest.approx(float(mpmath.diff(exact, x)), rel=1e-12)


def test_what_cannot_be_traced_says_so() -> None:
    @numba.njit
    def assigns(x):
        y = np.zeros(3)
        y[0] = x
        return y.sum()

    @intrinsic
    def machine(typing_context, x):
        return x(x), lambda context, builder, signature, args: args[0]

    native = numba.njit(lambda x: machine(x) * 2.0)
    for f in (assigns, lambda x: assigns(x)):
        with pytest.raises(AssignmentError, match=r"test_numba_source.py:\d+ in assigns(.|\n)*fad.at"):
            fad.grad(f)(1.0)
    with pytest.raises(TraceError, match=r"cannot be traced(.|\n)*fix"):
        fad.grad(native)(1.0)
    with pytest.raises(TraceError, match=r"fixed signatures(.|\n)*fad.jit\(fixed\)"):
        fad.grad(lambda x: fixed(x))(1.0)
    again = fad.jit(fixed)
    assert fad.grad(lambda x: again(x))(0.3) == fad.grad(np.tanh)(0.3)


def test_several_results_and_threads() -> None:
    both = numba.njit(lambda x, y: (math.sin(x) * y, x + y))
    rows = fad.jacobian(lambda x: both(x, 2.0))(0.3)
    assert rows == pytest.approx((2 * np.cos(0.3), 1.0), rel=1e-15)
    points = np.linspace(-1, 1, 200)
    with ThreadPoolExecutor(4) as pool:
        slopes = list(pool.map(fad.grad(lambda x: both(smooth(x), x)[0]), points))
    assert np.allclose(slopes, fad.vmap(fad.grad(lambda x: np.sin(smooth(x)) * x))(points))


def test_calls_without_nodes_stay_with_numba() -> None:
    fad.grad(smooth)(0.1)
    f = numba.njit(lambda x: x + 1)
    assert f(1) == 2 and f(np.float32(1)) == 2.0 and len(f.signatures) == 2
    with pytest.raises(numba.TypingError):
        f(object())
    with pytest.raises(TypeError, match="No matching definition"):
        fixed("text")
    assert fad.grad(lambda x: x * f(2.0))(1.0) == 3.0


def test_fad_does_not_import_numba() -> None:
    code = "import sys, fad, numpy as np; fad.grad(np.tanh)(0.3); fad.vmap(np.sin)(np.ones(3)); assert 'numba' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
