"""`numpy.linalg` on nodes: NumPy's values, dtypes and results, derivatives against differences, batches, jit."""

import numpy as np
import pytest

import fad
from fad.errors import SingularError
from fad.testing import assert_close
from tests.numpy.oracle import check, concrete, symbolic

R = np.random.default_rng(0)


def normal(*shape, complex=False):
    x = R.normal(size=shape)
    return x + 1j * R.normal(size=shape) if complex else x


def near_identity(*lead, n=3, complex=False):
    return normal(*lead, n, n, complex=complex) * 0.2 + 2 * np.diag(np.arange(1.0, n + 1))


def positive(a):
    """A hermitian positive definite matrix made of one that is not, whose derivative does not know that."""
    return a + np.conj(np.swapaxes(a, -1, -2))


B, V = normal(3, 2), normal(3)
SQUARE = {
    "solve": [lambda a: np.linalg.solve(a, V), lambda a: np.linalg.solve(a, B), lambda a: np.linalg.solve(a, a)],
    "inv": [np.linalg.inv, lambda a: np.linalg.matrix_power(a, -2), lambda a: np.linalg.matrix_power(a, 0)],
    "det": [np.linalg.det, lambda a: np.linalg.slogdet(a)],
    "cholesky": [lambda a: np.linalg.cholesky(positive(a)), lambda a: np.linalg.cholesky(positive(a), upper=True)],
    "eigh": [
        lambda a: np.linalg.eigvalsh(positive(a)),
        lambda a: np.linalg.eigvalsh(a, UPLO="U"),
        lambda a: np.abs(np.linalg.eigh(positive(a))[1]),
    ],
    "eig": [lambda a: np.linalg.eig(a), np.linalg.eigvals],
    "qr": [np.linalg.qr, lambda a: np.linalg.qr(a, mode="r")],
    "svd": [
        lambda a: np.linalg.svd(a, compute_uv=False),
        np.linalg.svdvals,
        lambda a: np.abs(np.linalg.svd(a)[0]),
        lambda a: np.linalg.svd(positive(a), compute_uv=False, hermitian=True),
    ],
    "pinv": [np.linalg.pinv, lambda a: np.linalg.pinv(positive(a), hermitian=True), lambda a: np.linalg.pinv(a, rtol=None)],
    "norm": [lambda a, p=p: np.linalg.norm(a, p, axis=(-2, -1)) for p in (2, -2, "nuc")]
    + [lambda a: np.linalg.norm(a, 2, axis=(-2, -1), keepdims=True), lambda a: np.linalg.matrix_norm(a, ord="nuc")],
    "cond": [lambda a, p=p: np.linalg.cond(a, p) for p in (None, 2, -2, 1, np.inf, "fro")],
}
OBLONG = {
    "qr": [np.linalg.qr, lambda a: np.linalg.qr(a, mode="r")],
    "svd": [lambda a: np.linalg.svd(a, compute_uv=False), lambda a: np.abs(np.linalg.svd(a, full_matrices=False)[2])],
    "pinv": [np.linalg.pinv],
    "norm": [lambda a: np.linalg.norm(a, 2, axis=(-2, -1)), lambda a: np.linalg.norm(a, "nuc", axis=(-2, -1))],
}


def cases(table):
    return [pytest.param(f, id=f"{name}-{i}") for name, fs in table.items() for i, f in enumerate(fs)]


MATRICES = {
    "real": near_identity(),
    "complex": near_identity(complex=True),
    "stack": near_identity(2, 2),
    "float32": near_identity().astype(np.float32),
    "complex64": near_identity(complex=True).astype(np.complex64),
    "empty stack": near_identity(0),
    "integers": np.array([[3, 1, 0], [1, 4, 1], [0, 1, 5]]),
}


@pytest.mark.parametrize("kind", MATRICES)
@pytest.mark.parametrize("program", cases(SQUARE))
def test_square_matrices_are_numpys(program, kind):
    a = MATRICES[kind]
    try:
        program(a)
    except (np.linalg.LinAlgError, ValueError):
        pytest.skip("NumPy itself does not take it")
    check(program, a, symbols=program not in SQUARE["eig"])  # whose dtype depends on values


