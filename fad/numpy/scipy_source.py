"""Functions that SciPy writes in Python: softmax, logsumexp and their like turn their arguments into arrays first, which a node
refuses. In traces they run fad's own, and SciPy's wherever no node is among the arguments.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np

from fad.numpy import reduce
from fad.numpy.dispatch import as_array, holds_node
from fad.primitives import special

__all__ = ["meet_scipy"]


def softmax(x: Any, axis: Any = None) -> Any:
    """Exponentials divided by their sum, over all axes by default."""
    return np.exp(log_softmax(x, axis))


def log_softmax(x: Any, axis: Any = None) -> Any:
    """The logarithm of `softmax`, without overflow."""
    x = as_array(x)
    return x - reduce.logsumexp(x, axis=axis, keepdims=True)


def logsumexp(a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False) -> Any:
    """``log(sum(b exp(a)))``, or that of its size, and the sign."""
    if not return_sign:
        return reduce.logsumexp(a, axis=axis, keepdims=keepdims, b=b)
    top = np.max(as_array(a), axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), np.floor(top), 0)  # floor has no derivative
    scaled = np.exp(a - top)
    total = np.sum(scaled if b is None else scaled * b, axis=axis, keepdims=True)
    y, sign = np.log(np.abs(total)) + top, np.sign(total)
    return (y, sign) if keepdims else (np.squeeze(y, axis), np.squeeze(sign, axis))


def multigammaln(a: Any, d: int) -> Any:
    """The logarithm of the multivariate gamma function of dimension d."""
    shifts = np.arange(d) / 2
    return d * (d - 1) / 4 * np.log(np.pi) + np.sum(special.gammaln(np.expand_dims(as_array(a), -1) - shifts), axis=-1)


_RULES = {f.__name__: f for f in (softmax, log_softmax, logsumexp, multigammaln)} | {"polygamma": special.polygamma}


def meet_scipy() -> None:
    """Let SciPy's functions run these where they are called with nodes. Users hold the functions themselves, however they
    imported them, so it is their code that changes: to one call of what chooses."""
    library = sys.modules["scipy.special"]
    for name, rule in _RULES.items():
        _choose(getattr(library, name), rule)


def _choose(function: Any, rule: Callable) -> None:
    own = FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__)

    def choice(*args: Any) -> Any:
        return (rule if holds_node(args) else own)(*args)

    names = list(inspect.signature(function).parameters)
    key = f"_fad_{function.__name__}"
    function.__globals__[key] = choice
    call = eval(f"lambda {', '.join(names)}: {key}({', '.join(names)})")
    function.__code__ = call.__code__.replace(co_name=function.__name__, co_filename=__file__)
