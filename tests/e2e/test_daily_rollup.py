"""The example of a roll-up in the services of a real Airflow: hours, an hour that is lost, and the day."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pyarrow.parquet
import pytest

from dev.demo.airflow import EXAMPLE_DAGS, connection, variables
from dev.simulator import Connector, Simulator, generate_entries
from tests.conftest import CONNECTOR, HOUR, KEY, START, TEAM
from tests.e2e.services import Services
from tests.support.release import RELEASE

if RELEASE < (3, 3):
    pytest.skip("before Airflow 3.3 there are no roll-ups", allow_module_level=True)

HOURS, DAYS = "supermetrics_hourly_partitions", "supermetrics_daily_rollup"
DAY = "2026-01-01"
LOST = 7


def key(hour: int) -> str:
    """The key of an hour's partition."""
    return f"{START + hour * HOUR:%Y-%m-%dT%H:%M:%S}"


def backfilled(services: Services) -> list[str]:
    """The states of the hours that were backfilled."""
    runs = services.runs(HOURS).items()
    return [state for run, state in runs if run.startswith("backfill__")]


def test_a_day_is_rolled_up_when_its_hours_are_there(tmp_path: Path) -> None:
    """Not while one is lost, although its key has come; not by itself when it is exported again."""
    dags, exports = tmp_path / "dags", tmp_path / "exports"
    dags.mkdir()
    (dags / "rollup.py").write_text((EXAMPLE_DAGS / "supermetrics_daily_rollup.py").read_text())
    entries = generate_entries(3000, START - HOUR, START + 25 * HOUR, seed=7)
    with (
        Simulator(
            connectors=[Connector(CONNECTOR, entries, team_id=TEAM)], tokens={KEY: {TEAM}}
        ) as simulator,
        Services(
            tmp_path / "services", dags, variables(connection(simulator.url, KEY, TEAM), exports)
        ) as services,
    ):
        services.unpause(DAYS)
        services.unpause(HOURS)
        services.backfill(HOURS, "--from-date", key(0), "--to-date", key(22))
        services.wait("the first hours", lambda: backfilled(services) == ["success"] * 23, seconds=600)
        assert services.runs(DAYS) == {}
        [manifest] = exports.glob(f"hours/_manifest-{CONNECTOR}-20260101T{LOST:02d}0000Z-*.json")
        manifest.unlink()
        services.trigger(HOURS, partition_key=key(23))
        [day] = services.wait("the day's run", lambda: list(services.runs(DAYS)))
        assert services.end(DAYS, day) == "failed"
        assert services.task(DAYS, day, "check_hours").try_number == 1
        assert not (exports / "days").exists()
        log = services.log(DAYS, day, "check_hours")
        assert f"{CONNECTOR} has no export of [{key(LOST)}Z, {key(LOST + 1)}Z)" in log
        result = services.xcom(DAYS, day, "check_hours")
        assert (result["complete"], result["windows"]) == (False, 23)

        services.airflow("dags", "clear", HOURS, "--partition-key", key(LOST), "--yes")
        services.wait("the lost hour", manifest.exists)
        services.wait("its run", lambda: set(services.runs(HOURS).values()) == {"success"})
        services.airflow("dags", "clear", DAYS, "--partition-key", DAY, "--yes")
        services.wait("the cleared day", lambda: services.runs(DAYS) == {day: "success"})
        assert services.task(DAYS, day, "check_hours").try_number == 2
        truth = simulator.truth(CONNECTOR, START, START + 24 * HOUR)

    name = f"{CONNECTOR}-{DAY}.parquet"
    assert sorted(path.name for path in (exports / "days").iterdir()) == [name, f"_manifest-{name}.json"]
    rolled_up = json.loads((exports / "days" / f"_manifest-{name}.json").read_text())
    data = (exports / "days" / name).read_bytes()
    assert rolled_up == {
        "connector_identifier": CONNECTOR,
        "day": DAY,
        "objects": [
            {
                "name": name,
                "entries": len(truth),
                "bytes": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
            }
        ],
        "complete": True,
    }
    table = pyarrow.parquet.read_table(exports / "days" / name)
    times = table["log_time"].to_pylist()
    assert times == sorted(times)
    assert sorted(table["id"].to_pylist()) == sorted(entry["id"] for entry in truth)
