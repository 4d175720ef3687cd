"""Programs by structure: equal Functions share one program in this process."""

from __future__ import annotations

import threading
from collections import OrderedDict

from fad.compile.program import Program
from fad.function import Function

__all__ = ["program_for"]

KEPT = 512  # programs

_programs: OrderedDict[tuple, Program] = OrderedDict()
_lock = threading.Lock()


def program_for(function: Function, donated: frozenset = frozenset()) -> tuple[Program, str]:
    """The program of a Function, and where it came from: compiled now, or found in this process."""
    key = (function.key[1], donated)
    with _lock:
        program = _programs.get(key)
        if program is not None:
            _programs.move_to_end(key)
            return program, "found in this process"
    program = Program(function, donated)
    with _lock:
        _programs[key] = program
        while len(_programs) > KEPT:
            _programs.popitem(last=False)
    return program, program.origin
