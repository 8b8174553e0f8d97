"""Runs of partitions, and manual runs, in the services of a real Airflow: which window each exports."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from dev.demo.processes import Failed
from dev.simulator import Connector, Fault, Simulator, generate_entries
from tests.conftest import CONNECTOR, HOUR, KEY, TEAM
from tests.e2e.services import Services
from tests.support.release import RELEASE

if RELEASE < (3, 3):
    pytest.skip("before Airflow 3.3 a task does not see its partition's date", allow_module_level=True)

DAGS = """
from datetime import timedelta

import pendulum
from airflow.sdk import DAG, Asset, CronPartitionTimetable

from airflow_provider_supermetrics.operators.supermetrics import SupermetricsExportLogsOperator

PATH = "{{ var.value.exports }}/{{ dag.dag_id }}/{{ dag_run.run_type.value }}"

with DAG(
    "hours",
    schedule=CronPartitionTimetable("0 * * * *", timezone="UTC", run_offset=-1),
    start_date=pendulum.datetime(2025, 11, 24, 2, tz="UTC"),
    end_date=pendulum.datetime(2025, 11, 24, 4, tz="UTC"),
    catchup=True,
):
    SupermetricsExportLogsOperator.partial(
        task_id="export", path=PATH, window=timedelta(hours=1), deferrable=True, outlets=[Asset("hours")]
    ).expand(connector_identifier=["T3S70", "K2M41"])

with DAG(
    "days",
    schedule=CronPartitionTimetable("0 0 * * *", timezone="Europe/Helsinki", run_offset=-1),
    start_date=pendulum.datetime(2025, 10, 26, tz="Europe/Helsinki"),
    end_date=pendulum.datetime(2025, 10, 28, tz="Europe/Helsinki"),
    catchup=True,
):
    SupermetricsExportLogsOperator(
        task_id="export", connector_identifier="T3S70", path=PATH, window=timedelta(days=1), deferrable=True
    )

# DOCUMENTED
with DAG("manual_days", schedule=None, start_date=pendulum.datetime(2025, 1, 1, tz="Europe/Berlin")):
    SupermetricsExportLogsOperator(
        task_id="export",
        connector_identifier="T3S70",
        path="{{ var.value.exports }}/manual_days/date=" + DAY,
        window=timedelta(days=1),
        deferrable=True,
    )
