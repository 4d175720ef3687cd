"""`fad.numpy`: NumPy's names, constructors with nodes in them, lists of nodes, and errors that name the fix."""

import subprocess
import sys

import numpy as np
import pytest

import fad
import fad.numpy as fnp
from fad.core.expr import FUNCTIONS, UFUNCS, Expr
from fad.errors import AssignmentError, FadError, ShapeError, SingularError, TraceError
from tests.numpy.oracle import concrete, symbolic

ONLY_IN_NUMPY = {
    "common_type",
    "asanyarray",
    "ascontiguousarray",
    "asfortranarray",
    "put_along_axis",
    "put",
    "place",
    "putmask",
    "copyto",
    "fill_diagonal",
}


@pytest.mark.smoke
def test_every_rule_has_its_name():
    for function in list(FUNCTIONS):  # looking a rule up may load more of them
        if callable(function) and function.__name__ not in ONLY_IN_NUMPY:
            home = next(
                (
                    there
                    for there, numpys in ((fnp.linalg, np.linalg), (fnp.fft, np.fft))
                    if getattr(numpys, function.__name__, None) is function
                ),
                fnp,
            )
            assert callable(getattr(home, function.__name__)), function
    for ufunc in UFUNCS:
        if isinstance(ufunc, np.ufunc) and hasattr(np, ufunc.__name__):
            assert callable(getattr(fnp, ufunc.__name__)), ufunc


def test_on_arrays_it_is_numpy():
    x = np.arange(6.0).reshape(2, 3)
    for name, args in (
        ("sum", (x, 0)),
        ("sin", (x,)),
        ("concatenate", ([x, x],)),
        ("einsum", ("ij->j", x)),
        ("zeros", (3,)),
        ("pad", (x, 1, "mean")),
        ("sort", (x,)),
        ("array", ([1, 2],)),
        ("full", (2, 7.0)),
        ("arange", (4,)),
    ):
        np.testing.assert_array_equal(getattr(fnp, name)(*args), getattr(np, name)(*args))
    assert fnp.add(1, 2) == 3
    assert isinstance(fnp.sum([1.0, 2.0]), np.float64)


def test_lists_of_nodes():
    x, y = concrete(np.array(1.5)), concrete(np.array(2.5))
    cases = [
        (fnp.array([x, y]), [1.5, 2.5]),
        (fnp.array([[x, 0.0], [1.0, y]]), [[1.5, 0], [1, 2.5]]),
        (fnp.sum([x, y]), 4),
        (fnp.sin([x, y]), np.sin([1.5, 2.5])),
        (fnp.stack([x, y]), [1.5, 2.5]),
        (np.stack([x, 3.0]), [1.5, 3]),
        (fnp.max([[x], [y]], axis=0), [2.5]),
        (np.add(x, [x, y]), [3, 4]),
        (np.dot(fnp.array([x, y]), [y, x]), 7.5),
        (np.where(x > 1, [x, y], 0.0), [1.5, 2.5]),
        (fnp.linalg.norm([x, y]), np.hypot(1.5, 2.5)),
        (fnp.asarray((x, y), dtype=np.float32), np.float32([1.5, 2.5])),
    ]
    for got, expected in cases:
        np.testing.assert_allclose(got.value, expected)
    assert cases[-1][0].dtype == np.float32
    with pytest.raises(ShapeError, match="rectangular"):
        fnp.array([x, [x, y]])


