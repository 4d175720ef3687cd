"""Bad input: every row raises an error that says what, what was got, the rule, the user's line and the fix."""

import math
import pickle

import numpy as np
import pytest

import fad
from fad.errors import AssignmentError, DtypeError, FadError, OutOfRangeError, ShapeError, TraceError, TreeError

X = np.array([1.0, 2.0, 3.0])


def assign_element(x):
    y = np.zeros(3)
    y[0] = x[0]
    return y.sum()


def assign_slice(x):
    y = np.zeros(3)
    y[:] = x
    return y.sum()


def add_in_place(x):
    y = np.zeros(3)
    y += x
    return y.sum()


def set_node(x):
    x[0] = 1.0
    return x.sum()


def leaked(transform, *args):
    kept = []
    transform(lambda x: kept.append(x * 1.0) or x.sum())(*args)
    return kept[0]


ROWS = {
    "grad of a vector": (lambda: fad.grad(np.sin)(X), ShapeError, "f64[3]", "np.sum"),
    "grad of a complex result": (lambda: fad.grad(lambda x: x * 1j)(1.0), ShapeError, "c128[]", "real part"),
    "grad of a pair": (lambda: fad.grad(lambda x: (x, x))(1.0), ShapeError, "tuple", "has_aux"),
    "grad of None": (lambda: fad.grad(lambda x: None)(1.0), ShapeError, "None", "return"),
    "integer array": (lambda: fad.grad(np.sum)(np.array([1, 2])), DtypeError, "i64[2]", "astype(float)"),
    "bool": (lambda: fad.grad(lambda x: x * 2.0)(True), DtypeError, "bool", "1.0 or 0.0"),
    "string": (lambda: fad.grad(lambda x: x)("abc"), DtypeError, "'abc'", "floats"),
    "string leaf": (lambda: fad.grad(lambda x: x[0])([1.0, "abc"]), DtypeError, "at [1]", "floats"),
    "object array": (lambda: fad.grad(np.sum)(np.array([1, "a"], object)), DtypeError, "object[2]", "floats"),
    "ragged list": (lambda: fad.grad(lambda x: np.sum(x * [[1.0], [2.0, 3.0]]))(X), FadError, "[[1.0]", "rectangular"),
    "assignment of an element": (lambda: fad.grad(assign_element)(X), AssignmentError, "array[i]", "fad.at"),
    "assignment of a slice": (lambda: fad.grad(assign_slice)(X), TraceError, "f64[3]", "fad.at"),
    "in-place addition to an array": (lambda: fad.grad(add_in_place)(X), AssignmentError, "f64[3]", "fad.at"),
    "assignment into a node": (lambda: fad.grad(set_node)(X), AssignmentError, "f64[3]", "fad.at"),
    "float()": (lambda: fad.grad(lambda x: float(x))(1.0), TraceError, "f64[]", "fad.value"),
    "math.sin": (lambda: fad.grad(lambda x: math.sin(x))(1.0), TraceError, "f64[]", "np.sin"),
    "item()": (lambda: fad.grad(lambda x: x.item())(1.0), TraceError, "f64[]", "fad.value"),
    "np.asarray": (lambda: fad.grad(lambda x: np.asarray(x).sum())(X), TraceError, "f64[3]", "fad.value"),
    "index out of range": (lambda: fad.grad(lambda x: x[5])(X), OutOfRangeError, "5", "from -3 to 2"),
    "index array out of range": (lambda: fad.grad(lambda x: x[np.array([0, 7])].sum())(X), OutOfRangeError, "7", "from -3 to 2"),
    "shapes that do not broadcast": (lambda: fad.grad(lambda x: np.sum(x + np.ones(4)))(X), ShapeError, "f64[4]", "make the shapes"),
    "matmul sizes": (lambda: fad.grad(lambda x: np.sum(x @ np.ones((4, 2))))(X), ShapeError, "f64[4,2]", "transpose"),
    "bool of a symbol": (lambda: fad.trace(lambda x: x if x > 0 else -x)(1.0), TraceError, "greater", "np.where"),
    "bool of an array": (lambda: fad.grad(lambda x: x.sum() if x > 0 else x[0])(X), TraceError, "greater", "any()"),
    "function without a rule": (lambda: fad.grad(lambda x: np.busday_count(x, x))(X), TraceError, "busday_count", "fad.value"),
    "max of nothing": (lambda: fad.grad(np.max)(np.zeros(0)), ShapeError, "f64[0]", "initial"),
    "node from an ended grad": (lambda: fad.grad(lambda x, k=leaked(fad.grad, X): np.sum(x * k))(X), TraceError, "x:f64[3]", "return"),
    "node from an ended vmap": (lambda: fad.grad(lambda x, k=leaked(fad.vmap, np.ones((2, 3))): np.sum(x * k))(X), TraceError,
                                "x:f64[3]", "return"),
    "tangent of another shape": (lambda: fad.jvp(np.sin, (X,), (np.ones(2),)), ShapeError, "f64[2]", "broadcast_to"),
    "tangent of another structure": (lambda: fad.jvp(np.sin, (X,), ([X],)), TreeError, "PyTreeSpec", "tree.map"),
    "primals without a tuple": (lambda: fad.jvp(np.sin, X, X), TreeError, "f64[3]", "(x,)"),
    "cotangent of another shape": (lambda: fad.vjp(np.sin, X)[1](np.ones(2)), ShapeError, "f64[2]", "broadcast_to"),
    "cotangent of another structure": (lambda: fad.vjp(np.sin, X)[1]((X, X)), TreeError, "PyTreeSpec", "one cotangent"),
    "batch sizes": (lambda: fad.vmap(np.add)(np.ones((2, 3)), np.ones((3, 3))), ShapeError, "f64[2,3], f64[3,3]", "None"),
    "nothing to map": (lambda: fad.vmap(np.sin, in_axes=None)(X), ShapeError, "no batched", "in_axes"),
    "no such batch axis": (lambda: fad.vmap(np.sin, in_axes=3)(X), ShapeError, "axis 3", "in_axes"),
    "no such argument": (lambda: fad.grad(np.sin, argnums=2)(1.0), ShapeError, "argnums 2", "argnums"),
    "not a function": (lambda: fad.grad(3)(1.0), DtypeError, "int 3", "fad.grad(f)(x)"),
    "jacobian of integers": (lambda: fad.jacobian(np.argsort)(X), DtypeError, "i64[3]", "astype(float)"),
    "no such mode": (lambda: fad.jacobian(np.sin, mode="both")(X), DtypeError, "'both'", "auto"),
    "pickled node": (lambda: pickle.dumps(fad.var("x")), TraceError, "x:f64[]", "fad.trace"),
    "Function of a free variable": (lambda: fad.Function([], [np.sin(fad.var("q"))]), TraceError, "q:f64[]", "argument"),
    "Function called with another shape": (lambda: fad.trace(np.sin)(X)(np.ones(2)), ShapeError, "f64[2]", "trace"),
    "Function called with another dtype": (lambda: fad.trace(np.sin)(X)(X + 0j), DtypeError, "c128[3]", "astype"),
    "Function called with another structure": (lambda: fad.trace(np.sin)(X)([X]), TreeError, "PyTreeSpec", "as it was traced"),
    "composition that does not fit": (lambda: fad.trace(np.sin)(X) @ fad.trace(np.sum)(X), ShapeError, "f64[]", "return"),
    "changed Function": (lambda: setattr(fad.trace(np.sin)(X), "name", "g"), TraceError, "name", "trace"),
    "changed node": (lambda: setattr(fad.var("x"), "shape", (3,)), AssignmentError, "x:f64[]", "reshape"),
    "float index": (lambda: fad.grad(lambda x: X[x])(1.0), TraceError, "f64[]", "fad.value"),
    "out=": (lambda: fad.grad(lambda x: np.sum(x, out=np.zeros(())))(X), AssignmentError, "f64[", "returns"),
    "view": (lambda: fad.grad(lambda x: x.view(np.int64).sum())(X), TraceError, "f64[3]", "astype"),
    "in-place sort": (lambda: fad.grad(lambda x: x.sort())(X), AssignmentError, "f64[3]", "np.sort"),
    "has_aux without aux": (lambda: fad.grad(lambda x: x, has_aux=True)(1.0), TreeError, "x:f64[]", "return y, aux"),
}


