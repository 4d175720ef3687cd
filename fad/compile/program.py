"""Program: a Function compiled. One native call for each stretch between callbacks, one in all where there are none."""

from __future__ import annotations

import ctypes
import threading
from typing import Any

import numpy as np

from fad.compile import engine
from fad.compile.emit import Loops, write_function
from fad.compile.fuse import Callback, partition
from fad.compile.guard import checker, guard_table, layout_is_known
from fad.compile.ir import Module
from fad.compile.plan import Plan, Segment, grain, memory_of, parallel, plan
from fad.compile.simplify import simplify
from fad.expr import Const, Expr, Var
from fad.function import Function

__all__ = ["Program", "compile_function"]

GROUP = 400  # instructions of serial nests that share a native function
HEAD = 16  # bytes before the contents of a Python object: the data pointer of an array, the value of a scalar
ITEMS = 24  # bytes before the pointer to a list's items


class Program:
    """``program(leaves)``: the flat outputs for flat inputs of the shapes and dtypes of its Function.

    Inputs are C-contiguous arrays, and scalar objects (float, np.generic) where they are 0-d.
    """

    def __init__(self, function: Function):
        machine = engine.machine()
        self.function = function
        self.simplified = simplify(function)
        self.plan: Plan = plan(partition(self.simplified), machine.vector_bytes)
        self.text, names = write_module(self.plan, self.simplified, machine)
        self.needs_threads = any(isinstance(s, Segment) and any(map(parallel, s.nests)) for s in self.plan.steps)
        if self.needs_threads:
            from fad.compile.launch import launcher

            self.launch = launcher()
        else:
            self.launch = 0
        self.origin = "compiled"
        self.loaded = loaded = engine.load(self.text) if any(names) else None  # owns the code
        self.steps = []
        for step, name in zip(self.plan.steps, names, strict=True):
            if isinstance(step, Callback):
                self.steps.append(called_back(step.node, self.plan))
            else:
                self.steps.append(native(loaded, name, self.launch))
        results = {self.plan.objects[s.node.id] for s in self.plan.steps if isinstance(s, Callback)}
        by_place = {self.plan.objects[n.id]: n for n in self.simplified.nodes if n.id in self.plan.objects}
        first = len(function.inputs) + len(self.plan.constants)
        count = max(self.plan.objects.values(), default=-1) + 1
        self.fresh = [None if k in results else (by_place[k].shape, by_place[k].dtype) for k in range(first, count)]
        self.shapes = [y.shape for y in function.outputs]

    def quick(self, avals: tuple) -> Any:
        """``call(arguments)`` for arguments of exactly these types, shapes and dtypes: one native call does all.

        It gives the outputs, or None where the arguments are others. None in its place for programs with callbacks."""
        places = [y[1] for y in self.plan.outputs if y[0] == "object"]
        if len(self.steps) != 1 or isinstance(self.plan.steps[0], Callback) or not layout_is_known() \
                or places != list(range(len(self.function.inputs) + len(self.plan.constants),
                                        len(self.function.inputs) + len(self.plan.constants) + len(self.plan.outputs))) \
                or any(tuple(f[0]) != s for f, s in zip(self.fresh, self.shapes, strict=True)):
            return None
        name = next(n for n in ("segment0",))
        entry, constants, size, owner = ENTRY(self.loaded.address(name)), self.plan.constants, self.plan.arena, self
        code, check = checker()
        table = guard_table(avals)
        context = (ctypes.c_int64 * 3)(self.launch, check, ctypes.addressof(table))
        at, count, empty, arena = ctypes.addressof(context), len(avals), np.empty, _arena
        fresh = self.fresh
        scalar = [not f[0] for f in fresh]

        def one(arguments: Any, keep: Any = (table, context, code, owner)) -> Any:
            if len(arguments) != count:
                return None
            y = empty(shape, dtype)
            objects = [*arguments, *constants, y]
            if entry(id(objects), arena.reserve(size).address if size else 0, at):
                return None
            return y[()] if is_scalar else y

        def many(arguments: Any, keep: Any = (table, context, code, owner)) -> Any:
            if len(arguments) != count:
                return None
            outputs = [empty(s, d) for s, d in fresh]
            objects = [*arguments, *constants, *outputs]
            if entry(id(objects), arena.reserve(size).address if size else 0, at):
                return None
            return [y[()] if s else y for y, s in zip(outputs, scalar)]

        if len(fresh) == 1:
            (shape, dtype), is_scalar = fresh[0], scalar[0]
            return one
        return many

    def assembly(self) -> str:
        """The machine code as text."""
        return engine.assembly(self.text)

    def __call__(self, leaves: list) -> list:
        """The outputs, as arrays of the caller's own."""
        leaves = [fitted(x, v) for x, v in zip(leaves, self.function.inputs, strict=True)]
        objects = [*leaves, *self.plan.constants, *[None if f is None else np.empty(*f) for f in self.fresh]]
        arena = _arena.reserve(self.plan.arena)
        for step in self.steps:
            step(objects, arena)
        outputs: list = []
        for (kind, where), shape in zip(self.plan.outputs, self.shapes, strict=True):
            y = objects[where] if kind != "constant" else where
            if kind != "object" or any(y is z for z in outputs):
                y = np.array(y)
            outputs.append(y.reshape(shape) if shape else np.asarray(y).reshape(())[()])
        return outputs


