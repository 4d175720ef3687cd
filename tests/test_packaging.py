"""What a stranger meets first: the package's contents, its import, the README's commands."""

import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import fad

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
README = (ROOT / "README.md").read_text()


def in_new_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.smoke
def test_import_stays_light() -> None:
    heavy = ("numpy.f2py", "numpy.testing", "numba", "llvmlite", "scipy", "matplotlib", "hypothesis", "tqdm", "sklearn")
    loaded = in_new_process(f"import sys, fad; print([m for m in {heavy} if m in sys.modules])")
    assert loaded == "[]"


@pytest.mark.smoke
def test_import_leaves_the_process_alone() -> None:
    """No warnings, no output, no changed NumPy settings or environment."""
    code = """
import os, warnings
import numpy as np
warnings.simplefilter("error")
before = np.geterr(), np.get_printoptions(), dict(os.environ)
import fad
assert before == (np.geterr(), np.get_printoptions(), dict(os.environ))
"""
    assert in_new_process(code) == ""


def test_installed_version_is_the_package_s_own() -> None:
    try:
        installed = importlib.metadata.version("fad")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("fad runs from the source tree, not installed")
    assert installed == fad.__version__


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {path.parent for path in (ROOT / "fad").rglob("*.py")}
    assert {folder for folder in folders if not (folder / "__init__.py").exists()} == set()


def test_public_names_are_documented() -> None:
    assert [name for name in fad.__all__ if not getattr(fad, name).__doc__] == []


def test_readme_has_the_two_commands() -> None:
    """Main job and tests: one line each that starts from a bare python3, with extras that exist."""
    commands = re.findall(r"^python3 -m venv \.venv && .*$", README, re.M)
    assert len(commands) == 2
    main_job, tests = commands
    assert "examples/digits.py" in main_job
    assert "pytest" in tests
    for command in commands:
        [extras] = re.findall(r"-e '\.\[(.*?)\]'", command)
        assert set(extras.split(",")) <= PROJECT["optional-dependencies"].keys()


def test_readme_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", README)
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_ci_is_executable() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
