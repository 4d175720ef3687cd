"""Constructors that fill the fields which a family of primitives has in common."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from fad.core.expr import UFUNCS, Expr, Var
from fad.core.lowering import ByKind
from fad.core.primitive import Jvp, Linear, Partials, Primitive, Weights

__all__ = ["elementwise", "reduction", "structural", "shape_of", "dtype_of", "ufunc_dtype", "axes_tuple", "batch_by_loop", "front"]

REAL = (-3.0, 3.0)


def shape_of(x: Any) -> tuple:
    """Shape of a node, array or Python scalar."""
    return getattr(x, "shape", ())


def dtype_of(x: Any) -> Any:
    """dtype of a node or array; the Python type of a Python scalar, or of a Var for one, which promote weakly."""
    if type(x) is Var and x.weak is not None:
        return x.weak
    dtype = getattr(x, "dtype", None)
    return type(x) if dtype is None else dtype


def promoted(dtypes: tuple) -> np.dtype:
    """The dtype NumPy promotes these to; Python types are weak."""
    return np.result_type(*(d(0) if isinstance(d, type) else d for d in dtypes))


def as_float(dtype: Any) -> np.dtype:
    """The dtype itself if it is of floats or complex numbers, float64 for others."""
    return np.dtype(dtype) if np.dtype(dtype).kind in "fc" else np.dtype(np.float64)


def axes_tuple(axis: Any, ndim: int) -> tuple:
    """A NumPy ``axis`` argument as sorted non-negative axes."""
    if axis is None:
        return tuple(range(ndim))
    return tuple(sorted(np.lib.array_utils.normalize_axis_tuple(axis, ndim)))


@lru_cache(maxsize=4096)
def ufunc_dtype(ufunc: np.ufunc, dtypes: tuple) -> np.dtype:
    if all(isinstance(d, type) for d in dtypes):  # Python scalars only
        return ufunc(*(d(1) for d in dtypes)).dtype
    dtypes = tuple(np.dtype(bool) if d is bool else d for d in dtypes)
    return ufunc.resolve_dtypes((*dtypes, *(None,) * ufunc.nout))[-1]


def _broadcast_abstract(result_dtype: Callable) -> Callable:
    def abstract(*args: Any, **params: Any) -> tuple:
        return broadcast_shape([shape_of(a) for a in args]), result_dtype(tuple([dtype_of(a) for a in args]), **params)

    return abstract


def broadcast_shape(shapes: list) -> tuple:
    """`np.broadcast_shapes`, quick where there is one shape apart from scalars."""
    shapes = [s for s in shapes if s]
    if not shapes:
        return ()
    first = shapes[0]
    for s in shapes:
        if s != first:
            return np.broadcast_shapes(*shapes)
    return first


def align(size: int, args: tuple, batched: tuple) -> list:
    """Give every batched argument the rank that lets batch axes broadcast against one another."""
    rank = max(len(shape_of(a)) - b for a, b in zip(args, batched, strict=True))
    return [
        np.reshape(a, (size, *(1,) * (rank + 1 - len(a.shape)), *a.shape[1:])) if b and len(a.shape) <= rank else a
        for a, b in zip(args, batched, strict=True)
    ]


def elementwise(
    name: str,
    function: Callable,
    partials: tuple | Partials | Jvp | Linear | None,
    *,
    flops: int = 1,
    domains: tuple = (REAL,),
    dtype: Callable | None = None,
    lower: Callable | ByKind | None = None,
    **fields: Any,
) -> Primitive:
    """A function of each element, broadcasting its arguments. ``domains`` are intervals to test on, one per argument.

    ``dtype(dtypes)`` gives the result dtype where ``function`` is not a NumPy ufunc. ``lower`` is its native form: a function
    of vectors of floats, written with the operators of `fad.native.ir.Value`, or one for each kind of operands.
    """
    derivative = Partials(partials) if isinstance(partials, tuple) else partials
    result_dtype = dtype or (lambda dtypes: ufunc_dtype(function, dtypes))

    def batch(size: int, args: tuple, batched: tuple, **params: Any) -> Any:
        return primitive(*align(size, args, batched), **params)

    def sample(rng: np.random.Generator, shape: tuple, dtype: Any) -> tuple:
        shapes = [shape, shape[1:], (1, *shape[1:]) if shape else ()]
        draws = (_uniform(rng, lo, hi, shapes[i % 3], dtype) for i, (lo, hi) in enumerate(domains))
        return tuple(draws), {}

    own: dict[str, Any] = {"sample": sample, "role": "elementwise", "real_only": _is_real_only(function)}
    primitive = Primitive(
        name,
        function,
        _broadcast_abstract(result_dtype),
        derivative,
        batch,
        lambda out, *args, **params: flops * prod(out.shape),
        domains=domains,
        **own | fields,
        lower=lower if lower is None or isinstance(lower, ByKind) else ByKind(lower),
    )
    if isinstance(function, np.ufunc):
        UFUNCS[function] = primitive
    return primitive


def _is_real_only(function: Callable) -> bool:
    """Whether a ufunc has no loop for complex numbers."""
    return isinstance(function, np.ufunc) and not any("D" in loop for loop in function.types)


def _uniform(rng: np.random.Generator, low: float, high: float, shape: tuple, dtype: Any) -> np.ndarray:
    x = rng.uniform(low, high, shape)
    if np.dtype(dtype).kind == "c":
        x = x + 1j * rng.uniform(0.1, 0.5, shape)
    return np.asarray(x, dtype)


def reduced_shape(shape: tuple, axes: tuple, keepdims: bool) -> tuple:
    """The shape after reducing ``axes``."""
    return tuple(1 if i in axes else s for i, s in enumerate(shape) if keepdims or i not in axes)


def reduction(
    name: str,
    function: Callable,
    weight: Callable | Linear | Jvp | None,
    *,
    dtype: Callable | None = None,
    domain: tuple = REAL,
    flops: int = 1,
    nonempty: bool = False,
    **fields: Any,
) -> Primitive:
    """A reduction ``name(x, axes=, keepdims=)`` over a tuple of axes."""
    derivative = Weights(weight) if callable(weight) else weight

    def evaluate(x: Any, *, axes: tuple, keepdims: bool) -> Any:
        return function(x, axis=axes, keepdims=keepdims)

    def abstract(x: Any, *, axes: tuple, keepdims: bool) -> tuple:
        return reduced_shape(x.shape, axes, keepdims), dtype(x.dtype) if dtype else x.dtype

    def batch(size: int, args: tuple, batched: tuple, *, axes: tuple, keepdims: bool) -> Any:
        return primitive(args[0], axes=tuple(a + 1 for a in axes), keepdims=keepdims)

    def sample(rng: np.random.Generator, shape: tuple, dtype: Any) -> tuple:
        axes = tuple(a for a in range(len(shape)) if rng.random() < 0.6)
        shape = tuple(max(s, 1) for s in shape) if nonempty else shape
        low, high = domain
        return (_uniform(rng, low, high, shape, dtype),), {"axes": axes, "keepdims": bool(rng.random() < 0.5)}

    primitive = Primitive(
        name,
        evaluate,
        abstract,
        derivative,
        batch,
        lambda out, x, **params: flops * prod(x.shape),
        sample=sample,
        domains=(domain,),
        role="reduction",
        **fields,
    )
    return primitive


def of_floats(abstract: Callable) -> Callable:
    """An ``abstract`` that takes nothing but real and complex arrays."""

    def checked(*args: Any, **params: Any) -> tuple:
        for a in args:
            if a.dtype.kind not in "fc":
                raise TypeError(f"{a.dtype} is no floating dtype")
        return abstract(*args, **params)

    return checked


def batch_by_loop(primitive: Callable) -> Callable:
    """A batching rule for any primitive: one application per example, stacked."""

    def batch(size: int, args: tuple, batched: tuple, **params: Any) -> Any:
        op = primitive()
        if size == 0:
            shape, dtype = op.abstract(
                *(Shaped(a.shape[1:], a.dtype) if b else a for a, b in zip(args, batched, strict=True)), **params
            )
            return np.zeros((0, *shape), dtype)
        return np.stack([op(*(a[i] if b else a for a, b in zip(args, batched, strict=True)), **params) for i in range(size)])

    return batch


class Shaped:
    """Only a shape and a dtype."""

    __slots__ = ("shape", "dtype")

    def __init__(self, shape: tuple, dtype: Any):
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)


def structural(
    name: str,
    evaluate: Callable,
    abstract: Callable,
    derivative: Any,
    *,
    batch: Callable | None = None,
    flops: Callable | None = None,
    **fields: Any,
) -> Primitive:
    """Any other primitive; it is batched by a loop, and costs no flops, unless said otherwise."""
    primitive = Primitive(
        name,
        evaluate,
        abstract,
        derivative,
        batch or batch_by_loop(lambda: primitive),
        flops or (lambda out, *args, **params: 0),
        **fields,
    )
    return primitive


def front(size: int, x: Any, is_batched: bool) -> Any:
    """``x`` with a leading batch axis, broadcast where it has none."""
    return x if is_batched else np.broadcast_to(x, (size, *shape_of(x)))


def is_node(x: Any) -> bool:
    """Whether x is an expression node."""
    return isinstance(x, Expr)
