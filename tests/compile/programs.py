"""A hypothesis strategy for whole random programs over everything that is compiled, and the noise that rounding makes.

A program is a list of lines of NumPy source over arrays; its repr can be pasted and run. A draw is a list of recipes, read
one after the other: an operation, and an integer whose digits choose operands, axes, indices, widths. What does not fit the
values there is left out, so any part of a list is a program again and a failing one shrinks to what matters.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod

import numpy as np
from hypothesis import strategies as st
from scipy import special

import fad
from fad.errors import FadError

LARGEST, ELEMENTS, AXES = 50.0, 400, 5  # of the values in a program; ELEMENTS unless an argument is larger
SMALL = [
    (3,),
    (),
    (2, 3),
    (4, 17),
    (8,),
    (1, 5),
    (7, 1),
    (16, 16),
    (3, 4, 5),
    (33,),
    (1,),
    (2, 1, 9),
    (100,),
    (17, 3),
    (5, 0),
    (0,),
    (9, 8),
    (2, 3, 4, 5),
    (3, 3),
    (20, 20),
]
BIG = [(20_011,), (3, 7_001), (150, 140), (40, 33, 17), (25_000, 1), (2, 10_000)]  # threads share these
DTYPES = ["float64", "float32"] * 4 + ["bool", "int64", "int32", "float", "int", "complex128", "uint8"]


def data(seed: int, shape: tuple, dtype: str, edges: bool = False):
    """Tenths between -1.3 and 1.8, with many ties; a quarter NaN, infinities and zeros of both signs where ``edges``."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-15, 16, shape) / 10 + 0.23
    if edges and dtype.startswith("float"):
        x = np.where(rng.random(shape) < 0.25, rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0], shape), x)
    if dtype in ("float", "int"):  # Python's own numbers, which promote weakly
        return float(x.flat[0]) if dtype == "float" else round(float(x.flat[0]) * 3) if np.isfinite(x.flat[0]) else 0
    x = x > 0.2 if dtype == "bool" else x * 3 if "int" in dtype else x
    return np.abs(x).astype(dtype)[()] if dtype == "uint8" else x.astype(dtype)[()]


# -- operations --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Operation:
    """``write(pick, *operands)`` gives the source, or None where it does not fit; ``pick(n)`` is a choice below n.

    ``exact``: NumPy and native code agree to the last bit. ``jumps``: it has kinks or jumps, and is used only where
    rounding errors cannot reach them: on exact operands or, where it ``compares`` two, on operands that lie apart."""

    write: Callable
    arity: int = 1
    exact: bool = True
    jumps: bool = False
    compares: bool = False


def each(*texts: str, **fields) -> list[Operation]:
    """Operations that always have the same source."""

    def operation(text: str) -> Operation:
        arity = max([k + 1 for k, name in enumerate("abc") if f"{{{name}}}" in text])

        def write(pick, *xs):
            return text if elements(*xs) <= 4 * max(ELEMENTS, *map(np.size, xs)) else None

        return Operation(write, arity, **fields)

    return [operation(t) for t in texts]


def elements(*xs) -> int:
    """Elements of the arrays broadcast together."""
    return prod(np.broadcast_shapes(*map(np.shape, xs)))


def write_index(pick, x):
    """Basic indices of every kind, for some of the axes; now and then an empty range."""
    parts = []
    for n in x.shape[: pick(4) or None]:
        lo = pick(n)
        hi = lo + pick(n - lo) + (n > 0 and pick(9) != 8)
        step, behind = 1 + pick(3), lo - 1 if lo else None
        backwards = f"{hi - 1}:{behind}:-{step}" if hi > lo else f"{lo}:{hi}"
        parts.append(
            [
                "::-1",
                f"{lo}:",
                f"{lo}:{hi}:{step}",
                backwards,
                f":{hi - n or None}",
                str(lo - n if pick(2) else lo),
                f"::{step}",
                ":",
            ][pick(8)]
        )
    if pick(4) == 1:
        parts.insert(pick(len(parts) + 1), "None")
    if pick(6) == 1:
        parts.append("...")
    return f"{{a}}[{', '.join(parts)}]" if parts else None


