"""Threefry-2x32 over all cores; `fad.kernels.threefry` says what it computes."""

from __future__ import annotations

import numpy as np
from numba import prange

from fad.kernels.threads import frozen, inner, kernel
from fad.kernels.threefry import PARITY, ROTATIONS

__all__ = ["fill"]

CHUNK = 2048  # counters per task
(R0, R1, R2, R3), (R4, R5, R6, R7) = ROTATIONS


def fill(k0: int, k1: int, words: np.ndarray) -> None:
    """Write the two words of counter i under key (k0, k1) into words[i], uint32 of shape (n, 2)."""
    _fill(frozen(np.array([k0, k1, k0 ^ k1 ^ PARITY], np.uint32)), words)


@kernel
def _fill(schedule, words):
    tasks = (words.shape[0] + CHUNK - 1) // CHUNK
    for task in prange(tasks):
        _fill_chunk(schedule, words[task * CHUNK : (task + 1) * CHUNK], task * CHUNK)


@inner
def _fill_chunk(schedule, words, start):
    """All counters go through four rounds before any goes on to the next four: loops LLVM can vectorise."""
    k0, k1, k2 = schedule[0], schedule[1], schedule[2]
    x0 = np.empty(words.shape[0], np.uint32)
    x1 = np.empty(words.shape[0], np.uint32)
    high = start >> 32  # the same for the whole chunk, whose size divides 2**32
    for i in range(words.shape[0]):
        x0[i] = np.uint32(np.uint32(high) + k0)
        x1[i] = np.uint32(np.uint32(start + i) + k1)
    _four_rounds(x0, x1, R0, R1, R2, R3, k1, np.uint32(k2 + np.uint32(1)))
    _four_rounds(x0, x1, R4, R5, R6, R7, k2, np.uint32(k0 + np.uint32(2)))
    _four_rounds(x0, x1, R0, R1, R2, R3, k0, np.uint32(k1 + np.uint32(3)))
    _four_rounds(x0, x1, R4, R5, R6, R7, k1, np.uint32(k2 + np.uint32(4)))
    _four_rounds(x0, x1, R0, R1, R2, R3, k2, np.uint32(k0 + np.uint32(5)))
    for i in range(words.shape[0]):
        words[i, 0] = x0[i]
        words[i, 1] = x1[i]


@inner
def _four_rounds(x0, x1, r0, r1, r2, r3, key0, key1):
    for i in range(x0.shape[0]):
        a, b = _round(x0[i], x1[i], r0)
        a, b = _round(a, b, r1)
        a, b = _round(a, b, r2)
        a, b = _round(a, b, r3)
        x0[i] = np.uint32(a + key0)
        x1[i] = np.uint32(b + key1)


@inner
def _round(x0, x1, rotation):
    # numba widens uint32 arithmetic to 64 bits; each result is cut back.
    x0 = np.uint32(x0 + x1)
    x1 = np.uint32(np.uint32(x1 << np.uint32(rotation)) | np.uint32(x1 >> np.uint32(32 - rotation)))
    return x0, np.uint32(x1 ^ x0)
