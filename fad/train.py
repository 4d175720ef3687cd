"""Training loops, each short enough to be written by hand where `fit` does too little.

A training step is the few lines of `make_step`; `fit` calls it for every minibatch, keeps a history and shows
progress.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fad import optim, random, transforms, tree
from fad.errors import NonFiniteError, OutOfRangeError, ShapeError
from fad.jit import jit
from fad.layer import Layer
from fad.optim import Optimizer

__all__ = ["FitResult", "accuracy", "evaluate", "fit", "make_step", "minibatches", "predict"]

Metric = Callable[[Any, Any], Any]


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

    def objective(params: Any, state: Any, x: Any, y: Any, key: Any) -> Any:
        outputs, state = layer.apply(params, state, x, key=key, train=True)
        return loss(outputs, y), (state, outputs)

    gradient = transforms.value_and_grad(objective, has_aux=True)

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
    arrays = tuple(np.asarray(a) for a in arrays)
    n, size = _common_length(arrays), _at_least_one("batch_size", batch_size)
    return _slices(random.permutation(key, n), arrays, size, n - n % size if drop_last else n)


def _slices(order: np.ndarray, arrays: tuple, size: int, stop: int) -> Iterator[tuple]:
    for start in range(0, stop, size):
        rows = order[start : min(start + size, stop)]
        yield tuple(a[rows] for a in arrays)


def predict(layer: Layer, params: Any, state: Any, x: Any, batch_size: int = 256) -> np.ndarray:
    """layer(x) in evaluation mode, batch_size rows at a time so that memory stays bounded.

    >>> from fad import stax
    >>> predict(stax.Relu, {}, {}, np.array([[-1.0], [2.0]]))
    array([[0.],
           [2.]])
    """
    x, size = _like_params(np.asarray(x), params), _at_least_one("batch_size", batch_size)
    starts = range(0, max(len(x), 1), size)
    return np.concatenate([layer.apply(params, state, x[i : i + size])[0] for i in starts])


def evaluate(
    layer: Layer, loss: Callable, params: Any, state: Any, data: Any, metrics: Sequence[Metric] = ()
) -> dict[str, float]:
    """Loss and metrics of layer(x) on data = (x, y), in evaluation mode.

    >>> from fad import losses, stax
    >>> evaluate(stax.Identity, losses.mean_squared_error, {}, {}, (np.zeros((2, 1)), np.ones((2, 1))))
    {'loss': 1.0}
    """
    x, y = data
    _common_length((x, y))
    outputs = predict(layer, params, state, x)
    y = _like_params(np.asarray(y), params)
    return {"loss": float(loss(outputs, y))} | {_name(m): float(m(outputs, y)) for m in metrics}


def accuracy(logits: Any, labels: Any) -> Any:
    """Share of rows whose largest logit is at the label; logits (n, classes), labels (n,) or one-hot rows.

    For two classes logits (n,) or (n, 1) count as class 1 where positive, labels of the same shape.
    Raises: ShapeError where the shapes do not fit.

    >>> accuracy(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1]))
    np.float64(0.5)
    """
    logits, labels = np.asarray(logits), np.asarray(labels)
    if labels.shape == logits.shape and (logits.ndim == 1 or logits.shape[-1] == 1):
        return np.mean((logits > 0) == (labels > 0.5))
    if labels.shape == logits.shape:
        labels = np.argmax(labels, axis=-1)
    if labels.shape != logits.shape[:-1]:
        raise ShapeError(
            "accuracy: labels do not fit the logits",
            got=f"shapes {labels.shape} and {logits.shape}",
            rule=f"labels are integers of shape {logits.shape[:-1]} or one-hot rows of shape {logits.shape}",
        )
    return np.mean(np.argmax(logits, axis=-1) == labels)


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
        shown = {k: v[-1] for k, v in self.history.items() if v and k not in ("batch_loss", "seconds")}
        parts = [
            f"{len(self.history['seconds'])} epochs in {sum(self.history['seconds']):.1f} s",
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
    key: Any,
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
        validation: a pair like data, evaluated after every epoch.
        metrics: functions (outputs, y) -> number, recorded under their names beside the loss;
            by default `accuracy` where y holds integer class labels, else none.
        progress: a tqdm bar, or a printed line for each epoch where tqdm is not installed.
        dtype: of the parameters; float arrays of the data are cast to it once.
        compiled: the step runs as native code, by `fad.jit`. False for a layer or loss whose Python code branches on
            values; the loss is checked on the first batch without it in either case.

    An interrupt from the keyboard ends training and returns what was reached.
    Raises: NonFiniteError naming epoch and batch when the loss is NaN or infinite; ShapeError for x and y of
    different lengths or without rows; OutOfRangeError for epochs or batch_size below 1.

    >>> from fad import losses, stax
    >>> x = np.linspace(-1, 1, 64)[:, None]
    >>> result = fit(stax.Dense(1), losses.mean_squared_error, optim.adam(0.1), (x, 3 * x + 1),
    ...              key=random.key(0), epochs=100, progress=False)
    >>> round(float(result.params["w"][0, 0]), 1), round(float(result.params["b"][0]), 1)
    (3.0, 1.0)
    """
    init_key, epoch_key = random.split(key, 2)
    x, y = (np.asarray(a) for a in data)
    steps, _ = _plan(_common_length((x, y)), _at_least_one("batch_size", batch_size))
    metrics = _default_metrics(y) if metrics is None else metrics

    params, state = layer.init(init_key, (-1, *x.shape[1:]), dtype)
    data = _like_params(x, params), _like_params(y, params)
    step = make_step(layer, loss, optimizer)
    if compiled:
        rows = slice(min(len(x), batch_size))
        loss(predict(layer, params, state, data[0][rows]), data[1][rows])  # its errors name what is wrong with the data
        step = jit(step, donate=(0, 1, 2))  # parameters, state and the optimizer's are this loop's own
    result = FitResult(params, state, optimizer.init(params), defaultdict(list))
    with _Progress(_at_least_one("epochs", epochs) * steps, progress) as bar:
        try:
            for epoch, this_key in enumerate(random.split(epoch_key, epochs), start=1):
                bar.epoch = f"epoch {epoch}/{epochs}"
                scores = _train_epoch(step, result, data, this_key, batch_size, metrics, bar)
                if validation is not None:
                    held_out = evaluate(layer, loss, result.params, result.state, validation, metrics)
                    scores |= {f"validation_{name}": value for name, value in held_out.items()}
                bar.end_epoch(scores)
                for name, value in scores.items():
                    result.history[name].append(value)
        except KeyboardInterrupt:
            result.interrupted = True
    result.history = dict(result.history)
    return result


