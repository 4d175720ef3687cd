"""numba functions in traces: a function that numba compiled runs its Python source where it meets a node.

The source is run as it stands, but for the names it looks up: `math` and its functions stand for NumPy's, which nodes go
through, `max` and `min` for np.where, and further numba functions for their sources. Data-dependent branches follow
the values, as in any trace. Without numba in the process all this costs one look into sys.modules a trace.
"""

from __future__ import annotations

import cmath
import ctypes
import functools
import math
import sys
from collections.abc import Callable
from types import BuiltinFunctionType, FunctionType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from fad import tree
from fad.core.captured import is_library, rebuild
from fad.core.expr import Expr, short
from fad.errors import TraceError

__all__ = ["traceable", "vectorized"]

_modules = sys.modules
_met = False


def traceable(f: Callable) -> Callable:
    """What to call with nodes in place of f: the Python source of a numba function, f itself otherwise.

    The source raises TraceError where it needs a number of a symbol, AssignmentError where it writes a node into an
    array, and TraceError where it calls what exists in machine code alone.

    >>> import math, numba, fad
    >>> fad.grad(numba.njit(lambda x: math.sin(x) * 2))(0.0)
    np.float64(2.0)
    """
    if "numba" not in _modules:
        return f
    if not _met:
        _meet_numba()
    return _source(f, f.py_func) if hasattr(f, "py_func") and _is_numba(f) else f


