"""What a layer is, and how layers combine; the layers themselves are in `fad.stax`, with the conventions."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import Any

import numpy as np

from fad import random, tree
from fad.core.expr import Expr
from fad.core.made import Made, constructor
from fad.core.options import function, numbers
from fad.errors import DtypeError, FadError, ShapeError, TreeError

__all__ = ["Layer", "serial", "parallel", "shape_dependent", "elementwise"]

Shape = Any  # tuple of ints; a tuple of such for the inputs of parallel, FanInSum and FanInConcat
Params = dict[str, Any]
State = dict[str, Any]
_SEVERAL = (tuple, list, dict)


def _nothing(key: Any, shape: Shape, dtype: Any) -> tuple[Params, State]:
    """The params and state of a layer that has neither."""
    return {}, {}


def _same(shape: Shape) -> Shape:
    return shape


@dataclass(frozen=True, eq=False, repr=False)
class Layer(Made):
    """Three functions and a name; a new kind of layer is a function that returns one.

        init_fn(key, shape, dtype) -> (params, state)
        shape_fn(shape) -> shape of the output
        apply_fn(params, state, x, key, train) -> (y, new state)

    >>> double = Layer("Double", apply_fn=lambda params, state, x, key, train: (2 * x, state))
    >>> serial(double, double).apply({}, {}, np.ones(2))
    (array([4., 4.]), {})
    """

    name: str
    apply_fn: Callable[[Params, State, Any, Any, bool], tuple[Any, State]]
    init_fn: Callable[[Any, Shape, Any], tuple[Params, State]] = _nothing
    shape_fn: Callable[[Shape], Shape] = _same
    stateful: bool = False

    def init(self, key: Any, shape: Shape, dtype: Any = np.float32) -> tuple[Params, State]:
        """Starting (params, state) for inputs of this shape, arrays of float `dtype`.

        Raises: ShapeError where a layer cannot take its input, with the path of that layer.

        >>> from fad.stax import Dense
        >>> params, state = Dense(4).init(random.key(0), (-1, 3))
        >>> params["w"].shape, params["b"].dtype
        ((3, 4), dtype('float32'))
        """
        with _located(self.name):
            dtype = _float_dtype(dtype)
            return _in_dtype(_pair(self.init_fn(key, _checked_shape(shape), dtype), "init_fn", "(params, state)"), dtype)

    def out_shape(self, shape: Shape) -> Shape:
        """Shape of the output for inputs of this shape; the batch axis may have any length.

        >>> from fad.stax import Conv, Flatten
        >>> serial(Conv(8, strides=2), Flatten).out_shape((-1, 7, 7, 3))
        (-1, 128)
        """
        with _located(self.name):
            return self.shape_fn(_checked_shape(shape))

    def apply(self, params: Params, state: State, x: Any, *, key: Any = None, train: bool = False) -> tuple[Any, State]:
        """(output, new state) for a batch x. Pure: params, state and x are not modified.

        x is an array, a list of numbers, or a tuple of arrays for layers that take several.
        Raises: ShapeError if x does not fit the params, KeyMissingError for dropout in training without key, DtypeError
        for x that is no array of numbers.

        >>> from fad.stax import Relu
        >>> Relu.apply({}, {}, np.array([-1.0, 2.0]))
        (array([0., 2.]), {})
        """
        with _located(self.name):
            return _pair(self.apply_fn(params, state, _arrays(x), key, train), "apply_fn", "(output, state)")

    def __iter__(self) -> Iterator[Callable]:
        """The classic pair (init_fun, apply_fun): (key, shape) -> (out_shape, params) and (params, x) -> y.

        A call with a key is a training call unless `train` says otherwise.
        """
        if self.stateful:
            raise TreeError(
                f"{self.name} keeps state and does not unpack into (init_fun, apply_fun)",
                rule="the pair has no place for running averages",
                fix="params, state = net.init(key, shape); y, state = net.apply(params, state, x)",
            )

        return iter((self._init_fun, self._apply_fun))

    def _init_fun(self, key: Any, shape: Shape, dtype: Any = np.float32) -> tuple[Shape, Params]:
        params, state = self.init(key, shape, dtype)
        if state:  # a shape_dependent layer shows its state only now
            iter(replace(self, stateful=True))
        return self.out_shape(shape), params

    def _apply_fun(self, params: Params, x: Any, *, key: Any = None, train: bool | None = None) -> Any:
        return self.apply(params, {}, x, key=key, train=key is not None if train is None else train)[0]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise DtypeError(
            f"{self!r} is a layer, which is not called", got=f"{len(args) + len(kwargs)} arguments",
            rule="what has options is a constructor and makes a layer, what has none, like Relu, is one",
            fix=f"serial(..., {self!r}, ...) without parentheses behind it; y, state = layer.apply(params, state, x)",
        )  # fmt: skip

    def __repr__(self) -> str:
        return self.name if self.call is None else super().__repr__()


@contextmanager
def _located(name: str) -> Iterator[None]:
    """Puts the path of the layer in front of the message of an error that passes through it."""
    try:
        yield
    except FadError as error:
        path, problem = getattr(error, "located", ("", error.args[0]))
        path = f"{name}/{path}" if path else name
        error.located = path, problem  # type: ignore[attr-defined]
        error.args = (f"{path}: {problem}",)
        raise


def _pair(result: Any, function: str, what: str) -> tuple[Any, Any]:
    if isinstance(result, tuple) and len(result) == 2:
        return result
    raise TreeError(f"{function} of this layer returned something else", got=type(result).__name__,
                    rule=f"it returns the pair {what}", fix="return y, state")  # fmt: skip


def _float_dtype(dtype: Any) -> np.dtype:
    with suppress(TypeError):
        if np.issubdtype(dtype, np.floating):
            return np.dtype(dtype)
    raise DtypeError("parameters are floats", got=f"dtype={dtype}", fix="dtype=np.float32 or np.float64")


def _arrays(x: Any) -> Any:
    """What a layer is applied to: arrays and nodes as they are, numbers in lists as an array."""
    if isinstance(x, _SEVERAL) and (isinstance(x, dict) or any(hasattr(leaf, "dtype") for leaf in tree.leaves(x))):
        return x
    return numbers("the input of a layer", x)


def _in_dtype(params: Any, dtype: np.dtype) -> Any:
    """Floats in the dtype of the net, whatever a layer of the user's makes of it."""
    return tree.map(lambda p: p if isinstance(p, Expr) or np.asarray(p).dtype.kind != "f" else np.asarray(p, dtype), params)


