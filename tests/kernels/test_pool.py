"""Pooling kernels against windows taken one at a time with NumPy."""

from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fad.errors import DtypeError, ShapeError
from fad.kernels.pool import max_pool_argmax, sum_pool, sum_pool_grad


def windows_of(shape, window, strides, padding):
    """(output shape, list of (output position, slices of the input)) by definition; slices may be empty."""
    spatial = shape[1:-1]
    out = [
        max(0, (size + low + high - taps) // stride + 1)
        for size, taps, stride, (low, high) in zip(spatial, window, strides, padding, strict=True)
    ]
    pairs = []
    for o in product(*map(range, out)):
        starts = [i * stride - low for i, stride, (low, _) in zip(o, strides, padding, strict=True)]
        part = tuple(slice(max(0, a), max(0, a + taps)) for a, taps in zip(starts, window, strict=True))
        pairs.append((o, part))
    return (shape[0], *out, shape[-1]), pairs


@st.composite
def problems(draw):
    rank = draw(st.integers(1, 3))

    def each(low, high):
        return tuple(draw(st.integers(low, high)) for _ in range(rank))

    shape = (draw(st.integers(0, 3)), *each(0, 6), draw(st.integers(0, 5)))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    # Few distinct values, so that ties, infinities and NaN are common.
    x = rng.choice([-np.inf, -1.0, 0.0, 2.0, np.inf, np.nan], shape).astype(dtype)
    padding = tuple(zip(each(0, 3), each(0, 3), strict=True))
    return x, {"window": each(1, 4), "strides": each(1, 3), "padding": padding}


@given(problems())
def test_max_pool_argmax_is_np_argmax(problem):
    x, geometry = problem
    out_shape, pairs = windows_of(x.shape, **geometry)
    positions = np.arange(x.size).reshape(x.shape)
    if any(0 in positions[0:1, *part, :].shape[1:-1] for _, part in pairs if len(x)):
        with pytest.raises(ShapeError, match="padding"):
            max_pool_argmax(x, **geometry)
        return
    assume(x.size or not pairs)
    index = max_pool_argmax(x, **geometry)
    assert index.shape == out_shape
    assert index.dtype == np.int64
    for o, part in pairs:
        for n, c in product(range(x.shape[0]), range(x.shape[-1])):
            patch, where = x[n, *part, c], positions[n, *part, c]
            assert index[n, *o, c] == where.ravel()[np.argmax(patch)]


@given(problems())
def test_sum_pool_and_its_adjoint(problem):
    x, geometry = problem
    rng = np.random.default_rng(0)
    x = rng.standard_normal(x.shape).astype(x.dtype)
    out_shape, pairs = windows_of(x.shape, **geometry)
    expected, x_bar = np.zeros(out_shape), np.zeros(x.shape)
    g = rng.standard_normal(out_shape).astype(x.dtype)
    axes = tuple(range(1, x.ndim - 1))
    for o, part in pairs:
        expected[:, *o] = x[:, *part].sum(axes)
        x_bar[:, *part] += np.expand_dims(g[:, *o], axes)
    y = sum_pool(x, **geometry)
    back = sum_pool_grad(g, x.shape, **geometry)
    assert y.dtype == back.dtype == x.dtype
    assert back.shape == x.shape
    np.testing.assert_allclose(y, expected, atol=1e-4 if x.dtype == np.float32 else 1e-12)
    np.testing.assert_allclose(back, x_bar, atol=1e-4 if x.dtype == np.float32 else 1e-12)


@pytest.mark.smoke
def test_first_maximum_nan_and_padding():
    def argmax(values, padding=(0, 0)):
        return (
            max_pool_argmax(np.array(values, float).reshape(1, -1, 1), (3,), (3,), (padding,))
            .ravel()
            .tolist()
        )

    assert argmax([1, 5, 5]) == [1]
    assert argmax([5, np.nan, np.nan]) == [1]
    assert argmax([np.inf, np.nan, np.inf]) == [1]
    assert argmax([-1, -2], (1, 0)) == [0]
    assert argmax([-np.inf, -np.inf], (1, 0)) == [0]
    assert argmax([0.0, -0.0, 0.0]) == [0]


def test_kernels_stay_inside_their_output(guarded):
    from fad.kernels import pool as module
    from fad.kernels.threads import frozen

    rng = np.random.default_rng(4)
    for size, channels, stride in product((1, 2, 7), (1, 5), (1, 2, 3)):
        geometry = (2, 3), (1, stride), ((1, 1), (2, 2))
        x = rng.standard_normal((2, 3, size, channels))
        index, y = max_pool_argmax(x, *geometry), sum_pool(x, *geometry)
        lifted = (1, 2, 3), (1, 1, stride), (0, 1, 2)
        outputs = [guarded(np.zeros_like(a)) for a in (index, y, x)]
        index_out, y_out, x_bar = (o.array[:, None] for o in outputs)
        module._max_pool_argmax(frozen(x[:, None]), index_out, *lifted)
        module._sum_pool(frozen(x[:, None]), y_out, *lifted)
        module._sum_pool_grad(frozen(y[:, None]), x_bar, *lifted)
        for output in outputs:
            output.check_surroundings()
        np.testing.assert_array_equal(index_out[:, 0], index)
        np.testing.assert_array_equal(y_out[:, 0], y)
        np.testing.assert_allclose(np.sum(x_bar[:, 0] * x), np.sum(y * y), rtol=1e-10)


def test_inputs_are_not_modified(guarded):
    x = guarded(np.random.default_rng(0).standard_normal((2, 5, 4, 3)))
    for pool in (max_pool_argmax, sum_pool):
        pool(x.array, (2, 2), (1, 2), ((1, 0), (0, 1)))
    x.check()


def test_a_window_in_padding_alone_is_fine_for_sums_only():
    x = np.ones((1, 2, 1))
    np.testing.assert_array_equal(sum_pool(x, (2,), (2,), ((2, 2),)).ravel(), [0, 2, 0])
    with pytest.raises(ShapeError, match="entirely in padding"):
        max_pool_argmax(x, (2,), (2,), ((2, 0),))
    with pytest.raises(ShapeError, match="entirely in padding"):
        max_pool_argmax(x, (2,), (2,), ((0, 2),))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"window": (2,)}, ShapeError),
        ({"window": (0, 2)}, ShapeError),
        ({"strides": (1, 0)}, ShapeError),
        ({"padding": ((0, 0), (0, -1))}, ShapeError),
        ({"x": np.ones((1, 4))}, ShapeError),
        ({"x": np.ones((1, 4, 4, 1), int)}, DtypeError),
    ],
)
@pytest.mark.parametrize("pool", [max_pool_argmax, sum_pool])
def test_bad_arguments(pool, change, error):
    plain = {"x": np.ones((1, 4, 4, 1)), "window": (2, 2), "strides": (2, 2), "padding": ((0, 0), (0, 0))}
    with pytest.raises(error):
        pool(**(plain | change))


def test_bad_cotangent():
    with pytest.raises(ShapeError):
        sum_pool_grad(np.ones((1, 2, 1)), (1, 5, 1), (2,), (1,), ((0, 0),))
