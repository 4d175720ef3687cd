"""Random numbers as pure functions of a key: no hidden state, so every result can be had again.

A key is uint32 of shape (2,). Use a key for one draw, and make fresh ones with `split` and `fold_in`:

>>> from fad import random
>>> init_key, noise_key = random.split(random.key(0))
>>> random.normal(noise_key, (2, 3), np.float32).shape
(2, 3)

The bits are those of Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as
easy as 1, 2, 3", SC 2011), counted from 0 under the key. Everything here works on expression nodes too.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from fad.errors import DtypeError, KeyMissingError, OutOfRangeError, ShapeError
from fad.primitives.gamma import betaincinv, gammaincinv
from fad.primitives.index import gather
from fad.primitives.random import random_bits
from fad.primitives.special import ndtr, ndtri

__all__ = [
    *("key", "split", "fold_in", "bits", "uniform", "normal", "bernoulli", "randint", "permutation", "choice", "exponential"),
    *("gumbel", "laplace", "logistic", "cauchy", "gamma", "beta", "chisquare", "t", "dirichlet", "multivariate_normal"),
    *("truncated_normal", "categorical"),
]

# A key is changed by these before it makes other keys, so that they share no bits with its numbers.
_SPLIT = np.array([0x9E3779B9, 0x7F4A7C15], np.uint32)
_FOLD = np.array([0xBB67AE85, 0x84CAA73B], np.uint32)


def key(seed: int) -> np.ndarray:
    """The key of a seed, 0 <= seed < 2**64; different seeds give different keys.

    Raises DtypeError unless seed is an integer, OutOfRangeError outside the range.

    >>> key(7)
    array([0, 7], dtype=uint32)
    """
    number = _integer(seed, "a seed is an integer")
    if not 0 <= number < 2**64:
        raise OutOfRangeError("seed out of range", got=number, rule="0 <= seed < 2**64")
    return np.array([number >> 32, number & 0xFFFFFFFF], np.uint32)


def split(key: Any, num: int = 2) -> Any:
    """num new keys, uint32 of shape (num, 2), independent of each other and of numbers drawn with `key`.

    Raises KeyMissingError, DtypeError or ShapeError unless `key` is one, and for a num that is no count.

    >>> [k.shape for k in split(key(0), 3)]
    [(2,), (2,), (2,)]
    """
    (num,) = _shape(_integer(num, "num counts the keys"))
    return random_bits(_checked(key, "split") ^ _SPLIT, n=2 * num).reshape(num, 2)


def fold_in(key: Any, data: Any) -> Any:
    """Key number `data` (an integer, 0 <= data < 2**32) of the family that `key` opens: one per step, say.

    Raises KeyMissingError, DtypeError or ShapeError unless `key` is one; DtypeError or OutOfRangeError for
    data that is not such an integer.

    >>> bool(np.all(fold_in(key(0), 1) == fold_in(key(0), 2)))
    False
    """
    base = random_bits(_checked(key, "fold_in") ^ _FOLD, n=2)
    if not hasattr(data, "dtype"):
        data = np.asarray(data)
    if data.dtype.kind not in "iu" or data.shape != ():
        raise DtypeError("fold_in takes one integer", got=f"{data.dtype} of shape {data.shape}", fix="fold_in(key, step)")
    if _is_concrete(data) and not 0 <= int(data) < 2**32:
        raise OutOfRangeError("fold_in: data out of range", got=data, rule="0 <= data < 2**32")
    # Hashed before the number goes in: fold_in(key(0), 1) must not meet fold_in(key(1), 0).
    return random_bits(base ^ data.astype(np.uint32), n=2)


def bits(key: Any, shape: int | tuple = ()) -> Any:
    """Uniform 32-bit words, uint32 of the given shape.

    Raises KeyMissingError, DtypeError or ShapeError unless `key` is a key and `shape` a shape.

    >>> bits(key(0), (2,))
    array([1797259609, 2579123966], dtype=uint32)
    """
    shape = _shape(shape)
    return _shaped(random_bits(_checked(key, "bits"), n=math.prod(shape)), shape)


def uniform(key: Any, shape: int | tuple = (), dtype: Any = np.float64, low: Any = 0.0, high: Any = 1.0) -> Any:
    """Uniform on [low, high): never equal to high. Multiples of 2**-24 (float32) or 2**-53 (float64), scaled.

    low and high are numbers, or arrays that broadcast to `shape`. Raises as `bits` does; also DtypeError for
    other dtypes, OutOfRangeError unless low < high with a finite difference.

    >>> x = uniform(key(0), (1000,), np.float32, low=2.0, high=3.0)
    >>> x.dtype, bool(x.min() >= 2), bool(x.max() < 3)
    (dtype('float32'), True, True)
    """
    shape, dtype = _shape(shape), _float(dtype)
    u = _shaped(_unit(_checked(key, "uniform"), math.prod(shape), dtype), shape)
    if isinstance(low, float | int) and isinstance(high, float | int) and (low, high) == (0, 1):
        return u
    low, high = _cast(low, dtype), _cast(high, dtype)
    with np.errstate(over="ignore"):
        span = high - low
    if _is_concrete(span) and not np.all((span > 0) & np.isfinite(span)):
        raise OutOfRangeError("uniform needs low < high, a finite distance apart", got=f"low={low}, high={high}")
    _check_broadcast(span, shape, "low and high")
    x = low + u * span
    x = np.where(x < high, x, low)  # rounding may reach high
    return x if shape else x[()]


def normal(key: Any, shape: int | tuple = (), dtype: Any = np.float64) -> Any:
    """Independent standard normal numbers, always finite, in float32 or float64.

    sqrt(-2 log u) times cos and sin of 2 pi v, for uniform u in (0, 1] and v in [0, 1): Box and Muller, "A
    note on the generation of random normal deviates", 1958. Raises as `uniform` does.

    >>> x = normal(key(0), (10_000,))
    >>> bool(abs(x.mean()) < 0.05), bool(abs(x.std() - 1) < 0.05)
    (True, True)
    """
    shape, dtype = _shape(shape), _float(dtype)
    n = math.prod(shape)
    pairs = (n + 1) // 2
    key = _checked(key, "normal")
    if dtype == np.float32:
        words = random_bits(key, n=2 * pairs)
        u = (words[:pairs].astype(dtype) + 1) * 2.0**-32  # all 32 bits: small u make the tails
        v = _fraction(words[pairs:])
    else:
        both = _unit(key, 2 * pairs, dtype)
        u, v = 1 - both[:pairs], both[pairs:]
    radius = np.sqrt(-2 * np.log(u))
    angle = (2 * math.pi) * v
    return _shaped(np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:n], shape)


def bernoulli(key: Any, p: Any = 0.5, shape: int | tuple | None = None) -> Any:
    """True with probability p (to 2**-32), of the given shape or else that of p.

    Raises as `bits` does; OutOfRangeError unless 0 <= p <= 1.

    >>> bool(abs(bernoulli(key(0), 0.3, (10_000,)).mean() - 0.3) < 0.02)
    True
    """
    shape = np.shape(p) if shape is None else _shape(shape)
    if _is_concrete(p) and not np.all((p >= 0) & (p <= 1)):
        raise OutOfRangeError("a probability is out of range", got=p, rule="0 <= p <= 1")
    _check_broadcast(p, shape, "p")
    return bits(_checked(key, "bernoulli"), shape) * 2.0**-32 < p


def randint(key: Any, low: int, high: int, shape: int | tuple = ()) -> Any:
    """Integers uniform on low, ..., high - 1, int64; made from 64 bits, so equally likely to within 2**-32.

    Raises as `bits` does; OutOfRangeError unless low < high <= low + 2**32, within int64.

    >>> x = randint(key(0), 1, 7, (1000,))
    >>> x.dtype, int(x.min()), int(x.max())
    (dtype('int64'), 1, 6)
    """
    shape = _shape(shape)
    low, high = (_integer(bound, "the bounds of randint are integers") for bound in (low, high))
    span = high - low
    if not 0 < span <= 2**32 or low < -(2**63) or high > 2**63:
        raise OutOfRangeError("randint: range out of range", got=f"low={low}, high={high}",
                              rule="low < high <= low + 2**32, within int64")  # fmt: skip
    words = bits(_checked(key, "randint"), (math.prod(shape), 2)).astype(np.uint64)
    width = np.uint64(span)
    # floor(word * width / 2**64) for the 64-bit word, in two halves so that nothing overflows
    offset = (words[:, 0] * width + (words[:, 1] * width >> np.uint64(32))) >> np.uint64(32)
    return _shaped(offset.astype(np.int64) + low, shape)


def permutation(key: Any, x: Any) -> Any:
    """A uniformly random order of 0, ..., x - 1 for an integer x, or of x along axis 0 for an array.

    Raises as `bits` does; DtypeError for a number that is not an integer.

    >>> np.sort(permutation(key(0), 5))
    array([0, 1, 2, 3, 4])
    """
    n, population = _population(x, "permutation")
    order = np.argsort(uniform(_checked(key, "permutation"), (n,)), kind="stable")
    return order if population is None else gather(population, order)


def choice(key: Any, x: Any, shape: int | tuple = (), replace: bool = True) -> Any:
    """Entries of 0, ..., x - 1 for an integer x, or of x along axis 0, each as likely as any other.

    With replace=False all come from different positions. Raises as `bits` does; OutOfRangeError for more
    draws than there are entries.

    >>> choice(key(0), np.array([10, 20]), (3,)).shape
    (3,)
    """
    n, population = _population(x, "choice")
    shape = _shape(shape)
    count = math.prod(shape)
    if count > n and (n == 0 or not replace):
        raise OutOfRangeError("choice: too few entries", got=f"{count} draws from {n}", fix="replace=True" if n else "")
    if not n or not replace:
        index = _shaped(permutation(key, n)[:count], shape)
    else:
        index = randint(key, 0, n, shape)
    return index if population is None else gather(population, index)


# -- distributions: samples are functions of their parameters, too ---------------------------------------------------------------


def _open(key: Any, shape: Any, dtype: Any, *parameters: Any) -> Any:
    """Uniform numbers inside of (0, 1), of this shape or else that of the parameters together."""
    if shape is None:
        shape = np.broadcast_shapes(*[np.shape(p) for p in parameters])
    shape, dtype = _shape(shape), _float(dtype)
    for p in parameters:
        _check_broadcast(p, shape, "a parameter")
    half = 2.0**-25 if dtype == np.float32 else 2.0**-54
    return uniform(key, shape, dtype) + dtype.type(half)


def exponential(key: Any, shape: int | tuple = (), dtype: Any = np.float64) -> Any:
    """Waiting times of rate 1: -log u. Raises as `uniform` does; so do all below.

    >>> bool(abs(exponential(key(0), (10_000,)).mean() - 1) < 0.05)
    True
    """
    return -np.log(_open(key, shape, dtype))


def gumbel(key: Any, shape: int | tuple = (), dtype: Any = np.float64) -> Any:
    """Largest values, standard: -log(-log u)."""
    return -np.log(-np.log(_open(key, shape, dtype)))


def laplace(key: Any, shape: int | tuple = (), dtype: Any = np.float64) -> Any:
    """With density exp(-|x|) / 2."""
    u = _open(key, shape, dtype) - 0.5
    return -np.sign(u) * np.log1p(-2 * np.abs(u))


def logistic(key: Any, shape: int | tuple = (), dtype: Any = np.float64) -> Any:
    """log(u / (1 - u))."""
    u = _open(key, shape, dtype)
    return np.log(u) - np.log1p(-u)


def cauchy(key: Any, shape: int | tuple = (), dtype: Any = np.float64) -> Any:
    """tan(pi (u - 1/2))."""
    return np.tan(math.pi * (_open(key, shape, dtype) - 0.5))


def gamma(key: Any, a: Any, shape: int | tuple | None = None, dtype: Any = np.float64) -> Any:
    """Gamma numbers of shape parameter a and scale 1: the quantile of a uniform number, so that a sample has a derivative by a,
    dx/da = -(dP/da) / p(x) (Figurnov, Mohamed and Mnih, "Implicit reparameterization gradients", NeurIPS 2018).

    >>> import fad
    >>> bool(abs(fad.grad(lambda a: gamma(key(0), a, (10_000,)).mean())(3.0) - 1) < 0.05)
    True
    """
    return gammaincinv(a, _open(key, shape, dtype, a))


def beta(key: Any, a: Any, b: Any, shape: int | tuple | None = None, dtype: Any = np.float64) -> Any:
    """Beta numbers, with derivatives by a and b as those of `gamma`."""
    return betaincinv(a, b, _open(key, shape, dtype, a, b))


def chisquare(key: Any, df: Any, shape: int | tuple | None = None, dtype: Any = np.float64) -> Any:
    """Sums of squares of df normal numbers, for any df > 0."""
    return 2 * gamma(key, 0.5 * df, shape, dtype)


def t(key: Any, df: Any, shape: int | tuple | None = None, dtype: Any = np.float64) -> Any:
    """Student's t: a normal number over the root of a chi-square one by its df."""
    if shape is None:
        shape = np.shape(df)
    one, other = split(key)
    return normal(one, shape, dtype) * np.sqrt(df / chisquare(other, df, shape, dtype))


