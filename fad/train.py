"""Training loops, each short enough to be written by hand where `fit` does too little.

A training step is the few lines of `make_step`; `fit` calls it for every minibatch, keeps a history and shows
progress. Inputs, outputs and targets are arrays, or tuples and dicts of arrays where a net takes or puts out several:
row i of each belongs to example i. A list is one array.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from fad import losses, optim, random, tree
from fad.compile.jit import jit
from fad.core.expr import short
from fad.core.options import count, function, numbers
from fad.errors import DtypeError, KeyMissingError, NonFiniteError, OutOfRangeError, ShapeError, TreeError
from fad.optim import Optimizer
from fad.stax.layer import Layer
from fad.transforms.derivatives import value_and_grad

__all__ = ["FitResult", "accuracy", "evaluate", "fit", "make_step", "minibatches", "predict"]

Metric = Callable[[Any, Any], Any] | tuple[str, Callable[[Any, Any], Any]]


def make_step(layer: Layer, loss: Callable, optimizer: Optimizer) -> Callable:
    """step(params, state, opt_state, x, y, key) -> (params, state, opt_state, loss value, outputs).

    >>> from fad import losses, stax
    >>> net, optimizer = stax.Dense(1), optim.sgd(0.5)
    >>> params, state = net.init(random.key(0), (-1, 1), np.float64)
    >>> step = make_step(net, losses.mean_squared_error, optimizer)
    >>> x = np.array([[0.0], [1.0]])
    >>> before = step(params, state, optimizer.init(params), x, 2 * x, None)
    >>> after = step(*before[:3], x, 2 * x, None)
    >>> bool(after[3] < before[3])
    True
    """

    _check_parts("make_step", layer, loss, optimizer)

    def objective(params: Any, state: Any, x: Any, y: Any, key: Any) -> Any:
        outputs, state = layer.apply(params, state, x, key=key, train=True)
        return loss(outputs, y), (state, outputs)

    gradient = value_and_grad(objective, has_aux=True)

    def step(params: Any, state: Any, opt_state: Any, x: Any, y: Any, key: Any) -> tuple:
        (value, (state, outputs)), grads = gradient(params, state, x, y, key)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optim.apply_updates(params, updates), state, opt_state, value, outputs

    return step


def minibatches(key: Any, arrays: Sequence, batch_size: int, drop_last: bool = False) -> Iterator[tuple]:
    """The rows of all arrays in one random order, batch_size at a time: an iterator of tuples of arrays.

    The last batch holds what is left over, unless drop_last.
    Raises: ShapeError for arrays of different lengths, OutOfRangeError for a batch_size below 1.

    >>> [len(x) for x, y in minibatches(random.key(0), (np.arange(5), np.arange(5)), 2)]
    [2, 2, 1]
    """
    if not isinstance(arrays, tuple | list):
        arrays = (arrays,)
    arrays = tuple(map(_arrays, arrays))
    n, size = _common_length(arrays), count("batch_size", batch_size)
    return _slices(random.permutation(key, n), arrays, size, n - n % size if drop_last else n)


def _slices(order: np.ndarray, arrays: tuple, size: int, stop: int) -> Iterator[tuple]:
    for start in range(0, stop, size):
        yield _rows(arrays, order[start : min(start + size, stop)])


def predict(layer: Layer, params: Any, state: Any, x: Any, batch_size: int = 256) -> Any:
    """layer(x) in evaluation mode, batch_size rows at a time so that memory stays bounded: arrays as the net puts out.

    >>> from fad import stax
    >>> predict(stax.Relu, {}, {}, np.array([[-1.0], [2.0]]))
    array([[0.],
           [2.]])
    """
    x, size = _like_params(_arrays(x), params), count("batch_size", batch_size)
    n = _length(x)
    pieces = [layer.apply(params, state, _rows(x, slice(i, i + size)))[0] for i in range(0, max(n, 1), size)]
    if any(not np.ndim(leaf) for leaf in tree.leaves(pieces)):
        raise ShapeError("predict: an output without rows", got=short(pieces[0]), rule="outputs begin with the batch axis",
                         fix="let the layer keep one row for each example")  # fmt: skip
    return tree.map(lambda *parts: np.concatenate(parts), *pieces)


def evaluate(layer: Layer, loss: Callable, params: Any, state: Any, data: Any, metrics: Sequence[Metric] = ()) -> dict[str, float]:
    """Loss and metrics of layer(x) on data = (x, y), in evaluation mode.

    >>> from fad import losses, stax
    >>> evaluate(stax.Identity, losses.mean_squared_error, {}, {}, (np.zeros((2, 1)), np.ones((2, 1))))
    {'loss': 1.0}
    """
    scores = _named(metrics)
    x, y = _data("evaluate: data", data)
    outputs = predict(layer, params, state, x)
    y = _like_params(y, params)
    scores = {"loss": function("evaluate: loss", loss, _LOSS_FIX, arguments=2)} | scores
    return {name: _score(name, score(outputs, y)) for name, score in scores.items()}


def accuracy(logits: Any, labels: Any) -> Any:
    """Share of rows whose largest logit is at the label; logits (n, classes), labels (n,) or one-hot rows.

    For two classes logits (n,) or (n, 1) count as class 1 where positive; labels are 0 and 1, (n,) or (n, 1).
    Raises: ShapeError where the shapes do not fit, OutOfRangeError for labels outside the classes.

    >>> accuracy(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1]))
    np.float64(0.5)
    """
    logits, labels = numbers("accuracy: logits", logits), numbers("accuracy: labels", labels)
    if not labels.size:
        raise ShapeError("accuracy: no labels", got=f"shape {labels.shape}", rule="the share of none is none",
                         fix="pass at least one example")  # fmt: skip
    one_logit = logits.shape[-1:] == (1,) and labels.shape == logits.shape[:-1]
    if one_logit or (labels.shape == logits.shape and _is_binary(logits)):
        _check_range(labels, 2)
        return np.mean((logits > 0).ravel() == (labels > 0.5).ravel())
    if labels.shape == logits.shape and logits.ndim:
        labels = np.argmax(labels, axis=-1)
    if not logits.ndim or labels.shape != logits.shape[:-1]:
        raise ShapeError(
            "accuracy: labels do not fit the logits",
            got=f"shapes {labels.shape} and {logits.shape}",
            rule=f"labels are integers of shape {logits.shape[:-1]} or one-hot rows of shape {logits.shape}",
            fix="labels.reshape(...); a net with one output for each class",
        )
    _check_range(labels, logits.shape[-1])
    return np.mean(np.argmax(logits, axis=-1) == labels)


def _is_binary(labels: np.ndarray) -> bool:
    return labels.ndim == 1 or labels.shape[-1:] == (1,)


def _check_range(labels: np.ndarray, classes: int) -> None:
    if not np.all((labels >= 0) & (labels < classes)):
        raise OutOfRangeError("accuracy: labels", got=f"values from {labels.min()} to {labels.max()}",
                              rule=f"0 <= label < {classes}", fix="number the classes from 0")  # fmt: skip


@dataclass
class FitResult:
    """What `fit` returns: parameters and state as `predict` wants them, and how they came about.

    history holds lists: for each epoch "loss", "seconds", the metrics and the same with "validation_" before;
    for each step "batch_loss".
    """

    params: Any
    state: Any
    opt_state: Any
    history: dict[str, list[float]]
    interrupted: bool = False

    def __repr__(self) -> str:
        seconds = self.history.get("seconds", [])  # there is none after an interrupt in the first epoch
        shown = {k: v[-1] for k, v in self.history.items() if v and k not in ("batch_loss", "seconds")}
        parts = [
            f"{len(seconds)} epochs in {sum(seconds):.1f} s",
            *(f"{name.replace('_', ' ')} {value:.4g}" for name, value in shown.items()),
            f"{sum(np.size(leaf) for leaf in tree.leaves(self.params))} parameters",
        ]
        return f"FitResult({', '.join(parts)}{', interrupted' if self.interrupted else ''})"


def fit(
    layer: Layer,
    loss: Callable,
    optimizer: Optimizer,
    data: Any,
    *,
    key: Any = None,
    epochs: int,
    batch_size: int = 64,
    validation: Any = None,
    metrics: Sequence[Metric] | None = None,
    progress: bool = True,
    dtype: Any = np.float32,
    compiled: bool = True,
) -> FitResult:
    """Minimises the mean of loss(layer(x), y) over shuffled minibatches of data = (x, y).

    Args:
        key: of the starting parameters, the order of rows and dropout.
        validation: a pair like data, evaluated after every epoch.
        metrics: functions (outputs, y) -> number, recorded under their names beside the loss, or pairs (name, function);
            by default `accuracy` where the loss is a cross-entropy of this library and y holds integer labels, else none.
        progress: a tqdm bar, or a printed line for each epoch where tqdm is not installed.
        dtype: of the parameters; float arrays of the data are cast to it once.
        compiled: the step runs as native code, by `fad.jit`. False for a layer or loss whose Python code branches on
            values; the loss is checked on the first batch without it in either case.

    An interrupt from the keyboard ends training and returns what was reached.
    Raises: NonFiniteError naming epoch and batch when the loss is NaN or infinite; ShapeError for x and y of
    different lengths or without rows; OutOfRangeError for epochs or batch_size below 1; DtypeError for what is no layer,
    loss, optimizer or array of numbers.

    >>> from fad import losses, stax
    >>> x = np.linspace(-1, 1, 64)[:, None]
    >>> result = fit(stax.Dense(1), losses.mean_squared_error, optim.adam(0.1), (x, 3 * x + 1),
    ...              key=random.key(0), epochs=100, progress=False)
    >>> round(float(result.params["w"][0, 0]), 1), round(float(result.params["b"][0]), 1)
    (3.0, 1.0)
    """
    _check_parts("fit", layer, loss, optimizer)
    if key is None:
        raise KeyMissingError("fit: key", got=None, rule="starting parameters and the order of rows are drawn with it",
                              fix="key=fad.random.key(0)")  # fmt: skip
    init_key, epoch_key = random.split(key, 2)
    epochs, batch_size = count("epochs", epochs), count("batch_size", batch_size)
    x, y = _data("fit: data", data)
    held_out = None if validation is None else _data("fit: validation", validation)
    scores = _named(_default_metrics(loss, y) if metrics is None else metrics)
    steps, _ = _plan(_common_length((x, y)), batch_size)

    params, state = layer.init(init_key, _shapes(x), dtype)
    data = _like_params(x, params), _like_params(y, params)
    step = make_step(layer, loss, optimizer)
    if compiled:
        first_x, first_y = _rows(data, slice(batch_size))
        _score("fit: the loss", loss(predict(layer, params, state, first_x), first_y))  # errors name what is wrong with the data
        step = jit(step, donate=(0, 1, 2))  # parameters, state and the optimizer's are this loop's own
    result = FitResult(params, state, optimizer.init(params), defaultdict(list))
    with _Progress(epochs * steps, progress) as bar:
        try:
            for epoch, this_key in enumerate(random.split(epoch_key, epochs), start=1):
                bar.epoch = f"epoch {epoch}/{epochs}"
                reached = _train_epoch(step, result, data, this_key, batch_size, scores, bar)
                if held_out is not None:
                    found = evaluate(layer, loss, result.params, result.state, held_out, tuple(scores.items()))
                    reached |= {f"validation_{name}": value for name, value in found.items()}
                bar.end_epoch(reached)
                for name, value in reached.items():
                    result.history[name].append(value)
        except KeyboardInterrupt:
            result.interrupted = True
    result.history = dict(result.history)
    return result


def _train_epoch(
    step: Callable, result: FitResult, data: tuple, key: Any, batch_size: int, metrics: dict[str, Callable], bar: Any
) -> dict[str, float]:
    """One pass over the data, which moves `result` on; returns the mean scores as seen while training."""
    start, seen = time.perf_counter(), 0
    totals: defaultdict[str, float] = defaultdict(float)
    shuffle_key, step_key = random.split(key, 2)
    steps, drop_last = _plan(_common_length(data), batch_size)
    batches = minibatches(shuffle_key, data, batch_size, drop_last)
    for batch, ((x, y), key) in enumerate(zip(batches, random.split(step_key, steps)), start=1):
        *after, value, outputs = step(result.params, result.state, result.opt_state, x, y, key)
        if not np.isfinite(value):
            raise _not_finite(value, f"{bar.epoch}, batch {batch}", x, y)
        result.params, result.state, result.opt_state = after
        result.history["batch_loss"].append(float(value))
        rows = _common_length((x, y))
        seen += rows
        totals["loss"] += float(value) * rows
        for name, metric in metrics.items():
            totals[name] += _score(name, metric(outputs, y)) * rows
        bar.advance({name: total / seen for name, total in totals.items()})
    return {name: total / seen for name, total in totals.items()} | {"seconds": time.perf_counter() - start}


def _plan(rows: int, batch_size: int) -> tuple[int, bool]:
    """(steps in an epoch, drop_last): a single row left over is left out, for batch norm's sake."""
    drop_last = rows > batch_size and rows % batch_size == 1
    return rows // batch_size if drop_last else -(-rows // batch_size), drop_last


