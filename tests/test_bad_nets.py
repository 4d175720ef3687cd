"""Bad input to layers, losses, optimizers and training: each row answers the five questions of tests/test_bad_input.py."""

import numpy as np
import pytest

from fad import initializers, losses, nn, optim, random, stax, train
from fad.errors import DtypeError, FadError, KeyMissingError, NonFiniteError, OutOfRangeError, ShapeError, TreeError
from fad.stax import (
    BatchNorm,
    Conv,
    ConvTranspose,
    Dense,
    Dropout,
    FanInConcat,
    FanInSum,
    FanOut,
    Flatten,
    LayerNorm,
    LeakyRelu,
    MaxPool,
    Relu,
    Tanh,
    elementwise,
    parallel,
    serial,
    shape_dependent,
)

KEY = random.key(0)
X = np.ones((6, 3), np.float32)
Y = X[:, :1]
LABELS = np.arange(6) % 3


def fit(net=None, loss=losses.mean_squared_error, optimizer=None, data=(X, Y), **options):
    options = {"key": KEY, "epochs": 1, "progress": False} | options
    return train.fit(Dense(1) if net is None else net, loss, optimizer or optim.sgd(0.1), data, **options)


def classify(labels, **options):
    return fit(Dense(3), losses.cross_entropy, data=(X, labels), **options)


def net(layer, shape=(-1, 3)):
    return layer.init(KEY, shape)


def own(apply_fn):
    return stax.Layer("Own", apply_fn)


