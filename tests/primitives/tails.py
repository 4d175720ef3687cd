"""The elementwise functions of real numbers and their derivatives up to the third, in mpmath: the oracle of test_tails.py.

``f`` is the function, ``slopes`` its derivatives in closed form; test_tails.py checks these against differences of ``f``, at
points where differences are easy. Closed forms keep their digits in the tails, where the law looks.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import mpmath
from mpmath import (
    acosh,
    asin,
    asinh,
    atan,
    atan2,
    atanh,
    cos,
    cosh,
    exp,
    expm1,
    floor,
    log,
    mp,
    power,
    psi,
    sign,
    sin,
    sinh,
    sqrt,
    tan,
    tanh,
)

ORDERS = {1: ((1,), (2,), (3,)), 2: ((1, 0), (0, 1), (2, 0), (1, 1), (0, 2), (3, 0), (0, 3))}


@dataclass(frozen=True, eq=False)
class Definition:
    """``slopes(*args)`` gives the derivatives of the orders above. ``domain`` says where the function is looked at,
    ``point`` where differences of it are taken."""

    f: Callable
    slopes: Callable
    domain: Callable = lambda *args: True
    point: tuple = (0.7,)
    digits: int = 40
    known: dict = field(default_factory=dict)

    def derivative(self, args: tuple, orders: tuple) -> mpmath.mpf:
        """Its value at floats."""
        if args not in self.known:
            with mpmath.workdps(self.digits):
                self.known[args] = self.slopes(*map(mpmath.mpf, args))
        return self.known[args][ORDERS[len(orders)].index(orders)]


def linear(f: Callable, slope: Callable) -> Definition:
    return Definition(f, lambda x: (slope(x), 0, 0))


def of_sine(x: mpmath.mpf) -> tuple:
    """sin(pi x) / (pi x) = f: x f^(n) + n f^(n-1) is the n-th derivative of sin(pi x) / pi."""
    found = [sin(mp.pi * x) / (mp.pi * x)]
    for n in (1, 2, 3):
        found.append((mp.pi ** (n - 1) * (cos, lambda t: -sin(t), lambda t: -cos(t))[n - 1](mp.pi * x) - n * found[-1]) / x)
    return tuple(found[1:])


def of_logistic(x: mpmath.mpf) -> tuple:
    """p, 1 - p, p' = p (1 - p) and p'' = p' (1 - 2 p) = -p' tanh(x / 2) for p = 1 / (1 + exp(-x))."""
    p, q = 1 / (1 + exp(-x)), 1 / (1 + exp(x))
    return p, q, p * q, -p * q * tanh(x / 2)


def of_gauss(x: mpmath.mpf, scale: mpmath.mpf) -> tuple:
    """scale exp(-x^2) and its first two derivatives."""
    g = scale * exp(-x * x)
    return g, -2 * x * g, (4 * x * x - 2) * g


def of_inverse_error(x: mpmath.mpf) -> tuple:
    y = mpmath.erfinv(x)
    slope = sqrt(mp.pi) / 2 * exp(y * y)
    return slope, 2 * y * slope**2, (2 + 8 * y * y) * slope**3


def of_quantile(p: mpmath.mpf) -> tuple:
    x = sqrt(2) * mpmath.erfinv(2 * p - 1)
    slope = 1 / mpmath.npdf(x)
    return slope, x * slope**2, (1 + 2 * x * x) * slope**3


def of_hyperbolic_tangent(x: mpmath.mpf) -> tuple:
    t, s = tanh(x), 1 / cosh(x) ** 2
    return s, -2 * t * s, (4 * t * t - 2 * s) * s


def of_tangent(x: mpmath.mpf) -> tuple:
    t = tan(x)
    s = 1 + t * t
    return s, 2 * t * s, (4 * t * t + 2 * s) * s


positive = lambda x: x > 0
between = lambda x: abs(x) < 1

