"""Arenas: the memory in which a running program keeps its intermediate results."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

__all__ = ["Arena", "OwnArena"]


class Arena:
    """Memory for intermediate results, at least so many bytes, aligned to a cache line."""

    def __init__(self, size: int):
        memory = np.empty(size + 64, np.uint8)
        start = -memory.ctypes.data % 64
        self.memory = memory[start : start + size]
        self.address = self.memory.ctypes.data


NOTHING = Arena(0)


class OwnArena(threading.local):
    """The arena of each thread. It stays with the thread, as fresh memory costs more than most programs."""

    def __init__(self) -> None:
        self.arena = NOTHING

    def reserve(self, size: int) -> int:
        """The address of at least so many bytes."""
        if self.arena.memory.nbytes < size:
            self.arena = Arena(size)
        return self.arena.address

    def take(self, size: int) -> Arena:
        """The arena, away from the thread."""
        self.reserve(size)
        arena, self.arena = self.arena, NOTHING
        return arena

    @contextmanager
    def taken(self, size: int) -> Iterator[Arena]:
        """The arena, away from the thread: a callback may call another program, which then finds an arena of its own."""
        arena = self.take(size)
        try:
            yield arena
        finally:
            self.arena = arena
