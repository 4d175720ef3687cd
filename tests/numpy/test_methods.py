"""Nodes have what ndarrays have, or say why not; np.array of nodes; numbers and empty arrays where NumPy takes them."""

import inspect
import math

import numpy as np
import pytest

import fad
from fad.core.expr import FUNCTIONS
from fad.core.primitive import registry
from fad.errors import AssignmentError, FadError, NoMemoryError, TraceError
from fad.testing import check_grads
from tests.numpy.oracle import check, concrete, symbolic

A = np.arange(1.0, 7).reshape(2, 3) * 0.7
X = np.array([0.4, 1.3, 2.6, -0.7])

# -- methods -------------------------------------------------------------------------------------------------------------

OF_MEMORY = {
    "base",
    "byteswap",
    "ctypes",
    "data",
    "device",
    "dump",
    "dumps",
    "flags",
    "getfield",
    "strides",
    "to_device",
    "tobytes",
    "tofile",
    "view",
}
IN_PLACE = {
    "fill": (1.0,),
    "partition": (1,),
    "put": ([0], 1.0),
    "resize": ((3, 2),),
    "setfield": (1.0, float),
    "setflags": (),
    "sort": (),
}
METHODS = {
    "all": (),
    "any": (),
    "argmax": (1,),
    "argmin": (),
    "argpartition": None,
    "argsort": (0,),
    "astype": (np.float32,),
    "choose": None,
    "clip": (1.0, 2.0),
    "compress": ([True, False], 0),
    "conj": (),
    "conjugate": (),
    "copy": (),
    "cumprod": (1,),
    "cumsum": (0,),
    "diagonal": (),
    "dot": (A.T,),
    "flatten": ("F",),
    "item": None,
    "max": (0,),
    "mean": (1,),
    "min": (),
    "nonzero": (),
    "prod": (),
    "ravel": (),
    "repeat": (2, 1),
    "reshape": (3, 2),
    "round": (1,),
    "searchsorted": None,
    "squeeze": (),
    "std": (0,),
    "sum": (1,),
    "swapaxes": (0, 1),
    "take": ([0, 2], 1),
    "tolist": None,
    "trace": (),
    "transpose": (1, 0),
    "var": (),
}
PROPERTIES = ("T", "mT", "dtype", "flat", "imag", "itemsize", "nbytes", "ndim", "real", "shape", "size")


@pytest.mark.smoke
def test_every_attribute_of_ndarray_is_known():
    public = {name for name in dir(np.ndarray) if not name.startswith("_")}
    assert public == OF_MEMORY | set(IN_PLACE) | set(METHODS) | set(PROPERTIES)
    x = concrete(A)
    for name in OF_MEMORY:
        with pytest.raises(NoMemoryError, match=f"x.{name} of a node"):
            getattr(x, name)
        assert not hasattr(x, name)
    for name, args in IN_PLACE.items():
        with pytest.raises(AssignmentError, match="in place"):
            getattr(x, name)(*args)
    assert not hasattr(x, "no_such_thing")


@pytest.mark.parametrize("name", [name for name, args in METHODS.items() if args is not None])
def test_methods(name):
    check(lambda x: getattr(x, name)(*METHODS[name]), A, symbols=name != "nonzero")


def test_methods_of_other_arrays():
    check(lambda x: x[0].argpartition(1)[:2], A)
    check(lambda x: x[0].searchsorted(1.5), A)
    check(lambda i, x: i.choose([x, -x]), np.array([[0, 1, 0], [1, 1, 0]]), A, symbols=False)
    assert concrete(np.arange(3)).tolist() == [0, 1, 2] and concrete(np.arange(3)).item(2) == 2
    np.testing.assert_allclose(fad.grad(lambda x: np.sum(x.compress([True, False], 0) ** 2))(A), [2 * A[0], np.zeros(3)])
    np.testing.assert_allclose(fad.grad(lambda x: x.trace())(np.ones((2, 2))), np.eye(2))  # of the argument itself
    with pytest.raises(FadError, match="same_kind"):
        concrete(A).astype(int, casting="same_kind")


def test_flat():
    x = concrete(A)
    assert float(fad.value(x.flat[4])) == A.flat[4]
    np.testing.assert_array_equal(fad.value(x.flat[1:3]), A.flat[1:3])
    assert len(x.flat) == 6 and [float(fad.value(v)) for v in x.flat] == list(A.flat)
    assert float(fad.value(next(x.flat))) == A.flat[0]
    np.testing.assert_array_equal(fad.grad(lambda x: x.flat[3] ** 2)(A), [[0, 0, 0], [2 * A[1, 0], 0, 0]])
    with pytest.raises(AssignmentError, match="fad.at"):
        x.flat[0] = 1.0


