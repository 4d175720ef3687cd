"""The house: data flows one way through the folders of fad, and no module needs one that needs it."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "fad"
ROOMS = [
    "errors tree",
    "native",
    "kernels",
    "core",
    "primitives",
    "transforms",
    "numpy",
    "control",
    "custom",
    "scipy",
    "compile",
    "nets",
    "fad",
]  # bottom to top
NETS = {"random", "nn", "initializers", "losses", "optim", "stax", "train", "testing"}


def name_of(path):
    parts = ("fad", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def room_of(name):
    """The number of a module's room."""
    top = (name.split(".") + [""])[1]
    if top in ("errors", "tree"):
        return 0
    if top in NETS:
        return ROOMS.index("nets")
    return ROOMS.index(top or "fad")


def imports_of(name):
    """The modules of fad that a module names in an import, at the top or inside of a function, or as the text for importlib."""
    found, text = set(), MODULES[name].read_text()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}: a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and "import_module" in text and str(node.value).startswith("fad."):
            found.add(node.value)  # to be imported by its name
    return {module for target in found for module in [longest_module(target)] if module not in (None, name)}


def longest_module(target):
    """The module that a dotted name lies in; None outside of fad."""
    while target and target not in MODULES:
        target = target.rpartition(".")[0]
    return target or None


IMPORTS = {name: imports_of(name) for name in MODULES}


@pytest.mark.smoke
@pytest.mark.parametrize("name", MODULES)
def test_no_arrow_points_up(name):
    up = {target for target in IMPORTS[name] if room_of(target) > room_of(name)}
    assert not up, f"{name} imports from rooms above its own: {sorted(up)}"


def package_of(name):
    """A package's __init__ stands for itself only: a module may be imported by the package it lies in."""
    return name if MODULES[name].name == "__init__.py" else None


@pytest.mark.smoke
def test_no_module_needs_one_that_needs_it():
    """Also when a function is called: an order of all modules exists in which each imports from those before it."""
    waiting = {
        name: {t for t in targets if package_of(t) is None or not name.startswith(t + ".")} for name, targets in IMPORTS.items()
    }
    while ready := [name for name, targets in waiting.items() if not targets & set(waiting)]:
        for name in ready:
            del waiting[name]
    assert not waiting, "modules in circles: " + "; ".join(
        f"{name} -> {', '.join(sorted(targets & set(waiting)))}" for name, targets in waiting.items()
    )
