"""Linear equations and what is made of them: solve, inv, det, slogdet, pinv. Matrices are the last two axes.

A derivative at a singular matrix is NaN where none exists; only values raise, as NumPy's do.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from fad.core.primitive import Jvp, Kink, LinearIn, Primitive
from fad.primitives.families import align, of_floats, structural

__all__ = ["solve", "solve_triangular", "inv", "det", "slogdet", "pinv"]


# -- what the rules of matrices share --------------------------------------------------------------


def swap(x: Any) -> Any:
    """The transpose of each matrix."""
    return np.swapaxes(x, -1, -2)


def adjoint(x: Any) -> Any:
    """The conjugate transpose of each matrix."""
    return np.conj(swap(x)) if x.dtype.kind == "c" else swap(x)


def eye_like(x: Any) -> np.ndarray:
    """The identity of the size and dtype of square matrices."""
    return np.eye(x.shape[-1], dtype=x.dtype)


def square_abstract(a: Any) -> tuple:
    """The shape and dtype of what is made of square matrices one for one."""
    square(a)
    return a.shape, a.dtype


def map_matrices(f: Callable, out: tuple, *arrays: tuple) -> np.ndarray:
    """A function of matrices at each of a stack, for a result of shape and dtype ``out``; arrays come with the number of their axes
    that are not the stack's."""
    y = np.empty(*out)
    lead = np.broadcast_shapes(*[a.shape[:-axes] for a, axes in arrays])
    wide = [np.broadcast_to(a, (*lead, *a.shape[-axes:])) for a, axes in arrays]
    for at in np.ndindex(lead if y.size else (0,)):
        y[at] = f(*[a[at] for a in wide])
    return y


def square(x: Any) -> None:
    """Raise where matrices are not square."""
    if len(x.shape) < 2 or x.shape[-1] != x.shape[-2]:
        raise ValueError(f"the last two axes of {x.shape} have not one length")


def of_matrices(name: str, evaluate: Callable, abstract: Callable, derivative: Any, flops: Callable, **fields: Any) -> Any:
    """A primitive of stacks of matrices: further leading axes change nothing."""
    primitive: Primitive = structural(
        name,
        evaluate,
        of_floats(abstract),
        derivative,
        flops=lambda out, *args, **params: flops(out, *args),
        rough=64,  # one LAPACK against another
        **{"batch": lambda size, args, batched, **params: primitive(*align(size, args, batched), **params)} | fields,
    )
    return primitive


def draw(rng: np.random.Generator, shape: tuple, dtype: Any) -> np.ndarray:
    """Normal numbers, complex where the dtype is."""
    x = rng.normal(size=shape)
    return (x + 1j * rng.normal(size=shape) if np.dtype(dtype).kind == "c" else x).astype(dtype)


def well_conditioned(rng: np.random.Generator, shape: tuple, dtype: Any) -> np.ndarray:
    """A stack of square matrices, none of them near a singular one."""
    n = shape[-1] + 1 if shape else 3
    return (draw(rng, (*shape[:-1], n, n), dtype) * (0.5 / n) + 2 * np.diag(rng.uniform(0.5, 1.0, n))).astype(dtype)


# -- solve ---------------------------------------------------------------------------------------------


def _solve(a: Any, b: Any, *, strict: bool) -> Any:
    try:
        return np.linalg.solve(a, b)
    except np.linalg.LinAlgError:
        if strict:
            raise
    return map_matrices(_solve_or_nan, _solve_abstract(a, b), (a, 2), (b, 2))


def _solve_or_nan(a: Any, b: Any) -> Any:
    try:
        return np.linalg.solve(a, b)
    except np.linalg.LinAlgError:
        return np.nan


def _solve_abstract(a: Any, b: Any, **params: Any) -> tuple:
    square(a)
    if a.shape[-1] != b.shape[-2]:
        raise ValueError(f"{a.shape[-1]} unknowns, and {b.shape[-2]} rows on the right side")
    return (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), *b.shape[-2:]), np.result_type(a.dtype, b.dtype)


def _solve_sample(rng: np.random.Generator, shape: tuple, dtype: Any) -> tuple:
    a = well_conditioned(rng, shape, dtype)
    return a, draw(rng, (*shape[1:-1], a.shape[-1], 2), dtype)


