"""Checks of derivatives against oracles that know nothing of fad's rules, and hypothesis strategies.

`check_grads` compares both modes, up to any order, with the complex step where a function is analytic (Squire
and Trapp 1998; exact to rounding) and with Richardson-extrapolated central differences elsewhere (Ridders 1982;
with an error estimate). `arrays`, `shapes` and `programs` are strategies; hypothesis is imported when called.
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
from fad.transforms.derivatives import jvp, vjp
from fad.transforms.trace import is_float

__all__ = [
    "check_grads",
    "assert_close",
    "ulps",
    "GradientError",
    "OracleError",
    "VacuousCheck",
    "layouts",
    "shapes",
    "arrays",
    "programs",
    "Program",
    "Step",
    "OPERATIONS",
]


class GradientError(FadError, AssertionError):
    """A derivative that differs from its oracle, or has the wrong shape or dtype."""


class OracleError(GradientError):
    """Differences that do not settle: the function has a kink, a jump or a pole here, or is NaN."""


class VacuousCheck(UserWarning):
    """A check of arrays without elements: shapes and dtypes were compared, numbers were not."""


# -- closeness ------------------------------------------------------------------------------------------


def ulps(a: Any, b: Any) -> np.ndarray:
    """|a - b| in units in the last place of the larger one, elementwise; 0 for equal infinities and two NaNs.

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
    """Assert that two pytrees have one structure, shapes and dtypes, and leaves equal up to rounding.

    Args:
        ulp: allowed distance of each element in units in the last place.
        rtol, atol: an element also passes if |a - b| <= atol + rtol |b|.
    Raises: AssertionError that names the worst element. NaN equals only NaN.

    >>> assert_close({"w": np.ones(2)}, {"w": np.ones(2)})
    """
    if tree.structure(a) != tree.structure(b):
        raise AssertionError(f"structures differ: {tree.structure(a)} and {tree.structure(b)}")
    for path, x, y in zip(tree.paths(a), tree.leaves(a), tree.leaves(b), strict=True):
        x, y, path = np.asarray(x), np.asarray(y), path or "result"
        if x.shape != y.shape or x.dtype != y.dtype:
            raise AssertionError(f"{path}: {x.dtype}{list(x.shape)} against {y.dtype}{list(y.shape)}")
        far = ulps(x, y)
        if x.dtype.kind in "fc":
            with np.errstate(all="ignore"):
                far = np.where(np.abs(x - y) <= atol + rtol * np.abs(y), 0.0, far)
        if not np.all(far <= ulp):
            at = np.unravel_index(int(np.argmax(far)), far.shape)
            raise AssertionError(f"{path}{_at(at)}: {x[at]!r} against {y[at]!r}, {far[at]:.3g} ulp apart")


def _at(index: tuple) -> str:
    return f"[{', '.join(str(int(i)) for i in index)}]" if index else ""


# -- oracles --------------------------------------------------------------------------------------------

_STEP = 1e-20  # of the complex step: its square vanishes beside 1
_WIDER = {"e": np.float64, "f": np.float64, "F": np.complex128}  # by the character of a dtype


@dataclass(frozen=True)
class Oracle:
    """A directional derivative from values of the function alone, and an error estimate for each element."""

    name: str
    slopes: list
    errors: list


