"""What each elementwise primitive does to one vector of elements: values in, value out.

The table is keyed by the primitive's name; functions get operands already converted to the dtype NumPy computes in.
A primitive that is not here, or not for a dtype, is called back instead.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from fad.compile import vecmath
from fad.core.primitive import Primitive
from fad.native.ir import Value, call, constant, same, where
from fad.primitives.families import dtype_of

__all__ = ["KIND", "lower", "loop_dtypes", "convert", "maximum", "minimum"]

KIND = {"f8": "double", "f4": "float", "i8": "i64", "i4": "i32", "b1": "i1"}  # dtypes that programs compute in
STORED = {**KIND, "u1": "i8", "i1": "i8", "u2": "i16", "i2": "i16", "u4": "i32", "u8": "i64"}  # that they can load


def kind_of(dtype: Any) -> str:
    """The element kind of values of a dtype."""
    return STORED[np.dtype(dtype).str[1:]]


def maximum(x: Value, y: Value) -> Value:
    """The larger; NaN where one is NaN."""
    if x.kind == "i1":
        return x | y
    return where((x >= y) | x.isnan() if x.is_float else x >= y, x, y)


def minimum(x: Value, y: Value) -> Value:
    """The smaller; NaN where one is NaN."""
    if x.kind == "i1":
        return x & y
    return where((x <= y) | x.isnan() if x.is_float else x <= y, x, y)


def _sign(x: Value) -> Value:
    zero = where(x == 0, constant(0, x), x)
    return where(x > 0, 1, where(x < 0, -1, zero))


def _heaviside(x: Value, y: Value) -> Value:
    return where(x.isnan(), x, where(x == 0, y, where(x < 0, constant(0, x), 1)))


def _fmod(x: Value, y: Value) -> Value:
    return x._op("frem", "", y)


def _remainder(x: Value, y: Value) -> Value:
    """Python's modulus: the sign of y."""
    m = _fmod(x, y)
    other_side = (m < 0) ^ (y < 0)
    return where(m == 0, call("copysign", constant(0.0, m), y), where(other_side, m + y, m))


def _floor_divide(x: Value, y: Value) -> Value:
    m = _fmod(x, y)
    quotient = (x - m) / y
    quotient = where((m != 0) & ((m < 0) ^ (y < 0)), quotient - 1.0, quotient)
    down = call("floor", quotient)
    whole = where(quotient - down > 0.5, down + 1.0, down)
    whole = where(quotient == 0, call("copysign", constant(0.0, x), x / y), whole)
    return where(y == 0, x / y, whole)


def _sech(x: Value) -> Value:
    """2 e / (1 + e^2), e = exp(-|x|): an exponential and a division."""
    e = vecmath.exp(-abs(x))
    return (e + e) / (1.0 + e * e)


def _strong_multiply(z: Value, x: Value) -> Value:
    z, x = same(z, x)  # a mask costs more to spread than a number
    y = z * x
    return where(y.isnan() & ((z == 0) | (x == 0)), 0.0, y) if y.is_float else y


def _signbit(x: Value) -> Value:
    return x.bitcast() < 0 if x.is_float else x < 0


def _isfinite(x: Value) -> Value:
    return abs(x) < float("inf")


def _isinf(x: Value) -> Value:
    return abs(x) == float("inf")


def _exact(name: str) -> Callable:
    return lambda x: call(name, x)


def _sinc(x: Value) -> Value:
    y = where(x == 0, constant(1e-20, x), x) * np.pi
    return vecmath.sin(y) / y


def _exp2_of_log2e(x: Value, y: Value) -> Value:
    """log2(2^x + 2^y)."""
    top, low = maximum(x, y), minimum(x, y)
    gap = where(top == low, 0.0, low - top)
    return top + vecmath.log1p(vecmath.exp2(gap)) * 1.4426950408889634


