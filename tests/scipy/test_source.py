"""SciPy's functions that are written in Python run fad's rules where they meet a node, however they were imported."""

import inspect
import pickle

import numpy as np
import pytest
import scipy.special
from scipy.special import log_softmax, logsumexp, multigammaln, polygamma, softmax

import fad
from fad.testing import check_grads

X = np.array([0.3, 1.2, 2.5])


@pytest.mark.parametrize(
    "f",
    [
        lambda x: logsumexp(x),
        lambda x: logsumexp(np.outer(x, x), axis=1),
        lambda x: logsumexp(x, b=np.array([1.0, 2.0, 0.5]), keepdims=True),
        lambda x: scipy.special.logsumexp(x),
        lambda x: softmax(x),
        lambda x: softmax(np.outer(x, x), axis=0),
        lambda x: softmax(np.outer(x, x)),
        lambda x: log_softmax(x),
        lambda x: log_softmax(np.outer(x, x), axis=1),
        lambda x: polygamma(1, x),
        lambda x: multigammaln(x + 2, 3),
    ],
)
def test_values_and_derivatives(f):
    check_grads(lambda x: np.sum(np.sin(f(x))), (X,), order=2)
    np.testing.assert_allclose(fad.jit(f)(X), f(X), rtol=1e-12)


def test_the_function_itself():  # autograd#336
    np.testing.assert_allclose(fad.grad(logsumexp)(np.array([0.0, 0.0])), [0.5, 0.5])
    np.testing.assert_allclose(fad.jit(softmax)(X), softmax(X))


def test_without_nodes_it_is_scipys():
    fad.grad(logsumexp)(X)
    assert logsumexp([1000.0, 1000.0]) == pytest.approx(1000 + np.log(2))
    log, sign = logsumexp(X, b=[1, -1, -3], return_sign=True)
    assert sign == -1 and np.isfinite(log)
    assert list(inspect.signature(logsumexp).parameters) == ["a", "axis", "b", "keepdims", "return_sign"]
    assert pickle.loads(pickle.dumps(softmax)) is softmax
    with pytest.raises(TypeError):
        softmax(X, no_such_option=1)
