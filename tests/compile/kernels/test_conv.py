"""Convolution and its gradients against their definition, in nested loops over output positions, taps and groups."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fad.compile.kernels import conv_recipes, recipe
from fad.compile.kernels.conv import conv, conv_input_grad, conv_weight_grad
from fad.errors import DtypeError, ShapeError
from fad.native import engine
from fad.native.threads import get_num_threads

from .oracle import LAYOUTS, arrays_of, convolution, examples, integers, laid_out, machines, problems, threads


def all_three(x, w, g, geometry):
    return conv(x, w, **geometry), conv_input_grad(g, w, x.shape, **geometry), conv_weight_grad(x, g, w.shape[:-2], **geometry)


def assert_all_three(x, w, g, geometry):
    """Values and gradients are exact, for integers."""
    for got, expected, like in zip(all_three(x, w, g, geometry), convolution(x, w, g, **geometry), (g, x, w), strict=True):
        assert got.dtype == x.dtype
        assert got.shape == expected.shape == like.shape
        np.testing.assert_array_equal(got, expected)


@examples(60)
@given(problems(batch=(1, 3)) | problems(), machines())
def test_values_and_gradients(problem, machine):
    with machine():
        assert_all_three(*arrays_of(problem)[0], problem[-1])


@examples(60)
@given(problems(batch=(1, 3)), st.sampled_from(LAYOUTS), st.sampled_from(LAYOUTS), st.sampled_from(LAYOUTS))
def test_views(problem, x_layout, w_layout, g_layout):
    """Odd offsets, negative and zero strides, channels first; elements between those of a view are NaN."""
    arrays, rng = arrays_of(problem)
    (_, x), (_, w), (_, g) = (laid_out(a, layout, rng) for a, layout in zip(arrays, (x_layout, w_layout, g_layout), strict=True))
    assert_all_three(x, w, g, problem[-1])


@pytest.mark.smoke
def test_every_element_of_the_gradients():
    """The gradients as adjoints: their inner products with one unit after another."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 4, 3, 2)), rng.standard_normal((2, 3, 1, 4))
    geometry = {"strides": (2, 1), "padding": ((1, 0), (2, 1)), "dilation": (1, 2), "groups": 2}
    g = rng.standard_normal(conv(x, w, **geometry).shape)

    def adjoint(at, shape):
        basis = np.eye(int(np.prod(shape))).reshape(-1, *shape)
        return np.array([np.sum(g * at(e)) for e in basis]).reshape(shape)

    x_bar = adjoint(lambda e: convolution(e, w, None, **geometry)[0], x.shape)
    w_bar = adjoint(lambda e: convolution(x, e, None, **geometry)[0], w.shape)
    _, x_bar_too, w_bar_too = convolution(x, w, g, **geometry)
    np.testing.assert_allclose(x_bar_too, x_bar, atol=1e-12)
    np.testing.assert_allclose(w_bar_too, w_bar, atol=1e-12)
    np.testing.assert_allclose(conv_input_grad(g, w, x.shape, **geometry), x_bar, atol=1e-12)
    np.testing.assert_allclose(conv_weight_grad(x, g, (2, 3), **geometry), w_bar, atol=1e-12)


PLAIN = {"strides": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}


