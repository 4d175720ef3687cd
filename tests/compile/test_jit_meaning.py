"""A jitted function means what the function means: labels out of range, Python numbers as leaves, symbols that were kept."""

import numpy as np
import pytest

import fad
from fad import losses, nn, optim, random, stax, train
from fad.errors import OutOfRangeError, TraceError

LOGITS = np.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize("how", [fad.jit, fad.vmap, lambda f: lambda y: fad.trace(f)(y)(y), lambda f: f])
@pytest.mark.parametrize("labels", [[0, -1], [0, 3], [-7, 1], [2, 200]])
@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.int16, np.uint8, np.uint64])
def test_labels_out_of_range(how, labels, dtype):  # pytorch#15508, pytorch#69339, chainer#5127, optax#1335
    if min(labels) < 0 and np.dtype(dtype).kind == "u":
        pytest.skip("has no negative numbers")
    with pytest.raises(OutOfRangeError):
        how(lambda y: nn.one_hot(y, 3))(np.array(labels, dtype))
    for f in (losses.cross_entropy, fad.grad(losses.cross_entropy)) if how is fad.jit else ():
        with pytest.raises(OutOfRangeError):
            how(f)(LOGITS, np.array(labels, dtype))


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.int8, np.uint8, np.uint64])
@pytest.mark.parametrize("labels", [[0, 2], [1, 1]])
def test_labels_in_range(labels, dtype):
    y = np.array(labels, dtype)
    np.testing.assert_array_equal(fad.jit(lambda y: nn.one_hot(y, 3))(y), nn.one_hot(y, 3))
    for f in (losses.cross_entropy, fad.grad(losses.cross_entropy)):
        np.testing.assert_allclose(fad.jit(f)(LOGITS, y), f(LOGITS, y), rtol=1e-14)


def test_more_classes_than_a_narrow_label_can_count():
    y, z = np.array([5, 100], np.int8), np.random.default_rng(0).normal(size=(2, 300))
    np.testing.assert_allclose(fad.jit(losses.cross_entropy)(z, y), losses.cross_entropy(z, y))
    with pytest.raises(OutOfRangeError):
        fad.jit(losses.cross_entropy)(z, -y)


def test_a_negative_label_in_a_later_batch_of_fit():  # pytorch#108345
    x = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    y = np.arange(200) % 3
    y[150:] = -1
    with pytest.raises(OutOfRangeError):
        train.fit(
            stax.Dense(3), losses.cross_entropy, optim.adam(), (x, y), key=random.key(0), epochs=1, batch_size=32, progress=False
        )


TRANSFORMS = {
    "grad": lambda f: fad.grad(f),
    "value_and_grad": lambda f: fad.value_and_grad(f),
    "jacobian": lambda f: fad.jacobian(f),
    "hessian": lambda f: fad.hessian(f),
    "vjp": lambda f: lambda p: fad.vjp(f, p)[1](1.0),
    "jvp": lambda f: lambda p: fad.jvp(f, (p,), ({"w": np.ones(2), "n": None},)),
}


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("n", [3, True, 2.0, np.int64(3), np.array(3)])
def test_numbers_as_leaves(transform, n):  # jax#9377
    f, p = TRANSFORMS[transform](lambda p: np.sum(p["w"] ** 2) * p["n"]), {"w": np.ones(2), "n": n}
    plain, compiled = f(p), fad.jit(f)(p)
    assert fad.tree.structure(plain) == fad.tree.structure(compiled)
    for x, y in zip(fad.tree.leaves(plain), fad.tree.leaves(compiled), strict=True):
        np.testing.assert_array_equal(x, y)


def keep(transform):
    """A node that outlived its trace."""
    kept = []
    transform(lambda x: (kept.append(x), np.sum(x))[1])(np.ones(2))
    return kept[0]


def fails():
    """A symbol of a trace that ended in an error."""
    kept = []
    with pytest.raises(ZeroDivisionError):
        fad.jit(lambda x: (kept.append(x), 1 / 0))(np.ones(2))
    return kept[0]


@pytest.mark.parametrize(
    "made", [lambda: keep(fad.jit), lambda: keep(fad.jit) * 2, lambda: keep(fad.vmap), lambda: keep(fad.grad), fails]
)
@pytest.mark.parametrize(
    "use",
    [
        lambda y, kept: y + kept,
        lambda y, kept: kept,
        lambda y, kept: {"a": [y, kept]},
        lambda y, kept: np.stack([y[0], np.sum(kept)]),
    ],
)
def test_a_symbol_that_was_kept(made, use):  # mlx#2900
    kept = made()
    for f in (lambda y: use(y, kept), lambda y: fad.jit(lambda z: use(z, kept))(y)):
        with pytest.raises(TraceError, match="has ended"):
            fad.jit(f)(np.ones(2))


def test_a_symbol_that_was_kept_as_an_argument():
    with pytest.raises(TraceError, match="has ended"):
        fad.jit(lambda y: y * 2)(keep(fad.jit))


def test_symbols_of_traces_around_are_no_error():
    for around in (fad.grad, fad.jit, lambda f: lambda x: fad.jvp(f, (x,), (1.0,))):
        around(lambda a: fad.jit(lambda b: b * a)(3.0))(2.0)
    np.testing.assert_array_equal(fad.vmap(lambda a: fad.jit(lambda b: b * a)(3.0))(np.arange(3.0)), [0, 3, 6])
