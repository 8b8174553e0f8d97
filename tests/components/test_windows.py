"""The windows of scheduled runs, runs of partitions and manual runs."""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pendulum
import pytest
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable
from airflow.timetables.trigger import CronTriggerTimetable
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:  # Airflow before 3.2
    from airflow.models.dagbag import DagBag

from airflow_provider_supermetrics.exceptions import SupermetricsValidationError
from airflow_provider_supermetrics.operators.supermetrics import SupermetricsExportLogsOperator
from airflow_provider_supermetrics.sensors.supermetrics import SupermetricsErrorLogSensor
from dev.simulator import Simulator, generate_entries
from tests.conftest import CONNECTOR, HOUR, START
from tests.support.compat import DAG
from tests.support.export import Exported, a_dag, context, manual_run, span, utc

pytestmark = pytest.mark.airflow_2

Simulate = Callable[..., Simulator]
Export = Callable[..., dict[str, Any]]
Logged = Callable[[], list[str]]
WindowOf = Callable[..., tuple[datetime, datetime]]
DAY = timedelta(days=1)
HELSINKI = "Europe/Helsinki"


def runs(timetable: Any, since: datetime, count: int) -> list[DagRunInfo]:
    """Yield the runs that a timetable schedules from a time on."""
    found: list[DagRunInfo] = []
    last: DataInterval | None = None
    for _ in range(count):
        info = timetable.next_dagrun_info(
            last_automated_data_interval=last,
            restriction=TimeRestriction(pendulum.instance(since), None, catchup=True),
        )
        found.append(info)
        last = info.data_interval
    return found


def scheduled(dag: DAG, info: DagRunInfo) -> dict[str, Any]:
    """The context of a scheduled run."""
    return context(
        dag=dag,
        dag_run=SimpleNamespace(run_after=info.run_after, run_type="scheduled"),
        data_interval_start=info.data_interval.start,
        data_interval_end=info.data_interval.end,
        logical_date=info.logical_date,
    )


# The calendar


