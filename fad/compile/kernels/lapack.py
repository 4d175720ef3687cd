"""LAPACK in programs: a stack of matrices, one after another in each piece of work, so that threads share many small ones.

Operands are copied into memory of the matrix's own, where LAPACK works in place, and results are read from there into what
follows them. LAPACK counts columns first: a matrix in the order of rows is its transpose to it. Orders are chosen as NumPy
does, so that signs of vectors are the same. Where a routine fails, results are NaN and the program says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from fad.compile.kernels.elimination import MOST, Rows, factor_cholesky, factor_lu, substitute, swap_rows
from fad.compile.kernels.recipe import KINDS, Phase, Recipe
from fad.native import engine
from fad.native.ir import Block, Value, constant, itemsize, literal, unflattened, where, write
from fad.native.scipy_code import lapack_symbol
from fad.native.tile import Epilogue, at, counted, each_vector, load, moved, plus, rounded, store
from fad.native.vecmath import log

__all__ = ["FAILED", "Lapack", "lapack"]

FAILED = 16  # what the flag says where a matrix has no factors
COLUMNS = 32  # that LAPACK's blocks have: work memory for one of them
THREADED = 32  # rows from which products inside of gesdd wake up threads of LAPACK's own
LETTERS = {"double": "d", "float": "s"}


@dataclass(frozen=True)
class Lapack:
    """One operation for each matrix of a stack: ``shapes`` and ``strides`` are those of the operands' matrices and of whole
    operands along the stack; ``scratch`` are elements of memory for each."""

    operation: str
    kind: str
    stack: tuple[int, ...]
    shapes: tuple[tuple[int, int], ...]
    strides: tuple[tuple[int, ...], ...]
    options: tuple = ()
    strict: bool = True
    cost: float = 1.0
    routines: tuple[str, ...] = ()  # what it calls

    @property
    def how(self) -> Operation:
        """How it is written."""
        return operation_of(self.operation, self.shapes[-1][0])

    @property
    def scratch(self) -> int:
        """Elements of memory for each matrix, whole lines of the cache of them."""
        return rounded(sum(self.how.parts(self)), 16)

    @property
    def matrices(self) -> int:
        """How many."""
        return prod(self.stack)

    @property
    def pieces(self) -> int:
        """Matrices that threads share, but where LAPACK's own threads do: then all of them are one piece."""
        threaded = self.operation == "svd" and min(self.shapes[0]) > THREADED
        return 1 if threaded else self.matrices

    @property
    def work(self) -> float:
        """Operations, and what a call costs."""
        return self.matrices * (self.cost + 1000.0)

    def write(self, block: Block, pointers: list[Value], epilogue: Epilogue | None, begin: Value, end: Value) -> None:
        """The code of matrices from begin to end; the last pointers are those of scratch memory and of the flag."""
        assert epilogue is not None
        *operands, memory, flag = pointers
        info = block.root.effect("alloca i32, align 4", "ptr", 1)
        first, last = (0, self.matrices) if self.pieces == 1 else (begin, end)
        with block.loop(first, last) as one:
            index = unflattened(one.index, self.stack) if self.stack else []
            found = [moved(p, s[:-2], index) for p, s in zip(operands, self.strides, strict=True)]
            own, parts = at(memory, one.index * self.scratch), []
            for size in self.how.parts(self):
                parts.append(own)
                own = at(own, size)
            self.how.write(_Matrix(self, one, found, parts, info, flag, index, epilogue))


def lapack(
    operation: str, shape: tuple, dtype: np.dtype, stack: tuple, shapes: list, strides: list, flops: float, **params: Any
) -> Recipe:
    """The recipe for operands with these shapes and strides in elements."""
    strict, options = params.pop("strict", True), tuple(params.values())
    matrices = tuple([s[-2:] for s in shapes])
    kind = KINDS[dtype]
    routines = tuple([LETTERS[kind] + name for name in operation_of(operation, matrices[-1][0]).routines])
    for name in routines:
        lapack_symbol(name)
    spec = Lapack(operation, kind, stack, matrices, tuple(strides), options, strict, flops / prod(stack), routines)
    phase = Phase(spec, (*range(len(shapes)), -1), last=True, asks=True)
    return Recipe((phase,), (spec.matrices * spec.scratch,), shape)


