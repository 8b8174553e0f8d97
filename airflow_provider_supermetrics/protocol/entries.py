"""A log entry: when it happened, what makes it the same entry again, its line in a file.

An entry stays the dictionary that the API sent. Only ``log_time`` is required of it, because only
without that could going on lose data; every other field is kept as it came.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from airflow_provider_supermetrics.protocol.errors import ContractViolation
from airflow_provider_supermetrics.protocol.text import quoted

Entry = dict[str, Any]

_TIME = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)"
    r"(?:[T ](?P<minutes>\d\d:\d\d)(?:(?P<seconds>:\d\d)(?:[.,](?P<fraction>\d{1,12}))?)?"
    r"\s?(?:(?P<utc>[Zz])|(?P<sign>[+-])(?P<hours>[01]\d|2[0-3]):?(?P<offset_minutes>[0-5]\d)?)?)?",
    re.ASCII,
)
_SECOND = timedelta(seconds=1)
_MICROSECOND = timedelta(microseconds=1)
# Of the API's page.
_MAX_ID_LENGTH = 255
_encoder = msgspec.json.Encoder()


class LogTime(NamedTuple):
    """A printed time, in UTC, and the ``tick`` it was printed to: the real time is less than a tick away."""

    at: datetime
    tick: timedelta


@lru_cache(maxsize=8192)
def parse_time(text: str) -> LogTime:
    """Read a time as the API may print it: a date, or a time to minutes, seconds or any fraction of them.

    With ``Z``, an offset or neither, which is UTC. Digits beyond microseconds are cut off.

    :raises ValueError: for anything else.
    """
    if len(text) == 20 and text[4] == text[7] == "-" and text[10] == "T" and text[19] == "Z":
        return LogTime(datetime.fromisoformat(text[:19] + "+00:00"), _SECOND)
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"not a time: {text[:40]!r}")
    fraction = match["fraction"]
    if match["minutes"] is None:
        tick = timedelta(days=1)
    elif match["seconds"] is None:
        tick = timedelta(minutes=1)
    elif fraction is None:
        tick = _SECOND
    else:
        tick = max(timedelta(seconds=10.0 ** -len(fraction)), _MICROSECOND)
    clock = f"{match['minutes'] or '00:00'}{match['seconds'] or ':00'}.{(fraction or '')[:6]:0<6}"
    at = datetime.fromisoformat(f"{match['date']}T{clock}+00:00")
    if match["sign"]:
        offset = timedelta(hours=int(match["hours"]), minutes=int(match["offset_minutes"] or 0))
        at = at - offset if match["sign"] == "+" else at + offset
    return LogTime(at, tick)


def log_time(entry: Mapping[str, Any]) -> LogTime:
    """When the entry happened.

    :raises ContractViolation: when ``log_time`` is missing or cannot be read.
    """
    text = entry.get("log_time")
    try:
        return parse_time(text)  # anything but a text raises TypeError
    except (TypeError, ValueError, OverflowError):
        raise ContractViolation(
            f"entry {quoted(entry.get('id'))} has no readable log_time, but {quoted(text)}"
        ) from None


def log_times(entries: Iterable[Mapping[str, Any]]) -> list[LogTime]:
    """When each entry happened; :func:`log_time` for a page at once.

    :raises ContractViolation: when one ``log_time`` is missing or cannot be read.
    """
    try:
        return [parse_time(entry["log_time"]) for entry in entries]
    except (KeyError, TypeError, ValueError, OverflowError):
        return [log_time(entry) for entry in entries]


def identity(entry: Mapping[str, Any]) -> str:
    """A key that two copies of the same entry share: its id, or without one a digest of its content.

    It can be stored anywhere: a string that has a form in UTF-8, without NUL, of at most some hundred
    characters, whatever the id is.
    """
    entry_id = entry.get("id")
    if (
        type(entry_id) is str
        and len(entry_id) <= _MAX_ID_LENGTH
        and entry_id.isascii()
        and "\0" not in entry_id
    ):
        return f"id:{entry_id}"
    if entry_id is None:
        return f"content:{_digest(entry)}"
    return f"{type(entry_id).__name__}:{_digest(entry_id)}"


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def lines(entries: Iterable[Mapping[str, Any]]) -> list[bytes]:
    """Each entry as a line; :func:`line` for a page at once."""
    try:
        return [_encoder.encode(entry) for entry in entries]
    except UnicodeEncodeError:
        return [line(entry) for entry in entries]


def line(entry: Mapping[str, Any]) -> bytes:
    """The entry as one line of JSON, in UTF-8, without the line's end; fields keep their order."""
    try:
        return _encoder.encode(entry)
    except UnicodeEncodeError:  # a lone surrogate has no UTF-8 form; JSON's escape keeps it
        return json.dumps(entry, separators=(",", ":")).encode("ascii")
