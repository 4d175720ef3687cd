"""Recipes: products of matrices in every layout, and all recipes between pages that may not be touched."""

import threading
import time
from itertools import product
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fad.compile.kernels import matmul_recipes, recipe
from fad.compile.kernels.conv import conv, conv_input_grad, conv_weight_grad
from fad.compile.kernels.recipe import grain
from fad.kernels.windows import stack_steps, strides_of
from fad.native.threads import get_num_threads

from .oracle import (
    DTYPES,
    LAYOUTS,
    arrays_of,
    assert_between_fences,
    examples,
    fits,
    forget,
    integers,
    laid_out,
    machines,
    problems,
    recipes_of,
    small_machine,
    steps,
    threads,
)


def matmul(a, b, around=lambda x: x):
    """a @ b by its recipe; scratch and result hold NaN before. ``around`` copies what is to be watched, as it lies."""
    made = matmul_recipes.matmul(a.shape, steps(a), b.shape, steps(b), a.dtype)
    out = around(np.full(made.shape, np.nan, a.dtype))
    recipe.fill(made, [a, b], [around(np.full(n, np.nan, a.dtype)) for n in made.scratch], out)
    return out


def transposable(rng, shape, dtype, transposed):
    x = integers(rng, shape if not transposed else (*shape[:-2], shape[-1], shape[-2]), dtype)
    return x.swapaxes(-1, -2) if transposed else x


# -- products of matrices ------------------------------------------------------------------------------------------------


SIDES = st.integers(1, 20) | st.sampled_from([31, 33, 64, 70, 100, 130])


@examples(80)
@given(SIDES, SIDES, SIDES, st.booleans(), st.booleans(), st.sampled_from(DTYPES), machines(), st.integers(0, 2**32))
def test_matrices(m, k, n, a_transposed, b_transposed, dtype, machine, seed):
    rng = np.random.default_rng(seed)
    a, b = transposable(rng, (m, k), dtype, a_transposed), transposable(rng, (k, n), dtype, b_transposed)
    with machine():
        np.testing.assert_array_equal(matmul(a, b), a @ b)


@pytest.mark.smoke
@pytest.mark.parametrize("a_transposed, b_transposed", list(product([False, True], [False, True])))
def test_every_residue_of_rows_depth_and_columns(a_transposed, b_transposed):
    rng = np.random.default_rng(0)
    with small_machine(16):  # 4 lanes: every residue comes soon
        for m, k, n in [
            *product((1, 2), (1, 5), range(1, 9)),
            *product((1, 3), range(1, 10), (1, 6)),
            *product(range(1, 9), (4, 7), (5,)),
        ]:
            a, b = transposable(rng, (m, k), DTYPES[0], a_transposed), transposable(rng, (k, n), DTYPES[0], b_transposed)
            np.testing.assert_array_equal(matmul(a, b), a @ b)


@pytest.mark.parametrize("a_transposed, b_transposed", list(product([False, True], [False, True])))
@pytest.mark.parametrize(
    "m, k, n",
    [
        (1, 300, 1),
        (1, 1000, 3),
        (500, 100, 1),
        (3, 2, 700),
        (1, 1, 1),
        (128, 784, 10),
        (17, 3, 33),
        (300, 5, 2),
        (2, 800, 65),
        (200, 150, 170),
        (5, 4000, 6),
        (60, 1000, 4),
    ],
)
def test_shapes_that_choose_differently(m, k, n, a_transposed, b_transposed):
    """Vectors, few columns, few rows, short and long depths: by windows, along the depth, by the gradient's kernel."""
    rng = np.random.default_rng(1)
    for dtype in DTYPES:
        a, b = transposable(rng, (m, k), dtype, a_transposed), transposable(rng, (k, n), dtype, b_transposed)
        np.testing.assert_array_equal(matmul(a, b), a @ b)


@examples(50)
@given(SIDES, SIDES, SIDES, st.sampled_from(LAYOUTS), st.sampled_from(LAYOUTS), st.sampled_from(DTYPES), st.integers(0, 2**32))
def test_views(m, k, n, a_layout, b_layout, dtype, seed):
    """Offsets, negative and zero strides; elements between those of a view are NaN."""
    rng = np.random.default_rng(seed)
    (_, a), (_, b) = laid_out(integers(rng, (m, k), dtype), a_layout, rng), laid_out(integers(rng, (k, n), dtype), b_layout, rng)
    np.testing.assert_array_equal(matmul(a, b), a @ b)


