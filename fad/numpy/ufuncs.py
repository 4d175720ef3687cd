"""Ufuncs with options: ``out=``, ``where=``, ``dtype=``; and ``ufunc.outer``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fad.core.expr import FUNCTIONS, UFUNCS, Expr, short
from fad.errors import AssignmentError, DtypeError, TraceError
from fad.numpy.dispatch import as_array
from fad.numpy.memory import overwrite
from fad.numpy.shape import reshaped
from fad.primitives.elementwise import cast
from fad.primitives.families import dtype_of

__all__: list[str] = []


def _with_options(ufunc: np.ufunc, rule: Callable, method: str, inputs: tuple, options: dict) -> Any:
    """A call with ``out=``, ``where=``, ``dtype=`` and the like. ``out=`` a node overwrites it, as in-place operators do."""
    out = options.pop("out", (None,))
    for o in out:
        if o is not None and (method != "__call__" or len(out) > 1 or not isinstance(o, Expr)):
            raise AssignmentError(
                f"np.{ufunc.__name__}: out= is an assignment",
                got=short(o),
                rule="a node cannot be written into an array, which would cut its derivative",
                fix="use the value that it returns: x = x + y in place of x += y, or fad.at(x)[i].add(y)",
            )
    if method != "__call__":
        return rule(*inputs, **options)
    where = options.pop("where", True)
    inputs = _in_loop_dtypes(ufunc, inputs, options)
    if options:
        raise TraceError(
            f"np.{ufunc.__name__}: this option has no rule in fad",
            got=", ".join(options),
            rule="out=, where=, dtype= and casting= are understood",
            fix="leave the others away",
        )
    result = rule(*inputs)
    if where is not True:
        if out[0] is None:
            raise TraceError(
                f"np.{ufunc.__name__}: where= without out=",
                got=short(where),
                rule="the elements left out would be undefined",
                fix="np.where(mask, np.f(x), other)",
            )
        result = np.where(where, result, out[0])
    if out[0] is None:
        return result
    wider = result.shape != out[0].shape and np.broadcast_shapes(result.shape, out[0].shape) == out[0].shape
    return overwrite(out[0], np.broadcast_to(result, out[0].shape) if wider else result)


def _in_loop_dtypes(ufunc: np.ufunc, inputs: tuple, options: dict) -> tuple:
    """The inputs in the dtypes in which NumPy computes for these options, which are taken out of them."""
    dtype, signature = options.pop("dtype", None), options.pop("signature", options.pop("sig", None))
    casting = options.pop("casting", "same_kind")
    for harmless in ("order", "subok"):
        options.pop(harmless, None)
    if dtype is not None:
        signature = (None,) * ufunc.nin + (np.dtype(dtype),) * ufunc.nout
    if signature is None:
        return inputs
    inputs = tuple(x if isinstance(x, int | float | complex) and not isinstance(x, np.generic) else as_array(x) for x in inputs)
    kinds = tuple(np.dtype(bool) if kind is bool else kind for kind in map(dtype_of, inputs))
    try:
        found = ufunc.resolve_dtypes((*kinds, *(None,) * ufunc.nout), signature=signature, casting=casting)
    except TypeError as error:
        raise DtypeError(
            f"np.{ufunc.__name__}: no computation in this dtype",
            got=", ".join(map(short, inputs)),
            rule=str(error),
            fix="leave dtype= away, or convert the result with astype",
        ) from None
    return tuple(cast(as_array(x), d) for x, d in zip(inputs, found, strict=False))


FUNCTIONS["with options"] = _with_options


# -- outer products with any ufunc -----------------------------------------------------------------


def _outer_of(ufunc: np.ufunc) -> None:
    def rule(a: Any, b: Any, **options: Any) -> Any:
        a, b = as_array(a), as_array(b)
        return ufunc(reshaped(a, (*a.shape, *(1,) * b.ndim)), b, **options)

    UFUNCS[ufunc, "outer"] = rule


for _ufunc in [key for key in UFUNCS if isinstance(key, np.ufunc)]:
    if _ufunc.nin == 2 and _ufunc.nout == 1 and not _ufunc.signature:
        _outer_of(_ufunc)
