"""Rows: nests that work on rows one after another, as a softmax or a layer norm does, run on each row one after another.

A row is then read from memory once, and stays in the cache until the last of the nests is done with it. What one nest
writes, the next may read at the same row only. Sums over rows, as of gradients by a scale or bias, follow each block of rows;
their results are then added up.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from fad.compile.body import Access, Body
from fad.compile.loops import Loops
from fad.compile.steps import Callback, Nest, Partition
from fad.core.expr import Expr, Var
from fad.native.machine_model import CACHED_ROW, FEW_ROWS, REDUCED_ROWS, SHORT_ROW

__all__ = ["Rows", "are_local", "block_of", "group_rows", "reads_own", "map_writes"]


@dataclass(frozen=True, slots=True)
class Rows:
    """Loops whose first ``outer`` axes are the same rows, and reductions of each block of them."""

    nests: tuple[Loops, ...]
    block: int = 1  # rows
    sums: tuple[Loops, ...] = ()  # whose first axis is that of the blocks

    @property
    def bodies(self) -> list[Body]:
        """Of all its loops."""
        return [n.body for n in (*self.nests, *self.sums)]

    @property
    def outer(self) -> int:
        """The axes that count rows."""
        return self.nests[0].outer

    @property
    def extents(self) -> tuple[int, ...]:
        """The rows."""
        return self.nests[0].extents[: self.outer]

    @property
    def pieces(self) -> int:
        """Blocks of rows in all."""
        return prod(self.extents) // self.block

    @property
    def work(self) -> float:
        """Operations."""
        return sum([n.work for n in (*self.nests, *self.sums)])


def group_rows(parts: Partition) -> list[list[Nest] | Callback]:
    """The steps of a partition: callbacks, and lists of one nest, or of several over the same rows that follow on one another."""
    found: list = []
    used: set[int] = set()
    for k, step in enumerate(parts.steps):
        if k in used:
            continue
        if not is_rows(step, parts):
            found.append(step if isinstance(step, Callback) else [step])
            continue
        assert isinstance(step, Nest)
        group, skipped = [step], set[int]()
        for j in range(k + 1, len(parts.steps)):
            other = parts.steps[j]
            if not isinstance(other, Nest):
                break
            if j in used:
                continue
            columns = is_columns(other, step, parts)
            joins = (columns or belongs(other, step, parts)) and not read_by(other, parts) & skipped
            if joins:
                group.append(other)
                used.add(j)
            if columns or not joins:  # what it makes is not there for rows to read
                skipped |= {r.id for r in other.roots}
        found.append(group)
    return found


def is_rows(step: object, parts: Partition) -> bool:
    """Whether a nest is over rows, and reduces nothing but these."""
    return (
        isinstance(step, Nest)
        and is_plain(step, parts)
        and len(step.domain) > 1
        and SHORT_ROW <= step.domain[-1] <= CACHED_ROW
        and prod(step.domain[:-1]) >= FEW_ROWS
        and step.reduced in ((), (len(step.domain) - 1,))
    )


def is_plain(step: Nest, parts: Partition) -> bool:
    """Whether a nest is no kernel, and takes the elements of its domain in any order."""
    return step.kernel is None and not any(r.op.role == "scatter" or r.id in parts.boxed for r in step.roots)


def belongs(step: Nest, first: Nest, parts: Partition) -> bool:
    """Whether a nest is over the same rows as the first one, or over one number for each of them."""
    rows = first.domain[:-1]
    if not is_plain(step, parts):
        return False
    if step.domain[:-1] == rows and is_rows(step, parts):
        return True
    return not step.reduced and step.domain in (rows, (*rows, 1))


def is_columns(step: Nest, first: Nest, parts: Partition) -> bool:
    """Whether a nest reduces the rows of the first one."""
    return is_plain(step, parts) and step.domain == first.domain and step.reduced == tuple(range(len(step.domain) - 1))


def read_by(step: Nest, parts: Partition) -> set[int]:
    """The stored nodes that a nest reads."""
    found: set[int] = set()
    seen: set[int] = set()
    stack = [a for r in step.roots for a in r.args]
    while stack:
        x = stack.pop()
        if not isinstance(x, Expr) or x.id in seen or x.op is None or isinstance(x, Var):
            continue
        seen.add(x.id)
        base = parts.alias.get(x.id, x)
        if base.id in parts.stored:
            found.add(base.id)
        if base is x and (x.id not in parts.stored or any(r is x for r in step.roots)):
            stack += x.args
    return found


def are_local(bodies: list[Body], rows: int) -> bool:
    """Whether what one body writes, others read and write at the same row only; the first ``rows`` axes count rows."""
    written = map_writes(bodies)
    return all(not body.scatters and all(is_own(a, written, body, rows) for a in body.accesses) for body in bodies)


def map_writes(bodies: list[Body]) -> dict[int, Access]:
    """The buffers that bodies write, and how."""
    return {a.buffer: a for body in bodies for a in [x for x, _ in body.stores] + [x for _, x, _ in body.folds]}


def is_own(a: Access, written: dict[int, Access], body: Body, rows: int) -> bool:
    """Whether an access meets what others write at the same row only."""
    w = written.get(a.buffer)
    if w is None:
        return True
    inner = {*w.strides[rows:], 0}
    if a.offset != w.offset or a.strides[:rows] != w.strides[:rows] or not set(a.strides[rows:]) <= inner:
        return False
    return any(w.strides[:rows]) or prod(hi - lo for lo, hi in body.box[:rows]) <= 1


def reads_own(body: Body, written: dict[int, Access], rows: int) -> bool:
    """Whether a reduction of rows reads what others write at its own row only."""
    return not body.stores and not body.scatters and all(is_own(a, written, body, rows) for a in body.loads)


def block_of(rows: int) -> int:
    """How many rows to take before their reductions follow; 0 where rows cannot be cut into such blocks."""
    return next((n for n in range(REDUCED_ROWS, 7, -1) if rows % n == 0 and rows // n >= FEW_ROWS), 0)
