"""custom_jvp, custom_vjp: functions whose derivative the user writes; either rule serves both modes."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import numpy as np

from fad import tree
from fad.control.call import Rule, call
from fad.control.closing import Closed, close, leaf
from fad.core import options
from fad.core.expr import Expr, aval_text, short
from fad.errors import DtypeError, ShapeError, TraceError, TreeError
from fad.primitives.result import results_of
from fad.transforms.transformed import by_name, name_of

__all__ = ["Custom", "custom_jvp", "custom_vjp"]


def custom_jvp(f: Callable | None = None, *, nondiff_argnums: int | tuple = ()) -> Any:
    """f with a tangent rule of its own: d f(x)[v] is what the rule says, and reverse mode is its transpose.

    Args:
        f: function of arrays and pytrees, written with what fad knows (for what it does not know there is `fad.primitive`).
        nondiff_argnums: positions of arguments that are no arrays, such as functions; the rules take them first.
    Returns: a `Custom`; give it a rule with ``defjvp`` or ``defjvps``.

    >>> import fad
    >>> @custom_jvp
    ... def log1pexp(x):
    ...     return np.log1p(np.exp(x))
    >>> rule = log1pexp.defjvps(lambda t, out, x: t / (1 + np.exp(-x)))
    >>> fad.grad(log1pexp)(0.0)
    np.float64(0.5)
    """
    return _custom(f, nondiff_argnums, "custom_jvp")


def custom_vjp(f: Callable | None = None, *, nondiff_argnums: int | tuple = ()) -> Any:
    """f with a cotangent rule of its own: w -> w . f'(x) is what the rule says, and forward mode is its transpose.

    Args and result: as `custom_jvp`; give it a rule with ``defvjp``.

    >>> import fad
    >>> @custom_vjp
    ... def clipped(x):
    ...     return 1.0 * x
    >>> rule = clipped.defvjp(lambda x: (1.0 * x, None), lambda residuals, ct: (np.clip(ct, -1, 1),))
    >>> fad.grad(lambda x: 5 * clipped(x))(2.0)
    np.float64(1.0)
    """
    return _custom(f, nondiff_argnums, "custom_vjp")


def _custom(f: Callable | None, nondiff_argnums: int | tuple, what: str) -> Any:
    if f is None:
        return lambda g: _custom(g, nondiff_argnums, what)
    options.function(f"{what}: f", f, f"@fad.{what}")
    numbers = nondiff_argnums if isinstance(nondiff_argnums, tuple | list) else (nondiff_argnums,)
    return Custom(f, tuple([options.count(f"{what}: nondiff_argnums", n, 0) for n in numbers]))


_forward: ContextVar[frozenset] = ContextVar("forward", default=frozenset())  # the functions whose fwd is being traced


class Custom:
    """A function with derivative rules of its own."""

    __name__: str
    __wrapped__: Callable

    def __init__(self, f: Callable, nondiff_argnums: tuple[int, ...] = (), opaque: bool = False):
        self.f, self.nondiff_argnums, self.opaque = f, nondiff_argnums, opaque
        self.jvp: Callable | None = None
        self.fwd: Callable | None = None
        self.bwd: Callable | None = None
        functools.update_wrapper(self, f, updated=())
        self.__name__ = getattr(f, "__name__", None) or name_of(f)

    def defjvp(self, rule: Callable) -> Callable:
        """The tangent rule: ``rule(*nondiff, primals, tangents)`` gives (f(*primals), its tangent). Tangents have the structure of
        the primals, and are 0 where nothing depends on what is differentiated."""
        self.jvp = options.function(f"{self.__name__}.defjvp", rule, "f.defjvp(lambda primals, tangents: (out, out_dot))")
        return rule

    def defjvps(self, *rules: Callable | None) -> Custom:
        """A tangent rule for each argument: ``rule(tangent, out, *args)``, or None where the derivative is zero; their sum is the
        tangent of the result, which is one array."""

        def jvp(*args: Any) -> tuple:
            *static, primals, tangents = args
            out = self.f(*self.positions(tuple(static), primals))
            terms = [r(t, out, *primals) for r, t in zip(rules, tangents, strict=True) if r is not None]
            return out, functools.reduce(np.add, terms, np.zeros(np.shape(out)))

        self.jvp = jvp
        return self

    def defvjp(self, fwd: Callable, bwd: Callable) -> Custom:
        """The cotangent rule: ``fwd(*args)`` gives (f(*args), residuals), ``bwd(*nondiff, residuals, ct)`` the cotangents of the
        other arguments, a tuple; None for one that is zero."""
        self.fwd = options.function(f"{self.__name__}.defvjp: fwd", fwd, "f.defvjp(fwd, bwd)")
        self.bwd = options.function(f"{self.__name__}.defvjp: bwd", bwd, "f.defvjp(fwd, bwd)")
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        args = self._bound(args, kwargs)
        static = tuple([args[n] for n in self.nondiff_argnums])
        rest = tuple([a for k, a in enumerate(args) if k not in self.nondiff_argnums])
        leaves, in_tree = tree.flatten(rest)
        if not any(isinstance(x, Expr) for x in leaves):
            return self.f(*args)
        if self.jvp is None and self.bwd is None:
            if self.opaque:  # its derivative raises where it is asked for
                return self.f(*args)
            raise TraceError(
                f"{self.__name__}: it has no derivative rule",
                got="neither defjvp nor defvjp",
                rule="a function that is marked as having one has one before it is traced",
                fix=f"{self.__name__}.defjvps(lambda t, out, x: ...), or .defvjp(fwd, bwd)",
            )
        leaves = [leaf(x, self.__name__) for x in leaves]
        keeps = self.fwd is not None and self not in _forward.get()
        closed = close(self.__name__, lambda *r: self.first(self.positions(static, r), keeps), leaves, in_tree, one, 0)
        out_tree, _ = closed.out_tree.children()
        rule = _Flat(self, static, in_tree, closed, keeps).rule()
        found = results_of(call(*closed.captured, *leaves, body=closed.function, rule=rule))
        return tree.unflatten(out_tree, found[: out_tree.num_leaves])

    def first(self, args: tuple, keeps: bool) -> tuple:
        """The result, with residuals where it ``keeps`` them. That fwd calls the function itself is no endless descent."""
        if not keeps or self.fwd is None:
            return self.f(*args), None
        token = _forward.set(_forward.get() | {self})
        try:
            return pair(self.__name__, self.fwd(*args))
        finally:
            _forward.reset(token)

    def _bound(self, args: tuple, kwargs: dict) -> tuple:
        """All arguments by position."""
        if not kwargs:
            return args
        bound = inspect.signature(self.f).bind(*args, **kwargs)
        bound.apply_defaults()
        if bound.kwargs:
            raise TreeError(
                f"{self.__name__}: arguments that go by name only",
                got=", ".join(bound.kwargs),
                rule="derivative rules take arguments by position",
                fix="leave out the * in the signature",
            )
        return bound.args

    def positions(self, static: tuple, rest: tuple) -> tuple:
        """The arguments of f in order."""
        given, fixed = iter(rest), dict(zip(self.nondiff_argnums, static, strict=True))
        return tuple([fixed[k] if k in fixed else next(given) for k in range(len(static) + len(rest))])

    def __reduce__(self) -> Any:
        return by_name(self) or (_restored, (self.__wrapped__, self.nondiff_argnums, self.jvp, self.fwd, self.bwd))

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __repr__(self) -> str:
        return f"<{self.__name__} with derivative rules of its own>"


def _restored(f: Callable, nondiff_argnums: tuple, jvp: Any, fwd: Any, bwd: Any) -> Custom:
    made = Custom(f, nondiff_argnums)
    made.jvp, made.fwd, made.bwd = jvp, fwd, bwd
    return made


def one(y: Any) -> Any:
    """What is given, as it is."""
    return y


def pair(name: str, found: Any) -> tuple:
    """What fwd gives: the result and residuals."""
    if not isinstance(found, tuple) or len(found) != 2:
        raise TreeError(
            f"{name}: fwd gives no pair", got=short(found), rule="it gives the result and residuals", fix="return out, residuals"
        )
    return found


class _Flat:
    """The rules of one call on flat lists of arrays."""

    def __init__(self, custom: Custom, static: tuple, in_tree: Any, closed: Closed, keeps: bool):
        self.custom, self.static, self.in_tree, self.keeps = custom, static, in_tree, keeps
        self.inputs, self.results = closed.function.inputs, closed.function.outputs
        self.captured = len(closed.captured)
        self.out_tree, self.residual_tree = closed.out_tree.children()
        self.given = tuple([k for k, x in enumerate(self.inputs) if k >= self.captured and x.dtype.kind in "fc"])
        self.told = tuple([k for k, y in enumerate(self.results[: self.out_tree.num_leaves]) if y.dtype.kind in "fc"])

    def rule(self) -> Rule:
        """The rule of a call."""
        push, pull = self.push if self.custom.jvp else None, self.pull if self.custom.bwd else None
        return Rule(self.custom.__name__, self.given, self.told, push, pull)

    def push(self, args: list, results: list, dots: list) -> list:
        """The tangent rule."""
        assert self.custom.jvp is not None
        primals, moved = args[self.captured :], dict(zip(self.given, dots, strict=True))
        tangents = [moved.get(self.captured + k, np.zeros(x.shape)) for k, x in enumerate(self.inputs[self.captured :])]
        both = [tree.unflatten(self.in_tree, x) for x in (primals, tangents)]
        _, dot = pair(self.custom.__name__, self.custom.jvp(*self.static, *both))
        leaves = self.match("its tangent", dot, self.out_tree)
        return [as_like(self.custom.__name__, "its tangent", leaves[k], self.results[k]) for k in self.told]

    def pull(self, args: list, results: list, cts: list) -> list:
        """The cotangent rule."""
        assert self.custom.bwd is not None
        count, bars = self.out_tree.num_leaves, dict(zip(self.told, cts, strict=True))
        residuals = tree.unflatten(self.residual_tree, results[count:])
        if not self.keeps:
            primals = tree.unflatten(self.in_tree, args[self.captured :])
            _, residuals = self.custom.first(self.custom.positions(self.static, primals), keeps=True)
        ct = tree.unflatten(self.out_tree, [bars.get(k, np.zeros(y.shape)) for k, y in enumerate(self.results[:count])])
        leaves = self.cotangents_of_arguments(self.custom.bwd(*self.static, residuals, ct))
        return [as_like(self.custom.__name__, "a cotangent", leaves[k - self.captured], self.inputs[k]) for k in self.given]

    def cotangents_of_arguments(self, found: Any) -> list:
        """The leaves of what bwd gives, 0 where that is None."""
        arguments = self.in_tree.children()
        if not isinstance(found, tuple) or len(found) != len(arguments):
            raise TreeError(
                f"{self.custom.__name__}: bwd gives no cotangents",
                got=short(found),
                rule=f"it gives a tuple with one for each of the {len(arguments)} arguments",
                fix="return (ct_x,) for one argument; None in the place of one that is zero",
            )
        leaves: list[Any] = []
        for given, structure in zip(found, arguments, strict=True):
            leaves += [0] * structure.num_leaves if given is None else self.match("a cotangent", given, structure)
        return leaves

    def match(self, what: str, given: Any, structure: Any) -> list:
        """The leaves of a tangent or cotangent, which has the structure of its primal."""
        leaves, found = tree.flatten(given)
        if found != structure:
            raise TreeError(
                f"{self.custom.__name__}: {what} has another structure than its primal",
                got=found,
                rule=f"the primal is {structure}",
                fix="return it in that structure",
            )
        return leaves


def as_like(name: str, what: str, given: Any, like: Any) -> Any:
    """A tangent or cotangent in the dtype of its primal, whose shape it has."""
    value = given if isinstance(given, Expr) else np.asarray(given)
    if value.shape != like.shape and value.shape != ():
        raise ShapeError(
            f"{name}: {what} has another shape than its primal",
            got=aval_text(value.shape, value.dtype),
            rule=f"the primal is {aval_text(like.shape, like.dtype)}",
            fix="sum over the axes along which the primal was broadcast, or broadcast",
        )
    if value.shape != like.shape and type(given) not in (int, float):
        raise ShapeError(
            f"{name}: {what} is one number for an array",
            got=aval_text(value.shape, value.dtype),
            rule=f"the primal is {aval_text(like.shape, like.dtype)}",
            fix="np.broadcast_to(it, x.shape)",
        )
    if value.dtype.kind not in "fciub" or (value.dtype.kind == "c" and like.dtype.kind != "c"):
        raise DtypeError(f"{name}: {what} has another dtype than its primal", got=value.dtype, rule=f"the primal is {like.dtype}",
                         fix=f"{what}.astype(np.{like.dtype})")  # fmt: skip
    value = np.broadcast_to(value, like.shape) if value.shape != like.shape else value
    return value if value.dtype == like.dtype else value.astype(like.dtype)
