"""Airy, Kelvin, Struve and parabolic cylinder functions, sine, Fresnel and Bessel integrals.

A function of several results is one record with the number of the result as its parameter (`fad.primitives.special.several`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fad.core.primitive import Primitive
from fad.primitives.bessel import i0, j0, k0, of_order, y0
from fad.primitives.families import elementwise
from fad.primitives.gamma import rgamma
from fad.primitives.integrals import exprel
from fad.primitives.special import COMPOSED, POSITIVE, _real_dtype, _scipy, _special, no_derivative, several

__all__ = ["airy", "airye", "bei", "beip", "ber", "berp", "fresnel", "it2j0y0", "it2i0k0", "it2struve0", "itairy"]
__all__ += ["iti0k0", "itj0y0", "itmodstruve0", "itstruve0", "kei", "keip", "ker", "kerp", "modstruve"]
__all__ += ["pbdv", "pbvv", "pbwa", "shichi", "sici", "struve"]

CENTER = (-3.0, 3.0)

# -- Airy: y'' = x y (DLMF 9.2.1), results Ai, Ai', Bi, Bi' ---------------------------------------------------

airy: Primitive = several(
    "airy",
    (lambda x: airy(x, part=1), lambda x: x * airy(x, part=0), lambda x: airy(x, part=3), lambda x: x * airy(x, part=2)),
    flops=200,
    domains=(CENTER,),
    source="DLMF 9.2.1",
)
airye: Primitive = several(
    "airye",
    (
        lambda x: airye(x, part=1) + np.sqrt(x) * airye(x, part=0),
        lambda x: x * airye(x, part=0) + np.sqrt(x) * airye(x, part=1),
        lambda x: airye(x, part=3) - np.sqrt(x) * airye(x, part=2),
        lambda x: x * airye(x, part=2) - np.sqrt(x) * airye(x, part=3),
    ),
    flops=200,
    domains=(POSITIVE,),
    source="airy times exp(2/3 x^1.5) and exp(-2/3 x^1.5), for x > 0",
)
itairy = several(
    "itairy",
    (lambda x: airy(x, part=0), lambda x: airy(x, part=2), lambda x: airy(-x, part=0), lambda x: airy(-x, part=2)),
    flops=200,
    domains=((0.05, 0.4),),  # beyond, SciPy's own digits do not suffice for differences
    source="integrals of Ai and Bi from 0, DLMF 9.10",
    rough=1 << 24,
)

# -- Kelvin: ber + i bei solves x^2 y'' + x y' = i x^2 y (DLMF 10.61.3) ---------------------------------------


def _over(y: Any, x: Any, limit: float) -> Any:
    return np.where(x == 0, limit, y / np.where(x == 0, 1, x))


def _kelvin(name: str, slope: Any, domain: tuple) -> Primitive:
    return _special(name, (lambda y, x: slope(x),), flops=80, domains=(domain,), source="DLMF 10.61.3", rough=1 << 8)


ber: Primitive = _kelvin("ber", lambda x: berp(x), CENTER)
bei: Primitive = _kelvin("bei", lambda x: beip(x), CENTER)
ker: Primitive = _kelvin("ker", lambda x: kerp(x), POSITIVE)
kei: Primitive = _kelvin("kei", lambda x: keip(x), POSITIVE)
berp: Primitive = _kelvin("berp", lambda x: -bei(x) - _over(berp(x), x, 0.0), POSITIVE)
beip: Primitive = _kelvin("beip", lambda x: ber(x) - _over(beip(x), x, 0.5), POSITIVE)
kerp: Primitive = _kelvin("kerp", lambda x: -kei(x) - kerp(x) / x, POSITIVE)
keip: Primitive = _kelvin("keip", lambda x: ker(x) - keip(x) / x, POSITIVE)
COMPOSED["kelvin"] = lambda x: (ber(x) + 1j * bei(x), ker(x) + 1j * kei(x), berp(x) + 1j * beip(x), kerp(x) + 1j * keip(x))

# -- Struve ------------------------------------------------------------------------------------------------


def _excess(v: Any, x: Any) -> Any:
    return (x / 2) ** v * rgamma(v + 1.5) / np.sqrt(np.pi)


struve: Primitive = of_order(
    "struve", lambda y, v, x: (struve(v - 1, x) - struve(v + 1, x) + _excess(v, x)) / 2, POSITIVE, "DLMF 11.4.25, 11.4.26"
)
modstruve: Primitive = of_order(
    "modstruve", lambda y, v, x: (modstruve(v - 1, x) + modstruve(v + 1, x) + _excess(v, x)) / 2, POSITIVE, "DLMF 11.4.25, 11.4.26"
)
itstruve0 = _special(
    "itstruve0",
    (lambda y, x: struve(np.zeros((), x.dtype)[()], x),),
    flops=80,
    domains=(POSITIVE,),
    source="the integral of struve from 0",
    rough=1 << 16,
)
itmodstruve0 = _special(
    "itmodstruve0",
    (lambda y, x: modstruve(np.zeros((), x.dtype)[()], x),),
    flops=80,
    domains=(POSITIVE,),
    source="the integral of modstruve(0, t) from 0",
    rough=1 << 16,
)
it2struve0 = _special(
    "it2struve0",
    (lambda y, x: -struve(np.zeros((), x.dtype)[()], x) / x,),
    flops=80,
    domains=(POSITIVE,),
    source="the integral of struve(0, t) / t to infinity",
    rough=1 << 16,
)

# -- integrals ----------------------------------------------------------------------------------------------

fresnel = several(
    "fresnel",
    (lambda x: np.sin(np.pi / 2 * x * x), lambda x: np.cos(np.pi / 2 * x * x)),
    flops=60,
    domains=(CENTER,),
    source="DLMF 7.2.7, 7.2.8",
)
sici = several(
    "sici", (lambda x: np.sinc(x / np.pi), lambda x: np.cos(x) / x), flops=60, domains=(POSITIVE,), source="DLMF 6.2.9, 6.2.11"
)
shichi = several(
    "shichi",
    (lambda x: (exprel(x) + exprel(-x)) / 2, lambda x: np.cosh(x) / x),
    flops=60,
    domains=(POSITIVE,),
    source="DLMF 6.2.15, 6.2.16",
)
_BESSEL = {"flops": 100, "domains": (POSITIVE,), "rough": 1 << 24}
itj0y0 = several("itj0y0", (lambda x: j0(x), lambda x: y0(x)), source="integrals of j0 and y0 from 0", **_BESSEL)
iti0k0 = several("iti0k0", (lambda x: i0(x), lambda x: k0(x)), source="integrals of i0 and k0 from 0", **_BESSEL)
it2j0y0 = several(
    "it2j0y0",
    (lambda x: (1 - j0(x)) / x, lambda x: -y0(x) / x),
    source="integrals of (1 - j0(t)) / t from 0 and y0(t) / t to infinity",
    **_BESSEL,
)
it2i0k0 = several(
    "it2i0k0",
    (lambda x: (i0(x) - 1) / x, lambda x: -k0(x) / x),
    source="integrals of (i0(t) - 1) / t from 0 and k0(t) / t to infinity",
    **_BESSEL,
)

# -- parabolic cylinder functions: y'' = (x^2 / 4 + a) y (DLMF 12.2.2), results y and y' -----------------------


def _cylinder(name: str, curvature: Any, source: str) -> Primitive:
    """The record of (v, x) and its rule for both results."""

    def evaluate(v: Any, x: Any, *, part: int) -> Any:
        return _scipy(name)(v, x)[part]

    def by_x(y: Any, v: Any, x: Any, *, part: int) -> Any:
        return curvature(v, x) * primitive(v, x, part=0) if part else primitive(v, x, part=1)

    primitive: Primitive = elementwise(
        name,
        evaluate,
        (no_derivative(name, "v"), by_x),
        flops=300,
        domains=(),
        dtype=lambda dtypes, part: _real_dtype(dtypes),
        sample=lambda rng, shape, dtype: (
            (rng.integers(0, 3, shape), rng.uniform(*CENTER, shape).astype(dtype)),
            {"part": int(rng.integers(2))},
        ),
        source=source,
        real_only=True,
        rough=1 << 8,
    )
    COMPOSED[name] = lambda v, x: tuple(primitive(v, x, part=k) for k in range(2))
    return primitive


pbdv = _cylinder("pbdv", lambda v, x: x * x / 4 - v - 0.5, "D of order v, DLMF 12.1, 12.2.2")
pbvv = _cylinder("pbvv", lambda v, x: x * x / 4 - v - 0.5, "V of order v, DLMF 12.2.2")
pbwa = _cylinder("pbwa", lambda a, x: a - x * x / 4, "W of parameter a, DLMF 12.14.2")
