"""In-place operators and out=: the numbers NumPy gives, or an error where an array that was changed is read elsewhere."""

import copy

import numpy as np
import pytest

import fad
from fad.core.expr import Expr
from fad.errors import AssignmentError, DtypeError, FadError, ShapeError
from fad.numpy.memory import overwrite
from tests.numpy.oracle import concrete, symbolic

X = np.array([1.0, 2.0, 3.0, 4.0])


def changed(a, operation="*"):
    """What an in-place operator leaves in the caller's hands: nothing but the array that it changed."""
    if operation == "*":
        a *= 2
    else:
        a += a


def in_place(y, by=2):
    y *= by
    return y


def of_attribute(x):
    class State:
        y = x * 1

    state = State()
    state.y += np.sin(state.y)
    return np.sum(state.y * state.y)


def of_entries(x):
    parts = [x * 1, x * 2]
    for k in range(2):
        parts[k] += 1
        parts[k] *= parts[k]
    return np.sum(parts[0] - parts[1])


def descent(x):
    y = x * 1
    for _ in range(3):
        y -= 0.1 * np.cos(y) * y
        y[1:] + y[:-1]  # views that nobody reads later
    return np.sum(y)


def total(x):
    s = 0.0
    for k in range(len(x)):
        s += x[k] ** 2
        before = s
        s *= 2
        s += before
    return s


def in_a_gradient(x):
    """A gradient inside a function whose nodes are overwritten after it was taken, and inside itself."""
    y = x * 1

    def inner(t):
        t = t * y
        t *= t
        t += np.cos(t) * t
        return np.sum(t)

    slope = fad.grad(inner)(x) if isinstance(x, Expr) else fad.grad(inner)(np.asarray(x))
    y += slope
    return np.sum(y * slope)


def saved_by_a_pullback(x):
    y = x * 1
    z = np.sin(y) * y
    y += z
    return np.sum(y * z)


# One name for each array: NumPy's number, in every mode.
ALONE = {
    "local": lambda x: np.sum(in_place(x * 1)),
    "of the argument": lambda x: np.sum(in_place(x) ** 2),
    "attribute": of_attribute,
    "entries of a list": of_entries,
    "descent": descent,
    "a running total": total,
    "by itself": lambda x: np.sum(in_place(x * 1, x)),
    "copy": lambda x: np.sum(x * in_place(x.copy())),
    "np.copy": lambda x: np.sum(x * in_place(np.copy(x))),
    "copy.copy": lambda x: np.sum(x * in_place(copy.copy(x))),
    "copy.deepcopy": lambda x: np.sum(x * in_place(copy.deepcopy(x))),
    "astype": lambda x: np.sum(x * in_place(x.astype(float))),
    "flatten": lambda x: np.sum(x * in_place(x.flatten())),
    "repeat": lambda x: np.sum(x) + np.sum(in_place(np.repeat(x, 2))),
    "tile": lambda x: np.sum(x * in_place(np.tile(x, 1))),
    "concatenate": lambda x: np.sum(x * in_place(np.concatenate([x]))),
    "roll": lambda x: np.sum(x * in_place(np.roll(x, 0, 0))),
    "pad": lambda x: np.sum(x * in_place(np.pad(x, 0))),
    "sum of no axes": lambda x: np.sum(x * in_place(np.sum(x, axis=()))),
    "meshgrid": lambda x: np.sum(x * in_place(np.meshgrid(x)[0])),
    "clip": lambda x: np.sum(x * in_place(np.clip(x, None, 9.0))),
    "take": lambda x: np.sum(x) * np.sum(in_place(np.take(x, [0, 1]))),
    "index array": lambda x: np.sum(x) + np.sum(in_place(x[[0, 1]])),
    "mask": lambda x: np.sum(x) + np.sum(in_place(x[x > 1.5])),
    "+x": lambda x: np.sum(x * in_place(+x)),
    "a view alone": lambda x: np.sum(in_place((x * 1)[1:3])),
    "a reshaped product": lambda x: np.sum(in_place((x * x).reshape(2, 2))),
    "out= taken": lambda x: np.sum(np.exp(in_place(x * 1), out=x * 1)),
    "out= and where=": lambda x: np.sum(np.multiply(x, 3, where=x > 2.5, out=x * 1)),
    "gradient inside": in_a_gradient,
    "kept for the derivative": saved_by_a_pullback,
    "numbers are immutable": lambda x: (lambda s: in_place(s) + s)(np.sum(x)),
    "elements are numbers": lambda x: (lambda s: in_place(s) + s)(x[1]),
    "products are numbers": lambda x: (lambda s: in_place(s) + s)(x @ x),
}


