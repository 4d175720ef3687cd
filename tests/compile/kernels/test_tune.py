"""Autotuning: off unless asked for, measured once, remembered on disk."""

import numpy as np
import pytest

from fad.compile.kernels import matmul_recipes, recipe, tune
from fad.kernels.windows import strides_of

ARGUMENTS = (60, 70), strides_of((60, 70)), (70, 80), strides_of((70, 80)), np.dtype(np.float32)


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    monkeypatch.setattr(tune, "_known", {})
    monkeypatch.setenv("FAD_CACHE_DIR", str(tmp_path))


def test_off_by_default(monkeypatch):
    monkeypatch.delenv("FAD_AUTOTUNE", raising=False)
    monkeypatch.setattr(tune, "measured", lambda *_: pytest.fail("it was measured"))
    assert tune.tuned(matmul_recipes.matmul, *ARGUMENTS) is matmul_recipes.matmul(*ARGUMENTS)


@pytest.mark.smoke
def test_measured_once_and_remembered(monkeypatch):
    monkeypatch.setenv("FAD_AUTOTUNE", "1")
    count = []
    monkeypatch.setattr(tune, "measured", lambda *_: count.append(1) or 2)
    for _ in range(2):
        assert tune.tuned(matmul_recipes.matmul, *ARGUMENTS) is matmul_recipes.matmul(*ARGUMENTS, choice=2)
    tune._known.clear()  # as in another process
    assert tune.tuned(matmul_recipes.matmul, *ARGUMENTS) is matmul_recipes.matmul(*ARGUMENTS, choice=2)
    assert len(count) == 1


@pytest.mark.parametrize("content", [b"7", b"-1", b"", b"\xff", b"2 "])
def test_foreign_content_is_measured_again(monkeypatch, content):
    monkeypatch.setenv("FAD_AUTOTUNE", "1")
    monkeypatch.setattr(tune, "measured", lambda *_: 2)
    monkeypatch.setattr(tune.disk, "find", lambda name: content)
    assert tune.tuned(matmul_recipes.matmul, *ARGUMENTS) is matmul_recipes.matmul(*ARGUMENTS, choice=2)


def test_the_choice_is_one_of_them(monkeypatch):
    monkeypatch.setenv("FAD_AUTOTUNE", "1")
    made = tune.tuned(matmul_recipes.matmul, *ARGUMENTS)
    assert made in [matmul_recipes.matmul(*ARGUMENTS, choice=k) for k in range(tune.CHOICES)]
    a, b = np.ones((60, 70), np.float32), np.ones((70, 80), np.float32)
    np.testing.assert_array_equal(recipe.run(made, [a, b], a.dtype), a @ b)


def test_operands_with_any_strides():
    for strides in ((80, 1), (1, 60), (-80, 2), (0, 1)):
        x = tune.ones((60, 80), strides, np.dtype(np.float64))
        assert x.shape == (60, 80)
        assert tuple(s // 8 for s in x.strides) == strides
        assert (x == 1).all()
