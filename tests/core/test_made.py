"""What constructors make prints as the call that made it, and survives pickling with what it computes."""

import copy
import pickle

import numpy as np
import pytest

from fad import initializers, optim, random, stax, tree
from fad.stax import BatchNorm, Conv, Dense, Dropout, Relu, serial

KEY = random.key(0)


def double(params, state, x, key, train):
    return 2 * x, state


def half(step):
    return 0.5


LAYERS = {
    "Dense(3)": Dense(3),
    "Relu": Relu,
    "Flatten": stax.Flatten,
    "FanInSum": stax.FanInSum,
    "Double": stax.Layer("Double", double),
    "sin": stax.elementwise(np.sin),
    "Conv(8, (3, 3), strides=2, padding='VALID')": Conv(8, (3, 3), strides=2, padding="VALID"),
    "Conv(8, w_init=he_normal(0.5), b_init=zeros)": Conv(8, w_init=initializers.he_normal(0.5), b_init=initializers.zeros),
    "ConvTranspose(2, padding=1)": stax.ConvTranspose(2, padding=1),
    "BatchNorm(0.5)": BatchNorm(0.5),
    "LayerNorm(eps=0.1)": stax.LayerNorm(eps=0.1),
    "Dropout(0.25)": Dropout(0.25),
    "MaxPool(strides=1)": stax.MaxPool(strides=1),
    "LeakyRelu(0.2)": stax.LeakyRelu(0.2),
    "Elu()": stax.Elu(),
    "FanOut(2)": stax.FanOut(2),
    "FanInConcat(axis=1)": stax.FanInConcat(axis=1),
    "serial(Dense(4), Relu, ('out', Dense(2)))": serial(Dense(4), Relu, ("out", Dense(2))),
    "serial(FanOut(2), parallel(Dense(2), Identity))": serial(stax.FanOut(2), stax.parallel(Dense(2), stax.Identity)),
}
OPTIMIZERS = {
    "sgd(half)": optim.sgd(half),
    "momentum(0.1, mass=0.5)": optim.momentum(0.1, mass=0.5),
    "adam()": optim.adam(),
    "chain(clip_norm(1.0), adam(0.01, b1=0.8))": optim.chain(optim.clip_norm(1.0), optim.adam(0.01, b1=0.8)),
    "chain(scale_by_adam(), decay_weights(0.1), descend(0.1))":
        optim.chain(optim.scale_by_adam(), optim.decay_weights(0.1), optim.descend(0.1)),
}  # fmt: skip
INITIALIZERS = {
    "glorot_uniform()": initializers.glorot_uniform(),
    "he_normal(slope=0.5)": initializers.he_normal(slope=0.5),
    "orthogonal(2.0)": initializers.orthogonal(2.0),
    "constant(0.5)": initializers.constant(0.5),
    "normal(0.1)": initializers.normal(0.1),
}
copies = pytest.mark.parametrize("copied", [lambda thing: pickle.loads(pickle.dumps(thing)), copy.deepcopy], ids=["pickle", "copy"])


@pytest.mark.parametrize("text", [*LAYERS, *OPTIMIZERS, *INITIALIZERS])
def test_they_print_as_their_call(text):
    assert repr((LAYERS | OPTIMIZERS | INITIALIZERS)[text]) == text


@copies
@pytest.mark.parametrize("text", LAYERS)
def test_a_copied_layer_is_the_layer(text, copied):
    layer, again = LAYERS[text], copied(LAYERS[text])
    assert repr(again) == text and again.name == layer.name
    shape = (2, 4, 4, 8)
    x = random.normal(KEY, shape, np.float32)
    if text.startswith("FanIn"):
        shape, x = (shape, shape), (x, 2 * x)
    params, state = layer.init(KEY, shape)
    for a, b in zip(tree.leaves(layer.apply(params, state, x, key=KEY, train=True)),
                    tree.leaves(again.apply(*again.init(KEY, shape), x, key=KEY, train=True)), strict=True):  # fmt: skip
        np.testing.assert_array_equal(a, b)


@copies
@pytest.mark.parametrize("text", OPTIMIZERS)
def test_a_copied_optimizer_is_the_optimizer(text, copied):
    optimizer, again = OPTIMIZERS[text], copied(OPTIMIZERS[text])
    assert repr(again) == text
    p = np.arange(3.0)
    np.testing.assert_array_equal(optimizer.update(p, optimizer.init(p), p)[0], again.update(p, again.init(p), p)[0])


@copies
@pytest.mark.parametrize("text", INITIALIZERS)
def test_a_copied_initializer_is_the_initializer(text, copied):
    np.testing.assert_array_equal(INITIALIZERS[text](KEY, (3, 4)), copied(INITIALIZERS[text])(KEY, (3, 4)))


def test_the_classic_pair_pickles():
    init_fun, apply_fun = pickle.loads(pickle.dumps(tuple(serial(Dense(3), Relu))))
    shape, params = init_fun(KEY, (-1, 2))
    assert shape == (-1, 3) and apply_fun(params, np.ones((5, 2), np.float32)).shape == (5, 3)


def test_the_pair_of_an_optimizer():
    init, update = optim.sgd(0.5)
    np.testing.assert_array_equal(update(np.ones(2), init(np.ones(2)), None)[0], [-0.5, -0.5])
