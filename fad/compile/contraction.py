"""Which nodes have a kernel of their own shape, and its recipe. Recipes load with the first program that has a kernel.

A kernel is made from the strides of its operands as they are in memory, and from tile sizes for this machine: all of it is the
compiler's, so the table is here, keyed by the records, and not a field of these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fad.compile.index import strides_of
from fad.core.expr import Expr
from fad.core.primitive import Primitive
from fad.kernels.windows import stack_steps
from fad.primitives import factor, lu, solve
from fad.primitives.conv import conv, conv_input_grad, conv_weight_grad
from fad.primitives.linalg import matmul
from fad.primitives.pooling import max_pool, max_pool_grad, max_pool_push, sum_pool, sum_pool_grad
from fad.primitives.random import random_bits

if TYPE_CHECKING:
    from fad.compile.kernels.recipe import Recipe

__all__ = ["KERNELS", "Kernel", "can_read", "is_kernel", "recipe_of", "spread"]


def has_operands(node: Expr) -> bool:
    """Whether result and operands are arrays of floats of one dtype, none of them empty."""
    return (
        node.dtype.str[1:] in ("f4", "f8")
        and bool(node.size)
        and all(isinstance(a, Expr) and a.dtype == node.dtype and a.size for a in node.args)
    )


def reads_anything(node: Expr, k: int, strides: tuple) -> bool:
    """A kernel that takes operands with any strides."""
    return True


@dataclass(frozen=True, slots=True)
class Kernel:
    """How a primitive is computed by a kernel."""

    recipe: Callable[[Expr, list[tuple]], Recipe | None]  # for operands with these strides in elements
    contiguous: tuple[int, ...] = ()  # operands that may not be views
    takes: Callable[[Expr], bool] = has_operands  # whether a node is such that there is a kernel for it
    reads: Callable[[Expr, int, tuple], bool] = reads_anything  # whether the k-th operand may have these strides


def is_kernel(node: Expr) -> bool:
    """Whether a node is a product, a convolution, pooling or random bits, and has a native kernel."""
    return node.op in KERNELS and KERNELS[node.op].takes(node)


def can_read(node: Expr, k: int, strides: tuple) -> bool:
    """Whether the kernel of a node can read its k-th operand with these strides."""
    return KERNELS[node.op].reads(node, k, strides)


def recipe_of(node: Expr, strides: list[tuple]) -> Recipe | None:
    """The recipe for a node whose operands have these strides in elements."""
    return KERNELS[node.op].recipe(node, strides)


# -- products ---------------------------------------------------------------------------------------------------------


def has_matrices(node: Expr) -> bool:
    """Whether operands are matrices, or stacks of them that a kernel can walk through."""
    if not has_operands(node) or min(len(a.shape) for a in node.args) < 2:
        return False
    return all(reads_stack(node, k, strides_of(a.shape)) for k, a in enumerate(node.args))


def reads_stack(node: Expr, k: int, strides: tuple) -> bool:
    """Whether the matrices of the k-th operand are at even steps."""
    stack = node.shape[:-2]
    return stack_steps(stack, spread(node.args[k].shape[:-2], strides[:-2], stack)) is not None


def spread(shape: tuple, strides: tuple, result: tuple) -> tuple:
    """Strides of an operand broadcast to a shape."""
    lead = len(result) - len(shape)
    return (0,) * lead + tuple(0 if n == 1 else s for n, s in zip(shape, strides, strict=True))


def make_product(node: Expr, strides: list[tuple]) -> Recipe | None:
    """Matrices by matrices."""
    from fad.compile.kernels.matmul_recipes import matmul
    from fad.compile.kernels.tune import tuned

    stack, shapes = node.shape[:-2], [a.shape for a in node.args]
    a, b = [(*spread(shape[:-2], s[:-2], stack), *s[-2:]) for shape, s in zip(shapes, strides, strict=True)]
    return tuned(matmul, (*stack, *shapes[0][-2:]), a, (*stack, *shapes[1][-2:]), b, node.dtype)


# -- convolutions, pools, random bits ---------------------------------------------------------------------------------


def make_conv(node: Expr, strides: list[tuple]) -> Recipe | None:
    """A convolution."""
    from fad.compile.kernels import conv_recipes

    return _tuned(conv_recipes.conv, node, strides, output=node.shape[1:-1])


def make_input_grad(node: Expr, strides: list[tuple]) -> Recipe | None:
    """The gradient of a convolution by its input."""
    from fad.compile.kernels import conv_recipes

    return _tuned(conv_recipes.conv_input_grad, node, strides)


def make_weight_grad(node: Expr, strides: list[tuple]) -> Recipe | None:
    """The gradient of a convolution by its weights."""
    from fad.compile.kernels import conv_recipes

    return _tuned(conv_recipes.conv_weight_grad, node, strides)


def _tuned(make: Callable, node: Expr, strides: list[tuple], **more: Any) -> Recipe | None:
    from fad.compile.kernels.tune import tuned

    x, w = node.args
    return tuned(make, x.shape, strides[0], w.shape, strides[1], node.dtype, **more, **node.params)


def make_pool(name: str) -> Callable:
    """A pool, or what is linear in another array at the places of the first."""

    def make(node: Expr, strides: list[tuple]) -> Recipe | None:
        from fad.compile.kernels.pool_recipes import RECIPES

        return RECIPES[name](tuple(a.shape for a in node.args), tuple(strides), node.dtype, **node.params)

    return make


def make_bits(node: Expr, strides: list[tuple]) -> Recipe | None:
    """Threefry's blocks."""
    from fad.compile.kernels.threefry_native import random_bits

    return random_bits(node.params["n"])


