"""Seconds that `import` takes in a fresh interpreter, bytecode and file cache warm."""

from collections.abc import Callable
from functools import partial

from .harness import Row, in_new_process
from .peers import Peer

TITLE = "Import"


def seconds(modules: str) -> Callable[[], float]:
    code = f"import time; t = time.perf_counter(); import {modules}; print(time.perf_counter() - t)"
    in_new_process(code)  # warm
    return partial(in_new_process, code)


def import_of(peer: Peer) -> Callable[[], float]:
    return seconds({"autograd": "autograd.numpy", "jax": "jax.numpy"}.get(peer.name, peer.name))


def numpy_alone(peer: Peer) -> Callable[[], float] | None:
    """In fad's column: fad's import less this row is what fad itself adds."""
    return seconds("numpy") if peer.name == "fad" else None


ROWS = [
    Row("import of the library", import_of, reports=True, rounds=15, goal="at most 0.15 s"),
    Row("import numpy alone", numpy_alone, reports=True, rounds=15),
]