LAYERS = {
    "a layer called": (lambda: Relu(), DtypeError, "0 arguments", "without parentheses"),
    "a layer called on data": (lambda: Dense(3)(X), DtypeError, "1 arguments", "layer.apply"),
    "no units": (lambda: Dense(), DtypeError, "Dense()", "these arguments"),
    "an option that is none": (lambda: Dense(3, activation="relu"), DtypeError, "activation='relu'", "these arguments"),
    "units as text": (lambda: Dense("3"), OutOfRangeError, "'3'", "units="),
    "a fraction of units": (lambda: Dense(2.5), OutOfRangeError, "2.5", "units="),
    "no such window": (lambda: Conv(8, 3), ShapeError, "got 3", "(3, 3)"),
    "window of four axes": (lambda: MaxPool((1, 1, 1, 1)), ShapeError, "(1, 1, 1, 1)", "(3, 3)"),
    "misspelt padding": (lambda: Conv(8, padding="smae"), ShapeError, "'smae'", '"SAME"'),
    "padding of a pair too many": (lambda: Conv(8, padding=((1, 1),) * 3), ShapeError, "((1, 1), (1, 1), (1, 1))", "one pair"),
    "padding of None": (lambda: MaxPool(padding=None), ShapeError, "None", "one pair"),
    "fractional padding": (lambda: ConvTranspose(8, padding=0.5), ShapeError, "0.5", "one pair"),
    "strides of 0": (lambda: Conv(8, strides=0), ShapeError, "got 0", "one integer"),
    "strides as text": (lambda: Conv(8, strides="2"), ShapeError, "'2'", "one integer"),
    "too much cropping": (lambda: nn.conv(np.ones((1, 9, 1)), np.ones((3, 1, 1)), padding=-9), ShapeError, "((9, 9),)", "less"),
    "groups of 0": (lambda: Conv(8, groups=0), OutOfRangeError, "got 0", "groups="),
    "groups that do not divide": (lambda: net(Conv(8, groups=3), (-1, 4, 4, 6)), ShapeError, "6 and 8", "groups"),
    "initializer by name": (lambda: Dense(3, w_init="glorot"), DtypeError, "'glorot'", "he_normal()"),
    "initializer not called": (lambda: net(Dense(3, w_init=initializers.he_normal)), DtypeError, "he_normal(", "arguments"),
    "initializer of another shape": (lambda: net(Dense(3, b_init=lambda *_: np.ones(7))), ShapeError, "(7,)", "shape it is given"),
    "initializer of text": (lambda: initializers.normal("a"), DtypeError, "'a'", "float"),
    "rate of text": (lambda: Dropout("half"), DtypeError, "'half'", "float"),
    "rate above 1": (lambda: Dropout(2), OutOfRangeError, "got 2", "number"),
    "momentum of None": (lambda: BatchNorm(None), DtypeError, "None", "float"),
    "negative eps": (lambda: LayerNorm(-1), OutOfRangeError, "-1", "number"),
    "slope of an array": (lambda: LeakyRelu(np.ones(2)), DtypeError, "f64[2]", "float"),
    "a pair of layers": (lambda: serial((Dense(3), Relu), Dense(2)), DtypeError, "(Dense(3), Relu)", "serial("),
    "a pair in parallel": (lambda: parallel(Relu, (Dense(3), Relu)), DtypeError, "(Dense(3), Relu)", "serial("),
    "a list of layers": (lambda: serial([Dense(3), Relu]), DtypeError, "[Dense(3), Relu]", "*layers"),
    "a layer by name": (lambda: serial("relu"), DtypeError, "'relu'", "fad.stax"),
    "a function for a layer": (lambda: parallel(np.tanh), DtypeError, "tanh", "constructor"),
    "a layer made of none": (lambda: net(shape_dependent(lambda shape: 3)), DtypeError, "got 3", "fad.stax"),
    "copies of a layer": (lambda: FanOut(Dense(3)), OutOfRangeError, "Dense(3)", "copies="),
    "axis of a layer": (lambda: FanInConcat(Dense(3)), OutOfRangeError, "Dense(3)", "axis="),
    "axis out of range": (lambda: FanInConcat(7).out_shape(((-1, 2),) * 2), ShapeError, "(-1, 2)", "branch"),
    "a sum of the rows of one array": (lambda: FanInSum.apply({}, {}, X), ShapeError, "(6, 3)", "FanOut"),
    "a concatenation of rows": (lambda: FanInConcat().apply({}, {}, X), ShapeError, "(6, 3)", "FanOut"),
    "activation of a tuple": (lambda: serial(FanOut(2), Tanh).apply({}, {}, X), ShapeError, "tuple of 2", "parallel"),
    "a tuple flattened": (lambda: net(serial(FanOut(2), Flatten)), ShapeError, "tuple of 2", "parallel"),
    "no function": (lambda: elementwise("tanh"), DtypeError, "'tanh'", "np.sin"),
    "params and state together": (lambda: serial(Dense(3)).apply(net(serial(Dense(3))), {}, X), TreeError, "tuple", "params, state ="),
    "state of None": (lambda: serial(Relu).apply({}, None, X), TreeError, "NoneType", "params, state ="),
    "an integer key": (lambda: Dense(3).init(0, (-1, 3)), DtypeError, "got 0", "fad.random.key"),
    "an integer dtype": (lambda: Dense(3).init(KEY, (-1, 3), "int"), DtypeError, "int", "float32"),
    "a dtype that is none": (lambda: Dense(3).init(KEY, (-1, 3), "f33"), DtypeError, "f33", "float32"),
    "a layer on text": (lambda: Relu.apply({}, {}, "abc"), DtypeError, "<U3", "np.asarray"),
    "a layer on masked data": (lambda: Dense(3).apply(net(Dense(3))[0], {}, np.ma.masked_array(X, X > 0)), DtypeError, "f32[6,3]", "filled"),
    "a layer on nothing": (lambda: Relu.apply({}, {}, None), DtypeError, "None", "np.asarray"),
    "a layer on a ragged list": (lambda: Relu.apply({}, {}, [[1], [1, 2]]), DtypeError, "[[1], [1, 2]]", "np.asarray"),
    "a layer without its state": (lambda: own(lambda p, s, x, k, t: 2 * x).apply({}, {}, X), TreeError, "ndarray", "return y, state"),
    "a fraction of classes": (lambda: nn.one_hot(LABELS, 2.5), OutOfRangeError, "2.5", "num_classes="),
    "one-hot of a negative label": (lambda: nn.one_hot(np.array([-1]), 3), OutOfRangeError, "-1", "labels"),
    "a variance that overflowed": (
        lambda: BatchNorm().apply({"scale": X[0], "bias": X[0]}, {"mean": X[0], "var": X[0] * np.inf}, X),
        NonFiniteError, "inf", "scale the inputs"),
}  # fmt: skip

