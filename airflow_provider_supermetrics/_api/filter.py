"""Filter error entries, and summarise them for XCom and events."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from airflow_provider_supermetrics._api.entry import SCHEMA, Fields, read_status
from airflow_provider_supermetrics._api.errors import InvalidRequest
from airflow_provider_supermetrics._api.text import one_line, quoted
from airflow_provider_supermetrics._api.times import parse_log_time

_DIGITS = re.compile(r"\s*\d{1,9}\s*", re.ASCII)
_MOST_OTHERS = 10
# HTTP's have three digits. Some services send their own above 599.
_LARGEST_STATUS = 999


@dataclass(frozen=True)
class ErrorFilter:
    """What an entry must have to count; an entry without a status is no error.

    :param min_status: the lowest status that counts; without meaning where ``statuses`` is given.
    :param statuses: the statuses that count.
    :param events: the events that count; by default all.
    :param request_contains: a part of ``request``, upper or lower case; by default any request.
    """

    min_status: int = 400
    statuses: tuple[int, ...] | None = None
    events: tuple[str, ...] | None = None
    request_contains: str | None = None

    @classmethod
    def of(
        cls,
        *,
        min_status: int = 400,
        statuses: Collection[int] | None = None,
        events: Collection[str] | None = None,
        request_contains: str | None = None,
    ) -> ErrorFilter:
        """A filter, of values that were checked.

        :raises InvalidRequest: for what can match nothing, or means something else than it seems to.
        """
        if not _is_status(min_status):
            raise _refused("min_status", f"an integer from 0 to {_LARGEST_STATUS}, such as 400", min_status)
        if statuses is not None and not (_is_list(statuses) and all(map(_is_status, statuses))):
            kind = f"a list of integers from 0 to {_LARGEST_STATUS}, such as [403, 500]"
            raise _refused("statuses", kind, statuses)
        if events is not None and not (_is_list(events) and all(isinstance(e, str) and e for e in events)):
            raise _refused("events", "a list of strings, such as ['data.fetch']", events)
        if request_contains is not None and (not isinstance(request_contains, str) or not request_contains):
            raise _refused("request_contains", "a string, such as 'customers'", request_contains)
        return cls(
            min_status,
            None if statuses is None else tuple(sorted(set(statuses))),
            None if events is None else tuple(sorted(set(events))),
            request_contains,
        )

    def matches(self, entry: Mapping[str, Any]) -> bool:
        """Whether the entry counts."""
        status = read_status(entry.get("status"))
        if status is None:
            return False
        if status < self.min_status if self.statuses is None else status not in self.statuses:
            return False
        if self.events is not None and entry.get("event") not in self.events:
            return False
        if self.request_contains is None:
            return True
        request = entry.get("request")
        return isinstance(request, str) and self.request_contains.casefold() in request.casefold()

    def to_arguments(self) -> dict[str, Any]:
        """What :meth:`of` makes this filter of, as plain JSON values."""
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()
        }


@dataclass(frozen=True)
class Matches:
    """How many entries have matched, and the newest of them, small enough for a message.

    :param count: how many.
    :param entries: newest first; of equal times the one with the greater id first, whichever came first.
    """

    count: int = 0
    entries: tuple[dict[str, Any], ...] = ()

    def plus(self, entries: Sequence[Fields], max_entries: int) -> Matches:
        """These, too; ``max_entries`` of all are kept."""
        return self.merged(Matches(len(entries), tuple(map(brief, entries))), max_entries)

    def merged(self, other: Matches, max_entries: int) -> Matches:
        """Both; ``max_entries`` of all are kept."""
        if not other.count:
            return self
        newest = sorted([*self.entries, *other.entries], key=_newest, reverse=True)
        return Matches(self.count + other.count, tuple(newest[:max_entries]))


def newest_since(entries: Sequence[dict[str, Any]], since: datetime, most: int) -> tuple[dict[str, Any], ...]:
    """Those of :class:`Matches` from a time on, ``most`` of them."""
    return tuple(entry for entry in entries if parse_log_time(entry["log_time"]).at >= since)[:most]


def brief(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The entry with long strings cut, and with values that any JSON, msgpack, database or log line takes."""
    documented = {name: name for name in entry if name in SCHEMA}
    lines = {one_line(name): name for name in entry if name not in SCHEMA}
    # None takes the place of a documented one, as "log_time " would. Airflow's serialization refuses, or
    # takes for its own, what begins with two underscores.
    others = [line for line in lines if line not in SCHEMA and not line.startswith("__")]
    names = documented | {line: lines[line] for line in others[:_MOST_OTHERS]}
    return {line: _small(entry[name]) for line, name in names.items()}


def _newest(entry: Mapping[str, Any]) -> tuple[Any, str]:
    return parse_log_time(entry["log_time"]).at, str(entry.get("id"))


def _small(value: Any) -> Any:
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return value
    if not isinstance(value, str):
        try:
            value = json.dumps(value, default=str)
        except (ValueError, RecursionError):  # an integer of thousands of digits, or nested too deep
            value = quoted(value)
    return one_line(value)


def as_list(name: str, value: Any, kind: type) -> Any:
    """The list that a template gave as a string, or as its only item; None where it gave nothing.

    A string that begins with a bracket or a quote is JSON or a Python literal; another one has its items
    between commas. What is no list at all is left to :meth:`ErrorFilter.of`.

    :param kind: what the items are; those that are strings of digits become integers where it is ``int``.
    :raises InvalidRequest: for a literal that cannot be read.
    """
    if isinstance(value, str):
        value = _read_list(name, value.strip())
    if isinstance(value, kind):
        value = [value]
    if kind is int and _is_list(value):
        return [as_integer(item) for item in value]
    return value


def read_filter(
    min_status: Any = 400, statuses: Any = None, events: Any = None, request_contains: Any = None
) -> ErrorFilter:
    """The filter of arguments that templates may have given.

    :raises InvalidRequest: see :meth:`ErrorFilter.of`.
    """
    return ErrorFilter.of(
        min_status=as_integer(min_status),
        statuses=as_list("statuses", statuses, int),
        events=as_list("events", events, str),
        request_contains=request_contains or None,
    )


def as_integer(value: Any) -> Any:
    """The integer that a template gave as a string of digits; anything else is left to who checks it."""
    return int(value) if isinstance(value, str) and _DIGITS.fullmatch(value) else value


def _read_list(name: str, text: str) -> Any:
    if text in ("", "None"):
        return None
    if text[0] not in "[({'\"":
        return [part.strip() for part in text.removesuffix(",").split(",")]
    for read in (json.loads, ast.literal_eval):
        with suppress(ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return read(text)
    raise _refused(name, "a list, such as ['a', 'b'] or a,b", text)


def _refused(name: str, kind: str, value: Any) -> InvalidRequest:
    return InvalidRequest(f"{name} must be {kind}, not {quoted(value)}")


def _is_list(value: Any) -> bool:
    return isinstance(value, Collection) and not isinstance(value, (str, bytes, Mapping)) and len(value) > 0


def _is_status(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST_STATUS
