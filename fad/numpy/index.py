"""Indexing: every NumPy index becomes at most one slice, one transpose and one gather.

Positions that are known while tracing are checked here; index nodes that have a value are read.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from fad.core.expr import FUNCTIONS, Expr, concrete, short
from fad.errors import AssignmentError, DtypeError, OutOfRangeError, ShapeError
from fad.numpy.dispatch import as_array, axis_of, implements, no_out
from fad.numpy.shape import permuted, ravel
from fad.primitives.index import gather
from fad.primitives.shape import getitem as slice_of

__all__ = ["getitem", "take", "take_along_axis", "compress", "extract", "nonzero", "flatnonzero", "argwhere", "ix_", "choose"]

_ALL = slice(None)


def getitem(x: Any, index: Any) -> Any:
    """``x[index]`` for any index of NumPy: numbers, slices, None, Ellipsis, masks, integer arrays, and such nodes.

    >>> getitem(np.arange(6).reshape(2, 3), (slice(None), [2, 0]))
    array([[2, 0],
           [5, 3]])
    """
    if type(index) is not tuple:
        index = (index,)
    if _is_plain(index, x.shape):
        return x if all(e == _ALL for e in index) else slice_of(x, index=index)
    entries, advanced = normalised(x, index)
    if advanced:
        return _gathered(x, entries)
    if all(e is Ellipsis or (type(e) is slice and e == _ALL) for e in entries):
        return x
    return slice_of(x, index=tuple(entries))


FUNCTIONS["getitem"] = getitem
_BOUNDS = (int, type(None))


def _is_plain(index: tuple, shape: tuple) -> bool:
    """Whether an index holds only numbers in range, slices of numbers, and None: the quick and frequent case."""
    axis, ndim = 0, len(shape)
    for e in index:
        kind = type(e)
        if kind is int:
            if axis >= ndim or not -shape[axis] <= e < shape[axis]:
                return False
            axis += 1
        elif kind is slice:
            if not (type(e.start) in _BOUNDS and type(e.stop) in _BOUNDS and type(e.step) in _BOUNDS):
                return False
            axis += 1
        elif e is not None:
            return False
    return axis <= ndim


def normalised(x: Any, index: Any) -> tuple[list, bool]:
    """The entries of an index, Ellipsis spelled out and masks as integers, and whether arrays are among them."""
    entries = [_entry(e) for e in (index if type(index) is tuple else (index,))]
    consumed = sum(e.ndim if _is_mask(e) else e is not None and e is not Ellipsis for e in entries)
    ndim = len(x.shape)
    if consumed > ndim:
        raise OutOfRangeError(
            "too many indices",
            got=f"{consumed} for {short(x)}",
            rule=f"the array has {ndim} axes",
            fix="leave some out, or x[..., None] for a new axis",
        )
    ellipses = sum(e is Ellipsis for e in entries)
    if ellipses > 1:
        raise OutOfRangeError("an index with several '...'", got=index, rule="one at most", fix="use ':' for single axes")
    found: list = []
    axis = 0
    for e in entries:
        if e is Ellipsis:
            found += [_ALL] * (ndim - consumed) or [e]  # one that stands for no axis still parts index arrays
            axis += ndim - consumed
        elif e is None:
            found.append(e)
        elif _is_mask(e):
            found += _from_mask(e, axis, x)
            axis += e.ndim
        else:
            if type(e) is not slice:
                _checked(e, axis, x)
            found.append(e)
            axis += 1
    return found, any(isinstance(e, np.ndarray | Expr) for e in found)


def _is_mask(e: Any) -> bool:
    return isinstance(e, np.ndarray) and e.dtype.kind == "b"


def _entry(e: Any) -> Any:
    """One entry as an int, a slice of ints, None, Ellipsis, an array or a symbolic integer node."""
    kind = type(e)
    if kind is int or e is None or e is Ellipsis:
        return e
    if kind is slice:
        return slice(*(v if v is None or type(v) is int else operator.index(v) for v in (e.start, e.stop, e.step)))
    e = as_array(e)
    if isinstance(e, Expr) and e.dtype.kind == "b":
        e = concrete(e, "a mask used as an index")
    elif isinstance(e, Expr) and e.value is not None:
        e = e.value
    if e.size == 0 and kind in (list, tuple):
        e = np.zeros(e.shape, np.intp)  # [] has no integers to show that it is an index
    if e.dtype.kind not in "iub":
        raise DtypeError(
            "an index that is no integer",
            got=short(e),
            rule="indices are integers, slices, masks, None or '...'",
            fix="i.astype(int)",
        )
    if isinstance(e, Expr):
        return e
    return int(e) if e.shape == () and e.dtype.kind != "b" else np.asarray(e)


def _checked(i: Any, axis: int, x: Any) -> Any:
    """An index, in range where it is known."""
    n = x.shape[axis]
    if isinstance(i, Expr) or (type(i) is not int and i.size == 0):
        return i
    low, high = (i, i) if type(i) is int else (i.min(), i.max())
    if low < -n or high >= n:
        raise OutOfRangeError(
            "index out of range",
            got=f"{high if high >= n else low} into {short(x)}",
            rule=f"axis {axis} has size {n}",
            fix=f"indices from {-n} to {n - 1}" if n else "an empty slice",
        )
    return i


def _from_mask(mask: np.ndarray, axis: int, x: Any) -> list:
    """A mask as one integer array per axis; a 0-d mask is a new axis of length 0 or 1."""
    if mask.ndim == 0:
        return [_NewAxis(np.zeros(int(mask), np.intp))]
    if mask.shape != x.shape[axis : axis + mask.ndim]:
        raise OutOfRangeError(
            "a mask of another shape",
            got=f"{mask.shape} at axis {axis} of {short(x)}",
            rule="a mask has the shape of the axes it selects from",
            fix="mask[:n], or np.broadcast_to",
        )
    return list(mask.nonzero())


class _NewAxis(np.ndarray):
    """Index array into an axis of length one that is made for it."""

    def __new__(cls, values: np.ndarray) -> _NewAxis:
        return values.view(cls)


def _gathered(x: Any, entries: list) -> Any:
    """x at index arrays among slices: slice, bring the indexed axes to the front, gather, and put the result
    where NumPy does: in place of the index arrays where they stand together, else in front."""
    arrays: list = []
    places: list = []  # axes of x, once sliced, that the arrays index
    turns: list = []  # places of the arrays in the index
    basic: list = []
    for turn, e in enumerate(entries):
        if e is Ellipsis:
            continue
        if e is None or type(e) is slice:
            basic.append(e)
            continue
        places.append(len(basic))
        turns.append(turn)
        arrays.append(np.asarray(e) if not isinstance(e, Expr) else e)
        basic.append(None if isinstance(e, _NewAxis) else _ALL)
    if any(b is None or b != _ALL for b in basic):
        x = slice_of(x, index=tuple(basic))
    others = tuple(i for i in range(len(x.shape)) if i not in places)
    try:
        rank = len(np.broadcast_shapes(*(a.shape for a in arrays)))
    except ValueError:
        raise ShapeError(
            "index arrays do not broadcast",
            got=", ".join(map(short, arrays)),
            rule="index arrays have one shape together",
            fix="np.ix_ picks rows and columns",
        ) from None
    y = gather(permuted(x, (*places, *others)), *arrays)
    first = places[0]
    if first == 0 or turns[-1] - turns[0] + 1 != len(turns):
        return y
    behind = tuple(range(rank, rank + len(others)))
    return permuted(y, (*behind[:first], *range(rank), *behind[first:]))


# -- NumPy's functions that index ------------------------------------------------------------------


@implements(np.take)
def take(a: Any, indices: Any, axis: Any = None, out: Any = None, mode: str = "raise") -> Any:
    """The elements at ``indices`` along an axis, by default of the flattened array. Modes: raise, wrap, clip."""
    no_out(out)
    x, i = as_array(a), as_array(indices)
    if type(indices) in (list, tuple) and not i.size:
        i = np.zeros(i.shape, np.intp)  # [] has no integers to show that it is an index
    if axis is None:
        x, axis = ravel(x), 0
    axis = axis_of(axis, x.ndim)
    n = x.shape[axis]
    if mode == "wrap":
        i = i % n
    elif mode == "clip":
        i = np.clip(i, 0, n - 1)
    elif mode != "raise":
        raise ValueError(f"mode {mode!r} is none of 'raise', 'wrap', 'clip'")
    if i.dtype.kind == "b":
        i = i.astype(np.intp)
    return getitem(x, (*(_ALL,) * axis, i))


@implements(np.take_along_axis)
def take_along_axis(arr: Any, indices: Any, axis: Any = -1) -> Any:
    """The elements that one index per row picks, as `argsort` and `argmax` (with keepdims) give them."""
    x, i = as_array(arr), as_array(indices)
    if axis is None:
        x, axis = ravel(x), 0
    axis = axis_of(axis, x.ndim)
    if i.ndim != x.ndim:
        raise ShapeError(
            "take_along_axis: the ranks differ",
            got=f"{short(i)} into {short(x)}",
            rule="indices have as many axes as the array",
            fix="np.expand_dims(indices, axis)",
        )
    if x.ndim == 1:
        return getitem(x, i)
    shape = np.broadcast_shapes(i.shape, (*x.shape[:axis], 1, *x.shape[axis + 1 :]))
    grid = [np.arange(n).reshape(tuple(n if j == k else 1 for j in range(x.ndim))) for k, n in enumerate(x.shape)]
    grid = [g if x.shape[k] == shape[k] else np.zeros_like(g) for k, g in enumerate(grid)]
    return getitem(x, (*grid[:axis], i, *grid[axis + 1 :]))


@implements(np.nonzero)
def nonzero(a: Any) -> tuple:
    """The positions of the elements that are not zero; needs their values."""
    return np.nonzero(concrete(as_array(a), "np.nonzero"))


@implements(np.flatnonzero)
def flatnonzero(a: Any) -> np.ndarray:
    """The positions in the flattened array of the elements that are not zero; needs their values."""
    return np.flatnonzero(concrete(as_array(a), "np.flatnonzero"))


@implements(np.argwhere)
def argwhere(a: Any) -> np.ndarray:
    """The positions of the elements that are not zero, one per row; needs their values."""
    return np.argwhere(concrete(as_array(a), "np.argwhere"))


@implements(np.compress)
def compress(condition: Any, a: Any, axis: Any = None, out: Any = None) -> Any:
    """The slices along an axis for which the condition, a row, holds; needs the condition's value."""
    if as_array(condition).ndim != 1:
        raise ShapeError("np.compress: the condition is no row", got=short(condition), rule="it has one axis", fix="x[mask]")
    return take(a, flatnonzero(condition), axis, out)


