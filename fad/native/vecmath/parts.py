"""What the elementary functions are made of: polynomials, powers of two through the exponent bits, exact sums and products.

AVX-512 has instructions for 2^n y and for x = 2^k m; elsewhere a few integer operations on the bits do the same.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

from fad.native.cpu import machine
from fad.native.ir import Value, constant, fma, typed, where, write

__all__ = [
    "bias",
    "bits_of",
    "digits",
    "horner",
    "inf",
    "minus_product",
    "nearest",
    "product",
    "quick_sum",
    "scaled",
    "significand",
    "truncated",
    "two_to",
]

inf = math.inf


def digits(x: Value) -> int:
    """Bits of the significand after its leading one: 52 or 23."""
    return 52 if x.kind == "double" else 23


def bias(x: Value) -> int:
    """What the exponent field holds for 1.0: 1023 or 127."""
    return 1023 if x.kind == "double" else 127


def bits_of(number: float, like: Value) -> int:
    """The bit pattern of a number in the kind of a value."""
    return (
        struct.unpack("<q", struct.pack("<d", number))[0]
        if like.kind == "double"
        else struct.unpack("<i", struct.pack("<f", number))[0]
    )


def horner(x: Value, coefficients: Sequence[float]) -> Value:
    """c0 + c1 x + c2 x² + ... Horner's chain has the fewest instructions; other iterations fill the waits in it."""
    y = constant(coefficients[-1], x)
    for c in reversed(coefficients[:-1]):
        y = fma(y, x, c)
    return y


def nearest(x: Value, factor: float = 1.0) -> tuple[Value, Value]:
    """n = the integer next to factor x, as a float, and as an integer of which only the low bits (half of them) are n's.

    Adding 3/2 2^52 moves the binary point to the end of the significand, so that the addition rounds."""
    magic = 1.5 * 2.0 ** digits(x)
    shifted = fma(x, factor, magic)
    return shifted - magic, shifted.bitcast()


# -- powers of two --------------------------------------------------------------------------------------------------------


def two_to(n: Value, like: Value, plus: int = 0) -> Value:
    """2^(n + plus), a normal number, from the integer n."""
    return ((n << digits(like)) + bits_of(2.0**plus, like)).bitcast()


def scaled(y: Value, n: Value, bits: Value) -> Value:
    """2^n y for n as `nearest` gives it, |n| < 2000 (250): in two factors, so that subnormals and overflow come out right."""
    if has_avx512(y):
        return avx512("scalef", y, n)
    half = bits.shift_right(1)
    return y * two_to(half, y) * two_to(bits - half, y)


def significand(x: Value) -> tuple[Value, Value]:
    """k, m with x = 2^k m and 3/4 <= m < 3/2, for subnormal x too. At 0 and inf k is -inf and inf, else k + m is NaN."""
    if has_avx512(x):
        k, m = avx512("getexp", x), avx512("getmant", x, immediate=15)  # in [3/4, 3/2), NaN below 0
        return where(m < 1.0, k + 1.0, k), m
    lift, unit, mask, low = digits(x) + 2, 2.0 ** digits(x), (1 << digits(x)) - 1, bits_of(0.75, x)
    tiny = x < 2.0 ** (1 - bias(x))
    bits = where(tiny, x * 2.0**lift, x).bitcast() + (bits_of(1.0, x) - low)
    field = bits.shift_right(digits(x)) | bits_of(unit, x)  # as a float: 2^52 + bias + k
    k = field.bitcast() - where(tiny, constant(unit + bias(x) + lift, x), unit + bias(x))
    special = where(x == 0, -inf, where(x < 0, math.nan, x))
    return where((x > 0) & (x < inf), k, special), ((bits & mask) + low).bitcast()


def has_avx512(x: Value) -> bool:
    """Whether a value fills 1, 2, 4 or 8 registers of 512 bits."""
    return x.block.module.has_fma and machine().vector_bytes == 64 and x.lanes * x.bits in (512, 1024, 2048, 4096)


def avx512(name: str, *operands: Value, immediate: int | None = None) -> Value:
    """An AVX-512 instruction on every lane, register by register."""
    x = operands[0]
    lanes = 512 // x.bits
    one = typed(x.kind, lanes)
    rest: list[tuple] = [] if immediate is None else [("i32", immediate)]
    rest += [(one, "zeroinitializer"), (f"i{lanes}", -1), ("i32", 4)]  # no lane is masked out; rounding as it is set
    function = f"@llvm.x86.avx512.mask.{name}.{'pd' if x.kind == 'double' else 'ps'}.512"
    x.block.module.declare(f"declare {one} {function}({', '.join([one] * len(operands) + [kind for kind, _ in rest])})")

    def register(k: int) -> Value:
        parts = [o if o.lanes == lanes else shuffled((o, o), range(k, k + lanes)) for o in operands]
        arguments = [f"{p.type} {p.name}" for p in parts] + [f"{kind} {value}" for kind, value in rest]
        return write(f"call {one} {function}({', '.join(arguments)})", x.kind, lanes, *parts)

    results = [register(k) for k in range(0, x.lanes, lanes)]
    while len(results) > 1:
        results = [shuffled(pair, range(2 * pair[0].lanes)) for pair in zip(results[::2], results[1::2])]
    return results[0]


def shuffled(pair: tuple[Value, Value], lanes: Sequence[int]) -> Value:
    """Lanes chosen from two vectors written one after the other."""
    a, b = pair
    chosen = ", ".join(f"i32 {k}" for k in lanes)
    return write(f"shufflevector {a.type} {a.name}, {b.type} {b.name}, <{len(lanes)} x i32> <{chosen}>", a.kind, len(lanes), a, b)


# -- sums and products in two parts -----------------------------------------------------------------------------------------


def truncated(x: Value, drop: int) -> Value:
    """x without its last bits."""
    return (x.bitcast() & ~((1 << drop) - 1)).bitcast()


def quick_sum(a: Value | float, b: Value) -> tuple[Value, Value]:
    """hi + lo = a + b exactly, for |a| >= |b| or a = 0 (Dekker 1971)."""
    hi = a + b
    return hi, (a - hi) + b


def product(a: Value, b: Value | float) -> tuple[Value, Value]:
    """hi + lo = a b exactly; without fma by Dekker's splitting into halves."""
    hi = a * b
    if a.block.module.has_fma:
        return hi, fma(a, b, -hi)
    b = b if isinstance(b, Value) else constant(b, a)
    a1, b1 = (truncated(x, digits(x) // 2 + 1) for x in (a, b))
    a2, b2 = a - a1, b - b1
    return hi, ((a1 * b1 - hi) + a1 * b2 + a2 * b1) + a2 * b2


def minus_product(c: Value, a: Value, b: Value | float) -> Value:
    """c - a b, exact where it is small against c and representable, with and without fma."""
    if c.block.module.has_fma:
        return fma(-a, b, c)
    hi, lo = product(a, b)
    return (c - hi) - lo