def write_reshape(pick, x):
    shape = list(x.shape)
    k, how = pick(len(shape) + 1), pick(4)
    if how == 0:
        shape = [-1]
    elif how == 1:
        shape.insert(k, 1)
    elif how == 2 and k + 1 < len(shape):
        shape[k : k + 2] = [shape[k] * shape[k + 1]]
    elif how == 3 and k < len(shape) and (d := next((d for d in (2, 3, 5, 7) if shape[k] and shape[k] % d == 0), 0)):
        shape[k : k + 1] = [d, shape[k] // d] if pick(2) else [shape[k] // d, d]
    return f"np.reshape({{a}}, {tuple(shape)})"


def write_broadcast(pick, x):
    shape = tuple(n if n != 1 else 1 + pick(4) for n in x.shape)
    return f"np.broadcast_to({{a}}, {(2 + pick(2), *shape) if pick(2) else shape})"


def write_transpose(pick, x):
    axes = list(range(x.ndim))
    return f"np.transpose({{a}}, {tuple(axes.pop(pick(len(axes))) for _ in range(x.ndim))})"


def write_pad(pick, x):
    widths = [(pick(3), pick(3)) for _ in x.shape]
    options = ["", "", ", constant_values=1.5", ", mode='edge'"][pick(4)] if x.size else ""
    return f"np.pad({{a}}, {widths}{options})" if widths else None


def write_roll(pick, x):
    return f"np.roll({{a}}, {pick(5) - 2}, axis={pick(x.ndim)})" if x.ndim else f"np.roll({{a}}, {pick(3)})"


def write_join(pick, *xs):
    """Up to six pieces, of those operands that fit the first."""
    joined = "concatenate" if pick(4) else "stack"
    axis = pick(max(xs[0].ndim, 1))
    shapes = [np.delete(x.shape, axis).tolist() if joined == "concatenate" and axis < x.ndim else x.shape for x in xs]
    fitting = [name for name, s, x in zip("abc", shapes, xs, strict=True) if s == shapes[0] and x.ndim == xs[0].ndim]
    names = [f"{{{fitting[pick(len(fitting))]}}}" for _ in range(1 + pick(6))]
    return f"np.{joined}([{', '.join(names)}], axis={axis})"


def axes(pick, x, several: bool = True) -> str:
    """``axis=`` and ``keepdims=`` of a reduction."""
    some = tuple(a for a in range(x.ndim) if pick(2))
    axis = [None, pick(max(x.ndim, 1)) - x.ndim if x.ndim else None, some if several else None][pick(3)]
    return f"axis={axis}" + (", keepdims=True" if pick(2) else "")


def reducing(*names: str, several: bool = True, then: str = "", **fields) -> list[Operation]:
    """Reductions over any axes."""

    def operation(name: str) -> Operation:
        def write(pick, x):
            if name == "np.prod" and x.size > 1000:  # parts of it may leave the range of numbers, which depends on the order
                return None
            return f"{name}({{a}}, {axes(pick, x, several)}){then}" if (x.size and x.ndim) or name == "np.sum" else None

        return Operation(write, **fields)

    return [operation(n) for n in names]


def along(*names: str, **fields) -> list[Operation]:
    """Functions along one axis."""

    def operation(name: str) -> Operation:
        def write(pick, x):
            return f"{name}({{a}}, axis={pick(x.ndim) - pick(2) * x.ndim})" if x.ndim else None

        return Operation(write, **fields)

    return [operation(n) for n in names]


PATTERNS = {  # of einsum, by the ranks of the operands
    (1, 1): ["i,i->", "i,j->ij", "i,i->i"],
    (2, 1): ["ij,j->i", "ij,i->ij"],
    (2, 2): ["ij,jk->ik", "ij,ij->i", "ij,kj->ik", "ij,ij->"],
    (3, 2): ["bij,jk->bik"],
    (3, 3): ["bij,bjk->bik", "bij,bij->j"],
}


def write_product(pick, a, b):
    if a.size * b.size > 40_000:
        return None
    patterns = PATTERNS.get((a.ndim, b.ndim))
    if patterns and pick(2):
        pattern = patterns[pick(len(patterns))]
        sizes = set(zip(pattern.replace(",", "").split("-")[0], (*a.shape, *b.shape), strict=True))
        return f"np.einsum('{pattern}', {{a}}, {{b}})" if len(sizes) == len({letter for letter, _ in sizes}) else None
    return ["{a} @ {b}", "np.dot({a}, {b})", "np.outer({a}, {b})"][pick(3)]


def write_gather(pick, x):
    n = x.shape[0] if x.ndim else 0
    ids = [pick(n) - n * pick(2) for _ in range(1 + pick(4))] if n else []
    return ["{a}[np.array(%s)]", "np.take({a}, np.array(%s), axis=0)", "{a}[np.array([%s])]"][pick(3)] % ids if ids else None


def write_gather_at(pick, x, i):
    fits = x.ndim and x.shape[0] and i.dtype.kind != "c" and np.all(np.isfinite(i)) and i.size * prod(x.shape[1:]) < 4 * ELEMENTS
    return f"{{a}}[np.abs(np.rint({{b}} * 1.0)).astype(int) % {x.shape[0]}]" if fits else None


def write_scatter(pick, x):
    n = x.shape[0] if x.ndim else 0
    ids = [pick(n) for _ in range(1 + pick(3))] if n else []
    target = [f"np.array({ids})", f"{pick(n)}:", "::-1"][pick(3)] if ids else ""
    return f"fad.at({{a}})[{target}].{['add', 'set', 'multiply'][pick(3)]}({1 + pick(3)}.5)" if ids else None


def write_scatter_of(pick, x, y):
    fits = x.ndim and x.shape[0] and x.dtype == y.dtype and np.broadcast_shapes(x.shape[1:], y.shape) == x.shape[1:]
    return f"fad.at({{a}})[{pick(x.shape[0])}].{['add', 'set'][pick(2)]}({{b}})" if fits else None


def write_cast(pick, x):
    name = ["float32", "float64", "int64", "bool", "int32", "uint8"][pick(6)]
    safe = np.all(np.isfinite(x)) and x.dtype.kind != "c" and (name != "uint8" or x.dtype.kind in "ib")
    return f"{{a}}.astype(np.{name})" if safe or (name.startswith("float") and x.dtype.kind != "c") else None


def write_gradient(pick, x):
    axes = [a for a, n in enumerate(x.shape) if n > 2]
    return f"np.gradient({{a}}, axis={axes[pick(len(axes))]})" if axes and x.dtype.kind == "f" else None


def write_slices_product(pick, x, y):
    """A product of the matrices in two slices."""
    if min(x.ndim, y.ndim) < 2 or x.ndim > 3 or y.ndim > 3 or 0 in (*x.shape, *y.shape):
        return None
    k = min(x.shape[-1], y.shape[-2])
    at, to = x.shape[-1] - k, y.shape[-2] - k
    rows, columns = [":", "::-1", "1:", "::2"][pick(4)], [":", "::-1", ":1", "::2"][pick(4)]
    return f"{{a}}[..., {rows}, {at}:] @ {{b}}[..., {to}:, {columns}]"


def write_derivative(pick, x, y):
    """A gradient inside the program, of first or second order."""
    inner = ["np.sum({b} * np.sin(t))", "np.sum(t * t * t) * np.sum({b})", "np.sum(np.tanh(t * {b}))", "np.sum(t[..., :1] * t)"][
        pick(4)
    ]
    if not (x.dtype.kind == y.dtype.kind == "f" and x.ndim and np.broadcast_shapes(x.shape, y.shape) == x.shape):
        return None
    first = f"fad.grad(lambda t: {inner})"
    return [
        first + "({a})",
        f"fad.grad(lambda s: np.sum(np.sin({first}(s))))({{a}})",
        f"fad.jvp(lambda t: {inner}, ({{a}},), ({{a}},))[1]",
    ][pick(3)]


def write_conv(pick, x):
    """A convolution with constant weights, of one element now and then."""
    if not 1 <= x.ndim <= 3 or x.dtype.kind != "f" or 0 in x.shape:
        return None
    index, (_, n, channels) = {1: ("[None, :, None]", (1, *x.shape, 1)), 2: ("[None]", (1, *x.shape)), 3: ("", x.shape)}[x.ndim]
    return f"fad.nn.conv({{a}}{index}, np.full(({1 + pick(min(2, n))}, {channels}, {1 + pick(3)}), 0.5, {{a}}.dtype))"


def write_single(pick, x):
    """Constants of one element, as an operand, a piece, and a factor of products."""
    if x.dtype.kind not in "fc" or not x.ndim or not x.size:
        return None
    one = ["np.full((1,), 1.5)", "np.full((1, 1), 0.5)", "np.ones(1)"][pick(3)]
    return [
        f"{{a}} * {one}",
        f"np.concatenate([np.ravel({{a}}), {one.replace('(1, 1)', '(1,)')}])",
        f"np.outer({{a}}, {one})",
        "np.reshape({a}, (-1, 1)) @ np.full((1, 1), 2.0)",
        "np.full((1, 1), 2.0) @ np.reshape({a}, (1, -1))",
        "np.ravel({a})[:1] @ np.full((1,), 3.0)",
        "np.full((1, 4), 0.5) @ np.full((4, 1), 0.5) + {a}",
    ][pick(7)]


def write_repeat(pick, x):
    return f"np.repeat({{a}}, {pick(3)}, axis={pick(x.ndim)})" if x.ndim else None


# After extrema stands + 0, because NumPy does not say which of two zeros of different signs is the larger one.
ARITHMETIC = each(
    "-{a}",
    "{a} * 2.5",
    "{a} + 1",
    "1.5 - {a}",
    "np.square({a})",
    "np.conj({a})",
    "{a} / 3",
    "{a} + {b}",
    "{a} - {b}",
    "{a} * {b}",
    "{a} / ({b} * {b} + 1)",
    "1 / ({a} * {a} + 1)",
    "np.sqrt({a} * {a} + {b} * {b})",
    "{a} * {b} + {c}",
    "{a} * {b} - {a} * {c}",
    "np.isfinite({a})",
    "np.isnan({a})",
    "np.where(np.isfinite({a}), {a}, 0.5)",
    "np.where(np.isnan({a}), {b}, {a})",
)
FUNCTIONS = each(
    "np.sin({a})",
    "np.exp({a})",
    "np.tanh({a})",
    "np.cos({a})",
    "np.log({a} * {a} + 1)",
    "np.arctan({a})",
    "np.expm1({a})",
    "np.log1p(np.square({a}))",
    "np.exp2({a})",
    "np.sinh({a})",
    "np.arcsinh({a})",
    "np.cbrt({a} * {a} + 1)",
    "np.sinc({a})",
    "np.nan_to_num({a})",
    "{a} ** 2",
    "{a} ** 3",
    "(np.square({a}) + 0.5) ** {b}",
    "np.logaddexp({a}, {b})",
    "np.arctan2({a}, {b} * {b} + 1)",
    "np.hypot({a}, {b} * {b} + 1)",
    "special.expit({a})",
    "special.erf({a})",
    "np.real(np.exp(1j * {a}))",
    "np.imag({a} * (0.5 - 0.2j))",
    "np.real(np.conj(1j * {a} + {b}) * ({a} - 0.5j))",
    "{a} * (0.3 + 0.4j)",
    "np.exp(0.5j * {a})",
    "np.abs({a} + 2.5j)",
    "np.ravel({a}) @ np.ravel({a})",
    "np.vdot({a}, np.sin({a}))",
    "special.log_expit({a})",
    "special.gammaln(np.square({a}) + 0.5)",
    "special.xlogy({a}, {b} * {b} + 1)",
    exact=False,
)
VIEWS = [
    *[Operation(write_index)] * 12,
    *[Operation(write_join, 3)] * 8,
    *[Operation(w) for w in (write_transpose, write_pad)] * 6,
    *[Operation(w) for w in (write_reshape, write_broadcast, write_roll)] * 4,
    Operation(write_repeat),
    *along("np.flip", "np.expand_dims"),
    *each("np.moveaxis({a}, 0, -1)", "np.ravel({a})", "np.squeeze({a})", "np.tril({a})"),
    *each("np.tile({a}, 2)", "np.diagonal({a})", "np.diag({a})", "np.diff({a})"),
]
REDUCTIONS = [
    *reducing("np.sum", "np.sum", "np.mean", "np.mean", "np.prod", "fad.nn.logsumexp", "np.std", "np.var", exact=False),
    *reducing("np.linalg.norm", several=False, exact=False),
    *reducing("np.any", "np.all", jumps=True),
    *reducing("np.max", "np.min", then=" + 0", jumps=True),
]
JUMPS = each(
    "np.abs({a})",
    "np.fabs({a})",
    "np.sign({a})",
    "np.signbit({a})",
    "np.floor({a})",
    "np.rint({a})",
    "np.trunc({a})",
    "{a} // 0.3",
    "{a} % 0.7",
    "np.fmod({a}, {b} * {b} + 1)",
    "np.remainder({a}, {b} * {b} + 1)",
    "np.clip({a}, -0.5, 0.5)",
    "np.sqrt(np.abs({a}))",
    "np.real({a})",
    "np.imag({a})",
    "{a} >= 0.5",
    "np.where({a}, {b}, {c})",
    "np.where({a} < {b}, {c}, 0)",
    "np.copysign({a}, {b})",
    "np.heaviside({a}, 0.5)",
    "{a} & {b}",
    "{a} | {b}",
    "{a} ^ {b}",
    "~{a}",
    "np.logical_and({a}, {b})",
    "np.logical_not({a})",
    "np.logical_xor({a}, {b})",
    jumps=True,
)
ROUNDED_JUMPS = each(
    "np.arctan2({a}, {b})",
    "np.log(np.abs({a}))",
    "np.hypot({a}, {b})",
    "np.where({a} > 0.3, np.log({a}), {a})",
    exact=False,
    jumps=True,
)
COMPARISONS = each(
    "np.maximum({a}, {b}) + 0",
    "np.minimum({a}, {b}) + 0",
    "np.fmax({a}, {b}) + 0",
    "{a} > {b}",
    "{a} <= {b}",
    "{a} == {b}",
    "{a} != {b}",
    "np.where({a} > {b}, {a}, {b} * 0.5)",
    jumps=True,
    compares=True,
)
OTHERS = [
    Operation(write_cast, jumps=True),
    Operation(write_product, 2, exact=False),
    Operation(write_gather),
    Operation(write_gather_at, 2, jumps=True),
    Operation(write_scatter),
    Operation(write_scatter_of, 2),
    Operation(write_gradient),
    Operation(write_slices_product, 2, exact=False),
    Operation(write_derivative, 2, exact=False),
    Operation(write_conv, exact=False),
    Operation(write_single, exact=False),
    *along("np.cumsum", "np.cumprod", exact=False),
    *along("np.sort", "np.argsort", "np.argmax", jumps=True),
]
OPERATIONS: list[Operation] = [
    *ARITHMETIC * 2,
    *VIEWS * 2,
    *REDUCTIONS * 2,
    *FUNCTIONS,
    *JUMPS,
    *ROUNDED_JUMPS,
    *COMPARISONS,
    *OTHERS * 2,
]


# -- programs ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """One line: source with places for operands, and which values these are, counted from the arguments on."""

    op: Operation
    text: str
    operands: tuple
    exact: bool

    def line(self, names: list) -> str:
        """The right-hand side."""
        return self.text.format(**{key: names[k] for key, k in zip("abc", self.operands, strict=False)})


@dataclass(frozen=True, repr=False)
class Program:
    """A function of arrays: steps, and which values it returns."""

    specs: tuple  # of the arguments: what `data` takes
    steps: tuple
    outputs: tuple
    exact: bool  # every output is the same to the last bit, however it is computed

    @property
    def args(self) -> tuple:
        """Fresh arguments."""
        return tuple(data(*s) for s in self.specs)

    @property
    def floats(self) -> tuple:
        """The positions of arguments with derivatives."""
        return tuple(k for k, s in enumerate(self.specs) if s[2].startswith("float"))

    @property
    def source(self) -> str:
        """The definition of ``program``."""
        names = [f"x{k}" for k in range(len(self.specs))]
        lines = [f"def program({', '.join(names)}):"]
        for k, step in enumerate(self.steps):
            names.append(f"v{k}")
            lines.append(f"    v{k} = {step.line(names)}")
        return "\n".join([*lines, f"    return {', '.join(names[k] for k in self.outputs)},"])

    @property
    def function(self) -> Callable:
        """The program as a Python function."""
        scope = {"np": np, "fad": fad, "special": special}
        exec(compile(self.source, "<program>", "exec"), scope)
        return scope["program"]

    @property
    def loss(self) -> Callable:
        """A smooth scalar of all float results."""
        f = self.function

        def total(*xs):
            return sum((np.sum(np.sin(y), dtype=float) for y in f(*xs) if y.dtype.kind == "f"), np.sum(xs[self.floats[0]]) * 0.0)

        return total

    def _repr_pretty_(self, printer, cycle: bool) -> None:
        printer.text(repr(self))  # by which hypothesis shows it

    def __repr__(self) -> str:
        return f"\n{self.source}\n\nargs = [{', '.join(f'data{s}' for s in self.specs)}]\n"


# Primitives whose results are the same to the last bit however they are computed.
SETTLED = {
    "absolute",
    "add",
    "all",
    "any",
    "argmax",
    "argmin",
    "argsort",
    "astype",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "broadcast_to",
    "ceil",
    "concatenate",
    "conjugate",
    "copysign",
    "divide",
    "embed",
    "equal",
    "fabs",
    "floor",
    "floor_divide",
    "fmax",
    "fmin",
    "fmod",
    "gather",
    "getitem",
    "greater",
    "greater_equal",
    "heaviside",
    "imag",
    "invert",
    "isfinite",
    "isinf",
    "isnan",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "max",
    "maximum",
    "min",
    "minimum",
    "multiply",
    "negative",
    "not_equal",
    "positive",
    "real",
    "reciprocal",
    "remainder",
    "reshape",
    "rint",
    "scatter_set",
    "sign",
    "signbit",
    "sqrt",
    "square",
    "stop_gradient",
    "strong_multiply",
    "subtract",
    "transpose",
    "trunc",
    "where",
}


def noisy(function: fad.Function, args: tuple, seed: int) -> list:
    """The results where every rounding that is not settled, of operands and results, is 4 units in the last place off, by
    chance up or down: Monte Carlo arithmetic (Parker 1997). Results of reductions are off by a unit more for 64 terms, as
    NumPy adds up along the first axes one after another."""
    rng = np.random.default_rng(seed)

    def rounded(x, terms=1):
        if not isinstance(x, np.ndarray | np.generic) or x.dtype.kind not in "fc" or x.dtype.itemsize < 4:
            return x
        return x * (1 + (4 + terms // 64) * np.finfo(x.dtype).eps * rng.choice([-1.0, 1.0], x.shape)).astype(x.real.dtype)

    template, steps, outputs = function.schedule
    env = [*args, *template[len(args) :]]
    for op, refs, params, slot, _ in steps:
        operands = [env[r] for r in refs]
        if op.name in SETTLED:
            env[slot] = op(*operands, **params)
        else:
            y = op(*map(rounded, operands), **params)
            env[slot] = rounded(y, max(map(np.size, operands)) // max(np.size(y), 1))
    return [env[slot] for slot in outputs]


# -- the strategy ------------------------------------------------------------------------------------------------------


def programs(max_steps: int = 12, edges: bool = False, big: bool = False, dtypes: list = DTYPES):
    """Strategy: programs of moderate size; with NaN, infinities and zeros in the arguments where ``edges``, with arrays
    that threads share where ``big``."""
    shape = st.sampled_from(BIG if big else SMALL)
    spec = st.tuples(st.integers(0, 9), shape, st.sampled_from(dtypes))
    relation = st.integers(0, 3)  # a second argument often broadcasts against the first
    arguments = st.lists(st.tuples(spec, relation), min_size=1, max_size=3)
    digits = st.integers(0, 2**24 - 1)  # hypothesis draws these evenly, and larger ones not
    recipe = st.tuples(st.sampled_from([None, *OPERATIONS]), digits, digits)
    recipes = st.lists(recipe, min_size=min(6, max_steps), max_size=2 * max_steps)  # many do not fit, and are left out
    more_outputs = st.lists(st.integers(0, 5), max_size=2)

    @st.composite
    def build(draw: Callable) -> Program:
        return _program(draw(arguments), draw(recipes), draw(more_outputs), edges)

    return build()


def _specs(drawn: list, edges: bool) -> tuple:
    first = drawn[0][0][1]
    specs = []
    for k, ((seed, shape, dtype), relation) in enumerate(drawn):
        shape = [shape, first, first[1:], (1, *first[1:]) if first else ()][relation if k else 0]
        specs.append((seed, () if dtype in ("float", "int") else shape, dtype, *([True] if edges else [])))
    return tuple(specs)


def _program(drawn: list, recipes: list, more_outputs: list, edges: bool) -> Program:
    specs = _specs(drawn, edges)
    values = [data(*s) for s in specs]
    exact, steps = [True] * len(values), []
    room = max(ELEMENTS, *[4 * np.size(v) for v in values])
    for op, low, high in recipes:
        step, value = step_of(op, Choices(low + (high << 24)), values, exact) if op is not None else (None, None)
        if step is not None and value.size <= room and value.ndim <= AXES and _moderate(value):
            steps.append(step)
            values.append(value)
            exact.append(step.exact)
    outputs = (len(values) - 1, *(len(values) - 1 - k for k in more_outputs if k < len(values)))
    return _needed(specs, steps, outputs, exact)


def _moderate(value: np.ndarray) -> bool:
    size = np.abs(value[np.isfinite(value)], dtype=float) if value.dtype.kind != "c" else np.abs(value)
    return bool(np.all(size < (LARGEST if value.dtype.kind in "fc" else 5000)))


class Choices:
    """``pick(n)``: the next digit of a number, in base n."""

    def __init__(self, number: int):
        self.number = number

    def __call__(self, n: int) -> int:
        self.number, digit = divmod(self.number, max(n, 1))
        return digit


def step_of(op: Operation, pick: Choices, values: list, exact: list) -> tuple:
    """The step and its value; (None, None) where the operation does not fit."""
    places = tuple(max(len(values) - 1 - pick(5), 0) for _ in range(op.arity))
    xs = [values[k] for k in places]
    are_exact = all(exact[k] for k in places)
    if op.jumps and not are_exact and not (op.compares and _apart(*xs)):
        return None, None
    try:
        text = op.write(pick, *map(np.asarray, xs))
        if text is None or ("special" in text and any(type(x) is float or np.asarray(x).dtype.kind != "f" for x in xs)):
            return None, None  # SciPy has ideas of its own about the dtype of the result
        with np.errstate(all="ignore"):
            value = _callable(text)(*xs)
    except (ValueError, TypeError, IndexError, AttributeError, ZeroDivisionError, np.exceptions.AxisError, FadError):
        return None, None
    if not isinstance(value, np.ndarray | np.generic) or value.dtype.char in "egO":
        return None, None
    return Step(op, text, places, value.dtype.kind not in "fc" or (op.exact and are_exact)), value


@functools.cache
def _callable(text: str) -> Callable:
    return eval(f"lambda a, b=None, c=None: {text.format(a='a', b='b', c='c')}", {"np": np, "fad": fad, "special": special})


def _apart(a, b) -> bool:
    try:
        with np.errstate(all="ignore"):
            return not np.any(np.abs(np.subtract(a, b, dtype=float)) < 0.01)
    except (TypeError, ValueError):  # complex, or shapes that do not broadcast
        return False


def _needed(specs: tuple, steps: list, outputs: tuple, exact: list) -> Program:
    """The program without the steps that no output depends on."""
    offset, needed = len(specs), set(outputs)
    for k in range(len(steps) - 1, -1, -1):
        if offset + k in needed:
            needed.update(steps[k].operands)
    place = {k: k for k in range(offset)}
    kept: list[Step] = []
    for k, step in enumerate(steps):
        if offset + k in needed:
            place[offset + k] = offset + len(kept)
            kept.append(replace(step, operands=tuple(place[j] for j in step.operands)))
    return Program(specs, tuple(kept), tuple(place[k] for k in outputs), all(exact[k] for k in outputs))
