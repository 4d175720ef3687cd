"""Closing: a Python function of a loop or branch as a Function, with what it closes over as arguments of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fad import tree
from fad.control.functions import rebuild
from fad.core.expr import Expr, Var, as_node, reachable, refuse_foreign, short
from fad.core.function import Function
from fad.errors import DtypeError
from fad.transforms.trace import Trace
from fad.transforms.transformed import name_of

__all__ = ["NUMBERS", "Closed", "close", "close_together", "leaf", "strong", "trace_leaves"]

NUMBERS = (bool, int, float, complex)


@dataclass(frozen=True, slots=True, eq=False)
class Closed:
    """``function(*captured, *given)``: its results are the leaves of a tree."""

    function: Function
    captured: list
    out_tree: Any


def leaf(x: Any, what: str) -> Any:
    """A leaf of a carry, of xs or of operands as a node or an array."""
    if isinstance(x, Expr):
        return x
    array = np.asarray(refuse_foreign(x))
    if array.dtype.kind not in "fiubc":
        raise DtypeError(
            f"{what}: no array of numbers", got=short(x), rule="it holds arrays and numbers", fix="close over what is none"
        )
    return array if array.ndim else array[()]


def trace_leaves(
    what: str, f: Callable, like: Sequence[Any], in_tree: Any, check: Callable = lambda y: y
) -> tuple[list, list, Any]:
    """Symbols for leaves of these shapes and dtypes, weak where the leaf is a weak Var; the leaves of ``check`` of f's result for
    them, Python numbers as they are; and their tree."""
    opened = Trace(what, f)
    mark = opened.symbol((), np.float64, "nothing")  # so that there is one where f takes nothing
    inputs = [opened.symbol(x.shape, x.dtype, weak=getattr(x, "weak", None)) for x in like]
    try:
        outputs, out_tree = tree.flatten(check(opened.call(*tree.unflatten(in_tree, inputs))))
    finally:
        opened.live = False
    return [mark, *inputs], [result(y, what) for y in outputs], out_tree


def result(y: Any, what: str) -> Any:
    """A leaf of a result: a node, or a Python number."""
    return y if isinstance(y, Expr) or type(y) in NUMBERS else as_node(leaf(y, what))


def strong(y: Any, like: Any = None) -> Expr:
    """A result as a node: a Python number takes the dtype of what it stands beside."""
    if isinstance(y, Expr):
        return y
    dtype = None if like is None or like.shape else np.result_type(like.dtype, y)
    return as_node(np.asarray(y, dtype))


def close(what: str, f: Callable, like: Sequence[Any], in_tree: Any, check: Callable, carry: int) -> Closed:
    """f of leaves like these, closed; the first results are those carries again."""
    (mark, *inputs), outputs, out_tree = trace_leaves(what, f, like, in_tree, check)
    outputs = [strong(y, like[k] if k < carry else None) for k, y in enumerate(outputs)]
    (function,), captured = close_together([(mark, inputs, outputs)], name_of(f))
    return Closed(function, captured, out_tree)


def close_together(traced: list[tuple], name: str = "f") -> tuple[list[Function], list]:
    """Functions that take the same captured arguments first: nodes of traces around them, and arrays that they hold."""
    captured: dict[Any, tuple[Any, Var]] = {}

    def argument(x: Any, key: Any) -> Var:
        if key not in captured:
            captured[key] = x, Var("c", x.shape, x.dtype)
        return captured[key][1]

    bodies = []
    for mark, inputs, outputs in traced:
        outer = reachable(outputs, mark.id, stop={x.id for x in inputs})[1]
        env: dict[int, Any] = {x.id: Var(f"x{k}", x.shape, x.dtype) for k, x in enumerate(inputs)}
        own = [env[x.id] for x in inputs]
        env |= {x.id: argument(x, x.id) for x in outer}
        bodies.append((own, rebuild(outputs, env, lambda array: argument(array, id(array)))))
    variables = [v for _, v in captured.values()]
    return [Function([*variables, *own], outputs, name=name) for own, outputs in bodies], [x for x, _ in captured.values()]