def case(x_shape, w_shape, dtype=np.float32, seed=0, **geometry):
    """Integers x, w and g for a geometry, SAME padding and all else 1 unless it is named."""
    rank = len(x_shape) - 2
    full = {
        "strides": (1,) * rank,
        "dilation": (1,) * rank,
        "groups": 1,
        "padding": tuple(((k - 1) // 2, k // 2) for k in w_shape[:-2]),
    } | geometry
    rng = np.random.default_rng(seed)
    x, w = integers(rng, x_shape, dtype), integers(rng, w_shape, dtype)
    return (
        x,
        w,
        integers(
            rng, convolution(x[..., :1] * 0, w[..., :1, :1] * 0, None, **(full | {"groups": 1}))[0].shape[:-1] + w_shape[-1:], dtype
        ),
        full,
    )


LANES = engine.machine().vector_bytes // 4


@pytest.mark.parametrize("features", range(1, 2 * LANES + 2))
def test_columns_of_every_residue(features):
    assert_all_three(*case((1, 5, 4, 3), (3, 3, 3, features)))


@pytest.mark.parametrize("size", [*range(1, 18), 31, 32, 33])
def test_rows_of_every_residue(size):
    assert_all_three(*case((2, 2, size, 2), (2, 3, 2, 5)))


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 6, 7, 33, 70])
@pytest.mark.parametrize("groups", [1, 2])
def test_channels(channels, groups):
    assert_all_three(*case((2, 4, 5, channels * groups), (3, 2, channels, 9 * groups), np.float64, groups=groups))


@pytest.mark.parametrize(
    "x_shape, w_shape, geometry",
    [
        ((2, 12, 11, 40), (3, 3, 40, 70), {}),
        ((1, 21, 23, 3), (7, 7, 3, 40), {"strides": (2, 2)}),
        ((3, 14, 14, 64), (1, 1, 64, 90), {}),
        ((2, 13, 12, 30), (1, 1, 30, 40), {"strides": (2, 2)}),
        ((1, 30, 3, 24), (3, 3, 12, 50), {"groups": 2}),
        ((2, 6, 7, 5, 9), (3, 2, 3, 9, 20), {"dilation": (1, 2, 1)}),
        ((2, 300, 20), (5, 20, 33), {"dilation": (7,)}),
        ((60, 9, 8), (3, 8, 8), {}),
        ((1, 3000, 3), (5, 3, 70), {}),
        ((2, 2500, 2), (3, 2, 65), {"strides": (2,), "padding": ((0, 0),)}),
        ((1, 2, 2000, 4), (1, 3, 4, 40), {}),
    ],
)
def test_more_than_one_block_of_work(x_shape, w_shape, geometry):
    assert_all_three(*case(x_shape, w_shape, **geometry))


@pytest.mark.parametrize("padding", [((0, 2), (1, 0)), ((9, 9), (9, 9)), ((0, 30), (25, 0))])
@pytest.mark.parametrize("w_shape", [(9, 8, 2, 3), (1, 9, 2, 3), (8, 1, 2, 3)])
def test_kernels_larger_than_the_input(w_shape, padding):
    """Some windows see nothing but padding."""
    assert_all_three(*case((2, 3, 4, 2), w_shape, padding=padding))
    assert_all_three(*case((2, 3, 4, 2), w_shape, padding=padding, strides=(3, 2), dilation=(2, 3)))


@pytest.mark.parametrize("strides", [(1,), (3,)])
def test_long_kernels(strides):
    """More taps than positions: every row of the output misses some of them."""
    assert_all_three(*case((1, 90, 2), (120, 2, 3), strides=strides))


@pytest.mark.parametrize(
    "x_shape, w_shape",
    [
        ((0, 4, 4, 3), (3, 3, 3, 5)),
        ((2, 0, 4, 3), (3, 3, 3, 5)),
        ((2, 4, 4, 0), (3, 3, 0, 5)),
        ((2, 4, 4, 3), (3, 3, 3, 0)),
        ((2, 2, 4, 3), (5, 3, 3, 4)),
    ],
)
def test_empty_arrays(x_shape, w_shape):
    geometry = PLAIN if x_shape[1] != 2 else PLAIN | {"padding": ((1, 1), (0, 0))}
    x, w = np.ones(x_shape), np.ones(w_shape)
    y, *_ = convolution(x, w, None, **geometry)
    assert_all_three(x, w, np.ones(y.shape), geometry)


