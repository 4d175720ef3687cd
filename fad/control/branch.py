"""branch: one of several Functions, chosen by an integer: ``branch(index, *operands) = branches[index](*operands)``."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from fad.control.functions import batch_function, fresh, pull_function, push_function, rebuild, zeros_like
from fad.control.loop import as_declared, map_lanes
from fad.core.function import Function
from fad.core.primitive import ByMode
from fad.core.results import Results
from fad.errors import OutOfRangeError
from fad.primitives.families import front, structural
from fad.primitives.result import results_of

__all__ = ["branch"]

BOTH = 64  # operations a lane up to which all branches are computed, where lanes of a batch take different ones


def evaluate(index: Any, *operands: Any, branches: tuple) -> tuple:
    """The branch that is chosen, in Python."""
    if not 0 <= int(index) < len(branches):
        raise OutOfRangeError(
            "switch: no such branch",
            got=int(index),
            rule=f"there are {len(branches)} branches, counted from 0",
            fix=f"np.clip(index, 0, {len(branches) - 1}) if the first and the last one should take what lies outside",
        )
    chosen = branches[int(index)]
    return tuple([as_declared(y, like) for y, like in zip(chosen.run(list(operands)), chosen.outputs, strict=True)])


def abstract(index: Any, *operands: Any, branches: tuple) -> tuple:
    """The results of any branch; all have the same shapes and dtypes."""
    return (), Results(tuple([(y.shape, y.dtype) for y in branches[0].outputs]))


@lru_cache(maxsize=256)
def pushed(branches: tuple, active: tuple, guarded: bool) -> tuple[tuple, tuple]:
    """The tangents of the results that have one in some branch, for each branch; and which ones these are."""
    found = [push_function(f, active, guarded) for f in branches]
    flags = tuple(any(some) for some in zip(*[own for _, own in found], strict=True))
    made = []
    for f, (extended, own) in zip(branches, found, strict=True):
        dots = iter(extended.outputs[len(f.outputs) :])
        all_dots = [next(dots) if o else zeros_like(y) for o, y in zip(own, f.outputs, strict=True)]
        made.append(Function(extended.inputs, [d for d, flag in zip(all_dots, flags, strict=True) if flag]))
    return tuple(made), flags


def push(tangents: dict, guarded: bool, out: Any, index: Any, *operands: Any, branches: tuple) -> dict:
    """A branch of tangents."""
    active = tuple(k + 1 in tangents for k in range(len(operands)))
    made, flags = pushed(branches, active, guarded)
    dots = iter(results_of(branch(index, *operands, *[tangents[k] for k in sorted(tangents)], branches=made)))
    return {k: next(dots) for k, f in enumerate(flags) if f}


@lru_cache(maxsize=256)
def pulled(branches: tuple, active: tuple, given: tuple, guarded: bool) -> tuple:
    """The cotangents of the active operands, for each branch, of operands and cotangents of the results in ``given``."""
    made = []
    for f in branches:
        found = pull_function(f, active, given, guarded)
        cts = [ct for ct in found.cotangents if ct is not None]
        new = fresh([*found.inputs, *cts])
        env: dict[int, Any] = {x.id: v for x, v in zip([*found.inputs, *cts], new, strict=True)}
        wanted = [x for x, a in zip(found.bars, active, strict=True) if a]
        zeros = [zeros_like(x) for x, a in zip(f.inputs, active, strict=True) if a]
        bars = rebuild([z if b is None else b for b, z in zip(wanted, zeros, strict=True)], env)
        made.append(Function(new, bars))
    return tuple(made)


def pull(cts: dict, active: list, guarded: bool, out: Any, index: Any, *operands: Any, branches: tuple) -> list:
    """A branch of pullbacks, each of which computes what it needs of its branch again."""
    given = tuple(k in cts for k in range(len(branches[0].outputs)))
    made = pulled(branches, tuple(k + 1 in active for k in range(len(operands))), given, guarded)
    return results_of(branch(index, *operands, *[cts[k] for k in sorted(cts)], branches=made))


def batch(size: int, args: tuple, batched: tuple, *, branches: tuple) -> tuple:
    """The branch that all lanes take, batched. Where each takes its own: all branches and a choice, if these are cheap;
    otherwise lane by lane, so that none runs the code of another branch."""
    index, *operands = args
    if not batched[0]:
        every = (True,) * len(branches[0].outputs)
        return tuple(
            results_of(branch(index, *operands, branches=tuple(batch_function(f, size, batched[1:], every)[0] for f in branches)))
        )
    if any(n.op.functions for f in branches for n in f.nodes) or sum(f.flops for f in branches) > BOTH:
        return map_lanes(branch, size, args, batched, {"branches": branches})
    every = (True,) * len(branches[0].outputs)
    results = [batch_function(f, size, batched[1:], every)[0].run(list(operands)) for f in branches]
    chosen = results[-1]
    for k in reversed(range(len(branches) - 1)):
        here = [np.reshape(index == k, (size, *(1,) * (len(y.shape) - 1))) for y in chosen]
        chosen = [np.where(h, a, b) for h, a, b in zip(here, results[k], chosen, strict=True)]
    return tuple([front(size, y, True) for y in chosen])


def count_flops(out: Any, *args: Any, branches: tuple) -> int:
    """Those of the dearest branch."""
    return max(f.flops for f in branches)


branch = structural(
    "branch",
    evaluate,
    abstract,
    ByMode(push, pull),
    batch=batch,
    flops=count_flops,
    role="branch",
    keeps_out=False,
    functions=("branches",),
)
