"""Narrow integers and booleans: dtypes and numbers are NumPy's, interpreted and compiled."""

import numpy as np
import pytest

import fad

NARROW = ["int8", "uint8", "int16", "int32", "uint32", "int64", "uint64", "bool"]


def same(f, *args):
    """Interpreted and compiled against NumPy."""
    with np.errstate(all="ignore"):
        expected = np.asarray(f(*args))
        for found in (fad.trace(f)(*args)(*args), fad.jit(f)(*args)):
            assert found.dtype == expected.dtype, f"{found.dtype} against {expected.dtype}"
            assert np.shape(found) == expected.shape
            if expected.dtype.kind == "f":
                np.testing.assert_allclose(found, expected, rtol=1e-6)
            else:
                np.testing.assert_array_equal(found, expected)


def draw(dtype, *shape):
    x = np.random.default_rng(len(shape)).integers(-100, 120, shape)
    return x > 10 if dtype == "bool" else x.astype(dtype)


@pytest.mark.parametrize(
    "f",
    [
        np.sum,
        np.prod,
        np.cumsum,
        np.cumprod,
        np.mean,
        np.add.reduce,
        np.multiply.reduce,
        np.add.accumulate,
        np.multiply.accumulate,
        np.nansum,
        np.nanprod,
        np.trace,
    ],
)
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint64", "bool", "float32", "float64", None])
@pytest.mark.parametrize("of", ["int8", "uint8", "int32", "bool", "float32"])
def test_dtype_of_reductions_and_scans(f, dtype, of):  # pytorch#197106, pytorch#198056
    same(
        lambda x: f(x, dtype=dtype and np.dtype(dtype)),
        draw(of, 3, 3) if of != "float32" else np.float32([[1.0, 2.0], [-3.0, 2.5]]),
    )


@pytest.mark.parametrize("f", [np.var, np.std])
@pytest.mark.parametrize("dtype", ["float32", "float64", None])
@pytest.mark.parametrize("of", ["int8", "bool", "uint32"])
def test_dtype_of_moments(f, dtype, of):
    x = draw(of, 3, 4)
    expected, found = f(x, axis=1, dtype=dtype), fad.jit(lambda x: f(x, axis=1, dtype=dtype))(x)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.sum(x, axis=0),
        lambda x: np.prod(x, axis=(0, 1), keepdims=True),
        lambda x: np.cumsum(x, axis=1),
        lambda x: np.max(x),
        lambda x: np.sum(x, axis=0, where=x > 0),
        lambda x: np.prod(x, initial=3),
        lambda x: np.sum(x, initial=3),
        lambda x: np.sum(x[:0]),
        lambda x: np.mean(x),
        lambda x: np.count_nonzero(x, axis=0),
        lambda x: np.any(x, axis=0),
        lambda x: np.trace(x),
        lambda x: np.ptp(x) if x.dtype != bool else x,
        lambda x: np.average(x, axis=0),
        lambda x: np.sum(x, axis=()),
        lambda x: np.argmax(x),
    ],
)
@pytest.mark.parametrize("dtype", NARROW)
def test_reductions(f, dtype):
    same(f, draw(dtype, 4, 4))


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.einsum("ij->i", x),
        lambda x: np.einsum("ij->", x),
        lambda x: np.einsum("ii", x),
        lambda x: np.einsum("ii->i", x),
        lambda x: np.einsum("ij->ji", x),
        lambda x: np.einsum("ij,jk->ik", x, x),
        lambda x: np.einsum("ij,ij->i", x, x),
        lambda x: np.einsum("i,j->ij", x[0], x[1]),
        lambda x: np.einsum("ij,jk,kl->il", x, x, x),
        lambda x: np.einsum("ij,ij", x, x),
        lambda x: np.einsum("ij->i", x, dtype=np.float32, casting="unsafe"),
        lambda x: np.einsum("ij,jk->ik", x, x, dtype=np.float64, casting="unsafe"),
        lambda x: x @ x,
        lambda x: np.dot(x[0], x[1]),
        lambda x: np.vdot(x, x),
        lambda x: np.inner(x, x),
        lambda x: np.outer(x, x),
        lambda x: np.tensordot(x, x),
        lambda x: np.kron(x, x),
        lambda x: np.vecdot(x, x),
        lambda x: np.linalg.vecdot(x, x),
        lambda x: x[0] @ x,
        lambda x: np.dot(x, x[0, 0]),
        lambda x: np.matvec(x, x[0]),
        lambda x: np.linalg.multi_dot([x, x, x[0]]),
        lambda x: np.convolve(x[0], x[1]),
        lambda x: np.linalg.matrix_power(x, 3) if x.dtype != bool else x,
    ],
)
@pytest.mark.parametrize("dtype", NARROW)
def test_products(f, dtype):  # numpy_pytorch_interop#127
    same(f, draw(dtype, 4, 4))
    same(f, np.ones((2, 2), dtype))


@pytest.mark.parametrize("to", NARROW)
@pytest.mark.parametrize("of", ["float32", "float64"])
def test_floats_to_integers(of, to):  # jax#13101; C leaves numbers out of range open, and NumPy gives what x86 does
    bits = 32 if "32" in to else 64 if "64" in to else 16 if "16" in to else 8
    numbers = [-20.7, 10.9, -0.5, 0.0, 255.0, 256.5, 300.0, -129.0, 2.0**31 - 200, -(2.0**31), 65536.5]
    if bits >= 32:
        numbers += [2.0**31 + 512, 3e9, 2.0**32 - 512] if to in ("uint32", "uint64", "int64") else []
    if to == "uint64":
        numbers += [2.0**63, 2.0**63 + 4096, 1.5e19]
    for x in (np.array(numbers, of), np.array(numbers * 4, of)):
        same(lambda x: x.astype(to), x)
        same(lambda x: np.concatenate([x.astype(to), x.astype(to)])[::2], x)


@pytest.mark.parametrize("to", [t for t in NARROW if t != "uint32"])  # where NumPy's vectors and the elements behind them differ
def test_numbers_that_no_integer_is_near(to):
    for x in ([np.nan, 1.0], [np.inf, 1.0], [-np.inf, 1.0], [1e30, 1.0], [-1e30, 2.0]):
        for dtype in ("float32", "float64"):
            same(lambda x: x.astype(to), np.array(x * 5, dtype))


@pytest.mark.parametrize("to", [*NARROW, "float32", "float64"])
@pytest.mark.parametrize("of", NARROW)
def test_integers_to_others(of, to):
    same(lambda x: x.astype(to), draw(of, 40))
    same(lambda x: x.astype(to), np.array([0, 1, 127], of))
    if of != "bool":
        same(lambda x: x.astype(to), np.full(7, np.iinfo(of).max))
        same(lambda x: x.astype(to), np.full(7, np.iinfo(of).min))