# Combinators


@constructor
def serial(*layers: Layer | tuple[str, Layer]) -> Layer:
    """Layers one after the other: y = f_n(... f_1(x)).

    >>> from fad.stax import Dense, Relu
    >>> serial(Dense(8), Relu, ("readout", Dense(1))).init(random.key(0), (-1, 2))[0].keys()
    dict_keys(['0_Dense', 'readout'])
    """
    children = _named("serial", layers)

    def init(key: Any, shape: Shape, dtype: Any) -> tuple[Params, State]:
        params: Params = {}
        state: State = {}
        for child, child_key in zip(children, _split(key, len(children))):
            _keep(child.name, child.init(child_key, shape, dtype), params, state)
            shape = child.out_shape(shape)
        return params, state

    def out_shape(shape: Shape) -> Shape:
        return reduce(lambda shape, child: child.out_shape(shape), children, shape)

    def apply(params: Params, state: State, x: Any, key: Any, train: bool) -> tuple[Any, State]:
        new_state: State = {}
        for child, child_key in zip(children, _split(key, len(children))):
            x, child_state = _apply_child(child, params, state, x, child_key, train)
            _keep(child.name, ({}, child_state), {}, new_state)
        return x, new_state

    return _combined("serial", children, init, out_shape, apply)


@constructor
def parallel(*layers: Layer | tuple[str, Layer]) -> Layer:
    """Layers side by side: (x_1, ..., x_n) -> (f_1(x_1), ..., f_n(x_n)), tuples of arrays and of shapes.

    >>> from fad.stax import Dense, FanInConcat, FanOut, Identity
    >>> net = serial(FanOut(2), parallel(Dense(8), Identity), FanInConcat())
    >>> net.out_shape((-1, 3))
    (-1, 11)
    """
    children = _named("parallel", layers)

    def init(key: Any, shapes: Shape, dtype: Any) -> tuple[Params, State]:
        params: Params = {}
        state: State = {}
        _check_count(children, shapes)
        for child, shape, child_key in zip(children, shapes, _split(key, len(children))):
            _keep(child.name, child.init(child_key, shape, dtype), params, state)
        return params, state

    def out_shape(shapes: Shape) -> Shape:
        _check_count(children, shapes)
        return tuple(child.out_shape(shape) for child, shape in zip(children, shapes))

    def apply(params: Params, state: State, xs: Any, key: Any, train: bool) -> tuple[Any, State]:
        _check_count(children, xs)
        ys: list[Any] = []
        new_state: State = {}
        for child, x, child_key in zip(children, xs, _split(key, len(children))):
            y, child_state = _apply_child(child, params, state, x, child_key, train)
            ys.append(y)
            _keep(child.name, ({}, child_state), {}, new_state)
        return tuple(ys), new_state

    return _combined("parallel", children, init, out_shape, apply)


