"""Expr: one immutable node of an expression tree; Var and Const are its leaves.

A node knows how it was made (``op``, ``args``, ``params``), its ``shape`` and ``dtype`` and, outside jit,
its ``value``. NumPy's own dispatch protocols make ``np.sin(node)`` build a node; every operator and method
below is one line of NumPy. Nodes are numbered as they are made, so creation order is a topological order
and no walk over a tree recurses.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from fad.errors import AssignmentError, DtypeError, FadError, OutOfRangeError, ShapeError, SingularError, TraceError

__all__ = ["Expr", "Var", "Const", "bind", "constant", "reachable", "short"]

UFUNCS: dict[Any, Callable] = {}  # NumPy ufunc, or (ufunc, method) -> function of nodes; filled by fad.numpy
FUNCTIONS: dict[Any, Callable] = {}  # NumPy function -> function of nodes; filled by fad.numpy

_count = itertools.count().__next__
_SCALARS = (float, int, bool, complex)


class Expr:
    """An immutable node: ``op(*args, **params)``, an array of a known shape and dtype.

    Behaves as an ndarray does in NumPy code: ufuncs, functions, operators, methods, indexing and iteration.
    Assignment raises; `fad.at` is the functional way.

    >>> import fad
    >>> x = fad.var("x", (3,))
    >>> (np.sin(x) * 2.0).shape
    (3,)
    """

    __slots__ = ("op", "args", "params", "shape", "dtype", "value", "id", "__weakref__")
    op: Any  # the Primitive; None for leaves
    args: tuple  # nodes and constants
    params: dict  # static
    shape: tuple
    dtype: np.dtype
    value: Any  # an array or scalar; None where the node is symbolic
    id: int
    __array_priority__ = 1000

    def __init__(self, op: Any, args: tuple, params: dict, shape: tuple, dtype: np.dtype, value: Any):
        _set_op(self, op)
        _set_args(self, args)
        _set_params(self, params)
        _set_shape(self, shape)
        _set_dtype(self, dtype)
        _set_value(self, value)
        _set_id(self, _count())

    def __setattr__(self, name: str, value: Any) -> None:
        raise AssignmentError(f"{name} of a node cannot be set", got=short(self), rule="nodes are immutable",
                              fix="build a new node, e.g. with x.reshape(shape) or x.astype(dtype)")

    # -- NumPy's protocols ------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        key = ufunc if method == "__call__" else (ufunc, method)
        rule = UFUNCS.get(key)
        if rule is None:
            rule = UFUNCS.get(ufunc.__name__) if method == "__call__" else None  # scipy.special, by name
        if rule is None:
            dot = "" if method == "__call__" else f".{method}"
            raise TraceError(f"np.{ufunc.__name__}{dot} has no rule in fad", got=", ".join(map(short, inputs)),
                             rule="only functions with a derivative rule can be traced",
                             fix="use another function, or add a Primitive record for it")
        if kwargs:
            return _ufunc_with_options(ufunc, rule, method, inputs, kwargs)
        return rule(*inputs)

    def __array_function__(self, func: Callable, types: Any, args: tuple, kwargs: dict) -> Any:
        rule = FUNCTIONS.get(func)
        name = f"np.{func.__name__}"
        if rule is None:
            raise TraceError(f"{name} has no rule in fad", got=short(self),
                             rule="only functions with a derivative rule can be traced",
                             fix=f"write {name} with functions that fad.numpy lists, or pass fad.value(x) "
                                 "if no derivative should flow through it")
        if kwargs.get("out") is not None:
            raise AssignmentError(f"{name}: out= is an assignment", got=short(self), rule="nodes are immutable",
                                  fix=f"use the value that {name} returns")
        kwargs.pop("out", None)
        try:
            return rule(*args, **kwargs)
        except FadError:
            raise
        except (TypeError, ValueError, IndexError) as error:
            raise explained(error, f"{name}: {error}", args) from None

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        if self.dtype.kind in "iub":  # indices and masks have no derivative to lose
            return np.array(concrete(self, "an ndarray"), dtype)
        raise TraceError("a node was turned into an ndarray", got=short(self), rule="that would cut its derivative",
                         fix="use np.stack([...]) or fad.at(y)[i].set(v) to build arrays from nodes, "
                             "a NumPy function that dispatches, or fad.value(x) to read the numbers on purpose")

    def __setitem__(self, index: Any, value: Any) -> None:
        raise AssignmentError("assignment into a node", got=short(self), rule="nodes are immutable",
                              fix="y = fad.at(y)[i].set(v) (also .add, .multiply, .min, .max)")

    def __float__(self) -> float:
        return self._number(float, "float(x)")

    def __complex__(self) -> complex:
        return self._number(complex, "complex(x)")

    def __int__(self) -> int:
        return self._number(int, "int(x)")

    def __index__(self) -> int:
        if self.dtype.kind not in "iub":
            raise TraceError("a float node used as an index", got=short(self), rule="indices are integers",
                             fix="x.astype(int)")
        return self._number(int, "an index")

    def item(self, *args: Any) -> Any:
        """The Python scalar of an integer or boolean node; raises for floats, whose derivative it would cut."""
        return self._number(lambda v: np.asarray(v).item(*args), "x.item()")

    def tolist(self) -> Any:
        """Nested lists of an integer or boolean node."""
        return self._number(lambda v: np.asarray(v).tolist(), "x.tolist()")

    def _number(self, convert: Callable, what: str) -> Any:
        if self.dtype.kind in "fc":
            raise TraceError(f"{what} of a node", got=short(self), rule="that would cut its derivative",
                             fix="use NumPy's functions (np.sin for math.sin), or fad.value(x) to read the number "
                                 "on purpose")
        return convert(concrete(self, what))

    def __bool__(self) -> bool:
        if self.size != 1:
            raise TraceError("bool(x) of an array", got=short(self), rule="it has one truth value for each element",
                             fix="x.any() or x.all(), or np.where(x, a, b) to choose element by element")
        return bool(concrete(self, "bool(x)"))

    def __len__(self) -> int:
        if not self.shape:
            raise TraceError("len() of a 0-d node", got=short(self), rule="a scalar has no length", fix="x.size")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        if not self.shape:
            raise TraceError("iteration over a 0-d node", got=short(self), rule="a scalar has no elements",
                             fix="use the node itself")
        return (self[i] for i in range(self.shape[0]))

    def __getitem__(self, index: Any) -> Any:
        return FUNCTIONS["getitem"](self, index)

    def __contains__(self, item: Any) -> bool:
        return bool(np.any(self == item))

    __hash__ = object.__hash__  # == builds a node, so nodes in sets and dicts are told apart by identity

    def __copy__(self) -> Expr:
        return self

    def __deepcopy__(self, memo: dict) -> Expr:
        return self

    def __reduce__(self) -> Any:
        raise TraceError("a node cannot be pickled", got=short(self), rule="only a closed Function can",
                         fix="pickle fad.trace(f)(*args), or fad.value(x)")

    def __repr__(self) -> str:
        return short(self)

    def __str__(self) -> str:
        if self.value is not None:
            return str(self.value)
        from fad.show import tree_text

        return tree_text(self)

    def __format__(self, spec: str) -> str:
        return format(self.value, spec) if spec and self.value is not None else str(self)

    # -- properties -------------------------------------------------------------------------------

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        n = 1
        for s in self.shape:
            n *= s
        return n

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return self.size * self.dtype.itemsize

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self.dtype.itemsize

    T = property(lambda self: np.transpose(self))
    mT = property(lambda self: np.swapaxes(self, -1, -2))
    real = property(lambda self: np.real(self))
    imag = property(lambda self: np.imag(self))
    flat = property(lambda self: iter(np.ravel(self)))

    # -- operators: each is NumPy's ufunc ----------------------------------------------------------

    def __add__(self, other: Any) -> Any: return np.add(self, other)
    def __radd__(self, other: Any) -> Any: return np.add(other, self)
    def __sub__(self, other: Any) -> Any: return np.subtract(self, other)
    def __rsub__(self, other: Any) -> Any: return np.subtract(other, self)
    def __mul__(self, other: Any) -> Any: return np.multiply(self, other)
    def __rmul__(self, other: Any) -> Any: return np.multiply(other, self)
    def __truediv__(self, other: Any) -> Any: return np.true_divide(self, other)
    def __rtruediv__(self, other: Any) -> Any: return np.true_divide(other, self)
    def __floordiv__(self, other: Any) -> Any: return np.floor_divide(self, other)
    def __rfloordiv__(self, other: Any) -> Any: return np.floor_divide(other, self)
    def __mod__(self, other: Any) -> Any: return np.remainder(self, other)
    def __rmod__(self, other: Any) -> Any: return np.remainder(other, self)
    def __divmod__(self, other: Any) -> Any: return self // other, self % other
    def __rdivmod__(self, other: Any) -> Any: return other // self, other % self
    def __pow__(self, other: Any) -> Any: return np.power(self, other)
    def __rpow__(self, other: Any) -> Any: return np.power(other, self)
    def __matmul__(self, other: Any) -> Any: return np.matmul(self, other)
    def __rmatmul__(self, other: Any) -> Any: return np.matmul(other, self)
    def __neg__(self) -> Any: return np.negative(self)
    def __pos__(self) -> Any: return np.positive(self)
    def __abs__(self) -> Any: return np.absolute(self)
    def __invert__(self) -> Any: return np.invert(self)
    def __eq__(self, other: Any) -> Any: return np.equal(self, other)
    def __ne__(self, other: Any) -> Any: return np.not_equal(self, other)
    def __lt__(self, other: Any) -> Any: return np.less(self, other)
    def __le__(self, other: Any) -> Any: return np.less_equal(self, other)
    def __gt__(self, other: Any) -> Any: return np.greater(self, other)
    def __ge__(self, other: Any) -> Any: return np.greater_equal(self, other)
    def __and__(self, other: Any) -> Any: return np.bitwise_and(self, other)
    def __rand__(self, other: Any) -> Any: return np.bitwise_and(other, self)
    def __or__(self, other: Any) -> Any: return np.bitwise_or(self, other)
    def __ror__(self, other: Any) -> Any: return np.bitwise_or(other, self)
    def __xor__(self, other: Any) -> Any: return np.bitwise_xor(self, other)
    def __rxor__(self, other: Any) -> Any: return np.bitwise_xor(other, self)
    def __lshift__(self, other: Any) -> Any: return np.left_shift(self, other)
    def __rlshift__(self, other: Any) -> Any: return np.left_shift(other, self)
    def __rshift__(self, other: Any) -> Any: return np.right_shift(self, other)
    def __rrshift__(self, other: Any) -> Any: return np.right_shift(other, self)

    # -- ndarray methods ----------------------------------------------------------------------------

    def reshape(self, *shape: Any, order: str = "C") -> Any:
        """`np.reshape`; the shape as one tuple or as several numbers."""
        return np.reshape(self, shape[0] if len(shape) == 1 else shape, order=order)

    def transpose(self, *axes: Any) -> Any:
        """`np.transpose`; the axes as one tuple or as several numbers."""
        return np.transpose(self, (axes[0] if len(axes) == 1 else axes) or None)

    def astype(self, dtype: Any, **_: Any) -> Any:
        """The array in another dtype; the derivative passes between float dtypes and stops at integers."""
        return FUNCTIONS["astype"](self, dtype)

    def view(self, *_: Any) -> Any:
        """Raises: a node has no memory to reinterpret."""
        raise TraceError("view of a node", got=short(self), rule="a node has no memory", fix="x.astype(dtype)")

    def fill(self, value: Any) -> None:
        """Raises: a node is immutable."""
        self[...] = value

    def copy(self, order: str = "C") -> Any:
        """The node itself, which is immutable."""
        return self

    def sort(self, axis: int = -1, **_: Any) -> None:
        """Raises: ndarray.sort works in place."""
        raise AssignmentError("x.sort() works in place", got=short(self), rule="nodes are immutable",
                              fix="y = np.sort(x, axis)")

    def _numpy_method(name: str) -> Callable:  # type: ignore[misc]
        function = getattr(np, name)

        def method(self: Expr, *args: Any, **kwargs: Any) -> Any:
            return function(self, *args, **kwargs)

        method.__name__, method.__doc__ = name, f"`np.{name}` of this node."
        return method

    for _name in ("sum", "prod", "max", "min", "mean", "var", "std", "argmax", "argmin", "any", "all", "cumsum",
                  "cumprod", "ptp", "round", "clip", "ravel", "squeeze", "swapaxes", "diagonal", "trace", "repeat",
                  "take", "dot", "argsort", "nonzero", "compress", "searchsorted"):
        locals()[_name] = _numpy_method(_name)
    flatten = _numpy_method("ravel")
    conj = conjugate = _numpy_method("conj")
    del _numpy_method, _name


# __setattr__ raises, so construction goes through the slots themselves
_SETTERS = tuple(vars(Expr)[name].__set__ for name in Expr.__slots__[:7])
_set_op, _set_args, _set_params, _set_shape, _set_dtype, _set_value, _set_id = _SETTERS
_NO_PARAMS: dict = {}


class Var(Expr):
    """An input of a tree. Inside a transformation it carries the value of the argument it stands for;
    where that argument is itself a node, the Var is an alias of it (``args == (node,)``), which is what
    keeps nested derivatives apart. ``weak`` is the Python type of a number it stands for: such a Var promotes
    as the number would, and does not widen a float32 array."""

    __slots__ = ("name", "trace", "weak")
    name: str
    trace: Any
    weak: type | None

    def __init__(self, name: str, shape: tuple, dtype: Any, value: Any = None, op: Any = None, of: tuple = (),
                 trace: Any = None, weak: type | None = None):
        super().__init__(op, of, _NO_PARAMS, shape, dtype, value)
        _set_name(self, name)
        _set_trace(self, trace)
        _set_weak(self, weak)


_set_name, _set_trace, _set_weak = (vars(Var)[name].__set__ for name in Var.__slots__)


class Const(Expr):
    """A constant array as a node, where a tree has one for an output."""

    __slots__ = ()

    def __init__(self, value: Any):
        value = constant(value)
        if isinstance(value, _SCALARS):
            value = np.asarray(value)[()]
        super().__init__(None, (), _NO_PARAMS, value.shape, value.dtype, value)


def constant(x: Any) -> Any:
    """A value as a node may keep it: Python scalars as they are (they promote weakly), arrays as private copies.

    Raises DtypeError for strings, objects and ragged lists.
    """
    kind = type(x)
    if kind in _SCALARS:
        return x
    if kind is np.ndarray:
        if x.dtype.kind not in "fiubc":
            raise DtypeError("not an array of numbers", got=short(x), rule="nodes hold real, complex, integer or "
                             "boolean arrays", fix="convert it first, e.g. x.astype(float)")
        if x.flags.writeable or x.base is not None:
            x = x.copy()
            x.flags.writeable = False
        return x
    if isinstance(x, np.generic) and x.dtype.kind in "fiubc":
        return x
    if isinstance(x, list | tuple) and any(isinstance(v, Expr) for v in x):
        return FUNCTIONS["array"](x)
    try:
        array = np.array(x)
    except ValueError as error:
        raise DtypeError("not an array of numbers", got=short(x), rule=str(error), fix="pass rectangular lists") from None
    return constant(array)


def bind(op: Any, args: tuple, params: dict) -> Expr:
    """The node ``op(*args, **params)``; its value is computed at once where every argument has one."""
    kept, values, symbolic = [], [], False
    for a in args:
        if isinstance(a, Expr):
            kept.append(a)
            values.append(a.value)
            symbolic = symbolic or a.value is None
        else:
            a = constant(a)
            if isinstance(a, Expr):  # a list with nodes in it
                return bind(op, (*args[: len(kept)], a, *args[len(kept) + 1 :]), params)
            kept.append(a)
            values.append(a)
    try:
        if symbolic:
            shape, dtype = op.abstract(*kept, **params)
            value = None
        else:
            value = op.evaluate(*values, **params)
            shape, dtype = value.shape, value.dtype
    except FadError:
        raise
    except (TypeError, ValueError, IndexError) as error:
        raise explained(error, f"{op.name}: {error}", args) from None
    if op.keeps is not None:
        kept = [a if i in op.keeps else shadow(a) for i, a in enumerate(kept)]
    return Expr(op, tuple(kept), params, shape, dtype, value)


def shadow(a: Any) -> Any:
    """A node without its value, for consumers whose derivative does not read it: the array is freed as soon as the
    user's own reference is gone. Small arrays are not worth it."""
    if type(a) is not Expr or a.value is None or a.op.keeps_out or a.nbytes < _WORTH_FREEING:
        return a
    twin = Expr.__new__(Expr)
    for setter, part in zip(_SETTERS, (a.op, a.args, a.params, a.shape, a.dtype, None, a.id), strict=True):
        setter(twin, part)
    return twin


