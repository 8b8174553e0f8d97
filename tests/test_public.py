"""The public names: `__all__`, the API reference and the typing test have the same."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest

import airflow_provider_supermetrics
from airflow_provider_supermetrics import exceptions
from tests.support.release import RELEASE

if RELEASE < (3, 3):
    pytest.skip("before Airflow 3.3 one of the public modules cannot be imported", allow_module_level=True)

PACKAGE = Path(airflow_provider_supermetrics.__file__).parent
ROOT = PACKAGE.parent
MODULES = [
    import_module(f"{PACKAGE.name}.{path.parent.name}.supermetrics")
    for path in PACKAGE.glob("*/supermetrics.py")
]


def documented() -> dict[str, set[str]]:
    """The names of docs/reference.md, by the module that each is imported from."""
    page = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\[`.*) \| `([\w.]+)` \|$", page, re.MULTILINE)
    found = {module: set(re.findall(r"\[`(\w+)`\]", names)) for names, module in rows}
    kinds = page.partition("\n## Exceptions\n")[2]
    return found | {exceptions.__name__: set(re.findall(r"^### (\w+)$", kinds, re.MULTILINE))}


def test_the_public_names_are_those_of_the_reference() -> None:
    """Each public module's `__all__` has the names that the API reference has, and nothing else."""
    public = {module.__name__: set(module.__all__) for module in [*MODULES, exceptions]}
    assert len(MODULES) >= 5
    assert public == documented()


def test_the_typing_test_uses_every_public_name() -> None:
    """What mypy checks in tests/typing/api.py is all that is public."""
    used = {
        (node.module, alias.name)
        for node in ast.walk(ast.parse((ROOT / "tests/typing/api.py").read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith(PACKAGE.name)
        for alias in node.names
    }
    public = {(module.__name__, name) for module in [*MODULES, exceptions] for name in module.__all__}
    assert public - used == set()


def test_every_public_name_is_the_module_s_own() -> None:
    """A star import or a help() shows what is defined here."""
    for module in [*MODULES, exceptions]:
        assert {getattr(module, name).__module__ for name in module.__all__} == {module.__name__}
