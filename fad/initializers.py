"""Random starting weights: every initializer is a function `init(key, shape, dtype) -> array`.

Weights have shape (*window, inputs, outputs); a dense matrix is the case without a window. The fans are

    fan_in = prod(window) * inputs        terms summed into one output
    fan_out = prod(window) * outputs      outputs one input reaches

A convolution in groups is several convolutions side by side: `Conv` draws the weights of each with fans of their own.
`zeros` is ready to use; the others are constructors that return an initializer.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fad import random
from fad.core.made import Made, constructor
from fad.core.options import number
from fad.errors import ShapeError

__all__ = [
    "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "orthogonal",
    "zeros", "constant", "normal", "fans",
]  # fmt: skip


@dataclass(frozen=True, eq=False, repr=False)
class Initializer(Made):
    """A function init(key, shape, dtype) -> array that prints as the call that made it, and pickles."""

    draw: Callable[[np.ndarray, tuple[int, ...], Any], Any]

    def __call__(self, key: np.ndarray, shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
        return np.asarray(self.draw(key, shape, dtype), dtype)


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """(fan_in, fan_out) of weights of shape (*window, inputs, outputs).

    Raises: ShapeError for fewer than two axes.

    >>> fans((3, 3, 16, 32))
    (144, 288)
    """
    if len(shape) < 2:
        raise ShapeError(
            "weights need at least two axes to have fans",
            got=f"shape {tuple(shape)}",
            rule="the shape is (*window, inputs, outputs)",
            fix="zeros, constant or normal for vectors",
        )
    *window, inputs, outputs = shape
    return math.prod(window) * inputs, math.prod(window) * outputs


@constructor
def glorot_uniform() -> Initializer:
    """Uniform on (-a, a) with a = sqrt(6 / (fan_in + fan_out)): keeps the variance of signals both ways.

    Source: Glorot & Bengio 2010, eq. 16.

    >>> w = glorot_uniform()(random.key(0), (64, 32), np.float32)
    >>> w.shape, w.dtype, bool(abs(w).max() <= 0.25)
    ((64, 32), dtype('float32'), True)
    """
    return _uniform(lambda fan_in, fan_out: 2 / (fan_in + fan_out))


@constructor
def glorot_normal() -> Initializer:
    """Normal with variance 2 / (fan_in + fan_out), fit for tanh and linear layers.

    Source: Glorot & Bengio 2010, eq. 12.

    >>> glorot_normal()(random.key(0), (3, 3, 8, 16), np.float64).shape
    (3, 3, 8, 16)
    """
    return _normal(lambda fan_in, fan_out: 2 / (fan_in + fan_out))


@constructor
def he_uniform(slope: float = 0.0) -> Initializer:
    """Uniform with variance 2 / ((1 + slope^2) fan_in); slope is the leak of the rectifier that follows.

    Source: He et al. 2015, eq. 15.

    >>> he_uniform()(random.key(0), (6, 4), np.float32).dtype
    dtype('float32')
    """
    slope = number("he_uniform: slope", slope)
    return _uniform(lambda fan_in, fan_out: 2 / ((1 + slope**2) * fan_in))


@constructor
def he_normal(slope: float = 0.0) -> Initializer:
    """Normal with variance 2 / ((1 + slope^2) fan_in); slope is the leak of the rectifier that follows.

    Source: He et al. 2015, eq. 15.

    >>> he_normal()(random.key(0), (6, 4), np.float32).shape
    (6, 4)
    """
    slope = number("he_normal: slope", slope)
    return _normal(lambda fan_in, fan_out: 2 / ((1 + slope**2) * fan_in))


@constructor
def orthogonal(scale: float = 1.0) -> Initializer:
    """scale * Q, Q uniform among matrices (prod(shape[:-1]), shape[-1]) with orthonormal columns.

    Where the matrix is wide its rows are orthonormal. Q is the QR factor of a normal matrix with the signs of
    diag(R) moved into it, which makes it Haar-uniform.
    Raises: ShapeError for fewer than two axes.
    Source: Saxe, McClelland & Ganguli 2014; signs: Mezzadri 2007.

    >>> q = orthogonal()(random.key(0), (4, 4), np.float64)
    >>> np.allclose(q @ q.T, np.eye(4))
    True
    """

    scale = number("orthogonal: scale", scale)

    def draw(key: np.ndarray, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        fans(shape)  # raises for vectors
        rows, columns = math.prod(shape[:-1]), shape[-1]
        gaussian = random.normal(key, (max(rows, columns), min(rows, columns)), np.float64)
        q, r = np.linalg.qr(gaussian)
        q = scale * q * np.sign(np.diag(r))
        return (q if rows >= columns else q.T).reshape(shape)

    return Initializer(draw)


def zeros(key: np.ndarray, shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
    """All zeros; the key is not used.

    >>> zeros(random.key(0), (2,), np.float32)
    array([0., 0.], dtype=float32)
    """
    return np.zeros(shape, dtype)


@constructor
def constant(value: float) -> Initializer:
    """Every element equals value; the key is not used.

    >>> constant(0.5)(random.key(0), (2,), np.float64)
    array([0.5, 0.5])
    """
    value = number("constant: value", value)
    return Initializer(lambda key, shape, dtype: np.full(shape, value, dtype))


@constructor
def normal(scale: float = 0.01) -> Initializer:
    """Normal with mean 0 and standard deviation scale, whatever the shape.

    >>> normal(0.1)(random.key(0), (3,), np.float32).shape
    (3,)
    """
    scale = number("normal: scale", scale)
    return Initializer(lambda key, shape, dtype: random.normal(key, shape, dtype) * scale)


def _normal(variance: Callable[[int, int], float]) -> Initializer:
    return Initializer(lambda key, shape, dtype: random.normal(key, shape, dtype) * _spread(variance, shape))


def _uniform(variance: Callable[[int, int], float]) -> Initializer:
    def draw(key: np.ndarray, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        bound = math.sqrt(3) * _spread(variance, shape)  # uniform on (-a, a) has variance a^2 / 3
        return random.uniform(key, shape, dtype, low=-bound, high=bound)

    return Initializer(draw)


def _spread(variance: Callable[[int, int], float], shape: tuple[int, ...]) -> float:
    """Standard deviation for weights of this shape; an empty array needs none."""
    fan_in, fan_out = fans(shape)
    return math.sqrt(variance(fan_in, fan_out)) if fan_in and fan_out else 1.0
