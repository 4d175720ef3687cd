"""Nests over the same rows against the interpreter, and which of them are run row by row."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fad
from fad import losses, nn
from fad.compile.body import Access, Body
from fad.compile.rows import is_own

RNG = np.random.default_rng(0)
SHAPES = [(8, 48), (9, 50), (16, 129), (2, 6, 64), (40, 200)]


def close(f, *args, rtol=1e-10):
    """Whether jit of f agrees with f, and the loops of the program."""
    for got, expected in zip(fad.tree.leaves(fad.jit(f)(*args)), fad.tree.leaves(f(*args)), strict=True):
        np.testing.assert_allclose(got, expected, rtol=rtol, atol=1e-9)
    return fad.jit(f).lower(*args).loops


def centred(x):
    return x - x.mean(-1, keepdims=True)


def layer_norm(x):
    return centred(x) / np.sqrt(np.mean(centred(x) ** 2, -1, keepdims=True) + 1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "f",
    [
        nn.softmax,
        nn.log_softmax,
        layer_norm,
        lambda x: np.cumsum(nn.softmax(x), -1),
        lambda x: nn.softmax(nn.softmax(x)),
        lambda x: x / np.sqrt(np.sum(x * x, -1, keepdims=True)),
    ],
)
def test_values_and_gradients(f, shape):
    x = RNG.normal(size=shape)
    close(f, x)
    close(fad.grad(lambda x: np.sum(f(x) ** 3)), x)


@pytest.mark.smoke
def test_a_softmax_reads_its_rows_once():
    assert close(nn.softmax, RNG.normal(size=(16, 100))).count("rows [16]") == 1


@pytest.mark.parametrize(
    "f",
    [
        lambda x: (y := nn.softmax(x)) + y[::-1],  # another row
        lambda x: (y := nn.softmax(x)) @ y.T,
        lambda x: (y := nn.softmax(x)) - y.sum(0),  # all rows
        lambda x: (y := nn.softmax(x)) * y.max(),
        lambda x: np.concatenate([y := nn.softmax(x), y[:, ::-1]], 1),
        lambda x: nn.softmax(x) + nn.softmax(x[::-1]),
        lambda x: nn.softmax(x[:, :60]).sum() + nn.softmax(x[:, 20:]),
        lambda x: nn.softmax(x) + nn.softmax(x.T).T,
        lambda x: (np.pad(nn.softmax(x), ((1, 1), (0, 0))), layer_norm(x)),
    ],
)
def test_what_rows_have_of_one_another(f):
    x = RNG.normal(size=(64, 80))
    close(f, x)
    close(fad.grad(lambda x: sum(np.sum(y**2) for y in fad.tree.leaves(f(x)))), x)


STEPS = {
    "softmax": lambda x, y: nn.softmax(y),
    "norm": lambda x, y: layer_norm(y + x),
    "scale": lambda x, y: y * np.mean(x, -1, keepdims=True),
    "shift": lambda x, y: y - np.sum(y, -1)[:, None] / 100,
    "gate": lambda x, y: np.where(y > np.max(y, -1, keepdims=True) / 2, y, x),
    "max": lambda x, y: y + np.max(x * y, axis=-1, keepdims=True),
    "rows": lambda x, y: y + np.mean(y, axis=0),
    "columns": lambda x, y: y * np.tanh(np.sum(x * y, axis=0)),
    "flip": lambda x, y: y[::-1] * 0.5,
}


@given(
    st.lists(st.sampled_from(sorted(STEPS)), min_size=2, max_size=6),
    st.integers(8, 20) | st.sampled_from([64, 96, 128]),
    st.integers(48, 70),
    st.integers(0, 2**32),
)
def test_chains(steps, rows, columns, seed):
    x = np.random.default_rng(seed).normal(size=(rows, columns))

    def f(x):
        y = x
        for step in steps:
            y = STEPS[step](x, y)
        return y, np.sum(y, -1)

    close(f, x, rtol=1e-8)


def test_in_place():
    """A donated array that is read row by row and written where it lies."""
    x = RNG.normal(size=(32, 64))
    for f in (layer_norm, nn.softmax, lambda x: x[::-1] - x.mean(-1, keepdims=True)):
        np.testing.assert_allclose(fad.jit(f, donate=0)(x.copy()), f(x), rtol=1e-10, atol=1e-12)


def test_labels_index_rows():
    x, labels = RNG.normal(size=(40, 60)), RNG.integers(0, 60, 40)
    close(fad.value_and_grad(losses.cross_entropy), x, labels)
    with pytest.raises(fad.errors.OutOfRangeError):
        fad.jit(fad.grad(losses.cross_entropy))(x, labels + 60)


def scaled(x, scale, shift):
    return np.sum(np.sin(layer_norm(x) * scale + shift))


@pytest.mark.parametrize("shape", [(64, 48), (128, 100), (4, 16, 64), (16, 1, 50), (67, 64), (24, 64)])
def test_reductions_of_rows_follow_behind_them(shape):
    """The gradients by scale and shift; where rows cannot be cut into blocks, after all of them."""
    x, scale, shift = RNG.normal(size=shape), RNG.normal(size=shape[-1]), RNG.normal(size=shape[-1])
    loops = close(fad.grad(scaled, argnums=(0, 1, 2)), x, scale, shift)
    assert ("in blocks of" in loops) == (shape in [(64, 48), (128, 100), (4, 16, 64)])


@pytest.mark.parametrize(
    "f",
    [
        lambda x: ((y := nn.softmax(x)).sum(0), y),
        lambda x: ((y := nn.softmax(x)).max(0), y.min(0), y),
        lambda x: ((y := nn.softmax(x)) - (y * x).sum(0), y),  # read again by all rows
        lambda x: (nn.softmax(x) * x[::-1]).sum(0),  # inputs may be read at other rows
        lambda x: ((y := nn.softmax(x)) * y[::-1]).sum(0),  # what rows write may not
        lambda x: (nn.softmax(x), np.sum(nn.softmax(x[:, ::-1]) * 2, 0)),
        lambda x: ((y := nn.softmax(x)).sum(0)[::-1], np.cumsum(y.sum(0))),
        lambda x: (nn.softmax(x) * x.sum(0)).sum(0),
        lambda x: (y := layer_norm(x), y.mean(0), (y - y.mean(0)).std(0)),
    ],
)
@pytest.mark.parametrize("shape", [(64, 50), (256, 130), (70, 60)])
def test_what_reductions_read(f, shape):
    x = RNG.normal(size=shape)
    close(f, x)
    close(fad.grad(lambda x: sum(np.sum(np.sin(y)) for y in fad.tree.leaves(f(x)))), x, rtol=1e-8)


def test_reductions_behind_rows_in_place():
    """The gradient by the rows takes their memory, which the reductions of a block read."""
    shape = (64, 48)
    args = [RNG.normal(size=shape), RNG.normal(size=48), RNG.normal(size=48)]
    expected = fad.grad(scaled, argnums=(0, 1, 2))(*args)
    got = fad.jit(fad.grad(scaled, argnums=(0, 1, 2)), donate=0)(args[0].copy(), *args[1:])
    for g, e in zip(got, expected, strict=True):
        np.testing.assert_allclose(g, e, rtol=1e-9, atol=1e-10)


# -- what stays in its own row ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "offset, strides, rows, own",
    [
        (0, (60, 1), 1, True),
        (60, (60, 1), 1, False),
        (1, (60, 1), 1, False),
        (-1, (60, 1), 1, False),
        (0, (60, 0), 1, True),
        (0, (120, 1), 1, False),
        (0, (0, 1), 1, False),
        (0, (60, 2), 1, False),
        (0, (60, -1), 1, False),
    ],
)
def test_an_access_to_what_another_nest_writes(offset, strides, rows, own):
    where = lambda o, s: Access(7, o, s, np.dtype(float))
    body = Body(((0, 8), (0, 60)), ())
    assert is_own(where(offset, strides), {7: where(0, (60, 1))}, body, rows) is own
    assert is_own(where(offset + 5, strides), {7: where(5, (60, 1))}, body, rows) is own
    assert is_own(where(offset, strides), {}, body, rows)  # what nobody writes


@pytest.mark.parametrize(
    "f",
    [
        lambda y: nn.softmax(y)[::-1] * y,
        lambda y: nn.softmax(y)[:, ::-1] * y,
        lambda y: np.roll(nn.softmax(y), 1, axis=0) * y,
        lambda y: np.roll(nn.softmax(y), 1, axis=1) * y,
        lambda y: nn.softmax(nn.softmax(y)[1:]),
        lambda y: nn.softmax(nn.softmax(y)[:, 1:]),
        lambda y: nn.softmax(y)[:-1] + nn.softmax(y)[1:],
        lambda y: np.sum(nn.softmax(y), axis=1)[::-1, None] * y,
    ],
)
@pytest.mark.parametrize("shape", [(8, 60), (64, 100)])
def test_rows_that_read_others(f, shape):
    x = RNG.normal(size=shape)
    close(f, x)
    close(fad.grad(lambda x: np.sum(f(x) ** 2)), x)
