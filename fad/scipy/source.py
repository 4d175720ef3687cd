"""How SciPy's functions in Python find fad's: they turn their arguments into arrays first, which a node refuses.

Users hold the functions themselves, however they imported them, so it is their code that changes: to one call of what
chooses, fad's rule where an argument is a node, and SciPy's code otherwise.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any

from fad.numpy.dispatch import front

__all__ = ["implements"]


def implements(function: FunctionType) -> Callable:
    """Register the decorated rule for a function of SciPy, and make the public function of `fad.scipy`: the rule where an argument
    is a node, else SciPy's."""
    return lambda rule: _choose(function, rule)


def _choose(function: Any, rule: Callable) -> Callable:
    """Let a function run ``rule`` where it meets a node. Returns what chooses."""
    signature = inspect.signature(function)
    own = FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__)
    own.__kwdefaults__, own.__doc__ = function.__kwdefaults__, function.__doc__
    choice = front(rule, own)
    key = f"_fad_{function.__module__}_{function.__qualname__}".replace(".", "_")
    function.__globals__[key] = choice
    function.__signature__ = signature
    function.__defaults__, function.__kwdefaults__ = None, None
    function.__code__ = _calling(key, function.__code__.co_freevars).replace(co_name=function.__name__, co_filename=__file__)
    return choice


def _calling(key: str, closure: tuple[str, ...]) -> Any:
    """The code of a function that passes everything on to a global one; it has the same variables in its closure, as Python wants,
    which it never reads."""
    unread = f"if 0: {', '.join(closure)}" if closure else "pass"
    lines = [
        f"def outer({', '.join(closure)}):",
        "  def call(*args, **options):",
        f"    {unread}",
        f"    return {key}(*args, **options)",
        "  return call",
    ]
    scope: dict[str, Any] = {}
    exec("\n".join(lines), scope)
    return scope["outer"](*closure).__code__
