"""`numpy.linalg` on nodes: equations, factorisations, norms and powers of matrices on the last two axes."""

from __future__ import annotations

import operator
from math import prod
from typing import Any, NamedTuple

import numpy as np

from fad.core.expr import Expr, short
from fad.errors import ShapeError, SingularError
from fad.numpy.dispatch import as_array, axes_of, axis_of, floating, implements, no_out, unsupported
from fad.numpy.products import cross, matmul, outer, tensordot
from fad.numpy.products import linalg_vecdot as vecdot
from fad.numpy.reduce import euclidean
from fad.numpy.shape import linalg_diagonal as diagonal
from fad.numpy.shape import linalg_trace as trace
from fad.numpy.shape import matrix_transpose, ravel, reshaped
from fad.primitives import factor
from fad.primitives import solve as solving

__all__ = [
    "solve",
    "inv",
    "det",
    "slogdet",
    "pinv",
    "lstsq",
    "tensorsolve",
    "tensorinv",
    "cholesky",
    "qr",
    "eigh",
    "eigvalsh",
    "eig",
    "eigvals",
    "svd",
    "svdvals",
    "matrix_rank",
    "cond",
    "norm",
    "vector_norm",
    "matrix_norm",
    "matrix_power",
    "multi_dot",
    "cross",
    "diagonal",
    "matmul",
    "matrix_transpose",
    "outer",
    "tensordot",
    "trace",
    "vecdot",
]


class QRResult(NamedTuple):
    """What `qr` gives."""

    Q: Any
    R: Any


class EighResult(NamedTuple):
    """What `eigh` gives."""

    eigenvalues: Any
    eigenvectors: Any


class EigResult(NamedTuple):
    """What `eig` gives."""

    eigenvalues: Any
    eigenvectors: Any


class SVDResult(NamedTuple):
    """What `svd` gives."""

    U: Any
    S: Any
    Vh: Any


class SlogdetResult(NamedTuple):
    """What `slogdet` gives."""

    sign: Any
    logabsdet: Any


def _matrices(name: str, a: Any, square: bool = False) -> Any:
    """Floating matrices on the last two axes. Raises ShapeError."""
    x = floating(a)
    if x.ndim < 2 or (square and x.shape[-1] != x.shape[-2]):
        raise ShapeError(
            f"np.linalg.{name} of what is no {'square ' * square}matrix",
            got=short(x),
            rule="matrices are the last two axes" + ", which have one length" * square,
            fix="np.linalg.lstsq or np.linalg.pinv for a matrix that is not square"
            if square and x.ndim > 1
            else "reshape it, e.g. x[:, None] for one column",
        )
    return x


# -- equations ----------------------------------------------------------------------------------------


@implements(np.linalg.solve)
def solve(a: Any, b: Any) -> Any:
    """x such that ``a @ x = b``; a ``b`` with one axis is a vector, else matrices. One factorisation each way.

    >>> import fad
    >>> fad.grad(lambda b: solve(np.diag([1.0, 2.0]), b)[1])(np.ones(2))
    array([0. , 0.5])
    """
    a, b = _matrices("solve", a, square=True), floating(b)
    if b.shape[:1] != a.shape[-1:] if b.ndim == 1 else b.shape[-2:-1] != a.shape[-1:]:
        raise ShapeError(
            "np.linalg.solve: the shapes do not fit",
            got=f"{short(a)} and {short(b)}",
            rule="b has a row for each row of a",
            fix="b[..., None] for a stack of vectors",
        )
    if b.ndim > 1:
        return solving.solve(a, b, strict=True)
    return solving.solve(a, reshaped(b, (*b.shape, 1)), strict=True)[..., 0]


@implements(np.linalg.inv)
def inv(a: Any) -> Any:
    """The inverse; `solve` is faster and more accurate where it is multiplied by something."""
    return solving.inv(_matrices("inv", a, square=True))


