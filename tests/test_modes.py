"""compare_modes and the cost model behind jacobian(mode="auto")."""

import matplotlib
import numpy as np
import pytest

import fad

matplotlib.use("Agg")


@pytest.mark.smoke
def test_report():
    report = fad.compare_modes(lambda x: np.sin(x).sum(), np.ones(400))
    assert (report.forward.passes, report.reverse.passes) == (400, 1)
    assert report.agree and report.ulp <= 4 and report.predicted == "reverse"
    text = str(report)
    for word in ("passes", "flop per pass", "residuals", "measured", "wins", "ulp"):
        assert word in text
    assert report._repr_html_().count("<tr>") == 7


def test_model_follows_the_shape():
    tall = fad.compare_modes(lambda x: np.sin(np.arange(1000.0) * x), 0.5, repeats=1)
    assert tall.predicted == "forward"
    assert tall.forward.passes == 1 and tall.reverse.passes == 1000


def test_pytrees_and_disagreement_are_seen():
    report = fad.compare_modes(lambda p: p["a"] * p["b"], {"a": np.ones(3), "b": 2.0}, repeats=1)
    assert report.inputs == 4 and report.outputs == 3 and report.agree


def test_disagreement_is_seen(monkeypatch):
    from fad.primitives.shape import reshape

    wrong = type(reshape.derivative)((lambda ct, x, *, shape: 1.001 * np.reshape(ct, x.shape),))
    monkeypatch.setattr(type(reshape), "__setattr__", object.__setattr__)
    right = reshape.derivative
    object.__setattr__(reshape, "derivative", wrong)
    try:
        assert not fad.compare_modes(lambda x: np.sin(x.reshape(2, 2)), np.ones(4), repeats=1).agree
    finally:
        object.__setattr__(reshape, "derivative", right)


def test_plot():
    left, right = fad.compare_modes(lambda x: np.sin(x), np.ones(8), repeats=1).plot()
    assert left.get_xlabel() and right.get_title()
    matplotlib.pyplot.close("all")
