"""Transformations: thin compositions of a trace with a forward or a reverse sweep. All nest, to any order.

Arguments and results are pytrees. Keyword arguments are f's own: they are passed on, and not differentiated by. With ``has_aux``
f returns (y, aux), and aux comes last in the result. A transformation of a Function gives a Function.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import optree

from fad import tree
from fad.core.expr import Const, Expr, Var, former, reachable, short
from fad.core.function import Function
from fad.core.owned import own
from fad.errors import DtypeError, ShapeError, TreeError
from fad.primitives.elementwise import stop
from fad.primitives.families import shape_of
from fad.transforms.forward import tangents_of
from fad.transforms.reverse import cotangents_of
from fad.transforms.trace import Trace, differentiable, is_float, passive
from fad.transforms.transformed import Transformed, argument_names, name_of, recorded, transformation
from fad.transforms.wrt import chosen_leaves, patterns_in

__all__ = ["trace", "var", "jvp", "vjp", "linearize", "grad", "value_and_grad", "hvp", "stop_gradient"]

# -- trees from functions -----------------------------------------------------------------------------


def var(name: str, shape: tuple = (), dtype: Any = np.float64) -> Var:
    """A symbolic input to write a tree by hand with.

    >>> x = var("x", (3,))
    >>> Function([x], [np.sin(x) @ np.ones(3)])(np.zeros(3))
    np.float64(0.0)
    """
    if not isinstance(name, str):
        raise DtypeError("var: the name comes first", got=short(name), rule="var(name, shape, dtype)", fix='fad.var("x", (3,))')
    return Var(name, (shape,) if isinstance(shape, int) else tuple(shape), np.dtype(dtype))


def trace(f: Callable, concrete: bool = False) -> Callable:
    """``trace(f)(*args)`` is the Function that f computes for arguments of these shapes and dtypes.

    Args:
        f: function of arrays and pytrees.
        concrete: let nodes carry the values of the arguments, so that Python's ``if`` and ``while`` follow them;
            the Function then holds for arguments that take the same branches.
    Keyword arguments of the call are passed to f as they are: what they hold becomes part of the Function.
    Raises: TraceError where f asks a symbolic node for its value.

    >>> trace(lambda p: p["w"] * 2.0)({"w": np.ones(2)})
    <Function f(w:f64[2]) -> f64[2], 1 nodes>
    """

    def traced(*args: Any, **kwargs: Any) -> Function:
        return Function(*recorded(f, args, argument_names(f, args), concrete, kwargs))

    return Transformed(traced, trace, f, concrete)


# -- arguments and results -------------------------------------------------------------------------------


_LEAVES = (np.ndarray, float, Expr, int, np.generic, complex)


def positions_in(argnums: Any, what: str) -> tuple:
    """The positions to differentiate by, as a tuple of ints."""
    try:
        positions = tuple([operator.index(n) for n in (argnums if isinstance(argnums, tuple | list) else (argnums,))])
    except TypeError:
        positions = None
    if positions is None or isinstance(argnums, bool):
        raise DtypeError(
            f"{what}: argnums is no position",
            got=short(argnums),
            rule="an int, or a tuple of ints",
            fix="argnums=0 is the first argument",
        )
    return positions


def open_arguments(opened: Trace, args: tuple, positions: Any, wrt: tuple | None = None) -> tuple[list, Callable]:
    """The arguments with Vars at these positions, and a function from all their cotangents to one tree a position.

    ``wrt`` are patterns of the paths of the leaves that become Vars; None for all of them."""
    inner, closers, n = list(args), [], len(args)
    for k, p in enumerate(positions):
        if not -n <= p < n or (k and p % n in [q % n for q in positions[:k]]):
            raise ShapeError(
                f"{opened.kind}: an argument twice" if -n <= p < n else f"{opened.kind}: no such argument",
                got=f"argnums {p} with {n} positional arguments",
                rule="argnums counts positional arguments from 0, each once",
                fix="pass it by position, or change argnums",
            )
    chosen = None if wrt is None else chosen_leaves([args[p] for p in positions], wrt, opened.kind)
    for k, p in enumerate(positions):
        before = len(opened.inputs)
        inner[p], close = _open(opened, args[p], None if chosen is None else chosen[k])
        closers.append((close, before, len(opened.inputs)))
    return inner, lambda bars: tuple(close(bars[a:b]) for close, a, b in closers)


def _open(opened: Trace, arg: Any, chosen: set | None = None) -> tuple[Any, Callable]:
    """The argument with Vars in place of its float leaves, and a function from their cotangents to its structure.

    Python numbers become float64; integer arrays and booleans inside a container pass through and get None. So do
    leaves whose places are not among ``chosen``.
    """
    if chosen is None and (isinstance(arg, _LEAVES) or tree.structure(arg).is_leaf()):
        return opened.var(differentiable(arg, opened.kind)), lambda bars: bars[0]
    leaves, treedef = tree.flatten(arg)
    inner, places = list(leaves), []
    for k, leaf in enumerate(leaves):
        if passive(leaf) or (chosen is not None and k not in chosen):
            continue
        if not (is_float(leaf) or type(leaf) is int):
            differentiable(leaf, opened.kind, f" at {tree.paths(arg)[k]}")
        inner[k] = opened.var(differentiable(leaf, opened.kind))
        places.append(k)

    def close(bars: list) -> Any:
        closed: list = [None] * len(leaves)
        for k, bar in zip(places, bars, strict=True):
            closed[k] = bar
        return tree.unflatten(treedef, closed)

    return tree.unflatten(treedef, inner), close


def finish(results: list, plain: bool, inputs: Any = ()) -> list:
    """Results for the caller: arrays of its own at the outermost level, nodes inside another trace."""
    if plain:
        results = [y.value if isinstance(y, Expr) and y.value is not None else y for y in results]
    return own(results, inputs)


def returned(outputs: list) -> list:
    """What f returned, with copies of the arrays that it did not compute: they are f's, or the caller's already."""
    return [y.copy() if isinstance(y, np.ndarray) else y for y in outputs]


def split_aux(result: Any, has_aux: bool) -> tuple:
    """f's result as (y, aux)."""
    if not has_aux:
        return result, None
    if not isinstance(result, tuple) or len(result) != 2:
        raise TreeError("has_aux=True: the function must return (y, aux)", got=short(result), rule="a pair", fix="return y, aux")
    return result


