"""Every function under a NumPy name gives on nodes what NumPy gives on arrays."""

import numpy as np
import pytest

from tests.numpy.oracle import check

R = np.random.default_rng(0)
V, W = R.normal(size=7), R.normal(size=7)
A, B = R.normal(size=(3, 4)), R.normal(size=(3, 4))
S = R.normal(size=(4, 4))
T = R.normal(size=(2, 3, 4))
Z = A + 1j * B
N = np.where(R.random((3, 4)) < 0.3, np.nan, A)
E = np.zeros((0, 3))
I = R.integers(-5, 6, (3, 4))
M = (A > 0) | (np.arange(4) == 0)

REDUCTIONS = ["sum", "prod", "max", "min", "mean", "var", "std", "ptp", "any", "all", "count_nonzero", "median"]
SHAPES = {
    "reshape": [lambda x: np.reshape(x, (4, -1)), lambda x: np.reshape(x, -1), lambda x: np.reshape(x, (2, 6), order="F")],
    "ravel": [np.ravel, lambda x: np.ravel(x, order="F"), lambda x: x.flatten()],
    "transpose": [np.transpose, lambda x: np.transpose(x, (1, 0)), lambda x: x.T, lambda x: x.transpose(1, 0), lambda x: x.mT],
    "swapaxes": [lambda x: np.swapaxes(x, 0, -1)],
    "expand_dims": [lambda x: np.expand_dims(x, 1), lambda x: np.expand_dims(x, (0, -1))],
    "squeeze": [lambda x: np.squeeze(x[:, None, :, None]), lambda x: np.squeeze(x[:, None], 1)],
    "broadcast": [lambda x: np.broadcast_to(x, (2, 3, 4)), lambda x: np.broadcast_arrays(x, x[:1], x[0, 0])],
    "atleast": [np.atleast_1d, np.atleast_2d, np.atleast_3d, lambda x: np.atleast_3d(x[0]), lambda x: np.atleast_2d(x[0])],
    "flip": [np.flip, lambda x: np.flip(x, 1), np.fliplr, np.flipud, lambda x: np.flip(x, (0, 1))],
    "rot90": [lambda x: [np.rot90(x, k) for k in range(-1, 5)]],
    "roll": [
        lambda x: np.roll(x, 2),
        lambda x: np.roll(x, -1, 1),
        lambda x: np.roll(x, (1, -2), (0, 1)),
        lambda x: np.roll(x, (1, 2), 0),
    ],
    "tile": [lambda x: np.tile(x, 2), lambda x: np.tile(x, (2, 1, 3)), lambda x: np.tile(x, (2, 1))],
    "repeat": [lambda x: np.repeat(x, 2), lambda x: np.repeat(x, 3, axis=1), lambda x: np.repeat(x, [1, 0, 2], axis=0)],
    "diagonal": [np.diagonal, lambda x: [np.diagonal(x, k) for k in range(-4, 5)], lambda x: np.diagonal(x, 1, 1, 0)],
    "diag": [
        lambda x: [np.diag(x, k) for k in range(-4, 5)],
        lambda x: [np.diag(x[0], k) for k in range(-2, 3)],
        lambda x: np.diagflat(x, 1),
    ],
    "trace": [np.trace, lambda x: np.trace(x, 1), lambda x: np.linalg.trace(x)],
    "triangles": [
        lambda x: [np.tril(x, k) for k in (-1, 0, 2)],
        lambda x: [np.triu(x, k) for k in (-1, 0, 2)],
        lambda x: np.tril(x[0]),
    ],
    "join": [
        lambda x: np.concatenate([x, x[:1]]),
        lambda x: np.concatenate([x, x[0]], axis=None) if x.ndim == 1 else np.concatenate([x, x[:, :1]], axis=-1),
        lambda x: np.stack([x, x], axis=-1),
        lambda x: np.vstack([x, x[0]]),
        lambda x: np.hstack([x, x]),
        lambda x: np.hstack([x[0], x[1]]),
        lambda x: np.dstack([x, x]),
        lambda x: np.column_stack([x, x[:, 0]]),
        lambda x: np.append(x, x[:1], 0),
        lambda x: np.append(x, 1.0),
        lambda x: np.block([[x, x[:, :1]], [x[:1], x[:1, :1]]]),
        lambda x: np.concatenate([x, x], axis=None),
    ],
    "split": [
        lambda x: np.split(x, 2, 1),
        lambda x: np.array_split(x, 3, 1),
        lambda x: np.split(x, [1, 3], 1),
        lambda x: np.hsplit(x, 2),
        lambda x: np.vsplit(x, 3),
        lambda x: np.split(x, [2, 9]),
    ],
    "pad": [
        lambda x: np.pad(x, 1),
        lambda x: np.pad(x, ((1, 2), (0, 3))),
        lambda x: np.pad(x, (1, 2), constant_values=5.0),
        lambda x: np.pad(x, 1, constant_values=((1, 2), (3, 4))),
    ]
    + [
        lambda x, m=m: np.pad(x, ((1, 2), (2, 0)), mode=m)
        for m in ("edge", "reflect", "symmetric", "wrap", "mean", "maximum", "minimum", "linear_ramp")
    ]
    + [lambda x, m=m: np.pad(x, ((4, 5), (0, 9)), m, reflect_type="odd") for m in ("reflect", "symmetric")]
    + [lambda x, m=m: np.pad(x, 2, m, stat_length=((1, 2), (3, 99))) for m in ("mean", "maximum", "minimum")]
    + [
        lambda x: np.pad(x, ((1, 2), (3, 0)), "linear_ramp", end_values=((1, 2), (3, 4))),
        lambda x: np.pad(x, 1, "mean", stat_length=2),
    ],
    "pad by order": [lambda x: np.pad(x, 2, "median"), lambda x: np.pad(x, 2, "median", stat_length=((1, 2), (3, 99)))],
    "insert": [
        lambda x: np.insert(x, 1, x[0], 0),
        lambda x: np.insert(x, [0, 2], x[:2], 0),
        lambda x: np.insert(x, 1, 7.0),
        lambda x: np.insert(x, 1, x[:, 0], 1),
        lambda x: np.insert(x, [1], x[:, :1], 1),
    ],
    "delete": [lambda x: np.delete(x, 1, 0), lambda x: np.delete(x, [0, -1], 1), lambda x: np.delete(x, slice(0, 5, 2))],
    "meshgrid": [
        lambda x: np.meshgrid(x[0], x[:, 0]),
        lambda x: np.meshgrid(x[0], x[:, 0], x[1], indexing="ij"),
        lambda x: np.meshgrid(x[0], x[:, 0], sparse=True),
    ],
    "moveaxis": [
        lambda x: np.moveaxis(x[None], 0, -1),
        lambda x: np.moveaxis(x[None], (0, 1), (2, 0)),
        lambda x: np.rollaxis(x[None], 2),
        lambda x: np.rollaxis(x[None], 0, 3),
    ],
    "like": [np.zeros_like, np.ones_like, lambda x: np.full_like(x, 3), lambda x: np.zeros_like(x, dtype=np.float32)],
    "copy": [np.copy, lambda x: x.copy()],
}
ELEMENTS = {
    "clip": [lambda x: np.clip(x, -0.5, 0.5), lambda x: np.clip(x, None, x[0]), lambda x: x.clip(0), lambda x: np.clip(x, max=0.1)],
    "where": [lambda x: np.where(x > 0, x, 0.0), lambda x: np.where(x > 0, 1, -x)],
    "select": [lambda x: np.select([x > 1, x > 0], [x, 2 * x], -1.0)],
    "piecewise": [lambda x: np.piecewise(x, [x < 0, x >= 1], [lambda v: -v, lambda v: v * v, 5.0])],
    "nan_to_num": [lambda x: np.nan_to_num(np.log(x)), lambda x: np.nan_to_num(1 / np.floor(x), nan=1.0, posinf=2.0, neginf=3.0)],
    "round": [np.round, lambda x: np.round(x, 2), lambda x: np.round(100 * x, -1), np.fix, lambda x: x.round(1), np.around],
    "parts": [np.real, np.imag, np.angle, lambda x: np.angle(x, deg=True), np.conj, np.isreal, lambda x: x.real, lambda x: x.imag],
    "two": [lambda x: np.divmod(x, 0.7), np.modf, lambda x: divmod(x, 0.3)],
    "close": [lambda x: np.isclose(x, x + 1e-9), lambda x: np.isclose(x, x + 1), np.isposinf, np.isneginf],
    "sinc": [np.sinc],
    "options": [
        lambda x: np.add(x, 1, dtype=np.float32),
        lambda x: np.multiply(x, 2, where=x > 0, out=x) if not isinstance(x, np.ndarray) else np.where(x > 0, 2 * x, x),
    ],
}
METHODS = [
    "inverted_cdf",
    "averaged_inverted_cdf",
    "closest_observation",
    "interpolated_inverted_cdf",
    "hazen",
    "weibull",
    "median_unbiased",
    "normal_unbiased",
    "lower",
    "higher",
    "midpoint",
    "nearest",
]
ALONG = {
    "cumsum": [
        np.cumsum,
        lambda x: np.cumsum(x, 1),
        lambda x: x.cumsum(-1),
        lambda x: np.cumulative_sum(x, axis=0, include_initial=True),
    ],
    "cumprod": [np.cumprod, lambda x: np.cumprod(x, 0), lambda x: np.cumulative_prod(x, axis=1)],
    "nancumsum": [
        np.nancumsum,
        lambda x: np.nancumsum(x, 1),
        lambda x: np.nancumprod(x, axis=0),
        lambda x: np.nancumsum(np.where(x > 1, np.nan, x), 0),
    ],
    "covariance": [
        np.cov,
        np.corrcoef,
        lambda x: np.cov(x[0]),
        lambda x: np.corrcoef(x[0]),
        lambda x: np.cov(x, rowvar=False),
        lambda x: np.cov(x, x[::-1] * x, bias=True),
        lambda x: np.corrcoef(x, x[:1] ** 2, rowvar=True),
        lambda x: np.cov(x, aweights=x[0] ** 2),
        lambda x: np.cov(x, fweights=[1, 2, 3, 1], ddof=0),
        lambda x: np.cov(x, fweights=[1, 2, 3, 1], aweights=[0.5, 1.0, 2.0, 0.1]),
        lambda x: np.cov(x, ddof=2),
    ],
    "accumulate": [
        lambda x, f=f: f.accumulate(x, axis=1)
        for f in (np.maximum, np.minimum, np.fmax, np.fmin, np.logaddexp, np.logaddexp2, np.hypot)
    ]
    + [np.maximum.accumulate, lambda x: np.logaddexp.accumulate(x[0]), lambda x: np.maximum.accumulate(np.ravel(x))],
    "diff": [
        np.diff,
        lambda x: np.diff(x, 2, 0),
        lambda x: np.diff(x, prepend=0.0),
        lambda x: np.diff(x, axis=0, append=x[:1]),
        lambda x: np.ediff1d(x, to_begin=1),
    ],
    "trapezoid": [
        np.trapezoid,
        lambda x: np.trapezoid(x, dx=0.5, axis=0),
        lambda x: np.trapezoid(x, np.arange(4.0) ** 2),
        lambda x: np.trapezoid(x, np.arange(3.0) ** 2, axis=0),
        lambda x: np.trapezoid(x, x * 2),
    ],
    "gradient": [
        np.gradient,
        lambda x: np.gradient(x, axis=1),
        lambda x: np.gradient(x, 0.5, 2.0),
        lambda x: np.gradient(x, np.arange(4.0) ** 2, axis=1),
        lambda x: np.gradient(x, edge_order=2),
        lambda x: np.gradient(x, np.arange(4.0) ** 2, axis=1, edge_order=2),
    ],
    "sort": [
        np.sort,
        lambda x: np.sort(x, None),
        lambda x: np.sort(x, 0),
        lambda x: np.argsort(x, 0, kind="stable"),
        lambda x: np.argsort(x, None, stable=True),
        lambda x: x.argsort(kind="stable"),
        lambda x: np.sort(np.partition(x, 1)),
        lambda x: np.take_along_axis(x, np.argpartition(x, 1), -1)[..., 1],
    ],
    "arg": [
        np.argmax,
        np.argmin,
        lambda x: np.argmax(x, 1),
        lambda x: np.argmin(x, 0, keepdims=True),
        lambda x: x.argmax(-1),
        lambda x: np.argmax(x, keepdims=True),
    ],
    "quantile": [
        lambda x: np.quantile(x, 0.3),
        lambda x: np.quantile(x, [0.1, 0.9], axis=1),
        lambda x: np.percentile(x, 25, axis=0),
        *(lambda x, m=m: np.quantile(x, [0.0, 0.1, 0.25, 0.4, 0.5, 0.77, 1.0], axis=1, method=m) for m in METHODS),
        *(lambda x, m=m: np.percentile(x, 30, method=m) for m in METHODS),
        lambda x: np.quantile(x, [[0.0, 1.0]], axis=1, keepdims=True),
        lambda x: np.median(x, (0, 1), keepdims=True),
    ],
    "average": [
        np.average,
        lambda x: np.average(x, axis=1, weights=np.arange(4.0)),
        lambda x: np.average(x, weights=x * x),
        lambda x: np.average(x, 0, returned=True),
    ],
    "take": [
        lambda x: np.take(x, [1, 5]),
        lambda x: np.take(x, [[0, 1]], 1),
        lambda x: x.take(2),
        lambda x: np.take(x, [-1], 0),
        lambda x: np.take(x, [5, -9], 1, mode="wrap"),
        lambda x: np.take(x, [5, -9], 1, mode="clip"),
        lambda x: np.take_along_axis(x, np.argsort(x, 1)[:, :2], 1),
        lambda x: np.take_along_axis(x, np.array([0, 5]), None),
        lambda x: np.compress([True, False, True], x, 0),
        lambda x: np.extract(np.arange(12) % 3 == 0, x),
    ],
    "interp": [
        lambda x: np.interp(x, [-1.0, 0.0, 0.5, 2.0], [1.0, 3.0, -2.0, 0.0]),
        lambda x: np.interp(x, [-1.0, 0.0], [1.0, 3.0], left=-5, right=9.0),
    ],
    "poly": [lambda x: np.polyval([1.0, -2.0, 3.0], x), lambda x: np.vander(x[0]), lambda x: np.vander(x[0], 3, increasing=True)],
    "ufunc methods": [
        np.add.reduce,
        lambda x: np.add.reduce(x, axis=None),
        lambda x: np.multiply.reduce(x, axis=1, keepdims=True),
        lambda x: np.maximum.reduce(x, initial=0.5),
        np.minimum.reduce,
        lambda x: np.logical_and.reduce(x > 0),
        lambda x: np.logical_or.reduce(x > 0, axis=1),
        np.logaddexp.reduce,
        np.add.accumulate,
        lambda x: np.multiply.accumulate(x, axis=1),
        lambda x: np.subtract.outer(x, x[0]),
        lambda x: np.add.reduce(x, where=x > 0, dtype=np.float64),
    ],
    "unwrap": [lambda x: np.unwrap(x * 5), lambda x: np.unwrap(x * 5, axis=0, period=4.0)],
    "search": [
        lambda x: np.searchsorted(np.arange(-2.0, 3), x),
        lambda x: np.searchsorted(np.arange(-2.0, 3), x, side="right"),
        lambda x: np.digitize(x, np.array([-1.0, 0.0, 1.0])),
    ],
}


