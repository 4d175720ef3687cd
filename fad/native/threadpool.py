"""A pool of threads in native code: one launch at a time, and nobody waits for a thread that has not come.

OpenMP's parallel region ends with a barrier of all its threads; when another process holds one of the cores, the
region lasts until the scheduler has run every thread once, though the others could have done its share. Here a launch
opens a *gate*. Workers that are awake come in and take pieces from a counter, as the caller does; whoever finds no piece
left shuts the gate, and the caller waits only for those inside. A worker that slept too long finds the gate shut.

The source is LLVM IR on pthreads, as it must run without Python: generated code calls it with the GIL released. Who waits
spins for about as long as it costs to sleep and wake, and then sleeps in a condition variable: an idle worker, as the next
launch often follows soon; and a caller whose workers are still inside, so that the core it leaves can run one that lost its own.
(Karlin, Li, Manasse, Owicki, "Empirical studies of competitive spinning for a shared-memory multiprocessor", SOSP 1991.)

Python's signal handlers do not run while native code does. So a long launch stops between two pieces when it is time, and says
how far it came: its caller lets Python have a look, and launches the rest.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from string import Template

from fad.native.cpu import machine
from fad.native.engine import load

__all__ = ["Pool", "clock"]

IDLE = 20_000  # nanoseconds that an idle worker spins; in that time it may keep others off its core
LAST = 50_000  # nanoseconds that a caller spins for the last pieces
SLICE = 100_000_000  # nanoseconds after which native code that can returns to Python

# %until: the address of a time, at first 0; null: never.
WITHOUT_CLOCK = """
define internal i1 @late(ptr %until) { ret i1 false }
"""

CLOCK = """
; Whether it is time to return to Python. The first question says when that will be.
define internal i1 @late(ptr %until) {
  %never = icmp eq ptr %until, null
  br i1 %never, label %no, label %ask
ask:
  %now = call i64 @now()
  %time = load i64, ptr %until
  %begins = icmp eq i64 %time, 0
  br i1 %begins, label %first, label %again
first:
  %end = add i64 %now, $slice
  store i64 %end, ptr %until
  br label %no
again:
  %over = icmp sgt i64 %now, %time
  ret i1 %over
no:
  ret i1 false
}

define internal i64 @now() {
  %time = alloca { i64, i64 }
  call i32 @clock_gettime(i32 $clock, ptr %time)
  %seconds = load i64, ptr %time
  %rest = getelementptr i64, ptr %time, i64 1
  %nanoseconds = load i64, ptr %rest
  %scaled = mul i64 %seconds, 1000000000
  %now = add i64 %scaled, %nanoseconds
  ret i64 %now
}
declare i32 @clock_gettime(i32, ptr)
"""

# No synchronisation: one thread, one piece, or no pthreads.
SERIAL = """
define internal i64 @alone(ptr %chunk, ptr %data, i64 %first, i64 %total, i64 %grain, ptr %until) {
  br label %test
test:
  %begin = phi i64 [ %first, %0 ], [ %end, %piece ]
  %left = sub i64 %total, %begin
  %some = icmp sgt i64 %left, 0
  br i1 %some, label %piece, label %done
piece:
  %size = call i64 @llvm.smin.i64(i64 %grain, i64 %left)
  %end = add i64 %begin, %size
  call void %chunk(ptr %data, i64 %begin, i64 %end)
  %late = call i1 @late(ptr %until)
  br i1 %late, label %pause, label %test
pause:
  ret i64 %end
done:
  ret i64 %total
}
declare i64 @llvm.smin.i64(i64, i64)
"""

WITHOUT_THREADS = (
    WITHOUT_CLOCK
    + SERIAL
    + """
define i64 @launch(ptr %chunk, ptr %data, i64 %first, i64 %total, i64 %grain, ptr %until) {
  %done = call i64 @alone(ptr %chunk, ptr %data, i64 %first, i64 %total, i64 %grain, ptr %until)
  ret i64 %done
}
define void @use(i64 %n) { ret void }
define void @reset() { ret void }
"""
)

WITH_THREADS = (
    CLOCK
    + SERIAL
    + """
