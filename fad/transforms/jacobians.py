"""Jacobians and Hessians: one forward pass for each direction of the arguments, or one reverse pass for each of the results.

All passes of one mode run as one batch. The Jacobian of one result by one argument is an array of the shape of both, the
argument's precision, and complex where either is. What it holds does not depend on the mode:

* from real to real or complex numbers: df/dx;
* from complex numbers to real ones: df/dx - i df/dy for z = x + iy, as `grad` gives;
* from complex to complex: the holomorphic derivative. A function that takes z apart (conj, real, imag, abs) has none, and raises.

So a complex argument takes two passes forward, along 1 and i, where a result is real, and a complex result takes two
passes in reverse where an argument is real.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fad import tree
from fad.core.expr import Const, Expr, reachable, short
from fad.errors import DtypeError
from fad.primitives.elementwise import cast
from fad.transforms.batch import batched
from fad.transforms.cost import cheaper, seeds
from fad.transforms.derivatives import finish, grad, open_arguments, positions_in, release, split_aux, zeros
from fad.transforms.forward import tangents_of
from fad.transforms.reverse import cotangents_of
from fad.transforms.trace import Graph, Trace, is_float
from fad.transforms.transformed import transformation

__all__ = ["jacfwd", "jacrev", "jacobian", "hessian"]


@transformation
def jacfwd(f: Callable, argnums: int | tuple = 0, has_aux: bool = False) -> Callable:
    """J[i, j] = d f_i / d x_j, of shape f(x).shape + x.shape, column by column in forward mode.

    >>> jacfwd(np.square)(np.array([1.0, 3.0]))
    array([[2., 0.],
           [0., 6.]])
    """
    return _jacobian(f, argnums, has_aux, _forward_blocks)


@transformation
def jacrev(f: Callable, argnums: int | tuple = 0, has_aux: bool = False) -> Callable:
    """J[i, j] = d f_i / d x_j, of shape f(x).shape + x.shape, row by row in reverse mode.

    >>> jacrev(np.sum)(np.array([1.0, 3.0]))
    array([1., 1.])
    """
    return _jacobian(f, argnums, has_aux, _reverse_blocks)


@transformation
def jacobian(f: Callable, argnums: int | tuple = 0, mode: str = "auto", has_aux: bool = False) -> Callable:
    """J[i, j] = d f_i / d x_j, by the mode that is cheaper for this function: see `compare_modes`.

    Args:
        f: function of floats and pytrees of them with float results; with ``has_aux`` it returns (y, aux).
        argnums: position of the argument to differentiate by, or a tuple of positions.
        mode: "auto", "forward" or "reverse".
    Returns: a function giving the Jacobian in the structure of the result, with the structure of the argument at each leaf;
        with ``has_aux`` (Jacobian, aux). It has the argument's precision, as gradients have.
    Raises: DtypeError for results without a derivative, and from complex to complex numbers for a function that is not
        holomorphic. From complex to real ones the Jacobian is d/dx - i d/dy, as in `grad`.

    >>> jacobian(lambda x: np.outer(x, x))(np.ones(2)).shape
    (2, 2, 2)
    """
    blocks = _MODES.get(mode) if isinstance(mode, str) else None
    if blocks is None:
        raise DtypeError("jacobian: no such mode", got=repr(mode), rule="modes are auto, forward and reverse", fix='mode="auto"')
    return _jacobian(f, argnums, has_aux, blocks)


@transformation
def hessian(f: Callable, argnums: int | tuple = 0, has_aux: bool = False) -> Callable:
    """H[i, j] = d2 f / d x_i d x_j of a scalar function: the forward Jacobian of the reverse gradient.

    With ``has_aux`` f returns (y, aux), and the result is (H, aux).

    >>> hessian(lambda x: np.sum(x**3))(np.array([1.0, 2.0]))
    array([[ 6.,  0.],
           [ 0., 12.]])
    """
    return jacfwd(grad(f, argnums, has_aux), argnums, has_aux)


def _jacobian(f: Callable, argnums: int | tuple, has_aux: bool, blocks: Callable) -> Callable:
    positions, several = positions_in(argnums, "jacobian"), isinstance(argnums, tuple | list)

    def differentiated(*args: Any, **kwargs: Any) -> Any:
        opened = Trace("jacobian", f)
        inner, close = open_arguments(opened, args, positions)
        y, aux = split_aux(opened.call(*inner, **kwargs), has_aux)
        outputs, out_tree = tree.flatten(y)
        outputs = [y if isinstance(y, Expr) else Const(y) for y in outputs]
        for y in outputs:
            if not is_float(y):
                raise DtypeError(
                    "jacobian: a result has no derivative",
                    got=short(y),
                    rule="results must be floats",
                    fix="x.astype(float), or leave it out of the result",
                )
        graph = opened.graph(outputs)
        rows = blocks(graph, opened.inputs, outputs)
        aux = release(opened, aux, graph.plain) if has_aux else None
        opened.live = not graph.plain
        found = [close(finish(row, graph.plain)) for row in rows]
        jacobians = tree.unflatten(out_tree, [row if several else row[0] for row in found])
        return (jacobians, aux) if has_aux else jacobians

    return differentiated


def _forward_blocks(graph: Graph, inputs: list, outputs: list) -> list[list]:
    """J[i][j] for output i and input j: every direction of input j pushed forward as one batch."""
    columns = []
    for j, x in enumerate(inputs):
        pushed = Trace("jacfwd")
        t = pushed.symbol(x.shape, x.dtype, "t")
        dots = tangents_of(graph, inputs, [t if k == j else None for k in range(len(inputs))], outputs)
        dots = [zeros(y) if dot is None else dot for dot, y in zip(dots, outputs, strict=True)]
        basis = _basis(x, (1, 1j)[: seeds(x, outputs)])
        column = []
        for y, dot, s in zip(outputs, dots, batched(pushed, dots, {t.id: basis}, len(basis)), strict=True):
            if _both_complex(x, y):
                _check_holomorphic(t, dot, x, y)
            s = _first(s, x) - 1j * s[x.size :] if _is_complex(x) and not _is_complex(y) else _first(s, x)
            column.append(_block(np.moveaxis(s, 0, -1), x, y))
        columns.append(column)
    return [[column[i] for column in columns] for i in range(len(outputs))]


def _reverse_blocks(graph: Graph, inputs: list, outputs: list) -> list[list]:
    """J[i][j] for output i and input j: every direction of output i pulled back as one batch."""
    rows = []
    for y in outputs:
        pulled = Trace("jacrev")
        ct = pulled.symbol(y.shape, y.dtype, "ct")
        bars = cotangents_of(graph.copy(), inputs, [y], [ct])
        bars = [zeros(x) if bar is None else bar for bar, x in zip(bars, inputs, strict=True)]
        basis = _basis(y, (1, -1j)[: seeds(y, inputs)])
        row = []
        for x, bar, s in zip(inputs, bars, batched(pulled, bars, {ct.id: basis}, len(basis)), strict=True):
            if _both_complex(x, y):
                _check_holomorphic(ct, bar, x, y)
            s = _first(s, y) + 1j * s[y.size :] if _is_complex(y) and not _is_complex(x) else _first(s, y)
            row.append(_block(s, x, y))
        rows.append(row)
    return rows


def _auto_blocks(graph: Graph, inputs: list, outputs: list) -> list[list]:
    return (_forward_blocks if cheaper(graph, inputs, outputs) == "forward" else _reverse_blocks)(graph, inputs, outputs)


_MODES = {"auto": _auto_blocks, "forward": _forward_blocks, "reverse": _reverse_blocks}


def _basis(x: Any, factors: tuple) -> np.ndarray:
    """Every unit direction of x, times each factor."""
    one = np.eye(x.size, dtype=x.dtype)
    return np.concatenate([one * factor for factor in factors]).reshape(len(factors) * x.size, *x.shape)


def _first(s: Any, x: Any) -> Any:
    """The derivatives along the unit directions of x, times the first factor; all there are without an index, which selects."""
    return s if s.shape[0] == x.size else s[: x.size]


def _block(s: Any, x: Any, y: Any) -> Any:
    """Derivatives as d y / d x: of the shape of both, in the argument's precision, complex where either is."""
    return cast(np.reshape(s, (*y.shape, *x.shape)), np.result_type(x.dtype, np.complex64) if _is_complex(y) else x.dtype)


def _is_complex(x: Any) -> bool:
    return x.dtype.kind == "c"


def _both_complex(x: Any, y: Any) -> bool:
    return _is_complex(x) and _is_complex(y)


def _check_holomorphic(t: Expr, result: Any, x: Any, y: Any) -> None:
    """Raise unless the linear tree from symbol t to result is linear over complex numbers: whether every step is."""
    depends = {t.id}
    for node in reachable([result], t.id, depends)[0]:
        if any(isinstance(a, Expr) and a.id in depends for a in node.args):
            depends.add(node.id)
            if not _is_complex(node) or node.op.name == "conjugate":
                raise DtypeError(
                    "jacobian: a complex function of a complex argument that takes it apart",
                    got=f"{short(y)} by {short(x)} through {node.op.name}",
                    rule="only a holomorphic function has one complex derivative; conj, real, imag and abs are not",
                    fix="return (np.real(y), np.imag(y)), whose Jacobians are d/dx - i d/dy, "
                    "or take real and imaginary part as two arguments",
                )
