"""Functions that rearrange one array: a reshape, transpose, slice or broadcast each, and nothing if nothing changes."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fad.core.expr import short
from fad.errors import ShapeError
from fad.numpy.dispatch import as_array, axes_of, axis_of, implements, no_out
from fad.numpy.memory import view
from fad.primitives import shape as primitives

__all__ = [
    "reshape",
    "ravel",
    "transpose",
    "permute_dims",
    "swapaxes",
    "moveaxis",
    "rollaxis",
    "matrix_transpose",
    "squeeze",
    "expand_dims",
    "broadcast_to",
    "broadcast_arrays",
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "flip",
    "fliplr",
    "flipud",
    "rot90",
    "diag",
    "diagonal",
    "diagflat",
    "trace",
    "tril",
    "triu",
    "shape",
    "ndim",
    "size",
]


# -- helpers that the other modules use too --------------------------------------------------------


def reshaped(x: Any, shape: tuple) -> Any:
    """x in a shape, itself where it has it."""
    return x if x.shape == shape else primitives.reshape(x, shape=shape)


def permuted(x: Any, axes: tuple) -> Any:
    """x with its axes in this order, itself where nothing moves."""
    return x if axes == tuple(range(x.ndim)) else primitives.transpose(x, axes=axes)


# -- shapes ----------------------------------------------------------------------------------------


def _complete(shape: Any, size: int, x: Any) -> tuple:
    """A shape argument as a tuple, -1 worked out."""
    shape = tuple(int(s) for s in (shape if isinstance(shape, tuple | list) else (shape,)))
    known = prod(s for s in shape if s != -1)
    if shape.count(-1) == 1 and known and size % known == 0:
        shape = tuple(size // known if s == -1 else s for s in shape)
    if prod(shape) != size or any(s < 0 for s in shape):
        raise ShapeError(
            "reshape: the sizes differ",
            got=f"{short(x)} to {shape}",
            rule=f"{size} elements do not fill that shape; one axis at most may be -1",
            fix="pass a shape with the same number of elements",
        )
    return shape


@implements(np.reshape)
def reshape(a: Any, /, shape: Any = None, order: str = "C", *, newshape: Any = None, copy: bool | None = None) -> Any:
    """The same elements in another shape; one size may be -1; ``order='F'`` counts the first axis fastest."""
    x = as_array(a)
    shape = _complete(newshape if shape is None else shape, prod(x.shape), x)
    if order == "F":
        return view(permuted(reshaped(transpose(x), shape[::-1]), tuple(range(len(shape)))[::-1]), x)
    return view(reshaped(x, shape), x)


@implements(np.ravel)
def ravel(a: Any, order: str = "C") -> Any:
    """The elements as one row."""
    return reshape(a, (-1,), order) if prod(as_array(a).shape) else reshaped(as_array(a), (0,))


@implements(np.transpose)
def transpose(a: Any, axes: Any = None) -> Any:
    """The axes reversed, or in the order given."""
    x = as_array(a)
    if axes is None:
        return view(permuted(x, tuple(range(x.ndim))[::-1]), x)
    axes = tuple(axis_of(i, x.ndim) for i in axes)
    if sorted(axes) != list(range(x.ndim)):
        raise ShapeError(
            "transpose: not a permutation of the axes",
            got=f"{axes} for {short(x)}",
            rule="every axis is named once",
            fix="np.moveaxis, if only one axis moves",
        )
    return view(permuted(x, axes), x)


permute_dims = transpose


@implements(np.swapaxes)
def swapaxes(a: Any, axis1: int, axis2: int) -> Any:
    """Two axes exchanged."""
    x = as_array(a)
    order = list(range(x.ndim))
    i, j = axis_of(axis1, x.ndim), axis_of(axis2, x.ndim)
    order[i], order[j] = j, i
    return view(permuted(x, tuple(order)), x)


@implements(np.matrix_transpose, np.linalg.matrix_transpose)
def matrix_transpose(x: Any, /) -> Any:
    """The last two axes exchanged."""
    return swapaxes(x, -1, -2)


@implements(np.moveaxis)
def moveaxis(a: Any, source: Any, destination: Any) -> Any:
    """Axes moved to other places, the rest in order."""
    x = as_array(a)
    sources = [axis_of(i, x.ndim) for i in (source if isinstance(source, tuple | list) else (source,))]
    places = [axis_of(i, x.ndim) for i in (destination if isinstance(destination, tuple | list) else (destination,))]
    if len(sources) != len(places) or len(set(sources)) != len(sources) or len(set(places)) != len(places):
        raise ShapeError(
            "moveaxis: sources and destinations do not pair up",
            got=f"{source} to {destination}",
            rule="they are as many, and distinct",
            fix="name each axis once",
        )
    order = [i for i in range(x.ndim) if i not in sources]
    for place, i in sorted(zip(places, sources, strict=True)):
        order.insert(place, i)
    return view(permuted(x, tuple(order)), x)


@implements(np.rollaxis)
def rollaxis(a: Any, axis: int, start: int = 0) -> Any:
    """One axis moved before another."""
    x = as_array(a)
    axis = axis_of(axis, x.ndim)
    start = start + x.ndim if start < 0 else start
    return moveaxis(x, axis, start - (start > axis))


@implements(np.squeeze)
def squeeze(a: Any, axis: Any = None) -> Any:
    """Without axes of length one."""
    x = as_array(a)
    axes = tuple(i for i, s in enumerate(x.shape) if s == 1) if axis is None else axes_of(axis, x.ndim)
    if any(x.shape[i] != 1 for i in axes):
        raise ShapeError(
            "squeeze: an axis is longer than one",
            got=f"axis={axis} of {short(x)}",
            rule="only axes of length 1 can be left out",
            fix="x[i] or np.reshape",
        )
    return view(reshaped(x, tuple(s for i, s in enumerate(x.shape) if i not in axes)), x)


@implements(np.expand_dims)
def expand_dims(a: Any, axis: Any) -> Any:
    """With new axes of length one at these places of the result."""
    x = as_array(a)
    axis = axis if isinstance(axis, tuple | list) else (axis,)
    n = x.ndim + len(axis)
    axes = axes_of(axis, n)
    sizes = iter(x.shape)
    return view(reshaped(x, tuple(1 if i in axes else next(sizes) for i in range(n))), x)


@implements(np.broadcast_to)
def broadcast_to(array: Any, shape: Any, subok: bool = False) -> Any:
    """The array repeated along new axes and axes of length one."""
    x = as_array(array)
    shape = tuple(shape) if isinstance(shape, tuple | list) else (shape,)
    return x if x.shape == shape else view(primitives.broadcast_to(x, shape=shape), x)


@implements(np.broadcast_arrays)
def broadcast_arrays(*args: Any, subok: bool = False) -> tuple:
    """All arrays in their common shape."""
    xs = [as_array(x) for x in args]
    common = np.broadcast_shapes(*(x.shape for x in xs))
    return tuple(broadcast_to(x, common) for x in xs)


def _at_least(shape_for: Any, arys: tuple) -> Any:
    xs = [as_array(x) for x in arys]
    results = tuple(view(reshaped(x, shape_for(x.shape)), x) for x in xs)
    return results[0] if len(results) == 1 else results


@implements(np.atleast_1d)
def atleast_1d(*arys: Any) -> Any:
    """Scalars as arrays of one element."""
    return _at_least(lambda s: s or (1,), arys)


@implements(np.atleast_2d)
def atleast_2d(*arys: Any) -> Any:
    """Scalars and rows as matrices of one row."""
    return _at_least(lambda s: (1,) * (2 - len(s)) + s, arys)


@implements(np.atleast_3d)
def atleast_3d(*arys: Any) -> Any:
    """Arrays with at least three axes: (n,) becomes (1, n, 1), (m, n) becomes (m, n, 1)."""
    return _at_least(lambda s: {0: (1, 1, 1), 1: (1, *s, 1), 2: (*s, 1)}.get(len(s), s), arys)


@implements(np.shape)
def shape(a: Any) -> tuple:
    """The shape."""
    return as_array(a).shape


@implements(np.ndim)
def ndim(a: Any) -> int:
    """The number of axes."""
    return as_array(a).ndim


@implements(np.size)
def size(a: Any, axis: Any = None) -> int:
    """The number of elements, or the length along axes."""
    x = as_array(a)
    return prod(x.shape[i] for i in axes_of(axis, x.ndim))


# -- reversal --------------------------------------------------------------------------------------


@implements(np.flip)
def flip(m: Any, axis: Any = None) -> Any:
    """The order of elements reversed along axes."""
    x = as_array(m)
    axes = axes_of(axis, x.ndim)
    if not axes:
        return x
    index = tuple(slice(None, None, -1 if i in axes else None) for i in range(axes[-1] + 1))
    return view(primitives.getitem(x, index=index), x)


@implements(np.fliplr)
def fliplr(m: Any) -> Any:
    """Reversed along the second axis."""
    return flip(m, 1)


@implements(np.flipud)
def flipud(m: Any) -> Any:
    """Reversed along the first axis."""
    return flip(m, 0)


@implements(np.rot90)
def rot90(m: Any, k: int = 1, axes: tuple = (0, 1)) -> Any:
    """A quarter turn in the plane of two axes, ``k`` times."""
    x = as_array(m)
    first, second = (axis_of(a, x.ndim) for a in axes)
    if first == second:
        raise ShapeError("rot90: one axis twice", got=axes, rule="a plane has two axes", fix="axes=(0, 1)")
    if k % 4 == 1:
        return swapaxes(flip(x, second), first, second)
    if k % 4 == 2:
        return flip(x, (first, second))
    return flip(swapaxes(x, first, second), second) if k % 4 == 3 else x


# -- diagonals and triangles -----------------------------------------------------------------------


def _diagonal_slice(rows: int, columns: int, offset: int) -> slice:
    """A diagonal of a matrix whose elements lie in one row."""
    start = offset if offset >= 0 else -offset * columns
    length = min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns)
    return slice(start, start + (length - 1) * (columns + 1) + 1, columns + 1) if length > 0 else slice(0, 0)


@implements(np.diagonal)
def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The diagonal in the plane of two axes, as a last axis."""
    x = as_array(a)
    if x.ndim < 2:
        raise ShapeError(
            "diagonal of an array without a plane", got=short(x), rule="it needs two axes", fix="np.diag makes a matrix of a row"
        )
    x = moveaxis(x, (axis1, axis2), (-2, -1))
    *lead, rows, columns = x.shape
    flat = reshaped(x, (*lead, rows * columns))
    return view(primitives.getitem(flat, index=(Ellipsis, _diagonal_slice(rows, columns, offset))), x)


