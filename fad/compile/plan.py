"""Plan: the order of nests and callbacks, blocks of long reductions, pieces for threads, and memory.

Memory is one arena, laid out here: two buffers share bytes if no step needs both. Inputs, constants, outputs and the
results of callbacks are arrays of Python's.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from math import prod
from typing import Any

import numpy as np

from fad.compile import index as ix
from fad.compile.body import Access, Body, Instruction, bodies
from fad.compile.contraction import recipe_of
from fad.compile.debug import Refused
from fad.compile.fuse import Callback, Nest, Partition, computed
from fad.compile.kernel import KernelRun, runs, summed
from fad.compile.loops import Loops, arrange, jammed, permuted, split_axis
from fad.compile.loops import accesses as body_accesses
from fad.compile.rows import Rows, are_local, block_of, grouped, reads_own, written_by
from fad.core.expr import Expr, Var
from fad.native.tile import Tile

__all__ = ["Plan", "Segment", "plan"]

BLOCK = 4096  # elements that one partial result of a reduction takes
STRIP = 2048  # elements of a one-dimensional nest that are one piece of work
PARALLEL = 100_000  # operations from which threads are worth waking
DENSE = 1_500_000  # of a kernel, which does ten or twenty at a time
PAGE = 1 << 16  # bytes up to which a buffer is small
CACHED = 1 << 18  # bytes that stay near
ROWS = 1 << 16  # bytes of a block of rows
GRAIN = 300_000  # operations of one piece of work, or so


@dataclass
class Segment:
    """Nests that run in one native call."""

    nests: list[Loops | KernelRun | Rows] = field(default_factory=list)


@dataclass
class Plan:
    """Everything about a program but its machine code."""

    parts: Partition
    steps: list[Segment | Callback]
    objects: dict[int, int]  # buffers that are Python objects: their places among inputs, constants, outputs, results
    offsets: dict[int, int]  # buffers in the arena: where they begin, in bytes
    arena: int  # bytes
    sizes: dict[int, int]  # bytes of the buffers that are no inputs or constants
    constants: list[np.ndarray]
    outputs: list[tuple]  # ("object", place), ("input", k) or ("constant", array) for every output

    def __str__(self) -> str:
        lines = []
        for step in self.steps:
            if isinstance(step, Callback):
                lines.append(str(step))
                continue
            for n in step.nests:
                lines.append(describe(n))
        return "\n".join([*lines, f"arena: {self.arena} bytes"])


def bodies_of(n: Any) -> list[Body]:
    """The bodies of a nest, of the nests of rows, or of a kernel."""
    if isinstance(n, Rows):
        return [m.body for m in (*n.nests, *n.sums)]
    return [n.body] if n.body else []


def loads(n: Any) -> list[Access]:
    """What a nest or kernel reads."""
    return (n.operands if isinstance(n, KernelRun) else []) + [i.access for b in bodies_of(n) for i in b.instructions if i.access]


def accesses(n: Any) -> list[Access]:
    """Every memory access of a nest or kernel."""
    return (n.operands if isinstance(n, KernelRun) else []) + [a for b in bodies_of(n) for a in body_accesses(b)]


def written(n: Any) -> list[Access]:
    """What a nest or kernel writes."""
    return [a for b in bodies_of(n) for a in [*(a for a, _ in b.stores), *(a for _, a, _ in b.folds), *(s[0] for s in b.scatters)]]


def describe(n: Any) -> str:
    """One line about a nest: r marks reduced axes, v the one in vectors, j one whose turns are taken side by side."""
    if isinstance(n, KernelRun):
        after = [i.name for i in n.body.instructions if i.name not in ("result", "load", "number")] if n.body else []
        spec = n.phase.spec
        tile = f" by {spec.tile.rows} x {spec.tile.vectors} vectors" if has_tile(n) else ""
        text = f"kernel {n.name}: {type(spec).__name__.lower()}{tile}, {n.pieces} pieces"
        return text + (f", then {', '.join(after)}" if after else "")
    if isinstance(n, Rows):
        shared = f", {n.pieces} pieces over threads" if parallel(n) else ""
        blocks = f" in blocks of {n.block}" if n.sums else ""
        return f"rows {n.extents}{blocks}{shared}: " + "; then ".join(map(describe, (*n.nests, *n.sums)))
    marks = [("r" if r else "") + ("v" if k == n.vector else "") + ("j" if k == n.jam else "") for k, r in enumerate(n.reduced)]
    axes = " x ".join(f"{e}{m}" for e, m in zip(n.extents, marks, strict=True)) + (f" in strips of {n.strip}" if n.strip else "")
    names = [i.name for i in n.body.instructions]
    loads = names.count("load") + names.count("gather")
    parts = [
        (loads, "load"),
        (len(names) - loads - names.count("number"), "operation"),
        (len(n.body.stores), "store"),
        (len(n.body.folds), "fold"),
        (len(n.body.scatters), "scatter"),
    ]
    shared = f", {n.pieces} pieces over threads" if parallel(n) else ""
    return f"loops [{axes}] by {n.lanes}{shared}: " + ", ".join(f"{k} {what}{'s' * (k != 1)}" for k, what in parts if k)


def parallel(n: Any) -> bool:
    """Whether a nest is worth several threads."""
    if not isinstance(n, Loops):
        return n.pieces > 1 and n.work > (DENSE if has_tile(n) else PARALLEL)
    return (n.outer > 0 or n.strip > 0) and n.pieces > 1 and n.work > PARALLEL


def has_tile(n: Any) -> bool:
    """Whether a kernel has a register tile, and so does many operations at a time."""
    return isinstance(n, KernelRun) and isinstance(getattr(n.phase.spec, "tile", None), Tile)


def grain(n: Any) -> int:
    """Iterations of the outer loops in one piece of work; there are eight pieces or more, for any of the threads to be late."""
    if isinstance(n, KernelRun):
        from fad.compile.kernels.recipe import grain

        return grain(n.phase.spec)
    return max(1, min(int(n.pieces * GRAIN / n.work), -(-n.pieces // 8)))


# -- nests to loops ------------------------------------------------------------------------------------------------------


class _Planner:
    def __init__(self, parts: Partition, vector_bytes: int, donated: set[int]):
        self.parts, self.vector_bytes, self.donated = parts, vector_bytes, donated
        self.sizes: dict[int, int] = {}  # bytes of buffers that may live in the arena
        self.results: dict[int, Body] = {}  # bodies that take the result of a kernel
        self.temporary = 0  # ids of buffers that are no nodes count down

    def loops(self, nest: Nest, done: set[int]) -> list[Any]:
        """The loops of a nest in order."""
        if 0 in nest.domain:
            return self.empty(nest)
        if nest.kernel is not None:
            return self.kernel(nest, done)
        found: list[Loops] = []
        for body in bodies(nest, self.parts, done):
            in_place = any(a.buffer in self.donated for a in body_accesses(body))
            copies: list[Loops] = []
            loops = arrange(body, self.vector_bytes, in_place, partial(self.copy, copies))
            found += copies
            if body.scatters:  # in order: two may go to one place
                found += [*(() if found else self.filled(nest.roots[0], 0)), *self.columns(loops)]
            else:
                found += self.blocked(loops)
        return found

    def rows(self, nests: list[Nest], done: set[int]) -> list[Any]:
        """Nests over the same rows, row by row if that is possible; reductions of the rows follow behind."""
        columns = [n for n in nests if n.reduced[:1] == (0,)]
        nests, before, found = [n for n in nests if n.reduced[:1] != (0,)], set(done), []
        for nest in nests:
            found += bodies(nest, self.parts, before)
            before |= {r.id for r in nest.roots}
        count = len(nests[0].domain) - 1
        if len(found) != len(nests) or not are_local(found, count):
            separate: list[Any] = []
            before = set(done)
            for nest in (*nests, *columns):
                separate += self.loops(nest, before)
                before |= {r.id for r in nest.roots}
            return separate
        in_place = any(a.buffer in self.donated for b in found for a in body_accesses(b))
        rows = Rows([arrange(b, self.vector_bytes, in_place, rows=count) for b in found])
        behind: list[Loops] = []
        for nest in columns:
            behind += self.behind(rows, nest, before, written_by(found)) or self.loops(nest, before)
            before |= {r.id for r in nest.roots}
        return [rows, *behind]

    def behind(self, rows: Rows, nest: Nest, done: set[int], written: dict[int, Access]) -> list[Loops]:
        """Reductions of rows, to follow behind each block of these: the loops that add up what blocks give. None of them, and
        nothing done, where that is not possible."""
        count, size = len(nest.domain) - 1, block_of(prod(nest.domain[:-1]))
        made = bodies(nest, self.parts, done)
        if not size or len(made) != 1 or not reads_own(made[0], written, count):
            return []
        loops = arrange(made[0], self.vector_bytes)
        if loops.reduced != [False, True] or loops.extents[1] != prod(nest.domain[:-1]):
            return []
        main, *rest = self.partial(loops, 1, size)
        if main.reduced != [False, False, True] or main.jam >= 0:
            return []
        rows.block = size
        rows.sums.append(replace(main, outer=1))
        return rest

    def kernel(self, nest: Nest, done: set[int]) -> list[Any]:
        """The phases of a kernel, and a nest that adds its chunks up where it has some."""
        (body,), node = bodies(nest, self.parts, done), nest.kernel
        assert node is not None
        operands = [self.operand(a) for a in node.args]
        recipe = recipe_of(node, [a.strides for a in operands])
        assert recipe is not None
        scratch = [Access(self.buffer(n * node.dtype.itemsize), 0, (1,), node.dtype) for n in recipe.scratch]
        self.results[node.id] = body
        found: list[Any] = runs(recipe, operands, scratch, body, node.op.name)
        if recipe.chunks > 1:
            body = self.results[node.id] = summed(body, scratch[-1].buffer, recipe.chunks)
            in_place = any(a.buffer in self.donated for a in body_accesses(body))
            found += self.blocked(arrange(body, self.vector_bytes, in_place))
        return found

    def operand(self, node: Expr) -> Access:
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
        copies += self.blocked(arrange(Body(tuple((0, n) for n in sizes), (), [load], [(put, 0)]), self.vector_bytes))
        strides = dict(zip(axes, put.strides, strict=True))
        return put._replace(strides=tuple(strides.get(a, 0) for a in range(len(extents))))

    def buffer(self, size: int) -> int:
        """The id of a new buffer in the arena."""
        self.temporary -= 1
        self.sizes[self.temporary] = size
        return self.temporary

    def empty(self, nest: Nest) -> list[Loops]:
        """Reductions of nothing: fill in the neutral number."""
        found = []
        for root in nest.roots:
            if root.size and (nest.reduced or root.op.name == "scatter_add"):
                number = {"sum": 0, "prod": 1, "any": False, "all": True, "scatter_add": 0}[root.op.name]
                found += self.filled(root, number)
        return found

    def filled(self, root: Expr, number: float) -> list[Loops]:
        """One number all over an array."""
        fill = Instruction("number", root.dtype, value=np.asarray(number).astype(root.dtype)[()])
        body = Body(((0, root.size),), (), [fill], [(Access(root.id, 0, (1,), root.dtype), 0)])
        return self.blocked(arrange(body, self.vector_bytes))

    def blocked(self, loops: Loops) -> list[Loops]:
        """Loops with long reductions in blocks, cut into pieces for threads."""
        first = next((a for a, r in enumerate(loops.reduced) if r and loops.extents[a] > 1), None)
        if first is not None:
            inner = prod(loops.extents[first + 1 :])
            size = max(1, min(BLOCK // inner, rows_at_once(loops, first)))
            if loops.extents[first] > size and size < BLOCK // inner:
                return self.partial(loops, first, size)
            if loops.extents[first] > size and inner * loops.extents[first] > BLOCK:
                return self.partial(loops, first, size)
        v = loops.vector
        if loops.extents and not loops.reduced[v] and v == 0 and loops.extents[0] >= 2 * STRIP:
            if not loops.exact:
                return [replace(loops, strip=STRIP)]
            main, rest = split_axis(loops, 0, STRIP)
            return [self.shared(main), *([rest] if rest else [])]
        return [self.shared(n) for n in jammed(loops, self.vector_bytes)]

    def columns(self, loops: Loops) -> list[Loops]:
        """A scatter of rows, cut into strips of columns for threads: each adds in the order of the indices."""
        v, n = loops.vector, loops.extents[loops.vector] if loops.extents else 0
        indices = [i.access for i in loops.body.instructions if i.access and i.dtype.kind == "i"]
        indexed = {a for access in indices for a, s in enumerate(access.strides) if s}
        if n < 2 * loops.lanes or v in indexed or len(loops.extents) < 2:
            return [loops]
        main, rest = split_axis(loops, v, max(loops.lanes, n // 8 // loops.lanes * loops.lanes))
        main = permuted(main, [v, *(a for a in range(len(main.extents)) if a != v)])
        return [replace(main, outer=1), *([rest] if rest else [])]

    def shared(self, loops: Loops) -> Loops:
        """The outer loops that threads share."""
        outer = 0
        for a, r in enumerate(loops.reduced):
            if r or a in (loops.vector, loops.jam) or (outer and prod(loops.extents[:outer]) >= 256):
                break
            outer += 1
        return replace(loops, outer=outer)

    def partial(self, loops: Loops, axis: int, size: int) -> list[Loops]:
        """Blocks along a reduced axis, each with its own results, and the reduction of these."""
        main, rest = split_axis(loops, axis, size)
        blocks = main.extents[axis]
        parts = blocks + (rest is not None)
        main.reduced[axis] = False
        main = permuted(main, [axis, *(a for a in range(len(main.extents)) if a != axis)])
        combine: list[Loops] = []
        moves: dict[Access, tuple[int, int]] = {}  # where a fold went, and how many results a part has
        kept = [n for n, r in zip(loops.extents, loops.reduced, strict=True) if not r]
        count = prod(kept)
        for name, access, _ in loops.body.folds:
            buffer = self.buffer(parts * count * access.dtype.itemsize)
            moves[access] = (buffer, count)
            combine += self.combined(name, access, buffer, parts, kept, loops)
        strides = ix.strides_of(kept)

        def move(a: Access, first: int, blocks_axis: bool) -> Access:
            buffer, count = moves[a]
            own = iter(strides)
            within = tuple(0 if r else next(own) for r in loops.reduced)
            if blocks_axis:
                within = (count, *within[:axis], 0, *within[axis + 1 :])
            return a._replace(buffer=buffer, offset=first * count, strides=within)

        originals = [a for _, a, _ in loops.body.folds]
        main.body.folds = [(n, move(o, 0, True), v) for (n, _, v), o in zip(main.body.folds, originals, strict=True)]
        again = prod([n for n, r in zip(main.extents, main.reduced, strict=True) if r]) > BLOCK  # along the axes inside
        found = self.blocked(main) if again else [self.shared(n) for n in jammed(main, self.vector_bytes)]
        if rest is not None:
            rest.body.folds = [(n, move(o, blocks, False), v) for (n, _, v), o in zip(rest.body.folds, originals, strict=True)]
            found += self.blocked(rest) if again else [self.shared(n) for n in jammed(rest, self.vector_bytes)]
        return found + combine

    def combined(self, name: str, access: Access, buffer: int, parts: int, kept: list, loops: Loops) -> list[Loops]:
        """The reduction of partial results into where the whole one goes."""
        out = tuple(s for s, r in zip(access.strides, loops.reduced, strict=True) if not r)
        load = Instruction("load", access.dtype, access=Access(buffer, 0, (prod(kept), *ix.strides_of(kept)), access.dtype), cost=1)
        body = Body(((0, parts), *((0, n) for n in kept)), (0,), [load], folds=[(name, access._replace(strides=(0, *out)), 0)])
        return self.blocked(arrange(body, self.vector_bytes))


def rows_at_once(loops: Loops, axis: int) -> int:
    """How many turns of a reduced axis to take before going on: all, but where each reads another part of memory, which is then
    read in order only if they are few."""
    n, kept = loops.extents[axis], prod([e for e, r in zip(loops.extents, loops.reduced, strict=True) if not r])
    loads = [i.access for i in loops.body.instructions if i.access]
    rows = [
        x.dtype.itemsize * prod([e for k, e in enumerate(loops.extents) if k != axis and x.strides[k]])
        for x in loads
        if abs(x.strides[axis]) == max(map(abs, x.strides))
    ]
    if loops.reduced[loops.vector] or not rows or max(rows) * n <= CACHED or not 1 < kept <= BLOCK * 4:
        return n
    if prod(loops.extents) > sum(rows) * n:  # elements are read again and again: registers do better
        return n
    return max(8, ROWS // max(rows))


# -- memory ------------------------------------------------------------------------------------------------------------------


def plan(parts: Partition, vector_bytes: int, donated: frozenset = frozenset()) -> Plan:
    """The plan of a partitioned Function; outputs may take over the memory of the inputs at the places ``donated``."""
    work = _Planner(parts, vector_bytes, {parts.function.inputs[k].id for k in donated})
    steps: list[Any] = []
    done: set[int] = set()
    for step in grouped(parts):
        if isinstance(step, Callback):
            steps.append(step)
            done.add(step.node.id)
            continue
        if not steps or isinstance(steps[-1], Callback):
            steps.append(Segment())
        nests = step if isinstance(step, list) else [step]
        try:
            steps[-1].nests += work.rows(nests, done) if len(nests) > 1 else work.loops(nests[0], done)
        except Exception as error:
            raise Refused(error, {x.id for n in nests for x in computed(n, parts, done)}) from error
        for nest in nests:
            done |= {r.id for r in nest.roots}
            work.sizes.update({r.id: r.nbytes for r in nest.roots})
    forget_unread(parts, steps, work.results)
    taken = takeovers(parts, steps, donated)
    objects, constants, outputs = places(parts, steps, taken)
    offsets, arena = layout(parts, steps, {b: n for b, n in work.sizes.items() if b not in objects})
    return Plan(parts, steps, objects, offsets, arena, work.sizes, constants, outputs)


def forget_unread(parts: Partition, steps: list, results: dict[int, Body]) -> None:
    """Leave out the stores of kernels' results that only the code behind the kernel itself took."""
    read = {parts.alias.get(y.id, y).id for y in parts.function.outputs}
    for step in steps:
        if isinstance(step, Callback):
            memories = [memory_of(parts, a)[0] for a in step.node.args if isinstance(a, Expr)]
            read |= {parts.alias.get(m.id, m).id for m in memories}
        else:
            for n in step.nests:
                read |= {a.buffer for a in loads(n)}
    for node, body in results.items():
        if node not in read and len(body.stores) > 1:
            body.stores[:] = [(a, v) for a, v in body.stores if a.buffer != node]


