"""Joining, splitting and repeating arrays."""

from __future__ import annotations

import operator
from itertools import pairwise
from typing import Any

import numpy as np

from fad.core.expr import concrete, short
from fad.errors import DtypeError, ShapeError
from fad.numpy.dispatch import as_array, axes_of, axis_of, implements, no_out
from fad.numpy.memory import copied, view
from fad.numpy.shape import atleast_1d, atleast_2d, atleast_3d, ravel, reshaped
from fad.primitives import shape as primitives
from fad.primitives.elementwise import cast

__all__ = [
    "concatenate",
    "concat",
    "stack",
    "vstack",
    "hstack",
    "dstack",
    "column_stack",
    "append",
    "split",
    "array_split",
    "hsplit",
    "vsplit",
    "dsplit",
    "unstack",
    "block",
    "tile",
    "repeat",
    "roll",
    "insert",
    "delete",
]


@implements(np.concatenate)
def concatenate(arrays: Any, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: Any = "same_kind") -> Any:
    """The arrays one after another along an axis; flattened first where it is None."""
    no_out(out)
    xs = [as_array(x) for x in arrays]
    if not xs:
        raise ShapeError("nothing to concatenate", got=arrays, rule="one array at least", fix="np.zeros((0, ...))")
    if dtype is not None:
        for x in xs:
            if not np.can_cast(x.dtype, dtype, casting):
                raise DtypeError(
                    "concatenate: no such cast",
                    got=f"{short(x)} to {np.dtype(dtype)}",
                    rule=f"casting={casting!r}",
                    fix="casting='unsafe', or astype before it",
                )
        xs = [cast(x, np.dtype(dtype)) for x in xs]
    if axis is None:
        xs, axis = [ravel(x) for x in xs], 0
    if xs[0].ndim == 0:
        raise ShapeError("concatenate: scalars have no axis", got=short(xs[0]), rule="one axis at least", fix="np.stack")
    return copied(xs[0]) if len(xs) == 1 else primitives.concatenate(*xs, axis=axis_of(axis, xs[0].ndim))


concat = concatenate


