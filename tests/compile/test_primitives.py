"""Every primitive of the registry compiled: equal to its interpreter on samples, and to NumPy on special values."""

import ast
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import fad
from fad.core.lowering import ROLES, ByKind, Fold, Mask, Put, View
from fad.core.primitive import registry
from fad.errors import FadError
from fad.primitives import load_primitives
from fad.testing import assert_close

load_primitives()
NAMES = sorted(name for name, op in registry.items() if op.sample is not None)
SHAPES = [(), (0,), (3,), (2, 17), (40,)]
OTHER = [np.int64, np.bool_, np.complex128]  # dtypes that many primitives do not take


def cases(name):
    """(primitive, args, its value) of samples: all shapes in both floats, some in other dtypes where the record allows them."""
    op = registry[name]
    for dtype in (np.float64, np.float32, *OTHER):
        for shape in SHAPES if dtype not in OTHER else SHAPES[2:4]:
            try:
                args, params = op.sample(np.random.default_rng(1), shape, dtype)
                f = partial(op, **params)
                yield f, args, fad.trace(f)(*args)(*args)
            except (FadError, TypeError, ValueError):  # not for this dtype
                if dtype not in OTHER:
                    raise


def tolerance(op, args, want):
    """Absolute: of sums in another order, units of what is added; where the reference is rough, of its largest element."""
    if want.dtype.kind not in "fc" or not want.size:
        return 0.0
    size = sum(float(np.sum(np.abs(x))) for x in args) if op.adds else op.rough * float(np.max(np.abs(want)))
    return float(np.finfo(want.dtype).eps) * size


@pytest.mark.parametrize("name", NAMES)
def test_a_compiled_primitive_is_its_interpreter(name):
    for f, args, want in cases(name):
        got = fad.jit(f)(*args)
        assert type(got) is type(want)
        if name in ("eigh", "svd"):  # vectors have either sign, and NumPy's LAPACK may choose the other one
            got, want = np.abs(got), np.abs(want)
        assert_close(got, want, ulp=4, atol=tolerance(registry[name], args, want))


# -- what records say --------------------------------------------------------------------------------------------------

NATIVE = {"elementwise": ByKind, "cast": ByKind, "view": View, "mask": Mask, "reduction": Fold, "scatter": (Fold, Put)}
MUST_BE_NATIVE = ("cast", "view", "mask")  # without which the compiler knows no such operation


@pytest.mark.smoke
@pytest.mark.parametrize("op", registry.values(), ids=lambda op: op.name)
def test_the_native_form_is_what_the_role_asks_for(op):
    assert op.role in ROLES
    form = NATIVE.get(op.role, type(None))
    assert isinstance(op.lower, form) or (op.lower is None and op.role not in MUST_BE_NATIVE)
    if isinstance(op.lower, ByKind):
        assert any((op.lower.floats, op.lower.integers, op.lower.booleans))
    assert not (op.composite and op.lower), "written out before it could be lowered"


@pytest.mark.smoke
@pytest.mark.parametrize("op", [op for op in registry.values() if isinstance(op.lower, Fold)], ids=lambda op: op.name)
def test_a_fold_begins_with_its_neutral_number(op):
    fold, combine = op.lower, op.lower.combine
    for dtype in (np.float64, np.float32, np.int64) if combine.lower.floats else (np.bool_,):
        values = np.array([0, 1, 7, -3], dtype)
        first = np.asarray(fold.neutral(np.dtype(dtype))).astype(dtype)
        assert np.array_equal(combine.evaluate(first, values), values)
        assert combine.lower.of(np.dtype(dtype))


COMPILER = [p for p in (Path(fad.__file__).parent / "compile").rglob("*.py") if "kernels" not in p.parts]


@pytest.mark.smoke
@pytest.mark.parametrize("path", COMPILER, ids=lambda p: p.stem)
def test_the_compiler_asks_the_record_and_never_its_name(path):
    """No comparison of an operation's name, no table by names, no record looked up by its name."""
    for node in ast.walk(ast.parse(path.read_text())):
        asked = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
        asked += [node.slice] if isinstance(node, ast.Subscript) else []
        text = [ast.unparse(x) for x in asked]
        assert not any(t.endswith("op.name") for t in text), f"line {node.lineno}"
        assert not (isinstance(node, ast.Name) and node.id == "registry"), f"line {node.lineno}"


# -- special values ----------------------------------------------------------------------------------------------------

# NumPy does not say which of two zeros of different signs is the larger one; it depends on their place in the array.
ANY_ZERO = {"maximum", "minimum", "fmax", "fmin"}
# SciPy's expit is 0 where the result is subnormal, and its gammaln infinite where the argument is.
SUBNORMAL = {"expit", "gammaln"}


