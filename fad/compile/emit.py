"""Emit: loops as LLVM IR, with explicit vectors.

The last vector of a loop overlaps the one before it, so that there is no code for what is left over, but where elements
must be computed once. Accumulators are vectors, folded across their lanes at the end.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fad.compile.body import Access, Instruction
from fad.compile.control import FLAG
from fad.compile.kernel import KernelRun, as_one
from fad.compile.loops import Loops
from fad.compile.rows import Rows
from fad.compile.scalar import KIND, STORED, convert, kind_of
from fad.core.lowering import Fold
from fad.native.ir import Block, Value, fma, literal, resized, typed, unflattened, where, write
from fad.native.machine_model import CALLED_BYTES, CALLED_FUNCTIONS, CALLED_WORK, HEAVY
from fad.native.module import Module
from fad.native.tile import Epilogue, at
from fad.native.vecmath import cos, sin

__all__ = ["load_addresses", "shape_of_code", "write_function", "write_nest"]

ACROSS = {operator.add: ("fadd", -0.0), operator.mul: ("fmul", 1.0)}  # LLVM's folds of the lanes of a vector of floats


def shape_of_code(loops: Loops | KernelRun | Rows) -> tuple[tuple, list[int]]:
    """What decides the code of a nest, and its buffers in the order in which the code counts them."""
    buffers: dict[int, int] = {}

    def place(a: Access) -> tuple:
        return buffers.setdefault(a.buffer, len(buffers)), a.offset, a.strides, a.dtype.str

    if isinstance(loops, Rows):
        codes = []
        for n in (*loops.nests, *loops.sums):
            code, own = shape_of_code(n)
            codes.append((code, tuple([buffers.setdefault(b, len(buffers)) for b in own])))
        return ("rows", loops.block, len(loops.nests), *codes), list(buffers)
    kernel: tuple = ()
    if isinstance(loops, KernelRun):
        kernel = (loops.phase.spec, tuple([place(a) for a in loops.operands]))
        if loops.asks:
            buffers[FLAG] = len(buffers)
        if loops.body is None:
            return kernel, list(buffers)
    body = loops.body
    assert body is not None
    instructions = tuple(
        [
            (
                i.name,
                i.dtype.str,
                i.args,
                tuple([d.str for d in i.dtypes]),
                i.access and place(i.access),
                i.value.tobytes() if isinstance(i.value, np.generic) else i.value,
            )
            for i in body.instructions
        ]
    )
    stores = tuple([(place(a), v) for a, v in body.stores])
    folds = tuple([(op.name, place(a), v) for op, a, v in body.folds])
    scatters = tuple([(place(s[0]), *s[1:]) for s in body.scatters])
    if body.asks_range:
        buffers.setdefault(FLAG, len(buffers))
    if isinstance(loops, KernelRun):
        return (*kernel, loops.joins, body.box, instructions, stores), list(buffers)
    return (
        loops.extents,
        loops.reduced,
        loops.vector,
        loops.lanes,
        loops.outer,
        loops.strip,
        loops.exact,
        loops.jam,
        instructions,
        stores,
        folds,
        scatters,
    ), list(buffers)


def write_function(module: Module, name: str, nests: Sequence[Any], buffers: Sequence[int], linkage: str = "") -> None:
    """``void name(ptr data, i64 begin, i64 end)``: nests one after another; of one with outer loops, the iterations from
    begin to end of these. ``data`` holds the addresses of the buffers."""

    def body(block: Block) -> None:
        addresses = load_addresses(block, buffers)
        for loops in nests:
            write_nest(block, loops, addresses, Value(block, "%begin", "i64", 1), Value(block, "%end", "i64", 1))

    module.function(f"{linkage}void @{name}(ptr noalias %data, i64 %begin, i64 %end)", body)


def load_addresses(block: Block, buffers: Sequence[int]) -> dict[int, str]:
    """The addresses of the buffers, from ``data``."""
    data = Value(block, "%data", "ptr", 1)
    addresses = {}
    for k, b in enumerate(buffers):
        p = write(f"getelementptr inbounds ptr, ptr {data.name}, i64 {k}", "ptr", 1, data)
        addresses[b] = write(f"load ptr, ptr {p.name}, align 8", "ptr", 1, p).name
    return addresses


def write_nest(block: Block, loops: Loops | KernelRun | Rows, addresses: dict[int, str], begin: Value, end: Value) -> None:
    """A nest; of one with outer loops, the iterations from begin to end."""
    if isinstance(loops, KernelRun):
        write_kernel(block, loops, addresses, begin, end)
        return
    if isinstance(loops, Rows):
        write_rows(block, loops, addresses, begin, end)
        return
    with block.section() as inside:  # what a nest loads, the next one may not take from it
        writer = _Writer(loops, {b: Value(inside, at, "ptr", 1) for b, at in addresses.items()}.__getitem__)
        if not loops.outer and not loops.strip:
            writer.write(inside, [])
            return
        with inside.loop(begin, end) as iteration:
            if loops.strip:
                writer.first = smaller(iteration.index * loops.strip, loops.extents[0] - loops.strip)
            writer.write(iteration, unflattened(iteration.index, loops.extents[: loops.outer]) if loops.outer else [])


def write_rows(block: Block, rows: Rows, addresses: dict[int, str], begin: Value, end: Value) -> None:
    """Blocks from begin to end: in each, nests one after another on every row, then the reductions of these rows."""

    def write_on(around: Block, nests: tuple[Loops, ...], index: list[Value]) -> None:
        for loops in nests:
            with around.section() as inside:
                _Writer(loops, {b: Value(inside, at, "ptr", 1) for b, at in addresses.items()}.__getitem__).write(inside, index)

    with block.loop(begin, end) as iteration:
        first = iteration.index * rows.block
        if rows.block == 1:
            write_on(iteration, rows.nests, unflattened(iteration.index, rows.extents))
            return
        with iteration.loop(first, first + rows.block) as row:
            write_on(row, rows.nests, unflattened(row.index, rows.extents))
        write_on(iteration, rows.sums, [iteration.index])


def write_kernel(block: Block, run: KernelRun, addresses: dict[int, str], begin: Value, end: Value) -> None:
    """A phase of a kernel from begin to end; the body after it takes vectors of the result at their place in it."""
    kind = STORED[run.operands[0].dtype.str[1:]]
    pointers = [at(Value(block, addresses[a.buffer], kind, 1), a.offset) for a in run.operands]
    if run.asks:
        pointers.append(Value(block, addresses[FLAG], "i64", 1))
    epilogue = None
    if run.body is not None:
        rank = len(run.body.box)
        loops = Loops(run.body, run.extents, (False,) * rank, rank - 1, 16)
        body, joins = run.body, run.joins
        ends = [sum(joins[: k + 1]) for k in range(len(joins))]
        groups = [range(end - n, end) for end, n in zip(ends, joins, strict=True)]
        counting = [as_one(body, axes, body.accesses) for axes in groups]

        def take(inside: Block, index: list, value: Value) -> None:
            writer = _Writer(loops, {b: Value(block, p, "ptr", 1) for b, p in addresses.items()}.__getitem__)
            writer.result = value
            full: list[Value] = []
            for i, axes, one in zip(index, groups, counting, strict=True):
                if one is None:
                    full += unflattened(i, loops.extents[axes.start : axes.stop])
                else:
                    full += [i if a == one else inside.integer(0) for a in axes]
            writer.write_point(inside, full, value.lanes)

        epilogue = Epilogue(take, len(body.instructions))

    run.phase.spec.write(block, pointers, epilogue, begin, end)


def smaller(i: Value, n: int) -> Value:
    """The smaller of an index and a number."""
    return where(i < n, i, n)


class _Writer:
    """Writes one nest into a block; ``pointers`` gives the address of a buffer."""

    def __init__(self, loops: Loops, pointers: Any):
        self.loops, self.pointers = loops, pointers
        self.body = loops.body
        self.result: Any = None  # of the kernel before the body
        self.first: Value | None = None  # where a strip of the vector axis begins
        heavy = [i for i in self.body.instructions if i.cost > HEAVY]
        self.outline = len(heavy) > CALLED_FUNCTIONS or bool(
            heavy
            and loops.extents
            and (loops.work < CALLED_WORK or len(heavy) * loops.lanes * heavy[0].dtype.itemsize > CALLED_BYTES)
        )
        self.both = {i.args for i in heavy if i.function is sin} & {i.args for i in heavy if i.function is cos}

    def write(self, block: Block, index: list[Value]) -> None:
        """The loops inside the outer ones, whose indices are given."""
        self.write_kept(block, len(index), [index], 1)

    def write_kept(self, block: Block, axis: int, places: list[list], lanes: int) -> None:
        """The loops over axes that are not reduced; ``places`` are the indices of iterations taken side by side."""
        loops = self.loops
        if axis == len(loops.extents) or loops.reduced[axis]:
            self.write_inner(block, axis, places, lanes)
        elif axis == loops.jam:
            jammed = range(loops.extents[axis])
            self.write_kept(block, axis + 1, [[*index, block.integer(k)] for index in places for k in jammed], lanes)
        else:
            for inside, i, width in self.iterate(block, axis):
                with inside as b:
                    self.write_kept(b, axis + 1, [[*index, i(b)] for index in places], width if axis == loops.vector else lanes)

    def iterate(self, block: Block, axis: int) -> list:
        """(context of a block, index in it, lanes) of the loop over an axis; the last vector overlaps, or has fewer lanes."""
        n, vector = self.loops.extents[axis], axis == self.loops.vector
        lanes = self.loops.lanes if vector else 1
        if vector and self.first is not None:
            return [(block.loop(self.first, self.first + self.loops.strip, lanes), lambda b: b.index, lanes)]
        full = n - n % lanes
        if vector and full != n and not self.loops.exact:
            return [(block.loop(0, n, lanes), lambda b: smaller(b.index, n - lanes), lanes)]
        found = []
        if full > lanes:
            found.append((block.loop(0, full, lanes), lambda b: b.index, lanes))
        elif full:
            found.append((block.section(), lambda b: b.integer(0), lanes))
        if n % lanes:
            found.append((block.section(), lambda b: b.integer(full), n % lanes))
        return found

    def write_inner(self, block: Block, axis: int, places: list[list], lanes: int) -> None:
        """The point, or the loops over reduced axes and the folds' results."""
        if not self.body.folds:
            for index in places:
                self.write_point(block, index, lanes)
            return
        loops = self.loops
        across = bool(loops.extents) and loops.reduced[loops.vector]  # lanes are reduced, too
        widths = [lanes]
        if across:
            n = loops.extents[loops.vector]
            widths = [w for w in (loops.lanes if n >= loops.lanes else 0, n % loops.lanes) if w]
        start = [[self.neutral(block, op.lower, a.dtype, w) for _ in places for op, a, _ in self.body.folds] for w in widths]
        totals = self.fold(block, axis, places, widths, start)
        for k, index in enumerate(places):
            for j, (op, access, _) in enumerate(self.body.folds):
                at = k * len(self.body.folds) + j
                total = totals[0][at]
                if len(totals) > 1:
                    total = combine(op.lower, total, pad_lanes(totals[1][at], start[0][at]))
                total = fold_lanes(op.lower, total) if across else total
                self.store(block, access, index + [block.integer(0)] * (len(loops.extents) - len(index)), total, lanes)

    def fold(self, block: Block, axis: int, places: list[list], widths: list, accs: list) -> list:
        """The accumulators after the loops over reduced axes from this one on; one list of them for each width."""
        loops = self.loops
        if axis == len(loops.extents):
            return [self.fold_points(block, places, widths[0], accs[0])]
        if axis == loops.vector:
            return [
                self.fold_vectors(block, axis, places, w, a, whole=(k == 0 and loops.extents[axis] >= loops.lanes))
                for k, (w, a) in enumerate(zip(widths, accs, strict=True))
            ]
        with block.loop(0, loops.extents[axis]) as loop:
            inside = [[loop.carried(a) for a in group] for group in accs]
            after = self.fold(loop, axis + 1, [[*index, loop.index] for index in places], widths, inside)
            for group, new in zip(inside, after, strict=True):
                for a, b in zip(group, new, strict=True):
                    loop.update(a, b)
        return [[loop.last(a) for a in group] for group in inside]

    def fold_vectors(self, block: Block, axis: int, places: list[list], width: int, accs: list, whole: bool) -> list:
        """The innermost loop, over whole vectors or over what is left of them."""
        n = self.loops.extents[axis]
        full = n - n % self.loops.lanes
        if not whole or full == width:
            at = block.integer(0 if whole else full)
            return self.fold_points(block, [[*index, at] for index in places], width, accs)
        step = lambda loop, state: self.fold_points(loop, [[*index, loop.index] for index in places], width, state)
        return block.repeat(0, full, accs, step, step=width)

    def fold_points(self, block: Block, places: list[list], lanes: int, accs: list) -> list:
        found, rest = [], iter(accs)
        for index in places:
            values = self.write_point(block, index, lanes)
            found += [self.accumulate(op.lower, next(rest), v, values, lanes) for op, _, v in self.body.folds]
        return found

    def accumulate(self, fold: Fold, acc: Value, v: int, values: list, lanes: int) -> Value:
        """An accumulator with one more value; a sum of products rounds once."""
        i = self.body.instructions[v]
        if acc.is_float and i.function is operator.mul and function_of(fold, acc) is operator.add:
            return fma(values[i.args[0]].spread(lanes), values[i.args[1]].spread(lanes), acc)
        return combine(fold, acc, values[v].spread(lanes))

    def neutral(self, block: Block, fold: Fold, dtype: np.dtype, lanes: int) -> Value:
        """Where a fold begins."""
        kind = KIND[dtype.str[1:]]
        return Value(block.root, literal(fold.neutral(dtype), kind), kind, 1).spread(lanes)

    # -- one point ------------------------------------------------------------------------------------------------

    def write_point(self, block: Block, index: list, lanes: int) -> list[Value]:
        """The body at an index: the values of its instructions; stores are done."""
        values: list[Value] = []
        for i in self.body.instructions:
            if i.name == "load":
                values.append(self.load(block, i.access, index, lanes))
            elif i.name == "result":
                values.append(self.result)
            elif i.name == "number":
                kind = kind_of(i.dtype)
                values.append(Value(block.root, literal(i.value, kind), kind, 1))
            elif i.name == "gather":
                values.append(self.gather(block, i, [values[a] for a in i.args], index, lanes))
            else:
                values.append(self.apply(i, [values[a] for a in i.args]))
        for access, v in self.body.stores:
            self.store(block, access, index, values[v], lanes)
        for access, places, axes, v, adds in self.body.scatters:
            offset = self.offset(block, [values[a] for a in places], axes)
            self.scatter(block, access, offset, index, values[v].spread(lanes), adds)
        return values

    def apply(self, i: Instruction, args: list[Value]) -> Value:
        """An elementwise instruction on values; a heavy one by a call where the body has many, for LLVM's time."""
        if i.name == "astype":
            return convert(args[0], i.dtypes[0], i.dtype)
        module = args[0].block.module
        if not (self.outline and i.cost > HEAVY and all(a.is_float and (a.lanes > 1 or self.loops.lanes == 1) for a in args)):
            return i.function(*args)
        if i.args in self.both and i.function in (sin, cos):
            return module.outlined("sincos", lambda x: [sin(x), cos(x)], args, self.loops.lanes)[i.function is cos]
        return module.outlined(i.name, lambda *xs: [i.function(*xs)], args, self.loops.lanes)[0]

    def pointer(self, access: Access, index: list, back: int = 0, more: Value | None = None) -> Value:
        """The address of an access, its loop-invariant part first."""
        base = self.pointers(access.buffer)
        offset: Any = access.offset - back
        for i, s in zip(index, access.strides, strict=True):
            if s and i.name != "0":
                offset = offset + (i if s == 1 else i * s)
        offset = offset if more is None else more + offset
        if isinstance(offset, int):
            offset = Value(base.block.root, str(offset), "i64", 1)
        return write(f"getelementptr inbounds {memory(access.dtype)}, ptr {base.name}, i64 {offset.name}", "ptr", 1, base, offset)

    def load(self, block: Block, access: Access, index: list, lanes: int, more: Value | None = None) -> Value:
        """Elements from memory, ``more`` of them further on."""
        stride = access.strides[self.loops.vector] if access.strides and lanes > 1 else 0
        size, kind = access.dtype.itemsize, memory(access.dtype)
        if stride == 0:
            p = self.pointer(access, index, 0, more)
            x = write(f"load {kind}, ptr {p.name}, align {size}", kind, 1, p)
        elif stride in (1, -1):
            p = self.pointer(access, index, lanes - 1 if stride < 0 else 0, more)
            x = write(f"load {typed(kind, lanes)}, ptr {p.name}, align {size}", kind, lanes, p)
            x = x if stride > 0 else reverse(x)
        else:
            p = self.pointer(access, index, 0, more)
            x = gather_lanes(p, kind, size, stride, lanes)
        return x.to("i1") if access.dtype.kind == "b" else x

    def offset(self, block: Block, at: list[Value], axes: tuple) -> Value:
        """What index values add to an address, in elements. Negative ones count from the end; one that is out of range
        sets the flag, and reads the first element."""
        total: Any = 0
        for i, (stride, size) in zip(at, axes, strict=True):
            i = where(i < 0, i + size, i)
            bad = (i < 0) | (i >= size)
            flag = self.pointers(FLAG)
            deepest = bad.block if bad.block.depth > flag.block.depth else flag.block
            out, fine = block.module.name("out"), block.module.name("fine")
            deepest.append(f"br i1 {bad.any().name}, label {out}, label {fine}, !prof !0")
            deepest.append(f"{out[1:]}:")
            deepest.append(f"store i64 1, ptr {flag.name}")
            deepest.append(f"br label {fine}")
            deepest.append(f"{fine[1:]}:")
            total = where(bad, 0, i) * stride + total
        return total

    def gather(self, block: Block, i: Instruction, at: list[Value], index: list, lanes: int) -> Value:
        offset = self.offset(block, at, i.value)
        if offset.lanes == 1:
            return self.load(block, i.access, index, lanes, offset)
        stride = i.access.strides[self.loops.vector]
        p, kind, size = self.pointer(i.access, index), memory(i.dtype), i.dtype.itemsize
        x = Value(block.root, "poison", kind, lanes)
        for k in range(lanes):
            one = write(f"extractelement {offset.type} {offset.name}, i64 {k}", "i64", 1, offset) + k * stride
            q = write(f"getelementptr {kind}, ptr {p.name}, i64 {one.name}", "ptr", 1, p, one)
            y = write(f"load {kind}, ptr {q.name}, align {size}", kind, 1, q)
            x = write(f"insertelement {x.type} {x.name}, {kind} {y.name}, i64 {k}", kind, lanes, x, y)
        return x.to("i1") if i.dtype.kind == "b" else x

    def scatter(self, block: Block, access: Access, offset: Value, index: list, value: Value, adds: bool) -> None:
        """Add or put a value where the indices say, lane after lane if they differ."""
        kind, size, lanes = memory(access.dtype), access.dtype.itemsize, value.lanes
        stride = access.strides[self.loops.vector] if access.strides and lanes > 1 else 0
        p = self.pointer(access, index)
        whole = lanes == 1 or (offset.lanes == 1 and stride == 1)
        for k in range(1 if whole else lanes):
            at = offset if offset.lanes == 1 else write(f"extractelement {offset.type} {offset.name}, i64 {k}", "i64", 1, offset)
            x = value if whole else write(f"extractelement {value.type} {value.name}, i64 {k}", kind, 1, value)
            at = at if whole else at + k * stride
            q = write(f"getelementptr {kind}, ptr {p.name}, i64 {at.name}", "ptr", 1, p, at)
            new = block.effect(f"load {x.type}, ptr {q.name}, align {size}", kind, x.lanes) + x if adds else x
            block.append(f"store {new.type} {new.name}, ptr {q.name}, align {size}")

    def store(self, block: Block, access: Access, index: list, value: Value, lanes: int) -> None:
        stride = access.strides[self.loops.vector] if access.strides and lanes > 1 else 0
        kind, size = memory(access.dtype), access.dtype.itemsize
        value = value.to("i8") if value.kind == "i1" else value
        if stride == 0:
            p = self.pointer(access, index)
            block.append(f"store {kind} {value.name}, ptr {p.name}, align {size}")
        elif stride == 1:
            value, p = value.spread(lanes), self.pointer(access, index)
            block.append(f"store {value.type} {value.name}, ptr {p.name}, align {size}")
        else:
            value, p = value.spread(lanes), self.pointer(access, index)
            for k in range(lanes):
                q = write(f"getelementptr {kind}, ptr {p.name}, i64 {k * stride}", "ptr", 1, p)
                x = write(f"extractelement {value.type} {value.name}, i64 {k}", kind, 1, value)
                block.append(f"store {kind} {x.name}, ptr {q.name}, align {size}")


