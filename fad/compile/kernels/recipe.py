"""Recipes: which specs, in which order, make a product, a convolution, a pool or random bits; and how a recipe runs by itself.

A recipe names its buffers by number: operands from 0, scratch memory from -1 downwards. It runs by itself (`run`), as
eager code wants it, and the compiler takes its phases into a program, where other code follows on the result in registers.
The modules called ``*_recipes`` decide which recipe is made.
"""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fad.kernels.windows import strides_of
from fad.native import engine
from fad.native.ir import KINDS as NAMES
from fad.native.ir import Block, Value, write
from fad.native.launch import launcher
from fad.native.machine_model import CACHE_LINE, KERNEL_GRAIN
from fad.native.module import Module
from fad.native.tile import Epilogue, at, store

__all__ = ["KINDS", "Phase", "Recipe", "Spec", "fill", "grain", "run"]

KINDS = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}


class Spec(Protocol):
    """A kernel for operands of given shapes and strides. Specs are frozen and equal where their code is."""

    @property
    def pieces(self) -> int:
        """Pieces of work, any of which threads take in any order."""

    @property
    def work(self) -> float:
        """Operations."""

    def write(self, block: Block, pointers: list[Value], epilogue: Epilogue | None, begin: Value, end: Value) -> None:
        """The code of pieces from begin to end; ``pointers`` are those of the phase's buffers."""


@dataclass(frozen=True)
class Phase:
    """A spec and the buffers it works on; the last one of them may be where an epilogue stores."""

    spec: Spec
    buffers: tuple[int, ...]
    last: bool = False  # whether it makes the result, by way of the epilogue
    asks: bool = False  # whether it may fail, and then says so: the flag is its last buffer


@dataclass(frozen=True)
class Recipe:
    """Phases in order. Where there are several ``chunks``, the last scratch buffer holds as many results, whose sum is the
    result; otherwise the phases marked ``last`` give it to the epilogue."""

    phases: tuple[Phase, ...]
    scratch: tuple[int, ...]  # elements of scratch buffers -1, -2, ...
    shape: tuple
    chunks: int = 1
    joins: tuple[int, ...] = ()  # how many axes of the result each entry of the epilogue's index counts; (): one each


def grain(spec: Spec) -> int:
    """Pieces that a thread takes at once; there are eight portions or more."""
    return max(1, min(int(spec.pieces * KERNEL_GRAIN / max(spec.work, 1)), -(-spec.pieces // 8)))


LAUNCH = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 3, ctypes.c_void_p)


def run(recipe: Recipe, operands: list[np.ndarray], dtype: np.dtype) -> np.ndarray:
    """The result of a recipe on arrays."""
    out = np.empty(recipe.shape, dtype)
    fill(recipe, operands, [scratch(n, dtype) for n in recipe.scratch], out)
    return out


def scratch(n: int, dtype: np.dtype) -> np.ndarray:
    """Memory for so many elements that begins with a line of the cache, as vectors should."""
    memory = np.empty(n * dtype.itemsize + CACHE_LINE, np.uint8)
    start = -memory.ctypes.data % CACHE_LINE
    return memory[start : start + n * dtype.itemsize].view(dtype)


def fill(recipe: Recipe, operands: list[np.ndarray], memory: list[np.ndarray], out: np.ndarray) -> None:
    """The result of a recipe into a contiguous array, by way of scratch memory."""
    launch = LAUNCH(launcher())
    _loaded, addresses = compiled(recipe, out.dtype)  # the first owns the code
    for phase, code in zip(recipe.phases, addresses, strict=True):
        arrays = [*(operands[b] if b >= 0 else memory[-1 - b] for b in phase.buffers), out]
        table = (ctypes.c_void_p * len(arrays))(*[a.ctypes.data for a in arrays])
        begin, total = 0, phase.spec.pieces
        while begin < total:  # more than once where it takes long, for Python to look after signals
            begin = launch(code, ctypes.addressof(table), begin, total, grain(phase.spec), ctypes.byref(ctypes.c_int64(0)))
    if recipe.chunks > 1:
        np.sum(memory[-1].reshape(recipe.chunks, -1), axis=0, out=out.reshape(-1))


@functools.lru_cache(maxsize=1024)
def compiled(recipe: Recipe, dtype: np.dtype) -> tuple[engine.Loaded, list[int]]:
    """The phases' functions, which store the result as it is, and their addresses."""
    module = Module(engine.machine().has_fma)
    ends = np.cumsum(recipe.joins or (1,) * len(recipe.shape)) - 1
    strides = tuple(strides_of(recipe.shape)[k] for k in ends)
    for k, phase in enumerate(recipe.phases):
        write_function(module, f"phase{k}", phase, NAMES[dtype.str[1:]], dtype.itemsize, strides)
    loaded = engine.load(str(module))
    return loaded, [loaded.address(f"phase{k}") for k in range(len(recipe.phases))]


def write_function(module: Module, name: str, phase: Phase, kind: str, size: int, strides: tuple) -> None:
    """A phase as a function of (addresses of its buffers and the result, begin, end)."""

    def body(block: Block) -> None:
        data = Value(block, "%data", "ptr", 1)
        pointers = []
        for k in range(len(phase.buffers) + 1):
            p = write(f"getelementptr ptr, ptr {data.name}, i64 {k}", "ptr", 1, data)
            pointers.append(Value(block, write(f"load ptr, ptr {p.name}, align 8", "ptr", 1, p).name, kind, 1))

        def epilogue(inside: Block, index: list, value: Value) -> None:
            p = pointers[-1]
            for i, s in zip(index, strides, strict=True):
                p = at(p, i * s)
            store(inside, p, value, size)

        begin, end = Value(block, "%begin", "i64", 1), Value(block, "%end", "i64", 1)
        phase.spec.write(block, pointers[:-1], Epilogue(epilogue) if phase.last else None, begin, end)

    module.function(f"void @{name}(ptr noalias %data, i64 %begin, i64 %end)", body)
