"""jit: a Python function as machine code, compiled once for each signature of its arguments."""

from __future__ import annotations

import functools
import inspect
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import optree

from fad import tree
from fad.compile import drawn
from fad.compile.specialize import Decisions, Guards
from fad.core.expr import WATCHING, Expr, Var, aval_text, reachable, refuse_foreign, short
from fad.core.function import Function
from fad.core.nans import holds_nan, is_watching, report_compiled
from fad.errors import DtypeError, OutOfRangeError, TraceError, TreeError
from fad.primitives.naming import scopes
from fad.transforms.numba_source import traceable
from fad.transforms.trace import Trace, check_alive
from fad.transforms.transformed import argument_names, by_name, name_of, parameters, recorded
from fad.tree import freeze

__all__ = ["jit", "Jit", "Lowered"]

_NUMBERS = (bool, int, float, complex)


def jit(
    f: Callable | None = None,
    *,
    static_argnums: int | tuple = (),
    static_argnames: str | tuple = (),
    donate: int | tuple = (),
    specialize: bool = False,
) -> Any:
    """f compiled to native code that uses all cores: the same results, to a few ulp.

    Args:
        f: function of arrays and pytrees, written with NumPy; it is traced once for each structure, shape and dtype of
            its arguments, on symbols: Python's ``if`` cannot follow their values (use np.where, or static arguments).
        static_argnums, static_argnames: arguments that are no arrays, or whose value the code may depend on. They must be
            hashable; each value is compiled for itself.
        donate: positions of arguments whose memory results may take over; do not use those arrays afterwards. An array that
            shares memory with another argument of the call is copied first.
        specialize: let Python's ``if``, ``while`` and ``range`` follow the values: each way through f, up to 16 for arguments of
            one kind, is a program of its own, and the conditions are computed first to find the right one.
    Returns: a `Jit`, which composes with every transformation: ``grad(jit(f))`` is ``jit(grad(f))``.
    Raises: TraceError where f asks a symbol for its value or uses one that another trace left behind, DtypeError for arguments
    that are not arrays of numbers, OutOfRangeError for positions that f has not. What has no native code is run by NumPy, and
    ``explain()`` says so.

    >>> jit(lambda x: np.sum(np.sin(x) ** 2))(np.zeros(3))
    np.float64(0.0)
    """
    if f is None:  # used as @jit(static_argnums=...)
        return lambda g: jit(
            g, static_argnums=static_argnums, static_argnames=static_argnames, donate=donate, specialize=specialize
        )
    if not callable(f):
        raise DtypeError("jit: not a function", got=short(f), rule="the first argument is the function", fix="fad.jit(f)(x)")
    if isinstance(f, Jit):
        return f
    names = (static_argnames,) if isinstance(static_argnames, str) else tuple(static_argnames)
    positions = _positions(f, static_argnums, "static_argnums")
    return Jit(f, positions, names, _positions(f, donate, "donate"), bool(specialize))


