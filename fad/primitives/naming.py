"""named: the identity, under a name by which `fad.collect` reads a value and `fad.inject` puts another in its place.

Who asks is a scope, opened by these two for as long as their function runs. It hears of every named value that is computed: of
nodes as they are made, of the steps of a Function, of batches in vmap's sweep. It leaves out what lies on symbols of a trace that
began after it, as vmap's do, since these end with that trace: the batch comes by on its own.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import numpy as np

from fad.core.expr import Expr, Var, reachable, twin
from fad.core.primitive import Linear, Primitive

__all__ = ["Scope", "forget", "named", "scopes"]

scopes: ContextVar[tuple] = ContextVar("scopes", default=())  # those that are open, the innermost last


class Scope:
    """What `collect` and `inject` have in common: ``met`` holds (name, value, number) of the named values so far."""

    def __init__(self) -> None:
        self.start = _now()
        self.met: list[tuple[str, Any, int]] = []

    def hears(self, x: Any) -> bool:
        """Whether a value is one of this scope, and lies on no symbol of a trace within."""
        nodes = reachable([x], self.start)[0] if isinstance(x, Expr) else ()
        return not any(isinstance(node, Var) and not node.args and node.value is None for node in nodes)

    def replaced(self, name: str, x: Any) -> tuple:
        """(value,) to put in the place of x; () where there is none."""
        return ()

    def note(self, name: str, x: Any) -> None:
        """A named value was computed."""
        self.met.append((name, twin(x) if isinstance(x, Expr) else np.array(x)[()], _now()))


def forget(since: int) -> None:
    """A trace that began at this number begins anew: what it named does not count."""
    for scope in scopes.get():
        scope.met = [entry for entry in scope.met if entry[2] < since]


def _now() -> int:
    return Var("now", (), np.dtype(float)).id


class Named(Primitive):
    """The record of `named`, which tells the open scopes of every value."""

    __slots__ = ()

    def __call__(self, *args: Any, **params: Any) -> Any:
        heard = [scope for scope in scopes.get() if scope.hears(args[0])]
        for scope in reversed(heard):
            if found := scope.replaced(params["name"], args[0]):
                args = found
                break
        y = super().__call__(*args, **params)
        for scope in heard:
            scope.note(params["name"], y)
        return y


named: Named = Named(
    "named",
    lambda x, *, name: np.asarray(x)[()],
    lambda x, *, name: (x.shape, x.dtype),
    Linear((lambda ct, x, *, name: ct,), push=(lambda t, x, *, name: t,)),
    lambda size, args, batched, *, name: named(args[0], name=name),
    lambda out, x, *, name: 0,
    sample=lambda rng, shape, dtype: ((rng.normal(size=shape).astype(dtype),), {"name": "x"}),
    keeps=(),
    source="the identity",
)