def dirichlet(key: Any, alpha: Any, shape: int | tuple = (), dtype: Any = np.float64) -> Any:
    """Probabilities along a last axis, of shape (*shape, len(alpha)): gamma numbers over their sum."""
    x = gamma(key, alpha, (*_shape(shape), *np.shape(alpha)), dtype)
    return x / np.sum(x, axis=-1, keepdims=True)


def multivariate_normal(key: Any, mean: Any, cov: Any, shape: int | tuple = (), dtype: Any = np.float64) -> Any:
    """Normal vectors along a last axis, of shape (*shape, len(mean)): mean + l z with l l^T = cov.

    Raises SingularError where cov is not positive definite.
    """
    z = normal(key, (*_shape(shape), np.shape(mean)[-1]), dtype)
    return mean + z @ np.swapaxes(np.linalg.cholesky(cov), -1, -2)


def truncated_normal(key: Any, low: Any, high: Any, shape: int | tuple | None = None, dtype: Any = np.float64) -> Any:
    """Standard normal numbers between two ends."""
    u = _open(key, shape, dtype, low, high)
    below, above = ndtr(low), ndtr(high)
    return np.clip(ndtri(below + u * (above - below)), low, high)


def categorical(key: Any, logits: Any, shape: int | tuple = ()) -> Any:
    """Indices with probabilities softmax(logits) along the last axis, of shape (*shape, *logits.shape[:-1]); no derivative.

    The largest of logits + `gumbel` (Gumbel 1954). ``p`` as probabilities: ``categorical(key, np.log(p))``.
    """
    noise = gumbel(key, (*_shape(shape), *np.shape(logits)))
    return np.argmax(logits + noise, axis=-1)


