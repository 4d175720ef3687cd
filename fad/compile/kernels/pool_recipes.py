"""Pooling over windows of the 1, 2 or 3 spatial axes of data laid out (N, *spatial, C).

    max_pool(x)          the largest element of every window
    max_pool_push(x, t)  the element of t where the window of x has its first maximum
    max_pool_grad(x, g)  the transpose of that by t: g added to the first maximum of its window of x
    sum_pool(x), sum_pool_grad(g)

A NaN is larger than any number, as for np.argmax, and padding never wins. The code is in `pooling`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from fad.compile.kernels.pooling import Fold, Plane, Share, Side, Spread
from fad.compile.kernels.recipe import KINDS, Phase, Recipe, run
from fad.errors import ShapeError
from fad.kernels.windows import Ints, Windows, aligned, check_cotangent, kernel_dtype, steps
from fad.native.machine_model import KERNEL_PIECE_WORK, KERNEL_PIECES

__all__ = ["RECIPES", "max_pool", "max_pool_grad", "max_pool_push", "sum_pool", "sum_pool_grad"]

Padding = tuple[tuple[int, int], ...]
TWICE = 16  # elements of a window that stay in the first cache


# -- on arrays -----------------------------------------------------------------------------------------------------------


def max_pool(x: np.ndarray, window: Ints, strides: Ints, padding: Padding) -> np.ndarray:
    """The largest element of each window, of shape (N, *output, C); NaN where there is one.

    Raises ShapeError where a window lies in padding alone, DtypeError unless float32 or float64.

    >>> max_pool(np.array([[[1.0], [3.0], [3.0], [2.0]]]), (2,), (2,), ((0, 0),)).ravel()
    array([3., 3.])
    """
    dtype, shape = kernel_dtype(x), _output_of_max(x.shape, window, strides, padding)
    return _run("max_pool", shape, dtype, [x], window, strides, padding)


def max_pool_push(x: np.ndarray, t: np.ndarray, window: Ints, strides: Ints, padding: Padding) -> np.ndarray:
    """The element of t at the first maximum of each window of x. Raises as `max_pool`.

    >>> max_pool_push(np.array([[[1.0], [3.0], [3.0], [2.0]]]), np.arange(4.0).reshape(1, 4, 1), (2,), (2,), ((0, 0),)).ravel()
    array([1., 2.])
    """
    dtype, shape = kernel_dtype(x, t), _output_of_max(x.shape, window, strides, padding)
    if t.shape != x.shape:
        raise ShapeError("the tangent does not have the input's shape", got=t.shape, rule=f"the input is {x.shape}")
    return _run("max_pool_push", shape, dtype, [x, t], window, strides, padding).astype(t.dtype, copy=False)


def max_pool_grad(x: np.ndarray, g: np.ndarray, window: Ints, strides: Ints, padding: Padding) -> np.ndarray:
    """The x_bar with <g, max_pool_push(x, t)> = <x_bar, t> for every t. Raises as `max_pool`.

    >>> max_pool_grad(np.array([[[1.0], [3.0], [3.0], [2.0]]]), np.array([[[4.0], [5.0]]]), (2,), (2,), ((0, 0),)).ravel()
    array([0., 4., 5., 0.])
    """
    dtype = kernel_dtype(x, g)
    check_cotangent(g, _output_of_max(x.shape, window, strides, padding))
    return _run("max_pool_grad", x.shape, dtype, [x, g], window, strides, padding).astype(g.dtype, copy=False)


def sum_pool(x: np.ndarray, window: Ints, strides: Ints, padding: Padding) -> np.ndarray:
    """Sum of each window, padding counting as 0, in the dtype of x and of shape (N, *output, C).

    >>> sum_pool(np.array([[[1.0], [3.0], [3.0], [2.0]]]), (2,), (2,), ((0, 0),)).ravel()
    array([4., 5.])
    """
    shape = (x.shape[0], *_windows(x.shape, window, strides, padding).output, x.shape[-1])
    return _run("sum_pool", shape, kernel_dtype(x), [x], window, strides, padding)


def sum_pool_grad(g: np.ndarray, input_shape: Ints, window: Ints, strides: Ints, padding: Padding) -> np.ndarray:
    """The x_bar of shape `input_shape` with <g, sum_pool(x)> = <x_bar, x> for every x.

    >>> sum_pool_grad(np.array([[[4.0], [5.0]]]), (1, 4, 1), (2,), (2,), ((0, 0),)).ravel()
    array([4., 4., 5., 5.])
    """
    windows = _windows(input_shape, window, strides, padding)
    check_cotangent(g, (input_shape[0], *windows.output, input_shape[-1]))
    return _run("sum_pool_grad", tuple(input_shape), kernel_dtype(g), [g], window, strides, padding, input_shape=tuple(input_shape))


def _windows(shape: Ints, window: Ints, strides: Ints, padding: Padding) -> Windows:
    return Windows(tuple(shape[1:-1]), tuple(window), tuple(strides), padding, (1,) * len(window))


def _output_of_max(shape: Ints, window: Ints, strides: Ints, padding: Padding) -> Ints:
    return (shape[0], *_windows(shape, window, strides, padding).for_maxima().output, shape[-1])


def _run(
    name: str, shape: Ints, dtype: np.dtype, operands: list, window: Ints, strides: Ints, padding: Padding, **more: Any
) -> np.ndarray:
    if not all(a.size for a in operands) or not prod(shape):
        return np.zeros(shape, dtype)
    operands = [aligned(a, dtype) for a in operands]
    recipe = RECIPES[name](
        tuple(a.shape for a in operands),
        tuple(map(steps, operands)),
        dtype,
        window=tuple(window),
        strides=tuple(strides),
        padding=tuple((int(lo), int(hi)) for lo, hi in padding),
        **more,
    )
    return run(recipe, operands, dtype)


# -- recipes ---------------------------------------------------------------------------------------------------------------


def recipe(make: Callable) -> Callable:
    """A recipe by the operands' shapes and steps in elements, the dtype and the parameters of the primitive."""

    @functools.lru_cache(maxsize=1024)
    def cached(
        shapes: tuple,
        steps: tuple,
        dtype: np.dtype,
        *,
        window: Ints,
        strides: Ints,
        padding: Padding,
        input_shape: Ints | None = None,
    ) -> Recipe:
        shape = input_shape or shapes[0]
        windows = _windows(shape, window, strides, padding)
        sides = tuple(
            Side(i, o, k, s, low)
            for i, o, k, s, (low, _) in zip(shape[1:-1], windows.output, window, strides, padding, strict=True)
        )
        return make(Plane(sides, shape[0], shape[-1], KINDS[dtype]), steps)

    return cached


