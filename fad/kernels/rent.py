"""Rent or buy: which shapes have earned kernels of their own.

The kernels of this folder take any shape; `fad.compile` makes faster ones for one shape, which costs a tenth of a second or
more. Buying when the rent that was paid comes up to the price never costs more than twice what one who knows the future would
pay (Karlin, Manasse, Rudolph and Sleator, Competitive snoopy caching, 1988). Rent is counted in operations, not in seconds: so
the same program takes the same kernels, and gets the same bits, each time it runs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable
from typing import Any

from fad.native.machine_model import SPECIALISED_PRICE

__all__ = ["SPECIALISED_PRICE", "SPECIALISED", "specialised"]

MOST = 10_000  # shapes that are counted
SPECIALISED: dict[str, Callable[..., Any]] = {}  # functions of the same arguments, by name; `fad.compile` fills it
_paid: defaultdict[Hashable, float] = defaultdict(float)


def specialised(name: str, shape: Hashable, operations: float) -> Callable[..., Any] | None:
    """The specialised function of this name, if enough was computed for this shape; otherwise so many operations are noted."""
    paid = _paid[name, shape]
    if paid >= SPECIALISED_PRICE:
        return SPECIALISED.get(name)
    if len(_paid) > MOST:
        _paid.clear()
    _paid[name, shape] = paid + operations
    return None
