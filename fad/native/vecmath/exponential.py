"""Exponentials, logarithms and powers, for vectors of float32 and float64.

Polynomials are minimax fits (Remez) whose relative error stands beside them. Largest errors seen against long double and
mpmath, in ulp, float64 / float32: exp 0.92 / 0.91, exp2 0.94 / 0.94, expm1 1.17 / 1.23, log 0.97 / 0.88, log2 0.98 / 0.87,
log10 0.85 / 0.90, log1p 1.03 / 1.00, pow 1.42 / 0.56, cbrt 0.50 / 0.50. Without fma: exp 1.21, exp2 1.21, pow 1.91, others alike.
"""

from __future__ import annotations

import math

from fad.native.ir import Value, call, constant, fma, where
from fad.native.vecmath.parts import (
    bits_of,
    digits,
    horner,
    inf,
    minus_product,
    nearest,
    product,
    quick_sum,
    scaled,
    significand,
    truncated,
    two_to,
)

__all__ = ["exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "pow", "cbrt"]

hexadecimal = float.fromhex

# ln 2 in two parts, the first with few enough bits that n ln2 is exact
LN2 = {
    "double": (hexadecimal("0x1.62e42fefa3p-1"), hexadecimal("0x1.3de6af278ece6p-42")),
    "float": (hexadecimal("0x1.62e4p-1"), hexadecimal("0x1.7f7d1cp-20")),
}

# (e^r - 1 - r) / r² for |r| <= ln2 / 2; relative error of e^r - 1: 1.8e-17, 1.3e-8
EXPM1 = {
    "double": (
        0.5000000000000006,
        0.16666666666666588,
        0.04166666666657676,
        0.008333333333389538,
        0.0013888888931565067,
        0.00019841269719036097,
        2.4801505273649037e-05,
        2.7557407516898023e-06,
        2.762603792267422e-07,
        2.5053782971033324e-08,
    ),
    "float": (0.49999997, 0.16666543, 0.0416672, 0.0083665205, 0.0013882521),
}

# (2^r - 1) / r for |r| <= 1/2; 3.4e-18, 2e-9
EXP2 = {
    "double": (
        0.6931471805599453,
        0.2402265069591013,
        0.05550410866482008,
        0.009618129107594065,
        0.001333355814677515,
        0.00015403530457187777,
        1.525273349277445e-05,
        1.3215435241474584e-06,
        1.0178199655812772e-07,
        7.073790738214788e-09,
        4.4347678519920655e-10,
    ),
    "float": (0.6931472, 0.24022648, 0.055503324, 0.009618438, 0.00133989, 0.00015353334),
}


def clamped(x: Value, low: float, high: float) -> Value:
    """x moved into [low, high]; NaN stays."""
    x = where(x < low, low, x)
    return where(x > high, high, x)


def exp(x: Value) -> Value:
    """e^x = 2^n e^r, r = x - n ln 2 (Cody and Waite 1980)."""
    low, high = (-746.0, 710.0) if x.kind == "double" else (-104.0, 89.0)
    x = clamped(x, low, high)
    n, bits = nearest(x, math.log2(math.e))
    r = fma(-n, LN2[x.kind][1], fma(-n, LN2[x.kind][0], x))
    return scaled(horner(r, (1.0, 1.0, *EXPM1[x.kind])), n, bits)


def exp2(x: Value) -> Value:
    """2^x = 2^n 2^r, r = x - n."""
    x = clamped(x, -1080.0, 1030.0) if x.kind == "double" else clamped(x, -155.0, 130.0)
    n, bits = nearest(x)
    return scaled(horner(x - n, (1.0, *EXP2[x.kind])), n, bits)


def expm1(x: Value) -> Value:
    """e^x - 1 = 2 (s (e^r - 1) + (s - 1/2)), s = 2^(n-1): so the largest n does not overflow early."""
    t = clamped(x, -40.0, 710.0) if x.kind == "double" else clamped(x, -20.0, 89.0)
    n, bits = nearest(t, math.log2(math.e))
    hi, lo = fma(-n, LN2[x.kind][0], t), -n * LN2[x.kind][1]
    r = hi + lo
    s = two_to(bits, x, -1)
    tail = fma(r * r, horner(r, EXPM1[x.kind]), lo)
    y = 2.0 * fma(s, tail, fma(s, hi, s - 0.5))
    return where(abs(x) < 2.0 ** (-2 - digits(x)), x, y)


# -- logarithms -----------------------------------------------------------------------------------------------------------

# (log(1+f) - 2s) / s³ in s², s = f/(2+f), -1/4 <= f <= 1/2: relative errors of log(1+f) 1.5e-17, 2.8e-9
LOG = {
    "double": (
        0.6666666666667271,
        0.399999999961592,
        0.2857142939573304,
        0.22222138465497188,
        0.1818635754080125,
        0.15250159231184676,
        0.15368418707125694,
    ),
    "float": (0.6666695, 0.39957815, 0.30360752),
}


def log_parts(m: Value) -> tuple[Value, Value, Value]:
    """f, f²/2 and w with m = 1+f, log(1+f) = f - f²/2 + w, for 3/4 <= m < 3/2 (fdlibm e_log.c)."""
    f = m - 1.0
    half, s = 0.5 * (f * f), f / (m + 1.0)
    z = s * s
    return f, half, s * fma(z, horner(z, LOG[m.kind]), half)


def log(x: Value) -> Value:
    """log x = k log 2 + log m, x = 2^k m (fdlibm e_log.c)."""
    k, m = significand(x)
    f, half, w = log_parts(m)
    hi, lo = LN2[x.kind]
    return fma(k, hi, f - (half - fma(k, lo, w)))


def log1p(x: Value) -> Value:
    """log(1+x) = log u + c/u, where u + c = 1 + x exactly (fdlibm s_log1p.c)."""
    u = 1.0 + x
    c = where(x < 1.0, x - (u - 1.0), 1.0 - (u - x))
    k, m = significand(u)
    f, half, w = log_parts(m)
    hi, lo = LN2[x.kind]
    c = where(x < 2.0 ** (digits(x) + 8), c, 0.0) * two_to(nearest(-k)[1], x, 1)  # 2^(1-k) c: k may be 1024
    w = fma(c, fma(0.5 * f, f, 0.5 - 0.5 * f), w)  # 1/m ≈ 1 - f + f² is enough for so small a term
    y = fma(k, hi, f - (half - fma(k, lo, w)))
    return where(abs(x) < 2.0 ** (-2 - digits(x)), x, y)


# log_b 2 and 1 / log b, each in two parts, the first with few enough bits for exact products
BASE = {
    (2, "double"): (1.0, 0.0, hexadecimal("0x1.715476p+0"), hexadecimal("0x1.4ae0bf85ddf44p-26")),
    (2, "float"): (1.0, 0.0, hexadecimal("0x1.714p+0"), hexadecimal("0x1.47652cp-12")),
    (10, "double"): (
        hexadecimal("0x1.34413509f7p-2"),
        hexadecimal("0x1.3fde623e2566bp-43"),
        hexadecimal("0x1.bcb7b1p-2"),
        hexadecimal("0x1.49b9438ca9aaep-28"),
    ),
    (10, "float"): (
        hexadecimal("0x1.344p-2"),
        hexadecimal("0x1.3509f8p-18"),
        hexadecimal("0x1.bcap-2"),
        hexadecimal("0x1.7b1526p-14"),
    ),
}


def in_base(base: int, x: Value) -> Value:
    """k log_b 2 + log(m) / log b, with exact leading products and their sum in two parts (FreeBSD e_log2.c, e_log10.c)."""
    unit, unit_low, inverse, inverse_low = BASE[base, x.kind]
    k, m = significand(x)
    f, half, w = log_parts(m)
    hi = truncated(f - half, digits(x) // 2 + 1)
    lo = ((f - hi) - half) + w
    tail = fma(lo, inverse, (lo + hi) * inverse_low)
    first = fma(hi, inverse, k * unit)
    rest = fma(k, unit_low, fma(hi, inverse, k * unit - first))
    return first + (tail + where(abs(k) < inf, rest, 0.0))


def log2(x: Value) -> Value:
    """log₂ x = k + log(m) / log 2."""
    return in_base(2, x)


def log10(x: Value) -> Value:
    """log₁₀ x = k log₁₀ 2 + log(m) / log 10."""
    return in_base(10, x)


# -- powers ---------------------------------------------------------------------------------------------------------------

# log₂ m = s (c0 + z (c1 + z Q(z))), s = (m-1)/(m+1), z = s²: 2/ln 2 and 2/(3 ln 2), each as a sum of two, and Q: 1.6e-21
LOG2_0 = (hexadecimal("0x1.71547652b82fep+1"), hexadecimal("0x1.777d0ffda0d24p-55"))
LOG2_1 = (hexadecimal("0x1.ec709dc3a03fdp-1"), hexadecimal("0x1.d27f05548af0cp-55"))
LOG2_Q = (
    0.5770780163555814,
    0.41219858311327795,
    0.32059889752855897,
    0.2623082374893074,
    0.22195007228390706,
    0.19247201843645187,
    0.16724250570714036,
    0.18136694076174176,
)

# For float32 in double lanes: log₂(m) / s, 2e-11, and (2^r - 1) / r, 2e-9
LOG2_SHORT = (2.8853900818357245, 0.9617966220056234, 0.577092311845453, 0.4112076494290816, 0.3483761803123476)
EXP2_SHORT = (
    0.6931472028804037,
    0.24022647910098524,
    0.0555033241044402,
    0.009618437629970323,
    0.0013398899942419981,
    0.00015353334533579747,
)

# m^(-1/3) for 3/4 <= m < 3/2: 2.5e-4
CBRT = (1.6970662, -1.1886353, 0.62175447, -0.13028185)


def pow(x: Value, y: Value) -> Value:
    """x^y = 2^(y log₂ |x|), with the sign and the special values of C99 F.9.4.4."""
    r = power_short(abs(x), y) if x.kind == "float" else power(abs(x), y)
    whole = call("rint", y) == y
    half = 0.5 * y
    odd = whole & (call("rint", half) != half)
    r = where((x < 0) & (x > -inf) & ~whole, math.nan, r)
    r = (r.bitcast() ^ where(odd, x.bitcast() & bits_of(-0.0, x), 0)).bitcast()
    return where((x == 1) | (y == 0) | ((x == -1) & (abs(y) == inf)), 1.0, r)


def power(a: Value, y: Value) -> Value:
    """a^y for a >= 0, float64."""
    hi, lo = log2_double_double(a)
    e, e_low = product(hi, y)
    near = clamped(e, -1100.0, 1100.0)
    n, bits = nearest(near)
    r, low = quick_sum(near - n, where(abs(e) < 1100.0, fma(lo, y, e_low), 0.0))
    first, *others = EXP2["double"]
    rest = fma(r, first, fma(r * r, horner(r, others), low * first))
    return scaled(1.0 + rest, n, bits)


def power_short(a: Value, y: Value) -> Value:
    """a^y for a >= 0, float32: its range and digits are small for float64."""
    a = a.to("double")
    k, m = significand(a)
    s = (m - 1.0) / (m + 1.0)
    e = fma(s, horner(s * s, LOG2_SHORT), k) * y.to("double")
    e = clamped(e, -300.0, 300.0)
    n, bits = nearest(e)
    return (horner(e - n, (1.0, *EXP2_SHORT)) * two_to(bits, a)).to("float")


def log2_double_double(x: Value) -> tuple[Value, Value]:
    """log₂ x as a sum of two for x > 0, relative error at most 2^-62 (Dekker's arithmetic)."""
    k, m = significand(x)
    f = m - 1.0
    d, d_low = quick_sum(constant(1.0, x), m)
    inverse = 1.0 / d
    s = f * inverse
    s_low = (minus_product(f, s, d) - s * d_low) * inverse
    z, z_low = product(s, s)
    z_low = fma(2.0 * s, s_low, z_low)
    q, q_low = quick_sum(constant(LOG2_1[0], x), z * horner(z, LOG2_Q))
    w, w_low = product(z, q)
    w_low = w_low + fma(z, q_low + LOG2_1[1], z_low * q)
    u, u_low = quick_sum(constant(LOG2_0[0], x), w)
    t, t_low = product(s, u)
    t_low = t_low + fma(s, u_low + (w_low + LOG2_0[1]), s_low * u)
    hi, lo = quick_sum(k, t)
    return hi, lo + t_low


def cbrt(x: Value) -> Value:
    """∛x = 2^q ∛a: t ≈ 1/∛a by a third-order step, then a Newton step from y = a t² with an exact residual."""
    k, m = significand(abs(x))
    q, bits = nearest(k, 1 / 3)
    left = k - 3.0 * q  # -1, 0 or 1
    pick = lambda low, middle, high: where(left < 0, low, where(left > 0, high, middle))
    a = pick(0.5 * m, m, 2.0 * m)
    t = horner(m, CBRT) * pick(2 ** (1 / 3), constant(1.0, x), 0.5 ** (1 / 3))
    e = 1.0 - a * t * t * t
    t = fma(t * e, fma(e, 2 / 9, 1 / 3), t)
    y = a * t * t
    square, square_low = product(y, y)
    rest = minus_product(a, square, y) - square_low * y
    y = call("copysign", fma(rest, t * t * (1 / 3), y) * two_to(bits, x), x)
    return where((abs(x) < inf) & (x != 0), y, x)
