"""Units: which nests make a native function together, the modules of these functions, and the tables that run them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fad.compile.control import FLAG, LAUNCH, POLL, Choice, Repeat
from fad.compile.debug import Refused, attempted
from fad.compile.emit import shape_of_code, write_function
from fad.compile.emit_control import shape_of_control, write_control
from fad.compile.kernel import KernelRun
from fad.compile.loops import Loops
from fad.compile.plan import Plan
from fad.compile.rows import Rows
from fad.compile.runtime import IN_ARENA, IN_ARRAY, IN_FLAG, IN_LAUNCH, IN_POLL, IN_SCALAR, program_table
from fad.compile.segment import Segment, grain, is_parallel, writes
from fad.native import engine
from fad.native.module import Module

__all__ = ["Unit", "group_units", "make_table", "name_functions", "write_modules", "write_unit"]

PART = 100_000  # characters of IR from which modules are compiled side by side
GROUP = 250  # instructions of nests that share a native function


@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """Nests that one native function runs."""

    nests: tuple[Loops | KernelRun | Rows, ...]
    buffers: tuple[int, ...]  # in the order in which the function takes them
    key: tuple  # what decides the function's code: for each nest its own code, and its buffers among those of the unit


def make_unit(nests: Sequence, codes: Sequence) -> Unit:
    """A unit of nests, of which `shape_of_code` gave the codes."""
    place: dict[int, int] = {}
    key = tuple([(code, tuple([place.setdefault(b, len(place)) for b in own])) for code, own in codes])
    return Unit(tuple(nests), tuple(place), key)


def code_of(n: Any) -> tuple[tuple, list[int]]:
    """What decides the code of a nest, loop or branch, and its buffers in order."""
    return shape_of_control(n) if isinstance(n, Repeat | Choice) else shape_of_code(n)


def write_into(module: Module, name: str, unit: Unit) -> None:
    """The function of a unit."""
    if isinstance(unit.nests[0], Repeat | Choice):
        write_control(module, name, unit.nests[0])
    else:
        write_function(module, name, unit.nests, unit.buffers)


def group_units(segments: list[Segment]) -> list[list[Unit]]:
    """For every segment its units. Nests that occur once go together, as a function costs LLVM more than a loop; those that
    occur again and again, as in an unrolled loop, are compiled once."""
    coded = [[(n, code_of(n)) for n in segment.nests] for segment in segments]
    counts = Counter([code for group in coded for _, (code, _) in group])
    found = []
    for group in coded:
        joined: list[list] = []
        size, is_open = 0, False  # of the last unit: its instructions, whether it takes more nests
        for n, code in group:
            alone = counts[code[0]] > 1 or is_parallel(n) or not isinstance(n, Loops)
            own = len(n.body.instructions) if isinstance(n, Loops) else 0
            if alone or not is_open or size + own > GROUP:
                joined.append([])
                size = 0
            joined[-1].append((n, code))
            size, is_open = size + own, not alone
        found.append([make_unit(*zip(*pairs, strict=True)) for pairs in joined])
    return found


def name_functions(groups: list[list[Unit]]) -> dict[str, Unit]:
    """Names of functions, and of the units that share each the first."""
    first: dict[tuple, Unit] = {}
    for group in groups:
        for u in group:
            first.setdefault(u.key, u)
    return {f"nest{k}": u for k, u in enumerate(first.values())}


def write_modules(functions: dict[str, Unit], size: int = PART) -> Iterator[str]:
    """The functions as modules of at least so many characters."""
    module = Module(engine.machine().has_fma)
    for name, unit in functions.items():
        try:
            write_into(module, name, unit)
        except Exception as error:
            apart = [make_unit([n], [code_of(n)]) for n in unit.nests]
            failed = [u for u in apart if attempted(write_unit, u) is None]
            raise Refused(error, {a.buffer for u in failed for a in writes(u.nests[0])}) from error
        if module.length >= size:
            yield str(module)
            module = Module(engine.machine().has_fma)
    if module.functions:
        yield str(module)


def write_unit(unit: Unit) -> str:
    """The IR of a unit by itself."""
    module = Module(engine.machine().has_fma)
    write_into(module, "f", unit)
    return str(module)


def make_table(group: list[Unit], plan: Plan, addresses: dict[Any, int], scalars: set[int]) -> Any:
    """The table of a segment: its buffers, and its units in order."""
    places: dict[int, int] = {}
    steps = []
    for u in group:
        refs = [places.setdefault(b, len(places)) for b in u.buffers]
        n = u.nests[0]
        steps.append((addresses[u.key], n.pieces, grain(n), refs))
    kinds = []
    for b in places:
        if b == FLAG:
            kinds.append((IN_FLAG, 0))
        elif b == LAUNCH:
            kinds.append((IN_LAUNCH, 0))
        elif b == POLL:
            kinds.append((IN_POLL, 0))
        elif b in plan.objects:
            kinds.append((IN_SCALAR if b in scalars else IN_ARRAY, plan.objects[b]))
        else:
            kinds.append((IN_ARENA, plan.offsets[b]))
    return program_table(kinds, steps)
