"""Loops in blocks of iterations: written out, or with what happens in a block computed again in reverse mode."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fad.control.checkpoint import recomputed
from fad.control.functions import fresh
from fad.control.loop import loop
from fad.core.expr import Var
from fad.core.function import Function
from fad.primitives.result import results_of

__all__ = ["recomputing", "run_blocks", "run_rows", "segment", "written_out"]


def run_rows(body: Function, held: list, inits: list, xs: list, length: int, reverse: bool = False) -> list:
    """The last carry and the ys of a loop over rows."""
    params = {"condition": None, "consts": len(held), "carry": len(inits), "length": length, "reverse": reverse, "counted": False}
    return results_of(loop(*held, *inits, *xs, body=body, **params))


def segment(body: Function, consts: int, carry: int, size: int) -> Function:
    """A loop over ``size`` rows as the body of another one: rows are blocks of rows."""
    held, inits, rows = (
        fresh(body.inputs[:consts]),
        fresh(body.inputs[consts : consts + carry]),
        blocks_like(body, consts + carry, size),
    )
    return Function([*held, *inits, *rows], run_rows(body, held, inits, rows, size))


def blocks_like(body: Function, at: int, size: int) -> list[Var]:
    """New Vars for blocks of rows."""
    return [Var("x", (size, *x.shape), x.dtype) for x in body.inputs[at:]]


def written_out(body: Function, consts: int, carry: int, size: int) -> Function:
    """``size`` iterations, one after another, as the body of a loop over blocks of rows."""
    held, inits, rows = (
        fresh(body.inputs[:consts]),
        fresh(body.inputs[consts : consts + carry]),
        blocks_like(body, consts + carry, size),
    )
    state, ys = list(inits), []
    for t in range(size):
        outs = body.run([*held, *state, *[x[t] for x in rows]])
        state, made = outs[:carry], outs[carry:]
        ys.append(made)
    return Function([*held, *inits, *rows], [*state, *[np.stack(y) for y in zip(*ys, strict=True)]])


def run_blocks(block: Callable, held: list, inits: list, xs: list, length: int, size: int) -> list:
    """A loop over blocks of so many rows, ``block(rows)`` being the Function of one, and what is left over."""
    count, carry = length // size, len(inits)
    found: tuple[list, list] = list(inits), []
    if count:
        whole = [np.reshape(x[: count * size], (count, size, *x.shape[1:])) for x in xs]
        outs = run_rows(block(size), held, inits, whole, count)
        found = outs[:carry], [np.reshape(y, (count * size, *y.shape[2:])) for y in outs[carry:]]
    if rest := length - count * size:
        outs = block(rest).run([*held, *found[0], *[x[count * size :] for x in xs]])
        ys = outs[carry:]
        found = outs[:carry], [np.concatenate([a, b]) for a, b in zip(found[1], ys, strict=True)] if count else ys
    return [*found[0], *found[1]]


def recomputing(f: Function) -> Function:
    """A Function whose intermediate values are computed again in reverse mode."""
    inputs = fresh(f.inputs)
    return Function(inputs, recomputed(f, inputs))
