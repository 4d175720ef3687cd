"""Special functions for vectors of float32 and float64: logistic and error functions, the normal distribution, gamma.

Polynomials and quotients of polynomials are minimax fits (Remez). Largest errors seen against mpmath: see each function.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from fad.compile.ir import Value, by_libm, call, constant, fma, where
from fad.compile.vecmath.exponential import EXPM1, LN2, exp, log
from fad.compile.vecmath.parts import horner, inf, nearest, product, scaled, two_to

__all__ = ["expit", "log_expit", "softplus", "logaddexp", "logit", "erf", "erfc", "ndtr", "erfinv", "ndtri", "gammaln", "digamma",
           "hypot"]


def chosen(x: Value, which: Value, yes: Sequence[float], no: Sequence[float | Value]) -> Sequence[Value]:
    """Coefficients lane by lane, for x: so one polynomial serves two ranges."""
    return [where(which, constant(a, x), b) for a, b in zip(yes, no, strict=True)]


def polynomial(x: Value, coefficients: Sequence[Value]) -> Value:
    """`horner` with coefficients that differ by lane."""
    *rest, y = coefficients
    for c in reversed(rest):
        y = fma(y, x, c)
    return y


def halves(x: Value, coefficients: Sequence[float | Value]) -> Value:
    """A long polynomial as E(x²) + x O(x²): one multiplication more, but half of the waiting, of which a long function has more
    than the CPU can fill."""
    z = x * x
    return fma(x, polynomial(z, coefficients[1::2]), polynomial(z, coefficients[::2]))


# -- logistic functions ---------------------------------------------------------------------------------------------------

# (atanh w - w) / w³ in w² <= 1/9 and, for logit, in w² <= 1/4; relative error of atanh: 1e-18, 5e-9 and 5e-19, 9e-11
ATANH = {"double": (0.33333333333333154, 0.20000000000078422, 0.1428571427395282, 0.11111111983267069, 0.09090872017147052,
                    0.07693278848199421, 0.0665050060423305, 0.0605294078052099, 0.04170466887186548, 0.08508573807578067),
         "float": (0.33333206, 0.20010847, 0.13999584, 0.14012234)}
ATANH_WIDE = {"double": (0.3333333333333328, 0.2000000000001883, 0.14285714283361248, 0.11111111259580136, 0.09090903545627524,
                         0.07692441428886808, 0.06664473812882238, 0.05907548613221377, 0.05057278584737376,
                         0.05959573185751155, -0.0054200939397436075, 0.17508626374382416, -0.19625600456692402,
                         0.24117791543206601),
              "float": (0.33333337, 0.1999972, 0.14295056, 0.109647706, 0.10297216, 0.024091097, 0.17644235)}


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
    """log(e^x + e^y). Near its zeros, where the larger argument is in (-log 2, 0), the error is absolute: 1e-16, 6e-8."""
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

# erf(x) / x - 1 in x² for |x| < 1.375 (1), and -log(erfc x) / x - 1 in x up to 6 (4); relative errors of erf: 1.2e-17 and
# 2.3e-17, 1.3e-9 and 4e-10
ERF_SMALL = {"double": (0.1283791670955126, -0.3761263890318348, 0.11283791670946063, -0.02686617064392695, 0.005223977617055476,
                        -0.000854832667218996, 0.00012055323412491962, -1.4925472633002019e-05, 1.645980194452785e-06,
                        -1.6344499729541977e-07, 1.4667478110546085e-08, -1.1651385008070143e-09, 7.444666620756718e-11,
                        -2.8083634642306246e-12),
             "float": (0.12837915, -0.37612626, 0.112835854, -0.026853813, 0.005188327, -0.00080101687, 7.853734e-05)}
ERF_LARGE = {"double": (0.1283718425969769, 0.6366738818133778, 0.10258644227521027, -0.018732633389572862,
                        -0.00079071219150544, 0.0023205761580612967, -0.0010939333482622863, 0.00033332512520847096,
                        -7.420113332646525e-05, 1.2287561918448376e-05, -1.4831446784582566e-06, 1.2365207525612075e-07,
                        -6.370001919844432e-09, 1.527131792940642e-10),
             "float": (0.1286943, 0.63496953, 0.10653087, -0.024010077, 0.0037574826, -0.00035059397, 1.3962689e-05)}

# (a + k) e^(a²) erfc a in (a - k) / (a + k), k = 3.75 (3), a up to 27.3 (10.2); relative error 1.9e-18, 2e-9
ERFC = {"double": (1.0919229095627891, -0.9587415766529096, 0.7363189252217509, -0.49047029120767627, 0.2790620490338251,
                   -0.131955401178622, 0.04911877861431274, -0.012535880039543283, 0.0009863380915349446,
                   0.0007948230859297843, -0.0003486469445706186, 1.0594059703534082e-05, 3.7472159229593896e-05,
                   -8.904148213390225e-06, -3.2909040663100634e-06, 1.6563526902854317e-06, 2.828903067857235e-07,
                   -2.6372134932709263e-07, -3.08098904256226e-08, 3.9569304290982035e-08, 6.03178666207398e-09,
                   -4.356411017629056e-09, -1.184105433155602e-09),
        "float": (1.0740069, -0.8833945, 0.5902283, -0.31046602, 0.11952907, -0.026839828, -0.001226447, 0.0030803236,
                  -0.00048315228, -0.0003253165)}


def erf(x: Value) -> Value:
    """x P(x²) near 0, 1 - e^(-x P(x)) beyond: one polynomial whose coefficients are chosen lane by lane."""
    double = x.kind == "double"
    limit, edge = (6.0, 1.375) if double else (4.0, 1.0)
    a = abs(x)
    a = where(a > limit, limit, a)
    small = a < edge
    y = fma(a, halves(where(small, a * a, a), chosen(x, small, ERF_SMALL[x.kind], ERF_LARGE[x.kind])), a)
    n, bits = nearest(y, -math.log2(math.e))
    r = -fma(n, math.log(2), y)
    rest = horner(r, (1.0, 1.0, *EXPM1[x.kind])) * two_to(bits, x)
    return call("copysign", where(small, y, 1.0 - rest), x)


def gauss_tail(a: Value, slope: float, factor: float) -> Value:
    """factor erfc(slope a) for a >= 0 and slope 1 or √½: P / (a + k) e^-(slope a)² (Shepherd and Laframboise 1981).

    The remainders of the square and of 1 / (a + k) join the exponent, which a rounding of the square would spoil."""
    limit, middle = (28.0 / slope, 3.75 / slope) if a.kind == "double" else (11.0 / slope, 3.0 / slope)
    a = where(a > limit, limit, a)
    total = a + middle
    part = total - middle
    rest = (a - part) + (middle - (total - part))  # Knuth's exact sum
    inverse = 1.0 / total
    t = (a - middle) * inverse
    y = inverse * horner(t, [factor / slope * c for c in ERFC[a.kind]])
    square, low = product(a, a)
    half = slope * slope
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
    y = gauss_tail(abs(x), math.sqrt(0.5), 0.5)
    return where(x > 0.0, 1.0 - y, y)


# The quantile of the normal distribution, divided by q = p - 1/2, in 0.425² - q²; and itself in r - r0, r = √-log p,
# for p < 0.075: from r0 = √-log 0.075 (to 5) and, in float64, from 5 to 27.4 (M. J. Wichura 1988, AS 241, has such a form).
# Relative errors 6e-18, 1.5e-17, 3.5e-17; 4e-9, 1.6e-9
CENTRAL = {"double": ((3.387132872796367, 142.42956575932314, 2299.8375974639057, 17956.992643779675, 70213.59137944739,
                       128777.503330652, 91010.94163849186, 13462.897849345189, -576.9595357750663),
                      (1.0, 45.05544275221908, 792.337641541116, 6897.171146147125, 31154.113731067147, 70029.54749280236,
                       68183.2107241141, 20055.25725965334, 0.0)),
           "float": ((3.387133, 58.815197, 246.99323, 174.89653, -26.41688), (1.0, 20.369553, 112.08008, 147.33801, 0.0))}
TAIL = {"double": ((1.439531470938456, 4.652762146607394, 5.771174610989354, 3.636544029103641, 1.2631340695887314,
                    0.2398256496921123, 0.022488063994058213, 0.0007646572711086757, 0.0),
                   (1.0, 2.047416059261158, 1.6678519257985223, 0.6849674632052706, 0.14681887783164863, 0.01503793083874113,
                    0.0005406036866689893, 1.0309348866903171e-09, 0.0)),
        "float": ((1.4395314, 3.2211316, 2.145307, 0.52494514, 0.039184652),
                  (1.0, 1.0529046, 0.32728562, 0.027692638, 2.3480192e-07))}
FAR_TAIL = ((6.657904643501104, 5.461698007334405, 1.7832603933174067, 0.29610571436956334, 0.026467808566173808,
             0.0012380942029849484, 2.6967624978498625e-05, 1.9942564355775722e-07, 0.0),
            (1.0, 0.5995187590162413, 0.13676386340663005, 0.014843292847863863, 0.0007841308665957593, 1.836426067299131e-05,
             1.4101430749590682e-07, 1.9986181940141665e-15, 0.0))


def quantile(q: Value, tail: Value, scale: float) -> Value:
    """scale times the normal quantile of p = q + 1/2, with tail = min(p, 1 - p)."""
    near = abs(q) <= 0.425
    r = call("sqrt", -log(tail))
    start = math.sqrt(-math.log(0.075))
    tables, shifted = TAIL[q.kind], r - start
    if q.kind == "double":
        far = r > 5.0
        tables, shifted = [chosen(q, far, *pair) for pair in zip(FAR_TAIL, tables)], where(far, r - 5.0, shifted)
    above, below = (chosen(q, near, *pair) for pair in zip(CENTRAL[q.kind], tables))
    v = where(near, fma(-q, q, 0.425**2), shifted)
    y = where(near, q, call("copysign", constant(1.0, q), q)) * scale * (polynomial(v, above) / polynomial(v, below))
    return where(tail == 0.0, call("copysign", constant(inf, q), q), y)


def ndtri(p: Value) -> Value:
    """The inverse of ndtr; infinite at 0 and 1, NaN outside."""
    return quantile(p - 0.5, where(p > 0.5, 1.0 - p, p), 1.0)


def erfinv(x: Value) -> Value:
    """The inverse of erf; infinite at ±1, NaN outside."""
    return quantile(0.5 * x, fma(abs(x), -0.5, 0.5), math.sqrt(0.5))


# -- the gamma family -----------------------------------------------------------------------------------------------------

# log Γ(1 + t) / (t (t - 1)) - c for t in [0, 1.5], c = 0.4375, and, in t - 1.5, for t up to 6, c = 0.25; relative errors of
# log Γ: 7e-19, 4e-18
GAMMA_SMALL = ((0.13971566490153287, 0.21110249024467628, -0.06102077102889683, -0.26116038275311043, -0.16369152625969338,
                -0.04003998219163126, -0.0037361685664504566, -9.322420406964123e-05),
               (1.0, 3.266304169177308, 4.184287646062647, 2.666077858465679, 0.8850164536685932, 0.14640753178506408,
                0.010425665135320923, 0.0002177123856116179))
GAMMA_LARGE = ((0.12957716063055888, 0.09449286971273402, 0.009046990909617397, -0.007876074268704097, -0.0023863821066457385,
                -0.0002422537709437026, -9.005410273903185e-06, -8.797369107847314e-08),
               (1.0, 1.3054495332670542, 0.6684153612831745, 0.17027537605637053, 0.02261367833608058, 0.001497852693383928,
                4.2725443000399156e-05, 3.5720429835024296e-07))

# x (log Γ(x) - (x - 1/2)(log x - 1) - (log 2π - 1)/2) in 1/x² for x >= 7: DLMF 5.11.1, its coefficients a little changed; 2e-18
STIRLING = (0.08333333333333226, -0.0027777777762861087, 0.000793650199941535, -0.0005951363272816228, 0.0008331748017624173,
            -0.0015602780703782668)

# ψ(1 + t) / (1 + t - x0) - 0.75 for t in [0, 4], x0 the zero of ψ; relative error of ψ: 2e-17
DIGAMMA = ((0.5003801375034054, 0.2748590694241192, -0.25922117575541276, -0.2347125195354487, -0.06426550731336651,
            -0.007255674534074986, -0.0003164843794135446, -3.7330516012737674e-06),
           (1.0, 2.257388623900391, 1.8339769153893617, 0.6968757179183873, 0.13184509870489655, 0.012010945506233201,
            0.0004582880184276106, 5.0092173463867725e-06))

# x² (log x - 1/(2x) - ψ(x)) in 1/x² for x >= 5: DLMF 5.11.2; 2e-18
PSI = (0.08333333333332875, -0.00833333332951394, 0.003968252875415791, -0.004166514319084856, 0.007563848598031894,
       -0.0205363690407231, 0.06743519651931884, -0.16526930028828532)

# (1/r - π cot πr) / r in r² for |r| <= 1/2; 1e-20
COT = ((3.289868133696453, -2.395338626149694, 0.42707305597328876, -0.020968156665276915, 0.00014714199509489675),
       (1.0, -1.3860692612163852, 0.4233412420497778, -0.03808392781406263, 0.00081194721299003))


def in_double(f):
    """For float32: computed in double lanes and rounded."""
    def wrapped(x: Value) -> Value:
        return f(x.to("double")).to("float") if x.kind == "float" else f(x)

    wrapped.__name__, wrapped.__doc__ = f.__name__, f.__doc__
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
    root = where(small, (t - 0.46163214496836236) + 1.5522348162858677e-17, (a - 1.4616321449683622) - 9.549995429965697e-17)
    square = r * r
    cot, below = horner(square, COT[0]), horner(square, COT[1])
    rest = where(negative, fma(-square, cot, below), 1.0) / where(negative, r * below, x)
    y = where(large, series, root * (0.75 + w)) - where(negative | small, rest, 0.0)
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
