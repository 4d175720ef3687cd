"""Side-by-side measurement: rounds of [fad, peer, peer, ...] in one process, medians and quartiles, ratios.

Interleaving is the point. On a shared machine a slow minute then slows every column of a row alike,
and the ratio of medians survives it.
"""

import contextlib
import math
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from .limit import peak
from .peers import Peer

SECOND, BYTES, COUNT = "s", "B", ""
PREFIXES = {SECOND: {1: "", 1e-3: "m", 1e-6: "µ", 1e-9: "n"}, BYTES: {1e9: "G", 1e6: "M", 1e3: "k", 1: ""}, COUNT: {1: ""}}


@dataclass(frozen=True)
class Row:
    """One line of a table.

    `build(peer)` prepares everything and returns a function of no arguments, or None where the peer has no
    such thing. That function is timed; with `reports=True` it returns the figure itself (bytes, seconds).
    """

    name: str
    build: Callable[[Peer], Callable[[], Any] | None]
    reports: bool = False
    unit: str = SECOND
    per: int = 1  # divide the figure by this: nodes, steps, ...
    per_name: str = ""
    rounds: int = 25
    goal: str = ""
    seconds: float = math.inf  # no further rounds after this long, when 3 are done
    tolerance: float = 0.0  # if not 0: the peers' results must agree to this, relative to the largest entry
    compared: Callable[[Peer, Any], Any] = lambda peer, result: result  # what of a peer's result must agree
    flops: float = 0.0  # of one call, if not 0: the table says how many fad does a second, and how near the peak that is
    dtype: str = "float32"  # whose peak


@dataclass(frozen=True)
class Figure:
    """Median and quartiles of one cell."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Result:
    row: Row
    figures: dict[str, Figure]
    errors: dict[str, str]
    absences: dict[str, str]  # why a peer was left out


class LeftOut(Exception):
    """Raised by a row's `build`: this peer is not measured, and why."""


def measure(row: Row, peers: list[Peer], rounds: int | None = None) -> Result:
    """Build the row for each peer, compare what they return, then take `rounds` interleaved samples of each."""
    if row.flops:
        settle()
        peak(row.dtype)
    samplers: dict[str, Callable[[], float]] = {}
    errors: dict[str, str] = {}
    absences: dict[str, str] = {}
    reference: list | None = None
    for peer in sorted(peers, key=lambda peer: peer.name == "fad"):  # fad is compared with the others
        try:
            run = row.build(peer)
            if run is None:
                continue
            if row.tolerance:
                reference = agreed(row.compared(peer, peer.sync(run())), reference, row.tolerance)
            samplers[peer.name] = run if row.reports else timed(run, peer.sync)
        except LeftOut as reason:
            absences[peer.name] = str(reason)
        except Exception as error:  # one broken peer must not take the table with it
            errors[peer.name] = first_line(error)
    samples: dict[str, list[float]] = {peer.name: [] for peer in peers if peer.name in samplers}
    begin = time.perf_counter()
    for turn in range(rounds or row.rounds):
        if turn >= 3 and time.perf_counter() - begin > row.seconds:
            break
        order = [name for name in samples if name not in errors]
        for name in order[turn % len(order) :] + order[: turn % len(order)] if order else []:
            try:
                samples[name].append(samplers[name]() / row.per)
            except Exception as error:
                errors[name] = first_line(error)
    figures = {name: summarise(taken) for name, taken in samples.items() if name not in errors}
    return Result(row, figures, errors, absences)


def first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".strip().splitlines()[0]


def agreed(result: Any, reference: list | None, tolerance: float) -> list:
    """The arrays of `result`, when they are those of `reference`; rounding of a value near 1 is forgiven."""
    found = arrays(result)
    for ours, theirs in zip(found, reference or found, strict=True):
        rounding = 16 * max(float(numpy.finfo(array.dtype).eps) for array in (ours, theirs))
        nearness = rounding + tolerance * float(numpy.max(numpy.abs(theirs), initial=0))
        if ours.shape != theirs.shape:
            raise ValueError(f"another result than the peers': shape {ours.shape}, not {theirs.shape}")
        worst = float(numpy.max(numpy.abs(ours - theirs), initial=0))
        if not worst <= nearness:  # nor NaN
            raise ValueError(f"another result than the peers': {worst:.1e} away, {nearness:.1e} allowed")
    return reference or found


def arrays(result: Any) -> list[numpy.ndarray]:
    if isinstance(result, list | tuple):
        return [array for item in result for array in arrays(item)]
    return [numpy.array(result)]


def timed(run: Callable[[], Any], sync: Callable[[Any], Any], at_least: float = 2e-3) -> Callable[[], float]:
    """A sampler: seconds per call of `run`, over enough calls that one sample lasts `at_least` seconds."""
    sync(run())  # warm: imports, caches, first-touch memory
    begin = time.perf_counter()
    sync(run())
    once = time.perf_counter() - begin
    calls = max(1, math.ceil(at_least / max(once, 1e-9)))

    def sample() -> float:
        # Garbage collection stays on: a user pays for it too.
        settle()
        if calls > 1:
            sync(run())  # wakes this library's own threads, and brings its arrays into the cache
        begin = time.perf_counter()
        for _ in range(calls):
            result = run()
        sync(result)
        return (time.perf_counter() - begin) / calls

    return sample