FLOAT: dict[str, Callable] = {
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "multiply": lambda x, y: x * y,
    "divide": lambda x, y: x / y,
    "negative": lambda x: -x,
    "positive": lambda x: x,
    "reciprocal": lambda x: 1.0 / x,
    "square": lambda x: x * x,
    "sqrt": _exact("sqrt"),
    "fabs": abs,
    "absolute": abs,
    "sign": _sign,
    "copysign": lambda x, y: call("copysign", x, y),
    "floor": _exact("floor"),
    "ceil": _exact("ceil"),
    "trunc": _exact("trunc"),
    "rint": _exact("rint"),
    "maximum": maximum,
    "minimum": minimum,
    "fmax": lambda x, y: where((x >= y) | y.isnan(), x, y),
    "fmin": lambda x, y: where((x <= y) | y.isnan(), x, y),
    "heaviside": _heaviside,
    "fmod": _fmod,
    "remainder": _remainder,
    "floor_divide": _floor_divide,
    "deg2rad": lambda x: x * (np.pi / 180),
    "rad2deg": lambda x: x * (180 / np.pi),
    "strong_multiply": _strong_multiply,
    "real": lambda x: x,
    "conjugate": lambda x: x,
    "stop_gradient": lambda x: x,
    "isnan": lambda x: x.isnan(),
    "isfinite": _isfinite,
    "isinf": _isinf,
    "signbit": _signbit,
    "logaddexp2": _exp2_of_log2e,
    "sinc": _sinc,
    "sech": _sech,
}
FLOAT |= {
    name: getattr(vecmath, short)
    for name, short in {
        "exp": "exp",
        "exp2": "exp2",
        "expm1": "expm1",
        "log": "log",
        "log2": "log2",
        "log10": "log10",
        "log1p": "log1p",
        "power": "pow",
        "float_power": "pow",
        "cbrt": "cbrt",
        "sin": "sin",
        "cos": "cos",
        "tan": "tan",
        "sinh": "sinh",
        "cosh": "cosh",
        "tanh": "tanh",
        "arcsin": "asin",
        "arccos": "acos",
        "arctan": "atan",
        "arctan2": "atan2",
        "arcsinh": "asinh",
        "arccosh": "acosh",
        "arctanh": "atanh",
        "hypot": "hypot",
        "logaddexp": "logaddexp",
        "erf": "erf",
        "erfc": "erfc",
        "erfinv": "erfinv",
        "expit": "expit",
        "log_expit": "log_expit",
        "softplus": "softplus",
        "logit": "logit",
        "ndtr": "ndtr",
        "ndtri": "ndtri",
        "gammaln": "gammaln",
        "digamma": "digamma",
    }.items()
    if hasattr(vecmath, short)
}

INTEGER: dict[str, Callable] = {
    name: FLOAT[name]
    for name in (
        "add",
        "subtract",
        "multiply",
        "negative",
        "positive",
        "square",
        "absolute",
        "sign",
        "maximum",
        "minimum",
        "conjugate",
        "stop_gradient",
        "strong_multiply",
    )
}
INTEGER |= {
    "bitwise_and": lambda x, y: x & y,
    "bitwise_or": lambda x, y: x | y,
    "bitwise_xor": lambda x, y: x ^ y,
    "invert": lambda x: ~x,
    "isfinite": lambda x: constant(True, x, "i1"),
    "isnan": lambda x: constant(False, x, "i1"),
    "isinf": lambda x: constant(False, x, "i1"),
    "signbit": lambda x: x < 0,
    "fmax": maximum,
    "fmin": minimum,
}

BOOLEAN: dict[str, Callable] = {
    "bitwise_and": lambda x, y: x & y,
    "bitwise_or": lambda x, y: x | y,
    "bitwise_xor": lambda x, y: x ^ y,
    "invert": lambda x: ~x,
    "add": lambda x, y: x | y,
    "multiply": lambda x, y: x & y,
    "maximum": lambda x, y: x | y,
    "minimum": lambda x, y: x & y,
    "absolute": lambda x: x,
    "stop_gradient": lambda x: x,
    "strong_multiply": lambda x, y: x & y,
    "isfinite": lambda x: x | ~x,
    "isnan": lambda x: x & ~x,
    "isinf": lambda x: x & ~x,
}

