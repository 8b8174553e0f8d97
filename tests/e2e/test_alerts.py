"""Sensors and asset watchers find errors in a log, in the services of a real Airflow."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from dev.demo.airflow import AIRFLOW, environment
from dev.simulator import Connector, Received, Simulator, generate_entries
from tests.conftest import HOUR, KEY, START, TEAM
from tests.e2e.services import Services
from tests.support.release import AIRFLOW_2

pytestmark = pytest.mark.airflow_2

needs_events = pytest.mark.skipif(AIRFLOW_2, reason="events came with Airflow 3, shared polls with 3.3")

MODES = ("deferrable", "reschedule", "poke")
STATUSES = range(500, 505)
POLL_INTERVAL = 3
SHARING = [f"status_{status}" for status in STATUSES]
WATCHING = [] if AIRFLOW_2 else ["restarted", *SHARING]

SENSORS = f"""
from datetime import datetime, timezone

from airflow import DAG

from airflow_provider_supermetrics.sensors.supermetrics import SupermetricsErrorLogSensor

START = datetime(2026, 1, 1, tzinfo=timezone.utc)

for dag_id, connector in (("waits", "CALM"), ("finds", "BROKEN")):
    with DAG(dag_id, schedule=None, start_date=START):
        for rank, mode in enumerate({MODES}):
            SupermetricsErrorLogSensor(
                task_id=mode,
                supermetrics_conn_id=mode,
                connector_identifier=connector,
                since=START,
                statuses=[500, 503],
                events=["data.fetch"],
                request_contains="ORDERS",
                min_matches=3,
                max_entries=4,
                poke_interval=15,
                timeout=600,
                mode="poke" if mode == "deferrable" else mode,
                deferrable=mode == "deferrable",
                # While the last one pokes, the executor of the tests on Airflow 2 does nothing else.
                priority_weight=10 - rank,
            )
"""

WATCHERS = f'''
from datetime import datetime, timezone

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_supermetrics.triggers.supermetrics import SupermetricsErrorLogEventTrigger


def watched(name, **arguments):
    """A DAG that runs when there are errors, and returns for each event which they were."""
    trigger = SupermetricsErrorLogEventTrigger(
        poll_interval={POLL_INTERVAL}, supermetrics_conn_id="events", **arguments
    )
    errors = Asset(name, watchers=[AssetWatcher(name=name, trigger=trigger)])
    with DAG(name, schedule=[errors], start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)):

        @task
        def report(triggering_asset_events=None):
            events = triggering_asset_events[errors]
            return [sorted(entry["id"] for entry in e.extra["payload"]["entries"]) for e in events]

        report()


watched("restarted", connector_identifier="RESTARTED")
for name, status in {list(zip(SHARING, STATUSES, strict=True))}:
    watched(name, connector_identifier="SHARED", statuses=[status])
'''


def entry(name: str, at: datetime, status: int, event: str = "data.fetch") -> dict[str, Any]:
    """Return an entry whose id describes its purpose."""
    return {"id": name, "log_time": at, "status": status, "event": event, "request": f"GET /v2/orders/{name}"}


def calm_log(start: datetime, end: datetime) -> list[dict[str, Any]]:
    """More than a page of entries without errors."""
    return generate_entries(count=150, start=start, end=end, error_rate=0)


EARLIER = [
    *calm_log(START, START + HOUR),
    entry("other status", START + HOUR, 404),
    entry("other event", START + HOUR, 500, event="report.create"),
]
ERRORS = [
    *[entry(f"match-{i}", START + HOUR * 2 + timedelta(seconds=i), 500 + i % 2 * 3) for i in range(6)],
    entry("later", START + HOUR * 3, 502),
]
NEWEST = ("match-5", "match-4", "match-3", "match-2")


@pytest.fixture(scope="module")
def sim() -> Iterator[Simulator]:
    """The API, with a log for each thing that is tested."""
    now = datetime.now(timezone.utc)
    today = calm_log(now - 2 * HOUR, now - HOUR / 6)
    logs = {"CALM": EARLIER, "BROKEN": EARLIER + ERRORS, "RESTARTED": today, "SHARED": today}
    connectors = [Connector(name, entries, team_id=TEAM) for name, entries in logs.items()]
    with Simulator(connectors=connectors, tokens={KEY: {TEAM}}) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the services."""
    return tmp_path_factory.mktemp("services")


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory, sim: Simulator) -> dict[str, str]:
    """The DAGs above, and a Connection for each mode, which the simulator can distinguish."""
    dags = tmp_path_factory.mktemp("dags")
    (dags / "sensors.py").write_text(SENSORS)
    if not AIRFLOW_2:
        (dags / "watchers.py").write_text(WATCHERS)

    def connection(name: str) -> str:
        extra = {"team_id": TEAM, "headers": {"X-Mode": name}}
        return json.dumps({"conn_type": "supermetrics", "host": sim.url, "password": KEY, "extra": extra})

    connections = {f"AIRFLOW_CONN_{name.upper()}": connection(name) for name in (*MODES, "events")}
    return {"AIRFLOW__CORE__DAGS_FOLDER": str(dags), **connections}


