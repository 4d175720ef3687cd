"""Random numbers that a function draws from NumPy while it is traced: they are constants of the tree, and jit warns of them.

This takes a few microseconds a trace. What it does not see: one normal number of `np.random` that was left over from a pair drawn
before, generators that the function reaches through attributes or other functions, Python's own `random`, the time.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fad.errors import FrozenWarning

__all__ = ["states", "warning"]

_UNUSED = (623).to_bytes(4, sys.byteorder)  # the position of `np.random` when it is loaded


def states(f: Callable) -> list:
    """What changes when f draws: of `np.random` itself, and of the generators f closes over or refers to by name."""
    if "numpy.random" not in sys.modules:  # nobody has one, and importing it takes a while
        return []
    return [_state(g) for g in _generators(f)]


def warning(f: Callable, before: list) -> FrozenWarning | None:
    """The warning where f has drawn since ``before``."""
    after = states(f)
    if after == before or (not before and after[0][-4:] == _UNUSED):  # loaded by f, but not drawn from
        return None
    code = getattr(f, "__code__", None)
    return FrozenWarning(
        "jit: random numbers of NumPy were drawn while the function was traced",
        got=getattr(f, "__name__", repr(f)),
        rule="what a function draws, reads or computes without its arguments is a constant of the program",
        where=f"{code.co_filename}:{code.co_firstlineno}" if code else "",
        fix="draw with fad.random from a key that is an argument, or draw outside and pass the numbers",
    )


def _generators(f: Any) -> Iterator[Any]:
    yield np.random.get_bit_generator()  # type: ignore[attr-defined]
    code, names = getattr(f, "__code__", None), getattr(f, "__globals__", {})
    referred = [names.get(name) for name in code.co_names] if code else []
    for cell in getattr(f, "__closure__", None) or ():
        try:
            referred.append(cell.cell_contents)
        except ValueError:  # not bound yet
            pass
    for x in referred:
        if isinstance(x, np.random.Generator):
            yield x.bit_generator
        elif isinstance(x, np.random.RandomState):
            yield x._bit_generator


def _state(bits: Any) -> Any:
    if type(bits) is np.random.MT19937:  # its own way to tell takes 0.1 ms
        return ctypes.string_at(bits.ctypes.state_address, 625 * 4)  # 624 words and a position
    return repr(bits.state)
