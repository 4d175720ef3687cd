"""primitive: operations that fad does not look into, with partials, rules, shapes and numba kernels of the user's."""

import math

import numpy as np
import pytest
from scipy import special

import fad
from fad.errors import DtypeError, ShapeError, TraceError
from fad.testing import check_grads

struve = fad.primitive(special.struve, partials=(None, lambda y, v, x: struve(v - 1, x) - v / x * y))
gauss = fad.primitive(
    lambda x, y: np.exp(-x * x) * y,
    partials=(lambda z, x, y: -2 * x * z, lambda z, x, y: np.exp(-x * x)),
    kernel=lambda x, y: math.exp(-x * x) * y,
    name="gauss",
)


@fad.primitive(shape=lambda a: ((a.shape[0], a.shape[0]), a.dtype))
def gram(a):
    return np.asarray(a) @ np.asarray(a).T


gram.defvjp(lambda a: (gram(a), a), lambda a, ct: ((ct + ct.T) @ a,))


def test_partials_serve_both_modes_and_all_orders():
    x = np.array([1.0, 2.0, 3.0])
    check_grads(lambda x: struve(1.0, x), (x,), order=3)
    slope = fad.grad(lambda x: np.sum(struve(1.0, x)))
    np.testing.assert_allclose(fad.jit(slope)(x), slope(x), rtol=1e-13)
    np.testing.assert_allclose(fad.vmap(fad.grad(lambda x: struve(1.0, x)))(x), slope(x), rtol=1e-13)
    with pytest.raises(TraceError, match="fix: partials"):
        fad.grad(lambda v: struve(v, 2.0))(1.0)


def test_broadcasting():
    x, y = np.ones((2, 1)), np.ones(3)
    check_grads(gauss, (x, y))
    assert [g.shape for g in fad.grad(lambda x, y: np.sum(gauss(x, y)), (0, 1))(x, y)] == [(2, 1), (3,)]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_kernel_is_called_by_programs(dtype):
    x = np.linspace(-1, 1, 37).astype(dtype)
    f = lambda x: np.sum(gauss(x, x) * x)
    for g in (f, fad.grad(f), lambda x: fad.scan(lambda c, _: (gauss(c, x), None), x, length=5)[0]):
        compiled = fad.jit(g)
        np.testing.assert_allclose(compiled(x), g(x), rtol=1e-5 if dtype is np.float32 else 1e-12)
        assert "by NumPy" not in compiled.explain()


def test_a_shape_and_a_rule():
    a = np.random.default_rng(0).random((3, 2))
    f, g = (lambda a: np.sum(np.sin(gram(a)))), (lambda a: np.sum(np.sin(a @ a.T)))
    for transform in (fad.grad, fad.jacfwd, fad.hessian):
        np.testing.assert_allclose(transform(f)(a), transform(g)(a), atol=1e-13)
        np.testing.assert_allclose(fad.jit(transform(f))(a), transform(g)(a), atol=1e-13)
    assert fad.vmap(gram)(np.stack([a, a])).shape == (2, 3, 3)


def test_two_operations_of_one_name_are_two():
    one, two = (fad.primitive(lambda x, k=k: k * x, partials=(float(k),), name="twice") for k in (2, 3))
    assert fad.jit(one)(1.0) == 2 and fad.jit(two)(1.0) == 3
    kernels = [fad.primitive(lambda x, k=k: k * x, partials=(k,), kernel=f, name="scaled") for k, f in
               ((2.0, lambda x: 2.0 * x), (3.0, lambda x: 3.0 * x))]  # fmt: skip
    assert [fad.jit(f)(1.0) for f in kernels] == [2, 3]


def test_without_a_rule_it_is_evaluated_and_not_differentiated():
    f = fad.primitive(lambda x: x + 1.0)
    assert f(1.0) == 2 == fad.jit(f)(1.0)
    np.testing.assert_array_equal(fad.vmap(f)(np.arange(3.0)), [1, 2, 3])
    with pytest.raises(TraceError, match="no derivative rule"):
        fad.grad(f)(1.0)


@pytest.mark.parametrize(
    ("error", "call"),
    [
        (ShapeError, lambda: fad.primitive(lambda x: x[:1], partials=(1.0,))(np.ones(3))),
        (DtypeError, lambda: fad.primitive(lambda x: x * 1j, partials=(1j,))(np.ones(3))),
        (DtypeError, lambda: fad.jit(fad.primitive(lambda x: x, shape=lambda x: 3))(np.ones(3))),
        (DtypeError, lambda: fad.primitive(3)),
        (TraceError, lambda: fad.primitive(np.sin, shape=lambda x: (x.shape, x.dtype), partials=(np.cos,))),
        (TraceError, lambda: fad.primitive(np.sin, shape=lambda x: (x.shape, x.dtype), kernel=math.sin)),
    ],
)
def test_errors_say_what_to_do(error, call):
    with pytest.raises(error, match="fix:"):
        call()
