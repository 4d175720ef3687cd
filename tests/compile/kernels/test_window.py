"""Windowed products: how positions are divided into tiles, and pieces of work that are done in any order."""

import ctypes
import time
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fad.compile.kernels import conv_recipes, window
from fad.compile.kernels.recipe import Phase, Recipe, compiled, fill, write_function
from fad.compile.kernels.window import Axis, Window, runs, span, tiles
from fad.kernels.windows import strides_of
from fad.native.module import Module
from fad.native.tile import Tile

from .oracle import DTYPES, arrays_of, convolution, examples, fits, forget, integers, output_of, problems

AXES = st.builds(
    Axis,
    extent=st.integers(1, 30),
    step=st.just(1),
    stride=st.integers(1, 4),
    taps=st.integers(0, 9),
    dilation=st.integers(-3, 3).filter(bool),
    offset=st.integers(-12, 12),
    size=st.integers(1, 25),
)


def place(axis, position, tap):
    return position * axis.stride + tap * axis.dilation + axis.offset


# -- which taps meet the input -----------------------------------------------------------------------------------------


@given(AXES)
def test_inside(axis):
    """``inside`` says that no tap of any position misses the input; it may be False where none does."""
    meets = [0 <= place(axis, i, t) < axis.size for i in range(axis.extent) for t in range(axis.taps)]
    assert [axis.valid(i, t) for i in range(axis.extent) for t in range(axis.taps)] == meets
    assert axis.inside == (all(meets) and axis.taps > 0)


@pytest.mark.smoke
@given(AXES, st.integers(1, 12))
def test_tiles_hold_every_position_once_and_know_what_is_there(axis, most):
    for long in (window.TAP_RUNS, 0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(window, "TAP_RUNS", long)
            found = tiles(axis, most)
        seen = []
        for first, rows, count, pattern in found:
            assert 1 <= rows <= most and count >= 1 and (rows == 1 if pattern is None else len(pattern) == axis.taps)
            for k in range(count):
                start = first + k * rows
                seen += range(start, start + rows)
                for t, (low, high) in enumerate(pattern or ()):
                    assert [axis.valid(start + r, t) for r in range(rows)] == [low <= r < high for r in range(rows)]
        assert sorted(seen) == list(range(axis.extent))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=12))
def test_runs(pattern):
    """Taps with the same rows, one behind the other; those with no rows are left out."""
    pattern = tuple(pattern)
    found = runs(pattern)
    taps = [(t, rows) for first, count, rows in found for t in range(first, first + count)]
    assert taps == [(t, rows) for t, rows in enumerate(pattern) if rows[0] < rows[1]]
    assert all(a[2] != b[2] or a[0] + a[1] < b[0] for a, b in pairwise(found))


@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5))
def test_span(before, inside, after):
    low, high = span([False] * before + [True] * inside + [False] * after)
    assert (low, high) == ((before, before + inside) if inside else (0, 0))


# -- windows as code ---------------------------------------------------------------------------------------------------


def window_of(problem, tile, inner=True, shares=1):
    """The window of a convolution whose w is read as it is."""
    x_shape, w_shape, dtype, _, geometry = problem
    taps, groups = w_shape[:-2], geometry["groups"]
    depth, width = w_shape[-2], w_shape[-1] // groups
    out = output_of(x_shape[1:-1], taps, geometry["strides"], geometry["padding"], geometry["dilation"])
    steps, turns = strides_of(x_shape), strides_of((*taps, 1))
    axes = [Axis(x_shape[0], steps[0], size=x_shape[0])]
    for a, n in enumerate(out):
        axes.append(
            Axis(
                n,
                steps[1 + a],
                geometry["strides"][a],
                taps[a],
                geometry["dilation"][a],
                -geometry["padding"][a][0],
                x_shape[1 + a],
                turns[a],
            )
        )
    made = Window(
        axes=tuple(axes),
        depth=depth,
        depth_step=1,
        width=width,
        groups=groups,
        x_group=depth,
        w_group=width,
        w_tap=depth * width * groups,
        w_step=width * groups,
        w_first=0,
        taps=int(np.prod(taps)),
        packed=False,
        tile=tile,
        kind={4: "float", 8: "double"}[dtype.itemsize],
        inner=inner,
        shares=shares,
    )
    return made, (x_shape[0], *out, w_shape[-1])


def made(spec, shape):
    return Recipe((Phase(spec, (0, 1), last=True),), (), shape)


TILES = st.builds(Tile, rows=st.integers(1, 6), vectors=st.integers(1, 3), lanes=st.sampled_from([1, 2, 4, 8, 16]))


@examples(60)
@given(problems(batch=(1, 2)).filter(fits), TILES, st.booleans(), st.integers(1, 5))
def test_any_tile_panels_and_shares(problem, tile, inner, shares):
    """The choices of a recipe change nothing but the time it takes."""
    (x, w, _), _ = arrays_of(problem)
    spec, shape = window_of(problem, tile, inner, shares)
    out = np.full(shape, np.nan, x.dtype)
    fill(made(spec, shape), [x, w], [], out)
    np.testing.assert_array_equal(out, convolution(x, w, None, **problem[-1])[0])


