"""Transformations: thin compositions of a trace with a forward or a reverse sweep. All nest, to any order.

Arguments and results are pytrees. A transformation of a Function gives a Function.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from fad import tree
from fad.batch import batched
from fad.errors import DtypeError, ShapeError, TreeError
from fad.expr import Const, Expr, Var, short
from fad.forward import tangents_of
from fad.function import Function, own
from fad.primitives.families import elementwise, shape_of
from fad.reverse import cotangents_of
from fad.trace import Graph, Trace, differentiable, is_float, number_of

__all__ = ["trace", "var", "jvp", "vjp", "linearize", "grad", "value_and_grad", "jacfwd", "jacrev", "jacobian", "hessian",
           "hvp", "stop_gradient"]

# -- trees from functions -----------------------------------------------------------------------------


def var(name: str, shape: tuple = (), dtype: Any = np.float64) -> Var:
    """A symbolic input to write a tree by hand with.

    >>> x = var("x", (3,))
    >>> Function([x], [np.sin(x) @ np.ones(3)])(np.zeros(3))
    np.float64(0.0)
    """
    if not isinstance(name, str):
        raise DtypeError("var: the name comes first", got=short(name), rule="var(name, shape, dtype)",
                         fix='fad.var("x", (3,))')
    return Var(name, (shape,) if isinstance(shape, int) else tuple(shape), np.dtype(dtype))


def trace(f: Callable, concrete: bool = False) -> Callable:
    """``trace(f)(*args)`` is the Function that f computes for arguments of these shapes and dtypes.

    Args:
        f: function of arrays and pytrees.
        concrete: let nodes carry the values of the arguments, so that Python's ``if`` and ``while`` follow them;
            the Function then holds for arguments that take the same branches.
    Raises: TraceError where f asks a symbolic node for its value.

    >>> trace(lambda p: p["w"] * 2.0)({"w": np.ones(2)})
    <Function f(w:f64[2]) -> f64[2], 1 nodes>
    """

    @functools.wraps(f)
    def traced(*args: Any) -> Function:
        return _traced(f, args, argument_names(f, args), concrete)

    return traced


def _traced(f: Callable, args: tuple, names: list[str], concrete: bool = False) -> Function:
    return Function(*recorded(f, args, names, concrete))


def recorded(f: Callable, args: tuple, names: list[str], concrete: bool = False) -> tuple:
    """Inputs, outputs, the pytree structure of both, and the name, of the Function that f computes for these arguments."""
    leaves, in_tree = tree.flatten(args)
    opened = Trace("trace", f)
    inputs = [_input(opened, x, name, concrete) for x, name in zip(leaves, names, strict=True)]
    try:
        outputs, out_tree = tree.flatten(opened.call(*tree.unflatten(in_tree, inputs)))
    finally:
        opened.live = False
    name = getattr(f, "__name__", "f")
    return inputs, outputs, in_tree, out_tree, "f" if name == "<lambda>" else name


def _input(opened: Trace, x: Any, name: str, concrete: bool) -> Var:
    weak = type(x) if type(x) in (bool, int, float, complex) else None
    x = x if isinstance(x, Expr) else Const(x)
    if not concrete:
        return opened.symbol(x.shape, x.dtype, name, weak)
    return opened.var(x if x.op is not None or isinstance(x, Var) else x.value, name)


def argument_names(f: Callable, args: tuple) -> list[str]:
    """A name for every leaf: the parameter's own, or the last key of its path."""
    code = getattr(f, "__code__", None)
    own_names = code.co_varnames[: code.co_argcount] if code else ()
    names = []
    for i, arg in enumerate(args):
        first = own_names[i] if i < len(own_names) else f"x{i}"
        for path in tree.paths(arg):
            last = path.rstrip("]").replace("'", "").split("[")[-1].split(".")[-1]
            names.append(f"{first}{last}" if last.isdigit() else last or first)
    return names


