"""How a numba kernel meets the threads: a function of (data, begin, end) that does some pieces of its work.

``data`` is what C calls a struct: 8 bytes each for the address and the length of up to ARRAYS arrays, then for the integers of
the geometry. A kernel reads it with `floats`, `integers` and `numbers`. It is compiled once for each dtype, which its signature
names, and then kept by numba on disk. Under NUMBA_DISABLE_JIT=1 data is a pair of tuples, and all is plain Python.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, config, from_dtype, get_num_threads, njit, prange, set_num_threads, types
from numba.core import cgutils
from numba.core.caching import FunctionCache
from numba.core.ccallback import CFunc
from numba.extending import intrinsic, overload
from numba.np.ufunc import parallel

from fad.native import launch, threads
from fad.native.fork import at_work

__all__ = ["Kernel", "cached", "floats", "integers", "numbers", "part", "run"]

ARRAYS = 6  # at most
PATIENCE = 2.0  # seconds of compilation before a line says so


# What compiled code calls, and Python does not.
part = njit(error_model="numpy")


# -- what a kernel reads ----------------------------------------------------------------------------------------------------


def floats(data: Any, k: int) -> Any:
    """Array k, flat, of the kernel's dtype."""
    return data[0][k]


def integers(data: Any, k: int) -> Any:
    """Array k, flat, of int64."""
    return data[0][k]


def numbers(data: Any, first: int, count: int) -> Any:
    """A tuple of ``count`` integers of the geometry, from number ``first`` on."""
    return data[1][first : first + count]


def words(builder: Any, data: Any) -> Any:
    """The data as 64-bit integers."""
    return builder.bitcast(data, ir.IntType(64).as_pointer())


def place(kind: Any) -> Callable:
    """An intrinsic's code for the address, of an array of ``kind``, and the length of array k."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        first = builder.gep(words(builder, args[0]), [builder.mul(args[1], ir.IntType(64)(2))])
        address = builder.inttoptr(builder.load(first), context.get_value_type(kind))
        return context.make_tuple(builder, signature.return_type, [address, builder.load(cgutils.gep_inbounds(builder, first, 1))])

    return codegen


@intrinsic
def place_of_floats(context, data, k):
    return types.Tuple([data, types.int64])(data, types.int64), place(data)


@intrinsic
def place_of_integers(context, data, k):
    kind = types.CPointer(types.int64)
    return types.Tuple([kind, types.int64])(data, types.int64), place(kind)


@intrinsic(prefer_literal=True)
def native_numbers(context, data, first, count):
    start, many = 2 * ARRAYS + first.literal_value, count.literal_value

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        found = [builder.load(cgutils.gep_inbounds(builder, words(builder, args[0]), start + k)) for k in range(many)]
        return context.make_tuple(builder, signature.return_type, found)

    return types.UniTuple(types.int64, many)(data, first, count), codegen


@overload(floats)
def compiled_floats(data, k):
    def found(data, k):
        address, length = place_of_floats(data, k)
        return carray(address, length)

    return found


@overload(integers)
def compiled_integers(data, k):
    def found(data, k):
        address, length = place_of_integers(data, k)
        return carray(address, length)

    return found


@overload(numbers, prefer_literal=True)
def compiled_numbers(data, first, count):
    return lambda data, first, count: native_numbers(data, first, count)


# -- kernels, and the threads that run them ---------------------------------------------------------------------------------


class Kernel:
    """A function of (data, begin, end), to be run over pieces; `address` compiles it."""

    def __init__(self, function: Callable) -> None:
        self.function, self.compiled = function, dict[np.dtype, CFunc]()
        self.lock = threading.Lock()

    def address(self, dtype: np.dtype) -> int:
        """The address of the C function for arrays of this dtype: from numba's cache, or compiled, which takes seconds."""
        found = self.compiled.get(dtype)
        if found is None:
            with at_work(), self.lock, progress(f"compiling the kernel {self.function.__name__} for {dtype}, once on this machine"):
                found = self.compiled[dtype] = self.compiled.get(dtype) or self.compile(dtype)
        return found.address

    def compile(self, dtype: np.dtype) -> CFunc:
        """The C function for arrays of this dtype."""
        arguments = types.CPointer(from_dtype(dtype)), types.int64, types.int64
        found = CFunc(self.function, (arguments, types.void), locals={}, options={"error_model": "numpy"})
        found._cache = SourceCache(self.function)
        found.compile()
        return found