; Words that several cores write have cache lines of their own (two lines of 64 bytes: prefetchers fetch pairs).
@threads  = internal global i64 1, align 128   ; how many a launch may use, its caller among them
@started  = internal global i64 0, align 8     ; workers there are; belongs to the owner of the slot
@slot     = internal global i32 0, align 128   ; 1 while a launch owns the pool
@gate     = internal global i64 0, align 128   ; places << 32 | inside: workers that may still come in, workers inside
@next     = internal global i64 0, align 128   ; the next piece to take
@sleepers = internal global i64 0, align 128   ; workers that wait for @wake; written under @mutex
@mutex    = internal global [128 x i8] zeroinitializer, align 128
@wake     = internal global [128 x i8] zeroinitializer, align 128
@waiting  = internal global i64 0, align 128   ; 1 while the caller waits for @left; written under @mutex
@left     = internal global [128 x i8] zeroinitializer, align 128

; The job of the slot's owner: chunk, data, first, total, grain, pieces. It stands still while somebody is inside.
%Job = type { ptr, ptr, i64, i64, i64, i64 }
@job = internal global %Job zeroinitializer, align 128

define i64 @launch(ptr %chunk, ptr %data, i64 %first, i64 %total, i64 %grain, ptr %until) {
  %size = sub i64 %total, %first
  %threads = load atomic i64, ptr @threads monotonic, align 8
  %one.thread = icmp sle i64 %threads, 1
  %one.piece = icmp sle i64 %size, %grain
  %serial = or i1 %one.thread, %one.piece
  br i1 %serial, label %alone, label %claim
claim:                                        ; taken: by another Python thread, or this is a launch inside a chunk
  %claimed = cmpxchg ptr @slot, i32 0, i32 1 acquire monotonic
  %ours = extractvalue { i32, i1 } %claimed, 1
  br i1 %ours, label %together, label %alone
alone:
  %by.one = call i64 @alone(ptr %chunk, ptr %data, i64 %first, i64 %total, i64 %grain, ptr %until)
  ret i64 %by.one
together:
  %last = sub i64 %size, 1
  %whole = sdiv i64 %last, %grain             ; pieces besides one
  %pieces = add i64 %whole, 1
  %job.1 = insertvalue %Job poison, ptr %chunk, 0
  %job.2 = insertvalue %Job %job.1, ptr %data, 1
  %job.3 = insertvalue %Job %job.2, i64 %first, 2
  %job.4 = insertvalue %Job %job.3, i64 %total, 3
  %job.5 = insertvalue %Job %job.4, i64 %grain, 4
  %job.6 = insertvalue %Job %job.5, i64 %pieces, 5
  store %Job %job.6, ptr @job
  store atomic i64 0, ptr @next monotonic, align 8
  %others = sub i64 %threads, 1
  %helpers = call i64 @llvm.smin.i64(i64 %others, i64 %whole)
  call void @settle()
  %started = call i64 @start(i64 %helpers)
  %places = shl i64 %helpers, 32
  store atomic i64 %places, ptr @gate seq_cst, align 8
  ; A worker on its way to sleep first counts itself in @sleepers and then looks at @gate: one of the two sees the other.
  %asleep = load atomic i64, ptr @sleepers seq_cst, align 8
  %awake = sub i64 %started, %asleep
  %absent = sub i64 %helpers, %awake
  %missed = icmp sgt i64 %absent, 0
  br i1 %missed, label %rouse, label %share
rouse:
  call void @signal(ptr @wake, i64 %absent)
  br label %share
share:
  %taken = call i64 @work(ptr %until)
  %gate = load atomic i64, ptr @gate acquire, align 8
  %empty = icmp eq i64 %gate, 0
  br i1 %empty, label %done, label %wait
wait:
  %soon = call i1 @spin(i64 u0x00000000FFFFFFFF, i1 false, i64 $last)
  br i1 %soon, label %done, label %block
block:
  call i32 @pthread_mutex_lock(ptr @mutex)
  store atomic i64 1, ptr @waiting seq_cst, align 8
  br label %look
look:
  %gate.now = load atomic i64, ptr @gate seq_cst, align 8
  %empty.now = icmp eq i64 %gate.now, 0
  br i1 %empty.now, label %unblock, label %sleep
sleep:
  call i32 @pthread_cond_wait(ptr @left, ptr @mutex)
  br label %look
unblock:
  store atomic i64 0, ptr @waiting monotonic, align 8
  call i32 @pthread_mutex_unlock(ptr @mutex)
  br label %done
done:
  store atomic i32 0, ptr @slot release, align 4
  %covered = mul i64 %taken, %grain
  %reached = add i64 %first, %covered
  %whole.job = icmp eq i64 %taken, %pieces
  %end = select i1 %whole.job, i64 %total, i64 %reached
  ret i64 %end
}

