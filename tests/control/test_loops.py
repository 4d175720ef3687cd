"""Loops and branches against the plain Python program: values, both modes to order three, batches; eager and compiled."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fad
from fad.errors import DtypeError, OutOfRangeError, ShapeError, TraceError, TreeError

# bodies of a scan: (carry a, carry b, row x, parameter w) -> (a, b, y)
STEPS = [
    lambda a, b, x, w: (np.sin(a * w) + x, b + a, a * b),
    lambda a, b, x, w: (a + w * b, 0.5 * b - np.tanh(a), np.where(a > 0, a, x)),
    lambda a, b, x, w: (x * a, a * a, w),
    lambda a, b, x, w: (np.maximum(a, x), b * np.exp(-(a**2)) + x, b - w),
    lambda a, b, x, w: (b, a, np.sqrt(1 + a * a) * x),
]


def scanned(steps, reverse=False):
    def f(w, a, xs):
        def body(carry, x):
            a, b, y = carry["a"], carry["b"], 0.0
            for step in steps:
                a, b, y = step(a, b, x, w)
            return {"a": a, "b": b}, y

        last, ys = fad.scan(body, {"a": a, "b": 0.3}, xs, reverse=reverse)
        return last["a"] + 2.0 * last["b"] + np.sum(np.sin(ys))

    return f


def unrolled(steps, reverse=False):
    def f(w, a, xs):
        b, total = 0.3, 0.0
        for t in reversed(range(len(xs))) if reverse else range(len(xs)):
            y = 0.0
            for step in steps:
                a, b, y = step(a, b, xs[t], w)
            total = total + np.sin(y)
        return a + 2.0 * b + total

    return f


def assert_same(got, want):
    for g, w in zip(fad.tree.leaves(got), fad.tree.leaves(want), strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-9, atol=1e-10)


TRANSFORMS = {
    "value": lambda f: f,
    "grad": lambda f: fad.grad(f, (0, 1, 2)),
    "forward": lambda f: fad.jacfwd(f, (0, 1, 2)),
    "reverse over reverse": lambda f: fad.grad(fad.grad(f), (0, 1)),
    "reverse over forward": lambda f: fad.grad(fad.jacfwd(f), (0, 1)),
    "forward over reverse": lambda f: fad.jacfwd(fad.grad(f), (0, 1)),
    "forward over forward": lambda f: fad.jacfwd(fad.jacfwd(f, 1), (0, 1)),
    "third order": lambda f: fad.grad(fad.grad(fad.grad(f))),
    "batch of gradients": lambda f: fad.vmap(fad.grad(f), (0, None, None)),
}


@pytest.mark.parametrize("name", TRANSFORMS)
@settings(max_examples=6, deadline=None)
@given(steps=st.lists(st.sampled_from(STEPS), min_size=1, max_size=2), n=st.integers(0, 4), reverse=st.booleans(), data=st.data())
def test_a_scan_is_the_unrolled_loop(name, steps, n, reverse, data):
    w = np.array([0.7, -0.4]) if name.startswith("batch") else 0.7
    xs = np.array(data.draw(st.lists(st.floats(-1, 1, width=16), min_size=n, max_size=n)))
    transform = TRANSFORMS[name]
    want = transform(unrolled(steps, reverse))(w, 0.6, xs)
    assert_same(transform(scanned(steps, reverse))(w, 0.6, xs), want)
    assert_same(fad.jit(transform(scanned(steps, reverse)))(w, 0.6, xs), want)


def halving(max_steps=None):
    """A loop that goes round as often as its argument says."""

    def f(x):
        return fad.while_loop(lambda c: c[0] < 50.0, lambda c: (c[0] * x, c[1] + np.sin(c[0])), (x, 0.0), max_steps)[1]

    return f


def halving_in_python(x):
    a, b = x, 0.0
    while a < 50.0:
        a, b = a * x, b + np.sin(a)
    return b


@pytest.mark.parametrize("name", ["value", "grad", "forward", "reverse over forward", "third order"])
def test_a_while_loop_is_that_of_python(name):
    order = {
        "value": lambda f: f,
        "grad": fad.grad,
        "forward": fad.jacfwd,
        "reverse over forward": lambda f: fad.grad(fad.jacfwd(f)),
        "third order": lambda f: fad.grad(fad.grad(fad.grad(f))),
    }[name]
    for x in (1.7, 1.3):
        want = order(halving_in_python)(x)
        assert_same(order(halving())(x), want)
        assert_same(order(halving(40))(x), want)
        assert_same(fad.jit(order(halving(40)))(x), want)


def test_each_lane_of_a_batch_stops_at_its_own_count():
    xs = np.array([1.7, 1.2, 3.0, 60.0])
    assert_same(fad.vmap(halving())(xs), [np.array([halving_in_python(x) for x in xs])])
    want = np.array([fad.grad(halving_in_python)(x) for x in xs])
    assert_same(fad.vmap(fad.grad(halving(40)))(xs), want)
    assert_same(fad.jit(fad.vmap(fad.grad(halving(40))))(xs), want)
    assert_same(fad.grad(lambda xs: np.sum(fad.vmap(halving(40))(xs)))(xs), want)


def test_max_steps_ends_a_loop():
    f = lambda x: fad.while_loop(lambda c: True, lambda c: c * x, 1.0, max_steps=5)
    assert_same([f(2.0), fad.grad(f)(2.0), fad.jit(fad.grad(f))(2.0)], [32.0, 80.0, 80.0])


def test_branches():
    f = lambda x: fad.cond(x > 0, lambda x: np.sin(x) * x, lambda x: x**3, x)
    plain = lambda x: np.sin(x) * x if x > 0 else x**3
    for order in (lambda f: f, fad.grad, fad.jacfwd, lambda f: fad.grad(fad.grad(fad.grad(f))), lambda f: fad.jacfwd(fad.grad(f))):
        for x in (1.3, -0.4):
            assert_same([order(f)(x), fad.jit(order(f))(x)], [order(plain)(x)] * 2)
        lanes = np.array([order(plain)(x) for x in (1.3, -0.4)])
        assert_same(fad.vmap(order(f))(np.array([1.3, -0.4])), lanes)
    g = lambda i, x: fad.switch(i, [np.sin, np.cos, lambda x: fad.scan(lambda c, _: (c * x, None), x, length=3)[0]], x)
    assert_same(fad.vmap(fad.grad(g, 1))(np.array([0, 1, 2]), np.full(3, 0.5)), np.array([np.cos(0.5), -np.sin(0.5), 4 * 0.5**3]))


def test_only_the_branch_that_is_taken_runs():
    taken = []
    f = lambda x: fad.cond(x > 0, lambda x: np.log(x), lambda x: x, x)
    with np.errstate(all="raise"):
        taken.append(f(-1.0))
    assert taken == [-1.0]


def test_loops_in_loops_and_closures():
    def f(w):
        inner = lambda c, x: (np.tanh(w * c + x), c * w)
        outer = lambda c, x: (fad.scan(inner, c, x)[0], np.sum(fad.scan(inner, c, x)[1]))
        last, ys = fad.scan(outer, 0.1, np.arange(6.0).reshape(2, 3) / 7)
        return last + np.sum(ys)

    def plain(w):
        c, total = 0.1, 0.0
        for row in np.arange(6.0).reshape(2, 3) / 7:
            for x in row:
                total, c = total + c * w, np.tanh(w * c + x)
        return c + total

    for order in (fad.grad, fad.jacfwd, lambda f: fad.grad(fad.grad(f)), lambda f: fad.jacfwd(fad.grad(fad.grad(f)))):
        assert_same([order(f)(0.8), fad.jit(order(f))(0.8)], [order(plain)(0.8)] * 2)


def test_numbers_take_the_dtype_that_comes_back():
    xs = np.arange(3, dtype=np.float32)
    assert fad.scan(lambda c, x: (c + x, None), 0, xs)[0].dtype == np.float32
    assert fad.fori_loop(0, 3, lambda i, c: c + i, 0).dtype == np.int64
    assert fad.scan(lambda c, x: (0, c), xs[0], xs)[0].dtype == np.float32
    assert fad.cond(True, lambda x: x, lambda x: 0, xs[1]).dtype == np.float32
    assert fad.cond(False, lambda: 1.5, lambda: 2) == 2.0
    assert fad.cond(True, lambda: True, lambda: False).dtype == bool


def test_arrays_that_a_body_indexes():
    table = np.arange(3.0)
    assert fad.fori_loop(0, 3, lambda i, c: c + table[i] ** 2, 0.0) == 5.0
    assert fad.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] + table[s[0]]), (0, 0.0))[1] == 3.0
    assert fad.grad(lambda t: fad.fori_loop(0, 3, lambda i, c: c + t[i] ** 2, 0.0))(table).tolist() == [0.0, 2.0, 4.0]


def test_what_goes_with_loops():
    assert_same(fad.associative_scan(np.add, np.arange(11.0)), np.cumsum(np.arange(11.0)))
    x = np.random.default_rng(0).normal(size=(5, 2, 2))
    want = [x[0], x[1] @ x[0], x[2] @ x[1] @ x[0]]
    assert_same(fad.associative_scan(lambda a, b: b @ a, x)[:3], np.stack(want))
    assert_same(fad.associative_scan(np.maximum, x[::-1], reverse=True), np.maximum.accumulate(x)[::-1])
    assert_same(fad.jit(lambda n: fad.fori_loop(0, n, lambda i, c: c + i, 0.0))(5), 10.0)
    assert_same(fad.map(lambda x: x * 2, np.arange(3.0)), 2 * np.arange(3.0))
    traced = fad.trace(scanned(STEPS[:1]))(0.7, 0.6, np.ones(3))
    assert pickle.loads(pickle.dumps(traced)) == traced


def test_what_a_selection_left_out_stays_out():
    """The zero of an iteration's selection is structural, as in the unrolled loop."""
    f = lambda x: fad.scan(lambda c, _: (np.where(c > 0, np.sqrt(c), 0.0), None), x, length=2)[0]
    assert fad.grad(f)(0.0) == 0.0 == fad.jacfwd(f)(0.0)


