"""Loops: scan, while_loop and cond compiled, against JAX's and, where they are tiny, against numba by hand.

Memory is what a compiled gradient takes beside its arguments and results. "cold" is the time from jit to the first result in a new
process, without what an earlier one left on disk.
"""

import functools
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy

from . import loops_by_hand
from .harness import BYTES, Row, printed
from .loops_programs import GRADIENT, LOOPS, SLOPE, Loop, maml, saddle
from .peers import LOADERS, Peer
from .programs import placed

TITLE = "Loops"
PEERS = ["fad", "jax", "hand"]


def lax_of(peer: Peer) -> Any:
    """Where a library has its loops."""
    return peer.more.lax if peer.name == "jax" else peer.more


def function(loop: Loop, kind: str, peer: Peer) -> Callable:
    """What is compiled of a loop."""
    more = (peer.grad,) if loop.make is maml else ()
    f = loop.make(peer.np, lax_of(peer), *more)
    if kind == SLOPE:
        value = f
        f = lambda x: peer.more.jvp(value, (x,), (1.0 + 0.0 * x,))[1]
    f = peer.more.vmap(f) if loop.vmapped else f
    return peer.grad(f) if kind == GRADIENT else f


def arguments(loop: Loop, peer: Peer) -> tuple:
    return placed(peer, loop.inputs(numpy.random.default_rng(0)))


def warm(loop: Loop, kind: str, peer: Peer) -> Callable | None:
    if peer.name == "hand":
        return partial(getattr(loops_by_hand, f"{loop.hand}_{kind}"), *arguments(loop, peer)) if loop.hand else None
    return partial(peer.jit(function(loop, kind, peer)), *arguments(loop, peer))


def memory(loop: Loop, peer: Peer) -> Callable | None:
    if peer.name == "hand":
        return None
    f, given = peer.jit(function(loop, GRADIENT, peer)), arguments(loop, peer)
    if peer.name == "jax":
        size = f.lower(*given).compile().memory_analysis().temp_size_in_bytes
        return lambda: float(size)
    f(*given)
    (compiled,) = f.compiled.values()
    return lambda: float(compiled.program.plan.arena)


CHILD = """
from benchmarks.loops import first_result
print(first_result({peer!r}, {program}, {kind!r}))
"""


def first_result(name: str, program: int, kind: str) -> float:
    """Seconds from jit to the first result; runs in the child."""
    peer = LOADERS[name]()
    given = peer.sync(arguments(LOOPS[program], peer))
    begin = time.perf_counter()
    peer.sync(peer.jit(function(LOOPS[program], kind, peer))(*given))
    return time.perf_counter() - begin


def cold(program: int, kind: str, peer: Peer) -> Callable | None:
    if peer.name == "hand":
        return None

    def run() -> float:
        with tempfile.TemporaryDirectory() as cache:
            return float(printed(CHILD.format(peer=peer.name, program=program, kind=kind), FAD_CACHE_DIR=cache)[0])

    return run


def traced_and_compiled(length: int, peer: Peer) -> Callable | None:
    """Seconds to trace and compile the gradient of a scan of so many steps, each time another function."""
    if peer.name == "hand":
        return None
    numbers = iter(range(1, 1000))

    def run() -> float:
        k = 1.0 + 1e-3 * next(numbers)  # another constant: nothing is found in this process
        step = lambda c, _: (peer.np.sin(k * c) + 0.1 * c, None)
        f = peer.jit(peer.grad(lambda x: peer.np.sum(lax_of(peer).scan(step, x, None, length=length)[0])))
        x = peer.array(numpy.ones(4))
        begin = time.perf_counter()
        f.lower(x).compile() if peer.name == "jax" else f._find((x,), {})
        return time.perf_counter() - begin

    return run


def modes(inner: str, outer: str, peer: Peer) -> Callable | None:
    """A saddle point: derivatives of descent within descent."""
    if peer.name == "hand":
        return None

    def forward(f: Callable) -> Callable:
        return lambda x: peer.np.stack([peer.more.jvp(f, (x,), (peer.array(e),))[1] for e in numpy.eye(2)])

    by = {"forward": forward, "reverse": peer.grad}
    f = peer.jit(saddle(peer.np, lax_of(peer), by[inner], by[outer]))
    return functools.partial(f, peer.array(numpy.ones(2)))


def goal(loop: Loop) -> str:
    return "jax / 5; 2 hand" if loop.hand else "jax"


ROWS = [
    *[
        Row(f"{loop.name}: {kind}", partial(warm, loop, kind), rounds=loop.rounds, seconds=4.0, tolerance=loop.tolerance,
            goal=goal(loop))
        for loop in LOOPS for kind in loop.kinds
    ],
    *[
        Row(f"saddle point, {outer} over {inner}", partial(modes, inner, outer), seconds=4.0, tolerance=1e-8, goal="2 ms")
        for outer in ("forward", "reverse") for inner in ("forward", "reverse")
    ],
    *[
        Row(f"{loop.name}: memory of the gradient", partial(memory, loop), reports=True, unit=BYTES, rounds=1, goal="jax")
        for loop in LOOPS if loop.memory
    ],
    *[
        Row(f"gradient of a scan of {n} steps: traced and compiled", partial(traced_and_compiled, n), reports=True, rounds=5,
            goal="the same for all lengths")
        for n in (10, 1000, 1_000_000)
    ],
    *[
        Row(f"{loop.name}: {kind}, cold", partial(cold, k, kind), reports=True, rounds=3, goal="jax / 2")
        for k, loop in enumerate(LOOPS) for kind in loop.kinds[-1:]
    ],
]  # fmt: skip
