"""wrt: which leaves of the arguments are differentiated by, as patterns of their paths."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from fad import tree
from fad.errors import DtypeError, TreeError
from fad.transforms.trace import passive

__all__ = ["chosen_leaves", "patterns_in"]


def patterns_in(wrt: Any, what: str) -> tuple[str, ...] | None:
    """The patterns as a tuple; None where all leaves are differentiated by."""
    patterns = (wrt,) if isinstance(wrt, str) else tuple(wrt) if isinstance(wrt, tuple | list) else None
    if wrt is None or (patterns and all(isinstance(p, str) for p in patterns)):
        return patterns
    raise DtypeError(
        f"{what}: wrt is no pattern",
        got=repr(wrt),
        rule="a str like 'encoder/*', or a tuple of them; argnums counts arguments",
        fix="wrt='*/w', or leave it out to differentiate by all leaves",
    )


def chosen_leaves(args: list, patterns: tuple[str, ...], what: str) -> list[set[int]]:
    """For each argument the places of the leaves whose paths match one of the patterns.

    Raises: TreeError for a pattern that matches the path of no leaf that has a derivative.
    """
    trees = [tree.flatten(arg) for arg in args]
    passed = [{k for k, leaf in enumerate(leaves) if passive(leaf)} for leaves, _ in trees]
    chosen: list[set[int]] = [set() for _ in args]
    for number, pattern in enumerate(patterns):
        found = [_matches(structure, patterns)[number] - skip for (_, structure), skip in zip(trees, passed, strict=True)]
        if not any(found):
            raise TreeError(
                f"{what}: wrt matches nothing",
                got=repr(pattern),
                rule=f"the paths are {_listed(trees, passed)}",
                fix="* stands for anything, slashes too: 'encoder/*' are all leaves below encoder, '*/w' all that are called w",
            )
        for places, more in zip(chosen, found, strict=True):
            places |= more
    return chosen


@lru_cache(maxsize=256)
def _matches(structure: tree.TreeDef, patterns: tuple[str, ...]) -> tuple[frozenset[int], ...]:
    """For each pattern the places of the leaves that it matches."""
    paths = tree.slash_paths(structure)
    return tuple(frozenset(k for k, path in enumerate(paths) if fnmatchcase(path, pattern)) for pattern in patterns)


def _listed(trees: list, passed: list, most: int = 20) -> str:
    """The paths that could have been matched, in order."""
    paths = [p for (_, s), skip in zip(trees, passed, strict=True) for k, p in enumerate(tree.slash_paths(s)) if k not in skip]
    shown = ", ".join(p or "'' (an argument that is no container)" for p in dict.fromkeys(paths[:most]))
    return shown + (f" and {len(paths) - most} more" if len(paths) > most else "") if paths else "none: no leaf is a float"
