"""`scipy.special`: its ufuncs take nodes as they are; what it writes in Python (softmax, logsumexp) has rules here."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.special

from fad.numpy import reduce
from fad.numpy.dispatch import as_array
from fad.primitives import special
from fad.scipy.source import implements

__all__ = ["softmax", "log_softmax", "logsumexp", "multigammaln", "polygamma"]


@implements(scipy.special.softmax)
def softmax(x: Any, axis: Any = None) -> Any:
    """Exponentials divided by their sum, over all axes by default."""
    return np.exp(log_softmax(x, axis))


@implements(scipy.special.log_softmax)
def log_softmax(x: Any, axis: Any = None) -> Any:
    """The logarithm of `softmax`, without overflow."""
    x = as_array(x)
    return x - reduce.logsumexp(x, axis=axis, keepdims=True)


@implements(scipy.special.logsumexp)
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


@implements(scipy.special.multigammaln)
def multigammaln(a: Any, d: int) -> Any:
    """The logarithm of the multivariate gamma function of dimension d."""
    shifts = np.arange(d) / 2
    return d * (d - 1) / 4 * np.log(np.pi) + np.sum(special.gammaln(np.expand_dims(as_array(a), -1) - shifts), axis=-1)


@implements(scipy.special.polygamma)
def polygamma(n: Any, x: Any) -> Any:
    """The n-th derivative of digamma."""
    return special.polygamma(n, x)


def __getattr__(name: str) -> Any:
    """SciPy's ufuncs take nodes as they are."""
    return getattr(scipy.special, name)
