"""A month after an outage: the backfill that docs/export.md gives, in the services of a real Airflow."""

from __future__ import annotations

import json
import math
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from dev.simulator import Connector, RateLimitWindow, Simulator, generate_entries
from tests.conftest import CONNECTOR, KEY, START, TEAM
from tests.e2e.services import Services
from tests.support.export import Exported
from tests.support.release import AIRFLOW_2

pytestmark = pytest.mark.skipif(AIRFLOW_2, reason="Airflow 2 backfills in another way")

DAYS = 30
DAG = f'''
from datetime import datetime, timedelta, timezone

from airflow import DAG

from airflow_provider_supermetrics.operators.supermetrics import SupermetricsExportLogsOperator

with DAG("daily", schedule="@daily", start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), catchup=False):
    SupermetricsExportLogsOperator(
        task_id="export",
        connector_identifier="{CONNECTOR}",
        path="{{{{ var.value.exports }}}}",
        window=timedelta(days=1),
        pool="supermetrics_api",
        deferrable=True,
        retries=3,
        retry_delay=timedelta(seconds=5),
    )
'''


def test_a_month_is_filled_in(tmp_path: Path, repository: Path) -> None:
    """Each entry once over all files, few requests more than pages; the second time nothing changes."""
    assert "airflow backfill create" in (repository / "docs" / "export.md").read_text("utf-8")
    day = timedelta(days=1)
    entries = generate_entries(
        count=2600 * (DAYS + 2), start=START - day, end=START + (DAYS + 1) * day, seed=7
    )
    exported = Exported(tmp_path / "export")
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "daily.py").write_text(DAG)
    with Simulator(
        connectors=[Connector(CONNECTOR, entries, team_id=TEAM)],
        tokens={KEY: {TEAM}},
        rate_limit=RateLimitWindow(requests=30, seconds=20),
    ) as sim:
        connection = {
            "conn_type": "supermetrics",
            "host": sim.url,
            "password": KEY,
            "extra": {"team_id": TEAM, "max_inline_wait": 1},
        }
        variables = {
            "AIRFLOW_CONN_SUPERMETRICS_DEFAULT": json.dumps(connection),
            "AIRFLOW_VAR_EXPORTS": f"file://{exported.folder}",
        }
        with Services(tmp_path / "services", dags, variables) as services:
            services.set_pool("supermetrics_api", 2, include_deferred=True)
            services.trigger("daily", "first", logical_date=START)
            services.wait("the DAG", lambda: services.runs("daily").get("first") == "success")
            sim.reset()
            backfill(services, sim)
            truth = sim.truth(CONNECTOR, START, START + DAYS * day)
            requests, refused = len(sim.requests), [r for r in sim.requests if r.status == 429]
            before = bytes_and_places(exported)
            backfill(services, sim)
            after = bytes_and_places(exported)
    month = ("2026-01-01T00:00:00Z", "2026-01-31T00:00:00Z")
    inside = [manifest for manifest in exported.manifests if month[0] <= manifest["start"] < month[1]]
    needed = sum(math.ceil(manifest["entries"] / 1000) for manifest in inside)
    assert len(inside) == DAYS
    parts = [item["name"] for manifest in inside for item in manifest["objects"]]
    counts = Counter(entry["id"] for part in parts for entry in exported.entries(part))
    assert counts == Counter(entry["id"] for entry in truth)
    assert set(counts.values()) == {1}
    assert len(truth) > 2000 * DAYS
    assert refused, "the limit was never met, so this shows little"
    assert requests <= 1.1 * needed
    assert after == before


def backfill(services: Services, simulator: Simulator) -> None:
    """Backfill the month, and wait until all of its runs have succeeded."""
    earlier = len(simulator.requests)
    services.backfill(
        "daily",
        "--from-date",
        "2026-01-02",
        "--to-date",
        "2026-01-31",
        "--max-active-runs",
        "4",
        "--reprocess-behavior",
        "completed",
    )

    def is_done() -> bool:
        states = list(services.runs("daily").values())
        assert "failed" not in states
        return (
            len(simulator.requests) >= earlier + DAYS
            and not services.is_filling()
            and set(states) == {"success"}
        )

    services.wait("the end of the backfill", is_done, seconds=600)


def bytes_and_places(exported: Exported) -> dict[str, tuple[int, bytes]]:
    """Return the bytes and the inode of each file; writing a file again changes its inode."""
    return {name: ((exported.folder / name).stat().st_ino, data) for name, data in exported.bytes().items()}
