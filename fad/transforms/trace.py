"""Traces: from a call of a Python function to the nodes that depend on its arguments.

Every transformation opens a trace with fresh Vars, calls the function, and sweeps over what depends on them.
There is no global state: a Var made for a node is an alias of it, so trees nest and threads do not meet.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any

import numpy as np

from fad import tree
from fad.core.captured import with_nodes
from fad.core.expr import FUNCTIONS, ArrayWantedError, Expr, Var, concrete, constant, reachable, refuse_foreign, short
from fad.core.function import chooses
from fad.errors import AssignmentError, DtypeError, FadError, TraceError, user_line
from fad.primitives.elementwise import convert
from fad.primitives.naming import forget
from fad.primitives.shape import alias
from fad.transforms.numba_source import traceable

__all__ = ["Trace", "value", "is_float"]


def is_float(x: Any) -> bool:
    """Whether a node, array or number is real or complex floating point."""
    dtype = getattr(x, "dtype", None)
    return dtype.kind in "fc" if dtype is not None else isinstance(x, float | complex)


def value(x: Any) -> Any:
    """The number or array a node holds, read on purpose: no derivative flows through it. Maps over pytrees.

    Arrays come back read-only. Raises TraceError for symbolic nodes.

    >>> import fad
    >>> fad.grad(lambda x: x * fad.value(x))(3.0)
    np.float64(3.0)
    """

    def read(x: Any) -> Any:
        x = concrete(x, "fad.value(x)")
        if isinstance(x, np.ndarray) and x.flags.writeable:
            x = x.view()
            x.flags.writeable = False
        return x

    return tree.map(read, x)


class Trace:
    """One call of a function with fresh Vars for the leaves of its arguments.

    ``inputs`` are the Vars in order; ``live`` turns false when a plain transformation is done: a node of it that
    turns up in another trace has escaped, and can be named. Where the derivative became part of an enclosing trace, the
    Vars of this one stay in that tree, as the constants they hold.
    """

    __slots__ = ("kind", "function", "live", "inputs", "start")

    def __init__(self, kind: str, function: Callable | None = None):
        self.kind, self.function = kind, function
        self.live = True
        self.inputs: list[Var] = []
        self.start: int | None = None

    def __repr__(self) -> str:
        code = getattr(inspect.unwrap(self.function), "__code__", None) if self.function else None
        at = f" of {code.co_name} ({os.path.basename(code.co_filename)}:{code.co_firstlineno})" if code else ""
        return self.kind + at

    def var(self, leaf: Any, name: str = "x") -> Var:
        """A fresh concrete Var for an argument, an alias of it where it is a node."""
        if isinstance(leaf, Expr):
            var = Var(name, leaf.shape, leaf.dtype, leaf.value, alias, (leaf,), self)
        else:
            var = Var(name, leaf.shape, leaf.dtype, leaf, origin=self)
        return self._keep(var)

    def symbol(self, shape: tuple, dtype: Any, name: str = "x", weak: type | None = None) -> Var:
        """A fresh Var without a value; ``weak`` is the Python type where it stands for a number."""
        return self._keep(Var(name, tuple(shape), np.dtype(dtype), origin=self, weak=weak))

    def _keep(self, var: Var) -> Var:
        if self.start is None:
            self.start = var.id
        self.inputs.append(var)
        return var

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """The function's result. What NumPy and Python hide of an error that a node raised is told in full here."""
        assert self.function is not None
        if "scipy" in sys.modules:
            FUNCTIONS["SciPy's functions"]()
        try:
            result = traceable(self.function)(*args, **kwargs)
        except ArrayWantedError as error:
            result = self._call_with_nodes(error, args, kwargs)
        except (TypeError, ValueError, IndexError) as error:
            told = _told(error)
            if told is None:
                raise
            raise told from None
        if not isinstance(result, Expr) and any(map(_holds_nodes, tree.leaves(result))):
            result = tree.map(lambda x: constant(x) if _holds_nodes(x) else x, result)
        return result

    def _call_with_nodes(self, error: Exception, args: tuple, kwargs: dict) -> Any:
        """The result where arrays that the function captured are nodes too, which a symbol can index."""
        assert self.function is not None
        forget(self.start or 0)
        try:
            return with_nodes(self.function)(*args, **kwargs)
        except (TypeError, ValueError, IndexError):
            raise error from None

    def between(self, y: Expr) -> list[Expr]:
        """The nodes made since this trace began on which y depends, its inputs among them, in creation order."""
        return reachable([y], self.start or 0)[0]

    def graph(self, outputs: list) -> Graph:
        """What lies between the inputs and these outputs."""
        if not self.inputs:
            return Graph([], set(), True, set())
        active = {var.id for var in self.inputs}
        nodes, outer = reachable(outputs, self.start or 0, stop=active)
        found, chosen = [], 0
        for node in nodes:
            if node.id in active:
                continue
            for a in node.args:
                if isinstance(a, Expr) and a.id in active:
                    if node.dtype.kind in "fcT":
                        active.add(node.id)
                        found.append(node)
                        chosen |= chooses(node) if node.op.functions else node.op.chooses
                    break
        if outer:
            check_alive(outer, self)
        plain = not outer and not any(var.args for var in self.inputs)
        return Graph(found, active, plain, _guarded(found, chosen) if chosen else set())


def _holds_nodes(x: Any) -> bool:
    """Whether x is an array of objects, which is what np.array([x, y]) makes of nodes."""
    return type(x) is np.ndarray and x.dtype.kind == "O"


