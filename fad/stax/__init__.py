"""Layers: small immutable values that compose into nets.

    net = serial(Conv(32), Relu, MaxPool(), Flatten, Dense(10))
    params, state = net.init(random.key(0), (-1, 28, 28, 1))
    logits, state = net.apply(params, state, images, key=key, train=True)

Conventions, stated once:

* Shapes include the leading batch axis; its length is any integer, say -1. Data is (N, *spatial, channels).
* params and state are nested dicts of arrays; `serial` and `parallel` name their children "0_Conv", "1_Relu",
  or as you say: serial(("encoder", Dense(32)), ("decoder", Dense(784))). What is empty has no entry.
* Integers become floats of the dtype of a layer's parameters, float32 where it has none.
* What has options is a constructor (Dense(10), LeakyRelu(0.1)), what has none is a layer (Relu, Flatten).
* Randomness comes from the key given to `apply`, split among the children; `train=True` switches on what
  differs between training and evaluation. Only BatchNorm has state: `apply` returns the new one.
* Errors begin with the path of the layer: "serial/2_Dense: ...".
* A net without state also unpacks into the classic pair of functions:

>>> from fad import random
>>> init_fun, apply_fun = serial(Dense(32), Tanh, Dense(2))
>>> out_shape, params = init_fun(random.key(0), (-1, 8))
>>> out_shape, apply_fun(params, np.ones((5, 8), np.float32)).shape
((-1, 2), (5, 2))
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Any

import numpy as np

from fad import nn, random
from fad.core.expr import Expr
from fad.core.made import constructor
from fad.core.options import count, function, number, weak
from fad.errors import DtypeError, KeyMissingError, NonFiniteError, ShapeError, TreeError
from fad.initializers import glorot_normal, zeros
from fad.primitives import windows
from fad.stax.layer import Layer, Params, Shape, State, elementwise, parallel, serial, several, shape_dependent, single

__all__ = [
    "Layer", "serial", "parallel", "shape_dependent", "elementwise",
    "FanOut", "FanInSum", "FanInConcat", "Identity", "Flatten",
    "Dense", "Conv", "ConvTranspose", "BatchNorm", "LayerNorm", "Dropout", "MaxPool", "AvgPool",
    "Relu", "LeakyRelu", "Elu", "Gelu", "Sigmoid", "Tanh", "Softplus", "Softmax", "LogSoftmax",
]  # fmt: skip

Padding = str | int | Sequence[int | tuple[int, int]]
Initializer = Callable[[Any, Shape, Any], Any]

_GLOROT = glorot_normal()


# Layers without parameters


def _identity(x: Any) -> Any:
    return x


def _of_floats(f: Callable, x: Any) -> Any:
    return f(_floats(x))


def _activation(f: Callable, name: str) -> Layer:
    return elementwise(partial(_of_floats, f), name)


Identity = elementwise(_identity, "Identity")
Relu = elementwise(nn.relu, "Relu")
Gelu = _activation(nn.gelu, "Gelu")
Sigmoid = _activation(nn.sigmoid, "Sigmoid")
Tanh = _activation(nn.tanh, "Tanh")
Softplus = _activation(nn.softplus, "Softplus")
Softmax = _activation(nn.softmax, "Softmax")
LogSoftmax = _activation(nn.log_softmax, "LogSoftmax")


@constructor
def LeakyRelu(slope: float = 0.01) -> Layer:
    """x for x > 0, slope x elsewhere. Source: Maas, Hannun & Ng 2013.

    >>> LeakyRelu(0.5).apply({}, {}, np.array([-2.0, 2.0]))[0]
    array([-1.,  2.])
    """
    return _activation(partial(nn.leaky_relu, slope=number("LeakyRelu: slope", slope)), "LeakyRelu")


@constructor
def Elu(alpha: float = 1.0) -> Layer:
    """x for x > 0, alpha (exp(x) - 1) elsewhere. Source: Clevert, Unterthiner & Hochreiter 2016.

    >>> Elu().apply({}, {}, np.array([0.0, 2.0]))[0]
    array([0., 2.])
    """
    return _activation(partial(nn.elu, alpha=number("Elu: alpha", alpha)), "Elu")


def _flat(shape: Shape) -> Shape:
    if not single(shape):
        raise ShapeError("expected input (N, ...)", got=shape, rule="shapes begin with the batch axis")
    return (shape[0], math.prod(shape[1:]))


def _flatten(params: Params, state: State, x: Any, key: Any, train: bool) -> tuple[Any, State]:
    return x.reshape(_flat(single(x).shape)), state


Flatten = Layer("Flatten", _flatten, shape_fn=_flat)


@constructor
def FanOut(copies: int) -> Layer:
    """x -> (x, ..., x), the input of `parallel`.

    >>> FanOut(2).out_shape((-1, 3))
    ((-1, 3), (-1, 3))
    """
    copies = count("FanOut: copies", copies)
    return Layer("FanOut", lambda params, state, x, key, train: ((x,) * copies, state), shape_fn=lambda shape: (shape,) * copies)


def _one_shape(shapes: Shape) -> Shape:
    if len(set(several(shapes))) != 1:
        raise ShapeError("expected inputs of one shape", got=shapes, fix="end every branch in the same number of units")
    return shapes[0]


def _sum(params: Params, state: State, xs: Any, key: Any, train: bool) -> tuple[Any, State]:
    _one_shape(_shapes(xs))
    return reduce(operator.add, xs), state


def _shapes(xs: Any) -> Shape:
    return tuple(single(x).shape for x in several(xs))


FanInSum = Layer("FanInSum", _sum, shape_fn=_one_shape)


@constructor
def FanInConcat(axis: int = -1) -> Layer:
    """(x_1, ..., x_n) -> their concatenation along an axis, by default the channels.

    >>> FanInConcat().out_shape(((-1, 4, 2), (-1, 4, 3)))
    (-1, 4, 5)
    """
    axis = count("FanInConcat: axis", axis, low=-32)

    def out_shape(shapes: Shape) -> Shape:
        ranks = {len(shape) for shape in several(shapes)}
        rests = {shape[: axis % len(shape)] + shape[axis % len(shape) + 1 :] for shape in shapes if shape}
        if len(ranks) != 1 or len(rests) != 1 or not -max(ranks) <= axis < max(ranks):
            raise ShapeError(f"expected inputs that differ only along axis {axis}", got=shapes,
                             fix="end every branch in arrays of that kind")  # fmt: skip
        joined = list(shapes[0])
        joined[axis] = sum(shape[axis] for shape in shapes)
        return tuple(joined)

    def apply(params: Params, state: State, xs: Any, key: Any, train: bool) -> tuple[Any, State]:
        out_shape(_shapes(xs))
        return np.concatenate(list(xs), axis=axis), state

    return Layer("FanInConcat", apply, shape_fn=out_shape)


@constructor
def Dropout(rate: float) -> Layer:
    """In training each element is 0 with probability `rate` and x / (1 - rate) otherwise; else y = x.

    Raises: KeyMissingError when train=True and no key is given; OutOfRangeError unless 0 <= rate < 1.
    Source: Srivastava et al. 2014, with the scaling moved to training.

    >>> Dropout(0.5).apply({}, {}, np.ones(3))[0]
    array([1., 1., 1.])
    """
    rate = number("Dropout: rate", rate, "it is the probability to drop, 0 <= rate < 1", lambda r: 0 <= r < 1)

    def apply(params: Params, state: State, x: Any, key: Any, train: bool) -> tuple[Any, State]:
        if not train or (not isinstance(rate, Expr) and rate == 0):
            return x, state
        if key is None:
            raise KeyMissingError(
                "dropout in training draws random numbers",
                got="key=None",
                fix="apply(..., key=key, train=True) with a new key each step, or train=False to evaluate",
            )
        x = _floats(single(x))
        kept = random.bernoulli(key, 1 - rate, x.shape)
        return np.where(kept, x / weak(1 - rate, x), 0), state

    return Layer("Dropout", apply)


# Layers with parameters


@constructor
def Dense(units: int, w_init: Initializer = _GLOROT, b_init: Initializer = zeros) -> Layer:
    """y = x w + b: (..., inputs) -> (..., units); params w (inputs, units) and b (units,).

    >>> Dense(2).apply({"w": np.eye(2), "b": np.ones(2)}, {}, np.array([[1.0, 2.0]]))[0]
    array([[2., 3.]])
    """

    units = count("Dense: units", units)
    _check_initializers("Dense", w_init, b_init)

    def out_shape(shape: Shape) -> Shape:
        if len(single(shape)) < 2:
            raise ShapeError("expected input (N, ..., inputs)", got=shape, rule="shapes begin with the batch axis")
        return (*shape[:-1], units)

    def init(key: Any, shape: Shape, dtype: Any) -> tuple[Params, State]:
        out_shape(shape)
        w_key, b_key = random.split(key, 2)
        return {"w": _drawn(w_init, w_key, (shape[-1], units), dtype), "b": _drawn(b_init, b_key, (units,), dtype)}, {}

    def apply(params: Params, state: State, x: Any, key: Any, train: bool) -> tuple[Any, State]:
        w, b = _param(params, "w"), _param(params, "b")
        _check_channels(x, w.shape[0])
        return nn.dense(x, w, b), state

    return Layer("Dense", apply, init, out_shape)


@constructor
def Conv(
    channels: int,
    window: Sequence[int] = (3, 3),
    strides: int | Sequence[int] = 1,
    padding: Padding = "SAME",
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    w_init: Initializer = _GLOROT,
    b_init: Initializer = zeros,
) -> Layer:
    """Convolution plus bias in len(window) = 1, 2 or 3 axes: (N, *spatial, C) -> (N, *spatial', channels).

    Params w (*window, C // groups, channels) and b (channels,). Strides, padding and dilation as for `nn.conv`:
    "SAME" (ceil(n / stride) outputs), "VALID" (none), an integer, or for each axis an integer or a pair (low, high).

    >>> Conv(16, (3, 3), padding="VALID").out_shape((-1, 28, 28, 1))
    (-1, 26, 26, 16)
    """
    channels, groups = count("Conv: channels", channels), count("Conv: groups", groups)
    window = _window("Conv", window)
    rank = len(window)
    strides = windows.per_axis("Conv: strides", strides, rank)
    dilation = windows.per_axis("Conv: dilation", dilation, rank)
    windows.padding_pairs("Conv: padding", padding, window, window, strides, dilation)  # refuses what is no padding
    _check_initializers("Conv", w_init, b_init)

    def out_shape(shape: Shape) -> Shape:
        _check_rank(shape, rank)
        pads = windows.padding_pairs("padding", padding, shape[1:-1], window, strides, dilation)
        return (shape[0], *windows.slide(shape[1:-1], window, strides, pads, dilation), channels)

    def init(key: Any, shape: Shape, dtype: Any) -> tuple[Params, State]:
        out_shape(shape)
        if shape[-1] % groups or channels % groups:
            raise ShapeError(f"{groups} groups must divide input and output channels", got=f"{shape[-1]} and {channels}",
                             fix="change groups, or the number of channels")  # fmt: skip
        w_key, b_key = random.split(key, 2)
        keys = [w_key] if groups == 1 else random.split(w_key, groups)  # each group has fans of its own
        of_group = (*window, shape[-1] // groups, channels // groups)
        w = np.concatenate([_drawn(w_init, key, of_group, dtype) for key in keys], axis=-1)
        return {"w": w, "b": _drawn(b_init, b_key, (channels,), dtype)}, {}

    def apply(params: Params, state: State, x: Any, key: Any, train: bool) -> tuple[Any, State]:
        w, b = _param(params, "w"), _param(params, "b")
        _check_rank(single(x).shape, rank)
        _check_channels(x, w.shape[-2] * groups)
        return nn.conv(x, w, strides, padding, dilation, groups) + b, state

    return Layer("Conv", apply, init, out_shape)


@constructor
def ConvTranspose(
    channels: int,
    window: Sequence[int] = (3, 3),
    strides: int | Sequence[int] = 1,
    padding: Padding = "SAME",
    w_init: Initializer = _GLOROT,
    b_init: Initializer = zeros,
) -> Layer:
    """The transpose of a convolution, plus bias; enlarges (N, *spatial, C) -> (N, *spatial', channels).

    Params w (*window, channels, C), the weights of the convolution that is transposed, and b (channels,).
    spatial' is n * stride for padding "SAME" and (n - 1) * stride + window, less the padding, otherwise: negative
    padding adds zeros at the end.

    >>> ConvTranspose(8, (2, 2), strides=2).out_shape((-1, 7, 7, 16))
    (-1, 14, 14, 8)
    """
    channels, window = count("ConvTranspose: channels", channels), _window("ConvTranspose", window)
    rank = len(window)
    strides = windows.per_axis("ConvTranspose: strides", strides, rank)
    windows.padding_pairs("ConvTranspose: padding", padding, window, window, strides, (1,) * rank)
    _check_initializers("ConvTranspose", w_init, b_init)

    def out_shape(shape: Shape) -> Shape:
        _check_rank(shape, rank)
        spatial, _, zeros = windows.spread("padding", padding, shape[1:-1], window, strides, (1,) * rank)
        return (shape[0], *(s + low + high for s, (low, high) in zip(spatial, zeros)), channels)

    def init(key: Any, shape: Shape, dtype: Any) -> tuple[Params, State]:
        out_shape(shape)
        w_key, b_key = random.split(key, 2)
        w = _drawn(w_init, w_key, (*window, shape[-1], channels), dtype)  # so that the fans are those of this layer
        return {"w": np.swapaxes(w, -1, -2).copy(), "b": _drawn(b_init, b_key, (channels,), dtype)}, {}

    def apply(params: Params, state: State, x: Any, key: Any, train: bool) -> tuple[Any, State]:
        w, b = _param(params, "w"), _param(params, "b")
        _check_rank(single(x).shape, rank)
        _check_channels(x, w.shape[-1])
        return nn.conv_transpose(x, w, strides, padding) + b, state

    return Layer("ConvTranspose", apply, init, out_shape)


def _pool(name: str, pool: Callable, window: Sequence[int], strides: int | Sequence[int] | None, padding: Padding) -> Layer:
    window = _window(name, window)
    rank = len(window)
    steps = window if strides is None else windows.per_axis(f"{name}: strides", strides, rank)
    windows.padding_pairs(f"{name}: padding", padding, window, window, steps, (1,) * rank)

    def out_shape(shape: Shape) -> Shape:
        _check_rank(shape, rank)
        pads = windows.padding_pairs("padding", padding, shape[1:-1], window, steps, (1,) * rank)
        return (shape[0], *windows.slide(shape[1:-1], window, steps, pads, (1,) * rank), shape[-1])

    def apply(params: Params, state: State, x: Any, key: Any, train: bool) -> tuple[Any, State]:
        out_shape(single(x).shape)
        return pool(_floats(x), window, steps, padding), state

    return Layer(name, apply, shape_fn=out_shape)


@constructor
def MaxPool(window: Sequence[int] = (2, 2), strides: int | Sequence[int] | None = None, padding: Padding = "VALID") -> Layer:
    """The largest element of each window; strides default to the window, so that windows tile the input.

    >>> MaxPool().apply({}, {}, np.arange(4.0).reshape(1, 2, 2, 1))[0]
    array([[[[3.]]]])
    """
    return _pool("MaxPool", nn.max_pool, window, strides, padding)


@constructor
def AvgPool(window: Sequence[int] = (2, 2), strides: int | Sequence[int] | None = None, padding: Padding = "VALID") -> Layer:
    """The mean of each window; strides default to the window, so that windows tile the input.

    >>> AvgPool().apply({}, {}, np.arange(4.0).reshape(1, 2, 2, 1))[0]
    array([[[[1.5]]]])
    """
    return _pool("AvgPool", nn.avg_pool, window, strides, padding)


@constructor
def BatchNorm(momentum: float = 0.9, eps: float = 1e-5) -> Layer:
    """y = scale (x - mean) / sqrt(var + eps) + bias, for each channel (last axis).

    In training mean and var are those of the batch, and state moves towards them,
    running <- momentum running + (1 - momentum) batch, the variance with the unbiased factor n / (n - 1).
    In evaluation they are the running ones. Params scale, bias and state mean, var have shape (channels,).
    Raises: ShapeError in training when there is one value per channel, whose variance says nothing; NonFiniteError in
    evaluation when the running variance is infinite, which inputs above 1e19 make it in float32 (NaN under jit).
    Source: Ioffe & Szegedy 2015, algorithms 1 and 2.

    >>> params, state = BatchNorm().init(random.key(0), (-1, 2), np.float64)
    >>> _, state = BatchNorm().apply(params, state, np.array([[0.0, 1.0], [2.0, 1.0]]), train=True)
    >>> state["mean"], state["var"]
    (array([0.1, 0.1]), array([1.1, 0.9]))
    """

    momentum = number("BatchNorm: momentum", momentum, "0 <= momentum <= 1", lambda m: 0 <= m <= 1)
    eps = number("BatchNorm: eps", eps, "eps >= 0", lambda e: e >= 0)

    def init(key: Any, shape: Shape, dtype: Any) -> tuple[Params, State]:
        one, zero = np.ones(single(shape)[-1:], dtype), np.zeros(shape[-1:], dtype)
        return {"scale": one, "bias": zero}, {"mean": zero.copy(), "var": one.copy()}

    def apply(params: Params, state: State, x: Any, key: Any, train: bool) -> tuple[Any, State]:
        scale, bias = _param(params, "scale"), _param(params, "bias")
        mean, var = _param(state, "mean"), _param(state, "var")
        _check_channels(x, scale.shape[0])
        x = _floats(x, scale.dtype)
        if not train:
            return (x - mean) * (scale / np.sqrt(_finite(var) + weak(eps, var))) + bias, state
        n = math.prod(x.shape[:-1])
        if n < 2:
            raise ShapeError(
                "training needs at least two values per channel",
                got=f"input {x.shape}",
                fix="a larger batch; minibatches(..., drop_last=True) drops a short last one",
            )
        batch_mean, centred, batch_var, slope = _moments(x, tuple(range(x.ndim - 1)), weak(eps, x))
        state = {
            "mean": momentum * mean + (1 - momentum) * weak(batch_mean, mean),
            "var": momentum * var + (1 - momentum) * n / (n - 1) * weak(batch_var, var),
        }
        return centred * (scale * slope) + bias, state

    return Layer("BatchNorm", apply, init, stateful=True)


@constructor
def LayerNorm(eps: float = 1e-5) -> Layer:
    """y = scale (x - mean) / sqrt(var + eps) + bias, mean and variance over the last axis of each example.

    Source: Ba, Kiros & Hinton 2016.

    >>> LayerNorm(0.0).apply({"scale": np.ones(2), "bias": np.zeros(2)}, {}, np.array([[1.0, 3.0]]))[0]
    array([[-1.,  1.]])
    """

    eps = number("LayerNorm: eps", eps, "eps >= 0", lambda e: e >= 0)

    def init(key: Any, shape: Shape, dtype: Any) -> tuple[Params, State]:
        return {"scale": np.ones(single(shape)[-1:], dtype), "bias": np.zeros(shape[-1:], dtype)}, {}

    def apply(params: Params, state: State, x: Any, key: Any, train: bool) -> tuple[Any, State]:
        scale, bias = _param(params, "scale"), _param(params, "bias")
        _check_channels(x, scale.shape[0])
        x = _floats(x, scale.dtype)
        _, centred, _, slope = _moments(x, -1, weak(eps, x), keepdims=True)
        return centred * slope * scale + bias, state

    return Layer("LayerNorm", apply, init)


def _moments(x: Any, axes: Any, eps: Any, keepdims: bool = False) -> tuple[Any, Any, Any, Any]:
    """(mean, x - mean, variance, 1 / sqrt(variance + eps)).

    Squares are taken of (x - mean) c: scaling by a power of two is exact, and in float32 deviations to 1e30 have squares
    in range, in float64 to 1e260. Beyond that the last is NaN, not 0: the net would put out its bias without a word.
    """
    c = x.dtype.type(2.0 ** (-np.finfo(x.dtype).maxexp * 3 // 8))
    mean = np.mean(x, axis=axes, keepdims=keepdims)
    centred = x - mean
    scaled_var = np.mean(np.square(centred * c), axis=axes, keepdims=keepdims)
    one = np.where(np.isfinite(scaled_var), x.dtype.type(1), x.dtype.type(np.nan))
    return mean, centred, scaled_var / c / c, c * (one / np.sqrt(scaled_var + eps * c * c))


def _finite(var: Any) -> Any:
    """A running variance that did not overflow: raises where its values are known and makes the others NaN."""
    known = var.value if isinstance(var, Expr) else var
    if known is None:
        return np.where(np.isfinite(var), var, np.nan)
    if not np.all(np.isfinite(known)):
        raise NonFiniteError("the running variance", got=known[~np.isfinite(known)][0], rule="its square root divides",
                             fix="scale the inputs down before training; clean NaN from the data")  # fmt: skip
    return var


# Options


def _window(name: str, window: Any) -> tuple[int, ...]:
    """The window's sizes, one for each spatial axis, whose number they are."""
    if np.iterable(window) and len(tuple(window)) in (1, 2, 3):
        return windows.per_axis(f"{name}: window", window, len(tuple(window)))
    raise ShapeError(f"{name}: window", got=repr(window), rule="1 to 3 integers, one for each spatial axis", fix="(3, 3)")


def _check_initializers(name: str, w_init: Any, b_init: Any) -> None:
    function(f"{name}: w_init", w_init, "w_init=initializers.he_normal()")
    function(f"{name}: b_init", b_init, "b_init=initializers.zeros")


def _drawn(init: Initializer, key: Any, shape: Shape, dtype: Any) -> np.ndarray:
    """Starting weights, in the dtype of the net whatever a function of the user's makes of it."""
    drawn = np.asarray(init(key, shape, dtype), dtype)
    if drawn.shape != tuple(shape):
        raise ShapeError("an initializer made weights of another shape", got=f"{drawn.shape} from {init!r}",
                         rule=f"init(key, {shape}, dtype) returns an array of that shape",
                         fix="use the shape it is given")  # fmt: skip
    return drawn


# Checks shared by layers


def _check_rank(shape: Shape, rank: int) -> None:
    if len(single(shape)) != rank + 2:
        axes = ", ".join(("N", *("depth", "height", "width")[-rank:], "C"))
        raise ShapeError(
            f"expected input ({axes}) for a window of {rank} dimensions", got=shape, fix="x[..., None] adds a channel axis"
        )


def _check_channels(x: Any, expected: int) -> None:
    if not single(x).shape or x.shape[-1] != expected:
        raise ShapeError(
            f"expected input (..., {expected})",
            got=x.shape,
            rule="the params were made for that many channels",
            fix="pass inputs of the shape that was given to init, or init anew",
        )


def _floats(x: Any, dtype: Any = np.float32) -> Any:
    """x, or where it holds integers x as floats."""
    if x.dtype.kind == "f":
        return x
    if x.dtype.kind not in "biu":
        raise DtypeError("expected real input", got=x.dtype, rule="floats or integers", fix="x.real, or x.astype(np.float32)")
    return x.astype(dtype)


def _param(params: Params, name: str) -> Any:
    try:
        return params[name]
    except (KeyError, TypeError):
        keys = list(params) if isinstance(params, dict) else type(params).__name__
        raise TreeError(
            f"no {name!r} in its params or state", got=keys or "nothing", fix="pass what this net's init returned"
        ) from None
