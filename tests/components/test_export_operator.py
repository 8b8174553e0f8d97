"""The guarantees of the export operator, with the local file system and a simulated API."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import logging
import re
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_supermetrics._api.times import parse_log_time
from airflow_provider_supermetrics._export.formats import file_format
from airflow_provider_supermetrics._export.manifest import ExportPlan
from airflow_provider_supermetrics._export.storage import Destination
from airflow_provider_supermetrics._export.writer import ExportWriter
from airflow_provider_supermetrics._schedule import Window
from airflow_provider_supermetrics.exceptions import (
    SupermetricsConflictError,
    SupermetricsPaginationError,
    SupermetricsRequestError,
    SupermetricsResponseError,
    SupermetricsServerError,
    SupermetricsValidationError,
)
from airflow_provider_supermetrics.operators.supermetrics import (
    SupermetricsExportLogsOperator,
    SupermetricsListConnectorsOperator,
)
from dev.simulator import Connector, Fault, Simulator, generate_entries
from tests.conftest import CONNECTOR, HOUR, KEY, START, TEAM
from tests.support.compat import AirflowFailException, Asset, OutletEventAccessors
from tests.support.export import Exported, context, require_statistics
from tests.support.model import page_of

pytestmark = pytest.mark.airflow_2

Simulate = Callable[..., Simulator]
Export = Callable[..., dict[str, Any]]
BASE = f"{CONNECTOR}-20260101T000000Z-20260101T010000Z"


def log_of(count: int, hours: int = 2, **parts: Any) -> list[dict[str, Any]]:
    """Return a connector with a log that begins at the window's start and is longer than the window."""
    return generate_entries(count=count, start=START, end=START + hours * HOUR, seed=5, **parts)


# What is written


def test_a_window_is_complete_in_one_object(simulate: Simulate, export: Export, exported: Exported) -> None:
    """An export writes the entries of the hour, oldest first, with every field, and the manifest."""
    entries = log_of(3000)
    entries[10]["unknown"] = {"kept": [1, None, "ü\n"], "big": 2**70}
    sim = simulate(entries)
    result = export()
    assert exported.names == [f"{BASE}-00000.jsonl.gz", f"_manifest-{BASE}.json"]
    written = exported.entries()
    truth = sim.truth(CONNECTOR, START, START + HOUR)
    assert sorted(written, key=str) == sorted(truth, key=str)
    times = [parse_log_time(entry["log_time"]).at for entry in written]
    assert times == sorted(times)
    assert result["entries"] == len(truth) > 1000
    assert any("unknown" in entry for entry in written)


def test_the_manifest_matches_the_objects(simulate: Simulate, export: Export, exported: Exported) -> None:
    """Each number of the manifest can be checked against the objects and the server."""
    sim = simulate(log_of(3000))
    result = export(entries_per_file=500)
    [manifest] = exported.manifests
    assert manifest["complete"] is True
    assert (manifest["connector_identifier"], manifest["team_id"]) == (CONNECTOR, TEAM)
    assert (manifest["start"], manifest["end"]) == ("2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z")
    assert (manifest["format"], manifest["compression"]) == ("jsonl", "gzip")
    assert manifest["requests"] == len(sim.requests)
    assert [item["name"] for item in manifest["objects"]] == exported.parts
    for item in manifest["objects"]:
        data = (exported.folder / item["name"]).read_bytes()
        entries = exported.entries(item["name"])
        assert item["bytes"] == len(data)
        assert item["sha256"] == hashlib.sha256(data).hexdigest()
        assert item["lines_sha256"] == hashlib.sha256(gzip.decompress(data)).hexdigest()
        assert item["entries"] == len(entries)
        assert item["first_log_time"] == entries[0]["log_time"]
        assert item["last_log_time"] == entries[-1]["log_time"]
    assert manifest["entries"] == sum(item["entries"] for item in manifest["objects"])
    assert manifest["bytes"] == sum(item["bytes"] for item in manifest["objects"])
    require_statistics(manifest["statistics"], exported.entries())
    left_out = ("format", "format_version", "compression", "objects")
    summary = {k: v for k, v in manifest.items() if k not in left_out}
    assert manifest["statistics"].pop("hours") == []
    assert result == {
        **summary,
        "objects": len(manifest["objects"]),
        "path": f"file://{exported.folder}",
        "manifest": f"file://{exported.folder}/_manifest-{BASE}.json",
    }
    json.dumps(result)