def takeovers(parts: Partition, steps: list, donated: frozenset) -> dict[int, int]:
    """Outputs (by id) that are written where a donated input lies (its place).

    They must be alike, and once the output is begun, the input is read only at the element that is just being written."""
    function = parts.function
    returned = {parts.alias.get(y.id, y).id for y in function.outputs}
    free = {k: x for k in sorted(donated) if (x := function.inputs[k]).shape and x.id not in returned}
    called = [step.node for step in steps if isinstance(step, Callback)]
    held = {memory_of(parts, a)[0].id for n in called for a in n.args if isinstance(a, Expr)} | {n.id for n in called}
    nests = [n for step in steps if isinstance(step, Segment) for n in step.nests]
    touching: dict[int, list[int]] = {}  # the nests of a buffer, in order
    for k, n in enumerate(nests):
        for b in {a.buffer for a in accesses(n)}:
            touching.setdefault(b, []).append(k)
    both = lambda x, y: [nests[k] for k in sorted({*touching.get(x.id, ()), *touching.get(y.id, ())})]
    taken: dict[int, int] = {}
    for y in function.outputs:
        y = parts.alias.get(y.id, y)
        for k, x in list(free.items()) if y.op is not None and y.id not in held | taken.keys() and not isinstance(y, Var) else ():
            if x.id not in held and (x.size, x.dtype) == (y.size, y.dtype) and may_share(both(x, y), x.id, y.id):
                taken[y.id] = k
                del free[k]
                break
    return taken