def test_constructors_with_nodes():
    x = concrete(np.array(2.0, np.float32))
    np.testing.assert_array_equal(fnp.full((2, 2), x).value, np.full((2, 2), 2.0))
    assert fnp.full(3, x).dtype == np.float32
    np.testing.assert_array_equal(fnp.full_like(np.zeros(2), x).value, [2, 2])
    np.testing.assert_array_equal(np.full_like(symbolic(np.zeros(2)), 3.0), [3, 3])
    np.testing.assert_allclose(fnp.linspace(0.0, x, 5).value, np.linspace(0, 2, 5))
    assert isinstance(np.zeros_like(x), np.ndarray)
    assert fnp.array(x).id == x.id
    assert fnp.array(x, copy=False) is x
    assert fnp.array(x, ndmin=2).shape == (1, 1)
    assert fnp.asarray(x, dtype=float).dtype == np.float64
    slope = fad.grad(lambda v: np.sum(fnp.full((2, 3), v) * fnp.linspace(v, 1.0, 3)))(0.5)
    np.testing.assert_allclose(slope, derivative(lambda v: np.sum(np.full((2, 3), v) * np.linspace(v, 1.0, 3)), 0.5), rtol=1e-8)


def derivative(f, x, h=1e-5):
    return (f(x + h) - f(x - h)) / (2 * h)


def test_nodes_where_numpy_does_not_look():
    x, mask, i = np.arange(4.0), np.array([True, False, True, False]), np.array([3, 0])
    assert fad.value(fnp.sum(x, where=concrete(mask))) == 2
    np.testing.assert_array_equal(fad.value(fnp.take(x, concrete(i))), [3, 0])
    f = fad.trace(lambda m: fnp.mean(x, where=m))(mask)
    assert f(~mask) == 2


def test_nothing_is_made_where_nothing_changes():
    x = concrete(np.ones((2, 3)))
    scalar = concrete(np.array(1.0))
    for same in (
        x.reshape(2, 3),
        np.transpose(x, (0, 1)),
        np.broadcast_to(x, (2, 3)),
        np.squeeze(x),
        np.moveaxis(x, 0, 0),
        x[:],
        np.real(x),
        np.atleast_2d(x),
        np.flip(x, ()),
    ):
        assert same is x
    for copy in (
        np.pad(x, 0),
        np.roll(x, 0, 0),
        np.concatenate([x]),
        np.copy(x),
        np.sum(x, axis=()),
        np.tile(x, 1),
        x.astype(float),
    ):
        assert copy is not x and copy.id == x.id
    assert np.sum(scalar) is scalar
    assert np.max(scalar) is scalar


@pytest.mark.parametrize(
    "program",
    [
        np.sum,
        lambda x: np.reshape(x, -1),
        lambda x: x.T,
        lambda x: np.flip(x, 0),
        lambda x: x[0],
        lambda x: np.swapaxes(x, 0, 1),
        lambda x: x[:, None],
        lambda x: np.max(x, axis=-1, keepdims=True),
        lambda x: np.where(x > 0, x, 0.0).args[1],
        lambda x: np.moveaxis(x, 0, -1),
        lambda x: x[[0, 1]],
        lambda x: np.einsum("ij->i", x),
        lambda x: x @ np.ones((3, 2)),
        lambda x: np.std(x).args[0].args[0],
    ],
)
def test_one_node_is_enough(program):
    """The functions that rules use are one primitive each."""
    x = concrete(np.ones((2, 3)))
    y = program(x)
    assert isinstance(y, Expr)
    assert y is x or y.args[0] is x


