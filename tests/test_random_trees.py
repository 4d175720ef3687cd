"""Whole random expression trees: both modes, every nesting, tracing and batching agree on them; failures shrink."""

import dataclasses

import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

import fad
from fad.core.primitive import registry
from fad.testing import OPERATIONS, GradientError, Program, Step, assert_close, check_grads, programs


def examples(n):
    """n examples in the usual profile, more in a thorough one."""
    return settings(max_examples=max(1, n * settings().max_examples // 50))


def close(a, b, eps):
    """Equal up to rounding on the scale of each array."""
    for x, y in zip(fad.tree.leaves(a), fad.tree.leaves(b), strict=True):
        scale = float(np.max(np.abs(y), initial=0.0))
        assert_close(x, np.asarray(y)[()], ulp=8, atol=1e3 * eps * max(scale, 1.0))


@examples(60)
@given(programs())
def test_derivatives_match_differences(program):
    check_grads(program.function, program.args)


@examples(15)
@given(programs(dtype=np.float32))
def test_derivatives_of_float32_match_differences(program):
    check_grads(program.function, program.args, order=1)


@examples(60)
@given(programs())
def test_modes_agree(program):
    report = fad.compare_modes(program.function, *program.args, repeats=1)
    assert report.agree
    assert report.inputs == sum(x.size for x in program.args)
    everything = tuple(range(len(program.args)))
    jacobians = [fad.jacobian(program.function, everything, mode=mode)(*program.args) for mode in ("forward", "reverse", "auto")]
    close(jacobians[1], jacobians[0], 2e-16)
    close(jacobians[2], jacobians[0], 2e-16)


@examples(40)
@given(programs(max_steps=6))
def test_the_four_hessians_agree(program):
    def total(x):
        return np.sum(np.sin(program.function(x, *program.args[1:])))

    x = program.args[0]
    jacobians = (fad.jacfwd, fad.jacrev)
    hessians = [outer(inner(total))(x) for outer in jacobians for inner in jacobians]
    for hessian in hessians[1:]:
        close(hessian, hessians[0], 2e-16)
    rows = np.reshape(hessians[0], (x.size, x.size))
    close(rows, rows.T.copy(), 2e-16)


@examples(60)
@given(programs())
def test_tracing_keeps_the_value(program):
    expected = np.asarray(program.function(*program.args))[()]
    for concrete in (False, True):
        traced = fad.trace(program.function, concrete=concrete)(*program.args)
        if "np.hypot" in program.source:  # squares of norms are written without the root
            close(traced(*program.args), expected, 2e-16)
        else:
            assert_close(traced(*program.args), expected, ulp=0)
        assert str(traced).startswith("program = lambda")


@examples(60)
@given(programs(), st.sampled_from([1, 3]))
def test_vmap_is_a_loop(program, size):
    batch = tuple(np.stack([x + 0.01 * k for k in range(size)]) for x in program.args)
    together = fad.vmap(program.function)(*batch)
    alone = np.stack([program.function(*(x[k] for x in batch)) for k in range(size)])
    close(together, alone, 2e-16)


@examples(25)
@given(programs(max_steps=6))
def test_vmap_and_grad_commute(program):
    def total(*xs):
        return np.sum(program.function(*xs))

    gradient = fad.grad(total, tuple(range(len(program.args))))
    batch = tuple(np.stack([x, x + 0.01]) for x in program.args)
    together = fad.vmap(gradient)(*batch)
    alone = [np.stack(column) for column in zip(*(gradient(*(x[k] for x in batch)) for k in range(2)), strict=True)]
    close(list(together), alone, 2e-16)


@given(programs())
def test_a_program_prints_as_the_source_that_it_is(program):
    scope = {"np": np}
    exec(repr(program), scope)
    assert_close(scope["program"](*scope["args"]), program.function(*program.args), ulp=0)


def test_every_operation_turns_up():
    met = {text for text, _ in OPERATIONS}

    @settings(max_examples=400, database=None, derandomize=True)
    @given(programs())
    def collect(program):
        met.difference_update(step.text for step in program.steps)

    collect()
    assert not met


def perturbed(name):
    """The derivative of a primitive with its first rule times 1.001."""
    fact = registry[name].derivative
    return dataclasses.replace(fact, rules=(lambda *args: 1.001 * fact.rules[0](*args), *fact.rules[1:]))


@pytest.mark.parametrize("name", ["sin", "tanh", "exp"])
def test_a_failing_program_shrinks_to_its_essential_lines(name):
    op = registry[name]
    right = op.derivative

    def fails(program):
        try:
            check_grads(program.function, program.args, order=1)
        except GradientError:
            return True
        return False

    object.__setattr__(op, "derivative", perturbed(name))
    try:
        smallest = find(programs(), fails, settings=settings(max_examples=3000, database=None, derandomize=True))
    finally:
        object.__setattr__(op, "derivative", right)
    assert len(smallest.steps) == 1
    assert f"np.{name}(" in repr(smallest)
    assert all(x.size == 1 for x in smallest.args)
    assert not fails(smallest)


def test_a_program_by_hand():
    program = Program((np.array([0.5]),), (Step("np.sin({a})", 0, 0), Step("{a} * {b}", 1, 0)))
    assert program.source == "def program(x0):\n    v0 = np.sin(x0)\n    v1 = v0 * x0\n    return v1"
    assert_close(program.function(*program.args), np.sin(program.args[0]) * 0.5)
