"""Oracles for the kernels: convolution by its definition, in nested loops, and arrays laid out in every way.

The numbers are small integers, so every sum is exact in float32 as well, and results must be equal, not close.
"""

from __future__ import annotations

import contextlib
from itertools import product

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

import fad
from fad.compile.kernels import conv_recipes, matmul_recipes, recipe
from fad.native import engine
from fad.native.cpu import Machine

DTYPES = [np.dtype(np.float32), np.dtype(np.float64)]


def examples(n):
    """n examples in the usual profile, more in a thorough one."""
    return settings(max_examples=max(1, n * settings().max_examples // 50))


def convolution(x, w, g, strides, padding, dilation, groups=1):
    """(y, x_bar, w_bar) of y = conv(x, w) and a cotangent g, in float64: output positions, taps, groups one by one.

    Where g is None it is taken to be 0."""
    rank, (depth, features) = x.ndim - 2, w.shape[-2:]
    width = features // groups
    out = tuple(
        max(0, (x.shape[1 + a] + sum(padding[a]) - dilation[a] * (w.shape[a] - 1) - 1) // strides[a] + 1) for a in range(rank)
    )
    y, x_bar, w_bar = np.zeros((x.shape[0], *out, features)), np.zeros(x.shape), np.zeros(w.shape)
    x, w = x.astype(float), w.astype(float)
    for o in product(*map(range, out)):
        for k in product(*map(range, w.shape[:rank])):
            i = tuple(o[a] * strides[a] + k[a] * dilation[a] - padding[a][0] for a in range(rank))
            if not all(0 <= i[a] < x.shape[1 + a] for a in range(rank)):
                continue
            for j in range(groups):
                c, f = slice(j * depth, (j + 1) * depth), slice(j * width, (j + 1) * width)
                y[(slice(None), *o, f)] += x[(slice(None), *i, c)] @ w[(*k, slice(None), f)]
                if g is not None:
                    x_bar[(slice(None), *i, c)] += g[(slice(None), *o, f)] @ w[(*k, slice(None), f)].T
                    w_bar[(*k, slice(None), f)] += x[(slice(None), *i, c)].T @ g[(slice(None), *o, f)]
    return y, x_bar, w_bar


def integers(rng, shape, dtype):
    """Integers from -4 to 4."""
    return rng.integers(-4, 5, shape).astype(dtype)


def output_of(spatial, window, strides, padding, dilation):
    """Spatial shape of the output; some of it 0 or less where the window does not fit."""
    return tuple(
        (i + low + high - d * (k - 1) - 1) // s + 1
        for i, k, s, (low, high), d in zip(spatial, window, strides, padding, dilation, strict=True)
    )


# -- layouts -----------------------------------------------------------------------------------------------------------

LAYOUTS = ["contiguous", "odd offset", "channels first", "reversed", "gaps", "reversed axes", "every second", "one for all"]


def laid_out(x, layout, rng):
    """(memory, view): an array equal to x, but for broadcast axes, with its elements in other places. Elements of the memory
    that the view does not have are NaN."""
    axes = rng.permutation(x.ndim)
    if layout == "contiguous":
        memory = x.copy()
        return memory, memory
    if layout == "odd offset":
        memory = np.full(x.size + 5, np.nan, x.dtype)
        view = memory[3 : 3 + x.size].reshape(x.shape)
    elif layout == "channels first":
        memory = np.full((x.shape[0], x.shape[-1], *x.shape[1:-1]), np.nan, x.dtype)
        view = np.moveaxis(memory, 1, -1)
    elif layout == "reversed":
        memory = np.full(x.shape, np.nan, x.dtype)
        view = memory[tuple(slice(None, None, -1) if rng.random() < 0.5 else slice(None) for _ in x.shape)]
    elif layout == "gaps":
        memory = np.full([n + 3 for n in x.shape], np.nan, x.dtype)
        view = memory[tuple(slice(1, n + 1) for n in x.shape)]
    elif layout == "reversed axes":
        memory = np.full([x.shape[a] for a in axes], np.nan, x.dtype)
        view = memory.transpose(np.argsort(axes))
    elif layout == "every second":
        memory = np.full([2 * n for n in x.shape], np.nan, x.dtype)
        view = memory[(slice(None, None, 2),) * x.ndim]
    else:
        kept = rng.random(x.ndim) < 0.5
        memory = np.full([n if k else min(n, 1) for n, k in zip(x.shape, kept, strict=True)], np.nan, x.dtype)
        memory[...] = x[tuple(slice(None) if k else slice(0, 1) for k in kept)]
        return memory, np.broadcast_to(memory, x.shape)
    view[...] = x
    return memory, view


def steps(x):
    """Strides in elements."""
    return tuple(s // x.itemsize for s in x.strides)


# -- machines and threads --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def small_machine(vector_bytes, registers=16):
    """Code for a CPU with such vectors and registers, and without fused multiply-add, while the context lasts."""
    small = Machine()
    small.vector_bytes, small.registers, small.has_fma = vector_bytes, registers, False
    if small.triple.startswith("x86_64"):
        small.cpu, small.features = ("x86-64", "") if vector_bytes == 16 else ("sandybridge", "+avx")
    small.id += f" {small.cpu} {small.features} as {vector_bytes} x {registers}"
    forget()
    old, engine.machine = engine.machine, lambda: small
    try:
        yield small
    finally:
        engine.machine = old
        forget()


def forget():
    """Recipes are kept by shape, but depend on the machine."""
    for made in (
        matmul_recipes.matmul,
        conv_recipes.conv,
        conv_recipes.conv_input_grad,
        conv_recipes.conv_weight_grad,
        recipe.compiled,
    ):
        made.cache_clear()


def machines():
    """Machines as contexts: this one, and small ones."""
    return st.sampled_from([contextlib.nullcontext, contextlib.nullcontext, lambda: small_machine(16), lambda: small_machine(32)])


@contextlib.contextmanager
def threads(n):
    """Launches on n threads."""
    before = fad.get_num_threads()
    fad.set_num_threads(n)
    try:
        yield
    finally:
        fad.set_num_threads(before)


# -- problems ----------------------------------------------------------------------------------------------------------


@st.composite
def problems(draw, spatial=6, taps=4, batch=(0, 3), channels=9, features=20):
    """Shapes of x and w, a dtype, a seed, and the geometry of a convolution."""
    rank = draw(st.integers(1, 3))

    def each(low, high):
        return tuple(draw(st.integers(low, high)) for _ in range(rank))

    groups = draw(st.sampled_from([1, 1, 2, 3]))
    depth, width = draw(st.integers(1, channels)), draw(st.integers(1, features))
    x_shape = (draw(st.integers(*batch)), *each(0 if batch[0] == 0 else 1, (2 * spatial, spatial, 4)[rank - 1]), groups * depth)
    w_shape = (*each(1, (2 * taps, taps, 3)[rank - 1]), depth, groups * width)
    padding = tuple(zip(each(0, 3), each(0, 3), strict=True))
    geometry = {"strides": each(1, 3), "padding": padding, "dilation": each(1, 3), "groups": groups}
    return x_shape, w_shape, draw(st.sampled_from(DTYPES)), draw(st.integers(0, 2**32)), geometry


def fits(problem):
    """Whether nothing is empty: recipes are for arrays with elements."""
    x_shape, w_shape, _, _, g = problem
    return min(output_of(x_shape[1:-1], w_shape[:-2], g["strides"], g["padding"], g["dilation"])) > 0 and 0 not in x_shape


def arrays_of(problem):
    """x, w and a cotangent g of a problem, of integers, and the generator for more."""
    x_shape, w_shape, dtype, seed, geometry = problem
    rng = np.random.default_rng(seed)
    out = output_of(x_shape[1:-1], w_shape[:-2], geometry["strides"], geometry["padding"], geometry["dilation"])
    g_shape = (x_shape[0], *(max(0, n) for n in out), w_shape[-1])
    return [integers(rng, shape, dtype) for shape in (x_shape, w_shape, g_shape)], rng


def recipes_of(problem, x, w, g, dense, choice=0):
    """(recipe, operands, result) of a convolution and both gradients; ``dense`` is a contiguous g."""
    geometry = problem[-1]
    expected = convolution(x, w, g, **geometry)
    rest = geometry["strides"], geometry["padding"], geometry["dilation"], geometry["groups"]
    return [
        (conv_recipes.conv(x.shape, steps(x), w.shape, steps(w), x.dtype, *rest, g.shape[1:-1], choice), [x, w], expected[0]),
        (conv_recipes.conv_input_grad(g.shape, steps(g), w.shape, steps(w), x.dtype, x.shape, *rest, choice), [g, w], expected[1]),
        (
            conv_recipes.conv_weight_grad(x.shape, steps(x), g.shape, steps(dense), x.dtype, w.shape[:-2], *rest, choice),
            [x, dense],
            expected[2],
        ),
    ]


def assert_between_fences(made, dtype, fences):
    """Recipes give the expected results where scratch memory and results lie between pages that may not be touched."""
    for one, operands, expected in made:
        out = fences.around(np.full(expected.shape, np.nan, dtype))
        recipe.fill(one, operands, [fences.around(np.full(n, np.nan, dtype)) for n in one.scratch], out)
        np.testing.assert_array_equal(out, expected)
