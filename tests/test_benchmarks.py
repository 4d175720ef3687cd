"""The harness that prints the tables: figures, ratios, and peers that are missing or fail."""

import itertools
import time
from types import SimpleNamespace

import pytest

from benchmarks import harness
from benchmarks.harness import BYTES, SECOND, Row

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
