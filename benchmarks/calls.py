"""Unjitted calls on small inputs: what one call costs when arithmetic costs nothing."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy

from .harness import Row
from .peers import Peer

TITLE = "Calls without jit"


def tanh_gradient(peer: Peer) -> Callable[[], Any]:
    x = 0.3 if peer.name != "torch" else peer.array(0.3)
    return partial(peer.grad(peer.np.tanh), x)


def rosenbrock(x: Any) -> Any:
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def rosenbrock_gradient(n: int, peer: Peer) -> Callable[[], Any]:
    x = peer.array(numpy.random.default_rng(0).normal(size=n))
    return partial(peer.grad(rosenbrock), x)


ROWS = [
    Row("grad(np.tanh)(0.3)", tanh_gradient, rounds=101, goal="at most autograd"),
    Row("Rosenbrock gradient, n=10", partial(rosenbrock_gradient, 10), rounds=101, goal="at most autograd"),
    Row("Rosenbrock gradient, n=1000", partial(rosenbrock_gradient, 1000), rounds=101, goal="at most autograd"),
]
