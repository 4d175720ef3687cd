"""Guarded memory for tests of native code: arrays surrounded by canaries, and arrays surrounded by pages that may not be touched."""

import ctypes
import mmap
import os
import signal
import traceback
from dataclasses import dataclass

import numpy as np
import pytest

MARGIN = 64
CANARY = 0xA5


@dataclass
class Guarded:
    """A copy of an array between two margins of known bytes."""

    memory: np.ndarray
    array: np.ndarray
    original: np.ndarray

    @classmethod
    def around(cls, original: np.ndarray) -> "Guarded":
        memory = np.full(original.nbytes + 2 * MARGIN, CANARY, np.uint8)
        array = memory[MARGIN : MARGIN + original.nbytes].view(original.dtype).reshape(original.shape)
        array[...] = original
        return cls(memory, array, original.copy())

    def check_surroundings(self) -> None:
        assert (self.memory[:MARGIN] == CANARY).all(), "written before the array"
        assert (self.memory[len(self.memory) - MARGIN :] == CANARY).all(), "written behind the array"

    def check(self) -> None:
        """Neither the array nor what surrounds it has changed."""
        self.check_surroundings()
        np.testing.assert_array_equal(self.array, self.original)


@pytest.fixture
def guarded():
    return Guarded.around


class Fence:
    """Copies of arrays that begin where a page begins, or end where one ends; the pages around may not be touched."""

    def __init__(self, at_end: bool):
        self.at_end = at_end
        self.maps: list[mmap.mmap] = []  # there as long as this object is

    def around(self, x: np.ndarray) -> np.ndarray:
        """A copy of a contiguous array."""
        page = mmap.PAGESIZE
        pages = max(1, -(-x.nbytes // page))
        memory = mmap.mmap(-1, (pages + 2) * page)
        self.maps.append(memory)
        bytes_ = np.frombuffer(memory, np.uint8)
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        for k in (0, pages + 1):
            assert protect(ctypes.c_void_p(bytes_.ctypes.data + k * page), ctypes.c_size_t(page), 0) == 0
        first = page + (pages * page - x.nbytes if self.at_end else 0)
        copy = bytes_[first : first + x.nbytes].view(x.dtype).reshape(x.shape)
        copy[...] = x
        return copy


@pytest.fixture
def fence():
    return Fence


class FencedNumPy:
    """NumPy for a module under test, whose new arrays lie between pages that may not be touched; empty ones hold NaN or junk."""

    def __init__(self, fences: Fence):
        self.fences = fences

    def __getattr__(self, name: str):
        return getattr(np, name)

    def empty(self, shape, dtype=float) -> np.ndarray:
        return self.fences.around(np.full(shape, np.nan if np.dtype(dtype).kind == "f" else 0xA5, dtype))

    def zeros(self, shape, dtype=float) -> np.ndarray:
        return self.fences.around(np.zeros(shape, dtype))


def in_a_child(function) -> None:
    """Run a function in a forked child, and fail as it does: with its traceback, or with the signal that ended it."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)  # no report of pytest's for what a fence is there to find
        signal.signal(signal.SIGBUS, signal.SIG_DFL)
        try:
            function()
            os._exit(0)
        except BaseException:
            os.write(write, traceback.format_exc()[-4000:].encode())
            os._exit(1)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        text = f"ended by {signal.Signals(os.WTERMSIG(status)).name}: memory outside of a buffer was touched"
    assert status == 0, text


@pytest.fixture
def child():
    return in_a_child