@implements(np.linalg.det)
def det(a: Any) -> Any:
    """The determinant; its derivatives up to the third are right at singular matrices too."""
    return solving.det(_matrices("det", a, square=True))


@implements(np.linalg.slogdet)
def slogdet(a: Any) -> SlogdetResult:
    """The sign of the determinant, a number of size 1 where it is complex, and the logarithm of its size."""
    y = solving.slogdet(_matrices("slogdet", a, square=True))
    return SlogdetResult(y[..., 0], np.real(y[..., 1]))


def _only_one_triangle(a: Any) -> Any:
    """Hermitian matrices from their lower triangles."""
    strict = np.tril(a, -1)
    return strict + np.conj(matrix_transpose(strict)) + np.real(a) * np.eye(a.shape[-1], dtype=np.real(a).dtype)


_DEFAULT = object()


@implements(np.linalg.pinv)
def pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = _DEFAULT) -> Any:
    """The pseudoinverse (Moore, Penrose), without singular values below ``rcond`` times the largest.

    Its derivative is the one at constant rank.
    """
    x = _matrices("pinv", a)
    if rcond is None:
        rcond = 1e-15 if rtol is _DEFAULT else _eps(x) * max(x.shape[-2:]) if rtol is None else rtol
    if np.ndim(rcond):
        raise unsupported("linalg.pinv", f"rcond={rcond}", "one number for the whole stack")
    return solving.pinv(_only_one_triangle(x) if hermitian else x, rcond=float(rcond))


def _eps(x: Any) -> float:
    return float(np.finfo(x.dtype).eps)


@implements(np.linalg.lstsq)
def lstsq(a: Any, b: Any, rcond: Any = None) -> tuple:
    """The shortest x of those with the smallest ``norm(a @ x - b)``; squared residuals; rank; singular values.

    Where the values are not known (inside `jit`), residuals are given as for full rank.
    """
    a, b = _matrices("lstsq", a), floating(b)
    m, n = a.shape
    if b.shape[0] != m:
        raise ShapeError(
            "np.linalg.lstsq: the shapes do not fit",
            got=f"{short(a)} and {short(b)}",
            rule="b has a row for each row of a",
            fix="transpose one of them",
        )
    rcond = _eps(a) * max(m, n) if rcond is None else _eps(a) if rcond == -1 else float(rcond)
    x = solving.pinv(a, rcond=rcond) @ b
    s = svdvals(a)
    rank = np.sum(s > rcond * np.max(s, initial=0)).astype(np.int32)
    if isinstance(rank, Expr) and rank.value is not None:
        rank = rank.value[()]
    if m <= n or (not isinstance(rank, Expr) and rank != n):
        return x, np.zeros(0, s.dtype), rank, s
    r = b - a @ x
    return x, np.sum(reshaped(np.real(np.conj(r) * r), (m, prod(b.shape[1:]))), axis=0), rank, s


@implements(np.linalg.tensorsolve)
def tensorsolve(a: Any, b: Any, axes: Any = None) -> Any:
    """x such that ``tensordot(a, x, x.ndim) = b``; the ``axes`` of ``a`` are moved behind the others first."""
    a, b = floating(a), floating(b)
    order = list(range(a.ndim))
    for k in () if axes is None else axes:
        order.remove(k)
        order.insert(a.ndim, k)
    a = np.transpose(a, order)
    shape = a.shape[-(a.ndim - b.ndim) :]
    n = prod(shape)
    if prod(a.shape) != n * n:
        raise ShapeError(
            "np.linalg.tensorsolve: the shapes do not fit",
            got=f"{short(a)} and {short(b)}",
            rule="prod(a.shape[b.ndim:]) == prod(a.shape[:b.ndim])",
            fix="name in axes= what is summed over",
        )
    return reshaped(solve(reshaped(a, (n, n)), ravel(b)), shape)


