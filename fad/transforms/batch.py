"""vmap: one sweep that gives every node a leading batch axis where it needs one."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import optree

from fad import tree
from fad.core.expr import Expr, former, reachable, refuse_foreign, short
from fad.core.nans import watched_sweep
from fad.core.owned import own
from fad.errors import DtypeError, ShapeError
from fad.primitives.families import shape_of
from fad.transforms.trace import Trace
from fad.transforms.transformed import Transformed, name_of

__all__ = ["vmap", "batched", "swept"]


def batched(trace: Trace, outputs: list, columns: dict[int, Any], size: int) -> list:
    """Outputs with a leading batch axis, for arrays with one in place of the Vars whose ids ``columns`` holds.

    What does not depend on the batch is computed once and broadcast at the end.
    """
    return [y if mapped else np.broadcast_to(y, (size, *shape_of(y))) for y, mapped in swept(trace, outputs, columns, size)]


def swept(trace: Trace, outputs: list, columns: dict[int, Any], size: int) -> list[tuple]:
    """(output, whether it depends on the batch and so has the leading axis)."""
    env: dict[int, Any] = dict(columns)
    settled: dict[int, Any] = {}
    watch = watched_sweep("batched")
    with watch or np.errstate(all="ignore"):
        for node in reachable(outputs, trace.start or 0, stop=set(columns))[0]:
            if node.id in env:
                continue
            flags = tuple(isinstance(a, Expr) and a.id in env for a in node.args)
            if any(flags):
                args = tuple(env.get(a.id, settled.get(a.id, former(a))) if isinstance(a, Expr) else a for a in node.args)
                rule = watch.batch(node) if watch else node.op.batch
                env[node.id] = rule(size, args, flags, **node.params)
            elif node.value is not None and all(a.id in settled for a in node.args if isinstance(a, Expr)):
                settled[node.id] = node.value  # it depends on no enclosing trace
    return [
        (env[y.id], True) if isinstance(y, Expr) and y.id in env else (settled.get(y.id, y) if isinstance(y, Expr) else y, False)
        for y in outputs
    ]


def vmap(f: Callable, in_axes: Any = 0, out_axes: Any = 0) -> Callable:
    """f over a batch: ``vmap(f)(xs)[i] = f(xs[i])``, computed at once.

    Args:
        f: function of arrays and pytrees; traced once, on symbols of the shape of one example.
        in_axes: the batch axis of every leaf of the positional arguments: an int, None (not batched), a tuple with one
            entry an argument, or within an entry a pytree prefix. Keyword arguments are mapped over their axis 0. Where it
            is one int, numbers are the same for the whole batch, and of numbers alone f itself is given.
        out_axes: where the batch axis of the results goes, an int or a pytree prefix; None for a result that does not
            depend on the batch, which is given once.
    Raises: ShapeError if the batch sizes differ, or no argument is batched.

    >>> vmap(np.dot)(np.ones((4, 3)), np.ones((4, 3)))
    array([3., 3., 3., 3.])
    """
    if hasattr(f, "transformed"):  # of a jitted function: its vmap, jitted
        return f.transformed(lambda g: vmap(g, in_axes, out_axes), "vmap")

    def over_batch(*args: Any, **kwargs: Any) -> Any:
        leaves, in_tree = tree.flatten((args, kwargs))
        by_position = _spread(in_axes, args, "in_axes")
        if isinstance(in_axes, int):  # a number has no axis of its own, and is the same for the whole batch
            by_position = [axis if np.ndim(x) else None for x, axis in zip(leaves, by_position, strict=False)]
            if leaves and not kwargs and set(by_position) == {None}:
                return f(*args)  # of numbers alone
        axes = by_position + [0] * (len(leaves) - len(by_position))
        size = _batch_size(leaves, axes, len(by_position))
        opened = Trace("vmap", f)
        columns, inner = {}, []
        for x, axis in zip(leaves, axes, strict=True):
            if axis is not None:
                as_array: Any = x if isinstance(x, Expr) else np.asarray(refuse_foreign(x))
                x = np.moveaxis(as_array, axis, 0)
                var = opened.symbol(x.shape[1:], x.dtype)
                columns[var.id] = x
                x = var
            inner.append(x)
        inner_args, inner_kwargs = tree.unflatten(in_tree, inner)
        out = opened.call(*inner_args, **inner_kwargs)
        outputs, out_tree = tree.flatten(out)
        places = _spread(out_axes, out, "out_axes")
        found = swept(opened, [_array(y, f) for y in outputs], columns, size)
        opened.live = False
        results = [_placed(y, mapped, axis, size) for (y, mapped), axis in zip(found, places, strict=True)]
        return tree.unflatten(out_tree, own(results, leaves))

    return Transformed(over_batch, vmap, f, in_axes, out_axes)


def _array(y: Any, f: Callable) -> Any:
    """A result as a node or an array of its own."""
    if isinstance(y, Expr):
        return y
    array = np.array(y)
    if array.dtype.kind not in "fiubc":
        raise DtypeError(
            f"vmap({name_of(f)}): a result is no array of numbers",
            got=short(y),
            rule="results are stacked along the batch",
            fix="return arrays and numbers only",
        )
    return array


def _placed(y: Any, mapped: bool, axis: int | None, size: int) -> Any:
    """A result with its batch axis where ``out_axes`` wants it."""
    if axis is None:
        if mapped:
            raise ShapeError(
                "vmap: out_axes is None for a result that depends on the batch",
                got=short(y),
                rule="only what is the same for the whole batch is given once",
                fix="give its axis, e.g. out_axes=0",
            )
        return y
    if not mapped:
        y = np.broadcast_to(y, (size, *y.shape))
    if not -len(y.shape) <= axis < len(y.shape):
        raise ShapeError(
            "vmap: no such axis",
            got=f"out_axes {axis} for a result {short(y)} with the batch axis in front",
            rule=f"it has {len(y.shape)} axes with that of the batch",
            fix="change out_axes",
        )
    return y if axis == 0 else np.moveaxis(y, 0, axis)


def _spread(axes: Any, trees: Any, what: str) -> list:
    """One axis for every leaf of the arguments, from an int, None, or a pytree prefix."""
    try:
        if isinstance(axes, list) and isinstance(trees, tuple):
            axes = tuple(axes)
        tree.leaves(axes)  # so that optree knows the dataclasses in it
        spread = optree.broadcast_prefix(axes, trees, none_is_leaf=True, namespace="fad")
        data = optree.tree_leaves(trees, none_is_leaf=True, namespace="fad")
        return [_axis(axis) for axis, x in zip(spread, data, strict=True) if x is not None]
    except ValueError:
        raise ShapeError(
            f"vmap: {what} does not fit",
            got=f"{axes!r} for {tree.structure(trees)}",
            rule="it is an axis, or a tree that the other begins with",
            fix="give an int, or one entry for each " + ("argument" if what == "in_axes" else "result"),
        ) from None
    except TypeError:
        raise DtypeError(
            f"vmap: {what} is no axis", got=repr(axes), rule="an axis is an int, or None for what is not batched", fix=f"{what}=0"
        ) from None


def _axis(axis: Any) -> int | None:
    if isinstance(axis, bool):
        raise TypeError
    return None if axis is None else operator.index(axis)


def _batch_size(leaves: list, axes: list, by_position: int) -> int:
    sizes: dict = {}
    for k, (x, axis) in enumerate(zip(leaves, axes, strict=True)):
        if axis is None:
            continue
        shape = np.shape(x)
        if not -len(shape) <= axis < len(shape):
            raise ShapeError(
                "vmap: no such axis",
                got=f"{short(x)} with axis {axis}",
                rule=f"an array with {len(shape)} axes has none numbered {axis}",
                fix="change in_axes"
                if k < by_position
                else "keyword arguments are mapped over axis 0: pass what is not batched by position, or close over it",
            )
        sizes.setdefault(shape[axis], x)
    if len(sizes) != 1:
        raise ShapeError(
            "vmap: batch sizes differ" if sizes else "vmap: nothing to map over",
            got=", ".join(short(x) for x in sizes.values()) or "no batched argument",
            rule="all mapped axes must have one length",
            fix="set in_axes to None for what is not batched",
        )
    return next(iter(sizes))
