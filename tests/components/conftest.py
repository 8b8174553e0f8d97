"""Tasks without a scheduler: an operator, the context of a run, the files it leaves."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_supermetrics.operators.supermetrics import SupermetricsExportLogsOperator
from tests.conftest import CONNECTOR, HOUR, START


def context(**parts: Any) -> dict[str, Any]:
    """The context of a run whose data interval is the first hour; a part that is None is absent."""
    known = {
        "ti": SimpleNamespace(map_index=-1),
        "dag_run": SimpleNamespace(run_after=START + 2 * HOUR),
        "data_interval_start": START,
        "data_interval_end": START + HOUR,
        "logical_date": START,
        "outlet_events": {},
    }
    return {name: value for name, value in {**known, **parts}.items() if value is not None}


class Exported:
    """The folder of an export, read back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def names(self) -> list[str]:
        """All files, temporary ones included."""
        return sorted(path.name for path in self.folder.iterdir()) if self.folder.exists() else []

    @property
    def parts(self) -> list[str]:
        """The objects with entries, in the order of their numbers."""
        return [name for name in self.names if ".jsonl" in name and not name.startswith(".")]

    @property
    def receipts(self) -> list[dict[str, Any]]:
        """The receipts."""
        return [json.loads((self.folder / n).read_text()) for n in self.names if n.startswith("_manifest-")]

    def entries(self, name: str | None = None) -> list[dict[str, Any]]:
        """The entries of one object, or of all."""
        if name is None:
            return [entry for part in self.parts for entry in self.entries(part)]
        data = (self.folder / name).read_bytes()
        lines = (gzip.decompress(data) if name.endswith(".gz") else data).splitlines()
        return [json.loads(line) for line in lines]

    def bytes(self) -> dict[str, bytes]:
        """Every file's bytes."""
        return {name: (self.folder / name).read_bytes() for name in self.names}


@pytest.fixture
def exported(tmp_path: Path) -> Exported:
    """What lies where `export` exports to."""
    return Exported(tmp_path / "export")


@pytest.fixture
def export(exported: Exported) -> Callable[..., dict[str, Any]]:
    """Run an export of the first hour, or as the arguments say; return its result."""

    def run(run_context: dict[str, Any] | None = None, **arguments: Any) -> dict[str, Any]:
        operator = SupermetricsExportLogsOperator(
            **{
                "task_id": "export",
                "connector_identifier": CONNECTOR,
                "path": f"file://{exported.folder}",
                **arguments,
            }
        )
        result: dict[str, Any] = operator.execute(run_context or context())
        return result

    return run