class _Matrix:
    """The code for one matrix: what it is made of, and what writes it."""

    def __init__(self, spec: Lapack, block: Block, operands: list, parts: list, info: Value, flag: Value, index: list, out: Any):
        self.spec, self.block, self.operands, self.parts = spec, block, operands, parts
        self.info, self.flag, self.index, self.epilogue = info, flag, index, out
        self.lanes, self.size = engine.machine().vector_bytes // itemsize(spec.kind), itemsize(spec.kind)
        self.bad: Value | None = None

    def copy(self, operand: int, to: Value, by_rows: bool, lead: int | None = None) -> None:
        """The matrix of an operand into memory, row after row or column after column, ``lead`` elements apart."""
        (m, n), (down, across) = self.spec.shapes[operand], self.spec.strides[operand][-2:]
        source = self.operands[operand]
        if not by_rows:
            m, n, down, across = n, m, across, down
        with self.block.loop(0, m) as row:
            p, q = at(source, row.index * down), at(to, row.index * (lead or n))
            if across == 1:
                act = lambda b, j, lanes: store(b, at(q, j), load(b, at(p, j), lanes, self.size), self.size)
                each_vector(row, row.integer(0), row.integer(n), n, self.lanes, act)
            else:
                with row.loop(0, n) as column:
                    j = column.index
                    store(column, at(q, j), load(column, at(p, j * across), 1, self.size), self.size)

    def call(self, routine: str, *args: Any, told: bool = True) -> None:
        """A routine: letters, numbers and addresses; ``told``: it tells whether it failed."""
        name = lapack_symbol(LETTERS[self.spec.kind] + routine)
        given = [a.name if isinstance(a, Value) else self.constant(a) for a in (*args, *([self.info] if told else []))]
        self.block.module.declare(f'declare void @"{name}"({", ".join(["ptr"] * len(given))})')
        self.block.append(f'call void @"{name}"({", ".join(f"ptr {a}" for a in given)})')
        if told:
            failed = self.block.effect(f"load i32, ptr {self.info.name}", "i32", 1) != 0
            self.bad = failed if self.bad is None else self.bad | failed

    def constant(self, x: str | int | float) -> str:
        """The address of a number or letter."""
        kind = self.spec.kind
        name, value = {
            str: (f"@lapack.{x}", f"i8 {ord(x) if isinstance(x, str) else 0}"),
            int: (f"@lapack.{x}", f"i32 {x}"),
            float: (f"@lapack.{kind}.{x}", f"{kind} {literal(x, kind) if isinstance(x, float) else 0}"),
        }[type(x)]
        self.block.module.declare(f"{name} = private constant {value}")
        return name

    def pivot(self, block: Block, order: Value, i: Value) -> Value:
        """The row that came to place i, counted from 1."""
        p = write(f"getelementptr i32, ptr {order.name}, i64 {i.name}", "ptr", 1, order, i)
        return block.effect(f"load i32, ptr {p.name}", "i32", 1).to("i64")

    def tell(self) -> None:
        """Say so if a routine failed."""
        if self.spec.strict and self.bad is not None:
            with self.block.when(self.bad) as inside:
                inside.append(f"store i64 {FAILED}, ptr {self.flag.name}")

    def give(self, block: Block, place: list, value: Value) -> None:
        """An element, or a vector of them, of the result."""
        if self.bad is not None:
            value = where(self.bad, constant(float("nan"), value), value)
        self.epilogue(block, [*self.index, *place], value)

    def give_rows(self, source: Value, m: int, n: int, place: Callable, lead: int | None = None, lower: bool = False) -> None:
        """A matrix that lies row after row, or its lower triangle and zeros."""
        with self.block.loop(0, m) as row:
            p = at(source, row.index * (lead or n))

            def act(b: Block, j: Value, lanes: int) -> None:
                value = load(b, at(p, j), lanes, self.size)
                if lower:
                    kept = j.spread(lanes) + counted(b, lanes) <= row.index.spread(lanes)
                    value = where(kept, value, constant(0.0, value))
                self.give(b, place(row.index, j), value)

            each_vector(row, row.integer(0), row.integer(n), n, self.lanes, act)

    def give_columns(
        self, source: Value, m: int, n: int, place: Callable, lead: int | None = None, upper: bool = False, lower: bool = False
    ) -> None:
        """A matrix that lies column after column, or a triangle of it and zeros."""
        with self.block.loop(0, m) as row:
            with row.loop(0, n) as column:
                i, j = row.index, column.index
                value = load(column, at(source, j * (lead or m), i), 1, self.size)
                if upper or lower:
                    value = where((j < i) if upper else (i < j), constant(0.0, value), value)
                self.give(column, place(i, j), value)

    def give_vector(self, source: Value, n: int, first: int = 0) -> None:
        """Numbers that lie side by side in the result."""
        give = lambda b, j, lanes: self.give(b, [plus(j, first)], load(b, at(source, j), lanes, self.size))
        each_vector(self.block, self.block.integer(0), self.block.integer(n), n, self.lanes, give)


