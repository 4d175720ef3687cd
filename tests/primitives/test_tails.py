"""A law: first to third derivatives of every elementwise primitive, from the smallest numbers to the largest, against mpmath.

Errors are relative: TOLERANCE, by the order. What is allowed beyond that:

- a derivative below the smallest normal number may be off by a few of these, one beyond the largest may be anything not finite;
- NORMWISE: derivatives by two arguments of one unit are off relative to all of their order, that is, to this power of the radius;
- ABSOLUTE: the derivative crosses zero at -1 and 1, where two terms of size 1 cancel;
- POWERS: x ** (y - n) feels the rounding of y - n times log x; where it is out of range by itself, though not times its factors
  y (y - 1) ..., so is the derivative.
"""

import itertools

import mpmath
import numpy as np
import pytest

import fad
import fad.numpy
from fad.core.primitive import Jvp, Linear, Partials, registry
from fad.primitives import (
    airy,
    analytic,
    bessel,
    elementary,
    elliptic,
    entropy,
    gamma,
    hypergeometric,
    incomplete,
    integrals,
    polynomials,
    probability,
    zeta,
)
from tests.primitives.tails import ONE, ORDERS, TWO

ALL = ONE | TWO
FAMILIES = (
    bessel,
    elementary,
    entropy,
    gamma,
    hypergeometric,
    integrals,
    airy,
    analytic,
    elliptic,
    incomplete,
    polynomials,
    probability,
    zeta,
)
TOLERANCE = {"float64": (0, 2e-14, 4e-13, 1e-12), "float32": (0, 2e-6, 2e-5, 2e-4)}
NORMWISE = {"hypot": 1, "arctan2": 0}
ABSOLUTE = {"ndtr": 3}
POWERS = {"power", "float_power"}
NOT_HERE = {
    "ldexp": "its second argument is an integer",
    "polygamma": "its first argument is an integer; digamma takes it to every order",
    "nextafter": "its steps are below every difference",
    "barrier": "its first argument",
    "where": "no function of real numbers alone",
    "imag": "of real numbers it is 0",
    "sech": "the derivative of tanh",
    "power_slope": "the derivative of power",
    "sign_slope": "the derivative of absolute",
    "direction": "the derivative of hypot",
    "strong_divide": "the derivative of xlogy",
    "regular": "the identity",
    "absolute_power": "power of absolute, from 2 on",
    "signed_power": "the derivative of absolute_power",
}
LENGTHS = {
    "float64": [
        1e-300,
        1e-200,
        1e-100,
        1e-50,
        1e-20,
        1e-10,
        1e-6,
        1e-3,
        0.05,
        0.1,
        0.249,
        0.251,
        0.3,
        0.499,
        0.501,
        0.7,
        0.95,
        1.3,
        2.5,
        4.2,
        9.5,
        20.0,
        40.0,
        90.0,
        200.0,
        350.0,
        705.0,
        1e4,
        1e8,
        1e10,
        1e20,
        1e50,
        1e100,
        1e150,
        1e200,
        1e300,
    ],
    "float32": [
        1e-37,
        1e-30,
        1e-20,
        1e-10,
        1e-6,
        1e-3,
        0.05,
        0.1,
        0.249,
        0.251,
        0.3,
        0.499,
        0.501,
        0.7,
        0.95,
        1.3,
        2.5,
        4.2,
        9.5,
        20.0,
        40.0,
        80.0,
        1e4,
        1e6,
        1e10,
        1e18,
        1e20,
        1e30,
        1e37,
    ],
}
NEAR_ONE = {"float64": [1e-3, 1e-7, 1e-12, 2.0**-52], "float32": [1e-3, 1e-5, 2.0**-23]}
SIDES = {
    "float64": [1e-200, 1e-100, 1e-20, 0.1, 1.0, 2.5, 45.0, 1e10, 1e100, 1e200],
    "float32": [1e-30, 1e-10, 0.1, 1.0, 2.5, 45.0, 1e10, 1e20, 1e30],
}


