"""Which kernel multiplies matrices: a window of one tap, sums that stay in registers, or a stream through the second factor."""

from __future__ import annotations

import functools
from dataclasses import replace
from math import prod

import numpy as np

from fad.compile.kernels.recipe import KINDS, Phase, Recipe
from fad.compile.kernels.weight_recipes import Sums, plan_weights
from fad.compile.kernels.weights import Weights
from fad.compile.kernels.window import Axis
from fad.compile.kernels.window_recipes import Factor, Product, plan_windows
from fad.kernels.windows import stack_steps
from fad.native.machine_model import BLOCKED_BYTES, BLOCKED_ROWS, CACHED_WEIGHTS, REGISTER_DEPTH, STREAMED_ROWS, THIN_COLUMNS
from fad.native.tile import Tile

__all__ = ["matmul"]


@functools.lru_cache(maxsize=1024)
def matmul(a_shape: tuple, a_strides: tuple, b_shape: tuple, b_strides: tuple, dtype: np.dtype, choice: int = 0) -> Recipe | None:
    """a (*stack, m, k) times b (*stack, k, n); None where stacks are no single distance in memory."""
    kind, stack = KINDS[dtype], a_shape[:-2]
    m, k, n = a_shape[-2], a_shape[-1], b_shape[-1]
    a_move, b_move = stack_steps(stack, a_strides[:-2]), stack_steps(stack, b_strides[:-2])
    if a_move is None or b_move is None:
        return None
    count, out_shape, rows_joined = prod(stack), (*stack, m, n), (len(stack) + 1, 1)
    if count == 1 and b_strides[-1] == 1:
        sums = lambda step: plan_weights(
            [Axis(k, a_strides[-1], size=k)], [b_strides[-2]], Sums(kind, m, step, n), out_shape, (), choice
        )
        deep = k >= m and (k > REGISTER_DEPTH or n < THIN_COLUMNS)
        if a_strides[-2] == 1 and deep and a_strides[-1] != 1:
            return replace(sums(1), joins=rows_joined)
        if m < BLOCKED_ROWS and k * n * dtype.itemsize > (BLOCKED_BYTES if m > STREAMED_ROWS else CACHED_WEIGHTS // 3):
            made = sums(a_strides[-2])
            return replace(made if m > STREAMED_ROWS else stream(made), joins=rows_joined)
    axes = [Axis(m, a_strides[-2], size=m)]
    if count > 1:
        axes.insert(0, Axis(count, a_move, size=count, w_step=b_move))
    w = Factor(b_move, 0, b_strides[-2], b_strides[-1])
    product = Product(kind, 1, k, a_strides[-1], n, w, stack=count if b_move else 1)
    phases, scratch = plan_windows([axes], [0], product, choice)
    return Recipe(tuple(phases), tuple(scratch), out_shape, joins=(len(stack), 1, 1) if count > 1 else rows_joined)


def stream(made: Recipe) -> Recipe:
    """A product of very few rows: b is read once, some rows of it at a time, while the sums wait in the first cache."""
    spec = made.phases[0].spec
    assert isinstance(spec, Weights)
    count = -(-spec.axes[0].extent // 8)
    chunks = max(1, min(8, spec.axes[0].extent // 256))
    spec = replace(spec, tile=Tile(spec.depth, 4, spec.tile.lanes), blocks=(0, count), chunks=chunks, shares=1)
    phase = Phase(spec, (0, 1, -1), last=chunks == 1)
    return replace(made, phases=(phase,), scratch=(chunks * spec.elements,), chunks=chunks)