@examples(80)
@given(st.lists(st.integers(1, 3), min_size=1, max_size=3), st.data())
def test_stacks(stack, data):
    """Stacks of matrices, each operand a contiguous stack, one that is broadcast, or one matrix."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    dtype = data.draw(st.sampled_from(DTYPES))
    m, k, n = (data.draw(st.integers(1, 20) | st.just(50)) for _ in range(3))

    def operand(shape):
        kind = data.draw(st.sampled_from(["whole", "one", "transposed", "gaps"]))
        if kind == "one":
            return np.broadcast_to(integers(rng, shape, dtype), (*stack, *shape))
        if kind == "gaps":
            return integers(rng, (*stack, shape[0] + 2, shape[1] + 1), dtype)[..., 1:-1, 1:]
        return transposable(rng, (*stack, *shape), dtype, kind == "transposed")

    a, b = operand((m, k)), operand((k, n))
    with data.draw(machines())():
        np.testing.assert_array_equal(matmul(a, b), a @ b)


@pytest.mark.parametrize("columns", range(1, 9))
@pytest.mark.parametrize("depth", [15, 16, 64, 67, 300])
def test_few_columns(columns, depth):
    """With vectors along the depth, of a copy of b where that is large enough."""
    rng = np.random.default_rng(0)
    for dtype, rows in product(DTYPES, (15, 16, 40)):
        a, b = integers(rng, (rows, depth), dtype), integers(rng, (depth, columns), dtype)
        np.testing.assert_array_equal(matmul(a, b), a @ b)


def test_few_columns_of_a_long_depth_are_vectors_along_it():
    made = matmul_recipes.matmul((40, 300), (300, 1), (300, 3), (3, 1), DTYPES[0])
    assert (
        made.phases[-1].spec.across > 1
        and matmul_recipes.matmul((40, 300), (300, 1), (300, 30), (30, 1), DTYPES[0]).phases[-1].spec.across == 0
    )


def test_reversed_stacks():
    rng = np.random.default_rng(0)
    a, b = integers(rng, (4, 5, 6), np.float32), integers(rng, (4, 6, 40), np.float32)
    np.testing.assert_array_equal(matmul(a[::-1], b), a[::-1] @ b)
    np.testing.assert_array_equal(matmul(a, b[::-1]), a @ b[::-1])
    np.testing.assert_array_equal(matmul(a[::2], b[::-2]), a[::2] @ b[::-2])
    big = integers(rng, (4, 6, 140), np.float32)
    wide = integers(rng, (4, 60, 6), np.float32)
    for s in (slice(None, None, -1), slice(None, None, 2)):
        np.testing.assert_array_equal(matmul(wide[s], big[s]), wide[s] @ big[s])
        np.testing.assert_array_equal(matmul(wide[s], big.swapaxes(1, 2).copy()[s].swapaxes(1, 2)), wide[s] @ big[s])


def test_stacks_without_one_distance_have_no_recipe():
    a = np.broadcast_to(np.ones((2, 1, 3, 4), np.float32), (2, 5, 3, 4))
    b = np.ones((2, 5, 4, 6), np.float32)
    assert matmul_recipes.matmul(a.shape, steps(a), b.shape, steps(b), a.dtype) is None
    assert (
        matmul_recipes.matmul(b.swapaxes(0, 1).shape, steps(b.swapaxes(0, 1)), (5, 2, 6, 4), strides_of((5, 2, 6, 4)), a.dtype)
        is None
    )


@given(st.lists(st.integers(1, 4), max_size=4), st.integers(-9, 9), st.data())
def test_stack_steps(shape, step, data):
    """One distance d, if matrix number i of a stack lies at i * d; of one matrix it is 0."""
    strides = data.draw(
        st.one_of(
            st.just([step * s for s in strides_of(tuple(shape))]),
            st.just([0] * len(shape)),
            st.lists(st.integers(-9, 9), min_size=len(shape), max_size=len(shape)),
        )
    )
    found = stack_steps(tuple(shape), tuple(strides))
    places = [sum(i * s for i, s in zip(index, strides, strict=True)) for index in np.ndindex(*shape)]
    if found is None:
        assert len(places) > 2 and len(set(np.diff(places))) > 1
    else:
        assert places == [i * found for i in range(len(places))]


# -- choices -----------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 5), max_size=4))
def test_strides_of(shape):
    assert strides_of(tuple(shape)) == steps(np.zeros(shape))


class Spec:
    def __init__(self, pieces, work):
        self.pieces, self.work = pieces, work


@given(st.integers(1, 10_000), st.floats(0, 1e12))
def test_grain(pieces, work):
    """At least eight portions where there are as many pieces."""
    g = grain(Spec(pieces, work))
    assert 1 <= g <= pieces and (-(-pieces // g) >= min(pieces, 8) or pieces < 64)


def test_recipes_are_made_once():
    arguments = (9, 20), (20, 1), (20, 30), (30, 1), DTYPES[0]
    assert matmul_recipes.matmul(*arguments) is matmul_recipes.matmul(*arguments)
    start = time.perf_counter()
    for _ in range(1000):
        matmul_recipes.matmul(*arguments)
    assert time.perf_counter() - start < 0.1


@examples(20)
@given(problems(batch=(1, 2)).filter(fits), st.integers(1, 12))
def test_every_choice_of_a_tile(problem, choice):
    """What autotuning may choose."""
    (x, w, g), _ = arrays_of(problem)
    for one, operands, expected in recipes_of(problem, x, w, g, g, choice):
        np.testing.assert_array_equal(recipe.run(one, operands, x.dtype), expected)


@pytest.mark.parametrize("choice", [1, 2, 3, 100])
def test_every_choice_of_a_product(choice):
    rng = np.random.default_rng(0)
    for m, k, n in [(37, 50, 70), (300, 20, 17), (64, 300, 3)]:
        for a_transposed, b_transposed in product([False, True], [False, True]):
            a, b = transposable(rng, (m, k), DTYPES[0], a_transposed), transposable(rng, (k, n), DTYPES[0], b_transposed)
            made = matmul_recipes.matmul(a.shape, steps(a), b.shape, steps(b), a.dtype, choice)
            np.testing.assert_array_equal(recipe.run(made, [a, b], a.dtype), a @ b)


# -- memory ------------------------------------------------------------------------------------------------------------


def fenced(x, layout, rng, fences):
    """x in some layout, in memory of its own whose ends are guarded."""
    memory, view = laid_out(x, layout, rng)
    copy = fences.around(memory)
    origin = view.__array_interface__["data"][0] - memory.__array_interface__["data"][0]
    return np.ndarray(x.shape, x.dtype, copy, origin, view.strides) if memory.size else copy.reshape(x.shape)


TIGHT = [
    "contiguous",
    "channels first",
    "reversed",
    "reversed axes",
    "one for all",
]  # some element is the first in memory, one the last


@pytest.mark.parametrize("at_end", [True, False])
def test_a_touch_outside_ends_the_process(at_end, fence, child):
    """The guards do what they are there for."""
    x = fence(at_end).around(np.ones(5, np.float32))
    child(lambda: x.sum())
    view = np.lib.stride_tricks.as_strided(x[:1], (2,), (20 if at_end else -4,))
    for touch in (view.sum, lambda: view.fill(1)):
        with pytest.raises(AssertionError, match="SIG"):
            child(touch)


@examples(30)
@given(problems(batch=(1, 2)).filter(fits), st.sampled_from(TIGHT), st.sampled_from(TIGHT), st.booleans(), machines())
def test_convolutions_touch_nothing_outside(problem, x_layout, g_layout, at_end, machine):
    from tests.guards import Fence, in_a_child

    fences = Fence(at_end)
    (x, w, g), rng = arrays_of(problem)
    x, w, g = fenced(x, x_layout, rng, fences), fences.around(w), fenced(g, g_layout, rng, fences)
    with machine():
        made = recipes_of(problem, x, w, g, fences.around(g))

        in_a_child(lambda: assert_between_fences(made, x.dtype, fences))


@examples(40)
@given(
    SIDES,
    SIDES,
    SIDES,
    st.booleans(),
    st.booleans(),
    st.sampled_from([(), (1,), (3,)]),
    st.sampled_from(DTYPES),
    st.booleans(),
    machines(),
)
def test_matrices_touch_nothing_outside(m, k, n, a_transposed, b_transposed, stack, dtype, at_end, machine):
    from tests.guards import Fence, in_a_child

    fences, rng = Fence(at_end), np.random.default_rng(0)

    def operand(shape, transposed):
        return fences.around(integers(rng, (*stack, *(shape[::-1] if transposed else shape)), dtype)).swapaxes(
            -1, -2 if transposed else -1
        )

    a, b = operand((m, k), a_transposed), operand((k, n), b_transposed)
    with machine():
        in_a_child(lambda: np.testing.assert_array_equal(matmul(a, b, fences.around), a @ b))


@pytest.mark.parametrize("at_end", [True, False])
def test_larger_products_touch_nothing_outside(at_end, fence, child):
    """Such that threads share them, weights are packed and sums come in chunks."""
    fences, rng = fence(at_end), np.random.default_rng(0)

    def touch():
        for m, k, n in [(130, 200, 70), (3, 900, 5), (70, 3000, 3), (257, 64, 129)]:
            for a_transposed, b_transposed in product([False, True], [False, True]):
                a, b = (
                    fences.around(integers(rng, s[::-1] if t else s, DTYPES[0]))
                    for s, t in (((m, k), a_transposed), ((k, n), b_transposed))
                )
                a, b = a.T if a_transposed else a, b.T if b_transposed else b
                np.testing.assert_array_equal(matmul(a, b, fences.around), a @ b)

    child(touch)


# -- threads -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("m, k, n", [(300, 200, 250), (4, 3000, 50), (2000, 30, 3), (64, 784, 512), (500, 500, 1)])
def test_results_do_not_depend_on_threads_or_the_run(m, k, n):
    rng = np.random.default_rng(0)
    for a_transposed, b_transposed in product([False, True], [False, True]):
        a = rng.standard_normal((k, m) if a_transposed else (m, k), np.float32)
        b = rng.standard_normal((n, k) if b_transposed else (k, n), np.float32)
        a, b = a.T if a_transposed else a, b.T if b_transposed else b
        results = []
        for count in [1, *[get_num_threads()] * 3]:
            with threads(count):
                results.append(matmul(a, b).tobytes())
        assert results == results[:1] * 4
        size = np.abs(a).astype(float) @ np.abs(b)
        assert (np.abs(np.frombuffer(results[0], np.float32).reshape(m, n) - a.astype(float) @ b) <= k * 6e-8 * size).all()


@examples(20)
@given(problems(batch=(1, 2)).filter(fits), st.sampled_from([8, 16, 24, 40]), st.sampled_from([16, 32]))
def test_any_number_of_registers(problem, registers, vector_bytes):
    (x, w, g), _ = arrays_of(problem)
    with small_machine(vector_bytes, registers):
        for one, operands, expected in recipes_of(problem, x, w, g, g):
            np.testing.assert_array_equal(recipe.run(one, operands, x.dtype), expected)
            assert prod(one.shape) == expected.size


def all_kernels():
    """Recipes of several phases, chunks among them, as bytes."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((8, 14, 14, 16), np.float32), rng.standard_normal((3, 3, 16, 40), np.float32)
    geometry = (1, 1), ((1, 1), (1, 1)), (1, 1)
    y = conv(x, w, *geometry)
    return [a.tobytes() for a in (y, conv_input_grad(y, w, x.shape, *geometry), conv_weight_grad(x, y, (3, 3), *geometry))]


def test_several_python_threads_at_once():
    """From the start, so that they compile at once, and later."""
    forget()
    results, barrier = [], threading.Barrier(4)

    def work():
        barrier.wait()
        for _ in range(5):
            results.append(all_kernels())

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(results) == 20 and results == results[:1] * 20


def test_a_forked_child(child):
    expected = all_kernels()

    def work():
        assert all_kernels() == expected
        forget()
        assert all_kernels() == expected  # compiled there

    child(work)
    assert all_kernels() == expected
