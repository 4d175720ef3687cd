"""Values computed again in reverse mode: the same derivatives, in less memory."""

import math

import numpy as np
import pytest

import fad
from fad.control.revolve import schedule
from fad.errors import NameMissingError


def g(x):
    return np.sin(fad.named(np.exp(np.cos(x)), "e") * x)


TRANSFORMS = {
    "value": lambda f: f,
    "reverse": fad.grad,
    "second order": lambda f: fad.grad(fad.grad(f)),
    "third order": lambda f: fad.grad(fad.grad(fad.grad(f))),
    "forward over reverse": lambda f: fad.jacfwd(fad.grad(f)),
    "reverse over forward": lambda f: fad.grad(fad.jacfwd(f)),
    "batch": lambda f: lambda x: fad.vmap(fad.grad(f))(np.stack([x, x + 1])),
}


@pytest.mark.parametrize("keep", [(), "e"])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_checkpoint(name, keep):
    transform = TRANSFORMS[name]
    for jit in (lambda f: f, fad.jit):
        np.testing.assert_allclose(jit(transform(fad.checkpoint(g, keep=keep)))(0.7), transform(g)(0.7), rtol=1e-12)


def test_pytrees_and_keywords():
    f = fad.checkpoint(lambda p, scale=1.0: {"y": np.sin(p["x"]) * scale})
    loss = lambda p: np.sum(f(p, scale=p["s"])["y"])
    found = fad.jit(fad.grad(loss))({"x": np.ones(3), "s": 2.0})
    np.testing.assert_allclose(found["x"], 2 * np.cos(np.ones(3)))
    np.testing.assert_allclose(found["s"], 3 * np.sin(1.0))
    with pytest.raises(NameMissingError, match="fix:"):
        fad.grad(fad.checkpoint(np.sin, keep="nothing"))(1.0)


def arena(f, *args):
    f = fad.jit(f)
    f(*args)
    assert "by NumPy" not in f.explain()
    return next(iter(f.compiled.values())).program.plan.arena


def test_programs_do_not_undo_it():
    part = lambda x: np.cumsum(np.tanh(np.exp(np.sin(np.cumsum(x)))))
    x = np.linspace(0, 1, 20_000)
    of = lambda c: fad.grad(lambda x: np.sum(c(c(c(c(x))))))
    assert arena(of(fad.checkpoint(part)), x) < 0.7 * arena(of(part), x)


def scanned(**options):
    def f(w, a, xs):
        body = lambda c, x: ({"a": np.sin(c["a"] * x + w) * 1.1, "n": c["n"] + 1}, c["a"] * x + w)
        last, ys = fad.scan(body, {"a": a, "n": 0}, xs, **options)
        return np.sum(last["a"]) + np.sum(np.cos(ys)) + last["n"]

    return f


OPTIONS = [
    {"unroll": 3},
    {"unroll": 20},
    {"checkpoint": 1},
    {"checkpoint": 3},
    {"checkpoint": 20},
    {"checkpoint": "binomial"},
    {"checkpoint": ("binomial", 2)},
    {"checkpoint": ("binomial", 3)},
]
ORDERS = {
    "value": lambda f: f,
    "reverse": lambda f: fad.grad(f, (0, 1, 2)),
    "forward": lambda f: fad.jacfwd(f, (0, 1, 2)),
    "second order": lambda f: fad.grad(fad.grad(f), (0, 1)),
}


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("n", [0, 1, 2, 7])
@pytest.mark.parametrize("reverse", [False, True])
def test_scans_in_blocks(options, n, reverse):
    args = (0.3, np.array([0.2, 0.5]), np.random.default_rng(n).normal(size=n))
    for name, transform in ORDERS.items():
        want = fad.tree.leaves(transform(scanned(reverse=reverse))(*args))
        for jit in (lambda f: f, fad.jit) if name != "second order" or n == 7 else (lambda f: f,):
            got = fad.tree.leaves(jit(transform(scanned(reverse=reverse, **options)))(*args))
            for a, b in zip(got, want, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_memory_of_long_scans():
    step = lambda c, _: (0.5 * np.cos(c) + 0.5 * c[::-1], None)
    of = lambda kind: fad.grad(lambda x: np.sum(fad.scan(step, x, length=5000, checkpoint=kind)[0]))
    x = np.linspace(0, 1, 32)
    sizes = [arena(of(kind), x) for kind in (None, 70, "binomial")]
    assert sizes[0] > 10 * sizes[1] > 10 * sizes[2] / 2
    for kind in (70, "binomial"):
        np.testing.assert_allclose(fad.jit(of(kind))(x), fad.jit(of(None))(x), rtol=1e-10)


@pytest.mark.parametrize("count", [1, 2, 5, 100, 1000])
@pytest.mark.parametrize("snapshots", [2, 3, 11])
def test_the_schedule_reverses_every_block_once_from_what_is_there(count, snapshots):
    held, t = {0: 0}, count - 1
    events = schedule(count, snapshots)
    for source, start, steps, target in zip(*events, strict=True):
        assert held[source] == start and source < snapshots
        if target < snapshots:
            held[target] = start + steps
        else:
            assert start + steps == t
            t -= 1
    assert t == -1
    times = next(r for r in range(1000) if math.comb(snapshots + r, r) >= count)
    least = times * count - math.comb(snapshots + times, times - 1) if times else 0  # Griewank and Walther 2000
    assert np.sum(events[2]) == least


@pytest.mark.parametrize("bad", [0, -1, 1.5, "often", ("binomial", 1)])
def test_options(bad):
    with pytest.raises((IndexError, TypeError, ValueError), match="fix:"):
        fad.scan(lambda c, x: (c, x), 0.0, np.ones(3), checkpoint=bad)
    with pytest.raises((IndexError, TypeError, ValueError), match="fix:"):
        fad.scan(lambda c, x: (c, x), 0.0, np.ones(3), unroll=0)
