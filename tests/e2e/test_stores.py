"""Exports to each object store by real workers, with Connections from Airflow's database."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from hashlib import sha256

import pytest

from dev.simulator import Connector, Simulator, generate_entries
from tests.conftest import CONNECTOR, HOUR, KEY, START, TEAM
from tests.e2e.services import Services
from tests.support.emulators import SECRET, Emulator
from tests.support.release import AIRFLOW_2
from tests.support.stores import STORES
from tests.support.table import entries_of

pytestmark = pytest.mark.airflow_2

DAGS = """
from datetime import datetime, timezone

from airflow import DAG

from airflow_provider_supermetrics.operators.supermetrics import SupermetricsExportLogsOperator

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
URLS = {urls}

for bucket in ("there", "missing"):
    with DAG(bucket, schedule=None, start_date=START):
        if bucket == "missing":
            URLS["nobody"] = "s3://nobody@"
        for store, url in URLS.items():
            SupermetricsExportLogsOperator(
                task_id=store,
                connector_identifier="{connector}",
                path=f"{{url}}{{bucket}}/logs",
                start="2026-01-01T00:00:00Z",
                end="2026-01-01T01:00:00Z",
                format="parquet",
                entries_per_file=300,
            )
"""


@pytest.fixture(scope="module")
def emulators() -> Iterator[dict[str, Emulator]]:
    """The stores, each with a bucket."""
    with ExitStack() as stack:
        emulators = {name: stack.enter_context(kind.run()) for name, kind in STORES.items()}
        for emulator in emulators.values():
            emulator.create("there")
        yield emulators


@pytest.fixture(scope="module")
def sim() -> Iterator[Simulator]:
    """The API."""
    entries = generate_entries(count=1500, start=START, end=START + 2 * HOUR, seed=5)
    with Simulator(
        connectors=[Connector(CONNECTOR, entries, team_id=TEAM)], tokens={KEY: {TEAM}}
    ) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def services(
    emulators: dict[str, Emulator], sim: Simulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Services]:
    """Services that know the DAGs above, and all Connections in their database."""
    dags, folder = tmp_path_factory.mktemp("dags"), tmp_path_factory.mktemp("services")
    urls = {name: f"{emulator.scheme}://{name}_conn@" for name, emulator in emulators.items()}
    (dags / "dags.py").write_text(DAGS.format(urls=urls, connector=CONNECTOR))
    connections = {f"{name}_conn": emulator.connection(emulator.url) for name, emulator in emulators.items()}
    connections["supermetrics_default"] = {
        "conn_type": "supermetrics",
        "host": sim.url,
        "password": KEY,
        "extra": {"team_id": TEAM},
    }
    (folder / "connections.json").write_text(json.dumps(connections))
    # As in tests/storage: the emulator has no gRPC.
    variables = {"GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}
    with Services(folder, dags, variables) as services:
        services.airflow("connections", "import", str(folder / "connections.json"))
        yield services


def finished(services: Services, dag_id: str) -> str:
    """A run that has ended."""
    run = services.trigger(dag_id)
    services.wait("its end", lambda: services.runs(dag_id).get(run) in ("success", "failed"))
    return run


def test_an_export_to_each_store(services: Services, emulators: dict[str, Emulator], sim: Simulator) -> None:
    """The export to each store is complete, and its manifest is correct."""
    run = finished(services, "there")
    truth = {entry["id"] for entry in sim.truth(CONNECTOR, START, START + HOUR)}
    for name, emulator in emulators.items():
        assert services.task("there", run, name).state == "success", services.log("there", run, name)
        objects = emulator.objects("there")
        [manifest] = [json.loads(data) for key, data in objects.items() if "_manifest-" in key]
        parts = {item["name"]: objects[f"logs/{item['name']}"] for item in manifest["objects"]}
        assert all(sha256(parts[item["name"]]).hexdigest() == item["sha256"] for item in manifest["objects"])
        found = [entry["id"] for data in parts.values() for entry in entries_of(data, ".parquet")]
        assert len(found) == len(truth) == manifest["entries"]
        assert set(found) == truth


@pytest.mark.skipif(AIRFLOW_2, reason="these services have no web server, which makes the links on Airflow 2")
def test_the_links_in_the_page_of_a_task(services: Services) -> None:
    """They lead to the folder and the manifest, where the store has a console; a failed task has none."""
    manifest = f"_manifest-{CONNECTOR}-20260101T000000Z-20260101T010000Z.json"
    consoles = {
        "s3": (
            "https://console.aws.amazon.com/s3/buckets/there?prefix=logs/",
            f"https://console.aws.amazon.com/s3/object/there?prefix=logs/{manifest}",
        ),
        "gcs": (
            "https://console.cloud.google.com/storage/browser/there/logs/",
            f"https://console.cloud.google.com/storage/browser/_details/there/logs/{manifest}",
        ),
        "azure": (None, None),
    }
    run = finished(services, "there")

    def shows(name: str, expected: dict[str, str | None]) -> bool:
        return services.links("there", run, name) == expected

    for name, links in consoles.items():
        expected = dict(zip(("Exported folder", "Manifest"), links, strict=True))
        # Airflow stores them after it has reported the task's success.
        services.wait(f"the links of {name}", partial(shows, name, expected))
    run = finished(services, "missing")
    assert services.links("missing", run, "s3") == {"Exported folder": None, "Manifest": None}


def test_a_bucket_that_is_missing(services: Services, emulators: dict[str, Emulator]) -> None:
    """The end of the task's log names the missing bucket, and contains no secret."""
    run = finished(services, "missing")
    for name in emulators:
        assert services.task("missing", run, name).state == "failed"
        log = services.log("missing", run, name)
        assert f"{name}_conn@missing/logs/" in log
        assert "Check that the bucket (or container) exists" in log
        assert SECRET not in log
        assert b64encode(SECRET.encode()).decode() not in log


def test_a_connection_that_is_missing(services: Services) -> None:
    """The end of the task's log names the missing Connection; the worker's own credentials are not used."""
    run = finished(services, "missing")
    assert services.task("missing", run, "nobody").state == "failed"
    log = services.log("missing", run, "nobody")
    assert (
        "Airflow has no connection 'nobody', which is the part before '@' in s3://nobody@missing/logs" in log
    )
    assert "AWS" not in log
