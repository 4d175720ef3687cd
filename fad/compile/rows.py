"""Rows: nests that work on rows one after another, as a softmax or a layer norm does, run on each row in turn.

A row is then read from memory once, and stays in the cache until the last of the nests is done with it. What one nest
writes, the next may read at the same row only.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from fad.compile.body import Body
from fad.compile.fuse import Callback, Nest, Partition
from fad.compile.loops import Loops, accesses
from fad.expr import Expr, Var

__all__ = ["Rows", "are_local", "grouped"]

SHORT = 48  # elements of a row below which vectors do better across rows
LONG = 1 << 16  # elements of a row that do not stay in the cache
FEW = 8  # rows that are too few to share


@dataclass
class Rows:
    """Loops whose first ``outer`` axes are the same rows."""

    nests: list[Loops]

    @property
    def outer(self) -> int:
        """The axes that count rows."""
        return self.nests[0].outer

    @property
    def extents(self) -> list[int]:
        """The rows."""
        return self.nests[0].extents[: self.outer]

    @property
    def pieces(self) -> int:
        """Rows in all."""
        return prod(self.extents)

    @property
    def work(self) -> float:
        """Operations."""
        return sum([n.work for n in self.nests])


def grouped(parts: Partition) -> list:
    """The steps of a partition; nests over the same rows that follow on one another are a list."""
    found: list = []
    used: set[int] = set()
    for k, step in enumerate(parts.steps):
        if k in used:
            continue
        if not is_rows(step, parts):
            found.append(step)
            continue
        group, skipped = [step], set()
        for j in range(k + 1, len(parts.steps)):
            other = parts.steps[j]
            if isinstance(other, Callback):
                break
            if j in used:
                continue
            if belongs(other, step, parts) and not read_by(other, parts) & skipped:
                group.append(other)
                used.add(j)
            else:
                skipped |= {r.id for r in other.roots}
        found.append(group if len(group) > 1 else step)
    return found


def is_rows(step: object, parts: Partition) -> bool:
    """Whether a nest is over rows, and reduces nothing but these."""
    return (isinstance(step, Nest) and step.kernel is None and len(step.domain) > 1 and SHORT <= step.domain[-1] <= LONG
            and prod(step.domain[:-1]) >= FEW and step.reduced in ((), (len(step.domain) - 1,))
            and not any(r.op.name == "scatter_add" or r.id in parts.boxed for r in step.roots))


def belongs(step: Nest, first: Nest, parts: Partition) -> bool:
    """Whether a nest is over the same rows as the first one, or over one number for each of them."""
    rows = first.domain[:-1]
    if step.kernel is not None or any(r.op.name == "scatter_add" or r.id in parts.boxed for r in step.roots):
        return False
    if step.domain[:-1] == rows and is_rows(step, parts):
        return True
    return not step.reduced and step.domain in (rows, (*rows, 1))


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
    written = {a.buffer: a for body in bodies for a in [x for x, _ in body.stores] + [x for _, x, _ in body.folds]}
    for body in bodies:
        for a in accesses(body):
            w = written.get(a.buffer)
            if w is None:
                continue
            inner = {*w.strides[rows:], 0}
            if a.offset != w.offset or a.strides[:rows] != w.strides[:rows] or not set(a.strides[rows:]) <= inner:
                return False
            if not any(w.strides[:rows]) and prod(hi - lo for lo, hi in body.box[:rows]) > 1:
                return False
        if body.scatters:
            return False
    return True