def folded(what: str) -> Callable:
    """The recipe of a fold."""

    def make(plane: Plane, steps: tuple) -> Recipe:
        return Recipe((Phase(share(Fold(plane, what, steps)), tuple(range(len(steps))), last=True),), (), plane.output)

    return recipe(make)


@recipe
def sum_pool_grad_recipe(plane: Plane, steps: tuple) -> Recipe:
    """Windows summed by the inputs they hold."""
    return Recipe((Phase(share(Spread(plane, steps[0])), (0,), last=True),), (), plane.input)


@recipe
def max_pool_grad_recipe(plane: Plane, steps: tuple) -> Recipe:
    """Windows that overlap, or are too large to look at them twice, are first folded to the number of the first maximum."""
    taps = prod(side.taps for side in plane.sides)
    if taps <= TWICE and all(side.stride >= side.taps for side in plane.sides):
        return Recipe((Phase(share(Share(plane, steps)), (0, 1), last=True),), (), plane.input)
    codes = "i8" if taps <= 1 << 8 and plane.channels % 4 == 0 else "i16" if taps <= 1 << 16 and plane.channels % 2 == 0 else "i32"
    size = -(-prod(plane.output) * int(codes[1:]) // (8 * plane.itemsize))
    phases = (
        Phase(share(Fold(plane, "code", steps[:1], codes)), (0, -1)),
        Phase(share(Spread(plane, steps[1], codes)), (1, -1), last=True),
    )
    return Recipe(phases, (size,), plane.input)


def share(spec: Any) -> Any:
    """A spec whose rows are cut where there are few of them."""
    shares = min(spec.units, -(-KERNEL_PIECES // spec.rows), int(spec.work / spec.rows / KERNEL_PIECE_WORK))
    return replace(spec, shares=max(1, shares))


RECIPES = {
    "max_pool": folded("max"),
    "max_pool_push": folded("push"),
    "sum_pool": folded("sum"),
    "sum_pool_grad": sum_pool_grad_recipe,
    "max_pool_grad": max_pool_grad_recipe,
}
