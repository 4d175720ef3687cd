"""Functions whose captured arrays are nodes: ``table[i]`` with a symbol i, which an ndarray would ask for its numbers.

NumPy lets no library in where an ndarray is indexed. A node does: so a function that failed there runs once more, its source
as it stands, but with nodes in place of the arrays that it and the functions of its module look up.
"""

from __future__ import annotations

from collections.abc import Callable
from types import CellType, FunctionType
from typing import Any

import numpy as np

from fad.core.expr import as_node

__all__ = ["is_library", "rebuild", "with_nodes"]

_LIBRARIES = ("fad", "numba", "numpy", "scipy")  # their functions take nodes as they are, or never will


def with_nodes(f: Callable) -> Callable:
    """f with nodes for the arrays among its globals and its closure; f itself where it is no function of Python."""
    made: dict = {}
    return rebuild(f, _Names(f.__globals__, made), _stand_in, made) if type(f) is FunctionType else f


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
    if type(x) is FunctionType and not is_library(x):
        return rebuild(x, _Names(x.__globals__, made), _stand_in, made)
    return x


def is_library(f: FunctionType) -> bool:
    """Whether a function's author knows of nodes, or will never."""
    return (f.__module__ or "").split(".")[0] in _LIBRARIES


def rebuild(f: FunctionType, names: dict, stand_in: Callable[[Any, dict], Any], made: dict) -> FunctionType:
    """A function of the same code with other globals, and ``stand_in(value, made)`` for what its closure holds."""
    cells = tuple(CellType() for _ in f.__closure__ or ())
    copy = made[id(f)] = FunctionType(f.__code__, names, f.__name__, f.__defaults__, cells or None)
    copy.__kwdefaults__ = f.__kwdefaults__
    for cell, original in zip(cells, f.__closure__ or (), strict=True):
        try:
            cell.cell_contents = stand_in(original.cell_contents, made)
        except ValueError:  # not bound yet
            pass
    return copy
