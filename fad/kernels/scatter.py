"""Rows added at indices: the adjoint of gathering rows."""

from __future__ import annotations

import numba
import numpy as np
from numba import prange

from fad.errors import OutOfRangeError, ShapeError
from fad.kernels.geometry import Ints
from fad.kernels.threads import frozen, inner, kernel

__all__ = ["scatter_add"]


def scatter_add(target_shape: Ints, flat_index: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Zeros of shape (m, *row), then y[flat_index[i]] += values[i] for each row of values (n, *row).

    Repeated indices add up in the order of i, whatever the number of threads. float32 and float64 run in the
    compiled kernel, other dtypes through np.add.at. Raises ShapeError; OutOfRangeError unless 0 <= index < m.

    >>> scatter_add((3,), np.array([2, 0, 2]), np.array([1.0, 2.0, 3.0]))
    array([2., 0., 4.])
    """
    target_shape = tuple(target_shape)
    if flat_index.ndim != 1 or values.shape != (len(flat_index), *target_shape[1:]):
        raise ShapeError(
            "scatter_add: shapes differ",
            got=f"values {values.shape}, index {flat_index.shape}, target {target_shape}",
            rule="values must be (n, *row), index (n,), target (m, *row)",
        )
    if len(flat_index) and not 0 <= flat_index.min() <= flat_index.max() < target_shape[0]:
        raise OutOfRangeError(
            "scatter_add: index out of range",
            got=f"indices from {flat_index.min()} to {flat_index.max()}",
            rule=f"the target has {target_shape[0]} rows, and negative indices are not wrapped here",
        )
    target = np.zeros(target_shape, values.dtype)
    if values.dtype not in (np.float32, np.float64):
        np.add.at(target, flat_index, values)
    elif values.size:
        width = int(np.prod(target_shape[1:]))
        _scatter_add(
            target.reshape(-1, width),
            frozen(flat_index.astype(np.int64, copy=False)),
            frozen(values.reshape(-1, width)),
            numba.get_num_threads(),
        )
    return target


@kernel
def _scatter_add(target, index, values, parts):
    # Each part owns a range of the target and reads every index, so no two threads add to one element.
    for part in prange(parts):
        _scatter_part(
            target, index, values, part * target.shape[0] // parts, (part + 1) * target.shape[0] // parts
        )


@inner
def _scatter_part(target, index, values, begin, end):
    for i in range(index.shape[0]):
        row = index[i]
        if begin <= row < end:
            for c in range(target.shape[1]):
                target[row, c] += values[i, c]
