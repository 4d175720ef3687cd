"""Hoisting: what the iterations of a loop need not compute, as it does not wait for the carry.

What depends on constants alone is computed once, before the loop. Products of rows of xs with constants are one product of all
rows, which is many times faster, and so is its derivative.
"""

from __future__ import annotations

from typing import Any

from fad.control.functions import batch_function, fresh, rebuild
from fad.core.expr import Expr, Var, reachable
from fad.core.function import Function

__all__ = ["hoist"]

STACK = 1 << 26  # bytes that the results for all rows may take
CONSTANT, ROW, CARRY = 1, 2, 4  # what a node depends on


def hoist(body: Function, consts: int, carry: int, held: list, xs: list) -> tuple[Function, list, list]:
    """A body that computes less, and the constants and xs that it takes."""
    kinds, nodes = sort_nodes(body, consts, carry)
    once = [n for n in nodes if kinds[n.id] == CONSTANT and n.op.role not in ("view", "cast")]
    products = [n for n in nodes if kinds[n.id] == CONSTANT | ROW and n.op.role == "contraction"]
    length = xs[0].shape[0] if xs else 0
    if sum([n.nbytes for n in products]) * length > STACK or not length:
        products = []
    new = fresh([*once, *products], "h")
    env: dict[int, Any] = {x.id: x for x in body.inputs} | {n.id: v for n, v in zip([*once, *products], new, strict=True)}
    outputs = rebuild(body.outputs, env)
    read = {x.id for x in reachable([y for y in outputs if isinstance(y, Expr)])[0]}
    at, whole = consts + carry, body.inputs
    pairs = [(n, v) for n, v in zip([*once, *products], new, strict=True) if v.id in read]
    if not pairs:
        return body, held, xs
    early, of_row = ([(n, v) for n, v in pairs if (kinds[n.id] == CONSTANT) is early] for early in (True, False))
    more = Function(whole[:consts], [n for n, _ in early]).run(held) if early else []
    stacks = []
    if of_row:
        f = Function([*whole[:consts], *whole[at:]], [n for n, _ in of_row])
        rows = (*(False for _ in held), *(True for _ in xs))
        stacks = batch_function(f, length, rows, (True,) * len(of_row))[0].run([*held, *xs])
    inputs = [*whole[:consts], *[v for _, v in early], *whole[consts:], *[v for _, v in of_row]]
    return Function(inputs, outputs, name=body.name), [*held, *more], [*xs, *stacks]


def sort_nodes(body: Function, consts: int, carry: int) -> tuple[dict[int, int], list[Expr]]:
    """What each node depends on, and the operations in order."""
    kinds = {x.id: CONSTANT if k < consts else CARRY if k < consts + carry else ROW for k, x in enumerate(body.inputs)}
    nodes = []
    for node in reachable(list(body.outputs), stop=set(kinds))[0]:
        if node.id in kinds:
            continue
        kinds[node.id] = 0
        for a in node.args:
            kinds[node.id] |= kinds[a.id] if isinstance(a, Expr) else 0
        if node.op is not None and not isinstance(node, Var):
            nodes.append(node)
    return kinds, nodes
