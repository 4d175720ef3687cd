"""Depthwise convolution, each channel with a window of its own, and its two gradients.

    y[n, o, c] = sum over taps k of  x[n, o * stride + k * dilation - low, c] * w[k, c]

Vectors run over channels. A tile is a few neighbouring rows and columns of positions; each vector of x that it meets is
loaded once and multiplied into all sums it belongs to, and what it meets of memory is read from one end to the other, since
the loop over channels is the innermost. The gradient by x is of the same form, its positions taken by their remainders by the
stride; the gradient by w has the taps' sums in registers, and the positions of y_bar where the product has the taps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import gcd, prod
from typing import Any

from fad.native.cpu import Machine
from fad.native.ir import Block, Value, call, fma, itemsize, where
from fad.native.machine_model import DEPTHWISE_PIECES, PIECE_WORK, WEIGHT_PIECES
from fad.native.tile import Epilogue, at, balanced, deliver, load, plus, repeated, store

__all__ = ["Axis", "Depthwise", "DepthwiseWeights", "input_grad", "product", "weight_grad"]

MOST_TAPS = 64  # of one axis; longer windows are left to the general convolution
TILE_PRODUCTS = 150  # multiply-adds of a tile at most
WIDE = 16  # vectors of channels that belong together, for the sake of what is read ahead
EPILOGUE_DEPTH = 64  # of the products of a tile, for what an epilogue may cost
Pattern = tuple[tuple[tuple[int, int], ...], ...]  # for every position of a tile its (tap, input position) along one axis


@dataclass(frozen=True)
class Axis:
    """Positions m * unit + r of the result. Tap j of remainder r is tap first[r] + j * apart of the window and meets the
    input at m * advance + offset[r] + j * spacing."""

    extent: int
    size: int  # input positions
    step: int  # elements from one to the next
    tap_step: int = 0  # taps of w from one tap of this axis to the next
    unit: int = 1
    advance: int = 1
    apart: int = 1
    spacing: int = 1
    starts: tuple[tuple[int, int, int], ...] = ((0, 0, 1),)  # (first, offset, taps) of every remainder

    @property
    def reach(self) -> tuple[int, int]:
        """The first and last input position that meet the unit 0."""
        ends = [offset + j * self.spacing for _, offset, taps in self.starts for j in (0, taps - 1) if taps]
        return min(ends), max(ends)

    @property
    def inside(self) -> range:
        """The whole units all of whose taps meet the input."""
        low, high = self.reach
        first = max(0, -(low // self.advance))
        return range(first, max(first, min(self.extent // self.unit, (self.size - 1 - high) // self.advance + 1)))

    @property
    def plain(self) -> bool:
        """Whether there is one tap, and it meets the input everywhere."""
        return self.unit == 1 and self.starts[0][2] == 1 and len(self.inside) == self.extent

    def pattern(self, start: int, count: int, all_inside: bool) -> Pattern:
        """Taps of the positions from a unit on, and the input positions they meet, relative to that of the unit."""
        found = []
        for r in range(count):
            m, (first, offset, taps) = r // self.unit, self.starts[r % self.unit]
            met = [(first + j * self.apart, m * self.advance + offset + j * self.spacing) for j in range(taps)]
            found.append(tuple((k, i) for k, i in met if all_inside or 0 <= start * self.advance + i < self.size))
        return tuple(found)

    def tiles(self, most: int) -> list[tuple[int, int, int, Pattern]]:
        """Tiles of at most so many positions, as (first position, positions, count, pattern) of those that are alike."""
        found: list[list] = []
        known: dict[int, Pattern] = {}
        start, inside = 0, self.inside
        for size, count in balanced(-(-self.extent // self.unit), max(1, most // self.unit)):
            for _ in range(count):
                n = min(size * self.unit, self.extent - start * self.unit)
                whole = start in inside and start + size - 1 in inside and n == size * self.unit
                pattern = known.get(n) if whole else None
                if pattern is None:
                    pattern = self.pattern(start, n, whole)
                if whole:
                    known[n] = pattern
                if found and found[-1][1] == n and found[-1][3] == pattern:
                    found[-1][2] += 1
                else:
                    found.append([start * self.unit, n, 1, pattern])
                start += size
        return [tuple(f) for f in found]

    def meeting(self, block: Block, position: Value) -> tuple[Value, Value, Value, Value]:
        """Of one position: its first tap, the input position that meets it, and the range of j that meet the input."""
        m, r = (position.quotient(self.unit), position.remainder(self.unit)) if self.unit > 1 else (position, position)
        entries = []
        for column in zip(*self.starts, strict=True):
            value = block.integer(column[0])
            for k in range(1, self.unit):
                value = where(r == k, block.integer(column[k]), value)
            entries.append(value)
        first, offset, taps = entries
        base = m * self.advance + offset
        distance, zero = abs(self.spacing), block.integer(0)
        upward = lambda v: (call("smax", v, zero) + (distance - 1)).quotient(distance)
        low, high = (-base, self.size - base) if self.spacing > 0 else (base - (self.size - 1), base + 1)
        return first, base, upward(low), call("smin", upward(high), taps)


# -- the way over the positions ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sweep:
    """The tiles of all positions and channels: those of rows inside have ``rows`` rows, others one."""

    axes: tuple[Axis, Axis, Axis, Axis]  # images, planes, rows, columns
    channels: int
    lanes: int
    kind: str
    rows: int
    columns: int
    shares: int  # of the channels, each a piece of work
    cuts: int  # of the tiles of a row

    @property
    def bands(self) -> tuple[int, int, int]:
        """Single rows before the bands of several, the number of bands, and single rows after them."""
        axis = self.axes[2]
        if self.rows == 1:
            return axis.extent, 0, 0
        inside = axis.inside
        count = len(inside) * axis.unit // self.rows
        before = inside.start * axis.unit if count else 0
        return before, count, axis.extent - before - count * self.rows

    @property
    def units(self) -> int:
        """Parts of rows or of bands of rows."""
        return self.axes[0].extent * self.axes[1].extent * sum(self.bands) * self.cuts

    @property
    def taps(self) -> int:
        """Taps of the window."""
        return prod(sum(t for _, _, t in a.starts) for a in self.axes)

    @property
    def work(self) -> float:
        """Operations, or what takes as long: most of the time goes to memory."""
        return prod(a.extent for a in self.axes) * self.channels * (2.0 * self.taps / prod(a.unit for a in self.axes) + 24)

    def bounds(self, share: Value) -> tuple[Any, Any]:
        """The vectors of a share of the channels."""
        count = -(-self.channels // self.lanes)
        if self.shares == 1:
            return 0, count
        return (share * count).quotient(self.shares), ((share + 1) * count).quotient(self.shares)

    def vectors(self, block: Block, share: Value) -> Iterator[tuple[Block, Value, int]]:
        """A block, the first channel and the lanes for the vectors of a share."""
        full, tail = divmod(self.channels, self.lanes)
        low, high = self.bounds(share)
        if full:
            several = self.shares > 1
            with block.loop(low, call("smin", high, block.integer(full)) if several else full, empty=several) as loop:
                yield loop, loop.index * self.lanes, self.lanes
        if tail:
            with block.when(high == full + 1) if self.shares > 1 else block.section() as inside:
                yield inside, inside.integer(full * self.lanes), tail

    def visit(self, block: Block, number: Value, share: Value, action: Callable[[Block, _Spot], None]) -> None:
        """An action on every tile of one unit and share of the channels."""
        cut, number = split(number, self.cuts)
        _, planes, rows, _ = self.axes
        before, count, after = self.bands
        band, number = split(number, before + count + after)
        plane, image = split(number, planes.extent)
        is_band = (band >= before) & (band < before + count)
        if count:
            with block.when(is_band) if before + after else block.section() as inside:
                row = (band - before) * self.rows + before
                self.row(inside, [image, plane, row], rows.pattern(0, self.rows, True), cut, share, action)
        if before + after:
            with block.when(~is_band) if count else block.section() as inside:
                row = where(band < before, band, band + count * (self.rows - 1)) if count else band
                self.row(inside, [image, plane, row], None, cut, share, action)

    def row(self, block: Block, index: list[Value], pattern: Pattern | None, cut: Value, share: Value, action: Callable) -> None:
        """The tiles of one row, or of a band of rows with this pattern."""
        x, w, ranges = block.integer(0), block.integer(0), []
        for axis, i in zip(self.axes, index, strict=False):
            if pattern is not None and axis is self.axes[2]:
                x = x + i.quotient(axis.unit) * (axis.advance * axis.step)
                continue
            if axis.plain:
                x = x + (i * axis.advance + axis.starts[0][1]) * axis.step
                continue
            first, base, low, high = axis.meeting(block, i)
            x, w = x + base * axis.step, w + first * (axis.tap_step * self.channels)
            ranges.append((low, high, axis.spacing * axis.step, axis.apart * axis.tap_step * self.channels))
        axis, before = self.axes[3], 0
        kinds = axis.tiles(self.columns)
        total = sum(count for _, _, count, _ in kinds)
        for start, size, count, columns in kinds:
            lowest: Any = 0
            highest: Any = count
            if self.cuts > 1:
                lowest, highest = (cut * total).quotient(self.cuts), ((cut + 1) * total).quotient(self.cuts)
                lowest, highest = (
                    call("smax", lowest - before, block.integer(0)),
                    call("smin", highest - before, block.integer(count)),
                )
            before += count
            with block.loop(lowest, highest, empty=self.cuts > 1) as loop:
                position = loop.index * size + start
                place = loop.index * (size // axis.unit * axis.advance * axis.step) + start // axis.unit * axis.advance * axis.step
                for inside, channel, lanes in self.vectors(loop, share):
                    action(
                        inside,
                        _Spot(
                            self,
                            [*index, opaque(inside, position)],
                            opaque(inside, channel),
                            lanes,
                            x + place + channel,
                            w + channel,
                            ranges,
                            pattern or (((0, 0),),),
                            columns,
                        ),
                    )


def opaque(block: Block, value: Value) -> Value:
    """A value whose making LLVM does not look at: its strength reduction takes long for many addresses in nested loops, and
    they are constant distances from this one."""
    return block.effect(f"freeze {'ptr' if value.kind in ('float', 'double') else value.type} {value.name}", value.kind, 1)


def prefetch(block: Block, p: Value) -> None:
    """Ask for memory that is read soon, for the second cache."""
    block.module.declare("declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
    block.append(f"call void @llvm.prefetch.p0(ptr {p.name}, i32 0, i32 2, i32 1)")


def split(number: Value, n: int) -> tuple[Value, Value]:
    """Remainder and quotient."""
    if n == 1:
        return number.block.integer(0), number
    return number.remainder(n), number.quotient(n)


@dataclass
class _Spot:
    """A tile: its position, the distances to its x and w, and the taps it meets along rows and columns."""

    sweep: Sweep
    index: list[Value]
    channel: Value
    lanes: int
    x: Value
    w: Value
    ranges: list[tuple]  # of taps along other axes: (low, high, elements of x and of w from one to the next)
    rows: Pattern
    columns: Pattern

    @property
    def ahead(self) -> tuple[int, int]:
        """Elements of x to the tile after this one, and the distance from which on it has not been read by the row before."""
        _, _, rows, columns = self.sweep.axes
        down = -(-len(self.rows) // rows.unit) * rows.advance
        inputs = sorted({i for met in self.rows for _, i in met})
        alone = len(self.columns) == columns.extent
        across = -(-len(self.columns) // columns.unit) * columns.advance * columns.step
        return down * rows.step if alone else across, inputs[-down:][0] * rows.step if inputs else 0

    def read(self, block: Block, x: Value, distance: int, size: int) -> Value:
        """A vector of x; for new ones that of the tile after this one is asked for."""
        ahead, new = self.ahead
        if distance >= new:
            prefetch(block, at(x, distance + ahead))
        return load(block, at(x, distance), self.lanes, size)

    def meetings(self) -> Iterator[tuple[int, list[tuple[int, int, int]]]]:
        """For every vector of x its distance, and the (row, column, tap's number) that meet there."""
        _, _, rows, columns = self.sweep.axes
        for i in sorted({i for met in self.rows for _, i in met}):
            for j in sorted({j for met in self.columns for _, j in met}):
                yield (
                    i * rows.step + j * columns.step,
                    [
                        (r, c, k * rows.tap_step + t * columns.tap_step)
                        for r, met in enumerate(self.rows)
                        for k, a in met
                        if a == i
                        for c, also in enumerate(self.columns)
                        for t, b in also
                        if b == j
                    ],
                )


# -- products ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Depthwise:
    """y or x_bar, which are the same but for their axes."""

    sweep: Sweep
    rank: int  # spatial axes of the result

    @property
    def pieces(self) -> int:
        """Pieces of work."""
        return self.sweep.units * self.sweep.shares

    @property
    def work(self) -> float:
        """Operations."""
        return self.sweep.work

    def write(self, block: Block, pointers: list[Value], epilogue: Epilogue | None, begin: Value, end: Value) -> None:
        """The code of pieces from begin to end; ``pointers`` are those of x and w."""
        assert epilogue is not None
        with block.loop(begin, end) as piece:
            share, number = split(piece.index, self.sweep.shares)
            x, w = pointers
            self.sweep.visit(piece, number, share, lambda inside, spot: self.tile(inside, spot, x, w, epilogue))

    def tile(self, block: Block, spot: _Spot, x: Value, w: Value, epilogue: Epilogue) -> None:
        """One tile: its sums, and what becomes of them."""
        width = len(spot.columns)
        zero = repeated(block, 0.0, x.kind, spot.lanes)
        zeros = [zero] * (len(spot.rows) * width)
        sums = self.along(block, spot, 0, opaque(block, at(x, spot.x)), opaque(block, at(w, spot.w)), zeros)
        with block.section() as after:
            image, *inner, row, column = spot.index
            place = lambda r, c: [image, *[*inner, plus(row, r), plus(column, c)][-self.rank :], spot.channel]
            deliver(after, epilogue, sums, [spot.lanes] * width, place, EPILOGUE_DEPTH)

    def along(self, block: Block, spot: _Spot, k: int, x: Value, w: Value, sums: list) -> list:
        """The sums after the taps of the axes whose range is known when the tile begins, from the k-th on."""
        if k == len(spot.ranges):
            return self.products(block, spot, x, w, sums)
        low, high, x_step, w_step = spot.ranges[k]
        iterate = lambda loop, inside: self.along(loop, spot, k + 1, at(x, loop.index * x_step), at(w, loop.index * w_step), inside)
        return block.repeat(low, high, sums, iterate, empty=True)

    def products(self, block: Block, spot: _Spot, x: Value, w: Value, sums: list) -> list:
        """The sums after the taps that are written out."""
        sums, weights, size = list(sums), {}, itemsize(x.kind)
        fresh = set(range(len(sums))) if not spot.ranges else set()  # still 0
        for distance, met in spot.meetings():
            if met:
                one = spot.read(block, x, distance, size)
            for r, c, tap in met:
                if tap not in weights:
                    weights[tap] = load(block, at(w, tap * spot.sweep.channels), spot.lanes, size)
                k = r * len(spot.columns) + c
                sums[k] = one * weights[tap] if k in fresh else fma(one, weights[tap], sums[k])
                fresh.discard(k)
        return sums


# -- gradients by weights ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DepthwiseWeights:
    """w_bar[k, c] = sum over n, o of  x[n, o * stride + k * dilation - low, c] * y_bar[n, o, c]. Results are laid out
    [chunk, taps..., channel]; every chunk is the sum of some of the positions."""

    sweep: Sweep
    steps: tuple[int, int, int, int]  # elements of y_bar from one position to the next
    window: tuple[int, ...]
    chunks: int
    sums: int  # taps of a row whose sums are in registers at a time

    @property
    def pieces(self) -> int:
        """Pieces of work."""
        return self.chunks * self.sweep.shares

    @property
    def work(self) -> float:
        """Operations."""
        return self.sweep.work

    def write(self, block: Block, pointers: list[Value], epilogue: Epilogue | None, begin: Value, end: Value) -> None:
        """The code of pieces from begin to end; ``pointers`` are those of x, y_bar and the sums. ``epilogue`` takes the
        result where there is one chunk."""
        sweep, taps, units = self.sweep, prod(self.window), self.sweep.units
        x, g, out = pointers
        size = itemsize(x.kind)
        with block.loop(begin, end) as piece:
            share, chunk = split(piece.index, sweep.shares)
            sums = at(out, chunk * (taps * sweep.channels))
            with piece.loop(0, taps) as tap:
                for inside, channel, lanes in sweep.vectors(tap, share):
                    zero = repeated(block, 0.0, x.kind, lanes)
                    store(inside, at(sums, tap.index * sweep.channels + channel), zero, size)
            low, high = (chunk * units).quotient(self.chunks), ((chunk + 1) * units).quotient(self.chunks)
            with piece.loop(low, high) as unit:
                sweep.visit(unit, unit.index, share, lambda inside, spot: self.tile(inside, spot, x, g, sums))
            if epilogue is None or self.chunks > 1:
                return
            with piece.loop(0, taps) as tap:
                place: list[Value] = []
                number = tap.index
                for n in reversed(self.window):
                    k, number = split(number, n)
                    place.insert(0, k)
                for inside, channel, lanes in sweep.vectors(tap, share):
                    value = load(inside, at(sums, tap.index * sweep.channels + channel), lanes, size)
                    epilogue(inside, [*place, inside.integer(0), channel], value)

    def tile(self, block: Block, spot: _Spot, x: Value, g: Value, sums: Value) -> None:
        """Add the products of one tile of positions to the sums."""
        g = at(g, sum((i * s for i, s in zip(spot.index, self.steps, strict=True)), spot.channel))
        self.along(block, spot, 0, *(opaque(block, p) for p in (at(x, spot.x), g, at(sums, spot.w))))

    def along(self, block: Block, spot: _Spot, k: int, x: Value, g: Value, sums: Value) -> None:
        """The taps of the axes whose range is known when the tile begins, from the k-th on."""
        if k < len(spot.ranges):
            low, high, x_step, step = spot.ranges[k]
            with block.loop(low, high, empty=True) as loop:
                self.along(loop, spot, k + 1, at(x, loop.index * x_step), g, at(sums, loop.index * step))
            return
        columns = self.sweep.axes[3].starts[0][2]
        first = 0
        for size, count in balanced(columns, self.sums):
            for _ in range(count):
                self.products(block, spot, x, g, sums, range(first, first + size))
                first += size

    def products(self, block: Block, spot: _Spot, x: Value, g: Value, sums: Value, taps: range) -> None:
        """The taps that are written out, of those the ones of some columns of the window."""
        size, width = itemsize(x.kind), self.sweep.axes[3].starts[0][2]
        alone = len(spot.columns) == self.sweep.axes[3].extent
        ahead = len(spot.rows) * self.steps[2] if alone else len(spot.columns) * self.steps[3]
        found: dict[int, Value] = {}
        others: dict[tuple, Value] = {}
        for distance, met in spot.meetings():
            met = [(r, c, tap) for r, c, tap in met if tap % width in taps]
            if met:
                one = spot.read(block, x, distance, size)
            for r, c, tap in met:
                if (r, c) not in others:
                    others[r, c] = load(block, at(g, r * self.steps[2] + c * self.steps[3]), spot.lanes, size)
                    prefetch(block, at(g, r * self.steps[2] + c * self.steps[3] + ahead))
                if tap not in found:
                    found[tap] = load(block, at(sums, tap * self.sweep.channels), spot.lanes, size)
                found[tap] = fma(one, others[r, c], found[tap])
        for tap, value in found.items():
            store(block, at(sums, tap * self.sweep.channels), value, size)


# -- choices -------------------------------------------------------------------------------------------------------------


def live(rows: Pattern, columns: Pattern) -> int:
    """Weights that one row of input meets."""
    at_once = max(len({k for met in rows for k, a in met if a == i}) for i in {i for met in rows for _, i in met} or {0})
    return at_once * min(len({t for met in columns for t, _ in met}), len(columns) + 1)


def swept(machine: Machine, axes: list[Axis], channels: int, kind: str, sums: int = 0) -> Sweep:
    """The sweep with the fewest loads; ``sums`` are the registers that are taken for the gradient by weights."""
    lanes = machine.vector_bytes // (4 if kind == "float" else 8)
    rows, columns = axes[2], axes[3]
    most = -(-columns.extent // columns.unit) * columns.unit
    best: tuple[float, int, int] | None = None
    for height in sorted({1, rows.unit * -(-2 // rows.unit)}):
        pattern = rows.pattern(0, height, True) if height > 1 else (((0, 0),),)
        if height > 1 and (rows.plain or len(rows.inside) * rows.unit < height):
            continue
        for width in range(columns.unit, most + 1, columns.unit):
            across = columns.pattern(0, width, True)
            spot = [len({i for met in p for _, i in met}) for p in (pattern, across)]
            pairs = sum(map(len, pattern)) * sum(map(len, across))
            held = sums * len({k for met in pattern for k, _ in met}) or live(pattern, across)
            least = width == columns.unit and height == 1
            if not least and (height * width > machine.registers - held - 2 or pairs > TILE_PRODUCTS):
                break
            taps = len({k for met in pattern for k, _ in met}) * len({t for met in across for t, _ in met})
            tiles = -(-most // width)
            # loads of x by way of the second cache, and those of weights
            times = sum(taps for _, _, taps in rows.starts) / rows.unit if height == 1 else 1
            cost = tiles * (times * (2.0 * spot[0] * spot[1] + (2 if sums else 1) * taps) + 6) / height
            if best is None or cost <= best[0]:
                best = cost, height, width
    assert best is not None
    return Sweep(tuple(axes), channels, lanes, kind, best[1], best[2], 1, 1)  # type: ignore[arg-type]


def shared(sweep: Sweep, pieces: int) -> Sweep:
    """The sweep cut into at least so many units and shares, if it can be."""
    tiles = sum(count for _, _, count, _ in sweep.axes[3].tiles(sweep.columns))
    cuts = min(-(-pieces // sweep.units), max(1, tiles // 2))
    shares = min(-(-pieces // (sweep.units * cuts)), -(-sweep.channels // sweep.lanes))
    return replace(sweep, cuts=cuts, shares=shares)


def four(axes: list[Axis]) -> list[Axis]:
    """Images, planes, rows, columns; those that are missing have one position."""
    return [axes[0], *[Axis(1, 1, 0)] * (4 - len(axes)), *axes[1:]]


def forward_axes(
    x_shape: tuple, x_strides: tuple, output: tuple, window: tuple, strides: tuple, padding: tuple, dilation: tuple
) -> list[Axis]:
    """The axes of y."""
    axes = [Axis(x_shape[0], x_shape[0], x_strides[0])]
    for a, (o, s, k, d, (low, _)) in enumerate(zip(output, strides, window, dilation, padding, strict=True)):
        axes.append(Axis(o, x_shape[a + 1], x_strides[a + 1], prod(window[a + 1 :]), 1, s, 1, d, ((0, -low, k),)))
    return four(axes)


def product(
    machine: Machine,
    x_shape: tuple,
    x_strides: tuple,
    window: tuple,
    kind: str,
    output: tuple,
    strides: tuple,
    padding: tuple,
    dilation: tuple,
) -> Depthwise | None:
    """The convolution of x (N, *spatial, C) with w (*window, 1, C); None where it is better left to the general one."""
    if x_strides[-1] != 1 or max(window) > MOST_TAPS:
        return None
    axes = forward_axes(x_shape, x_strides, output, window, strides, padding, dilation)
    sweep = swept(machine, axes, x_shape[-1], kind)
    return Depthwise(shared(sweep, max(1, min(DEPTHWISE_PIECES, int(sweep.work / PIECE_WORK)))), len(window))


def input_grad(
    machine: Machine,
    g_shape: tuple,
    g_strides: tuple,
    window: tuple,
    kind: str,
    input_shape: tuple,
    strides: tuple,
    padding: tuple,
    dilation: tuple,
) -> Depthwise | None:
    """The gradient by x from g (N, *output, C) and w (*window, 1, C); None where it is better left to the general one."""
    if g_strides[-1] != 1 or max(window) > MOST_TAPS:
        return None
    axes = [Axis(g_shape[0], g_shape[0], g_strides[0])]
    for a, (s, k, d, (low, _)) in enumerate(zip(strides, window, dilation, padding, strict=True)):
        apart, starts = s // gcd(s, d), []
        for r in range(s):
            meeting = [t for t in range(k) if (r + low - t * d) % s == 0]
            first = meeting[0] if meeting else 0
            starts.append((first, (r + low - first * d) // s, len(meeting)))
        axes.append(
            Axis(
                input_shape[a + 1],
                g_shape[a + 1],
                g_strides[a + 1],
                prod(window[a + 1 :]),
                s,
                1,
                apart,
                -(d * apart // s),
                tuple(starts),
            )
        )
    sweep = swept(machine, four(axes), g_shape[-1], kind)
    return Depthwise(shared(sweep, max(1, min(DEPTHWISE_PIECES, int(sweep.work / PIECE_WORK)))), len(window))


def weight_grad(
    machine: Machine,
    x_shape: tuple,
    x_strides: tuple,
    g_shape: tuple,
    g_strides: tuple,
    window: tuple,
    kind: str,
    strides: tuple,
    padding: tuple,
    dilation: tuple,
) -> DepthwiseWeights | None:
    """The gradient by w (*window, 1, C) from x (N, *spatial, C) and g (N, *output, C); None where it is better left to the
    general one."""
    if x_strides[-1] != 1 or g_strides[-1] != 1 or max(window) > MOST_TAPS:
        return None
    axes = forward_axes(x_shape, x_strides, g_shape[1:-1], window, strides, padding, dilation)
    sums = min(window[-1], machine.registers // 2)
    sweep = swept(machine, axes, x_shape[-1], kind, sums)
    pieces = max(1, min(WEIGHT_PIECES, int(sweep.work / PIECE_WORK)))
    shares = max(1, min(pieces, -(-sweep.channels // sweep.lanes) // WIDE))  # sums are fewer than with as many chunks
    sweep = replace(shared(sweep, -(-pieces // shares)), shares=shares)
    steps = (g_strides[0], *[0] * (3 - len(window)), *g_strides[1:-1])
    return DepthwiseWeights(sweep, steps, window, max(1, min(sweep.units, pieces // sweep.shares)), sums)
