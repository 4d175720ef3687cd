"""The register tile: how rows and columns are divided, and its building blocks as machine code."""

import ctypes

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fad.native import engine
from fad.native.ir import Block, Value, constant
from fad.native.module import Module
from fad.native.tile import Epilogue, Tile, accumulate, at, balanced, deliver, load, panels_of, ranked_tiles, store, transposed

KINDS = {"float": np.float32, "double": np.float64}


class CPU:
    def __init__(self, vector_bytes, registers):
        self.vector_bytes, self.registers = vector_bytes, registers


def run(write, kind, *arrays):
    """Call code that ``write(block, *pointers)`` writes, on arrays."""

    def body(block):
        write(block, *(Value(block, f"%p{k}", kind, 1) for k in range(len(arrays))))

    module = Module(engine.machine().has_fma)
    module.function(f"void @run({', '.join(f'ptr %p{k}' for k in range(len(arrays)))})", body)
    loaded = engine.load(str(module))
    ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(arrays))(loaded.address("run"))(*(a.ctypes.data for a in arrays))


# -- how rows and columns are divided ----------------------------------------------------------------------------------


@given(st.integers(1, 300), st.integers(1, 40))
def test_balanced_parts(n, most):
    parts = balanced(n, most)
    assert sum(size * count for size, count in parts) == n
    assert sum(count for _, count in parts) == -(-n // most)  # no more of them than there must be
    assert all(count > 0 and 0 < size <= most for size, count in parts)
    sizes = [size for size, _ in parts]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] - sizes[-1] <= 1


@pytest.mark.smoke
@given(st.integers(1, 300), st.integers(1, 9), st.sampled_from([1, 2, 4, 8, 16]))
def test_panels_hold_every_column_once(width, vectors, lanes):
    columns = []
    for start, widths, count in panels_of(width, Tile(1, vectors, lanes)):
        assert 0 < len(widths) <= vectors and count > 0
        assert all(0 < n <= lanes for n in widths)
        for k in range(count):
            first = start + k * len(widths) * lanes
            columns += [first + v * lanes + j for v, n in enumerate(widths) for j in range(n)]
    assert columns == list(range(width))


@given(
    st.integers(1, 200),
    st.integers(1, 300),
    st.sampled_from([16, 32, 64]),
    st.sampled_from([16, 32]),
    st.sampled_from([4, 8]),
    st.sampled_from([0, 64, 4096, 5000]),
)
def test_tiles_fit_the_registers(rows, width, vector_bytes, registers, itemsize, row_bytes):
    found = ranked_tiles(CPU(vector_bytes, registers), itemsize, rows, width, row_bytes)
    assert found and len(set(found)) == len(found)
    for tile in found:
        assert tile.lanes == vector_bytes // itemsize
        assert 1 <= tile.rows <= rows and 1 <= tile.vectors <= -(-width // tile.lanes)
        assert tile.rows * tile.vectors + tile.vectors + 1 <= registers  # sums, a row of one operand, a number of the other


def test_large_products_take_most_registers():
    for registers in (16, 32):
        tile = ranked_tiles(CPU(32, registers), 4, 1000, 1000)[0]
        assert tile.rows * tile.vectors >= 0.7 * registers


def test_rows_far_apart_do_not_crowd_the_cache():
    assert ranked_tiles(CPU(64, 32), 4, 1000, 16, 4096)[0].rows < ranked_tiles(CPU(64, 32), 4, 1000, 16, 4160)[0].rows


# -- machine code --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lanes", range(1, 18))
def test_vectors_of_any_length_are_loaded_and_stored(kind, lanes, guarded):
    size = np.dtype(KINDS[kind]).itemsize
    x, y = guarded(np.arange(1.0, lanes + 1).astype(KINDS[kind])), guarded(np.zeros(lanes, KINDS[kind]))
    run(lambda block, p, q: store(block, q, load(block, p, lanes, size), size), kind, x.array, y.array)
    np.testing.assert_array_equal(y.array, x.array)
    x.check()
    y.check_surroundings()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 2, 4, 8, 16])
def test_transposed(kind, n):
    x, y = np.arange(n * n, dtype=KINDS[kind]).reshape(n, n), np.zeros((n, n), KINDS[kind])

    def write(block, p, q):
        for k, column in enumerate(transposed([load(block, at(p, k * n), n, x.itemsize) for k in range(n)])):
            store(block, at(q, k * n), column, x.itemsize)

    run(write, kind, x, y)
    np.testing.assert_array_equal(y, x.T)


def test_at_adds_what_it_knows_and_what_it_does_not():
    block = Block(Module())
    p, i = Value(block, "%p", "float", 1), Value(block, "%i", "i64", 1)
    assert at(p) is p and at(p, 0, 0) is p
    assert at(p, 2, 3) is at(p, 5)
    assert at(p, i, 4).kind == "float"
    before = len(block.items)
    at(p, i, 4)
    assert len(block.items) == before


@pytest.mark.parametrize("depth", [1, 2, 4, 5, 9])
@pytest.mark.parametrize("rows", [(0, 3), (1, 3), (0, 1), (1, 2), (2, 2)])
@pytest.mark.parametrize("vectors", [1, 2])
def test_accumulate(depth, rows, vectors):
    """Sums of rows outside of the range stay as they were."""
    rng, lanes = np.random.default_rng(0), 4
    a, b = rng.integers(-4, 5, (depth, 3)).astype(float), rng.integers(-4, 5, (depth, vectors * lanes)).astype(float)
    out = np.full((3, vectors * lanes), np.nan)

    def write(block, p, q, r):
        one = constant(1.0, Value(block.root, "0", "double", 1)).spread(lanes)
        left = lambda inside, k, r: load(inside, at(p, k * 3, r), 1, 8)
        right = lambda inside, k, v: load(inside, at(q, k * (vectors * lanes), v * lanes), lanes, 8)
        sums = accumulate(block, [one] * (3 * vectors), depth, left, right, rows, vectors)
        for k, s in enumerate(sums):
            store(block, at(r, k * lanes), s, 8)

    run(write, "double", a, b, out)
    expected = np.ones_like(out)
    expected[slice(*rows)] += (a.T @ b)[slice(*rows)]
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("length", [0, 1000])  # written for every vector, or once
@pytest.mark.parametrize(
    "rows, widths, packed",
    [
        (3, [4, 4, 4], True),
        (3, [4, 4, 1], True),
        (4, [4, 4, 3], False),
        (5, [3], False),
        (5, [3], True),
        (6, [4], True),
        (1, [4, 4, 4, 4], False),
        (2, [4, 2], False),
    ],
)
def test_deliver(rows, widths, packed, length):
    """Every vector comes once, at its row and column, with its lanes; ``packed``: with lanes behind those that count."""
    lanes, width = 4, sum(widths)
    x, y = np.arange(rows * 4.0 * len(widths)), np.full((rows, width), np.nan)

    def write(block, p, q):
        values = [
            load(block, at(p, (r * len(widths) + v) * lanes), lanes if packed else widths[v], 8)
            for r in range(rows)
            for v in range(len(widths))
        ]

        def take(inside, index, value):
            row, column = index
            store(inside, at(q, row * width, column), value * 2 + 1, 8)

        number = lambda n: n if isinstance(n, Value) else block.integer(n)
        deliver(block, Epilogue(take, length), values, widths, lambda r, v: [number(r), number(v * lanes)], 100)

    run(write, "double", x, y)
    expected = np.concatenate([x.reshape(rows, -1, lanes)[:, v, :n] for v, n in enumerate(widths)], axis=1)
    np.testing.assert_array_equal(y, expected * 2 + 1)
