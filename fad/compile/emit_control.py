"""Emit: a loop or branch, with all that is in it, as one function.

What an iteration keeps for the next one lies in memory. Small buffers are on the stack, where LLVM makes registers of them. Nests
that threads share, and those of long programs, are functions of their own.
"""

from __future__ import annotations

from typing import Any

from fad.compile.control import FLAG, LAUNCH, POLL, STOPPED, Carry, Choice, Repeat, Scope
from fad.compile.emit import load_addresses, shape_of_code, write_function, write_nest
from fad.compile.loops import Loops
from fad.compile.segment import grain, is_parallel
from fad.native.ir import Block, Value, where
from fad.native.module import Module

__all__ = ["shape_of_control", "write_control"]

STACK = 512  # bytes of a buffer that lies on the stack
INLINE = 600  # instructions of nests that stand in the loop itself
COPY, FILL = "llvm.memcpy.p0.p0.i64", "llvm.memset.p0.i64"


def write_control(module: Module, name: str, control: Repeat | Choice) -> None:
    """``void name(ptr data, i64 begin, i64 end)``: of iterations that threads share those from begin to end; of others at most
    ``end``, from the first one where begin is 0, from where the last call ended otherwise."""
    module.optimised = True
    work = _Writer(module, name, control)

    def body(block: Block) -> None:
        addresses = load_addresses(block, control.outside.buffers)
        if isinstance(control, Choice):
            work.write_choice(block, control, addresses)
        else:
            work.write_repeat(block, control, addresses, (Value(block, "%begin", "i64", 1), Value(block, "%end", "i64", 1)))

    module.function(f"void @{name}(ptr noalias %data, i64 %begin, i64 %end)", body)


def count_instructions(scope: Scope) -> int:
    """Instructions of the nests of a scope, and of those within."""
    inner = [s for n in scope.steps if isinstance(n, Repeat | Choice) for s in scopes_of(n)]
    return sum([len(n.body.instructions) for n in scope.steps if isinstance(n, Loops)]) + sum(map(count_instructions, inner))


def scopes_of(n: Repeat | Choice) -> tuple[Scope, ...]:
    """What a loop or branch runs."""
    return n.scopes if isinstance(n, Choice) else (n.scope, *([n.test] if n.test else []))


