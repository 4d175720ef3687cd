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


class Methods:
    """The operators and methods of ndarray, for a class that NumPy dispatches to."""

    __slots__ = ()

    T = property(lambda self: np.transpose(self))
    mT = property(lambda self: np.swapaxes(self, -1, -2))
    real = property(lambda self: np.real(self))
    imag = property(lambda self: np.imag(self))
    flat = property(lambda self: Flat(np.ravel(self)))

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

    # -- in-place operators: a new node for the name; who reads the old one is told -------------------

    def __iadd__(self, other: Any) -> Any: return FUNCTIONS["overwrite"](self, self + other)
    def __isub__(self, other: Any) -> Any: return FUNCTIONS["overwrite"](self, self - other)
    def __imul__(self, other: Any) -> Any: return FUNCTIONS["overwrite"](self, self * other)
    def __itruediv__(self, other: Any) -> Any: return FUNCTIONS["overwrite"](self, self / other)
    def __ifloordiv__(self, other: Any) -> Any: return FUNCTIONS["overwrite"](self, self // other)
    def __imod__(self, other: Any) -> Any: return FUNCTIONS["overwrite"](self, self % other)
    def __ipow__(self, other: Any) -> Any: return FUNCTIONS["overwrite"](self, self ** other)
    def __imatmul__(self, other: Any) -> Any: return FUNCTIONS["overwrite"](self, self @ other)
    def __iand__(self, other: Any) -> Any: return FUNCTIONS["overwrite"](self, self & other)
    def __ior__(self, other: Any) -> Any: return FUNCTIONS["overwrite"](self, self | other)
    def __ixor__(self, other: Any) -> Any: return FUNCTIONS["overwrite"](self, self ^ other)
    def __ilshift__(self, other: Any) -> Any: return FUNCTIONS["overwrite"](self, self << other)
    def __irshift__(self, other: Any) -> Any: return FUNCTIONS["overwrite"](self, self >> other)

    # -- ndarray methods ----------------------------------------------------------------------------

    def reshape(self, *shape: Any, order: str = "C") -> Any:
        """`np.reshape`; the shape as one tuple or as several numbers."""
        return np.reshape(self, shape[0] if len(shape) == 1 else shape, order=order)

    def transpose(self, *axes: Any) -> Any:
        """`np.transpose`; the axes as one tuple or as several numbers."""
        return np.transpose(self, (axes[0] if len(axes) == 1 else axes) or None)

    def astype(self, dtype: Any, order: str = "K", casting: str = "unsafe", subok: bool = True, copy: bool = True) -> Any:
        """The array in another dtype, a copy; the derivative passes between float dtypes and stops at integers."""
        if casting != "unsafe" and not np.can_cast(self.dtype, dtype, casting):
            raise DtypeError(f"x.astype(): no {casting} cast", got=f"{self!r} to {np.dtype(dtype)}",
                             rule="casting= says what may be lost", fix='casting="unsafe", which is what astype does by itself')
        y = FUNCTIONS["astype"](self, dtype)
        return FUNCTIONS["copy"](self) if y is self and copy else y

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or not hasattr(np.ndarray, name):
            raise AttributeError(f"a node has no attribute {name!r}")
        raise NoMemoryError(f"x.{name} of a node", got=repr(self), rule="a node has no memory",
                            fix=f"fad.value(x).{name} for its numbers, or x.astype(dtype)")

    def copy(self, order: str = "C") -> Any:
        """The same node, which in-place operators on this one do not change."""
        return FUNCTIONS["copy"](self)

    def flatten(self, order: str = "C") -> Any:
        """The elements as one row of their own, where `ravel` gives a view."""
        return FUNCTIONS["copy"](np.ravel(self, order))

    def compress(self, condition: Any, axis: Any = None, out: Any = None) -> Any:
        """`np.compress` of this node."""
        return np.compress(condition, self, axis, out)

    def _numpy_method(name: str) -> Callable:  # type: ignore[misc]
        function = getattr(np, name)

        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            return function(self, *args, **kwargs)

        method.__name__, method.__doc__ = name, f"`np.{name}` of this node."
        return method

    def _refused_method(name: str, fix: str) -> Callable:  # type: ignore[misc]
        def method(self: Any, *args: Any, **kwargs: Any) -> None:
            raise AssignmentError(f"x.{name}() works in place", got=repr(self), rule="nodes are immutable", fix=fix)

        method.__name__, method.__doc__ = name, f"Raises: ndarray.{name} works in place."
        return method

    for _name in ("sum", "prod", "max", "min", "mean", "var", "std", "argmax", "argmin", "any", "all", "cumsum",
                  "cumprod", "ptp", "round", "clip", "ravel", "squeeze", "swapaxes", "diagonal", "trace", "repeat",
                  "take", "dot", "argsort", "nonzero", "searchsorted", "argpartition", "choose"):
        locals()[_name] = _numpy_method(_name)
    # what a ufunc calls on every element of an array of objects, which is what np.array([x, y]) makes of nodes
    for _name in ("arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "cbrt", "cos", "cosh", "deg2rad",
                  "degrees", "exp", "exp2", "expm1", "fabs", "fmod", "hypot", "log", "log10", "log1p", "log2", "rad2deg",
                  "radians", "rint", "sin", "sinh", "sqrt", "tan", "tanh"):
        locals()[_name] = _numpy_method(_name)
    for _name, _fix in (("sort", "y = np.sort(x, axis)"), ("partition", "y = np.partition(x, kth)"),
                        ("fill", "y = np.full_like(x, v), or fad.at(x)[...].set(v)"), ("resize", "y = x.reshape(shape)"),
                        ("put", "y = fad.at(x.ravel())[i].set(v).reshape(x.shape)"),
                        ("setfield", "y = x.astype(dtype)"), ("setflags", "leave it away: nodes are read-only")):
        locals()[_name] = _refused_method(_name, _fix)
    conj = conjugate = _numpy_method("conj")
    del _numpy_method, _refused_method, _name, _fix
