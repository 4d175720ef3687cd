"""Fuse: which loops typical programs become, and laws of every partition."""

import re
import time
from math import prod

import numpy as np
import pytest
from hypothesis import given

import fad
import fad.nn
from fad.compile.body import pull_bodies
from fad.compile.fuse import CODE, partition
from fad.compile.simplify import simplify
from fad.compile.steps import Callback, Nest

from .programs import programs
from .test_differential import examples

X, V = np.linspace(0.1, 1.0, 6400).reshape(64, 100), np.linspace(0.1, 1.0, 100)
ARRAY = X.nbytes
COUNTED = "load", "operation", "store", "fold"


class Listing:
    """The loops of a program, counted."""

    def __init__(self, f, *args):
        self.text = fad.jit(f).lower(*args).loops
        lines = re.findall(r"^loops .*", self.text, re.MULTILINE)
        self.nests = [[int(next(iter(re.findall(rf"(\d+) {what}", line)), 0)) for what in COUNTED] for line in lines]
        self.calls = re.findall(r"^call (\w+)", self.text, re.MULTILINE)
        self.arena = int(re.search(r"arena: (\d+) bytes", self.text).group(1))
        self.domains = re.findall(r"loops \[([^\]]*)\]", self.text)

    def __repr__(self):
        return self.text

    @property
    def stores(self):
        return sum(n[2] for n in self.nests)


# -- loops of typical programs -----------------------------------------------------------------------------------------

ONE_NEST = {  # loads, operations, stores, folds
    "a chain": (lambda x: np.tanh(np.sin(x) * 2.0 + 1.0), X, [1, 4, 1, 0]),
    "several outputs": (lambda x: (np.sin(x), np.cos(x), np.sin(x) + 1.0), X, [1, 3, 3, 0]),
    "a gradient": (fad.grad(lambda x: np.sum(np.sin(x) ** 2)), X, [1, 4, 1, 0]),
    "views": (lambda x: x[::-1, 1:].T + x[:, :-1].T, X, [2, 1, 1, 0]),
    "reductions over the same axis": (lambda x: (np.sum(x, axis=1), np.sum(x * x, axis=1), np.max(x, axis=1)), X, [1, 1, 0, 3]),
    "a map beside a reduction": (lambda x: (np.exp(x), np.sum(np.exp(x), axis=1)), X, [1, 1, 1, 1]),
    "a short reduction, written out": (lambda x: np.max(np.reshape(x, (1600, 4)), axis=1) * 2.0, X, [4, 4, 1, 0]),
    "two outputs of one value": (lambda v: (np.sin(v), np.sin(v)), V, [1, 1, 1, 0]),
}


@pytest.mark.smoke
@pytest.mark.parametrize("case", ONE_NEST)
def test_one_nest_and_no_memory_between(case):
    f, x, counts = ONE_NEST[case]
    found = Listing(f, x)
    assert (found.nests, found.calls, found.arena) == ([counts], [], 0), found


def test_a_long_sum_is_one_pass_over_memory_and_a_sum_of_few():
    """Blocks of 4096, the rest, and the partial results."""
    found = Listing(fad.value_and_grad(lambda x: np.sum(np.sin(x) ** 2)), X)
    assert [n[3] for n in found.nests] == [1, 1, 1] and [n[2] for n in found.nests] == [1, 1, 0], found
    assert found.arena <= 64


def test_a_broadcast_factor_is_computed_once():
    found = Listing(lambda x, v: x * np.exp(v), X, V)
    assert found.domains[0].startswith("100") and len(found.nests) == 2, found
    assert V.nbytes <= found.arena < 2 * V.nbytes


def test_softmax_stores_rows_and_no_intermediate_array():
    found = Listing(lambda x: fad.nn.softmax(x, axis=-1), X)
    assert found.arena < ARRAY / 10 and not found.calls, found
    assert str(found).count("rows [") == 1 and str(found).count("1 fold") == 2, found  # the maximum and the sum, row by row


def test_what_is_cheap_is_computed_again_and_what_is_dear_is_kept():
    cheap = Listing(lambda x: (np.sum(x + 1.0, axis=1), x[::-1].T + 1.0), X)
    assert cheap.arena == 0, cheap

    def dear(x):
        y = np.exp(np.sin(x))
        return np.sum(y, axis=0), np.sum(y[::-1], axis=1)

    kept = Listing(dear, X)
    assert ARRAY <= kept.arena < 1.1 * ARRAY and kept.stores == 1, kept


def test_memory_is_used_again():
    """Of a chain of stored arrays, two live at a time."""

    def f(x):
        for _ in range(6):
            x = np.exp(np.sin(np.exp(x - np.sum(np.exp(x), axis=0)))) + x[::-1]
        return x

    assert Listing(f, X).arena < 4.5 * ARRAY


@pytest.mark.parametrize(
    "f, boxes",
    [
        (lambda v: np.roll(v, 1) - v, 2),
        (lambda v: np.pad(v[1:-1] * 2.0, 1), 3),
        (lambda v: np.concatenate([np.sin(v), np.cos(v)]), 2),
        (fad.grad(lambda v: np.sum((v[1:] - v[:-1] ** 2) ** 2)), 3),
    ],
)
def test_joins_and_pads_cut_a_nest_and_store_nothing_between(f, boxes):
    found = Listing(f, V)
    assert (len(found.nests), found.stores, found.arena) == (boxes, boxes, 0), found


