"""Hyperbolic functions and their inverses, for vectors of float32 and float64.

Polynomials are minimax fits (Remez). Largest errors seen against long double and mpmath, in ulp, float64 / float32:
tanh 1.8 / 1.8 (2 without fma), sinh 1.4 / 1.3, cosh 1.4 / 1.8, asinh 1.7 / 1.7, acosh 2 / 2, atanh 1.7 / 1.9.
"""

from __future__ import annotations

import math

from fad.native.ir import Value, call, constant, fma, where
from fad.native.vecmath.exponential import LN2, log1p
from fad.native.vecmath.parts import bias, digits, horner, nearest, two_to

__all__ = ["tanh", "sinh", "cosh", "asinh", "acosh", "atanh"]

# h coth h = 1 + z (c0 + c1 z + ...), z = h² <= 0.257²; relative error 1.6e-19, 3.6e-11
COTH = {
    "double": (
        1.0,
        0.3333333333333332,
        -0.022222222222179202,
        0.0021164021121720246,
        -0.0002116400204163646,
        2.137342628592594e-05,
        -2.115111844620095e-06,
    ),
    "float": (1.0, 0.3333333, -0.02222121, 0.0020898343),
}

# (cosh r - 1) / r² and (sinh r - r) / r³ in r² for |r| <= ln2 / 2; relative error of cosh and sinh: 3e-18, 3e-19 and 5e-11, 5e-12
COSH = {
    "double": (0.5000000000000013, 0.04166666666651268, 0.0013888888947734136, 2.480148918732019e-05, 2.763155506890986e-07),
    "float": (0.5, 0.041666266, 0.001394639),
}
SINH = {
    "double": (0.16666666666666677, 0.008333333333321492, 0.00019841269886523903, 2.755724376839301e-06, 2.5109203343812267e-08),
    "float": (0.16666667, 0.008333289, 0.00019905138),
}


def tanh(x: Value) -> Value:
    """From e^2h = (k + h) / (k - h), k = h coth h, and |x| = n ln2/2 + h with s = 2^(n-1), by one division:
    (k (s - 1/2) + h (s + 1/2)) / (k (s + 1/2) + h (s - 1/2)) for n < 2, and 1 + (h - k) / the same denominator above."""
    limit = 20.0 if x.kind == "double" else 10.0  # where the value is 1
    a = abs(x)
    a = where(a > limit, limit, a)
    # The low bits of the sum are the exponent field of s. n = 0 reaches up to 0.2554, where tanh has just passed 1/4: the
    # terms of n = 1 cancel below that.
    magic = 1.5 * 2.0 ** digits(x) + bias(x) - 1
    shifted = fma(a, 2 / math.log(2), 0.5 - 0.2554 * 2 / math.log(2)) + magic
    h = fma(shifted - magic, -math.log(2) / 2, a)
    s = (shifted.bitcast() << digits(x)).bitcast()
    k = horner(h * h, COTH[x.kind])
    less, more = s - 0.5, s + 0.5
    above = s > 1.0
    y = where(above, h - k, fma(k, less, h * more)) / fma(k, more, h * less)
    return call("copysign", where(above, constant(1.0, x), 0.0) + y, x)


def parts(a: Value) -> tuple[Value, Value, Value, Value, Value]:
    """r, sinh r - r, cosh r - 1, p, q for a = n ln2 + r >= 0 and p, q = 2^(n-2) ± 2^(-n-2)."""
    limit = 710.6 if a.kind == "double" else 89.6  # overflows, and n fits the exponent field
    a = where(a > limit, limit, a)
    n, bits = nearest(a, math.log2(math.e))
    hi, lo = LN2[a.kind]
    r = fma(-n, lo, fma(-n, hi, a))
    z = r * r
    up, down = two_to(bits, a, -2), where(n < 64.0, two_to(0 - bits, a, -2), 0.0)
    return r, r * z * horner(z, SINH[a.kind]), z * horner(z, COSH[a.kind]), up + down, up - down


def cosh(x: Value) -> Value:
    """2 p cosh r + 2 q sinh r = (2^n + 2^-n)/2 cosh r + (2^n - 2^-n)/2 sinh r."""
    r, s, c, p, q = parts(abs(x))
    return 2.0 * (p + fma(q, r, fma(p, c, q * s)))


def sinh(x: Value) -> Value:
    """2 q cosh r + 2 p sinh r, which keeps its relative accuracy at zero."""
    a = abs(x)
    r, s, c, p, q = parts(a)
    y = 2.0 * (q + fma(p, r, fma(q, c, p * s)))
    return call("copysign", where(a < 2.0 ** (-digits(x) / 2), a, y), x)


def asinh(x: Value) -> Value:
    """log1p(a + a² / (1 + √(1 + a²))), a = |x| (fdlibm s_asinh.c)."""
    a = abs(x)
    huge = a > 2.0 ** (digits(x) + 2)
    square = a * a
    y = log1p(where(huge, a, a + square / (1.0 + call("sqrt", 1.0 + square))))
    return call("copysign", y + where(huge, constant(math.log(2), x), 0.0), x)


def acosh(x: Value) -> Value:
    """log1p(t + √(t² + 2t)), t = x - 1 (fdlibm e_acosh.c); NaN below 1."""
    t = x - 1.0
    huge = x > 2.0 ** (digits(x) + 2)
    y = log1p(where(huge, x, t + call("sqrt", fma(t, t, 2.0 * t))))
    y = y + where(huge, constant(math.log(2), x), 0.0)
    return where(x < 1.0, math.nan, y)


def atanh(x: Value) -> Value:
    """log1p(2a / (1 - a)) / 2, a = |x| (fdlibm e_atanh.c); infinite at ±1, NaN beyond."""
    a = abs(x)
    return call("copysign", 0.5 * log1p(2.0 * a / (1.0 - a)), x)
