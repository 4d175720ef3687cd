"""Taylor arithmetic: truncated power series through the operations of a tree, from the one derivative fact of each record.

With x(t) = sum of x_k t^k every operation y = op(x) has a series too. Where op is linear, y_k = op(x_k); where it is bilinear,
y_k is the sum of op(a_j, b_(k-j)). For any other, y'(t) = J(x(t)) x'(t): the tangent rule of the record, run on symbols, is a tree
in x, y and x', whose coefficient k - 1 is k y_k and depends on those of y up to k - 1 alone. So exp, log, tanh or det come to
order K in about K^2 / 2 products without a rule of their own. Series of one operation on the same series are one object, so that
sin and cos, each of which is in the other's derivative, are two series and no endless chain.

Source: Griewank & Walther 2008, chapter 13; the coefficients come one at a time, as in van der Hoeven 2002.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fad.core.expr import Expr, Var, short
from fad.core.nans import watched_sweep
from fad.core.primitive import Joint, Linear, LinearIn, Partials, Primitive
from fad.errors import TraceError
from fad.primitives.dense import dense
from fad.primitives.elementwise import divide, multiply
from fad.primitives.linalg import matmul
from fad.primitives.select import strong_multiply
from fad.transforms.forward import like
from fad.transforms.rules import primal, push
from fad.transforms.trace import Graph, Trace
from fad.tree import freeze

__all__ = ["Series", "series_of"]

LATER = object()  # in the place of a coefficient of order 0 that is computed if anybody asks


class Series:
    """coefs[0] + coefs[1] t + coefs[2] t^2 + ..., None for a coefficient that is zero."""

    def __init__(self, shape: tuple, dtype: np.dtype, coefs: list):
        self.shape, self.dtype, self.coefs = shape, dtype, coefs

    def coefficient(self, k: int) -> Any:
        """The array of order k; None for zero."""
        return self.coefs[k] if k < len(self.coefs) else None

    def peek(self) -> Any:
        """What stands for the coefficient of order 0 where a rule may not read it."""
        return self.coefficient(0)


class Slope(Series):
    """The series of the derivative by t: (k + 1) x_(k+1)."""

    def __init__(self, of: Series):
        super().__init__(of.shape, of.dtype, [])
        self.of = of

    def coefficient(self, k: int) -> Any:
        """The array of order k; None for zero."""
        c = self.of.coefficient(k + 1)
        return c if c is None or k == 0 else c * (k + 1)


class Computed(Series):
    """op(*args, **params) on series and constants; ``guarded`` has zeros that stay zero against infinity and NaN."""

    def __init__(self, op: Primitive, args: tuple, params: dict, guarded: bool, node: Expr, taylor: Taylor):
        super().__init__(node.shape, node.dtype, [LATER])
        self.op, self.args, self.params, self.guarded, self.node, self.taylor = op, args, params, guarded, node, taylor
        self.active = [i for i, a in enumerate(args) if isinstance(a, Series)]
        self.fact: Any = op.derivative
        self.rule = _rule_for(self)
        self.steps: list | None = None  # of the derivative: series in order, the result last

    def coefficient(self, k: int) -> Any:
        """The array of order k; None for zero."""
        coefs = self.coefs
        if k == 0 and coefs[0] is LATER:
            coefs[0] = like(self.op(*[_first(a) for a in self.args], **self.params), self)
        while len(coefs) <= k:
            c = self.rule(self, len(coefs))
            coefs.append(None if c is None else like(c, self))
        return coefs[k]

    def peek(self) -> Any:
        """What stands for the coefficient of order 0 where a rule may not read it."""
        return self.node if self.coefs[0] is LATER else self.coefs[0]

    def product(self, a: Any, b: Any) -> Any:
        """a * b."""
        return strong_multiply(a, b) if self.guarded else a * b


def _first(a: Any) -> Any:
    return a.coefficient(0) if isinstance(a, Series) else a


def _peeked(args: tuple) -> list:
    return [a.peek() if isinstance(a, Series) else a for a in args]


def _total(terms: Iterator) -> Any:
    """The sum of what is not None; None where nothing is left."""
    total = None
    for term in terms:
        if term is not None:
            total = term if total is None else total + term
    return total


# -- the coefficient of order k >= 1, by kind of operation -----------------------------------------------------------


def _rule_for(s: Computed) -> Callable:
    fact = s.fact
    if s.op in _OF_ITS_OWN:
        return _OF_ITS_OWN[s.op]
    if isinstance(fact, Joint):
        return _joint
    if isinstance(fact, Linear):
        return _summed if fact.push else _multilinear
    if isinstance(fact, LinearIn):
        return _solution
    if isinstance(fact, Partials) and not fact.ties and all(type(fact.rules[i]) in (int, float) for i in s.active):
        return _constant_partials
    return _by_derivative


def _joint(s: Computed, k: int) -> Any:
    found = {i: c for i in s.active if (c := s.args[i].coefficient(k)) is not None}
    return s.fact.push(found, *_peeked(s.args), **s.params) if found else None


def _summed(s: Computed, k: int) -> Any:
    """Linear in all arguments together: a selection."""
    args = _peeked(s.args)
    terms = ((i, s.args[i].coefficient(k)) for i in s.active if s.fact.transpose[i])
    return _total(None if c is None else s.fact.push[i](c, *args, **s.params) for i, c in terms)


def _constant_partials(s: Computed, k: int) -> Any:
    rules = s.fact.rules
    terms = ((rules[i], s.args[i].coefficient(k)) for i in s.active if rules[i] != 0)
    return _total(c if c is None or p == 1 else p * c for p, c in terms)


def _multilinear(s: Computed, k: int) -> Any:
    """The sum over orders that add up to k."""
    moving = [i for i in s.active if s.fact.transpose[i : i + 1] not in ((), (None,))]
    args = [_first(a) if len(moving) > 1 or i not in moving else None for i, a in enumerate(s.args)]

    def term(orders: tuple) -> Any:
        for i, j in zip(moving, orders, strict=True):
            args[i] = s.args[i].coefficient(j)
            if args[i] is None:
                return None
        return s.op(*args, **s.params)

    return _total(map(term, _orders(k, len(moving)))) if moving else None


def _orders(k: int, parts: int) -> Iterator[tuple]:
    if parts == 1:
        yield (k,)
        return
    for j in range(k + 1):
        for rest in _orders(k - j, parts - 1):
            yield (j, *rest)


def _product(s: Computed, k: int) -> Any:
    a, b = s.args
    if not (isinstance(a, Series) and isinstance(b, Series)):
        moving, factor = (a, b) if isinstance(a, Series) else (b, a)
        c = moving.coefficient(k)
        return None if c is None or (type(factor) in (int, float) and factor == 0) else s.product(c, factor)
    pairs = ((a.coefficient(j), b.coefficient(k - j)) for j in range(k + 1))
    return _total(None if x is None or y is None else s.product(x, y) for x, y in pairs)


def _quotient(s: Computed, k: int) -> Any:
    """z b = a, so z_k = (a_k - sum of b_j z_(k-j)) / b_0."""
    a, b = s.args
    total = a.coefficient(k) if isinstance(a, Series) else None
    for j in range(1, k + 1) if isinstance(b, Series) else ():
        x, z = b.coefficient(j), s.coefficient(k - j)
        if x is not None and z is not None:
            term = s.product(x, z)
            total = -term if total is None else total - term
    if total is None:
        return None
    return strong_multiply(total, 1 / _first(b)) if s.guarded else total / _first(b)


def _solution(s: Computed, k: int) -> Any:
    """x_k = op(a_0, b_k + sum of what a_j does to x_(k-j)): one solution for each order."""
    fact, args = s.fact, [_first(a) for a in s.args]
    b = s.args[fact.place]
    total = b.coefficient(k) if isinstance(b, Series) else None
    for j in range(1, k + 1):
        moved = {i: c for i in s.active if i != fact.place and (c := s.args[i].coefficient(j)) is not None}
        x = s.coefficient(k - j) if moved else None
        if x is not None:
            term = fact.rule(moved, x, *args, **s.params)
            total = term if total is None else total + term
    return None if total is None else s.op(*args[: fact.place], total, *args[fact.place + 1 :], **s.params)


def _dense(s: Computed, k: int) -> Any:
    x, w, b = s.args
    taylor = s.taylor
    if s.steps is None:
        s.steps = [taylor.apply(matmul, x, w, guarded=s.guarded)] if isinstance(x, Series) or isinstance(w, Series) else []
    return _total(part.coefficient(k) for part in (*s.steps, b) if isinstance(part, Series))


def _by_derivative(s: Computed, k: int) -> Any:
    if s.steps is None:
        s.steps = s.taylor.derivative(s)
    for step in s.steps:  # in order, so that nothing recurses through the tree
        c = step.coefficient(k - 1)
    return None if not s.steps or c is None else c / k


_OF_ITS_OWN: dict[Primitive, Callable] = {multiply: _product, divide: _quotient, dense: _dense}


# -- trees ---------------------------------------------------------------------------------------------------------


class Taylor:
    """Series by what they are computed from."""

    def __init__(self) -> None:
        self.known: dict[tuple, Series] = {}
        self.slopes: dict[int, Slope] = {}

    def make(self, op: Primitive, args: tuple, params: dict, guarded: bool, node: Any) -> Any:
        """The series of ``op(*args)``; ``node`` has its shape and dtype."""
        if op.functions:
            raise TraceError(
                f"jet: a {op.name} has no series",
                got=short(node),
                rule="series go through single operations",
                fix="nest fad.jvp, or write the loop in Python: fad.trace follows it",
            )
        key = (op, tuple(map(_key, args)), freeze(params), guarded)
        found = self.known.get(key)
        if found is None:
            found = self.known[key] = Computed(op, args, params, guarded, node, self)
        return found

    def apply(self, op: Primitive, *args: Any, guarded: bool) -> Any:
        """The series of an operation without parameters."""
        return self.make(op, args, {}, guarded, Var("y", *op.abstract(*args)))

    def slope(self, of: Series) -> Slope:
        """The series of x'."""
        if id(of) not in self.slopes:
            self.slopes[id(of)] = Slope(of)
        return self.slopes[id(of)]

    def derivative(self, s: Computed) -> list[Series]:
        """The series of y' = J(x) x' and of what it is computed from, in order; [] where it is zero."""
        opened = Trace("jet")
        stand_for: dict[int, Any] = {}

        def symbol(series: Any) -> Any:
            if not isinstance(series, Series):
                return series
            var = opened.symbol(series.shape, series.dtype)
            stand_for[var.id] = series
            return var

        args, out = tuple(map(symbol, s.args)), symbol(s)
        tangents = {i: symbol(self.slope(s.args[i])) for i in s.active}
        y = push(s.op, tangents, s.active, s.guarded, out, args, s.params)
        if not isinstance(y, Expr):
            return [] if y is None else [Series(np.shape(y), np.dtype(y.dtype), [y])]
        steps = self.walk(opened, y, stand_for, s.guarded)
        return [*steps, as_series(stand_for[y.id])]

    def walk(self, opened: Trace, y: Expr, stand_for: dict[int, Any], guarded: bool) -> list[Series]:
        """What every node of the tree of y is, as a series or constant, noted in ``stand_for``; the new series in order."""
        steps = []
        for node in opened.between(y):
            if node.id in stand_for:
                continue
            args = tuple([stand_for.get(a.id, a) if isinstance(a, Expr) else a for a in node.args])
            if node.op is None:
                stand_for[node.id] = node.value
            elif any(isinstance(a, Series) for a in args) and node.op.derivative is not None and node.dtype.kind in "fc":
                stand_for[node.id] = self.make(node.op, args, node.params, guarded, node)
                steps.append(stand_for[node.id])
            else:  # the same for all t, as conditions are
                stand_for[node.id] = node.op(*map(_first, args), **node.params)
        return steps