def fitted(x: Any, var: Var) -> Any:
    """An input as native code reads it."""
    if not var.shape:
        return x if type(x) is float else np.asarray(x, var.dtype)[()]
    if x.flags.c_contiguous and x.flags.aligned and x.dtype.isnative:
        return x
    return np.ascontiguousarray(x, var.dtype)


class _Arena(threading.local):
    """A thread's memory for intermediate results."""

    def __init__(self) -> None:
        self.memory = np.empty(0, np.uint8)
        self.address = 0

    def reserve(self, size: int) -> _Arena:
        """At least so many bytes, aligned to a cache line."""
        if self.memory.nbytes < size:
            memory = np.empty(size + 64, np.uint8)
            start = -memory.ctypes.data % 64
            self.memory = memory[start : start + size]
            self.address = self.memory.ctypes.data
        return self


_arena = _Arena()


def native(loaded: Any, name: str, launch: int) -> Any:
    """A step that runs a segment."""
    entry = ENTRY(loaded.address(name))
    context = (ctypes.c_int64 * 3)(launch, 0, 0)
    at = ctypes.addressof(context)

    def run(objects: list, arena: Any, context: Any = context) -> None:
        entry(id(objects), arena.address, at)

    return run


ENTRY = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


def called_back(node: Expr, plan: Plan) -> Any:
    """A step that evaluates a primitive with NumPy."""
    op, params, place = node.op, node.params, plan.objects[node.id]
    fetch = [argument(a, plan) for a in node.args]

    def run(objects: list, arena: Any) -> None:
        with np.errstate(all="ignore"):
            result = np.ascontiguousarray(op.evaluate(*[f(objects, arena) for f in fetch], **params))
        objects[place] = result.reshape(node.shape)

    return run


def argument(x: Any, plan: Plan) -> Any:
    """How a callback finds an argument: in memory, through views."""
    if not isinstance(x, Expr):
        return lambda objects, arena: x
    memory, views = memory_of(plan.parts, x)
    base = plan.parts.alias.get(memory.id, memory)
    shape, dtype = memory.shape, memory.dtype
    if isinstance(base, Const) and base.size == 1 or base.op is None and not isinstance(base, Var):
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


def write_module(plan: Plan, function: Function, machine: Any) -> tuple[str, list[str]]:
    """IR text, and for every step the name of its function ('' for callbacks)."""
    module = Module(machine.has_fma)
    names: list[str] = []
    scalars = {x.id for x in function.inputs if not x.shape}
    for k, step in enumerate(plan.steps):
        names.append("" if isinstance(step, Callback) else f"segment{k}")
        if names[-1]:
            write_segment(module, names[-1], step, plan, scalars)
    return str(module), names