@implements(np.linalg.diagonal)
def linalg_diagonal(x: Any, /, *, offset: int = 0) -> Any:
    """The diagonals of matrices on the last two axes."""
    return diagonal(x, offset, -2, -1)


@implements(np.trace)
def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None) -> Any:
    """The sum of a diagonal."""
    no_out(out)
    return np.sum(diagonal(a, offset, axis1, axis2), axis=-1, dtype=dtype)


@implements(np.linalg.trace)
def linalg_trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    """The traces of matrices on the last two axes."""
    return trace(x, offset, -2, -1, dtype)


@implements(np.diag)
def diag(v: Any, k: int = 0) -> Any:
    """A matrix with a row on its diagonal ``k``; of a matrix, that diagonal."""
    x = as_array(v)
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise ShapeError("diag of neither a row nor a matrix", got=short(x), rule="1 or 2 axes", fix="np.diagonal, np.diagflat")
    n = x.shape[0] + abs(k)
    flat = primitives.embed(x, index=(_diagonal_slice(n, n, k),), shape=(n * n,))
    return reshaped(flat, (n, n))


@implements(np.diagflat)
def diagflat(v: Any, k: int = 0) -> Any:
    """A matrix with all elements of ``v`` on its diagonal ``k``."""
    return diag(ravel(v), k)


def _triangle(m: Any, mask: Any) -> Any:
    return np.where(mask, m, np.zeros((), m.dtype))


def _tri(x: Any, k: int) -> np.ndarray:
    rows, columns = x.shape[-2:] if x.ndim > 1 else x.shape * 2
    return np.tri(rows, columns, k=k, dtype=bool)


@implements(np.tril)
def tril(m: Any, k: int = 0) -> Any:
    """The lower triangle, zeros above diagonal ``k``."""
    x = as_array(m)
    return _triangle(x, _tri(x, k))


@implements(np.triu)
def triu(m: Any, k: int = 0) -> Any:
    """The upper triangle, zeros below diagonal ``k``."""
    x = as_array(m)
    return _triangle(x, ~_tri(x, k - 1))
