"""Simplify: a Function to an equal Function with fewer nodes.

One pass in creation order. Every node is rebuilt from simplified arguments, looked up among the nodes that exist
already (common subexpressions), folded where its arguments are constants, and rewritten by identities that hold exactly
in floating point, NaN, infinities and signed zeros included. What no output needs is never reached.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from fad.compile import factored
from fad.compile.debug import attempted
from fad.compile.held import Held, find_held
from fad.compile.rewrite import write_position, write_running
from fad.control.functions import fresh
from fad.core.expr import Const, Expr, Var, reachable
from fad.core.function import Function
from fad.core.primitive import Primitive
from fad.errors import FadError
from fad.native.machine_model import SECOND_CACHE
from fad.primitives.dense import dense
from fad.primitives.elementwise import (
    add,
    convert,
    divide,
    equal,
    float_power,
    multiply,
    negative,
    positive,
    power,
    reciprocal,
    sqrt,
    square,
    stop,
    subtract,
)
from fad.primitives.linalg import einsum, matmul, slide
from fad.primitives.naming import named
from fad.primitives.reduce import argmax, argmin, cumprod, cumsum, max_, min_, prod_, sum_
from fad.primitives.select import select, strong_multiply
from fad.primitives.shape import broadcast_to, embed, getitem, reshape, transpose
from fad.tree import freeze

__all__ = ["simplify"]

FOLD = 1 << 12  # elements up to which constants are folded


def simplify(function: Function) -> Function:
    """The simplified Function: same inputs, outputs equal up to the rounding of composites written out."""
    outputs = simplify_outputs([function], function.inputs)
    return Function(function.inputs, outputs, function.in_tree, function.out_tree, function.name)


def simplify_held(functions: list[Function]) -> Function:
    """The outputs of all these Functions of the same arguments, simplified, on inputs of their own: no two nodes of a program hold
    the same nodes."""
    inputs = fresh(functions[0].inputs)
    return Function(inputs, simplify_outputs(functions, inputs))


def simplify_outputs(functions: list[Function], inputs: Sequence[Any]) -> list:
    """The simplified outputs of Functions, of these inputs in place of their own."""
    env = {old.id: new for f in functions for old, new in zip(f.inputs, inputs, strict=True)}
    outputs = [y for f in functions for y in f.outputs]
    work = _Simplifier(env, find_held(outputs, set(env)))
    return [work.result(y) for y in outputs]


class _Simplifier:
    """The nodes made so far, by structure."""

    def __init__(self, env: dict[int, Any], held: Held):
        self.env, self.held = env, held  # old id -> new node or constant; of several results, those by index
        self.known: dict[tuple, Any] = {}

    def result(self, y: Expr) -> Any:
        """The new node for an output."""
        for node in reachable([y], stop=self.env)[0]:
            if node.id in self.env:
                continue
            if node.op is None:
                self.env[node.id] = self.const(node.value)
            elif isinstance(node, Var):
                self.env[node.id] = self.strong(self.env[node.args[0].id])
            elif node.op.role == "result" and isinstance(results := self.env[node.args[0].id], dict):
                self.env[node.id] = results[node.params["index"]]
            elif node.op.role == "call":
                self.env[node.id] = self.inline(node)
            elif node.op.functions:
                args = tuple([self.strong(self.env[a.id] if isinstance(a, Expr) else self.const(a)) for a in node.args])
                self.env |= self.held.shrink(node, args, simplify_held)
            else:
                args = tuple([self.env[a.id] if isinstance(a, Expr) else self.const(a) for a in node.args])
                self.env[node.id] = self.node(node.op, args, node.params, node.shape, node.dtype)
        return self.env[y.id]

    def inline(self, node: Expr) -> dict[int, Any]:
        """The results of a call by index: its body, on its arguments, in its place."""
        body: Function = node.params["body"]
        args = [self.env[a.id] if isinstance(a, Expr) else self.const(a) for a in node.args]
        args = [a if isinstance(a, Expr) else Const(np.asarray(a, x.dtype)) for a, x in zip(args, body.inputs, strict=True)]
        before = dict(self.env)
        self.env |= {x.id: a for x, a in zip(body.inputs, args, strict=True)}
        outer, self.held = self.held, find_held(list(body.outputs), set(before))
        found = {k: self.result(y) for k, y in enumerate(body.outputs)}
        self.env, self.held = before, outer  # another call may hold the same nodes
        return found

    def const(self, value: Any) -> Any:
        """A constant: arrays as one node each, uniform ones as a broadcast number."""
        if type(value) in (int, float, complex, bool):
            return value
        value = np.asarray(value)
        if value.ndim and value.size > 1:
            first = value.flat[0]
            flat = value.reshape(-1).view(np.uint8) if value.flags.c_contiguous else value.tobytes()
            same = bytes(flat[: value.itemsize]) * 1 == first.tobytes() and (value == first).all() and _same_sign(value, first)
            if same:
                return self.op(broadcast_to, self.const(first), shape=value.shape)
        key = ("const", value.shape, value.dtype.str, value.tobytes() if value.nbytes < 1 << 16 else id(value))
        if key not in self.known:
            self.known[key] = Const(value)
        return self.known[key]

    def node(self, op: Primitive, args: tuple, params: dict, shape: tuple, dtype: Any) -> Any:
        """``op(*args)``, or what it is equal to."""
        if (rule := RULES.get(op)) is not None:
            found = attempted(rule, self, args, params, shape, dtype)
            if found is not None:
                return self.strong(found)
        key = (op, tuple([a.id if isinstance(a, Expr) else freeze(a) for a in args]), freeze(params) if params else ())
        found = self.known.get(key)
        if found is not None:
            return found
        if op.composite:
            found = attempted(self.written_out, op, args, params, dtype)
        else:
            found = self.folded(op, args, params, shape)
        if found is None:
            found = Expr(op, args, params, shape, dtype, None)
        self.known[key] = found
        return found

    def strong(self, x: Any) -> Any:
        """What stands for a node: an argument that is a Python number promotes weakly, nodes made from it do not."""
        return self.op(convert, x, dtype=x.dtype) if isinstance(x, Var) and x.weak else x

    def op(self, op: Primitive, *args: Any, **params: Any) -> Any:
        """The node of a primitive."""
        return self.node(op, args, params, *op.abstract(*args, **params))

    def aligned(self, x: Any, term: str, letters: list) -> Any:
        """An operand with its axes in the order of these letters, of length one where it has none."""
        order = sorted(range(len(term)), key=lambda a: letters.index(term[a]))
        x = self.op(transpose, x, axes=tuple(order)) if order else x
        sizes = dict(zip([term[a] for a in order], x.shape, strict=True))
        return self.op(reshape, x, shape=tuple(sizes.get(c, 1) for c in letters))

    def as_matmul(self, args: tuple, terms: list, output: str, sizes: dict) -> Any:
        """Two operands of an einsum as one product of (stacks of) matrices."""
        x, y = args
        both = [c for c in output if all(c in t for t in terms)]
        inner = [c for c in terms[0] if c in terms[1] and c not in output]
        sides = []
        for a, t in zip((x, y), terms, strict=True):  # what only one operand has and the result has not, is summed at once
            alone = tuple(k for k, c in enumerate(t) if c not in output and c not in inner)
            a = self.op(sum_, a, axes=alone, keepdims=False) if alone else a
            sides.append((a, "".join(c for k, c in enumerate(t) if k not in alone)))
        (x, tx), (y, ty) = sides
        rows, columns = [c for c in output if c in tx and c not in both], [c for c in output if c in ty and c not in both]
        count = lambda letters: int(np.prod([sizes[c] for c in letters]))
        stack = tuple(sizes[c] for c in both)
        x = self.op(reshape, self.aligned(x, tx, [*both, *rows, *inner]), shape=(*stack, count(rows), count(inner)))
        y = self.op(reshape, self.aligned(y, ty, [*both, *inner, *columns]), shape=(*stack, count(inner), count(columns)))
        z = self.op(reshape, self.op(matmul, x, y), shape=tuple(sizes[c] for c in [*both, *rows, *columns]))
        order = [*both, *rows, *columns]
        return self.op(transpose, z, axes=tuple(order.index(c) for c in output)) if output else z

    def folded(self, op: Primitive, args: tuple, params: dict, shape: tuple) -> Any:
        if any(not isinstance(a, Const) if isinstance(a, Expr) else False for a in args) or not args:
            return None
        if int(np.prod(shape)) > min(FOLD, max([getattr(a, "size", 1) for a in args])):
            return None
        try:
            with np.errstate(all="ignore"):
                return self.const(op.evaluate(*(a.value if isinstance(a, Expr) else a for a in args), **params))
        except (FadError, ValueError, TypeError, IndexError):  # it is told when the program runs
            return None

    def written_out(self, op: Primitive, args: tuple, params: dict, dtype: Any) -> Any:
        """The definition of a composite, simplified in its turn."""
        return self.defined(lambda *xs: _in_dtype(op.evaluate(*xs, **params), dtype), *args)

    def defined(self, function: Callable, *args: Any) -> Any:
        """A function of NumPy on stand-ins for nodes, simplified."""
        stand_ins = [Var("x", a.shape, a.dtype) if isinstance(a, Expr) else a for a in args]
        out = function(*stand_ins)
        for s, a in zip(stand_ins, args, strict=True):
            if isinstance(s, Var):
                self.env[s.id] = a
        return self.result(out)


def _in_dtype(y: Any, dtype: Any) -> Any:
    return y if y.dtype == dtype else y.astype(dtype)


def _same_sign(value: np.ndarray, first: Any) -> bool:
    return bool(first != 0) or value.dtype.kind not in "fc" or value.tobytes() == first.tobytes() * value.size


# -- identities: each gives an equal node, or None ----------------------------------------------------------------------


def _number(x: Any) -> Any:
    """The Python number that a constant scalar, or a broadcast of one, stands for; None otherwise."""
    if isinstance(x, Expr):
        if isinstance(x, Const) and x.size == 1:
            return x.value.item()
        if x.op is broadcast_to:
            return _number(x.args[0])
        return None
    return x


def _as(work: _Simplifier, x: Any, shape: tuple, dtype: Any) -> Any:
    """x where it already has the shape and dtype of the result."""
    return x if isinstance(x, Expr) and x.shape == shape and x.dtype == dtype else None


def _neutral(position: int, number: float) -> Callable:
    """An identity with a neutral operand; its sign counts for zeros."""

    def rule(work: _Simplifier, args: tuple, params: dict, shape: tuple, dtype: Any) -> Any:
        for i in ((0, 1) if position < 0 else (position,)) if dtype.kind in "fi" else ():
            n = _number(args[i])
            if n is not None and n == number and np.signbit(np.real(n)) == np.signbit(number):
                return _as(work, args[1 - i], shape, dtype)
        return None

    return rule


def _first(work: _Simplifier, args: tuple, params: dict, shape: tuple, dtype: Any) -> Any:
    return _as(work, args[0], shape, dtype)


def _astype(work: _Simplifier, args: tuple, params: dict, shape: tuple, dtype: Any) -> Any:
    """A conversion to the dtype that is there; of a Python number it makes a strong one."""
    return None if isinstance(args[0], Var) and args[0].weak else _as(work, args[0], shape, dtype)


def _negative(work: _Simplifier, args: tuple, params: dict, shape: tuple, dtype: Any) -> Any:
    """-(-x) is x."""
    x = args[0]
    return x.args[0] if isinstance(x, Expr) and x.op is negative else None


def _broadcast(work: _Simplifier, args: tuple, params: dict, shape: tuple, dtype: Any) -> Any:
    """A broadcast that changes nothing."""
    return args[0] if isinstance(args[0], Expr) and args[0].shape == shape else None


def _reshape(work: _Simplifier, args: tuple, params: dict, shape: tuple, dtype: Any) -> Any:
    """A reshape that changes nothing, one of a broadcast number, and one of a reshape."""
    x = args[0]
    if not isinstance(x, Expr) or x.shape == shape:
        return x if isinstance(x, Expr) else None
    if x.op is broadcast_to and _number(x) is not None:
        return work.node(broadcast_to, (x.args[0],), {"shape": shape}, shape, dtype)
    return work.node(reshape, (x.args[0],), {"shape": shape}, shape, dtype) if x.op is reshape else None


def _transpose(work: _Simplifier, args: tuple, params: dict, shape: tuple, dtype: Any) -> Any:
    x, axes = args[0], params["axes"]
    if axes == tuple(range(len(axes))):
        return x
    if x.op is transpose:
        axes = tuple(x.params["axes"][a] for a in axes)
        return work.node(transpose, (x.args[0],), {"axes": axes}, shape, dtype)
    return None


def _reduction(work: _Simplifier, args: tuple, params: dict, shape: tuple, dtype: Any) -> Any:
    """A reduction over axes of length one is a reshape."""
    x = args[0]
    if not isinstance(x, Expr) or x.dtype != dtype or any(x.shape[a] != 1 for a in params["axes"]):
        return None
    return x if x.shape == shape else work.op(reshape, x, shape=shape)


def _sum(work: _Simplifier, args: tuple, params: dict, shape: tuple, dtype: Any) -> Any:
    """As `_reduction`; a sum of -0.0 alone is 0.0."""
    x = _reduction(work, args, params, shape, dtype)
    return work.op(add, x, 0.0) if x is not None and dtype.kind in "fc" else x


def _where(work: _Simplifier, args: tuple, params: dict, shape: tuple, dtype: Any) -> Any:
    c, x, y = args
    taken = _number(c)
    if taken is not None:
        return _as(work, x if taken else y, shape, dtype)
    return _as(work, x, shape, dtype) if x is y else None


def _strong(work: _Simplifier, args: tuple, params: dict, shape: tuple, dtype: Any) -> Any:
    """A strong zero is an ordinary one where the other factor is a finite number."""
    for i in (0, 1):
        n = _number(args[i])
        if n is not None and np.isfinite(n) and n != 0:
            return work.node(multiply, args, {}, shape, dtype)
    return None


def _power(work: _Simplifier, args: tuple, params: dict, shape: tuple, dtype: Any, root: bool = True) -> Any:
    """Powers that are a few multiplications, or a root. NumPy's power takes x ** 0.5 for a square root, float_power does not."""
    x, n = args[0], _number(args[1])
    if n is None or not isinstance(x, Expr) or x.dtype != dtype or dtype.kind != "f" or x.shape != shape or n not in POWERS:
        return None
    if n == 0.5 and root:
        return work.op(sqrt, x)
    whole, half = divmod(abs(n), 1)
    if half:  # pow(-inf, 1.5) is inf, and pow(-0.0, 1.5) is 0.0
        x = work.op(add, work.op(select, work.op(equal, x, -np.inf), np.inf, x), 0.0)
    invert = (lambda y: work.op(reciprocal, y)) if n < 0 else (lambda y: y)
    result = invert(work.op(sqrt, x)) if half else None
    base = invert(x) if whole else x
    while whole:
        if whole % 2:
            result = base if result is None else work.op(multiply, result, base)
        whole //= 2
        base = work.op(square, base) if whole else base
    return result