def cases(table):
    return [pytest.param(program, id=f"{name}-{i}") for name, programs in table.items() for i, program in enumerate(programs)]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("program", cases(SHAPES | ELEMENTS | ALONG))
def test_one_array(program, dtype):
    check(program, A.astype(dtype))


@pytest.mark.parametrize("program", cases(SHAPES))
@pytest.mark.parametrize("x", [Z, I, M], ids=["complex", "int", "bool"])
def test_shapes_of_other_dtypes(program, x):
    if x is Z and program in SHAPES["pad by order"]:
        pytest.skip("an order of complex numbers")
    check(program, x)


def test_nan_and_accumulation():
    for f in (np.nancumsum, np.nancumprod, np.maximum.accumulate, np.fmax.accumulate, np.fmin.accumulate):
        check(lambda v, f=f: f(v, axis=0), N)


def test_quantile_at_ties_and_nan():
    x = np.array([2.0, 1.0, 1.0, 3.0, 2.0])
    for method in METHODS:
        check(lambda v, m=method: np.quantile(v, np.linspace(0, 1, 21), method=m), x)
        check(lambda v, m=method: np.quantile(v, 0.4, axis=0, method=m), N)


@pytest.mark.parametrize(
    "program",
    cases(
        {
            k: v
            for k, v in ALONG.items()
            if k in ("cumsum", "nancumsum", "covariance", "cumprod", "diff", "sort", "arg", "average", "take", "gradient", "poly")
        }
    ),
)
def test_integers_along(program):
    check(program, I)


