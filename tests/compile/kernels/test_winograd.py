"""Convolutions with 3 x 3 windows through Winograd's transformations against their definition, and how they round."""

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fad.compile.kernels import conv_recipes, winograd, winograd_recipes
from fad.compile.kernels.conv import conv, conv_input_grad, conv_weight_grad
from fad.compile.kernels.winograd import Tiling, Winograd, gains
from fad.compile.kernels.winograd_weights import Summed
from fad.kernels.windows import strides_of

from .oracle import (
    DTYPES,
    arrays_of,
    assert_between_fences,
    convolution,
    examples,
    forget,
    integers,
    laid_out,
    machines,
    output_of,
    recipes_of,
    steps,
    threads,
)


@contextlib.contextmanager
def always(wanted=True):
    """Every convolution that can be made so is, or none."""
    before, winograd_recipes.gains = winograd_recipes.gains, lambda *shape: wanted
    forget()
    try:
        yield
    finally:
        winograd_recipes.gains = before
        forget()


@st.composite
def problems(draw):
    """As the oracle's problems, with windows of 3 x 3 that move by one."""
    pads = st.tuples(st.integers(0, 4), st.integers(0, 4))
    padding = draw(pads), draw(pads)
    size = tuple(draw(st.integers(max(1, 3 - sum(pad)), 9)) for pad in padding)
    channels = st.integers(1, 20) | st.sampled_from([31, 32, 33, 48, 70])
    depth, width = draw(channels), draw(channels)
    geometry = {"strides": (1, 1), "padding": padding, "dilation": (1, 1), "groups": 1}
    x_shape, w_shape = (draw(st.integers(1, 4)), *size, depth), (3, 3, depth, width)
    return x_shape, w_shape, draw(st.sampled_from(DTYPES)), draw(st.integers(0, 2**32)), geometry


def all_three(x, w, g, geometry):
    return conv(x, w, **geometry), conv_input_grad(g, w, x.shape, **geometry), conv_weight_grad(x, g, (3, 3), **geometry)


def assert_all_three(x, w, g, geometry):
    """Exact, for integers: transformations only add, subtract and halve."""
    for got, expected in zip(all_three(x, w, g, geometry), convolution(x, w, g, **geometry), strict=True):
        assert got.dtype == x.dtype
        np.testing.assert_array_equal(got, expected)


@examples(50)
@given(problems(), machines(), st.integers(1, 2))
def test_values_and_gradients(problem, machine, n):
    with machine(), always(), threads(n):
        assert_all_three(*arrays_of(problem)[0], problem[-1])


@examples(25)
@given(
    problems(),
    st.sampled_from(["odd offset", "gaps", "channels first"]),
    st.sampled_from(["odd offset", "reversed", "channels first"]),
)
def test_views(problem, x_layout, g_layout):
    """Steps between images, rows and columns are free; elements between those of a view are NaN."""
    (x, w, g), rng = arrays_of(problem)
    x, g = laid_out(x, x_layout, rng)[1], laid_out(g, g_layout, rng)[1]
    with always():
        assert_all_three(x, w, g, problem[-1])


@examples(25)
@given(problems(), st.booleans(), machines())
def test_nothing_outside_is_touched(problem, at_end, machine):
    """Operands, scratch memory and results lie between pages that may not be touched."""
    from tests.guards import Fence, in_a_child

    fences, ((x, w, g), _) = Fence(at_end), arrays_of(problem)
    x, w, g = map(fences.around, (x, w, g))
    with machine(), always():
        made = recipes_of(problem, x, w, g, g)
        in_a_child(lambda: assert_between_fences(made, x.dtype, fences))


SAME = {"strides": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}


