"""Numbers and times as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

from airflow_provider_supermetrics._api.text import counted
from airflow_provider_supermetrics._schedule import Window

# Windows that are written out.
_MOST_PERIODS = 4
_DAY = timedelta(days=1)
_UNITS = (
    ("day", _DAY),
    ("hour", timedelta(hours=1)),
    ("minute", timedelta(minutes=1)),
    ("second", timedelta(seconds=1)),
)


def percent(share: float | None) -> str:
    """A share, such as ``4.2 %``; what is not zero does not look like it, nor what is not all like all."""
    if share is None:
        return "-"
    if 0 < share < 0.001:
        return "< 0.1 %"
    if 0.999 < share < 1:
        return "> 99.9 %"
    return f"{100 * share:.1f} %" if 0 < share < 1 else f"{100 * share:.0f} %"


def number(value: float | None) -> str:
    """A number, such as ``12,000`` or ``1.5``."""
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if value >= 1000 else f"{value:,.3f}".rstrip("0").rstrip(".")


def milliseconds(value: float | None) -> str:
    """A duration, such as ``248 ms`` or ``1.2 s``."""
    if value is None:
        return "-"
    if value < 1000:
        return f"{value:.0f} ms"
    if value < 600_000:
        return f"{value / 1000:.1f} s"
    return f"{value / 60_000:,.0f} min"


def length(time: timedelta) -> str:
    """A length of time in its largest two units, such as ``2 days 5 hours``."""
    parts = []
    for unit, size in _UNITS:
        count, time = divmod(time, size)
        if count:
            parts.append(counted(count, unit))
        if len(parts) == 2 or (parts and not time):
            break
    return " ".join(parts) or "less than a second"


def moment(time: datetime) -> str:
    """A time in UTC, to the minute where it is whole, such as ``2026-01-01 09:00``."""
    time = time.astimezone(timezone.utc)
    is_whole = not (time.second or time.microsecond)
    return time.replace(tzinfo=None).isoformat(" ", "minutes" if is_whole else "seconds")


def period(window: Window) -> str:
    """A window, such as ``2026-01-01 09:00 to 10:00``."""
    end = moment(window.end)
    if window.start.date() == window.end.date():
        end = end.partition(" ")[2]
    return f"{moment(window.start)} to {end}"


def periods(windows: Sequence[Window]) -> str:
    """Some windows, the earliest first; if they are many, their number, and the time that they are in."""
    if len(windows) <= _MOST_PERIODS:
        return "; ".join(map(period, windows))
    return f"{len(windows):,} times between {moment(windows[0].start)} and {moment(windows[-1].end)}"
