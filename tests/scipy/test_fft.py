"""`scipy.fft` on nodes, reached through uarray: SciPy's values, transposes, jit, vmap; arrays stay SciPy's."""

import numpy as np
import pytest
import scipy.fft

import fad
import fad.scipy.fft
from tests.numpy.oracle import check

R = np.random.default_rng(0)
X = R.normal(size=(3, 4, 5))
Z = X + 1j * R.normal(size=X.shape)
OF_REAL = ("rfft", "rfft2", "rfftn", "ihfft", "ihfft2", "ihfftn")
FOURIER = [*fad.scipy.fft._ONE_AXIS, *fad.scipy.fft._PLANES, *fad.scipy.fft._AXES]
NORMS = (None, "backward", "ortho", "forward")


def programs(name):
    f = getattr(scipy.fft, name)
    yield from (lambda x, norm=norm: f(x, norm=norm) for norm in NORMS)
    if name in fad.scipy.fft._ONE_AXIS:
        yield from (lambda x, n=n: f(x, n, axis=1, workers=1) for n in (1, 2, 3, 6, 7))
    else:
        yield from (lambda x, s=s: f(x, s=s, axes=(0, 2)) for s in (None, (2, 7), (4, 4)))


def real_programs(name, type):
    f = getattr(scipy.fft, name)
    for orthogonalize in (None, True, False):
        yield from (lambda x, o=orthogonalize, norm=norm: f(x, type, norm=norm, orthogonalize=o) for norm in NORMS)
    if name.endswith("n"):
        yield lambda x: f(x, type, s=(2, 7), axes=(0, 2))
    else:
        yield from (lambda x, n=n: f(x, type, n, axis=1) for n in (2, 3, 6))


def agrees(f, x):
    """Values of nodes, and both modes of a linear function."""
    check(f, x)
    check(f, x.astype(np.complex64 if x.dtype.kind == "c" else np.float32))
    draw = lambda like: (R.normal(size=like.shape) + (1j * R.normal(size=like.shape) if like.dtype.kind == "c" else 0)).astype(
        like.dtype
    )
    t, w = draw(x), draw(f(x))
    np.testing.assert_allclose(fad.jvp(f, (x,), (t,))[1], f(t), rtol=1e-12, atol=1e-12)
    (bar,) = fad.vjp(f, x)[1](w) if isinstance(fad.vjp(f, x)[1](w), tuple) else (fad.vjp(f, x)[1](w),)
    np.testing.assert_allclose(np.sum(np.real(bar * t)), np.sum(np.real(w * f(t))), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", FOURIER)
def test_fourier(name):
    for f in programs(name):
        agrees(f, X if name in OF_REAL else Z)


@pytest.mark.parametrize("name", fad.scipy.fft._REAL)
@pytest.mark.parametrize("type", [1, 2, 3, 4])
def test_cosines_and_sines(name, type):
    for f in real_programs(name, type):
        agrees(f, X)
    agrees(lambda x: getattr(scipy.fft, name)(x, type), Z)


@pytest.mark.parametrize("name", ["fft", "irfftn", "hfft2", "dct", "idstn"])
def test_compiled_and_batched(name):
    f = getattr(scipy.fft, name)
    np.testing.assert_allclose(fad.jit(f)(X), f(X), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(fad.vmap(f)(X), np.stack([f(x) for x in X]), rtol=1e-12, atol=1e-12)


def test_arrays_stay_scipys():
    fad.jit(scipy.fft.dct)(X)
    assert type(scipy.fft.dct(X)) is np.ndarray
    np.testing.assert_allclose(scipy.fft.idct(scipy.fft.dct(X)), X)


def test_shifts_and_refusals():
    check(lambda x: scipy.fft.fftshift(x, 1), X)
    check(lambda x: scipy.fft.ifftshift(x), X)
    with pytest.raises(fad.errors.TraceError, match="fht"):
        fad.grad(lambda x: np.sum(scipy.fft.fht(x, 0.1, 1.0)))(X)
    with pytest.raises(fad.errors.ShapeError, match="DCT-I"):
        fad.grad(lambda x: np.sum(scipy.fft.dct(x, 1)))(np.ones(1))
    with pytest.raises(fad.errors.FadError, match="norms"):
        fad.grad(lambda x: np.sum(scipy.fft.dct(x, norm="b")))(np.ones(3))
