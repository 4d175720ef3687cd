"""Derivatives of every function under a NumPy name: both modes against each other and against differences."""

import numpy as np
import pytest
from scipy import special

import fad
from tests.numpy.test_functions import ALONG, ELEMENTS, SHAPES, TWO, A, B, M, N, cases


def floats(result):
    """The floating results of a program, as one row."""
    results = result if isinstance(result, list | tuple) else [result]
    rows = [np.ravel(r) for r in results if getattr(r, "dtype", np.dtype(int)).kind in "fc"]
    return np.concatenate(rows) if rows else None


def check_derivatives(program, *arrays):
    """<w, J t> = <J^T w, t>, and J t is the slope of the program along t."""
    y = floats(program(*arrays))
    if y is None:
        pytest.skip("a program without a floating result")
    step, rtol, exact = (1e-2, 1e-3, 1e-5) if y.dtype == np.float32 else (1e-6, 1e-5, 1e-9)
    rng = np.random.default_rng(3)
    f = lambda *xs: floats(program(*xs))
    tangents = tuple(np.asarray(rng.normal(size=a.shape)) for a in arrays)
    w = rng.normal(size=y.shape).astype(y.dtype)
    value, t_out = fad.jvp(f, arrays, tangents)
    np.testing.assert_allclose(value, y, rtol=1e-12, atol=1e-12)
    shifted = [f(*(a + s * t for a, t in zip(arrays, tangents, strict=True))) for s in (step, -step)]
    keep = np.isfinite(y)  # where the function is NaN or infinite no difference tells anything
    np.testing.assert_allclose(t_out[keep], ((shifted[0] - shifted[1]) / (2 * step))[keep], rtol=rtol, atol=rtol)
    _, pull = fad.vjp(f, *arrays)
    cotangents = pull(w)
    cotangents = cotangents if isinstance(cotangents, tuple) else (cotangents,)
    paired = sum(np.sum(c * t) for c, t in zip(cotangents, tangents, strict=True))
    if np.all(keep):
        np.testing.assert_allclose(np.sum(w * t_out), paired, rtol=exact, atol=exact)


@pytest.mark.parametrize("program", cases(SHAPES | ELEMENTS | ALONG))
def test_of_one_array(program):
    check_derivatives(program, A)


@pytest.mark.parametrize(
    ("sa", "sb", "f"),
    [
        pytest.param(sa, sb, f, id=f"{name}-{i}")
        for name, (sa, sb, fs) in TWO.items()
        for i, f in enumerate(fs)
        if f is not np.allclose
    ],
)
def test_of_two_arrays(sa, sb, f):
    rng = np.random.default_rng(1)
    check_derivatives(f, np.asarray(rng.normal(size=sa)), np.asarray(rng.normal(size=sb)))


@pytest.mark.smoke
@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "mean", "var", "std", "ptp", "median"])
@pytest.mark.parametrize("axis", [None, 0, (0, 1)])
def test_of_reductions(name, axis):
    check_derivatives(lambda x: getattr(np, name)(x, axis=axis), A)


@pytest.mark.parametrize(
    "program",
    [
        lambda x: np.sum(x, axis=1, where=M),
        lambda x: np.mean(x, where=M),
        lambda x: np.std(x, where=M),
        lambda x: np.var(x, ddof=1),
        lambda x: np.linalg.norm(x),
        lambda x: np.linalg.norm(x, 3, axis=1),
        lambda x: np.linalg.norm(x, 1),
        lambda x: np.linalg.norm(x, np.inf),
        lambda x: np.linalg.matrix_power(x @ B.T, 3),
        lambda x: fad.numpy.logsumexp(x, axis=1),
        lambda x: fad.numpy.logsumexp(x, b=B),
        lambda x: fad.numpy.logsumexp(B, b=x * x, axis=0, keepdims=True),
        lambda x: np.interp(x, np.array([-2.0, 0.1, 1.0]), x[0, :3]),
        lambda x: np.average(x, weights=x * x),
    ],
)
def test_of_options(program):
    check_derivatives(program, A)


