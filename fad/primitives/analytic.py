"""Functions of complex arguments that SciPy has beside those of real ones, and what is made of them.

wofz(z) = exp(-z^2) erfc(-i z) is the error function from which Voigt's profile comes; Hankel's functions are complex everywhere.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from fad.core.primitive import Primitive
from fad.primitives.elementwise import cast
from fad.primitives.families import dtype_of, elementwise, promoted
from fad.primitives.integrals import polynomial
from fad.primitives.special import COMPOSED, POSITIVE, _real_dtype, _special, no_derivative

__all__ = ["hankel1", "hankel1e", "hankel2", "hankel2e", "lambertw", "spherical", "voigt_profile", "wofz"]

ROOT_PI = 1.7724538509055159


def _complex_dtype(dtypes: tuple) -> np.dtype:
    return np.result_type(promoted(dtypes), np.complex64)


def _complex(z: Any) -> Any:
    """z as a complex number, by which complex functions are differentiated."""
    return cast(z, _complex_dtype((dtype_of(z),))) if np.dtype(dtype_of(z)).kind != "c" else z


def _holomorphic(name: str, rules: tuple, sample: Any, source: str) -> Primitive:
    """The record of a ufunc whose last argument is complex, and its rule for a real one."""
    ufunc = lambda *args: getattr(import_module("scipy.special"), name)(*args)

    def evaluate(*args: Any) -> Any:
        dtype = _complex_dtype(tuple(map(dtype_of, args[-1:])))
        return np.asarray(ufunc(*args[:-1], np.asarray(args[-1], dtype))).astype(dtype)[()]

    primitive: Primitive = elementwise(
        name, evaluate, rules, flops=200, domains=(), dtype=lambda dtypes: _complex_dtype(dtypes[-1:]), sample=sample, source=source
    )
    COMPOSED[name] = lambda *args: primitive(*args[:-1], _complex(args[-1]))
    return primitive


def _point(rng: np.random.Generator, shape: tuple, dtype: Any) -> Any:
    dtype = np.result_type(dtype, np.complex64)
    return (rng.uniform(0.5, 3.0, shape) + 1j * rng.uniform(0.1, 0.5, shape)).astype(dtype)


def _wofz_slope(w: Any, z: Any) -> Any:
    """2 i / sqrt(pi) - 2 z w, which far out in the upper half-plane is a small difference: there its series."""
    far = (np.abs(z) > 30) & (np.imag(z) >= 0)
    t = 1 / np.square(np.where(far, z, 30))
    series = -1j / ROOT_PI * t * polynomial(t, 1.0, 1.5, 3.75, 13.125, 59.0625, 324.84375)
    return np.where(far, series, 2j / ROOT_PI - 2 * z * w)


wofz: Primitive = _holomorphic(
    "wofz", (_wofz_slope,), lambda rng, shape, dtype: ((_point(rng, shape, dtype),), {}), "DLMF 7.2.3, 7.10.2, 7.12.1"
)
lambertw: Primitive = elementwise(
    "lambertw",
    lambda z, *, k: np.asarray(import_module("scipy.special").lambertw(z, k)).astype(_complex_dtype((dtype_of(z),)))[()],
    (lambda w, z, *, k: np.exp(-w) / (1 + w),),
    flops=200,
    domains=(),
    dtype=lambda dtypes, k: _complex_dtype(dtypes),
    sample=lambda rng, shape, dtype: ((_point(rng, shape, dtype),), {"k": int(rng.integers(-1, 2))}),
    source="w exp(w) = z on the branch k, DLMF 4.13.4",
)


def _hankel(name: str, scaled: complex, source: str) -> Primitive:
    def slope(y: Any, v: Any, z: Any) -> Any:
        between = (primitive(v - 1, z) - primitive(v + 1, z)) / 2
        return between + scaled * y if scaled else between

    rules = (no_derivative(name, "v"), slope)
    primitive = _holomorphic(
        name, rules, lambda rng, shape, dtype: ((rng.integers(0, 4, shape), _point(rng, shape, dtype)), {}), source
    )
    return primitive


hankel1 = _hankel("hankel1", 0, "DLMF 10.6.1")
hankel2 = _hankel("hankel2", 0, "DLMF 10.6.1")
hankel1e = _hankel("hankel1e", -1j, "hankel1(v, z) exp(-i z)")
hankel2e = _hankel("hankel2e", 1j, "hankel2(v, z) exp(i z)")

# -- Voigt's profile: Re w(z) / (s sqrt(2 pi)) with z = (x + i g) / (s sqrt(2)) ------------------------------


def _voigt(rule: Any) -> Any:
    """A rule of w'(z), z and the factor before it."""

    def partial(y: Any, x: Any, s: Any, g: Any) -> Any:
        z = (x + 1j * g) / (s * np.sqrt(2))
        return rule(y, _wofz_slope(wofz(z), z), z, s)

    return partial


voigt_profile = _special(
    "voigt_profile",
    (
        _voigt(lambda y, slope, z, s: np.real(slope) / (2 * ROOT_PI * s * s)),
        _voigt(lambda y, slope, z, s: -y / s - np.real(slope * z) / (np.sqrt(2) * ROOT_PI * s * s)),
        _voigt(lambda y, slope, z, s: -np.imag(slope) / (2 * ROOT_PI * s * s)),
    ),
    flops=300,
    domains=((-3.0, 3.0), POSITIVE, POSITIVE),
    source="a normal line convolved with Cauchy's, for widths > 0; DLMF 7.19",
)

# -- spherical Bessel functions: f(n - 1) and f(n + 1) weighted by n and n + 1 (DLMF 10.51.2, 10.51.5) --------

_SIGNS = {"jn": (1, -1), "yn": (1, -1), "in": (1, 1), "kn": (-1, -1)}


def _spherical(n: Any, z: Any, *, kind: str) -> Any:
    function = getattr(import_module("scipy.special"), f"spherical_{kind}")
    return np.asarray(function(np.asarray(n).astype(int), z)).astype(_real_dtype((dtype_of(z),)))[()]


def spherical_slope(y: Any, n: Any, z: Any, *, kind: str) -> Any:
    below, above = _SIGNS[kind]
    lower, upper = spherical(np.maximum(n - 1, 0), z, kind=kind), spherical(n + 1, z, kind=kind)
    return (below * n * lower + above * (n + 1) * upper) / (2 * n + 1)


spherical: Primitive = elementwise(
    "spherical",
    _spherical,
    (0, spherical_slope),
    flops=200,
    domains=(),
    dtype=lambda dtypes, kind: _real_dtype(dtypes[1:]),
    sample=lambda rng, shape, dtype: (
        (rng.integers(0, 4, shape), rng.uniform(*POSITIVE, shape).astype(dtype)),
        {"kind": list(_SIGNS)[rng.integers(4)]},
    ),
    source="DLMF 10.51.2, 10.51.5; the order n is an integer and has no derivative",
    real_only=True,
    rough=64,
)