@pytest.mark.parametrize("rounded", [round, math.floor, math.ceil, math.trunc])
def test_rounding_gives_integers(rounded):
    for v in (2.7, -2.7, 0.5, 1.5):
        for node in (rounded(concrete(np.asarray(v))), fad.trace(lambda x: rounded(x))(v)):
            got = node(v) if isinstance(node, fad.Function) else node.value
            assert got == rounded(v) and got.dtype == np.int64
    assert fad.grad(lambda x: X[rounded(x)] * x)(1.2) == X[rounded(1.2)]
    assert fad.grad(lambda x: sum(x for _ in range(rounded(x))))(2.2) == rounded(2.2)
    for bad in (np.nan, np.inf, np.ones(2)):
        with pytest.raises(TraceError, match="one finite real number"):
            rounded(concrete(np.asarray(bad)))


def test_round_to_digits():
    assert float(fad.value(round(concrete(np.asarray(2.345)), 1))) == round(2.345, 1)


# -- np.array of nodes ---------------------------------------------------------------------------------------------------

OF_ELEMENTS = {
    "dot": lambda x: np.dot(np.array([x[0], x[1]]), np.array([x[2], x[3]])),
    "matrix": lambda x: np.sum(rotation(x[0]) @ x[:2]),
    "matrix of constants": lambda x: np.sum(rotation(x[0]) @ np.ones(2)),
    "ufuncs": lambda x: np.sum(np.exp(np.sin(np.array([x[0], x[1]])))),
    "mixed with numbers": lambda x: np.sum(np.array([x[0], 2.0, x[1]]) ** 2),
    "with nodes": lambda x: np.sum(np.array([x[0], x[1]]) * x[2:]),
    "norm": lambda x: np.linalg.norm(np.array([x[0], x[1]])),
    "full": lambda x: np.sum(np.full((2, 2), x[0]) * x[1]),
    "concatenate": lambda x: np.sum(np.concatenate([np.array([x[0]]), x]) ** 2),
    "stack": lambda x: np.sum(np.stack([np.array([x[0], 1.0]), x[:2]]) ** 2),
    "outer": lambda x: np.sum(np.outer(np.array([x[0], x[1]]), x)),
    "T": lambda x: np.sum(rotation(x[0]).T @ x[2:] * x[:2]),
    "index": lambda x: rotation(x[0])[0, 1] * x[1],
    "einsum": lambda x: np.einsum("i,i", np.array([x[0], x[1]]), np.array([x[2], 3.0])),
    "at": lambda x: np.sum(fad.at(np.array([x[0], x[1]]))[0].set(5.0) * x[:2]),
    "nested": lambda x: fad.grad(lambda t: np.sum(np.array([t * t, t * x[0]])))(x[1]),
    "asarray": lambda x: np.asarray(x[0]) * x[1],
    "where": lambda x: np.sum(np.where(np.array([x[0], x[1]]) > 0.5, x[:2], 0.0)),
    "arctan2": lambda x: np.sum(np.arctan2(np.array([x[0], x[1]]), 2.0)),
    "abs": lambda x: np.sum(np.abs(np.array([x[0], x[3]]))),
}


def rotation(angle):
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


@pytest.mark.parametrize("name", OF_ELEMENTS)
def test_array_of_elements(name):  # autograd#52
    f = OF_ELEMENTS[name]
    if name != "nested" and name != "at":
        np.testing.assert_allclose(fad.value_and_grad(f)(X)[0], f(X))
        if name != "where":  # which compares objects, and so asks for their truth
            np.testing.assert_allclose(fad.vmap(f)(np.stack([X, 2 * X])), [f(X), f(2 * X)])
            np.testing.assert_allclose(fad.jit(fad.grad(f))(X), fad.grad(f)(X), rtol=1e-12)
    slope = fad.grad(f)(X)
    ends = [np.array([fad.value_and_grad(f)(X + s * 1e-6 * e)[0] for e in np.eye(4)]) for s in (1, -1)]
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / 2e-6, rtol=1e-6, atol=1e-8)


