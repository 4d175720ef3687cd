"""Functions of each element that NumPy has beside its ufuncs: selection, clipping, rounding, complex parts."""

from __future__ import annotations

from typing import Any

import numpy as np

from fad.core.expr import FUNCTIONS, UFUNCS, Expr, concrete
from fad.numpy.dispatch import as_array, implements, no_out, of_ufunc, ufunc_rule
from fad.numpy.memory import copied, view
from fad.primitives import elementwise as primitives
from fad.primitives import select as selection

__all__ = [
    "where",
    "select",
    "piecewise",
    "clip",
    "nan_to_num",
    "real",
    "imag",
    "angle",
    "round",
    "around",
    "fix",
    "sinc",
    "i0",
    "isclose",
    "allclose",
    "array_equal",
    "array_equiv",
    "isposinf",
    "isneginf",
    "isreal",
    "iscomplex",
    "iscomplexobj",
    "isrealobj",
    "divmod",
    "modf",
    "result_type",
]


# -- ufuncs that give two results ------------------------------------------------------------------


@ufunc_rule(np.divmod)
def divmod(x: Any, y: Any) -> tuple:
    """``(x // y, x % y)``."""
    return np.floor_divide(x, y), np.remainder(x, y)


@ufunc_rule(np.modf)
def modf(x: Any) -> tuple:
    """The fractional part, with derivative 1, and the integral part."""
    whole = np.trunc(x)
    return np.where(np.isinf(x), 0, x - whole), whole


# -- selection -------------------------------------------------------------------------------------

_MISSING = object()


@implements(np.where)
def where(condition: Any, x: Any = _MISSING, y: Any = _MISSING) -> Any:
    """``x`` where the condition holds, else ``y``; nothing flows to the side not taken, NaN or not.

    With one argument `np.nonzero`, which needs the value of the condition.
    """
    if x is _MISSING:
        return np.nonzero(concrete(condition, "np.where with one argument"))
    return selection.select(condition, x, y)


@implements(np.select)
def select(condlist: list, choicelist: list, default: Any = 0) -> Any:
    """The choice of the first condition that holds."""
    if len(condlist) != len(choicelist):
        raise ValueError(f"{len(condlist)} conditions for {len(choicelist)} choices")
    result = default
    for condition, choice in zip(reversed(condlist), reversed(choicelist), strict=True):
        result = where(condition, choice, result)
    return result


@implements(np.piecewise)
def piecewise(x: Any, condlist: Any, funclist: list, *args: Any, **kw: Any) -> Any:
    """``f(x)`` by region; the last condition that holds wins. Each function is applied to the whole of ``x``."""
    x = as_array(x)
    conditions = list(condlist) if isinstance(condlist, list | tuple) else [condlist]
    functions = list(funclist)
    if len(functions) == len(conditions) + 1:
        functions = [functions[-1], *functions[:-1]]
        conditions = [True, *conditions]
    if len(functions) != len(conditions):
        raise ValueError(f"{len(conditions)} conditions for {len(functions)} functions")
    result = np.zeros(x.shape, x.dtype)
    for condition, f in zip(conditions, functions, strict=True):
        result = where(condition, f(x, *args, **kw) if callable(f) else f, result)
    return primitives.cast(result, x.dtype)


@implements(np.clip)
def clip(a: Any, a_min: Any = None, a_max: Any = None, out: Any = None, *, min: Any = None, max: Any = None) -> Any:
    """``minimum(maximum(a, a_min), a_max)``; either bound may be None."""
    no_out(out)
    low, high = (a_min if min is None else min), (a_max if max is None else max)
    if low is None and high is None:
        return copied(as_array(a))
    if type(a) in (list, tuple):
        a = as_array(a)
    if low is not None:
        a = primitives.maximum(a, low)
    return a if high is None else primitives.minimum(a, high)


