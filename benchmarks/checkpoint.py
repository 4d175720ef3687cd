"""Memory against time of a gradient of a scan of 100 000 steps, by what is kept: `python -m benchmarks.checkpoint FILE`."""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import fad

STEPS, SIZE = 100_000, 32
KINDS: list[Any] = [None, 1, 10, 100, 316, 1000, 10_000, "binomial", *[("binomial", s) for s in (3, 5, 20, 50, 200)]]


def gradient(kind: Any) -> Callable:
    """The compiled gradient of a relaxation."""
    step = lambda c, _: (0.7 * np.cos(c) + 0.3 * c[::-1], None)
    return fad.jit(fad.grad(lambda x: np.sum(fad.scan(step, x, length=STEPS, checkpoint=kind)[0])))


def measure(kind: Any, rounds: int = 7) -> tuple[float, float]:
    """Seconds, and bytes beside argument and result."""
    f, x = gradient(kind), np.linspace(0, 1, SIZE)
    f(x)
    taken = []
    for _ in range(rounds):
        begin = time.perf_counter()
        f(x)
        taken.append(time.perf_counter() - begin)
    (compiled,) = f.compiled.values()
    return statistics.median(taken), float(compiled.program.plan.arena)


def main(path: str) -> None:
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.5))
    groups: dict[str, list] = {"everything": [], "every k-th carry": [], "Revolve, s carries": []}
    for kind in KINDS:
        seconds, size = measure(kind)
        print(f"{kind!s:18} {seconds * 1e3:8.1f} ms {size / 1e6:8.3f} MB", flush=True)
        name = "everything" if kind is None else "every k-th carry" if isinstance(kind, int) else "Revolve, s carries"
        label = (
            ""
            if kind is None
            else f"k = {kind}"
            if isinstance(kind, int)
            else "s = log2 n"
            if kind == "binomial"
            else f"s = {kind[1]}"
        )
        groups[name].append((seconds * 1e3, size / 1e6, label))
    for (name, points), marker in zip(groups.items(), "osD", strict=True):
        axes.plot([p[0] for p in points], [p[1] for p in points], marker, label=name)
        for x, y, label in points:
            left = label in ("k = 1000", "k = 10000")  # beside one of the same memory
            place = {"xytext": (-6, -11), "ha": "right"} if left else {"xytext": (6, 4)}
            axes.annotate(label, (x, y), textcoords="offset points", fontsize=8, **place)
    axes.set(yscale="log", xlim=(0, None), xlabel="time of a gradient (ms)", ylabel="memory (MB)")
    axes.set_title(f"Gradient of a scan: {STEPS:,} steps on {SIZE} numbers")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    main(sys.argv[1])
