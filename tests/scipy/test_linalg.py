"""`scipy.linalg` on nodes: SciPy's values, derivatives against differences, by either name, compiled and batched."""

import numpy as np
import pytest
import scipy.linalg as sl

import fad
import fad.scipy.linalg as fl
from fad.testing import check_grads

RNG = np.random.default_rng(0)
A = RNG.normal(size=(4, 4)) * 0.3 + np.diag([1.0, 2.0, 3.0, 4.0])
S = A @ A.T + np.eye(4)
B = RNG.normal(size=(4, 2))
V = RNG.normal(size=4)
BAND = np.array([[0.0, 1.0, 2.0, 1.0], [4.0, 5.0, 6.0, 5.0], [1.0, 1.0, 2.0, 0.0], [0.5, 0.2, 0.0, 0.0]])
FACTOR = sl.lu_factor(A)

# what it is, a function of a library, and its arguments
CASES = {
    "solve": (lambda l, a, b: l.solve(a, b), (A, B)),
    "solve vector": (lambda l, a, b: l.solve(a, b), (A, V)),
    "solve transposed": (lambda l, a, b: l.solve(a, b, transposed=True), (A, B)),
    "solve pos": (lambda l, a, b: l.solve(a, b, assume_a="pos"), (S, B)),
    "solve pos lower": (lambda l, a, b: l.solve(a, b, assume_a="pos", lower=True), (S, V)),
    "solve sym": (lambda l, a, b: l.solve(a, b, assume_a="sym"), (S, B)),
    "triangular": (lambda l, a, b: l.solve_triangular(a, b), (A, B)),
    "triangular lower, vector": (lambda l, a, b: l.solve_triangular(a, b, lower=True), (A, V)),
    "triangular trans": (lambda l, a, b: l.solve_triangular(a, b, trans=1, lower=True), (A, B)),
    "triangular unit": (lambda l, a, b: l.solve_triangular(a, b, trans="T", unit_diagonal=True), (A, B)),
    "cho_solve": (lambda l, a, b: l.cho_solve(l.cho_factor(a), b), (S, B)),
    "cho_solve lower": (lambda l, a, b: l.cho_solve(l.cho_factor(a, lower=True), b), (S, V)),
    "cholesky": (lambda l, a: l.cholesky(a), (S,)),
    "lu": (lambda l, a: l.lu(a)[1] @ np.diag([1.0, 2.0, 3.0, 4.0]) @ l.lu(a)[2], (A,)),
    "lu permuted": (lambda l, a: l.lu(a, permute_l=True)[0] @ l.lu(a)[2], (A[::-1],)),
    "lu tall": (lambda l, a: l.lu(a)[1] @ (l.lu(a)[2] ** 2), (A[:, :3],)),
    "lu wide": (lambda l, a: l.lu(a)[1] @ (l.lu(a)[2] ** 2), (A[1:],)),
    "solve_banded": (lambda l, a, b: l.solve_banded((2, 1), a, b), (BAND, B)),
    "solve_banded vector": (lambda l, a, b: l.solve_banded((2, 1), a, b), (BAND, V)),
    "solveh_banded": (lambda l, a, b: l.solveh_banded(a, b), (np.array([[0.0, 0.5, 0.2, 0.1], [4.0, 5.0, 6.0, 5.0]]), B)),
    "solveh_banded lower": (lambda l, a, b: l.solveh_banded(a, b, lower=True), (np.array([[4.0, 5.0, 6.0, 5.0], [0.5, 0.2, 0.1, 0.0]]), V)),
    "solve_toeplitz": (lambda l, c, b: l.solve_toeplitz(c, b), (np.array([4.0, 1.0, 0.5, 0.2]), V)),
    "discrete lyapunov": (lambda l, a, q: l.solve_discrete_lyapunov(a / 9, q), (A, S)),
    "power": (lambda l, a: l.fractional_matrix_power(a, 0.4), (S,)),
    "sylvester": (lambda l, a, b, q: l.solve_sylvester(a, b, q), (A, S, RNG.normal(size=(4, 4)))),
    "lyapunov": (lambda l, a, q: l.solve_continuous_lyapunov(a, q), (A, S)),
    "inv": (lambda l, a: l.inv(a), (A,)),
    "det": (lambda l, a: l.det(a), (A,)),
    "pinv": (lambda l, a: l.pinv(a), (A[:, :2],)),
    "lstsq": (lambda l, a, b: l.lstsq(a, b)[0], (A[:, :2], B)),
    "norm": (lambda l, a: l.norm(a, 1), (A,)),
    "qr economic": (lambda l, a: l.qr(a, mode="economic")[1], (A[:, :3],)),
    "qr full": (lambda l, a: l.qr(a)[0], (A[:, :3],)),
    "svdvals": (lambda l, a: l.svdvals(a), (A,)),
    "svd": (lambda l, a: l.svd(a, full_matrices=False)[1], (A[:, :3],)),
    "eigvalsh": (lambda l, a: l.eigvalsh(a), (S,)),
    "eigh of two": (lambda l, a, b: l.eigh(a + a.T, b, eigvals_only=True), (A, S)),
    "eigh some": (lambda l, a: l.eigh(a, subset_by_index=[1, 2])[0], (S,)),
    "expm": (lambda l, a: l.expm(a), (A,)),
    "logm": (lambda l, a: l.logm(a), (S,)),
    "sqrtm": (lambda l, a: l.sqrtm(a), (S,)),
    "cosm": (lambda l, a: l.cosm(a), (A / 4,)),
    "sinm": (lambda l, a: l.sinm(a), (A / 4,)),
    "tanm": (lambda l, a: l.tanm(a), (A / 9,)),
    "coshm": (lambda l, a: l.coshm(a), (A,)),
    "sinhm": (lambda l, a: l.sinhm(a), (A,)),
    "tanhm": (lambda l, a: l.tanhm(a / 4), (A,)),
    "expm_frechet": (lambda l, a, e: l.expm_frechet(a, e)[1], (A, S)),
    "polar": (lambda l, a: l.polar(a)[1], (A,)),
    "polar left": (lambda l, a: l.polar(a, side="left")[0], (A,)),
    "block_diag": (lambda l, a, b: l.block_diag(a, b), (A, B)),
    "toeplitz": (lambda l, c, r: l.toeplitz(c, r), (V, B[:, 0])),
    "circulant": (lambda l, c: l.circulant(c), (V,)),
    "hankel": (lambda l, c, r: l.hankel(c, r), (V, B[:, 0])),
    "khatri_rao": (lambda l, a, b: l.khatri_rao(a, b), (B, B + 1)),
}  # fmt: skip
EACH = pytest.mark.parametrize("name", CASES)


