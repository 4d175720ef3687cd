"""Kinks: both modes take the documented derivative at each of them, and what `where` leaves out stays out."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from scipy import linalg

import fad
from fad import losses, nn
from fad.core.primitive import registry
from fad.primitives.matrix_functions import sqrtm
from fad.testing import assert_close

SCRIPT = Path(__file__).parents[1] / "docs" / "make_kinks.py"
SPEC = importlib.util.spec_from_file_location("make_kinks", SCRIPT)
make_kinks = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(make_kinks)

INF, NAN = np.inf, np.nan


@pytest.mark.smoke
def test_the_page_is_up_to_date():
    assert make_kinks.PAGE.read_text() == make_kinks.page(), "run: python docs/make_kinks.py"


def assert_jacobians(f, args, expected):
    """Every way to a Jacobian gives these numbers (one array for each argument, None: not differentiated)."""
    args = tuple(np.asarray(x, float)[()] for x in args)
    wanted = tuple(i for i, e in enumerate(expected) if e is not None)
    expected = tuple(np.asarray(e, float) for e in expected if e is not None)
    traced = lambda *xs: fad.trace(fad.jacrev(f, wanted))(*xs)(*xs)
    for way in (fad.jacfwd(f, wanted), fad.jacrev(f, wanted), traced):
        for found, e in zip(way(*args), expected, strict=True):
            np.testing.assert_array_equal(found, e)
    if np.ndim(f(*args)) == 0:
        for found, e in zip(fad.grad(f, wanted)(*args), expected, strict=True):
            np.testing.assert_array_equal(found, e)
        tangents = tuple(np.zeros_like(x) if i not in wanted else np.ones_like(x) for i, x in enumerate(args))
        if len(wanted) == len(args) and all(np.all(np.isfinite(e)) for e in expected):
            assert fad.jvp(f, args, tangents)[1] == pytest.approx(sum(e.sum() for e in expected))


# (record, where): points as (function or None for the record itself, arguments, Jacobian by each)
POWERS = {
    "x ** 0 at x = 0": [(lambda x: x**0, (0.0,), (0,)), (None, (0.0, 0.0), (0, 0)), (lambda x: np.power(x, 0.0), (0.0,), (0,))],
    "0 ** y, y > 0": [(None, (0.0, 2.0), (0, 0)), (None, (0.0, 1.0), (1, 0)), (lambda y: np.power(0.0, y), (1.5,), (0,))],
    "0 ** y, 0 < y < 1": [(None, (0.0, 0.5), (INF, 0))],
}
EXTREMA = [(None, (1.0, 1.0), (0.5, 0.5)), (None, (1.0, 1.0), (0, None)), (None, (1.0, 1.0), (None, 0))]
JUMP = [(None, (0.0,), (0,)), (None, (2.0,), (0,)), (None, (-1.0,), (0,))]
TIES = {
    "max": [(np.max, ([1.0, 3.0, 3.0],), ([0, 0.5, 0.5],)), (np.max, ([[2.0, 2.0], [2.0, 2.0]],), ([[0.25, 0.25], [0.25, 0.25]],))],
    "min": [(np.min, ([1.0, 3.0, 1.0],), ([0.5, 0, 0.5],)), (np.min, ([2.0, 2.0, 2.0],), ([1 / 3, 1 / 3, 1 / 3],))],
}


def slope(f):
    """The gradient by the first argument."""
    return fad.grad(f)


SINGULAR = [[1.0, 2.0], [2.0, 4.0]]
DEPENDENT = [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]
# Functions of factors at repeated values, which are right whatever vectors of one value are taken.
LINALG = {
    "eigh": {
        "repeated eigenvalues": [
            (lambda a: np.sum(np.linalg.eigvalsh(a)), (np.eye(2),), (np.eye(2),)),
            (lambda a: np.linalg.eigh(a)[1][0, 1], (np.eye(2),), (np.zeros((2, 2)),)),
        ]
    },
    "eig": {
        "repeated eigenvalues": [(lambda a: np.sum(np.linalg.eigvals(a)), (np.eye(2),), (np.eye(2),))],
        "too few eigenvectors": [(lambda a: np.sum(np.linalg.eigvals(a)), ([[0.0, 1.0], [0.0, 0.0]],), (np.full((2, 2), NAN),))],
    },
    "svd": {
        "repeated singular values": [(lambda a: np.sum(np.linalg.svdvals(a)), (np.eye(2),), (np.eye(2),))],
        "a singular value 0": [(lambda a: np.sum(np.linalg.svdvals(a) ** 2), (np.diag([1.0, 0.0]),), (np.diag([2.0, 0.0]),))],
        "full_matrices, columns beyond the singular values": [
            (lambda a: np.sum(np.linalg.svd(a)[0][:, 1:] ** 2), ([[1.0], [0.0], [0.0]],), (np.zeros((3, 1)),))
        ],
    },
    "qr": {
        "columns that depend on one another": [(lambda a: np.sum(np.linalg.qr(a)[0]), (DEPENDENT,), (np.full((3, 2), NAN),))],
        "complete, columns of q beyond those of a": [
            (lambda a: np.sum(np.linalg.qr(a, mode="complete")[0][:, 1:] ** 2), ([[1.0], [0.0], [0.0]],), (np.zeros((3, 1)),))
        ],
    },
    "slogdet": {"singular matrices": [(lambda a: np.linalg.slogdet(a)[1], (SINGULAR,), (np.full((2, 2), NAN),))]},
    "logm": {
        "real matrices with eigenvalues <= 0": [
            (lambda a: np.sum(linalg.logm(a)), (np.diag([-1.0, 1.0]),), (np.full((2, 2), NAN),))
        ]
    },
    "sqrtm": {
        "singular matrices": [(lambda a: np.sum(sqrtm(a)), (np.diag([0.0, 0.0]),), (np.full((2, 2), NAN),))],
        "real matrices with eigenvalues < 0": [(lambda a: np.sum(sqrtm(a)), (np.diag([-1.0, 1.0]),), (np.full((2, 2), NAN),))],
    },
    "lu_parts": {
        "where rows change places": [
            (lambda a: np.sum(linalg.lu(a)[2]), (np.array([[1.0, 2.0], [1.0, 3.0]]),), ([[3, 0], [-2, 1]],))
        ]
    },
    "pinv": {"rank below the smaller side": [(lambda a: np.sum(np.linalg.pinv(a)), (np.diag([1.0, 0.0]),), ([[-1, 1], [1, 0]],))]},
}
POINTS = {
    **{(name, at): points for name in ("power", "float_power") for at, points in POWERS.items()},
    **{(name, "x = y"): EXTREMA for name in ("maximum", "minimum", "fmax", "fmin")},
    **{(name, "integers"): JUMP for name in ("floor", "ceil", "trunc", "rint")},
    **{(name, "ties"): points for name, points in TIES.items()},
    ("sign", "x = 0"): JUMP[:1],
    ("fmod", "x / y integer"): [(None, (3.0, 1.5), (1, -2))],
    ("remainder", "x / y integer"): [(None, (3.0, 1.5), (1, -2))],
    ("floor_divide", "x / y integer"): [(None, (3.0, 1.5), (0, 0))],
    ("copysign", "x = 0"): [(None, (0.0, 2.0), (0, 0)), (None, (0.0, -2.0), (0, 0))],
    ("hypot", "x = y = 0"): [(None, (0.0, 0.0), (0, 0))],
    ("hypot", "x = y = inf"): [(None, (INF, INF), (np.sqrt(0.5), np.sqrt(0.5))), (None, (-INF, 1.0), (-1, 0))],
    **{(name, "x = y = -inf"): [(None, (-INF, -INF), (0, 0)), (None, (-INF, 1.0), (0, 1))] for name in ("logaddexp", "logaddexp2")},
    **{(name, "x = y = inf"): [(None, (INF, INF), (0.5, 0.5)), (None, (INF, 1.0), (1, 0))] for name in ("logaddexp", "logaddexp2")},
    ("sqrt", "x = 0"): [(None, (0.0,), (INF,))],
    ("cbrt", "x = 0"): [(None, (0.0,), (INF,))],
    ("arcsin", "x = -1, 1"): [(None, (1.0,), (INF,)), (None, (-1.0,), (INF,))],
    ("arccos", "x = -1, 1"): [(None, (1.0,), (-INF,)), (None, (-1.0,), (-INF,))],
    ("arccosh", "x = 1"): [(None, (1.0,), (INF,))],
    ("arctan2", "x = y = 0"): [(None, (0.0, 0.0), (0, 0))],
    ("absolute", "x = 0"): [(None, (0.0,), (0,)), (None, (-0.0,), (0,))],
    ("fabs", "x = 0"): [(None, (0.0,), (0,)), (None, (-0.0,), (0,))],
    **{
        (name, f"{at} = 0, second derivative"): [(slope(f), args, expected)]
        for name, at, f, args, expected in (
            ("absolute", "x", np.abs, (0.0,), (NAN,)),
            ("fabs", "x", np.fabs, (0.0,), (NAN,)),
            ("hypot", "x = y", np.hypot, (0.0, 0.0), (NAN, NAN)),
            ("norm", "x", np.linalg.norm, (np.zeros(2),), (np.full((2, 2), NAN),)),
        )
    },
    ("heaviside", "x = 0"): [(None, (0.0, 0.5), (0, 1))],
    ("where", "the edge of the condition"): [
        (lambda x: np.where(x > 0, 2 * x, 3 * x), (0.0,), (3,)),
        (lambda x: np.where(x >= 0, 2 * x, 3 * x), (0.0,), (2,)),
    ],
    ("logsumexp", "all elements -inf"): [(nn.logsumexp, ([-INF, -INF],), ([0, 0],)), (nn.logsumexp, ([-INF, 0.0],), ([0, 1],))],
    ("logsumexp", "elements inf"): [(nn.logsumexp, ([INF, 0.0, -INF],), ([1, 0, 0],)), (nn.logsumexp, ([INF, INF],), ([1, 1],))],
    ("norm", "x = 0"): [(np.linalg.norm, ([0.0, 0.0],), ([0, 0],))],
    ("max_pool", "ties in a window"): [(lambda x: nn.max_pool(x[None, :, None], 2).sum(), ([1.0, 1.0],), ([1, 0],))],
    ("xlogy", "x = y = 0"): [(None, (0.0, 0.0), (-INF, 0))],
    ("xlog1py", "x = 0, y = -1"): [(None, (0.0, -1.0), (-INF, 0))],
    ("entr", "x = 0"): [(None, (0.0,), (INF,))],
    **{(name, at): points for name, points in LINALG.items() for at, points in points.items()},
    ("gamma", "x = -1, -2, ..."): [(None, (-1.0,), (NAN,)), (None, (-2.0,), (NAN,))],
    ("kl_div", "x = 0"): [(None, (0.0, 2.0), (-INF, 1))],
    ("rel_entr", "x = 0"): [(None, (0.0, 2.0), (-INF, 0))],
    # functions written with these
    ("nn.relu", "x = 0"): [(nn.relu, (0.0,), (0,))],
    ("nn.leaky_relu", "x = 0"): [(nn.leaky_relu, (0.0,), (0.01,)), (lambda x: nn.leaky_relu(x, 0.3), (0.0,), (0.3,))],
    ("nn.elu", "x = 0, alpha not 1"): [(lambda x: nn.elu(x, 2.0), (0.0,), (2,)), (nn.elu, (0.0,), (1,))],
    ("nn.max_pool", "ties in a window"): [(lambda x: nn.max_pool(x[None, :, None], 3).sum(), ([1.0, 2.0, 2.0],), ([0, 1, 0],))],
    ("np.clip", "x = a_min, x = a_max"): [
        (lambda x: np.clip(x, -1, 1), (-1.0,), (0,)),
        (lambda x: np.clip(x, -1, 1), (1.0,), (0,)),
    ],
    ("np.clip", "x = a_min, where a_min is differentiated too"): [(lambda x, low: np.clip(x, low, 9.0), (1.0, 1.0), (0.5, 0.5))],
    ("np.abs of complex", "z = 0"): [(lambda x, y: np.abs(x + 1j * y), (0.0, 0.0), (0, 0))],
    ("np.angle", "z = 0"): [(lambda x, y: np.angle(x + 1j * y), (0.0, 0.0), (0, 0))],
    ("np.linalg.norm", "x = 0"): [(lambda x, p=p: np.linalg.norm(x, p), ([0.0, 0.0],), ([0, 0],)) for p in (None, 2, 1, INF, 3)],
    ("np.linalg.norm", "ord=1, some x = 0"): [(lambda x: np.linalg.norm(x, 1), ([0.0, -2.0],), ([0, -1],))],
    ("np.linalg.norm", "ord=inf, ties"): [(lambda x: np.linalg.norm(x, INF), ([2.0, -2.0],), ([0.5, -0.5],))],
    ("np.std", "all elements equal"): [(np.std, ([1.0, 1.0, 1.0],), ([0, 0, 0],))],
    ("np.ptp", "ties"): [(np.ptp, ([1.0, 3.0, 3.0],), ([-1, 0.5, 0.5],)), (np.ptp, ([1.0, 1.0],), ([0, 0],))],
    ("np.sort", "ties"): [(np.sort, ([1.0, 1.0],), (np.eye(2),)), (np.sort, ([1.0, 0.0, 1.0],), (np.eye(3)[[1, 0, 2]],))],
    ("np.median, np.quantile", "ties"): [
        (np.median, ([1.0, 1.0, 1.0],), ([0, 1, 0],)),
        (lambda x: np.quantile(x, 0.5), ([1.0, 1.0, 1.0],), ([0, 1, 0],)),
    ],
    ("np.median, np.quantile", "ties, methods that take one element"): [
        (lambda x: np.quantile(x, 0.4, method="lower"), ([2.0, 1.0, 1.0, 3.0],), ([0, 0.5, 0.5, 0],))
    ],
    ("np.maximum.accumulate", "ties"): [
        (lambda x: np.maximum.accumulate(x)[1], ([1.0, 1.0],), ([0.5, 0.5],)),
        (lambda x: np.minimum.accumulate(x)[1], ([1.0, 1.0],), ([0.5, 0.5],)),
    ],
    ("np.linalg.norm", "ord 2, -2, 'nuc' of a matrix"): [
        (lambda x, p=p: np.linalg.norm(x, p), (np.eye(2),), (slope,))
        for p, slope in ((2, np.eye(2) / 2), (-2, np.eye(2) / 2), ("nuc", np.eye(2)))
    ],
    ("np.round, np.fix", "jumps"): [(np.round, (0.5,), (0,)), (np.fix, (2.0,), (0,))],
    ("np.modf", "x integer"): [(lambda x: np.modf(x)[0], (2.0,), (1,))],
    ("np.nan_to_num", "x infinite or NaN"): [(np.nan_to_num, (x,), (0,)) for x in (INF, -INF, NAN)],
    ("np.interp", "x = xp[i]"): [(lambda x: np.interp(x, [0.0, 1.0, 2.0], [0.0, 5.0, 3.0]), (1.0,), (-2,))],
    ("losses.mean_absolute_error", "prediction = target"): [
        (lambda x: losses.mean_absolute_error(x, np.array([1.0, 2.0])), ([1.0, 3.0],), ([0, 0.5],))
    ],
}


def test_every_documented_kink_has_points_here():
    documented = {(name, kink.at) for name, op in registry.items() for kink in op.kinks}
    documented |= {(name, kink.at) for name, kinks in make_kinks.COMPOSITIONS.items() for kink in kinks}
    assert documented == set(POINTS)


@pytest.mark.parametrize(("name", "at"), POINTS, ids=str)
def test_both_modes_take_the_documented_derivative(name, at):
    for f, args, expected in POINTS[name, at]:
        assert_jacobians(f or registry[name], args, expected)


def test_both_modes_agree_on_ties_of_things_that_both_depend_on_x():
    for f in (np.maximum, np.minimum, np.fmax, np.fmin):
        assert_jacobians(lambda x, y, f=f: f(x * 1.0, y), (1.0, 1.0), (0.5, 0.5))
        assert_jacobians(lambda x, f=f: f(x, np.floor(x) + x - x), (1.0,), (0.5,))
        jacobian = fad.jacfwd(lambda x, f=f: f(x[0], x[1]))(np.ones(2))
        assert_close(jacobian, np.array([0.5, 0.5]))


# -- spellings of one function ---------------------------------------------------------------------------------

INPUTS = {
    "max(x, 0) at x = 0": 0.0,
    "|x| at x = 0": 0.0,
    "the norm at 0": np.zeros(2),
    "the largest of k equal elements": np.ones(3),
}
NUMBERS = {
    "0": 0,
    "1": 1,
    "-1": -1,
    "1/2": 0.5,
    "nan": NAN,
    "1/k each": np.full(3, 1 / 3),
    "1 for the last": np.array([0, 0, 1]),
    "1/4, 1/4, 1/2": np.array([0.25, 0.25, 0.5]),
}


@pytest.mark.parametrize("row", make_kinks.SPELLINGS, ids=lambda row: row[0])
def test_spellings_agree_or_the_page_says_why_not(row):
    what, value, agreeing, others = row
    x = np.asarray(INPUTS[what], float)[()]
    for spelling, number in [*((s, value) for s in agreeing), *((s, v) for s, v, _ in others)]:
        f = eval(f"lambda x: {spelling}", {"np": np, "fad": fad})
        expected = NUMBERS[number] * np.ones_like(x)
        assert_jacobians(f, (x,), (expected,))
    assert all(why for _, _, why in others)


# -- where, safe from NaN -----------------------------------------------------------------------------------------

NORM = np.linalg.norm
# name: function, input, elementwise first and second derivatives
ELEMENTWISE = {
    "sqrt": (lambda x: np.where(x > 0, np.sqrt(x), 0), [-1, 0, 4], [0, 0, 1 / 4], [0, 0, -1 / 32]),
    "log": (lambda x: np.where(x > 0, np.log(x), 0), [-1, 0, 4], [0, 0, 1 / 4], [0, 0, -1 / 16]),
    "x log x": (lambda x: np.where(x > 0, x * np.log(x), 0), [-1, 0, 4], [0, 0, np.log(4) + 1], [0, 0, 1 / 4]),
    "divide": (lambda x: np.where(x != 0, 1 / x, 0), [-1, 0, 4], [-1, 0, -1 / 16], [-2, 0, 1 / 32]),
    "sin x / x": (lambda x: np.where(x == 0, 1.0, np.sin(x) / x), [0, np.pi], [0, -1 / np.pi], [0, 2 / np.pi**2]),
    "x ** 0.5": (lambda x: np.where(x > 0, x**0.5, 0), [-1, 0, 4], [0, 0, 1 / 4], [0, 0, -1 / 32]),
    "x ** -1": (lambda x: np.where(x > 0, x**-1, 0), [-1, 0, 4], [0, 0, -1 / 16], [0, 0, 1 / 32]),
    "x ** x": (lambda x: np.where(x > 0, x**x, 1), [-1, 0, 1], [0, 0, 1], [0, 0, 2]),
    "arccos": (lambda x: np.where(np.abs(x) < 1, np.arccos(x), 0), [-1, 1, 2, 0], [0, 0, 0, -1], [0, 0, 0, 0]),
    "arctanh": (lambda x: np.where(np.abs(x) < 1, np.arctanh(x), 0), [1, -1, 0], [0, 0, 1], [0, 0, 0]),
    "cbrt": (lambda x: np.where(x > 0, np.cbrt(x), 0), [0, 8], [0, 1 / 12], [0, -1 / 144]),
    "double": (lambda x: np.where(x > 0, np.log(np.where(x > 0, x, 1)), 0), [-1, 0, 4], [0, 0, 1 / 4], [0, 0, -1 / 16]),
    "nested": (
        lambda x: np.where(x > 0, np.where(x > 1, np.sqrt(x - 1), np.log(x)), 0),
        [-1, 0, 0.5, 5],
        [0, 0, 2, 1 / 4],
        [0, 0, -4, -1 / 32],
    ),
    "both sides": (lambda x: np.where(x > 0, np.sqrt(x), np.sqrt(-x)), [-4, 4], [-1 / 4, 1 / 4], [-1 / 32, -1 / 32]),
    "something after": (lambda x: 2 * np.exp(np.where(x > 1, np.log(x), 0)), [0, 2], [0, 2], [0, 0]),
    "root of a maximum": (lambda x: np.sqrt(np.maximum(x, 0)), [-1, 0, 4], [0, 0, 1 / 4], [0, 0, -1 / 32]),
    "root of a clip": (lambda x: np.sqrt(np.clip(x, 0, None)), [-1, 0, 4], [0, 0, 1 / 4], [0, 0, -1 / 32]),
    "maximum of a log": (lambda x: np.maximum(np.log(x), -1), [0, 4], [0, 1 / 4], [0, -1 / 16]),
    "select": (lambda x: np.select([x > 0], [np.sqrt(x)], 0.0), [-1, 0, 4], [0, 0, 1 / 4], [0, 0, -1 / 32]),
    "nan_to_num": (lambda x: np.nan_to_num(np.log(x), neginf=0.0), [0, 4], [0, 1 / 4], [0, -1 / 16]),
    "float32 inside": (lambda x: np.where(x > 0, np.sqrt(x.astype(np.float32)), 0), [0, 4], [0, 1 / 4], [0, -1 / 32]),
}


def ways_to_first(f, x):
    """Elementwise f's derivative, by every route."""
    total, ones = lambda x: np.sum(f(x)), np.ones_like(x)
    yield "jvp", fad.jvp(f, (x,), (ones,))[1]
    yield "grad", fad.grad(total)(x)
    yield "jacfwd", np.diag(fad.jacfwd(f)(x))
    yield "jacrev", np.diag(fad.jacrev(f)(x))
    yield "linearize", fad.linearize(f, x)[1](ones)
    yield "vmap of grad", fad.vmap(fad.grad(f))(x)
    yield "vmap of jvp", fad.vmap(lambda a: fad.jvp(f, (a,), (1.0,))[1])(x)
    yield "grad of vmap", fad.grad(lambda x: np.sum(fad.vmap(f)(x)))(x)
    yield "traced", fad.trace(fad.grad(total))(x)(x)


