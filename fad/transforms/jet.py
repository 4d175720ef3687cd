"""jet: derivatives of any order along a curve, by Taylor arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from math import factorial
from typing import Any

import numpy as np

from fad import tree
from fad.core.expr import Expr, short
from fad.errors import ShapeError, TreeError
from fad.transforms.derivatives import finish, matching, open_arguments, release, returned, split_aux, zeros
from fad.transforms.taylor import series_of
from fad.transforms.trace import Trace, is_float, passive

__all__ = ["jet"]


def jet(f: Callable, primals: tuple, series: tuple, has_aux: bool = False, **kwargs: Any) -> tuple:
    """Taylor mode: y(t) = f(x(t)) and its derivatives y^(1) ... y^(K) at t = 0, for those of x(t).

    Coefficients are derivatives, as in JAX: x(t) = x + x^(1) t + x^(2) t^2 / 2! + ..., with no factorials divided out. Along a
    line, ``series=([v, 0 * v, ...],)``, y^(k) is the k-th directional derivative of f. The cost grows with K^2, where nested
    `jvp` grows with 2^K.

    Args:
        f: function of arrays and pytrees; with ``has_aux`` it returns (y, aux).
        primals: tuple of arguments.
        series: for each argument the list of K derivatives x^(1) ... x^(K), each of the structure and shapes of the argument,
            or None for zero; None in place of a list for an argument that is held constant.
    Returns: y and the list of y^(1) ... y^(K), each of y's structure, and aux; integer results have None.
    Raises: TreeError or ShapeError where primals and series do not match, or the orders differ.
    Source: Griewank & Walther 2008, chapter 13; Bettencourt, Johnson & Duvenaud 2019.

    >>> y, (y1, y2, y3) = jet(lambda x: x**3, (2.0,), ([1.0, None, None],))
    >>> y1, y2, y3
    (np.float64(12.0), np.float64(12.0), np.float64(6.0))
    """
    primals, given, order = _arguments(primals, series)
    opened = Trace("jet", f)
    positions = [k for k, s in enumerate(given) if s is not None]
    args, _ = open_arguments(opened, primals, positions)
    columns = [c for k in positions for c in _columns(primals[k], given[k])]
    coefs = [_coefficients(x, column) for x, column in zip(opened.inputs, columns, strict=True)]
    y, aux = split_aux(opened.call(*args, **kwargs), has_aux)
    outputs, out_tree = tree.flatten(y)
    graph = opened.graph(outputs)
    rows = series_of(graph, opened.inputs, coefs, outputs, order)
    aux = release(opened, aux, graph.plain) if has_aux else None
    opened.live = not graph.plain
    mine = tree.leaves((primals, given))
    value = tree.unflatten(out_tree, finish(returned(outputs), graph.plain, mine))
    derivatives = []
    for k in range(order):
        row = _derivatives([row[k] for row in rows], outputs, factorial(k + 1))
        owned = iter(finish([c for c in row if c is not None], graph.plain, mine))
        derivatives.append(tree.unflatten(out_tree, [None if c is None else next(owned) for c in row]))
    return (value, derivatives, aux) if has_aux else (value, derivatives)


def _derivatives(coefs: list, outputs: list, scale: int) -> list:
    """The derivatives of one order: coefficients times k!, None for integers."""
    row = [zeros(y) if c is None and is_float(y) else c for c, y in zip(coefs, outputs, strict=True)]
    return [c if c is None or scale == 1 else c * float(scale) for c in row]


def _arguments(primals: Any, series: Any) -> tuple[tuple, list, int]:
    """Primals and series with one entry for each argument, and the order of all series."""
    if not isinstance(primals, tuple | list) or not isinstance(series, tuple | list) or len(primals) != len(series):
        raise TreeError(
            "jet: primals and series do not match",
            got=f"{short(primals)} and {short(series)}",
            rule="two tuples with one entry for each argument",
            fix="jet(f, (x,), ([x1, x2],))",
        )
    for s in series:
        if not (s is None or isinstance(s, tuple | list)):
            raise TreeError(
                "jet: a series is no list",
                got=short(s),
                rule="it is the list of the derivatives of orders 1 to K of an argument, or None",
                fix="jet(f, (x,), ([x1, x2],))",
            )
    orders = sorted({len(s) for s in series if s is not None})
    if len(orders) > 1:
        raise ShapeError(
            "jet: series of different orders",
            got=", ".join(map(str, orders)),
            rule="all have the same number of derivatives",
            fix="fill up the shorter ones with None, for zero",
        )
    return tuple(primals), list(series), orders[0] if orders else 0


def _columns(primal: Any, series: list) -> list[list]:
    """For each leaf that moves its derivatives of all orders."""
    leaves, treedef = tree.flatten(primal)
    try:
        rows = [[None] * len(leaves) if c is None else treedef.flatten_up_to(c) for c in series]
    except ValueError as error:
        raise TreeError(
            "jet: a derivative of another structure than its primal",
            got=error,
            rule="each order has the structure of the argument",
            fix="build them with fad.tree.map over the primal",
        ) from None
    return [[row[i] for row in rows] for i, leaf in enumerate(leaves) if treedef.is_leaf() or not passive(leaf)]


def _coefficients(x: Any, derivatives: list) -> list:
    """Taylor coefficients for derivatives: those over k!."""
    found: list = []
    for k, c in enumerate(derivatives, 1):
        c = None if c is None or _is_zero(c) else matching(c, x, "jet: a derivative", "primal")
        found.append(c if c is None or k == 1 else c / factorial(k))
    return found


def _is_zero(c: Any) -> bool:
    """Whether a derivative is the number 0, as which it may stand for zeros of any shape."""
    return not isinstance(c, Expr | np.ndarray) and isinstance(c, int | float) and c == 0