def _oracle(g: Callable, xs: tuple, vs: tuple) -> Oracle:
    """d/dt g(x + t v) at t = 0: in double precision where g allows it."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wide = tuple(x.astype(_WIDER.get(x.dtype.char, x.dtype)) for x in xs)
        try:
            g(*wide)
        except Exception:  # it insists on its own dtypes, as a Function does
            wide = xs

        def along(t: Any) -> list:
            return [np.asarray(y) for y in g(*(x + v.astype(x.dtype) * t for x, v in zip(wide, vs, strict=True)))]

        return _complex_step(along, wide) or _richardson(along)


def _complex_step(along: Callable, xs: tuple) -> Oracle | None:
    """Im g(x + i h v) / h, or None where g is not analytic at x along v."""
    if any(x.dtype.kind == "c" for x in xs):
        return None
    try:
        shifted = along(1j * _STEP)
    except Exception:  # no complex meaning, for whatever reason: the other oracle takes over
        return None
    slopes = []
    for y, z, rough in zip(along(0.0), shifted, _central(along, 1e-4), strict=True):
        if y.dtype.kind == "c" or y.shape != z.shape or not np.allclose(np.real(z), y, 1e-12, 1e-14):
            return None
        slope = np.imag(z) / _STEP
        loose = 1e-3 * np.max(np.abs(slope), initial=0.0) + 1e-6 * np.abs(y)
        if not np.all(np.abs(slope - rough) <= loose):
            return None
        slopes.append(slope)
    return Oracle("complex step", slopes, [np.zeros(s.shape) for s in slopes])


def _central(along: Callable, h: float) -> list:
    return [(p - m) / (2 * h) for p, m in zip(along(h), along(-h), strict=True)]


def _richardson(along: Callable, steps: int = 12) -> Oracle:
    """Neville's table over central differences with halved steps; for each element the least uncertain entry."""
    halvings = range(4, 4 + steps)
    columns = zip(*(_central(along, 2.0**-k) for k in halvings), strict=True)
    slopes, errors = [], []
    for y, column in zip(along(0.0), columns, strict=True):
        best, error = column[0], np.full(y.shape, np.inf)
        noise = np.finfo(y.dtype).eps * np.abs(y)
        previous: list = []
        for k, first in zip(halvings, column, strict=True):
            row = [first]
            for j, older in enumerate(previous):
                row.append(row[j] + (row[j] - older) / (4 ** (j + 1) - 1))
                gap = np.maximum(np.abs(row[-1] - row[-2]), np.abs(row[-1] - older)) + noise * 2.0**k
                best, error = np.where(gap < error, row[-1], best), np.fmin(gap, error)
            previous = row
        slopes.append(best)
        errors.append(error)
    return Oracle("Richardson differences", slopes, errors)


# -- check_grads ------------------------------------------------------------------------------------------

DIRECTIONS = 3
_EXACT, _DIFFERENCES, _SINGLE = 1e-9, 1e-6, 1e-3  # default rtol: complex step, Richardson, float32


def check_grads(
    f: Callable,
    args: Any,
    order: int = 2,
    modes: tuple = ("forward", "reverse"),
    rtol: float | None = None,
    atol: float | None = None,
    seed: int = 0,
) -> None:
    """Check derivatives of f at args, up to ``order``, against differences of f along three random directions.

    Forward mode is compared element by element, reverse mode by <w, J v> = <J^T w, v>; the functions jvp(f) and
    vjp(f) are then checked in the same way, down the orders.

    Args:
        f: function of arrays and pytrees, real or complex, that also runs on plain arrays.
        args: tuple of its arguments (or the only one); integer leaves are held fixed.
        modes: "forward", "reverse" or both.
        rtol: relative to the largest derivative in an array, whatever its size; default 1e-9 against the complex
            step, 1e-6 against differences (plus ten of their error estimates), 1e-3 for float32.
        atol: absolute; default 1000 units in the last place of the largest value met.
    Raises: GradientError with both numbers; OracleError where differences do not settle; DtypeError if nothing in
        args or in the result is a float. Warns VacuousCheck where there are no elements to compare.

    >>> check_grads(lambda x: np.sin(x) * x, (np.linspace(0.0, 1.0, 5),))
    """
    if not modes or set(modes) - {"forward", "reverse"}:
        raise DtypeError(
            "check_grads: no such mode",
            got=repr(modes),
            rule='modes are "forward" and "reverse"',
            fix='modes=("forward", "reverse")',
        )
    g, xs = _of_floats(f, args if isinstance(args, tuple) else (args,))
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

    xs = tuple(np.asarray(leaves[k], float if type(leaves[k]) is int else None) for k in places)
    if not xs or not g(*xs):
        raise DtypeError(
            "check_grads: nothing to differentiate",
            got=tree.structure(args),
            rule="an argument and a result must be floats",
            fix="pass float arrays",
        )
    return g, xs


def _directions(rng: np.random.Generator, like: Any) -> tuple:
    """Random arrays of these shapes and dtypes, with no real part near zero to hide behind."""

    def draw(y: np.ndarray) -> np.ndarray:
        v = rng.uniform(0.5, 1.5, y.shape) * rng.choice([-1.0, 1.0], y.shape)
        return np.asarray(v + 1j * rng.uniform(-1.0, 1.0, y.shape) if y.dtype.kind == "c" else v, y.dtype)

    return tuple(map(draw, like))


