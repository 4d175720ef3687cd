"""Writes docs/kinks.md: the derivative that fad takes where there is none, from the registry and the lists below.

python docs/make_kinks.py
"""

from pathlib import Path

import fad.nn
import fad.random
import fad.stax  # so that every record is in the registry  # noqa: F401
from fad.core.primitive import Kink, registry
from fad.primitives import load_primitives

load_primitives()

PAGE = Path(__file__).with_name("kinks.md")

# Functions without a record of their own, written with others.
COMPOSITIONS = {
    "nn.relu": (Kink("x = 0", "0", "maximum(x, 0), of which 0 is constant: least norm"),),
    "nn.leaky_relu": (Kink("x = 0", "slope", "least norm for slopes from 0 to 1; where(x > 0, x, slope x)"),),
    "nn.elu": (Kink("x = 0, alpha not 1", "alpha", "that of the side taken, where(x > 0, x, alpha expm1(x))"),),
    "nn.max_pool": (Kink("ties in a window", "1 for the first of them", "one element is read, and no tie is counted"),),
    "np.clip": (
        Kink("x = a_min, x = a_max", "0 for x", "minimum(maximum(x, a_min), a_max): least norm"),
        Kink("x = a_min, where a_min is differentiated too", "1/2 each", "as for maximum"),
    ),
    "np.abs of complex": (Kink("z = 0", "0"),),
    "np.angle": (Kink("z = 0", "0", "no derivative exists"),),
    "np.linalg.norm": (
        Kink("x = 0", "0", "least norm, for every ord of vectors"),
        Kink("ord 2, -2, 'nuc' of a matrix", "those of svd", "for ord 2 and -2 equal values share"),
        Kink("ord=1, some x = 0", "0 for these", "as for absolute"),
        Kink("ord=inf, ties", "1/k each times the sign", "as for max"),
    ),
    "np.std": (Kink("all elements equal", "0", "the norm of the deviations"),),
    "np.ptp": (Kink("ties", "1/k at the largest, -1/k at the smallest", "max - min"),),
    "np.sort": (Kink("ties", "the order of a stable sort", "each place reads one element"),),
    "np.median, np.quantile": (
        Kink("ties", "the elements that a stable sort puts there", "as for sort"),
        Kink("ties, methods that take one element", "1/k each for k equal elements", "as for max"),
    ),
    "np.maximum.accumulate": (Kink("ties", "halved between the two parts of each step", "as for maximum; so for minimum"),),
    "np.round, np.fix": (Kink("jumps", "0", "as for rint and trunc"),),
    "np.modf": (Kink("x integer", "1 for the fractional part", "a jump"),),
    "np.nan_to_num": (Kink("x infinite or NaN", "0", "a constant is put there"),),
    "np.interp": (Kink("x = xp[i]", "the slope to the right of it", "x lies in [xp[i], xp[i + 1])"),),
    "losses.mean_absolute_error": (Kink("prediction = target", "0", "as for absolute"),),
}

# Spellings that give one function: (what, those that agree at the kink, (another one, what it gives, why)).
SPELLINGS = (
    (
        "max(x, 0) at x = 0",
        "0",
        ("fad.nn.relu(x)", "np.maximum(x, 0)", "np.maximum(0, x)", "np.clip(x, 0, np.inf)", "np.where(x > 0, x, 0)", "x * (x > 0)"),
        (
            ("np.where(x >= 0, x, 0)", "1", "0 belongs to the side of x"),
            ("np.maximum(x, 0 * x)", "1/2", "both arguments depend on x, and share"),
            ("(x + np.abs(x)) / 2", "1/2", "the chain rule: 1/2 + 0"),
        ),
    ),
    (
        "|x| at x = 0",
        "0",
        ("np.abs(x)", "np.fabs(x)", "np.maximum(x, -x)", "np.hypot(x, 0.0)", "x * np.sign(x)"),
        (
            ("np.sqrt(x ** 2)", "nan", "the chain rule: inf times 0"),
            ("np.where(x > 0, x, -x)", "-1", "0 belongs to the side of -x"),
        ),
    ),
    (
        "the norm at 0",
        "0",
        ("np.linalg.norm(x)", "np.hypot(x[0], x[1])"),
        (("np.sqrt(np.sum(x ** 2))", "nan", "the chain rule: inf times 0"),),
    ),
    (
        "the largest of k equal elements",
        "1/k each",
        ("np.max(x)", "np.maximum.reduce(x)", "-np.min(-x)"),
        (
            ("np.sort(x)[-1]", "1 for the last", "a stable sort puts it there"),
            ("np.maximum(np.maximum(x[0], x[1]), x[2])", "1/4, 1/4, 1/2", "the chain rule halves twice"),
        ),
    ),
)

