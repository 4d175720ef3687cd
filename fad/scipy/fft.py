"""`scipy.fft` on nodes: Fourier transforms are those of `fad.numpy.fft`, cosine and sine transforms scale an orthogonal one.

SciPy's functions are multimethods of uarray: a backend registered with SciPy takes the calls in which there is a node, and leaves
all others to SciPy.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.fft
from scipy.fft import fftfreq, next_fast_len, rfftfreq

from fad.core.expr import short
from fad.errors import ShapeError, TraceError
from fad.numpy import fft as of_numpy
from fad.numpy.dispatch import as_array, axis_of, floating, front, holds_node
from fad.primitives import fft as primitives
from fad.scipy.source import implements

_ONE_AXIS = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")
_PLANES = ("fft2", "ifft2", "rfft2", "irfft2", "hfft2", "ihfft2")
_AXES = ("fftn", "ifftn", "rfftn", "irfftn", "hfftn", "ihfftn")
_REAL = ("dct", "idct", "dst", "idst", "dctn", "idctn", "dstn", "idstn")

__all__ = [*_ONE_AXIS, *_PLANES, *_AXES, *_REAL, "fftshift", "ifftshift", "fftfreq", "rfftfreq", "next_fast_len"]

_RULES: dict[str, Callable] = {}  # by the name of SciPy's function


class _Nodes:
    """The backend that takes calls with nodes."""

    __ua_domain__ = "numpy.scipy.fft"

    @staticmethod
    def __ua_function__(method: Any, args: tuple, options: dict) -> Any:
        if not holds_node(args) and not holds_node(options.values()):
            return NotImplemented
        return _RULES[method.__name__](*args, **options)


def _public(name: str, rule: Callable) -> Callable:
    """The function of this name: the rule where an argument is a node, else SciPy's."""
    rule.__name__, rule.__doc__ = name, f"`scipy.fft.{name}`, of arrays and nodes."
    _RULES[name] = front(rule, getattr(scipy.fft, name))
    return _RULES[name]


def _tuple(numbers: Any) -> Any:
    """SciPy takes one number for a tuple of one."""
    return numbers if numbers is None or isinstance(numbers, tuple | list) else (operator.index(numbers),)


# -- Fourier transforms ----------------------------------------------------------------------------


def _along_one(transform: Callable) -> Callable:
    def rule(
        x: Any, n: Any = None, axis: int = -1, norm: Any = None, overwrite_x: bool = False, workers: Any = None, *, plan: Any = None
    ) -> Any:
        return transform(x, n, axis, norm)

    return rule


def _along_several(transform: Callable, axes: Any) -> Callable:
    default = axes

    def rule(
        x: Any,
        s: Any = None,
        axes: Any = default,
        norm: Any = None,
        overwrite_x: bool = False,
        workers: Any = None,
        *,
        plan: Any = None,
    ) -> Any:
        return transform(x, _tuple(s), _tuple(axes), norm)

    return rule


def _hfftn(x: Any, s: Any, axes: Any, norm: Any) -> Any:
    """The real transform of an array of which half is given, the other half being conjugate to it."""
    return of_numpy.irfftn(np.conj(as_array(x)), s, axes, primitives.FLIPPED[norm or "backward"])


def _ihfftn(x: Any, s: Any, axes: Any, norm: Any) -> Any:
    return np.conj(of_numpy.rfftn(x, s, axes, primitives.FLIPPED[norm or "backward"]))


for _name in _ONE_AXIS:
    globals()[_name] = _public(_name, _along_one(getattr(of_numpy, _name)))
for _name in (*_PLANES, *_AXES):
    _transform = {"hfft": _hfftn, "ihfft": _ihfftn}.get(_name[:-1]) or getattr(of_numpy, _name[:-1] + "n")
    globals()[_name] = _public(_name, _along_several(_transform, (-2, -1) if _name in _PLANES else None))


# -- cosine and sine transforms --------------------------------------------------------------------

_INVERSE = {1: 1, 2: 3, 3: 2, 4: 4}
# Where transforms without `orthogonalize` differ from orthogonal ones by the root of 2: (at the input, at the output)
_ENDS: dict[tuple, tuple] = {
    ("dct", 1): ((0, -1), (0, -1)),
    ("dct", 2): ((), (0,)),
    ("dct", 3): ((0,), ()),
    ("dst", 2): ((), (-1,)),
    ("dst", 3): ((-1,), ()),
}


