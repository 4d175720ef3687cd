"""Inverse trigonometric functions, for vectors of float32 and float64.

Polynomials are minimax fits (Remez). Largest errors seen against long double and mpmath, in ulp, float64 / float32:
asin 1.3 / 1.3, acos 1.2 / 1.1, atan 1.5 / 1.7, atan2 1.5 / 1.7.
"""

from __future__ import annotations

import math

from fad.native.ir import Value, call, constant, fma, where
from fad.native.vecmath.parts import bits_of, horner

__all__ = ["asin", "acos", "atan", "atan2"]

# (asin s - s) / s³ in z = s² <= 1/4; relative error of asin s: 1e-18, 3e-10
ASIN = {
    "double": (
        0.1666666666666676,
        0.07499999999970736,
        0.04464285717467361,
        0.0303819427048297,
        0.022372215070483616,
        0.01735161053466719,
        0.013980838154776151,
        0.011398769211425134,
        0.010781048430576673,
        0.0037034258426727005,
        0.02171465011169785,
        -0.021009178687423826,
        0.032634902072468046,
    ),
    "float": (0.1666666, 0.07500505, 0.04451687, 0.031808496, 0.014435442, 0.037521135),
}

# (atan t - t) / t³ in z = t² <= 1/4; relative error of atan t: 4e-18, 3e-10
ATAN = {
    "double": (
        -0.3333333333333298,
        0.19999999999902865,
        -0.14285714276365155,
        0.1111111065877194,
        -0.09090896223901923,
        0.07692073598082269,
        -0.06663807517514071,
        0.05858278652976603,
        -0.051219186611513666,
        0.041862674948960114,
        -0.027431261487292913,
        0.010114340085996385,
    ),
    "float": (-0.33333328, 0.19999489, -0.14272065, 0.10940855, -0.07983538, 0.038715344),
}

PI_LOW = {"double": 1.2246467991473532e-16, "float": -8.742277657347586e-08}  # π - π rounded


def half_angle(x: Value) -> tuple[Value, Value, Value]:
    """s, s³ P(s²) with asin s their sum, and whether s is √((1 - |x|)/2), which is so for |x| > 1/2, instead of |x|."""
    a = abs(x)
    far = a > 0.5
    half = fma(a, -0.5, 0.5)
    z = where(far, half, a * a)
    s = where(far, call("sqrt", half), a)
    return s, s * z * horner(z, ASIN[x.kind]), far


def asin(x: Value) -> Value:
    """asin a for a = |x| <= 1/2, π/2 - 2 asin √((1 - a)/2) above (fdlibm e_asin.c); NaN beyond ±1."""
    s, tail, far = half_angle(x)
    above = math.pi / 4 + ((math.pi / 4 - 2.0 * s) - (2.0 * tail - PI_LOW[x.kind] / 2))  # π/4 - 2s has no or small rounding
    return call("copysign", where(far, above, s + tail), x)


def acos(x: Value) -> Value:
    """π/2 - asin x for |x| <= 1/2, else 2 asin √((1 - |x|)/2), or π minus that (fdlibm e_acos.c); NaN beyond ±1."""
    s, tail, far = half_angle(x)
    low = PI_LOW[x.kind]
    near = math.pi / 2 - (call("copysign", s, x) + (call("copysign", tail, x) - low / 2))
    double = 2.0 * (s + tail)
    return where(far, where(x < 0.0, math.pi - (double - low), double), near)


def octant(small: Value, large: Value) -> tuple[Value, Value]:
    """atan(small / large) for 0 <= small <= large as a multiple of π/4, 0 or 1, and a rest, by one division:
    atan q = π/4 + atan((q - 1) / (q + 1)) for q > 1/2."""
    far = 2.0 * small > large  # exact for subnormal numbers too
    t = where(far, small - large, small) / where(far, small + large, large)
    z = t * t
    low = where(far, constant(PI_LOW[z.kind] / 4, z), 0.0)
    return where(far, constant(math.pi / 4, z), 0.0), t + fma(t * z, horner(z, ATAN[z.kind]), low)


def atan(x: Value) -> Value:
    """atan of |x| or 1/|x|, from π/2."""
    a = abs(x)
    steep = a > 1.0
    base, rest = octant(where(steep, 1.0, a), where(steep, a, 1.0))
    base = where(steep, math.pi / 2 - base, base)
    return call("copysign", base + where(steep, -rest, rest), x)


def atan2(y: Value, x: Value) -> Value:
    """The angle of the point (x, y), in [-π, π]; zeros and infinities as in C99 F.9.1.4."""
    a, b = abs(x), abs(y)
    scale = where((a > 2.0**100) | (b > 2.0**100), constant(0.25, x), 1.0)  # so that a + b is finite
    a, b = a * scale, b * scale
    steep = b > a
    small, large = where(steep, a, b), where(steep, b, a)
    base, rest = octant(small, large)
    same = small == large  # 0/0 and inf/inf among them
    base, rest = where(same & (small > 0.0), math.pi / 4, base), where(same, 0.0, rest)
    base = where(steep, math.pi / 2 - base, base)
    base = where(x.bitcast() < 0, math.pi - base, base)
    flip = where(steep, constant(bits_of(-0.0, x), x.bitcast()), 0) ^ (x.bitcast() & bits_of(-0.0, x))
    return call("copysign", base + (rest.bitcast() ^ flip).bitcast(), y)
