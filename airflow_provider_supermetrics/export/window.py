"""Which time an export covers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_provider_supermetrics.exceptions import SupermetricsValidationError

_ZERO_LENGTH_ADVICE = (
    "In Airflow 3, schedules such as '@hourly' give every run an interval of no length. "
    "Write window=timedelta(hours=1) in the task to export the hour before each run "
    "(or whatever fits the schedule), or give start and end."
)


@dataclass(frozen=True)
class Window:
    """The times ``start <= log_time < end``, in UTC."""

    start: datetime
    end: datetime

    def __str__(self) -> str:
        return f"[{format_utc(self.start)}, {format_utc(self.end)})"

    @property
    def slug(self) -> str:
        """The window as a part of object names, such as ``20260101T000000Z-20260101T010000Z``."""
        return f"{_compact(self.start)}-{_compact(self.end)}"

    def share_behind(self, oldest: datetime | None) -> float:
        """How much of the window, from 0 to 1, a walk has behind it that has read back to ``oldest``."""
        if oldest is None:
            return 0.0
        return min(1.0, max(0.0, (self.end - oldest) / (self.end - self.start)))


def resolve_window(
    start: datetime | str | None,
    end: datetime | str | None,
    window: timedelta | None,
    context: Mapping[str, Any],
) -> Window:
    """The window of a run.

    ``end`` is the given one, else the run's data interval end, else its logical date, else the time
    after which it ran. ``start`` is the given one, else ``end - window``, else the run's data interval start.

    :param context: Airflow's task context; what the run does not have may be absent.
    :raises SupermetricsValidationError: for naive or unreadable times, and an empty or reversed window.
    """
    end_time = to_utc("end", end) or _run_end(context)
    start_time = to_utc("start", start)
    if start_time is None and window is not None:
        start_time = end_time - window
    if start_time is None:
        start_time = _run_time(context, "data_interval_start")
    if start_time is None:
        raise SupermetricsValidationError(
            "this run has no data interval (an asset triggered it, or it has no logical date), so there is "
            "no window to export: write window=timedelta(hours=1) in the task, or give start"
        )
    resolved = Window(start_time, end_time)
    if resolved.start == resolved.end:
        given = start is not None or window is not None
        advice = "Start and end are the same." if given else _ZERO_LENGTH_ADVICE
        raise SupermetricsValidationError(
            f"the window {resolved} has no length, nothing would be exported. {advice}"
        )
    if resolved.start > resolved.end:
        raise SupermetricsValidationError(f"the window {resolved} is reversed: start lies after end")
    return resolved


def run_start(context: Mapping[str, Any]) -> datetime:
    """When the time of a run begins: its data interval, or where it has none, when it was due."""
    return _run_time(context, "data_interval_start") or _run_end(context)


def _run_end(context: Mapping[str, Any]) -> datetime:
    for name in ("data_interval_end", "logical_date"):
        if time := _run_time(context, name):
            return time
    dag_run = context["dag_run"]
    # Airflow 2 has no run_after; its logical date is always set, so this is Airflow 3.
    return _utc(dag_run.run_after)


def _run_time(context: Mapping[str, Any], name: str) -> datetime | None:
    time = context.get(name)
    return None if time is None else _utc(time)


def to_utc(name: str, value: datetime | str | None) -> datetime | None:
    """A time that a user gave, or None where it is none, as templates give it.

    :param name: what it is called, for messages.
    :raises SupermetricsValidationError: for naive or unreadable times.
    """
    if isinstance(value, str):
        text = value.strip()
        if text in ("", "None"):  # what a template gives for a value that is not there
            return None
        try:
            value = datetime.fromisoformat(text.replace("Z", "+00:00"))
        except ValueError:
            raise SupermetricsValidationError(f"{name} {text!r} is not an ISO 8601 time") from None
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise SupermetricsValidationError(f"{name} must be a datetime or an ISO 8601 text, not {value!r}")
    if value.utcoffset() is None:
        raise SupermetricsValidationError(
            f"{name} {value.isoformat()} has no time zone; write for example {value.isoformat()}+00:00"
        )
    return _utc(value)


def _utc(time: datetime) -> datetime:
    # Airflow hands out pendulum's times and lazy proxies of them; a plain datetime is the same everywhere.
    return datetime.fromtimestamp(time.timestamp(), timezone.utc).replace(microsecond=time.microsecond)


def format_utc(time: datetime) -> str:
    """``time``, which is in UTC, in ISO 8601 with a ``Z``."""
    return time.replace(tzinfo=None).isoformat() + "Z"


def _compact(time: datetime) -> str:
    return time.strftime("%Y%m%dT%H%M%S.%fZ" if time.microsecond else "%Y%m%dT%H%M%SZ")
