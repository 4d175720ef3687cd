"""FAD_DEBUG prints the stages, FAD_CHECK catches a pass that breaks a tree."""

import numpy as np
import pytest

import fad
from fad.compile import debug, program, simplify
from fad.core.expr import Expr
from fad.core.function import Function
from fad.core.primitive import registry


def fresh():
    """A function that no test has compiled in this process."""
    c = np.random.default_rng().random()
    return lambda x: np.sum(np.cos(x) * c)


@pytest.mark.parametrize(
    "level, shown, hidden",
    [
        ("1", "compiled in", "loops ["),
        ("2", "loops [", "multiply a"),
        ("3", "multiply a", "define void"),
        ("4", "define void", "nothing else"),
    ],
)
def test_levels(monkeypatch, capfd, level, shown, hidden):
    monkeypatch.setenv("FAD_DEBUG", level)
    fad.jit(fresh())(np.ones(3))
    text = capfd.readouterr().err
    assert shown in text and hidden not in text


def test_silence_is_the_default(monkeypatch, capfd):
    monkeypatch.delenv("FAD_DEBUG", raising=False)
    fad.jit(fresh())(np.ones(3))
    assert capfd.readouterr().err == ""


def wrong(function):
    """A pass that claims another shape."""
    (y,) = function.outputs
    return Function(function.inputs, [Expr(y.op, y.args, y.params, (7,), y.dtype, None)], function.in_tree, function.out_tree)


def test_check_names_the_node(monkeypatch):
    monkeypatch.setattr(program, "simplify", wrong)
    monkeypatch.setenv("FAD_CHECK", "1")
    with pytest.raises(debug.CompilerError, match=r"simplify: sum says f64\[7\]"):
        fad.jit(fresh())(np.ones(3))


def test_check_passes_what_is_right(monkeypatch):
    monkeypatch.setenv("FAD_CHECK", "1")
    x = np.linspace(0, 1, 9)
    f = fad.value_and_grad(lambda x: np.sum(np.roll(x, 1) * np.exp(x)) + np.max(x))
    np.testing.assert_allclose(fad.jit(f)(x)[1], f(x)[1], rtol=1e-14)
    assert simplify.simplify(fad.trace(np.sin)(x)).nodes[0].op is registry["sin"]
