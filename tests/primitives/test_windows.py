"""Window arithmetic: functions and layers take the same paddings, with and without jit, and announce the same shapes."""

import numpy as np
import pytest

import fad
from fad import nn, random, stax

KEY = random.key(0)
PADDINGS = ["SAME", "same", "VALID", "valid", 0, 1, np.int64(2), -1, (1, 0), [(1, 0), (0, 2)], ((0, -1), (-1, 1)), (1, (0, 2))]


def functions(x, w, padding, strides):
    return {
        "Conv": lambda x: nn.conv(x, w, strides, padding),
        "ConvTranspose": lambda x: nn.conv_transpose(x, np.swapaxes(w, -1, -2), strides, padding),
        "MaxPool": lambda x: nn.max_pool(x, w.shape[:2], strides, padding),
        "AvgPool": lambda x: nn.avg_pool(x, w.shape[:2], strides, padding),
    }


def layers(w, padding, strides):
    return {
        "Conv": stax.Conv(w.shape[-1], w.shape[:2], strides, padding),
        "ConvTranspose": stax.ConvTranspose(w.shape[-1], w.shape[:2], strides, padding),
        "MaxPool": stax.MaxPool(w.shape[:2], strides, padding),
        "AvgPool": stax.AvgPool(w.shape[:2], strides, padding),
    }


@pytest.mark.parametrize("padding", PADDINGS, ids=str)
@pytest.mark.parametrize("strides", [1, (2, 3)])
@pytest.mark.parametrize("name", ["Conv", "ConvTranspose", "MaxPool", "AvgPool"])
def test_layer_function_and_jit_agree(name, strides, padding):
    x, w = random.normal(KEY, (2, 7, 8, 3)), random.normal(KEY, (3, 4, 3, 5))
    f, layer = functions(x, w, padding, strides)[name], layers(w, padding, strides)[name]
    y = f(x)
    params, _ = layer.init(KEY, x.shape, np.float64)
    if params:
        params = {"w": w if name == "Conv" else np.swapaxes(w, -1, -2), "b": np.zeros(5)}
    np.testing.assert_allclose(layer.apply(params, {}, x)[0], y, atol=1e-12)
    assert layer.out_shape(x.shape) == y.shape
    np.testing.assert_allclose(fad.jit(f)(x), y, atol=1e-12)


@pytest.mark.parametrize("padding", PADDINGS, ids=str)
@pytest.mark.parametrize("strides", [1, (2, 3)])
def test_the_transposed_convolution_is_the_adjoint(strides, padding):
    w, x = random.normal(KEY, (3, 4, 2, 3)), random.normal(KEY, (2, 4, 5, 3))
    y = nn.conv_transpose(x, w, strides, padding)
    z = random.normal(random.key(1), y.shape)
    np.testing.assert_allclose(np.sum(y * z), np.sum(x * nn.conv(z, w, strides, padding)), rtol=1e-9, atol=1e-12)


def test_negative_padding_crops():  # pytorch#77514
    x, w = np.arange(9.0).reshape(1, 9, 1), np.ones((3, 1, 1))
    np.testing.assert_array_equal(nn.conv(x, w, 1, [(-1, -2)]), nn.conv(x[:, 1:-2], w, padding="VALID"))
    np.testing.assert_array_equal(fad.jit(nn.conv, static_argnums=(2, 3))(x, w, 1, -1), nn.conv(x, w, 1, -1))
    np.testing.assert_array_equal(nn.max_pool(x, 3, 1, -1), nn.max_pool(x[:, 1:-1], 3, 1))


def test_output_padding():  # tinygrad#875, Flux.jl#2462: (n - 1) stride + window + output padding
    y = nn.conv_transpose(np.ones((1, 4, 1)), np.ones((3, 1, 1)), 2, [(0, -1)])
    np.testing.assert_array_equal(y[0, :, 0], [1, 1, 2, 1, 2, 1, 2, 1, 1, 0])
    y = nn.conv_transpose(np.ones((1, 4, 1)), np.ones((3, 1, 1)), 2, [(1, 0)])  # torch: padding 1, output padding 1
    np.testing.assert_array_equal(y[0, :, 0], [1, 2, 1, 2, 1, 2, 1, 1])


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_derivatives_through_negative_padding(mode):
    x, w = random.normal(KEY, (1, 5, 2)), random.normal(KEY, (2, 3, 2))

    def f(x):
        return nn.conv_transpose(nn.conv(x, np.swapaxes(w, 1, 2), padding=[(-1, 1)]), np.swapaxes(w, 1, 2), 2, [(0, -1)])

    direction = random.normal(random.key(2), x.shape)
    slope = np.tensordot(fad.jacobian(f, mode=mode)(x), direction, 3)
    np.testing.assert_allclose(slope, f(direction), atol=1e-12)  # f is linear