POWERS = (0.5, 1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, -0.5, -1, -1.5, -2, -3)


SMALL_PRODUCT = 1 << 14  # multiplications of two matrices up to which a product is written as loops; kernels do the larger ones


def _matmul(work: _Simplifier, args: tuple, params: dict, shape: tuple, dtype: Any) -> Any:
    """A small product as a sum of products, so that it fuses with what is around it; stacks with one factor as one product."""
    a, b = args
    if shape == () or dtype.kind != "f" or 0 in (*a.shape, *b.shape):
        return None
    stack = int(np.prod(shape[:-2]))
    one_right, one_left = b.size == np.prod(b.shape[-2:]), a.size == np.prod(a.shape[-2:]) and b.shape[-1] == 1
    shared = stack > 1 and a.dtype == b.dtype and (one_right or one_left)
    small = (stack if shared else 1) * np.prod(shape[-2:]) * a.shape[-1] <= SMALL_PRODUCT
    if small or (stack == 1 and _is_read_once(a, b)):
        left = work.op(reshape, a, shape=(*a.shape, 1))
        right = work.op(reshape, b, shape=(*b.shape[:-2], 1, *b.shape[-2:]))
        return work.op(sum_, work.op(multiply, left, right), axes=(len(shape) - 1,), keepdims=False)
    if stack == 1 and b.shape[-1] == 1 and len(shape) == 2 and a.op is transpose:  # as a row times what lies in order
        row = work.op(matmul, work.op(reshape, b, shape=(1, b.shape[0])), a.args[0])
        return work.op(reshape, row, shape=shape)
    if not shared:
        return None
    rows, inner, columns = a.shape[-2], a.shape[-1], b.shape[-1]
    if one_right:  # all rows under one another
        flat = work.op(matmul, work.op(reshape, a, shape=(stack * rows, inner)), work.op(reshape, b, shape=(inner, columns)))
        return work.op(reshape, flat, shape=shape)
    rows_of_a = work.op(transpose, work.op(reshape, a, shape=(rows, inner)), axes=(1, 0))  # all columns as rows
    return work.op(reshape, work.op(matmul, work.op(reshape, b, shape=(stack, inner)), rows_of_a), shape=shape)


