"""vmap is a loop."""

import numpy as np
import pytest

import fad
from fad.errors import ShapeError

XS = np.linspace(-1, 1, 12).reshape(4, 3)


@pytest.mark.smoke
def test_is_a_loop():
    f = lambda x: np.sin(x) @ np.arange(3.0) + x.max()
    assert np.allclose(fad.vmap(f)(XS), [f(x) for x in XS])


def test_axes():
    f = lambda x, y: x * y
    assert np.allclose(fad.vmap(f, in_axes=(0, None))(XS, np.ones(3)), XS)
    assert np.allclose(fad.vmap(f, in_axes=(1, 0))(XS.T, XS), XS * XS)
    assert np.allclose(fad.vmap(f, in_axes=(-1, 0), out_axes=1)(XS.T, XS), (XS * XS).T)
    assert np.allclose(fad.vmap(f, in_axes=(-2, 0))(XS, XS), XS * XS)
    tree = {"w": XS, "b": 2.0}
    assert np.allclose(fad.vmap(lambda p: p["w"] * p["b"], in_axes=({"w": 0, "b": None},))(tree), 2 * XS)
    assert np.allclose(fad.vmap(lambda x: (x, 1.0))(XS)[1], np.ones(4))


def test_axes_count_from_the_end():
    assert np.allclose(fad.vmap(np.sum, in_axes=-2)(XS), XS.sum(axis=1))  # -ndim is axis 0
    assert np.allclose(fad.vmap(np.sum, in_axes=-1)(XS), XS.sum(axis=0))
    with pytest.raises(ShapeError, match="axis -3"):
        fad.vmap(np.sum, in_axes=-3)(XS)
    assert np.array_equal(fad.vmap(lambda x: x, out_axes=-2)(XS), XS)
    assert np.array_equal(fad.vmap(lambda x: x, in_axes=np.int64(1), out_axes=np.int64(1))(XS), XS)


def test_keyword_arguments_are_mapped_over_axis_0():
    f = lambda x, y, scale=1.0: x * y * scale
    assert np.array_equal(fad.vmap(f)(np.arange(3.0), y=np.arange(3.0)), [0, 1, 4])
    assert np.array_equal(fad.vmap(f, in_axes=(None,))(2.0, y=np.arange(3.0), scale=np.ones(3)), [0, 2, 4])
    assert np.array_equal(fad.vmap(lambda *, p: p["w"].sum())(p={"w": XS}), XS.sum(axis=1))
    assert np.array_equal(fad.jit(fad.vmap(f))(np.arange(3.0), y=np.arange(3.0)), [0, 1, 4])
    assert np.array_equal(fad.vmap(fad.jit(f))(np.arange(3.0), y=np.arange(3.0)), [0, 1, 4])


def test_numbers_are_the_same_for_the_whole_batch():
    assert np.allclose(fad.vmap(lambda x, s: x * s)(XS, 2.0), 2 * XS)
    assert np.allclose(fad.vmap(lambda p, s: p["x"] * p["s"] + s)({"x": XS, "s": np.float64(2.0)}, 1), 2 * XS + 1)
    assert fad.vmap(np.tanh)(np.float64(0.0)) == 0.0
    assert np.allclose(fad.grad(lambda s: np.sum(fad.vmap(lambda x, s: x * s)(XS, s)))(2.0), XS.sum())
    for axes in ((0, 0), [0, 0]):
        with pytest.raises(ShapeError, match="no such axis"):
            fad.vmap(lambda x, s: x * s, in_axes=axes)(XS, 2.0)


def test_results_that_do_not_depend_on_the_batch_can_be_given_once():  # jax#21559
    y, s = fad.vmap(lambda x, s: (x * s, s), in_axes=(0, None), out_axes=(0, None))(np.arange(3.0), 2.0)
    assert np.array_equal(y, [0, 2, 4]) and s == 2.0
    y, s = fad.jit(fad.vmap(lambda x, s: (x * s, s * s), in_axes=(0, None), out_axes=(0, None)))(np.arange(3.0), 2.0)
    assert np.array_equal(y, [0, 2, 4]) and s == 4.0
    w = np.ones(3)
    kept = fad.vmap(lambda x, w: w, in_axes=(0, None), out_axes=None)(XS, w)
    assert np.array_equal(kept, w) and not np.shares_memory(kept, w)
    with pytest.raises(ShapeError, match="depends on the batch"):
        fad.vmap(lambda x: x, out_axes=None)(XS)


def test_what_is_not_batched_stays_as_it_is():
    scaled = fad.vmap(lambda x, s, how: x * s if how == "times" else x, in_axes=(0, None, None))(
        XS.astype(np.float32), 2.0, "times"
    )
    assert scaled.dtype == np.float32 and np.allclose(scaled, 2 * XS)


def test_results_are_the_callers_own():
    constant = np.ones(3)
    for axes in (0, None):
        result = fad.vmap(lambda x: constant, out_axes=axes)(XS)
        assert not np.shares_memory(result, constant) and result.flags.writeable


@pytest.mark.parametrize("x, axis", [(np.arange(3.0), -1), (XS, -2), (XS, -1), (np.ones((2, 3, 4)), -3), (np.ones((2, 3, 4)), -2)])
def test_axes_counted_from_the_end(x, axis):
    found = fad.vmap(np.sin, in_axes=axis, out_axes=axis)(x)
    np.testing.assert_allclose(found, np.sin(x))
    with pytest.raises(ShapeError):
        fad.vmap(np.sin, in_axes=-x.ndim - 1)(x)
    with pytest.raises(ShapeError):
        fad.vmap(np.sin, in_axes=x.ndim)(x)


def test_nests_with_derivatives():
    f = lambda x: np.sum(np.exp(x) * x[0])
    assert np.allclose(fad.vmap(fad.grad(f))(XS), [fad.grad(f)(x) for x in XS])
    assert np.allclose(fad.vmap(fad.hessian(f))(XS), [fad.hessian(f)(x) for x in XS])
    assert np.allclose(fad.grad(lambda xs: fad.vmap(f)(xs).sum())(XS), [fad.grad(f)(x) for x in XS])
    assert np.allclose(fad.jacobian(fad.vmap(f))(XS)[2, 2], fad.grad(f)(XS[2]))
    outer = fad.vmap(lambda a: fad.vmap(lambda b: a @ b)(XS))(XS)
    assert np.allclose(outer, XS @ XS.T)


def test_closures_and_keyed_randomness():
    w = np.arange(3.0)
    slope = fad.grad(lambda w: fad.vmap(lambda x: np.sum(w * x))(XS).sum())(w)
    assert np.allclose(slope, XS.sum(axis=0))
    keys = fad.random.split(fad.random.key(0), 3)
    drawn = fad.vmap(lambda k: fad.random.uniform(k, (5,)))(keys)
    assert np.array_equal(drawn, [fad.random.uniform(k, (5,)) for k in keys])


def test_per_example_gradients_of_a_convolution():
    rng = np.random.default_rng(0)
    images, w = rng.normal(size=(3, 5, 5, 2)), rng.normal(size=(3, 3, 2, 4))
    loss = lambda w, image: np.sum(fad.nn.max_pool(fad.nn.relu(fad.nn.conv(image[None], w))) ** 2)
    slopes = fad.vmap(fad.grad(loss), in_axes=(None, 0))(w, images)
    assert np.allclose(slopes, [fad.grad(loss)(w, image) for image in images])


def test_empty_batch():
    assert fad.vmap(lambda x: np.sin(x).sum())(np.zeros((0, 3))).shape == (0,)
