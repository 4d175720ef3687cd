"""Who shares an array, and what NumPy's assignment means for nodes.

NumPy changes an array in place, and whoever knows it under another name, or through a view, sees the change. A node is
immutable: ``y += x`` gives the name y a new node. So nobody may read the old one any more. Nodes that would share memory
in NumPy are a family; when one of them is overwritten all become `Overwritten`, and reading them raises. Who reads
nothing else gets the numbers NumPy gives. The tree keeps its nodes as they were: copies and sweeps know them by their id.
"""

from __future__ import annotations

from typing import Any
from weakref import ref

import numpy as np

from fad.core.expr import FUNCTIONS, Expr, Overwritten, OverwrittenVar, Var, aval_text, short, twin
from fad.errors import DtypeError, ShapeError
from fad.primitives.shape import getitem as slice_of

__all__ = ["copied", "overwrite", "view"]

_get, _set = vars(Expr)["memory"].__get__, vars(Expr)["memory"].__set__


def view(y: Any, base: Any) -> Any:
    """y, which shares its array with ``base`` as a view does."""
    if y is base or not isinstance(y, Expr):
        return y
    try:
        family = _get(base)
    except AttributeError:  # the first view of it
        family = [ref(base)]
        _set(base, family)
    if len(family) > 64:
        family[:] = [member for member in family if member() is not None]
    family.append(ref(y))
    _set(y, family)
    return y


def _family(node: Expr) -> list | None:
    """References to those that share an array with a node, itself among them; None where it has one for itself."""
    try:
        return _get(node)
    except AttributeError:
        return None


def _part(y: Any, base: Expr, index: Any) -> Any:
    """``base[index]``: a view where it is a slice; with integers alone it is a number."""
    is_view = y.op is slice_of and (y.shape or (type(index) is tuple and any(e is ... for e in index)))
    return view(y, base) if is_view else y


def copied(x: Any) -> Any:
    """The same node, or another array, that shares no memory with x."""
    return twin(x) if isinstance(x, Expr) else np.array(x)[()]


def overwrite(old: Expr, new: Any) -> Any:
    """What ``old += x`` leaves under its name, for ``new = old + x``: that, in the shape and dtype of ``old``.

    Numbers are immutable in NumPy too: they are let go as they are. Raises ShapeError and DtypeError where NumPy does.
    """
    if not isinstance(new, Expr) or not _is_array(old):
        return new
    if new.shape != old.shape:
        raise ShapeError(
            "an in-place operator would change the shape",
            got=f"{short(new)} for {aval_text(old.shape, old.dtype)}",
            rule="the array keeps its own",
            fix="y = y + x in place of y += x",
        )
    if not np.can_cast(new.dtype, old.dtype, "same_kind"):
        raise DtypeError(
            "an in-place operator would change the dtype",
            got=f"{short(new)} for {aval_text(old.shape, old.dtype)}",
            rule="the array keeps its own",
            fix="y = y + x in place of y += x, or y = y.astype(float) before it",
        )
    new = FUNCTIONS["astype"](new, old.dtype)
    for member in _family(old) or (lambda: old,):
        node = member()
        if node is not None:
            object.__setattr__(node, "__class__", OverwrittenVar if isinstance(node, Var) else Overwritten)
    return new


def _is_array(node: Expr) -> bool:
    """Whether NumPy's operators would change it in place: arrays, and of those without axes the ones that are no numbers."""
    if node.shape or _family(node) is not None:
        return True
    if isinstance(node, Var):
        if node.args:
            return _is_array(node.args[0])
        return node.weak is None and (node.value is None or isinstance(node.value, np.ndarray))
    return node.op is not None and node.op.name == "where"


FUNCTIONS["view"], FUNCTIONS["overwrite"], FUNCTIONS["copy"] = _part, overwrite, twin
