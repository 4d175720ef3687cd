"""What else is asked of jit: the price of a gradient, memory, compilation of large trees, a busy neighbour."""

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy

from .harness import BYTES, LeftOut, Row, in_new_process, timed
from .memory import peak_of
from .peers import LOADERS, Peer
from .programs import GRADIENT, PROGRAMS, VALUE

TITLE = "More about jit"
PEERS = ["fad", "jax", "torch"]

# ---- gradient over value


def price(program: int, dtype: str, peer: Peer) -> Callable[[], float]:
    """The gradient's time over the value's, the two taken in turn."""
    value, gradient = (timed(PROGRAMS[program].run(kind, dtype, peer), peer.sync) for kind in (VALUE, GRADIENT))

    def run() -> float:
        cheap = value()
        return gradient() / cheap

    return run


# ---- peak memory

MEMORY = """
from benchmarks.jit_more import peak_of_program
print(peak_of_program({name!r}, {program}, {kind}))
"""


def peak_of_program(name: str, program: int, kind: int) -> int:
    """Bytes that compilation and two calls add to this process, inputs made before; runs in the child."""
    peer = LOADERS[name]()
    peer.sync(peer.jit(lambda x: x + 1.0)(peer.array(numpy.zeros(3))))  # what loads at first use is no part of it
    task = PROGRAMS[program].run(PROGRAMS[program].kinds[kind], "float64", peer)

    def run() -> Any:
        peer.sync(task())
        return peer.sync(task())

    return peak_of(run)


def peak(program: int, kind: int, peer: Peer) -> Callable[[], float]:
    return partial(in_new_process, MEMORY.format(name=peer.name, program=program, kind=kind))


# ---- compile time against the size of the tree

COMPILE = """
import time
import numpy
from benchmarks import jit_more
from benchmarks.peers import LOADERS
peer = LOADERS[{name!r}]()
x = peer.array(numpy.linspace(0, 1, 1000))
peer.sync(peer.jit(lambda x: x + 1.0)(x))
begin = time.perf_counter()
peer.sync(peer.jit(lambda x: jit_more.{tree}(peer.np, {nodes}, x))(x))
print(time.perf_counter() - begin)
"""


def one_loop(np: Any, nodes: int, x: Any) -> Any:
    """Elementwise operations only."""
    for i in range(nodes):
        x = np.sin(x) if i % 4 == 0 else x * 0.5 if i % 2 else x + 0.25
    return x


def many_loops(np: Any, nodes: int, x: Any) -> Any:
    """Every fifth operation is a reduction, which the next ones wait for."""
    for _ in range(nodes // 5):
        x = np.sin(x * 0.5 + 0.25) - x.sum()
    return x


JAX_LIMIT = {"one_loop": 100_000, "many_loops": 1000}  # of the second, 1000 nodes take 33 s


def compilation(tree: str, nodes: int, peer: Peer) -> Callable[[], float] | None:
    if peer.name == "torch":
        return None
    if peer.name == "jax" and nodes > JAX_LIMIT[tree]:
        raise LeftOut("33 s at 1000 nodes, growing faster than linearly")

    def run() -> float:
        with tempfile.TemporaryDirectory() as cache:
            return in_new_process(COMPILE.format(name=peer.name, tree=tree, nodes=nodes), FAD_CACHE_DIR=cache)

    return run


# ---- a busy neighbour


@contextmanager
def busy_neighbour() -> Iterator[subprocess.Popen]:
    """One process that computes all the time, on the same cores."""
    process = subprocess.Popen([sys.executable, "-c", "print(flush=True)\nwhile True: pass"], stdout=subprocess.PIPE)
    try:
        process.stdout.readline()  # it runs
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def slowdown(program: int, peer: Peer) -> Callable[[], float]:
    """Median time beside a busy process over that without."""
    sample = timed(PROGRAMS[program].run(GRADIENT, "float64", peer), peer.sync)

    def run() -> float:
        quiet = statistics.median(sample() for _ in range(15))
        with busy_neighbour():
            return statistics.median(sample() for _ in range(15)) / quiet

    return run


# ---- the rows

SCALAR = [(i, p) for i, p in enumerate(PROGRAMS) if p.scalar]
NEIGHBOURS = ("Rosenbrock n=1000000", "logsumexp n=1e6", "cross-entropy", "Black-Scholes", "n-body", "relu net")

ROWS = [
    *(
        Row(f"gradient / value: {program.name}, {dtype}", partial(price, i, dtype), reports=True, unit="x", seconds=0.5, goal="3")
        for i, program in SCALAR
        for dtype in program.dtypes
    ),
    *(
        Row(f"peak memory: {program.name}, {kind.name}", partial(peak, i, j), True, BYTES, rounds=3, goal="jax")
        for i, program in enumerate(PROGRAMS)
        if program.large
        for j, kind in enumerate(program.kinds)
    ),
    *(
        Row(
            f"compile {label}, {nodes} nodes",
            partial(compilation, tree, nodes),
            reports=True,
            per=nodes,
            per_name="node",
            rounds=3 if nodes < 1000 else 1,
            goal="constant",
        )
        for tree, label in (("one_loop", "elementwise"), ("many_loops", "with reductions"))
        for nodes in (100, 1000, 10_000, 100_000)
    ),
    *(
        Row(f"busy neighbour: {program.name}", partial(slowdown, i), True, "x", rounds=5, goal="2")
        for i, program in SCALAR
        if program.name.startswith(NEIGHBOURS)
    ),
]
