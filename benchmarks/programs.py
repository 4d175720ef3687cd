"""The programs that jit is measured on, each written once against a NumPy-like module `np`.

Every function takes `np` first, then what it is differentiated by (an array or a pytree), then its data.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy

from .harness import LeftOut
from .peers import Peer

BOTH = ("float32", "float64")

# ---- the functions


def tanh(np: Any, x: Any) -> Any:
    return np.tanh(x)


def rosenbrock(np: Any, x: Any) -> Any:
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def chained_sines(np: Any, x: Any) -> Any:
    for _ in range(100):
        x = np.sin(x)
    return x.sum()


def logsumexp(np: Any, x: Any) -> Any:
    largest = np.max(x)
    return largest + np.log(np.exp(x - largest).sum())


def cross_entropy(np: Any, logits: Any, labels: Any) -> Any:
    """Mean of -log softmax(logits)[label] over the rows."""
    shifted = logits - np.max(logits, axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -log_p[np.arange(len(labels)), labels].mean()


def polynomial_fit(np: Any, c: Any, x: Any, y: Any) -> Any:
    """Mean square of c0 + c1 x + ... + c5 x^5 - y, by Horner's rule."""
    p = c[5]
    for i in (4, 3, 2, 1, 0):
        p = p * x + c[i]
    return ((p - y) ** 2).mean()


def kmeans(np: Any, centroids: Any, points: Any) -> Any:
    """Sum over the points of the squared distance to the nearest centroid (GradBench)."""
    squares = ((points[:, None, :] - centroids[None, :, :]) ** 2).sum(-1)
    return np.min(squares, axis=1).sum()


def mixture(np: Any, parameters: Any, x: Any, place: Any, below: Any) -> Any:
    """Log posterior of a Gaussian mixture with a Wishart prior (Šrajer, Kukelova, Fitzgibbon 2018: ADBench).

    Weights are softmax(alphas); the inverse square root of a covariance is lower triangular, with
    exp(icf[:d]) on its diagonal and icf[d:] `below` it, where `place` says which entry goes where.
    """
    alphas, means, icf = parameters
    (n, d), k = x.shape, len(means)
    log_diagonals, rest = icf[:, :d], icf[:, d:]
    diagonals, log_determinants = np.exp(log_diagonals), log_diagonals.sum(axis=1)
    triangles = rest[:, place] * below
    centred = x[:, None, :] - means
    whitened = diagonals * centred + np.einsum("kij,nkj->nki", triangles, centred)
    terms = alphas + log_determinants - 0.5 * (whitened**2).sum(axis=2)
    largest = np.max(terms, axis=1, keepdims=True)
    log_likelihoods = largest[:, 0] + np.log(np.exp(terms - largest).sum(axis=1))
    likelihood = log_likelihoods.sum() - n * logsumexp(np, alphas) - 0.5 * n * d * math.log(2 * math.pi)
    prior = 0.5 * ((diagonals**2).sum() + (rest**2).sum())  # gamma = 1, m = 0
    return likelihood + prior + k * wishart_constant(d)


def wishart_constant(d: int) -> float:
    """log Gamma_d((d + 1) / 2) + d (d + 1) log(2) / 2."""
    halves = sum(math.lgamma((d + 1 - j) / 2) for j in range(d))
    return d * (d - 1) / 4 * math.log(math.pi) + halves + d * (d + 1) / 2 * math.log(2)


def black_scholes(np: Any, erf: Any, option: Any) -> Any:
    """Sum of the prices of European calls; its gradient is the Greeks."""
    spot, strike, rate, volatility, years = option
    deviation = volatility * np.sqrt(years)
    d1 = (np.log(spot / strike) + (rate + 0.5 * volatility**2) * years) / deviation
    d2 = d1 - deviation
    cdf_1, cdf_2 = 0.5 * (1 + erf(d1 * math.sqrt(0.5))), 0.5 * (1 + erf(d2 * math.sqrt(0.5)))
    return (spot * cdf_1 - strike * np.exp(-rate * years) * cdf_2).sum()


