"""Checks of derivatives against oracles that know nothing of fad's rules, and hypothesis strategies for tests.

`check_grads` compares both modes, up to any order, with the complex step where a function is analytic (Squire and
Trapp 1998; exact to rounding) and with Richardson-extrapolated central differences elsewhere (Ridders 1982; with an
error estimate). `arrays`, `shapes` and `programs` are hypothesis strategies; hypothesis is imported when they are called.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fad import tree
from fad.errors import DtypeError, FadError
from fad.trace import is_float
from fad.transforms import jvp, vjp

__all__ = ["check_grads", "assert_close", "ulps", "GradientError", "OracleError", "VacuousCheck", "layouts", "shapes", "arrays",
           "programs", "Program"]


class GradientError(FadError, AssertionError):
    """A derivative that differs from its oracle, or has the wrong shape or dtype."""


class OracleError(GradientError):
    """The differences do not settle: the function has a kink, a jump or a pole here, so nothing can be checked."""


class VacuousCheck(UserWarning):
    """A check of arrays without elements: shapes and dtypes were compared, numbers were not."""


# -- closeness ------------------------------------------------------------------------------------------


def ulps(a: Any, b: Any) -> np.ndarray:
    """|a - b| in units in the last place of the larger one, elementwise; 0 for equal infinities and for NaN with NaN.

    >>> float(ulps(1.0, np.nextafter(1.0, 2.0)))
    1.0
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype.kind == "c" or b.dtype.kind == "c":
        return np.maximum(ulps(a.real, b.real), ulps(a.imag, b.imag))
    if a.dtype.kind != "f" and b.dtype.kind != "f":
        return np.where(a == b, 0.0, np.inf)
    with np.errstate(all="ignore"):
        gap = np.abs(a - b) / np.spacing(np.maximum(np.abs(a), np.abs(b)))
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    return np.where(same, 0.0, np.where(np.isnan(gap), np.inf, gap))


def assert_close(a: Any, b: Any, ulp: float = 4, rtol: float = 0.0, atol: float = 0.0) -> None:
    """Assert that two pytrees have one structure, the same shapes and dtypes, and leaves equal up to rounding.

    Args:
        ulp: allowed distance of each element in units in the last place.
        rtol, atol: an element also passes if |a - b| <= atol + rtol |b|.
    Raises: AssertionError that names the worst element. NaN equals only NaN.

    >>> assert_close({"w": np.ones(2)}, {"w": np.ones(2)})
    """
    if tree.structure(a) != tree.structure(b):
        raise AssertionError(f"structures differ: {tree.structure(a)} and {tree.structure(b)}")
    for path, x, y in zip(tree.paths(a), tree.leaves(a), tree.leaves(b), strict=True):
        x, y = np.asarray(x), np.asarray(y)
        if x.shape != y.shape or x.dtype != y.dtype:
            raise AssertionError(f"{path or 'result'}: {x.dtype}{list(x.shape)} against {y.dtype}{list(y.shape)}")
        with np.errstate(all="ignore"):
            distance = np.where(np.abs(x - y) <= atol + rtol * np.abs(y), 0.0, ulps(x, y)) if x.dtype.kind in "fc" else ulps(x, y)
        if not np.all(distance <= ulp):
            at = np.unravel_index(int(np.argmax(distance)), distance.shape)
            raise AssertionError(f"{path or 'result'}{_at(at)}: {x[at]!r} against {y[at]!r}, {distance[at]:.3g} ulp apart")


def _at(index: tuple) -> str:
    return f"[{', '.join(str(int(i)) for i in index)}]" if index else ""


# -- oracles --------------------------------------------------------------------------------------------

_STEP = 1e-20  # of the complex step: its square vanishes beside 1
_WIDER = {np.dtype(np.float16): np.float64, np.dtype(np.float32): np.float64, np.dtype(np.complex64): np.complex128}


@dataclass(frozen=True)
class Oracle:
    """A directional derivative from values of the function alone, with an estimate of its error for each element."""

    name: str
    slopes: list
    errors: list


def _oracle(g: Callable, xs: tuple, vs: tuple) -> Oracle:
    """d/dt g(x + t v) at t = 0: in double precision where g allows it."""
    wide = tuple(x.astype(_WIDER.get(x.dtype, x.dtype)) for x in xs)
    vs = tuple(v.astype(x.dtype) for v, x in zip(vs, wide, strict=True))

    def along(t: Any) -> list:
        return [np.asarray(y) for y in g(*(x + t * v for x, v in zip(wide, vs, strict=True)))]

    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _complex_step(along, wide) or _richardson(along)


