"""primitive: an operation of the user's own, which fad does not look into."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from fad.core import options
from fad.core.expr import aval_text, short
from fad.core.lowering import ByKind
from fad.core.primitive import Jvp, Partials, Primitive, registry
from fad.custom.derivatives import Custom
from fad.custom.kernel import native_form
from fad.errors import DtypeError, ShapeError, TraceError
from fad.primitives.families import Shaped, align, as_float, dtype_of, shape_of, structural
from fad.transforms.transformed import name_of

__all__ = ["primitive"]

USER = "the user"  # the source of records that are not fad's


def primitive(
    f: Callable | None = None,
    *,
    partials: tuple | None = None,
    shape: Callable | None = None,
    batch: Callable | None = None,
    kernel: Callable | None = None,
    name: str | None = None,
) -> Any:
    """f as an operation of its own: y = f(*arrays), evaluated by NumPy, SciPy or whatever f calls.

    Args:
        f: function of arrays that gives an array.
        partials: for f element by element: d f / d x of each argument, functions of (out, *args) or numbers; None where nobody
            knows it, which raises when it is asked for.
        shape: ``shape(*args)`` gives (shape, dtype) of the result from arguments that have a shape and a dtype; by default f goes
            element by element, broadcasts, and gives floats.
        batch: ``batch(size, args, batched)`` gives the results for all examples, along axis 0, of arguments that have this axis
            where ``batched`` says so; by default f is called for each example, or once where it goes element by element.
        kernel: its native form for compiled programs, a function of scalars that numba compiles; for f element by element.
            Without it a program calls f back.
        name: by default that of f.
    Returns: a `Primitive` if there are partials; otherwise a `Custom`, which takes a derivative rule: ``defjvp``, ``defjvps`` or
    ``defvjp``; without one its derivative raises TraceError.

    >>> import fad
    >>> from scipy import special
    >>> struve = primitive(special.struve, partials=(None, lambda y, v, x: struve(v - 1, x) - v / x * y))
    >>> fad.grad(lambda x: struve(1.0, x))(2.0).round(6)
    np.float64(0.467477)
    """
    if f is None:
        return lambda g: primitive(g, partials=partials, shape=shape, batch=batch, kernel=kernel, name=name)
    options.function("primitive: f", f, "fad.primitive(f)")
    own = free_name(name or name_of(f))
    if kernel is not None and shape is not None:
        raise TraceError(
            f"primitive({own}): a kernel with a shape rule",
            got=short(kernel),
            rule="a kernel goes element by element, and so does f",
            fix="leave out shape=, or kernel=",
        )
    abstract = of_shape(own, shape) if shape is not None else broadcast
    evaluate = checked(own, f, abstract)
    if partials is not None and shape is not None:
        raise TraceError(f"primitive({own}): partials with a shape rule", got=short(shape), rule="partials go element by element",
                         fix="a rule with defjvp or defvjp")  # fmt: skip
    derivative = Jvp(no_rule(own)) if partials is None else Partials(tuple([unknown(own) if r is None else r for r in partials]))
    rule = batch or (None if shape is not None else lambda size, args, batched: op(*align(size, args, batched)))
    op: Primitive = structural(
        own, evaluate, abstract, derivative, batch=rule, role="elementwise" if kernel is not None else "opaque",
        lower=None if kernel is None else ByKind(native_form(own, kernel)),
        flops=lambda out, *args: 10 * out.size,
        source=USER,
    )  # fmt: skip
    return op if partials is not None else Custom(_named(op, f), opaque=True)


def _named(op: Primitive, f: Callable) -> Callable:
    """The primitive as a function with the name of f."""

    def call(*args: Any) -> Any:
        return op(*args)

    call.__name__, call.__doc__ = op.name, f.__doc__
    return call


def free_name(name: str) -> str:
    """A name that no primitive has: the same one again is another operation."""
    return next(n for n in itertools.chain([name], (f"{name}.{k}" for k in itertools.count(2))) if n not in registry)


def broadcast(*args: Any) -> tuple:
    """The shape and dtype of an elementwise result."""
    return np.broadcast_shapes(*map(shape_of, args)), as_float(np.result_type(*map(dtype_of, args)))


def of_shape(name: str, shape: Callable) -> Callable:
    """The user's rule, checked."""

    def abstract(*args: Any) -> tuple:
        found = shape(*[Shaped(shape_of(a), dtype_of(a)) for a in args])
        found = (found.shape, found.dtype) if hasattr(found, "dtype") else found
        try:
            sizes, dtype = found
            return tuple(int(n) for n in sizes), np.dtype(dtype)
        except (TypeError, ValueError):
            raise DtypeError(f"{name}: its shape rule", got=short(found), rule="it gives (shape, dtype)",
                             fix="shape=lambda x: (x.shape, x.dtype)") from None  # fmt: skip

    return abstract


def checked(name: str, f: Callable, abstract: Callable) -> Callable:
    """f, whose result is as its shape rule says."""

    def evaluate(*args: Any) -> Any:
        y = np.asarray(f(*args))
        shape, dtype = abstract(*args)
        if y.shape != shape or not np.can_cast(y.dtype, dtype, "same_kind"):
            raise (ShapeError if y.shape != shape else DtypeError)(
                f"{name}: its result is not what its shape rule says",
                got=aval_text(y.shape, y.dtype),
                rule=aval_text(shape, dtype),
                fix="a rule with shape=lambda x: (shape, dtype) that fits",
            )
        return y.astype(dtype, copy=False)[()]

    return evaluate


def unknown(name: str) -> Callable:
    """The partial derivative that nobody knows."""
    return lambda out, *args: no_rule(name)({}, out, *args)


def no_rule(name: str) -> Callable:
    """The derivative of what has none."""

    def rule(tangents: dict, out: Any, *args: Any) -> Any:
        raise TraceError(
            f"{name}: no derivative rule",
            got="a tangent or cotangent",
            rule="fad does not look into it",
            fix="partials=(...), or defjvps(lambda t, out, x: ...), or defvjp(fwd, bwd)",
        )

    return rule
