"""Pooling over 1, 2 or 3 spatial axes, channels last: x (N, *spatial, C).

`max_pool` reads the first maximum of each window of x. `max_pool_push` reads another array there and `max_pool_grad` adds to
it: they are linear in their second argument and each other's transposes, so every order is covered.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fad.primitive import Jvp, Kink, Linear
from fad.primitives.families import front, structural

__all__ = ["max_pool", "max_pool_grad", "max_pool_push", "sum_pool", "sum_pool_grad"]


def _max_pool(x: Any, **geometry: Any) -> Any:
    from fad.kernels.pool import max_pool

    return max_pool(x, **geometry)


def _max_pool_push(x: Any, t: Any, **geometry: Any) -> Any:
    from fad.kernels.pool import max_pool_push

    return max_pool_push(x, t, **geometry)


def _max_pool_grad(x: Any, g: Any, **geometry: Any) -> Any:
    from fad.kernels.pool import max_pool_grad

    return max_pool_grad(x, g, **geometry)


def _sum_pool(x: Any, **geometry: Any) -> Any:
    from fad.kernels.pool import sum_pool

    return sum_pool(x, **geometry)


def _sum_pool_grad(g: Any, **geometry: Any) -> Any:
    from fad.kernels.pool import sum_pool_grad

    return sum_pool_grad(g, **geometry)


# -- shapes -------------------------------------------------------------------------------------------------------


def _sum_shape(x: Any, *, window: tuple, strides: tuple, padding: tuple) -> tuple:
    from fad.kernels.geometry import Windows

    windows = Windows(x.shape[1:-1], window, strides, padding, (1,) * len(window))
    return x.shape[0], *windows.output, x.shape[-1]


def _max_shape(x: Any, **geometry: Any) -> tuple:
    from fad.kernels.geometry import output_of_max

    return output_of_max(x.shape, **geometry)


def _pool_flops(out: Any, x: Any, *args: Any, window: tuple, **geometry: Any) -> int:
    return prod(out.shape) * prod(window)


def _grad_flops(out: Any, *args: Any, window: tuple, **geometry: Any) -> int:
    return prod(args[-1].shape) * prod(window)


# -- batches: the batch axis is merged into the axis of examples --------------------------------------------------------


def _folded(size: int, args: tuple, batched: tuple) -> list:
    whole = [front(size, x, b) for x, b in zip(args, batched, strict=True)]
    return [np.reshape(x, (size * x.shape[1], *x.shape[2:])) for x in whole]


def _unfolded(size: int, out: Any) -> Any:
    return np.reshape(out, (size, out.shape[0] // size, *out.shape[1:]))


def _batch_of(primitive: Any) -> Any:
    def batch(size: int, args: tuple, batched: tuple, **geometry: Any) -> Any:
        if size == 0:
            return _no_examples(primitive(), args, batched, geometry)
        return _unfolded(size, primitive()(*_folded(size, args, batched), **geometry))

    return batch


def _sum_pool_grad_batch(size: int, args: tuple, batched: tuple, *, input_shape: tuple, **geometry: Any) -> Any:
    out = sum_pool_grad(*_folded(size, args, batched), input_shape=(size * input_shape[0], *input_shape[1:]), **geometry)
    return np.reshape(out, (size, *input_shape))


# -- samples --------------------------------------------------------------------------------------------------------------


def _sample_pool(rng: np.random.Generator, shape: tuple, dtype: Any) -> tuple:
    spatial = min(max(len(shape), 1), 3)
    return (rng.normal(size=(2, *(5,) * spatial, 3)).astype(dtype),), {
        "window": (2,) * spatial, "strides": (2,) + (1,) * (spatial - 1), "padding": ((0, 1),) * spatial}