_WORTH_FREEING = 1 << 14  # bytes


def explained(error: Exception, what: str, args: tuple) -> FadError:
    """NumPy's own error as one that shows the arguments and the user's line."""
    if isinstance(error, np.linalg.LinAlgError):
        return SingularError(f"np.linalg.{what.strip(' .:')}", got=", ".join(map(short, args)),
                             fix="add a small multiple of the identity to the matrix, or use np.linalg.lstsq or np.linalg.pinv")
    kind = (ShapeError if isinstance(error, ValueError) else OutOfRangeError if isinstance(error, IndexError)
            else DtypeError)  # NumPy's AxisError is both of the first two, and is about a shape
    fix = ("make the shapes equal, or 1 along the axes to stretch; x[:, None] adds an axis" if "broadcast" in what
           else "check the arguments against NumPy's documentation of this function")
    return kind(what.strip(" .:"), got=", ".join(map(short, args)), fix=fix)


def concrete(x: Any, what: str) -> Any:
    """The value of a node or array; a symbolic node raises, naming what asked for it."""
    if not isinstance(x, Expr):
        return x
    if x.value is None:
        raise TraceError(f"{what} of a symbolic node", got=short(x), rule="inside jit, vmap and trace a node has no value",
                         fix="use np.where(condition, a, b) in place of `if`, or mark the argument as static; "
                             "plain grad, jvp and vjp follow Python branches")
    return x.value


