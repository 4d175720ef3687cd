"""Pooling kernels against windows taken one at a time with NumPy."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fad.compile.kernels.pool_recipes import RECIPES, max_pool, max_pool_grad, max_pool_push, sum_pool, sum_pool_grad
from fad.compile.kernels.pooling import Plane, Share, Side, Spread
from fad.compile.kernels.recipe import compiled, fill
from fad.errors import DtypeError, ShapeError
from fad.kernels.windows import strides_of
from fad.native.threads import get_num_threads, set_num_threads

from .oracle import examples

SPECIAL = [-np.inf, -1.0, 0.0, 2.0, np.inf, np.nan]  # few, so that ties and NaN are common


def windows_of(shape, window, strides, padding):
    """(output shape, list of (output position, slices of the input)) by definition; slices may be empty."""
    spatial = shape[1:-1]
    out = [
        max(0, (size + low + high - taps) // stride + 1)
        for size, taps, stride, (low, high) in zip(spatial, window, strides, padding, strict=True)
    ]
    pairs = []
    for o in product(*map(range, out)):
        starts = [i * stride - low for i, stride, (low, _) in zip(o, strides, padding, strict=True)]
        pairs.append((o, tuple(slice(max(0, a), max(0, a + taps)) for a, taps in zip(starts, window, strict=True))))
    return (shape[0], *out, shape[-1]), pairs


def by_definition(x, t, g, geometry):
    """What the five functions give, and the size of what was added up in the sums."""
    shape, pairs = windows_of(x.shape, **geometry)
    largest, push, sums = np.zeros(shape, x.dtype), np.zeros(shape, x.dtype), np.zeros(shape)
    pull, spread, size = (np.zeros(x.shape) for _ in range(3))
    axes = tuple(range(1, x.ndim - 1))
    for o, part in pairs:
        here, window = (slice(None), *o), (slice(None), *part)
        patch = x[window]
        flat = patch.reshape(x.shape[0], np.prod(patch.shape[1:-1], dtype=int), x.shape[-1])
        first = np.argmax(flat, axis=1)[:, None] if flat.size else None
        if first is not None:
            largest[here] = np.take_along_axis(flat, first, 1)[:, 0]
            push[here] = np.take_along_axis(t[window].reshape(flat.shape), first, 1)[:, 0]
            one = np.zeros(flat.shape)
            np.put_along_axis(one, first, g[here][:, None], 1)
            pull[window] += one.reshape(patch.shape)
        sums[here] = t[window].sum(axes, dtype=float)
        spread[window] += np.expand_dims(g[here], axes)
        size[window] += np.expand_dims(np.abs(g[here]), axes)
    return {"max_pool": largest, "max_pool_push": push, "max_pool_grad": pull, "sum_pool": sums, "sum_pool_grad": spread}, size


def results(x, t, g, geometry):
    """The same by the kernels."""
    return {
        "max_pool": max_pool(x, **geometry),
        "max_pool_push": max_pool_push(x, t, **geometry),
        "max_pool_grad": max_pool_grad(x, g, **geometry),
        "sum_pool": sum_pool(t, **geometry),
        "sum_pool_grad": sum_pool_grad(g, x.shape, **geometry),
    }


@st.composite
def problems(draw, channels=st.sampled_from([0, 1, 2, 3, 5, 16, 37, 150]), least=0):
    """(x, t, g, geometry) such that every window meets the input."""
    rank = draw(st.integers(1, 3))

    def each(low, high):
        return tuple(draw(st.integers(low, high)) for _ in range(rank))

    shape = (draw(st.integers(least, 3)), *each(1, 8 if rank < 3 else 5), draw(channels))
    window = each(1, 4) if draw(st.integers(0, 9)) else each(1, 20)
    strides = window if draw(st.booleans()) else each(1, 4)
    padding = tuple((draw(st.integers(0, k - 1)), draw(st.integers(0, k - 1))) for k in window)
    geometry = {"window": window, "strides": strides, "padding": padding}
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    x = rng.choice(SPECIAL if draw(st.booleans()) else np.arange(-3.0, 4.0), shape).astype(dtype)
    t, g = (rng.standard_normal(s).astype(dtype) for s in (shape, windows_of(shape, **geometry)[0]))
    return x, t, g, geometry


def assert_right(found, x, t, g, geometry):
    expected, size = by_definition(x, t, g, geometry)
    for name, want in expected.items():
        got = found[name]
        assert got.dtype == x.dtype
        if name in ("max_pool", "max_pool_push"):
            np.testing.assert_array_equal(got, want)
        else:
            near = 50 * np.finfo(x.dtype).eps * (1 + (size if "grad" in name else np.abs(t).sum()))
            assert got.shape == want.shape
            assert np.all(np.abs(got - want) <= near), name


@examples(60)
@given(problems())
def test_against_the_definition(problem):
    assert_right(results(*problem), *problem)


@examples(15)
@given(problems(st.sampled_from([1, 3, 18])), st.data())
def test_memory_layouts(problem, data):
    """Channels that are not neighbours, rows in reverse order, elements that repeat, bytes out of place."""
    x, t, g, geometry = problem

    def laid_out(a):
        kind = data.draw(st.sampled_from(["channels first", "reversed", "every other", "unaligned"]))
        if kind == "channels first":
            return np.moveaxis(np.ascontiguousarray(np.moveaxis(a, -1, 1)), 1, -1)
        if kind == "reversed":
            return np.ascontiguousarray(a[::-1, ::-1, ..., ::-1])[::-1, ::-1, ..., ::-1]
        if kind == "every other":
            return np.repeat(np.repeat(a, 2, -1), 2, 1)[:, ::2, ..., ::2]
        return np.frombuffer(b"." + a.tobytes(), np.uint8)[1:].view(a.dtype).reshape(a.shape) if a.size else a

    assert_right(results(laid_out(x), laid_out(t), laid_out(g), geometry), *problem)
    repeated = np.broadcast_to(g[:, :1], g.shape)
    assert_right(results(x, t, repeated, geometry), x, t, repeated, geometry)


@examples(15)
@given(problems(least=1))
def test_any_number_of_threads_gives_the_same_bits(problem):
    threads = get_num_threads()
    expected = results(*problem)
    try:
        for n in {1, threads}:
            set_num_threads(n)
            for name, found in results(*problem).items():
                assert found.tobytes() == expected[name].tobytes(), name
    finally:
        set_num_threads(threads)


def cut(recipe, shares):
    """A recipe whose rows are cut in so many shares."""
    phases = tuple(replace(p, spec=replace(p.spec, shares=shares)) for p in recipe.phases)
    return replace(recipe, phases=phases)


def test_no_memory_outside_is_touched_however_rows_are_cut(fence, child):
    @examples(25)
    @given(problems(st.sampled_from([1, 5, 18]), least=1), st.integers(2, 5), st.booleans())
    def law(problem, shares, at_end):
        x, t, g, geometry = problem
        assume(g.size)
        memory, runs, found = fence(at_end), [], {}
        operands = {"max_pool": [x], "max_pool_push": [x, t], "max_pool_grad": [x, g], "sum_pool": [t], "sum_pool_grad": [g]}
        for name, arrays in operands.items():
            more = {"input_shape": x.shape} if name == "sum_pool_grad" else {}
            shapes = tuple(a.shape for a in arrays)
            recipe = cut(RECIPES[name](shapes, tuple(map(strides_of, shapes)), x.dtype, **geometry, **more), shares)
            compiled(recipe, x.dtype)
            found[name] = memory.around(np.full(recipe.shape, np.nan, x.dtype))
            scratch = [memory.around(np.full(n, np.nan, x.dtype)) for n in recipe.scratch]
            runs.append((recipe, [memory.around(a) for a in arrays], scratch, found[name]))

        def run():
            for r in runs:
                fill(*r)
            assert_right(found, *problem)

        child(run)

    law()


@pytest.mark.smoke
def test_first_maximum_nan_and_padding():
    def places(values, padding=(0, 0), stride=3):
        x = np.array(values, float).reshape(1, -1, 1)
        t = np.arange(x.size, dtype=float).reshape(x.shape)
        geometry = (3,), (stride,), (padding,)
        first = max_pool_push(x, t, *geometry)
        back = max_pool_grad(x, np.ones(first.shape), *geometry).ravel()
        assert np.flatnonzero(back).tolist() == sorted(set(first.ravel().tolist()))
        return first.ravel().tolist()

    assert places([1, 5, 5]) == [1]
    assert places([5, np.nan, np.nan]) == [1]
    assert places([np.inf, np.nan, np.inf]) == [1]
    assert places([-1, -2], (1, 0)) == [0]
    assert places([-np.inf, -np.inf], (1, 0)) == [0]
    assert places([0.0, -0.0, 0.0]) == [0]
    assert places([np.nan, 1, 1, np.nan, 3], stride=1) == [0, 3, 3]
    assert places([-np.inf, 1, 1, 1, 0], (2, 2), stride=1) == [0, 1, 1, 1, 2, 3, 4]


def test_how_gradients_of_maxima_are_made():
    """Small windows that do not overlap are looked at twice; others are numbered first, in as few bytes as it takes."""

    def specs(window, stride, channels=4):
        recipe = RECIPES["max_pool_grad"](
            ((1, 40, 40, channels), (1, 40, 40, channels)),
            ((1, 1, 1, 1),) * 2,
            np.dtype(np.float32),
            window=(window,) * 2,
            strides=(stride,) * 2,
            padding=((0, 0),) * 2,
        )
        return [type(p.spec) for p in recipe.phases], getattr(recipe.phases[-1].spec, "codes", "")

    assert specs(2, 2) == specs(2, 3) == ([Share], "")
    assert specs(3, 2)[1] == specs(7, 7)[1] == "i8"
    assert specs(17, 2)[1] == specs(3, 2, 6)[1] == "i16"
    assert specs(3, 2, 3)[1] == "i32"


SIDES = st.builds(
    Side,
    inputs=st.integers(1, 12),
    outputs=st.integers(1, 6),
    taps=st.integers(1, 9),
    stride=st.integers(1, 5),
    low=st.integers(0, 5),
)


@given(SIDES)
def test_windows_that_lie_in_the_input(side):
    inside = [
        0 <= o * side.stride - side.low and o * side.stride - side.low + side.taps <= side.inputs for o in range(side.outputs)
    ]
    first, stop = side.whole
    assert inside == [first <= o < stop for o in range(side.outputs)]
    assert side.inside == all(inside)


@given(SIDES)
def test_windows_that_hold_an_input(side):
    first, stop = Spread(Plane((side,), 1, 4, "float"), (1, 1, 1)).whole
    assert 0 <= first <= stop <= side.inputs
    for i in range(side.inputs):
        true = [(o, i - o * side.stride + side.low) for o in range(-20, 40) if 0 <= i - o * side.stride + side.low < side.taps]
        found = [(i // side.stride + d, tap) for d, tap in side.holders[i % side.stride]]
        assert sorted(found) == true
        assert not first <= i < stop or all(0 <= o < side.outputs for o, _ in true)


def test_inputs_are_not_modified(guarded):
    rng = np.random.default_rng(0)
    x, t, g = (guarded(rng.standard_normal(s)) for s in ((2, 5, 4, 3), (2, 5, 4, 3), (2, 5, 2, 3)))
    results(x.array, t.array, g.array, {"window": (2, 2), "strides": (1, 2), "padding": ((1, 0), (0, 1))})
    for a in (x, t, g):
        a.check()


def test_a_window_in_padding_alone_is_fine_for_sums_only():
    x = np.ones((1, 2, 1))
    np.testing.assert_array_equal(sum_pool(x, (2,), (2,), ((2, 2),)).ravel(), [0, 2, 0])
    np.testing.assert_array_equal(sum_pool_grad(np.ones((1, 3, 1)), x.shape, (2,), (2,), ((2, 2),)).ravel(), [1, 1])
    for padding in ((2, 0), (0, 2)):
        for pool in (
            max_pool,
            lambda x, *geometry: max_pool_push(x, x, *geometry),
            lambda x, *geometry: max_pool_grad(x, np.ones((1, 2, 1)), *geometry),
        ):
            with pytest.raises(ShapeError, match="entirely in padding"):
                pool(x, (2,), (2,), (padding,))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"window": (2,)}, ShapeError),
        ({"window": (0, 2)}, ShapeError),
        ({"strides": (1, 0)}, ShapeError),
        ({"padding": ((0, 0), (0, -1))}, ShapeError),
        ({"x": np.ones((1, 4))}, ShapeError),
        ({"x": np.ones((1, 4, 4, 1), int)}, DtypeError),
        ({"x": np.ones((1, 4, 4, 1), np.float16)}, DtypeError),
    ],
)
@pytest.mark.parametrize("pool", [max_pool, sum_pool])
def test_bad_arguments(pool, change, error):
    plain = {"x": np.ones((1, 4, 4, 1)), "window": (2, 2), "strides": (2, 2), "padding": ((0, 0), (0, 0))}
    with pytest.raises(error):
        pool(**(plain | change))


def test_bad_tangents_and_cotangents():
    x = np.ones((1, 5, 1))
    for call in (
        lambda: sum_pool_grad(np.ones((1, 2, 1)), x.shape, (2,), (1,), ((0, 0),)),
        lambda: max_pool_grad(x, np.ones((1, 2, 1)), (2,), (1,), ((0, 0),)),
        lambda: max_pool_push(x, np.ones((1, 4, 1)), (2,), (1,), ((0, 0),)),
    ):
        with pytest.raises(ShapeError):
            call()
