"""Trees as text (let-equations that show sharing, shapes and dtypes) and as pictures (Graphviz)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fad.core.expr import FUNCTIONS, Expr, Var, aval_text, reachable

__all__ = ["equations", "dot", "svg"]

_SVG_NODES = 500  # larger pictures cannot be read, and Graphviz takes minutes for them


def equations(function: Any) -> str:
    """One line for every node, in the order in which it is computed."""
    names = _names(function.inputs, function.outputs)
    header = ", ".join(f"{names[x.id]}:{aval_text(x.shape, x.dtype)}" for x in function.inputs)
    result = ", ".join(names[y.id] for y in function.outputs)
    return "\n".join([f"{function.name} = lambda {header}", *_lines(function.outputs, names, function.inputs), f"  in {result}"])


def tree_text(node: Expr) -> str:
    """The equations of a tree that was written by hand."""
    names = _names((), (node,))
    free = [n for n in reachable([node])[0] if isinstance(n, Var) and not n.args]
    header = ", ".join(f"{names[x.id]}:{aval_text(x.shape, x.dtype)}" for x in free)
    return "\n".join([f"tree of {header}", *_lines((node,), names, free), f"  in {names[node.id]}"])


FUNCTIONS["text"] = tree_text


def _lines(outputs: tuple, names: dict[int, str], inputs: Any) -> Iterator[str]:
    stop = {x.id for x in inputs}
    for node in reachable(list(outputs), stop=stop)[0]:
        if node.id in stop or isinstance(node, Var):
            continue
        left = f"  {names[node.id]}:{aval_text(node.shape, node.dtype)}"
        yield f"{left} = {_right(node, names)}"


def _right(node: Expr, names: dict[int, str]) -> str:
    if node.op is None:
        return constant_text(node.value)
    words = [node.op.name, *(names[a.id] if isinstance(a, Expr) else constant_text(a) for a in node.args)]
    if node.params:
        words.append("{" + ", ".join(f"{k}={param_text(v)}" for k, v in node.params.items()) + "}")
    return " ".join(words)


def constant_text(x: Any) -> str:
    """A short constant in full, a long one as its shape."""
    if isinstance(x, np.ndarray) and x.ndim:
        return np.array2string(x, separator=",", precision=4).replace("\n", "") if x.size <= 4 else aval_text(x.shape, x.dtype)
    return str(x) if isinstance(x, np.ndarray | np.generic) else repr(x)


def param_text(x: Any) -> str:
    """A static parameter; slices as in ``x[1:, ::2]``."""
    if isinstance(x, slice):
        start, stop, step = ("" if v is None else str(v) for v in (x.start, x.stop, x.step))
        return f"{start}:{stop}" + (f":{step}" if step else "")
    if isinstance(x, tuple):
        return "(" + ", ".join(map(param_text, x)) + ("," if len(x) == 1 else "") + ")"
    return "..." if x is Ellipsis else str(x)


def _names(inputs: tuple, outputs: tuple) -> dict[int, str]:
    """Vars keep their names; other nodes are a, b, ..., z, aa, ab, ... in order; aliases have the name of their node."""
    names: dict[int, str] = {}
    taken: set[str] = set()
    nodes = reachable(list(outputs), stop={x.id for x in inputs})[0]
    for x in [*inputs, *(n for n in nodes if isinstance(n, Var) and not n.args)]:
        if x.id not in names:
            name, k = x.name, 1
            while name in taken:
                k += 1
                name = f"{x.name}{k}"
            names[x.id] = name
            taken.add(name)
    count = 0
    for node in nodes:
        if node.id in names:
            continue
        if isinstance(node, Var):
            names[node.id] = names[node.args[0].id]
            continue
        while (name := _letters(count)) in taken:
            count += 1
        names[node.id] = name
        count += 1
    return names


def _letters(k: int) -> str:
    text = ""
    k += 1
    while k:
        k, digit = divmod(k - 1, 26)
        text = chr(97 + digit) + text
    return text


def dot(function: Any) -> str:
    """The tree in Graphviz's dot language: boxes are inputs, ellipses operations, edges carry shapes."""
    names = _names(function.inputs, function.outputs)
    lines = ["digraph {", '  node [fontname="Helvetica" fontsize=11]; edge [fontname="Helvetica" fontsize=9 color="#667788"]']
    for x in function.inputs:
        lines.append(f'  "{names[x.id]}" [shape=box style=filled fillcolor="#e8f0fe"]')
    for node in reachable(list(function.outputs), stop={x.id for x in function.inputs})[0]:
        if isinstance(node, Var):
            continue
        label = node.op.name if node.op is not None else constant_text(node.value)
        lines.append(f'  "{names[node.id]}" [label="{label}"]')
        for k, a in enumerate(node.args):
            source = names[a.id] if isinstance(a, Expr) else f"{names[node.id]}.{k}"
            if not isinstance(a, Expr):
                lines.append(f'  "{source}" [label="{constant_text(a)}" shape=plaintext fontcolor="#667788"]')
            shape = aval_text(a.shape, a.dtype) if isinstance(a, Expr) else ""
            lines.append(f'  "{source}" -> "{names[node.id]}" [label="{shape}"]')
    for i, y in enumerate(function.outputs):
        lines += [
            f'  "out{i}" [label="result {i}" shape=box style=filled fillcolor="#fce8e6"]',
            f'  "{names[y.id]}" -> "out{i}" [label="{aval_text(y.shape, y.dtype)}"]',
        ]
    return "\n".join([*lines, "}"])


def svg(function: Any) -> str | None:
    """The tree as SVG where Graphviz is installed and the tree is small enough to be read."""
    import shutil
    import subprocess  # slow to import, and seldom wanted

    if shutil.which("dot") is None or len(function.nodes) > _SVG_NODES:
        return None
    done = subprocess.run(["dot", "-Tsvg"], input=dot(function), capture_output=True, text=True, timeout=60, check=False)
    return done.stdout or None