def _lifts(transform: Callable) -> Callable:
    """A transformation of a Function is traced into a Function again."""

    @functools.wraps(transform)
    def lifted(f: Callable, *args: Any, **kwargs: Any) -> Callable:
        if hasattr(f, "transformed"):  # of a jitted function: its transformation, jitted
            return f.transformed(lambda g: transform(g, *args, **kwargs), transform.__name__)
        if not callable(f):
            raise DtypeError(f"{transform.__name__}: not a function", got=short(f), rule="the first argument is the function",
                             fix=f"fad.{transform.__name__}(f)(x)")
        derivative = transform(f, *args, **kwargs)
        if not isinstance(f, Function) or isinstance(derivative, Function):
            return derivative
        derivative.__name__ = f"{transform.__name__}({f.name})"
        return _traced(derivative, tree.unflatten(f.in_tree, f.inputs), [x.name for x in f.inputs])

    return lifted


# -- opening arguments -----------------------------------------------------------------------------------


_LEAVES = (np.ndarray, float, Expr, int, np.generic, complex)


def _open(opened: Trace, arg: Any, what: str, name: str = "x") -> tuple[Any, Callable]:
    """The argument with Vars in place of its float leaves, and a function from their cotangents to its structure.

    Python numbers become float64; integer arrays and booleans inside a container pass through and get None.
    """
    if isinstance(arg, _LEAVES) or not _is_container(arg):
        leaf = differentiable(arg, what)
        return opened.var(leaf, name), lambda bars: bars[0]
    leaves, treedef = tree.flatten(arg)
    inner, places = list(leaves), []
    for k, leaf in enumerate(leaves):
        kind = getattr(getattr(leaf, "dtype", None), "kind", "")
        if number_of(leaf) is bool or (kind in "iub" and kind and number_of(leaf) is not int):
            continue
        if not (is_float(leaf) or number_of(leaf) is int):
            differentiable(leaf, what, f" at {tree.paths(arg)[k]}")
        inner[k] = opened.var(differentiable(leaf, what), name)
        places.append(k)

    def close(bars: list) -> Any:
        closed: list = [None] * len(leaves)
        for k, bar in zip(places, bars, strict=True):
            closed[k] = bar
        return tree.unflatten(treedef, closed)

    return tree.unflatten(treedef, inner), close


def _is_container(arg: Any) -> bool:
    return not tree.structure(arg).is_leaf()


def _finish(results: list, plain: bool, inputs: Any = ()) -> list:
    """Results for the caller: arrays of its own at the outermost level, nodes inside another trace."""
    if plain:
        results = [y.value if isinstance(y, Expr) and y.value is not None else y for y in results]
    return own(results, inputs)


def _zeros(like: Any) -> Any:
    return np.zeros(like.shape, like.dtype)[()]


# -- the two modes -----------------------------------------------------------------------------------------


def jvp(f: Callable, primals: tuple, tangents: tuple) -> tuple:
    """Forward mode: (f(x), J(x) v), by dual numbers.

    Args:
        f: function of arrays and pytrees.
        primals: tuple of arguments.
        tangents: tuple of the same structure and shapes.
    Returns: value and tangent, both of the structure of f's result; integer results have tangent None.
    Raises: TreeError or ShapeError where primals and tangents do not match.

    >>> jvp(np.sin, (0.0,), (2.0,))
    (np.float64(0.0), np.float64(2.0))
    """
    primals, tangents = _tuple(primals, "jvp: primals"), _tuple(tangents, "jvp: tangents")
    opened = Trace("jvp", f)
    args, _ = _open(opened, primals, "jvp")
    dots = _tangents(opened, primals, tangents)
    outputs, out_tree = tree.flatten(opened.call(*args))
    graph = opened.graph(outputs)
    y_dots = tangents_of(graph, opened.inputs, dots, outputs)
    opened.live = not graph.plain
    y_dots = [t if t is not None else _zeros(y) if is_float(y) else None for t, y in zip(y_dots, outputs, strict=True)]
    results = _finish(outputs + [t for t in y_dots if t is not None], graph.plain, tree.leaves((primals, tangents)))
    rest = iter(results[len(outputs) :])
    return (tree.unflatten(out_tree, results[: len(outputs)]),
            tree.unflatten(out_tree, [None if t is None else next(rest) for t in y_dots]))


def _tuple(x: Any, what: str) -> tuple:
    if not isinstance(x, tuple | list):
        raise TreeError(f"{what} must be a tuple", got=short(x), rule="one entry for each argument", fix="write (x,)")
    return tuple(x)