def special(dtype):
    """Zeros, infinities, NaN, subnormals, the largest numbers, edges of domains and overflows."""
    f = np.finfo(dtype)
    edges = [0.0, np.inf, np.nan, f.max, f.max / 2, f.tiny, f.tiny / 4, f.smallest_subnormal]
    large = [1e4, 1e8, 1e15, 88.9, 104.0, 170.5, 709.9, 746.0]
    return np.array([*edges, *large, 1.0, 0.5, 2.0, 3.0, 1e-3, np.pi, np.pi / 2, 0.25, 1.5, 7.0, 0.1], dtype)


def native(kind):
    """Names of elementwise primitives of one or two arguments with native code for a kind of operands."""
    ops = [op for op in registry.values() if op.role == "elementwise" and op.lower and getattr(op.lower, kind)]
    return sorted(op.name for op in ops if len(op.domains) in (1, 2))


def sweep(name, x):
    """Every value, or every pair of values, as arguments."""
    return (x,) if len(registry[name].domains) == 1 else tuple(a.ravel().copy() for a in np.meshgrid(x, x))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", native("floats"))
def test_special_values_are_numpys(name, dtype):
    op, x, tiny = registry[name], special(dtype), float(np.finfo(dtype).tiny)
    x = x[(x == 0) | ~(x < tiny)] if name in SUBNORMAL else x
    args = sweep(name, np.concatenate([x, -x]))
    with np.errstate(all="ignore"):
        want = np.asarray(op.evaluate(*args))
    got = fad.jit(lambda *xs: op(*xs))(*args)
    near = op.rough * float(np.finfo(dtype).eps) + tiny * (name in SUBNORMAL)
    assert_close(got, want, ulp=4, atol=near)  # NaN only for NaN, infinity for infinity
    if name not in ANY_ZERO and want.dtype.kind == "f":
        zero = (want == 0) & (got == 0)
        assert np.array_equal(np.signbit(got[zero]), np.signbit(want[zero]))


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.bool_])
@pytest.mark.parametrize("name", native("integers"))
def test_integers_are_numpys(name, dtype):
    op = registry[name]
    x = np.array([0, 1, 2, -1, 7, -7, 100, np.iinfo(np.int32).max, np.iinfo(np.int32).min]).astype(dtype)
    args = sweep(name, x if dtype is not np.int64 else np.append(x, [np.iinfo(np.int64).max, np.iinfo(np.int64).min]))
    try:
        want = np.asarray(op.evaluate(*args))
    except TypeError:  # NumPy does not negate booleans
        return
    assert_close(fad.jit(lambda *xs: op(*xs))(*args), want, ulp=0)


def test_conversions_are_numpys():
    floats = np.array([0.0, -0.0, 0.5, -1.5, 2.0**31, -(2.0**40), 1e-320, 3e38])
    whole = np.array([0, 1, -1, 2**53 + 1, -(2**62) - 1, 2**24 + 1, 255, 256])
    for x in (floats, floats[:4].astype(np.float32), whole, whole.astype(np.int32), whole.astype(np.uint8), whole > 0):
        for dtype in (np.float64, np.float32, np.int64, np.bool_, np.int32):
            if x is floats and dtype == np.int32:
                continue  # out of its range
            assert_close(fad.jit(lambda x, dtype: x.astype(dtype), static_argnums=1)(x, dtype), x.astype(dtype), ulp=0)


@pytest.mark.parametrize(
    "dtype", ["float16", "complex64", "complex128", "longdouble", "uint8", "int8", "int16", "uint16", "uint32", "uint64"]
)
def test_dtypes_without_native_code_go_through(dtype):
    """Views, joins and pads, arithmetic, reductions over few and many elements, mixtures with floats."""
    x = (np.arange(60).reshape(5, 12) % 7).astype(dtype)
    for f in (
        lambda x: x[1:, ::-2],
        lambda x: x.T,
        lambda x: np.reshape(x, (6, 10)),
        lambda x: np.pad(x, 1),
        lambda x: x + x,
        lambda x: np.concatenate([x, x[:2]]),
        lambda x: np.sum(x, axis=0),
        lambda x: np.sum(x[:2], axis=0),
        np.max,
        lambda x: x * np.float64(1.5),
        lambda x: np.broadcast_to(x[0], (3, 12)),
        lambda x: (x, x),
        lambda x: x > 2,
        lambda x: x[0, 0],
        lambda x: np.where(x > 2, x, x[:, :1]),
        lambda x: np.stack([x, x * x]),
    ):
        assert_close(fad.jit(f)(x), f(x), ulp=1)
