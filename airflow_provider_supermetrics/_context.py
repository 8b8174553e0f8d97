"""What a task's run says: when it is due, and which window of logs it is for."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_provider_supermetrics._api.times import format_time, parse_time, to_utc
from airflow_provider_supermetrics._schedule import Length, Schedule, Window
from airflow_provider_supermetrics.exceptions import SupermetricsValidationError, invalid, public_errors

log = logging.getLogger(__name__)

# Airflow's default; another one may leave out the year, or change day and month.
_KEY_FORMAT = "%Y-%m-%dT%H:%M:%S"


def resolve_window(
    start: datetime | str | None,
    end: datetime | str | None,
    window: timedelta | None,
    context: Mapping[str, Any],
    *,
    align: bool = True,
) -> Window:
    """The window of a run, as the export operator's documentation describes it.

    :param context: Airflow's task context; entries that the run does not have may be absent.
    :param align: whether the window of a run that the schedule has not created ends at the last multiple of
        ``window``.
    :raises SupermetricsValidationError: for naive or unreadable times, an empty or reversed window, and a
        partition that does not say which time it is for.
    """
    with public_errors():
        start_time, end_time = parse_time("start", start), parse_time("end", end)
    length = None if window is None else Length.of(window)
    schedule = Schedule.of(context.get("dag"))
    resolved = None
    if start_time is None and end_time is None:
        resolved = _partition_window(context, schedule, length) or _window_of_manual_run(
            context, schedule, length, align
        )
    if resolved is None:
        end_time = end_time or run_end(context)
        if start_time is None and length is not None:
            start_time = schedule.moved(end_time, -length)
        if start_time is None:
            start_time = _run_time(context, "data_interval_start")
        if start_time is None:
            raise invalid(
                "no window to read, because this run has no data interval (an asset triggered it, or it "
                "has no logical date)",
                f"write {schedule.advice(end_time)} in the task, or give start",
            )
        resolved = Window(start_time, end_time)
    if resolved.start == resolved.end:
        if start is None and window is None:
            raise invalid(
                f"the window has no length, so it contains nothing: {resolved}. In Airflow 3, "
                "schedules such as '@hourly' give every run a data interval of no length",
                f"write {schedule.advice(resolved.end)} in the task, or give start and end",
            )
        raise SupermetricsValidationError(
            "the window has no length, so it contains nothing. Start and end are the same: "
            f"{format_time(resolved.end)}"
        )
    if resolved.start > resolved.end:
        raise SupermetricsValidationError(f"the window is reversed, its start is after its end: {resolved}")
    if (
        length is not None
        and length.is_elapsed
        and length.rest > timedelta(hours=1)
        and schedule.clocks_change(resolved.start, resolved.end)
    ):
        log.warning(
            "The clocks of %s change in the window %s, which is %s of elapsed time, while the time between "
            "two runs can be longer or shorter. Use CronDataIntervalTimetable without window, or UTC.",
            schedule.zone.name,
            resolved,
            window,
        )
    return resolved


def name_if_mapped(context: Any) -> None:
    """Name a mapped task by its connector, unless the DAG names it."""
    # At run time, because a mapped task keeps a map_index_template only if the DAG sets one.
    if (context["ti"].map_index or 0) >= 0 and not context.get("map_index_template"):
        context["map_index_template"] = "{{ task.connector_identifier }}"


def resolve_last_window(
    start: datetime | str | None,
    end: datetime | str | None,
    window: timedelta | None,
    context: Mapping[str, Any],
    *,
    align: bool = True,
) -> Window:
    """The last complete window before a run, of the schedule or not; else as :func:`resolve_window`.

    For what looks back, such as a check at two o'clock of the day that ended at midnight.

    :param align: whether the window ends at the last multiple of ``window``.
    """
    with public_errors():
        is_given = any(parse_time(name, time) for name, time in (("start", start), ("end", end)))
    if window is not None and align and not is_given:
        length, schedule = Length.of(window), Schedule.of(context.get("dag"))
        due = run_end(context)
        wall = schedule.last_multiple(due, length)
        if wall is not None and _partition_window(context, schedule, length) is None:
            end = schedule.at(wall, not_after=due)
            start = schedule.moved(end, -length, wall)
    return resolve_window(start, end, window, context, align=False)


def run_start(context: Mapping[str, Any]) -> datetime:
    """The start of a run's data interval, or without one, the time when the run was due."""
    return _run_time(context, "data_interval_start") or run_end(context)


