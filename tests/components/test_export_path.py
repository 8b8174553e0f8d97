"""The path of an export: strings, path objects, templates, and values that are refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_supermetrics._compat import ObjectStoragePath
from airflow_provider_supermetrics.exceptions import SupermetricsValidationError
from airflow_provider_supermetrics.operators.supermetrics import (
    SupermetricsExportLogsOperator,
    SupermetricsListConnectorsOperator,
)
from dev.simulator import Simulator
from tests.conftest import CONNECTOR, START
from tests.support.compat import DAG
from tests.support.export import Exported, context

pytestmark = pytest.mark.airflow_2

Simulate = Callable[..., Simulator]


class Elsewhere(os.PathLike[str]):
    """A path object of an unknown class."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __fspath__(self) -> str:
        return self._path


def operator(path: Any) -> SupermetricsExportLogsOperator:
    """Return an operator that exports to this path."""
    return SupermetricsExportLogsOperator(task_id="export", connector_identifier=CONNECTOR, path=path)


def run(path: Any, **values: Any) -> dict[str, Any]:
    """Export to this path, with the fields rendered as Airflow renders them."""
    task = operator(path)
    task.render_template_fields({**context(), **values})
    result: dict[str, Any] = task.execute(context())
    return result


#: Under a folder, so that nothing is written elsewhere should one of them be taken.
REFUSED: dict[str, Callable[[str], Any]] = {
    "nothing": lambda _: None,
    "number": lambda _: 5,
    "bytes": lambda root: f"{root}/logs".encode(),
    "parent folder": lambda root: f"{root}/base/../escaped",
    "parent folder at the end": lambda root: f"file://{root}/base/..",
    "this folder": lambda root: f"{root}/base/./logs",
    "parent folder in a bucket": lambda _: "s3://c@bucket/../logs",
    "tab": lambda root: f"{root}/logs/a\tb",
    "tab in a bucket": lambda _: "s3://c@bucket/a\tb",
    "line break": lambda root: f"{root}/logs\n",
    "NUL": lambda root: f"{root}/logs/\x00",
    "escape": lambda root: f"file://{root}/logs/\x1b[2J",
    "C1": lambda root: f"{root}/logs/\x9b2J",
    "other direction": lambda root: f"{root}/logs/\u202egol",
    "no text": lambda root: f"{root}/logs/\udc80",
    "space at the end": lambda root: f"{root}/logs ",
    "space at the beginning": lambda root: f" {root}/logs",
    "question mark": lambda root: f"{root}/logs?",
    "question mark in a bucket": lambda _: "s3://c@bucket/logs?",
    "question mark and slash": lambda _: "s3://c@bucket/logs?/",
    "hash": lambda root: f"file://{root}/logs#",
    "relative": lambda _: "logs",
    "relative object": lambda _: Path("logs"),
    "object with a parent folder": lambda root: Path(f"{root}/base/../escaped"),
    "storage object with a parent folder": lambda root: ObjectStoragePath(f"file://{root}/base/../escaped"),
    "other object with a tab": lambda root: Elsewhere(f"{root}/logs\t"),
}


@pytest.mark.parametrize("path", REFUSED.values(), ids=REFUSED.keys())
def test_a_path_that_cannot_be_used_is_refused_when_the_dag_is_read(
    tmp_path: Path, path: Callable[[str], Any]
) -> None:
    """The message begins with the problem, and contains no control characters."""
    with pytest.raises(SupermetricsValidationError, match=r"^path must ") as refused:
        operator(path(str(tmp_path)))
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("path", REFUSED.values(), ids=REFUSED.keys())
def test_a_path_that_cannot_be_used_is_refused_once_a_template_has_made_it(
    simulate: Simulate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: Callable[[str], Any]
) -> None:
    """A path that is known only at run time, such as another task's result, is refused before any request."""
    monkeypatch.chdir(tmp_path)
    sim = simulate()
    task = operator("{{ x }}")
    task.path = path(str(tmp_path))  # as a template that renders natively, or an XCom, leaves it
    with pytest.raises(SupermetricsValidationError, match=r"^path must "):
        task.execute(context())
    assert sim.requests == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [str, Path, Elsewhere, lambda path: f"file://{path}"])
def test_a_template_that_leaves_its_folder(
    simulate: Simulate, tmp_path: Path, kind: Callable[[str], Any]
) -> None:
    """A rendered path that leaves its folder is refused."""
    sim = simulate()
    with pytest.raises(SupermetricsValidationError, match=r"^path must not contain a '\.' or '\.\.' folder"):
        run(kind(f"{tmp_path}/base/{{{{ x }}}}"), x="../escaped")
    assert sim.requests == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "kind",
    [str, Path, Elsewhere, ObjectStoragePath, lambda path: ObjectStoragePath(f"file://{path}")],
    ids=["string", "Path", "PathLike", "ObjectStoragePath", "ObjectStoragePath-URL"],
)
def test_path_objects(simulate: Simulate, exported: Exported, kind: Callable[[str], Any]) -> None:
    """Path objects are rendered as strings are, and the result of the export is JSON."""
    simulate()
    folder = Exported(exported.folder / "42")
    result = run(kind(f"{exported.folder}/{{{{ x }}}}"), x="42")
    assert len(folder.manifests) == 1
    assert isinstance(result["path"], str)
    assert result["path"].removeprefix("file://") == str(folder.folder)


def test_a_local_folder_that_looks_like_a_url(simulate: Simulate, exported: Exported) -> None:
    """A path that begins with a slash is local, and is not parsed as a URL with a Connection."""
    simulate()
    folder = Exported(exported.folder / "s3:" / "c@bucket")
    run(f"{exported.folder}/s3://c@bucket")
    assert len(folder.manifests) == 1


def test_the_path_object_of_another_task(simulate: Simulate, exported: Exported) -> None:
    """A task's output is no path yet when the DAG is read; at run time it may be a path object."""
    simulate()
    with DAG("paths", schedule=None, start_date=START):
        folders = SupermetricsListConnectorsOperator(task_id="folders")
        task = operator(folders.output)
    assert folders.task_id in task.upstream_task_ids
    for path in (exported.folder, ObjectStoragePath(f"file://{exported.folder}")):
        task.path = path
        assert task.execute(context())["complete"]
