"""Gradients as one would write them by hand for numba: one pass, all cores, no intermediate arrays.

The last argument is where the gradient goes, so that no memory is asked for in a call: this is the limit.
"""

import math
from typing import Any

import numba
import numpy
from numba import prange

__version__ = f"numba {numba.__version__}"

SERIAL = 20_000  # below this many values one core is faster than waking the others
CORES = numba.config.NUMBA_NUM_THREADS
# Sums may be reordered, as every peer does; nothing else is relaxed.
loops = {"fastmath": {"contract", "reassoc"}, "error_model": "numpy", "cache": True}


@numba.njit(**loops)
def tanh(x: float, _: float) -> float:
    return 1.0 - math.tanh(x) ** 2


@numba.njit(**loops)
def _rosenbrock_inside(left: Any, x: Any, right: Any, g: Any) -> None:
    """-400 x_i (x_(i+1) - x_i^2) - 2 (1 - x_i) + 200 (x_i - x_(i-1)^2); four views, so that it vectorises."""
    a, b, c, one = x.dtype.type(400), x.dtype.type(2), x.dtype.type(200), x.dtype.type(1)
    for i in range(x.size):
        g[i] = c * (x[i] - left[i] * left[i]) - a * x[i] * (right[i] - x[i] * x[i]) - b * (one - x[i])


@numba.njit(**loops)
def _rosenbrock_range(x: Any, g: Any, begin: int, end: int) -> None:
    _rosenbrock_inside(x[begin - 1 : end - 1], x[begin:end], x[begin + 1 : end + 1], g[begin:end])


@numba.njit(**loops)
def _rosenbrock_ends(x: Any, g: Any) -> None:
    n = x.size
    g[0] = -400 * x[0] * (x[1] - x[0] * x[0]) - 2 * (1 - x[0])
    g[n - 1] = 200 * (x[n - 1] - x[n - 2] * x[n - 2])


@numba.njit(**loops)
def _rosenbrock_serial(x: Any, g: Any) -> Any:
    _rosenbrock_ends(x, g)
    _rosenbrock_range(x, g, 1, x.size - 1)
    return g


@numba.njit(parallel=True, **loops)
def _rosenbrock_parallel(x: Any, g: Any) -> Any:
    _rosenbrock_ends(x, g)
    n, share = x.size - 2, (x.size + CORES - 1) // CORES
    for c in prange(CORES):
        _rosenbrock_range(x, g, 1 + c * share, 1 + min(n, (c + 1) * share))
    return g


def rosenbrock(x: Any, g: Any) -> Any:
    return _rosenbrock_serial(x, g) if x.size < SERIAL else _rosenbrock_parallel(x, g)


@numba.njit(parallel=True, **loops)
def chained_sines(x: Any, g: Any) -> Any:
    """The product of the cosines along each chain."""
    for i in prange(x.size):
        y, slope = x[i], x.dtype.type(1)
        for _ in range(100):
            slope *= math.cos(y)
            y = math.sin(y)
        g[i] = slope
    return g


@numba.njit(**loops)
def _largest(x: Any) -> Any:
    largest = x[0]
    for i in range(x.size):
        largest = x[i] if x[i] > largest else largest
    return largest


@numba.njit(**loops)
def _exps(x: Any, g: Any, largest: Any) -> Any:
    """g = exp(x - largest) and its sum."""
    total = x.dtype.type(0)
    for i in range(x.size):
        g[i] = math.exp(x[i] - largest)
        total += g[i]
    return total


@numba.njit(**loops)
def _scale(g: Any, scale: Any) -> None:
    for i in range(g.size):
        g[i] *= scale


@numba.njit(**loops)
def _softmax(x: Any, g: Any) -> Any:
    _scale(g, x.dtype.type(1) / _exps(x, g, _largest(x)))
    return g


@numba.njit(parallel=True, **loops)
def _softmax_parallel(x: Any, g: Any) -> Any:
    share = (x.size + CORES - 1) // CORES
    largest_of, sum_of = numpy.empty(CORES, x.dtype), numpy.empty(CORES, x.dtype)
    for c in prange(CORES):
        largest_of[c] = _largest(x[c * share : (c + 1) * share])
    largest = largest_of.max()
    for c in prange(CORES):
        sum_of[c] = _exps(x[c * share : (c + 1) * share], g[c * share : (c + 1) * share], largest)
    scale = x.dtype.type(1) / sum_of.sum()
    for c in prange(CORES):
        _scale(g[c * share : (c + 1) * share], scale)
    return g


def logsumexp(x: Any, g: Any) -> Any:
    return _softmax(x, g) if x.size < SERIAL else _softmax_parallel(x, g)


@numba.njit(parallel=True, **loops)
def cross_entropy(logits: Any, labels: Any, g: Any) -> Any:
    n = len(labels)
    scale = logits.dtype.type(1 / n)
    for row in prange(n):
        _softmax(logits[row], g[row])
        g[row, labels[row]] -= logits.dtype.type(1)
        _scale(g[row], scale)
    return g