; Takes pieces until none is left or it is late, then shuts the gate. Pieces are taken in order; gives how many were.
define internal i64 @work(ptr %until) {
  %job = load %Job, ptr @job
  %chunk = extractvalue %Job %job, 0
  %data = extractvalue %Job %job, 1
  %first = extractvalue %Job %job, 2
  %total = extractvalue %Job %job, 3
  %grain = extractvalue %Job %job, 4
  %pieces = extractvalue %Job %job, 5
  br label %take
take:
  %piece = atomicrmw add ptr @next, i64 1 monotonic
  %some = icmp slt i64 %piece, %pieces
  br i1 %some, label %run, label %shut
run:
  %before = mul i64 %piece, %grain
  %begin = add i64 %first, %before
  %left = sub i64 %total, %begin
  %size = call i64 @llvm.smin.i64(i64 %grain, i64 %left)
  %end = add i64 %begin, %size
  call void %chunk(ptr %data, i64 %begin, i64 %end)
  %late = call i1 @late(ptr %until)
  br i1 %late, label %stop, label %take
stop:                                         ; nobody finds another one
  %asked = atomicrmw xchg ptr @next, i64 u0x4000000000000000 monotonic
  %some.taken = call i64 @llvm.smin.i64(i64 %asked, i64 %pieces)
  br label %shut
shut:
  %taken = phi i64 [ %pieces, %take ], [ %some.taken, %stop ]
  atomicrmw and ptr @gate, i64 u0x00000000FFFFFFFF monotonic
  ret i64 %taken
}

define internal ptr @worker(ptr %nothing) {
  br label %idle
idle:
  %crowded = call i1 @crowded()
  br i1 %crowded, label %tired, label %alert
alert:
  %opened = call i1 @spin(i64 u0xFFFFFFFF00000000, i1 true, i64 $idle)
  br i1 %opened, label %enter, label %tired
enter:
  %gate = load atomic i64, ptr @gate monotonic, align 8
  %places = lshr i64 %gate, 32
  %free = icmp ne i64 %places, 0
  br i1 %free, label %step, label %idle
step:                                         ; one place less, one inside more
  %inside = sub i64 %gate, u0x00000000FFFFFFFF
  %stepped = cmpxchg ptr @gate, i64 %gate, i64 %inside acquire monotonic
  %in = extractvalue { i64, i1 } %stepped, 1
  br i1 %in, label %share, label %enter
share:
  call i64 @work(ptr null)
  atomicrmw sub ptr @gate, i64 1 seq_cst      ; from here on the job may be gone
  %waiting = load atomic i64, ptr @waiting seq_cst, align 8
  %awaited = icmp ne i64 %waiting, 0
  br i1 %awaited, label %tell, label %idle
tell:
  call void @signal(ptr @left, i64 1)
  br label %idle
tired:
  call i32 @pthread_mutex_lock(ptr @mutex)
  atomicrmw add ptr @sleepers, i64 1 seq_cst
  br label %look
look:
  %gate.now = load atomic i64, ptr @gate seq_cst, align 8
  %places.now = lshr i64 %gate.now, 32
  %shut = icmp eq i64 %places.now, 0
  br i1 %shut, label %sleep, label %awake
sleep:
  call i32 @pthread_cond_wait(ptr @wake, ptr @mutex)
  br label %look
awake:
  atomicrmw sub ptr @sleepers, i64 1 seq_cst
  call i32 @pthread_mutex_unlock(ptr @mutex)
  call i1 @crowded()                          ; leaves if it can, and else comes in as it is
  br label %enter
}

