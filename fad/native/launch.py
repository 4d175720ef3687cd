"""The function through which native code runs on many threads."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from fad.native.threads import LISTENERS, get_num_threads

if TYPE_CHECKING:
    from fad.native.threadpool import Pool

__all__ = ["launcher"]

_lock = threading.RLock()  # a signal handler may come back here
_pool: Pool | None = None


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
            from fad.native.threadpool import Pool  # LLVM loads here, not with the settings

            _pool = Pool(get_num_threads())
        return _pool.launch


def _use(number: int) -> None:
    """Later launches use so many threads."""
    with _lock:
        if _pool is not None:
            _pool.use(number)


LISTENERS.append(_use)


def _after_fork_in_child() -> None:
    """A forked child has the pool's memory and none of its threads; another thread may have held the lock."""
    global _lock
    _lock = threading.RLock()
    if _pool is not None:
        _pool.reset()


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_after_fork_in_child)
