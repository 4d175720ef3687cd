"""Threefry-2x32-20 against published vectors, and its two forms against each other."""

import ctypes
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fad.compile.kernels import recipe, threefry_native
from fad.compile.kernels.threefry_native import CHUNK, Threefry
from fad.errors import ShapeError
from fad.kernels import bits
from fad.kernels.bits import threefry2x32, threefry_bits
from fad.native import engine
from fad.native.ir import Value, write
from fad.native.module import Module
from fad.native.tile import Epilogue

ONES = 0xFFFFFFFF
# Known-answer vectors of Random123 (kat_vectors, threefry2x32 20): key, counter, answer.
KNOWN = [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((ONES, ONES), (ONES, ONES), (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
]
words = st.integers(0, ONES)


def native(key, n, out=None):
    """n words by the native kernel."""
    out = np.empty(n, np.uint32) if out is None else out
    recipe.fill(threefry_native.random_bits(n), [np.array(key, np.uint32)], [], out)
    return out


@pytest.mark.smoke
@pytest.mark.parametrize(("key", "counter", "answer"), KNOWN)
def test_known_answers(key, counter, answer):
    assert threefry2x32(*key, *counter) == answer
    as_arrays = threefry2x32(*key, *(np.array([word], np.uint64) for word in counter))
    assert tuple(int(word[0]) for word in as_arrays) == answer


def test_known_answer_of_the_native_form():
    key, _, answer = KNOWN[0]
    assert tuple(native(key, 2)) == answer


@given(st.tuples(words, words), st.integers(1, 200) | st.sampled_from([CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7]))
def test_forms_agree(key, n):
    blocks = np.arange((n + 1) // 2, dtype=np.uint64)
    expected = np.stack(threefry2x32(*key, np.uint64(0), blocks), axis=1).reshape(-1)[:n]
    np.testing.assert_array_equal(native(key, n), expected)


def native_pieces(key, n, first, count):
    """The words of some pieces out of n words, by the code of the native kernel."""
    out, key = np.zeros(count * CHUNK, np.uint32), np.array(key, np.uint32)

    def body(block):
        key_at, out_at = (Value(block, name, "i32", 1) for name in ("%key", "%out"))

        def take(inside, index, value):
            p = write(
                f"getelementptr i32, ptr %out, i64 {(index[0] - first * CHUNK).name}", "ptr", 1, out_at, index[0] - first * CHUNK
            )
            inside.append(f"store {value.type} {value.name}, ptr {p.name}, align 4")

        Threefry(n).write(block, [key_at], Epilogue(take), block.integer(first), block.integer(first + count))

    module = Module(engine.machine().has_fma)
    module.function("void @pieces(ptr %key, ptr %out)", body)
    loaded = engine.load(str(module))
    ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(loaded.address("pieces"))(key.ctypes.data, out.ctypes.data)
    return out


@pytest.mark.parametrize("high", [0, 1, 2, 77])
def test_counters_beyond_32_bits(high):
    first = (high << 33) // CHUNK - (1 if high else 0)  # two words a counter
    blocks = np.arange(first * CHUNK // 2, (first + 3) * CHUNK // 2, dtype=np.uint64)
    expected = np.stack(threefry2x32(5, 6, blocks >> np.uint64(32), blocks & np.uint64(ONES)), axis=1).reshape(-1)
    np.testing.assert_array_equal(native_pieces((5, 6), 1 << 41, first, 3), expected)


def test_the_first_words_do_not_depend_on_how_many_are_drawn():
    key = np.array([3, 4], np.uint32)
    longest = threefry_bits(key, 2 * bits.NATIVE_FROM + 1)
    assert longest.dtype == np.uint32
    edges = (bits.NATIVE_FROM, 2 * bits.ARRAYS_FROM)
    for n in {0, 1, 2, 3, 7, *(edge + i for edge in edges for i in (-2, -1, 0, 1))}:
        found = threefry_bits(key, n)
        assert found.shape == (n,)
        np.testing.assert_array_equal(found, longest[:n])


def test_few_bits_do_not_import_llvm():
    code = (
        "import sys, numpy as np; from fad.kernels.bits import threefry_bits; "
        "threefry_bits(np.zeros(2, np.uint32), 4095); assert 'llvmlite' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_nothing_outside_is_written(guarded):
    out = guarded(np.zeros(2 * CHUNK + 5, np.uint32))
    native((1, 2), 2 * CHUNK + 5, out.array)
    out.check_surroundings()


def test_bad_arguments():
    with pytest.raises(ShapeError):
        threefry_bits(np.zeros(3, np.uint32), 1)
    with pytest.raises(ShapeError):
        threefry_bits(np.zeros(2, np.uint32), -1)