def release(opened: Trace, aux: Any, plain: bool) -> Any:
    """aux for the caller: values in place of nodes, and no array that is an input."""
    leaves, treedef = tree.flatten(aux)
    nodes = [x for x in leaves if isinstance(x, Expr)]
    results = iter(finish(nodes, plain and opened.graph(nodes).plain, [x.value for x in opened.inputs]))
    return tree.unflatten(treedef, [next(results) if isinstance(x, Expr) else x for x in returned(leaves)])


def zeros(like: Any) -> Any:
    """The derivative where nothing flows."""
    return np.zeros(shape_of(like), getattr(like, "dtype", type(like)))[()]


# -- the two modes -----------------------------------------------------------------------------------------


def jvp(f: Callable, primals: tuple, tangents: tuple, has_aux: bool = False, **kwargs: Any) -> tuple:
    """Forward mode: (f(x), J(x) v), by dual numbers.

    Args:
        f: function of arrays and pytrees; with ``has_aux`` it returns (y, aux).
        primals: tuple of arguments.
        tangents: tuple of the same structure and shapes. None in place of an argument's tangent: f is not
            differentiated by that argument. Integer leaves inside a container have tangent None or 0.
    Returns: value and tangent, both of the structure of f's result, and aux; integer results have tangent None.
    Raises: TreeError or ShapeError where primals and tangents do not match, DtypeError for a tangent of integers.

    >>> jvp(np.sin, (0.0,), (2.0,))
    (np.float64(0.0), np.float64(2.0))
    """
    primals, tangents = _tuple(primals, "jvp: primals"), _tuple(tangents, "jvp: tangents")
    opened = Trace("jvp", f)
    positions = [k for k, t in enumerate(tangents[: len(primals)]) if t is not None]
    args, _ = open_arguments(opened, primals, positions)
    dots = _tangents(opened, primals, tangents)
    y, aux = split_aux(opened.call(*args, **kwargs), has_aux)
    outputs, out_tree = tree.flatten(y)
    graph = opened.graph(outputs)
    y_dots = tangents_of(graph, opened.inputs, dots, outputs)
    aux = release(opened, aux, graph.plain) if has_aux else None
    opened.live = not graph.plain
    y_dots = [t if t is not None else zeros(y) if is_float(y) else None for t, y in zip(y_dots, outputs, strict=True)]
    results = finish(returned(outputs) + [t for t in y_dots if t is not None], graph.plain, tree.leaves((primals, tangents)))
    rest = iter(results[len(outputs) :])
    value = tree.unflatten(out_tree, results[: len(outputs)])
    dot = tree.unflatten(out_tree, [None if t is None else next(rest) for t in y_dots])
    return (value, dot, aux) if has_aux else (value, dot)