@constructor
def shape_dependent(make_layer: Callable[[Shape], Layer]) -> Layer:
    """The layer make_layer(shape of the input), made anew at every use; its params are that layer's own.

    >>> from fad.stax import Dense, Relu
    >>> bottleneck = shape_dependent(lambda shape: serial(Dense(2), Relu, Dense(shape[-1])))
    >>> bottleneck.out_shape((-1, 7))
    (-1, 7)
    """

    function("shape_dependent: make_layer", make_layer, "lambda shape: Dense(shape[-1])")

    def made(shape: Shape) -> Layer:
        return _layer(make_layer(shape), "shape_dependent: the result of make_layer")

    def shape_of(x: Any) -> Shape:
        return tuple(map(shape_of, x)) if isinstance(x, tuple | list) else x.shape

    return Layer(
        "shape_dependent",
        init_fn=lambda key, shape, dtype: made(shape).init(key, shape, dtype),
        shape_fn=lambda shape: made(shape).out_shape(shape),
        apply_fn=lambda params, state, x, key, train: made(shape_of(x)).apply(params, state, x, key=key, train=train),
    )


def elementwise(f: Callable[[Any], Any], name: str = "") -> Layer:
    """The layer y = f(x) for a function that keeps the shape.

    >>> elementwise(np.sin).apply({}, {}, np.zeros(1))[0]
    array([0.])
    """
    function("elementwise: f", f, "elementwise(np.sin)")
    return Layer(name or getattr(f, "__name__", "elementwise"), partial(_apply_elementwise, f))


def _apply_elementwise(f: Callable, params: Params, state: State, x: Any, key: Any, train: bool) -> tuple[Any, State]:
    return f(single(x)), state


def _combined(name: str, children: list[Layer], init: Callable, out_shape: Callable, apply: Callable) -> Layer:
    return Layer(name, apply, init, out_shape, any(c.stateful for c in children))


def _named(combinator: str, layers: Sequence) -> list[Layer]:
    """The children under the names by which params, state and errors know them."""
    children: list[Layer] = []
    for i, layer in enumerate(layers):
        paired = isinstance(layer, tuple) and len(layer) == 2 and isinstance(layer[0], str)
        name, layer = layer if paired else ("", layer)
        layer = _layer(layer, f"{combinator}: argument {i}")
        children.append(replace(layer, name=name or f"{i}_{layer.name}"))
    names = [child.name for child in children]
    if len(set(names)) < len(names):
        raise TreeError(f"{combinator}: two layers have one name", got=names, fix="give each layer its own name")
    return children


