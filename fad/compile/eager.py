"""Programs that eager evaluation runs: a loop of many iterations, whose Python would take longer than compiling it."""

from __future__ import annotations

import numpy as np

from fad.compile.cache import program_for
from fad.control.loop import loop as primitive
from fad.core.expr import Var
from fad.core.function import Function
from fad.primitives.result import results_of

__all__ = ["loop"]


def loop(args: tuple, params: dict) -> tuple | None:
    """The results of a loop from native code; None where NumPy has a part in it."""
    leaves = [np.asarray(a)[()] for a in args]
    inputs = [Var("x", a.shape, a.dtype) for a in leaves]
    program, _ = program_for(Function(inputs, results_of(primitive(*inputs, **params))))
    return None if program.called else tuple(program(leaves))
