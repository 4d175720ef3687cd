"""SciPy's compiled functions in programs: special functions from `scipy.special.cython_special`, LAPACK's from
`scipy.linalg.cython_lapack`. Programs call them by symbol; where they lie is asked when a program that has one is loaded."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from importlib import import_module
from typing import Any

from fad.native.ir import Value, write
from fad.native.symbols import SYMBOLS

__all__ = ["call_lanes", "has_special", "lapack_symbol", "special"]


def call_lanes(symbol: str, args: tuple[Value, ...], more: str = "") -> Value:
    """A C function of numbers at each lane of its arguments; ``more`` are arguments after these."""
    lanes, kind = max(a.lanes for a in args), args[0].kind
    args = tuple([a.spread(lanes) for a in args])
    types = ", ".join([kind] * len(args) + ([more.split()[0]] if more else []))
    args[0].block.module.declare(f'declare {kind} @"{symbol}"({types})')

    def one_call(values: list[Value]) -> Value:
        given = ", ".join([f"{kind} {a.name}" for a in values] + ([more] if more else []))
        return write(f'call {kind} @"{symbol}"({given})', kind, 1, *values)

    if lanes == 1:
        return one_call(list(args))
    y = Value(args[0].block.root, "poison", kind, lanes)
    for k in range(lanes):
        x = one_call([write(f"extractelement {a.type} {a.name}, i64 {k}", kind, 1, a) for a in args])
        y = write(f"insertelement {y.type} {y.name}, {kind} {x.name}, i64 {k}", kind, lanes, y, x)
    return y


# -- where they lie ------------------------------------------------------------------------------------------------------


def capsule_name(capsule: Any) -> str:
    """The C type of a function that Cython exports."""
    get = ctypes.pythonapi.PyCapsule_GetName
    get.restype, get.argtypes = ctypes.c_char_p, [ctypes.py_object]
    return get(capsule).decode()


def address_in(capsule: Any) -> int:
    """Where it lies."""
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return get(capsule, capsule_name(capsule).encode())


SKIP = "int __pyx_skip_dispatch"  # the last argument of functions that Python can call, too
FUSED = ("", "__pyx_fuse_0", "__pyx_fuse_1", "__pyx_fuse_0_1")  # of functions of several types one is that of doubles


def special_capsule(name: str, count: int) -> Any:
    """The function of ``count`` doubles that `scipy.special.<name>` computes; None where there is none."""
    exported = import_module("scipy.special.cython_special").__pyx_capi__
    signature = f"double ({'double, ' * count}{SKIP})"
    found = [exported[p + name] for p in FUSED if p + name in exported]
    return next((c for c in found if capsule_name(c) == signature), None)


def has_special(name: str, count: int) -> bool:
    """Whether `scipy.special.<name>` can be called for ``count`` doubles."""
    return special_capsule(name, count) is not None


def special(name: str, count: int) -> Callable:
    """`scipy.special.<name>` of vectors of elements, one after another; those of float32 by way of doubles."""
    symbol = f"scipy.special.{name}.{count}"
    SYMBOLS[symbol] = (name, "f", lambda: address_in(special_capsule(name, count)))

    def lower(*args: Value) -> Value:
        kind = args[0].kind
        return call_lanes(symbol, tuple([a.to("double") for a in args]), "i32 0").to(kind)

    return lower


@functools.cache
def lapack_symbol(name: str) -> str:
    """The symbol of a routine of LAPACK or BLAS, ``dpotrf``; its integers have 32 bits and all its arguments are pointers."""
    symbol = f"scipy.lapack.{name}"
    SYMBOLS[symbol] = (name, "f", lambda: address_in(lapack_capsule(name)))
    return symbol


def lapack_capsule(name: str) -> Any:
    """The routine."""
    homes = [import_module(f"scipy.linalg.cython_{library}").__pyx_capi__ for library in ("lapack", "blas")]
    return next(home[name] for home in homes if name in home)