@implements(np.stack)
def stack(arrays: Any, axis: int = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    """Arrays of one shape along a new axis."""
    no_out(out)
    xs = [as_array(x) for x in arrays]
    if not xs or any(x.shape != xs[0].shape for x in xs):
        raise ShapeError(
            "stack: the shapes differ",
            got=", ".join(map(short, xs)) or "no arrays",
            rule="all arrays to be stacked have one shape",
            fix="np.broadcast_arrays, or np.concatenate",
        )
    shape = xs[0].shape
    axis = axis_of(axis, len(shape) + 1)
    rows = [reshaped(x, (*shape[:axis], 1, *shape[axis:])) for x in xs]
    return concatenate(rows, axis, dtype=dtype, casting=casting)


@implements(np.vstack)
def vstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    """Rows and matrices below one another."""
    return concatenate([atleast_2d(x) for x in tup], 0, dtype=dtype, casting=casting)


@implements(np.hstack)
def hstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    """Arrays side by side: along the second axis, rows along their only one."""
    xs = [atleast_1d(x) for x in tup]
    return concatenate(xs, 0 if xs[0].ndim == 1 else 1, dtype=dtype, casting=casting)


@implements(np.dstack)
def dstack(tup: Any) -> Any:
    """Arrays along the third axis."""
    return concatenate([atleast_3d(x) for x in tup], 2)


@implements(np.column_stack)
def column_stack(tup: Any) -> Any:
    """Rows as the columns of a matrix."""
    xs = [as_array(x) for x in tup]
    return concatenate([x if x.ndim > 1 else reshaped(x, (x.size, 1)) for x in xs], 1)


@implements(np.append)
def append(arr: Any, values: Any, axis: Any = None) -> Any:
    """``values`` after ``arr``."""
    return concatenate((arr, values), axis)


@implements(np.block)
def block(arrays: Any) -> Any:
    """An array from nested lists of blocks: the innermost lists along the last axis."""

    def depth_of(items: Any) -> int:
        return 1 + max(map(depth_of, items)) if isinstance(items, list) else 0

    def joined(items: Any, depth: int) -> Any:
        if not isinstance(items, list):
            x = as_array(items)
            return reshaped(x, (1,) * (ndim - x.ndim) + x.shape)
        return concatenate([joined(item, depth - 1) for item in items], -depth)

    def leaves(items: Any) -> list:
        if isinstance(items, list):
            return [leaf for item in items for leaf in leaves(item)]
        return [as_array(items)]

    depth = depth_of(arrays)
    ndim = max(depth, *(x.ndim for x in leaves(arrays)))
    return joined(arrays, depth)


# -- splitting -------------------------------------------------------------------------------------


@implements(np.array_split)
def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list:
    """Parts of nearly equal length, or between the given indices."""
    x = as_array(ary)
    axis = axis_of(axis, x.ndim)
    n = x.shape[axis]
    if isinstance(indices_or_sections, tuple | list | np.ndarray):
        bounds = [0, *map(operator.index, indices_or_sections), n]
    else:
        sections = operator.index(indices_or_sections)
        if sections <= 0:
            raise ShapeError("split into no parts", got=sections, rule="one part at least", fix="a positive number")
        each, extra = divmod(n, sections)
        bounds = [i * each + min(i, extra) for i in range(sections + 1)]
    lead = (slice(None),) * axis
    return [view(primitives.getitem(x, index=(*lead, slice(a, b))), x) for a, b in pairwise(bounds)]


@implements(np.split)
def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list:
    """Parts of equal length, or between the given indices."""
    x = as_array(ary)
    if not isinstance(indices_or_sections, tuple | list | np.ndarray) and x.shape[axis] % indices_or_sections:
        raise ShapeError(
            "split: the parts are not equal",
            got=f"{x.shape[axis]} into {indices_or_sections}",
            rule="the number of parts divides the length",
            fix="np.array_split",
        )
    return array_split(x, indices_or_sections, axis)


@implements(np.hsplit)
def hsplit(ary: Any, indices_or_sections: Any) -> list:
    """`split` along the second axis, rows along their only one."""
    x = as_array(ary)
    return split(x, indices_or_sections, 1 if x.ndim > 1 else 0)


@implements(np.vsplit)
def vsplit(ary: Any, indices_or_sections: Any) -> list:
    """`split` along the first axis."""
    return split(ary, indices_or_sections, 0)


@implements(np.dsplit)
def dsplit(ary: Any, indices_or_sections: Any) -> list:
    """`split` along the third axis."""
    return split(ary, indices_or_sections, 2)


@implements(getattr(np, "unstack", None))
def unstack(x: Any, /, *, axis: int = 0) -> tuple:
    """The parts along an axis, without it."""
    return tuple(np.moveaxis(as_array(x), axis, 0))


# -- repeating -------------------------------------------------------------------------------------


@implements(np.tile)
def tile(A: Any, reps: Any) -> Any:
    """The array laid side by side ``reps`` times along each axis."""
    x = as_array(A)
    reps = tuple(map(operator.index, np.atleast_1d(concrete(reps, "np.tile's reps"))))
    ndim = max(len(reps), x.ndim)
    shape, reps = (1,) * (ndim - x.ndim) + x.shape, (1,) * (ndim - len(reps)) + reps
    if all(r == 1 for r in reps):
        return copied(reshaped(x, shape))
    pairs = tuple(n for s in shape for n in (1, s))
    repeats = tuple(n for r, s in zip(reps, shape, strict=True) for n in (r, s))
    return reshaped(np.broadcast_to(reshaped(x, pairs), repeats), tuple(r * s for r, s in zip(reps, shape, strict=True)))


@implements(np.repeat)
def repeat(a: Any, repeats: Any, axis: Any = None) -> Any:
    """Each element ``repeats`` times in place; ``repeats`` may be one number per element."""
    x = as_array(a)
    if axis is None:
        x, axis = ravel(x), 0
    axis = axis_of(axis, x.ndim)
    counts = np.asarray(concrete(repeats, "np.repeat's repeats"))
    if counts.size != 1:
        return np.take(x, np.repeat(np.arange(x.shape[axis]), counts), axis)
    n, before, after = int(counts.reshape(())), x.shape[: axis + 1], x.shape[axis + 1 :]
    return reshaped(
        np.broadcast_to(reshaped(x, (*before, 1, *after)), (*before, n, *after)), (*before[:-1], before[-1] * n, *after)
    )


@implements(np.roll)
def roll(a: Any, shift: Any, axis: Any = None) -> Any:
    """Elements moved by ``shift``, those pushed out coming back in front; by default of the row of all."""
    x = as_array(a)
    if axis is None:
        return reshaped(roll(ravel(x), shift, 0), x.shape)
    shifts, axes = np.broadcast_arrays(np.asarray(concrete(shift, "np.roll's shift")), np.asarray(axis))
    for step, i in zip(shifts.ravel(), axes.ravel(), strict=True):
        i = axis_of(i, x.ndim)
        n = x.shape[i]
        step = int(step) % n if n else 0
        if step:
            lead = (slice(None),) * i
            x = primitives.concatenate(
                primitives.getitem(x, index=(*lead, slice(n - step, None))),
                primitives.getitem(x, index=(*lead, slice(None, n - step))),
                axis=i,
            )
    return x if x is not a else copied(x)


# -- inserting and deleting, at places known while tracing -----------------------------------------


@implements(np.delete)
def delete(arr: Any, obj: Any, axis: Any = None) -> Any:
    """Without the elements at ``obj``, which is a number, a slice, a list or a mask."""
    x = as_array(arr)
    if axis is None:
        x, axis = ravel(x), 0
    axis = axis_of(axis, x.ndim)
    return np.take(x, np.delete(np.arange(x.shape[axis]), concrete(obj, "np.delete's places")), axis)


@implements(np.insert)
def insert(arr: Any, obj: Any, values: Any, axis: Any = None) -> Any:
    """With ``values`` before the places ``obj`` along an axis."""
    x = as_array(arr)
    if axis is None:
        x, axis = ravel(x), 0
    (axis,) = axes_of(axis, x.ndim)
    obj = concrete(obj, "np.insert's places")
    values = cast(as_array(values), x.dtype)
    values = reshaped(values, (1,) * (x.ndim - values.ndim) + values.shape)
    n = x.shape[axis]
    places = np.arange(n)[obj] if isinstance(obj, slice) else np.asarray(obj)
    if places.ndim == 0:
        values = np.moveaxis(values, 0, axis)
    if places.dtype == bool:
        places = np.flatnonzero(places)
    count = values.shape[axis] if places.size == 1 else places.size
    values = np.broadcast_to(values, (*x.shape[:axis], count, *x.shape[axis + 1 :]))
    order = np.insert(np.arange(n), obj, np.arange(n, n + count))
    return np.take(concatenate([x, values], axis), order, axis)
