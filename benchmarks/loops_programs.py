"""Loops as both libraries write them: ``make(np, lax)`` gives the function; lax has scan, fori_loop, while_loop and cond."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy

VALUE, GRADIENT, SLOPE = "value", "gradient", "slope"


@dataclass(frozen=True)
class Loop:
    """A function with a loop, its arguments, and what is timed of it."""

    name: str
    make: Callable[[Any, Any], Callable]
    inputs: Callable[[numpy.random.Generator], tuple]
    kinds: tuple[str, ...] = (VALUE, GRADIENT)
    hand: str = ""  # its functions in loops_by_hand.py begin so
    vmapped: bool = False
    memory: bool = False  # whether that of its gradient is compared
    rounds: int = 25
    tolerance: float = 1e-8


def lorenz(np: Any, lax: Any) -> Callable:
    def f(s: Any) -> Any:
        def step(c: tuple, _: Any) -> tuple:
            x, y, z = c
            return (x + 1e-3 * 10 * (y - x), y + 1e-3 * (x * (28 - z) - y), z + 1e-3 * (x * y - 8 / 3 * z)), None

        (x, y, z), _ = lax.scan(step, (s[0], s[1], s[2]), None, length=10_000)
        return x + y + z

    return f


def leapfrog(np: Any, lax: Any) -> Callable:
    def f(q: Any) -> Any:
        def step(c: tuple, _: Any) -> tuple:
            q, p = c
            p = p - 0.01 * q / np.sum(q * q) ** 1.5
            return (q + 0.01 * p, p), None

        (q, _), _ = lax.scan(step, (q, 0.0 * q + np.asarray([0.0, 1.0])), None, length=300)
        return np.sum(q * q)

    return f


def recurrence(np: Any, lax: Any) -> Callable:
    return lambda a: np.sum(lax.scan(lambda x, _: (np.tanh(a @ x), None), 0.0 * a[0] + 1.0, None, length=10_000)[0])


def newton(np: Any, lax: Any) -> Callable:
    return lambda a: lax.while_loop(lambda x: np.abs(x * x - a) > 1e-12 * a, lambda x: 0.5 * (x + a / x), a)


def bouncing(np: Any, lax: Any) -> Callable:
    """A ball over a floor, 10 000 steps, with a cond at each: what is left of its height."""

    def f(h: Any) -> Any:
        def step(c: tuple, _: Any) -> tuple:
            x, v = c
            v = v - 1e-3 * 9.81
            x = x + 1e-3 * v
            return lax.cond(x < 0, lambda x, v: (-x, -0.9 * v), lambda x, v: (x, v), x, v), None

        return lax.scan(step, (h, 0.0 * h), None, length=10_000)[0][0]

    return f


def sigmoid(np: Any, x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def lstm(np: Any, lax: Any) -> Callable:
    def cell(p: tuple, state: tuple, x: Any) -> tuple:
        w, u, b = p
        h, c = state
        z = x @ w + h @ u + b
        i, f, g, o = np.split(z, 4, axis=-1)
        c = sigmoid(np, f) * c + sigmoid(np, i) * np.tanh(g)
        return sigmoid(np, o) * np.tanh(c), c

    def f(params: tuple, xs: Any) -> Any:
        def step(states: tuple, x: Any) -> tuple:
            made = []
            for p, s in zip(params, states, strict=True):
                s = cell(p, s, x)
                x = s[0]
                made.append(s)
            return tuple(made), x

        zero = 0.0 * xs[0] @ params[0][0]
        h = zero[..., : zero.shape[-1] // 4]
        return np.sum(lax.scan(step, tuple((h, h) for _ in params), xs)[1] ** 2)

    return f


def gru(np: Any, lax: Any) -> Callable:
    def f(params: tuple, xs: Any) -> Any:
        (w, u, b, wn, un, bn) = params

        def step(h: Any, x: Any) -> tuple:
            r, z = np.split(sigmoid(np, x @ w + h @ u + b), 2, axis=-1)
            h = (1 - z) * np.tanh(x @ wn + r * (h @ un) + bn) + z * h
            return h, h

        return np.sum(lax.scan(step, 0.0 * xs[0] @ wn, xs)[1] ** 2)

    return f


def runge_kutta(steps: int) -> Callable:
    def make(np: Any, lax: Any) -> Callable:
        slope = lambda y: np.sin(y) - y**3

        def step(y: Any, _: Any) -> tuple:
            a = slope(y)
            b = slope(y + 0.005 * a)
            c = slope(y + 0.005 * b)
            d = slope(y + 0.01 * c)
            return y + 0.01 / 6 * (a + 2 * b + 2 * c + d), None

        return lambda y: np.sum(lax.scan(step, y, None, length=steps)[0])

    return make


def heat(steps: int) -> Callable:
    def make(np: Any, lax: Any) -> Callable:
        def step(u: Any, _: Any) -> tuple:
            return u + 0.1 * (np.roll(u, 1, 0) + np.roll(u, -1, 0) + np.roll(u, 1, 1) + np.roll(u, -1, 1) - 4 * u), None

        return lambda u: np.sum(lax.scan(step, u, None, length=steps)[0] ** 2)

    return make


def particles(np: Any, lax: Any) -> Callable:
    """The log-likelihood of a series by 1000 particles, with systematic resampling: gradient by the weights."""

    def f(theta: Any, ys: Any, noise: Any) -> Any:
        n = noise.shape[1]
        grid = (np.arange(n) + 0.5) / n

        def step(c: tuple, row: tuple) -> tuple:
            x, total = c
            y, e = row
            x = theta[0] * x + theta[1] * e
            logs = -0.5 * (y - x) ** 2
            top = np.max(logs)
            w = np.exp(logs - top)
            mean = np.sum(w) / n
            ends = np.cumsum(w) / (n * mean)
            chosen = np.minimum(np.searchsorted(ends, grid), n - 1)
            return (x[chosen], total + top + np.log(mean)), None

        return lax.scan(step, (0.0 * noise[0], 0.0 * theta[0]), (ys, noise))[0][1]

    return f


def sinkhorn(np: Any, lax: Any) -> Callable:
    def f(cost: Any) -> Any:
        k = np.exp(-cost)

        def step(c: tuple, _: Any) -> tuple:
            u, v = c
            u = 1 / (k @ v)
            return (u, 1 / (k.T @ u)), None

        one = 0.0 * cost[0] + 1.0
        (u, v), _ = lax.scan(step, (one, one), None, length=50)
        return np.sum(u[:, None] * k * cost * v)

    return f


def maml(np: Any, lax: Any, grad: Callable) -> Callable:
    """Ten steps of descent on one task, and the loss on another, by where the descent begins."""

    def net(p: tuple, x: Any) -> Any:
        a, b, c = p
        return np.tanh(np.tanh(x @ a) @ b) @ c

    def loss(p: tuple, x: Any, y: Any) -> Any:
        return np.mean((net(p, x)[:, 0] - y) ** 2)

    def f(p: tuple, x: Any, y: Any) -> Any:
        slope = grad(loss)
        step = lambda p, _: (tuple(w - 0.05 * g for w, g in zip(p, slope(p, x, y), strict=True)), None)
        return loss(lax.scan(step, p, None, length=10)[0], x + 0.1, y)

    return f


def saddle(np: Any, lax: Any, inner: Callable, outer: Callable) -> Callable:
    """Descent on x of the best y by descent: 50 x 1000 turns."""

    def fun(x: Any, y: Any) -> Any:
        return np.sum(x * x) - np.sum(y * y) + 0.1 * np.sum(x * y)

    def descend(g: Callable, x: Any, n: int, rate: float) -> Any:
        return lax.scan(lambda x, _: (x - rate * g(x), None), x, None, length=n)[0]

    def best(x: Any) -> Any:
        return fun(x, descend(inner(lambda y: -fun(x, y)), 0.0 * x + 1.0, 1000, 0.01))

    return lambda x: np.sum(descend(outer(best), x, 50, 0.1))


def weights(rng: numpy.random.Generator, *shapes: tuple) -> tuple:
    return tuple(0.1 * rng.normal(size=s) for s in shapes)


def lstm_inputs(layers: int, d: int, *batch: int) -> Callable:
    def inputs(rng: numpy.random.Generator) -> tuple:
        return tuple(weights(rng, (d, 4 * d), (d, 4 * d), (4 * d,)) for _ in range(layers)), rng.normal(size=(*batch, d))

    return inputs


LOOPS = [
    Loop("leapfrog, 300 steps", leapfrog, lambda rng: (numpy.array([1.0, 0.5]),), hand="leapfrog"),
    Loop("Lorenz, 10 000 steps", lorenz, lambda rng: (numpy.array([1.0, 1.1, 0.9]),), hand="lorenz", tolerance=1e-5, memory=True),
    Loop(
        "3 x 3 recurrence, 10 000 steps", recurrence, lambda rng: (0.7 * rng.normal(size=(3, 3)),), hand="recurrence", memory=True
    ),
    Loop("Newton, while", newton, lambda rng: (numpy.float64(12345.0),), (VALUE, SLOPE), hand="newton"),
    Loop("bouncing ball, 10 000 steps", bouncing, lambda rng: (numpy.float64(1.0),), hand="bouncing"),
    Loop("LSTM 2 x 14, 1024 steps", lstm, lstm_inputs(2, 14, 1024), memory=True),
    Loop("LSTM 2 x 14, 8192 steps", lstm, lstm_inputs(2, 14, 8192), memory=True, rounds=7),
    Loop("LSTM 128, batch 16, 100 steps", lstm, lstm_inputs(1, 128, 100, 16), memory=True, rounds=11),
    Loop(
        "GRU 128, batch 16, 100 steps",
        gru,
        lambda rng: (weights(rng, (128, 256), (128, 256), (256,), (128, 128), (128, 128), (128,)), rng.normal(size=(100, 16, 128))),
        memory=True,
        rounds=11,
    ),
    Loop("Runge-Kutta, 1000 elements, 100 steps", runge_kutta(100), lambda rng: (rng.normal(size=1000),), memory=True),
    Loop("Runge-Kutta, 100 000 elements, 20 steps", runge_kutta(20), lambda rng: (rng.normal(size=100_000),), rounds=7),
    Loop("heat 128 x 128, 60 steps", heat(60), lambda rng: (rng.normal(size=(128, 128)),), memory=True),
    Loop("heat 512 x 512, 1000 steps", heat(1000), lambda rng: (rng.normal(size=(512, 512)),), rounds=3),
    Loop(
        "particle filter, 1000 x 100",
        particles,
        lambda rng: (numpy.array([0.9, 0.5]), rng.normal(size=100), rng.normal(size=(100, 1000))),
        tolerance=1e-4,
        rounds=11,
    ),
    Loop("Sinkhorn 200 x 200, 50 turns", sinkhorn, lambda rng: (rng.uniform(size=(200, 200)),), memory=True),
    Loop(
        "descent in descent (MAML)",
        maml,
        lambda rng: (weights(rng, (8, 32), (32, 32), (32, 1)), rng.normal(size=(20, 8)), rng.normal(size=20)),
    ),
    Loop("Newton, 100 000 lanes", newton, lambda rng: (rng.uniform(1, 100, 100_000),), (VALUE, SLOPE), vmapped=True, rounds=11),
]
