"""Programs in numba code: the machine code of a jitted function as something that `@njit` code calls.

A program reads CPython's objects: a list, and in it arrays and scalars. In numba's code there are none, so structs on
the stack stand for them that hold what the program reads where it reads it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from fad.compile.cache import program_for
from fad.compile.program import Program
from fad.compile.runtime import context_of, runner
from fad.compile.steps import Callback
from fad.core.expr import aval_text, short
from fad.errors import DtypeError, TraceError, TreeError
from fad.native.machine_model import CACHE_LINE

__all__ = ["as_numba"]

HEAD = 16  # bytes before the data pointer of an array object, and before the value of a scalar object
ITEMS = 24  # bytes before the pointer to a list's items

_entered: dict[Program, Any] = {}  # programs whose addresses stand in numba's code, which is never freed; their contexts


def as_numba(compiled: Any, name: str) -> Callable:
    """One compiled signature of a jitted function (`fad.jit.Compiled`) as a function that `@njit` code calls.

    Raises TreeError for pytrees other than plain arguments and a tuple of results, TraceError for a program that calls
    back into Python, DtypeError for a dtype that numba lacks; the function itself ValueError for arrays of other shapes.

    >>> import numba
    >>> slope = fad.jit(fad.grad(np.sin)).as_numba(0.0)  # compiled by its method of this name
    >>> numba.njit(lambda x: 2 * slope(x))(0.0)
    2.0
    """
    import numba

    program: Program = compiled.program
    if program.donated:  # numba shares arrays freely: here nothing is taken over
        program = program_for(program.function)[0]
    _check(program, compiled.key[0], compiled.out_tree, name)
    name = name if name.isidentifier() else "f"
    source, names = _face(program, compiled.out_tree, name)
    names["run"] = _run(program)
    exec(compile(source, f"<{name} for numba>", "exec"), names)
    function = numba.njit(tuple(_type(x.shape, x.dtype) for x in program.function.inputs), nogil=True)(names[name])
    function.on_nodes = lambda *args: program.function(args, {})  # where fad traces through it
    return function


def _check(program: Program, in_tree: Any, out_tree: Any, name: str) -> None:
    """Raise where numba code could not call the program."""
    args, kwargs = in_tree.children()
    if kwargs.num_leaves or args.num_nodes != args.num_leaves + 1:
        raise TreeError(
            f"as_numba({name}): arguments that are pytrees or go by name",
            got=in_tree,
            rule="numba code passes arrays and scalars by position",
            fix="jit a function of arrays that builds the tree, as lambda w, b: f({'w': w, 'b': b})",
        )
    if not out_tree.is_leaf() and (out_tree.type is not tuple or out_tree.num_nodes != out_tree.num_leaves + 1):
        raise TreeError(
            f"as_numba({name}): the result is a pytree",
            got=out_tree,
            rule="numba code takes an array, a scalar, or a tuple of these",
            fix="return a tuple",
        )
    for step in program.plan.steps:
        if isinstance(step, Callback):
            op = step.node.op.name
            raise TraceError(
                f"as_numba({name}): {op} has no native form",
                got=f"{op}(...) = {short(step.node)}",
                rule="numba code runs without Python, and fad runs this operation with NumPy",
                fix="call the jitted function from Python, or write this part with other functions",
            )


def _type(shape: tuple, dtype: np.dtype) -> Any:
    """numba's type of a scalar, or of a C-contiguous array that is only read."""
    import numba

    try:
        scalar = numba.from_dtype(dtype)
    except numba.core.errors.NumbaError:
        raise DtypeError(
            "as_numba: numba has no such dtype",
            got=aval_text(shape, dtype),
            rule="arguments and results are of dtypes that numba computes with",
            fix="x.astype(np.float32)",
        ) from None
    return numba.types.Array(scalar, len(shape), "C", readonly=True) if shape else scalar


# -- the function that numba compiles ----------------------------------------------------------------------------------


def _face(program: Program, out_tree: Any, name: str) -> tuple[str, dict]:
    """Source of the function that checks shapes, makes the outputs and runs the program; and the names it uses."""
    inputs, names = program.function.inputs, {"np": np}
    takes = [f"x{k}" for k in range(len(inputs))]
    lines = [f"def {name}({', '.join(takes)}):"]
    for x, var in zip(takes, inputs, strict=True):
        if var.shape:
            text = (
                f"{name}: argument {x[1:]} has another shape than {var.shape}, for which fad compiled it; "
                "fix: fad.jit(f).as_numba(*arguments of these shapes)"
            )
            lines += [f"    if {x}.shape != {var.shape}:", f"        raise ValueError({text!r})"]
    arrays: list[str] = []
    scalars: list[str] = []
    for k, (shape, dtype) in enumerate(program.fresh, program.first):
        (arrays if shape else scalars).append(f"y{k}")
        names[f"dtype{k}"] = dtype
        if shape:
            lines.append(f"    y{k} = np.empty({shape}, dtype{k})")
    if program.plan.steps:
        memory = f"np.empty({program.plan.arena + CACHE_LINE}, np.uint8)" if program.plan.arena else "None"
        lines += [
            f"    {_tuple(['code', *scalars])} = run({_tuple(takes)}, {_tuple(arrays)}, {memory})",
            "    if code:",
            f"        raise IndexError('{name}: an index is out of range')",
        ]
    results = _results(program, names)
    lines.append(f"    return {results[0] if out_tree.is_leaf() else _tuple(results)}")
    return "\n".join(lines), names


