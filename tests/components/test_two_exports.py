"""Two concurrent exports of one window with different logs: no manifest lists a mixture of their objects."""

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
    """Return 300 entries, newest first, and one that an earlier reader could not see."""
    times = [(START + timedelta(seconds=i)).isoformat().replace("+00:00", "Z") for i in range(300)]
    entries = [{"id": f"e{number}", "log_time": time} for number, time in enumerate(times)]
    return [*([{"id": "late", "log_time": times[-1]}] if is_late else []), *reversed(entries)]


class Interrupted(LocalDestination):
    """A destination that calls `before` before each write or removal, until it returns True."""

    def __init__(self, folder: Path, before: Callable[[str, str], bool]) -> None:
        super().__init__(ObjectStoragePath(f"file://{folder}"))
        self.before = before

    def _call_before(self, action: str, name: str) -> None:
        if self.before(action, name):
            self.before = lambda *_: False  # once only

    def write_versioned(self, data: bytes, name: str) -> str:
        """Call `before`, then do the same as the base class."""
        self._call_before("put", name)
        return super().write_versioned(data, name)

    def remove(self, name: str) -> None:
        """Call `before`, then do the same as the base class."""
        self._call_before("remove", name)
        super().remove(name)


def writer(folder: Path, entries_per_file: int = 100, **events: Any) -> ExportWriter:
    """Return an export of the first hour to the folder."""
    destination = Interrupted(folder, **events) if events else Destination.at(str(folder))
    plan = ExportPlan(
        CONNECTOR, TEAM, Window(START, START + HOUR), file_format("jsonl", "auto"), entries_per_file
    )
    return ExportWriter(destination, plan)


def objects_in_manifest(folder: Path) -> int | None:
    """Return how many objects the manifest lists, after comparing them; None without a manifest."""
    names = list(folder.glob("_manifest-*"))
    if not names:
        return None
    objects = json.loads(names[0].read_bytes())["objects"]
    for item in objects:
        assert hashlib.sha256((folder / item["name"]).read_bytes()).hexdigest() == item["sha256"]
    return len(objects)


def test_one_ends_while_the_other_uploads(tmp_path: Path) -> None:
    """A part that is written after the other export's manifest removes that manifest."""
    early = writer(tmp_path)
    early.add(page_of(log()), START)

    def end(action: str, name: str) -> bool:
        if action == "put":
            early.finish(1, None)
            assert objects_in_manifest(tmp_path) == 3
        return action == "put"

    late = writer(tmp_path, before=end)
    late.add(page_of(log(is_late=True)[:150]), START + timedelta(seconds=150))
    assert objects_in_manifest(tmp_path) is None
    late.add(page_of(log(is_late=True)[150:]), None)
    late.finish(1, None)
    assert objects_in_manifest(tmp_path) == 4


def test_one_begins_while_the_other_cleans_up(tmp_path: Path) -> None:
    """Objects that appear while stale parts are removed are noticed before the manifest is written."""
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
    assert objects_in_manifest(tmp_path) is None


def test_one_begins_while_the_other_finds_all_as_before(tmp_path: Path) -> None:
    """An export that finds all objects unchanged does not succeed without a manifest."""
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
    assert objects_in_manifest(tmp_path) is None


@pytest.mark.parametrize("listed", [{}, {"name": "a version of before"}])
def test_a_listing_that_is_out_of_date_is_no_other_export(tmp_path: Path, listed: dict[str, str]) -> None:
    """Some stores list what was there a moment ago: the objects themselves decide."""

    class Outdated(LocalDestination):
        def versions(self, prefix: str) -> dict[str, str]:
            return dict.fromkeys(super().versions(prefix), listed["name"]) if listed else {}

    destination = Outdated(ObjectStoragePath(f"file://{tmp_path}"))
    plan = ExportPlan(CONNECTOR, TEAM, Window(START, START + HOUR), file_format("jsonl", "auto"), 100)
    one = ExportWriter(destination, plan)
    one.add(page_of(log()), None)
    one.finish(1, None)
    assert objects_in_manifest(tmp_path) == 3
