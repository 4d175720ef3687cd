"""`scipy.linalg` on nodes: what NumPy has too is NumPy's; equations with structure, factors, and functions of matrices are here."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg

from fad.core.expr import Expr, short
from fad.errors import ShapeError, TraceError
from fad.numpy import linalg
from fad.numpy.dispatch import as_array, floating
from fad.primitives import matrix_functions as functions
from fad.primitives.solve import adjoint, swap
from fad.primitives.solve import solve_triangular as triangular
from fad.scipy.source import implements

__all__ = [
    *("solve", "solve_triangular", "solve_banded", "solveh_banded", "solve_toeplitz", "solve_sylvester", "inv", "det", "pinv"),
    *("solve_continuous_lyapunov", "solve_discrete_lyapunov", "lstsq", "norm", "cholesky", "cho_factor", "cho_solve", "lu"),
    *("lu_factor", "lu_solve", "qr", "svd", "svdvals", "eigh", "eigvalsh", "eig", "eigvals", "polar", "expm", "logm", "sqrtm"),
    *("cosm", "sinm", "tanm", "coshm", "sinhm", "tanhm", "expm_frechet", "fractional_matrix_power", "block_diag", "toeplitz"),
    *("hankel", "circulant", "khatri_rao"),
]

# -- equations ---------------------------------------------------------------------------------------------------------------


def _columns(solver: Any, a: Any, b: Any) -> Any:
    """A solver of matrices for a vector, too: ``b`` with one axis is one."""
    b = floating(b)
    return solver(a, b[:, None])[..., 0] if b.ndim == 1 else solver(a, b)


def _square(name: str, a: Any) -> Any:
    a = floating(a)
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise ShapeError(
            f"scipy.linalg.{name} of what is no square matrix",
            got=short(a),
            rule="the last two axes have one length",
            fix="lstsq or pinv for a matrix that is not square",
        )
    return a


def _from_triangle(a: Any, lower: bool, turn: Any) -> Any:
    """Matrices that are their own transpose or adjoint, of which one triangle is read."""
    strict = np.tril(a, -1) if lower else np.triu(a, 1)
    return strict + turn(strict) + a * np.eye(a.shape[-1], dtype=a.dtype)


@implements(scipy.linalg.solve_triangular)
def solve_triangular(
    a: Any,
    b: Any,
    trans: Any = 0,
    lower: bool = False,
    unit_diagonal: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
) -> Any:
    """x such that ``a @ x = b`` for a triangle; the other one is not read. NaN where the diagonal has a zero.

    >>> import fad
    >>> fad.grad(lambda b: solve_triangular(np.array([[2.0, 0.0], [1.0, 4.0]]), b, lower=True)[1])(np.ones(2))
    array([-0.125,  0.25 ])
    """
    a = _square("solve_triangular", a)
    if unit_diagonal:
        one = np.eye(a.shape[-1], dtype=a.dtype)
        a = np.where(one != 0, one, a)
    if trans in (1, "T", 2, "C"):
        a, lower = adjoint(a) if trans in (2, "C") else swap(a), not lower
    return _columns(lambda a, b: triangular(a, b, lower=bool(lower)), a, b)


@implements(scipy.linalg.solve)
def solve(
    a: Any,
    b: Any,
    lower: bool = False,
    overwrite_a: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
    assume_a: str | None = None,
    transposed: bool = False,
) -> Any:
    """x such that ``a @ x = b``, or with the transpose; of symmetric and hermitian matrices one triangle is read.

    ``assume_a='pos'`` goes by the Cholesky factor, also in derivatives.
    """
    a = _square("solve", a)
    kind = assume_a or "gen"
    if kind in ("pos", "positive definite"):
        return cho_solve((cholesky(a, lower=lower), lower), b)
    if kind in ("sym", "symmetric", "her", "hermitian"):
        a = _from_triangle(a, lower, adjoint if kind in ("her", "hermitian") else swap)
    if kind in ("lower triangular", "upper triangular"):
        return solve_triangular(a, b, trans=int(transposed), lower=kind[0] == "l")
    return _columns(linalg.solve, swap(a) if transposed else a, b)


@implements(scipy.linalg.cholesky)
def cholesky(a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """The triangle u such that ``u^H @ u = a``, or l with ``l @ l^H = a``; the other triangle of ``a`` is not read."""
    return linalg.cholesky(_square("cholesky", a), upper=not lower)


@implements(scipy.linalg.cho_factor)
def cho_factor(a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> tuple:
    """The Cholesky factor for `cho_solve`; its other triangle is 0 here."""
    return cholesky(a, lower), lower


@implements(scipy.linalg.cho_solve)
def cho_solve(c_and_lower: tuple, b: Any, overwrite_b: bool = False, check_finite: bool = True) -> Any:
    """x such that ``a @ x = b``, from the factor of ``a``: two triangles.

    >>> cho_solve(cho_factor(np.array([[4.0, 0.0], [0.0, 1.0]])), np.array([2.0, 3.0]))
    array([0.5, 3. ])
    """
    c, lower = c_and_lower
    trans = ("N", "C") if lower else ("C", "N")
    return solve_triangular(c, solve_triangular(c, b, trans=trans[0], lower=lower), trans=trans[1], lower=lower)


@implements(scipy.linalg.lu)
def lu(a: Any, permute_l: bool = False, overwrite_a: bool = False, check_finite: bool = True, p_indices: bool = False) -> tuple:
    """``p @ l @ u = a``; p, which has no derivative, is chosen by the values.

    dl = l tril(l^-1 p^T da u^-1, -1) and du = triu(...) u.
    """
    a = floating(a)
    m, n = a.shape[-2:]
    packed = functions.lu_parts(a)
    k = min(m, n)
    order, both = np.real(packed[..., 0]).astype(int), packed[..., 1:]
    l = np.tril(both[..., :k], -1) + np.eye(m, k, dtype=a.dtype)
    u = np.triu(both[..., :k, :])
    if p_indices:
        return order, l, u
    p = np.swapaxes((order[..., None] == np.arange(m)).astype(a.dtype), -1, -2)
    return (p @ l, u) if permute_l else (p, l, u)


@implements(scipy.linalg.lu_factor)
def lu_factor(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> tuple:
    """Both factors in one square, and the matrix's rows in their order, for `lu_solve`."""
    packed = functions.lu_parts(_square("lu_factor", a))
    return packed[..., 1:], np.real(packed[..., 0]).astype(int)