def ways_to_second(f, x):
    """Elementwise f's second derivative, by every nesting."""
    total, ones = lambda x: np.sum(f(x)), np.ones_like(x)
    forward = lambda g: lambda x: fad.jvp(g, (x,), (ones,))[1]
    reverse = lambda g: fad.grad(lambda x: np.sum(g(x)))
    yield "forward of forward", forward(forward(f))(x)
    yield "forward of reverse", forward(reverse(f))(x)
    yield "reverse of forward", reverse(forward(f))(x)
    yield "reverse of reverse", reverse(reverse(f))(x)
    yield "hessian", np.diag(fad.hessian(total)(x))
    yield "jacrev of jacrev", np.diag(fad.jacrev(fad.jacrev(total))(x))
    yield "jacfwd of jacfwd", np.diag(fad.jacfwd(fad.jacfwd(total))(x))
    yield "jacrev of jacfwd", np.diag(fad.jacrev(fad.jacfwd(total))(x))
    yield "hvp", fad.hvp(total, x, ones)
    yield "grad of linearize", reverse(lambda x: fad.linearize(f, x)[1](ones))(x)
    yield "vmap of grad of grad", fad.vmap(fad.grad(fad.grad(f)))(x)
    yield "traced", fad.trace(reverse(reverse(f)))(x)(x)