def _is_read_once(a: Any, b: Any) -> bool:
    """Whether a product takes each element of its larger operand once, in an order that loops do as fast as a kernel: a row or a
    column times a matrix that lies along the sum, or that stays in cache; or a column times a row."""
    if a.shape[-1] == 1:
        return True
    if 1 not in (a.shape[-2], b.shape[-1]):
        return False
    matrix, lies_across = (a, a.op is transpose) if b.shape[-1] == 1 else (b, b.op is not transpose)
    return not lies_across or matrix.nbytes <= SECOND_CACHE * 2


def _einsum(work: _Simplifier, args: tuple, params: dict, shape: tuple, dtype: Any) -> Any:
    """One or two operands: small ones as a sum of products, larger ones as a product of matrices."""
    inputs, output = params["subscripts"].split("->")
    terms = inputs.split(",")
    if len(args) > 2 or dtype.kind != "f" or any(not isinstance(a, Expr) or a.dtype != dtype for a in args):
        return None
    sizes = {c: n for t, a in zip(terms, args, strict=True) for c, n in zip(t, a.shape, strict=True)}
    summed = [c for c in sizes if c not in output]
    if 0 in sizes.values():
        return None
    both = [c for c in output if all(c in t for t in terms)]
    work_of_one = np.prod([n for c, n in sizes.items() if c not in both])
    small = work_of_one <= SMALL_PRODUCT
    if len(args) == 1 or small or not any(all(c in t for t in terms) for c in summed):
        letters = [*output, *summed]
        spread = [work.aligned(a, t, letters) for a, t in zip(args, terms, strict=True)]
        product = spread[0] if len(spread) == 1 else work.op(multiply, *spread)
        if not summed:
            return product
        return work.op(sum_, product, axes=tuple(range(len(output), len(letters))), keepdims=False)
    return work.as_matmul(args, terms, output, sizes)