@pytest.mark.parametrize("window", [DAY, timedelta(hours=24), pendulum.duration(days=1)])
def test_no_entry_of_a_local_day_is_lost_where_the_clocks_change(
    simulate: Simulate, export: Export, window: timedelta
) -> None:
    """With `@daily` in Helsinki, each entry around both clock changes is in exactly one window."""
    dag = a_dag("@daily", HELSINKI)
    timetable = CronTriggerTimetable("@daily", timezone=HELSINKI)
    for since in (utc("2025-10-24T21:00:00"), utc("2025-03-28T22:00:00")):
        infos = runs(timetable, since, 4)
        sim = simulate(generate_entries(count=4000, start=since - 2 * DAY, end=since + 5 * DAY, seed=3))
        windows = [span(result := export(scheduled(dag, info), window=window)) for info in infos[1:]]
        assert [end for _, end in windows] == [info.run_after for info in infos[1:]]
        assert [start for start, _ in windows] == [info.run_after for info in infos[:-1]]
        assert {(end - start) // HOUR for start, end in windows} in ({24, 25}, {24, 23})
        assert result["entries"] == len(sim.truth(CONNECTOR, *windows[-1])) > 0


@pytest.mark.parametrize(
    ("window", "due", "start"),
    [
        (pendulum.duration(months=1), "2025-02-01", "2025-01-01"),
        (pendulum.duration(months=1), "2025-03-01", "2025-02-01"),
        (pendulum.duration(months=3), "2025-04-01", "2025-01-01"),
        (pendulum.duration(years=1), "2025-01-01", "2024-01-01"),
        (pendulum.duration(weeks=1), "2025-01-06", "2024-12-30"),
        (pendulum.duration(months=1, days=1), "2025-02-01", "2024-12-31"),
        (timedelta(days=1, hours=6), "2025-01-02", "2024-12-31T18:00:00"),
        (pendulum.duration(days=1, hours=6), "2025-01-02", "2024-12-31T18:00:00"),
    ],
)
def test_months_and_years_are_those_of_the_calendar(
    window_of: WindowOf, window: timedelta, due: str, start: str
) -> None:
    """The run of February 1 exports the whole of January."""
    run = context(dag=a_dag("@monthly"), data_interval_start=utc(due), data_interval_end=utc(due))
    assert window_of(run, window=window) == (utc(start), utc(due))


def test_the_timetable_has_a_zone_of_its_own(window_of: WindowOf) -> None:
    """The timetable's zone is used, even if the start date has another one."""
    timetable = CronTriggerTimetable("0 0 * * *", timezone=HELSINKI)
    first, second = runs(timetable, utc("2025-10-25T21:00:00"), 2)
    window = window_of(scheduled(a_dag(timetable), second), window=DAY)
    assert window == (first.run_after, second.run_after)
    assert window[1] - window[0] == 25 * HOUR


def test_the_zone_of_a_schedule_by_assets_or_time(window_of: WindowOf) -> None:
    """The zone of a schedule by assets or time is that of the inner timetable."""
    try:
        from airflow.sdk import Asset

        try:
            from airflow.sdk import AssetOrTimeSchedule
            from airflow.sdk import CronTriggerTimetable as Cron
        except ImportError:  # Airflow 3.0 and 3.1
            from airflow.timetables.assets import AssetOrTimeSchedule
            from airflow.timetables.trigger import CronTriggerTimetable as Cron
    except ImportError:
        from airflow.datasets import Dataset as Asset
        from airflow.timetables.datasets import DatasetOrTimeSchedule as AssetOrTimeSchedule
        from airflow.timetables.trigger import CronTriggerTimetable as Cron
    assets = {"assets" if AssetOrTimeSchedule.__name__.startswith("Asset") else "datasets": [Asset("a")]}
    dag = a_dag(AssetOrTimeSchedule(timetable=Cron("0 0 * * *", timezone=HELSINKI), **assets))
    end = utc("2025-10-26T22:00:00")
    run = context(dag=dag, data_interval_start=end, data_interval_end=end)
    assert window_of(run, window=DAY) == (end - 25 * HOUR, end)


def test_days_of_a_schedule_by_elapsed_time_are_24_hours(window_of: WindowOf) -> None:
    """Airflow adds a timedelta to the last run whatever the clocks do, so the windows have to."""
    dag = a_dag(DAY, HELSINKI)
    for end in (utc("2025-10-26T20:00:00"), utc("2025-03-30T22:00:00")):
        run = context(dag=dag, data_interval_start=end, data_interval_end=end)
        assert window_of(run, window=DAY) == (end - DAY, end)


@pytest.mark.parametrize("window", [DAY, None])
def test_a_data_interval_timetable_with_and_without_window(
    window_of: WindowOf, window: timedelta | None
) -> None:
    """A data-interval timetable has the same windows with and without `window`, across both clock changes."""
    dag = a_dag(CronDataIntervalTimetable("@daily", timezone=HELSINKI), HELSINKI)
    for since in (utc("2025-10-24T21:00:00"), utc("2025-03-28T22:00:00")):
        for info in runs(CronDataIntervalTimetable("@daily", timezone=HELSINKI), since, 3):
            interval = (info.data_interval.start, info.data_interval.end)
            assert window_of(scheduled(dag, info), window=window) == interval


@cache
def changes(zone: str) -> list[datetime]:
    """About when a zone's clocks change, within a day."""
    since, until = datetime(1990, 1, 1, tzinfo=timezone.utc), datetime(2025, 6, 1, tzinfo=timezone.utc)
    days = [since + number * DAY for number in range((until - since).days)]
    info = zoneinfo.ZoneInfo(zone)
    offsets = [day.astimezone(info).utcoffset() for day in days]
    return [day for day, (before, after) in zip(days[1:], pairwise(offsets)) if before != after] or days[::99]


ODD_ZONES = [
    HELSINKI,
    "America/New_York",
    "Africa/Cairo",  # its clocks change at midnight
    "America/Havana",  # midnight twice
    "America/Sao_Paulo",
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Atlantic/Azores",
    "Antarctica/Troll",  # two hours
    "Australia/Lord_Howe",  # half an hour
    "Pacific/Apia",  # without December 30, 2011
    "Pacific/Kwajalein",  # without August 21, 1993
    "UTC",
]
ZONES = st.one_of(st.sampled_from(ODD_ZONES), st.sampled_from(sorted(zoneinfo.available_timezones())))
TIMES_OF_DAY = st.one_of(
    st.sampled_from(["0 0", "30 0", "0 1", "30 1", "0 2", "30 2", "0 3", "0 12"]),
    st.builds("{} {}".format, st.integers(0, 59), st.integers(0, 23)),
)
SCHEDULES = st.one_of(
    st.tuples(st.just("{} * * *"), st.sampled_from([DAY, timedelta(hours=24), pendulum.duration(days=1)])),
    st.tuples(
        st.builds("{{}} * * {}".format, st.integers(0, 6)),
        st.sampled_from([timedelta(days=7), pendulum.duration(weeks=1)]),
    ),
    st.tuples(st.builds("{{}} {} * *".format, st.integers(1, 28)), st.just(pendulum.duration(months=1))),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    zone=ZONES.filter(lambda zone: zone not in ("localtime", "Factory")),
    schedule=SCHEDULES,
    time_of_day=TIMES_OF_DAY,
    kind=st.sampled_from([CronTriggerTimetable, CronDataIntervalTimetable]),
    number=st.integers(0, 10_000),
    before=st.integers(0, 2),
)
def test_consecutive_runs_cover_every_instant_once(
    window_of: WindowOf,
    zone: str,
    schedule: tuple[str, timedelta],
    time_of_day: str,
    kind: type,
    number: int,
    before: int,
) -> None:
    """Daily, weekly and monthly, in any zone, around its changes: each window begins where the last ended."""
    expression, window = schedule
    change = changes(zone)[number % len(changes(zone))]
    timetable = kind(expression.format(time_of_day), timezone=zone)
    length = timedelta(days=31) if window.days >= 28 else window
    infos = runs(timetable, change - (before + 1) * length, before + 3)
    dag = a_dag(timetable, zone)
    windows = [window_of(scheduled(dag, info), window=window) for info in infos]
    event(f"an offset changes: {len({end - start for start, end in windows}) > 1}")
    assert [end for _, end in windows] == [info.data_interval.end for info in infos]
    for (_, end), (start, _) in pairwise(windows):
        assert start == end


@pytest.mark.parametrize(
    ("hours", "zone", "due", "warns"),
    [
        (6, HELSINKI, "2025-10-26T04:00:00", True),
        (6, HELSINKI, "2025-03-30T03:00:00", True),
        (6, HELSINKI, "2025-10-26T22:00:00", False),
        (1, HELSINKI, "2025-10-26T01:00:00", False),
        (6, "UTC", "2025-10-26T06:00:00", False),
    ],
)
def test_hours_are_elapsed_time_and_the_log_warns_where_the_clocks_change(
    window_of: WindowOf,
    logged: Logged,
    hours: int,
    zone: str,
    due: str,
    warns: bool,
) -> None:
    """A window of six hours is then not the time from 0:00 to 6:00."""
    end = utc(due)
    run = context(dag=a_dag(f"0 */{hours} * * *", zone), data_interval_start=end, data_interval_end=end)
    assert window_of(run, window=hours * HOUR) == (end - hours * HOUR, end)
    assert (f"clocks of {zone} change" in "\n".join(logged())) == warns


@pytest.mark.parametrize("kind", [CronTriggerTimetable, CronDataIntervalTimetable])
@pytest.mark.parametrize("since", ["2025-03-27T23:00:00", "2025-10-23T22:00:00"])
def test_the_documented_dag_has_a_folder_for_each_local_day(
    simulate: Simulate, repository: Path, exported: Exported, kind: type, since: str
) -> None:
    """Across both changes of the clocks, and for manual runs: the entries of the folder's date in Berlin."""
    page = (repository / "docs" / "export.md").read_text("utf-8")
    [code] = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "Berlin" in block]
    (dags := exported.folder.parent / "dags").mkdir()
    (dags / "days.py").write_text(
        "import pendulum\nfrom datetime import timedelta\nfrom airflow import DAG\n"
        "from airflow_provider_supermetrics.operators.supermetrics import SupermetricsExportLogsOperator\n"
        + code.replace("s3://aws_default@my-bucket/supermetrics-logs", f"file://{exported.folder}")
    )
    dag = DagBag(str(dags)).dags["supermetrics_days"]
    template = dag.get_task("export_logs").path
    sim = simulate(generate_entries(count=4000, start=utc(since) - DAY, end=utc(since) + 5 * DAY, seed=3))

    def export(run: dict[str, Any]) -> tuple[datetime, datetime]:
        task = dag.get_task("export_logs")
        task.path = template
        task.render_template_fields(run | {"macros": SimpleNamespace(timedelta=timedelta)})
        return span(task.execute(run))

    infos = runs(kind("@daily", timezone="Europe/Berlin"), utc(since), 4)
    windows = [export(scheduled(dag, info)) for info in infos]
    written = {path: path.read_bytes() for path in exported.folder.glob("*/*")}
    berlin = zoneinfo.ZoneInfo("Europe/Berlin")
    count = 0
    for folder in exported.folder.iterdir():
        entries = Exported(folder).entries()
        count += len(entries)
        times = [datetime.fromisoformat(entry["log_time"].replace("Z", "+00:00")) for entry in entries]
        assert {f"date={time.astimezone(berlin).date()}" for time in times} == {folder.name}
    assert len(list(exported.folder.iterdir())) == len(infos)
    assert count == len(sim.truth(CONNECTOR, windows[0][0], windows[-1][1]))
    for _, end in windows:
        export(manual_run(dag, end + 5 * HOUR))
    assert {path: path.read_bytes() for path in exported.folder.glob("*/*")} == written


