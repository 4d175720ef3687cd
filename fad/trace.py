"""Traces: from a call of a Python function to the nodes that depend on its arguments.

Every transformation opens a trace with fresh Vars, calls the function, and sweeps over what depends on them.
There is no global state: a Var made for a node is an alias of it, so trees nest and threads do not meet.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from fad import tree
from fad.errors import AssignmentError, DtypeError, TraceError, user_line
from fad.expr import Expr, Var, concrete, reachable, short
from fad.numba_source import traceable
from fad.primitive import Linear, Primitive, registry

__all__ = ["Trace", "value", "is_float"]

alias = Primitive(
    "alias", lambda x: x, lambda x: (x.shape, x.dtype), Linear((lambda ct, x: ct,), push=(lambda t, x: t,)),
    batch=lambda size, args, batched: args[0], flops=lambda out, x: 0,
    source="the argument of a transformation: a name for it that is new")


def is_float(x: Any) -> bool:
    """Whether a node, array or number is real or complex floating point."""
    dtype = getattr(x, "dtype", None)
    return dtype.kind in "fc" if dtype is not None else isinstance(x, float | complex)


def number_of(x: Any) -> type | None:
    """The Python type that a leaf is, or that a symbol stands for."""
    return x.weak if type(x) is Var else type(x)


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
        self.live, self.inputs, self.start = True, [], None

    def __repr__(self) -> str:
        code = getattr(inspect.unwrap(self.function) if self.function else None, "__code__", None)
        at = f" of {code.co_name} ({os.path.basename(code.co_filename)}:{code.co_firstlineno})" if code else ""
        return self.kind + at

    def var(self, leaf: Any, name: str = "x") -> Var:
        """A fresh concrete Var for an argument, an alias of it where it is a node."""
        if isinstance(leaf, Expr):
            var = Var(name, leaf.shape, leaf.dtype, leaf.value, alias, (leaf,), self)
        else:
            var = Var(name, leaf.shape, leaf.dtype, leaf, trace=self)
        return self._keep(var)

    def symbol(self, shape: tuple, dtype: Any, name: str = "x", weak: type | None = None) -> Var:
        """A fresh Var without a value; ``weak`` is the Python type where it stands for a number."""
        return self._keep(Var(name, tuple(shape), np.dtype(dtype), trace=self, weak=weak))

    def _keep(self, var: Var) -> Var:
        if self.start is None:
            self.start = var.id
        self.inputs.append(var)
        return var

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """The function's result. NumPy hides why ``array[i] = node`` fails; that error is told in full here."""
        try:
            return traceable(self.function)(*args, **kwargs)
        except ValueError as error:
            if not isinstance(error.__cause__, TraceError):
                raise
            raise AssignmentError("a node was assigned into an ndarray", got="array[i] = node",
                                  rule="that would cut its derivative", where=user_line(error.__traceback__),
                                  fix="array = fad.at(array)[i].set(node) (also .add, .multiply, .min, .max), or "
                                      "np.stack([...]) of the parts") from None

    def graph(self, outputs: list) -> Graph:
        """What lies between the inputs and these outputs."""
        if not self.inputs:
            return Graph([], set(), True)
        active = {var.id for var in self.inputs}
        nodes, outer = reachable(outputs, self.start, stop=active)
        found = []
        for node in nodes:
            if node.id in active:
                continue
            for a in node.args:
                if isinstance(a, Expr) and a.id in active:
                    if node.dtype.kind in "fc":
                        active.add(node.id)
                        found.append(node)
                    break
        if outer:
            check_alive(outer, self)
        return Graph(found, active, not outer and not any(var.args for var in self.inputs))


class Graph:
    """The float nodes between a trace's inputs and outputs in creation order, the ids of these and the inputs, and
    whether the derivative is ``plain``: then rules run on the nodes' values, as arrays. It is not where the trace
    touches nodes of an enclosing trace, through an argument or a closure: then the derivative belongs to that trace.
    """

    __slots__ = ("nodes", "active", "plain")

    def __init__(self, nodes: list[Expr], active: set[int], plain: bool):
        self.nodes, self.active, self.plain = nodes, active, plain

    def copy(self) -> Graph:
        """A graph that a sweep may consume."""
        return Graph(list(self.nodes), self.active, self.plain)


def check_alive(outer: list[Expr], trace: Trace) -> None:
    """Raise where a node comes from a trace that has ended."""
    for node in reachable(outer)[0]:
        if isinstance(node, Var) and not node.args and node.trace is not None and not node.trace.live:
            raise TraceError(f"{trace!r} met a node from another trace", got=short(node),
                             rule=f"{node.trace!r}, which made it, has ended, so its derivative is gone",
                             fix="return the value from the function instead of storing it, or keep fad.value(x)")


def differentiable(leaf: Any, what: str, path: str = "") -> Any:
    """A leaf as something to differentiate by: Python numbers become float64 or complex128; others must be float."""
    kind = type(leaf)
    if kind is float or kind is int:
        return np.float64(leaf)
    if kind is complex:
        return np.complex128(leaf)
    if type(leaf) is Var and leaf.weak in (int, float, complex):  # as the number itself above
        return registry["astype"](leaf, dtype=np.dtype(complex if leaf.weak is complex else float))
    if is_float(leaf) and isinstance(leaf, Expr | np.ndarray | np.generic):
        return leaf
    raise DtypeError(f"{what}: the argument{path} cannot be differentiated", got=short(leaf),
                     rule="derivatives are taken by floats, complex numbers and arrays of them",
                     fix="pass x.astype(float)" if getattr(leaf, "dtype", None) is not None and leaf.dtype.kind in "iub"
                     else "pass 1.0 or 0.0" if kind is bool else "pass an array of floats, e.g. np.asarray(x, float)")
