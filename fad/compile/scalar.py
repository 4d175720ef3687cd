"""Elements in loops: the dtypes that memory and registers hold, the native form of an operation on them, and conversions."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from fad.core.lowering import ByKind
from fad.core.primitive import Primitive
from fad.native.elementwise import identity
from fad.native.ir import Value, constant, where
from fad.primitives.families import dtype_of

__all__ = ["KIND", "STORED", "convert", "kind_of", "loop_dtypes", "lower", "lowered"]

COMPUTED = ("f8", "f4", "i8", "i4", "b1", "u4", "u8")  # dtypes that elementwise operations compute in
KIND = {
    "f8": "double",
    "f4": "float",
    "i8": "i64",
    "i4": "i32",
    "b1": "i1",
}  # dtypes that programs compute in, reductions and selections too
STORED = {**KIND, "u1": "i8", "i1": "i8", "u2": "i16", "i2": "i16", "u4": "i32", "u8": "i64"}  # that they can load


def kind_of(dtype: Any) -> str:
    """The element kind of values of a dtype."""
    return STORED[np.dtype(dtype).str[1:]]


def loop_dtypes(op: Primitive, given: tuple, out: np.dtype) -> tuple | None:
    """The dtypes in which NumPy computes ``op`` on arguments of these; None where that is not known here."""
    if op.lower.operands is not None:
        return op.lower.operands(given, out)
    if not isinstance(op.evaluate, np.ufunc):
        return (out,) * len(given)
    kinds = [np.dtype(bool) if d is bool else d for d in given]
    try:
        return tuple(op.evaluate.resolve_dtypes((*kinds, *(None,) * op.evaluate.nout))[: op.evaluate.nin])
    except TypeError:  # Python numbers alone
        return None


def lower(op: Primitive, args: tuple, out: np.dtype) -> tuple[Callable, tuple] | None:
    """(function of values, dtypes of its operands) for an elementwise ``op(*args)``; None where NumPy must be called back."""
    if not isinstance(op.lower, ByKind):
        return None
    return _lower(op, tuple([dtype_of(a) for a in args]), out)


def lowered(op: Primitive, args: tuple, out: np.dtype) -> tuple[Callable, tuple]:
    """`lower` of what is known to have a native form."""
    found = lower(op, args, out)
    assert found is not None
    return found


@lru_cache(maxsize=8192)
def _lower(op: Primitive, given: tuple, out: np.dtype) -> tuple[Callable, tuple] | None:
    if any(np.dtype(d).str[1:] not in STORED for d in given) or out.str[1:] not in STORED:
        return None
    if op.role == "cast":  # from and to all dtypes that memory holds
        return identity, tuple(map(np.dtype, given))
    dtypes = loop_dtypes(op, given, out)
    if dtypes is None or out.str[1:] not in COMPUTED or any(np.dtype(d).str[1:] not in COMPUTED for d in dtypes):
        return None
    function = op.lower.of(np.dtype(dtypes[-1]))
    return None if function is None else (function, tuple(np.dtype(d) for d in dtypes))


def truncated(x: Value, new: np.dtype) -> Value:
    """Floats to integers as NumPy's loops convert them on x86, numbers out of range included: in 32 bits, of which narrower
    integers take the last ones, or in 64. What does not fit in there is the least of them."""
    wide = "i64" if new.itemsize == 8 else "i32"
    limit = 2.0 ** (63 if wide == "i64" else 31)

    def whole(x: Value) -> Value:
        return where(abs(x) < limit, x.to(wide), constant(-int(limit), x.to(wide)))

    if new.kind == "u" and new.itemsize >= 4:
        return where(x >= limit, whole(x - limit) ^ constant(-int(limit), whole(x)), whole(x))
    return whole(x).to(kind_of(new))


def convert(x: Value, old: Any, new: Any) -> Value:
    """A value of one dtype in another."""
    old, new = np.dtype(old), np.dtype(new)
    if old == new:
        return x
    if new.kind == "b":
        return x.to("i1")
    if old.kind == "f" and new.kind in "iu":
        return truncated(x, new)
    return x.to(kind_of(new), signed=old.kind not in "ub")
