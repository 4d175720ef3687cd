"""Special functions of real arguments: sigmoids, error functions, the gamma family, entropies.

Values come from SciPy, which is imported at the first evaluation so that `import fad` stays fast. Its ufuncs
called on a node find these records through ``BY_SCIPY``. Derivatives are written so that they keep their
relative accuracy in the tails: tanh' is sech^2 and sigmoid' sech(x / 2)^2 / 4, never 1 - tanh^2 or s (1 - s).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from fad.core.expr import short
from fad.core.lowering import ByKind
from fad.core.primitive import Kink, Primitive
from fad.errors import DtypeError, TraceError
from fad.native import elementwise as native
from fad.native import scipy_code, vecmath
from fad.native.ir import where
from fad.primitives.families import as_float, dtype_of, elementwise, promoted, ufunc_dtype
from fad.primitives.maclaurin import polygamma_of_complex
from fad.primitives.select import strong_divide

__all__ = [
    "digamma",
    "entr",
    "erf",
    "erfc",
    "erfinv",
    "expit",
    "gammaln",
    "log_expit",
    "logit",
    "ndtr",
    "ndtri",
    "polygamma",
    "softplus",
    "xlog1py",
    "xlogy",
]

POSITIVE = (0.2, 4.0)
PROBABILITY = (0.05, 0.95)
ANY = (-3.0, 3.0)
TWO_OVER_ROOT_PI = 1.1283791670955126
ROOT_TWO_PI = 2.5066282746310007

BY_SCIPY: dict[str, Primitive] = {}  # what the ufuncs of `scipy.special` stand for, by their names in that module
COMPOSED: dict[str, Any] = {}  # those that are written with records: functions of several results, and of complex ones
WARNING = ("bdtr", "bdtrc", "bdtri", "expn", "kn", "nbdtr", "nbdtrc", "nbdtri", "pdtri", "smirnov", "smirnovi", "yn")
"""Functions of whole numbers, which warn of others by way of Python: threads cannot call them while a program runs."""
SINGLE = (
    *("bei", "beip", "ber", "berp", "betainc", "betaincc", "betainccinv", "betaincinv", "btdtria", "btdtrib", "chdtriv", "fdtr"),
    *("fdtrc", "fdtri", "kei", "keip", "ker", "kerp", "pdtrik", "stdtr", "stdtridf", "stdtrit"),
)
"""Functions that SciPy computes in another way for float32: programs leave that to it."""
UNKNOWN: dict[tuple[str, str], str] = {}  # why a function has no derivative by an argument


def _real_dtype(dtypes: tuple) -> np.dtype:
    """The promoted dtype, float64 for integers; Python scalars are weak."""
    dtype = promoted(dtypes)
    if dtype.kind == "c":
        raise TypeError("special functions are defined here for real arguments, not complex ones")
    return as_float(dtype)


def _scipy(name: str, analytic: bool = False) -> Any:
    """`scipy.special.<name>`, imported when first evaluated."""

    def evaluate(*args: Any) -> Any:
        for a in () if analytic else args:
            if np.dtype(dtype_of(a)).kind == "c":
                raise DtypeError(
                    f"{name} of complex numbers",
                    got=short(a),
                    rule="it is defined here for real arguments",
                    fix="pass x.real, or write it with np.exp and np.log",
                )
        if any(np.dtype(dtype_of(a)).kind in "bu" for a in args):  # SciPy would compute small ones in float32
            dtype = as_float(promoted(tuple(map(dtype_of, args))))
            args = tuple(np.asarray(a, dtype)[()] if np.dtype(dtype_of(a)).kind in "bu" else a for a in args)
        return getattr(import_module("scipy.special"), name)(*args)

    return evaluate


def _doubles(given: tuple, out: np.dtype) -> tuple | None:
    return (out,) * len(given) if out == np.float64 else None


def _special(name: str, partials: tuple | None, analytic: bool = False, **fields: Any) -> Any:
    """The record of a ufunc; ``analytic``: of complex arguments, too. What has no vectorised form is called for one element after
    another in programs."""
    dtype = (lambda dtypes: as_float(promoted(dtypes))) if analytic else _real_dtype
    if "lower" not in fields and partials is not None and name not in WARNING:
        fields["lower"] = ByKind(scipy_code.special(name, len(partials)), operands=_doubles if name in SINGLE else None)
    primitive = elementwise(name, _scipy(name, analytic), partials, dtype=dtype, real_only=not analytic, **fields)
    BY_SCIPY[name] = primitive
    return primitive


def several(name: str, slopes: tuple, **fields: Any) -> Primitive:
    """The record of a ufunc of one real argument with several results, one of which is ``part(x, part=k)``; the ufunc gives all.

    ``slopes[k](x)`` is the derivative of the k-th.
    """

    def evaluate(x: Any, *, part: int) -> Any:
        return _scipy(name)(x)[part]

    def sample(rng: np.random.Generator, shape: tuple, dtype: Any) -> tuple:
        low, high = fields["domains"][0]
        return (rng.uniform(low, high, shape).astype(dtype),), {"part": int(rng.integers(len(slopes)))}

    rule = lambda y, x, *, part: slopes[part](x)
    primitive = elementwise(
        name, evaluate, (rule,), dtype=lambda dtypes, part: _real_dtype(dtypes), real_only=True, sample=sample, **fields
    )
    COMPOSED[name] = lambda x: tuple(primitive(x, part=k) for k in range(len(slopes)))
    return primitive


def no_derivative(name: str, argument: str, reason: str = "no closed form is known") -> Any:
    """The rule for an argument by which there is no derivative, or none is known."""
    UNKNOWN[name, argument] = reason

    def refuse(*args: Any, **params: Any) -> Any:
        raise TraceError(
            f"scipy.special.{name}: no derivative by {argument}",
            got=", ".join(map(short, args[1:])),
            rule=f"{reason}; it is differentiated with {argument} constant",
            fix=f"pass {argument} as a number, or fad.value({argument})",
        )

    return refuse


# -- sigmoids --------------------------------------------------------------------------------------

sech = elementwise(
    "sech",
    lambda x: 1 / np.cosh(x),
    (lambda y, x: -y * np.tanh(x),),
    flops=25,
    dtype=lambda dtypes: ufunc_dtype(np.cosh, dtypes),
    source="DLMF 4.28.6; the derivative of tanh is its square, in tails where 1 - tanh(x)^2 has no digits left",
    lower=native.sech,
)
expit = _special(
    "expit",
    (lambda y, x: np.square(sech(0.5 * x)) / 4,),
    flops=20,
    keeps_out=False,
    saturates=(0,),
    source="the logistic function 1 / (1 + exp(-x))",
    lower=vecmath.expit,
)
logit = _special(
    "logit",
    (lambda y, x: 1 / (x * (1 - x)),),
    flops=20,
    domains=(PROBABILITY,),
    source="the inverse of expit, log(x / (1 - x))",
    lower=vecmath.logit,
    rough=4,
)
log_expit = _special(
    "log_expit", (lambda y, x: expit(-x),), flops=30, source="-log(1 + exp(-x)), DLMF 4.6", saturates=(0,), lower=vecmath.log_expit
)
softplus = elementwise(
    "softplus",
    lambda x: np.logaddexp(x, 0),
    (lambda y, x: expit(x),),
    flops=35,
    dtype=_real_dtype,
    source="log(1 + exp(x)), Blanchard, Higham and Higham 2021",
    saturates=(0,),
    real_only=True,
    lower=vecmath.softplus,
)

# -- error functions and the normal distribution ---------------------------------------------------

erf = _special(
    "erf",
    (lambda y, x: TWO_OVER_ROOT_PI * np.exp(-x * x),),
    flops=25,
    source="DLMF 7.2.1",
    saturates=(0,),
    lower=vecmath.erf,
    analytic=True,
)
erfc = _special(
    "erfc",
    (lambda y, x: -TWO_OVER_ROOT_PI * np.exp(-x * x),),
    flops=25,
    source="DLMF 7.2.2",
    saturates=(0,),
    lower=vecmath.erfc,
    analytic=True,
)
erfinv = _special(
    "erfinv",
    (lambda y, x: np.exp(y * y) / TWO_OVER_ROOT_PI,),
    flops=30,
    domains=((-0.9, 0.9),),
    source="DLMF 7.17",
    lower=vecmath.erfinv,
    rough=4,
)
ndtr = _special(
    "ndtr",
    (lambda y, x: np.exp(-0.5 * x * x) / ROOT_TWO_PI,),
    flops=30,
    source="the normal distribution function, DLMF 7.18(iv)",
    saturates=(0,),
    lower=vecmath.ndtr,
    rough=4,
)
ndtri = _special(
    "ndtri",
    (lambda y, p: ROOT_TWO_PI * np.exp(0.5 * y * y),),
    flops=30,
    domains=(PROBABILITY,),
    source="the inverse of ndtr",
    lower=vecmath.ndtri,
)

# -- the gamma family, for x > 0 -------------------------------------------------------------------

gammaln = _special(
    "gammaln",
    (lambda y, x: digamma(x),),
    flops=40,
    domains=(POSITIVE,),
    source="DLMF 5.2.1, 5.2.2",
    lower=vecmath.gammaln,
    rough=16,
)
digamma: Primitive = _special(
    "digamma",
    (lambda y, x: polygamma(1, x),),
    flops=40,
    domains=(POSITIVE,),
    source="DLMF 5.2.2",
    lower=vecmath.digamma,
    rough=64,
    analytic=True,
)


def _polygamma(n: Any, x: Any) -> Any:
    dtype = as_float(promoted((dtype_of(x),)))
    function = polygamma_of_complex if dtype.kind == "c" else _scipy("polygamma")
    return np.asarray(function(n, x)).astype(dtype)[()]


polygamma: Primitive = elementwise(
    "polygamma",
    _polygamma,
    (0, lambda y, n, x: polygamma(n + 1, x)),
    flops=60,
    domains=((0.0, 0.0), POSITIVE),
    dtype=lambda dtypes: as_float(promoted(dtypes[1:])),
    source="DLMF 5.15.1; the order n is an integer and has no derivative",
    sample=lambda rng, shape, dtype: ((rng.integers(0, 4, shape), rng.uniform(*POSITIVE, shape).astype(dtype)), {}),
    rough=4,
)

# -- x log y, with 0 log 0 = 0 ---------------------------------------------------------------------


xlogy = _special(
    "xlogy",
    (lambda z, x, y: np.log(y), lambda z, x, y: strong_divide(x, y)),
    flops=20,
    domains=(ANY, POSITIVE),
    kinks=(Kink("x = y = 0", "-inf for x, 0 for y", "the limit for x; constant in y"),),
    lower=lambda x, y: where((x == 0) & ~y.isnan(), 0.0, x * vecmath.log(y)),
)
xlog1py = _special(
    "xlog1py",
    (lambda z, x, y: np.log1p(y), lambda z, x, y: strong_divide(x, 1 + y)),
    flops=20,
    domains=(ANY, (-0.7, 3.0)),
    kinks=(Kink("x = 0, y = -1", "-inf for x, 0 for y", "the limit for x; constant in y"),),
    lower=lambda x, y: where((x == 0) & ~y.isnan(), 0.0, x * vecmath.log1p(y)),
    rough=4,
)
entr = _special(
    "entr",
    (lambda y, x: -np.log(x) - 1,),
    flops=20,
    domains=(POSITIVE,),
    source="-x log x",
    kinks=(Kink("x = 0", "inf", "the one-sided limit"),),
    lower=lambda x: where(x == 0, 0.0, where(x < 0, -np.inf, -x * vecmath.log(x))),
)
