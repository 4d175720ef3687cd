"""Arithmetic of sliding windows, written once for the functions of `fad.nn` and the layers of `fad.stax`.

Strides, dilations and windows are one integer or one for each spatial axis. Padding is "SAME" (outputs ceil(size / stride)),
"VALID" (none), one integer, or for each axis an integer or a pair (low, high). Negative padding crops.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fad.errors import ShapeError
from fad.kernels.windows import output_size

__all__ = ["crop", "extend", "padding_pairs", "per_axis", "slide", "spread"]

Ints = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]
_RULE = 'it is "SAME", "VALID", one integer, or for each of {n} spatial axes an integer or a pair (low, high)'


def per_axis(name: str, value: Any, n: int) -> Ints:
    """One integer, at least 1, for each of n axes.

    >>> per_axis("strides", 2, 3)
    (2, 2, 2)
    """
    values = (value,) * n if _is_int(value) else tuple(value) if np.iterable(value) else (value,)
    if len(values) != n or not all(_is_int(v) and v >= 1 for v in values):
        raise ShapeError(
            f"{name} does not fit", got=repr(value), fix="give one integer, or one for each axis",
            rule=f"one integer of at least 1 for each of the {n} dimensions of the window, or one for all",
        )  # fmt: skip
    return tuple(map(int, values))


def padding_pairs(name: str, padding: Any, spatial: Ints, window: Ints, strides: Ints, dilation: Ints) -> Pairs:
    """Padding as pairs (low, high); for "SAME" the odd zero comes last.

    >>> padding_pairs("padding", "same", (5, 5), (3, 2), (1, 1), (1, 1))
    ((1, 1), (0, 1))
    """
    n = len(window)
    kind = padding.upper() if isinstance(padding, str) else None
    if kind == "VALID":
        return ((0, 0),) * n
    if kind == "SAME":
        sizes = zip(spatial, window, strides, dilation, strict=True)
        totals = [max((-(-s // t) - 1) * t + d * (k - 1) + 1 - s, 0) for s, k, t, d in sizes]
        return tuple((total // 2, total - total // 2) for total in totals)
    entries = (padding,) * n if _is_int(padding) else tuple(padding) if kind is None and np.iterable(padding) else ()
    pairs = tuple((p, p) if _is_int(p) else tuple(p) if np.iterable(p) else () for p in entries)
    if len(pairs) != n or any(len(pair) != 2 or not all(map(_is_int, pair)) for pair in pairs):
        raise ShapeError(name, got=repr(padding), rule=_RULE.format(n=n), fix='"SAME", or one pair for each axis')
    return tuple((int(low), int(high)) for low, high in pairs)


def slide(spatial: Ints, window: Ints, strides: Ints, padding: Pairs, dilation: Ints) -> Ints:
    """Number of positions along each axis, at least 1; raises ShapeError where the window does not fit."""
    spans = tuple((k - 1) * d + 1 for k, d in zip(window, dilation))
    if any(s + low + high < span for s, span, (low, high) in zip(spatial, spans, padding)):
        raise ShapeError(
            f"a window that spans {spans} does not fit", got=f"spatial shape {spatial} with padding {padding}",
            fix='padding="SAME", a smaller window, or fewer layers that shrink the input',
        )  # fmt: skip
    return output_size(spatial, window, strides, padding, dilation)


def spread(name: str, padding: Any, spatial: Ints, window: Ints, strides: Ints, dilation: Ints) -> tuple[Ints, Pairs, Pairs]:
    """A transposed convolution: its spatial shape, the padding of the convolution it transposes, the zeros that follow."""
    same = isinstance(padding, str) and padding.upper() == "SAME"
    whole = tuple(s * t if same else (s - 1) * t + d * (k - 1) + 1
                  for s, k, t, d in zip(spatial, window, strides, dilation, strict=True))  # fmt: skip
    pairs, zeros = _signs(padding_pairs(name, padding, whole, window, strides, dilation))
    inner = whole if same else tuple(s - low - high for s, (low, high) in zip(whole, pairs, strict=True))
    if min(inner) < 0:
        raise ShapeError(f"{name} is larger than the result", got=f"{pairs} for spatial shape {spatial}",
                         rule="the result would have a negative size", fix="use less padding")  # fmt: skip
    return inner, pairs, zeros


def crop(name: str, x: Any, padding: Pairs) -> tuple[Any, Pairs]:
    """x (N, *spatial, C) without what negative padding cuts off, and the padding that is left."""
    padding, cut = _signs(padding)
    if not any(map(any, cut)):
        return x, padding
    ends = [(low, s - high) for s, (low, high) in zip(x.shape[1:-1], cut, strict=True)]
    if any(first > last for first, last in ends):
        raise ShapeError(f"{name}: negative padding cuts off more than there is", got=f"{cut} of {x.shape[1:-1]}",
                         rule="padding of -1 drops one element", fix="use less negative padding")  # fmt: skip
    return x[(slice(None), *(slice(*pair) for pair in ends), slice(None))], padding


def extend(y: Any, zeros: Pairs) -> Any:
    """y (N, *spatial, C) with so many zeros around it: the transpose of `crop`."""
    return np.pad(y, [(0, 0), *zeros, (0, 0)]) if any(map(any, zeros)) else y


def _signs(padding: Pairs) -> tuple[Pairs, Pairs]:
    """What padding adds, and what negative padding takes away."""
    return (tuple((max(low, 0), max(high, 0)) for low, high in padding),
            tuple((max(-low, 0), max(-high, 0)) for low, high in padding))  # fmt: skip


def _is_int(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
