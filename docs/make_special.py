"""Write docs/special.md: by which arguments the functions of `scipy.special` are differentiated, and how exactly.

    python docs/make_special.py

`CASES` holds mpmath's functions and the domains on which derivatives are compared with differences of them in 60 digits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mpmath as m
import numpy as np
import scipy.special as sc

import fad
from fad.core.primitive import registry
from fad.primitives import load_primitives
from fad.primitives.refused import REFUSED
from fad.primitives.special import BY_SCIPY, UNKNOWN

load_primitives()
PAGE = Path(__file__).with_name("special.md")
POINTS = 150  # for each function
HALF = m.mpf(1) / 2


def logs(low: float, high: float) -> tuple:
    """Numbers between 10^low and 10^high, drawn by their logarithms."""
    return "log", low, high


def wholes(low: int, high: int) -> tuple:
    """Whole numbers, by which no derivative is taken."""
    return "whole", low, high


def draw(rng: np.random.Generator, domain: tuple) -> Any:
    if domain[0] == "log":
        return float(10 ** rng.uniform(*domain[1:]))
    return int(rng.integers(domain[1], domain[2] + 1)) if domain[0] == "whole" else float(rng.uniform(*domain))


def shown(domain: tuple) -> str:
    """A domain as the page has it."""
    if domain[0] == "log":
        return f"[1e{domain[1]:g}, 1e{domain[2]:g}]"
    return f"{domain[1]}, ..., {domain[2]}" if domain[0] == "whole" else f"[{domain[0]:g}, {domain[1]:g}]"


def lower(a: Any, x: Any) -> Any:
    return m.gammainc(a, 0, x, regularized=True)


def upper(a: Any, x: Any) -> Any:
    return m.gammainc(a, x, m.inf, regularized=True)


def beta(a: Any, b: Any, x: Any) -> Any:
    return m.betainc(a, b, 0, x, regularized=True)


def student(df: Any, t: Any) -> Any:
    tail = beta(df / 2, HALF, df / (df + t * t)) / 2
    return tail if t < 0 else 1 - tail


def owens(h: Any, a: Any) -> Any:
    return m.quad(lambda t: m.exp(-h * h * (1 + t * t) / 2) / (1 + t * t), [0, a]) / (2 * m.pi)


def kolmogorov(x: Any) -> Any:
    return 2 * m.nsum(lambda k: (-1) ** (int(k) - 1) * m.exp(-2 * (k * x) ** 2), [1, 60])


def wofz(z: Any) -> Any:
    return m.exp(-z * z) * m.erfc(-1j * z)


def voigt(x: Any, s: Any, g: Any) -> Any:
    return m.re(wofz((x + 1j * g) / (s * m.sqrt(2)))) / (s * m.sqrt(2 * m.pi))


WIDE, SMALL, UNIT = logs(-2, 2), logs(-1, 1), (0.01, 0.99)
ORDER = wholes(0, 5)
# name: (mpmath's function, a domain for each argument); whole numbers are no variables
CASES: dict[str, tuple[Callable, tuple]] = {
    "gamma": (m.gamma, ((0.01, 150.0),)),
    "gammaln": (m.loggamma, (logs(-3, 6),)),
    "loggamma": (m.loggamma, (logs(-3, 6),)),
    "rgamma": (m.rgamma, ((-6.0, 150.0),)),
    "psi": (lambda x: m.psi(0, x), (logs(-3, 6),)),
    "beta": (m.beta, (SMALL, SMALL)),
    "betaln": (lambda a, b: m.log(m.beta(a, b)), (SMALL, SMALL)),
    "poch": (m.rf, (SMALL, SMALL)),
    "binom": (m.binomial, ((5.0, 20.0), (0.1, 4.9))),
    "gammainc": (lower, (logs(-2, 4), logs(-1, 3))),
    "gammaincc": (upper, (logs(-2, 3), logs(-1, 2.8))),
    "betainc": (beta, (WIDE, SMALL, UNIT)),
    "betaincc": (lambda a, b, x: beta(b, a, 1 - x), (SMALL, WIDE, UNIT)),
    "stdtr": (student, (WIDE, (-10.0, 0.0))),
    "chdtr": (lambda v, x: lower(v / 2, x / 2), (WIDE, SMALL)),
    "chdtrc": (lambda v, x: upper(v / 2, x / 2), (SMALL, WIDE)),
    "gdtr": (lambda a, b, x: lower(b, a * x), (SMALL, SMALL, SMALL)),
    "gdtrc": (lambda a, b, x: upper(b, a * x), (SMALL, SMALL, SMALL)),
    "pdtr": (lambda k, x: upper(k + 1, x), (ORDER, SMALL)),
    "pdtrc": (lambda k, x: lower(k + 1, x), (ORDER, SMALL)),
    "bdtr": (lambda k, n, p: beta(n - k, k + 1, 1 - p), (ORDER, wholes(6, 12), UNIT)),
    "bdtrc": (lambda k, n, p: beta(k + 1, n - k, p), (ORDER, wholes(6, 12), UNIT)),
    "nbdtr": (lambda k, n, p: beta(n, k + 1, p), (ORDER, wholes(1, 6), UNIT)),
    "nbdtrc": (lambda k, n, p: beta(k + 1, n, 1 - p), (ORDER, wholes(1, 6), UNIT)),
    "fdtr": (lambda n, d, x: beta(n / 2, d / 2, n * x / (d + n * x)), (SMALL, SMALL, SMALL)),
    "kolmogorov": (kolmogorov, ((0.3, 4.0),)),
    "owens_t": (owens, ((0.1, 3.0), (0.1, 3.0))),
    "erf": (m.erf, ((-5.0, 5.0),)),
    "erfc": (m.erfc, ((-5.0, 20.0),)),
    "erfcx": (lambda x: m.exp(x * x) * m.erfc(x), (logs(-3, 5),)),
    "erfi": (m.erfi, ((-5.0, 5.0),)),
    "dawsn": (lambda x: m.sqrt(m.pi) / 2 * m.exp(-x * x) * m.erfi(x), ((1.5, 60.0),)),
    "log_ndtr": (lambda x: m.log(m.erfc(-x / m.sqrt(2)) / 2), ((-50.0, 8.0),)),
    "voigt_profile": (voigt, ((0.5, 3.0), (0.3, 1.0), (0.1, 2.0))),
    "exp1": (m.e1, (logs(-3, 2),)),
    "expi": (m.ei, (logs(-3, 2),)),
    "expn": (m.expint, (ORDER, SMALL)),
    "exprel": (lambda x: m.expm1(x) / x, ((-20.0, 20.0),)),
    "zetac": (lambda x: m.zeta(x) - 1, ((1.05, 15.0),)),
    "spence": (lambda z: m.polylog(2, 1 - z), ((0.05, 1.9),)),
    **{f"{k}v": (f, (ORDER, SMALL)) for k, f in (("j", m.besselj), ("y", m.bessely), ("i", m.besseli), ("k", m.besselk))},
    "struve": (m.struveh, (ORDER, SMALL)),
    "modstruve": (m.struvel, (ORDER, SMALL)),
    "ber": (lambda x: m.ber(0, x), (SMALL,)),
    "bei": (lambda x: m.bei(0, x), (SMALL,)),
    "ker": (lambda x: m.ker(0, x), (SMALL,)),
    "kei": (lambda x: m.kei(0, x), (SMALL,)),
    "hyp0f1": (m.hyp0f1, (wholes(1, 5), (-5.0, 5.0))),
    "hyp1f1": (m.hyp1f1, (wholes(1, 5), wholes(1, 5), (-5.0, 5.0))),
    "hyp2f1": (m.hyp2f1, (wholes(1, 5), wholes(1, 5), wholes(1, 5), (-0.8, 0.8))),
    "hyperu": (m.hyperu, (wholes(1, 4), wholes(1, 4), SMALL)),
    "ellipk": (m.ellipk, ((-5.0, 0.99),)),
    "ellipe": (m.ellipe, ((-5.0, 0.99),)),
    "ellipkinc": (m.ellipf, ((0.1, 1.5), (-2.0, 0.9))),
    "ellipeinc": (m.ellipe, ((0.1, 1.5), (-2.0, 0.9))),
    "elliprc": (m.elliprc, (WIDE, WIDE)),
    "elliprf": (m.elliprf, (WIDE, WIDE, WIDE)),
    "elliprd": (m.elliprd, (WIDE, WIDE, WIDE)),
    "elliprj": (m.elliprj, (WIDE, WIDE, WIDE, WIDE)),
    "elliprg": (m.elliprg, (SMALL, SMALL, SMALL)),
    "agm": (m.agm, (WIDE, WIDE)),
    "eval_legendre": (m.legendre, (ORDER, (-0.95, 0.95))),
    "eval_chebyt": (m.chebyt, (ORDER, (-0.95, 0.95))),
    "eval_chebyu": (m.chebyu, (ORDER, (-0.95, 0.95))),
    "eval_gegenbauer": (m.gegenbauer, (ORDER, wholes(1, 4), (-0.95, 0.95))),
    "eval_jacobi": (m.jacobi, (ORDER, wholes(0, 4), wholes(0, 4), (-0.95, 0.95))),
    "eval_genlaguerre": (m.laguerre, (ORDER, wholes(0, 4), (0.1, 10.0))),
    "eval_laguerre": (lambda n, x: m.laguerre(n, 0, x), (ORDER, (0.1, 10.0))),
    "eval_hermite": (m.hermite, (ORDER, (-3.0, 3.0))),
}


def points(name: str, count: int) -> Iterator[tuple]:
    """Points of its domain, always the same."""
    rng = np.random.default_rng(sum(map(ord, name)))
    for _ in range(count):
        yield tuple(draw(rng, domain) for domain in CASES[name][1])


def slope(f: Callable, point: tuple, i: int) -> float:
    """A central difference in 60 digits."""
    with m.workdps(60):
        exact = [m.mpf(v) if isinstance(v, float) else v for v in point]
        step = m.mpf(10) ** -18 * max(1, abs(exact[i])) if abs(exact[i]) > 1 else m.mpf(10) ** -20
        ends = [f(*exact[:i], exact[i] + s * step, *exact[i + 1 :]) for s in (1, -1)]
        return float(m.re((ends[0] - ends[1]) / (2 * step)))


def variables(name: str) -> list[int]:
    return [i for i, domain in enumerate(CASES[name][1]) if domain[0] != "whole"]


def error(name: str, point: tuple, i: int) -> float:
    """That of the derivative, relative to it."""
    want = slope(CASES[name][0], point, i)
    got = float(fad.grad(getattr(sc, name), i)(*point))
    return abs(got - want) / abs(want) if abs(want) > 1e-290 else abs(got - want)


def largest_error(name: str, count: int) -> float:
    """The largest at `count` points, by any variable. What oscillates is exact relative to its usual size near its zeros."""
    worst = 0.0
    for i in variables(name):
        drawn = list(points(name, count))
        typical = np.median([abs(slope(CASES[name][0], point, i)) for point in drawn[:9]])
        for point in drawn:
            size = abs(slope(CASES[name][0], point, i))
            worst = max(worst, error(name, point, i) * min(1.0, size / (1e-3 * typical) if name in OSCILLATES else 1.0))
    return worst


OSCILLATES = {name for name in CASES if name.startswith(("eval_", "jv", "yv", "be", "ke", "rgamma", "hyp", "dawsn", "struve"))}
INTRODUCTION = """\
# Special functions

