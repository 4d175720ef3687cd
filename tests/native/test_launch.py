"""The launcher: every piece once, from many threads, inside itself, in children of all kinds, and at the end of a process."""

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fad
from fad.errors import FadError
from fad.native import launch, threadpool
from fad.native import threads as settings
from fad.native.engine import load

MANY = 6  # threads, more than there are cores on small machines

CHUNKS = """
; data: the counts of each index, and for each begin its end
define void @count(ptr %data, i64 %begin, i64 %end) {
  %counts = load ptr, ptr %data
  %second = getelementptr ptr, ptr %data, i64 1
  %ends = load ptr, ptr %second
  %mine = getelementptr i64, ptr %ends, i64 %begin
  store i64 %end, ptr %mine
  br label %one
one:
  %i = phi i64 [ %begin, %0 ], [ %j, %one ]
  %at = getelementptr i64, ptr %counts, i64 %i
  atomicrmw add ptr %at, i64 1 monotonic
  %j = add i64 %i, 1
  %more = icmp slt i64 %j, %end
  br i1 %more, label %one, label %done
done:
  ret void
}
; data: a thread for each piece
define void @who(ptr %data, i64 %begin, i64 %end) {
  %me = call ptr @pthread_self()
  %mine = getelementptr ptr, ptr %data, i64 %begin
  store ptr %me, ptr %mine
  ret void
}
; data: how many have come; waits until there are two, for ten seconds or so
define void @meet(ptr %data, i64 %begin, i64 %end) {
  atomicrmw add ptr %data, i64 1 monotonic
  br label %look
look:
  %turn = phi i64 [ 0, %0 ], [ %next, %wait ]
  %come = load atomic i64, ptr %data monotonic, align 8
  %met = icmp sge i64 %come, 2
  br i1 %met, label %done, label %wait
wait:
  call i32 @usleep(i32 100)
  %next = add i64 %turn, 1
  %late = icmp sgt i64 %next, 60000
  br i1 %late, label %lonely, label %look
lonely:
  atomicrmw add ptr %data, i64 -1000 monotonic
  ret void
done:
  ret void
}
; data: launch, and the data of @count, of which each outer piece counts all 40 indices
define void @nested(ptr %data, i64 %begin, i64 %end) {
  %launch = load ptr, ptr %data
  %rest = getelementptr ptr, ptr %data, i64 1
  call i64 %launch(ptr @count, ptr %rest, i64 0, i64 40, i64 3, ptr null)
  ret void
}
define void @idle(ptr %data, i64 %begin, i64 %end) {
  br label %one
one:
  %i = phi i64 [ %begin, %0 ], [ %j, %one ]
  store volatile i64 %i, ptr %data
  %j = add i64 %i, 1
  %more = icmp slt i64 %j, %end
  br i1 %more, label %one, label %done
done:
  ret void
}
declare ptr @pthread_self()
declare i32 @usleep(i32)
"""
code = load(CHUNKS)
address_of = {name: code.address(name) for name in ("count", "who", "meet", "nested", "idle")}
serial = load(threadpool.WITHOUT_THREADS)
posix = pytest.mark.skipif(os.name != "posix", reason="no pthreads here: every launch is serial")
can_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")
fork_of_threads = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def run(chunk, data, total, grain, address=None, first=0, until=None):
    call = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 3, ctypes.c_void_p)
    return call(address or launch.launcher())(address_of[chunk], data.ctypes.data, first, total, grain, until)


def pieces(total, grain):
    """What @count writes: each index once, and the end of each piece at its begin."""
    begins = np.arange(0, total, grain)
    ends = np.zeros(total, np.int64)
    ends[begins] = np.minimum(begins + grain, total)
    return np.ones(total, np.int64), ends


def counted(total, grain, address=None, times=1):
    counts, ends = np.zeros((2, total), np.int64)
    for _ in range(times):
        run("count", np.array([counts.ctypes.data, ends.ctypes.data]), total, grain, address)
    return counts, ends


def all_is_well(total=1000, grain=7):
    return np.array_equal(counted(total, grain), pieces(total, grain))


@pytest.fixture(autouse=True)
def many_threads(monkeypatch):
    monkeypatch.setattr(settings, "_from_environment", lambda: MANY)
    before = settings._threads
    yield
    fad.set_num_threads(before or settings._cores())
    settings._threads = before