def _complex_step(along: Callable, xs: tuple) -> Oracle | None:
    """Im g(x + i h v) / h, or None where g is not analytic at x along v."""
    if any(x.dtype.kind == "c" for x in xs):
        return None
    plain = along(0.0)
    try:
        shifted = along(1j * _STEP)
    except Exception:  # no complex meaning, for whatever reason: the other oracle takes over
        return None
    slopes = []
    for y, z, rough in zip(plain, shifted, _central(along, 1e-4), strict=True):
        if y.dtype.kind == "c" or z.shape != y.shape:
            return None
        slope = np.imag(z) / _STEP
        scale = np.max(np.abs(slope), initial=0.0)
        if not np.allclose(np.real(z), y, 1e-12, 1e-14) or not np.all(np.abs(slope - rough) <= 1e-3 * scale + 1e-6 * np.abs(y)):
            return None
        slopes.append(slope)
    return Oracle("complex step", slopes, [np.zeros(s.shape) for s in slopes])


def _central(along: Callable, h: float) -> list:
    return [(p - m) / (2 * h) for p, m in zip(along(h), along(-h), strict=True)]


def _richardson(along: Callable, steps: int = 12) -> Oracle:
    """Neville's table over central differences with halved steps; of each element the entry with the least error."""
    at_zero = along(0.0)
    columns = list(zip(*(_central(along, 2.0**-k) for k in range(4, 4 + steps)), strict=True))
    slopes, errors = [], []
    for y, column in zip(at_zero, columns, strict=True):
        best, error = column[0], np.full(y.shape, np.inf)
        eps = np.finfo(y.dtype).eps * np.abs(y)
        previous: list = []
        for k, first in enumerate(column):
            row = [first]
            for j, older in enumerate(previous):
                row.append(row[j] + (row[j] - older) / (4 ** (j + 1) - 1))
                gap = np.maximum(np.abs(row[-1] - row[-2]), np.abs(row[-1] - older)) + eps * 2.0 ** (k + 4)
                best, error = np.where(gap < error, row[-1], best), np.fmin(gap, error)
            previous = row
        slopes.append(best)
        errors.append(error)
    return Oracle("Richardson differences", slopes, errors)


# -- check_grads ------------------------------------------------------------------------------------------

DIRECTIONS = 3
_EXACT, _DIFFERENCES, _SINGLE = 1e-9, 1e-6, 1e-3  # default rtol: complex step, Richardson, float32


def check_grads(f: Callable, args: tuple, order: int = 2, modes: tuple = ("forward", "reverse"), rtol: float | None = None,
                atol: float | None = None, seed: int = 0) -> None:
    """Check derivatives of f at args, up to ``order``, against differences of f itself along three random directions.

    Forward mode is compared element by element, reverse mode by <w, J v> = <J^T w, v>; the functions jvp(f) and vjp(f)
    are then checked in the same way, down the orders.

    Args:
        f: function of arrays and pytrees, real or complex, that also runs on plain arrays.
        args: tuple of its arguments; integer leaves are held fixed. A single array counts as the only argument.
        rtol: relative to the largest derivative in an array; default 1e-9 against the complex step, 1e-6 against
            differences (plus their own error estimate), 1e-3 for float32. It does not grow with the size of arrays.
        atol: absolute; default 1000 units in the last place of the largest value met.
    Raises: GradientError with both numbers; OracleError where differences do not settle; DtypeError if nothing in args
        or in the result is a float. Warns VacuousCheck where there are no elements to compare.

    >>> check_grads(lambda x: np.sin(x) * x, (np.linspace(0.0, 1.0, 5),))
    """
    args = args if isinstance(args, tuple) else (args,)
    unknown = set(modes) - {"forward", "reverse"}
    if unknown or not modes:
        raise DtypeError("check_grads: no such mode", got=repr(modes), rule='modes are "forward" and "reverse"',
                         fix='modes=("forward", "reverse")')
    g, xs = _of_floats(f, args)
    check = _Check(tuple(modes), rtol, atol, np.random.default_rng(seed), seed)
    check.run(g, xs, getattr(f, "__name__", "f"), 1, order, 0.0)


