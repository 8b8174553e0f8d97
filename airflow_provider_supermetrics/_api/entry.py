"""A log entry, read once: when it happened, what identifies it, the line it is stored as.

Only ``log_time`` is required of an entry, because only without that could entries be lost; every other field
stays as the API sent it.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import repeat
from typing import Annotated, Any, Final

import msgspec

from airflow_provider_supermetrics._api.errors import ContractViolation
from airflow_provider_supermetrics._api.text import quoted
from airflow_provider_supermetrics._api.times import SECOND, AwareTime, parse_log_time

Fields = dict[str, Any]
# msgspec reads an integer as one, for which float alone would not do.
Number = int | float

#: The fields that the API's page documents, and their types, for filters, columns and lineage. Production may
#: send others, and leave some out.
SCHEMA: Final = {
    "id": "string",
    "log_time": "timestamp",
    "status": "int16",
    "event": "string",
    "request": "string",
    "duration_ms": "int64",
    "request_id": "string",
}

# Of the API's page.
_MAX_ID_LENGTH = 255
MAX_DURATION = 2**63 - 1
# An entry with a line break, or with space around the field that each of them has, is encoded again. Other
# space may stay: to look for it would take a tenth of an export's CPU time.
_LOOSE = (b'"log_time": ', b', "log_time"', b"\n", b"\r", b"\t")
_DIGITS = re.compile(r"\s*\d{1,9}\s*", re.ASCII)
# The beginning of its escape.
_SURROGATE = re.compile(rb"\\u(?=[dD][89a-fA-F][0-9a-fA-F]{2})")


class LogEntry(msgspec.Struct, frozen=True, gc=False):
    """One entry.

    :param time: when it happened, as printed, in UTC.
    :param tick: the precision that the time is printed with.
    :param key: what two copies of the same entry share; a short string that any store can hold.
    :param line: the entry as one line of JSON, in UTF-8, without the line's end; fields keep their order.
    :param status: its status, as :func:`read_status` reads it.
    :param duration_ms: its duration, where that is a number from 0 to 2**63 - 1.
    """

    time: datetime
    tick: timedelta
    key: str
    line: bytes
    status: Number | None = None
    duration_ms: Number | None = None

    @property
    def fields(self) -> Fields:
        """The entry as a dictionary, decoded each time."""
        return decode(self.line)


class _Page(msgspec.Struct, gc=False):
    logs: list[msgspec.Raw]


class _Head(msgspec.Struct, gc=False):
    log_time: Any = None
    id: Any = None
    status: Any = None
    duration_ms: Any = None


class _UsualHead(msgspec.Struct, gc=False):
    """As the API's page shows an entry: a string as id, integers, a time to the second, of 20 characters."""

    log_time: Annotated[str, msgspec.Meta(max_length=20)]
    id: Annotated[str, msgspec.Meta(max_length=_MAX_ID_LENGTH)]
    status: int | None = None
    duration_ms: Annotated[int, msgspec.Meta(ge=0, le=MAX_DURATION)] | None = None


class _UsualHeads(msgspec.Struct, gc=False):
    logs: list[_UsualHead]


_page_decoder = msgspec.json.Decoder(_Page)
_head_decoder = msgspec.json.Decoder(_Head)
_usual_heads_decoder = msgspec.json.Decoder(_UsualHeads)
_decoder = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder(decimal_format="number")


def read_page(body: bytes, limit: int | None = None) -> list[LogEntry]:
    """Read the entries of a page, in its order.

    :param limit: how many there may be.
    :raises ContractViolation: when the body is not JSON, has no list ``logs`` or a longer one, or an entry
        of it is no object or has no readable ``log_time``.
    """
    slices = _slices(body)
    if limit is not None and len(slices) > limit:
        raise ContractViolation(f"the response has {len(slices)} entries, but {limit} were requested at most")
    lines = slices
    if any(mark in body for mark in _LOOSE):
        lines = [encode(decode(raw)) if _is_loose(raw) else raw for raw in slices]
    return _usual_entries(body, lines) or _entries(slices, lines)