@dataclass(frozen=True)
class _Point:
    """One function at one input along one direction v (and w), with what the oracle says there."""

    g: Callable
    name: str
    xs: tuple
    ys: list
    vs: tuple
    ws: tuple
    oracle: Oracle
    scale: float
    context: str

    @property
    def eps(self) -> float:
        """Of the coarsest dtype."""
        return max(float(np.finfo(x.dtype).eps) for x in (*self.xs, *self.ys))

    def wrong(self, mode: str, what: str, found: Any, expected: Any, allowed: float) -> GradientError:
        return GradientError(
            f"{mode} mode of {self.name} is wrong",
            got=f"{what} = {found!r}, {self.oracle.name}: {expected!r}",
            rule=f"they differ by {abs(found - expected):.3g}, tolerance {allowed:.3g}; {self.context}",
            fix="correct the derivative rule; if f has a kink here, move the input away from it",
        )

    def check_settled(self) -> None:
        """Raise where the oracle is NaN, or too unsure for a comparison to mean anything."""
        trust = 1e-2 if self.eps > 1e-10 else 1e-4
        for y, slope, error in zip(self.ys, self.oracle.slopes, self.oracle.errors, strict=True):
            size = np.maximum(np.max(np.abs(slope), initial=0.0), np.abs(y))
            sure = (error <= trust * size + 1e-12 * self.scale) & np.isfinite(slope)
            if not np.all(sure):
                at = np.unravel_index(int(np.argmin(sure)), sure.shape)
                raise OracleError(
                    f"{self.name}: its differences do not settle",
                    got=f"{slope[at]} +- {error[at]:.2g}{_at(at)}",
                    rule=self.context,
                    fix="check it away from kinks, jumps and poles",
                )

    def check_aval(self, found: Any, like: np.ndarray, what: str) -> None:
        if np.shape(found) != like.shape or found.dtype != like.dtype:
            raise GradientError(
                f"{what} of {self.name} has the wrong shape or dtype",
                got=f"{found.dtype}{list(np.shape(found))}",
                rule=f"it must be {like.dtype}{list(like.shape)}; {self.context}",
            )


@dataclass(frozen=True)
class _Check:
    """The settings of one call of `check_grads`."""

    modes: tuple
    rtol: float | None
    atol: float | None
    rng: np.random.Generator
    seed: int

    def run(self, g: Callable, xs: tuple, name: str, order: int, last: int, scale: float) -> None:
        """Check the derivative of g, then that of g's derivatives; ``scale`` is the largest value so far."""
        ys = [np.asarray(y) for y in g(*xs)]
        scale = max([scale, *(float(np.max(np.abs(y), initial=0.0)) for y in ys)])
        if not sum(x.size for x in xs) or not sum(y.size for y in ys):
            warnings.warn(f"check_grads({name}): there are no elements to compare", VacuousCheck, stacklevel=4)
        for k in range(DIRECTIONS):
            vs, ws = _directions(self.rng, xs), _directions(self.rng, ys)
            context = f"direction {k + 1} of {DIRECTIONS}, order {order}, seed {self.seed}, input {_brief(xs)}"
            point = _Point(g, name, xs, ys, vs, ws, _oracle(g, xs, vs), scale, context)
            point.check_settled()
            if "forward" in self.modes:
                self.forward(point)
            if "reverse" in self.modes:
                self.reverse(point)
        if order < last and "forward" in self.modes:
            self.run(lambda *xs: jvp(g, xs, vs)[1], xs, f"jvp({name})", order + 1, last, scale)
        if order < last and "reverse" in self.modes:
            self.run(lambda *xs: vjp(g, *xs)[1](ws), xs, f"vjp({name})", order + 1, last, scale)

    def tolerance(self, point: _Point, size: float) -> float:
        """What a number may be off where the derivatives are as large as ``size``."""
        rtol, atol = self.rtol, self.atol
        if rtol is None:
            double = _EXACT if point.oracle.name == "complex step" else _DIFFERENCES
            rtol = _SINGLE if point.eps > 1e-10 else double
        return (1000 * point.eps * point.scale if atol is None else atol) + rtol * size

    def forward(self, point: _Point) -> None:
        """J v against the oracle, element by element."""
        oracle = point.oracle
        dots = jvp(point.g, point.xs, point.vs)[1]
        for y, dot, slope, error in zip(point.ys, dots, oracle.slopes, oracle.errors, strict=True):
            point.check_aval(dot, y, "the tangent")
            allowed = self.tolerance(point, np.max(np.abs(slope), initial=0.0)) + 10 * error
            wrong = ~(np.abs(dot - slope) <= allowed)  # so that NaN is wrong
            if np.any(wrong):
                at = np.unravel_index(int(np.argmax(wrong)), y.shape)
                raise point.wrong("forward", f"(J v){_at(at)}", np.asarray(dot)[at], slope[at], allowed[at])

    def reverse(self, point: _Point) -> None:
        """<J^T w, v> against <w, J v>, in real parts: that is the pairing under which real and imag are linear."""
        found = expected = 0.0
        bars = vjp(point.g, *point.xs)[1](point.ws)
        for bar, x, v in zip(bars, point.xs, point.vs, strict=True):
            point.check_aval(bar, x, "the cotangent")
            found += float(np.sum(np.real(bar * v), dtype=float))
        for w, slope in zip(point.ws, point.oracle.slopes, strict=True):
            expected += float(np.sum(np.real(w * slope), dtype=float))
        allowed = self.tolerance(point, _length(point.oracle.slopes)) + 10 * _length(point.oracle.errors)
        if not abs(found - expected) <= allowed:
            raise point.wrong("reverse", "<J^T w, v>", found, expected, allowed)


