"""Elementary functions that `scipy.special` has beside NumPy's: angles in degrees, powers of ten, differences from 1."""

from __future__ import annotations

import numpy as np

from fad.core.primitive import Primitive, registry
from fad.native import vecmath
from fad.native.ir import constant
from fad.primitives.elementwise import power_by_exponent, power_slope
from fad.primitives.special import ANY, BY_SCIPY, POSITIVE, _special

__all__ = ["exp10", "cosm1", "powm1", "sindg", "cosdg", "tandg", "cotdg", "wrightomega"]

LOG_TEN = 2.302585092994046
DEGREE = 0.017453292519943295

exp10 = _special("exp10", (lambda y, x: LOG_TEN * y,), flops=20, source="10^x", lower=lambda x: vecmath.pow(constant(10.0, x), x))
cosm1 = _special("cosm1", (lambda y, x: -np.sin(x),), flops=20, source="cos(x) - 1")
powm1 = _special(
    "powm1",
    (lambda z, x, y: power_slope(x, y), lambda z, x, y: power_by_exponent(x**y, x, y)),
    flops=25,
    lower=None,  # SciPy's own for float32 overflows elsewhere
    domains=(POSITIVE, ANY),
    source="x^y - 1, for x > 0",
)
sindg = _special("sindg", (lambda y, x: DEGREE * cosdg(x),), flops=20, source="sin of an angle in degrees")
cosdg: Primitive = _special("cosdg", (lambda y, x: -DEGREE * sindg(x),), flops=20, source="cos of an angle in degrees")
tandg = _special("tandg", (lambda y, x: DEGREE * (1 + y * y),), flops=25, source="tan of an angle in degrees")
cotdg = _special(
    "cotdg", (lambda y, x: -DEGREE * (1 + y * y),), flops=25, domains=((10.0, 80.0),), source="1 / tan of an angle in degrees"
)
wrightomega = _special("wrightomega", (lambda y, x: y / (1 + y),), flops=40, source="y + log(y) = x, DLMF 4.13")

for _name, _own in {"cbrt": "cbrt", "exp2": "exp2", "expm1": "expm1", "log1p": "log1p", "round": "rint"}.items():
    BY_SCIPY[_name] = registry[_own]  # SciPy has ufuncs of its own for these