# Times that people give


@pytest.mark.parametrize(
    "text",
    [
        "2025-01-01T05:00:00Z",
        "2025-01-01 05:00:00+00:00",
        "2025-01-01T05:00:00+0000",
        "2025-01-01T05:00:00+00",
        "2025-01-01T10:30:00.0+05:30",
        "2025-01-01T05:00:00,000Z",
        "2025-01-01T05:00Z",
        "2025-01-01T05Z",
        "20250101T050000Z",
        "20250101T0500+0000",
        " 2024-12-31T23:30:00-05:30\n",
        pendulum.datetime(2025, 1, 1, 5),
        pendulum.datetime(2025, 1, 1, 7, tz=HELSINKI),
        datetime(2025, 1, 1, 7, tzinfo=zoneinfo.ZoneInfo(HELSINKI)),
    ],
)
def test_a_time_is_read_alike_on_every_python(window_of: WindowOf, text: Any) -> None:
    """ISO 8601 with an offset, in its usual spellings."""
    assert window_of(context(), start=text, end=START)[0] == utc("2025-01-01T05:00:00")
    assert window_of(context(), start=utc("2024-01-01"), end=text)[1] == utc("2025-01-01T05:00:00")


def test_fractions_of_a_second_count(window_of: WindowOf) -> None:
    """All digits of a fraction of a second count."""
    start, end = window_of(context(), start="2025-01-01T05:00:00.5Z", end="20250101T050001.123456789+0000")
    assert start == utc("2025-01-01T05:00:00.500000")
    assert end == utc("2025-01-01T05:00:01.123456")