@pytest.mark.parametrize(
    ("program", "error", "words"),
    [
        (lambda x: np.reshape(x, (4, 2)), ShapeError, "6 elements"),
        (lambda x: np.sum(x, axis=2), ShapeError, "axis 2"),
        (lambda x: np.sum(x, axis=(0, 0)), ShapeError, "twice"),
        (lambda x: np.transpose(x, (0, 0)), ShapeError, "permutation"),
        (lambda x: np.squeeze(x, 0), ShapeError, "length 1"),
        (lambda x: np.concatenate([x, x[:, :1]]), FadError, "concatenate"),
        (lambda x: np.stack([x, x[0]]), ShapeError, "one shape"),
        (lambda x: np.split(x, 4, 1), ShapeError, "array_split"),
        (lambda x: x @ x, ShapeError, "matmul"),
        (lambda x: np.tensordot(x, x, 1), ShapeError, "tensordot"),
        (lambda x: np.matmul(x, 2.0), ShapeError, "scalars"),
        (lambda x: np.pad(x, -1), ShapeError, "negative"),
        (lambda x: np.pad(x, 1, lambda *parts: None), TraceError, "symmetric"),
        (lambda x: np.pad(x, 1, "mean", end_values=1), FadError, "mean"),
        (lambda x: np.pad(x[:0], 1, "edge"), ShapeError, "nothing to repeat"),
        (lambda x: np.max(x[:0], axis=0), ShapeError, "initial"),
        (lambda x: np.linalg.norm(x, "fuc"), FadError, "nuc"),
        (lambda x: np.linalg.norm(x[None], 2), ShapeError, "two axes"),
        (lambda x: np.cross(x[:, :2], x[:, :2]), ShapeError, "3 components"),
        (lambda x: np.quantile(x, 0.5, method="nearer"), FadError, "nearest"),
        (lambda x: np.quantile(x, 0.5, weights=x), TraceError, "weights"),
        (lambda x: np.diag(x[None]), ShapeError, "diag"),
        (lambda x: np.sum(x, out=np.zeros(())), AssignmentError, "out="),
        (lambda x: np.sum(x, 0, None, np.zeros(3)), AssignmentError, "out="),
        (lambda x: np.sort(x, order="name"), TraceError, "order"),
        (lambda x: np.busday_count(x, x), TraceError, "no rule"),
        (lambda x: np.linalg.qr(x, mode="raw"), TraceError, "complete"),
        (lambda x: np.fft.fft(x, 0), ShapeError, "at least 1"),
        (lambda x: np.fft.fftn(x, (1, 2, 3), (0, 1)), FadError, "differ in length"),
        (lambda x: np.fft.fft(x, norm="b"), FadError, "ortho"),
        (lambda x: np.broadcast_to(x, (4, 3)), FadError, "broadcast"),
        (lambda x: np.average(x, 0, [1.0, 2.0, 3.0]), ShapeError, "weights"),
        (lambda x: np.interp(x, [0.0, 1.0], [0.0, 1.0], period=2.0), TraceError, "period"),
        (lambda x: np.linalg.matrix_power(x, 2), ShapeError, "square"),
        *(
            (lambda x, name=name: getattr(np.linalg, name)(x), ShapeError, rf"np\.linalg\.{name}")
            for name in ("inv", "det", "slogdet", "cholesky", "eigh", "eig")
        ),
        (lambda x: np.linalg.solve(x, x), ShapeError, "square"),
        (lambda x: np.linalg.solve(x @ x.T, np.ones(3)), ShapeError, "row"),
        (lambda x: np.linalg.svd(x[0]), ShapeError, "matrix"),
        (lambda x: np.linalg.lstsq(x, np.ones(3)), ShapeError, "row"),
        (lambda x: np.linalg.inv(x[:, :2]), SingularError, r"np\.linalg\.inv: Singular"),
        (lambda x: np.cov(x[None]), ShapeError, "two axes"),
        (lambda x: np.linalg.cholesky(-x[:, :2]), SingularError, "positive definite"),
        (lambda x: np.repeat(x, symbolic(np.array([1]))), TraceError, "symbolic"),
        (lambda x: np.nonzero(symbolic(np.ones(2))), TraceError, "symbolic"),
        (lambda x: np.convolve(x, x), ShapeError, "two rows"),
        (lambda x: np.gradient(x, 1.0, 2.0, 3.0), ShapeError, "spacings"),
    ],
)
def test_errors_name_the_fix(program, error, words):
    with pytest.raises(error, match=words):
        program(concrete(np.ones((2, 3))))


def test_scipy_special_is_known_after_importing_fad():
    """In a fresh process, and without SciPy being imported for it."""
    code = (
        "import sys, fad; assert 'scipy' not in sys.modules; import numpy as np, scipy.special as sc;"
        "print(fad.grad(sc.expit)(0.0), fad.grad(lambda x: sc.gammaln(x))(1.0))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split()[0] == "0.25"