@implements(scipy.linalg.lu_solve)
def lu_solve(lu_and_piv: tuple, b: Any, trans: int = 0, overwrite_b: bool = False, check_finite: bool = True) -> Any:
    """x such that ``a @ x = b``, from what `lu_factor` gives on nodes."""
    both, order = lu_and_piv
    b = floating(b)
    if b.ndim == 1:
        return lu_solve(lu_and_piv, b[:, None], trans)[..., 0]
    if not trans:
        b = np.take_along_axis(b, order[..., None], axis=-2)
        return solve_triangular(both, solve_triangular(both, b, lower=True, unit_diagonal=True))
    y = solve_triangular(both, solve_triangular(both, b, trans=trans), trans=trans, lower=True, unit_diagonal=True)
    return np.take_along_axis(y, np.argsort(order, axis=-1)[..., None], axis=-2)


@implements(scipy.linalg.solve_banded)
def solve_banded(
    l_and_u: tuple, ab: Any, b: Any, overwrite_ab: bool = False, overwrite_b: bool = False, check_finite: bool = True
) -> Any:
    """x such that ``a @ x = b``, with the diagonals of a in rows: ``ab[u + i - j, j] = a[i, j]``."""
    (below, above), ab, b = l_and_u, floating(ab), floating(b)
    if ab.shape[-2] != below + above + 1:
        raise ShapeError(
            "scipy.linalg.solve_banded: the number of rows of ab",
            got=short(ab),
            rule=f"l + u + 1 = {below + above + 1}",
            fix="a row for each diagonal, from the upmost to the lowest",
        )
    return _columns(lambda ab, b: functions.solve_banded(ab, b, lower=int(below), upper=int(above)), ab, b)