def as_series(x: Any) -> Series:
    """A constant as a series."""
    return x if isinstance(x, Series) else Series(np.shape(x), np.dtype(x.dtype), [x])


def _key(a: Any) -> tuple:
    """What tells arguments apart: series and arrays by identity, as those who hold the key hold them too."""
    if isinstance(a, Series | np.ndarray):
        return "object", id(a)
    return ("node", a.id) if isinstance(a, Expr) else freeze(a)


def series_of(graph: Graph, inputs: list, coefs: list[list], outputs: list, order: int) -> list[list]:
    """Coefficients 1 to ``order`` of each output, for those of the inputs; None for zero."""
    taylor = Taylor()
    values = {a.id: a for node in graph.nodes for a in (*node.args, node) if isinstance(a, Expr) and a.value is not None}
    concrete = all(x.value is not None for x in inputs)
    found: dict[int, Series] = {}
    for x, c in zip(inputs, coefs, strict=True):
        found[x.id] = Series(x.shape, x.dtype, [primal(x, graph.plain), *c])
    watch = watched_sweep("Taylor")
    with watch or np.errstate(all="ignore"):
        for node in graph.nodes:
            args = tuple([found.get(a.id) or primal(a, graph.plain) if isinstance(a, Expr) else a for a in node.args])
            value = LATER if concrete and node.id not in values else primal(values.get(node.id, node), graph.plain)
            if node.op.derivative is None:
                found[node.id] = Series(node.shape, node.dtype, [value])
                continue
            s = found[node.id] = taylor.make(node.op, args, node.params, node.id in graph.guarded, node)
            if s.coefs[0] is LATER:
                s.coefs[0] = value
        for k in range(1, order + 1):
            for node in graph.nodes:
                if watch:
                    watch.node = node
                c = found[node.id].coefficient(k)
                if watch:
                    watch.check_order(node, k, c)
    series = [found.get(y.id) if isinstance(y, Expr) else None for y in outputs]
    return [[None if s is None else s.coefficient(k) for k in range(1, order + 1)] for s in series]
