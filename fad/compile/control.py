"""Control: loops and branches in programs, with the steps of an iteration or of each branch.

Nodes have numbers of their own in the whole program, so the buffers of a body go by these as all others do. A body's inputs are
other names for buffers outside, rows of such, or carries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fad.compile.body import Access

__all__ = ["FLAG", "LAUNCH", "POLL", "STOPPED", "Carry", "Choice", "Outside", "Repeat", "Row", "Scope"]

FLAG = 0  # the buffer whose first word says that an index was out of range
LAUNCH = -(1 << 62)  # the buffer that is the function which runs nests on all threads
POLL = LAUNCH + 1  # the buffer that is the function which looks after signals, and sets the flag to STOPPED; null where nobody may
STOPPED = 2
ENDLESS = 1e9  # operations from which a loop within another one looks after signals
BYTE = np.dtype(np.uint8)


@dataclass(frozen=True, slots=True)
class Scope:
    """Steps that run together; ``own`` are their own buffers: how many bytes, and where in the scratch memory of the whole."""

    steps: tuple[Any, ...]
    names: dict[int, int]  # buffers that are others outside
    own: dict[int, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Carry:
    """A carry: what an iteration reads and what it makes, which may be one buffer, where it begins, and where the last one goes."""

    now: int
    new: int
    init: int
    last: int | None
    nbytes: int


@dataclass(frozen=True, slots=True)
class Row:
    """A buffer that is a row of another one, of the number of the iteration."""

    buffer: int
    whole: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Outside:
    """What a loop or branch touches outside of itself: buffers, the scratch memory for those inside first."""

    scratch: int
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    asks: bool  # whether indices may be out of range
    launches: bool  # whether threads work together inside
    polls: bool  # whether a loop inside may go on for long

    @property
    def operands(self) -> list[Access]:
        """Accesses that stand for whole buffers."""
        return [Access(b, 0, (), BYTE) for b in dict.fromkeys([self.scratch, *self.reads, *self.writes])]

    @property
    def buffers(self) -> list[int]:
        """What its function takes."""
        more = [*([FLAG] if self.asks or self.polls else []), *([LAUNCH] if self.launches else [])]
        more += [POLL] if self.polls else []
        return [*dict.fromkeys([self.scratch, *self.reads, *self.writes]), *more]


@dataclass(frozen=True, slots=True)
class Repeat:
    """A loop: steps that run again and again."""

    scope: Scope
    test: Scope | None  # before each iteration, what says whether there is one
    holds: int  # the buffer of the answer
    carries: tuple[Carry, ...]
    rows: tuple[Row, ...]
    filled: tuple[tuple[int, int], ...]  # (buffer, bytes) of stacks of which not all rows may be reached
    length: int | None
    count: int | None  # the buffer of the number of iterations
    reverse: bool
    shared: bool  # whether threads take iterations, which then know nothing of each other
    outside: Outside

    @property
    def bodies(self) -> list:
        """None that has one box."""
        return []

    @property
    def operands(self) -> list[Access]:
        """Every buffer outside."""
        return self.outside.operands

    @property
    def work(self) -> float:
        """Operations."""
        each = sum([n.work for n in self.scope.steps]) + STEP
        return each * (np.inf if self.length is None else self.length)

    @property
    def is_endless(self) -> bool:
        """Whether it may go on for long, or for ever."""
        return self.work > ENDLESS

    @property
    def pieces(self) -> int:
        """Iterations that threads share."""
        return (self.length or 0) if self.shared else 1

    @property
    def budget(self) -> int:
        """Iterations between two looks at the clock."""
        return max(1, int(BUDGET / (sum([n.work for n in self.scope.steps]) + STEP)))


STEP = 20  # operations that an iteration takes beside those of its steps
BUDGET = 1e6  # operations of the iterations between two looks at the clock


@dataclass(frozen=True, slots=True)
class Choice:
    """A branch: one of several scopes, chosen by an integer in a buffer."""

    index: int
    scopes: tuple[Scope, ...]
    outside: Outside

    @property
    def bodies(self) -> list:
        """None that runs in any case."""
        return []

    @property
    def operands(self) -> list[Access]:
        """Every buffer outside."""
        return self.outside.operands

    @property
    def work(self) -> float:
        """Operations of the longest branch."""
        return max([sum([n.work for n in s.steps]) for s in self.scopes])

    @property
    def pieces(self) -> int:
        """It is one."""
        return 1
