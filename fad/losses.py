"""Losses of a batch, computed stably from what a net puts out.

Every loss takes `reduction`: "mean" (over all its terms), "sum" or "none" (one term per
example, or per element). Shapes must agree: (n, 1) against (n,) would broadcast to (n, n), so it raises.
Integer targets take the dtype of the predictions. The mean of no terms raises.
"""

import math
from typing import Any

import numpy as np

from fad import nn, tree
from fad.core.expr import Expr, short
from fad.core.options import number, numbers, weak
from fad.errors import DtypeError, OutOfRangeError, ShapeError

__all__ = [
    "mean_squared_error", "mean_absolute_error", "gaussian_nll",
    "binary_cross_entropy", "cross_entropy", "l1", "l2",
]  # fmt: skip


def mean_squared_error(predictions: Any, targets: Any, reduction: str = "mean") -> Any:
    """mean (p - t)^2 over all elements; both float arrays of one shape.

    Raises: ShapeError if the shapes differ.

    >>> mean_squared_error(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    np.float64(2.0)
    """
    predictions, targets = _same_shape("mean_squared_error", predictions=predictions, targets=targets)
    return _reduce(np.square(predictions - targets), reduction)


def mean_absolute_error(predictions: Any, targets: Any, reduction: str = "mean") -> Any:
    """mean |p - t| over all elements; both float arrays of one shape.

    Raises: ShapeError if the shapes differ.

    >>> mean_absolute_error(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    np.float64(1.0)
    """
    predictions, targets = _same_shape("mean_absolute_error", predictions=predictions, targets=targets)
    return _reduce(np.abs(predictions - targets), reduction)


def gaussian_nll(mean: Any, log_var: Any, target: Any, reduction: str = "mean") -> Any:
    """-log N(target; mean, exp(log_var)) = (log(2 pi) + log_var + (target - mean)^2 / exp(log_var)) / 2.

    The logarithm of the variance is what a net should put out: any number is valid and no variance is ever 0.
    A scale s is log_var = 2 log(s). All three arrays have one shape; log_var may also be a scalar.
    Raises: ShapeError if the shapes differ.

    >>> gaussian_nll(np.zeros(2), np.zeros(2), np.zeros(2))
    np.float64(0.9189385332046727)
    """
    mean, target = _same_shape("gaussian_nll", mean=mean, target=target)
    if np.ndim(log_var):
        log_var, _ = _same_shape("gaussian_nll", log_var=log_var, mean=mean)
    else:
        log_var = weak(np.asarray(0.0) + number("gaussian_nll: log_var", log_var), mean)
    terms = 0.5 * (log_var + np.square(target - mean) * np.exp(-log_var) + math.log(2 * math.pi))
    return _reduce(terms, reduction)


def binary_cross_entropy(logits: Any, labels: Any, reduction: str = "mean") -> Any:
    """-y log sigmoid(z) - (1 - y) log(1 - sigmoid(z)), elementwise, from logits z and labels y in [0, 1].

    Written as y softplus(-z) + (1 - y) softplus(z): exact to the last digits for |z| of any finite size.
    Raises: ShapeError if the shapes differ, OutOfRangeError for labels outside [0, 1].

    >>> binary_cross_entropy(np.array([0.0, 800.0]), np.array([1, 1]), reduction="none")
    array([0.69314718, 0.        ])
    """
    logits, labels = _same_shape("binary_cross_entropy", logits=logits, labels=labels)
    known = _value(labels)
    if known is not None and not np.all((known >= 0) & (known <= 1)):
        raise OutOfRangeError(
            "binary_cross_entropy: labels",
            got=f"values from {known.min()} to {known.max()}",
            rule="a label is a probability, 0 <= y <= 1",
            fix="map the two classes to 0 and 1: labels > 0",
        )
    labels = labels.astype(logits.dtype)
    return _reduce(labels * nn.softplus(-logits) + (1 - labels) * nn.softplus(logits), reduction)


def cross_entropy(logits: Any, labels: Any, reduction: str = "mean") -> Any:
    """-sum_c q_c log softmax(z)_c for each row of logits z (..., classes); the mean is over rows.

    Args:
        labels: integers (...) in [0, classes), or rows of probabilities q (..., classes), e.g. one-hot.
    Raises: ShapeError if the shapes do not fit, DtypeError for class labels that are no integers,
    OutOfRangeError for labels outside the classes and rows that are no probabilities (these not under jit).

    >>> cross_entropy(np.array([[2.0, 0.0], [0.0, 0.0]]), np.array([0, 1]), reduction="none")
    array([0.12692801, 0.69314718])
    """
    logits, labels = _float(_numbers("cross_entropy: logits", logits)), _as_array(labels)
    if labels.shape == logits.shape[:-1] and logits.ndim:
        labels = _in_classes(labels, logits.shape[-1])
        rows = -np.take_along_axis(nn.log_softmax(logits, axis=-1), labels[..., None], axis=-1)[..., 0]
    elif labels.shape == logits.shape and logits.ndim:
        labels = _numbers("cross_entropy: labels", labels).astype(logits.dtype)
        _check_probabilities(labels)
        log_p = nn.log_softmax(logits, axis=-1)
        # A class of probability 0 contributes nothing, even where its logit is -inf. Elsewhere nothing is masked: at a
        # label of 0 the slope by the label is -log p.
        rows = -np.sum(labels * np.where((labels == 0) & (log_p == -np.inf), 0, log_p), axis=-1)
    else:
        raise ShapeError(
            "cross_entropy: labels do not fit the logits",
            got=f"shapes {labels.shape} and {logits.shape}",
            rule=f"labels are integers of shape {logits.shape[:-1]} or probabilities of shape {logits.shape}",
            fix="labels.reshape(...), or give the net one output for each class",
        )
    return _reduce(rows, reduction)