@pytest.mark.smoke
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_where_is_safe_from_nan(name):
    f, x, first, second = ELEMENTWISE[name]
    x = np.array(x, float)
    for ways, expected in ((ways_to_first, first), (ways_to_second, second)):
        for way, found in ways(f, x):
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-12, err_msg=way)


# name: function, input. Some derivative on the side not taken is infinite; none of it may arrive.
ARRAYS = {
    "x / |x|": (lambda x: np.where(NORM(x) > 0, x / NORM(x), 0), [0, 0]),
    "x / sqrt(x . x)": (lambda x: np.where(np.sum(x * x) > 0, x / np.sqrt(np.sum(x * x)), 0), [0, 0]),
    "norm that is left out": (lambda x: np.where(x > 1, NORM(x), 0), [0, 0]),
    "norms of rows, one left out": (lambda x: NORM(x, axis=1)[1], [[0, 0], [3, 4]]),
    "log of a product": (lambda x: np.where(np.prod(x) > 0, np.log(np.prod(x)), 0), [0, 2, 3]),
    "log of a cumulative sum": (lambda x: np.where(x > 0, np.log(np.cumsum(x)), 0), [0, 0, 2]),
    "arctan2": (lambda x: np.where(x[0] > 0, np.arctan2(x[0], x[1]), 0), [0, 0]),
    "before matmul": (lambda x: np.where(x > 0, np.sqrt(x), 0) @ np.ones((2, 2)), [0, 1]),
    "after matmul": (lambda x: np.where(np.arange(2) > 0, np.sqrt(np.eye(2) @ x), 0), [0, 1]),
    "einsum": (lambda x: np.einsum("i,i->", np.where(x > 0, np.log(x), 0), x), [0, 1]),
    "a mask as index": (lambda x: np.log(x)[x > 0], [0, 1]),
    "positions as index": (lambda x: np.sqrt(x)[np.array([1, 1])], [0, 1]),
    "take": (lambda x: np.take(np.sqrt(x), [1, 1]), [0, 1]),
    "a slice of concatenate": (lambda x: np.concatenate([np.sqrt(x), x])[1:], [0, 1]),
    "split": (lambda x: np.split(np.sqrt(x), 2)[1], [0, 1]),
    "at.set": (lambda x: fad.at(np.sqrt(x))[0].set(0.0), [0, 1]),
    "at.set by positions": (lambda x: fad.at(np.sqrt(x))[np.array([0])].set(0.0), [0, 1]),
    "max": (lambda x: np.max(np.sqrt(x)), [0, 1]),
    "sort": (lambda x: np.sort(np.sqrt(x))[1], [0, 1]),
    "median": (lambda x: np.median(np.sqrt(x)), [0, 1, 2]),
    "tril": (lambda x: np.tril(np.sqrt(x)), [[1, 0], [2, 3]]),
    "nansum": (lambda x: np.nansum(np.sqrt(x)), [-1, 1]),
    "sum with where": (lambda x: np.sum(np.sqrt(x), where=np.array([False, True])), [0, 1]),
    "std": (lambda x: np.where(np.var(x) > 0, x / np.std(x), 0), [1, 1]),
    "masked log_softmax": (lambda x: nn.softmax(np.where(np.array([True, True, False]), x, -INF)), [1, 2, 3]),
    "Python's if": (lambda x: np.stack([np.sqrt(a) if a > 0 else a * 0 for a in x]), [0, 1]),
    "into prod": (lambda x: np.prod(np.where(x > 0, np.sqrt(x), 1)), [0, 1, 4]),
    "into cumprod": (lambda x: np.cumprod(np.where(x > 0, np.sqrt(x), 1)), [0, 1, 4]),
    "into logsumexp": (lambda x: nn.logsumexp(np.where(x > 0, np.sqrt(x), 1)), [0, 1, 4]),
    "out of cumprod": (lambda x: np.where(x > 5, np.cumprod(np.sqrt(x)), 1), [0, 1, 4]),
    "out of logsumexp": (lambda x: np.where(x > 0, nn.logsumexp(np.sqrt(x)[:, None], axis=1), 1), [0, 1, 4]),
    "complex root": (lambda x: np.where(x > 0, np.real(np.sqrt(x + 0j)), 1), [0, 1, 4]),
    "pool of a root": (lambda x: nn.max_pool(np.sqrt(x)[None, :, None], 2), [0, 1, 0, 4]),
}


