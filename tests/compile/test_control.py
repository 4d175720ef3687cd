"""Loops and branches as native code: nothing of them is left to NumPy, and they are what Python's loops are."""

import signal
import time

import numba
import numpy as np
import pytest

import fad
from fad.compile.control import Repeat
from fad.compile.segment import Segment
from fad.compile.simplify import simplify
from fad.control import loop as loop_module
from fad.errors import OutOfRangeError
from fad.kernels.rent import SPECIALISED

rng = np.random.default_rng(0)


def native(f, *args):
    """The jitted function, after a look that no loop of it is NumPy's."""
    f = fad.jit(f)
    f(*args)
    assert "by NumPy" not in f.explain()
    return f


def repeats(f, *args):
    """The loops of a program."""
    program = f._find(args, {})[0].program
    return [n for s in program.plan.steps if isinstance(s, Segment) for n in s.nests if isinstance(n, Repeat)]


def heat(u, steps=7):
    def step(u, _):
        return u + 0.1 * (np.roll(u, 1, 0) + np.roll(u, -1, 0) - 2 * u), np.sum(u)

    return fad.scan(step, u, length=steps)


def heat_in_python(u, steps=7):
    sums = []
    for _ in range(steps):
        sums.append(np.sum(u))
        u = u + 0.1 * (np.roll(u, 1, 0) + np.roll(u, -1, 0) - 2 * u)
    return u, np.array(sums)


@pytest.mark.parametrize("shape", [(3,), (200,), (64, 33), (400, 500)])  # registers, a copy, turns, several threads
@pytest.mark.parametrize("steps", [0, 1, 6, 7])
def test_carries_of_every_size(shape, steps):
    u = rng.normal(size=shape)
    got = native(lambda u: heat(u, steps), u)(u)
    for a, b in zip(got, heat_in_python(u, steps), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("size", [5, 130, 1000, 200_001])
def test_a_carry_that_is_written_where_it_is_read(size):
    y = rng.normal(size=size)
    f = native(lambda y: fad.scan(lambda y, _: (y - 0.1 * np.sin(y), None), y, length=5)[0], y)
    assert repeats(f, y)[0].carries[0].now == repeats(f, y)[0].carries[0].new or size <= 130
    want = y
    for _ in range(5):
        want = want - 0.1 * np.sin(want)
    np.testing.assert_allclose(f(y), want, rtol=1e-13)


def test_carries_that_change_places():
    a, b = rng.normal(size=(2, 700))
    f = native(lambda a, b: fad.scan(lambda c, _: ((c[1], c[0] + c[1]), c[0]), (a, b), length=5), a, b)
    (x, y), ys = f(a, b)
    want = []
    for _ in range(5):
        want.append(a)
        a, b = b, a + b
    np.testing.assert_allclose(x, a)
    np.testing.assert_allclose(y, b)
    np.testing.assert_allclose(ys, want)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.int32, bool])
def test_dtypes(dtype):
    x = np.array([3, 0, 1, 7]).astype(dtype)
    f = native(lambda x: fad.scan(lambda c, x: (np.maximum(c, x), c), x[0], x), x)
    last, ys = f(x)
    assert last == x.max() and last.dtype == ys.dtype == dtype
    np.testing.assert_array_equal(ys, np.maximum.accumulate([x[0], *x[:-1]]))


def test_loops_in_loops_and_branches():
    def f(x):
        def step(c, n):
            c = fad.while_loop(lambda c: np.abs(c) > 1, lambda c: 0.5 * c, c + n)
            return fad.cond(c > 0, lambda c: c + fad.fori_loop(0, 3, lambda i, s: s + i * c, 0.0), lambda c: -c, c), c

        return fad.scan(step, x, np.arange(-4.0, 5.0))

    def python(x):
        ys = []
        for n in np.arange(-4.0, 5.0):
            x = x + n
            while np.abs(x) > 1:
                x = 0.5 * x
            ys.append(x)
            x = x + 3 * x if x > 0 else -x
        return x, ys

    for got, want in zip(native(f, 0.3)(0.3), python(0.3), strict=True):
        np.testing.assert_allclose(got, want)
    slope = native(lambda x: fad.jvp(lambda x: f(x)[0], (x,), (1.0,))[1], 0.3)
    np.testing.assert_allclose(slope(0.3), (python(0.3 + 1e-6)[0] - python(0.3 - 1e-6)[0]) / 2e-6, rtol=1e-6)


def test_value_and_gradient_run_the_iterations_once():
    def f(x):
        return np.sum(fad.scan(lambda c, t: (np.sin(c) * t, c), x, np.arange(5.0))[0])

    tree = simplify(fad.trace(fad.value_and_grad(f))(np.ones(3)))
    assert sum(n.op.role == "loop" for n in tree.nodes) == 2


def test_what_nobody_reads_is_left_out():
    f = fad.trace(lambda x: fad.scan(lambda c, _: ((c[0] * 2, np.exp(c[1]), c[2]), c[1]), (x, x, x), length=3)[0][0])(1.0)
    (loop,) = [n for n in simplify(f).nodes if n.op.role == "loop"]
    assert len(loop.params["body"].inputs) == len(loop.params["body"].outputs) == 1


