"""One record per operation; importing this package fills the registry."""

from fad.primitives import cones, conv, dense, elementwise, index, linalg, random, reduce, select, shape, special

__all__ = ["cones", "conv", "dense", "elementwise", "index", "linalg", "random", "reduce", "select", "shape", "special"]