def _tangents(opened: Trace, primals: tuple, tangents: tuple) -> list:
    """The tangents of the Vars, checked against their primals. A tangent may be None for an integer leaf."""
    import optree

    a, a_def = optree.tree_flatten(primals, none_is_leaf=True, namespace="fad")
    b, b_def = optree.tree_flatten(tangents, none_is_leaf=True, namespace="fad")
    if a_def != b_def:
        raise TreeError("jvp: primals and tangents differ in structure", got=f"{a_def} and {b_def}",
                        rule="each primal needs a tangent", fix="build the tangents with fad.tree.map over the primals")
    pairs = [(p, t) for p, t in zip(a, b, strict=True)
             if p is not None and (is_float(p) or number_of(p) is int)]
    dots = []
    for x, (_, t) in zip(opened.inputs, pairs, strict=True):
        if t is not None:
            t = t if isinstance(t, Expr) else np.asarray(t)
            if t.shape != x.shape:
                raise ShapeError("jvp: a tangent has another shape than its primal", got=f"{short(t)} for {short(x)}",
                                 rule="tangents have the shapes of the primals", fix="np.broadcast_to(v, x.shape)")
            t = t.astype(x.dtype) if t.dtype != x.dtype else t
        dots.append(t)
    return dots


def vjp(f: Callable, *primals: Any, has_aux: bool = False) -> tuple:
    """Reverse mode: (f(x), pullback) with pullback(w) = w J(x), one cotangent for each argument.

    Args:
        f: function of arrays and pytrees; with ``has_aux`` it returns (y, aux).
        primals: its arguments.
    Returns: ``(y, pullback)``, or ``(y, pullback, aux)``. The pullback takes a cotangent of y's structure and gives a
        tuple with one entry an argument; it may be called many times.
    Raises: TreeError or ShapeError where a cotangent does not match y.

    >>> y, pullback = vjp(np.multiply, 2.0, 3.0)
    >>> pullback(1.0)
    (np.float64(3.0), np.float64(2.0))
    """
    opened = Trace("vjp", f)
    primals = tree.map(lambda x: x.copy() if isinstance(x, np.ndarray) else x, primals)
    args, close = _open(opened, primals, "vjp")
    y, aux = _split_aux(opened.call(*args), has_aux)
    outputs, out_tree = tree.flatten(y)
    graph = opened.graph(outputs)
    plain = graph.plain

    def pullback(ct: Any) -> Any:
        cts = _cotangents(ct, outputs, out_tree)
        bars = cotangents_of(graph.copy(), opened.inputs, list(outputs), cts)
        bars = [_zeros(x) if bar is None else bar for x, bar in zip(opened.inputs, bars, strict=True)]
        return close(_finish(bars, plain, cts))

    result = tree.unflatten(out_tree, _finish(outputs, plain, tree.leaves(primals)))
    return (result, pullback, _released(opened, aux, plain)) if has_aux else (result, pullback)


def _split_aux(result: Any, has_aux: bool) -> tuple:
    if not has_aux:
        return result, None
    if not isinstance(result, tuple) or len(result) != 2:
        raise TreeError("has_aux=True: the function must return (y, aux)", got=short(result), rule="a pair",
                        fix="return y, aux")
    return result


def _released(opened: Trace, aux: Any, plain: bool) -> Any:
    leaves, treedef = tree.flatten(aux)
    nodes = [x for x in leaves if isinstance(x, Expr)]
    results = iter(_finish(nodes, plain and opened.graph(nodes).plain))
    return tree.unflatten(treedef, [next(results) if isinstance(x, Expr) else x for x in leaves])


def _cotangents(ct: Any, outputs: list, out_tree: Any) -> list:
    cts, ct_tree = tree.flatten(ct)
    if ct_tree != out_tree:
        raise TreeError("pullback: the cotangent has another structure than the result", got=ct_tree,
                        rule=f"the result is {out_tree}", fix="pass one cotangent for each result")
    checked = []
    for t, y in zip(cts, outputs, strict=True):
        t = t if isinstance(t, Expr) else np.asarray(t)
        if t.shape != shape_of(y):
            raise ShapeError("pullback: a cotangent has another shape than its result", got=f"{short(t)} for {short(y)}",
                             rule="cotangents have the shapes of the results", fix="np.broadcast_to(w, y.shape)")
        dtype = getattr(y, "dtype", None)
        checked.append(t.astype(dtype) if dtype is not None and dtype.kind in "fc" and t.dtype != dtype else t)
    return checked


