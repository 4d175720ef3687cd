"""Convolution kernels against nested loops over output positions, taps and groups; gradients as adjoints."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fad.errors import DtypeError, ShapeError
from fad.kernels.conv import CHANNEL_BLOCK, conv, conv_input_grad, conv_weight_grad

TOLERANCE = {np.float32: 1e-4, np.float64: 1e-11}


def reference(x, w, strides, padding, dilation, groups):
    """Convolution by definition, in float64."""
    x, w = x.astype(np.float64), w.astype(np.float64)
    rank, (depth, features) = x.ndim - 2, w.shape[-2:]
    width = features // groups
    padded = np.pad(x, ((0, 0), *padding, (0, 0)))
    out = [
        max(0, (padded.shape[1 + i] - dilation[i] * (w.shape[i] - 1) - 1) // strides[i] + 1)
        for i in range(rank)
    ]
    y = np.zeros((x.shape[0], *out, features))
    for o in product(*map(range, out)):
        for k in product(*map(range, w.shape[:rank])):
            position = tuple(o[i] * strides[i] + k[i] * dilation[i] for i in range(rank))
            pixel = padded[(slice(None), *position)]
            for g in range(groups):
                block = slice(g * width, (g + 1) * width)
                y[(slice(None), *o, block)] += (
                    pixel[:, g * depth : (g + 1) * depth] @ w[(*k, slice(None), block)]
                )
    return y


@st.composite
def problems(draw):
    rank = draw(st.integers(1, 3))

    def each(low, high):
        return tuple(draw(st.integers(low, high)) for _ in range(rank))

    groups = draw(st.integers(1, 3))
    depth, width = draw(st.integers(1, 9)), draw(st.integers(1, 6))
    x_shape = (draw(st.integers(0, 3)), *each(0, 6), groups * depth)
    w_shape = (*each(1, 4), depth, groups * width)
    padding = tuple(zip(each(0, 3), each(0, 3), strict=True))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    x, w = rng.standard_normal(x_shape).astype(dtype), rng.standard_normal(w_shape).astype(dtype)
    return x, w, {"strides": each(1, 3), "padding": padding, "dilation": each(1, 3), "groups": groups}


@given(problems())
def test_conv_is_the_definition(problem):
    x, w, geometry = problem
    y, expected = conv(x, w, **geometry), reference(x, w, **geometry)
    assert y.shape == expected.shape
    assert y.dtype == x.dtype
    np.testing.assert_allclose(y, expected, atol=TOLERANCE[x.dtype.type])


@given(problems(), st.integers(0, 2**32))
def test_gradients_are_the_exact_adjoints(problem, seed):
    """<g, conv(x, w)> = <x_bar, x> = <w_bar, w>, at the point itself and at another."""
    x, w, geometry = problem
    y = reference(x, w, **geometry)
    g = np.random.default_rng(seed).standard_normal(y.shape).astype(x.dtype)
    x_bar = conv_input_grad(g, w, x.shape, **geometry)
    w_bar = conv_weight_grad(x, g, w.shape[:-2], **geometry)
    assert x_bar.shape == x.shape
    assert w_bar.shape == w.shape
    assert x_bar.dtype == w_bar.dtype == x.dtype
    tolerance = {"atol": 20 * TOLERANCE[x.dtype.type]}
    expected = np.sum(g * y)
    np.testing.assert_allclose(np.sum(x_bar.astype(float) * x), expected, **tolerance)
    np.testing.assert_allclose(np.sum(w_bar.astype(float) * w), expected, **tolerance)
    other_x = np.random.default_rng(seed + 1).standard_normal(x.shape)
    other_w = np.random.default_rng(seed + 2).standard_normal(w.shape)
    expected_x = np.sum(g * reference(other_x, w, **geometry))
    expected_w = np.sum(g * reference(x, other_w, **geometry))
    np.testing.assert_allclose(np.sum(x_bar * other_x), expected_x, **tolerance)
    np.testing.assert_allclose(np.sum(w_bar * other_w), expected_w, **tolerance)


@pytest.mark.smoke
def test_every_element_of_the_gradients():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 4, 3, 2)), rng.standard_normal((2, 3, 1, 4))
    geometry = {"strides": (2, 1), "padding": ((1, 0), (2, 1)), "dilation": (1, 2), "groups": 2}
    g = rng.standard_normal(reference(x, w, **geometry).shape)

    def adjoint(at, shape):
        basis = np.eye(int(np.prod(shape))).reshape(-1, *shape)
        return np.array([np.sum(g * at(e)) for e in basis]).reshape(shape)

    expected = adjoint(lambda e: reference(e, w, **geometry), x.shape)
    np.testing.assert_allclose(conv_input_grad(g, w, x.shape, **geometry), expected, atol=1e-12)
    expected = adjoint(lambda e: reference(x, e, **geometry), w.shape)
    np.testing.assert_allclose(conv_weight_grad(x, g, (2, 3), **geometry), expected, atol=1e-12)


PLAIN = {"strides": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}


def test_more_channels_than_a_block():
    rng = np.random.default_rng(1)
    x, w = (
        rng.standard_normal((2, 5, 6, 2 * CHANNEL_BLOCK + 3)),
        rng.standard_normal((3, 3, 2 * CHANNEL_BLOCK + 3, 5)),
    )
    y = reference(x, w, **PLAIN)
    np.testing.assert_allclose(conv(x, w, **PLAIN), y, atol=1e-11)
    w_bar = conv_weight_grad(x, y, (3, 3), **PLAIN)
    np.testing.assert_allclose(np.sum(w_bar * w), np.sum(y * y), rtol=1e-12)


def test_nan_and_infinity_reach_exactly_the_windows_that_hold_them():
    x = np.zeros((1, 5, 1))
    x[0, 2] = np.nan
    y = conv(x, np.ones((3, 1, 1)), (1,), ((0, 0),), (1,), 1)
    assert np.isnan(y).all()
    x = np.zeros((1, 7, 1))
    x[0, 0] = np.inf
    y = conv(x, np.ones((3, 1, 1)), (1,), ((1, 1),), (1,), 1).ravel()
    np.testing.assert_array_equal(y, [np.inf, np.inf, 0, 0, 0, 0, 0])


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


def test_inputs_are_not_modified_and_nothing_outside_is_written(guarded):
    rng = np.random.default_rng(3)
    x, w = guarded(rng.standard_normal((2, 5, 4, 3))), guarded(rng.standard_normal((3, 3, 3, 7)))
    g = guarded(conv(x.array, w.array, **PLAIN))
    conv_input_grad(g.array, w.array, x.array.shape, **PLAIN)
    conv_weight_grad(x.array, g.array, (3, 3), **PLAIN)
    for buffer in (x, w, g):
        buffer.check()


def test_kernels_stay_inside_their_output(guarded):
    """The compiled kernels themselves, on outputs surrounded by canaries."""
    from fad.kernels import conv as module
    from fad.kernels.threads import frozen

    rng = np.random.default_rng(4)
    for size, features, groups, stride, dilation in product((1, 2, 7), (4, 6), (1, 2), (1, 2), (1, 2)):
        geometry = {
            "strides": (1, stride),
            "padding": ((1, 2), (3, 1)),
            "dilation": (1, dilation),
            "groups": groups,
        }
        x, w = rng.standard_normal((2, 3, size, 4)), rng.standard_normal((2, 3, 4 // groups, features))
        y = conv(x, w, **geometry)
        lifted = (1, 1, stride), (0, 1, 3), (1, 1, dilation), groups
        out, x_bar, w_bar = (guarded(np.zeros_like(a)) for a in (y, x, w))
        x3, w3, y3 = x[:, None], w[None], y[:, None]
        module._conv(frozen(x3), frozen(w3), out.array[:, None], *lifted)
        module._conv_input_grad(frozen(y3), frozen(w3.swapaxes(-1, -2)), x_bar.array[:, None], *lifted)
        module._conv_weight_grad(frozen(x3), frozen(y3), w_bar.array[None], *lifted)
        for buffer in (out, x_bar, w_bar):
            buffer.check_surroundings()
        np.testing.assert_array_equal(out.array, y)
        np.testing.assert_allclose(np.sum(x_bar.array * x), np.sum(y * y), rtol=1e-10)
        np.testing.assert_allclose(np.sum(w_bar.array * w), np.sum(y * y), rtol=1e-10)


def test_the_result_does_not_depend_on_the_number_of_threads():
    import numba

    rng = np.random.default_rng(5)
    x, w = rng.standard_normal((3, 9, 8, 5), np.float32), rng.standard_normal((3, 3, 5, 6), np.float32)
    g = rng.standard_normal((3, 9, 8, 6), np.float32)

    def all_three():
        return (
            conv(x, w, **PLAIN),
            conv_input_grad(g, w, x.shape, **PLAIN),
            conv_weight_grad(x, g, (3, 3), **PLAIN),
        )

    many = all_three()
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        one = all_three()
    finally:
        numba.set_num_threads(before)
    for a, b in zip(many, one, strict=True):
        np.testing.assert_array_equal(a, b)


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
