"""What the package does in the services of a release of Airflow that was installed with its constraints."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dev.demo.airflow import AIRFLOW, ROOT, connection, environment
from dev.simulator import Connector, Simulator, generate_entries
from tests.conftest import CONNECTOR, HOUR, KEY, START, TEAM
from tests.e2e.services import Services
from tests.support.export import Exported
from tests.support.release import AIRFLOW_2, RELEASE
from tests.support.table import entries_of

pytestmark = pytest.mark.install

UV = ROOT / ".venv/uv/bin/uv"
OTHER = "K2M41"
LATER = "LATER"
# The state of a waiting sensor. In this order, because Airflow 2 runs one task at a time here.
MODES = {"deferrable": "deferred", "reschedule": "up_for_reschedule", "poke": "running"}
DAGS = f'''
from datetime import timedelta

import pendulum
from airflow import DAG

from airflow_provider_supermetrics.operators.supermetrics import (
    SupermetricsExportLogsOperator,
    SupermetricsListConnectorsOperator,
)
from airflow_provider_supermetrics.sensors.supermetrics import SupermetricsErrorLogSensor
from airflow_provider_supermetrics.triggers.supermetrics import SupermetricsErrorLogEventTrigger

try:
    from airflow.sdk import Asset, AssetWatcher, task
except ImportError:
    from airflow.datasets import Dataset as Asset

    AssetWatcher = None

START = pendulum.datetime({START:%Y, %-m, %-d}, tz="UTC")
WINDOW = {{"start": START, "end": START + timedelta(hours=1)}}

with DAG("exports", schedule=None, start_date=START):
    for format in ("jsonl", "csv", "parquet"):
        SupermetricsExportLogsOperator(
            task_id=format,
            connector_identifier="{CONNECTOR}",
            path="{{{{ var.value.exports }}}}/" + format,
            format=format,
            outlets=[Asset("exported_as_" + format)],
            **WINDOW,
        )

# Airflow 3.0 may fail an attempt before it begins, where two mapped tasks start at the same time.
RETRY = {{"retries": 1, "retry_delay": timedelta(seconds=1)}}

with DAG("team", schedule=None, start_date=START, default_args=RETRY):
    connectors = SupermetricsListConnectorsOperator(task_id="list_connectors")
    SupermetricsExportLogsOperator.partial(
        task_id="export", path="{{{{ var.value.exports }}}}/team", deferrable=True, **WINDOW
    ).expand(connector_identifier=connectors.output)

for mode in {tuple(MODES)}:
    with DAG(mode, schedule=None, start_date=START):
        SupermetricsErrorLogSensor(
            task_id="wait",
            connector_identifier="{LATER}",
            since=START,
            poke_interval=15,
            timeout=300,
            **{{"deferrable": True}} if mode == "deferrable" else {{"mode": mode}},
        )

if AssetWatcher is not None:
    trigger = SupermetricsErrorLogEventTrigger(connector_identifier="{LATER}", poll_interval=3)
    watched = Asset("errors", watchers=[AssetWatcher(name="errors", trigger=trigger)])
    with DAG("event", schedule=[watched], start_date=START):

        @task
        def alert(triggering_asset_events=None):
            events = triggering_asset_events[watched]
            return [entry["id"] for event in events for entry in event.extra["payload"]["entries"]]

        alert()
'''


@pytest.fixture(scope="module")
def sim() -> Iterator[Simulator]:
    """Two connectors with a log, and one that logs an error later."""
    connectors = [
        Connector(name, generate_entries(2500, START, START + 2 * HOUR, seed=seed), team_id=TEAM)
        for seed, name in enumerate((CONNECTOR, OTHER))
    ]
    connectors.append(Connector(LATER, [], team_id=TEAM))
    with Simulator(connectors=connectors, tokens={KEY: {TEAM}}) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the exports."""
    return tmp_path_factory.mktemp("exports")


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory, sim: Simulator, exports: Path) -> Iterator[Services]:
    """Services with the DAGs above, whose Connection is in the database: the triggerer must request it."""
    folder = tmp_path_factory.mktemp("services")
    dags = folder / "dags"
    dags.mkdir()
    (dags / "dags.py").write_text(DAGS)
    variables = {"AIRFLOW_VAR_EXPORTS": f"file://{exports}", "AIRFLOW__CORE__TEST_CONNECTION": "Enabled"}
    with Services(folder / "airflow", dags, variables) as services:
        definition = json.dumps(connection(sim.url, KEY, TEAM))
        services.airflow("connections", "add", "supermetrics_default", "--conn-json", definition)
        yield services


def succeed(services: Services, dag_id: str, *runs: str) -> None:
    """Wait until all runs of a DAG have ended, which must be with success, and without the credential."""
    states = services.runs
    services.wait(f"the runs of {dag_id}", lambda: {*states(dag_id).values()} <= {"success", "failed"})
    log = "".join(services.log(dag_id, run) for run in runs)
    assert {*states(dag_id).values()} == {"success"}, log
    assert log
    assert KEY not in log