def settle(at_most: float = 0.3) -> None:
    """Wait until the threads of the library before have gone to sleep (Linux).

    OpenMP's threads spin for milliseconds after their work, OpenBLAS's for 0.1 s, on the cores that the next one needs.
    """
    end, quiet = time.perf_counter() + at_most, 0
    while quiet < 3 and time.perf_counter() < end:
        time.sleep(2e-4)
        quiet = 0 if others_run() else quiet + 1


def others_run() -> bool:
    """Whether any thread of this process but the calling one is on a core, or waits for one."""
    own, states = str(threading.get_native_id()), []
    for task in Path("/proc/self/task").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            states.append(task.name != own and (task / "stat").read_text().rpartition(")")[2].split()[0] == "R")
    return any(states)


def summarise(taken: list[float]) -> Figure:
    """Median and quartiles; both quartiles are the median when one sample was taken."""
    if len(taken) < 2:
        return Figure(taken[0], taken[0], taken[0])
    low, median, high = statistics.quantiles(taken, n=4, method="inclusive")
    return Figure(median, low, high)


def in_new_process(code: str, **environment: str) -> float:
    """Run `code` in a fresh interpreter at the repository's root; what it prints last is the figure."""
    return float(printed(code, **environment)[-1])


def printed(code: str, **environment: str) -> list[str]:
    """The words that `code` prints in a fresh interpreter at the repository's root."""
    root = Path(__file__).parents[1]
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=root, env=os.environ | environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no message"])[-1])
    return done.stdout.split()


# ---- the table


def human(value: float, unit: str) -> str:
    """A figure with three significant digits and the prefix that suits it: 3.1e-5, "s" -> "31 µs"."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {unit}"
    prefixes = PREFIXES.get(unit, {1: ""})
    scale = max((scale for scale in prefixes if abs(value) >= scale * 0.9995), default=min(prefixes))
    number = float(f"{value / scale:.3g}")
    digits = max(0, 2 - math.floor(math.log10(abs(number))))
    return f"{number:.{digits}f} {prefixes[scale]}{unit}"


def cell(result: Result, name: str) -> str:
    """Median [quartiles], and for a peer how many times fad's figure it is."""
    if name in result.errors:
        return "fails"
    if name not in result.figures:
        return "-"
    figure, unit = result.figures[name], result.row.unit
    text = human(figure.median, unit)
    if figure.low != figure.high:
        text += f" [{human(figure.low, unit)}, {human(figure.high, unit)}]"
    if name != "fad" and "fad" in result.figures:
        text += f" **{ratio(result, name):.2f}x**"
    return text


def ratio(result: Result, name: str) -> float:
    """The peer's median over fad's: above 1, fad is ahead."""
    return result.figures[name].median / result.figures["fad"].median


def table(title: str, results: Iterable[Result], names: list[str], best: dict[str, list[str]] | None = None) -> str:
    """A Markdown table that is also aligned for a terminal.

    `best` groups columns: under the table stands how fad fares against the fastest of each group.
    """
    results = list(results)
    flops = any(result.row.flops for result in results)
    peaks = {dtype: peak(dtype) for dtype in {result.row.dtype for result in results if result.row.flops}}
    grid = [["row", *names, *(["fad's GFLOP/s", "of peak"] if flops else []), "goal"]]
    for result in results:
        label = result.row.name + (f", per {result.row.per_name}" if result.row.per_name else "")
        rates = rate(result, peaks) if flops else []
        grid.append([label, *(cell(result, name) for name in names), *rates, result.row.goal or "-"])
    means = ["geometric mean of ratios"]
    for name in names:
        ratios = [ratio(r, name) for r in results if name != "fad" and {name, "fad"} <= r.figures.keys()]
        means.append(f"**{statistics.geometric_mean(ratios):.2f}x**" if ratios else "-")
    if any(text != "-" for text in means[1:]):
        grid.append([*means, *["-"] * (len(grid[0]) - len(means))])
    widths = [max(len(line[column]) for line in grid) for column in range(len(grid[0]))]
    grid.insert(1, ["-" * width for width in widths])
    lines = [f"| {' | '.join(text.ljust(w) for text, w in zip(line, widths))} |" for line in grid]
    notes = [against(group, members, results) for group, members in (best or {}).items()]
    notes += [f"- {r.row.name}, {name}: {why}" for r in results for name, why in (r.errors | r.absences).items()]
    notes = [note for note in notes if note]
    return "\n".join([f"### {title}", "", *lines, *([""] if notes else []), *notes, ""])


def rate(result: Result, peaks: dict[str, float]) -> list[str]:
    """fad's GFLOP/s in this row, and percent of the machine's peak."""
    if not result.row.flops or "fad" not in result.figures:
        return ["-", "-"]
    achieved = result.row.flops / result.figures["fad"].median
    return [f"{achieved / 1e9:.3g}", f"{100 * achieved / peaks[result.row.dtype]:.0f} %"]


def against(group: str, members: list[str], results: list[Result]) -> str:
    """fad beside the fastest of several columns in each row: the geometric mean, and where it is behind."""
    ratios = {}
    for result in results:
        theirs = [ratio(result, name) for name in members if {name, "fad"} <= result.figures.keys()]
        if theirs:
            ratios[result.row.name] = min(theirs)
    if not ratios:
        return ""
    ahead = sum(value >= 1 for value in ratios.values())
    worst = min(ratios, key=lambda name: ratios[name])
    return (
        f"- fad beside {group}: **{statistics.geometric_mean(ratios.values()):.2f}x** in the geometric mean, "
        f"at least as fast on {ahead} of {len(ratios)} rows, worst {ratios[worst]:.2f}x ({worst})"
    )
