"""Losses against scipy and closed forms, stability where naive formulas overflow, labels to be refused."""

import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import fad
from fad import losses
from fad.errors import DtypeError, OutOfRangeError, ShapeError

numbers = st.floats(-50, 50)
pairs = array_shapes(min_dims=1, max_dims=3, max_side=4).flatmap(
    lambda shape: st.tuples(arrays(float, shape, elements=numbers), arrays(float, shape, elements=numbers))
)
classifications = st.tuples(st.integers(1, 5), st.integers(1, 6)).flatmap(
    lambda s: st.tuples(arrays(float, s, elements=numbers), arrays(int, s[:1], elements=st.integers(0, s[1] - 1)))
)


@given(pairs)
def test_squared_and_absolute_error(pair):
    p, t = pair
    np.testing.assert_allclose(losses.mean_squared_error(p, t), np.linalg.norm(p - t) ** 2 / p.size, atol=1e-12)
    np.testing.assert_allclose(losses.mean_absolute_error(p, t), np.linalg.norm((p - t).ravel(), 1) / p.size, atol=1e-12)


@given(pairs, st.floats(-3, 3))
def test_gaussian_nll_is_scipys(pair, log_var):
    mean, target = pair
    expected = -scipy.stats.norm.logpdf(target, mean, np.exp(log_var / 2))  # may be 0, where terms of order 1 cancel
    np.testing.assert_allclose(losses.gaussian_nll(mean, log_var, target, reduction="none"), expected, rtol=1e-10, atol=1e-12)
    full = np.full(mean.shape, log_var)
    np.testing.assert_allclose(losses.gaussian_nll(mean, full, target), np.mean(expected), rtol=1e-10, atol=1e-12)


@given(pairs)
def test_binary_cross_entropy_is_the_definition(pair):
    logits, y = pair[0], scipy.special.expit(pair[1])
    expected = -y * scipy.special.log_expit(logits) - (1 - y) * scipy.special.log_expit(-logits)
    np.testing.assert_allclose(losses.binary_cross_entropy(logits, y, reduction="none"), expected, rtol=1e-12, atol=1e-300)


