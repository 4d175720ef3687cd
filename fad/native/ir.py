"""LLVM IR as text, written through values that know their type: `x * y + 1.0` appends instructions.

A `Block` is a straight piece of code with loops in it; an instruction goes to the innermost block that one of its
operands belongs to, and the same instruction is written once there. So loop invariants are hoisted and common
subexpressions shared as the text is made, and little is left for an optimiser to find.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

__all__ = [
    "Block",
    "Value",
    "by_libm",
    "call",
    "constant",
    "fma",
    "itemsize",
    "literal",
    "resized",
    "same",
    "typed",
    "unflattened",
    "where",
    "write",
]

KINDS = {
    "f8": "double",
    "f4": "float",
    "i8": "i64",
    "i4": "i32",
    "i2": "i16",
    "i1": "i8",
    "u8": "i64",
    "u4": "i32",
    "u2": "i16",
    "u1": "i8",
    "b1": "i1",
}  # NumPy's dtype.str without byte order -> LLVM
FLOATS = ("double", "float")
BITS = {"double": 64, "float": 32, "i64": 64, "i32": 32, "i16": 16, "i8": 8, "i1": 1}
TWIN = {"double": "i64", "float": "i32", "i64": "double", "i32": "float"}  # bit patterns


def typed(kind: str, lanes: int) -> str:
    """The LLVM type of a vector, or of a scalar where there is one lane."""
    return kind if lanes == 1 else f"<{lanes} x {kind}>"


class Value:
    """An SSA value: its name, the element kind, the number of lanes, and the block it is defined in.

    Operators write instructions. Python numbers are constants of the other operand's kind; one lane spreads over many.
    Integer values are signed. Comparisons of floats are ordered: false where an operand is NaN (``!=`` is true there).
    """

    __slots__ = ("block", "name", "kind", "lanes")
    __hash__ = object.__hash__

    def __init__(self, block: Block, name: str, kind: str, lanes: int):
        self.block, self.name, self.kind, self.lanes = block, name, kind, lanes

    @property
    def type(self) -> str:
        """The LLVM type."""
        return typed(self.kind, self.lanes)

    @property
    def is_float(self) -> bool:
        return self.kind in FLOATS

    @property
    def bits(self) -> int:
        """Bits of one element."""
        return BITS[self.kind]

    def _op(self, floats: str, ints: str, other: Any, swap: bool = False) -> Value:
        a, b = same(self, other)
        if swap:
            a, b = b, a
        return write(f"{floats if a.is_float else ints} {a.type} {a.name}, {b.name}", a.kind, a.lanes, a, b)

    def _compare(self, floats: str, ints: str, other: Any) -> Value:
        a, b = same(self, other)
        return write(f"{'fcmp ' + floats if a.is_float else 'icmp ' + ints} {a.type} {a.name}, {b.name}", "i1", a.lanes, a, b)

    def __add__(self, other: Any) -> Value:
        return self._op("fadd", "add", other)

    def __radd__(self, other: Any) -> Value:
        return self._op("fadd", "add", other, swap=True)

    def __sub__(self, other: Any) -> Value:
        return self._op("fsub", "sub", other)

    def __rsub__(self, other: Any) -> Value:
        return self._op("fsub", "sub", other, swap=True)

    def __mul__(self, other: Any) -> Value:
        return self._op("fmul", "mul", other)

    def __rmul__(self, other: Any) -> Value:
        return self._op("fmul", "mul", other, swap=True)

    def __truediv__(self, other: Any) -> Value:
        return self._op("fdiv", "sdiv", other)

    def __rtruediv__(self, other: Any) -> Value:
        return self._op("fdiv", "sdiv", other, swap=True)

    def __and__(self, other: Any) -> Value:
        return self._op("", "and", other)

    def __or__(self, other: Any) -> Value:
        return self._op("", "or", other)

    def __xor__(self, other: Any) -> Value:
        return self._op("", "xor", other)

    def __lshift__(self, other: Any) -> Value:
        return self._op("", "shl", other)

    def __rshift__(self, other: Any) -> Value:
        return self._op("", "ashr", other)

    def __lt__(self, other: Any) -> Value:
        return self._compare("olt", "slt", other)

    def __le__(self, other: Any) -> Value:
        return self._compare("ole", "sle", other)

    def __gt__(self, other: Any) -> Value:
        return self._compare("ogt", "sgt", other)

    def __ge__(self, other: Any) -> Value:
        return self._compare("oge", "sge", other)

    def __eq__(self, other: Any) -> Value:  # type: ignore[override]
        return self._compare("oeq", "eq", other)

    def __ne__(self, other: Any) -> Value:  # type: ignore[override]
        return self._compare("une", "ne", other)

    def __invert__(self) -> Value:
        return self ^ constant(True if self.kind == "i1" else -1, self)

    def __neg__(self) -> Value:
        return write(f"fneg {self.type} {self.name}", self.kind, self.lanes, self) if self.is_float else 0 - self

    def __abs__(self) -> Value:
        if self.is_float:
            return call("fabs", self)
        return where(self < 0, -self, self)

    def isnan(self) -> Value:
        """Lanes that are NaN."""
        return write(f"fcmp uno {self.type} {self.name}, {self.name}", "i1", self.lanes, self)

    def bitcast(self) -> Value:
        """The bit pattern of floats as integers of that width, and back."""
        kind = TWIN[self.kind]
        return write(f"bitcast {self.type} {self.name} to {typed(kind, self.lanes)}", kind, self.lanes, self)

    def shift_right(self, count: Value | int) -> Value:
        """Logical shift: zeros come in."""
        return self._op("", "lshr", count)

    def quotient(self, n: Value | int) -> Value:
        """Whole quotient of integers that are not negative."""
        return self._op("", "udiv", n)

    def remainder(self, n: Value | int) -> Value:
        """Remainder of integers that are not negative."""
        return self._op("", "urem", n)

    def to(self, kind: str, signed: bool = True) -> Value:
        """Converted to another kind: floats to integers truncate, integers to i1 test for non-zero."""
        if kind == self.kind:
            return self
        if kind == "i1":
            return self != 0
        source, wider = self.kind, BITS[kind] > self.bits
        if source in FLOATS and kind in FLOATS:
            op = "fpext" if wider else "fptrunc"
        elif source in FLOATS:
            op = "fptosi" if signed else "fptoui"
        elif kind in FLOATS:
            op = "uitofp" if source == "i1" or not signed else "sitofp"
        else:
            op = ("zext" if source == "i1" or not signed else "sext") if wider else "trunc"
        return write(f"{op} {self.type} {self.name} to {typed(kind, self.lanes)}", kind, self.lanes, self)

    def spread(self, lanes: int) -> Value:
        """One lane repeated."""
        if self.lanes == lanes:
            return self
        if self.name[0] not in "%":
            return Value(self.block, f"splat ({self.kind} {self.name})", self.kind, lanes)
        many = typed(self.kind, lanes)
        one = write(f"insertelement {many} poison, {self.kind} {self.name}, i64 0", self.kind, lanes, self)
        return write(f"shufflevector {many} {one.name}, {many} poison, <{lanes} x i32> zeroinitializer", self.kind, lanes, one)

    def any(self) -> Value:
        """Whether one lane of a vector of i1 is true."""
        if self.lanes == 1:
            return self
        bits = write(f"bitcast {self.type} {self.name} to i{self.lanes}", f"i{self.lanes}", 1, self)
        return write(f"icmp ne i{self.lanes} {bits.name}, 0", "i1", 1, bits)


def unflattened(number: Value, extents: Sequence[int]) -> list[Value]:
    """The indices of axes that are counted as one; 0 along axes of length one."""
    index: list[Value] = []
    for n in reversed(extents[1:]):
        index.insert(0, number.remainder(n) if n > 1 else number.block.root.integer(0))
        number = number.quotient(n) if n > 1 else number
    return [number if extents[0] > 1 else number.block.root.integer(0), *index]


def itemsize(kind: str) -> int:
    """Bytes of an element."""
    return BITS[kind] // 8


# -- constants ----------------------------------------------------------------------------------------------------


def literal(x: Any, kind: str) -> str:
    """A number as LLVM writes it; floats by their bits, rounded to the kind."""
    if kind == "i1":
        return "true" if x else "false"
    if kind == "double":
        return f"0x{struct.unpack('<Q', struct.pack('<d', float(x)))[0]:016X}"
    if kind == "float":
        with np.errstate(all="ignore"):
            return f"0x{struct.unpack('<Q', struct.pack('<d', float(np.float32(x))))[0]:016X}"
    bits = BITS[kind]
    return str((int(x) + (1 << (bits - 1))) % (1 << bits) - (1 << (bits - 1)))


def constant(x: Any, like: Value, kind: str | None = None) -> Value:
    """A number as a value with the lanes of another, and its kind unless one is named."""
    kind = kind or like.kind
    one = Value(like.block.root, literal(x, kind), kind, 1)
    return one if like.lanes == 1 else one.spread(like.lanes)


def same(a: Any, b: Any) -> tuple[Value, Value]:
    """Two operands with the same kind and lanes."""
    if not isinstance(a, Value):
        return constant(a, b), b
    if not isinstance(b, Value):
        return a, constant(b, a)
    lanes = max(a.lanes, b.lanes)
    assert a.kind == b.kind, f"{a.type} meets {b.type}"
    return a.spread(lanes), b.spread(lanes)


# -- instructions -----------------------------------------------------------------------------------------------------


def write(text: str, kind: str, lanes: int, *operands: Value) -> Value:
    """The instruction in the innermost block of its operands; written once there."""
    block = operands[0].block
    for x in operands[1:]:
        if x.block.depth > block.depth:
            block = x.block
    return block.write(text, kind, lanes)


def where(condition: Value, x: Any, y: Any) -> Value:
    """Lane by lane x where the condition holds, otherwise y."""
    x, y = same(x, y) if isinstance(x, Value) or isinstance(y, Value) else (constant(x, condition), constant(y, condition))
    lanes = max(condition.lanes, x.lanes)
    c, x, y = condition.spread(lanes), x.spread(lanes), y.spread(lanes)
    return write(f"select {c.type} {c.name}, {x.type} {x.name}, {y.type} {y.name}", x.kind, lanes, c, x, y)


def call(name: str, *args: Value) -> Value:
    """An LLVM intrinsic that maps lanes, by its short name: fabs, floor, sqrt, copysign, ..."""
    lanes = max(a.lanes for a in args)
    args = tuple([a.spread(lanes) for a in args])
    first = args[0]
    suffix = ("" if first.lanes == 1 else f"v{first.lanes}") + (f"f{first.bits}" if first.is_float else f"i{first.bits}")
    arguments = ", ".join(f"{a.type} {a.name}" for a in args)
    first.block.module.declare(f"declare {first.type} @llvm.{name}.{suffix}({', '.join(a.type for a in args)})")
    return write(f"call {first.type} @llvm.{name}.{suffix}({arguments})", first.kind, first.lanes, *args)


def fma(a: Any, b: Any, c: Any) -> Value:
    """a * b + c, rounded once where the CPU can."""
    like = next(v for v in (a, b, c) if isinstance(v, Value))
    lanes = max(v.lanes for v in (a, b, c) if isinstance(v, Value))
    a, b, c = (v.spread(lanes) if isinstance(v, Value) else constant(v, like).spread(lanes) for v in (a, b, c))
    return call("fma", a, b, c) if like.block.module.has_fma else a * b + c


def resized(x: Value, lanes: int) -> Value:
    """The first lanes of a vector, or the vector with its first lane repeated after it."""
    if x.lanes == lanes:
        return x
    if x.lanes == 1:
        return x.spread(lanes)
    if lanes == 1:
        return write(f"extractelement {x.type} {x.name}, i64 0", x.kind, 1, x)
    order = ", ".join(f"i32 {k if k < x.lanes else 0}" for k in range(lanes))
    return write(f"shufflevector {x.type} {x.name}, {x.type} poison, <{lanes} x i32> <{order}>", x.kind, lanes, x)


def by_libm(name: str, lanes_to_fix: Value, fast: Value, *args: Value) -> Value:
    """``fast``, with libm's function in the lanes marked: for arguments that are rare and hard. Branches once a vector."""
    block = max((v.block for v in (lanes_to_fix, fast, *args)), key=lambda b: b.depth)
    return block.by_libm(name, lanes_to_fix, fast, args)