@pytest.mark.parametrize("shape", [(4, 2), (2, 4), (2, 3, 2), (1, 3), (3, 1)])
@pytest.mark.parametrize("complex", [False, True])
@pytest.mark.parametrize("program", cases(OBLONG))
def test_oblong_matrices_are_numpys(program, shape, complex):
    check(program, normal(*shape, complex=complex))


@pytest.mark.parametrize("m", [3, 2, 0])
def test_empty_matrices(m):
    for program in (
        np.linalg.det,
        np.linalg.inv,
        lambda a: np.linalg.slogdet(a),
        np.linalg.cholesky,
        np.linalg.eigvalsh,
        lambda a: np.linalg.solve(a, a),
    ):
        check(program, np.zeros((0, 0)))
        check(program, np.zeros((2, 0, 0)))
    check(np.linalg.pinv, np.zeros((0, m)))
    assert fad.grad(np.linalg.det)(np.zeros((0, 0))).shape == (0, 0)


def test_least_squares():
    for a, b in (
        (normal(5, 2), normal(5)),
        (normal(5, 2), normal(5, 3)),
        (normal(2, 4), normal(2)),
        (normal(3, 3), V),
        (np.ones((4, 2)), normal(4)),
        (normal(5, 2, complex=True), normal(5)),
    ):
        check(lambda a, b: np.linalg.lstsq(a, b), a, b, symbols=False, rtol=1e-8)
        check(lambda a, b: np.linalg.lstsq(a, b, rcond=-1)[0], a, b, rtol=1e-8)
        assert type(np.linalg.lstsq(concrete(a), b)[2]) is type(np.linalg.lstsq(a, b)[2])


def test_results_have_numpys_names():
    a = near_identity()
    for name in ("qr", "eigh", "eig", "svd", "slogdet"):
        ours, numpys = getattr(np.linalg, name)(concrete(a)), getattr(np.linalg, name)(a)
        assert (type(ours).__name__, ours._fields) == (type(numpys).__name__, numpys._fields)
        assert fad.jit(getattr(np.linalg, name))(a)._fields == numpys._fields


def test_tensor_equations():
    a = normal(2, 3, 6) + np.eye(6).reshape(2, 3, 6) * 3
    check(lambda a: np.linalg.tensorsolve(a, np.ones((2, 3))), a)
    check(lambda a: np.linalg.tensorsolve(a, np.ones((2, 3)), axes=(1,)), normal(2, 6, 3))
    check(lambda a: np.linalg.tensorinv(a, ind=2), a)
    check(lambda a: np.linalg.tensorinv(a, ind=1), normal(6, 2, 3))


def test_rank_has_no_derivative():
    a = np.outer(V, V) + np.diag([1.0, 0, 0])
    check(np.linalg.matrix_rank, a, dtype=False, symbols=False)
    check(lambda a: np.linalg.matrix_rank(a, tol=10.0), near_identity(2), dtype=False, symbols=False)
    assert np.all(fad.grad(lambda a: np.sum(a) * np.linalg.matrix_rank(a))(a) == 2)


# -- derivatives -----------------------------------------------------------------------------------------------------


def floats(program, a):
    """The floating results as one row of real numbers."""
    results = program(a)
    rows = [np.ravel(r) for r in (results if isinstance(results, tuple) else (results,)) if r.dtype.kind in "fc"]
    return np.concatenate([part for r in rows for part in (np.real(r), np.imag(r))])


def differences(f, a, direction, h=1e-5):
    return (8 * (f(a + h * direction) - f(a - h * direction)) - f(a + 2 * h * direction) + f(a - 2 * h * direction)) / (12 * h)