@pytest.mark.parametrize("name", ROWS)
def test_error_answers_five_questions(name):
    action, kind, got, fix = ROWS[name]
    with pytest.raises(kind) as caught:
        action()
    text = str(caught.value)
    what, where, advice = text.split("\n")[0], text.split("\n  at ")[1].split("\n")[0], text.split("\n  fix: ")[1]
    assert got in what and fix in advice, text
    assert "test_bad_input.py" in where, text


def test_line_is_the_users():
    with pytest.raises(AssignmentError, match=r"test_bad_input.py:\d+ in assign_element"):
        fad.grad(assign_element)(X)
    with pytest.raises(AssignmentError, match=r"test_bad_input.py:\d+ in set_node"):
        fad.grad(set_node)(X)


def test_both_traces_are_named():
    node = leaked(fad.grad, X)
    with pytest.raises(TraceError, match=r"grad of .*met a node from another trace(.|\n)*grad of"):
        fad.grad(lambda x: np.sum(x * node))(X)


def test_escaped_node_is_inert():
    node = leaked(fad.grad, X)
    assert np.array_equal(fad.value(node + 1), X + 1)
    assert "add" in repr(node + 1)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_nan_and_inf_flow_as_in_numpy():
    y, slope = fad.value_and_grad(lambda x: np.sum(x**2))(np.array([np.nan, np.inf, 1.0]))
    assert np.isnan(y) and np.array_equal(slope, [np.nan, np.inf, 2.0], equal_nan=True)


