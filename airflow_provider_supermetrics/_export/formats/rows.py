"""An entry as a row: a typed column for each field that the API documents, and one for all other values.

In front of them are the columns of :class:`Source`, which are no part of the entry.

The rule: **an entry can be rebuilt from its row exactly.** A value that its column can represent unchanged is
stored in that column. Any other value (of another type, out of range, null, or of an undocumented field) is
stored under its own name in the column ``extra``, a JSON object. To rebuild the entry, take the other columns
that are not null and update them with ``extra``.

Only ``log_time`` has a value even where that value is not exact, because tables are filtered by it: it is the
time in UTC, truncated to microseconds. Where the API did not print it as :func:`format_time` does, ``extra``
contains the original string as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, islice, repeat
from operator import attrgetter
from types import NoneType
from typing import Annotated, Any, Final, Union

import msgspec
from msgspec import UNSET, Meta, UnsetType

from airflow_provider_supermetrics._api.entry import SCHEMA, Fields, decode, encode
from airflow_provider_supermetrics._api.times import AwareTime, format_time, parse_log_time

#: The columns that are the same in each row, and their types.
SOURCE: Final = {"team_id": "int64", "connector_identifier": "string"}
#: The columns, in order, and their types.
COLUMNS: Final = {**SOURCE, **SCHEMA, "extra": "string"}

_LONG: Final = 1 << 20

#: One value for each column of the entry; a time is a string, as :func:`format_time` prints it.
Row = tuple[Any, ...]
#: A sequence for each of these columns, of the same length.
Table = Sequence[Sequence[Any]]
Text = Callable[[Any], "str | None"]


def text(value: Any) -> str | None:
    """Return the value if it is a string that UTF-8 can encode, without lone surrogates; else None."""
    if type(value) is not str:
        return None
    try:
        value.encode()
    except UnicodeEncodeError:
        return None
    return value


def row(entry: Fields, text: Text = text) -> Row:
    """Return the entry as a row.

    :param entry: the fields; those that become columns are removed from it.
    :param text: returns a value as the string that a column can represent, or None where it cannot. It must
        accept each string that is not empty, and has neither a NUL nor a lone surrogate.
    """
    values: list[Any] = []
    for name, kind in SCHEMA.items():
        column: Any
        value = entry.get(name)
        if kind == "timestamp":
            column = _printed(value) if isinstance(value, str) else None
            is_exact = column is not None and column == value
        else:
            column = text(value) if kind == "string" else _integer(value, _LIMITS[kind])
            is_exact = column is not None
        if is_exact:
            del entry[name]
        values.append(column)
    return (*values, encode(entry).decode() if entry else None)


def tables(blocks: Iterable[bytes], size: int | None = None, text: Text = text) -> Iterator[Table]:
    """Yield the entries as columns.

    :param blocks: the entries as lines of JSON; each block contains complete lines.
    :param size: rows of each table but the last, however the blocks were cut; with None, a table has the rows
        of a block, or fewer where they are long.
    :param text: see :func:`row`.
    """
    for block in _halved(blocks) if size is None else _cut(blocks, size):
        if (table := _usual_table(block)) is None:
            lines = block.splitlines(keepends=True)
            rows = [_only_row(_usual_table(line)) or row(decode(line), text) for line in lines]
            table = list(zip(*rows, strict=True))
        yield table


def _halved(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The blocks; those above 1 MB in halves, because a table takes several times the memory of its block."""
    for block in blocks:
        middle = block.find(b"\n", len(block) // 2) + 1
        if len(block) <= _LONG or not 0 < middle < len(block):
            yield block
        else:
            yield from _halved((block[:middle], block[middle:]))


def _cut(blocks: Iterable[bytes], size: int) -> Iterator[bytes]:
    lines = chain.from_iterable(block.splitlines(keepends=True) for block in blocks)
    while batch := list(islice(lines, size)):
        yield b"".join(batch)


# The shortcut: it converts ordinary lines all at once, in an eighth of the time. :func:`row` is the rule.

_LIMITS: Final = {"int16": 1 << 15, "int64": 1 << 63}
_TYPES: Final[dict[str, Any]] = {
    "string": Annotated[str, Meta(min_length=1)],
    "timestamp": str,
    **{kind: Annotated[int, Meta(ge=-limit, le=limit - 1)] for kind, limit in _LIMITS.items()},
}
_Usual = msgspec.defstruct(
    "_Usual",
    [(name, Union[_TYPES[kind], None, UnsetType], UNSET) for name, kind in SCHEMA.items()],  # noqa: UP007  # its members are values
    gc=False,
    forbid_unknown_fields=True,
)
_decode_usual = msgspec.json.Decoder(_Usual).decode_lines
_encode_usual = msgspec.json.Encoder().encode_lines
_encode = msgspec.json.Encoder().encode
_LOG_TIME: Final = list(SCHEMA).index("log_time")
_FIELDS: Final = [attrgetter(name) for name in SCHEMA]


def _usual_table(block: bytes) -> Table | None:
    """Return the columns of the rows that :func:`row` returns, or None where it could differ."""
    try:
        entries = _decode_usual(block)
    except msgspec.DecodeError:
        return None
    if b"\\" in block and b"\\u0000" in block:
        return None
    table: list[list[Any]] = [list(map(field, entries)) for field in _FIELDS]
    if not _are_exact(table[_LOG_TIME]):
        return None
    kinds = [set(map(type, column)) for column in table]
    extra: Sequence[str | None] = [None] * len(entries)
    if any(NoneType in kind for kind in kinds):
        columns = zip(table, kinds, strict=True)
        nulls = ([value is None for value in c] if NoneType in k else repeat(False) for c, k in columns)
        extra = list(map(_extra, *nulls))
        # ``extra`` keeps the line's order, which is that of the columns where this encodes as the block.
        has_several = any(names and names.count(":") > 1 for names in set(extra))
        if has_several and _encode_usual(entries) != block:
            return None
    for column, kind in zip(table, kinds, strict=True):
        if UnsetType in kind:
            column[:] = [None if value is UNSET else value for value in column]
    return [*table, extra]


def _only_row(table: Table | None) -> Row | None:
    return None if table is None else tuple([value for (value,) in table])


def _are_exact(times: Sequence[str | UnsetType | None]) -> bool:
    """Whether all are times as :func:`format_time` prints them; those to the second are known at once."""
    try:
        printed = _encode(msgspec.convert(times, list[AwareTime]))
        if printed == _encode(times) and b"." not in printed and printed.count(b'Z"') == len(times):
            return True
    except (msgspec.ValidationError, TypeError):
        pass  # others than strings, or other strings
    return all(isinstance(time, str) and _printed(time) == time for time in set(times))


@lru_cache(maxsize=8192)
def _printed(text: str) -> str | None:
    """Return the time as :func:`format_time` prints it; None where it is no time."""
    try:
        return format_time(parse_log_time(text).at)
    except (ValueError, OverflowError):
        return None


@lru_cache
def _extra(*are_null: bool) -> str | None:
    """The column ``extra`` of an entry in whose columns nothing but these nulls is missing."""
    names = [name for name, is_null in zip(SCHEMA, are_null, strict=True) if is_null]
    return encode(dict.fromkeys(names)).decode() if names else None


def _integer(value: Any, limit: int) -> int | None:
    # Excludes True and 1.0, although they equal 1.
    return value if type(value) is int and -limit <= value < limit else None