def test_arrays_of_elements_as_results():
    f = lambda x: np.array([x[0] * x[1], x[2], 3.0])
    expected = [[X[1], X[0], 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    for jacobian in (fad.jacobian, fad.jacfwd, fad.jacrev, lambda f: fad.jit(fad.jacobian(f))):
        np.testing.assert_allclose(jacobian(f)(X), expected)
    np.testing.assert_allclose(fad.jit(f)(X), f(X))
    np.testing.assert_allclose(fad.trace(f)(X)(X), f(X))
    np.testing.assert_allclose(fad.jvp(f, (X,), (X,))[1], np.array(expected) @ X)
    np.testing.assert_allclose(fad.vmap(lambda x: {"y": f(x)})(X[None])["y"][0], f(X))
    aux = fad.grad(lambda x: (x[0], f(x)), has_aux=True)(X)[1]
    assert aux.dtype == np.float64 and np.array_equal(aux, f(X))


# -- numbers and empty arrays --------------------------------------------------------------------------------------------

ALONG = (
    "sum",
    "prod",
    "max",
    "min",
    "any",
    "all",
    "ptp",
    "count_nonzero",
    "argmax",
    "argmin",
    "cumsum",
    "cumprod",
    "nansum",
    "nanprod",
    "nanmean",
    "nanvar",
    "nanstd",
    "nanmax",
    "nanmin",
    "argsort",
    "squeeze",
    "cumulative_sum",
    "cumulative_prod",
)


@pytest.mark.parametrize("axis", [0, -1, None, 1, (0, 1)])
@pytest.mark.parametrize("name", ALONG)
def test_numbers_have_an_axis(name, axis):
    f = lambda x: getattr(np, name)(x, axis=axis)
    x = np.array(2.0)
    try:
        expected = f(x)
    except (TypeError, ValueError):
        with pytest.raises(FadError):
            f(concrete(x))
        return
    check(f, x)
    assert np.shape(expected) == f(symbolic(x)).shape


@pytest.mark.parametrize("mode", ["raise", "wrap", "clip"])
@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("indices", [[], (), [[]], np.array([], int), np.zeros((2, 0), int), [0], 0, [-1]])
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (2, 3)])
def test_takes_of_and_with_nothing(shape, indices, axis, mode):
    f = lambda x: np.take(x, indices, axis, mode=mode)
    x = np.arange(np.prod(shape, dtype=float)).reshape(shape)
    try:
        f(x)
    except (IndexError, TypeError):
        with pytest.raises(FadError):
            f(concrete(x))
        return
    check(f, x)


def test_medians_of_nothing():
    with np.errstate(all="ignore"), pytest.warns(RuntimeWarning):
        check(lambda x: np.nanmedian(x, axis=1), np.zeros((3, 0)))


# -- out= ------------------------------------------------------------------------------------------------------------------

ARGUMENTS = {
    "compress": ([True, False], A),
    "take": (A, [0]),
    "dot": (A, A.T),
    "outer": (A, A),
    "concatenate": ([A, A],),
    "stack": ([A, A],),
    "quantile": (A, 0.5),
    "percentile": (A, 50),
    "nanquantile": (A, 0.5),
    "nanpercentile": (A, 50),
    "clip": (A, 0, 1),
    "choose": (np.array([0]), [A]),
    "multi_dot": ([A, A.T],),
    "cumulative_sum": (A[0],),
    "cumulative_prod": (A[0],),
}
WITH_OUT = sorted(
    (f for f in FUNCTIONS if callable(f) and "out" in inspect.signature(f).parameters), key=lambda f: (f.__module__, f.__name__)
)


@pytest.mark.parametrize("f", WITH_OUT, ids=lambda f: f"{f.__module__}.{f.__name__}")
def test_out_is_refused_wherever_it_stands(f):
    args = fad.tree.map(
        lambda a: concrete(a) if isinstance(a, np.ndarray) and a.dtype == float else a, ARGUMENTS.get(f.__name__, (A,))
    )
    parameters = inspect.signature(f).parameters
    home = {"numpy.linalg": fad.numpy.linalg, "numpy.fft": fad.numpy.fft}.get(f.__module__, fad.numpy)
    front = getattr(home, f.__name__)
    for out in (np.zeros(()), concrete(np.zeros(()))):
        with pytest.raises(AssignmentError):
            f(*args, out=out)
        with pytest.raises(AssignmentError):
            front(*args, out=out)
        if parameters["out"].kind is not inspect.Parameter.KEYWORD_ONLY:
            between = [p.default for p in list(parameters.values())[len(args) : list(parameters).index("out")]]
            with pytest.raises(AssignmentError):
                f(*args, *between, out)


# -- single functions --------------------------------------------------------------------------------------------------------


def test_convolutions_copy_no_windows():
    import tracemalloc

    a, v = np.sin(np.arange(4000.0)), np.cos(np.arange(1000.0))
    tracemalloc.start()
    fad.grad(lambda a, v: np.sum(np.convolve(a, v) ** 2), (0, 1))(a, v)
    assert tracemalloc.get_traced_memory()[1] < 2e6
    tracemalloc.stop()