def _layer(value: Any, what: str) -> Layer:
    """The value, if it is a layer."""
    if isinstance(value, Layer):
        return value
    if isinstance(value, tuple | list):
        fix = "serial(Dense(10), Relu) makes one layer of several, and *layers passes the items of a list"
    else:
        name = getattr(value, "__name__", None)
        fix = f"call the constructor: {name}(...)" if name else "a layer of fad.stax, like Dense(10)"
    raise DtypeError(f"{what} is not a layer", got=repr(value), rule="arguments are layers or pairs (name, layer)", fix=fix)


def _apply_child(child: Layer, params: Params, state: State, x: Any, key: Any, train: bool) -> tuple[Any, State]:
    for name, own in (("params", params), ("state", state)):
        if not isinstance(own, dict):
            raise TreeError(f"{name} of a combination of layers are a dict", got=type(own).__name__,
                            rule="its keys are the names of the layers; {} where there are none",
                            fix="params, state = net.init(key, shape)")  # fmt: skip
    return child.apply(params.get(child.name, {}), state.get(child.name, {}), x, key=key, train=train)


def _keep(name: str, own: tuple[Params, State], params: Params, state: State) -> None:
    """Enters a child's params and state under its name, unless there are none."""
    for kept, everyones in zip(own, (params, state)):
        if not (kept is None or (isinstance(kept, dict | tuple | list) and not kept)):
            everyones[name] = kept


def _split(key: Any, n: int) -> Any:
    return [None] * n if key is None or n == 0 else random.split(key, n)


def _check_count(children: list[Layer], inputs: Any) -> None:
    """Inputs of `parallel`, arrays or shapes, come in a tuple with one for each child."""
    fix = f"put FanOut({len(children)}) before it to give every layer the same input"
    if len(several(inputs, f"a tuple of {len(children)} inputs", fix)) != len(children):
        raise ShapeError(f"expected a tuple of {len(children)} inputs", got=f"{len(inputs)} inputs", fix=fix)


def several(inputs: Any, expected: str = "a tuple of inputs", fix: str = "put FanOut or parallel before it") -> Any:
    """The tuple or list of several arrays, or of their shapes."""
    if not isinstance(inputs, tuple | list) or not inputs or isinstance(inputs[0], int):
        raise ShapeError(f"expected {expected}", got=f"one input {getattr(inputs, 'shape', inputs)}", fix=fix)
    return inputs


def single(x: Any) -> Any:
    """One array, or the shape of one."""
    if hasattr(x, "shape") or (isinstance(x, tuple) and all(isinstance(n, int) for n in x)):
        return x
    size = f" of {len(x)}" if isinstance(x, tuple | list | dict) else ""
    raise ShapeError("expected one input", got=f"a {type(x).__name__}{size}", rule="this layer takes one array",
                     fix="parallel(...) gives each input a layer, FanInSum and FanInConcat() make one of several")  # fmt: skip


def _checked_shape(shape: Any) -> Shape:
    """The shape as a tuple of ints, or a tuple of such."""
    if isinstance(shape, dict):
        return {name: _checked_shape(inner) for name, inner in shape.items()}
    if isinstance(shape, tuple | list) and any(isinstance(n, tuple | list | dict) for n in shape):
        return tuple(map(_checked_shape, shape))
    try:
        shape = tuple(operator.index(n) for n in shape)
    except TypeError:
        raise ShapeError(
            "a shape is a tuple of integers that begins with the batch axis", got=repr(shape), fix="(-1, 28, 28, 1)"
        ) from None
    if any(n < 0 for n in shape[1:]):
        raise ShapeError("only the batch axis may have an unknown length", got=shape, fix="give every other length")
    return shape
