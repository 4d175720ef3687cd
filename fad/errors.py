"""Errors that answer five questions: what, what was got, the rule, where in the user's code, the fix.

>>> raise ShapeError("reshape: sizes differ", got="f64[3] to (2, 2)", rule="3 != 4", fix="pass (3,)")
Traceback (most recent call last):
    ...
fad.errors.ShapeError: reshape: sizes differ: got f64[3] to (2, 2); 3 != 4...
"""

from __future__ import annotations

import os
import sys
from types import FrameType, TracebackType

import numpy as np

__all__ = [
    "FadError",
    "ShapeError",
    "DtypeError",
    "TreeError",
    "TraceError",
    "AssignmentError",
    "OutOfRangeError",
    "SingularError",
    "KeyMissingError",
    "NonFiniteError",
    "user_line",
]

_NOT_USERS = (*(os.path.dirname(os.path.abspath(path)) + os.sep for path in (__file__, np.__file__)),
              "<frozen", "<__array_function__")


def user_line(traceback: TracebackType | None = None) -> str:
    """The innermost line outside fad and NumPy, as ``file:line in function``: of the stack, or of a traceback."""
    frame, line = sys._getframe(1), None
    while traceback is not None:
        if _is_users(traceback.tb_frame):
            frame, line = traceback.tb_frame, traceback.tb_lineno
        traceback = traceback.tb_next
    while frame is not None and not _is_users(frame):
        frame = frame.f_back
    if frame is None:
        return "an unknown line"
    path = frame.f_code.co_filename
    path = os.path.relpath(path) if os.path.isabs(path) else path
    return f"{path}:{line or frame.f_lineno} in {frame.f_code.co_name}"


def _is_users(frame: FrameType) -> bool:
    path = frame.f_code.co_filename
    return not path.startswith(_NOT_USERS)


class FadError(Exception):
    """Base of all errors fad raises on purpose."""

    def __init__(self, what: str, *, got: object = None, rule: str = "", where: str = "", fix: str = ""):
        text = what
        if got is not None:
            text += f": got {got}"
        if rule:
            text += f"; {rule}"
        text += f"\n  at {where or user_line()}"
        if fix:
            text += f"\n  fix: {fix}"
        super().__init__(text)


class ShapeError(FadError, ValueError):
    """Shapes that do not fit."""


class DtypeError(FadError, TypeError):
    """A value of a type or dtype that cannot be used here."""


class TreeError(FadError, ValueError):
    """Pytrees whose structures differ."""


class TraceError(FadError, TypeError):
    """A node asked for what only a number has, or used where its trace is not."""


class AssignmentError(FadError, TypeError):
    """Assignment into an immutable node, or of a node into an array."""


class OutOfRangeError(FadError, IndexError):
    """An index outside its axis."""


class SingularError(FadError, np.linalg.LinAlgError):
    """A matrix that cannot be factored: singular, not positive definite, or without convergence."""


class KeyMissingError(FadError, TypeError):
    """A random function called without a key."""


class NonFiniteError(FadError, FloatingPointError):
    """NaN or infinity where training cannot go on."""