LOSSES = {
    "several predictions": (lambda: losses.mean_squared_error((X, X), (X, X)), DtypeError, "tuple of 2", "outputs[0]"),
    "targets of text": (lambda: losses.mean_absolute_error(X, [["a"] * 3] * 6), DtypeError, "<U1", "np.unique"),
    "targets of None": (lambda: losses.mean_squared_error(X, None), DtypeError, "object[] None", "np.unique"),
    "complex targets": (lambda: losses.mean_squared_error(X, X * 1j), DtypeError, "c64", "x.real"),
    "no examples": (lambda: losses.mean_squared_error(X[:0], X[:0]), ShapeError, "(0, 3)", "example"),
    "labels above 1": (lambda: losses.binary_cross_entropy(Y, Y + 1), OutOfRangeError, "2.0", "0 and 1"),
    "labels barely above 1": (lambda: losses.binary_cross_entropy(Y, Y + 1e-3), OutOfRangeError, "1.00", "0 and 1"),
    "labels below 0": (lambda: losses.binary_cross_entropy(Y, -Y), OutOfRangeError, "-1.0", "0 and 1"),
    "classes of text": (lambda: losses.cross_entropy(X, ["a"] * 6), DtypeError, "<U1", "labels.astype"),
    "a class too many": (lambda: losses.cross_entropy(X, LABELS + 1), OutOfRangeError, "1 to 3", "from 0"),
    "a negative class": (lambda: losses.cross_entropy(X, LABELS - 1), OutOfRangeError, "-1 to 1", "from 0"),
    "no such reduction": (lambda: losses.cross_entropy(X, LABELS, reduction=None), OutOfRangeError, "None", "mean"),
    "a variance of text": (lambda: losses.gaussian_nll(X, "a", X), DtypeError, "'a'", "float"),
}  # fmt: skip

OPTIMIZERS = {
    "an optimizer not called": (lambda: optim.chain(optim.clip_norm(1.0), optim.adam), DtypeError, "adam", "optim.adam(...)"),
    "an optimizer by name": (lambda: optim.chain("adam"), DtypeError, "'adam'", "optim.adam(1e-3)"),
    "another name for the rate": (lambda: optim.adam(lr=0.1), DtypeError, "lr=0.1", "these arguments"),
    "rate of None": (lambda: optim.sgd(None), DtypeError, "None", "float"),
    "rate of NaN": (lambda: optim.momentum(np.nan), OutOfRangeError, "nan", "number"),
    "a schedule of text": (lambda: optim.sgd(lambda step: "a").update(Y, 0, Y), DtypeError, "'a'", "float"),
    "mass above 1": (lambda: optim.nesterov(0.1, 2), OutOfRangeError, "got 2", "number"),
    "b1 of 1": (lambda: optim.adam(b1=1.0), OutOfRangeError, "1.0", "number"),
    "a negative limit": (lambda: optim.clip(-1), OutOfRangeError, "-1", "number"),
    "a negative norm": (lambda: optim.clip_norm(-1), OutOfRangeError, "-1", "number"),
    "a norm of NaN": (lambda: optim.clip_norm(np.nan), OutOfRangeError, "nan", "number"),
    "decay of None": (lambda: optim.decay_weights(None), DtypeError, "None", "float"),
    "an update of another shape": (lambda: optim.apply_updates(X, X[:1]), ShapeError, "(1, 3)", "gradient"),
    "a gradient of another shape": (lambda: optim.momentum(0.1).update(X[:1], optim.momentum(0.1).init(X), X), ShapeError, "(1, 3)", "init"),
    "a state of another optimizer": (lambda: optim.adam().update(X, optim.momentum(0.1).init(X), X), TreeError, "ndarray", "init"),
    "no state": (lambda: optim.adam().update(X, None, X), TreeError, "NoneType", "init"),
    "clipping complex numbers": (lambda: optim.clip(1.0).update(X * 1j, (), None), DtypeError, "complex64", "clip_norm"),
}  # fmt: skip

