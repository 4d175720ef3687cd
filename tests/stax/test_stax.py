"""Layers: announced shapes, an independent oracle for each layer, state, keys, errors with paths."""

import dataclasses

import numpy as np
import pytest
import scipy.signal
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st

import fad
from fad import initializers, random, stax, tree
from fad.errors import DtypeError, FadError, KeyMissingError, NonFiniteError, OutOfRangeError, ShapeError, TreeError
from fad.stax import (
    AvgPool,
    BatchNorm,
    Conv,
    ConvTranspose,
    Dense,
    Dropout,
    Elu,
    FanInConcat,
    FanInSum,
    FanOut,
    Flatten,
    Gelu,
    Identity,
    LayerNorm,
    LeakyRelu,
    LogSoftmax,
    MaxPool,
    Relu,
    Sigmoid,
    Softmax,
    Softplus,
    Tanh,
    parallel,
    serial,
)

KEY = random.key(0)


def normal(shape, seed=1, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def run(layer, x, *, train=False, key=None):
    params, state = layer.init(KEY, x.shape, x.dtype)
    return layer.apply(params, state, x, train=train, key=key)


LAYERS = [
    (Identity, (3, 4)), (Dense(5), (3, 4)), (Dense(5), (3, 2, 4)), (Flatten, (3, 2, 4)),
    (Dropout(0.5), (3, 4)),
    (BatchNorm(), (3, 4)), (BatchNorm(), (2, 5, 5, 3)), (LayerNorm(), (3, 4)),
    (Conv(6), (2, 5, 7, 3)), (Conv(6, strides=2), (2, 5, 8, 3)),
    (Conv(4, (2, 3), padding="VALID"), (2, 5, 7, 3)),
    (Conv(4, (3,), strides=3), (2, 8, 3)), (Conv(4, (3, 2, 1), dilation=2), (1, 6, 5, 4, 2)),
    (Conv(6, groups=3), (2, 5, 5, 3)), (Conv(2, padding=((1, 2), (0, 1)), strides=(2, 1)), (1, 5, 6, 2)),
    (ConvTranspose(6, strides=2), (2, 3, 4, 5)),
    (ConvTranspose(6, (2, 4), strides=3, padding="VALID"), (2, 3, 4, 5)),
    (ConvTranspose(2, (3,), strides=2, padding=((1, 1),)), (2, 4, 3)),
    (MaxPool(), (2, 5, 6, 3)), (MaxPool((3, 3), strides=2, padding="SAME"), (2, 5, 6, 3)),
    (MaxPool((2,)), (2, 7, 3)),
    (AvgPool(), (2, 5, 6, 3)), (AvgPool((3, 3), strides=1, padding="SAME"), (2, 5, 6, 3)),
    (Relu, (2, 3)), (Gelu, (2, 3)), (Sigmoid, (2, 3)), (Tanh, (2, 3)), (Softplus, (2, 3)), (Softmax, (2, 3)),
    (LogSoftmax, (2, 3)), (LeakyRelu(0.1), (2, 3)), (Elu(0.5), (2, 3)),
    (serial(), (2, 3)), (serial(Conv(4), Relu, MaxPool(), Flatten, Dense(3)), (2, 4, 4, 1)),
    (serial(FanOut(2), parallel(Dense(3), Dense(3)), FanInSum), (2, 4)),
    (serial(FanOut(3), parallel(Dense(3), Identity, Tanh), FanInConcat()), (2, 4)),
    (stax.shape_dependent(lambda shape: Dense(2 * shape[-1])), (2, 4)),
]  # fmt: skip
ids = [f"{layer!r}-{shape}" for layer, shape in LAYERS]


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=ids)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("train", [False, True])
def test_announced_shape_is_produced_and_dtype_kept(layer, shape, dtype, train):
    params, state = layer.init(KEY, (-1, *shape[1:]), dtype)
    x = normal(shape, dtype=dtype)
    kept = tree.map(np.copy, (params, state, x))
    y, new_state = layer.apply(params, state, x, key=KEY, train=train)
    assert y.shape == layer.out_shape(shape)
    assert y.shape[1:] == layer.out_shape((-1, *shape[1:]))[1:]
    assert {leaf.dtype for leaf in tree.leaves((params, state, new_state, y))} == {np.dtype(dtype)}
    assert tree.structure(new_state) == tree.structure(state)
    for a, b in zip(tree.leaves((params, state, x)), tree.leaves(kept)):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=ids)
