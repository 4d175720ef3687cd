"""Where views find their elements: affine maps (`fad.core.lowering.Map`). A chain of views is one map, so no view is a copy."""

from __future__ import annotations

from typing import Any

from fad.core.lowering import CONSTANT, Map, Part

__all__ = ["basic_index", "broadcast_map", "concatenate_parts", "embed_parts", "index_map", "reshape_map", "transpose_map"]

Entry = tuple[int, int, int]


def transpose_map(index: Map, shape: tuple, result: tuple, *, axes: tuple) -> Map:
    """Axes in another order."""
    inverse = sorted(range(len(axes)), key=axes.__getitem__)
    return tuple(index[a] for a in inverse)


def broadcast_map(index: Map, operand: tuple, result: tuple, **params: Any) -> Map:
    """Axes of length one stay at 0, and leading axes are new."""
    lead = len(result) - len(operand)
    return tuple((CONSTANT, 0, 0) if s == 1 else index[a + lead] for a, s in enumerate(operand))


def reshape_map(index: Map, operand: tuple, result: tuple, *, shape: tuple = ()) -> Map | None:
    """Axes of length one come and go; None for any other reshape, which divides or merges axes."""
    if [s for s in operand if s != 1] != [s for s in result if s != 1]:
        return None
    places = iter([a for a, s in enumerate(result) if s != 1])
    return tuple((CONSTANT, 0, 0) if s == 1 else index[next(places)] for s in operand)


def index_map(index_of_result: Map, operand: tuple, result: tuple, *, index: tuple) -> Map:
    """NumPy's basic indexing."""
    return tuple(_after(entry, index_of_result) for entry in basic_index(index, operand))


def basic_index(index: tuple, shape: tuple) -> list[Entry]:
    """For every axis of the indexed array ``(result axis, step, start)``, the axis `CONSTANT` where an integer picks one."""
    index = tuple(index) if isinstance(index, tuple) else (index,)
    taken = sum(1 for i in index if i is not None and i is not Ellipsis)
    if Ellipsis not in [i for i in index if i is None or i is Ellipsis]:
        index = (*index, Ellipsis)
    entries: list[Entry] = []
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


def _after(entry: Entry, index: Map) -> Entry:
    """The composition of one entry, which counts in a view's axes, with the map of the view."""
    axis, step, start = entry
    if axis == CONSTANT:
        return entry
    source, coefficient, offset = index[axis]
    return source, coefficient * step, offset * step + start


# -- operands that are parts of the result ------------------------------------------------------------------------


def embed_parts(result: tuple, operand: tuple, *, index: tuple, shape: tuple) -> list[Part] | None:
    """The box that a basic index selects; None where it skips elements or makes new axes."""
    entries = basic_index(index, result)
    if any(i is None for i in index) or any(axis != CONSTANT and step != 1 for axis, step, _ in entries):
        return None
    return [Part(0, tuple((a, start, start + (1 if a == CONSTANT else operand[a])) for a, _, start in entries))]


def concatenate_parts(result: tuple, *operands: tuple, axis: int) -> list[Part]:
    """One box behind the other along an axis."""
    parts, end = [], 0
    for place, operand in enumerate(operands):
        begin, end = end, end + operand[axis]
        spans = [(a, 0, n) if a != axis else (a, begin, end) for a, n in enumerate(result)]
        if begin < end:
            parts.append(Part(place, tuple(spans)))
    return parts