def packed(first: int, columns: int) -> Callable:
    """Where an element of a matrix lies among the results of a factorisation."""
    return lambda i, j: [i * columns + j + first]


# -- operations -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Operation:
    """How one of them is written: the memory it wants, in elements, and the routines it calls."""

    routines: tuple[str, ...]
    parts: Callable[[Lapack], tuple[int, ...]]
    write: Callable[[_Matrix], None]


def width(n: int) -> int:
    return min(n, COLUMNS)


def square(s: Lapack) -> int:
    return s.shapes[0][0]


def rows_of(x: _Matrix, part: Value, rows: int, columns: int) -> Rows:
    """A part of the memory as a matrix for elimination; few columns take short vectors."""
    return Rows(part, rows, columns, lanes_for(x.spec, columns), x.size)


def lanes_for(s: Lapack, columns: int) -> int:
    """Lanes of vectors along so many columns."""
    most = engine.machine().vector_bytes // itemsize(s.kind)
    return min(most, 1 << (columns - 1).bit_length())


def area(s: Lapack, rows: int, columns: int) -> int:
    """Elements of memory for a matrix, rows of whole vectors."""
    return rows * rounded(columns, lanes_for(s, columns))


def write_cholesky(x: _Matrix) -> None:
    n, a = square(x.spec), x.parts[0]
    x.copy(0, a, by_rows=True)
    x.call("potrf", "U", n, a, n)
    x.tell()
    x.give_rows(a, n, n, lambda i, j: [i, j], lower=True)


def write_small_cholesky(x: _Matrix) -> None:
    n = square(x.spec)
    u = rows_of(x, x.parts[0], n, n)
    x.copy(0, u.start, by_rows=False, lead=u.lead)
    x.bad = factor_cholesky(x.block, u)
    x.tell()
    x.give_columns(u.start, n, n, lambda i, j: [i, j], lead=u.lead, lower=True)


def lu_of_transpose(x: _Matrix) -> tuple[Value, Value]:
    """The triangular factors of the transpose, and the rows' order."""
    n, (a, order) = square(x.spec), x.parts[:2]
    x.copy(0, a, by_rows=True)
    x.call("getrf", n, n, a, n, order)
    return a, order


def small_lu(x: _Matrix, by_rows: bool = True) -> tuple[Rows, Rows, Value]:
    """The triangular factors, the rows' order and its sign."""
    n = square(x.spec)
    a, order = rows_of(x, x.parts[0], n, n), Rows(x.parts[1], 1, n, 1, x.size)
    x.copy(0, a.start, by_rows=by_rows, lead=a.lead)
    return a, order, factor_lu(x.block, a, order)


