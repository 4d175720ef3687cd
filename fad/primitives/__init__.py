"""One record per operation: arrays or nodes go in, arrays or nodes come out. What only `np.linalg`, `np.fft` and `scipy.special`
need is loaded when they meet a node, or when a pickled Function names it (`core.primitive.named`)."""

import importlib
import pkgutil

from fad.core.primitive import LOADERS
from fad.primitives import cones, conv, dense, elementwise, index, linalg, random, reduce, select, shape, special

__all__ = ["cones", "conv", "dense", "elementwise", "index", "linalg", "random", "reduce", "select", "shape", "special"]


def load_primitives() -> None:
    """Load every module of this folder, so that the registry holds all records."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")


LOADERS.append(load_primitives)
