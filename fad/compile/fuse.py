"""Fuse: which nodes are stored, which are computed where they are used, and which loop nests that makes.

Elementwise nodes, views and small reductions are pulled into the loops that use them; reductions, outputs and the
arguments of callbacks are stored. A value that several nests want is stored if that is cheaper than computing it again.
Nodes get a level, the number of stored results they must wait for; what shares level and domain becomes one nest.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from math import prod
from typing import Any

from fad.compile import index as ix
from fad.compile.contraction import KERNELS, can_read, is_kernel
from fad.compile.scalar import KIND, STORED, lower
from fad.compile.steps import Callback, Control, Nest, Partition, find_parts, is_masked, is_view, scattered
from fad.core.expr import Const, Expr, Var
from fad.core.function import Function, functions_of

__all__ = ["partition"]

UNROLL = 8  # elements of a reduction that is written out where it is used
BODY = 600  # operations in one nest: LLVM's time must stay linear
BOXES = 9  # boxes into which embeds and concatenations may cut a nest
CODE = 1200  # operations of a nest times its boxes, each of which is code of its own
SCALAR = 60  # operations of a scalar that every piece of a nest may do again
RECOMPUTE = ((1 << 17, 12), (1 << 24, 20), (1 << 62, 60))  # (bytes of an array, operations an element worth doing twice)


def is_fold(node: Expr) -> bool:
    """Whether a node is a reduction that loops can do."""
    return node.op.role == "reduction" and node.op.lower is not None


def count_boxes(cuts: frozenset, shape: tuple) -> int:
    """Into how many boxes these cuts divide an array."""
    return prod([1 + sum([1 for k, _ in cuts if k == axis]) for axis in range(len(shape))]) if cuts else 1


NO_CUTS: frozenset = frozenset()


@dataclass(slots=True, eq=False)
class _Choice:
    """What is decided about a node, which the partitioner alone changes."""

    is_memory: bool = False  # an input, a constant, stored or another name of one of these
    native: bool = True
    stored: bool = False
    alias: Expr | None = None  # of a reshape: what it shares memory with
    inline: bool = False  # a reduction that is written out where it is used
    kernel: bool = False  # a product or convolution
    cost: float = 0  # operations an element, of what is fused below
    depth: int = 0
    cuts: frozenset = NO_CUTS  # (axis, position) at which embeds and concatenations below begin and end
    boxed: frozenset = NO_CUTS  # at which the nest that stores it is cut
    stretch: int = 0  # a nest takes nodes of one stretch of their level
    consumers: list[Expr] = field(default_factory=list)
    level: int = 0
    source: int | None = None  # the kernel whose result it takes as it is made
    fresh: bool = False  # takes at its level what is made there, which only the same nest at the same index can
    cutting: bool = False  # takes at its level what is made in boxes


@dataclass(slots=True)
class _Stretch:
    """Nodes of one level and domain, counted off: where they would be too much code for one nest, the next stretch begins.

    Roots of one nest are each computed in the boxes of all of them, so cuts count together."""

    number: int = 0
    operations: int = 0
    cuts: frozenset = NO_CUTS

    def take(self, operations: int, cuts: frozenset, domain: tuple) -> int:
        """The number of the stretch to which a node belongs."""
        self.operations, self.cuts = self.operations + operations, self.cuts | cuts
        boxes = count_boxes(self.cuts, domain)
        if self.operations > BODY or (boxes > BOXES and boxes * self.operations > CODE):
            self.number, self.operations, self.cuts = self.number + 1, operations, cuts
        return self.number


class _Partitioner:
    """Decides about one node after the other; in the end the decisions make nests. Nodes ``shared`` are stored in any case."""

    def __init__(self, function: Function, called: dict[int, str], shared: set[int], held: dict[int, tuple]):
        self.function, self.called, self.held = function, called, held
        self.nodes = function.nodes
        self.choices = {x.id: _Choice(is_memory=True) for x in (*function.inputs, *function.constants)}
        self.choices |= {x.id: _Choice() for x in self.nodes}
        self.kept = shared | {y.id for y in function.outputs if y.op is not None and not isinstance(y, Var)}

    def decide(self) -> set[int]:
        """Decide about all nodes; the ids of those that are stored because nests share them."""
        for node in self.nodes:
            self.visit(node)
        self.set_levels()
        self.set_stretches()
        shared = self.share()
        self.set_levels()
        self.set_stretches()
        return shared

    # -- what must be stored -------------------------------------------------------------------------------------

    def is_leaf(self, x: Any) -> bool:
        """Whether reading x needs no computation: memory, or a view of memory."""
        while isinstance(x, Expr):
            choice = self.choices[x.id]
            if choice.is_memory or not choice.native or not is_view(x):
                return choice.is_memory
            x = x.args[0]
        return True

    def store(self, x: Any, itself: bool = False) -> None:
        """Give x memory of its own, unless it is a number or in memory; of a view what it views, but for x ``itself``."""
        while (
            isinstance(x, Expr)
            and not itself
            and is_view(x)
            and isinstance(x.args[0], Expr)
            and x.args[0].size <= x.size
            and self.choices[x.id].native
            and not self.choices[x.id].is_memory
        ):
            self.note(x, 0, 0, NO_CUTS)
            x = x.args[0]
        if not isinstance(x, Expr) or x.op is None or isinstance(x, Var) or self.choices[x.id].alias is not None:
            return
        choice = self.choices[x.id]
        choice.stored = choice.is_memory = True
        choice.boxed |= choice.cuts
        self.note(x, 0, 0, NO_CUTS)

    def note(self, x: Expr, cost: float, depth: int, cuts: frozenset) -> None:
        """What a nest takes that computes x."""
        choice = self.choices[x.id]
        choice.cost, choice.depth, choice.cuts = cost, depth, cuts

    def visit(self, node: Expr) -> None:
        """One node, its arguments being decided."""
        for a in node.args:
            if isinstance(a, Expr):
                self.choices[a.id].consumers.append(node)
        args = [a for a in node.args if isinstance(a, Expr)]
        role = node.op.role
        if node.id in self.called:
            self.call_back(node, args)
        elif node.id in self.held or self.is_result(node):
            self.store_control(node, args)
        elif role == "view" and node.op.lower.in_order and args and self.can_alias(node, args[0]):
            self.alias_memory(node)
        elif is_view(node) and node.dtype.str[1:] in STORED:
            self.spread(node, args)
            self.fuse(node, args, 0)
        elif role == "view" and node.op.lower.in_order and self.can_hold(node):
            self.alias_memory(node)
        elif is_masked(node) and self.can_hold(node):
            self.fuse(node, args, 1)
        elif is_fold(node) and self.can_hold(node) and self.can_hold(args[0]):
            self.fuse_reduction(node, args[0])
        elif role == "gather" and self.can_gather(node, node.args[0], node.args[1:]):
            if not self.choices[node.args[0].id].is_memory:
                self.store(node.args[0], itself=True)
            self.fuse(node, args[1:], 4)
        elif role == "scatter" and self.can_scatter(node):
            if (x := scattered(node)[0]) is not None and not self.choices[x.id].is_memory:
                self.store(x, itself=True)
            self.store(node, itself=True)
        elif lower(node.op, node.args, node.dtype) is not None:
            self.fuse_elementwise(node, args)
        elif is_kernel(node):
            self.store_kernel(node)
        else:
            self.call_back(node, args)
        if node.id in self.kept:
            self.store(node, itself=True)

    def can_alias(self, node: Expr, x: Expr) -> bool:
        """Whether a view with the elements of x in their order is at once another name for the memory of x."""
        return node.dtype.str[1:] in STORED and self.choices[x.id].is_memory

    def can_hold(self, node: Expr) -> bool:
        return node.dtype.str[1:] in KIND

    def can_gather(self, node: Expr, x: Any, index: tuple) -> bool:
        """Whether indices and elements are such as native code reads."""
        is_memory = isinstance(x, Expr) and not (isinstance(x, Const) and x.size == 1)  # that one is a number in the code
        return (
            self.can_hold(node)
            and is_memory
            and self.can_hold(x)
            and 0 not in x.shape
            and all(isinstance(i, Expr) and i.dtype.str[1:] in ("i8", "i4") for i in index)
        )

    def can_scatter(self, node: Expr) -> bool:
        x, values, index = scattered(node)
        puts = x is None or (
            isinstance(x, Expr) and x.dtype == node.dtype and values.size > 0 and index[0].ndim < 2 and len(index) < 2
        )
        return (
            node.op.lower is not None
            and node.dtype.kind != "b"
            and isinstance(values, Expr)
            and values.dtype == node.dtype
            and puts
            and self.can_gather(node, node, tuple(index))
        )

    def fuse(self, node: Expr, args: list, operations: float) -> None:
        """Compute a node where it is used, from operands that may be computed there, too."""
        cost = operations + sum([self.choices[a.id].cost for a in args])
        depth = 1 + max([self.choices[a.id].depth for a in args], default=0)
        if depth > BODY:
            for a in args:
                if self.choices[a.id].depth > BODY // 2:
                    self.store(a)
            depth = 1
        cuts = self.find_cuts(node)
        if count_boxes(cuts, node.shape) > BOXES:
            for a in args:
                if self.choices[a.id].cuts:
                    self.store(a)
            cuts = self.find_cuts(node)
        self.note(node, min(cost, 1e6), depth, cuts)
        if count_boxes(cuts, node.shape) > BOXES:
            self.store(node)

    def find_cuts(self, node: Expr) -> frozenset:
        """The cuts of a node, in its own axes."""
        if self.choices[node.id].inline:
            return NO_CUTS  # its operand has none
        found: list[tuple[int, int]] = []
        if node.op.role == "mask":
            for part in find_parts(node):
                cuts = self.choices[node.args[part.operand].id].cuts
                for k, (axis, begin, end) in enumerate(part.spans):
                    found += [(k, begin), (k, end)]
                    found += [(k, begin + p) for j, p in cuts if j == axis]
            return frozenset([(k, p) for k, p in found if 0 < p < node.shape[k]])
        for a in node.args:
            cuts = self.choices[a.id].cuts if isinstance(a, Expr) else NO_CUTS
            if cuts and is_view(node):
                found += ix.cuts_through(node, cuts)
            elif cuts:
                lead = len(node.shape) - len(a.shape)
                found += [(k + lead, p) for k, p in cuts]
        return frozenset([(k, p) for k, p in found if 0 < p < node.shape[k]]) if found else NO_CUTS

    def fuse_elementwise(self, node: Expr, args: list) -> None:
        self.spread(node, args)
        self.fuse(node, args, self.operations(node))

    def spread(self, node: Expr, args: list) -> None:
        """Store what would be computed many times as it is broadcast. A scalar is computed before the loops begin."""
        for a in args:
            if a.size < node.size and not self.is_leaf(a) and (a.size > 1 or self.choices[a.id].cost > SCALAR):
                self.store(a)

    def operations(self, node: Expr) -> float:
        return node.op.flops(node, *node.args, **node.params) / max(node.size, 1)

    def alias_memory(self, node: Expr) -> None:
        """Another name for memory, which the operand must have."""
        x, choice = node.args[0], self.choices[node.id]
        self.store(x, itself=True)
        choice.alias, choice.is_memory = self.base(x), True

    def base(self, x: Expr) -> Expr:
        """What x is another name of, x itself for most."""
        alias = self.choices[x.id].alias
        return x if alias is None else alias

    def fuse_reduction(self, node: Expr, x: Expr) -> None:
        trip = prod(x.shape[a] for a in node.params["axes"])
        if self.choices[x.id].cuts:
            self.store(x)
        if 0 < trip <= UNROLL and node.size > trip and trip * (self.choices[x.id].cost + 1) <= 8 * UNROLL:
            self.choices[node.id].inline = True
            self.fuse(node, [x] * trip, trip)
        else:
            self.store(node)

    def call_back(self, node: Expr, args: list) -> None:
        """Leave a node to NumPy, which reads memory and makes an array."""
        self.choices[node.id].native = False
        for a in args:
            if not self.is_leaf(a):
                self.store(a)
        self.store(node)

    def store_control(self, node: Expr, args: list) -> None:
        """A loop or branch, which reads and writes whole buffers; or one of its results, which it writes."""
        for a in args:
            if not self.choices[a.id].is_memory:
                self.store(a, itself=True)
        self.store(node, itself=True)

    def store_kernel(self, node: Expr) -> None:
        """A product or convolution: it reads memory, through views where its kernel can."""
        for k, a in enumerate(node.args):
            base, strides = self.resolve_views(a)
            itself = (k in KERNELS[node.op].contiguous and base is not a) or (isinstance(base, Const) and base.size == 1)
            if itself or not self.is_leaf(a) or not can_read(node, k, strides):
                self.store(a, itself=itself or base is not a)
        self.choices[node.id].kernel = True
        self.store(node, itself=True)

    def resolve_views(self, x: Expr) -> tuple[Expr, tuple]:
        """What x is a view of, and its strides there in elements."""
        index, base = ix.identity(x.shape), x
        while not self.choices[base.id].is_memory and is_view(base) and isinstance(base.args[0], Expr):
            index, base = ix.through(base, index), base.args[0]
        return base, ix.address(index, ix.strides_of(base.shape), len(x.shape))[1]

    # -- levels and sharing ---------------------------------------------------------------------------------------

    def set_levels(self) -> None:
        """How many stored results each node waits for, one after another."""
        for node in self.nodes:
            choice = self.choices[node.id]
            choice.level, choice.source = 0, node.id if choice.kernel else None
            choice.fresh = choice.cutting = False
        for node in self.nodes:
            choice = self.choices[node.id]
            if self.is_result(node):
                choice.level = self.choices[node.args[0].id].level
                continue
            direct = (
                choice.native
                and node.op.role not in ("gather", "scatter", "loop", "branch")
                and not choice.kernel
                and not is_view(node)
                and not is_masked(node)
                and choice.alias is None
            )
            folds = is_fold(node) and not choice.inline
            found = [
                self.wait(node, a, direct, folds)
                for a in node.args
                if isinstance(a, Expr) and a.op is not None and not isinstance(a, Var)
            ]
            here = max([at for at, _, _, _ in found], default=0)
            sources = {s for at, s, _, _ in found if at == here and s is not None}
            fresh = any(new for at, _, new, _ in found if at == here)
            cutting = any(cut for at, _, _, cut in found if at == here)
            if cutting and folds:  # the loops of a fold are one box
                here, sources, fresh, cutting = here + 1, set(), False, False
            boxed = cutting or choice.cuts or choice.boxed
            if sources and (len(sources) > 1 or boxed):  # of two results one must be in memory
                for a in node.args:
                    if isinstance(a, Expr) and self.choices[a.id].source in sources:
                        self.store(a, itself=True)
                here, sources, fresh, cutting = here + 1, set(), False, False
            choice.level, choice.fresh, choice.cutting = here, fresh, cutting or bool(choice.boxed)
            if not choice.kernel:
                choice.source = next(iter(sources), None)

    def wait(self, node: Expr, a: Expr, direct: bool, folds: bool) -> tuple[int, int | None, bool, bool]:
        """The level at which an operand is there, the kernel it comes from at that level, and whether it is made at that level,
        and in boxes."""
        base = self.base(a)
        given = self.choices[base.id]
        taken = direct and a is base and not (given.source is not None and (folds or a.shape != node.shape))
        if not given.stored and given.source is not None and not taken:
            self.store(a)
        here = taken and a.shape == self.domain(node)[0]  # in the same nest, at the same index
        if not given.stored and (here or not given.fresh):
            return given.level, given.source, given.fresh, given.cutting
        same = here and self.is_elementwise(a) and not (given.boxed and folds)
        return (given.level, given.source, True, given.cutting) if same else (given.level + 1, None, False, False)

    def is_result(self, node: Expr) -> bool:
        """Whether a loop or branch writes it."""
        return node.op.role == "result" and node.args[0].id in self.held

    def is_elementwise(self, node: Expr) -> bool:
        return self.choices[node.id].native and node.op.role not in ("reduction", "scatter", "result")

    def domain(self, node: Expr) -> tuple[tuple, tuple]:
        """The loops a stored node needs, and the axes among them that it reduces."""
        if is_fold(node) and not self.choices[node.id].inline:
            return node.args[0].shape, node.params["axes"]
        return (scattered(node)[1].shape if node.op.role == "scatter" else node.shape), ()

    def set_stretches(self) -> None:
        """Which nodes of a level a nest may take together."""
        stretches: defaultdict[tuple, _Stretch] = defaultdict(_Stretch)
        for node in self.nodes:
            choice, domain = self.choices[node.id], self.domain(node)[0]
            choice.stretch = stretches[choice.level, domain].take(not is_view(node), choice.cuts | choice.boxed, domain)

    def share(self) -> set[int]:
        """Store what several nests would compute again at a higher price; its ids."""
        shared: set[int] = set()
        reduced: dict[tuple, tuple] = {}  # the axes that a nest reduces, by its domain and level
        for node in self.nodes:
            choice = self.choices[node.id]
            if choice.stored and choice.native:
                domain, axes = self.domain(node)
                if axes:
                    reduced.setdefault((domain, choice.level), axes)
        sites: dict[int, set] = {}  # the nests, or views in these, that compute a node
        for node in reversed(self.nodes):
            choice = self.choices[node.id]
            places = self.list_users(node, sites, reduced)
            if choice.stored and choice.native:
                sites[node.id] = {(*self.domain(node), choice.level)}
                continue
            sites[node.id] = places
            if choice.alias is not None or is_view(node):
                continue
            users = [self.choices[c.id] for c in choice.consumers]
            far = any(u.level == choice.level and u.stretch != choice.stretch for u in users if u.native)
            limit = next(n for size, n in RECOMPUTE if node.nbytes <= size)
            if choice.cost * (len(places) - 1) > limit or (far and choice.cost > 2):
                self.store(node, itself=True)
                shared.add(node.id)
        return shared

    def list_users(self, node: Expr, sites: dict[int, set], reduced: dict[tuple, tuple]) -> set:
        """The places that would each compute a node; more than four are not told apart."""
        places: set = set()
        for c in self.choices[node.id].consumers:
            user = self.choices[c.id]
            if user.alias is not None or not user.native:
                continue
            if is_view(c) or is_masked(c) or user.inline:
                places.add(c.id)
            elif user.stored:
                domain, axes = self.domain(c)
                places.add((domain, user.level, axes or reduced.get((domain, user.level), ())))
            else:
                places |= sites.get(c.id, set())
            if len(places) > 4:
                break
        return places

    # -- nests -----------------------------------------------------------------------------------------------------

    def make_steps(self) -> list:
        """Nests and callbacks, level by level."""
        by_level: dict[int, dict] = {}
        for node in self.nodes:
            choice = self.choices[node.id]
            if not choice.stored or self.is_result(node):
                continue
            groups = by_level.setdefault(choice.level, {})
            if not choice.native or node.op.role == "scatter" or node.id in self.held:
                groups[node.id] = [node]
            else:
                groups.setdefault((*self.domain(node), choice.source), []).append(node)
        ordered: list = []
        for level in sorted(by_level):
            self.join_groups(by_level[level])
            for key, roots in by_level[level].items():
                if isinstance(key, tuple):
                    domain, reduced, source = key
                    ordered += self.split_nest(domain, reduced, source, roots)
                elif key in self.held:
                    results = [c for c in self.choices[key].consumers if self.choices[c.id].stored]
                    ordered.append(Control(roots[0], self.held[key], tuple(results)))
                elif self.choices[key].native:
                    ordered.append(Nest(*self.domain(roots[0]), tuple(roots)))
                else:
                    ordered.append(Callback(roots[0], self.called.get(key, "")))
        return ordered

    def join_groups(self, groups: dict) -> None:
        """Elementwise roots join a reduction over the same domain."""
        nests = [k for k in groups if isinstance(k, tuple)]
        for key in nests:
            if not key[1] and key[2] is None:
                partner = next((k for k in nests if k[1] and k[0] == key[0]), None)
                if partner is not None:
                    groups[partner] = [r for r in groups[key] if not self.choices[r.id].cutting] + groups[partner]
                    groups[key] = [r for r in groups[key] if self.choices[r.id].cutting]

    def split_nest(self, domain: tuple, reduced: tuple, source: int | None, roots: list[Expr]) -> list[Nest]:
        """Nests of at most BODY operations or so; the first of them holds the kernel ``source``."""
        groups: list[list[Expr]] = [[]]
        seen, stretch = set(), None
        for root in sorted(roots, key=lambda r: (self.choices[r.id].stretch, r.id)):
            stack = [root]
            while stack:
                node = stack.pop()
                if node.id in seen or (node is not root and self.choices[node.id].stored):
                    continue
                seen.add(node.id)
                stack += [a for a in node.args if isinstance(a, Expr) and a.op is not None and not isinstance(a, Var)]
            if groups[-1] and (len(seen) > 2 * BODY or self.choices[root.id].stretch != stretch):
                groups.append([])
                seen = set()
            stretch = self.choices[root.id].stretch
            groups[-1].append(root)
        kernel = next((r for r in roots if r.id == source), None)
        return [
            Nest(
                domain,
                reduced if any(self.domain(r)[1] for r in group) else (),
                tuple(group),
                kernel if any(r is kernel for r in group) else None,
            )
            for group in groups
            if group
        ]


def partition(function: Function, called: dict[int, str] | None = None) -> Partition:
    """The steps of a simplified Function; the nodes ``called`` are NumPy's, whatever they are, for the reasons given."""
    called = called or {}
    held = {
        n.id: parts for n in function.nodes if n.op.functions and n.id not in called and (parts := partition_held(n)) is not None
    }
    work = _Partitioner(function, called, set(), held)
    if shared := work.decide():  # what comes after these costs less, and is cut in fewer places, than it seemed: once more
        work = _Partitioner(function, called, shared, held)
        work.decide()
    ids = lambda name: frozenset([k for k, choice in work.choices.items() if getattr(choice, name)])
    alias = {k: choice.alias for k, choice in work.choices.items() if choice.alias is not None}
    return Partition(function, tuple(work.make_steps()), ids("stored"), alias, ids("inline"), ids("boxed"))


def partition_held(node: Expr) -> tuple[Partition, ...] | None:
    """The partitions of the Functions that a loop or branch holds; None where a part of them is NumPy's."""
    functions = functions_of(node)
    ends = [x for f in functions for x in (*f.inputs, *f.outputs)]
    if node.op.role not in ("loop", "branch") or any(x.dtype.str[1:] not in STORED for x in ends):
        return None
    found = tuple([partition(f) for f in functions])
    return None if any(isinstance(s, Callback) for p in found for s in p.steps) else found
