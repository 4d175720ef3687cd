"""checkpoint: functions whose intermediate values reverse mode computes again rather than keeps."""

from __future__ import annotations

import functools
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from fad import tree
from fad.control.closing import close, leaf
from fad.control.functions import batch_function, pull_function, push_function, rebuild
from fad.core import options
from fad.core.expr import Expr, Var, reachable
from fad.core.function import Function
from fad.core.primitive import ByMode
from fad.core.results import Results
from fad.errors import NameMissingError
from fad.primitives.elementwise import barrier
from fad.primitives.families import structural
from fad.primitives.naming import named
from fad.primitives.result import results_of
from fad.transforms.transformed import name_of

__all__ = ["checkpoint", "recompute", "recomputed"]


def checkpoint(f: Callable, keep: str | tuple[str, ...] = ()) -> Callable:
    """f, of which reverse mode keeps the arguments alone, and computes the rest again when its turn comes.

    Memory falls from all intermediate values to the arguments, for one more evaluation of f. Forward mode is not changed.

    Args:
        f: function of arrays and pytrees.
        keep: names of values, given by `named` within f, that are kept all the same: those that cost much and take little.
    Raises: NameMissingError where f has no value of such a name.

    >>> import fad
    >>> fad.grad(checkpoint(lambda x: np.sin(np.sin(x))))(0.0)
    np.float64(1.0)
    """
    options.function("checkpoint: f", f, "fad.checkpoint(f)")
    names = (keep,) if isinstance(keep, str) else tuple(keep)

    @functools.wraps(f)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        leaves, in_tree = tree.flatten((args, kwargs))
        if not any(isinstance(x, Expr) for x in leaves):
            return f(*args, **kwargs)
        what = f"checkpoint({name_of(f)})"
        leaves = [leaf(x, what) for x in leaves]
        call = lambda both: f(*both[0], **both[1])
        closed = close(what, call, leaves, tree.structure((tree.unflatten(in_tree, leaves),)), lambda y: y, 0)
        kept = find_named(what, closed.function, names)
        body = Function(closed.function.inputs, [*closed.function.outputs, *kept], name=closed.function.name)
        found = results_of(recompute(*closed.captured, *leaves, body=body, kept=names))
        return tree.unflatten(closed.out_tree, found[: closed.out_tree.num_leaves])

    return wrapped


def recomputed(f: Function, args: list) -> list:
    """The results of a Function whose intermediate values are computed again in reverse mode."""
    return results_of(recompute(*args, body=f, kept=()))


def find_named(what: str, f: Function, names: tuple[str, ...]) -> list[Expr]:
    """The values of these names in order."""
    found = named_nodes(list(f.outputs), names)
    missing = set(names) - {n.params["name"] for n in found}
    if missing:
        raise NameMissingError(
            f"{what}: no value of this name",
            got=", ".join(sorted(missing)),
            rule="keep= names values within the function",
            fix="fad.named(value, name) where it is made",
        )
    return found


def named_nodes(outputs: list, names: tuple[str, ...]) -> list[Expr]:
    """The nodes that give values these names, in order."""
    return [n for n in reachable(outputs)[0] if n.op is named and n.params["name"] in names]


def push(tangents: dict, guarded: bool, out: Any, *args: Any, body: Function, kept: tuple) -> dict:
    """The tangents of the body."""
    extended, flags = push_function(body, tuple(k in tangents for k in range(len(args))), guarded)
    found = extended.run([*args, *[tangents[k] for k in sorted(tangents)]])[len(flags) :]
    own = iter(found)
    return {k: next(own) for k, flag in enumerate(flags) if flag}


@lru_cache(maxsize=256)
def pulled(body: Function, active: tuple, given: tuple, guarded: bool, kept: tuple) -> tuple[Function, tuple]:
    """(arguments, values kept, cotangents) to the cotangents of the active arguments that have one; which these are."""
    found = pull_function(body, active, given, guarded)
    stay = named_nodes(found.outputs, kept)
    variables = [Var("kept", n.shape, n.dtype) for n in stay]
    env: dict[int, Any] = {n.id: v for n, v in zip(stay, variables, strict=True)} | {x.id: x for x in found.inputs}
    cts = [c for c in found.cotangents if c is not None]
    bars = rebuild([b for b in found.bars if b is not None], env | {c.id: c for c in cts})
    return Function([*found.inputs, *variables, *cts], bars), tuple([k for k, b in enumerate(found.bars) if b is not None])


def pull(cts: dict, active: list, guarded: bool, out: Any, *args: Any, body: Function, kept: tuple) -> list:
    """The cotangents of the body, computed from its arguments again: not before the cotangents are there."""
    outs = results_of(out)
    f, places = pulled(body, tuple(k in active for k in range(len(args))), tuple(k in cts for k in range(len(outs))), guarded, kept)
    given = [cts[k] for k in sorted(cts)]
    count = len(named_nodes(list(body.outputs), kept)) if kept else 0
    found = f.run([*wait_for(given, list(args)), *outs[len(outs) - count :], *given])
    bars = dict(zip(places, found, strict=True))
    return [bars.get(k) for k in active]


def wait_for(cts: list, args: list) -> list:
    """Symbolic arguments that are there no earlier than cotangents, so that a program does not take their values of before."""
    signals = [c for c in cts if isinstance(c, Expr) and c.value is None and c.size]
    if not signals:
        return args
    first = np.reshape(signals[0], -1)[0]
    return [barrier(a, first) if isinstance(a, Expr) and a.value is None else a for a in args]


def batch(size: int, args: tuple, batched: tuple, *, body: Function, kept: tuple) -> tuple:
    """The same of the batched body."""
    wide = batch_function(body, size, batched, (True,) * len(body.outputs))[0]
    return tuple(results_of(recompute(*args, body=wide, kept=kept)))


recompute = structural(
    "recompute",
    lambda *args, body, kept: tuple([y if y.ndim else y[()] for y in map(np.asarray, body.run(list(args)))]),
    lambda *args, body, kept: ((), Results(tuple([(y.shape, y.dtype) for y in body.outputs]))),
    ByMode(push, pull),
    batch=batch,
    flops=lambda out, *args, body, kept: body.flops,
    role="call",
    functions=("body",),
)
