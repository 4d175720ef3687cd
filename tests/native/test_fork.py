"""Forks while other threads compile, link, load and launch: the child finds no lock taken by a thread it does not have."""

import os
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from fad.native import fork

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]

FORKS = textwrap.dedent("""
    import os, signal, sys, threading, time
    import numpy as np

    def children(count, work, patience=40):
        '''Forks, in the middle of what other threads do, children that work.'''
        for k in range(count):
            pid = os.fork()
            if pid == 0:
                signal.alarm(patience)  # ends a child that hangs
                try:
                    work(k)
                except BaseException as error:
                    sys.stderr.write(repr(error))
                    os._exit(1)
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
            time.sleep(0.003 * k)
        os._exit(0)
""")


def python(source, **environment):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKS + textwrap.dedent(source)],
        capture_output=True,
        text=True,
        timeout=200,
        env={**os.environ, "FAD_CACHE_DIR": "", **environment},
    )
    assert done.returncode == 0, (done.returncode, done.stderr)


OTHERS = {  # what other threads do, for ever
    "compile": "fad.jit(lambda x: np.sum(np.cos(x * k)))(np.ones(k % 50 + 1))",
    "compile large programs": "fad.jit(lambda x: np.sum(big(x, k)))(np.ones(40))",
    "link": "engine.load('define void @f() { ret void }')",
    "compile numba code": "numba.njit(lambda x: x + k)(2.0)",
}


@pytest.mark.parametrize("other", OTHERS)
def test_fork_while_another_thread_compiles(other):  # found by process faults; the child hung in LLVM's lock
    python(f"""
        import numba, fad
        from fad.native import engine

        def big(x, k):
            for i in range(60):
                x = np.sin(x[1:] * k) + np.roll(x, i)[1:] if i % 2 and x.size > 3 else np.cumsum(x) * i
            return x

        def work():
            k = 0
            while True:
                k += 1
                {OTHERS[other]}

        for _ in range(2):
            threading.Thread(target=work, daemon=True).start()
        time.sleep(0.3)

        def child(k):
            assert np.isclose(fad.jit(lambda x: np.sum(np.exp(x)))(np.ones(5)), 5 * np.e)
            assert np.allclose(fad.jit(lambda x: np.sin(x @ x) + k)(np.ones((200, 200))), np.sin(200.0) + k)

        children(6, child)
    """)


def test_fork_while_another_thread_loads_the_compiler():
    python("""
        import fad
        ready = threading.Event()

        def work():
            ready.set()
            fad.jit(lambda x: np.sin(x))(np.ones(3))

        threading.Thread(target=work, daemon=True).start()
        ready.wait()
        time.sleep(0.01)
        children(8, lambda k: fad.jit(lambda x: np.sum(np.exp(x)))(np.ones(5)))
    """)


def test_children_fork_again_and_parents_go_on():
    python("""
        import fad
        def child(k):
            fad.jit(lambda x: np.sin(x) * k)(np.ones(3))
            pid = os.fork()
            if pid == 0:
                fad.jit(lambda x: np.cos(x) * k)(np.ones(3))
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
            fad.jit(lambda x: np.tan(x) * k)(np.ones(3))

        pids = []
        for k in range(3):
            pids.append(os.fork())
            if pids[-1] == 0:
                signal.alarm(40)
                child(k)
                os._exit(0)
            fad.jit(lambda x: np.exp(x) * k)(np.ones(3))
        assert all(os.waitpid(pid, 0)[1] == 0 for pid in pids)
        os._exit(0)
    """)


def test_a_fork_waits_for_who_is_at_work():
    order, inside, go = [], threading.Event(), threading.Event()

    def work():
        with fork.at_work():
            inside.set()
            go.wait(30)
            time.sleep(0.05)
            order.append("worked")

    thread = threading.Thread(target=work)
    thread.start()
    inside.wait()
    go.set()
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    order.append("forked")
    os.waitpid(pid, 0)
    thread.join()
    assert order == ["worked", "forked"] and fork._inside == [] and not fork._forking


def test_a_thread_at_work_may_fork_itself():
    """As a signal handler of the user's does."""
    with fork.at_work():
        pid = os.fork()
        if pid == 0:
            with fork.at_work():
                os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    assert fork._inside == []


def test_an_interrupt_at_work_leaves_nothing_behind():
    with pytest.raises(KeyboardInterrupt), fork.at_work():
        raise KeyboardInterrupt
    assert fork._inside == []
