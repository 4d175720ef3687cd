"""Trees and Functions: printing, structure, pickling, composition, writing by hand."""

import pickle
import shutil

import numpy as np
import pytest

import fad

X = np.array([0.5, -1.0, 2.0])


def shared(x, w):
    y = np.sin(x)
    return y @ w + y[0]


@pytest.mark.smoke
def test_prints_as_let_equations():
    text = str(fad.trace(shared)(X, np.ones((3, 2), np.float32)))
    assert text == """shared = lambda x:f64[3], w:f32[3,2]
  a:f64[3] = sin x
  b:f64[1,3] = reshape a {shape=(1, 3)}
  c:f64[1,2] = matmul b w
  d:f64[2] = reshape c {shape=(2,)}
  e:f64[] = getitem a {index=(0,)}
  f:f64[2] = add d e
  in f"""


def test_structure_decides_equality():
    f = fad.trace(lambda x: np.sin(x) * 2.0)(X)
    assert f == fad.trace(lambda y: np.sin(y) * 2.0)(-X) and hash(f) == hash(fad.trace(lambda y: np.sin(y) * 2.0)(X))
    for other in (lambda x: np.sin(x) * 3.0, lambda x: np.cos(x) * 2.0, lambda x: 2.0 * np.sin(x), lambda x: np.sin(x) * 2):
        assert f != fad.trace(other)(X)
    assert f != fad.trace(lambda x: np.sin(x) * 2.0)(X.astype(np.float32))
    assert fad.trace(lambda x: x * -0.0)(X) != fad.trace(lambda x: x * 0.0)(X)
    assert fad.trace(lambda x: x * np.ones(3))(X) != fad.trace(lambda x: x * np.arange(3.0))(X)


def test_call_compose_pickle():
    f, g = fad.trace(lambda x: x * 2.0)(X), fad.trace(np.sin)(X)
    assert np.array_equal((f @ g)(X), 2 * np.sin(X)) and np.array_equal((g @ f)(X), np.sin(2 * X))
    assert pickle.loads(pickle.dumps(f @ g)) == f @ g
    assert fad.trace(lambda p: {"y": p[0]})((X, 1.0))((X, 1.0))["y"] is not X


def test_inlines_into_other_trees():
    f = fad.trace(lambda x: np.sum(np.sin(x)))(X)
    assert np.allclose(fad.grad(lambda x: f(2 * x))(X), 2 * np.cos(2 * X))
    assert np.allclose(fad.vmap(f)(np.stack([X, 2 * X])), [np.sum(np.sin(X)), np.sum(np.sin(2 * X))])


def test_by_hand():
    x, w = fad.var("x", (3,)), np.ones((3, 2))
    y = np.sin(x) @ w
    assert y.shape == (2,) and "sin x" in str(y)
    f = fad.Function([x], [y])
    assert np.allclose(f(X), np.sin(X) @ w)
    assert np.allclose(fad.jacobian(f)(X), fad.jacobian(lambda x: np.sin(x) @ w)(X))


def test_constants_are_copied():
    w = np.ones(3)
    f = fad.trace(lambda x: x * w)(X)
    w[:] = 5
    assert np.array_equal(f(X), X)


def test_constant_results():
    f = fad.trace(lambda x: (np.ones(2), x, 3.0))(X)
    a, b, c = f(X)
    assert np.array_equal(a, np.ones(2)) and c == 3.0
    a[:] = 9
    assert np.array_equal(f(X)[0], np.ones(2))


def test_concrete_trace_follows_branches():
    f = fad.trace(lambda x: x * 2.0 if x.sum() > 0 else -x, concrete=True)(X)
    assert np.array_equal(f(X), 2 * X)


def test_flops_and_nodes():
    f = fad.trace(lambda a, b: a @ b)(np.ones((2, 3)), np.ones((3, 4)))
    assert f.flops == 2 * 2 * 3 * 4 and len(f.nodes) == 1


def test_draws_itself():
    f = fad.trace(shared)(X, np.ones((3, 2)))
    dot = f.to_dot()
    assert dot.startswith("digraph") and '"x" -> "a"' in dot and "sin" in dot and dot.count("{") == dot.count("}")
    svg = f._repr_svg_()
    assert svg is None if shutil.which("dot") is None else svg.lstrip().startswith("<?xml")


def test_second_derivative_tree_is_closed_and_runs():
    f = fad.trace(lambda x: np.sum(np.exp(np.sin(x))))(X)
    h = fad.hessian(f)
    assert np.allclose(h(X), fad.hessian(lambda x: np.sum(np.exp(np.sin(x))))(X))
