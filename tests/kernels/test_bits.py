"""Threefry by the numba kernel: the words of Python's integers, in memory of their own, whatever the number of threads."""

import numpy as np
import pytest

import fad
from fad.kernels import bits
from tests.guards import FencedNumPy

KEY = np.array([17, 4_000_000_001], np.uint32)


@pytest.mark.parametrize("n", [bits.NATIVE_FROM, bits.NATIVE_FROM + 1, 3 * bits.NATIVE_FROM + 7, 40_001])
def test_words_are_those_of_numpy(n, monkeypatch):
    expected = bits.threefry_bits(KEY, n)
    monkeypatch.setattr(bits, "NATIVE_FROM", n + 2)
    np.testing.assert_array_equal(bits.threefry_bits(KEY, n), expected)


@pytest.mark.parametrize("at_end", [False, True])
@pytest.mark.parametrize("n", [bits.NATIVE_FROM, bits.NATIVE_FROM + 1, 40_001])
def test_nothing_outside_is_touched(n, at_end, fence, child):
    expected = bits.threefry_bits(KEY, n)

    def fenced():
        fences = fence(at_end)
        bits.np = FencedNumPy(fences)
        np.testing.assert_array_equal(bits.threefry_bits(fences.around(KEY), n), expected)

    child(fenced)


def test_words_do_not_depend_on_threads():
    expected, before = bits.threefry_bits(KEY, 100_003), fad.get_num_threads()
    try:
        for count in range(1, before + 1):
            fad.set_num_threads(count)
            np.testing.assert_array_equal(bits.threefry_bits(KEY, 100_003), expected)
    finally:
        fad.set_num_threads(before)