def reachable(outputs: list, start: int = 0, stop: Any = ()) -> tuple[list[Expr], list[Expr]]:
    """Nodes made since ``start`` on which the outputs depend, in creation order, and the older ones they touch.

    The walk does not pass beyond nodes whose id is in ``stop``.
    """
    seen: dict[int, Expr] = {}
    outer: dict[int, Expr] = {}
    stack = [x for x in outputs if isinstance(x, Expr)]
    while stack:
        node = stack.pop()
        key = node.id
        if key in seen:
            continue
        if key < start:
            outer[key] = node
            continue
        seen[key] = node
        if key in stop:
            continue
        for a in node.args:
            if isinstance(a, Expr) and a.id not in seen:
                stack.append(a)
    return [seen[key] for key in sorted(seen)], list(outer.values())


_LETTERS = {"f": "f", "i": "i", "u": "u", "c": "c", "b": "bool"}


@lru_cache(maxsize=1024)
def aval_text(shape: tuple, dtype: Any) -> str:
    """``f64[3,4]``."""
    dtype = np.dtype(dtype)
    letter = _LETTERS.get(dtype.kind, str(dtype))
    bits = "" if dtype.kind == "b" or letter == str(dtype) else str(8 * dtype.itemsize)
    return f"{letter}{bits}[{','.join(map(str, shape))}]"