COMPARE: dict[str, Callable] = {
    "equal": lambda x, y: x == y,
    "not_equal": lambda x, y: x != y,
    "less": lambda x, y: x < y,
    "less_equal": lambda x, y: x <= y,
    "greater": lambda x, y: x > y,
    "greater_equal": lambda x, y: x >= y,
}
BOOLEAN |= {
    "equal": lambda x, y: ~(x ^ y),
    "not_equal": lambda x, y: x ^ y,
    "less": lambda x, y: ~x & y,
    "less_equal": lambda x, y: ~x | y,
    "greater": lambda x, y: x & ~y,
    "greater_equal": lambda x, y: x | ~y,
}

LOGIC: dict[str, Callable] = {
    "logical_and": lambda x, y: x.to("i1") & y.to("i1"),
    "logical_or": lambda x, y: x.to("i1") | y.to("i1"),
    "logical_xor": lambda x, y: x.to("i1") ^ y.to("i1"),
    "logical_not": lambda x: ~x.to("i1"),
    "where": where,
}

FLOAT |= COMPARE | LOGIC
INTEGER |= COMPARE | LOGIC
BOOLEAN |= LOGIC
BY_KIND = {"f": FLOAT, "i": INTEGER, "b": BOOLEAN}


def loop_dtypes(op: Primitive, given: tuple, out: np.dtype) -> tuple | None:
    """The dtypes in which NumPy computes ``op`` on arguments of these; None where that is not known here."""
    if op.name == "where":
        return np.dtype(bool), out, out
    if isinstance(op.evaluate, np.ufunc):
        kinds = [np.dtype(bool) if d is bool else d for d in given]
        try:
            return tuple(op.evaluate.resolve_dtypes((*kinds, *(None,) * op.evaluate.nout))[: op.evaluate.nin])
        except TypeError:  # Python numbers alone
            return None
    return tuple(map(np.dtype, given)) if op.name in ("real", "stop_gradient") else (out,) * len(given)


def lower(op: Primitive, args: tuple, out: np.dtype) -> tuple[Callable, tuple] | None:
    """(function of values, dtypes of its operands) for ``op(*args)``; None where it must be called back."""
    return _lower(op, tuple([dtype_of(a) for a in args]), out)


@lru_cache(maxsize=8192)
def _lower(op: Primitive, given: tuple, out: np.dtype) -> tuple[Callable, tuple] | None:
    if any(np.dtype(d).str[1:] not in STORED for d in given) or out.str[1:] not in STORED:
        return None
    if op.name == "astype":
        return (lambda x: x), tuple(map(np.dtype, given))
    dtypes = loop_dtypes(op, given, out)
    if dtypes is None or out.str[1:] not in KIND or any(np.dtype(d).str[1:] not in KIND for d in dtypes):
        return None
    function = BY_KIND[np.dtype(dtypes[-1]).kind].get(op.name)
    return None if function is None else (function, tuple(np.dtype(d) for d in dtypes))


def truncated(x: Value, new: np.dtype) -> Value:
    """Floats to integers as NumPy's loops convert them on x86, numbers out of range included: in 32 bits, of which narrower
    integers take the last ones, or in 64. What does not fit in there is the least of them."""
    wide = "i64" if new.itemsize == 8 else "i32"
    limit = 2.0 ** (63 if wide == "i64" else 31)

    def whole(x: Value) -> Value:
        return where(abs(x) < limit, x.to(wide), constant(-int(limit), x.to(wide)))

    if new.kind == "u" and new.itemsize >= 4:
        return where(x >= limit, whole(x - limit) ^ constant(-int(limit), whole(x)), whole(x))
    return whole(x).to(kind_of(new))


def convert(x: Value, old: Any, new: Any) -> Value:
    """A value of one dtype in another."""
    old, new = np.dtype(old), np.dtype(new)
    if old == new:
        return x
    if new.kind == "b":
        return x.to("i1")
    if old.kind == "f" and new.kind in "iu":
        return truncated(x, new)
    return x.to(kind_of(new), signed=old.kind not in "ub")
