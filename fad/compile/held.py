"""Functions that loops and branches hold, simplified: what nobody reads is left out, and loops of the same iterations become one.

A gradient wants a loop's value and, from the same iterations, what the way back reads: two nodes with one carry, joined here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fad.control.functions import rebuild
from fad.core.expr import Const, Expr, Var, reachable
from fad.core.function import Function
from fad.primitives.elementwise import convert
from fad.primitives.result import results_of
from fad.primitives.select import select

__all__ = ["Held", "find_held"]

Simplify = Callable[[list[Function]], Function]


class Held:
    """The nodes of a tree that hold Functions, by what runs the same, and which of their results are read."""

    def __init__(self, groups: dict[tuple, list[Expr]], read: dict[int, set[int]]):
        self.read = read
        self.members = {n.id: group for group in groups.values() for n in group}

    def shrink(self, node: Expr, args: tuple, simplify: Simplify) -> dict[int, dict[int, Any]]:
        """The results, by index, of a node and of those that run the same, from one new node on simplified arguments."""
        if node.op.role == "branch":
            return {node.id: self.shrink_branch(node, args, simplify)}
        return self.shrink_loops(self.members[node.id], args, simplify)

    def shrink_branch(self, node: Expr, args: tuple, simplify: Simplify) -> dict[int, Any]:
        """The results of a branch that are read."""
        wanted = sorted(self.read[node.id])
        made = [simplify([Function(f.inputs, [f.outputs[k] for k in wanted])]) for f in node.params["branches"]]
        if (condition := condition_of(args[0])) is not None and len(made) == 2 and all(map(is_short, made)):
            given = [as_node(a, x) for a, x in zip(args[1:], made[0].inputs, strict=True)]
            sides = [rebuild(f.outputs, {x.id: a for x, a in zip(f.inputs, given, strict=True)}) for f in made]
            return {k: node_of(select, (condition, b, a), {}) for k, a, b in zip(wanted, *sides, strict=True)}
        used = sorted({k for f in made for k in used_inputs(f.inputs, f.outputs)})
        made = [Function([f.inputs[k] for k in used], own_outputs(f.outputs)) for f in made]
        index = args[0] if isinstance(args[0], Expr) else Const(np.asarray(args[0], np.int64))
        index = index if index.dtype == np.int64 else node_of(convert, (index,), {"dtype": np.dtype(np.int64)})
        given = [as_node(args[1 + k], x) for k, x in zip(used, made[0].inputs, strict=True)]
        found = results_of(node_of(node.op, (index, *given), {"branches": tuple(made)}))
        return dict(zip(wanted, found, strict=True))

    def shrink_loops(self, nodes: list[Expr], args: tuple, simplify: Simplify) -> dict[int, dict[int, Any]]:
        """The results that are read of loops with the same carry, from one loop."""
        p = nodes[0].params
        consts, carry = p["consts"], p["carry"]
        asked = [(n, k) for n in nodes for k in sorted(self.read[n.id]) if k >= carry]  # stacks
        bodies = [Function(n.params["body"].inputs, [n.params["body"].outputs[k] for m, k in asked if m is n]) for n in nodes]
        body = simplify([Function(p["body"].inputs, p["body"].outputs[:carry]), *bodies])
        condition = p["condition"] and simplify([p["condition"]])
        wanted = {k for n in nodes for k in self.read[n.id] if k < carry}
        carried, fixed = read_carries(body, condition, wanted, consts, carry)
        rows = {y.id: y for y in body.outputs[carry:]}
        kept = [*[body.outputs[k] for k in carried], *rows.values()]
        held, xs = read_arguments(body, condition, kept, fixed, consts, carry)
        order = [*held, *[consts + k for k in carried], *xs]
        params = p | {
            "body": Function([body.inputs[k] for k in order], own_outputs(kept)),
            "condition": condition and choose_inputs(condition, order[: len(held) + len(carried)]),
            "consts": len(held),
            "carry": len(carried),
        }
        count, given = args[: p["counted"]], args[p["counted"] :]
        count = tuple([as_node(c, COUNT) for c in count])
        found = results_of(node_of(nodes[0].op, (*count, *[as_node(given[k], body.inputs[k]) for k in order]), params))
        last = {k: found[j] for j, k in enumerate(carried)}
        last |= {k: as_node(given[consts + k], body.inputs[consts + k]) for k in fixed}
        stacks = dict(zip(rows, found[len(carried) :], strict=True))
        results: dict[int, dict[int, Any]] = {n.id: {k: last[k] for k in self.read[n.id] if k < carry} for n in nodes}
        for (n, k), y in zip(asked, body.outputs[carry:], strict=True):
            results[n.id][k] = stacks[y.id]
        return results


COUNT = Var("count", (), np.dtype(np.int64))


SHORT = 40  # operations of a branch that are done whether it is taken or not: a processor that guesses wrong loses as many


def condition_of(index: Any) -> Any:
    """The boolean of which the index of a branch is made; None where it is made of something else."""
    is_cast = isinstance(index, Expr) and index.op is convert and isinstance(index.args[0], Expr)
    return index.args[0] if is_cast and index.args[0].dtype.kind == "b" else None


def is_short(f: Function) -> bool:
    """Whether a branch is elementwise, and so few operations that both may be done."""
    return f.flops <= SHORT and all(n.op.role in ("elementwise", "cast", "view") for n in f.nodes)


def find_held(outputs: list[Expr], stop: Any) -> Held:
    """What holds Functions in the tree of these outputs."""
    nodes = reachable(outputs, stop=stop)[0]
    read: dict[int, set[int]] = {}
    groups: dict[tuple, list[Expr]] = {}
    for node in nodes:
        if node.op is None or isinstance(node, Var):
            continue
        if node.op.role == "result":
            read.setdefault(node.args[0].id, set()).add(node.params["index"])
        elif node.op.functions:
            groups.setdefault(iterations_of(node), []).append(node)
    return Held(groups, read)


def iterations_of(node: Expr) -> tuple:
    """What two loops have in common that run the same iterations."""
    if node.op.role != "loop":
        return (node.id,)
    p = node.params
    carried = Function(p["body"].inputs, p["body"].outputs[: p["carry"]])
    args = [a.id if isinstance(a, Expr) else ("array", id(a)) for a in node.args]
    return (carried, *[p[k] for k in ("condition", "consts", "carry", "length", "reverse", "counted")], *args)


def read_carries(body: Function, condition: Function | None, wanted: set, consts: int, carry: int) -> tuple[list, list]:
    """The carries that iterations change and that something reads, and those that they leave as they are."""
    fixed = [k for k in range(carry) if body.outputs[k] is body.inputs[consts + k]]
    needed = set(wanted)
    if condition is not None:
        needed |= {k - consts for k in used_inputs(condition.inputs, condition.outputs) if k >= consts}
    while True:
        outs = [body.outputs[k] for k in sorted(needed)] + list(body.outputs[carry:])
        more = needed | {k - consts for k in used_inputs(body.inputs, outs) if consts <= k < consts + carry}
        if more == needed:
            break
        needed = more
    return sorted(needed - set(fixed)), fixed


def read_arguments(body: Function, condition: Any, kept: list, fixed: list, consts: int, carry: int) -> tuple[list, list]:
    """The inputs that are read: constants, with the carries that stay as they are among them, and rows."""
    used = used_inputs(body.inputs, kept)
    if condition is not None:
        used |= used_inputs(condition.inputs, condition.outputs)
    held = [k for k in [*range(consts), *[consts + k for k in fixed]] if k in used]
    return held, [k for k in range(consts + carry, len(body.inputs)) if k in used]


def choose_inputs(f: Function, order: list[int]) -> Function:
    """A Function of these of its inputs."""
    return Function([f.inputs[k] for k in order], own_outputs(f.outputs))


def used_inputs(inputs: Any, outputs: Any) -> set[int]:
    """Which inputs these outputs depend on."""
    ids = {x.id for x in inputs}
    found = {x.id for x in reachable(list(outputs), stop=ids)[0]}
    return {k for k, x in enumerate(inputs) if x.id in found}


def own_outputs(outputs: Any) -> list[Expr]:
    """The outputs, each a node of its own that is computed: copies of inputs, constants, views and of what is there twice."""
    found: list[Expr] = []
    for y in outputs:
        is_own = y.op is not None and not isinstance(y, Var) and y.op.role != "view" and not any(y is z for z in found)
        found.append(y if is_own else node_of(convert, (y,), {"dtype": y.dtype}))
    return found


def node_of(op: Any, args: tuple, params: dict) -> Expr:
    """The node of a primitive, as it is."""
    shape, dtype = op.abstract(*args, **params)
    return Expr(op, args, params, shape, dtype, None)


def as_node(x: Any, like: Any) -> Expr:
    """An argument as a node of the dtype that a Function takes."""
    return x if isinstance(x, Expr) else Const(np.asarray(x, like.dtype))
