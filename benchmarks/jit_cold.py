"""Time from jit(f) to the first result, each sample in a new process.

"cold" begins at jit, with the library imported, its inputs made, and nothing cached on disk.
"from start" begins with the process, imports included, inputs excluded: for fad with what an earlier process left
in its disk cache, for JAX, which has none by default, cold.
"""

import tempfile
import time
from collections.abc import Callable
from functools import partial

from .harness import Row, printed
from .peers import LOADERS, Peer
from .programs import PROGRAMS

TITLE = "From jit to the first result"
PEERS = ["fad", "jax"]
DTYPE = "float64"

CHILD = """
from benchmarks.jit_cold import first_result
print(*first_result({peer!r}, {program}, {kind}, {launched!r}))
"""


def first_result(name: str, program: int, kind: int, launched: float) -> tuple[float, float]:
    """Seconds from jit, and from the launch of this process; runs in the child."""
    peer = LOADERS[name]()
    task = PROGRAMS[program]
    begin = time.monotonic()
    arguments = peer.sync(task.arguments(peer, task.kinds[kind], DTYPE))
    ready = time.monotonic()
    peer.sync(task.jitted(peer, task.kinds[kind])(*arguments))
    end = time.monotonic()
    return end - ready, end - launched - (ready - begin)


def sample(name: str, program: int, kind: int, cache: str) -> tuple[float, float]:
    # The monotonic clock is the machine's: parent and child read the same one.
    code = CHILD.format(peer=name, program=program, kind=kind, launched=time.monotonic())
    cold, from_start = map(float, printed(code, FAD_CACHE_DIR=cache))
    return cold, from_start


def cold(program: int, kind: int, peer: Peer) -> Callable[[], float]:
    def run() -> float:
        with tempfile.TemporaryDirectory() as cache:
            return sample(peer.name, program, kind, cache)[0]

    return run


def from_start(program: int, kind: int, peer: Peer) -> Callable[[], float]:
    cache = tempfile.TemporaryDirectory()
    if peer.name == "fad":
        sample(peer.name, program, kind, cache.name)  # fills the cache

    return lambda: sample(peer.name, program, kind, cache.name)[1]


def rows(which: Callable, label: str, goal: str) -> list[Row]:
    return [
        Row(f"{program.name}: {kind.name}, {label}", partial(which, i, j), reports=True, rounds=3, goal=goal)
        for i, program in enumerate(PROGRAMS)
        if program.cold
        for j, kind in enumerate(program.kinds)
    ]


ROWS = rows(cold, "cold", "jax / 2") + rows(from_start, "from start", "jax / 3")