def seen(view, change=changed):
    """The array is changed, and then read through the view, and the other way round."""

    def first(x):
        y = x.reshape(2, 2) * 1
        part = view(y)
        change(y)
        return np.sum(part * part)

    def second(x):
        y = x.reshape(2, 2) * 1
        change(view(y))
        return np.sum(y * y)

    def sibling(x):
        y = x.reshape(2, 2) * 1
        one, other = view(y), view(y)
        change(one)
        return np.sum(other * other)

    return first, second, sibling


VIEWS = {
    "alias": lambda y: y,
    "slice": lambda y: y[0:1],
    "row": lambda y: y[1],
    "column": lambda y: y[:, 0],
    "reversed": lambda y: y[::-1],
    "new axis": lambda y: y[None],
    "reshape": lambda y: y.reshape(-1),
    "np.reshape": lambda y: np.reshape(y, (4, 1)),
    "ravel": np.ravel,
    "T": lambda y: y.T,
    "mT": lambda y: y.mT,
    "transpose": lambda y: y.transpose(1, 0),
    "swapaxes": lambda y: y.swapaxes(0, 1),
    "moveaxis": lambda y: np.moveaxis(y, 0, 1),
    "squeeze": lambda y: np.squeeze(y[0:1]),
    "expand_dims": lambda y: np.expand_dims(y, 0),
    "flip": np.flip,
    "fliplr": np.fliplr,
    "rot90": np.rot90,
    "split": lambda y: np.split(y, 2)[0],
    "hsplit": lambda y: np.hsplit(y, 2)[1],
    "atleast_3d": np.atleast_3d,
    "real": np.real,
    ".real": lambda y: y.real,
    "view of a view": lambda y: y[0][1:],
    "rows": lambda y: list(y)[1],
    "an element as an array": lambda y: y[0, 1, ...],
    "unpacked": lambda y: next(iter(y)),
    "array_split": lambda y: np.array_split(y, 2)[0],
}
ELSEWHERE = {f"{name} {k}": program for name, view in VIEWS.items() for k, program in enumerate(seen(view))}
ELSEWHERE |= {
    "alias": lambda x: (lambda y: (changed(y), np.sum(y))[1])(x * 1),
    "in a dict": lambda x: (lambda p: (changed(p["y"]), np.sum(p["y"]))[1])({"y": x * 1}),
    "doubled": lambda x: (lambda y: (changed(y, "+"), np.sum(y))[1])(x.copy()),
    "the argument": lambda x: (changed(x), np.sum(x))[1],
    "out=": lambda x: (lambda y: (np.exp(y, out=y), np.sum(y))[1])(x * 1),
    "out= of two": lambda x: (lambda y: (np.add(x, x, out=y), np.sum(y))[1])(x * 1),
    "out= of a view": lambda x: (lambda y: (np.exp(y[1:], out=y[1:]), np.sum(y))[1])(x * 1),
    "out= of add.reduce": lambda x: (lambda y: (np.add.reduce(x.reshape(2, 2), out=y), np.sum(y))[1])(x[:2] * 1),
    "out= of accumulate": lambda x: (lambda y: (np.add.accumulate(x, out=y), np.sum(y))[1])(x * 1),
    "out= of outer": lambda x: (lambda y: (np.multiply.outer(x, x, out=y), np.sum(y))[1])(np.outer(x, x)),
    "out= of sum": lambda x: (lambda y: (np.sum(x.reshape(2, 2), axis=0, out=y), np.sum(y))[1])(x[:2] * 1),
    "out= of cumsum": lambda x: (lambda y: (np.cumsum(x, out=y), np.sum(y))[1])(x * 1),
    "out= of clip": lambda x: (lambda y: (np.clip(y, 0, 2, out=y), np.sum(y))[1])(x * 1),
    "out= an array": lambda x: (lambda y: (np.exp(x, out=y), np.sum(y) + np.sum(x))[1])(np.zeros(4)),
    "divmod with out=": lambda x: (lambda y: (np.divmod(x, 2.0, out=(y, y * 1)), np.sum(y))[1])(x * 1),
    "the condition of a branch": lambda x: (lambda y: (changed(y), np.sum(x * (2.0 if y[0] > 1.5 else 1.0)))[1])(x * 1),
    "an argument of a transformation": lambda x: (lambda y: (changed(y), np.sum(fad.grad(lambda t: np.sum(t**2))(y)))[1])(x * 1),
    "a closure of one": lambda x: (lambda y: (changed(y), np.sum(fad.grad(lambda t: np.sum(t * y))(x * 1)))[1])(x * 1),
    "states kept": lambda x: (lambda y, kept: ([(kept.append(y), changed(y)) for _ in range(2)], np.sum(kept[0]))[1])(x * 1, []),
}
WITHOUT_A_READER = {
    "returned": lambda x: (lambda y: (changed(y), y)[1])(x * 1),
    "returned view": lambda x: (lambda y: (changed(y[1:]), y)[1])(x * 1),
}


