"""On how many threads native code runs, and the function through which it does."""

from __future__ import annotations

import functools
import operator
import os
import sys
import threading
from typing import TYPE_CHECKING

from fad.errors import FadError

if TYPE_CHECKING:
    from fad.native.pool import Pool

__all__ = ["ThreadsError", "get_num_threads", "get_threading_layer", "launcher", "set_num_threads", "set_threading_layer"]

_lock = threading.RLock()  # a signal handler may come back here
_pool: Pool | None = None
_layer = "numba" if sys.platform == "win32" else "fad"
_threads: int | None = None  # as set; None: the default


LAYERS = ("fad", "numba")


class ThreadsError(FadError, ValueError):
    """A number of threads that cannot be."""


def launcher() -> int:
    """The address of ``int64 launch(void (*chunk)(void *data, int64 begin, int64 end), void *data, int64 first, int64 total,
    int64 grain, int64 *until)``.

    It runs ``chunk`` once over each piece of [first, total): ``grain`` (at least 1) long, the last one shorter. All threads take
    pieces, the caller among them, and it returns total when all are done. Unless ``until`` is null, it may return less after a
    tenth of a second, for Python to look after signals: all before that is done, and the caller sets ``*until`` to 0, as it was
    at first, and launches the rest. It is called without the GIL, by any number of threads at
    once; while one launch has the pool, another one, as that of a chunk that launches, runs its pieces by itself. So does one
    with a single thread or a single piece, and every launch where there are no pthreads (Windows).
    The first call compiles the pool; its threads start with the first launch that wants them.
    """
    global _pool
    with _lock:
        if _pool is None:
            from fad.native.pool import Pool  # LLVM loads here, not with the settings

            _pool = Pool(get_num_threads())
        return _pool.launch


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
    with _lock:
        _threads = number
        if _pool is not None:
            _pool.use(number)


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


def _after_fork_in_child() -> None:
    """A forked child has the pool's memory and none of its threads; another thread may have held the lock."""
    global _lock
    _lock = threading.RLock()
    if _pool is not None:
        _pool.reset()


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_after_fork_in_child)