def test_parts_have_the_requested_number_of_entries(
    simulate: Simulate, export: Export, exported: Exported
) -> None:
    """Part 0 has the newest entries; each part but the last is full, and none overlaps."""
    sim = simulate(log_of(5000))
    export(entries_per_file=700)
    sizes = [len(exported.entries(part)) for part in exported.parts]
    assert set(sizes[:-1]) == {700}
    assert 0 < sizes[-1] <= 700
    assert sum(sizes) == len(sim.truth(CONNECTOR, START, START + HOUR))
    spans = [[e["log_time"] for e in exported.entries(part)] for part in exported.parts]
    for newer, older in pairwise(spans):
        assert older[-1] <= newer[0]


@pytest.mark.parametrize("entries_per_file", [1, 50, 100_000])
def test_a_rerun_writes_the_same_bytes(
    simulate: Simulate, export: Export, exported: Exported, entries_per_file: int
) -> None:
    """A rerun writes the same bytes, even if the server orders equal times differently in each response."""
    simulate(log_of(400, ties=8), tie_order="shuffled", stores_finer=False)
    export(entries_per_file=entries_per_file)
    first = exported.bytes()
    export(entries_per_file=entries_per_file)
    assert exported.bytes() == first
    assert len(first) > 1


@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_a_rerun_of_unchanged_lines_does_not_depend_on_the_compressor(
    simulate: Simulate, export: Export, exported: Exported, format: str
) -> None:
    """A worker with another processor or library would compress to other bytes: it rewrites nothing."""
    simulate(log_of(3000))
    export(entries_per_file=500, format=format)
    [manifest] = exported.manifests
    for item in manifest["objects"]:
        path = exported.folder / item["name"]
        data = gzip.compress(gzip.decompress(path.read_bytes()), 9, mtime=0)
        path.write_bytes(data)
        item["bytes"], item["sha256"] = len(data), hashlib.sha256(data).hexdigest()
    (exported.folder / f"_manifest-{BASE}.json").write_text(json.dumps(manifest))
    before = {path.name: path.stat() for path in exported.folder.iterdir()}
    result = export(entries_per_file=500, format=format)
    after = {path.name: path.stat() for path in exported.folder.iterdir()}
    assert {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in after.items()} == {
        name: (stat.st_ino, stat.st_mtime_ns) for name, stat in before.items()
    }
    assert result["bytes"] == sum(item["bytes"] for item in manifest["objects"])


@pytest.mark.parametrize("wrong", [{"entries": 999}, {"bytes": 1}, {"first_log_time": "x"}, {"sha256": "x"}])
def test_a_rerun_believes_no_number_of_an_earlier_manifest(
    simulate: Simulate, export: Export, exported: Exported, wrong: dict[str, Any]
) -> None:
    """Whatever damaged it, the new one is true. (isal may compress the same lines to other bytes.)"""
    simulator = simulate(log_of(3000))
    export(entries_per_file=500)
    [manifest] = exported.manifests
    damaged = {**manifest, "objects": [{**manifest["objects"][0], **wrong}, *manifest["objects"][1:]]}
    (exported.folder / f"_manifest-{BASE}.json").write_text(json.dumps(damaged))
    export(entries_per_file=500)
    exported.require_complete(simulator.truth(CONNECTOR, START, START + HOUR))
    for item, earlier in zip(exported.manifests[0]["objects"], manifest["objects"], strict=True):
        assert {**item, "bytes": 0, "sha256": ""} == {**earlier, "bytes": 0, "sha256": ""}


def test_a_rerun_converts_again_where_the_conversion_has_changed(
    simulate: Simulate, export: Export, exported: Exported
) -> None:
    """A later release that writes rows in another way does not leave objects of an earlier one."""
    simulate(log_of(100))
    export()
    manifest = exported.manifests[0]
    path = exported.folder / f"_manifest-{BASE}.json"
    path.write_text(json.dumps({**manifest, "format_version": manifest["format_version"] - 1}))
    before = (exported.folder / exported.parts[0]).stat().st_mtime_ns
    export()
    assert (exported.folder / exported.parts[0]).stat().st_mtime_ns != before
    assert exported.manifests[0]["format_version"] == manifest["format_version"]


