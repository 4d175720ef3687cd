"""Pytrees: nested tuples, lists, dicts, namedtuples, dataclasses and None, with arrays at the leaves.

A thin face over optree. Dicts are flattened in sorted key order; ``None`` is a tree without leaves.

A dataclass is a pytree from the first time one is met. Its children are the fields that hold numbers, arrays, None and containers
of these; what else a field holds (strings, functions, dtypes), and fields marked as ``field(metadata={"static": True})``,
belong to the structure. A number that a shape or a branch depends on should be marked. Neither ``__init__`` nor
``__post_init__`` runs when leaves are put back, unless ``__post_init__`` computes further fields or attributes from the
others: these are no part of the tree then, and are computed again.

>>> @dataclasses.dataclass
... class Layer:
...     w: float
...     name: str = "dense"
>>> map(lambda x: 2 * x, Layer(3.0))
Layer(w=6.0, name='dense')
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import threading
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import optree

from fad.errors import FadError, TreeError

__all__ = ["flatten", "unflatten", "map", "leaves", "structure", "register", "paths", "slash_paths"]

_NAMESPACE = "fad"
LARGE = 1024  # bytes of an array from which a key has a digest in its place
TreeDef = optree.PyTreeSpec


def register(cls: type, flatten: Callable, unflatten: Callable) -> type:
    """Make a class a pytree: ``flatten(obj) -> (children, static)``, ``unflatten(static, children) -> obj``.

    >>> class Pair:
    ...     def __init__(self, a, b): self.a, self.b = a, b
    >>> _ = register(Pair, lambda p: ((p.a, p.b), None), lambda _, children: Pair(*children))
    >>> leaves([Pair(1, 2), 3])
    [1, 2, 3]
    """
    if not isinstance(cls, type):
        raise TreeError(
            "tree.register: not a class", got=repr(cls), rule="register(cls, flatten, unflatten)", fix="pass the class itself"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # optree says that a namedtuple was a pytree before, as the caller knows
            optree.register_pytree_node(cls, flatten, unflatten, namespace=_NAMESPACE)
    except ValueError as error:
        raise TreeError(
            f"tree.register: {cls.__name__} is a pytree already",
            got=cls,
            rule=str(error),
            fix="register a class once, and before the first tree that holds one",
        ) from None
    return cls


# -- dataclasses ----------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Held:
    """What the structure keeps of a dataclass: the names of the children, and the static fields, compared by ``key``."""

    children: tuple
    static: dict = dataclasses.field(compare=False)
    key: tuple = dataclasses.field(repr=False)
    constructor: bool = dataclasses.field(repr=False)  # whether the constructor rebuilds it


_registering = threading.Lock()


def _register_dataclass(cls: type) -> None:
    fields = dataclasses.fields(cls)
    names, given = tuple(f.name for f in fields), tuple(f.name for f in fields if f.init)
    marked = {f.name for f in fields if f.metadata.get("static")}
    no_static = Held(names, {}, (), False)

    def flatten(obj: Any) -> tuple:
        constructor = hasattr(cls, "__post_init__") and _computes(obj, names, given)
        values: dict[str, Any] = {}
        static: dict[str, Any] = {}
        for name in given if constructor else names:
            if hasattr(obj, name):
                value = getattr(obj, name)
                (static if name in marked or _is_static(value) else values)[name] = value
        children = tuple(values)
        held = no_static if children == names and not constructor else Held(children, static, _key(cls, static), constructor)
        return tuple(values.values()), held, children

    def unflatten(held: Any, children: Iterable) -> Any:
        values = dict(zip(held.children, children, strict=True)) | held.static
        if held.constructor:
            return _constructed(cls, values)
        obj: Any = object.__new__(cls)
        for name, value in values.items():
            object.__setattr__(obj, name, value)  # frozen ones as well
        return obj

    with _registering:
        if not _is_registered(cls):
            optree.register_pytree_node(cls, flatten, unflatten, path_entry_type=optree.GetAttrEntry, namespace=_NAMESPACE)


def _is_registered(cls: type) -> bool:
    return optree.register_pytree_node.get(cls, namespace=_NAMESPACE) is not None


def _key(cls: type, static: dict) -> tuple:
    key = freeze(static)
    try:
        hash(key)
    except TypeError:
        raise TreeError(
            f"{cls.__name__}: a field without numbers is not hashable",
            got=static,
            rule="such fields are part of the structure, which is compared, and under which jit keeps code",
            fix="hold a tuple or a frozen object in it, or say how to take it apart with fad.tree.register",
        ) from None
    return key


def _is_static(value: Any) -> bool:
    """Whether a field's value holds neither numbers nor arrays, nor a place for some."""
    kind: Any = type(value)
    if _is_data(kind):
        return False
    found = leaves(value)
    return bool(found) and not any(_is_data(kind) for kind in map(type, found))


