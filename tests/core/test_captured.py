"""Arrays that a function looks up can be indexed by symbols."""

import numpy as np
import pytest

import fad
from fad.errors import TraceError

TABLE = np.arange(4.0)
X = np.array([1.5, 2.5])


def places(x):
    return np.floor(x).astype(int)


def looked_up(i):
    return TABLE[i]


PROGRAMS = {
    "global": lambda x: np.sum(TABLE[places(x)] * x),
    "through a function": lambda x: np.sum(looked_up(places(x)) * x),
    "closure": (lambda table: lambda x: np.sum(table[places(x)] * x))(np.arange(4.0)),
    "one place": lambda x: TABLE[places(x[0])] * x[1],
    "two axes": (lambda table: lambda x: np.sum(table[places(x), 1] * x))(np.eye(4)),
    "np.take": lambda x: np.sum(np.take(TABLE, places(x)) * x),
    "by a node": lambda x: np.sum(fad.at(np.arange(4.0))[places(x)].get() * x),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_tables(name):
    f = PROGRAMS[name]
    if name != "by a node":
        np.testing.assert_allclose(fad.jit(f)(X), f(X))
        np.testing.assert_allclose(fad.vmap(f)(np.stack([X, X / 2])), [f(X), f(X / 2)])
    slope = fad.grad(f)(X)
    for g in (fad.jit(fad.grad(f)), fad.grad(fad.jit(f)), fad.trace(fad.grad(f))(X), fad.jit(fad.jacfwd(f))):
        np.testing.assert_allclose(g(X), slope)


def test_tables_that_are_not_captured():
    def local(x):
        table = np.arange(4.0)
        return np.sum(table[places(x)])

    calls = []

    def ordinary(x):
        calls.append(1)
        return np.sum(x)

    with pytest.raises(TraceError, match=r"test_captured.py(.|\n)*fad.at\(table\)\[i\].get\(\)"):
        fad.jit(local)(X)
    fad.jit(ordinary)(X)
    assert len(calls) == 1
    np.testing.assert_array_equal(TABLE, np.arange(4.0))
