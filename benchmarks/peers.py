"""The libraries that are compared, each behind the same few names, so that a row is written once."""

import importlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy


@dataclass(frozen=True)
class Peer:
    """What a row may use of one library."""

    name: str
    np: ModuleType | SimpleNamespace  # its NumPy-like names
    grad: Callable[..., Any]
    value_and_grad: Callable[..., Any]
    array: Callable[..., Any] = numpy.asarray  # an ndarray as this library wants it
    sync: Callable[[Any], Any] = field(default=lambda result: result)  # waits until the result is there
    more: Any = None  # the library itself, for rows that need other names
    jit: Callable[..., Any] = field(default=lambda f: f)  # an eager peer runs f as it is
    jacfwd: Callable[..., Any] | None = None
    jacrev: Callable[..., Any] | None = None
    hessian: Callable[..., Any] | None = None
    hvp: Callable[..., Any] | None = None  # (f, x, v) -> (gradient, H v)
    erf: Callable[..., Any] | None = None

    @property
    def version(self) -> str:
        return getattr(self.more, "__version__", None) or version(self.name)


def _fad() -> Peer:
    fad = importlib.import_module("fad")
    return Peer(
        "fad",
        numpy,
        fad.grad,
        fad.value_and_grad,
        more=fad,
        jit=getattr(fad, "jit", lambda f: f),  # before fad.jit exists: the interpreter
        jacfwd=fad.jacfwd,
        jacrev=fad.jacrev,
        hessian=fad.hessian,
        hvp=lambda f, x, v: fad.jvp(fad.grad(f), (x,), (v,)),
        erf=importlib.import_module("scipy.special").erf,
    )


def _autograd() -> Peer:
    autograd = importlib.import_module("autograd")
    anp = importlib.import_module("autograd.numpy")

    def hvp(f: Callable[..., Any], x: Any, v: Any) -> tuple:
        pullback, gradient = autograd.core.make_vjp(autograd.grad(f), x)  # H is symmetric: v H = H v
        return gradient, pullback(v)

    return Peer(
        "autograd",
        anp,
        autograd.grad,
        autograd.value_and_grad,
        more=autograd,
        jacrev=autograd.jacobian,
        hessian=autograd.hessian,
        hvp=hvp,
        erf=importlib.import_module("autograd.scipy.special").erf,
    )


def _jax() -> Peer:
    jax = importlib.import_module("jax")
    jax.config.update("jax_enable_x64", True)  # the same dtypes for all
    jnp = importlib.import_module("jax.numpy")
    return Peer(
        "jax",
        jnp,
        jax.grad,
        jax.value_and_grad,
        jnp.asarray,
        jax.block_until_ready,
        jax,
        jit=jax.jit,
        jacfwd=jax.jacfwd,
        jacrev=jax.jacrev,
        hessian=jax.hessian,
        hvp=lambda f, x, v: jax.jvp(jax.grad(f), (x,), (v,)),
        erf=importlib.import_module("jax.scipy.special").erf,
    )


def _torch() -> Peer:
    import os

    torch = importlib.import_module("torch")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    func = torch.func

    def value_and_grad(f: Callable[..., Any]) -> Callable[..., Any]:
        gradient_first = func.grad_and_value(f)
        return lambda *args: gradient_first(*args)[::-1]

    return Peer(
        "torch",
        _torch_names(torch),
        func.grad,
        value_and_grad,
        torch.as_tensor,
        more=torch,
        jacfwd=func.jacfwd,
        jacrev=func.jacrev,
        hessian=func.hessian,
        hvp=lambda f, x, v: func.jvp(func.grad(f), (x,), (v,)),
        erf=torch.special.erf,
    )


def _torch_names(torch: Any) -> SimpleNamespace:
    """torch's functions, with NumPy's meaning where the two differ."""

    def maximum(x: Any, least: Any) -> Any:
        return torch.clamp(x, min=least) if isinstance(least, float) else torch.maximum(x, least)

    def max(x: Any, axis: Any = (), keepdims: bool = False) -> Any:
        return torch.amax(x, axis, keepdims)

    def min(x: Any, axis: Any = (), keepdims: bool = False) -> Any:
        return torch.amin(x, axis, keepdims)

    return SimpleNamespace(**vars(torch) | {"max": max, "min": min, "maximum": maximum})


def _torch_compile() -> Peer:
    """PyTorch through its compiler, in a column of its own."""
    peer = _torch()
    torch = peer.more
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch")  # its own, about itself

    def jit(f: Callable[..., Any]) -> Callable[..., Any]:
        torch.compiler.reset()  # or it gives up compiling one code object at the eighth shape or dtype
        return torch.compile(f, dynamic=False)

    return replace(peer, name="torch.compile", jit=jit)


def _torch_channels_last() -> Peer:
    """PyTorch with images and weights in its channels-last memory format, in a column of its own."""
    return replace(_torch(), name="torch NHWC")


def _numpy() -> Peer:
    """NumPy itself, for what BLAS does."""
    return Peer("numpy", numpy, grad=None, value_and_grad=None, more=numpy)


def _fad_specialised() -> Peer:
    """fad's kernels for one shape, in a column of their own."""
    return replace(_fad(), name="fad specialised")


def _by_hand() -> Peer:
    """Gradients written by hand for numba: the limit."""
    by_hand = importlib.import_module("benchmarks.by_hand")
    return Peer("hand", numpy, grad=None, value_and_grad=None, more=by_hand)


LOADERS: dict[str, Callable[[], Peer]] = {
    "fad": _fad,
    "autograd": _autograd,
    "jax": _jax,
    "torch": _torch,
    "torch.compile": _torch_compile,
    "torch NHWC": _torch_channels_last,
    "fad specialised": _fad_specialised,
    "numpy": _numpy,
    "hand": _by_hand,
}


def load(names: list[str]) -> tuple[list[Peer], dict[str, str]]:
    """The peers that import, and why the others do not."""
    peers, missing = [], {}
    for name in names:
        try:
            peers.append(LOADERS[name]())
        except (ImportError, AttributeError) as error:
            missing[name] = str(error)
    return peers, missing
