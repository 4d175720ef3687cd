"""Products of matrices, tensors and rows: matmul, einsum and slide; the rest of NumPy's products are written with them."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fad.core.primitive import Linear, Primitive
from fad.kernels import arrays
from fad.primitives.families import dtype_of, structural

__all__ = ["matmul", "einsum", "slide"]


def _swap(x: Any) -> Any:
    return np.swapaxes(x, -1, -2)


def _matmul_abstract(a: Any, b: Any) -> tuple:
    if a.shape[-1] != b.shape[-2]:
        raise ValueError(f"inner sizes differ: {a.shape[-1]} != {b.shape[-2]}")
    return (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1]), np.result_type(a.dtype, b.dtype)


def _rows(x: Any) -> Any:
    """A stack of matrices as one matrix, one below the other."""
    return np.reshape(x, (prod(x.shape[:-1]), x.shape[-1]))


def _pull_right(ct: Any, a: Any, b: Any) -> Any:
    """The cotangent of b: of one matrix for a stack, one product of them all."""
    is_one = len(b.shape) == 2 < len(a.shape)
    return matmul(_swap(_rows(a)), _rows(ct)) if is_one else matmul(_swap(a), ct)


def _matmul_batch(size: int, args: tuple, batched: tuple) -> Any:
    a, b = args
    if not batched[1] and len(b.shape) == 2:
        return np.reshape(matmul(_rows(a), b), (*a.shape[:-1], b.shape[-1]))
    rank = max(len(x.shape) - is_batched for x, is_batched in zip(args, batched, strict=True))
    return matmul(
        *(
            np.reshape(x, (size, *(1,) * (rank + 1 - len(x.shape)), *x.shape[1:])) if is_batched else x
            for x, is_batched in zip(args, batched, strict=True)
        )
    )


matmul: Primitive = structural(
    "matmul",
    arrays.matmul,
    _matmul_abstract,
    Linear((lambda ct, a, b: matmul(ct, _swap(b)), _pull_right)),
    batch=_matmul_batch,
    flops=lambda out, a, b: 2 * prod(out.shape) * a.shape[-1],
    sample=lambda rng, shape, dtype: (
        (
            rng.normal(size=(*shape[:1], 2, 3)).astype(dtype),
            rng.normal(size=(3, *shape[1:2], *(() if shape[1:2] else (2,)))).astype(dtype),
        ),
        {},
    ),
    source="Giles 2008",
    role="contraction",
    adds=True,
)


# -- einsum -----------------------------------------------------------------------------------------------------
# subscripts are explicit, have no ellipsis, and repeat no letter within an operand: fad.numpy sees to that.


def _sizes(subscripts: str, args: tuple) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for letters, x in zip(subscripts.split("->")[0].split(","), args, strict=True):
        if len(letters) != len(x.shape):
            raise ValueError(f"{letters!r} names {len(letters)} axes of an array with {len(x.shape)}")
        for letter, size in zip(letters, x.shape, strict=True):
            if sizes.setdefault(letter, size) != size:
                raise ValueError(f"axis {letter!r} has sizes {sizes[letter]} and {size}")
    return sizes


def _einsum_abstract(*args: Any, subscripts: str) -> tuple:
    sizes = _sizes(subscripts, args)
    return tuple(sizes[i] for i in subscripts.split("->")[1]), np.result_type(*map(dtype_of, args))


def _einsum_transpose(i: int) -> Any:
    def transpose(ct: Any, *args: Any, subscripts: str) -> Any:
        inputs, output = subscripts.split("->")
        terms = inputs.split(",")
        sizes = _sizes(subscripts, args)
        wanted = terms[i]
        others = [(t, a) for j, (t, a) in enumerate(zip(terms, args, strict=True)) if j != i]
        known = set(output).union(*(t for t, _ in others))
        kept = "".join(letter for letter in wanted if letter in known)  # the others were summed out alone
        result = einsum(ct, *(a for _, a in others), subscripts=f"{','.join([output, *(t for t, _ in others)])}->{kept}")
        if kept != wanted:
            spread = tuple(sizes[letter] if letter in known else 1 for letter in wanted)
            result = np.broadcast_to(np.reshape(result, spread), tuple(sizes[letter] for letter in wanted))
        return result

    return transpose


def _einsum_batch(size: int, args: tuple, batched: tuple, *, subscripts: str) -> Any:
    inputs, output = subscripts.split("->")
    new = next(c for c in map(chr, range(ord("A"), 0x2000)) if c.isalpha() and c not in subscripts)
    terms = (new + t if b else t for t, b in zip(inputs.split(","), batched, strict=True))
    return einsum(*args, subscripts=f"{','.join(terms)}->{new}{output}")


def _einsum(*args: Any, subscripts: str) -> Any:
    return np.asarray(np.einsum(subscripts, *args, optimize=len(args) > 1))


def _einsum_flops(out: Any, *args: Any, subscripts: str) -> int:
    return len(args) * prod(_sizes(subscripts, args).values())


_MAX_OPERANDS = 32
einsum = structural(
    "einsum",
    _einsum,
    _einsum_abstract,
    Linear(tuple(_einsum_transpose(i) for i in range(_MAX_OPERANDS))),
    batch=_einsum_batch,
    flops=_einsum_flops,
    sample=lambda rng, shape, dtype: (
        (rng.normal(size=(2, 3)).astype(dtype), rng.normal(size=(3, *shape[:1], 4)).astype(dtype)),
        {"subscripts": "ij,jkl->lik" if shape else "ij,jl->li"},
    ),
    role="contraction",
    adds=True,
)


# -- a row that slides along another ----------------------------------------------------------------------------


def _slide_abstract(a: Any, w: Any) -> tuple:
    if len(a.shape) != 1 or len(w.shape) != 1 or not 0 < w.shape[0] <= a.shape[0]:
        raise ValueError(f"a row of shape {w.shape} does not slide along {a.shape}")
    return (a.shape[0] - w.shape[0] + 1,), np.result_type(a.dtype, w.dtype)


def _slide_by_row(ct: Any, a: Any, w: Any) -> Any:
    width = w.shape[0] - 1
    return slide(np.pad(ct, (width, width)), w[::-1])


slide: Primitive = structural(
    "slide",
    lambda a, w: np.convolve(a, w[::-1], "valid"),
    _slide_abstract,
    Linear((_slide_by_row, lambda ct, a, w: slide(a, ct))),
    flops=lambda out, a, w: 2 * out.shape[0] * w.shape[0],
    sample=lambda rng, shape, dtype: ((rng.normal(size=4 + sum(shape)).astype(dtype), rng.normal(size=3).astype(dtype)), {}),
    source="y[i] = sum over k of a[i + k] w[k], without a copy of the windows",
    role="contraction",
    adds=True,
)
