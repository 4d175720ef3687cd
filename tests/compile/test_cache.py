"""Lifetimes: a program, its constants and its machine code go with the jitted function; what is kept beyond is bounded in bytes."""

import gc
import os
import subprocess
import sys
import textwrap
import threading
import weakref

import numpy as np
import pytest

import fad
from fad.compile import cache, runtime
from fad.native import engine, fork

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
x = np.linspace(0.5, 1.5, 7)
data = np.linspace(0, 1, 3000)


@pytest.fixture
def nothing_kept(monkeypatch):
    monkeypatch.setattr(cache, "KEPT", 0)
    cache._recent.clear()


def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


FUNCTIONS = {
    "plain": (lambda x: np.sin(x) + 0.125, x),
    "captured": (lambda w: np.sum(np.sin(w * data)), 2.0),
    "gradient": (fad.grad(lambda x: np.sum(np.sin(x) ** 3)), x),
    "pytree": (lambda d: {"b": np.sin(d["a"]) * 0.25}, {"a": x}),
    "callback": (lambda x: np.sin(np.sort(np.cos(x))), x),
    "static": (lambda x, n: x**n, x, 3),
    "donated": (lambda x: x * 2 + 1.125, x.copy()),
    "threads": (lambda x: np.exp(x @ x), np.full((300, 300), 1e-3)),
    "several": (lambda x: (np.cos(x), np.sum(x)), x),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_program_goes_with_its_function(nothing_kept, name):
    f, *args = FUNCTIONS[name]
    options = {"static": {"static_argnums": 1}, "donated": {"donate": 0}}.get(name, {})
    gc.disable()  # there are no cycles
    try:
        jitted = fad.jit(f, **options)
        for _ in range(2):
            jitted(*args)
        jitted.lower(*args).tree  # noqa: B018
        found = [
            weakref.ref(thing)
            for c in jitted.compiled.values()
            for thing in (c.program, c.program.loaded, c.program.loaded.library)
        ]
        del jitted
        assert [ref() for ref in found] == [None] * 3
    finally:
        gc.enable()


def test_a_program_goes_after_an_error(nothing_kept):
    jitted = fad.jit(lambda x, i: x[i] * 0.75)
    with pytest.raises(IndexError):
        jitted(x, np.array([100]))
    (found,) = [weakref.ref(c.program) for c in jitted.compiled.values()]
    del jitted
    gc.collect()  # the traceback was a cycle
    assert found() is None


def test_a_function_defined_again_is_found():
    make = lambda: fad.jit(lambda x: np.sin(x) * 3.375)
    make()(x)
    again = make()
    again(x)
    assert "found in this process" in again.explain()


def test_what_is_kept_is_bounded_in_bytes(monkeypatch):
    monkeypatch.setattr(cache, "KEPT", 1 << 20)
    for k in range(30):
        fad.jit(lambda x, k=k: np.sin(x) + k)(x)
    assert 0 < len(cache._recent) < 30
    assert sum(p.nbytes for p in cache._recent.values()) <= 1 << 20
    large = np.ones(200_000)
    fad.jit(lambda w: np.sum(np.sin(large * w)))(2.0)
    assert all(p.nbytes < large.nbytes for p in cache._programs.values())


def test_a_program_in_use_is_shared_though_it_is_not_kept(nothing_kept):
    make = lambda: fad.jit(lambda x: np.sin(x) * 5.375)
    first, second = make(), make()
    first(x)
    second(x)
    assert "found in this process" in second.explain()
    assert next(iter(first.compiled.values())).program is next(iter(second.compiled.values())).program


def test_keys_of_large_constants_tell_one_element():
    other = data.copy()
    other[1234] = np.nextafter(other[1234], 2)
    f, g, h = [fad.trace(lambda w, a=a: np.sum(w * a))(2.0) for a in (data, other, data.copy())]
    assert f == h and f != g and len(repr(f.key)) < 5000


@on_linux
def test_captured_data_is_freed_with_the_function():  # jax#2072, jax#5531, jax#1841
    def fold(k):
        data = np.random.default_rng(k).normal(size=2_000_000)  # 16 MB
        fad.jit(fad.grad(lambda w: np.mean((data * w - 1) ** 2)))(2.0)

    fold(0)
    before = resident()
    for k in range(1, 5):
        fold(k)
    assert resident() - before < 40e6


@on_linux
def test_machine_code_is_freed(nothing_kept):
    """Memory and mappings stay as they are, though each of the functions is compiled."""

    def turn(start):
        for k in range(start, start + 150):
            fad.jit(lambda x, k=k: np.sin(x) * k + 0.625)(x)

    def mappings():
        with open("/proc/self/maps") as file:
            return len(file.readlines())

    turn(0)
    memory, before = resident(), mappings()
    turn(150)
    turn(300)
    assert mappings() - before < 150
    assert resident() - memory < 8e6


def test_linkers_go_with_the_last_of_their_programs(nothing_kept):
    f = fad.jit(lambda x: np.sin(x) * 7.125)
    f(x)
    linker = weakref.ref(next(iter(f.compiled.values())).program.loaded.linker)
    for _ in range(engine.SHARED):
        engine.load("define void @f() { ret void }")
    assert linker() is not None and np.allclose(f(x), np.sin(x) * 7.125)
    del f
    assert linker() is None


def test_a_function_dropped_while_it_runs(nothing_kept):
    """Its code is there until the call is over."""
    big = np.linspace(0, 1, 1_000_000)
    for k in range(10):
        calls, results = [fad.jit(lambda x, k=k: np.sum(np.sin(np.exp(x)) ** 2) + k)], []
        calls[0](big)
        started = threading.Event()

        def work(calls=calls, results=results, started=started):
            started.set()
            results.append(calls.pop()(big))

        thread = threading.Thread(target=work)
        thread.start()
        started.wait()
        fad.jit(lambda x, k=k: np.cos(x) + k)(x)  # takes what memory is free
        thread.join()
        assert results == [pytest.approx(np.sum(np.sin(np.exp(big)) ** 2) + k)]


def test_numba_code_keeps_its_program(nothing_kept):
    import numba

    jitted = fad.jit(lambda x: np.sin(x) * 9.125)
    sine = jitted.as_numba(x)
    outer = numba.njit(lambda x: sine(x) + 1.0)
    expected = outer(x)
    del jitted
    gc.collect()
    for k in range(20):
        fad.jit(lambda x, k=k: np.cos(x) * k)(x)  # takes what memory is free
    np.testing.assert_array_equal(outer(x), expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_lock_that_another_thread_holds_is_free_in_a_child():
    held, done = threading.Event(), threading.Event()

    def hold():
        with cache._lock:
            held.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    pid = os.fork()
    if pid == 0:
        os._exit(0 if cache._lock.acquire(timeout=5) and fork._inside == [] else 1)
    status = os.waitpid(pid, 0)[1]
    done.set()
    thread.join()
    assert status == 0


def test_what_all_programs_run_through_is_there_for_good():
    """Two threads may load it at once; each keeps the address of what it loaded."""
    loaded = weakref.ref(runtime._loaded.__wrapped__())
    gc.collect()
    assert loaded() is not None


def test_first_programs_of_several_threads():
    code = """
        import threading, numpy as np, fad
        together = threading.Barrier(6)

        def work(n):
            together.wait()
            for k in range(12):
                x = np.ones(n + k)
                assert np.isclose(fad.jit(lambda x: np.sum(np.cos(x * k)) + n)(x), np.sum(np.cos(x * k)) + n)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 7)]
        for t in threads: t.start()
        for t in threads: t.join()
    """
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)],
            capture_output=True,
            text=True,
            env={**os.environ, "FAD_CACHE_DIR": ""},
        )
        assert done.returncode == 0, done.stderr
