"""The checker checked: it accepts right derivatives, names wrong ones, and is never silent about NaN or nothing."""

import dataclasses
from collections import namedtuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fad
from fad.core.primitive import registry
from fad.testing import GradientError, OracleError, VacuousCheck, arrays, assert_close, check_grads, layouts, shapes, ulps

Pair = namedtuple("Pair", "left right")


@pytest.fixture
def wrong_sin():
    """np.sin with a derivative that is off by 1.001, for one test."""
    op, right = registry["sin"], registry["sin"].derivative
    object.__setattr__(op, "derivative", dataclasses.replace(right, rules=(lambda y, x: 1.001 * np.cos(x),)))
    yield
    object.__setattr__(op, "derivative", right)


def spy(f, seen):
    def watched(*args):
        seen.extend(x.dtype.kind for x in args if isinstance(x, np.ndarray | np.generic))
        return f(*args)

    return watched


# -- what passes ------------------------------------------------------------------------------------------


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.complex128, np.complex64])
def test_right_derivatives_pass_in_every_dtype(dtype):
    x = np.linspace(0.3, 1.4, 5).astype(dtype)
    check_grads(lambda x: np.sin(x) * np.exp(x), (x,), order=3)


def test_pytrees_integers_and_several_results():
    def f(p, k):
        return {"a": np.sin(p["w"]) * k, "n": k}, Pair(p["w"][0], p["b"] ** k)

    check_grads(f, ({"w": np.array([0.2, 0.7]), "b": 1.5}, np.array(3)))


def test_functions_without_complex_meaning_use_differences():
    x = np.array([-1.2, 0.4, 2.0])
    check_grads(lambda x: np.abs(x) * np.maximum(x, 0.1), x)
    check_grads(lambda z: np.abs(z) ** 2 + z.real * z.imag, np.array([0.3 + 0.4j, -1.0 + 0.2j]))
    check_grads(lambda z: np.conj(z) * np.angle(z), np.array([0.3 + 0.4j]))


def test_analytic_functions_use_the_complex_step():
    seen = []
    check_grads(spy(np.tanh, seen), np.array([0.3]), order=1)
    assert "c" in seen
    seen.clear()
    check_grads(spy(np.tanh, seen), np.array([0.3], np.float32), order=1)
    assert "c" in seen


def test_a_function_that_insists_on_float32_is_checked_in_float32():
    traced = fad.trace(lambda x: np.sin(x) * x)(np.ones(3, np.float32))
    check_grads(traced, np.array([0.2, 0.5, 1.0], np.float32), order=1)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_small_and_large_functions(scale):
    check_grads(lambda x: scale * np.sin(x), np.array([0.3, 0.5]))


# -- what does not ----------------------------------------------------------------------------------------


@pytest.mark.smoke
@pytest.mark.parametrize("modes", [("forward",), ("reverse",), ("forward", "reverse")])
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_a_wrong_rule_is_caught(wrong_sin, modes, scale):
    with pytest.raises(GradientError, match=modes[0]):
        check_grads(lambda x: scale * np.sin(x), np.array([0.3, 0.5]), order=1, modes=modes)


@pytest.mark.parametrize("dtype", [np.float32, np.complex64, np.complex128])
def test_a_rule_off_by_two_percent_is_caught_in_every_dtype(dtype):
    def f(x):
        return np.sin(x) + 0.02 * (x - fad.stop_gradient(x))

    with pytest.raises(GradientError):
        check_grads(f, np.array([0.3, 0.5], dtype), order=1)


def test_one_wrong_element_among_many_is_caught():
    hit = np.arange(10_000) == 7777

    def f(x):
        return np.sin(x) + np.where(hit, 1e-3 * (x - fad.stop_gradient(x)), 0)

    for modes in (("forward",), ("reverse",)):
        with pytest.raises(GradientError):
            check_grads(f, np.linspace(0.0, 1.0, 10_000), order=1, modes=modes)


def test_second_order_is_checked_by_itself():
    def f(x):  # right at first order: the slope of the stopped part is put back by hand
        return x * fad.stop_gradient(x) * 2 - fad.stop_gradient(x) ** 2

    x = np.array([0.7])
    check_grads(f, x, order=1)
    with pytest.raises(GradientError, match=r"(?s)jvp\(f\).*order 2"):
        check_grads(f, x, order=2)
    with pytest.raises(GradientError, match=r"(?s)vjp\(f\).*order 2"):
        check_grads(f, x, order=2, modes=("reverse",))


def test_the_message_shows_everything(wrong_sin):
    with pytest.raises(GradientError) as caught:
        check_grads(np.sin, np.array([0.5]), order=1, seed=5)
    message = str(caught.value)
    for part in (
        "forward mode of sin",
        "complex step",
        "direction 1 of 3",
        "order 1",
        "seed 5",
        "[0.5]",
        "tolerance",
        "test_testing.py",
    ):
        assert part in message
    assert isinstance(caught.value, AssertionError)


