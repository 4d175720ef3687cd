"""Bessel functions by their variable, for any real order; those scaled by an exponential too.

Recurrences over neighbouring orders (DLMF 10.6, 10.29) hold at 0 as well, where those that divide by x do not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fad.core.primitive import Primitive
from fad.primitives.special import ANY, POSITIVE, _special, no_derivative

__all__ = [
    "jv",
    "yv",
    "iv",
    "kv",
    "ive",
    "kve",
    "jve",
    "yve",
    "yn",
    "kn",
    "j0",
    "j1",
    "y0",
    "y1",
    "i0",
    "i1",
    "k0",
    "k1",
    "i0e",
    "i1e",
    "k0e",
    "k1e",
]


def of_order(name: str, slope: Any, interval: tuple, source: str, analytic: bool = False) -> Any:
    """A function of (order, x) with this slope by x."""
    return _special(
        name,
        (no_derivative(name, "v"), slope),
        analytic=analytic,
        flops=100,
        domains=(),
        source=source,
        sample=lambda rng, shape, dtype: ((rng.integers(0, 4, shape), rng.uniform(*interval, shape).astype(dtype)), {}),
    )


jv: Primitive = of_order("jv", lambda y, v, x: (jv(v - 1, x) - jv(v + 1, x)) / 2, ANY, "DLMF 10.6.1", analytic=True)
yv: Primitive = of_order("yv", lambda y, v, x: (yv(v - 1, x) - yv(v + 1, x)) / 2, POSITIVE, "DLMF 10.6.1", analytic=True)
iv: Primitive = of_order("iv", lambda y, v, x: (iv(v - 1, x) + iv(v + 1, x)) / 2, ANY, "DLMF 10.29.1", analytic=True)
kv: Primitive = of_order("kv", lambda y, v, x: -(kv(v - 1, x) + kv(v + 1, x)) / 2, POSITIVE, "DLMF 10.29.1", analytic=True)
ive: Primitive = of_order(
    "ive", lambda y, v, x: (ive(v - 1, x) + ive(v + 1, x)) / 2 - np.sign(x) * y, POSITIVE, "exp(-|x|) iv(v, x)"
)
kve: Primitive = of_order(
    "kve", lambda y, v, x: y - (kve(v - 1, x) + kve(v + 1, x)) / 2, POSITIVE, "exp(x) kv(v, x)", analytic=True
)
yn = of_order("yn", lambda y, n, x: (yv(n - 1, x) - yv(n + 1, x)) / 2, POSITIVE, "DLMF 10.6.1; n is an integer")
kn = of_order("kn", lambda y, n, x: -(kv(n - 1, x) + kv(n + 1, x)) / 2, POSITIVE, "DLMF 10.29.1; n is an integer")

j0 = _special("j0", (lambda y, x: -j1(x),), flops=60, source="DLMF 10.6.3")
j1: Primitive = _special("j1", (lambda y, x: (j0(x) - jv(2, x)) / 2,), flops=60, source="DLMF 10.6.1")
y0 = _special("y0", (lambda y, x: -y1(x),), flops=60, domains=(POSITIVE,), source="DLMF 10.6.3")
y1: Primitive = _special("y1", (lambda y, x: (y0(x) - yv(2, x)) / 2,), flops=60, domains=(POSITIVE,), source="DLMF 10.6.1")
i0 = _special("i0", (lambda y, x: i1(x),), flops=60, source="DLMF 10.29.3")
i1: Primitive = _special("i1", (lambda y, x: (i0(x) + iv(2, x)) / 2,), flops=60, source="DLMF 10.29.1")
k0 = _special("k0", (lambda y, x: -k1(x),), flops=60, domains=(POSITIVE,), source="DLMF 10.29.3")
k1: Primitive = _special("k1", (lambda y, x: -(k0(x) + kv(2, x)) / 2,), flops=60, domains=(POSITIVE,), source="DLMF 10.29.1")
i0e = _special("i0e", (lambda y, x: i1e(x) - np.sign(x) * y,), flops=60, domains=(POSITIVE,), source="exp(-|x|) i0(x)")
i1e: Primitive = _special(
    "i1e", (lambda y, x: (i0e(x) + ive(2, x)) / 2 - np.sign(x) * y,), flops=60, domains=(POSITIVE,), source="exp(-|x|) i1(x)"
)
k0e = _special("k0e", (lambda y, x: y - k1e(x),), flops=60, domains=(POSITIVE,), source="exp(x) k0(x)")
k1e: Primitive = _special("k1e", (lambda y, x: y - (k0e(x) + kve(2, x)) / 2,), flops=60, domains=(POSITIVE,), source="exp(x) k1(x)")

# scaled by exp(-|Im x|), which is 1 here
jve: Primitive = of_order("jve", lambda y, v, x: (jve(v - 1, x) - jve(v + 1, x)) / 2, ANY, "jv(v, x) for real x")
yve: Primitive = of_order("yve", lambda y, v, x: (yve(v - 1, x) - yve(v + 1, x)) / 2, POSITIVE, "yv(v, x) for real x")
