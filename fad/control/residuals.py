"""Residuals: what the way back through a loop reads of each iteration of the way there.

A body's pullback is a tree over the body's own nodes and the cotangents. The nodes that do not depend on cotangents are known on
the way there. Of these the ones that the others read are stored, but for what is at hand anyway (constants, rows of xs), and for
what costs less to compute again than to store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fad.control.functions import Pulled, fresh, rebuild, zeros_like
from fad.core.expr import Expr, Var, reachable
from fad.core.function import Function

__all__ = ["Backward", "split_pulled"]

CHEAP = 2  # operations an element that are done again rather than stored and loaded


@dataclass(frozen=True, slots=True, eq=False)
class Backward:
    """``forward`` is the body with the residuals after its ys. ``reverse`` takes the constants ``held``, then carries: sums for
    the inputs ``summed`` and cotangents of the carries ``carried``; then rows: xs ``rows``, the residuals, and cotangents of the
    outputs ``given``. It gives the carries, then cotangents of the inputs ``results``."""

    forward: Function
    reverse: Function
    stored: int
    held: tuple[int, ...]
    summed: tuple[int, ...]
    carried: tuple[int, ...]
    rows: tuple[int, ...]
    given: tuple[int, ...]
    results: tuple[int, ...]


def split_pulled(found: Pulled, given: tuple, consts: int, carry: int) -> Backward:
    """The two bodies of a body's pullback."""
    inputs, bars = found.inputs, found.bars
    at = consts + carry
    stored, free = choose(found, {x.id for x in [*inputs[:consts], *inputs[at:]]})
    summed = [k for k in range(consts) if bars[k] is not None]
    carried = [k for k in range(carry) if given[k]]
    ys = [k for k in range(carry, len(given)) if given[k]]
    results = [k for k in range(at, len(inputs)) if bars[k] is not None]
    held, rows = (
        [k for k in range(consts) if inputs[k].id in free],
        [k for k in range(len(inputs) - at) if inputs[at + k].id in free],
    )
    new = [fresh([inputs[k] for k in held]), fresh([inputs[k] for k in summed]), fresh([found.cotangents[k] for k in carried]),
           fresh([inputs[at + k] for k in rows]), fresh(stored, "r"), fresh([found.cotangents[k] for k in ys])]  # fmt: skip
    env: dict[int, Any] = {}
    for nodes, variables in zip(
        ([inputs[k] for k in held], [], [found.cotangents[k] for k in carried], [inputs[at + k] for k in rows], stored,
         [found.cotangents[k] for k in ys]), new, strict=True):  # fmt: skip
        env |= {n.id: v for n, v in zip(nodes, variables, strict=False)}
    wanted = [bars[k] for k in summed] + [bars[consts + k] for k in carried] + [bars[k] for k in results]
    made = rebuild(wanted, env)
    sums = [total + m for total, m in zip(new[1], made, strict=False)]
    back = [zeros_like(inputs[consts + k]) if m is None else m for k, m in zip(carried, made[len(summed) :], strict=False)]
    reverse = Function([x for group in new for x in group], [*sums, *back, *made[len(summed) + len(carried) :]], name="reverse")
    forward = Function(inputs, [*found.outputs, *stored])
    return Backward(
        forward, reverse, len(stored), tuple(held), tuple(summed), tuple(carried), tuple(rows), tuple(ys), tuple(results)
    )


def choose(found: Pulled, free: set[int]) -> tuple[list[Expr], set[int]]:
    """The known nodes to store, and the ids of the free inputs that are read."""
    moving = {c.id for c in found.cotangents if c is not None}
    read: dict[int, Expr] = {}  # what is known, and read by what is not
    for node in reachable([b for b in found.bars if b is not None])[0]:
        if any(isinstance(a, Expr) and a.id in moving for a in node.args):
            moving.add(node.id)
            read |= {a.id: a for a in node.args if isinstance(a, Expr) and a.id not in moving}
    read |= {b.id: b for b in found.bars if b is not None and b.id not in moving}
    ids = {x.id for x in found.inputs}
    stored: dict[int, Expr] = {}
    used: set[int] = set()
    for node in sorted(read.values(), key=lambda n: n.id):
        sources = sources_of(node, ids)
        more = {k: s for k, s in sources.items() if k not in free and k not in stored}
        if node.id not in ids and sum(s.nbytes for s in more.values()) > node.nbytes:
            more, sources = {node.id: node}, {}
        stored |= more
        used |= sources.keys() & free
    return list(stored.values()), used


def sources_of(node: Expr, inputs: set[int]) -> dict[int, Expr]:
    """What a node can be computed from again at next to no cost: inputs, and what costs more."""
    found: dict[int, Expr] = {}
    stack = [node]
    while stack:
        x = stack.pop()
        if x.id in inputs or (x.op is not None and not is_cheap(x)):
            found[x.id] = x
        elif x.op is not None or (isinstance(x, Var) and x.args):
            stack += [a for a in x.args if isinstance(a, Expr)]
    return found


def is_cheap(node: Expr) -> bool:
    """Whether to compute a node again rather than store it."""
    if isinstance(node, Var) or node.op.role in ("view", "cast"):
        return not isinstance(node, Var) or bool(node.args)
    return node.op.role == "elementwise" and node.op.flops(node, *node.args, **node.params) <= CHEAP * max(node.size, 1)