@pytest.mark.parametrize("x", [A, A.astype(np.float32), Z, I, T], ids=["f64", "f32", "complex", "int", "3d"])
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 1), (), (-1, 0)])
@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.smoke
def test_reductions(name, axis, x):
    if x.dtype.kind == "c" and name in ("ptp", "median"):
        pytest.skip("an order of complex numbers")
    if axis == () and name in ("count_nonzero", "median"):
        pytest.skip("NumPy itself does not take it")
    f = getattr(np, name)
    check(lambda v: f(v, axis=axis), x)
    check(lambda v: f(v, axis=axis, keepdims=True), x)


@pytest.mark.parametrize(
    "program",
    [
        lambda x, m: np.sum(x, axis=1, where=m),
        lambda x, m: np.sum(x, initial=3.0),
        lambda x, m: np.prod(x, where=m, initial=2.0),
        lambda x, m: np.max(x, axis=0, where=m, initial=-9.0),
        lambda x, m: np.min(x, where=m, initial=9.0),
        lambda x, m: np.mean(x, axis=1, where=m),
        lambda x, m: np.var(x, where=m),
        lambda x, m: np.std(x, ddof=1, axis=1),
        lambda x, m: np.var(x, ddof=1, keepdims=True),
        lambda x, m: np.any(x > 1, where=m),
        lambda x, m: np.all(x > -3, axis=0, where=m),
        lambda x, m: np.sum(x, dtype=np.float32),
        lambda x, m: np.mean(x, dtype=np.float32),
        lambda x, m: np.sum(m),
        lambda x, m: np.max(x[:, :0], axis=1, initial=4.0),
        lambda x, m: np.std(x, correction=1),
    ],
)
def test_options_of_reductions(program):
    check(lambda x: program(x, M), A)
    check(program, A, M)