@EACH
def test_values_and_derivatives(name):
    f, args = CASES[name]
    np.testing.assert_allclose(fad.trace(lambda *xs: f(sl, *xs))(*args)(*args), f(sl, *args), rtol=1e-9, atol=1e-9)
    order = (
        1 if name in ("logm", "sqrtm", "power") else 2
    )  # a complex step through these has but ten digits; the laws take the second order
    check_grads(lambda *xs: np.sum(np.sin(f(fl, *xs))), args, order=order)


@EACH
def test_compiled(name):
    f, args = CASES[name]
    g = fad.value_and_grad(lambda *xs: np.sum(np.sin(f(fl, *xs))), tuple(range(len(args))))
    (y, dy), (expected, derivatives) = fad.jit(g)(*args), g(*args)
    np.testing.assert_allclose(y, expected, rtol=1e-9)
    for a, b in zip(dy, derivatives):
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(
    "name", ["solve pos", "triangular", "cho_solve", "lu", "expm", "logm", "sqrtm", "sylvester", "solve_banded"]
)
def test_batches(name):
    f, args = CASES[name]
    stacks = [np.stack([a, a * 1.1, a * 0.9]) for a in args]
    if name == "lu":
        f = lambda l, a: l.lu(a)[1] @ l.lu(a)[2]
    many = fad.vmap(lambda *xs: f(fl, *xs))(*stacks)
    np.testing.assert_allclose(many, [f(sl, *xs) for xs in zip(*stacks)], rtol=1e-9)


def test_complex():
    a = A + 0.2j * RNG.normal(size=(4, 4))
    for f in (fl.expm, fl.sqrtm, fl.logm, lambda a: fl.solve_triangular(a, B + 1j, trans="C"), lambda a: fl.lu(a)[2]):
        check_grads(lambda a, f=f: np.sum(np.abs(f(a)) ** 2), (a,), order=2)


def test_lu_factor_and_solve():
    for trans in (0, 1):
        f = lambda a, b, trans=trans: fl.lu_solve(fl.lu_factor(a), b, trans=trans)
        check_grads(f, (A[::-1], B), order=2)
        np.testing.assert_allclose(fad.trace(f)(A[::-1], V)(A[::-1], V), sl.solve(A[::-1], V, transposed=bool(trans)), rtol=1e-9)


@pytest.mark.parametrize(
    "f",
    [
        lambda a, b: np.sum(sl.cho_solve(sl.cho_factor(a), b) * b) + 2 * np.sum(np.log(np.diagonal(sl.cholesky(a)))),
        lambda a, b: np.sum(np.linalg.solve(a, b) ** 2) + np.linalg.slogdet(a)[1],
        lambda a, b: np.sum(sl.solve(a, b, assume_a="pos") ** 2),
    ],
)
def test_value_and_gradient_factor_once(f):
    """Beyond the factorisation there are triangles alone."""
    a = np.kron(np.eye(4), S)
    b = np.tile(B, (4, 1))
    steps = str(fad.jit(fad.value_and_grad(lambda a: f(a, b))).lower(a).loops)
    factored = [line for line in steps.splitlines() if line.startswith(("kernel cholesky", "kernel lu:", "kernel solve:", "call "))]
    assert len(factored) == 1, steps


def test_refusals_say_why():
    for f, word in (
        (lambda a: sl.qr(a, pivoting=True), "pivoting"),
        (lambda a: sl.eig(a, left=True), "left"),
        (lambda a: sl.schur(a)[0], "jumps"),
        (lambda a: sl.solve_triangular(a[:2], V), "square"),
    ):
        with pytest.raises((fad.errors.FadError, ValueError), match=word):
            fad.jacfwd(f)(A)
