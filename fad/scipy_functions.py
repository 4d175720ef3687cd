"""SciPy's functions that are written in Python, for nodes: they run fad's rule where they meet one.

NumPy asks a node what to do, and so do SciPy's ufuncs; its Python functions ask nobody. As numba's functions are (`numba_source`),
they are told: each looks for nodes among its arguments first. Without SciPy in the process this costs one look into
sys.modules a trace.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from math import log, pi
from types import FunctionType
from typing import Any

from fad import tree
from fad.expr import Expr

__all__ = ["meet"]

_originals: dict[str, Callable] = {}


def meet() -> None:
    """Let the functions of `scipy.special` that have a rule here look for nodes, once SciPy is loaded."""
    special = None if _originals else sys.modules.get("scipy.special")
    for name in _RULES if special else ():
        f = getattr(special, name, None)
        if type(f) is FunctionType and f.__closure__ is None:  # imported by name or not, this is the one function
            original = FunctionType(f.__code__, f.__globals__, name, f.__defaults__)
            original.__kwdefaults__ = f.__kwdefaults__
            _originals[name] = original
            code = _template.__code__
            f.__code__ = code.replace(co_consts=tuple(name if c == "name" else c for c in code.co_consts))
            f.__defaults__ = f.__kwdefaults__ = None
            f.__wrapped__ = original  # type: ignore[attr-defined]  # which is where inspect finds the signature


def _template(*args: Any, **kwargs: Any) -> Any:
    from fad.scipy_functions import call

    return call("name", args, kwargs)


def call(name: str, args: tuple, kwargs: dict) -> Any:
    """SciPy's function, or fad's rule where a node is among the arguments."""
    meets_node = any(isinstance(x, Expr) for x in tree.leaves((args, kwargs)))
    return (_RULES if meets_node else _originals)[name](*args, **kwargs)


def _logsumexp(a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False) -> Any:
    from fad.numpy import logsumexp
    from fad.numpy.dispatch import unsupported

    if return_sign:
        raise unsupported("logsumexp", "return_sign=True", "fad.numpy.logsumexp of the positive and of the negative part")
    return logsumexp(a, axis=axis, keepdims=keepdims, b=b)


def _softmax(x: Any, axis: Any = None) -> Any:
    from fad.nn import softmax

    return softmax(x, axis)


def _log_softmax(x: Any, axis: Any = None) -> Any:
    from fad.nn import log_softmax

    return log_softmax(x, axis)


def _polygamma(n: Any, x: Any) -> Any:
    from fad.primitives.special import polygamma

    return polygamma(n, x)


def _multigammaln(a: Any, d: int) -> Any:
    """log of pi^(d (d - 1) / 4) times the product of gamma(a - k / 2) for k below d (DLMF 35.3.4)."""
    from fad.primitives.special import gammaln

    return functools.reduce(lambda total, k: total + gammaln(a - k / 2), range(d), d * (d - 1) / 4 * log(pi))


_RULES = {"logsumexp": _logsumexp, "softmax": _softmax, "log_softmax": _log_softmax, "polygamma": _polygamma,
          "multigammaln": _multigammaln}
