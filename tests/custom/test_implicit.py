"""Implicit derivatives against those of NumPy's solve and of closed forms, to order three."""

import numpy as np
import pytest
from scipy.optimize import brentq

import fad
from fad.errors import ShapeError, TreeError

rng = np.random.default_rng(0)
A, B = rng.normal(size=(4, 4)) + 4 * np.eye(4), rng.normal(size=4)


def conjugate_gradients(f, b):
    def step(s):
        x, r, p, k = s
        q = f(p)
        a = np.sum(r * r) / np.sum(p * q)
        n = r - a * q
        return x + a * p, n, n + np.sum(n * n) / np.sum(r * r) * p, k + 1

    return fad.while_loop(lambda s: np.logical_and(np.sum(s[1] ** 2) > 1e-24, s[3] < 50), step, (np.zeros(b.shape), b, b, 0))[0]


PAIRS = {
    "dense": (
        lambda a, b: np.sum(np.sin(fad.custom_linear_solve(lambda x: a @ x, b))),
        lambda a, b: np.sum(np.sin(np.linalg.solve(a, b))),
    ),
    "matrix-free": (
        lambda a, b: np.sum(np.sin(fad.custom_linear_solve(lambda x: a @ (a.T @ x), b, conjugate_gradients, symmetric=True))),
        lambda a, b: np.sum(np.sin(np.linalg.solve(a @ a.T, b))),
    ),
    "pytree": (
        lambda a, b: np.sum(
            fad.custom_linear_solve(lambda x: {"u": a[:2] @ np.append(x["u"], x["v"]), "v": a[2:] @ np.append(x["u"], x["v"])},
                                    {"u": b[:2], "v": b[2:]})["v"] ** 2
        ),
        lambda a, b: np.sum(np.linalg.solve(a, b)[2:] ** 2),
    ),
}  # fmt: skip
TRANSFORMS = {
    "value": lambda f: f,
    "reverse": lambda f: fad.grad(f, (0, 1)),
    "forward": lambda f: lambda a, b: fad.jvp(f, (a, b), (a + 1, b - 1)),
    "hessian": lambda f: fad.hessian(f, 1),
    "forward over reverse": lambda f: fad.jacfwd(fad.grad(f)),
    "third order": lambda f: fad.grad(lambda a, b: fad.grad(fad.grad(lambda t, a, b: f(a * t, b * t)))(1.3, a, b)),
    "batch": lambda f: lambda a, b: fad.vmap(fad.grad(f, (0, 1)), (None, 0))(a, np.stack([b, b - 1])),
}


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("name", TRANSFORMS)
def test_linear_equations(name, pair):
    mine, numpys = PAIRS[pair]
    want = TRANSFORMS[name](numpys)(A, B)
    for f in (TRANSFORMS[name](mine), fad.jit(TRANSFORMS[name](mine))):
        for a, b in zip(fad.tree.leaves(f(A, B)), fad.tree.leaves(want), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)


def newton(f, x):
    return fad.while_loop(lambda x: np.abs(f(x)) > 1e-12, lambda x: x - f(x) / fad.grad(f)(x), x)


def root(a):
    return fad.custom_root(lambda x: x**3 - a, 1.5, newton)


@pytest.mark.parametrize("jit", [lambda f: f, fad.jit])
def test_roots(jit):
    powers = [(1, 8.0 ** (1 / 3)), (2, 8 ** (-2 / 3) / 3), (3, -2 / 9 * 8 ** (-5 / 3)), (4, 10 / 27 * 8 ** (-8 / 3))]
    f = root
    for _, want in powers:
        np.testing.assert_allclose(jit(f)(8.0), want, rtol=1e-10)
        f = fad.grad(f)
    np.testing.assert_allclose(jit(fad.jacfwd(fad.jacfwd(root)))(8.0), powers[2][1], rtol=1e-10)
    a = np.array([1.0, 8.0, 27.0])
    np.testing.assert_allclose(jit(fad.vmap(fad.grad(root)))(a), a ** (-2 / 3) / 3, rtol=1e-10)


def test_a_solver_of_scipys():
    f = lambda a: fad.custom_root(lambda x: x**3 - a, 1.5, lambda f, x: brentq(lambda t: float(fad.value(f(t))), 0, 10, xtol=1e-14))
    np.testing.assert_allclose(fad.grad(f)(8.0), 1 / 12, rtol=1e-10)
    np.testing.assert_allclose(fad.jvp(f, (8.0,), (1.0,))[1], 1 / 12, rtol=1e-10)


@pytest.mark.parametrize("jit", [lambda f: f, fad.jit])
def test_fixed_points(jit):
    f = lambda a: fad.custom_fixed_point(lambda x: {"c": np.cos(a * x["c"]), "h": 0.5 * x["h"] + a}, {"c": 0.7, "h": 0})
    where = lambda a: brentq(lambda x: np.cos(a * x) - x, 0, 1.5, xtol=1e-14)
    np.testing.assert_allclose(jit(f)(0.8)["c"], where(0.8), rtol=1e-10)
    slope = jit(fad.jacrev(f))(0.8)
    np.testing.assert_allclose(slope["c"], (where(0.8 + 1e-5) - where(0.8 - 1e-5)) / 2e-5, rtol=1e-8)
    np.testing.assert_allclose(slope["h"], 2, rtol=1e-10)
    np.testing.assert_allclose(jit(fad.jacfwd(f))(0.8)["h"], 2, rtol=1e-10)


@pytest.mark.parametrize(
    ("error", "call"),
    [
        (ShapeError, lambda: fad.custom_linear_solve(lambda x: A[:2] @ x, B)),
        (TreeError, lambda: fad.custom_linear_solve(lambda x: (A @ x,), B)),
        (ShapeError, lambda: fad.custom_linear_solve(lambda x: A @ x, B, lambda f, b: b[:2])),
        (TreeError, lambda: fad.custom_root(lambda x: x, 1.0, lambda f, x: (x, x))),
        (TypeError, lambda: fad.custom_root(3, 1.0, newton)),
    ],
)
def test_errors_say_what_to_do(error, call):
    with pytest.raises(error, match="fix:"):
        call()