class Jit:
    """A jitted function: what `jit` returns."""

    __name__: str
    __wrapped__: Callable

    def __init__(
        self, f: Callable, static_argnums: tuple = (), static_argnames: tuple = (), donate: tuple = (), specialize: bool = False
    ):
        self.f, self.donate = traceable(f), donate
        self.guards = Guards() if specialize else None
        self.static_argnums, self.static_argnames = _both(f, static_argnums, static_argnames)
        self.compiled: dict[tuple, Compiled] = {}
        self.recent: Callable | None = None  # the short way into the program called last
        functools.update_wrapper(self, f, updated=())
        self.__name__ = getattr(f, "__name__", None) or name_of(f)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if WATCHING:
            if scopes.get():  # that are told of values by name
                return self.f(*args, **kwargs)
            if is_watching():
                return self._watched(args, kwargs)
        recent = self.recent
        if recent is not None and not kwargs:
            result = recent(args)
            if result is not None:
                return result
        compiled, leaves = self._find(args, kwargs)
        if compiled is None:  # inside another transformation: its trace goes through f
            return self.f(*args, **kwargs)
        if not kwargs and self.guards is None:
            self.recent = compiled.quick(args, leaves)
        return compiled(leaves)

    def _watched(self, args: tuple, kwargs: dict) -> Any:
        """The result while `fad.debug_nans` is on: one with a NaN is computed again by NumPy, which names what made it."""
        compiled, leaves = self._find(args, kwargs)
        if compiled is None:
            return self.f(*args, **kwargs)
        kept = [x.copy() if isinstance(x, np.ndarray) else x for x in leaves] if self.donate else leaves
        result = compiled(leaves)
        if any(map(holds_nan, tree.leaves(result))):
            rest = tree.unflatten(tree.structure(self._split(args, kwargs)[1]), kept)
            report_compiled(self.__name__, lambda: tree.leaves(self.trace(*args, **kwargs)(*rest)))
        return result

    def _find(self, args: tuple, kwargs: dict) -> tuple:
        """The compiled program for these arguments, and their leaves."""
        static, rest = self._split(args, kwargs)
        leaves, treedef = tree.flatten(rest)
        avals: list[Any] = []
        for k, x in enumerate(leaves):
            kind = type(x)
            if kind in _NUMBERS and (kind is not int or -(2**63) <= x < 2**63):
                avals.append(kind)
                continue
            if isinstance(x, Expr):
                if type(x) is Var and not x.args:
                    check_alive([x], Trace("jit", self.f))
                return None, leaves
            if (kind is not np.ndarray and not isinstance(x, np.generic)) or x.dtype.kind not in "fiubc":
                x = leaves[k] = _array(x, rest, k)
            if not x.dtype.isnative:
                x = leaves[k] = x.astype(x.dtype.newbyteorder("="))
            avals.append((x.shape, x.dtype))
        try:
            hash(static)
            signature = (treedef, tuple(avals), tuple([(n, freeze(v)) for n, v in static]))  # 2 and 2.0 are equal, and not the same
            key: tuple = signature
            if self.guards is not None:
                key = (*signature, self.guards.find(signature, leaves))
            compiled = self.compiled.get(key)
        except TypeError:
            raise TreeError(
                "jit: a static argument is not hashable",
                got=", ".join(short(v) for _, v in static),
                rule="static arguments are part of the key under which code is kept",
                fix="pass a tuple in place of a list, or do not mark it as static",
            ) from None
        if compiled is None:
            rest = tree.unflatten(treedef, leaves)
            before = drawn.states(self.f)
            decisions = None if self.guards is None else Decisions(leaves)
            function, seconds = _timed(_traced, self.f, static, rest, decisions)
            if function is None:
                return None, leaves
            path = ""
            if self.guards is not None and decisions is not None:
                number, guard = self.guards.add(signature, self.__name__, function.inputs, decisions)
                key, path = (*signature, number), f"where Python asked: {guard}"
            if (frozen := drawn.warning(self.f, before)) is not None:
                warnings.warn(frozen, stacklevel=3)
            compiled = self.compiled[key] = Compiled(self, function, seconds, rest, static, signature, path)
        return compiled, leaves

    def _split(self, args: tuple, kwargs: dict) -> tuple[tuple, tuple]:
        """Static arguments as (name or position, value) pairs, and (args, kwargs) without them."""
        if not (self.static_argnums or self.static_argnames):
            return (), (args, kwargs)
        numbers = {n % len(args) for n in self.static_argnums if -len(args) <= n < len(args)}
        static = tuple([(n, args[n]) for n in sorted(numbers)] + [(n, kwargs[n]) for n in self.static_argnames if n in kwargs])
        return static, (
            tuple(a for n, a in enumerate(args) if n not in numbers),
            {n: v for n, v in kwargs.items() if n not in self.static_argnames},
        )

    def transformed(self, transform: Callable, name: str) -> Jit:
        """The jitted transformation of the function."""
        specialize = self.guards is not None
        return Jit(transform(self.f), self.static_argnums, self.static_argnames, (), specialize)  # a derivative has other results

    def trace(self, *args: Any, **kwargs: Any) -> Function:
        """The Function that is compiled for these arguments: its inputs are ``(args, kwargs)`` without the static ones."""
        static, rest = self._split(args, kwargs)
        function = _traced(self.f, static, rest)
        if function is None:
            raise TraceError(
                f"{self.__name__}: it closes over nodes of a trace around it",
                got=short(args),
                rule="a Function is a closed tree",
                fix="pass them as arguments",
            )
        return function

    def lower(self, *args: Any, **kwargs: Any) -> Lowered:
        """Tree, loops, LLVM IR and assembly of the program for these arguments, as readable text."""
        compiled, _ = self._find(args, kwargs)
        if compiled is None:
            raise TraceError("jit: lower() of nodes", got=short(args), rule="it takes arrays", fix="call it outside of any trace")
        return Lowered(compiled.program)

    def as_numba(self, *args: Any) -> Callable:
        """The program for example arguments like these as a function that a user's ``@njit`` code calls.

        It takes C-contiguous arrays and scalars of their shapes and dtypes, by position and without the static ones, and
        gives an array, a scalar or a tuple of them. Without arguments: of the only signature that is compiled.
        Raises: TreeError for other pytrees, TraceError for operations that have no native form.

        >>> import numba
        >>> slope = jit(lambda x: 3.0 * x**2).as_numba(1.0)
        >>> numba.njit(lambda x: slope(x) + 1.0)(2.0)
        13.0
        """
        from fad.compile.interop import as_numba

        if not args and len(self.compiled) != 1:
            raise TraceError(
                f"as_numba({self.__name__}): for which arguments?",
                got=f"{len(self.compiled)} compiled signatures",
                rule="a function in numba code has one signature",
                fix="pass example arguments",
            )
        compiled = self._find(args, {})[0] if args else next(iter(self.compiled.values()))
        if compiled is None:
            raise TraceError(
                f"as_numba({self.__name__}) of nodes", got=short(args), rule="it takes arrays", fix="call it outside of any trace"
            )
        return as_numba(compiled, self.__name__)

    def explain(self) -> str:
        """What was compiled, when, for which signatures, which argument caused each retrace, and what NumPy computes as there is
        no native code for it."""
        lines = [f"{self.__name__}: {len(self.compiled)} signature{'s' * (len(self.compiled) != 1)}"]
        before: list[Compiled] = []
        for c in self.compiled.values():
            lines.append(f"- {c.text}")
            lines.append(
                f"  {c.when}: traced in {c.trace_seconds * 1e3:.1f} ms, {c.nodes} nodes; "
                f"{c.origin} in {c.compile_seconds * 1e3:.1f} ms"
            )
            lines += [f"  by NumPy: {what}" for what in c.program.called]
            if before:
                lines.append("  retraced: " + min((c.difference(b) for b in before), key=len))
            before.append(c)
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<jit of {self.__name__}, {len(self.compiled)} signatures>"

    def __reduce__(self) -> Any:
        return by_name(self) or (
            Jit,
            (self.__wrapped__, self.static_argnums, self.static_argnames, self.donate, self.guards is not None),
        )

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)


