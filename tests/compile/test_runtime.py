"""What runs programs: pauses for signals at any place, handlers that run programs, interrupts, and objects that lie otherwise."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import fad
from fad.compile import program, runtime

ROOT = Path(__file__).parents[2]
has_timers = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs signals of POSIX")


def python(source, **environment):
    """What a fresh process prints."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "2", **environment},
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "ignored" not in done.stderr  # as Python says of exceptions in destructors
    return done.stdout


# -- the suite of jit in other circumstances ----------------------------------------------------------------------------

MODES = {
    "objects that lie otherwise": "runtime.SLOW = True",
    "pauses wherever there can be one": "threadpool.SLICE = 0; program.LONG = -1",
}


@pytest.mark.parametrize("mode", MODES)
def test_jit(mode):
    python(f"""
        import sys
        from fad.compile import program, runtime
        from fad.native import threadpool
        {MODES[mode]}
        import pytest
        sys.exit(pytest.main(["-q", "-x", "-p", "no:cacheprovider", "tests/compile/test_jit.py", "tests/compile/test_program.py"]))
    """)


def test_the_layout_is_known_here():
    assert runtime.layout_is_known() == (not hasattr(sys, "_is_gil_enabled") or sys._is_gil_enabled())


@pytest.mark.parametrize("known", [False, True])
def test_arrays_and_scalars_of_all_dtypes(monkeypatch, known):
    for module in (runtime, program):
        monkeypatch.setattr(module, "layout_is_known", lambda: known)
    for dtype in "?bBhHiIlLqQfdFD":
        x, y = np.ones((2, 3), dtype), np.dtype(dtype).type(1)
        made = program.build(fad.trace(lambda x, y: (x + y, x * y, y + y))(x, y))
        for got, want in zip(made([x, y]), (x + y, x * y, y + y), strict=True):
            np.testing.assert_array_equal(got, want, strict=True)
    sine = program.build(fad.trace(np.sin)(2.0))
    assert sine([2.0])[0] == pytest.approx(np.sin(2.0))
    assert (sine.quick([float]) is not None) == known


# -- signals ------------------------------------------------------------------------------------------------------------

LONG_PROGRAMS = """
    import os, signal, sys, threading, time
    import numpy as np, fad
    from fad import nn
    from fad.native import threadpool
    threadpool.SLICE = 10_000_000  # programs need not be very long then

    def elementwise(x):
        for k in range(50):
            x = np.sin(x) + np.cos(x * k)
        return np.sum(x)

    def reductions(x):
        for k in range(60):
            x = np.sin(x + np.sum(x) * 1e-3 + k)
        return x

    def callbacks(x):
        for k in range(10):
            x = np.sort(np.sin(np.exp(np.sin(x)) * k)) + k
        return x

    PROGRAMS = {
        "threads": (fad.jit(elementwise), np.linspace(0, 1, 2_000_000)),
        "reductions": (fad.jit(reductions), np.linspace(0, 1, 1_000_000)),
        "products": (fad.jit(lambda x: x @ x @ x), np.full((1500, 1500), 1e-3)),
        "callbacks": (fad.jit(callbacks), np.linspace(0, 1, 1_000_000)),
        "without jit": (lambda x: nn.conv(x, WEIGHTS), np.ones((6, 100, 100, 64), np.float32)),
    }
    WEIGHTS = np.ones((7, 7, 64, 64), np.float32)

    def timed(f, *args):
        start = time.perf_counter()
        result = f(*args)
        return result, time.perf_counter() - start
"""


@has_timers
@pytest.mark.parametrize("threads", [1, 2])
def test_an_interrupt_takes_effect_and_the_next_call_is_right(threads):
    python(
        LONG_PROGRAMS
        + f"""
    fad.set_num_threads({threads})
    signal.signal(signal.SIGALRM, signal.default_int_handler)

    def interrupted(f, x, after):  # seconds until that took effect
        signal.setitimer(signal.ITIMER_REAL, after)
        start = time.perf_counter()
        try:
            f(x)
            time.sleep(60)
        except KeyboardInterrupt:
            return time.perf_counter() - start

    for name, (f, x) in PROGRAMS.items():
        f(x)
        want, whole = timed(f, x)
        spent = [interrupted(f, x, whole / 10) for _ in range(3)]
        assert min(spent) < 0.6 * whole, (name, spent, whole)  # the best of three, as the machine may be busy
        np.testing.assert_array_equal(f(x), want)
    """
    )


