"""Code in memory: freed when dropped, which takes no interrupt away, and not at exit."""

import subprocess
import sys
import time

import pytest

from fad.native import engine

EMPTY = "define void @f() { ret void }"


def test_an_interrupt_while_code_is_freed_comes_after():
    class Library:
        def close(self):
            raise KeyboardInterrupt

    loaded = engine.load(EMPTY)
    loaded.library = Library()
    with pytest.raises(KeyboardInterrupt):
        del loaded
        time.sleep(30)


def test_code_is_freed_once(monkeypatch):
    loaded = engine.load(EMPTY)
    library = loaded.library
    disposed, dispose = [], library._dispose
    monkeypatch.setattr(library, "_dispose", lambda: (disposed.append(1), dispose()))
    del loaded
    assert library.closed and disposed == [1]


@pytest.mark.parametrize("daemon", [False, True])
def test_threads_run_code_at_the_end_of_a_process(daemon):
    source = f"""
import threading, time, numpy as np, fad
f = fad.jit(lambda x: np.sum(np.sin(np.exp(np.sin(x)))))
x = np.linspace(0, 1, 1_000_000)
f(x)
def work():
    for _ in range(10**9 if {daemon} else 20):
        f(x)
for _ in range(2):
    threading.Thread(target=work, daemon={daemon}).start()
time.sleep(0.1)
"""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
