"""NumPy as the oracle: one NumPy program run on arrays, on nodes that have values, and on symbolic nodes."""

import numpy as np

from fad.core.expr import Expr
from fad.transforms.trace import Trace


def concrete(x):
    return Trace("test").var(x) if isinstance(x, np.ndarray) else x


def symbolic(x):
    return Trace("test").symbol(x.shape, x.dtype) if isinstance(x, np.ndarray) else x


def parts(result):
    return list(result) if isinstance(result, list | tuple) else [result]


def check(program, *arrays, rtol=None, dtype=True, symbols=True):
    """``program(*arrays)`` is the same on nodes: values, shapes and dtypes; and shapes and dtypes on symbolic nodes."""
    before = [a.copy() if isinstance(a, np.ndarray) else a for a in arrays]
    narrow = any(getattr(a, "dtype", None) == np.float32 for a in arrays)
    expected = parts(program(*arrays))
    got = parts(program(*map(concrete, arrays)))
    assert len(got) == len(expected)
    for e, g in zip(expected, got, strict=True):
        v = g.value if isinstance(g, Expr) else g
        e = np.asarray(e)
        v = np.asarray(v)
        assert v.shape == e.shape
        assert not isinstance(g, Expr) or (g.shape == v.shape and g.dtype == v.dtype)
        assert not dtype or v.dtype == e.dtype
        tolerance = rtol or (1e-4 if narrow or e.dtype in (np.float32, np.complex64) else 1e-9)
        np.testing.assert_allclose(v, e, rtol=tolerance, atol=tolerance)
    for a, b in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(a, b)
    if symbols:
        for e, g in zip(expected, parts(program(*map(symbolic, arrays))), strict=True):
            e = np.asarray(e)
            assert tuple(g.shape) == e.shape
            assert not dtype or g.dtype == e.dtype
