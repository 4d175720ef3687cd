"""Plan: a partition's nests as loops in order, long reductions in blocks, pieces for threads, and a place for every buffer."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any

import numpy as np

from fad.compile import index as ix
from fad.compile.body import Access, Body, Instruction, pull_bodies
from fad.compile.contraction import recipe_of
from fad.compile.debug import Refused
from fad.compile.kernel import KernelRun, runs, summed
from fad.compile.loops import Loops, arrange, jam_axis, permute_loops, split_axis
from fad.compile.plan_control import plan_control
from fad.compile.rows import Rows, are_local, block_of, group_rows, map_writes, reads_own
from fad.compile.segment import Segment, describe, is_parallel, loads
from fad.compile.steps import Callback, Control, Nest, Partition, list_computed, scattered
from fad.compile.storage import find_takeovers, lay_out, memory_of, place_objects
from fad.core.expr import Const, Expr
from fad.core.primitive import Primitive
from fad.native.machine_model import PARTIAL_SUM, ROW_BLOCK, SECOND_CACHE, STRIP

__all__ = ["Plan", "plan"]


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything about a program but its machine code."""

    parts: Partition
    steps: tuple[Segment | Callback, ...]
    objects: dict[int, int]  # buffers that are Python objects: their places among inputs, constants, outputs, results
    offsets: dict[int, int]  # buffers in the arena: where they begin, in bytes
    arena: int  # bytes
    sizes: dict[int, int]  # bytes of the buffers that are no inputs or constants
    constants: tuple[np.ndarray, ...]
    outputs: tuple[tuple, ...]  # ("object", place), ("donated", place), ("input", k) or ("constant", array) for every output

    def __str__(self) -> str:
        lines: list[str] = []
        for step in self.steps:
            lines += [str(step)] if isinstance(step, Callback) else map(describe, step.nests)
        return "\n".join([*lines, f"arena: {self.arena} bytes"])


_number = itertools.count(-1, -1).__next__  # ids of buffers that are no nodes: a loop's own ones and those around it differ, too

# -- nests to loops ------------------------------------------------------------------------------------------------------


