"""Export, sensor and triggers in the services of an Airflow whose constraints were used to install."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from dev.demo.airflow import ROOT, connection, environment
from dev.simulator import Connector, Simulator, generate_entries
from tests.conftest import CONNECTOR, HOUR, KEY, START, TEAM
from tests.e2e.services import AIRFLOW_2, Services
from tests.support.export import Exported

pytestmark = pytest.mark.install

UV = ROOT / ".venv/uv/bin/uv"
LATER = "LATER"
DAGS = f'''
from datetime import timedelta

import pendulum
from airflow import DAG

from airflow_provider_supermetrics.operators.supermetrics import SupermetricsExportLogsOperator
from airflow_provider_supermetrics.sensors.supermetrics import SupermetricsErrorLogSensor
from airflow_provider_supermetrics.triggers.supermetrics import SupermetricsErrorLogEventTrigger

try:
    from airflow.sdk import Asset, AssetWatcher
except ImportError:
    from airflow.datasets import Dataset as Asset

    AssetWatcher = None

START = pendulum.datetime({START:%Y, %-m, %-d}, tz="UTC")
EXPORT = {{"connector_identifier": "{CONNECTOR}", "start": START, "end": START + timedelta(hours=1)}}

with DAG("smoke", schedule=None, start_date=START):
    for format in ("jsonl", "parquet"):
        SupermetricsExportLogsOperator(
            task_id=format,
            path="{{{{ var.value.exports }}}}/" + format,
            format=format,
            outlets=[Asset("exported_as_" + format)],
            **EXPORT,
        )
    SupermetricsErrorLogSensor(task_id="poke", connector_identifier="{CONNECTOR}", since=START)
    SupermetricsErrorLogSensor(
        task_id="deferrable", connector_identifier="{LATER}", since=START, deferrable=True, poke_interval=15
    )

if AssetWatcher is not None:
    trigger = SupermetricsErrorLogEventTrigger(connector_identifier="{LATER}", poll_interval=3)
    watched = Asset("errors", watchers=[AssetWatcher(name="errors", trigger=trigger)])
    with DAG("event", schedule=[watched], start_date=START):
        SupermetricsErrorLogSensor(task_id="poke", connector_identifier="{LATER}", since=START)
'''


@pytest.fixture
def sim() -> Iterator[Simulator]:
    """A connector with a log, and one that logs an error later."""
    entries = generate_entries(count=2500, start=START, end=START + 2 * HOUR, seed=1)
    connectors = [Connector(CONNECTOR, entries, team_id=TEAM), Connector(LATER, [], team_id=TEAM)]
    with Simulator(connectors=connectors, tokens={KEY: {TEAM}}) as simulator:
        yield simulator


@pytest.fixture
def exports(tmp_path: Path) -> Path:
    """The folder of the exports."""
    return tmp_path / "exports"


@pytest.fixture
def services(tmp_path: Path, sim: Simulator, exports: Path) -> Iterator[Services]:
    """Services with the DAGs above, whose Connection is in the database: the triggerer must request it."""
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "dags.py").write_text(DAGS)
    with Services(tmp_path / "services", dags, {"AIRFLOW_VAR_EXPORTS": f"file://{exports}"}) as services:
        definition = json.dumps(connection(sim.url, KEY, TEAM))
        services.airflow("connections", "add", "supermetrics_default", "--conn-json", definition)
        yield services


def test_a_universal_pathlib_that_airflow_cannot_use(tmp_path: Path) -> None:
    """Without Airflow's constraints, pip installs it on 2.11.0 and 3.0: the message says what to do."""
    packages, exported = tmp_path / "packages", tmp_path / "exported"
    install = [UV, "pip", "install", "--quiet", "--no-config", "--no-deps", "--target", packages]
    subprocess.run(
        [*install, "--python", sys.executable, "universal-pathlib==0.3.10", "pathlib-abc"], check=True
    )
    code = (
        "from airflow_provider_supermetrics._export.storage import Destination\n"
        f"Destination.at('file://{exported}').write(b'written', 'object')"
    )
    variables = environment(tmp_path) | {"PYTHONPATH": str(packages)}
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True)
    if done.returncode == 0:
        assert (exported / "object").read_text() == "written"
    else:
        assert version("apache-airflow") < "3.2"
        assert "this Airflow needs an older universal-pathlib: pip install" in done.stderr


def by_id(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the entries sorted by id."""
    return sorted(entries, key=lambda entry: entry["id"])


def test_an_export_a_sensor_and_triggers(services: Services, sim: Simulator, exports: Path) -> None:
    """Each task succeeds at its first attempt, and no log contains the credential."""
    run = services.trigger("smoke")
    if not AIRFLOW_2:
        services.unpause("event")
    tasks = ("jsonl", "parquet", "poke", "deferrable")

    def deferred() -> bool:
        states = {task: services.task("smoke", run, task).state for task in tasks}
        assert "failed" not in states.values(), "".join(services.log("smoke", run, task) for task in tasks)
        return states == {**dict.fromkeys(tasks, "success"), "deferrable": "deferred"}

    services.wait("the sensor to be deferred and the other tasks to succeed", deferred)
    truth = sim.truth(CONNECTOR, START, START + HOUR)
    assert by_id(Exported(exports / "jsonl").entries()) == by_id(truth)
    [manifest] = Exported(exports / "parquet").manifests
    assert (manifest["complete"], manifest["entries"]) == (True, len(truth))
    assert services.xcom("smoke", run, "poke")["matches"] == sum(
        (entry["status"] or 0) >= 400 for entry in sim.truth(CONNECTOR)
    )

    polled = len(sim.requests)
    services.wait("a trigger to poll", lambda: len(sim.requests) >= polled + 2)
    now = datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
    sim.append(LATER, [{"id": "error", "log_time": now, "status": 500}])
    ended = ("success", "failed")
    services.wait("the deferred sensor's end", lambda: services.runs("smoke")[run] in ended)
    assert services.runs("smoke") == {run: "success"}, services.log("smoke", run, "deferrable")
    found = services.xcom("smoke", run, "deferrable")
    assert [entry["id"] for entry in found["entries"]] == ["error"]
    if not AIRFLOW_2:
        services.wait("an event to start a run", lambda: [*services.runs("event").values()] == ["success"])
    for task in tasks:
        assert services.task("smoke", run, task).try_number == 1
        assert KEY not in services.log("smoke", run, task)
    assert KEY not in services.service_log("triggerer")
