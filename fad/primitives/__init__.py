"""One record per operation. What only `np.linalg`, `np.fft` and `scipy.special` need is loaded when they meet a node, or when a
pickled Function names it (`primitive.named`)."""

from fad.primitives import cones, conv, dense, elementwise, index, linalg, random, reduce, select, shape, special

__all__ = ["cones", "conv", "dense", "elementwise", "index", "linalg", "random", "reduce", "select", "shape", "special"]
