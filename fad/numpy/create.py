"""Arrays from values: what NumPy cannot dispatch because no argument of it is an array yet."""

from __future__ import annotations

from typing import Any

import numpy as np

from fad.core.expr import Expr
from fad.numpy.dispatch import as_array, implements
from fad.numpy.memory import copied
from fad.primitives.elementwise import cast
from fad.primitives.shape import broadcast_to, reshape

__all__ = [
    "array",
    "asarray",
    "full",
    "linspace",
    "zeros_like",
    "ones_like",
    "full_like",
    "empty_like",
    "copy",
    "astype",
    "meshgrid",
    "vander",
    "logspace",
]


@implements(np.array)
def array(object: Any, dtype: Any = None, *, copy: bool = True, ndmin: int = 0) -> Any:
    """`np.array`; nodes inside nested lists are stacked.

    >>> array([1.0, [2.0, 3.0][0]])
    array([1., 2.])
    """
    x = as_array(object)
    y = x if dtype is None else cast(x, np.dtype(dtype))
    x = copied(x) if copy and y is object else y
    return x if x.ndim >= ndmin else reshape(x, shape=(1,) * (ndmin - x.ndim) + x.shape)


@implements(np.asarray, np.asanyarray, np.ascontiguousarray, np.asfortranarray)
def asarray(a: Any, dtype: Any = None, order: Any = None) -> Any:
    """`np.asarray`; a node stays a node."""
    x = as_array(a)
    return x if dtype is None else cast(x, np.dtype(dtype))


@implements(np.full)
def full(shape: Any, fill_value: Any, dtype: Any = None, order: str = "C") -> Any:
    """An array of one value, which may be a node (and then broadcasts)."""
    x = asarray(fill_value, dtype)
    return broadcast_to(x, shape=(shape,) if isinstance(shape, int) else tuple(shape))


@implements(np.zeros_like)
def zeros_like(a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None) -> np.ndarray:
    """Zeros of the shape and dtype of ``a``: an ndarray, since nothing in it depends on ``a``."""
    return np.zeros(a.shape if shape is None else shape, dtype or a.dtype)


@implements(np.ones_like)
def ones_like(a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None) -> np.ndarray:
    """Ones of the shape and dtype of ``a``."""
    return np.ones(a.shape if shape is None else shape, dtype or a.dtype)


@implements(np.full_like)
def full_like(a: Any, fill_value: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None) -> Any:
    """One value, which may be a node, in the shape and dtype of ``a``."""
    a = as_array(a)
    shape, dtype = a.shape if shape is None else shape, dtype or a.dtype
    return full(shape, fill_value, dtype) if isinstance(fill_value, Expr) else np.full(shape, fill_value, dtype)


empty_like = implements(np.empty_like)(zeros_like)


@implements(np.copy)
def copy(a: Any, order: str = "K", subok: bool = False) -> Any:
    """The same node, as an array of its own."""
    return copied(as_array(a))


@implements(getattr(np, "astype", None))
def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    """`np.astype`: the derivative passes between float dtypes and stops at integers."""
    y = cast(x, np.dtype(dtype))
    return copied(y) if copy and y is x else y


@implements(np.linspace)
def linspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, retstep: bool = False, dtype: Any = None, axis: int = 0
) -> Any:
    """``(1 - t) start + t stop`` for ``num`` values of t from 0 to 1; both ends are exact."""
    start, stop = as_array(start), as_array(stop)
    steps = num - 1 if endpoint else num
    float_dtype = np.result_type(start.dtype, stop.dtype, 1.0)
    ndim = len(np.broadcast_shapes(start.shape, stop.shape))
    t = (np.arange(num) / (steps or 1)).astype(float_dtype).reshape(num, *(1,) * ndim)
    y = np.moveaxis((1 - t) * start + t * stop, 0, axis)
    if dtype is not None and np.dtype(dtype).kind in "iu":  # which has no derivative: NumPy's own steps, rounded down
        known = np.arange(num).reshape(t.shape)
        y = np.where(endpoint & (known == num - 1), stop, known * ((stop - start) / (steps or 1)) + start)
        y = np.floor(np.moveaxis(y, 0, axis))
    y = y if dtype is None else y.astype(dtype)
    return (y, (stop - start) / (steps or np.nan)) if retstep else y


@implements(np.logspace)
def logspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, base: Any = 10.0, dtype: Any = None, axis: int = 0
) -> Any:
    """``base ** linspace(start, stop)``."""
    start, stop, base = np.broadcast_arrays(as_array(start), as_array(stop), as_array(base))
    y = np.moveaxis(np.power(base, linspace(start, stop, num, endpoint)), 0, axis)
    return y if dtype is None else y.astype(dtype)


@implements(np.meshgrid)
def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> list:
    """`np.meshgrid`: the axes of a grid as arrays over it."""
    if indexing not in ("xy", "ij"):
        raise ValueError("indexing is 'xy' or 'ij'")
    xs = [np.ravel(as_array(x)) for x in xi]
    places = [i if indexing == "ij" or i > 1 or len(xs) < 2 else 1 - i for i in range(len(xs))]
    sizes = [0] * len(xs)
    for x, place in zip(xs, places, strict=True):
        sizes[place] = x.size
    grids = [np.reshape(x, tuple(x.size if i == place else 1 for i in range(len(xs)))) for x, place in zip(xs, places, strict=True)]
    return [copied(g if sparse else np.broadcast_to(g, tuple(sizes))) for g in grids]


@implements(np.vander)
def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    """The powers of the elements of ``x`` (n,) as columns (n, N), the highest first."""
    x = as_array(x)
    powers = np.arange(x.shape[0] if N is None else N)
    return np.power(x[:, None], powers if increasing else powers[::-1])
