"""Function: a closed expression tree with the pytree structure of its arguments and results.

Immutable, callable, composable, comparable and hashable by structure, picklable, printable.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fad import tree
from fad.core.expr import WATCHING, Const, Expr, Var, aval_text, former, reachable, refuse_foreign, short
from fad.core.nans import is_watching, watched_steps
from fad.core.owned import own
from fad.core.primitive import named
from fad.core.show import dot, equations, svg
from fad.errors import DtypeError, ShapeError, TraceError, TreeError
from fad.tree import freeze

__all__ = ["Function", "chooses", "functions_of"]


class Function:
    """``outputs`` as a function of ``inputs``: what `fad.trace` returns.

    Calling it with arrays runs it with NumPy; calling it with nodes inlines it into their tree. Raises
    TraceError if the outputs depend on a Var that is not among the inputs.

    >>> import fad
    >>> f = fad.trace(lambda x: np.sin(x) * x)(np.ones(3))
    >>> print(f)
    f = lambda x:f64[3]
      a:f64[3] = sin x
      b:f64[3] = multiply a x
      in b
    >>> f == fad.trace(lambda y: np.sin(y) * y)(np.zeros(3))
    True
    """

    __slots__ = ("name", "inputs", "outputs", "in_tree", "out_tree", "_schedule", "_key")
    name: str
    inputs: tuple[Var, ...]
    outputs: tuple[Expr, ...]
    in_tree: tree.TreeDef
    out_tree: tree.TreeDef
    _schedule: Any
    _key: Any

    def __init__(self, inputs: Any, outputs: Any, in_tree: Any = None, out_tree: Any = None, name: str = "f"):
        inputs = tuple(map(former, inputs))  # where the function changed its argument in place
        outputs = tuple(y if isinstance(y, Expr) else Const(y) for y in outputs)
        ids = {x.id for x in inputs}
        for node in reachable(list(outputs), stop=ids)[0]:
            if isinstance(node, Var) and node.id not in ids and not node.args and node.value is None:
                raise TraceError(
                    f"{name}: an output depends on a variable that is not an input",
                    got=short(node),
                    rule="a Function is a closed tree" + (f"; this one belongs to {node.origin!r}" if node.origin else ""),
                    fix="pass it as an argument",
                )
        for field, content in (
            ("name", name),
            ("inputs", inputs),
            ("outputs", outputs),
            ("_schedule", None),
            ("_key", None),
            ("in_tree", tree.structure(inputs) if in_tree is None else in_tree),
            ("out_tree", tree.structure(outputs if len(outputs) != 1 else outputs[0]) if out_tree is None else out_tree),
        ):
            object.__setattr__(self, field, content)

    def __setattr__(self, name: str, value: Any) -> None:
        raise TraceError("a Function cannot be changed", got=name, rule="it is immutable", fix="trace a new one")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs:
            raise TreeError(
                f"{self.name}: a Function has no keyword arguments",
                got=", ".join(kwargs),
                rule="those of the call that was traced are part of it",
                fix="pass by position, or trace anew",
            )
        leaves, in_tree = tree.flatten(args)
        if in_tree != self.in_tree:
            raise TreeError(
                f"{self.name}: arguments of another structure",
                got=in_tree,
                rule=f"it takes {self.in_tree}",
                fix="call it as it was traced",
            )
        leaves = [_checked(self.name, leaf, var) for leaf, var in zip(leaves, self.inputs, strict=True)]
        return tree.unflatten(self.out_tree, own(self.run(leaves), leaves))

    def run(self, leaves: list) -> list:
        """The outputs for the flat inputs: one pass over the schedule; each intermediate is dropped after its last use."""
        template, steps, out_slots = self.schedule
        env = list(template)
        env[: len(leaves)] = leaves
        if WATCHING and is_watching():
            steps = watched_steps(steps, [node for node in _slots(self)[1] if node.op is not None])
        for op, refs, params, slot, dead in steps:
            env[slot] = op(*[env[r] for r in refs], **params)
            for r in dead:
                env[r] = None
        return [env[slot] for slot in out_slots]

    @property
    def schedule(self) -> tuple[list, list, tuple]:
        """(slots with the constants filled in, steps ``(op, refs, params, slot, dead slots)``, output slots)."""
        if self._schedule is None:
            object.__setattr__(self, "_schedule", _schedule(self))
        return self._schedule

    @property
    def nodes(self) -> list[Expr]:
        """The operations in creation order, without leaves and aliases."""
        found = reachable(list(self.outputs), stop={x.id for x in self.inputs})[0]
        return [n for n in found if n.op is not None and not isinstance(n, Var)]

    @property
    def constants(self) -> list[Expr]:
        """The constant arrays that are nodes."""
        found = reachable(list(self.outputs), stop={x.id for x in self.inputs})[0]
        return [n for n in found if n.op is None and not isinstance(n, Var)]

    @property
    def chooses(self) -> int:
        """Whether an operation of it drops elements (1) or selects some (2), or both (3), as in the records."""
        found = 0
        for node in self.nodes:
            found |= chooses(node)
        return found

    @property
    def flops(self) -> int:
        """Floating-point operations of one call, as the records count them."""
        return sum(n.op.flops(n, *n.args, **n.params) for n in self.nodes)

    def __matmul__(self, inner: Function) -> Function:
        """Composition: (f @ g)(*args) = f(g(*args)), the results of g being the arguments of f."""
        if not isinstance(inner, Function):
            return NotImplemented
        takes, gives = [(x.shape, x.dtype) for x in self.inputs], [(y.shape, y.dtype) for y in inner.outputs]
        if takes != gives:
            raise ShapeError(
                f"{self.name} @ {inner.name} do not fit",
                got=", ".join(map(short, inner.outputs)),
                rule="f takes " + ", ".join(map(short, self.inputs)),
                fix="make g return what f takes",
            )
        return Function(inner.inputs, self.run(list(inner.outputs)), inner.in_tree, self.out_tree, f"{self.name}@{inner.name}")

    # -- structure ----------------------------------------------------------------------------------

    @property
    def key(self) -> tuple:
        """A hashable value that is equal for Functions of equal structure: names do not matter, constants do."""
        if self._key is None:
            template, steps, outs = self.schedule
            n = len(self.inputs)
            body = tuple((op.name, tuple(refs), freeze(params), slot) for op, refs, params, slot, _ in steps)
            inputs = tuple((x.shape, x.dtype.str, x.weak) for x in self.inputs)
            content = (inputs, tuple(freeze(c) for c in template[n:]), body, outs, self.in_tree, self.out_tree)
            object.__setattr__(self, "_key", (hash(content), content))
        return self._key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Function) and self.key == other.key

    def __hash__(self) -> int:
        return self.key[0]

    def __reduce__(self) -> tuple:
        template, steps, outs = self.schedule
        inputs = [(x.name, x.shape, x.dtype, x.weak) for x in self.inputs]
        avals = _slot_avals(self)
        flat = [(op.name, tuple(refs), params, slot, *avals[slot]) for op, refs, params, slot, _ in steps]
        structures = tree.state(self.in_tree), tree.state(self.out_tree)
        return _rebuild, (self.name, inputs, template[len(inputs) :], flat, outs, *structures)

    # -- pictures -------------------------------------------------------------------------------------

    def __str__(self) -> str:
        return equations(self)

    def __repr__(self) -> str:
        ins = ", ".join(map(short, self.inputs))
        outs = ", ".join(aval_text(y.shape, y.dtype) for y in self.outputs)
        return f"<Function {self.name}({ins}) -> {outs}, {len(self.nodes)} nodes>"

    def to_dot(self) -> str:
        """The tree in Graphviz's dot language."""
        return dot(self)

    def _repr_svg_(self) -> str | None:
        return svg(self)


