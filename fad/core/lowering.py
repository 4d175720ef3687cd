"""Native forms of operations: what stands in a record's field `lower`, of which the compiler makes loops.

=============  ========================================================================================
role           ``lower``
=============  ========================================================================================
elementwise    `ByKind`: functions of vectors of elements (`fad.native.ir.Value`), by the kind of the operands
cast           the same, for a change of dtype: operands of any dtype that memory holds
view           `View`: where an element of the result is found in the operand
mask           `Mask`: which part of the result is which operand; the rest is 0
reduction      `Fold`: how two values are combined, and with what an accumulator begins
scatter        `Fold`: how a value is combined with one that is there already; or `Put`
gather         nothing: loads at addresses that are computed
scan, opaque   nothing: NumPy computes them
contraction,   nothing here: kernels are made from their operands' strides, so the compiler holds them
kernel         (`fad.compile.contraction`)
loop, branch   nothing: their parameters hold Functions, which are compiled in their turn
call           nothing: its body takes its place
result         nothing: one of the results of these
=============  ========================================================================================

Where a record has None, or nothing for the dtype at hand, NumPy computes the operation between native loops.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["CONSTANT", "ROLES", "ByKind", "Fold", "Map", "Mask", "Part", "Put", "View", "numbers"]

ROLES = ("elementwise", "cast", "view", "mask", "reduction", "scan", "gather", "scatter", "contraction", "kernel", "opaque",
         "loop", "branch", "call", "result")  # fmt: skip

CONSTANT = -1
Map = tuple[tuple[int, int, int], ...]
"""For each axis of an array ``(axis, step, start)``: its index is ``start + step * i[axis]``, or ``start`` alone where axis is
`CONSTANT`. The i are indices of a loop nest, or of a view of the array."""


@dataclass(frozen=True, slots=True)
class ByKind:
    """Functions of values, one for each kind of operands; None where NumPy is called back.

    ``operands(given, out)`` are the dtypes to which operands are converted first, from theirs and the result's; without it
    those of the ufunc's loop, or the result's where ``evaluate`` is no ufunc.
    """

    floats: Callable | None = None
    integers: Callable | None = None
    booleans: Callable | None = None
    operands: Callable | None = None
    unsigned: Callable | None = None

    def of(self, dtype: np.dtype) -> Callable | None:
        """The function for operands of this dtype."""
        return {"f": self.floats, "i": self.integers, "b": self.booleans, "u": self.unsigned}.get(dtype.kind)


def numbers(function: Callable, booleans: Callable | None = None) -> ByKind:
    """One function for floats and integers."""
    return ByKind(function, function, booleans)


@dataclass(frozen=True, slots=True)
class View:
    """Elements of the operand at other places: ``through(index, shape, result, **params)`` is the map of the operand, of that
    shape, for the map ``index`` of the result; None where no map says it.

    ``in_order``: the elements are in memory in the same order, so that the result is another name for the operand's memory.
    """

    through: Callable[..., Map | None]
    in_order: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """Where an operand lies in the result: for each axis of that ``(axis of the operand, begin, end)``, the axis `CONSTANT`
    where the operand has none."""

    operand: int
    spans: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Mask:
    """Operands side by side, and 0 where none is: ``parts(result, *shapes, **params)``, None where they are no boxes."""

    parts: Callable[..., list[Part] | None]


@dataclass(frozen=True, slots=True)
class Fold:
    """Values combined by a primitive of two arguments, beginning with ``neutral(dtype)``.

    ``begins``: the neutral number counts in every result: 0 + -0.0 is 0.0.
    """

    combine: Any  # the record of a primitive of two arguments
    neutral: Callable[[np.dtype], Any]
    begins: bool = False


@dataclass(frozen=True, slots=True)
class Put:
    """The first argument, with values in the places of what is there; of several for one place the last."""
