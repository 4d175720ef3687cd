"""Where an element comes from: maps from the axes of a loop nest to those of an array (`fad.core.lowering.Map`)."""

from __future__ import annotations

from typing import Any

from fad.core.expr import Expr
from fad.core.lowering import CONSTANT, Map
from fad.kernels.windows import strides_of

__all__ = ["address", "cuts_through", "identity", "shape_of", "strides_of", "through"]


def identity(shape: tuple) -> Map:
    """Every axis its own; axes of length one stay at 0."""
    return tuple((CONSTANT, 0, 0) if s == 1 else (a, 1, 0) for a, s in enumerate(shape))


def through(node: Expr, index: Map) -> Any:
    """The map of a view's operand; None where no map says what the view reads."""
    return node.op.lower.through(index, shape_of(node.args[0]), node.shape, **node.params)


def cuts_through(node: Expr, cuts: frozenset) -> list[tuple[int, int]]:
    """Positions that divide a view's operand, as positions in the view."""
    entries = through(node, tuple((a, 1, 0) for a in range(len(node.shape)))) or ()
    found = []
    for k, p in cuts:
        axis, step, start = entries[k]
        if axis != CONSTANT:
            found.append((axis, -((start - p) // step) if step > 0 else (p - start) // step + 1))
    return found


def address(index: Map, strides: tuple, rank: int) -> tuple[int, tuple]:
    """Offset, and stride for every axis of a nest of this rank, of the elements that a map reads: in elements."""
    offset, steps = 0, [0] * rank
    for (axis, step, start), stride in zip(index, strides, strict=True):
        offset += start * stride
        if axis != CONSTANT:
            steps[axis] += step * stride
    return offset, tuple(steps)


def shape_of(x: Any) -> tuple:
    """Shape of a node; () of a Python number."""
    return getattr(x, "shape", ())
