"""How a gradient by weights sums over positions: in blocks that stay in cache, chunks with sums of their own, and shares."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

from fad.compile.kernels.recipe import Phase, Recipe
from fad.compile.kernels.weights import Weights, joins_taps
from fad.compile.kernels.window import Axis
from fad.compile.kernels.window_recipes import choose_tile
from fad.native.ir import itemsize
from fad.native.machine_model import KERNEL_PIECE_WORK, SECOND_CACHE, SHORTEST_RUN, TILES_PER_SHARE, WEIGHT_PIECES
from fad.native.threads import get_num_threads

__all__ = ["Sums", "plan_weights"]


@dataclass(frozen=True)
class Sums:
    """What is multiplied and summed at each position: channels of x by columns of y_bar."""

    kind: str  # LLVM's name of the element type
    depth: int  # channels of a group
    depth_step: int  # elements of x from one channel to the next
    width: int  # columns of a group
    groups: int = 1
    x_group: int = 0  # elements of x, and of y_bar, from one group to the next
    g_group: int = 0


def plan_weights(axes: list[Axis], steps: list[int], sums: Sums, shape: tuple, window: tuple, choice: int = 0) -> Recipe:
    """The gradient by weights as a recipe. ``axes`` and the steps of y_bar are those of positions."""
    each = itemsize(sums.kind)
    rows = sums.depth * (axes[-1].taps if joins_taps(axes[-1], sums.depth) else 1)
    columns = sums.width * sums.groups
    draft = Weights(
        axes=tuple(axes),
        steps=tuple(steps),
        depth=sums.depth,
        depth_step=sums.depth_step,
        width=sums.width,
        groups=sums.groups,
        x_group=sums.x_group,
        g_group=sums.g_group,
        out=(sums.width, sums.depth * columns, columns),
        tile=choose_tile(each, rows, sums.width, choice),
        kind=sums.kind,
        blocks=cut_positions([a.extent for a in axes], (sums.depth * sums.groups + columns) * each),
        chunks=1,
        shares=1,
        rank=len(window),
    )
    spec = divide_work(draft)
    scratch = () if spec.whole and spec.chunks == 1 else (spec.chunks * spec.elements,)
    return Recipe((Phase(spec, (0, 1, -1) if scratch else (0, 1), last=spec.chunks == 1),), scratch, shape, spec.chunks)


def cut_positions(extents: list[int], each: int) -> tuple[int, int]:
    """The axis of positions to cut, and into how many parts, for what a block reads to stay in cache: so many bytes each."""
    axis = len(extents) - 1
    while axis > 0 and prod(extents[axis:]) * each <= SECOND_CACHE:
        axis -= 1
    length = max(1, SECOND_CACHE // (each * prod(extents[axis + 1 :])))
    if axis == len(extents) - 1:
        length = max(length, SHORTEST_RUN)
    return axis, -(-extents[axis] // min(length, extents[axis]))


def divide_work(spec: Weights) -> Weights:
    """The work in pieces: shares of the tiles, and chunks of the positions with sums of their own.

    A chunk's sums cost memory traffic, a share reads positions again, which windows make good use of. The number of
    chunks, on which rounding depends, is a matter of shapes alone."""
    extents = [a.extent for a in spec.axes]
    axis, count = spec.blocks
    positions, tiles_in_all = prod(extents), spec.strips * sum(n for _, _, n in spec.panels)
    pieces = max(1, min(WEIGHT_PIECES, int(spec.work / KERNEL_PIECE_WORK)))
    most = max(1, tiles_in_all // TILES_PER_SHARE)  # shares
    chunks = min(8, positions // 700) if spec.taps == 1 else min(4, positions // 4000)
    chunks = max(1, chunks, min(-(-pieces // (most * spec.groups)), positions // 64))
    if spec.count_blocks < chunks:  # shorter blocks
        count = min(extents[axis], -(-chunks // prod(extents[:axis])))
    chunks = min(chunks, prod(extents[:axis]) * count)
    pieces = min(max(pieces, 2 * get_num_threads()), max(1, int(spec.work / KERNEL_PIECE_WORK)))
    return replace(spec, blocks=(axis, count), chunks=chunks, shares=max(1, min(most, -(-pieces // (chunks * spec.groups)))))
