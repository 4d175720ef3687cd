"""result: one of the results of a node that has several."""

from __future__ import annotations

from typing import Any

from fad.core.primitive import ByMode
from fad.primitives.families import structural

__all__ = ["result", "results_of"]


def _batch(size: int, args: tuple, batched: tuple, *, index: int) -> Any:
    return result(args[0], index=index)


result = structural(
    "result",
    lambda several, *, index: several[index],
    lambda several, *, index: several.dtype.avals[index],
    ByMode(
        lambda tangents, guarded, out, several, *, index: tangents[0].get(index),
        lambda cts, active, guarded, out, several, *, index: [{index: cts}],
    ),
    batch=_batch,
    role="result",
    keeps=(),
    keeps_out=False,
)
"""``result(several, index)``: linear, so its tangent and cotangent are dicts from the index of a result to an array."""


def results_of(several: Any) -> list:
    """All results of a node, or of a tuple of arrays.

    >>> results_of((1.0, 2.0))
    [1.0, 2.0]
    """
    if type(several) is tuple:
        return list(several)
    return [result(several, index=k) for k in range(len(several.dtype.avals))]
