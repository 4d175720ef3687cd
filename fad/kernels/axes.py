"""The spatial axes of a convolution: where its windows meet the input, and copies of windows that reach beyond it."""

from __future__ import annotations

from math import gcd
from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable

from fad.kernels.pieces import part
from fad.kernels.tile import clear, move
from fad.native.machine_model import FEW_CHANNELS

__all__ = [
    "Axis",
    "copy_window",
    "following",
    "forward_axis",
    "gradient_axis",
    "holds",
    "outputs_inside",
    "outputs_meeting",
    "position",
    "steps",
    "tap_tables",
    "taps_inside",
]


class Axis(NamedTuple):
    """A spatial axis: output i and tap t meet at input i step + start + t spread, if that lies in [0, size)."""

    outputs: int
    size: int
    step: int
    start: int
    spread: int
    taps: int
    x_step: int  # elements from one input to the next
    w_start: int  # and of the weights to the first tap, and from one tap to the next
    w_step: int
    y_start: int
    y_step: int


@register_jitable
def steps(spatial, each):
    """Elements from one place to the next along three axes, if the last one's lie ``each`` apart."""
    return spatial[1] * spatial[2] * each, spatial[2] * each, each


@register_jitable
def forward_axis(outputs, size, taps, stride, low, dilation, x_step, w_step, y_step):
    """Output i and tap t meet at input i stride + t dilation - low."""
    return Axis(outputs, size, stride, -low, dilation, taps, x_step, 0, w_step, 0, y_step)


@register_jitable
def gradient_axis(phase, outputs, size, taps, stride, low, dilation, g_step, w_step, x_step):
    """The gradient at inputs ``phase``, phase + stride, ...: a convolution of g by every few taps, the last one first."""
    common = gcd(stride, dilation)
    every, first = stride // common, 0
    while first < min(taps, every) and (phase + low - first * dilation) % stride:
        first += 1
    count = (taps - 1 - first) // every + 1 if first < min(taps, every) else 0
    last = first + (count - 1) * every
    start = (phase + low - last * dilation) // stride
    return Axis(
        (size - phase + stride - 1) // stride,
        outputs,
        1,
        start,
        dilation // common,
        count,
        g_step,
        last * w_step,
        -every * w_step,
        phase * x_step,
        stride * x_step,
    )


@part
def tap_tables(a, b, c):
    """For each tap, how far on its input and its weights lie, in elements, and its distance along each axis."""
    taps = a.taps * b.taps * c.taps
    x_shift, w_shift, away = np.empty(taps, np.int64), np.empty(taps, np.int64), np.empty((taps, 3), np.int64)
    for t in range(taps):
        i, j, k = t // (b.taps * c.taps), t // c.taps % b.taps, t % c.taps
        away[t, 0], away[t, 1], away[t, 2] = i * a.spread, j * b.spread, k * c.spread
        x_shift[t] = away[t, 0] * a.x_step + away[t, 1] * b.x_step + away[t, 2] * c.x_step
        w_shift[t] = a.w_start + b.w_start + c.w_start + i * a.w_step + j * b.w_step + k * c.w_step
    return x_shift, w_shift, away


@part
def position(row, a, b, c):
    """A row as the indices of its example and its place."""
    plane = b.outputs * c.outputs
    return row // (a.outputs * plane), row // plane % a.outputs, row // c.outputs % b.outputs, row % c.outputs


@part
def following(n, i, j, k, a, b, c):
    """The position after this one."""
    k += 1
    if k == c.outputs:
        j, k = j + 1, 0
        if j == b.outputs:
            i, j = i + 1, 0
            if i == a.outputs:
                n, i = n + 1, 0
    return n, i, j, k


@part
def holds(axis, first):
    """Whether a window that begins there lies inside the axis."""
    return first >= 0 and first + (axis.taps - 1) * axis.spread < axis.size


@part
def taps_inside(axis, first):
    """The taps, from and to, that lie inside of the axis, of a window that begins there."""
    return max(0, -(first // axis.spread)), min(axis.taps, (axis.size - 1 - first) // axis.spread + 1)


@part
def outputs_inside(axis, tap):
    """The outputs, from and to, whose tap lies inside of the axis."""
    at = axis.start + tap * axis.spread
    low = max(0, -(at // axis.step))
    return low, max(low, min(axis.outputs, (axis.size - 1 - at) // axis.step + 1))


@part
def outputs_meeting(axis, low, high):
    """The outputs, from and to, whose windows may meet the inputs from ``low`` up to ``high``."""
    reach = axis.start + (axis.taps - 1) * axis.spread
    return max(0, -((reach - low) // axis.step)), min(axis.outputs, (high - 1 - axis.start) // axis.step + 1)


@part
def copy_window(x, base, i, j, k, a, b, c, away, t, t_end, run_taps, channels, windows, at):
    """The channels at some taps of the window that begins at i, j, k, run by run, and zeros where it is outside of x."""
    for tap in range(t, t_end, run_taps):
        i_x, j_x, k_x = i + away[tap, 0], j + away[tap, 1], k + away[tap, 2]
        low, high = (
            max(0, -k_x),
            min(run_taps, c.size - k_x),
        )  # taps of the run that are inside; a run of several is one of neighbours
        if low < high and 0 <= i_x < a.size and 0 <= j_x < b.size:
            if high - low < run_taps:
                clear(windows, at, run_taps * channels)
            move(
                x,
                base + i_x * a.x_step + j_x * b.x_step + (k_x + low) * c.x_step,
                windows,
                at + low * channels,
                (high - low) * channels,
            )
        else:
            clear(windows, at, run_taps * channels)
        at += run_taps * channels


@part
def copy_windows(x, first, count, base, x_batch, a, b, c, away, t, t_end, run_taps, channels, windows, rows):
    """The windows of ``count`` positions from ``first`` on, one after another. Those of few channels are copied tap by tap for the
    positions of a row together, since runs of a few elements are not worth a call each."""
    n, i, j, k = position(first, a, b, c)
    done = 0
    while done < count:
        beside = min(count - done, c.outputs - k)  # positions of this row
        i_x, j_x, k_x, at = i * a.step + a.start, j * b.step + b.start, k * c.step + c.start, done * rows
        if channels <= FEW_CHANNELS:
            copy_row(x, n * x_batch + base, i_x, j_x, k_x, beside, a, b, c, away, t, t_end, channels, windows, at, rows)
        else:
            for s in range(beside):
                place = k_x + s * c.step
                copy_window(
                    x, n * x_batch + base, i_x, j_x, place, a, b, c, away, t, t_end, run_taps, channels, windows, at + s * rows
                )
        done += beside
        n, i, j, k = following(n, i, j, c.outputs - 1, a, b, c)


@part
def copy_row(x, base, i, j, k, count, a, b, c, away, t, t_end, channels, windows, at, rows):
    """`copy_window` for ``count`` positions of a row."""
    for tap in range(t, t_end):
        i_x, j_x, k_x = i + away[tap, 0], j + away[tap, 1], k + away[tap, 2]
        is_there, to = 0 <= i_x < a.size and 0 <= j_x < b.size, at + (tap - t) * channels
        first = base + i_x * a.x_step + j_x * b.x_step
        for s in range(count):
            place = k_x + s * c.step
            if is_there and 0 <= place < c.size:
                for q in range(channels):
                    windows[to + s * rows + q] = x[first + place * c.x_step + q]
            else:
                for q in range(channels):
                    windows[to + s * rows + q] = 0
