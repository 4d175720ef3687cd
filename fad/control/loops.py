"""scan, fori_loop, while_loop, map, associative_scan: loops that are one node of the tree, differentiable in both modes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fad import tree
from fad.control.blocks import recomputing, run_blocks, run_rows, segment, written_out
from fad.control.closing import NUMBERS, Closed, close, close_together, leaf, strong, trace_leaves
from fad.control.hoist import hoist
from fad.control.loop import loop
from fad.control.revolve import run_binomial
from fad.core import options
from fad.core.expr import Expr, Var, aval_text, short
from fad.core.function import Function
from fad.core.owned import own
from fad.errors import DtypeError, ShapeError, TreeError
from fad.primitives.elementwise import cast
from fad.primitives.families import dtype_of, shape_of
from fad.primitives.result import results_of

__all__ = ["associative_scan", "fori_loop", "map", "scan", "while_loop"]


def scan(
    f: Callable,
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int = 1,
    checkpoint: int | str | tuple[str, int] | None = None,
) -> tuple[Any, Any]:
    """c, y[t] = f(c, x[t]) for t = 0, 1, ..., n - 1: the last c, and all y stacked.

    One node of the tree, whatever its length: f is traced once. Forward mode stores nothing of the iterations, reverse mode what
    the derivative of f reads. Compiled, it is one native loop; in eager code Python runs short ones.

    Args:
        f: function of (carry, row of xs), of pytrees, that gives (carry, y); the carry keeps its structure, shapes and dtypes.
        init: the first carry. Python numbers in it take the dtype that f gives back.
        xs: pytree of arrays with one leading axis of length n; None: f is given None.
        length: n, where xs does not say.
        reverse: go from the last row to the first; y[t] still belongs to x[t].
        unroll: iterations that are written out in one body.
        checkpoint: what reverse mode keeps. None: of each iteration what it reads. k: the carry of every k-th one, and of k at a
            time what it reads; sqrt(n) takes the least memory, and one more evaluation. ("binomial", s): s carries at a time,
            placed for the least work (Griewank and Walther 2000); "binomial": log2 of n of them.
    Returns: (the last carry, the pytree of y with a leading axis of length n).
    Raises: TreeError, ShapeError or DtypeError where the carry changes its structure, a shape or a dtype, ShapeError where the
    axes of xs differ.

    >>> scan(lambda c, x: (c + x, c), 0.0, np.arange(1.0, 5.0))
    (np.float64(10.0), array([0., 1., 3., 6.]))
    """
    options.function("scan: f", f, "scan(lambda carry, x: (carry, y), init, xs)", 2)
    rows, xs_tree = tree.flatten(xs)
    rows = [leaf(x, "scan: xs") for x in rows]
    n = _length("scan", rows, length)
    like = [Var("x", x.shape[1:], x.dtype) for x in rows]
    inits, closed, carry_tree = _close_carry("scan", f, init, like, xs_tree)
    carry = len(inits)
    body, held, rows = hoist(closed.function, len(closed.captured), carry, closed.captured, rows)
    found = run(body, held, inits, rows, n, bool(reverse), options.count("scan: unroll", unroll), checkpoint)
    y_tree = closed.out_tree
    found = own(found, [*inits, *rows])
    return tree.unflatten(carry_tree, found[:carry]), tree.unflatten(y_tree, found[carry:])


def run(body: Function, held: list, inits: list, xs: list, n: int, reverse: bool, unroll: int, checkpoint: Any) -> list:
    """The last carry and the ys."""
    consts, carry = len(held), len(inits)
    if (unroll == 1 and checkpoint is None) or not n:
        return run_rows(body, held, inits, xs, n, reverse)
    xs = [np.flip(x, 0) for x in xs] if reverse else xs
    if checkpoint is None:
        found = run_blocks(lambda rows: written_out(body, consts, carry, rows), held, inits, xs, n, unroll)
    else:
        snapshots = None
        kind = checkpoint
        if isinstance(checkpoint, tuple) and len(checkpoint) == 2:
            kind, snapshots = checkpoint[0], options.count("scan: checkpoint", checkpoint[1], 2)
        if kind == "binomial":
            found = run_binomial(body, held, inits, xs, n, snapshots)
        else:
            size = options.count("scan: checkpoint", checkpoint)
            found = run_blocks(lambda rows: recomputing(segment(body, consts, carry, rows)), held, inits, xs, n, size)
    return [*found[:carry], *[np.flip(y, 0) for y in found[carry:]]] if reverse else found


def _length(what: str, rows: list, length: int | None) -> int:
    """The number of iterations."""
    for x in rows:
        if not x.shape:
            raise ShapeError(f"{what}: xs hold a number", got=short(x), rule="each array in xs has a row for each iteration",
                             fix="close over what is the same in all of them")  # fmt: skip
    sizes = {x.shape[0] for x in rows}
    if length is not None:
        sizes.add(options.count(f"{what}: length", length, 0))
    if len(sizes) != 1:
        raise ShapeError(
            f"{what}: leading axes differ" if sizes else f"{what}: how often?",
            got=", ".join([short(x) for x in rows]) + (f" and length={length}" if length is not None else "")
            if sizes
            else "neither xs nor a length",
            rule="the leading axes of all arrays in xs, and length, are the number of iterations",
            fix="cut xs to one length" if sizes else "scan(f, init, length=n)",
        )
    return sizes.pop()


def _close_carry(what: str, f: Callable, init: Any, rows: list, xs_tree: Any) -> tuple[list, Closed, Any]:
    """The leaves of the carry, the closed body, whose ``out_tree`` is that of y, and the structure of the carry."""
    numbers, carry_tree = tree.flatten(init)
    inits = [leaf(x, f"{what}: init") for x in numbers]
    in_tree = tree.structure((tree.unflatten(carry_tree, inits), tree.unflatten(xs_tree, rows)))

    def pair(result: Any) -> tuple:
        if not isinstance(result, tuple) or len(result) != 2:
            raise TreeError(
                f"{what}: f must give (carry, y)", got=short(result), rule="a pair", fix="return carry, None where there is no y"
            )
        return result

    inits = settle_numbers(lambda like: trace_leaves(what, f, [*like, *rows], in_tree, pair)[1], numbers, inits)
    closed = close(what, f, [*inits, *rows], in_tree, pair, len(inits))
    carry_out, y_tree = closed.out_tree.children()
    check_carry(what, carry_tree, inits, carry_out, closed.function.outputs[: carry_out.num_leaves])
    return inits, Closed(closed.function, closed.captured, y_tree), carry_tree


def settle_numbers(results: Callable, numbers: list, inits: list) -> list:
    """The inits, the Python numbers among them in the dtype that comes back for a number, which promotes weakly; ``results`` of
    symbols are what an iteration gives."""
    weak = [type(x) if type(x) in NUMBERS else None for x in numbers]
    while any(weak):
        found = results([Var("c", (), i.dtype, weak=w) if w else i for i, w in zip(inits, weak, strict=True)])
        dtypes = [np.result_type(i.dtype, y) if type(y) in NUMBERS else y.dtype for i, y in zip(inits, found, strict=False)]
        changed = [k for k, (w, d) in enumerate(zip(weak, dtypes, strict=False)) if w and d != inits[k].dtype]
        if not changed:
            break
        for k in changed:
            inits[k], weak[k] = np.asarray(numbers[k]).astype(dtypes[k])[()], None
    return inits


def check_carry(what: str, before: Any, inits: list, after: Any, outputs: Any) -> None:
    """Raise where a carry does not come back as it went in."""
    if before != after:
        raise TreeError(f"{what}: the carry changes its structure", got=f"{before} before, {after} after an iteration",
                        rule="what an iteration gives, the next one takes", fix="return it in the structure of init")  # fmt: skip
    path = tree.paths(tree.unflatten(before, inits))
    for p, a, b in zip(path, inits, outputs, strict=True):
        if (a.shape, a.dtype) != (b.shape, b.dtype):
            raise (ShapeError if a.shape != b.shape else DtypeError)(
                f"{what}: the carry{p} changes its {'shape' if a.shape != b.shape else 'dtype'}",
                got=f"{aval_text(a.shape, a.dtype)} before, {aval_text(b.shape, b.dtype)} after an iteration",
                rule="what an iteration gives, the next one takes",
                fix=f"begin with {'np.zeros(' + repr(b.shape) + ')' if a.shape != b.shape else f'np.asarray(init, np.{b.dtype})'}, "
                "or change what f gives",
            )


def fori_loop(lower: Any, upper: Any, body: Callable, init: Any) -> Any:
    """c = body(i, c) for i = lower, ..., upper - 1: the last c.

    Args:
        lower, upper: integers; where one is a node of an enclosing jit, the number of iterations is not known before the
            program runs, and the loop is a `while_loop`.
        body: function of (i, carry) that gives the carry.
        init: the first carry, a pytree.

    >>> fori_loop(1, 5, lambda i, c: c * i, 1.0)
    np.float64(24.0)
    """
    options.function("fori_loop: body", body, "fori_loop(lower, upper, lambda i, carry: carry, init)", 2)
    bounds = [_bound(b) for b in (lower, upper)]
    if any(isinstance(b, Expr) for b in bounds):
        start, stop = (np.int64(b) if not isinstance(b, Expr) else cast(b, np.dtype(np.int64)) for b in bounds)
        return while_loop(lambda state: state[0] < stop, lambda state: (state[0] + 1, body(state[0], state[1])), (start, init))[1]
    return scan(lambda c, i: (body(i, c), None), init, np.arange(bounds[0], max(bounds)))[0]


def _bound(x: Any) -> Any:
    """A bound of a counted loop as an integer, or as a node that has no value."""
    if isinstance(x, Expr) and x.dtype.kind in "iu" and not x.shape:
        return x if x.value is None else int(x.value)
    if isinstance(x, int | np.integer) and not isinstance(x, bool):
        return int(x)
    raise DtypeError("fori_loop: a bound", got=short(x), rule="lower and upper are integers", fix="fori_loop(0, n, body, init)")


def while_loop(cond_fun: Callable, body_fun: Callable, init: Any, max_steps: int | None = None) -> Any:
    """c = body(c) while cond(c): the first c for which cond does not hold.

    Forward mode stores nothing. Reverse mode stores what the derivative of the body reads of each iteration, in memory for
    ``max_steps`` iterations. Without it, the loop runs once more to count them; a compiled program then stores the residuals of 256
    iterations and 1024 carries, and computes iterations again, each at most four times; its gradient is NaN after more than 256^4.

    Args:
        cond_fun: function of the carry that gives one boolean.
        body_fun: function of the carry that gives the carry.
        init: the first carry, a pytree.
        max_steps: stop after so many iterations in any case.
    Raises: as `scan`.

    >>> while_loop(lambda c: c < 100, lambda c: 3 * c, 1)
    np.int64(243)
    """
    options.function("while_loop: cond_fun", cond_fun, "while_loop(lambda c: c < 10, lambda c: c + 1, init)", 1)
    options.function("while_loop: body_fun", body_fun, "while_loop(lambda c: c < 10, lambda c: c + 1, init)", 1)
    limit = None if max_steps is None else options.count("while_loop: max_steps", max_steps, 0)
    nothing = tree.structure(None)
    inits, closed, carry_tree = _close_carry("while_loop", lambda c, _: (body_fun(c), None), init, [], nothing)
    in_tree = tree.structure((tree.unflatten(carry_tree, inits),))
    (mark, *inputs), outputs, _ = trace_leaves("while_loop: cond_fun", cond_fun, inits, in_tree)
    outputs = [strong(y) for y in outputs]
    if len(outputs) != 1 or outputs[0].shape != () or outputs[0].dtype.kind not in "biu":
        raise DtypeError("while_loop: cond_fun gives no condition", got=[short(y) for y in outputs], rule="it gives one boolean",
                         fix="np.all(...) or np.any(...) of an array")  # fmt: skip
    (test,), more = close_together([(mark, inputs, [outputs[0] != 0 if outputs[0].dtype.kind != "b" else outputs[0]])])
    n, held = len(closed.captured), [*closed.captured, *more]
    body, test = with_constants(closed.function, n, more), with_constants(test, 0, closed.captured)
    found = results_of(
        loop(
            *held, *inits, body=body, condition=test, consts=len(held), carry=len(inits), length=limit, reverse=False, counted=False
        )
    )
    return tree.unflatten(carry_tree, own(found, inits))


def with_constants(f: Function, at: int, constants: list) -> Function:
    """f with further arguments like these at a place among its own, which it does not read."""
    unused = [Var("c", shape_of(c), np.dtype(dtype_of(c))) for c in constants]
    return Function([*f.inputs[:at], *unused, *f.inputs[at:]], f.outputs, name=f.name)


def map(f: Callable, xs: Any) -> Any:
    """y[t] = f(x[t]): f on each row by itself, one after another or on several threads; `fad.vmap` computes all at once.

    >>> map(lambda x: x * x, np.arange(3.0))
    array([0., 1., 4.])
    """
    options.function("map: f", f, "map(f, xs)", 1)
    return scan(lambda _, x: (None, f(x)), None, xs)[1]


def associative_scan(f: Callable, xs: Any, reverse: bool = False, axis: int = 0) -> Any:
    """y[t] = f(y[t - 1], x[t]) with y[0] = x[0], for an associative f of whole arrays, in log2(n) steps (Blelloch 1990).

    Args:
        f: function of two pytrees of arrays that combines them element by element along ``axis``.
        xs: pytree of arrays with an axis of one length.
        reverse: from the end.

    >>> associative_scan(np.multiply, np.arange(1.0, 5.0))
    array([ 1.,  2.,  6., 24.])
    """
    options.function("associative_scan: f", f, "associative_scan(np.add, xs)", 2)
    rows, xs_tree = tree.flatten(xs)
    rows = [np.moveaxis(leaf(x, "associative_scan: xs"), axis, 0) for x in rows]
    _length("associative_scan", rows, None)
    rows = [np.flip(x, 0) for x in rows] if reverse else rows

    def combine(a: list, b: list) -> list:
        return tree.leaves(f(tree.unflatten(xs_tree, a), tree.unflatten(xs_tree, b)))

    found = _prefixes(combine, rows)
    found = [np.flip(x, 0) for x in found] if reverse else found
    return tree.unflatten(xs_tree, own([np.moveaxis(x, 0, axis) for x in found], rows))


def _prefixes(combine: Callable, rows: list) -> list:
    """Pairs are combined, prefixes of these taken, and the even places filled in from their neighbours."""
    n = rows[0].shape[0] if rows else 0
    if n < 2:
        return rows
    pairs = combine([x[: n - 1 : 2] for x in rows], [x[1::2] for x in rows])
    odd = _prefixes(combine, pairs)
    even = combine([y[: (n - 1) // 2] for y in odd], [x[2::2] for x in rows]) if n > 2 else []
    return [_interleave(x[:1], e, o) for x, e, o in zip(rows, even or [x[:0] for x in rows], odd, strict=True)]


def _interleave(first: Any, even: Any, odd: Any) -> Any:
    """first, odd[0], even[0], odd[1], ..."""
    even = np.concatenate([first, even])
    short_of = even.shape[0] - odd.shape[0]
    padded = np.concatenate([odd, odd[:short_of]]) if short_of else odd
    both = np.stack([even, padded], 1)
    return np.reshape(both, (2 * even.shape[0], *even.shape[1:]))[: even.shape[0] + odd.shape[0]]
