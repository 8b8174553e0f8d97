"""A log entry, read once: when it happened, what identifies it, the line it is stored as.

Only ``log_time`` is required of an entry, because only without that could going on lose data; every other
field stays as the API sent it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from json.decoder import JSONDecoder
from typing import Any, Final, NamedTuple, NoReturn

import msgspec

from airflow_provider_supermetrics._api.errors import ContractViolation
from airflow_provider_supermetrics._api.text import quoted
from airflow_provider_supermetrics._api.times import parse_log_time

Fields = dict[str, Any]


class Field(NamedTuple):
    """A field that the API's page names, and its type."""

    name: str
    type: str


#: What the API's page says of an entry; production may send other fields, and leave some out.
SCHEMA: Final = (
    Field("id", "string"),
    Field("log_time", "timestamp"),
    Field("status", "integer"),
    Field("event", "string"),
    Field("request", "string"),
    Field("duration_ms", "integer"),
    Field("request_id", "string"),
)

# Of the API's page.
_MAX_ID_LENGTH = 255
# In a page without one of these no entry has space between its tokens.
_LOOSE = (b'": ', b', "', b"\n", b"\r", b"\t")


class LogEntry(msgspec.Struct, frozen=True, gc=False):
    """One entry.

    :param time: when it happened, as printed, in UTC.
    :param tick: the precision that the time is printed with.
    :param key: what two copies of the same entry share; a short string that any store can hold.
    :param line: the entry as one line of JSON, in UTF-8, without the line's end; fields keep their order.
    """

    time: datetime
    tick: timedelta
    key: str
    line: bytes

    @property
    def fields(self) -> Fields:
        """The entry as a dictionary, decoded each time."""
        return decode(self.line)


class _Page(msgspec.Struct, gc=False):
    logs: list[msgspec.Raw]


class _Head(msgspec.Struct, gc=False):
    log_time: Any = None
    id: Any = None


_page_decoder = msgspec.json.Decoder(_Page)
_head_decoder = msgspec.json.Decoder(_Head)
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
    is_loose = any(mark in body for mark in _LOOSE)
    counts: Counter[str] = Counter()
    entries = []
    for raw in slices:
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
        else:  # equal entries without an id are told apart by their count
            key = f"content:{_digest(decode(raw))}"
            counts[key] += 1
            key = f"{key}#{counts[key]}"
        entries.append(
            LogEntry(time.at, time.tick, key, encode(decode(raw)) if is_loose and _is_loose(raw) else raw)
        )
    return entries


def read_line(line: bytes) -> LogEntry:
    """Read one entry.

    :raises ContractViolation: see :func:`read_page`.
    """
    return read_page(b'{"logs":[' + line + b"]}")[0]


def encode(fields: Fields) -> bytes:
    """The fields as one line of JSON, in UTF-8, in their order."""
    try:
        return _encoder.encode(fields)
    except UnicodeEncodeError:  # a lone surrogate has no UTF-8 form; JSON's escape keeps it
        return json.dumps(fields, separators=(",", ":")).encode("ascii")


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
        return _Head(fields.get("log_time"), fields.get("id"))


def _slices(body: bytes) -> list[bytes]:
    """The bytes of each entry."""
    try:
        body.decode()  # msgspec does not look into what it keeps raw
        return [bytes(raw) for raw in _page_decoder.decode(body).logs]
    except msgspec.ValidationError:
        raise ContractViolation("the response has no list 'logs'") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:  # slower, but it reads a lone surrogate, which must not block a whole window
        return [one.encode() for one in _slices_of_text(body.decode())]
    except ContractViolation:
        raise
    except (ValueError, RecursionError, IndexError):
        raise ContractViolation("the response is not JSON") from None


def _slices_of_text(text: str) -> Iterator[str]:
    decoder = JSONDecoder(parse_constant=_refuse)
    document = decoder.decode(text)
    if not isinstance(document, dict) or not isinstance(document.get("logs"), list):
        raise ContractViolation("the response has no list 'logs'")
    if not all(isinstance(entry, dict) for entry in document["logs"]):
        raise ContractViolation("the response has something other than objects in 'logs'")
    at = _skip(text, text.index("{") + 1)
    while text[at] != "}":
        key, at = decoder.raw_decode(text, at)
        at = _skip(text, _skip(text, at) + 1)
        if key == "logs":
            at = _skip(text, at + 1)
            while text[at] != "]":
                _, end = decoder.raw_decode(text, at)
                yield text[at:end]
                at = _skip(text, end)
            at += 1
        else:
            _, at = decoder.raw_decode(text, at)
        at = _skip(text, at)


def _skip(text: str, at: int) -> int:
    """The next position that is neither white space nor a comma."""
    while text[at] in " \t\r\n,":
        at += 1
    return at


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
