"""SciPy's compiled functions in programs: each record that calls one has it, and gives its values."""

import numpy as np
import pytest
import scipy.special

import fad
from fad.native import scipy_code
from fad.primitives import load_primitives
from fad.primitives.special import BY_SCIPY, SINGLE

load_primitives()
CALLED = [
    n
    for n, op in BY_SCIPY.items()
    if op.lower is not None and "scipy_code" in op.lower.floats.__qualname__ + op.lower.floats.__module__
]


def test_there_are_such():
    assert len(CALLED) > 50


@pytest.mark.parametrize("name", CALLED)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_programs_have_scipys_values(name, dtype):
    op = BY_SCIPY[name]
    args = [a.astype(dtype) if hasattr(a, "astype") else a for a in op.sample(np.random.default_rng(0), (3, 7), dtype)[0]]
    assert scipy_code.has_special(name, len(args))
    f = fad.jit(lambda *xs: op(*xs))
    y, expected = f(*args), getattr(scipy.special, name)(*args)
    assert y.dtype == expected.dtype == dtype
    np.testing.assert_allclose(y, expected, rtol=1e-14 if dtype == np.float64 else 2e-5, atol=0 if dtype == np.float64 else 1e-6)
    assert "call" not in f.explain() or (dtype == np.float32 and name in SINGLE), f.explain()


def test_edges_are_scipys():
    x = np.array([0.0, -1.0, np.inf, -np.inf, np.nan, 1e-300, 1e300])
    for name in ("gamma", "gammaln", "k0", "erfcx", "loggamma"):
        np.testing.assert_array_equal(
            fad.jit(lambda x, name=name: getattr(scipy.special, name)(x))(x), getattr(scipy.special, name)(x)
        )
