"""pure_callback: plain Python inside of what fad traces and compiles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fad import tree
from fad.control.closing import leaf
from fad.core import options
from fad.core.expr import aval_text, short
from fad.core.owned import own
from fad.core.primitive import Jvp
from fad.core.results import Results
from fad.errors import DtypeError, ShapeError, TraceError, TreeError
from fad.primitives.families import front, structural
from fad.primitives.result import results_of
from fad.transforms.transformed import name_of

__all__ = ["pure_callback"]


def pure_callback(f: Callable, result: Any, *args: Any, vmap_method: str = "sequential") -> Any:
    """f(*args), computed by Python, wherever it stands: also in a compiled program, in a loop, in a batch.

    Args:
        f: function of arrays that gives arrays, and has no effect that counts: it may be called more than once, or not at all.
        result: pytree of anything with a shape and a dtype, such as arrays: what f gives.
        args: pytrees of arrays.
        vmap_method: in a batch, "sequential" calls f for each example; "broadcast_all" calls it once, with all arguments and
            results having an axis more in front.
    Returns: what f gives.
    Raises: ShapeError, DtypeError or TreeError where f gives something else than ``result`` says; what f raises; TraceError where
    it is differentiated: `custom_jvp` or `custom_vjp` around it have rules.

    >>> import fad
    >>> fad.jit(lambda x: 2 * pure_callback(lambda v: v[::-1], x, x))(np.arange(3.0))
    array([4., 2., 0.])
    """
    options.function("pure_callback: f", f, "fad.pure_callback(f, result, *args)")
    if vmap_method not in ("sequential", "broadcast_all"):
        raise DtypeError("pure_callback: vmap_method", got=repr(vmap_method), rule='it is "sequential" or "broadcast_all"',
                         fix='vmap_method="sequential"')  # fmt: skip
    told, out_tree = tree.flatten(result)
    try:
        avals = tuple([(tuple(x.shape), np.dtype(x.dtype)) for x in map(_as_array, told)])
    except (AttributeError, TypeError):
        raise DtypeError(
            "pure_callback: result", got=short(result), rule="a pytree of what has a shape and a dtype", fix="np.zeros(3), say"
        ) from None
    leaves, in_tree = tree.flatten(args)
    leaves = [leaf(x, f"pure_callback({name_of(f)})") for x in leaves]
    call = _Call(f, in_tree, out_tree, vmap_method)
    found = results_of(callback(*leaves, call=call, avals=avals))
    return tree.unflatten(out_tree, own(found, leaves))


def _as_array(x: Any) -> Any:
    return np.asarray(x) if isinstance(x, int | float | complex | bool) else x


class _Call:
    """A Python function of flat arrays, and its results as flat arrays; of several examples where ``sizes`` say so."""

    def __init__(self, f: Callable, in_tree: Any, out_tree: Any, vmap_method: str):
        self.f, self.in_tree, self.out_tree, self.vmap_method = f, in_tree, out_tree, vmap_method

    def __call__(self, args: tuple, avals: tuple) -> tuple:
        """The results of one call, as they were said to be."""
        with np.errstate(all="warn"):
            leaves, found = tree.flatten(self.f(*tree.unflatten(self.in_tree, [np.array(a)[()] for a in args])))
        name = f"pure_callback({name_of(self.f)})"
        if found != self.out_tree:
            raise TreeError(f"{name}: its result has another structure", got=found, rule=f"result= says {self.out_tree}",
                            fix="say what f gives")  # fmt: skip
        made = []
        for y, (shape, dtype) in zip(map(np.asarray, leaves), avals, strict=True):
            if y.shape != shape or not np.can_cast(y.dtype, dtype, "same_kind"):
                raise (ShapeError if y.shape != shape else DtypeError)(
                    f"{name}: its result is not what was said", got=aval_text(y.shape, y.dtype), rule=aval_text(shape, dtype),
                    fix="say what f gives"
                )  # fmt: skip
            made.append(y.astype(dtype, copy=False)[()])
        return tuple(made)


class _Each:
    """A call for each example."""

    def __init__(self, call: Any, batched: tuple, vmap_method: str):
        self.call, self.batched, self.vmap_method = call, batched, vmap_method

    def __call__(self, args: tuple, avals: tuple) -> tuple:
        single = tuple([(shape[1:], dtype) for shape, dtype in avals])
        size = avals[0][0][0] if avals else 0
        rows = [self.call(tuple([a[i] if b else a for a, b in zip(args, self.batched, strict=True)]), single) for i in range(size)]
        return tuple([np.stack([r[k] for r in rows]) if rows else np.zeros(shape, dtype) for k, (shape, dtype) in enumerate(avals)])


def batch(size: int, args: tuple, batched: tuple, *, call: Any, avals: tuple) -> tuple:
    """One callback for all examples."""
    wide = tuple([((size, *shape), dtype) for shape, dtype in avals])
    if call.vmap_method == "broadcast_all":
        return tuple(results_of(callback(*[front(size, a, b) for a, b in zip(args, batched, strict=True)], call=call, avals=wide)))
    return tuple(results_of(callback(*args, call=_Each(call, batched, call.vmap_method), avals=wide)))


def no_rule(tangents: dict, out: Any, *args: Any, call: Any, avals: tuple) -> Any:
    """The derivative of plain Python."""
    raise TraceError(
        "pure_callback: it is differentiated",
        got=f"{len(tangents)} tangents",
        rule="fad does not look into plain Python",
        fix="put it into a function with a rule: fad.custom_jvp or fad.custom_vjp",
    )


callback = structural(
    "pure_callback",
    lambda *args, call, avals: call(args, avals),
    lambda *args, call, avals: ((), Results(avals)),
    Jvp(no_rule),
    batch=batch,
)
