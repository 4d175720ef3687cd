"""Elementwise primitives: NumPy's float ufuncs, comparisons, logic, selection, and the parts of complex numbers.

One record each. ``partials`` holds one rule ``(out, *args) -> d out / d args[i]`` per argument, or a number;
forward and reverse mode both come from it. Derivatives are from DLMF chapter 4 unless said otherwise.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from fad.core.expr import FUNCTIONS, UFUNCS, Expr
from fad.core.lowering import ByKind, numbers
from fad.core.primitive import Jvp, Kink, Linear, Partials, Primitive
from fad.native import elementwise as native
from fad.native import vecmath
from fad.native.ir import constant
from fad.primitives.cones import cone, direction, sign_slope
from fad.primitives.families import as_float, dtype_of, elementwise, promoted
from fad.primitives.select import strong_multiply
from fad.primitives.special import expit, sech

POSITIVE = (0.2, 3.0)
UNIT = (-0.9, 0.9)
ANY = (-3.0, 3.0)


# -- arithmetic -------------------------------------------------------------------------------------

add = elementwise("add", np.add, (1, 1), keeps=(), keeps_out=False, domains=(ANY, ANY), lower=numbers(operator.add, operator.or_))
subtract = elementwise("subtract", np.subtract, (1, -1), keeps=(), keeps_out=False, domains=(ANY, ANY), lower=numbers(operator.sub))
multiply = elementwise(
    "multiply",
    np.multiply,
    (lambda z, x, y: y, lambda z, x, y: x),
    domains=(ANY, ANY),
    keeps_out=False,
    lower=numbers(operator.mul, operator.and_),
)
divide = elementwise(
    "divide",
    np.true_divide,
    (lambda z, x, y: np.true_divide(1, y), lambda z, x, y: -z / y),
    flops=4,
    domains=(ANY, POSITIVE),
    saturates=(1,),
    lower=operator.truediv,
)
negative = elementwise("negative", np.negative, (-1,), keeps=(), keeps_out=False, lower=numbers(operator.neg))
positive = elementwise("positive", np.positive, (1,), keeps=(), keeps_out=False, lower=numbers(native.identity))
reciprocal = elementwise(
    "reciprocal", np.reciprocal, (lambda y, x: -y * y,), flops=4, domains=(POSITIVE,), saturates=(0,), lower=lambda x: 1.0 / x
)
square = elementwise("square", np.square, (lambda y, x: 2 * x,), keeps_out=False, lower=numbers(lambda x: x * x))


def _power_by_base(z: Any, x: Any, y: Any) -> Any:
    if isinstance(y, int | float):  # a literal exponent keeps the rule cheap and exact: x**2 gives 2 x
        return 0 if y == 0 else y if y == 1 else 2 * x if y == 2 else y * x ** (y - 1)
    return power_slope(x, y)


def power_by_exponent(z: Any, x: Any, y: Any) -> Any:
    return strong_multiply(z, _log_base(x, y))


def _log_base(x: Any, y: Any) -> Any:
    """log x, and 0 at 0 ** 0, which is constant in both arguments by convention."""
    return np.log(np.where((x == 0) & (y == 0), 1, x))


def _floats(x: Any) -> Any:
    return cast(x, as_float(dtype_of(x)))


def _power_slope(x: Any, y: Any) -> Any:
    dtype = as_float(promoted((dtype_of(x), dtype_of(y))))
    y = cast(y, dtype)  # first: unsigned integers have no y - 1 at 0
    return strong_multiply(y, cast(x, dtype) ** (y - 1))


def _power_slope_by_exponent(z: Any, x: Any, y: Any) -> Any:
    y = cast(y, z.dtype)
    slope = 1 + strong_multiply(y, _log_base(x, y))
    return strong_multiply(x ** (y - 1), np.where((x == 0) & (y == 0), 0, slope))


# y x**(y - 1), the slope of a power by its base. By y it is x**(y - 1) (1 + y log x), in which 0 times infinity is the
# limit 0: the rule of a product would lose it, or give the difference of two infinities.
power_slope: Primitive = elementwise(
    "power_slope",
    _power_slope,
    (lambda z, x, y: strong_multiply(y, power_slope(x, cast(y, z.dtype) - 1)), _power_slope_by_exponent),
    flops=20,
    domains=(POSITIVE, ANY),
    dtype=lambda dtypes: as_float(promoted(dtypes)),
    source="the slope of power by its base",
    composite=True,
)
_POWERS = (
    Kink("x ** 0 at x = 0", "0 for x", "the function is constant"),
    Kink("0 ** y, y > 0", "0 for y", "the function is constant"),
    Kink("0 ** y, 0 < y < 1", "inf for x", "the one-sided limit"),
)
power = elementwise(
    "power", np.power, (_power_by_base, power_by_exponent), flops=20, domains=(POSITIVE, ANY), kinks=_POWERS, lower=vecmath.pow
)
float_power = elementwise(
    "float_power",
    np.float_power,
    (_power_by_base, power_by_exponent),
    flops=20,
    domains=(POSITIVE, ANY),
    kinks=_POWERS,
    lower=vecmath.pow,
)
# the whole quotient, of which x / y may be on the other side once it is rounded: fmod(1.0, 0.1) is 1.0 - 9 * 0.1
fmod = elementwise(
    "fmod",
    np.fmod,
    (1, lambda z, x, y: -np.rint((x - z) / y)),
    flops=10,
    domains=(ANY, (1.1, 1.3)),
    kinks=(Kink("x / y integer", "1 for x, -(x / y) for y", "a jump"),),
    lower=native.fmod,
)
remainder = elementwise(
    "remainder",
    np.remainder,
    (1, lambda z, x, y: -np.floor_divide(x, y)),
    flops=10,
    domains=(ANY, (1.1, 1.3)),
    kinks=(Kink("x / y integer", "1 for x, -(x / y) for y", "a jump"),),
    lower=ByKind(native.remainder, native.remainder_of_integers),
)
copysign = elementwise(
    "copysign",
    np.copysign,
    (lambda z, x, y: np.sign(x) * np.copysign(1.0, y).astype(z.dtype), 0),
    domains=(POSITIVE, (0.5, 1.0)),
    kinks=(Kink("x = 0", "0"),),
    lower=native.by_instruction("copysign"),
)
ldexp = elementwise(
    "ldexp",
    np.ldexp,
    (lambda z, x, n: np.exp2(n).astype(z.dtype), 0),
    domains=(),
    sample=lambda rng, shape, dtype: ((rng.uniform(-2, 2, shape).astype(dtype), rng.integers(-3, 4, shape)), {}),
)
hypot = elementwise(
    "hypot",
    np.hypot,
    (lambda z, x, y: direction(x, z, y), lambda z, x, y: direction(y, z, x)),
    flops=8,
    domains=(ANY, POSITIVE),
    kinks=(*cone("x = y = 0"), Kink("x = y = inf", "1/sqrt(2) each", "the diagonal, as in arctan2")),
    lower=vecmath.hypot,
)


# -- exponentials and logarithms --------------------------------------------------------------------

_LOG2 = 0.6931471805599453
_INFINITE = (
    Kink("x = y = -inf", "0", "the function is constant to first order"),
    Kink("x = y = inf", "1/2 each", "both are largest"),
)

exp = elementwise("exp", np.exp, (lambda y, x: y,), flops=15, keeps=(), overflows=True, saturates=(0,), lower=vecmath.exp)
exp2 = elementwise("exp2", np.exp2, (lambda y, x: _LOG2 * y,), flops=15, overflows=True, saturates=(0,), lower=vecmath.exp2)
expm1 = elementwise("expm1", np.expm1, (lambda y, x: np.exp(x),), flops=18, overflows=True, saturates=(0,), lower=vecmath.expm1)
log = elementwise("log", np.log, (lambda y, x: 1 / x,), flops=15, domains=(POSITIVE,), keeps_out=False, lower=vecmath.log)
log2 = elementwise("log2", np.log2, (lambda y, x: 1.4426950408889634 / x,), flops=15, domains=(POSITIVE,), lower=vecmath.log2)
log10 = elementwise("log10", np.log10, (lambda y, x: 0.4342944819032518 / x,), flops=15, domains=(POSITIVE,), lower=vecmath.log10)
log1p = elementwise("log1p", np.log1p, (lambda y, x: 1 / (1 + x),), flops=18, domains=((-0.7, 3.0),), lower=vecmath.log1p)
logaddexp = elementwise(
    "logaddexp",
    np.logaddexp,
    (lambda z, x, y: _share(x, y), lambda z, x, y: _share(y, x)),
    flops=35,
    domains=(ANY, ANY),
    source="Blanchard, Higham and Higham 2021",
    keeps_out=False,
    kinks=_INFINITE,
    lower=vecmath.logaddexp,
    rough=4,
)
logaddexp2 = elementwise(
    "logaddexp2",
    np.logaddexp2,
    (lambda z, x, y: _share(x, y, _LOG2), lambda z, x, y: _share(y, x, _LOG2)),
    flops=35,
    domains=(ANY, ANY),
    keeps_out=False,
    kinks=_INFINITE,
    lower=native.logaddexp2,
    rough=4,
)


def _share(x: Any, y: Any, unit: float = 1.0) -> Any:
    """exp(x) / (exp(x) + exp(y)), which the difference keeps exact in both tails."""
    gap = np.where((x == np.inf) & (y == np.inf), 0, np.where(x == -np.inf, -np.inf, x - y))
    return expit(gap * unit)


sqrt = elementwise(
    "sqrt",
    np.sqrt,
    (lambda y, x: 0.5 / y,),
    flops=5,
    domains=(POSITIVE,),
    keeps=(),
    kinks=(Kink("x = 0", "inf", "the one-sided limit; no subgradient exists"),),
    lower=native.by_instruction("sqrt"),
)
cbrt = elementwise(
    "cbrt",
    np.cbrt,
    (lambda y, x: 1 / (3 * y * y),),
    flops=20,
    domains=(POSITIVE,),
    kinks=(Kink("x = 0", "inf", "the limit"),),
    lower=vecmath.cbrt,
)

# -- trigonometric and hyperbolic functions -----------------------------------------------------------

sin = elementwise("sin", np.sin, (lambda y, x: np.cos(x),), flops=18, keeps_out=False, lower=vecmath.sin)
cos = elementwise("cos", np.cos, (lambda y, x: -np.sin(x),), flops=18, keeps_out=False, lower=vecmath.cos)
tan = elementwise("tan", np.tan, (lambda y, x: 1 + y * y,), flops=25, domains=((-1.2, 1.2),), lower=vecmath.tan)
arcsin = elementwise(
    "arcsin",
    np.arcsin,
    (lambda y, x: 1 / np.sqrt(_coversquare(x)),),
    flops=25,
    domains=(UNIT,),
    kinks=(Kink("x = -1, 1", "inf", "the one-sided limit"),),
    lower=vecmath.asin,
)
arccos = elementwise(
    "arccos",
    np.arccos,
    (lambda y, x: -1 / np.sqrt(_coversquare(x)),),
    flops=25,
    domains=(UNIT,),
    kinks=(Kink("x = -1, 1", "-inf", "the one-sided limit"),),
    lower=vecmath.acos,
)
arctan = elementwise("arctan", np.arctan, (lambda y, x: square(1 / _secant(x)),), flops=25, saturates=(0,), lower=vecmath.atan)
arctan2 = elementwise(
    "arctan2",
    np.arctan2,
    (lambda z, y, x: _over_square(x, y), lambda z, y, x: -_over_square(y, x)),
    flops=30,
    keeps_out=False,
    domains=(ANY, POSITIVE),
    kinks=(Kink("x = y = 0", "0", "no derivative exists"),),
    lower=vecmath.atan2,
)
sinh = elementwise("sinh", np.sinh, (lambda y, x: np.cosh(x),), flops=20, overflows=True, lower=vecmath.sinh)
cosh = elementwise("cosh", np.cosh, (lambda y, x: np.sinh(x),), flops=20, overflows=True, lower=vecmath.cosh)
tanh = elementwise(
    "tanh", np.tanh, (lambda y, x: np.square(sech(x)),), flops=20, keeps_out=False, saturates=(0,), lower=vecmath.tanh
)
arcsinh = elementwise("arcsinh", np.arcsinh, (lambda y, x: 1 / _secant(x),), flops=25, lower=vecmath.asinh)
arccosh = elementwise(
    "arccosh",
    np.arccosh,
    (lambda y, x: 1 / (np.sqrt(x - 1) * np.sqrt(x + 1)),),
    flops=25,
    domains=((1.2, 4.0),),
    kinks=(Kink("x = 1", "inf", "the one-sided limit"),),
    lower=vecmath.acosh,
)
arctanh = elementwise("arctanh", np.arctanh, (lambda y, x: 1 / _coversquare(x),), flops=25, domains=(UNIT,), lower=vecmath.atanh)
deg2rad = elementwise("deg2rad", np.deg2rad, (0.017453292519943295,), lower=lambda x: x * (np.pi / 180))
rad2deg = elementwise("rad2deg", np.rad2deg, (57.29577951308232,), lower=lambda x: x * (180 / np.pi))
UFUNCS[np.radians], UFUNCS[np.degrees] = deg2rad, rad2deg
sinc = elementwise(
    "sinc",
    np.sinc,
    (lambda y, x: _sinc_slope(y, x),),
    flops=25,
    dtype=lambda dtypes: as_float(dtypes[0]),
    lower=native.sinc,
    rough=4,
)


def _over_square(n: Any, other: Any) -> Any:
    """n / (n^2 + other^2), whose squares may be out of range; 0 at 0."""
    r = np.hypot(n, other)
    return direction(direction(n, r, other), r, 0.0)


def _secant(x: Any) -> Any:
    """sqrt(1 + x^2), whose square may be out of range."""
    return np.sqrt(1 + x * x) if np.dtype(dtype_of(x)).kind == "c" else np.hypot(1, x)


def _coversquare(x: Any) -> Any:
    """1 - x^2, by a form that is exact to every order near 0, and by one that is so near 1 and -1."""
    return np.where(abs(x) < 0.5, 1 - x * x, (1 - x) * (1 + x))


def _sinc_slope(y: Any, x: Any) -> Any:
    """(cos(pi x) - sinc x) / x; below 1/4 its Taylor series, since the difference cancels the more the higher the derivative."""
    small = abs(x) < 0.25
    safe = np.where(small, 1, x)
    t = (np.pi * x) ** 2
    series: Any = 1.0
    for n in range(18, 0, -2):
        series = 1 - t * series / (n * (n + 3))
    angle = np.pi * (safe - 2 * np.rint(np.real(safe) / 2))  # exact before it is multiplied
    return np.where(small, -(np.pi**2) / 3 * x * series, (np.cos(angle) - np.sinc(safe)) / safe)


# -- kinks: absolute value, sign, extrema, rounding -----------------------------------------------------

fabs = elementwise("fabs", np.fabs, (lambda y, x: sign_slope(x),), kinks=cone("x = 0"), lower=abs)
real_absolute = elementwise(
    "absolute",
    np.absolute,
    Jvp(lambda t, y, x: _absolute_tangent(t[0], y, x)),
    kinks=cone("x = 0"),
    lower=numbers(abs, native.identity),
)


# |x|**p and x |x|**(p - 1), each the slope of the other: what is left of the kink of |x| in a power of it.
absolute_power = elementwise(
    "absolute_power",
    lambda x, p: power(fabs(_floats(x)), p),
    (lambda z, x, p: p * signed_power(x, p - 1), lambda z, x, p: strong_multiply(z, np.log(abs(x)))),
    flops=20,
    domains=(POSITIVE, (2.0, 4.0)),
    dtype=lambda dtypes: as_float(promoted(dtypes)),
    source="|x|**p for real x",
    real_only=True,
    composite=True,
)
signed_power: Primitive = elementwise(
    "signed_power",
    lambda x, p: x * power(fabs(_floats(x)), p - 1),
    (lambda z, x, p: p * absolute_power(x, p - 1), lambda z, x, p: strong_multiply(z, np.log(abs(x)))),
    flops=20,
    domains=((-3.0, -0.2), (2.0, 4.0)),
    dtype=lambda dtypes: as_float(promoted(dtypes)),
    source="x |x|**(p - 1) for real x",
    real_only=True,
    composite=True,
)


def _absolute_tangent(x_dot: Any, y: Any, x: Any) -> Any:
    if np.dtype(dtype_of(x)).kind != "c":
        return sign_slope(x) * x_dot
    re, im = np.real(x), np.imag(x)
    return direction(re, y, im) * np.real(x_dot) + direction(im, y, re) * np.imag(x_dot)


def _extremum(wins: Any) -> Partials:
    """Partials of maximum or minimum: 1 where an argument wins. At a tie the subgradient of least norm:
    1/2 each where both arguments are differentiated, 0 where the other one is constant."""

    def ties(active: list, z: Any, x: Any, y: Any) -> list:
        if len(active) == 2:
            return [np.where(x == y, 0.5, wins(a, b)).astype(z.dtype) for a, b in ((x, y), (y, x))]
        first, second = (x, y) if active == [0] else (y, x)
        return [wins(first, second).astype(z.dtype)] * 2  # the other one is not asked for

    return Partials((), ties)


def _choice(ufunc: np.ufunc, wins: Any, lower: ByKind) -> Primitive:
    tie = Kink("x = y", "1/2 each, or 0 where the other argument is not differentiated")
    slope = _extremum(wins)
    return elementwise(ufunc.__name__, ufunc, slope, domains=(ANY, ANY), selects=True, kinks=(tie,), keeps_out=False, lower=lower)


def _unless_nan(wins: Any) -> Any:
    return lambda a, b: wins(a, b) | (np.isnan(b) & ~np.isnan(a))


maximum = _choice(np.maximum, np.greater, numbers(native.maximum, operator.or_))
minimum = _choice(np.minimum, np.less, numbers(native.minimum, operator.and_))
fmax = _choice(np.fmax, _unless_nan(np.greater), ByKind(native.fmax, native.maximum))
fmin = _choice(np.fmin, _unless_nan(np.less), ByKind(native.fmin, native.minimum))
heaviside = elementwise(
    "heaviside",
    np.heaviside,
    (0, lambda z, x, y: np.equal(x, 0).astype(z.dtype)),
    domains=(ANY, ANY),
    kinks=(Kink("x = 0", "0 for x", "a jump"),),
    lower=native.heaviside,
)

sign = elementwise("sign", np.sign, None, kinks=(Kink("x = 0", "0", "a jump"),), lower=numbers(native.sign))


def _sign_or_direction(z: Any) -> Any:
    """The sign of a real number; z / |z| of a complex one, which is no constant."""
    if np.dtype(dtype_of(z)).kind != "c":
        return sign(z)
    re, im, norm = np.real(z), np.imag(z), np.absolute(z)
    return direction(re, norm, im) + 1j * direction(im, norm, re)


UFUNCS[np.sign] = _sign_or_direction
for _ufunc in (np.floor, np.ceil, np.trunc, np.rint):
    _round = native.by_instruction(_ufunc.__name__)
    elementwise(_ufunc.__name__, _ufunc, None, kinks=(Kink("integers", "0", "a jump"),), lower=_round)
floor_divide = elementwise(
    "floor_divide",
    np.floor_divide,
    None,
    domains=(ANY, POSITIVE),
    kinks=(Kink("x / y integer", "0", "a jump"),),
    lower=ByKind(native.floor_divide, native.floor_divide_integers),
)
nextafter = elementwise("nextafter", np.nextafter, (1, 0), domains=(ANY, ANY), sample=None)
spacing = elementwise("spacing", np.spacing, None)

# -- comparisons and logic: the derivative is zero wherever it exists -----------------------------------

equal, not_equal, less, less_equal, greater, greater_equal = (
    elementwise(ufunc.__name__, ufunc, None, domains=(ANY, ANY), lower=numbers(of_numbers, of_booleans))
    for ufunc, of_numbers, of_booleans in (
        (np.equal, operator.eq, lambda x, y: ~(x ^ y)),
        (np.not_equal, operator.ne, operator.xor),
        (np.less, operator.lt, lambda x, y: ~x & y),
        (np.less_equal, operator.le, lambda x, y: ~x | y),
        (np.greater, operator.gt, lambda x, y: x & ~y),
        (np.greater_equal, operator.ge, lambda x, y: x | ~y),
    )
)
for _logical, _operator in ((np.logical_and, operator.and_), (np.logical_or, operator.or_), (np.logical_xor, operator.xor)):
    _of_truth = native.to_bool(_operator)
    elementwise(_logical.__name__, _logical, None, domains=(ANY, ANY), lower=numbers(_of_truth, _of_truth))
_not = native.to_bool(operator.invert)
elementwise("logical_not", np.logical_not, None, lower=numbers(_not, _not))
_always, _never = (lambda x: constant(True, x, "i1")), (lambda x: constant(False, x, "i1"))
elementwise("isfinite", np.isfinite, None, lower=ByKind(native.isfinite, _always, lambda x: x | ~x))
elementwise("isinf", np.isinf, None, lower=ByKind(native.isinf, _never, lambda x: x & ~x))
elementwise("isnan", np.isnan, None, lower=ByKind(lambda x: x.isnan(), _never, lambda x: x & ~x))
elementwise("signbit", np.signbit, None, lower=numbers(native.signbit))


def _integers(rng: np.random.Generator, shape: tuple, dtype: Any) -> tuple:
    return (rng.integers(0, 7, shape), rng.integers(0, 7, shape)), {}


bitwise_and, bitwise_or, bitwise_xor = (
    elementwise(ufunc.__name__, ufunc, None, domains=(), sample=_integers, lower=ByKind(None, on_bits, on_bits, unsigned=on_bits))
    for ufunc, on_bits in ((np.bitwise_and, operator.and_), (np.bitwise_or, operator.or_), (np.bitwise_xor, operator.xor))
)
left_shift, right_shift = (
    elementwise(ufunc.__name__, ufunc, None, domains=(), sample=_integers, lower=ByKind(None, signed, unsigned=unsigned))
    for ufunc, signed, unsigned in (
        (np.left_shift, native.shift_left, native.shift_left),
        (np.right_shift, native.shift_right, native.shift_right_unsigned),
    )
)
for _of_integers in (np.gcd, np.lcm):
    elementwise(_of_integers.__name__, _of_integers, None, domains=(), sample=_integers)
invert = elementwise(
    "invert",
    np.invert,
    None,
    domains=(),
    sample=lambda rng, shape, dtype: ((rng.integers(0, 7, shape),), {}),
    lower=ByKind(None, operator.invert, operator.invert),
)

# -- dtypes and the parts of complex numbers ----------------------------------------------------------------


def _astype(x: Any, *, dtype: Any) -> Any:
    x = np.asarray(x)
    return (x.real if x.dtype.kind == "c" and np.dtype(dtype).kind in "fiu" else x).astype(dtype)


def cast(x: Any, dtype: Any) -> Any:
    """``x`` in another dtype; complex to real takes the real part."""
    kind = dtype_of(x)
    return x if kind == dtype and not (isinstance(x, Expr) and type(kind) is type) else convert(x, dtype=np.dtype(dtype))


convert = elementwise(
    "astype",
    _astype,
    Linear((lambda ct, x, dtype: cast(ct, x.dtype),)),
    keeps=(),
    dtype=lambda dtypes, dtype: dtype,
    sample=lambda rng, shape, dtype: ((rng.normal(size=shape).astype(dtype),), {"dtype": np.dtype(np.float64)}),
    role="cast",
    lower=ByKind(native.identity, native.identity, native.identity),
)
FUNCTIONS["astype"] = cast


def _half(dtypes: tuple) -> np.dtype:
    return np.empty(0, dtypes[0]).real.dtype


def _as_complex(x: Any) -> Any:
    return cast(x, np.result_type(dtype_of(x), np.complex64))


def _as_given(given: tuple, out: np.dtype) -> tuple:
    return tuple(map(np.dtype, given))


# copies: np.real and np.imag give views
real = elementwise(
    "real",
    lambda x: np.array(np.real(x))[()],
    Linear((lambda ct, x: _as_complex(ct) if np.dtype(x.dtype).kind == "c" else ct,)),
    dtype=_half,
    lower=ByKind(native.identity, operands=_as_given),
)
imag = elementwise(
    "imag",
    lambda x: np.array(np.imag(x))[()],
    Linear((lambda ct, x: ct * -1j if np.dtype(x.dtype).kind == "c" else ct * 0,)),
    dtype=_half,
)
conj = elementwise("conjugate", np.conjugate, Linear((lambda ct, x: np.conj(ct),)), keeps=(), lower=numbers(native.identity))
stop = elementwise(
    "stop_gradient",
    lambda x: np.array(x)[()],
    None,
    dtype=lambda dtypes: dtypes[0],
    lower=ByKind(native.identity, native.identity, native.identity, operands=_as_given),
)
barrier = elementwise(
    "barrier",
    lambda x, after: np.array(np.broadcast_arrays(x, after)[0]),
    (1, 0),
    domains=(),
    keeps=(),
    keeps_out=False,
    dtype=lambda dtypes: dtypes[0],
    sample=lambda rng, shape, dtype: ((rng.normal(size=shape).astype(dtype), rng.normal(size=()).astype(dtype)), {}),
    lower=ByKind(lambda x, after: x, lambda x, after: x, lambda x, after: x, operands=_as_given),
)
