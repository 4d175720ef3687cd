"""LLVM: from IR text to machine code in memory."""

from __future__ import annotations

import functools
from typing import Any

import llvmlite.binding as llvm

__all__ = ["Machine", "machine", "load"]


class Machine:
    """The CPU that code is made for: its name, features and vector width in bytes."""

    def __init__(self) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self.triple = llvm.get_process_triple()
        self.cpu = llvm.get_host_cpu_name()
        features = llvm.get_host_cpu_features()
        self.features = features.flatten()
        self.vector_bytes = 64 if features.get("avx512f") else 32 if features.get("avx2") else 16
        self.has_fma = bool(features.get("fma")) or "arm64" in self.triple or "aarch64" in self.triple

    def target(self) -> Any:
        """A fresh LLVM target machine."""
        return llvm.Target.from_triple(self.triple).create_target_machine(
            cpu=self.cpu, features=self.features, opt=2, jit=True)


@functools.cache
def machine() -> Machine:
    """This machine."""
    return Machine()


class Loaded:
    """Machine code in memory."""

    def __init__(self, engine: Any):
        self.engine = engine

    def address(self, name: str) -> int:
        """The address of a function."""
        return self.engine.get_function_address(name)


def load(text: str) -> Loaded:
    """Compile IR text into this process."""
    module = llvm.parse_assembly(text)
    module.verify()
    engine = llvm.create_mcjit_compiler(module, machine().target())
    engine.finalize_object()
    return Loaded(engine)


def assembly(text: str) -> str:
    """IR text as this machine's instructions."""
    return machine().target().emit_assembly(llvm.parse_assembly(text))
