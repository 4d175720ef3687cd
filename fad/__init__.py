"""fad: derivatives of NumPy code, forward and reverse, to any order.

>>> import numpy as np, fad
>>> fad.grad(np.tanh)(0.0)
np.float64(1.0)
"""

import importlib as _importlib

from fad import scipy, tree
from fad.compile.jit import jit
from fad.control.branches import cond, switch
from fad.control.checkpoint import checkpoint
from fad.control.loops import associative_scan, fori_loop, map, scan, while_loop
from fad.core.expr import FUNCTIONS as _FUNCTIONS
from fad.core.expr import Const, Expr, Var
from fad.core.function import Function
from fad.core.nans import debug_nans
from fad.custom.callback import pure_callback
from fad.custom.derivatives import custom_jvp, custom_vjp
from fad.custom.implicit import custom_fixed_point, custom_linear_solve, custom_root
from fad.custom.primitive import primitive
from fad.errors import library_call as _library_call
from fad.native import fork as _fork  # noqa: F401  # a fork waits for what other threads do, from the beginning
from fad.native import threads as _threads
from fad.numpy.at import at
from fad.transforms.batch import vmap
from fad.transforms.derivatives import grad, hvp, jvp, linearize, stop_gradient, trace, value_and_grad, var, vjp
from fad.transforms.jacobians import hessian, jacfwd, jacobian, jacrev
from fad.transforms.jet import jet
from fad.transforms.modes import ModeReport, compare_modes
from fad.transforms.naming import collect, inject, named
from fad.transforms.trace import value
from fad.transforms.transpose import linear_transpose

__version__ = "0.1.0"
_LATER = ("initializers", "losses", "nn", "numpy", "optim", "random", "stax", "testing", "train")


def _library_fix() -> str:
    """What to use in place of a library's function that the user called: the one of that name that takes nodes."""
    called = _library_call()
    if not called:
        return ""
    name = called.rsplit(".", 1)[-1]
    for home, module in (("np.linalg", "fad.numpy.linalg"), ("fad.nn", "fad.nn"), ("fad.numpy", "fad.numpy")):
        if hasattr(_importlib.import_module(module), name):
            return f"{home}.{name}"
    return "write it with NumPy's functions, or pass fad.value(x) if no derivative should flow through it"


_FUNCTIONS["fix"] = _library_fix
_THREADS = ("get_num_threads", "get_threading_layer", "set_num_threads", "set_threading_layer")


def __getattr__(name: str) -> object:
    """Modules beyond the core load at first use, which keeps ``import fad`` quick."""
    if name in _LATER:
        return _importlib.import_module(f"fad.{name}")
    if name in _THREADS:
        return getattr(_threads, name)
    raise AttributeError(f"module 'fad' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_LATER, *_THREADS])


__all__ = [
    "while_loop",
    "switch",
    "scan",
    "scipy",
    "map",
    "fori_loop",
    "cond",
    "associative_scan",
    "Const",
    "Expr",
    "Function",
    "ModeReport",
    "Var",
    "at",
    "checkpoint",
    "collect",
    "compare_modes",
    "custom_fixed_point",
    "custom_jvp",
    "custom_linear_solve",
    "custom_root",
    "custom_vjp",
    "debug_nans",
    "grad",
    "hessian",
    "hvp",
    "inject",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jet",
    "jit",
    "jvp",
    "linear_transpose",
    "linearize",
    "named",
    "primitive",
    "pure_callback",
    "stop_gradient",
    "trace",
    "tree",
    "value",
    "value_and_grad",
    "var",
    "vjp",
    "vmap",
]