def columns(name, dtype):
    """One array for each argument, of points inside the domain."""
    if name in ONE:
        ends = [s * (1 + t * e) for e in NEAR_ONE[dtype] for s in (1, -1) for t in (1, -1)]
        rows = [(x,) for x in np.unique(np.array([*LENGTHS[dtype], *(-x for x in LENGTHS[dtype]), *ends], dtype))]
    else:
        rows = [
            (s * x, t * y)
            for k, (x, y) in enumerate(itertools.product(np.array(SIDES[dtype], dtype), repeat=2))
            for s, t in (((1, 1), (-1, -1)) if k % 2 else ((1, -1), (-1, 1)))
        ]
    rows = [row for row in rows if ALL[name].domain(*map(float, row))]
    return [np.array(column, dtype) for column in zip(*rows, strict=True)]


def derivative(f, orders):
    """The derivative at every element of arrays."""
    for i, n in enumerate(orders):
        for _ in range(n):
            f = fad.grad(lambda *xs, f=f: np.sum(f(*xs)), i)
    return f


def function(name, dtype):
    op = registry[name]
    return (lambda x: op(x, dtype=np.dtype(dtype))) if name == "astype" else op


def check(name, dtype, orders, xs, got):
    """Raise where a derivative is not what mpmath says."""
    info, order = np.finfo(dtype), sum(orders)
    smallest, largest, tolerance = float(info.smallest_normal), float(info.max), TOLERANCE[dtype][order]
    wrong = []
    for *point, y in zip(*xs, got, strict=True):
        point = tuple(map(float, point))
        want = ALL[name].derivative(point, orders)
        reference = max(abs(want), float(ABSOLUTE.get(name) == order))
        if name in NORMWISE:
            reference = mpmath.hypot(*point) ** (NORMWISE[name] - order)
        if name in POWERS and point[0] > 0:
            reference *= 1 + abs(mpmath.log(point[0]))
            if abs(mpmath.power(point[0], point[1] - orders[0])) > largest:
                continue
        near = np.isfinite(y) and abs(mpmath.mpf(float(y)) - want) <= tolerance * reference + 4 * smallest
        if not (near or (not np.isfinite(y) and reference > 0.9 * largest)):
            wrong.append(f"{name}{point}: {y}, not {mpmath.nstr(want, 17)}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.smoke
def test_every_elementwise_primitive_is_under_the_law():
    elementwise = {
        name
        for name, op in registry.items()
        if op.batch.__qualname__.startswith("elementwise.") and isinstance(op.derivative, Partials | Jvp | Linear)
    }
    families = {
        name for module in FAMILIES for name in module.__all__
    }  # against mpmath in test_special_families.py, test_special_table.py
    assert elementwise - families == (set(ALL) | set(NOT_HERE)) - families


@pytest.mark.parametrize("name", ALL)
def test_the_oracle_against_differences(name):
    definition = ALL[name]
    with mpmath.workdps(50):
        for orders in ORDERS[len(definition.point)]:
            if len(orders) == 1:
                found = mpmath.diff(definition.f, definition.point[0], orders[0])
            else:
                found = mpmath.diff(definition.f, definition.point, orders)
            assert abs(found - definition.derivative(definition.point, orders)) < 1e-10, orders


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", ALL)
def test_derivatives_in_the_tails(name, dtype):
    f, xs = function(name, dtype), columns(name, dtype)
    for orders in ORDERS[len(xs)]:
        check(name, dtype, orders, xs, derivative(f, orders)(*xs))


@pytest.mark.parametrize("name", ALL)
def test_compiled_derivatives_in_the_tails(name):
    f, xs = function(name, "float64"), columns(name, "float64")
    asked = ORDERS[len(xs)]
    found = fad.jit(lambda *xs: [derivative(f, orders)(*xs) for orders in asked])(*xs)
    for orders, got in zip(asked, found, strict=True):
        check(name, "float64", orders, xs, got)
