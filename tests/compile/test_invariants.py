"""Each invariant of the compiler's passes finds a program that breaks it."""

from dataclasses import replace

import numpy as np
import pytest

import fad
from fad.compile.debug import CompilerError
from fad.compile.fuse import partition
from fad.compile.invariants import check_code, check_partition, check_plan
from fad.compile.loops import Loops
from fad.compile.plan import plan
from fad.compile.program import build
from fad.compile.segment import Segment
from fad.compile.simplify import simplify
from fad.compile.steps import Nest


def example(x, w):
    y = np.tanh(x @ w)
    return np.sum(np.cumsum(y, axis=0) * y, axis=1), np.roll(y, 2, axis=0), y[:, ::2].T + 1


ARGS = np.linspace(0, 1, 400 * 30).reshape(400, 30), np.linspace(-1, 1, 600).reshape(30, 20)


def parts_of(f=example, args=ARGS):
    return partition(simplify(fad.trace(f)(*args)))


def planned():
    return plan(parts_of(), 32)


def test_what_holds_is_passed():
    check_partition(parts_of())
    check_plan(planned())


@pytest.mark.parametrize(
    "change, what",
    [
        (lambda steps: steps[::-1], "before it is made"),
        (lambda steps: [*steps, steps[-1]], "made twice"),
        (lambda steps: steps[:-1], "is not made"),
    ],
)
def test_steps_of_a_partition(change, what):
    parts = parts_of()
    with pytest.raises(CompilerError, match=what):
        check_partition(replace(parts, steps=tuple(change(parts.steps))))


def changed(p, change):
    """The plan with the body of its last nest with loops changed."""
    segment = next(s for s in reversed(p.steps) if isinstance(s, Segment))
    k = next(k for k, n in reversed(list(enumerate(segment.nests))) if isinstance(n, Loops))
    nests = (*segment.nests[:k], change(segment.nests[k]), *segment.nests[k + 1 :])
    return replace(p, steps=tuple(Segment(nests) if s is segment else s for s in p.steps))


def moved(by):
    return lambda n: replace(n, body=n.body.map_accesses(lambda a: a._replace(offset=a.offset + by)))


@pytest.mark.parametrize(
    "change, what",
    [
        (lambda p: changed(p, moved(1)), "touches"),
        (lambda p: changed(p, moved(-1)), "touches"),
        (lambda p: changed(p, lambda n: replace(n, extents=tuple(e - 1 for e in n.extents))), "is not written"),
        (lambda p: replace(p, steps=p.steps[::-1]), "not written"),
        (lambda p: replace(p, steps=p.steps[1:]), "not written"),
        (lambda p: replace(p, offsets={}), "no place"),
        (lambda p: replace(p, objects={}), "no place|is not written"),
        (lambda p: replace(p, offsets=dict.fromkeys(p.offsets, 0)), "still needed"),
        (lambda p: replace(p, arena=p.arena - 1), "still needed"),
    ],
)
def test_accesses_places_and_layout_of_a_plan(change, what):
    f = lambda x: (
        np.sum(np.cos(np.sum(np.sin(x), axis=1)[:, None] * np.sum(np.exp(x), axis=0)), axis=0) @ np.sort(x, axis=0),
        x.T + 1.0,
    )
    p = plan(partition(simplify(fad.trace(f)(np.linspace(0, 1, 40_000).reshape(200, 200)))), 32)
    check_plan(p)
    with pytest.raises(CompilerError, match=what):
        check_plan(change(p))


def test_nests_that_share_a_function():
    units = list(build(fad.trace(lambda x: (np.argsort(np.sin(x)), x @ x))(np.ones((40, 40)))).functions.values())
    check_code([*units, *units], lambda u: repr(u.key))
    texts = iter("ab")
    with pytest.raises(CompilerError, match="differ"):
        check_code(
            [units[0], build(fad.trace(lambda x: (np.argsort(np.sin(x)), x @ x))(np.ones((40, 40)))).functions["nest0"]],
            lambda u: next(texts),
        )


def test_the_loops_of_a_fold_are_one_box():
    f = lambda b: np.sum(np.sin(np.gradient(b)))
    x = np.linspace(-1, 1, 5)
    np.testing.assert_allclose(fad.jit(f)(x), f(x))
    parts = parts_of(f, (x,))
    assert not any(isinstance(s, Nest) and s.reduced and any(r.id in parts.boxed for r in s.roots) for s in parts.steps)
