"""One record per operation; importing this package fills the registry."""

from fad.primitives import (
    bessel,
    conv,
    dense,
    elementary,
    elementwise,
    entropy,
    factor,
    fft,
    gamma,
    hypergeometric,
    index,
    integrals,
    linalg,
    random,
    reduce,
    shape,
    solve,
    special,
)

__all__ = ["bessel", "conv", "dense", "elementary", "elementwise", "entropy", "factor", "fft", "gamma", "hypergeometric",
           "index", "integrals", "linalg", "random", "reduce", "shape", "solve", "special"]