@pytest.mark.parametrize(
    ("error", "call"),
    [
        (ShapeError, lambda: fad.scan(lambda c, x: (c, x), 0.0, [np.ones(2), np.ones(3)])),
        (ShapeError, lambda: fad.scan(lambda c, x: (c, x), 0.0)),
        (ShapeError, lambda: fad.scan(lambda c, x: (np.ones(3), x), 0.0, np.ones(2))),
        (DtypeError, lambda: fad.scan(lambda c, x: (c + x, x), np.zeros((), int), np.ones(2))),
        (TreeError, lambda: fad.scan(lambda c, x: ((c, c), x), 0.0, np.ones(2))),
        (TreeError, lambda: fad.scan(lambda c, x: c, 0.0, np.ones(2))),
        (IndexError, lambda: fad.scan(lambda c, x: (c, x), 0.0, length=-1)),
        (TypeError, lambda: fad.fori_loop(0.0, 3, lambda i, c: c, 0.0)),
        (DtypeError, lambda: fad.while_loop(lambda c: c > np.zeros(2), lambda c: c, np.ones(2))),
        (TreeError, lambda: fad.cond(True, lambda x: x, lambda x: (x, x), 1.0)),
        (ShapeError, lambda: fad.cond(True, lambda x: x, lambda x: np.ones(2), 1.0)),
        (DtypeError, lambda: fad.cond(np.ones(2), np.sin, np.cos, 1.0)),
        (OutOfRangeError, lambda: fad.switch(2, [np.sin, np.cos], 1.0)),
        (TraceError, lambda: fad.jet(halving(), (1.5,), ([1.0, 0.0],))),
    ],
)
def test_errors_say_what_to_do(error, call):
    with pytest.raises(error, match="fix:"):
        call()


def test_an_if_under_jit_says_what_to_write():
    def f(x):
        return x if x > 0 else -x

    with pytest.raises(TraceError, match=r"test_loops.py:\d+ in f\n.*fad.cond"):
        fad.jit(f)(1.0)
    assert fad.grad(f)(-2.0) == -1.0
