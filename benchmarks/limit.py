"""The machine's peak: multiply-adds between registers on all threads, nothing loaded or stored."""

import ctypes
import os
import threading
import time
from functools import cache

BITS = {"float": 32, "double": 64}
SCALARS = {"float32": "float", "float64": "double"}
CHAINS = 12  # enough independent multiply-adds to hide the latency of each, few enough to stay in registers


def vector_bits() -> int:
    """Width of the widest vectors this processor has."""
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    return 512 if features.get("avx512f") else 256 if features.get("avx") else 128


def loop_ir(scalar: str) -> str:
    """`void peak(n, out)`: n turns of CHAINS fused multiply-adds of vectors, whose sum goes to out.

    Without unwinding tables, so one section: LLVM's old linker aborts where two are mapped far apart.
    """
    lanes = vector_bits() // BITS[scalar]
    vector = f"<{lanes} x {scalar}>"
    name = f"@llvm.fma.v{lanes}f{BITS[scalar]}"
    phis = "\n".join(f"  %a{i} = phi {vector} [ %start, %entry ], [ %b{i}, %loop ]" for i in range(CHAINS))
    fmas = "\n".join(f"  %b{i} = call {vector} {name}({vector} %a{i}, {vector} %start, {vector} %start)" for i in range(CHAINS))
    sums = "\n".join(f"  %s{i} = fadd {vector} %{f's{i - 1}' if i else 'start'}, %b{i}" for i in range(CHAINS))
    return f"""
declare {vector} {name}({vector}, {vector}, {vector})
define void @peak(i64 %n, ptr %out) #0 {{
entry:
  %start = load {vector}, ptr %out, align 4
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
{phis}
{fmas}
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %n
  br i1 %more, label %loop, label %end
end:
{sums}
  store {vector} %s{CHAINS - 1}, ptr %out, align 4
  ret void
}}
attributes #0 = {{ nounwind "min-legal-vector-width"="512" "prefer-vector-width"="512" }}
"""


@cache
def compiled(dtype: str) -> tuple:
    """(the engine, which owns the code, and its function)."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=2
    )
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(loop_ir(SCALARS[dtype])), target)
    engine.finalize_object()
    return engine, ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p)(engine.get_function_address("peak"))


best: dict[str, float] = {}


def peak(dtype: str = "float32") -> float:
    """Floating-point operations per second of all threads together: the best that this process has seen so far.

    Every call takes a few more samples of a few milliseconds, so that another's load at one moment does not decide.
    """
    _, loop = compiled(dtype)
    threads, turns = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)), 2_000_000
    operations = 2 * CHAINS * turns * threads * vector_bits() // BITS[SCALARS[dtype]]
    best[dtype] = max(best.get(dtype, 0.0), operations / min(seconds(loop, turns, threads) for _ in range(5)))
    return best[dtype]


def seconds(loop: ctypes._CFuncPtr, turns: int, threads: int) -> float:
    """Time of `loop` on every thread at once, all of them running when the clock starts."""
    barrier = threading.Barrier(threads + 1)

    def work() -> None:
        out = (ctypes.c_double * 8)()  # one vector of zeros
        barrier.wait()
        loop(turns, ctypes.addressof(out))
        barrier.wait()

    team = [threading.Thread(target=work) for _ in range(threads)]
    for thread in team:
        thread.start()
    barrier.wait()
    begin = time.perf_counter()
    barrier.wait()
    taken = time.perf_counter() - begin
    for thread in team:
        thread.join()
    return taken
