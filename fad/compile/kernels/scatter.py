"""Rows added at indices: the adjoint of gathering rows."""

from __future__ import annotations

import numpy as np

from fad.compile.kernels.geometry import Ints
from fad.errors import OutOfRangeError, ShapeError

__all__ = ["scatter_add"]


def scatter_add(target_shape: Ints, flat_index: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Zeros of shape (m, *row), then y[flat_index[i]] += values[i] for each row of values (n, *row).

    Repeated indices add up in the order of i. float32 and float64 are a product with a sparse matrix of ones, other dtypes
    go through np.add.at. Raises ShapeError; OutOfRangeError unless 0 <= index < m.

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
    if values.dtype not in (np.float32, np.float64) or not values.size:
        target = np.zeros(target_shape, values.dtype)
        np.add.at(target, flat_index, values)
        return target
    from scipy.sparse import coo_array  # slow to import, and seldom wanted

    n, m = len(flat_index), target_shape[0]
    ones = coo_array((np.ones(n, values.dtype), (flat_index, np.arange(n))), shape=(m, n)).tocsr()
    return (ones @ values.reshape(n, -1)).reshape(target_shape)