def test_gradients_by_params_and_input(layer, shape):
    params, state = layer.init(KEY, shape, np.float64)
    x, y_bar = normal(shape), normal(layer.out_shape(shape), seed=2)

    def loss(params, x):
        return np.sum(y_bar * layer.apply(params, state, x, key=KEY, train=True)[0])

    direction = tree.map(lambda p: normal(p.shape, seed=p.size), (params, x))
    grads = fad.grad(loss, argnums=(0, 1))(params, x)
    slope = sum(np.sum(g * d) for g, d in zip(tree.leaves(grads), tree.leaves(direction)))
    up, down = (loss(*tree.map(lambda p, d, h=h: p + h * d, (params, x), direction)) for h in (1e-6, -1e-6))
    np.testing.assert_allclose(slope, (up - down) / 2e-6, rtol=2e-6, atol=1e-6)


# Oracles for single layers


@pytest.mark.smoke
def test_dense():
    x = normal((3, 2, 4))
    params, _ = Dense(5).init(KEY, x.shape, np.float64)
    params["b"] = normal(5)
    np.testing.assert_allclose(Dense(5).apply(params, {}, x)[0], np.einsum("abi,ij->abj", x, params["w"]) + params["b"])


@given(st.integers(1, 4), st.integers(1, 4), st.sampled_from(["SAME", "VALID"]))
@settings(max_examples=20)
def test_conv_is_a_sum_of_correlations(height, width, padding):
    x, w = normal((2, 6, 5, 3)), normal((height, width, 3, 4), seed=2)
    y, _ = Conv(4, (height, width), padding=padding).apply({"w": w, "b": np.arange(4.0)}, {}, x)
    if padding == "SAME":  # the odd row or column of padding comes last
        low, high = ((height - 1) // 2, (width - 1) // 2), (height // 2, width // 2)
        x = np.pad(x, [(0, 0), (low[0], high[0]), (low[1], high[1]), (0, 0)])
    for n, o in np.ndindex(2, 4):
        expected = sum(scipy.signal.correlate2d(x[n, :, :, c], w[:, :, c, o], mode="valid") for c in range(3))
        np.testing.assert_allclose(y[n, :, :, o], expected + o, atol=1e-12)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("strides", [1, 2, 3])
def test_conv_transpose_is_the_adjoint_of_conv(strides, padding):
    layer = ConvTranspose(3, (3, 2), strides=strides, padding=padding)
    x = normal((2, 4, 5, 6))
    params, _ = layer.init(KEY, x.shape, np.float64)
    y, _ = layer.apply(params, {}, x)
    z = normal(y.shape, seed=3)
    conv_z, _ = Conv(6, (3, 2), strides=strides, padding=padding).apply(params | {"b": np.zeros(6)}, {}, z)
    np.testing.assert_allclose(np.sum(y * z), np.sum(x * conv_z), rtol=1e-10)


def test_pools():
    x = normal((2, 4, 6, 3))
    windows = x.reshape(2, 2, 2, 3, 2, 3)
    np.testing.assert_array_equal(run(MaxPool(), x)[0], windows.max(axis=(2, 4)))
    np.testing.assert_allclose(run(AvgPool(), x)[0], windows.mean(axis=(2, 4)))


def test_activations():
    x = np.linspace(-3, 3, 14).reshape(2, 7)
    expected = {
        Relu: np.maximum(x, 0), LeakyRelu(0.2): np.where(x > 0, x, 0.2 * x), Tanh: np.tanh(x), Identity: x,
        Elu(0.5): np.where(x > 0, x, 0.5 * np.expm1(x)), Gelu: x * scipy.special.ndtr(x),
        Sigmoid: scipy.special.expit(x), Softplus: np.log1p(np.exp(x)),
        Softmax: scipy.special.softmax(x, axis=-1),
        LogSoftmax: scipy.special.log_softmax(x, axis=-1), stax.elementwise(np.sin): np.sin(x),
    }  # fmt: skip
    for layer, y in expected.items():
        np.testing.assert_allclose(run(layer, x)[0], y, rtol=1e-12, err_msg=repr(layer))


def test_layer_norm():
    x = normal((4, 50)) * 3 + 7
    y, _ = run(LayerNorm(), x)
    np.testing.assert_allclose(y, (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True), atol=1e-5)
    y, _ = LayerNorm().apply({"scale": np.full(50, 2.0), "bias": np.ones(50)}, {}, x)
    np.testing.assert_allclose(y.mean(1), 1)
    np.testing.assert_allclose(y.std(1), 2, atol=1e-5)


# Batch norm and dropout: what differs between training and evaluation


@pytest.mark.smoke
def test_batch_norm_normalises_by_the_batch_in_training_and_by_state_in_evaluation():
    layer, x = BatchNorm(), normal((200, 4, 4, 3)) * [1, 2, 3] + [4, 5, 6]
    params, state = layer.init(KEY, x.shape, np.float64)
    y, new_state = layer.apply(params, state, x, train=True)
    np.testing.assert_allclose(y.mean((0, 1, 2)), 0, atol=1e-12)
    np.testing.assert_allclose(y.std((0, 1, 2)), 1, atol=1e-4)
    np.testing.assert_allclose(new_state["mean"], 0.1 * x.mean((0, 1, 2)))
    np.testing.assert_allclose(new_state["var"], 0.9 + 0.1 * x.var((0, 1, 2), ddof=1))
    y, same = layer.apply(params, new_state, x)
    np.testing.assert_allclose(y, (x - new_state["mean"]) / np.sqrt(new_state["var"] + 1e-5), rtol=1e-10)
    assert same is new_state


def test_running_averages_reach_the_statistics_of_the_data():
    net = serial(("norm", BatchNorm(momentum=0.8)), Relu)
    params, state = net.init(KEY, (-1, 2), np.float64)
    for seed in range(60):
        _, state = net.apply(params, state, normal((500, 2), seed) * [1, 3] + [5, -5], train=True)
    np.testing.assert_allclose(state["norm"]["mean"], [5, -5], atol=0.2)
    np.testing.assert_allclose(state["norm"]["var"], [1, 9], rtol=0.1)


def test_state_comes_out_of_a_gradient_as_arrays():
    net = serial(Dense(3), BatchNorm())
    params, state = net.init(KEY, (-1, 2))

    def loss(params):
        y, new_state = net.apply(params, state, normal((8, 2), dtype=np.float32), train=True)
        return np.sum(y**3), new_state

    grads, new_state = fad.grad(loss, has_aux=True)(params)
    assert tree.structure(grads) == tree.structure(params)
    assert all(isinstance(leaf, np.ndarray) and leaf.dtype == np.float32 for leaf in tree.leaves(new_state))
    assert tree.structure(new_state) == tree.structure(state)


def test_batch_norm_refuses_a_single_value():
    with pytest.raises(ShapeError, match=r"BatchNorm: .*at least two[\s\S]*drop_last"):
        run(BatchNorm(), normal((1, 3)), train=True)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_drops_with_probability_rate_and_keeps_the_mean(rate):
    x = np.ones((400, 250))
    y, _ = run(Dropout(rate), x, train=True, key=KEY)
    assert np.mean(y == 0) == pytest.approx(rate, abs=5 * np.sqrt(rate * (1 - rate) / x.size))
    np.testing.assert_allclose(y[y != 0], 1 / (1 - rate))
    np.testing.assert_array_equal(run(Dropout(rate), x, train=True, key=KEY)[0], y)
    assert not np.array_equal(run(Dropout(rate), x, train=True, key=random.key(1))[0], y)
    np.testing.assert_array_equal(run(Dropout(rate), x, key=KEY)[0], x)


def test_dropout_without_randomness():
    x = normal((2, 3))
    np.testing.assert_array_equal(run(Dropout(0.0), x, train=True)[0], x)
    with pytest.raises(KeyMissingError, match=r"serial/1_Dropout: [\s\S]*fix: .*key=key"):
        run(serial(Dense(2), Dropout(0.5)), x, train=True)
    for rate in (-0.1, 1.0, np.nan):
        with pytest.raises(OutOfRangeError, match="0 <= rate < 1"):
            Dropout(rate)


# Combinators


@pytest.mark.smoke
def test_serial_composes_and_names():
    net = serial(Dense(4), Tanh, ("readout", Dense(2)))
    params, state = net.init(KEY, (-1, 3), np.float64)
    assert {name: list(own) for name, own in params.items()} == {"0_Dense": ["w", "b"], "readout": ["w", "b"]}
    assert state == {}
    x = normal((5, 3))
    hidden = np.tanh(x @ params["0_Dense"]["w"])
    np.testing.assert_allclose(net.apply(params, state, x)[0], hidden @ params["readout"]["w"])


def test_children_have_keys_of_their_own():
    net = serial(Dense(3), Dense(3), FanOut(2), parallel(Dense(3), Dense(3)), FanInSum)
    params, _ = net.init(KEY, (-1, 3))
    weights = [leaf for leaf in tree.leaves(params) if leaf.ndim == 2]
    assert len({w.tobytes() for w in weights}) == 4
    x = np.ones((50, 40))
    both, _ = run(serial(FanOut(2), parallel(Dropout(0.5), Dropout(0.5))), x, train=True, key=KEY)
    assert not np.array_equal(*both)


def test_residual_block():
    block = serial(FanOut(2), parallel(serial(Dense(4), Relu), Identity), FanInSum)
    x = normal((3, 4))
    params, _ = block.init(KEY, x.shape, np.float64)
    w = params["1_parallel"]["0_serial"]["0_Dense"]["w"]
    np.testing.assert_allclose(block.apply(params, {}, x)[0], np.maximum(x @ w, 0) + x)


def test_state_is_found_in_nested_nets():
    net = serial(Dense(3), FanOut(2), parallel(serial(BatchNorm(), Relu), Dense(3)), FanInConcat(), BatchNorm())
    params, state = net.init(KEY, (-1, 2))
    assert {name: list(own) for name, own in state.items()} == {"2_parallel": ["0_serial"], "4_BatchNorm": ["mean", "var"]}
    _, new = net.apply(params, state, normal((8, 2), dtype=np.float32), train=True)
    assert all((a != b).any() for a, b in zip(tree.leaves(new), tree.leaves(state)))


def test_the_classic_pair():
    net = serial(Dense(16), Relu, Dropout(0.5), Dense(2), LogSoftmax)
    init_fun, apply_fun = net
    out_shape, params = init_fun(KEY, (-1, 3))
    assert out_shape == (-1, 2)
    x = normal((5, 3), dtype=np.float32)
    np.testing.assert_array_equal(apply_fun(params, x), net.apply(params, {}, x)[0])
    with_key = net.apply(params, {}, x, key=KEY, train=True)[0]
    np.testing.assert_array_equal(apply_fun(params, x, key=KEY), with_key)
    np.testing.assert_array_equal(apply_fun(params, x, key=KEY, train=False), apply_fun(params, x))


def test_the_classic_pair_has_no_place_for_state():
    with pytest.raises(TreeError, match=r"serial keeps state[\s\S]*fix: params, state = net.init"):
        _init_fun, _apply_fun = serial(Dense(2), BatchNorm())
    init_fun, _ = stax.shape_dependent(lambda shape: BatchNorm())
    with pytest.raises(TreeError, match="keeps state"):
        init_fun(KEY, (-1, 2))


def test_layers_are_immutable_and_print_readably():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Relu.name = "other"
    assert repr(serial(Conv(8), Relu, ("out", Dense(2)))) == "serial(Conv(8), Relu, ('out', Dense(2)))"


def test_a_layer_can_be_used_twice():
    layer = Dense(3)
    params, _ = serial(layer, layer).init(KEY, (-1, 3))
    assert not np.array_equal(params["0_Dense"]["w"], params["1_Dense"]["w"])


def test_a_layer_of_ones_own():
    def init(key, shape, dtype):
        return {"gain": np.full(shape[-1:], 2, dtype)}, {}

    Gain = stax.Layer("Gain", lambda params, state, x, key, train: (params["gain"] * x, state), init)
    net = serial(Gain, Gain)
    params, state = net.init(KEY, (-1, 3))
    np.testing.assert_array_equal(net.apply(params, state, np.ones((1, 3)))[0], [[4, 4, 4]])


# Errors name the layer and both shapes


@pytest.mark.parametrize(("net", "shape", "message"), [
    (serial(Dense(64), Relu, Dense(3)), (2, 7), r"serial/0_Dense: expected input \(.*5\): got \(2, 7\)"),
    (serial(("body", serial(Dense(3)))), (2, 7), r"serial/body/0_Dense: expected input \(\.\.\., 5\)"),
    (Dense(3), (2, 7), r"^Dense: expected input"),
    (BatchNorm(), (2, 7), r"^BatchNorm: expected input \(\.\.\., 5\)"),
    (LayerNorm(), (2, 7), r"^LayerNorm: expected input"),
    (serial(FanOut(2), parallel(Dense(2), Dense(2))), (2, 7), r"serial/1_parallel/0_Dense: "),
])  # fmt: skip
def test_wrong_input(net, shape, message):
    params, state = net.init(KEY, (-1, 5))
    with pytest.raises(ShapeError, match=message + r"[\s\S]*fix"):
        net.apply(params, state, normal(shape))


@pytest.mark.parametrize(("net", "shape", "message"), [
    (serial(Flatten, Conv(3)), (-1, 4, 4, 1), r"serial/1_Conv: expected input \(N, height.*got \(-1, 16\)"),
    (serial(Conv(3, padding="VALID"), MaxPool((4, 4))), (-1, 5, 5, 1), r"serial/1_MaxPool: .* does not fit"),
    (Conv(4, groups=2), (-1, 5, 5, 3), r"Conv: 2 groups must divide .* 3 and 4"),
    (Dense(3), (-1,), r"Dense: expected input \(N, ..., inputs\)"),
    (parallel(Dense(2), Dense(2)), (-1, 3), r"parallel: expected a tuple of 2 inputs[\s\S]*FanOut\(2\)"),
    (parallel(Dense(2), Dense(2)), ((-1, 3),), r"parallel: expected a tuple of 2 inputs: got 1 inputs"),
    (serial(FanOut(2), parallel(Dense(2), Dense(3)), FanInSum), (-1, 3), r"serial/2_FanInSum: .* one shape"),
    (serial(FanOut(2), parallel(Flatten, Identity), FanInConcat()), (-1, 2, 3), r"serial/2_FanInConcat: "),
    (Dense(3), (-1, -1), "only the batch axis"),
    (Dense(3), (-1, 2.5), "a shape is a tuple of integers"),
    (Dense(3), 7, "a shape is a tuple of integers"),
])  # fmt: skip
def test_wrong_shapes_at_init(net, shape, message):
    with pytest.raises(ShapeError, match=message):
        net.out_shape(net.init(KEY, shape) and shape)


@pytest.mark.parametrize("params", [{}, {"0_Dense": {"w": np.ones((3, 2))}}, {"0_Conv": {}}, {"0_Dense": None}])
def test_foreign_params(params):
    with pytest.raises(TreeError, match=r"serial/0_Dense: no '[wb]'[\s\S]*fix: .*init"):
        serial(Dense(2)).apply(params, {}, np.ones((1, 3)))


def test_wrong_constructions():
    with pytest.raises(DtypeError, match=r"argument 1 is not a layer[\s\S]*LeakyRelu\(\.\.\.\)"):
        serial(Dense(2), LeakyRelu)
    with pytest.raises(TreeError, match="two layers have one name"):
        serial(("a", Relu), ("a", Relu))
    with pytest.raises(ShapeError, match="2 dimensions of the window"):
        Conv(3, strides=(1, 1, 1))
    with pytest.raises(DtypeError, match="dtype=.*int"):
        Dense(2).init(KEY, (-1, 2), int)
    with pytest.raises(FadError, match="serial/0_Dense: "):
        serial(Dense(2)).init(None, (-1, 2))


# Dtypes and sizes of numbers

EVERY = (Dense(3), Conv(3), ConvTranspose(3), BatchNorm(), LayerNorm(), MaxPool(), AvgPool(), Dropout(0.5), Relu, Gelu, Sigmoid,
         Tanh, Softplus, Softmax, LogSoftmax, LeakyRelu(), Elu(), Flatten, Identity)  # fmt: skip


@pytest.mark.parametrize("layer", EVERY, ids=repr)
@pytest.mark.parametrize("kind", [np.uint8, np.int64, bool])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_integers_take_the_dtype_of_the_net(layer, kind, dtype):
    x = np.random.default_rng(0).integers(0, 2, (2, 4, 4, 3)).astype(kind)
    net = serial(layer, Flatten, Dense(2))
    params, state = net.init(KEY, x.shape, dtype)
    for train in (False, True):
        run = lambda x: net.apply(params, state, x, key=KEY, train=train)
        expected = run(x.astype(dtype))
        for found in (run(x), fad.jit(run)(x)):
            assert {leaf.dtype for leaf in tree.leaves(found)} == {np.dtype(dtype)}
            np.testing.assert_allclose(found[0], expected[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", [Dropout, LeakyRelu, Elu, BatchNorm, lambda v: BatchNorm(eps=v), LayerNorm])
@pytest.mark.parametrize("number", [np.float64(0.5), np.float32(0.5), np.array(0.5)], ids=["float64", "float32", "array"])
def test_numpy_hyperparameters_keep_float32(make, number):  # flax#924
    x = normal((4, 3), dtype=np.float32)
    params, state = make(number).init(KEY, x.shape)
    found = make(number).apply(params, state, x, key=KEY, train=True)
    assert {leaf.dtype for leaf in tree.leaves(found)} == {np.dtype(np.float32)}
    for a, b in zip(tree.leaves(found), tree.leaves(make(0.5).apply(params, state, x, key=KEY, train=True)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_float64_data_leave_the_state_of_a_float32_net_as_it_is():
    params, state = BatchNorm().init(KEY, (-1, 3))
    _, state = BatchNorm().apply(params, state, normal((4, 3)), train=True)
    assert {leaf.dtype for leaf in tree.leaves(state)} == {np.dtype(np.float32)}


def test_layers_of_ones_own_do_not_change_the_dtype():
    Own = stax.Layer("Own", lambda params, state, x, key, train: (params["gain"] * x + state, state),
                     lambda key, shape, dtype: ({"gain": 1.0, "steps": 3}, np.zeros(3)))  # fmt: skip
    params, state = serial(Own, Dense(2)).init(KEY, (-1, 3))
    assert params["0_Own"]["gain"].dtype == state["0_Own"].dtype == np.float32
    assert params["0_Own"]["steps"] == 3


def test_initializers_of_ones_own_do_not_change_the_dtype():
    params, _ = Dense(3, w_init=lambda key, shape, dtype: np.zeros(shape)).init(KEY, (-1, 2))
    assert params["w"].dtype == np.float32


@pytest.mark.parametrize("layer", [LayerNorm(0.0), BatchNorm(eps=0.0)], ids=repr)
@pytest.mark.parametrize(
    ("dtype", "size"), [(np.float32, 2.0**-12), (np.float32, 2.0**100), (np.float64, 2.0**-120), (np.float64, 2.0**800)]
)
def test_normalisation_does_not_depend_on_the_size_of_its_input(layer, dtype, size):
    """Squares of 1e30 leave float32: outputs and gradients are those of data of size 1."""
    x, y_bar = normal((64, 48), dtype=dtype), normal((64, 48), seed=2, dtype=dtype)
    params, state = layer.init(KEY, x.shape, dtype)
    f = lambda x: layer.apply(params, state, x, train=True)[0]
    slope = fad.grad(lambda x: np.sum(f(x) * y_bar))
    for run in (lambda g: g, fad.jit):
        np.testing.assert_allclose(run(f)(x * dtype(size)), f(x), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(run(slope)(x * dtype(size)) * dtype(size), slope(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layer", [LayerNorm(), BatchNorm()], ids=repr)
def test_normalisation_beyond_its_range_is_not_a_number(layer):
    x = normal((8, 4), dtype=np.float32) * np.float32(1e37)
    params, state = layer.init(KEY, x.shape)
    for run in (lambda g: g, fad.jit):
        assert np.isnan(run(lambda x: layer.apply(params, state, x, train=True)[0])(x)).all()


def test_a_running_variance_that_overflowed_is_not_used():
    x = normal((8, 4), dtype=np.float32) * np.float32(1e25)
    params, state = BatchNorm().init(KEY, x.shape)
    y, state = BatchNorm().apply(params, state, x, train=True)
    assert np.isfinite(y).all()
    with pytest.raises(NonFiniteError, match="running variance"):
        BatchNorm().apply(params, state, x)
    assert np.isnan(fad.jit(lambda state: BatchNorm().apply(params, state, x)[0])(state)).all()


# Starting weights of groups


@pytest.mark.parametrize("groups", [1, 4, 16])
def test_each_group_has_the_fans_of_a_convolution_of_its_own(groups):
    params, _ = Conv(64, (3, 3), groups=groups).init(KEY, (-1, 9, 9, 32), np.float64)
    fan_in, fan_out = 9 * 32 // groups, 9 * 64 // groups
    assert params["w"].shape == (3, 3, 32 // groups, 64)
    assert len({group.tobytes() for group in np.split(params["w"], groups, axis=-1)}) == groups
    assert np.var(params["w"]) == pytest.approx(2 / (fan_in + fan_out), rel=5 * np.sqrt(2 / params["w"].size))


def test_orthogonal_weights_are_so_in_each_group():
    params, _ = Conv(8, (3, 3), groups=2, w_init=initializers.orthogonal()).init(KEY, (-1, 9, 9, 4), np.float64)
    for group in np.split(params["w"], 2, axis=-1):
        w = group.reshape(-1, 4)
        np.testing.assert_allclose(w.T @ w, np.eye(4), atol=1e-12)


# What a layer is given


def test_lists_of_numbers_are_arrays():
    params, state = Dense(2).init(KEY, (-1, 3), np.float64)
    np.testing.assert_array_equal(
        Dense(2).apply(params, state, [[1, 2, 3]])[0], Dense(2).apply(params, state, np.array([[1.0, 2, 3]]))[0]
    )


def test_params_of_a_layer_of_ones_own_may_be_an_array():
    Gain = stax.Layer(
        "Gain", lambda params, state, x, key, train: (params * x, state), lambda key, shape, dtype: (np.zeros(3, dtype), {})
    )
    net = serial(Gain, Relu)
    params, state = net.init(KEY, (-1, 3))
    np.testing.assert_array_equal(net.apply(params, state, np.ones((2, 3)))[0], np.zeros((2, 3)))