@pytest.mark.parametrize("name", ["nansum", "nanprod", "nanmean", "nanvar", "nanstd", "nanmax", "nanmin", "nanmedian"])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_reductions_without_nan(name, axis):
    check(lambda v: getattr(np, name)(v, axis=axis), N)
    check(lambda v: getattr(np, name)(v, axis=axis, keepdims=True), N.astype(np.float32))


def test_nan_in_reductions_is_kept():
    for f in (np.median, np.max, np.sum, np.mean, np.sort):
        check(lambda v, f=f: f(v, axis=0), N)
    check(lambda v: np.quantile(v, 0.4, axis=0), N)


@pytest.mark.parametrize(
    "f",
    [
        np.sum,
        np.prod,
        np.any,
        np.all,
        lambda x: np.cumsum(x, 0),
        lambda x: np.sum(x, 1),
        np.ravel,
        lambda x: np.concatenate([x, x]),
        lambda x: np.flip(x),
        np.sort,
        lambda x: x[:, [0, 0]],
    ],
)
def test_empty(f):
    check(f, E)


TWO = {
    "same shape": (
        (3, 4),
        (3, 4),
        [
            np.add,
            np.hypot,
            np.vdot,
            np.inner,
            np.outer,
            np.kron,
            np.linalg.vecdot,
            np.vecdot,
            lambda a, b: np.tensordot(a, b, ([0], [0])),
            lambda a, b: np.tensordot(a, b),
            lambda a, b: a @ b.T,
            lambda a, b: np.where(a > b, a, b),
            lambda a, b: np.stack([a, b], 1),
            np.allclose,
            lambda a, b: np.array_equal(a, a),
            lambda a, b: np.linalg.multi_dot([a, b.T, a, b[0]]),
            lambda a, b: np.linspace(a, b, 5),
            lambda a, b: np.linspace(a, b, 5, axis=-1, endpoint=False),
            lambda a, b: np.einsum("ij,kj->ik", a, b),
            lambda a, b: np.tensordot(a, b, 0),
        ],
    ),
    "matrices": (
        (2, 3, 4),
        (4, 5),
        [np.matmul, np.dot, lambda a, b: a.dot(b), lambda a, b: np.tensordot(a, b, 1), np.linalg.matmul],
    ),
    "batches": ((2, 1, 3, 4), (5, 4, 2), [np.matmul, np.dot]),
    "matrix and vector": ((3, 4), (4,), [np.matmul, np.dot, np.matvec, np.kron, np.inner]),
    "vector and matrix": ((4,), (4, 3), [np.matmul, np.dot, np.vecmat]),
    "vector and batch": ((4,), (2, 4, 3), [np.matmul, np.dot]),
    "batch and vector": ((2, 3, 4), (4,), [np.matmul, np.dot]),
    "vectors": ((4,), (4,), [np.matmul, np.dot, np.vdot, np.inner, np.outer, np.subtract.outer, np.convolve]),
    "with a scalar": ((3, 4), (), [np.dot, np.inner, np.outer, np.multiply, np.kron]),
    "in space": ((2, 3), (3,), [np.cross, np.linalg.cross]),
    "columns in space": ((3, 2), (3, 2), [lambda a, b: np.cross(a, b, axis=0), lambda a, b: np.cross(a, b, 0, 0, 1)]),
    "rows of two lengths": (
        (7,),
        (4,),
        [lambda a, b, f=f, m=m: f(a, b, m) for f in (np.convolve, np.correlate) for m in ("full", "same", "valid")],
    ),
    "rows, the longer second": (
        (3,),
        (8,),
        [lambda a, b, f=f, m=m: f(a, b, m) for f in (np.convolve, np.correlate) for m in ("full", "same", "valid")],
    ),
}