def test_nan_and_infinity_reach_exactly_the_windows_that_hold_them():
    x = np.zeros((1, 5, 1))
    x[0, 2] = np.nan
    y = conv(x, np.ones((3, 1, 1)), (1,), ((0, 0),), (1,), 1)
    assert np.isnan(y).all()
    x = np.zeros((1, 7, 1))
    x[0, 0] = np.inf
    y = conv(x, np.ones((3, 1, 1)), (1,), ((1, 1),), (1,), 1).ravel()
    np.testing.assert_array_equal(y, [np.inf, np.inf, 0, 0, 0, 0, 0])


@examples(20)
@given(problems(batch=(1, 2)))
def test_padding_is_not_multiplied(problem):
    """Infinite weights meet only what is there: no 0 * inf of padding."""
    (x, w, g), _ = arrays_of(problem)
    y = conv(np.ones_like(x), np.full_like(w, np.inf), **problem[-1])
    count, *_ = convolution(np.ones_like(x), np.ones_like(w), None, **problem[-1])
    np.testing.assert_array_equal(y, np.where(count > 0, np.inf, 0))
    x_bar = conv_input_grad(np.ones_like(g), np.full_like(w, np.inf), x.shape, **problem[-1])
    _, count, _ = convolution(x, np.ones_like(w), np.ones_like(g), **problem[-1])
    np.testing.assert_array_equal(x_bar, np.where(count > 0, np.inf, 0))


