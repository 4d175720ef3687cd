"""Factorisations of matrices: cholesky, qr, eigh, eig, svd. Matrices are the last two axes.

A factorisation with several results packs them into one row, and `unpack` tells them apart.

Eigenvalues and singular values that agree to rounding are repeated. There the vectors of a group may turn among themselves:
the first derivative takes them not to, which is right for whatever does not depend on the turn (functions of all values,
projectors on whole groups), and all further derivatives are NaN, through `regular`.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fad.core.lowering import ByKind
from fad.core.primitive import Jvp, Kink
from fad.primitives.families import elementwise
from fad.primitives.solve import adjoint, divide_by_upper, draw, of_matrices, solve, solve_triangular, square, square_abstract

__all__ = ["cholesky", "qr", "eigh", "eig", "svd", "regular", "unpack"]

# -- packing, triangles, gaps ------------------------------------------------------------------------


def pack(lead: int, *parts: Any) -> Any:
    """Arrays with ``lead`` axes in common, side by side in one last axis."""
    return np.concatenate([np.reshape(p, (*p.shape[:lead], prod(p.shape[lead:]))) for p in parts], axis=-1)


def unpack(packed: Any, *shapes: tuple) -> list:
    """The arrays of these shapes, apart from the leading axes, that were packed."""
    ends = np.cumsum([prod(s) for s in shapes]).tolist()
    return [np.reshape(packed[..., end - prod(s) : end], (*packed.shape[:-1], *s)) for s, end in zip(shapes, ends, strict=True)]


def _complex(dtype: np.dtype) -> np.dtype:
    return np.result_type(dtype, np.complex64)


def _hermitian(t: Any, lower: bool) -> Any:
    """The hermitian matrices of which only one triangle is read."""
    strict = np.tril(t, -1) if lower else np.triu(t, 1)
    return strict + adjoint(strict) + np.real(t) * np.eye(t.shape[-1], dtype=np.real(t).dtype)


def _inverse(gap: Any, small: Any) -> Any:
    """1 / gap, and 0 for what counts as no gap."""
    none = np.abs(gap) <= small
    return np.where(none, 0, 1 / np.where(none, 1, gap))


def _small(values: Any, size: int) -> Any:
    """Below this, differences of these values are rounding errors."""
    eps = float(np.finfo(values.dtype).eps)
    return 4 * size * eps * np.max(np.abs(values), axis=-1, keepdims=True, initial=0)


def _gaps(values: Any) -> Any:
    """values[j] - values[i] at [i, j]."""
    return values[..., None, :] - values[..., :, None]


def _alone(values: Any, small: Any) -> Any:
    """Which values no other one repeats."""
    return np.sum(np.abs(_gaps(values)) <= small[..., None], axis=-1) == 1


regular = elementwise(
    "regular",
    lambda x, alone: np.broadcast_arrays(x, alone)[0].copy()[()],
    (lambda y, x, alone: np.where(alone, 1.0, np.nan).astype(np.real(x).dtype), 0),
    dtype=lambda dtypes: np.dtype(dtypes[0]),
    domains=(),
    keeps=(1,),
    sample=lambda rng, shape, dtype: ((draw(rng, shape, dtype), np.ones(shape, bool)), {}),
    source="x itself, without a derivative where it is not alone",
    lower=ByKind(booleans=lambda x, alone: x, operands=lambda given, out: (out, np.dtype(bool))),  # by its last operand
)

# -- triangular factors -------------------------------------------------------------------------------


def _cholesky_tangent(tangents: dict, out: Any, a: Any) -> Any:
    t = adjoint(solve_triangular(out, _hermitian(tangents[0], True), lower=True))
    t = solve_triangular(out, t, lower=True)  # out^-1 t out^-H
    return out @ (t * (np.tri(a.shape[-1]) - np.eye(a.shape[-1]) / 2).astype(np.real(t).dtype))


def _spread(rng: np.random.Generator, shape: tuple, dtype: Any) -> np.ndarray:
    """A stack of positive definite matrices whose eigenvalues are apart."""
    n = shape[-1] + 1 if shape else 3
    t = draw(rng, (*shape[:-1], n, n), dtype) * 0.1
    return (t + adjoint(t) + np.diag(np.arange(1.0, n + 1))).astype(dtype)


cholesky = of_matrices(
    "cholesky",
    np.linalg.cholesky,
    square_abstract,
    Jvp(_cholesky_tangent),
    lambda out, a: prod(a.shape) * a.shape[-1] // 3,
    sample=lambda rng, shape, dtype: ((_spread(rng, shape, dtype),), {}),
    source="Murray 2016; the upper triangle is not read",
)


def qr_shapes(a: Any, complete: bool) -> tuple:
    """Shapes of q and r for tall matrices."""
    m, n = a.shape[-2:]
    return (m, m if complete else n), (n, n)


def _qr(a: Any, *, complete: bool) -> Any:
    q, r = np.linalg.qr(a, mode="complete" if complete else "reduced")
    return pack(len(a.shape) - 2, q, r[..., : a.shape[-1], :])


def _qr_abstract(a: Any, *, complete: bool) -> tuple:
    return (*a.shape[:-2], sum(map(prod, qr_shapes(a, complete)))), a.dtype


def _qr_tangent(tangents: dict, out: Any, a: Any, *, complete: bool) -> Any:
    q, r = unpack(out, *qr_shapes(a, complete))
    n = a.shape[-1]
    q1 = q[..., :n]
    size = np.abs(np.diagonal(r, axis1=-2, axis2=-1))
    dependent = np.any(size <= _small(size, a.shape[-2]), axis=-1)[..., None, None]
    x = divide_by_upper(tangents[0], np.where(dependent, np.nan, r))
    c = adjoint(q1) @ x
    turn = np.tril(c, -1)
    turn = turn - adjoint(turn)  # q^H dq, antihermitian; the diagonal of r stays real
    if a.dtype.kind == "c":
        turn = turn + 1j * np.imag(c) * np.eye(n, dtype=np.real(c).dtype)
    dq = x - q1 @ (c - turn)
    if complete:
        dq = np.concatenate([dq, -(q1 @ (adjoint(dq) @ q[..., n:]))], axis=-1)
    return pack(len(a.shape) - 2, dq, (c - turn) @ r)


def _qr_sample(rng: np.random.Generator, shape: tuple, dtype: Any) -> tuple:
    a = _spread(rng, shape, dtype) + draw(rng, (), dtype) * 0.1
    tall = rng.random() < 0.5
    return (a[..., : a.shape[-1] - tall],), {"complete": bool(tall and np.dtype(dtype).kind == "f")}


qr = of_matrices(
    "qr",
    _qr,
    _qr_abstract,
    Jvp(_qr_tangent),
    lambda out, a: 4 * prod(a.shape) * a.shape[-1],
    sample=_qr_sample,
    kinks=(
        Kink("columns that depend on one another", "nan", "q and r jump"),
        Kink(
            "complete, columns of q beyond those of a",
            "those of a that does not turn them",
            "only the space they span has a derivative",
        ),
    ),
    source="Walter and Lehmann 2010; for matrices that are not wide",
)

# -- eigenvalues --------------------------------------------------------------------------------------

_TURNS = "right for what does not depend on the basis of the group; further derivatives are NaN"


def eigen_shapes(a: Any) -> tuple:
    """Shapes of the eigenvalues and of the matrix of eigenvectors."""
    return a.shape[-1:], a.shape[-2:]


def _eigen_abstract(dtype: Any) -> Any:
    def abstract(a: Any, **params: Any) -> tuple:
        square(a)
        return (*a.shape[:-2], a.shape[-1] * (a.shape[-1] + 1)), dtype(a.dtype)

    return abstract


def _eigh(a: Any, *, lower: bool) -> Any:
    return pack(len(a.shape) - 2, *np.linalg.eigh(a, UPLO="L" if lower else "U"))


def _eigh_tangent(tangents: dict, out: Any, a: Any, *, lower: bool) -> Any:
    w, v = unpack(out, *eigen_shapes(a))
    small = _small(np.real(w), a.shape[-1])
    alone = _alone(np.real(w), small)
    w, v = np.real(w), regular(v, alone[..., None, :])
    t = adjoint(v) @ _hermitian(tangents[0], lower) @ v
    dv = v @ (t * _inverse(_gaps(w), small[..., None]))
    return pack(len(a.shape) - 2, np.real(np.diagonal(t, axis1=-2, axis2=-1)), dv)


eigh = of_matrices(
    "eigh",
    _eigh,
    _eigen_abstract(lambda d: d),
    Jvp(_eigh_tangent),
    lambda out, a: 9 * prod(a.shape) * a.shape[-1],
    sample=lambda rng, shape, dtype: ((_spread(rng, shape, dtype),), {"lower": bool(rng.random() < 0.5)}),
    kinks=(Kink("repeated eigenvalues", "that of vectors which do not turn within the group", _TURNS),),
    source="Giles 2008; the other triangle is not read, and a complex vector keeps its phase",
)


def _eig(a: Any) -> Any:
    packed = pack(len(a.shape) - 2, *np.linalg.eig(a))
    return packed.astype(_complex(packed.dtype))


def _eigenvector_inverse(v: Any) -> Any:
    """v^-1, and NaN where eigenvectors are missing: its rows are as long as eigenvalues are sensitive."""
    inverse = solve(v, np.eye(v.shape[-1], dtype=v.dtype), strict=False)
    sensitivity = np.max(np.abs(inverse), axis=(-2, -1), keepdims=True, initial=0)
    return np.where(sensitivity * float(np.finfo(v.dtype).eps) < 1, inverse, np.nan)


def _eig_tangent(tangents: dict, out: Any, a: Any) -> Any:
    w, v = unpack(out, *eigen_shapes(a))
    small = _small(w, a.shape[-1])
    v = regular(v, _alone(w, small)[..., None, :])
    t = _eigenvector_inverse(v) @ tangents[0] @ v
    dv = v @ (t * _inverse(_gaps(w), small[..., None]))
    # LAPACK's vectors have length 1, and their largest element is real
    real = np.argmax(np.where(np.imag(v) == 0, np.abs(v), -1), axis=-2)[..., None, :]
    largest, moved = (np.take_along_axis(x, real, axis=-2) for x in (v, dv))
    along = np.sum(np.real(np.conj(v) * dv), axis=-2, keepdims=True) + 1j * (np.imag(moved) / np.real(largest))
    return pack(len(a.shape) - 2, np.diagonal(t, axis1=-2, axis2=-1), dv - v * along)


def _apart(rng: np.random.Generator, shape: tuple, dtype: Any) -> np.ndarray:
    a = _spread(rng, shape, dtype)
    return (a + 0.2 * draw(rng, a.shape, dtype)).astype(dtype)


eig = of_matrices(
    "eig",
    _eig,
    _eigen_abstract(_complex),
    Jvp(_eig_tangent),
    lambda out, a: 25 * prod(a.shape) * a.shape[-1],
    sample=lambda rng, shape, dtype: ((_apart(rng, shape, dtype),), {}),
    kinks=(
        Kink("repeated eigenvalues", "that of vectors which do not turn within the group", _TURNS),
        Kink("too few eigenvectors", "nan", "eigenvalues move like roots"),
    ),
    source="Giles 2008; vectors of length 1 whose largest element is real, as LAPACK's",
)

# -- singular values -------------------------------------------------------------------------------------


def svd_shapes(a: Any, full: bool) -> tuple:
    """Shapes of u, s and v^H."""
    m, n = a.shape[-2:]
    k = min(m, n)
    return ((m, m), (k,), (n, n)) if full else ((m, k), (k,), (k, n))


def _svd(a: Any, *, full: bool) -> Any:
    return pack(len(a.shape) - 2, *np.linalg.svd(a, full_matrices=full))


def _svd_abstract(a: Any, *, full: bool) -> tuple:
    return (*a.shape[:-2], sum(map(prod, svd_shapes(a, full)))), a.dtype


def _svd_tangent(tangents: dict, out: Any, a: Any, *, full: bool) -> Any:
    """With q = u^H du and r = v^H dv antihermitian: u^H t v = q s + ds - s r, whose sum with its adjoint gives q + r, and
    whose difference from it q - r."""
    t = tangents[0]
    u, s, vh = unpack(out, *svd_shapes(a, full))
    s, v = np.real(s), adjoint(vh)
    k, small = s.shape[-1], _small(np.real(s), max(a.shape[-2:]))
    alone = _alone(s, small)
    if a.shape[-1] != a.shape[-2] or a.dtype.kind == "c":
        alone = alone & (s > small)
    u1, v1 = (regular(x[..., :k], alone[..., None, :]) for x in (u, v))
    p = adjoint(u1) @ t @ v1
    both = (p + adjoint(p)) * _inverse(_gaps(s), small[..., None])
    apart = (p - adjoint(p)) * _inverse(s[..., None, :] + s[..., :, None], small[..., None])
    du, dv = u1 @ (both + apart) / 2, v1 @ (both - apart) / 2
    by_s = _inverse(s, small)[..., None, :]
    if a.shape[-2] > k:
        du = _with_complement(du + (t @ v1 - u1 @ p) * by_s, u, u1)
    if a.shape[-1] > k:
        dv = _with_complement(dv + (adjoint(t) @ u1 - v1 @ adjoint(p)) * by_s, v, v1)
    return pack(len(a.shape) - 2, du, np.real(np.diagonal(p, axis1=-2, axis2=-1)), adjoint(dv))


def _with_complement(dq: Any, q: Any, q1: Any) -> Any:
    """The tangents of further columns of q, which stay at right angles to the first ones and do not turn."""
    k = q1.shape[-1]
    return dq if q.shape[-1] == k else np.concatenate([dq, -(q1 @ (adjoint(dq) @ q[..., k:]))], axis=-1)


def _svd_sample(rng: np.random.Generator, shape: tuple, dtype: Any) -> tuple:
    a = _apart(rng, shape, dtype)
    return (a[..., : a.shape[-1] - int(rng.integers(2))],), {"full": bool(rng.random() < 0.5)}


svd = of_matrices(
    "svd",
    _svd,
    _svd_abstract,
    Jvp(_svd_tangent),
    lambda out, a: 20 * prod(a.shape) * min(a.shape[-2:]),
    sample=_svd_sample,
    kinks=(
        Kink("repeated singular values", "that of vectors which do not turn within the group", _TURNS),
        Kink("a singular value 0", "u^H da v", "the slope of the side where u and v keep their signs"),
        Kink(
            "full_matrices, columns beyond the singular values",
            "those that do not turn them",
            "only the space they span has a derivative",
        ),
    ),
    source="Giles 2008; Wan and Zhang 2019 for complex matrices, whose vectors share the change of phase",
)
