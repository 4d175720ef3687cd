"""Special functions of real arguments: sigmoids, error functions, the gamma family, entropies.

Values come from SciPy, which is imported at the first evaluation so that `import fad` stays fast. The ufuncs
of `scipy.special` called on a node find these records by name. Derivatives are written so that they keep their
relative accuracy in the tails: sigmoid' is s(x) s(-x), never s(x) (1 - s(x)).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from fad.errors import DtypeError, TraceError
from fad.expr import UFUNCS, short
from fad.primitive import Kink
from fad.primitives.families import dtype_of, elementwise

__all__ = ["digamma", "entr", "erf", "erfc", "erfinv", "expit", "gammaln", "log_expit", "logit", "ndtr",
           "ndtri", "polygamma", "softplus", "xlog1py", "xlogy"]

POSITIVE = (0.2, 4.0)
PROBABILITY = (0.05, 0.95)
ANY = (-3.0, 3.0)
TWO_OVER_ROOT_PI = 1.1283791670955126
ROOT_TWO_PI = 2.5066282746310007


def _real_dtype(dtypes: tuple) -> np.dtype:
    """The promoted dtype, float64 for integers; Python scalars are weak."""
    dtype = np.result_type(*(d(0) if isinstance(d, type) else d for d in dtypes))
    if dtype.kind == "c":
        raise TypeError("special functions are defined here for real arguments, not complex ones")
    return dtype if dtype.kind == "f" else np.dtype(np.float64)


def _scipy(name: str) -> Any:
    """`scipy.special.<name>`, imported when first evaluated."""

    def evaluate(*args: Any) -> Any:
        for a in args:
            if np.dtype(dtype_of(a)).kind == "c":
                raise DtypeError(
                    f"{name} of complex numbers",
                    got=short(a),
                    rule="it is defined here for real arguments",
                    fix="pass x.real, or write it with np.exp and np.log",
                )
        if any(np.dtype(dtype_of(a)).kind in "bu" for a in args):  # SciPy would compute small ones in float32
            dtype = _real_dtype(tuple(map(dtype_of, args)))
            args = tuple(np.asarray(a, dtype)[()] if np.dtype(dtype_of(a)).kind in "bu" else a for a in args)
        return getattr(import_module("scipy.special"), name)(*args)

    return evaluate


def _special(name: str, partials: tuple, **fields: Any) -> Any:
    return elementwise(name, _scipy(name), partials, dtype=_real_dtype, **fields)


def no_derivative(name: str, argument: str) -> Any:
    """The rule for an argument by which no derivative is known here."""

    def refuse(*args: Any) -> Any:
        raise TraceError(f"scipy.special.{name}: no derivative by {argument}", got=", ".join(map(short, args[1:])),
                         rule=f"it is differentiated by its variable, with {argument} constant",
                         fix=f"pass {argument} as a number, or fad.value({argument})")

    return refuse


# -- sigmoids --------------------------------------------------------------------------------------

expit = _special(
    "expit", (lambda y, x: y * expit(-x),), flops=20, source="the logistic function 1 / (1 + exp(-x))"
)
logit = _special("logit", (lambda y, x: 1 / (x * (1 - x)),), flops=20, domains=(PROBABILITY,),
                 source="the inverse of expit, log(x / (1 - x))")
log_expit = _special("log_expit", (lambda y, x: expit(-x),), flops=30, source="-log(1 + exp(-x)), DLMF 4.6")
softplus = elementwise(
    "softplus",
    lambda x: np.logaddexp(x, 0),
    (lambda y, x: expit(x),),
    flops=35,
    dtype=_real_dtype,
    source="log(1 + exp(x)), Blanchard, Higham and Higham 2021",
)

# -- error functions and the normal distribution ---------------------------------------------------

erf = _special("erf", (lambda y, x: TWO_OVER_ROOT_PI * np.exp(-x * x),), flops=25, source="DLMF 7.2.1")
erfc = _special("erfc", (lambda y, x: -TWO_OVER_ROOT_PI * np.exp(-x * x),), flops=25, source="DLMF 7.2.2")
erfinv = _special(
    "erfinv",
    (lambda y, x: np.exp(y * y) / TWO_OVER_ROOT_PI,),
    flops=30,
    domains=((-0.9, 0.9),),
    source="DLMF 7.17",
)
ndtr = _special("ndtr", (lambda y, x: np.exp(-0.5 * x * x) / ROOT_TWO_PI,), flops=30,
                source="the normal distribution function, DLMF 7.18(iv)")
ndtri = _special("ndtri", (lambda y, p: ROOT_TWO_PI * np.exp(0.5 * y * y),), flops=30, domains=(PROBABILITY,),
                 source="the inverse of ndtr")

# -- the gamma family, for x > 0 -------------------------------------------------------------------

gammaln = _special(
    "gammaln", (lambda y, x: digamma(x),), flops=40, domains=(POSITIVE,), source="DLMF 5.2.1, 5.2.2"
)
digamma = _special(
    "digamma", (lambda y, x: polygamma(1, x),), flops=40, domains=(POSITIVE,), source="DLMF 5.2.2"
)
UFUNCS["psi"] = digamma


def _polygamma(n: Any, x: Any) -> Any:
    return np.asarray(_scipy("polygamma")(n, x)).astype(_real_dtype((dtype_of(x),)))[()]


polygamma = elementwise(
    "polygamma",
    _polygamma,
    (0, lambda y, n, x: polygamma(n + 1, x)),
    flops=60,
    domains=((0.0, 0.0), POSITIVE),
    dtype=lambda dtypes: _real_dtype(dtypes[1:]),
    source="DLMF 5.15.1; the order n is an integer and has no derivative",
    sample=lambda rng, shape, dtype: (
        (rng.integers(0, 4, shape), rng.uniform(*POSITIVE, shape).astype(dtype)),
        {},
    ),
)

# -- x log y, with 0 log 0 = 0 ---------------------------------------------------------------------


def _quotient(x: Any, y: Any) -> Any:
    """x / y, and 0 where x is 0."""
    return np.where(x == 0, 0, x / np.where(x == 0, 1, y))


xlogy = _special(
    "xlogy",
    (lambda z, x, y: np.log(y), lambda z, x, y: _quotient(x, y)),
    flops=20,
    domains=(ANY, POSITIVE),
    kinks=(Kink("x = y = 0", "-inf for x, 0 for y", "the limit for x; constant in y"),),
)
xlog1py = _special("xlog1py", (lambda z, x, y: np.log1p(y), lambda z, x, y: _quotient(x, 1 + y)), flops=20,
                   domains=(ANY, (-0.7, 3.0)),
                   kinks=(Kink("x = 0, y = -1", "-inf for x, 0 for y", "the limit for x; constant in y"),))
entr = _special("entr", (lambda y, x: -np.log(x) - 1,), flops=20, domains=(POSITIVE,), source="-x log x",
                kinks=(Kink("x = 0", "inf", "the one-sided limit"),))
