"""What the compiler cannot do is NumPy's, and said so: an error of its own never reaches the user. With FAD_CHECK it does."""

import numpy as np
import pytest

import fad
from fad.compile import body, debug, emit, plan, program, simplify
from fad.errors import FadError, OutOfRangeError
from fad.native import engine
from fad.primitives.elementwise import multiply


def refuse(*args, **kwargs):
    raise KeyError("a bug")


def when(test, function):
    """The function, failing where the test says so."""
    return lambda *args, **kwargs: refuse() if test(*args) else function(*args, **kwargs)


def sines(monkeypatch):
    """No sine can be written."""
    apply = emit._Writer.apply
    monkeypatch.setattr(emit._Writer, "apply", when(lambda self, i, args: i.name == "sin", apply))


FAILURES = {
    "a rule of simplify": lambda m: m.setitem(simplify.RULES, multiply, refuse),
    "an instruction of a body": lambda m: m.setattr(
        body._Puller, "make", when(lambda self, node, *_: node.op is not None and node.op.name == "cos", body._Puller.make)
    ),
    "every nest": lambda m: m.setattr(plan, "arrange", refuse),
    "the IR of one operation": sines,
    "the IR of everything": lambda m: m.setattr(emit._Writer, "write", refuse),
    "memory": lambda m: m.setattr(plan, "lay_out", when(lambda parts, steps, sizes: sizes, plan.lay_out)),
    "LLVM": lambda m: m.setattr(engine, "load_parts", when(lambda key, *_: "nest" in key or True, engine.load_parts)),
    "tables": lambda m: m.setattr(program, "make_table", refuse),
}


def example(c):
    def f(x, n):
        rolled = np.roll(x, 1) * np.cos(x * c)
        return {
            "a": np.sum(rolled * rolled, axis=0),
            "b": (x @ x.T)[::2],
            "c": np.sin(x[:, :3]).T,
            "n": n + 1,
            "x": x.reshape(-1),
            "d": np.sum(np.sin(x * c)) * n,
        }

    return f


@pytest.fixture
def unchecked(monkeypatch, tmp_path):
    monkeypatch.setenv("FAD_CHECK", "0")
    monkeypatch.setenv("FAD_CACHE_DIR", str(tmp_path))  # nothing is found that was compiled before


@pytest.mark.parametrize("failure", FAILURES)
def test_numpy_computes_what_the_compiler_fails_at(unchecked, monkeypatch, failure):
    f, x = example(2.0 + len(failure) / 100), np.linspace(-1, 1, 24).reshape(4, 6)
    expected = f(x, 3)
    FAILURES[failure](monkeypatch)
    jitted = fad.jit(f)
    for _ in range(3):
        found = jitted(x, 3)
        assert fad.tree.structure(found) == fad.tree.structure(expected)
        for y, z in zip(fad.tree.leaves(found), fad.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(y, z, rtol=1e-12, atol=1e-14)
            assert not np.may_share_memory(y, x)
    if failure != "a rule of simplify":
        assert "fad's compiler failed: KeyError" in jitted.explain()
        assert "fad's compiler failed: KeyError" in jitted.lower(x, 3).loops


def test_only_what_failed_is_left_to_numpy(unchecked, monkeypatch):
    sines(monkeypatch)
    f = lambda x: np.sum(np.exp(x * 3.0) / x, axis=1) + np.sin(np.sum(x))
    jitted = fad.jit(f)
    np.testing.assert_allclose(jitted(np.full((30, 40), 0.5)), f(np.full((30, 40), 0.5)), rtol=1e-12)
    text = jitted.lower(np.full((30, 40), 0.5)).loops
    assert "call sin" in text and "call exp" not in text and "loops [30 x 40" in text


@pytest.mark.parametrize("failure", FAILURES)
def test_with_checks_errors_are_raised(monkeypatch, tmp_path, failure):
    monkeypatch.setenv("FAD_CHECK", "1")
    monkeypatch.setenv("FAD_CACHE_DIR", str(tmp_path))
    FAILURES[failure](monkeypatch)
    with pytest.raises((KeyError, debug.Refused), match="a bug"):
        fad.jit(example(7.0 + len(failure) / 100))(np.linspace(-1, 1, 24).reshape(4, 6), 3)


def test_derivatives_and_threads_of_a_program_left_to_numpy(unchecked, monkeypatch):
    monkeypatch.setattr(plan, "arrange", refuse)
    loss = lambda p: np.sum(np.tanh(p["w"] @ p["w"]) * p["b"]) * 1.75
    p = {"w": np.linspace(0, 1, 9).reshape(3, 3), "b": np.ones(3)}
    found, expected = fad.jit(fad.grad(loss))(p), fad.grad(loss)(p)
    for name in p:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-12)


def test_donated_memory_is_kept_by_a_program_left_to_numpy(unchecked, monkeypatch):
    monkeypatch.setattr(plan, "arrange", refuse)
    x = np.ones(3)
    np.testing.assert_array_equal(fad.jit(lambda x: x * 2.0 + 0.375, donate=0)(x), 2.375)


def test_primitives_without_native_code_are_named():
    jitted = fad.jit(lambda x: np.sort(x) * 2)
    jitted(np.ones(4))
    assert "by NumPy: argsort: i64[4]" in jitted.explain()
    native = fad.jit(lambda x: x * 2)
    native(np.ones(4))
    assert "NumPy" not in native.explain()


def test_errors_of_numpy_have_five_answers():
    jitted = fad.jit(lambda x, i: np.take(np.ones(3) * x, i.astype(np.uint8)))
    with pytest.raises(FadError):
        jitted(1.0, np.array([7]))
    with pytest.raises(OutOfRangeError):
        jitted(1.0, np.array([7]))
