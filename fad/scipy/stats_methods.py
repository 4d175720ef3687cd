"""The methods of SciPy's own distributions, ``scipy.stats.norm.logpdf(node)``, and of frozen ones: fad's of that name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import scipy.stats

from fad.core.expr import short
from fad.errors import TraceError
from fad.scipy import stats
from fad.scipy.source import implements

__all__: list[str] = []


def _method(name: str) -> Callable:
    """The rule of a method: that of fad's distribution."""

    def rule(self: Any, x: Any, *args: Any, **options: Any) -> Any:
        own = getattr(stats, self.name, None)
        if own is None:
            raise TraceError(
                f"scipy.stats.{self.name} has no rule in fad",
                got=", ".join(map(short, (x, *args))),
                rule="the distributions of fad.scipy.stats have",
                fix="write its density with scipy.special",
            )
        return getattr(own, name)(x, *args, **options)

    rule.__name__ = name
    return rule


for _kind, _methods in (
    (scipy.stats.rv_continuous, ("pdf", "logpdf", "cdf", "logcdf", "sf", "logsf", "ppf", "isf")),
    (scipy.stats.rv_discrete, ("pmf", "logpmf", "cdf", "logcdf", "sf", "logsf")),
):
    for _name in _methods:
        implements(getattr(_kind, _name))(_method(_name))