class _Writer:
    """Writes one loop or branch; ``addresses`` are the names of the pointers to buffers."""

    def __init__(self, module: Module, name: str, control: Repeat | Choice):
        self.module, self.name = module, name
        self.inline = sum(map(count_instructions, scopes_of(control))) <= INLINE
        self.alone = isinstance(control, Repeat) and control.shared
        self.functions: dict[tuple, str] = {}

    # -- steps -----------------------------------------------------------------------------------------------------

    def write_steps(self, block: Block, scope: Scope, addresses: dict[int, str]) -> None:
        """Nests, loops and branches one after another; what one of them loads, the next one may not take from it."""
        for n in scope.steps:
            with block.section() as inside:
                if isinstance(n, Repeat):
                    self.write_repeat(inside, n, addresses)
                elif isinstance(n, Choice):
                    self.write_choice(inside, n, addresses)
                elif isinstance(n, Loops) and self.inline and (self.alone or not is_parallel(n)):
                    write_nest(inside, n, addresses, inside.integer(0), inside.integer(n.pieces))
                else:
                    self.call(inside, n, addresses)

    def call(self, block: Block, n: Any, addresses: dict[int, str]) -> None:
        """A nest by a call of its function, on all threads where these share it."""
        code, buffers = shape_of_code(n)
        function = self.functions.get(code)
        if function is None:
            function = self.functions[code] = f"{self.name}.{len(self.functions)}"
            write_function(self.module, function, [n], buffers, "internal ")
        data = block.module.name("data")
        block.root.append(f"{data} = alloca [{max(len(buffers), 1)} x ptr], align 8")
        for k, b in enumerate(buffers):
            at = block.effect(f"getelementptr inbounds ptr, ptr {data}, i64 {k}", "ptr", 1)
            block.append(f"store ptr {addresses[b]}, ptr {at.name}, align 8")
        if is_parallel(n) and not self.alone:
            arguments = f"ptr @{function}, ptr {data}, i64 0, i64 {n.pieces}, i64 {grain(n)}, ptr null"
            block.effect(f"call i64 {addresses[LAUNCH]}({arguments})", "i64", 1)
        else:
            block.append(f"call void @{function}(ptr {data}, i64 0, i64 {n.pieces})")

    # -- branches --------------------------------------------------------------------------------------------------

    def write_choice(self, block: Block, n: Choice, addresses: dict[int, str]) -> None:
        """The branch that is chosen; where there is none, the flag is set."""
        index = block.effect(f"load i64, ptr {addresses[n.index]}, align 8", "i64", 1)
        with block.when((index < 0) | (index >= len(n.scopes))) as inside:
            inside.append(f"store i64 1, ptr {addresses[FLAG]}")
        for k, scope in enumerate(n.scopes):
            own = self.place(block, scope, addresses[n.outside.scratch], stay=False)
            with block.when(index == k) as inside:
                self.write_steps(inside, scope, within(scope, addresses | own))

    # -- loops -----------------------------------------------------------------------------------------------------

    def write_repeat(self, block: Block, n: Repeat, addresses: dict[int, str], call: tuple[Value, Value] | None = None) -> None:
        """All iterations, or those of one call: (begin, end) that threads share, or (whether to go on, how many at most)."""
        scratch = addresses[n.outside.scratch]
        own = self.place(block, n.scope, scratch, n.shared)
        own |= self.place(block, n.test, scratch, n.shared) if n.test else {}
        total = self.count_iterations(block, n, addresses)
        if n.shared:
            assert call is not None
            self.iterate(block, n, addresses | own, call[0], call[1], total)
            return
        if call is None:
            self.begin(block, n, addresses, own)
            index = self.iterate(block, n, addresses | own, block.integer(0), total, total)
            self.finish(block, n, addresses, own, index)
            return
        self.write_part(block, n, addresses, own, total, *call)

    def write_part(
        self, block: Block, n: Repeat, addresses: dict[int, str], own: dict[int, str], total: Any, first: Value, most: Value
    ) -> None:
        """So many iterations, from where the last call ended; in between the carry and their number lie in the scratch memory."""
        scratch = addresses[n.outside.scratch]
        home = {b: self.offset(block, scratch, at) for b, (_, at) in n.scope.own.items()}
        number = self.offset(block, scratch, 8)
        with block.when(first == 0) as start:
            self.begin(start, n, addresses, home)
            start.append(f"store i64 0, ptr {number}, align 8")
        at = block.effect(f"load i64, ptr {number}, align 8", "i64", 1)
        for c in n.carries:
            if own[c.now] != home[c.now]:
                copy(block, own[c.now], home[c.now], c.nbytes)
        limit = at + most
        limit = limit if total is None else where(limit < total, limit, total)
        index = self.iterate(block, n, addresses | own, at, limit, total)
        for c in n.carries:
            if own[c.now] != home[c.now]:
                copy(block, home[c.now], own[c.now], c.nbytes)
        block.append(f"store i64 {index.name}, ptr {number}, align 8")
        done = index < limit if total is None else index >= total
        done = done | (index < limit) if (n.test and total is not None) or n.outside.polls else done
        with block.when(done) as end:
            self.finish(end, n, addresses, home, index)
        block.append(f"store i64 {done.to('i64', signed=False).name}, ptr {scratch}, align 8")

    def count_iterations(self, block: Block, n: Repeat, addresses: dict[int, str]) -> Any:
        """How many there are, or may be; None where only a condition ends them."""
        most = None if n.length is None else block.integer(n.length)
        if n.count is None:
            return most
        count = block.effect(f"load i64, ptr {addresses[n.count]}, align 8", "i64", 1)
        return count if most is None else where(count < most, count, most)

    def begin(self, block: Block, n: Repeat, addresses: dict[int, str], own: dict[int, str]) -> None:
        """The first carry, and zeros where rows may not be reached."""
        for c in n.carries:
            copy(block, own[c.now], addresses[c.init], c.nbytes)
        for b, size in n.filled:
            block.module.declare(f"declare void @{FILL}(ptr, i8, i64, i1)")
            block.append(f"call void @{FILL}(ptr {addresses[b]}, i8 0, i64 {size}, i1 false)")

    def finish(self, block: Block, n: Repeat, addresses: dict[int, str], own: dict[int, str], index: Value) -> None:
        """The last carry."""
        for c in n.carries:
            if c.last is not None:
                copy(block, addresses[c.last], turns(block, c, own, index)[0], c.nbytes)

    def iterate(self, block: Block, n: Repeat, addresses: dict[int, str], start: Value, limit: Any, total: Any) -> Value:
        """The iterations from start to limit; gives the number of the one that does not come."""
        with block.forever(start) as loop:
            if limit is not None:
                loop.leave_unless(loop.index < limit)
            if n.outside.polls or (n.is_endless and POLL in addresses):
                self.look_after_signals(loop, n, addresses)
            here = dict(addresses)
            for c in n.carries:
                here[c.now], here[c.new] = turns(loop, c, addresses, loop.index)
            if n.test:
                self.write_steps(loop, n.test, within(n.test, here))
                holds = loop.effect(f"load i8, ptr {within(n.test, here)[n.holds]}", "i8", 1)
                loop.leave_unless(holds != 0)
            row = total - 1 - loop.index if n.reverse else loop.index
            for r in n.rows:
                offset = row * r.nbytes
                here[r.buffer] = loop.effect(f"getelementptr i8, ptr {here[r.whole]}, i64 {offset.name}", "ptr", 1).name
            self.write_steps(loop, n.scope, within(n.scope, here))
            for c in n.carries:
                if not takes_turns(c) and c.new != c.now:
                    copy(loop, here[c.now], here[c.new], c.nbytes)
        return Value(block, loop.index.name, "i64", 1)

    def look_after_signals(self, loop: Any, n: Repeat, addresses: dict[int, str]) -> None:
        """Leave the loop where a signal handler raised: it is asked for now and then by loops that may go on for long."""
        if n.is_endless:
            due = (loop.index & (power_of_two(n.budget) - 1)) == power_of_two(n.budget) - 1
            asked = loop.effect(f"icmp ne ptr {addresses[POLL]}, null", "i1", 1)
            with loop.when(due & asked) as inside:
                inside.effect(f"call i1 {addresses[POLL]}(ptr {addresses[FLAG]})", "i1", 1)
        flag = loop.effect(f"load i64, ptr {addresses[FLAG]}", "i64", 1)
        loop.leave_unless(flag != STOPPED)

    # -- memory ----------------------------------------------------------------------------------------------------

    def place(self, block: Block, scope: Scope, scratch: str, stay: bool) -> dict[int, str]:
        """The addresses of the buffers of a scope: small ones are on the stack, and all where threads ``stay`` apart."""
        found = {}
        for b, (size, at) in scope.own.items():
            if size <= STACK or stay:
                found[b] = block.module.name("own")
                block.root.append(f"{found[b]} = alloca [{max(size, 1)} x i8], align 64")
            else:
                found[b] = self.offset(block, scratch, at)
        return found

    def offset(self, block: Block, pointer: str, at: int) -> str:
        """An address so many bytes further."""
        return block.effect(f"getelementptr i8, ptr {pointer}, i64 {at}", "ptr", 1).name


