"""Recipes: which specs, in which order, make a product or a convolution. The choices are a cost model, checked by measurement.

A recipe names its buffers by number: operands from 0, scratch memory from -1 downwards. It runs by itself (`run`), as
eager code wants it, and the compiler takes its phases into a program, where other code follows on the result in registers.
"""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass, replace
from math import gcd, prod
from typing import Any

import numpy as np

from fad.compile.kernels import depthwise
from fad.compile.kernels.pack import Pack
from fad.compile.kernels.threefry_native import Threefry
from fad.compile.kernels.weights import Weights, joins_taps
from fad.compile.kernels.window import Axis, Window, tiles
from fad.compile.kernels.winograd import PLACES, Filters, Tiling, Winograd, gains
from fad.compile.kernels.winograd_weights import Restored, Summed
from fad.kernels.windows import stack_steps, strides_of
from fad.native import engine
from fad.native.ir import KINDS as NAMES
from fad.native.ir import Block, Module, Value, itemsize, write
from fad.native.launch import launcher
from fad.native.threads import get_num_threads
from fad.native.tile import Epilogue, Tile, at, panels_of, ranked_tiles, rounded, store

__all__ = [
    "Phase",
    "Recipe",
    "conv",
    "conv_input_grad",
    "conv_weight_grad",
    "fill",
    "grain",
    "matmul",
    "random_bits",
    "run",
    "strides_of",
]

KINDS = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}

TURNED = 128  # rows from which weights that lie the wrong way are turned, not read along the depth
DEEP = 1024  # depth of a product of a transposed matrix up to which sums stay in registers from its beginning to its end
FEW_COLUMNS = 32  # with which they do not
ROWS = 4  # of a product that reads each weight for few multiplications
THIN, WIDE = 256, 1 << 21  # rows and bytes of a product of few rows with many weights, which are then read in blocks
REUSE = 256  # rows from which a copy of the weights pays
NEAR = 3 << 18  # bytes of weights that stay in the second cache
BLOCK = 1 << 18  # bytes that one block of positions reads
PIECES = 64  # of work, so that threads end together
LEAST = 200_000  # operations of a piece
GRAIN = 600_000  # operations that a thread takes at once
SHORTEST = 256  # positions along the last axis that are not cut
PARTS = 16  # pieces of a gradient by weights
FEW_ROWS = 16  # from which a copy of few columns pays
FEW_TILES = 24  # that are transformed at a time; twice as many where filters take more bytes than this
SHARED = 6 << 20
ROOM = 1 << 24  # bytes that pieces of work have for themselves, all together, if threads are few
SUMMED = 96  # tiles that are transformed at a time for a gradient by weights
DIRECT = 2  # choice from which a convolution is made as it is defined
LEAST_TILES = 8  # that a share has


@dataclass(frozen=True)
class Phase:
    """A spec and the buffers it works on; the last one of them may be where an epilogue stores."""

    spec: Any
    buffers: tuple[int, ...]
    last: bool = False  # whether it makes the result, by way of the epilogue


@dataclass(frozen=True)
class Recipe:
    """Phases in order. Where there are several ``chunks``, the last scratch buffer holds as many results, whose sum is the
    result; otherwise the phases marked ``last`` give it to the epilogue."""

    phases: tuple[Phase, ...]
    scratch: tuple[int, ...]  # elements of scratch buffers -1, -2, ...
    shape: tuple
    chunks: int = 1
    joins: tuple[int, ...] = ()  # how many axes of the result each entry of the epilogue's index counts; (): one each