TRAINING = {
    "loss by name": (lambda: fit(loss="mse"), DtypeError, "'mse'", "losses.cross_entropy"),
    "loss by name in a step": (lambda: train.make_step(Dense(1), "mse", optim.adam()), DtypeError, "'mse'", "losses.cross_entropy"),
    "loss by name in evaluate": (lambda: train.evaluate(Relu, "mse", {}, {}, (X, X)), DtypeError, "'mse'", "losses.cross_entropy"),
    "fit: an optimizer not called": (lambda: fit(optimizer=optim.adam), DtypeError, "adam", "optim.adam(...)"),
    "fit: a layer not called": (lambda: fit(net=Dense), DtypeError, "Dense", "stax.serial"),
    "a generator of batches": (lambda: fit(data=((X, Y) for _ in range(3))), TreeError, "generator", "np.concatenate"),
    "masked data": (lambda: fit(data=(np.ma.masked_array(X, X > 0), Y)), DtypeError, "f32[6,3]", "filled"),
    "a loss of one argument": (lambda: fit(loss=losses.l2), DtypeError, "l2", "losses.cross_entropy"),
    "a metric of one argument": (lambda: fit(metrics=[np.mean, losses.l2]), DtypeError, "l2", "[train.accuracy]"),
    "data without targets": (lambda: fit(data=X), TreeError, "f32[6,3]", "(x, y)"),
    "validation without targets": (lambda: fit(validation=X), TreeError, "f32[6,3]", "(x, y)"),
    "labels of text": (lambda: classify(np.array(["a"] * 6)), DtypeError, "<U1", "np.unique"),
    "labels from 1": (lambda: classify(LABELS + 1), OutOfRangeError, "1 to 3", "from 0"),
    "flat targets": (lambda: fit(data=(X, Y[:, 0])), ShapeError, "(6, 1) and (6,)", "reshape"),
    "data of NaN": (lambda: fit(data=(X * np.nan, Y)), NonFiniteError, "nan", "clean"),
    "no data": (lambda: fit(data=(X[:0], Y[:0])), ShapeError, "0 rows", "rows"),
    "data of numbers": (lambda: fit(data=(1.0, 2.0)), ShapeError, "f64[]", "np.array"),
    "several inputs in a list": (lambda: fit(data=([X, X], Y)), ShapeError, "[2, 6]", "tuple"),
    "several outputs, one target": (lambda: fit(serial(FanOut(2), parallel(Dense(1), Dense(1)))), DtypeError, "tuple of 2", "outputs[0]"),
    "epochs of 0": (lambda: fit(epochs=0), OutOfRangeError, "got 0", "epochs="),
    "epochs of -1": (lambda: fit(epochs=-1), OutOfRangeError, "-1", "epochs="),
    "a fraction of epochs": (lambda: fit(epochs=1.5), OutOfRangeError, "1.5", "epochs="),
    "batch_size of 0": (lambda: fit(batch_size=0), OutOfRangeError, "got 0", "batch_size="),
    "batch_size of text": (lambda: train.predict(Relu, {}, {}, X, "all"), OutOfRangeError, "'all'", "batch_size="),
    "fit without a key": (lambda: fit(key=None), KeyMissingError, "key", "fad.random.key(0)"),
    "fit with a number for a key": (lambda: fit(key=0), DtypeError, "got 0", "fad.random.key"),
    "an integer net": (lambda: fit(dtype=int), DtypeError, "int", "float32"),
    "a loss for each row": (lambda: fit(loss=lambda o, y: (o - y) ** 2), ShapeError, "f32[6,1]", "mean"),
    "a loss of None": (lambda: fit(loss=lambda z, y: None), ShapeError, "None", "mean"),
    "one metric": (lambda: fit(metrics=train.accuracy), DtypeError, "accuracy", "[train.accuracy]"),
    "a metric by name": (lambda: fit(metrics=["accuracy"]), DtypeError, "'accuracy'", "[train.accuracy]"),
    "two metrics of one name": (lambda: fit(metrics=[lambda o, t: 1, lambda o, t: 2]), TreeError, "<lambda>", "top_5"),
    "a metric called loss": (lambda: fit(metrics=[("loss", lambda o, t: 1)]), TreeError, "'loss'", "top_5"),
    "a metric called batch_loss": (lambda: fit(metrics=[("batch_loss", lambda o, t: 1)]), TreeError, "'batch_loss'", "top_5"),
    "a metric called validation_loss": (lambda: fit(metrics=[("validation_loss", lambda o, t: 1)]), TreeError, "'validation_loss'", "top_5"),
    "a metric of arrays": (lambda: fit(metrics=[("all", lambda o, t: o)]), ShapeError, "f32[6,1]", "np.mean"),
    "an output without rows": (lambda: train.predict(own(lambda p, s, x, k, t: (np.sum(x), s)), {}, {}, X), ShapeError, "f32[]", "row"),
    "accuracy of other labels": (lambda: train.accuracy(X, LABELS - 1), OutOfRangeError, "-1 to 1", "from 0"),
    "accuracy of signs": (lambda: train.accuracy(Y, np.where(LABELS > 1, 1, -1)), OutOfRangeError, "-1 to 1", "from 0"),
    "accuracy of nothing": (lambda: train.accuracy([], []), ShapeError, "(0,)", "example"),
}  # fmt: skip

ROWS = LAYERS | LOSSES | OPTIMIZERS | TRAINING


@pytest.mark.parametrize("name", ROWS)
def test_error_answers_five_questions(name):
    action, kind, got, fix = ROWS[name]
    with pytest.raises(kind) as caught:
        action()
    assert isinstance(caught.value, FadError)
    text = str(caught.value)
    what, where, advice = text.split("\n")[0], text.split("\n  at ")[1].split("\n")[0], text.split("\n  fix: ")[1]
    assert got in what and fix in advice, text
    assert "test_bad_nets.py" in where, text


def test_rows_are_counted():
    assert len(ROWS) == len(LAYERS) + len(LOSSES) + len(OPTIMIZERS) + len(TRAINING)
