"""Two exports of one window at once, whose logs differ: no manifest may vouch for a mixture."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_supermetrics._export.formats import file_format
from airflow_provider_supermetrics._export.manifest import ExportPlan
from airflow_provider_supermetrics._export.storage import Destination, LocalDestination
from airflow_provider_supermetrics._export.writer import ExportWriter
from airflow_provider_supermetrics._schedule import Window
from airflow_provider_supermetrics.exceptions import SupermetricsConflictError
from tests.conftest import CONNECTOR, HOUR, START, TEAM
from tests.support.compat import ObjectStoragePath
from tests.support.model import page_of

pytestmark = pytest.mark.airflow_2


def log(is_late: bool = False) -> list[dict[str, Any]]:
    """300 entries, newest first, and one that an earlier reader could not see."""
    times = [(START + timedelta(seconds=i)).isoformat().replace("+00:00", "Z") for i in range(300)]
    entries = [{"id": f"e{number}", "log_time": time} for number, time in enumerate(times)]
    return [*([{"id": "late", "log_time": times[-1]}] if is_late else []), *reversed(entries)]


class Interrupted(LocalDestination):
    """Something happens just before an object is put or removed; once."""

    def __init__(self, folder: Path, before: Callable[[str, str], bool]) -> None:
        super().__init__(ObjectStoragePath(f"file://{folder}"))
        self.before = before

    def _meet(self, action: str, name: str) -> None:
        if self.before(action, name):
            self.before = lambda action, name: False  # noqa: ARG005  # once only

    def write_versioned(self, data: bytes, name: str) -> str:
        """As ever."""
        self._meet("put", name)
        return super().write_versioned(data, name)

    def remove(self, name: str) -> None:
        """As ever."""
        self._meet("remove", name)
        super().remove(name)


def writer(folder: Path, entries_per_file: int = 100, **events: Any) -> ExportWriter:
    """An export of the first hour to the folder."""
    destination = Interrupted(folder, **events) if events else Destination.at(str(folder))
    plan = ExportPlan(
        CONNECTOR, TEAM, Window(START, START + HOUR), file_format("jsonl", "auto"), entries_per_file
    )
    return ExportWriter(destination, plan)


def vouched(folder: Path) -> int | None:
    """How many objects the manifest vouches for, all of which are as it says; None without a manifest."""
    names = list(folder.glob("_manifest-*"))
    if not names:
        return None
    objects = json.loads(names[0].read_bytes())["objects"]
    for item in objects:
        assert hashlib.sha256((folder / item["name"]).read_bytes()).hexdigest() == item["sha256"]
    return len(objects)


def test_one_ends_while_the_other_uploads(tmp_path: Path) -> None:
    """The part that lands after the manifest takes the manifest away."""
    early = writer(tmp_path)
    early.add(page_of(log()), START)

    def end(action: str, name: str) -> bool:
        if action == "put":
            early.finish(1, None)
            assert vouched(tmp_path) == 3
        return action == "put"

    late = writer(tmp_path, before=end)
    late.add(page_of(log(is_late=True)[:150]), START + timedelta(seconds=150))
    assert vouched(tmp_path) is None
    late.add(page_of(log(is_late=True)[150:]), None)
    late.finish(1, None)
    assert vouched(tmp_path) == 4


def test_one_begins_while_the_other_cleans_up(tmp_path: Path) -> None:
    """Removing many stale parts takes time; what came meanwhile is seen before the manifest."""
    first = writer(tmp_path, entries_per_file=10)
    first.add(page_of(log()), None)
    first.finish(1, None)
    late = writer(tmp_path)

    def begin(action: str, name: str) -> bool:
        if action == "remove" and name.endswith("-00020.jsonl.gz"):
            late.add(page_of(log(is_late=True)[:250]), START + timedelta(seconds=51))
            return True
        return False

    early = writer(tmp_path, before=begin)
    early.add(page_of(log()), START)
    with pytest.raises(SupermetricsConflictError):
        early.finish(1, None)
    assert late.objects == 2
    assert vouched(tmp_path) is None


def test_one_begins_while_the_other_finds_all_as_before(tmp_path: Path) -> None:
    """Who changes nothing does not succeed without a manifest either."""
    first = writer(tmp_path)
    first.add(page_of(log()), None)
    first.finish(1, None)
    early = writer(tmp_path)
    early.add(page_of(log()), START)

    def end(action: str, name: str) -> bool:
        if action == "put":
            with pytest.raises(SupermetricsConflictError):
                early.finish(1, None)
        return action == "put"

    late = writer(tmp_path, before=end)
    late.add(page_of(log(is_late=True)[:150]), START + timedelta(seconds=150))
    assert vouched(tmp_path) is None
