"""Special functions for vectors of float32 and float64: logistic and error functions, the normal distribution, gamma.

Polynomials and quotients of polynomials are minimax fits (Remez). Largest errors seen against mpmath and long double, in ulp,
float64 / float32 (without fma in brackets where it is more than 2):

    expit 1.6 / 1.6    log_expit, softplus 1.7 / 1.7    logit 1.1 / 1.3    hypot 1.0 / 1.0    logaddexp: see there
    erf 1.5 / 1.7      erfinv 1.4 / 1.4                 ndtri 1.9 / 2.3
    erfc 2.2 / 2.3 [3.0 / 3.5], ndtr 2.2 / 2.7 [2.9 / 3.3]: these in the tail, elsewhere under 2
    gammaln 2.4 / 0.5 [2.7], digamma 2.2 / 0.5 [2.3] for x > 0, their zeros included; absolute 5e-15 at the zeros below 0
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

from fad.native.ir import Value, by_libm, call, constant, fma, where
from fad.native.vecmath.exponential import EXPM1, LN2, exp, log
from fad.native.vecmath.parts import horner, inf, minus_product, nearest, product, scaled, two_to

__all__ = [
    "expit",
    "log_expit",
    "softplus",
    "logaddexp",
    "logit",
    "erf",
    "erfc",
    "ndtr",
    "erfinv",
    "ndtri",
    "gammaln",
    "digamma",
    "hypot",
]


def chosen(x: Value, which: Value, yes: Sequence[float], no: Sequence[float | Value]) -> Sequence[Value]:
    """Coefficients lane by lane, for x: so one polynomial serves two ranges."""
    return [where(which, constant(a, x), b) for a, b in zip(yes, no, strict=True)]


def polynomial(x: Value, coefficients: Sequence[Value]) -> Value:
    """`horner` with coefficients that differ by lane."""
    *rest, y = coefficients
    for c in reversed(rest):
        y = fma(y, x, c)
    return y


# -- logistic functions ---------------------------------------------------------------------------------------------------

# (atanh w - w) / w³ in w² <= 1/9 and, for logit, in w² <= 1/4; relative error of atanh: 1e-18, 5e-9 and 5e-19, 9e-11
ATANH = {
    "double": (
        0.33333333333333154,
        0.20000000000078422,
        0.1428571427395282,
        0.11111111983267069,
        0.09090872017147052,
        0.07693278848199421,
        0.0665050060423305,
        0.0605294078052099,
        0.04170466887186548,
        0.08508573807578067,
    ),
    "float": (0.33333206, 0.20010847, 0.13999584, 0.14012234),
}
ATANH_WIDE = {
    "double": (
        0.3333333333333328,
        0.2000000000001883,
        0.14285714283361248,
        0.11111111259580136,
        0.09090903545627524,
        0.07692441428886808,
        0.06664473812882238,
        0.05907548613221377,
        0.05057278584737376,
        0.05959573185751155,
        -0.0054200939397436075,
        0.17508626374382416,
        -0.19625600456692402,
        0.24117791543206601,
    ),
    "float": (0.33333337, 0.1999972, 0.14295056, 0.109647706, 0.10297216, 0.024091097, 0.17644235),
}


def expit(x: Value) -> Value:
    """1 / (1 + e^-x) = 1 - w, or e - e w for x < 0, with w = e / (1 + e), e = e^-|x|: rounded once more than w is."""
    e = exp(-abs(x))
    y = where(x < 0.0, e, 1.0)
    return fma(-y, e / (1.0 + e), y)


def log1p_exp(x: Value) -> Value:
    """log(1 + e), e = e^x, for x <= 0: 2 atanh w with w = e / (2 + e), as e - w (e - ...), since 2w = e - w e (fdlibm e_log.c)."""
    e = exp(x)
    w = e / (2.0 + e)
    z = w * w
    return fma(-w, e - z * horner(z, [2 * c for c in ATANH[x.kind]]), e)


def softplus(x: Value) -> Value:
    """log(1 + e^x)."""
    return where(x < 0.0, constant(0.0, x), x) + log1p_exp(-abs(x))


def log_expit(x: Value) -> Value:
    """log(1 / (1 + e^-x)) = min(x, 0) - log(1 + e^-|x|)."""
    return where(x > 0.0, constant(-0.0, x), x) - log1p_exp(-abs(x))


def logaddexp(x: Value, y: Value) -> Value:
    """log(e^x + e^y). Near its zeros, where the larger argument is in (-log 2, 0), the error is absolute: 2e-16, 1e-7."""
    swap = x > y
    high, low = where(swap, x, y), where(swap, y, x)
    return high + log1p_exp(where(x == y, 0.0, low - high))


def logit(p: Value) -> Value:
    """log(p / (1 - p)); 2 atanh(2p - 1) between 1/4 and 3/4, where that is exact. NaN outside [0, 1]."""
    w = fma(p, 2.0, -1.0)
    square = w * w
    near = 2.0 * fma(w * square, horner(square, ATANH_WIDE[p.kind]), w)
    return where(abs(w) <= 0.5, near, log(p / (1.0 - p)))


# -- error functions ------------------------------------------------------------------------------------------------------

# -log(erfc x) / x - 1 for 0 <= x <= 5.95 (4); relative error of erf: 2e-18, 2e-10
ERF = {
    "double": (
        (
            0.12837916709551256,
            0.8512305449443788,
            1.3379466801233157,
            1.0815359426914088,
            0.5314659116555075,
            0.16540139119117678,
            0.0315905291249799,
            0.0032481343084071286,
            0.00011825257352477782,
        ),
        (
            1.0,
            1.671694694958792,
            1.3315258582530067,
            0.6323789679172986,
            0.18868089598190227,
            0.03439572645076356,
            0.003363967410323065,
            0.0001182736089760217,
        ),
    ),
    "float": ((0.12837917, 0.736838, 0.63553035, 0.24333157, 0.037235692), (1.0, 0.78064245, 0.2787426, 0.03725239)),
}

# (a + 7/8) e^(a²) erfc a in (a - k) / (a + k), k = 3.5 (3), a up to 27.3 (10.2); relative error 6.5e-18, 1.9e-9
ERFC = {
    "double": (
        0.6794097432889126,
        -0.17847898188109743,
        0.08214613243398627,
        -0.011742399210068847,
        -0.02213437148923129,
        0.02695279146885775,
        -0.01804537756273923,
        0.007958825989921467,
        -0.0020072405681366865,
        -4.2925696778505004e-05,
        0.00024166057553467798,
        -6.250901869832309e-05,
        -1.638709448104594e-05,
        1.1520306545458662e-05,
        5.96967338535591e-07,
        -1.7695933539931579e-06,
        4.486702941377877e-08,
        2.78615568239965e-07,
        -8.272568000987962e-09,
        -4.4462574709565994e-08,
        -2.53640070876776e-09,
        5.269518945788955e-09,
        1.1785955640527651e-09,
    ),
    "float": (
        0.69362944,
        -0.19014816,
        0.068320215,
        0.008529784,
        -0.032760646,
        0.02500018,
        -0.01029866,
        0.0015510937,
        0.0007788583,
        -0.00037586357,
        -0.000112190464,
    ),
}
EDGE_LOW = {"double": -1.3220896458262485e-18, "float": -2.3525653648704772e-08}  # 7/8 √2 less its rounding


def erf(x: Value) -> Value:
    """1 - e^-y for x > 0 with y = -log erfc x = x + x P(x)/Q(x), computed as expm1: accurate near 0 and far from it."""
    limit = 6.0 if x.kind == "double" else 4.0  # where the value is 1
    a = abs(x)
    a = where(a > limit, limit, a)
    above, below = ERF[x.kind]
    y = fma(a, horner(a, above) / horner(a, below), a)
    n, bits = nearest(y, -math.log2(math.e))
    hi, lo = LN2[x.kind]
    r = fma(n, lo, fma(n, hi, y))
    s = two_to(bits, x)
    return call("copysign", fma(s, fma(-r * r, horner(-r, EXPM1[x.kind]), r), 1.0 - s), x)


def gauss_tail(a: Value, half: float, factor: float) -> Value:
    """factor erfc(√half a) for a >= 0 and half 1 or 1/2, as P / (7/8 + √half a) e^(-half a²) (Shepherd and Laframboise 1981).

    One division serves the argument of P too. The remainders of the square and of the quotient join the exponent."""
    slope = math.sqrt(half)
    limit, middle = (28.0 / slope, 3.5 / slope) if a.kind == "double" else (11.0 / slope, 3.0 / slope)
    a = where(a > limit, limit, a)
    edge, edge_low = 0.875 / slope, 0.0 if half == 1 else EDGE_LOW[a.kind]
    total, far = a + edge, a + middle
    part = total - a
    rest = (a - (total - part)) + (edge - part) + edge_low  # a + edge = total + rest (Knuth)
    both = 1.0 / (total * far)
    inverse = both * far
    t = fma(a * (both * total), 2.0, -1.0)
    first, *others = (factor / slope * c for c in ERFC[a.kind])
    y = fma(inverse, horner(t, [first - 0.5, *others]), 0.5 * inverse)
    square, low = product(a, a)
    low = fma(low, -half, fma(-total, inverse, 1.0) - rest * inverse)
    n, bits = nearest(square, -half * math.log2(math.e))
    r = fma(-n, LN2[a.kind][0], square * -half) + fma(-n, LN2[a.kind][1], low)
    return scaled(fma(y, fma(r * r, horner(r, EXPM1[a.kind]), r), y), n, bits)


def erfc(x: Value) -> Value:
    """1 - erf x, which keeps its relative accuracy in the tail."""
    y = gauss_tail(abs(x), 1.0, 1.0)
    return where(x < 0.0, 2.0 - y, y)


def ndtr(x: Value) -> Value:
    """The normal distribution function erfc(-x/√2) / 2."""
    y = gauss_tail(abs(x), 0.5, 0.5)
    return where(x > 0.0, 1.0 - y, y)


# erfinv x: erfinv(x) / x - 1 in 0.7225 - x² for |x| <= 0.85; erfinv(x) - r in r - r0, r = √-log((1 - x)/2), for r from r0 on
# and, in float64, in r - 5 for r from 5 to 27.4. M. J. Wichura's AS 241 (1988) has such ranges. Relative errors of erfinv:
# 7e-18, 8e-18, 1.1e-17; 5e-9, 5e-10
R0 = 1.6094306960679687
CENTRAL = {
    "double": (
        (
            0.19753231156709128,
            1.3252532856793142,
            1.298608678508536,
            -8.568992376255414,
            -24.726017316925226,
            -23.92560992003293,
            -8.790523370785818,
            -0.9335573777958028,
            -0.003112579347357111,
        ),
        (
            1.0,
            11.263860688054768,
            49.52110259631972,
            107.76829915854876,
            121.69575676198093,
            68.38822997343973,
            16.646291680691903,
            1.2240757604768868,
            0.0,
        ),
    ),
    "float": ((0.19753231, 0.106189884, -1.5471745, -1.3359807, -0.036483508), (1.0, 5.092388, 7.005005, 2.3021564, 0.0)),
}
TAIL = {
    "double": (
        (
            -0.5915282312359412,
            -0.9995477255884051,
            -0.6483157635059364,
            -0.20353133334423992,
            -0.03168332517918326,
            -0.0021682700690797306,
            -4.5881894951135115e-05,
            -4.868583658609538e-08,
            0.0,
        ),
        (
            1.0,
            2.0379036431198463,
            1.6602198828676846,
            0.6916320201246767,
            0.15569574691723184,
            0.018188801052892008,
            0.0009431959494656338,
            1.4467251056604212e-05,
            0.0,
        ),
    ),
    "float": (
        (-0.5915282, -0.46576127, -0.09146782, -0.0040325853, -7.3708384e-06),
        (1.0, 1.1355182, 0.40469974, 0.048345786, 0.0013910417),
    ),
}
FAR_TAIL = (
    (
        -0.29215047808696637,
        -0.1390130033612497,
        -0.023889709083480634,
        -0.0018335975403399902,
        -6.335605525570087e-05,
        -8.771144152161839e-07,
        -3.478131475188286e-09,
        -5.597295619114646e-13,
        0.0,
    ),
    (
        1.0,
        0.611235002240198,
        0.14350915308468248,
        0.016303118962643966,
        0.0009316177417093527,
        2.5403486292752676e-05,
        2.8309784460038516e-07,
        8.715828044661819e-10,
        0.0,
    ),
)


def quantile(x: Value, tail: Value, factor: float) -> Value:
    """factor erfinv(x), tail = (1 - |x|)/2: x + x P/Q in the middle, r + P/Q beyond, with all constants stretched by factor.

    r gives away a short constant, so that P/Q is small and its roundings count little."""
    gift = 0.4375 if factor == 1 else 0.625

    def tables(table: tuple, plus: float, stretch: float) -> tuple[list, list]:
        below = [c / stretch**k for k, c in enumerate(table[1])]
        return [factor * c / stretch**k + plus * d for k, (c, d) in enumerate(zip(table[0], below))], below

    near = abs(x) <= 0.85
    square = log(tail) * -round(factor**2)
    r = call("sqrt", square)
    table: Sequence = tables(TAIL[x.kind], gift, factor)
    shifted = r - factor * R0
    if x.kind == "double":
        far = r > factor * 5.0
        table = [chosen(x, far, *pair) for pair in zip(tables(FAR_TAIL, gift, factor), table)]
        shifted = where(far, r - factor * 5.0, shifted)
    above, below = (chosen(x, near, *pair) for pair in zip(tables(CENTRAL[x.kind], factor - 1, 1.0), table))
    v = where(near, fma(-x, x, 0.7225), shifted)
    p, q = polynomial(v, above), polynomial(v, below)
    double = where(near, 1.0, 2.0 * r)
    w = fma(double, p, where(near, 0.0, minus_product(square, r, r) * q)) / (double * q)  # p/q and the remainder of the root
    y = where(near, fma(x, w, x), call("copysign", (r - gift) + w, x))
    return where(tail == 0.0, call("copysign", constant(inf, x), x), y)


def ndtri(p: Value) -> Value:
    """The inverse of ndtr, √2 erfinv(2p - 1); infinite at 0 and 1, NaN outside."""
    return quantile(fma(p, 2.0, -1.0), where(p > 0.5, 1.0 - p, p), math.sqrt(2))


def erfinv(x: Value) -> Value:
    """The inverse of erf; infinite at ±1, NaN outside."""
    return quantile(x + 0.0, fma(abs(x), -0.5, 0.5), 1.0)  # -0 gives 0, as in SciPy


# -- the gamma family -----------------------------------------------------------------------------------------------------

# log Γ(1 + t) / (t (t - 1)) - c for t in [0, 1.5], c = 0.4375, and, in t - 1.5, for t up to 6, c = 0.25; relative errors of
# log Γ: 7e-19, 4e-18
GAMMA_SMALL = (
    (
        0.13971566490153287,
        0.21110249024467628,
        -0.06102077102889683,
        -0.26116038275311043,
        -0.16369152625969338,
        -0.04003998219163126,
        -0.0037361685664504566,
        -9.322420406964123e-05,
    ),
    (
        1.0,
        3.266304169177308,
        4.184287646062647,
        2.666077858465679,
        0.8850164536685932,
        0.14640753178506408,
        0.010425665135320923,
        0.0002177123856116179,
    ),
)
GAMMA_LARGE = (
    (
        0.12957716063055888,
        0.09449286971273402,
        0.009046990909617397,
        -0.007876074268704097,
        -0.0023863821066457385,
        -0.0002422537709437026,
        -9.005410273903185e-06,
        -8.797369107847314e-08,
    ),
    (
        1.0,
        1.3054495332670542,
        0.6684153612831745,
        0.17027537605637053,
        0.02261367833608058,
        0.001497852693383928,
        4.2725443000399156e-05,
        3.5720429835024296e-07,
    ),
)

# x (log Γ(x) - (x - 1/2)(log x - 1) - (log 2π - 1)/2) in 1/x² for x >= 7: DLMF 5.11.1, its coefficients a little changed; 2e-18
STIRLING = (
    0.08333333333333226,
    -0.0027777777762861087,
    0.000793650199941535,
    -0.0005951363272816228,
    0.0008331748017624173,
    -0.0015602780703782668,
)

# ψ(1 + t) / (1 + t - x0) - 0.5625 for t in [0, 4], x0 the zero of ψ; relative error of ψ: 2e-17
DIGAMMA = (
    (
        0.6878801375034054,
        0.6981194364054425,
        0.08464949588009256,
        -0.10404832242575107,
        -0.03954455130619841,
        -0.00500362225165626,
        -0.0002305553759583676,
        -2.7938233488262474e-06,
    ),
    (
        1.0,
        2.257388623900391,
        1.8339769153893617,
        0.6968757179183873,
        0.13184509870489655,
        0.012010945506233201,
        0.0004582880184276106,
        5.0092173463867725e-06,
    ),
)

# x² (log x - 1/(2x) - ψ(x)) in 1/x² for x >= 5: DLMF 5.11.2; 2e-18
PSI = (
    0.08333333333332875,
    -0.00833333332951394,
    0.003968252875415791,
    -0.004166514319084856,
    0.007563848598031894,
    -0.0205363690407231,
    0.06743519651931884,
    -0.16526930028828532,
)

# (1/r - π cot πr) / r in r² for |r| <= 1/2; 1e-20
COT = (
    (3.289868133696453, -2.395338626149694, 0.42707305597328876, -0.020968156665276915, 0.00014714199509489675),
    (1.0, -1.3860692612163852, 0.4233412420497778, -0.03808392781406263, 0.00081194721299003),
)


def in_double(f: Callable[[Value], Value]) -> Callable[[Value], Value]:
    """The function of float32 computed in double lanes and rounded."""

    @functools.wraps(f)
    def wrapped(x: Value) -> Value:
        return f(x.to("double")).to("float") if x.kind == "float" else f(x)

    return wrapped


@in_double
def gammaln(x: Value) -> Value:
    """log |Γ(x)|: Stirling's series from 7 on, (x - 1)(x - 2) P/Q below, log Γ(1 + x) - log x below 1, libm for x < 0."""
    large, small = x >= 7.0, x < 1.0
    t = where(small, x, x - 1.0)
    low = t < 1.5
    u = where(low, t, t - 1.5)
    above, below = (polynomial(u, chosen(x, low, *pair)) for pair in zip(GAMMA_SMALL, GAMMA_LARGE))
    w = where(large, 1.0, above) / where(large, x, below)
    log_x = log(x)
    y = t * (t - 1.0) * (where(low, constant(0.4375, x), 0.25) + w) + where(small, -log_x, 0.0)
    series = fma(w, horner(w * w, STIRLING), (math.log(2 * math.pi) - 1) / 2)
    y = where(large, fma(x - 0.5, log_x - 1.0, series), y)
    y = by_libm("lgamma", x < 0.0, where(x == 0.0, inf, y), x)
    return where(x == -inf, x, y)


