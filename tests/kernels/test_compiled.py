"""The kernels called from code that numba compiles."""

import numba
import numpy as np
import pytest
from hypothesis import given

from fad import kernels
from fad.kernels import conv, conv_input_grad, conv_weight_grad, dense, max_pool, sum_pool
from tests.compile.kernels.oracle import arrays_of, convolution, examples, problems


@numba.njit
def all_three(x, w, g, strides, padding, dilation, groups):
    return (
        conv(x, w, strides, padding, dilation, groups),
        conv_input_grad(g, w, x.shape, strides, padding, dilation, groups),
        conv_weight_grad(x, g, w.shape[:-2], strides, padding, dilation, groups),
    )


@examples(40)
@given(problems().filter(lambda problem: len(problem[-1]["strides"]) == 2))  # each rank and dtype is compiled anew, for seconds
def test_convolution_by_definition(problem):
    x, w, g = (a.astype(np.float64) for a in arrays_of(problem)[0])
    geometry = problem[-1]
    found = all_three(x, w, g, *geometry.values())
    for got, expected in zip(found, convolution(x, w, g, **geometry), strict=True):
        assert got.dtype == x.dtype
        np.testing.assert_array_equal(got, expected)


@numba.njit
def features(images, w, v, b):
    x = conv(images, w, (1, 1), ((1, 1), (1, 1)), (1, 1))
    x = max_pool(x, (2, 2), (2, 2), ((0, 0), (0, 0))) + sum_pool(x, (2, 2), (2, 2), ((0, 0), (0, 0)))
    return dense(x[:, 0, 0], v, b)


def test_a_net():
    rng = np.random.default_rng(0)
    images, w, v, b = (rng.integers(-3, 4, s).astype(float) for s in ((5, 4, 6, 3), (3, 3, 3, 7), (7, 10), (10,)))
    x = convolution(images, w, None, (1, 1), ((1, 1), (1, 1)), (1, 1))[0]
    tiles = x.reshape(5, 2, 2, 3, 2, 7)
    np.testing.assert_array_equal(features(images, w, v, b), (tiles.max((2, 4)) + tiles.sum((2, 4)))[:, 0, 0] @ v + b)


@numba.njit(parallel=True)
def products(x, w):
    """Parallel kernels in a parallel region of the user's own."""
    y = np.empty((x.shape[0], x.shape[1], w.shape[2]))
    for n in numba.prange(len(x)):
        y[n] = dense(x[n], w[n])
    return y


def test_kernels_inside_of_a_parallel_loop():
    rng = np.random.default_rng(0)
    x, w = rng.integers(-3, 4, (6, 40, 30)).astype(float), rng.integers(-3, 4, (6, 30, 50)).astype(float)
    np.testing.assert_array_equal(products(x, w), x @ w)


def test_bad_arguments():
    rest = (1, 1), ((0, 0), (0, 0)), (1, 1), 1
    with pytest.raises(ValueError, match="groups"):
        all_three(np.ones((1, 5, 5, 4)), np.ones((3, 3, 3, 2)), np.ones((1, 3, 3, 2)), *rest)
    with pytest.raises(numba.TypingError, match="float32"):
        all_three(np.ones((1, 5, 5, 4)), np.ones((3, 3, 4, 2), np.float32), np.ones((1, 3, 3, 2)), *rest)
    with pytest.raises(ValueError, match="dense"):
        numba.njit(lambda x, w: dense(x, w))(np.ones((2, 3)), np.ones((2, 3)))
    with pytest.raises(AttributeError, match="nothing"):
        kernels.nothing  # noqa: B018