def may_share(nests: list, x: int, y: int) -> bool:
    """Whether nests, those that touch one of the two, may write y where x lies."""
    begun = False
    for n in nests:
        writes = [a for b in bodies_of(n) for a, _ in b.stores if a.buffer == y]
        if any(a.buffer == y for a in accesses(n)) and not writes:
            return False  # folded or scattered into, or read again
        begun = begun or bool(writes)
        if begun and isinstance(n, KernelRun) and any(a.buffer == x for a in n.operands):
            return False  # a kernel reads all of an operand while it writes
        reads = [i.access for b in bodies_of(n) for i in b.instructions if i.access and i.access.buffer == x]
        if begun and any(not writes or r._replace(buffer=y) != writes[0] for r in reads):
            return False
    return begun


def places(parts: Partition, steps: list, taken: dict[int, int]) -> tuple[dict, list, list]:
    """Places of Python objects: inputs, constants, outputs, then results of callbacks."""
    function = parts.function
    objects = {x.id: k for k, x in enumerate(function.inputs)}
    constants: list[np.ndarray] = []
    read = {a.buffer for step in steps if isinstance(step, Segment) for n in step.nests for a in accesses(n)}
    for node in function.constants:
        if node.id in read:  # in loops those of one element are numbers in the code
            objects[node.id] = len(objects)
            constants.append(np.ascontiguousarray(node.value))
    outputs: list[tuple] = []
    count = len(objects)
    for y in function.outputs:
        base = parts.alias.get(y.id, y)
        if isinstance(base, Var):
            outputs.append(("input", objects[base.id]))
        elif base.op is None:
            outputs.append(("constant", base.value))
        else:
            if base.id in taken:
                objects[base.id] = taken[base.id]
            elif base.id not in objects:
                objects[base.id] = count
                count += 1
            outputs.append(("donated" if base.id in taken else "object", objects[base.id]))
    for step in steps:
        if isinstance(step, Callback) and step.node.id not in objects:
            objects[step.node.id] = count
            count += 1
    return objects, constants, outputs


