"""Programs as people write them, compiled: values and gradients are the interpreter's."""

import itertools

import numpy as np
import pytest

import fad
from fad import nn


def same(f, *args, rtol=1e-9):
    """f and its gradient by the first argument, compiled and not."""
    for g in (f, fad.grad(f)):
        found, expected = map(fad.tree.leaves, (fad.jit(g)(*args), g(*args)))
        for y, z in zip(found, expected, strict=True):
            np.testing.assert_allclose(y, z, rtol=rtol, atol=1e-10 * max(1.0, np.max(np.abs(z), initial=0.0)))


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("dot", [lambda v: v @ v, lambda v: np.dot(v, v), lambda v: np.vdot(v, np.sin(v))])
@pytest.mark.parametrize("n", [16_384, 16_385, 20_000])
def test_a_long_vector_dot_itself(dot, n):  # any L2 penalty written so, from 16385 elements a kernel with a constant of one element
    same(dot, np.linspace(-1, 1, n))


@pytest.mark.parametrize("x, w", [((2, 6, 6, 1), (1, 1, 1, 1)), ((2, 9, 1), (1, 1, 1))])
def test_a_convolution_with_a_constant_of_one_element(x, w):
    same(lambda x: np.sum(np.sin(nn.conv(x, np.full(w, 2.0)))), draw(*x))


@pytest.mark.parametrize("n", [3, 5, 8])
def test_boxes_and_folds_meet(n):
    def f(b):
        v1, v2 = np.mean(b), np.gradient(b)
        v9 = v2[None, ::-1] @ np.diag(b)
        return 0.5 * np.sum(np.sin(v2) + 0.1 * v2) + 0.8 * np.sum(np.sin(v1)) + 1.4 * np.sum(np.sin(v9) + 0.1 * v9)

    same(f, np.linspace(-1, 1, n))


def test_reductions_of_a_column_and_of_the_whole():
    z = draw(40, 2)

    def f(q):
        x = z * q[2:] + q[:2]
        return np.mean(np.sin(x[:, 0])) - np.mean(np.sum((x - q[:2]) ** 2, axis=1))

    same(f, np.linspace(0, 1, 4))


@pytest.mark.parametrize(
    "how", [np.roll, lambda x, k, axis: np.concatenate([x[k:], x[:k]], axis), lambda x, k, axis: np.pad(x, 1)[1:-1, 1:-1]]
)
@pytest.mark.parametrize("reduce", [np.sum, np.mean, np.max, np.prod, nn.logsumexp])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_reductions_beside_what_is_cut_into_boxes(how, reduce, axis):
    def f(x):
        r = how(x, 2, 0)
        return np.sum(reduce(np.tanh(r) * x, axis=axis)) + np.sum(np.sum(x, axis=axis) ** 2) + np.sum(r[1:] * r[:-1] * 0.1)

    same(f, draw(7, 9))


def test_gaussian_process_regression():
    x, y = np.linspace(0, 1, 12)[:, None], draw(12)

    def kernel(p, a, b):
        return np.exp(p[0]) * np.exp(-0.5 * np.sum(((a[:, None, :] - b[None]) / np.exp(p[1:2])) ** 2, axis=2))

    def loss(p):
        k = kernel(p, x, x) + (np.exp(p[2]) + 1e-3) * np.eye(12)
        inverse = 2 / np.trace(k) * np.eye(12)
        for _ in range(8):  # Newton and Schulz
            inverse = inverse @ (2 * np.eye(12) - k @ inverse)
        return y @ inverse @ y + np.trace(k @ inverse) + 0.1 * np.dot(p, p)

    same(loss, np.array([0.1, -1.0, 0.3]), rtol=1e-7)


def test_mixture_of_gaussians():
    data, k, d = draw(50, 2), 3, 2

    def loss(flat):
        weights, means, scales = flat[:k], flat[k : k + k * d].reshape(k, d), flat[k + k * d :].reshape(k, d, d)
        scales = scales @ np.swapaxes(scales, 1, 2) + np.eye(d)
        gaps = data[:, None] - means
        logp = -0.5 * np.einsum("nki,kij,nkj->nk", gaps, scales, gaps) + 0.5 * np.log(
            scales[:, 0, 0] * scales[:, 1, 1] - scales[:, 0, 1] ** 2
        )
        return -np.sum(nn.logsumexp(logp + weights - nn.logsumexp(weights), axis=1))

    same(loss, draw(k + k * d + k * d * d))


@pytest.mark.parametrize("sizes", [(4, 8, 3), (784, 200, 10)])
def test_a_net_with_a_penalty_on_flattened_weights(sizes):
    shapes = [*itertools.pairwise(sizes)]
    total = sum(m * n + n for m, n in shapes)
    inputs, targets = draw(6, sizes[0]), np.eye(sizes[-1])[np.arange(6) % sizes[-1]]

    def loss(w):
        x, at = inputs, 0
        for m, n in shapes:
            x = np.dot(x, w[at : at + m * n].reshape(m, n)) + w[at + m * n : at + m * n + n]
            at += m * n + n
            x = np.tanh(x) if at < total else x - nn.logsumexp(x, axis=1, keepdims=True)
        return np.dot(w, w) * 0.1 - np.sum(x * targets) / 6

    same(loss, draw(total) * 0.1)


