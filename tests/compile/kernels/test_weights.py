"""Gradients by weights: however positions are cut into blocks and chunks, and tiles into shares."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fad.compile.kernels import matmul_recipes, recipe
from fad.compile.kernels.recipe import Phase, Recipe, fill
from fad.compile.kernels.weights import Weights
from fad.compile.kernels.window import Axis
from fad.kernels.windows import strides_of
from fad.native.threads import get_num_threads
from fad.native.tile import Tile

from .oracle import DTYPES, arrays_of, convolution, examples, fits, output_of, problems, threads


def recipe_for(problem, tile, axis, count, chunks, shares):
    """The gradient by weights of a convolution with these choices, as far as it has so many positions and tiles."""
    x_shape, w_shape, dtype, _, geometry = problem
    window, groups = w_shape[:-2], geometry["groups"]
    depth, columns = w_shape[-2:]
    width, turns = columns // groups, strides_of((*window, 1))
    out = output_of(x_shape[1:-1], window, geometry["strides"], geometry["padding"], geometry["dilation"])
    g_shape = (x_shape[0], *out, columns)
    steps = strides_of(x_shape)
    axes = [Axis(x_shape[0], steps[0], size=x_shape[0])]
    for a, n in enumerate(out):
        axes.append(
            Axis(
                n,
                steps[1 + a],
                geometry["strides"][a],
                window[a],
                geometry["dilation"][a],
                -geometry["padding"][a][0],
                x_shape[1 + a],
                turns[a],
            )
        )
    axis = min(axis, len(axes) - 1)
    if axis == len(axes) - 1 and axes[-1].taps > 1 and depth < 6:  # rows over the taps of the last axis: it stays whole
        axis, count = (axis - 1, count) if axis else (axis, 1)
    count = min(count, axes[axis].extent)
    blocks = int(np.prod([a.extent for a in axes[:axis]])) * count
    chunks = min(chunks, blocks)
    spec = Weights(
        axes=tuple(axes),
        steps=strides_of(g_shape)[:-1],
        depth=depth,
        depth_step=1,
        width=width,
        groups=groups,
        x_group=depth,
        g_group=width,
        out=(width, depth * columns, columns),
        tile=tile,
        kind={4: "float", 8: "double"}[dtype.itemsize],
        blocks=(axis, count),
        chunks=chunks,
        shares=shares,
        rank=len(window),
    )
    sums = () if spec.whole and chunks == 1 else (chunks * int(np.prod(w_shape)),)
    return Recipe((Phase(spec, (0, 1, -1) if sums else (0, 1), last=chunks == 1),), sums, w_shape, chunks)


CHOICES = st.tuples(
    st.builds(Tile, rows=st.integers(1, 6), vectors=st.integers(1, 3), lanes=st.sampled_from([1, 2, 4, 8, 16])),
    st.integers(0, 3),
    st.integers(1, 6),
    st.integers(1, 5),
    st.integers(1, 5),
)


def run(made, x, g, around=lambda x: x):
    out = around(np.full(made.shape, np.nan, x.dtype))
    fill(made, [around(x), around(g)], [around(np.full(n, np.nan, x.dtype)) for n in made.scratch], out)
    return out


@examples(60)
@given(problems(batch=(1, 3), features=40).filter(fits), CHOICES)
def test_any_tile_blocks_chunks_and_shares(problem, choices):
    (x, w, g), _ = arrays_of(problem)
    np.testing.assert_array_equal(run(recipe_for(problem, *choices), x, g), convolution(x, w, g, **problem[-1])[2])


def plain(x_shape, w_shape, dtype=DTYPES[0], seed=0, **geometry):
    rank = len(x_shape) - 2
    return (
        x_shape,
        w_shape,
        dtype,
        seed,
        {"strides": (1,) * rank, "padding": ((1, 1),) * rank, "dilation": (1,) * rank, "groups": 1} | geometry,
    )


@pytest.mark.smoke
@pytest.mark.parametrize("channels", [1, 2, 3, 5, 6, 7])  # below 6 a tile's rows go over taps
def test_every_residue_of_channels_and_columns(channels):
    for features in range(1, 10):
        problem = plain((2, 3, 4, channels), (2, 3, channels, features))
        (x, w, g), _ = arrays_of(problem)
        made = recipe_for(problem, Tile(4, 2, 4), 0, 1, 1, 1)
        np.testing.assert_array_equal(run(made, x, g), convolution(x, w, g, **problem[-1])[2])


@pytest.mark.parametrize("at_end", [True, False])
def test_nothing_outside_is_touched(at_end, fence, child):
    fences = fence(at_end)

    def touch():
        for channels, features, chunks in [(1, 5, 1), (3, 17, 2), (8, 33, 3), (40, 16, 1)]:
            problem = plain(
                (3, 4, 5, channels), (3, 2, channels, features), strides=(1, 2), dilation=(2, 1), padding=((2, 0), (0, 3))
            )
            (x, w, g), _ = arrays_of(problem)
            expected = convolution(x, w, g, **problem[-1])[2]
            for tile in (Tile(4, 1, 16), Tile(2, 2, 4)):
                np.testing.assert_array_equal(run(recipe_for(problem, tile, 0, 3, chunks, 2), x, g, fences.around), expected)

    child(touch)


def test_chunks_have_an_order():
    """The sum of chunks is the same on any number of threads, to the last bit."""
    problem = plain((8, 12, 12, 8), (3, 3, 8, 24))
    (x, _, g), rng = arrays_of(problem)
    x, g = (rng.standard_normal(a.shape).astype(np.float32) for a in (x, g))
    results = []
    for n in (1, get_num_threads(), get_num_threads()):
        with threads(n):
            results.append(run(recipe_for(problem, Tile(6, 2, 8), 1, 3, 5, 2), x, g).tobytes())
    assert results == results[:1] * 3


def test_whole_and_joined():
    spec = recipe_for(plain((2, 3, 4, 8), (3, 3, 8, 5)), Tile(4, 1, 4), 0, 1, 2, 1).phases[0].spec
    assert not spec.joined and spec.whole and (spec.pieces, spec.taps) == (1, 9)  # one block makes one chunk
    spec = recipe_for(plain((2, 3, 4, 3), (3, 3, 3, 5)), Tile(4, 1, 4), 0, 2, 2, 3).phases[0].spec
    assert spec.joined and spec.whole and spec.pieces == 6
    assert sum(rows * count for _, rows, count in spec.row_tiles) == 9
    spec = recipe_for(plain((2, 3, 4, 3), (3, 3, 3, 5)), Tile(4, 1, 4), 0, 2, 1, 3).phases[0].spec
    assert not spec.whole and spec.pieces == 3


def test_a_product_of_two_matrices_is_one_without_a_window():
    rng = np.random.default_rng(0)
    x, g = rng.integers(-4, 5, (1300, 20)).astype(np.float32), rng.integers(-4, 5, (1300, 33)).astype(np.float32)
    made = matmul_recipes.matmul((20, 1300), (1, 20), (1300, 33), (33, 1), DTYPES[0])
    assert type(made.phases[0].spec) is Weights
    np.testing.assert_array_equal(recipe.run(made, [x.T, g], DTYPES[0]), x.T @ g)
