"""`scipy.special`: its ufuncs take nodes as they are; what it writes in Python (softmax, logsumexp) has rules here."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.special

from fad.core.expr import Expr, short
from fad.errors import TraceError
from fad.numpy import reduce
from fad.numpy.dispatch import as_array, floating, no_out
from fad.primitives import analytic, special
from fad.primitives import zeta as zetas
from fad.primitives.elementwise import cast
from fad.scipy.source import implements

__all__ = ["softmax", "log_softmax", "logsumexp", "multigammaln", "polygamma", "zeta", "lambertw"]
__all__ += ["spherical_jn", "spherical_yn", "spherical_in", "spherical_kn"]


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


@implements(scipy.special.zeta)
def zeta(x: Any, q: Any = None, out: Any = None) -> Any:
    """Hurwitz's zeta function, the sum of (q + k)^-x; Riemann's where q is left out. x > 1, DLMF 25.11.

    >>> import fad
    >>> round(float(fad.grad(scipy.special.zeta)(2.0)), 12)
    -0.937548254316
    """
    no_out(out)
    return zetas.zeta(as_array(x), 1.0 if q is None else as_array(q), order=0)


@implements(scipy.special.lambertw)
def lambertw(z: Any, k: int = 0, tol: float = 1e-8) -> Any:
    """The solution w of w exp(w) = z on the branch k, complex; DLMF 4.13.

    >>> import fad
    >>> round(float(fad.grad(lambda x: scipy.special.lambertw(x).real)(np.e)), 6)
    0.18394
    """
    z = as_array(z)
    return analytic.lambertw(cast(z, np.result_type(z.dtype, np.complex64)), k=k)


def _spherical(kind: str, function: Any, name: str) -> Any:
    def rule(n: Any, z: Any, derivative: bool = False) -> Any:
        z = floating(z)
        if isinstance(n, Expr) and n.dtype.kind == "f":
            raise TraceError(
                f"scipy.special.spherical_{kind}: the order is a node of floats",
                got=short(n),
                rule="orders are whole numbers, and none is differentiated by",
                fix="pass n as a number, or fad.value(n)",
            )
        y = analytic.spherical(n, z, kind=kind)
        return analytic.spherical_slope(y, n, z, kind=kind) if derivative else y

    rule.__name__, rule.__doc__ = f"spherical_{kind}", f"The spherical Bessel function {name}_n(z), or its derivative; DLMF 10.47."
    return implements(function)(rule)


spherical_jn = _spherical("jn", scipy.special.spherical_jn, "j")
spherical_yn = _spherical("yn", scipy.special.spherical_yn, "y")
spherical_in = _spherical("in", scipy.special.spherical_in, "i")
spherical_kn = _spherical("kn", scipy.special.spherical_kn, "k")


def __getattr__(name: str) -> Any:
    """SciPy's ufuncs take nodes as they are."""
    return getattr(scipy.special, name)