NEEDS_VALUES = {"a mask as index", "Python's if"}  # so neither vmap nor trace


@pytest.mark.parametrize("name", ARRAYS)
def test_what_is_left_out_stays_out(name):
    f, x = ARRAYS[name]
    x = np.array(x, float)
    total = lambda x: np.sum(f(x))
    jacobians = [fad.jacfwd(f)(x), fad.jacrev(f)(x)]
    hessians = [outer(inner(total))(x) for outer in (fad.jacfwd, fad.jacrev) for inner in (fad.jacfwd, fad.jacrev)]
    gradients = [fad.grad(total)(x)]
    if name not in NEEDS_VALUES:
        gradients += [fad.vmap(fad.grad(total))(x[None])[0], fad.trace(fad.grad(total))(x)(x)]
    for found in (jacobians, hessians, gradients):
        assert np.all(np.isfinite(found[0]))
        for other in found[1:]:
            np.testing.assert_allclose(other, found[0], rtol=1e-12, atol=1e-12)


def test_nan_that_was_not_left_out_is_kept():
    """Safety is not silence: without a selection 0 times infinity is NaN, as in NumPy."""
    f = lambda x: np.sqrt(x) ** 2
    assert np.isnan(fad.grad(f)(0.0))
    assert np.isnan(fad.jvp(f, (0.0,), (1.0,))[1])
    g = lambda x: np.where(x > -1, np.log(x), 0)  # the side with the NaN is the one taken
    assert np.isnan(g(-0.5))
    assert fad.grad(g)(0.0) == fad.jvp(g, (0.0,), (1.0,))[1] == INF


def test_ways_to_say_which_side_is_meant():
    """What docs/kinks.md advises where other libraries take the mean of both sides."""
    assert fad.grad(lambda t: np.minimum(20.0, t))(20.0) == fad.grad(lambda t: np.where(t < 20.0, t, 20.0))(20.0) == 0
    assert fad.grad(lambda t: np.where(t <= 20.0, t, 20.0))(20.0) == 1
    assert fad.grad(lambda t: (t + 20.0 - np.abs(t - 20.0)) / 2)(20.0) == 0.5
    for f in (lambda x: np.clip(x, 0.0, 1.0), np.abs, lambda x: np.hypot(x, 0.0), lambda x: np.where(x > 0, np.log(x), 0.0)):
        assert fad.grad(f)(0.0) == 0
