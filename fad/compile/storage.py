"""Memory: which buffers are Python objects, and where the others lie in the arena.

Two buffers share bytes of the arena if no step needs both. Inputs, constants, outputs and the results of callbacks are arrays of
Python's; outputs may take over donated inputs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fad.compile.segment import WHOLE, Segment, accesses
from fad.compile.steps import Callback, Control, Partition
from fad.core.expr import Expr, Var
from fad.native.machine_model import SMALL_BUFFER

__all__ = ["find_takeovers", "lay_out", "list_constants", "list_uses", "may_share", "memory_of", "place_objects", "round_up"]


def find_takeovers(parts: Partition, steps: list, donated: frozenset) -> dict[int, int]:
    """Outputs (by id) that are written where a donated input lies (its place).

    They must be alike, and once the output is begun, the input is read only at the element that is just being written."""
    function = parts.function
    returned = {parts.alias.get(y.id, y).id for y in function.outputs}
    free = {k: x for k in sorted(donated) if (x := function.inputs[k]).shape and x.id not in returned}
    called = [step.node for step in steps if isinstance(step, Callback)]
    held = {memory_of(parts, a)[0].id for n in called for a in n.args if isinstance(a, Expr)} | {n.id for n in called}
    nests = [n for step in steps if isinstance(step, Segment) for n in step.nests]
    touching: dict[int, list[int]] = {}  # the nests of a buffer, in order
    for k, n in enumerate(nests):
        for b in {a.buffer for a in accesses(n)}:
            touching.setdefault(b, []).append(k)
    both = lambda x, y: [nests[k] for k in sorted({*touching.get(x.id, ()), *touching.get(y.id, ())})]
    taken: dict[int, int] = {}
    for y in function.outputs:
        y = parts.alias.get(y.id, y)
        for k, x in list(free.items()) if y.op is not None and y.id not in held | taken.keys() and not isinstance(y, Var) else ():
            if x.id not in held and (x.size, x.dtype) == (y.size, y.dtype) and may_share(both(x, y), x.id, y.id):
                taken[y.id] = k
                del free[k]
                break
    return taken


def may_share(nests: list, x: int, y: int) -> bool:
    """Whether nests, those that touch one of the two, may write y where x lies."""
    begun = False
    for n in nests:
        writes = [a for b in n.bodies for a, _ in b.stores if a.buffer == y]
        scatters = [s for b in n.bodies for s in b.scatters if s[0].buffer == y]
        if any(a.buffer == y for a in accesses(n)) and not writes and not (begun and scatters):
            return False  # folded into, or read again
        begun = begun or bool(writes)
        if begun and isinstance(n, WHOLE) and any(a.buffer == x for a in n.operands):
            return False  # a kernel or loop reads all of an operand while it writes, or after it was written over
        reads = [a for b in n.bodies for a in b.loads if a.buffer == x]
        if begun and any(not writes or r._replace(buffer=y) != writes[0] for r in reads):
            return False
    return begun


def place_objects(parts: Partition, steps: list, taken: dict[int, int]) -> tuple[dict, list, list]:
    """Places of Python objects: inputs, constants, outputs, then results of callbacks."""
    function = parts.function
    objects = {x.id: k for k, x in enumerate(function.inputs)}
    constants: list[np.ndarray] = []
    read = {a.buffer for step in steps if isinstance(step, Segment) for n in step.nests for a in accesses(n)}
    for node in list_constants(parts):
        if node.id in read:  # in loops those of one element are numbers in the code
            objects[node.id] = len(objects)
            constants.append(np.ascontiguousarray(node.value))
    outputs: list[tuple] = []
    count = len(objects)
    for y in function.outputs:
        base = parts.alias.get(y.id, y)
        if isinstance(base, Var):
            outputs.append(("input", objects[base.id]))
        elif base.op is None:
            outputs.append(("constant", base.value))
        else:
            if base.id in taken:
                objects[base.id] = taken[base.id]
            elif base.id not in objects:
                objects[base.id] = count
                count += 1
            outputs.append(("donated" if base.id in taken else "object", objects[base.id]))
    for step in steps:
        if isinstance(step, Callback) and step.node.id not in objects:
            objects[step.node.id] = count
            count += 1
    return objects, constants, outputs


def list_constants(parts: Partition) -> list[Expr]:
    """The constants of a Function and of those that its loops and branches hold."""
    held = [p for step in parts.steps if isinstance(step, Control) for p in step.held]
    return [*parts.function.constants, *[c for p in held for c in list_constants(p)]]


def lay_out(parts: Partition, steps: list, sizes: dict[int, int]) -> tuple[dict[int, int], int]:
    """Offsets of buffers in the arena: each at the lowest place that is free from its first use to its last."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for t, used in enumerate(list_uses(parts, steps)):
        for b in used:
            if b in sizes:
                first.setdefault(b, t)
                last[b] = t
    small = {b: n for b, n in sizes.items() if n <= SMALL_BUFFER and b in first}
    offsets, arena = lay_out_small(small, first, last)
    live: list[tuple[int, int, int]] = []  # (begin, end, last use), by begin
    base, top = arena, arena
    for b in sorted(first.keys() - small.keys(), key=lambda b: (first[b], -sizes[b])):
        live = [x for x in live if x[2] >= first[b]]
        size, at = round_up(sizes[b]), base
        for begin, end, _ in live:
            if begin - at >= size:
                break
            at = max(at, end)
        offsets[b] = at
        live.append((at, at + size, last[b]))
        live.sort()
        top = max(top, at + size)
    return offsets, top


def lay_out_small(sizes: dict[int, int], first: dict[int, int], last: dict[int, int]) -> tuple[dict[int, int], int]:
    """Offsets of many small buffers, in linear time: each takes a place of its size that has fallen free, or a new one."""
    offsets: dict[int, int] = {}
    free: dict[int, list[int]] = {}
    ending: dict[int, list[int]] = {}
    arena, now = 0, 0
    for b in sorted(sizes, key=first.__getitem__):
        while now < first[b]:
            for old in ending.pop(now, ()):
                free.setdefault(round_up(sizes[old]), []).append(offsets[old])
            now += 1
        size = round_up(sizes[b])
        if places := free.get(size):
            offsets[b] = places.pop()
        else:
            offsets[b], arena = arena, arena + size
        ending.setdefault(last[b], []).append(b)
    return offsets, arena


def round_up(size: int) -> int:
    """Bytes in whole cache lines."""
    return -(-max(size, 1) // 64) * 64


def memory_of(parts: Partition, x: Expr) -> tuple[Expr, list[Expr]]:
    """The node in memory that x is a view of, and the views from there to x."""
    views: list[Expr] = []
    while x.op is not None and not isinstance(x, Var) and x.id not in parts.stored and x.id not in parts.alias:
        views.append(x)
        if not isinstance(x.args[0], Expr):
            break
        x = x.args[0]
    return x, views[::-1]


def list_uses(parts: Partition, steps: Sequence) -> list[set[int]]:
    """The buffers that each nest or callback touches."""
    found = []
    for step in steps:
        if isinstance(step, Callback):
            memories = [memory_of(parts, a)[0] for a in step.node.args if isinstance(a, Expr)]
            found.append({parts.alias.get(m.id, m).id for m in memories})
        else:
            for n in step.nests:
                found.append({a.buffer for a in accesses(n)})
    return found