# -- blocks and loops -------------------------------------------------------------------------------------------------


class Block:
    """A sequence of instructions and loops. Lines written to it while an inner loop is open go before that loop."""

    def __init__(self, module: Any, parent: Block | None = None):  # a `fad.native.module.Module`, which is made of blocks
        self.module, self.parent = module, parent
        self.depth: int = parent.depth + 1 if parent else 0
        self.root: Block = parent.root if parent else self
        self.items: list = []  # str, or Loop
        self.open_at: int | None = None  # where the open inner loop stands
        self.known: dict[str, Value] = {}

    def append(self, line: str) -> None:
        """A line as it is."""
        if self.open_at is None:
            self.items.append(line)
        else:
            self.items.insert(self.open_at, line)
            self.open_at += 1

    def write(self, text: str, kind: str, lanes: int) -> Value:
        """A pure instruction, unless this block or one around it has it already."""
        block: Block | None = self
        while block is not None:
            if (found := block.known.get(text)) is not None:
                return found
            block = block.parent
        value = self.fresh(kind, lanes)
        self.append(f"{value.name} = {text}")
        self.known[text] = value
        return value

    def effect(self, text: str, kind: str, lanes: int) -> Value:
        """An instruction that is written every time: one that reads memory which may change."""
        value = self.fresh(kind, lanes)
        self.append(f"{value.name} = {text}")
        return value

    def fresh(self, kind: str, lanes: int) -> Value:
        """A name for a value of this block."""
        return Value(self, self.module.name("v"), kind, lanes)

    def integer(self, n: int) -> Value:
        """An i64 constant."""
        return Value(self.root, str(n), "i64", 1)

    def by_libm(self, name: str, fix: Value, fast: Value, args: tuple[Value, ...]) -> Value:
        function = self.module.libm(name, fast.kind, fast.lanes, len(args))
        slow, join = self.module.name("slow"), self.module.name("join")
        before = self.module.name("here")
        self.append(f"br label {before}")
        self.append(f"{before[1:]}:")
        self.append(f"br i1 {fix.any().name}, label {slow}, label {join}, !prof !0")
        self.append(f"{slow[1:]}:")
        arguments = ", ".join(f"{a.type} {a.name}" for a in (fix, fast, *args))
        fixed = self.effect(f"call {fast.type} {function}({arguments})", fast.kind, fast.lanes)
        self.append(f"br label {join}")
        self.append(f"{join[1:]}:")
        return self.effect(f"phi {fast.type} [ {fast.name}, {before} ], [ {fixed.name}, {slow} ]", fast.kind, fast.lanes)

    @contextmanager
    def loop(self, start: Value | int, stop: Value | int, step: int = 1, empty: bool = False) -> Iterator[Loop]:
        """A counted loop, run while ``loop.index < stop``: at least once, unless the range may be ``empty``."""
        with self.inner(Loop(self, start, stop, step, empty)) as loop:
            yield loop
            loop.close()

    def repeat(
        self, start: Value | int, stop: Value | int, state: list[Value], iterate: Callable, empty: bool = False, step: int = 1
    ) -> list[Value]:
        """The state after ``state = iterate(loop, state)`` in every iteration of a counted loop."""
        with self.loop(start, stop, step, empty) as loop:
            inside = [loop.carried(s) for s in state]
            for old, new in zip(inside, iterate(loop, inside), strict=True):
                loop.update(old, new)
        return [loop.last(s) for s in inside]

    @contextmanager
    def inner(self, block: Any) -> Iterator[Any]:
        """A block inside this one, open while the context lasts."""
        self.open_at = len(self.items)
        self.items.append(block)
        yield block
        self.open_at = None

    def when(self, condition: Value) -> Any:
        """A block that runs where a condition holds. Its values stay inside."""
        return self.inner(When(self, condition))

    def forever(self, start: Value | int) -> Any:
        """A loop that goes on until it is left."""
        return self.inner(Forever(self, start if isinstance(start, Value) else self.integer(start)))

    def section(self) -> Any:
        """A block whose instructions are not shared with what comes after it: memory may have changed by then."""
        return self.inner(Block(self.module, self))

    def lines_from(self, label: str) -> tuple[list[str], str]:
        """The text as it stands in the block around it."""
        return self.lines(label)

    def lines(self, label: str) -> tuple[list[str], str]:
        """The text, and the label of the block in which it ends; ``label`` is the one it begins in."""
        text: list[str] = []
        for item in self.items:
            if isinstance(item, Block):
                more, label = item.lines_from(label)
                text += more
            else:
                text.append(item if item.endswith(":") else "  " + item)
                if item.endswith(":"):
                    label = "%" + item[:-1]
        return text, label


