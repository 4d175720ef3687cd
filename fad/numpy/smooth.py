"""Powers of |x| and of norms that are smooth where these are not, written without the kink.

|x|**2 is x**2 and the square of a norm a sum of squares, also at 0, where the chain rule through the kink would find no
second derivative. So `square`, `power` with a literal exponent, and the product of a node with itself look whether the
node is a norm, behind views, signs, factors and divisors.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fad.core.expr import Expr
from fad.numpy.dispatch import ufunc_rule
from fad.primitives import elementwise as primitives
from fad.primitives import reduce, shape

__all__ = ["square", "power", "float_power", "multiply", "square_sum"]

_DEPTH = 4  # operations to look through; norms are squared close to where they are taken
_NORMS = frozenset((primitives.real_absolute, primitives.fabs, primitives.hypot, reduce.norm))
_VIEWS = frozenset((shape.reshape, shape.transpose, shape.broadcast_to, shape.getitem))
_LOOKED_AT = _NORMS | _VIEWS | {primitives.negative, primitives.multiply, primitives.divide}


def _may_hide_a_norm(x: Expr) -> bool:
    """A quick look, for the many nodes that do not."""
    op = x.op
    if op not in _LOOKED_AT:
        return False
    if op in _NORMS:
        return True
    for a in x.args:
        if isinstance(a, Expr) and a.op in _LOOKED_AT:
            return True
    return False


@ufunc_rule(np.square)
def square(x: Any) -> Any:
    """x**2."""
    smooth = _square(x)
    return primitives.square(x) if smooth is None else smooth


@ufunc_rule(np.multiply)
def multiply(x: Any, y: Any) -> Any:
    """x * y."""
    if x is y and _may_hide_a_norm(x) and (smooth := _square(x)) is not None:
        return smooth
    return primitives.multiply(x, y)


def square_sum(x: Any) -> Any:
    """x @ x of a vector where x has a kink that its square has not, None elsewhere."""
    smooth = _square(x)
    return None if smooth is None else reduce.sum_(smooth, axes=(0,), keepdims=False)


@ufunc_rule(np.power)
def power(x: Any, y: Any) -> Any:
    """x**y."""
    kind = type(y)  # a literal is weak
    if (kind is int or kind is float) and y >= 2 and _may_hide_a_norm(x) and (smooth := _power(x, y)) is not None:
        return smooth
    return primitives.power(x, y)


@ufunc_rule(np.float_power)
def float_power(x: Any, y: Any) -> Any:
    """x**y, in float64 at least."""
    kind = type(y)
    if (kind is int or kind is float) and y >= 2 and x.dtype == np.float64 and _may_hide_a_norm(x):
        smooth = _power(x, y)
        if smooth is not None:
            return smooth
    return primitives.float_power(x, y)


def _power(x: Any, y: float) -> Any:
    """x**y for y >= 2 where x is a norm: by its square if y is even; |x|**y, which is smooth enough, for real x."""
    if y % 2 == 0:
        smooth = _square(x)
        return None if smooth is None else smooth if y == 2 else primitives.power(smooth, y // 2)
    if x.op in (primitives.real_absolute, primitives.fabs) and x.args[0].dtype.kind == "f":
        return primitives.absolute_power(x.args[0], y)
    return None


def _square(x: Any, depth: int = _DEPTH) -> Any:
    """x**2 without the kink of x, None where x has none that is known."""
    if not isinstance(x, Expr) or (op := x.op) not in _LOOKED_AT or not depth:
        return None
    args = x.args
    if op in _NORMS:
        return _square_of_norm(op, args, x.params)
    if op in _VIEWS:
        smooth = _square(args[0], depth - 1)
        return None if smooth is None else op(smooth, **x.params)
    if op is primitives.negative:
        return _square(args[0], depth - 1)
    parts = [_square(a, depth - 1) for a in args]
    if all(p is None for p in parts):
        return None
    return op(*(primitives.square(a) if p is None else p for a, p in zip(args, parts, strict=True)))


def _square_of_norm(op: Any, args: tuple, params: dict) -> Any:
    if any(isinstance(a, Expr) and a.dtype.kind not in "fc" for a in args):
        return None
    squares = [_of_number(a) for a in args]
    return reduce.sum_(squares[0], **params) if op is reduce.norm else squares[0] if len(squares) == 1 else squares[0] + squares[1]


def _of_number(x: Any) -> Any:
    """|x|**2, the sum of the squares of the parts of a complex number."""
    if isinstance(x, Expr) and x.dtype.kind == "c":
        return primitives.square(primitives.real(x)) + primitives.square(primitives.imag(x))
    return primitives.square(x)