class _Planner:
    """Makes loops of nests, and counts the buffers that these want."""

    def __init__(self, parts: Partition, vector_bytes: int, donated: set[int]):
        self.parts, self.vector_bytes, self.donated = parts, vector_bytes, donated
        self.sizes: dict[int, int] = {}  # bytes of buffers that may live in the arena

    def plan_step(self, nests: list[Nest], done: set[int]) -> list[Any]:
        """The loops of one nest, or of several over the same rows."""
        found = self.plan_rows(nests, done) if len(nests) > 1 else self.plan_nest(nests[0], done)
        self.sizes.update({r.id: r.nbytes for nest in nests for r in nest.roots})
        return found

    def plan_nest(self, nest: Nest, done: set[int]) -> list[Any]:
        """The loops of a nest in order."""
        if isinstance(nest, Control):
            return [self.plan_control(nest)]
        if 0 in nest.domain:
            return self.fill_empty(nest)
        if nest.kernel is not None:
            return self.plan_kernel(nest, done)
        found: list[Loops] = []
        for body in pull_bodies(nest, self.parts, done):
            copies: list[Loops] = []
            loops = arrange(body, self.vector_bytes, self.is_in_place(body), partial(self.copy, copies))
            found += copies
            if body.scatters:  # in order: two may go to one place
                found += [*(() if found else self.begin_scatter(nest.roots[0])), *self.cut_columns(loops)]
            else:
                found += self.cut(loops)
        return found

    def is_in_place(self, body: Body) -> bool:
        """Whether a body touches memory that a result may take over."""
        return any(a.buffer in self.donated for a in body.accesses)

    def plan_rows(self, nests: list[Nest], done: set[int]) -> list[Any]:
        """Nests over the same rows, row by row if that is possible; reductions of the rows follow each block of them."""
        columns = [n for n in nests if n.reduced[:1] == (0,)]
        nests, before, found = [n for n in nests if n.reduced[:1] != (0,)], set(done), []
        for nest in nests:
            found += pull_bodies(nest, self.parts, before)
            before |= {r.id for r in nest.roots}
        count = len(nests[0].domain) - 1
        if len(found) != len(nests) or not are_local(found, count):
            separate: list[Any] = []
            before = set(done)
            for nest in (*nests, *columns):
                separate += self.plan_nest(nest, before)
                before |= {r.id for r in nest.roots}
            return separate
        in_place = any(map(self.is_in_place, found))
        rows = Rows(tuple([arrange(b, self.vector_bytes, in_place, rows=count) for b in found]))
        after: list[Any] = []
        for nest in columns:
            if (joined := self.join_rows(rows, nest, before, map_writes(found))) is None:
                after += self.plan_nest(nest, before)
            else:
                rows, sums = joined
                after += sums
            before |= {r.id for r in nest.roots}
        return [rows, *after]

    def join_rows(self, rows: Rows, nest: Nest, done: set[int], written: dict[int, Access]) -> tuple[Rows, list[Loops]] | None:
        """The rows with a reduction of them after each block, and the loops that add up what blocks give; None where that is not
        possible."""
        count, size = len(nest.domain) - 1, block_of(prod(nest.domain[:-1]))
        made = pull_bodies(nest, self.parts, done)
        if not size or len(made) != 1 or not reads_own(made[0], written, count):
            return None
        loops = arrange(made[0], self.vector_bytes)
        if loops.reduced != (False, True) or loops.extents[1] != prod(nest.domain[:-1]):
            return None
        main, *rest = self.reduce_in_blocks(loops, 1, size)
        if main.reduced != (False, False, True) or main.jam >= 0:
            return None
        return replace(rows, block=size, sums=(*rows.sums, replace(main, outer=1))), rest

    def plan_control(self, step: Control) -> Any:
        """A loop or branch with the nests of the Functions that it holds."""
        return plan_control(step, self.parts, self.buffer, partial(plan_held, vector_bytes=self.vector_bytes))

    def plan_kernel(self, nest: Nest, done: set[int]) -> list[Any]:
        """The phases of a kernel, and a nest that adds its chunks up where it has some."""
        (body,), node = pull_bodies(nest, self.parts, done), nest.kernel
        assert node is not None
        operands = [self.locate(a) for a in node.args]
        recipe = recipe_of(node, [a.strides for a in operands])
        assert recipe is not None
        scratch = [Access(self.buffer(n * node.dtype.itemsize), 0, (1,), node.dtype) for n in recipe.scratch]
        found: list[Any] = runs(recipe, operands, scratch, body, node.op.name)
        if recipe.chunks > 1:
            body = summed(body, scratch[-1].buffer, recipe.chunks)
            found += self.cut(arrange(body, self.vector_bytes, self.is_in_place(body)))
        return found

    def locate(self, node: Expr) -> Access:
        """Where a kernel's operand lies, through views."""
        base, views = memory_of(self.parts, node)
        index = ix.identity(node.shape)
        for view in reversed(views):
            index = ix.through(view, index)
        offset, strides = ix.address(index, ix.strides_of(base.shape), len(node.shape))
        return Access(self.parts.alias.get(base.id, base).id, offset, strides, node.dtype)

    def copy(self, copies: list[Loops], access: Access, extents: list, axes: list) -> Access:
        """Elements copied into a buffer of their own, these axes in this order."""
        sizes = [extents[a] for a in axes]
        buffer = self.buffer(prod(sizes) * access.dtype.itemsize)
        load = Instruction("load", access.dtype, access=access._replace(strides=tuple(access.strides[a] for a in axes)), cost=1)
        put = Access(buffer, 0, ix.strides_of(sizes), access.dtype)
        copies += self.cut(arrange(Body(tuple((0, n) for n in sizes), (), (load,), ((put, 0),)), self.vector_bytes))
        strides = dict(zip(axes, put.strides, strict=True))
        return put._replace(strides=tuple(strides.get(a, 0) for a in range(len(extents))))

    def buffer(self, size: int) -> int:
        """The id of a new buffer in the arena."""
        number = _number()
        self.sizes[number] = size
        return number

    def fill_empty(self, nest: Nest) -> list[Loops]:
        """Reductions of nothing: fill in the neutral number."""
        roots = [r for r in nest.roots if r.size and (nest.reduced or r.op.role == "scatter")]
        return [loops for r in roots for loops in self.fill(r, r.op.lower.neutral(r.dtype))]

    def begin_scatter(self, root: Expr) -> list[Loops]:
        """What is there before values are added or put: zeros, or another array."""
        x = scattered(root)[0]
        if x is None:
            return self.fill(root, 0)
        size = prod(root.shape)
        load = Instruction("load", x.dtype, access=Access(self.parts.alias.get(x.id, x).id, 0, (1,), x.dtype), cost=1)
        if isinstance(x, Const) and x.size == 1:
            return self.fill(root, x.value.item())
        body = Body(((0, size),), (), (load,), ((Access(root.id, 0, (1,), root.dtype), 0),))
        return self.cut(arrange(body, self.vector_bytes, self.is_in_place(body)))

    def fill(self, root: Expr, number: float) -> list[Loops]:
        """One number all over an array."""
        fill = Instruction("number", root.dtype, value=np.asarray(number).astype(root.dtype)[()])
        body = Body(((0, root.size),), (), (fill,), ((Access(root.id, 0, (1,), root.dtype), 0),))
        return self.cut(arrange(body, self.vector_bytes))

    def cut(self, loops: Loops) -> list[Loops]:
        """Loops with long reductions in blocks, cut into pieces for threads."""
        first = next((a for a, r in enumerate(loops.reduced) if r and loops.extents[a] > 1), None)
        if first is not None:
            inner = prod(loops.extents[first + 1 :])
            size = max(1, min(PARTIAL_SUM // inner, rows_at_once(loops, first)))
            if loops.extents[first] > size and (size < PARTIAL_SUM // inner or inner * loops.extents[first] > PARTIAL_SUM):
                return self.reduce_in_blocks(loops, first, size)
        v = loops.vector
        if loops.extents and not loops.reduced[v] and v == 0 and loops.extents[0] >= 2 * STRIP:
            if not loops.exact:
                return [replace(loops, strip=STRIP)]
            main, rest = split_axis(loops, 0, STRIP)
            return [share_outer(main), *([rest] if rest else [])]
        return [share_outer(n) for n in jam_axis(loops, self.vector_bytes)]

    def cut_columns(self, loops: Loops) -> list[Loops]:
        """A scatter of rows, cut into strips of columns for threads: each adds in the order of the indices."""
        v, n = loops.vector, loops.extents[loops.vector] if loops.extents else 0
        indices = [i.access for i in loops.body.instructions if i.access and i.dtype.kind == "i"]
        indexed = {a for access in indices for a, s in enumerate(access.strides) if s}
        if n < 2 * loops.lanes or v in indexed or len(loops.extents) < 2:
            return [loops]
        main, rest = split_axis(loops, v, max(loops.lanes, n // 8 // loops.lanes * loops.lanes))
        main = permute_loops(main, [v, *(a for a in range(len(main.extents)) if a != v)])
        return [replace(main, outer=1), *([rest] if rest else [])]

    def reduce_in_blocks(self, loops: Loops, axis: int, size: int) -> list[Loops]:
        """Blocks along a reduced axis, each with its own results, and the reduction of these."""
        main, rest = split_axis(loops, axis, size)
        blocks = main.extents[axis]
        main = replace(main, reduced=(*main.reduced[:axis], False, *main.reduced[axis + 1 :]))
        main = permute_loops(main, [axis, *(a for a in range(len(main.extents)) if a != axis)])
        kept = [n for n, r in zip(loops.extents, loops.reduced, strict=True) if not r]
        count, parts = prod(kept), blocks + (rest is not None)
        buffers = [self.buffer(parts * count * a.dtype.itemsize) for _, a, _ in loops.body.folds]
        combine: list[Loops] = []
        for (op, access, _), buffer in zip(loops.body.folds, buffers, strict=True):
            combine += self.combine(op, access, buffer, parts, kept, loops)
        own = iter(ix.strides_of(kept))
        within = tuple([0 if r else next(own) for r in loops.reduced])

        def fold_into(part: Loops, first: int, strides: tuple) -> Loops:
            """The part with its results in the buffers, after ``first`` others."""
            folds = [
                (op, Access(buffer, first * count, strides, access.dtype), v)
                for (op, access, v), buffer in zip(part.body.folds, buffers, strict=True)
            ]
            return replace(part, body=replace(part.body, folds=tuple(folds)))

        main = fold_into(main, 0, (count, *within[:axis], 0, *within[axis + 1 :]))
        again = prod([n for n, r in zip(main.extents, main.reduced, strict=True) if r]) > PARTIAL_SUM  # along the axes inside
        found = []
        for part in (main, *([fold_into(rest, blocks, within)] if rest else [])):
            found += self.cut(part) if again else [share_outer(n) for n in jam_axis(part, self.vector_bytes)]
        return found + combine

    def combine(self, op: Primitive, access: Access, buffer: int, parts: int, kept: list, loops: Loops) -> list[Loops]:
        """The reduction of partial results into where the whole one goes."""
        out = tuple(s for s, r in zip(access.strides, loops.reduced, strict=True) if not r)
        load = Instruction("load", access.dtype, access=Access(buffer, 0, (prod(kept), *ix.strides_of(kept)), access.dtype), cost=1)
        fold = (op, access._replace(strides=(0, *out)), 0)
        return self.cut(arrange(Body(((0, parts), *((0, n) for n in kept)), (0,), (load,), folds=(fold,)), self.vector_bytes))


def share_outer(loops: Loops) -> Loops:
    """The loops with as many outer ones shared among threads as make enough pieces."""
    outer = 0
    for a, r in enumerate(loops.reduced):
        if r or a in (loops.vector, loops.jam) or (outer and prod(loops.extents[:outer]) >= 256):
            break
        outer += 1
    return replace(loops, outer=outer)


def rows_at_once(loops: Loops, axis: int) -> int:
    """How many iterations of a reduced axis to take before going on: all, but where each reads another part of memory, which is
    then read in order only if they are few."""
    n, kept = loops.extents[axis], prod([e for e, r in zip(loops.extents, loops.reduced, strict=True) if not r])
    rows = [
        x.dtype.itemsize * prod([e for k, e in enumerate(loops.extents) if k != axis and x.strides[k]])
        for x in loops.body.loads
        if abs(x.strides[axis]) == max(map(abs, x.strides))
    ]
    if loops.reduced[loops.vector] or not rows or max(rows) * n <= SECOND_CACHE or not 1 < kept <= PARTIAL_SUM * 4:
        return n
    if prod(loops.extents) > sum(rows) * n:  # elements are read again and again: registers do better
        return n
    return max(8, ROW_BLOCK // max(rows))


# -- the whole of it -----------------------------------------------------------------------------------------------------


def plan(parts: Partition, vector_bytes: int, donated: frozenset = frozenset()) -> Plan:
    """The plan of a partitioned Function; outputs may take over the memory of the inputs at the places ``donated``."""
    work = _Planner(parts, vector_bytes, {parts.function.inputs[k].id for k in donated})
    steps = order_steps(work)
    taken = find_takeovers(parts, steps, donated)
    objects, constants, outputs = place_objects(parts, steps, taken)
    offsets, arena = lay_out(parts, steps, {b: n for b, n in work.sizes.items() if b not in objects})
    return Plan(parts, tuple(keep_short(steps)), objects, offsets, arena, work.sizes, tuple(constants), tuple(outputs))


def plan_held(parts: Partition, carries: set[int], vector_bytes: int) -> tuple[list, dict[int, int]]:
    """The nests of a Function that a loop or branch holds, in order, and the bytes of the buffers that these want. What touches
    ``carries`` computes every element once, as results may go where these lie."""
    work = _Planner(parts, vector_bytes, carries)
    steps = keep_short(order_steps(work))
    return [n for s in steps for n in s.nests], work.sizes


def order_steps(work: _Planner) -> list:
    """The segments and callbacks of a partition."""
    parts = work.parts
    ordered: list[Any] = []  # callbacks, and lists of the nests between them
    done: set[int] = set()
    for step in group_rows(parts):
        if isinstance(step, Callback):
            ordered.append(step)
            done.add(step.node.id)
            continue
        if not ordered or isinstance(ordered[-1], Callback):
            ordered.append([])
        try:
            ordered[-1] += work.plan_step(step, done)
        except Exception as error:
            raise Refused(error, {x.id for n in step for x in list_computed(n, parts, done)}) from error
        done |= {r.id for n in step for r in n.roots}
    return forget_unread(parts, [s if isinstance(s, Callback) else Segment(tuple(s)) for s in ordered])


def keep_short(steps: list) -> list:
    """The steps with what is not worth several threads as one piece of work."""
    return [s if isinstance(s, Callback) else Segment(tuple(map(keep_whole, s.nests))) for s in steps]


def keep_whole(n: Any) -> Any:
    """A nest that is not worth several threads as one piece of work."""
    return replace(n, outer=0, strip=0) if isinstance(n, Loops) and (n.outer or n.strip) and not is_parallel(n) else n


def forget_unread(parts: Partition, steps: list) -> list:
    """The steps without the stores of kernels' results that only the code after the kernel itself took."""
    kernels = {s.kernel.id for s in parts.steps if isinstance(s, Nest) and s.kernel is not None}
    unread = kernels - {parts.alias.get(y.id, y).id for y in parts.function.outputs}
    for step in steps:
        if isinstance(step, Callback):
            memories = [memory_of(parts, a)[0] for a in step.node.args if isinstance(a, Expr)]
            unread -= {parts.alias.get(m.id, m).id for m in memories}
        else:
            unread -= {a.buffer for n in step.nests for a in loads(n)}

    def without(n: Any) -> Any:
        if not isinstance(n, KernelRun) or n.body is None:
            return n
        stores = tuple([(a, v) for a, v in n.body.stores if a.buffer not in unread])
        return n if len(stores) in (0, len(n.body.stores)) else replace(n, body=replace(n.body, stores=stores))

    return [s if isinstance(s, Callback) else Segment(tuple(map(without, s.nests))) for s in steps] if unread else steps
