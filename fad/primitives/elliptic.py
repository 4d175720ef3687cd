"""Elliptic integrals: Carlson's symmetric ones, Legendre's incomplete ones, Jacobi's functions, the mean of Gauss.

All derivatives of Carlson's integrals are integrals of one family,

    I(x, ...) = integral of t^r (t + x)^-p (t + y)^-q ... over t > 0,

and so are those of I: dI/dx = -p I with p + 1. In log t the integrand is smooth and falls exponentially, where the trapezoidal
rule is exact to rounding (Trefethen and Weideman 2014). DLMF 19.16, 19.18, 19.25.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fad.core.primitive import Primitive
from fad.primitives.families import dtype_of, elementwise
from fad.primitives.special import COMPOSED, POSITIVE, _real_dtype, _special

__all__ = ["agm", "carlson", "ellipeinc", "ellipj", "ellipkinc", "elliprc", "elliprd", "elliprf", "elliprg", "elliprj"]

NODES = 900
MARGIN = 90.0  # in log t, where slow ends have fallen to 1e-19


def _carlson(*args: Any, powers: tuple, rise: int) -> Any:
    dtype = _real_dtype(tuple(map(dtype_of, args)))
    xs = np.stack(np.broadcast_arrays(*(np.asarray(x, float) for x in args)))[..., None]
    powers_of = np.reshape(powers, (-1, *(1,) * (xs.ndim - 1)))
    bad = np.any(~(xs >= 0) | np.isinf(xs), axis=0)
    diverges = np.sum(powers_of * (xs == 0), axis=0) >= rise + 1
    scales = np.log(np.where((xs > 0) & ~bad, xs, 1))
    low, high = np.min(scales, axis=0) - MARGIN, np.max(scales, axis=0) + MARGIN
    u = low + (high - low) * np.linspace(0, 1, NODES)
    logs = (rise + 1) * u - np.sum(powers_of * np.logaddexp(u, np.where(xs > 0, np.log(np.where(xs > 0, xs, 1)), -np.inf)), axis=0)
    y = np.sum(np.exp(logs), axis=-1) * (high - low)[..., 0] / (NODES - 1)
    return np.where(bad[..., 0], np.nan, np.where(diverges[..., 0], np.inf, y)).astype(dtype)[()]


def _less(i: int) -> Any:
    def rule(y: Any, *args: Any, powers: tuple, rise: int) -> Any:
        raised = tuple(p + (k == i) for k, p in enumerate(powers))
        return -powers[i] * carlson(*args, powers=raised, rise=rise)

    return rule


carlson: Primitive = elementwise(
    "carlson",
    _carlson,
    tuple(_less(i) for i in range(4)),
    flops=30000,
    domains=(),
    dtype=lambda dtypes, powers, rise: _real_dtype(dtypes),
    sample=lambda rng, shape, dtype: (
        tuple(rng.uniform(*POSITIVE, shape).astype(dtype) for _ in range(4)),
        {"powers": (0.5, 1.5, 0.5, 1.0), "rise": int(rng.integers(0, 2))},
    ),
    source="the integral of t^rise times (t + x)^-power for each argument x, over t > 0; the trapezoidal rule in log t",
    real_only=True,
    rough=64,
)


def _symmetric(name: str, factor: float, powers: tuple, source: str, rise: int = 0) -> Any:
    """factor times I; of elliprg the derivatives are."""

    def by(i: int) -> Any:
        raised = tuple(p + (k == i) for k, p in enumerate(powers))
        slope = factor if rise else -factor * powers[i]
        return lambda y, *args: slope * carlson(*args, powers=raised, rise=rise)

    return _special(
        name, tuple(by(i) for i in range(len(powers))), flops=100, domains=(POSITIVE,) * len(powers), source=source, rough=4
    )


HALF = (0.5, 0.5, 0.5)
elliprc = _symmetric("elliprc", 0.5, (0.5, 1.0), "DLMF 19.16.6")
elliprf = _symmetric("elliprf", 0.5, HALF, "DLMF 19.16.1")
elliprd = _symmetric("elliprd", 1.5, (0.5, 0.5, 1.5), "DLMF 19.16.5")
elliprj = _symmetric("elliprj", 1.5, (*HALF, 1.0), "DLMF 19.16.2")
elliprg = _symmetric("elliprg", 0.125, HALF, "DLMF 19.16.3", rise=1)
agm = _special(
    "agm",
    (
        lambda y, a, b: y * y * a / np.pi * carlson(0.0, a * a, b * b, powers=(0.5, 1.5, 0.5), rise=0),
        lambda y, a, b: y * y * b / np.pi * carlson(0.0, a * a, b * b, powers=(0.5, 0.5, 1.5), rise=0),
    ),
    flops=60,
    domains=(POSITIVE, POSITIVE),
    source="pi / (2 elliprf(0, a^2, b^2)), DLMF 19.8.4",
)

# -- Legendre's ----------------------------------------------------------------------------------------------


def _within(phi: Any, m: Any) -> tuple:
    """Half turns to the nearest multiple of pi, and what the integrals are made of between there and phi."""
    turns = np.rint(phi / np.pi)
    sine, cosine = np.sin(phi), np.cos(phi)
    sine = np.where(turns % 2 == 1, -sine, sine)
    return turns, sine, cosine * cosine, 1 - m * sine * sine


def _first_by_m(phi: Any, m: Any) -> Any:
    turns, sine, square, delta = _within(phi, m)
    part = sine**3 / 4 * carlson(square, 1.0, delta, powers=(0.5, 0.5, 1.5), rise=0)
    whole = carlson(0.0, 1.0, 1 - m, powers=(0.5, 0.5, 1.5), rise=0) / 4
    return part + 2 * turns * whole


def _second_by_m(phi: Any, m: Any) -> Any:
    turns, sine, square, delta = _within(phi, m)
    part = -(sine**3) / 4 * carlson(square, delta, 1.0, powers=(0.5, 0.5, 1.5), rise=0)
    whole = -carlson(0.0, 1 - m, 1.0, powers=(0.5, 0.5, 1.5), rise=0) / 4
    return part + 2 * turns * whole


ANGLES = ((-1.4, 4.0), (-1.0, 0.8))
ellipkinc = _special(
    "ellipkinc",
    (lambda y, phi, m: 1 / np.sqrt(1 - m * np.sin(phi) ** 2), lambda y, phi, m: _first_by_m(phi, m)),
    flops=100,
    domains=ANGLES,
    source="DLMF 19.2.4, 19.25.5",
)
ellipeinc = _special(
    "ellipeinc",
    (lambda y, phi, m: np.sqrt(1 - m * np.sin(phi) ** 2), lambda y, phi, m: _second_by_m(phi, m)),
    flops=100,
    domains=ANGLES,
    source="DLMF 19.2.5, 19.25.9",
)


def _jacobi(u: Any, m: Any, *, part: int) -> Any:
    from scipy.special import ellipj as of_scipy

    return np.asarray(of_scipy(u, m)[part]).astype(_real_dtype((dtype_of(u), dtype_of(m))))[()]


def _by_u(y: Any, u: Any, m: Any, *, part: int) -> Any:
    sn, cn, dn = (ellipj(u, m, part=k) for k in range(3))
    return (cn * dn, -sn * dn, -m * sn * cn, dn)[part]


def _by_m(y: Any, u: Any, m: Any, *, part: int) -> Any:
    """Through the amplitude, of which u is the incomplete integral."""
    sn, cn, dn, phi = (ellipj(u, m, part=k) for k in range(4))
    turned = -dn * _first_by_m(phi, m)
    if part == 2:
        return -sn * (sn + 2 * m * cn * turned) / (2 * dn)
    return (cn * turned, -sn * turned, None, turned)[part]


ellipj: Primitive = elementwise(
    "ellipj",
    _jacobi,
    (_by_u, _by_m),
    flops=100,
    domains=(),
    dtype=lambda dtypes, part: _real_dtype(dtypes),
    sample=lambda rng, shape, dtype: (
        (rng.uniform(-1.2, 1.2, shape).astype(dtype), rng.uniform(0.1, 0.8, shape).astype(dtype)),
        {"part": int(rng.integers(4))},
    ),
    source="DLMF 22.13; by m through the amplitude",
    real_only=True,
    rough=16,
)
COMPOSED["ellipj"] = lambda u, m: tuple(ellipj(u, m, part=k) for k in range(4))