@has_timers
@pytest.mark.parametrize("name", ["products", "reductions"])
def test_a_handler_may_run_programs(name):
    """The one that it interrupts has its memory to itself."""
    python(
        LONG_PROGRAMS
        + f"""
    f, x = PROGRAMS[{name!r}]
    other = fad.jit(lambda x: np.cumsum(np.sin(np.cumsum(x)))[::-1] * 3.0)
    y = np.linspace(0, 1, 3_000_000)
    want, half, expected = f(x), f(0.5 * x), other(y)
    fine = []
    def handler(*_):
        fine.append(np.array_equal(f(0.5 * x), half))
        fine.append(np.array_equal(other(y), expected))
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    got = f(x)
    signal.setitimer(signal.ITIMER_REAL, 0)
    np.testing.assert_array_equal(got, want)
    assert fine and all(fine), fine
    """
    )


def test_pauses_between_steps_that_run_alone():
    assert "True True" in python("""
        import numpy as np, fad
        from fad.compile import program, runtime
        from fad.native import threadpool
        threadpool.SLICE, program.LONG = 0, -1
        count, resume = [], runtime.resumer()
        program.resumer = lambda: lambda *args: (count.append(1), resume(*args))[1]

        def f(x):
            for k in range(300):
                x = np.sin(x + np.sum(x) * 1e-3)
            return x

        x = np.linspace(0, 1, 500)
        print(np.allclose(fad.jit(f)(x), f(x), rtol=1e-9), len(count) > 1)
    """)


@has_timers
def test_what_is_donated_is_written_whole():
    """An interrupted program that takes over memory is done with it first."""
    python(
        LONG_PROGRAMS
        + """
    f = fad.jit(lambda w, x: w - x @ x, donate=0)
    x = np.full((1200, 1200), 1e-3)
    w = np.zeros_like(x)
    after, whole = timed(f, w, x)
    after = after.copy()
    _, whole = timed(f, np.zeros_like(x), x)
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    for part in (0.1, 0.4, 0.8):
        w = np.zeros_like(x)
        signal.setitimer(signal.ITIMER_REAL, part * whole)
        try:
            f(w, x)
            time.sleep(10)
        except KeyboardInterrupt:
            pass
        assert np.array_equal(w, after) or not w.any()
    """
    )


@has_timers
def test_a_program_with_callbacks_leaves_what_is_donated():
    f = fad.jit(lambda x: np.sort(np.sin(x)) * 2, donate=0)
    x = np.linspace(0, 3, 100)
    before = x.copy()
    np.testing.assert_allclose(f(x), np.sort(np.sin(before)) * 2)
    np.testing.assert_array_equal(x, before)


@has_timers
def test_an_interrupt_while_compiling_is_not_lost():
    python(
        """
        import random, signal, time
        import numpy as np, fad

        def f(x, k):
            for i in range(25):
                x = np.sin(np.cumsum(x) * (i + k) * 1e-2) @ np.ones((x.size, x.size + i % 3)) / x.size
            return np.sum(x)

        def compiled(k):
            return fad.jit(fad.grad(lambda x: f(x, k)))(np.ones(5))

        compiled(0.5)
        start = time.perf_counter()
        compiled(0.25)
        whole = time.perf_counter() - start
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        draw = random.Random(0)
        for k in range(10):
            signal.setitimer(signal.ITIMER_REAL, whole * draw.uniform(0.02, 0.98))
            try:
                compiled(k + 1.5)
                time.sleep(60)
            except KeyboardInterrupt:
                continue
            raise AssertionError("lost")
        np.testing.assert_allclose(compiled(0.75), fad.grad(lambda x: f(x, 0.75))(np.ones(5)), rtol=1e-6, atol=1e-12)
    """,
        FAD_CACHE_DIR="",
    )
