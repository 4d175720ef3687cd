"""Two environment variables for whoever looks inside the compiler.

``FAD_DEBUG=1`` prints what is compiled and how long it took, 2 the loops, 3 the simplified tree, 4 the LLVM IR: each with
what comes before. ``FAD_CHECK=1`` asks after each pass whether what the next one takes for granted holds (`invariants`), every node
of a tree for its shape and dtype, and LLVM to verify the IR; and it raises what is otherwise a reason to leave an operation
to NumPy.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from fad.core.expr import aval_text
from fad.core.function import Function
from fad.errors import FadError
from fad.native.engine import is_checking

__all__ = ["CompilerError", "Refused", "attempted", "check", "show", "shows"]


class CompilerError(FadError):
    """A pass of the compiler made a tree that does not hold together: a bug in fad."""


class Refused(Exception):
    """The compiler failed at these nodes (ids)."""

    def __init__(self, error: Exception, nodes: set[int]):
        super().__init__(f"{type(error).__name__}: {error}")
        self.nodes = nodes


def attempted(f: Callable, *args: Any) -> Any:
    """``f(*args)``; None where it fails, which FAD_CHECK does not excuse."""
    try:
        return f(*args)
    except Exception as error:
        if is_checking():
            raise
        show(1, f"{getattr(f, '__name__', f)} failed", error)
        return None


def shows(level: int) -> bool:
    """Whether FAD_DEBUG asks for this much."""
    wanted = os.environ.get("FAD_DEBUG", "0")
    return wanted.isdigit() and int(wanted) >= level


def show(level: int, title: str, text: Any) -> None:
    """Print to stderr if FAD_DEBUG asks for this much."""
    if shows(level):
        sys.stderr.write(f"fad: {title}\n{text}\n")


def check(function: Function, step: str) -> Function:
    """The Function itself, every node of it asked again what it is."""
    if is_checking():
        for node in function.nodes:
            shape, dtype = node.op.abstract(*node.args, **node.params)
            if (tuple(shape), dtype) != (node.shape, node.dtype):
                raise CompilerError(
                    f"{step}: {node.op.name} says {aval_text(node.shape, node.dtype)}",
                    got=aval_text(shape, dtype),
                    rule="a pass keeps shapes and dtypes",
                    fix="report this; FAD_DEBUG=3 shows the tree",
                )
    return function
