"""Compile an elementwise function of Values and run it on arrays; errors in units in the last place."""

import ctypes
from collections.abc import Callable

import numpy as np

from fad.compile.engine import load, machine
from fad.compile.ir import Block, Module, Value, typed

KIND = {"float64": "double", "float32": "float"}


def elementwise(f: Callable[..., Value], dtype, lanes: int = 8, arity: int = 1, has_fma: bool | None = None):
    """run(*arrays) = f of them, element by element, in vectors of so many lanes."""
    dtype = np.dtype(dtype)
    kind = KIND[dtype.name]
    module = Module(machine().has_fma if has_fma is None else has_fma)

    def body(block: Block) -> None:
        with block.loop(0, Value(block, "%n", "i64", 1), lanes) as loop:
            def at(name: str) -> str:
                return loop.write(f"getelementptr {kind}, ptr %{name}, i64 {loop.index.name}", "ptr", 1).name

            load_ = lambda k: loop.effect(f"load {typed(kind, lanes)}, ptr {at(f'x{k}')}, align {dtype.itemsize}", kind, lanes)
            y = f(*map(load_, range(arity)))
            loop.append(f"store {y.type} {y.name}, ptr {at('y')}, align {dtype.itemsize}")

    module.function("void @k(" + "".join(f"ptr %x{k}, " for k in range(arity)) + "ptr %y, i64 %n)", body)
    code = load(str(module))
    native = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * (arity + 1), ctypes.c_int64)(code.address("k"))

    def run(*arrays) -> np.ndarray:
        arrays = [np.ravel(a).astype(dtype) for a in np.broadcast_arrays(*arrays)]
        n = arrays[0].size
        padded = [np.concatenate([a, np.ones(-n % lanes, dtype)]) for a in arrays]
        out = np.empty_like(padded[0])
        native(*(a.ctypes.data for a in padded), out.ctypes.data, out.size)
        return out[:n]

    run.code, run.text, run.native = code, str(module), native  # what run calls must live as long as it does
    return run


def ulps(got: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """|got - exact| in spacings of the rounded exact value; 0 where both are the same infinity or NaN."""
    exact = np.asarray(exact, np.longdouble)
    rounded = exact.astype(got.dtype)
    with np.errstate(all="ignore"):
        error = np.abs(got - exact) / np.spacing(np.abs(rounded)).astype(np.longdouble)
    same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
    return np.where(np.isfinite(rounded) & np.isfinite(got), error, np.where(same, 0, np.inf))
