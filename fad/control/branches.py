"""cond, switch: branches that a program takes, as functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fad import tree
from fad.control.branch import branch
from fad.control.closing import close_together, leaf, strong, trace_leaves
from fad.core import options
from fad.core.expr import Expr, as_node, aval_text, short
from fad.core.owned import own
from fad.errors import DtypeError, ShapeError, TreeError
from fad.primitives.elementwise import cast
from fad.primitives.result import results_of

__all__ = ["cond", "switch"]


def cond(pred: Any, true_fun: Callable, false_fun: Callable, *operands: Any) -> Any:
    """true_fun(*operands) if pred else false_fun(*operands).

    Only the branch that is taken runs; where the lanes of a batch take different ones and both are cheap, both run and `np.where`
    chooses.

    Args:
        pred: one boolean.
        true_fun, false_fun: functions of the operands whose results have the same structure, shapes and dtypes.
    Raises: TreeError, ShapeError or DtypeError where they have not.

    >>> cond(True, np.sin, np.cos, 0.0)
    np.float64(0.0)
    """
    p = leaf(pred, "cond: pred")
    if p.shape != () or p.dtype.kind not in "biu":
        raise DtypeError("cond: pred is no condition", got=short(p), rule="it is one boolean",
                         fix="np.all(...) or np.any(...) of an array; np.where chooses element by element")  # fmt: skip
    taken = cast(p != 0, np.dtype(np.int64)) if isinstance(p, Expr) else np.int64(bool(p))
    return _choose("cond", taken, (false_fun, true_fun), operands)


def switch(index: Any, branches: Sequence[Callable], *operands: Any) -> Any:
    """branches[index](*operands).

    Args:
        index: one integer.
        branches: functions of the operands whose results have the same structure, shapes and dtypes.
    Raises: OutOfRangeError where there is no such branch.

    >>> switch(1, [np.sin, np.cos], 0.0)
    np.float64(1.0)
    """
    i = leaf(index, "switch: index")
    if i.shape != () or i.dtype.kind not in "iu":
        raise DtypeError("switch: the index", got=short(i), rule="it is one integer", fix="switch(i, [f, g, h], x)")
    if not branches:
        raise TreeError("switch: no branches", got=repr(branches), rule="one of them is taken", fix="switch(i, [f, g, h], x)")
    return _choose("switch", cast(i, np.dtype(np.int64)) if isinstance(i, Expr) else np.int64(i), tuple(branches), operands)


def _choose(what: str, index: Any, functions: tuple, operands: tuple) -> Any:
    leaves, in_tree = tree.flatten(operands)
    leaves = [leaf(x, f"{what}: operands") for x in leaves]
    traced, trees = [], []
    for f in functions:
        options.function(f"{what}: a branch", f, f"{what}(..., lambda x: x, ...)", len(operands))
        (mark, *inputs), outputs, out_tree = trace_leaves(what, f, leaves, in_tree)
        traced.append((mark, inputs, outputs))
        trees.append(out_tree)
    check_structure(what, trees)
    traced = [(mark, inputs, outputs) for (mark, inputs, _), outputs in zip(traced, in_one_dtype(traced), strict=True)]
    check_alike(what, [outputs for _, _, outputs in traced])
    bodies, captured = close_together(traced)
    found = results_of(branch(index, *captured, *leaves, branches=tuple(bodies)))
    return tree.unflatten(trees[0], own(found, leaves))


def in_one_dtype(traced: list) -> list[list]:
    """The results of each branch, Python numbers among them in the dtype of what other branches give there."""
    columns = list(zip(*[ys for _, _, ys in traced], strict=True))
    beside = [next((y for y in ys if isinstance(y, Expr)), None) for ys in columns]
    beside = [as_node(np.zeros((), np.result_type(*ys))) if y is None else y for y, ys in zip(beside, columns, strict=True)]
    return [[strong(y, like) for y, like in zip(ys, beside, strict=True)] for _, _, ys in traced]


def check_structure(what: str, trees: list) -> None:
    """Raise where branches give results of different structure."""
    for out_tree in trees:
        if out_tree != trees[0]:
            raise TreeError(f"{what}: branches of different structure", got=f"{trees[0]} and {out_tree}",
                            rule="all branches give the same", fix="return the same containers and keys")  # fmt: skip


def check_alike(what: str, results: list) -> None:
    """Raise where branches give results of different shape or dtype."""
    for k, outputs in enumerate(results):
        for a, b in zip(results[0], outputs, strict=True):
            if (a.shape, a.dtype) != (b.shape, b.dtype):
                raise (ShapeError if a.shape != b.shape else DtypeError)(
                    f"{what}: branches of different {'shape' if a.shape != b.shape else 'dtype'}",
                    got=f"{aval_text(a.shape, a.dtype)} from branch 0, {aval_text(b.shape, b.dtype)} from branch {k}",
                    rule="all branches give the same shapes and dtypes",
                    fix="np.broadcast_to, or .astype, in one of them",
                )
