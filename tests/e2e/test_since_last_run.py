"""Runs of a sensor that continue after each other, in the services of a real Airflow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from dev.simulator import Connector, Simulator, generate_entries
from tests.conftest import HOUR, KEY, TEAM
from tests.e2e.services import Services
from tests.support.release import AIRFLOW_2

pytestmark = pytest.mark.airflow_2

CONNECTORS = ["FIRST", "SECOND"]
DAG = f"""
from datetime import datetime, timezone

from airflow import DAG

from airflow_provider_supermetrics.sensors.supermetrics import SupermetricsErrorLogSensor

with DAG("alerts", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), max_active_runs=1):
    SupermetricsErrorLogSensor.partial(
        task_id="errors",
        since_last_run=True,
        deferrable=True,
        poke_interval=15,
        timeout=20,
        soft_fail=True,
    ).expand(connector_identifier={CONNECTORS})
"""


@pytest.fixture
def sim() -> Iterator[Simulator]:
    """The API, with two connectors without errors."""
    now = datetime.now(timezone.utc)
    logs = [
        generate_entries(count=150, start=now - HOUR, end=now - HOUR / 2, error_rate=0, seed=n)
        for n in (1, 2)
    ]
    connectors = [Connector(name, log, team_id=TEAM) for name, log in zip(CONNECTORS, logs, strict=True)]
    with Simulator(connectors=connectors, tokens={KEY: {TEAM}}) as simulator:
        yield simulator


@pytest.fixture
def services(tmp_path: Path, sim: Simulator) -> Iterator[Services]:
    """Services that know the DAG above."""
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "alerts.py").write_text(DAG)
    connection = {"conn_type": "supermetrics", "host": sim.url, "password": KEY, "extra": {"team_id": TEAM}}
    variables = {
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW_CONN_SUPERMETRICS_DEFAULT": json.dumps(connection),
    }
    with Services(tmp_path / "services", dags, variables) as services:
        yield services


def test_each_error_is_reported_once(services: Services, sim: Simulator) -> None:
    """By manual runs, without a logical date in Airflow 3; a run that is cleared repeats its own result."""
    runs: list[str] = []

    def happen(connector: str, name: str, **ago: int) -> None:
        at = datetime.now(timezone.utc) - timedelta(**ago)
        sim.append(connector, [{"id": name, "log_time": at, "status": 500}])

    def run() -> list[list[str] | None]:
        date = datetime.now(timezone.utc) - timedelta(minutes=10 - len(runs))
        runs.append(services.trigger("alerts", logical_date=date if AIRFLOW_2 else None))
        return ended(runs[-1])

    def ended(run_id: str) -> list[list[str] | None]:
        assert services.end("alerts", run_id) == "success", services.log("alerts", run_id)
        found = [services.xcom("alerts", run_id, "errors", map_index=index) for index in (0, 1)]
        return [result and sorted(entry["id"] for entry in result["entries"]) for result in found]

    happen("FIRST", "first", hours=5)
    happen("SECOND", "second", minutes=5)
    happen("SECOND", "too long ago", hours=25)
    assert run() == [["first"], ["second"]]
    happen("FIRST", "new", seconds=1)
    assert run() == [["new"], None]
    services.clear("alerts", runs[0], "errors")
    services.wait("the second try", lambda: services.task("alerts", runs[0], "errors", 1).try_number == 2)
    assert ended(runs[0]) == [["first"], ["second"]]
    assert run() == [None, None]
