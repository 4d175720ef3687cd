"""Divergences, robust losses and power transforms of `scipy.special`."""

from __future__ import annotations

from typing import Any

import numpy as np

from fad.core.primitive import Kink
from fad.native.ir import where
from fad.primitives.integrals import exprel_slope
from fad.primitives.special import ANY, POSITIVE, _special

__all__ = ["kl_div", "rel_entr", "huber", "pseudo_huber", "boxcox", "boxcox1p", "inv_boxcox", "inv_boxcox1p"]

_ZERO = (Kink("x = 0", "-inf for x", "the one-sided limit"),)
kl_div = _special(
    "kl_div",
    (lambda z, x, y: np.log(x / y), lambda z, x, y: 1 - x / y),
    flops=25,
    domains=(POSITIVE, POSITIVE),
    kinks=_ZERO,
    source="x log(x / y) - x + y",
)
rel_entr = _special(
    "rel_entr",
    (lambda z, x, y: np.log(x / y) + 1, lambda z, x, y: -x / y),
    flops=25,
    domains=(POSITIVE, POSITIVE),
    kinks=_ZERO,
    source="x log(x / y)",
)

huber = _special(
    "huber",
    (lambda z, d, r: np.maximum(np.abs(r) - d, 0), lambda z, d, r: np.clip(r, -d, d)),
    flops=6,
    domains=(POSITIVE, ANY),
    source="r^2 / 2 up to |r| = d, then a line",
    lower=lambda d, r: where(d < 0, np.inf, where(abs(r) <= d, 0.5 * r * r, d * (abs(r) - 0.5 * d))),
)


def _pseudo_huber_by_width(z: Any, d: Any, r: Any) -> Any:
    q = (r / d) ** 2
    s = np.sqrt(1 + q)
    return d * q * q / (s * (s + 1) ** 2)


pseudo_huber = _special(
    "pseudo_huber",
    (_pseudo_huber_by_width, lambda z, d, r: r / np.sqrt(1 + (r / d) ** 2)),
    flops=12,
    domains=(POSITIVE, ANY),
    source="d^2 (sqrt(1 + (r / d)^2) - 1)",
)

# -- power transforms: log(x) exprel(l log(x)), which is smooth at l = 0 ---------------------------------


def by_power(log: Any, power: Any) -> Any:
    return log * log * exprel_slope(power * log)


boxcox = _special(
    "boxcox",
    (lambda y, x, l: x ** (l - 1), lambda y, x, l: by_power(np.log(x), l)),
    flops=40,
    domains=(POSITIVE, ANY),
    source="(x^l - 1) / l",
)
boxcox1p = _special(
    "boxcox1p",
    (lambda y, x, l: (1 + x) ** (l - 1), lambda y, x, l: by_power(np.log1p(x), l)),
    flops=40,
    domains=((-0.7, 3.0), ANY),
    source="boxcox(1 + x, l)",
)
inv_boxcox = _special(
    "inv_boxcox",
    (lambda x, y, l: x ** (1 - l), lambda x, y, l: -(x ** (1 - l)) * by_power(np.log(x), l)),
    flops=40,
    domains=((0.1, 1.0), (-0.5, 2.0)),
    source="the inverse of boxcox",
)
inv_boxcox1p = _special(
    "inv_boxcox1p",
    (lambda x, y, l: (1 + x) ** (1 - l), lambda x, y, l: -((1 + x) ** (1 - l)) * by_power(np.log1p(x), l)),
    flops=40,
    domains=((0.1, 1.0), (-0.5, 2.0)),
    source="the inverse of boxcox1p",
)
