"""NumPy's names for arrays and nodes alike.

``np.sin(node)`` works by itself; this module adds what NumPy cannot dispatch (constructors, lists of nodes) under
the same names, and is NumPy itself where no node is involved. Importing it registers every rule.

>>> from fad import numpy as fnp
>>> fnp.sum([1.0, 2.0])
np.float64(3.0)
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from numpy import (
    arange,
    bool_,
    complex64,
    complex128,
    dtype,
    e,
    empty,
    euler_gamma,
    eye,
    finfo,
    float16,
    float32,
    float64,
    floating,
    identity,
    iinfo,
    indices,
    inf,
    int8,
    int16,
    int32,
    int64,
    integer,
    intp,
    nan,
    ndarray,
    newaxis,
    number,
    ones,
    pi,
    tri,
    uint8,
    uint16,
    uint32,
    uint64,
    zeros,
)

from fad.core.expr import FUNCTIONS as _FUNCTIONS
from fad.numpy import elementwise as _elementwise
from fad.numpy.at import at
from fad.numpy.calculus import diff, ediff1d, gradient, interp, polyval, trapezoid, unwrap
from fad.numpy.create import (
    array,
    asarray,
    astype,
    copy,
    empty_like,
    full,
    full_like,
    linspace,
    logspace,
    meshgrid,
    ones_like,
    vander,
    zeros_like,
)
from fad.numpy.einsum import einsum
from fad.numpy.elementwise import (
    allclose,
    angle,
    around,
    array_equal,
    array_equiv,
    clip,
    divmod,
    fix,
    i0,
    imag,
    isclose,
    iscomplex,
    iscomplexobj,
    isneginf,
    isposinf,
    isreal,
    isrealobj,
    modf,
    nan_to_num,
    piecewise,
    real,
    result_type,
    round,
    select,
    sinc,
    where,
)
from fad.numpy.index import argwhere, choose, compress, extract, flatnonzero, getitem, ix_, nonzero, take, take_along_axis
from fad.numpy.join import (
    append,
    array_split,
    block,
    column_stack,
    concat,
    concatenate,
    delete,
    dsplit,
    dstack,
    hsplit,
    hstack,
    insert,
    repeat,
    roll,
    split,
    stack,
    tile,
    unstack,
    vsplit,
    vstack,
)
from fad.numpy.order import (
    argpartition,
    argsort,
    bincount,
    digitize,
    median,
    nanmedian,
    partition,
    percentile,
    quantile,
    searchsorted,
    sort,
)
from fad.numpy.pad import pad
from fad.numpy.products import convolve, correlate, cross, dot, inner, kron, matmul, matvec, outer, tensordot, vdot, vecdot, vecmat
from fad.numpy.reduce import (
    all,
    amax,
    amin,
    any,
    argmax,
    argmin,
    average,
    count_nonzero,
    cumprod,
    cumsum,
    cumulative_prod,
    cumulative_sum,
    logsumexp,
    max,
    mean,
    min,
    nancumprod,
    nancumsum,
    nanmax,
    nanmean,
    nanmin,
    nanprod,
    nanstd,
    nansum,
    nanvar,
    prod,
    ptp,
    std,
    sum,
    var,
)
from fad.numpy.shape import (
    atleast_1d,
    atleast_2d,
    atleast_3d,
    broadcast_arrays,
    broadcast_to,
    diag,
    diagflat,
    diagonal,
    expand_dims,
    flip,
    fliplr,
    flipud,
    matrix_transpose,
    moveaxis,
    ndim,
    permute_dims,
    ravel,
    reshape,
    rollaxis,
    rot90,
    shape,
    size,
    squeeze,
    swapaxes,
    trace,
    transpose,
    tril,
    triu,
)
from fad.numpy import ufuncs as _ufuncs  # their options and methods
from fad.numpy.apply import apply_along_axis
from fad.numpy.histogram import histogram
from fad.numpy.polynomials import polyadd, polyder, polyfit, polyint, polymul, polysub
from fad.numpy.statistics import corrcoef, cov
from fad.primitives import special as _special  # with its whole package: scipy.special's ufuncs find records there

# sin, add, maximum, ...: every ufunc with a rule
globals().update({_name: getattr(_elementwise, _name) for _name in _elementwise.UFUNC_NAMES})

_LATER = ("fft", "linalg")  # with many records, which load at first use


def _rule_of(function: Callable) -> Any:
    """The rule of a NumPy function whose module was not loaded yet; None where there is none."""
    home, _, name = function.__module__.rpartition(".")
    if home == "numpy" and name in _LATER:
        importlib.import_module(f"fad.numpy.{name}")
    return _FUNCTIONS.get(function)


def _other_ufunc(*call: Any) -> Any:
    """A call of a ufunc that is not NumPy's."""
    return importlib.import_module("fad.numpy.foreign").apply(*call)


_FUNCTIONS["later"], _FUNCTIONS["other ufunc"] = _rule_of, _other_ufunc


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return importlib.import_module(f"fad.numpy.{name}")
    raise AttributeError(f"module 'fad.numpy' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LATER])