def layout(parts: Partition, steps: list, sizes: dict[int, int]) -> tuple[dict[int, int], int]:
    """Offsets of buffers in the arena: each at the lowest place that is free from its first use to its last."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for t, used in enumerate(uses(parts, steps)):
        for b in used:
            if b in sizes:
                first.setdefault(b, t)
                last[b] = t
    small = {b: n for b, n in sizes.items() if n <= PAGE and b in first}
    offsets, arena = in_order(small, first, last)
    live: list[tuple[int, int, int]] = []  # (begin, end, last use), by begin
    base, top = arena, arena
    for b in sorted(first.keys() - small.keys(), key=lambda b: (first[b], -sizes[b])):
        live = [x for x in live if x[2] >= first[b]]
        size, at = rounded(sizes[b]), base
        for begin, end, _ in live:
            if begin - at >= size:
                break
            at = max(at, end)
        offsets[b] = at
        live.append((at, at + size, last[b]))
        live.sort()
        top = max(top, at + size)
    return offsets, top


def in_order(sizes: dict[int, int], first: dict[int, int], last: dict[int, int]) -> tuple[dict[int, int], int]:
    """Offsets of many small buffers, in linear time: each takes a place of its size that has fallen free, or a new one."""
    offsets: dict[int, int] = {}
    free: dict[int, list[int]] = {}
    ending: dict[int, list[int]] = {}
    arena, now = 0, 0
    for b in sorted(sizes, key=first.__getitem__):
        while now < first[b]:
            for old in ending.pop(now, ()):
                free.setdefault(rounded(sizes[old]), []).append(offsets[old])
            now += 1
        size = rounded(sizes[b])
        if places := free.get(size):
            offsets[b] = places.pop()
        else:
            offsets[b], arena = arena, arena + size
        ending.setdefault(last[b], []).append(b)
    return offsets, arena


def rounded(size: int) -> int:
    """Bytes in whole cache lines."""
    return -(-max(size, 1) // 64) * 64


def memory_of(parts: Partition, x: Expr) -> tuple[Expr, list[Expr]]:
    """The node in memory that x is a view of, and the views from there to x."""
    views: list[Expr] = []
    while x.op is not None and not isinstance(x, Var) and x.id not in parts.stored and x.id not in parts.alias:
        views.append(x)
        if not isinstance(x.args[0], Expr):
            break
        x = x.args[0]
    return x, views[::-1]


def uses(parts: Partition, steps: list) -> list[set[int]]:
    """The buffers that each nest or callback touches."""
    found = []
    for step in steps:
        if isinstance(step, Callback):
            memories = [memory_of(parts, a)[0] for a in step.node.args if isinstance(a, Expr)]
            found.append({parts.alias.get(m.id, m).id for m in memories})
        else:
            for n in step.nests:
                found.append({a.buffer for a in accesses(n)})
    return found