"""
HOURS = [datetime(2025, 11, 24, hour, tzinfo=timezone.utc) for hour in (1, 2, 3)]
# The second one of these three days has 25 hours.
MIDNIGHTS = [
    datetime(2025, 10, day, hour, tzinfo=timezone.utc)
    for day, hour in ((24, 21), (25, 21), (26, 22), (27, 22))
]
CONNECTORS = (CONNECTOR, "K2M41")


def test_partitions_and_manual_runs(tmp_path: Path, repository: Path) -> None:
    """Scheduled, backfilled, manual and cleared, mapped and deferred: one partition, one set of objects."""
    documented = (repository / "docs" / "export.md").read_text("utf-8")
    assert "airflow backfill create --dag-id supermetrics_hours" in documented
    assert "airflow dags clear supermetrics_hours --partition-key" in documented
    [day] = [block for block in documented.split("```python\n") if "\nDAY = " in block]
    dags, exports = tmp_path / "dags", tmp_path / "exports"
    dags.mkdir()
    (dags / "partitions.py").write_text(DAGS.replace("# DOCUMENTED", day.partition("with DAG")[0]))
    hours = generate_entries(3000, HOURS[0] - HOUR, HOURS[-1] + 2 * HOUR, seed=7)
    days = generate_entries(6000, MIDNIGHTS[0] - HOUR, MIDNIGHTS[-1] + HOUR, seed=8)
    logs = [Connector(CONNECTOR, [*days, *hours], team_id=TEAM), Connector("K2M41", hours, team_id=TEAM)]
    wait = Fault(429, headers={"Retry-After": "16"})
    faults = [None if number % 9 else wait for number in range(100)]
    with Simulator(connectors=logs, tokens={KEY: {TEAM}}, faults=faults) as simulator:
        connection = {
            "conn_type": "supermetrics",
            "host": simulator.url,
            "password": KEY,
            "extra": {"team_id": TEAM, "max_inline_wait": 1},
        }
        variables = {
            "AIRFLOW_CONN_SUPERMETRICS_DEFAULT": json.dumps(connection),
            "AIRFLOW_VAR_EXPORTS": f"file://{exports}",
        }
        with Services(tmp_path / "services", dags, variables) as services:
            services.unpause("hours")
            services.unpause("days")
            services.wait("the scheduled runs", all_done(services, hours=3, days=3), seconds=600)
            before = contents(exports / "hours" / "scheduled")
            services.backfill(
                "hours",
                "--from-date",
                "2025-11-24T01:00:00",
                "--to-date",
                "2025-11-24T03:00:00",
                "--reprocess-behavior",
                "completed",
            )
            services.wait("the backfill of hours", all_done(services, hours=6, days=3), seconds=600)
            services.backfill(
                "days",
                "--from-date",
                "2025-10-25",
                "--to-date",
                "2025-10-27",
                "--reprocess-behavior",
                "completed",
            )
            services.wait("the backfill of days", all_done(services, hours=6, days=6), seconds=600)
            services.trigger("hours", partition_key="2025-11-24T02:00:00")
            # This run has a logical date, which would determine the window of a run without a partition.
            services.trigger("days", partition_key="2025-10-26T00:00:00", logical_date=MIDNIGHTS[2])
            services.trigger("manual_days")
            services.wait("the manual runs", all_done(services, hours=7, days=7, manual_days=1), seconds=600)
            [redone] = [run for run in services.runs("hours") if run.startswith("scheduled__2025-11-24T03")]
            services.airflow("dags", "clear", "hours", "--partition-key", "2025-11-24T02:00:00", "--yes")
            services.wait(
                "the cleared runs",
                lambda: (
                    services.task("hours", redone, "export", 1).try_number > 1
                    and all_done(services, hours=7, days=7, manual_days=1)()
                ),
                seconds=600,
            )
            events = services.asset_events()
        truth = {
            (identifier, start, end): {entry["id"] for entry in simulator.truth(identifier, start, end)}
            for starts, ends, identifiers in (
                (HOURS, [start + HOUR for start in HOURS], CONNECTORS),
                (MIDNIGHTS[:-1], MIDNIGHTS[1:], (CONNECTOR,)),
            )
            for start, end in zip(starts, ends)
            for identifier in identifiers
        }
        assert sum(request.status == 429 for request in simulator.requests) > 2, "too few tasks were deferred"
    assert contents(exports / "hours" / "scheduled") == before
    for dag_id in ("hours", "days"):
        scheduled = windows(exports / dag_id / "scheduled")
        assert windows(exports / dag_id / "backfill") == scheduled
        manual = windows(exports / dag_id / "manual")
        assert manual and manual.items() <= scheduled.items()
        assert len(scheduled) == (6 if dag_id == "hours" else 3)
        assert scheduled == {window: entries for window, entries in truth.items() if window in scheduled}
    assert truth.keys() == {
        *windows(exports / "hours" / "scheduled"),
        *windows(exports / "days" / "scheduled"),
    }
    assert len(events) == 2 * (3 + 3 + 1 + 3)  # the last three, cleared
    for key, extra in events:
        assert extra["start"] == f"{key}Z"

    [manifest] = exports.glob("manual_days/*/_manifest-*.json")
    start, end = (
        datetime.fromisoformat(json.loads(manifest.read_text())[name].replace("Z", "+00:00"))
        .astimezone(ZoneInfo("Europe/Berlin"))
        .replace(tzinfo=None)
        for name in ("start", "end")
    )
    assert manifest.parent.name == f"date={start.date()}"
    assert (end - start, start.time(), end.time()) == (
        timedelta(days=1),
        datetime.min.time(),
        datetime.min.time(),
    )


def all_done(services: Services, **counts: int) -> Callable[[], bool]:
    """Return a function that returns whether each DAG has this many runs, all successful."""

    def is_done() -> bool:
        states = {dag_id: list(services.runs(dag_id).values()) for dag_id in counts}
        if any("failed" in found for found in states.values()):
            raise Failed(f"A run has failed: {states}")
        return states == {dag_id: ["success"] * count for dag_id, count in counts.items()}

    return is_done


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return the inode and the bytes of each object; writing an object again changes its inode."""
    return {path.name: (path.stat().st_ino, path.read_bytes()) for path in folder.iterdir()}


def windows(folder: Path) -> dict[tuple[str, datetime, datetime], set[Any]]:
    """The ids in each window, by what its manifest says; each entry must be there once."""
    found = {}
    for path in folder.glob("_manifest-*.json"):
        manifest = json.loads(path.read_text())
        lines = [
            line
            for item in manifest["objects"]
            for line in gzip.decompress((folder / item["name"]).read_bytes()).splitlines()
        ]
        ids = {json.loads(line)["id"] for line in lines}
        assert len(ids) == len(lines) == manifest["entries"]
        times = (datetime.fromisoformat(manifest[name].replace("Z", "+00:00")) for name in ("start", "end"))
        found[(manifest["connector_identifier"], *times)] = ids
    return found
