"""Kernels for any shape, in numba: arrays go in, arrays come out, on all cores. They are what eager evaluation runs.

``from fad.kernels import conv, dense, max_pool`` gives functions of arrays, which may also be called from code that numba
compiles: `fad.kernels.compiled`. numba is loaded by the first of them that needs it.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {"dense": "arrays", "matmul": "arrays", "scatter_add": "arrays"} | dict.fromkeys(
    ("conv", "conv_input_grad", "conv_weight_grad", "max_pool", "max_pool_grad", "max_pool_push", "sum_pool", "sum_pool_grad"),
    "nets",
)

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    """A function, as a name of the package; with it numba learns to compile calls of it."""
    if name not in _HOMES:
        raise AttributeError(f"module 'fad.kernels' has no attribute {name!r}")
    importlib.import_module("fad.kernels.compiled")
    found = globals()[name] = getattr(importlib.import_module(f"fad.kernels.{_HOMES[name]}"), name)
    return found
