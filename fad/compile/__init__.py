"""The compiler: a Function goes in; simplify, fuse, plan and emit make a program of native code that comes out."""

import importlib
from typing import Any

from fad.kernels.rent import SPECIALISED


def _on_demand(name: str, module: str) -> Any:
    """A function of `compile.kernels`, whose module is loaded when it is called."""
    return lambda *args: getattr(importlib.import_module(module), name)(*args)


for _name in ("conv", "conv_input_grad", "conv_weight_grad"):
    SPECIALISED[_name] = _on_demand(_name, "fad.compile.kernels.conv")
for _name in ("max_pool", "max_pool_push", "max_pool_grad", "sum_pool", "sum_pool_grad"):
    SPECIALISED[_name] = _on_demand(_name, "fad.compile.kernels.pool_recipes")
SPECIALISED["loop"] = _on_demand("loop", "fad.compile.eager")
