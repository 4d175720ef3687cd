"""`numpy.fft` on nodes: NumPy's values for every norm, length and axis; gradients against differences, both modes, jit, vmap."""

import numpy as np
import pytest

import fad
from fad.testing import assert_close
from tests.numpy.oracle import check

R = np.random.default_rng(0)
X = R.normal(size=(3, 4, 5))
Z = X + 1j * R.normal(size=X.shape)
OF_COMPLEX = ("fft", "ifft", "fft2", "ifft2", "fftn", "ifftn", "irfft", "irfft2", "irfftn", "hfft")
OF_REAL = ("rfft", "rfft2", "rfftn", "ihfft")
ONE_AXIS = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")


def programs(name):
    f = getattr(np.fft, name)
    yield f
    for norm in ("backward", "ortho", "forward"):
        yield lambda x, norm=norm: f(x, norm=norm)
    if name in ONE_AXIS:
        for n in (1, 2, 3, 4, 5, 8):
            yield lambda x, n=n: f(x, n)
            yield lambda x, n=n: f(x, n=n, axis=1, norm="ortho")
        return
    yield lambda x: f(x, axes=(0, 2))
    yield lambda x: f(x, axes=(2, 0), norm="ortho")
    yield lambda x: f(x, (2, 7), (1, 2))
    yield lambda x: f(x, s=(4, 3), axes=(-1, 0))


CASES = [
    pytest.param(f, x, id=f"{name}-{i}")
    for names, xs in ((OF_COMPLEX, (Z, X)), (OF_REAL, (X,)))
    for name in names
    for i, f in enumerate(programs(name))
    for x in xs
]


@pytest.mark.smoke
@pytest.mark.parametrize(("f", "x"), CASES)
def test_values_and_derivatives(f, x):
    check(f, x)
    check(f, x.astype(np.complex64 if x is Z else np.float32))
    y, t = f(x), R.normal(size=x.shape) + (1j * R.normal(size=x.shape) if x is Z else 0)
    np.testing.assert_allclose(fad.jvp(f, (x,), (t,))[1], f(t), rtol=1e-12, atol=1e-12)  # it is linear
    w = R.normal(size=y.shape) + (1j * R.normal(size=y.shape) if y.dtype.kind == "c" else 0)
    bar = fad.vjp(f, x)[1](w)
    np.testing.assert_allclose(np.sum(np.real(bar[0] * t if isinstance(bar, tuple) else bar * t)), np.sum(np.real(w * f(t))))
    power = lambda x: np.sum(np.abs(f(x)) ** 2 * np.arange(1.0, y.size + 1).reshape(y.shape))
    slope = fad.grad(power)(x)
    step = 1e-4 * t
    np.testing.assert_allclose(np.sum(np.real(slope * step)), (power(x + step) - power(x - step)) / 2, rtol=1e-6)


@pytest.mark.parametrize("name", OF_COMPLEX + OF_REAL)
def test_compiled_and_batched(name):
    f, x = getattr(np.fft, name), X if name in OF_REAL else Z
    power = lambda x: np.sum(np.abs(f(x)) ** 4)
    assert_close(fad.jit(fad.grad(power))(x), fad.grad(power)(x), rtol=1e-9, atol=1e-9)
    assert_close(fad.vmap(f)(np.stack([x, 2 * x])), np.stack([f(x), f(2 * x)]), rtol=1e-12, atol=1e-12)
    assert_close(fad.vmap(f, in_axes=1)(x), np.stack([f(x[:, i]) for i in range(4)]), rtol=1e-12, atol=1e-12)
    t = R.normal(size=x.shape).astype(x.dtype)
    curved = fad.jvp(fad.grad(power), (x,), (t,))[1]
    difference = (fad.grad(power)(x + 1e-5 * t) - fad.grad(power)(x - 1e-5 * t)) / 2e-5
    np.testing.assert_allclose(curved, difference, rtol=1e-5, atol=1e-5 * np.max(np.abs(difference)))


def test_shifts():
    for f in (np.fft.fftshift, np.fft.ifftshift):
        for axes in (None, 0, (1, 2), -1):
            check(lambda x, f=f, axes=axes: f(x, axes), X)


def test_an_axis_named_twice_is_transformed_twice():
    check(lambda x: np.fft.fftn(x, axes=(0, 0)), Z)
    check(lambda x: np.fft.ifftn(x, axes=(1, 0, 1)), Z)


def test_integers():
    check(np.fft.fft, np.arange(6))
    check(np.fft.rfft, np.arange(6))
