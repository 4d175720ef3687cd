"""`np.pad` with every mode: borders of constants, of elements read again, of statistics, and ramps."""

from __future__ import annotations

from typing import Any

import numpy as np

from fad.core.expr import concrete, short
from fad.errors import ShapeError
from fad.numpy.dispatch import as_array, axis_of, implements, unsupported
from fad.numpy.join import concatenate
from fad.numpy.memory import copied
from fad.numpy.products import matmul
from fad.primitives import shape as primitives
from fad.primitives.elementwise import cast
from fad.primitives.families import as_float

__all__ = ["pad"]

_STATISTICS: dict[str, Any] = {"mean": np.mean, "maximum": np.max, "minimum": np.min, "median": np.median}
_OPTION = {
    "linear_ramp": "end_values",
    "constant": "constant_values",
    "reflect": "reflect_type",
    "symmetric": "reflect_type",
    **dict.fromkeys(_STATISTICS, "stat_length"),
    "empty": None,
    "edge": None,
    "wrap": None,
}


def _pairs(width: Any, ndim: int, what: str) -> list[tuple]:
    """NumPy's ways to give a pair per axis."""
    if isinstance(width, dict):
        per_axis = {axis_of(axis, ndim): pair for axis, pair in width.items()}
        return [tuple(np.broadcast_to(per_axis.get(i, 0), 2).tolist()) for i in range(ndim)]
    try:
        return [tuple(pair) for pair in np.broadcast_to(np.asarray(width), (ndim, 2)).tolist()]
    except ValueError:
        raise ShapeError(
            f"pad: {what} does not fit",
            got=f"{width} for {ndim} axes",
            rule="one number, one pair, or a pair per axis",
            fix="((before, after), ...)",
        ) from None


@implements(np.pad)
def pad(array: Any, pad_width: Any, mode: str = "constant", **options: Any) -> Any:
    """The array with a border, axis after axis.

    Args:
        mode: 'constant' (``constant_values=``), 'linear_ramp' (``end_values=``), 'edge', 'wrap', 'reflect' and 'symmetric'
            (``reflect_type=``), 'mean', 'median', 'maximum' and 'minimum' (``stat_length=``), 'empty' (zeros here).
    """
    x = as_array(array)
    if mode not in _OPTION:
        raise unsupported("pad", f"mode={mode!r}", f"mode {', '.join(_OPTION)}")
    if set(options) - {_OPTION[mode]}:
        raise ValueError(f"unsupported keyword arguments for mode {mode!r}: {set(options)}")
    widths = _pairs(concrete(pad_width, "np.pad's width"), x.ndim, "pad_width")
    if any(w < 0 for pair in widths for w in pair):
        raise ShapeError("pad by a negative width", got=pad_width, rule="a border is not negative", fix="slice: x[1:-1]")
    option = options.get(str(_OPTION[mode]))
    if not any(map(any, widths)):
        return copied(x)
    if mode in ("constant", "empty"):
        return _pad_constant(x, widths, 0 if option is None else option)
    for axis, pair in enumerate(widths):
        if any(pair) and not x.shape[axis]:
            raise ShapeError(
                "pad of an empty axis", got=f"{short(x)}, mode={mode!r}", rule="there is nothing to repeat", fix="mode='constant'"
            )
    if mode == "linear_ramp":
        ends = np.broadcast_to(cast(as_array(0 if option is None else option), as_float(x.dtype)), (x.ndim, 2))
        return _bordered(x, widths, lambda x, axis, side, width: _ramp(x, axis, side, width, ends[axis, side]))
    if mode in _STATISTICS:
        lengths = [(None, None)] * x.ndim if option is None else _pairs(option, x.ndim, "stat_length")
        return _bordered(x, widths, lambda x, axis, side, width: _level(x, axis, side, width, mode, lengths[axis][side]))
    for axis, pair in enumerate(widths):
        if any(pair):
            x = _reread(x, axis, pair, mode, option or "even")
    return x


def _reread(x: Any, axis: int, pair: tuple, mode: Any, reflect_type: Any) -> Any:
    """Borders whose elements are those of x, or, odd about the edges, sums of them."""
    n = x.shape[axis]
    if reflect_type == "even":
        return np.take(x, np.pad(np.arange(n), pair, mode), axis)
    weights = np.pad(np.eye(n), (pair, (0, 0)), mode, reflect_type=reflect_type)
    return np.moveaxis(
        matmul(weights.astype(x.dtype), np.moveaxis(x, axis, 0).reshape(n, -1)).reshape(
            len(weights), *x.shape[:axis], *x.shape[axis + 1 :]
        ),
        0,
        axis,
    )


def _bordered(x: Any, widths: list, border: Any) -> Any:
    """x with ``border(x, axis, side, width)`` before and behind, one axis after another."""
    for axis, pair in enumerate(widths):
        if any(pair):
            before, after = (border(x, axis, side, width) for side, width in enumerate(pair))
            x = concatenate([before, x, after], axis)
    return x


def _at(axis: int, part: slice) -> tuple:
    return (slice(None),) * axis + (part,)


def _ramp(x: Any, axis: int, side: int, width: int, end: Any) -> Any:
    """From an end value to the edge, which it does not reach."""
    edge = cast(x[_at(axis, slice(-1, None) if side else slice(0, 1))], as_float(x.dtype))
    steps: Any = np.arange(width).reshape(-1, *(1,) * (x.ndim - axis - 1))
    steps = (steps[::-1] if side else steps) / max(width, 1)
    ramp = end + (edge - end) * steps.astype(as_float(x.dtype))
    return cast(np.floor(ramp) if x.dtype.kind in "iu" else ramp, x.dtype)


def _level(x: Any, axis: int, side: int, width: int, mode: str, length: int | None) -> Any:
    """A statistic of the elements near one end."""
    n = x.shape[axis]
    length = n if length is None else min(length, n)
    if length == 0:
        raise ValueError("stat_length of 0 yields no value for padding")
    level = _STATISTICS[mode](x[_at(axis, slice(n - length, n) if side else slice(0, length))], axis=axis, keepdims=True)
    level = cast(np.rint(level) if x.dtype.kind in "iu" else level, x.dtype)
    return np.broadcast_to(level, (*x.shape[:axis], width, *x.shape[axis + 1 :]))


def _pad_constant(x: Any, widths: list, values: Any) -> Any:
    if not any(w for pair in widths for w in pair):
        return x
    if isinstance(values, int | float) and values == 0:
        index = tuple(slice(before, before + n) for (before, _), n in zip(widths, x.shape, strict=True))
        shape = tuple(before + n + after for (before, after), n in zip(widths, x.shape, strict=True))
        return primitives.embed(x, index=index, shape=shape)
    values = np.broadcast_to(cast(as_array(values), x.dtype), (x.ndim, 2))
    for axis, pair in enumerate(widths):
        borders = [
            np.broadcast_to(values[axis, side], (*x.shape[:axis], width, *x.shape[axis + 1 :])) for side, width in enumerate(pair)
        ]
        x = concatenate([borders[0], x, borders[1]], axis)
    return x
