"""Pytrees."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fad import tree
from fad.errors import TreeError

TREES = st.recursive(st.integers() | st.none(), lambda t: st.lists(t) | st.tuples(t, t) | st.dictionaries(st.text(), t), max_leaves=8)


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
