"""How a numba kernel meets the threads: a function of (data, begin, end), run over pieces of its work.

``data`` is what C calls a struct: addresses and lengths of the arrays, then the integers of the geometry, 8 bytes each. A kernel reads it with
`floats` and `numbers`, and is compiled once for each dtype, as its numba signature says what its arrays hold.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, cfunc, types
from numba.core import cgutils
from numba.extending import intrinsic

from fad.native.launch import launcher

__all__ = ["Kernel", "entry", "floats", "numbers", "run"]


@intrinsic(prefer_literal=True)
def numbers(context: Any, data: Any, first: Any, count: Any) -> Any:
    """A tuple of ``count`` integers of the data, from number ``first`` on."""
    start, many = first.literal_value, count.literal_value

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        words = builder.bitcast(args[0], ir.IntType(64).as_pointer())
        values = [builder.load(cgutils.gep_inbounds(builder, words, start + k)) for k in range(many)]
        return context.make_tuple(builder, signature.return_type, values)

    return types.UniTuple(types.int64, many)(data, first, count), codegen


@intrinsic
def pointer(context: Any, data: Any, k: Any) -> Any:
    """The address that is number ``k`` of the data, and the length that follows it."""
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = builder.gep(builder.bitcast(args[0], ir.IntType(64).as_pointer()), [args[1]])
        address = builder.inttoptr(builder.load(place), context.get_value_type(data))
        length = builder.load(cgutils.gep_inbounds(builder, place, 1))
        return context.make_tuple(builder, signature.return_type, [address, length])

    return types.Tuple([data, types.int64])(data, types.int64), codegen


from numba import njit


@njit
def floats(data, first):
    """The array whose address and length are numbers ``first`` and ``first + 1`` of the data, flat."""
    address, length = pointer(data, first)
    return carray(address, length)


class Kernel:
    def __init__(self, function):
        self.function = function
        self.made = {}

    def address(self, dtype):
        if dtype not in self.made:
            kind = types.float32 if dtype == np.float32 else types.float64
            self.made[dtype] = cfunc(types.void(types.CPointer(kind), types.int64, types.int64), cache=True)(self.function)
        return self.made[dtype].address


def entry(function):
    return Kernel(function)


@functools.cache
def _launch():
    return ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 3, ctypes.c_void_p)(launcher())


def run(kernel, arrays, geometry, pieces):
    words = []
    for x in arrays:
        words += [x.ctypes.data, x.size]
    data = np.array(words + list(geometry), np.int64)
    _launch()(kernel.address(arrays[0].dtype), data.ctypes.data, 0, pieces, 1, None)