@pytest.mark.parametrize("f", [np.convolve, np.correlate])
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize(("n", "m"), [(5, 3), (3, 5), (4, 4), (1, 3)])
def test_derivatives_of_convolutions(f, mode, n, m):
    a, v = np.sin(np.arange(n) + 1.0), np.cos(np.arange(m) + 1.0)
    check_grads(lambda a, v: np.sum(f(a, v, mode) ** 2 * np.arange(1, 1 + len(f(np.ones(n), np.ones(m), mode)))), (a, v), order=2)


@pytest.mark.parametrize(
    "program",
    [
        lambda x: np.diff(x, 0, prepend=9.0),
        lambda x: np.diff(x, n=0),
        lambda x: np.ix_(x[0], x[1]),
        lambda x: np.ix_([0, 1], x[0])[1],
        lambda x: x[np.ix_([0, 1], [0, 2])],
        lambda x: np.choose([[0], [1]], [x, 2 * x]),
        lambda x: np.choose(np.array([5, -1, 1]), [x[0], x[1]], mode="clip"),
        lambda x: np.choose(np.array([5, -1, 1]), [x[0], x[1]], mode="wrap"),
        lambda x: np.heaviside(0.0, x),
        lambda x: np.heaviside(0, x),
        lambda x: np.heaviside(x, 0.5),
        lambda x: np.linspace(-x[0], x[1], 4, dtype=int),
        lambda x: np.add(x, 1, dtype=np.float32, casting="same_kind"),
        lambda x: np.sqrt(x, dtype=complex),
        lambda x: np.greater(x, 1.0, dtype=bool),
        lambda x: np.multiply.outer(x, x, dtype=np.float32),
        lambda x: np.add(x, x, signature=(None, None, np.float32)),
        lambda x: np.concatenate([x, x], dtype=np.float32),
        lambda x: np.mean(x, dtype=np.float32),
        lambda x: np.mean(x, axis=0, dtype=complex),
        lambda x: np.var(x, dtype=np.float32),
        lambda x: np.std(x, axis=1, dtype=np.float32),
        lambda x: np.mean(x, dtype=int),
        lambda x: np.nanvar(x, dtype=np.float32),
    ],
)
def test_like_numpy(program):
    check(program, A)
    if getattr(program(A), "dtype", None) == np.float64:
        check_grads(lambda x: np.sum(np.sin(program(x))), (A,))


@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
@pytest.mark.parametrize("mean", [np.mean, np.var, np.std, np.nanmean])
@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "c16"])
@pytest.mark.parametrize(
    "x", [np.arange(6, dtype="i1"), np.arange(6, dtype="f4"), np.arange(6) * 1j, np.array([True, False])], ids=str
)
def test_dtype_of_moments(mean, dtype, x):
    check(lambda v: mean(v, dtype=dtype), x)


def test_derivatives_of_ix_and_choose():
    np.testing.assert_array_equal(fad.grad(lambda x: np.sum(np.ix_(x, x)[0] ** 2))(np.array([1.0, 2.0])), [2.0, 4.0])
    np.testing.assert_array_equal(fad.grad(lambda x: np.sum(np.choose([0, 1, 0], [x, x**2])))(np.array([1.0, 2.0, 3.0])), [1, 4, 1])
    assert fad.grad(lambda y: np.heaviside(0.0, y))(3.0) == 1


@pytest.mark.parametrize("number", [float, int, bool, np.float32, np.float64])
@pytest.mark.parametrize("name", sorted(name for name, op in registry.items() if len(op.domains) == 2))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_numbers_in_place_of_either_argument(name, number):
    """Rules of two arguments take Python's and NumPy's numbers: heaviside(0, x)."""
    op = registry[name]
    a, b = ((3 * low + 5 * high) / 8 for low, high in op.domains)
    for f, at in ((lambda x: op(x, number(b)), a), (lambda x: op(number(a), x), b)):
        x = np.full(2, at)
        if op.derivative is None:
            assert fad.trace(f)(x)(x).shape == (2,)
            continue
        value, slope = fad.value_and_grad(lambda x, f=f: np.sum(f(x)))(x)
        if np.any(np.abs(slope) > 1e12):  # at a pole, where no digit of it is a number
            continue
        np.testing.assert_allclose(fad.jvp(f, (x,), (np.ones(2),))[1], slope, equal_nan=True)
        np.testing.assert_allclose(fad.jit(fad.grad(lambda x, f=f: np.sum(f(x))))(x), slope, rtol=1e-6, equal_nan=True)
        fad.hessian(lambda x, f=f: np.sum(f(x)))(x)
