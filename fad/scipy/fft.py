"""`scipy.fft` on nodes: NumPy's transforms with SciPy's arguments, and those of cosines and sines.

SciPy's functions ask backends first; one of them is registered here, which takes what has a node among its arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.fft
from numpy.fft import fftfreq as fftfreq
from numpy.fft import rfftfreq as rfftfreq
from scipy.fft import next_fast_len as next_fast_len

from fad.core.expr import short
from fad.errors import ShapeError, TraceError
from fad.numpy import fft as numpys
from fad.numpy.dispatch import axis_of, floating, front, holds_node
from fad.numpy.fft import fftshift as fftshift
from fad.numpy.fft import ifftshift as ifftshift
from fad.primitives.fft import FLIPPED, OTHER, cosines

__all__ = [
    *("fft", "ifft", "fft2", "ifft2", "fftn", "ifftn", "rfft", "irfft", "rfft2", "irfft2", "rfftn", "irfftn", "hfft", "ihfft"),
    *("hfft2", "ihfft2", "hfftn", "ihfftn", "dct", "idct", "dst", "idst", "dctn", "idctn", "dstn", "idstn"),
    *("fftfreq", "rfftfreq", "fftshift", "ifftshift", "next_fast_len"),
]

RULES: dict[Any, Callable] = {}  # by the functions of SciPy


def _implements(rule: Callable) -> Callable:
    """Register the rule for SciPy's function of its name."""
    function = getattr(scipy.fft, rule.__name__)
    RULES[function] = rule
    return front(rule, function)


# -- complex and real transforms -----------------------------------------------------------------------------------------


def _along_one_axis(name: str) -> Callable:
    """NumPy's transform along one axis with SciPy's arguments."""
    transform = getattr(numpys, name)

    def rule(
        x: Any, n: Any = None, axis: int = -1, norm: Any = None, overwrite_x: bool = False, workers: Any = None, *, plan: Any = None
    ) -> Any:
        return transform(x, n, axis, norm)

    rule.__name__, rule.__doc__ = name, f"`np.fft.{name}`."
    return _implements(rule)


def _along_axes(name: str, transform: Callable, axes: Any = None) -> Callable:
    """A transform of (x, s, axes, norm) with SciPy's arguments."""
    default = axes

    def rule(
        x: Any, s: Any = None, axes: Any = default, norm: Any = None, overwrite_x: bool = False, workers: Any = None,
        *, plan: Any = None,
    ) -> Any:  # fmt: skip
        if s is not None and axes is None:
            s = tuple(np.atleast_1d(s))
            axes = tuple(range(-len(s), 0))
        return transform(x, s, axes, norm)

    rule.__name__, rule.__doc__ = name, f"`scipy.fft.{name}`."
    return _implements(rule)


def _hfftn(x: Any, s: Any, axes: Any, norm: Any) -> Any:
    """The real transform of a half spectrum's mirror: `irfftn` of the conjugate, scaled as forward."""
    return numpys.irfftn(np.conj(floating(x)), s, axes, FLIPPED[norm or "backward"])


def _ihfftn(x: Any, s: Any, axes: Any, norm: Any) -> Any:
    """The inverse of that."""
    return np.conj(numpys.rfftn(x, s, axes, FLIPPED[norm or "backward"]))


