"""What transformations have in common: the function that one makes of a function, and the Function of a Python function."""

from __future__ import annotations

import functools
import inspect
import sys
import types
from collections.abc import Callable
from typing import Any

from fad import tree
from fad.core.expr import Const, Expr, Var, short
from fad.core.function import Function
from fad.errors import DtypeError
from fad.transforms.trace import Trace

__all__ = ["Transformed", "transformation", "recorded", "argument_names", "name_of", "by_name", "parameters"]


class Transformed:
    """``transform(f, *options)``: a function with f's documentation and signature, which pickles where f does.

    >>> import pickle, fad, numpy as np
    >>> slope = fad.grad(np.tanh)
    >>> slope
    <grad(tanh)>
    >>> pickle.loads(pickle.dumps(slope))(0.0)
    np.float64(1.0)
    """

    __name__: str

    def __init__(self, run: Callable, transform: Callable, f: Callable, *args: Any, **kwargs: Any):
        if not callable(f):
            raise DtypeError(
                f"{transform.__name__}: not a function",
                got=short(f),
                rule="the first argument is the function",
                fix=f"fad.{transform.__name__}(f)(x)",
            )
        self.run, self.again = run, functools.partial(transform, f, *args, **kwargs)
        functools.update_wrapper(self, f, updated=())
        self.__name__ = f"{transform.__name__}({name_of(f)})"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<{self.__name__}>"

    def __reduce__(self) -> Any:
        return by_name(self) or (self.again, ())

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)


def by_name(function: Any) -> str | None:
    """The name under which pickle finds this very object in its module, as it finds functions; None where it does not."""
    name = getattr(function, "__qualname__", "")
    found: Any = sys.modules.get(getattr(function, "__module__", None) or "")
    for part in name.split("."):
        found = getattr(found, part, None)
    return name if found is function else None


def name_of(f: Any) -> str:
    """What to call a function in messages."""
    if isinstance(f, functools.partial):
        return name_of(f.func)
    name = f.name if isinstance(f, Function) else getattr(f, "__name__", type(f).__name__)
    return "f" if name == "<lambda>" else name


def transformation(transform: Callable) -> Callable:
    """A transformation whose result takes f's own arguments: of a jitted function it is jitted, of a Function a Function."""

    @functools.wraps(transform)
    def of(f: Callable, *args: Any, **kwargs: Any) -> Callable:
        if hasattr(f, "transformed"):
            return f.transformed(lambda g: of(g, *args, **kwargs), transform.__name__)
        derivative = Transformed(transform(f, *args, **kwargs), of, f, *args, **kwargs)
        if not isinstance(f, Function):
            return derivative
        return Function(*recorded(derivative, tree.unflatten(f.in_tree, f.inputs), [x.name for x in f.inputs]))

    return of


# -- trees from functions -------------------------------------------------------------------------------------------


def recorded(f: Callable, args: tuple, names: list[str], concrete: bool = False, kwargs: dict | None = None) -> tuple:
    """Inputs, outputs, the pytree structure of both, and the name, of the Function that f computes for these arguments."""
    leaves, in_tree = tree.flatten(args)
    opened = Trace("trace", f)
    inputs = [_input(opened, x, name, concrete) for x, name in zip(leaves, names, strict=True)]
    try:
        outputs, out_tree = tree.flatten(opened.call(*tree.unflatten(in_tree, inputs), **kwargs or {}))
    finally:
        opened.live = False
    return inputs, outputs, in_tree, out_tree, name_of(f)


def _input(opened: Trace, x: Any, name: str, concrete: bool) -> Var:
    weak = type(x) if type(x) in (bool, int, float, complex) else None
    x = x if isinstance(x, Expr) else Const(x)
    if not concrete:
        return opened.symbol(x.shape, x.dtype, name, weak)
    return opened.var(x if x.op is not None or isinstance(x, Var) else x.value, name)


def argument_names(f: Callable, args: tuple) -> list[str]:
    """A name for every leaf: the parameter's own, or the last key of its path."""
    own_names = parameters(f)
    names = []
    for i, arg in enumerate(args):
        first = own_names[i] if i < len(own_names) else f"x{i}"
        for path in tree.paths(arg):
            last = path.rstrip("]").replace("'", "").split("[")[-1].split(".")[-1]
            names.append(f"{first}{last}" if last.isdigit() else last or first)
    return names


def parameters(f: Callable) -> tuple:
    """The names of f's positional parameters; those of the function inside, where f wraps one."""
    code = getattr(inspect.unwrap(f), "__code__", None)
    return code.co_varnames[: code.co_argcount] if code else ()
