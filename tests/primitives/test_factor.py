"""Factorisations: repeated eigenvalues and singular values, what has a derivative there, and high precision as the oracle."""

import mpmath
import numpy as np
import pytest

import fad

mpmath.mp.dps = 50
R = np.random.default_rng(1)
Q = np.linalg.qr(R.normal(size=(4, 4)))[0]
REPEATED = Q @ np.diag([1.0, 1.0, 2.0, 5.0]) @ Q.T
EQUAL = (np.eye(3), 2 * np.eye(3), np.zeros((3, 3)))


def symmetric(t):
    return t + t.T


def differences(f, a, t, h=1e-5):
    return (8 * (f(a + h * t) - f(a - h * t)) - f(a + 2 * h * t) + f(a - 2 * h * t)) / (12 * h)


def both_modes(f, a, t):
    """The derivative along t forward, and reverse."""
    forward = fad.jvp(f, (a,), (t,))[1]
    w = R.normal(size=np.shape(forward))
    reverse = np.sum(fad.grad(lambda a: np.sum(w * f(a)))(a) * t)
    np.testing.assert_allclose(reverse, np.sum(w * forward), rtol=1e-9, atol=1e-9)
    return forward


# name: what is well defined at repeated values
SMOOTH = {
    "projector on a group": lambda a: (lambda v: v[:, :2] @ v[:, :2].T)(np.linalg.eigh(a)[1]),
    "projector on the others": lambda a: (lambda v: v[:, 2:] @ v[:, 2:].T)(np.linalg.eigh(a)[1]),
    "sum of squares": lambda a: np.sum(np.linalg.eigvalsh(a) ** 2),
    "logarithm of det": lambda a: np.sum(np.log(np.linalg.eigvalsh(a))),
    "matrix function": lambda a: (lambda w, v: (v * np.exp(w)[None]) @ v.T)(*np.linalg.eigh(a))[3],
    "an eigenvalue alone": lambda a: np.linalg.eigvalsh(a)[3],
    "its vector, but for its sign": lambda a: (lambda v: v * v[0])(np.linalg.eigh(a)[1][:, 3]),
    "singular values": lambda a: np.sum(np.linalg.svd(a, compute_uv=False) ** 3),
    "polar factor": lambda a: (lambda u, s, vh: u @ vh)(*np.linalg.svd(a)),
    "eigenvalues of any matrix": lambda a: np.real(np.sum(np.linalg.eigvals(a) ** 2)),
}


