"""Specialised programs: where Python asks a symbol for its value, that of the call at hand decides, and is a guard from then on.

Each path through a function is a program of its own. Before one runs, a program of the conditions alone says whether it is the
right one: so none runs on values it was not made for.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from fad.core.expr import DECIDING, Expr, Var, reachable, short
from fad.core.function import Function
from fad.errors import TraceError

__all__ = ["Decisions", "Guards"]

MOST = 16  # paths through a function for arguments of one kind


class Decisions:
    """What Python asks while a function is traced on symbols, and what it is told: the values for these leaves."""

    def __init__(self, leaves: list):
        self.leaves = leaves
        self.values: dict[int, Any] = {}  # by the ids of nodes
        self.asked: dict[int, tuple[Expr, Any]] = {}

    @contextmanager
    def about(self, symbols: list) -> Iterator[None]:
        """While this lasts, symbols that stand for the leaves are decided."""
        self.values = {s.id: np.asarray(x, s.dtype)[()] for s, x in zip(symbols, self.leaves, strict=True)}
        token = DECIDING.set(self)
        try:
            yield
        finally:
            DECIDING.reset(token)

    def decide(self, x: Expr) -> Any:
        """The value of a node; None where it depends on other symbols, as those of a batch."""
        with np.errstate(all="ignore"):
            for node in reachable([x], stop=self.values)[0]:
                if node.id in self.values:
                    continue
                if isinstance(node, Var) and node.args:
                    self.values[node.id] = self.values[node.args[0].id]
                elif node.value is not None:
                    self.values[node.id] = node.value
                elif node.op is None or isinstance(node, Var):
                    return None
                else:
                    args = [self.values[a.id] if isinstance(a, Expr) else a for a in node.args]
                    self.values[node.id] = node.op.evaluate(*args, **node.params)
        value = np.asarray(self.values[x.id], x.dtype)[()]
        self.asked[x.id] = x, value
        return value


@dataclass(frozen=True, slots=True, eq=False)
class Guard:
    """The values that a path was made for: those of the program of its conditions."""

    program: Any  # None where nothing was asked
    values: list

    def holds(self, leaves: list) -> bool:
        """Whether these leaves take the path."""
        if self.program is None:
            return True
        try:
            found = self.program(list(leaves))
        except (ArithmeticError, IndexError, ValueError):  # conditions of a path that these leaves leave earlier
            return False
        return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in zip(found, self.values, strict=True))

    def __str__(self) -> str:
        return ", ".join(map(short, self.values)) or "nothing asked"


class Guards:
    """The paths of a function for each kind of arguments."""

    def __init__(self) -> None:
        self.paths: dict[tuple, list[tuple[int, Guard]]] = {}
        self.numbers = itertools.count()  # no two threads get the same

    def find(self, key: tuple, leaves: list) -> int | None:
        """The number of the path that these leaves take, the one taken last being asked first; None where it is new."""
        paths = self.paths.get(key, [])
        for path in paths:
            if path[1].holds(leaves):
                if path is not paths[0]:
                    self.paths[key] = [path, *[p for p in paths if p is not path]]
                return path[0]
        return None

    def add(self, key: tuple, name: str, inputs: tuple, decisions: Decisions) -> tuple[int, Guard]:
        """The number of a new path."""
        from fad.compile.cache import program_for

        paths = self.paths.get(key, [])
        if len(paths) >= MOST:
            raise TraceError(
                f"{name}: too many paths",
                got=f"{MOST} programs for arguments of one kind, and this call takes another path",
                rule="with specialize=True each way that Python's if, while and range take is a program of its own",
                fix="fad.cond, fad.while_loop or fad.fori_loop in place of if, while or for, which are one program for all",
            )
        nodes, values = ([pair[k] for pair in decisions.asked.values()] for k in (0, 1))
        guard = Guard(program_for(Function(inputs, nodes))[0] if nodes else None, values)
        number = next(self.numbers)
        self.paths[key] = [(number, guard), *self.paths.get(key, [])]
        return number, guard