@implements(np.linalg.tensorinv)
def tensorinv(a: Any, ind: int = 2) -> Any:
    """The inverse of ``x -> tensordot(a, x, ind)``."""
    a = floating(a)
    n = prod(a.shape[ind:])
    if ind <= 0 or prod(a.shape) != n * n:
        raise ShapeError(
            "np.linalg.tensorinv: not square",
            got=f"{short(a)}, ind={ind}",
            rule="prod(a.shape[:ind]) == prod(a.shape[ind:]), ind > 0",
            fix="choose ind= so that they agree",
        )
    return reshaped(inv(reshaped(a, (n, n))), (*a.shape[ind:], *a.shape[:ind]))


# -- factorisations -----------------------------------------------------------------------------------


@implements(np.linalg.cholesky)
def cholesky(a: Any, /, *, upper: bool = False) -> Any:
    """The triangle L such that ``L @ L^H = a``, or its adjoint; the other triangle of ``a`` is not read."""
    x = _matrices("cholesky", a, square=True)
    if not upper:
        return factor.cholesky(x)
    return np.conj(matrix_transpose(factor.cholesky(np.conj(matrix_transpose(x)))))


@implements(np.linalg.qr)
def qr(a: Any, mode: str = "reduced") -> Any:
    """q with orthonormal columns and an upper triangle r such that ``q @ r = a``; ``mode='r'``: r alone."""
    x = _matrices("qr", a)
    if mode not in ("reduced", "complete", "r"):
        raise unsupported("linalg.qr", f"mode={mode!r}", "mode='reduced', 'complete' or 'r'")
    lead, (m, n) = x.shape[:-2], x.shape[-2:]
    left = x if m >= n else x[..., :m]  # the columns behind do not change q
    complete = mode == "complete" and m > n
    q, r = factor.unpack(factor.qr(left, complete=complete), *factor.qr_shapes(left, complete))
    if m < n:
        r = np.concatenate([r, matmul(np.conj(matrix_transpose(q)), x[..., m:])], axis=-1)
    if complete:
        r = np.concatenate([r, np.zeros((*lead, m - n, n), r.dtype)], axis=-2)
    return r if mode == "r" else QRResult(q, r)


def _triangle(UPLO: str) -> bool:
    if UPLO.upper() not in ("L", "U"):
        raise ValueError("UPLO argument must be 'L' or 'U'")
    return UPLO.upper() == "L"


@implements(np.linalg.eigh)
def eigh(a: Any, UPLO: str = "L") -> EighResult:
    """Eigenvalues in increasing order and eigenvectors of hermitian matrices, of which one triangle is read.

    The derivative of a complex vector keeps its phase, and vectors of one repeated value do not turn into each other:
    it is right for what depends on neither.
    """
    x = _matrices("eigh", a, square=True)
    w, v = factor.unpack(factor.eigh(x, lower=_triangle(UPLO)), *factor.eigen_shapes(x))
    return EighResult(np.real(w), v)


@implements(np.linalg.eigvalsh)
def eigvalsh(a: Any, UPLO: str = "L") -> Any:
    """The eigenvalues of hermitian matrices, in increasing order."""
    return eigh(a, UPLO).eigenvalues


@implements(np.linalg.eig)
def eig(a: Any) -> EigResult:
    """Eigenvalues and eigenvectors of length 1; real where all are, and complex where that is not known (inside `jit`)."""
    x = _matrices("eig", a, square=True)
    packed = factor.eig(x)
    known = packed.value if isinstance(packed, Expr) else packed
    if x.dtype.kind != "c" and known is not None and not np.any(np.imag(known[..., : x.shape[-1]])):
        packed = np.real(packed)
    return EigResult(*factor.unpack(packed, *factor.eigen_shapes(x)))


@implements(np.linalg.eigvals)
def eigvals(a: Any) -> Any:
    """The eigenvalues, as `eig` gives them."""
    return eig(a).eigenvalues


