"""Arrays with a meaning of their own: never a number that forgets it. Their library computes, or fad refuses."""

import importlib.util

import numpy as np
import pytest

import fad
from fad.errors import DtypeError, FadError

M, V = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1.0, 2.0, 3.0])
MATRIX, MASKED = M.view(np.matrix), np.ma.array(V, mask=[0, 1, 0])


class Labelled(np.ndarray):
    """A subclass that adds nothing to what operators mean."""


class Doubled(np.ndarray):
    """A subclass whose sums are its own."""

    def __add__(self, other):
        return 2 * (np.asarray(self) + other)


class Units:
    """A class that answers NumPy itself."""

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        return "units"

    def __array_function__(self, func, types, args, options):
        return "units"


class Aside:
    """A class that wants NumPy's operators to leave it alone."""

    __array_ufunc__ = None

    def __rmul__(self, other):
        return "aside"

    def __eq__(self, other):
        return "aside"


TRANSFORMS = {
    "jit": lambda f, x: fad.jit(f)(x),
    "grad": lambda f, x: fad.grad(lambda x: np.sum(f(x)))(x),
    "vjp": lambda f, x: fad.vjp(f, x)[0],
    "jvp": lambda f, x: fad.jvp(f, (x,), (np.ones(x.shape),))[0],
    "trace": lambda f, x: fad.trace(f)(x),
    "vmap": lambda f, x: fad.vmap(f)(x),
    "linearize": lambda f, x: fad.linearize(f, x)[0],
    "jacobian": lambda f, x: fad.jacobian(f)(x),
    "Function": lambda f, x: fad.trace(f)(np.asarray(x))(x),
    "in a list": lambda f, x: fad.jit(lambda xs: f(xs[0]))([x]),
}


@pytest.mark.smoke
@pytest.mark.parametrize("x", [MATRIX, MASKED, V.view(Doubled)], ids=["matrix", "masked", "own sums"])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_arguments_are_refused(name, x):
    with pytest.raises(DtypeError, match="meaning of its own"):
        TRANSFORMS[name](lambda y: y * y + y, x)


@pytest.mark.parametrize(
    "program",
    [
        lambda x: MATRIX * x,
        lambda x: x * MATRIX,
        lambda x: MATRIX @ x,
        lambda x: x @ MATRIX,
        lambda x: np.dot(MATRIX, x),
        lambda x: np.multiply(MATRIX, x),
        lambda x: x - MATRIX,
        lambda x: np.where(MATRIX > 1, x, 0.0),
        lambda x: np.concatenate([x, MATRIX]),
        lambda x: np.average(x, weights=MATRIX),
        lambda x: fad.at(x)[0].set(MATRIX[0]),
        lambda x: fad.numpy.dot(MATRIX, x),
        lambda x: x[0] * MASKED[:2],
        lambda x: MASKED[:2] * x[0],
        lambda x: x[0] + MASKED[:2],
        lambda x: np.average(x[0], weights=MASKED[:2]),
        lambda x: np.stack([x[0], MASKED[:2]]),
        lambda x: np.ma.sum(MASKED[:2] * x[0]),
        lambda x: np.dot(x, MASKED[:2]),
        lambda x: np.einsum("ij,j->i", x, MASKED[:2]),
        lambda x: np.interp(x, MASKED[:2], [0.0, 1.0]),
        lambda x: np.searchsorted(MASKED[:2], x) * x,
        lambda x: fad.numpy.sum(x, where=MASKED[:2] > 1),
        lambda x: x ** MASKED[:2],
    ],
)
def test_constants_are_refused(program):
    for f in (lambda x: fad.grad(lambda x: np.sum(program(x)))(x), fad.jit(program)):
        with pytest.raises(FadError):
            f(M)


def test_what_is_an_array_in_all_but_name():
    for x in (V.view(Labelled), np.memmap.__new__(np.memmap, "/dev/zero", np.float64, "r", 0, (3,))):
        np.testing.assert_allclose(fad.grad(lambda v: np.sum(v * v))(x), 2 * np.asarray(x))
        np.testing.assert_allclose(fad.jit(lambda v: v * v)(x), np.asarray(x) ** 2)
        np.testing.assert_allclose(fad.grad(lambda v, x=x: np.sum(v * x))(V), np.asarray(x))


def test_others_are_asked_by_numpy():
    seen = []

    def f(x):
        seen.extend(
            [
                x * Units(),
                Units() * x,
                np.add(x, Units()),
                np.add(Units(), x),
                np.dot(x, Units()),
                np.concatenate([x, Units()]),
                np.where(Units(), x, x),
                x / Units(),
                x == Units(),
                x ** Units(),
            ]
        )
        aside.extend([x * Aside(), x == Aside()])
        return np.sum(x)

    aside = []
    fad.grad(f)(V)
    fad.jit(f)(V)
    assert set(map(str, seen)) == {"units"} and set(map(str, aside)) == {"aside"}
    for bad in (lambda x: fad.at(x)[0].set(Units()), lambda x: fad.numpy.dot(x, Units()), lambda x: x + Aside()):
        with pytest.raises(TypeError):
            fad.grad(lambda x, bad=bad: np.sum(bad(x)))(V)


def test_units_of_pint():
    units = (
        importlib.import_module("pint").UnitRegistry() if importlib.util.find_spec("pint") else pytest.skip("pint is not installed")
    )
    q = V * units.m
    for f in (
        lambda x: np.sum((x * q).magnitude),
        lambda x: np.sum((q * x).magnitude),
        lambda x: np.sum((x * units.m * 3).magnitude),
    ):
        got = fad.grad(f)(V)
        np.testing.assert_allclose(got, V if f(V) == np.sum(V * V) else np.full(3, 3.0))
    with pytest.raises(Exception, match="dimensionless"):
        fad.grad(lambda x: np.sum((x + q).magnitude))(V)
    with pytest.raises(DtypeError):
        fad.jit(np.sum)(q)


def test_labels_of_xarray():
    if not importlib.util.find_spec("xarray"):
        pytest.skip("xarray is not installed")
    xarray = importlib.import_module("xarray")
    a = xarray.DataArray(V, dims="a")
    np.testing.assert_allclose(fad.grad(lambda x: np.sum(x * a).data)(V), V)
    np.testing.assert_allclose(fad.grad(lambda x: np.sum(a * x).data)(V), V)
    for refused in (
        lambda: fad.jit(np.sum)(a),
        lambda: fad.vmap(np.sin)(a),
        lambda: fad.grad(np.sum)(a),
        lambda: fad.grad(lambda x: np.sum(np.where(a > 1, x, 0)))(V),
    ):
        with pytest.raises(FadError):
            refused()
