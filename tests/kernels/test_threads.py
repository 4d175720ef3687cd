"""Kernels in forked children, from several Python threads, and from numba's disk cache."""

import multiprocessing
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from fad.kernels import threads
from fad.kernels.conv import conv
from fad.kernels.scatter import scatter_add
from fad.kernels.threads import frozen

X = np.random.default_rng(0).standard_normal((4, 9, 8, 3), np.float32)
W = np.random.default_rng(1).standard_normal((3, 3, 3, 5), np.float32)
PLAIN = (1, 1), ((1, 1), (1, 1)), (1, 1)
can_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")


def _child(queue):
    queue.put((threads._forked, conv(X, W, *PLAIN), scatter_add((3,), np.array([2, 0, 2]), np.arange(3.0))))


@can_fork
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("start_first", [True, False], ids=["pool running", "pool maybe not running"])
def test_a_forked_child_works(start_first):
    if start_first:
        expected = conv(X, W, *PLAIN)
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=_child, args=(queue,))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    forked, y, scattered = queue.get()
    assert forked or not start_first
    np.testing.assert_array_equal(scattered, [1, 0, 2])
    np.testing.assert_array_equal(y, expected if start_first else conv(X, W, *PLAIN))
    assert not threads._forked


@can_fork
def test_a_child_forked_before_the_pool_starts_has_its_own():
    code = """
import os, numpy as np
from fad.kernels import threads
from fad.kernels.scatter import scatter_add
def use(): return scatter_add((2,), np.array([1]), np.ones(1)).tolist() == [0, 1]
child = os.fork()
if child == 0:
    os._exit(0 if use() and threads._started and not threads._forked else 1)
assert os.waitpid(child, 0)[1] == 0
assert use()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@can_fork
def test_a_grandchild_stays_serial():
    code = """
import os, numpy as np
from fad.kernels.scatter import scatter_add
def use(): return scatter_add((2,), np.array([1]), np.ones(1)).tolist() == [0, 1]
assert use()
if os.fork() == 0:
    child = os.fork()
    if child == 0:
        os._exit(0 if use() else 1)
    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
assert os.wait()[1] == 0
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def _from_many_threads():
    expected = conv(X, W, *PLAIN)
    results, barrier = [], threading.Barrier(4)

    def work():
        barrier.wait()
        for _ in range(20):
            results.append(np.array_equal(conv(X, W, *PLAIN), expected))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return len(results) == 80 and all(results)


def test_several_python_threads_at_once():
    assert _from_many_threads()


@pytest.mark.parametrize("layer", ["default", "workqueue"])
def test_several_python_threads_at_once_from_the_start(layer):
    """Also where only workqueue exists, which aborts the process unless launches are serialised."""
    here = os.path.dirname(__file__)
    code = "import test_threads; assert test_threads._from_many_threads()"
    paths = os.pathsep.join([here, *filter(None, sys.path)])
    environment = os.environ | {"NUMBA_THREADING_LAYER": layer, "PYTHONPATH": paths}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=60)


def test_the_serial_twin_is_the_same_function():
    from fad.kernels import conv as module

    x, w = frozen(X[:, None]), frozen(W[None])
    parallel, serial = (np.zeros((4, 1, 9, 8, 5), np.float32) for _ in range(2))
    geometry = (1, 1, 1), (0, 1, 1), (1, 1, 1), 1
    module._conv.parallel(x, w, parallel, *geometry)
    module._conv.serial(x, w, serial, *geometry)
    np.testing.assert_array_equal(parallel, serial)


def test_twins_have_separate_disk_caches():
    """numba's cache does not look at compile options, so one name for both would load the wrong one."""
    from fad.kernels import conv as module

    names = {module._conv.parallel._cache._impl.filename_base, module._conv.serial._cache._impl.filename_base}
    assert len(names) == 2


@pytest.mark.smoke
def test_frozen():
    x = np.asfortranarray(np.ones((2, 3)))
    view = frozen(x)
    assert view.flags.c_contiguous
    assert not view.flags.writeable
    assert x.flags.writeable
    y = np.ones((2, 3))
    assert np.shares_memory(frozen(y), y)


def test_numba_refuses_to_write_to_a_frozen_array():
    import numba

    @numba.njit
    def write(x):
        x[0] = 1.0

    with pytest.raises(numba.TypingError):
        write(frozen(np.zeros(1)))
