"""SciPy's functions on nodes, under SciPy's names: `fad.scipy.linalg.expm`, `fad.scipy.stats.norm.logpdf` ...

Each module loads when it is asked for, or when a trace begins and SciPy's module of that name is there: then SciPy's own functions,
where they are called with nodes, run the rules here (`fad.scipy.source`).
"""

import importlib
import sys
from typing import Any

from fad.core.expr import FUNCTIONS as _FUNCTIONS

_LATER = ("fft", "linalg", "signal", "special", "stats")
_waiting = {name: name for name in _LATER} | {"stats": "stats_methods"}  # SciPy's modules that know no nodes yet: who teaches them

__all__: list[str] = []


def _meet_scipy() -> None:
    """The modules of SciPy that are loaded learn to take nodes."""
    for name in [*_waiting]:
        module = sys.modules.get(f"scipy.{name}")
        if module is not None and not getattr(module.__spec__, "_initializing", False):
            importlib.import_module(f"fad.scipy.{_waiting[name]}")
            _waiting.pop(name, None)


_FUNCTIONS["SciPy's functions"] = _meet_scipy


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return importlib.import_module(f"fad.scipy.{name}")
    raise AttributeError(f"module 'fad.scipy' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(_LATER)
