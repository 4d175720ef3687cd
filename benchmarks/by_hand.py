"""Gradients as one would write them by hand for numba: one pass, all cores, no intermediate arrays."""

import math
from typing import Any

import numba
import numpy
from numba import prange

__version__ = f"numba {numba.__version__}"

SERIAL = 20_000  # below this many values one core is faster than waking the others
CHUNK = 8192
# Sums may be reordered, as every peer does; nothing else is relaxed.
loops = {"fastmath": {"contract", "reassoc"}, "error_model": "numpy", "cache": True}


@numba.njit(**loops)
def tanh(x: float) -> float:
    return 1.0 - math.tanh(x) ** 2


@numba.njit(**loops)
def _rosenbrock_part(x: Any, g: Any, begin: int, end: int) -> None:
    """g[i] = -400 x_i (x_(i+1) - x_i^2) - 2 (1 - x_i) + 200 (x_i - x_(i-1)^2), inside."""
    two, four_hundred, two_hundred, one = x.dtype.type(2), x.dtype.type(400), x.dtype.type(200), x.dtype.type(1)
    for i in range(begin, end):
        g[i] = (
            two_hundred * (x[i] - x[i - 1] * x[i - 1])
            - four_hundred * x[i] * (x[i + 1] - x[i] * x[i])
            - two * (one - x[i])
        )


@numba.njit(**loops)
def _rosenbrock_ends(x: Any, g: Any) -> None:
    n = x.size
    g[0] = -400 * x[0] * (x[1] - x[0] * x[0]) - 2 * (1 - x[0])
    g[n - 1] = 200 * (x[n - 1] - x[n - 2] * x[n - 2])


@numba.njit(**loops)
def _rosenbrock_serial(x: Any) -> Any:
    g = numpy.empty_like(x)
    _rosenbrock_ends(x, g)
    _rosenbrock_part(x, g, 1, x.size - 1)
    return g


@numba.njit(parallel=True, **loops)
def _rosenbrock_parallel(x: Any) -> Any:
    g = numpy.empty_like(x)
    _rosenbrock_ends(x, g)
    n = x.size - 2
    for c in prange((n + CHUNK - 1) // CHUNK):
        _rosenbrock_part(x, g, 1 + c * CHUNK, 1 + min(n, (c + 1) * CHUNK))
    return g


def rosenbrock(x: Any) -> Any:
    return _rosenbrock_serial(x) if x.size < SERIAL else _rosenbrock_parallel(x)


@numba.njit(parallel=True, **loops)
def chained_sines(x: Any) -> Any:
    """The product of the cosines along each chain."""
    g = numpy.empty_like(x)
    for i in prange(x.size):
        y, slope = x[i], x.dtype.type(1)
        for _ in range(100):
            slope *= math.cos(y)
            y = math.sin(y)
        g[i] = slope
    return g


@numba.njit(**loops)
def _exps(x: Any, g: Any, largest: Any, begin: int, end: int) -> Any:
    total = x.dtype.type(0)
    for i in range(begin, end):
        g[i] = math.exp(x[i] - largest)
        total += g[i]
    return total


@numba.njit(**loops)
def _softmax_serial(x: Any, g: Any) -> None:
    largest = x[0]
    for i in range(x.size):
        largest = max(largest, x[i])
    scale = x.dtype.type(1) / _exps(x, g, largest, 0, x.size)
    for i in range(x.size):
        g[i] *= scale


@numba.njit(parallel=True, **loops)
def _softmax_parallel(x: Any) -> Any:
    n, chunks = x.size, (x.size + CHUNK - 1) // CHUNK
    g, largest_of, sum_of = numpy.empty_like(x), numpy.empty(chunks, x.dtype), numpy.empty(chunks, x.dtype)
    for c in prange(chunks):
        largest = x[c * CHUNK]
        for i in range(c * CHUNK, min(n, (c + 1) * CHUNK)):
            largest = max(largest, x[i])
        largest_of[c] = largest
    largest = largest_of.max()
    for c in prange(chunks):
        sum_of[c] = _exps(x, g, largest, c * CHUNK, min(n, (c + 1) * CHUNK))
    scale = x.dtype.type(1) / sum_of.sum()
    for i in prange(n):
        g[i] *= scale
    return g


@numba.njit(**loops)
def _logsumexp_serial(x: Any) -> Any:
    g = numpy.empty_like(x)
    _softmax_serial(x, g)
    return g


def logsumexp(x: Any) -> Any:
    return _logsumexp_serial(x) if x.size < SERIAL else _softmax_parallel(x)


@numba.njit(parallel=True, **loops)
def cross_entropy(logits: Any, labels: Any) -> Any:
    g, n = numpy.empty_like(logits), len(labels)
    scale = logits.dtype.type(1 / n)
    for row in prange(n):
        _softmax_serial(logits[row], g[row])
        g[row, labels[row]] -= logits.dtype.type(1)
        for j in range(g.shape[1]):
            g[row, j] *= scale
    return g