The ufuncs of `scipy.special` take nodes as they are. This page is generated by `python docs/make_special.py`: for each function the
arguments by which it is differentiated (0 is the first), where derivatives were compared with mpmath's in 60 digits, at {points}
points, and the largest relative error found there. Orders above the first follow from the same rules. "laws" says that
tests/test_laws.py holds it against differences. tests/primitives/test_special_table.py keeps the page true.
"""


def ufuncs() -> dict[str, np.ufunc]:
    """Those of scipy.special, one name each."""
    named = {name: f for name, f in vars(sc).items() if isinstance(f, np.ufunc)}
    return dict(sorted({f.__name__ if f.__name__ in named else name: f for name, f in named.items()}.items()))


def record(name: str) -> Any:
    """The record behind a ufunc; None where it is composed of several."""
    aliases = {"psi": "digamma"}
    return BY_SCIPY.get(aliases.get(name, name)) or registry.get(name)


def row(name: str, ufunc: np.ufunc, count: int) -> tuple[str, ...]:
    """One line of the table."""
    refused = {argument for function, argument in UNKNOWN if function == name}
    op = record(name)
    rules = getattr(getattr(op, "derivative", None), "rules", ())
    by = [i for i in range(ufunc.nin) if i >= len(rules) or getattr(rules[i], "__name__", "") != "refuse"]
    constant = op is not None and op.derivative is None
    arguments = "constant" if constant else ", ".join(map(str, by)) + (f"; not by {', '.join(sorted(refused))}" if refused else "")
    domain, found = "", "laws"
    if name in CASES:
        domain, found = " × ".join(map(shown, CASES[name][1])), f"{largest_error(name, count):.0e}"
    return f"`{name}`", arguments, domain, found, (op.source if op is not None else "")


def table(head: tuple, rows: list) -> list[str]:
    """A Markdown table."""
    cells = [head, tuple("---" for _ in head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in cells] + [""]


def page(count: int = POINTS) -> str:
    """The text of docs/special.md."""
    rows = [row(name, ufunc, count) for name, ufunc in ufuncs().items() if name not in REFUSED]
    reasons = [(f"`{name}`", argument, reason) for (name, argument), reason in sorted(UNKNOWN.items())]
    lines = [
        INTRODUCTION.format(points=count),
        *table(("function", "by", "domain", "largest error", "source"), rows),
        "## Arguments without a derivative",
        "",
        *table(("function", "argument", "why"), reasons),
        "## Functions without one",
        "",
        *table(("function", "why"), [(f"`{name}`", reason) for name, reason in sorted(REFUSED.items())]),
    ]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