def _of_floats(f: Callable, args: tuple) -> tuple[Callable, tuple]:
    """f as a function from its float leaves to a tuple of its float results, and those leaves."""
    leaves, treedef = tree.flatten(args)
    places = [k for k, x in enumerate(leaves) if is_float(x) or type(x) is int]

    def g(*xs: Any) -> tuple:
        inner = list(leaves)
        for k, x in zip(places, xs, strict=True):
            inner[k] = x
        return tuple(y for y in tree.leaves(f(*tree.unflatten(treedef, inner))) if is_float(y))

    xs = tuple(np.asarray(leaves[k], float) if type(leaves[k]) is int else np.asarray(leaves[k]) for k in places)
    if not xs or not g(*xs):
        raise DtypeError("check_grads: nothing to differentiate", got=tree.structure(args),
                         rule="an argument and a result must be floats", fix="pass float arrays")
    return g, xs


def _directions(rng: np.random.Generator, like: list) -> tuple:
    """Random arrays of these shapes and dtypes, with no element near zero to hide behind."""
    def draw(y: Any) -> np.ndarray:
        v = rng.uniform(0.5, 1.5, np.shape(y)) * rng.choice([-1.0, 1.0], np.shape(y))
        if y.dtype.kind == "c":
            v = v + 1j * rng.uniform(-1.0, 1.0, np.shape(y))
        return np.asarray(v, y.dtype)

    return tuple(map(draw, like))


@dataclass(frozen=True)
class _Check:
    modes: tuple
    rtol: float | None
    atol: float | None
    rng: np.random.Generator
    seed: int

    def run(self, g: Callable, xs: tuple, name: str, order: int, last: int, scale: float) -> None:
        """Check the first derivative of g, then g's derivatives as functions; ``scale`` is the largest value so far."""
        ys = [np.asarray(y) for y in g(*xs)]
        scale = max([scale, *(float(np.max(np.abs(y), initial=0.0)) for y in ys)])
        if not sum(x.size for x in xs) or not sum(y.size for y in ys):
            warnings.warn(f"check_grads({name}): nothing to compare in arrays without elements", VacuousCheck, stacklevel=4)
        for direction in range(DIRECTIONS):
            vs, ws = _directions(self.rng, xs), _directions(self.rng, ys)
            oracle = _oracle(g, xs, vs)
            context = f"direction {direction + 1} of {DIRECTIONS}, order {order}, seed {self.seed}, input {_brief(xs)}"
            self.check_settled(oracle, ys, name, context)
            if "forward" in self.modes:
                self.forward(g, xs, vs, ys, oracle, scale, name, context)
            if "reverse" in self.modes:
                self.reverse(g, xs, vs, ws, oracle, scale, name, context)
        if order < last:
            if "forward" in self.modes:
                self.run(lambda *xs: jvp(g, xs, vs)[1], xs, f"jvp({name})", order + 1, last, scale)
            if "reverse" in self.modes:
                self.run(lambda *xs: vjp(g, *xs)[1](ws), xs, f"vjp({name})", order + 1, last, scale)

    def check_settled(self, oracle: Oracle, ys: list, name: str, context: str) -> None:
        for y, slope, error in zip(ys, oracle.slopes, oracle.errors, strict=True):
            sure = error <= 1e-4 * np.maximum(np.max(np.abs(slope), initial=0.0), np.abs(y)) + 1e-12
            if not np.all(sure & np.isfinite(slope)):
                at = np.unravel_index(int(np.argmin(sure & np.isfinite(slope))), y.shape)
                raise OracleError(f"{name}: its differences do not settle{_at(at)}", got=f"{slope[at]} +- {error[at]:.2g}",
                                  rule=context, fix="check it away from kinks, jumps and poles")

    def tolerance(self, oracle: Oracle, dtype: np.dtype, size: float, scale: float) -> float:
        rtol, atol = self.rtol, self.atol
        if rtol is None:
            exact = oracle.name == "complex step"
            rtol = _SINGLE if np.finfo(dtype).eps > 1e-10 else _EXACT if exact else _DIFFERENCES
        if atol is None:
            atol = 1000 * float(np.finfo(dtype).eps) * scale
        return atol + rtol * size

    def forward(self, g: Callable, xs: tuple, vs: tuple, ys: list, oracle: Oracle, scale: float, name: str, context: str) -> None:
        """J v against the oracle, element by element."""
        for y, found, slope, error in zip(ys, jvp(g, xs, vs)[1], oracle.slopes, oracle.errors, strict=True):
            _same_aval(found, y, f"forward mode of {name}: the tangent", context)
            allowed = self.tolerance(oracle, y.dtype, np.max(np.abs(slope), initial=0.0), scale) + 10 * error
            wrong = ~(np.abs(found - slope) <= allowed)  # so that NaN is wrong
            if np.any(wrong):
                at = np.unravel_index(int(np.argmax(wrong)), y.shape)
                self.fail("forward", name, f"J v{_at(at)}", np.asarray(found)[at], slope[at], allowed[at], oracle, context)

    def reverse(self, g: Callable, xs: tuple, vs: tuple, ws: tuple, oracle: Oracle, scale: float, name: str, context: str) -> None:
        """<J^T w, v> against <w, J v>. Only real parts: that is the pairing under which real and imag are linear too."""
        bars = vjp(g, *xs)[1](ws)
        found = expected = size = error = 0.0
        for bar, x, v in zip(bars, xs, vs, strict=True):
            _same_aval(bar, x, f"reverse mode of {name}: the cotangent", context)
            found += float(np.sum(np.real(bar * v), dtype=float))
        for w, slope, e in zip(ws, oracle.slopes, oracle.errors, strict=True):
            expected += float(np.sum(np.real(w * slope), dtype=float))
            size = float(np.hypot(size, np.linalg.norm(np.ravel(slope))))
            error = float(np.hypot(error, np.linalg.norm(np.ravel(e))))
        dtype = max((x.dtype for x in xs), key=lambda d: np.finfo(d).eps)
        allowed = self.tolerance(oracle, dtype, size, scale) + 10 * error
        if not abs(found - expected) <= allowed:
            self.fail("reverse", name, "<J^T w, v>", found, expected, allowed, oracle, context)

    def fail(self, mode: str, name: str, what: str, found: Any, expected: Any, allowed: float, oracle: Oracle, context: str) -> None:
        raise GradientError(f"{mode} mode of {name} is wrong", got=f"{what} = {found!r}, {oracle.name}: {expected!r}",
                            rule=f"they differ by {abs(found - expected):.3g}, tolerance {allowed:.3g}; {context}",
                            fix="correct the derivative rule; if f has a kink here, move the input away from it")


