"""Functions of matrices and equations with structure that SciPy computes: expm, logm, sqrtm, Sylvester's equation, bands, lu."""

from __future__ import annotations

import warnings
from importlib import import_module
from math import prod
from typing import Any

import numpy as np

from fad.core.primitive import ByMode, Jvp, Kink, LinearIn, Primitive
from fad.primitives.solve import (
    divide_by_upper,
    draw,
    map_matrices,
    of_matrices,
    solve_triangular,
    square,
    square_abstract,
    swap,
    well_conditioned,
)

__all__ = ["expm", "in_blocks", "logm", "lu_parts", "solve_banded", "sqrtm", "sylvester", "turned_band"]


def in_blocks(a: Any, e: Any) -> Any:
    """[[a, e], [0, a]]: a function of it has the function's derivative in the direction e in the place of e."""
    shape = np.broadcast_shapes(a.shape, e.shape)
    a, e = np.broadcast_to(a, shape), np.broadcast_to(e, shape)
    zero = np.zeros(shape, np.result_type(a.dtype, e.dtype))
    return np.concatenate([np.concatenate([a, e], -1), np.concatenate([zero, a], -1)], -2)


def derivative_of(name: str, f: Any) -> Primitive:
    """The record of the derivative of f at a matrix in a direction, linear in this: a block of f of a matrix twice as large, and so
    is its own derivative (Higham 2008, theorem 3.6)."""

    def evaluate(a: Any, e: Any) -> Any:
        n = a.shape[-1]
        return f(in_blocks(a, e))[..., :n, n:]

    def push(tangents: dict, guarded: bool, out: Any, a: Any, e: Any) -> Any:
        n = a.shape[-1]
        by_e = primitive(a, tangents[1]) if 1 in tangents else 0
        if 0 not in tangents:
            return by_e
        return by_e + primitive(in_blocks(a, e), in_blocks(tangents[0], np.zeros_like(e)))[..., :n, n:]

    def pull(ct: Any, active: tuple, guarded: bool, out: Any, a: Any, e: Any) -> list:
        n, found = a.shape[-1], []
        for k in active:
            if k == 1:
                found.append(primitive(swap(a), ct))
                continue
            whole = primitive(swap(in_blocks(a, e)), in_blocks(np.zeros(ct.shape, ct.dtype), ct))
            found.append(whole[..., :n, :n] + whole[..., n:, n:])
        return found

    primitive: Primitive = of_matrices(
        name,
        evaluate,
        _pair_abstract,
        ByMode(push, pull),
        lambda out, a, e: 160 * prod(a.shape) * a.shape[-1],
        sample=lambda rng, shape, dtype: ((a := well_conditioned(rng, shape[-1:], dtype), draw(rng, a.shape, dtype)), {}),
        source="Higham 2008, theorem 3.6",
    )
    return primitive


def _pair_abstract(a: Any, e: Any) -> tuple:
    square(a)
    return np.broadcast_shapes(a.shape, e.shape), np.result_type(a.dtype, e.dtype)


def _moderate(rng: np.random.Generator, shape: tuple, dtype: Any) -> tuple:
    return (well_conditioned(rng, shape, dtype),), {}


def _principal(name: str) -> Any:
    """A function whose result is real for real matrices, or NaN."""

    def evaluate(a: Any) -> Any:
        function, exact = getattr(import_module("scipy.linalg"), name), a.astype(np.result_type(a.dtype, np.float64))
        with warnings.catch_warnings(action="ignore"):  # of inaccuracy, which a singular matrix's NaN tells
            y = map_matrices(function, (a.shape, np.result_type(exact, np.complex128)), (exact, 2))
        if a.dtype.kind == "c":
            return y.astype(a.dtype)
        small = np.abs(y.imag) <= 1e3 * np.finfo(a.dtype).eps * np.abs(y).max(axis=(-2, -1), keepdims=True, initial=0)
        return np.where(np.all(small | (y.imag == 0), axis=(-2, -1), keepdims=True), y.real, np.nan).astype(a.dtype)

    return evaluate


def _expm(a: Any) -> Any:
    return import_module("scipy.linalg").expm(a) if a.size else a.copy()


_logm = _principal("logm")
expm_derivative, logm_derivative = derivative_of("expm_derivative", _expm), derivative_of("logm_derivative", _logm)

