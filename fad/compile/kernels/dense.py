"""The dense layer's product."""

from __future__ import annotations

import numpy as np

from fad.errors import ShapeError

__all__ = ["dense"]


def dense(x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
    """x @ w + b for x (n, k), w (k, m) and b (m,), giving (n, m); the bias is added in place.

    >>> dense(np.array([[1.0, 2.0]]), np.eye(2), np.array([10.0, 20.0]))
    array([[11., 22.]])
    """
    if x.ndim != 2 or w.ndim != 2 or x.shape[1] != w.shape[0] or (b is not None and b.shape != w.shape[1:]):
        raise ShapeError(
            "dense: shapes do not fit",
            got=f"x {x.shape}, w {w.shape}, b {None if b is None else b.shape}",
            rule="x must be (n, k), w (k, m) and b (m,)",
        )
    y = x @ w
    if b is None:
        return y
    if np.can_cast(b.dtype, y.dtype):
        y += b
        return y
    return y + b
