"""The functional face of what nets are made of: dense, convolution, pooling, activations.

Arrays are (N, *spatial, channels). Everything takes arrays and nodes alike, float32 and float64.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

import fad.numpy as fnp
from fad.core.expr import Expr, short
from fad.core.options import count, weak
from fad.errors import DtypeError, OutOfRangeError, ShapeError
from fad.primitives import conv as _conv
from fad.primitives import pooling as _pooling
from fad.primitives import special
from fad.primitives.dense import dense as _dense
from fad.primitives.index import gather as _gather
from fad.primitives.windows import crop, extend, padding_pairs, per_axis, spread

__all__ = [
    "dense",
    "conv",
    "conv_transpose",
    "max_pool",
    "avg_pool",
    "relu",
    "leaky_relu",
    "elu",
    "gelu",
    "sigmoid",
    "silu",
    "log_sigmoid",
    "softplus",
    "tanh",
    "softmax",
    "log_softmax",
    "logsumexp",
    "one_hot",
]


def _arrays(name: str, *given: Any) -> list:
    """Arguments as arrays of one float dtype: that of the floats among them; integers have no say beside one."""
    xs = [x if isinstance(x, Expr) else np.asarray(x) for x in given]
    for x in xs:
        if x.dtype.kind not in "fiub":
            raise DtypeError(f"{name}: not real", got=short(x), rule="float32 or float64", fix="pass real arrays")
    dtype = np.result_type(np.float32, *([x.dtype for x in xs if x.dtype.kind == "f"] or [x.dtype for x in xs]))
    return [x if x.dtype == dtype else x.astype(dtype) for x in xs]


def dense(x: Any, w: Any, b: Any = None) -> Any:
    """y[..., j] = sum_i x[..., i] w[i, j] + b[j].

    Args:
        x: (..., n) float array. w: (n, m). b: (m,) or None.
    Returns: (..., m), dtype promoted.
    Raises: ShapeError where the sizes do not fit.

    >>> dense(np.ones((2, 3)), np.ones((3, 1)), np.ones(1))
    array([[4.],
           [4.]])
    """
    if b is None:
        x, w = _arrays("dense", x, w)
    else:
        x, w, b = _arrays("dense", x, w, b)
    if len(w.shape) != 2 or not x.shape or x.shape[-1] != w.shape[0] or (b is not None and b.shape != w.shape[1:]):
        raise ShapeError(
            "dense: sizes do not fit",
            got=", ".join(short(v) for v in (x, w, b) if v is not None),
            rule="x is (..., n), w (n, m), b (m,)",
            fix="check the layer's input size",
        )
    rows = np.reshape(x, (prod(x.shape[:-1]), x.shape[-1]))
    y = np.matmul(rows, w) if b is None else _dense(rows, w, b)
    return np.reshape(y, (*x.shape[:-1], w.shape[1]))


def _conv_sizes(name: str, x: Any, w: Any, groups: Any) -> tuple[int, int]:
    """Number of spatial axes and of groups."""
    n, groups = len(w.shape) - 2, count(f"{name}: groups", groups)
    if n not in (1, 2, 3) or len(x.shape) != n + 2:
        raise ShapeError(
            f"{name}: wrong number of axes",
            got=f"x {short(x)}, w {short(w)}",
            rule="x is (N, *spatial, C), w (*window, C / groups, O), with 1, 2 or 3 spatial axes",
            fix="add the missing axis, e.g. x[..., None] for one channel",
        )
    if w.shape[-1] % groups or 0 in w.shape[:-2]:
        raise ShapeError(
            f"{name}: groups or window do not fit",
            got=f"w {short(w)}, groups={groups}",
            rule="groups divides the output channels; windows are not empty",
            fix="change groups",
        )
    return n, groups


def conv(x: Any, w: Any, strides: Any = 1, padding: Any = "SAME", dilation: Any = 1, groups: int = 1) -> Any:
    """y[n, p, o] = sum_{k, c} x[n, stride p + dilation k - low, c] w[k, c, o], zeros outside x.

    Args:
        x: (N, *spatial, C), with 1, 2 or 3 spatial axes. w: (*window, C / groups, O).
        strides, dilation: an integer or one for each spatial axis.
        padding: "SAME" (output ceil(size / stride)), "VALID", an integer, or for each axis an integer or a pair (low, high);
            negative padding crops x.
        groups: channels are split into this many groups, each with its own O / groups outputs.
    Returns: (N, *output, O), dtype promoted.
    Raises: ShapeError where sizes do not fit.

    Images with channels first go in as the view np.transpose(x, (0, 2, 3, 1)), which is read where it lies, as fast as channels
    last where it was measured. Results have channels last.

    Windows of 3 x 3 that move by one, with many channels, are computed as Winograd's F(2 x 2, 3 x 3), and so are both
    gradients: a result's rounding error is then relative to the largest product in its window.

    >>> conv(np.ones((1, 3, 3, 1)), np.ones((3, 3, 1, 1)))[0, :, :, 0]
    array([[4., 6., 4.],
           [6., 9., 6.],
           [4., 6., 4.]])
    """
    x, w = _arrays("conv", x, w)
    n, groups = _conv_sizes("conv", x, w, groups)
    if x.shape[-1] != w.shape[-2] * groups:
        raise ShapeError(
            "conv: channels do not fit",
            got=f"x {short(x)}, w {short(w)}, groups={groups}",
            rule=f"x has {x.shape[-1]} channels, w takes {w.shape[-2] * groups}",
            fix="check the layer before",
        )
    strides, dilation = per_axis("conv: strides", strides, n), per_axis("conv: dilation", dilation, n)
    x, padding = crop("conv", x, padding_pairs("conv: padding", padding, x.shape[1:-1], w.shape[:-2], strides, dilation))
    return _conv.conv(x, w, strides=strides, padding=padding, dilation=dilation, groups=groups)


def conv_transpose(x: Any, w: Any, strides: Any = 1, padding: Any = "SAME", dilation: Any = 1, groups: int = 1) -> Any:
    """The transpose of `conv` by its input: y such that sum(y z) = sum(x conv(z, w^T)), for upsampling.

    Args:
        x: (N, *spatial, C). w: (*window, O / groups, C): the weights of the convolution from O to C channels that this
            one transposes. Other arguments as for `conv`; "SAME" gives size * stride, "VALID" the full extent. Padding
            cuts from the full extent, and where it is negative adds zeros to it.
    Returns: (N, *output, O).

    >>> conv_transpose(np.ones((1, 2, 1)), np.ones((2, 1, 1)), strides=2)[0, :, 0]
    array([1., 1., 1., 1.])
    """
    x, w = _arrays("conv_transpose", x, w)
    n, groups = _conv_sizes("conv_transpose", x, w, groups)
    if x.shape[-1] != w.shape[-1]:
        raise ShapeError(
            "conv_transpose: channels do not fit",
            got=f"x {short(x)}, w {short(w)}",
            rule="w is (*window, O / groups, C) with the C of x",
            fix="swap the last two axes of w",
        )
    strides, dilation = per_axis("conv_transpose: strides", strides, n), per_axis("conv_transpose: dilation", dilation, n)
    spatial, padding, zeros = spread("conv_transpose: padding", padding, x.shape[1:-1], w.shape[:-2], strides, dilation)
    y = _conv.conv_input_grad(
        x,
        w,
        input_shape=(x.shape[0], *spatial, w.shape[-2] * groups),
        strides=strides,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )
    return extend(y, zeros)


def _pool_geometry(name: str, x: Any, window: Any, strides: Any, padding: Any) -> tuple[Any, dict]:
    (x,) = _arrays(name, x)
    n = len(x.shape) - 2
    if n not in (1, 2, 3):
        raise ShapeError(
            f"{name}: wrong number of axes",
            got=short(x),
            rule="x is (N, *spatial, C) with 1 to 3 spatial axes",
            fix="add the missing axis, e.g. x[..., None] for one channel",
        )
    window = per_axis(f"{name}: window", window, n)
    strides = window if strides is None else per_axis(f"{name}: strides", strides, n)
    x, padding = crop(name, x, padding_pairs(f"{name}: padding", padding, x.shape[1:-1], window, strides, (1,) * n))
    if any(low >= k or high >= k for (low, high), k in zip(padding, window, strict=True)):
        raise ShapeError(
            f"{name}: padding is larger than the window",
            got=f"padding={padding}, window={window}",
            rule="a window must touch x",
            fix="use less padding",
        )
    return x, {"window": window, "strides": strides, "padding": padding}


def max_pool(x: Any, window: Any = (2, 2), strides: Any = None, padding: Any = "VALID") -> Any:
    """y[n, p, c] = max_k x[n, stride p + k - low, c] over a window; the gradient goes to the first maximum.

    Args:
        x: (N, *spatial, C). window: an integer or one for each spatial axis. strides: default, the window.
        padding: as for `conv`; padded places never win.

    >>> max_pool(np.arange(4.0).reshape(1, 2, 2, 1)).ravel()
    array([3.])
    """
    x, geometry = _pool_geometry("max_pool", x, window, strides, padding)
    return _pooling.max_pool(x, **geometry)


def avg_pool(x: Any, window: Any = (2, 2), strides: Any = None, padding: Any = "VALID") -> Any:
    """y[n, p, c] = mean_k x[n, stride p + k - low, c] over the places of a window that lie inside x.

    Arguments as for `max_pool`.

    >>> avg_pool(np.arange(4.0).reshape(1, 2, 2, 1)).ravel()
    array([1.5])
    """
    x, geometry = _pool_geometry("avg_pool", x, window, strides, padding)
    total = _pooling.sum_pool(x, **geometry)
    if not any(map(any, geometry["padding"])):
        return total / prod(geometry["window"])
    return total / _pooling.sum_pool(np.ones((1, *x.shape[1:-1], 1), x.dtype), **geometry)


def relu(x: Any) -> Any:
    """max(x, 0), with derivative 0 at 0.

    >>> relu(np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    return np.maximum(x, 0)


def leaky_relu(x: Any, slope: float = 0.01) -> Any:
    """x where x > 0, slope x elsewhere.

    >>> leaky_relu(np.array([-1.0, 2.0]))
    array([-0.01,  2.  ])
    """
    return np.where(np.greater(x, 0), x, weak(slope, x) * x)


def elu(x: Any, alpha: float = 1.0) -> Any:
    """x where x > 0, alpha (e^x - 1) elsewhere (Clevert, Unterthiner and Hochreiter 2016).

    >>> elu(np.array([-np.inf, 2.0]))
    array([-1.,  2.])
    """
    positive = np.greater(x, 0)
    return np.where(positive, x, weak(alpha, x) * np.expm1(np.where(positive, 0, x)))


def gelu(x: Any) -> Any:
    """x Phi(x) with Phi the normal distribution function, exact, through erf (Hendrycks and Gimpel 2016).

    >>> gelu(0.0)
    np.float64(0.0)
    """
    return 0.5 * x * (1 + special.erf(x * 0.7071067811865476))


def silu(x: Any) -> Any:
    """x sigmoid(x) (Elfwing, Uchibe and Doya 2018).

    >>> silu(0.0)
    np.float64(0.0)
    """
    return x * special.expit(x)


def sigmoid(x: Any) -> Any:
    """1 / (1 + e^-x).

    >>> sigmoid(0.0)
    np.float64(0.5)
    """
    return special.expit(x)


def log_sigmoid(x: Any) -> Any:
    """log sigmoid(x) = -log(1 + e^-x), accurate in both tails.

    >>> log_sigmoid(-800.0)
    np.float64(-800.0)
    """
    return special.log_expit(x)


def softplus(x: Any) -> Any:
    """log(1 + e^x), accurate in both tails.

    >>> softplus(800.0)
    np.float64(800.0)
    """
    return special.softplus(x)


def tanh(x: Any) -> Any:
    """Hyperbolic tangent: `np.tanh`.

    >>> tanh(0.0)
    np.float64(0.0)
    """
    return np.tanh(x)


def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """log sum e^x over ``axis``, without overflow.

    >>> logsumexp(np.array([1000.0, 1000.0]))
    np.float64(1000.6931471805599)
    """
    return fnp.logsumexp(x, axis=axis, keepdims=keepdims)


def log_softmax(x: Any, axis: Any = -1) -> Any:
    """x - log sum e^x over ``axis`` (Blanchard, Higham and Higham 2021).

    >>> log_softmax(np.zeros(2))
    array([-0.69314718, -0.69314718])
    """
    return x - logsumexp(x, axis=axis, keepdims=True)


def softmax(x: Any, axis: Any = -1) -> Any:
    """e^x / sum e^x over ``axis``.

    >>> softmax(np.zeros(2))
    array([0.5, 0.5])
    """
    return np.exp(log_softmax(x, axis))


def one_hot(labels: Any, num_classes: int, dtype: Any = np.float32) -> Any:
    """y[..., k] = 1 where labels[...] == k, else 0.

    Raises: DtypeError for labels that are not integers, OutOfRangeError for labels outside 0 .. num_classes - 1.

    >>> one_hot(np.array([0, 2]), 3)
    array([[1., 0., 0.],
           [0., 0., 1.]], dtype=float32)
    """
    labels = labels if isinstance(labels, Expr) else np.asarray(labels)
    if labels.dtype.kind not in "iu":
        raise DtypeError(
            "one_hot: labels are not integers",
            got=short(labels),
            rule="class numbers 0 .. num_classes - 1",
            fix="labels.astype(int)",
        )
    num_classes = count("one_hot: num_classes", num_classes)
    known = labels.value if isinstance(labels, Expr) else labels
    if known is not None and np.size(known) and (np.min(known) < 0 or np.max(known) >= num_classes):
        raise OutOfRangeError(
            "one_hot: a label is out of range",
            got=f"{np.min(known)} .. {np.max(known)}",
            rule=f"labels lie in 0 .. {num_classes - 1}",
            fix="raise num_classes, or clean the labels",
        )
    if known is None:  # asked when they are known: as an index, which may not be too large
        labels = labels.astype(np.int64)
        labels = _gather(np.arange(num_classes), np.where(labels < 0, num_classes, labels))
    return np.equal(labels[..., None], np.arange(num_classes)).astype(dtype)
