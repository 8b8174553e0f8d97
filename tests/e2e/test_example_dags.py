"""The example DAGs, unchanged, in a real Airflow against the simulated API."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import aclosing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dev.demo.airflow import AIRFLOW, EXAMPLE_DAGS, connection, environment, variables
from dev.demo.alert import alert_problem, alert_text
from dev.simulator import Connector, Simulator, generate_entries
from tests.support.release import AIRFLOW_2, RELEASE

try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:  # Airflow 2
    from airflow.models.dagbag import DagBag

pytestmark = pytest.mark.airflow_2

KEY, TEAM = "sm-test-key", 7
HOUR = timedelta(hours=1)
END = datetime(2026, 3, 1, 10, tzinfo=timezone.utc)
HOUR_NAME = "20260301T090000Z-20260301T100000Z"
# Pages hold 1000 entries; the last of these connectors has logged nothing.
ENTRIES = {"T3S70": 4_000, "K2M41": 1_500, "B7Q18": 0}


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    """Connectors with logs from an hour before the window to half an hour after it."""
    connectors = [
        Connector(
            identifier, generate_entries(count, END - 2 * HOUR, END + HOUR / 2, seed=seed), team_id=TEAM
        )
        for seed, (identifier, count) in enumerate(ENTRIES.items())
    ]
    with Simulator(connectors=connectors, tokens={KEY: {TEAM}}) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def airflow(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Run an Airflow command, with the example DAGs, a Connection, and a folder to export to."""
    home = tmp_path_factory.mktemp("airflow")

    def run(exported: Path, *arguments: str, dags: Path = EXAMPLE_DAGS, code: int = 0) -> str:
        settings = variables(connection(simulator.url, KEY, TEAM), exported)
        done = subprocess.run(
            [AIRFLOW, *arguments],
            env={**environment(home, **settings), "AIRFLOW__CORE__DAGS_FOLDER": str(dags)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        assert done.returncode == code, done.stdout
        assert KEY not in "".join(line for line in done.stdout.splitlines() if not printed_by_airflow(line))
        return done.stdout

    run(home, "db", "migrate")
    if RELEASE == (3, 0):
        # There, a task with an asset as its outlet fails unless the DAG is in the database.
        run(home, "dags", "reserialize")
    return run


def printed_by_airflow(line: str) -> bool:
    """Whether it is Airflow 3.0's own line with the Connection in it: docs/security.md."""
    return RELEASE == (3, 0) and "Sending request" in line and "msg=MaskSecret(" in line


def exported_entries(folder: Path, identifier: str) -> list[dict[str, Any]]:
    """The entries in a connector's files, in their order."""
    files = sorted(folder.glob(f"{identifier}-{HOUR_NAME}-*.jsonl.gz"))
    return [json.loads(line) for file in files for line in gzip.decompress(file.read_bytes()).splitlines()]


def by_id(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries in one order, whatever theirs was."""
    return sorted(entries, key=lambda entry: entry["id"])


def errors(simulator: Simulator, start: datetime, end: datetime | None = None) -> list[dict[str, Any]]:
    """The errors that the API has of T3S70, newest first."""
    entries = simulator.truth("T3S70", start, end)
    return [entry for entry in entries if (entry["status"] or 0) >= 400]


async def first_payload(trigger: Any) -> dict[str, Any]:
    """The payload of the first event of a watcher's trigger, which runs as in Airflow."""
    async with (
        aclosing(trigger.open_shared_stream(trigger.serialize()[1])) as polls,
        aclosing(trigger.filter_shared_stream(polls)) as events,
    ):
        return (await anext(events)).payload


def test_examples_parse():
    """Airflow finds all DAGs that it can run, without an import error or a warning."""
    bag = DagBag(str(EXAMPLE_DAGS))
    assert (bag.import_errors, bag.captured_warnings) == ({}, {})
    assert [dag.dag_id for dag in bag.dags.values() if not dag.doc_md] == []
    for_airflow_3 = set() if AIRFLOW_2 else {"supermetrics_error_events"}
    if RELEASE >= (3, 3):
        for_airflow_3 |= {"supermetrics_hourly_partitions", "supermetrics_daily_rollup"}
    assert set(bag.dag_ids) == for_airflow_3 | {
        "supermetrics_error_alert",
        "supermetrics_health_report",
        "supermetrics_hourly_export",
        "supermetrics_quality_gate",
        "supermetrics_team_export",
    }


@pytest.mark.parametrize(
    ("dag_id", "identifiers"),
    [("supermetrics_hourly_export", ["T3S70"]), ("supermetrics_team_export", list(ENTRIES))],
)
def test_examples_export_the_last_hour(airflow, simulator, tmp_path, dag_id, identifiers):
    """A run exports exactly the entries of the hour before it, of the connectors that it should."""
    airflow(tmp_path, "dags", "test", dag_id, END.isoformat())
    assert {file.name for file in tmp_path.glob("_manifest-*")} == {
        f"_manifest-{identifier}-{HOUR_NAME}.json" for identifier in identifiers
    }
    for identifier in identifiers:
        truth = simulator.truth(identifier, END - HOUR, END)
        assert by_id(exported_entries(tmp_path, identifier)) == by_id(truth)
        assert len(truth) >= ENTRIES[identifier] / 4  # else nothing was shown


def test_alert_reports_each_error_once(airflow, simulator, tmp_path):
    """The message has what a person needs; the next run begins right behind it, and is skipped."""
    # All of them are younger than `max_lookback`.
    reported = errors(simulator, END - 2 * HOUR)
    sent = len(simulator.requests)
    output = airflow(tmp_path, "dags", "test", "supermetrics_error_alert", END.isoformat())
    message = alert_text(output)
    assert alert_problem(message, reported) == ""
    assert "\nMost frequent among the newest 20:\n" in message
    assert re.search(r"^  \d+ x \d{3} [A-Z]+ /", message, re.MULTILINE)
    assert message.endswith(f", request id {reported[0]['request_id']}")
    # One small page, then as few large ones as the entries of that time need.
    entries = len(simulator.truth("T3S70", END - 2 * HOUR))
    assert len(simulator.requests) - sent <= 1 + entries // 1000 + 2

    # The same example, but for its patience.
    example = (EXAMPLE_DAGS / "supermetrics_error_alert.py").read_text()
    (tmp_path / "dags").mkdir()
    impatient = re.sub(r"timeout=timedelta\(minutes=\d+\)", "timeout=0", example)
    assert impatient != example
    (tmp_path / "dags" / "alert.py").write_text(impatient)
    sent = len(simulator.requests)
    arguments = ("dags", "test", "supermetrics_error_alert", (END + HOUR).isoformat())
    output = airflow(tmp_path, *arguments, dags=tmp_path / "dags")
    assert "T3S70: 0 of at least 1 matching entries since " in output
    assert alert_text(output) == ""
    assert len(simulator.requests) - sent == 1


def test_quality_gate_skips_after_errors(airflow, simulator, tmp_path):
    """An hour with errors has no load; one request is enough to find them."""
    newest = errors(simulator, END - HOUR, END)[0]
    sent = len(simulator.requests)
    output = airflow(tmp_path, "dags", "test", "supermetrics_quality_gate", END.isoformat())
    assert re.search(
        r"T3S70: at least \d+ errors, more than max_errors=0, in 2026-03-01T09:00:00Z to ", output
    )
    assert f"Newest: log entry {newest['id']}, at {newest['log_time']}" in output
    assert "starting task_id=check_logs" in output
    assert "starting task_id=load" not in output
    assert len(simulator.requests) - sent == 1


@pytest.mark.parametrize(("end", "requests"), [(END - 2 * HOUR, 2), (END + 2 * HOUR, 1)], ids=str)
def test_quality_gate_lets_pass(airflow, simulator, tmp_path, end, requests):
    """Errors before and after the hour do not count; where there is no entry, the connectors are listed."""
    sent = len(simulator.requests)
    output = airflow(tmp_path, "dags", "test", "supermetrics_quality_gate", end.isoformat())
    assert "T3S70: passed, 0 errors in 0 entries, in " in output
    assert "starting task_id=load" in output
    assert len(simulator.requests) - sent == requests


def test_a_check_that_fails_has_a_result(airflow, simulator, tmp_path):
    """Its XCom is there for a callback and for a task that runs in any case; Airflow does not retry it."""
    example = (EXAMPLE_DAGS / "supermetrics_quality_gate.py").read_text()
    failing = example.replace('on_violation="skip"', "on_failure_callback=tell")
    assert failing != example
    tell = """def tell(context):
    print("Reported:", context["ti"].xcom_pull(task_ids="check_logs")["message"])
"""
    report = """
    @dag.task(trigger_rule="all_done")
    def report(ti=None):
        print("Reported:", ti.xcom_pull(task_ids="check_logs")["violations"])

    check >> report()
"""
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "gate.py").write_text(failing.replace("with DAG(", f"{tell}\nwith DAG(") + report)
    sent = len(simulator.requests)
    arguments = ("dags", "test", "supermetrics_quality_gate", END.isoformat())
    output = airflow(tmp_path, *arguments, dags=tmp_path / "dags", code=1)
    reported = r"Reported: T3S70: at least (\d+) errors, more than max_errors=0, in 2026-03-01T09:00:00Z to "
    [count] = set(re.findall(reported, output))
    assert 0 < int(count) <= len(errors(simulator, END - HOUR, END))
    assert f"Reported: [{{'bound': 'max_errors', 'limit': 0, 'value': {count}}}]" in output
    assert "starting task_id=load" not in output
    assert len(simulator.requests) - sent == 1


@pytest.mark.skipif(AIRFLOW_2, reason="Airflow 2 starts no runs by events")
def test_error_events(tmp_path, monkeypatch, caplog):
    """The task logs what the watcher's trigger finds, also where several events come at once."""
    now = datetime.now(timezone.utc)
    entries = generate_entries(600, now - HOUR, now, error_rate=0.1)
    with Simulator(connectors=[Connector("T3S70", entries, team_id=TEAM)], tokens={KEY: {TEAM}}) as simulator:
        for name, value in variables(connection(simulator.url, KEY, TEAM), tmp_path).items():
            monkeypatch.setenv(name, value)
        dag = DagBag(str(EXAMPLE_DAGS / "supermetrics_error_events.py")).dags["supermetrics_error_events"]
        [asset] = dag.schedule
        payload = asyncio.run(first_payload(asset.watchers[0].trigger))
        assert len(simulator.requests) == 1
        reported = errors(simulator, datetime.fromisoformat(payload["since"].replace("Z", "+00:00")))

    class Events(dict[str, Any]):
        """Events by their asset, which is no key of a dict before Airflow 3.2."""

        def __getitem__(self, asset: Any) -> Any:
            return super().__getitem__(asset.name)

    event = SimpleNamespace(extra={"from_trigger": True, "payload": payload})
    dag.get_task("alert").python_callable(triggering_asset_events=Events({asset.name: [event, event]}))
    first_line = payload["message"].partition("\n")[0]
    assert first_line == f"T3S70: {len(reported)} errors from {payload['since']} to {payload['until']}"
    assert caplog.text.count(payload["message"]) == 2
    assert f"Newest: log entry {reported[0]['id']}, " in caplog.text
