"""Runs of a partition (Airflow 3.2 and later): the window is the partition's, however the run came to be."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_supermetrics.exceptions import SupermetricsValidationError
from dev.simulator import Simulator
from tests.conftest import HOUR, START
from tests.support.compat import DAG
from tests.support.export import a_dag, context, utc

try:
    from airflow.sdk import CronPartitionTimetable
except ImportError:
    pytest.skip("before Airflow 3.2 there are no partitions", allow_module_level=True)

Export = Callable[..., dict[str, Any]]
WindowOf = Callable[..., tuple[datetime, datetime]]
DAY = timedelta(days=1)
HELSINKI = "Europe/Helsinki"


def partitioned(dag: DAG, key: str | None, date: datetime | None, **run: Any) -> dict[str, Any]:
    """The context of a run of a partition, as Airflow 3.3 has it."""
    run = {"run_after": START, "run_type": "manual", "partition_key": key, "partition_date": date} | run
    parts = dict.fromkeys(("data_interval_start", "data_interval_end", "logical_date"))
    return context(**parts, dag=dag, dag_run=SimpleNamespace(**run)) | {
        "partition_key": key,
        "partition_date": date,
    }


@pytest.fixture
def hours() -> DAG:
    """A DAG of hourly partitions."""
    return a_dag(CronPartitionTimetable("0 * * * *", timezone="UTC", run_offset=-1))


KEY = "2025-11-24T07:00:00"


@pytest.mark.parametrize(
    ("run_type", "run_after", "parts"),
    [
        ("scheduled", "2025-11-24T08:00:00", {}),
        ("backfill", "2025-11-24T07:00:00", {}),
        ("manual", "2025-12-01T12:34:56.789", {}),
        ("asset_materialization", "2025-12-01T12:34:56.789", {}),
        ("manual", "2025-12-01T12:34:56", {"logical_date": utc("2025-11-30")}),
        (
            "manual",
            "2025-12-01T12:34:56",
            {"data_interval_start": utc("2025-11-29"), "data_interval_end": utc("2025-11-30")},
        ),
    ],
)
def test_every_run_of_a_partition_exports_the_partitions_hour(
    hours: DAG, window_of: WindowOf, run_type: str, run_after: str, parts: dict[str, Any]
) -> None:
    """Whenever it runs, and whatever else it has."""
    run = partitioned(hours, KEY, utc(KEY), run_type=run_type, run_after=utc(run_after)) | parts
    assert window_of(run, window=HOUR) == (utc(KEY), utc(KEY) + HOUR)


def test_a_partition_of_a_day_has_the_hours_of_that_day(window_of: WindowOf) -> None:
    """25 of them where the clocks go back, by the zone of the timetable."""
    dag = a_dag(CronPartitionTimetable("0 0 * * *", timezone=HELSINKI, run_offset=-1))
    for day, hours_ in (("2025-10-25T21:00:00", 25), ("2025-03-29T22:00:00", 23)):
        run = partitioned(dag, "2025-10-26T00:00:00", utc(day))
        assert window_of(run, window=DAY) == (utc(day), utc(day) + hours_ * HOUR)


def test_partitions_of_days_without_midnight_cover_every_instant_once(window_of: WindowOf) -> None:
    """Days without midnight, as in Cairo, and a missing day, as in Apia, leave no gap between windows."""
    for zone, first, lengths in (
        ("Africa/Cairo", "2025-04-23T22:00:00", [24, 23, 24]),
        ("Pacific/Apia", "2011-12-29T10:00:00", [24, 24, 24]),
    ):
        dag, start = (
            a_dag(CronPartitionTimetable("0 0 * * *", timezone=zone, run_offset=-1), zone),
            utc(first),
        )
        for length in lengths:
            run = partitioned(dag, "a day", start)
            assert window_of(run, window=DAY) == (start, start + length * HOUR)
            start += length * HOUR


def test_time_arguments_take_precedence_over_the_partition(hours: DAG, window_of: WindowOf) -> None:
    """Time arguments take precedence over the partition."""
    run = partitioned(hours, KEY, utc(KEY))
    end = utc("2025-11-20")
    assert window_of(run, end=end, window=HOUR) == (end - HOUR, end)
    assert window_of(run, start=end, end=end + DAY) == (end, end + DAY)


def test_a_partition_needs_a_window(hours: DAG, quiet: Simulator, export: Export) -> None:
    """The message says what a partition lacks, and what fits the schedule."""
    with pytest.raises(SupermetricsValidationError, match=f"partition .*{KEY}") as refused:
        export(partitioned(hours, KEY, utc(KEY)))
    assert "window=timedelta(hours=1)" in str(refused.value)
    assert quiet.requests == []


def test_a_partition_that_is_not_over_says_how_to_schedule_it(
    hours: DAG, quiet: Simulator, export: Export
) -> None:
    """With the default offset, a run begins with its partition."""
    now = datetime.now(timezone.utc)
    with pytest.raises(SupermetricsValidationError, match=r"is not over.*run_offset=-1"):
        export(partitioned(hours, "now", now), window=HOUR)
    assert quiet.requests == []


def test_a_partition_without_a_date_is_not_guessed(hours: DAG, quiet: Simulator, export: Export) -> None:
    """A partition whose key is not a time, or has lost its date, is refused."""
    for key in ("eu-west", KEY):
        with pytest.raises(SupermetricsValidationError, match=f"partition '{key}'.*start and end"):
            export(partitioned(a_dag(None), key, None), window=HOUR)
    assert quiet.requests == []


@pytest.mark.parametrize("run_type", ["scheduled", "backfill"])
def test_a_run_that_has_lost_its_partition_is_refused(
    hours: DAG, quiet: Simulator, export: Export, run_type: str
) -> None:
    """`airflow partitions clear` removes it, and nothing else says what the run was for."""
    with pytest.raises(SupermetricsValidationError, match=r"partition.*airflow dags clear"):
        export(partitioned(hours, None, None, run_type=run_type), window=HOUR)
    assert quiet.requests == []


def test_a_manual_run_without_a_partition_exports_the_last_complete_window(
    hours: DAG, window_of: WindowOf
) -> None:
    """A manual run without a partition exports the last complete window, as in any other DAG."""
    run = partitioned(hours, None, None, run_after=utc("2025-10-29T15:47:12.345678"))
    assert window_of(run, window=HOUR) == (utc("2025-10-29T14:00:00"), utc("2025-10-29T15:00:00"))


def airflow_3_2(dag: DAG, key: str) -> dict[str, Any]:
    """Return the same run as on Airflow 3.2, where a task has only the key of a partition."""
    run = partitioned(dag, None, None)
    del run["partition_key"], run["partition_date"], run["dag_run"].partition_date
    run["dag_run"].partition_key = key
    return run


def test_airflow_3_2_has_the_partition_in_the_key_alone(hours: DAG, window_of: WindowOf) -> None:
    """On Airflow 3.2, a key in UTC is parsed as the partition's time."""
    assert window_of(airflow_3_2(hours, KEY), window=HOUR) == (utc(KEY), utc(KEY) + HOUR)


@pytest.mark.parametrize(
    ("zone", "arguments", "key"),
    [
        (HELSINKI, {}, KEY),  # Airflow 3.2 writes UTC there, and later versions Helsinki's time
        ("UTC", {"key_format": "%Y-%d-%mT%H:%M:%S"}, "2025-02-11T07:00:00"),
        ("UTC", {"key_format": "%Y-%m-%d"}, "2025-11-24"),
        ("UTC", {}, "eu-west"),
        ("UTC", {}, "2025-11-24"),
        (None, {}, KEY),
    ],
)
def test_a_key_of_airflow_3_2_that_may_mean_something_else_is_refused(
    quiet: Simulator, export: Export, zone: str | None, arguments: dict[str, Any], key: str
) -> None:
    """An ambiguous key of Airflow 3.2 is refused."""
    dag = a_dag(zone and CronPartitionTimetable("0 * * * *", timezone=zone, run_offset=-1, **arguments))
    with pytest.raises(SupermetricsValidationError, match=f"partition '{key}'.*start and end"):
        export(airflow_3_2(dag, key), window=HOUR)
    assert quiet.requests == []
