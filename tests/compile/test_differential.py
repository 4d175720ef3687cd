"""Compiled against interpreted: whole random programs, every primitive of the registry, and special values.

The bound: an array may differ from the interpreter's by eight times what the interpreter's own result moves when each of
its roundings is moved by 4 units in the last place (three trials of Monte Carlo arithmetic, Parker 1997), plus 128 units in
the last place of the array's largest element, plus the smallest normal number. Programs of operations that IEEE 754 defines
agree to the last bit.

CI draws some 500 programs. For a long search: ``HYPOTHESIS_PROFILE=thorough pytest tests/compile/test_differential.py``,
which draws 100 times as many.
"""

from itertools import product

import numpy as np
from hypothesis import find, given, settings

import fad
from fad.native.threads import get_num_threads, set_num_threads

from .programs import OPERATIONS, SMALL, Choices, data, noisy, programs, step_of


def examples(n):
    """n examples in the usual profile, more in a thorough one."""
    return settings(max_examples=max(1, n * settings().max_examples // 50))


FLOATS = ["float64", "float32", "float64", "float32", "int64", "bool", "float"]


def spread(function, args, want) -> list:
    """How far each result moves, at most, when roundings do."""
    found = [0.0] * len(want)
    for seed in range(3):
        for k, (y, w) in enumerate(zip(noisy(function, args, seed), want, strict=True)):
            if w.dtype.kind in "fc":
                gap = np.abs(np.subtract(y, w))
                found[k] = max(found[k], float(np.max(gap[np.isfinite(gap)], initial=0.0)))
    return found


def assert_same(got, want, moved=None):
    """Equal shapes and dtypes; equal bits, or numbers within the bound; the same NaN, infinities and signs of zeros."""
    for k, (g, w) in enumerate(zip(got, want, strict=True)):
        g, w = np.asarray(g), np.asarray(w)
        assert (g.shape, g.dtype) == (w.shape, w.dtype), f"result {k}: {g.dtype}{g.shape} against {w.dtype}{w.shape}"
        for x, y in ((g.real, w.real), (g.imag, w.imag)) if w.dtype.kind == "c" else ((g, w),):
            if moved is None or w.dtype.kind not in "fc":
                assert np.array_equal(x, y, equal_nan=w.dtype.kind in "fc"), f"result {k}: {g} against {w}"
            else:
                size = np.abs(y[np.isfinite(y)]).max(initial=0.0)
                bound = 8 * moved[k] + 128 * np.finfo(w.dtype).eps * size + np.finfo(w.dtype).tiny
                with np.errstate(all="ignore"):
                    close = (x == y) | (np.isnan(x) & np.isnan(y)) | (np.abs(x - y) <= bound)
                assert np.all(close), f"result {k}, bound {bound:.3g}: {x[~close][:4]} against {y[~close][:4]}"
            zero = (x == 0) & (y == 0)
            if w.dtype.kind in "fc":
                assert np.array_equal(np.signbit(x[zero]), np.signbit(y[zero])), f"result {k}: signs of zeros, {g} against {w}"


def reference(f, args) -> tuple:
    """The results of the interpreter, and how far roundings move them."""
    function = fad.trace(f)(*args)
    with np.errstate(all="ignore"):
        want = list(map(np.asarray, fad.tree.leaves(function(*args))))
        return want, spread(function, args, want)


def check_values(program):
    """Compiled values, on one thread and on all, against the interpreter's."""
    args = program.args
    want, moved = reference(program.function, args)
    compiled, threads, results = fad.jit(program.function), get_num_threads(), []
    try:
        for n in sorted({1, threads}):
            set_num_threads(n)
            results += [compiled(*args), compiled(*args)]
    finally:
        set_num_threads(threads)
    assert_same(results[0], want, None if program.exact else moved)
    bits = [[np.asarray(y).tobytes() for y in result] for result in results]
    assert bits == bits[:1] * len(bits)


def check_derivative(program, derivative):
    """``derivative(loss)(*args)``, a list of arrays, compiled against interpreted."""
    f = derivative(program.loss)
    assert_same(fad.jit(f)(*program.args), *reference(f, program.args))


def gradient(program):
    return lambda loss: lambda *xs: list(fad.grad(loss, program.floats)(*xs))


def gradient_of_gradient(program):
    """The gradient of a smooth function of the gradient."""

    def twice(loss):
        inner = lambda *xs: sum(np.sum(np.sin(g)) for g in fad.grad(loss, program.floats)(*xs))
        return lambda *xs: list(fad.grad(inner, program.floats)(*xs))

    return twice


def directional(program):
    """Value and slope along ones."""

    def along(loss):
        def run(*xs):
            def inner(*moving):
                ys = list(xs)
                for k, y in zip(program.floats, moving, strict=True):
                    ys[k] = y
                return loss(*ys)

            moving = tuple(xs[k] for k in program.floats)
            return list(fad.jvp(inner, moving, tuple(np.ones_like(x) for x in moving)))

        return run

    return along


def settled(program):
    return bool(program.floats) and not any(s[2] == "complex128" for s in program.specs)


@examples(160)
@given(programs())
def test_values(program):
    check_values(program)


@examples(80)
@given(programs(edges=True, dtypes=["float64", "float32"]))
def test_values_with_nan_infinities_and_signed_zeros(program):
    check_values(program)


@examples(60)
@given(programs(big=True, max_steps=8, dtypes=["float64", "float32", "float64", "float32", "int64", "bool"]))
def test_values_of_arrays_that_threads_share(program):
    check_values(program)


@examples(70)
@given(programs(dtypes=FLOATS, max_steps=8).filter(settled))
def test_gradients(program):
    check_derivative(program, gradient(program))


@examples(30)
@given(programs(edges=True, dtypes=FLOATS[:2], max_steps=8).filter(settled))
def test_gradients_at_nan_infinities_and_signed_zeros(program):
    check_derivative(program, gradient(program))


@examples(30)
@given(programs(dtypes=FLOATS, max_steps=5).filter(settled))
def test_gradients_of_gradients(program):
    check_derivative(program, gradient_of_gradient(program))


@examples(40)
@given(programs(dtypes=FLOATS, max_steps=8).filter(settled))
def test_directional_derivatives(program):
    check_derivative(program, directional(program))


@examples(30)
@given(programs(big=True, dtypes=FLOATS[:2], max_steps=6).filter(settled))
def test_gradients_of_arrays_that_threads_share(program):
    check_derivative(program, gradient(program))


# -- the search itself -------------------------------------------------------------------------------------------------


def test_every_operation_fits_some_arrays():
    rng = np.random.default_rng(0)
    values = [data(k, shape, dtype) for k, (shape, dtype) in enumerate(product(SMALL[:8], ["float64", "int64", "bool"]))]
    for op in dict.fromkeys(OPERATIONS):
        tried = (
            step_of(op, Choices(int(n)), [values[k] for k in rng.permutation(len(values))], [True] * len(values))
            for n in rng.integers(0, 2**48, 500)
        )
        assert any(step is not None for step, _ in tried), op


def test_a_failing_program_shrinks_to_its_essential_lines():
    def fails(program):
        return any("np.roll" in step.text for step in program.steps)

    smallest = find(programs(max_steps=3), fails, settings=settings(max_examples=300, database=None, derandomize=True))
    assert len(smallest.steps) == 1 and len(smallest.specs) == 1
    assert "np.roll(x0, " in repr(smallest)
