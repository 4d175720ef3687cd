"""Steps: what a program does one after another, as nodes of its tree: loop nests, loops and branches, and calls of NumPy."""

from __future__ import annotations

from dataclasses import dataclass

from fad.compile import index as ix
from fad.core.expr import Expr, Var, aval_text
from fad.core.function import Function
from fad.core.lowering import Part, Put

__all__ = ["Callback", "Control", "Nest", "Partition", "find_parts", "is_masked", "is_view", "list_computed", "scattered"]

PARTS = 4  # operands up to which a concatenation is pulled rather than stored part by part


@dataclass(frozen=True, slots=True, eq=False)
class Nest:
    """Loops over ``domain`` that store elementwise roots and reduce others over the axes ``reduced``."""

    domain: tuple
    reduced: tuple
    roots: tuple[Expr, ...]
    kernel: Expr | None = None  # the product or convolution whose result the roots take as it is made

    def __str__(self) -> str:
        over = f", reduced over {self.reduced}" if self.reduced else ""
        return f"nest {self.domain}{over}: " + ", ".join(f"{r.op.name}:{aval_text(r.shape, r.dtype)}" for r in self.roots)


@dataclass(frozen=True, slots=True, eq=False)
class Callback:
    """A primitive evaluated by NumPy; ``why`` says so where its native code failed."""

    node: Expr
    why: str = ""

    def __str__(self) -> str:
        return f"call {self.node.op.name}: {aval_text(self.node.shape, self.node.dtype)}" + (f" ({self.why})" if self.why else "")


@dataclass(frozen=True, slots=True, eq=False)
class Control:
    """A loop or a branch, the partitions of the Functions that it holds, and its results as far as they are read."""

    node: Expr
    held: tuple[Partition, ...]
    results: tuple[Expr, ...]

    @property
    def roots(self) -> tuple[Expr, ...]:
        """What is there after it."""
        return (self.node, *self.results)

    def __str__(self) -> str:
        inner = "\n".join(str(p) for p in self.held)
        return f"{self.node.op.name}: {aval_text(self.node.shape, self.node.dtype)}\n  " + inner.replace("\n", "\n  ")


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """The steps in order, and the ids of stored nodes; ``alias`` maps a reshape to the stored node it shares memory with."""

    function: Function
    steps: tuple[Nest | Callback | Control, ...]
    stored: frozenset[int]
    alias: dict[int, Expr]
    inline: frozenset[int]  # reductions that are written out where they are used
    boxed: frozenset[int]  # stored nodes whose nests are cut into boxes

    def __str__(self) -> str:
        return "\n".join(map(str, self.steps))


def is_view(node: Expr) -> bool:
    """Whether a map says where a node's elements are in its operand."""
    if node.op is None or node.op.role != "view":
        return False
    return not node.op.lower.in_order or ix.through(node, ix.identity(node.shape)) is not None


def is_masked(node: Expr) -> bool:
    """Whether a node selects by position, and can be pulled by cutting the nest into boxes."""
    return (
        node.op is not None
        and node.op.role == "mask"
        and len(node.args) <= PARTS
        and all(a.dtype == node.dtype for a in node.args)
        and node.op.lower.parts(node.shape, *[a.shape for a in node.args], **node.params) is not None
    )


def scattered(node: Expr) -> tuple[Expr | None, Expr, list]:
    """What values are put into, None for zeros, the values, and the index arrays."""
    x = node.args[:1] if isinstance(node.op.lower, Put) else ()
    return x[0] if x else None, node.args[len(x)], list(node.args[len(x) + 1 :])


def find_parts(node: Expr) -> list[Part]:
    """Where the operands of a masked node lie in it."""
    return node.op.lower.parts(node.shape, *[a.shape for a in node.args], **node.params)


def list_computed(step: Nest | Callback | Control, parts: Partition, done: set[int]) -> list[Expr]:
    """The nodes that a step computes: its roots, and what is neither in memory nor among the ids ``done``."""
    roots = [step.node] if isinstance(step, Callback) else step.roots
    found: dict[int, Expr] = {r.id: r for r in roots}
    stack = list(roots)
    while stack:
        node = stack.pop()
        if node.id in parts.alias and node.id not in done:
            base = parts.alias[node.id]
            reads: list = [] if base.op is None or isinstance(base, Var) or base.id in done else [base]
        else:
            reads = [a for a in node.args if isinstance(a, Expr) and a.op is not None and not isinstance(a, Var)]
        for a in reads:
            if a.id not in found and a.id not in done:
                found[a.id] = a
                stack.append(a)
    return list(found.values())
