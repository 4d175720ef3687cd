"""Programs by structure: equal Functions share one program in this process.

A program lives as long as something uses it, as a jitted function does. Those made last are kept beyond that, for functions
that are defined again and again, but only so many bytes of them.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from weakref import WeakValueDictionary

from fad.compile.program import Program, build
from fad.core.function import Function

__all__ = ["program_for"]

KEPT = 16 << 20  # bytes of programs that nothing uses

_programs: WeakValueDictionary[tuple, Program] = WeakValueDictionary()
_recent: OrderedDict[tuple, Program] = OrderedDict()
_lock = threading.RLock()  # a signal handler or a destructor may come back here


def program_for(function: Function, donated: frozenset = frozenset()) -> tuple[Program, str]:
    """The program of a Function, and where it came from: compiled now, or found in this process."""
    key = (function.key[1], donated)
    with _lock:
        program = _programs.get(key)
    origin = "found in this process"
    if program is None:
        program = build(function, donated)
        origin = program.origin
    with _lock:
        dropped = _keep(key, program)
    del dropped  # without the lock, as destructors run
    return program, origin


def _keep(key: tuple, program: Program) -> list[Program]:
    """Note a program as the one used last. Gives those that are too many now."""
    _programs[key] = program
    _recent[key] = program
    _recent.move_to_end(key)
    total, dropped = sum([p.nbytes for p in list(_recent.values())]), []
    while total > KEPT and _recent:
        dropped.append(_recent.popitem(last=False)[1])
        total -= dropped[-1].nbytes
    return dropped


def _after_fork_in_child() -> None:
    """Another thread may have held the lock."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
