"""The cache on disk: shared by processes, damaged and foreign files, bounds, and a second process that compiles nothing."""

import errno
import hashlib
import multiprocessing
import os
import stat
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import pytest

from fad.native import disk

posix = pytest.mark.skipif(os.name != "posix", reason="no owners and modes here")


@pytest.fixture(autouse=True)
def own_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("FAD_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(disk, "_told", set())
    monkeypatch.setattr(disk, "_written", 1)  # it is not time to prune
    return tmp_path


def test_what_is_kept_is_found():
    assert disk.find("a") is None
    disk.keep("a", b"code")
    assert disk.find("a") == b"code"


def test_an_empty_name_keeps_nothing(monkeypatch, own_directory):
    monkeypatch.setenv("FAD_CACHE_DIR", "")
    disk.keep("a", b"code")
    assert disk.find("a") is None and disk.directory() is None and not list(own_directory.iterdir())


@pytest.mark.parametrize("damage", [lambda c: b"", lambda c: c[:10], lambda c: c[:-1], lambda c: c[:40] + b"?" + c[41:]])
def test_a_damaged_file_is_as_good_as_none(own_directory, damage):
    disk.keep("a", bytes(range(100)))
    (file,) = own_directory.glob("*.o")
    file.write_bytes(damage(file.read_bytes()))
    assert disk.find("a") is None
    disk.keep("a", b"new")
    assert disk.find("a") == b"new"


def test_a_directory_that_cannot_be_is_no_error(monkeypatch, own_directory):
    (own_directory / "file").write_text("in the way")
    monkeypatch.setenv("FAD_CACHE_DIR", str(own_directory / "file"))
    disk.keep("a", b"code")
    assert disk.find("a") is None


def name(k):
    """A key as the engine makes them."""
    return hashlib.sha256(str(k).encode()).hexdigest()


def test_the_oldest_files_go_first(monkeypatch, own_directory):
    monkeypatch.setattr(disk, "MOST", 1000)
    for k in range(10):
        disk.keep(name(k), bytes(200))
        os.utime(own_directory / f"{name(k)}.o", (k, k))
    disk.find(name(0))  # used just now
    disk._prune(own_directory)
    left = {f.stem for f in own_directory.glob("*.o")}
    assert name(0) in left and name(9) in left and name(1) not in left
    assert sum(f.stat().st_size for f in own_directory.glob("*.o")) <= 1000


def test_files_that_are_not_the_caches_stay(monkeypatch, own_directory):
    monkeypatch.setattr(disk, "MOST", 0)
    for file in ("module.o", "notes.tmp", "x" * 64 + ".o"):
        (own_directory / file).write_bytes(bytes(100))
        os.utime(own_directory / file, (0, 0))
    disk.keep(name(1), b"code")
    disk._prune(own_directory)
    assert len(list(own_directory.iterdir())) == 3 and disk.find(name(1)) is None


# -- what lies there is run ---------------------------------------------------------------------------------------------


def test_a_file_answers_to_its_own_key_alone(own_directory):
    disk.keep("a", b"code")
    disk.keep("b", b"other")
    (own_directory / "b.o").write_bytes((own_directory / "a.o").read_bytes())
    assert disk.find("a") == b"code" and disk.find("b") is None


@posix
@pytest.mark.parametrize("umask", [0, 0o002, 0o022, 0o277, 0o777])
def test_directories_and_files_are_the_users_alone(monkeypatch, own_directory, umask):
    monkeypatch.setenv("FAD_CACHE_DIR", str(own_directory / "above" / "cache"))
    before = os.umask(umask)
    try:
        disk.keep("a", b"code")
    finally:
        os.umask(before)
    modes = {str(p.relative_to(own_directory)): stat.S_IMODE(p.stat().st_mode) for p in own_directory.rglob("*")}
    assert modes == {"above": 0o700, "above/cache": 0o700, "above/cache/a.o": 0o600}
    assert disk.find("a") == b"code"


def said(find=lambda: disk.find("a")):
    """What `find` finds, and the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        return find(), [str(w.message) for w in caught if w.category is disk.CacheWarning]


@posix
@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666, 0o777])
@pytest.mark.parametrize("place", [".", "a.o"])
def test_what_others_can_write_is_not_loaded_and_said_once(own_directory, mode, place):
    disk.keep("a", b"code")
    before = (own_directory / place).stat().st_mode
    (own_directory / place).chmod(mode | 0o100)
    found, (text,) = said()
    assert found is None and "is not loaded" in text and "fix: chmod go-w" in text
    assert said() == (None, [])
    (own_directory / place).chmod(before)
    assert said() == (b"code", [])


@posix
@pytest.mark.parametrize("place", [".", "a.o"])
def test_what_another_user_owns_is_not_loaded_and_said_once(monkeypatch, own_directory, place):
    disk.keep("a", b"code")
    mine, at = os.geteuid(), (own_directory / place).stat().st_ino
    real = {"stat": os.stat, "lstat": os.lstat, "fstat": os.fstat}

    def foreign(state):
        return os.stat_result([*state[:4], mine + 1, *state[5:]]) if state.st_ino == at else state

    for call, f in real.items():
        monkeypatch.setattr(os, call, lambda *args, f=f, **kw: foreign(f(*args, **kw)))
    found, (text,) = said()
    assert found is None and f"owner {mine + 1}" in text and "FAD_CACHE_DIR" in text
    assert said() == (None, [])
    if place == ".":  # nothing is written there either
        disk.keep("b", b"code")
        assert {p.name for p in own_directory.iterdir()} == {"a.o"}


@posix
def test_a_link_to_the_directory_is_followed(monkeypatch, own_directory):
    (own_directory / "real").mkdir(0o700)
    (own_directory / "link").symlink_to(own_directory / "real")
    monkeypatch.setenv("FAD_CACHE_DIR", str(own_directory / "link"))
    disk.keep("a", b"code")
    assert disk.find("a") == b"code" and (own_directory / "real" / "a.o").exists()


def pipe(path):
    os.mkfifo(path, 0o600)


def socket(path):
    import socket

    made = socket.socket(socket.AF_UNIX)
    made.bind(str(path)[-100:])  # relative, as names of sockets are short
    made.close()


def linked(path):
    disk.keep("elsewhere", b"code")
    path.symlink_to(path.with_name("elsewhere.o"))


INTRUDERS = {
    "pipe": pipe,
    "socket": socket,
    "directory": lambda p: p.mkdir(),
    "link": linked,
    "link to itself": lambda p: p.symlink_to(p),
    "link to nowhere": lambda p: p.symlink_to("nowhere"),
    "device": lambda p: p.symlink_to("/dev/zero"),
    "text": lambda p: p.write_text("garbage"),
    "nothing": lambda p: p.touch(),
    "endless": lambda p: p.touch() or os.truncate(p, 1 << 40),
    "object": lambda p: p.write_bytes(b"\x7fELF" + bytes(1000)),
}


@posix
@pytest.mark.parametrize("kind", INTRUDERS)
def test_whatever_else_lies_there_is_a_miss(monkeypatch, own_directory, kind):
    monkeypatch.chdir(own_directory)
    INTRUDERS[kind](Path("a.o"))
    assert disk.find("a") is None
    disk.keep("a", b"code")  # takes its place
    assert disk.find("a") == (None if kind == "directory" else b"code")
    assert not list(own_directory.glob("*.tmp"))


# -- trouble ------------------------------------------------------------------------------------------------------------


class Full:
    """A file on a disk that fills up."""

    def __init__(self, file, when):
        self.file, self.when = file, when

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        if self.when == "close":
            raise OSError(errno.ENOSPC, "No space left on device")

    def write(self, content):
        self.file.write(content[:10])
        if self.when == "write":
            raise OSError(errno.ENOSPC, "No space left on device")
        if self.when == "interrupt":
            raise KeyboardInterrupt


@pytest.mark.parametrize("when", ["write", "close", "interrupt"])
def test_a_full_disk_leaves_nothing_behind(monkeypatch, own_directory, when):
    opened = os.fdopen
    monkeypatch.setattr(os, "fdopen", lambda *args: Full(opened(*args), when))
    if when == "interrupt":
        with pytest.raises(KeyboardInterrupt):
            disk.keep("a", b"code")
    else:
        disk.keep("a", b"code")
    assert list(own_directory.iterdir()) == [] and disk.find("a") is None


def test_what_a_crash_left_is_cleaned_away(monkeypatch, own_directory):
    left, busy = own_directory / "tmpabcd1234.tmp", own_directory / "tmpabcd1235.tmp"
    left.touch()
    busy.touch()
    os.utime(left, (0, 0))
    monkeypatch.setattr(disk, "_written", 0)  # as in a new process
    disk.keep("a", b"code")
    assert not left.exists() and busy.exists()


@posix
@pytest.mark.parametrize("where", ["/proc/nothing/here", "/dev/null", "/dev/null/below", "x" * 300])
def test_places_that_cannot_be_are_no_error(monkeypatch, own_directory, where):
    monkeypatch.chdir(own_directory)
    monkeypatch.setenv("FAD_CACHE_DIR", where)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", disk.CacheWarning)
        disk.keep("a", b"code")
        assert disk.find("a") is None
    assert list(own_directory.iterdir()) == []


def test_a_user_without_a_home_keeps_nothing(monkeypatch):
    monkeypatch.delenv("FAD_CACHE_DIR")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    for base in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(base, raising=False)
    assert disk.directory() is None


# -- processes ----------------------------------------------------------------------------------------------------------


def _write_and_read(where: str, seed: int) -> bool:
    os.environ["FAD_CACHE_DIR"] = where
    for k in range(50):
        content = hashlib.sha256(str(k).encode()).digest() * 500
        disk.keep(str(k), content)
        if disk.find(str(k)) not in (None, content):
            return False
    return True


def test_many_processes_at_once(own_directory):
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        assert all(pool.starmap(_write_and_read, [(str(own_directory), k) for k in range(3)]))
    assert not list(own_directory.glob("*.tmp"))


PROGRAM = textwrap.dedent("""
    import numpy as np, fad
    f = fad.jit(lambda x: np.sum(np.sin(x) ** 2))
    print(float(f(np.ones(5))))
    print(f.explain())
""")


def test_a_second_process_does_not_compile(own_directory):
    runs = [subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert "compiled in" in runs[0] and "loaded from disk in" in runs[1]
    assert runs[0].splitlines()[0] == runs[1].splitlines()[0]
    for file in own_directory.glob("*.o"):
        file.write_bytes(b"garbage")
    again = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
    assert "compiled in" in again and again.splitlines()[0] == runs[0].splitlines()[0]


def test_a_cached_file_under_another_key_is_not_run(own_directory):  # found by hostile input
    def run(body):
        return subprocess.run(
            [sys.executable, "-c", f"import numpy as np, fad; print(fad.jit(lambda x: {body})(np.array([1.0, 2.0])))"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    run("x * 3.0 + 0.125")
    first = {p: p.read_bytes() for p in own_directory.rglob("*.o")}
    run("x - 3.0 + 0.125")
    others = [p for p in own_directory.rglob("*.o") if p not in first]
    assert others
    for p in others:
        p.write_bytes(max(first.values(), key=len))
    assert "-1.875" in run("x - 3.0 + 0.125")