def order_rows(x: _Matrix, b: Rows, places: Value, backwards: bool = False) -> None:
    """Each row changes with the one that a number says, or all that is undone."""
    with x.block.loop(0, b.rows) as one:
        i = (b.rows - 1) - one.index if backwards else one.index
        p = load(one, at(places, i), 1, x.size).to("i64")
        with one.when(p != i) as inside:
            swap_rows(inside, b, i, p)


def solve_small(x: _Matrix, a: Rows, order: Rows, b: Rows) -> None:
    """The solution in the place of right sides."""
    order_rows(x, b, order.start)
    substitute(x.block, a, b, lower=True, unit=True)
    substitute(x.block, a, b, lower=False)
    x.bad = has_zero(x, a.start, a.lead + 1)
    x.tell()
    x.give_rows(b.start, b.rows, b.columns, lambda i, j: [i, j], lead=b.lead)


def write_lu(x: _Matrix) -> None:
    n, (a, order) = square(x.spec), lu_of_transpose(x)
    x.bad = None  # whoever solves with it asks the diagonal
    x.give_vector(a, n * n)
    with x.block.loop(0, n) as one:
        x.give(one, [one.index + n * n], (x.pivot(one, order, one.index) - 1).to(x.spec.kind))


def write_small_lu(x: _Matrix) -> None:
    n = square(x.spec)
    a, order, _ = small_lu(x, by_rows=False)
    x.give_columns(a.start, n, n, packed(0, n), lead=a.lead)
    with x.block.loop(0, n) as one:
        x.give(one, [one.index + n * n], order.number(one, 0, one.index))


def write_lu_solve(x: _Matrix) -> None:
    """With the triangles c and d of the factors: c d p y = b, or its transpose."""
    (n, k), (transposed,), f = x.spec.shapes[1], x.spec.options, x.operands[0]
    small = n <= MOST
    b = rows_of(x, x.parts[0], n, k) if small else Rows(x.parts[0], n, k, 1, x.size)
    x.copy(1, b.start, by_rows=True, lead=b.lead)

    def solve_triangle(lower: bool) -> None:
        if small:
            substitute(x.block, Rows(f, n, n, 1, x.size), b, lower, unit=not lower, transposed=transposed)
        else:
            seen, turn, unit = "U" if lower else "L", "T" if transposed else "N", "N" if lower else "U"
            x.call("trsm", "R", seen, turn, unit, k, n, 1.0, f, n, b.start, k, told=False)

    if transposed:
        order_rows(x, b, at(f, n * n))
    solve_triangle(lower=not transposed)
    solve_triangle(lower=transposed)
    if not transposed:
        order_rows(x, b, at(f, n * n), backwards=True)
    x.bad = has_zero(x, f, n + 1)
    x.tell()
    x.give_rows(b.start, n, k, lambda i, j: [i, j], lead=b.lead)


def has_zero(x: _Matrix, a: Value, step: int) -> Value:
    """Whether a diagonal has a zero."""

    def look(loop: Any, state: list[Value]) -> list[Value]:
        return [state[0] | (load(loop, at(a, loop.index * step), 1, x.size) == 0)]

    return x.block.repeat(0, x.spec.shapes[-1][0], [Value(x.block.root, "false", "i1", 1)], look)[0]


def write_small_solve(x: _Matrix) -> None:
    (n, k), (a, order, _) = x.spec.shapes[1], small_lu(x)
    b = rows_of(x, x.parts[2], n, k)
    x.copy(1, b.start, by_rows=True, lead=b.lead)
    solve_small(x, a, order, b)


def write_triangular(x: _Matrix) -> None:
    """Right sides are solved for as they lie, and so is the matrix read, unless its elements lie apart."""
    (n, k), (lower,) = x.spec.shapes[1], x.spec.options
    (down, across), (a, b) = x.spec.strides[0][-2:], x.parts
    if across == 1 and down >= n:
        a, lead, turned = x.operands[0], down, False
    elif down == 1 and across >= n:
        a, lead, turned = x.operands[0], across, True
    else:
        lead, turned = n, False
        x.copy(0, a, by_rows=True)
    x.copy(1, b, by_rows=True)
    x.call("trsm", "R", "U" if lower != turned else "L", "T" if turned else "N", "N", k, n, 1.0, a, lead, b, k, told=False)
    x.bad = has_zero(x, a, lead + 1)
    x.give_rows(b, n, k, lambda i, j: [i, j])


