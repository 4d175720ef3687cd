"""Implicit functions: solutions of linear equations, roots and fixed points, whose derivatives need none of the solver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fad import tree
from fad.control.call import Rule, call
from fad.control.closing import Closed, close, leaf
from fad.control.functions import fresh
from fad.control.loops import while_loop
from fad.core import options
from fad.core.expr import Expr, aval_text, short
from fad.core.function import Function
from fad.errors import ShapeError, TreeError
from fad.primitives.result import results_of
from fad.transforms.batch import vmap
from fad.transforms.derivatives import jvp, stop_gradient, vjp

__all__ = ["custom_fixed_point", "custom_linear_solve", "custom_root"]


def custom_linear_solve(
    matvec: Callable, b: Any, solve: Callable | None = None, transpose_solve: Callable | None = None, symmetric: bool = False
) -> Any:
    """x with matvec(x) = b: A dx = db - dA x, and the cotangent of b solves the transposed equation.

    Args:
        matvec: linear function of a pytree like b, which gives one like b; what it closes over is differentiated.
        b: pytree of arrays.
        solve: ``solve(matvec, b)`` gives x, by any method; fad does not differentiate it. By default the matrix is written out.
        transpose_solve: the same for the transposed matvec, in reverse mode; by default ``solve``.
        symmetric: whether the matrix is symmetric, so that matvec is its own transpose.
    Raises: TreeError, ShapeError where matvec does not give what is like b.

    >>> a = np.array([[2.0, 1.0], [1.0, 3.0]])
    >>> custom_linear_solve(lambda x: a @ x, np.array([3.0, 4.0]))
    array([1., 1.])
    """
    what = "custom_linear_solve"
    options.function(f"{what}: matvec", matvec, f"{what}(lambda x: a @ x, b)", 1)
    solver, backward = solve or solve_dense, transpose_solve or solve or solve_dense
    leaves, structure = tree.flatten(b)
    leaves = [leaf(x, f"{what}: b") for x in leaves]
    closed = close_equation(what, matvec, leaves, structure)
    n = len(closed.captured)
    x = solution(what, solver(matvec, b), leaves, structure)

    def apply(args: list, v: list) -> list:
        return closed.function.run([*args[:n], *v])

    def again(args: list, rhs: list, forward: bool) -> list:
        """The solution of the equation, or of the transposed one, for another right side."""
        given = tree.unflatten(structure, rhs)
        f = lambda v: tree.unflatten(structure, apply(args, tree.leaves(v)))
        if not (forward or symmetric):
            zero = tree.unflatten(structure, [np.zeros(y.shape, y.dtype) for y in leaves])
            return tree.leaves(custom_linear_solve(lambda w: vjp(f, zero)[1](w)[0], given, backward, solver))
        return tree.leaves(custom_linear_solve(f, given, solver, backward, symmetric))

    def push(args: list, results: list, dots: list) -> list:
        changed = change_of(rule, lambda a: apply(a, results), args, dots[: len(rule.given) - len(leaves)])
        rhs = [d if c is None else d - c for d, c in zip(dots[len(dots) - len(leaves) :], changed, strict=True)]
        return again(args, rhs, forward=True)

    def pull(args: list, results: list, cts: list) -> list:
        bars = again(args, cts, forward=False)
        return [*cotangents_of(rule, lambda a: apply(a, results), args, [-v for v in bars], n), *bars]

    places = [k for k, c in enumerate(closed.captured) if c.dtype.kind in "fc"] + list(range(n, n + len(leaves)))
    rule = Rule(what, tuple(places), tuple(range(len(leaves))), push, pull, tuple(range(n + len(leaves), n + 2 * len(leaves))))
    return attach(closed.captured, leaves, x, rule, structure)


def custom_root(f: Callable, initial_guess: Any, solve: Callable, tangent_solve: Callable | None = None) -> Any:
    """x with f(x) = 0: dx = -(df/dx)^-1 df, by the implicit function theorem.

    Args:
        f: function of a pytree that gives one like it; what it closes over is differentiated.
        initial_guess: where the search begins; the root does not depend on it.
        solve: ``solve(f, initial_guess)`` gives the root, by any method; fad does not differentiate it.
        tangent_solve: ``tangent_solve(g, y)`` solves g(x) = y for the linear g that is the derivative of f, or its transpose; by
            default the matrix is written out.
    Raises: TreeError, ShapeError where f does not give what is like its argument.

    >>> import fad
    >>> def newton(f, x):
    ...     return fad.while_loop(lambda x: abs(f(x)) > 1e-12, lambda x: x - f(x) / fad.grad(f)(x), x)
    >>> root = lambda a: custom_root(lambda x: x * x - a, 1.0, newton)
    >>> root(4.0).round(6), fad.grad(root)(4.0).round(6)
    (np.float64(2.0), np.float64(0.25))
    """
    what = "custom_root"
    options.function(f"{what}: f", f, f"{what}(lambda x: x * x - a, 1.0, solve)", 1)
    options.function(f"{what}: solve", solve, f"{what}(f, x0, lambda f, x0: x)", 2)
    guesses, structure = tree.flatten(initial_guess)
    guesses = [as_floats(leaf(x, f"{what}: initial_guess")) for x in guesses]
    closed = close_equation(what, f, guesses, structure)
    n = len(closed.captured)
    x = solution(what, solve(f, stop_gradient(tree.unflatten(structure, guesses))), guesses, structure)

    def apply(args: list, v: list) -> list:
        return closed.function.run([*args[:n], *v])

    def push(args: list, results: list, dots: list) -> list:
        changed = change_of(rule, lambda a: apply(a, results), args, dots)
        point = tree.unflatten(structure, results)
        slope = lambda v: jvp(lambda x: tree.unflatten(structure, apply(args, tree.leaves(x))), (point,), (v,))[1]
        rhs = [np.zeros(y.shape, y.dtype) if c is None else -c for c, y in zip(changed, results, strict=True)]
        return tree.leaves(custom_linear_solve(slope, tree.unflatten(structure, rhs), tangent_solve, tangent_solve))

    def pull(args: list, results: list, cts: list) -> list:
        point = tree.unflatten(structure, results)
        back = vjp(lambda x: tree.unflatten(structure, apply(args, tree.leaves(x))), point)[1]
        given = tree.unflatten(structure, cts)
        bars = tree.leaves(custom_linear_solve(lambda w: back(w)[0], given, tangent_solve, tangent_solve))
        return cotangents_of(rule, lambda a: apply(a, results), args, [-v for v in bars], n)

    places = [k for k, c in enumerate(closed.captured) if c.dtype.kind in "fc"]
    rule = Rule(what, tuple(places), tuple(range(len(guesses))), push, pull, tuple(range(n, n + len(guesses))))
    return attach(closed.captured, [], x, rule, structure)


def custom_fixed_point(
    g: Callable, initial_guess: Any, solve: Callable | None = None, tangent_solve: Callable | None = None
) -> Any:
    """x with g(x) = x: dx = (1 - dg/dx)^-1 dg.

    Args:
        g: function of a pytree that gives one like it; what it closes over is differentiated.
        initial_guess: where the iteration begins.
        solve: ``solve(g, initial_guess)`` gives the fixed point; by default x = g(x) until it changes by less than 1e-12 of its
            largest element, and at most 10 000 times.
        tangent_solve: as for `custom_root`.

    >>> import fad
    >>> half = lambda a: custom_fixed_point(lambda x: 0.5 * (x + a / x), 1.0)
    >>> half(9.0), fad.grad(half)(9.0).round(6)
    (np.float64(3.0), np.float64(0.166667))
    """
    options.function("custom_fixed_point: g", g, "custom_fixed_point(lambda x: np.cos(a * x), 1.0)", 1)
    search = solve or iterate
    difference = lambda x: tree.map(np.subtract, g(x), x)
    return custom_root(difference, initial_guess, lambda _, x0: search(g, x0), tangent_solve)


# -- solvers -------------------------------------------------------------------------------------------------------------


def solve_dense(matvec: Callable, b: Any) -> Any:
    """The solution with the matrix written out, a column for each element."""
    leaves, structure = tree.flatten(b)
    sizes = [y.size for y in leaves]
    ends = np.cumsum([0, *sizes])
    total = int(ends[-1])
    dtype = np.result_type(*[y.dtype for y in leaves])

    def split(v: Any) -> Any:
        parts = [np.reshape(v[a:e], y.shape).astype(y.dtype) for a, e, y in zip(ends, ends[1:], leaves, strict=False)]
        return tree.unflatten(structure, parts)

    flat = lambda t: np.concatenate([np.reshape(y, -1) for y in tree.leaves(t)])
    rows = vmap(lambda v: flat(matvec(split(v))))(np.eye(total, dtype=dtype))
    return split(np.linalg.solve(np.swapaxes(rows, 0, 1), flat(b)))


TOLERANCE, STEPS = 1e-12, 10_000


def iterate(g: Callable, x: Any) -> Any:
    """The fixed point by iteration."""

    def change(state: tuple) -> Any:
        old, new, k = state
        pairs = list(zip(tree.leaves(old), tree.leaves(new), strict=True))
        size = sum([np.max(np.abs(b), initial=0.0) for _, b in pairs])
        return np.logical_and(sum([np.max(np.abs(b - a), initial=0.0) for a, b in pairs]) > TOLERANCE * size, k < STEPS)

    return while_loop(change, lambda s: (s[1], g(s[1]), s[2] + 1), (x, g(x), 0))[1]


# -- parts ---------------------------------------------------------------------------------------------------------------


def close_equation(what: str, f: Callable, leaves: list, structure: Any) -> Closed:
    """f as a closed Function, whose result is like its argument."""
    closed = close(what, f, leaves, tree.structure((tree.unflatten(structure, leaves),)), lambda y: y, len(leaves))
    outputs = closed.function.outputs
    if closed.out_tree != structure:
        raise TreeError(f"{what}: f gives another structure", got=closed.out_tree, rule=f"its argument is {structure}",
                        fix="return it in that structure")  # fmt: skip
    for x, y in zip(leaves, outputs, strict=True):
        if x.shape != y.shape:
            raise ShapeError(
                f"{what}: f gives another shape",
                got=aval_text(y.shape, y.dtype),
                rule=f"its argument is {aval_text(x.shape, x.dtype)}: there are as many equations as unknowns",
                fix="return an array of that shape",
            )
    return closed


def solution(what: str, x: Any, like: list, structure: Any) -> list:
    """The leaves of what a solver gives, without derivatives."""
    leaves, found = tree.flatten(stop_gradient(x))
    if found != structure:
        raise TreeError(f"{what}: solve gives another structure", got=found, rule=f"the unknown is {structure}",
                        fix="return it in that structure")  # fmt: skip
    leaves = [leaf(x, what) for x in leaves]
    for x, y in zip(leaves, like, strict=True):
        if x.shape != y.shape:
            raise ShapeError(f"{what}: solve gives another shape", got=short(x), rule=aval_text(y.shape, y.dtype),
                             fix="return an array of that shape")  # fmt: skip
    return [x if x.dtype == y.dtype else x.astype(y.dtype) for x, y in zip(leaves, like, strict=True)]


def as_floats(x: Any) -> Any:
    """Integers as floats: between two of them there may be a root."""
    return x if x.dtype.kind in "fc" else x.astype(float)


def attach(captured: list, given: list, x: list, rule: Rule, structure: Any) -> Any:
    """The solution, with the derivative that the rule says."""
    args = [*captured, *given, *x]
    if not any(isinstance(a, Expr) for a in args):
        return tree.unflatten(structure, x)
    inputs = fresh(args)
    body = Function(inputs, inputs[len(args) - len(x) :], name=rule.name)
    return tree.unflatten(structure, results_of(call(*args, body=body, rule=rule)))


def change_of(rule: Rule, f: Callable, args: list, dots: list) -> list:
    """The tangents of f for tangents of the first of the args that the rule is given; None where there is none."""
    places = rule.given[: len(dots)]
    if not places:
        return [None for _ in f(args)]
    moved = jvp(lambda *some: f(replaced(args, places, some)), tuple([args[k] for k in places]), tuple(dots))[1]
    return list(moved)


def cotangents_of(rule: Rule, f: Callable, args: list, bars: list, captured: int) -> list:
    """The cotangents of the captured args that the rule is given, from cotangents of the results of f."""
    places = [k for k in rule.given if k < captured]
    if not places:
        return []
    return list(vjp(lambda *some: f(replaced(args, places, some)), *[args[k] for k in places])[1](bars))


def replaced(args: list, places: Any, values: Any) -> list:
    """The args with others at some places."""
    made = list(args)
    for k, v in zip(places, values, strict=True):
        made[k] = v
    return made
