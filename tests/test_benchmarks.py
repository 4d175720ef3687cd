"""The harness that prints the tables: figures, ratios, and peers that are missing or fail."""

import itertools
import time
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import harness, jit_more
from benchmarks.harness import BYTES, SECOND, LeftOut, Row
from benchmarks.peers import LOADERS
from benchmarks.programs import GRADIENT, PROGRAMS

PEERS = [
    SimpleNamespace(name=name, sync=lambda result: result) for name in ("fad", "slow", "broken", "without")
]


def build(peer):
    if peer.name == "broken":
        raise ValueError("no such thing")
    return {"fad": lambda: 2.0, "slow": lambda: 5.0}.get(peer.name)


def test_ratio_failures_and_absences_are_shown() -> None:
    result = harness.measure(Row("row", build, reports=True, rounds=3), PEERS)
    assert harness.ratio(result, "slow") == 2.5
    text = harness.table("Title", [result], [peer.name for peer in PEERS])
    line = next(line for line in text.splitlines() if "2.00 s" in line)
    assert [cell.strip() for cell in line.strip("|").split("|")] == [
        "row",
        "2.00 s",
        "5.00 s **2.50x**",
        "fails",
        "-",
        "-",
    ]
    assert "row, broken: ValueError: no such thing" in text


def test_samples_interleave() -> None:
    calls: list[str] = []

    def logging(peer):
        return lambda: calls.append(peer.name) or 1.0

    harness.measure(Row("row", logging, reports=True, rounds=4), PEERS[:2])
    assert calls == ["fad", "slow", "slow", "fad", "fad", "slow", "slow", "fad"]


def test_timing_divides_by_the_calls_and_nodes() -> None:
    row = Row("sleep", lambda peer: lambda: time.sleep(4e-3), per=4, rounds=3)
    figure = harness.measure(row, PEERS[:1]).figures["fad"]
    assert 1e-3 <= figure.low <= figure.median <= figure.high


def test_quartiles() -> None:
    values = itertools.cycle([5.0, 1.0, 3.0, 2.0, 4.0])
    row = Row("row", lambda peer: lambda: next(values), reports=True, rounds=5)
    assert harness.measure(row, PEERS[:1]).figures["fad"] == harness.Figure(3.0, 2.0, 4.0)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (3.14e-5, SECOND, "31.4 µs"),
        (0.9996e-3, SECOND, "1.00 ms"),
        (1.234, SECOND, "1.23 s"),
        (5e-10, SECOND, "0.500 ns"),
        (248e6, BYTES, "248 MB"),
        (920, BYTES, "920 B"),
        (0, SECOND, "0 s"),
    ],
)
def test_human(value: float, unit: str, text: str) -> None:
    assert harness.human(value, unit) == text


def test_a_new_process_reports_its_error() -> None:
    assert harness.in_new_process("print('text', 1.5)") == 1.5
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        harness.in_new_process("1 / 0")


def test_time_runs_out_after_three_rounds() -> None:
    calls: list[str] = []
    row = Row("row", lambda peer: lambda: calls.append(peer.name) or 1.0, reports=True, rounds=9, seconds=0)
    harness.measure(row, PEERS[:1])
    assert len(calls) == 3


def test_another_result_is_an_error_and_not_timed() -> None:
    results = {"fad": (1.0, [np.ones(3)]), "slow": (1.0, [np.ones(3) + 1e-12]), "broken": (1.0, [np.ones(3) * 1.1])}
    row = Row("row", lambda peer: lambda: results[peer.name], rounds=3, tolerance=1e-9)
    result = harness.measure(row, PEERS[:3])
    assert result.figures.keys() == {"fad", "slow"}
    assert "another result" in result.errors["broken"]


def test_a_sample_that_fails_and_a_peer_left_out() -> None:
    def build(peer):
        if peer.name == "slow":
            raise LeftOut("too slow")
        return lambda: 1 / 0

    result = harness.measure(Row("row", build, reports=True, rounds=3), PEERS[:2])
    text = harness.table("Title", [result], ["fad", "slow"])
    assert not result.figures
    assert "row, fad: ZeroDivisionError" in text and "row, slow: too slow" in text
    assert text.count("fails") == 1


SMALL = [p for p in PROGRAMS if p.scalar and not p.large]


@pytest.mark.parametrize("program", SMALL, ids=lambda p: p.name)
def test_programs_differentiate(program) -> None:
    """The gradient along a direction is the difference quotient of the value, which plain NumPy computes."""
    fad = LOADERS["fad"]()
    x, *data = program.inputs(np.random.default_rng(0))
    f = program.function(fad)
    gradient = harness.arrays(GRADIENT.of(fad, f)(x, *data))
    step = 1e-6

    def moved(x, by):
        return type(x)(moved(part, by) for part in x) if isinstance(x, list | tuple) else x + by * np.cos(x)

    quotient = (f(moved(x, step), *data) - f(moved(x, -step), *data)) / (2 * step)
    slope = sum(np.sum(g * np.cos(part)) for g, part in zip(gradient, harness.arrays(x), strict=True))
    assert slope == pytest.approx(quotient, rel=1e-5, abs=1e-5)


def test_programs_keep_their_dtype() -> None:
    fad = LOADERS["fad"]()
    program = next(p for p in PROGRAMS if p.name.startswith("mixture d=2"))
    for dtype in program.dtypes:
        x, *data = program.arguments(fad, GRADIENT, dtype)
        results = [program.f(np, x, *data), *GRADIENT.of(fad, partial(program.f, np))(x, *data)]
        assert {result.dtype.name for result in results} == {dtype}


def test_a_busy_neighbour_ends() -> None:
    with jit_more.busy_neighbour() as process:
        assert process.poll() is None
    assert process.poll() is not None
