"""Results that belong to the caller: nobody else holds or changes their memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from fad.core.expr import Expr

__all__ = ["own"]


def own(results: list, inputs: Any = ()) -> list:
    """Results as arrays of the caller's own: no views, no constants, no inputs, none twice; 0-d ones as scalars."""
    seen = {id(x) for x in inputs}
    owned = []
    for y in results:
        if isinstance(y, np.generic):
            pass
        elif isinstance(y, np.ndarray):
            if y.ndim == 0:
                y = y[()]
            elif y.base is not None or not y.flags.writeable or id(y) in seen:
                y = y.copy()
            seen.add(id(y))
        elif not isinstance(y, Expr):
            y = np.asarray(y)[()]
        owned.append(y)
    return owned
