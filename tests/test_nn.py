"""The functional face of nets against SciPy and direct formulas."""

import numpy as np
import pytest
import scipy.signal
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

import fad
from fad import nn
from fad.errors import DtypeError, OutOfRangeError, ShapeError

RNG = np.random.default_rng(0)


def correlate(x, w):
    """Unit-stride VALID convolution by SciPy, channel by channel."""
    return np.stack(
        [
            np.stack(
                [
                    sum(scipy.signal.correlate(image[..., c], w[..., c, o], "valid") for c in range(w.shape[-2]))
                    for o in range(w.shape[-1])
                ],
                axis=-1,
            )
            for image in x
        ]
    )


@pytest.mark.parametrize("n", [1, 2, 3])
def test_conv_is_scipys(n):
    x, w = RNG.normal(size=(2, *(6, 5, 4)[:n], 3)), RNG.normal(size=(*(3, 2, 2)[:n], 3, 4))
    assert np.allclose(nn.conv(x, w, padding="VALID"), correlate(x, w))


@pytest.mark.smoke
@given(st.integers(1, 9), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))
def test_same_padding_divides_the_size(size, window, stride, dilation):
    x, w = np.ones((1, size, 1)), np.ones((window, 1, 1))
    assert nn.conv(x, w, strides=stride, dilation=dilation).shape[1] == -(-size // stride)


def test_strides_dilation_groups_by_parts():
    x, w = RNG.normal(size=(2, 9, 9, 4)), RNG.normal(size=(3, 3, 2, 6))
    full = nn.conv(x, w, padding="VALID", groups=2)
    assert np.allclose(nn.conv(x, w, strides=(2, 3), padding="VALID", groups=2), full[:, ::2, ::3])
    halves = [nn.conv(x[..., 2 * g : 2 * g + 2], w[..., 3 * g : 3 * g + 3], padding="VALID") for g in (0, 1)]
    assert np.allclose(full, np.concatenate(halves, axis=-1))
    spread = np.zeros((5, 5, 2, 6))
    spread[::2, ::2] = w
    assert np.allclose(nn.conv(x, w, dilation=2, padding="VALID", groups=2), nn.conv(x, spread, padding="VALID", groups=2))
    padded = np.pad(x, ((0, 0), (1, 2), (0, 3), (0, 0)))
    assert np.allclose(nn.conv(x, w, padding=((1, 2), (0, 3)), groups=2), nn.conv(padded, w, padding="VALID", groups=2))


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_conv_transpose_is_the_adjoint(padding):
    x, w = RNG.normal(size=(2, 4, 5, 3)), RNG.normal(size=(3, 3, 2, 3))
    y = nn.conv_transpose(x, w, strides=2, padding=padding)
    z = RNG.normal(size=y.shape)
    assert np.isclose(np.sum(y * z), np.sum(x * nn.conv(z, w, strides=2, padding=padding)))


def test_pools_against_windows():
    x = RNG.normal(size=(2, 6, 8, 3))
    windows = x.reshape(2, 3, 2, 4, 2, 3)
    assert np.allclose(nn.max_pool(x), windows.max(axis=(2, 4)))
    assert np.allclose(nn.avg_pool(x), windows.mean(axis=(2, 4)))
    slid = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))
    assert np.allclose(nn.max_pool(x, 3, 1), slid.max(axis=(-1, -2)))
    assert np.allclose(nn.avg_pool(np.ones((1, 5, 5, 1)), 3, 1, "SAME"), 1)


def test_activations():
    x = np.array([-800.0, -2.0, -0.0, 0.5, 3.0, 800.0])
    assert np.array_equal(nn.relu(x), np.maximum(x, 0))
    assert np.allclose(nn.sigmoid(x), scipy.special.expit(x))
    assert np.allclose(nn.log_sigmoid(x), scipy.special.log_expit(x))
    assert np.allclose(nn.softplus(x), np.logaddexp(0, x))
    assert np.allclose(nn.gelu(x), x * scipy.special.ndtr(x))
    assert np.allclose(nn.elu(x), np.where(x > 0, x, np.expm1(np.minimum(x, 0))))
    assert np.allclose(nn.leaky_relu(x, 0.1), np.where(x > 0, x, 0.1 * x))
    assert np.allclose(nn.silu(x[1:-1]), x[1:-1] * scipy.special.expit(x[1:-1]))
    assert np.allclose(nn.softmax(x), scipy.special.softmax(x)) and np.allclose(nn.log_softmax(x), scipy.special.log_softmax(x))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradients_are_finite_in_the_tails(dtype):
    x = np.array([-800.0, -90.0, 0.0, 90.0, 800.0], dtype)
    for f in (nn.sigmoid, nn.log_sigmoid, nn.softplus, nn.gelu, nn.elu, nn.silu, nn.tanh, nn.softmax, nn.log_softmax):
        y, pullback = fad.vjp(f, x)
        slope = pullback(np.ones_like(y))[0]
        assert slope.dtype == dtype and np.isfinite(slope).all(), f


