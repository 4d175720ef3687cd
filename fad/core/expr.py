"""Expr: one immutable node of an expression tree; Var and Const are its leaves.

A node knows how it was made (``op``, ``args``, ``params``), its ``shape`` and ``dtype`` and, outside jit,
its ``value``. NumPy's own dispatch protocols make ``np.sin(node)`` build a node; operators and methods
are each one line of NumPy (`fad.methods`). Nodes are numbered as they are made, so creation order is a topological order
and no walk over a tree recurses.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

import numpy as np

from fad.core.methods import FUNCTIONS, Methods
from fad.core.results import Results
from fad.errors import AssignmentError, DtypeError, FadError, OutOfRangeError, ShapeError, SingularError, TraceError, library_call

__all__ = ["Expr", "Var", "Const", "bind", "constant", "reachable", "short"]

WATCHING: list = []  # one entry for each debug_nans, collect and inject that is on, in any thread
UFUNCS: dict[Any, Callable] = {}  # NumPy ufunc, or (ufunc, method) -> function of nodes; filled by fad.numpy

_count = itertools.count().__next__
_SCALARS = (float, int, bool, complex)


class Expr(Methods):
    """An immutable node: ``op(*args, **params)``, an array of a known shape and dtype.

    Behaves as an ndarray does in NumPy code: ufuncs, functions, operators, methods, indexing and iteration.
    Assignment raises; `fad.at` is the functional way. In-place operators give their name a new node: see `fad.numpy.memory`.

    >>> import fad
    >>> x = fad.var("x", (3,))
    >>> (np.sin(x) * 2.0).shape
    (3,)
    """

    __slots__ = ("op", "args", "params", "shape", "dtype", "value", "id", "memory", "line", "__weakref__")
    op: Any  # the Primitive; None for leaves
    args: tuple  # nodes and constants
    params: dict  # static
    shape: tuple
    dtype: np.dtype
    value: Any  # an array or scalar; None where the node is symbolic
    id: int  # what makes it this node: objects of one id are one node
    memory: list  # where it shares an array with others, in NumPy's eyes: see fad.numpy.memory
    line: str  # the user's, noted while fad.debug_nans is on
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
        raise AssignmentError(
            f"{name} of a node cannot be set",
            got=short(self),
            rule="nodes are immutable",
            fix="build a new node, e.g. with x.reshape(shape) or x.astype(dtype)",
        )

    # -- NumPy's protocols ------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        rule = UFUNCS.get(ufunc if method == "__call__" else (ufunc, method))
        if rule is None:
            return FUNCTIONS["other ufunc"](ufunc, method, inputs, kwargs)
        if kwargs:
            return FUNCTIONS["with options"](ufunc, rule, method, inputs, kwargs)
        try:
            return rule(*inputs)
        except ForeignArrayError:
            if any(_answers(x, "__array_ufunc__") for x in inputs):
                return NotImplemented
            raise

    def __array_function__(self, func: Callable, types: Any, args: tuple, kwargs: dict) -> Any:
        rule = FUNCTIONS.get(func) or FUNCTIONS["later"](func)
        if rule is None:
            name = written(func)
            raise TraceError(
                f"{name} has no rule in fad",
                got=short(self),
                rule="only functions with a derivative rule can be traced",
                fix=f"write {name} with functions that fad.numpy lists, or pass fad.value(x) "
                "if no derivative should flow through it",
            )
        if kwargs.get("out") is not None:
            raise AssignmentError(
                f"{written(func)}: out= is an assignment",
                got=short(self),
                rule="nodes are immutable",
                fix=f"use the value that {written(func)} returns",
            )
        kwargs.pop("out", None)
        try:
            return rule(*args, **kwargs)
        except ForeignArrayError:
            if not all(issubclass(kind, Expr) for kind in types):
                return NotImplemented
            raise
        except FadError:
            raise
        except (TypeError, ValueError, IndexError) as error:
            raise explained(error, f"{written(func)}: {error}", args) from None

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        if self.dtype.kind in "iub":  # indices and masks have no derivative to lose
            return np.array(self._known("an ndarray"), dtype)
        if not self.shape and (dtype is None or dtype is object):  # np.array([x, y]) asks each of its elements
            box = np.empty((), object)
            box[()] = self
            return box
        raise TraceError(
            f"{library_call() or 'NumPy'} asked for a node as an ndarray",
            got=short(self),
            rule="that would cut its derivative",
            fix=FUNCTIONS["fix"]()
            or "from fad import numpy as np, whose np.array and np.asarray take nodes; np.stack([...]) of them, "
            "fad.at(y)[i].set(v), fad.vmap(f) for np.vectorize(f), or fad.value(x) to read the numbers on purpose",
        )

    def __setitem__(self, index: Any, value: Any) -> None:
        raise AssignmentError(
            "assignment into a node",
            got=short(self),
            rule="nodes are immutable",
            fix="y = fad.at(y)[i].set(v) (also .add, .multiply, .min, .max)",
        )

    def __float__(self) -> float:
        return self._number(float, "float(x)")

    def __complex__(self) -> complex:
        return self._number(complex, "complex(x)")

    def __int__(self) -> int:
        return self._number(int, "int(x)")

    def __index__(self) -> int:
        if self.dtype.kind not in "iub":
            raise TraceError("a float node used as an index", got=short(self), rule="indices are integers", fix="x.astype(int)")
        return int(self._known("an index"))

    def _known(self, what: str) -> Any:
        """The value of an integer or boolean node."""
        if self.value is None:
            if (decided := _decided(self)) is not None:
                return decided
            raise ArrayWantedError(
                f"{what} of a symbolic node",
                got=short(self),
                rule="inside jit, vmap and trace a node has no value, and NumPy asks for it where an ndarray is indexed",
                fix="fad.at(table)[i].get() in place of table[i], from fad import numpy as np for np.take, "
                "or mark the argument as static",
            )
        return self.value

    def item(self, *args: Any) -> Any:
        """The Python scalar of an integer or boolean node; raises for floats, whose derivative it would cut."""
        return self._number(lambda v: np.asarray(v).item(*args), "x.item()")

    def tolist(self) -> Any:
        """Nested lists of an integer or boolean node."""
        return self._number(lambda v: np.asarray(v).tolist(), "x.tolist()")

    def _number(self, convert: Callable, what: str) -> Any:
        if self.dtype.kind in "fc":
            raise TraceError(
                f"{what} of a node",
                got=short(self),
                rule="that would cut its derivative",
                fix="use NumPy's functions (np.sin for math.sin), or fad.value(x) to read the number on purpose",
            )
        return convert(concrete(self, what))

    def __round__(self, ndigits: Any = None) -> Any:
        return self._whole(np.rint, "round(x)") if ndigits is None else np.round(self, ndigits)

    def __floor__(self) -> Any:
        return self._whole(np.floor, "math.floor(x)")

    def __ceil__(self) -> Any:
        return self._whole(np.ceil, "math.ceil(x)")

    def __trunc__(self) -> Any:
        return self._whole(np.trunc, "math.trunc(x)")

    def _whole(self, rounded: Callable, what: str) -> Any:
        """An integer node: rounding has no derivative to lose."""
        if self.shape or self.dtype.kind == "c" or not (self.value is None or np.isfinite(self.value)):
            raise TraceError(
                f"{what} of a node",
                got=short(self),
                rule="it takes one finite real number",
                fix="np.round, np.floor, np.ceil or np.trunc, and astype(int)",
            )
        return rounded(self).astype(np.int64)

    def __bool__(self) -> bool:
        if self.size != 1:
            raise TraceError(
                "bool(x) of an array",
                got=short(self),
                rule="it has one truth value for each element",
                fix="x.any() or x.all(), or np.where(x, a, b) to choose element by element",
            )
        return bool(concrete(self, "bool(x)"))

    def __len__(self) -> int:
        if not self.shape:
            raise TraceError("len() of a 0-d node", got=short(self), rule="a scalar has no length", fix="x.size")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        if not self.shape:
            raise TraceError(
                "iteration over a 0-d node", got=short(self), rule="a scalar has no elements", fix="use the node itself"
            )
        return (self[i] for i in range(self.shape[0]))

    def __getitem__(self, index: Any) -> Any:
        y = FUNCTIONS["getitem"](self, index)
        return y if type(index) is int and not y.shape else FUNCTIONS["view"](y, self, index)

    def __contains__(self, item: Any) -> bool:
        return bool(np.any(self == item))

    def __hash__(self) -> int:
        raise TraceError(
            "hash(x) of a node",
            got=short(self),
            rule="arrays are not hashable, and == of nodes builds a node",
            fix="key dicts and sets by fad.value(x), a name or a position",
        )

    def __copy__(self) -> Expr:
        return twin(self)

    def __deepcopy__(self, memo: dict) -> Expr:
        return twin(self)

    def __reduce__(self) -> Any:
        raise TraceError(
            "a node cannot be pickled",
            got=short(self),
            rule="only a closed Function can",
            fix="pickle fad.trace(f)(*args), or fad.value(x)",
        )

    def __repr__(self) -> str:
        return short(self)

    def __str__(self) -> str:
        if self.value is not None:
            return str(self.value)
        return FUNCTIONS["text"](self)

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


class ArrayWantedError(TraceError):
    """NumPy asked a symbol for its numbers, as it does where an ndarray is indexed by one."""


# __setattr__ raises, so construction goes through the slots themselves
_FIELDS = tuple(vars(Expr)[name] for name in Expr.__slots__[:7])
_set_op, _set_args, _set_params, _set_shape, _set_dtype, _set_value, _set_id = (field.__set__ for field in _FIELDS)
_set_line = vars(Expr)["line"].__set__
_NO_PARAMS: dict = {}


class Var(Expr):
    """An input of a tree. Inside a transformation it carries the value of the argument it stands for;
    where that argument is itself a node, the Var is an alias of it (``args == (node,)``), which is what
    keeps nested derivatives apart. ``weak`` is the Python type of a number it stands for: such a Var promotes
    as the number would, and does not widen a float32 array."""

    __slots__ = ("name", "origin", "weak")
    name: str
    origin: Any  # the Trace that made it; None for one made by hand
    weak: type | None

    def __init__(
        self,
        name: str,
        shape: tuple,
        dtype: Any,
        value: Any = None,
        op: Any = None,
        of: tuple = (),
        origin: Any = None,
        weak: type | None = None,
    ):
        super().__init__(op, of, _NO_PARAMS, shape, dtype, value)
        _set_name(self, name)
        _set_origin(self, origin)
        _set_weak(self, weak)


_VAR_FIELDS = tuple(vars(Var)[name] for name in Var.__slots__)
_set_name, _set_origin, _set_weak = (field.__set__ for field in _VAR_FIELDS)


class Const(Expr):
    """A constant array as a node, where a tree has one for an output."""

    __slots__ = ()

    def __init__(self, value: Any):
        value = constant(value)
        if isinstance(value, _SCALARS):
            value = np.asarray(value)[()]
        super().__init__(None, (), _NO_PARAMS, value.shape, value.dtype, value)


def as_node(x: Any) -> Expr:
    """A constant as a node; an array of objects that are nodes as one node."""
    x = constant(x)
    return x if isinstance(x, Expr) else Const(x)


def constant(x: Any) -> Any:
    """A value as a node may keep it: Python scalars as they are (they promote weakly), arrays as private copies.

    Raises DtypeError for strings, objects and ragged lists.
    """
    kind = type(x)
    if kind in _SCALARS:
        return x
    if kind is np.ndarray:
        if x.dtype.kind == "O" and any(isinstance(v, Expr) for v in x.flat):  # np.array([x, y])
            return FUNCTIONS["array"](x.tolist()) if x.shape else x.item()
        if x.dtype.kind not in "fiubc":
            raise DtypeError(
                "not an array of numbers",
                got=short(x),
                rule="nodes hold real, complex, integer or boolean arrays",
                fix="convert it first, e.g. x.astype(float)",
            )
        if x.flags.writeable or x.base is not None:
            x = x.copy()
            x.flags.writeable = False
        return x
    if isinstance(x, np.generic) and x.dtype.kind in "fiubc":
        return x
    refuse_foreign(x)
    if isinstance(x, list | tuple) and any(isinstance(v, Expr) for v in x):
        return FUNCTIONS["array"](x)
    try:
        array = np.array(x)
    except ValueError as error:
        raise DtypeError("not an array of numbers", got=short(x), rule=str(error), fix="pass rectangular lists") from None
    return constant(array)


class ForeignArrayError(DtypeError):
    """An array of another library, which says itself what functions of it mean."""


def refuse_foreign(x: Any) -> Any:
    """x, unless it is no array of NumPy's own kind, whose operators mean what ndarray's mean."""
    kind: Any = type(x)
    if kind is np.ndarray or not _is_foreign(kind):
        return x
    error = DtypeError if kind.__module__.startswith("numpy") else ForeignArrayError
    raise error(
        "an array with a meaning of its own",
        got=f"{kind.__module__}.{kind.__qualname__}",
        rule="fad differentiates NumPy's arrays: matrices, masks, labels and units would be lost",
        fix="pass np.asarray(x), and write out the rest: @ for products of matrices, np.where(mask, x, 0.0) or "
        "x.filled(0.0) for masks",
    )


@lru_cache(maxsize=256)
def _is_foreign(kind: type) -> bool:
    if not issubclass(kind, np.ndarray):
        return not issubclass(kind, np.generic | Expr) and (hasattr(kind, "__array_ufunc__") or hasattr(kind, "__array_function__"))
    return any(getattr(kind, name) is not getattr(np.ndarray, name) for name in _OPERATORS)


def _answers(x: Any, protocol: str) -> bool:
    """Whether NumPy would ask x, if fad declined."""
    method = getattr(type(x), protocol, None)
    return not isinstance(x, Expr) and method is not None and method is not getattr(np.ndarray, protocol)


_OPERATORS = ("__array_ufunc__", "__array_function__", "__add__", "__mul__", "__pow__", "__matmul__", "__eq__", "sum")


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
            shape, dtype = (value.shape, value.dtype) if type(value) is not tuple else ((), Results.of_values(value))
    except FadError:
        raise
    except (TypeError, ValueError, IndexError) as error:
        raise explained(error, f"{op.name}: {error}", args) from None
    if op.keeps is not None:
        kept = [a if i in op.keeps else shadow(a) for i, a in enumerate(kept)]
    node = Expr(op, tuple(kept), params, shape, dtype, value)
    if WATCHING:
        FUNCTIONS["watch"](node, values)
    return node


def shadow(a: Any) -> Any:
    """A node without its value, for consumers whose derivative does not read it: the array is freed as soon as the
    user's own reference is gone. Small arrays are not worth it."""
    if type(a) is not Expr or a.value is None or a.op.keeps_out or a.nbytes < _WORTH_FREEING:
        return a
    shade = twin(a)
    _set_value(shade, None)
    return shade