expm: Primitive = of_matrices(
    "expm",
    _expm,
    square_abstract,
    Jvp(lambda t, out, a: expm_derivative(a, t[0])),
    lambda out, a: 20 * prod(a.shape) * a.shape[-1],
    sample=_moderate,
    source="Al-Mohy and Higham 2009; derivative: Higham 2008, theorem 3.6",
)
logm: Primitive = of_matrices(
    "logm",
    _logm,
    square_abstract,
    Jvp(lambda t, out, a: logm_derivative(a, t[0])),
    lambda out, a: 50 * prod(a.shape) * a.shape[-1],
    sample=_moderate,
    kinks=(Kink("real matrices with eigenvalues <= 0", "nan", "the principal logarithm is not real there"),),
    source="Al-Mohy and Higham 2012; derivative: Higham 2008, theorem 3.6",
)


sqrtm: Primitive = of_matrices(
    "sqrtm",
    _principal("sqrtm"),
    square_abstract,
    Jvp(lambda t, x, a: sylvester(x, x, t[0])),
    lambda out, a: 30 * prod(a.shape) * a.shape[-1],
    sample=_moderate,
    kinks=(
        Kink("singular matrices", "nan", "the slope is infinite"),
        Kink("real matrices with eigenvalues < 0", "nan", "no real root"),
    ),
    source="Björck and Hammarling 1983; x dx + dx x = da",
)


# -- equations -----------------------------------------------------------------------------------------------------------------


def _sylvester_abstract(a: Any, b: Any, q: Any) -> tuple:
    square(a)
    square(b)
    if q.shape[-2:] != (a.shape[-1], b.shape[-1]):
        raise ValueError(f"a @ x + x @ b has shape {(a.shape[-1], b.shape[-1])}, q has {q.shape[-2:]}")
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2], q.shape[:-2])
    return (*lead, *q.shape[-2:]), np.result_type(a.dtype, b.dtype, q.dtype)


def _sylvester_effect(t: dict, x: Any, a: Any, b: Any, q: Any) -> Any:
    by_a = t[0] @ x if 0 in t else 0
    return -(by_a + (x @ t[1] if 1 in t else 0))


def _sylvester_sample(rng: np.random.Generator, shape: tuple, dtype: Any) -> tuple:
    a, b = (well_conditioned(rng, shape, dtype) for _ in range(2))
    return (a, b, draw(rng, a.shape, dtype)), {}


def _sylvester(a: Any, b: Any, q: Any) -> Any:
    shape, dtype = _sylvester_abstract(a, b, q)
    if not prod(shape) or not all(np.all(np.isfinite(x)) for x in (a, b, q)):
        return np.full(shape, np.nan, dtype)
    with np.errstate(all="ignore"):
        x = map_matrices(import_module("scipy.linalg").solve_sylvester, (shape, dtype), (a, 2), (b, 2), (q, 2))
        size = np.max(np.abs(a @ x), (-2, -1)) + np.max(np.abs(x @ b), (-2, -1)) + np.max(np.abs(q), (-2, -1))
        wrong = np.max(np.abs(a @ x + x @ b - q), (-2, -1)) > 1e-3 * size  # what LAPACK gives where there is no solution
    return np.where(wrong[..., None, None], np.nan, x).astype(dtype)


sylvester: Primitive = of_matrices(
    "sylvester",
    _sylvester,
    _sylvester_abstract,
    LinearIn(2, lambda ct, a, b, q: sylvester(swap(a), swap(b), ct), _sylvester_effect),
    lambda x, a, b, q: 25 * prod(x.shape) * (a.shape[-1] + b.shape[-1]),
    sample=_sylvester_sample,
    source="Bartels and Stewart 1972; a dx + dx b = dq - da x - x db",
)


def _band(ab: Any, lower: int, upper: int) -> Any:
    """The whole matrix of bands."""
    n = ab.shape[-1]
    i, j = np.arange(n)[:, None], np.arange(n)
    row = upper + i - j
    inside = (row >= 0) & (row < lower + upper + 1)
    return np.where(inside, ab[..., np.where(inside, row, 0), j], 0)


def _solve_banded(ab: Any, b: Any, *, lower: int, upper: int) -> Any:
    solver = import_module("scipy.linalg").solve_banded
    return map_matrices(lambda ab, b: solver((lower, upper), ab, b), _banded_abstract(ab, b), (ab, 2), (b, 2))


def _banded_abstract(ab: Any, b: Any, **params: Any) -> tuple:
    if ab.shape[-1] != b.shape[-2]:
        raise ValueError(f"{ab.shape[-1]} unknowns, and {b.shape[-2]} rows on the right side")
    return (*np.broadcast_shapes(ab.shape[:-2], b.shape[:-2]), *b.shape[-2:]), np.result_type(ab.dtype, b.dtype)