PLANE = np.array([[2.0, 1.0], [1.0, 3.0]])
# Functions whose absence users reported to other libraries.
REPORTED = {
    "det (jax#2380, autograd#549, pytorch#80761)": np.linalg.det,
    "slogdet (autograd#401)": lambda a: np.linalg.slogdet(a)[1],
    "inv (jax#518)": lambda a: np.linalg.inv(a)[0, 0],
    "matrix_power(-1)": lambda a: np.linalg.matrix_power(a, -1)[0, 0],
    "solve (jax#1168)": lambda a: np.linalg.solve(a, np.ones(2))[0],
    "cholesky": np.linalg.cholesky,
    "eigh (autograd#527)": lambda a: np.linalg.eigh(a)[0][0],
    "svd (jax#40541)": lambda a: np.linalg.svd(a, compute_uv=False)[0],
    "qr": lambda a: np.linalg.qr(a)[1],
    "pinv (jax#25111)": lambda a: np.linalg.pinv(a)[0, 0],
    "lstsq (jax#11433)": lambda a: np.linalg.lstsq(a, np.ones(2))[0][0],
    "norm ord=2 of a matrix": lambda a: np.linalg.norm(a, 2),
    "norm nuc": lambda a: np.linalg.norm(a, "nuc"),
    "fft (autograd#185)": lambda a: np.sum(np.abs(np.fft.fft(a)[:, 0]) ** 2),
    "rfft (autograd#187, tensorflow#108479)": lambda a: np.sum(np.abs(np.fft.rfft(a)[:, 0]) ** 2),
    "cov (pytorch#50466)": np.cov,
    "corrcoef": lambda a: np.corrcoef(a @ np.array([[1.0, 2.0, 0.5], [0.0, 1.0, 3.0]]))[0, 1],
    "nancumsum": np.nancumsum,
    "maximum.accumulate (mlx#3599)": lambda a: np.maximum.accumulate(a[0]),
    "logaddexp.accumulate (pytorch#196705)": lambda a: np.logaddexp.accumulate(a[0]),
    "quantile method=lower (jax#2610)": lambda a: np.quantile(a, 0.4, method="lower"),
    "pad mode=mean (autograd#429)": lambda a: np.pad(a, 1, mode="mean"),
    "scipy.special.gamma (ForwardDiff.jl#705)": special.gamma,
    "scipy.special.softmax": lambda a: special.softmax(a)[0, 0],
    "scipy.special.logsumexp (autograd#336)": special.logsumexp,
    "scipy.special.log_ndtr": special.log_ndtr,
    "scipy.special.betaln": lambda a: special.betaln(a, 2.0),
}


@pytest.mark.parametrize("name", REPORTED)
def test_of_what_users_missed(name):
    check_derivatives(REPORTED[name], PLANE)


@pytest.mark.parametrize("name", ["nansum", "nanprod", "nanmean", "nanvar", "nanstd", "nanmax", "nanmin", "nanmedian"])
def test_nothing_flows_from_nan(name):
    """The gradient is that of the function on the other elements, and 0 at NaN."""
    plain = getattr(np, name[3:])
    slope = fad.grad(lambda x: getattr(np, name)(x))(N)
    there = np.isnan(N)
    assert np.all(slope[there] == 0)
    np.testing.assert_allclose(slope[~there], fad.grad(lambda v: plain(v))(N[~there]), rtol=1e-9)


def test_zero_is_a_subgradient_where_there_is_no_slope():
    zeros = np.zeros(3)
    for f in (np.linalg.norm, lambda x: np.linalg.norm(x, 3), np.std, lambda x: np.linalg.norm(x, axis=0)):
        np.testing.assert_array_equal(fad.grad(f)(zeros), zeros)


@pytest.mark.parametrize("program", cases(SHAPES | ELEMENTS | ALONG))
def test_batches(program):
    """vmap gives what a loop gives."""
    xs = np.random.default_rng(2).normal(size=(3, *A.shape))

    def f(x):
        results = program(x)
        return np.concatenate([np.ravel(r) * 1.0 for r in (results if isinstance(results, list | tuple) else [results])])

    np.testing.assert_allclose(fad.vmap(f)(xs), np.stack([f(x) for x in xs]), rtol=1e-5, atol=1e-5)
