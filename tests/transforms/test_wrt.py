"""wrt: gradients by the leaves whose paths match, the rest held constant."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest

import fad
from fad import optim
from fad.errors import DtypeError, TreeError


class Dense(NamedTuple):
    w: Any
    b: Any


@dataclass
class Net:
    encoder: list
    head: Dense
    name: str = "net"


PARAMS = Net([Dense(np.array([1.0, 2.0]), 3.0), {"w": np.array([4.0, 5.0])}], Dense(np.array([6.0, 7.0]), np.arange(2)))


def loss(p):
    return np.sum(p.encoder[0].w * p.encoder[1]["w"] * p.head.w) * p.encoder[0].b


FULL = fad.grad(loss)(PARAMS)
PATHS = ["encoder/0/w", "encoder/0/b", "encoder/1/w", "head/w", "head/b"]


def test_paths():
    assert fad.tree.slash_paths(fad.tree.structure(PARAMS)) == PATHS
    assert fad.tree.slash_paths(fad.tree.structure(1.0)) == [""]


@pytest.mark.parametrize(
    "wrt, chosen",
    [
        ("encoder/*", PATHS[:3]),
        ("*/w", ["encoder/0/w", "encoder/1/w", "head/w"]),
        (("head/*", "encoder/?/b"), ["head/w", "encoder/0/b"]),
        (["encoder/[01]/w"], ["encoder/0/w", "encoder/1/w"]),
        ("*", PATHS[:4]),
    ],
)
@pytest.mark.parametrize("wrap", [lambda g: g, fad.jit], ids=["eager", "jit"])
def test_the_chosen_leaves_have_their_gradient_and_the_others_none(wrt, chosen, wrap):
    got = wrap(fad.grad(loss, wrt=wrt))(PARAMS)
    _, structure = fad.tree.flatten(PARAMS)
    for path, g, full in zip(PATHS, structure.flatten_up_to(got), structure.flatten_up_to(FULL), strict=True):
        assert (g is not None) == (path in chosen)
        assert g is None or np.allclose(g, full)


def test_the_others_need_not_be_numbers():
    gradient = fad.grad(lambda p: p["w"] * len(p["what"]), wrt="w")({"w": 2.0, "what": "four"})
    assert gradient == {"w": 4.0, "what": None}


def test_nested_and_mixed_with_a_jitted_function_and_several_arguments():
    f = lambda p, q: p["a"] ** 2 * p["b"] ** 3 * q["a"]
    p, q = {"a": 2.0, "b": 3.0}, {"a": 5.0}
    by_b = lambda p: fad.grad(f, wrt="b")(p, q)["b"]  # 3 a^2 b^2 q
    assert fad.grad(by_b, wrt="a")(p) == {"a": 3 * 2 * 2.0 * 9.0 * 5.0, "b": None}
    assert fad.grad(fad.jit(f), (0, 1), wrt="a")(p, q) == ({"a": 540.0, "b": None}, {"a": 108.0})
    (value, aux), gradient = fad.value_and_grad(lambda p: (f(p, q), p["b"]), has_aux=True, wrt="a")(p)
    assert (value, aux, gradient) == (540.0, 3.0, {"a": 540.0, "b": None})


@pytest.mark.parametrize("optimizer", [optim.sgd(0.1), optim.nesterov(0.1), optim.adam(0.1),
                                       optim.chain(optim.clip_norm(1.0), optim.decay_weights(0.1), optim.sgd(0.1))], ids=repr)  # fmt: skip
def test_optimizers_leave_the_others_alone(optimizer):
    params, state = PARAMS, optimizer.init(PARAMS)
    for _ in range(3):
        updates, state = optimizer.update(fad.grad(loss, wrt="encoder/*")(params), state, params)
        params = optim.apply_updates(params, updates)
    assert np.array_equal(params.head.w, PARAMS.head.w) and np.array_equal(params.head.b, PARAMS.head.b)
    assert not np.allclose(params.encoder[0].w, PARAMS.encoder[0].w) and params.encoder[0].b != 3.0


@pytest.mark.parametrize("wrt", ["decoder/*", ("encoder/*", "encoder/w"), "head/b", ""])
def test_a_pattern_without_a_match(wrt):
    with pytest.raises(
        TreeError, match=r"wrt matches nothing(.|\n)*encoder/0/w, encoder/0/b, encoder/1/w, head/w\n(.|\n)*test_wrt"
    ):
        fad.grad(loss, wrt=wrt)(PARAMS)


@pytest.mark.parametrize("wrt", [0, (), (0, "w"), {"w"}])
def test_what_is_no_pattern(wrt):
    with pytest.raises(DtypeError, match="wrt is no pattern"):
        fad.grad(loss, wrt=wrt)


def test_an_argument_that_is_no_container():
    assert fad.grad(np.sin, wrt="*")(0.0) == 1.0
    with pytest.raises(TreeError, match="an argument that is no container"):
        fad.grad(np.sin, wrt="x")(0.0)