def _results(program: Program, names: dict) -> list[str]:
    """Expressions for the results, each an array of its own."""
    found, used = [], set()
    for k, ((kind, where), y) in enumerate(zip(program.plan.outputs, program.function.outputs, strict=True)):
        if kind == "constant":
            names[f"c{k}"] = np.array(where, y.dtype).reshape(y.shape)[()]
            text, shape = f"c{k}", y.shape
        elif kind == "input":
            text, shape = f"x{where}", program.function.inputs[where].shape
        else:
            text, shape = f"y{where}", program.fresh[where - program.first][0]
        own = kind == "object" and text not in used
        used.add(text)
        if not y.shape:
            found.append(text + (f"[{', '.join('0' * len(shape))}]" if shape else ""))
        elif not shape:
            found.append(f"np.full({y.shape}, {text})")
        else:
            found.append(text + ("" if own else ".copy()") + (f".reshape({y.shape})" if shape != y.shape else ""))
    return found


def _tuple(items: list[str]) -> str:
    return f"({', '.join(items)}{',' if len(items) == 1 else ''})"


# -- the native call in it -----------------------------------------------------------------------------------------------


def _run(program: Program) -> Any:
    """``run(inputs, outputs, memory)`` in numba code: calls the program, which fills the output arrays, and gives a tuple:
    nonzero where an index was out of range, then the 0-d outputs."""
    from numba import from_dtype, types
    from numba.extending import intrinsic

    if not program.plan.steps:
        return None
    run_at = ctypes.cast(runner(), ctypes.c_void_p).value or 0
    entered = _entered.setdefault(program, context_of(program.launch, None, program.tables[0], pauses=False))
    constants = [id(c) for c in program.plan.constants]
    fresh = [(bool(shape), from_dtype(dtype)) for shape, dtype in program.fresh]

    @intrinsic
    def run(typing_context: Any, inputs: Any, outputs: Any, memory: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            stack = _Stack(context, builder)
            objects = [stack.object(t, x) for t, x in stack.parts(inputs, args[0])]
            objects += [stack.address(c) for c in constants]
            arrays, slots = iter(stack.parts(outputs, args[1])), []
            for is_array, t in fresh:
                if not is_array:
                    slots.append((t, stack.allocate(context.get_data_type(t))))
                objects.append(stack.object(*next(arrays)) if is_array else stack.struct(HEAD, slots[-1][1]))
            arena = stack.aligned(memory, args[2]) if isinstance(memory, types.Array) else stack.address(0)
            code = stack.call(run_at, stack.struct(ITEMS, stack.row(objects)), arena, stack.address(ctypes.addressof(entered)))
            return context.make_tuple(builder, signature.return_type, [code, *(stack.value(t, at) for t, at in slots)])

        return types.Tuple([types.int64, *(t for is_array, t in fresh if not is_array)])(inputs, outputs, memory), codegen

    return run


class _Stack:
    """Writes structs on the stack of the function that is built, and gives their addresses."""

    def __init__(self, context: Any, builder: Any):
        from llvmlite import ir

        self.context, self.builder, self.ir = context, builder, ir
        self.word, self.pointer = ir.IntType(64), ir.IntType(8).as_pointer()

    def address(self, number: int) -> Any:
        """A constant address."""
        return self.ir.Constant(self.word, number).inttoptr(self.pointer)

    def allocate(self, kind: Any) -> Any:
        """The address of memory for a value."""
        from numba.core import cgutils

        return self.builder.bitcast(cgutils.alloca_once(self.builder, kind), self.pointer)

    def row(self, pointers: list) -> Any:
        """The address of pointers one after the other."""
        at = self.allocate(self.ir.ArrayType(self.pointer, max(len(pointers), 1)))
        for k, p in enumerate(pointers):
            self.put(at, 8 * k, p)
        return at

    def put(self, at: Any, offset: int, value: Any) -> None:
        """Store a value so many bytes from an address."""
        to = self.builder.gep(at, [self.word(offset)])
        self.builder.store(value, self.builder.bitcast(to, value.type.as_pointer()))

    def struct(self, head: int, content: Any) -> Any:
        """The address of a struct with the content after so many bytes."""
        at = self.allocate(self.ir.LiteralStructType([self.ir.ArrayType(self.word, head // 8), content.type]))
        self.put(at, head, content)
        return at

    def object(self, kind: Any, value: Any) -> Any:
        """The address of an array or scalar object."""
        is_array = hasattr(kind, "ndim")
        return self.struct(HEAD, self.data(kind, value) if is_array else self.context.get_value_as_data(self.builder, kind, value))

    def data(self, kind: Any, value: Any) -> Any:
        """The address of an array's first element."""
        return self.builder.bitcast(self.context.make_array(kind)(self.context, self.builder, value).data, self.pointer)

    def value(self, kind: Any, at: Any) -> Any:
        """The scalar at an address."""
        typed = self.builder.bitcast(at, self.context.get_data_type(kind).as_pointer())
        return self.context.data_model_manager[kind].load_from_data_pointer(self.builder, typed)

    def aligned(self, kind: Any, value: Any) -> Any:
        """The first address in an array of bytes at which a cache line begins."""
        last = self.builder.add(self.builder.ptrtoint(self.data(kind, value), self.word), self.word(CACHE_LINE - 1))
        return self.builder.inttoptr(self.builder.and_(last, self.word(-CACHE_LINE)), self.pointer)

    def parts(self, kinds: Any, value: Any) -> list:
        """The types and values of a tuple."""
        return [(kind, self.builder.extract_value(value, k)) for k, kind in enumerate(kinds)]

    def call(self, address: int, *pointers: Any) -> Any:
        """What the function at an address answers."""
        kind = self.ir.FunctionType(self.word, [self.pointer] * len(pointers)).as_pointer()
        return self.builder.call(self.builder.inttoptr(self.word(address), kind), pointers)
