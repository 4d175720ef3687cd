"""Which nodes are kernels, and that their recipes read operands where they lie."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fad
from fad import nn
from fad.compile.contraction import KERNELS, is_kernel, recipe_of, spread
from fad.compile.kernels import recipe
from fad.kernels.windows import strides_of
from fad.primitives.conv import conv, conv_input_grad, conv_weight_grad
from fad.primitives.linalg import matmul

from .test_differential import examples


def node_of(f, *args, name=None):
    """The last node of a function, or the last one of a primitive."""
    nodes = fad.trace(f)(*args).nodes
    return nodes[-1] if name is None else next(n for n in reversed(nodes) if n.op.name == name)


def strides(x):
    return tuple(s // x.itemsize for s in x.strides)


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_and_convolutions_of_floats_are_kernels(dtype):
    x, w, images, k = (np.ones(s, dtype) for s in ((4, 5), (5, 6), (2, 6, 6, 3), (3, 3, 3, 4)))
    assert is_kernel(node_of(np.matmul, x, w))
    assert is_kernel(node_of(lambda x, w: x @ w, np.ones((2, 3, 4, 5), dtype), w))
    gradient = lambda x, k: fad.grad(lambda a: np.sum(nn.conv(*a) ** 2))((x, k))
    for name in ("conv", "conv_input_grad", "conv_weight_grad"):
        assert is_kernel(node_of(gradient, images, k, name=name))


@pytest.mark.parametrize(
    "f, args",
    [
        (np.matmul, (np.ones((4, 5), int), np.ones((5, 6), int))),
        (np.matmul, (np.ones((4, 5), complex), np.ones((5, 6), complex))),
        (np.matmul, (np.ones((4, 5), np.float32), np.ones((5, 6)))),  # of two dtypes
        (np.matmul, (np.ones((0, 5)), np.ones((5, 6)))),
        (np.matmul, (np.ones((4, 0)), np.ones((0, 6)))),
        (np.matmul, (np.ones((2, 1, 4, 5)), np.ones((2, 3, 5, 6)))),  # broadcast over the second axis of the stack
        (np.add, (np.ones(5), np.ones(5))),
        (nn.conv, (np.ones((0, 6, 6, 3)), np.ones((3, 3, 3, 4)))),
    ],
)
def test_other_nodes_are_not(f, args):
    assert not is_kernel(node_of(f, *args, name={np.matmul: "matmul", np.add: "add"}.get(f, "conv")))


@given(st.lists(st.integers(1, 4), max_size=4), st.data())
def test_spread_is_how_numpy_broadcasts(shape, data):
    x = np.zeros(shape)
    target = [data.draw(st.integers(1, 3)) for _ in range(data.draw(st.integers(0, 2)))]
    target += [data.draw(st.integers(1, 4)) if n == 1 else n for n in shape]
    found = spread(tuple(shape), strides(x), tuple(target))
    expected = strides(np.broadcast_to(x, target))
    assert all(f == e or n == 1 for f, e, n in zip(found, expected, target, strict=True))


STACKS = [
    ((), ()),
    ((3,), ()),
    ((), (3,)),
    ((3,), (3,)),
    ((1,), (3,)),
    ((2, 3), (2, 3)),
    ((2, 3), ()),
    ((2, 3), (3,)),
    ((2, 1), (2, 3)),
    ((1, 1), (1,)),
]


@examples(40)
@given(
    st.sampled_from(STACKS),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 9),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**32),
)
def test_a_recipe_reads_operands_where_they_lie(stacks, m, k, n, a_turned, b_turned, seed):
    rng = np.random.default_rng(seed)

    def operand(stack, rows, columns, turned):
        x = rng.integers(-4, 5, (*stack, columns, rows) if turned else (*stack, rows, columns)).astype(float)
        return x.swapaxes(-1, -2) if turned else x

    a, b = operand(stacks[0], m, k, a_turned), operand(stacks[1], k, n, b_turned)
    node = node_of(np.matmul, np.ascontiguousarray(a), np.ascontiguousarray(b), name="matmul")
    if not is_kernel(node):
        assert len(np.broadcast_shapes(*stacks)) > 1
        return
    found = recipe_of(node, [strides(a), strides(b)])
    np.testing.assert_array_equal(recipe.run(found, [a, b], a.dtype), a @ b)


def test_recipes_of_convolutions():
    rng = np.random.default_rng(0)
    x, k = rng.integers(-4, 5, (2, 7, 6, 4)).astype(float), rng.integers(-4, 5, (3, 2, 2, 6)).astype(float)
    f = lambda x, k: nn.conv(x, k, strides=(2, 1), dilation=(1, 2), groups=2, padding=((1, 0), (2, 3)))
    node = node_of(f, x, k, name="conv")
    turned = np.ascontiguousarray(np.transpose(x, (0, 3, 1, 2))).transpose(0, 2, 3, 1)
    for view in (x, turned, np.repeat(x, 2, 2)[:, :, ::2]):
        np.testing.assert_array_equal(
            recipe.run(recipe_of(node, [strides(view), strides_of(k.shape)]), [view, k], x.dtype), f(x, k)
        )
    gradient = lambda x, k: fad.grad(lambda a: np.sum(f(*a)))((x, k))
    x_bar, k_bar = gradient(x, k)
    ones = np.ones(f(x, k).shape)
    for name, operands, expected in (("conv_input_grad", [ones, k], x_bar), ("conv_weight_grad", [x, ones], k_bar)):
        found = recipe_of(node_of(gradient, x, k, name=name), [strides(a) for a in operands])
        assert found.shape == expected.shape
        np.testing.assert_array_equal(recipe.run(found, operands, x.dtype), expected)


def test_operands_that_may_not_be_views_are_those_that_recipes_take_as_contiguous():
    assert [KERNELS[op].contiguous for op in (matmul, conv, conv_input_grad, conv_weight_grad)] == [(), (1,), (1,), (1,)]
