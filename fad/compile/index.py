"""Where an element comes from: affine maps from the axes of a loop nest to those of an array.

A map has one entry ``(axis, step, start)`` for each axis of an array: its index there is ``start + step * i[axis]``, or
``start`` alone where axis is -1. Views are maps; a chain of them is one map, so no view is ever a copy.
"""

from __future__ import annotations

from typing import Any

from fad.core.expr import Expr
from fad.kernels.windows import strides_of

__all__ = ["identity", "through", "broadcast", "basic_index", "unit_reshape", "strides_of", "CONSTANT"]

Map = tuple[tuple[int, int, int], ...]
CONSTANT = -1


def identity(shape: tuple) -> Map:
    """Every axis its own; axes of length one stay at 0."""
    return tuple((CONSTANT, 0, 0) if s == 1 else (a, 1, 0) for a, s in enumerate(shape))


def broadcast(index: Map, shape: tuple, result: tuple) -> Map:
    """The map of an operand of this shape, from the map of a result that it broadcasts to."""
    lead = len(result) - len(shape)
    return tuple((CONSTANT, 0, 0) if s == 1 else index[a + lead] for a, s in enumerate(shape))


def basic_index(index: tuple, shape: tuple) -> list[tuple[int, int, int]]:
    """For every axis of the indexed array ``(result axis, step, start)``, the axis -1 where an integer picks one."""
    index = tuple(index) if isinstance(index, tuple) else (index,)
    taken = sum(1 for i in index if i is not None and i is not Ellipsis)
    if Ellipsis not in [i for i in index if i is None or i is Ellipsis]:
        index = (*index, Ellipsis)
    entries: list[tuple[int, int, int]] = []
    axis = 0
    for i in index:
        if i is None:
            axis += 1
        elif i is Ellipsis:
            for _ in range(len(shape) - taken):
                entries.append((axis, 1, 0))
                axis += 1
        elif isinstance(i, slice):
            start, _, step = i.indices(shape[len(entries)])
            entries.append((axis, step, start))
            axis += 1
        else:
            entries.append((CONSTANT, 0, int(i) % shape[len(entries)]))
    return entries


def unit_reshape(old: tuple, new: tuple) -> list[int] | None:
    """For every old axis the new one it becomes (-1 for length one), where a reshape only adds or drops such axes."""
    if [s for s in old if s != 1] != [s for s in new if s != 1]:
        return None
    places = iter([a for a, s in enumerate(new) if s != 1])
    return [CONSTANT if s == 1 else next(places) for s in old]


def after(entry: tuple[int, int, int], index: Map) -> tuple[int, int, int]:
    """The composition of one entry, which counts in a view's axes, with the map of the view."""
    axis, step, start = entry
    if axis == CONSTANT:
        return entry
    source, coefficient, offset = index[axis]
    return source, coefficient * step, offset * step + start


def through(node: Expr, index: Map) -> Map | None:
    """The map of a view's operand; None where the node is not a view."""
    x, name, params = node.args[0], node.op.name, node.params
    if name == "transpose":
        inverse = sorted(range(len(params["axes"])), key=params["axes"].__getitem__)
        return tuple(index[a] for a in inverse)
    if name == "broadcast_to":
        return broadcast(index, getattr(x, "shape", ()), node.shape)
    if name == "getitem":
        return tuple(after(e, index) for e in basic_index(params["index"], x.shape))
    if name == "reshape":
        places = unit_reshape(x.shape, node.shape)
        if places is not None:
            return tuple((CONSTANT, 0, 0) if a == CONSTANT else index[a] for a in places)
    return None


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
