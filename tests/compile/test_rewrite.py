"""Operations that the compiler writes with others: running sums, positions of extremes; whole quotients; values put in places."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fad
from fad.errors import OutOfRangeError

ARRAYS = st.sampled_from([np.float64, np.float32, np.int64, np.int32, bool]).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=5))
)


def native(f, *args):
    f = fad.jit(f)
    with np.errstate(all="ignore"):
        y = f(*args)
    assert "by NumPy" not in f.explain()
    return y


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([np.cumsum, np.cumprod, np.argmax, np.argmin]), ARRAYS, st.data())
def test_along_an_axis(f, x, data):
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    compiled = fad.jit(lambda x: f(x, axis=axis))
    with np.errstate(all="ignore"):
        got, want = compiled(x), f(x, axis=axis)
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(np.signbit(got), np.signbit(want))


@pytest.mark.parametrize("x", [[1, np.nan, 3], [3.0, np.nan, np.nan], [-0.0, 0.0], [np.inf, -np.inf, np.inf]])
def test_signs_and_nans(x):
    x = np.array(x)
    for f in (np.cumsum, np.argmax, np.argmin):
        np.testing.assert_array_equal(native(f, x), f(x))
        np.testing.assert_array_equal(np.signbit(native(f, x)), np.signbit(f(x)))


@pytest.mark.parametrize("dtype", [np.int64, np.int32])
def test_whole_quotients(dtype):
    ends = np.iinfo(dtype)
    numbers = np.array([0, 1, -1, 2, -2, 3, -3, 7, -7, 100, ends.min, ends.max, ends.min + 1], dtype)
    x, y = (m.ravel() for m in np.meshgrid(numbers, numbers))
    with np.errstate(all="ignore"):
        for f in (np.floor_divide, np.remainder):
            np.testing.assert_array_equal(native(f, x, y), f(x, y))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.lists(st.integers(-6, 5), min_size=1, max_size=8), st.sampled_from([(), (3,)]))
def test_of_several_values_for_a_place_the_last_stays(n, index, row):
    index = np.array([i % n - n * (i < 0) for i in index])
    x, values = np.arange(float(n * 3)).reshape(n, 3)[(..., *(0,) * (not row))], np.arange(float(len(index)))
    values = np.broadcast_to(np.reshape(values, (-1, *(1,) * len(row))), (len(index), *row)) + 100
    f = lambda x, v, i: fad.at(x)[i].set(v)
    want = x.copy()
    want[index] = values
    np.testing.assert_array_equal(native(f, x, values, index), want)
    slopes = fad.grad(lambda x, v: np.sum(f(x, v, index) ** 2), (0, 1))
    for a, b in zip(native(slopes, x, values), slopes(x, values), strict=True):
        np.testing.assert_allclose(a, b)


def test_a_place_that_is_not_there():
    f = fad.jit(lambda x, i: fad.at(x)[i].set(1.0))
    np.testing.assert_array_equal(f(np.zeros(3), -1), [0, 0, 1])
    with pytest.raises(OutOfRangeError):
        f(np.zeros(3), 3)


def test_a_loop_that_fills_an_array_writes_where_it_lies():
    f = fad.jit(lambda x: fad.scan(lambda c, t: (fad.at(c)[t].set(np.sin(1.0 * t)), None), x, np.arange(1000))[0])
    np.testing.assert_allclose(f(np.zeros(1000)), np.sin(np.arange(1000)), rtol=1e-14)
    assert f.lower(np.zeros(1000)).loops.count("store") == 0  # no copy of the array in an iteration


@pytest.mark.parametrize("n", [1, 64, 65, 127, 128, 129, 1000])
def test_places_in_a_sorted_array(n):
    rng = np.random.default_rng(n)
    a = np.sort(rng.integers(0, 50, n).astype(float))
    v = np.concatenate([rng.integers(-2, 53, 40).astype(float), [np.inf, -np.inf]])
    for side in ("left", "right"):
        np.testing.assert_array_equal(
            native(lambda a, v, side=side: np.searchsorted(a, v, side), a, v), np.searchsorted(a, v, side)
        )


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint32, np.uint64])
def test_shifts_and_bits(dtype):
    ends = np.iinfo(dtype)
    x = np.array([0, 1, 5, ends.max, ends.min, ends.max // 3], dtype)
    for count in (0, 1, 31, 32, 63, 64, 100):
        for f in (np.left_shift, np.right_shift):
            np.testing.assert_array_equal(native(f, x, dtype(count)), f(x, dtype(count)))
    for f in (np.bitwise_and, np.bitwise_or, np.bitwise_xor):
        np.testing.assert_array_equal(native(f, x, x[::-1].copy()), f(x, x[::-1]))


@pytest.mark.parametrize(
    "index",
    [np.s_[::2], np.s_[1::3], np.s_[::-1], np.s_[::-2], np.s_[:, ::4], np.s_[::-1, ::-3], np.s_[2, 1::2], np.s_[3:0:-1, 1:4]],
)
def test_transposes_of_strided_views(index):
    x = np.arange(24.0).reshape(4, 6)
    slope = fad.grad(lambda x: np.sum(np.sin(x[index]) * 2))
    np.testing.assert_allclose(native(slope, x), slope(x))


def test_random_numbers_in_loops():
    def f(scale):
        def step(carry, _):
            key, x = carry
            key, own = fad.random.split(key)
            return (key, x + scale * fad.random.normal(own, (3,))), None

        return np.sum(fad.scan(step, (fad.random.key(3), np.zeros(3)), length=20)[0][1])

    np.testing.assert_allclose(native(fad.grad(f), 0.2), fad.grad(f)(0.2))
