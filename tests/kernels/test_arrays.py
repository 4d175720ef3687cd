"""The dense product against its definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fad.errors import ShapeError
from fad.kernels.arrays import dense

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
