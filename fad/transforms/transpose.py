"""linear_transpose: the transpose of a linear function, and what tells that a tree is linear."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fad import tree
from fad.core.expr import Const, Expr, reachable, short
from fad.core.nans import line_of, noted_lines
from fad.core.primitive import Joint, Linear, LinearIn
from fad.errors import DtypeError, NotLinearError
from fad.primitives import elementwise as e
from fad.primitives.dense import dense
from fad.primitives.index import scatter_set
from fad.primitives.select import select, strong_divide
from fad.transforms.derivatives import linear_function, var, zeros
from fad.transforms.reverse import cotangents_of
from fad.transforms.trace import Trace, is_float
from fad.transforms.transformed import name_of

__all__ = ["linear_transpose"]


def linear_transpose(f: Callable, *example_args: Any, **kwargs: Any) -> Callable:
    """The transpose of a linear f: with f(x) = A x the function w -> (A^T w,), that is <w, f(x)> = <A^T w, x>.

    Args:
        f: function of arrays and pytrees, linear in all its arguments together; it is traced once, on symbols.
        example_args: arguments whose shapes and dtypes count, and no numbers. Keyword arguments are passed on.
    Returns: a linear Function of a cotangent of the structure of f's result, which gives a tuple with one entry for each
        argument. Complex matrices are transposed and not conjugated, as in `vjp`.
    Raises: NotLinearError for what is affine, bilinear or not linear at all, naming the operation and its line; DtypeError
        for arguments and results that are no floats.
    Source: the transpose of a linear tree is its reverse sweep (Radul et al. 2023, You Only Linearize Once).

    >>> transposed = linear_transpose(lambda x: x[1:] - x[:-1], np.zeros(3))
    >>> transposed(np.array([1.0, 10.0]))
    (array([-1., -9., 10.]),)
    """
    name = f"linear_transpose({name_of(f)})"
    leaves, in_tree = tree.flatten(example_args)
    opened, outputs, out_tree = _traced(f, name, leaves, in_tree, kwargs)
    if (found := _not_linear(outputs, opened.inputs)) is not None:
        with noted_lines():  # once more, to tell the line
            again, repeated, _ = _traced(f, name, leaves, in_tree, kwargs)
        _refuse(name, *_not_linear(repeated, again.inputs) or found)
    graph = opened.graph(outputs)
    plain = graph.plain
    cts = [var("ct", y.shape, y.dtype) for y in outputs]
    bars = cotangents_of(graph, opened.inputs, outputs, list(cts))
    bars = [zeros(x) if bar is None else bar for x, bar in zip(opened.inputs, bars, strict=True)]
    opened.live = not plain
    return linear_function(name, cts, bars, tree.structure((tree.unflatten(out_tree, cts),)), in_tree, plain)


def _traced(f: Callable, name: str, leaves: list, in_tree: Any, kwargs: dict) -> tuple[Trace, list, Any]:
    """The trace, and the flat results with their structure, for symbols in place of the arguments."""
    opened = Trace("linear_transpose", f)
    for x in leaves:
        x = x if hasattr(x, "shape") and hasattr(x, "dtype") else np.asarray(x, float if type(x) is int else None)
        _check_float(name, "an argument", x)
        opened.symbol(x.shape, x.dtype)
    outputs, out_tree = tree.flatten(opened.call(*tree.unflatten(in_tree, opened.inputs), **kwargs))
    outputs = [y if isinstance(y, Expr) else Const(y) for y in outputs]
    for y in outputs:
        _check_float(name, "a result", y)
    return opened, outputs, out_tree


def _check_float(name: str, what: str, x: Any) -> None:
    if not is_float(x):
        raise DtypeError(
            f"{name}: {what} is no float",
            got=short(x),
            rule="linear functions take and give real and complex numbers",
            fix="x.astype(float), or close over it",
        )


# -- what is linear ---------------------------------------------------------------------------------------------------

_SUMS = {e.add: (0, 1), e.subtract: (0, 1), select: (1, 2), scatter_set: (0, 1)}  # linear in these arguments together
_SCALINGS = (e.negative, e.positive, e.deg2rad, e.rad2deg)
_PRODUCTS = (e.multiply, e.strong_multiply)  # linear in each factor by itself
_BY_FIRST = (e.divide, strong_divide, e.ldexp)


def _not_linear(outputs: list, inputs: list) -> tuple | None:
    """(node, what is wrong with it) for the first node that is not linear in the inputs; None where all are."""
    depends = {x.id for x in inputs}
    for node in reachable(outputs, inputs[0].id if inputs else 0, stop=set(depends))[0]:
        active = {i for i, a in enumerate(node.args) if isinstance(a, Expr) and a.id in depends}
        if not active:
            continue
        depends.add(node.id)
        wrong = _wrong_with(node, active)
        if wrong:
            return node, wrong
    for y in outputs:
        if y.id not in depends and not _is_zero(y):
            return y, "a result does not depend on the arguments, so it is not 0 where they are"
    return None


def _wrong_with(node: Expr, active: set[int]) -> str:
    """Why a node is not linear in its arguments at the positions ``active`` together; "" where it is."""
    op, fact = node.op, node.op.derivative
    if node.dtype.kind not in "fc":
        return f"{op.name} gives no float of what depends on the arguments"
    if op in _SUMS or isinstance(fact, Joint):
        summed = set(_SUMS.get(op, range(len(node.args))))
        return "" if all(_is_zero(node.args[i]) for i in summed - active) else "it adds or puts in what is not 0 where they are"
    if op in _SCALINGS or (op in _BY_FIRST and active == {0}) or (isinstance(fact, LinearIn) and active == {fact.place}):
        return ""
    if op is dense:
        return _wrong_with_dense(node, active)
    if op in _PRODUCTS or (isinstance(fact, Linear) and all(fact.transpose[i : i + 1] for i in active)):
        return "it multiplies two things that depend on the arguments" if len(active) > 1 else ""
    return f"{op.name} is not linear" + ("" if fact else ": its derivative is 0")


def _wrong_with_dense(node: Expr, active: set[int]) -> str:
    """The same of x @ w + b."""
    if {0, 1} <= active:
        return "it multiplies two things that depend on the arguments"
    return "" if len(active) == 2 or (2 not in active and _is_zero(node.args[2])) else "it adds what is not 0 where they are"


def _is_zero(x: Any) -> bool:
    value = x.value if isinstance(x, Expr) else x
    return value is not None and not np.any(value)


def _refuse(name: str, node: Expr, wrong: str) -> None:
    made = f"{node.op.name}({', '.join(map(short, node.args))})" if node.op is not None else short(node)
    raise NotLinearError(
        f"{name}: the function is not linear",
        got=made,
        rule=wrong,
        where=line_of(node) if node.op is not None else "",
        fix="fad.vjp(f, x) for the transpose of its derivative at x; what is added belongs outside of f",
    )
