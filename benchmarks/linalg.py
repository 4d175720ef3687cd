"""Linear algebra, spectra and densities: value and gradient, compiled, in float64, against JAX and PyTorch.

Symmetric matrices are made of others inside of what is differentiated, so that it does not matter what a library takes the
derivative by a triangle to be. "factorisations" counts those in fad's program of value and gradient.
"""

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy

from .harness import COUNT, LeftOut, Row
from .peers import Peer

TITLE = "Linear algebra, spectra, densities: value and gradient"
PEERS = ["fad", "jax", "torch"]
SIZES = [(3, 3), (10, 10), (100, 100), (1000, 1000), (10_000, 4, 4), (100, 50, 50)]

# -- what is differentiated: each takes a library, and gives a function of arrays --------------------------------


def mirror(x: Any) -> Any:
    """The transpose of each matrix."""
    return x.mT if hasattr(x, "mT") else x.swapaxes(-1, -2)


def positive(np: Any, x: Any) -> Any:
    """A positive definite matrix of any."""
    return x @ mirror(x) / x.shape[-1] + np.eye(x.shape[-1], dtype=x.dtype)


def pick_diagonal(np: Any, x: Any) -> Any:
    return (x * np.eye(x.shape[-1], dtype=x.dtype)).sum(-1)


def solve(peer: Peer) -> Callable:
    np = peer.np

    return lambda x, b: np.sum(np.sin(np.linalg.solve(x, b)))


def likelihood(peer: Peer) -> Callable:
    np = peer.np

    """That of a Gaussian process: cholesky, solve, logdet."""

    def f(x: Any, b: Any) -> Any:
        factor = np.linalg.cholesky(positive(np, x))
        z = solve_lower(peer)(factor, b)
        return 0.5 * np.sum(z * z) + np.sum(np.log(pick_diagonal(np, factor)))

    return f


def slogdet(peer: Peer) -> Callable:
    np = peer.np

    return lambda x, b: np.sum(np.linalg.slogdet(x)[1])


def eigh(peer: Peer) -> Callable:
    np = peer.np

    def f(x: Any, b: Any) -> Any:
        w, v = np.linalg.eigh(x + mirror(x))
        return np.sum(np.sin(w)) + np.sum(v**4)

    return f


def svd(peer: Peer) -> Callable:
    np = peer.np

    def f(x: Any, b: Any) -> Any:
        u, s, v = np.linalg.svd(x, full_matrices=False)
        return np.sum(np.sin(s)) + np.sum(u**4) + np.sum(v**4)

    return f


def qr(peer: Peer) -> Callable:
    np = peer.np

    def f(x: Any, b: Any) -> Any:
        q, r = np.linalg.qr(x)
        return np.sum(q**4) + np.sum(r * r)

    return f


