"""Program: a Function compiled. One native call for each stretch between callbacks, one in all where there are none."""

from __future__ import annotations

import ctypes
import itertools
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from fad.compile.debug import Refused, attempted, check, show, shows
from fad.compile.emit import FLAG, shape_of_code, write_function
from fad.compile.fuse import Callback, partition
from fad.compile.invariants import check_code, check_partition, check_plan
from fad.compile.kernel import KernelRun
from fad.compile.loops import Loops
from fad.compile.plan import Plan, plan
from fad.compile.rows import Rows
from fad.compile.runtime import (
    IN_ARENA,
    IN_ARRAY,
    IN_FLAG,
    IN_SCALAR,
    OUT_OF_RANGE,
    PAUSED,
    PIECES,
    STEPS,
    context_of,
    guard_table,
    in_arrays,
    items_of,
    layout_is_known,
    program_table,
    resumer,
    runner,
)
from fad.compile.segment import Segment, grain, is_parallel, writes
from fad.compile.simplify import simplify
from fad.compile.storage import memory_of
from fad.core.expr import Const, Expr, Var, explained
from fad.core.function import Function
from fad.errors import FadError, OutOfRangeError
from fad.native import disk, engine
from fad.native.ir import Module
from fad.native.launch import launcher

__all__ = ["Program"]

PART = 100_000  # characters of IR from which modules are compiled side by side
ROUNDS = 16  # after so many failures all of a program is NumPy's
NODE, LEAST = 2048, 1 << 16  # bytes that a node takes in trees and plan, and any program, as measured
LONG = 10_000_000  # operations of a program that looks after signals
GROUP = 250  # instructions of nests that share a native function


