"""The cache on disk: shared by processes, damaged files, bounds, and a second process that compiles nothing."""

import hashlib
import multiprocessing
import os
import subprocess
import sys
import textwrap

import pytest

from fad.native import disk


@pytest.fixture(autouse=True)
def own_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("FAD_CACHE_DIR", str(tmp_path))
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


def test_the_oldest_files_go_first(monkeypatch, own_directory):
    monkeypatch.setattr(disk, "MOST", 1000)
    monkeypatch.setattr(disk, "_written", 1)  # it is not time to prune while these are written
    for k in range(10):
        disk.keep(str(k), bytes(200))
        os.utime(own_directory / f"{k}.o", (k, k))
    disk.find("0")  # used just now
    disk._prune(own_directory)
    left = {int(f.stem) for f in own_directory.glob("*.o")}
    assert 0 in left and 9 in left and 1 not in left
    assert sum(f.stat().st_size for f in own_directory.glob("*.o")) <= 1000


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
