"""One record per operation; importing this package fills the registry."""

from fad.primitives import (
    bessel,
    conv,
    dense,
    elementwise,
    entropy,
    factor,
    fft,
    gamma,
    index,
    integrals,
    linalg,
    random,
    reduce,
    shape,
    solve,
    special,
)

__all__ = ["bessel", "conv", "dense", "elementwise", "entropy", "factor", "fft", "gamma", "index", "integrals", "linalg", "random",
           "reduce", "shape", "solve", "special"]