def _positions(f: Callable, numbers: Any, option: str) -> tuple:
    """Positions among f's arguments, given as one or as several integers."""
    numbers = tuple(numbers) if isinstance(numbers, tuple | list | set | frozenset) else (numbers,)
    if not all(isinstance(n, int | np.integer) and not isinstance(n, bool) for n in numbers):
        raise DtypeError(
            f"jit: {option}",
            got=short(numbers),
            rule="positions are integers, counted from 0",
            fix=f"{option}=0, or {option}=(0, 2)" + ("; names go into static_argnames" if "static" in option else ""),
        )
    try:
        parameters = inspect.signature(f).parameters.values() if numbers else []
    except (TypeError, ValueError):  # of builtin functions
        return numbers
    count = sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)
    if not all(-count <= n < count for n in numbers) and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        raise OutOfRangeError(
            f"jit: {option}", got=short(numbers), rule=f"{name_of(f)} has {count} positional arguments", fix="count them from 0"
        )
    return tuple(int(n) for n in numbers)


def _both(f: Callable, numbers: tuple, names: tuple) -> tuple[tuple, tuple]:
    """Static arguments by position and by name, each completed from the other through f's signature."""
    if not (numbers or names):
        return numbers, names
    try:
        parameters = list(inspect.signature(f).parameters)
    except (TypeError, ValueError):
        return numbers, names
    named = [parameters[n] for n in numbers if -len(parameters) <= n < len(parameters)]
    return (
        tuple(dict.fromkeys([*numbers, *(parameters.index(n) for n in names if n in parameters)])),
        tuple(dict.fromkeys([*names, *named])),
    )


