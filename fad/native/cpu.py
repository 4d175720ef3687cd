"""The CPU that code is made for."""

from __future__ import annotations

import functools
from typing import Any

__all__ = ["Machine", "machine"]


class Machine:
    """The CPU that code is made for: its name, features and vector width in bytes."""

    def __init__(self) -> None:
        import llvmlite.binding as llvm  # not for `import fad`: records of primitives hold functions that ask for the CPU
        from llvmlite import __version__ as llvmlite_version

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self.triple = llvm.get_process_triple()
        self.cpu = llvm.get_host_cpu_name()
        features = llvm.get_host_cpu_features()
        self.features = features.flatten()
        self.vector_bytes = 64 if features.get("avx512f") else 32 if features.get("avx2") else 16
        self.registers = 32 if features.get("avx512f") or self.triple.startswith(("aarch64", "arm64")) else 16  # of vectors
        self.has_fma = bool(features.get("fma")) or "arm64" in self.triple or "aarch64" in self.triple
        self.id = f"{self.triple} {self.cpu} {self.features} llvmlite {llvmlite_version} LLVM {llvm.llvm_version_info}"

    def target(self, opt: int = 2) -> Any:
        """A fresh LLVM target machine."""
        import llvmlite.binding as llvm

        return llvm.Target.from_triple(self.triple).create_target_machine(
            cpu=self.cpu, features=self.features, opt=opt, reloc="pic", codemodel="small"
        )


@functools.cache
def machine() -> Machine:
    """This machine."""
    return Machine()
