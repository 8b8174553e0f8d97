"""Tasks without a scheduler: an operator, the context of a run, the files it leaves."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pendulum
import pytest

from airflow_provider_supermetrics.operators.supermetrics import SupermetricsExportLogsOperator
from dev.simulator import Simulator, generate_entries
from tests.conftest import CONNECTOR, HOUR, START
from tests.support.compat import DAG


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


def utc(text: str) -> datetime:
    """A time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


def span(result: dict[str, Any]) -> tuple[datetime, datetime]:
    """The window of an export."""
    start, end = (datetime.fromisoformat(result[name].replace("Z", "+00:00")) for name in ("start", "end"))
    return start, end


def a_dag(schedule: Any = None, zone: str = "UTC") -> DAG:
    """A DAG that begins in a time zone."""
    return DAG("windows", schedule=schedule, start_date=pendulum.datetime(2020, 1, 1, tz=zone))


def by_hand(dag: DAG | None, at: datetime, run_type: str = "manual", **parts: Any) -> dict[str, Any]:
    """The context of a run that is not of the schedule, as Airflow 3 has it where no date was given."""
    none = dict.fromkeys(("data_interval_start", "data_interval_end", "logical_date"))
    return context(**none | {"dag": dag, "dag_run": SimpleNamespace(run_after=at, run_type=run_type)} | parts)


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


@pytest.fixture
def quiet(simulate: Callable[..., Simulator]) -> Simulator:
    """A connector that has logged something once, long ago."""
    long_ago = utc("1971-01-01")
    return simulate(generate_entries(count=1, start=long_ago, end=long_ago + HOUR, seed=1))


@pytest.fixture
def window_of(
    quiet: Simulator, export: Callable[..., dict[str, Any]]
) -> Callable[..., tuple[datetime, datetime]]:
    """Export in a run; return the window."""
    return lambda run, **arguments: span(export(run, **arguments))
