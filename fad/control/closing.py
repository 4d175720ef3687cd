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

__all__ = ["Closed", "close", "close_together", "leaf"]


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


def trace_leaves(what: str, f: Callable, like: Sequence[Any], in_tree: Any) -> tuple[list, list, Any]:
    """Symbols for leaves of these shapes and dtypes, weak where the leaf is a weak Var, f's results for them, and their tree."""
    opened = Trace(what, f)
    mark = opened.symbol((), np.float64, "nothing")  # so that there is one where f takes nothing
    inputs = [opened.symbol(x.shape, x.dtype, weak=getattr(x, "weak", None)) for x in like]
    try:
        outputs, out_tree = tree.flatten(opened.call(*tree.unflatten(in_tree, inputs)))
    finally:
        opened.live = False
    return [mark, *inputs], [y if isinstance(y, Expr) else as_node(leaf(y, what)) for y in outputs], out_tree


def close(what: str, f: Callable, like: Sequence[Any], in_tree: Any) -> Closed:
    """f of leaves like these, closed."""
    (mark, *inputs), outputs, out_tree = trace_leaves(what, f, like, in_tree)
    (function,), captured = close_together([(mark, inputs, outputs)], f.__name__ if hasattr(f, "__name__") else "f")
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
