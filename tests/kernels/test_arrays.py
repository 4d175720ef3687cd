"""The dense product against its definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fad.errors import ShapeError
from fad.kernels.arrays import dense, matmul, multiply_stack

SIZES = st.integers(0, 6)


@given(SIZES, SIZES, SIZES, st.sampled_from([np.float32, np.float64]), st.booleans(), st.integers(0, 2**32))
def test_dense_is_the_definition(n, k, m, dtype, with_bias, seed):
    rng = np.random.default_rng(seed)
    x, w, b = (rng.standard_normal(shape).astype(dtype) for shape in ((n, k), (k, m), (m,)))
    expected = (x[:, :, None].astype(float) * w).sum(1) + (b if with_bias else 0)
    y = dense(x, w, b if with_bias else None)
    assert y.dtype == dtype
    assert y.shape == (n, m)
    np.testing.assert_allclose(y, expected, atol=1e-4 if dtype == np.float32 else 1e-12)


def test_a_wider_bias_widens_the_result():
    y = dense(np.ones((1, 1), np.float32), np.ones((1, 1), np.float32), np.array([1e-12]))
    assert y.dtype == np.float64
    assert y[0, 0] == 1 + 1e-12


def test_inputs_are_not_modified(guarded):
    arrays = [guarded(np.ones(shape)) for shape in ((2, 3), (3, 4), (4,))]
    dense(*(a.array for a in arrays))
    for a in arrays:
        a.check()


@pytest.mark.parametrize("shapes", [((2, 3), (4, 5), (5,)), ((2, 3), (3, 5), (4,)), ((3,), (3, 5), (5,)), ((2, 3), (3,), (5,))])
def test_shapes_that_do_not_fit(shapes):
    with pytest.raises(ShapeError):
        dense(*map(np.ones, shapes))


LAYOUTS = ["as it is", "transposed", "every second", "reversed"]


def laid_out(x, layout):
    """x with its elements in other places."""
    if layout == "transposed":
        return np.ascontiguousarray(x.swapaxes(-1, -2)).swapaxes(-1, -2)
    if layout == "every second":
        return np.repeat(x, 2, axis=-1)[..., ::2]
    return np.ascontiguousarray(x[..., ::-1, :])[..., ::-1, :] if layout == "reversed" else x


STACKS = [((), ()), ((3,), (3,)), ((2, 1), (1, 3)), ((4,), ())]


@given(
    st.sampled_from(STACKS),
    st.tuples(*[st.integers(0, 40) | st.sampled_from([255, 256, 300])] * 3),
    st.sampled_from(LAYOUTS),
    st.sampled_from(LAYOUTS),
    st.booleans(),
    st.sampled_from([np.float32, np.float64]),
    st.integers(0, 2**32),
)
def test_stacks_are_products_of_their_matrices(stacks, sizes, x_layout, w_layout, with_bias, dtype, seed):
    """Of integers, exactly; several blocks of the depth and panels among them."""
    (m, k, n), rng = sizes, np.random.default_rng(seed)
    x, w = (rng.integers(-4, 5, (*s, *shape)).astype(dtype) for s, shape in zip(stacks, ((m, k), (k, n)), strict=True))
    bias = rng.integers(-4, 5, n).astype(dtype) if with_bias else None
    got = multiply_stack(laid_out(x, x_layout), laid_out(w, w_layout), bias)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, x @ w + (bias if with_bias else 0))


def test_large_stacks_agree_with_numpy_and_refuse_what_it_refuses():
    x, w = np.ones((900, 64, 64)), np.ones((900, 64, 64))
    np.testing.assert_array_equal(matmul(x, w), np.matmul(x, w))
    with pytest.raises(ValueError, match="matmul"):
        matmul(x, w[:, :32])
