"""fad: derivatives of NumPy code, forward and reverse, to any order.

>>> import numpy as np, fad
>>> fad.grad(np.tanh)(0.0)
np.float64(1.0)
"""

from fad import tree
from fad.compile.jit import jit
from fad.core.expr import Const, Expr, Var
from fad.core.function import Function
from fad.native import fork as _fork  # noqa: F401  # a fork waits for what other threads do, from the beginning
from fad.numpy.at import at
from fad.transforms.batch import vmap
from fad.transforms.derivatives import grad, hvp, jvp, linearize, stop_gradient, trace, value_and_grad, var, vjp
from fad.transforms.jacobians import hessian, jacfwd, jacobian, jacrev
from fad.transforms.modes import ModeReport, compare_modes
from fad.transforms.trace import value

__version__ = "0.1.0"
_LATER = ("initializers", "losses", "nn", "numpy", "optim", "random", "stax", "testing", "train")


_THREADS = ("get_num_threads", "get_threading_layer", "set_num_threads", "set_threading_layer")


def __getattr__(name: str) -> object:
    """Modules beyond the core load at first use, which keeps ``import fad`` quick."""
    if name in _LATER:
        import importlib

        return importlib.import_module(f"fad.{name}")
    if name in _THREADS:
        from fad.native import launch

        return getattr(launch, name)
    raise AttributeError(f"module 'fad' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_LATER, *_THREADS])


__all__ = [
    "Const",
    "Expr",
    "Function",
    "ModeReport",
    "Var",
    "at",
    "compare_modes",
    "grad",
    "hessian",
    "hvp",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jit",
    "jvp",
    "linearize",
    "stop_gradient",
    "trace",
    "tree",
    "value",
    "value_and_grad",
    "var",
    "vjp",
    "vmap",
]
