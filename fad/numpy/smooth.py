"""Powers of |x| and of norms that are smooth where these are not, written without the kink.

|x|**2 is x**2 and the square of a norm a sum of squares, also at 0, where the chain rule through the kink would find no
second derivative. So `square`, `power` with a literal exponent, and the product of a node with itself look whether the
node is a norm, behind views, signs, factors and divisors.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fad.expr import Expr
from fad.numpy.dispatch import ufunc_rule
from fad.primitives import elementwise as primitives
from fad.primitives import reduce, shape

__all__ = ["square", "power", "float_power", "multiply", "square_sum"]

_DEPTH = 4  # operations to look through; norms are squared close to where they are taken
_VIEWS = (shape.reshape, shape.transpose, shape.broadcast_to, shape.getitem)


@ufunc_rule(np.square)
def square(x: Any) -> Any:
    """x**2."""
    smooth = _square(x)
    return primitives.square(x) if smooth is None else smooth


@ufunc_rule(np.multiply)
def multiply(x: Any, y: Any) -> Any:
    """x * y."""
    smooth = _square(x) if x is y else None
    return primitives.multiply(x, y) if smooth is None else smooth


def square_sum(x: Any) -> Any:
    """x @ x of a vector where x has a kink that its square has not, None elsewhere."""
    smooth = _square(x)
    return None if smooth is None else reduce.sum_(smooth, axes=(0,), keepdims=False)


@ufunc_rule(np.power)
def power(x: Any, y: Any) -> Any:
    """x**y."""
    smooth = _power(x, y) if type(y) in (int, float) and y >= 2 else None  # a literal, which is weak
    return primitives.power(x, y) if smooth is None else smooth


@ufunc_rule(np.float_power)
def float_power(x: Any, y: Any) -> Any:
    """x**y, in float64 at least."""
    smooth = _power(x, y) if type(y) in (int, float) and y >= 2 and getattr(x, "dtype", None) == np.float64 else None
    return primitives.float_power(x, y) if smooth is None else smooth


def _power(x: Any, y: float) -> Any:
    """x**y for y >= 2 where x is a norm: by its square if y is even; |x|**y, which is smooth enough, for real x."""
    if y % 2 == 0:
        smooth = _square(x)
        return None if smooth is None else smooth if y == 2 else primitives.power(smooth, y // 2)
    if isinstance(x, Expr) and x.op in (primitives.real_absolute, primitives.fabs) and x.args[0].dtype.kind == "f":
        return primitives.absolute_power(x.args[0], y)
    return None


def _square(x: Any, depth: int = _DEPTH) -> Any:
    """x**2 without the kink of x, None where x has none that is known."""
    if not isinstance(x, Expr) or not depth or (op := x.op) is None:
        return None
    args = x.args
    if op is primitives.real_absolute or op is primitives.fabs:
        return _of_number(args[0]) if args[0].dtype.kind in "fc" else None
    if op is primitives.hypot:
        return _of_number(args[0]) + _of_number(args[1])
    if op is reduce.norm:
        return reduce.sum_(_of_number(args[0]), **x.params)
    if op is primitives.negative:
        return _square(args[0], depth - 1)
    if op in _VIEWS:
        smooth = _square(args[0], depth - 1)
        return None if smooth is None else op(smooth, **x.params)
    if op is primitives.multiply or op is primitives.divide:
        parts = [_square(a, depth - 1) for a in args]
        if any(p is not None for p in parts):
            return op(*(primitives.square(a) if p is None else p for a, p in zip(args, parts, strict=True)))
    return None


def _of_number(x: Any) -> Any:
    """|x|**2, the sum of the squares of the parts of a complex number."""
    if isinstance(x, Expr) and x.dtype.kind == "c":
        return primitives.square(primitives.real(x)) + primitives.square(primitives.imag(x))
    return primitives.square(x)
