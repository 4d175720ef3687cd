"""Elementary functions of vectors, written in LLVM IR: branch-free where arguments are ordinary, at most 2 ulp."""

from fad.native.vecmath.exponential import cbrt, exp, exp2, expm1, log, log1p, log2, log10, pow
from fad.native.vecmath.hyperbolic import acosh, asinh, atanh, cosh, sinh, tanh
from fad.native.vecmath.inverse import acos, asin, atan, atan2
from fad.native.vecmath.special import (
    digamma,
    erf,
    erfc,
    erfinv,
    expit,
    gammaln,
    hypot,
    log_expit,
    logaddexp,
    logit,
    ndtr,
    ndtri,
    softplus,
)
from fad.native.vecmath.trigonometric import cos, sin, tan

__all__ = [
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "cbrt",
    "cos",
    "cosh",
    "digamma",
    "erf",
    "erfc",
    "erfinv",
    "exp",
    "exp2",
    "expit",
    "expm1",
    "gammaln",
    "hypot",
    "log",
    "log10",
    "log1p",
    "log2",
    "log_expit",
    "logaddexp",
    "logit",
    "ndtr",
    "ndtri",
    "pow",
    "sin",
    "sinh",
    "softplus",
    "tan",
    "tanh",
]
