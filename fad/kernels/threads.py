"""One thread pool for every kernel: which numba layer, when it starts, and what a forked child does.

numba chooses its threading layer when its first parallel function runs. Two properties matter here. Several
Python threads may launch at once: OpenMP and TBB allow it, `workqueue` aborts the process. And a child forked
after GNU OpenMP started is killed when it enters a parallel region. So OpenMP is asked for first, launches
are serialised where only `workqueue` exists, and a forked child runs the serial twin of each kernel.
"""

from __future__ import annotations

import contextlib
import os
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any

import numba
import numpy as np

__all__ = ["Kernel", "kernel", "inner", "frozen", "start_pool"]

# Contraction lets LLVM fuse a multiply and an add. Anything further would change what NaN, inf and -0 mean.
OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": {"contract"}}

_start_lock = threading.Lock()
_started = False
_launch_guard: contextlib.AbstractContextManager = contextlib.nullcontext()
_forked = False  # True in a child whose parent had a running pool


def inner(body: Callable) -> Callable:
    """A serial numba function, for kernels to call inside their parallel loop."""
    return numba.njit(**OPTIONS)(body)


class Kernel:
    """A function of numba's `prange`, compiled at first call for all cores, or serially in a forked child.

    Arguments are numbers, tuples of numbers and arrays; pass inputs through `frozen`.
    """

    def __init__(self, body: Callable):
        self.parallel = numba.njit(parallel=True, **OPTIONS)(body)
        self.serial = numba.njit(**OPTIONS)(_renamed(body, body.__name__ + "_serial"))
        self.__doc__ = body.__doc__

    def __call__(self, *args):
        if _forked:
            return self.serial(*args)
        if not _started:
            start_pool()
        with _launch_guard:
            return self.parallel(*args)


kernel = Kernel  # spelled as the decorator it is


def _renamed(body: Callable, name: str) -> Callable:
    """A copy of `body`: numba's disk cache knows functions by name and bytecode, not by options."""
    copy = types.FunctionType(body.__code__, body.__globals__, name, body.__defaults__, body.__closure__)
    copy.__qualname__ = name
    copy.__module__ = body.__module__
    return copy


def frozen(array: np.ndarray) -> np.ndarray:
    """`array`, C-contiguous and read-only: one compiled signature, and numba refuses to write to it."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def start_pool() -> None:
    """Start numba's threads, asking for OpenMP first, unless the user's environment names a layer."""
    global _started, _launch_guard
    with _start_lock:
        if _started:
            return
        config: Any = numba.config
        if config.THREADING_LAYER == "default" and "NUMBA_THREADING_LAYER_PRIORITY" not in os.environ:
            config.THREADING_LAYER_PRIORITY = ["omp", "tbb", "workqueue"]
        with _short_spin():
            numba.set_num_threads(numba.get_num_threads())
        if numba.threading_layer() == "workqueue":
            _launch_guard = threading.Lock()
        _started = True


@contextlib.contextmanager
def _short_spin() -> Iterator[None]:
    """GNU OpenMP's waiting threads spin for milliseconds before they sleep, which takes the cores from BLAS's pool and
    from other processes. It reads its settings once, when it is loaded: ask for a short spin, unless the user chose."""
    if {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        yield
        return
    os.environ["GOMP_SPINCOUNT"] = "1000"
    try:
        yield
    finally:
        del os.environ["GOMP_SPINCOUNT"]


def _pool_is_running() -> bool:
    try:
        numba.threading_layer()
    except ValueError:  # numba's answer while no parallel function has run, ours or the user's
        return False
    return True


def _after_fork_in_child() -> None:
    global _forked, _start_lock
    _forked = _forked or _pool_is_running()
    _start_lock = threading.Lock()  # another thread of the parent may have held it


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_after_fork_in_child)
