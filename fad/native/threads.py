"""On how many threads native code runs, and whose they are."""

from __future__ import annotations

import functools
import operator
import os
import sys
from collections.abc import Callable

from fad.errors import FadError

__all__ = ["LISTENERS", "ThreadsError", "get_num_threads", "get_threading_layer", "set_num_threads", "set_threading_layer"]

LAYERS = ("fad", "numba")
LISTENERS: list[Callable[[int], None]] = []  # who wants to know when the number changes

_layer = "numba" if sys.platform == "win32" else "fad"
_threads: int | None = None  # as set; None: the default


class ThreadsError(FadError, ValueError):
    """A number of threads that cannot be."""


def get_num_threads() -> int:
    """The number of threads a launch uses. At first, all cores this process may use, or what NUMBA_NUM_THREADS or else
    OMP_NUM_THREADS says if that is less."""
    return _threads or min(_cores(), _from_environment() or _cores())


def set_num_threads(n: int) -> None:
    """Later launches use n threads, their caller among them.

    Raises ThreadsError (a ValueError) unless n is an integer from 1 to the number of cores, or to what the environment says.
    """
    global _threads
    most = max(_cores(), _from_environment() or 1)
    try:
        number = operator.index(n)
    except TypeError:
        number = 0
    if isinstance(n, bool) or not 1 <= number <= most:
        fix = "for more, set NUMBA_NUM_THREADS before Python starts" if number > most else f"pass {most} for all"
        raise ThreadsError("set_num_threads", got=repr(n), rule=f"the number of threads is an integer from 1 to {most}", fix=fix)
    _threads = number
    for tell in LISTENERS:
        tell(number)


def get_threading_layer() -> str:
    """Whose threads run kernels: "fad" or "numba"."""
    return _layer


def set_threading_layer(name: str) -> None:
    """Later kernels run on the threads of fad's pool ("fad", the default where there are pthreads), or of numba ("numba").

    Numba's are the choice of who runs numba code of his own between kernels and wants one pool for both. What `fad.jit`
    compiles runs on fad's. Raises ThreadsError (a ValueError) for other names.

    >>> fad.set_threading_layer("numba")
    >>> fad.get_threading_layer()
    'numba'
    >>> fad.set_threading_layer("fad")
    """
    global _layer
    if name not in LAYERS:
        raise ThreadsError("set_threading_layer", got=repr(name), rule=f"a threading layer is one of {LAYERS}", fix='pass "fad"')
    _layer = name


@functools.cache
def _cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def _from_environment() -> int | None:
    """The number of threads the user's environment asks for."""
    for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        first = os.environ.get(name, "").split(",")[0].strip()  # OpenMP's form: one number for each level of nesting
        if first.isdecimal() and int(first) > 0:
            return int(first)
    return None