ONE = {
    "negative": linear(lambda x: -x, lambda x: -1),
    "positive": linear(lambda x: x, lambda x: 1),
    "astype": linear(lambda x: x, lambda x: 1),
    "real": linear(lambda x: x, lambda x: 1),
    "conjugate": linear(lambda x: x, lambda x: 1),
    "deg2rad": linear(mpmath.radians, lambda x: mp.pi / 180),
    "rad2deg": linear(mpmath.degrees, lambda x: 180 / mp.pi),
    "fabs": linear(abs, sign),
    "absolute": linear(abs, sign),
    "reciprocal": Definition(lambda x: 1 / x, lambda x: (-1 / x**2, 2 / x**3, -6 / x**4)),
    "square": Definition(lambda x: x * x, lambda x: (2 * x, 2, 0)),
    "sqrt": Definition(sqrt, lambda x: (1 / (2 * sqrt(x)), -1 / (4 * x * sqrt(x)), 3 / (8 * x * x * sqrt(x))), positive),
    "cbrt": Definition(
        lambda x: sign(x) * mpmath.cbrt(abs(x)),
        lambda x: tuple(
            c * sign(x) * mpmath.cbrt(abs(x)) / x**n
            for n, c in enumerate((mpmath.mpf(1) / 3, mpmath.mpf(-2) / 9, mpmath.mpf(10) / 27), 1)
        ),
    ),
    "exp": Definition(exp, lambda x: (exp(x),) * 3),
    "exp2": Definition(lambda x: power(2, x), lambda x: tuple(log(2) ** n * power(2, x) for n in (1, 2, 3))),
    "expm1": Definition(expm1, lambda x: (exp(x),) * 3),
    "log": Definition(log, lambda x: (1 / x, -1 / x**2, 2 / x**3), positive),
    "log2": Definition(lambda x: log(x, 2), lambda x: tuple(c / x**n / log(2) for n, c in ((1, 1), (2, -1), (3, 2))), positive),
    "log10": Definition(mpmath.log10, lambda x: tuple(c / x**n / log(10) for n, c in ((1, 1), (2, -1), (3, 2))), positive),
    "log1p": Definition(mpmath.log1p, lambda x: (1 / (1 + x), -1 / (1 + x) ** 2, 2 / (1 + x) ** 3), lambda x: x > -1),
    "sin": Definition(sin, lambda x: (cos(x), -sin(x), -cos(x))),
    "cos": Definition(cos, lambda x: (-sin(x), -cos(x), sin(x))),
    "tan": Definition(tan, of_tangent),
    "sinc": Definition(lambda x: sin(mp.pi * x) / (mp.pi * x), of_sine, digits=1600),
    "arcsin": Definition(
        asin, lambda x: (1 / sqrt(1 - x * x), x / sqrt(1 - x * x) ** 3, (1 + 2 * x * x) / sqrt(1 - x * x) ** 5), between
    ),
    "arccos": Definition(
        mpmath.acos, lambda x: (-1 / sqrt(1 - x * x), -x / sqrt(1 - x * x) ** 3, -(1 + 2 * x * x) / sqrt(1 - x * x) ** 5), between
    ),
    "arctan": Definition(atan, lambda x: (1 / (1 + x * x), -2 * x / (1 + x * x) ** 2, (6 * x * x - 2) / (1 + x * x) ** 3)),
    "sinh": Definition(sinh, lambda x: (cosh(x), sinh(x), cosh(x))),
    "cosh": Definition(cosh, lambda x: (sinh(x), cosh(x), sinh(x))),
    "tanh": Definition(tanh, of_hyperbolic_tangent),
    "arcsinh": Definition(
        asinh, lambda x: (1 / sqrt(1 + x * x), -x / sqrt(1 + x * x) ** 3, (2 * x * x - 1) / sqrt(1 + x * x) ** 5)
    ),
    "arccosh": Definition(
        acosh,
        lambda x: (1 / sqrt(x * x - 1), -x / sqrt(x * x - 1) ** 3, (2 * x * x + 1) / sqrt(x * x - 1) ** 5),
        lambda x: x > 1,
        point=(1.7,),
    ),
    "arctanh": Definition(
        atanh, lambda x: (1 / (1 - x * x), 2 * x / (1 - x * x) ** 2, (6 * x * x + 2) / (1 - x * x) ** 3), between
    ),
    "expit": Definition(
        lambda x: 1 / (1 + exp(-x)),
        lambda x: (of_logistic(x)[2], of_logistic(x)[3], of_logistic(x)[2] * (1 - 6 * of_logistic(x)[2])),
    ),
    "logit": Definition(
        lambda x: log(x / (1 - x)),
        lambda x: (1 / (x * (1 - x)), (2 * x - 1) / (x * (1 - x)) ** 2, 2 * (1 - 3 * x * (1 - x)) / (x * (1 - x)) ** 3),
        lambda x: 0 < x < 1,
    ),
    "log_expit": Definition(
        lambda x: -mpmath.log1p(exp(-x)), lambda x: (of_logistic(x)[1], -of_logistic(x)[2], -of_logistic(x)[3])
    ),
    "softplus": Definition(lambda x: mpmath.log1p(exp(x)), lambda x: (of_logistic(x)[0], of_logistic(x)[2], of_logistic(x)[3])),
    "erf": Definition(mpmath.erf, lambda x: of_gauss(x, 2 / sqrt(mp.pi))),
    "erfc": Definition(mpmath.erfc, lambda x: of_gauss(x, -2 / sqrt(mp.pi))),
    "ndtr": Definition(mpmath.ncdf, lambda x: (mpmath.npdf(x), -x * mpmath.npdf(x), (x * x - 1) * mpmath.npdf(x))),
    "erfinv": Definition(mpmath.erfinv, of_inverse_error, between),
    "ndtri": Definition(lambda p: sqrt(2) * mpmath.erfinv(2 * p - 1), of_quantile, lambda p: 1e-12 < p < 1),
    "gammaln": Definition(mpmath.loggamma, lambda x: (psi(0, x), psi(1, x), psi(2, x)), positive),
    "digamma": Definition(lambda x: psi(0, x), lambda x: (psi(1, x), psi(2, x), psi(3, x)), positive),
    "entr": Definition(lambda x: -x * log(x), lambda x: (-1 - log(x), -1 / x, 1 / x**2), positive),
}


