"""Times: integers of microseconds since 1970 (UTC) inside the simulator, ISO 8601 strings outside."""

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
_MAX_LENGTH: Final = 30
_EPOCH: Final = datetime(1970, 1, 1)
_EPOCH_UTC: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND: Final = timedelta(microseconds=1)
_TIME: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)"
    r"(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?([Zz]|[+-]\d\d:?\d\d)?)?",
    re.ASCII,
)


def microseconds(moment: datetime) -> int:
    """Return an aware datetime as microseconds since 1970; a naive one raises TypeError."""
    return (moment - _EPOCH_UTC) // _MICROSECOND


def moment(time: int) -> datetime:
    """Return microseconds since 1970 as an aware datetime in UTC."""
    return _EPOCH_UTC + timedelta(microseconds=time)


def parse_time(value: str) -> int:
    """Return an ISO 8601 string as microseconds since 1970, without finer digits; no zone means UTC.

    Raises ValueError if the string is not a time.
    """
    match = _TIME.fullmatch(value)
    if match is None:
        raise ValueError(f"not an ISO 8601 time: {value!r}")
    date, hour, minute, second, fraction, zone = match.groups()
    whole = datetime.strptime(f"{date} {hour or '00'}:{minute or '00'}:{second or '00'}", "%Y-%m-%d %H:%M:%S")
    since_epoch = whole - _EPOCH - zone_offset(zone or "")
    return since_epoch // _MICROSECOND + int((fraction or "").ljust(6, "0")[:6])


def zone_offset(zone: str) -> timedelta:
    """Return the UTC offset of `Z`, `+hh:mm`, `-hhmm` or an empty string (UTC)."""
    if zone in ("", "Z", "z"):
        return timedelta()
    hours, minutes = int(zone[1:3]), int(zone[-2:])
    if hours > 23 or minutes > 59:
        raise ValueError(f"not a zone: {zone!r}")
    offset = timedelta(hours=hours, minutes=minutes)
    return -offset if zone[0] == "-" else offset


def checked_length(value: str) -> str:
    """Return the string; raise ValueError if it is longer than the API's times."""
    if len(value) > _MAX_LENGTH:
        raise ValueError(f"{value!r} is longer than {_MAX_LENGTH} characters, which the API does not print")
    return value


@dataclass(frozen=True)
class TimeFormat:
    """How the simulated API stores and prints times; `Simulator` describes the fields."""

    precision: Precision = "second"
    zone: str = "Z"
    stores_finer: bool = True
    rounding: Rounding = "truncate"

    def __post_init__(self) -> None:
        checked_length(self.text(1))

    def stored(self, time: int) -> int:
        """Return the time that determines order and is compared with `before`, in microseconds."""
        return time if self.stores_finer else time - time % UNITS[self.precision]

    def printed(self, time: int) -> int:
        """Return the time that the printed string represents, in microseconds."""
        unit = UNITS[self.precision]
        if self.rounding == "round" and self.stores_finer:
            time += unit // 2
        return time - time % unit

    def text(self, time: int) -> str:
        """Return the printed string of an exact time; with "day", a date (in UTC) without a zone."""
        printed = timedelta(microseconds=self.printed(time))
        if self.precision == "day":
            return (_EPOCH + printed).date().isoformat()
        local = self._local_epoch + printed
        digits = local.isoformat(timespec=_TIMESPECS[self.precision])
        return f"{digits}000{self.zone}" if self.precision == "nanosecond" else digits + self.zone

    @cached_property
    def _local_epoch(self) -> datetime:
        return _EPOCH + zone_offset(self.zone)