def _tuple(x: Any, what: str) -> tuple:
    if not isinstance(x, tuple | list):
        raise TreeError(f"{what} must be a tuple", got=short(x), rule="one entry for each argument", fix="write (x,)")
    return tuple(x)


def _tangents(opened: Trace, primals: tuple, tangents: tuple) -> list:
    """The tangents of the Vars, checked against their primals."""
    moved: Any = tuple([None if t is None else x for x, t in zip(primals, tangents)]) + primals[len(tangents) :]
    a, a_def = optree.tree_flatten(moved, none_is_leaf=True, namespace="fad")
    given: Any = tangents
    b, b_def = optree.tree_flatten(given, none_is_leaf=True, namespace="fad")
    if a_def != b_def:
        raise TreeError(
            "jvp: primals and tangents differ in structure",
            got=f"{a_def} and {b_def}",
            rule="each primal needs a tangent",
            fix="build the tangents with fad.tree.map over the primals",
        )
    pairs = [(x, t) for x, t in zip(a, b, strict=True) if x is not None]
    for x, t in pairs:
        if passive(x) and t is not None and (isinstance(t, Expr) or np.any(np.not_equal(t, 0))):
            raise DtypeError(
                "jvp: a tangent of integers",
                got=f"{short(t)} for {short(x)}",
                rule="integers do not move: their tangent is None or 0",
                fix="pass the primal as floats, or None",
            )
    given = [t for x, t in pairs if not passive(x)]
    return [None if t is None else matching(t, x, "jvp: a tangent", "primal") for x, t in zip(opened.inputs, given, strict=True)]


def matching(t: Any, like: Any, what: str, other: str) -> Any:
    """A tangent or cotangent as an array of the shape and dtype of what it belongs to."""
    try:
        t = t if isinstance(t, Expr) else np.asarray(t)
    except ValueError:
        t = np.empty(0, object)
    shape, dtype = shape_of(like), np.dtype(getattr(like, "dtype", type(like)))
    if t.dtype.kind not in "fiubc" or (t.dtype.kind == "c" and dtype.kind == "f"):
        raise DtypeError(
            f"{what} of another kind than its {other}",
            got=f"{short(t)} for {short(like)}",
            rule=f"it is a number, and real where the {other} is",
            fix=f"pass its real part, or make the {other} complex",
        )
    if t.shape != shape:
        raise ShapeError(
            f"{what} has another shape than its {other}",
            got=f"{short(t)} for {short(like)}",
            rule=f"it has the shape of the {other}",
            fix="np.broadcast_to(v, x.shape)",
        )
    return t.astype(dtype) if dtype.kind in "fc" and t.dtype != dtype else t


def vjp(f: Callable, *primals: Any, has_aux: bool = False, **kwargs: Any) -> tuple:
    """Reverse mode: (f(x), pullback) with pullback(w) = w J(x), one cotangent for each argument.

    Args:
        f: function of arrays and pytrees; with ``has_aux`` it returns (y, aux).
        primals: its arguments, which must be floats; integer arrays inside a container get None.
    Returns: ``(y, pullback)``, or ``(y, pullback, aux)``. The pullback takes a cotangent of y's structure and gives a
        tuple with one entry an argument; it may be called many times.
    Raises: TreeError or ShapeError where a cotangent does not match y, DtypeError for an argument without a derivative.

    >>> y, pullback = vjp(np.multiply, 2.0, 3.0)
    >>> pullback(1.0)
    (np.float64(3.0), np.float64(2.0))
    """
    opened = Trace("vjp", f)
    primals = tree.map(lambda x: x.copy() if isinstance(x, np.ndarray) else x, primals)
    args, close = open_arguments(opened, primals, range(len(primals)))
    y, aux = split_aux(opened.call(*args, **kwargs), has_aux)
    outputs, out_tree = tree.flatten(y)
    graph = opened.graph(outputs)
    plain = graph.plain

    def pullback(ct: Any) -> Any:
        cts = _cotangents(ct, outputs, out_tree)
        bars = cotangents_of(graph.copy(), opened.inputs, list(outputs), cts)
        bars = [zeros(x) if bar is None else bar for x, bar in zip(opened.inputs, bars, strict=True)]
        return close(finish(bars, plain, tree.leaves(ct)))

    result = tree.unflatten(out_tree, finish(returned(outputs), plain, tree.leaves(primals)))
    return (result, pullback, release(opened, aux, plain)) if has_aux else (result, pullback)


