"""Reductions, scans and ordering.

A reduction's derivative is a weight: d out = sum(weight * dx). Products use pairwise trees instead, so that
zeros in them are no special case at any order.
"""

from __future__ import annotations

from math import prod as _size
from typing import Any

import numpy as np

from fad.core.expr import Expr
from fad.core.lowering import Fold
from fad.core.primitive import Jvp, Kink, Linear, Primitive
from fad.primitives.cones import cone, direction
from fad.primitives.elementwise import add, bitwise_and, bitwise_or, maximum, minimum, multiply
from fad.primitives.families import as_float, reduced_shape, reduction, structural

__all__ = ["sum_", "prod_", "max_", "min_", "logsumexp", "norm", "any_", "all_", "argmax", "argmin", "cumsum", "cumprod", "argsort"]


def expand(reduced: Any, x: Any, axes: tuple) -> Any:
    """A reduced array with its axes back, of length one."""
    return np.reshape(reduced, reduced_shape(x.shape, axes, True))


def _sum_dtype(dtype: np.dtype) -> np.dtype:
    return np.dtype(np.int64) if dtype.kind in "bi" else np.dtype(np.uint64) if dtype.kind == "u" else dtype


def _sum_transpose(ct: Any, x: Any, *, axes: tuple, keepdims: bool) -> Any:
    return np.broadcast_to(expand(ct, x, axes), x.shape)


sum_ = reduction(
    "sum", np.sum, Linear((_sum_transpose,)), keeps=(), dtype=_sum_dtype, lower=Fold(add, lambda dtype: 0, begins=True), adds=True
)


def _extremum_weight(out: Any, x: Any, axes: tuple) -> Any:
    hit = (x == out) | (np.isnan(x) & np.isnan(out))
    return hit / np.sum(hit, axis=axes, keepdims=True).astype(x.dtype)


def _lowest(dtype: np.dtype) -> Any:
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min if dtype.kind == "i" else False


def _highest(dtype: np.dtype) -> Any:
    return np.inf if dtype.kind == "f" else np.iinfo(dtype).max if dtype.kind == "i" else True


_TIES = (Kink("ties", "1/k each for k equal elements"),)
max_ = reduction("max", np.max, _extremum_weight, nonempty=True, selects=True, kinks=_TIES, lower=Fold(maximum, _lowest))
min_ = reduction("min", np.min, _extremum_weight, nonempty=True, selects=True, kinks=_TIES, lower=Fold(minimum, _highest))


def _logsumexp(x: Any, axis: tuple, keepdims: bool) -> Any:
    x = x if isinstance(x, Expr) else np.asarray(x)
    if _size(x.shape) == 0:
        return np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims))
    top = np.max(np.real(x), axis=axis, keepdims=True)  # of the real parts: the logarithm's imaginary part is the principal one
    top = np.where(np.isfinite(top), top, 0)
    out = np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True)) + top
    dtype = as_float(x.dtype)
    return out.astype(dtype) if keepdims else np.squeeze(out, axis).astype(dtype)[()]


def _softmax_weight(out: Any, x: Any, axes: tuple) -> Any:
    shift = np.where(out == -np.inf, 0, out)
    far = out == np.inf
    if x.dtype.kind == "c" or (not isinstance(far, Expr) and not far.any()):
        return np.exp(x - shift)
    return np.where(x == np.where(far, out, np.nan), 1, np.exp(x - shift))  # in place of exp(inf - inf)


logsumexp = reduction(
    "logsumexp",
    _logsumexp,
    _softmax_weight,
    flops=20,
    dtype=as_float,
    source="Blanchard, Higham and Higham 2021",
    kinks=(
        Kink("all elements -inf", "0", "the function is constant to first order"),
        Kink("elements inf", "1 for these", "each alone makes it infinite"),
    ),
    composite=True,
    adds=True,
)


def _norm(x: Any, axis: tuple, keepdims: bool) -> Any:
    x = x if isinstance(x, Expr) else np.asarray(x)
    x = x if x.dtype.kind in "fc" else x.astype(np.float64)
    return np.sqrt(np.sum(x * x, axis=axis, keepdims=keepdims))


norm = reduction(
    "norm",
    _norm,
    lambda out, x, axes: direction(x, out, 0.0),
    flops=2,
    dtype=as_float,
    kinks=cone("x = 0"),
    composite=True,
    adds=True,
)
any_ = reduction("any", np.any, None, dtype=lambda d: np.dtype(bool), lower=Fold(bitwise_or, lambda dtype: False))
all_ = reduction("all", np.all, None, dtype=lambda d: np.dtype(bool), lower=Fold(bitwise_and, lambda dtype: True))


# -- products ---------------------------------------------------------------------------------------------


