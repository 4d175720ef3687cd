"""The dense layer x W + b as one primitive, so that bias and product are one kernel."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fad.core.primitive import Linear
from fad.primitives.families import structural
from fad.primitives.linalg import matmul

__all__ = ["dense"]


def _evaluate(x: Any, w: Any, b: Any) -> Any:
    from fad.kernels.arrays import dense

    return dense(x, w, b)


def _abstract(x: Any, w: Any, b: Any) -> tuple:
    return (x.shape[0], w.shape[1]), np.result_type(x.dtype, w.dtype, b.dtype)


def _batch(size: int, args: tuple, batched: tuple) -> Any:
    x, w, b = args
    if batched == (True, False, False):
        out = dense(np.reshape(x, (size * x.shape[1], x.shape[2])), w, b)
        return np.reshape(out, (size, x.shape[1], w.shape[1]))
    return matmul(x, w) + (np.expand_dims(b, 1) if batched[2] else b)


def _sample(rng: np.random.Generator, shape: tuple, dtype: Any) -> tuple:
    n = shape[0] if shape else 2
    return tuple(rng.normal(size=s).astype(dtype) for s in ((n, 3), (3, 4), (4,))), {}


dense = structural(
    "dense",
    _evaluate,
    _abstract,
    Linear(
        (
            lambda ct, x, w, b: matmul(ct, np.transpose(w)),
            lambda ct, x, w, b: matmul(np.transpose(x), ct),
            lambda ct, x, w, b: np.sum(ct, axis=0),
        ),
        push=(
            lambda t, x, w, b: matmul(t, w),
            lambda t, x, w, b: matmul(x, t),
            lambda t, x, w, b: np.broadcast_to(t, (x.shape[0], w.shape[1])),
        ),
    ),
    batch=_batch,
    keeps=(0, 1),
    flops=lambda out, x, w, b: 2 * prod(out.shape) * x.shape[1],
    sample=_sample,
    role="contraction",
    adds=True,
)
