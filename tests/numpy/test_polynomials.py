"""Polynomials on nodes: NumPy's values, derivatives against differences, jit."""

import numpy as np
import pytest

import fad
from fad.errors import FadError
from fad.testing import check_grads
from tests.numpy.oracle import check

R = np.random.default_rng(0)
P, Q, X = np.array([2.0, -1.0, 0.5, 3.0]), np.array([1.5, 4.0]), np.linspace(-1.0, 2.0, 7)
Y = R.normal(size=7)
W = R.uniform(0.5, 2.0, size=7)


@pytest.mark.parametrize(
    ("f", "args"),
    [
        (np.polyadd, (P, Q)),
        (np.polysub, (Q, P)),
        (np.polymul, (P, Q)),
        (np.polyder, (P,)),
        (lambda p: np.polyder(p, 2), (P,)),
        (np.polyint, (P,)),
        (lambda p, k: np.polyint(p, 2, k), (P, Q)),
        (lambda p: np.polyint(p, 2, 3.0), (P,)),
        (lambda x, y: np.polyfit(x, y, 2), (X, Y)),
        (lambda x, y, w: np.polyfit(x, y, 2, w=w), (X, Y, W)),
        (lambda x, y: np.polyfit(x, np.stack([y, y * y], axis=1), 1), (X, Y)),
    ],
)
def test_values_and_derivatives(f, args):
    check(f, *args)
    check_grads(lambda *xs: np.sum(np.sin(f(*xs))), args, order=1)
    np.testing.assert_allclose(fad.jit(f)(*args), f(*args), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "f",
    [
        lambda p: np.polyadd(p[None], p),
        lambda p: np.polyder(p, -1),
        lambda p: np.polyint(p, 3, [1.0, 2.0]),
        lambda p: np.polyfit(p, p[1:], 1),
        lambda p: np.polyfit(p, p, 1, cov=True),
    ],
)
def test_refused(f):
    with pytest.raises(FadError):
        fad.trace(f)(P)