def _length(arrays: list) -> float:
    """The Euclidean norm of all elements: the size that a random inner product with them has."""
    return float(np.sqrt(sum(float(np.sum(np.abs(x) ** 2)) for x in arrays)))


def _brief(xs: tuple) -> str:
    options: dict[str, Any] = {"threshold": 6, "edgeitems": 2, "precision": 6, "separator": ","}
    return ", ".join(np.array2string(x, **options).replace("\n", "") for x in xs)


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
    """Strategy: arrays with elements (or their real and imaginary parts) in ``domain``, in any memory layout.

    Args:
        dtype: a float or complex dtype, or a strategy for them.
        shape: a tuple, or a strategy for them; default `shapes()`.
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
        elements = st.floats(float(low), float(high), width=32 if part.itemsize == 4 else 64, allow_subnormal=False)
        x = draw(hnp.arrays(part, size, elements=elements))
        if kind.kind == "c":
            x = (x + 1j * draw(hnp.arrays(part, size, elements=elements))).astype(kind)
        views = [("plain", x), *layouts(x)]
        return draw(st.sampled_from(views))[1]

    return build()


# -- strategies: whole programs ----------------------------------------------------------------------------


def _apart(a: np.ndarray, b: Any, gap: float = 0.05) -> bool:
    """Whether no element of a comes close to the one of b: away from the kinks of comparisons."""
    return bool(np.all(np.abs(a - b) > gap))


def _distinct(a: np.ndarray, b: Any) -> bool:
    return a.ndim > 0 and a.size > 0 and _apart(np.diff(np.sort(a, axis=None)), 0.0)


def _same_shape(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and a.ndim < 3


def _same_rows(a: np.ndarray, b: np.ndarray) -> bool:
    return a.ndim > 0 and b.ndim == a.ndim and a.shape[1:] == b.shape[1:]


def _same_inner(a: np.ndarray, b: np.ndarray) -> bool:
    return a.ndim > 0 and b.ndim > 0 and a.shape[-1] == b.shape[max(b.ndim - 2, 0)]


def _has_axes(a: np.ndarray, b: Any) -> bool:
    return a.ndim > 0 and a.size > 0


_ALWAYS = lambda a, b: True
# An operation as Python source over NumPy, and where it may be used; it is smooth there.
OPERATIONS: tuple[tuple[str, Callable], ...] = (
    ("np.sin({a})", _ALWAYS),
    ("np.cos({a})", _ALWAYS),
    ("{a} + {b}", _ALWAYS),
    ("{a} * {b}", _ALWAYS),
    ("{a} - {b}", _ALWAYS),
    ("-{a}", _ALWAYS),
    ("np.tanh({a})", _ALWAYS),
    ("np.exp({a})", _ALWAYS),
    ("np.square({a})", _ALWAYS),
    ("{a} ** 3", _ALWAYS),
    ("np.arctan({a})", _ALWAYS),
    ("np.log(1.5 + np.cos({a}))", _ALWAYS),
    ("np.sqrt(1.5 + np.sin({a}))", _ALWAYS),
    ("{a} / (2.0 + np.tanh({b}))", _ALWAYS),
    ("np.logaddexp({a}, {b})", _ALWAYS),
    ("np.hypot({a}, 1.0 + np.square({b}))", _ALWAYS),
    ("np.arctan2({a}, 1.0 + np.square({b}))", _ALWAYS),
    ("np.abs({a})", lambda a, b: _apart(a, 0.0)),
    ("np.maximum({a}, {b})", _apart),
    ("np.minimum({a}, {b})", _apart),
    ("np.where({a} > {b}, np.sin({a}), {b})", _apart),
    ("np.clip({a}, -0.5, 0.5)", lambda a, b: _apart(np.abs(a), 0.5)),
    ("np.where({a} > 0.3, np.log({a}), {a})", lambda a, b: _apart(a, 0.3)),
    ("np.sum({a})", _ALWAYS),
    ("np.sum({a}, axis=0, keepdims=True)", _has_axes),
    ("np.mean({a}, axis=-1)", _has_axes),
    ("np.prod({a}, axis=-1)", _has_axes),
    ("np.cumsum({a}, axis=0)", _has_axes),
    ("np.max({a}, axis=0)", _distinct),
    ("np.sort({a}, axis=-1)", _distinct),
    ("np.reshape({a}, -1)", _ALWAYS),
    ("np.transpose({a})", _has_axes),
    ("{a}[::-1]", _has_axes),
    ("{a}[1:]", _has_axes),
    ("{a}[..., 0]", _has_axes),
    ("{a}[..., None]", _ALWAYS),
    ("np.stack([{a}, {b}])", _same_shape),
    ("np.concatenate([{a}, {b}])", _same_rows),
    ("{a} @ {b}", _same_inner),
)
_LARGEST, _ELEMENTS, _AXES = 30.0, 64, 4  # of the values in a program


@functools.cache
def _callable(text: str) -> Callable:
    return eval(f"lambda a, b: {text.format(a='a', b='b')}", {"np": np})


@dataclass(frozen=True)
class Step:
    """One line of a program: one of `OPERATIONS` on earlier values, counted from the arguments on."""

    text: str
    a: int
    b: int

    @property
    def operands(self) -> tuple:
        """The values that it reads."""
        return (self.a, self.b) if "{b}" in self.text else (self.a,)


@dataclass(frozen=True, repr=False)
class Program:
    """A function of arrays as a list of steps; its repr is the Python source of function and arguments."""

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
        args = ", ".join(f"np.array({x.tolist()!r}, np.{x.dtype})" for x in self.args)
        return f"\n{self.source}\n\nargs = ({args},)\n"


def programs(max_steps: int = 10, dtype: Any = np.float64, max_args: int = 2) -> Any:
    """Strategy: whole random expression trees, `Program`s that are smooth and of moderate size at their arguments.

    A draw is a list of steps (operation, first operand, second operand) read one after the other; what does not
    fit the values there is left out. So any part of a list is a program again, and a failing one shrinks to its
    essential lines.

    Args:
        max_steps: the longest list. dtype: of the arguments. max_args: how many arguments at most.
    """
    from hypothesis import strategies as st
    from hypothesis.extra import numpy as hnp

    elements = st.integers(-15, 15).map(lambda k: k / 10 + 0.23)  # tenths shrink well; the shift avoids kinks
    one = shapes(2, 3, min_side=1).flatmap(lambda shape: hnp.arrays(dtype, shape, elements=elements))
    step = st.tuples(st.integers(0, len(OPERATIONS) - 1), st.integers(0, 3), st.integers(0, 3))
    args = st.lists(one, min_size=1, max_size=max_args).map(tuple)
    return st.builds(_program, args, st.lists(step, min_size=1, max_size=max_steps))


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