@examples(40)
@given(problems(batch=(1, 2)).filter(fits), TILES, st.integers(1, 5))
def test_taps_that_are_found_as_it_runs(problem, tile, shares):
    """The ends of rows in the short code that windows of many taps get."""
    (x, w, _), _ = arrays_of(problem)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window, "TAP_RUNS", 0)
        forget()
        spec, shape = window_of(problem, tile, shares=shares)
        out = np.full(shape, np.nan, x.dtype)
        fill(made(spec, shape), [x, w], [], out)
        forget()
    np.testing.assert_array_equal(out, convolution(x, w, None, **problem[-1])[0])


@examples(25)
@given(problems(batch=(1, 2)).filter(fits), TILES, st.booleans(), st.integers(1, 5), st.integers(0, 2**32))
def test_pieces_of_work_are_apart(problem, tile, inner, shares, seed):
    """Every piece writes elements of its own, and together they write all, in any order."""
    (x, w, _), _ = arrays_of(problem)
    spec, shape = window_of(problem, tile, inner, shares)
    expected = convolution(x, w, None, **problem[-1])[0]
    loaded, (address,) = compiled(made(spec, shape), x.dtype)
    run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(address)
    out, writers = np.empty(shape, x.dtype), np.zeros(shape, int)
    table = (ctypes.c_void_p * 3)(x.ctypes.data, w.ctypes.data, out.ctypes.data)
    total = np.full(shape, np.nan, x.dtype)
    cuts = np.unique([0, spec.pieces, *np.random.default_rng(seed).integers(0, spec.pieces + 1, 20)])
    for begin, end in np.random.default_rng(seed).permutation(list(pairwise(cuts))):
        out[...] = np.nan
        run(ctypes.addressof(table), int(begin), int(end))
        written = ~np.isnan(out)
        writers += written
        total[written] = out[written]
    assert (writers == 1).all()
    np.testing.assert_array_equal(total, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_residue_of_rows_and_columns(dtype):
    """All tails of rows and of columns, with a tile of 4 rows by 2 vectors."""
    rng = np.random.default_rng(0)
    for size, features in product(range(1, 10), range(1, 18)):
        problem = ((1, size, 2), (3, 2, features), dtype, 0, {"strides": (1,), "padding": ((1, 1),), "dilation": (1,), "groups": 1})
        if features % 2 == size % 2 or features < 5:  # half of them: every residue of both
            x, w = integers(rng, problem[0], dtype), integers(rng, problem[1], dtype)
            spec, shape = window_of(problem, Tile(4, 2, 4))
            out = np.full(shape, np.nan, dtype)
            fill(made(spec, shape), [x, w], [], out)
            np.testing.assert_array_equal(out, convolution(x, w, None, **problem[-1])[0])


def test_pieces_and_work_are_counted():
    problem = (
        (2, 6, 7, 3),
        (3, 3, 3, 70),
        DTYPES[0],
        0,
        {"strides": (1, 1), "padding": ((1, 1),) * 2, "dilation": (1, 1), "groups": 1},
    )
    spec, _ = window_of(problem, Tile(4, 2, 16))
    assert spec.rows == spec.pieces == 2 * 6
    assert replace(spec, inner=False).pieces == 2 * 6 * 3  # 70 columns: 5 vectors in 3 panels
    assert replace(spec, shares=3).pieces == 2 * 6 * 3
    assert spec.work == 2 * 2 * 6 * 7 * 70 * (1 + 27)


def text(made):
    """The code of a recipe."""
    module = Module()
    for k, phase in enumerate(made.phases):
        write_function(module, f"phase{k}", phase, "float", 4, strides_of(made.shape))
    return str(module)


@pytest.mark.parametrize("taps, size", [(11, 300), (50, 300), (200, 150), (200, 2000)])
def test_code_of_long_kernels_is_short(taps, size):
    """LLVM's time is linear in the text, some 2 MB a second: what long windows add must not be."""
    x, w, g = (2, size, 3), (taps, 3, 4), (2, size, 4)
    geometry = (1,), (((taps - 1) // 2, taps // 2),), (1,), 1
    start = time.perf_counter()
    for one in (
        conv_recipes.conv(x, strides_of(x), w, strides_of(w), DTYPES[0], *geometry, (size,)),
        conv_recipes.conv_input_grad(g, strides_of(g), w, strides_of(w), DTYPES[0], x, *geometry),
        conv_recipes.conv_weight_grad(x, strides_of(x), g, strides_of(g), DTYPES[0], (taps,), *geometry),
    ):
        assert len(text(one)) < 1_000_000
    assert time.perf_counter() - start < 3
