"""What elementwise operations do to vectors of elements, beside the operators of `Value` and the functions of `vecmath`."""

from __future__ import annotations

import math
from collections.abc import Callable

from fad.native import vecmath
from fad.native.ir import Value, call, constant, same, where, write

__all__ = [
    "by_instruction",
    "floor_divide",
    "floor_divide_integers",
    "fmax",
    "fmin",
    "fmod",
    "heaviside",
    "identity",
    "isfinite",
    "isinf",
    "logaddexp2",
    "maximum",
    "minimum",
    "remainder",
    "remainder_of_integers",
    "sech",
    "shift_left",
    "shift_right",
    "shift_right_unsigned",
    "sign",
    "signbit",
    "sinc",
    "strong_multiply",
    "to_bool",
]


def identity(x: Value) -> Value:
    """x itself."""
    return x


def to_bool(function: Callable) -> Callable:
    """A function of truth values on numbers, which are true where they are not 0."""
    return lambda *xs: function(*[x.to("i1") for x in xs])


def by_instruction(name: str) -> Callable:
    """An LLVM intrinsic that is exact."""
    return lambda *xs: call(name, *xs)


def maximum(x: Value, y: Value) -> Value:
    """The larger; NaN where one is NaN."""
    return where((x >= y) | x.isnan() if x.is_float else x >= y, x, y)


def minimum(x: Value, y: Value) -> Value:
    """The smaller; NaN where one is NaN."""
    return where((x <= y) | x.isnan() if x.is_float else x <= y, x, y)


def fmax(x: Value, y: Value) -> Value:
    """The larger; NaN where both are NaN."""
    return where((x >= y) | y.isnan(), x, y)


def fmin(x: Value, y: Value) -> Value:
    """The smaller; NaN where both are NaN."""
    return where((x <= y) | y.isnan(), x, y)


def sign(x: Value) -> Value:
    """-1, 0 or 1, and zeros and NaN as they are."""
    zero = where(x == 0, constant(0, x), x)
    return where(x > 0, 1, where(x < 0, -1, zero))


def heaviside(x: Value, y: Value) -> Value:
    """0 below 0, y at 0, 1 above."""
    return where(x.isnan(), x, where(x == 0, y, where(x < 0, constant(0, x), 1)))


def fmod(x: Value, y: Value) -> Value:
    """C's modulus: the sign of x."""
    return x._op("frem", "", y)


def remainder(x: Value, y: Value) -> Value:
    """Python's modulus: the sign of y."""
    m = fmod(x, y)
    other_side = (m < 0) ^ (y < 0)
    return where(m == 0, call("copysign", constant(0.0, m), y), where(other_side, m + y, m))


def floor_divide(x: Value, y: Value) -> Value:
    """The whole quotient below x / y, from the exact modulus as NumPy has it."""
    m = fmod(x, y)
    quotient = (x - m) / y
    quotient = where((m != 0) & ((m < 0) ^ (y < 0)), quotient - 1.0, quotient)
    down = call("floor", quotient)
    whole = where(quotient - down > 0.5, down + 1.0, down)
    whole = where(quotient == 0, call("copysign", constant(0.0, x), x / y), whole)
    return where(y == 0, x / y, whole)


def divide_integers(x: Value, y: Value) -> tuple[Value, Value]:
    """Quotient and remainder toward zero; 0 for a division by zero, which stops a processor as does the least integer by -1."""
    x, y = same(x, y)
    least = constant(-(2 ** (x.bits - 1)), x)
    is_bad = (y == 0) | ((x == least) & (y == -1))
    safe = where(is_bad, 1, y)
    quotient, rest = (write(f"{op} {x.type} {x.name}, {safe.name}", x.kind, x.lanes, x, safe) for op in ("sdiv", "srem"))
    return where(y == 0, 0, quotient), rest


def floor_divide_integers(x: Value, y: Value) -> Value:
    """The whole quotient below x / y."""
    quotient, rest = divide_integers(x, y)
    return where((rest != 0) & ((rest < 0) ^ (y < 0)), quotient - 1, quotient)


def remainder_of_integers(x: Value, y: Value) -> Value:
    """Python's modulus: the sign of y; 0 for y = 0."""
    rest = where(y == 0, 0, divide_integers(x, y)[1])
    return where((rest != 0) & ((rest < 0) ^ (y < 0)), rest + y, rest)


def shift_left(x: Value, count: Value) -> Value:
    """x times a power of two; 0 where all bits are shifted out."""
    x, count = same(x, count)
    return where((count >= 0) & (count < x.bits), x << where((count >= 0) & (count < x.bits), count, 0), 0)


def shift_right(x: Value, count: Value) -> Value:
    """x over a power of two, downward; the sign alone is left where all bits are shifted out."""
    x, count = same(x, count)
    fits = (count >= 0) & (count < x.bits)
    return where(fits, x >> where(fits, count, 0), where(x < 0, -1, constant(0, x)))


def shift_right_unsigned(x: Value, count: Value) -> Value:
    """x over a power of two, downward; 0 where all bits are shifted out."""
    x, count = same(x, count)
    fits = (count >= 0) & (count < x.bits)
    return where(fits, x.shift_right(where(fits, count, 0)), 0)


def sech(x: Value) -> Value:
    """2 e / (1 + e^2), e = exp(-|x|): an exponential and a division."""
    e = vecmath.exp(-abs(x))
    return (e + e) / (1.0 + e * e)


def strong_multiply(z: Value, x: Value) -> Value:
    """z x, and 0 where a factor is."""
    z, x = same(z, x)  # a mask costs more to spread than a number
    y = z * x
    return where(y.isnan() & ((z == 0) | (x == 0)), 0.0, y) if y.is_float else y


def signbit(x: Value) -> Value:
    """Whether the sign is minus, of zeros and NaN as well."""
    return x.bitcast() < 0 if x.is_float else x < 0


def isfinite(x: Value) -> Value:
    """Neither infinite nor NaN."""
    return abs(x) < math.inf


def isinf(x: Value) -> Value:
    """Infinite, of either sign."""
    return abs(x) == math.inf


def sinc(x: Value) -> Value:
    """sin(pi x) / (pi x), by NumPy's own formula."""
    y = where(x == 0, constant(1e-20, x), x) * math.pi
    return vecmath.sin(y) / y


def logaddexp2(x: Value, y: Value) -> Value:
    """log2(2^x + 2^y)."""
    top, low = maximum(x, y), minimum(x, y)
    gap = where(top == low, 0.0, low - top)
    return top + vecmath.log1p(vecmath.exp2(gap)) * 1.4426950408889634
