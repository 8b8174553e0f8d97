"""An entry as a row: a typed column for each field that the API documents, and one for all other values.

The rule: **an entry can be rebuilt from its row exactly.** A value that its column can represent unchanged is
in the column. Every other one (of another type, out of range, null, of another name) is under its own name in
the column ``extra``, a JSON object. So an entry is its columns that are not null, updated with ``extra``.

Only ``log_time`` has a value even where it is not exact, because tables are filtered by it: the time in UTC,
cut to microseconds. Where the API did not print it as :func:`format_time` does, the original string is in
``extra``, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from airflow_provider_supermetrics._api.entry import SCHEMA, Fields, decode, encode
from airflow_provider_supermetrics._api.times import format_time, parse_log_time

#: The columns, in their order, and their types.
COLUMNS: Final = {**SCHEMA, "extra": "string"}

Row = tuple[Any, ...]


def text(value: Any) -> str | None:
    """The value, if it is a string that UTF-8 can encode, so without lone surrogates; else None."""
    if type(value) is not str:
        return None
    try:
        value.encode()
    except UnicodeEncodeError:
        return None
    return value


def row(entry: Fields, text: Callable[[Any], str | None] = text) -> Row:
    """The entry as a row.

    :param entry: the fields, which are removed from it.
    :param text: returns a string as a column can represent it, or None where it cannot.
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
    """The entries in blocks of whole lines."""
    for block in blocks:
        for one in block.splitlines():
            yield decode(one)


@lru_cache(maxsize=8192)
def _time(text: str) -> tuple[datetime | None, bool]:
    """The time, and whether :func:`format_time` prints it in the same way."""
    try:
        at = parse_log_time(text).at
    except (ValueError, OverflowError):
        return None, False
    return at, format_time(at) == text


def _integer(value: Any, bits: int) -> int | None:
    # Neither True nor 1.0, which equal 1.
    return value if type(value) is int and -(1 << bits - 1) <= value < 1 << bits - 1 else None