@pytest.mark.parametrize("kind", ["real", "complex", "stack"])
@pytest.mark.parametrize("program", [p for p in cases(SQUARE) if p.id not in ("qr-0",)])
def test_derivatives_are_differences(program, kind):
    """In both modes, and those of derivatives too; eager, compiled and under vmap."""
    a = MATRICES[kind]
    f = lambda x: floats(program, x)
    t, u = (normal(*a.shape, complex=a.dtype.kind == "c") for _ in range(2))
    slope = lambda x: fad.jvp(f, (x,), (t,))[1]
    np.testing.assert_allclose(slope(a), differences(f, a, t), rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(fad.jvp(slope, (a,), (u,))[1], differences(slope, a, u), rtol=1e-6, atol=1e-6)
    w = normal(*f(a).shape)
    gradient = fad.grad(lambda x: np.sum(w * f(x)))
    np.testing.assert_allclose(np.sum(gradient(a) * t).real, np.sum(w * slope(a)), rtol=1e-9, atol=1e-9)
    assert_close(fad.jit(gradient)(a), gradient(a), rtol=1e-9, atol=1e-9)
    assert_close(fad.vmap(gradient)(np.stack([a, 2 * a])), np.stack([gradient(a), gradient(2 * a)]), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("complex", [False, True])
@pytest.mark.parametrize("shape", [(4, 2), (2, 4)])
@pytest.mark.parametrize("program", cases(OBLONG))
def test_derivatives_of_oblong_matrices(program, shape, complex):
    a, t = normal(*shape, complex=complex), normal(*shape, complex=complex)
    f = lambda x: floats(program, x)
    np.testing.assert_allclose(fad.jvp(f, (a,), (t,))[1], differences(f, a, t), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("shape", [(5, 2), (2, 5), (3, 3)])
def test_derivatives_of_least_squares(shape):
    a, b = normal(*shape), normal(shape[0])
    for x, f in (
        (a, lambda a: np.linalg.lstsq(a, b)[0]),
        (b, lambda b: np.linalg.lstsq(a, b)[0]),
        (a, lambda a: np.linalg.lstsq(a, b)[1]),
        (a, lambda a: np.linalg.lstsq(a, b)[3]),
    ):
        t = normal(*x.shape)
        np.testing.assert_allclose(fad.jvp(f, (x,), (t,))[1], differences(f, x, t), rtol=1e-7, atol=1e-7)


def test_full_factors():
    """What the columns beyond the singular values span has a derivative, though they have none."""
    a, t = normal(5, 2), normal(5, 2)
    for f in (
        lambda a: np.linalg.svd(a)[0][:, 2:],
        lambda a: np.linalg.svd(a.T)[2][2:].T,
        lambda a: np.linalg.qr(a, mode="complete")[0][:, 2:],
    ):
        projector = lambda a, f=f: f(a) @ f(a).T
        check(f, a)
        np.testing.assert_allclose(fad.jvp(projector, (a,), (t,))[1], differences(projector, a, t), rtol=1e-7, atol=1e-7)
    assert np.linalg.qr(symbolic(a), mode="complete")[1].shape == (5, 2)


def test_one_triangle_is_read():
    """As NumPy reads it: the gradient by the other triangle is zero."""
    a = positive(near_identity())
    for f, zero in (
        (np.linalg.cholesky, np.triu),
        (lambda a: np.linalg.cholesky(a, upper=True), np.tril),
        (lambda a: np.linalg.eigh(a)[1], np.triu),
        (lambda a: np.linalg.eigvalsh(a, "U"), np.tril),
    ):
        slope = fad.grad(lambda a, f=f: np.sum(f(a) ** 3))(a)
        assert np.all(zero(slope, 1 if zero is np.triu else -1) == 0)
        assert np.any(slope != 0)


# -- errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("f", [np.linalg.inv, np.linalg.cholesky, lambda a: np.linalg.solve(a, a)])
def test_a_singular_matrix_raises_what_numpy_raises(f):
    with pytest.raises(np.linalg.LinAlgError):
        fad.grad(lambda a: np.sum(f(a)))(np.zeros((2, 2)))
    with pytest.raises(SingularError, match=r"np\.linalg\.\w+: (Singular|Matrix)"):
        f(concrete(np.zeros((2, 2))))
    with pytest.raises(np.linalg.LinAlgError):
        fad.jit(f)(np.zeros((2, 2)))
