"""Donated memory: results are right whatever reaches a program twice, and what is not donated is left alone."""

import itertools

import numpy as np
import pytest

import fad
from fad.errors import DtypeError, OutOfRangeError

PROGRAMS = {
    "both": lambda p, q: (0.9 * p + q, 0.99 * q + p * p),
    "backwards": lambda p, q: (p - 0.1 * q[::-1], q * 2),
    "product": lambda p, q: (p + np.outer(q, q)[0] * p, p * q),
    "tree": lambda p, q: ({"a": p * 2, "b": q + 1}, np.sum(p * q)),
    "swapped": lambda p, q: (q, p * 1.0),
    "one": lambda p, q: p - q[::-1],
    "itself too": lambda p, q: (p, p + 1.0, q),
    "a view too": lambda p, q: (p.reshape(2, -1), p + 1.0, q[::-1]),
    "called back": lambda p, q: (p + 1.0, np.argsort(q), p * q),
    "in a loop": lambda p, q: (p + 1.0, np.cumsum(q), p * q),
    "transposed": lambda p, q: (p.T, q * p),
}
PARTS = [slice(0, 100), slice(0, 100), slice(50, 150), slice(100, 200), slice(99, 199)]  # of one array


@pytest.mark.parametrize("donate", [0, 1, (0, 1), -1, (-2,), ()])
@pytest.mark.parametrize("name", PROGRAMS)
def test_arguments_that_share_memory(name, donate):
    f, jitted = PROGRAMS[name], fad.jit(PROGRAMS[name], donate=donate)
    for a, b in itertools.product(PARTS, PARTS):
        for twice, _ in itertools.product((False, True), range(2)):  # the second call takes the short way
            base = np.arange(200.0)
            p = base[a]
            q = p if twice else base[b]
            expected = [np.array(y) for y in fad.tree.leaves(f(p.copy(), q.copy()))]
            found = fad.tree.leaves(jitted(p, q))
            for y, z in zip(found, expected, strict=True):
                np.testing.assert_allclose(y, z)
            assert not any(np.may_share_memory(y, z) for y, z in itertools.combinations(found, 2))


def test_a_state_with_one_array_for_two_moments():  # jax#9635
    step = fad.jit(lambda state, g: (0.9 * state[0] + g, 0.99 * state[1] + g * g), donate=0)
    for _ in range(3):
        zeros = np.zeros(3)
        mean, square = step((zeros, zeros), np.full(3, 2.0))
        np.testing.assert_allclose(mean, 2.0)
        np.testing.assert_allclose(square, 4.0)


def test_a_target_net_that_starts_as_the_net():  # jax#9635
    w = np.ones(5)
    step = fad.jit(lambda p, average, g: (p - 0.1 * g, 0.9 * average + 0.1 * (p - 0.1 * g)), donate=(0, 1))
    p, average = step(w, w, np.full(5, 10.0))
    np.testing.assert_allclose(p, 0.0, atol=1e-12)
    np.testing.assert_allclose(average, 0.9)


def test_an_argument_that_is_also_passed_plainly():  # jax#9635, and by threads
    x = np.arange(200_000.0)
    expected = x - 0.1 * x[::-1]
    np.testing.assert_allclose(fad.jit(lambda p, q: p - 0.1 * q[::-1], donate=0)(x, x), expected)


def test_memory_is_taken_over_and_results_keep_their_form():
    step = fad.jit(lambda p, g: p - g, donate=0)
    p = np.ones(5)
    for k in range(4):
        q = step(p, np.full(5, 1.0))
        assert q is p
        np.testing.assert_array_equal(q, -k)
    np.testing.assert_array_equal(fad.jit(lambda p, g: [p - g], donate=0)(np.ones(2), np.ones(2))[0], 0.0)
    nested = fad.jit(lambda p, g: {"a": [p["a"][0] - g]}, donate=0)
    for _ in range(3):
        assert nested({"a": [np.ones(2)]}, np.ones(2))["a"][0].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("donate", [2, 5, -3, (0, 2)])
def test_positions_that_do_not_exist(donate):  # jax#9675
    with pytest.raises(OutOfRangeError, match="2 positional arguments"):
        fad.jit(lambda a, b: a + b, donate=donate)


@pytest.mark.parametrize("donate", ["a", 1.5, None, True, (0, "b")])
def test_what_is_no_position(donate):
    with pytest.raises(DtypeError, match="positions are integers"):
        fad.jit(lambda a, b: a + b, donate=donate)


@pytest.mark.parametrize("donate", [1, -1, [1], {1}, np.int64(1)])
def test_positions_of_arguments_without_names(donate):
    x, y = np.ones(4), np.ones(4)
    assert fad.jit(lambda *xs: xs[0] + xs[-1], donate=donate)(x, y) is y
    np.testing.assert_array_equal(x, 1.0)


def test_a_position_beyond_this_call_takes_no_other():
    x = np.ones(4)
    np.testing.assert_array_equal(fad.jit(lambda *xs: sum(xs) + 1.0, donate=2)(x, x), 3.0)
    np.testing.assert_array_equal(x, 1.0)


def test_static_positions_are_counted():
    x = np.ones(4)
    assert fad.jit(lambda n, x: x * n, static_argnums=0, donate=1)(3, x) is x
    with pytest.raises(OutOfRangeError, match="static_argnums"):
        fad.jit(lambda n, x: x * n, static_argnums=5)
    with pytest.raises(DtypeError, match="static_argnames"):
        fad.jit(lambda n, x: x * n, static_argnums="n")
