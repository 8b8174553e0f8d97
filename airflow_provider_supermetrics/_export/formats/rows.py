"""An entry as a row: a typed column for each field that the API documents, and one for all other values.

The rule: **an entry can be rebuilt from its row exactly.** A value that its column can represent unchanged is
stored in that column. Any other value (of another type, out of range, null, or of an undocumented field) is
stored under its own name in the column ``extra``, a JSON object. To rebuild the entry, take the columns that
are not null and update them with ``extra``.

Only ``log_time`` has a value even where that value is not exact, because tables are filtered by it: it is the
time in UTC, truncated to microseconds. Where the API did not print it as :func:`format_time` does, ``extra``
contains the original string as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from airflow_provider_supermetrics._api.entry import SCHEMA, Fields, decode, encode
from airflow_provider_supermetrics._api.times import format_time, parse_log_time

#: The columns, in order, and their types.
COLUMNS: Final = {**SCHEMA, "extra": "string"}

Row = tuple[Any, ...]


def text(value: Any) -> str | None:
    """Return the value if it is a string that UTF-8 can encode, without lone surrogates; else None."""
    if type(value) is not str:
        return None
    try:
        value.encode()
    except UnicodeEncodeError:
        return None
    return value


def row(entry: Fields, text: Callable[[Any], str | None] = text) -> Row:
    """Return the entry as a row.

    :param entry: the fields; those that become columns are removed from it.
    :param text: returns a value as the string that a column can represent, or None where it cannot.
    """
    values: list[Any] = []
    for name, kind in SCHEMA.items():
        column: Any
        value = entry.get(name)
        if kind == "timestamp":
            column, is_exact = _time(value) if isinstance(value, str) else (None, False)
        else:
            column = text(value) if kind == "string" else _integer(value, int(kind.removeprefix("int")))
            is_exact = column is not None
        if is_exact:
            del entry[name]
        values.append(column)
    return (*values, encode(entry).decode() if entry else None)


def entries(blocks: Iterable[bytes]) -> Iterator[Fields]:
    """Yield the entries in blocks of complete lines."""
    for block in blocks:
        for one in block.splitlines():
            yield decode(one)


@lru_cache(maxsize=8192)
def _time(text: str) -> tuple[datetime | None, bool]:
    """Return the time, and whether :func:`format_time` prints it in the same way."""
    try:
        at = parse_log_time(text).at
    except (ValueError, OverflowError):
        return None, False
    return at, format_time(at) == text


def _integer(value: Any, bits: int) -> int | None:
    # Excludes True and 1.0, although they equal 1.
    return value if type(value) is int and -(1 << bits - 1) <= value < 1 << bits - 1 else None
