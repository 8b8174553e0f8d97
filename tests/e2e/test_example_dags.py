"""The example DAGs, unchanged, in a real Airflow against the simulated API."""

from __future__ import annotations

import gzip
import json
import subprocess
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from dev.demo.airflow import AIRFLOW, EXAMPLE_DAGS, connection, environment, variables
from dev.simulator import Connector, Simulator, generate_entries

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
def airflow(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., None]:
    """Run an Airflow command, with the example DAGs, a Connection, and a folder to export to."""
    home = tmp_path_factory.mktemp("airflow")

    def run(exported: Path, *arguments: str) -> None:
        settings = variables(connection(simulator.url, KEY, TEAM), exported)
        done = subprocess.run(
            [AIRFLOW, *arguments],
            env=environment(home, **settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout
        assert KEY not in done.stdout

    run(home, "db", "migrate")
    return run


def exported_entries(folder: Path, identifier: str) -> list[dict[str, Any]]:
    """The entries in a connector's files, in their order."""
    files = sorted(folder.glob(f"{identifier}-{HOUR_NAME}-*.jsonl.gz"))
    return [json.loads(line) for file in files for line in gzip.decompress(file.read_bytes()).splitlines()]


def by_id(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries in one order, whatever theirs was."""
    return sorted(entries, key=lambda entry: entry["id"])


def test_examples_parse():
    """Airflow finds both DAGs, without an import error or a warning."""
    bag = DagBag(str(EXAMPLE_DAGS))
    assert (bag.import_errors, bag.captured_warnings) == ({}, {})
    assert sorted(bag.dag_ids) == ["supermetrics_hourly_export", "supermetrics_team_export"]


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