def modes(f):
    yield f
    yield lambda x: fad.value_and_grad(f)(x)[0]
    yield lambda x: fad.jvp(f, (x,), (x,))[0]
    yield fad.jit(f)
    yield lambda x: fad.jit(fad.value_and_grad(f))(x)[0]
    yield lambda x: fad.trace(f)(x)(x)
    yield lambda x: fad.vmap(f)(x[None])[0]
    yield lambda x: fad.value_and_grad(fad.trace(f)(x))(x)[0]
    yield lambda x: fad.linearize(f, x)[0]


@pytest.mark.smoke
@pytest.mark.parametrize("name", ALONE)
def test_one_name_for_each_array(name):
    f = ALONE[name]
    expected = f(X.copy())
    for k, g in enumerate(modes(f)):
        if k > 2 and name == "mask":
            continue  # its shape depends on values
        np.testing.assert_allclose(g(X.copy()), expected, err_msg=str(k))
    if name != "gradient inside":
        ends = [f(X + s * 1e-6 * np.array([1.0, -2.0, 0.5, 3.0])) for s in (1, -1)]
        np.testing.assert_allclose(fad.grad(f)(X) @ [1.0, -2.0, 0.5, 3.0], (ends[0] - ends[1]) / 2e-6, rtol=1e-6)
        np.testing.assert_allclose(fad.vjp(f, X)[1](1.0)[0], fad.grad(f)(X))
        np.testing.assert_allclose(fad.hessian(f)(X), fad.jacfwd(fad.grad(f))(X))


@pytest.mark.parametrize("name", ELSEWHERE | WITHOUT_A_READER)
def test_read_elsewhere(name):
    f = (ELSEWHERE | WITHOUT_A_READER)[name]
    expected = f(X.copy())
    for g in list(modes(f))[1 if name in ELSEWHERE else 2 :]:
        try:
            got = g(X.copy())
        except AssignmentError:
            continue
        except FadError:
            assert name in ("the condition of a branch", *WITHOUT_A_READER)  # a symbol has no truth value, grad takes scalars
            continue
        np.testing.assert_allclose(got, expected)
    if name not in ("an argument of a transformation", "a closure of one"):
        with pytest.raises(AssignmentError):
            fad.jacrev(f)(X)