@pytest.mark.smoke
@given(classifications)
def test_cross_entropy_is_the_definition(case):
    logits, labels = case
    log_p = scipy.special.log_softmax(logits, axis=-1)
    expected = -log_p[np.arange(len(labels)), labels]
    rows = np.eye(logits.shape[1])[labels]
    np.testing.assert_allclose(losses.cross_entropy(logits, labels, reduction="none"), expected, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(losses.cross_entropy(logits, rows, reduction="none"), expected, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(losses.cross_entropy(logits, labels), np.mean(expected), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(losses.cross_entropy(logits, rows, reduction="sum"), np.sum(expected), rtol=1e-12, atol=1e-12)


@given(classifications)
def test_smoothed_labels_are_a_mixture(case):
    logits, labels = case
    classes = logits.shape[1]
    soft = 0.9 * np.eye(classes)[labels] + 0.1 / classes
    uniform = -np.mean(scipy.special.log_softmax(logits, axis=-1), axis=-1)
    hard = losses.cross_entropy(logits, labels, reduction="none")
    np.testing.assert_allclose(losses.cross_entropy(logits, soft, reduction="none"), 0.9 * hard + 0.1 * uniform, atol=1e-10)


def test_extreme_logits_stay_finite():
    for dtype, big in ((np.float32, 1e30), (np.float64, 1e300)):
        logits = np.array([[big, 0, -big]], dtype)
        assert losses.cross_entropy(logits, np.array([0])) == 0
        assert losses.cross_entropy(logits, np.array([2])) == pytest.approx(2 * big)
        assert losses.binary_cross_entropy(logits[0], np.array([1, 1, 0]), reduction="none")[[0, 2]].tolist() == [0, 0]
        assert losses.binary_cross_entropy(np.array([-big], dtype), np.array([1])) == pytest.approx(big)


def test_a_masked_class_of_probability_zero_counts_nothing():
    logits = np.array([[0.0, -np.inf, 0.0]])
    assert losses.cross_entropy(logits, np.array([[1.0, 0.0, 0.0]])) == pytest.approx(np.log(2))
    assert losses.cross_entropy(logits, np.array([0])) == pytest.approx(np.log(2))


@pytest.mark.smoke
@given(classifications)
def test_gradient_of_cross_entropy_is_softmax_minus_labels(case):
    logits, labels = case
    expected = (scipy.special.softmax(logits, axis=-1) - np.eye(logits.shape[1])[labels]) / len(labels)
    np.testing.assert_allclose(fad.grad(losses.cross_entropy)(logits, labels), expected, atol=1e-12)
    one_hot = np.eye(logits.shape[1])[labels]
    np.testing.assert_allclose(fad.grad(losses.cross_entropy)(logits, one_hot), expected, atol=1e-12)


@given(arrays(float, 4, elements=numbers))
def test_gradient_of_binary_cross_entropy_is_sigmoid_minus_labels(logits):
    labels = np.array([0.0, 1.0, 0.3, 1.0])
    gradient = fad.grad(lambda z: losses.binary_cross_entropy(z, labels, reduction="sum"))(logits)
    np.testing.assert_allclose(gradient, scipy.special.expit(logits) - labels, atol=1e-12)


def test_gradients_of_the_regression_losses():
    p, t = np.array([1.0, -2.0, 5.0]), np.array([0.0, 0.0, 5.5])
    np.testing.assert_allclose(fad.grad(losses.mean_squared_error)(p, t), 2 * (p - t) / 3)
    np.testing.assert_allclose(fad.grad(losses.mean_absolute_error)(p, t), np.sign(p - t) / 3)
    np.testing.assert_allclose(fad.grad(losses.gaussian_nll)(p, np.log(4.0), t), (p - t) / 4 / 3)


def test_float32_stays_float32():
    x = np.array([[0.5, -1.0], [2.0, 3.0]], np.float32)
    labels, rows = np.array([0, 1]), np.eye(2)
    for value in (
        losses.mean_squared_error(x, x), losses.mean_absolute_error(x, x), losses.gaussian_nll(x, x, x),
        losses.binary_cross_entropy(x, rows), losses.cross_entropy(x, labels), losses.cross_entropy(x, rows),
        losses.l1(x), losses.l2({"w": x}),
    ):  # fmt: skip
        assert value.dtype == np.float32


@pytest.mark.parametrize(
    "labels", [np.array([[0.0, 1.0, 0.0]]), np.array([[0.2, 0.3, 0.5]]), np.array([[0.0, 0.25, 0.75]])], ids=str
)
def test_all_second_derivatives_of_cross_entropy(labels):
    """By logits z and labels q, -sum q (z - log sum e^z): zeros among the labels are no special case."""
    logits = np.array([[0.3, -1.2, 2.0]])
    p = scipy.special.softmax(logits[0])
    by_logits = np.diag(p) - np.outer(p, p)  # labels sum to 1
    mixed = np.outer(p, np.ones(3)) - np.eye(3)
    for jit in (lambda f: f, fad.jit):
        slopes = jit(fad.grad(losses.cross_entropy, argnums=(0, 1)))(logits, labels)
        np.testing.assert_allclose(slopes[0][0], p - labels[0], atol=1e-14)
        np.testing.assert_allclose(slopes[1][0], -scipy.special.log_softmax(logits[0]), rtol=1e-14)
        (zz, zq), (qz, qq) = jit(fad.hessian(losses.cross_entropy, argnums=(0, 1)))(logits, labels)
        np.testing.assert_allclose(zz[0, :, 0], by_logits, atol=1e-14)
        np.testing.assert_allclose(zq[0, :, 0], mixed, atol=1e-14)
        np.testing.assert_allclose(qz[0, :, 0], mixed.T, atol=1e-14)
        np.testing.assert_array_equal(qq, 0)


def test_a_masked_class_has_finite_slopes():
    logits, labels = np.array([[0.0, -np.inf, 0.0]]), np.array([[1.0, 0.0, 0.0]])
    np.testing.assert_allclose(fad.grad(losses.cross_entropy)(logits, labels), [[-0.5, 0, 0.5]])
    np.testing.assert_allclose(
        fad.hessian(losses.cross_entropy)(logits, labels)[0, :, 0], [[0.25, 0, -0.25], [0, 0, 0], [-0.25, 0, 0.25]]
    )


def test_integers_do_not_wrap_and_take_the_dtype_of_the_other():
    ones, twos = np.ones(3, np.uint8), np.full(3, 2, np.uint8)
    assert losses.mean_squared_error(ones, twos) == losses.mean_absolute_error(ones, twos) == 1
    p = np.zeros(3, np.float32)
    for loss in (losses.mean_squared_error, losses.mean_absolute_error, losses.binary_cross_entropy):
        assert loss(p, np.ones(3, np.int64)).dtype == np.float32
    assert losses.gaussian_nll(p, np.float64(0.5), np.ones(3, int)).dtype == losses.gaussian_nll(p, 0.5, p).dtype == np.float32


def test_the_complex_penalty_is_the_squared_modulus():
    assert losses.l2(np.array([3 + 4j])) == 25
    np.testing.assert_allclose(fad.hessian(lambda x: losses.l2(x * (3 + 4j)))(np.zeros(1)), [[50.0]])


def test_penalties_see_every_float_leaf_and_no_other():
    params = {"w": np.array([[1.0, -2.0]]), "n": np.array([7]), "deep": (np.array(3.0), None)}
    assert losses.l1(params) == 6
    assert losses.l2(params) == 14
    assert losses.l1({}) == losses.l2({}) == 0
    gradient = fad.grad(losses.l2)(params)
    np.testing.assert_array_equal(gradient["w"], [[2.0, -4.0]])
    assert gradient["n"] is None


@pytest.mark.parametrize("loss", [losses.mean_squared_error, losses.mean_absolute_error, losses.binary_cross_entropy])
def test_silent_broadcasting_is_refused(loss):
    with pytest.raises(ShapeError, match=r"\(4, 1\) and \(4,\)[\s\S]*fix"):
        loss(np.zeros((4, 1)), np.zeros(4))


@pytest.mark.parametrize(("labels", "error"), [
    ([0, 3], OutOfRangeError), ([-1, 0], OutOfRangeError), ([0.0, 1.0], DtypeError), ([0, 1, 2], ShapeError),
    ([[0], [1]], ShapeError), ([[0.5, 0.4, 0.0]] * 2, OutOfRangeError),
    ([[1.5, -0.5, 0.0]] * 2, OutOfRangeError),
    ([[np.nan, 1, 0]] * 2, OutOfRangeError),
])  # fmt: skip
def test_wrong_labels(labels, error):
    with pytest.raises(error, match=r"cross_entropy[\s\S]*fix"):
        losses.cross_entropy(np.zeros((2, 3)), np.array(labels))


def test_labels_are_checked_under_grad_too():
    with pytest.raises(OutOfRangeError, match="0 <= label < 3"):
        fad.grad(losses.cross_entropy)(np.zeros((2, 3)), np.array([0, 3]))


def test_wrong_arguments():
    with pytest.raises(OutOfRangeError, match=r"\[0, 1\]|0 <= y <= 1"):
        losses.binary_cross_entropy(np.zeros(2), np.array([-1, 1]))
    for labels in ([0, 2], [0.5, 1.0001], [-0.0001, 0.5], [np.nan, 0.5]):
        with pytest.raises(OutOfRangeError, match="0 <= y <= 1"):
            losses.binary_cross_entropy(np.zeros(2), np.array(labels))
    assert losses.binary_cross_entropy(np.zeros(2), np.array([0.0, 1.0])) == pytest.approx(np.log(2))
    with pytest.raises(OutOfRangeError, match="'average'"):
        losses.mean_squared_error(np.zeros(2), np.zeros(2), reduction="average")
    with pytest.raises(ShapeError):
        losses.cross_entropy(np.float64(1.0), np.array(0))