def _not_finite(value: Any, where: str, x: Any, y: Any) -> NonFiniteError:
    clean = all(np.all(np.isfinite(a)) for a in tree.leaves((x, y)) if a.dtype.kind == "f")
    return NonFiniteError(
        f"fit: the loss in {where}",
        got=value,
        rule="training cannot go on from there" if clean else "this batch itself holds NaN or infinity",
        fix="a smaller learning rate, optim.chain(optim.clip_norm(1.0), ...), standardised inputs"
        if clean
        else "clean the data; np.isfinite(x) finds the rows",
    )


class _Progress:
    """A tqdm bar over all steps with scores, or a line for each epoch; silent if not enabled."""

    def __init__(self, steps: int, enabled: bool):
        self.epoch, self.enabled, self.bar = "", enabled, None
        self.held_out: dict[str, str] = {}
        if enabled:
            try:
                from tqdm import tqdm
            except ImportError:
                return
            self.bar = tqdm(total=steps, unit="step", dynamic_ncols=True)

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def advance(self, scores: dict[str, float]) -> None:
        if self.bar is not None:
            self.bar.set_description(self.epoch, refresh=False)
            self.bar.set_postfix(self.held_out | _rounded(scores), refresh=False)
            self.bar.update()

    def end_epoch(self, scores: dict[str, float]) -> None:
        self.held_out = _rounded({k: v for k, v in scores.items() if k.startswith("validation_")})
        if self.bar is not None:
            self.bar.set_postfix(self.held_out | _rounded({k: v for k, v in scores.items() if k != "seconds"}))
        if self.enabled and self.bar is None:
            line = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in _rounded(scores).items())
            sys.stdout.write(f"{self.epoch}: {line}\n")
            sys.stdout.flush()