@pytest.mark.parametrize("kind", ["f8", "f4", "c16", "mixed", "i8"])
@pytest.mark.parametrize(
    ("sa", "sb", "f"), [pytest.param(sa, sb, f, id=f"{name}-{i}") for name, (sa, sb, fs) in TWO.items() for i, f in enumerate(fs)]
)
def test_two_arrays(sa, sb, f, kind):
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=sa) * 4, rng.normal(size=sb) * 4
    if kind == "c16":
        if f is np.hypot:
            pytest.skip("hypot is real")
        a, b = a + 1j * rng.normal(size=sa), b - 1j * rng.normal(size=sb)
    a, b = np.asarray(a).astype("f4" if kind == "mixed" else kind), np.asarray(b).astype("f8" if kind == "mixed" else kind)
    symbols = (
        f not in (np.allclose,) and "array_equal" not in f.__code__.co_names if hasattr(f, "__code__") else f is not np.allclose
    )
    check(f, a, b, symbols=symbols)


@pytest.mark.parametrize("ord", [None, 1, 2, 3, 0.5, 0, np.inf, -np.inf, -1])
@pytest.mark.parametrize("x", [V, V.astype(np.float32), A, Z, np.arange(5)], ids=["f64", "f32", "2d", "complex", "int"])
def test_vector_norms(ord, x):
    check(lambda v: np.linalg.norm(v, ord, axis=-1), x)
    check(lambda v: np.linalg.norm(v, ord, axis=0, keepdims=True), x)
    if ord is not None:
        check(lambda v: np.linalg.vector_norm(v, ord=ord), x)


@pytest.mark.parametrize("ord", [None, "fro", 1, -1, np.inf, -np.inf])
def test_matrix_norms(ord):
    for x in (A, T, Z):
        check(lambda v: np.linalg.norm(v, ord, axis=(-2, -1)), x)
        check(lambda v: np.linalg.norm(v, ord, axis=(1, 0), keepdims=True), x)
        check(lambda v: np.linalg.matrix_norm(v, ord=ord or "fro"), x)
    check(lambda v: np.linalg.norm(v), T)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, -1, -3])
def test_matrix_power(n):
    check(lambda v: np.linalg.matrix_power(v, n), S)


def test_functions_of_complex_numbers():
    for f in (np.real, np.imag, np.angle, np.abs, np.conj, np.nan_to_num, np.iscomplex, np.square, lambda z: np.round(z, 1)):
        check(f, Z)


def test_bincount_with_weights():
    check(lambda w: np.bincount([0, 1, 1, 3, 0, 1, 2], weights=w, minlength=6), V)


def test_interp_through_nodes():
    check(lambda x, p, v: np.interp(x, p, v), A, np.sort(V), W)
