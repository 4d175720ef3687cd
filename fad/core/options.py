"""Checks of what users pass: a count, number, function or array that is none raises at the user's line."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from fad.core.expr import Expr, short
from fad.errors import DtypeError, OutOfRangeError

__all__ = ["count", "function", "number", "numbers", "weak"]


def count(name: str, value: Any, low: int = 1) -> int:
    """An integer of at least `low`.

    >>> count("units", np.int64(3))
    3
    """
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < low:
        raise OutOfRangeError(
            name, got=repr(value), rule=f"it is an integer of at least {low}", fix=f"{name.split(': ')[-1]}={max(low, 1)}, say"
        )
    return int(value)


def number(name: str, value: Any, rule: str = "a real number", holds: Callable[[float], bool] = lambda v: v == v) -> Any:
    """A real number for which `rule` holds: a Python float, which is weak in promotion; a scalar node stays what it is.

    >>> number("rate", np.float64(0.5))
    0.5
    """
    if isinstance(value, Expr):
        if value.shape == () and value.dtype.kind in "fiu":
            return value
    elif isinstance(value, int | float | np.number | np.ndarray) and not isinstance(value, bool):
        array = np.asarray(value)
        if array.shape == () and array.dtype.kind in "fiu":
            if holds(float(array)):
                return float(array)
            raise OutOfRangeError(name, got=value, rule=rule, fix="pass a number for which this holds")
    raise DtypeError(f"{name} is not a number", got=short(value), rule=rule, fix="pass a float")


def function(name: str, value: Any, fix: str, arguments: int | None = None) -> Any:
    """A callable, of so many arguments where it says how many it takes."""
    if not callable(value):
        raise DtypeError(f"{name} is not a function", got=repr(value), rule="it is called", fix=fix)
    if arguments is not None:
        with suppress(ValueError):  # functions in C may have no signature
            try:
                inspect.signature(value).bind(*[None] * arguments)
            except TypeError as error:
                raise DtypeError(f"{name}: {error}", got=repr(value), rule=f"it takes {arguments} arguments", fix=fix) from None
    return value


def numbers(what: str, x: Any) -> Any:
    """An array or node of numbers, made of lists of them where it is none.

    >>> numbers("data", [1, 2])
    array([1, 2])
    """
    if type(x) is not np.ndarray and not isinstance(x, Expr):
        if isinstance(x, np.ma.MaskedArray):
            raise DtypeError(f"{what}: a masked array", got=short(x), rule="its mask would be lost",
                             fix="x.filled(0), and a loss that leaves those elements out")  # fmt: skip
        with suppress(ValueError):  # a ragged list stays one
            x = np.asarray(x)
    if not hasattr(x, "dtype") or x.dtype.kind not in "biufc":
        raise DtypeError(f"{what}: no array of numbers", got=short(x), rule="one number or row of numbers for each example",
                         fix="np.asarray(x, np.float32); np.unique(x, return_inverse=True)[1] numbers categories")  # fmt: skip
    return x


def weak(factor: Any, x: Any) -> Any:
    """A factor in the dtype of a float array x: float64 scalars and nodes must not promote float32.

    >>> weak(np.float64(0.5), np.ones(2, np.float32)).dtype
    dtype('float32')
    """
    if type(factor) is float or not hasattr(factor, "astype") or not hasattr(x, "dtype") or factor.dtype == x.dtype:
        return factor
    return factor.astype(x.dtype) if np.can_cast(factor.dtype, x.dtype, "same_kind") else factor
