"""Ufuncs that are not NumPy's, where they meet a node: `scipy.special`'s, and those that `numba.vectorize` made.

What counts is the object: a user's ufunc that happens to be called ``square`` is not `np.square`. Loaded at the first ufunc
that `fad.core.expr.UFUNCS` does not hold.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from fad.core.expr import UFUNCS, Expr, short
from fad.errors import AssignmentError, TraceError
from fad.numpy.dispatch import as_array
from fad.primitives import load_primitives
from fad.primitives.elementwise import cast
from fad.primitives.families import broadcast_shape, dtype_of, shape_of
from fad.primitives.refused import REFUSED
from fad.primitives.special import BY_SCIPY, COMPOSED
from fad.transforms.batch import vmap
from fad.transforms.numba_source import vectorized

__all__ = ["apply"]


def apply(ufunc: Any, method: str, inputs: tuple, options: dict) -> Any:
    """``ufunc(*inputs)``, or another of its methods, where some input is a node. Raises TraceError where it has no rule."""
    if method == "__call__":
        library = sys.modules.get("scipy.special")  # it is loaded if the ufunc is its own
        if library is not None:
            load_primitives()
            UFUNCS.update({getattr(library, name): op for name, op in (BY_SCIPY | COMPOSED).items() if hasattr(library, name)})
        if ufunc in UFUNCS:
            return ufunc(*inputs, **options)
        name = getattr(ufunc, "__name__", "")
        if name in REFUSED and getattr(library, name, None) is ufunc:
            raise TraceError(
                f"scipy.special.{name} has no derivative here",
                got=", ".join(map(short, inputs)),
                rule=REFUSED[name],
                fix="pass fad.value(x) if no derivative should flow through it, or write its rule with fad.custom_jvp",
            )
        found = vectorized(ufunc)
        if found is not None:
            return _over_elements(*found, _without_output(ufunc, inputs, options))
    raise TraceError(
        f"{_named(ufunc)}{'' if method == '__call__' else '.' + method} has no rule in fad",
        got=", ".join(map(short, inputs)),
        rule="only functions with a derivative rule can be traced",
        fix=_fix(ufunc),
    )


def _without_output(ufunc: Any, inputs: tuple, options: dict) -> list:
    """The inputs, where nothing else is asked for than their result."""
    if options or len(inputs) != ufunc.nin:
        raise AssignmentError(
            f"{ufunc.__name__}: out= and other options of a ufunc that numba made",
            got=", ".join(map(short, inputs)),
            rule="on nodes its source runs, which takes the inputs alone",
            fix=f"use the value that {ufunc.__name__}(x) returns",
        )
    return [as_array(x) if isinstance(x, list | tuple) else x for x in inputs]


def _over_elements(source: Callable, loop: Callable | None, args: list) -> Any:
    """A function of numbers at every element of the broadcast arguments: at once where its branches do not depend on their
    values, else element by element. ``loop`` gives the dtypes of operands and result where they are fixed."""
    if loop is not None:
        *dtypes, result = loop(*map(dtype_of, args))
        args = [cast(x, dtype) if hasattr(x, "dtype") else dtype.type(x) for x, dtype in zip(args, dtypes, strict=True)]
        return cast(_over_elements(source, None, args), result)
    shape = broadcast_shape([shape_of(x) for x in args])
    if not shape:
        return source(*args)
    wide = [np.ravel(np.broadcast_to(x, shape)) if shape_of(x) else x for x in args]
    places = [i for i, x in enumerate(wide) if shape_of(x)]

    def at(*elements: Any) -> Any:
        given = dict(zip(places, elements, strict=True))
        return source(*(given.get(i, x) for i, x in enumerate(wide)))

    columns = [wide[i] for i in places]
    try:
        flat = vmap(at)(*columns)
    except TraceError:
        if any(isinstance(x, Expr) and x.value is None for x in args):
            raise
        flat = as_array([at(*elements) for elements in zip(*columns, strict=True)])
    return np.reshape(flat, shape)


def _named(ufunc: Any) -> str:
    """A ufunc as users write it."""
    name = ufunc.__name__
    for module, prefix in ((np, "np"), (sys.modules.get("scipy.special"), "scipy.special")):
        if getattr(module, name, None) is ufunc:
            return f"{prefix}.{name}"
    return f"the ufunc {name}"


def _fix(ufunc: Any) -> str:
    if _named(ufunc).startswith(("np.", "scipy.")):
        return "use another function, or add a Primitive record for it"
    if ufunc.signature:
        return "write it as a function that returns its result, with NumPy or as @numba.njit; writing into arrays is not traced"
    return "call the Python function it was made of, or fad.vmap of that function where it takes numbers"