def _rounded(scores: dict[str, float]) -> dict[str, str]:
    return {name: f"{value:.4f}" for name, value in scores.items()}


# Metrics


def _named(metrics: Any) -> dict[str, Callable]:
    """Metrics by the names under which the history holds them."""
    if callable(metrics) or not isinstance(metrics, Sequence) or isinstance(metrics, str):
        raise DtypeError("metrics", got=repr(metrics), rule="they are a list of functions (outputs, y) -> number",
                         fix="metrics=[train.accuracy]")  # fmt: skip
    named: dict[str, Callable] = {}
    for metric in metrics:
        pair = metric if isinstance(metric, tuple) and len(metric) == 2 else (getattr(metric, "__name__", None), metric)
        name = pair[0] or type(metric).__name__
        function(f"metrics: {name}", pair[1], "metrics=[train.accuracy]", arguments=2)
        if name in named or name in ("loss", "batch_loss", "seconds") or name.startswith("validation_"):
            raise TreeError("metrics: a name that is taken", got=repr(name),
                            rule="each has a name of its own, not that of the loss, of seconds or of the validation",
                            fix='give it a name: metrics=[("top_5", function), ...]')  # fmt: skip
        named[name] = pair[1]
    return named


def _default_metrics(loss: Callable, y: Any) -> Sequence[Metric]:
    """`accuracy` for a classification: the loss says that it is one, for counts are integers as well."""
    while isinstance(loss, partial):
        loss = loss.func
    if not isinstance(y, np.ndarray) or y.dtype.kind not in "iu":
        return ()
    return (accuracy,) if loss is losses.cross_entropy or (loss is losses.binary_cross_entropy and _is_binary(y)) else ()


