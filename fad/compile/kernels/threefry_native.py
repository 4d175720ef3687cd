"""Threefry-2x32 in vectors over all cores; `fad.kernels.bits` says what it computes."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from fad.compile.kernels.recipe import Phase, Recipe
from fad.kernels.bits import PARITY, ROTATIONS
from fad.native import engine
from fad.native.ir import Block, Value, call, resized, write
from fad.native.tile import Epilogue, counted, shuffled

__all__ = ["Threefry", "random_bits"]

CHUNK = 4096  # words of a piece of work


@dataclass(frozen=True)
class Threefry:
    """So many words, vectors of counters at a time."""

    n: int

    @property
    def pieces(self) -> int:
        """Pieces of work."""
        return -(-self.n // CHUNK)

    @property
    def work(self) -> float:
        """Operations."""
        return 40.0 * self.n

    def write(self, block: Block, pointers: list[Value], epilogue: Epilogue | None, begin: Value, end: Value) -> None:
        """The code of pieces from begin to end; the pointer is that of the key."""
        assert epilogue is not None
        lanes = engine.machine().vector_bytes // 4
        keys = [
            Value(block, write(f"load i32, ptr {p.name}, align 4", "i32", 1, p).name, "i32", 1)
            for p in (pointers[0], write(f"getelementptr i32, ptr {pointers[0].name}, i64 1", "i32", 1, pointers[0]))
        ]
        schedule = [*keys, keys[0] ^ keys[1] ^ PARITY]
        step, whole = 2 * lanes, self.n - self.n % (2 * lanes)
        with block.loop(begin, end) as piece:
            first = piece.index * CHUNK
            last = call("smin", first + CHUNK, block.integer(whole))
            if whole:
                with piece.loop(first, last, step, empty=True) as loop:
                    low, high = interleaved(*rounds(schedule, counters(loop.index, lanes)))
                    epilogue(loop, [loop.index], low)
                    epilogue(loop, [loop.index + lanes], high)
            if self.n != whole:
                with piece.when(piece.index == self.pieces - 1) as inside:
                    start, rest = inside.integer(whole), self.n - whole
                    both = interleaved(*rounds(schedule, counters(start, lanes)))
                    epilogue(inside, [start], resized(both[0], min(rest, lanes)))
                    if rest > lanes:
                        epilogue(inside, [start + lanes], resized(both[1], rest - lanes))


def counters(word: Value, lanes: int) -> tuple[Value, Value]:
    """The high and low words of the counters from that of a word on."""
    counter = word.shift_right(1)
    low, high = (write(f"trunc i64 {c.name} to i32", "i32", 1, c) for c in (counter, counter.shift_right(32)))
    return high.spread(lanes), low.spread(lanes) + counted(word.block, lanes, kind="i32")


def rounds(schedule: list[Value], counter: tuple[Value, Value]) -> tuple[Value, Value]:
    """`threefry2x32` on vectors of 32-bit words."""
    x0, x1 = counter[0] + schedule[0], counter[1] + schedule[1]
    for block in range(1, 6):
        for rotation in ROTATIONS[(block - 1) % 2]:
            x0 = x0 + x1
            x1 = ((x1 << rotation) | x1.shift_right(32 - rotation)) ^ x0
        x0 = x0 + schedule[block % 3]
        x1 = x1 + (schedule[(block + 1) % 3] + block)
    return x0, x1


def interleaved(x: Value, y: Value) -> tuple[Value, Value]:
    """The lanes of two vectors alternating, as two vectors."""
    n = x.lanes
    order = [k // 2 + n * (k % 2) for k in range(2 * n)]
    return shuffled(x, y, order[:n]), shuffled(x, y, order[n:])


@functools.lru_cache(maxsize=1024)
def random_bits(n: int) -> Recipe:
    """n words of Threefry for the key that is the operand."""
    return Recipe((Phase(Threefry(n), (0,), last=True),), (), (n,))