@implements(np.linalg.svd)
def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    """``u, s, v^H`` such that ``u @ diag(s) @ v^H = a``, or the singular values s alone."""
    if hermitian:
        return _svd_of_hermitian(a, compute_uv)
    x = _matrices("svd", a)
    full = bool(full_matrices and compute_uv)
    u, s, vh = factor.unpack(factor.svd(x, full=full), *factor.svd_shapes(x, full))
    return SVDResult(u, np.real(s), vh) if compute_uv else np.real(s)


def _svd_of_hermitian(a: Any, compute_uv: bool) -> Any:
    w, v = eigh(a)
    order = np.argsort(np.abs(w), axis=-1)[..., ::-1]
    w = np.take_along_axis(w, order, axis=-1)
    if not compute_uv:
        return np.abs(w)
    u = np.take_along_axis(v, order[..., None, :], axis=-1)
    return SVDResult(u, np.abs(w), np.conj(matrix_transpose(u * np.copysign(1.0, w)[..., None, :].astype(w.dtype))))


@implements(np.linalg.svdvals)
def svdvals(x: Any, /) -> Any:
    """The singular values, in decreasing order."""
    return svd(x, compute_uv=False)


@implements(np.linalg.matrix_rank)
def matrix_rank(A: Any, tol: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Any:
    """The number of singular values above ``tol``; it has no derivative."""
    x = as_array(A)
    if x.ndim < 2:
        return np.any(x != 0).astype(int)
    s = svd(x, compute_uv=False, hermitian=hermitian)
    if tol is None:
        rtol = max(x.shape[-2:]) * _eps(s) if rtol is None else np.asarray(rtol)[..., None]
        tol = np.max(s, axis=-1, keepdims=True, initial=0) * rtol
    else:
        tol = np.asarray(tol)[..., None]
    return np.sum(s > tol, axis=-1)


@implements(np.linalg.cond)
def cond(x: Any, p: Any = None) -> Any:
    """The condition number in a norm, by default the ratio of the outermost singular values; inf where singular."""
    x = _matrices("cond", x)
    if not prod(x.shape[-2:]):
        raise SingularError(
            "np.linalg.cond of an empty matrix", got=short(x), rule="it has no singular values", fix="leave empty matrices out"
        )
    if p in (None, 2, -2):
        s = svdvals(x)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    x = _matrices("cond", x, square=True)
    inverse = solving.solve(x, np.eye(x.shape[-1], dtype=x.dtype), strict=False)
    y = norm(x, p, axis=(-2, -1)) * norm(inverse, p, axis=(-2, -1))
    return np.where(np.isnan(y) & ~np.any(np.isnan(x), axis=(-2, -1)), np.inf, y)


# -- norms ---------------------------------------------------------------------------------------------


def _vector(x: Any, p: Any, axes: tuple, keepdims: bool) -> Any:
    """(sum |x|^p)^(1/p) over axes, and its limits."""
    if p is None or p == 2:
        return euclidean(x, axes, keepdims)
    if p == np.inf:
        return np.max(np.abs(x), axis=axes, keepdims=keepdims)
    if p == -np.inf:
        return np.min(np.abs(x), axis=axes, keepdims=keepdims)
    if p == 0:
        return np.sum(x != 0, axis=axes, keepdims=keepdims).astype(np.abs(x).dtype)
    if p == 1:
        return np.sum(np.abs(x), axis=axes, keepdims=keepdims)
    size = np.abs(x)
    total = np.sum(size**p, axis=axes, keepdims=keepdims)
    zero = total == 0
    at_zero = np.sum(size, axis=axes, keepdims=keepdims) if p > 0 else total  # 0, with the kink that every norm has there
    return np.where(zero, at_zero, np.where(zero, 1, total) ** (1 / p))


def _matrix(x: Any, ord: Any, rows: int, columns: int, keepdims: bool) -> Any:
    if ord is None or ord == "fro":
        return _vector(x, 2, axes_of((rows, columns), x.ndim), keepdims)
    if ord in (1, -1, np.inf, -np.inf):
        summed, left = (rows, columns) if abs(ord) == 1 else (columns, rows)
        extremum = np.max if ord > 0 else np.min
        sums = np.sum(np.abs(x), axis=summed, keepdims=True)
        y = extremum(sums, axis=left, keepdims=True)
        return y if keepdims else np.squeeze(y, (rows, columns))
    reductions: dict[Any, Any] = {2: np.max, -2: np.min, "nuc": np.sum}
    reduced = reductions.get(ord)
    if reduced is None:
        raise ValueError(f"ord={ord!r} of a matrix is none of None, 'fro', 'nuc', 1, -1, 2, -2, inf, -inf")
    y = reduced(svdvals(np.moveaxis(x, (rows, columns), (-2, -1))), axis=-1)
    return np.expand_dims(y, axes_of((rows, columns), x.ndim)) if keepdims else y


@implements(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """The norm of vectors (one axis) or matrices (two), by default of all elements; its derivative at 0 is 0.

    >>> norm(np.array([3.0, 4.0]))
    np.float64(5.0)
    """
    x = floating(x)
    if axis is None and ord is None:
        return _vector(x, 2, tuple(range(x.ndim)), keepdims)
    axes = tuple(range(x.ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    axes = tuple(axis_of(i, x.ndim) for i in axes)
    if len(axes) == 1:
        return _vector(x, ord, axes, keepdims)
    if len(axes) == 2:
        return _matrix(x, ord, *axes, keepdims)
    raise ShapeError(
        "norm over more than two axes",
        got=f"{short(x)}, axis={axis}",
        rule="vectors have one, matrices two",
        fix="np.linalg.norm(x.ravel(), ord), or name the axes",
    )


@implements(np.linalg.vector_norm)
def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    """The p-norm over axes taken together."""
    x = floating(x)
    if x.dtype.kind == "c" and axis is None and not keepdims:
        x = ravel(x)
    return _vector(x, ord, axes_of(axis, x.ndim), keepdims)


@implements(np.linalg.matrix_norm)
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """The norm of the matrices on the last two axes."""
    x = floating(x)
    return _matrix(x, ord, x.ndim - 2, x.ndim - 1, keepdims)


# -- powers and chains -----------------------------------------------------------------------------------


@implements(np.linalg.matrix_power)
def matrix_power(a: Any, n: int) -> Any:
    """``a @ a @ ... @ a`` by repeated squaring; of the inverse where n is negative."""
    a, n = as_array(a), operator.index(n)
    _matrices("matrix_power", a, square=True)
    if n < 0:
        a, n = inv(a), -n
    result = None
    while n:
        if n % 2:
            result = a if result is None else matmul(result, a)
        n //= 2
        a = matmul(a, a) if n else a
    return np.broadcast_to(np.eye(a.shape[-1], dtype=a.dtype), a.shape).copy() if result is None else result


@implements(np.linalg.multi_dot)
def multi_dot(arrays: Any, *, out: Any = None) -> Any:
    """The product of a chain of matrices in the order that costs least; the ends may be vectors."""
    no_out(out)
    xs = [as_array(x) for x in arrays]
    row, column = xs[0].ndim == 1, xs[-1].ndim == 1
    if row:
        xs[0] = reshaped(xs[0], (1, *xs[0].shape))
    if column:
        xs[-1] = reshaped(xs[-1], (*xs[-1].shape, 1))
    y = _chain(xs)
    shape = y.shape[1:] if row else y.shape
    return reshaped(y, shape[:-1] if column else shape)


def _chain(xs: list) -> Any:
    """Matrices multiplied where splitting costs least (Cormen, Leiserson, Rivest and Stein, section 14.2)."""
    n = len(xs)
    sizes = [xs[0].shape[0], *(x.shape[1] for x in xs)]
    cost = {(i, i): 0 for i in range(n)}
    best: dict = {}
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            cost[i, j], best[i, j] = min(
                (cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j)
            )

    def product(i: int, j: int) -> Any:
        return xs[i] if i == j else matmul(product(i, best[i, j]), product(best[i, j] + 1, j))

    return product(0, n - 1)
