"""Long chains of operations: cost per node, linear in the length, with no limit on depth."""

from collections.abc import Callable
from functools import partial
from typing import Any

from .harness import BYTES, Row, in_new_process
from .peers import Peer

TITLE = "Chains of operations"


def chain(sin: Callable[[Any], Any], n: int, x: Any) -> Any:
    """n operations, one after the other: sin, *, +, sin, *, +, ...; bounded for every n."""
    for i in range(n):
        x = sin(x) if i % 3 == 0 else x * 0.5 if i % 3 == 1 else x + 0.5
    return x


def reverse(n: int, peer: Peer) -> Callable[[], Any] | None:
    """Trace and one reverse sweep; eager peers only."""
    if peer.name == "jax":
        return None
    x = peer.array(0.3) if peer.name == "torch" else 0.3
    return partial(peer.value_and_grad(partial(chain, peer.np.sin, n)), x)


def all_of_it(n: int, peer: Peer) -> Callable[[], Any] | None:
    """Trace, differentiate in both modes, print."""
    if peer.name != "fad":
        return None
    f = partial(chain, peer.np.sin, n)

    def run() -> int:
        forward = peer.more.jvp(f, (0.3,), (1.0,))
        backward = peer.more.grad(f)(0.3)
        assert abs(forward[1] - backward) <= 1e-9 * abs(backward)
        return len(str(peer.more.trace(f)(0.3)))

    return run


def step(which: str, n: int, peer: Peer) -> Callable[[], Any] | None:
    """One of the parts of all_of_it."""
    if peer.name != "fad":
        return None
    fad, f = peer.more, partial(chain, peer.np.sin, n)
    if which == "trace":
        return lambda: fad.trace(f)(0.3)
    if which == "forward":
        return lambda: fad.jvp(f, (0.3,), (1.0,))
    if which == "reverse":
        return lambda: fad.grad(f)(0.3)
    function = fad.trace(f)(0.3)
    return lambda: str(function)


PEAK = """
from functools import partial
from benchmarks.chain import chain
from benchmarks.memory import peak_of
from benchmarks.peers import LOADERS
peer = LOADERS[{name!r}]()
peer.grad(partial(chain, peer.np.sin, 10))(0.3)  # what loads at first use is no part of the figure
print(peak_of(lambda: peer.grad(partial(chain, peer.np.sin, {n}))(0.3)))
"""


def peak(n: int, peer: Peer) -> Callable[[], float] | None:
    """Resident bytes that the gradient of an n-node chain adds."""
    if peer.name not in ("fad", "autograd"):
        return None
    return partial(in_new_process, PEAK.format(name=peer.name, n=n))


def per_node(name: str, build: Callable[..., Any], n: int, rounds: int = 5, goal: str = "") -> Row:
    return Row(f"{name}, n={n:.0e}", partial(build, n), per=n, per_name="node", rounds=rounds, goal=goal)


ROWS = [
    *(per_node(which, partial(step, which), 100_000) for which in ("trace", "forward", "reverse", "print")),
    per_node("trace, forward, reverse, print", all_of_it, 1_000, rounds=9),
    per_node("trace, forward, reverse, print", all_of_it, 10_000, rounds=9),
    per_node("trace, forward, reverse, print", all_of_it, 100_000, goal="30 µs"),
    per_node("trace, forward, reverse, print", all_of_it, 1_000_000, rounds=1, goal="as n=1e+05"),
    per_node("gradient", reverse, 100_000, goal="at most autograd"),
    Row(
        "gradient, n=1e+06, peak memory",
        partial(peak, 1_000_000),
        reports=True,
        unit=BYTES,
        rounds=1,
        per=1_000_000,
        per_name="node",
        goal="fits in memory",
    ),
]
