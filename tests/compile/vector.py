"""Compile an elementwise function of Values and run it on arrays; errors in units in the last place."""

import ctypes
from collections.abc import Callable

import numpy as np
import pytest

from fad.native.cpu import machine
from fad.native.engine import load
from fad.native.ir import Block, Value, typed
from fad.native.module import Module

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


def exact(name: str, *arrays: np.ndarray) -> np.ndarray:
    """NumPy's function in a wider format: long double for float64, float64 for float32."""
    wide = np.float64 if arrays[0].dtype == np.float32 else np.longdouble
    if wide is np.longdouble and np.finfo(wide).nmant < 63:
        pytest.skip("no long double on this machine")
    return getattr(np, name)(*(a.astype(wide) for a in arrays))


def patterns(rng: np.random.Generator, dtype, n: int) -> np.ndarray:
    """Floats with random bits: all magnitudes, and a few NaN."""
    size = np.dtype(dtype).itemsize
    return rng.integers(0, 2 ** (8 * size), n, dtype=f"u{size}").view(dtype)


def log_spaced(rng: np.random.Generator, dtype, n: int, top: float | None = None) -> np.ndarray:
    """Numbers of both signs whose logarithm is uniform, from the smallest subnormal one to 10^top."""
    info = np.finfo(dtype)
    x = 10.0 ** rng.uniform(np.log10(float(info.smallest_subnormal)), np.log10(float(info.max)) if top is None else top, n)
    return (x * rng.choice([-1, 1], n)).astype(dtype)


def edges(dtype) -> np.ndarray:
    """Zeros, ones, infinities, NaN, the ends of the normal and subnormal numbers, and the neighbours of one."""
    info, one = np.finfo(dtype), np.ones((), dtype)
    x = np.array(
        [
            0,
            1,
            info.max,
            info.smallest_normal,
            info.smallest_subnormal,
            info.smallest_normal - info.smallest_subnormal,
            np.nextafter(one, 2 * one),
            np.nextafter(one, 0 * one),
            info.eps,
            np.inf,
        ],
        dtype,
    )
    return np.concatenate([x, -x, [np.nan]]).astype(dtype)


EDGES = {"f8": edges("f8"), "f4": edges("f4")}
