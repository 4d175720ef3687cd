"""scatter_add against a loop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fad
from fad.errors import OutOfRangeError, ShapeError
from fad.kernels import arrays
from fad.kernels.arrays import scatter_add
from tests.guards import FencedNumPy

DTYPES = [np.float32, np.float64, np.complex128, np.int64]


@given(
    st.integers(0, 8),
    st.integers(0, 30),
    st.lists(st.integers(0, 3), max_size=2).map(tuple),
    st.sampled_from(DTYPES),
    st.integers(0, 2**32),
)
def test_scatter_add_is_a_loop(m, n, row, dtype, seed):
    n, rng = n if m else 0, np.random.default_rng(seed)
    index, values = rng.integers(0, m, n), (100 * rng.standard_normal((n, *row))).astype(dtype)
    expected = np.zeros((m, *row), dtype)
    for i in range(n):
        expected[index[i]] += values[i]
    result = scatter_add((m, *row), index, values)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, expected)  # the order of additions is promised


@pytest.mark.smoke
def test_many_rows_in_order():
    rng = np.random.default_rng(0)
    index, values = rng.integers(0, 7, 10_000), rng.standard_normal((10_000, 3), np.float32)
    expected = np.zeros((7, 3), np.float32)
    np.add.at(expected, index, values)
    np.testing.assert_array_equal(scatter_add((7, 3), index, values), expected)


def test_layouts_and_index_dtypes(guarded):
    values, index = guarded(np.arange(12.0).reshape(4, 3)), np.array([0, 2, 2, 0, 1, 1, 1, 1], np.int32)[::2]
    expected = scatter_add((3, 3), np.array([0, 2, 1, 1]), values.array.copy())
    np.testing.assert_array_equal(scatter_add((3, 3), index, np.asfortranarray(values.array)), expected)
    values.check()


@pytest.mark.parametrize("index", [[3], [-1], [0, 100]])
def test_out_of_range(index):
    with pytest.raises(OutOfRangeError, match="3 rows"):
        scatter_add((3,), np.array(index), np.ones(len(index)))


def test_shapes_that_do_not_fit():
    for values in (np.ones(3), np.ones((2, 2))):
        with pytest.raises(ShapeError):
            scatter_add((3,), np.array([0, 1]), values)


@pytest.mark.parametrize("at_end", [False, True])
@pytest.mark.parametrize("row", [2, 3, 8, 17])
def test_nothing_outside_is_touched(row, at_end, fence, child):
    rng = np.random.default_rng(0)
    index, values = rng.integers(0, 50, 40_000 // row), rng.standard_normal((40_000 // row, row))
    expected = scatter_add((50, row), index, values)

    def fenced():
        fences = fence(at_end)
        arrays.np = FencedNumPy(fences)
        np.testing.assert_array_equal(scatter_add((50, row), fences.around(index), fences.around(values)), expected)

    child(fenced)


def test_sums_do_not_depend_on_threads():
    rng = np.random.default_rng(0)
    index, values = rng.integers(0, 50, 20_000), rng.standard_normal((20_000, 5))
    expected = scatter_add((50, 5), index, values)
    before = fad.get_num_threads()
    try:
        for count in range(1, before + 1):
            fad.set_num_threads(count)
            np.testing.assert_array_equal(scatter_add((50, 5), index, values), expected)
    finally:
        fad.set_num_threads(before)