@implements(np.extract)
def extract(condition: Any, arr: Any) -> Any:
    """The elements for which the condition holds; needs the condition's value."""
    return take(arr, flatnonzero(condition))


@implements(np.ix_)
def ix_(*args: Any) -> tuple:
    """Index arrays that pick rows and columns, one along each axis of a grid; masks need their values."""
    rows = [np.zeros(0, np.intp) if type(a) is list and not a else as_array(a) for a in args]
    if any(row.ndim != 1 for row in rows):
        raise ShapeError(
            "np.ix_ of what is no row", got=", ".join(map(short, rows)), rule="each argument has one axis", fix="x.ravel()"
        )
    rows = [nonzero(row)[0] if row.dtype.kind == "b" else row for row in rows]
    return tuple(
        np.reshape(row, (1,) * k + (-1,) + (1,) * (len(rows) - 1 - k))
        if row.size
        else row.reshape((1,) * k + (0,) + (1,) * (len(rows) - 1 - k))
        for k, row in enumerate(rows)
    )


@implements(np.choose)
def choose(a: Any, choices: Any, out: Any = None, mode: str = "raise") -> Any:
    """From the choices the one that ``a`` names, element by element. Modes: raise, wrap, clip."""
    no_out(out)
    i, n = as_array(a), len(choices)
    if i.dtype.kind not in "iub":
        raise DtypeError(
            "np.choose by what is no integer",
            got=short(i),
            rule="the first argument names the choices by number",
            fix="a.astype(int)",
        )
    if mode not in ("raise", "wrap", "clip"):
        raise ValueError(f"mode {mode!r} is none of 'raise', 'wrap', 'clip'")
    i = i % n if mode == "wrap" else np.clip(i, 0, n - 1) if mode == "clip" else i
    if mode == "raise":
        known = concrete(i, "np.choose, whose mode is 'raise',")
        if known.size and (known.min() < 0 or known.max() >= n):
            raise OutOfRangeError("np.choose: no such choice", got=short(i), rule=f"there are {n}", fix="mode='clip' or 'wrap'")
    stack = np.stack(np.broadcast_arrays(i, *map(as_array, choices))[1:])
    return take_along_axis(stack, np.broadcast_to(i, stack.shape[1:])[None], 0)[0]


# -- NumPy's functions that assign -----------------------------------------------------------------


def _refuse(name: str, fix: str) -> None:
    def rule(*args: Any, **options: Any) -> None:
        raise AssignmentError(f"np.{name} writes into its argument", got=short(args[0]), rule="nodes are immutable", fix=fix)

    FUNCTIONS[getattr(np, name)] = rule


_refuse("put_along_axis", "y = fad.at(y)[np.arange(n)[:, None], i].set(v)")
_refuse("put", "y = fad.at(y.ravel())[i].set(v).reshape(y.shape)")
_refuse("place", "y = np.where(mask, v, y)")
_refuse("putmask", "y = np.where(mask, v, y)")
_refuse("copyto", "y = np.where(mask, v, y), or y = v")
_refuse("fill_diagonal", "y = fad.at(y)[np.arange(n), np.arange(n)].set(v)")
