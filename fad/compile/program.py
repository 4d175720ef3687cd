"""Program: a Function compiled. One native call for each stretch between callbacks, one in all where there are none."""

from __future__ import annotations

import ctypes
import itertools
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from fad.compile.arena import OwnArena
from fad.compile.callback import call_numpy
from fad.compile.debug import Refused, check, show, shows
from fad.compile.fuse import partition
from fad.compile.invariants import check_code, check_partition, check_plan
from fad.compile.plan import Plan, plan
from fad.compile.runtime import (
    NO_FACTORS,
    OUT_OF_RANGE,
    PAUSED,
    PIECES,
    STEPS,
    context_of,
    guard_table,
    in_arrays,
    items_of,
    layout_is_known,
    resumer,
    runner,
)
from fad.compile.segment import Segment, launches
from fad.compile.simplify import simplify
from fad.compile.steps import Callback
from fad.compile.units import Unit, group_units, make_table, name_functions, write_modules, write_unit
from fad.core.expr import Var
from fad.core.function import Function
from fad.errors import OutOfRangeError, SingularError
from fad.native import disk, engine
from fad.native.launch import launcher

__all__ = ["Program", "build"]

ROUNDS = 16  # after so many failures all of a program is NumPy's
NODE, LEAST = 2048, 1 << 16  # bytes that a node takes in trees and plan, and any program, as measured
LONG = 10_000_000  # operations of a program that looks after signals

_arena = OwnArena()


@dataclass(frozen=True, eq=False)
class Program:
    """``program(leaves)``: the flat outputs for flat inputs of the shapes and dtypes of its Function."""

    function: Function
    simplified: Function
    plan: Plan
    functions: dict[str, Unit]  # the native ones, by name
    loaded: engine.Loaded | None  # owns their code
    tables: list[Any]  # of the segments, in order
    launch: int  # the address of the function that runs nests on all threads
    donated: frozenset[int]  # places of the inputs whose memory outputs take over
    pauses: bool  # whether it may stop between two pieces of work for Python's signal handlers
    fresh: list[Any]  # (shape, dtype) of the objects after inputs and constants; None: a callback makes it
    steps: list[Callable]
    nbytes: int  # that it keeps in memory, nearly: constants, code, and what it knows of its nodes

    @property
    def first(self) -> int:
        """The place of the first object after inputs and constants."""
        return len(self.function.inputs) + len(self.plan.constants)

    @property
    def origin(self) -> str:
        """Where its code came from."""
        return "loaded from disk" if self.loaded is not None and self.loaded.kept else "compiled"

    @property
    def called(self) -> list[str]:
        """What NumPy computes: primitives without native code, and those where the compiler failed."""
        counts = Counter([str(s).removeprefix("call ") for s in self.plan.steps if isinstance(s, Callback)])
        return [what + (f", {n} times" if n > 1 else "") for what, n in counts.items()]

    @property
    def text(self) -> str:
        """The functions as one module of LLVM IR."""
        return next(write_modules(self.functions, sys.maxsize), "")

    def assembly(self) -> str:
        """The machine code as text."""
        return engine.assembly(self.text)

    def __call__(self, leaves: list) -> list:
        """The outputs, as arrays of the caller's own."""
        leaves = [fit(x, v) for x, v in zip(leaves, self.function.inputs, strict=True)]
        for k in self.donated and {*find_shared(leaves, self.donated), *(k for k in self.donated if not leaves[k].flags.writeable)}:
            leaves[k] = leaves[k].copy()
        objects = [*leaves, *self.plan.constants, *[None if f is None else np.empty(*f) for f in self.fresh]]
        with _arena.taken(self.plan.arena) as arena:
            for step in self.steps:
                step(objects, arena)
        outputs: list = []
        given: set[int] = set()
        for (kind, where), out in zip(self.plan.outputs, self.function.outputs, strict=True):
            shape = out.shape
            y = objects[where] if kind != "constant" else where
            if kind not in ("object", "donated") or where in given:
                y = np.array(y)
            else:
                given.add(where)
            outputs.append(y if y.shape == shape and shape else y.reshape(shape) if shape else np.asarray(y).reshape(())[()])
        return outputs

    def quick(self, avals: list) -> Callable | None:
        """``call(arguments)`` for arguments of exactly these types, shapes and dtypes: one native call asks and does all.

        It gives the list of outputs, or the only one; None where the arguments are others. There is none for programs with
        callbacks, and for those whose outputs are not all of them fresh arrays."""
        outputs, first = self.plan.outputs, self.first
        places = [place for kind, place in outputs if kind in ("object", "donated")]
        if len(self.tables) != 1 or len(self.steps) != 1 or not layout_is_known() or len(set(places)) != len(outputs):
            return None
        shapes = {first + k: f for k, f in enumerate(self.fresh)} | {k: avals[k] for k in self.donated}
        if any(tuple(shapes[k][0]) != y.shape for k, y in zip(places, self.function.outputs, strict=True)):
            return None
        guard, table = guard_table(avals, self.donated), in_arrays(self.tables[0], avals)
        context = context_of(self.launch, guard, table, self.pauses)
        keep = (self, guard, table, context)
        if self.pauses:
            return call_with_pauses(self, len(avals), places, context, keep)
        if places == [first]:
            return call_for_one(self, len(avals), shapes[first], context, keep)
        return call_for_many(self, len(avals), places, context, keep)