def test_empty_arrays():
    y, slope = fad.value_and_grad(lambda x: np.sum(np.exp(x)))(np.zeros((0, 3)))
    assert y == 0 and slope.shape == (0, 3)
    assert fad.jacobian(np.sin)(np.zeros(0)).shape == (0, 0)
    assert fad.hessian(np.sum)(np.zeros(0)).shape == (0, 0)
    assert fad.vmap(np.sin)(np.zeros((0, 3))).shape == (0, 3)


def test_numbers_and_integer_leaves():
    assert fad.grad(lambda x: x**2)(3) == 6.0
    tree = {"w": X, "steps": np.array([1, 2]), "flag": True, "none": None, "n": 2}
    slope = fad.grad(lambda p: np.sum(p["w"]) * p["n"])(tree)
    assert np.array_equal(slope["w"], [2, 2, 2]) and slope["n"] == 6
    assert slope["steps"] is None and slope["flag"] is None and slope["none"] is None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_inputs_stay_and_outputs_are_own(dtype):
    x = np.arange(6, dtype=dtype).reshape(2, 3)
    before = x.copy()
    for f in (lambda x: x, lambda x: x.T, lambda x: x.reshape(-1), lambda x: x[1:], np.sin, lambda x: np.broadcast_to(x, (2, 2, 3))):
        y, pullback = fad.vjp(f, x)
        (x_bar,) = pullback(np.ones_like(y))
        primal, tangent = fad.jvp(f, (x,), (x,))
        mapped = fad.vmap(f)(x)
        for result in (y, x_bar, primal, tangent, mapped, fad.trace(f)(x)(x)):
            assert not np.shares_memory(result, x)
            result[...] = -1
        assert np.array_equal(x, before)
    a, b = fad.grad(lambda a, b: np.sum(a + b), argnums=(0, 1))(x, x)
    assert not np.shares_memory(a, b)


def test_later_changes_of_inputs_do_not_matter():
    w = np.array([1.0, 2.0])
    y, pullback = fad.vjp(lambda w: w * w, w)
    w[:] = 100
    assert np.array_equal(pullback(np.ones(2))[0], [2, 4])
    factor = np.ones(2)

    def f(x):
        y = x * factor
        factor[:] = 7
        return np.sum(y)

    assert np.array_equal(fad.grad(f)(np.ones(2)), [1, 1])