# The same points elsewhere: (what, fad, autograd, JAX, PyTorch).
ELSEWHERE = (
    ("`np.maximum(x, 0)` at 0, `np.minimum(20.0, x)` at 20", "0", "1/2", "1/2", "1/2"),
    ("relu of the library at 0", "0", "(none)", "0", "0"),
    ("`np.clip(x, a, b)` at a or b", "0", "0", "1/2", "1"),
    ("`np.maximum(x, y)` at x = y, both differentiated", "1/2 each", "1/2 each", "1/2 each", "1/2 each"),
    ("`np.max(x)` of k equal elements", "1/k each", "1/k each", "1/k each", "1/k each (amax)"),
    ("`np.abs(x)` at 0", "0", "0", "1", "0"),
    ("`np.linalg.norm(x)` at 0", "0", "nan", "nan", "0"),
    ("`np.std(x)` of equal elements", "0", "nan", "nan", "0"),
    ("`np.hypot(x, 0.0)` at 0", "0", "nan", "1/2", "nan"),
    ("`np.where(x > 0, np.log(x), 0.0)` at 0", "0", "nan", "nan", "nan"),
    ("`np.prod(x)` with one zero", "right", "nan", "right", "right"),
)
CONCERNS = """\
Programs whose data lie exactly on a kink get other gradients when they move to fad. It concerns

* piecewise functions written with `np.minimum` and `np.maximum` against constants: the hazard of a survival model whose
  pieces are `np.minimum(20.0, t)`, at times of exactly 20, the knots of a spline, a hinge loss at its margin. The others take
  the mean of both sides there, fad 0. To say which side is meant, write `np.where(t < 20.0, t, 20.0)` (0 at 20) or
  `np.where(t <= 20.0, t, 20.0)` (1); for the mean, `(t + 20.0 - np.abs(t - 20.0)) / 2`.
* parameters that start at exactly 0 under `np.abs` or an L1 penalty: they stay, as in autograd and PyTorch.
* distances of a point to itself and standard deviations of constant columns, which elsewhere need an epsilon under the root.
"""

INTRODUCTION = """\
# Kinks

Where a function has no derivative, fad takes one element of its subdifferential: the one of least norm, unless the
table says otherwise. It is the same in forward and in reverse mode and in every nesting (tests/test_kinks.py).
Where the one-sided derivative is infinite, so is fad's. This page is generated by `python docs/make_kinks.py`
from the records in `fad/primitives/`.

**0 times infinity.** On a path through a selection (`where`, `maximum`, `sort`, indexing, pooling ...) zeros mean "not
taken", and 0 times anything is 0, whichever comes first; everywhere else it is NaN, as in NumPy. So
`np.where(x > 0, np.sqrt(x), 0)` has slope 0 at 0, `np.sqrt(x) ** 2` has NaN, and `(np.sqrt(x) ** 2)[0]`, which goes through
an index, has 0. A function that has reached its limit where an exponential overflowed selects likewise:
`1 / (1 + np.exp(-x))` has slope 0 at -1000. Both modes follow this rule, eager and compiled (tests/test_strong_zeros.py).

**Second derivatives at a kink.** The slope of |x| or of a norm jumps at 0 and has no derivative there: it is NaN. A 0 would be a
silent wrong number for the smooth functions that are written through these kinks. The common ones are known and right to
every order: even powers and products with itself of `abs`, `hypot`, norms and `std`, behind views, signs, factors and divisors
(`np.exp(-np.linalg.norm(x - y) ** 2 / 2)` at x = y has Hessian -I), and |x| ** p for p > 2. Write others with the square:
`np.cosh(np.linalg.norm(x))` is NaN there. What selects is taken as piecewise linear: `relu` and `maximum` have second
derivative 0.
"""


def table(head: tuple, rows: list) -> list[str]:
    """A Markdown table."""
    cells = [head, tuple("---" for _ in head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells] + [""]


def page() -> str:
    """The text of docs/kinks.md."""
    head = ("function", "where", "derivative taken", "why")
    records = [(f"`{name}`", k.at, k.value, k.why) for name, op in sorted(registry.items()) for k in op.kinks]
    compositions = [(f"`{name}`", k.at, k.value, k.why) for name, kinks in COMPOSITIONS.items() for k in kinks]
    lines = [
        INTRODUCTION,
        "## Primitives",
        "",
        *table(head, records),
        "## Functions written with them",
        "",
        *table(head, compositions),
        "## Spellings of one function",
        "",
    ]
    for what, value, agreeing, others in SPELLINGS:
        rows = [(", ".join(f"`{s}`" for s in agreeing), value, "")]
        rows += [(f"`{s}`", other, why) for s, other, why in others]
        lines += [f"The derivative of {what}:", "", *table(("spelling", "derivative", "why it differs"), rows)]
    lines += [
        "## The same points in other libraries",
        "",
        "fad, autograd 1.9 and JAX 0.10 were run; PyTorch's column follows its documented rules.",
        "",
        *table(("derivative of", "fad", "autograd", "JAX", "PyTorch"), list(ELSEWHERE)),
        CONCERNS,
    ]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
