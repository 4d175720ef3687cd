"""What the elementary functions are made of: polynomials, powers of two through the exponent bits, exact sums and products."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

from fad.compile.ir import Value, constant, fma, where

__all__ = ["bias", "bits_of", "digits", "horner", "inf", "nearest", "product", "quick_sum", "scaled", "split_log2",
           "truncated", "two_to"]

inf = math.inf


def digits(x: Value) -> int:
    """Bits of the significand after its leading one: 52 or 23."""
    return 52 if x.kind == "double" else 23


def bias(x: Value) -> int:
    """What the exponent field holds for 1.0: 1023 or 127."""
    return 1023 if x.kind == "double" else 127


def bits_of(number: float, like: Value) -> int:
    """The bit pattern of a number in the kind of a value."""
    return struct.unpack("<q", struct.pack("<d", number))[0] if like.kind == "double" \
        else struct.unpack("<i", struct.pack("<f", number))[0]


def horner(x: Value, coefficients: Sequence[float]) -> Value:
    """c0 + c1 x + c2 x² + ... Horner's chain is the shortest in instructions; other iterations fill its waits."""
    y = constant(coefficients[-1], x)
    for c in reversed(coefficients[:-1]):
        y = fma(y, x, c)
    return y


def nearest(x: Value, factor: float = 1.0) -> tuple[Value, Value]:
    """n = the integer next to factor x, as a float, and an integer whose low bits are n's (half of them, or 12).

    Adding 3/2 2^52 moves the binary point to the end of the significand, so the addition itself rounds."""
    magic = 1.5 * 2.0 ** digits(x)
    shifted = fma(x, factor, magic)
    return shifted - magic, shifted.bitcast()


def two_to(n: Value, like: Value, plus: int = 0) -> Value:
    """2^(n + plus), a normal number, from the integer n."""
    return ((n << digits(like)) + bits_of(2.0**plus, like)).bitcast()


def scaled(y: Value, n: Value) -> Value:
    """2^n y in two factors, so that subnormal results and overflow come out right: for |n| < 2000 (250)."""
    half = n.shift_right(1)
    return y * two_to(half, y) * two_to(n - half, y)


def split_log2(x: Value) -> tuple[Value, Value, Value]:
    """k, m, 2^-k with x = 2^k m and √½ <= m < √2, for positive finite x, subnormal too (2^-k: for |k| < 1023 (127))."""
    lift = digits(x) + 2
    unit, mask, root = 2.0 ** digits(x), (1 << digits(x)) - 1, bits_of(math.sqrt(0.5), x)
    tiny = x < 2.0 ** (1 - bias(x))
    bits = where(tiny, x * 2.0**lift, x).bitcast() + (bits_of(1.0, x) - root)
    field = bits.shift_right(digits(x)) | bits_of(unit, x)  # as a float: 2^52 + k + bias
    k = field.bitcast() - where(tiny, constant(unit + bias(x) + lift, x), unit + bias(x))
    m = ((bits & mask) + root).bitcast()
    inverse = ((2 * bias(x) << digits(x)) - (bits & ~mask)).bitcast()
    return k, m, inverse


def truncated(x: Value, drop: int) -> Value:
    """x without its last bits."""
    return (x.bitcast() & ~((1 << drop) - 1)).bitcast()


def quick_sum(a: Value, b: Value) -> tuple[Value, Value]:
    """hi + lo = a + b exactly, for |a| >= |b| or a = 0 (Dekker 1971)."""
    hi = a + b
    return hi, (a - hi) + b


def product(a: Value, b: Value) -> tuple[Value, Value]:
    """hi + lo = a b exactly; without fma by Dekker's splitting into halves."""
    hi = a * b
    if a.block.module.has_fma:
        return hi, fma(a, b, -hi)
    drop = digits(a) // 2 + 1
    a1, b1 = truncated(a, drop), truncated(b, drop)
    a2, b2 = a - a1, b - b1
    return hi, ((a1 * b1 - hi) + a1 * b2 + a2 * b1) + a2 * b2