def test_a_callback_comes_between_native_segments():
    found = Listing(lambda x: np.argsort(np.sin(x), axis=1) + 1.0, X)
    assert found.calls == ["argsort"] and len(found.nests) == 2, found
    assert [line.split()[0] for line in found.text.splitlines()] == ["loops", "call", "loops", "arena:"]


def test_nothing_to_do_is_nothing():
    assert Listing(lambda x: x, X).nests == []
    assert Listing(lambda x: x.reshape(-1), X).nests == []
    assert Listing(lambda x: np.sin(x), np.zeros((0, 3))).nests == []


# -- laws --------------------------------------------------------------------------------------------------------------


def steps_of(program):
    function = simplify(fad.trace(program.function)(*program.args))
    return function, partition(function)


@examples(60)
@given(programs())
def test_every_stored_node_is_written_once_after_what_it_reads(program):
    function, parts = steps_of(program)
    written = []
    for step in parts.steps:
        roots = [step.node] if isinstance(step, Callback) else step.roots
        if isinstance(step, Callback):  # what NumPy is given lies in memory
            for a in step.node.args:
                while isinstance(a, fad.Expr) and a.op is not None and not isinstance(a, fad.Var) and a.id not in parts.stored:
                    a = parts.alias.get(a.id, a.args[0])
                assert not isinstance(a, fad.Expr) or a.op is None or isinstance(a, fad.Var) or a.id in written
        written += [r.id for r in roots]
    assert sorted(written) == sorted(parts.stored)
    for y in function.outputs:
        base = parts.alias.get(y.id, y)
        assert base.op is None or isinstance(base, fad.Var) or base.id in parts.stored


@examples(60)
@given(programs())
def test_boxes_fill_a_nest_and_folds_are_not_cut(program):
    _, parts = steps_of(program)
    done: set = set()
    for step in parts.steps:
        if isinstance(step, Callback):
            done.add(step.node.id)
            continue
        if isinstance(step, Nest) and 0 not in step.domain:
            found = pull_bodies(step, parts, done)
            assert sum(prod(hi - lo for lo, hi in b.box) for b in found) == prod(step.domain)
            assert len(found) == 1 or not any(b.folds for b in found)
        done |= {r.id for r in step.roots}


def test_partitions_of_long_programs_take_linear_time():
    def seconds(n):
        def f(x):
            y = x
            for k in range(n):
                y = np.sin(y) * x + y[::-1] * float(k % 7)
            return y

        function = simplify(fad.trace(f)(V))
        start = time.perf_counter()
        partition(function)
        return time.perf_counter() - start

    short, long = min(seconds(250) for _ in range(3)), seconds(5_000)
    assert long < 100 * short  # 20 if nothing disturbs the clock


# -- unrolled loops ------------------------------------------------------------------------------------------------------


def count_code(f, *args):
    """Nodes of a program, and instructions of each of its nests: those of all boxes, for each is code of its own."""
    function = simplify(fad.jit(f).trace(*args))
    parts, done, counts = partition(function), set(), []
    for step in parts.steps:
        counts.append(sum(len(b.instructions) for b in pull_bodies(step, parts, done)))
        done |= {r.id for r in step.roots}
    return len(function.nodes), counts


def runge_kutta(f, steps, h=0.01):
    def loss(y):
        for _ in range(steps):
            k1 = f(y)
            k2 = f(y + h / 2 * k1)
            k3 = f(y + h / 2 * k2)
            k4 = f(y + h * k3)
            y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return np.sum(y * y)

    return fad.grad(loss)


SHIFTED = {
    "roll": lambda y: np.roll(y, 1) * y,
    "Lorenz 96": lambda y: np.roll(y, 1) * (np.roll(y, -1) - np.roll(y, 2)) - y,
    "concatenate": lambda y: np.concatenate([y[1:] * y[:-1], [1.0]]),
    "pad": lambda y: np.pad(y[2:] * y[:-2], (1, 1)),
}


@pytest.mark.parametrize("name", SHIFTED)
def test_steps_on_shifted_products_are_code_in_proportion(name):
    """What a level makes in one nest, another nest at that level would make again, and all that this one needs for it."""
    for shape in ((8,), (40,), (1000,)):
        for steps in (2, 10, 20):
            nodes, counts = count_code(runge_kutta(SHIFTED[name], steps), np.ones(shape))
            assert sum(counts) <= 6 * nodes, (shape, steps, nodes, sum(counts))


def correlate(n):
    def loss(y, w):
        total = 0.0
        for k in range(n):
            total = total + np.roll(y, k) * np.roll(w, k + 1)
        return np.sum(total * total)

    return fad.grad(loss, (0, 1)), np.ones(1000), np.ones(1000)


def accumulate(n):
    def loss(x):
        a = total = 0.0
        for k in range(n):
            a = a * 0.9 + x[k] * x[k]
            total = total + np.sin(a)
        return total

    return fad.grad(loss), np.ones(n)


@pytest.mark.parametrize("program", [correlate, accumulate])
def test_values_cut_at_many_places_are_many_nests(program):
    """A nest in which each of n values has a box of its own would be code in proportion to n squared."""
    for n in (20, 50, 100):
        nodes, counts = count_code(*program(n))
        assert max(counts) <= 2.5 * CODE and sum(counts) <= 16 * nodes, (n, nodes, max(counts), sum(counts))