def short(x: Any) -> str:
    """One line about a value, for messages.

    >>> short(np.ones((2, 3)))
    'f64[2,3]'
    """
    if isinstance(x, Expr):
        name = x.name if isinstance(x, Var) else x.op.name if x.op is not None else "const"
        text = f"{name}:{aval_text(x.shape, x.dtype)}"
        return text if x.value is None or x.size > 4 else f"{text} = {np.array2string(np.asarray(x.value), precision=6)}"
    if isinstance(x, np.ndarray | np.generic):
        return aval_text(x.shape, x.dtype) if x.shape else f"{aval_text(x.shape, x.dtype)} {x}"
    text = repr(x)
    return f"{type(x).__name__} {text if len(text) < 60 else text[:57] + '...'}"


def _ufunc_with_options(ufunc: np.ufunc, rule: Callable, method: str, inputs: tuple, kwargs: dict) -> Any:
    """A ufunc call with ``out=``, ``where=`` or ``dtype=``."""
    (out,) = kwargs.pop("out", (None,))
    if isinstance(out, np.ndarray):
        raise AssignmentError(f"np.{ufunc.__name__}: a node cannot be written into an ndarray", got=short(out),
                              rule="that would cut its derivative",
                              fix="write x = x + y in place of x += y, or fad.at(x)[i].add(y)")
    if method != "__call__":
        return rule(*inputs, **kwargs)
    where = kwargs.pop("where", True)
    dtype = kwargs.pop("dtype", None)
    if kwargs:
        raise TraceError(f"np.{ufunc.__name__}: unknown options", got=", ".join(kwargs),
                         rule="out=, where= and dtype= are understood", fix="leave the others away")
    if dtype is not None:
        inputs = tuple(FUNCTIONS["astype"](x, dtype) for x in inputs)
    result = rule(*inputs)
    if where is True:
        return result
    if out is None:
        raise TraceError(f"np.{ufunc.__name__}: where= without out=", got=short(where),
                         rule="the elements left out would be undefined",
                         fix="np.where(mask, np.f(x), other)")
    return np.where(where, result, out)