def linearize(f: Callable, *primals: Any) -> tuple:
    """(f(x), v -> J(x) v) with the second a linear Function: partial derivatives are computed once, at x.

    >>> y, f_lin = linearize(np.square, 3.0)
    >>> f_lin(1.0)
    np.float64(6.0)
    """
    opened = Trace("linearize", f)
    args, close = _open(opened, primals, "linearize")
    outputs, out_tree = tree.flatten(opened.call(*args))
    tangents = [var(f"{x.name}_dot", x.shape, x.dtype) for x in opened.inputs]
    graph = opened.graph(outputs)
    plain = graph.plain
    dots = tangents_of(graph, opened.inputs, tangents, outputs)
    dots = [t if t is not None else _zeros(y) if is_float(y) else None for t, y in zip(dots, outputs, strict=True)]
    value = tree.unflatten(out_tree, _finish(outputs, plain, tree.leaves(primals)))
    in_tree = tree.structure(close(tangents))
    closed = tree.unflatten(out_tree, dots)
    leaves, dot_tree = tree.flatten(closed)
    return value, _linear_function(f, tangents, leaves, in_tree, dot_tree, plain)


def _linear_function(f: Callable, tangents: list, dots: list, in_tree: Any, out_tree: Any, plain: bool) -> Callable:
    name = f"linearize({getattr(f, '__name__', 'f')})"
    if plain:
        return Function(tangents, dots, in_tree, out_tree, name)

    def apply(*args: Any) -> Any:  # the partials are nodes of an enclosing trace: sweep the tree in place
        leaves, tree_def = tree.flatten(args)
        if tree_def != in_tree:
            raise TreeError(f"{name}: tangents of another structure", got=tree_def, rule=f"it takes {in_tree}",
                            fix="pass tangents built like the primals")
        return tree.unflatten(out_tree, _substitute(dots, {t.id: x for t, x in zip(tangents, leaves, strict=True)}))

    return apply


def _substitute(outputs: list, env: dict) -> list:
    """Outputs with the Vars of ``env`` replaced; what does not depend on them is left as it is."""
    from fad.expr import reachable

    for node in reachable(outputs, min(env), stop=set(env))[0]:
        if node.id not in env and any(isinstance(a, Expr) and a.id in env for a in node.args):
            env[node.id] = node.op(*(env.get(a.id, a) if isinstance(a, Expr) else a for a in node.args), **node.params)
    return [env.get(y.id, y) if isinstance(y, Expr) else y for y in outputs]


# -- gradients -------------------------------------------------------------------------------------------------


@_lifts
def value_and_grad(f: Callable, argnums: int | tuple = 0, has_aux: bool = False) -> Callable:
    """(f(x), df/dx) of a scalar function, by reverse mode.

    Args:
        f: function with a real scalar result; with ``has_aux`` it returns (scalar, aux).
        argnums: position of the argument to differentiate by, or a tuple of positions. Arguments may be pytrees:
            integer arrays inside one get None.
    Returns: a function giving ``(value, gradient)``, with ``has_aux`` ``((value, aux), gradient)``; for a tuple of
        argnums the gradient is a tuple.
    Raises: ShapeError if the result is not scalar, DtypeError for an argument without a derivative.

    >>> value_and_grad(lambda x: np.sum(x**2))(np.array([1.0, 2.0]))
    (np.float64(5.0), array([2., 4.]))
    """
    return _value_and_grad(f, argnums, has_aux)


def _value_and_grad(f: Callable, argnums: int | tuple, has_aux: bool) -> Callable:
    positions = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    @functools.wraps(f, assigned=("__doc__", "__module__"))
    def differentiated(*args: Any, **kwargs: Any) -> tuple:
        opened = Trace("grad", f)
        inner, close = open_positions(opened, args, positions)
        y, aux = _split_aux(opened.call(*inner, **kwargs), has_aux)
        _check_scalar(y, f)
        outputs = [y if isinstance(y, Expr) else Const(y)]
        graph = opened.graph(outputs)
        plain = graph.plain
        aux = _released(opened, aux, plain) if has_aux else None
        (value,) = _finish(outputs, plain)
        one = outputs[0].dtype.type(1)
        del y  # the sweep frees the tree as it goes
        bars = cotangents_of(graph, opened.inputs, outputs, [one])
        opened.live = not plain
        gradients = close(_finish([_zeros(x) if bar is None else bar for x, bar in zip(opened.inputs, bars)], plain))
        return ((value, aux) if has_aux else value), (gradients[0] if isinstance(argnums, int) else gradients)

    return differentiated


