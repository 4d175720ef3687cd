"""`python -m benchmarks`: every family of rows, or those named by --only."""

import argparse
import importlib
import os
import platform
import sys
import time
from pathlib import Path

FAMILIES = [
    *("imports", "calls", "chain", "memory", "jit", "jit_cold", "jit_calls", "jit_more", "loops", "linalg"),
    *("conv", "dense", "layers", "eager", "training", "training_start"),
]
PEERS = ["fad", "autograd", "jax", "torch"]  # the columns of a family that names none
THREAD_VARIABLES = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"]


def usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", metavar="NAME", help="the family NAME, or families and rows whose names contain it")
    parser.add_argument("--peers", help="columns, comma-separated, instead of each family's own")
    parser.add_argument("--threads", type=int, default=usable_cores(), help="threads for every peer")
    parser.add_argument("--rounds", type=int, help="samples of each cell, instead of each row's own number")
    parser.add_argument("--quick", action="store_true", help="3 rounds: does it run?")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there too")
    return parser.parse_args(argv)


def is_wanted(only: str | None, family: str, row: str) -> bool:
    return not only or (only == family if only in FAMILIES else only in f"{family} {row}")


def cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), platform.processor())


def machine(options: argparse.Namespace, peers: list) -> str:
    """What the figures depend on, as one paragraph."""
    import numpy

    load = f", load {os.getloadavg()[0]:.1f} at start" if hasattr(os, "getloadavg") else ""
    versions = ", ".join([f"NumPy {numpy.__version__}", *(f"{peer.name} {peer.version}" for peer in peers)])
    return (
        f"{time.strftime('%Y-%m-%d')}, {cpu_model()}, {usable_cores()} cores, {options.threads} threads each"
        f"{load}; {platform.system()}, Python {platform.python_version()}, {versions}.\n"
        "Median [quartiles] of interleaved rounds in one process; "
        "**ratio**: the peer's median over fad's, above 1 fad is ahead.\n"
        f"`python -m benchmarks {' '.join(sys.argv[1:])}`\n"
    )


def progress(text: str) -> None:
    """One line on a terminal that the next call overwrites."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def main(argv: list[str]) -> None:
    options = parse(argv)
    for variable in THREAD_VARIABLES:  # before the first import of NumPy
        os.environ[variable] = str(options.threads)
    eigen = f"--xla_cpu_multi_thread_eigen={'true' if options.threads > 1 else 'false'}"
    os.environ.setdefault("XLA_FLAGS", eigen)
    from . import harness
    from .peers import load

    modules = {family: importlib.import_module(f"benchmarks.{family}") for family in FAMILIES}
    chosen = {
        family: (module, wanted)
        for family, module in modules.items()
        if (wanted := [row for row in module.ROWS if is_wanted(options.only, family, row.name)])
    }
    columns = {family: getattr(module, "PEERS", PEERS) for family, (module, _) in chosen.items()}
    asked = options.peers.split(",") if options.peers else None
    columns = {family: [name for name in asked or own if name in own] for family, own in columns.items()}
    peers, missing = load(list(dict.fromkeys(name for names in columns.values() for name in names)))
    page = [machine(options, peers), *(f"- {name} is left out: {why}" for name, why in missing.items()), ""]
    print("\n".join(page), flush=True)
    for family, (module, rows) in chosen.items():
        present = [peer for peer in peers if peer.name in columns[family]]
        results = []
        for row in rows:
            progress(f"{family}: {row.name}")
            results.append(harness.measure(row, present, 3 if options.quick else options.rounds))
        progress("")
        text = harness.table(module.TITLE, results, columns[family], getattr(module, "BEST", None))
        print(text, flush=True)
        page.append(text)
    if options.markdown:
        options.markdown.write_text("\n".join(page))


if __name__ == "__main__":
    main(sys.argv[1:])