@pytest.fixture(scope="module")
def services(folder: Path, variables: dict[str, str]) -> Iterator[Services]:
    """Services that know the DAGs above."""
    with Services(folder, Path(variables["AIRFLOW__CORE__DAGS_FOLDER"]), variables) as services:
        # Airflow watches for them from when it reads their file next.
        for dag_id in WATCHING:
            services.unpause(dag_id)
        yield services


def results(services: Services, dag_id: str) -> list[dict[str, Any] | None]:
    """What the sensors of the DAG's only run have returned."""
    [run] = services.runs(dag_id)
    return [services.xcom(dag_id, run, mode) for mode in MODES]


def check_results(services: Services, dag_id: str, sim: Simulator, connector: str) -> None:
    """Check that all sensors returned the number of errors and the newest of them in full."""
    assert results(services, dag_id) == [expected_of(sim, connector)] * len(MODES)


def expected_of(sim: Simulator, connector: str) -> dict[str, Any]:
    """What a sensor should return."""
    by_id = {entry["id"]: entry for entry in sim.truth(connector)}
    entries = [by_id[name] for name in NEWEST]
    failures = "".join(f"\n  2 x {status} GET /v2/orders/match-…" for status in (503, 500))
    return {
        "connector_identifier": connector,
        "team_id": TEAM,
        "matches": 6,
        "entries": entries,
        "since": "2026-01-01T00:00:00Z",
        "until": "2026-01-01T03:00:00Z",
        "message": f"{connector}: 6 errors from 2026-01-01T00:00:00Z to 2026-01-01T03:00:00Z\n"
        f"Most frequent among the newest 4:{failures}\n"
        f"Newest: log entry match-5, at {entries[0]['log_time']}",
    }


def requests_for(sim: Simulator, connector: str) -> list[Received]:
    """The requests for one connector's log that have received a response."""
    return [request for request in sim.requests if f"/{connector}/" in request.path and request.status]


def reported(services: Services, dag_id: str) -> list[list[str]]:
    """Of each event that has started a run, the ids of its errors."""
    return [ids for run in services.runs(dag_id) for ids in services.xcom(dag_id, run, "report") or []]


def happen(sim: Simulator, connector: str, errors: dict[str, int]) -> None:
    """Let errors with these ids and statuses happen now."""
    now = datetime.now(timezone.utc)
    sim.append(connector, [entry(name, now, status) for name, status in errors.items()])


def waiting(services: Services, run_id: str, mode: str) -> str | None:
    """The state of a sensor, which has not come to an end."""
    state = services.task("waits", run_id, mode).state
    assert state not in ("success", "failed"), services.log("waits", run_id, mode)
    return state


