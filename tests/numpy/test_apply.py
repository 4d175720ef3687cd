"""Functions applied along an axis: NumPy's values for results of every rank, and derivatives."""

import numpy as np
import pytest

import fad
from fad.testing import check_grads
from tests.numpy.oracle import check

X = np.random.default_rng(0).normal(size=(2, 3, 4))


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("row", [lambda r: np.sum(r * r), lambda r: np.cumsum(r), lambda r: np.outer(r, r[:2])])
def test_along_an_axis(row, axis):
    f = lambda x: np.apply_along_axis(row, axis, x)
    check(f, X)
    check_grads(lambda x: np.sum(np.sin(f(x))), (X,), order=1)
    np.testing.assert_allclose(fad.jit(f)(X), f(X))


def test_no_rows():
    with pytest.raises(fad.errors.ShapeError, match="no rows"):
        fad.trace(lambda x: np.apply_along_axis(np.sum, 0, x))(X[:, :0])
