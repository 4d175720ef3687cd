"""The Primitive record: everything fad knows of one operation, in one place.

A record has one derivative fact, of one of seven kinds, from which both modes follow:

* `Partials`: elementwise, one partial derivative per argument;
* `Weights`: a reduction that is, to first order, a weighted sum of its argument;
* `Linear`: linear in each argument by itself, with a transpose per argument;
* `Joint`: linear in all its arguments at once (concatenate);
* `LinearIn`: linear in one argument, through which the others act as well (solve);
* `Jvp`: any other tangent rule, whose vjp is found by transposing it;
* `ByMode`: a rule for each mode, for operations whose parameters hold Functions (loops, branches).

``None`` means that the derivative is zero everywhere it exists (comparisons, rounding, random bits).
Rules are written in plain NumPy, so they run on arrays and on nodes alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fad.core.expr import Expr, bind
from fad.core.lowering import ROLES
from fad.errors import TraceError

__all__ = [
    "Primitive",
    "Partials",
    "Weights",
    "Linear",
    "Joint",
    "LinearIn",
    "Jvp",
    "ByMode",
    "Kink",
    "LOADERS",
    "named",
    "registry",
]


@dataclass(frozen=True, slots=True)
class Partials:
    """Partial derivatives of an elementwise operation: ``rule(out, *args, **params)`` or a number, one per argument.

    ``ties(active, out, *args)`` gives the partials where they depend on which arguments are differentiated.
    """

    rules: tuple = ()
    ties: Callable | None = None


@dataclass(frozen=True, slots=True)
class Weights:
    """A reduction over ``axes``: d out = sum(weight * dx), with ``weight(out, x, axes)``; out has kept axes."""

    weight: Callable


@dataclass(frozen=True, slots=True)
class Linear:
    """Linear in each of the leading arguments: ``transpose[i](ct, *args, **params)`` is the cotangent of args[i].

    The tangent is the operation itself with args[i] replaced, or ``push[i](x_dot, *args, **params)``.
    """

    transpose: tuple
    push: tuple | None = None


@dataclass(frozen=True, slots=True)
class Joint:
    """Linear in all arguments together: ``push(tangents, *args, **params)`` with tangents a dict by position, and
    ``pull(ct, active, *args, **params)``, the cotangents of the arguments at the positions ``active``."""

    push: Callable
    pull: Callable


@dataclass(frozen=True, slots=True)
class LinearIn:
    """Linear in ``args[place]``, on which a small change of any other argument has an equal effect.

    The solution x of a x = b is linear in b, and a + da changes it as b - da x does: so the tangent is the operation
    itself on ``b_dot + rule(tangents of the others, out, *args, **params)``, and ``pull(ct, *args, **params)``, the
    cotangent of ``args[place]``, is all that those of the others are made from. Each mode solves once.
    """

    place: int
    pull: Callable
    rule: Callable


@dataclass(frozen=True, slots=True)
class Jvp:
    """``rule(tangents, out, *args, **params)`` with tangents a dict from argument position to tangent."""

    rule: Callable


@dataclass(frozen=True, slots=True)
class ByMode:
    """``push(tangents, guarded, out, *args, **params)`` with tangents a dict by position, and
    ``pull(ct, active, guarded, out, *args, **params)``, the cotangents of the arguments at the positions ``active``.

    Tangents and cotangents of a node with several results are dicts from the index of a result to an array."""

    push: Callable
    pull: Callable


@dataclass(frozen=True, slots=True)
class Kink:
    """A point without a derivative, and the element of the subdifferential that fad takes there."""

    at: str
    value: str
    why: str = "least norm"


@dataclass(frozen=True, slots=True, eq=False)
class Primitive:
    """One operation.

    Fields: ``evaluate(*arrays, **params)`` is the NumPy meaning; ``abstract(*avals, **params)`` gives
    (shape, dtype); ``derivative`` the one fact above; ``batch(size, args, batched, **params)`` maps over axis 0
    of the batched arguments; ``flops(out, *avals, **params)`` counts operations; ``sample(rng, shape, dtype)``
    draws ``(args, params)`` for the laws in tests/; ``keeps`` are the positions of the arguments whose values the
    derivative reads (None: all) and ``keeps_out`` whether it reads the result's: other arrays are freed early;
    ``kinks`` and ``source`` document it. ``real_only``: it takes no complex numbers.

    ``functions`` names the parameters that hold Functions, or tuples of them: the body of a loop, the branches of a switch.

    Its native form: ``role`` says what kind of operation it is for the compiler, ``lower`` holds what that kind needs
    (`fad.core.lowering`), and ``composite`` marks operations that are written with others: ``evaluate`` on nodes is the
    definition that is compiled.

    How exact ``evaluate`` is: ``adds`` marks sums whose order is free, ``rough`` is what a function of SciPy's or NumPy's may be
    off, in units in the last place of its largest result; the laws allow for both.

    ``selects`` marks operations that take some elements in place of others, and ``drops`` those that leave elements out:
    the zeros that they make in tangents and cotangents, or in cotangents alone, are structural, and 0 times anything
    stays 0 on a path through them. So does a function at its limit leave out an argument that overflowed: ``overflows``
    marks functions that grow exponentially, ``saturates`` are the arguments in which a function has a limit at infinity.
    """

    name: str
    evaluate: Callable
    abstract: Callable
    derivative: Partials | Weights | Linear | Joint | LinearIn | Jvp | ByMode | None
    batch: Callable
    flops: Callable
    sample: Callable | None = None
    selects: bool = False
    drops: bool = False
    overflows: bool = False
    saturates: tuple = ()
    functions: tuple[str, ...] = ()
    chooses: int = field(init=False)  # 1 if it drops, 2 if it selects or overflows
    keeps: tuple | None = None
    keeps_out: bool = True
    kinks: tuple[Kink, ...] = ()
    domains: tuple = ()
    source: str = ""
    real_only: bool = False
    role: str = "opaque"
    lower: Any = None  # ByKind, View, Mask or Fold, as the role has it
    composite: bool = False
    adds: bool = False
    rough: int = 0

    def __post_init__(self) -> None:
        if self.name in registry:
            raise ValueError(f"two primitives are called {self.name!r}")
        if self.role not in ROLES:
            raise ValueError(f"{self.name}: {self.role!r} is none of the roles {ROLES}")
        if isinstance(self.derivative, Linear | Joint):
            object.__setattr__(self, "keeps_out", False)  # a linear rule reads arguments only
        object.__setattr__(self, "chooses", self.drops + 2 * (self.selects or self.overflows))
        registry[self.name] = self

    def __call__(self, *args: Any, **params: Any) -> Any:
        for a in args:
            if isinstance(a, Expr):
                return bind(self, args, params)
        return self.evaluate(*args, **params)

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"

    def __reduce__(self) -> tuple:
        return named, (self.name,)


registry: dict[str, Primitive] = {}


LOADERS: list[Callable[[], None]] = []  # what else makes records, if it is asked: rooms above fill it


def named(name: str) -> Primitive:
    """The primitive of this name. Those that load at first use are loaded if it is none of the others: a pickled
    Function may hold them where nothing else has asked for them yet."""
    if name not in registry:
        for load in LOADERS:
            load()
    if name not in registry:
        raise TraceError(
            "no such primitive",
            got=repr(name),
            rule="a pickled Function holds its primitives by name",
            fix="import the module that makes this primitive before loading the pickle",
        )
    return registry[name]
