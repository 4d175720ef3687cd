"""Code of pooling: windows folded to elements, and elements spread over windows. Vectors run along the channels.

Nothing is padded: along every axis the taps that meet the input are a range, and along the last one the windows that lie in
the input are written out. `Fold` makes elements from windows, `Spread` makes inputs from the windows that hold them, and
`Share` does that for maxima where windows do not overlap. Every element is summed by one thread in one order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import prod
from typing import Any

from fad.compile.kernels.window import counted
from fad.kernels.windows import Ints, strides_of
from fad.native import engine
from fad.native.ir import Block, Value, call, constant, itemsize, literal, resized, unflattened, where, write
from fad.native.tile import Epilogue, Tile, at, load, moved, panels_of, store

__all__ = ["Fold", "Plane", "Share", "Side", "Spread"]

VECTORS = 4  # of channels at once
WRITTEN_TAPS = 16  # taps, or positions and taps of them, up to which there is no loop
KEPT = 16  # vectors that stay in registers for a second look
WRITTEN_INSTRUCTIONS = 512  # instructions for the elements of a window up to which they are written out
MOVED = 8  # operations that take as long as to move an element between cache and registers


@dataclass(frozen=True)
class Side:
    """A spatial axis: windows of ``taps`` inputs, ``stride`` apart, of which the first one begins ``low`` before the input."""

    inputs: int
    outputs: int
    taps: int
    stride: int
    low: int

    @property
    def whole(self) -> tuple[int, int]:
        """The range of windows that lie in the input."""
        first = min(self.outputs, -(-self.low // self.stride))
        return first, max(first, min(self.outputs, (self.inputs + self.low - self.taps) // self.stride + 1))

    @property
    def inside(self) -> bool:
        """Whether all windows do."""
        return self.whole == (0, self.outputs)

    @property
    def gaps(self) -> bool:
        """Whether there are inputs in no window."""
        return self.stride > self.taps or (self.outputs - 1) * self.stride + self.taps - self.low < self.inputs

    @property
    def holders(self) -> list[list[tuple[int, int]]]:
        """For each of ``stride`` neighbouring inputs i, i + 1, ... from a multiple of the stride on: (o - i / stride, tap) of the
        windows o that hold it."""
        return [
            [((r + self.low - k) // self.stride, k) for k in range(self.taps) if (r + self.low - k) % self.stride == 0]
            for r in range(self.stride)
        ]

    def taps_at(self, o: Value) -> tuple:
        """The range of taps of a window that meet the input."""
        if self.inside:
            return 0, self.taps
        start = o * self.stride - self.low
        return largest(0 - start, 0), smallest(self.inputs - start, self.taps)

    def windows_at(self, i: Value) -> tuple:
        """The range of windows that hold an input; it may be empty."""
        first = largest(i + (self.low - self.taps + self.stride), 0).quotient(self.stride)
        return first, smallest((i + self.low).quotient(self.stride) + 1, self.outputs)


@dataclass(frozen=True)
class Plane:
    """The spatial axes, and how much there is at each position."""

    sides: tuple[Side, ...]
    examples: int
    channels: int
    kind: str  # LLVM's name of the element type

    @property
    def itemsize(self) -> int:
        return itemsize(self.kind)

    @property
    def lanes(self) -> int:
        return engine.machine().vector_bytes // self.itemsize

    @property
    def input(self) -> Ints:
        return (self.examples, *(side.inputs for side in self.sides), self.channels)

    @property
    def output(self) -> Ints:
        return (self.examples, *(side.outputs for side in self.sides), self.channels)

    def panels(self, block: Block, vectors: int = VECTORS) -> Iterator[tuple[Block, list]]:
        """Blocks that together take all channels, and in each of them vectors as (first channel, lanes)."""
        for start, widths, count in panels_of(self.channels, Tile(1, vectors, self.lanes)):
            for inside, k in counted(block, count):
                column = k * (len(widths) * self.lanes) + start if count > 1 else start
                yield inside, [(column + v * self.lanes, n) for v, n in enumerate(widths)]

    def zero(self, block: Block, lanes: int) -> Value:
        return Value(block.root, literal(0.0, self.kind), self.kind, 1).spread(lanes)

    def end(self, epilogue: Epilogue, block: Block, index: list[Value], vectors: list, values: list[Value]) -> None:
        """The epilogue for every vector of channels."""
        for (column, lanes), value in zip(vectors, values, strict=True):
            epilogue(block, [*index, column if isinstance(column, Value) else block.integer(column)], resized(value, lanes))

    def zeros(self, block: Block, vectors: list) -> list[Value]:
        """0 in every channel."""
        return [self.zero(block, held(n)) for _, n in vectors]

    def element(self, block: Block, p: Value, step: int, place: tuple) -> Value:
        """A vector of channels from an address."""
        column, lanes = place
        if lanes == 1:
            return vector(block, load(block, at(p, column * step), 1, self.itemsize))
        if step == 1:
            return load(block, at(p, column * step), lanes, self.itemsize)
        x = self.zero(block, lanes)
        for k in range(lanes):
            one = load(block, at(p, (column + k) * step), 1, self.itemsize)
            x = block.effect(f"insertelement {x.type} {x.name}, {x.kind} {one.name}, i64 {k}", x.kind, lanes)
        return x


def held(lanes: int) -> int:
    """Lanes of the vector that stands for so many: one number is one of two lanes, as what is chosen lane by lane needs no
    jumps."""
    return max(lanes, 2)


def vector(block: Block, x: Value) -> Value:
    """A number as the first lane of a vector."""
    return x if x.lanes > 1 else block.effect(f"insertelement <2 x {x.kind}> poison, {x.kind} {x.name}, i64 0", x.kind, held(1))


def largest(a: Value, n: int) -> Value:
    return call("smax", a, constant(n, a))


def smallest(a: Value, n: int) -> Value:
    return call("smin", a, constant(n, a))


def share_of(number: Value, shares: int, units: int, unit: int = 1) -> tuple[Value, Any]:
    """The row, and the range of positions (None: all) that a piece of work takes."""
    if shares == 1:
        return number, None
    share = number.remainder(shares)
    low, high = [(s * units).quotient(shares) * unit for s in (share, share + 1)]
    return number.quotient(shares), (low, high)


def stretches(block: Block, bounds: Any, first: int, stop: int, total: int, step: int = 1) -> Iterator[tuple[Block, Value, bool]]:
    """Positions as (block, position, whether it lies from ``first`` to ``stop``, where it goes by steps)."""
    for begin, end, inner in ((0, first, False), (first, stop, True), (stop, total, False)):
        if begin == end:
            continue
        if bounds is None:
            with block.loop(begin, end, step if inner else 1) as loop:
                yield loop, loop.index, inner
        else:
            low, high = largest(bounds[0], begin), smallest(bounds[1], end)
            with block.loop(low, high, step if inner else 1, empty=True) as loop:
                yield loop, loop.index, inner


def each(block: Block, ranges: list[tuple], state: list[Value], step: Callable, most: int = WRITTEN_TAPS, taps: tuple = ()) -> list:
    """``state = step(block, taps, state)`` for all taps in these ranges in row-major order. The last axes are written out
    up to so many, the others are loops."""
    if not ranges:
        return step(block, taps, state)
    low, high = ranges[0]
    fixed = all(isinstance(n, int) for r in ranges for n in r)
    if fixed and prod(b - a for a, b in ranges) <= most:
        for t in range(low, high):
            state = each(block, ranges[1:], state, step, most, (*taps, t))
        return state
    iterate = lambda loop, inside: each(loop, ranges[1:], inside, step, most, (*taps, loop.index))
    return block.repeat(low, high, state, iterate, empty=not (isinstance(low, int) and isinstance(high, int)))


def larger(x: Value, best: Value) -> Value:
    """The larger of two elements, NaN where one is."""
    return where(x.isnan(), x, where(x > best, x, best))


def beats(x: Value, best: Value) -> Value:
    """Whether x is larger than what was found before it: a number than smaller ones, NaN than numbers."""
    above = write(f"fcmp ugt {x.type} {x.name}, {best.name}", "i1", x.lanes, x, best)
    return above & ~best.isnan()


# -- windows to elements -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ByRow:
    """A spec whose piece of work is a row of windows, or a share of it."""

    plane: Plane
    shares: int = field(default=1, kw_only=True)

    @property
    def rows(self) -> int:
        """Rows of windows."""
        return prod(self.plane.output[:-2])

    @property
    def units(self) -> int:
        """Windows of a row."""
        return self.plane.sides[-1].outputs

    @property
    def pieces(self) -> int:
        """Pieces of work."""
        return self.rows * self.shares


@dataclass(frozen=True)
class Fold(ByRow):
    """An element for each window of x: its ``max``; ``push``, the element of t there; ``sum``; ``code``, the first maximum's
    number among the taps, kept in an array."""

    what: str
    steps: tuple[Ints, ...]
    codes: str = ""

    @property
    def work(self) -> float:
        """Operations, or what takes as long."""
        taps = prod(side.taps for side in self.plane.sides)
        inputs, outputs = len(self.steps) * prod(self.plane.input), prod(self.plane.output)
        return float(MOVED * (inputs + outputs) + 2 * taps * outputs)

    def write(self, block: Block, pointers: list[Value], epilogue: Epilogue | None, begin: Value, end: Value) -> None:
        """The code of pieces from begin to end."""
        *outer, last = self.plane.sides
        with block.loop(begin, end) as piece:
            row, bounds = share_of(piece.index, self.shares, self.units)
            n, *places = unflattened(row, self.plane.output[:-2])
            ranges = [side.taps_at(o) for side, o in zip(outer, places, strict=True)]
            first, stop = last.whole if last.taps <= WRITTEN_TAPS else (0, 0)
            for inside, o, whole in stretches(piece, bounds, first, stop, last.outputs):
                taps = [*ranges, (0, last.taps) if whole else last.taps_at(o)]
                for panel, vectors in self.plane.panels(inside):
                    self.window(panel, pointers, epilogue, [n, *places, o], taps, vectors)

    def window(self, block: Block, pointers: list, epilogue: Epilogue | None, index: list, ranges: list, vectors: list) -> None:
        """One window, for some channels."""
        sides, count = self.plane.sides, len(vectors)
        starts = [index[0], *(o * side.stride - side.low for side, o in zip(sides, index[1:], strict=True))]
        sources = [moved(p, s[:-1], starts) for p, s in zip(pointers, self.steps, strict=False)]

        def elements(inside: Block, k: int, taps: tuple) -> list:
            p = moved(sources[k], self.steps[k][1:-1], taps)
            return [self.plane.element(inside, p, self.steps[k][-1], v) for v in vectors]

        def second(inside: Block, taps: tuple) -> list:
            return elements(inside, 1, taps) if self.what == "push" else [self.number(inside, taps, held(n)) for _, n in vectors]

        def step(inside: Block, taps: tuple, state: list) -> list:
            if begun and all(isinstance(t, int) for t in (*taps, *begun)) and taps == begun:
                return state
            x = elements(inside, 0, taps)
            if self.what == "sum":
                return [s + e for s, e in zip(state, x, strict=True)]
            if self.what == "max":
                return [larger(e, s) for s, e in zip(state, x, strict=True)]
            wins = [beats(e, s) for s, e in zip(state, x, strict=False)]
            return [
                *(where(w, e, s) for w, e, s in zip(wins, x, state, strict=False)),
                *(where(w, e, s) for w, e, s in zip(wins, second(inside, taps), state[count:], strict=True)),
            ]

        begun: tuple = ()
        if self.what == "sum":
            state = self.plane.zeros(block, vectors)
        else:
            begun = tuple([low for low, _ in ranges])
            state = elements(block, 0, begun) + (second(block, begun) if self.what in ("push", "code") else [])
        found = each(block, ranges, state, step)[-count:]
        if self.what != "code":
            assert epilogue is not None
            return self.plane.end(epilogue, block, index, vectors, found)
        kept = moved(Value(pointers[-1].block, pointers[-1].name, self.codes, 1), strides_of(self.plane.output)[:-1], index)
        for (column, lanes), value in zip(vectors, found, strict=True):
            store(block, at(kept, column), resized(value, lanes), 1)

    def number(self, block: Block, taps: tuple, lanes: int) -> Value:
        """The number of a tap in every lane."""
        return tap_number(block, self.plane.sides, taps, self.codes).spread(lanes)


def tap_number(block: Block, sides: tuple[Side, ...], taps: tuple, kind: str) -> Value:
    """The number of a tap in row-major order."""
    total: Any = 0
    for t, apart in zip(taps, strides_of(tuple(side.taps for side in sides)), strict=True):
        total = t * apart + total if isinstance(t, Value) else total + t * apart
    return total.to(kind) if isinstance(total, Value) else Value(block.root, literal(total, kind), kind, 1)


# -- elements to windows -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Spread:
    """For each input the sum of g over the windows that hold it; with ``codes``, over those of which it is the first maximum.
    A piece of work is a row of inputs, or a share of it."""

    plane: Plane
    steps: Ints
    codes: str = ""
    shares: int = 1

    @property
    def rows(self) -> int:
        """Rows of inputs."""
        return prod(self.plane.input[:-2])

    @property
    def units(self) -> int:
        """Steps of the window in a row."""
        last = self.plane.sides[-1]
        return -(-last.inputs // last.stride)

    @property
    def pieces(self) -> int:
        """Pieces of work."""
        return self.rows * self.shares

    @property
    def work(self) -> float:
        """Operations, or what takes as long."""
        taps = prod(side.taps for side in self.plane.sides)
        return float(MOVED * (prod(self.plane.input) + prod(self.plane.output)) + 2 * taps * prod(self.plane.output))

    @property
    def whole(self) -> tuple[int, int]:
        """The inputs that are taken ``stride`` at once: none of the windows that may hold them is missing."""
        last = self.plane.sides[-1]
        if last.stride > WRITTEN_TAPS // 2 or last.taps > WRITTEN_TAPS:
            return 0, 0
        apart = [d for held in last.holders for d, _ in held]
        first = max(0, -min(apart))
        stop = min(last.outputs - max(apart), last.inputs // last.stride)
        return (first * last.stride, stop * last.stride) if first < stop else (0, 0)

    def write(self, block: Block, pointers: list[Value], epilogue: Epilogue | None, begin: Value, end: Value) -> None:
        """The code of pieces from begin to end."""
        assert epilogue is not None
        *outer, last = self.plane.sides
        with block.loop(begin, end) as piece:
            row, bounds = share_of(piece.index, self.shares, self.units, last.stride)
            index = unflattened(row, self.plane.input[:-2])
            ranges = [side.windows_at(i) for side, i in zip(outer, index[1:], strict=True)]
            for inside, i, whole in stretches(piece, bounds, *self.whole, last.inputs, last.stride):
                vectors = max(1, min(VECTORS, 8 // last.stride)) if whole else VECTORS
                for panel, places in self.plane.panels(inside, vectors):
                    inputs = _Inputs(self, pointers, [*index, i], places)
                    inputs.together(panel, ranges, epilogue) if whole else inputs.one(panel, ranges, epilogue)


class _Inputs:
    """Neighbouring inputs, from a place on, for some channels."""

    def __init__(self, spread: Spread, pointers: list[Value], index: list, vectors: list):
        self.spread, self.plane, self.index, self.vectors = spread, spread.plane, index, vectors
        self.g = pointers[0]
        if spread.codes:
            self.codes = Value(pointers[1].block, pointers[1].name, spread.codes, 1)

    def one(self, block: Block, ranges: list, epilogue: Epilogue) -> None:
        """One input, whichever windows hold it."""
        last = self.plane.sides[-1]
        zeros = self.plane.zeros(block, self.vectors)

        def step(inside: Block, places: tuple, state: list) -> list:
            return self.added(inside, places, self.taps(places), state)

        found = each(block, [*ranges, last.windows_at(self.index[-1])], zeros, step)
        self.plane.end(epilogue, block, self.index, self.vectors, found)

    def together(self, block: Block, ranges: list, epilogue: Epilogue) -> None:
        """As many inputs as the stride has, all of whose windows are there."""
        last, count = self.plane.sides[-1], len(self.vectors)
        zeros = self.plane.zeros(block, self.vectors) * last.stride
        start = self.index[-1].quotient(last.stride)

        def step(inside: Block, places: tuple, state: list) -> list:
            out: list[Value] = []
            known: dict[int, tuple] = {}
            for r, held in enumerate(last.holders):
                sums = state[r * count : (r + 1) * count]
                for d, tap in held:
                    sums = self.added(inside, (*places, start + d if d else start), (*self.taps(places), tap), sums, known, d)
                out += sums
            return out

        found = each(block, ranges, zeros, step)
        for r in range(last.stride):
            index = [*self.index[:-1], self.index[-1] + r if r else self.index[-1]]
            self.plane.end(epilogue, block, index, self.vectors, found[r * count : (r + 1) * count])

    def taps(self, places: tuple) -> tuple:
        """The taps at which these windows along the first axes hold the input."""
        sides = self.plane.sides
        return tuple(i - o * side.stride + side.low for i, o, side in zip(self.index[1:], places, sides, strict=False))

    def added(self, block: Block, places: tuple, taps: tuple, sums: list, known: dict | None = None, key: int = 0) -> list:
        """Sums and what one window adds to them; ``known`` holds what was loaded of it before."""
        known = {} if known is None else known
        if key not in known:
            known[key] = self.loaded(block, places)
        g, codes = known[key]
        if not codes:
            return [s + x for s, x in zip(sums, g, strict=True)]
        number = tap_number(block, self.plane.sides, taps, self.spread.codes)
        return [where(c == number, s + x, s) for s, x, c in zip(sums, g, codes, strict=True)]

    def loaded(self, block: Block, places: tuple) -> tuple[list, list]:
        """g at a window, and the numbers of the taps."""
        places, steps = (self.index[0], *places), self.spread.steps
        p = moved(self.g, steps[:-1], places)
        g = [self.plane.element(block, p, steps[-1], v) for v in self.vectors]
        if not self.spread.codes:
            return g, []
        p = moved(self.codes, strides_of(self.plane.output)[:-1], places)
        codes = [load(block, at(p, column), n, 1) for column, n in self.vectors]
        return g, [vector(block, c) for c in codes]


@dataclass(frozen=True)
class Share(ByRow):
    """For windows that do not overlap: g at the first maximum of each window of x, 0 elsewhere. A window has the inputs from
    where it begins to where the next one does."""

    steps: tuple[Ints, Ints]

    @property
    def work(self) -> float:
        """Operations, or what takes as long."""
        return float((2 * MOVED + 2) * prod(self.plane.input) + MOVED * prod(self.plane.output))

    def write(self, block: Block, pointers: list[Value], epilogue: Epilogue | None, begin: Value, end: Value) -> None:
        """The code of pieces from begin to end."""
        assert epilogue is not None
        last = self.plane.sides[-1]
        first, stop = last.whole if last.taps <= WRITTEN_TAPS else (0, 0)
        if first < stop == last.outputs and (last.outputs * last.stride - last.low) != last.inputs:
            stop -= 1  # the last window has fewer or more inputs
        first, stop = (first, stop) if first < stop else (0, 0)
        with block.loop(begin, end) as piece:
            row, bounds = share_of(piece.index, self.shares, self.units)
            n, *places = unflattened(row, self.plane.output[:-2])
            for inside, o, whole in stretches(piece, bounds, first, stop, last.outputs):
                for panel, vectors in self.plane.panels(inside):
                    one = _Owned(self, pointers, [n, *places, o], vectors, whole)
                    one.covered(panel, epilogue)
                    one.gaps(panel, 0, [], epilogue)


class _Owned:
    """The inputs of one window, for some channels; ``whole`` says that along the last axis they are all there."""

    def __init__(self, share: Share, pointers: list[Value], index: list, vectors: list, whole: bool):
        self.plane, self.steps, self.index, self.vectors, self.whole = share.plane, share.steps, index, vectors, whole
        sides = self.plane.sides
        self.starts = [o * side.stride - side.low for o, side in zip(index[1:], sides, strict=True)]
        self.ranges = [side.taps_at(o) for o, side in zip(index[1:-1], sides, strict=False)]
        self.ranges.append((0, sides[-1].taps) if whole else sides[-1].taps_at(index[-1]))
        self.source = moved(pointers[0], self.steps[0][:-1], [index[0], *self.starts])
        self.g = moved(pointers[1], self.steps[1][:-1], index)

    def elements(self, block: Block, taps: tuple) -> list:
        p = moved(self.source, self.steps[0][1:-1], taps)
        return [self.plane.element(block, p, self.steps[0][-1], v) for v in self.vectors]

    def covered(self, block: Block, epilogue: Epilogue) -> None:
        """The maximum, and then g where an input equals it for the first time."""
        kept: dict[tuple, list] = {}  # what is in registers, where there are no loops

        def elements(inside: Block, taps: tuple) -> list:
            if not all(isinstance(t, int) for t in taps):
                return self.elements(inside, taps)
            x = kept.get(taps) or self.elements(inside, taps)
            if len(kept) * len(x) < KEPT:
                kept[taps] = x
            return x

        def fold(inside: Block, taps: tuple, state: list) -> list:
            return [s if e is s else larger(e, s) for s, e in zip(state, elements(inside, taps), strict=True)]

        def put(inside: Block, taps: tuple, free: list) -> list:
            hits = [(e == m) | e.isnan() for e, m in zip(elements(inside, taps), best, strict=True)]
            index = [self.index[0], *(s + t for s, t in zip(self.starts, taps, strict=True))]
            values = [where(h & f, y, 0.0) for h, f, y in zip(hits, free, g, strict=True)]
            self.plane.end(epilogue, inside, index, self.vectors, values)
            return [f & ~h for f, h in zip(free, hits, strict=True)]

        best = each(block, self.ranges, elements(block, tuple([low for low, _ in self.ranges])), fold)
        g = [self.plane.element(block, self.g, self.steps[1][-1], v) for v in self.vectors]
        free = [Value(block.root, "true", "i1", 1).spread(held(n)) for _, n in self.vectors]
        short = epilogue.length * len(free) * prod(side.taps for side in self.plane.sides) <= WRITTEN_INSTRUCTIONS
        each(block, self.ranges, free, put, WRITTEN_TAPS if short else 0)

    def gaps(self, block: Block, k: int, places: list, epilogue: Epilogue) -> None:
        """0 for inputs that no window covers, along the axes from the k-th on."""
        sides = self.plane.sides
        if k == len(sides):
            return
        side, start, o = sides[k], self.starts[k], self.index[1 + k]
        low, high = self.ranges[k]
        if any(s.gaps for s in sides[k + 1 : -1]) or (k + 1 < len(sides) and self.gaps_last):
            with block.loop(low, high) as loop:
                self.gaps(loop, k + 1, [*places, start + loop.index], epilogue)
        if not (side.gaps if k + 1 < len(sides) else self.gaps_last):
            return
        stop = where(o == side.outputs - 1, side.inputs, start + side.stride)
        with block.loop(start + high, stop, empty=True) as loop:
            self.zeros(loop, k + 1, [*places, loop.index], epilogue)

    @property
    def gaps_last(self) -> bool:
        """Whether along the last axis there may be inputs that the window does not cover."""
        last = self.plane.sides[-1]
        return last.stride > last.taps if self.whole else last.gaps

    def zeros(self, block: Block, k: int, places: list, epilogue: Epilogue) -> None:
        """0 for all inputs of the window along the axes from the k-th on."""
        if k == len(self.plane.sides):
            zeros = self.plane.zeros(block, self.vectors)
            assert epilogue is not None
            return self.plane.end(epilogue, block, [self.index[0], *places], self.vectors, zeros)
        side, start, o = self.plane.sides[k], self.starts[k], self.index[1 + k]
        stop = where(o == side.outputs - 1, side.inputs, start + side.stride)
        with block.loop(largest(start, 0), stop, empty=True) as loop:
            self.zeros(loop, k + 1, [*places, loop.index], epilogue)