def _told(error: Exception) -> FadError | None:
    """The error of NumPy that hides what became of a node, in full."""
    where = user_line(error.__traceback__)
    if isinstance(error, ValueError) and isinstance(error.__cause__, TraceError):
        return AssignmentError(
            "a node was assigned into an ndarray",
            got="array[i] = node",
            rule="that would cut its derivative",
            where=where,
            fix="array = fad.at(array)[i].set(node) (also .add, .multiply, .min, .max), or np.stack([...]) of the parts",
        )
    if isinstance(error, TypeError) and not isinstance(error, FadError) and _OF_OBJECTS.search(str(error)):
        return TraceError(
            "np.array([x, y]) of nodes has no such function",
            got=str(error),
            where=where,
            rule="NumPy makes an array of objects of them, for which it has few functions",
            fix="from fad import numpy as np, whose np.array makes a node of nodes; or np.stack([x, y])",
        )
    if isinstance(error, IndexError) and not isinstance(error, FadError) and "valid indices" in str(error):
        return TraceError(
            "an ndarray indexed by what is no integer",
            got=_nodes_in(error.__traceback__) or error,
            where=where,
            rule="indices are integers, slices, masks, None or '...'",
            fix="i.astype(int), or fad.value(i) to read a number on purpose",
        )
    return None


def _nodes_in(traceback: TracebackType | None) -> str:
    """The nodes that are local variables where an error was raised."""
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return ", ".join(short(x) for x in traceback.tb_frame.f_locals.values() if isinstance(x, Expr)) if traceback else ""


_OF_OBJECTS = re.compile(r"dtype\('O'\)|not supported for the input types|of type Expr|of type Var")


class Graph:
    """What lies between a trace's inputs and outputs.

    ``nodes`` are the float nodes in creation order, ``active`` the ids of these and the inputs. ``plain`` says that rules
    run on the nodes' values, as arrays; they do not where the trace touches nodes of an enclosing trace, through an
    argument or a closure: then the derivative belongs to that trace. ``guarded`` are the ids of the nodes before or
    behind a selection, where both modes multiply with strong zeros.
    """

    __slots__ = ("nodes", "active", "plain", "guarded")

    def __init__(self, nodes: list[Expr], active: set[int], plain: bool, guarded: set[int]):
        self.nodes, self.active, self.plain, self.guarded = nodes, active, plain, guarded

    def copy(self) -> Graph:
        """A graph that a sweep may consume."""
        return Graph(list(self.nodes), self.active, self.plain, self.guarded)


def _guarded(nodes: list[Expr], chosen: int) -> set[int]:
    """The ids of the nodes before what leaves elements out, and behind what puts others in their place.

    A function that has reached its limit where an exponential overflowed, as 1 / (1 + exp(1000)) has, leaves its argument out.
    """
    behind: set[int] = set()
    large: set[int] = set()  # nodes that are infinite where an exponential overflows
    for node in nodes if chosen & 2 else ():
        op = node.op
        if (
            op.selects
            or (op.functions and chooses(node) & 2)
            or (large and op.saturates and _meets([node.args[i] for i in op.saturates], large))
        ):
            behind.add(node.id)
        if op.overflows or (large and _meets(node.args, large)):
            large.add(node.id)
    before: set[int] = set()
    for node in reversed(nodes):
        if node.op.drops or (node.op.functions and chooses(node)) or node.id in behind or node.id in before:
            before.add(node.id)
            for a in node.args:
                if isinstance(a, Expr):
                    before.add(a.id)
    if not behind:
        return before
    for node in nodes:
        if _meets(node.args, behind):
            behind.add(node.id)
    return before | behind


def _meets(args: Any, ids: set[int]) -> bool:
    for a in args:
        if isinstance(a, Expr) and a.id in ids:
            return True
    return False


def check_alive(outer: list[Expr], trace: Trace) -> None:
    """Raise where a node comes from a trace that has ended."""
    for node in reachable(outer)[0]:
        if isinstance(node, Var) and not node.args and node.origin is not None and not node.origin.live:
            raise TraceError(
                f"{trace!r} met a node from another trace",
                got=short(node),
                rule=f"{node.origin!r}, which made it, has ended, so its derivative is gone",
                fix="return the value from the function instead of storing it, or keep fad.value(x)",
            )


def differentiable(leaf: Any, what: str, path: str = "") -> Any:
    """A leaf as something to differentiate by: Python numbers become float64 or complex128; others must be float."""
    kind = type(leaf)
    if kind is float or kind is int:
        return np.float64(leaf)
    if kind is complex:
        return np.complex128(leaf)
    if type(leaf) is Var and leaf.weak in (int, float, complex):  # as the number itself above
        return convert(leaf, dtype=np.dtype(complex if leaf.weak is complex else float))
    if is_float(leaf) and isinstance(leaf, Expr | np.ndarray | np.generic):
        return leaf if kind is np.ndarray else refuse_foreign(leaf)
    raise DtypeError(
        f"{what}: the argument{path} cannot be differentiated",
        got=short(leaf),
        rule="derivatives are taken by floats, complex numbers and arrays of them",
        fix="pass x.astype(float), or do not differentiate by it"
        if _dtype_kind(leaf) in ("i", "u", "b")
        else "pass 1.0 or 0.0"
        if kind is bool
        else "pass an array of floats, e.g. np.asarray(x, float)",
    )


def passive(leaf: Any) -> bool:
    """Whether a leaf inside a container is passed on and not differentiated by: integer arrays and booleans."""
    if type(leaf) is Var and leaf.weak is not None:
        return leaf.weak is bool
    return type(leaf) is bool or _dtype_kind(leaf) in ("i", "u", "b")


def _dtype_kind(x: Any) -> str:
    return getattr(getattr(x, "dtype", None), "kind", "")