@implements(scipy.linalg.solve_sylvester)
def solve_sylvester(a: Any, b: Any, q: Any) -> Any:
    """x such that ``a @ x + x @ b = q`` (Bartels and Stewart 1972); its derivative is another such equation."""
    return functions.sylvester(_square("solve_sylvester", a), _square("solve_sylvester", b), floating(q))


@implements(scipy.linalg.solve_continuous_lyapunov)
def solve_continuous_lyapunov(a: Any, q: Any) -> Any:
    """x such that ``a @ x + x @ a^H = q``."""
    a = _square("solve_continuous_lyapunov", a)
    return solve_sylvester(a, adjoint(a), q)


@implements(scipy.linalg.solve_discrete_lyapunov)
def solve_discrete_lyapunov(a: Any, q: Any, method: str | None = None) -> Any:
    """x such that ``a @ x @ a^H - x + q = 0``, through the bilinear transformation to a continuous equation."""
    a, q = _square("solve_discrete_lyapunov", a), floating(q)
    one = np.eye(a.shape[-1], dtype=a.dtype)
    inverse = linalg.inv(adjoint(a) + one)
    b = (adjoint(a) - one) @ inverse
    return functions.sylvester(adjoint(b), b, -2 * linalg.inv(a + one) @ q @ inverse)


@implements(scipy.linalg.solveh_banded)
def solveh_banded(
    ab: Any, b: Any, overwrite_ab: bool = False, overwrite_b: bool = False, lower: bool = False, check_finite: bool = True
) -> Any:
    """x such that ``a @ x = b`` for a positive definite band, of which one half is given."""
    ab = floating(ab)
    k = ab.shape[-2] - 1
    other = np.conj(functions.turned_band(ab, *((k, 0) if lower else (0, k))))  # the same diagonals on the other side
    whole = np.concatenate([other, ab[..., 1:, :]] if lower else [ab, other[..., 1:, :]], axis=-2)
    return solve_banded((k, k), whole, b)


@implements(scipy.linalg.solve_toeplitz)
def solve_toeplitz(c_or_cr: Any, b: Any, check_finite: bool = True) -> Any:
    """x such that ``toeplitz(c, r) @ x = b``; solved as a full matrix."""
    c, r = c_or_cr if isinstance(c_or_cr, tuple) else (c_or_cr, None)
    return linalg.solve(floating(toeplitz(c, r)), b)


@implements(scipy.linalg.inv)
def inv(a: Any, overwrite_a: bool = False, check_finite: bool = True, *, assume_a: Any = None, lower: bool = False) -> Any:
    """The inverse."""
    return linalg.inv(a) if assume_a in (None, "gen", "general") else solve(a, np.eye(a.shape[-1]), lower, assume_a=assume_a)