@given(total=st.integers(0, 3000), grain=st.integers(1, 500), threads=st.integers(1, 6))
def test_every_piece_runs_once(total, grain, threads):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "_from_environment", lambda: MANY)
        fad.set_num_threads(threads)
    assert np.array_equal(counted(total, grain), pieces(total, grain))


@given(total=st.integers(0, 300), grain=st.integers(1, 50))
def test_without_threads(total, grain):
    assert np.array_equal(counted(total, grain, serial.address("launch")), pieces(total, grain))


@given(total=st.integers(0, 3000), grain=st.integers(1, 500), threads=st.integers(1, 6))
def test_a_launch_that_is_late_stops_between_pieces(total, grain, threads):
    """It says how far it came, and another one does the rest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "_from_environment", lambda: MANY)
        fad.set_num_threads(threads)
    counts, ends = np.zeros((2, total), np.int64)
    first = 0
    while first < total:
        until = ctypes.c_int64(1)  # long ago
        end = run("count", np.array([counts.ctypes.data, ends.ctypes.data]), total, grain, None, first, ctypes.addressof(until))
        assert first < end <= total and np.all(counts[:end] == 1) and not counts[end:].any()
        first = end
    assert np.array_equal((counts, ends), pieces(total, grain))


@posix
@pytest.mark.parametrize("threads", [1, 2])
def test_a_launch_is_late_after_a_while(threads):
    fad.set_num_threads(threads)
    until = ctypes.c_int64(0)
    total = 10**10
    done = run("idle", np.zeros(1), total, 10**5, None, 0, ctypes.addressof(until))
    assert 0 < done < total and until.value > 0


@pytest.mark.parametrize("total, grain", [(0, 1), (-5, 2), (5, 2**62), (1, 1)])
def test_extremes(total, grain):
    fad.set_num_threads(2)
    counts, _ = counts_ends = counted(max(total, 0), grain)
    run("count", np.array([x.ctypes.data for x in counts_ends]), total, grain)
    assert np.all(counts == 2)


@posix
@pytest.mark.smoke
def test_two_threads_at_once():
    fad.set_num_threads(2)
    come = np.zeros(1, np.int64)
    run("meet", come, 2, 1)
    assert come[0] == 2


@posix
@pytest.mark.parametrize("threads", [1, 2, MANY])
def test_no_more_threads_than_set(threads):
    fad.set_num_threads(MANY)
    assert all_is_well()  # starts workers that must stay out below
    fad.set_num_threads(threads)
    for _ in range(200):
        who = np.zeros(64, np.int64)
        run("who", who, 64, 1)
        assert np.all(who != 0)
        assert len(set(who)) <= threads


@pytest.mark.parametrize("threads", [2, MANY])
def test_a_hammer_of_launches(threads):
    fad.set_num_threads(threads)
    counts, _ = counted(64, 4, times=20_000)
    assert np.all(counts == 20_000)


@pytest.mark.parametrize("threads", [2, MANY])
def test_launches_from_many_python_threads(threads):
    fad.set_num_threads(threads)
    results = {}

    def work(k):
        results[k] = counted(500 + k, 7, times=500)[0]

    callers = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for t in callers:
        t.start()
    for t in callers:
        t.join()
    assert all(np.all(results[k] == 500) for k in range(8))


def test_a_launch_inside_a_chunk():
    fad.set_num_threads(2)
    counts, ends = np.zeros((2, 40), np.int64)
    for _ in range(100):
        run("nested", np.array([launch.launcher(), counts.ctypes.data, ends.ctypes.data]), 10, 1)
    assert np.all(counts == 1000)


# -- settings ---------------------------------------------------------------------------------------------------------


def test_set_and_get():
    for n in (1, np.int64(2), MANY):
        fad.set_num_threads(n)
        assert fad.get_num_threads() == n


@pytest.mark.smoke
@pytest.mark.parametrize("n", [0, -1, 1.0, True, None, "2", 10**6])
def test_impossible_numbers_of_threads(n):
    before = fad.get_num_threads()
    with pytest.raises(ValueError, match="set_num_threads") as error:
        fad.set_num_threads(n)
    assert isinstance(error.value, FadError)
    assert repr(n) in str(error.value) and "from 1 to" in str(error.value) and "fix: " in str(error.value)
    assert fad.get_num_threads() == before


def python(source, **environment):
    """A fresh process with the test's helpers at hand."""
    clean = {k: v for k, v in os.environ.items() if k not in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS")}
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {root!r})\n{source}"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**clean, **environment},
    )
    assert done.returncode == 0, (done.returncode, done.stderr)
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.mark.parametrize(
    "environment, expected",
    [
        ({}, "min(c, c)"),
        ({"OMP_NUM_THREADS": "1"}, "1"),
        ({"OMP_NUM_THREADS": "1,4"}, "1"),
        ({"NUMBA_NUM_THREADS": "1"}, "1"),
        ({"NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "64"}, "1"),
        ({"OMP_NUM_THREADS": "64"}, "min(c, 64)"),
        ({"OMP_NUM_THREADS": "all"}, "c"),
    ],
)
def test_default(environment, expected):
    assert (
        python(f"from fad.native import threads as l; c = l._cores(); print(l.get_num_threads() == {expected})", **environment)
        == "True"
    )


# -- processes --------------------------------------------------------------------------------------------------------

HELPERS = "from tests.native.test_launch import *; from tests.native.test_launch import launch, os; import fad\n"


@posix
@pytest.mark.parametrize(
    "end",
    [
        "",
        "os._exit(0)",
        "sys.exit(0)",
        "threading.Thread(target=all_is_well).start()",
        "threading.Thread(target=counted, args=(64, 1, None, 10**9), daemon=True).start()",
    ],
)
def test_a_process_ends_straight_after_a_launch(end):
    python(HELPERS + f"fad.set_num_threads(2); assert all_is_well()\n{end}", OMP_NUM_THREADS="2")


@posix
def test_signals_stay_with_python():
    """A signal that Python's threads have blocked waits for them; a worker that took it would end the process."""
    python(
        HELPERS
        + """fad.set_num_threads(2)
come = np.zeros(1, np.int64)
run("meet", come, 2, 1)
assert come[0] == 2
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
os.kill(os.getpid(), signal.SIGUSR1)
assert signal.sigwait({signal.SIGUSR1}) == signal.SIGUSR1""",
        OMP_NUM_THREADS="2",
        OPENBLAS_NUM_THREADS="1",
    )


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on memory")
def test_a_system_that_refuses_threads():
    python(
        HELPERS
        + """import resource
fad.set_num_threads(6); launch.launcher()
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**21, -1))  # a thread's stack is larger
assert all_is_well()
who = np.zeros(64, np.int64)
run("who", who, 64, 1)
assert len(set(who)) == 1""",
        OMP_NUM_THREADS="6",
    )


@pytest.mark.skipif(sys.platform != "linux", reason="cores are chosen on Linux")
@pytest.mark.parametrize("cores", ["{min(mine)}", "mine"])
def test_workers_may_run_where_the_process_may(cores):
    """They leave the caller's core for a moment, if there is another one, and may come back."""
    python(
        HELPERS
        + f"""import time
mine = os.sched_getaffinity(0); mine = {cores}
os.sched_setaffinity(0, mine)
fad.set_num_threads(4)
before = set(os.listdir("/proc/self/task"))
for _ in range(300):
    assert all_is_well()
    time.sleep(1e-4)
workers = set(os.listdir("/proc/self/task")) - before
assert len(workers) == 3
time.sleep(0.1)
assert all(os.sched_getaffinity(int(task)) == mine for task in workers)""",
        OMP_NUM_THREADS="4",
    )


def child(threads, queue):
    fad.set_num_threads(threads)
    come = np.zeros(1, np.int64)
    run("meet", come, 2, 1)
    queue.put((all_is_well(), int(come[0])))


@posix
@fork_of_threads
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_a_child_launches(method):
    fad.set_num_threads(2)
    assert all_is_well()
    context = multiprocessing.get_context(method)
    queue = context.SimpleQueue()
    process = context.Process(target=child, args=(2, queue))
    process.start()
    result = queue.get()
    process.join(60)
    assert result == (True, 2)
    assert process.exitcode == 0
    assert all_is_well()  # the parent's pool is as it was


@can_fork
@fork_of_threads
def test_children_forked_in_the_middle_of_launches():
    """The pool is taken, its workers awake, perhaps its mutex held: none of that is so in the child."""
    fad.set_num_threads(2)
    stop = threading.Event()

    def work():
        while not stop.is_set():
            counted(1000, 10, times=10)

    caller = threading.Thread(target=work)
    caller.start()
    try:
        for _ in range(20):
            pid = os.fork()
            if pid == 0:
                signal.alarm(30)
                come = np.zeros(1, np.int64)
                run("meet", come, 2, 1)
                os._exit(0 if all_is_well() and come[0] == 2 else 1)
            assert os.waitpid(pid, 0)[1] == 0
    finally:
        stop.set()
        caller.join()