def _cotangents(ct: Any, outputs: list, out_tree: Any) -> list:
    cts, ct_tree = tree.flatten(ct)
    if ct_tree != out_tree:
        raise TreeError(
            "pullback: the cotangent has another structure than the result",
            got=ct_tree,
            rule=f"the result is {out_tree}",
            fix="pass one cotangent for each result",
        )
    return [matching(t, y, "pullback: a cotangent", "result") for t, y in zip(cts, outputs, strict=True)]


def linearize(f: Callable, *primals: Any, has_aux: bool = False, **kwargs: Any) -> tuple:
    """(f(x), v -> J(x) v) with the second a linear Function: partial derivatives are computed once, at x.

    With ``has_aux`` f returns (y, aux), and the result is (y, linear, aux).

    >>> y, f_lin = linearize(np.square, 3.0)
    >>> f_lin(1.0)
    np.float64(6.0)
    """
    opened = Trace("linearize", f)
    args, close = open_arguments(opened, primals, range(len(primals)))
    y, aux = split_aux(opened.call(*args, **kwargs), has_aux)
    outputs, out_tree = tree.flatten(y)
    tangents = [var(f"{x.name}_dot", x.shape, x.dtype) for x in opened.inputs]
    graph = opened.graph(outputs)
    plain = graph.plain
    dots = tangents_of(graph, opened.inputs, tangents, outputs)
    dots = [t if t is not None else zeros(y) if is_float(y) else None for t, y in zip(dots, outputs, strict=True)]
    value = tree.unflatten(out_tree, finish(returned(outputs), plain, tree.leaves(primals)))
    in_tree = tree.structure(close(tangents))
    leaves, dot_tree = tree.flatten(tree.unflatten(out_tree, dots))
    linear = linear_function(f"linearize({name_of(f)})", tangents, leaves, in_tree, dot_tree, plain)
    return (value, linear, release(opened, aux, plain)) if has_aux else (value, linear)


def linear_function(name: str, tangents: list, dots: list, in_tree: Any, out_tree: Any, plain: bool) -> Callable:
    """The linear tree from ``tangents`` to ``dots`` as a Function, or in place where it holds nodes of an enclosing trace."""
    if plain:
        return Function(tangents, dots, in_tree, out_tree, name)

    def apply(*args: Any) -> Any:  # the partials are nodes of an enclosing trace: sweep the tree in place
        leaves, tree_def = tree.flatten(args)
        if tree_def != in_tree:
            raise TreeError(
                f"{name}: arguments of another structure",
                got=tree_def,
                rule=f"it takes {in_tree}",
                fix="pass one array for each of them",
            )
        return tree.unflatten(out_tree, _substitute(dots, {t.id: x for t, x in zip(tangents, leaves, strict=True)}))

    return apply


def _substitute(outputs: list, env: dict) -> list:
    """Outputs with the Vars of ``env`` replaced; what does not depend on them is left as it is."""
    for node in reachable(outputs, min(env), stop=set(env))[0]:
        if node.id not in env and any(isinstance(a, Expr) and a.id in env for a in node.args):
            env[node.id] = node.op(*(env.get(a.id, former(a)) if isinstance(a, Expr) else a for a in node.args), **node.params)
    return [env.get(y.id, y) if isinstance(y, Expr) else y for y in outputs]


# -- gradients -------------------------------------------------------------------------------------------------


@transformation
def value_and_grad(f: Callable, argnums: int | tuple = 0, has_aux: bool = False, wrt: str | tuple | None = None) -> Callable:
    """(f(x), df/dx) of a scalar function, by reverse mode.

    Args:
        f: function with a real scalar result; with ``has_aux`` it returns (scalar, aux).
        argnums: position of the argument to differentiate by, or a tuple of positions. Arguments may be pytrees:
            integer arrays inside one get None.
        wrt: a pattern, or a tuple of them, of the paths of the leaves to differentiate by, such as ``"encoder/*"``; ``*``
            stands for anything. The others are held constant, and have None in the gradient, with which the optimizers of
            `fad.optim` leave a parameter and its averages as they are.
    Returns: a function giving ``(value, gradient)``, with ``has_aux`` ``((value, aux), gradient)``; for a tuple of
        argnums the gradient is a tuple.
    Raises: ShapeError if the result is not scalar, DtypeError for an argument without a derivative, TreeError for a pattern
        that matches nothing.

    >>> value_and_grad(lambda x: np.sum(x**2))(np.array([1.0, 2.0]))
    (np.float64(5.0), array([2., 4.]))
    """
    return _value_and_grad(f, argnums, has_aux, wrt)


