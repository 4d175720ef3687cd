"""Autotuning, if asked for: the tiles that the cost model likes best are run, and the fastest is remembered on disk.

``FAD_AUTOTUNE=1`` turns it on. Each shape is measured once on a machine, which takes some tenths of a second; later processes
find the answer beside the compiled code. Results may differ in rounding from those without it, as sums have another order.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from fad.compile.kernels.recipe import Recipe, run
from fad.native import disk, engine

__all__ = ["tuned"]

R = TypeVar("R", bound="Recipe | None")  # a Recipe, or for shapes without one None

CHOICES = 4  # tiles that are run
ANSWERS = [str(k).encode() for k in range(CHOICES)]  # as they are kept
ROUNDS = 5
_known: dict[tuple, int] = {}


def tuned(make: Callable[..., R], *args: Any, **params: Any) -> R:
    """``make(*args, **params)``, whose first four arguments are shapes and strides of two operands and the fifth their dtype;
    with the tile that is fastest here if tuning is on."""
    if os.environ.get("FAD_AUTOTUNE", "0") in ("", "0"):
        return make(*args, **params)
    key = (make.__name__, *args, *sorted(params.items()))
    if key not in _known:
        name = hashlib.sha256(f"tile {engine.machine().id} {key}".encode()).hexdigest()
        stored = disk.find(name)
        if stored in ANSWERS:
            _known[key] = ANSWERS.index(stored)
        else:
            _known[key] = measured(make, args, params)
            disk.keep(name, ANSWERS[_known[key]])
    return make(*args, **params, choice=_known[key])


def measured(make: Callable[..., Recipe | None], args: tuple, params: dict) -> int:
    """The choice of tile that runs fastest on operands of ones."""
    made = [make(*args, **params, choice=k) for k in range(CHOICES)]
    recipes = [recipe for recipe in made if recipe is not None]
    if not recipes:
        return 0
    shapes, strides, dtype = (args[0], args[2]), (args[1], args[3]), args[4]
    operands = [ones(shape, step, dtype) for shape, step in zip(shapes, strides, strict=True)]
    best = [float("inf")] * CHOICES
    for round_ in range(ROUNDS + 1):  # one after another, so that a busy moment slows them all; the first one compiles
        for k, recipe in enumerate(recipes):
            start = time.perf_counter()
            run(recipe, operands, dtype)
            best[k] = min(best[k], time.perf_counter() - start) if round_ else best[k]
    return best.index(min(best))


def ones(shape: tuple, strides: tuple, dtype: np.dtype) -> np.ndarray:
    """An array of ones with these strides in elements."""
    low = sum(s * (n - 1) for s, n in zip(strides, shape, strict=True) if s < 0)
    high = sum(s * (n - 1) for s, n in zip(strides, shape, strict=True) if s > 0)
    memory = np.ones(high - low + 1, dtype)
    steps = [s * dtype.itemsize for s in strides]
    return np.lib.stride_tricks.as_strided(memory[-low:], shape, steps)