def write_segment(module: Module, name: str, segment: Segment, plan: Plan, scalars: set[int]) -> None:
    """``i64 segment(ptr list, ptr arena, ptr context)``: asks the guard, fills the table of pointers, runs the nests.

    ``context`` holds the addresses of launch, of the guard's function and of its table (0: do not ask). Returns 1, having
    done nothing, where the guard says no."""
    buffers: dict[int, int] = {}
    for n in segment.nests:
        for b in [i.access.buffer for i in n.body.instructions if i.access] + [a.buffer for a, _ in n.body.stores] \
                + [a.buffer for _, a, _ in n.body.folds]:
            buffers.setdefault(b, len(buffers))
    lines = [PROLOGUE.format(name=name, size=max(len(buffers), 1), items=ITEMS, head=HEAD)]
    for b, slot in buffers.items():
        lines.append(f"  %slot{slot} = getelementptr ptr, ptr %table, i64 {slot}")
        if b not in plan.objects:
            lines.append(f"  %p{slot} = getelementptr i8, ptr %arena, i64 {plan.offsets[b]}")
        else:
            lines += [f"  %i{slot} = getelementptr ptr, ptr %items, i64 {plan.objects[b]}",
                      f"  %o{slot} = load ptr, ptr %i{slot}", f"  %h{slot} = getelementptr i8, ptr %o{slot}, i64 {HEAD}",
                      f"  %p{slot} = {'getelementptr i8' if b in scalars else 'load ptr'}, ptr %h{slot}" + (", i64 0" if b in scalars else "")]
        lines.append(f"  store ptr %p{slot}, ptr %slot{slot}")
    for k, (nests, threads) in enumerate(groups(segment.nests)):
        part = f"{name}.{k}"
        write_function(module, part, nests, buffers)
        n = nests[0]
        if threads:
            lines.append(f"  call void %launch(ptr @{part}, ptr %table, i64 {n.pieces}, i64 {grain(n)})")
        else:
            lines.append(f"  call void @{part}(ptr %table, i64 0, i64 {n.pieces})")
    module.functions.append("\n".join([*lines, "  ret i64 0", "}"]))


PROLOGUE = """define i64 @{name}(ptr %list, ptr %arena, ptr %context) {{
  %table = alloca [{size} x ptr]
  %at = getelementptr i8, ptr %list, i64 {items}
  %items = load ptr, ptr %at
  %launch = load ptr, ptr %context
  %guard.at = getelementptr ptr, ptr %context, i64 2
  %guard = load ptr, ptr %guard.at
  %free = icmp eq ptr %guard, null
  br i1 %free, label %go, label %ask
ask:
  %check.at = getelementptr ptr, ptr %context, i64 1
  %check = load ptr, ptr %check.at
  %bad = call i64 %check(ptr %items, ptr %guard)
  %ok = icmp eq i64 %bad, 0
  br i1 %ok, label %go, label %no
no:
  ret i64 1
go:"""


def groups(nests: list[Loops]) -> list[tuple[list[Loops], bool]]:
    """Nests that share a function: small ones in a row, each larger one alone; and whether threads share it."""
    found: list[tuple[list[Loops], bool]] = []
    room = 0.0
    for n in nests:
        size = len(n.body.instructions)
        if parallel(n):
            found.append(([n], True))
            room = 0
        elif n.outer and n.pieces > 1:
            n.outer = 0
            found.append(([n], False))
            room = GROUP - size
        elif room > size and found and not found[-1][1]:
            found[-1][0].append(n)
            room -= size
        else:
            found.append(([n], False))
            room = GROUP - size
        n.outer = n.outer if parallel(n) else 0
    return found


def compile_function(function: Function) -> Program:
    """The Function as machine code."""
    return Program(function)
