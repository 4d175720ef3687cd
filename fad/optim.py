"""Optimizers: pairs of pure functions that turn gradients into updates.

    optimizer = optim.chain(optim.clip_norm(1.0), optim.adam(1e-3))
    state = optimizer.init(params)
    updates, state = optimizer.update(grads, state, params)
    params = optim.apply_updates(params, updates)

An update is what is added to the parameters. A chain passes the gradients through its links in order;
only a link that takes a learning rate flips the sign, so it stands last. Trees may be any pytrees; a gradient
of None (the leaf was an integer) leaves its parameter alone. Arithmetic stays in the dtype of each gradient,
whatever the dtype of hyperparameters and schedules. For complex parameters pass the conjugates of gradients,
the direction of steepest ascent.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from fad import tree
from fad.core.made import Made, constructor
from fad.core.options import number, weak
from fad.errors import DtypeError, ShapeError, TreeError

Schedule = float | Callable[[Any], Any]

__all__ = [
    "Optimizer", "chain", "apply_updates",
    "sgd", "momentum", "nesterov", "adam",
    "descend", "accumulate", "scale_by_adam", "decay_weights", "clip_norm", "clip",
]  # fmt: skip


@dataclass(frozen=True, eq=False, repr=False)
class Optimizer(Made):
    """A pair of pure functions over pytrees of parameters; prints as the call that made it, and pickles.

    >>> adam(1e-2, b1=0.8)
    adam(0.01, b1=0.8)
    """

    init: Callable[[Any], Any]  # params -> state
    update: Callable[[Any, Any, Any], tuple[Any, Any]]  # (grads, state, params) -> (updates, state)

    def __iter__(self) -> Iterator[Callable]:
        return iter((self.init, self.update))


class AdamState(NamedTuple):
    step: Any  # int64 scalar: updates made so far
    mean: Any  # like params: running mean of the gradient
    square: Any  # like params: running mean of its square


@constructor
def chain(*links: Optimizer) -> Optimizer:
    """The composition of optimizers: each link transforms what the one before it put out; state is a tuple.

    >>> halved = chain(accumulate(0.9), descend(0.1))
    >>> updates, _ = halved.update(np.ones(2), halved.init(np.zeros(2)), np.zeros(2))
    >>> updates
    array([-0.1, -0.1])
    """

    for link in links:
        check_optimizer("chain", link)

    def init(params):
        return tuple(link.init(params) for link in links)

    def update(grads, state, params):
        if not isinstance(state, tuple) or len(state) != len(links):
            raise TreeError(
                "chain: a state of another optimizer",
                got=f"{len(state) if isinstance(state, tuple) else type(state).__name__} parts for {len(links)} links",
                fix="optimizer.init(params) makes the state of this one",
            )
        new_state = []
        for link, link_state in zip(links, state):
            grads, link_state = link.update(grads, link_state, params)
            new_state.append(link_state)
        return grads, tuple(new_state)

    return Optimizer(init, update)


def apply_updates(params: Any, updates: Any) -> Any:
    """params + updates, leaf by leaf, in the dtype of params; where the update is None the parameter is kept.

    >>> apply_updates({"w": np.ones(2), "n": 3}, {"w": np.ones(2), "n": None})
    {'w': array([2., 2.]), 'n': 3}
    """
    return _map(lambda p, u: p if u is None else p + weak(u, p), params, updates)


# Optimizers


@constructor
def sgd(learning_rate: Schedule) -> Optimizer:
    """Gradient descent: u = -learning_rate g. The rate is a number, or a function of the step 0, 1, 2, ...

    >>> updates, _ = sgd(0.5).update(np.array([2.0]), sgd(0.5).init(np.zeros(1)), np.zeros(1))
    >>> updates
    array([-1.])
    """
    return descend(learning_rate)


@constructor
def momentum(learning_rate: Schedule, mass: float = 0.9) -> Optimizer:
    """Heavy ball: v <- mass v + g, u = -learning_rate v.

    Source: Polyak 1964; in this form Sutskever et al. 2013.

    >>> optimizer = momentum(1.0, mass=0.5)
    >>> _, state = optimizer.update(np.array([1.0]), optimizer.init(np.zeros(1)), np.zeros(1))
    >>> optimizer.update(np.array([1.0]), state, np.zeros(1))[0]
    array([-1.5])
    """
    return chain(accumulate(mass), descend(learning_rate))


@constructor
def nesterov(learning_rate: Schedule, mass: float = 0.9) -> Optimizer:
    """Nesterov's momentum: v <- mass v + g, u = -learning_rate (g + mass v): the gradient where v leads.

    Source: Nesterov 1983; in this form Sutskever et al. 2013, section 3 of its appendix.

    >>> optimizer = nesterov(1.0, mass=0.5)
    >>> optimizer.update(np.array([1.0]), optimizer.init(np.zeros(1)), np.zeros(1))[0]
    array([-1.5])
    """
    return chain(accumulate(mass, nesterov=True), descend(learning_rate))


@constructor
def adam(learning_rate: Schedule = 1e-3, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> Optimizer:
    """u = -learning_rate m / (sqrt(v) + eps), m and v the bias-corrected running means of g and g^2.

    Decoupled weight decay (AdamW) is chain(scale_by_adam(), decay_weights(0.01), descend(1e-3)).
    Source: Kingma & Ba 2015, algorithm 1.

    >>> optimizer = adam(0.1)
    >>> optimizer.update(np.array([5.0]), optimizer.init(np.zeros(1)), np.zeros(1))[0]
    array([-0.1])
    """
    return chain(scale_by_adam(b1, b2, eps), descend(learning_rate))


# Links


@constructor
def descend(learning_rate: Schedule) -> Optimizer:
    """u = -learning_rate(step) g; the state is the step, an integer scalar. The last link of a chain.

    >>> halving = descend(lambda step: 0.5**step)
    >>> _, state = halving.update(np.ones(1), halving.init(None), None)
    >>> halving.update(np.ones(1), state, None)[0]
    array([-0.5])
    """

    if not callable(learning_rate):
        learning_rate = number("learning_rate", learning_rate, "a real number, or a function of the step")

    def update(grads, step, params):
        rate = number("learning_rate", learning_rate(step)) if callable(learning_rate) else learning_rate
        return tree.map(lambda g: -weak(rate, g) * g, grads), step + 1

    return Optimizer(lambda params: np.zeros((), np.int64), update)


@constructor
def accumulate(mass: float = 0.9, nesterov: bool = False) -> Optimizer:
    """v <- mass v + g, passed on as v, or as g + mass v for Nesterov's momentum; the state is v, like params.

    >>> accumulate(0.5).update(np.ones(1), np.ones(1), None)[0]
    array([1.5])
    """

    mass = number("mass", mass, "0 <= mass <= 1", lambda m: 0 <= m <= 1)

    def update(grads, velocity, params):
        velocity = _map(lambda v, g: v if g is None else weak(mass, v) * v + g, velocity, grads)
        look_ahead = (lambda v, g: g + weak(mass, v) * v) if nesterov else (lambda v, g: v)
        return _map(lambda v, g: None if g is None else look_ahead(v, g), velocity, grads), velocity

    return Optimizer(_zeros_like, update)


@constructor
def scale_by_adam(b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> Optimizer:
    """g -> m / (sqrt(v) + eps), m = running mean of g over 1 - b1^t, v of g^2 with b2; see `adam`."""

    b1, b2 = (number(name, b, f"0 <= {name} < 1", lambda v: 0 <= v < 1) for name, b in (("b1", b1), ("b2", b2)))
    eps = number("eps", eps, "eps >= 0", lambda e: e >= 0)

    def update(grads, state, params):
        if not isinstance(state, AdamState):
            raise TreeError("adam: a state of another optimizer", got=type(state).__name__, rule="its state is an AdamState",
                            fix="optimizer.init(params) makes the state of this one")  # fmt: skip
        step = state.step + 1
        mean = _map(lambda m, g: m if g is None else _blend(b1, m, g), state.mean, grads)
        square = _map(lambda v, g: v if g is None else _blend(b2, v, _squared(g)), state.square, grads)
        m_scale, v_scale = 1 / (1 - b1**step), 1 / (1 - b2**step)

        def scaled(m, v, g):
            return None if g is None else m * weak(m_scale, m) / (np.sqrt(v * weak(v_scale, v)) + weak(eps, v))

        return _map(scaled, mean, square, grads), AdamState(step, mean, square)

    def init(params):
        return AdamState(np.zeros((), np.int64), _zeros_like(params), _zeros_like(params))

    return Optimizer(init, update)


@constructor
def decay_weights(rate: float) -> Optimizer:
    """g -> g + rate p: first in a chain the penalty rate/2 |p|^2, just before `descend` decoupled decay.

    Source: Loshchilov & Hutter 2019.

    >>> decay_weights(0.1).update(np.zeros(1), (), np.array([2.0]))[0]
    array([0.2])
    """
    rate = number("decay_weights: rate", rate)

    def update(grads, state, params):
        return _map(lambda p, g: None if g is None else g + weak(rate, p) * p, params, grads), state

    return Optimizer(lambda params: (), update)


@constructor
def clip_norm(max_norm: float) -> Optimizer:
    """g -> g min(1, max_norm / |g|), |g| the Euclidean norm over all leaves together.

    An infinite max_norm changes nothing. The norm is that of g over its largest magnitude, so no square leaves the range
    of the dtype. One element that is NaN or infinite makes all of them NaN.
    Source: Pascanu, Mikolov & Bengio 2013.

    >>> clip_norm(1.0).update(np.array([3.0, 4.0]), (), None)[0]
    array([0.6, 0.8])
    """
    max_norm = number("clip_norm: max_norm", max_norm, "max_norm >= 0", lambda m: m >= 0)

    def update(grads, state, params):
        leaves = [g for g in tree.leaves(grads) if np.size(g)]
        if not leaves or (isinstance(max_norm, float) and max_norm == math.inf):
            return grads, state
        largest = reduce(np.maximum, [np.max(np.abs(g)) for g in leaves])
        unit = np.where(largest == 0, 1, largest)
        norm = np.sqrt(sum(np.sum(_squared(g / weak(unit, g))) for g in leaves))
        norm = np.maximum(norm, 1)  # in these units it is at least 1, but for a gradient of 0
        inside = norm * unit <= max_norm
        return tree.map(lambda g: np.where(inside, g, g / weak(unit, g) * weak(max_norm / norm, g)), grads), state

    return Optimizer(lambda params: (), update)


@constructor
def clip(limit: float) -> Optimizer:
    """Every element of the gradient clipped to [-limit, limit].

    >>> clip(1.0).update(np.array([3.0, -0.5]), (), None)[0]
    array([ 1. , -0.5])
    """
    limit = number("clip: limit", limit, "limit >= 0", lambda v: v >= 0)

    def update(grads, state, params):
        return tree.map(lambda g: np.clip(_real(g), -weak(limit, g), weak(limit, g)), grads), state

    return Optimizer(lambda params: (), update)


def _map(f: Callable, full: Any, *rest: Any) -> Any:
    """tree.map in which None may stand for a leaf, a missing gradient, in the trees after the first."""
    leaves, treedef = tree.flatten(full)
    try:
        columns = [treedef.flatten_up_to(other) for other in rest]
    except ValueError as error:
        raise TreeError(
            "params, gradients and optimizer state must be trees of one structure", got=error,
            fix="pass the gradient with respect to params, and the state of optimizer.init(params)",
        ) from None  # fmt: skip
    shapes = [getattr(leaf, "shape", ()) for leaf in leaves]
    for column in columns:
        for x, shape in zip(column, shapes):
            if x is not None and getattr(x, "shape", ()) != shape:
                raise ShapeError(
                    "params, gradients and optimizer state differ in shape", got=f"{shape} and {getattr(x, 'shape', ())}",
                    rule="leaf by leaf they have one shape",
                    fix="pass the gradient with respect to params, and the state of optimizer.init(params)",
                )  # fmt: skip
    return tree.unflatten(treedef, [f(*column) for column in zip(leaves, *columns)])


def check_optimizer(name: str, value: Any) -> None:
    """Raises unless the value is an optimizer, or has its two functions."""
    if not (callable(getattr(value, "init", None)) and callable(getattr(value, "update", None))):
        made = getattr(value, "__name__", None)
        raise DtypeError(
            f"{name}: not an optimizer", got=repr(value), rule="an optimizer is what optim.adam(1e-3) returns",
            fix=f"call the constructor: optim.{made}(...)" if made in __all__ else "optim.adam(1e-3)",
        )  # fmt: skip


def _zeros_like(params: Any) -> Any:
    return tree.map(np.zeros_like, params)


def _blend(b: Any, old: Any, new: Any) -> Any:
    """A step of a running mean."""
    return weak(b, old) * old + weak(1 - b, new) * new


def _squared(g: Any) -> Any:
    """|g|^2."""
    is_complex = hasattr(g, "dtype") and g.dtype.kind == "c"
    return np.square(g.real) + np.square(g.imag) if is_complex else np.square(g)


def _real(g: Any) -> Any:
    if not np.iscomplexobj(g):
        return g
    raise DtypeError("clip: complex gradient", got=g.dtype, rule="complex numbers have no order",
                     fix="clip_norm, or parameters of real and imaginary parts")  # fmt: skip