def test_iterations_that_threads_share():
    x = rng.normal(size=(3000, 40))
    f = native(lambda x: fad.map(lambda r: np.sum(np.exp(r)) * r, x), x)
    assert repeats(f, x)[0].shared
    np.testing.assert_allclose(f(x), np.sum(np.exp(x), 1, keepdims=True) * x)


@pytest.mark.parametrize("size", [3, 1024, 1030, 2600])
def test_lanes_that_end_one_by_one(size):
    def root(a):
        return fad.while_loop(lambda x: np.abs(x * x - a) > 1e-12, lambda x: 0.5 * (x + a / x), a, max_steps=40)

    a = rng.uniform(1, 100, size)
    np.testing.assert_allclose(native(fad.vmap(root), a)(a), np.sqrt(a), rtol=1e-12)
    np.testing.assert_allclose(native(fad.vmap(fad.grad(root)), a)(a), 0.5 / np.sqrt(a), rtol=1e-9)


def test_an_index_out_of_range_raises():
    f = native(lambda x, i: fad.scan(lambda c, i: (c + x[i], None), 0.0, i)[0], np.arange(3.0), np.array([0, 2]))
    assert f(np.arange(3.0), np.array([1, 2])) == 3
    with pytest.raises(OutOfRangeError):
        f(np.arange(3.0), np.array([1, 3]))
    g = native(lambda i, x: fad.switch(i, [np.sin, np.cos], x), 1, 0.5)
    assert g(0, 0.5) == np.sin(0.5)


def endless(x):
    return fad.while_loop(lambda c: c >= 0, lambda c: c + 1e-9 * np.sin(c), x)


ENDLESS = {
    "alone": endless,
    "in a loop": lambda x: fad.scan(lambda c, _: (endless(c), None), x, length=3)[0],
    "in a branch of a loop": lambda x: fad.scan(lambda c, _: (fad.cond(c > 5, lambda c: -c, endless, c), c), x, length=3)[0],
    "in a loop in a loop": lambda x: fad.fori_loop(0, 3, lambda i, c: fad.fori_loop(0, 2, lambda j, c: endless(c), c), x),
    "in a branch": lambda x: fad.cond(x > 5, lambda c: -c, endless, x),
    "in iterations that threads share": lambda x: np.sum(fad.map(endless, np.full(64, 1.0) * x)),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_a_loop_that_never_ends_is_interrupted(name):
    f = fad.jit(ENDLESS[name])
    f(-1.0)
    before = signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt):
            f(1.0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_handler_that_raises_nothing_does_not_end_a_loop():
    inner = lambda c: fad.while_loop(lambda s: s[1] < 30_000_000, lambda s: (np.sin(s[0]) + s[1], s[1] + 1), (c, 0))[0]
    f = fad.jit(lambda x: fad.scan(lambda c, _: (inner(c), None), x, length=3)[0])
    want, rings = f(1.0), []
    before = signal.signal(signal.SIGALRM, lambda *_: rings.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1, 0.2)
        assert f(1.0) == want
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(rings) > 2


def test_what_is_interrupted_goes_on_where_it_was():
    f = native(lambda n: fad.fori_loop(0, n, lambda i, c: np.sin(c) + i, 1.0), 3)
    start, n = time.perf_counter(), 10_000_000
    while f(n) == f(1) or time.perf_counter() - start < 0.25:  # long enough for Python to have looked after signals
        n, start = 2 * n, time.perf_counter()
        f(n)
    c = 1.0
    for i in range(1000):
        c = np.sin(c) + i
    assert f(1000) == c
    assert n - 2 < f(n) < n


def test_in_numba_code():
    f = fad.jit(lambda x: fad.while_loop(lambda c: c < 10, lambda c: c * 2, x)).as_numba(1.0)
    assert numba.njit(lambda x: f(x) + 1)(1.5) == 13


def test_long_loops_are_compiled_in_eager_code(monkeypatch):
    asked = []
    build = SPECIALISED["loop"]
    monkeypatch.setitem(SPECIALISED, "loop", lambda *args: asked.append(args) or build(*args))
    f = lambda x, n: fad.scan(lambda c, _: (np.sin(c) * 1.01 + 0.1 * c * c, None), x, length=n)[0]
    short, long = f(0.5, 100), f(0.5, 60_000)
    assert len(asked) == 1
    c = 0.5
    for k in range(60_000):
        c = np.sin(c) * 1.01 + 0.1 * c * c
        if k == 99:
            np.testing.assert_allclose(short, c, rtol=1e-12)
    np.testing.assert_allclose(long, c, rtol=1e-12)


@pytest.mark.parametrize("n", [0, 1, 5, 16, 17, 64])
def test_the_way_back_through_a_loop_of_unknown_length(n, monkeypatch):
    monkeypatch.setattr(loop_module, "SEGMENT", 4)  # so that 64 iterations are segments of segments of segments
    monkeypatch.setattr(loop_module, "LEVELS", 3)
    f = lambda x, n: fad.while_loop(lambda c: c[1] < n, lambda c: (np.sin(c[0]) * 1.3 + 0.1 * x, c[1] + 1), (x, 0))[0]
    g = native(fad.grad(f), 0.5, n)
    np.testing.assert_allclose(g(0.5, n), fad.grad(f)(0.5, n), rtol=1e-12)
    assert np.isnan(g(0.5, 65))  # too many to go back through: never a wrong number
