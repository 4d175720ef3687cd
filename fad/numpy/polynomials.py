"""Polynomials by their coefficients, the highest first. Leading zeros stay: no value of a node changes a shape."""

from __future__ import annotations

from typing import Any

import numpy as np

from fad.core.expr import short
from fad.errors import ShapeError
from fad.numpy.dispatch import as_array, floating, implements, unsupported

__all__ = ["polyadd", "polysub", "polymul", "polyder", "polyint", "polyfit"]


def _row(p: Any) -> Any:
    p = np.atleast_1d(as_array(p))
    if p.ndim != 1:
        raise ShapeError("a polynomial is a row", got=short(p), rule="coefficients have one axis", fix="p.ravel()")
    return p


@implements(np.polyadd)
def polyadd(a1: Any, a2: Any) -> Any:
    """The sum of two polynomials."""
    a, b = _row(a1), _row(a2)
    n = max(a.size, b.size)
    return np.pad(a, (n - a.size, 0)) + np.pad(b, (n - b.size, 0))


@implements(np.polysub)
def polysub(a1: Any, a2: Any) -> Any:
    """The difference of two polynomials."""
    return polyadd(a1, np.negative(_row(a2)))


@implements(np.polymul)
def polymul(a1: Any, a2: Any) -> Any:
    """The product of two polynomials, the convolution of their coefficients."""
    return np.convolve(_row(a1), _row(a2))


@implements(np.polyder)
def polyder(p: Any, m: int = 1) -> Any:
    """The m-th derivative of a polynomial."""
    if m < 0:
        raise ValueError("the order of a derivative is 0 or more; np.polyint integrates")
    p = _row(p)
    for _ in range(m):
        p = p[:-1] * np.arange(p.size - 1, 0, -1)
    return p


@implements(np.polyint)
def polyint(p: Any, m: int = 1, k: Any = None) -> Any:
    """The m-th integral of a polynomial, with the constants k (0 by default)."""
    if m < 0:
        raise ValueError("the order of an integral is 0 or more; np.polyder differentiates")
    p = floating(_row(p))
    constants = np.zeros(m) if k is None else _row(k)
    if m > 1 and constants.size == 1:
        constants = np.broadcast_to(constants, (m,))
    if constants.size < m:
        raise ShapeError("np.polyint: constants", got=short(constants), rule=f"{m} integrals have {m}", fix="pass one for each")
    for i in range(m):
        p = np.concatenate([p / np.arange(p.size, 0, -1), constants[i : i + 1]])
    return p


@implements(np.polyfit)
def polyfit(x: Any, y: Any, deg: int, rcond: Any = None, full: bool = False, w: Any = None, cov: Any = False) -> Any:
    """The polynomial of least squares ``sum (w (p(x) - y))**2``, with derivatives by x, y and w."""
    if full or cov:
        raise unsupported("polyfit", f"full={full}, cov={cov}", "np.linalg.lstsq of np.vander(x, deg + 1)")
    x, y = floating(x), floating(y)
    if x.ndim != 1 or y.ndim not in (1, 2) or x.shape[0] != y.shape[0] or not x.size:
        raise ShapeError("np.polyfit", got=f"{short(x)} and {short(y)}", rule="a row x, and as many rows of y", fix="x.ravel()")
    matrix = np.vander(x, deg + 1)
    if w is not None:
        w = floating(w)
        if w.shape != x.shape:
            raise ShapeError("np.polyfit: weights", got=short(w), rule="one for each point", fix="np.broadcast_to(w, x.shape)")
        matrix, y = matrix * w[:, None], y * (w if y.ndim == 1 else w[:, None])
    scale = np.sqrt(np.sum(matrix * matrix, axis=0))
    rcond = x.size * np.finfo(x.dtype).eps if rcond is None else rcond
    c = np.linalg.lstsq(matrix / scale, y, rcond)[0]
    return c / (scale if y.ndim == 1 else scale[:, None])
