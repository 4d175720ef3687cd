"""Pytrees: nested tuples, lists, dicts, namedtuples, dataclasses and None, with arrays at the leaves.

A thin face over optree. Dicts are flattened in sorted key order; ``None`` is a tree without leaves.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import optree

from fad.errors import TreeError

__all__ = ["flatten", "unflatten", "map", "leaves", "structure", "register", "paths"]

_NAMESPACE = "fad"
TreeDef = optree.PyTreeSpec


def register(cls: type, flatten: Callable, unflatten: Callable) -> type:
    """Make a class a pytree: ``flatten(obj) -> (children, static)``, ``unflatten(static, children) -> obj``.

    >>> class Pair:
    ...     def __init__(self, a, b): self.a, self.b = a, b
    >>> _ = register(Pair, lambda p: ((p.a, p.b), None), lambda _, children: Pair(*children))
    >>> leaves([Pair(1, 2), 3])
    [1, 2, 3]
    """
    optree.register_pytree_node(cls, flatten, unflatten, namespace=_NAMESPACE)
    return cls


def _register_dataclass(cls: type) -> None:
    names = [f.name for f in dataclasses.fields(cls) if f.init]

    def unflatten(_: Any, children: Iterable) -> Any:
        return cls(**dict(zip(names, children, strict=True)))

    register(cls, lambda obj: (tuple(getattr(obj, n) for n in names), None), unflatten)


def flatten(tree: Any) -> tuple[list, TreeDef]:
    """Leaves in order, and the structure that puts them back.

    >>> flatten({"b": 1, "a": (2, None)})[0]
    [2, 1]
    """
    while True:
        found, treedef = optree.tree_flatten(tree, namespace=_NAMESPACE)
        new = {type(x) for x in found if dataclasses.is_dataclass(x) and not isinstance(x, type)}
        if not new:
            return found, treedef
        for cls in new:  # a dataclass is a pytree from the first time one is met
            _register_dataclass(cls)


def unflatten(treedef: TreeDef, new_leaves: Iterable) -> Any:
    """The tree of structure ``treedef`` with these leaves."""
    return optree.tree_unflatten(treedef, new_leaves)


def leaves(tree: Any) -> list:
    """The leaves of a tree in order."""
    return flatten(tree)[0]


def structure(tree: Any) -> TreeDef:
    """The structure of a tree."""
    return flatten(tree)[1]


def paths(tree: Any) -> list[str]:
    """A readable path for every leaf.

    >>> paths({"w": [1, 2]})
    ["['w'][0]", "['w'][1]"]
    """
    return [accessor.codify("") for accessor in optree.tree_accessors(tree, namespace=_NAMESPACE)]


def map(f: Callable, tree: Any, *rest: Any) -> Any:
    """Apply ``f`` leaf by leaf over trees of one structure.

    >>> map(lambda a, b: a + b, {"w": 1}, {"w": 10})
    {'w': 11}
    """
    first, treedef = flatten(tree)
    columns = [first]
    for other in rest:
        found, other_def = flatten(other)
        if other_def != treedef:
            raise TreeError(
                "tree.map: structures differ",
                got=f"{treedef} and {other_def}",
                rule="every tree needs the structure of the first",
                fix="pass trees built from the same containers and keys",
            )
        columns.append(found)
    return unflatten(treedef, [f(*column) for column in zip(*columns, strict=True)])
