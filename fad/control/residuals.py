"""Residuals: what the way back through a loop reads of each iteration of the way there.

A body's pullback is a tree over the body's own nodes and the cotangents. The nodes that do not depend on cotangents are known on
the way there. Of these the ones that the others read are stored, but for what is at hand anyway (constants, rows of xs), and for
what costs less to compute again than to store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fad.control.functions import Pulled, fresh, rebuild, zeros_like
from fad.core.expr import Expr, Var, reachable
from fad.core.function import Function
from fad.primitives.elementwise import add
from fad.primitives.linalg import matmul
from fad.primitives.shape import transpose

__all__ = ["Backward", "split_pulled"]

LARGE = 64  # elements of a matrix from which a sum of products is left for after the loop
CHEAP = 5  # operations an element that are done again rather than stored and loaded


@dataclass(frozen=True, slots=True, eq=False)
class Backward:
    """``forward`` is the body with the residuals after its ys. ``reverse`` takes the constants ``held``, then carries: sums for
    the inputs ``summed`` and cotangents of the carries ``carried``; then rows: xs ``rows``, the residuals, and cotangents of the
    outputs ``given``. It gives the carries, then cotangents of the inputs ``results``, then operands of the ``products`` that are
    left for after the loop."""

    forward: Function
    reverse: Function
    stored: int
    held: tuple[int, ...]
    summed: tuple[int, ...]
    carried: tuple[int, ...]
    rows: tuple[int, ...]
    given: tuple[int, ...]
    results: tuple[int, ...]
    products: tuple[Product, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Product:
    """A part of the cotangent of the input ``position`` that is a product of matrices in each iteration: one product of their
    stacks. Each operand is (xs, residuals or ys of the way back, which of these, whether it is transposed)."""

    position: int
    operands: tuple[tuple[str, int, bool], tuple[str, int, bool]]


def split_pulled(found: Pulled, given: tuple, consts: int, carry: int, leaves_products: bool) -> Backward:
    """The two bodies of a body's pullback, with products of matrices left for after the loop or in it."""
    inputs, at = found.inputs, consts + carry
    bars = list(found.bars)
    left = find_products(found, bars, consts) if leaves_products else {}
    for k in left:
        bars[k] = None
    operands = {x.id: x for pairs in left.values() for pair in pairs for x, _ in pair}
    known = known_nodes(found)
    roots = [b for b in bars if b is not None] + [x for x in operands.values() if x.id not in known]
    stored, free = choose(found, roots, {x.id for x in [*inputs[:consts], *inputs[at:]]})
    rows_of = {x.id: k for k, x in enumerate(inputs[at:])}
    stored += [x for x in operands.values() if x.id in known and x.id not in rows_of and not any(x is s for s in stored)]
    moving = [x for x in operands.values() if x.id not in known]
    places = {x.id: ("ys", j) for j, x in enumerate(moving)} | {x.id: ("residuals", j) for j, x in enumerate(stored)}
    places |= {i: ("xs", k) for i, k in rows_of.items()}
    products = [Product(k, ((*places[a.id], ta), (*places[b.id], tb))) for k, pairs in left.items() for (a, ta), (b, tb) in pairs]
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
    wanted = [bars[k] for k in summed] + [bars[consts + k] for k in carried] + [bars[k] for k in results] + moving
    made = rebuild(wanted, env)
    sums = [total + m for total, m in zip(new[1], made, strict=False)]
    back = [zeros_like(inputs[consts + k]) if m is None else m for k, m in zip(carried, made[len(summed) :], strict=False)]
    reverse = Function([x for group in new for x in group], [*sums, *back, *made[len(summed) + len(carried) :]], name="reverse")
    forward = Function(inputs, [*found.outputs, *stored])
    return Backward(
        forward, reverse, len(stored), tuple(held), tuple(summed), tuple(carried), tuple(rows), tuple(ys), tuple(results),
        tuple(products)
    )  # fmt: skip


def known_nodes(found: Pulled) -> set[int]:
    """The ids of what does not depend on cotangents."""
    moving = {c.id for c in found.cotangents if c is not None}
    known: set[int] = set()
    for node in reachable([b for b in found.bars if b is not None])[0]:
        is_moving = node.id in moving or any(isinstance(a, Expr) and a.id in moving for a in node.args)
        (moving if is_moving else known).add(node.id)
    return known


def find_products(found: Pulled, bars: list, consts: int) -> dict[int, list]:
    """Cotangents of constants that are sums of products of matrices smaller than these: their operands, which are transposed."""
    left = {}
    own = {x.id for x in found.inputs[:consts]}
    for k, bar in enumerate(bars[:consts]):
        terms = terms_of(bar)
        if all(t.op is matmul and len(t.shape) == 2 and is_large(t) for t in terms):
            pairs = [[untransposed(a) for a in t.args] for t in terms]
            if not any(a.id in own for pair in pairs for a, _ in pair):
                left[k] = pairs
    return left


def is_large(product: Expr) -> bool:
    """Whether a matrix takes more memory than what it is a product of."""
    return product.size >= LARGE and product.size > sum([a.size for a in product.args])


def terms_of(node: Any) -> list:
    """The nodes of which a node is the sum; of None, one that is nothing. The transpose of a product is one of transposes."""
    if not isinstance(node, Expr):
        return [Expr(None, (), {}, (), np.dtype(float), 0.0)]
    if node.op is add:
        return [t for a in node.args for t in terms_of(a)]
    x, is_transposed = untransposed(node)
    if is_transposed and x.op is matmul:
        node = matmul(*[np.swapaxes(a, -1, -2) for a in reversed(x.args)])
    return [node]


def untransposed(x: Any) -> tuple[Any, bool]:
    """A matrix, or the one of which it is the transpose."""
    is_transposed = False
    while isinstance(x, Expr) and x.op is transpose and x.params["axes"] == (1, 0):
        x, is_transposed = x.args[0], not is_transposed
    return x, is_transposed


def choose(found: Pulled, roots: list, free: set[int]) -> tuple[list[Expr], set[int]]:
    """The known nodes to store for these, and the ids of the free inputs that are read."""
    moving = {c.id for c in found.cotangents if c is not None}
    read: dict[int, Expr] = {}  # what is known, and read by what is not
    for node in reachable(roots)[0]:
        if any(isinstance(a, Expr) and a.id in moving for a in node.args):
            moving.add(node.id)
            read |= {a.id: a for a in node.args if isinstance(a, Expr) and a.id not in moving}
    read |= {b.id: b for b in roots if b.id not in moving}
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
