"""The register tile under every product: ROWS rows by a few vectors of sums that stay in registers while the depth runs.

Three functions here are more than plain loops: `tile`, `copy` and `transpose`. What each does is the NumPy in its body. In
compiled code a C function stands in its place, whose instructions `fad.native.functions` writes for this CPU, or a vector is
moved.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from fad.kernels.pieces import part
from fad.native.cpu import machine
from fad.native.functions import ROWS, tile_function, tile_vectors, transpose_function

__all__ = ["BYTES", "ROWS", "clear", "copy", "fill_up", "move", "multiply", "pack", "tile", "width_of"]

BYTES = machine().vector_bytes
VECTORS = tile_vectors()  # of the widest tile; there is one for each power of two up to it


def tile(x, first, rows, row, shifts, run, runs, depth, step, panel, corner, width, columns, y, at, y_rows, add) -> None:
    """y[at + y_rows[r] + j] = (add and itself) + sum over t < runs and k < depth of
    x[first + rows[r] + shifts[run + t] + k step] panel[corner + (t depth + k) width + j], for ROWS rows r from ``row`` on and j
    < columns."""
    taken = np.add.outer(shifts[run : run + runs], np.arange(depth) * step).ravel()
    b = panel[corner:][: runs * depth * width].reshape(-1, width)[:, :columns]
    places = at + y_rows[row : row + ROWS, None] + np.arange(columns)
    sums = [x[first + start + taken] @ b for start in rows[row : row + ROWS]]
    y[places] = sums + y[places] if add else sums  # all is read before any is written: rows may be alike


def transpose(x, first, x_step, y, at, y_step) -> None:
    """y[at + j y_step + i] = x[first + i x_step + j] for as many rows and columns as a vector has lanes."""
    k = np.arange(BYTES // x.itemsize)
    y[at + np.add.outer(k * y_step, k)] = x[first + np.add.outer(k, k * x_step)]


def copy(x, first, y, at) -> None:
    """One vector: y[at + j] = x[first + j] for each of its lanes j."""
    lanes = BYTES // x.itemsize
    y[at : at + lanes] = x[first : first + lanes]


# -- what they are in compiled code -----------------------------------------------------------------------------------------


def address(context: Any, builder: Any, kind: Any, array: Any, offset: Any) -> Any:
    """Where an element of an array lies."""
    return builder.gep(context.make_array(kind)(context, builder, array).data, [offset])


def call(context: Any, builder: Any, name: str, text: str, values: list) -> Any:
    """A call of a C function, whose text becomes part of the library being compiled."""
    if name not in builder.module.globals:
        context.active_code_library.add_llvm_module(llvm.parse_assembly(text))
    values = [builder.bitcast(v, cgutils.voidptr_t) if isinstance(v.type, ir.PointerType) else v for v in values]
    builder.call(
        cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.VoidType(), [v.type for v in values]), name), values
    )
    return context.get_dummy_value()


def kind_of(x: Any) -> str:
    """LLVM's name of an array's dtype."""
    return {types.float32: "float", types.float64: "double"}[x.dtype]


@intrinsic(prefer_literal=True)
def native_tile(
    context, x, first, rows, row, shifts, run, runs, depth, step, panel, corner, width, columns, y, at, y_rows, add, vectors
):
    n = types.int64

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = lambda k, offset: address(context, builder, signature.args[k], args[k], offset)
        values = [
            place(0, args[1]),
            place(2, args[3]),
            place(4, args[5]),
            *args[6:9],
            place(9, args[10]),
            *args[11:13],
            place(13, args[14]),
            place(15, args[3]),
            args[16],
        ]
        return call(context, builder, *tile_function(vectors.literal_value, kind_of(x)), values)

    return types.void(x, n, rows, n, shifts, n, n, n, n, panel, n, n, n, y, n, y_rows, n, vectors), codegen


@intrinsic
def native_transpose(context, x, first, x_step, y, at, y_step):
    n = types.int64

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = lambda k: address(context, builder, signature.args[k], args[k], args[k + 1])
        return call(context, builder, *transpose_function(kind_of(x)), [place(0), args[2], place(3), args[5]])

    return types.void(x, n, n, y, n, n), codegen


@intrinsic
def native_copy(context, x, first, y, at):
    size = x.dtype.bitwidth // 8

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, target = (address(context, builder, signature.args[k], args[k], args[k + 1]) for k in (0, 2))
        vector = ir.VectorType(source.type.pointee, BYTES // size).as_pointer()
        loaded = builder.load(builder.bitcast(source, vector))
        loaded.align = size
        builder.store(loaded, builder.bitcast(target, vector)).align = size
        return context.get_dummy_value()

    return types.void(x, types.int64, y, types.int64), codegen


@overload(tile)
def tile_of_width(x, first, rows, row, shifts, run, runs, depth, step, panel, corner, width, columns, y, at, y_rows, add):
    lanes = BYTES // (x.dtype.bitwidth // 8)

    def chosen(x, first, rows, row, shifts, run, runs, depth, step, panel, corner, width, columns, y, at, y_rows, add):
        if width == lanes:
            native_tile(x, first, rows, row, shifts, run, runs, depth, step, panel, corner, width, columns, y, at, y_rows, add, 1)
        elif VECTORS == 2 or width == 2 * lanes:
            native_tile(x, first, rows, row, shifts, run, runs, depth, step, panel, corner, width, columns, y, at, y_rows, add, 2)
        else:
            native_tile(x, first, rows, row, shifts, run, runs, depth, step, panel, corner, width, columns, y, at, y_rows, add, 4)

    return chosen


overload(transpose)(
    lambda x, first, x_step, y, at, y_step: (
        lambda x, first, x_step, y, at, y_step: native_transpose(x, first, x_step, y, at, y_step)
    )
)
overload(copy)(lambda x, first, y, at: lambda x, first, y, at: native_copy(x, first, y, at))


# -- plain loops around them ------------------------------------------------------------------------------------------------


@part
def width_of(columns, lanes):
    """The width of the tile for so many columns or more: the narrowest that holds them, or the widest there is."""
    width = lanes
    while width < columns and width < VECTORS * lanes:
        width *= 2
    return width


@part
def move(x, first, y, at, count):
    """y[at + j] = x[first + j] for j < count."""
    lanes = BYTES // x.itemsize
    whole = count - count % lanes
    for j in range(0, whole, lanes):
        copy(x, first + j, y, at + j)
    for j in range(whole, count):
        y[at + j] = x[first + j]


@part
def clear(y, at, count):
    """y[at + j] = 0 for j < count."""
    for j in range(at, at + count):
        y[j] = 0


@part
def pack(w, first, row_step, column_step, rows, columns, width, panel, at, size):
    """Columns into panels that are ``width`` wide and ``size`` elements apart: panel[at + j // width size + i width + j % width] =
    w[first + i row_step + j column_step], and 0 after the last column."""
    lanes = BYTES // w.itemsize
    whole = columns - columns % lanes
    square = rows - rows % lanes if row_step == 1 else 0
    for i in range(0, square, lanes):
        for j in range(0, whole, lanes):
            transpose(w, first + i + j * column_step, column_step, panel, at + j // width * size + i * width + j % width, width)
    if column_step == 1:
        for i in range(rows):
            for j in range(0, whole, lanes):
                copy(w, first + i * row_step + j, panel, at + j // width * size + i * width + j % width)
    else:
        for i in range(square, rows):
            for j in range(whole):
                panel[at + j // width * size + i * width + j % width] = w[first + i * row_step + j * column_step]
    for i in range(rows):
        for j in range(whole, -(-columns // width) * width):
            panel[at + j // width * size + i * width + j % width] = w[first + i * row_step + j * column_step] if j < columns else 0


@part
def multiply(x, first, rows, count, shifts, run, runs, depth, step, panel, corner, width, columns, y, at, y_rows, add):
    """`tile` for ``count`` rows; after the last one the lists of rows name it again, up to a multiple of ROWS."""
    for row in range(0, count, ROWS):
        tile(x, first, rows, row, shifts, run, runs, depth, step, panel, corner, width, columns, y, at, y_rows, add)


@part
def fill_up(rows, count):
    """Name the last row again, up to a multiple of ROWS."""
    for k in range(count, -(-count // ROWS) * ROWS):
        rows[k] = rows[count - 1]
