"""Kernels of one's own in programs: a function of scalars that numba compiles, called for each element."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from fad.native.ir import Value
from fad.native.scipy_code import call_lanes
from fad.native.symbols import SYMBOLS

__all__ = ["native_form"]

TYPES = {"double": "float64", "float": "float32"}
CODES = {"double": "f8", "float": "f4"}


def symbol_of(name: str, kind: str) -> str:
    """What a kernel is called in programs."""
    return f"fad.user.{name}.{TYPES[kind]}"


def address_of(made: Callable) -> int:
    """Where the code of a kernel lies, which is compiled when this is asked first."""
    return made().address


def native_form(name: str, kernel: Callable) -> Callable:
    """A function of vectors of elements that calls the kernel for each. Programs find it by its name when they are loaded."""
    function = getattr(kernel, "py_func", kernel)
    count = len(inspect.signature(function).parameters)

    def compile_for(dtype: str) -> Any:
        import numba

        scalar = getattr(numba.types, dtype)
        return numba.cfunc(scalar(*[scalar] * count), nopython=True)(function)

    for kind, dtype in TYPES.items():
        made = functools.cache(functools.partial(compile_for, dtype))  # kept: it owns the code
        SYMBOLS[symbol_of(name, kind)] = (name, CODES[kind], functools.partial(address_of, made))

    def lower(*args: Value) -> Value:
        return call_lanes(symbol_of(name, args[0].kind), args)

    return lower
