"""Whole training steps: loss, gradient, update with momentum."""

from collections.abc import Callable
from functools import partial
from typing import Any

from . import nets
from .harness import Row
from .nets import NETS, Net
from .peers import Peer

TITLE = "Training steps"
PEERS = ["fad", "torch", "torch NHWC", "jax"]
BEST = {"PyTorch's best": ["torch", "torch NHWC"], "JAX": ["jax"]}


def build(net: Net, peer: Peer) -> Callable[[], Any] | None:
    """One step is made before the first that counts, whose loss so tells whether gradients and update agree.

    After a few more, rounding alone sets nets with batch norm apart: PyTorch's two layouts differ in the third digit.
    """
    if peer.name == "torch NHWC" and len(net.shape) < 3:
        return None
    run = nets.step(net, peer)
    peer.sync(run())
    return run


ROWS = [
    Row(f"{net.name}, batch {net.batch}", partial(build, net), rounds=51, seconds=20.0, tolerance=1e-3, goal=net.goals)
    for net in NETS
]