def test_nan_never_passes():
    with pytest.raises(OracleError):
        check_grads(np.log, np.array([-1.0]))
    with pytest.raises(GradientError):  # the value is fine, the derivative is 0 times inf

        def f(x):
            return x + np.zeros(1) * np.sqrt(x - fad.stop_gradient(x))

        check_grads(f, np.array([1.0]), order=1)


def test_kinks_and_jumps_do_not_settle():
    with pytest.raises(OracleError, match="do not settle"):
        check_grads(np.sign, np.array([0.0]), order=1)
    with pytest.raises(OracleError):
        check_grads(np.sqrt, np.array([0.0]), order=1)


def test_nothing_to_compare_is_said():
    with pytest.warns(VacuousCheck):
        check_grads(np.sin, np.zeros((0, 3)), order=1)


def test_nothing_to_differentiate_raises():
    with pytest.raises(fad.errors.DtypeError, match="nothing to differentiate"):
        check_grads(lambda x: x, (np.arange(3),))
    with pytest.raises(fad.errors.DtypeError, match="nothing to differentiate"):
        check_grads(lambda x: np.argmax(x), (np.ones(3),))
    with pytest.raises(fad.errors.DtypeError, match="no such mode"):
        check_grads(np.sin, np.ones(3), modes=("backward",))


def test_the_seed_decides(wrong_sin):
    messages = []
    for seed in (0, 0, 1):
        with pytest.raises(GradientError) as caught:
            check_grads(np.sin, np.array([0.5]), seed=seed)
        messages.append(str(caught.value))
    assert messages[0] == messages[1] != messages[2]


# -- closeness ------------------------------------------------------------------------------------------------


@given(st.floats(-1e300, 1e300), st.integers(1, 50))
def test_ulps_count_the_floats_between(x, n):
    y = x
    for _ in range(n):
        y = np.nextafter(y, np.inf)
    assert n / 2 <= ulps(x, y) <= 2 * n  # a factor of two where a power of two lies between


def test_assert_close():
    assert_close([np.nan, np.inf], [np.nan, np.inf])
    assert_close({"a": np.float32(1)}, {"a": np.nextafter(np.float32(1), np.float32(2))}, ulp=1)
    assert_close(1.0, 1.1, rtol=0.2)
    for a, b in [
        (np.nan, 1.0),
        (np.inf, -np.inf),
        (np.inf, 1e308),
        (1.0, np.float32(1.0)),
        (np.ones(2), np.ones((2, 1))),
        ([1.0], [1.0, 2.0]),
        (1.0, 1.0 + 1e-12),
        (1 + 0j, 1 + 1e-12j),
        (1, 2),
        (0.0, 5e-300),
    ]:
        with pytest.raises(AssertionError):
            assert_close(a, b)
    with pytest.raises(AssertionError, match=r"\['w'\]\[1\]: .*2.0.*3.0"):
        assert_close({"w": np.array([1.0, 2.0])}, {"w": np.array([1.0, 3.0])})


# -- strategies ---------------------------------------------------------------------------------------------------


@given(st.sampled_from([np.float64, np.float32, np.complex128, np.complex64]), st.data())
def test_arrays_have_the_dtype_shape_and_domain(dtype, data):
    x = data.draw(arrays(dtype, (2, 3), (0.1, 0.7)))
    assert x.dtype == dtype
    assert x.shape == (2, 3)
    parts = (x.real, x.imag) if x.dtype.kind == "c" else (x,)
    for part in parts:
        assert np.all((part.astype(float) >= 0.1) & (part.astype(float) <= 0.7))


def test_arrays_and_shapes_reach_the_corners():
    layouts_met, shapes_met = set(), set()

    @settings(max_examples=300, database=None, derandomize=True)
    @given(arrays())
    def collect(x):
        shapes_met.add("scalar" if x.ndim == 0 else "empty" if x.size == 0 else "full")
        if x.size > 1 and x.ndim == 2 and min(x.shape) > 1:
            layouts_met.add(
                "reversed" if min(x.strides) < 0 else "C" if x.flags.c_contiguous else "F" if x.flags.f_contiguous else "strided"
            )

    collect()
    assert shapes_met == {"scalar", "empty", "full"}
    assert layouts_met == {"reversed", "C", "F", "strided"}


@given(shapes(max_dims=2, max_side=4, min_side=1))
def test_shapes_keep_their_bounds(shape):
    assert isinstance(shape, tuple)
    assert len(shape) <= 2
    assert all(1 <= s <= 4 for s in shape)


def test_layouts_keep_the_numbers():
    x = np.arange(6.0).reshape(2, 3)
    for _, view in layouts(x):
        assert_close(view, x, ulp=0)
        assert not view.flags.c_contiguous