def test_a_rerun_removes_what_is_no_longer_part_of_it(
    simulate: Simulate, export: Export, exported: Exported
) -> None:
    """A rerun removes parts of an earlier run with another size or compression, and keeps other files."""
    simulate(log_of(3000))
    export(entries_per_file=100, compression="none")
    others = {
        f"{CONNECTOR}-20260101T010000Z-20260101T020000Z-00000.jsonl.gz",
        f"{BASE}-notes.txt",
        f"X{BASE}-00000.jsonl.gz",
    }
    for name in others:
        (exported.folder / name).write_text("stays")
    assert len(exported.parts) > 10
    export()
    assert set(exported.names) == {f"{BASE}-00000.jsonl.gz", f"_manifest-{BASE}.json"} | others


def test_an_empty_window_has_a_manifest(simulate: Simulate, export: Export, exported: Exported) -> None:
    """An hour without entries is a complete window, which takes one request."""
    entries = generate_entries(count=10, start=START - HOUR, end=START, seed=1)
    sim = simulate(entries)
    result = export()
    assert exported.names == [f"_manifest-{BASE}.json"]
    assert (result["entries"], result["objects"], result["requests"]) == (0, 0, 1)
    assert len(sim.requests) == 1


@pytest.mark.parametrize("compression", ["none", None])
def test_without_compression(
    simulate: Simulate, export: Export, exported: Exported, compression: str | None
) -> None:
    """Without compression, objects are plain JSON Lines."""
    sim = simulate(log_of(100))
    export(compression=compression)
    assert exported.parts == [f"{BASE}-00000.jsonl"]
    assert len(exported.entries()) == len(sim.truth(CONNECTOR, START, START + HOUR))
    assert exported.manifests[0]["compression"] is None


def test_a_window_within_a_second(simulate: Simulate, export: Export, exported: Exported) -> None:
    """Names contain fractions of a second where there are any."""
    sim = simulate(log_of(2000), precision="millisecond")
    start, end = START + timedelta(minutes=5, milliseconds=250), START + timedelta(minutes=6, microseconds=1)
    export(start=start, end=end)
    assert exported.names[-1] == f"_manifest-{CONNECTOR}-20260101T000500.250000Z-20260101T000600.000001Z.json"
    assert len(exported.entries()) == len(sim.truth(CONNECTOR, start, end)) > 0


def test_the_statistics_of_a_day(simulate: Simulate, export: Export, exported: Exported) -> None:
    """The manifest has the hours, whose sums are those of the day; the result leaves them out."""
    day = 24 * HOUR
    sim = simulate(generate_entries(count=5000, start=START, end=START + day, seed=5, error_rate=0.1))
    result = export(start=START, end=START + day, entries_per_file=700)
    [manifest] = exported.manifests
    truth = sim.truth(CONNECTOR, START, START + day)
    exported.require_complete(truth)
    hours = manifest["statistics"].pop("hours")
    assert manifest["statistics"] == result["statistics"]
    assert [hour["start"] for hour in hours] == [f"2026-01-01T{hour:02}:00:00Z" for hour in range(24)]
    counts = Counter(entry["log_time"][:13] for entry in truth)
    failed = Counter(entry["log_time"][:13] for entry in truth if (entry["status"] or 0) >= 400)
    assert {h["start"][:13]: (h["entries"], h["errors"]) for h in hours} == {
        hour: (count, failed[hour]) for hour, count in counts.items()
    }
    assert result["statistics"]["errors"] == sum(failed.values()) > 400


def test_outlet_events_carry_the_summary(simulate: Simulate, export: Export, exported: Exported) -> None:
    """A DAG scheduled on the asset can read the summary of the export."""
    simulate(log_of(100))
    asset = Asset("file:///export")
    events = OutletEventAccessors()
    events[asset].extra["kept"] = 1
    result = export(context(outlet_events=events), outlets=[asset])
    assert events[asset].extra == {"kept": 1, **result}


