"""numba and fad in one program: native programs that `@njit` code calls, and `@njit` functions that fad traces.

`as_numba` gives a program's machine code a numba face. `meet_numba` lets numba's functions take nodes: they run their
Python source then, with NumPy's functions in place of `math`'s. numba is imported only by whoever uses it.
"""

from __future__ import annotations

import builtins
import cmath
import functools
import math
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from fad import tree
from fad.errors import DtypeError, TraceError, TreeError
from fad.expr import Expr, aval_text, short

__all__ = ["as_numba", "meet_numba"]

# -- fad's programs in numba code ----------------------------------------------------------------------------------------

_entered: set = set()  # programs whose addresses stand in code of numba's, which is never freed either


def as_numba(compiled: Any) -> Callable:
    """A compiled signature of a jitted function (`fad.jit.Compiled`) as a function that `@njit` code calls.

    Raises TreeError for pytrees other than flat arguments and a tuple of results, TraceError for a program that calls
    back into Python, DtypeError for a dtype that numba lacks.

    >>> import numba
    >>> slope = fad.jit(fad.grad(np.tanh)).as_numba(0.0)
    >>> numba.njit(lambda x: 2 * slope(x))(0.0)
    2.0
    """
    import numba

    program = compiled.program
    in_tree, out_tree = compiled.key[0], compiled.out_tree
    args_tree, kwargs_tree = in_tree.children()
    if kwargs_tree.num_leaves or args_tree.num_nodes != args_tree.num_leaves + 1:
        raise TreeError("as_numba: the arguments are a pytree", got=args_tree, rule="numba code passes arrays and scalars, by position",
                        fix="wrap f: lambda w, b: f({'w': w, 'b': b})")
    if not out_tree.is_leaf() and not (out_tree.type is tuple and out_tree.num_nodes == out_tree.num_leaves + 1):
        raise TreeError("as_numba: the result is a pytree", got=out_tree, rule="numba code takes an array, a scalar or a tuple of them",
                        fix="return a tuple")
    for step in program.plan.steps:
        if hasattr(step, "node"):
            raise TraceError(f"as_numba: {step.node.op.name} has no native form", got=f"{step.node.op.name} giving {short(step.node)}",
                             rule="a program that numba calls runs without Python",
                             fix="call the jitted function outside of numba code, or write this part with other functions")
    source, names = _face(program, out_tree)
    signature = tuple(_numba_type(x.shape, x.dtype) for x in program.function.inputs)
    names["run"] = _entry(program)
    exec(compile(source, f"<numba face of {compiled.name}>", "exec"), names)
    _entered.add(program)
    return numba.njit(signature, nogil=True)(names["program"])


def _numba_type(shape: tuple, dtype: np.dtype) -> Any:
    """A scalar, or a C-contiguous array that the program only reads."""
    import numba

    try:
        scalar = numba.from_dtype(dtype)
    except numba.core.errors.NumbaError:
        raise DtypeError("as_numba: no such dtype in numba", got=aval_text(shape, dtype), rule="arguments and results are of numba's dtypes",
                         fix="x.astype(np.float32)") from None
    return numba.types.Array(scalar, len(shape), "C", readonly=True) if shape else scalar


