"""What nodes have in common with ndarrays: operators and methods, each one line of NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fad.errors import AssignmentError, DtypeError, NoMemoryError

__all__ = ["FUNCTIONS", "Flat", "Methods"]

FUNCTIONS: dict[Any, Callable] = {}  # NumPy function -> function of nodes; filled by fad.numpy


class Flat:
    """``x.flat``: the elements one after another, to iterate over and to index."""

    def __init__(self, row: Any):
        self.row, self.rest = row, iter(row)

    def __iter__(self) -> Flat:
        return self

    def __next__(self) -> Any:
        return next(self.rest)

    def __len__(self) -> int:
        return len(self.row)

    def __getitem__(self, index: Any) -> Any:
        return self.row[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        self.row[index] = value  # raises


def _binary(ufunc: np.ufunc) -> tuple[Callable, Callable]:
    """The operator of a ufunc, and the reflected one."""

    def operator(self: Any, other: Any) -> Any:
        try:
            return ufunc(self, other)
        except TypeError:
            if getattr(type(other), "__array_ufunc__", ufunc) is None:  # it wants to be asked itself, as NumPy's do
                return NotImplemented
            raise

    return operator, lambda self, other: ufunc(other, self)


def _unary(ufunc: np.ufunc) -> Callable:
    return lambda self: ufunc(self)


def _in_place(operator: Callable) -> Callable:
    return lambda self, other: FUNCTIONS["overwrite"](self, operator(self, other))


def _numpy_method(name: str) -> Callable:
    function = getattr(np, name)

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return function(self, *args, **kwargs)

    method.__name__, method.__doc__ = name, f"`np.{name}` of this node."
    return method


def _refused_method(name: str, fix: str) -> Callable:
    def method(self: Any, *args: Any, **kwargs: Any) -> None:
        raise AssignmentError(f"x.{name}() works in place", got=repr(self), rule="nodes are immutable", fix=fix)

    method.__name__, method.__doc__ = name, f"Raises: ndarray.{name} works in place."
    return method


class Methods:
    """The operators and methods of ndarray, for a class that NumPy dispatches to."""

    __slots__ = ()
    dtype: np.dtype

    T = property(lambda self: np.transpose(self))
    mT = property(lambda self: np.swapaxes(self, -1, -2))
    real = property(lambda self: np.real(self))
    imag = property(lambda self: np.imag(self))
    flat = property(lambda self: Flat(np.ravel(self)))

    # -- operators: each is NumPy's ufunc ----------------------------------------------------------

    for _name, _ufunc in (
        ("add", np.add),
        ("sub", np.subtract),
        ("mul", np.multiply),
        ("truediv", np.true_divide),
        ("floordiv", np.floor_divide),
        ("mod", np.remainder),
        ("divmod", np.divmod),
        ("pow", np.power),
        ("matmul", np.matmul),
        ("and", np.bitwise_and),
        ("or", np.bitwise_or),
        ("xor", np.bitwise_xor),
        ("lshift", np.left_shift),
        ("rshift", np.right_shift),
    ):
        locals()[f"__{_name}__"], locals()[f"__r{_name}__"] = _binary(_ufunc)
    for _name, _comparison in (
        ("eq", np.equal),
        ("ne", np.not_equal),
        ("lt", np.less),
        ("le", np.less_equal),
        ("gt", np.greater),
        ("ge", np.greater_equal),
    ):
        locals()[f"__{_name}__"] = _binary(_comparison)[0]
    for _name, _of_one in (("neg", np.negative), ("pos", np.positive), ("abs", np.absolute), ("invert", np.invert)):
        locals()[f"__{_name}__"] = _unary(_of_one)

    # -- in-place operators: a new node for the name; who reads the old one is told -------------------

    for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift"):
        locals()[f"__i{_name}__"] = _in_place(locals()[f"__{_name}__"])

    # -- ndarray methods ----------------------------------------------------------------------------

    def reshape(self: Any, *shape: Any, order: Any = "C") -> Any:
        """`np.reshape`; the shape as one tuple or as several numbers."""
        return np.reshape(self, shape[0] if len(shape) == 1 else shape, order=order)

    def transpose(self: Any, *axes: Any) -> Any:
        """`np.transpose`; the axes as one tuple or as several numbers."""
        return np.transpose(self, (axes[0] if len(axes) == 1 else axes) or None)

    def astype(self, dtype: Any, order: str = "K", casting: Any = "unsafe", subok: bool = True, copy: bool = True) -> Any:
        """The array in another dtype, a copy; the derivative passes between float dtypes and stops at integers."""
        if casting != "unsafe" and not np.can_cast(self.dtype, dtype, casting):
            raise DtypeError(
                f"x.astype(): no {casting} cast",
                got=f"{self!r} to {np.dtype(dtype)}",
                rule="casting= says what may be lost",
                fix='casting="unsafe", which is what astype does by itself',
            )
        y = FUNCTIONS["astype"](self, dtype)
        return FUNCTIONS["copy"](self) if y is self and copy else y

    def copy(self, order: str = "C") -> Any:
        """The same node, which in-place operators on this one do not change."""
        return FUNCTIONS["copy"](self)

    def flatten(self: Any, order: Any = "C") -> Any:
        """The elements as one row of their own, where `ravel` gives a view."""
        return FUNCTIONS["copy"](np.ravel(self, order))

    def compress(self: Any, condition: Any, axis: Any = None, out: Any = None) -> Any:
        """`np.compress` of this node."""
        return np.compress(condition, self, axis, out)

    for _name in (
        "sum",
        "prod",
        "max",
        "min",
        "mean",
        "var",
        "std",
        "argmax",
        "argmin",
        "any",
        "all",
        "cumsum",
        "cumprod",
        "ptp",
        "round",
        "clip",
        "ravel",
        "squeeze",
        "swapaxes",
        "diagonal",
        "trace",
        "repeat",
        "take",
        "dot",
        "argsort",
        "nonzero",
        "searchsorted",
        "argpartition",
        "choose",
    ):
        locals()[_name] = _numpy_method(_name)
    # what a ufunc calls on every element of an array of objects, which is what np.array([x, y]) makes of nodes
    for _name in (
        "arccos",
        "arccosh",
        "arcsin",
        "arcsinh",
        "arctan",
        "arctan2",
        "arctanh",
        "cbrt",
        "cos",
        "cosh",
        "deg2rad",
        "degrees",
        "exp",
        "exp2",
        "expm1",
        "fabs",
        "fmod",
        "hypot",
        "log",
        "log10",
        "log1p",
        "log2",
        "rad2deg",
        "radians",
        "rint",
        "sin",
        "sinh",
        "sqrt",
        "tan",
        "tanh",
    ):
        locals()[_name] = _numpy_method(_name)
    for _name, _fix in (
        ("sort", "y = np.sort(x, axis)"),
        ("partition", "y = np.partition(x, kth)"),
        ("fill", "y = np.full_like(x, v), or fad.at(x)[...].set(v)"),
        ("resize", "y = x.reshape(shape)"),
        ("put", "y = fad.at(x.ravel())[i].set(v).reshape(x.shape)"),
        ("setfield", "y = x.astype(dtype)"),
        ("setflags", "leave it away: nodes are read-only"),
    ):
        locals()[_name] = _refused_method(_name, _fix)
    conj = conjugate = _numpy_method("conj")
    del _name, _ufunc, _fix


def _of_memory(name: str) -> property:
    """An attribute of ndarray that a node has not. (A `__getattr__` would slow down every attribute there is.)"""

    def refuse(self: Methods) -> None:
        raise NoMemoryError(
            f"x.{name} of a node",
            got=repr(self),
            rule="a node has no memory",
            fix=f"fad.value(x).{name} for its numbers, or x.astype(dtype)",
        )

    return property(refuse)


for _name in dir(np.ndarray):
    if not _name.startswith("_") and not hasattr(Methods, _name):
        setattr(Methods, _name, _of_memory(_name))
