"""Whether windows of 3 x 3 are convolved by Winograd's transform, and in which pieces."""

from __future__ import annotations

from dataclasses import replace

from fad.compile.kernels.pack import Pack
from fad.compile.kernels.recipe import Phase, Recipe
from fad.compile.kernels.window_recipes import choose_tile
from fad.compile.kernels.winograd import PLACES, Filters, Tiling, Winograd, gains
from fad.compile.kernels.winograd_weights import Restored, Summed
from fad.native import engine
from fad.native.ir import itemsize
from fad.native.machine_model import THIRD_CACHE, WEIGHT_PIECES, WINOGRAD_SCRATCH, WINOGRAD_SUMMED_TILES, WINOGRAD_TILES
from fad.native.threads import get_num_threads
from fad.native.tile import panels_of, rounded

__all__ = ["is_3x3", "plan_winograd", "plan_winograd_weights"]

DIRECT = 2  # choice from which a convolution is made as it is defined


def is_3x3(window: tuple, strides: tuple, dilation: tuple, groups: int) -> bool:
    """Whether a convolution is one of 3 x 3 windows that move by one."""
    return (window, strides, dilation, groups) == ((3, 3), (1, 1), (1, 1), 1)


def put_channels_last(shape: tuple, strides: tuple, kind: str) -> tuple[tuple, Pack | None] | None:
    """The distances from one image, row and column to the next where channels are neighbours, and the copy that makes them so
    if they are not; None for images whose rows are not contiguous then."""
    if strides[-1] == 1:
        return strides[:3], None
    if strides[2] != 1:
        return None
    lanes = engine.machine().vector_bytes // itemsize(kind)
    copy = Pack(shape[0], shape[1], shape[2], shape[3], strides, -(-shape[3] // lanes), lanes, kind)
    return copy.distances, copy


def plan_winograd(
    x_shape: tuple,
    x_strides: tuple,
    before: tuple,
    output: tuple,
    width: int,
    w: tuple[int, int, int],
    flipped: bool,
    kind: str,
    choice: int,
) -> tuple[list[Phase], list[int]] | None:
    """Phases for windows of 3 x 3 and stride 1 on x (N, H, W, C); None where that would not be faster. ``w`` is the distances
    of (tap, channel, column)."""
    each = itemsize(kind)
    depth, lanes = x_shape[-1], engine.machine().vector_bytes // each
    tiling = Tiling(x_shape[0], x_shape[1:3], before, output)
    images = put_channels_last(x_shape, x_strides, kind)
    if images is None or choice >= DIRECT or not gains(tiling, depth, width, lanes):
        return None
    distances, copy = images
    rows = min(tiling.count, WINOGRAD_TILES if PLACES * each * depth * width <= THIRD_CACHE else 2 * WINOGRAD_TILES)
    tile = choose_tile(each, rows, min(width, 3 * lanes), choice)  # panels of filters that leave space in the first cache
    filters = Filters(depth, width, w[0], w[1], w[2] != 1, flipped, tile, kind)
    spec = Winograd(tiling, distances, depth, width, tile, kind, rounded(rows, tile.rows), 1, 1)
    spec = divide_tiles(spec, rows)
    phases, scratch = [], [filters.size, spec.pieces * spec.scratch]
    sources = [0, 1]
    packs = [(0, copy), (1, Pack(1, 9, depth, width, (0, *w), tile.vectors, lanes, kind) if w[2] != 1 else None)]
    for k, pack in packs:
        if pack:
            scratch.append(pack.size)
            sources[k] = -len(scratch)
            phases.append(Phase(pack, (k, sources[k])))
    return [*phases, Phase(filters, (sources[1], -1)), Phase(spec, (sources[0], -1, -2), last=True)], scratch


def divide_tiles(spec: Winograd, rows: int) -> Winograd:
    """The work in pieces whose blocks are of about so many tiles, and alike. Pieces are few enough for the memory they have for
    themselves; where tiles are few, panels are shared too."""
    tiles, threads = spec.tiling.count, get_num_threads()
    pieces = min(
        max(2, WINOGRAD_SCRATCH // (spec.scratch * itemsize(spec.kind) * threads)) * threads, max(WEIGHT_PIECES, 2 * threads)
    )
    chunks = min(max(1, round(tiles / rows)), pieces)
    each = -(-tiles // chunks)
    block = rounded(-(-each // max(1, round(each / rows))), spec.tile.rows)
    shares = max(1, min(sum(n for _, _, n in spec.panels), 2 * threads // chunks))
    return replace(spec, block=block, chunks=chunks, shares=shares)


def plan_winograd_weights(
    x_shape: tuple, x_strides: tuple, g_shape: tuple, g_strides: tuple, before: tuple, kind: str, choice: int
) -> Recipe | None:
    """The recipe for windows of 3 x 3 and stride 1; None where that would not be faster."""
    each = itemsize(kind)
    depth, width, lanes = x_shape[-1], g_shape[-1], engine.machine().vector_bytes // each
    tiling = Tiling(x_shape[0], x_shape[1:3], before, g_shape[1:3])
    images = put_channels_last(x_shape, x_strides, kind)
    if images is None or choice >= DIRECT or not gains(tiling, depth, width, lanes):
        return None
    distances, copy = images
    tile = choose_tile(each, depth, width, choice)
    block = min(tiling.count, WINOGRAD_SUMMED_TILES)
    chunks = max(1, min(2, tiling.count // (2 * block)))
    shares = max(1, min(sum(n for _, _, n in panels_of(width, tile)), get_num_threads() // (2 * chunks)))
    spec = Summed(tiling, distances, g_strides[:3], depth, width, tile, kind, block, chunks, shares)
    phases = (Phase(spec, (-3 if copy else 0, 1, -1, -2)), Phase(Restored(chunks, depth, width, lanes, kind), (-1,), last=True))
    sizes = spec.size, spec.pieces * spec.scratch
    if copy:
        return Recipe((Phase(copy, (0, -3)), *phases), (*sizes, copy.size), (3, 3, depth, width))
    return Recipe(phases, sizes, (3, 3, depth, width))
