"""One record per operation; importing this package fills the registry."""

from fad.primitives import conv, dense, elementwise, index, linalg, random, reduce, shape, special

__all__ = ["conv", "dense", "elementwise", "index", "linalg", "random", "reduce", "shape", "special"]