def of_logs(x: mpmath.mpf, y: mpmath.mpf, base: mpmath.mpf) -> tuple:
    """Of the logarithm to a base of the sum of two powers of it."""
    p, q, s, bend = of_logistic((x - y) * log(base))
    s, bend = s * log(base), bend * log(base) ** 2
    return p, q, s, -s, s, bend, -bend


def of_radius(x: mpmath.mpf, y: mpmath.mpf) -> tuple:
    r = sqrt(x * x + y * y)
    return x / r, y / r, y * y / r**3, -x * y / r**3, x * x / r**3, -3 * x * y * y / r**5, -3 * y * x * x / r**5


def of_angle(y: mpmath.mpf, x: mpmath.mpf) -> tuple:
    s = x * x + y * y
    return (
        x / s,
        -y / s,
        -2 * x * y / s**2,
        (y * y - x * x) / s**2,
        2 * x * y / s**2,
        2 * x * (3 * y * y - x * x) / s**3,
        2 * y * (y * y - 3 * x * x) / s**3,
    )


def of_power(x: mpmath.mpf, y: mpmath.mpf) -> tuple:
    z, ell = power(x, y), log(x)
    return (
        y * z / x,
        ell * z,
        y * (y - 1) * z / x**2,
        (1 + y * ell) * z / x,
        ell**2 * z,
        y * (y - 1) * (y - 2) * z / x**3,
        ell**3 * z,
    )


first = lambda f, slopes: Definition(f, lambda x, y: (*slopes(x, y), 0, 0, 0, 0, 0), point=(0.7, 0.4))
either = lambda f: Definition(f, lambda x, y: (f(x, y) == x, f(x, y) == y, 0, 0, 0, 0, 0), lambda x, y: x != y, (0.7, 0.4))
whole = lambda x, y: abs(x / y) < 1e15  # the quotient is a float

TWO = {
    "add": first(lambda x, y: x + y, lambda x, y: (1, 1)),
    "subtract": first(lambda x, y: x - y, lambda x, y: (1, -1)),
    "multiply": Definition(lambda x, y: x * y, lambda x, y: (y, x, 0, 1, 0, 0, 0), point=(0.7, 0.4)),
    "strong_multiply": Definition(lambda x, y: x * y, lambda x, y: (y, x, 0, 1, 0, 0, 0), point=(0.7, 0.4)),
    "divide": Definition(
        lambda x, y: x / y, lambda x, y: (1 / y, -x / y**2, 0, -1 / y**2, 2 * x / y**3, 0, -6 * x / y**4), point=(0.7, 0.4)
    ),
    "fmod": Definition(lambda x, y: x - y * int(x / y), lambda x, y: (1, -int(x / y), 0, 0, 0, 0, 0), whole, (0.7, 0.4), 420),
    "remainder": Definition(
        lambda x, y: x - y * floor(x / y), lambda x, y: (1, -floor(x / y), 0, 0, 0, 0, 0), whole, (0.7, 0.4), 420
    ),
    "copysign": first(lambda x, y: abs(x) * sign(y), lambda x, y: (sign(x) * sign(y), 0)),
    "heaviside": first(lambda x, y: mpmath.mpf(x > 0), lambda x, y: (0, 0)),
    "maximum": either(max),
    "minimum": either(min),
    "fmax": either(max),
    "fmin": either(min),
    "power": Definition(power, of_power, lambda x, y: x > 0, (0.7, 0.4)),
    "float_power": Definition(power, of_power, lambda x, y: x > 0, (0.7, 0.4)),
    "hypot": Definition(lambda x, y: sqrt(x * x + y * y), of_radius, point=(0.7, 0.4)),
    "arctan2": Definition(atan2, of_angle, point=(0.7, 0.4)),
    "logaddexp": Definition(lambda x, y: log(exp(x) + exp(y)), lambda x, y: of_logs(x, y, mp.e), point=(0.7, 0.4)),
    "logaddexp2": Definition(
        lambda x, y: log(power(2, x) + power(2, y), 2), lambda x, y: of_logs(x, y, mpmath.mpf(2)), point=(0.7, 0.4)
    ),
    "xlogy": Definition(
        lambda x, y: x * log(y), lambda x, y: (log(y), x / y, 0, 1 / y, -x / y**2, 0, 2 * x / y**3), lambda x, y: y > 0, (0.7, 0.4)
    ),
    "xlog1py": Definition(
        lambda x, y: x * log(1 + y),
        lambda x, y: (mpmath.log1p(y), x / (1 + y), 0, 1 / (1 + y), -x / (1 + y) ** 2, 0, 2 * x / (1 + y) ** 3),
        lambda x, y: y > -1,
        (0.7, 0.4),
    ),
}
