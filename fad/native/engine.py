"""LLVM: from IR text to machine code in memory, by way of object files that are kept on disk."""

from __future__ import annotations

import _thread
import ctypes
import functools
import hashlib
import itertools
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import llvmlite.binding as llvm
from llvmlite.binding import ffi

from fad.native import disk
from fad.native.cpu import machine
from fad.native.fork import at_work
from fad.native.module import OPTIMISED
from fad.native.symbols import SYMBOLS
from fad.native.threads import get_num_threads

__all__ = ["Loaded", "assembly", "is_checking", "load", "load_parts", "machine"]


DEFINED = re.compile(r"^define (?!internal)[^@\n]*@([\w.]+)\(", re.MULTILINE)  # functions that can be called from outside
FORMAT = 2  # of the files that are kept
SHARED = 64  # programs that one linker lays out; what it notes of each, 9 kB, is freed with the linker, after the last of them
_number = itertools.count()
_forever: list[Loaded] = []


class Loaded:
    """Machine code in memory, there as long as this object is."""

    def __init__(self, library: Any, linker: Any, size: int, kept: bool):
        self.library, self.linker, self.size, self.kept = library, linker, size, kept  # size in bytes; kept: it was found on disk

    def __del__(self, at_exit: Callable = sys.is_finalizing) -> None:
        if at_exit():  # when threads may still run the code
            return
        try:
            self.library.close()
        except KeyboardInterrupt:  # Python drops the exceptions of destructors: once more, from outside of this one
            _thread.start_new_thread(_interrupt, ())

    def address(self, name: str) -> int:
        """The address of a function."""
        return self.library[name]

    def forever(self) -> None:
        """Leave the code in memory until the process ends."""
        _forever.append(self)


def _interrupt() -> None:
    """What Ctrl-C does."""
    if hasattr(signal, "pthread_kill"):  # which wakes the thread where it waits
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        _thread.interrupt_main()


def is_checking() -> bool:
    """Whether FAD_CHECK is on."""
    return os.environ.get("FAD_CHECK", "0") not in ("", "0")


def load(text: str, opt: int = 2) -> Loaded:
    """IR text as machine code in this process."""
    return load_parts(text, DEFINED.findall(text), lambda: [text], opt)


def load_parts(key: str, names: Iterable[str], texts: Callable[[], Iterable[str]], opt: int = 2) -> Loaded:
    """Functions with these names as machine code in this process: found on disk under a key that says all about them, or
    compiled from IR texts, each a module of its own, side by side and while the next is being written."""
    digest = hashlib.sha256(f"{machine().id} {opt} {FORMAT}\n{key}".encode()).hexdigest()
    kept = disk.find(digest)
    if kept is None:
        objects = _side_by_side(iter(texts()), opt)
        disk.keep(digest, b"".join(len(code).to_bytes(8, "little") + code for code in objects))
    else:
        objects = list(_objects(kept))
    library = llvm.JITLibraryBuilder()
    for code in objects:
        library.add_object_img(code)
    for name in names:
        library.export_symbol(name)
    quoted = set(key.split("'"))  # names of operations and routines among them
    for symbol, (operation, dtype, address) in list(SYMBOLS.items()):
        if (operation in quoted or ("'" in operation and repr(operation) in key)) and dtype in key:
            library.import_symbol(symbol, address())
    number = next(_number)
    linker = _linker(number // SHARED)
    linked = library.add_current_process().link(linker, f"fad{number}")
    return Loaded(linked, linker, sum(map(len, objects)), kept is not None)


def _side_by_side(texts: Iterator[str], opt: int) -> list[bytes]:
    """The object code of each text. Threads start where there are several."""
    first, second = next(texts), next(texts, None)
    if second is None:
        return [_compiled(first, opt)]
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(get_num_threads())
    try:
        return [made.result() for made in [pool.submit(_compiled, text, opt) for text in itertools.chain((first, second), texts)]]
    finally:
        pool.shutdown(cancel_futures=True)  # after an interrupt what is not begun is left


def optimise(module: Any, target: Any) -> None:
    """Memory on the stack becomes registers, short loops are written out, and what is known is not computed or loaded again."""
    builder = llvm.create_pass_builder(target, llvm.create_pipeline_tuning_options(speed_level=2))
    passes = llvm.create_new_function_pass_manager()
    passes.add_sroa_pass()
    passes.add_simplify_cfg_pass()
    passes.add_loop_unroll_pass()
    passes.add_sroa_pass()
    passes.add_new_gvn_pass()
    passes.add_dead_store_elimination_pass()
    passes.add_simplify_cfg_pass()
    for function in module.functions:
        if not function.is_declaration and "." not in function.name:  # those are nests of their own, written as they should be
            passes.run(function, builder)


def _objects(kept: bytes) -> Iterator[bytes]:
    """Object files that follow one another, each after its length."""
    at = 0
    while at < len(kept):
        size = int.from_bytes(kept[at : at + 8], "little")
        yield kept[at + 8 : at + 8 + size]
        at += 8 + size


def _compiled(text: str, opt: int) -> bytes:
    """Object code. llvmlite has one lock for all of LLVM, which itself needs none between contexts: code is emitted without.

    What LLVM holds is closed here and not by destructors, whose exceptions Python drops: an interrupt might be among them."""
    emit = ffi.lib.LLVMPY_TargetMachineEmitToMemory
    emit = getattr(emit, "_cfn", emit)
    with (
        llvm.create_context() as context,
        machine().target(opt) as target,
        llvm.parse_assembly(text, context) as module,
        ffi.OutputString() as error,
    ):
        if is_checking():
            module.verify()
        if text.startswith(OPTIMISED):
            optimise(module, target)
        with at_work():
            buffer = emit(target, module, 1, error)
        if not buffer:
            raise RuntimeError(str(error))
        try:
            return ctypes.string_at(ffi.lib.LLVMPY_GetBufferStart(buffer), ffi.lib.LLVMPY_GetBufferSize(buffer))
        finally:
            ffi.lib.LLVMPY_DisposeMemoryBuffer(buffer)


@functools.lru_cache(maxsize=1)
def _linker(group: int) -> Any:
    """JITLink, which lays a library out in one piece: the older linker ends the process where the kernel maps code and
    constants more than 2 GiB apart. llvmlite frees neither at exit, when threads may still run the code."""
    return llvm.create_lljit_compiler(machine().target(), use_jit_link=True)


def assembly(text: str) -> str:
    """IR text as this machine's instructions."""
    return machine().target().emit_assembly(llvm.parse_assembly(text))