def test_one_hot_and_dense():
    assert np.array_equal(nn.one_hot(np.array([[0], [2]]), 3), [[[1, 0, 0]], [[0, 0, 1]]])
    x, w, b = RNG.normal(size=(2, 5, 3)), RNG.normal(size=(3, 4)), RNG.normal(size=4)
    assert np.allclose(nn.dense(x, w, b), x @ w + b) and np.allclose(nn.dense(x, w), x @ w)


def test_gradients_of_a_small_net_agree():
    x, w, v = RNG.normal(size=(2, 6, 6, 2)), RNG.normal(size=(3, 3, 2, 4)), RNG.normal(size=(36, 3))

    def loss(w, v):
        y = nn.max_pool(nn.relu(nn.conv(x, w, strides=1)))
        return np.sum(nn.log_softmax(nn.dense(y.reshape(2, -1), v, np.ones(3))) ** 2)

    forward = fad.jacfwd(loss, (0, 1))(w, v)
    reverse = fad.jacrev(loss, (0, 1))(w, v)
    assert all(np.allclose(a, b) for a, b in zip(forward, reverse, strict=True))


@pytest.mark.parametrize("slope", [np.float64(0.25), np.array(0.25)])
def test_numpy_slopes_keep_float32(slope):  # flax#924
    x = np.array([-1.0, 2.0], np.float32)
    for f in (nn.leaky_relu, nn.elu):
        for run in (f, fad.jit(f)):
            assert run(x, slope).dtype == np.float32
            assert np.array_equal(run(x, slope), f(x, 0.25))
        assert fad.grad(lambda s: np.sum(f(x, s)))(0.25) == f(x, np.float32(1.0))[0]


@pytest.mark.parametrize("kind", [np.uint8, np.int64, bool])
def test_integers_take_the_dtype_of_the_weights(kind):
    x = RNG.integers(0, 2, (2, 6, 6, 3)).astype(kind)
    for dtype in (np.float32, np.float64):
        w, v = RNG.normal(size=(3, 3, 3, 4)).astype(dtype), RNG.normal(size=(3, 2)).astype(dtype)
        for f in (lambda x: nn.conv(x, w), lambda x: nn.dense(x, v), lambda x: nn.conv_transpose(x, np.swapaxes(w, 2, 3))):
            assert f(x).dtype == dtype
            assert np.array_equal(f(x), f(x.astype(dtype)))


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: nn.conv(np.ones((1, 4, 4, 3)), np.ones((3, 3, 2, 4))), ShapeError, "3 channels"),
        (lambda: nn.conv(np.ones((4, 4)), np.ones((3, 3, 1, 1))), ShapeError, "axes"),
        (lambda: nn.conv(np.ones((1, 4, 1)), np.ones((3, 1, 1)), strides=0), ShapeError, "at least 1"),
        (lambda: nn.conv(np.ones((1, 4, 1)), np.ones((3, 1, 1)), padding="FULL"), ShapeError, "FULL"),
        (lambda: nn.conv(np.ones((1, 4, 1)), np.ones((3, 1, 3)), groups=2), ShapeError, "groups"),
        (lambda: nn.max_pool(np.ones((1, 4, 1)), 2, padding=((2, 0),)), ShapeError, "padding"),
        (lambda: nn.dense(np.ones((2, 3)), np.ones((4, 5))), ShapeError, "dense"),
        (lambda: nn.one_hot(np.array([3]), 3), OutOfRangeError, "3 .. 3"),
        (lambda: nn.one_hot(np.array([0.0]), 3), DtypeError, "integers"),
        (lambda: nn.conv(np.ones((1, 4, 1), complex), np.ones((3, 1, 1))), DtypeError, "real"),
    ],
)
def test_errors(call, kind, words):
    with pytest.raises(kind, match="fix: ") as caught:
        call()
    assert words in str(caught.value)
