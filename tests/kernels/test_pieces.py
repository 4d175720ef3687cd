"""Kernels and threads: numba is loaded when it is needed, kernels are kept on disk, run as plain Python, and survive forks and threads."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import fad
from fad.kernels import nets, pieces
from fad.native.threads import ThreadsError

ROOT = Path(__file__).parents[2]
X, W = (
    np.arange(2 * 9 * 8 * 3, dtype=float).reshape(2, 9, 8, 3) % 7,
    np.arange(3 * 3 * 3 * 20, dtype=float).reshape(3, 3, 3, 20) % 5,
)
SAME = {"strides": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1)}


def python(source, **environment):
    """What a fresh process prints."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=ROOT,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout.strip()


@pytest.mark.smoke
def test_numba_is_loaded_by_the_first_kernel():
    """Not by importing fad, by compiling a net, nor by small scatters, products and draws."""
    assert (
        python("""
        import sys
        import numpy as np
        import fad
        from fad import nn, random

        table, x, w = np.ones((5, 3)), np.ones((1, 5, 5, 2)), np.ones((3, 3, 2, 4))
        fad.grad(lambda t: np.sum(t[np.array([0, 0, 2])] @ np.ones((3, 2))))(table)
        random.normal(random.key(0), (9,))
        fad.jit(fad.grad(lambda w: np.sum(nn.max_pool(nn.conv(x, w), 2))))(w)
        before = "numba" in sys.modules
        nn.conv(x, w)
        print(before, "numba" in sys.modules)
        """)
        == "False True"
    )


def test_kernels_are_plain_python_without_numbas_compiler():
    """Every kernel, with the tile in NumPy: for debugging, and to see which lines are reached."""
    source = """
        import numpy as np
        from fad.kernels import arrays, bits, nets

        rng = np.random.default_rng(0)
        x, w, g = (rng.integers(-3, 4, s).astype(float) for s in ((2, 6, 5, 3), (3, 2, 3, 9), (2, 3, 5, 9)))
        geometry = {"strides": (2, 1), "padding": ((1, 1), (0, 1)), "dilation": (1, 1)}
        found = [nets.conv(x, w, **geometry), nets.conv_input_grad(g, w, x.shape, **geometry), nets.conv_weight_grad(x, g, (3, 2), **geometry)]
        depth = rng.integers(-3, 4, (3, 2, 1, 6)).astype(float)
        found += [nets.conv(x, depth, **geometry, groups=3)]
        pools = {"window": (2, 2), "strides": (2, 1), "padding": ((0, 1), (1, 0))}
        found += [nets.max_pool(x, **pools), nets.sum_pool(x, **pools)]
        found += [nets.max_pool_grad(x, found[-1], **pools), nets.max_pool_push(x, x, **pools)]
        found += [arrays.multiply_stack(rng.integers(-3, 4, (2, 7, 5)).astype(float), rng.integers(-3, 4, (2, 5, 20)).astype(float))]
        arrays.SCATTER_ELEMENTS = 8
        found += [arrays.scatter_add((4, 3), rng.integers(0, 4, 20), rng.integers(-3, 4, (20, 3)).astype(float))]
        found += [bits.threefry_bits(np.array([1, 2], np.uint32), 5000).astype(float)]
        print([[float(np.sum(y)), float(np.sum(y * np.arange(y.size).reshape(y.shape) % 13))] for y in found])
        """
    assert python(source, NUMBA_DISABLE_JIT="1") == python(source, NUMBA_DISABLE_JIT="0")


def test_kernels_are_kept_on_disk(tmp_path):
    source = """
        import numpy as np
        from fad.kernels.threefry import draw_pieces

        draw_pieces.address(np.dtype(np.uint32))
        print(draw_pieces.compiled[np.dtype(np.uint32)].cache_hits)
        """
    assert [python(source, NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(2)] == ["0", "1"]


@pytest.fixture(params=["fad", "numba"])
def layer(request):
    before = fad.get_threading_layer()
    fad.set_threading_layer(request.param)
    yield request.param
    fad.set_threading_layer(before)


def test_many_threads_at_once(layer):
    """numba's workqueue would end the process: one launch has its threads, the others run by themselves."""
    want, wrong = nets.conv(X, W, **SAME), []

    def work():
        for _ in range(20):
            if not np.array_equal(nets.conv(X, W, **SAME), want):
                wrong.append(1)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_a_fork_runs_kernels(layer, child):
    want = nets.conv(X, W, **SAME)

    def in_child():
        for _ in range(3):
            np.testing.assert_array_equal(nets.conv(X, W, **SAME), want)

    child(in_child)


def test_a_fork_of_a_process_that_ran_numbas_threads_runs_kernels_on_either_layer(child):
    before = fad.get_threading_layer()
    fad.set_threading_layer("numba")
    try:
        want = nets.conv(X, W, **SAME)
        for name in ("numba", "fad"):
            fad.set_threading_layer(name)
            child(lambda: np.testing.assert_array_equal(nets.conv(X, W, **SAME), want))
    finally:
        fad.set_threading_layer(before)


def test_what_numbas_threads_do_is_what_fads_do(layer):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((3, 30, 31, 5)), rng.standard_normal((3, 3, 5, 19))
    got = nets.conv(x, w, **SAME)
    fad.set_threading_layer("fad")
    np.testing.assert_array_equal(got, nets.conv(x, w, **SAME))


def test_threading_layers_have_names():
    with pytest.raises(ThreadsError, match="numba"):
        fad.set_threading_layer("tbb")


def test_a_change_of_any_source_makes_kernels_anew(monkeypatch):
    cache = pieces.SourceCache(test_threading_layers_have_names)
    target = type("target", (), {"magic_tuple": staticmethod(lambda: ())})
    before = cache._index_key((), target)
    monkeypatch.setattr(pieces, "state_of_sources", lambda: "other")
    assert cache._index_key((), target) != before


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer")
def test_a_long_kernel_can_be_interrupted():
    """Signal handlers run between pieces of work, a tenth of a second apart."""
    x, w = np.ones((32, 224, 224, 64), np.float32), np.ones((3, 3, 64, 64), np.float32)
    nets.conv(x[:1], w, **SAME)

    class Stop(Exception):
        pass

    def stop(*_):
        raise Stop

    before = signal.signal(signal.SIGALRM, stop)
    try:
        begin = time.perf_counter()
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(Stop), fewest_threads():
            nets.conv(x, w, **SAME)  # 10^11 operations, a second or more
        assert time.perf_counter() - begin < 0.8
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def fewest_threads():
    before = fad.get_num_threads()
    fad.set_num_threads(1)
    try:
        yield
    finally:
        fad.set_num_threads(before)
