"""A law: first to third derivatives of every elementwise primitive, from the smallest numbers to the largest, against mpmath."""

import itertools

import mpmath
import numpy as np
import pytest

import fad
import fad.numpy
from fad.primitive import registry
from tests.primitives.tails import ONE, ORDERS, TWO, Definition

ALL = ONE | TWO
MAGNITUDES = {
    "float64": [1e-300, 1e-200, 1e-100, 1e-50, 1e-20, 1e-10, 1e-6, 1e-3, 0.00999, 0.0101, 0.05, 0.1, 0.3, 0.7, 0.95, 1.3, 2.5, 4.2, 9.5, 20.0, 40.0,
                90.0, 200.0, 350.0, 705.0, 1e4, 1e8, 1e10, 1e20, 1e50, 1e100, 1e150, 1e200, 1e300],
    "float32": [1e-37, 1e-30, 1e-20, 1e-10, 1e-6, 1e-3, 0.00999, 0.0101, 0.05, 0.1, 0.3, 0.7, 0.95, 1.3, 2.5, 4.2, 9.5, 20.0, 40.0, 80.0, 1e4, 1e6, 1e10, 1e18,
                1e20, 1e30, 1e37],
}
NEAR_ONE = {"float64": [1e-3, 1e-7, 1e-12, 2.0**-52], "float32": [1e-3, 1e-5, 2.0**-23]}


def points(dtype):
    ends = [s * (1 + t * e) for e in NEAR_ONE[dtype] for s in (1, -1) for t in (1, -1)]
    return np.unique(np.array([*MAGNITUDES[dtype], *(-x for x in MAGNITUDES[dtype]), *ends], dtype))


def pairs(dtype):
    m = [1e-200, 1e-100, 1e-20, 0.3, 1.3, 2.5, 45.0, 1e10, 1e100, 1e200] if dtype == "float64" else [1e-30, 1e-10, 0.3, 1.3, 2.5, 45.0, 1e10, 1e20, 1e30]
    found = [(x, s * y) for x, y in itertools.product(m, m) for s in (1, -1)]
    return np.array([p if (i // 2) % 2 else (-p[0], p[1]) for i, p in enumerate(found)] + found[::7], dtype)


def derivative(f, orders):
    for i, n in enumerate(orders):
        for _ in range(n):
            f = fad.grad(lambda *xs, f=f: np.sum(f(*xs)), i)
    return f


def failures(name, definition, columns, orders, dtype, rtol):
    op = registry[name]
    f = (lambda x: op(x, dtype=np.dtype(dtype))) if name == "astype" else op
    use = [k for k, xs in enumerate(zip(*columns)) if definition.domain(*map(float, xs))]
    columns = [c[use] for c in columns]
    with np.errstate(all="ignore"):
        got = derivative(f, orders)(*columns)
    info = np.finfo(got.dtype)
    for *xs, y in zip(*columns, got):
        want = definition.derivative(tuple(map(float, xs)), orders)
        tiny = mpmath.mpf(float(info.tiny))
        ok = not np.isnan(y) and (
            (abs(want) > 0.99 * float(info.max) and abs(y) > 0.25 * info.max and (y > 0) == (want > 0)) if abs(want) > 0.99*mpmath.mpf(float(info.max)) or np.isinf(y)
            else abs(mpmath.mpf(float(y)) - want) <= rtol * abs(want) + 4 * tiny)
        if not ok:
            yield name, orders, tuple(map(float, xs)), float(y), mpmath.nstr(mpmath.mpf(want), 8)


@pytest.mark.parametrize("name", ALL)
def test_the_oracle_against_differences(name):
    d = ALL[name]
    with mpmath.workdps(50):
        for orders in ORDERS[len(d.point)]:
            found = mpmath.diff(d.f, tuple(map(mpmath.mpf, d.point)) if len(d.point) > 1 else mpmath.mpf(d.point[0]), orders if len(orders) > 1 else orders[0])
            assert abs(found - d.derivative(d.point, orders)) < 1e-10, orders