def run_end(context: Mapping[str, Any]) -> datetime:
    """The end of a run's data interval, or without one, the time when the run was due."""
    for name in ("data_interval_end", "logical_date"):
        if time := _run_time(context, name):
            return time
    dag_run = context["dag_run"]
    # Airflow 2 has no run_after; its logical date is always set, so this is Airflow 3.
    return to_utc("run_after", dag_run.run_after)


def _run_time(context: Mapping[str, Any], name: str) -> datetime | None:
    time = context.get(name)
    return None if time is None else to_utc(name, time)


def _run_type(context: Mapping[str, Any]) -> str:
    run_type = getattr(context["dag_run"], "run_type", "scheduled")
    return str(getattr(run_type, "value", run_type))


def _is_scheduled(context: Mapping[str, Any]) -> bool:
    return _run_type(context) in ("scheduled", "backfill")


def _window_of_manual_run(
    context: Mapping[str, Any], schedule: Schedule, length: Length | None, align: bool
) -> Window | None:
    """The last complete window of a run that the schedule has not created; None where its own times count."""
    if length is None or not align or _is_scheduled(context):
        return None
    end = run_end(context)
    has_interval = _run_time(context, "data_interval_start") not in (None, end)
    if has_interval and schedule.has_intervals and _run_type(context) == "manual":
        return None  # Such a timetable gives the run the interval of the last scheduled one.
    wall = schedule.last_multiple(end, length)
    if wall is None:
        log.warning(
            "This run is not of the schedule (%s), and its window does not divide a day: it ends at %s, when "
            "the run was due, and other runs may read the same entries. Give end to choose another one.",
            _run_type(context),
            format_time(end),
        )
        return None
    end = schedule.at(wall, not_after=end)
    window = Window(schedule.moved(end, -length, wall), end)
    log.info(
        "The window is %s, the last complete one, because this run is not of the schedule (%s)",
        window,
        _run_type(context),
    )
    if schedule.crons and not schedule.is_due(wall):
        log.warning(
            "The window %s overlaps those of scheduled runs, because %r has no run at its end. Give end to "
            "read one of theirs again.",
            window,
            schedule.crons[0],
        )
    return window


def _partition_window(context: Mapping[str, Any], schedule: Schedule, length: Length | None) -> Window | None:
    """The window of the run's partition, or None without a partition."""
    key = context.get("partition_key") or getattr(context["dag_run"], "partition_key", None)
    start = _run_time(context, "partition_date")
    if start is None and key is None:
        if schedule.key_format and _is_scheduled(context):
            raise invalid(
                "no window to read, because this run has lost its partition",
                "backfill or trigger the partition ('airflow dags clear' keeps it, 'airflow partitions "
                "clear' does not)",
            )
        return None
    # Airflow 3.2 gives a task the key alone, and writes it in UTC, not in the timetable's zone as later ones.
    is_key_utc = schedule.key_format == _KEY_FORMAT and schedule.zone.name == "UTC"
    if start is None and "partition_date" not in context and is_key_utc:
        with suppress(ValueError):
            start = datetime.strptime(str(key), _KEY_FORMAT).replace(tzinfo=timezone.utc)
    if start is None:
        raise invalid(
            f"no window to read, because Airflow does not say which time partition {str(key)[:100]!r} is for",
            "give start and end",
        )
    if length is None:
        raise invalid(
            f"no window to read, because the length of partition {key or format_time(start)!r} is unknown",
            f"write {schedule.advice(start)} in the task, or give start and end",
        )
    return Window(start, schedule.moved(start, length))