# -- the short way -------------------------------------------------------------------------------------------------------


def call_for_one(program: Program, count: int, aval: tuple, context: Any, keep: Any) -> Callable:
    """The quick call of a program with one output, which is fresh."""
    (shape, dtype), size, constants = aval, program.plan.arena, program.plan.constants
    run, at, empty, arena, is_scalar = runner(), ctypes.addressof(context), np.empty, _arena, not shape

    def call(arguments: Any, keep: Any = keep) -> Any:
        if len(arguments) != count:
            return None
        y = empty(shape, dtype)
        objects = [*arguments, *constants, y]
        if code := run(id(objects), arena.reserve(size) if size else 0, at):
            return answer_for(code)
        return y[()] if is_scalar else y

    return call


def call_for_many(program: Program, count: int, places: list, context: Any, keep: Any) -> Callable:
    """The quick call of a program with several outputs, or one in donated memory."""
    fresh, size, constants = program.fresh, program.plan.arena, program.plan.constants
    run, at, empty, arena, several = runner(), ctypes.addressof(context), np.empty, _arena, len(places) != 1

    def call(arguments: Any, keep: Any = keep) -> Any:
        if len(arguments) != count:
            return None
        objects = [*arguments, *constants, *[empty(s, d) for s, d in fresh]]
        if code := run(id(objects), arena.reserve(size) if size else 0, at):
            return answer_for(code)
        found = [objects[k] for k in places]
        return [y if y.ndim else y[()] for y in found] if several else found[0]

    return call


def call_with_pauses(program: Program, count: int, places: list, context: Any, keep: Any) -> Callable:
    """The quick call of a program that Python interrupts."""
    fresh, size, constants = program.fresh, program.plan.arena, program.plan.constants
    run, resume, at, empty, arena = runner(), resumer(), ctypes.addressof(context), np.empty, _arena
    several = len(places) != 1

    def call(arguments: Any, keep: Any = keep) -> Any:
        if len(arguments) != count:
            return None
        objects = [*arguments, *constants, *[empty(s, d) for s, d in fresh]]
        own = arena.take(size)  # when it pauses, a signal handler may run another program
        code = call_native(run, id(objects), own.address, at)
        while code & PAUSED:
            code = call_native(resume, id(objects), own.address, at, code)
        arena.arena = own
        if code:
            return answer_for(code)
        found = [objects[k] for k in places]
        return [y if y.ndim else y[()] for y in found] if several else found[0] if found[0].ndim else found[0][()]

    return call


def call_native(function: Any, *args: Any) -> int:
    """What a native function answers. An exception of a signal handler that it let run is one of this call."""
    try:
        return function(*args)
    except SystemError as error:
        raise (error.__cause__ or error) from None


# -- building ------------------------------------------------------------------------------------------------------------


def build(function: Function, donated: frozenset = frozenset()) -> Program:
    """A Function compiled; outputs may take over the memory of the inputs at the places ``donated``. What the compiler fails at is
    left to NumPy, and it tries again."""
    check(function, "trace")
    simplified = check(simplify(function), "simplify")
    show(3, "tree", simplified)
    called: dict[int, str] = {}
    for k in itertools.count():
        try:
            return build_with(function, simplified, donated, called)
        except Exception as error:
            called = leave_to_numpy(simplified, called, error, everything=k >= ROUNDS - 2)
    raise AssertionError("when all is left to NumPy, an error is raised")


def build_with(function: Function, simplified: Function, donated: frozenset, called: dict[int, str]) -> Program:
    """The program in which the nodes ``called`` are left to NumPy."""
    parts = partition(simplified, called)
    if any(isinstance(s, Callback) for s in parts.steps):
        donated = frozenset()  # an interrupt between steps would leave memory of the caller's half written
    made = plan(parts, engine.machine().vector_bytes, donated)
    if engine.is_checking():
        check_partition(parts)
        check_plan(made)
    show(2, "loops", made)
    segments = [s for s in made.steps if isinstance(s, Segment)]
    groups = group_units(segments)
    functions = name_functions(groups)
    if engine.is_checking():
        check_code(itertools.chain(*groups), write_unit)
    if shows(4):
        show(4, "LLVM IR", next(write_modules(functions, sys.maxsize), ""))
    nests = [n for s in segments for n in s.nests]
    launch = launcher() if any(map(launches, nests)) else 0
    loaded = load(functions) if functions else None
    addresses = {u.key: loaded.address(name) for name, u in functions.items()} if loaded else {}
    scalars = {x.id for x in function.inputs if not x.shape}
    tables = [make_table(g, made, addresses, scalars) for g in groups]
    taken = frozenset(k for kind, k in made.outputs if kind == "donated")
    pauses = not taken and takes_long(nests)  # what is donated is written whole
    left = iter(tables)
    steps = [call_numpy(s.node, made) if isinstance(s, Callback) else run_native(next(left), launch, pauses) for s in made.steps]
    fresh, size = fresh_objects(simplified, made), count_bytes(function, simplified, made, loaded)
    return Program(function, simplified, made, functions, loaded, tables, launch, taken, pauses, fresh, steps, size)