class Loop(Block):
    """A counted loop. ``carried(init)`` makes a value that `update` renews in every iteration; after the loop it is `last`."""

    def __init__(self, parent: Block, start: Value | int, stop: Value | int, step: int, empty: bool = False):
        super().__init__(parent.module, parent)
        self.parent: Block = parent
        self.empty = empty  # whether the end is asked before the first iteration
        as_value = lambda n: n if isinstance(n, Value) else parent.integer(n)
        self.start, self.stop, self.step = as_value(start), as_value(stop), step
        self.label = self.module.name("loop")
        self.index = Value(self, self.module.name("i"), "i64", 1)
        self.phis: list[list] = []  # [value, init, next]

    def carried(self, init: Value) -> Value:
        """A value that begins as ``init``."""
        value = Value(self, self.module.name("acc"), init.kind, init.lanes)
        self.phis.append([value, init, None])
        return value

    def update(self, value: Value, new: Value) -> None:
        """What a carried value becomes at the end of the iteration."""
        next(p for p in self.phis if p[0] is value)[2] = new

    def last(self, value: Value) -> Value:
        """A carried value after the loop."""
        if self.empty:
            return Value(self.parent, value.name, value.kind, value.lanes)
        new = next(p for p in self.phis if p[0] is value)[2]
        return Value(self.parent, new.name, new.kind, new.lanes)  # the loop's only exit is after its last iteration

    def close(self) -> None:
        """The end of the loop's body."""
        self.after = self.module.name("i")
        self.append(f"{self.after} = add nsw i64 {self.index.name}, {self.step}")

    def lines_from(self, label: str) -> tuple[list[str], str]:
        exit_, more = self.module.name("after"), self.module.name("more")
        if self.empty:
            return self.asked_first(label, exit_, more)
        body, latch = self.lines(self.label)
        head = [
            f"  br label {self.label}",
            f"{self.label[1:]}:",
            f"  {self.index.name} = phi i64 [ {self.start.name}, {label} ], [ {self.after}, {latch} ]",
        ]
        head += [f"  {v.name} = phi {v.type} [ {init.name}, {label} ], [ {new.name}, {latch} ]" for v, init, new in self.phis]
        tail = [
            f"  {more} = icmp slt i64 {self.after}, {self.stop.name}",
            f"  br i1 {more}, label {self.label}, label {exit_}",
            f"{exit_[1:]}:",
        ]
        return head + body + tail, exit_

    def asked_first(self, label: str, exit_: str, more: str) -> tuple[list[str], str]:
        """The text of a loop that may have no iterations."""
        inside = self.module.name("iteration")
        body, latch = self.lines(inside)
        head = [
            f"  br label {self.label}",
            f"{self.label[1:]}:",
            f"  {self.index.name} = phi i64 [ {self.start.name}, {label} ], [ {self.after}, {latch} ]",
        ]
        head += [f"  {v.name} = phi {v.type} [ {init.name}, {label} ], [ {new.name}, {latch} ]" for v, init, new in self.phis]
        head += [
            f"  {more} = icmp slt i64 {self.index.name}, {self.stop.name}",
            f"  br i1 {more}, label {inside}, label {exit_}",
            f"{inside[1:]}:",
        ]
        return [*head, *body, f"  br label {self.label}", f"{exit_[1:]}:"], exit_


