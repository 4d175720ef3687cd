"""fork while other threads work: the child has all memory and one thread, so what another thread had locked stays locked in it.

A fork therefore waits until no thread is inside LLVM or loads a part of fad or of what fad is built on, which is a matter of
milliseconds, and lets none in until it is over. The child finds everything free.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

__all__ = ["at_work"]

PACKAGES = {"fad", "llvmlite", "numba", "optree", "scipy"}  # none of which runs a user's code when it is loaded
LONGEST = 60  # seconds that anybody waits

_change = threading.Condition()
_inside: list[int] = []  # threads that a fork waits for
_forking = False  # since a fork began to wait
_lock: Any = None  # llvmlite's, while a fork has it


@contextlib.contextmanager
def at_work() -> Iterator[None]:
    """The time in which a thread is where no fork may find it. It must take no lock there that is held during a fork."""
    me = threading.get_ident()
    try:
        with _change:
            _change.wait_for(lambda: not _forking, LONGEST)
            _inside.append(me)
        yield
    finally:
        with _change:
            if me in _inside:  # an interrupt may have come before
                _inside.remove(me)
            _change.notify_all()


def _before() -> None:
    """Wait for what others are doing. A thread that forks from a signal handler may be inside itself."""
    global _forking, _lock
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in PACKAGES and getattr(getattr(module, "__spec__", None), "_initializing", False):
            with contextlib.suppress(ImportError):
                importlib.import_module(name)  # returns when the thread that loads it is done
    me = threading.get_ident()
    with _change:
        _change.wait_for(lambda: not _forking, LONGEST)
        _forking = True
        _change.wait_for(lambda: all(thread == me for thread in _inside), LONGEST)
    lock = getattr(getattr(sys.modules.get("llvmlite.binding.ffi"), "lib", None), "_lock", None)
    if lock is not None:
        lock.__enter__()
        _lock = lock


def _after() -> None:
    """Let others in."""
    global _forking, _lock
    if _lock is not None:
        lock, _lock = _lock, None
        lock.__exit__(None, None, None)
    with _change:
        _forking = False
        _change.notify_all()


def _after_in_child() -> None:
    """The threads that were waiting are not here, nor those that held the lock of the condition."""
    global _change
    _change = threading.Condition()
    me = threading.get_ident()
    _inside[:] = [thread for thread in _inside if thread == me]
    _after()


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after_in_child)
