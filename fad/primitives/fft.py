"""Discrete Fourier transforms: one linear record each for complex numbers, real ones, and half spectra of real ones.

The matrix of a transform is symmetric, so `fft` is its own transpose. Real transforms are those of one axis;
lengths are fixed beforehand, by cutting or padding.
"""

from __future__ import annotations

from math import log2, prod
from typing import Any

import numpy as np

from fad.core.primitive import Linear, Primitive
from fad.primitives.families import of_floats, structural

__all__ = ["fft", "rfft", "irfft", "trigonometric", "FLIPPED"]

FLIPPED = {"backward": "forward", "ortho": "ortho", "forward": "backward"}  # the norm that scales the inverse like this


def _flops(out: Any, x: Any, **params: Any) -> int:
    size = max(prod(x.shape), prod(out.shape))
    return int(5 * size * log2(size)) if size > 1 else size


def _complex(dtype: np.dtype) -> np.dtype:
    return np.result_type(dtype, np.complex64)


def _draw(rng: np.random.Generator, shape: tuple, dtype: Any) -> np.ndarray:
    x = rng.normal(size=tuple(max(s, 1) for s in shape) or (3,))
    return (x + 1j * rng.normal(size=x.shape) if np.dtype(dtype).kind == "c" else x).astype(dtype)


def _norm(rng: np.random.Generator) -> str:
    return str(rng.choice(list(FLIPPED)))


def _fft(x: Any, *, axes: tuple, inverse: bool, norm: Any) -> Any:
    return (np.fft.ifftn if inverse else np.fft.fftn)(x, axes=axes, norm=norm)


def _fft_sample(rng: np.random.Generator, shape: tuple, dtype: Any) -> tuple:
    x = _draw(rng, shape, dtype)
    axes = tuple(i for i in range(x.ndim) if i == 0 or rng.random() < 0.5)
    return (x,), {"axes": axes, "inverse": bool(rng.random() < 0.5), "norm": _norm(rng)}


fft: Primitive = structural(
    "fft",
    _fft,
    of_floats(lambda x, **params: (x.shape, _complex(x.dtype))),
    Linear((lambda ct, x, **params: fft(ct, **params),)),
    keeps=(),
    batch=lambda size, args, batched, *, axes, **params: fft(args[0], axes=tuple(a + 1 for a in axes), **params),
    flops=_flops,
    sample=_fft_sample,
    source="Cooley and Tukey 1965",
)


def _half(x: Any, axis: int) -> tuple:
    return (*x.shape[:axis], x.shape[axis] // 2 + 1, *x.shape[axis + 1 :])


def _doubled(x: Any, axis: int, n: int) -> np.ndarray:
    """How often each entry of the half spectrum of n numbers occurs in the whole one."""
    times = np.full(n // 2 + 1, 2, np.real(x).dtype)
    times[0] = 1
    if n % 2 == 0:
        times[-1] = 1
    return times.reshape(-1, *(1,) * (len(x.shape) - axis - 1))


def _rfft_transpose(ct: Any, x: Any, *, axis: int, norm: str) -> Any:
    n = x.shape[axis]
    return irfft(np.conj(ct) / _doubled(ct, axis, n), axis=axis, n=n, norm=FLIPPED[norm])


def _irfft_transpose(ct: Any, x: Any, *, axis: int, n: int, norm: str) -> Any:
    return np.conj(rfft(ct, axis=axis, norm=FLIPPED[norm])) * _doubled(ct, axis, n)


def _next(primitive: Any) -> Any:
    """The batching rule of a transform along one axis."""
    return lambda size, args, batched, *, axis, **params: primitive()(args[0], axis=axis + 1, **params)


rfft: Primitive = structural(
    "rfft",
    lambda x, *, axis, norm: np.fft.rfft(x, axis=axis, norm=norm),
    of_floats(lambda x, *, axis, norm: (_half(x, axis), _complex(x.dtype))),
    Linear((_rfft_transpose,)),
    keeps=(),
    batch=_next(lambda: rfft),
    flops=_flops,
    sample=lambda rng, shape, dtype: ((_draw(rng, shape, dtype),), {"axis": 0, "norm": _norm(rng)}),
    source="the first half of the transform of real numbers",
    real_only=True,
)


def _irfft_abstract(x: Any, *, axis: int, n: int, norm: str) -> tuple:
    return (*x.shape[:axis], n, *x.shape[axis + 1 :]), np.empty(0, x.dtype).real.dtype


def _irfft_sample(rng: np.random.Generator, shape: tuple, dtype: Any) -> tuple:
    n = int(rng.integers(1, 6))
    return (_draw(rng, (n // 2 + 1, *shape[1:]), dtype),), {"axis": 0, "n": n, "norm": _norm(rng)}


irfft: Primitive = structural(
    "irfft",
    lambda x, *, axis, n, norm: np.fft.irfft(x, n, axis, norm),
    of_floats(_irfft_abstract),
    Linear((_irfft_transpose,)),
    keeps=(),
    batch=_next(lambda: irfft),
    flops=_flops,
    sample=_irfft_sample,
    source="the inverse of rfft, which reads no imaginary part of entries that occur once",
)


# -- cosine and sine transforms --------------------------------------------------------------------

_TRANSPOSED = {1: 1, 2: 3, 3: 2, 4: 4}


def _trigonometric(x: Any, *, kind: str, type: int, axis: int) -> Any:
    import scipy.fft

    return getattr(scipy.fft, kind)(x, type, axis=axis, norm="ortho")


def _trigonometric_sample(rng: np.random.Generator, shape: tuple, dtype: Any) -> tuple:
    x = _draw(rng, (int(rng.integers(2, 5)), *shape[1:]), dtype)
    return (x,), {"kind": str(rng.choice(["dct", "dst"])), "type": int(rng.integers(1, 5)), "axis": 0}


trigonometric: Primitive = structural(
    "trigonometric",
    _trigonometric,
    of_floats(lambda x, **params: (x.shape, x.dtype)),
    Linear((lambda ct, x, *, kind, type, axis: trigonometric(ct, kind=kind, type=_TRANSPOSED[type], axis=axis),)),
    keeps=(),
    batch=_next(lambda: trigonometric),
    flops=_flops,
    sample=_trigonometric_sample,
    source="orthogonal DCT and DST of types 1 to 4 (Strang 1999): types 2 and 3 are transposes, 1 and 4 symmetric",
)
