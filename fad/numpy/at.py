"""``fad.at(y)[i].set(v)``: assignment as a value, for arrays and nodes alike."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fad.core.expr import UFUNCS, Expr, short
from fad.errors import AssignmentError, ShapeError
from fad.numpy.dispatch import as_array, holds_node
from fad.numpy.index import getitem, normalised
from fad.numpy.shape import ravel, reshaped
from fad.primitives.elementwise import cast
from fad.primitives.families import dtype_of
from fad.primitives.index import scatter_add, scatter_set
from fad.primitives.shape import embed

__all__ = ["at"]


class at:
    """An array of which ``fad.at(y)[index]`` names a part, to be read or replaced in a copy.

    ``index`` is any index of NumPy. The result has the dtype of ``y`` unless ``v`` needs a wider one, ``y`` stays
    as it is, and where an index comes twice the values are taken one after another: in ``set`` the last one stays.

    >>> at(np.zeros(3))[1].set(5.0)
    array([0., 5., 0.])
    >>> at(np.ones(2))[[0, 0, 1]].add(1.0)
    array([3., 2.])
    """

    def __init__(self, y: Any):
        self.y = as_array(y)

    def __getitem__(self, index: Any) -> _Part:
        return _Part(self.y, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        raise AssignmentError(
            "assignment through fad.at", got=short(self.y), rule="it makes a new array", fix="y = fad.at(y)[i].set(v)"
        )


class _Part:
    """``y[index]``, with the operations that replace it."""

    def __init__(self, y: Any, index: Any):
        self.y, self.index = y, index

    def get(self) -> Any:
        """``y[index]``; the index may hold nodes, also where ``y`` is an ndarray."""
        return getitem(self.y, self.index)

    def set(self, v: Any) -> Any:
        """``y`` with ``v`` at the index."""
        if self._plain(v):
            out, v = self._copy(v)
            out[self.index] = v
            return out
        y, v = self.y, self._values(v)
        rows = self._rows()
        if rows is not None:
            return scatter_set(y, v, *rows)
        flat = self._positions()
        return reshaped(scatter_set(ravel(y), ravel(v), ravel(flat)), y.shape)

    def add(self, v: Any) -> Any:
        """``y`` with ``v`` added at the index."""
        if self._plain(v):
            return self._in_place(np.add, v)
        y, v = self.y, self._values(v)
        entries, advanced = normalised(y, self.index)
        if not advanced:
            return y + embed(v, index=tuple(entries), shape=y.shape)
        rows = self._rows()
        if rows is not None:
            return y + scatter_add(v, *rows, shape=y.shape)
        flat = scatter_add(ravel(v), ravel(self._positions()), shape=(prod(y.shape),))
        return y + reshaped(flat, y.shape)

    def multiply(self, v: Any) -> Any:
        """``y`` multiplied by ``v`` at the index."""
        return self._combined(np.multiply, np.prod, 1, v)

    def min(self, v: Any) -> Any:
        """``y`` with the smaller of it and ``v`` at the index."""
        return self._combined(np.minimum, np.min, np.inf, v)

    def max(self, v: Any) -> Any:
        """``y`` with the larger of it and ``v`` at the index."""
        return self._combined(np.maximum, np.max, -np.inf, v)

    # -- how -----------------------------------------------------------------------------------------------

    def _plain(self, v: Any) -> bool:
        index = self.index if isinstance(self.index, tuple) else (self.index,)
        slices = [bound for e in index if isinstance(e, slice) for bound in (e.start, e.stop, e.step)]
        return not holds_node((self.y, v, *index, *slices))

    def _copy(self, v: Any) -> tuple:
        """A writable copy of y, in a dtype that holds v, and v."""
        v = v if isinstance(v, int | float | complex) else np.asarray(v)
        return np.array(self.y, np.result_type(self.y, v)), v

    def _in_place(self, ufunc: np.ufunc, v: Any) -> Any:
        out, v = self._copy(v)
        ufunc.at(out, self.index, v)
        return out

    def _values(self, v: Any) -> Any:
        """v in the shape of the part, and in the dtype that y and v have together."""
        kind = dtype_of(v if isinstance(v, Expr | int | float | complex) else as_array(v))
        dtype = np.result_type(self.y.dtype, kind(0) if isinstance(kind, type) else kind)  # Python numbers are weak
        v = cast(as_array(v), dtype)
        shape = self._shape()
        while v.ndim > len(shape) and v.shape[0] == 1:  # as NumPy's assignment does
            v = reshaped(v, v.shape[1:])
        try:
            return np.broadcast_to(v, shape)
        except ValueError:
            raise ShapeError(
                "the value does not fit the part",
                got=f"{short(v)} for a part of shape {shape}",
                rule="it broadcasts to the shape of y[index]",
                fix="reshape the value",
            ) from None

    def _shape(self) -> tuple:
        """The shape of ``y[index]``."""
        return self._positions().shape

    def _positions(self) -> Any:
        """Where ``y[index]`` lies in the flattened y."""
        return as_array(getitem(np.arange(prod(self.y.shape)).reshape(self.y.shape), self.index))

    def _rows(self) -> tuple | None:
        """The index arrays, where they are all there is to the index."""
        entries, advanced = normalised(self.y, self.index)
        entries = [e for e in entries if e is not Ellipsis]
        if not advanced or any(not isinstance(e, Expr) and type(e) not in (int, np.ndarray) for e in entries):
            return None
        return tuple(e if isinstance(e, Expr) else np.asarray(e) for e in entries)

    def _combined(self, ufunc: np.ufunc, reduce: Any, neutral: float, v: Any) -> Any:
        if self._plain(v):
            return self._in_place(ufunc, v)
        flat, v = ravel(self._positions()), ravel(self._values(v))
        y = cast(ravel(self.y), v.dtype)
        if not isinstance(flat, Expr):
            for turn in _turns(flat):  # each position once per turn
                y = scatter_set(y, ufunc(getitem(y, flat[turn]), getitem(v, turn)), flat[turn])
        elif flat.size:  # positions unknown: a table of which value goes where, of size (values, elements of y)
            if y.dtype.kind in "iu" and abs(neutral) == np.inf:
                neutral = np.iinfo(y.dtype).max if neutral > 0 else np.iinfo(y.dtype).min
            hits = flat[:, None] == np.arange(y.shape[0])
            y = ufunc(y, reduce(np.where(hits, v[:, None], np.asarray(neutral, y.dtype)), axis=0))
        return reshaped(y, self.y.shape)


def _turns(positions: np.ndarray) -> list[np.ndarray]:
    """Groups of places in ``positions``, none of which holds a position twice, earlier ones first."""
    order = np.argsort(positions, kind="stable")
    ordered = positions[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if ordered.size else np.zeros(0, int)
    occurrence = np.empty(positions.size, int)
    occurrence[order] = np.arange(positions.size) - np.repeat(starts, np.diff(np.r_[starts, positions.size]))
    return [np.flatnonzero(occurrence == k) for k in range(occurrence.max(initial=-1) + 1)]


def _refuse_at(ufunc: np.ufunc) -> None:
    def rule(y: Any, *args: Any) -> None:
        methods: dict[Any, str] = {np.add: "add", np.multiply: "multiply", np.minimum: "min", np.maximum: "max"}
        method = methods.get(ufunc, "set")
        raise AssignmentError(
            f"np.{ufunc.__name__}.at writes into its argument",
            got=short(y),
            rule="nodes are immutable",
            fix=f"y = fad.at(y)[i].{method}(v)",
        )

    UFUNCS[ufunc, "at"] = rule


for _ufunc in [key for key in UFUNCS if isinstance(key, np.ufunc)]:
    _refuse_at(_ufunc)
