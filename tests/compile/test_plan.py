"""Memory: buffers that are alive together do not overlap; the arena is reused; donated inputs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fad
from fad.compile.program import build
from fad.compile.storage import lay_out_small, round_up
from fad.native.machine_model import PARTIAL_SUM


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(0, 20), st.integers(0, 10)), max_size=40))
def test_live_buffers_are_apart(buffers):
    sizes = {k: size for k, (size, _, _) in enumerate(buffers)}
    first = {k: begin for k, (_, begin, _) in enumerate(buffers)}
    last = {k: begin + length for k, (_, begin, length) in enumerate(buffers)}
    offsets, arena = lay_out_small(sizes, first, last)
    for a in sizes:
        assert offsets[a] % 64 == 0 and offsets[a] + sizes[a] <= arena
        for b in sizes:
            if a < b and first[a] <= last[b] and first[b] <= last[a]:
                assert offsets[a] + sizes[a] <= offsets[b] or offsets[b] + sizes[b] <= offsets[a]
    assert arena <= sum(round_up(s) for s in sizes.values())


def test_a_long_chain_needs_few_buffers():
    def f(x):
        for _ in range(50):
            x = np.cumsum(np.sin(x))[::-1]  # a callback in every turn, so every turn stores
        return x

    x = np.ones(20_000)
    assert build(fad.trace(f)(x)).plan.arena <= 3 * x.nbytes


def step(p, v, g):
    v = [0.9 * a + b for a, b in zip(v, g)]
    return [a - 0.01 * b for a, b in zip(p, v)], v


@pytest.mark.parametrize("shape", [(3,), (10,), (64, 33), (5000,)])
def test_donated_arrays_are_taken_over(shape):
    rng = np.random.default_rng(0)
    p, v, g = ([rng.normal(size=shape)] for _ in range(3))
    expected = step(p, v, g)
    f = fad.jit(step, donate=(0, 1))
    for _ in range(3):  # the first call, and the short way of the later ones
        mine, moving = [p[0].copy()], [v[0].copy()]
        new, velocity = f(mine, moving, g)
        np.testing.assert_array_equal(new[0], expected[0][0])
        np.testing.assert_array_equal(velocity[0], expected[1][0])
        assert np.shares_memory(new[0], mine[0]) and np.shares_memory(velocity[0], moving[0])


def test_donated_memory_is_not_taken_while_it_is_read():
    def f(x):
        return np.roll(x, 1) * 2.0

    x = np.arange(10.0)
    np.testing.assert_array_equal(fad.jit(f, donate=0)(x.copy()), f(x))
    np.testing.assert_array_equal(fad.jit(lambda x: x - np.sum(x), donate=0)(x.copy()), x - 45)
    np.testing.assert_array_equal(fad.jit(lambda x: (x + 1, np.sum(x + 2)), donate=0)(x.copy())[0], x + 1)


def test_read_only_arrays_are_not_written():
    x = np.arange(10.0)
    x.flags.writeable = False
    f = fad.jit(lambda x: x + 1, donate=0)
    for _ in range(3):
        np.testing.assert_array_equal(f(x), np.arange(10.0) + 1)
        np.testing.assert_array_equal(x, np.arange(10.0))


@pytest.mark.parametrize("turns", [10, 300])
def test_maps_and_sums_in_turn(turns):
    """Programs of more nests than one stretch of nodes makes: values and gradients."""

    def f(x):
        for _ in range(turns):
            x = np.sin(x * 0.5 + 0.25) - 0.1 * np.mean(x)
        return np.sum(x)

    x = np.linspace(0.0, 1.0, 50)
    value, slope = fad.jit(fad.value_and_grad(f))(x)
    expected = fad.value_and_grad(f)(x)
    np.testing.assert_allclose(value, expected[0], rtol=1e-12)
    np.testing.assert_allclose(slope, expected[1], rtol=1e-9, atol=1e-300)


def test_wide_trees_compile_in_linear_time():
    """Thousands of values that many others use: every one is computed once."""
    rng = np.random.default_rng(0)
    picks = rng.integers(1, 20, (3000, 2))

    def f(x):
        pool = [x] * 20
        for k, (i, j) in enumerate(picks):
            a, b = pool[-i], pool[-j]
            pool.append([a + b * 0.5, a * b * 0.1, np.tanh(a), a - b][k % 4])
        return pool[-1]

    x = np.linspace(-1.0, 1.0, 16)
    program = build(fad.trace(f)(x))
    np.testing.assert_allclose(program([x])[0], f(x), rtol=1e-9)
    operations = sum(len(n.body.instructions) for s in program.plan.steps for n in s.nests)
    assert operations < 5 * len(program.function.nodes)


@pytest.mark.parametrize("shape", [(2, 30_011), (30_011, 2), (7, 9_001, 3), (3, 2, 12_000), (50, 1, 5_000)])
def test_reductions_over_axes_that_do_not_merge_are_in_blocks(shape):
    """So rounding errors grow with a block, not with the axis."""
    x = np.random.default_rng(0).normal(size=shape)
    f = lambda x: (np.sum(np.sin(x)[..., 1:] + x[..., :0:-1]), np.max(x[..., 1:] * 2, axis=(0, x.ndim - 1)))
    program = build(fad.trace(f)(x))
    for y, z in zip(program([x]), f(x), strict=True):
        np.testing.assert_allclose(y, z, rtol=1e-10)
    for n in (n for segment in program.plan.steps for n in segment.nests):
        assert np.prod([e for e, r in zip(n.extents, n.reduced, strict=True) if r], initial=1) <= PARTIAL_SUM
