"""Training: batches cover the data once, a fit is reproducible and converges, failures name place and cure."""

import builtins
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fad import losses, optim, random, stax, train, tree
from fad.errors import NonFiniteError, OutOfRangeError, ShapeError

KEY = random.key(0)


def two_moons(n=200, seed=0):
    """Two interleaved half circles, labels 0 and 1."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    angle = np.pi * (rng.random(n) + labels)
    x = np.stack([np.cos(angle) + labels, np.sin(angle) + 0.5 * labels], axis=1)
    return x + 0.05 * rng.normal(size=(n, 2)), labels


def fit(x, y, net=None, loss=losses.cross_entropy, optimizer=None, **options):
    net = net or stax.serial(stax.Dense(16), stax.Tanh, stax.Dense(2))
    options = {"key": KEY, "epochs": 3, "batch_size": 32, "progress": False} | options
    return train.fit(net, loss, optimizer or optim.adam(0.05), (x, y), **options)


# Minibatches


@given(n=st.integers(1, 40), batch_size=st.integers(1, 45), seed=st.integers(0, 100))
def test_minibatches_visit_every_row_once(n, batch_size, seed):
    x, y = np.arange(n) * 10.0, np.arange(n)
    batches = list(train.minibatches(random.key(seed), (x, y), batch_size))
    assert all((bx == 10 * by).all() for bx, by in batches)
    assert sorted(np.concatenate([by for _, by in batches])) == list(range(n))
    assert all(len(by) == batch_size for _, by in batches[:-1])
    whole = list(train.minibatches(random.key(seed), (x, y), batch_size, drop_last=True))
    assert len(whole) == n // batch_size
    assert all(len(by) == batch_size for _, by in whole)


def test_minibatches_are_shuffled_by_the_key():
    def order(key):
        return np.concatenate([rows for (rows,) in train.minibatches(key, (np.arange(100),), 7)])

    np.testing.assert_array_equal(order(KEY), order(KEY))
    assert not np.array_equal(order(KEY), order(random.key(1)))
    assert not np.array_equal(order(KEY), np.arange(100))


def test_wrong_batches():
    with pytest.raises(ShapeError, match=r"differ in length: got \[3, 4\]"):
        train.minibatches(KEY, (np.ones(3), np.ones(4)), 2)
    with pytest.raises(ShapeError, match="empty data set"):
        train.minibatches(KEY, (np.ones(0),), 2)
    for size in (0, -1, 2.0, True):
        with pytest.raises(OutOfRangeError, match="batch_size"):
            train.minibatches(KEY, (np.ones(3),), size)


# The loop


@pytest.mark.smoke
def test_fit_learns_and_keeps_a_history():
    (x, y), held_out = two_moons(), two_moons(seed=1)
    result = fit(x, y, epochs=40, validation=held_out)
    assert result.history["validation_accuracy"][-1] > 0.97
    assert result.history["loss"][-1] < 0.3 * result.history["loss"][0]
    assert {name: len(values) for name, values in result.history.items()} == {
        "batch_loss": 40 * 7, "loss": 40, "accuracy": 40, "seconds": 40,
        "validation_loss": 40, "validation_accuracy": 40,
    }  # fmt: skip
    assert {leaf.dtype for leaf in tree.leaves(result.params)} == {np.dtype(np.float32)}
    assert re.fullmatch(
        r"FitResult\(40 epochs in [\d.]+ s, loss [\d.e-]+, accuracy [\d.]+, validation loss [\d.e-]+, "
        r"validation accuracy [\d.]+, 82 parameters\)",
        repr(result),
    )


def test_fit_is_reproducible_and_depends_on_the_key():
    x, y = two_moons()
    first, again, other = fit(x, y), fit(x, y), fit(x, y, key=random.key(1))
    assert first.history["batch_loss"] == again.history["batch_loss"]
    for a, b, c in zip(*(tree.leaves(r.params) for r in (first, again, other))):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)


def test_fit_does_not_touch_its_data():
    x, y = two_moons()
    kept = x.copy(), y.copy()
    fit(x, y)
    np.testing.assert_array_equal(x, kept[0])
    np.testing.assert_array_equal(y, kept[1])


def test_fit_reaches_the_least_squares_solution():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 3))
    y = x @ [[1.0], [-2.0], [0.5]] + 3 + 0.1 * rng.normal(size=(100, 1))
    result = fit(x, y, stax.Dense(1), losses.mean_squared_error, optim.momentum(0.05),
                 epochs=400, batch_size=100, dtype=np.float64)  # fmt: skip
    exact = np.linalg.lstsq(np.column_stack([x, np.ones(100)]), y, rcond=None)[0]
    np.testing.assert_allclose(np.vstack([result.params["w"], result.params["b"]]), exact, atol=1e-6)
    assert "accuracy" not in result.history


def test_fit_trains_nets_with_state_and_randomness():
    x, y = two_moons(65)  # with batches of 32 a single row is left over, on which batch norm could not train
    net = stax.serial(stax.Dense(16), stax.BatchNorm(), stax.Relu, stax.Dropout(0.1), stax.Dense(2))
    result = fit(x, y, net, epochs=30)
    assert len(result.history["batch_loss"]) == 60
    assert (result.state["1_BatchNorm"]["mean"] != 0).any()
    outputs = train.predict(net, result.params, result.state, x)
    assert train.accuracy(outputs, y) > 0.9
    np.testing.assert_array_equal(outputs, train.predict(net, result.params, result.state, x))


def test_metrics_of_ones_own():
    def worst(outputs, y):
        return np.max(np.abs(outputs - y))

    x = np.linspace(-1, 1, 40)[:, None]
    result = fit(x, x, stax.Dense(1), losses.mean_squared_error, metrics=[worst], validation=(x, x))
    assert len(result.history["worst"]) == len(result.history["validation_worst"]) == 3


def test_a_keyboard_interrupt_returns_what_was_reached():
    x, y = two_moons()
    calls = []

    def interrupted(outputs, labels):
        calls.append(1)
        if len(calls) == 10:  # in the second epoch of seven batches
            raise KeyboardInterrupt
        return train.accuracy(outputs, labels)

    result = fit(x, y, metrics=[interrupted])
    assert result.interrupted
    assert len(result.history["loss"]) == 1
    assert "interrupted" in repr(result)
    assert len(result.history["batch_loss"]) == 10
    np.testing.assert_array_equal(tree.leaves(result.opt_state)[0], 10)


def test_progress_bar_shows_loss_and_accuracy(capsys):
    pytest.importorskip("tqdm")
    x, y = two_moons()
    fit(x, y, progress=True, validation=(x, y))
    shown = capsys.readouterr().err
    assert "epoch 3/3" in shown
    assert "21/21" in shown
    assert re.search(r"validation_accuracy=[\d.]+", shown)
    assert re.search(r"[ ,]loss=[\d.]+, accuracy=[\d.]+", shown)


def test_progress_without_tqdm_is_printed(capsys, monkeypatch):
    original = builtins.__import__

    def without_tqdm(name, *args, **kwargs):
        if name == "tqdm":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_tqdm)
    fit(*two_moons(), progress=True)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert re.match(r"epoch 3/3: loss [\d.]+, accuracy [\d.]+", lines[-1])


def test_silence(capsys):
    fit(*two_moons(), progress=False)
    assert capsys.readouterr() == ("", "")


# Failures


def test_a_diverging_loss_is_named():
    x = np.linspace(-1, 1, 64)[:, None]
    with pytest.raises(NonFiniteError, match=r"epoch \d+/50, batch \d+[\s\S]*fix: a smaller learning rate"):
        fit(x, x, stax.Dense(1), losses.mean_squared_error, optim.sgd(1e6), epochs=50)


def test_bad_data_is_named():
    x, y = two_moons()
    x[7, 1] = np.nan
    with pytest.raises(NonFiniteError, match=r"epoch 1/3, batch \d+[\s\S]*NaN[\s\S]*clean the data"):
        fit(x, y)


def test_wrong_arguments():
    x, y = two_moons(10)
    with pytest.raises(OutOfRangeError, match="epochs: got 0"):
        fit(x, y, epochs=0)
    with pytest.raises(ShapeError, match=r"\[10, 9\]"):
        fit(x, y[:9])
    with pytest.raises(ShapeError, match=r"\[10, 9\]"):
        fit(x, y, validation=(x, y[:9]))
    with pytest.raises(OutOfRangeError, match="labels"):
        fit(x, y + 1)


# Several inputs, outputs and targets


def two_heads():
    return stax.serial(stax.FanOut(2), stax.parallel(("mean", stax.Dense(1)), ("scale", stax.Dense(2))))


def test_predict_keeps_the_structure_of_outputs():
    net, x = two_heads(), np.random.default_rng(0).normal(size=(512, 3)).astype(np.float32)
    params, state = net.init(KEY, (-1, 3))
    whole = net.apply(params, state, x)[0]
    for size in (100, 512, 1000):
        mean, scale = train.predict(net, params, state, x, size)
        np.testing.assert_allclose(mean, whole[0], rtol=1e-5)
        np.testing.assert_allclose(scale, whole[1], rtol=1e-5)


def test_evaluate_sees_all_rows_of_several_outputs():
    net, x = two_heads(), np.random.default_rng(0).normal(size=(512, 3)).astype(np.float32)
    params, state = net.init(KEY, (-1, 3))
    found = train.evaluate(net, lambda o, y: np.mean((o[0] - y["a"]) ** 2), params, state, (x, {"a": x[:, :1]}))
    mean, _ = net.apply(params, state, x)[0]
    assert found == {"loss": pytest.approx(np.mean((mean - x[:, :1]) ** 2), rel=1e-5)}


@pytest.mark.parametrize("compiled", [False, True])
def test_fit_with_several_inputs_outputs_and_targets(compiled):
    x = np.random.default_rng(0).normal(size=(65, 3))
    net = stax.serial(stax.parallel(stax.Dense(4), stax.Dense(4)), stax.FanInSum, two_heads())
    y = x[:, :1] - 1, np.stack([x[:, 1], x[:, 2]], axis=1)

    def loss(outputs, targets):
        return sum(losses.mean_squared_error(o, t) for o, t in zip(outputs, targets, strict=True))

    result = fit((x, x[:, :2]), y, net, loss, validation=((x, x[:, :2]), y), epochs=60, compiled=compiled)
    assert result.history["validation_loss"][-1] < 1e-3
    assert {leaf.dtype for leaf in tree.leaves(result.params)} == {np.dtype(np.float32)}


def test_numbers_in_lists_and_tuples_are_one_array():
    for x, y in (([[0.0], [1.0]], [[0.0], [1.0]]), (((0.0,), (1.0,)), ((0.0,), (1.0,))), (([0.0], [1.0]), ([0.0], [1.0]))):
        assert fit(x, y, stax.Dense(1), losses.mean_squared_error).params["w"].shape == (1, 1)


def test_minibatches_of_trees_and_of_one_array():
    x, y = np.arange(5) * 10.0, {"a": np.arange(5)}
    for bx, by in train.minibatches(KEY, (x, y), 2):
        np.testing.assert_array_equal(bx, 10 * by["a"])
    assert sorted(np.concatenate([rows for (rows,) in train.minibatches(KEY, x, 2)])) == sorted(x)


def test_predict_of_no_rows():
    assert train.predict(stax.Relu, {}, {}, np.zeros((0, 3))).shape == (0, 3)


def test_integer_inputs_keep_the_dtype_of_the_net():
    net = stax.serial(stax.Flatten, stax.Dense(4))
    params, state = net.init(KEY, (-1, 2, 2))
    for kind in (np.uint8, np.int64, bool):
        assert train.predict(net, params, state, np.zeros((2, 2, 2), kind)).dtype == np.float32
    result = fit(np.zeros((8, 3), np.uint8), np.arange(8)[:, None], stax.Dense(1), losses.mean_squared_error)
    assert {leaf.dtype for leaf in tree.leaves((result.params, result.opt_state)) if leaf.dtype.kind == "f"} == {
        np.dtype(np.float32)
    }


# Metrics by default, and their names


def test_accuracy_is_for_classifications():
    x, counts, flags = np.ones((64, 2)), np.arange(64)[:, None], np.arange(64)[:, None] % 2
    squared, binary, classes = losses.mean_squared_error, losses.binary_cross_entropy, losses.cross_entropy
    assert "accuracy" not in fit(x, counts, stax.Dense(1), squared).history
    assert "accuracy" not in fit(x, counts[:, 0], stax.Dense(3), lambda z, y: np.mean((z[:, 0] - y) ** 2)).history
    assert "accuracy" not in fit(x, np.tile(flags, 2), stax.Dense(2), binary).history  # two labels of each example
    assert "accuracy" in fit(x, flags, stax.Dense(1), binary).history
    assert "accuracy" in fit(x, flags[:, 0], stax.Dense(2), classes).history
    assert "accuracy" in fit(x, np.eye(2, dtype=int)[flags[:, 0]], stax.Dense(2), classes).history


def test_metrics_with_names_given_to_them():
    x = np.linspace(-1, 1, 40)[:, None]
    result = fit(
        x,
        x,
        stax.Dense(1),
        losses.mean_squared_error,
        metrics=[("a", lambda o, t: 0.5), ("b", lambda o, t: 0.25)],
        validation=(x, x),
    )
    assert result.history["a"] == result.history["validation_a"] == [0.5] * 3
    assert result.history["b"] == [0.25] * 3
    assert result.history["loss"] == fit(x, x, stax.Dense(1), losses.mean_squared_error).history["loss"]


def test_an_interrupt_in_the_first_epoch_leaves_a_result_that_prints():
    def interrupted(outputs, labels):
        raise KeyboardInterrupt

    result = fit(*two_moons(), metrics=[interrupted])
    assert repr(result) == "FitResult(0 epochs in 0.0 s, 82 parameters, interrupted)"
    assert list(result.history) == ["batch_loss"]


# Scores


def test_accuracy():
    logits = np.array([[1.0, 2.0], [3.0, 0.0], [0.0, 1.0], [5.0, 4.0]])
    labels = np.array([1, 0, 0, 0])
    assert train.accuracy(logits, labels) == 0.75
    assert train.accuracy(logits, np.eye(2)[labels]) == 0.75
    assert train.accuracy(np.array([-1.0, 2.0, 0.5]), np.array([0, 1, 0])) == pytest.approx(2 / 3)
    assert train.accuracy(np.array([[-1.0], [2.0]]), np.array([[1], [1]])) == 0.5
    with pytest.raises(ShapeError, match=r"\(3,\) and \(4, 2\)"):
        train.accuracy(logits, labels[:3])


def test_accuracy_of_one_logit():  # tflearn#255, tensorflow#35490
    logits, labels = np.array([[2.0], [-1.0], [3.0]]), np.array([1, 0, 0])
    for z, y in ((logits, labels), (logits, labels[:, None]), (logits[:, 0], labels), (logits[None], labels[None])):
        assert train.accuracy(z, y) == pytest.approx(2 / 3)
    assert train.accuracy(logits, labels == 1) == pytest.approx(2 / 3)
    with pytest.raises(ShapeError):
        train.accuracy(logits[:, 0], labels[:, None])


@pytest.mark.parametrize("batch_size", [1, 3, 10, 100])
def test_predict_is_apply_in_pieces(batch_size):
    net = stax.serial(stax.Dense(4), stax.BatchNorm(), stax.Dropout(0.5))
    params, state = net.init(KEY, (-1, 3))
    x = np.random.default_rng(0).normal(size=(10, 3))
    outputs = train.predict(net, params, state, x, batch_size)
    assert outputs.dtype == np.float32
    np.testing.assert_allclose(outputs, net.apply(params, state, x.astype(np.float32))[0], rtol=1e-6)


def test_a_step_by_hand():
    net, optimizer = stax.Dense(1), optim.sgd(0.1)
    params, state = net.init(KEY, (-1, 2), np.float64)
    x, y = np.random.default_rng(0).normal(size=(8, 2)), np.ones((8, 1))
    step = train.make_step(net, losses.mean_squared_error, optimizer)
    after, _, _, value, outputs = step(params, state, optimizer.init(params), x, y, None)
    residual = x @ params["w"] + params["b"] - y
    assert value == pytest.approx(np.mean(residual**2))
    np.testing.assert_allclose(outputs, residual + y)
    np.testing.assert_allclose(after["w"], params["w"] - 0.1 * 2 * x.T @ residual / 8)
