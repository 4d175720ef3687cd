"""The counts behind the choice of a mode."""

import numpy as np
import pytest

import fad
from fad.transforms.cost import cheaper, costs
from fad.transforms.derivatives import open_arguments
from fad.transforms.trace import Trace


def counted(f, x):
    opened = Trace("count", f)
    (inner,), _ = open_arguments(opened, (x,), (0,))
    outputs = fad.tree.leaves(opened.call(inner))
    return opened.graph(outputs), opened.inputs, outputs


def residuals(f, x):
    return [c.residuals for c in costs(*counted(f, x))]


def test_residuals_by_hand():
    x = np.ones(100)  # arrays of 800 bytes

    def chain(x):
        for _ in range(4):
            x = np.tanh(x)
        return x

    def kept(x):  # the first is a result as well: it stays
        first = np.tanh(x)
        return first, np.sin(np.sin(np.sin(first)))

    def late(x):  # the first is read again at the end
        first = np.tanh(x)
        return np.sin(np.sin(np.sin(first))) * first

    def shrinks(x):
        return np.sum(np.tanh(x) * np.sin(x))

    def twice(x):  # one operation reads the first twice, and frees it once
        first = np.tanh(x)
        square = first * first
        return np.sin(square) * np.cos(square)

    assert residuals(chain, x) == [2 * 800, 4 * 800]  # forward holds one and makes the next, reverse holds them all
    assert residuals(kept, x) == [3 * 800, 4 * 800]
    assert residuals(late, x) == [3 * 800, 5 * 800]
    assert residuals(shrinks, x) == [3 * 800, 3 * 800 + 8]
    assert residuals(twice, x) == [3 * 800, 5 * 800]
    assert residuals(lambda x: x, x) == [0, 0]


@pytest.mark.parametrize(
    "f, x, mode",
    [
        (np.sum, np.ones(100), "reverse"),
        (lambda x: x * np.ones(100), 1.0, "forward"),
        (lambda x: np.outer(x, x), np.ones(5), "forward"),
        (lambda x: np.tanh(x)[:2], np.ones(12), "reverse"),
    ],
)
def test_fewer_passes_are_cheaper(f, x, mode):
    assert cheaper(*counted(f, x)) == mode