def write_small_triangular(x: _Matrix) -> None:
    (n, k), (lower,) = x.spec.shapes[1], x.spec.options
    a, b = rows_of(x, x.parts[0], n, n), rows_of(x, x.parts[1], n, k)
    as_it_lies = x.spec.strides[0][-2] != 1  # else its transpose is copied in order
    x.copy(0, a.start, by_rows=as_it_lies, lead=a.lead)
    x.copy(1, b.start, by_rows=True, lead=b.lead)
    substitute(x.block, a, b, lower if as_it_lies else not lower, transposed=not as_it_lies)
    x.bad = has_zero(x, a.start, a.lead + 1)
    x.give_rows(b.start, n, k, lambda i, j: [i, j], lead=b.lead)


def write_inv(x: _Matrix) -> None:
    n = square(x.spec)
    a, order = lu_of_transpose(x)
    x.call("getri", n, a, n, order, x.parts[2], n * width(n))
    x.tell()
    x.give_rows(a, n, n, lambda i, j: [i, j])


def write_small_inv(x: _Matrix) -> None:
    n, (a, order, _) = square(x.spec), small_lu(x)
    b = rows_of(x, x.parts[2], n, n)
    zero = constant(0.0, Value(x.block, "poison", x.spec.kind, b.lanes))
    with x.block.loop(0, n) as row:
        with row.loop(0, b.lead, b.lanes) as v:
            b.put(v, row.index, v.index, zero)
        b.put(row, row.index, row.index, constant(1.0, Value(row, "poison", x.spec.kind, 1)))
    solve_small(x, a, order, b)


def signed_diagonal(x: _Matrix) -> tuple[Value, Callable]:
    """1 or -1, as the order of rows is even or odd, and the diagonal of u."""
    n = square(x.spec)
    if n <= MOST:
        small, _, sign = small_lu(x)
        return sign, lambda b, i: small.number(b, i, i)
    a, order = lu_of_transpose(x)
    x.bad = None  # a pivot 0 is a determinant 0

    def step(loop: Any, state: list[Value]) -> list[Value]:
        return [where(x.pivot(loop, order, loop.index) == loop.index + 1, state[0], -state[0])]

    one = constant(1.0, Value(x.block, "poison", x.spec.kind, 1))
    (sign,) = x.block.repeat(0, n, [one], step)
    return sign, lambda b, i: load(b, at(a, i * (n + 1)), 1, x.size)


def write_det(x: _Matrix) -> None:
    sign, diagonal = signed_diagonal(x)
    (y,) = x.block.repeat(0, square(x.spec), [sign], lambda b, s: [s[0] * diagonal(b, b.index)])
    x.give(x.block, [], y)


def write_slogdet(x: _Matrix) -> None:
    sign, diagonal = signed_diagonal(x)

    def step(b: Any, state: list[Value]) -> list[Value]:
        u = diagonal(b, b.index)
        negative = where(u < 0, constant(-1.0, u), where(u > 0, constant(1.0, u), u))  # 0 and NaN as they are
        return [state[0] * negative, state[1] + log(abs(u))]

    both = x.block.repeat(0, square(x.spec), [sign, constant(0.0, sign)], step)
    for k, y in enumerate(both):
        x.give(x.block, [x.block.integer(k)], y)


def qr_parts(s: Lapack) -> tuple[int, ...]:
    (m, n), (complete,) = s.shapes[0], s.options
    columns = m if complete else n
    return m * columns, n, max(columns, n) * width(columns)


def write_qr(x: _Matrix) -> None:
    (m, n), (complete,) = x.spec.shapes[0], x.spec.options
    k, (a, tau, work) = m if complete else n, x.parts
    x.copy(0, a, by_rows=False)
    x.call("geqrf", m, n, a, m, tau, work, n * width(k))
    x.give_columns(a, n, n, packed(m * k, n), lead=m, upper=True)
    x.call("orgqr", m, k, n, a, m, tau, work, k * width(k))
    x.give_columns(a, m, k, packed(0, k))


