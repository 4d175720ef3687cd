"""Histograms by their weights, and ranges on a logarithmic scale."""

import numpy as np
import pytest

import fad
from fad.testing import check_grads
from tests.numpy.oracle import check

A, W = np.array([0.0, 0.5, 1.0, 2.5, 4.0, 4.0, 5.5]), np.arange(1.0, 8.0)


@pytest.mark.parametrize(
    "options", [{}, {"bins": 3, "range": (0, 4)}, {"bins": np.array([0.0, 1.0, 2.5, 4.0])}, {"bins": 4, "density": True}]
)
def test_weights(options):
    f = lambda w: np.histogram(A, weights=w, **options)[0]
    check(f, W)
    check_grads(lambda w: np.sum(np.sin(f(w))), (W,), order=2)
    np.testing.assert_allclose(fad.jit(f)(W), f(W))


def test_logspace():
    for f in (lambda a, b: np.logspace(a, b, 5), lambda a, b: np.logspace(a, b, 4, endpoint=False, base=2.0)):
        check(f, np.array(0.5), np.array(1.2))
        check(f, np.array([0.5, 0.1]), np.array([1.2, 2.0]))
        check_grads(lambda a, b, f=f: np.sum(f(a, b)), (np.array(0.5), np.array(1.2)), order=2)
