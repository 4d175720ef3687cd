"""Covariance and correlation."""

from __future__ import annotations

from typing import Any

import numpy as np

from fad.core.expr import short
from fad.errors import ShapeError
from fad.numpy.create import array
from fad.numpy.dispatch import as_array, implements
from fad.numpy.reduce import average
from fad.primitives.elementwise import cast

__all__ = ["cov", "corrcoef"]


def _variables(m: Any, dtype: Any, rowvar: bool) -> Any:
    """One row for each variable."""
    x = as_array(m)
    if x.ndim > 2:
        raise ShapeError(
            "np.cov of more than two axes",
            got=short(x),
            rule="rows are variables, columns observations",
            fix="fad.vmap(np.cov)(x) for a stack",
        )
    x = array(cast(x, dtype), ndmin=2)
    return x if rowvar or as_array(m).ndim == 1 else np.transpose(x)


def _frequencies(w: Any, x: Any, what: str) -> Any:
    w = cast(as_array(w), np.dtype(np.float64))
    if w.shape != x.shape[1:]:
        raise ShapeError(
            f"np.cov: {what} does not fit",
            got=f"{short(w)} for {short(x)}",
            rule="one weight for each observation",
            fix="pass a row of weights",
        )
    return w


@implements(np.cov)
def cov(
    m: Any,
    y: Any = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: int | None = None,
    fweights: Any = None,
    aweights: Any = None,
    *,
    dtype: Any = None,
) -> Any:
    """The covariances of variables, one a row, over observations, one a column; ``aweights`` are differentiable too."""
    given = [as_array(v).dtype for v in (m, y) if v is not None]
    dtype = np.dtype(dtype) if dtype is not None else np.result_type(*given, np.float64)
    x = _variables(m, dtype, rowvar)
    if y is not None:
        x = np.concatenate([x, _variables(y, dtype, rowvar)])
    if not x.shape[0]:
        return np.zeros((0, 0), dtype)
    ddof = (0 if bias else 1) if ddof is None else ddof
    w = None if fweights is None else _frequencies(fweights, x, "fweights")
    a = None if aweights is None else _frequencies(aweights, x, "aweights")
    w = a if w is None else w if a is None else w * a
    total = x.shape[1] if w is None else np.sum(w)
    lost = ddof if a is None or ddof == 0 else ddof * np.sum(w * a) / total
    x = x - average(x, axis=1, weights=w, keepdims=True)
    c = x @ np.conj(np.transpose(x if w is None else x * w))
    return np.squeeze(c / np.maximum(total - lost, 0))


@implements(np.corrcoef)
def corrcoef(x: Any, y: Any = None, rowvar: bool = True, *, dtype: Any = None) -> Any:
    """The covariances of variables divided by their standard deviations."""
    c = cov(x, y, rowvar, dtype=dtype)
    if c.ndim == 0:
        return c / c
    deviation = np.sqrt(np.real(np.diagonal(c)))
    return c / deviation[:, None] / deviation[None, :]