def _face(program: Any, out_tree: Any) -> tuple[str, dict]:
    """Source of the function that checks shapes, makes the outputs and runs the program; and the names it uses."""
    names: dict[str, Any] = {"np": np}
    inputs, first = program.function.inputs, len(program.function.inputs) + len(program.plan.constants)
    lines = [f"def program({', '.join(f'x{k}' for k in range(len(inputs)))}):"]
    for k, x in enumerate(inputs):
        if x.shape:
            lines += [f"    if x{k}.shape != {x.shape}:",
                      f"        raise ValueError('argument {k} has another shape than {x.shape}, for which fad compiled this function; "
                      "fix: fad.jit(f).as_numba(*args) with arguments of the new shapes')"]
    made: list[str] = []
    for k, (shape, dtype) in enumerate(program.fresh):
        _numba_type(shape, dtype)
        names[f"dtype{k}"] = dtype
        if shape:
            made.append(f"y{first + k}")
            lines.append(f"    y{first + k} = np.empty({shape}, dtype{k})")
    scalars = [f"y{first + k}" for k, (shape, _) in enumerate(program.fresh) if not shape]
    if program.plan.steps:
        memory = f"np.empty({program.plan.arena + 64}, np.uint8)" if program.plan.arena else "None"
        lines.append(f"    scalars = run({_tuple([f'x{k}' for k in range(len(inputs))])}, {_tuple(made)}, {memory})")
        lines += [f"    {y} = scalars[{k}]" for k, y in enumerate(scalars)]
    results: list[str] = []
    for k, ((kind, where), y) in enumerate(zip(program.plan.outputs, program.function.outputs, strict=True)):
        if kind == "constant":
            names[f"c{k}"] = np.array(where).reshape(y.shape)[()]
            have, text = y.shape, f"c{k}"
        elif kind == "input":
            have, text = inputs[where].shape, f"x{where}"
        else:
            have, text = program.fresh[where - first][0], f"y{where}"
        own = kind == "object" and text not in results
        results.append(text)
        lines.append(f"    r{k} = {_shaped(text, have, y.shape, own)}")
    values = [f"r{k}" for k in range(len(results))]
    lines.append(f"    return {values[0] if out_tree.is_leaf() else _tuple(values)}")
    return "\n".join(lines), names


def _tuple(items: list[str]) -> str:
    return f"({', '.join(items)}{',' if len(items) == 1 else ''})"


def _shaped(text: str, have: tuple, want: tuple, own: bool) -> str:
    """An expression for an array or scalar in another shape of its size, in memory of its own."""
    if not want:
        return f"{text}[{', '.join('0' for _ in have)}]" if have else text
    if not have:
        return f"np.full({want}, {text})"
    text = text if own else f"{text}.copy()"
    return text if have == want else f"{text}.reshape({want})"