NOT_TIMES = [
    ("2025-01-01", "no time zone"),
    ("20250101", "no time zone"),
    ("2025-01-01T05:00:00", "no time zone"),
    ("2025-01-01 05:00:00.5", "no time zone"),
    ("20250101T050000", "no time zone"),
    (datetime(2025, 1, 1), "no time zone"),
    (pendulum.naive(2025, 1, 1), "no time zone"),
    ("12", "not an ISO 8601 time"),
    ("2025", "not an ISO 8601 time"),
    ("202501", "not an ISO 8601 time"),
    ("12:30Z", "not an ISO 8601 time"),
    ("now", "not an ISO 8601 time"),
    ("P1D", "not an ISO 8601 time"),
    ("PT1H", "not an ISO 8601 time"),
    ("2025-01-01T00:00:00Z/2025-01-02T00:00:00Z", "not an ISO 8601 time"),
    ("2025-01-01T00:00:00Z/PT1H", "not an ISO 8601 time"),
    ("2025-W01", "not an ISO 8601 time"),
    ("2025-W00-1T00:00:00Z", "not an ISO 8601 time"),
    ("2025-W01T00:00:00Z", "not an ISO 8601 time"),
    ("2025-001T00:00:00Z", "not an ISO 8601 time"),
    ("2025-01T00:00:00Z", "not an ISO 8601 time"),
    ("2025/01/01 05:00:00", "not an ISO 8601 time"),
    ("1735689600", "not an ISO 8601 time"),
    ("2025-01-01T24:00:00Z", "not an ISO 8601 time"),
    ("2025-02-30T00:00:00Z", "not an ISO 8601 time"),
    ("2025-01-01T00:00:00+99:99", "not an ISO 8601 time"),
    ("2025-01-01T00:00:00+24:00", "not an ISO 8601 time"),
    ("2025-01-01T00:00:00Z" * 2, "not an ISO 8601 time"),
    ("٢٠٢٥-01-01T00:00:00Z", "not an ISO 8601 time"),
    ("9999-12-31T23:59:59Z", "out of range"),
    ("9999-12-31T23:59:59-05:00", "out of range"),
    (datetime.max.replace(tzinfo=timezone(-HOUR)), "out of range"),
    ("0001-01-01T00:00:00+05:00", "out of range"),
    (20250101, "must be a datetime"),
    (START.date(), "must be a datetime"),
]


