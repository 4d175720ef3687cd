"""A directory of compiled code that processes share: written atomically, checked when read, bounded in size.

``FAD_CACHE_DIR`` names it; empty, nothing is kept. A file that is damaged, or cannot be written, is as good as none.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import sys
import tempfile
from pathlib import Path

__all__ = ["directory", "find", "keep", "sources"]

MOST = 512 * 1024 * 1024  # bytes in the directory; the files used longest ago go first
SUFFIX = ".o"
_written = 0


def directory() -> Path | None:
    """Where code is kept; None where it is not."""
    named = os.environ.get("FAD_CACHE_DIR")
    if named is not None:
        return Path(named) if named else None
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA", os.path.expanduser("~"))
    elif sys.platform == "darwin":
        base = os.path.expanduser("~/Library/Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "fad"


@functools.cache
def sources() -> str:
    """What tells this state of fad's source from others: its version, and its files with their sizes and times."""
    from fad import __version__

    root = Path(__file__).parents[1]
    found = [(str(path.relative_to(root)), path.stat()) for path in root.rglob("*.py")]
    states = sorted((name, state.st_size, state.st_mtime_ns) for name, state in found)
    return hashlib.sha256(repr((__version__, states)).encode()).hexdigest()


def find(key: str) -> bytes | None:
    """What was kept under a key, if it is whole."""
    where = directory()
    if where is None:
        return None
    path = where / (key + SUFFIX)
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, code = content[:32], content[32:]
    if hashlib.sha256(code).digest() != digest:
        with contextlib.suppress(OSError):
            path.unlink()
        return None
    with contextlib.suppress(OSError):
        os.utime(path)
    return code


def keep(key: str, code: bytes) -> None:
    """Keep code under a key: written beside, then moved to its place, so that no reader sees half a file."""
    global _written
    where = directory()
    if where is None:
        return
    try:
        where.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=where, suffix=".tmp")
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(code).digest() + code)
        os.replace(name, where / (key + SUFFIX))
    except OSError:
        return
    _written += 1
    if _written % 64 == 1:
        _prune(where)


def _prune(where: Path) -> None:
    """Remove what was used longest ago until the rest fits."""
    files = []
    for path in where.glob("*" + SUFFIX):
        with contextlib.suppress(OSError):
            state = path.stat()
            files.append((state.st_mtime, state.st_size, path))
    total = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if total <= MOST:
            return
        with contextlib.suppress(OSError):
            path.unlink()
            total -= size
