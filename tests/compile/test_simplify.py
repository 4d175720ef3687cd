"""Simplify: the rewritten tree is smaller, and equal to the last bit on NaN, infinities and zeros of both signs."""

import time

import numpy as np
import pytest
from hypothesis import given

import fad
import fad.nn
from fad.compile.simplify import simplify
from fad.core.primitive import registry
from fad.testing import assert_close

from .programs import programs
from .test_differential import assert_same, examples, reference

X, Y = np.linspace(-1.0, 2.0, 6).reshape(2, 3), np.ones((2, 3))
EDGES = np.array([0.0, -0.0, 1.0, -1.5, np.inf, -np.inf, np.nan, 5e-324, 1e308, -1e308])
strong_multiply = registry["strong_multiply"]


def simple(f, *args):
    """The simplified Function of f."""
    return simplify(fad.trace(f)(*args))


def names(function):
    """Its operations in order."""
    return [n.op.name for n in function.nodes]


# -- what is left of a tree --------------------------------------------------------------------------------------------

SMALLER = {
    "common subexpressions": (lambda x: np.sin(x) * np.cos(x) + np.sin(x), ["sin", "cos", "multiply", "add"]),
    "equal constants": (lambda x: (x * np.array([1.0, 2.0, 3.0]), x * np.array([1.0, 2.0, 3.0])), ["multiply"]),
    "dead code": (lambda x: (np.exp(x), np.sin(x))[1], ["sin"]),
    "times one": (lambda x: np.sin(1.0 * x * 1), ["sin"]),
    "times ones": (lambda x: np.sin(np.ones((2, 3)) * x), ["sin"]),
    "over one": (lambda x: np.sin(x / 1.0), ["sin"]),
    "minus zero": (lambda x: np.sin(x - 0.0), ["sin"]),
    "plus minus zero": (lambda x: np.sin(x + -0.0), ["sin"]),
    "twice negated": (lambda x: np.sin(np.negative(-x)), ["sin"]),
    "positive": (lambda x: np.sin(+x), ["sin"]),
    "stop_gradient": (lambda x: np.sin(fad.stop_gradient(x)), ["sin"]),
    "same dtype": (lambda x: np.sin(x.astype(np.float64)), ["sin"]),
    "a reshape back": (lambda x: np.sin(np.reshape(np.reshape(x, (3, 2)), (2, 3))), ["sin"]),
    "reshapes in a row": (lambda x: np.reshape(np.reshape(x, (3, 2)), (6,)), ["reshape"]),
    "transposed twice": (lambda x: np.sin(x.T.T), ["sin"]),
    "three transposes": (lambda x: np.transpose(np.transpose(x[None], (1, 2, 0)), (2, 1, 0)), ["reshape", "transpose"]),
    "a broadcast to its own shape": (lambda x: np.sin(np.broadcast_to(x, (2, 3))), ["sin"]),
    "first power": (lambda x: np.sin(x**1), ["sin"]),
    "second power": (lambda x: x**2, ["square"]),
    "a reduction over nothing": (lambda x: np.max(x, axis=()), []),
    "a reduction over one": (lambda x: np.sin(np.max(x[None], axis=0)), ["sin"]),
    "a selection that is known": (lambda x: np.sin(np.where(True, x, 2.0)), ["sin"]),
    "a choice of equals": (lambda x: np.sin(np.where(x > 0, x, x)), ["sin"]),
    "arithmetic of constants": (lambda x: x * np.sin(np.array([1.0, 2.0, 3.0]) + 1.0), ["multiply"]),
    "dense": (lambda x: fad.nn.dense(x, np.ones((3, 600)), np.ones(600)), None),
    "logsumexp": (lambda x: fad.nn.logsumexp(x, axis=1), None),
}


@pytest.mark.smoke
@pytest.mark.parametrize("case", SMALLER)
def test_what_is_left(case):
    f, left = SMALLER[case]
    function = simple(f, X)
    if left is None:  # written out
        assert case not in names(function)
    else:
        assert names(function) == left
    assert_close(function(X), fad.trace(f)(X)(X), ulp=4 if left is None else 0)


# -- what must stay: all of these differ somewhere on EDGES from what algebra says -------------------------------------

STAYS = {
    "plus zero": (lambda x: x + 0.0, 1),
    "minus minus zero": (lambda x: x - -0.0, 1),
    "times zero": (lambda x: x * 0.0, 1),
    "over itself": (lambda x: x / x, 1),
    "minus itself": (lambda x: x - x, 1),
    "zero minus": (lambda x: 0.0 - x, 1),
    "times minus one": (lambda x: x * -1.0, 1),
    "there and back": (lambda x: np.log(np.exp(x)), 2),
    "associativity": (lambda x: (x + 1.0) - 1.0, 2),
    "two scalings": (lambda x: x * 1e200 * 1e-200, 2),
    "equal to itself": (lambda x: x == x, 1),
    "maximum of one": (lambda x: np.maximum(x, x), 1),
    "reciprocal twice": (lambda x: 1.0 / (1.0 / x), 2),
    "square root of a square": (lambda x: np.sqrt(x * x), 2),
    "to float32 and back": (lambda x: x.astype(np.float32).astype(np.float64), 2),
    "a sum over one": (lambda x: np.sum(x[None], axis=0), 1),
    "zero to the power": (lambda x: x**0, 0),
    "strongly times zero": (lambda x: strong_multiply(x, 0.0), 0),
    "strongly times three": (lambda x: strong_multiply(3.0, x), 1),
    "half powers": (lambda x: (x**1.5, x**2.5, x**-0.5), 3),
    "small powers": (lambda x: (x**3, x**4, x**-1), 3),
    "a number and a broadcast one": (lambda x: (x * 2.0, x * np.full(10, 2.0)), 1),
    "zeros of two signs": (lambda x: (x * 0.0, x * -0.0, np.copysign(x, 0.0), np.copysign(x, -0.0)), 4),
    "numbers of several kinds": (lambda x: (x.astype(int) * 0 + 1, x.astype(int) * 0 + 1.0, x.astype(int) * 0 + True), 3),
}