def _unit(key: Any, n: int, dtype: np.dtype) -> Any:
    """n numbers uniform on [0, 1): all multiples of 2**-24 or 2**-53 there, equally likely."""
    if dtype == np.float32:
        return _fraction(random_bits(key, n=n))
    words = random_bits(key, n=2 * n).reshape(n, 2)
    high, low = words[:, 0] >> np.uint32(5), words[:, 1] >> np.uint32(6)
    return (high * 2.0**26 + low) * 2.0**-53


def _fraction(words: Any) -> Any:
    """The upper 24 bits of each word, as float32 in [0, 1)."""
    return (words >> np.uint32(8)).astype(np.float32) * 2.0**-24


def _shaped(flat: Any, shape: tuple[int, ...]) -> Any:
    """`flat` in the given shape; a NumPy scalar where that is ()."""
    return flat.reshape(shape) if shape else flat[0]


def _cast(value: Any, dtype: np.dtype) -> Any:
    return value.astype(dtype) if hasattr(value, "astype") else np.asarray(value, dtype)[()]


def _population(x: Any, name: str) -> tuple[int, Any]:
    """(number of entries, the entries or None for 0, ..., n - 1)."""
    if np.shape(x) == ():
        return _shape(_integer(x, f"{name} takes an integer or an array"))[0], None
    x = x if hasattr(x, "shape") else np.asarray(x)
    return x.shape[0], x


