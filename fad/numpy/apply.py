"""Functions applied to the rows of an array."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fad.errors import ShapeError
from fad.numpy.dispatch import as_array, axis_of, implements

__all__ = ["apply_along_axis"]


@implements(np.apply_along_axis)
def apply_along_axis(func1d: Callable, axis: int, arr: Any, *args: Any, **kwargs: Any) -> Any:
    """``func1d(row, *args, **kwargs)`` of every row along an axis; the axes of its results take that axis' place."""
    x = as_array(arr)
    axis = axis_of(axis, x.ndim)
    x = np.moveaxis(x, axis, -1)
    rows = np.reshape(x, (-1, x.shape[-1])) if x.size else ()
    if not len(rows):
        raise ShapeError("np.apply_along_axis of no rows", got=x.shape, rule="func1d runs once at least", fix="np.zeros")
    y = np.stack([as_array(func1d(row, *args, **kwargs)) for row in rows])
    y = np.reshape(y, (*x.shape[:-1], *y.shape[1:]))
    inner = y.ndim - (x.ndim - 1)
    return np.moveaxis(y, tuple(range(-inner, 0)), tuple(range(axis, axis + inner)))