def _value_and_grad(f: Callable, argnums: int | tuple, has_aux: bool, wrt: str | tuple | None) -> Callable:
    positions, several, patterns = positions_in(argnums, "grad"), isinstance(argnums, tuple | list), patterns_in(wrt, "grad")

    def differentiated(*args: Any, **kwargs: Any) -> tuple:
        opened = Trace("grad", f)
        inner, close = open_arguments(opened, args, positions, patterns)
        y, aux = split_aux(opened.call(*inner, **kwargs), has_aux)
        _check_scalar(y, f)
        outputs = [y if isinstance(y, Expr) else Const(y)]
        graph = opened.graph(outputs)
        plain = graph.plain
        aux = release(opened, aux, plain) if has_aux else None
        (value,) = finish(outputs, plain)
        one = outputs[0].dtype.type(1)
        del y  # the sweep frees the tree as it goes
        bars = cotangents_of(graph, opened.inputs, outputs, [one])
        opened.live = not plain
        gradients = close(finish([zeros(x) if bar is None else bar for x, bar in zip(opened.inputs, bars)], plain))
        return ((value, aux) if has_aux else value), (gradients if several else gradients[0])

    return differentiated


@transformation
def grad(f: Callable, argnums: int | tuple = 0, has_aux: bool = False, wrt: str | tuple | None = None) -> Callable:
    """df/dx of a scalar function, by reverse mode; see `value_and_grad`. With ``has_aux``: (gradient, aux).

    >>> grad(np.tanh)(0.0)
    np.float64(1.0)
    >>> grad(grad(lambda x: x**3))(2.0)
    np.float64(12.0)
    >>> grad(lambda p: p["w"] ** 2 * p["b"], wrt="w")({"w": 3.0, "b": 2.0})
    {'w': np.float64(12.0), 'b': None}
    """
    both = _value_and_grad(f, argnums, has_aux, wrt)

    def gradient(*args: Any, **kwargs: Any) -> Any:
        value, gradients = both(*args, **kwargs)
        return (gradients, value[1]) if has_aux else gradients

    return gradient


def _check_scalar(y: Any, f: Callable) -> None:
    if isinstance(y, Expr) and y.shape == () and y.dtype.kind == "f":
        return
    what = f"grad({name_of(f)})"
    if isinstance(y, bool) or not isinstance(y, Expr | np.ndarray | np.generic | float | int | complex):
        raise ShapeError(
            f"{what}: the result is not a scalar",
            got=short(y),
            rule="grad needs one real number",
            fix="return np.sum(...), use has_aux=True for further results, or fad.jacobian",
        )
    kind = "c" if isinstance(y, complex) else getattr(getattr(y, "dtype", None), "kind", "f")
    if shape_of(y) != () or kind != "f":
        raise ShapeError(
            f"{what}: the result is not a real scalar",
            got=short(y),
            rule="grad needs one real number",
            fix="take its real part or absolute value, or fad.jacobian for the complex derivative"
            if kind == "c"
            else "np.sum(...) of it, or fad.jacobian for all derivatives"
            if shape_of(y)
            else "return a float",
        )


# -- second order, and none ------------------------------------------------------------------------------------------


def hvp(f: Callable, x: Any, v: Any, has_aux: bool = False, **kwargs: Any) -> Any:
    """H(x) v of a scalar function of one pytree, without H: forward over reverse, the cost of a few gradients.

    With ``has_aux`` f returns (y, aux), and the result is (H v, aux).

    >>> hvp(lambda x: np.sum(x**3), np.array([1.0, 2.0]), np.array([1.0, 0.0]))
    array([6., 0.])
    """
    result = jvp(grad(f, has_aux=has_aux), (x,), (v,), has_aux, **kwargs)
    return result[1:] if has_aux else result[1]


def stop_gradient(x: Any) -> Any:
    """x itself, with derivative zero. Maps over pytrees.

    >>> grad(lambda x: x * stop_gradient(x))(3.0)
    np.float64(3.0)
    """
    return tree.map(lambda leaf: stop(leaf) if isinstance(leaf, Expr) else leaf, x)