_WORTH_FREEING = 1 << 14  # bytes


def twin(node: Expr) -> Expr:
    """Another object for the same node, which shares no array with it in NumPy's eyes: a copy."""
    is_var = isinstance(node, Var)
    new = Expr.__new__(Var if is_var else Expr)
    for field in _FIELDS + _VAR_FIELDS if is_var else _FIELDS:
        field.__set__(new, field.__get__(node))
    if WATCHING and hasattr(node, "line"):
        _set_line(new, node.line)
    return new


class Overwritten(Expr):
    """What a node becomes when an in-place operator changes its array under another name: reading it raises."""

    __slots__ = ()

    @property
    def value(self) -> Any:  # type: ignore[override]
        """Raises: whoever asks wants the array as it is now."""
        raise AssignmentError(
            "an array was changed in place, and is read under another name or through a view",
            got=aval_text(self.shape, self.dtype),
            rule="an in-place operator gives a new node to the name it is written for, and to no other",
            fix="y = y + x in place of y += x, y.copy() where "
            "they are to differ, or return the new array from the function that changes it",
        )


class OverwrittenVar(Overwritten, Var):
    """The same of a Var."""

    __slots__ = ()


def former(x: Any) -> Any:
    """What an overwritten node was before, for those who go through the tree; anything else as it is."""
    return twin(x) if isinstance(x, Overwritten) else x


