"""What transformations return: functions that keep f's name and signature, and pickle where f does."""

import functools
import inspect
import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import fad

X = np.array([0.5, -1.0, 2.0])


def cubic(x, scale=1.0):
    """scale * sum(x^3)"""
    return np.sum(x**3) * scale


@fad.grad
def slope(x):
    return np.sum(x**4)


class Model:
    def __init__(self, w):
        self.w = w

    @functools.partial(fad.grad, argnums=1)
    def slope(self, x):
        return np.sum(self.w * x**2)


TRANSFORMED = {
    "grad": fad.grad(cubic),
    "value_and_grad": fad.value_and_grad(cubic),
    "jacobian": fad.jacobian(cubic, mode="reverse"),
    "jacfwd": fad.jacfwd(cubic),
    "jacrev": fad.jacrev(cubic),
    "hessian": fad.hessian(cubic),
    "vmap": fad.vmap(cubic),
    "trace": fad.trace(cubic),
    "jit": fad.jit(cubic),
    "jit of grad": fad.jit(fad.grad(cubic)),
    "grad of jit": fad.grad(fad.jit(cubic)),
    "vmap of grad": fad.vmap(fad.grad(np.tanh), in_axes=0),
    "jit of vmap of jit": fad.jit(fad.vmap(fad.jit(np.tanh))),
    "grad of a partial": fad.grad(functools.partial(cubic, scale=3.0)),
    "jit of a partial": fad.jit(functools.partial(cubic, scale=2.0)),
    "jit of a ufunc": fad.jit(np.tanh),
    "hessian of a Function": fad.hessian(fad.trace(cubic)(X)),
    "decorated": slope,
    "linear": fad.linearize(cubic, X)[1],
}


@pytest.mark.smoke
@pytest.mark.parametrize("name", TRANSFORMED)
@pytest.mark.parametrize("pickles", ["pickle", "cloudpickle"])
def test_pickles(name, pickles):
    module = pytest.importorskip(pickles)
    f = TRANSFORMED[name]
    again = module.loads(module.dumps(f))
    for a, b in zip(fad.tree.leaves(again(X)), fad.tree.leaves(f(X)), strict=True):
        assert np.array_equal(a, b) if isinstance(b, np.ndarray | np.generic) else a == b


def test_cloudpickle_takes_lambdas():
    cloudpickle = pytest.importorskip("cloudpickle")
    assert pickle.loads(cloudpickle.dumps(fad.grad(lambda x: x**3)))(2.0) == 12.0


def test_options_are_kept():
    f = pickle.loads(pickle.dumps(fad.grad(np.power, argnums=1)))
    assert np.isclose(f(2.0, 3.0), 8 * np.log(2))
    mapped = pickle.loads(pickle.dumps(fad.vmap(np.add, in_axes=(0, None), out_axes=-1)))
    assert np.array_equal(mapped(X, X), (X[:, None] + X).T)


def test_a_process_that_knows_nothing_of_it_loads_it(tmp_path):
    (tmp_path / "f.pkl").write_bytes(pickle.dumps(fad.jit(fad.grad(np.tanh))))
    code = f"import pickle; print(pickle.load(open({str(tmp_path / 'f.pkl')!r}, 'rb'))(0.0))"
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert done.stdout.strip() == "1.0", done.stderr


@pytest.mark.parametrize(
    "transform", [fad.grad, fad.value_and_grad, fad.jacobian, fad.jacfwd, fad.jacrev, fad.hessian, fad.vmap, fad.trace]
)
def test_keeps_name_documentation_and_signature(transform):
    f = transform(cubic)
    assert f.__name__ == f"{transform.__name__}(cubic)" and repr(f) == f"<{f.__name__}>"
    assert f.__doc__ == cubic.__doc__ and f.__module__ == cubic.__module__ and f.__wrapped__ is cubic
    assert inspect.signature(f) == inspect.signature(cubic)
    assert transform(lambda x: x).__name__ == f"{transform.__name__}(f)"


def test_decorates_methods():
    assert np.array_equal(Model(3.0).slope(X), 6 * X)


def test_parameters_keep_their_names():
    assert [x.name for x in fad.trace(fad.grad(cubic))(X).inputs] == ["x"]
    assert fad.jit(fad.grad(cubic)).lower(X) and "grad(cubic)" in repr(fad.trace(fad.grad(cubic))(X))
