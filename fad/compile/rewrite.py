"""Operations written with others that loops do: running sums and products as loops, positions of extremes as reductions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fad.compile.held import node_of, own_outputs
from fad.control.loop import loop
from fad.core.expr import Const, Var
from fad.core.function import Function
from fad.primitives.elementwise import bitwise_or, convert, equal, not_equal
from fad.primitives.reduce import min_
from fad.primitives.result import results_of
from fad.primitives.select import select
from fad.primitives.shape import broadcast_to, transpose

__all__ = ["write_position", "write_running"]


def take_rows(work: Any, x: Any, axis: int) -> Any:
    """An array with an axis in front."""
    order = (axis, *(a for a in range(len(x.shape)) if a != axis))
    return work.op(transpose, x, axes=order) if axis else x


def write_running(combine: Callable, neutral: float) -> Callable:
    """The rule for a running sum or product, which begins with the number that changes nothing, sign of zero included."""

    def rule(work: Any, args: tuple, params: dict, shape: tuple, dtype: Any) -> Any:
        (x,), axis = args, params["axis"] % len(shape)
        if dtype.kind not in "fi" or x.dtype.kind not in "fib" or 0 in shape:
            return None
        rows = take_rows(work, work.op(convert, x, dtype=dtype), axis)
        total, row = Var("total", rows.shape[1:], dtype), Var("row", rows.shape[1:], dtype)
        new = combine(total, row)
        start = work.op(broadcast_to, Const(np.asarray(neutral, dtype)), shape=rows.shape[1:])
        _, found = results_of(run_loop([start], rows, [total, row], [new, new]))
        back = np.argsort((axis, *(a for a in range(len(shape)) if a != axis)))
        return work.op(transpose, found, axes=tuple(map(int, back))) if axis else found

    return rule


def write_position(extreme: Any) -> Callable:
    """The rule for the first position of an extreme, or of the first NaN: the least of the positions that have it."""

    def rule(work: Any, args: tuple, params: dict, shape: tuple, dtype: Any) -> Any:
        (x,), axis = args, params["axis"] % len(args[0].shape)
        n = x.shape[axis]
        if x.dtype.kind not in "fi" or 0 in x.shape:
            return None
        best = work.op(extreme, x, axes=(axis,), keepdims=True)
        has_it = work.op(equal, x, work.op(broadcast_to, best, shape=x.shape))
        if x.dtype.kind == "f":
            has_it = work.op(bitwise_or, has_it, work.op(not_equal, x, x))
        positions = Const(np.arange(n, dtype=dtype).reshape(n, *(1,) * (len(x.shape) - axis - 1)))
        at = work.op(
            select,
            has_it,
            work.op(broadcast_to, positions, shape=x.shape),
            work.op(broadcast_to, Const(np.asarray(n, dtype)), shape=x.shape),
        )
        return work.op(min_, at, axes=(axis,), keepdims=False)

    return rule


def run_loop(inits: list, rows: Any, inputs: list, outputs: list) -> Any:
    """A loop over rows whose body is written here."""
    body = Function(inputs, own_outputs(outputs))
    params = {"condition": None, "consts": 0, "carry": len(inits), "length": rows.shape[0], "reverse": False, "counted": False}
    return node_of(loop, (*inits, rows), {"body": body, **params})
