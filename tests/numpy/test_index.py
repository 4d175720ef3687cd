"""Every index of NumPy picks from a node what it picks from an array; `fad.at` replaces what NumPy's assignment does."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fad
from fad.core.expr import Expr
from fad.errors import AssignmentError, DtypeError, FadError, OutOfRangeError, ShapeError, TraceError
from tests.numpy.oracle import check, concrete, symbolic

shapes = st.lists(st.integers(0, 4), max_size=4).map(tuple)


@st.composite
def entries(draw, size, broadcast):
    """One index entry for an axis of this size."""
    kind = draw(st.sampled_from(["slice", "slice", "int", "array", "list", "mask"]))
    if kind == "slice":
        bound = st.none() | st.integers(-6, 6)
        return slice(draw(bound), draw(bound), draw(st.sampled_from([None, 1, 2, -1, -2])))
    if kind == "mask":
        true = draw(st.integers(0, max(size - 1, 0)))
        return np.arange(size) == true if broadcast else np.array(draw(st.lists(st.booleans(), min_size=size, max_size=size)), bool)
    if size == 0:
        return slice(None)
    one = st.integers(-size, size - 1)
    if kind == "int":
        return draw(one | one.map(np.int64))
    shape = draw(st.sampled_from([(), (1,), (2,), (3, 1), (3, 2)]))
    values = np.array([draw(one) for _ in range(int(np.prod(shape)))], np.intp).reshape(shape)
    return values.tolist() if kind == "list" and shape else values


@st.composite
def indices(draw, shape):
    """Any index that NumPy takes for an array of this shape."""
    several = draw(st.booleans())
    index = [draw(entries(n, several)) for n in shape[: draw(st.integers(0, len(shape)))]]
    if draw(st.booleans()):
        index.insert(draw(st.integers(0, len(index))), None)
    if draw(st.integers(0, 3)) == 0:
        index.append(Ellipsis)
    if draw(st.integers(0, 9)) == 0:
        index.insert(draw(st.integers(0, len(index))), draw(st.booleans()))
    return index[0] if len(index) == 1 and draw(st.booleans()) else tuple(index)


def numbers(shape):
    return np.asarray(np.arange(float(np.prod(shape, dtype=int))).reshape(shape) + 0.5)


def valid(x, index):
    try:
        return x[index]
    except IndexError:
        return None


@given(st.data())
def test_any_index(data):
    shape = data.draw(shapes)
    index = data.draw(indices(shape))
    x = numbers(shape)
    expected = valid(x, index)
    if expected is None:
        with pytest.raises(FadError):
            concrete(x)[index]
        return
    check(lambda v: v[index], x)


@given(st.data())
def test_derivative_of_any_index(data):
    shape = data.draw(shapes)
    index = data.draw(indices(shape))
    x = numbers(shape)
    expected = valid(x, index)
    if expected is None:
        return
    w = np.cos(np.arange(expected.size)).reshape(expected.shape)
    slope = np.zeros(shape)
    np.add.at(slope, index, w)
    np.testing.assert_allclose(fad.grad(lambda v: np.sum(v[index] * w))(x), slope)


@given(st.data(), st.sampled_from(["set", "add", "multiply", "min", "max"]))
def test_at_follows_assignment(data, method):
    shape = data.draw(shapes)
    index = data.draw(indices(shape))
    x = numbers(shape)
    part = valid(x, index)
    if part is None:
        return
    v = np.sin(np.arange(1.0, part.size + 1)).reshape(part.shape) * x.size
    expected = x.copy()
    if method == "set":
        expected[index] = v
    else:
        ufunc = {"add": np.add, "multiply": np.multiply, "min": np.minimum, "max": np.maximum}[method]
        ufunc.at(expected, index, v)

    def program(x, v):
        if not isinstance(x, Expr) and not isinstance(v, Expr):
            return expected
        return getattr(fad.at(x)[index], method)(v)

    check(program, x, v)
    np.testing.assert_allclose(fad.value(program(x, concrete(v))), expected)
    np.testing.assert_allclose(fad.value(program(concrete(x), v)), expected)
    np.testing.assert_allclose(getattr(fad.at(x)[index], method)(v), expected)


@pytest.mark.smoke
@pytest.mark.parametrize("method", ["set", "add", "multiply", "min", "max"])
def test_derivatives_of_at(method):
    """Against differences, with places that come twice."""
    x, v = np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.5, 2.5, 1.7])
    w = np.array([1.0, 10.0, 100.0, 1000.0])
    f = lambda x, v: np.sum(w * getattr(fad.at(x)[[1, 1, 3]], method)(v))
    for argument, at in ((0, x), (1, v)):
        slope = fad.grad(f, argnums=argument)(x, v)
        for k in range(at.size):
            step = np.eye(at.size)[k] * 1e-6
            ends = [f(x + s * step, v) if argument == 0 else f(x, v + s * step) for s in (1, -1)]
            np.testing.assert_allclose(slope[k], (ends[0] - ends[1]) / 2e-6, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", ["multiply", "min", "max", "add"])
def test_at_symbolic_places(method):
    """Places unknown while tracing."""
    y, v, i = np.arange(1.0, 6), np.array([2.0, -3.0, 9.0]), np.array([1, 4, 1])
    f = fad.trace(lambda y, v, i: getattr(fad.at(y)[i], method)(v))(y, v, i)
    np.testing.assert_allclose(f(y, v, i), getattr(fad.at(y)[i], method)(v))


def test_index_nodes():
    x, i = np.arange(12.0).reshape(3, 4), np.array([2, 0, 1])
    check(lambda x, i: x[i], x, i)
    check(lambda x, i: x[:, i], x, i)
    check(lambda x, i: x[i, i], x, i)
    check(lambda x, i: np.take(x, i, axis=1), x, i)
    check(lambda x, i: x[i[0]], x, i)
    np.testing.assert_array_equal(fad.value(fad.at(x)[concrete(i)].get()), x[i])
    mask = x > 4
    np.testing.assert_array_equal(concrete(x)[concrete(x) > 4].value, x[mask])


def test_dtypes_of_at():
    y = np.zeros(3, np.float32)
    assert fad.at(concrete(y))[0].set(1.0).dtype == np.float32
    assert fad.at(concrete(y))[0].add(2).dtype == np.float32
    assert fad.at(y)[0].set(1.5).dtype == np.float32
    assert fad.at(y)[0].set(concrete(np.ones(()))).dtype == np.float64
    assert fad.at(np.zeros(3, int))[0].set(concrete(np.ones(()))).dtype == np.float64
    assert fad.at(np.zeros(3, int))[0].set(1.5).dtype == np.float64


@pytest.mark.parametrize(
    ("index", "error", "words"),
    [
        (3, OutOfRangeError, "axis 0 has size 3"),
        ((0, -5), OutOfRangeError, "axis 1 has size 4"),
        ((0, 0, 0), OutOfRangeError, "2 axes"),
        ([0, 7], OutOfRangeError, "axis 0"),
        ((slice(None), [0, 4]), OutOfRangeError, "axis 1 has size 4"),
        (1.0, DtypeError, "astype"),
        (np.array([0.5]), DtypeError, "integers"),
        ("a", DtypeError, "integer"),
        (np.ones(2, bool), OutOfRangeError, "mask"),
        (np.ones((3, 3), bool), OutOfRangeError, "mask"),
        (([0, 1], [0, 1, 2]), ShapeError, "broadcast"),
        ((Ellipsis, Ellipsis), OutOfRangeError, "one at most"),
    ],
)
def test_bad_indices(index, error, words):
    for make in (concrete, symbolic):
        with pytest.raises(error, match=words):
            make(np.zeros((3, 4)))[index]


def test_assignment_names_the_fix():
    x = concrete(np.zeros(3))
    for bad in (
        lambda: np.add.at(x, 0, 1.0),
        lambda: np.put_along_axis(x, np.array([0]), 1.0, 0),
        lambda: np.put(x, 0, 1),
        lambda: np.fill_diagonal(x, 0),
        lambda: np.copyto(x, 1.0),
        lambda: np.putmask(x, x > 0, 1),
    ):
        with pytest.raises(AssignmentError, match="fix: y = "):
            bad()
    with pytest.raises(AssignmentError, match="fad.at"):
        fad.at(x)[0] = 1.0
    with pytest.raises(ShapeError, match="broadcasts"):
        fad.at(x)[:2].set(np.zeros(3))
    with pytest.raises(TraceError, match="symbolic"):
        symbolic(np.zeros(3))[symbolic(np.zeros(3, bool))]


@pytest.mark.smoke
def test_inputs_stay_as_they_are():
    y = np.zeros(3)
    for method in ("set", "add", "multiply", "min", "max"):
        getattr(fad.at(y)[1], method)(5.0)
    np.testing.assert_array_equal(y, 0)
    x = concrete(y)
    assert x[...] is x
    assert x[:] is x