def log_error(sim: Simulator, identifier: str) -> None:
    """Let the connector log an error now."""
    sim.append(LATER, [{"id": identifier, "log_time": datetime.now(timezone.utc), "status": 500}])


def by_id(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the entries sorted by id."""
    return sorted(entries, key=lambda entry: entry["id"])


def test_an_export_in_each_format(services: Services, sim: Simulator, exports: Path) -> None:
    """Each has all entries, at the first attempt."""
    run = services.trigger("exports")
    succeed(services, "exports", run)
    truth = sim.truth(CONNECTOR, START, START + HOUR)
    for task in ("csv", "jsonl", "parquet"):
        [manifest] = Exported(exports / task).manifests
        names = [Path(item["name"]) for item in manifest["objects"]]
        objects = [entries_of((exports / task / name).read_bytes(), "".join(name.suffixes)) for name in names]
        assert by_id([entry for entries in objects for entry in entries]) == by_id(truth)
        assert (manifest["complete"], manifest["entries"]) == (True, len(truth))
        assert services.task("exports", run, task).try_number == 1


def test_a_mapped_export_of_a_team(services: Services, sim: Simulator, exports: Path) -> None:
    """One export for each connector that the first task has listed."""
    run = services.trigger("team")
    succeed(services, "team", run)
    exported, names = Exported(exports / "team"), (CONNECTOR, OTHER, LATER)
    exported.require_complete([entry for name in names for entry in sim.truth(name, START, START + HOUR)])
    assert {manifest["connector_identifier"] for manifest in exported.manifests} == {*names}


def test_a_sensor_in_each_mode(services: Services, sim: Simulator) -> None:
    """Each waits, and finds the error that is logged meanwhile."""
    runs = {}
    for mode, waiting in MODES.items():
        runs[mode] = run = services.trigger(mode)
        state = partial(services.task, mode, run, "wait")
        services.wait(mode, lambda state=state, waiting=waiting: state().state == waiting)
    polled = len(sim.requests)
    services.wait("a poll", lambda: len(sim.requests) >= polled + 2)
    log_error(sim, "error")
    for mode, run in runs.items():
        succeed(services, mode, run)
        found = services.xcom(mode, run, "wait")
        assert [entry["id"] for entry in found["entries"]] == ["error"]
        assert services.task(mode, run, "wait").try_number == 1
    assert KEY not in services.service_log("triggerer")


@pytest.mark.skipif(AIRFLOW_2, reason="Airflow 2 starts no runs by events")
def test_an_asset_watcher(services: Services, sim: Simulator) -> None:
    """Errors start runs of the DAG that is scheduled by the asset, and each is reported to one of them."""

    def reported() -> list[str]:
        succeed(services, "event", *services.runs("event"))
        return [entry for run in services.runs("event") for entry in services.xcom("event", run, "alert")]

    services.unpause("event")
    # The trigger begins within its lookback, in which the sensors' error is.
    services.wait("the first event's run", lambda: services.runs("event"))
    assert reported() == ["error"]
    log_error(sim, "another")
    services.wait("the second event's run", lambda: len(services.runs("event")) == 2)
    assert reported() == ["error", "another"]
    assert KEY not in services.service_log("triggerer")


def test_a_connection_is_tested(sim: Simulator, tmp_path: Path) -> None:
    """`airflow connections test`."""
    variables = {
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW_CONN_SUPERMETRICS_DEFAULT": json.dumps(connection(sim.url, KEY, TEAM)),
    }
    done = subprocess.run(
        [AIRFLOW, "connections", "test", "supermetrics_default"],
        env=environment(tmp_path, **variables),
        capture_output=True,
        text=True,
    )
    assert "Connection success!" in done.stdout, done.stdout + done.stderr
    assert KEY not in done.stdout + done.stderr


def test_the_connection_form(services: Services) -> None:
    """The browser gets our labels and fields, in each release that can show them."""
    if AIRFLOW_2:
        from airflow.providers_manager import ProvidersManager

        fields = {
            name.removeprefix("extra__supermetrics__")
            for name in ProvidersManager().connection_form_widgets
            if "supermetrics" in name
        }
        assert fields == {"team_id", "timeout"}
        behaviour = ProvidersManager().field_behaviours["supermetrics"]
        assert behaviour["relabeling"]["password"] == "API key or access token"
        return
    form = services.connection_form("supermetrics")
    assert form["hook_name"] == "Supermetrics"
    fields = {*(form["extra_fields"] or {})}
    if RELEASE < (3, 2) and not fields:
        pytest.skip("Airflow 3.0 and 3.1 build fields and labels with the form libraries of the FAB provider")
    assert fields == {"team_id", "timeout"}
    assert form["standard_fields"]["password"]["title"] == "API key or access token"


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
    assert (done.returncode == 0) == (RELEASE >= (3, 2)), done.stderr
    if done.returncode == 0:
        assert (exported / "object").read_text() == "written"
    else:
        assert "this Airflow needs an older universal-pathlib: pip install" in done.stderr
