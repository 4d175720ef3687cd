"""LAPACK in programs: NumPy's values for stacks of any strides, nothing left to NumPy, failures told."""

import numpy as np
import pytest

import fad
from fad.compile import cache
from fad.errors import SingularError

RNG = np.random.default_rng(0)
SHAPES = [(1, 1), (2, 2), (5, 4, 4), (2, 3, 17, 17), (40, 40), (3, 70, 70)]
DTYPES = pytest.mark.parametrize("dtype", [np.float64, np.float32])


def positive(shape, dtype):
    a = RNG.normal(size=shape)
    n = shape[-1]
    return (a @ np.swapaxes(a, -1, -2) / n + np.diag(np.arange(1.0, n + 1))).astype(dtype)


def product(*factors):
    """What is the same whichever way vectors point."""
    y = factors[0]
    for f in factors[1:]:
        y = y @ f
    return y


def from_eigh(a):
    w, v = np.linalg.eigh(a)
    return product(v * np.sin(w)[..., None, :], np.swapaxes(v, -1, -2))


def from_eigh_of_upper(a):
    w, v = np.linalg.eigh(a, UPLO="U")
    return product(v * w[..., None, :], np.swapaxes(v, -1, -2))


def from_svd(full):
    def f(a):
        a = a[..., :-1] if a.shape[-1] > 1 else a
        u, s, vh = np.linalg.svd(a, full_matrices=full)
        return product(u[..., : s.shape[-1]] * np.sin(s)[..., None, :], vh)

    return f


def from_qr(mode):
    def f(a):
        q, r = np.linalg.qr(a[..., :-1] if a.shape[-1] > 1 else a, mode=mode)
        return np.concatenate([product(q, r), r * r], axis=-2)

    return f


FUNCTIONS = {
    "cholesky": np.linalg.cholesky,
    "cholesky of a transpose": lambda a: np.linalg.cholesky(np.swapaxes(a, -1, -2)),
    "inv": np.linalg.inv,
    "solve": lambda a: np.linalg.solve(a, a[..., :2] * 2),
    "solve transposed, one matrix for all": lambda a: np.linalg.solve(np.swapaxes(a.reshape(-1, *a.shape[-2:])[0], 0, 1), a),
    "det": np.linalg.det,
    "slogdet": lambda a: np.linalg.slogdet(a).logabsdet,
    "sign": lambda a: np.linalg.slogdet(a[..., ::-1, :]).sign,
    "qr": from_qr("reduced"),
    "qr complete": from_qr("complete"),
    "eigh": from_eigh,
    "eigh of upper": from_eigh_of_upper,
    "svd": from_svd(False),
    "svd full": from_svd(True),
    "singular values": lambda a: np.linalg.svd(a, compute_uv=False),
    "pinv": lambda a: np.linalg.pinv(a[..., : a.shape[-1] // 2 + 1]),
    "what follows is fused": lambda a: np.exp(-np.linalg.inv(a)) + 1,
}  # fmt: skip


@DTYPES
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_values(name, shape, dtype):
    f, a = FUNCTIONS[name], positive(shape, dtype)
    if shape[-1] >= 40 and name == "det":
        a = a / 20
    jitted = fad.jit(f)
    expected = f(a)
    tol = 1e-10 if dtype == np.float64 else 2e-4
    np.testing.assert_allclose(jitted(a), expected, rtol=tol, atol=tol * np.max(np.abs(expected)))
    assert "call " not in str(jitted.lower(a).loops)


@pytest.mark.parametrize("name", ["cholesky", "inv", "solve", "slogdet", "eigh", "qr", "svd"])
def test_gradients(name):
    f, a = FUNCTIONS[name], positive((3, 5, 5), np.float64)
    loss = lambda a: np.sum(np.cos(f(a)))
    np.testing.assert_allclose(fad.jit(fad.grad(loss))(a), fad.grad(loss)(a), rtol=1e-8, atol=1e-10)
    assert "call " not in str(fad.jit(fad.grad(loss)).lower(a).loops)


def test_many_small_ones_over_threads():
    a = positive((20_000, 4, 4), np.float64)
    np.testing.assert_allclose(fad.jit(np.linalg.inv)(a), np.linalg.inv(a), rtol=1e-9, atol=1e-12)


def test_in_loops():
    a = positive((4, 4), np.float64)
    step = lambda p, _: (np.linalg.inv(p + a), np.linalg.slogdet(p + a).logabsdet)
    f = lambda p: fad.scan(step, p, None, length=50)
    for y, expected in zip(fad.jit(f)(a), f(a)):
        np.testing.assert_allclose(y, expected, rtol=1e-10)
    g = fad.grad(lambda p: np.sum(f(p)[1]))
    np.testing.assert_allclose(fad.jit(g)(a), g(a), rtol=1e-9)
    assert "call " not in str(fad.jit(f).lower(a).loops)


@pytest.mark.parametrize(
    "f, bad",
    [
        (np.linalg.cholesky, -np.eye(3)),
        (np.linalg.inv, np.zeros((3, 3))),
        (lambda a: np.linalg.solve(a, np.ones(3)), np.ones((3, 3))),
        (lambda a: np.linalg.eigh(a).eigenvalues, np.full((3, 3), np.nan)),
        (lambda a: np.linalg.cholesky(np.stack([a, np.eye(3)])), -np.eye(3)),
        (lambda a: fad.fori_loop(0, 3, lambda i, p: np.linalg.inv(p - p[0, 0] * np.ones((3, 3))), a), np.ones((3, 3))),
    ],
)
def test_failures_raise_as_numpys(f, bad):
    jitted = fad.jit(f)
    with pytest.raises(np.linalg.LinAlgError):
        f(bad)
    for _ in range(2):  # also by the short way
        with pytest.raises(SingularError):
            jitted(bad)
    jitted(np.diag([1.0, 2.0, 3.0]) + 0.1)


def test_singular_determinants():
    a = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, 0.0, 1.0]])
    assert fad.jit(np.linalg.det)(a) == 0
    sign, log = fad.jit(lambda a: tuple(np.linalg.slogdet(a)))(a)
    assert sign == 0 and log == -np.inf


def test_code_is_found_on_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "KEPT", 0)
    monkeypatch.setenv("FAD_CACHE_DIR", str(tmp_path))
    a = positive((6, 6), np.float64)
    for _ in range(2):
        cache._recent.clear()
        f = fad.jit(lambda a: np.linalg.cholesky(a) * 1.75)
        np.testing.assert_allclose(f(a), np.linalg.cholesky(a) * 1.75, rtol=1e-12)
    assert "loaded from disk" in f.explain()
