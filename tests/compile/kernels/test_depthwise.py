"""Depthwise convolution and its gradients against their definition, in nested loops over output positions and taps."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fad.compile.kernels import conv_recipes, recipe
from fad.compile.kernels.depthwise import MOST_TAPS, Depthwise, DepthwiseWeights

from .oracle import DTYPES, examples, integers, laid_out, machines, output_of, small_machine, steps, threads


def by_definition(x, w, g, strides, padding, dilation):
    """(y, x_bar, w_bar) in float64."""
    y, x_bar, w_bar = np.zeros(g.shape), np.zeros(x.shape), np.zeros(w.shape)
    x, w, g = (a.astype(float) for a in (x, w, g))
    rank = x.ndim - 2
    for o in product(*map(range, g.shape[1:-1])):
        for k in product(*map(range, w.shape[:rank])):
            i = tuple(o[a] * strides[a] + k[a] * dilation[a] - padding[a][0] for a in range(rank))
            if all(0 <= i[a] < x.shape[1 + a] for a in range(rank)):
                here, there = (slice(None), *o), (slice(None), *i)
                y[here] += x[there] * w[k][0]
                x_bar[there] += g[here] * w[k][0]
                w_bar[k][0] += (x[there] * g[here]).sum(0)
    return y, x_bar, w_bar


def recipes(x, w, g, strides, padding, dilation):
    """The three recipes with their operands."""
    c = x.shape[-1]
    geometry = (strides, padding, dilation, c)
    return [
        (conv_recipes.conv(x.shape, steps(x), w.shape, steps(w), x.dtype, *geometry, g.shape[1:-1]), [x, w]),
        (conv_recipes.conv_input_grad(g.shape, steps(g), w.shape, steps(w), x.dtype, x.shape, *geometry), [g, w]),
        (conv_recipes.conv_weight_grad(x.shape, steps(x), g.shape, steps(g), x.dtype, w.shape[:-2], *geometry), [x, g]),
    ]


def is_depthwise(made):
    return isinstance(made.phases[-1].spec, Depthwise | DepthwiseWeights)


def all_three(x, w, g, **geometry):
    """Results, all of them by depthwise kernels, on one thread and on two the same."""
    results = []
    for made, operands in recipes(x, w, g, **geometry):
        assert is_depthwise(made)
        found = []
        for n in (1, 2):
            with threads(n):
                found.append(recipe.run(made, operands, x.dtype))
        assert found[0].tobytes() == found[1].tobytes()
        results.append(found[0])
    return results


def check(x, w, g, **geometry):
    """Values and gradients are exact, for integers."""
    for got, expected in zip(all_three(x, w, g, **geometry), by_definition(x, w, g, **geometry), strict=True):
        assert got.dtype == x.dtype
        np.testing.assert_array_equal(got, expected)


def arrays(seed, dtype, x_shape, window, strides, padding, dilation):
    """x, w, g of integers, and the geometry."""
    out, c = output_of(x_shape[1:-1], window, strides, padding, dilation), x_shape[-1]
    rng = np.random.default_rng(seed)
    shapes = x_shape, (*window, 1, c), (x_shape[0], *out, c)
    return [integers(rng, shape, dtype) for shape in shapes], {"strides": strides, "padding": padding, "dilation": dilation}


@st.composite
def problems(draw, spatial=(17, 11, 5), taps=(7, 5, 3), channels=40):
    """Arguments of `arrays` whose result is not empty."""
    rank = draw(st.integers(1, 3))

    def each(low, high):
        return tuple(draw(st.integers(low, high)) for _ in range(rank))

    x_shape = (draw(st.integers(1, 3)), *each(1, spatial[rank - 1]), draw(st.integers(2, channels)))
    window, strides, dilation = each(1, taps[rank - 1]), each(1, 4), each(1, 3)
    low, more = each(0, 3), each(0, 3)
    missing = [max(0, d * (k - 1) + 1 - n - p) for d, k, n, p in zip(dilation, window, x_shape[1:-1], low, strict=True)]
    padding = tuple((p, m + q) for p, m, q in zip(low, missing, more, strict=True))
    return draw(st.integers(0, 2**32)), draw(st.sampled_from(DTYPES)), x_shape, window, strides, padding, dilation


@examples(60)
@given(problems(), machines())
def test_values_and_gradients(problem, machine):
    (x, w, g), geometry = arrays(*problem)
    with machine():
        check(x, w, g, **geometry)


@examples(25)
@given(problems(), st.sampled_from(["odd offset", "gaps"]), st.integers(0, 2**32))
def test_views_whose_channels_are_neighbours(problem, layout, seed):
    (x, w, g), geometry = arrays(*problem)
    rng = np.random.default_rng(seed)
    check(laid_out(x, layout, rng)[1], w, laid_out(g, layout, rng)[1], **geometry)


SAME = {"strides": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1)}


@pytest.mark.smoke
@pytest.mark.parametrize("stride", [1, 2])
def test_layers_of_mobilenet(stride):
    """Real numbers, and enough work for several pieces and chunks."""
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(s).astype(np.float32) for s in ((4, 28, 28, 72), (3, 3, 1, 72)))
    g = rng.standard_normal((4, 28 // stride, 28 // stride, 72)).astype(np.float32)
    geometry = SAME | {"strides": (stride, stride)}
    for got, expected in zip(all_three(x, w, g, **geometry), by_definition(x, w, g, **geometry), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("registers", [16, 32])
@pytest.mark.parametrize("channels", range(2, 36, 3))
def test_channels_of_every_residue(channels, registers):
    (x, w, g), geometry = arrays(channels, np.dtype(np.float32), (2, 6, 9, channels), (3, 3), **SAME)
    with small_machine(32, registers):
        check(x, w, g, **geometry)


@pytest.mark.parametrize("size", range(1, 24))
def test_columns_of_every_residue(size):
    (x, w, g), geometry = arrays(size, np.dtype(np.float64), (1, 4, size, 5), (2, 4), (1, 2), ((1, 0), (3, 2)), (1, 1))
    check(x, w, g, **geometry)


@pytest.mark.parametrize(
    ("x_shape", "window", "stride"),
    [
        ((1, 4000, 16), (3,), 1),
        ((1, 3000, 33), (9,), 2),
        ((1, 2, 900, 70), (2, 7), 1),
        ((2, 300, 2, 24), (7, 1), 3),
        ((1, 70, 80), (MOST_TAPS,), 1),
        ((1, 20, 19, 40), (9, 9), 1),
        ((1, 9, 8, 10, 40), (3, 3, 3), 2),
    ],
)
def test_rows_cut_and_windows_that_are_long(x_shape, window, stride):
    rank = len(window)
    padding = tuple((k // 2, k // 2) for k in window)
    (x, w, g), geometry = arrays(1, np.dtype(np.float32), x_shape, window, (stride,) * rank, padding, (1,) * rank)
    check(x, w, g, **geometry)


def test_what_is_left_to_the_general_convolution():
    """Channels that are not neighbours in memory, windows beyond `MOST_TAPS`, several results of a channel."""
    (x, w, g), geometry = arrays(0, np.dtype(np.float32), (2, 8, 9, 6), (3, 3), **SAME)
    apart = [np.asarray(a.transpose(0, 3, 1, 2), order="C").transpose(0, 2, 3, 1) for a in (x, g)]
    others = recipes(apart[0], w, apart[1], **geometry)[:2] + recipes(apart[0], w, g, **geometry)[2:]
    long, its_geometry = arrays(0, np.dtype(np.float32), (1, 80, 6), (MOST_TAPS + 1,), (1,), ((0, 0),), (1,))
    assert not any(is_depthwise(made) for made, _ in others + recipes(*long, **its_geometry))
    for (made, operands), expected in zip(others, by_definition(x, w, g, **geometry), strict=True):
        np.testing.assert_array_equal(recipe.run(made, operands, x.dtype), expected)
    twice = conv_recipes.conv(x.shape, steps(x), (3, 3, 1, 12), steps(w), x.dtype, *geometry.values(), 6, g.shape[1:-1])
    assert not is_depthwise(twice)


def test_padding_is_left_out():
    """Infinite weights of taps that never meet the input do not matter."""
    (x, w, g), _ = arrays(0, np.dtype(np.float32), (2, 1, 1, 20), (3, 3), **SAME)
    w[0], w[2], w[:, 0], w[:, 2] = np.inf, np.inf, np.inf, np.nan
    y, x_bar = [recipe.run(made, operands, x.dtype) for made, operands in recipes(x, w, g, **SAME)[:2]]
    np.testing.assert_array_equal(y, x * w[1, 1, 0])
    np.testing.assert_array_equal(x_bar, g * w[1, 1, 0])


def test_nothing_outside_of_the_arrays_is_touched(fence, child):
    def run():
        for at_end in (True, False):
            fenced = fence(at_end)
            for dtype, c in ((np.float32, 20), (np.float64, 9)):
                for stride in (1, 2):
                    (x, w, g), geometry = arrays(0, np.dtype(dtype), (2, 7, 9, c), (3, 3), **(SAME | {"strides": (stride,) * 2}))
                    for made, operands in recipes(*(fenced.around(a) for a in (x, w, g)), **geometry):
                        recipe.run(made, operands, x.dtype)

    child(run)


def test_results_of_steps_are_the_same():
    """Taken into a program, with code on the result where it is stored."""
    import fad
    from fad import nn

    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 9, 10, 20)).astype(np.float32), rng.standard_normal((3, 3, 1, 20)).astype(np.float32)

    def loss(w, x):
        return fad.numpy.sum(fad.numpy.square(nn.relu(nn.conv(x, w, groups=20) + 0.5)))

    gradient = fad.grad(loss)
    np.testing.assert_allclose(fad.jit(gradient)(w, x), gradient(w, x), rtol=1e-4, atol=1e-3)
