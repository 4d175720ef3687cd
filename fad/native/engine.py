"""LLVM: from IR text to machine code in memory, by way of object files that are kept on disk."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import itertools
import os
import re
from typing import Any

import llvmlite.binding as llvm
from llvmlite import __version__ as llvmlite_version
from llvmlite.binding import ffi

from fad.native import disk
from fad.native.launch import get_num_threads

__all__ = ["Loaded", "Machine", "assembly", "is_checking", "load", "machine"]


DEFINED = re.compile(r"^define (?!internal)[^@\n]*@([\w.]+)\(", re.MULTILINE)  # functions that can be called from outside
_number = itertools.count()


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
        self.registers = 32 if features.get("avx512f") or self.triple.startswith(("aarch64", "arm64")) else 16  # of vectors
        self.has_fma = bool(features.get("fma")) or "arm64" in self.triple or "aarch64" in self.triple
        self.id = f"{self.triple} {self.cpu} {self.features} llvmlite {llvmlite_version} LLVM {llvm.llvm_version_info}"

    def target(self, opt: int = 2) -> Any:
        """A fresh LLVM target machine."""
        return llvm.Target.from_triple(self.triple).create_target_machine(
            cpu=self.cpu, features=self.features, opt=opt, reloc="pic", codemodel="small")


@functools.cache
def machine() -> Machine:
    """This machine."""
    return Machine()


class Loaded:
    """Machine code in memory, there as long as this object is."""

    def __init__(self, library: Any, kept: bool):
        self.library, self.kept = library, kept  # kept: it was found on disk

    def address(self, name: str) -> int:
        """The address of a function."""
        return self.library[name]

    def forever(self) -> None:
        """Leave the code in memory until the process ends."""
        self.library.detach()


def is_checking() -> bool:
    """Whether FAD_CHECK is on."""
    return os.environ.get("FAD_CHECK", "0") not in ("", "0")


def load(*texts: str, opt: int = 2) -> Loaded:
    """IR texts, each a module of its own, as machine code in this process: those that were compiled for this machine before
    are on disk, others are compiled side by side."""
    keys = [hashlib.sha256(f"{machine().id} {opt}\n{text}".encode()).hexdigest() for text in texts]
    found = [disk.find(key) for key in keys]
    missing = [k for k, code in enumerate(found) if code is None]
    if len(missing) > 1:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(min(len(missing), get_num_threads())) as pool:
            made = list(pool.map(lambda k: _compiled(texts[k], opt), missing))
    else:
        made = [_compiled(texts[k], opt) for k in missing]
    library = llvm.JITLibraryBuilder()
    for k, code in zip(missing, made, strict=True):
        disk.keep(keys[k], code)
        found[k] = code
    for text, code in zip(texts, found, strict=True):
        library.add_object_img(code)
        for name in DEFINED.findall(text):
            library.export_symbol(name)
    return Loaded(library.add_current_process().link(_linker(), f"fad{next(_number)}"), not missing)


def _compiled(text: str, opt: int) -> bytes:
    """Object code. llvmlite has one lock for all of LLVM, which itself needs none between contexts."""
    module = llvm.parse_assembly(text, llvm.create_context())
    if is_checking():
        module.verify()
    emit = ffi.lib.LLVMPY_TargetMachineEmitToMemory
    with ffi.OutputString() as error:
        buffer = getattr(emit, "_cfn", emit)(machine().target(opt), module, 1, error)
        if not buffer:
            raise RuntimeError(str(error))
    try:
        return ctypes.string_at(ffi.lib.LLVMPY_GetBufferStart(buffer), ffi.lib.LLVMPY_GetBufferSize(buffer))
    finally:
        ffi.lib.LLVMPY_DisposeMemoryBuffer(buffer)


@functools.cache
def _linker() -> Any:
    """JITLink, which lays a library out in one piece: the older linker ends the process where the kernel maps code and
    constants more than 2 GiB apart. It is not freed at exit, when threads may still run its code."""
    linker = llvm.create_lljit_compiler(machine().target(), use_jit_link=True)
    linker._owned = True
    return linker


def assembly(text: str) -> str:
    """IR text as this machine's instructions."""
    return machine().target().emit_assembly(llvm.parse_assembly(text))
