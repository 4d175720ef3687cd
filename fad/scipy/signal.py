"""`scipy.signal` on nodes: convolutions, correlations, and linear filters."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.signal

from fad.control.loops import scan
from fad.core.expr import short
from fad.errors import ShapeError
from fad.numpy import fft
from fad.numpy.dispatch import as_array, axes_of, axis_of, floating
from fad.scipy.source import implements

__all__ = ["convolve", "correlate", "fftconvolve", "lfilter"]

MODES = ("full", "valid", "same")


def _cropped(full: Any, first: tuple, second: tuple, mode: str, axes: tuple) -> Any:
    """The part of a whole convolution of these shapes that the mode names: its middle."""
    if mode not in MODES:
        raise ValueError(f"mode {mode!r} is none of {MODES}")
    index = [slice(None)] * len(full.shape)
    for a in axes if mode != "full" else ():
        n = first[a] if mode == "same" else abs(first[a] - second[a]) + 1
        start = (full.shape[a] - n) // 2
        index[a] = slice(start, start + n)
    if mode == "valid" and len({first[a] > second[a] for a in axes if first[a] != second[a]}) > 1:
        raise ShapeError("scipy.signal: neither input is the longer one along every axis", got=f"{first} and {second}",
                         rule="mode='valid'", fix="mode='full' or 'same'")  # fmt: skip
    return full[tuple(index)]


def _pair(name: str, in1: Any, in2: Any) -> tuple:
    x, y = as_array(in1), as_array(in2)
    if x.ndim != y.ndim:
        raise ShapeError(f"scipy.signal.{name}: other numbers of axes", got=f"{short(x)} and {short(y)}", rule="as many axes each",
                         fix="x[:, None] adds one")  # fmt: skip
    return x, y


@implements(scipy.signal.fftconvolve)
def fftconvolve(in1: Any, in2: Any, mode: str = "full", axes: Any = None) -> Any:
    """``sum_k in1[k] in2[n - k]`` by Fourier transforms, along all axes or those named; the others broadcast."""
    x, y = _pair("fftconvolve", floating(in1), floating(in2))
    along = axes_of(axes, x.ndim)
    sizes = [x.shape[a] + y.shape[a] - 1 for a in along]
    if not along or min(sizes) < 1 or 0 in x.shape or 0 in y.shape:
        return x * y
    if x.dtype.kind == "c" or y.dtype.kind == "c":
        full = fft.ifftn(fft.fftn(x, sizes, along) * fft.fftn(y, sizes, along), sizes, along)
    else:
        full = fft.irfftn(fft.rfftn(x, sizes, along) * fft.rfftn(y, sizes, along), sizes, along)
    return _cropped(full, x.shape, y.shape, mode, along)


@implements(scipy.signal.convolve)
def convolve(in1: Any, in2: Any, mode: str = "full", method: str = "auto") -> Any:
    """``sum_k in1[k] in2[n - k]``: term by term along one axis, by Fourier transforms along several.

    >>> import fad
    >>> fad.grad(lambda w: convolve(np.array([1.0, 2.0, 3.0]), w)[2])(np.array([0.5, 0.5]))
    array([3., 2.])
    """
    x, y = _pair("convolve", in1, in2)
    if x.ndim != 1 or method == "fft" or 0 in x.shape or 0 in y.shape:
        return x * y if x.ndim == 0 else fftconvolve(x, y, mode)
    return _cropped(np.convolve(x, y), x.shape, y.shape, mode, (0,))


@implements(scipy.signal.correlate)
def correlate(in1: Any, in2: Any, mode: str = "full", method: str = "auto") -> Any:
    """``sum_k in1[k + n] conj(in2[k])``."""
    x, y = _pair("correlate", in1, in2)
    return convolve(x, np.conj(y[(slice(None, None, -1),) * y.ndim]), mode, method)


@implements(scipy.signal.lfilter)
def lfilter(b: Any, a: Any, x: Any, axis: int = -1, zi: Any = None) -> Any:
    """``a[0] y[n] = sum_k b[k] x[n - k] - sum_{k > 0} a[k] y[n - k]``, a loop over n in the transposed direct form II.

    ``zi`` is the state it begins with; then the last one is given, too.
    """
    b, a, x = floating(b), floating(a), floating(x)
    axis = axis_of(axis, x.ndim)
    order = max(b.shape[0], a.shape[0]) - 1
    b, a = (np.pad(c / a[0], (0, order + 1 - c.shape[0])) for c in (b, a))
    rows = np.moveaxis(x, axis, 0)
    if not order:
        return b[0] * x if zi is None else (b[0] * x, zi)
    column = lambda c: np.reshape(c, (order, *(1,) * (rows.ndim - 1)))
    begin = (
        np.zeros((order, *rows.shape[1:]), np.result_type(b.dtype, a.dtype, x.dtype))
        if zi is None
        else np.moveaxis(floating(zi), axis, 0)
    )

    def step(state: Any, row: Any) -> tuple:
        y = b[0] * row + state[0]
        moved = np.concatenate([state[1:], 0 * state[:1]], axis=0)
        return moved + column(b[1:]) * row - column(a[1:]) * y, y

    last, ys = scan(step, begin, rows)
    y = np.moveaxis(ys, 0, axis)
    return y if zi is None else (y, np.moveaxis(last, 0, axis))