class Forever(Block):
    """A loop that ends where `leave_unless` is given a condition that does not hold. Its index, which goes on from ``start``, is
    known after it, too."""

    def __init__(self, parent: Block, start: Value):
        super().__init__(parent.module, parent)
        self.start = start
        self.label, self.exit, self.after = (self.module.name(stem) for stem in ("loop", "after", "i"))
        self.index = Value(self, self.module.name("i"), "i64", 1)

    def leave_unless(self, condition: Value) -> None:
        """The end of the loop, unless a condition holds."""
        go = self.module.name("go")
        self.append(f"br i1 {condition.name}, label {go}, label {self.exit}")
        self.append(f"{go[1:]}:")

    def lines_from(self, label: str) -> tuple[list[str], str]:
        body, latch = self.lines(self.label)
        head = [
            f"  br label {self.label}",
            f"{self.label[1:]}:",
            f"  {self.index.name} = phi i64 [ {self.start.name}, {label} ], [ {self.after}, {latch} ]",
        ]
        tail = [f"  {self.after} = add i64 {self.index.name}, 1", f"  br label {self.label}", f"{self.exit[1:]}:"]
        return head + body + tail, self.exit


class When(Block):
    """A block under a condition."""

    def __init__(self, parent: Block, condition: Value):
        super().__init__(parent.module, parent)
        self.condition = condition

    def lines_from(self, label: str) -> tuple[list[str], str]:
        """The text, jumped over where the condition does not hold."""
        then, exit_ = self.module.name("then"), self.module.name("after")
        body, _ = self.lines(then)
        return [
            f"  br i1 {self.condition.name}, label {then}, label {exit_}",
            f"{then[1:]}:",
            *body,
            f"  br label {exit_}",
            f"{exit_[1:]}:",
        ], exit_
