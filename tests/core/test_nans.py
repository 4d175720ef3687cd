"""debug_nans: the first operation that makes a NaN is named, with the user's line, in every way that fad computes."""

import threading
import warnings

import numpy as np
import pytest

import fad
from fad.core.nans import is_watching
from fad.errors import FadError, NonFiniteError

HERE = "test_nans.py"


@pytest.fixture(autouse=True)
def _quiet():
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def shifted_log(x):
    y = np.log(np.sin(x) - 2)  # the line that is to be named
    return np.sum(y * y)


LINE = f"{HERE}:{shifted_log.__code__.co_firstlineno + 1} in shifted_log"


def steep(x):
    return np.sum(np.sqrt(x) * x)  # at 0: infinity times 0 in the derivative, but no NaN in the value


STEEP_LINE = f"{HERE}:{steep.__code__.co_firstlineno + 1} in steep"


def raised(f):
    with fad.debug_nans(), pytest.raises(NonFiniteError) as caught:
        f()
    return str(caught.value)


ONES = np.ones(3)
WAYS = {
    "grad": lambda: fad.grad(shifted_log)(ONES),
    "jvp": lambda: fad.jvp(shifted_log, (ONES,), (ONES,)),
    "vmap": lambda: fad.vmap(shifted_log)(np.ones((2, 3))),
    "vmap of grad": lambda: fad.vmap(fad.grad(shifted_log))(np.ones((2, 3))),
    "Function": lambda: fad.trace(shifted_log)(ONES)(ONES),
    "jit": lambda: fad.jit(shifted_log)(ONES),
    "jit of grad": lambda: fad.jit(fad.value_and_grad(shifted_log))(ONES),
    "jit that takes memory over": lambda: fad.jit(lambda x: np.log(np.sin(x) - 2), donate=0)(np.ones(3)),
    "grad of jit": lambda: fad.grad(lambda x: fad.jit(shifted_log)(x))(ONES),
    "hessian": lambda: fad.hessian(shifted_log)(ONES),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_first_operation_is_named(way):
    text = raised(WAYS[way])
    assert text.startswith("log made a NaN") and "-1.15853" in text
    assert LINE in text or way == "jit that takes memory over"
    assert "fix: keep the inputs of log" in text


SWEEPS = {
    "reverse": lambda: fad.grad(steep)(np.array([4.0, 0.0])),
    "forward": lambda: fad.jvp(steep, (np.array([4.0, 0.0]),), (np.zeros(2),)),
    "reverse, compiled": lambda: fad.jit(fad.grad(steep))(np.array([4.0, 0.0])),
}


def test_a_rule_that_makes_a_nan_in_reverse():
    text = raised(SWEEPS["reverse"])
    assert text.startswith("the derivative of sqrt made a NaN in the reverse sweep") and STEEP_LINE in text
    assert "sqrt(x:f64[2] = [4. 0.]) = [2. 0.] with cotangent [4. 0.], which gave [ 1. nan]" in text


def test_a_rule_that_makes_a_nan_in_forward_mode():
    text = raised(SWEEPS["forward"])
    assert text.startswith("the derivative of sqrt made a NaN in the forward sweep") and STEEP_LINE in text


def test_a_compiled_sweep_names_the_line_of_the_function():
    text = raised(SWEEPS["reverse, compiled"])
    assert "made a NaN" in text and f"{STEEP_LINE}, in its reverse sweep" in text


def test_infinities_of_both_signs_that_meet():
    text = raised(lambda: fad.grad(lambda x: np.sqrt(x) - np.sqrt(x * 1.0))(0.0))
    assert text.startswith("a NaN came to x:f64[] in the reverse sweep") and "infinities of both signs" in text


def test_a_nan_that_was_there_before():
    assert raised(lambda: fad.grad(lambda x: x * np.nan)(1.0)).startswith("multiply passed on a NaN that its inputs hold")


def test_the_place_of_one_nan_among_many_numbers():
    x = np.ones((30, 40))
    x[3, 7] = -2.5
    assert "NaN at [3, 7], from -2.5" in raised(lambda: fad.grad(lambda x: np.sum(np.sqrt(x)))(x))


def test_what_is_allowed():
    """Infinities, NaNs of arguments that are taken out, and partials of a branch that is not taken."""
    safe = lambda x: np.sum(np.where(x > 0, np.sqrt(x), 0.0))
    filled = lambda x: np.sum(np.where(np.isnan(x), 0.0, x))
    with fad.debug_nans():
        assert fad.grad(np.log)(0.0) == np.inf
        assert fad.grad(safe)(np.array([0.0, 4.0])).tolist() == [0.0, 0.25]
        assert fad.hessian(safe)(np.array([0.0, 1.0])).tolist() == [[0.0, 0.0], [0.0, -0.25]]
        assert fad.grad(filled)(np.array([np.nan, 1.0])).tolist() == [0.0, 1.0]
        assert np.isnan(fad.jit(lambda x: x)(np.nan))  # no operation


def test_on_and_off():
    bad = fad.grad(lambda x: np.sqrt(x - 1.0))
    assert np.isnan(bad(0.0))
    with fad.debug_nans():
        with fad.debug_nans(False):
            assert np.isnan(bad(0.0))
        with pytest.raises(FadError, match="sqrt made a NaN"):
            bad(0.0)
        assert is_watching()
    assert np.isnan(bad(0.0)) and not is_watching()


def test_other_threads_are_left_alone():
    found = []
    with fad.debug_nans():
        other = threading.Thread(target=lambda: found.append(fad.grad(lambda x: np.sqrt(x - 1.0))(0.0)))
        other.start()
        other.join()
    assert np.isnan(found).all()


def test_results_are_the_same():
    f = lambda x: np.sum(np.tanh(x @ x) * np.cumsum(x, 0)[:, 1] ** 2)
    x = np.linspace(0.1, 0.9, 9).reshape(3, 3)
    for transform in (fad.grad, fad.hessian, fad.vmap, lambda f: fad.jit(fad.grad(f)), fad.jacfwd):
        arguments = (np.stack([x, x]),) if transform is fad.vmap else (x,)
        expected = transform(f)(*arguments)
        with fad.debug_nans():
            assert np.array_equal(transform(f)(*arguments), expected)


def test_a_tree_that_was_made_before():
    function = fad.trace(shifted_log)(ONES)
    assert "a line that was not noted" in raised(lambda: function(ONES))
