"""Times: whole microseconds since 1970 (UTC) inside, ISO 8601 text outside."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cached_property
from typing import Final, Literal

Precision = Literal["second", "day", "minute", "millisecond", "microsecond", "nanosecond", "trimmed"]
Rounding = Literal["truncate", "round"]

UNITS: Final[Mapping[Precision, int]] = {
    "day": 86_400_000_000,
    "minute": 60_000_000,
    "second": 1_000_000,
    "millisecond": 1_000,
    "microsecond": 1,
    "nanosecond": 1,
    "trimmed": 1,
}
"""The step of each precision in microseconds, the finest that is stored."""

_TIMESPECS: Final[Mapping[Precision, str]] = {
    "minute": "seconds",
    "second": "seconds",
    "millisecond": "milliseconds",
    "microsecond": "microseconds",
    "nanosecond": "microseconds",
    "trimmed": "auto",
}
# The API's page: `log_time` has at most 30 characters.
_LONGEST_TEXT: Final = 30
_EPOCH: Final = datetime(1970, 1, 1)
_EPOCH_UTC: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND: Final = timedelta(microseconds=1)
_TIME: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)"
    r"(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?([Zz]|[+-]\d\d:?\d\d)?)?",
    re.ASCII,
)


def microseconds(moment: datetime) -> int:
    """An aware datetime as microseconds since 1970; a naive one is a TypeError."""
    return (moment - _EPOCH_UTC) // _MICROSECOND


def moment(time: int) -> datetime:
    """Microseconds since 1970 as an aware datetime in UTC."""
    return _EPOCH_UTC + timedelta(microseconds=time)


def parse_time(text: str) -> int:
    """ISO 8601 text as microseconds since 1970, finer digits dropped; no zone means UTC.

    Raises ValueError for what is no time.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"not an ISO 8601 time: {text!r}")
    date, hour, minute, second, fraction, zone = match.groups()
    whole = datetime.strptime(f"{date} {hour or '00'}:{minute or '00'}:{second or '00'}", "%Y-%m-%d %H:%M:%S")
    since_epoch = whole - _EPOCH - zone_offset(zone or "")
    return since_epoch // _MICROSECOND + int((fraction or "").ljust(6, "0")[:6])


def zone_offset(zone: str) -> timedelta:
    """How far local time is ahead of UTC, for `Z`, `+hh:mm`, `-hhmm` or nothing (UTC)."""
    if zone in ("", "Z", "z"):
        return timedelta()
    hours, minutes = int(zone[1:3]), int(zone[-2:])
    if hours > 23 or minutes > 59:
        raise ValueError(f"not a zone: {zone!r}")
    offset = timedelta(hours=hours, minutes=minutes)
    return -offset if zone[0] == "-" else offset


def checked_text(text: str) -> str:
    """The text itself; a ValueError where it is longer than the API's times."""
    if len(text) > _LONGEST_TEXT:
        raise ValueError(f"{text!r} is longer than {_LONGEST_TEXT} characters, which the API does not print")
    return text


@dataclass(frozen=True)
class TimeFormat:
    """How the simulated API keeps and prints times; see `Simulator` for what the fields mean."""

    precision: Precision = "second"
    zone: str = "Z"
    stores_finer: bool = True
    rounding: Rounding = "truncate"

    def __post_init__(self) -> None:
        checked_text(self.text(1))

    def stored(self, time: int) -> int:
        """The time that order and `before` go by, in microseconds, of an exact time."""
        return time if self.stores_finer else time - time % UNITS[self.precision]

    def printed(self, time: int) -> int:
        """The time that a reader of the printed text sees, in microseconds, of an exact time."""
        unit = UNITS[self.precision]
        if self.rounding == "round" and self.stores_finer:
            time += unit // 2
        return time - time % unit

    def text(self, time: int) -> str:
        """The printed text of an exact time; a day is a bare date (in UTC), without a zone."""
        printed = timedelta(microseconds=self.printed(time))
        if self.precision == "day":
            return (_EPOCH + printed).date().isoformat()
        local = self._local_epoch + printed
        digits = local.isoformat(timespec=_TIMESPECS[self.precision])
        return f"{digits}000{self.zone}" if self.precision == "nanosecond" else digits + self.zone

    @cached_property
    def _local_epoch(self) -> datetime:
        return _EPOCH + zone_offset(self.zone)
