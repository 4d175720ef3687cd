"""What is shared and kept: functions of one key have one code, and a program found on disk is not written again."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import fad
from fad.compile import program
from fad.compile.program import build
from fad.compile.units import write_modules, write_unit

from .programs import programs

codes: dict[str, str] = {}  # by key, over all examples


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(programs())
def test_equal_keys_have_equal_code(drawn):
    for unit in build(fad.trace(drawn.function)(*drawn.args)).functions.values():
        text = write_unit(unit)
        assert codes.setdefault(repr(unit.key), text) == text


@pytest.fixture
def own_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("FAD_CACHE_DIR", str(tmp_path))


def refuse(functions):
    raise AssertionError("written again")


def functions():
    """Alike but for one constant, shape, dtype, axis or operation."""
    x, y = np.linspace(0.1, 1, 300).reshape(10, 30), np.linspace(1, 2, 300).reshape(10, 30)
    yield from [(lambda x, c=c: np.sum(np.sin(c * x)), x) for c in (2.0, 3.0, -2.0)]
    yield from [(lambda x, a=a: np.sum(np.cos(x), axis=a), x) for a in (0, 1, None)]
    yield from [(lambda x, f=f: f(x) + 1, z) for f in (np.sin, np.cos, np.floor) for z in (x, y[:, :7], x.astype(np.float32))]
    yield from [(lambda x, k=k: np.roll(x, k, 0) * x, x) for k in (1, 2)]
    yield from [(lambda x, k=k: x @ x.T[:, :k], x) for k in (3, 4, 10)]
    yield from [(lambda x, k=k: np.where(x > k, x, 0), x) for k in (0, 1)]


def test_a_program_found_on_disk_is_not_written_again(own_directory, monkeypatch):
    first = [np.asarray(build(fad.trace(f)(x))([x])[0]) for f, x in functions()]
    monkeypatch.setattr(program, "write_modules", refuse)
    for (f, x), before in zip(functions(), first, strict=True):
        again = build(fad.trace(f)(x))
        assert again.origin == "loaded from disk"
        np.testing.assert_array_equal(again([x])[0], before)
        np.testing.assert_allclose(before, f(x), rtol=1e-5, atol=1e-6)
    with pytest.raises(AssertionError, match="written again"):
        build(fad.trace(lambda x: np.sin(x) + 77.0)(np.ones(3)))


def test_another_state_of_the_source_compiles_again(own_directory, monkeypatch):
    f = fad.trace(lambda x: np.sin(x) + 78.0)(np.ones(3))
    assert [build(f).origin, build(f).origin] == ["compiled", "loaded from disk"]
    monkeypatch.setattr(program.disk, "sources", lambda: "edited")
    assert build(f).origin == "compiled"


def test_the_text_is_one_module_of_all_functions():
    made = build(fad.trace(lambda x: (np.argsort(np.sin(x)), x @ x))(np.ones((40, 40))))
    assert made.text.count("define void @nest") == len(made.functions) > 1
    assert "nest0" in made.assembly()
    assert "".join(write_modules(made.functions, 1)).count("define void @nest") == len(made.functions)