def _usual_entries(body: bytes, lines: Sequence[bytes]) -> list[LogEntry] | None:
    """The entries of a page, decoded at once, where all are usual; else None."""
    try:
        heads = _usual_heads_decoder.decode(body).logs
        times = msgspec.convert([head.log_time for head in heads], list[AwareTime])
    except (msgspec.DecodeError, RecursionError):
        return None
    keys = [f"id:{head.id}" for head in heads]
    joined = "".join(keys)
    if not joined.isascii() or "\0" in joined:
        return None
    statuses = [head.status for head in heads]
    durations = [head.duration_ms for head in heads]
    return list(map(LogEntry, times, repeat(SECOND), keys, lines, statuses, durations))


def _entries(slices: Sequence[bytes], lines: Sequence[bytes]) -> list[LogEntry]:
    """The entries of any page, one by one."""
    counts: Counter[str] = Counter()
    entries = []
    for raw, line in zip(slices, lines, strict=True):
        head = _read_head(raw)
        try:
            time = parse_log_time(head.log_time)  # anything but a string raises TypeError
        except (TypeError, ValueError, OverflowError):
            raise ContractViolation(
                f"entry {quoted(head.id)} has no readable log_time, but {quoted(head.log_time)}"
            ) from None
        key = head.id
        if type(key) is str and len(key) <= _MAX_ID_LENGTH and key.isascii() and "\0" not in key:
            key = f"id:{key}"
        elif key is not None:
            key = f"{type(key).__name__}:{_digest(key)}"
        else:  # their count distinguishes equal entries without an id
            key = f"content:{_digest(decode(raw))}"
            counts[key] += 1
            key = f"{key}#{counts[key]}"
        status, duration = read_status(head.status), _read_duration(head.duration_ms)
        entries.append(LogEntry(time.at, time.tick, key, line, status, duration))
    return entries


def read_line(line: bytes) -> LogEntry:
    """Read one entry, as :func:`read_page` does."""
    return read_page(b'{"logs":[' + line + b"]}")[0]


def read_status(value: Any) -> Number | None:
    """The status that the API means: a number, also as a string of digits; else None, which is no error."""
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _read_duration(value: Any) -> Number | None:
    return value if type(value) in (int, float) and 0 <= value <= MAX_DURATION else None


def encode(fields: Fields) -> bytes:
    """The fields as one line of JSON, in UTF-8, in their order."""
    try:
        return _encoder.encode(fields)
    except UnicodeEncodeError:  # a lone surrogate has no UTF-8 form; JSON's escape keeps it
        return _escaped(fields)


def _escaped(fields: Fields) -> bytes:
    """The fields in ASCII; json writes no Decimal, so a mark stands for its quotes."""
    mark = "number"
    while mark in json.dumps(fields, default=str):
        mark += "_"
    text = json.dumps(fields, separators=(",", ":"), default=lambda number: f"{mark}{number}")
    return re.sub(f'"{mark}([^"]*)"', r"\1", text).encode("ascii")


def decode(line: bytes) -> Fields:
    """The fields of a line."""
    try:
        fields: Fields = _decoder.decode(line)
    except msgspec.DecodeError:  # a lone surrogate, or a number that no float holds
        fields = json.loads(line, parse_float=_exact)
    return fields


def _exact(text: str) -> float | Decimal:
    number = float(text)
    return Decimal(text) if math.isinf(number) else number


def _is_loose(raw: bytes) -> bool:
    return any(mark in raw for mark in _LOOSE)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _read_head(raw: bytes) -> _Head:
    try:
        return _head_decoder.decode(raw)
    except msgspec.ValidationError:
        raise ContractViolation("the response has something other than objects in 'logs'") from None
    except msgspec.DecodeError:  # a lone surrogate
        fields = json.loads(raw)
        return _Head(*(fields.get(name) for name in _Head.__struct_fields__))


def _slices(body: bytes) -> list[bytes]:
    """The bytes of each entry."""
    try:
        body.decode()  # msgspec does not look into what it keeps raw
        return [bytes(raw) for raw in _page_decoder.decode(body).logs]
    except msgspec.ValidationError:
        raise ContractViolation("the response has no list 'logs'") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        if not _SURROGATE.search(body):
            raise ContractViolation("the response is not JSON") from None
    # msgspec reads no lone surrogate, which must not block a whole window. So it reads a mark in its place.
    mark = b"\\u0000"
    while mark in body:
        mark += b"_"
    masked = _SURROGATE.sub(lambda _: mark, body)
    return [raw.replace(mark, b"\\u") for raw in _slices(masked)]