@pytest.mark.parametrize(("value", "complaint"), NOT_TIMES)
@pytest.mark.parametrize("name", ["start", "end", "since"])
def test_an_ambiguous_time_is_refused(
    quiet: Simulator, export: Export, name: str, value: Any, complaint: str
) -> None:
    """A time without a day or a zone is refused."""
    if name == "since":
        run: Callable[[], Any] = partial(
            SupermetricsErrorLogSensor, task_id="t", connector_identifier=CONNECTOR, since=value
        )
    else:
        run = partial(export, context(), **{name: value}, settle=timedelta(0))
    with pytest.raises(SupermetricsValidationError, match=complaint) as refused:
        run()
    assert str(refused.value).startswith(name)
    assert quiet.requests == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"window": timedelta(days=800_000)}, "window"),
        ({"window": pendulum.duration(years=3000)}, "window"),
        ({"end": "9998-12-31T00:00:00Z", "settle": timedelta(days=800)}, "settle"),
    ],
)
def test_a_window_beyond_the_calendar_is_refused(
    quiet: Simulator, export: Export, arguments: dict[str, Any], complaint: str
) -> None:
    """A window beyond the calendar raises an error of this package, not of datetime."""
    with pytest.raises(SupermetricsValidationError, match=f"^{complaint}.*out of range"):
        export(context(), **arguments)
    assert quiet.requests == []


def test_the_year_1_has_four_digits_in_names(window_of: WindowOf, exported: Any) -> None:
    """The year 1 has four digits in names, on every platform."""
    window_of(context(), start="0001-01-01T00:00:00Z", end="2025-01-01T00:00:00Z")
    assert f"_manifest-{CONNECTOR}-00010101T000000Z-20250101T000000Z.json" in exported.names


# What to write instead


@pytest.mark.parametrize(
    ("schedule", "advice"),
    [
        ("@hourly", "window=timedelta(hours=1)"),
        ("*/15 * * * *", "window=timedelta(minutes=15)"),
        ("0 */6 * * *", "window=timedelta(hours=6)"),
        ("@daily", "window=timedelta(days=1)"),
        ("30 2 * * *", "window=timedelta(days=1)"),
        ("@weekly", "window=timedelta(weeks=1)"),
        ("@monthly", "window=pendulum.duration(months=1)"),
        ("0 0 1 */3 *", "window=pendulum.duration(months=3)"),
        ("@yearly", "window=pendulum.duration(years=1)"),
        (timedelta(minutes=90), "window=timedelta(minutes=90)"),
        ("0 0 * * 1-5", "such as window=timedelta(hours=1)"),
        (None, "such as window=timedelta(hours=1)"),
    ],
)
def test_a_run_without_a_window_suggests_one_that_fits_its_schedule(
    quiet: Simulator, export: Export, schedule: Any, advice: str
) -> None:
    """The message does not suggest an hour to a daily DAG."""
    run = context(dag=a_dag(schedule), data_interval_start=START, data_interval_end=START)
    with pytest.raises(SupermetricsValidationError, match="has no length") as refused:
        export(run)
    assert advice in str(refused.value)
    with pytest.raises(SupermetricsValidationError, match="no data interval") as refused:
        export(manual_run(a_dag(schedule), START))
    assert advice in str(refused.value)


# Manual runs


AT = "2025-10-29T15:47:12.345678"


