"""Kernels in programs: products and convolutions as phases of native code, with what follows on their result elementwise
computed where it is stored."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from fad.compile.body import Access, Body, Instruction
from fad.compile.index import strides_of
from fad.compile.scalar import lowered
from fad.primitives.elementwise import add

if TYPE_CHECKING:
    from fad.compile.kernels.recipe import Phase, Recipe

__all__ = ["KernelRun", "as_one", "runs", "summed"]


@dataclass(frozen=True, slots=True)
class KernelRun:
    """One phase of a kernel: its buffers in the order of the phase, and for the last one the body that takes the result."""

    phase: Phase
    operands: list[Access]
    body: Body | None
    joins: tuple[int, ...]  # axes of the body that each entry of the epilogue's index counts
    name: str = ""

    @property
    def bodies(self) -> list[Body]:
        """The body, if there is one."""
        return [self.body] if self.body else []

    @property
    def pieces(self) -> int:
        """Pieces of work."""
        return self.phase.spec.pieces

    @property
    def work(self) -> float:
        """Operations."""
        return self.phase.spec.work

    @property
    def asks(self) -> bool:
        """Whether it may fail."""
        return self.phase.asks

    @property
    def extents(self) -> tuple[int, ...]:
        """The shape of the result."""
        return tuple([hi - lo for lo, hi in self.body.box]) if self.body else ()


def summed(body: Body, buffer: int, chunks: int) -> Body:
    """A body whose result is the sum of that many arrays in a buffer."""
    shape = tuple(hi - lo for lo, hi in body.box)
    dtype = next(i.dtype for i in body.instructions if i.name == "result")
    place = Access(buffer, 0, strides_of(shape), dtype)
    size = prod(shape)
    out = [Instruction("load", dtype, access=place._replace(offset=c * size), cost=1) for c in range(chunks)]
    function, dtypes = lowered(add, (np.empty(1, dtype),) * 2, dtype)
    values = list(range(chunks))
    while len(values) > 1:
        paired = []
        for a, b in zip(values[::2], values[1::2], strict=False):
            paired.append(len(out))
            out.append(Instruction("add", dtype, (a, b), dtypes, function, cost=1))
        values = paired + values[len(values) // 2 * 2 :]
    moved = {}
    for k, i in enumerate(body.instructions):
        if i.name == "result":
            moved[k] = values[0]
            continue
        moved[k] = len(out)
        out.append(Instruction(i.name, i.dtype, tuple(moved[a] for a in i.args), i.dtypes, i.function, i.access, i.value, i.cost))
    return Body(body.box, (), tuple(out), tuple([(a, moved[v]) for a, v in body.stores]))


def runs(recipe: Recipe, operands: list[Access], scratch: list[Access], body: Body, name: str) -> list[KernelRun]:
    """The phases of a recipe on these buffers."""
    joins = recipe.joins or (1,) * len(body.box)
    found = []
    for phase in recipe.phases:
        buffers = [operands[b] if b >= 0 else scratch[-1 - b] for b in phase.buffers]
        found.append(KernelRun(phase, buffers, body if phase.last else None, joins, name))
    return found


def as_one(body: Body, axes: range, accesses: list[Access]) -> int | None:
    """The axis whose steps count these axes as one, None where memory tells them apart."""
    extents = [hi - lo for lo, hi in body.box]
    long = [a for a in axes if extents[a] > 1] or [axes[-1]]
    same = all(x.strides[a] == x.strides[b] * extents[b] for x in accesses for a, b in itertools.pairwise(long))
    return long[-1] if same else None
