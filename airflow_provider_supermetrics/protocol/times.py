"""Times: as the API prints them, and as this package does. UTC throughout."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Annotated, NamedTuple

import msgspec

from airflow_provider_supermetrics.protocol.errors import InvalidRequest

MICROSECOND = timedelta(microseconds=1)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)

#: A time in stored state, which a naive one would make mean something else on every machine.
AwareTime = Annotated[datetime, msgspec.Meta(tz=True)]

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_TIME = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)"
    r"(?:[T ](?P<minutes>\d\d:\d\d)(?:(?P<seconds>:\d\d)(?:[.,](?P<fraction>\d{1,12}))?)?"
    r"\s?(?:(?P<utc>[Zz])|(?P<sign>[+-])(?P<hours>[01]\d|2[0-3]):?(?P<offset_minutes>[0-5]\d)?)?)?",
    re.ASCII,
)


class LogTime(NamedTuple):
    """A printed time, in UTC, and the ``tick`` it was printed to: the real time is less than a tick away."""

    at: datetime
    tick: timedelta


@lru_cache(maxsize=8192)
def parse_log_time(text: str) -> LogTime:
    """Read a time as the API may print it: a date, or a time to minutes, seconds or any fraction of them.

    With ``Z``, an offset or neither, which is UTC. Digits beyond microseconds are cut off.

    :raises ValueError: for anything else.
    """
    if len(text) == 20 and text[4] == text[7] == "-" and text[10] == "T" and text[19] == "Z":
        return LogTime(datetime.fromisoformat(text[:19] + "+00:00"), SECOND)
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"not a time: {text[:40]!r}")
    fraction = match["fraction"]
    if match["minutes"] is None:
        tick = DAY
    elif match["seconds"] is None:
        tick = timedelta(minutes=1)
    elif fraction is None:
        tick = SECOND
    else:
        tick = max(timedelta(seconds=10.0 ** -len(fraction)), MICROSECOND)
    clock = f"{match['minutes'] or '00:00'}{match['seconds'] or ':00'}.{(fraction or '')[:6]:0<6}"
    at = datetime.fromisoformat(f"{match['date']}T{clock}+00:00")
    if match["sign"]:
        offset = timedelta(hours=int(match["hours"]), minutes=int(match["offset_minutes"] or 0))
        at = at - offset if match["sign"] == "+" else at + offset
    return LogTime(at, tick)


def to_utc(name: str, time: datetime) -> datetime:
    """``time`` as a plain datetime in UTC.

    :param name: what it is called, for the message.
    :raises InvalidRequest: for a naive time, which would mean another moment on every machine.
    """
    if time.utcoffset() is None:
        raise InvalidRequest(
            f"{name} {time.isoformat()} has no time zone; give an aware time, such as one in UTC"
        )
    try:
        utc = time.astimezone(timezone.utc)
    except OverflowError:
        raise InvalidRequest(f"{name} {time.isoformat()} is not within the years 1 to 9999 in UTC") from None
    return datetime.combine(utc.date(), utc.time(), timezone.utc)


def format_time(time: datetime) -> str:
    """``time`` in UTC with a ``Z``, and no, three or six digits of a second's fraction."""
    timespec = (
        "microseconds" if time.microsecond % 1000 else "milliseconds" if time.microsecond else "seconds"
    )
    return time.astimezone(timezone.utc).replace(tzinfo=None).isoformat(timespec=timespec) + "Z"


def compact_time(time: datetime) -> str:
    """``time`` in UTC as a part of object names, such as ``20260101T000000Z``."""
    return time.astimezone(timezone.utc).strftime(
        "%Y%m%dT%H%M%S.%fZ" if time.microsecond else "%Y%m%dT%H%M%SZ"
    )


def ceil(time: datetime, unit: timedelta) -> datetime:
    """The first whole ``unit`` at or after ``time``.

    :raises OverflowError: where it is beyond the year 9999.
    """
    rest = (time - _EPOCH) % unit
    return time + (unit - rest) if rest else time
