"""`scipy.signal` on nodes: SciPy's values in every mode, derivatives by differences, complex and n-dimensional."""

import numpy as np
import pytest
import scipy.signal as ss

import fad
from fad.testing import check_grads

RNG = np.random.default_rng(0)
X, W = RNG.normal(size=9), RNG.normal(size=4)
IMAGE, WINDOW = RNG.normal(size=(6, 7)), RNG.normal(size=(3, 2))


def same(f, *args):
    np.testing.assert_allclose(fad.trace(f)(*args)(*args), f(*args), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("name", ["convolve", "correlate", "fftconvolve"])
def test_convolutions(name, mode):
    f = getattr(ss, name)
    for pair in ((X, W), (W, X), (IMAGE, WINDOW), (X + 1j, W), (WINDOW, IMAGE)):
        same(lambda x, w: f(x, w, mode=mode), *pair)
    check_grads(lambda x, w: np.sum(np.sin(f(x, w, mode=mode))), (X, W), order=2)
    check_grads(lambda x, w: np.sum(np.sin(f(x, w, mode=mode))), (IMAGE, WINDOW), order=1)
    g = fad.grad(lambda x: np.sum(np.sin(f(x, W, mode=mode))))
    np.testing.assert_allclose(fad.jit(g)(X), g(X), rtol=1e-9, atol=1e-12)


def test_axes():
    same(lambda x, w: ss.fftconvolve(x, w, axes=1), IMAGE, WINDOW[:1].repeat(6, 0))


def test_filters():
    b, a = ss.butter(3, 0.2)
    for options in ({}, {"axis": 0}):
        same(lambda x: ss.lfilter(b, a, x, **options), IMAGE)
    same(lambda x: ss.lfilter([0.5], [2.0], x), X)
    same(lambda x: ss.lfilter(b, a, x, zi=np.ones(3))[1], X)
    check_grads(lambda b, a, x: np.sum(np.sin(ss.lfilter(b, a, x))), (b, a, X), order=1)


def test_shapes_are_told():
    with pytest.raises(fad.errors.ShapeError, match="axes"):
        fad.grad(lambda x: np.sum(ss.convolve(x, WINDOW)))(X)
    with pytest.raises((fad.errors.FadError, ValueError), match="valid"):
        fad.grad(lambda x: np.sum(ss.convolve(x, np.ones((2, 9)), mode="valid")))(IMAGE)