def grain(spec: Any) -> int:
    """Pieces that a thread takes at once; there are eight portions or more."""
    return max(1, min(int(spec.pieces * GRAIN / max(spec.work, 1)), -(-spec.pieces // 8)))


# -- windowed products ---------------------------------------------------------------------------------------------------


def chosen_tile(each: int, rows: int, width: int, choice: int, row_bytes: int = 0) -> Tile:
    """The tile that the cost model likes best, or next to it by ``choice``, for elements of so many bytes."""
    found = ranked_tiles(engine.machine(), each, rows, width, row_bytes)
    return found[min(choice, len(found) - 1)]


def merged_axes(axes: list[Axis]) -> list[Axis]:
    """Neighbouring axes without windows that memory does not tell apart, as one."""
    found = [axes[0]]
    for axis in axes[1:]:
        before = found[-1]
        plain = all(
            a.taps == 1 and a.inside and a.offset == 0 and (a.first, a.apart, a.w_step) == (0, 1, 0) for a in (before, axis)
        )
        if plain and before.step * before.stride == axis.step * axis.stride * axis.extent:
            found[-1] = Axis(
                before.extent * axis.extent, axis.step, axis.stride, size=(before.extent * axis.extent - 1) * axis.stride + 1
            )
        else:
            found.append(axis)
    return found


def windows(
    sets: list[list[Axis]],
    depth: int,
    depth_step: int,
    width: int,
    groups: int,
    x_group: int,
    kind: str,
    w: tuple[int, int, int, int],
    firsts: list[int],
    taps: int,
    stack: int = 1,
    choice: int = 0,
) -> tuple[list, list]:
    """Phases that make windowed products with one and the same w, whose distances are (group, tap, channel, column); the
    tile is the one that the cost model likes best, or next to it by ``choice``."""
    machine, each = engine.machine(), itemsize(kind)
    rows = max(prod(a.extent for a in axes) for axes in sets) // stack
    widest = max(sets, key=lambda axes: axes[-1].extent)[-1]
    tile = chosen_tile(each, widest.extent, width, choice, widest.step * widest.stride * each)
    lanes = machine.vector_bytes // each
    across = 0
    if depth_step == w[2] == 1:
        turning = w[3] != 1 and rows < TURNED  # w lies the wrong way, and is not used often enough to be turned
        across = min(lanes, depth) if turning and depth >= 4 * lanes else along_depth(width, depth, taps, lanes)
    elif depth_step == 1 and w[3] == groups == stack == 1 and width <= lanes // 2 and rows >= FEW_ROWS:
        across = along_depth(width, depth, taps, lanes)  # of a copy of w
    phases, scratch, source = [], [], 1
    if across:
        columns = min(width, machine.registers // 2 - 1, lanes if width <= lanes else 4 if widest.extent > 2 else 8)
        tile = Tile(min((machine.registers - columns - 1) // columns, widest.extent), columns, 1)
        vector = across if w[2] == 1 else taps * width * across  # elements of w from one vector to the next
        if w[2] != 1:
            phases.append(Phase(Pack(1, taps, width, depth, (0, w[1], w[3], w[2]), 1, across, kind), (1, -1)))
            scratch.append(phases[0].spec.size)
            source, w = -1, (0, width * across, vector, across)
        w = (*w[:2], vector, w[3])
    size = taps * depth * width * each
    odd = width % tile.lanes or width > tile.vectors * tile.lanes  # rows of w as they lie are slow to read
    often = rows >= (REUSE if width > tile.lanes else 32)
    packed = not across and bool(w[3] != 1 or (often and taps * depth >= 16 and odd))
    axes_of = lambda axes: axes
    if packed:
        pack = Pack(groups * stack, taps, depth, width, w, tile.vectors, tile.lanes, kind)
        phases.append(Phase(pack, (1, -1)))
        scratch.append(pack.size)
        source = -1
        moved = taps * depth * pack.columns
        axes_of = lambda axes: [a if not a.w_step else replace(a, w_step=moved) for a in axes]
    for axes, first in zip(sets, firsts, strict=True):
        axes = axes_of(axes)
        panels = sum(n for _, _, n in panels_of(width, tile))
        lines = groups * prod(a.extent for a in axes[:-1])
        inner = size <= NEAR or max(lines, PIECES) * size < panels * rows * depth * each
        outer = lines * (1 if inner else panels)
        w_group = taps * depth * pack.columns if packed else w[0]
        window = Window(
            tuple(axes),
            depth,
            depth_step,
            width,
            groups,
            x_group,
            w_group,
            w[1],
            w[2],
            first,
            taps,
            packed,
            tile,
            kind,
            inner,
            1,
            across,
            w[3],
        )
        count = sum(n for _, _, n, _ in tiles(axes[-1], tile.rows))
        shares = max(1, min(count, -(-PIECES // outer), int(window.work / outer / LEAST)))
        if outer >= PIECES and window.work / outer > 64 * LEAST:
            shares = min(count, int(window.work / outer / (32 * LEAST)))
        window = replace(window, shares=shares)
        phases.append(Phase(window, (0, source), last=True))
    return phases, scratch


def is_tiled(window: tuple, strides: tuple, dilation: tuple, groups: int) -> bool:
    """Whether a convolution is one of 3 x 3 windows that move by one."""
    return (window, strides, dilation, groups) == ((3, 3), (1, 1), (1, 1), 1)


def channels_last(shape: tuple, strides: tuple, kind: str) -> tuple[tuple, Pack | None] | None:
    """The distances from one image, row and column to the next where channels are neighbours, and the copy that makes them so
    if they are not; None for images whose rows are not contiguous then."""
    if strides[-1] == 1:
        return strides[:3], None
    if strides[2] != 1:
        return None
    lanes = engine.machine().vector_bytes // itemsize(kind)
    copy = Pack(shape[0], shape[1], shape[2], shape[3], strides, -(-shape[3] // lanes), lanes, kind)
    return copy.distances, copy


def winograd(
    x_shape: tuple,
    x_strides: tuple,
    before: tuple,
    output: tuple,
    width: int,
    w: tuple[int, int, int],
    turned: bool,
    kind: str,
    choice: int,
) -> tuple[list, list] | None:
    """Phases for windows of 3 x 3 and stride 1 on x (N, H, W, C); None where that would not be faster. ``w`` is the distances
    of (tap, channel, column)."""
    each = itemsize(kind)
    depth, lanes = x_shape[-1], engine.machine().vector_bytes // each
    tiling = Tiling(x_shape[0], x_shape[1:3], before, output)
    images = channels_last(x_shape, x_strides, kind)
    if images is None or choice >= DIRECT or not gains(tiling, depth, width, lanes):
        return None
    distances, copy = images
    rows = min(tiling.count, FEW_TILES if PLACES * each * depth * width <= SHARED else 2 * FEW_TILES)
    tile = chosen_tile(each, rows, min(width, 3 * lanes), choice)  # panels of filters that leave room in the first cache
    filters = Filters(depth, width, w[0], w[1], w[2] != 1, turned, tile, kind)
    spec = Winograd(tiling, distances, depth, width, tile, kind, rounded(rows, tile.rows), 1, 1)
    spec = in_pieces(spec, rows)
    phases, scratch = [], [filters.size, spec.pieces * spec.room]
    sources = [0, 1]
    packs = [(0, copy), (1, Pack(1, 9, depth, width, (0, *w), tile.vectors, lanes, kind) if w[2] != 1 else None)]
    for k, pack in packs:
        if pack:
            scratch.append(pack.size)
            sources[k] = -len(scratch)
            phases.append(Phase(pack, (k, sources[k])))
    return [*phases, Phase(filters, (sources[1], -1)), Phase(spec, (sources[0], -1, -2), last=True)], scratch


def in_pieces(spec: Winograd, rows: int) -> Winograd:
    """The work in pieces whose blocks are of about so many tiles, and alike. Pieces are few enough for the memory they have for
    themselves; where tiles are few, panels are shared too."""
    tiles, threads = spec.tiling.count, get_num_threads()
    pieces = min(max(2, ROOM // (spec.room * itemsize(spec.kind) * threads)) * threads, max(PARTS, 2 * threads))
    chunks = min(max(1, round(tiles / rows)), pieces)
    each = -(-tiles // chunks)
    block = rounded(-(-each // max(1, round(each / rows))), spec.tile.rows)
    shares = max(1, min(sum(n for _, _, n in spec.panels), 2 * threads // chunks))
    return replace(spec, block=block, chunks=chunks, shares=shares)


def along_depth(width: int, depth: int, taps: int, lanes: int) -> int:
    """The lanes of vectors along the depth, folded at the end, where columns are so few that this is less work; else 0."""
    across = min(lanes, 1 << (depth.bit_length() - 1))
    work = width * (-(-depth // across) + 8 / taps)
    return across if across >= 4 and width <= lanes and work < 0.6 * depth else 0


@functools.lru_cache(maxsize=1024)
def matmul(a_shape: tuple, a_strides: tuple, b_shape: tuple, b_strides: tuple, dtype: np.dtype, choice: int = 0) -> Recipe | None:
    """a (*stack, m, k) times b (*stack, k, n); None where stacks are no single distance in memory."""
    kind = KINDS[dtype]
    stack = a_shape[:-2]
    m, k, n = a_shape[-2], a_shape[-1], b_shape[-1]
    moves = stack_steps(stack, a_strides[:-2]), stack_steps(stack, b_strides[:-2])
    if None in moves:
        return None
    count = prod(stack)
    out_shape = (*stack, m, n)
    deep = k >= m and (k > DEEP or n < FEW_COLUMNS)
    if count == 1 and a_strides[-2] == 1 and b_strides[-1] == 1 and deep and a_strides[-1] != 1:
        made = weights([Axis(k, a_strides[-1], size=k)], [b_strides[-2]], m, 1, n, 1, 0, 0, kind, out_shape, (), choice)
        return replace(made, joins=(len(stack) + 1, 1))
    if count == 1 and b_strides[-1] == 1 and m < THIN and k * n * dtype.itemsize > (WIDE if m > ROWS else NEAR // 3):
        made = weights([Axis(k, a_strides[-1], size=k)], [b_strides[-2]], m, a_strides[-2], n, 1, 0, 0, kind, out_shape, (), choice)
        return replace(made if m > ROWS else streamed(made), joins=(len(stack) + 1, 1))
    axes = [Axis(m, a_strides[-2], size=m)]
    if count > 1:
        axes.insert(0, Axis(count, moves[0], size=count, w_step=moves[1]))
    phases, scratch = windows(
        [axes],
        k,
        a_strides[-1],
        n,
        1,
        0,
        kind,
        (moves[1] or 0, 0, b_strides[-2], b_strides[-1]),
        [0],
        1,
        count if moves[1] else 1,
        choice,
    )
    return Recipe(tuple(phases), tuple(scratch), out_shape, joins=(len(stack), 1, 1) if count > 1 else (len(stack) + 1, 1))


def streamed(made: Recipe) -> Recipe:
    """A product of very few rows: b is read once, some rows of it at a time, while the sums wait in the first cache."""
    spec = made.phases[0].spec
    count = -(-spec.axes[0].extent // 8)
    chunks = max(1, min(8, spec.axes[0].extent // 256))
    spec = replace(spec, tile=Tile(spec.depth, 4, spec.tile.lanes), blocks=(0, count), chunks=chunks, shares=1)
    phase = Phase(spec, (0, 1, -1), last=chunks == 1)
    return replace(made, phases=(phase,), scratch=(chunks * spec.elements,), chunks=chunks)


def positions(
    x_shape: tuple, x_strides: tuple, window: tuple, strides: tuple, padding: tuple, dilation: tuple, output: tuple
) -> list[Axis]:
    """The axes of a convolution's positions: examples, and the output's spatial ones."""
    axes = [Axis(x_shape[0], x_strides[0], size=x_shape[0])]
    for o, s, k, d, (low, _), i, step, turn in zip(
        output, strides, window, dilation, padding, x_shape[1:-1], x_strides[1:-1], strides_of(window), strict=True
    ):
        axes.append(Axis(o, step, s, k, d, -low, i, turn))
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
    if is_tiled(window, strides, dilation, groups) and (
        made := winograd(
            x_shape, x_strides, tuple(low for low, _ in padding), output, width, (depth * width, width, 1), False, kind, choice
        )
    ):
        return Recipe(tuple(made[0]), tuple(made[1]), (x_shape[0], *output, width))
    axes = positions(x_shape, x_strides, window, strides, padding, dilation, output)
    whole = merged_axes(axes)
    merged = len(whole) == 1
    axes = whole if merged else axes
    phases, scratch = windows(
        [axes],
        depth,
        x_strides[-1],
        width,
        groups,
        depth * x_strides[-1],
        kind,
        (width, depth * width * groups, width * groups, 1),
        [0],
        prod(window),
        choice=choice,
    )
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
    if is_tiled(window, strides, dilation, groups) and (
        made := winograd(
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
    turns = strides_of(window)
    options: list[list[tuple[Axis, int]]] = [[(Axis(g_shape[0], g_strides[0], size=g_shape[0]), 0)]]
    for o, s, k, d, (low, _), i, step, turn in zip(
        g_shape[1:-1], strides, window, dilation, padding, input_shape[1:-1], g_strides[1:-1], turns, strict=True
    ):
        options.append([remainder(r, o, s, k, d, low, i, step, turn) for r in range(min(s, i))])
    sets, firsts = [[]], [0]
    for option in options:
        sets, firsts = ([[*axes, a] for axes in sets for a, _ in option], [f + first for f in firsts for _, first in option])
    merged = len(sets) == 1 and len(merged_axes(sets[0])) == 1
    sets = [merged_axes(sets[0])] if merged else sets
    phases, scratch = windows(
        sets,
        depth,
        g_strides[-1],
        width,
        groups,
        depth * g_strides[-1],
        kind,
        (depth, width * depth * groups, 1, depth * groups),
        firsts,
        prod(window),
        choice=choice,
    )
    return Recipe(tuple(phases), tuple(scratch), input_shape, joins=(len(g_shape) - 1, 1) if merged else ())


def remainder(r: int, outputs: int, stride: int, taps: int, dilation: int, low: int, size: int, step: int, turn: int) -> tuple:
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
        turn * apart,
        0,
        r,
        stride,
    )
    return axis, first * turn


# -- gradients by weights ------------------------------------------------------------------------------------------------


def weights(
    axes: list[Axis],
    steps: list[int],
    depth: int,
    depth_step: int,
    width: int,
    groups: int,
    x_group: int,
    g_group: int,
    kind: str,
    shape: tuple,
    window: tuple,
    choice: int = 0,
) -> Recipe:
    """The gradient by weights as a recipe. ``axes`` and the steps of y_bar are those of positions."""
    each = itemsize(kind)
    rows = depth * (axes[-1].taps if joins_taps(axes[-1], depth) else 1)
    tile = chosen_tile(each, rows, width, choice)
    columns = width * groups
    blocks = blocks_of([a.extent for a in axes], (depth * groups + columns) * each)
    draft = Weights(
        tuple(axes),
        tuple(steps),
        depth,
        depth_step,
        width,
        groups,
        x_group,
        g_group,
        (width, depth * columns, columns),
        tile,
        kind,
        blocks,
        1,
        1,
        len(window),
    )
    spec = divided(draft)
    sums = () if spec.whole and spec.chunks == 1 else (spec.chunks * spec.elements,)
    return Recipe((Phase(spec, (0, 1, -1) if sums else (0, 1), last=spec.chunks == 1),), sums, shape, spec.chunks)


def blocks_of(extents: list[int], each: int) -> tuple[int, int]:
    """The axis of positions to cut, and into how many parts, for what a block reads to stay near: so many bytes each."""
    axis = len(extents) - 1
    while axis > 0 and prod(extents[axis:]) * each <= BLOCK:
        axis -= 1
    length = max(1, BLOCK // (each * prod(extents[axis + 1 :])))
    if axis == len(extents) - 1:
        length = max(length, SHORTEST)
    return axis, -(-extents[axis] // min(length, extents[axis]))


def divided(spec: Weights) -> Weights:
    """The work in pieces: shares of the tiles, and chunks of the positions with sums of their own.

    A chunk's sums cost memory traffic, a share reads positions again, which windows make good use of. The number of
    chunks, on which rounding depends, is a matter of shapes alone."""
    extents = [a.extent for a in spec.axes]
    axis, count = spec.blocks
    positions, tiles_in_all = prod(extents), spec.strips * sum(n for _, _, n in spec.panels)
    pieces = max(1, min(PARTS, int(spec.work / LEAST)))
    most = max(1, tiles_in_all // LEAST_TILES)  # shares
    chunks = min(8, positions // 700) if spec.taps == 1 else min(4, positions // 4000)
    chunks = max(1, chunks, min(-(-pieces // (most * spec.groups)), positions // 64))
    if spec.count_blocks < chunks:  # shorter blocks
        count = min(extents[axis], -(-chunks // prod(extents[:axis])))
    chunks = min(chunks, prod(extents[:axis]) * count)
    pieces = min(max(pieces, 2 * get_num_threads()), max(1, int(spec.work / LEAST)))
    return replace(spec, blocks=(axis, count), chunks=chunks, shares=max(1, min(most, -(-pieces // (chunks * spec.groups)))))


def winograd_weights(
    x_shape: tuple, x_strides: tuple, g_shape: tuple, g_strides: tuple, before: tuple, kind: str, choice: int
) -> Recipe | None:
    """The recipe for windows of 3 x 3 and stride 1; None where that would not be faster."""
    each = itemsize(kind)
    depth, width, lanes = x_shape[-1], g_shape[-1], engine.machine().vector_bytes // each
    tiling = Tiling(x_shape[0], x_shape[1:3], before, g_shape[1:3])
    images = channels_last(x_shape, x_strides, kind)
    if images is None or choice >= DIRECT or not gains(tiling, depth, width, lanes):
        return None
    distances, copy = images
    tile = chosen_tile(each, depth, width, choice)
    block = min(tiling.count, SUMMED)
    chunks = max(1, min(2, tiling.count // (2 * block)))
    shares = max(1, min(sum(n for _, _, n in panels_of(width, tile)), get_num_threads() // (2 * chunks)))
    spec = Summed(tiling, distances, g_strides[:3], depth, width, tile, kind, block, chunks, shares)
    phases = (Phase(spec, (-3 if copy else 0, 1, -1, -2)), Phase(Restored(chunks, depth, width, lanes, kind), (-1,), last=True))
    sizes = spec.size, spec.pieces * spec.room
    if copy:
        return Recipe((Phase(copy, (0, -3)), *phases), (*sizes, copy.size), (3, 3, depth, width))
    return Recipe(phases, sizes, (3, 3, depth, width))


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
    if is_tiled(window, strides, dilation, groups) and (
        made := winograd_weights(x_shape, x_strides, g_shape, g_strides, tuple(low for low, _ in padding), KINDS[dtype], choice)
    ):
        return made
    axes, steps = positions(x_shape, x_strides, window, strides, padding, dilation, g_shape[1:-1]), list(g_strides[:-1])
    whole = merged_axes(axes)
    if len(whole) == 1 and all(steps[j] == steps[j + 1] * axes[j + 1].extent for j in range(len(axes) - 1)):
        axes, steps = whole, steps[-1:]
    depth, width = x_shape[-1] // groups, g_shape[-1] // groups
    return weights(
        axes,
        steps,
        depth,
        x_strides[-1],
        width,
        groups,
        depth * x_strides[-1],
        width,
        KINDS[dtype],
        (*window, depth, g_shape[-1]),
        window,
        choice,
    )


@functools.lru_cache(maxsize=1024)
def random_bits(n: int) -> Recipe:
    """n words of Threefry for the key that is the operand."""
    return Recipe((Phase(Threefry(n), (0,), last=True),), (), (n,))


# -- by themselves ---------------------------------------------------------------------------------------------------------


LAUNCH = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 3, ctypes.c_void_p)


def run(recipe: Recipe, operands: list[np.ndarray], dtype: np.dtype) -> np.ndarray:
    """The result of a recipe on arrays."""
    out = np.empty(recipe.shape, dtype)
    fill(recipe, operands, [scratch(n, dtype) for n in recipe.scratch], out)
    return out


def scratch(n: int, dtype: np.dtype) -> np.ndarray:
    """Memory for so many elements that begins with a line of the cache, as vectors should."""
    memory = np.empty(n * dtype.itemsize + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + n * dtype.itemsize].view(dtype)


def fill(recipe: Recipe, operands: list[np.ndarray], memory: list[np.ndarray], out: np.ndarray) -> None:
    """The result of a recipe into a contiguous array, by way of scratch memory."""
    launch = LAUNCH(launcher())
    _loaded, addresses = compiled(recipe, out.dtype)  # the first owns the code
    for phase, code in zip(recipe.phases, addresses, strict=True):
        arrays = [*(operands[b] if b >= 0 else memory[-1 - b] for b in phase.buffers), out]
        table = (ctypes.c_void_p * len(arrays))(*[a.ctypes.data for a in arrays])
        begin, total = 0, phase.spec.pieces
        while begin < total:  # more than once where it takes long, for Python to look after signals
            begin = launch(code, ctypes.addressof(table), begin, total, grain(phase.spec), ctypes.byref(ctypes.c_int64(0)))
    if recipe.chunks > 1:
        np.sum(memory[-1].reshape(recipe.chunks, -1), axis=0, out=out.reshape(-1))


@functools.lru_cache(maxsize=1024)
def compiled(recipe: Recipe, dtype: np.dtype) -> tuple[engine.Loaded, list[int]]:
    """The phases' functions, which store the result as it is, and their addresses."""
    module = Module(engine.machine().has_fma)
    ends = np.cumsum(recipe.joins or (1,) * len(recipe.shape)) - 1
    strides = tuple(strides_of(recipe.shape)[k] for k in ends)
    for k, phase in enumerate(recipe.phases):
        write_function(module, f"phase{k}", phase, NAMES[dtype.str[1:]], dtype.itemsize, strides)
    loaded = engine.load(str(module))
    return loaded, [loaded.address(f"phase{k}") for k in range(len(recipe.phases))]


def write_function(module: Module, name: str, phase: Phase, kind: str, size: int, strides: tuple) -> None:
    """A phase as a function of (addresses of its buffers and the result, begin, end)."""

    def body(block: Block) -> None:
        data = Value(block, "%data", "ptr", 1)
        pointers = []
        for k in range(len(phase.buffers) + 1):
            p = write(f"getelementptr ptr, ptr {data.name}, i64 {k}", "ptr", 1, data)
            pointers.append(Value(block, write(f"load ptr, ptr {p.name}, align 8", "ptr", 1, p).name, kind, 1))

        def epilogue(inside: Block, index: list, value: Value) -> None:
            p = pointers[-1]
            for i, s in zip(index, strides, strict=True):
                p = at(p, i * s)
            store(inside, p, value, size)

        begin, end = Value(block, "%begin", "i64", 1), Value(block, "%end", "i64", 1)
        phase.spec.write(block, pointers[:-1], Epilogue(epilogue) if phase.last else None, begin, end)

    module.function(f"void @{name}(ptr noalias %data, i64 %begin, i64 %end)", body)