def _ends(x: Any, axis: int, places: tuple, factor: float) -> Any:
    """x with the elements at these places of an axis times a factor."""
    if not places:
        return x
    scale = np.ones(x.shape[axis], np.empty(0, x.dtype).real.dtype)
    scale[list(places)] = factor
    return x * scale.reshape(-1, *(1,) * (x.ndim - axis - 1))


def _one(x: Any, kind: str, type: int, n: Any, axis: int, norm: Any, orthogonalize: Any) -> Any:
    """A cosine or sine transform along one axis: an orthogonal matrix between two diagonal ones, times a number."""
    x = floating(x)
    axis = axis_of(axis, x.ndim)
    x = of_numpy._sized(x, x.shape[axis] if n is None else operator.index(n), axis)
    size = x.shape[axis]
    if kind == "dct" and type == 1 and size < 2:
        raise ShapeError("a DCT-I of one number", got=short(x), rule="lengths are at least 2", fix="another type, or n=2")
    before, after = _ENDS.get((kind, type), ((), ())) if not orthogonalize else ((), ())
    y = primitives.trigonometric(_ends(x, axis, before, 0.5**0.5), kind=kind, type=type, axis=axis)
    period = 2 * (size + {"dct": -1, "dst": 1}[kind] if type == 1 else size)
    return _ends(y, axis, after, 2**0.5) * period ** {"backward": 0.5, "ortho": 0.0, "forward": -0.5}[norm]


def _checked(type: int, norm: Any, inverse: bool, orthogonalize: Any) -> tuple:
    if type not in _INVERSE or (norm is not None and norm not in primitives.FLIPPED):
        raise ValueError(f"type {type}, norm {norm!r}: types are 1 to 4, norms None, 'backward', 'ortho' and 'forward'")
    norm = norm or "backward"
    orthogonalize = norm == "ortho" if orthogonalize is None else orthogonalize
    return (_INVERSE[type], primitives.FLIPPED[norm], orthogonalize) if inverse else (type, norm, orthogonalize)


def _real_transform(kind: str, inverse: bool) -> Callable:
    def rule(
        x: Any,
        type: int = 2,
        n: Any = None,
        axis: int = -1,
        norm: Any = None,
        overwrite_x: bool = False,
        workers: Any = None,
        orthogonalize: Any = None,
    ) -> Any:
        type, norm, orthogonalize = _checked(type, norm, inverse, orthogonalize)
        return _one(x, kind, type, n, axis, norm, orthogonalize)

    return rule


def _real_transforms(kind: str, inverse: bool) -> Callable:
    def rule(
        x: Any,
        type: int = 2,
        s: Any = None,
        axes: Any = None,
        norm: Any = None,
        overwrite_x: bool = False,
        workers: Any = None,
        orthogonalize: Any = None,
    ) -> Any:
        type, norm, orthogonalize = _checked(type, norm, inverse, orthogonalize)
        x = as_array(x)
        for axis, n in zip(*of_numpy._lengths(x, _tuple(s), _tuple(axes)), strict=True):
            x = _one(x, kind, type, n, axis, norm, orthogonalize)
        return x

    return rule


for _name in _REAL:
    _make = _real_transforms if _name.endswith("n") else _real_transform
    globals()[_name] = _public(_name, _make("dct" if "dct" in _name else "dst", _name.startswith("i")))


# -- what has no rule, and order -------------------------------------------------------------------


def _refused(name: str) -> Callable:
    def rule(*args: Any, **options: Any) -> Any:
        raise TraceError(
            f"scipy.fft.{name} has no rule in fad",
            got=short(args[0]) if args else None,
            rule="its coefficients are made of the parameters, in SciPy's own code",
            fix="rfft and irfft with scipy.fft's fhtcoeff",
        )

    return rule


for _name in ("fht", "ifht"):
    _public(_name, _refused(_name))


@implements(scipy.fft.fftshift)
def fftshift(x: Any, axes: Any = None) -> Any:
    """The spectrum with frequency 0 in the middle."""
    return of_numpy.fftshift(x, axes)


@implements(scipy.fft.ifftshift)
def ifftshift(x: Any, axes: Any = None) -> Any:
    """The inverse of `fftshift`."""
    return of_numpy.ifftshift(x, axes)


scipy.fft.register_backend(_Nodes)
