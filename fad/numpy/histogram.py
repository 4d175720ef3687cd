"""Histograms: which bin holds an element has no derivative and needs its value; the sums of weights have one."""

from __future__ import annotations

from typing import Any

import numpy as np

from fad.core.expr import Expr, concrete
from fad.errors import ShapeError
from fad.numpy.dispatch import as_array, implements
from fad.primitives.index import scatter_add

__all__ = ["histogram"]


@implements(np.histogram)
def histogram(a: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None) -> tuple:
    """The number, or the sum of weights, of the elements in each bin, and the edges; derivatives are those by the weights."""
    a = np.ravel(concrete(as_array(a), "np.histogram"))
    bins = concrete(bins, "np.histogram") if isinstance(bins, Expr) else bins
    if not isinstance(weights, Expr):
        return np.histogram(a, bins, range, density, weights)
    w = np.ravel(weights)
    if w.shape != a.shape:
        raise ShapeError("np.histogram: weights", got=w.shape, rule=f"one for each of {a.size} elements", fix="np.broadcast_to")
    _, edges = np.histogram(a, bins, range)
    place = np.where(a == edges[-1], edges.size - 2, np.searchsorted(edges, a, "right") - 1)
    (inside,) = np.nonzero((place >= 0) & (place < edges.size - 1))
    sums = scatter_add(w[inside], place[inside], shape=(edges.size - 1,))
    return (sums / np.diff(edges) / np.sum(sums) if density else sums), edges