def written(function: Callable) -> str:
    """A function of NumPy as users write it: ``np.linalg.solve``."""
    return f"{function.__module__}.{function.__name__}".replace("numpy", "np", 1)


def explained(error: Exception, what: str, args: tuple) -> FadError:
    """NumPy's own error as one that shows the arguments and the user's line."""
    if isinstance(error, np.linalg.LinAlgError):
        return SingularError(
            f"np.linalg.{what.strip(' .:')}",
            got=", ".join(map(short, args)),
            fix="add a small multiple of the identity to the matrix, or use np.linalg.lstsq or np.linalg.pinv",
        )
    kind = (
        ShapeError if isinstance(error, ValueError) else OutOfRangeError if isinstance(error, IndexError) else DtypeError
    )  # NumPy's AxisError is both of the first two, and is about a shape
    fix = (
        "make the shapes equal, or 1 along the axes to stretch; x[:, None] adds an axis"
        if "broadcast" in what
        else "check the arguments against NumPy's documentation of this function"
    )
    return kind(what.strip(" .:"), got=", ".join(map(short, args)), fix=fix)


DECIDING: ContextVar[Any] = ContextVar("deciding", default=None)  # who knows values of symbols: see `fad.compile.specialize`


def _decided(x: Expr) -> Any:
    """The value that a symbolic node has in the call for which a specialised function is traced; None elsewhere."""
    decisions = DECIDING.get()
    return None if decisions is None else decisions.decide(x)