def _prod_tangent(tangents: dict, out: Any, x: Any, *, axes: tuple, keepdims: bool) -> Any:
    """Multiply (value, tangent) pairs in a balanced tree: no division, so zeros need no care."""
    t = tangents[0]
    kept = tuple(i for i in range(len(x.shape)) if i not in axes)
    shape = (*(x.shape[i] for i in kept), _size(x.shape[i] for i in axes))
    a, t = (np.reshape(np.transpose(v, (*kept, *axes)), shape) for v in (x, t))
    if shape[-1] == 0:
        return np.zeros(out.shape, out.dtype)
    while (n := a.shape[-1]) > 1:
        half = n // 2
        left, right, tl, tr = a[..., :half], a[..., half : 2 * half], t[..., :half], t[..., half : 2 * half]
        pairs, slopes = left * right, tl * right + left * tr
        odd = n % 2
        a = np.concatenate([pairs, a[..., -1:]], axis=-1) if odd else pairs
        t = np.concatenate([slopes, t[..., -1:]], axis=-1) if odd else slopes
    return np.reshape(t, out.shape)


prod_ = reduction("prod", np.prod, Jvp(_prod_tangent), dtype=_sum_dtype, lower=Fold(multiply, lambda dtype: 1))


# -- scans --------------------------------------------------------------------------------------------------


def _same(x: Any, **params: Any) -> tuple:
    return x.shape, x.dtype


def _scan(name: str, function: Any, derivative: Any) -> Any:
    def batch(size: int, args: tuple, batched: tuple, *, axis: int) -> Any:
        return primitive(args[0], axis=axis + 1)

    def sample(rng: np.random.Generator, shape: tuple, dtype: Any) -> tuple:
        shape = shape or (3,)
        return (rng.uniform(-2, 2, shape).astype(dtype),), {"axis": int(rng.integers(len(shape)))}

    primitive = structural(
        name,
        lambda x, *, axis: function(x, axis=axis),
        lambda x, *, axis: (x.shape, _sum_dtype(x.dtype)),
        derivative,
        batch=batch,
        flops=lambda out, x, **params: _size(x.shape),
        sample=sample,
        keeps=() if isinstance(derivative, Linear) else None,
        role="scan",
        adds=isinstance(derivative, Linear),
    )
    return primitive


def _cumsum_transpose(ct: Any, x: Any, *, axis: int) -> Any:
    return np.flip(cumsum(np.flip(ct, axis), axis=axis), axis)


def _cumprod_tangent(tangents: dict, out: Any, x: Any, *, axis: int) -> Any:
    """Hillis and Steele's scan of (value, tangent) pairs."""
    a, t = np.moveaxis(x, axis, 0), np.moveaxis(tangents[0], axis, 0)
    step = 1
    while step < a.shape[0]:
        late, early = a[step:], a[:-step]
        t = np.concatenate([t[:step], t[step:] * early + late * t[:-step]])
        a = np.concatenate([a[:step], late * early])
        step *= 2
    return np.moveaxis(t, 0, axis)


cumsum = _scan("cumsum", np.cumsum, Linear((_cumsum_transpose,)))
cumprod = _scan("cumprod", np.cumprod, Jvp(_cumprod_tangent))


# -- positions ------------------------------------------------------------------------------------------------


def _position(name: str, function: Any) -> Any:
    """argmax or argmin along one axis."""

    def batch(size: int, args: tuple, batched: tuple, *, axis: int) -> Any:
        return primitive(args[0], axis=axis + 1)

    def abstract(x: Any, *, axis: int) -> tuple:
        if x.shape[axis] == 0:
            raise ValueError(f"attempt to get {name} of an empty axis")
        return x.shape[:axis] + x.shape[axis + 1 :], np.dtype(np.intp)

    def sample(rng: np.random.Generator, shape: tuple, dtype: Any) -> tuple:
        shape = tuple(max(s, 1) for s in shape) or (3,)
        return (rng.normal(size=shape).astype(dtype),), {"axis": int(rng.integers(len(shape)))}

    primitive = structural(
        name,
        lambda x, *, axis: function(x, axis=axis),
        abstract,
        None,
        batch=batch,
        flops=lambda out, x, **params: _size(x.shape),
        sample=sample,
    )
    return primitive


argmax = _position("argmax", np.argmax)
argmin = _position("argmin", np.argmin)


def _argsort(x: Any, *, axis: int) -> Any:
    return np.argsort(x, axis=axis, kind="stable")


argsort: Primitive = structural(
    "argsort",
    _argsort,
    lambda x, *, axis: (x.shape, np.dtype(np.intp)),
    None,
    batch=lambda size, args, batched, *, axis: argsort(args[0], axis=axis + 1),
    flops=lambda out, x, **params: 20 * _size(x.shape),
    sample=lambda rng, shape, dtype: ((rng.normal(size=shape or (3,)).astype(dtype),), {"axis": 0}),
)