@pytest.mark.smoke
def test_layouts_and_read_only_inputs():
    rng = np.random.default_rng(2)
    x, w = rng.standard_normal((2, 5, 4, 3)), rng.standard_normal((3, 3, 3, 2))
    expected = conv(x, w, **PLAIN)
    fortran = np.asfortranarray(x)
    fortran.flags.writeable = False
    reversed_twice = w[::-1, :, ::-1].copy()[::-1, :, ::-1]
    np.testing.assert_array_equal(conv(fortran, reversed_twice, **PLAIN), expected)
    mixed = conv(x.astype(np.float32), w, **PLAIN)
    assert mixed.dtype == np.float64
    np.testing.assert_allclose(mixed, expected, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_addresses_that_are_no_multiples_of_an_element(dtype):
    x, w, g, geometry = case((2, 5, 4, 3), (3, 3, 3, 7), dtype)

    def shifted(a):
        view = np.zeros(a.nbytes + 1, np.uint8)[1:].view(dtype).reshape(a.shape)
        view[...] = a
        assert not view.flags.aligned
        return view

    assert_all_three(*map(shifted, (x, w, g)), geometry)
    packed = np.zeros(x.shape, [("a", dtype), ("b", np.uint8)])  # strides that are no whole number of elements
    packed["a"] = x
    assert_all_three(packed["a"], w, g, geometry)


def test_inputs_are_not_modified_and_nothing_outside_is_written(guarded):
    rng = np.random.default_rng(3)
    x, w = guarded(rng.standard_normal((2, 5, 4, 3))), guarded(rng.standard_normal((3, 3, 3, 7)))
    g = guarded(conv(x.array, w.array, **PLAIN))
    all_three(x.array, w.array, g.array, PLAIN)
    for buffer in (x, w, g):
        buffer.check()


def test_results_are_written_inside_their_memory(guarded):
    """Also where memory is not aligned to vectors, and all of it is written."""
    rng = np.random.default_rng(4)
    for size, features, groups, stride, dilation in product((1, 7), (4, 34), (1, 2), (1, 2), (1, 2)):
        geometry = {"strides": (1, stride), "padding": ((1, 2), (3, 1)), "dilation": (1, dilation), "groups": groups}
        x, w = integers(rng, (2, 3, size, 4), np.float32), integers(rng, (2, 3, 4 // groups, features), np.float32)
        g = integers(rng, conv(x, w, **geometry).shape, np.float32)
        y, x_bar, w_bar = convolution(x, w, g, **geometry)
        strides = lambda a: tuple(s // a.itemsize for s in a.strides)
        given_ = geometry["strides"], geometry["padding"], geometry["dilation"], groups
        made = [
            (conv_recipes.conv(x.shape, strides(x), w.shape, strides(w), x.dtype, *given_, y.shape[1:-1]), [x, w], y),
            (conv_recipes.conv_input_grad(g.shape, strides(g), w.shape, strides(w), x.dtype, x.shape, *given_), [g, w], x_bar),
            (conv_recipes.conv_weight_grad(x.shape, strides(x), g.shape, strides(g), x.dtype, (2, 3), *given_), [x, g], w_bar),
        ]
        for one, operands, expected in made:
            out = guarded(np.full(expected.shape, np.nan, x.dtype))
            scratch = [guarded(np.full(n, np.nan, x.dtype)) for n in one.scratch]
            recipe.fill(one, operands, [s.array for s in scratch], out.array)
            np.testing.assert_array_equal(out.array, expected)
            for buffer in (out, *scratch):
                buffer.check_surroundings()


@examples(15)
@given(problems(spatial=9, batch=(1, 4), channels=40, features=60))
def test_results_do_not_depend_on_threads_or_the_run(problem):
    (x, w, g), rng = arrays_of(problem)
    x, w, g = (rng.standard_normal(a.shape).astype(a.dtype) for a in (x, w, g))
    results = []
    for n in (1, get_num_threads(), get_num_threads()):
        with threads(n):
            results.append([a.tobytes() for a in all_three(x, w, g, problem[-1])])
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize(
    "x_shape, w_shape",
    [
        ((8, 14, 14, 32), (3, 3, 32, 48)),
        ((16, 28, 28, 1), (3, 3, 1, 32)),
        ((64, 9, 9, 16), (1, 1, 16, 16)),
        ((2, 40, 40, 8), (5, 5, 8, 8)),
    ],
)
def test_large_results_do_not_depend_on_threads_or_the_run(x_shape, w_shape):
    """Large enough for threads to share all phases, and for gradients by weights in several chunks."""
    x, w, g, geometry = case(x_shape, w_shape)
    x, w, g = (np.random.default_rng(k).standard_normal(a.shape).astype(np.float32) for k, a in enumerate((x, w, g)))
    results = []
    for n in [1, *[get_num_threads()] * 3]:
        with threads(n):
            results.append([a.tobytes() for a in all_three(x, w, g, geometry)])
    assert results == results[:1] * 4


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"strides": (0, 1)}, ShapeError),
        ({"strides": (1,)}, ShapeError),
        ({"dilation": (1, 0)}, ShapeError),
        ({"padding": ((-1, 0), (0, 0))}, ShapeError),
        ({"groups": 2}, ShapeError),
        ({"groups": 0}, ShapeError),
        ({"w": np.ones((3, 3, 2, 4))}, ShapeError),
        ({"w": np.ones((3, 3, 4))}, ShapeError),
        ({"w": np.ones((3, 3, 3, 4), np.complex128)}, DtypeError),
    ],
)
def test_bad_arguments(change, error):
    arguments = {"x": np.ones((1, 5, 5, 3)), "w": np.ones((3, 3, 3, 4)), **PLAIN} | change
    with pytest.raises(error):
        conv(**arguments)


def test_bad_cotangents():
    x, w, g = np.ones((1, 5, 5, 3)), np.ones((3, 3, 3, 4)), np.ones((1, 4, 5, 4))
    with pytest.raises(ShapeError, match=r"\(1, 4, 5, 4\)"):
        conv_input_grad(g, w, x.shape, **PLAIN)
    with pytest.raises(ShapeError):
        conv_weight_grad(x, g, (3, 3), **PLAIN)
    with pytest.raises(ShapeError):
        conv_weight_grad(x, np.ones((1, 5, 5, 4)), (3, 3), **(PLAIN | {"groups": 2}))
    with pytest.raises(TypeError):
        conv(np.ones((1, 4, 4, 1), int), np.ones((3, 3, 1, 1), int), **PLAIN)
