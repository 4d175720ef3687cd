"""Which kernel convolves: depthwise, Winograd's, or a windowed product; and the positions that it goes over."""

from __future__ import annotations

import functools
from math import gcd, prod

import numpy as np

from fad.compile.kernels import depthwise
from fad.compile.kernels.recipe import KINDS, Phase, Recipe
from fad.compile.kernels.weight_recipes import Sums, plan_weights
from fad.compile.kernels.window import Axis
from fad.compile.kernels.window_recipes import Factor, Product, merge_axes, plan_windows
from fad.compile.kernels.winograd_recipes import is_3x3, plan_winograd, plan_winograd_weights
from fad.kernels.windows import strides_of
from fad.native import engine

__all__ = ["conv", "conv_input_grad", "conv_weight_grad"]


def positions(
    x_shape: tuple, x_strides: tuple, window: tuple, strides: tuple, padding: tuple, dilation: tuple, output: tuple
) -> list[Axis]:
    """The axes of a convolution's positions: examples, and the output's spatial ones."""
    axes = [Axis(x_shape[0], x_strides[0], size=x_shape[0])]
    for o, s, k, d, (low, _), i, step, tap_step in zip(
        output, strides, window, dilation, padding, x_shape[1:-1], x_strides[1:-1], strides_of(window), strict=True
    ):
        axes.append(Axis(o, step, s, k, d, -low, i, tap_step))
    return axes


@functools.lru_cache(maxsize=1024)
def conv(
    x_shape: tuple,
    x_strides: tuple,
    w_shape: tuple,
    w_strides: tuple,
    dtype: np.dtype,
    strides: tuple,
    padding: tuple,
    dilation: tuple,
    groups: int,
    output: tuple,
    choice: int = 0,
) -> Recipe:
    """x (N, *spatial, C) with w (*window, C / groups, O), both with these strides in elements; w contiguous."""
    kind, window = KINDS[dtype], w_shape[:-2]
    if 1 < groups == x_shape[-1] == w_shape[-1] and (
        spec := depthwise.product(engine.machine(), x_shape, x_strides, window, kind, output, strides, padding, dilation)
    ):
        return Recipe((Phase(spec, (0, 1), last=True),), (), (x_shape[0], *output, groups))
    depth, width = w_shape[-2], w_shape[-1] // groups
    if is_3x3(window, strides, dilation, groups) and (
        made := plan_winograd(
            x_shape, x_strides, tuple(low for low, _ in padding), output, width, (depth * width, width, 1), False, kind, choice
        )
    ):
        return Recipe(tuple(made[0]), tuple(made[1]), (x_shape[0], *output, width))
    axes = positions(x_shape, x_strides, window, strides, padding, dilation, output)
    whole = merge_axes(axes)
    merged = len(whole) == 1
    axes = whole if merged else axes
    w = Factor(width, depth * width * groups, width * groups, 1)
    product = Product(kind, prod(window), depth, x_strides[-1], width, w, groups, depth * x_strides[-1])
    phases, scratch = plan_windows([axes], [0], product, choice)
    return Recipe(tuple(phases), tuple(scratch), (x_shape[0], *output, w_shape[-1]), joins=(len(x_shape) - 1, 1) if merged else ())


