"""Sliding-window arithmetic shared by convolution and pooling.

Output position `o` and tap `k` of the window meet at input position `o * stride + k * dilation - pad_low`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from fad.errors import DtypeError, ShapeError

__all__ = ["Windows", "aligned", "check_cotangent", "kernel_dtype", "output_size", "stack_steps", "steps", "strides_of"]

Ints = tuple[int, ...]


def output_size(spatial: tuple, window: tuple, strides: tuple, padding: tuple, dilation: tuple) -> tuple:
    """Spatial shape of the result: (S + lo + hi - dilation (K - 1) - 1) // stride + 1 along each axis."""
    return tuple(
        max(0, (s + lo + hi - d * (k - 1) - 1) // t + 1)
        for s, k, t, (lo, hi), d in zip(spatial, window, strides, padding, dilation, strict=True)
    )


@dataclass(frozen=True)
class Windows:
    """How a window slides over `spatial`, the spatial shape of an input (1 to 3 dimensions)."""

    spatial: Ints
    window: Ints
    strides: Ints
    padding: tuple[tuple[int, int], ...]
    dilation: Ints

    def __post_init__(self) -> None:
        rank = len(self.spatial)
        if rank not in (1, 2, 3):
            raise ShapeError(
                "wrong number of spatial dimensions",
                got=f"{rank} (spatial shape {self.spatial})",
                rule="1, 2 or 3 are supported, and data is laid out (N, *spatial, C)",
            )
        for name in ("window", "strides", "padding", "dilation"):
            if len(getattr(self, name)) != rank:
                raise ShapeError(
                    f"wrong length of {name}", got=getattr(self, name), rule=f"one entry for each of the {rank} spatial dimensions"
                )
        for name in ("window", "strides", "dilation"):
            if min(getattr(self, name)) < 1:
                raise ShapeError(f"{name} out of range", got=getattr(self, name), rule="every entry is at least 1")
        if min(min(pair) for pair in self.padding) < 0:
            raise ShapeError("negative padding", got=self.padding, fix="slice the input to crop it")

    @property
    def output(self) -> Ints:
        """Spatial shape of the output; 0 where the window does not fit."""
        return output_size(self.spatial, self.window, self.strides, self.padding, self.dilation)

    @property
    def sees_only_padding(self) -> bool:
        """Whether some window position holds no input element at all."""
        if 0 in self.output:
            return False
        return any(
            not _meets_input(first, *args) or not _meets_input(last, *args)
            for out, stride, (low, _), *args in zip(
                self.output, self.strides, self.padding, self.spatial, self.window, self.dilation
            )
            for first, last in [(-low, (out - 1) * stride - low)]
        )

    def for_maxima(self) -> Windows:
        """Itself; raises ShapeError where a window has no element that could be the largest."""
        if self.sees_only_padding:
            raise ShapeError(
                "max pooling of nothing: a window lies entirely in padding",
                got=f"spatial shape {self.spatial}, window {self.window}, strides {self.strides}, padding {self.padding}",
                rule="every window must meet the input",
                fix="pad by less than the window's size",
            )
        return self


def _meets_input(start: int, size: int, taps: int, dilation: int) -> bool:
    return any(0 <= start + tap * dilation < size for tap in range(taps))


def kernel_dtype(*arrays: np.ndarray) -> np.dtype:
    """The common dtype of `arrays`, which must be float32 or float64."""
    dtype = np.result_type(*(array.dtype for array in arrays))
    if dtype not in (np.float32, np.float64):
        raise DtypeError(
            "this kernel has no such dtype",
            got=", ".join(str(array.dtype) for array in arrays),
            rule="float32 and float64 are supported",
            fix="x.astype(np.float32)",
        )
    return dtype


def check_cotangent(g: np.ndarray, shape: Ints) -> None:
    """Raise ShapeError unless g has the output's shape."""
    if g.shape != tuple(shape):
        raise ShapeError("the cotangent does not have the output's shape", got=g.shape, rule=f"the output is {shape}")


def strides_of(shape: Sequence[int]) -> Ints:
    """Strides in elements of a C-contiguous array."""
    return tuple(prod(shape[a + 1 :]) for a in range(len(shape)))


def aligned(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """x in this dtype, at addresses that are multiples of its elements' size."""
    x = x.astype(dtype, copy=False)
    return x if x.flags.aligned and not any(s % x.itemsize for s in x.strides) else np.ascontiguousarray(x)


def steps(x: np.ndarray) -> Ints:
    """Strides in elements."""
    return tuple(s // x.itemsize for s in x.strides)


def stack_steps(shape: tuple, strides: tuple) -> int | None:
    """The one distance between neighbours in a stack of matrices, 0 where there is one matrix; None if there are several."""
    step: int | None = None
    for s, n in zip(reversed(strides), reversed(shape), strict=True):
        if n == 1:
            continue
        if step is None:
            step, reach = s, s * n
        elif s != reach:
            return None
        else:
            reach = s * n
    return step or 0
