"""Callbacks: the steps of a program that NumPy computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fad.compile.plan import Plan
from fad.compile.storage import memory_of
from fad.core.expr import Const, Expr, Var, explained
from fad.errors import FadError

__all__ = ["call_numpy"]


def call_numpy(node: Expr, plan: Plan) -> Callable:
    """A step that evaluates a primitive with NumPy."""
    op, params, place = node.op, node.params, plan.objects[node.id]
    fetch = [find_argument(a, plan) for a in node.args]

    def run(objects: list, arena: Any) -> None:
        args = [f(objects, arena) for f in fetch]
        try:
            with np.errstate(all="ignore"):
                y = op.evaluate(*args, **params)
                if type(y) is tuple:  # of several results, which other callbacks read
                    objects[place] = y
                    return
                y = np.ascontiguousarray(y, node.dtype)
        except (TypeError, ValueError, IndexError) as error:
            raise error if isinstance(error, FadError) else explained(error, f"{op.name}: {error}", tuple(args)) from None
        if any(isinstance(a, np.ndarray) and np.may_share_memory(a, y) for a in parts_of(args)):  # a view of what is not its own
            y = y.copy()
        objects[place] = y.reshape(node.shape)

    return run


def parts_of(args: list) -> list:
    """The arguments, each of several results as one."""
    return [part for a in args for part in (a if type(a) is tuple else (a,))]


def find_argument(x: Any, plan: Plan) -> Callable:
    """How a callback finds an argument: in memory, through views."""
    if not isinstance(x, Expr):
        return lambda objects, arena: x
    memory, views = memory_of(plan.parts, x)
    base = plan.parts.alias.get(memory.id, memory)
    shape, dtype = memory.shape, memory.dtype
    if memory.dtype.kind == "T":
        place = plan.objects[base.id]
        return lambda objects, arena: objects[place]
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