def memory(dtype: np.dtype) -> str:
    """The kind in which elements lie in memory: booleans are bytes."""
    return "i8" if dtype.kind == "b" else STORED[dtype.str[1:]]


def reverse(x: Value) -> Value:
    """The lanes in reverse order."""
    order = ", ".join(f"i32 {k}" for k in reversed(range(x.lanes)))
    return write(f"shufflevector {x.type} {x.name}, {x.type} poison, <{x.lanes} x i32> <{order}>", x.kind, x.lanes, x)


def gather_lanes(p: Value, kind: str, size: int, stride: int, lanes: int) -> Value:
    """Elements that lie ``stride`` apart, one by one into a vector."""
    x = Value(p.block, "poison", kind, lanes)
    for k in range(lanes):
        q = write(f"getelementptr {kind}, ptr {p.name}, i64 {k * stride}", "ptr", 1, p)
        one = write(f"load {kind}, ptr {q.name}, align {size}", kind, 1, q)
        x = write(f"insertelement {x.type} {x.name}, {kind} {one.name}, i64 {k}", kind, lanes, one)
    return x


def function_of(fold: Fold, x: Value) -> Callable:
    """What combines two values like x."""
    native = fold.combine.lower
    return native.floats if x.is_float else native.booleans if x.kind == "i1" else native.integers


