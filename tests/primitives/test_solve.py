"""Linear equations and determinants: high precision as the oracle, singular matrices, and how often a matrix is factored."""

import itertools
from unittest import mock

import mpmath
import numpy as np
import pytest

import fad

mpmath.mp.dps = 60
R = np.random.default_rng(0)


def conditioned(n, condition):
    """A matrix with this condition number."""
    u, v = (np.linalg.qr(R.normal(size=(n, n)))[0] for _ in range(2))
    return u @ np.diag(np.geomspace(1, 1 / condition, n)) @ v


@pytest.mark.parametrize("condition", [1e2, 1e5, 1e8])
def test_ill_conditioned_equations(condition):
    """Derivatives lose as many digits as the condition number has, its square for those by the matrix; not more."""
    a, b, t = conditioned(4, condition), R.normal(size=4), R.normal(size=(4, 4))
    exact_a, exact_t = mpmath.matrix(a.tolist()), mpmath.matrix(t.tolist())
    inverse = exact_a**-1
    x = inverse * mpmath.matrix(b.tolist())
    wanted = {
        "solve by a": (lambda a: np.linalg.solve(a, b), -inverse * (exact_t * x)),
        "inv": (np.linalg.inv, -inverse * exact_t * inverse),
        "det": (np.linalg.det, mpmath.det(exact_a) * sum((inverse * exact_t)[i, i] for i in range(4))),
        "slogdet": (lambda a: np.linalg.slogdet(a)[1], sum((inverse * exact_t)[i, i] for i in range(4))),
    }
    for name, (f, exact) in wanted.items():
        exact = np.array(exact.tolist() if hasattr(exact, "tolist") else exact, float).reshape(np.shape(f(a)))
        found = fad.jvp(f, (a,), (t,))[1]
        error = np.max(np.abs(found - exact)) / np.max(np.abs(exact))
        assert error < 100 * np.finfo(float).eps * condition, name
        w = R.normal(size=np.shape(exact))
        paired = np.sum(fad.grad(lambda a, f=f, w=w: np.sum(w * f(a)))(a) * t)
        assert abs(paired - np.sum(w * exact)) < 1000 * np.finfo(float).eps * condition * np.sum(np.abs(w * exact)), name


def test_each_mode_solves_once():
    """One factorisation for the value and one for all derivatives of first order."""
    a, b = conditioned(3, 10.0), R.normal(size=3)
    f = lambda a, b: np.sum(np.linalg.solve(a, b) ** 2)
    for run, most in (
        (lambda: fad.grad(f, (0, 1))(a, b), 2),
        (lambda: fad.jvp(f, (a, b), (a, b)), 2),
        (lambda: fad.grad(f)(a, b), 2),
        (lambda: fad.jvp(lambda a: fad.grad(f)(a, b), (a,), (a,)), 4),
    ):
        with mock.patch("numpy.linalg.solve", side_effect=np.linalg.solve) as solve:
            run()
        assert sum(all(type(x) is np.ndarray for x in call.args) for call in solve.call_args_list) <= most


def leibniz(a):
    """The determinant as the sum over permutations."""
    total = 0
    for p in itertools.permutations(range(a.shape[0])):
        term = round(np.linalg.det(np.eye(len(p))[list(p)]))
        for i, j in enumerate(p):
            term = term * a[i, j]
        total = total + term
    return total


@pytest.mark.parametrize("complex", [False, True])
@pytest.mark.parametrize(("n", "rank"), [(n, r) for n in range(1, 6) for r in range(n + 1)])
def test_det_at_singular_matrices(n, rank, complex):
    """Three derivatives are right whatever the rank, and the gradient and Hessian with them."""
    draw = lambda *shape: R.normal(size=shape) + (1j * R.normal(size=shape) if complex else 0)
    a = draw(n, rank) @ draw(rank, n)
    directions = [draw(n, n) for _ in range(3)]
    f, g = np.linalg.det, leibniz
    for t in directions:
        f, g = ((lambda x, h=h, t=t: fad.jvp(h, (x,), (t,))[1]) for h in (f, g))
        np.testing.assert_allclose(f(a), g(a), rtol=1e-10, atol=1e-10)
    gradient = lambda h: fad.grad(lambda a: np.real(h(a)))
    np.testing.assert_allclose(gradient(np.linalg.det)(a), gradient(leibniz)(a), rtol=1e-10, atol=1e-10)
    if n < 5:
        second = lambda h: fad.jvp(gradient(h), (a,), (directions[0],))[1]
        np.testing.assert_allclose(second(np.linalg.det), second(leibniz), rtol=1e-10, atol=1e-10)


def test_det_of_stacks_with_singular_matrices():
    stack = np.stack([np.zeros((4, 4)), np.eye(4), np.ones((4, 4)), conditioned(4, 1e3)])
    found = fad.grad(lambda a: np.sum(np.linalg.det(a)))(stack)
    np.testing.assert_allclose(found, [fad.grad(np.linalg.det)(a) for a in stack], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(fad.jit(fad.vmap(fad.grad(np.linalg.det)))(stack), found, rtol=1e-12, atol=1e-12)


def test_det_of_what_is_not_finite():
    a = np.diag([np.nan, 1.0, 2.0, 3.0])
    assert np.isnan(np.linalg.det(a))
    assert np.any(np.isnan(fad.grad(np.linalg.det)(a)))


def test_the_pseudoinverse_keeps_its_rank():
    a = R.normal(size=(4, 2)) @ R.normal(size=(2, 3))
    t = R.normal(size=(4, 4)) @ a + a @ R.normal(size=(3, 3))  # along matrices of the same rank
    f = lambda a: np.linalg.pinv(a, rcond=1e-8)
    difference = (f(a + 1e-6 * t) - f(a - 1e-6 * t)) / 2e-6
    np.testing.assert_allclose(fad.jvp(f, (a,), (t,))[1], difference, rtol=1e-4, atol=1e-4 * np.max(np.abs(difference)))
