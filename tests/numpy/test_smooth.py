"""Smooth functions written through |x| or a norm: their second derivatives at 0, by hand, in every nesting, eager and compiled."""

import numpy as np
import pytest

import fad

NAN = np.nan
ZERO, EQUAL = np.zeros(2), np.array([1.0, 1.0, 1.0])
EYE = np.eye(2)
NORM = np.linalg.norm

# f, x, its Hessian there
SMOOTH = {
    "square of a norm": (lambda x: NORM(x) ** 2, ZERO, 2 * EYE),
    "np.square": (lambda x: np.square(NORM(x)), ZERO, 2 * EYE),
    "a norm by itself": (lambda x: (r := NORM(x)) * r, ZERO, 2 * EYE),
    "float exponent": (lambda x: NORM(x) ** 2.0, ZERO, 2 * EYE),
    "float_power": (lambda x: np.float_power(NORM(x), 2), ZERO, 2 * EYE),
    "fourth power": (lambda x: NORM(x) ** 4 + NORM(x) ** 2, ZERO, 2 * EYE),
    "vector_norm": (lambda x: np.linalg.vector_norm(x) ** 2, ZERO, 2 * EYE),
    "Frobenius": (lambda x: NORM(x[:, None] * np.ones(3), "fro") ** 2, ZERO, 6 * EYE),
    "norms of rows": (lambda x: np.sum(NORM(x[:, None] * np.ones(3), axis=1) ** 2), ZERO, 6 * EYE),
    "kept axes": (lambda x: np.sum(NORM(x[:, None] * np.ones(3), axis=1, keepdims=True) ** 2), ZERO, 6 * EYE),
    "behind a new axis": (lambda x: np.sum(NORM(x)[None] ** 2), ZERO, 2 * EYE),
    "behind a divisor": (lambda x: (NORM(x) / 3.0) ** 2, ZERO, 2 / 9 * EYE),
    "behind a factor and a sign": (lambda x: (-3.0 * NORM(x)) ** 2, ZERO, 18 * EYE),
    "Gaussian kernel": (lambda x: np.exp(-(NORM(x) ** 2) / 2), ZERO, -EYE),
    "rational kernel": (lambda x: 1 / (1 + NORM(x) ** 2), ZERO, -2 * EYE),
    "r @ r": (lambda x: (r := np.abs(x)) @ r, ZERO, 2 * EYE),
    "np.dot": (lambda x: np.dot(r := np.abs(x), r), ZERO, 2 * EYE),
    "abs": (lambda x: np.sum(np.abs(x) ** 2), ZERO, 2 * EYE),
    "abs by itself": (lambda x: np.sum((a := abs(x)) * a), ZERO, 2 * EYE),
    "fabs": (lambda x: np.sum(np.fabs(x) ** 2), ZERO, 2 * EYE),
    "hypot": (lambda x: np.hypot(x[0], x[1]) ** 2, ZERO, 2 * EYE),
    "cube of |x|": (lambda x: np.sum(np.abs(x) ** 3), ZERO, 0 * EYE),
    "|x| ** 2.5": (lambda x: np.sum(np.abs(x) ** 2.5), ZERO, 0 * EYE),
    "a norm of order 3 with a zero": (lambda x: NORM(x, 3), np.array([0.0, 2.0]), 0 * EYE),
    "variance": (np.var, EQUAL, 2 / 3 * (np.eye(3) - 1 / 3)),
    "square of std": (lambda x: np.std(x) ** 2, EQUAL, 2 / 3 * (np.eye(3) - 1 / 3)),
    "square of std with ddof": (lambda x: np.std(x, ddof=1) ** 2, EQUAL, np.eye(3) - 1 / 3),
    "complex variance": (lambda x: np.var(x + 0j), np.array([-1.0, 0.0, 1.0]), 2 / 3 * (np.eye(3) - 1 / 3)),
    "complex std, one deviation 0": (lambda x: np.std(x + 1j * x) ** 2, np.array([-1.0, 0.0, 1.0]), 4 / 3 * (np.eye(3) - 1 / 3)),
    "complex abs": (lambda x: np.abs(x[0] + 1j * x[1]) ** 2, ZERO, 2 * EYE),
    "complex norm": (lambda x: NORM(x + 1j * x) ** 2, ZERO, 4 * EYE),
    "complex norm with a zero": (lambda x: NORM(x + 0j), np.array([0.0, 2.0]), [[0.5, 0.0], [0.0, 0.0]]),
}

# Smooth as well, but nothing tells: NaN, and never a 0 that looks right.
UNKNOWN = {
    "cosh of a norm": (lambda x: np.cosh(NORM(x)), ZERO),
    "Matern kernel": (lambda x: (1 + NORM(x)) * np.exp(-NORM(x)), ZERO),
    "cos of |x|": (lambda x: np.sum(np.cos(np.abs(x))), ZERO),
    "two norms of one vector": (lambda x: NORM(x) * NORM(x), ZERO),
    "hypot": (lambda x: np.cos(np.hypot(x[0], x[1])), ZERO),
    "a norm itself": (NORM, ZERO),
    "a norm of order 3": (lambda x: NORM(x, 3), ZERO),
    "a norm of order 1": (lambda x: NORM(x, 1), ZERO),
}


def hessians(f, x):
    """By every nesting of the modes, eager and compiled."""
    for outer in (fad.jacfwd, fad.jacrev):
        for inner in (fad.jacfwd, fad.jacrev, fad.grad):
            yield outer(inner(f))(x)
    yield fad.jit(fad.hessian(f))(x)


@pytest.mark.parametrize("name", SMOOTH)
def test_hessians_of_smooth_functions_through_a_kink(name):
    f, x, hessian = SMOOTH[name]
    for found in hessians(f, x):
        np.testing.assert_allclose(found, hessian, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_cannot_be_told_to_be_smooth_is_nan(name):
    f, x = UNKNOWN[name]
    for found in hessians(f, x):
        assert np.all(np.isnan(np.diag(found)))
    np.testing.assert_array_equal(fad.grad(f)(x), 0.0)


@pytest.mark.parametrize("name", SMOOTH)
def test_values_are_numpys(name):
    f, x, _ = SMOOTH[name]
    for at in (x, x + np.arange(x.size), -1.5 * x - 0.3):
        np.testing.assert_allclose(fad.value_and_grad(f)(at)[0], f(at), rtol=1e-14)
        np.testing.assert_allclose(fad.jit(f)(at), f(at), rtol=1e-14)


def test_cross_hessian_of_a_kernel_at_equal_points():
    """d2/da db exp(-|a - b|^2) = 2 I (pytorch#92075)."""
    kernel = lambda a, b: np.exp(-(np.linalg.norm(a - b) ** 2))
    a = np.array([1.0, -2.0, 3.0])
    np.testing.assert_allclose(fad.jacfwd(fad.grad(kernel, 0), 1)(a, a), 2 * np.eye(3))


def test_a_long_chain_of_factors_is_not_searched():
    def f(x):
        y = np.linalg.norm(x)
        for _ in range(3000):
            y = y * 1.0
        return y * y

    assert np.isfinite(fad.grad(f)(np.ones(2))).all()