@pytest.mark.parametrize("name", [n for n in SMOOTH if n != "matrix function"])
def test_what_is_well_defined_at_repeated_values_is_right(name):
    f, t = SMOOTH[name], symmetric(R.normal(size=(4, 4)))
    np.testing.assert_allclose(both_modes(f, REPEATED, t), differences(f, REPEATED, t), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("a", EQUAL, ids=["1", "2", "0"])
def test_where_all_values_are_equal(a):
    t = symmetric(R.normal(size=(3, 3)))
    trace = np.trace(t)
    for f, wanted in (
        (lambda a: np.sum(np.linalg.eigvalsh(a)), trace),
        (lambda a: np.real(np.sum(np.linalg.eigvals(a))), trace),
        (lambda a: np.sum(np.linalg.eigvalsh(a) ** 2), 2 * a[0, 0] * trace),
    ):
        np.testing.assert_allclose(both_modes(f, a, t), wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("f", [SMOOTH["sum of squares"], SMOOTH["singular values"], SMOOTH["projector on a group"]])
def test_second_derivatives_there_are_nan_and_never_silently_wrong(f):
    """The first derivative holds vectors of one value still, which no second one may rely on."""
    for second in (fad.jacfwd(fad.jacrev(f)), fad.jacrev(fad.jacrev(f)), fad.jacfwd(fad.jacfwd(f))):
        assert np.any(np.isnan(second(REPEATED)))


def test_second_derivatives_are_right_where_values_are_apart():
    a, t = np.diag([1.0, 2.0, 4.0, 5.0]) + 0.1 * symmetric(R.normal(size=(4, 4))), symmetric(R.normal(size=(4, 4)))
    for f in SMOOTH.values():
        slope = lambda a, f=f: fad.jvp(f, (a,), (t,))[1]
        np.testing.assert_allclose(fad.jvp(slope, (a,), (t,))[1], differences(slope, a, t), rtol=1e-6, atol=1e-6)


def test_singular_matrices_have_singular_values_with_slopes():
    """One value 0 is smooth with its sign: even functions of it keep all derivatives."""
    a = np.diag([3.0, 1.0, 0.0])
    f = lambda a: np.sum(np.linalg.svd(a, compute_uv=False) ** 2)
    np.testing.assert_allclose(fad.hessian(f)(a).reshape(9, 9), 2 * np.eye(9), atol=1e-12)
    nuclear = fad.grad(lambda a: np.linalg.norm(a, "nuc"))(np.outer([1.0, 2.0], [3.0, 1.0]))
    assert np.linalg.norm(nuclear, 2) == pytest.approx(1)


def test_a_matrix_without_enough_eigenvectors_gives_nan():
    jordan = np.array([[0.0, 1.0], [0.0, 0.0]])
    assert np.all(np.isnan(fad.grad(lambda a: np.real(np.sum(np.linalg.eigvals(a) ** 2)))(jordan)))


def test_dependent_columns_give_nan():
    a = np.ones((3, 2))
    assert np.any(np.isnan(fad.grad(lambda a: np.sum(np.linalg.qr(a)[0] ** 3))(a)))


@pytest.mark.parametrize("gap", [1e-2, 1e-5, 1e-8])
def test_close_eigenvalues(gap):
    """Vectors turn as fast as values are close: digits are lost by the gap, and no more."""
    a = np.diag([1.0, 1.0 + gap, 3.0])
    t = symmetric(R.normal(size=(3, 3)))
    exact = (mpmath.matrix(a.tolist()), mpmath.matrix(t.tolist()))
    turn = [exact[1][i, 0] / (exact[0][0, 0] - exact[0][i, i]) for i in (1, 2)]
    f = lambda a: (lambda v: v * v[0])(np.linalg.eigh(a)[1][:, 0])  # without a sign
    found = fad.jvp(f, (a,), (t,))[1]
    np.testing.assert_allclose(found[1:], [float(x) for x in turn], rtol=100 * np.finfo(float).eps / gap)


@pytest.mark.parametrize("condition", [1e2, 1e5, 1e8])
def test_cholesky_of_ill_conditioned_matrices(condition):
    q = np.linalg.qr(R.normal(size=(3, 3)))[0]
    a = q @ np.diag(np.geomspace(1, 1 / condition, 3)) @ q.T
    a, t = (a + a.T) / 2, symmetric(R.normal(size=(3, 3)))
    exact, direction = mpmath.matrix(a.tolist()), mpmath.matrix(t.tolist())
    h = mpmath.mpf(10) ** -25
    slope = (mpmath.cholesky(exact + h * direction) - mpmath.cholesky(exact - h * direction)) / (2 * h)
    wanted = np.array(slope.tolist(), float)
    found = fad.jvp(np.linalg.cholesky, (a,), (t,))[1]
    assert np.max(np.abs(found - wanted)) < 100 * np.finfo(float).eps * condition * np.max(np.abs(wanted))


def test_vectors_of_a_general_matrix_keep_lapacks_scale():
    """Length 1, and the largest element real, to every order."""
    a, t = R.normal(size=(4, 4)), R.normal(size=(4, 4))
    f = lambda a: (lambda v: np.stack([np.real(v), np.imag(v)]))(np.linalg.eig(a)[1])
    np.testing.assert_allclose(fad.jvp(f, (a,), (t,))[1], differences(f, a, t), rtol=1e-6, atol=1e-6)
    slope = lambda a: fad.jvp(f, (a,), (t,))[1]
    np.testing.assert_allclose(fad.jvp(slope, (a,), (t,))[1], differences(slope, a, t), rtol=1e-5, atol=1e-5)
