"""Layers: small immutable values that compose into nets.

    net = serial(Conv(32), Relu, MaxPool(), Flatten, Dense(10))
    params, state = net.init(random.key(0), (-1, 28, 28, 1))
    logits, state = net.apply(params, state, images, key=key, train=True)

Conventions, stated once:

* Shapes include the leading batch axis; its length is any integer, say -1. Data is (N, *spatial, channels).
* params and state are nested dicts of arrays; `serial` and `parallel` name their children "0_Conv", "1_Relu",
  or as you say: serial(("encoder", Dense(32)), ("decoder", Dense(784))). What is empty has no entry.
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
from dataclasses import replace
from functools import partial, reduce
from typing import Any

import numpy as np

from fad import nn, random
from fad.errors import KeyMissingError, OutOfRangeError, ShapeError, TreeError
from fad.initializers import Initializer, glorot_normal, zeros
from fad.layer import Layer, Params, Shape, State, elementwise, parallel, serial, shape_dependent

__all__ = [
    "Layer", "serial", "parallel", "shape_dependent", "elementwise",
    "FanOut", "FanInSum", "FanInConcat", "Identity", "Flatten",
    "Dense", "Conv", "ConvTranspose", "BatchNorm", "LayerNorm", "Dropout", "MaxPool", "AvgPool",
    "Relu", "LeakyRelu", "Elu", "Gelu", "Sigmoid", "Tanh", "Softplus", "Softmax", "LogSoftmax",
]  # fmt: skip

Padding = str | Sequence[tuple[int, int]]

_GLOROT = glorot_normal()


# Layers without parameters

Identity = elementwise(lambda x: x, "Identity")
Relu = elementwise(nn.relu, "Relu")
Gelu = elementwise(nn.gelu, "Gelu")
Sigmoid = elementwise(nn.sigmoid, "Sigmoid")
Tanh = elementwise(np.tanh, "Tanh")
Softplus = elementwise(nn.softplus, "Softplus")
Softmax = elementwise(nn.softmax, "Softmax")
LogSoftmax = elementwise(nn.log_softmax, "LogSoftmax")


def LeakyRelu(slope: float = 0.01) -> Layer:
    """x for x > 0, slope x elsewhere. Source: Maas, Hannun & Ng 2013.

    >>> LeakyRelu(0.5).apply({}, {}, np.array([-2.0, 2.0]))[0]
    array([-1.,  2.])
    """
    return replace(elementwise(partial(nn.leaky_relu, slope=slope), "LeakyRelu"), text=f"LeakyRelu({slope})")


def Elu(alpha: float = 1.0) -> Layer:
    """x for x > 0, alpha (exp(x) - 1) elsewhere. Source: Clevert, Unterthiner & Hochreiter 2016.

    >>> Elu().apply({}, {}, np.array([0.0, 2.0]))[0]
    array([0., 2.])
    """
    return replace(elementwise(partial(nn.elu, alpha=alpha), "Elu"), text=f"Elu({alpha})")


def _flat(shape: Shape) -> Shape:
    if not shape:
        raise ShapeError("expected input (N, ...)", got=shape, rule="shapes begin with the batch axis")
    return (shape[0], math.prod(shape[1:]))


Flatten = Layer(
    "Flatten", lambda params, state, x, key, train: (x.reshape(_flat(x.shape)), state), shape_fn=_flat
)


def FanOut(copies: int) -> Layer:
    """x -> (x, ..., x), the input of `parallel`.

    >>> FanOut(2).out_shape((-1, 3))
    ((-1, 3), (-1, 3))
    """
    return Layer(
        "FanOut",
        lambda params, state, x, key, train: ((x,) * copies, state),
        shape_fn=lambda shape: (shape,) * copies,
        text=f"FanOut({copies})",
    )


def _one_shape(shapes: Shape) -> Shape:
    if not shapes or not isinstance(shapes[0], tuple) or len(set(shapes)) != 1:
        raise ShapeError(
            "expected inputs of one shape", got=shapes, fix="end every branch in the same number of units"
        )
    return shapes[0]


def _sum(params: Params, state: State, xs: Any, key: Any, train: bool) -> tuple[Any, State]:
    _one_shape(tuple(x.shape for x in xs))
    return reduce(operator.add, xs), state


FanInSum = Layer("FanInSum", _sum, shape_fn=_one_shape)


def FanInConcat(axis: int = -1) -> Layer:
    """(x_1, ..., x_n) -> their concatenation along an axis, by default the channels.

    >>> FanInConcat().out_shape(((-1, 4, 2), (-1, 4, 3)))
    (-1, 4, 5)
    """

    def out_shape(shapes: Shape) -> Shape:
        rests = {tuple(np.delete(shape, axis)) if shape else () for shape in shapes}
        if len(rests) != 1:
            raise ShapeError(f"expected inputs that differ only along axis {axis}", got=shapes)
        joined = list(shapes[0])
        joined[axis] = sum(shape[axis] for shape in shapes)
        return tuple(joined)

    def apply(params: Params, state: State, xs: Any, key: Any, train: bool) -> tuple[Any, State]:
        out_shape(tuple(x.shape for x in xs))
        return np.concatenate(list(xs), axis=axis), state

    return Layer("FanInConcat", apply, shape_fn=out_shape, text=f"FanInConcat({axis})")


def Dropout(rate: float) -> Layer:
    """In training each element is 0 with probability `rate` and x / (1 - rate) otherwise; else y = x.

    Raises: KeyMissingError when train=True and no key is given; OutOfRangeError unless 0 <= rate < 1.
    Source: Srivastava et al. 2014, with the scaling moved to training.

    >>> Dropout(0.5).apply({}, {}, np.ones(3))[0]
    array([1., 1., 1.])
    """
    if not 0 <= rate < 1:
        raise OutOfRangeError("Dropout: rate is the probability to drop", got=rate, rule="0 <= rate < 1")

    def apply(params: Params, state: State, x: Any, key: Any, train: bool) -> tuple[Any, State]:
        if not train or rate == 0:
            return x, state
        if key is None:
            raise KeyMissingError(
                "dropout in training draws random numbers",
                got="key=None",
                fix="apply(..., key=key, train=True) with a new key each step, or train=False to evaluate",
            )
        kept = random.bernoulli(key, 1 - rate, x.shape)
        return np.where(kept, x / (1 - rate), 0), state

    return Layer("Dropout", apply, text=f"Dropout({rate})")


# Layers with parameters


def Dense(units: int, w_init: Initializer = _GLOROT, b_init: Initializer = zeros) -> Layer:
    """y = x w + b: (..., inputs) -> (..., units); params w (inputs, units) and b (units,).

    >>> Dense(2).apply({"w": np.eye(2), "b": np.ones(2)}, {}, np.array([[1.0, 2.0]]))[0]
    array([[2., 3.]])
    """

    def out_shape(shape: Shape) -> Shape:
        if len(shape) < 2 or isinstance(shape[0], tuple):
            raise ShapeError(
                "expected input (N, ..., inputs)", got=shape, rule="shapes begin with the batch axis"
            )
        return (*shape[:-1], units)

    def init(key: Any, shape: Shape, dtype: Any) -> tuple[Params, State]:
        out_shape(shape)
        w_key, b_key = random.split(key, 2)
        return {"w": w_init(w_key, (shape[-1], units), dtype), "b": b_init(b_key, (units,), dtype)}, {}

    def apply(params: Params, state: State, x: Any, key: Any, train: bool) -> tuple[Any, State]:
        w, b = _param(params, "w"), _param(params, "b")
        _check_channels(x, w.shape[0])
        return nn.dense(x, w, b), state

    return Layer("Dense", apply, init, out_shape, text=f"Dense({units})")


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

    Params w (*window, C // groups, channels) and b (channels,). padding: "SAME" (ceil(n / stride) outputs),
    "VALID" (none), or one pair (before, after) for each dimension.

    >>> Conv(16, (3, 3), padding="VALID").out_shape((-1, 28, 28, 1))
    (-1, 26, 26, 16)
    """
    window = tuple(window)
    rank = len(window)
    strides, dilation = _per_axis("Conv", strides, rank), _per_axis("Conv", dilation, rank)

    def out_shape(shape: Shape) -> Shape:
        _check_rank(shape, rank)
        return (shape[0], *_slide(shape[1:-1], window, strides, padding, dilation), channels)

    def init(key: Any, shape: Shape, dtype: Any) -> tuple[Params, State]:
        out_shape(shape)
        if shape[-1] % groups or channels % groups:
            raise ShapeError(
                f"{groups} groups must divide input and output channels", got=f"{shape[-1]} and {channels}"
            )
        w_key, b_key = random.split(key, 2)
        w = w_init(w_key, (*window, shape[-1] // groups, channels), dtype)
        return {"w": w, "b": b_init(b_key, (channels,), dtype)}, {}

    def apply(params: Params, state: State, x: Any, key: Any, train: bool) -> tuple[Any, State]:
        w, b = _param(params, "w"), _param(params, "b")
        _check_rank(x.shape, rank)
        _check_channels(x, w.shape[-2] * groups)
        return nn.conv(x, w, strides, padding, dilation, groups) + b, state

    return Layer("Conv", apply, init, out_shape, text=f"Conv({channels}, {window})")


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
    spatial' is n * stride for padding "SAME" and (n - 1) * stride + window, less the padding, otherwise.

    >>> ConvTranspose(8, (2, 2), strides=2).out_shape((-1, 7, 7, 16))
    (-1, 14, 14, 8)
    """
    window = tuple(window)
    rank = len(window)
    strides = _per_axis("ConvTranspose", strides, rank)

    def out_shape(shape: Shape) -> Shape:
        _check_rank(shape, rank)
        if padding == "SAME":
            return (shape[0], *(n * s for n, s in zip(shape[1:-1], strides)), channels)
        spatial = zip(shape[1:-1], strides, window, _pads(padding, rank))
        return (shape[0], *((n - 1) * s + k - sum(pads) for n, s, k, pads in spatial), channels)

    def init(key: Any, shape: Shape, dtype: Any) -> tuple[Params, State]:
        out_shape(shape)
        w_key, b_key = random.split(key, 2)
        w = w_init(w_key, (*window, shape[-1], channels), dtype)  # so that the fans are those of this layer
        return {"w": np.swapaxes(w, -1, -2).copy(), "b": b_init(b_key, (channels,), dtype)}, {}

    def apply(params: Params, state: State, x: Any, key: Any, train: bool) -> tuple[Any, State]:
        w, b = _param(params, "w"), _param(params, "b")
        _check_rank(x.shape, rank)
        _check_channels(x, w.shape[-1])
        return nn.conv_transpose(x, w, strides, padding) + b, state

    return Layer("ConvTranspose", apply, init, out_shape, text=f"ConvTranspose({channels}, {window})")


def _pool(
    name: str, pool: Callable, window: Sequence[int], strides: int | Sequence[int] | None, padding: Padding
) -> Layer:
    window = tuple(window)
    rank = len(window)
    steps = window if strides is None else _per_axis(name, strides, rank)

    def out_shape(shape: Shape) -> Shape:
        _check_rank(shape, rank)
        return (shape[0], *_slide(shape[1:-1], window, steps, padding, (1,) * rank), shape[-1])

    def apply(params: Params, state: State, x: Any, key: Any, train: bool) -> tuple[Any, State]:
        out_shape(x.shape)
        return pool(x, window, steps, padding), state

    return Layer(name, apply, shape_fn=out_shape, text=f"{name}({window})")


def MaxPool(
    window: Sequence[int] = (2, 2), strides: int | Sequence[int] | None = None, padding: Padding = "VALID"
) -> Layer:
    """The largest element of each window; strides default to the window, so that windows tile the input.

    >>> MaxPool().apply({}, {}, np.arange(4.0).reshape(1, 2, 2, 1))[0]
    array([[[[3.]]]])
    """
    return _pool("MaxPool", nn.max_pool, window, strides, padding)


def AvgPool(
    window: Sequence[int] = (2, 2), strides: int | Sequence[int] | None = None, padding: Padding = "VALID"
) -> Layer:
    """The mean of each window; strides default to the window, so that windows tile the input.

    >>> AvgPool().apply({}, {}, np.arange(4.0).reshape(1, 2, 2, 1))[0]
    array([[[[1.5]]]])
    """
    return _pool("AvgPool", nn.avg_pool, window, strides, padding)


def BatchNorm(momentum: float = 0.9, eps: float = 1e-5) -> Layer:
    """y = scale (x - mean) / sqrt(var + eps) + bias, for each channel (last axis).

    In training mean and var are those of the batch, and state moves towards them,
    running <- momentum running + (1 - momentum) batch, the variance with the unbiased factor n / (n - 1).
    In evaluation they are the running ones. Params scale, bias and state mean, var have shape (channels,).
    Raises: ShapeError in training when there is one value per channel, whose variance says nothing.
    Source: Ioffe & Szegedy 2015, algorithms 1 and 2.

    >>> params, state = BatchNorm().init(random.key(0), (-1, 2), np.float64)
    >>> _, state = BatchNorm().apply(params, state, np.array([[0.0, 1.0], [2.0, 1.0]]), train=True)
    >>> state["mean"], state["var"]
    (array([0.1, 0.1]), array([1.1, 0.9]))
    """

    def init(key: Any, shape: Shape, dtype: Any) -> tuple[Params, State]:
        one, zero = np.ones(shape[-1:], dtype), np.zeros(shape[-1:], dtype)
        return {"scale": one, "bias": zero}, {"mean": zero.copy(), "var": one.copy()}

    def apply(params: Params, state: State, x: Any, key: Any, train: bool) -> tuple[Any, State]:
        scale, bias = _param(params, "scale"), _param(params, "bias")
        mean, var = _param(state, "mean"), _param(state, "var")
        _check_channels(x, scale.shape[0])
        if train:
            n = math.prod(x.shape[:-1])
            if n < 2:
                raise ShapeError(
                    "training needs at least two values per channel",
                    got=f"input {x.shape}",
                    fix="a larger batch; minibatches(..., drop_last=True) drops a short last one",
                )
            axes = tuple(range(x.ndim - 1))
            old_mean, old_var = mean, var
            mean, var = np.mean(x, axis=axes), np.var(x, axis=axes)
            state = {
                "mean": momentum * old_mean + (1 - momentum) * mean,
                "var": momentum * old_var + (1 - momentum) * n / (n - 1) * var,
            }
        return (x - mean) * (scale / np.sqrt(var + eps)) + bias, state

    return Layer("BatchNorm", apply, init, stateful=True, text="BatchNorm()")


def LayerNorm(eps: float = 1e-5) -> Layer:
    """y = scale (x - mean) / sqrt(var + eps) + bias, mean and variance over the last axis of each example.

    Source: Ba, Kiros & Hinton 2016.

    >>> LayerNorm(0.0).apply({"scale": np.ones(2), "bias": np.zeros(2)}, {}, np.array([[1.0, 3.0]]))[0]
    array([[-1.,  1.]])
    """

    def init(key: Any, shape: Shape, dtype: Any) -> tuple[Params, State]:
        return {"scale": np.ones(shape[-1:], dtype), "bias": np.zeros(shape[-1:], dtype)}, {}

    def apply(params: Params, state: State, x: Any, key: Any, train: bool) -> tuple[Any, State]:
        scale, bias = _param(params, "scale"), _param(params, "bias")
        _check_channels(x, scale.shape[0])
        centred = x - np.mean(x, axis=-1, keepdims=True)
        var = np.mean(np.square(centred), axis=-1, keepdims=True)
        return centred / np.sqrt(var + eps) * scale + bias, state

    return Layer("LayerNorm", apply, init, text="LayerNorm()")


# Shapes of sliding windows


def _slide(
    spatial: Shape, window: Shape, strides: Shape, padding: Padding, dilation: Shape
) -> tuple[int, ...]:
    """Number of window positions along each dimension."""
    if padding == "SAME":
        return tuple(-(-n // s) for n, s in zip(spatial, strides))
    pads = _pads(padding, len(window))
    spans = [(k - 1) * d + 1 for k, d in zip(window, dilation)]
    room = [n + before + after - span for n, (before, after), span in zip(spatial, pads, spans)]
    if min(room) < 0:
        raise ShapeError(
            f"a window that spans {tuple(spans)} does not fit",
            got=f"spatial shape {spatial} with padding {padding}",
            fix='padding="SAME", a smaller window, or fewer layers that shrink the input',
        )
    return tuple(r // s + 1 for r, s in zip(room, strides))


def _pads(padding: Padding, rank: int) -> Sequence[tuple[int, int]]:
    """Explicit padding as pairs (before, after)."""
    if padding == "VALID":
        return ((0, 0),) * rank
    if isinstance(padding, str) or len(padding) != rank or any(np.shape(pair) != (2,) for pair in padding):
        raise ShapeError(
            "padding",
            got=repr(padding),
            rule=f'it is "SAME", "VALID" or {rank} pairs (before, after), one for each axis of the window',
        )
    return padding


def _per_axis(name: str, value: int | Sequence[int], rank: int) -> tuple[int, ...]:
    values = (value,) * rank if isinstance(value, int) else tuple(value)
    if len(values) != rank:
        raise ShapeError(
            f"{name}: expected one number for each of the {rank} dimensions of the window", got=value
        )
    return values


def _check_rank(shape: Shape, rank: int) -> None:
    if len(shape) != rank + 2:
        axes = ", ".join(("N", *("depth", "height", "width")[-rank:], "C"))
        raise ShapeError(
            f"expected input ({axes}) for a window of {rank} dimensions",
            got=shape,
            fix="x[..., None] adds a channel axis",
        )


def _check_channels(x: Any, expected: int) -> None:
    if not x.shape or x.shape[-1] != expected:
        raise ShapeError(
            f"expected input (..., {expected})",
            got=x.shape,
            rule="the params were made for that many channels",
            fix="pass inputs of the shape that was given to init, or init anew",
        )


# Checks shared by layers


def _param(params: Params, name: str) -> Any:
    try:
        return params[name]
    except (KeyError, TypeError):
        keys = list(params) if isinstance(params, dict) else type(params).__name__
        raise TreeError(
            f"no {name!r} in its params or state",
            got=keys or "nothing",
            fix="pass what this net's init returned",
        ) from None