@pytest.mark.parametrize(
    ("schedule", "zone", "window", "end", "start"),
    [
        ("@hourly", "UTC", HOUR, "2025-10-29T15:00:00", "2025-10-29T14:00:00"),
        ("@hourly", "Asia/Kathmandu", HOUR, "2025-10-29T15:15:00", "2025-10-29T14:15:00"),
        ("*/15 * * * *", "UTC", HOUR / 4, "2025-10-29T15:45:00", "2025-10-29T15:30:00"),
        ("0 */6 * * *", HELSINKI, 6 * HOUR, "2025-10-29T10:00:00", "2025-10-29T04:00:00"),
        ("@daily", "UTC", DAY, "2025-10-29", "2025-10-28"),
        ("@daily", HELSINKI, DAY, "2025-10-28T22:00:00", "2025-10-27T22:00:00"),
        ("@daily", "UTC", timedelta(hours=24), "2025-10-29", "2025-10-28"),
        (None, "UTC", timedelta(days=3), "2025-10-29", "2025-10-26"),
        ("0 0 * * 1", "UTC", timedelta(weeks=1), "2025-10-27", "2025-10-20"),
        (None, HELSINKI, pendulum.duration(weeks=1), "2025-10-26T22:00:00", "2025-10-19T21:00:00"),
        ("@monthly", "UTC", pendulum.duration(months=1), "2025-10-01", "2025-09-01"),
        ("@monthly", HELSINKI, pendulum.duration(months=1), "2025-09-30T21:00:00", "2025-08-31T21:00:00"),
        ("@quarterly", "UTC", pendulum.duration(months=3), "2025-10-01", "2025-07-01"),
        (None, "UTC", pendulum.duration(months=6), "2025-07-01", "2025-01-01"),
        (None, "UTC", pendulum.duration(months=5), "2025-10-01", "2025-05-01"),
        ("@yearly", "UTC", pendulum.duration(years=1), "2025-01-01", "2024-01-01"),
    ],
)
def test_a_manual_run_exports_the_last_complete_window(
    window_of: WindowOf,
    exported: Any,
    schedule: str | None,
    zone: str,
    window: timedelta,
    end: str,
    start: str,
) -> None:
    """A manual run exports the window of the scheduled run, so that no entry is exported twice."""
    dag = a_dag(schedule, zone)
    assert window_of(manual_run(dag, utc(AT)), window=window) == (utc(start), utc(end))
    # As Airflow 3 has it where a date was given, and as Airflow 2 has it without a schedule.
    dated = manual_run(dag, utc(AT) + DAY, data_interval_start=utc(AT), data_interval_end=utc(AT))
    assert window_of(dated, window=window) == (utc(start), utc(end))
    assert window_of(manual_run(dag, utc(end)), window=window) == (utc(start), utc(end))
    names = exported.names
    due = context(
        dag=dag,
        dag_run=SimpleNamespace(run_after=utc(end), run_type="scheduled"),
        data_interval_start=utc(end),
        data_interval_end=utc(end),
    )
    window_of(due, window=window)
    assert exported.names == names


@pytest.mark.parametrize(
    "run_type", ["asset_triggered", "dataset_triggered", "asset_materialization", "operator_triggered"]
)
def test_every_run_that_is_not_of_the_schedule_does_so(window_of: WindowOf, run_type: str) -> None:
    """Every run outside the schedule exports the last complete window, whatever its type."""
    window = (utc("2025-10-29T14:00:00"), utc("2025-10-29T15:00:00"))
    assert window_of(manual_run(a_dag(None), utc(AT), run_type), window=HOUR) == window


@pytest.mark.parametrize(
    ("at", "window", "end"),
    [
        ("2025-10-26T00:30:00", HOUR, "2025-10-26T00:00:00"),  # 3:30, the first one
        ("2025-10-26T01:30:00", HOUR, "2025-10-26T01:00:00"),  # 3:30, the second one
        ("2025-10-26T01:30:00", 2 * HOUR, "2025-10-25T23:00:00"),
        ("2025-03-30T01:10:00", 3 * HOUR, "2025-03-30T01:00:00"),  # 4:10, without a 3:00 before it
        ("2025-03-30T01:10:00", 45 * HOUR / 60, None),
    ],
)
def test_a_manual_run_where_the_clocks_change(
    window_of: WindowOf, at: str, window: timedelta, end: str | None
) -> None:
    """A window that ends after the run is not complete, also where the clocks change."""
    start, until = window_of(manual_run(a_dag(None, HELSINKI), utc(at)), window=window)
    assert until == (utc(end) if end else until)
    assert until <= utc(at)
    assert until - start == window


def test_a_manual_run_of_a_day_whose_end_has_no_midnight(window_of: WindowOf) -> None:
    """In Cairo the clocks go from 0:00 to 1:00; Thursday is 24 hours long all the same, and Friday 23."""
    dag = a_dag(None, "Africa/Cairo")
    friday = utc("2025-04-24T22:00:00")
    assert window_of(manual_run(dag, friday + 5 * HOUR), window=DAY) == (friday - DAY, friday)
    saturday = friday + 23 * HOUR
    assert window_of(manual_run(dag, saturday + HOUR), window=DAY) == (friday, saturday)


