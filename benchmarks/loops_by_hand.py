"""Tiny loops and their derivatives as one would write them by hand for numba."""

import math
from typing import Any

import numba
import numpy

loops = {"error_model": "numpy", "cache": True}


@numba.njit(**loops)
def leapfrog_value(q: Any) -> float:
    a, b, c, d = q[0], q[1], 0.0, 1.0
    for _ in range(300):
        s = 0.01 / (a * a + b * b) ** 1.5
        c, d = c - s * a, d - s * b
        a, b = a + 0.01 * c, b + 0.01 * d
    return a * a + b * b


@numba.njit(**loops)
def leapfrog_gradient(q: Any) -> Any:
    tape = numpy.empty((300, 2))
    a, b, c, d = q[0], q[1], 0.0, 1.0
    for t in range(300):
        tape[t, 0], tape[t, 1] = a, b
        s = 0.01 / (a * a + b * b) ** 1.5
        c, d = c - s * a, d - s * b
        a, b = a + 0.01 * c, b + 0.01 * d
    ga, gb, gc, gd = 2 * a, 2 * b, 0.0, 0.0
    for t in range(299, -1, -1):
        a, b = tape[t, 0], tape[t, 1]
        r = a * a + b * b
        s = 0.01 / r**1.5
        gc, gd = gc + 0.01 * ga, gd + 0.01 * gb
        k = (gc * a + gd * b) * 3 * s / r
        ga, gb = ga - s * gc + k * a, gb - s * gd + k * b
    return numpy.array([ga, gb])


@numba.njit(**loops)
def lorenz_value(s: Any) -> float:
    x, y, z = s[0], s[1], s[2]
    for _ in range(10_000):
        x, y, z = x + 1e-3 * 10 * (y - x), y + 1e-3 * (x * (28 - z) - y), z + 1e-3 * (x * y - 8 / 3 * z)
    return x + y + z


@numba.njit(**loops)
def lorenz_gradient(s: Any) -> Any:
    tape = numpy.empty((10_000, 3))
    x, y, z = s[0], s[1], s[2]
    for t in range(10_000):
        tape[t, 0], tape[t, 1], tape[t, 2] = x, y, z
        x, y, z = x + 1e-3 * 10 * (y - x), y + 1e-3 * (x * (28 - z) - y), z + 1e-3 * (x * y - 8 / 3 * z)
    a, b, c = 1.0, 1.0, 1.0
    for t in range(9_999, -1, -1):
        x, y, z = tape[t, 0], tape[t, 1], tape[t, 2]
        a, b, c = (a - 1e-2 * a + 1e-3 * ((28 - z) * b + y * c), b + 1e-2 * a + 1e-3 * (x * c - b), c - 1e-3 * (x * b + 8 / 3 * c))
    return numpy.array([a, b, c])


@numba.njit(**loops)
def recurrence_value(m: Any) -> float:
    x, y, z = 1.0, 1.0, 1.0
    for _ in range(10_000):
        x, y, z = (
            math.tanh(m[0, 0] * x + m[0, 1] * y + m[0, 2] * z),
            math.tanh(m[1, 0] * x + m[1, 1] * y + m[1, 2] * z),
            math.tanh(m[2, 0] * x + m[2, 1] * y + m[2, 2] * z),
        )
    return x + y + z


@numba.njit(**loops)
def recurrence_gradient(m: Any) -> Any:
    tape = numpy.empty((10_001, 3))
    tape[0] = 1.0
    for t in range(10_000):
        for i in range(3):
            tape[t + 1, i] = math.tanh(m[i, 0] * tape[t, 0] + m[i, 1] * tape[t, 1] + m[i, 2] * tape[t, 2])
    g = numpy.zeros((3, 3))
    a, b, c = 1.0, 1.0, 1.0
    for t in range(9_999, -1, -1):
        a, b, c = a * (1 - tape[t + 1, 0] ** 2), b * (1 - tape[t + 1, 1] ** 2), c * (1 - tape[t + 1, 2] ** 2)
        for j in range(3):
            g[0, j] += a * tape[t, j]
            g[1, j] += b * tape[t, j]
            g[2, j] += c * tape[t, j]
        a, b, c = (
            m[0, 0] * a + m[1, 0] * b + m[2, 0] * c,
            m[0, 1] * a + m[1, 1] * b + m[2, 1] * c,
            m[0, 2] * a + m[1, 2] * b + m[2, 2] * c,
        )
    return g


@numba.njit(**loops)
def newton_value(a: float) -> float:
    x = a
    while abs(x * x - a) > 1e-12 * a:
        x = 0.5 * (x + a / x)
    return x


@numba.njit(**loops)
def newton_slope(a: float) -> float:
    x, d = a, 1.0
    while abs(x * x - a) > 1e-12 * a:
        x, d = 0.5 * (x + a / x), 0.5 * (d + 1 / x - a / (x * x) * d)
    return d


@numba.njit(**loops)
def bouncing_value(h: float) -> float:
    x, v = h, 0.0
    for _ in range(10_000):
        v = v - 1e-3 * 9.81
        x = x + 1e-3 * v
        if x < 0:
            x, v = -x, -0.9 * v
    return x


@numba.njit(**loops)
def bouncing_gradient(h: float) -> float:
    hits = numpy.empty(10_000, numpy.bool_)
    x, v = h, 0.0
    for t in range(10_000):
        v = v - 1e-3 * 9.81
        x = x + 1e-3 * v
        hits[t] = x < 0
        if x < 0:
            x, v = -x, -0.9 * v
    a, b = 1.0, 0.0
    for t in range(9_999, -1, -1):
        if hits[t]:
            a, b = -a, -0.9 * b
        b = b + 1e-3 * a
    return a
