"""jit(specialize=True): Python's branches and loops follow values; each way is a program, and none runs on values of another."""

import pickle
import threading

import numpy as np
import pytest

import fad
from fad.errors import OutOfRangeError, TraceError


def bent(x):
    if x > 0:
        return np.sin(x) if x < 1 else x * x
    return -x


def collatz(n):
    steps = 0
    while n != 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        steps += 1
    return n * 0 + steps


def power(x, n):
    y = 1.0
    for _ in range(n):
        y = y * x
    return y


def test_each_way_is_a_program():
    f = fad.jit(bent, specialize=True)
    for x in (0.5, 2.0, -1.0, 0.3, 3.0, -2.0, 0.5):
        assert f(x) == bent(x)
    assert len(f.compiled) == 3
    assert "where Python asked: " in f.explain()


@pytest.mark.parametrize("transform", [fad.grad, lambda f: fad.grad(fad.grad(f)), lambda f: lambda x: fad.jvp(f, (x,), (1.0,))[1]])
def test_derivatives(transform):
    f = lambda x: bent(x) * x
    outside, inside = fad.jit(transform(f), specialize=True), transform(fad.jit(f, specialize=True))
    for x in (0.5, 2.0, -1.0, 0.7):
        np.testing.assert_allclose([outside(x), inside(x)], [transform(f)(x)] * 2, rtol=1e-12)


def test_loops():
    f, g = fad.jit(collatz, specialize=True), fad.jit(power, specialize=True)
    for n in (1, 2, 3, 6, 7):
        assert f(n) == collatz(n)
    for n in (0, 1, 5):
        np.testing.assert_allclose(g(1.5, n), 1.5**n)
        np.testing.assert_allclose(fad.grad(g)(1.5, n), n * 1.5 ** (n - 1))


def test_conditions_of_arrays_pytrees_and_static_arguments():
    def f(p, mode):
        if mode == "up" and np.any(p["x"] > 1):
            return p["x"] * 2
        return p["x"] - (1 if np.all(p["x"] < 0) else 0)

    jitted = fad.jit(f, static_argnums=1, specialize=True)
    for x in (np.array([0.0, 2.0]), np.array([-1.0, -2.0]), np.array([0.5, 0.5])):
        for mode in ("up", "down"):
            np.testing.assert_array_equal(jitted({"x": x}, mode), f({"x": x}, mode))


def test_a_program_of_another_way_does_not_run():
    def f(x, i):
        if i < 3:
            return x[i]
        return np.sum(x)

    jitted = fad.jit(f, specialize=True)
    x = np.arange(3.0)
    assert jitted(x, 1) == 1 and jitted(x, 7) == 3  # 7 is out of range for the first program
    with pytest.raises((OutOfRangeError, IndexError)):
        jitted(x, -5)


def test_conditions_of_another_way_may_fail():
    def f(x, i):
        if i < 3 and x[i] > 0:
            return x[i]
        return np.sum(x)

    jitted = fad.jit(f, specialize=True)
    assert jitted(np.arange(3.0), 1) == 1 and jitted(np.arange(3.0), 7) == 3


def test_nan_is_a_value():
    f = fad.jit(lambda x: x if x == x else np.zeros(()), specialize=True)
    assert f(1.0) == 1 and f(np.nan) == 0 and f(2.0) == 2


def test_there_is_a_limit():
    f = fad.jit(power, specialize=True)
    with pytest.raises(TraceError, match=r"fix: .*fad.fori_loop"):
        for n in range(20):
            f(1.5, n)
    assert f(1.5, 3) == 1.5**3


def test_a_batch_has_no_one_outcome():
    with pytest.raises(TraceError, match="fad.cond"):
        fad.jit(fad.vmap(bent), specialize=True)(np.ones(3))
    with pytest.raises(TraceError, match="specialize=True"):
        fad.jit(bent)(1.0)


def test_threads_and_pickles():
    f = pickle.loads(pickle.dumps(fad.jit(bent, specialize=True)))
    wrong = []

    def work(seed):
        for x in np.random.default_rng(seed).uniform(-2, 3, 50):
            if f(x) != bent(x):
                wrong.append(x)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