; Spins until the masked bits of the gate are some (or none) and returns true; false when that takes too long.
define internal i1 @spin(i64 %mask, i1 %wanted, i64 %patience) {
  %start = call i64 @now()
  br label %iteration
iteration:
  %count.old = phi i64 [ 0, %0 ], [ %count.new, %pause ], [ %count.new, %clock ]
  %gate = load atomic i64, ptr @gate acquire, align 8
  %bits = and i64 %gate, %mask
  %some = icmp ne i64 %bits, 0
  %met = icmp eq i1 %some, %wanted
  br i1 %met, label %done, label %pause
pause:
  $pause
  %count.new = add i64 %count.old, 1
  %count = and i64 %count.new, 31
  %due = icmp eq i64 %count, 0
  br i1 %due, label %clock, label %iteration
clock:
  %now = call i64 @now()
  %spent = sub i64 %now, %start
  %late = icmp sgt i64 %spent, %patience
  br i1 %late, label %done, label %iteration
done:
  ret i1 %met
}

; Wakes so many. Taking the mutex once makes sure that who was about to sleep does sleep, and hears the signal.
define internal void @signal(ptr %condition, i64 %count) {
  call i32 @pthread_mutex_lock(ptr @mutex)
  call i32 @pthread_mutex_unlock(ptr @mutex)
  br label %one
one:
  %left = phi i64 [ %count, %0 ], [ %less, %one ]
  call i32 @pthread_cond_signal(ptr %condition)
  %less = sub i64 %left, 1
  %more = icmp sgt i64 %less, 0
  br i1 %more, label %one, label %done
done:
  ret void
}

; Starts workers until there are so many, and returns how many there are. They take no signals: handlers are the user's.
define internal i64 @start(i64 %wanted) {
  %thread = alloca ptr
  %signals = alloca [16 x i64]
  %started = load i64, ptr @started
  %enough = icmp sge i64 %started, %wanted
  br i1 %enough, label %as.before, label %prepare
as.before:
  ret i64 %started
prepare:
  call i32 @pthread_sigmask(i32 $set_mask, ptr @blocked, ptr %signals)
  br label %one
one:
  %have = phi i64 [ %started, %prepare ], [ %more, %made ]
  %missing = icmp slt i64 %have, %wanted
  br i1 %missing, label %make, label %done
make:
  %error = call i32 @pthread_create(ptr %thread, ptr null, ptr @worker, ptr null)
  %failed = icmp ne i32 %error, 0
  br i1 %failed, label %refused, label %made
refused:                                      ; the system has no more: make do, and do not ask at every launch
  %fewer = add i64 %have, 1
  store atomic i64 %fewer, ptr @threads monotonic, align 8
  br label %done
made:
  %id = load ptr, ptr %thread
  call i32 @pthread_detach(ptr %id)
  %more = add i64 %have, 1
  br label %one
done:
  call i32 @pthread_sigmask(i32 $set_mask, ptr %signals, ptr null)
  store i64 %have, ptr @started
  ret i64 %have
}

define void @use(i64 %threads) {
  store atomic i64 %threads, ptr @threads monotonic, align 8
  ret void
}

; The state of a process in which no launch has been: at first, and in a forked child, which has none of the workers.
define void @reset() {
  store i64 0, ptr @started
  store i32 0, ptr @slot
  store i64 0, ptr @gate
  store i64 0, ptr @sleepers
  store i64 0, ptr @waiting
  call void @llvm.memset.p0.i64(ptr @mutex, i8 0, i64 128, i1 false)
  call void @llvm.memset.p0.i64(ptr @wake, i8 0, i64 128, i1 false)
  call void @llvm.memset.p0.i64(ptr @left, i8 0, i64 128, i1 false)
  call i32 @pthread_mutex_init(ptr @mutex, ptr null)
  call i32 @pthread_cond_init(ptr @wake, ptr null)
  call i32 @pthread_cond_init(ptr @left, ptr null)
  ret void
}