def load(functions: dict[str, Unit]) -> engine.Loaded:
    """The code of the functions, found on disk or compiled."""
    key = f"{disk.sources()} {[u.key for u in functions.values()]}"
    return engine.load_parts(key, functions, partial(write_modules, functions))


def run_native(table: Any, launch: int, pauses: bool) -> Callable:
    """A step that runs a segment."""
    context = context_of(launch, None, table, pauses)
    run, resume, at = runner(), resumer(), ctypes.addressof(context)

    def step(objects: list, arena: Any, keep: Any = (table, context)) -> None:
        items, _kept = items_of(objects)
        code = call_native(run, items, arena.address, at)
        while code & PAUSED:
            code = call_native(resume, items, arena.address, at, code)
        if code:
            answer_for(code)

    return step


def fresh_objects(simplified: Function, made: Plan) -> list[Any]:
    """(shape, dtype) of the objects that come after inputs and constants; None for the results of callbacks."""
    results = {made.objects[s.node.id] for s in made.steps if isinstance(s, Callback)}
    by_place = {made.objects[n.id]: n for n in simplified.nodes if n.id in made.objects}
    first, count = len(simplified.inputs) + len(made.constants), max(made.objects.values(), default=-1) + 1
    return [None if k in results else (by_place[k].shape, by_place[k].dtype) for k in range(first, count)]


def count_bytes(function: Function, simplified: Function, made: Plan, loaded: engine.Loaded | None) -> int:
    """Bytes that a program keeps in memory, nearly."""
    own = [a for n in simplified.nodes for a in n.args]
    arrays = {id(c): c.nbytes for c in [*function.schedule[0], *own, *made.constants] if isinstance(c, np.ndarray)}
    return LEAST + NODE * len(function.nodes) + (loaded.size if loaded else 0) + sum(arrays.values())


def leave_to_numpy(function: Function, called: dict[int, str], error: Exception, everything: bool) -> dict[int, str]:
    """The nodes left to NumPy after an error of the compiler: also those it came from, or, where that is not known or there was
    error upon error, all of them. FAD_CHECK excuses none."""
    nodes = {n.id for n in function.nodes}
    if engine.is_checking() or called.keys() >= nodes:
        raise error
    refused = nodes & error.nodes - called.keys() if isinstance(error, Refused) and not everything else set()
    why = f"fad's compiler failed: {error if isinstance(error, Refused) else f'{type(error).__name__}: {error}'}"
    show(1, f"{function.name}: {len(refused or nodes)} of {len(nodes)} operations are left to NumPy", why)
    return dict.fromkeys(refused or nodes, why) | called


def takes_long(nests: list) -> bool:
    """Whether nests may take more than an instant, and a place in them can be told."""
    return sum([n.work for n in nests]) > LONG and len(nests) < STEPS and all(n.pieces < PIECES for n in nests)


# -- calling ---------------------------------------------------------------------------------------------------------------


def fit(x: Any, var: Var) -> Any:
    """An input as native code reads it."""
    if not var.shape:
        return x if type(x) is float else np.asarray(x, var.dtype)[()]
    if x.flags.c_contiguous and x.flags.aligned and x.dtype.isnative:
        return x
    return np.ascontiguousarray(x, var.dtype)


def find_shared(leaves: list, places: frozenset[int]) -> set[int]:
    """The places whose arrays share memory with another argument."""
    spans = sorted([(x.ctypes.data, x.ctypes.data + x.nbytes, k) for k, x in enumerate(leaves) if isinstance(x, np.ndarray)])
    found, end, last = set(), 0, -1
    for begin, stop, k in spans:
        if begin < min(end, stop):
            found |= {k, last}
        if stop > end:
            end, last = stop, k
    return found & places


def no_factors() -> SingularError:
    """The error of a native factorisation."""
    return SingularError(
        "jit: a matrix has no factors",
        rule="it is not singular where it is inverted, positive definite for cholesky, and finite",
        fix="add a small multiple of the identity to it; the function without jit names the operation",
    )


def out_of_range() -> OutOfRangeError:
    """The error of a native gather or scatter."""
    return OutOfRangeError(
        "jit: an index is out of range",
        rule="indices lie in [-n, n) for an axis of length n",
        fix="check the index arrays; the function without jit names the axis",
    )


def answer_for(code: int) -> Any:
    """What it means that `run` does not answer 0: None for other arguments; an index out of range raises."""
    if code == OUT_OF_RANGE:
        raise out_of_range()
    if code == NO_FACTORS:
        raise no_factors()
    return None