def concrete(x: Any, what: str) -> Any:
    """The value of a node or array; a symbolic node raises, naming what asked for it."""
    if not isinstance(x, Expr):
        return x
    if x.value is None:
        if (decided := _decided(x)) is not None:
            return decided
        raise TraceError(
            f"{what} of a symbolic node",
            got=short(x),
            rule="inside jit, vmap and trace a node has no value",
            fix="in place of `if p: y = f(x)` and `else: y = g(x)` write y = fad.cond(p, f, g, x), or np.where(p, a, b) element by "
            "element; in place of `while p(c): c = f(c)` c = fad.while_loop(p, f, c); or mark the argument as static, or let "
            "fad.jit(f, specialize=True) compile each way. "
            "Plain grad, jvp and vjp follow Python's branches",
        )
    return x.value


_READABLE = frozenset((Expr, Var, Const))  # kinds of nodes that were not overwritten


def reachable(outputs: list, start: int = 0, stop: Any = ()) -> tuple[list[Expr], list[Expr]]:
    """Nodes made since ``start`` on which the outputs depend, in creation order, and the older ones they touch.

    The walk does not pass beyond nodes whose id is in ``stop``.
    """
    seen: dict[int, Expr] = {}
    outer: dict[int, Expr] = {}
    stack = [x for x in outputs if isinstance(x, Expr)]
    for node in stack:
        if type(node) not in _READABLE:
            concrete(node, "a result")  # raises
    while stack:
        node = stack.pop()
        key = node.id
        if key in seen:
            continue
        if key < start:
            outer[key] = former(node)
            continue
        seen[key] = node if type(node) in _READABLE else former(node)
        if key in stop:
            continue
        for a in node.args:
            if isinstance(a, Expr) and a.id not in seen:
                stack.append(a)
    return [seen[key] for key in sorted(seen)], list(outer.values())


_LETTERS = {"f": "f", "i": "i", "u": "u", "c": "c", "b": "bool"}


@lru_cache(maxsize=1024)
def aval_text(shape: tuple, dtype: Any) -> str:
    """``f64[3,4]``; of several results, all of them."""
    if isinstance(dtype, Results):
        return f"({', '.join([aval_text(*a) for a in dtype.avals])})"
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
        if isinstance(x, Overwritten) or x.value is None or x.size > 4:
            return text
        return f"{text} = {np.array2string(np.asarray(x.value), precision=6)}"
    if isinstance(x, np.ndarray | np.generic):
        return aval_text(x.shape, x.dtype) if x.shape else f"{aval_text(x.shape, x.dtype)} {x}"
    text = repr(x)
    return f"{type(x).__name__} {text if len(text) < 60 else text[:57] + '...'}"
