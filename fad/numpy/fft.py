"""`numpy.fft` on nodes: lengths are cut or padded first, then one linear primitive does the rest."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.fft import fftfreq, rfftfreq

from fad.core.expr import short
from fad.errors import ShapeError
from fad.numpy.dispatch import as_array, axes_of, axis_of, floating, implements, no_out
from fad.numpy.join import roll
from fad.primitives import fft as primitives
from fad.primitives import shape as shapes

__all__ = [
    "fft",
    "ifft",
    "fft2",
    "ifft2",
    "fftn",
    "ifftn",
    "rfft",
    "irfft",
    "rfft2",
    "irfft2",
    "rfftn",
    "irfftn",
    "hfft",
    "ihfft",
    "fftshift",
    "ifftshift",
    "fftfreq",
    "rfftfreq",
]

# -- what the transforms share -----------------------------------------------------------------------


def norm_of(norm: Any) -> str:
    """What norm= names. Raises ValueError."""
    if norm is not None and norm not in primitives.FLIPPED:
        raise ValueError(f"norm {norm!r} is none of None, 'backward', 'ortho' and 'forward'")
    return norm or "backward"


def sized(x: Any, n: int, axis: int) -> Any:
    """x with n elements along an axis: the first of them, or zeros behind."""
    if n < 1:
        raise ShapeError(
            "a Fourier transform of no numbers",
            got=f"{short(x)}, n={n}",
            rule="lengths are at least 1",
            fix="leave empty arrays out",
        )
    if n == x.shape[axis]:
        return x
    index = (slice(None),) * axis + (slice(0, min(n, x.shape[axis])),)
    x = x[index]
    return x if x.shape[axis] == n else shapes.embed(x, index=index, shape=(*x.shape[:axis], n, *x.shape[axis + 1 :]))


def _lengths(x: Any, s: Any, axes: Any) -> tuple:
    """The axes of a transform and the length of each, by NumPy's defaults."""
    if axes is None:
        axes = range(x.ndim) if s is None else range(-len(s), 0)
    axes = tuple(axis_of(axis, x.ndim) for axis in axes)
    s = tuple(x.shape[axis] for axis in axes) if s is None else tuple(s)
    if len(s) != len(axes):
        raise ShapeError(
            "s= and axes= differ in length",
            got=f"s={s}, axes={axes}",
            rule="one length for each axis",
            fix="pass both, with one length for each axis",
        )
    return axes, tuple(x.shape[axis] if n == -1 else int(n) for axis, n in zip(axes, s, strict=True))


def _complex_transform(a: Any, s: Any, axes: Any, norm: Any, out: Any, inverse: bool) -> Any:
    no_out(out)
    x = floating(a)
    axes, lengths = _lengths(x, s, axes)
    for axis, n in zip(axes, lengths, strict=True):
        x = sized(x, n, axis)
    if len(set(axes)) == len(axes):
        return primitives.fft(x, axes=axes, inverse=inverse, norm=norm_of(norm))
    for axis in axes[::-1]:  # an axis named twice is transformed twice
        x = primitives.fft(x, axes=(axis,), inverse=inverse, norm=norm_of(norm))
    return x


# -- complex numbers ------------------------------------------------------------------------------------


@implements(np.fft.fft)
def fft(a: Any, n: Any = None, axis: int = -1, norm: Any = None, out: Any = None) -> Any:
    """``y[k] = sum_j a[j] exp(-2 pi i j k / n)`` along an axis."""
    return _complex_transform(a, None if n is None else (n,), (axis,), norm, out, False)


@implements(np.fft.ifft)
def ifft(a: Any, n: Any = None, axis: int = -1, norm: Any = None, out: Any = None) -> Any:
    """The inverse of `fft`."""
    return _complex_transform(a, None if n is None else (n,), (axis,), norm, out, True)


@implements(np.fft.fftn)
def fftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None, out: Any = None) -> Any:
    """`fft` along several axes, by default all."""
    return _complex_transform(a, s, axes, norm, out, False)


@implements(np.fft.ifftn)
def ifftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None, out: Any = None) -> Any:
    """The inverse of `fftn`."""
    return _complex_transform(a, s, axes, norm, out, True)