def _same_aval(found: Any, like: np.ndarray, what: str, context: str) -> None:
    if np.shape(found) != like.shape or found.dtype != like.dtype:
        raise GradientError(f"{what} has the wrong shape or dtype", got=f"{found.dtype}{list(np.shape(found))}",
                            rule=f"it must be {like.dtype}{list(like.shape)}; {context}")


def _brief(xs: tuple) -> str:
    return ", ".join(np.array2string(x, threshold=6, edgeitems=2, precision=6, separator=",").replace("\n", "") for x in xs)


# -- strategies: arrays -------------------------------------------------------------------------------------


def layouts(x: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """The same array in other memory layouts: reversed strides, transposed, every second element of a buffer.

    >>> [name for name, _ in layouts(np.zeros((2, 3)))]
    ['reversed', 'transposed', 'strided']
    """
    if x.ndim:
        yield "reversed", np.flip(np.flip(x).copy())
        yield "transposed", x.T.copy().T
        buffer = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
        buffer[..., ::2] = x
        yield "strided", buffer[..., ::2]


def shapes(max_dims: int = 3, max_side: int = 3, min_side: int = 0) -> Any:
    """Strategy: tuples of axis lengths, 0-d and zero-length ones among them."""
    from hypothesis import strategies as st

    return st.lists(st.integers(min_side, max_side), max_size=max_dims).map(tuple)


def arrays(dtype: Any = np.float64, shape: Any = None, domain: tuple = (-3.0, 3.0)) -> Any:
    """Strategy: arrays with elements (for complex ones real and imaginary parts) in ``domain``, in any memory layout.

    Args:
        dtype: a float or complex dtype, or a strategy for them. shape: a tuple, or a strategy; default `shapes()`.
        domain: the closed interval of the elements.
    """
    from hypothesis import strategies as st
    from hypothesis.extra import numpy as hnp

    @st.composite
    def build(draw: Callable) -> np.ndarray:
        kind = np.dtype(draw(dtype) if isinstance(dtype, st.SearchStrategy) else dtype)
        size = draw(shapes() if shape is None else shape) if not isinstance(shape, tuple) else shape
        part = np.zeros(0, kind).real.dtype
        low, high = (part.type(bound) for bound in domain)
        low = np.nextafter(low, part.type(np.inf)) if float(low) < domain[0] else low
        high = np.nextafter(high, part.type(-np.inf)) if float(high) > domain[1] else high
        elements = st.floats(float(low), float(high), width=8 * part.itemsize, allow_subnormal=False)
        x = draw(hnp.arrays(part, size, elements=elements))
        if kind.kind == "c":
            x = (x + 1j * draw(hnp.arrays(part, size, elements=elements))).astype(kind)
        views = [("plain", x), *layouts(x)]
        return draw(st.sampled_from(views))[1]

    return build()


# -- strategies: whole programs --------------------------------------------------------------------------------


def _apart(a: np.ndarray, b: Any, gap: float = 0.05) -> bool:
    """Whether no element of a comes close to the one of b: away from the kinks of comparisons."""
    return bool(np.all(np.abs(a - b) > gap))


def _distinct(a: np.ndarray, b: Any) -> bool:
    return a.ndim > 0 and a.size > 0 and _apart(np.diff(np.sort(a, axis=None)), 0.0)


def _same_shape(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and a.ndim < 3


def _has_axes(a: np.ndarray, b: Any) -> bool:
    return a.ndim > 0 and a.size > 0


_ALWAYS = lambda a, b: True
# An operation as Python source over NumPy, and where it may be used; smooth there, whatever its operands.
OPERATIONS: tuple[tuple[str, Callable], ...] = (
    ("np.sin({a})", _ALWAYS), ("np.cos({a})", _ALWAYS), ("{a} + {b}", _ALWAYS), ("{a} * {b}", _ALWAYS), ("{a} - {b}", _ALWAYS),
    ("-{a}", _ALWAYS), ("np.tanh({a})", _ALWAYS), ("np.exp({a})", _ALWAYS), ("np.square({a})", _ALWAYS), ("{a} ** 3", _ALWAYS),
    ("np.arctan({a})", _ALWAYS), ("np.log(1.5 + np.cos({a}))", _ALWAYS), ("np.sqrt(1.5 + np.sin({a}))", _ALWAYS),
    ("{a} / (2.0 + np.tanh({b}))", _ALWAYS), ("np.logaddexp({a}, {b})", _ALWAYS), ("np.hypot({a}, 1.0 + np.square({b}))", _ALWAYS),
    ("np.arctan2({a}, 1.0 + np.square({b}))", _ALWAYS),
    ("np.abs({a})", lambda a, b: _apart(a, 0.0)), ("np.maximum({a}, {b})", _apart), ("np.minimum({a}, {b})", _apart),
    ("np.where({a} > {b}, np.sin({a}), {b})", _apart),
    ("np.clip({a}, -0.5, 0.5)", lambda a, b: _apart(np.abs(a), 0.5)),
    ("np.where({a} > 0.3, np.log(np.where({a} > 0.3, {a}, 1.0)), {a})", lambda a, b: _apart(a, 0.3)),
    ("np.sum({a})", _ALWAYS), ("np.sum({a}, axis=0, keepdims=True)", _has_axes), ("np.mean({a}, axis=-1)", _has_axes),
    ("np.prod({a}, axis=-1)", _has_axes), ("np.cumsum({a}, axis=0)", _has_axes), ("np.max({a}, axis=0)", _distinct),
    ("np.sort({a}, axis=-1)", _distinct), ("np.reshape({a}, -1)", _ALWAYS), ("np.transpose({a})", _has_axes),
    ("{a}[::-1]", _has_axes), ("{a}[1:]", _has_axes), ("{a}[..., 0]", _has_axes), ("{a}[..., None]", _ALWAYS),
    ("np.stack([{a}, {b}])", _same_shape),
    ("np.concatenate([{a}, {b}])", lambda a, b: a.ndim > 0 and b.ndim == a.ndim and a.shape[1:] == b.shape[1:]),
    ("{a} @ {b}", lambda a, b: a.ndim > 0 and b.ndim > 0 and a.shape[-1] == b.shape[max(b.ndim - 2, 0)]),
)
_LARGEST, _ELEMENTS, _AXES = 30.0, 64, 4  # of the values in a program


@functools.cache
def _callable(text: str) -> Callable:
    return eval(f"lambda a, b: {text.format(a='a', b='b')}", {"np": np})


@dataclass(frozen=True)
class Step:
    """One line of a program: an operation of `OPERATIONS` on earlier values, counted from the arguments on."""

    text: str
    a: int
    b: int

    @property
    def operands(self) -> tuple:
        """The values that it reads."""
        return (self.a, self.b) if "{b}" in self.text else (self.a,)


@dataclass(frozen=True, repr=False)
class Program:
    """A function of arrays as a list of steps; its repr is the Python source of the function and its arguments."""

    args: tuple
    steps: tuple

    @property
    def source(self) -> str:
        """The definition of ``program``."""
        names = [f"x{i}" for i in range(len(self.args))]
        lines = [f"def program({', '.join(names)}):"]
        for k, step in enumerate(self.steps):
            names.append(f"v{k}")
            lines.append(f"    {names[-1]} = {step.text.format(a=names[step.a], b=names[step.b])}")
        return "\n".join([*lines, f"    return {names[-1]}"])

    @property
    def function(self) -> Callable:
        """The program as a plain Python function over NumPy."""
        scope: dict = {"np": np}
        exec(compile(self.source, "<program>", "exec"), scope)
        return scope["program"]

    def __repr__(self) -> str:
        args = ", ".join("np." + repr(x).replace("dtype=", "dtype=np.") for x in self.args)
        return f"\n{self.source}\n\nargs = ({args},)\n"


def programs(max_steps: int = 10, dtype: Any = np.float64, max_args: int = 2) -> Any:
    """Strategy: whole random expression trees, as `Program`s that are smooth and of moderate size at their arguments.

    A draw is a list of steps (operation, first operand, second operand) read one after the other; what does not fit the
    values there is left out. So any part of a list is a program again, and a failing one shrinks to its essential lines.

    Args:
        max_steps: the longest list. dtype: of the arguments. max_args: how many arguments at most.
    """
    from hypothesis import strategies as st
    from hypothesis.extra import numpy as hnp

    elements = st.integers(-15, 15).map(lambda k: k / 10 + 0.23)  # tenths shrink well; the shift keeps them off kinks
    one = shapes(2, 3, min_side=1).flatmap(lambda shape: hnp.arrays(dtype, shape, elements=elements))
    step = st.tuples(st.integers(0, len(OPERATIONS) - 1), st.integers(0, 3), st.integers(0, 3))
    return st.builds(_program, st.lists(one, min_size=1, max_size=max_args).map(tuple), st.lists(step, min_size=1, max_size=max_steps))


def _program(args: tuple, recipe: list) -> Program:
    values, steps = list(args), []
    for number, i, j in recipe:
        text, fits = OPERATIONS[number]
        newest = range(len(values) - 1, -1, -1)
        a = newest[i % len(newest)]
        partners = [*newest[j % len(newest) :], *newest[: j % len(newest)]] if "{b}" in text else [a]
        for b in partners:
            value = _applied(text, fits, values[a], values[b])
            if value is not None:
                steps.append(Step(text, a, b))
                values.append(value)
                break
    return Program(args, _needed(steps, len(args)))


def _applied(text: str, fits: Callable, a: np.ndarray, b: np.ndarray) -> np.ndarray | None:
    """The value of an operation, or None where it does not fit its operands or leaves the moderate range."""
    try:
        if not fits(a, b):
            return None
        value = np.asarray(_callable(text)(a, b))
    except ValueError:  # shapes that do not broadcast
        return None
    small = value.size <= _ELEMENTS and value.ndim <= _AXES and value.dtype == a.dtype
    return value if small and value.size and np.max(np.abs(value)) < _LARGEST else None


def _needed(steps: list, offset: int) -> tuple:
    """The steps that the last one depends on, renumbered."""
    needed = {offset + len(steps) - 1}
    for k in range(len(steps) - 1, -1, -1):
        if offset + k in needed:
            needed.update(steps[k].operands)
    place = {i: i for i in range(offset)}
    kept: list = []
    for k, step in enumerate(steps):
        if offset + k in needed:
            place[offset + k] = offset + len(kept)
            a = place[step.a]
            kept.append(Step(step.text, a, place[step.b] if "{b}" in step.text else a))
    return tuple(kept)
