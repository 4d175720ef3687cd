"""The register tile as C functions, for kernels that are written in numba: instructions for this CPU's vectors and registers."""

from __future__ import annotations

import functools

from fad.native.cpu import machine
from fad.native.ir import Block, Loop, Value, fma, itemsize, typed
from fad.native.module import Module
from fad.native.tile import at, counted, fixed, load, repeated, store, transposed

__all__ = ["ROWS", "tile_function", "tile_vectors", "transpose_function"]

ROWS = 6


def tile_vectors() -> int:
    """The most vectors that a tile of ROWS rows may have: its sums, one vector of each operand, and no register to spare."""
    return 4 if machine().registers >= 32 else 2


@functools.cache
def tile_function(vectors: int, kind: str) -> tuple[str, str]:
    """The name and the IR text of

        void tile(x, rows, shifts, runs, depth, step, panel, stride, columns, y, y_rows, add)

    y[y_rows[r] + j] = (add ? itself : 0)
                     + sum over t < runs and k < depth of x[rows[r] + shifts[t] + k step] panel[(t depth + k) stride + j]

    for ROWS rows r and j < columns, at most ``vectors`` vectors of them. Offsets count elements. The sums stay in registers
    throughout; rows may be alike, as all of y is read before any of it is written.
    """
    module, size = Module(machine().has_fma), itemsize(kind)
    lanes = machine().vector_bytes // size
    name = f"fad_tile_{ROWS}x{vectors}_{kind}"

    def body(block: Block) -> None:
        x, panel, y = (Value(block, f"%{n}", kind, 1) for n in ("x", "panel", "y"))
        rows, shifts, y_rows, runs, depth, step, stride, columns, add = (
            Value(block, f"%{n}", "i64", 1)
            for n in ("rows", "shifts", "y_rows", "runs", "depth", "step", "stride", "columns", "add")
        )
        number = lambda inside, p, k: load(inside, at(p, k), 1, 8)
        starts = [at(x, number(block, rows, r)) for r in range(ROWS)]

        def one_run(outer: Loop, sums: list[Value]) -> list[Value]:
            shift = number(outer, shifts, outer.index)
            left = [fixed(at(p, shift)) for p in starts]
            right = fixed(at(panel, outer.index * depth * stride))

            def one_step(inner: Loop, sums: list[Value]) -> list[Value]:
                b = [load(inner, at(right, inner.index * stride, v * lanes), lanes, size) for v in range(vectors)]
                new = []
                for r in range(ROWS):
                    a = load(inner, at(left[r], inner.index * step), 1, size)
                    new += [fma(a, b[v], sums[r * vectors + v]) for v in range(vectors)]
                return new

            return outer.repeat(0, depth, sums, one_step)

        sums = block.repeat(0, runs, [repeated(block, 0.0, kind, lanes)] * (ROWS * vectors), one_run)
        whole = columns == vectors * lanes
        places = [at(y, number(block, y_rows, r), v * lanes) for r in range(ROWS) for v in range(vectors)]
        for condition, masks in ((whole, None), (~whole, [lanes_below(columns, v * lanes, lanes) for v in range(vectors)])):
            with block.when(condition & (add == 0)) as last:
                for k, place in enumerate(places):
                    keep(last, place, sums[k], size, masks[k % vectors] if masks else None)
            with block.when(condition & (add != 0)) as last:
                total = [
                    sums[k] + found(last, place, lanes, size, masks[k % vectors] if masks else None)
                    for k, place in enumerate(places)
                ]
                for k, place in enumerate(places):
                    keep(last, place, total[k], size, masks[k % vectors] if masks else None)

    arguments = (
        "ptr %x, ptr %rows, ptr %shifts, i64 %runs, i64 %depth, i64 %step, ptr %panel, i64 %stride, i64 %columns, "
        "ptr %y, ptr %y_rows, i64 %add"
    )
    module.function(f"void @{name}({arguments}) noinline", body)
    return name, shared(module)


def lanes_below(columns: Value, first: int, lanes: int) -> Value:
    """Which lanes of the vector that begins at column ``first`` are columns."""
    return counted(columns.block, lanes, first) < columns


def found(block: Block, place: Value, lanes: int, size: int, mask: Value | None) -> Value:
    """A vector from memory; where there is a mask, only the lanes it has are read."""
    if mask is None:
        return load(block, place, lanes, size)
    kind = typed(place.kind, lanes)
    name = f"@llvm.masked.load.v{lanes}f{8 * size}.p0"
    block.module.declare(f"declare {kind} {name}(ptr, i32, <{lanes} x i1>, {kind})")
    return block.effect(
        f"call {kind} {name}(ptr {place.name}, i32 {size}, {mask.type} {mask.name}, {kind} zeroinitializer)", place.kind, lanes
    )


def keep(block: Block, place: Value, x: Value, size: int, mask: Value | None) -> None:
    """A vector to memory; where there is a mask, only the lanes it has are written."""
    if mask is None:
        return store(block, place, x, size)
    name = f"@llvm.masked.store.v{x.lanes}f{8 * size}.p0"
    block.module.declare(f"declare void {name}({x.type}, ptr, i32, {mask.type})")
    block.append(f"call void {name}({x.type} {x.name}, ptr {place.name}, i32 {size}, {mask.type} {mask.name})")


@functools.cache
def transpose_function(kind: str) -> tuple[str, str]:
    """The name and the IR text of ``void transpose(x, x_step, y, y_step)``: y[j y_step + i] = x[i x_step + j] for a square of as
    many rows and columns as a vector has lanes."""
    module, size = Module(), itemsize(kind)
    lanes = machine().vector_bytes // size
    name = f"fad_transpose_{kind}"

    def body(block: Block) -> None:
        x, y = (Value(block, f"%{n}", kind, 1) for n in "xy")
        x_step, y_step = (Value(block, f"%{n}", "i64", 1) for n in ("x_step", "y_step"))
        for k, row in enumerate(transposed([load(block, at(x, x_step * k), lanes, size) for k in range(lanes)])):
            store(block, at(y, y_step * k), row, size)

    module.function(f"void @{name}(ptr %x, i64 %x_step, ptr %y, i64 %y_step) noinline", body)
    return name, shared(module)


def shared(module: Module) -> str:
    """The text of a module whose functions several libraries may bring along."""
    return str(module).replace("define void", "define weak_odr void")