def test_the_log_of_an_export(
    simulate: Simulate, export: Export, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """The log has source and target, each object, totals and the remaining budget, but no credential."""
    caplog.set_level(logging.DEBUG)
    simulate(log_of(3000))
    export(entries_per_file=1000)
    text = caplog.text + capfd.readouterr().out  # Airflow 3 does not write an operator's log with logging
    assert (
        f"Exporting the logs of {CONNECTOR} in [2026-01-01T00:00:00Z, 2026-01-01T01:00:00Z) to file://"
        in text
    )
    assert f"Wrote {BASE}-00000.jsonl.gz: 1,000 entries" in text
    assert "of 5,000 requests left in the hour" in text
    assert "Manifest: file://" in text
    assert KEY not in text


# The window


@pytest.mark.parametrize(
    ("arguments", "parts", "start", "end"),
    [
        ({}, {}, START, START + HOUR),
        ({"window": HOUR}, {"data_interval_start": START + HOUR}, START, START + HOUR),
        ({"window": HOUR}, {"data_interval_end": None, "logical_date": START + HOUR}, START, START + HOUR),
        ({"window": 2 * HOUR}, {"data_interval_end": None, "logical_date": None}, START, START + 2 * HOUR),
        ({"start": START}, {"data_interval_end": None, "logical_date": None}, START, START + 2 * HOUR),
        ({"start": START, "end": START + HOUR}, {"data_interval_end": None}, START, START + HOUR),
        ({"end": START + 2 * HOUR, "window": HOUR}, {}, START + HOUR, START + 2 * HOUR),
        ({"end": START + 2 * HOUR}, {}, START, START + 2 * HOUR),
        ({"start": "2026-01-01T00:30:00+00:00"}, {}, START + HOUR / 2, START + HOUR),
        ({"start": "2026-01-01 05:30:00+05:30", "end": ""}, {}, START, START + HOUR),
        ({"start": "2026-01-01T00:30:00Z", "end": "None"}, {}, START + HOUR / 2, START + HOUR),
    ],
)
def test_which_window_is_exported(
    simulate: Simulate,
    export: Export,
    arguments: dict[str, Any],
    parts: dict[str, Any],
    start: datetime,
    end: datetime,
) -> None:
    """The window comes from the arguments or the run's times, in the documented order."""
    sim = simulate(log_of(300, hours=3))
    result = export(context(**parts), **arguments)
    assert result["start"] == start.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert result["end"] == end.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert result["entries"] == len(sim.truth(CONNECTOR, start, end))


@pytest.mark.parametrize(
    ("arguments", "parts", "complaint"),
    [
        ({}, {"data_interval_end": START}, r"no length.*window=timedelta\(hours=1\)"),
        ({}, {"data_interval_start": None, "data_interval_end": None}, r"no data interval.*window=timedelta"),
        ({"start": START, "end": START}, {}, "Start and end are the same"),
        ({"window": timedelta()}, {}, "Start and end are the same"),
        ({"start": START + 2 * HOUR}, {}, "reversed"),
        ({"window": -HOUR}, {}, "reversed"),
        ({"end": datetime.now(timezone.utc) + HOUR}, {}, "is not over.*give an earlier end"),
        ({"start": datetime(2026, 1, 1)}, {}, "no time zone"),
        ({"start": "2026-01-01"}, {}, "no time zone"),
        ({"end": "2026-01-01T05:00:00"}, {}, "no time zone"),
        ({"start": "yesterday"}, {}, "not an ISO 8601 time"),
        ({"start": 5}, {}, "must be a datetime"),
        ({"path": ""}, {}, "path must be a URL"),
        ({"path": "my-bucket/logs"}, {}, "path must be a URL"),
        ({"path": "./logs"}, {}, "path must be a URL"),
        ({"path": "s3://"}, {}, "path must be a URL"),
        ({"path": "file://logs"}, {}, "path must be a URL"),
        ({"connector_identifier": "../x"}, {}, "connector_identifier"),
        ({"connector_identifier": ""}, {}, "connector_identifier"),
        ({"team_id": "x"}, {}, "team_id"),
        ({"team_id": 0}, {}, "team_id"),
    ],
)
def test_bad_input_is_refused_before_any_request(
    simulate: Simulate,
    export: Export,
    exported: Exported,
    arguments: dict[str, Any],
    parts: dict[str, Any],
    complaint: str,
) -> None:
    """Invalid input raises an error with the remedy, without retries, requests or objects."""
    sim = simulate()
    with pytest.raises(SupermetricsValidationError, match=complaint) as refused:
        export(context(**parts), **arguments)
    assert isinstance(refused.value, AirflowFailException)
    assert sim.requests == []
    assert exported.names == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"format": "xml"}, "format must be 'jsonl'"),
        ({"compression": "rar"}, "compression must be"),
        ({"entries_per_file": 0}, "entries_per_file"),
        ({"entries_per_file": True}, "entries_per_file"),
        ({"start": START, "window": HOUR}, "start or window, not both"),
        ({"window": "1h"}, "window must be a timedelta"),
        ({"settle": 600}, "settle must be a timedelta"),
        ({"settle": -HOUR}, "settle must not be negative"),
    ],
)
def test_invalid_arguments_fail_when_the_dag_is_read(arguments: dict[str, Any], complaint: str) -> None:
    """Invalid arguments are refused when the DAG is read."""
    with pytest.raises(SupermetricsValidationError, match=complaint):
        SupermetricsExportLogsOperator(task_id="t", connector_identifier="A", path="file:///x", **arguments)


