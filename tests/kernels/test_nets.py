"""The numba kernels of convolution and pooling against their definitions, and against the specialised kernels of the compiler."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fad
from fad.compile.kernels import conv as specialised
from fad.errors import DtypeError, ShapeError
from fad.kernels import nets, rent
from tests.compile.kernels.oracle import LAYOUTS, arrays_of, convolution, examples, laid_out, problems, threads
from tests.compile.kernels.test_pool_recipes import assert_right
from tests.compile.kernels.test_pool_recipes import problems as pool_problems
from tests.guards import FencedNumPy


def all_three(x, w, g, geometry, by=nets):
    return (
        by.conv(x, w, **geometry),
        by.conv_input_grad(g, w, input_shape=x.shape, **geometry),
        by.conv_weight_grad(x, g, window=w.shape[:-2], **geometry),
    )


def all_pools(x, t, g, geometry):
    return {
        "max_pool": nets.max_pool(x, **geometry),
        "max_pool_push": nets.max_pool_push(x, t, **geometry),
        "max_pool_grad": nets.max_pool_grad(x, g, **geometry),
        "sum_pool": nets.sum_pool(t, **geometry),
        "sum_pool_grad": nets.sum_pool_grad(g, input_shape=x.shape, **geometry),
    }


def assert_exact(x, w, g, geometry):
    """Integers are added exactly."""
    for got, expected in zip(all_three(x, w, g, geometry), convolution(x, w, g, **geometry), strict=True):
        assert got.dtype == x.dtype
        np.testing.assert_array_equal(got, expected)


@examples(120)
@given(problems(batch=(1, 3)) | problems())
def test_convolution_by_definition(problem):
    assert_exact(*arrays_of(problem)[0], problem[-1])


@examples(40)
@given(problems(channels=1, features=3, batch=(1, 3)), st.integers(2, 9), st.integers(1, 3))
def test_depthwise_by_definition(problem, channels, each):
    (*_, _), (*window, _, _), dtype, seed, geometry = problem
    shapes = (*problem[0][:-1], channels), (*window, 1, channels * each)
    problem = (*shapes, dtype, seed, geometry | {"groups": channels})
    assert_exact(*arrays_of(problem)[0], problem[-1])


@examples(40)
@given(problems(batch=(1, 3)), st.sampled_from(LAYOUTS), st.sampled_from(LAYOUTS), st.sampled_from(LAYOUTS))
def test_layouts(problem, x_layout, w_layout, g_layout):
    """Odd offsets, negative and zero strides, channels first; elements between those of a view are NaN."""
    arrays, rng = arrays_of(problem)
    x, w, g = (laid_out(a, layout, rng)[1] for a, layout in zip(arrays, (x_layout, w_layout, g_layout), strict=True))
    assert_exact(x, w, g, problem[-1])


LARGE = [
    ((2, 17, 15, 64), (3, 3, 64, 80), {}),
    ((1, 30, 31, 3), (7, 7, 3, 64), {"strides": (2, 2), "padding": ((3, 3), (3, 3))}),
    ((2, 9, 9, 300), (1, 1, 300, 70), {"padding": ((0, 0), (0, 0))}),
    ((3, 7, 7, 128), (3, 3, 64, 96), {"groups": 2}),
    ((1, 40, 40, 16), (3, 3, 1, 16), {"groups": 16}),
    ((2, 5, 8, 9, 20), (2, 3, 3, 20, 24), {"padding": ((1, 0), (1, 1), (1, 1))}),
    ((2, 1000, 12), (9, 12, 33), {"dilation": (4,), "padding": ((16, 16),)}),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("x_shape", "w_shape", "geometry"), LARGE)
def test_the_specialised_kernels_agree(x_shape, w_shape, geometry, dtype):
    """Both are sums of the same products in different orders; and no result depends on the number of threads, or on whose they are."""
    rank = len(x_shape) - 2
    geometry = {"strides": (1,) * rank, "padding": ((1, 1),) * rank, "dilation": (1,) * rank, "groups": 1} | geometry
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(x_shape).astype(dtype), rng.standard_normal(w_shape).astype(dtype)
    g = rng.standard_normal(nets.conv(x, w, **geometry).shape).astype(dtype)
    found = all_three(x, w, g, geometry)
    for got, expected, a, b in zip(found, all_three(x, w, g, geometry, specialised), (x, g, x), (w, w, g), strict=True):
        terms = np.linalg.norm(a) * np.linalg.norm(b) / np.sqrt(got.size)
        assert np.abs(got - expected).max() <= 60 * np.finfo(dtype).eps * terms
    for layer in ("fad", "numba"):
        for count in range(1, fad.get_num_threads() + 1):
            with threads(count), on(layer):
                for got, expected in zip(all_three(x, w, g, geometry), found, strict=True):
                    np.testing.assert_array_equal(got, expected)


class on:
    """A threading layer, while the context lasts."""

    def __init__(self, layer):
        self.layer = layer

    def __enter__(self):
        self.before = fad.get_threading_layer()
        fad.set_threading_layer(self.layer)

    def __exit__(self, *_):
        fad.set_threading_layer(self.before)


@pytest.mark.parametrize("at_end", [False, True])
@pytest.mark.parametrize(("x_shape", "w_shape", "geometry"), LARGE)
def test_nothing_outside_is_touched(x_shape, w_shape, geometry, at_end, fence, child):
    """Operands and results lie between pages that may not be read or written, and every element of a result is written."""
    rank = len(x_shape) - 2
    geometry = {"strides": (1,) * rank, "padding": ((1, 1),) * rank, "dilation": (1,) * rank, "groups": 1} | geometry
    x, w = np.ones(x_shape, np.float32), np.ones(w_shape, np.float32)
    g = np.ones(nets.conv(x, w, **geometry).shape, np.float32)
    expected = all_three(x, w, g, geometry)  # which compiles what the child then has

    def fenced():
        fences = fence(at_end)
        nets.np = FencedNumPy(fences)
        for got, y in zip(all_three(*map(fences.around, (x, w, g)), geometry), expected, strict=True):
            np.testing.assert_array_equal(got, y)

    child(fenced)


@pytest.mark.parametrize("at_end", [False, True])
@pytest.mark.parametrize("channels", [1, 3, 8, 33])
@pytest.mark.parametrize(
    "geometry",
    [
        {"window": (2, 2), "strides": (2, 2), "padding": ((0, 0), (0, 0))},
        {"window": (3, 2), "strides": (2, 1), "padding": ((1, 1), (0, 1))},
        {"window": (5,), "strides": (3,), "padding": ((2, 2),)},
    ],
)
def test_pools_touch_nothing_outside(geometry, channels, at_end, fence, child):
    x = np.arange(2.0 * 9 ** len(geometry["window"]) * channels).reshape(2, *(9,) * len(geometry["window"]), channels)
    g = np.ones(nets.max_pool(x, **geometry).shape)
    expected = all_pools(x, x, g, geometry)

    def fenced():
        fences = fence(at_end)
        nets.np = FencedNumPy(fences)
        for name, got in all_pools(*map(fences.around, (x, x, g)), geometry).items():
            np.testing.assert_array_equal(got, expected[name])

    child(fenced)


@examples(120)
@given(pool_problems())
def test_pools_by_definition(problem):
    assert_right(all_pools(*problem), *problem)


@examples(20)
@given(pool_problems(st.sampled_from([1, 3, 18])), st.sampled_from(LAYOUTS[:-1]), st.integers(0, 2**32))
def test_layouts_of_pools(problem, layout, seed):
    *arrays, geometry = problem
    rng = np.random.default_rng(seed)
    views = [laid_out(a, layout, rng)[1] for a in arrays]
    assert_right(all_pools(*views, geometry), *problem)


@pytest.mark.parametrize("layer", ["fad", "numba"])
def test_pools_do_not_depend_on_threads(layer):
    rng = np.random.default_rng(0)
    x, geometry = rng.standard_normal((2, 40, 37, 24)), {"window": (3, 2), "strides": (2, 1), "padding": ((1, 1), (0, 1))}
    g = rng.standard_normal(nets.max_pool(x, **geometry).shape)
    found = all_pools(x, x, g, geometry)
    for count in range(1, fad.get_num_threads() + 1):
        with threads(count), on(layer):
            for name, got in all_pools(x, x, g, geometry).items():
                np.testing.assert_array_equal(got, found[name])


def test_a_shape_that_is_used_often_is_specialised(monkeypatch):
    """When the work done for it comes up to the price, not before; and it is told apart from others."""
    calls = []
    monkeypatch.setattr(rent, "SPECIALISED_PRICE", 3 * nets.count_work((1, 6, 2), 9, 2, 1))
    monkeypatch.setattr(rent, "_paid", rent.defaultdict(float))
    monkeypatch.setitem(rent.SPECIALISED, "conv", lambda *args: calls.append(args) or specialised.conv(*args))
    x, w, geometry = np.ones((1, 6, 1)), np.ones((9, 1, 2)), {"strides": (1,), "padding": ((4, 4),), "dilation": (1,)}
    expected = nets.conv(x, w, **geometry)
    for _ in range(2):
        nets.conv(x, w, **geometry)
        nets.conv(x[:, :5], w, **geometry)
    assert not calls
    np.testing.assert_array_equal(nets.conv(x, w, **geometry), expected)
    assert len(calls) == 1


def test_bad_arguments():
    x, w, geometry = np.ones((1, 5, 4)), np.ones((3, 4, 6)), {"strides": (1,), "padding": ((0, 0),), "dilation": (1,)}
    for other in (np.ones((3, 3, 6)), np.ones((3, 4))):
        with pytest.raises(ShapeError):
            nets.conv(x, other, **geometry)
    with pytest.raises(ShapeError):
        nets.conv(x, w, groups=3, **geometry)
    with pytest.raises(DtypeError):
        nets.conv(x.astype(np.int64), w.astype(np.int64), **geometry)
    with pytest.raises(ShapeError):
        nets.conv_input_grad(np.ones((1, 4, 6)), w, (1, 5, 4), **geometry)
    with pytest.raises(ShapeError):
        nets.max_pool(x, (2,), (1,), ((3, 0),))
