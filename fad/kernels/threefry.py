"""Random bits by Threefry-2x32: words 2i and 2i + 1 are the cipher of the 64-bit counter i, so threads draw them in any order.

Salmon, Moraes, Dror and Shaw, Parallel random numbers: as easy as 1, 2, 3 (2011).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fad.kernels.pieces import Kernel, floats, part

__all__ = ["BLOCKS", "draw", "draw_pieces"]

BLOCKS = 4096  # of two words, in a piece
PARITY = np.uint32(0x1BD11BDA)


@njit(error_model="numpy", inline="always")
def mix(x0, x1, count):
    """One round: add, turn the 32 bits left, exclusive or. numba computes in 64 bits, of which the lower ones are kept."""
    x0 = np.uint32(x0 + x1)
    return x0, np.uint32(x1 << np.uint32(count)) ^ (x1 >> np.uint32(32 - count)) ^ x0


@njit(error_model="numpy", inline="always")
def four(x0, x1, r0, r1, r2, r3):
    """Four rounds."""
    x0, x1 = mix(x0, x1, r0)
    x0, x1 = mix(x0, x1, r1)
    x0, x1 = mix(x0, x1, r2)
    return mix(x0, x1, r3)


@njit(error_model="numpy", inline="always")
def cipher(k0, k1, k2, x0, x1):
    """Threefry-2x32 with 20 rounds, of the counter (x0, x1)."""
    x0, x1 = four(np.uint32(x0 + k0), np.uint32(x1 + k1), 13, 15, 26, 6)
    x0, x1 = four(np.uint32(x0 + k1), np.uint32(x1 + k2 + np.uint32(1)), 17, 29, 16, 24)
    x0, x1 = four(np.uint32(x0 + k2), np.uint32(x1 + k0 + np.uint32(2)), 13, 15, 26, 6)
    x0, x1 = four(np.uint32(x0 + k0), np.uint32(x1 + k1 + np.uint32(3)), 17, 29, 16, 24)
    x0, x1 = four(np.uint32(x0 + k1), np.uint32(x1 + k2 + np.uint32(4)), 13, 15, 26, 6)
    return np.uint32(x0 + k2), np.uint32(x1 + k0 + np.uint32(5))


@part
def draw(key, words, begin, end):
    """Pieces of the words: BLOCKS blocks of two each."""
    k0, k1 = key[0], key[1]
    k2 = np.uint32(k0 ^ k1 ^ PARITY)
    for piece in range(begin, end):
        out, first = words[2 * BLOCKS * piece : 2 * BLOCKS * (piece + 1)], BLOCKS * piece
        for block in range(len(out) // 2):
            out[2 * block], out[2 * block + 1] = cipher(k0, k1, k2, np.uint32((first + block) >> 32), np.uint32(first + block))


@Kernel
def draw_pieces(data, begin, end):
    """`draw` as the pool calls it."""
    draw(floats(data, 0), floats(data, 1), begin, end)
