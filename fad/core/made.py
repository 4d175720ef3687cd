"""Layers, optimizers and initializers remember the call that made them: they print as it and pickle as it.

>>> from fad import initializers
>>> initializers.he_normal(slope=0.5)
he_normal(slope=0.5)
"""

from __future__ import annotations

import copyreg
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial, wraps
from types import FunctionType
from typing import Any

import numpy as np

from fad.errors import DtypeError

__all__ = ["Made", "constructor"]


@dataclass(frozen=True, eq=False, repr=False)
class Made:
    """What a constructor makes. Without a call (made by hand, or changed since) it pickles by its fields."""

    call: partial | None = field(default=None, init=False)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)" if self.call is None else _shown(self.call)

    def __reduce__(self) -> tuple:
        return (copyreg.__newobj__, (type(self),), vars(self)) if self.call is None else (self.call, ())  # type: ignore[attr-defined]


def constructor(make: Callable) -> Callable:
    """`make`, whose results remember its arguments; arguments that do not fit its signature raise DtypeError."""
    signature = inspect.signature(make)

    @wraps(make)
    def construct(*args: Any, **kwargs: Any) -> Any:
        call = partial(construct, *args, **kwargs)
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            raise DtypeError(
                f"{make.__name__}: {error}", got=_shown(call),
                rule=f"its arguments are {make.__name__}({', '.join(map(_parameter, signature.parameters.values()))})",
                fix="pass these arguments, in this order or by name",
            ) from None  # fmt: skip
        made = make(*args, **kwargs)
        object.__setattr__(made, "call", call)
        return made

    return construct


def _parameter(parameter: inspect.Parameter) -> str:
    plain = parameter.replace(annotation=parameter.empty)
    return str(plain) if parameter.default is parameter.empty else f"{plain.name}={_text(plain.default)}"


def _shown(call: partial) -> str:
    given = [*map(_text, call.args), *(f"{name}={_text(value)}" for name, value in call.keywords.items())]
    return f"{call.func.__name__}({', '.join(given)})"


def _text(value: Any) -> str:
    return value.__name__ if isinstance(value, FunctionType | np.ufunc) else repr(value)
