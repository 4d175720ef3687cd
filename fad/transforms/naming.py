"""Intermediate values under a name: `named` marks one, `collect` reads it out of a function, `inject` replaces it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fad import tree
from fad.core.expr import WATCHING, Expr, Var, aval_text, constant, reachable, short
from fad.core.owned import own
from fad.errors import DtypeError, NameMissingError, ShapeError, TreeError
from fad.primitives import naming
from fad.primitives.naming import Scope, scopes
from fad.transforms.trace import Trace
from fad.transforms.transformed import Transformed, name_of, transformation

__all__ = ["collect", "inject", "named"]


def named(x: Any, name: str) -> Any:
    """x itself, under a name for `collect` and `inject`: named(x) = x, with derivative 1.

    Args:
        x: array or number; of a container name the parts.
        name: a str. It may be given to several values.
    Returns: an array equal to x. In compiled code it costs nothing.
    Raises: DtypeError for a name that is no str, TreeError for a container.

    >>> f = lambda x: np.sum(named(np.sin(x), "latent") ** 2)
    >>> collect(f, "latent")(np.zeros(2))
    (np.float64(0.0), {'latent': array([0., 0.])})
    """
    if not isinstance(name, str):
        raise DtypeError("named: the name comes second", got=short(name), rule="named(x, name)", fix='fad.named(x, "latent")')
    if isinstance(x, Expr | np.ndarray | np.generic | float | int | complex):
        return naming.named(x if isinstance(x, Expr) else np.array(x)[()], name=name)
    if not isinstance(x, list) and tree.structure(x).is_leaf():
        return naming.named(np.array(constant(x))[()], name=name)
    raise TreeError(
        f"named: {name!r} is no array", got=short(x), rule="a name belongs to one array", fix="name its parts, or np.stack them"
    )


@transformation
def collect(f: Callable, names: str | tuple | None = None) -> Callable:
    """f with the values that it names: collect(f)(x) = (f(x), {name: value}).

    Args:
        f: function in which `named` marks values.
        names: a name or a tuple of names; None for all that f gives.
    Returns: a function giving (f's result, dict). A name that is given once has the value in the dict, a name given several
        times the tuple of the values in the order in which they are computed. Of a value within ``vmap`` it is the batch,
        its axis in front; there, only what some result depends on is computed and met.
    Raises: NameMissingError for a name that f does not give.

    >>> f = lambda x: named(named(2 * x, "y") + 1, "y")
    >>> collect(f, "y")(np.array([1.0]))
    (array([3.]), {'y': (array([2.]), array([3.]))})
    """
    wanted = None if names is None else _names(names)

    def collected(*args: Any, **kwargs: Any) -> tuple:
        scope = Scope()
        y = _within(scope, f, args, kwargs)
        values: dict[str, list] = {} if wanted is None else {name: [] for name in wanted}
        for name, value, _ in scope.met:
            if wanted is None or name in values:
                values.setdefault(name, []).append(_read(value, scope))
        _check_met("collect", f, [name for name, found in values.items() if not found], scope)
        return y, {name: own(found)[0] if len(found) == 1 else tuple(own(found)) for name, found in values.items()}

    return collected


def inject(f: Callable, values: dict[str, Any]) -> Callable:
    """f with other values in the place of those that it names: what follows is computed from them.

    Args:
        f: function in which `named` marks values. A jitted function is run by NumPy: jit what calls ``inject``.
        values: for each name the array, of the shape of the value that it replaces, or a tuple of arrays for a name that is
            given several times, in the order in which they are computed: what `collect` gives. Arrays may be nodes, so
            ``grad(lambda z: inject(f, {"latent": z})(x))`` is the gradient by an intermediate value.
    Returns: a function of f's arguments. Where injections are nested, the innermost decides.
    Raises: NameMissingError for a name that f does not give, or gives more or fewer times than there are values, ShapeError
        and DtypeError for an array that does not fit.

    >>> f = lambda x: np.sum(named(np.sin(x), "latent") ** 2)
    >>> inject(f, {"latent": np.ones(2)})(np.zeros(2))
    np.float64(2.0)
    >>> fad.grad(lambda z: inject(f, {"latent": z})(np.zeros(2)))(np.ones(2))
    array([2., 2.])
    """
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise DtypeError("inject: no values by name", got=short(values), rule="a dict from names to arrays", fix='{"latent": z}')

    def injected(*args: Any, **kwargs: Any) -> Any:
        scope = Injection(values)
        y = _within(scope, f, args, kwargs)
        _check_met("inject", f, [name for name in values if not scope.count(name)], scope)
        for name, value in values.items():
            if isinstance(value, tuple) and len(value) != scope.count(name):
                _refuse_count(name, f, value, scope.count(name))
        return y

    return Transformed(injected, inject, f, values)


class Injection(Scope):
    """A scope that replaces values."""

    def __init__(self, values: dict[str, Any]):
        super().__init__()
        self.values = values

    def count(self, name: str) -> int:
        """How many values of this name were met."""
        return sum(entry[0] == name for entry in self.met)

    def replaced(self, name: str, x: Any) -> tuple:
        """(value,) to put in the place of x; () where there is none."""
        if name not in self.values:
            return ()
        value, count = self.values[name], self.count(name)
        if not isinstance(value, tuple):
            if count:
                _refuse_count(name, None, (value,), count + 1)
            value = (value,)
        return (_fitting(value[count], name, x),) if count < len(value) else ()


def _within(scope: Scope, f: Callable, args: tuple, kwargs: dict) -> Any:
    """f's result, while the scope is open."""
    opened = Trace("naming", f)
    opened.start = scope.start
    token = scopes.set((*scopes.get(), scope))
    WATCHING.append(None)
    try:
        return opened.call(*args, **kwargs)
    finally:
        WATCHING.pop()
        scopes.reset(token)


def _read(value: Any, scope: Scope) -> Any:
    """A value for the caller: a node where it belongs to a trace around the scope, an array otherwise."""
    if not isinstance(value, Expr) or value.value is None:
        return value
    older = reachable([value], scope.start)[1]
    return value if any(x.op is not None or isinstance(x, Var) for x in older) else value.value


def _names(names: Any) -> tuple[str, ...]:
    found = (names,) if isinstance(names, str) else tuple(names) if isinstance(names, tuple | list) else ()
    if found and all(isinstance(name, str) for name in found):
        return found
    raise DtypeError("collect: no names", got=short(names), rule="a str, or a tuple of them", fix='fad.collect(f, "latent")')


def _check_met(what: str, f: Callable, missing: list[str], scope: Scope) -> None:
    if missing:
        met = ", ".join(dict.fromkeys([repr(name) for name, _, _ in scope.met]))
        raise NameMissingError(
            f"{what}: {name_of(f)} names no such value",
            got=", ".join(map(repr, missing)),
            rule=f"the names it gives are {met}" if met else "it gives no names",
            fix='fad.named(x, "latent") gives one to the value x; what vmap maps over is met where a result depends on it',
        )


def _refuse_count(name: str, f: Callable | None, values: tuple, count: int) -> None:
    raise NameMissingError(
        "inject: another number of values than the function names",
        got=f"{len(values)} for {name!r}, which is given {'a second time' if f is None else f'{count} times'}",
        rule="a name that is given several times takes a tuple of values, in the order in which they are computed",
        fix="take the tuple that fad.collect gives, or give the values names of their own",
    )


def _fitting(value: Any, name: str, x: Any) -> Any:
    """A value of the shape and dtype of the one it replaces."""
    value = value if isinstance(value, Expr) else np.asarray(value)
    shape, dtype = np.shape(x), np.dtype(getattr(x, "dtype", type(x)))
    if value.shape != shape:
        raise ShapeError(
            f"inject: a value of another shape for {name!r}",
            got=f"{short(value)} for {aval_text(shape, dtype)}",
            rule="it takes the place of an array of one shape",
            fix="np.broadcast_to(z, shape)",
        )
    if value.dtype.kind not in "fiubc" or not np.can_cast(value.dtype, dtype, "same_kind"):
        raise DtypeError(
            f"inject: a value of another kind for {name!r}",
            got=f"{short(value)} for {aval_text(shape, dtype)}",
            rule="it takes the place of an array of one dtype",
            fix=f"z.astype(np.{dtype})",
        )
    return value if value.dtype == dtype else value.astype(dtype)
