"""The price of the first training step in a new process, and the memory of training.

Imports and the making of parameters and data do not count. fad's disk cache is empty for "first step", and what an
earlier process left there for "first step, warm cache"; the others keep none by default.
"""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy

from . import nets
from .harness import BYTES, Row, in_new_process
from .memory import peak_of
from .nets import NETS
from .peers import LOADERS, Peer

TITLE = "The first training step, and memory"
PEERS = ["fad", "torch", "torch NHWC", "jax"]
MEASURED_STEPS = 3  # of the memory: the first compiles, the later ones run beside what it left

CHILD = """
from benchmarks.training_start import {measure}
print({measure}({net!r}, {peer!r}))
"""


def prepared(net: str, peer: str) -> tuple[Callable[[], Any], Peer]:
    """A step that was not made yet, and its library, which loaded what loads at first use."""
    library = LOADERS[peer]()
    library.sync(library.jit(lambda x: x + 1.0)(library.array(numpy.zeros(3, "f"))))
    return nets.step(nets.net(net), library), library


def first_step(net: str, peer: str) -> float:
    """Seconds, compilation included; runs in the child."""
    run, library = prepared(net, peer)
    begin = time.perf_counter()
    library.sync(run())
    return time.perf_counter() - begin


def memory(net: str, peer: str) -> int:
    """Bytes that steps add to the process at its highest; runs in the child."""
    run, library = prepared(net, peer)

    def steps() -> None:
        for _ in range(MEASURED_STEPS):
            library.sync(run())

    return peak_of(steps)


def measured(measure: Callable[[str, str], Any], net: str, peer: Peer, cache: str) -> float:
    code = CHILD.format(measure=measure.__name__, net=net, peer=peer.name)
    return in_new_process(code, FAD_CACHE_DIR=cache, NUMBA_CACHE_DIR=cache)


def cold(net: str, peer: Peer) -> Callable[[], float]:
    def run() -> float:
        with tempfile.TemporaryDirectory() as cache:
            return measured(first_step, net, peer, cache)

    return run


def warm(measure: Callable[[str, str], Any], net: str, peer: Peer) -> Callable[[], float]:
    cache = tempfile.TemporaryDirectory()
    if peer.name == "fad":
        measured(first_step, net, peer, cache.name)  # fills the cache

    return lambda: measured(measure, net, peer, cache.name)


def unless_flat(build: Callable[[str, Peer], Any], net: str, peer: Peer) -> Callable[[], float] | None:
    """Nothing for channels last where there are no images."""
    return None if peer.name == "torch NHWC" and len(nets.net(net).shape) < 3 else build(net, peer)


MEASURES = [
    ("first step", cold, "jax / 2", {}),
    ("first step, warm cache", partial(warm, first_step), "0.5 s", {}),
    ("peak memory, warm cache", partial(warm, memory), "torch", {"unit": BYTES}),
]

ROWS = [
    Row(f"{net.name}: {label}", partial(unless_flat, build, net.name), reports=True, rounds=3, goal=goal, **more)
    for label, build, goal, more in MEASURES
    for net in NETS
]
