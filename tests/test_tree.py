"""Pytrees."""

import dataclasses
import enum
import functools
import warnings
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fad
from fad import tree
from fad.errors import TreeError

TREES = st.recursive(
    st.integers() | st.none(), lambda t: st.lists(t) | st.tuples(t, t) | st.dictionaries(st.text(), t), max_leaves=8
)


@pytest.mark.smoke
@given(TREES)
def test_round_trip(t):
    leaves, treedef = tree.flatten(t)
    assert tree.unflatten(treedef, leaves) == t
    assert tree.structure(t) == treedef and len(tree.paths(t)) == len(leaves)
    assert tree.leaves(tree.map(lambda x: x + 1, t)) == [x + 1 for x in leaves]


@dataclasses.dataclass(frozen=True)
class Inner:
    a: int
    b: list


@dataclasses.dataclass
class Outer:
    inner: Inner
    c: int


def test_dataclasses_need_no_registration():
    t = Outer(Inner(1, [2, 3]), 4)
    assert tree.leaves(t) == [1, 2, 3, 4]
    assert tree.map(lambda x, y: x + y, t, t) == Outer(Inner(2, [4, 6]), 8)


def test_mismatch_names_both():
    with pytest.raises(TreeError, match="structures differ") as caught:
        tree.map(lambda a, b: a, {"w": 1}, {"v": 1})
    assert "w" in str(caught.value) and "v" in str(caught.value)


X = np.array([1.0, 2.0, 3.0])


class Mode(enum.IntEnum):
    FAST = 1


@dataclasses.dataclass(frozen=True)
class Mixed:
    w: np.ndarray
    name: str
    activation: object = np.tanh
    power: int = dataclasses.field(default=2, metadata={"static": True})
    mode: Mode = Mode.FAST
    nothing: object = None
    labels: tuple = ("a", "b")
    options: object = frozenset({"x"})
    pair: tuple = (1.0, 2.0)


@dataclasses.dataclass(slots=True, kw_only=True)
class Slots:
    w: np.ndarray
    b: float = 1.0


@dataclasses.dataclass
class Checked:
    w: np.ndarray

    def __post_init__(self):
        if not isinstance(self.w, np.ndarray) or np.any(self.w <= 0):
            raise ValueError("w must be an array of positive numbers")


@dataclasses.dataclass
class Derived:
    w: np.ndarray
    squares: np.ndarray = dataclasses.field(init=False)
    n: int = dataclasses.field(init=False)

    def __post_init__(self):
        self.squares, self.n = self.w**2, len(self.w)


@dataclasses.dataclass
class Attribute:
    w: np.ndarray

    def __post_init__(self):
        self.n = len(self.w)


@dataclasses.dataclass
class SetLater:
    w: np.ndarray
    scale: float = dataclasses.field(init=False, default=1.0)


@dataclasses.dataclass(init=False)
class OwnInit:
    w: np.ndarray

    def __init__(self, values, times):
        self.w = np.asarray(values) * times


@dataclasses.dataclass
class Cached:
    w: np.ndarray

    @functools.cached_property
    def norm(self):
        return np.sum(self.w**2)


@dataclasses.dataclass
class Outside:
    inner: Mixed
    parts: dict


def test_static_fields_are_part_of_the_structure():
    m = Mixed(X, "m")
    assert [np.shape(x) for x in tree.leaves(m)] == [(3,), (), ()]  # w and the pair
    assert tree.paths([m]) == ["[0].w", "[0].pair[0]", "[0].pair[1]"]
    assert tree.structure(m) == tree.structure(Mixed(-X, "m")) and hash(tree.structure(m)) == hash(tree.structure(Mixed(-X, "m")))
    for other in (
        Mixed(X, "n"),
        Mixed(X, "m", np.sin),
        Mixed(X, "m", power=3),
        Mixed(X, "m", power=2.0),
        Mixed(X, "m", labels=("a",)),
        Mixed(X, "m", options=frozenset({"y"})),
    ):
        assert tree.structure(m) != tree.structure(other)