def _entry(program: Any) -> Any:
    """``run(inputs, outputs, memory)`` in numba code: the 0-d outputs, as a tuple, after the native call.

    The program reads CPython's objects: a list, and in it arrays and scalars. Here structs on the stack stand for these, with
    what the program reads at the same offsets."""
    import ctypes

    from llvmlite import ir
    from numba import from_dtype
    from numba import types as nb
    from numba.core import cgutils
    from numba.extending import intrinsic

    from fad.compile.program import HEAD, ITEMS

    assert HEAD % 8 == ITEMS % 8 == 0
    address = program.loaded.address("segment0") if program.plan.steps else 0
    context_array = (ctypes.c_int64 * 3)(program.launch, 0, 0)
    program.numba_context = context_array  # lives as long as the program
    context_at = ctypes.addressof(context_array)
    constants = [id(c) for c in program.plan.constants]
    fresh = [(bool(shape), from_dtype(dtype)) for shape, dtype in program.fresh]
    word, pointer = ir.IntType(64), ir.IntType(8).as_pointer()

    @intrinsic
    def run(typing_context: Any, inputs: Any, outputs: Any, memory: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            def struct(head: int, content: Any) -> Any:
                """A struct on the stack that has the content after so many bytes; its address."""
                at = cgutils.alloca_once(builder, ir.LiteralStructType([ir.ArrayType(word, head // 8), content.type]))
                builder.store(content, cgutils.gep_inbounds(builder, at, 0, 1))
                return builder.bitcast(at, pointer)

            def array(kind: Any, value: Any) -> Any:
                return struct(HEAD, builder.bitcast(context.make_array(kind)(context, builder, value).data, pointer))

            def parts(number: int, kinds: Any) -> list:
                return [(kind, builder.extract_value(args[number], k)) for k, kind in enumerate(kinds)]

            objects = [array(kind, v) if isinstance(kind, nb.Array) else struct(HEAD, context.get_value_as_data(builder, kind, v))
                       for kind, v in parts(0, inputs)]
            objects += [builder.inttoptr(word(at), pointer) for at in constants]
            arrays, slots = iter(parts(1, outputs)), []
            for is_array, kind in fresh:
                if is_array:
                    objects.append(array(*next(arrays)))
                else:
                    slots.append((kind, cgutils.alloca_once(builder, context.get_data_type(kind))))
                    objects.append(struct(HEAD, builder.bitcast(slots[-1][1], pointer)))
            items = cgutils.alloca_once(builder, ir.ArrayType(pointer, max(len(objects), 1)))
            for k, at in enumerate(objects):
                builder.store(at, cgutils.gep_inbounds(builder, items, 0, k))
            arena = ir.Constant(pointer, None)
            if isinstance(memory, nb.Array):  # from the first whole cache line
                begin = builder.ptrtoint(context.make_array(memory)(context, builder, args[2]).data, word)
                arena = builder.inttoptr(builder.and_(builder.add(begin, word(63)), word(-64)), pointer)
            entry = builder.inttoptr(word(address), ir.FunctionType(word, [pointer] * 3).as_pointer())
            builder.call(entry, [struct(ITEMS, builder.bitcast(items, pointer)), arena, builder.inttoptr(word(context_at), pointer)])
            found = [context.data_model_manager[kind].from_data(builder, builder.load(at)) for kind, at in slots]
            return context.make_tuple(builder, signature.return_type, found)

        scalars = nb.Tuple([kind for is_array, kind in fresh if not is_array])
        return scalars(inputs, outputs, memory), codegen

    return run


# -- numba's functions in fad's traces ---------------------------------------------------------------------------------


def meet_numba() -> None:
    """From now on a numba function that is called with nodes runs its Python source.

    numba asks ``_compile_for_args`` what to run for arguments of types that are new to it, as nodes always are: calls without
    nodes stay as they are."""
    from numba.core import types as nb
    from numba.core.dispatcher import Dispatcher
    from numba.extending import typeof_impl

    compile_for, explain = Dispatcher._compile_for_args, Dispatcher._explain_matching_error

    def _compile_for_args(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not _has_node(args):
            return compile_for(self, *args, **kwargs)
        self._types_active_call.clear()
        return _source(self)

    def _explain_matching_error(self: Any, *args: Any, **kwargs: Any) -> None:
        if not _has_node(args):
            explain(self, *args, **kwargs)
        raise TraceError(f"{self.__name__}, compiled by numba for fixed signatures, was called with a node",
                         got=", ".join(map(short, args)), rule="numba chooses among these before fad is asked",
                         fix=f"@njit without signatures, or call fad.jit({self.__name__})")

    typeof_impl.register(Expr)(lambda node, context: nb.pyobject)
    Dispatcher._compile_for_args, Dispatcher._explain_matching_error = _compile_for_args, _explain_matching_error


def _has_node(args: tuple) -> bool:
    return any(isinstance(x, Expr) for x in tree.leaves(args))


def traceable(f: Callable) -> Callable:
    """The Python function that nodes go through: f itself, but the source of a numba function."""
    return _source(f) if hasattr(f, "py_func") and _is_dispatcher(f) else f


def _is_dispatcher(f: Any) -> bool:
    from numba.core.dispatcher import Dispatcher

    return isinstance(f, Dispatcher)


def _source(dispatcher: Any) -> Callable:
    """The Python source of a numba function, as code that nodes can go through."""
    from numba.core.dispatcher import OmittedArg

    f = _for_nodes(dispatcher.py_func)
    star = bool(dispatcher.py_func.__code__.co_flags & 4)  # *args, which numba hands over as one tuple

    @functools.wraps(dispatcher.py_func)
    def call(*args: Any, **kwargs: Any) -> Any:
        args = tuple(a.value if isinstance(a, OmittedArg) else a for a in args)
        try:
            return f(*args, **kwargs)
        except NotImplementedError as error:
            raise TraceError(f"{dispatcher.__name__}: this numba function cannot be traced", got=error) from None

    return call
