"""Elementary functions of vectors, written in LLVM IR: branch-free where arguments are ordinary, at most 2 ulp."""

from fad.compile.vecmath.exponential import cbrt, exp, exp2, expm1, log, log1p, log2, log10, pow
from fad.compile.vecmath.trigonometric import cos, sin, tan

__all__ = [
    "cbrt",
    "cos",
    "exp",
    "exp2",
    "expm1",
    "log",
    "log1p",
    "log2",
    "log10",
    "pow",
    "sin",
    "tan",
]
