"""The factors of a matrix, made once and used again: what programs compute in the place of `solve` and `slogdet`.

a = c d p with a lower triangle c, an upper one d with unit diagonal, and columns in another order: LAPACK's factors of the
transpose, which is how it sees a matrix that lies row after row. One row holds c and d in one square, then the place, from 0,
that each column changed with. No derivative is taken of it: it is what the derivatives of solutions are computed with.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fad.core.primitive import Primitive
from fad.primitives.families import align
from fad.primitives.solve import map_matrices, of_matrices, square, well_conditioned

__all__ = ["lu", "lu_solve"]


def _lu(a: Any) -> Any:
    from scipy.linalg.lapack import get_lapack_funcs

    getrf = get_lapack_funcs("getrf", (a,))

    def one(x: Any) -> Any:
        factors, order, _ = getrf(x.T)
        return np.concatenate([factors.T.reshape(-1), order.astype(a.dtype)])

    return map_matrices(one, _lu_abstract(a), (a, 2))


def _lu_abstract(a: Any) -> tuple:
    square(a)
    return (*a.shape[:-2], a.shape[-1] * (a.shape[-1] + 1)), a.dtype


lu = of_matrices(
    "lu",
    _lu,
    _lu_abstract,
    None,
    lambda out, a: prod(a.shape) * a.shape[-1] * 2 // 3,
    sample=lambda rng, shape, dtype: ((well_conditioned(rng, shape or (1,), dtype),), {}),
    source="LAPACK's getrf",
)


def _lu_solve(factors: Any, b: Any, *, transposed: bool, strict: bool) -> Any:
    from scipy.linalg.lapack import get_lapack_funcs

    n, getrs = b.shape[-2], get_lapack_funcs("getrs", (factors, b))

    def one(f: Any, x: Any) -> Any:
        square, order = f[: n * n].reshape(n, n), np.real(f[n * n :]).astype(np.int32)
        if not np.all(np.diagonal(square)):
            if strict:
                raise np.linalg.LinAlgError("Singular matrix")
            return np.full_like(x, np.nan)
        return getrs(square.T, order, x, trans=0 if transposed else 1)[0]

    return map_matrices(one, _lu_solve_abstract(factors, b), (factors, 1), (b, 2))


def _lu_solve_abstract(factors: Any, b: Any, **params: Any) -> tuple:
    lead = np.broadcast_shapes(factors.shape[:-1], b.shape[:-2])
    return (*lead, *b.shape[-2:]), np.result_type(factors.dtype, b.dtype)


def _lu_solve_batch(size: int, args: tuple, batched: tuple, **params: Any) -> Any:
    factors, b = align(size, (args[0][..., None, :], args[1]), batched)
    return lu_solve(factors[..., 0, :], b, **params)


def _lu_solve_sample(rng: np.random.Generator, shape: tuple, dtype: Any) -> tuple:
    a = well_conditioned(rng, shape or (1,), dtype)
    return (lu(a), a[..., :2]), {"transposed": bool(rng.random() < 0.5), "strict": True}


lu_solve: Primitive = of_matrices(
    "lu_solve",
    _lu_solve,
    _lu_solve_abstract,
    None,
    lambda x, factors, b: 2 * prod(x.shape) * x.shape[-2],
    batch=_lu_solve_batch,
    sample=_lu_solve_sample,
    source="LAPACK's getrs",
)