SHORT = 16  # elements of a row up to which sliding it along another is written as a sum of shifted products


def _slide(work: _Simplifier, args: tuple, params: dict, shape: tuple, dtype: Any) -> Any:
    """A short row along a long one, element by element of the short one, so that it fuses with what is around it."""
    a, w = args
    if not 0 < w.shape[0] <= SHORT or dtype.kind != "f" or a.dtype != w.dtype or not shape[0]:
        return None
    at = lambda x, start, n: work.op(getitem, x, index=(slice(start, start + n),))
    terms = [work.op(multiply, at(a, j, shape[0]), at(w, j, 1)) for j in range(w.shape[0])]
    total = terms[0]
    for term in terms[1:]:
        total = work.op(add, total, term)
    return total


def _getitem(work: _Simplifier, args: tuple, params: dict, shape: tuple, dtype: Any) -> Any:
    """New axes are a reshape of their own, and to read everything is nothing."""
    x, index = args[0], params["index"]
    if not isinstance(x, Expr):
        return None
    if any(i is None for i in index):
        return work.op(reshape, work.op(getitem, x, index=tuple(i for i in index if i is not None)), shape=shape)
    return x if x.shape == shape and _reads_all(index) else None


def _reads_all(index: tuple) -> bool:
    return all(i is Ellipsis or (isinstance(i, slice) and i.step in (None, 1)) for i in index)