@in_double
def digamma(x: Value) -> Value:
    """ψ(x): DLMF 5.11.2 from 5 on, (x - x0) P/Q below, ψ(1 + x) - 1/x below 1, reflected for x < 0 (DLMF 5.5.4)."""
    negative = x < 0.0
    r = x - call("rint", x)
    a = where(negative, 1.0 - x, x)
    large, small = a >= 5.0, a < 1.0
    t = where(small, a, a - 1.0)
    w = where(large, 1.0, horner(t, DIGAMMA[0])) / where(large, a, horner(t, DIGAMMA[1]))
    z = w * w
    series = log(a) - fma(z, horner(z, PSI), 0.5 * w)
    # t + 1 - x0 with the zero x0 = 1.46... in two parts
    root = a - where(small, constant(0.46163214496836236, a), 1.4616321449683622)
    low = where(small, constant(1.5522348162858677e-17, a), -9.549995429965697e-17)
    square = r * r
    cot, below = horner(square, COT[0]), horner(square, COT[1])
    rest = where(negative, fma(-square, cot, below), 1.0) / where(negative, r * below, x)
    y = where(large, series, fma(root, w + 0.5625, low * (w + 0.5625))) - where(negative | small, rest, 0.0)
    return where(negative & (r == 0.0), math.nan, y)


# -- length ---------------------------------------------------------------------------------------------------------------


def hypot(x: Value, y: Value) -> Value:
    """√(x² + y²) without overflow or underflow on the way; infinite where one argument is, even beside NaN."""
    a, b = abs(x), abs(y)
    swap = a > b
    large, small = where(swap, a, b), where(swap, b, a)
    limit, power = (500, 600) if x.kind == "double" else (60, 100)
    big, tiny = large > 2.0**limit, large < 2.0**-limit
    down = where(big, constant(2.0**-power, x), where(tiny, constant(2.0**power, x), 1.0))
    up = where(big, constant(2.0**power, x), where(tiny, constant(2.0**-power, x), 1.0))
    large, small = large * down, small * down
    length = call("sqrt", fma(large, large, small * small)) * up
    return where((a == inf) | (b == inf), inf, length)
