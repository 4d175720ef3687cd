"""Threefry-2x32 with 20 rounds: random bits as a pure function of a key and a counter.

J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
The NumPy form here and the native one in `threefry_native` agree bit for bit.
"""

from __future__ import annotations

import numpy as np

from fad.errors import ShapeError

__all__ = ["threefry2x32", "threefry_bits"]

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA
WORD = 0xFFFFFFFF
ARRAYS_FROM = 16  # blocks; below this Python's integers are faster than NumPy calls
NATIVE_FROM = 4096  # words; fewer do not repay a kernel


def threefry2x32(k0: int, k1: int, x0, x1):
    """The two output words for key (k0, k1) and counter (x0, x1): 32-bit values as ints or in uint64 arrays.

    >>> [hex(word) for word in threefry2x32(0x13198A2E, 0x03707344, 0x243F6A88, 0x85A308D3)]
    ['0xc4923a9c', '0x483df7a0']
    """
    schedule = (k0, k1, k0 ^ k1 ^ PARITY)
    x0, x1 = (x0 + k0) & WORD, (x1 + k1) & WORD
    for block in range(1, 6):
        for rotation in ROTATIONS[(block - 1) % 2]:
            x0 = (x0 + x1) & WORD
            x1 = ((x1 << rotation) & WORD | x1 >> (32 - rotation)) ^ x0
        x0 = (x0 + schedule[block % 3]) & WORD
        x1 = (x1 + schedule[(block + 1) % 3] + block) & WORD
    return x0, x1


def threefry_bits(key: np.ndarray, n: int) -> np.ndarray:
    """n random words, uint32 of shape (n,): words 2i and 2i + 1 are threefry2x32 of the 64-bit counter i.

    So the first words do not depend on n. Raises ShapeError unless key is (2,) and n is not negative.

    >>> threefry_bits(np.array([0, 0], np.uint32), 2)
    array([1797259609, 2579123966], dtype=uint32)
    """
    if key.shape != (2,) or n < 0:
        raise ShapeError(
            "random bits cannot be drawn",
            got=f"a key of shape {key.shape}, n = {n}",
            rule="the key is uint32 of shape (2,), and n >= 0",
            fix="fad.random.key(0)",
        )
    k0, k1 = (int(word) for word in key)
    if n >= NATIVE_FROM:
        from fad.kernels.pieces import run
        from fad.kernels.threefry import BLOCKS, draw_pieces

        words = np.empty(n + n % 2, np.uint32)
        run(draw_pieces, (np.ascontiguousarray(key, np.uint32), words), (), -(-len(words) // (2 * BLOCKS)))
        return words[:n]
    blocks = (n + 1) // 2
    words = np.empty((blocks, 2), np.uint32)
    if blocks < ARRAYS_FROM:
        for counter in range(blocks):
            words[counter] = threefry2x32(k0, k1, 0, counter)
    else:
        words[:, 0], words[:, 1] = threefry2x32(k0, k1, np.uint64(0), np.arange(blocks, dtype=np.uint64))
    return words.reshape(-1)[:n]