def _embed(work: _Simplifier, args: tuple, params: dict, shape: tuple, dtype: Any) -> Any:
    """The transpose of `_getitem`, and of reading everything."""
    x, index = args[0], params["index"]
    if not isinstance(x, Expr):
        return None
    if any(i is None for i in index):
        index = tuple(i for i in index if i is not None)
        target = np.broadcast_to(np.empty((), bool), shape)[index].shape
        return work.op(embed, work.op(reshape, x, shape=target), index=index, shape=shape)
    if Ellipsis in index and not _reads_all(index):
        at = index.index(Ellipsis)
        index = (*index[:at], *(slice(None),) * (len(shape) - len(index) + 1), *index[at + 1 :])
        return work.op(embed, x, index=index, shape=shape)
    if any(isinstance(i, slice) and (i.step or 1) < 0 for i in index):
        return _turned(work, x, index, shape)
    for axis, i in enumerate(index):
        if isinstance(i, slice) and (i.step or 1) > 1 and 0 not in x.shape:
            return _spread(work, x, index, shape, axis)
    return x if x.shape == shape and _reads_all(index) else None


def _spread(work: _Simplifier, x: Any, index: tuple, shape: tuple, axis: int) -> Any:
    """What goes into every s-th place of an axis: zeros beside each element, and the two axes as one."""
    at = axis - sum([not isinstance(i, slice) for i in index[:axis]])  # integers before it have no axis in x
    places = range(*index[axis].indices(shape[axis]))
    count, step = len(places), places.step
    apart = (*x.shape[: at + 1], step, *x.shape[at + 1 :])
    first = (*(slice(None),) * (at + 1), slice(0, 1))
    wide = work.op(embed, work.op(reshape, x, shape=(*x.shape[: at + 1], 1, *x.shape[at + 1 :])), index=first, shape=apart)
    wide = work.op(reshape, wide, shape=(*x.shape[:at], count * step, *x.shape[at + 1 :]))
    size = min(count * step, shape[axis] - places.start)
    wide = work.op(getitem, wide, index=(*(slice(None),) * at, slice(0, size)))
    return work.op(embed, wide, index=(*index[:axis], slice(places.start, places.start + size), *index[axis + 1 :]), shape=shape)