@pytest.mark.parametrize("images, size, depth, width", [(3, (30, 31), 40, 50), (30, (14, 9), 16, 130), (1, (5, 40), 130, 17)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_more_than_one_block_of_work(images, size, depth, width, dtype):
    rng = np.random.default_rng(0)
    x, w, g = (integers(rng, s, dtype) for s in ((images, *size, depth), (3, 3, depth, width), (images, *size, width)))
    with always():
        assert_all_three(x, w, g, SAME)


def test_shares_of_the_panels(monkeypatch):
    """Where there are more threads than pieces, columns are work for several of them."""
    monkeypatch.setattr(winograd_recipes, "get_num_threads", lambda: 16)
    rng = np.random.default_rng(0)
    x, w, g = (integers(rng, s, np.float32) for s in ((2, 8, 8, 30), (3, 3, 30, 213), (2, 8, 8, 213)))
    with always():
        made = conv_recipes.conv(x.shape, steps(x), w.shape, steps(w), x.dtype, **SAME, output=(8, 8))
        assert made.phases[-1].spec.shares > 1
        made = conv_recipes.conv_weight_grad(x.shape, steps(x), g.shape, steps(g), x.dtype, (3, 3), **SAME)
        assert made.phases[0].spec.shares > 1
        assert_all_three(x, w, g, SAME)


def test_the_number_of_threads_changes_nothing():
    rng = np.random.default_rng(0)
    x, w, g = (rng.standard_normal(s).astype(np.float32) for s in ((4, 20, 21, 32), (3, 3, 32, 40), (4, 20, 21, 40)))
    results = []
    for n in (1, 2, 2):
        with always(), threads(n):
            results.append(all_three(x, w, g, SAME))
    for one, two, again in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(two, again)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rounding(dtype):
    """Errors against the sum of the products' magnitudes at each element: near those of the definition, for values and gradients."""
    rng = np.random.default_rng(0)
    x, w, g = (rng.standard_normal(s).astype(dtype) for s in ((4, 20, 20, 64), (3, 3, 64, 64), (4, 20, 20, 64)))
    w, x = (
        w * 10 ** rng.uniform(-2, 2, w.shape[3:]).astype(dtype),
        x * 10 ** rng.uniform(-2, 2, x.shape[:3])[..., None].astype(dtype),
    )
    exact = (
        all_three(*(a.astype(np.longdouble).astype(float) for a in (x, w, g)), SAME)
        if dtype == np.float32
        else convolution(x, w, g, **SAME)
    )
    sizes = convolution(abs(x), abs(w), abs(g), **SAME)
    with always():
        transformed = all_three(x, w, g, SAME)
    with always(False):
        direct = all_three(x, w, g, SAME)
    for one, other, expected, size in zip(transformed, direct, exact, sizes, strict=True):
        scale = size.max(axis=(0, 1, 2), keepdims=True)
        worst = [(abs(a - expected) / scale).max() / np.finfo(dtype).eps for a in (one, other)]
        assert worst[0] < 3
        assert worst[0] < 6 * max(worst[1], 0.5)


def test_what_is_not_finite_stays_in_its_window():
    x, w = np.ones((1, 9, 9, 20), np.float32), np.ones((3, 3, 20, 20), np.float32)
    x[0, 4, 5, 3] = np.inf
    with always():
        y = conv(x, w, **SAME)
    met = np.zeros((9, 9), bool)
    met[3:6, 4:7] = True
    np.testing.assert_array_equal(~np.isfinite(y[0]).all(-1), met)
    np.testing.assert_array_equal(np.isfinite(y[0]).any(-1), ~met)


def test_chosen_where_it_is_faster():
    """Layers of networks: many channels on maps that are not tiny; not images of three colours, nor weights read once."""

    def spec(images, size, depth, width, **other):
        geometry = SAME | other
        out = output_of((size, size), (3, 3), geometry["strides"], geometry["padding"], geometry["dilation"])
        x, w, g = (images, size, size, depth), (3, 3, depth // geometry["groups"], width), (images, *out, width)
        of, dtype = strides_of, DTYPES[0]
        made = [
            conv_recipes.conv(x, of(x), w, of(w), dtype, **geometry, output=out),
            conv_recipes.conv_input_grad(g, of(g), w, of(w), dtype, x, **geometry),
            conv_recipes.conv_weight_grad(x, of(x), g, of(g), dtype, (3, 3), **geometry),
        ]
        return [
            isinstance(m.phases[k].spec, kind) for m, k, kind in zip(made, (-1, -1, 0), (Winograd, Winograd, Summed), strict=True)
        ]

    images = (8, 32, 32, 64), (64 * 1024, 32, 1, 1024)  # with channels first
    made = [
        conv_recipes.conv(*images, (3, 3, 64, 64), strides_of((3, 3, 64, 64)), DTYPES[0], **SAME, output=(32, 32)),
        conv_recipes.conv_weight_grad(*images, (8, 32, 32, 64), strides_of((8, 32, 32, 64)), DTYPES[0], (3, 3), **SAME),
    ]
    assert isinstance(made[0].phases[-1].spec, Winograd) and isinstance(made[1].phases[1].spec, Summed)
    assert all(spec(32, 32, 64, 64)) and all(spec(1, 56, 128, 128))
    for images, size, depth, width in [(32, 32, 3, 64), (1, 7, 512, 512), (64, 3, 64, 64)]:
        assert not any(spec(images, size, depth, width))
    for other in ({"strides": (2, 2)}, {"dilation": (2, 2)}, {"groups": 2}):
        assert not any(spec(32, 32, 64, 64, **other))
    tiling = Tiling(1, (32, 32), (1, 1), (32, 32))
    assert tiling.taps == 94**2 and gains(tiling, 64, 64, 16) and not gains(tiling, 4, 64, 16)


def test_the_transformations():
    """A^T [(G w G^T) * (B^T d B)] A is the convolution of 4 x 4 by 3 x 3."""
    rng = np.random.default_rng(0)
    d, w = rng.integers(-5, 5, (4, 4)).astype(float), rng.integers(-5, 5, (3, 3)).astype(float)
    u = winograd.both_ways(winograd.of_filter, w.tolist())
    v = winograd.both_ways(winograd.of_input, d.tolist())
    m = np.multiply(u, v).reshape(4, 4).tolist()
    expected = [sum(d[i + a, j + b] * w[a, b] for a in range(3) for b in range(3)) for i in range(2) for j in range(2)]
    assert winograd.both_ways(winograd.of_result, m) == expected
