"""Random numbers of NumPy drawn inside a jitted function: a warning at the trace, none elsewhere."""
# ruff: noqa: NPY002

import subprocess
import sys
import warnings

import numpy as np
import pytest

import fad
from fad.errors import FrozenWarning

generator = np.random.default_rng(0)
legacy = np.random.RandomState(0)


def closing_over(own):
    return lambda x: x + own.normal()


DRAWING = {
    "np.random": lambda x: x + np.random.normal(),
    "np.random, many": lambda x: x + np.random.random(2000),
    "np.random, seeded": lambda x: [np.random.seed(3), x + np.random.random()][1],
    "a global generator": lambda x: x + generator.normal(size=3),
    "a global RandomState": lambda x: x + legacy.rand(),
    "a generator in a closure": closing_over(np.random.default_rng(1)),
    "inside of a gradient": fad.jit(fad.grad(lambda x: x * np.random.normal())),
}
SILENT = {
    "no numbers": lambda x: x * 2,
    "keys": lambda x: x + fad.random.normal(fad.random.key(0)),
    "a generator that is not used": lambda x: [x, generator][0],
}


@pytest.mark.parametrize("name", DRAWING)
def test_drawing_is_told_once_a_trace_and_where(name):
    f = fad.jit(DRAWING[name])
    with pytest.warns(FrozenWarning, match=r"drawn(.|\n)*fad.random") as told:
        f(1.0)
    assert len(told) == 1 and told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(f(2.0), f(2.0))


def test_every_trace_tells():
    f = fad.jit(DRAWING["a global generator"])
    for x in (1.0, np.ones(3)):
        with pytest.warns(FrozenWarning):
            f(x)


@pytest.mark.parametrize("name", SILENT)
def test_silence_elsewhere(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fad.jit(SILENT[name])(1.0)


def test_without_jit_numbers_are_drawn_at_every_call():
    f = fad.grad(lambda x: x * np.random.normal())
    assert f(1.0) != f(1.0)


@pytest.mark.parametrize("draw, told", [("np.random.random()", 1), ("0 * np.random.RandomState(0).random()", 0)])
def test_where_numpys_random_numbers_were_not_loaded_before(draw, told):
    code = (
        "import sys, warnings, numpy as np, fad; assert 'numpy.random' not in sys.modules\n"
        "with warnings.catch_warnings(record=True) as found:\n"
        f"    fad.jit(lambda x: x + {draw})(1.0)\n"
        f"assert len(found) == {told}, found\n"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
