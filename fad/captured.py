"""Functions whose captured arrays are nodes: ``table[i]`` with a symbol i, which an ndarray would ask for its numbers.

NumPy lets no library in where an ndarray is indexed. A node does: so a function that failed there runs once more, its source
as it stands, but with nodes in place of the arrays that it and the functions of its module look up.
"""

from __future__ import annotations

from collections.abc import Callable
from types import CellType, FunctionType
from typing import Any

import numpy as np

from fad.expr import as_node

__all__ = ["with_nodes"]

_LIBRARIES = ("fad", "numba", "numpy", "scipy")


def with_nodes(f: Callable) -> Callable:
    """f with nodes for the arrays among its globals and its closure; f itself where it is no function of Python."""
    return _copy(f, {}) if type(f) is FunctionType else f


class _Names(dict):
    """The globals of a module, arrays as nodes."""

    def __init__(self, live: dict, made: dict):
        self.live, self.made = live, made

    def __missing__(self, name: str) -> Any:
        if name in self.live:
            return _stand_in(self.live[name], self.made)
        builtins = self.live["__builtins__"]
        return (builtins if isinstance(builtins, dict) else vars(builtins))[name]


def _stand_in(x: Any, made: dict) -> Any:
    """What stands for a captured value; ``made`` keeps one for each, by id."""
    key = id(x)
    if key in made:
        return made[key]
    if type(x) is np.ndarray and x.dtype.kind in "fiubc":
        made[key] = as_node(x)
        return made[key]
    if type(x) is FunctionType and (x.__module__ or "").split(".")[0] not in _LIBRARIES:
        return _copy(x, made)
    return x


def _copy(f: FunctionType, made: dict) -> FunctionType:
    cells = tuple(CellType() for _ in f.__closure__ or ())
    copy = made[id(f)] = FunctionType(f.__code__, _Names(f.__globals__, made), f.__name__, f.__defaults__, cells or None)
    copy.__kwdefaults__ = f.__kwdefaults__
    for cell, original in zip(cells, f.__closure__ or (), strict=True):
        try:
            cell.cell_contents = _stand_in(original.cell_contents, made)
        except ValueError:  # not bound yet
            pass
    return copy