def combine(fold: Fold, x: Value, y: Value) -> Value:
    """Two values, or two accumulators, as one."""
    return function_of(fold, x)(x, y)


def fold_lanes(fold: Fold, x: Value) -> Value:
    """The fold of all lanes, halves upon halves."""
    across = ACROSS.get(function_of(fold, x))
    if across and x.is_float and x.lanes > 1:
        op, start = across
        function = f"@llvm.vector.reduce.{op}.v{x.lanes}f{x.bits}"
        x.block.module.declare(f"declare {x.kind} {function}({x.kind}, {x.type})")
        return write(f"call reassoc {x.kind} {function}({x.kind} {literal(start, x.kind)}, {x.type} {x.name})", x.kind, 1, x)
    while x.lanes > 1:
        if x.lanes % 2:
            head, tail = take_lanes(x, 0, x.lanes - 1), take_lanes(x, x.lanes - 1, 1)
            return combine(fold, fold_lanes(fold, head), tail)
        x = combine(fold, take_lanes(x, 0, x.lanes // 2), take_lanes(x, x.lanes // 2, x.lanes // 2))
    return x


def pad_lanes(x: Value, neutral: Value) -> Value:
    """A short vector as a longer one, filled up with a fold's neutral element."""
    wide = resized(x, neutral.lanes)
    order = ", ".join(f"i32 {k if k < x.lanes else neutral.lanes + k}" for k in range(neutral.lanes))
    return write(
        f"shufflevector {wide.type} {wide.name}, {wide.type} {neutral.name}, <{wide.lanes} x i32> <{order}>",
        x.kind,
        wide.lanes,
        wide,
    )


def take_lanes(x: Value, start: int, lanes: int) -> Value:
    """Some of the lanes."""
    if lanes == 1:
        return write(f"extractelement {x.type} {x.name}, i64 {start}", x.kind, 1, x)
    order = ", ".join(f"i32 {start + k}" for k in range(lanes))
    return write(f"shufflevector {x.type} {x.name}, {x.type} poison, <{lanes} x i32> <{order}>", x.kind, lanes, x)