def lstsq(peer: Peer) -> Callable:
    np = peer.np

    return lambda x, b: np.sum(np.sin(np.linalg.lstsq(x[..., : x.shape[-1] // 2 + 1], b)[0]))


def expm(peer: Peer) -> Callable:
    np = peer.np

    return lambda x, b: np.sum(np.sin(exponential(peer)(x / x.shape[-1])))


def linalg_of(peer: Peer) -> Any:
    """Where SciPy's names are."""
    return peer.more.scipy.linalg if peer.name == "fad" else importlib.import_module("jax.scipy.linalg")


def solve_lower(peer: Peer) -> Callable:
    """The solution for a lower triangle."""
    if peer.name == "torch":
        return lambda a, b: peer.more.linalg.solve_triangular(a, b, upper=False)
    return lambda a, b: linalg_of(peer).solve_triangular(a, b, lower=True)


def exponential(peer: Peer) -> Callable:
    return peer.more.linalg.matrix_exp if peer.name == "torch" else linalg_of(peer).expm


@dataclass(frozen=True)
class Problem:
    """Something of matrices of these shapes."""

    name: str
    make: Callable
    shapes: list
    tolerance: float = 1e-8


PROBLEMS = [
    Problem("solve", solve, SIZES),
    Problem("Gaussian process likelihood", likelihood, SIZES),
    Problem("slogdet", slogdet, SIZES),
    Problem("eigh", eigh, [s for s in SIZES if s[-1] < 1000]),
    Problem("svd", svd, [s for s in SIZES if s[-1] < 1000]),
    Problem("qr", qr, [s for s in SIZES if s[-1] < 1000]),
    Problem("lstsq", lstsq, [(10, 10), (100, 100)]),
    Problem("expm", expm, [(3, 3), (10, 10), (100, 100)]),
]


def matrices(shape: tuple) -> tuple:
    rng = numpy.random.default_rng(0)
    x = rng.normal(size=shape) / shape[-1] ** 0.5 + 2 * numpy.eye(shape[-1])
    return x, rng.normal(size=(*shape[:-1], 1))


def compiled(peer: Peer, f: Callable, args: tuple) -> Callable:
    """Value and gradient by the first argument."""
    return partial(peer.jit(peer.value_and_grad(f)), *[peer.array(a) for a in args])


def build(make: Callable, args: Callable[[], tuple], peer: Peer) -> Callable | None:
    return compiled(peer, make(peer), args())


def factorisations(make: Callable, args: Callable[[], tuple], peer: Peer) -> Callable | None:
    """How many of them are in the program."""
    if peer.name != "fad":
        return None
    steps = str(peer.jit(peer.value_and_grad(make(peer))).lower(*args()).loops)
    found = len(re.findall(r"(?:kernel|call) (?:cholesky|lu|solve|slogdet|qr|eigh|svd|inv)\b", steps))
    return lambda: float(found)


# -- longer programs ---------------------------------------------------------------------------------------------------------


def kalman_step(peer: Peer) -> Callable:
    np = peer.np

    """One step of a filter of four states and two observations."""

    def step(carry: tuple, y: Any, a: Any, h: Any, q: Any, r: Any) -> tuple:
        m, p, total = carry
        m, p = a @ m, a @ p @ a.T + q
        s = h @ p @ h.T + r
        e = y - h @ m
        gain = np.linalg.solve(s, h @ p).T
        total = total - 0.5 * (e @ np.linalg.solve(s, e) + np.linalg.slogdet(s)[1])
        return m + gain @ e, p - gain @ h @ p, total

    return step


def kalman_data(steps: int) -> tuple:
    rng = numpy.random.default_rng(0)
    a = numpy.eye(4) * 0.9 + numpy.diag(numpy.full(2, 0.1), 2)
    return a, rng.normal(size=(2, 4)), 0.1 * numpy.eye(4), 0.2 * numpy.eye(2), rng.normal(size=(steps, 2))


def kalman_unrolled(peer: Peer) -> Callable:
    def f(a: Any, h: Any, q: Any, r: Any, ys: Any) -> Any:
        carry = (0.0 * q[0], q, 0.0)
        for k in range(ys.shape[0]):
            carry = kalman_step(peer)(carry, ys[k], a, h, q, r)
        return carry[2]

    return f


def kalman_scan(peer: Peer) -> Callable | None:
    if peer.name == "torch":
        raise LeftOut("it has no loop")
    scan = peer.more.scan if peer.name == "fad" else peer.more.lax.scan
    step = kalman_step(peer)

    def f(a: Any, h: Any, q: Any, r: Any, ys: Any) -> Any:
        body = lambda carry, y: (step(carry, y, a, h, q, r), None)
        return scan(body, (0.0 * q[0], q, 0.0 * q[0, 0]), ys)[0][2]

    return compiled(peer, f, kalman_data(10_000))


def spectrum(peer: Peer) -> Callable:
    np = peer.np

    return lambda x: np.sum(np.abs(np.fft.rfft(x)) ** 2 / (1.0 + np.abs(np.fft.rfft(x * x)) ** 2))


def spectrum_2d(peer: Peer) -> Callable:
    np = peer.np

    return lambda x: np.sum(np.log(1.0 + np.abs(np.fft.fft2(x)) ** 2))


def signal(*shape: int) -> tuple:
    return (numpy.random.default_rng(0).normal(size=shape),)


def mixture(peer: Peer) -> Callable:
    np = peer.np

    """Points under a mixture of normal densities in 8 dimensions with full covariances."""

    def f(x: Any, means: Any, points: Any) -> Any:
        factor = np.linalg.cholesky(positive(np, x))
        z = solve_lower(peer)(factor, mirror(points[None] - means[:, None]))
        log = -0.5 * (z * z).sum(1) - np.log(pick_diagonal(np, factor)).sum(-1)[:, None]
        top = np.max(log, axis=0)
        return np.sum(np.log(np.exp(log - top).sum(0)) + top)

    return f


def mixture_of(peer: Peer) -> Callable | None:
    rng = numpy.random.default_rng(0)
    return build(mixture, lambda: (rng.normal(size=(10, 8, 8)), rng.normal(size=(10, 8)), rng.normal(size=(2000, 8))), peer)


def special_of(peer: Peer) -> Any:
    if peer.name == "torch":
        return peer.more.special
    return importlib.import_module("scipy.special" if peer.name == "fad" else "jax.scipy.special")


def densities(name: str, peer: Peer) -> Callable | None:
    """A sum of logarithms of densities over 10^6 points, by the parameters."""
    np, gammaln = peer.np, special_of(peer).gammaln
    x = peer.array(numpy.random.default_rng(0).uniform(0.05, 0.95, 1_000_000))

    def t(p: Any) -> Any:
        z = (x - p[1]) / p[2]
        constant = gammaln((p[0] + 1) / 2) - gammaln(p[0] / 2) - 0.5 * np.log(np.pi * p[0]) - np.log(p[2])
        return np.sum(constant - (p[0] + 1) / 2 * np.log1p(z * z / p[0]))

    def gamma(p: Any) -> Any:
        return np.sum((p[0] - 1) * np.log(x) - x / p[1] - gammaln(p[0]) - p[0] * np.log(p[1]))

    def beta(p: Any) -> Any:
        constant = gammaln(p[0] + p[1]) - gammaln(p[0]) - gammaln(p[1])
        return np.sum(constant + (p[0] - 1) * np.log(x) + (p[1] - 1) * np.log1p(-x))

    return compiled(peer, {"t": t, "gamma": gamma, "beta": beta}[name], (numpy.array([2.5, 1.2, 0.7]),))


def row(name: str, make: Callable, tolerance: float = 1e-8, **more: Any) -> Row:
    return Row(name, make, seconds=4.0, tolerance=tolerance, goal="best peer", **more)


def text(shape: tuple) -> str:
    return " x ".join(map(str, shape))


ROWS = [
    *[
        row(f"{p.name}, {text(shape)}", partial(build, p.make, partial(matrices, shape)), p.tolerance)
        for p in PROBLEMS for shape in p.shapes
    ],
    row("Kalman filter, 100 steps unrolled", partial(build, kalman_unrolled, partial(kalman_data, 100))),
    row("Kalman filter, 10^4 steps by scan", kalman_scan),
    row("spectrum, 2^16", partial(build, spectrum, partial(signal, 2**16))),
    row("spectrum, 512 x 512", partial(build, spectrum_2d, partial(signal, 512, 512))),
    row("mixture of 10 normal densities, 2000 points", mixture_of),
    *[row(f"log density of {name}, 10^6 points", partial(densities, name)) for name in ("t", "gamma", "beta")],
    *[
        Row(f"{p.name}: factorisations", partial(factorisations, p.make, partial(matrices, (20, 20))), reports=True, unit=COUNT,
            rounds=1, goal="1")
        for p in PROBLEMS[:6]
    ],
]  # fmt: skip