def oscillators(np: Any, x: Any, coupling: Any) -> Any:
    """|x(2)|^2 of coupled Duffing oscillators, x = (positions, velocities), by 200 steps of Runge-Kutta 4."""

    def slope(x: Any) -> Any:
        return coupling @ x - 0.1 * x**3

    dt = 0.01
    for _ in range(200):
        k1 = slope(x)
        k2 = slope(x + 0.5 * dt * k1)
        k3 = slope(x + 0.5 * dt * k2)
        k4 = slope(x + dt * k3)
        x = x + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return (x**2).sum()


def n_body(np: Any, x: Any, masses: Any) -> Any:
    """Softened gravitational energy of bodies at the rows of x."""
    apart = x[:, None, :] - x[None, :, :]
    distances = np.sqrt((apart**2).sum(-1) + 1e-2)
    return -0.5 * (masses[:, None] * masses[None, :] / distances).sum()


def two_layers(np: Any, x: Any, w1: Any, w2: Any) -> Any:
    return np.tanh(w2 @ np.tanh(w1 @ x))


def logistic(np: Any, w: Any, x: Any, signs: Any) -> Any:
    """Mean logistic loss with a ridge term."""
    return np.log1p(np.exp(-signs * (x @ w))).mean() + 0.01 * (w**2).sum()


def smooth_net(np: Any, params: Any, x: Any, labels: Any) -> Any:
    w1, b1, w2, b2 = params
    return cross_entropy(np, np.tanh(x @ w1 + b1) @ w2 + b2, labels)


def relu_net(np: Any, params: Any, x: Any, labels: Any) -> Any:
    w1, b1, w2, b2 = params
    return cross_entropy(np, np.maximum(x @ w1 + b1, 0.0) @ w2 + b2, labels)


# ---- what is asked of them


@dataclass(frozen=True)
class Kind:
    """What is computed of f: `of(peer, f)` is a function of (x, *more(x), *data)."""

    name: str
    of: Callable[[Peer, Callable[..., Any]], Callable[..., Any] | None]
    more: Callable[[Any], tuple] = field(default=lambda x: ())


def curvature(peer: Peer, f: Callable[..., Any]) -> Callable[..., Any]:
    """Gradient and H v; with v = 1 and a separable f, H v is the Hessian's diagonal."""
    return lambda x, v, *data: peer.hvp(lambda x: f(x, *data), x, v)


