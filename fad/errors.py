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
import optree

__all__ = [
    "FadError",
    "ShapeError",
    "DtypeError",
    "TreeError",
    "TraceError",
    "NoMemoryError",
    "AssignmentError",
    "OutOfRangeError",
    "SingularError",
    "KeyMissingError",
    "NonFiniteError",
    "NameMissingError",
    "NotLinearError",
    "FrozenWarning",
    "user_line",
]

_PACKAGES = os.path.dirname(os.path.dirname(os.path.abspath(np.__file__))) + os.sep
_OWN = (os.path.dirname(os.path.abspath(__file__)) + os.sep, "<frozen", "<__array_function__")
_LIBRARIES = tuple(_PACKAGES + name + os.sep for name in ("scipy", "numba", "pandas", "xarray", "pint", "sklearn"))
_NOT_USERS = (*_OWN, _PACKAGES + "numpy" + os.sep, os.path.dirname(os.path.abspath(optree.__file__)) + os.sep, *_LIBRARIES)


def user_line(traceback: TracebackType | None = None) -> str:
    """The innermost line outside fad, NumPy and its kin, as ``file:line in function``: of the stack, or of a traceback."""
    frame: FrameType | None = sys._getframe(1)
    line: int | None = None
    while traceback is not None:
        if not _inside(traceback.tb_frame, _NOT_USERS):
            frame, line = traceback.tb_frame, traceback.tb_lineno
        traceback = traceback.tb_next
    while frame is not None and _inside(frame, _NOT_USERS):
        frame = frame.f_back
    if frame is None:
        return "an unknown line"
    path = frame.f_code.co_filename
    path = os.path.relpath(path) if os.path.isabs(path) else path
    return f"{path}:{line or frame.f_lineno} in {frame.f_code.co_name}"


def _inside(frame: FrameType, places: tuple) -> bool:
    return frame.f_code.co_filename.startswith(places)


def library_call() -> str:
    """The function of SciPy or another library that the user called, as ``scipy.special.softmax``; "" where there is none."""
    frame: FrameType | None = sys._getframe(1)
    name = ""
    while frame is not None and _inside(frame, _NOT_USERS):
        if _inside(frame, _LIBRARIES):
            public = [part for part in frame.f_globals.get("__name__", "").split(".") if not part.startswith("_")]
            name = ".".join([*public, frame.f_code.co_name])
        frame = frame.f_back
    return name


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


class NoMemoryError(TraceError, AttributeError):
    """A node asked for what belongs to an array's memory."""


class AssignmentError(FadError, TypeError):
    """Assignment into an immutable node, or of a node into an array."""


class OutOfRangeError(FadError, IndexError):
    """An index outside its axis."""


class SingularError(FadError, np.linalg.LinAlgError):
    """A matrix that cannot be factored: singular, not positive definite, or without convergence."""


class KeyMissingError(FadError, TypeError):
    """A random function called without a key."""


class NameMissingError(FadError, LookupError):
    """A name that a function gives to none of its values."""


class NotLinearError(FadError, TypeError):
    """A function that is not linear, where one is needed."""


class FrozenWarning(FadError, UserWarning):
    """Something that changes became a constant of a compiled program."""


class NonFiniteError(FadError, FloatingPointError):
    """NaN or infinity where training cannot go on, or a NaN where `fad.debug_nans` looks for one."""
