"""Optimizers against the papers' recurrences, on pytrees, in both dtypes, with missing gradients."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import fad
from fad import optim, tree
from fad.errors import TreeError

gradients = arrays(float, (5, 3), elements=st.floats(-10, 10))  # five steps of a vector of three

OPTIMIZERS = {
    "sgd": optim.sgd(0.1),
    "momentum": optim.momentum(0.1),
    "nesterov": optim.nesterov(0.1),
    "adam": optim.adam(0.1),
    "clipped": optim.chain(optim.clip_norm(1.0), optim.clip(0.5), optim.adam(0.1)),
    "adamw": optim.chain(optim.scale_by_adam(), optim.decay_weights(0.01), optim.descend(0.1)),
    "scheduled": optim.sgd(lambda step: 0.1 / (1.0 + step)),
}


def run(optimizer, grads, params):
    """The parameters after each step."""
    state, path = optimizer.init(params), []
    for g in grads:
        updates, state = optimizer.update(g, state, params)
        params = optim.apply_updates(params, updates)
        path.append(params)
    return np.array(path)


@given(gradients)
def test_sgd(grads):
    exact = 1 - 0.1 * np.cumsum(grads, axis=0)  # may cancel to nothing: rounding errors are then all that is left
    np.testing.assert_allclose(run(optim.sgd(0.1), grads, np.ones(3)), exact, atol=1e-12)


@given(gradients, st.floats(0, 0.99))
def test_momentum_and_nesterov(grads, mass):
    p, q, v, heavy, ahead = np.ones(3), np.ones(3), np.zeros(3), [], []
    for g in grads:
        v = mass * v + g
        p, q = p - 0.1 * v, q - 0.1 * (g + mass * v)
        heavy.append(p)
        ahead.append(q)
    np.testing.assert_allclose(run(optim.momentum(0.1, mass), grads, np.ones(3)), heavy, atol=1e-12)
    np.testing.assert_allclose(run(optim.nesterov(0.1, mass), grads, np.ones(3)), ahead, atol=1e-12)


@pytest.mark.smoke
@given(gradients)
def test_adam_is_algorithm_1(grads):
    p, m, v, path = np.ones(3), np.zeros(3), np.zeros(3), []
    for t, g in enumerate(grads, start=1):
        m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g**2
        p = p - 0.1 * (m / (1 - 0.8**t)) / (np.sqrt(v / (1 - 0.95**t)) + 1e-6)
        path.append(p)
    np.testing.assert_allclose(run(optim.adam(0.1, 0.8, 0.95, 1e-6), grads, np.ones(3)), path, rtol=1e-9, atol=1e-12)


def test_nesterov_converges_faster_than_gradient_descent():
    scales = np.array([1.0, 0.01])  # a narrow valley
    grad = fad.grad(lambda p: 0.5 * np.sum(scales * p**2))

    def distance(optimizer):
        params = np.ones(2)
        state = optimizer.init(params)
        for _ in range(100):
            updates, state = optimizer.update(grad(params), state, params)
            params = optim.apply_updates(params, updates)
        return np.linalg.norm(params)

    assert distance(optim.nesterov(0.5)) < 0.2 * distance(optim.sgd(0.5))


@pytest.mark.smoke
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_structure_and_inputs_are_kept(name, dtype):
    optimizer = OPTIMIZERS[name]
    params = {"w": np.ones((2, 3), dtype), "deep": [np.ones(2, dtype), (np.ones((), dtype),)]}
    grads = tree.map(lambda p: np.full_like(p, 0.3), params)
    before = tree.map(np.copy, (params, grads))
    state = optimizer.init(params)
    for _ in range(3):
        updates, state = optimizer.update(grads, state, params)
        new = optim.apply_updates(params, updates)
        assert tree.structure(new) == tree.structure(params)
        assert {np.asarray(leaf).dtype for leaf in tree.leaves(new)} == {np.dtype(dtype)}
        assert all((a < b).all() for a, b in zip(tree.leaves(new), tree.leaves(params)))
    for a, b in zip(tree.leaves((params, grads)), tree.leaves(before)):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_missing_gradients_leave_their_parameter_alone(name):
    optimizer = OPTIMIZERS[name]
    params = {"a": np.array([1, 2]), "w": np.ones(2), "z": (3, np.ones(1))}
    grads = fad.grad(lambda p: np.sum(p["w"] ** 2) + np.sum(p["z"][1] ** 3))(params)
    grads["z"] = (None, grads["z"][1])
    state = optimizer.init(params)
    for _ in range(2):
        updates, state = optimizer.update(grads, state, params)
        new = optim.apply_updates(params, updates)
        np.testing.assert_array_equal(new["a"], [1, 2])
        assert new["a"].dtype == params["a"].dtype
        assert new["z"][0] == 3
        assert (new["w"] < 1).all()
        assert (new["z"][1] < 1).all()


def test_schedule_sees_the_steps_0_1_2():
    steps = []
    optimizer = optim.sgd(lambda step: steps.append(int(step)) or 0.1)
    run(optimizer, np.ones((3, 2)), np.zeros(2))
    assert steps == [0, 1, 2]


@given(arrays(float, 4, elements=st.floats(-100, 100)), st.floats(0.1, 10))
def test_clip_norm_bounds_the_joint_norm_and_keeps_direction(g, limit):
    clipped, _ = optim.clip_norm(limit).update({"a": g[:1], "b": g[1:]}, (), None)
    clipped = np.concatenate([clipped["a"], clipped["b"]])
    assert np.linalg.norm(clipped) <= limit * (1 + 1e-12)
    np.testing.assert_allclose(clipped * max(1, np.linalg.norm(g) / limit), g, rtol=1e-10, atol=1e-12)


def test_decay_first_is_a_penalty_and_decay_late_is_decoupled():
    params, zero = np.array([2.0]), np.zeros(1)
    ridge = optim.chain(optim.decay_weights(0.1), optim.sgd(0.5))
    np.testing.assert_allclose(ridge.update(zero, ridge.init(params), params)[0], [-0.1])
    adamw = OPTIMIZERS["adamw"]
    np.testing.assert_allclose(adamw.update(zero, adamw.init(params), params)[0], [-0.1 * 0.01 * 2])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_update_can_be_differentiated(name):
    """An unrolled step as a function of the gradient: forward and reverse agree with central differences."""
    optimizer = OPTIMIZERS[name]
    params = np.array([0.7, -0.4])

    def after_two(g):
        state, p = optimizer.init(params), params
        for scale in (1.0, 0.5):
            updates, state = optimizer.update(scale * g, state, p)
            p = optim.apply_updates(p, updates)
        return np.sum(p * np.array([1.0, 2.0]))

    g, h = np.array([0.2, -0.3]), 1e-6
    numeric = [(after_two(g + h * e) - after_two(g - h * e)) / (2 * h) for e in np.eye(2)]
    np.testing.assert_allclose(fad.grad(after_two)(g), numeric, atol=1e-7)


def test_wrong_trees_are_named():
    optimizer = optim.momentum(0.1)
    with pytest.raises(TreeError, match="one structure"):
        optimizer.update({"v": np.ones(2)}, optimizer.init({"w": np.ones(2)}), {"w": np.ones(2)})
    with pytest.raises(TreeError, match="3 parts for 2 links"):
        optimizer.update(np.ones(2), ((), (), ()), np.ones(2))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_update_runs_on_symbols(name):
    """A traced step holds for every step number: state, the count included, is an input of the Function."""
    optimizer = OPTIMIZERS[name]
    params, grads = {"w": np.ones(3, np.float32)}, {"w": np.array([0.3, -0.2, 0.1], np.float32)}
    state = optimizer.init(params)
    traced = fad.trace(optimizer.update)(grads, state, params)
    for _ in range(3):
        by_trace = traced(grads, state, params)[0]
        updates, state = optimizer.update(grads, state, params)
        assert by_trace["w"].dtype == np.float32
        np.testing.assert_allclose(by_trace["w"], updates["w"], rtol=1e-6)


# Hyperparameters and sizes

MAKERS = {
    "sgd": optim.sgd, "momentum": lambda v: optim.momentum(v, v), "nesterov": lambda v: optim.nesterov(v, v),
    "adam": lambda v: optim.adam(v, v, v, v), "descend": lambda v: optim.descend(lambda step: v / (1 + step)),
    "decay_weights": optim.decay_weights, "clip": optim.clip, "clip_norm": optim.clip_norm,
}  # fmt: skip


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("number", [np.float64(0.5), np.float32(0.5), np.array(0.5)], ids=["float64", "float32", "array"])
def test_numpy_hyperparameters_keep_float32(name, number):  # flax#924, optax#1051
    g = np.array([3.0, -0.2, 0.1], np.float32)
    for run in (lambda f: f, fad.jit):
        expected, found = (two_steps(run, MAKERS[name](v), g) for v in (0.5, number))
        assert {leaf.dtype for leaf in tree.leaves(found) if leaf.dtype.kind == "f"} == {np.dtype(np.float32)}
        for a, b in zip(tree.leaves(found), tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize("name", MAKERS)
def test_hyperparameters_may_be_arguments_of_compiled_code(name):
    g = np.array([3.0, -0.2, 0.1], np.float32)
    found = fad.jit(lambda v: two_steps(lambda f: f, MAKERS[name](v), g))(np.float64(0.5))
    for a, b in zip(tree.leaves(found), tree.leaves(two_steps(lambda f: f, MAKERS[name](0.5), g)), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-6)


def two_steps(run, optimizer, g):
    """The parameters and the state after two updates."""
    p, state, update = np.ones_like(g), optimizer.init(g), run(optimizer.update)
    for _ in range(2):
        updates, state = update(g, state, p)
        p = optim.apply_updates(p, updates)
    return p, state


def test_an_update_does_not_change_the_dtype_of_its_parameter():
    assert optim.apply_updates(np.ones(2, np.float32), np.ones(2)).dtype == np.float32


def test_a_learning_rate_can_be_differentiated():
    p = np.array([1.0, -2.0], np.float32)
    after = lambda rate: np.sum(optim.sgd(rate).update(p, np.zeros((), np.int64), p)[0])
    assert fad.grad(after)(0.5) == 1.0


@pytest.mark.parametrize("run", [lambda f: f, fad.jit], ids=["eager", "jit"])
@pytest.mark.parametrize(("limit", "g", "expected"), [
    (np.inf, np.array([3.0, 4.0]), [3.0, 4.0]),  # optax#1752
    (0.0, np.array([3.0, 4.0]), [0.0, 0.0]),
    (0.0, np.zeros(2), [0.0, 0.0]),
    (1.0, np.zeros(2), [0.0, 0.0]),
    (1.0, np.array([3e25, 4e25], np.float32), [0.6, 0.8]),  # tensorflow#21363, pytorch#46849
    (1.0, np.array([3e38, 3e38], np.float32), [0.5**0.5, 0.5**0.5]),
    (1.0, np.array([3e300, 4e300]), [0.6, 0.8]),
    (1e-35, np.array([3e-30, 4e-30], np.float32), [6e-36, 8e-36]),
    (1.0, np.array([3e-30, 4e-30], np.float32), [3e-30, 4e-30]),
    (1.0, np.array([3j, 4.0]), [0.6j, 0.8]),
    (1.0, np.array([np.nan, 1.0]), [np.nan, np.nan]),
    (1.0, np.array([np.inf, 1.0]), [np.nan, np.nan]),
])  # fmt: skip
def test_clip_norm_of_gradients_of_any_size(run, limit, g, expected):
    clipped, _ = run(lambda g: optim.clip_norm(limit).update({"a": g[:1], "b": g[1:]}, (), None))(g)
    np.testing.assert_allclose(np.concatenate([clipped["a"], clipped["b"]]), expected, rtol=1e-6)
    assert clipped["a"].dtype == g.dtype


def test_clip_norm_of_no_gradient():
    assert optim.clip_norm(1.0).update({"n": None}, (), None)[0] == {"n": None}
    assert optim.clip_norm(1.0).update({"w": np.zeros((0, 2))}, (), None)[0]["w"].shape == (0, 2)


def test_adam_of_complex_gradients_divides_by_their_modulus():
    optimizer, g = optim.adam(1.0), np.array([3.0 + 4.0j])
    np.testing.assert_allclose(optimizer.update(g, optimizer.init(g), g)[0], -g / 5, rtol=1e-7)
