"""Trees and Functions: printing, structure, pickling, composition, writing by hand."""

import dataclasses
import pickle
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import fad
from fad.errors import TraceError

X = np.array([0.5, -1.0, 2.0])


def shared(x, w):
    y = np.sin(x)
    return y @ w + y[0]


@pytest.mark.smoke
def test_prints_as_let_equations():
    text = str(fad.trace(shared)(X, np.ones((3, 2), np.float32)))
    assert (
        text
        == """shared = lambda x:f64[3], w:f32[3,2]
  a:f64[3] = sin x
  b:f64[1,3] = reshape a {shape=(1, 3)}
  c:f64[1,2] = matmul b w
  d:f64[2] = reshape c {shape=(2,)}
  e:f64[] = getitem a {index=(0,)}
  f:f64[2] = add d e
  in f"""
    )


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


@dataclasses.dataclass
class Weights:
    w: np.ndarray
    name: str


def test_a_pickled_function_loads_where_only_fad_is_imported(tmp_path):
    functions = {
        "pools": fad.trace(fad.nn.max_pool)(np.zeros((1, 4, 4, 1))),
        "gradient of a pool": fad.grad(fad.trace(lambda x: np.sum(fad.nn.max_pool(x)))(np.zeros((1, 4, 4, 1)))),
        "convolution": fad.trace(fad.nn.conv)(np.zeros((1, 4, 4, 1)), np.zeros((2, 2, 1, 3))),
        "random": fad.trace(lambda key: fad.random.normal(key, (3,)))(fad.random.key(0)),
        "softplus": fad.trace(fad.nn.softplus)(X),
        "stop": fad.trace(fad.stop_gradient)(X),
    }
    for name, function in functions.items():
        path = tmp_path / "f.pkl"
        path.write_bytes(pickle.dumps(function))
        done = subprocess.run(
            [sys.executable, "-c", f"import fad, pickle; print(pickle.load(open({str(path)!r}, 'rb')))"],
            capture_output=True,
            text=True,
        )
        assert done.stdout.strip() == str(function), (name, done.stderr)


def test_every_primitive_is_found_by_name():
    code = """
        import importlib, pkgutil, pickle, sys, fad
        from fad.core.primitive import named, registry
        before, loaded = set(registry), set(sys.modules)
        for module in ("nn", "random", "losses", "stax", "optim", "train", "testing", "initializers"):
            importlib.import_module("fad." + module)
        names = set(registry)
        for name in names - before:
            del registry[name]
        for module in [m for m in sys.modules if m.startswith("fad.primitives.") and m not in loaded]:
            del sys.modules[module]
        assert named("eigh").name == "eigh" and named("rfft").name == "rfft" and named("jv").name == "jv"
        assert all(named(name).name == name for name in names)
        assert all(pickle.loads(pickle.dumps(p)) is p for p in registry.values())
        assert len(pickle.dumps(registry["sin"])) < 100
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_unknown_primitive_is_named():
    from fad.core.primitive import named

    with pytest.raises(TraceError, match="'no_such'(.|\n)*import the module"):
        named("no_such")


def test_a_function_of_dataclasses_pickles():
    import optree

    function = fad.trace(lambda p: Weights(p.w * 2, p.name))(Weights(X, "a"))
    text = pickle.dumps(function)
    optree.unregister_pytree_node(Weights, namespace="fad")  # as in a process that has not met one yet
    again = pickle.loads(text)
    doubled = again(Weights(X, "a"))
    assert np.array_equal(doubled.w, 2 * X) and doubled.name == "a"