def write_eigh(x: _Matrix) -> None:
    n, (lower,), (a, w, work, whole) = square(x.spec), x.spec.options, x.parts
    x.copy(0, a, by_rows=False)
    x.call("syevd", "V", "L" if lower else "U", n, a, n, w, work, eigh_work(n), whole, 3 + 5 * n)
    x.tell()
    x.give_vector(w, n)
    x.give_columns(a, n, n, packed(n, n))


def eigh_work(n: int) -> int:
    return 1 + 6 * n + 2 * n * n + n * width(n)


def svd_parts(s: Lapack) -> tuple[int, ...]:
    (m, n), (full,) = s.shapes[0], s.options
    k = min(m, n)
    return m * n, m * (m if full else k), k, (n if full else k) * n, svd_work(m, n), 8 * k


def svd_work(m: int, n: int) -> int:
    k = min(m, n)
    return 4 * k * k + 7 * k + (m + n) * width(m + n)


def write_svd(x: _Matrix) -> None:
    (m, n), (full,), (a, u, s, v, work, whole) = x.spec.shapes[0], x.spec.options, x.parts
    k = min(m, n)
    left, right = (m, n) if full else (k, k)
    x.copy(0, a, by_rows=False)
    x.call("gesdd", "A" if full else "S", m, n, a, m, s, u, m, v, right, work, svd_work(m, n), whole)
    x.tell()
    x.give_columns(u, m, left, packed(0, left))
    x.give_vector(s, k, first=m * left)
    x.give_columns(v, right, n, packed(m * left + k, n))


def lu_parts(s: Lapack) -> tuple[int, ...]:
    return square(s) ** 2, square(s)


def small_lu_parts(s: Lapack) -> tuple[int, ...]:
    return area(s, square(s), square(s)), square(s)


OPERATIONS = {
    "cholesky": Operation(("potrf",), lambda s: (square(s) ** 2,), write_cholesky),
    "lu": Operation(("getrf",), lu_parts, write_lu),
    "lu_solve": Operation(("trsm",), lambda s: (prod(s.shapes[1]),), write_lu_solve),
    "solve_triangular": Operation(("trsm",), lambda s: (square(s) ** 2, prod(s.shapes[1])), write_triangular),
    "inv": Operation(("getrf", "getri"), lambda s: (*lu_parts(s), square(s) * width(square(s))), write_inv),
    "det": Operation(("getrf",), lu_parts, write_det),
    "qr": Operation(("geqrf", "orgqr"), qr_parts, write_qr),
    "eigh": Operation(("syevd",), lambda s: (square(s) ** 2, square(s), eigh_work(square(s)), 3 + 5 * square(s)), write_eigh),
    "svd": Operation(("gesdd",), svd_parts, write_svd),
}
SMALL = {
    "cholesky": Operation((), lambda s: (area(s, square(s), square(s)),), write_small_cholesky),
    "solve": Operation((), lambda s: (*small_lu_parts(s), area(s, *s.shapes[1])), write_small_solve),
    "lu": Operation((), small_lu_parts, write_small_lu),
    "lu_solve": Operation((), lambda s: (area(s, *s.shapes[1]),), write_lu_solve),
    "solve_triangular": Operation((), lambda s: (area(s, square(s), square(s)), area(s, *s.shapes[1])), write_small_triangular),
    "inv": Operation((), lambda s: (*small_lu_parts(s), area(s, square(s), square(s))), write_small_inv),
    "det": Operation((), small_lu_parts, write_det),
    "slogdet": Operation((), small_lu_parts, write_slogdet),
}


def operation_of(name: str, size: int) -> Operation:
    """How it is written for matrices of so many rows."""
    first, second = (SMALL, OPERATIONS) if size <= MOST else (OPERATIONS, SMALL)
    return first[name] if name in first else second[name]
