"""Counter-based random bits: a pure function of a key, without state."""

from __future__ import annotations

from typing import Any

import numpy as np

from fad.primitives.families import structural

__all__ = ["random_bits"]


def _evaluate(key: Any, *, n: int) -> np.ndarray:
    from fad.kernels.bits import threefry_bits

    return threefry_bits(np.asarray(key), n)


def _sample(rng: np.random.Generator, shape: tuple, dtype: Any) -> tuple:
    return (rng.integers(0, 2**32, 2, dtype=np.uint32),), {"n": 5}


random_bits = structural(
    "random_bits",
    _evaluate,
    lambda key, *, n: ((n,), np.dtype(np.uint32)),
    None,
    flops=lambda out, key, *, n: 40 * n,
    sample=_sample,
    source="Threefry-2x32-20: Salmon, Moraes, Dror and Shaw 2011",
    role="kernel",
)
