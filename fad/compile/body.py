"""Bodies: what a loop nest does at one index, as a list of instructions on elements.

Values are *pulled*: a root asks its operands for their value at the index where it needs them, through views and down to
loads. Where an embed or a concatenation is met whose answer depends on the index, the nest is cut there into boxes, and
within a box there is nothing to decide.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from fad.compile import index as ix
from fad.compile.scalar import lowered
from fad.compile.steps import Nest, Partition, find_parts, is_view, scattered
from fad.core.expr import Const, Expr, Var
from fad.core.primitive import Primitive
from fad.primitives.maps import broadcast_map

__all__ = ["Access", "Body", "Instruction", "pull_bodies"]


class Access(NamedTuple):
    """Elements of a buffer, ``offset + sum(strides * index)`` in elements."""

    buffer: int  # the id of the node whose memory it is
    offset: int
    strides: tuple
    dtype: np.dtype


class Instruction(NamedTuple):
    """``load``: from `access`. ``number``: `value`. ``result``: what a kernel makes. ``gather``: from `access` and what the
    indices `args` add to it, with (stride, size) of each indexed axis in `value`. Otherwise `function` of the values `args`,
    converted to `dtypes`."""

    name: str
    dtype: np.dtype
    args: tuple = ()
    dtypes: tuple = ()
    function: Any = None  # of values; None for loads, numbers, results and gathers
    access: Any = None  # an Access of loads and gathers
    value: Any = None
    cost: float = 0.0


@dataclass(frozen=True, slots=True)
class Body:
    """Instructions for every index in a box, with the values that are stored and those that are folded."""

    box: tuple  # (begin, end) of every axis
    reduced: tuple
    instructions: tuple[Instruction, ...] = ()
    stores: tuple[tuple[Access, int], ...] = ()
    folds: tuple[tuple[Primitive, Access, int], ...] = ()  # (reduction, where it goes, value)
    scatters: tuple[tuple[Access, tuple, tuple, int, bool], ...] = ()  # (access, indices, their axes, value, whether it is added)

    @property
    def cost(self) -> float:
        """Operations at one index."""
        return sum([i.cost for i in self.instructions])

    @property
    def loads(self) -> list[Access]:
        """What the instructions read."""
        return [i.access for i in self.instructions if i.access]

    @property
    def writes(self) -> list[Access]:
        """What is stored, folded and scattered into."""
        return [a for a, _ in self.stores] + [a for _, a, _ in self.folds] + [s[0] for s in self.scatters]

    @property
    def accesses(self) -> list[Access]:
        """Every memory access."""
        return self.loads + self.writes

    @property
    def asks_range(self) -> bool:
        """Whether the code asks if indices are in range."""
        return bool(self.scatters) or any(i.name == "gather" for i in self.instructions)

    def map_accesses(self, change: Callable[[Access], Access]) -> Body:
        """The body with another address for every access."""
        return Body(
            self.box,
            self.reduced,
            tuple([i._replace(access=change(i.access)) if i.access else i for i in self.instructions]),
            tuple([(change(a), v) for a, v in self.stores]),
            tuple([(op, change(a), v) for op, a, v in self.folds]),
            tuple([(change(s[0]), *s[1:]) for s in self.scatters]),
        )


def pull_bodies(nest: Nest, parts: Partition, done: set[int]) -> list[Body]:
    """The boxes of a nest; ``done`` are the stored nodes that earlier steps have written."""
    rest = [tuple((0, s) for s in nest.domain)]
    found = []
    while rest:
        found.append(_Puller(nest, parts, done, rest).body())
    assert len(found) == 1 or not nest.reduced, "a fold was cut"
    return found


class _Puller:
    """The instructions of one box so far, by node and map. It begins as the last box of the ``rest``; where it must be cut, it
    goes on with the lower part, to which all instructions so far apply, and leaves the upper one to the rest."""

    def __init__(self, nest: Nest, parts: Partition, done: set[int], rest: list[tuple]):
        self.nest, self.parts, self.done, self.rest, self.box = nest, parts, done, rest, rest.pop()
        self.memo: dict[tuple, int] = {}
        self.seen: dict[Any, int] = {}  # instructions, by their content
        self.instructions: list[Instruction] = []

    def body(self) -> Body:
        """The body of the nest in this box."""
        nest, rank = self.nest, len(self.nest.domain)
        every = ix.identity(nest.domain)
        stores, folds, scatters = [], [], []
        for root in nest.roots:
            reduces = nest.reduced and root.op.role == "reduction" and root.id not in self.parts.inline
            if reduces and root.args[0].shape == nest.domain:
                value = self.pull(root.args[0], every)
                value = self.convert(value, root.args[0].dtype, root.dtype)
                kept = [a for a in range(rank) if a not in nest.reduced]
                steps = [0] * rank
                for a, s in zip(kept, ix.strides_of(tuple(nest.domain[a] for a in kept)), strict=True):
                    steps[a] = s
                folds.append((root.op, Access(root.id, 0, tuple(steps), root.dtype), value))
            elif root.op.role == "scatter":
                x, values, index = scattered(root)
                at, access, axes = self.index_memory(root, index, every)
                scatters.append((access, at, axes, self.pull(values, every), x is None))
            else:
                value = self.pull(root, every)
                _, strides = ix.address(every, ix.strides_of(root.shape), rank)
                stores.append((Access(root.id, 0, strides, root.dtype), value))
        return Body(self.box, nest.reduced, tuple(self.instructions), tuple(stores), tuple(folds), tuple(scatters))

    def pull(self, node: Expr, index: ix.Map) -> int:
        """The instruction that gives the node's value at an index."""
        stack = [(node, index)]
        children: dict[tuple, list] = {}
        memo = self.memo
        while stack:
            top = stack[-1]
            key = (top[0].id, top[1])
            if key in memo:
                stack.pop()
                continue
            if key not in children:
                children[key] = self.operands(*top)
                missing = [c for c in children[key] if isinstance(c, tuple) and (c[0].id, c[1]) not in memo]
                if missing:
                    stack += missing
                    continue
            stack.pop()
            values = [memo[c[0].id, c[1]] if isinstance(c, tuple) else c for c in children.pop(key)]
            memo[key] = self.make(*top, values)
        return memo[node.id, index]

    def is_memory(self, node: Expr) -> bool:
        base = self.parts.alias.get(node.id, node)
        return base.op is None or isinstance(base, Var) or base.id in self.done

    def operands(self, node: Expr, index: ix.Map) -> list:
        """(node, map) of what a node's value is made from; numbers as they are."""
        if self.is_memory(node) or node is self.nest.kernel:
            return []
        if is_view(node):
            return [(node.args[0], ix.through(node, index))] if isinstance(node.args[0], Expr) else [node.args[0]]
        if node.op.role == "mask":
            return self.pick_part(node, index)
        if node.op.role == "reduction":
            return self.unroll(node, index)
        if node.op.role == "gather":
            return self.index_maps(list(node.args[1:]), index)[0]
        return [(a, broadcast_map(index, a.shape, node.shape)) if isinstance(a, Expr) else a for a in node.args]

    def index_maps(self, index: list, place: ix.Map) -> tuple[list, int]:
        """The maps of broadcast index arrays where their broadcast is at ``place``, and its rank."""
        shape = np.broadcast_shapes(*(i.shape for i in index))
        return [(i, broadcast_map(place[: len(shape)], i.shape, shape)) for i in index], len(shape)

    def index_memory(self, memory: Expr, index: list, place: ix.Map) -> tuple[tuple, Access, tuple]:
        """Index values, and how they address an array in memory."""
        maps, rank = self.index_maps(index, place)
        at = tuple(self.convert(self.pull(i, m), i.dtype, np.dtype(np.int64)) for i, m in maps)
        base = self.parts.alias.get(memory.id, memory)
        strides = ix.strides_of(memory.shape)
        offset, steps = ix.address(place[rank:], strides[len(index) :], len(self.box))
        return at, Access(base.id, offset, steps, memory.dtype), tuple(zip(strides, memory.shape, strict=True))[: len(index)]

    def unroll(self, node: Expr, index: ix.Map) -> list:
        """The operand at every index that a small reduction runs over."""
        x, axes = node.args[0], node.params["axes"]
        kept = iter(index if not node.params["keepdims"] else [e for a, e in enumerate(index) if a not in axes])
        pattern = [None if a in axes else next(kept) for a in range(len(x.shape))]
        found = []
        for picks in product(*(range(x.shape[a]) for a in axes)):
            pick = iter(picks)
            found.append((x, tuple((ix.CONSTANT, 0, next(pick)) if e is None else e for e in pattern)))
        return found

    # -- boxes -----------------------------------------------------------------------------------------------

    def locate(self, entry: tuple, begin: int, end: int) -> int:
        """-1, 0, 1 where an index lies before, within or after [begin, end), all over the box, which is cut for that."""
        axis, step, start = entry
        if axis == ix.CONSTANT:
            return -1 if start < begin else int(start >= end)
        for edge in (begin, end):
            lo, hi = self.box[axis]
            at = -((start - edge) // step) if step > 0 else (edge - start) // step + 1
            if lo < at < hi:
                self.rest.append((*self.box[:axis], (at, hi), *self.box[axis + 1 :]))
                self.box = (*self.box[:axis], (lo, at), *self.box[axis + 1 :])
        first = start + step * self.box[axis][0]
        return -1 if first < begin else int(first >= end)

    def pick_part(self, node: Expr, index: ix.Map) -> list[tuple]:
        """The operand of a mask in which the box lies, and its map; nothing where that is 0."""
        for part in find_parts(node):
            shape = node.args[part.operand].shape
            inner: list = [(ix.CONSTANT, 0, 0)] * len(shape)
            for (source, step, start), (axis, begin, end) in zip(index, part.spans, strict=True):
                if self.locate((source, step, start), begin, end):
                    break
                if axis != ix.CONSTANT:
                    inner[axis] = (source, step, start - begin)
            else:
                return [(node.args[part.operand], tuple(inner))]
        return []

    # -- instructions --------------------------------------------------------------------------------------------

    def add(self, key: Any, instruction: Callable[[], Instruction]) -> int:
        at = self.seen.get(key)
        if at is None:
            at = self.seen[key] = len(self.instructions)
            self.instructions.append(instruction())
        return at

    def number(self, value: Any, dtype: Any) -> int:
        dtype = np.dtype(dtype)
        value = np.asarray(value).astype(dtype).reshape(-1)[0]
        return self.add(("number", dtype.str, value.tobytes()), lambda: Instruction("number", dtype, value=value))

    def load(self, node: Expr, index: ix.Map) -> int:
        base = self.parts.alias.get(node.id, node)
        if isinstance(base, Const) and base.size == 1:
            return self.number(base.value, base.dtype)
        access = Access(base.id, *ix.address(index, ix.strides_of(node.shape), len(self.box)), node.dtype)
        return self.add(("load", access), lambda: Instruction("load", node.dtype, access=access, cost=1))

    def convert(self, value: int, old: Any, new: Any) -> int:
        if old == new:
            return value
        return self.add(("astype", value, new.str), lambda: Instruction("astype", new, (value,), (np.dtype(old),), cost=1))

    def make(self, node: Expr, index: ix.Map, values: list) -> int:
        """The instruction for a node whose operands are there."""
        if self.is_memory(node):
            return self.load(node, index)
        if node is self.nest.kernel:
            assert index == ix.identity(node.shape), "a kernel's result is taken where it is made"
            return self.add(("result",), lambda: Instruction("result", node.dtype))
        if is_view(node):
            return values[0] if isinstance(node.args[0], Expr) else self.number(values[0], node.dtype)
        if node.op.role == "mask":
            return values[0] if values else self.number(0, node.dtype)
        if node.op.role == "reduction":
            return self.fold(node, values)
        if node.op.role == "gather":
            at, access, axes = self.index_memory(node.args[0], list(node.args[1:]), index)
            return self.add(
                ("gather", access, at), lambda: Instruction("gather", node.dtype, at, access=access, value=axes, cost=4)
            )
        function, dtypes = lowered(node.op, node.args, node.dtype)
        args = [v if isinstance(a, Expr) else self.number(v, d) for a, v, d in zip(node.args, values, dtypes, strict=True)]
        have = tuple(np.dtype(a.dtype) if isinstance(a, Expr) else d for a, d in zip(node.args, dtypes, strict=True))
        cost = node.op.flops(node, *node.args, **node.params) / max(node.size, 1)
        if node.op.role == "cast":
            return self.convert(args[0], have[0], node.dtype)
        args = [self.convert(a, h, d) for a, h, d in zip(args, have, dtypes, strict=True)]
        return self.add(
            (node.op.name, *args, node.dtype.str),
            lambda: Instruction(node.op.name, node.dtype, tuple(args), dtypes, function, cost=cost),
        )

    def fold(self, node: Expr, values: list) -> int:
        """A small reduction as a balanced tree."""
        combine = node.op.lower.combine
        dtype = node.dtype
        values = [self.convert(v, node.args[0].dtype, dtype) for v in values]
        while len(values) > 1:
            pairs = [self.combine(combine, a, b, dtype) for a, b in zip(values[::2], values[1::2], strict=False)]
            values = pairs + values[len(values) // 2 * 2 :]
        if node.op.lower.begins and dtype.kind == "f":
            return self.combine(combine, self.number(node.op.lower.neutral(dtype), dtype), values[0], dtype)
        return values[0]

    def combine(self, op: Primitive, a: int, b: int, dtype: np.dtype) -> int:
        """An operation on two values of one dtype."""
        function, dtypes = lowered(op, (np.empty(1, dtype),) * 2, dtype)
        return self.add((op.name, a, b, dtype.str), lambda: Instruction(op.name, dtype, (a, b), dtypes, function, cost=1))
