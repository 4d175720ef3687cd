"""Hurwitz's zeta function by Euler's and Maclaurin's formula: derivatives by the exponent, and complex shifts."""

from __future__ import annotations

from importlib import import_module
from math import comb, factorial
from typing import Any

import numpy as np

__all__ = ["polygamma_of_complex", "zeta_by_exponent"]

TERMS = 24  # summed one by one, before the integral takes over
BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330)


def zeta_by_exponent(x: Any, q: Any, order: int) -> Any:
    """The first terms, the integral of the rest and its corrections (DLMF 25.11.7), differentiated as Leibniz has it."""
    logs = np.log(q[..., None] + np.arange(TERMS))
    y = np.sum((-logs) ** order * np.exp(-x[..., None] * logs), axis=-1)
    whole = q + TERMS
    log = np.log(whole)
    power = np.exp(-x * log)
    integral = sum(comb(order, k) * (-log) ** (order - k) * (-1) ** k * factorial(k) / (x - 1) ** (k + 1) for k in range(order + 1))
    y = y + power * (whole * integral + (-log) ** order / 2)
    rising = np.polynomial.Polynomial([0.0, 1.0])  # x (x + 1) ... (x + 2 j - 2)
    for j, number in enumerate(BERNOULLI, 1):
        change = sum(comb(order, k) * (-log) ** (order - k) * rising.deriv(k)(x) for k in range(min(order, 2 * j - 1) + 1))
        y = y + number / factorial(2 * j) * change * power * whole ** (1.0 - 2 * j)
        rising = rising * np.polynomial.Polynomial([2 * j - 1, 1.0]) * np.polynomial.Polynomial([2 * j, 1.0])
    return y


def polygamma_of_complex(n: Any, z: Any) -> Any:
    """(-1)^(n + 1) n! zeta(n + 1, z), and psi for n = 0; real part above -20, NaN elsewhere (DLMF 25.11.12)."""
    special = import_module("scipy.special")
    n, z = np.broadcast_arrays(np.asarray(n, float), np.asarray(z, complex))
    fair = (n > 0) & (z.real > -20)
    order = np.where(n > 0, n, 1)
    sign = np.where(order % 2 == 1, 1, -1)
    sums = sign * special.gamma(order + 1) * zeta_by_exponent(order + 1, np.where(fair, z, 1), 0)
    return np.where(n == 0, special.psi(z), np.where(fair, sums, np.nan))
