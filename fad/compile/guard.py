"""Guards: whether the arguments of a call are of the kind a program was compiled for, asked in native code.

CPython and NumPy lay out their objects as the structs of their C headers say; a sample is compared with what NumPy
itself answers before any of it is used, and where they differ every call takes the slow path.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import numpy as np

from fad.compile import engine

__all__ = ["guard_table", "checker", "layout_is_known"]

# offsets in bytes: PyObject.ob_type; PyArrayObject.nd, .dimensions, .descr, .flags
CHECK = """
define i64 @check(ptr %items, ptr %guard) {
entry:
  %n = load i64, ptr %guard
  br label %object
object:
  %k = phi i64 [ 0, %entry ], [ %k.next, %good ]
  %g = phi i64 [ 1, %entry ], [ %g.next, %good ]
  %done = icmp sge i64 %k, %n
  br i1 %done, label %yes, label %type
type:
  %slot = getelementptr ptr, ptr %items, i64 %k
  %x = load ptr, ptr %slot
  %x.type = getelementptr i8, ptr %x, i64 8
  %t = load i64, ptr %x.type
  %want = getelementptr i64, ptr %guard, i64 %g
  %want.t = load i64, ptr %want
  %same.t = icmp eq i64 %t, %want.t
  br i1 %same.t, label %kind, label %no
kind:
  %want.descr = getelementptr i64, ptr %want, i64 1
  %wd = load i64, ptr %want.descr
  %g.scalar = add i64 %g, 2
  %is.scalar = icmp eq i64 %wd, 0
  br i1 %is.scalar, label %good, label %array
array:
  %x.descr = getelementptr i8, ptr %x, i64 56
  %d = load i64, ptr %x.descr
  %x.flags = getelementptr i8, ptr %x, i64 64
  %f = load i32, ptr %x.flags
  %f.two = and i32 %f, 257
  %x.nd = getelementptr i8, ptr %x, i64 24
  %nd = load i32, ptr %x.nd
  %nd.64 = sext i32 %nd to i64
  %want.nd = getelementptr i64, ptr %want, i64 2
  %wn = load i64, ptr %want.nd
  %same.d = icmp eq i64 %d, %wd
  %same.f = icmp eq i32 %f.two, 257
  %same.n = icmp eq i64 %nd.64, %wn
  %two = and i1 %same.d, %same.f
  %three = and i1 %two, %same.n
  br i1 %three, label %shape, label %no
shape:
  %x.dims = getelementptr i8, ptr %x, i64 32
  %dims = load ptr, ptr %x.dims
  %g.dims = add i64 %g, 3
  %g.end = add i64 %g.dims, %wn
  br label %dim
dim:
  %j = phi i64 [ 0, %shape ], [ %j.next, %dim.same ]
  %last = icmp sge i64 %j, %wn
  br i1 %last, label %good, label %dim.test
dim.test:
  %dp = getelementptr i64, ptr %dims, i64 %j
  %size = load i64, ptr %dp
  %gj = add i64 %g.dims, %j
  %wp = getelementptr i64, ptr %guard, i64 %gj
  %want.size = load i64, ptr %wp
  %same.size = icmp eq i64 %size, %want.size
  br i1 %same.size, label %dim.same, label %no
dim.same:
  %j.next = add i64 %j, 1
  br label %dim
good:
  %g.next = phi i64 [ %g.scalar, %kind ], [ %g.end, %dim ]
  %k.next = add i64 %k, 1
  br label %object
yes:
  ret i64 0
no:
  ret i64 1
}
"""


def guard_table(avals: Any) -> Any:
    """For every argument its type's address; for arrays also the dtype's address, the rank and the shape.

    ``avals`` are types of scalars, or (shape, dtype) of arrays."""
    table = [len(avals)]
    for a in avals:
        if isinstance(a, type):
            table += [id(a), 0]
        else:
            shape, dtype = a
            table += [id(np.ndarray), id(dtype), len(shape), *shape]
    return (ctypes.c_int64 * len(table))(*table)


@functools.cache
def checker() -> tuple[Any, int]:
    """The loaded ``check(items, guard)``, 0 where the objects are as the guard says; and its address."""
    loaded = engine.load(CHECK)
    return loaded, loaded.address("check")


@functools.cache
def layout_is_known() -> bool:
    """Whether objects lie in memory as this module believes."""
    x = np.arange(6.0).reshape(2, 3)
    items = [x, 2.5]

    def read(address: int, kind: Any) -> Any:
        return kind.from_address(address).value

    try:
        dims = read(id(x) + 32, ctypes.c_int64)
        return bool(
            ctypes.sizeof(ctypes.c_void_p) == 8 and read(id(x) + 8, ctypes.c_int64) == id(np.ndarray)
            and read(id(x) + 16, ctypes.c_int64) == x.ctypes.data and read(id(x) + 24, ctypes.c_int32) == 2
            and [read(dims, ctypes.c_int64), read(dims + 8, ctypes.c_int64)] == [2, 3]
            and read(id(x) + 56, ctypes.c_int64) == id(x.dtype) and read(id(x) + 64, ctypes.c_int32) == x.flags.num
            and read(id(items[1]) + 16, ctypes.c_double) == 2.5 and read(id(np.float32(1.5)) + 16, ctypes.c_float) == 1.5
            and read(read(id(items) + 24, ctypes.c_int64), ctypes.c_int64) == id(x))
    except (TypeError, ValueError):
        return False
