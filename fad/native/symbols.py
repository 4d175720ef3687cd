"""Functions from outside that programs call: by symbol, what the keys of such programs hold, and what gives the address."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["SYMBOLS"]

SYMBOLS: dict[str, tuple[str, str, Callable[[], int]]] = {}