def _meet_numba() -> None:
    """Let numba functions that other code calls with nodes run their sources.

    numba asks ``_compile_for_args`` what to run for arguments of types that are new to it, which nodes always are, and
    ``_explain_matching_error`` to raise where signatures are fixed; what `numba.guvectorize` made asks ``_get_function_type``
    what to compile. Calls without nodes go on as before."""
    global _met
    from numba import types
    from numba.core.dispatcher import Dispatcher
    from numba.extending import typeof_impl
    from numba.np.ufunc.gufunc import GUFunc

    compile_for, explain = Dispatcher._compile_for_args, Dispatcher._explain_matching_error
    function_type = GUFunc._get_function_type

    def _compile_for_args(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not _holds_node(args):
            return compile_for(self, *args, **kwargs)
        self._types_active_call.clear()
        return _folded(self)

    def _explain_matching_error(self: Any, *args: Any, **kwargs: Any) -> None:
        if not _holds_node(args):
            explain(self, *args, **kwargs)
        name = self.__name__
        raise TraceError(
            f"{name}, compiled by numba for fixed signatures, was called with a node",
            got=", ".join(map(short, args)),
            rule="with signatures given, numba runs nothing else",
            fix=f"leave out the signatures of @njit, or call fad.jit({name})",
        )

    def _get_function_type(self: Any, *args: Any) -> Any:
        return self.ufunc(*args) if _holds_node(args) else function_type(self, *args)  # raises: no rule

    typeof_impl.register(Expr)(lambda node, context: types.pyobject)
    Dispatcher._compile_for_args, Dispatcher._explain_matching_error = _compile_for_args, _explain_matching_error
    GUFunc._get_function_type = _get_function_type
    _met = True


def _holds_node(args: tuple) -> bool:
    for x in args:
        if isinstance(x, Expr):
            return True
    return any(isinstance(x, Expr) for x in tree.leaves(args))


def _is_numba(f: Any) -> bool:
    from numba.core.dispatcher import Dispatcher

    return isinstance(f, Dispatcher)


def vectorized(ufunc: Any) -> tuple[Callable, Callable | None] | None:
    """Of a ufunc that `numba.vectorize` made: the source of its scalar function, and where signatures are fixed what gives the
    dtypes of operands and result for those of the arguments. None for every other ufunc."""
    if "numba" not in _modules:
        return None
    from numba.np.ufunc.dufunc import DUFunc

    if not isinstance(ufunc, DUFunc):
        return None
    loop = ufunc.ufunc.resolve_dtypes
    return _source(ufunc, ufunc._dispatcher.py_func), (lambda *dtypes: loop((*dtypes, None))) if ufunc._frozen else None


def _source(f: Any, source: Any) -> Callable:
    """The source of a numba function where an argument holds a node; numba's code elsewhere."""

    @functools.wraps(source)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not _holds_node((*args, *kwargs.values())):
            return f(*args, **kwargs)
        run = getattr(f, "on_nodes", None) or _copy(source, {})
        try:
            return run(*args, **kwargs)
        except (NotImplementedError, ctypes.ArgumentError) as error:
            raise TraceError(
                f"{f.__name__}: this numba function cannot be traced",
                got=str(error),
                rule="derivatives come from its Python source, and a part of it is machine code alone",
                fix="write that part in Python or NumPy",
            ) from None

    return call


def _folded(f: Any) -> Callable:
    """The source for arguments as numba's dispatcher hands them over: all by position, defaults wrapped, *args in a tuple."""
    from numba.core.dispatcher import OmittedArg

    source, starred = _source(f, f.py_func), bool(f.py_func.__code__.co_flags & 4)

    def call(*args: Any) -> Any:
        args = tuple(a.value if isinstance(a, OmittedArg) else a for a in args)
        return source(*args[:-1], *args[-1]) if starred else source(*args)

    return call


# -- names as code that meets nodes needs them ---------------------------------------------------------------------------


class _Names(dict):
    """The globals of a module, each as nodes can go through it; looked up when the code does."""

    def __init__(self, live: dict):
        self.live = live

    def __missing__(self, name: str) -> Any:
        return _for_nodes(self.live[name], {}) if name in self.live else _builtins()[name]


def _for_nodes(x: Any, copies: dict) -> Any:
    """A value that numba's source refers to, as nodes can go through it. ``copies`` are functions under way, by id."""
    kind = type(x)
    if kind is ModuleType:
        return _math() if x is math else _cmath() if x is cmath else x
    if kind is BuiltinFunctionType:
        return _functions().get(x, x)
    if kind is FunctionType:
        return x if is_library(x) else copies.get(id(x)) or _copy(x, copies)
    return _source(x, x.py_func) if hasattr(x, "py_func") and _is_numba(x) else x


def _copy(f: FunctionType, copies: dict) -> FunctionType:
    """A function with the same code, and names for nodes."""
    return rebuild(f, _Names(f.__globals__), _for_nodes, copies)


def _either(rule: Callable, scalar: Callable) -> Callable:
    """The rule for nodes, the scalar function for numbers."""
    return functools.wraps(scalar)(lambda *args, **kwargs: (rule if _holds_node(args) else scalar)(*args, **kwargs))


_RENAMED = {
    "acos": "arccos",
    "acosh": "arccosh",
    "asin": "arcsin",
    "asinh": "arcsinh",
    "atan": "arctan",
    "atan2": "arctan2",
    "atanh": "arctanh",
    "pow": "power",
}
_SAME = (
    "cbrt",
    "copysign",
    "cos",
    "cosh",
    "degrees",
    "exp",
    "exp2",
    "expm1",
    "fabs",
    "fmod",
    "hypot",
    "isclose",
    "isfinite",
    "isinf",
    "isnan",
    "log10",
    "log1p",
    "log2",
    "nextafter",
    "radians",
    "sin",
    "sinh",
    "sqrt",
    "tan",
    "tanh",
)


@functools.cache
def _math() -> SimpleNamespace:
    """The module `math` for numbers and nodes."""
    from fad.primitives import gamma, special

    def integer(rounded: Callable) -> Callable:
        return lambda x: rounded(x).astype(np.int64)

    rules = {name: getattr(np, name) for name in _SAME} | {name: getattr(np, there) for name, there in _RENAMED.items()}
    rules |= {name: integer(getattr(np, name)) for name in ("ceil", "floor", "trunc")}
    rules |= {"erf": special.erf, "erfc": special.erfc, "lgamma": special.gammaln, "gamma": gamma.gamma, "log": _log}
    return SimpleNamespace(**{name: _either(rules[name], f) if name in rules else f for name, f in vars(math).items()})


def _log(x: Any, *base: Any) -> Any:
    return np.log(x) / np.log(base[0]) if base else np.log(x)


@functools.cache
def _cmath() -> SimpleNamespace:
    """The module `cmath` for numbers and nodes."""

    def of_complex(rule: Callable) -> Callable:
        return lambda *args: rule(*(a + 0j for a in args))

    there = {name: _RENAMED.get(name, name) for name in vars(cmath)}
    rules = {name: of_complex(getattr(np, n)) for name, n in there.items() if n in (*_SAME, *_RENAMED.values())}
    rules |= {"log": lambda *args: _log(*(a + 0j for a in args)), "phase": np.angle}
    return SimpleNamespace(**{name: _either(rules[name], f) if name in rules else f for name, f in vars(cmath).items()})


@functools.cache
def _functions() -> dict[Any, Callable]:
    """Functions of `math` and `cmath` that a module imported by name."""
    return {
        f: getattr(space(), name)
        for module, space in ((math, _math), (cmath, _cmath))
        for name, f in vars(module).items()
        if type(f) is BuiltinFunctionType
    }


@functools.cache
def _builtins() -> dict[str, Callable]:
    """Python's functions that would ask a node for its value."""

    def extreme(better: Callable) -> Callable:
        def rule(*args: Any) -> Any:
            first, *others = args if len(args) > 1 else args[0]
            return functools.reduce(lambda best, x: np.where(better(x, best), x, best), others, first)

        return rule

    return {"max": _either(extreme(lambda x, best: x > best), max), "min": _either(extreme(lambda x, best: x < best), min)}