@functools.lru_cache(maxsize=1024)
def conv_input_grad(
    g_shape: tuple,
    g_strides: tuple,
    w_shape: tuple,
    w_strides: tuple,
    dtype: np.dtype,
    input_shape: tuple,
    strides: tuple,
    padding: tuple,
    dilation: tuple,
    groups: int,
    choice: int = 0,
) -> Recipe:
    """g (N, *output, O) with w (*window, C / groups, O), contiguous. Input positions with one remainder by the stride are a
    windowed product with some of the taps."""
    kind, window = KINDS[dtype], w_shape[:-2]
    if 1 < groups == input_shape[-1] == w_shape[-1] and (
        spec := depthwise.input_grad(engine.machine(), g_shape, g_strides, window, kind, input_shape, strides, padding, dilation)
    ):
        return Recipe((Phase(spec, (0, 1), last=True),), (), input_shape)
    width, depth = w_shape[-2], w_shape[-1] // groups
    if is_3x3(window, strides, dilation, groups) and (
        made := plan_winograd(
            g_shape,
            g_strides,
            tuple(2 - low for low, _ in padding),
            input_shape[1:-1],
            width,
            (width * depth, 1, depth),
            True,
            kind,
            choice,
        )
    ):
        return Recipe(tuple(made[0]), tuple(made[1]), input_shape)
    tap_steps = strides_of(window)
    options: list[list[tuple[Axis, int]]] = [[(Axis(g_shape[0], g_strides[0], size=g_shape[0]), 0)]]
    for o, s, k, d, (low, _), i, step, tap_step in zip(
        g_shape[1:-1], strides, window, dilation, padding, input_shape[1:-1], g_strides[1:-1], tap_steps, strict=True
    ):
        options.append([remainder(r, o, s, k, d, low, i, step, tap_step) for r in range(min(s, i))])
    sets: list[list[Axis]] = [[]]
    firsts = [0]
    for option in options:
        sets, firsts = ([[*axes, a] for axes in sets for a, _ in option], [f + first for f in firsts for _, first in option])
    merged = len(sets) == 1 and len(merge_axes(sets[0])) == 1
    sets = [merge_axes(sets[0])] if merged else sets
    w = Factor(depth, width * depth * groups, 1, depth * groups)
    product = Product(kind, prod(window), depth, g_strides[-1], width, w, groups, depth * g_strides[-1])
    phases, scratch = plan_windows(sets, firsts, product, choice)
    return Recipe(tuple(phases), tuple(scratch), input_shape, joins=(len(g_shape) - 1, 1) if merged else ())


def remainder(r: int, outputs: int, stride: int, taps: int, dilation: int, low: int, size: int, step: int, tap_step: int) -> tuple:
    """The axis of the input positions r, r + stride, ..., and the tap with which it begins."""
    meeting = [k for k in range(taps) if (r + low - k * dilation) % stride == 0]
    apart = stride // gcd(stride, dilation)
    first = meeting[0] if meeting else 0
    axis = Axis(
        -(-(size - r) // stride),
        step,
        1,
        len(meeting),
        -(dilation * apart // stride),
        (r + low - first * dilation) // stride,
        outputs,
        tap_step * apart,
        0,
        r,
        stride,
    )
    return axis, first * tap_step


@functools.lru_cache(maxsize=1024)
def conv_weight_grad(
    x_shape: tuple,
    x_strides: tuple,
    g_shape: tuple,
    g_strides: tuple,
    dtype: np.dtype,
    window: tuple,
    strides: tuple,
    padding: tuple,
    dilation: tuple,
    groups: int,
    choice: int = 0,
) -> Recipe:
    """x (N, *spatial, C) and g (N, *output, O), whose last axis is contiguous."""
    if 1 < groups == x_shape[-1] == g_shape[-1] and (
        spec := depthwise.weight_grad(
            engine.machine(), x_shape, x_strides, g_shape, g_strides, window, KINDS[dtype], strides, padding, dilation
        )
    ):
        sums = spec.chunks * prod(window) * groups
        return Recipe((Phase(spec, (0, 1, -1), last=spec.chunks == 1),), (sums,), (*window, 1, groups), spec.chunks)
    if is_3x3(window, strides, dilation, groups) and (
        made := plan_winograd_weights(
            x_shape, x_strides, g_shape, g_strides, tuple(low for low, _ in padding), KINDS[dtype], choice
        )
    ):
        return made
    axes, steps = positions(x_shape, x_strides, window, strides, padding, dilation, g_shape[1:-1]), list(g_strides[:-1])
    whole = merge_axes(axes)
    if len(whole) == 1 and all(steps[j] == steps[j + 1] * axes[j + 1].extent for j in range(len(axes) - 1)):
        axes, steps = whole, steps[-1:]
    depth, width = x_shape[-1] // groups, g_shape[-1] // groups
    sums = Sums(KINDS[dtype], depth, x_strides[-1], width, groups, depth * x_strides[-1], width)
    return plan_weights(axes, steps, sums, (*window, depth, g_shape[-1]), window, choice)
