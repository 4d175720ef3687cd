"""Module: the text of one LLVM module."""

from __future__ import annotations

from collections.abc import Callable

from fad.native.ir import Block, Value, resized, typed, write

__all__ = ["OPTIMISED", "Module"]

OPTIMISED = "; optimised\n"  # the first line of a module that LLVM's passes are run on


class Module:
    """The text of one LLVM module: functions, declarations, and names that are fresh."""

    def __init__(self, has_fma: bool = True):
        self.has_fma = has_fma
        self.functions: list[str] = []
        self.declared: dict[str, None] = {}
        self.helpers: dict[str, str] = {}
        self.counts: dict[str, int] = {}  # results of outlined functions
        self.count = 0
        self.optimised = False  # whether LLVM's passes are worth their time

    def name(self, stem: str) -> str:
        """A fresh local name."""
        self.count += 1
        return f"%{stem}{self.count}"

    def declare(self, line: str) -> None:
        """Declare an intrinsic or an external function, once."""
        self.declared[line] = None

    def function(self, header: str, body: Callable[[Block], None], end: str = "ret void") -> None:
        """A function; ``body`` writes into its block."""
        block = Block(self)
        body(block)
        text, _ = block.lines("%entry")
        self.functions.append("\n".join([f"define {header} {{", "entry:", *text, f"  {end}", "}"]))

    def outlined(self, name: str, function: Callable, args: list[Value], lanes: int) -> list[Value]:
        """``function(*args)``, a list of values, by a call of one copy of its code for vectors of ``lanes`` elements."""
        kind, many = args[0].kind, typed(args[0].kind, lanes)
        symbol = f"@fad.{name}.{kind}.{lanes}.{len(args)}"
        if symbol not in self.helpers:
            block = Block(self)
            results = function(*(Value(block, f"%a{k}", kind, lanes) for k in range(len(args))))
            body = block.lines("%entry")[0]
            count = self.counts[symbol] = len(results)
            outcome = f"{{{', '.join([many] * count)}}}" if count > 1 else many
            last = ["  %r0 = insertvalue " + f"{outcome} poison, {many} {results[0].name}, 0"] if count > 1 else []
            last += [f"  %r{k} = insertvalue {outcome} %r{k - 1}, {many} {y.name}, {k}" for k, y in enumerate(results) if k]
            end = f"  ret {outcome} " + (f"%r{count - 1}" if count > 1 else results[0].name)
            arguments = ", ".join(f"{many} %a{k}" for k in range(len(args)))
            head = f"define internal {outcome} {symbol}({arguments}) noinline {{"
            self.helpers[symbol] = "\n".join([head, "entry:", *body, *last, end, "}"])
        count, given = self.counts[symbol], args[0].lanes
        wide = [resized(a, lanes) for a in args]
        outcome = f"{{{', '.join([many] * count)}}}" if count > 1 else many
        y = write(f"call {outcome} {symbol}({', '.join(f'{a.type} {a.name}' for a in wide)})", kind, lanes, *wide)
        parts = [y] if count == 1 else [write(f"extractvalue {outcome} {y.name}, {k}", kind, lanes, y) for k in range(count)]
        return [resized(p, given) for p in parts]

    def libm(self, name: str, kind: str, lanes: int, arity: int) -> str:
        """A helper that puts libm's ``name`` into the marked lanes of a vector."""
        symbol = f"@fad.{name}.{kind}.{lanes}"
        if symbol in self.helpers:
            return symbol
        scalar = name + ("f" if kind == "float" else "")
        self.declare(f"declare {kind} @{scalar}({', '.join([kind] * arity)})")
        vector, mask = typed(kind, lanes), typed("i1", lanes)
        arguments = "".join(f", {vector} %a{k}" for k in range(arity))
        lines = [f"define internal {vector} {symbol}({mask} %fix, {vector} %fast{arguments}) noinline cold {{", "entry:"]
        one = ", ".join(f"{kind} %x{k}" for k in range(arity))
        if lanes == 1:
            passed = ", ".join(f"{kind} %a{k}" for k in range(arity))
            lines += [f"  %y = call {kind} @{scalar}({passed})", f"  ret {kind} %y", "}"]
        else:
            lines += [
                "  br label %loop",
                "loop:",
                "  %i = phi i64 [ 0, %entry ], [ %n, %next ]",
                f"  %r = phi {vector} [ %fast, %entry ], [ %s, %next ]",
                f"  %m = extractelement {mask} %fix, i64 %i",
                "  br i1 %m, label %do, label %next",
                "do:",
            ]
            lines += [f"  %x{k} = extractelement {vector} %a{k}, i64 %i" for k in range(arity)]
            lines += [
                f"  %y = call {kind} @{scalar}({one})",
                f"  %t = insertelement {vector} %r, {kind} %y, i64 %i",
                "  br label %next",
                "next:",
                f"  %s = phi {vector} [ %r, %loop ], [ %t, %do ]",
                "  %n = add i64 %i, 1",
                f"  %e = icmp slt i64 %n, {lanes}",
                "  br i1 %e, label %loop, label %exit",
                "exit:",
                f"  ret {vector} %s",
                "}",
            ]
        self.helpers[symbol] = "\n".join(lines)
        return symbol

    @property
    def length(self) -> int:
        """Characters of the functions."""
        return sum(map(len, self.functions))

    def __str__(self) -> str:
        metadata = '!0 = !{!"branch_weights", i32 1, i32 2000}'
        head = OPTIMISED if self.optimised else ""
        return head + "\n\n".join([*self.functions, *self.helpers.values(), "\n".join(self.declared), metadata, ""])
