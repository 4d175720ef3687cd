"""Primitives that move elements without changing them: all linear, each the transpose of another."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fad.core.lowering import Mask, View
from fad.core.primitive import Joint, Linear, Primitive
from fad.primitives.families import front, structural
from fad.primitives.maps import broadcast_map, concatenate_parts, embed_parts, index_map, reshape_map, transpose_map

__all__ = ["alias", "reshape", "transpose", "broadcast_to", "concatenate", "getitem", "embed"]


def _array(rng: np.random.Generator, shape: tuple, dtype: Any) -> np.ndarray:
    return rng.normal(size=shape).astype(dtype)


def _reshape_abstract(x: Any, *, shape: tuple) -> tuple:
    if prod(shape) != prod(x.shape):
        raise ValueError(f"cannot reshape {x.shape} ({prod(x.shape)} elements) into {shape} ({prod(shape)})")
    return shape, x.dtype


reshape: Primitive = structural(
    "reshape",
    lambda x, *, shape: np.reshape(x, shape),
    _reshape_abstract,
    Linear((lambda ct, x, *, shape: np.reshape(ct, x.shape),)),
    keeps=(),
    batch=lambda size, args, batched, *, shape: reshape(args[0], shape=(size, *shape)),
    sample=lambda rng, shape, dtype: ((_array(rng, shape, dtype),), {"shape": (prod(shape), 1)}),
    role="view",
    lower=View(reshape_map, in_order=True),
)

transpose: Primitive = structural(
    "transpose",
    lambda x, *, axes: np.transpose(x, axes),
    lambda x, *, axes: (tuple(x.shape[a] for a in axes), x.dtype),
    Linear((lambda ct, x, *, axes: np.transpose(ct, tuple(int(a) for a in np.argsort(axes))),)),
    keeps=(),
    batch=lambda size, args, batched, *, axes: transpose(args[0], axes=(0, *(a + 1 for a in axes))),
    sample=lambda rng, shape, dtype: ((_array(rng, shape, dtype),), {"axes": tuple(int(a) for a in rng.permutation(len(shape)))}),
    role="view",
    lower=View(transpose_map),
)


def _broadcast_abstract(x: Any, *, shape: tuple) -> tuple:
    if np.broadcast_shapes(x.shape, shape) != shape:
        raise ValueError(f"cannot broadcast {x.shape} to {shape}")
    return shape, x.dtype


def _broadcast_transpose(ct: Any, x: Any, *, shape: tuple) -> Any:
    lead = len(shape) - len(x.shape)
    axes = (*range(lead), *(i + lead for i, s in enumerate(x.shape) if s == 1 and shape[i + lead] != 1))
    return np.reshape(np.sum(ct, axis=axes), x.shape)


def _broadcast_batch(size: int, args: tuple, batched: tuple, *, shape: tuple) -> Any:
    x = args[0]
    x = np.reshape(x, (size, *(1,) * (len(shape) + 1 - len(x.shape)), *x.shape[1:]))
    return broadcast_to(x, shape=(size, *shape))


broadcast_to = structural(
    "broadcast_to",
    lambda x, *, shape: np.broadcast_to(x, shape),
    _broadcast_abstract,
    Linear((_broadcast_transpose,)),
    keeps=(),
    batch=_broadcast_batch,
    sample=lambda rng, shape, dtype: ((_array(rng, (1, *shape[1:]) if shape else (), dtype),), {"shape": (2, *shape)}),
    role="view",
    lower=View(broadcast_map),
)


def _concatenate_abstract(*xs: Any, axis: int) -> tuple:
    first = xs[0].shape
    for x in xs[1:]:
        if len(x.shape) != len(first) or any(a != b for i, (a, b) in enumerate(zip(x.shape, first, strict=True)) if i != axis):
            raise ValueError(f"shapes {first} and {x.shape} differ outside axis {axis}")
    return (*first[:axis], sum(x.shape[axis] for x in xs), *first[axis + 1 :]), np.result_type(*(x.dtype for x in xs))


def _concatenate_push(tangents: dict, *xs: Any, axis: int) -> Any:
    dtype = next(iter(tangents.values())).dtype
    return concatenate(*(tangents[i] if i in tangents else np.zeros(x.shape, dtype) for i, x in enumerate(xs)), axis=axis)


def _concatenate_pull(ct: Any, active: list, *xs: Any, axis: int) -> list:
    ends = np.cumsum([x.shape[axis] for x in xs]).tolist()
    before = (slice(None),) * axis
    return [ct[(*before, slice(ends[i] - xs[i].shape[axis], ends[i]))] for i in active]


def _concatenate_batch(size: int, args: tuple, batched: tuple, *, axis: int) -> Any:
    return concatenate(*(front(size, x, b) for x, b in zip(args, batched, strict=True)), axis=axis + 1)


concatenate = structural(
    "concatenate",
    lambda *xs, axis: np.concatenate(xs, axis),
    _concatenate_abstract,
    Joint(_concatenate_push, _concatenate_pull),
    keeps=(),
    batch=_concatenate_batch,
    sample=lambda rng, shape, dtype: ((_array(rng, (2, *shape), dtype), _array(rng, (1, *shape), dtype)), {"axis": 0}),
    role="mask",
    lower=Mask(concatenate_parts),
)


# -- basic indexing --------------------------------------------------------------------------------------


def _index_shape(shape: tuple, index: tuple) -> tuple:
    return np.broadcast_to(np.empty((), bool), shape)[index].shape


def _embed(x: Any, *, index: tuple, shape: tuple) -> Any:
    out = np.zeros(shape, x.dtype)
    out[index] = x
    return out


def _embed_abstract(x: Any, *, index: tuple, shape: tuple) -> tuple:
    return shape, x.dtype


_ALL = slice(None)
_INDEX = (slice(1, None, 2), Ellipsis)

getitem: Primitive = structural(
    "getitem",
    lambda x, *, index: np.asarray(x)[index],
    lambda x, *, index: (_index_shape(x.shape, index), x.dtype),
    Linear((lambda ct, x, *, index: embed(ct, index=index, shape=x.shape),)),
    drops=True,
    keeps=(),
    batch=lambda size, args, batched, *, index: getitem(args[0], index=(_ALL, *index)),
    sample=lambda rng, shape, dtype: ((_array(rng, (3, *shape), dtype),), {"index": _INDEX}),
    role="view",
    lower=View(index_map),
)

embed: Primitive = structural(
    "embed",
    _embed,
    _embed_abstract,
    Linear((lambda ct, x, *, index, shape: getitem(ct, index=index),)),
    keeps=(),
    batch=lambda size, args, batched, *, index, shape: embed(args[0], index=(_ALL, *index), shape=(size, *shape)),
    sample=lambda rng, shape, dtype: ((_array(rng, (1, *shape), dtype),), {"index": _INDEX, "shape": (3, *shape)}),
    role="mask",
    lower=Mask(embed_parts),
)


# -- names ---------------------------------------------------------------------------------------------------

alias = structural(
    "alias",
    lambda x: x,
    lambda x: (x.shape, x.dtype),
    Linear((lambda ct, x: ct,), push=(lambda t, x: t,)),
    batch=lambda size, args, batched: args[0],
    source="the argument of a transformation: a name for it that is new",
)