@pytest.mark.parametrize("compiled", [False, True])
def test_dataclasses_with_fields_that_are_no_arrays(compiled):
    def f(m):
        assert m.name == "m" and m.mode is Mode.FAST and m.nothing is None and m.labels == ("a", "b")
        return np.sum(m.activation(m.w) ** m.power) * m.pair[0]

    g = fad.jit(fad.grad(f)) if compiled else fad.grad(f)
    slope = g(Mixed(X, "m"))
    assert np.allclose(slope.w, 2 * np.tanh(X) / np.cosh(X) ** 2) and np.isclose(slope.pair[0], np.sum(np.tanh(X) ** 2))
    assert type(slope) is Mixed and (slope.name, slope.activation, slope.power) == ("m", np.tanh, 2)
    assert np.allclose(g(Mixed(X, "m", power=3)).w, 3 * np.tanh(X) ** 2 / np.cosh(X) ** 2)  # compiled for itself
    assert np.allclose(fad.jvp(f, (Mixed(X, "m"),), (Mixed(X, "m", pair=(0.0, 0.0)),))[1], slope.w @ X)
    stacked = Mixed(np.stack([X, 2 * X]), "m")
    mapped = fad.vmap(f, in_axes=(Mixed(0, "m", pair=(None, None)),))
    assert np.allclose((fad.jit(mapped) if compiled else mapped)(stacked), [f(Mixed(X, "m")), f(Mixed(2 * X, "m"))])


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    "make, f, expected",
    [
        (lambda: Slots(w=X), lambda m: np.sum(m.w) * m.b, {"w": np.ones(3), "b": 6.0}),
        (lambda: Checked(X), lambda m: -np.sum(m.w**2), {"w": -2 * X}),  # neither nodes nor gradients pass its check, and need not
        (lambda: Derived(X), lambda m: np.sum(m.squares) * m.n * np.zeros(m.n).size, {"w": 18 * X}),
        (lambda: Attribute(X), lambda m: np.sum(m.w**2) * m.n, {"w": 6 * X}),
        (lambda: OwnInit([1.0, 2.0], 3), lambda m: np.sum(m.w**2), {"w": np.array([6.0, 12.0])}),
        (lambda: Outside(Mixed(X, "m"), {"a": 2.0}), lambda m: np.sum(m.inner.w) * m.parts["a"], {"parts": {"a": 6.0}}),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_every_kind_of_dataclass(make, f, expected, compiled):
    slope = (fad.jit(fad.grad(f)) if compiled else fad.grad(f))(make())
    assert type(slope) is type(make())
    for name, value in expected.items():
        for a, b in zip(tree.leaves(getattr(slope, name)), tree.leaves(value), strict=True):
            assert np.allclose(a, b)


def test_fields_set_later_keep_their_values():
    m = SetLater(X)
    m.scale = 3.0
    slope = fad.grad(lambda m: np.sum(m.w) * m.scale)(m)
    assert np.array_equal(slope.w, [3, 3, 3]) and slope.scale == 6.0


def test_cached_properties_are_computed_again():
    m = Cached(X)
    assert m.norm == 14.0
    assert np.array_equal(fad.grad(lambda m: m.norm)(m).w, 2 * X) and tree.structure(m) == tree.structure(Cached(X))


def test_a_constructor_that_refuses_says_so():
    @dataclasses.dataclass
    class Strict(Derived):
        def __post_init__(self):
            if not isinstance(self.w, np.ndarray):
                raise ValueError("w must be an array")
            super().__post_init__()

    with pytest.raises(TreeError, match="Strict cannot be built(.|\n)*w must be an array(.|\n)*properties"):
        fad.grad(lambda m: np.sum(m.squares))(Strict(X))


def test_threads_meet_a_dataclass_at_once():
    for _ in range(20):
        cls = dataclasses.make_dataclass("Fresh", ["a", "b"])
        with ThreadPoolExecutor(8) as pool:
            assert all(found == [1, 2] for found in pool.map(lambda _, cls=cls: tree.leaves(cls(1, 2)), range(16)))


def test_namedtuples_and_registration_are_silent_and_checked():
    pair = namedtuple("pair", "a b")
    assert tree.paths(pair(1, 2)) == [".a", ".b"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tree.register(pair, lambda p: ((p.a,), p.b), lambda b, children: pair(*children, b))
    assert tree.leaves(pair(1, 2)) == [1]
    for cls in (pair, tuple, Outer):
        tree.leaves(Outer(Inner(1, []), 2))
        with pytest.raises(TreeError, match="is a pytree already"):
            tree.register(cls, lambda p: ((), None), lambda _, children: None)
    with pytest.raises(TreeError, match="not a class"):
        tree.register(3, lambda p: ((), None), lambda _, children: None)
