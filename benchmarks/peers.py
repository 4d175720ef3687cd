"""The libraries that are compared, each behind the same few names, so that a row is written once."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from types import ModuleType
from typing import Any

import numpy


@dataclass(frozen=True)
class Peer:
    """What a row may use of one library."""

    name: str
    np: ModuleType  # its NumPy-like names
    grad: Callable[..., Any]
    value_and_grad: Callable[..., Any]
    array: Callable[..., Any] = numpy.asarray  # an ndarray as this library wants it
    sync: Callable[[Any], Any] = field(default=lambda result: result)  # waits until the result is there
    more: Any = None  # the library itself, for rows that need other names

    @property
    def version(self) -> str:
        return getattr(self.more, "__version__", None) or version(self.name)


def _fad() -> Peer:
    fad = importlib.import_module("fad")
    return Peer("fad", numpy, fad.grad, fad.value_and_grad, more=fad)


def _autograd() -> Peer:
    autograd = importlib.import_module("autograd")
    anp = importlib.import_module("autograd.numpy")
    return Peer("autograd", anp, autograd.grad, autograd.value_and_grad, more=autograd)


def _jax() -> Peer:
    jax = importlib.import_module("jax")
    jax.config.update("jax_enable_x64", True)  # the same dtypes for all
    jnp = importlib.import_module("jax.numpy")
    return Peer("jax", jnp, jax.grad, jax.value_and_grad, jnp.asarray, jax.block_until_ready, jax)


def _torch() -> Peer:
    import os

    torch = importlib.import_module("torch")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))

    def value_and_grad(f: Callable[..., Any]) -> Callable[..., Any]:
        gradient_first = torch.func.grad_and_value(f)
        return lambda *args: gradient_first(*args)[::-1]

    return Peer("torch", torch, torch.func.grad, value_and_grad, torch.as_tensor, more=torch)


LOADERS: dict[str, Callable[[], Peer]] = {"fad": _fad, "autograd": _autograd, "jax": _jax, "torch": _torch}


def load(names: list[str]) -> tuple[list[Peer], dict[str, str]]:
    """The peers that import, and why the others do not."""
    peers, missing = [], {}
    for name in names:
        try:
            peers.append(LOADERS[name]())
        except (ImportError, AttributeError) as error:
            missing[name] = str(error)
    return peers, missing
