"""Gathering and scattering by index arrays on leading axes; `fad.numpy.index` brings every NumPy index to this form.

Index arrays are arguments, broadcast against each other, one per leading axis of x. Out-of-range indices raise;
negative ones count from the end.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fad.core.expr import explained
from fad.core.lowering import Fold, Put
from fad.core.primitive import Joint, Linear, Primitive
from fad.primitives.elementwise import add
from fad.primitives.families import align, front, shape_of, structural

__all__ = ["gather", "scatter_add", "scatter_set"]

_KERNEL_SIZE = 1 << 14  # elements from which the parallel kernel beats np.add.at


def _index_shape(index: tuple) -> tuple:
    return np.broadcast_shapes(*map(shape_of, index))


def _with_batch_index(size: int, index: tuple, batched: tuple) -> tuple:
    """The index arrays behind an index that runs over the batch axis."""
    rank = max([len(shape_of(i)) - b for i, b in zip(index, batched, strict=True)], default=0)
    first = np.arange(size).reshape(size, *(1,) * rank)
    return first, *align(size, index, batched)


def _sample_index(rng: np.random.Generator, shape: tuple, dtype: Any) -> tuple:
    return rng.normal(size=(3, *shape)).astype(dtype), rng.integers(0, 3, (2, 2))


def _gather_batch(size: int, args: tuple, batched: tuple) -> Any:
    x, *index = args
    if batched[0]:
        return gather(x, *_with_batch_index(size, tuple(index), batched[1:]))
    return gather(x, *align(size, tuple(index), batched[1:]))


def _gather(x: Any, *index: Any) -> Any:
    try:
        return np.asarray(x)[index]
    except IndexError as error:
        raise explained(error, f"index: {error}", (x, *index)) from None


gather = structural(
    "gather",
    _gather,
    lambda x, *index: (_index_shape(index) + x.shape[len(index) :], x.dtype),
    Linear((lambda ct, x, *index: scatter_add(ct, *index, shape=x.shape),)),
    batch=_gather_batch,
    drops=True,
    keeps=tuple(range(1, 64)),
    sample=lambda rng, shape, dtype: (_sample_index(rng, shape, dtype), {}),
    role="gather",
)


# -- scatter_add: zeros of a shape with values added at the indices -----------------------------------------


def _scatter_add(values: Any, *index: Any, shape: tuple) -> Any:
    k = len(index)
    if prod(np.shape(values)) >= _KERNEL_SIZE and values.dtype.kind == "f" and values.dtype.itemsize >= 4:
        from fad.kernels.arrays import scatter_add as kernel

        _check_range(index, shape)
        flat = np.ravel_multi_index(
            tuple(np.where(i < 0, i + n, i) for i, n in zip(map(np.asarray, index), shape, strict=False)), shape[:k]
        ).reshape(-1)
        flat = np.broadcast_to(flat, (prod(_index_shape(index)),)) if flat.size == 1 else flat
        row = prod(shape[k:])
        return kernel((prod(shape[:k]), row), flat, np.reshape(values, (-1, row))).reshape(shape)
    out = np.zeros(shape, values.dtype)
    np.add.at(out, index, values)
    return out


def _check_range(index: tuple, shape: tuple) -> None:
    for axis, i in enumerate(index):
        i = np.asarray(i)
        if i.size and (i.min() < -shape[axis] or i.max() >= shape[axis]):
            raise IndexError(f"index out of bounds for axis {axis} with size {shape[axis]}")


def _scatter_add_batch(size: int, args: tuple, batched: tuple, *, shape: tuple) -> Any:
    values, *index = args
    return scatter_add(front(size, values, batched[0]), *_with_batch_index(size, tuple(index), batched[1:]), shape=(size, *shape))


scatter_add: Primitive = structural(
    "scatter_add",
    _scatter_add,
    lambda values, *index, shape: (shape, values.dtype),
    Linear((lambda ct, values, *index, shape: gather(ct, *index),)),
    batch=_scatter_add_batch,
    keeps=tuple(range(1, 64)),
    flops=lambda out, values, *index, shape: prod(values.shape),
    sample=lambda rng, shape, dtype: (
        (rng.normal(size=(2, 2, *shape)).astype(dtype), rng.integers(0, 3, (2, 2))),
        {"shape": (3, *shape)},
    ),
    role="scatter",
    lower=Fold(add, lambda dtype: 0),
    adds=True,
)


# -- scatter_set: x with values put at the indices; of several at one place the last stays ----------------------


def _scatter_set(x: Any, values: Any, *index: Any) -> Any:
    out = np.array(x, np.result_type(x, values))
    out[index] = values
    return out


def _set_push(tangents: dict, x: Any, values: Any, *index: Any) -> Any:
    dtype = next(iter(tangents.values())).dtype
    return scatter_set(*(tangents[i] if i in tangents else np.zeros(v.shape, dtype) for i, v in enumerate((x, values))), *index)


def _set_pull(ct: Any, active: list, x: Any, values: Any, *index: Any) -> list:
    return [
        scatter_set(ct, np.zeros(values.shape, ct.dtype), *index) if i == 0 else _winners(gather(ct, *index), x, index)
        for i in active
    ]


def _winners(ct: Any, x: Any, index: tuple) -> Any:
    """Zero where a later value overwrote this one."""
    shape = _index_shape(index)
    ids = np.arange(prod(shape)).reshape(shape)
    kept = gather(scatter_set(np.zeros(x.shape[: len(index)], ids.dtype), ids, *index), *index) == ids
    return np.where(np.reshape(kept, (*shape, *(1,) * (len(ct.shape) - len(shape)))), ct, 0)


def _scatter_set_batch(size: int, args: tuple, batched: tuple) -> Any:
    x, values, *index = args
    return scatter_set(
        front(size, x, batched[0]), front(size, values, batched[1]), *_with_batch_index(size, tuple(index), batched[2:])
    )


def _sample_set(rng: np.random.Generator, shape: tuple, dtype: Any) -> tuple:
    x, index = _sample_index(rng, shape, dtype)
    return (x, rng.normal(size=(2, 2, *shape)).astype(dtype), index), {}


scatter_set = structural(
    "scatter_set",
    _scatter_set,
    lambda x, values, *index: (x.shape, np.result_type(x.dtype, values.dtype)),
    Joint(_set_push, _set_pull),
    batch=_scatter_set_batch,
    selects=True,
    sample=_sample_set,
    role="scatter",
    lower=Put(),
)