@implements(np.fft.fft2)
def fft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: Any = None, out: Any = None) -> Any:
    """`fft` along two axes."""
    return fftn(a, s, axes, norm, out)


@implements(np.fft.ifft2)
def ifft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: Any = None, out: Any = None) -> Any:
    """The inverse of `fft2`."""
    return ifftn(a, s, axes, norm, out)


# -- real numbers and half spectra -----------------------------------------------------------------------


@implements(np.fft.rfft)
def rfft(a: Any, n: Any = None, axis: int = -1, norm: Any = None, out: Any = None) -> Any:
    """The first ``n // 2 + 1`` entries of the `fft` of real numbers."""
    no_out(out)
    x = floating(a)
    axis = axis_of(axis, x.ndim)
    return primitives.rfft(sized(x, x.shape[axis] if n is None else n, axis), axis=axis, norm=norm_of(norm))


@implements(np.fft.irfft)
def irfft(a: Any, n: Any = None, axis: int = -1, norm: Any = None, out: Any = None) -> Any:
    """The inverse of `rfft`: n real numbers, by default an even number of them."""
    no_out(out)
    x = floating(a)
    axis = axis_of(axis, x.ndim)
    n = 2 * (x.shape[axis] - 1) if n is None else n
    x = sized(x, n // 2 + 1 if n > 0 else n, axis)
    return primitives.irfft(x, axis=axis, n=int(n), norm=norm_of(norm))


@implements(np.fft.rfftn)
def rfftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None, out: Any = None) -> Any:
    """`rfft` along the last of the axes, then `fft` along the others."""
    no_out(out)
    axes, lengths = _lengths(as_array(a), s, axes)
    y = rfft(a, lengths[-1], axes[-1], norm)
    return _complex_transform(y, lengths[:-1], axes[:-1], norm, None, False) if len(axes) > 1 else y


@implements(np.fft.irfftn)
def irfftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None, out: Any = None) -> Any:
    """The inverse of `rfftn`."""
    no_out(out)
    x = as_array(a)
    axes, lengths = _lengths(x, s, axes)
    last = lengths[-1] if s is not None and tuple(s)[-1] != -1 else 2 * (x.shape[axes[-1]] - 1)
    if len(axes) > 1:
        x = _complex_transform(x, lengths[:-1], axes[:-1], norm, None, True)
    return irfft(x, last, axes[-1], norm)


@implements(np.fft.rfft2)
def rfft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: Any = None, out: Any = None) -> Any:
    """`rfftn` along two axes."""
    return rfftn(a, s, axes, norm, out)


@implements(np.fft.irfft2)
def irfft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: Any = None, out: Any = None) -> Any:
    """The inverse of `rfft2`."""
    return irfftn(a, s, axes, norm, out)


@implements(np.fft.hfft)
def hfft(a: Any, n: Any = None, axis: int = -1, norm: Any = None, out: Any = None) -> Any:
    """The `fft`, which is real, of numbers of which the first half is given, the others being conjugate to it."""
    return irfft(np.conj(as_array(a)), n, axis, primitives.FLIPPED[norm_of(norm)], out)


@implements(np.fft.ihfft)
def ihfft(a: Any, n: Any = None, axis: int = -1, norm: Any = None, out: Any = None) -> Any:
    """The inverse of `hfft`."""
    return np.conj(rfft(a, n, axis, primitives.FLIPPED[norm_of(norm)], out))


# -- order -------------------------------------------------------------------------------------------------


@implements(np.fft.fftshift)
def fftshift(x: Any, axes: Any = None) -> Any:
    """The spectrum with frequency 0 in the middle."""
    x = as_array(x)
    axes = axes_of(axes, x.ndim)
    return roll(x, tuple(x.shape[i] // 2 for i in axes), axes)


@implements(np.fft.ifftshift)
def ifftshift(x: Any, axes: Any = None) -> Any:
    """The inverse of `fftshift`."""
    x = as_array(x)
    axes = axes_of(axes, x.ndim)
    return roll(x, tuple(-(x.shape[i] // 2) for i in axes), axes)
