"""Convolution over 1, 2 or 3 spatial axes, channels last: x (N, *spatial, C), w (*window, C / groups, O).

Convolution, its gradient by input and its gradient by weights are three faces of one trilinear form
T(x, w, g) = sum g * conv(x, w), so the transposes of each are the other two and every order is covered.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fad.core.primitive import Linear, Primitive
from fad.kernels.windows import output_size
from fad.primitives.families import batch_by_loop, structural

__all__ = ["conv", "conv_input_grad", "conv_weight_grad"]


# -- the three faces of convolution ---------------------------------------------------------------------------


def _conv(x: Any, w: Any, **geometry: Any) -> Any:
    from fad.kernels.nets import conv

    return conv(x, w, **geometry)


def _conv_input_grad(g: Any, w: Any, **geometry: Any) -> Any:
    from fad.kernels.nets import conv_input_grad

    return conv_input_grad(g, w, **geometry)


def _conv_weight_grad(x: Any, g: Any, **geometry: Any) -> Any:
    from fad.kernels.nets import conv_weight_grad

    return conv_weight_grad(x, g, **geometry)


def _conv_abstract(x: Any, w: Any, *, strides: tuple, padding: tuple, dilation: tuple, groups: int) -> tuple:
    spatial = output_size(x.shape[1:-1], w.shape[:-2], strides, padding, dilation)
    return (x.shape[0], *spatial, w.shape[-1]), np.result_type(x.dtype, w.dtype)


def _window(w: Any) -> tuple:
    return w.shape[:-2]


def _by_input(ct: Any, x: Any, w: Any, **geometry: Any) -> Any:
    return conv_input_grad(ct, w, input_shape=x.shape, **geometry)


def _by_weights(ct: Any, x: Any, w: Any, **geometry: Any) -> Any:
    return conv_weight_grad(x, ct, window=_window(w), **geometry)


def _conv_flops(out: Any, x: Any, w: Any, **geometry: Any) -> int:
    return 2 * prod(out.shape) * prod(w.shape[:-1])


def _fold(x: Any) -> Any:
    """The batch axis merged into the axis of examples."""
    return np.reshape(x, (x.shape[0] * x.shape[1], *x.shape[2:]))


def _conv_batch(size: int, args: tuple, batched: tuple, **geometry: Any) -> Any:
    if batched[1] or size == 0:
        return _conv_loop(size, args, batched, **geometry)
    out = conv(_fold(args[0]), args[1], **geometry)
    return np.reshape(out, (size, args[0].shape[1], *out.shape[1:]))


def _input_grad_batch(size: int, args: tuple, batched: tuple, *, input_shape: tuple, **geometry: Any) -> Any:
    if batched[1] or size == 0:
        return _input_grad_loop(size, args, batched, input_shape=input_shape, **geometry)
    out = conv_input_grad(_fold(args[0]), args[1], input_shape=(size * input_shape[0], *input_shape[1:]), **geometry)
    return np.reshape(out, (size, *input_shape))


def _geometry(spatial: int) -> dict:
    return {
        "strides": (2,) + (1,) * (spatial - 1),
        "padding": ((1, 0),) * spatial,
        "dilation": (1,) * (spatial - 1) + (2,),
        "groups": 2,
    }


def _sample_conv(rng: np.random.Generator, shape: tuple, dtype: Any) -> tuple:
    spatial = min(max(len(shape), 1), 3)
    x = rng.normal(size=(2, *(5,) * spatial, 4)).astype(dtype)
    return (x, rng.normal(size=(*(2,) * spatial, 2, 6)).astype(dtype)), _geometry(spatial)


def _sample_output(rng: np.random.Generator, shape: tuple, dtype: Any) -> tuple:
    (x, w), geometry = _sample_conv(rng, shape, dtype)
    out_shape, _ = _conv_abstract(x, w, **geometry)
    return x, w, rng.normal(size=out_shape).astype(dtype), geometry


def _sample_input_grad(rng: np.random.Generator, shape: tuple, dtype: Any) -> tuple:
    x, w, g, geometry = _sample_output(rng, shape, dtype)
    return (g, w), {"input_shape": x.shape, **geometry}


def _sample_weight_grad(rng: np.random.Generator, shape: tuple, dtype: Any) -> tuple:
    x, w, g, geometry = _sample_output(rng, shape, dtype)
    return (x, g), {"window": _window(w), **geometry}


conv = structural(
    "conv",
    _conv,
    _conv_abstract,
    Linear((_by_input, _by_weights)),
    flops=_conv_flops,
    sample=_sample_conv,
    batch=_conv_batch,
    source="cross-correlation, as in every net library",
    role="kernel",
    real_only=True,
    adds=True,
)
conv_input_grad = structural(
    "conv_input_grad",
    _conv_input_grad,
    lambda g, w, *, input_shape, **geometry: (input_shape, np.result_type(g.dtype, w.dtype)),
    Linear(
        (
            lambda ct, g, w, *, input_shape, **geometry: conv(ct, w, **geometry),
            lambda ct, g, w, *, input_shape, **geometry: conv_weight_grad(ct, g, window=_window(w), **geometry),
        )
    ),
    flops=lambda out, g, w, **geometry: 2 * prod(g.shape) * prod(w.shape[:-1]),
    sample=_sample_input_grad,
    batch=_input_grad_batch,
    role="kernel",
    real_only=True,
    adds=True,
)
conv_weight_grad: Primitive = structural(
    "conv_weight_grad",
    _conv_weight_grad,
    lambda x, g, *, window, groups, **geometry: ((*window, x.shape[-1] // groups, g.shape[-1]), np.result_type(x.dtype, g.dtype)),
    Linear(
        (
            lambda ct, x, g, *, window, **geometry: conv_input_grad(g, ct, input_shape=x.shape, **geometry),
            lambda ct, x, g, *, window, **geometry: conv(x, ct, **geometry),
        )
    ),
    flops=lambda out, x, g, **geometry: 2 * prod(g.shape) * prod(out.shape[:-1]),
    sample=_sample_weight_grad,
    role="kernel",
    real_only=True,
    adds=True,
)
_conv_loop = batch_by_loop(lambda: conv)
_input_grad_loop = batch_by_loop(lambda: conv_input_grad)
