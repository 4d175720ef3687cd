"""Two environment variables for whoever looks inside the compiler.

``FAD_DEBUG=1`` prints what is compiled and how long it took, 2 the loops, 3 the simplified tree, 4 the LLVM IR: each with
what comes before. ``FAD_CHECK=1`` asks every node of a tree for its shape and dtype again after each pass, and LLVM to
verify the IR.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from fad.errors import FadError
from fad.expr import aval_text
from fad.function import Function
from fad.native.engine import is_checking

__all__ = ["CompilerError", "check", "show", "shows"]


class CompilerError(FadError):
    """A pass of the compiler made a tree that does not hold together: a bug in fad."""


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
                raise CompilerError(f"{step}: {node.op.name} says {aval_text(node.shape, node.dtype)}", got=aval_text(shape, dtype),
                                    rule="a pass keeps shapes and dtypes", fix="report this; FAD_DEBUG=3 shows the tree")
    return function