def _paths(f: Callable, rest: tuple, static: tuple) -> list[str]:
    """What to call every leaf of the arguments: the parameter, and the way from there."""
    args, kwargs = rest
    names = parameters(getattr(f, "py_func", f))
    fixed = {n for n, _ in static if isinstance(n, int)}
    places = [n for n in range(len(args) + len(fixed)) if n not in fixed]
    named = [(names[n] if n < len(names) else f"args[{n}]", arg) for n, arg in zip(places, args, strict=True)]
    return [name + path for name, arg in [*named, *sorted(kwargs.items())] for path in tree.paths(arg)]


def _array(x: Any, rest: Any, k: int) -> Any:
    """A leaf that is no array as one."""
    try:
        array = np.asarray(refuse_foreign(x))
    except (ValueError, OverflowError):
        array = np.empty(0, object)
    if array.dtype.kind not in "fiubc":
        path = tree.paths(rest)[k]
        raise DtypeError(
            f"jit: the argument at {path} is no array of numbers",
            got=short(x),
            rule="arguments are arrays, numbers and pytrees of them",
            fix="pass what is not an array with static_argnums or static_argnames",
        )
    return array


def _traced(f: Callable, static: tuple, rest: tuple, decisions: Decisions | None = None) -> Function | None:
    """The Function of ``(args, kwargs)``, the static ones put back; None where f depends on an enclosing trace."""
    by_place = {n: v for n, v in static if isinstance(n, int)}
    by_name = {n: v for n, v in static if isinstance(n, str)}

    def call(args: tuple, kwargs: dict) -> Any:
        given = iter(args)
        places = [by_place[n] if n in by_place else next(given) for n in range(len(args) + len(by_place))]
        if decisions is None:
            return f(*places, **kwargs, **by_name)
        with decisions.about(tree.leaves((args, kwargs))):
            return f(*places, **kwargs, **by_name)

    call.__name__ = name_of(f)
    vars(call)["__wrapped__"] = f  # by which messages name it
    before = Var("before", (), np.float64).id
    inputs, outputs, *more = recorded(call, rest, argument_names(call, rest))
    own = {x.id for x in inputs}
    older = reachable([y for y in outputs if isinstance(y, Expr)], before, own)[1]
    if any(x.op is not None or isinstance(x, Var) for x in older):
        check_alive(older, Trace("jit", f))
        return None  # f closes over nodes of a trace around it
    return Function(inputs, outputs, *more)


def _timed(f: Callable, *args: Any) -> tuple[Any, float]:
    """The result, and the seconds it took."""
    start = time.perf_counter()
    return f(*args), time.perf_counter() - start