class SourceCache(FunctionCache):
    """numba's cache on disk, for code from several files: numba asks for the state of the function's own only."""

    def _index_key(self, sig: Any, codegen: Any) -> tuple:
        return (*super()._index_key(sig, codegen), state_of_sources())


@functools.cache
def state_of_sources() -> str:
    """A digest of the files that kernels are made from."""
    folder = Path(__file__).parent
    below = [folder.parent / "native" / name for name in ("functions.py", "tile.py", "ir.py", "machine_model.py")]
    files = sorted([*folder.glob("*.py"), *below])
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def cached(function: Any) -> Any:
    """A function compiled by numba, kept on disk."""
    if not config.DISABLE_JIT:
        function._cache = SourceCache(function.py_func)
    return function


class progress:
    """Says on stderr what takes long, if it does."""

    def __init__(self, text: str) -> None:
        self.timer = threading.Timer(PATIENCE, lambda: print(f"fad: {text} ...", file=sys.stderr, flush=True))  # noqa: T201
        self.timer.daemon = True

    def __enter__(self) -> None:
        self.timer.start()

    def __exit__(self, *_: object) -> None:
        self.timer.cancel()


def run(kernel: Kernel, arrays: Sequence[np.ndarray], geometry: Sequence[int], pieces: int) -> None:
    """Run pieces 0 to ``pieces`` of a kernel on all threads: of fad, or of numba where that is the threading layer."""
    if config.DISABLE_JIT:
        with np.errstate(over="ignore"):  # of random bits
            kernel.function((tuple(x.reshape(-1) for x in arrays), tuple(geometry)), 0, pieces)
        return
    data = np.empty(2 * ARRAYS + len(geometry), np.int64)
    for k, x in enumerate(arrays):
        data[2 * k], data[2 * k + 1] = x.ctypes.data, x.size
    data[2 * ARRAYS :] = geometry
    address = kernel.address(arrays[0].dtype)
    if threads.get_threading_layer() == "numba":
        run_on_numba(address, data, pieces)
    else:
        until, done = np.zeros(1, np.int64), 0
        while (done := launcher()(address, data.ctypes.data, done, pieces, 1, until.ctypes.data)) < pieces:
            until[0] = 0  # a tenth of a second has passed, and Python's signal handlers have run: an interrupt would have come here


@functools.cache
def launcher() -> Callable:
    """`fad.native.launch.launcher` as a Python function, which lets other Python threads run meanwhile."""
    return ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 3, ctypes.c_void_p)(launch.launcher())


@intrinsic
def call(context, address, data, begin, end):
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        n, pointer = ir.IntType(64), cgutils.voidptr_t
        kind = ir.FunctionType(ir.VoidType(), [pointer, n, n]).as_pointer()
        array = context.make_array(signature.args[1])(context, builder, args[1])
        builder.call(builder.inttoptr(args[0], kind), [builder.bitcast(array.data, pointer), args[2], args[3]])
        return context.get_dummy_value()

    return types.void(types.int64, data, types.int64, types.int64), codegen


@cached
@njit(parallel=True, nogil=True)
def spread_pieces(address, data, pieces):
    for piece in prange(pieces):
        call(address, data, piece, piece + 1)


@cached
@njit(nogil=True)
def do_pieces(address, data, pieces):
    call(address, data, 0, pieces)


_has_numbas = threading.Lock()
_orphaned = False  # whether this process is the fork of one in which numba's threads ran


def run_on_numba(address: int, data: np.ndarray, pieces: int) -> None:
    """The pieces on numba's threads. One launch has them at a time, as its workqueue ends the process otherwise; and a forked
    child of a process in which they ran does without, as OpenMP ends it otherwise. What cannot have them runs by itself."""
    if _orphaned or not _has_numbas.acquire(blocking=False):
        do_pieces(address, data, pieces)
        return
    before = get_num_threads()
    try:
        set_num_threads(min(threads.get_num_threads(), config.NUMBA_NUM_THREADS))
        spread_pieces(address, data, pieces)
    finally:
        set_num_threads(before)
        _has_numbas.release()


def _after_fork_in_child() -> None:
    global _has_numbas, _orphaned
    _has_numbas, _orphaned = threading.Lock(), _orphaned or getattr(parallel, "_is_initialized", True)


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_after_fork_in_child)