def _score(name: str, value: Any) -> float:
    array = np.asarray(value)
    if array.shape != () or array.dtype.kind not in "biuf":
        raise ShapeError(f"{name} is not one real number", got=short(value), rule="a score of a batch is a number",
                         fix='reduction="mean", or np.mean of it')  # fmt: skip
    return float(array)


# What is wrong with the arguments


_LOSS_FIX = "fad.losses.cross_entropy, or a function (outputs, y) -> number"


def _check_parts(caller: str, layer: Any, loss: Any, optimizer: Any) -> None:
    if not (callable(getattr(layer, "init", None)) and callable(getattr(layer, "apply", None))):
        raise DtypeError(f"{caller}: not a layer", got=repr(layer), rule="a layer has init and apply, as those of fad.stax",
                         fix="stax.serial(stax.Dense(10), stax.Relu, ...)")  # fmt: skip
    function(f"{caller}: loss", loss, _LOSS_FIX, arguments=2)
    optim.check_optimizer(caller, optimizer)


def _data(name: str, data: Any) -> tuple[Any, Any]:
    """The pair (x, y) as arrays."""
    if not isinstance(data, tuple | list) or len(data) != 2:
        got = f"{len(data)} items" if isinstance(data, tuple | list) else short(data)
        raise TreeError(f"{name} is not a pair", got=got, rule="it is (x, y): inputs and targets, all rows of them",
                        fix="(x, y); np.concatenate(list(batches)) makes arrays of a generator")  # fmt: skip
    x, y = map(_arrays, data)
    _common_length((x, y))
    return x, y


