"""linear_transpose: <w, f(x)> = <A^T w, x> for what is linear; the first operation that is not is named."""

import numpy as np
import pytest

import fad
from fad import nn
from fad.core.function import Function
from fad.errors import DtypeError, FadError, NotLinearError, TreeError

RNG = np.random.default_rng(0)
A = RNG.normal(size=(3, 4))
I = np.array([2, 0, 2])

LINEAR = {
    "matmul": (lambda x: A @ x, np.zeros(4)),
    "scaled": (lambda x: -3 * x / 2 + x, np.zeros(4)),
    "mean": (lambda x: np.mean(x), np.zeros(4)),
    "einsum": (lambda x: np.einsum("ij,kj->ik", A, x), np.zeros((2, 4))),
    "concatenate": (lambda x: np.concatenate([x, np.zeros(2), x[::-1]]), np.zeros(4)),
    "where": (lambda x: np.where(np.array([True, False, True, False]), x, 0.0), np.zeros(4)),
    "where of two": (lambda x: np.where(np.array([True, False, True, False]), x, x[::-1]), np.zeros(4)),
    "indices": (lambda x: x[I] * 2, np.zeros(4)),
    "set": (lambda x: fad.at(np.zeros(5))[I].set(x[:3]), np.zeros(4)),
    "add": (lambda x: fad.at(x)[1:3].add(x[0]), np.zeros(4)),
    "cumsum": (lambda x: np.cumsum(x), np.zeros(4)),
    "solve": (lambda x: np.linalg.solve(A[:, :3], x), np.zeros(3)),
    "dense": (lambda x: nn.dense(x, A.T, np.zeros(3)), np.zeros((2, 4))),
    "dense by weights and bias": (lambda p: nn.dense(A, p["w"], p["b"]), {"w": np.zeros((4, 2)), "b": np.zeros(2)}),
    "fft": (lambda x: np.fft.fft(x), np.zeros(4, complex)),
    "to complex": (lambda x: np.fft.rfft(x), np.zeros(4)),
    "float32": (lambda x: x.astype(np.float64) * 2, np.zeros(4, np.float32)),
    "a pytree": (lambda p: {"u": p[0] * 2, "v": (p[1][::2], np.sum(p[0]))}, (np.zeros(3), np.zeros(4))),
    "zero": (lambda x: np.zeros(2), np.zeros(4)),
}


def drawn(like):
    draw = lambda x: RNG.normal(size=np.shape(x)) + (1j * RNG.normal(size=np.shape(x)) if np.iscomplexobj(x) else 0)
    return fad.tree.map(lambda x: np.asarray(draw(x), np.asarray(x).dtype), like)


def inner(a, b):
    return sum(np.sum(x * y) for x, y in zip(fad.tree.leaves(a), fad.tree.leaves(b), strict=True))


@pytest.mark.parametrize("name", LINEAR)
def test_the_transpose(name):
    f, example = LINEAR[name]
    x = drawn(example)
    w = drawn(f(x))
    transposed = fad.linear_transpose(f, example)
    (back,) = transposed(w)
    assert isinstance(transposed, Function)
    assert fad.tree.structure(back) == fad.tree.structure(example)
    assert all(np.shape(b) == np.shape(e) and b.dtype == e.dtype for b, e in zip(fad.tree.leaves(back), fad.tree.leaves(example)))
    left, right = inner(w, f(x)), inner(back, x)
    if name == "to complex":  # of a real argument: the real part, as in vjp
        left = left.real
    assert np.allclose(left, right, rtol=1e-6)
    assert all(np.allclose(a, b) for a, b in zip(fad.tree.leaves(fad.vjp(f, x)[1](w)[0]), fad.tree.leaves(back), strict=True))


def test_of_several_arguments_numbers_and_keywords():
    f = lambda x, y, scale: (scale * x + y, y)
    assert fad.linear_transpose(f, 1, 2.0, scale=3.0)((10.0, 100.0)) == (30.0, 110.0)


