"""Segment: the loop nests, rows and kernels that run in one native call, and what is asked of each of these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fad.compile.body import Access
from fad.compile.control import Choice, Repeat
from fad.compile.kernel import KernelRun
from fad.compile.loops import Loops
from fad.compile.rows import Rows
from fad.native.machine_model import PIECE_WORK, WAKE_TILE_WORK, WAKE_WORK
from fad.native.tile import Tile

__all__ = ["WHOLE", "Segment", "accesses", "describe", "grain", "is_parallel", "launches", "loads", "writes"]

WHOLE = (KernelRun, Repeat, Choice)  # that read or write whole buffers


@dataclass(frozen=True, slots=True)
class Segment:
    """Nests that run in one native call."""

    nests: tuple[Loops | KernelRun | Rows | Repeat | Choice, ...]


def loads(n: Any) -> list[Access]:
    """What a nest or kernel reads."""
    return (n.operands if isinstance(n, WHOLE) else []) + [a for b in n.bodies for a in b.loads]


def writes(n: Any) -> list[Access]:
    """What the bodies of a nest or kernel write."""
    return [a for b in n.bodies for a in b.writes]


def accesses(n: Any) -> list[Access]:
    """Every memory access of a nest or kernel."""
    return (n.operands if isinstance(n, WHOLE) else []) + [a for b in n.bodies for a in b.accesses]


def describe(n: Any) -> str:
    """One line about a nest: r marks reduced axes, v the one in vectors, j one whose iterations are taken side by side. Of a loop
    or branch also what is in it."""
    if isinstance(n, Repeat | Choice):
        return describe_control(n)
    if isinstance(n, KernelRun):
        after = [i.name for i in n.body.instructions if i.name not in ("result", "load", "number")] if n.body else []
        tile = f" by {t.rows} x {t.vectors} vectors" if (t := tile_of(n)) else ""
        text = f"kernel {n.name}: {type(n.phase.spec).__name__.lower()}{tile}, {n.pieces} pieces"
        return text + (f", then {', '.join(after)}" if after else "")
    if isinstance(n, Rows):
        shared = f", {n.pieces} pieces over threads" if is_parallel(n) else ""
        blocks = f" in blocks of {n.block}" if n.sums else ""
        return f"rows {list(n.extents)}{blocks}{shared}: " + "; then ".join(map(describe, (*n.nests, *n.sums)))
    marks = [("r" if r else "") + ("v" if k == n.vector else "") + ("j" if k == n.jam else "") for k, r in enumerate(n.reduced)]
    axes = " x ".join(f"{e}{m}" for e, m in zip(n.extents, marks, strict=True)) + (f" in strips of {n.strip}" if n.strip else "")
    names = [i.name for i in n.body.instructions]
    loads = names.count("load") + names.count("gather")
    parts = [
        (loads, "load"),
        (len(names) - loads - names.count("number"), "operation"),
        (len(n.body.stores), "store"),
        (len(n.body.folds), "fold"),
        (len(n.body.scatters), "scatter"),
    ]
    shared = f", {n.pieces} pieces over threads" if is_parallel(n) else ""
    return f"loops [{axes}] by {n.lanes}{shared}: " + ", ".join(f"{k} {what}{'s' * (k != 1)}" for k, what in parts if k)


def describe_control(n: Repeat | Choice) -> str:
    """A loop or branch, and below it what it runs."""
    if isinstance(n, Repeat):
        often = (
            "while" if n.length is None else f"at most {n.length} times" if n.test or n.count is not None else f"{n.length} times"
        )
        head = f"repeat {often}" + (", over threads" if n.shared else "")
        parts = [(f"{head}, {len(n.carries)} carries", n.scope)] + ([("as long as", n.test)] if n.test else [])
    else:
        parts = [(f"branch {k}", scope) for k, scope in enumerate(n.scopes)]
    lines = []
    for title, scope in parts:
        inner = "\n".join(map(describe, scope.steps))
        lines.append(f"{title}:" + ("\n" + inner).replace("\n", "\n  "))
    return "\n".join(lines)


def launches(n: Any) -> bool:
    """Whether threads run a nest, or a part of it."""
    return is_parallel(n) or (isinstance(n, Repeat | Choice) and n.outside.launches)


def is_parallel(n: Any) -> bool:
    """Whether a nest is worth several threads."""
    if isinstance(n, Repeat | Choice):
        return isinstance(n, Repeat) and n.shared
    if not isinstance(n, Loops):
        return n.pieces > 1 and n.work > (WAKE_TILE_WORK if tile_of(n) else WAKE_WORK)
    return (n.outer > 0 or n.strip > 0) and n.pieces > 1 and n.work > WAKE_WORK


def tile_of(n: Any) -> Tile | None:
    """The register tile of a kernel, which does many operations at a time; None for what has none."""
    tile = getattr(n.phase.spec, "tile", None) if isinstance(n, KernelRun) else None
    return tile if isinstance(tile, Tile) else None


def grain(n: Any) -> int:
    """Iterations of the outer loops in one piece of work; there are eight pieces or more, for any of the threads to be late. With a
    minus sign those that one thread takes before it looks at the clock; 0 for what is done at once."""
    if isinstance(n, Repeat) and not n.shared:
        return -n.budget
    if not is_parallel(n):
        return 0
    if isinstance(n, KernelRun):
        from fad.compile.kernels.recipe import grain

        return grain(n.phase.spec)
    return max(1, min(int(n.pieces * PIECE_WORK / n.work), -(-n.pieces // 8)))