def _arrays(data: Any) -> Any:
    """A tuple or dict of arrays, or one array: of numbers in lists as well."""
    if type(data) is dict:
        return {name: _arrays(a) for name, a in data.items()}
    if type(data) is tuple and any(map(np.ndim, tree.leaves(data))):
        return tuple(map(_arrays, data))
    as_numbers = partial(numbers, "data")
    return as_numbers(data) if isinstance(data, tuple | list) else tree.map(as_numbers, data)


def _rows(data: Any, rows: Any) -> Any:
    return tree.map(lambda a: a[rows], data)


def _shapes(x: Any) -> Any:
    """The shapes of x with a batch axis of any length, as `Layer.init` takes them."""
    return tree.map(lambda a: (-1, *a.shape[1:]), x)


def _like_params(data: Any, params: Any) -> Any:
    """Float arrays in the dtype of the parameters, so that a step neither promotes nor casts."""
    dtypes = {leaf.dtype for leaf in map(np.asarray, tree.leaves(params)) if leaf.dtype.kind == "f"}
    dtype = dtypes.pop() if len(dtypes) == 1 else None
    return tree.map(lambda a: a.astype(dtype, copy=False) if dtype is not None and a.dtype.kind == "f" else a, data)


def _length(data: Any) -> int:
    """The number of examples."""
    leaves = tree.leaves(data)
    if not leaves or not all(map(np.ndim, leaves)):
        raise ShapeError("data without rows", got=", ".join(map(short, leaves)) or "nothing",
                         rule="each array has one row for each example", fix="np.array([...])")  # fmt: skip
    lengths = [len(a) for a in leaves]
    if len(set(lengths)) != 1:
        raise ShapeError("arrays of a data set differ in length", got=lengths, rule="row i of each belongs to example i",
                         fix="the same rows in each; several inputs or targets go in a tuple")  # fmt: skip
    return lengths[0]


def _common_length(data: Any) -> int:
    length = _length(data)
    if not length:
        raise ShapeError("an empty data set", got="0 rows", rule="there must be at least one example",
                         fix="look at what selected the rows")  # fmt: skip
    return length
