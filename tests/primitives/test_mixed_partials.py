"""A law of every elementwise primitive of two float arguments: its mixed second derivatives are symmetric, at every special value.

The derivative by y of the slope by x comes from one rule of the record, the derivative by x of the slope by y from the other.
A rule that puts a constant where its value is special (``where(y == 0, 0, ...)``) is right itself, and loses its derivative.
"""

import itertools

import numpy as np
import pytest

import fad
import fad.nn
import fad.random
import fad.stax  # so that every record is in the registry
from fad.core.primitive import Jvp, Linear, Partials, registry

INF = np.inf
SPECIAL = (0.0, 0.5, 1.0, 2.0, 3.0, 23.0, -0.5, -1.0, -2.0, -3.0)
TWO_FLOATS = sorted(
    name
    for name, op in registry.items()
    if isinstance(op.derivative, Partials | Jvp | Linear)
    and len(op.domains) == 2
    and name not in ("copysign", "nextafter", "polygamma")
)
# Not differentiable where an argument is left out, at ties, or at the integers of x / y: there is no mixed derivative to be symmetric.
AT_KINKS = {"maximum", "minimum", "fmax", "fmin", "fmod", "remainder", "heaviside", "huber"}
# Slopes are infinite from one side, and how fast decides: x**y at x = 0 and its slopes, and what divides by 0.
SINGULAR = {name: lambda x, y: x == 0 for name in ("power", "float_power", "power_slope", "absolute_power", "signed_power")}
SINGULAR |= {
    "rel_entr": lambda x, y: x * y == 0,
    "kl_div": lambda x, y: x * y == 0,
    "powm1": lambda x, y: x == 0,
    "boxcox": lambda x, y: x == 0,
    "boxcox1p": lambda x, y: x == -1,
    "inv_boxcox": lambda x, y: x * y == -1,
    "inv_boxcox1p": lambda x, y: x * y == -1,
}
# At the ends of their domains and beyond: the law is for the inside.
SINGULAR |= dict.fromkeys(("gammainc", "gammaincc", "chdtr", "chdtrc"), lambda a, x: a <= 0 or x <= 0)
SINGULAR |= dict.fromkeys(("gammaincinv", "gammainccinv", "chdtri"), lambda a, p: a <= 0 or not 0 < p < 1)
SINGULAR |= {
    "stdtridf": lambda p, t: not 0.5 < p < 1 or t <= 0,
    "tklmbda": lambda x, l: abs(l) > 20,
    "divide": lambda x, y: y == 0,
    "direction": lambda x, y: y == 0,
    "hypot": lambda x, y: x == y == 0,
    "arctan2": lambda x, y: x == y == 0,
}


def mixed(op, x, y):
    """The two mixed derivatives, in each nesting of the modes."""
    forward = lambda f, k: lambda x, y: fad.jvp(lambda a: f(*((x, a) if k else (a, y))), ((x, y)[k],), (1.0,))[1]
    reverse = lambda f, k: fad.grad(f, k)
    for outer, inner in itertools.product((forward, reverse), repeat=2):
        yield outer(inner(op, 0), 1)(x, y), outer(inner(op, 1), 0)(x, y)


def test_the_law_runs_over_the_primitives_with_two_arguments():
    assert {
        "power",
        "float_power",
        "power_slope",
        "xlogy",
        "xlog1py",
        "logaddexp",
        "hypot",
        "arctan2",
        "divide",
        "multiply",
        "strong_multiply",
    } <= set(TWO_FLOATS)


@pytest.mark.parametrize("name", sorted(set(TWO_FLOATS) - AT_KINKS))
def test_mixed_partials_are_symmetric(name):
    op = registry[name]
    for x, y in itertools.product(SPECIAL, repeat=2):
        if name in SINGULAR and SINGULAR[name](x, y):
            continue
        for xy, yx in mixed(op, x, y):
            np.testing.assert_allclose(xy, yx, rtol=1e-12, atol=1e-14, err_msg=f"{name}({x}, {y})")


@pytest.mark.parametrize("op", [np.power, np.float_power], ids=["power", "float_power"])
@pytest.mark.parametrize("y", [0.0, 0.5, 1.0, 2.0, 3.0, -1.0])
def test_mixed_partials_of_powers_of_zero(op, y):
    """x**(y - 1) (1 + y log x) at x = 0: its limit, or NaN from two infinities."""
    for xy, yx in mixed(op, 0.0, y):
        assert xy == yx or (np.isnan(xy) and np.isnan(yx)), (xy, yx)


@pytest.mark.parametrize(
    ("f", "args", "value"),
    [
        (np.power, (23.0, 0.0), 1 / 23),
        (np.power, (2.0, 0.0), 1 / 2),
        (np.power, (2.0, 3.0), 4 * (1 + 3 * np.log(2))),
        (np.float_power, (2.0, 0.0), 0.5),
        (registry["xlogy"], (0.0, 2.0), 1 / 2),
        (registry["xlog1py"], (0.0, 2.0), 1 / 3),
        (lambda x, y: np.power(x + 0j, y).real, (2.0, 0.0), 1 / 2),
    ],
)
def test_mixed_partials_by_hand(f, args, value):
    for xy, yx in mixed(f, *args):
        np.testing.assert_allclose((xy, yx), value, rtol=1e-14)


LINES = [  # functions whose inner arguments pass a special value at t, and their n-th derivative there by mpmath.diff at 50 digits
    (lambda t: (2 + t) ** t, 0.0, 3, 1.6624661936687655),
    (lambda t: (1 + t) ** t, 0.0, 2, 2.0),
    (lambda t: np.real((1 + t + 0j) ** t), 0.0, 2, 2.0),
    (lambda t: registry["xlogy"](2 * t - 1, t + 1), 0.5, 2, 4 / 1.5),
    (lambda t: registry["xlog1py"](2 * t - 1, t), 0.5, 2, 4 / 1.5),
]


@pytest.mark.parametrize(("f", "t", "order", "value"), LINES)
def test_derivatives_along_a_line(f, t, order, value):
    forward = reverse = f
    for _ in range(order):
        forward = lambda t, g=forward: fad.jvp(g, (t,), (1.0,))[1]
        reverse = fad.grad(reverse)
    np.testing.assert_allclose((forward(t), reverse(t), fad.jit(reverse)(t)), value, rtol=1e-8)


def test_the_law_notices_a_guard_that_loses_the_next_derivative():
    op = registry["xlogy"]
    by_x, by_y = op.derivative.rules
    guarded = Partials((by_x, lambda z, x, y: np.where(x == 0, 0, x / np.where(x == 0, 1, y))))
    object.__setattr__(op, "derivative", guarded)
    try:
        with pytest.raises(AssertionError):
            test_mixed_partials_are_symmetric("xlogy")
    finally:
        object.__setattr__(op, "derivative", Partials((by_x, by_y)))
