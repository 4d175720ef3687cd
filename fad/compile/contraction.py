"""Which nodes have a native kernel, and the recipe for each. Recipes load with the first program that has a kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fad.compile.index import strides_of
from fad.core.expr import Expr
from fad.kernels.windows import stack_steps

if TYPE_CHECKING:
    from fad.compile.kernels.recipe import Recipe

__all__ = ["CONTIGUOUS", "can_read", "is_kernel", "recipe_of"]

POOLS = ("max_pool", "max_pool_push", "max_pool_grad", "sum_pool", "sum_pool_grad")
CONTIGUOUS = {
    "matmul": (),
    "conv": (1,),
    "conv_input_grad": (1,),
    "conv_weight_grad": (1,),
    "random_bits": (0,),
    **dict.fromkeys(POOLS, ()),
}  # operands that may not be views


def is_kernel(node: Expr) -> bool:
    """Whether a node is a product, a convolution, pooling or random bits, and has a native kernel."""
    if node.op is None or node.op.name not in CONTIGUOUS:
        return False
    if node.op.name == "random_bits":
        return bool(node.size) and isinstance(node.args[0], Expr) and node.args[0].dtype == node.dtype
    if node.dtype.str[1:] not in ("f4", "f8"):
        return False
    if not all(isinstance(a, Expr) and a.dtype == node.dtype and a.size for a in node.args) or not node.size:
        return False
    if node.op.name != "matmul":
        return True
    if min(len(a.shape) for a in node.args) < 2:
        return False
    dense = [strides_of(a.shape)[:-2] for a in node.args]
    stack = node.shape[:-2]
    return all(stack_steps(stack, spread(a.shape[:-2], s, stack)) is not None for a, s in zip(node.args, dense, strict=True))


def can_read(node: Expr, k: int, strides: tuple) -> bool:
    """Whether the kernel of a node can read its k-th operand with these strides."""
    stack = node.shape[:-2]
    return node.op.name != "matmul" or stack_steps(stack, spread(node.args[k].shape[:-2], strides[:-2], stack)) is not None


def spread(shape: tuple, strides: tuple, result: tuple) -> tuple:
    """Strides of an operand broadcast to a shape."""
    lead = len(result) - len(shape)
    return (0,) * lead + tuple(0 if n == 1 else s for n, s in zip(shape, strides, strict=True))


def recipe_of(node: Expr, strides: list[tuple]) -> Recipe | None:
    """The recipe for a node whose operands have these strides in elements."""
    from fad.compile.kernels import pool
    from fad.compile.kernels import recipe as recipes
    from fad.compile.kernels.tune import tuned

    shapes, params = [a.shape for a in node.args], dict(node.params)
    if node.op.name == "random_bits":
        return recipes.random_bits(params["n"])
    if node.op.name in POOLS:
        return pool.RECIPES[node.op.name](tuple(shapes), tuple(strides), node.dtype, **params)
    if node.op.name == "matmul":
        stack = node.shape[:-2]
        a, b = [(*spread(shape[:-2], s[:-2], stack), *s[-2:]) for shape, s in zip(shapes, strides, strict=True)]
        return tuned(recipes.matmul, (*stack, *shapes[0][-2:]), a, (*stack, *shapes[1][-2:]), b, node.dtype)
    if node.op.name == "conv":
        return tuned(recipes.conv, shapes[0], strides[0], shapes[1], strides[1], node.dtype, output=node.shape[1:-1], **params)
    if node.op.name == "conv_input_grad":
        return tuned(recipes.conv_input_grad, shapes[0], strides[0], shapes[1], strides[1], node.dtype, **params)
    return tuned(recipes.conv_weight_grad, shapes[0], strides[0], shapes[1], strides[1], node.dtype, **params)