def test_a_local_path_needs_no_scheme(simulate: Simulate, export: Export, exported: Exported) -> None:
    """An absolute path is accepted, too."""
    simulate(log_of(10))
    export(path=str(exported.folder))
    assert len(exported.manifests) == 1


# Failures


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(401), SupermetricsRequestError),
        (Fault(404), SupermetricsRequestError),
        (Fault(503, headers={"Retry-After": "3600"}), SupermetricsServerError),
        (Fault(kind="not_json"), SupermetricsResponseError),
        (Fault(kind="no_logs"), SupermetricsResponseError),
        (Fault(kind="no_log_time"), SupermetricsResponseError),
    ],
    ids=lambda value: f"{value.kind}-{value.status}" if isinstance(value, Fault) else "",
)
def test_a_failure_leaves_whole_objects_and_no_manifest(
    simulate: Simulate, export: Export, exported: Exported, fault: Fault, kind: type[Exception]
) -> None:
    """A failure after the third page leaves whole objects and no manifest; the rerun completes the export."""
    entries = log_of(5000, hours=1)
    sim = simulate(entries, faults=[None, None, None, fault])
    with pytest.raises(kind):
        export(entries_per_file=600)
    assert exported.manifests == []
    assert [len(exported.entries(part)) for part in exported.parts] == [600] * 4
    assert len(sim.requests) == 4
    export(entries_per_file=600)
    assert len(exported.manifests) == 1
    assert len(exported.entries()) == len(sim.truth(CONNECTOR, START, START + HOUR))


def test_a_failure_before_anything_changed_leaves_the_manifest(
    simulate: Simulate, export: Export, exported: Exported
) -> None:
    """A rerun that receives no response keeps the manifest and its objects."""
    sim = simulate(log_of(100), faults=[None] * 3 + [Fault(401)] * 3)
    export()
    before = exported.bytes()
    while len(sim.requests) < 3:
        export()
    with pytest.raises(SupermetricsRequestError):
        export()
    assert exported.bytes() == before


def test_a_time_that_fills_a_page(simulate: Simulate, export: Export, exported: Exported) -> None:
    """A time that fills a page fails the export, which leaves no manifest."""
    ties = [{"id": f"x{i}", "log_time": START + HOUR / 2} for i in range(1001)]
    simulate([{"id": "0", "log_time": START}, *ties])
    with pytest.raises(SupermetricsPaginationError):
        export()
    assert exported.manifests == []


def test_leftovers_of_a_killed_export_are_removed(
    simulate: Simulate, export: Export, exported: Exported
) -> None:
    """The next export of a window removes leftovers of a killed one, and keeps those of other windows."""
    simulate(log_of(100))
    exported.folder.mkdir()
    mine, other = f".{BASE}-00000.jsonl.gz.0123.tmp", ".other-00000.jsonl.gz.0123.tmp"
    for name in (mine, other):
        (exported.folder / name).write_bytes(b"half")
    export()
    assert mine not in exported.names
    assert other in exported.names