def _is_concrete(value: Any) -> bool:
    """Whether the numbers are there to be checked: not so for a node."""
    return isinstance(value, float | int | np.ndarray | np.generic)


def _integer(value: Any, rule: str) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise DtypeError("not an integer", got=repr(value), rule=rule) from None


def _checked(key: Any, name: str) -> Any:
    """`key`, if it is one."""
    if key is None:
        raise KeyMissingError(f"{name} needs a key", got=None, fix=f"fad.random.{name}(fad.random.key(0), ...)")
    if not hasattr(key, "dtype") or key.dtype != np.uint32:
        got = repr(key) if not hasattr(key, "dtype") else f"dtype {key.dtype}"
        raise DtypeError(f"{name}: not a key", got=got, rule="a key is uint32 of shape (2,)", fix="fad.random.key(0)")
    if key.shape != (2,):
        raise ShapeError(f"{name}: not one key", got=key.shape, rule="a key is uint32 of shape (2,)",
                         fix="take one key of an array of keys, or fad.vmap over them")  # fmt: skip
    return key


def _shape(shape: int | tuple) -> tuple[int, ...]:
    try:
        sizes = tuple(operator.index(size) for size in (shape if isinstance(shape, list | tuple) else (shape,)))
    except TypeError:
        raise ShapeError("not a shape", got=repr(shape), rule="an integer or a tuple of integers") from None
    if any(size < 0 for size in sizes):
        raise ShapeError("negative size", got=shape, rule="sizes are at least 0")
    return sizes


def _float(dtype: Any) -> np.dtype:
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise DtypeError("random numbers have no such dtype", got=np.dtype(dtype), rule="float32 or float64")
    return np.dtype(dtype)


def _check_broadcast(value: Any, shape: tuple[int, ...], name: str) -> None:
    try:
        fits = np.broadcast_shapes(np.shape(value), shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(f"{name} must broadcast to the shape", got=f"{np.shape(value)} and shape {shape}")