OPERATORS = ("+=", "-=", "*=", "/=", "//=", "%=", "**=", "@=", "&=", "|=", "^=", "<<=", ">>=")


@pytest.mark.parametrize("make", [concrete, symbolic])
@pytest.mark.parametrize("y", [np.float32, np.float64, np.int64, np.uint8, bool, complex])
@pytest.mark.parametrize("operator", OPERATORS)
def test_dtype_and_shape_are_kept(operator, y, make):
    """NumPy's dtype, or its refusal, for every operator."""
    run = _runner(operator)
    for other in (
        1,
        1.5,
        2j,
        True,
        np.float32(1.5),
        np.float64(1.5),
        np.ones((2, 2)),
        np.ones((2, 2), np.int32),
        np.ones((3, 2, 2)),
        np.ones(2, np.float32),
        np.ones((2, 2), complex),
    ):
        array = np.ones((2, 2), y)
        node = make(array.copy())
        try:
            with np.errstate(all="ignore"):
                expected = run(array, other)
        except (TypeError, ValueError):
            with pytest.raises((TypeError, ValueError)):
                run(node, other)
            continue
        got = run(node, other)
        assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
        if got.value is not None:
            np.testing.assert_allclose(got.value, expected, rtol=1e-6)


def _runner(operator):
    space = {}
    exec(f"def run(y, x):\n    y {operator} x\n    return y", space)
    return space["run"]


def test_refusals_say_why():
    f32, ints = np.ones(3, np.float32), np.ones(3, int)
    assert overwrite(concrete(f32), concrete(np.ones(3))).dtype == np.float32
    with pytest.raises(DtypeError, match=r"keeps its own(.|\n)*test_memory.py(.|\n)*y = y \+ x"):
        overwrite(concrete(ints), concrete(np.ones(3)))
    with pytest.raises(ShapeError, match="change the shape"):
        overwrite(concrete(f32), concrete(np.ones((2, 3))))
    y = concrete(np.ones(3))
    z = y
    z += 1
    with pytest.raises(AssignmentError, match=r"f64\[3\](.|\n)*test_memory.py(.|\n)*y\.copy\(\)"):
        y + 1
    assert "f64[3]" in repr(y)
    for read in (
        lambda: fad.value(y),
        lambda: str(y),
        lambda: y.sum(),
        lambda: y[0],
        lambda: bool(y.any()),
        lambda: fad.at(y)[0].set(1.0),
        lambda: fad.numpy.sum(y),
        lambda: list(y),
        lambda: f"{y}",
        lambda: np.add(1, y),
        lambda: np.array_equal(y, y),
        lambda: fad.trace(np.sin)(X[:3])(y),
        lambda: fad.jit(np.sin)(y),
        lambda: fad.grad(np.sum)(y),
        lambda: fad.vmap(np.sin)(y),
    ):
        with pytest.raises(AssignmentError):
            read()


def test_zero_axes():
    """NumPy's numbers are immutable, its arrays without axes are not."""

    def f(x):
        y = x.copy()
        z = y
        z *= 2
        return y + z

    assert fad.value_and_grad(f)(3.0)[0] == f(np.float64(3.0)) == 9
    assert f(np.array(3.0)) == 12
    with pytest.raises(AssignmentError):
        fad.grad(f)(np.array(3.0))
    assert fad.jit(f)(3.0) == 9

    def promoted(x):
        s = np.sum(x)
        s += np.float64(0.1)
        return s

    assert fad.jit(promoted)(np.ones(2, np.float32)).dtype == promoted(np.ones(2, np.float32)).dtype == np.float64


def test_a_long_family_forgets_its_dead():
    x = concrete(np.arange(300.0))
    for k in range(1000):
        x[k % 100 : 200]
    assert len(x.memory) <= 65
    kept = x[1:]
    x += 1
    with pytest.raises(AssignmentError):
        np.sum(kept)
