"""One record per operation; importing this package fills the registry."""

from fad.primitives import (
    bessel,
    cones,
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
    select,
    shape,
    solve,
    special,
)

__all__ = ["bessel", "cones", "conv", "dense", "elementary", "elementwise", "entropy", "factor", "fft", "gamma", "hypergeometric",
           "index", "integrals", "linalg", "random", "reduce", "select", "shape", "solve", "special"]
