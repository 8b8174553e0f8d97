"""Exports without a scheduler: the context of a run, a task whose attempts share nothing, its files."""

from __future__ import annotations

import gzip
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pendulum

from airflow_provider_supermetrics.operators.supermetrics import SupermetricsExportLogsOperator
from dev.simulator import generate_entries
from tests.conftest import CONNECTOR, HOUR, START
from tests.support.compat import DAG, TaskDeferred

BASE = f"{CONNECTOR}-20260101T000000Z-20260101T010000Z"
CHECKPOINT = f"_checkpoint-{BASE}.gz"


def context(**parts: Any) -> dict[str, Any]:
    """The context of a run whose data interval is the first hour; a part that is None is absent."""
    known = {
        "ti": SimpleNamespace(map_index=-1, max_tries=0),
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


def manual_run(dag: DAG | None, at: datetime, run_type: str = "manual", **parts: Any) -> dict[str, Any]:
    """Return the context of a run outside the schedule, as in Airflow 3 without a logical date."""
    none = dict.fromkeys(("data_interval_start", "data_interval_end", "logical_date"))
    return context(**none | {"dag": dag, "dag_run": SimpleNamespace(run_after=at, run_type=run_type)} | parts)


def log_of(count: int, **parts: Any) -> list[dict[str, Any]]:
    """A connector's log, somewhat longer than the hour that is exported."""
    return generate_entries(count=count, start=START - HOUR / 10, end=START + HOUR, seed=5, **parts)


def by_id(entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the entries sorted by id."""
    return sorted(entries, key=lambda entry: entry["id"])


def require_statistics(statistics: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> None:
    """Check those of a manifest or a result against its entries, which have usual values."""
    statuses = [entry.get("status") for entry in entries]
    assert statistics["errors"] == sum(status is not None and status >= 400 for status in statuses)
    assert statistics["statuses"] == Counter("none" if s is None else str(s) for s in statuses)
    durations = sorted(entry["duration_ms"] for entry in entries if entry.get("duration_ms") is not None)
    found = statistics["duration_ms"]
    assert (found["entries"], found["max"]) == (len(durations), max(durations, default=None))
    for percent in (50, 95) if durations else ():
        exact = durations[math.ceil(len(durations) * percent / 100) - 1]
        assert abs(found[f"p{percent}"] - exact) <= max(1, 0.0101 * exact)


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
    def manifests(self) -> list[dict[str, Any]]:
        """The manifests."""
        return [json.loads((self.folder / n).read_text()) for n in self.names if n.startswith("_manifest-")]

    def entries(self, name: str | None = None) -> list[dict[str, Any]]:
        """The entries of one object, or of all."""
        if name is None:
            return [entry for part in self.parts for entry in self.entries(part)]
        data = (self.folder / name).read_bytes()
        lines = (gzip.decompress(data) if name.endswith(".gz") else data).splitlines()
        return [json.loads(line) for line in lines]

    def require_complete(self, truth: Iterable[dict[str, Any]]) -> None:
        """Check that the folder has these entries, each once, and that all of it is as the manifests say.

        :param truth: the entries of all windows, in any order.
        """
        assert by_id(self.entries()) == by_id(truth)
        listed = [item for manifest in self.manifests for item in manifest["objects"]]
        for item in listed:
            data = (self.folder / item["name"]).read_bytes()
            assert (item["bytes"], item["sha256"]) == (len(data), sha256(data).hexdigest()), item["name"]
            assert item["entries"] == len(self.entries(item["name"])), item["name"]
        for manifest in self.manifests:
            assert manifest["complete"]
            assert manifest["entries"] == sum(item["entries"] for item in manifest["objects"])
            of_manifest = [entry for item in manifest["objects"] for entry in self.entries(item["name"])]
            require_statistics(manifest["statistics"], of_manifest)
        # Nothing else: no checkpoint, no part that no manifest lists.
        manifests = [name for name in self.names if name.startswith("_manifest-")]
        assert sorted([*manifests, *(item["name"] for item in listed)]) == self.names

    def bytes(self) -> dict[str, bytes]:
        """Every file's bytes."""
        return {name: (self.folder / name).read_bytes() for name in self.names}


class Task:
    """An export whose every attempt and resume happens on another worker: nothing but storage survives.

    :param waits: the virtual waits inside requests; those of deferrals are added to it, so that time passes.
    """

    def __init__(self, folder: Path, waits: list[float], **arguments: Any) -> None:
        self.waits = waits
        self.away: list[float] = []
        self.deferrals: list[TaskDeferred] = []
        self.arguments = {
            "task_id": "export",
            "connector_identifier": CONNECTOR,
            "path": f"file://{folder}",
            **arguments,
        }

    def step(self, method: str = "execute") -> dict[str, Any] | None:
        """Run until the end, or until the task defers; then let that time pass."""
        operator = SupermetricsExportLogsOperator(**self.arguments)
        try:
            result: dict[str, Any] = getattr(operator, method)(context())
        except TaskDeferred as deferred:
            seconds = (deferred.trigger.moment - datetime.now(timezone.utc)).total_seconds()
            self.deferrals.append(deferred)
            self.away.append(seconds)
            self.waits.append(seconds)
            return None
        return result

    def run(self, most: int = 50) -> dict[str, Any]:
        """Run, and resume as often as it takes."""
        result = self.step()
        while result is None:
            assert len(self.deferrals) < most, "it does not end"
            result = self.step(self.deferrals[-1].method_name)
        return result
