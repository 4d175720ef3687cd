"""How a windowed product is made: its tile, whether w is copied into panels or read along the depth, and the pieces of work."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

from fad.compile.kernels.pack import Pack
from fad.compile.kernels.recipe import Phase
from fad.compile.kernels.window import Axis, Window, tiles
from fad.native import engine
from fad.native.ir import itemsize
from fad.native.machine_model import (
    CACHED_WEIGHTS,
    COPIED_ROWS,
    KERNEL_PIECE_WORK,
    KERNEL_PIECES,
    PACKED_ROWS,
    PACKED_ROWS_OF_ONE_VECTOR,
    TRANSPOSED_ROWS,
)
from fad.native.tile import Tile, panels_of, ranked_tiles

__all__ = ["Factor", "Product", "choose_tile", "merge_axes", "plan_windows"]


@dataclass(frozen=True)
class Factor:
    """Where the second factor w lies: elements from one group, tap, channel and column to the next."""

    group: int
    tap: int
    channel: int
    column: int


@dataclass(frozen=True)
class Product:
    """What is multiplied at each position: windows of x by w."""

    kind: str  # LLVM's name of the element type
    taps: int  # of all of w
    depth: int  # channels of a group
    depth_step: int  # elements of x from one channel to the next
    width: int  # columns of a group
    w: Factor
    groups: int = 1
    x_group: int = 0  # elements of x from one group to the next
    stack: int = 1  # products, each with a w of its own


def choose_tile(each: int, rows: int, width: int, choice: int, row_bytes: int = 0) -> Tile:
    """The tile that the cost model likes best, or next to it by ``choice``, for elements of so many bytes."""
    found = ranked_tiles(engine.machine(), each, rows, width, row_bytes)
    return found[min(choice, len(found) - 1)]


def merge_axes(axes: list[Axis]) -> list[Axis]:
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


def plan_windows(sets: list[list[Axis]], firsts: list[int], product: Product, choice: int = 0) -> tuple[list[Phase], list[int]]:
    """Phases that make windowed products with one and the same w, and the sizes of their scratch memory.

    Each has positions of its own and begins at a tap of its own. The tile is the one that the cost model likes best, or next
    to it by ``choice``."""
    p, w = product, product.w
    each, lanes = itemsize(p.kind), engine.machine().vector_bytes // itemsize(p.kind)
    rows = max(prod(a.extent for a in axes) for axes in sets) // p.stack
    widest = max(sets, key=lambda axes: axes[-1].extent)[-1]
    tile = choose_tile(each, widest.extent, p.width, choice, widest.step * widest.stride * each)
    phases: list[Phase] = []
    scratch: list[int] = []
    across = count_lanes_along_depth(p, rows, lanes)
    if across:
        tile = choose_tile_along_depth(widest.extent, p.width, lanes)
        vector = across if w.channel == 1 else p.taps * p.width * across  # elements of w from one vector to the next
        if w.channel != 1:
            pack = Pack(1, p.taps, p.width, p.depth, (0, w.tap, w.column, w.channel), 1, across, p.kind)
            w = Factor(0, p.width * across, vector, across)
        else:
            pack, w = None, replace(w, channel=vector)
    else:
        pack = pack_panels(p, rows, tile)
    if pack:
        phases.append(Phase(pack, (1, -1)))
        scratch.append(pack.size)
    packed = pack is not None and not across
    moved = p.taps * p.depth * pack.columns if packed and pack else 0  # elements of the panels of one group
    for axes, first in zip(sets, firsts, strict=True):
        axes = [replace(a, w_step=moved) if packed and a.w_step else a for a in axes]
        window = Window(
            axes=tuple(axes),
            depth=p.depth,
            depth_step=p.depth_step,
            width=p.width,
            groups=p.groups,
            x_group=p.x_group,
            w_group=moved if packed else w.group,
            w_tap=w.tap,
            w_step=w.channel,
            w_first=first,
            taps=p.taps,
            packed=packed,
            tile=tile,
            kind=p.kind,
            inner=True,
            shares=1,
            across=across,
            w_column=w.column,
        )
        phases.append(Phase(share_window(window, rows), (0, -1 if pack else 1), last=True))
    return phases, scratch


def count_lanes_along_depth(p: Product, rows: int, lanes: int) -> int:
    """The lanes of vectors along the depth, whose sums are folded at the end; 0 where vectors go along the columns."""
    if p.depth_step == p.w.channel == 1:  # a transposed w is read as it lies where it is not used often enough to copy it
        transposed = p.w.column != 1 and rows < TRANSPOSED_ROWS
        return min(lanes, p.depth) if transposed and p.depth >= 4 * lanes else lanes_for_few_columns(p, lanes)
    if p.depth_step == 1 and p.w.column == p.groups == p.stack == 1 and p.width <= lanes // 2 and rows >= COPIED_ROWS:
        return lanes_for_few_columns(p, lanes)  # of a copy of w
    return 0


def lanes_for_few_columns(p: Product, lanes: int) -> int:
    """The lanes of vectors along the depth where columns are so few that this is less work; else 0."""
    across = min(lanes, 1 << (p.depth.bit_length() - 1))
    work = p.width * (-(-p.depth // across) + 8 / p.taps)
    return across if across >= 4 and p.width <= lanes and work < 0.6 * p.depth else 0


def choose_tile_along_depth(extent: int, width: int, lanes: int) -> Tile:
    """The tile whose vectors go along the depth: each of its sums is one number of the result."""
    registers = engine.machine().registers
    columns = min(width, registers // 2 - 1, lanes if width <= lanes else 4 if extent > 2 else 8)
    return Tile(min((registers - columns - 1) // columns, extent), columns, 1)


def pack_panels(p: Product, rows: int, tile: Tile) -> Pack | None:
    """The copy of w in panels, where its columns are no neighbours or where it is read often enough."""
    odd = p.width % tile.lanes or p.width > tile.vectors * tile.lanes  # rows of w as they lie are slow to read
    often = rows >= (PACKED_ROWS if p.width > tile.lanes else PACKED_ROWS_OF_ONE_VECTOR)
    if p.w.column == 1 and not (often and p.taps * p.depth >= 16 and odd):
        return None
    distances = (p.w.group, p.w.tap, p.w.channel, p.w.column)
    return Pack(p.groups * p.stack, p.taps, p.depth, p.width, distances, tile.vectors, tile.lanes, p.kind)


def share_window(window: Window, rows: int) -> Window:
    """The window in pieces of work: whether one takes all panels of w, and shares of the tiles of a row."""
    each = itemsize(window.kind)
    size = window.taps * window.depth * window.width * each
    panels = sum(n for _, _, n in panels_of(window.width, window.tile))
    lines = window.groups * prod(a.extent for a in window.axes[:-1])
    inner = size <= CACHED_WEIGHTS or max(lines, KERNEL_PIECES) * size < panels * rows * window.depth * each
    outer = lines * (1 if inner else panels)
    count = sum(n for _, _, n, _ in tiles(window.axes[-1], window.tile.rows))
    shares = max(1, min(count, -(-KERNEL_PIECES // outer), int(window.work / outer / KERNEL_PIECE_WORK)))
    if outer >= KERNEL_PIECES and window.work / outer > 64 * KERNEL_PIECE_WORK:
        shares = min(count, int(window.work / outer / (32 * KERNEL_PIECE_WORK)))
    return replace(window, inner=inner, shares=shares)
