"""Functions of Functions: tangents, cotangents and batches of the body of a loop or a branch, as closed trees again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from fad.core.expr import Const, Expr, Var, constant, reachable
from fad.core.function import Function
from fad.transforms.batch import swept
from fad.transforms.forward import tangents_of
from fad.transforms.reverse import cotangents_of
from fad.transforms.trace import Graph, Trace

__all__ = ["Pulled", "activity", "batch_function", "fresh", "pull_function", "push_function", "rebuild", "zeros_like"]


def fresh(like: Sequence[Any], name: str = "") -> list[Var]:
    """New Vars of these shapes and dtypes."""
    return [Var(name or str(getattr(x, "name", "x")), x.shape, x.dtype) for x in like]


def zeros_like(x: Any) -> np.ndarray:
    """Zeros of the shape and dtype of a node."""
    return np.zeros(x.shape, x.dtype)


def rebuild(outputs: Sequence[Any], env: dict[int, Any], lift: Callable = lambda array: array) -> list:
    """The outputs with other nodes in place of those whose ids are in ``env``, which then holds all that was made on the way;
    ``lift(array)`` is what stands for an array of several elements."""

    def argument(a: Any) -> Any:
        if isinstance(a, Expr):
            return env[a.id]
        return lift(a) if isinstance(a, np.ndarray) and a.size > 1 else a

    for node in reachable(list(outputs), stop=set(env))[0]:
        if node.id in env:
            continue
        if isinstance(node, Var) and (node.args or node.value is None):
            env[node.id] = env[node.args[0].id] if node.args else node
        elif node.op is None or isinstance(node, Var):
            env[node.id] = lift(constant(node.value)) if node.size > 1 else constant(node.value)
        else:
            env[node.id] = Expr(node.op, tuple(map(argument, node.args)), node.params, node.shape, node.dtype, None)
    return [env[y.id] if isinstance(y, Expr) else y for y in outputs]


def activity(f: Function, active: tuple) -> tuple[bool, ...]:
    """Which outputs depend, through floats, on the inputs marked as active."""
    ids = {x.id for x, a in zip(f.inputs, active, strict=True) if a}
    found = set(ids)
    for node in reachable(list(f.outputs), stop={x.id for x in f.inputs})[0]:
        if node.id not in found and node.dtype.kind in "fcT":
            if any(isinstance(a, Expr) and a.id in found for a in node.args):
                found.add(node.id)
    return tuple([y.id in found for y in f.outputs])


def _opened(f: Function, active: tuple, guarded: bool) -> tuple[list, list, list, Graph]:
    """Symbols for the inputs, those of them that are active, the outputs, and the graph between the latter two."""
    rest, opened = Trace("loop"), Trace("loop")
    inputs: list[Any] = [None if a else rest.symbol(x.shape, x.dtype, x.name) for x, a in zip(f.inputs, active, strict=True)]
    inputs = [opened.symbol(x.shape, x.dtype, x.name) if s is None else s for s, x in zip(inputs, f.inputs, strict=True)]
    outputs = f.run(inputs)
    outputs = [y if isinstance(y, Expr) else Const(y) for y in outputs]
    graph = opened.graph(outputs)
    if guarded or graph.guarded:
        graph.guarded = graph.active  # what one iteration selects, another one has computed
    return inputs, opened.inputs, outputs, graph


@lru_cache(maxsize=256)
def push_function(f: Function, active: tuple, guarded: bool) -> tuple[Function, tuple[bool, ...]]:
    """(f's outputs, then their tangents) of (f's inputs, then tangents of the active ones); which outputs have tangents."""
    inputs, variables, outputs, graph = _opened(f, active, guarded)
    tangents = fresh(variables)
    dots = tangents_of(graph, variables, tangents, outputs)
    own = [d for d in dots if d is not None]
    return Function([*inputs, *tangents], [*outputs, *own], name=f.name), tuple([d is not None for d in dots])


@dataclass(frozen=True, eq=False)
class Pulled:
    """The cotangents ``bars`` of the inputs (None: zero) as nodes over ``inputs`` and ``cotangents``; and the outputs."""

    inputs: list
    outputs: list
    cotangents: list
    bars: list


def pull_function(f: Function, active: tuple, given: tuple, guarded: bool) -> Pulled:
    """Cotangents of the active inputs of f, from those of the outputs marked in ``given``."""
    inputs, variables, outputs, graph = _opened(f, active, guarded)
    cotangents = [Var("ct", y.shape, y.dtype) if g else None for y, g in zip(outputs, given, strict=True)]
    bars = iter(cotangents_of(graph, variables, list(outputs), cotangents))
    found = [next(bars) if a else None for a in active]
    return Pulled(inputs, outputs, cotangents, found)


@lru_cache(maxsize=256)
def batch_function(f: Function, size: int, batched: tuple, wanted: tuple) -> tuple[Function, tuple[bool, ...]]:
    """f with a leading axis on the inputs marked, and which outputs have one then, those ``wanted`` among them."""
    opened = Trace("loop")
    inputs = [opened.symbol(x.shape, x.dtype, x.name) for x in f.inputs]
    outputs = f.run(inputs)
    outputs = [y if isinstance(y, Expr) else Const(y) for y in outputs]
    columns = {x.id: Var(x.name, (size, *x.shape), x.dtype) for x, b in zip(inputs, batched, strict=True) if b}
    found = [
        (y if mapped or not want else np.broadcast_to(y, (size, *y.shape)), mapped or want)
        for (y, mapped), want in zip(swept(opened, outputs, dict(columns), size), wanted, strict=True)
    ]
    return Function([columns.get(x.id, x) for x in inputs], [y for y, _ in found], name=f.name), tuple([m for _, m in found])