def functions_of(node: Expr) -> list[Function]:
    """The Functions that the parameters of a node hold."""
    held = [node.params[name] for name in node.op.functions]
    flat = [f for x in held for f in (x if isinstance(x, tuple) else (x,))]
    return [f for f in flat if f is not None]


def chooses(node: Expr) -> int:
    """Whether an operation drops elements (1) or selects some (2), or a Function that it holds does."""
    found = node.op.chooses
    for f in functions_of(node) if node.op.functions else ():
        found |= f.chooses
    return found


def _checked(name: str, leaf: Any, var: Var) -> Any:
    refuse_foreign(leaf)
    if not isinstance(leaf, Expr | np.ndarray | np.generic):
        try:
            if type(leaf) is var.weak:
                return leaf
            leaf = np.asarray(leaf, var.dtype) if type(leaf) in (int, float, complex, bool) else np.asarray(leaf)
        except (TypeError, ValueError):
            raise DtypeError(
                f"{name}: not an array", got=short(leaf), rule=f"it takes {short(var)}", fix="pass an array of numbers"
            ) from None
    if leaf.shape != var.shape:
        raise ShapeError(
            f"{name}: wrong shape for {var.name}",
            got=short(leaf),
            rule=f"it was traced for {short(var)}",
            fix="trace the Python function again for this shape",
        )
    if leaf.dtype != var.dtype:
        if not np.can_cast(leaf.dtype, var.dtype, "safe"):
            raise DtypeError(
                f"{name}: wrong dtype for {var.name}",
                got=short(leaf),
                rule=f"it was traced for {short(var)}",
                fix=f"pass x.astype(np.{var.dtype})",
            )
        leaf = leaf.astype(var.dtype)
    return leaf