@functools.cache
def _is_data(cls: type) -> bool:
    return hasattr(cls, "__array__") or (issubclass(cls, int | float | complex) and not issubclass(cls, enum.Enum))


def _computes(obj: Any, names: tuple, given: tuple) -> bool:
    """Whether ``__post_init__`` set more than the arguments of the constructor. What a cached property keeps is none of that:
    it has a name in the class."""
    return names != given or any(n not in names and not hasattr(type(obj), n) for n in getattr(obj, "__dict__", ()))


def _constructed(cls: type, values: dict) -> Any:
    try:
        return cls(**values)
    except FadError:
        raise
    except Exception as error:
        raise TreeError(
            f"{cls.__name__} cannot be built from other leaves",
            got=f"{type(error).__name__}: {error}",
            rule="its __post_init__ computes fields from others, so it runs on nodes, and on gradients, as well",
            fix="compute them in properties, or say how to rebuild it with fad.tree.register",
        ) from error


def _digest(x: np.ndarray) -> bytes:
    import hashlib  # which takes two milliseconds

    return hashlib.sha256(x.tobytes()).digest()


def freeze(x: Any) -> Any:
    """A hashable stand-in for a parameter or constant, equal exactly when the original is: of a large array a digest."""
    if isinstance(x, np.ndarray):
        return x.shape, x.dtype.str, x.tobytes() if x.nbytes <= LARGE else _digest(x)
    if isinstance(x, slice):
        return "slice", x.start, x.stop, x.step
    if isinstance(x, dict):
        return tuple((k, freeze(v)) for k, v in sorted(x.items()))
    if isinstance(x, tuple | list):
        items = tuple(freeze(v) for v in x)
        return items if type(x) in (tuple, list) else (type(x), items)
    if isinstance(x, set | frozenset):
        return frozenset(freeze(v) for v in x)
    if isinstance(x, float | complex | np.generic):
        return type(x), np.asarray(x).tobytes()
    return type(x), x


# -- trees ---------------------------------------------------------------------------------------------------------


def flatten(tree: Any) -> tuple[list, TreeDef]:
    """Leaves in order, and the structure that puts them back.

    >>> flatten({"b": 1, "a": (2, None)})[0]
    [2, 1]
    """
    while True:
        found, treedef = optree.tree_flatten(tree, namespace=_NAMESPACE)
        new = [cls for cls in {type(x) for x in found} if cls not in _PLAIN and dataclasses.is_dataclass(cls)]
        if not new:
            return found, treedef
        for cls in new:  # a dataclass is a pytree from the first time one is met
            _register_dataclass(cls)


_PLAIN = {np.ndarray, float, int, bool, complex, np.float64, np.float32, np.int64}  # leaves that are met most


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
    return [accessor.codify("") for accessor in structure(tree).accessors()]


def slash_paths(treedef: TreeDef) -> list[str]:
    """The path of every leaf as keys, indices and names of fields with slashes between them.

    >>> slash_paths(structure({"encoder": [{"w": 1.0}, 2.0]}))
    ['encoder/0/w', 'encoder/1']
    """
    return ["/".join(str(getattr(e, "field", e.entry)) for e in accessor) for accessor in treedef.accessors()]


def state(treedef: TreeDef) -> Any:
    """A structure as plain tuples, to pickle."""
    return treedef.__getstate__()


def restored(content: Any) -> TreeDef:
    """The structure that `state` gave, where the dataclasses in it may not have been met before."""
    stack = [content]
    while stack:
        x = stack.pop()
        if isinstance(x, tuple):
            stack.extend(x)
        elif isinstance(x, type) and dataclasses.is_dataclass(x):
            _register_dataclass(x)
    treedef: Any = TreeDef.__new__(TreeDef)
    treedef.__setstate__(content)
    return treedef


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
