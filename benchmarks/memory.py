"""Peak memory of reverse mode: a dense net of 50 layers, each peer in a process of its own."""

import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy

from .harness import BYTES, Row, in_new_process
from .peers import LOADERS, Peer

TITLE = "Peak memory of reverse mode"
LAYERS, WIDTH, BATCH = 50, 256, 1024


def peak_of(run: Callable[[], Any]) -> int:
    """Bytes that `run` adds to the resident memory of this process at its highest (Linux)."""
    status = Path("/proc/self/status")

    def read(field: str) -> int:
        [line] = [line for line in status.read_text().splitlines() if line.startswith(field)]
        return int(line.split()[1]) * 1024

    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts again from here
    before = read("VmRSS:")
    result = run()
    peak = read("VmHWM:")
    del result
    return peak - before


def traced_peak_of(run: Callable[[], Any]) -> int:
    """Bytes that `run` allocates at its highest through NumPy and Python, as tracemalloc counts them."""
    tracemalloc.start()
    result = run()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del result
    return peak


def net_gradient(name: str, layers: int, width: int, batch: int) -> Callable[[], Any]:
    """Gradient of a mean squared activation of relu(x @ w + b), `layers` times, float64."""
    peer = LOADERS[name]()
    rng = numpy.random.default_rng(0)
    params = [
        (peer.array(rng.normal(size=(width, width)) * (2 / width) ** 0.5), peer.array(numpy.zeros(width))) for _ in range(layers)
    ]
    x = peer.array(rng.normal(size=(batch, width)))

    def loss(params: list, x: Any) -> Any:
        for w, b in params:
            x = peer.np.maximum(x @ w + b, peer.array(0.0))
        return (x**2).mean()

    gradient = peer.grad(loss)
    return lambda: peer.sync(gradient(params, x))


MEASURE = """
from benchmarks.memory import net_gradient, {how}
net_gradient({name!r}, 2, 8, 4)()  # what loads at first use is no part of the figure
print({how}(net_gradient({name!r}, {layers}, {width}, {batch})))
"""


def net_peak(how: str, peer: Peer) -> Callable[[], float] | None:
    if how == "traced_peak_of" and peer.name in ("jax", "torch"):
        return None  # their arrays are not NumPy's
    return partial(in_new_process, MEASURE.format(name=peer.name, how=how, layers=LAYERS, width=WIDTH, batch=BATCH))


ACTIVATION = BATCH * WIDTH * 8
SIZE = f"{LAYERS} dense layers of {WIDTH}, batch {BATCH}, activation {ACTIVATION / 1e6:.1f} MB"
ROWS = [
    Row(f"{SIZE}: resident", partial(net_peak, "peak_of"), True, BYTES, rounds=5, goal="at most autograd"),
    Row(f"{SIZE}: allocated", partial(net_peak, "traced_peak_of"), True, BYTES, rounds=3, goal="at most autograd"),
]
