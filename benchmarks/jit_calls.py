"""What a call of a compiled function costs when its arithmetic costs nothing."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy

from .harness import Row
from .peers import Peer
from .programs import placed

TITLE = "Calls with jit"
PEERS = ["fad", "jax", "torch.compile"]


def scalar(differentiate: bool, x: Any, peer: Peer) -> Callable[[], Any]:
    f = peer.np.tanh
    return partial(peer.jit(peer.grad(f) if differentiate else f), placed(peer, x))


def arrays_in(count: int, peer: Peer) -> Callable[[], Any]:
    """A list of parameters in, one of them out."""
    params = [peer.array(numpy.ones(3)) for _ in range(count)]
    return partial(peer.jit(lambda params: params[0] + params[-1]), params)


def arrays_in_and_out(count: int, peer: Peer) -> Callable[[], Any]:
    params = {f"layer {i}": peer.array(numpy.ones(3)) for i in range(count)}
    return partial(peer.jit(lambda params: {name: p + 1.0 for name, p in params.items()}), params)


ROWS = [
    Row("tanh of a Python float", partial(scalar, False, 0.3), rounds=101, goal="2 µs"),
    Row("tanh of a 0-d array", partial(scalar, False, numpy.array(0.3)), rounds=101, goal="2 µs"),
    Row("gradient of tanh of a Python float", partial(scalar, True, 0.3), rounds=101, goal="2 µs"),
    Row("list of 2 arrays in, 1 out", partial(arrays_in, 2), rounds=101),
    Row("list of 20 arrays in, 1 out", partial(arrays_in, 20), rounds=101, goal="+10 µs, less than jax"),
    Row("dict of 20 arrays in and out", partial(arrays_in_and_out, 20), rounds=101, goal="less than jax"),
]