@pytest.mark.parametrize("case", STAYS)
def test_algebra_that_rounding_forbids(case):
    f, least = STAYS[case]
    x = np.where(np.isfinite(EDGES), EDGES, 0.0) % 100 if case == "numbers of several kinds" else EDGES
    function = simple(f, x)
    assert len(function.nodes) >= least
    with np.errstate(all="ignore"):
        got, want = (list(map(np.asarray, fad.tree.leaves(y))) for y in (function(x), f(x)))
    if "powers" in case:  # NumPy's pow rounds in its own way
        assert_close(got, want, ulp=4)
        got, want = (list(map(np.sign, [np.copysign(1.0, y) for y in ys])) for ys in (got, want))
    assert_same(got, want)


def test_complex_numbers_times_one_stay():
    z = np.array([complex(np.inf, 0.0), complex(1.0, -0.0), 1 + 2j])
    with np.errstate(all="ignore"):
        for f in (lambda z: z * 1.0, lambda z: z / 1.0, lambda z: z + -0.0, lambda z: z - 0.0):
            got, want = np.asarray(simple(f, z)(z)), f(z)
            assert_same([got.real, got.imag], [want.real, want.imag])


def test_integers_of_one_value_and_several_dtypes_are_several_constants():
    ones = [np.ones(2, d) for d in (np.float64, np.float32, np.int64, np.int32, bool)]
    function = simple(lambda x: [x + c for c in ones], np.float32(1.0))
    assert [y.dtype for y in function(np.float32(1.0))] == [(np.float32(1.0) + c).dtype for c in ones]


def test_large_constants_are_not_folded():
    """A program does not carry an array that it can make."""
    number = fad.Const(np.float64(1.5))
    function = simple(lambda x: x + np.sum(np.broadcast_to(number, (1000, 1000)) * 2.0, axis=0), np.ones(1000))
    assert all(c.size == 1 for c in function.constants)
    table = np.arange(1e5)
    assert "sin" in names(simple(lambda x: x + np.sin(fad.Const(table)), np.ones(100_000)))


def test_what_fails_when_folded_fails_when_run():
    ids, table = fad.Const(np.array([7])), fad.Const(np.array([1.0, 2.0]))
    gather = registry["gather"]
    node = fad.Expr(gather, (table, ids), {}, (1,), np.dtype(float), None)
    x = fad.var("x", (1,))
    with pytest.raises(IndexError):
        simplify(fad.Function((x,), (node + x,)))(np.ones(1))


# -- laws --------------------------------------------------------------------------------------------------------------


@examples(60)
@given(programs(edges=True, dtypes=["float64", "float32"]))
def test_values_stay(program):
    want, moved = reference(program.function, program.args)
    with np.errstate(all="ignore"):
        assert_same(simple(program.function, *program.args)(*program.args), want, None if program.exact else moved)


@examples(20)
@given(programs(dtypes=["float64"], max_steps=8))
def test_simplifying_again_changes_nothing(program):
    once = simple(program.function, *program.args)
    kinds = lambda f: sorted((n.op.name, n.shape) for n in f.nodes)  # nodes that do not wait for each other may change places
    assert kinds(simplify(once)) == kinds(once)


@examples(20)
@given(programs(dtypes=["float64", "float32"], max_steps=8))
def test_a_gradient_stays(program):
    f = fad.grad(program.loss, program.floats)
    want, moved = reference(f, program.args)
    with np.errstate(all="ignore"):
        assert_same(list(simple(f, *program.args)(*program.args)), want, moved)


def test_the_original_is_left_alone():
    function = fad.trace(lambda x: {"y": np.sin(x) * 1.0, "z": (x, None)})(X)
    before = str(function), function.key
    result = simplify(function)
    assert (str(function), function.key) == before
    assert (result.in_tree, result.out_tree, result.name) == (function.in_tree, function.out_tree, function.name)
    assert result(X)["z"][1] is None


def test_long_and_deep_trees_take_linear_time_and_no_recursion():
    def chain(n):
        def f(x):
            y = x
            for k in range(n):
                y = np.sin(y) + x * float(k % 7)
            return y

        function = fad.trace(f)(1.0)
        start = time.perf_counter()
        simplify(function)
        return time.perf_counter() - start

    chain(100)
    short, long = min(chain(1000) for _ in range(3)), chain(20_000)
    assert long < 100 * short  # 20 if nothing disturbs the clock
