"""A directory of compiled code that processes share: written atomically, checked when read, bounded in size.

``FAD_CACHE_DIR`` names it; empty, nothing is kept. What lies there is run, so it must be this user's alone: directories are
made with mode 0700 and files with 0600, and what others own or can write is not read. A file carries a digest of its content
and of the key it was kept under. One that is damaged, or cannot be written, is as good as none.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import stat
import sys
import tempfile
import time
import warnings
from pathlib import Path

__all__ = ["CacheWarning", "directory", "find", "keep", "sources"]

MOST = 512 * 1024 * 1024  # bytes in the directory; the files used longest ago go first
SUFFIX = ".o"
OURS = re.compile(r"[0-9a-f]{64}\.o|tmp\w{8}\.tmp")  # the directory may hold files of others, which stay
STALE = 3600  # seconds after which a temporary file is one that a crash left
READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_written = 0
_told: set[Path] = set()  # directories


class CacheWarning(UserWarning):
    """Compiled code on disk that is not loaded, as others could have put it there."""


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
    return Path(base) / "fad" if os.path.isabs(base) else None  # a user without a home


@functools.cache
def sources() -> str:
    """What tells this state of fad's source from others: its files with their sizes and times."""
    root = Path(__file__).parents[1]
    found = [(str(path.relative_to(root)), path.stat()) for path in root.rglob("*.py")]
    states = sorted((name, state.st_size, state.st_mtime_ns) for name, state in found)
    return hashlib.sha256(repr(states).encode()).hexdigest()


def find(key: str) -> bytes | None:
    """What was kept under a key, if it is whole and nobody else can have written it."""
    where = directory()
    if where is None:
        return None
    path = where / (key + SUFFIX)
    try:
        content = _content(path) if _is_own(where) else None
    except OSError:
        return None
    if content is None:
        return None
    code = content[32:]
    if _digest(key, code) != content[:32]:
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
        _make(where)
        if not _is_own(where):
            return
        handle, name = tempfile.mkstemp(dir=where, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                if hasattr(os, "fchmod"):
                    os.fchmod(handle, 0o600)
                file.write(_digest(key, code) + code)
            os.replace(name, where / (key + SUFFIX))
        except BaseException:  # a full disk, an interrupt
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
    except OSError:
        return
    _written += 1
    if _written % 64 == 1:
        _prune(where)


def _content(path: Path) -> bytes | None:
    """What a file holds; None where that is no plain file of this user's own. Neither follows a link nor waits at a pipe."""
    handle = os.open(path, READ)
    try:
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode) or state.st_size > MOST or not _is_private(path, state):
            return None
        with open(handle, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(handle)


def _digest(key: str, code: bytes) -> bytes:
    """What says that this code was kept under this key."""
    return hashlib.sha256(hashlib.sha256(key.encode()).digest() + code).digest()


def _make(where: Path) -> None:
    """The directory and those above it that are missing, for this user alone whatever the umask."""
    if where.is_dir():
        return
    if not where.parent.is_dir():
        _make(where.parent)
    with contextlib.suppress(FileExistsError):
        os.mkdir(where, 0o700)
        os.chmod(where, 0o700)


def _is_own(where: Path) -> bool:
    """Whether code may be read from a directory and put there: it, and a link that leads to it, are this user's alone."""
    link = os.lstat(where)
    return (not stat.S_ISLNK(link.st_mode) or _is_private(where, link)) and _is_private(where, os.stat(where))


def _is_private(path: Path, state: os.stat_result) -> bool:
    """Whether nobody else can have written what lies there. Said once where somebody can."""
    if not hasattr(os, "geteuid"):  # Windows, where a user's own folder is private
        return True
    is_owned, mode = state.st_uid == os.geteuid(), stat.S_IMODE(state.st_mode)
    if is_owned and (stat.S_ISLNK(state.st_mode) or not mode & (stat.S_IWGRP | stat.S_IWOTH)):
        return True
    place = path.parent if stat.S_ISREG(state.st_mode) else path
    if place not in _told:
        _told.add(place)
        got, fix = (f"mode {mode:04o}", f"chmod go-w {path}") if is_owned else (f"owner {state.st_uid}", "set FAD_CACHE_DIR")
        warnings.warn(
            f"compiled code in {path} is not loaded: got {got}; what lies there is run, so it must be this user's, and "
            f"nobody else may write to it\n  fix: {fix}",
            CacheWarning,
            stacklevel=2,
        )
    return False


def _prune(where: Path) -> None:
    """Remove what a crash left half written, and what was used longest ago until the rest fits."""
    files = []
    for path in where.iterdir():
        with contextlib.suppress(OSError):
            state = path.lstat()
            if not stat.S_ISREG(state.st_mode) or not OURS.fullmatch(path.name):
                continue
            if path.suffix == SUFFIX:
                files.append((state.st_mtime, state.st_size, path))
            elif time.time() - state.st_mtime > STALE:
                path.unlink()
    total = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if total <= MOST:
            return
        with contextlib.suppress(OSError):
            path.unlink()
            total -= size