def _train_epoch(
    step: Callable,
    result: FitResult,
    data: tuple,
    key: Any,
    batch_size: int,
    metrics: Sequence[Metric],
    bar: Any,
) -> dict[str, float]:
    """One pass over the data, which moves `result` on; returns the mean scores as seen while training."""
    start, seen, totals = time.perf_counter(), 0, defaultdict(float)
    shuffle_key, step_key = random.split(key, 2)
    steps, drop_last = _plan(len(data[0]), batch_size)
    batches = minibatches(shuffle_key, data, batch_size, drop_last)
    for batch, ((x, y), key) in enumerate(zip(batches, random.split(step_key, steps)), start=1):
        *after, value, outputs = step(result.params, result.state, result.opt_state, x, y, key)
        if not np.isfinite(value):
            raise _not_finite(value, f"{bar.epoch}, batch {batch}", x, y)
        result.params, result.state, result.opt_state = after
        result.history["batch_loss"].append(float(value))
        seen += len(x)
        totals["loss"] += float(value) * len(x)
        for metric in metrics:
            totals[_name(metric)] += float(metric(outputs, y)) * len(x)
        bar.advance({name: total / seen for name, total in totals.items()})
    return {name: total / seen for name, total in totals.items()} | {"seconds": time.perf_counter() - start}


def _plan(rows: int, batch_size: int) -> tuple[int, bool]:
    """(steps in an epoch, drop_last): a single row left over is left out, for batch norm's sake."""
    drop_last = rows > batch_size and rows % batch_size == 1
    return rows // batch_size if drop_last else -(-rows // batch_size), drop_last


def _not_finite(value: Any, where: str, x: np.ndarray, y: np.ndarray) -> NonFiniteError:
    clean = all(np.all(np.isfinite(a)) for a in (x, y) if a.dtype.kind == "f")
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
        self.epoch, self.enabled, self.bar, self.held_out = "", enabled, None, {}
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
            self.bar.set_postfix(
                self.held_out | _rounded({k: v for k, v in scores.items() if k != "seconds"})
            )
        if self.enabled and self.bar is None:
            line = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in _rounded(scores).items())
            sys.stdout.write(f"{self.epoch}: {line}\n")
            sys.stdout.flush()


def _rounded(scores: dict[str, float]) -> dict[str, str]:
    return {name: f"{value:.4f}" for name, value in scores.items()}


def _name(metric: Metric) -> str:
    return getattr(metric, "__name__", type(metric).__name__)


def _default_metrics(y: np.ndarray) -> Sequence[Metric]:
    return (accuracy,) if y.dtype.kind in "iu" else ()


def _like_params(a: np.ndarray, params: Any) -> np.ndarray:
    """A float array in the dtype of the parameters, so that a step neither promotes nor casts."""
    dtypes = {leaf.dtype for leaf in tree.leaves(params)}
    return a.astype(dtypes.pop(), copy=False) if a.dtype.kind == "f" and len(dtypes) == 1 else a


def _common_length(arrays: Sequence) -> int:
    lengths = {len(a) for a in arrays}
    if len(lengths) != 1:
        raise ShapeError(
            "arrays of a data set differ in length",
            got=[len(a) for a in arrays],
            rule="row i of each belongs to example i",
        )
    if lengths == {0}:
        raise ShapeError("an empty data set", got="0 rows", rule="there must be at least one example")
    return lengths.pop()


def _at_least_one(name: str, value: Any) -> int:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
        raise OutOfRangeError(name, got=repr(value), rule="it is an integer of at least 1")
    return int(value)