def l1(params: Any) -> Any:
    """sum |p| over every float leaf of a pytree: the penalty of the lasso.

    >>> l1({"w": np.array([1.0, -2.0]), "b": np.array([0.5])})
    np.float64(3.5)
    """
    return sum(np.sum(np.abs(p)) for p in _float_leaves(params))


def l2(params: Any) -> Any:
    """sum p^2 over every float leaf of a pytree: the penalty of ridge regression (no factor 1/2).

    >>> l2({"w": np.array([1.0, -2.0]), "b": np.array([0.5])})
    np.float64(5.25)
    """
    return sum(np.sum(np.square(p)) for leaf in _float_leaves(params) for p in _parts(leaf))


def _float_leaves(params: Any) -> list[Any]:
    return [p for p in map(_as_array, tree.leaves(params)) if np.issubdtype(p.dtype, np.inexact)]


def _parts(p: Any) -> tuple:
    """Real and imaginary part of a complex array."""
    return (p.real, p.imag) if p.dtype.kind == "c" else (p,)


def _reduce(terms: Any, reduction: str) -> Any:
    match reduction:
        case "mean":
            if not terms.size:
                raise ShapeError("the mean of no terms", got=f"shape {terms.shape}", rule="it would be NaN",
                                 fix='pass at least one example, or reduction="sum"')  # fmt: skip
            return np.mean(terms)
        case "sum":
            return np.sum(terms)
        case "none":
            return terms
    raise OutOfRangeError("reduction", got=repr(reduction), rule='it is one of "mean", "sum", "none"', fix='reduction="mean"')


def _as_array(x: Any) -> Any:
    """Lists and numbers become ndarrays; ndarrays and nodes stay what they are."""
    return x if hasattr(x, "dtype") else np.asarray(x)


def _value(x: Any) -> Any:
    """The numbers of an array or node; None where they are not known yet."""
    return x.value if isinstance(x, Expr) else x


def _numbers(what: str, x: Any) -> Any:
    """x as an array of real numbers."""
    if isinstance(x, tuple | list | dict) and any(getattr(leaf, "shape", ()) for leaf in tree.leaves(x)):
        raise DtypeError(f"{what} are several arrays", got=f"a {type(x).__name__} of {len(x)}", rule="a loss compares two",
                         fix="lambda outputs, y: mean_squared_error(outputs[0], y[0]) + ..., one for each output")  # fmt: skip
    x = numbers(what, x)
    if x.dtype.kind == "c":
        raise DtypeError(f"{what} are not real", got=short(x), rule="losses compare real numbers", fix="x.real, or np.abs(x)")
    return x


def _float(x: Any, dtype: Any = np.float64) -> Any:
    """Integers as floats."""
    return x if x.dtype.kind == "f" else x.astype(dtype)


def _same_shape(loss: str, **arrays: Any) -> list[Any]:
    """Two arrays of one shape as floats; integers take the dtype of the other."""
    a_name, b_name = arrays
    a, b = (_numbers(f"{loss}: {name}", x) for name, x in arrays.items())
    if a.shape != b.shape:
        raise ShapeError(
            f"{loss}: {a_name} and {b_name} differ in shape",
            got=f"{a.shape} and {b.shape}",
            rule="they are compared element by element, without broadcasting",
            fix=f"{b_name}.reshape({a_name}.shape), or {a_name}[..., 0] to drop an axis of length 1",
        )
    dtypes = [x.dtype for x in (a, b) if x.dtype.kind == "f"] or [np.float64]
    return [_float(a, dtypes[0]), _float(b, dtypes[0])]


def _in_classes(labels: Any, classes: int) -> Any:
    """Class labels, checked; those that are not known yet so that one out of range is one for indexing too."""
    if not np.issubdtype(labels.dtype, np.integer):
        raise DtypeError(
            "cross_entropy: class labels",
            got=labels.dtype,
            rule="they are integers",
            fix="labels.astype(int), or rows of probabilities of the shape of the logits",
        )
    known = _value(labels)
    if known is not None and known.size and not (known.min() >= 0 and known.max() < classes):
        raise OutOfRangeError(
            "cross_entropy: class labels",
            got=f"values from {known.min()} to {known.max()}",
            rule=f"0 <= label < {classes} for logits of {classes} classes",
            fix="number the classes from 0, or give the net more outputs",
        )
    if known is not None:
        return labels
    labels = labels.astype(np.int64)
    return np.where(labels < 0, classes, labels)


def _check_probabilities(labels: Any) -> None:
    known = _value(labels)
    if known is None or (np.all(known >= 0) and np.allclose(np.sum(known, axis=-1), 1, atol=1e-3)):
        return
    raise OutOfRangeError(
        "cross_entropy: labels of the shape of the logits", got="a row that is negative or does not sum to 1",
        rule="each row is a probability distribution over the classes",
        fix="labels / labels.sum(axis=-1, keepdims=True), or integer class labels",
    )  # fmt: skip