def test_twice_is_the_function():
    f, x = LINEAR["matmul"][0], drawn(np.zeros(4))
    once = fad.linear_transpose(f, x)
    twice = fad.linear_transpose(lambda w: once(w)[0], np.zeros(3))
    assert np.allclose(twice(x)[0], f(x))


def test_inside_of_other_transformations():
    by_scale = lambda a: np.sum(fad.linear_transpose(lambda x: a * np.diff(x), np.zeros(3))(np.array([1.0, 2.0]))[0] ** 2)
    assert fad.grad(by_scale)(3.0) == pytest.approx(2 * by_scale(3.0) / 3.0)
    assert fad.jit(by_scale)(3.0) == pytest.approx(by_scale(3.0))
    transposed = fad.linear_transpose(lambda x: A @ x, np.zeros(4))
    assert np.allclose(fad.vmap(transposed)(np.eye(3))[0], A)


def affine(x):
    y = 2 * x
    return y + 1.0


NOT_LINEAR = {
    "affine": (affine, (np.zeros(3),), "add.*it adds or puts in what is not 0"),
    "bilinear": (lambda x, y: x * y, (1.0, 1.0), "multiply.*it multiplies two things"),
    "square by matmul": (lambda x: x @ x, (np.zeros(3),), "matmul.*it multiplies two things"),
    "sin": (lambda x: np.sin(x), (1.0,), r"sin\(x.*sin is not linear"),
    "relu": (lambda x: np.where(x > 0, x, 0.0), (np.zeros(3),), "greater gives no float"),
    "abs": (lambda x: np.abs(x), (1.0,), "absolute is not linear"),
    "rounding": (lambda x: np.floor(x), (1.0,), "floor is not linear: its derivative is 0"),
    "sorting": (lambda x: np.sort(x), (np.zeros(3),), "gives no float"),
    "remainder": (lambda x: np.remainder(x, 2.0), (1.0,), "remainder is not linear"),
    "the other branch": (lambda x: np.where(True, x, 5.0), (1.0,), "where.*it adds or puts in"),
    "put into ones": (lambda x: fad.at(np.ones(4))[I].set(x), (np.zeros(3),), "scatter_set.*it adds or puts in"),
    "beside ones": (lambda x: np.concatenate([x, np.ones(1)]), (np.zeros(3),), "concatenate.*it adds or puts in"),
    "dense with a bias": (lambda x: nn.dense(x, np.ones((2, 2)), np.ones(2)), (np.ones((2, 2)),), "it adds"),
    "dense by x and w": (lambda x: nn.dense(x, x, np.zeros(2)), (np.ones((2, 2)),), "it multiplies two things"),
    "solve by the matrix": (lambda a: np.linalg.solve(a, np.ones(2)), (np.eye(2),), "solve is not linear"),
    "divisor": (lambda x: 1 / x, (1.0,), "divide is not linear"),
    "a constant": (lambda x: (x, 3.0), (1.0,), "does not depend on the arguments"),
}


@pytest.mark.parametrize("name", NOT_LINEAR)
def test_what_is_not_linear_raises(name):
    f, example, message = NOT_LINEAR[name]
    with pytest.raises(NotLinearError, match=message):
        fad.linear_transpose(f, *example)


def test_the_line_is_named():
    with pytest.raises(FadError, match=f"test_transpose.py:{affine.__code__.co_firstlineno + 2} in affine"):
        fad.linear_transpose(affine, 1.0)


def test_integers_and_structures():
    with pytest.raises(DtypeError, match="an argument is no float"):
        fad.linear_transpose(lambda x: x, np.arange(3))
    with pytest.raises(DtypeError, match="a result is no float"):
        fad.linear_transpose(lambda x: x > 0, 1.0)
    with pytest.raises(TreeError):
        fad.linear_transpose(lambda x: (x, x), 1.0)(1.0)