def power_of_two(n: int) -> int:
    """The largest one that is not larger."""
    return 1 << (n.bit_length() - 1)


def within(scope: Scope, addresses: dict[int, str]) -> dict[int, str]:
    """The addresses with the other names that a scope has for them, as far as steps read them."""
    return addresses | {inside: addresses[outside] for inside, outside in scope.names.items() if outside in addresses}


def takes_turns(c: Carry) -> bool:
    """Whether what one iteration makes is read by the next one where it lies."""
    return c.now != c.new and c.nbytes > STACK


def turns(block: Block, c: Carry, own: dict[int, str], index: Value) -> tuple[str, str]:
    """The addresses of what an iteration reads and of what it makes."""
    if not takes_turns(c):
        return own[c.now], own[c.new]
    is_odd = (index & 1) != 0
    pick = lambda a, b: block.effect(f"select i1 {is_odd.name}, ptr {a}, ptr {b}", "ptr", 1).name
    return pick(own[c.new], own[c.now]), pick(own[c.now], own[c.new])


def copy(block: Block, to: str, source: str, size: int) -> None:
    """Bytes from one place to another."""
    block.module.declare(f"declare void @{COPY}(ptr, ptr, i64, i1)")
    block.append(f"call void @{COPY}(ptr {to}, ptr {source}, i64 {size}, i1 false)")


# -- keys ----------------------------------------------------------------------------------------------------------------


def shape_of_control(n: Repeat | Choice) -> tuple[tuple, list[int]]:
    """What decides the code of a loop or branch, and its buffers in the order in which the code counts them."""
    return code_of(n, {b: k for k, b in enumerate(n.outside.buffers)}), n.outside.buffers


def code_of(n: Any, outside: dict[int, int]) -> tuple:
    """What decides the code of a step; ``outside`` are numbers of buffers."""
    if not isinstance(n, Repeat | Choice):
        code, buffers = shape_of_code(n)
        return code, tuple([outside[b] for b in buffers])
    if isinstance(n, Choice):
        return ("choice", outside[n.index], outside[n.outside.scratch], *[code_of_scope(s, dict(outside)) for s in n.scopes])
    numbers = dict(outside)
    scratch, whole = numbers[n.outside.scratch], [numbers[r.whole] for r in n.rows]
    ends = [(numbers[c.init], None if c.last is None else numbers[c.last]) for c in n.carries]
    head = tuple([(numbers[b], size) for b, size in n.filled]), n.length, n.count is None or numbers[n.count], n.reverse, n.shared
    for r in n.rows:
        numbers[r.buffer] = len(numbers) + NEW
    body = code_of_scope(n.scope, numbers)
    test = n.test and code_of_scope(n.test, numbers)
    carries = [(numbers[c.now], numbers[c.new], *e, c.nbytes) for c, e in zip(n.carries, ends, strict=True)]
    rows = [(numbers[r.buffer], w, r.nbytes) for r, w in zip(n.rows, whole, strict=True)]
    holds = n.test and numbers[n.holds]
    return ("repeat", scratch, head, tuple(carries), tuple(rows), holds, test, body)


NEW = 1 << 20  # numbers of buffers inside begin here, and grow with each


def code_of_scope(scope: Scope, numbers: dict[int, int]) -> tuple:
    """What decides the code of a scope, whose buffers get numbers."""
    outside = dict(numbers)
    for k, b in enumerate(scope.own):
        numbers[b] = len(outside) + NEW + k
    for inside, b in scope.names.items():
        if b in numbers:  # a step reads it
            numbers[inside] = numbers[b]
    own = tuple(scope.own.values())
    return own, tuple([code_of(n, numbers) for n in scope.steps])
