"""Times: as the API prints them, and as this package does. UTC throughout."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import MAXYEAR, datetime, timedelta, timezone
from functools import lru_cache
from typing import Annotated, NamedTuple

import msgspec
import pendulum

from airflow_provider_supermetrics._api.errors import InvalidRequest

MICROSECOND = timedelta(microseconds=1)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)

#: A time in stored state, which a naive one would make mean something else on every machine.
AwareTime = Annotated[datetime, msgspec.Meta(tz=True)]

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_TIME = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)"
    r"(?:[Tt ](?P<minutes>\d\d:\d\d)(?:(?P<seconds>:\d\d)(?:[.,](?P<fraction>\d{1,12}))?)?"
    r"\s?(?:(?P<utc>[Zz])|(?P<sign>[+-])(?P<hours>[01]\d|2[0-3]):?(?P<offset_minutes>[0-5]\d)?)?)?",
    re.ASCII,
)

# pendulum reads much more, and takes a week for its Monday and "12" for twelve o'clock today.
_ISO_8601 = re.compile(
    r"(\d{4}-\d\d-\d\d([T ]\d\d(:\d\d(:\d\d([.,]\d+)?)?)?)?|\d{8}(T\d\d(\d\d(\d\d([.,]\d+)?)?)?)?)"
    r"(?P<offset>Z|[+-]\d\d(:?\d\d)?)?",
    re.ASCII,
)

# pendulum.parse() refuses weeks beside days, and takes "PT" for no time at all.
_DURATION = re.compile(
    r"P(?=\d|T\d)(?:(?P<years>\d+)Y)?(?:(?P<months>\d+)M)?(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?=\d)(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?",
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


def parse_time(name: str, value: datetime | str | None) -> datetime | None:
    """Read a time that a user gave; None where a template gave none.

    :param name: what it is called, for messages.
    :raises InvalidRequest: for a naive, unreadable or far time.
    """
    text = value.strip() if isinstance(value, str) else None
    if value is None or text in ("", "None"):
        return None
    if text is not None:
        value = _parsed(name, text)
    if not isinstance(value, datetime):
        raise InvalidRequest(f"{name} must be a datetime or an ISO 8601 string, not {value!r:.100}")
    utc = to_utc(name, value)
    if utc.year == MAXYEAR:
        raise _far(name, value)
    return utc


def parse_duration(name: str, value: timedelta | str | None) -> timedelta | None:
    """Read a length of time that a user gave; None where a template gave none.

    :param name: what it is called, for messages.
    :raises InvalidRequest: for anything but a timedelta or an ISO 8601 duration.
    """
    text = value.strip() if isinstance(value, str) else None
    if value is None or text in ("", "None"):
        return None
    if text is not None and (match := _DURATION.fullmatch(text)):
        try:
            fields = {unit: float(n) if "." in n else int(n) for unit, n in match.groupdict("0").items()}
            value = pendulum.duration(**fields)
        except (OverflowError, ValueError):
            raise InvalidRequest(f"{name} {text[:100]!r} is out of range: give a shorter one") from None
    if not isinstance(value, timedelta):
        raise InvalidRequest(
            f"{name} must be a timedelta or an ISO 8601 duration such as 'PT1H' or 'P1D', not {value!r:.100}"
        )
    return value


def to_utc(name: str, time: datetime) -> datetime:
    """Return ``time`` as a plain datetime in UTC: Airflow passes pendulum's, and lazy proxies of them.

    :param name: what it is called, for messages.
    :raises InvalidRequest: for a naive time, which would mean another moment on every machine.
    """
    if time.utcoffset() is None:
        raise _naive(name, time.isoformat())
    try:
        utc = time.astimezone(timezone.utc)
    except OverflowError:
        raise _far(name, time) from None
    return datetime.combine(utc.date(), utc.time(), timezone.utc)


def format_time(time: datetime) -> str:
    """``time`` in UTC with a ``Z``, and no, three or six digits of a second's fraction."""
    timespec = (
        "microseconds" if time.microsecond % 1000 else "milliseconds" if time.microsecond else "seconds"
    )
    return time.astimezone(timezone.utc).replace(tzinfo=None).isoformat(timespec=timespec) + "Z"


def compact_time(time: datetime) -> str:
    """``time`` in UTC as a part of object names, such as ``20260101T000000Z``."""
    # Not strftime, which writes the year 1 with one digit on some platforms.
    return re.sub("[-:]", "", time.astimezone(timezone.utc).replace(tzinfo=None).isoformat()) + "Z"


def ceil(time: datetime, unit: timedelta) -> datetime:
    """The first whole ``unit`` at or after ``time``.

    :raises OverflowError: where it is beyond the year 9999.
    """
    rest = (time - _EPOCH) % unit
    return time + (unit - rest) if rest else time


def _parsed(name: str, text: str) -> datetime:
    match = _ISO_8601.fullmatch(text)
    if match and not match["offset"]:
        raise _naive(name, text)
    with suppress(ValueError):
        time = pendulum.parse(text) if match else None
        if isinstance(time, pendulum.DateTime) and time.utcoffset() is not None:
            return time
    raise InvalidRequest(
        f"{name} {text[:100]!r} is not an ISO 8601 time with an offset, such as 2026-01-01T00:00:00+00:00"
    )


def _naive(name: str, text: str) -> InvalidRequest:
    return InvalidRequest(
        f"{name} {text} has no time zone: write its offset, such as 2026-01-01T00:00:00+00:00"
    )


def _far(name: str, time: datetime) -> InvalidRequest:
    return InvalidRequest(
        f"{name} {time.isoformat()} is out of range: give a time in the years 1 to {MAXYEAR - 1}"
    )
