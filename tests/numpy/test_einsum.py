"""`np.einsum` in its whole notation, against NumPy's own; and its derivatives through both modes."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import fad
from fad.errors import FadError
from tests.numpy.oracle import check, concrete

SIZES = {"a": 1, "b": 2, "c": 3, "d": 2, "e": 1}


@st.composite
def programs(draw):
    """Subscripts, and arrays that fit them."""
    terms = draw(st.lists(st.text("abcde", max_size=3), min_size=1, max_size=3))
    lead = draw(st.lists(st.sampled_from([1, 2]), max_size=2))
    dots = [draw(st.booleans()) and bool(lead) for _ in terms]
    arrays = []
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    for i, term in enumerate(terms):
        hidden = tuple(n if draw(st.booleans()) else 1 for n in lead[draw(st.integers(0, len(lead))) :]) if dots[i] else ()
        arrays.append(np.asarray(rng.normal(size=(*hidden, *(SIZES[c] for c in term)))))
    letters = sorted(set("".join(terms)))
    subscripts = ",".join(("..." if d else "") + t for t, d in zip(terms, dots, strict=True))
    if draw(st.booleans()):
        output = "".join(draw(st.lists(st.sampled_from(letters), unique=True))) if letters else ""
        subscripts += "->" + ("..." if any(dots) else "") + output
    return subscripts, arrays


@pytest.mark.smoke
@given(programs())
def test_any_program(program):
    subscripts, arrays = program
    check(lambda *xs: np.einsum(subscripts, *xs), *arrays)


@given(programs())
def test_both_modes_agree(program):
    """<w, J t> = <J^T w, t>, operand by operand."""
    subscripts, arrays = program
    f = lambda *xs: np.einsum(subscripts, *xs)
    rng = np.random.default_rng(0)
    tangents = tuple(np.asarray(rng.normal(size=x.shape)) for x in arrays)
    y, t_out = fad.jvp(f, tuple(arrays), tangents)
    assume(np.size(y))
    w = np.asarray(rng.normal(size=np.shape(y)))
    _, pull = fad.vjp(f, *arrays)
    cotangents = pull(w)
    cotangents = cotangents if isinstance(cotangents, tuple) else (cotangents,)
    np.testing.assert_allclose(
        np.vdot(w, t_out), sum(np.vdot(c, t) for c, t in zip(cotangents, tangents, strict=True)), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize(
    "call",
    [
        lambda a, b: np.einsum(a, [0, 1], b, [1, 2], [0, 2]),
        lambda a, b: np.einsum(a, [0, 1], b, [1, 2]),
        lambda a, b: np.einsum(a, [Ellipsis, 1], b, [1, 2], [Ellipsis, 2]),
        lambda a, b: np.einsum(a, [30, 2], b, [2, 5]),
        lambda a, b: np.einsum("i j, jk -> ik", a, b, optimize=True),
        lambda a, b: np.einsum("ij,jk", a, b, dtype=np.complex128),
        lambda a, b: np.einsum("ij->", a),
        lambda a, b: np.einsum("ij->ji", a),
        lambda a, b: np.einsum("zb,bA", a, b),
    ],
)
def test_forms_of_the_call(call):
    rng = np.random.default_rng(0)
    check(call, rng.normal(size=(2, 3)), rng.normal(size=(3, 4)))


def test_letters_of_length_one_broadcast():
    check(lambda a, b: np.einsum("ij,jk->ik", a, b), np.ones((2, 1)), np.ones((3, 4)))
    check(lambda a, b: np.einsum("ij,jk->ik", a, b), np.ones((2, 0)), np.ones((0, 4)))


@pytest.mark.parametrize(
    "subscripts", ["ij,jk->ii", "ij,jk->il", "ij", "ij,jk,kl", "ijk,jk", "ij,ik->jk", "i1,jk", "...j,jk->k", "ij,jk->i->k"]
)
def test_misuse(subscripts):
    a, b = np.ones((2, 3)), np.ones((3, 4))
    with pytest.raises(ValueError):
        np.einsum(subscripts, a, b)
    with pytest.raises(FadError, match="einsum"):
        np.einsum(subscripts, concrete(a), concrete(b))