def turned_band(ab: Any, lower: int, upper: int) -> Any:
    """The rows of the transpose: the k-th diagonal above becomes the k-th below."""
    n, rows = ab.shape[-1], []
    for r in range(lower + upper + 1):
        shift = upper - r  # this row of ab is the diagonal j - i = shift, which is i - j = shift of the transpose
        row = ab[..., r, :]
        zero = np.zeros((*row.shape[:-1], min(abs(shift), n)), row.dtype)
        rows.append(np.concatenate([row[..., shift:], zero], -1) if shift >= 0 else np.concatenate([zero, row[..., :shift]], -1))
    return np.stack(rows[::-1], axis=-2)


def _banded_sample(rng: np.random.Generator, shape: tuple, dtype: Any) -> tuple:
    n = 4
    ab = draw(rng, (*shape[:-1], 4, n), dtype) * 0.2
    ab[..., 1, :] += 2
    return (ab, draw(rng, (*shape[:-1], n, 2), dtype)), {"lower": 2, "upper": 1}


solve_banded: Primitive = of_matrices(
    "solve_banded",
    _solve_banded,
    _banded_abstract,
    LinearIn(
        1,
        lambda ct, ab, b, *, lower, upper: solve_banded(turned_band(ab, lower, upper), ct, lower=upper, upper=lower),
        lambda t, x, ab, b, *, lower, upper: -(_band(t[0], lower, upper) @ x),
    ),
    lambda x, ab, b: 4 * prod(x.shape) * ab.shape[-2],
    sample=_banded_sample,
    source="LAPACK's gbsv; a dx = db - da x",
)


# -- lu --------------------------------------------------------------------------------------------------------------------------


def _lu_parts(a: Any) -> Any:
    m, n = a.shape[-2:]
    if not a.size:
        return np.zeros((*a.shape[:-1], n + 1), a.dtype)
    order, l, u = import_module("scipy.linalg").lu(a, p_indices=True)
    k = min(m, n)
    both = np.zeros_like(a)
    both[..., :k] += np.tril(l, -1)
    both[..., :k, :] += np.triu(u)
    inverse = np.argsort(order, axis=-1)  # p[order] = a's rows: l u = a[inverse]
    return np.concatenate([inverse[..., None].astype(a.dtype), both], axis=-1)


def _lu_tangent(tangents: dict, out: Any, a: Any) -> Any:
    """Of square and wide matrices by l^-1 da u^-1; a tall one is a wide one transposed, but for the pivots."""
    m, n = a.shape[-2:]
    k = min(m, n)
    order, both = np.real(out[..., :1]).astype(int), out[..., 1:]
    t = np.take_along_axis(tangents[0], np.broadcast_to(order, tangents[0].shape), axis=-2)
    l = np.tril(both[..., :k, :k], -1) + np.eye(k, dtype=a.dtype)
    u = np.triu(both[..., :k, :k])
    x = divide_by_upper(solve_triangular(l, t[..., :k, :k], lower=True), u)
    dl, du = l @ np.tril(x, -1), np.triu(x) @ u
    head = dl + du
    if m > k:  # l2 = a2 u^-1
        l2 = both[..., k:, :k]
        dl2 = divide_by_upper(t[..., k:, :k] - l2 @ du, u)
        head = np.concatenate([head, dl2], axis=-2)
    if n > k:  # u2 = l^-1 a2
        u2 = both[..., :, k:]
        head = np.concatenate([head, solve_triangular(l, t[..., :, k:] - dl @ u2, lower=True)], axis=-1)
    return np.concatenate([np.zeros(order.shape, a.dtype), head], axis=-1)


def _lu_sample(rng: np.random.Generator, shape: tuple, dtype: Any) -> tuple:
    a = well_conditioned(rng, shape, dtype)
    cut = int(rng.integers(3))
    return (a[..., 1:, :] if cut == 1 and a.shape[-1] > 1 else a[..., 1:] if cut == 2 and a.shape[-1] > 1 else a,), {}


lu_parts: Primitive = of_matrices(
    "lu_parts",
    _lu_parts,
    lambda a: ((*a.shape[:-1], a.shape[-1] + 1), a.dtype),
    Jvp(_lu_tangent),
    lambda out, a: prod(a.shape) * min(a.shape[-2:]) * 2 // 3,
    sample=_lu_sample,
    kinks=(Kink("where rows change places", "that of the order at hand", "elsewhere the factors jump"),),
    source="l^-1 p^T da u^-1, lower and upper part (de Hoog, Anderssen and Lukas 2011)",
)