@pytest.mark.parametrize("n", [5, 16, 40])
def test_fluid_simulation(n):
    def project(vx, vy):
        h = 1.0 / n
        div = -0.5 * h * (np.roll(vx, -1, 0) - np.roll(vx, 1, 0) + np.roll(vy, -1, 1) - np.roll(vy, 1, 1))
        p = np.zeros((n, n))
        for _ in range(4):
            p = (div + np.roll(p, 1, 0) + np.roll(p, -1, 0) + np.roll(p, 1, 1) + np.roll(p, -1, 1)) / 4.0
        return vx - 0.5 * (np.roll(p, -1, 0) - np.roll(p, 1, 0)) / h, vy - 0.5 * (np.roll(p, -1, 1) - np.roll(p, 1, 1)) / h

    def advect(f, vx, vy):
        cx, cy = np.meshgrid(np.arange(n), np.arange(n))
        x, y = (cy - vx).ravel(), (cx - vy).ravel()
        lx, ly = np.floor(x).astype(int), np.floor(y).astype(int)
        rx, ry = x - lx, y - ly
        at = lambda i, j: f[i % n, j % n]
        return np.reshape(
            (1 - rx) * ((1 - ry) * at(lx, ly) + ry * at(lx, ly + 1)) + rx * ((1 - ry) * at(lx + 1, ly) + ry * at(lx + 1, ly + 1)),
            (n, n),
        )

    def loss(v):
        vx, vy = np.reshape(v, (2, n, n))
        smoke = np.abs(np.sin(np.arange(n * n).reshape(n, n))) + 0.1 * vx
        for _ in range(2):
            vx, vy = project(advect(vx, vx, vy), advect(vy, vx, vy))
            smoke = advect(smoke, vx, vy)
        return np.mean((smoke - 0.3) ** 2)

    same(loss, draw(2 * n * n) * 0.3, rtol=1e-7)


def test_recurrent_nets():
    data = draw(5, 3, 4)

    def loss(p):
        h = np.repeat(p["h"], 3, axis=0)
        c, outs = np.zeros_like(h), []
        for x in data:
            joined = np.hstack([x, h, np.ones((3, 1))])
            forget, write, out = (0.5 * np.tanh(joined @ w) + 0.5 for w in p["gates"])
            c = forget * c + write * np.tanh(joined @ p["change"])
            h = out * np.tanh(c)
            outs.append(h @ p["readout"])
        y = np.stack(outs)
        return -np.mean((y - nn.logsumexp(y, axis=2, keepdims=True))[:, :, 0]) + 1e-3 * sum(
            np.vdot(w, w) for w in fad.tree.leaves(p)
        )

    same(
        loss,
        {"h": draw(1, 6), "gates": [draw(11, 6, seed=k) for k in range(3)], "change": draw(11, 6, seed=4), "readout": draw(6, 4)},
    )


def test_neural_ode():
    times = np.linspace(0, 1, 6)

    def field(y, t, p):
        return np.tanh(np.concatenate([y**3, np.ones((y.shape[0], 1)) * t], axis=1) @ p["w"] + p["b"]) @ p["v"]

    def loss(p):
        y, ys = np.array([[2.0, 0.0], [1.0, -1.0]]), []
        for t, dt in zip(times[:-1], np.diff(times), strict=True):
            k1 = field(y, t, p)
            k2 = field(y + dt / 2 * k1, t + dt / 2, p)
            k3 = field(y + dt / 2 * k2, t + dt / 2, p)
            y = y + dt / 6 * (k1 + 2 * k2 + 2 * k3 + field(y + dt * k3, t + dt, p))
            ys.append(y)
        return np.mean(np.abs(np.stack(ys) - 0.5))

    same(loss, {"w": draw(3, 8), "b": draw(8), "v": draw(8, 2)})


def test_black_box_variational_inference():
    noise = draw(30, 4)

    def loss(q):
        mean, log_std = q[:4], q[4:]
        samples = noise * np.exp(log_std) + mean
        mu, log_sigma = samples[:, 0], samples[:, 1]
        return -np.mean(-0.5 * log_sigma**2 - 0.5 * (mu / np.exp(log_sigma)) ** 2 - np.sum(samples**2, axis=1)) - np.sum(log_std)

    same(loss, draw(8) * 0.3)
    same(lambda q: np.sum(fad.grad(loss)(q) ** 2), draw(8) * 0.3)


def test_convolutional_net_with_constants_and_norms():
    images = draw(3, 8, 8, 1)

    def loss(p):
        x = np.tanh(nn.conv(images, p["w"]))
        x = nn.max_pool(x, (2, 2))
        x = (x - np.mean(x, axis=(0, 1, 2))) / np.sqrt(np.var(x, axis=(0, 1, 2)) + 1e-3)
        return np.sum(x.reshape(3, -1) @ p["v"]) + np.linalg.norm(p["v"]) + np.dot(p["w"].ravel(), p["w"].ravel())

    same(loss, {"w": draw(3, 3, 1, 2), "v": draw(32, 2)}, rtol=1e-6)


def test_rosenbrock_by_newton():
    f = lambda x: np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)
    x = draw(6)
    np.testing.assert_allclose(fad.jit(fad.hessian(f))(x), fad.hessian(f)(x), rtol=1e-10, atol=1e-10)
    same(lambda x: np.sum(fad.hessian(f)(x) @ x), x)