def _slots(function: Function) -> tuple[dict[int, int], list]:
    """Slot numbers by node id; aliases share the slot of what they stand for."""
    slots = {x.id: i for i, x in enumerate(function.inputs)}
    order: list[Expr] = []
    for node in reachable(list(function.outputs), stop=set(slots))[0]:
        if node.id in slots:
            continue
        if isinstance(node, Var) and node.args:
            slots[node.id] = slots[node.args[0].id]
        else:
            slots[node.id] = len(function.inputs) + len(order)
            order.append(node)
    return slots, order


def _slot_avals(function: Function) -> dict[int, tuple]:
    slots, order = _slots(function)
    return {slots[n.id]: (n.shape, n.dtype) for n in order}


def _schedule(function: Function) -> tuple[list, list, tuple]:
    slots, order = _slots(function)
    template: list = [None] * (len(function.inputs) + len(order))
    steps = []
    for node in order:
        slot = slots[node.id]
        if node.op is None:
            template[slot] = node.value
            continue
        refs = []
        for a in node.args:
            if isinstance(a, Expr):
                refs.append(slots[a.id])
            else:
                refs.append(len(template))
                template.append(a)
        steps.append((node.op, refs, node.params, slot))
    outs = tuple(slots[y.id] for y in function.outputs)
    return template, _with_deaths(steps, set(outs)), outs


def _with_deaths(steps: list, needed: set[int]) -> list:
    """Each step with the slots that nothing reads after it."""
    alive = set(needed)
    marked = []
    for op, refs, params, slot in reversed(steps):
        dead = [r for r in dict.fromkeys(refs) if r not in alive]
        alive.update(dead)
        marked.append((op, refs, params, slot, dead))
    return marked[::-1]


def _rebuild(name: str, inputs: list, constants: list, steps: list, outs: tuple, in_tree: Any, out_tree: Any) -> Function:
    """The Function that was pickled."""
    variables = [Var(n, shape, dtype, weak=weak) for n, shape, dtype, weak in inputs]
    env: list = [*variables, *constants]
    for op, refs, params, slot, shape, dtype in steps:
        env[slot] = Expr(named(op), tuple(env[r] for r in refs), params, shape, dtype, None)
    return Function(variables, [env[s] for s in outs], tree.restored(in_tree), tree.restored(out_tree), name)
