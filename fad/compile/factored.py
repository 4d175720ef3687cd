"""What is made of one matrix is made of one factorisation: `solve`, `slogdet` and `pinv` as nodes that read the factors, which
are equal nodes where the matrix is the same or transposed, as it is in a derivative."""

from __future__ import annotations

from typing import Any

import numpy as np

from fad.core.expr import Expr
from fad.primitives.factor import svd, svd_shapes, unpack
from fad.primitives.lu import lu, lu_solve
from fad.primitives.shape import transpose
from fad.primitives.solve import pinv, slogdet, solve, swap

__all__ = ["RULES"]

TINY = 8  # rows of a matrix up to which to factor it again costs less than to store its factors


def can_factor(a: Any) -> bool:
    """Whether factors of these matrices have native code, and are worth their memory."""
    return isinstance(a, Expr) and a.dtype.str[1:] in ("f4", "f8") and a.size > 0 and a.shape[-1] > TINY


def origin(a: Expr) -> tuple[Any, bool]:
    """The matrices of which these are transposes, and whether they are."""
    rank = len(a.shape)
    turned = a.op is transpose and a.params["axes"] == (*range(rank - 2), rank - 1, rank - 2) and isinstance(a.args[0], Expr)
    return (a.args[0], True) if turned else (a, False)


def solve_by_factors(work: Any, args: tuple, params: dict, shape: tuple, dtype: np.dtype) -> Any:
    """Solutions from the factors."""
    a, b = args
    if not can_factor(a) or not isinstance(b, Expr) or b.dtype != dtype or a.dtype != dtype or not b.size:
        return None
    a, transposed = origin(a)
    return work.op(lu_solve, work.op(lu, a), b, transposed=transposed, strict=params["strict"])


def slogdet_by_factors(work: Any, args: tuple, params: dict, shape: tuple, dtype: np.dtype) -> Any:
    """The sign and the logarithm from the diagonal, and the order of columns."""
    if not can_factor(args[0]):
        return None
    n = args[0].shape[-1]
    return work.defined(from_diagonal, work.op(lu, origin(args[0])[0]), n)


def from_diagonal(factors: Any, n: int) -> Any:
    """What `slogdet` gives, of factors of n rows."""
    diagonal = factors[..., : n * n : n + 1]
    moved = factors[..., n * n :] != np.arange(n, dtype=factors.dtype)
    sign = np.prod(np.where(moved, -np.sign(diagonal), np.sign(diagonal)), axis=-1)
    return np.stack([sign, np.sum(np.log(np.abs(diagonal)), axis=-1)], axis=-1)


def pinv_by_svd(work: Any, args: tuple, params: dict, shape: tuple, dtype: np.dtype) -> Any:
    """The pseudoinverse from the singular value decomposition."""
    (a,) = args
    if not isinstance(a, Expr) or a.dtype.str[1:] not in ("f4", "f8") or not a.size:
        return None
    return work.defined(from_svd, work.op(svd, a, full=False), svd_shapes(a, False), params["rcond"])


def from_svd(packed: Any, shapes: tuple, rcond: float) -> Any:
    """v diag(1 / s) u^T, without what lies below ``rcond`` times the largest of s."""
    u, s, vh = unpack(packed, *shapes)
    kept = s > rcond * np.max(s, axis=-1, keepdims=True)
    inverse = np.where(kept, 1 / np.where(kept, s, 1), 0).astype(s.dtype)
    return swap(vh) @ (inverse[..., :, None] * swap(u))


RULES = {solve: solve_by_factors, slogdet: slogdet_by_factors, pinv: pinv_by_svd}