@blocked = internal constant [16 x i64] [i64 $blocked, $zeros]
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_detach(ptr)
declare i32 @pthread_sigmask(i32, ptr, ptr)
declare i32 @pthread_mutex_init(ptr, ptr)
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_init(ptr, ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_signal(ptr)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare void @llvm.x86.sse2.pause()
declare void @llvm.aarch64.isb(i32)
"""
)

# Linux often wakes a worker on the core of its waker, above all when no other is idle, and is slow to part the two: they take
# turns there, and the launch takes as long as on one thread. So a worker that finds itself on the caller's core leaves it.
# With another process on one of two cores, a region of 0.16 ms took 0.32 ms in the median without this, 0.16 ms with it.
ON_LINUX = """
@home = internal global i32 -1, align 128      ; the core of the last caller

define internal void @settle() {
  %here = call i32 @sched_getcpu()
  store atomic i32 %here, ptr @home monotonic, align 4
  ret void
}

; Leaves the caller's core; true when this worker is there and cannot.
define internal i1 @crowded() {
  %all = alloca [16 x i64]                     ; a set of cores as bits
  %others = alloca [16 x i64]
  %home = load atomic i32, ptr @home monotonic, align 4
  %here = call i32 @sched_getcpu()
  %same = icmp eq i32 %here, %home
  br i1 %same, label %ask, label %done
ask:
  call i32 @sched_getaffinity(i32 0, i64 128, ptr %all)
  %error = call i32 @sched_getaffinity(i32 0, i64 128, ptr %others)
  %failed = icmp ne i32 %error, 0
  %unknown = icmp ugt i32 %here, 1023
  %lost = or i1 %failed, %unknown
  br i1 %lost, label %done, label %leave
leave:
  %core = zext i32 %here to i64
  %index = lshr i64 %core, 6
  %shift = and i64 %core, 63
  %bit = shl i64 1, %shift
  %rest = xor i64 %bit, -1
  %word = getelementptr i64, ptr %others, i64 %index
  %bits = load i64, ptr %word
  %fewer = and i64 %bits, %rest
  store i64 %fewer, ptr %word
  %refused = call i32 @sched_setaffinity(i32 0, i64 128, ptr %others)  ; moves at once; refused if there is no other core
  call i32 @sched_setaffinity(i32 0, i64 128, ptr %all)
  %stays = icmp ne i32 %refused, 0
  br label %done
done:
  %crowded = phi i1 [ false, %0 ], [ true, %ask ], [ %stays, %leave ]
  ret i1 %crowded
}
declare i32 @sched_getcpu()
declare i32 @sched_getaffinity(i32, i64, ptr)
declare i32 @sched_setaffinity(i32, i64, ptr)
"""

ELSEWHERE = """
define internal void @settle() { ret void }
define internal i1 @crowded() { ret i1 false }
"""


def _pause() -> str:
    """The instruction for an iteration of a spinning loop; on ARM ``isb``, whose duration is near x86's ``pause``."""
    triple = machine().triple
    if triple.startswith(("x86_64", "i686")):
        return "call void @llvm.x86.sse2.pause()"
    return "call void @llvm.aarch64.isb(i32 15)" if triple.startswith(("aarch64", "arm64")) else ""


def _blocked() -> int:
    """The signals that workers leave to Python's threads, as bits; not those that tell of a fault in the worker itself."""
    faults = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGABRT, signal.SIGSYS}
    bits = sum(1 << (number - 1) for number in signal.valid_signals() - faults)
    return bits - ((bits >> 63) << 64)  # as LLVM writes an i64


def clock() -> str:
    """``i1 @late(ptr until)`` for this machine."""
    if os.name != "posix":
        return WITHOUT_CLOCK
    return Template(CLOCK).substitute(clock=time.CLOCK_MONOTONIC, slice=SLICE)


def source() -> str:
    """The IR for this machine."""
    if os.name != "posix":
        return WITHOUT_THREADS
    text = WITH_THREADS + (ON_LINUX if sys.platform == "linux" else ELSEWHERE)
    return Template(text).substitute(
        pause=_pause(),
        idle=IDLE,
        last=LAST,
        slice=SLICE,
        clock=time.CLOCK_MONOTONIC,
        set_mask=int(signal.SIG_SETMASK),
        blocked=_blocked(),
        zeros=", ".join(["i64 0"] * 15),
    )


class Pool:
    """The compiled pool: ``launch`` is the address of its C function, ``use(n)`` sets its threads, ``reset()`` follows a fork."""

    def __init__(self, threads: int) -> None:
        code = load(source(), opt=0)
        self.launch = code.address("launch")
        self.use = ctypes.CFUNCTYPE(None, ctypes.c_int64)(code.address("use"))
        self.reset = ctypes.CFUNCTYPE(None)(code.address("reset"))
        code.forever()  # workers run this code until the process ends
        self.reset()
        self.use(threads)