class Program:
    """``program(leaves)``: the flat outputs for flat inputs of the shapes and dtypes of its Function."""

    def __init__(self, function: Function, donated: frozenset = frozenset()):
        self.function = check(function, "trace")
        self.simplified = check(simplify(function), "simplify")
        show(3, "tree", self.simplified)
        called: dict[int, str] = {}
        for k in range(ROUNDS):
            try:
                return self._build(donated, called)
            except Exception as error:
                called = yielded(self.simplified, called, error, everything=k == ROUNDS - 2)

    def _build(self, donated: frozenset, called: dict[int, str]) -> None:
        """Plan and compile; the nodes ``called`` are left to NumPy."""
        function, parts = self.function, partition(self.simplified, called)
        if any(isinstance(s, Callback) for s in parts.steps):
            donated = frozenset()  # an interrupt between steps would leave memory of the caller's half written
        self.plan: Plan = plan(parts, engine.machine().vector_bytes, donated)
        if engine.is_checking():
            check_partition(parts)
            check_plan(self.plan)
        show(2, "loops", self.plan)
        segments = [s for s in self.plan.steps if isinstance(s, Segment)]
        groups = units(segments)
        self.functions = functions_of(groups)
        if engine.is_checking():
            check_code(itertools.chain(*groups), code_of)
        if shows(4):
            show(4, "LLVM IR", self.text)
        threads = any(is_parallel(n) for s in segments for n in s.nests)
        self.launch = launcher() if threads else 0
        key = f"{disk.sources()} {[u.key for u in self.functions.values()]}"
        self.loaded = engine.load_parts(key, self.functions, self.parts) if self.functions else None  # owns the code
        self.origin = "loaded from disk" if self.loaded is not None and self.loaded.kept else "compiled"
        addresses = {u.key: self.loaded.address(name) for name, u in self.functions.items()} if self.loaded else {}
        scalars = {x.id for x in function.inputs if not x.shape}
        self.donated = {k for kind, k in self.plan.outputs if kind == "donated"}
        self.pauses = not self.donated and takes_long([n for s in segments for n in s.nests])  # what is donated is written whole
        self.tables = [table_of(g, self.plan, addresses, scalars) for g in groups]
        tables = iter(self.tables)
        self.steps = [
            called_back(s.node, self.plan) if isinstance(s, Callback) else self.native(next(tables)) for s in self.plan.steps
        ]
        results = {self.plan.objects[s.node.id] for s in self.plan.steps if isinstance(s, Callback)}
        by_place = {self.plan.objects[n.id]: n for n in self.simplified.nodes if n.id in self.plan.objects}
        self.first = len(function.inputs) + len(self.plan.constants)
        count = max(self.plan.objects.values(), default=-1) + 1
        self.fresh = [None if k in results else (by_place[k].shape, by_place[k].dtype) for k in range(self.first, count)]
        self.shapes = [y.shape for y in function.outputs]
        self.nbytes = self._size()

    def _size(self) -> int:
        """Bytes that it keeps in memory, nearly: constants, code, and what it knows of its nodes."""
        own = [a for n in self.simplified.nodes for a in n.args]
        arrays = {id(c): c.nbytes for c in [*self.function.plan[0], *own, *self.plan.constants] if isinstance(c, np.ndarray)}
        code = self.loaded.size if self.loaded else 0
        return LEAST + NODE * len(self.function.nodes) + code + sum(arrays.values())

    def parts(self, size: int = PART) -> Iterator[str]:
        """The functions as modules of at least so many characters."""
        module = Module(engine.machine().has_fma)
        for name, unit in self.functions.items():
            try:
                write_function(module, name, unit.nests, unit.buffers)
            except Exception as error:
                failed = [u for u in apart(unit) if attempted(code_of, u) is None]
                raise Refused(error, {a.buffer for u in failed for a in writes(u.nests[0])}) from error
            if module.length >= size:
                yield str(module)
                module = Module(engine.machine().has_fma)
        if module.functions:
            yield str(module)

    @property
    def called(self) -> list[str]:
        """What NumPy computes: primitives without native code, and those where the compiler failed."""
        counts = Counter([str(s).removeprefix("call ") for s in self.plan.steps if isinstance(s, Callback)])
        return [what + (f", {n} times" if n > 1 else "") for what, n in counts.items()]

    @property
    def text(self) -> str:
        """The functions as one module of LLVM IR."""
        return next(self.parts(sys.maxsize), "")

    def native(self, table: Any) -> Callable:
        """A step that runs a segment."""
        context = context_of(self.launch, None, table, self.pauses)
        run, resume, at = runner(), resumer(), ctypes.addressof(context)

        def step(objects: list, arena: Any, keep: Any = context) -> None:
            items, _kept = items_of(objects)
            code = run(items, arena.address, at)
            while code & PAUSED:
                code = resume(items, arena.address, at, code)
            if code:
                raise out_of_range()

        return step

    def __call__(self, leaves: list) -> list:
        """The outputs, as arrays of the caller's own."""
        leaves = [fitted(x, v) for x, v in zip(leaves, self.function.inputs, strict=True)]
        for k in self.donated and {*shared(leaves, self.donated), *(k for k in self.donated if not leaves[k].flags.writeable)}:
            leaves[k] = leaves[k].copy()
        objects = [*leaves, *self.plan.constants, *[None if f is None else np.empty(*f) for f in self.fresh]]
        with _arena.taken(self.plan.arena) as arena:
            for step in self.steps:
                step(objects, arena)
        outputs: list = []
        given: set[int] = set()
        for (kind, where), shape in zip(self.plan.outputs, self.shapes, strict=True):
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
        if any(tuple(shapes[k][0]) != s for k, s in zip(places, self.shapes, strict=True)):
            return None
        guard, table = guard_table(avals, self.donated), in_arrays(self.tables[0], avals)
        context = context_of(self.launch, guard, table, self.pauses)
        at, run, count, size, constants = ctypes.addressof(context), runner(), len(avals), self.plan.arena, self.plan.constants
        fresh, empty, arena, resume = self.fresh, np.empty, _arena, resumer()

        def one(arguments: Any, keep: Any = (self, guard, table, context)) -> Any:
            if len(arguments) != count:
                return None
            y = empty(shape, dtype)
            objects = [*arguments, *constants, y]
            if code := run(id(objects), arena.reserve(size) if size else 0, at):
                return refused(code)
            return y[()] if is_scalar else y

        def many(arguments: Any, keep: Any = (self, guard, table, context)) -> Any:
            if len(arguments) != count:
                return None
            objects = [*arguments, *constants, *[empty(s, d) for s, d in fresh]]
            if code := run(id(objects), arena.reserve(size) if size else 0, at):
                return refused(code)
            found = [objects[k] for k in places]
            return [y if y.ndim else y[()] for y in found] if several else found[0]

        several = len(places) != 1

        def long(arguments: Any, keep: Any = (self, guard, table, context)) -> Any:
            if len(arguments) != count:
                return None
            objects = [*arguments, *constants, *[empty(s, d) for s, d in fresh]]
            own = arena.take(size)  # when it pauses, a signal handler may run another program
            code = run(id(objects), own.address, at)
            while code & PAUSED:
                code = resume(id(objects), own.address, at, code)
            arena.arena = own
            if code:
                return refused(code)
            found = [objects[k] for k in places]
            return [y if y.ndim else y[()] for y in found] if several else found[0] if found[0].ndim else found[0][()]

        if self.pauses:
            return long
        if places == [first]:
            shape, dtype = shapes[first]
            is_scalar = not shape
            return one
        return many

    def assembly(self) -> str:
        """The machine code as text."""
        return engine.assembly(self.text)


