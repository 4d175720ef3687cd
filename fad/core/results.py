"""Results: the type of a node that has several results, as a loop has, in the place of a dtype.

Such a node has shape () and as its value a tuple of arrays. What reads one of them is a node of its own
(`fad.primitives.result`), so all other operations have one result each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

__all__ = ["Results"]


@dataclass(frozen=True, slots=True)
class Results:
    """The shapes and dtypes of several results, in order.

    >>> str(Results.of_values((np.ones(3), np.int64(2))))
    '(float64[3], int64[])'
    """

    avals: tuple[tuple[tuple, np.dtype], ...]

    @classmethod
    def of_values(cls, values: Sequence[Any]) -> Results:
        """The type of these arrays."""
        return cls(tuple([(v.shape, v.dtype) for v in values]))

    @property
    def kind(self) -> str:
        """As of a dtype: none that NumPy has."""
        return "T"

    @property
    def itemsize(self) -> int:
        """Bytes of all results."""
        return sum([prod(shape) * dtype.itemsize for shape, dtype in self.avals])

    def __str__(self) -> str:
        return "(" + ", ".join(f"{d}[{','.join(map(repr, s))}]" for s, d in self.avals) + ")"
