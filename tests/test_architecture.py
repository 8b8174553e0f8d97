"""The allowed imports between the package's components, and between test modules."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import airflow_provider_supermetrics
from tests.support.selection import FULL

PACKAGE = Path(airflow_provider_supermetrics.__file__).parent
ROOT = PACKAGE.parent
NAME = PACKAGE.name

_COMMON = {"_api", "_compat", "_context", "_templates", "_wait", "exceptions"}
#: The rooms, from the inside out, and which others each may import, as docs/design.md says. A room is a
#: module or a folder of the package; the package itself (its version) is open to all.
ROOMS: dict[str, set[str]] = {
    "_api": set(),
    "_compat": set(),
    "provider_info": set(),
    "exceptions": {"_api", "_compat"},
    "_templates": {"exceptions"},
    "_wait": {"_api", "_compat", "exceptions"},
    "_schedule": {"_api", "exceptions"},
    "_coverage": {"_schedule"},
    "_client": {"_api", "_compat", "_wait", "exceptions"},
    "_export": {"_api", "_compat", "_coverage", "_schedule", "_wait", "exceptions"},
    "_context": {"_api", "_compat", "_schedule", "_wait", "exceptions"},
    "_assets": {"_api", "_compat", "exceptions"},
    "_lineage": {"_api", "_assets", "_export", "exceptions"},
    "_reports": {"_api", "_compat"},
    "_health": {"_api", "_coverage", "_export", "_schedule"},
    "retry_policies": {"_compat", "_wait", "exceptions"},
    "links": {"_compat"},
    "hooks": _COMMON | {"_client", "provider_info"},
    "triggers": _COMMON | {"_client", "hooks", "provider_info"},
    "sensors": _COMMON | {"_client", "_export", "_reports", "hooks", "provider_info", "triggers"},
    "operators": _COMMON
    | {"_client", "_export", "_health", "_lineage", "_schedule", "hooks", "links", "provider_info"}
    | {"triggers"},
    "_ui": {"_compat", "_health", "_schedule", "_wait", "provider_info"},
}
#: Imports against this order, within a function, for a reason that stands there.
LAZY = {("_wait", "retry_policies")}


@dataclass(frozen=True)
class Import:
    """One module imports another: when it is loaded, later in a function, or only for the type checker."""

    importer: str
    imported: str
    kind: str

    @property
    def rooms(self) -> tuple[str, str]:
        """The rooms of both; "" is the package itself."""
        return room(self.importer), room(self.imported)

    def __str__(self) -> str:
        return f"{self.importer} imports {self.imported} ({self.kind})"


def room(module: str) -> str:
    """The part of a module's name that follows the package's."""
    return module.partition(".")[2].partition(".")[0]


@cache
def modules(folder: Path) -> dict[str, Path]:
    """The modules in a folder beside pyproject.toml, by their full names."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        name = ".".join(path.relative_to(folder.parent).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


@cache
def imports(folder: Path) -> tuple[Import, ...]:
    """What the modules in a folder import of each other."""
    known = modules(folder)

    def visit(module: str, node: ast.AST, kind: str) -> Iterator[Import]:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                for name in (f"{node.module}.{alias.name}", str(node.module)):
                    if name in known:
                        yield Import(module, name, kind)
                        break
        elif isinstance(node, ast.Import):
            yield from (Import(module, alias.name, kind) for alias in node.names if alias.name in known)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            kind = "in a function"
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            kind = "for types"
        for child in ast.iter_child_nodes(node):
            yield from visit(module, child, kind)

    sources = {module: ast.parse(path.read_text(encoding="utf-8")) for module, path in known.items()}
    return tuple(found for module, source in sources.items() for found in visit(module, source, "at once"))


def test_every_room_is_in_the_table() -> None:
    """A new room has a place in the order."""
    assert {room(module) for module in modules(PACKAGE)} - {""} <= set(ROOMS)


@pytest.mark.parametrize("kind", ["at once", "in a function", "for types"])
def test_no_room_imports_upwards(kind: str) -> None:
    """Each import between rooms is in the table, also those in functions and for the type checker."""
    allowed = {(importer, imported) for importer, others in ROOMS.items() for imported in others}
    if kind == "in a function":
        allowed |= LAZY
    wrong = [
        str(found)
        for found in imports(PACKAGE)
        if found.kind == kind and found.rooms[0] != found.rooms[1] != "" and found.rooms not in allowed
    ]
    assert wrong == []


def test_the_table_has_no_circle() -> None:
    """The rooms have an order."""
    TopologicalSorter(ROOMS).prepare()


def test_no_modules_import_each_other() -> None:
    """The modules have an order, whatever the kind of the import."""
    graph: dict[str, set[str]] = {module: set() for module in modules(PACKAGE)}
    for found in imports(PACKAGE):
        if found.rooms not in LAZY:
            graph[found.importer].add(found.imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_the_lazy_imports_are_used() -> None:
    """An import against the order that is gone is not allowed any more."""
    assert {found.rooms for found in imports(PACKAGE) if found.kind == "in a function"} >= LAZY


def test_no_test_module_imports_another() -> None:
    """What tests share is in a conftest or in tests/support."""
    found = {
        found.importer
        for found in imports(ROOT / "tests")
        if found.imported.rpartition(".")[2].startswith("test_")
    }
    assert found == set()


@pytest.mark.parametrize("name", FULL)
def test_what_is_left_to_make_test_all_exists(name: str) -> None:
    """A test that is renamed does not slip into `make test`."""
    path, _, function = name.partition("::")
    assert f"def {function}" in (ROOT / path).read_text(encoding="utf-8")