def has_key(node: Expr) -> bool:
    """Whether there are bits to draw, and a key to draw them with."""
    return bool(node.size) and isinstance(node.args[0], Expr) and node.args[0].dtype == node.dtype


# -- LAPACK -----------------------------------------------------------------------------------------------------------


def make_lapack(node: Expr, strides: list[tuple]) -> Recipe | None:
    """What LAPACK does with each matrix of a stack."""
    from fad.compile.kernels.lapack import lapack

    shapes = [a.shape for a in node.args]
    if node.op is lu.lu_solve:  # one row for each matrix
        shapes[0], strides = (*shapes[0][:-1], 1, shapes[0][-1]), [(*strides[0][:-1], 0, strides[0][-1]), *strides[1:]]
    stack = np.broadcast_shapes(*[shape[:-2] for shape in shapes])
    found = [(*spread(shape[:-2], s[:-2], stack), *s[-2:]) for shape, s in zip(shapes, strides, strict=True)]
    return lapack(
        node.op.name, node.shape, node.dtype, stack, shapes, found, node.op.flops(node, *node.args, **node.params), **node.params
    )


KERNELS: dict[Primitive, Kernel] = {
    matmul: Kernel(make_product, takes=has_matrices, reads=reads_stack),
    conv: Kernel(make_conv, contiguous=(1,)),
    conv_input_grad: Kernel(make_input_grad, contiguous=(1,)),
    conv_weight_grad: Kernel(make_weight_grad, contiguous=(1,)),
    **{op: Kernel(make_pool(op.name)) for op in (max_pool, max_pool_push, max_pool_grad, sum_pool, sum_pool_grad)},
    **{op: Kernel(make_lapack) for op in (solve.solve, solve.solve_triangular, solve.inv, solve.det, solve.slogdet)},
    lu.lu: Kernel(make_lapack),
    lu.lu_solve: Kernel(make_lapack, contiguous=(0,)),
    **{op: Kernel(make_lapack) for op in (factor.cholesky, factor.qr, factor.eigh, factor.svd)},
    random_bits: Kernel(make_bits, contiguous=(0,), takes=has_key),
}