@_lifts
def grad(f: Callable, argnums: int | tuple = 0, has_aux: bool = False) -> Callable:
    """df/dx of a scalar function, by reverse mode; see `value_and_grad`. With ``has_aux``: (gradient, aux).

    >>> grad(np.tanh)(0.0)
    np.float64(1.0)
    >>> grad(grad(lambda x: x**3))(2.0)
    np.float64(12.0)
    """
    both = _value_and_grad(f, argnums, has_aux)

    @functools.wraps(f, assigned=("__doc__", "__module__"))
    def gradient(*args: Any, **kwargs: Any) -> Any:
        value, gradients = both(*args, **kwargs)
        return (gradients, value[1]) if has_aux else gradients

    return gradient


def open_positions(opened: Trace, args: tuple, positions: tuple) -> tuple[list, Callable]:
    """The arguments with Vars at these positions, and a function from all their cotangents to one tree a position."""
    inner, closers = list(args), []
    for p in positions:
        if not -len(args) <= p < len(args):
            raise ShapeError("grad: no such argument", got=f"argnums {p} with {len(args)} positional arguments",
                             rule="argnums counts positional arguments from 0", fix="pass it by position, or change argnums")
        before = len(opened.inputs)
        inner[p], close = _open(opened, args[p], "grad")
        closers.append((close, before, len(opened.inputs)))
    return inner, lambda bars: tuple(close(bars[a:b]) for close, a, b in closers)


def _check_scalar(y: Any, f: Callable) -> None:
    if isinstance(y, Expr) and y.shape == () and y.dtype.kind == "f":
        return
    name = getattr(f, "__name__", "f")
    if not isinstance(y, Expr | np.ndarray | np.generic | float | int):
        raise ShapeError(f"grad({name}): the result is not a scalar", got=short(y), rule="grad needs one real number",
                         fix="return np.sum(...), use has_aux=True for further results, or fad.jacobian")
    if shape_of(y) != () or getattr(getattr(y, "dtype", None), "kind", "f") not in "f":
        complex_result = getattr(getattr(y, "dtype", None), "kind", "f") == "c"
        raise ShapeError(f"grad({name}): the result is not a real scalar", got=short(y), rule="grad needs one real number",
                         fix="take its real part or absolute value" if complex_result
                         else "np.sum(...) of it, or fad.jacobian for all derivatives" if shape_of(y) else "return a float")


# -- second order and Jacobians -------------------------------------------------------------------------------------


@_lifts
def jacfwd(f: Callable, argnums: int | tuple = 0) -> Callable:
    """J[i, j] = d f_i / d x_j, of shape f(x).shape + x.shape, column by column in forward mode.

    >>> jacfwd(np.square)(np.array([1.0, 3.0]))
    array([[2., 0.],
           [0., 6.]])
    """
    return _jacobian(f, argnums, _forward_blocks)


@_lifts
def jacrev(f: Callable, argnums: int | tuple = 0) -> Callable:
    """J[i, j] = d f_i / d x_j, of shape f(x).shape + x.shape, row by row in reverse mode.

    >>> jacrev(np.sum)(np.array([1.0, 3.0]))
    array([1., 1.])
    """
    return _jacobian(f, argnums, _reverse_blocks)


@_lifts
def jacobian(f: Callable, argnums: int | tuple = 0, mode: str = "auto") -> Callable:
    """J[i, j] = d f_i / d x_j, by the mode that is cheaper for this function: see `compare_modes`.

    Args:
        mode: "auto", "forward" or "reverse".

    >>> jacobian(lambda x: np.outer(x, x))(np.ones(2)).shape
    (2, 2, 2)
    """
    blocks = {"auto": _auto_blocks, "forward": _forward_blocks, "reverse": _reverse_blocks}.get(mode)
    if blocks is None:
        raise DtypeError("jacobian: no such mode", got=repr(mode), rule="modes are auto, forward and reverse",
                         fix='mode="auto"')
    return _jacobian(f, argnums, blocks)