def test_a_manual_run_may_end_when_it_runs(window_of: WindowOf) -> None:
    """With `align=False`, or with an `end`, the window of a manual run may end when it runs."""
    run = manual_run(a_dag("@hourly"), utc(AT))
    assert window_of(run, window=HOUR, align=False) == (utc(AT) - HOUR, utc(AT))
    assert window_of(run, window=HOUR, end=utc(AT)) == (utc(AT) - HOUR, utc(AT))
    assert window_of(run, start=utc("2025-10-29")) == (utc("2025-10-29"), utc(AT))


@pytest.mark.parametrize("run_type", ["scheduled", "backfill"])
def test_a_run_of_the_schedule_is_left_as_it_is(window_of: WindowOf, run_type: str) -> None:
    """A scheduled run's window is not aligned."""
    end = utc("2025-10-29T15:20:00")
    run = manual_run(a_dag("20 * * * *"), end, run_type, data_interval_start=end, data_interval_end=end)
    assert window_of(run, window=HOUR) == (end - HOUR, end)


def test_a_manual_run_of_a_data_interval_timetable_has_the_schedules_window(window_of: WindowOf) -> None:
    """Airflow gives it the last interval of the schedule, at twenty past."""
    timetable = CronDataIntervalTimetable("20 * * * *", timezone="UTC")
    interval = timetable.infer_manual_data_interval(run_after=pendulum.instance(utc(AT)))
    parts = {"data_interval_start": interval.start, "data_interval_end": interval.end}
    run = manual_run(a_dag(timetable), utc(AT), **parts, logical_date=interval.start)
    expected = (utc("2025-10-29T14:20:00"), utc("2025-10-29T15:20:00"))
    assert window_of(run, window=HOUR) == expected
    assert window_of(run) == expected


@pytest.mark.parametrize("window", [5 * HOUR, timedelta(days=1, hours=6), timedelta(seconds=7)])
def test_a_window_that_does_not_divide_a_day_is_left_with_a_warning(
    window_of: WindowOf,
    logged: Logged,
    window: timedelta,
) -> None:
    """A window that does not divide a day is not aligned, and a warning is logged."""
    run = manual_run(a_dag(None), utc(AT))
    assert window_of(run, window=window) == (utc(AT) - window, utc(AT))
    assert "does not divide a day" in "\n".join(logged())


@pytest.mark.parametrize(("schedule", "window"), [("0 2 * * *", DAY), ("@weekly", timedelta(weeks=1))])
def test_a_manual_run_warns_where_the_schedule_has_other_windows(
    window_of: WindowOf,
    logged: Logged,
    schedule: str,
    window: timedelta,
) -> None:
    """Days that begin at two, weeks that begin on Sunday: it says that rows will be there twice."""
    window_of(manual_run(a_dag(schedule), utc(AT)), window=window)
    assert "overlaps" in "\n".join(logged())


def test_the_documented_end_from_the_configuration_of_a_run(
    quiet: Simulator, repository: Path, exported: Exported
) -> None:
    """The documented end from a run's configuration is used if there is one."""
    page = (repository / "docs" / "export.md").read_text("utf-8")
    [end] = re.findall(r'`end="(\{\{.*?)"`', page)
    for conf, hour in ((None, 15), ({}, 15), ({"end": "2025-10-29T03:00:00Z"}, 3)):
        task = SupermetricsExportLogsOperator(
            task_id="t",
            connector_identifier=CONNECTOR,
            path=f"file://{exported.folder}",
            window=HOUR,
            end=end,
        )
        run = manual_run(a_dag("@hourly"), utc(AT))
        run["dag_run"].conf = conf
        task.render_template_fields(run)
        assert span(task.execute(run))[1] == datetime(2025, 10, 29, hour, tzinfo=timezone.utc)


@pytest.mark.parametrize("align", [None, "yes", 1])
def test_align_is_checked_when_the_dag_is_read(align: Any) -> None:
    """`align` is checked when the DAG is read."""
    with pytest.raises(SupermetricsValidationError, match="align must be True or False"):
        SupermetricsExportLogsOperator(task_id="t", connector_identifier="A", path="file:///x", align=align)
