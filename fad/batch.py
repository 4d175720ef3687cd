"""vmap: one sweep that gives every node a leading batch axis where it needs one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import optree

from fad import tree
from fad.errors import ShapeError
from fad.expr import Expr, former, reachable, refuse_foreign, short
from fad.function import own
from fad.primitives.families import shape_of
from fad.trace import Trace

__all__ = ["vmap", "batched"]


def batched(trace: Trace, outputs: list, columns: dict[int, Any], size: int) -> list:
    """Outputs with a leading batch axis, for arrays with one in place of the Vars whose ids ``columns`` holds.

    What does not depend on the batch is computed once and broadcast at the end.
    """
    env, settled = dict(columns), {}
    with np.errstate(all="ignore"):
        for node in reachable(outputs, trace.start, stop=set(columns))[0]:
            if node.id in env:
                continue
            flags = tuple(isinstance(a, Expr) and a.id in env for a in node.args)
            if any(flags):
                args = tuple(env.get(a.id, settled.get(a.id, former(a))) if isinstance(a, Expr) else a for a in node.args)
                env[node.id] = node.op.batch(size, args, flags, **node.params)
            elif node.value is not None and all(a.id in settled for a in node.args if isinstance(a, Expr)):
                settled[node.id] = node.value  # it depends on no enclosing trace
    results = []
    for y in outputs:
        if isinstance(y, Expr) and y.id in env:
            results.append(env[y.id])
        else:
            y = settled.get(y.id, y) if isinstance(y, Expr) else y
            results.append(np.broadcast_to(y, (size, *shape_of(y))))
    return results


def vmap(f: Callable, in_axes: Any = 0, out_axes: Any = 0) -> Callable:
    """f over a batch: ``vmap(f)(xs)[i] = f(xs[i])``, computed at once.

    Args:
        f: function of arrays and pytrees; traced once, on symbols of the shape of one example.
        in_axes: the batch axis of every leaf: an int, None (not batched), a tuple with one entry an argument,
            or within an entry a pytree prefix.
        out_axes: where the batch axis of the results goes, an int or a pytree prefix.
    Raises: ShapeError if the batch sizes differ, or no argument is batched.

    >>> vmap(np.dot)(np.ones((4, 3)), np.ones((4, 3)))
    array([3., 3., 3., 3.])
    """

    if hasattr(f, "transformed"):  # of a jitted function: its vmap, jitted
        return f.transformed(lambda g: vmap(g, in_axes, out_axes), "vmap")

    def mapped(*args: Any) -> Any:
        leaves, in_tree = tree.flatten(args)
        axes = _spread(in_axes, args, "in_axes")
        arrays = [x if isinstance(x, Expr) else np.asarray(refuse_foreign(x)) for x in leaves]
        size = _batch_size(arrays, axes)
        opened = Trace("vmap", f)
        columns, inner = {}, []
        for x, axis in zip(arrays, axes, strict=True):
            if axis is None:
                inner.append(x)
                continue
            x = np.moveaxis(x, axis, 0)
            var = opened.symbol(x.shape[1:], x.dtype)
            columns[var.id] = x
            inner.append(var)
        out = opened.call(*tree.unflatten(in_tree, inner))
        outputs, out_tree = tree.flatten(out)
        results = batched(opened, outputs, columns, size)
        opened.live = False
        places = _spread(out_axes, out, "out_axes")
        results = [y if axis == 0 else np.moveaxis(y, 0, axis) for y, axis in zip(results, places, strict=True)]
        return tree.unflatten(out_tree, own(results, leaves))

    mapped.__name__ = f"vmap({getattr(f, '__name__', 'f')})"
    return mapped


def _spread(axes: Any, trees: Any, what: str) -> list:
    """One axis for every leaf of the arguments, from an int, None, or a pytree prefix."""
    if axes is None or isinstance(axes, int):
        return [axes] * len(tree.leaves(trees))
    try:
        axes = tuple(axes) if isinstance(axes, list) and isinstance(trees, tuple) else axes
        spread = optree.broadcast_prefix(axes, trees, none_is_leaf=True, namespace="fad")
        data = optree.tree_leaves(trees, none_is_leaf=True, namespace="fad")
    except ValueError as error:
        raise ShapeError(f"vmap: {what} does not fit", got=repr(axes), rule=str(error).splitlines()[0],
                         fix="give an int, or one entry for each argument") from None
    return [axis for axis, x in zip(spread, data, strict=True) if x is not None]


def _batch_size(arrays: list, axes: list) -> int:
    sizes = {}
    for x, axis in zip(arrays, axes, strict=True):
        if axis is None:
            continue
        if not -len(x.shape) <= axis < len(x.shape):
            raise ShapeError("vmap: no such axis", got=f"{short(x)} with axis {axis}",
                             rule=f"an array with {len(x.shape)} axes has none numbered {axis}", fix="change in_axes")
        sizes.setdefault(x.shape[axis], x)
    if len(sizes) != 1:
        raise ShapeError("vmap: batch sizes differ" if sizes else "vmap: nothing to map over",
                         got=", ".join(short(x) for x in sizes.values()) or "no batched argument",
                         rule="all mapped axes must have one length", fix="set in_axes to None for what is not batched")
    return next(iter(sizes))
