"""Packed weights: every panel holds what it should, whichever way the matrix lay, and zeros behind the last column."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fad.compile.kernels.pack import Pack
from fad.compile.kernels.recipe import Phase, Recipe, fill
from fad.native.tile import Tile, panels_of

from .oracle import DTYPES, examples, threads

ORDERS = ["gtcf", "gtfc", "cgtf", "tcgf", "tfgc", "fcgt"]  # how w lies in memory; the last axis has neighbours


def strides_in(order, sizes, gap):
    """Strides of g, t, c, f where they lie in this order, the last axis with elements ``gap`` apart."""
    found, step = {}, gap
    for axis in reversed(order):
        found[axis] = step
        step *= sizes["gtcf".index(axis)]
    return tuple(found[a] for a in "gtcf"), step


def packed(w, pack):
    """The copy by definition."""
    found = []
    for g in range(pack.groups):
        for start, widths, count in panels_of(pack.width, Tile(1, pack.vectors, pack.lanes)):
            span = len(widths) * pack.lanes
            for k in range(count):
                panel = np.zeros((pack.taps, pack.depth, span), w.dtype)
                part = w[g, :, :, start + k * span :][..., :span]
                panel[..., : part.shape[-1]] = part
                found.append(panel.ravel())
    return np.concatenate(found)


def check(groups, taps, depth, width, order, gap, vectors, lanes, dtype, around=lambda x: x):
    sizes = (groups, taps, depth, width)
    steps, size = strides_in(order, sizes, gap)
    memory = np.full(size - gap + 1, np.nan, dtype)
    w = np.lib.stride_tricks.as_strided(memory, sizes, [s * dtype.itemsize for s in steps])
    w[...] = np.arange(1, w.size + 1).reshape(sizes)
    pack = Pack(groups, taps, depth, width, steps, vectors, lanes, {4: "float", 8: "double"}[dtype.itemsize])
    recipe = Recipe((Phase(pack, (0, -1)),), (pack.size,), (1,))
    out = around(np.full(pack.size, np.nan, dtype))
    expected = packed(w, pack)
    assert pack.size == expected.size
    fill(recipe, [around(memory)], [out], np.zeros(1, dtype))
    np.testing.assert_array_equal(out, expected)
    return pack


@examples(80)
@given(
    st.tuples(
        st.integers(1, 3),
        st.integers(1, 4),
        st.integers(1, 40),
        st.integers(1, 70),
        st.sampled_from(ORDERS),
        st.sampled_from([1, 1, 3]),
        st.integers(1, 4),
        st.sampled_from([1, 2, 4, 8, 16]),
        st.sampled_from(DTYPES),
    )
)
def test_packing(problem):
    check(*problem)


@pytest.mark.smoke
@pytest.mark.parametrize("order", ["gtcf", "gtfc"])
def test_every_residue_of_columns_and_channels(order):
    for n in range(1, 10):
        check(1, 1, n, 9, order, 1, 2, 4, DTYPES[0])
        check(2, 2, 5, n, order, 1, 2, 4, DTYPES[0])


@pytest.mark.parametrize("at_end", [True, False])
@pytest.mark.parametrize("order", ORDERS)
def test_nothing_outside_is_touched(order, at_end, fence, child):
    fences = fence(at_end)

    def touch():
        for depth, width, lanes in [(1, 1, 16), (3, 5, 4), (17, 33, 16), (16, 16, 16), (40, 70, 8), (9, 31, 16)]:
            for gap in (1, 2):
                check(2, 2, depth, width, order, gap, 2, lanes, DTYPES[0], fences.around)

    child(touch)


def test_threads_share_the_work():
    with threads(1):
        pack = check(3, 9, 64, 100, "gtcf", 1, 2, 16, DTYPES[0])
    assert pack.pieces == 3 * 9 * 4 and pack.work > 0
    check(3, 9, 64, 100, "gtcf", 1, 2, 16, DTYPES[0])