@implements(scipy.linalg.det)
def det(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """The determinant."""
    return linalg.det(a)


@implements(scipy.linalg.pinv)
def pinv(a: Any, *, atol: Any = None, rtol: Any = None, return_rank: bool = False, check_finite: bool = True) -> Any:
    """The pseudoinverse."""
    if atol is not None or return_rank:
        raise TraceError(
            "scipy.linalg.pinv: this option has no rule in fad", got="atol= or return_rank=", fix="rtol=, np.linalg.matrix_rank"
        )
    return linalg.pinv(a, rtol=rtol)


@implements(scipy.linalg.lstsq)
def lstsq(
    a: Any,
    b: Any,
    cond: Any = None,
    overwrite_a: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
    lapack_driver: Any = None,
) -> tuple:
    """The shortest x with the smallest ``norm(a @ x - b)``; residuals, rank, singular values."""
    return linalg.lstsq(a, b, cond)


@implements(scipy.linalg.norm)
def norm(a: Any, ord: Any = None, axis: Any = None, keepdims: bool = False, check_finite: bool = True) -> Any:
    """The norm of vectors or matrices."""
    return linalg.norm(a, ord, axis, keepdims)


# -- factors -----------------------------------------------------------------------------------------------------------------


@implements(scipy.linalg.qr)
def qr(
    a: Any, overwrite_a: bool = False, lwork: Any = None, mode: str = "full", pivoting: bool = False, check_finite: bool = True
) -> Any:
    """``q @ r = a``; ``mode='economic'`` for the first columns of q alone, 'r' for r alone."""
    names = {"full": "complete", "economic": "reduced", "r": "r"}
    if pivoting or mode not in names:
        raise TraceError(
            f"scipy.linalg.qr: no derivative with mode={mode!r}, pivoting={pivoting}",
            got=short(as_array(a)),
            rule="the factors are those of np.linalg.qr",
            fix="mode='full', 'economic' or 'r', pivoting=False",
        )
    found = linalg.qr(a, "complete" if mode == "r" else names[mode])
    return (found.R,) if mode == "r" else tuple(found)


@implements(scipy.linalg.svd)
def svd(
    a: Any,
    full_matrices: bool = True,
    compute_uv: bool = True,
    overwrite_a: bool = False,
    check_finite: bool = True,
    lapack_driver: str = "gesdd",
) -> Any:
    """``u, s, v^H`` such that ``u @ diag(s) @ v^H = a``."""
    found = linalg.svd(a, full_matrices, compute_uv)
    return tuple(found) if compute_uv else found


@implements(scipy.linalg.svdvals)
def svdvals(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """The singular values."""
    return linalg.svdvals(a)


@implements(scipy.linalg.eigh)
def eigh(
    a: Any,
    b: Any = None,
    *,
    lower: bool = True,
    eigvals_only: bool = False,
    overwrite_a: bool = False,
    overwrite_b: bool = False,
    type: int = 1,
    check_finite: bool = True,
    subset_by_index: Any = None,
    subset_by_value: Any = None,
    driver: Any = None,
) -> Any:
    """Eigenvalues and vectors of hermitian matrices; with ``b``, those of ``a @ v = b @ v diag(w)``, by the factor of b."""
    if subset_by_value is not None or (b is not None and type != 1):
        raise TraceError(
            "scipy.linalg.eigh: this option has no rule in fad", got="subset_by_value= or type=", fix="subset_by_index=, type=1"
        )
    UPLO = "L" if lower else "U"
    if b is None:
        w, v = linalg.eigh(_square("eigh", a), UPLO)
    else:
        a = _square("eigh", a)
        factor = cholesky(_square("eigh", b), lower=lower)
        factor = factor if lower else adjoint(factor)
        whole = _from_triangle(a, lower, adjoint)
        inner = triangular(factor, adjoint(triangular(factor, whole, lower=True)), lower=True)
        w, v = linalg.eigh(inner)
        v = triangular(adjoint(factor), v, lower=False)
    if subset_by_index is not None:
        chosen = slice(subset_by_index[0], subset_by_index[1] + 1)
        w, v = w[..., chosen], v[..., chosen]
    return w if eigvals_only else (w, v)


@implements(scipy.linalg.eigvalsh)
def eigvalsh(a: Any, b: Any = None, *, lower: bool = True, **options: Any) -> Any:
    """The eigenvalues of hermitian matrices."""
    return eigh(a, b, lower=lower, eigvals_only=True, **options)


@implements(scipy.linalg.eig)
def eig(a: Any, b: Any = None, left: bool = False, right: bool = True, **options: Any) -> Any:
    """Eigenvalues, complex, and right eigenvectors."""
    if b is not None or left:
        raise TraceError(
            "scipy.linalg.eig: this option has no rule in fad", got="b= or left=True", fix="eig(solve(b, a)); eig of the transpose"
        )
    w, v = linalg.eig(a)
    w = w.astype(np.result_type(w.dtype, np.complex64))
    return (w, v) if right else w


@implements(scipy.linalg.eigvals)
def eigvals(a: Any, b: Any = None, **options: Any) -> Any:
    """The eigenvalues, complex."""
    return eig(a, b, right=False)


@implements(scipy.linalg.polar)
def polar(a: Any, side: str = "right") -> tuple:
    """``u @ p = a`` with orthonormal u and positive semidefinite p, or ``p @ u``."""
    w, s, vh = linalg.svd(a, full_matrices=False)
    u = w @ vh
    return (u, adjoint(vh) @ (s[..., None] * vh)) if side == "right" else (u, w @ (s[..., None] * adjoint(w)))


# -- functions of matrices -------------------------------------------------------------------------------------------------------


@implements(scipy.linalg.expm)
def expm(A: Any) -> Any:
    """The exponential ``sum A^k / k!`` (Al-Mohy and Higham 2009); its derivative is a block of that of a matrix twice as large.

    >>> import fad
    >>> fad.grad(lambda t: expm(t * np.array([[0.0, 1.0], [0.0, 0.0]]))[0, 1])(1.0)
    np.float64(1.0)
    """
    return functions.expm(_square("expm", A))


@implements(scipy.linalg.logm)
def logm(A: Any, disp: Any = None) -> Any:
    """The principal logarithm."""
    return functions.logm(_square("logm", A))


@implements(scipy.linalg.sqrtm)
def sqrtm(A: Any, disp: Any = None, blocksize: Any = None) -> Any:
    """The principal square root x; ``x dx + dx x = dA``."""
    return functions.sqrtm(_square("sqrtm", A))


@implements(scipy.linalg.expm_frechet)
def expm_frechet(A: Any, E: Any, method: Any = None, compute_expm: bool = True, check_finite: bool = True) -> Any:
    """The exponential and its derivative in a direction."""
    A = _square("expm_frechet", A)
    n = A.shape[-1]
    whole = expm(functions.in_blocks(A, floating(E)))
    return (whole[..., :n, :n], whole[..., :n, n:]) if compute_expm else whole[..., :n, n:]


def _of_complex(A: Any) -> tuple:
    """exp(i A) and exp(-i A), and whether A is real."""
    A = _square("cosm", A)
    return expm(1j * A), expm(-1j * A), A.dtype.kind != "c"


@implements(scipy.linalg.fractional_matrix_power)
def fractional_matrix_power(A: Any, t: Any) -> Any:
    """``A^t = expm(t logm(A))``, for whole t by products; t may be a node."""
    if not isinstance(t, Expr) and t == int(t):
        return linalg.matrix_power(floating(A), int(t))
    return expm(t * logm(A))


@implements(scipy.linalg.cosm)
def cosm(A: Any) -> Any:
    """The cosine of a matrix."""
    e, back, real = _of_complex(A)
    return np.real(e) if real else (e + back) / 2


@implements(scipy.linalg.sinm)
def sinm(A: Any) -> Any:
    """The sine of a matrix."""
    e, back, real = _of_complex(A)
    return np.imag(e) if real else (e - back) / 2j


@implements(scipy.linalg.tanm)
def tanm(A: Any) -> Any:
    """The tangent of a matrix."""
    return linalg.solve(cosm(A), sinm(A))


@implements(scipy.linalg.coshm)
def coshm(A: Any) -> Any:
    """The hyperbolic cosine of a matrix."""
    return (expm(A) + expm(-floating(A))) / 2


@implements(scipy.linalg.sinhm)
def sinhm(A: Any) -> Any:
    """The hyperbolic sine of a matrix."""
    return (expm(A) - expm(-floating(A))) / 2


@implements(scipy.linalg.tanhm)
def tanhm(A: Any) -> Any:
    """The hyperbolic tangent of a matrix."""
    return linalg.solve(coshm(A), sinhm(A))


# -- matrices made of others -------------------------------------------------------------------------------------------------------


@implements(scipy.linalg.block_diag)
def block_diag(*arrs: Any) -> Any:
    """Matrices along a diagonal, and zeros."""
    blocks = [np.atleast_2d(as_array(a)) for a in arrs]
    width = sum(a.shape[1] for a in blocks)
    rows, at = [], 0
    for a in blocks:
        rows.append(np.pad(a, ((0, 0), (at, width - at - a.shape[1]))))
        at += a.shape[1]
    return np.concatenate(rows, axis=0)


@implements(scipy.linalg.toeplitz)
def toeplitz(c: Any, r: Any = None) -> Any:
    """The matrix whose element i, j is ``c[i - j]``, or ``r[j - i]`` above the diagonal."""
    c = np.ravel(as_array(c))
    r = np.conj(c) if r is None else np.ravel(as_array(r))
    line = np.concatenate([c[::-1], r[1:]])
    return line[len(c) - 1 - np.arange(len(c))[:, None] + np.arange(len(r))]


@implements(scipy.linalg.circulant)
def circulant(c: Any) -> Any:
    """The matrix whose element i, j is ``c[(i - j) % n]``."""
    c = as_array(c)
    n = c.shape[-1]
    return c[..., (np.arange(n)[:, None] - np.arange(n)) % n]


@implements(scipy.linalg.hankel)
def hankel(c: Any, r: Any = None) -> Any:
    """The matrix whose element i, j is ``c[i + j]``, then r after its first."""
    c = np.ravel(as_array(c))
    r = np.zeros(c.shape, c.dtype) if r is None else np.ravel(as_array(r))
    line = np.concatenate([c, r[1:]])
    return line[np.arange(len(c))[:, None] + np.arange(len(r))]


@implements(scipy.linalg.khatri_rao)
def khatri_rao(a: Any, b: Any) -> Any:
    """Kronecker products of columns."""
    a, b = as_array(a), as_array(b)
    y = a[..., :, None, :] * b[..., None, :, :]
    return np.reshape(y, (*y.shape[:-3], y.shape[-3] * y.shape[-2], y.shape[-1]))


# -- refused on purpose ----------------------------------------------------------------------------------------------------------

REFUSED = {
    "funm": ("it calls a function of one's own on a Schur form", "expm, logm, sqrtm or eigh"),
    "signm": ("it is constant where it has a derivative by eigenvalues", "a @ inv(sqrtm(a @ a))"),
    "schur": ("its order of eigenvalues jumps, and repeated ones have no derivative", "eig, or solve_sylvester"),
    "qz": ("its order of eigenvalues jumps, and repeated ones have no derivative", "eigh(a, b) or eig"),
    "hessenberg": ("its reflections are an intermediate of eigenvalues, not unique", "eig"),
    "rq": ("it is qr of the reversed matrix", "qr(a[::-1].T)"),
    "ldl": ("its pivots of 2 x 2 jump", "cholesky or lu"),
    "orth": ("a basis is not unique; only its space has a derivative", "svd, or the projector a @ pinv(a)"),
    "null_space": ("a basis is not unique; only its space has a derivative", "the projector 1 - pinv(a) @ a"),
}  # name: why, and what to use


def _refuse(name: str) -> None:
    why, fix = REFUSED[name]

    def rule(*args: Any, **options: Any) -> Any:
        raise TraceError(f"scipy.linalg.{name} has no derivative in fad", got=", ".join(map(short, args)), rule=why, fix=fix)

    rule.__name__ = name
    implements(getattr(scipy.linalg, name))(rule)


for _name in REFUSED:
    _refuse(_name)


def __getattr__(name: str) -> Any:
    """What has no rule is SciPy's."""
    return getattr(scipy.linalg, name)
