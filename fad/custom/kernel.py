"""Kernels of one's own in programs: a function of scalars that numba compiles, called for each element."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fad.native.engine import SYMBOLS
from fad.native.ir import Value, write

__all__ = ["native_form"]

TYPES = {"double": "float64", "float": "float32"}


def native_form(name: str, kernel: Callable) -> Callable:
    """A function of vectors of elements that calls the kernel for each. Programs find it by its name when they are loaded."""
    made: dict[tuple, Any] = {}

    def symbol(kind: str, count: int) -> str:
        found = f"fad.user.{name}.{TYPES[kind]}"
        if (kind, count) not in made:
            import numba

            scalar = getattr(numba.types, TYPES[kind])
            function = getattr(kernel, "py_func", kernel)
            made[kind, count] = numba.cfunc(scalar(*[scalar] * count), nopython=True)(function)  # kept: it owns the code
            SYMBOLS[found] = made[kind, count].address
        return found

    def lower(*args: Value) -> Value:
        lanes, kind = max(a.lanes for a in args), args[0].kind
        function = symbol(kind, len(args))
        args = tuple([a.spread(lanes) for a in args])
        args[0].block.module.declare(f'declare {kind} @"{function}"({", ".join([kind] * len(args))})')
        if lanes == 1:
            return write(f'call {kind} @"{function}"({", ".join(f"{kind} {a.name}" for a in args)})', kind, 1, *args)
        y = Value(args[0].block.root, "poison", kind, lanes)
        for k in range(lanes):
            one = [write(f"extractelement {a.type} {a.name}, i64 {k}", kind, 1, a) for a in args]
            x = write(f'call {kind} @"{function}"({", ".join(f"{kind} {a.name}" for a in one)})', kind, 1, *one)
            y = write(f"insertelement {y.type} {y.name}, {kind} {x.name}, i64 {k}", kind, lanes, y, x)
        return y

    return lower
