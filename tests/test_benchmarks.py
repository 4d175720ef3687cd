"""The harness that prints the tables: figures, ratios, and peers that are missing or fail."""

import itertools
import sys
import threading
import time
import timeit
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import conv, dense, harness, jit_more, layers, limit, nets
from benchmarks.harness import BYTES, SECOND, LeftOut, Row
from benchmarks.peers import LOADERS
from benchmarks.programs import GRADIENT, PROGRAMS

PEERS = [SimpleNamespace(name=name, sync=lambda result: result) for name in ("fad", "slow", "broken", "without")]


def build(peer):
    if peer.name == "broken":
        raise ValueError("no such thing")
    return {"fad": lambda: 2.0, "slow": lambda: 5.0}.get(peer.name)


def test_ratio_failures_and_absences_are_shown() -> None:
    result = harness.measure(Row("row", build, reports=True, rounds=3), PEERS)
    assert harness.ratio(result, "slow") == 2.5
    text = harness.table("Title", [result], [peer.name for peer in PEERS])
    line = next(line for line in text.splitlines() if "2.00 s" in line)
    assert [cell.strip() for cell in line.strip("|").split("|")] == ["row", "2.00 s", "5.00 s **2.50x**", "fails", "-", "-"]
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


def test_rates_and_the_best_of_several_columns(monkeypatch) -> None:
    monkeypatch.setattr(harness, "peak", lambda dtype: 4e9)
    times = {"fad": 2.0, "slow": 5.0, "without": 3.0}
    rows = [
        Row(name, lambda peer: lambda: times[peer.name], reports=True, rounds=3, flops=flops)
        for name, flops in (("a", 4e9), ("b", 0))
    ]
    results = [harness.measure(row, [PEERS[0], PEERS[1], PEERS[3]]) for row in rows]
    text = harness.table("Title", results, ["fad", "slow", "without"], {"the others": ["slow", "without"], "nobody": ["x"]})
    [a] = [line for line in text.splitlines() if line.startswith("| a")]
    assert [cell.strip() for cell in a.split("|")][5:7] == ["2", "50 %"]
    assert "fad beside the others: **1.50x** in the geometric mean, at least as fast on 2 of 2 rows, worst 1.50x (a)" in text
    assert "nobody" not in text


def test_what_is_compared_of_a_result() -> None:
    results = {"fad": (np.ones(2), 1.0), "slow": (np.ones(2), 7.0)}
    row = Row("row", lambda peer: lambda: results[peer.name], rounds=3, tolerance=1e-9, compared=lambda peer, result: result[0])
    assert not harness.measure(row, PEERS[:2]).errors


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_busy_thread_is_waited_for() -> None:
    numbers = np.random.default_rng(0).random(2_000_000)
    busy = threading.Thread(target=lambda: np.sort(numbers, kind="stable"))  # which runs beside Python
    busy.start()
    harness.settle(at_most=20)
    assert not busy.is_alive()


def test_the_peak_is_above_what_a_product_reaches() -> None:
    a = np.ones((256, 256))
    seconds = min(timeit.repeat(lambda: a @ a, number=1, repeat=20))
    assert limit.peak("float64") > 0.5 * 2 * 256**3 / seconds


def test_layers_of_convolution_know_their_shapes_and_work() -> None:
    for layer in conv.LAYERS:
        assert layer.input_shape(1)[-1] % layer.groups == 0 and layer.out_size > 0
    first = conv.Layer("LeNet", 28, 1, 6, 5, padding=2)
    assert first.output_shape(2) == (2, 28, 28, 6) and first.flops(2) == 2 * 2 * 28 * 28 * 6 * 25


@pytest.mark.parametrize("transposed", [False, True])
def test_faces_of_a_convolution_are_adjoint(transposed: bool) -> None:
    layer, fad = conv.Layer("small", 6, 2, 3, 3, 2, 1, transposed=transposed), LOADERS["fad"]()
    y, dx, dw = (conv.build(face, layer, 2, fad)() for face in conv.FACES)
    x, w, g = conv.arrays(layer, 2)
    if transposed:
        x, g = g, x
    assert np.vdot(g, y) == pytest.approx(np.vdot(dx, x), rel=1e-4) == pytest.approx(np.vdot(dw, w), rel=1e-4)


@pytest.mark.parametrize("face", dense.FACES)
def test_dense_rows_agree_with_numpy(face: str) -> None:
    row = Row("row", partial(dense.build, face, 3, 4, 5, "float64"), rounds=1, tolerance=1e-12)
    result = harness.measure(row, [LOADERS["fad"](), LOADERS["numpy"]()])
    assert not result.errors and result.figures.keys() == {"fad", "numpy"}


SMALL_LAYERS = [
    layers.batch_norm(8, 4), layers.layer_norm(3, 4), layers.cross_entropy(5, 3), layers.embedding(9, 2, 4),
    layers.pool("max pool", layers.max_pool, (2, 5, 5, 3), 3, 2, 1), layers.pool("avg pool", layers.avg_pool, (2, 6, 6, 3), 2, 2),
]  # fmt: skip


@pytest.mark.parametrize("case", SMALL_LAYERS, ids=lambda case: case.name)
def test_layers_return_result_and_gradients(case) -> None:
    fad = LOADERS["fad"]()
    y, gradients, *_ = layers.build(case, "forward and gradient", fad)()
    assert np.shape(y) == case.out_shape
    assert [g.shape for g in gradients] == [a.shape for a in layers.host_arrays(case)[: case.differentiated]]
    forward = layers.build(case, "forward", fad)()
    np.testing.assert_allclose(forward[0] if case.has_aux else forward, y, rtol=1e-5)


def test_training_steps_lower_the_loss() -> None:
    small = nets.Net(
        "small", (nets.conv(2), nets.NORM, nets.RELU, *nets.basic_block(4, 2), nets.MEAN, nets.dense(10)), (6, 6, 1), 8
    )
    for net in (nets.net("MLP 64-32-10"), small):
        run = nets.step(net, LOADERS["fad"]())
        first, *_, last = [float(run()) for _ in range(30)]
        assert last < 0.9 * first