def hessian_vector(peer: Peer, f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, v, *data: peer.hvp(lambda x: f(x, *data), x, v)[1]


def momentum_step(peer: Peer, f: Callable[..., Any]) -> Callable[..., Any]:
    """Loss, new parameters and new velocities of one step of gradient descent with momentum."""
    value_and_grad = peer.value_and_grad(f)

    def step(params: list, velocities: list, *data: Any) -> tuple:
        loss, slopes = value_and_grad(params, *data)
        velocities = [0.9 * v + g for v, g in zip(velocities, slopes)]
        return loss, [p - 0.01 * v for p, v in zip(params, velocities)], velocities

    return step


def whole(name: str) -> Callable[[Peer, Callable[..., Any]], Callable[..., Any] | None]:
    """The transformation of this name, where the peer has it."""

    def of(peer: Peer, f: Callable[..., Any]) -> Callable[..., Any] | None:
        transformation = getattr(peer, name)
        return transformation and transformation(f)

    return of


VALUE = Kind("value", lambda peer, f: f)
GRADIENT = Kind("gradient", whole("grad"))
JACFWD, JACREV = Kind("forward Jacobian", whole("jacfwd")), Kind("reverse Jacobian", whole("jacrev"))
HESSIAN = Kind("Hessian", whole("hessian"))
DIAGONAL = Kind("gradient, Hessian diagonal", curvature, lambda x: (numpy.ones_like(x),))
HVP = Kind("Hessian-vector product", hessian_vector, lambda x: ([numpy.cos(p) for p in x],))
STEP = Kind("momentum step", momentum_step, lambda x: ([numpy.zeros_like(p) for p in x],))


@dataclass(frozen=True)
class Program:
    """A function, its arguments, and what is computed of it."""

    name: str
    f: Callable[..., Any]
    inputs: Callable[[numpy.random.Generator], tuple]  # (x, *data), float64 and int64
    kinds: tuple[Kind, ...] = (VALUE, GRADIENT)
    dtypes: tuple[str, ...] = BOTH
    scalar: bool = True  # the result is a scalar
    cold: bool = True  # time its compilation too; not for every size of the same program
    large: bool = False  # measure its memory: arrays of megabytes
    needs: tuple[str, ...] = ()  # fields of Peer that f takes after np
    by_hand: str = ""  # the name of its gradient in by_hand.py
    without: dict[str, str] = field(default_factory=dict)  # peer: why it has no figure

    def function(self, peer: Peer) -> Callable[..., Any]:
        return partial(self.f, peer.np, *(getattr(peer, name) for name in self.needs))

    def arguments(self, peer: Peer, kind: Kind, dtype: str) -> tuple:
        """(x, *more, *data) as arrays of the peer; the same numbers for all."""
        x, *data = of_dtype(self.inputs(numpy.random.default_rng(0)), dtype)
        return tuple(placed(peer, arg) for arg in (x, *kind.more(x), *data))

    def jitted(self, peer: Peer, kind: Kind) -> Callable[..., Any] | None:
        """The compiled function, or None where the peer lacks the transformation."""
        f = kind.of(peer, self.function(peer))
        return f and peer.jit(f)

    def run(self, kind: Kind, dtype: str, peer: Peer) -> Callable[[], Any] | None:
        """All that a row times: one call of the compiled function."""
        if peer.name in self.without:
            raise LeftOut(self.without[peer.name])
        arguments = self.arguments(peer, kind, dtype)
        if peer.name != "hand":
            f = self.jitted(peer, kind)
            return f and partial(f, *arguments)
        if not self.by_hand or kind is not GRADIENT:
            return None
        return partial(getattr(peer.more, self.by_hand), *arguments, numpy.empty_like(arguments[0]))


def of_dtype(arg: Any, dtype: str) -> Any:
    """Its float arrays in this dtype; Python numbers and integers as they are."""
    if isinstance(arg, list | tuple):
        return type(arg)(of_dtype(item, dtype) for item in arg)
    return arg.astype(dtype) if isinstance(arg, numpy.ndarray) and arg.dtype.kind == "f" else arg


def placed(peer: Peer, arg: Any) -> Any:
    """Its arrays as the peer wants them. A Python float stays one, but torch has functions of tensors only."""
    if isinstance(arg, list | tuple):
        return type(arg)(placed(peer, item) for item in arg)
    if isinstance(arg, float):
        return peer.array(numpy.float64(arg)) if peer.name.startswith("torch") else arg
    return peer.array(arg)


# ---- inputs

Generator = numpy.random.Generator


def normal(*shape: int) -> Callable[[Generator], tuple]:
    return lambda rng: (rng.normal(size=shape),)


def logits_and_labels(rng: Generator) -> tuple:
    return rng.normal(size=(128, 1000)), rng.integers(1000, size=128)


def fit_inputs(rng: Generator) -> tuple:
    x = rng.uniform(-1, 1, 100_000)
    return rng.normal(size=6), x, numpy.sin(3 * x) + 0.1 * rng.normal(size=100_000)


def mixture_inputs(d: int, k: int, n: int, rng: Generator) -> tuple:
    rows, columns = numpy.tril_indices(d, -1)
    column_by_column = numpy.lexsort((rows, columns))
    place = numpy.zeros((d, d), int)
    place[rows[column_by_column], columns[column_by_column]] = numpy.arange(len(rows))
    icf = 0.1 * rng.normal(size=(k, d + d * (d - 1) // 2))
    parameters = rng.normal(size=k), rng.normal(size=(k, d)), icf
    return parameters, rng.normal(size=(n, d)), place, numpy.tri(d, k=-1)


def options(rng: Generator) -> tuple:
    """(spot, strike, rate, volatility, years)"""
    limits = [(80, 120), (80, 120), (0.0, 0.1), (0.1, 0.5), (0.2, 2.0)]
    return (tuple(rng.uniform(low, high, 1_000_000) for low, high in limits),)


def oscillator_inputs(rng: Generator) -> tuple:
    springs = 0.1 * rng.normal(size=(10, 10))
    pull = -(springs @ springs.T + numpy.eye(10))
    identity = numpy.eye(10)
    return rng.normal(size=20), numpy.block([[0 * identity, identity], [pull, -0.1 * identity]])


def logistic_inputs(rng: Generator) -> tuple:
    return 0.1 * rng.normal(size=100), rng.normal(size=(500, 100)), rng.choice([-1.0, 1.0], 500)


def layer_inputs(rng: Generator) -> tuple:
    return rng.normal(size=100), 0.1 * rng.normal(size=(100, 100)), 0.1 * rng.normal(size=(100, 100))


def net_inputs(rng: Generator) -> tuple:
    w1, w2 = rng.normal(size=(64, 32)) / 8, rng.normal(size=(32, 10)) / 6
    params = [w1, numpy.zeros(32), w2, numpy.zeros(10)]
    return params, rng.normal(size=(32, 64)), rng.integers(10, size=32)


# ---- the rows

SLOW = "6 s a value, 15 s a gradient"
UNROLLED = "3.5 s to compile each of 200 steps"

PROGRAMS = [
    Program("tanh of a scalar", tanh, lambda rng: (0.3,), dtypes=("float64",), by_hand="tanh"),
    *(
        Program(f"Rosenbrock n={n}", rosenbrock, normal(n), by_hand="rosenbrock", cold=n != 1000, large=n > 100_000)
        for n in (10, 1000, 100_000, 1_000_000)
    ),
    Program("100 sines of 5e6", chained_sines, normal(5_000_000), by_hand="chained_sines", large=True, without={"autograd": SLOW}),
    *(
        Program(f"logsumexp n=1e{e}", logsumexp, normal(10**e), by_hand="logsumexp", cold=e in (2, 7), large=e > 5)
        for e in range(2, 8)
    ),
    Program("cross-entropy 128x1000", cross_entropy, logits_and_labels, by_hand="cross_entropy"),
    Program("polynomial fit n=1e5", polynomial_fit, fit_inputs),
    Program(
        "k-means 10000x8, k=16",
        kmeans,
        lambda rng: (rng.normal(size=(16, 8)), rng.normal(size=(10_000, 8))),
        (VALUE, GRADIENT, DIAGONAL),
        large=True,
    ),
    *(
        Program(f"mixture d={d} k={k} n={n}", mixture, partial(mixture_inputs, d, k, n), cold=d != 10, large=d > 2)
        for d, k, n in ((2, 5, 1000), (10, 25, 1000), (64, 100, 1000))
    ),
    Program("Black-Scholes 1e6", black_scholes, options, large=True, needs=("erf",)),
    Program(
        "20 oscillators, 200 RK4 steps", oscillators, oscillator_inputs, dtypes=("float64",), without={"torch.compile": UNROLLED}
    ),
    Program("n-body n=200", n_body, lambda rng: (rng.normal(size=(200, 3)), rng.uniform(1, 2, 200))),
    Program("two layers 100x100", two_layers, layer_inputs, (VALUE, JACFWD, JACREV), scalar=False),
    Program("logistic loss n=100", logistic, logistic_inputs, (VALUE, GRADIENT, HESSIAN)),
    Program("smooth net 64-32-10, batch 32", smooth_net, net_inputs, (VALUE, GRADIENT, HVP)),
    Program("relu net 64-32-10, batch 32", relu_net, net_inputs, (VALUE, GRADIENT, STEP)),
]
