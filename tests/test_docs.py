"""Every example a reader sees runs: doctests of fad's modules, snippets of README.md and docs/tour.md.

The ```python blocks of one page run in order in one namespace; a block with `>>>` prompts is a doctest.
"""

import doctest
import importlib
import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "fad").rglob("*.py")
    if path.name != "__main__.py"
)
PAGES = [page for page in (ROOT / "README.md", ROOT / "docs" / "tour.md") if page.exists()]


def python_blocks(text: str) -> list[tuple[int, str]]:
    """The ```python blocks of a page, each with the number of its first line."""
    return [
        (text.count("\n", 0, found.start(1)) + 1, found[1]) for found in re.finditer(r"^```python\n(.*?)^```", text, re.M | re.S)
    ]


def run_block(source: str, namespace: dict, filename: str, line: int) -> None:
    """Run one block in `namespace`, as a doctest where it has prompts."""
    if not re.search(r"^>>> ", source, re.M):
        exec(compile("\n" * (line - 1) + source, filename, "exec"), namespace)
        return
    test = doctest.DocTestParser().get_doctest(source, namespace, f"{filename}:{line}", filename, line - 1)
    report: list[str] = []
    result = doctest.DocTestRunner(optionflags=FLAGS).run(test, out=report.append, clear_globs=False)
    namespace.update(test.globs)  # get_doctest works on a copy
    assert result.failed == 0, "".join(report)


@pytest.mark.parametrize("name", MODULES)
def test_module_doctests(name: str) -> None:
    report: list[str] = []
    module = importlib.import_module(name)
    names = {"np": np, "fad": importlib.import_module("fad")} | vars(module)
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for test in doctest.DocTestFinder(exclude_empty=True).find(module, globs=names):
        runner.run(test, out=report.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(report)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_snippets(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = python_blocks(page.read_text())
    assert blocks, f"{page.name} shows no python"
    namespace: dict = {"__name__": page.stem}
    for line, source in blocks:
        run_block(source, namespace, str(page), line)


def test_a_wrong_snippet_is_caught() -> None:
    [(line, source)] = python_blocks("text\n```python\n>>> 1 + 1\n3\n```\n")
    assert line == 3
    with pytest.raises(AssertionError, match="Expected"):
        run_block(source, {}, "page.md", line)


def test_blocks_share_names() -> None:
    namespace: dict = {}
    run_block("x = 2\n", namespace, "page.md", 1)
    run_block(">>> y = x + 1\n>>> y\n3\n", namespace, "page.md", 5)
    run_block("assert y == 3\n", namespace, "page.md", 9)
