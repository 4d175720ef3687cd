"""sin, cos and tan against long double (float64 for float32) and mpmath: at most 2 ulp, at multiples of π/2 and of any size."""

import functools

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fad.native import vecmath
from fad.native.ir import Block, Value
from fad.native.module import Module
from tests.compile.vector import EDGES, elementwise, exact, log_spaced, patterns, ulps

BOTH = pytest.mark.parametrize("dtype", ["f8", "f4"])
EACH = pytest.mark.parametrize("name", ["sin", "cos", "tan"])
WAYS = pytest.mark.parametrize("lanes, has_fma", [(0, None), (4, None), (4, False)], ids=["widest", "narrow", "no fma"])

# The floats below 10⁹ and 10⁵ that come closest to a multiple of π/2 (convergents of continued fractions)
CLOSEST = {
    "f8": [
        float.fromhex(x)
        for x in (
            "0x1.6c6cbc45dc8dep+5",
            "0x1.b951f1572eba5p+23",
            "0x1.39c6fd67805a7p+18",
            "0x1.9eb7148f354d6p+20",
            "0x1.921fb54442d18p+0",
            "0x1.67e57cdd4dc54p+15",
            "0x1.e1dcc9111b506p+27",
            "0x1.635e3d74befcap+14",
            "0x1.4456bdcf64b08p+24",
            "0x1.90c7199d42244p+27",
            "0x1.93c05c9ed3cbcp+18",
            "0x1.5a4fbea3a16b6p+13",
            "0x1.4832c1016648ep+12",
        )
    ],
    "f4": [
        float.fromhex(x)
        for x in (
            "0x1.f9cbe2p+7",
            "0x1.2d97c8p+2",
            "0x1.9a48dep+15",
            "0x1.17cc5p+11",
            "0x1.921fb6p+0",
            "0x1.921fb4p+0",
            "0x1.ae65fp+7",
            "0x1.c3ff24p+10",
            "0x1.5865a8p+10",
            "0x1.019c5p+6",
            "0x1.ab41bp+4",
            "0x1.5fdbcp+3",
            "0x1.5801p+8",
        )
    ],
}


@functools.cache
def compiled(name, dtype, lanes=0, has_fma=None):
    return elementwise(getattr(vecmath, name), dtype, lanes or 64 // np.dtype(dtype).itemsize, 1, has_fma)


def near_multiples(dtype):
    """The floats on both sides of n π/2, many n, and of n π/4; and those that come closest, doubled too."""
    n = np.concatenate([np.arange(1, 3000), np.unique(np.logspace(3, 8, 2000).astype(int))])
    middle = np.concatenate([n * (np.pi / 2), n * (np.pi / 4)]).astype(dtype)
    close = np.outer(CLOSEST[dtype], 2.0 ** np.arange(6)).ravel().astype(dtype)
    x = np.concatenate([middle, np.nextafter(middle, middle.dtype.type(np.inf)), np.nextafter(middle, middle.dtype.type(0)), close])
    return np.concatenate([x, -x])


def points(dtype, n=30_000):
    rng = np.random.default_rng(5)
    x = np.concatenate(
        [rng.uniform(-10, 10, n), rng.uniform(-1e5, 1e5, n), log_spaced(rng, dtype, n), log_spaced(rng, dtype, n, top=9)]
    )
    return np.concatenate([x.astype(dtype), patterns(rng, dtype, 1000), near_multiples(dtype), EDGES[dtype]])


def check(name, got, x):
    truth = exact(name, x)
    error = ulps(got, truth)
    worst = np.argmax(error)
    assert error[worst] <= 2, (error[worst], x[worst], got[worst], truth[worst])
    assert np.all((np.signbit(got) == np.signbit(truth)) | np.isnan(truth))


@BOTH
@EACH
@WAYS
def test_two_ulp(name, dtype, lanes, has_fma):
    x = points(dtype)
    check(name, compiled(name, dtype, lanes, has_fma)(x), x)


@EACH
def test_two_ulp_against_mpmath(name):
    x = np.concatenate([points("f8", 100)[::20], np.outer(CLOSEST["f8"], [1, 2, 4, 1024]).ravel()])
    x = x[np.abs(x) < 1e9]
    with mpmath.workdps(60):
        for u, v in zip(x, compiled(name, "f8")(x)):
            assert abs(getattr(mpmath, name)(mpmath.mpf(float(u))) - mpmath.mpf(float(v))) <= 2 * np.spacing(abs(v)), (u, v)


@BOTH
@EACH
@given(data=st.data())
def test_any_float(name, dtype, data):
    """NaN at infinity, zeros with their sign, subnormal numbers, and arguments that libm takes."""
    width = 8 * np.dtype(dtype).itemsize
    x = np.array(data.draw(st.lists(st.floats(width=width), min_size=1, max_size=40)), dtype)
    check(name, compiled(name, dtype)(x), x)


@BOTH
def test_sin_and_cos_share_their_work(dtype):
    """Both together cost a third more instructions than one."""

    def count(*functions):
        block = Block(Module())
        x = Value(block, "%x", {"f8": "double", "f4": "float"}[dtype], 8)
        for f in functions:
            f(x)
        return sum(isinstance(line, str) and "=" in line for line in block.items)

    assert count(vecmath.sin, vecmath.cos) < 1.34 * count(vecmath.sin)
