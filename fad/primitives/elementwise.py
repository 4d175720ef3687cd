"""Elementwise primitives: NumPy's float ufuncs, comparisons, logic, selection, and the parts of complex numbers.

One record each. ``partials`` holds one rule ``(out, *args) -> d out / d args[i]`` per argument, or a number;
forward and reverse mode both come from it. Derivatives are from DLMF chapter 4 unless said otherwise.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fad.expr import FUNCTIONS, UFUNCS, Expr
from fad.primitive import Jvp, Kink, Linear, Partials, Primitive
from fad.primitives.families import dtype_of, elementwise

POSITIVE = (0.2, 3.0)
UNIT = (-0.9, 0.9)
ANY = (-3.0, 3.0)


# -- arithmetic -------------------------------------------------------------------------------------

add = elementwise("add", np.add, (1, 1), keeps=(), keeps_out=False, domains=(ANY, ANY))
subtract = elementwise("subtract", np.subtract, (1, -1), keeps=(), keeps_out=False, domains=(ANY, ANY))
multiply = elementwise("multiply", np.multiply, (lambda z, x, y: y, lambda z, x, y: x), domains=(ANY, ANY), keeps_out=False)
divide = elementwise("divide", np.true_divide, (lambda z, x, y: np.true_divide(1, y), lambda z, x, y: -z / y), flops=4,
                     domains=(ANY, POSITIVE))
negative = elementwise("negative", np.negative, (-1,), keeps=(), keeps_out=False)
positive = elementwise("positive", np.positive, (1,), keeps=(), keeps_out=False)
reciprocal = elementwise("reciprocal", np.reciprocal, (lambda y, x: -y * y,), flops=4, domains=(POSITIVE,))
square = elementwise("square", np.square, (lambda y, x: 2 * x,), keeps_out=False)


def _power_by_base(z: Any, x: Any, y: Any) -> Any:
    if isinstance(y, int | float):  # a literal exponent keeps the rule cheap and exact: x**2 gives 2 x
        return 0 if y == 0 else y if y == 1 else 2 * x if y == 2 else y * x ** (y - 1)
    return np.where(y == 0, 0, y * x ** np.where(y == 0, 1, y - 1))


def _power_by_exponent(z: Any, x: Any, y: Any) -> Any:
    return z * np.log(np.where(x == 0, 1, x)) if z.dtype.kind == "c" else np.where(
        x > 0, z * np.log(np.where(x > 0, x, 1)), np.where(x == 0, 0, np.nan))


_POWERS = (Kink("x ** 0 at x = 0", "0 for x", "the function is constant"),
           Kink("0 ** y, y > 0", "0 for y", "the function is constant"),
           Kink("0 ** y, 0 < y < 1", "inf for x", "the one-sided limit"))
power = elementwise("power", np.power, (_power_by_base, _power_by_exponent), flops=20, domains=(POSITIVE, ANY), kinks=_POWERS)
float_power = elementwise("float_power", np.float_power, (_power_by_base, _power_by_exponent), flops=20,
                          domains=(POSITIVE, ANY), kinks=_POWERS)
fmod = elementwise("fmod", np.fmod, (1, lambda z, x, y: -np.trunc(x / y)), flops=10, domains=(ANY, (1.1, 1.3)),
                   kinks=(Kink("x / y integer", "1 for x, -(x / y) for y", "a jump"),))
remainder = elementwise("remainder", np.remainder, (1, lambda z, x, y: -np.floor(x / y)), flops=10,
                        domains=(ANY, (1.1, 1.3)), kinks=(Kink("x / y integer", "1 for x, -(x / y) for y", "a jump"),))
copysign = elementwise("copysign", np.copysign, (lambda z, x, y: np.sign(x) * np.copysign(1.0, y).astype(z.dtype), 0),
                       domains=(POSITIVE, (0.5, 1.0)), kinks=(Kink("x = 0", "0"),))
ldexp = elementwise("ldexp", np.ldexp, (lambda z, x, n: np.exp2(n).astype(z.dtype), 0), domains=(),
                    sample=lambda rng, shape, dtype: ((rng.uniform(-2, 2, shape).astype(dtype), rng.integers(-3, 4, shape)), {}))
hypot = elementwise("hypot", np.hypot, (lambda z, x, y: _ratio(x, z), lambda z, x, y: _ratio(y, z)), flops=8,
                    domains=(ANY, POSITIVE), kinks=(Kink("x = y = 0", "0"),))


def _ratio(x: Any, norm: Any) -> Any:
    """x / norm, and 0 where the norm is 0: the subgradient of least norm."""
    return np.where(norm == 0, 0, x / np.where(norm == 0, 1, norm))


# -- exponentials and logarithms --------------------------------------------------------------------

exp = elementwise("exp", np.exp, (lambda y, x: y,), flops=15, keeps=())
exp2 = elementwise("exp2", np.exp2, (lambda y, x: 0.6931471805599453 * y,), flops=15)
expm1 = elementwise("expm1", np.expm1, (lambda y, x: np.exp(x),), flops=18)
log = elementwise("log", np.log, (lambda y, x: 1 / x,), flops=15, domains=(POSITIVE,), keeps_out=False)
log2 = elementwise("log2", np.log2, (lambda y, x: 1.4426950408889634 / x,), flops=15, domains=(POSITIVE,))
log10 = elementwise("log10", np.log10, (lambda y, x: 0.4342944819032518 / x,), flops=15, domains=(POSITIVE,))
log1p = elementwise("log1p", np.log1p, (lambda y, x: 1 / (1 + x),), flops=18, domains=((-0.7, 3.0),))
logaddexp = elementwise("logaddexp", np.logaddexp, (lambda z, x, y: _share(x, z, np.exp), lambda z, x, y: _share(y, z, np.exp)),
                        flops=35, domains=(ANY, ANY), source="Blanchard, Higham and Higham 2021",
                        kinks=(Kink("x = y = -inf", "0", "the function is constant to first order"),))
logaddexp2 = elementwise("logaddexp2", np.logaddexp2,
                         (lambda z, x, y: _share(x, z, np.exp2), lambda z, x, y: _share(y, z, np.exp2)), flops=35,
                         domains=(ANY, ANY))


def _share(x: Any, total: Any, exponential: Any) -> Any:
    """exp(x - total), and 0 where both are -inf."""
    return np.where(x == -np.inf, 0, exponential(np.where(x == -np.inf, 0, x - total)))


sqrt = elementwise("sqrt", np.sqrt, (lambda y, x: 0.5 / y,), flops=5, domains=(POSITIVE,), keeps=(),
                   kinks=(Kink("x = 0", "inf", "the one-sided limit; no subgradient exists"),))
cbrt = elementwise("cbrt", np.cbrt, (lambda y, x: 1 / (3 * y * y),), flops=20, domains=(POSITIVE,),
                   kinks=(Kink("x = 0", "inf", "the limit"),))

# -- trigonometric and hyperbolic functions -----------------------------------------------------------

sin = elementwise("sin", np.sin, (lambda y, x: np.cos(x),), flops=18, keeps_out=False)
cos = elementwise("cos", np.cos, (lambda y, x: -np.sin(x),), flops=18, keeps_out=False)
tan = elementwise("tan", np.tan, (lambda y, x: 1 + y * y,), flops=25, domains=((-1.2, 1.2),))
arcsin = elementwise("arcsin", np.arcsin, (lambda y, x: 1 / np.sqrt((1 - x) * (1 + x)),), flops=25, domains=(UNIT,),
                     kinks=(Kink("x = -1, 1", "inf", "the one-sided limit"),))
arccos = elementwise("arccos", np.arccos, (lambda y, x: -1 / np.sqrt((1 - x) * (1 + x)),), flops=25, domains=(UNIT,),
                     kinks=(Kink("x = -1, 1", "-inf", "the one-sided limit"),))
arctan = elementwise("arctan", np.arctan, (lambda y, x: 1 / (1 + x * x),), flops=25)
arctan2 = elementwise("arctan2", np.arctan2, (lambda z, y, x: _over_square(x, y, x), lambda z, y, x: -_over_square(y, y, x)),
                      flops=30, domains=(ANY, POSITIVE), kinks=(Kink("x = y = 0", "0", "no derivative exists"),))
sinh = elementwise("sinh", np.sinh, (lambda y, x: np.cosh(x),), flops=20)
cosh = elementwise("cosh", np.cosh, (lambda y, x: np.sinh(x),), flops=20)
tanh = elementwise("tanh", np.tanh, (lambda y, x: 1 - y * y,), flops=20, keeps=())
arcsinh = elementwise("arcsinh", np.arcsinh, (lambda y, x: 1 / np.sqrt(x * x + 1),), flops=25)
arccosh = elementwise("arccosh", np.arccosh, (lambda y, x: 1 / (np.sqrt(x - 1) * np.sqrt(x + 1)),), flops=25,
                      domains=((1.2, 4.0),), kinks=(Kink("x = 1", "inf", "the one-sided limit"),))
arctanh = elementwise("arctanh", np.arctanh, (lambda y, x: 1 / ((1 - x) * (1 + x)),), flops=25, domains=(UNIT,))
deg2rad = elementwise("deg2rad", np.deg2rad, (0.017453292519943295,))
rad2deg = elementwise("rad2deg", np.rad2deg, (57.29577951308232,))
UFUNCS[np.radians], UFUNCS[np.degrees] = deg2rad, rad2deg
sinc = elementwise("sinc", np.sinc, (lambda y, x: _sinc_slope(y, x),), flops=25, dtype=lambda dtypes: _float(dtypes[0]))


def _over_square(n: Any, y: Any, x: Any) -> Any:
    r = x * x + y * y
    return np.where(r == 0, 0, n / np.where(r == 0, 1, r))


def _sinc_slope(y: Any, x: Any) -> Any:
    """(cos(pi x) - sinc x) / x; below 0.01 its Taylor series, where the difference would cancel."""
    small = abs(x) < 1e-2
    safe = np.where(small, 1, x)
    t = (np.pi * x) ** 2
    series = -np.pi**2 * x / 3 * (1 - t / 10 * (1 - t / 28 * (1 - t / 54)))
    return np.where(small, series, (np.cos(np.pi * safe) - np.sinc(safe)) / safe)


def _float(dtype: Any) -> np.dtype:
    return np.dtype(dtype) if np.dtype(dtype).kind in "fc" else np.dtype(np.float64)


# -- kinks: absolute value, sign, extrema, rounding -----------------------------------------------------

fabs = elementwise("fabs", np.fabs, (lambda y, x: np.sign(x),), kinks=(Kink("x = 0", "0"),))
real_absolute = elementwise("absolute", np.absolute, Jvp(lambda t, y, x: _absolute_tangent(t[0], y, x)), flops=1,
                            kinks=(Kink("x = 0", "0"),))


def _absolute_tangent(x_dot: Any, y: Any, x: Any) -> Any:
    if np.dtype(dtype_of(x)).kind != "c":
        return np.sign(x) * x_dot
    return np.real(np.conj(x) * x_dot) * np.where(y == 0, 0, 1 / np.where(y == 0, 1, y))


def _extremum(wins: Any) -> Partials:
    """Partials of maximum or minimum: 1 where an argument wins. At a tie the subgradient of least norm:
    1/2 each where both arguments are differentiated, 0 where the other one is constant."""

    def ties(active: list, z: Any, x: Any, y: Any) -> tuple:
        tie = 0.5 if len(active) == 2 else 0.0
        both = np.where(x == y, tie, 0.0)
        return tuple(np.where(wins(a, b), 1.0, both).astype(z.dtype) for a, b in ((x, y), (y, x)))

    return Partials((), ties)


def _choice(ufunc: np.ufunc, wins: Any) -> Primitive:
    tie = Kink("x = y", "1/2 each, or 0 where the other argument is not differentiated")
    return elementwise(ufunc.__name__, ufunc, _extremum(wins), domains=(ANY, ANY), selects=True, kinks=(tie,), keeps_out=False)


def _unless_nan(wins: Any) -> Any:
    return lambda a, b: wins(a, b) | (np.isnan(b) & ~np.isnan(a))


maximum, minimum = _choice(np.maximum, np.greater), _choice(np.minimum, np.less)
fmax, fmin = _choice(np.fmax, _unless_nan(np.greater)), _choice(np.fmin, _unless_nan(np.less))
heaviside = elementwise("heaviside", np.heaviside, (0, lambda z, x, y: np.equal(x, 0).astype(z.dtype)), domains=(ANY, ANY),
                        kinks=(Kink("x = 0", "0 for x", "a jump"),))

sign = elementwise("sign", np.sign, None, kinks=(Kink("x = 0", "0", "a jump"),))
for _ufunc in (np.floor, np.ceil, np.trunc, np.rint):
    elementwise(_ufunc.__name__, _ufunc, None, kinks=(Kink("integers", "0", "a jump"),))
floor_divide = elementwise("floor_divide", np.floor_divide, None, domains=(ANY, POSITIVE),
                           kinks=(Kink("x / y integer", "0", "a jump"),))
nextafter = elementwise("nextafter", np.nextafter, (1, 0), domains=(ANY, ANY), sample=None)
spacing = elementwise("spacing", np.spacing, None)

# -- comparisons and logic: the derivative is zero wherever it exists -----------------------------------

for _ufunc in (np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal, np.logical_and,
               np.logical_or, np.logical_xor):
    elementwise(_ufunc.__name__, _ufunc, None, domains=(ANY, ANY))
for _ufunc in (np.logical_not, np.isfinite, np.isinf, np.isnan, np.signbit):
    elementwise(_ufunc.__name__, _ufunc, None)


def _integers(rng: np.random.Generator, shape: tuple, dtype: Any) -> tuple:
    return (rng.integers(0, 7, shape), rng.integers(0, 7, shape)), {}



for _ufunc in (np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.left_shift, np.right_shift):
    elementwise(_ufunc.__name__, _ufunc, None, domains=(), sample=_integers)
for _ufunc in (np.gcd, np.lcm):
    elementwise(_ufunc.__name__, _ufunc, None, domains=(), sample=_integers)
invert = elementwise("invert", np.invert, None, domains=(),
                     sample=lambda rng, shape, dtype: ((rng.integers(0, 7, shape),), {}))

# -- selection ------------------------------------------------------------------------------------------


def _select(condition: Any, x: Any, y: Any) -> Any:
    return np.where(condition, x, y)


_TAKE_FIRST = lambda t, c, x, y: where(c, t, np.zeros((), t.dtype))
_TAKE_SECOND = lambda t, c, x, y: where(c, np.zeros((), t.dtype), t)

select = elementwise(
    "where", _select,
    Linear((None, _TAKE_FIRST, _TAKE_SECOND), push=(None, _TAKE_FIRST, _TAKE_SECOND)),
    domains=(), selects=True, keeps=(0,), dtype=lambda dtypes: _promoted(dtypes[1:]), kinks=(
        Kink("the edge of the condition", "that of the side taken", "NaN-safe: the other side contributes nothing"),),
    sample=lambda rng, shape, dtype: ((rng.random(shape) < 0.5, rng.normal(size=shape).astype(dtype),
                                       rng.normal(size=shape[1:]).astype(dtype)), {}))


def where(condition: Any, x: Any, y: Any) -> Any:
    """``np.where`` with three arguments."""
    return select(condition, x, y)


def _promoted(dtypes: tuple) -> np.dtype:
    return np.result_type(*(d(0) if isinstance(d, type) else d for d in dtypes))


def _strong(z: Any, x: Any) -> Any:
    y = np.multiply(z, x)
    lost = np.isnan(y)
    if not lost.any():  # 0 times a number is 0 anyway
        return y
    return np.where(lost & (np.equal(z, 0) | np.equal(x, 0)), np.zeros((), y.dtype), y)[()]


strong_multiply = elementwise(
    "strong_multiply", _strong,
    Linear((lambda ct, z, x: strong_multiply(ct, x), lambda ct, z, x: strong_multiply(z, ct))),
    domains=(ANY, ANY), selects=True, dtype=lambda dtypes: _promoted(dtypes),
    source="strong zero: 0 times anything, NaN and infinity too, is 0")

# -- dtypes and the parts of complex numbers ----------------------------------------------------------------


def _astype(x: Any, *, dtype: Any) -> Any:
    x = np.asarray(x)
    return (x.real if x.dtype.kind == "c" and np.dtype(dtype).kind in "fiu" else x).astype(dtype)


def cast(x: Any, dtype: Any) -> Any:
    """``x`` in another dtype; complex to real takes the real part."""
    kind = dtype_of(x)
    return x if kind == dtype and not (isinstance(x, Expr) and type(kind) is type) else convert(x, dtype=np.dtype(dtype))


convert = elementwise("astype", _astype, Linear((lambda ct, x, dtype: cast(ct, x.dtype),)), keeps=(),
                      dtype=lambda dtypes, dtype: dtype,
                      sample=lambda rng, shape, dtype: ((rng.normal(size=shape).astype(dtype),), {"dtype": np.dtype(np.float64)}))
FUNCTIONS["astype"] = cast


def _half(dtypes: tuple) -> np.dtype:
    return np.empty(0, dtypes[0]).real.dtype


def _as_complex(x: Any) -> Any:
    return cast(x, np.result_type(dtype_of(x), np.complex64))


# copies: np.real and np.imag give views
real = elementwise("real", lambda x: np.array(np.real(x))[()],
                   Linear((lambda ct, x: _as_complex(ct) if np.dtype(x.dtype).kind == "c" else ct,)),
                   dtype=_half)
imag = elementwise("imag", lambda x: np.array(np.imag(x))[()],
                   Linear((lambda ct, x: ct * -1j if np.dtype(x.dtype).kind == "c" else ct * 0,)),
                   dtype=_half)
conj = elementwise("conjugate", np.conjugate, Linear((lambda ct, x: np.conj(ct),)), keeps=())