def yielded(function: Function, called: dict[int, str], error: Exception, everything: bool) -> dict[int, str]:
    """The nodes left to NumPy after an error of the compiler: also those it came from, or, where that is not known or there was
    error upon error, all of them. FAD_CHECK excuses none."""
    nodes = {n.id for n in function.nodes}
    if engine.is_checking() or called.keys() >= nodes:
        raise error
    refused = nodes & error.nodes - called.keys() if isinstance(error, Refused) and not everything else set()
    why = f"fad's compiler failed: {error if isinstance(error, Refused) else f'{type(error).__name__}: {error}'}"
    show(1, f"{function.name}: {len(refused or nodes)} of {len(nodes)} operations are left to NumPy", why)
    return dict.fromkeys(refused or nodes, why) | called


def apart(unit: Unit) -> list[Unit]:
    """The nests of a unit as one each."""
    return [Unit([n], [code]) for n, code in zip(unit.nests, unit.codes, strict=True)]


def code_of(unit: Unit) -> str:
    """The IR of a unit by itself."""
    module = Module(engine.machine().has_fma)
    write_function(module, "f", unit.nests, unit.buffers)
    return str(module)


def takes_long(nests: list) -> bool:
    """Whether nests may take more than an instant, and a place in them can be told."""
    return sum([n.work for n in nests]) > LONG and len(nests) < STEPS and all(n.pieces < PIECES for n in nests)


def fitted(x: Any, var: Var) -> Any:
    """An input as native code reads it."""
    if not var.shape:
        return x if type(x) is float else np.asarray(x, var.dtype)[()]
    if x.flags.c_contiguous and x.flags.aligned and x.dtype.isnative:
        return x
    return np.ascontiguousarray(x, var.dtype)


def shared(leaves: list, places: set[int]) -> set[int]:
    """The places whose arrays share memory with another argument."""
    spans = sorted([(x.ctypes.data, x.ctypes.data + x.nbytes, k) for k, x in enumerate(leaves) if isinstance(x, np.ndarray)])
    found, end, last = set(), 0, -1
    for begin, stop, k in spans:
        if begin < min(end, stop):
            found |= {k, last}
        if stop > end:
            end, last = stop, k
    return found & places


class Arena:
    """Memory for intermediate results, at least so many bytes, aligned to a cache line."""

    def __init__(self, size: int):
        memory = np.empty(size + 64, np.uint8)
        start = -memory.ctypes.data % 64
        self.memory = memory[start : start + size]
        self.address = self.memory.ctypes.data


NOTHING = Arena(0)


class _OwnArena(threading.local):
    """A thread's arena. It stays with the thread, as fresh memory costs more than most programs."""

    def __init__(self) -> None:
        self.arena = NOTHING

    def reserve(self, size: int) -> int:
        """The address of at least so many bytes."""
        if self.arena.memory.nbytes < size:
            self.arena = Arena(size)
        return self.arena.address

    def take(self, size: int) -> Arena:
        """The arena, away from the thread."""
        self.reserve(size)
        arena, self.arena = self.arena, NOTHING
        return arena

    @contextmanager
    def taken(self, size: int) -> Iterator[Arena]:
        """The arena, away from the thread: a callback may call another program, which then finds an arena of its own."""
        arena = self.take(size)
        try:
            yield arena
        finally:
            self.arena = arena


_arena = _OwnArena()


def out_of_range() -> OutOfRangeError:
    """The error of a native gather or scatter."""
    return OutOfRangeError(
        "jit: an index is out of range",
        rule="indices lie in [-n, n) for an axis of length n",
        fix="check the index arrays; the function without jit names the axis",
    )


def refused(code: int) -> Any:
    """What it means that `run` does not answer 0: None for other arguments; an index out of range raises."""
    if code == OUT_OF_RANGE:
        raise out_of_range()
    return None


def called_back(node: Expr, plan: Plan) -> Any:
    """A step that evaluates a primitive with NumPy."""
    op, params, place = node.op, node.params, plan.objects[node.id]
    fetch = [argument(a, plan) for a in node.args]

    def run(objects: list, arena: Any) -> None:
        args = [f(objects, arena) for f in fetch]
        try:
            with np.errstate(all="ignore"):
                y = np.ascontiguousarray(op.evaluate(*args, **params), node.dtype)
        except (TypeError, ValueError, IndexError) as error:
            raise error if isinstance(error, FadError) else explained(error, f"{op.name}: {error}", args) from None
        if any(isinstance(a, np.ndarray) and np.may_share_memory(a, y) for a in args):  # a view of what is not its own
            y = y.copy()
        objects[place] = y.reshape(node.shape)

    return run