@implements(np.nan_to_num)
def nan_to_num(x: Any, copy: bool = True, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Any:
    """NaN and infinities replaced by numbers; nothing flows through the elements that were replaced."""
    x = as_array(x)
    if x.dtype.kind == "c":
        return nan_to_num(np.real(x), nan=nan, posinf=posinf, neginf=neginf) + 1j * nan_to_num(
            np.imag(x), nan=nan, posinf=posinf, neginf=neginf
        )
    if x.dtype.kind != "f":
        return copied(x)
    limits = np.finfo(x.dtype)
    x = np.where(np.isnan(x), nan, x)
    x = np.where(x == np.inf, limits.max if posinf is None else posinf, x)
    return np.where(x == -np.inf, limits.min if neginf is None else neginf, x)


# -- complex parts ---------------------------------------------------------------------------------


@implements(np.real)
def real(val: Any) -> Any:
    """The real part."""
    x = as_array(val)
    return view(primitives.real(x), x) if x.dtype.kind == "c" else x


@implements(np.imag)
def imag(val: Any) -> Any:
    """The imaginary part; zeros for real arrays."""
    x = as_array(val)
    return view(primitives.imag(x), x) if x.dtype.kind == "c" else np.zeros(x.shape, x.dtype)


@implements(np.angle)
def angle(z: Any, deg: bool = False) -> Any:
    """``arctan2(imag z, real z)``, in degrees if asked."""
    z = as_array(z)
    radians = np.arctan2(np.imag(z), np.real(z))
    return np.rad2deg(radians) if deg else radians


@implements(np.iscomplexobj)
def iscomplexobj(x: Any) -> bool:
    """Whether the dtype is complex."""
    return as_array(x).dtype.kind == "c"


@implements(np.isrealobj)
def isrealobj(x: Any) -> bool:
    """Whether the dtype is not complex."""
    return not iscomplexobj(x)


@implements(np.iscomplex)
def iscomplex(x: Any) -> Any:
    """Where the imaginary part is not zero."""
    return np.not_equal(np.imag(x), 0)


@implements(np.isreal)
def isreal(x: Any) -> Any:
    """Where the imaginary part is zero."""
    return np.equal(np.imag(x), 0)


# -- rounding: no derivative -----------------------------------------------------------------------


@implements(np.round, np.around)
def round(a: Any, decimals: int = 0, out: Any = None) -> Any:
    """To the nearest multiple of ``10**-decimals``, ties to even; the derivative is zero."""
    no_out(out)
    a = as_array(a)
    if a.dtype.kind in "iu" and decimals >= 0:
        return copied(a)
    if decimals == 0:
        return np.rint(a)
    unit = 10.0 ** abs(decimals)
    rounded = np.rint(a * unit) / unit if decimals > 0 else np.rint(a / unit) * unit
    return primitives.cast(rounded, a.dtype)


around = round


@implements(np.fix)
def fix(x: Any, out: Any = None) -> Any:
    """To the next integer towards zero; the derivative is zero."""
    no_out(out)
    return np.trunc(x)


sinc = implements(np.sinc)(primitives.sinc)


@implements(np.i0)
def i0(x: Any) -> Any:
    """The modified Bessel function of order 0."""
    from fad.primitives import bessel

    x = as_array(x)
    return bessel.i0(x if x.dtype.kind == "f" else primitives.cast(x, np.dtype(np.float64)))


# -- tests -----------------------------------------------------------------------------------------


@implements(np.isposinf)
def isposinf(x: Any, out: Any = None) -> Any:
    """Where x is +inf."""
    no_out(out)
    return np.equal(x, np.inf)


@implements(np.isneginf)
def isneginf(x: Any, out: Any = None) -> Any:
    """Where x is -inf."""
    no_out(out)
    return np.equal(x, -np.inf)


@implements(np.isclose)
def isclose(a: Any, b: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False) -> Any:
    """Where ``|a - b| <= atol + rtol |b|``, or both are the same infinity."""
    a, b = as_array(a), as_array(b)
    close = np.isfinite(b) & (np.abs(a - b) <= atol + rtol * np.abs(b)) | (a == b)
    return close | (np.isnan(a) & np.isnan(b)) if equal_nan else close


@implements(np.allclose)
def allclose(a: Any, b: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False) -> bool:
    """Whether all elements are close; needs their values."""
    return bool(np.all(isclose(a, b, rtol, atol, equal_nan)))


@implements(np.array_equal)
def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> bool:
    """Whether shapes and all elements are equal; needs their values."""
    a1, a2 = as_array(a1), as_array(a2)
    return a1.shape == a2.shape and array_equiv(a1, a2, equal_nan)


@implements(np.array_equiv)
def array_equiv(a1: Any, a2: Any, equal_nan: bool = False) -> bool:
    """Whether the arrays broadcast to equal ones; needs their values."""
    a1, a2 = as_array(a1), as_array(a2)
    try:
        np.broadcast_shapes(a1.shape, a2.shape)
    except ValueError:
        return False
    same = a1 == a2
    return bool(np.all(same | (np.isnan(a1) & np.isnan(a2)) if equal_nan else same))


@implements(np.result_type)
def result_type(*arrays_and_dtypes: Any) -> np.dtype:
    """The promoted dtype; nodes count by their dtype."""
    return np.result_type(*(x.dtype if isinstance(x, Expr) else x for x in arrays_and_dtypes))


FUNCTIONS[np.common_type] = lambda *xs: np.common_type(*(np.empty(0, as_array(x).dtype) for x in xs))

# vars, not dir: asking NumPy for every name it lists would import its lazy modules
UFUNC_NAMES = [name for name, f in vars(np).items() if isinstance(f, np.ufunc) and f in UFUNCS and name not in ("divmod", "modf")]
for _name in UFUNC_NAMES:  # sin, add, maximum, ...: every ufunc with a rule, under each of its names
    globals()[_name] = of_ufunc(getattr(np, _name))
__all__ += UFUNC_NAMES