class Compiled:
    """A program with the pytrees around it, and where it came from."""

    def __init__(self, owner: Jit, function: Function, seconds: float, rest: tuple, static: tuple, key: tuple, path: str = ""):
        from fad.compile.cache import program_for
        from fad.compile.debug import show

        self.trace_seconds = seconds
        (self.program, self.origin), self.compile_seconds = _timed(program_for, function, _donated(owner.donate, rest, static))
        show(
            1,
            f"{function.name}: {self.origin}, traced in {self.trace_seconds * 1e3:.1f} ms, compiled in "
            f"{self.compile_seconds * 1e3:.1f} ms",
            repr(function),
        )
        self.when = time.strftime("%H:%M:%S")
        self.nodes = len(function.nodes)
        self.out_tree = function.out_tree
        self.static, self.in_tree = static, tree.structure(rest[0])
        self.ways: dict[Any, Any] = {}
        self.key, self.paths = key, _paths(owner.f, rest, static)
        self.text = (
            ", ".join(
                [f"{p}: {_aval(a)}" for p, a in zip(self.paths, key[1], strict=True)] + [f"{n} = {short(v)}" for n, v in static]
            )
            or "no arguments"
        ) + (f"; {path}" if path else "")

    def __call__(self, leaves: list) -> Any:
        return tree.unflatten(self.out_tree, self.program(leaves))

    def quick(self, args: tuple, leaves: list) -> Callable | None:
        """The short way for positional arguments like these."""
        types = tuple(map(type, leaves))
        if types not in self.ways:
            self.ways[types] = self._quick(args, types)
        return self.ways[types]

    def _quick(self, args: tuple, types: tuple) -> Callable | None:
        """A function from a call's positional arguments to its result, or None where they are not of these types and of the
        shapes and dtypes compiled for."""
        kinds = [a if t is np.ndarray else t for a, t in zip(self.key[1], types, strict=True)]
        read = all(t is np.ndarray or t is float or issubclass(t, np.generic) for t in types)  # whose layout native code knows
        run = None if self.static or not read else self.program.quick(kinds)
        if run is None:
            return None
        flatten, unflatten = optree.tree_flatten, optree.tree_unflatten
        treedef, out_tree = self.in_tree, self.out_tree
        is_flat, is_leaf = treedef.num_leaves == len(args) == treedef.num_nodes - 1, out_tree.is_leaf()
        is_one = out_tree.num_leaves == 1

        if is_flat and is_leaf:
            return run

        def call(arguments: Any) -> Any:
            leaves = arguments
            if not is_flat:
                leaves, found = flatten(arguments, namespace="fad")
                if found != treedef:
                    return None
            y = run(leaves)
            if y is None:
                return None
            return y if is_leaf else unflatten(out_tree, [y] if is_one else y)

        return call

    def difference(self, other: Compiled) -> str:
        """What tells this signature from another."""
        (structure, avals, static), (structure_, avals_, static_) = self.key, other.key
        if structure != structure_:
            return f"the structure of the arguments is {structure}, was {structure_}"
        changed = [f"{p} is {_aval(a)}, was {_aval(b)}" for p, a, b in zip(self.paths, avals, avals_, strict=True) if a != b]
        if [n for n, _ in static] != [n for n, _ in static_]:
            changed.append(f"the static arguments are {[n for n, _ in static]}, were {[n for n, _ in static_]}")
        else:
            changed += [
                f"{n} is {short(v)}, was {short(w)}"
                for a, b, (n, v), (_, w) in zip(static, static_, self.static, other.static, strict=True)
                if a != b
            ]
        return "; ".join(changed)


def _donated(donate: tuple, rest: tuple, static: tuple) -> frozenset:
    """The places among the leaves of the arguments at the positions ``donate``."""
    args, _ = rest
    fixed = [n for n, _ in static if isinstance(n, int)]
    positions = [n for n in range(len(args) + len(fixed)) if n not in fixed]  # of what is in args
    total = len(args) + len(fixed)
    chosen = {n + total if n < 0 else n for n in donate}
    places, at = set(), 0
    for n, arg in zip(positions, args, strict=True):
        count = len(tree.leaves(arg))
        places |= set(range(at, at + count)) if n in chosen else set()
        at += count
    return frozenset(places)


def _aval(a: Any) -> str:
    return a.__name__ if isinstance(a, type) else aval_text(*a)


class Lowered:
    """The stages of a compiled program as text: ``tree``, ``loops``, ``llvm``, ``assembly``."""

    def __init__(self, program: Any):
        self.program = program

    @property
    def tree(self) -> str:
        """The simplified expression tree."""
        return str(self.program.simplified)

    @property
    def loops(self) -> str:
        """Loop nests and callbacks in order, and the arena."""
        return str(self.program.plan)

    @property
    def llvm(self) -> str:
        """LLVM IR as fad wrote it."""
        return self.program.text

    @property
    def assembly(self) -> str:
        """The machine's own instructions."""
        return self.program.assembly()

    def __str__(self) -> str:
        return "\n\n".join([self.tree, self.loops, self.llvm, self.assembly])
