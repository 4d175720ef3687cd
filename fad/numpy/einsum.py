"""Einstein's summation: NumPy's whole notation, with each letter once per operand and an explicit output."""

from __future__ import annotations

from string import ascii_letters, ascii_uppercase
from typing import Any

import numpy as np

from fad.core.expr import short
from fad.errors import ShapeError
from fad.numpy.dispatch import as_array, implements, no_out
from fad.numpy.shape import diagonal, permuted, reshaped
from fad.primitives import linalg as primitives
from fad.primitives.elementwise import cast

__all__ = ["einsum"]

_INTEGER_LETTERS = ascii_uppercase + ascii_uppercase.lower()  # as NumPy reads [0, 1] in place of "AB"


def _misuse(what: str, subscripts: str, rule: str) -> ShapeError:
    return ShapeError(f"einsum: {what}", got=repr(subscripts), rule=rule, fix="np.einsum('ij,jk->ik', a, b) shows the form")


@implements(np.einsum)
def einsum(
    *operands: Any, out: Any = None, optimize: Any = False, dtype: Any = None, order: str = "K", casting: str = "safe"
) -> Any:
    """Sums of products over the letters that the output does not name.

    Implicit outputs, ellipses, letters repeated in an operand (diagonals), operands of length one along a letter,
    and the form ``einsum(a, [0, 1], b, [1, 2], [0, 2])`` are understood; a good order is always looked for.

    >>> einsum("ij,j", np.eye(2), np.array([1.0, 2.0]))
    array([1., 2.])
    """
    no_out(out)
    subscripts, arrays = _read(operands)
    xs = [as_array(x) if dtype is None else cast(as_array(x), np.dtype(dtype)) for x in arrays]
    terms, output = _spell_out(subscripts, xs)
    for i, term in enumerate(terms):
        terms[i], xs[i] = _on_diagonals(term, xs[i], subscripts)
    terms, xs = _without_broadcast(terms, xs, subscripts)
    if len(xs) == 1:
        return _of_one(xs[0], terms[0], output)
    return primitives.einsum(*xs, subscripts=f"{','.join(terms)}->{output}")


def _read(operands: tuple) -> tuple[str, list]:
    """The subscripts as a string, and the operands."""
    if operands and isinstance(operands[0], str):
        return operands[0].replace(" ", ""), list(operands[1:])

    def letters(indices: Any) -> str:
        return "".join("..." if i is Ellipsis else _INTEGER_LETTERS[i] for i in indices)

    arrays, lists = list(operands[0::2]), list(operands[1::2])
    output = ""
    if len(arrays) > len(lists):
        output = "->" + letters(arrays.pop())
    return ",".join(map(letters, lists)) + output, arrays


def _spell_out(subscripts: str, xs: list) -> tuple[list[str], str]:
    """Terms and output with letters in place of ellipses, the output worked out where it is implicit."""
    inputs, arrow, output = subscripts.partition("->")
    terms = inputs.split(",")
    if len(terms) != len(xs):
        raise _misuse(f"{len(terms)} terms for {len(xs)} operands", subscripts, "one term for each operand")
    if any(c not in ascii_letters for c in subscripts.replace("...", "").replace("->", "").replace(",", "")):
        raise _misuse("not a letter", subscripts, "letters, commas, '...' and '->'")
    free = [c for c in ascii_letters if c not in subscripts]
    hidden = [x.ndim - len(t) + 3 if "..." in t else 0 for t, x in zip(terms, xs, strict=True)]
    for term, x, h in zip(terms, xs, hidden, strict=True):
        if h < 0 or ("..." not in term and len(term) != x.ndim):
            raise _misuse(f"{term!r} for {short(x)}", subscripts, "a letter for each axis")
    ellipsis = "".join(free[: max(hidden, default=0)])
    terms = [t.replace("...", ellipsis[len(ellipsis) - h :]) for t, h in zip(terms, hidden, strict=True)]
    if not arrow:
        named = "".join(terms)
        output = "..." + "".join(sorted(c for c in set(named) if named.count(c) == 1 and c not in ellipsis))
    elif "..." not in output and ellipsis:
        raise _misuse("'...' is missing in the output", subscripts, "the axes it stands for are not summed")
    output = output.replace("...", ellipsis)
    if len(set(output)) != len(output) or not set(output) <= set("".join(terms)):
        raise _misuse("the output does not fit", subscripts, "it names letters of the operands, each once")
    return terms, output


def _on_diagonals(term: str, x: Any, subscripts: str) -> tuple[str, Any]:
    """An operand reduced to the diagonals that repeated letters ask for."""
    for letter in dict.fromkeys(term):
        while term.count(letter) > 1:
            i = term.index(letter)
            j = term.index(letter, i + 1)
            if x.shape[i] != x.shape[j]:
                raise _misuse(f"{letter!r} has lengths {x.shape[i]} and {x.shape[j]}", subscripts, "a letter has one length")
            x = diagonal(x, 0, i, j)
            term = term[:i] + term[i + 1 : j] + term[j + 1 :] + letter
    return term, x


def _without_broadcast(terms: list[str], xs: list, subscripts: str) -> tuple[list[str], list]:
    """Operands without the axes of length one that another operand is longer in."""
    sizes: dict[str, int] = {}
    for term, x in zip(terms, xs, strict=True):
        for letter, n in zip(term, x.shape, strict=True):
            if n != 1 and sizes.get(letter, 1) not in (1, n):
                raise _misuse(f"{letter!r} has lengths {sizes[letter]} and {n}", subscripts, "a letter has one length")
            if n != 1 or letter not in sizes:
                sizes[letter] = n
    for i, (term, x) in enumerate(zip(terms, xs, strict=True)):
        kept = [k for k, letter in enumerate(term) if x.shape[k] == sizes[letter]]
        if len(kept) < len(term):
            terms[i], xs[i] = "".join(term[k] for k in kept), reshaped(x, tuple(x.shape[k] for k in kept))
    return terms, xs


def _of_one(x: Any, term: str, output: str) -> Any:
    """Sums and a transpose."""
    summed = tuple(i for i, letter in enumerate(term) if letter not in output)
    left = "".join(letter for letter in term if letter in output)
    y = np.sum(x, axis=summed, dtype=x.dtype) if summed else x
    return permuted(y, tuple(left.index(letter) for letter in output))
