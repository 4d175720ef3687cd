"""Pooling over 1, 2 or 3 spatial axes, channels last: x (N, *spatial, C).

`max_pool` reads the first maximum of each window of x. `max_pool_push` reads another array there and `max_pool_grad` adds to
it: they are linear in their second argument and each other's transposes, so every order is covered.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fad.core.primitive import Jvp, Kink, Linear, Primitive
from fad.primitives.families import front, structural

__all__ = ["max_pool", "max_pool_grad", "max_pool_push", "sum_pool", "sum_pool_grad"]


def _max_pool(x: Any, **geometry: Any) -> Any:
    from fad.kernels.nets import max_pool

    return max_pool(x, **geometry)


def _max_pool_push(x: Any, t: Any, **geometry: Any) -> Any:
    from fad.kernels.nets import max_pool_push

    return max_pool_push(x, t, **geometry)


def _max_pool_grad(x: Any, g: Any, **geometry: Any) -> Any:
    from fad.kernels.nets import max_pool_grad

    return max_pool_grad(x, g, **geometry)


def _sum_pool(x: Any, **geometry: Any) -> Any:
    from fad.kernels.nets import sum_pool

    return sum_pool(x, **geometry)


def _sum_pool_grad(g: Any, **geometry: Any) -> Any:
    from fad.kernels.nets import sum_pool_grad

    return sum_pool_grad(g, **geometry)


# -- shapes -------------------------------------------------------------------------------------------------------


def _windows(shape: tuple, window: tuple, strides: tuple, padding: tuple) -> Any:
    from fad.kernels.windows import Windows

    return Windows(tuple(shape[1:-1]), window, strides, padding, (1,) * len(window))


def _max_shape(x: Any, *args: Any, **geometry: Any) -> tuple:
    return x.shape[0], *_windows(x.shape, **geometry).for_maxima().output, x.shape[-1]


def _sum_shape(x: Any, **geometry: Any) -> tuple:
    return x.shape[0], *_windows(x.shape, **geometry).output, x.shape[-1]


def _flops(windows: Any, window: tuple) -> int:
    return prod(windows.shape) * prod(window)


# -- batches: the batch axis is merged into the axis of examples --------------------------------------------------------


def _fold(size: int, x: Any, is_batched: bool) -> Any:
    x = front(size, x, is_batched)
    return np.reshape(x, (size * x.shape[1], *x.shape[2:]))


def _batch_of(op: Any) -> Any:
    def batch(size: int, args: tuple, batched: tuple, **geometry: Any) -> Any:
        out = op()(*(_fold(size, x, b) for x, b in zip(args, batched, strict=True)), **geometry)
        return np.reshape(out, (size, args[0].shape[1 if batched[0] else 0], *out.shape[1:]))

    return batch


def _sum_pool_grad_batch(size: int, args: tuple, batched: tuple, *, input_shape: tuple, **geometry: Any) -> Any:
    out = sum_pool_grad(_fold(size, args[0], True), input_shape=(size * input_shape[0], *input_shape[1:]), **geometry)
    return np.reshape(out, (size, *input_shape))


# -- samples --------------------------------------------------------------------------------------------------------------


def _sample(rng: np.random.Generator, shape: tuple, dtype: Any) -> tuple:
    """Elements well apart, so that no difference meets a tie."""
    spatial = min(max(len(shape), 1), 3)
    size = (2, *(4,) * spatial, 3)
    x = (rng.permutation(prod(size)).reshape(size) / 8).astype(dtype)
    return (x,), {"window": (2,) * spatial, "strides": (2,) + (1,) * (spatial - 1), "padding": ((0, 1),) * spatial}


def _sample_push(rng: np.random.Generator, shape: tuple, dtype: Any) -> tuple:
    (x,), geometry = _sample(rng, shape, dtype)
    return (x, rng.normal(size=x.shape).astype(dtype)), geometry


def _sample_grad(rng: np.random.Generator, shape: tuple, dtype: Any) -> tuple:
    (x,), geometry = _sample(rng, shape, dtype)
    return (x, rng.normal(size=_sum_shape(x, **geometry)).astype(dtype)), geometry


def _sample_sum_grad(rng: np.random.Generator, shape: tuple, dtype: Any) -> tuple:
    (x, g), geometry = _sample_grad(rng, shape, dtype)
    return (g,), {"input_shape": x.shape, **geometry}


# -- the primitives -----------------------------------------------------------------------------------------------------

max_pool: Primitive = structural(
    "max_pool",
    _max_pool,
    lambda x, **geometry: (_max_shape(x, **geometry), x.dtype),
    Jvp(lambda tangents, out, x, **geometry: max_pool_push(x, tangents[0], **geometry)),
    flops=lambda out, x, *, window, **geometry: _flops(out, window),
    sample=_sample,
    batch=_batch_of(lambda: max_pool),
    selects=True,
    keeps_out=False,
    kinks=(Kink("ties in a window", "1 for the first of them", "one element is read"),),
    role="kernel",
    real_only=True,
)
max_pool_push: Primitive = structural(
    "max_pool_push",
    _max_pool_push,
    lambda x, t, **geometry: (_max_shape(x, **geometry), t.dtype),
    Linear((None, lambda ct, x, t, **geometry: max_pool_grad(x, ct, **geometry))),
    flops=lambda out, x, t, *, window, **geometry: _flops(out, window),
    sample=_sample_push,
    batch=_batch_of(lambda: max_pool_push),
    selects=True,
    keeps=(0,),
    role="kernel",
    real_only=True,
)
max_pool_grad: Primitive = structural(
    "max_pool_grad",
    _max_pool_grad,
    lambda x, g, **geometry: (x.shape, g.dtype),
    Linear((None, lambda ct, x, g, **geometry: max_pool_push(x, ct, **geometry))),
    flops=lambda out, x, g, *, window, **geometry: _flops(g, window),
    sample=_sample_grad,
    batch=_batch_of(lambda: max_pool_grad),
    keeps=(0,),
    role="kernel",
    real_only=True,
)
sum_pool: Primitive = structural(
    "sum_pool",
    _sum_pool,
    lambda x, **geometry: (_sum_shape(x, **geometry), x.dtype),
    Linear((lambda ct, x, **geometry: sum_pool_grad(ct, input_shape=x.shape, **geometry),)),
    flops=lambda out, x, *, window, **geometry: _flops(out, window),
    sample=_sample,
    batch=_batch_of(lambda: sum_pool),
    keeps=(),
    role="kernel",
    real_only=True,
    adds=True,
)
sum_pool_grad: Primitive = structural(
    "sum_pool_grad",
    _sum_pool_grad,
    lambda g, *, input_shape, **geometry: (input_shape, g.dtype),
    Linear((lambda ct, g, *, input_shape, **geometry: sum_pool(ct, **geometry),)),
    flops=lambda out, g, *, window, **geometry: _flops(g, window),
    sample=_sample_sum_grad,
    batch=_sum_pool_grad_batch,
    keeps=(),
    role="kernel",
    real_only=True,
    adds=True,
)