def test_all_modes_find_the_same(services: Services, sim: Simulator) -> None:
    """Each mode returns the same result for errors that are logged while all three wait."""
    run = services.trigger("waits")
    services.wait(
        "each sensor to have polled",
        lambda: (
            all(waiting(services, run, mode) for mode in MODES)
            and {request.headers["x-mode"] for request in requests_for(sim, "CALM")} == set(MODES)
        ),
    )
    services.wait("the deferral", lambda: waiting(services, run, "deferrable") == "deferred")
    task = services.task("waits", run, "deferrable")
    [row] = [row for row in services.trigger_rows() if row.classpath.endswith(".SupermetricsErrorLogTrigger")]
    assert row.id == task.trigger_id
    assert '"min_matches"' in row.kwargs
    assert KEY not in f"{row.stored_kwargs}{row.kwargs}{task.next_kwargs}"
    assert results(services, "waits") == [None] * len(MODES)

    sim.append("CALM", ERRORS)
    services.wait("the sensors' end", lambda: services.runs("waits")[run] in ("success", "failed"))
    check_results(services, "waits", sim, "CALM")
    for mode in MODES:
        assert services.task("waits", run, mode).try_number == 1
        assert KEY not in services.log("waits", run, mode)


@pytest.mark.skipif(AIRFLOW_2, reason="takes long enough on one of them")
def test_airflow_dags_test_finds_the_same(
    services: Services, sim: Simulator, folder: Path, variables: dict[str, str], tmp_path: Path
) -> None:
    """Errors that are there already are found by the first poll, in a process without any services."""
    # A database of its own, because the services write to theirs all the time.
    database = tmp_path / "airflow.db"
    with (
        closing(sqlite3.connect(services.home / "airflow.db", timeout=60)) as source,
        closing(sqlite3.connect(database)) as target,
    ):
        source.backup(target)
    done = subprocess.run(
        [AIRFLOW, "dags", "test", "finds"],
        env=environment(
            folder,
            **variables,
            AIRFLOW__CORE__FERNET_KEY=services.fernet_key,
            AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{database}",
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    with closing(sqlite3.connect(database)) as opened:
        query = "SELECT task_id, value FROM xcom WHERE dag_id = 'finds' AND key = 'return_value'"
        found = {task_id: json.loads(value) for task_id, value in opened.execute(query)}
    assert found == dict.fromkeys(MODES, expected_of(sim, "BROKEN"))
    assert KEY not in done.stdout


@needs_events
def test_watchers_of_one_connector_share_their_polls(services: Services, sim: Simulator) -> None:
    """Five watchers, one request each interval; of five errors each DAG receives its own, once."""
    happen(sim, "SHARED", {f"error {status}": status for status in STATUSES})
    services.wait("all to be reported", lambda: all(reported(services, dag_id) for dag_id in SHARING))

    known = len(requests_for(sim, "SHARED"))
    polls = services.wait(
        "some idle polls", lambda: len(found := requests_for(sim, "SHARED")[known:]) >= 7 and found
    )
    intervals = (polls[-1].time - polls[0].time) / POLL_INTERVAL
    assert len(polls) <= intervals + 1 + 2
    assert [reported(services, dag_id) for dag_id in SHARING] == [
        [[f"error {status}"]] for status in STATUSES
    ]
    rows = [row for row in services.trigger_rows() if '"SHARED"' in row.kwargs]
    assert len(rows) == 5
    assert KEY not in "".join(row.stored_kwargs + row.kwargs for row in rows)


@needs_events
def test_a_restart_repeats_and_misses_nothing(services: Services, sim: Simulator) -> None:
    """Errors before, during and after the triggerer's absence: one event names them, and only one."""
    expected = []

    def handled(*names: str) -> None:
        expected.append(sorted(names))
        services.wait(f"{names} to be reported", lambda: sorted(names) in reported(services, "restarted"))

    happen(sim, "RESTARTED", {"up-1": 500, "up-2": 404})
    handled("up-1", "up-2")
    # Half a surrogate pair has no form in UTF-8, and so in no store of Airflow's.
    happen(sim, "RESTARTED", {"odd \ud800": 500})
    handled("odd \ufffd")
    known = len(requests_for(sim, "RESTARTED"))
    services.wait("some idle polls", lambda: len(requests_for(sim, "RESTARTED")) >= known + 4)
    services.kill("triggerer")
    happen(sim, "RESTARTED", {"down-1": 500})
    happen(sim, "RESTARTED", {"down-2": 503})
    services.start("triggerer")
    handled("down-1", "down-2")
    happen(sim, "RESTARTED", {"again": 500})
    handled("again")
    # Airflow may keep back the last event of several in a row until the next one.
    happen(sim, "RESTARTED", {"last": 500})
    handled("last")
    assert reported(services, "restarted") == expected