def _turned(work: _Simplifier, x: Any, index: tuple, shape: tuple) -> Any:
    """What goes into places from the last to the first, turned round."""
    forward, turn = [], []
    for i, n in zip(index, shape, strict=False):
        places = range(*i.indices(n)) if isinstance(i, slice) else None
        back = places is not None and places.step < 0 and len(places) > 0
        forward.append(slice(places[-1], places[0] + 1, -places.step) if back and places is not None else i)
        turn += [] if places is None else [slice(None, None, -1 if back else None)]
    return work.op(embed, work.op(getitem, x, index=tuple(turn)), index=tuple(forward), shape=shape)


def _dense(work: _Simplifier, args: tuple, params: dict, shape: tuple, dtype: Any) -> Any:
    x, w, b = args
    product = work.node(matmul, (x, w), {}, shape, np.result_type(x.dtype, w.dtype))
    return work.node(add, (product, b), {}, shape, dtype)


RULES: dict[Primitive, Callable] = {
    multiply: _neutral(-1, 1.0),
    divide: _neutral(1, 1.0),
    subtract: _neutral(1, 0.0),
    add: _neutral(-1, -0.0),
    stop: _first,
    named: _first,
    positive: _first,
    negative: _negative,
    convert: _astype,
    reshape: _reshape,
    broadcast_to: _broadcast,
    transpose: _transpose,
    sum_: _sum,
    prod_: _reduction,
    max_: _reduction,
    min_: _reduction,
    select: _where,
    strong_multiply: _strong,
    power: _power,
    float_power: partial(_power, root=False),
    dense: _dense,
    matmul: _matmul,
    einsum: _einsum,
    getitem: _getitem,
    embed: _embed,
    slide: _slide,
    cumsum: write_running(operator.add, -0.0),
    cumprod: write_running(operator.mul, 1.0),
    argmax: write_position(max_),
    argmin: write_position(min_),
    **factored.RULES,
}