def argument(x: Any, plan: Plan) -> Any:
    """How a callback finds an argument: in memory, through views."""
    if not isinstance(x, Expr):
        return lambda objects, arena: x
    memory, views = memory_of(plan.parts, x)
    base = plan.parts.alias.get(memory.id, memory)
    shape, dtype = memory.shape, memory.dtype
    if isinstance(memory, Var) and memory.weak is not None:
        number, place = memory.weak, plan.objects[base.id]
        first = lambda objects, arena: number(objects[place])
    elif isinstance(base, Const):
        value = base.value.reshape(shape)
        first = lambda objects, arena: value
    elif base.id in plan.objects:
        place = plan.objects[base.id]
        first = lambda objects, arena: np.asarray(objects[place], dtype).reshape(shape)
    else:
        offset = plan.offsets[base.id]
        first = lambda objects, arena: np.ndarray(shape, dtype, arena.memory, offset)
    if not views:
        return first
    steps = [(v.op.evaluate, v.params) for v in views]

    def fetch(objects: list, arena: Any) -> Any:
        y = first(objects, arena)
        for evaluate, params in steps:
            y = evaluate(y, **params)
        return y

    return fetch


# -- the module ----------------------------------------------------------------------------------------------------------


@dataclass
class Unit:
    """Nests that one native function runs. Each comes with what decides its code, and its buffers as that counts them."""

    nests: list[Loops | KernelRun | Rows]
    codes: list[tuple[tuple, list[int]]]
    known: tuple = ()  # the key, once it was asked for

    @property
    def buffers(self) -> list[int]:
        """All buffers, in the order in which the function takes them."""
        return list(dict.fromkeys([b for _, own in self.codes for b in own]))

    @property
    def key(self) -> tuple:
        """What decides the function's code; units of one key share it."""
        if not self.known:  # not a cached property, whose lock a fork may find taken
            place = {b: k for k, b in enumerate(self.buffers)}
            self.known = tuple([(code, tuple([place[b] for b in own])) for code, own in self.codes])
        return self.known

    @property
    def size(self) -> int:
        return sum([len(n.body.instructions) for n in self.nests if isinstance(n, Loops)])


def units(segments: list[Segment]) -> list[list[Unit]]:
    """For every segment its units. Nests that occur once go together, as a function costs LLVM more than a loop; those that
    occur again and again, as in an unrolled loop, are compiled once."""
    single: list[list[Unit]] = []
    for segment in segments:
        single.append([Unit([n], [shape_of_code(n)]) for n in segment.nests])
    counts = Counter([u.codes[0][0] for group in single for u in group])
    found: list[list[Unit]] = []
    for group in single:
        joined: list[Unit] = []
        open_ = False  # whether the last unit takes more nests
        for u in group:
            alone = counts[u.codes[0][0]] > 1 or is_parallel(u.nests[0]) or not isinstance(u.nests[0], Loops)
            if alone or not open_ or joined[-1].size + u.size > GROUP:
                joined.append(u)
            else:
                joined[-1] = Unit([*joined[-1].nests, *u.nests], [*joined[-1].codes, *u.codes])
            open_ = not alone
        found.append(joined)
    return found


def functions_of(groups: list[list[Unit]]) -> dict[str, Unit]:
    """Names of functions, and of the units that share each the first."""
    first: dict[tuple, Unit] = {}
    for group in groups:
        for u in group:
            first.setdefault(u.key, u)
    return {f"nest{k}": u for k, u in enumerate(first.values())}


def table_of(group: list[Unit], plan: Plan, addresses: dict[Any, int], scalars: set[int]) -> Any:
    """The table of a segment: its buffers, and its units in order."""
    places: dict[int, int] = {}
    steps = []
    for u in group:
        refs = [places.setdefault(b, len(places)) for b in u.buffers]
        n = u.nests[0]
        steps.append((addresses[u.key], n.pieces, grain(n) if is_parallel(n) else 0, refs))
    kinds = []
    for b in places:
        if b == FLAG:
            kinds.append((IN_FLAG, 0))
        elif b in plan.objects:
            kinds.append((IN_SCALAR if b in scalars else IN_ARRAY, plan.objects[b]))
        else:
            kinds.append((IN_ARENA, plan.offsets[b]))
    return program_table(kinds, steps)
