"""One record per operation; importing this package fills the registry."""

from fad.primitives import conv, dense, elementwise, factor, fft, index, linalg, random, reduce, shape, solve, special

__all__ = ["conv", "dense", "elementwise", "factor", "fft", "index", "linalg", "random", "reduce", "shape", "solve",
           "special"]