fft, ifft, rfft, irfft, hfft, ihfft = map(_along_one_axis, ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft"))
fftn, ifftn, rfftn, irfftn = (_along_axes(name, getattr(numpys, name)) for name in ("fftn", "ifftn", "rfftn", "irfftn"))
fft2, ifft2, rfft2, irfft2 = (_along_axes(f"{n}2", getattr(numpys, f"{n}2"), (-2, -1)) for n in ("fft", "ifft", "rfft", "irfft"))
hfftn, ihfftn = _along_axes("hfftn", _hfftn), _along_axes("ihfftn", _ihfftn)
hfft2, ihfft2 = _along_axes("hfft2", _hfftn, (-2, -1)), _along_axes("ihfft2", _ihfftn, (-2, -1))


# -- cosines and sines -------------------------------------------------------------------------------------------------------


def _edges(kind: str, type: int, n: int) -> tuple:
    """By what the first or last element before and after an orthogonal transform is scaled in the unscaled one, and its length."""
    before, after = np.ones(n), np.ones(n)
    end = 0 if kind == "dct" else -1
    if kind == "dct" and type == 1:
        before[[0, -1]], after[[0, -1]] = np.sqrt(0.5), np.sqrt(2.0)
    elif type == 2:
        after[end] = np.sqrt(2.0)
    elif type == 3:
        before[end] = np.sqrt(0.5)
    period = 2 * n if type != 1 else 2 * (n - 1) if kind == "dct" else 2 * (n + 1)
    return before, after, period


def _transformed(kind: str, x: Any, type: int, n: Any, axis: int, norm: Any, orthogonalize: Any) -> Any:
    x = floating(x)
    axis = axis_of(axis, x.ndim)
    n = x.shape[axis] if n is None else int(n)
    least = 2 if (kind, type) == ("dct", 1) else 1
    if n < least:
        raise ShapeError(
            f"scipy.fft.{kind} of type {type}", got=f"{short(x)}, n={n}", rule=f"n >= {least}", fix="leave short arrays out"
        )
    if type not in OTHER:
        raise ValueError(f"type {type} is none of 1, 2, 3 and 4")
    norm = numpys.norm_of(norm)
    x = numpys.sized(x, n, axis)
    if orthogonalize is None:
        orthogonalize = norm == "ortho"
    before, after, period = _edges(kind, type, n)
    scale = {"backward": period**0.5, "ortho": 1.0, "forward": period**-0.5}[norm]
    real, shape = np.real(x).dtype, (-1, *(1,) * (x.ndim - axis - 1))
    weight = lambda edge: np.reshape(np.ones(n) if orthogonalize else edge, shape).astype(real)
    return cosines(x * weight(before), kind=kind, type=type, axis=axis) * (weight(after) * real.type(scale))


def _one(name: str) -> Callable:
    """A transform of cosines or sines along one axis; an inverse is that of the other type, scaled the other way."""
    kind, inverse = name.removeprefix("i"), name[0] == "i"

    def rule(
        x: Any, type: int = 2, n: Any = None, axis: int = -1, norm: Any = None, overwrite_x: bool = False, workers: Any = None,
        orthogonalize: Any = None,
    ) -> Any:  # fmt: skip
        if inverse:
            type, norm = OTHER.get(type, type), FLIPPED.get(norm or "backward", norm)
        return _transformed(kind, x, type, n, axis, norm, orthogonalize)

    rule.__name__, rule.__doc__ = name, f"`scipy.fft.{name}`; linear, its transpose one of cosines or sines, too."
    return _implements(rule)


def _several(one: Callable) -> Callable:
    """The same along several axes, one after another."""

    def rule(
        x: Any, type: int = 2, s: Any = None, axes: Any = None, norm: Any = None, overwrite_x: bool = False, workers: Any = None,
        *, orthogonalize: Any = None,
    ) -> Any:  # fmt: skip
        if axes is None:
            axes = range(np.ndim(x)) if s is None else range(-len(np.atleast_1d(s)), 0)
        axes = [axes] if isinstance(axes, int) else list(axes)
        lengths = [None] * len(axes) if s is None else list(np.atleast_1d(s))
        for axis, n in zip(axes, lengths, strict=True):
            x = one(x, type, n, axis, norm, orthogonalize=orthogonalize)
        return x

    rule.__name__, rule.__doc__ = f"{one.__name__}n", f"`{one.__name__}` along several axes."
    return _implements(rule)


dct, idct, dst, idst = map(_one, ("dct", "idct", "dst", "idst"))
dctn, idctn, dstn, idstn = map(_several, (dct, idct, dst, idst))


# -- SciPy's own names -----------------------------------------------------------------------------------------------------------


class Backend:
    """What `scipy.fft` asks before it turns arguments into arrays."""

    __ua_domain__ = "numpy.scipy.fft"

    @staticmethod
    def __ua_function__(function: Any, args: tuple, options: dict) -> Any:
        if not holds_node(args) and not holds_node(options.values()):
            return NotImplemented
        rule = RULES.get(function)
        if rule is None:
            raise TraceError(f"scipy.fft.{function.__name__} has no rule in fad", got=", ".join(map(short, args)),
                             rule="Fourier, cosine and sine transforms have", fix="write it with these")  # fmt: skip
        return rule(*args, **options)


scipy.fft.register_backend(Backend)