def _jacobian(f: Callable, argnums: int | tuple, blocks: Callable) -> Callable:
    positions = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    @functools.wraps(f, assigned=("__doc__", "__module__"))
    def differentiated(*args: Any) -> Any:
        opened = Trace("jacobian", f)
        inner, close = open_positions(opened, args, positions)
        outputs, out_tree = tree.flatten(opened.call(*inner))
        outputs = [y if isinstance(y, Expr) else Const(y) for y in outputs]
        for y in outputs:
            if not is_float(y):
                raise DtypeError("jacobian: a result has no derivative", got=short(y), rule="results must be floats",
                                 fix="x.astype(float), or leave it out of the result")
        graph = opened.graph(outputs)
        rows = blocks(graph, opened.inputs, outputs)
        opened.live = not graph.plain
        found = [close(_finish(row, graph.plain)) for row in rows]
        found = [row[0] if isinstance(argnums, int) else row for row in found]
        return tree.unflatten(out_tree, found)

    return differentiated


def _basis(x: Any) -> np.ndarray:
    return np.eye(x.size, dtype=x.dtype).reshape(x.size, *x.shape)


def _forward_blocks(graph: Graph, inputs: list, outputs: list) -> list[list]:
    """J[i][j] for output i and input j: every direction of input j pushed forward as one batch."""
    columns = []
    for j, x in enumerate(inputs):
        pushed = Trace("jacfwd")
        t = pushed.symbol(x.shape, x.dtype, "t")
        dots = tangents_of(graph, inputs, [t if k == j else None for k in range(len(inputs))], outputs)
        dots = [_zeros(y) if dot is None else dot for dot, y in zip(dots, outputs, strict=True)]
        stacked = batched(pushed, dots, {t.id: _basis(x)}, x.size)
        columns.append([np.reshape(np.moveaxis(s, 0, -1), (*y.shape, *x.shape)) for s, y in zip(stacked, outputs, strict=True)])
    return [[column[i] for column in columns] for i in range(len(outputs))]


def _reverse_blocks(graph: Graph, inputs: list, outputs: list) -> list[list]:
    """J[i][j] for output i and input j: every direction of output i pulled back as one batch."""
    rows = []
    for y in outputs:
        pulled = Trace("jacrev")
        ct = pulled.symbol(y.shape, y.dtype, "ct")
        bars = cotangents_of(graph.copy(), inputs, [y], [ct])
        bars = [_zeros(x) if bar is None else bar for bar, x in zip(bars, inputs, strict=True)]
        stacked = batched(pulled, bars, {ct.id: _basis(y)}, y.size)
        rows.append([np.reshape(s, (*y.shape, *x.shape)) for s, x in zip(stacked, inputs, strict=True)])
    return rows


def _auto_blocks(graph: Graph, inputs: list, outputs: list) -> list[list]:
    from fad.modes import cheaper

    return (_forward_blocks if cheaper(graph, inputs, outputs) == "forward" else _reverse_blocks)(graph, inputs, outputs)


@_lifts
def hessian(f: Callable, argnums: int | tuple = 0) -> Callable:
    """H[i, j] = d2 f / d x_i d x_j of a scalar function: the forward Jacobian of the reverse gradient.

    >>> hessian(lambda x: np.sum(x**3))(np.array([1.0, 2.0]))
    array([[ 6.,  0.],
           [ 0., 12.]])
    """
    return jacfwd(grad(f, argnums), argnums)


def hvp(f: Callable, x: Any, v: Any) -> Any:
    """H(x) v of a scalar function of one pytree, without H: forward over reverse, the cost of a few gradients.

    >>> hvp(lambda x: np.sum(x**3), np.array([1.0, 2.0]), np.array([1.0, 0.0]))
    array([6., 0.])
    """
    return jvp(grad(f), (x,), (v,))[1]


_stop = elementwise("stop_gradient", lambda x: np.array(x)[()], None, dtype=lambda dtypes: dtypes[0])


def stop_gradient(x: Any) -> Any:
    """x itself, with derivative zero. Maps over pytrees.

    >>> grad(lambda x: x * stop_gradient(x))(3.0)
    np.float64(3.0)
    """
    return tree.map(lambda leaf: _stop(leaf) if isinstance(leaf, Expr) else leaf, x)
