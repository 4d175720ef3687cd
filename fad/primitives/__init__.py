"""One record per operation: arrays or nodes go in, arrays or nodes come out. What only `np.linalg`, `np.fft` and `scipy.special`
need is loaded when they meet a node, or when a pickled Function names it (`core.primitive.named`)."""

from fad.primitives import cones, conv, dense, elementwise, index, linalg, random, reduce, select, shape, special

__all__ = ["cones", "conv", "dense", "elementwise", "index", "linalg", "random", "reduce", "select", "shape", "special"]