def test_a_rerun_that_fails_after_its_first_part_leaves_no_manifest(
    simulate: Simulate, export: Export, exported: Exported
) -> None:
    """The earlier manifest is removed before the first object changes, because it would no longer match."""
    sim = simulate(log_of(5000, hours=1), faults=[None] * 8 + [None, None, Fault(400)])
    export(entries_per_file=600)
    assert len(exported.manifests) == 1
    assert len(sim.requests) == 8  # six pages, and two that prove the end of the history
    sim.append(CONNECTOR, [{"id": "late", "log_time": START + HOUR - timedelta(seconds=1)}])
    with pytest.raises(SupermetricsRequestError):
        export(entries_per_file=600)
    assert exported.manifests == []


def test_two_exports_of_one_window(simulate: Simulate, exported: Exported) -> None:
    """An abandoned attempt that continues after its retry does not replace the retry's parts."""
    sim = simulate(log_of(100, hours=1))
    window = Window(START, START + HOUR)

    def writer() -> ExportWriter:
        destination = Destination.at(str(exported.folder))
        plan = ExportPlan(CONNECTOR, TEAM, window, file_format("jsonl", "gzip"), 30)
        return ExportWriter(destination, plan)

    truth = sim.truth(CONNECTOR)
    early, retry = writer(), writer()
    early.add(page_of(truth[:40]), parse_log_time(truth[39]["log_time"]).at)
    assert early.objects == 1
    retry.add(page_of([{"id": "late", "log_time": "2026-01-01T00:59:59Z"}, *truth]), None)
    retry.finish(1, None)
    complete = exported.bytes()
    with pytest.raises(SupermetricsConflictError, match="another export of the same window"):
        early.add(page_of(truth[40:]), None)
    assert exported.bytes() == complete

    # The other way round: the retry has just begun when the earlier one ends.
    early, retry = writer(), writer()
    early.add(page_of(truth), None)
    retry.add(page_of(truth[:40]), parse_log_time(truth[39]["log_time"]).at)
    with pytest.raises(SupermetricsConflictError):
        early.finish(1, None)
    assert exported.manifests == []
    retry.add(page_of(truth[40:]), None)
    retry.finish(1, None)
    assert len(exported.entries()) == len(truth)


# Lists of connectors


def test_list_connectors(simulate: Simulate) -> None:
    """The operator returns identifiers for expand()."""
    sim = simulate(connectors=[Connector("B2", team_id=TEAM), Connector("A1", team_id=TEAM)])
    operator = SupermetricsListConnectorsOperator(task_id="list")
    assert operator.execute(context()) == ["B2", "A1"]
    assert len(sim.requests) == 1


def test_a_mapped_task_has_a_readable_name(simulate: Simulate, export: Export) -> None:
    """The connector's identifier, unless the DAG says otherwise."""
    simulate(log_of(10))
    mapped = context(ti=SimpleNamespace(map_index=3))
    export(mapped)
    assert mapped["map_index_template"] == "{{ task.connector_identifier }}"
    named = context(ti=SimpleNamespace(map_index=3), map_index_template="mine")
    export(named)
    assert named["map_index_template"] == "mine"
    single = context()
    export(single)
    assert "map_index_template" not in single


def test_templated_fields() -> None:
    """Arguments that may differ between runs are templated."""
    assert set(SupermetricsExportLogsOperator.template_fields) >= {
        "connector_identifier",
        "path",
        "team_id",
        "start",
        "end",
        "supermetrics_conn_id",
    }
    assert set(SupermetricsListConnectorsOperator.template_fields) == {"team_id", "supermetrics_conn_id"}


def test_progress_is_logged(
    simulate: Simulate,
    export: Export,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A long export logs its progress; here the clock advances by a minute at each reading."""
    caplog.set_level(logging.INFO)
    clock = itertools.count(step=60)
    sim = simulate(log_of(5000))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    export(entries_per_file=1000)
    monkeypatch.undo()
    text = caplog.text if "of the window" in caplog.text else capfd.readouterr().out
    reported = re.findall(
        r"(\d+) % of the window read: ([\d,]+) entries, (\d+) objects?, (\d+) requests?, ", text
    )
    assert [int(requests) for *_, requests in reported] == list(range(1, len(sim.requests) + 1))
    assert [int(share) for share, *_ in reported] == sorted(int(share) for share, *_ in reported)
    assert reported[-1][0] == "100"
    assert "requests left in the hour" in text