solve: Primitive = of_matrices(
    "solve",
    _solve,
    _solve_abstract,
    LinearIn(1, lambda ct, a, b, **params: solve(swap(a), ct, **params), lambda t, x, a, b, **params: -(t[0] @ x)),
    lambda x, a, b: prod(x.shape[:-2]) * (a.shape[-1] ** 3 * 2 // 3 + 2 * a.shape[-1] * prod(x.shape[-2:])),
    sample=lambda rng, shape, dtype: (_solve_sample(rng, shape, dtype), {"strict": True}),
    source="a dx = db - da x, Giles 2008; where not strict, NaN for a singular matrix",
)


def _triangle(a: Any, lower: bool) -> Any:
    return np.tril(a) if lower else np.triu(a)


def _solve_triangular(a: Any, b: Any, *, lower: bool) -> Any:
    if len(a.shape) > 2 or len(b.shape) > 2 or not b.size:
        return _solve(_triangle(a, lower), b, strict=False)
    from scipy.linalg.lapack import get_lapack_funcs

    x, singular = get_lapack_funcs(("trtrs",), (a, b))[0](a, b, lower=lower)
    return np.full_like(x, np.nan) if singular else np.ascontiguousarray(x)


solve_triangular: Primitive = of_matrices(
    "solve_triangular",
    _solve_triangular,
    _solve_abstract,
    LinearIn(
        1,
        lambda ct, a, b, *, lower: solve_triangular(swap(a), ct, lower=not lower),
        lambda t, x, a, b, *, lower: -(_triangle(t[0], lower) @ x),
    ),
    lambda x, a, b: prod(x.shape) * a.shape[-1],
    sample=lambda rng, shape, dtype: (_solve_sample(rng, shape, dtype), {"lower": bool(rng.random() < 0.5)}),
    source="as solve; the other triangle is not read; NaN where the diagonal has a zero",
)


def divide_by_upper(x: Any, u: Any) -> Any:
    """x u^-1 for upper triangles u."""
    return swap(solve_triangular(swap(u), swap(x), lower=True))


# -- inverses ----------------------------------------------------------------------------------------------


inv = of_matrices(
    "inv",
    np.linalg.inv,
    square_abstract,
    Jvp(lambda t, out, a: -(out @ t[0] @ out)),
    lambda out, a: 2 * prod(a.shape) * a.shape[-1],
    sample=lambda rng, shape, dtype: ((well_conditioned(rng, shape, dtype),), {}),
    source="Giles 2008",
)


def _pinv_tangent(tangents: dict, p: Any, a: Any, *, rcond: float) -> Any:
    t = tangents[0]
    left = adjoint(t) - adjoint(t) @ a @ p  # adjoint(t) (1 - a p)
    right = adjoint(t) - p @ (a @ adjoint(t))
    return p @ adjoint(p) @ left + right @ adjoint(p) @ p - p @ t @ p


pinv = of_matrices(
    "pinv",
    lambda a, *, rcond: np.linalg.pinv(a, rcond=rcond),
    lambda a, *, rcond: ((*a.shape[:-2], a.shape[-1], a.shape[-2]), a.dtype),
    Jvp(_pinv_tangent),
    lambda out, a: 20 * prod(a.shape) * min(a.shape[-2:], default=0),
    sample=lambda rng, shape, dtype: ((well_conditioned(rng, shape, dtype)[..., : int(rng.integers(1, 3))],), {"rcond": 1e-15}),
    kinks=(Kink("rank below the smaller side", "that at constant rank", "elsewhere the function jumps"),),
    source="Golub and Pereyra 1973",
)


# -- determinants ------------------------------------------------------------------------------------------

_LAST = 3  # rows and columns whose determinant is written out


def _det_tangent(tangents: dict, out: Any, a: Any) -> Any:
    return np.sum(_cofactors(a) * tangents[0], axis=(-2, -1))


def _cofactors(a: Any) -> Any:
    """The derivative of det by each element, right to third order at singular matrices too.

    In the basis of the singular vectors, which is held fixed, the columns that vanish are the last ones. There
    det(g) = det(head) det(s) with s = corner - below head^-1 right, and the 3 x 3 determinant of s is written out.
    """
    if a.shape[-1] <= _LAST:
        return _small_cofactors(a)
    u, vh, sign, shift = _basis(a)
    g = adjoint(u) @ a @ adjoint(vh)
    head, right, below = g[..., :-_LAST, :-_LAST], g[..., :-_LAST, -_LAST:], g[..., -_LAST:, :-_LAST]
    inverse = solve(head + shift, eye_like(head), strict=False)
    x, y = inverse @ right, below @ inverse
    s = g[..., -_LAST:, -_LAST:] - below @ x
    c = _small_cofactors(s)
    det_s = np.sum(s[..., 0, :] * c[..., 0, :], axis=-1)[..., None, None]
    upper = np.concatenate([det_s * swap(inverse) + swap(y) @ c @ swap(x), -(swap(y) @ c)], axis=-1)
    lower = np.concatenate([-(c @ swap(x)), c], axis=-1)
    by_g = np.concatenate([upper, lower], axis=-2)
    return (sign * det(head))[..., None, None] * (np.conj(u) @ by_g @ np.conj(vh))


def _small_cofactors(a: Any) -> Any:
    n = a.shape[-1]
    if n < 2:
        return np.ones(a.shape, a.dtype)
    if n == 2:
        return np.stack([np.stack([a[..., 1, 1], -a[..., 1, 0]], -1), np.stack([-a[..., 0, 1], a[..., 0, 0]], -1)], -2)
    rows = [a[..., i, :] for i in range(3)]
    return np.stack([_cross(rows[1], rows[2]), _cross(rows[2], rows[0]), _cross(rows[0], rows[1])], axis=-2)


def _cross(a: Any, b: Any) -> Any:
    ahead, back = [1, 2, 0], [2, 0, 1]
    return a[..., ahead] * b[..., back] - a[..., back] * b[..., ahead]


def _basis(a: Any) -> tuple:
    """u and v^H of the singular value decomposition as constants, det(u v^H), and what keeps the head of s invertible."""
    n = a.shape[-1]
    packed = singular_basis(a)
    u, vh = (np.reshape(packed[..., i, :], (*packed.shape[:-2], n, n)) for i in (0, 1))
    return u, vh, packed[..., 2, 0], packed[..., 2, 1 : n - _LAST + 1][..., None] * np.eye(n - _LAST, dtype=a.dtype)


def _singular_basis(a: Any) -> Any:
    n = a.shape[-1]
    finite = np.all(np.isfinite(a), axis=(-2, -1), keepdims=True)
    u, s, vh = np.linalg.svd(np.where(finite, a, np.eye(n, dtype=a.dtype)))
    rest = np.zeros((*a.shape[:-2], n * n), a.dtype)
    rest[..., 0] = np.linalg.det(u) * np.linalg.det(vh)
    rest[..., 1 : n - _LAST + 1] = s[..., :-_LAST] == 0
    return np.stack([u.reshape(rest.shape), vh.reshape(rest.shape), rest], axis=-2)


singular_basis = of_matrices(
    "singular_basis",
    _singular_basis,
    lambda a: ((*a.shape[:-2], 3, a.shape[-1] ** 2), a.dtype),
    None,
    lambda out, a: 20 * prod(a.shape) * a.shape[-1],
    sample=lambda rng, shape, dtype: ((well_conditioned(rng, (*shape[:-1], 3), dtype),), {}),
    source="a basis to write det in; it is held fixed, which no derivative of det sees",
)

_LU = lambda out, a: prod(a.shape) * a.shape[-1] * 2 // 3


def _det_abstract(a: Any) -> tuple:
    square(a)
    return a.shape[:-2], a.dtype


det = of_matrices(
    "det",
    np.linalg.det,
    _det_abstract,
    Jvp(_det_tangent),
    _LU,
    sample=lambda rng, shape, dtype: ((well_conditioned(rng, shape, dtype),), {}),
    source="Jacobi's formula; Schur's for singular matrices",
)


def _slogdet(a: Any) -> Any:
    sign, logdet = np.linalg.slogdet(a)
    return np.stack([sign, logdet.astype(sign.dtype)], axis=-1)


def _slogdet_abstract(a: Any) -> tuple:
    square(a)
    return (*a.shape[:-2], 2), a.dtype


def _slogdet_tangent(tangents: dict, out: Any, a: Any) -> Any:
    inverse = solve(a, eye_like(a), strict=False)
    t = np.sum(swap(inverse) * tangents[0], axis=(-2, -1))
    if a.dtype.kind != "c":
        return np.stack([np.zeros(t.shape, t.dtype), t], axis=-1)
    return np.stack([out[..., 0] * (1j * np.imag(t)), np.real(t).astype(t.dtype)], axis=-1)


slogdet = of_matrices(
    "slogdet",
    _slogdet,
    _slogdet_abstract,
    Jvp(_slogdet_tangent),
    _LU,
    sample=lambda rng, shape, dtype: ((well_conditioned(rng, shape, dtype),), {}),
    kinks=(Kink("singular matrices", "nan", "the logarithm is -inf"),),
    source="Jacobi's formula",
)
