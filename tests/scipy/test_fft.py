"""`scipy.fft` on nodes: SciPy's values for every length, norm and type, by SciPy's own names; transposes by differences."""

import numpy as np
import pytest
import scipy.fft as sf

import fad
import fad.scipy.fft as ff
from fad.testing import check_grads

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 5))
Z = X + 1j * RNG.normal(size=(4, 5))
NORMS = (None, "backward", "ortho", "forward")


def same(f, x, **more):
    y, expected = fad.trace(f)(x)(x), f(x)
    assert y.dtype == expected.dtype and y.shape == expected.shape
    np.testing.assert_allclose(y, expected, **{"rtol": 1e-10, "atol": 1e-12} | more)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"])
def test_one_axis(name, norm):
    x = X if name in ("rfft", "ihfft") else Z
    for n in (None, 3, 8):
        for axis in (0, -1):
            same(lambda x: getattr(sf, name)(x, n, axis, norm=norm), x)


@pytest.mark.parametrize(
    "name", ["fftn", "ifftn", "rfftn", "irfftn", "hfftn", "ihfftn", "fft2", "ifft2", "rfft2", "irfft2", "hfft2", "ihfft2"]
)
def test_several_axes(name):
    x = X if name.startswith(("rfft", "ihfft")) else Z
    for options in ({}, {"s": (3, 6)}, {"axes": (1, 0)}, {"norm": "ortho"}, {"s": (6, 7), "axes": (1, 0), "norm": "forward"}):
        same(lambda x: getattr(sf, name)(x, **options), x)
    check_grads(lambda x: np.sum(np.sin(np.abs(getattr(sf, name)(x, s=(3, 6))))), (x,), order=1)


@pytest.mark.parametrize("type", [1, 2, 3, 4])
@pytest.mark.parametrize("name", ["dct", "idct", "dst", "idst"])
def test_cosines_and_sines(name, type):
    for norm in NORMS:
        for orthogonalize in (None, True, False):
            for n in (None, 3, 7):
                same(lambda x: getattr(sf, name)(x, type, n, axis=0, norm=norm, orthogonalize=orthogonalize), X)
    same(lambda x: getattr(sf, name)(x, type), X.astype(np.float32), rtol=1e-5, atol=1e-5)
    f = lambda x: np.sum(np.sin(getattr(sf, name)(x, type, 6)))
    check_grads(f, (X,), order=2)
    np.testing.assert_allclose(fad.jit(fad.grad(f))(X), fad.grad(f)(X), rtol=1e-12)
    batched = fad.vmap(lambda x: getattr(sf, name)(x, type))(X)
    np.testing.assert_allclose(batched, getattr(sf, name)(X, type, axis=1), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["dctn", "idctn", "dstn", "idstn"])
def test_cosines_along_several_axes(name):
    for options in ({}, {"type": 3}, {"s": (3, 6)}, {"axes": (1,)}, {"norm": "ortho"}):
        same(lambda x: getattr(sf, name)(x, **options), X)


def test_without_nodes_it_is_scipys():
    np.testing.assert_array_equal(ff.dct(X), sf.dct(X))
    np.testing.assert_array_equal(sf.fft(Z), np.fft.fft(Z))
    assert ff.fft(X.astype(np.float32)).dtype == np.complex64


def test_errors():
    with pytest.raises(fad.errors.ShapeError, match="n >= 2"):
        fad.grad(lambda x: np.sum(sf.dct(x, 1)))(np.ones(1))
    with pytest.raises(ValueError, match="norm"):
        fad.grad(lambda x: np.sum(sf.dct(x, norm="none")))(np.ones(3))
    with pytest.raises(fad.errors.TraceError, match="no rule"):
        fad.grad(lambda x: np.sum(sf.fht(x, 0.1, 0.2)))(np.ones(4))
