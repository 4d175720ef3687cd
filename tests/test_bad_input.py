"""Bad input: every row raises an error that says what, what was got, the rule, the user's line and the fix."""

import dataclasses
import math
import pickle

import numpy as np
import pytest
import scipy.linalg
from scipy import stats

import fad
from fad.errors import AssignmentError, DtypeError, FadError, NoMemoryError, OutOfRangeError, ShapeError, TraceError, TreeError

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


def fill(y, value):
    y[:] = value
    return y.sum()


def look_up(x):
    table = np.arange(4.0)
    return table[np.floor(x).astype(int)].sum()


def add_to(y, x):
    y += x
    return y


def doubled(x):
    y = x * 1
    add_to(y, y)
    return y.sum()


MATRIX = np.ones((2, 2)).view(np.matrix)
MASKED = np.ma.array([1.0, 2.0, 3.0], mask=[0, 1, 0])


def leaked(transform, *args):
    kept = []
    transform(lambda x: kept.append(x * 1.0) or x.sum())(*args)
    return kept[0]


@dataclasses.dataclass
class Marked:
    x: float
    options: object


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
    "shapes that do not broadcast": (
        lambda: fad.grad(lambda x: np.sum(x + np.ones(4)))(X),
        ShapeError,
        "f64[4]",
        "make the shapes",
    ),
    "matmul sizes": (lambda: fad.grad(lambda x: np.sum(x @ np.ones((4, 2))))(X), ShapeError, "f64[4,2]", "transpose"),
    "bool of a symbol": (lambda: fad.trace(lambda x: x if x > 0 else -x)(1.0), TraceError, "greater", "np.where"),
    "bool of an array": (lambda: fad.grad(lambda x: x.sum() if x > 0 else x[0])(X), TraceError, "greater", "any()"),
    "function without a rule": (lambda: fad.grad(lambda x: np.busday_count(x, x))(X), TraceError, "busday_count", "fad.value"),
    "max of nothing": (lambda: fad.grad(np.max)(np.zeros(0)), ShapeError, "f64[0]", "initial"),
    "node from an ended grad": (
        lambda: fad.grad(lambda x, k=leaked(fad.grad, X): np.sum(x * k))(X),
        TraceError,
        "x:f64[3]",
        "return",
    ),
    "node from an ended vmap": (
        lambda: fad.grad(lambda x, k=leaked(fad.vmap, np.ones((2, 3))): np.sum(x * k))(X),
        TraceError,
        "x:f64[3]",
        "return",
    ),
    "tangent of another shape": (lambda: fad.jvp(np.sin, (X,), (np.ones(2),)), ShapeError, "f64[2]", "broadcast_to"),
    "tangent of another structure": (lambda: fad.jvp(np.sin, (X,), ([X],)), TreeError, "PyTreeSpec", "tree.map"),
    "primals without a tuple": (lambda: fad.jvp(np.sin, X, X), TreeError, "f64[3]", "(x,)"),
    "cotangent of another shape": (lambda: fad.vjp(np.sin, X)[1](np.ones(2)), ShapeError, "f64[2]", "broadcast_to"),
    "cotangent of another structure": (lambda: fad.vjp(np.sin, X)[1]((X, X)), TreeError, "PyTreeSpec", "one cotangent"),
    "batch sizes": (lambda: fad.vmap(np.add)(np.ones((2, 3)), np.ones((3, 3))), ShapeError, "f64[2,3], f64[3,3]", "None"),
    "nothing to map": (lambda: fad.vmap(np.sin, in_axes=None)(X), ShapeError, "no batched", "in_axes"),
    "no such batch axis": (lambda: fad.vmap(np.sin, in_axes=3)(X), ShapeError, "axis 3", "in_axes"),
    "no such argument": (lambda: fad.grad(np.sin, argnums=2)(1.0), ShapeError, "argnums 2", "argnums"),
    "negative argnums out of range": (lambda: fad.grad(np.sin, argnums=-2)(1.0), ShapeError, "argnums -2", "argnums"),
    "argument twice": (lambda: fad.jacobian(np.add, argnums=(0, -2))(1.0, 2.0), ShapeError, "argnums -2", "argnums"),
    "argnums by name": (lambda: fad.hessian(np.sin, argnums="x")(1.0), DtypeError, "'x'", "argnums=0"),
    "argnums of a bool": (lambda: fad.grad(np.sin, argnums=True)(1.0), DtypeError, "True", "argnums=0"),
    "grad of keywords only": (lambda: fad.grad(lambda x: x)(x=1.0), ShapeError, "0 positional", "by position"),
    "vmap of no function": (lambda: fad.vmap(3)(X), DtypeError, "int 3", "fad.vmap(f)(x)"),
    "trace of no function": (lambda: fad.trace("f")(X), DtypeError, "'f'", "fad.trace(f)(x)"),
    "batch axis of a string": (lambda: fad.vmap(np.sin, in_axes="0")(X), DtypeError, "'0'", "in_axes=0"),
    "batch axis of a float": (lambda: fad.vmap(np.add, in_axes=(0, 1.0))(X, X), DtypeError, "(0, 1.0)", "in_axes=0"),
    "batch axis of a bool": (lambda: fad.vmap(np.sin, in_axes=True)(X), DtypeError, "True", "in_axes=0"),
    "more batch axes than arguments": (lambda: fad.vmap(np.sin, in_axes=(0, 0))(X), ShapeError, "(0, 0)", "each argument"),
    "batch axes of another structure": (lambda: fad.vmap(np.sin, in_axes={"x": 0})(X), ShapeError, "{'x': 0}", "each argument"),
    "batch axis of a result": (lambda: fad.vmap(np.sin, out_axes=1)(X), ShapeError, "out_axes 1", "out_axes"),
    "batch axis of a result, a string": (lambda: fad.vmap(np.sin, out_axes="a")(X), DtypeError, "'a'", "out_axes=0"),
    "no batch axis of a mapped result": (lambda: fad.vmap(np.sin, out_axes=None)(X), ShapeError, "f64[3]", "out_axes=0"),
    "vmap of a number by keyword": (lambda: fad.vmap(np.sin)(x=1.0), ShapeError, "float 1.0", "by position"),
    "vmap of a string result": (lambda: fad.vmap(lambda x: "a")(X), DtypeError, "'a'", "arrays and numbers"),
    "grad of True": (lambda: fad.grad(lambda x: True)(1.0), ShapeError, "bool True", "return"),
    "grad of a comparison": (lambda: fad.grad(lambda x: x > 0)(1.0), ShapeError, "greater:bool[]", "return a float"),
    "grad of a NumPy bool": (lambda: fad.grad(lambda x: np.bool_(True))(1.0), ShapeError, "bool[] True", "return a float"),
    "grad of a complex number": (lambda: fad.grad(lambda x: 1j)(1.0), ShapeError, "complex 1j", "real part"),
    "jvp by integers": (lambda: fad.jvp(np.sin, (np.array([1, 2]),), (np.ones(2),)), DtypeError, "i64[2]", "astype(float)"),
    "vjp by integers": (lambda: fad.vjp(np.sin, np.array([1, 2])), DtypeError, "i64[2]", "astype(float)"),
    "linearize by an integer": (lambda: fad.linearize(np.sin, np.int64(1)), DtypeError, "i64[]", "astype(float)"),
    "complex tangent of a real primal": (lambda: fad.jvp(np.sin, (1.0,), (1j,)), DtypeError, "c128[]", "real part"),
    "complex cotangent of a real result": (lambda: fad.vjp(np.sin, 1.0)[1](1j), DtypeError, "c128[]", "real part"),
    "tangent of a string": (lambda: fad.jvp(np.sin, (1.0,), ("a",)), DtypeError, "a for x:f64[]", "pass"),
    "one tangent too few": (lambda: fad.jvp(np.add, (1.0, 2.0), (1.0,)), TreeError, "PyTreeSpec", "tree.map"),
    "keyword of a Function": (lambda: fad.trace(np.sin)(X)(X, k=1), TreeError, "k", "by position"),
    "Jacobian of conj": (lambda: fad.jacobian(np.conj)(X + 1j), DtypeError, "conjugate", "np.real"),
    "static field that cannot be hashed": (
        lambda: fad.grad(lambda m: m.x)(Marked(1.0, bytearray(1))),
        TreeError,
        "bytearray",
        "tuple",
    ),
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
    "hash": (lambda: fad.grad(lambda x: {x: 1}[x])(X), TraceError, "f64[3]", "fad.value"),
    "memory": (lambda: fad.grad(lambda x: x.strides[0] * x.sum())(X), NoMemoryError, "f64[3]", "fad.value(x).strides"),
    "round of an array": (lambda: fad.grad(lambda x: round(x))(X), TraceError, "f64[3]", "np.round"),
    "a list of rows": (
        lambda: fad.grad(lambda x: np.sum(np.array([x, x])))(X),
        TraceError,
        "f64[3]",
        "from fad import numpy as np",
    ),
    "np.asarray of dtype": (
        lambda: fad.grad(lambda x: np.asarray(x, float).sum())(X),
        TraceError,
        "f64[3]",
        "from fad import numpy",
    ),
    "objects without a function": (
        lambda: fad.grad(lambda x: np.linalg.inv(np.array([[x[0]]]))[0, 0])(X),
        TraceError,
        "dtype('O')",
        "from fad import numpy as np",
    ),
    "isnan of objects": (lambda: fad.grad(lambda x: np.isnan(np.array([x[0]])).sum() * x[0])(X), TraceError, "isnan", "np.stack"),
    "objects as floats": (lambda: fad.grad(lambda x: np.array([x[0]]).astype(float).sum())(X), AssignmentError, "node", "np.stack"),
    "a slice filled": (lambda: fad.grad(lambda x: fill(np.zeros(3), x[0]))(X), TraceError, "f64[]", "fad.at"),
    "function by its own name": (
        lambda: fad.grad(lambda x: np.polynomial.polynomial.polyval(x, x).sum())(X),
        TraceError,
        "f64[3]",
        "",
    ),
    "SciPy's Python": (
        lambda: fad.grad(lambda x: scipy.linalg.convolution_matrix(x, 3).sum())(X),
        TraceError,
        "scipy.linalg.convolution_matrix",
        "NumPy's functions",
    ),
    "SciPy's statistics": (
        lambda: fad.grad(lambda x: stats.alpha.logpdf(x, 1.0).sum())(X),
        TraceError,
        "scipy.stats.alpha",
        "scipy.special",
    ),
    "a local table": (lambda: fad.jit(look_up)(X), TraceError, "i64[3]", "fad.at(table)[i].get()"),
    "a matrix": (lambda: fad.jit(lambda m: m * m)(MATRIX), DtypeError, "matrix", "@"),
    "a mask in a closure": (lambda: fad.grad(lambda x: np.sum(x * MASKED))(X), DtypeError, "MaskedArray", "np.where"),
    "in place, another dtype": (lambda: fad.grad(lambda x: add_to(x > 0, 1.5).sum() * x[0])(X), DtypeError, "f64[3]", "y = y + x"),
    "in place, another shape": (
        lambda: fad.grad(lambda x: add_to(x * 1, np.ones((2, 3))).sum())(X),
        ShapeError,
        "f64[2,3]",
        "y = y + x",
    ),
    "in place, seen elsewhere": (lambda: fad.grad(doubled)(X), AssignmentError, "f64[3]", "y.copy()"),
    "out= of a ufunc": (lambda: fad.grad(lambda x: np.exp(x, out=np.zeros(3)).sum())(X), AssignmentError, "f64[3]", "returns"),
    "out= of reduce": (lambda: fad.grad(lambda x: np.add.reduce(x, out=x[0]))(X), AssignmentError, "f64[]", "returns"),
    "a ufunc's option": (lambda: fad.grad(lambda x: np.matmul(x, x, axis=0))(X), TraceError, "axis", "leave"),
    "a ufunc's dtype": (lambda: fad.grad(lambda x: np.add(x, 1, dtype=int).sum())(X), DtypeError, "f64[3]", "astype"),
    "concatenate's casting": (
        lambda: fad.grad(lambda x: np.concatenate([x, x], dtype=int).sum())(X),
        DtypeError,
        "int64",
        "unsafe",
    ),
    "no such choice": (lambda: fad.grad(lambda x: np.choose([0, 5, 0], [x, x]).sum())(X), OutOfRangeError, "i64[3]", "clip"),
    "ix_ of a matrix": (lambda: fad.grad(lambda x: np.ix_(x[None])[0].sum())(X), ShapeError, "f64[1,3]", "ravel"),
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
    for f in (
        lambda x: x,
        lambda x: x.T,
        lambda x: x.reshape(-1),
        lambda x: x[1:],
        np.sin,
        lambda x: np.broadcast_to(x, (2, 2, 3)),
    ):
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
