"""How NumPy's functions find fad's: a decorator registers a rule and makes the public function of `fad.numpy`.

A rule is written once. ``np.sum(node)`` reaches it through NumPy's own dispatch; ``fad.numpy.sum`` reaches it too
where NumPy does not look (lists of nodes, a node as ``where=`` or as an index), and is NumPy itself where there is
no node.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from fad.core.expr import FUNCTIONS, UFUNCS, Expr, constant, explained, refuse_foreign, short
from fad.errors import AssignmentError, FadError, ShapeError, TraceError
from fad.primitives import shape as shapes
from fad.primitives.elementwise import cast
from fad.primitives.families import as_float

__all__ = [
    "front",
    "implements",
    "ufunc_rule",
    "of_ufunc",
    "as_array",
    "floating",
    "stacked",
    "axis_of",
    "axes_of",
    "unsupported",
    "no_out",
]


def implements(*functions: Callable | None) -> Callable:
    """Register the decorated rule for these NumPy functions (None: absent from this NumPy version)."""
    present = [f for f in functions if f is not None]

    def register(rule: Callable) -> Callable:
        for function in present:
            FUNCTIONS[function] = rule
        return front(rule, present[0] if present else rule)

    return register


def ufunc_rule(ufunc: np.ufunc | None) -> Callable:
    """Register the decorated rule for a ufunc that is no elementwise primitive (None: absent from this NumPy)."""

    def register(rule: Callable) -> Callable:
        if ufunc is not None:
            UFUNCS[ufunc] = rule
        return front(rule, ufunc or rule)

    return register


def of_ufunc(ufunc: np.ufunc) -> Callable:
    """A ufunc that also takes lists of nodes."""

    def rule(*args: Any, **options: Any) -> Any:
        return ufunc(*(stacked(a) if type(a) in (list, tuple) and holds_node(a) else a for a in args), **options)

    rule.__name__, rule.__doc__ = (ufunc.__name__, f"`np.{ufunc.__name__}`, for arrays, nodes, scalars and lists of them.")
    return rule


def front(rule: Callable, function: Callable) -> Callable:
    """The public function: ``rule`` where an argument is a node, else the library's function."""

    @functools.wraps(rule)
    def public(*args: Any, **options: Any) -> Any:
        if not holds_node(args) and not holds_node(options.values()):
            return function(*args, **options)
        try:
            return rule(*args, **options)
        except FadError:
            raise
        except (TypeError, ValueError, IndexError) as error:
            raise explained(error, f"{rule.__name__}: {error}", args) from None

    return public


def holds_node(items: Iterable) -> bool:
    """Whether a node is among the items, or in lists and tuples among them."""
    for item in items:
        if isinstance(item, Expr) or (type(item) in (list, tuple) and holds_node(item)):
            return True
    return False


def as_array(x: Any) -> Any:
    """A node or array as it is; a list that holds nodes stacked; anything else as NumPy converts it."""
    if isinstance(x, Expr):
        return x
    if isinstance(x, np.ndarray | np.generic):
        return refuse_foreign(x) if x.dtype.kind != "O" else constant(x)
    if isinstance(x, list | tuple) and holds_node(x):
        return stacked(x)
    return np.asarray(refuse_foreign(x))


def floating(x: Any) -> Any:
    """`as_array`, in float64 where it holds integers or booleans."""
    x = as_array(x)
    return cast(x, as_float(x.dtype))


def stacked(items: Any) -> Any:
    """``np.array`` of a nested list that holds nodes."""
    parts = [as_array(item) for item in items]
    shape = parts[0].shape
    for part in parts:
        if part.shape != shape:
            raise ShapeError(
                "an array of parts of different shapes",
                got=f"{short(parts[0])} and {short(part)}",
                rule="nested lists must be rectangular",
                fix="np.concatenate, or keep them in a list",
            )
    rows = [shapes.reshape(part, shape=(1, *shape)) for part in parts]
    return rows[0] if len(rows) == 1 else shapes.concatenate(*rows, axis=0)


FUNCTIONS["array"] = stacked


def axis_of(axis: Any, ndim: int) -> int:
    """One axis, counted from the front. Raises ShapeError outside the array."""
    axis = operator.index(axis)
    if not -ndim <= axis < ndim:
        raise ShapeError(
            "no such axis",
            got=f"axis {axis} of an array with {ndim}",
            rule=f"-{ndim} <= axis < {ndim}",
            fix="count the axes of x.shape from 0, or backwards from -1",
        )
    return axis % ndim


def axes_of(axis: Any, ndim: int) -> tuple:
    """A NumPy ``axis`` argument (None, a number, a tuple) as sorted axes. Raises ShapeError."""
    if axis is None:
        return tuple(range(ndim))
    if isinstance(axis, int):
        return (axis_of(axis, ndim),) if ndim or axis not in (0, -1) else ()  # a number is its own only row
    axes = tuple(sorted(axis_of(a, ndim) for a in (axis if isinstance(axis, tuple | list) else (axis,))))
    if len(set(axes)) != len(axes):
        raise ShapeError("an axis is named twice", got=f"axis={axis}", rule="axes are distinct", fix="name each axis once")
    return axes


def unsupported(name: str, got: Any, fix: str) -> TraceError:
    """The error for an option of NumPy that has no rule."""
    return TraceError(f"np.{name}: this option has no rule in fad", got=got, fix=fix)


def no_out(out: Any) -> None:
    """Raise where ``out=`` is given: a node cannot be written into an array."""
    if out is not None:
        raise AssignmentError(
            "out= is an assignment", got=short(out), rule="nodes are immutable", fix="use the value that the function returns"
        )
