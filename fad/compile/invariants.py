"""What each pass may take for granted of the one before it; asked after every pass with ``FAD_CHECK=1``.

fuse: each stored node is made by one step, and a step finds in memory what it does not compute itself.
plan: each buffer has a place, is written before it is read, and all of it; no access leaves its buffer; buffers in the arena
that are needed at one time lie apart.
emit: nests that share a function have the same code, and a function's buffers have places.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from math import prod
from typing import Any

from fad.compile.body import Access
from fad.compile.control import Choice, Repeat
from fad.compile.debug import CompilerError
from fad.compile.loops import Loops
from fad.compile.plan import Plan
from fad.compile.rows import Rows
from fad.compile.steps import Callback, Nest, Partition, is_view, list_computed
from fad.compile.storage import list_constants, list_uses, memory_of
from fad.core.expr import Expr, Var, aval_text

__all__ = ["check_code", "check_partition", "check_plan"]


def broken(step: str, what: str, rule: str) -> CompilerError:
    """The error of an invariant that does not hold."""
    return CompilerError(f"{step}: {what}", got="a program that would be wrong", rule=rule, fix="report this; FAD_DEBUG=3 shows it")


def named(node: Expr) -> str:
    """A node in a message."""
    return f"{node.op.name if node.op else 'const'}:{aval_text(node.shape, node.dtype)}"


# -- fuse --------------------------------------------------------------------------------------------------------------


def check_partition(parts: Partition) -> None:
    """Raise where a step could not be written, as what it reads would not be there."""
    made: set[int] = set()
    alone = {s.node.id for s in parts.steps if isinstance(s, Callback)} | {
        s.kernel.id for s in parts.steps if isinstance(s, Nest) and s.kernel is not None
    }
    for step in parts.steps:
        roots = [step.node] if isinstance(step, Callback) else step.roots
        for node in list_computed(step, parts, made):
            if node.id in alone - {r.id for r in roots}:
                raise broken("fuse", f"{named(node)} is read before it is made", "what no loop computes is made by an earlier step")
            base = parts.alias.get(node.id, node)
            if base is not node and not is_view(node) and base.id in parts.stored - made:
                raise broken("fuse", f"{named(base)} is reshaped before it is made", "a reshape is another name for memory")
        for root in roots:
            if root.id in made or root.id not in parts.stored:
                raise broken("fuse", f"{named(root)} is made twice, or has no memory", "each stored node is made by one step")
            made.add(root.id)
    for node in (parts.alias.get(y.id, y) for y in parts.function.outputs):
        if node.id not in made and node.op is not None and not isinstance(node, Var):
            raise broken("fuse", f"the output {named(node)} is not made", "outputs are stored")


# -- plan --------------------------------------------------------------------------------------------------------------


def check_plan(plan: Plan) -> None:
    """Raise where a nest would read what is not there, or touch what is not its own."""
    function = plan.parts.function
    leaves = (*function.inputs, *list_constants(plan.parts))
    sizes = plan.sizes | {x.id: x.nbytes for x in (*leaves, *function.nodes)}  # in bytes
    written = Counter({x.id: x.nbytes for x in leaves})
    for step in plan.steps:
        if isinstance(step, Callback):
            bases = [memory_of(plan.parts, a)[0] for a in step.node.args if isinstance(a, Expr)]
            must_be_there([plan.parts.alias.get(b.id, b).id for b in bases], sizes, written, str(step))
            written[step.node.id] = step.node.nbytes
            continue
        for n in step.nests:
            for part in [*n.nests, *n.sums] if isinstance(n, Rows) else [n]:
                check_nest(part, sizes, written)
    made = {place: b for b, place in plan.objects.items()}  # of two at one place the later one, which took over its memory
    results = [made.get(where, -1) for kind, where in plan.outputs if kind in ("object", "donated")]
    must_be_there(results, sizes, written, "the caller")
    check_layout(plan)


def check_nest(n: Any, sizes: dict, written: Counter) -> None:
    """One nest or phase of a kernel: its reads, its writes, and where they lie."""
    what = type(n).__name__
    if isinstance(n, Repeat | Choice):
        check_control(n, sizes, written)
        return
    if not isinstance(n, Loops):
        written.update({a.buffer: sizes[a.buffer] for a in n.operands if a.buffer < 0})  # scratch memory
        must_be_there([a.buffer for a in n.operands], sizes, written, what)
    for body in n.bodies:
        stores = [a for a, _ in body.stores] + [a for _, a, _ in body.folds]
        must_be_there([a.buffer for a in body.loads], sizes, written, what)
        indexed = {i.access: i.value for i in body.instructions if i.name == "gather"} | {s[0]: s[2] for s in body.scatters}
        for a in body.accesses:
            low, high, size = *reach(a, n.extents, indexed.get(a, ())), sizes[a.buffer] // a.dtype.itemsize
            if low < 0 or high >= size:
                raise broken("plan", f"{what} touches {low}..{high} of {size} elements of {a.buffer}", "accesses stay inside")
        for a in dict.fromkeys(stores):
            written[a.buffer] += a.dtype.itemsize * prod([e for e, s in zip(n.extents, a.strides, strict=True) if s])


def check_control(n: Repeat | Choice, sizes: dict, written: Counter) -> None:
    """A loop or branch, and the nests in it, each scope by itself: what lies outside is there when it begins."""
    must_be_there(list(n.outside.reads), sizes, written, type(n).__name__)
    scopes = n.scopes if isinstance(n, Choice) else [s for s in (n.scope, n.test) if s]
    inside = {b: size for s in scopes for b, (size, _) in s.own.items()}
    known = {}
    if max([at + size for s in scopes for size, at in s.own.values()], default=0) > sizes[n.outside.scratch]:
        raise broken("plan", f"{type(n).__name__} has {sizes[n.outside.scratch]} bytes of its own", "its buffers lie in its memory")
    if isinstance(n, Repeat):
        inside |= {r.buffer: r.nbytes for r in n.rows}
        known = {b: inside[b] for b in [*[c.now for c in n.carries], *[r.buffer for r in n.rows if r.whole in n.outside.reads]]}
    for s in scopes:
        own_sizes, there = {**sizes, **inside}, Counter({**written, **known})
        for name, b in s.names.items():
            own_sizes[name], there[name] = own_sizes[b], there[b]
        for step in s.steps:
            for part in [*step.nests, *step.sums] if isinstance(step, Rows) else [step]:
                check_nest(part, own_sizes, there)
    written.update({b: sizes[b] for b in n.outside.writes})


def must_be_there(buffers: list[int], sizes: dict, written: Counter, what: str) -> None:
    """Raise where a buffer is read that is not written, or not all of it."""
    for b in buffers:
        if written[b] < sizes.get(b, 1):
            raise broken("plan", f"{what} reads the buffer {b}, which is not written", "a step reads what earlier ones made")


def reach(a: Access, extents: tuple, indexed: tuple) -> tuple[int, int]:
    """The first and the last element of an access over these loops; ``indexed`` are (stride, size) of indexed axes."""
    steps = [(s, e) for s, e in zip(a.strides, extents, strict=True)] + list(indexed)
    ends = [s * (e - 1) for s, e in steps]
    return a.offset + sum(min(e, 0) for e in ends), a.offset + sum(max(e, 0) for e in ends)


def check_layout(plan: Plan) -> None:
    """Raise where two buffers of the arena share bytes while both are needed."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    placed = {*plan.objects, *plan.offsets, *(x.id for x in list_constants(plan.parts))}
    for t, used in enumerate(list_uses(plan.parts, plan.steps)):
        for b in used:
            first.setdefault(b, t)
            last[b] = t
            if b not in placed:
                raise broken("plan", f"the buffer {b} has no place", "what a step touches is an object or lies in the arena")
    live: list[int] = []
    for b in sorted(first.keys() & plan.offsets.keys(), key=first.__getitem__):
        live = [c for c in live if last[c] >= first[b]]
        begin, end = plan.offsets[b], plan.offsets[b] + plan.sizes[b]
        if end > plan.arena or any(begin < plan.offsets[c] + plan.sizes[c] and plan.offsets[c] < end for c in live):
            raise broken("plan", f"the buffer {b} lies where another is still needed", "buffers of one time lie apart")
        live.append(b)


# -- emit --------------------------------------------------------------------------------------------------------------


def check_code(units: Iterable[Any], text: Callable[[Any], str]) -> None:
    """Raise where units of one key, which share a function, have different code; ``text(unit)`` is that."""
    first: dict[tuple, Any] = {}
    for u in units:
        if first.setdefault(u.key, u) is not u and text(first[u.key]) != text(u):
            raise broken("emit", f"two nests over {u.nests[0].extents} differ", "nests of one key have the same code")
