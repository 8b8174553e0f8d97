"""CSV: a header, then one row for each entry."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from types import NoneType
from typing import Any, BinaryIO, Final

import msgspec

from airflow_provider_supermetrics._export.formats import rows as _rows
from airflow_provider_supermetrics._export.formats.base import Source, TextFormat, compressed

# Python's own csv module quotes a lone carriage return from 3.13 on only.
_SPECIAL: Final = '",\r\n'
_QUOTED: Final = re.compile(f"[{_SPECIAL}]")


class Csv(TextFormat):
    """The columns of :mod:`rows`, quoted as RFC 4180 requires, in UTF-8; lines end in a line feed.

    An empty cell means no value. So an empty string is in ``extra``, and so is one with a NUL, which many
    readers refuse.
    """

    format = "csv"
    version = 2

    def write(self, raw: BinaryIO, blocks: Iterable[bytes], source: Source) -> None:
        """Write one part: see :class:`FileFormat`."""
        begin_row = f"\n{source.team_id},{_quoted(source.connector_identifier)},"
        with compressed(raw, self.compression) as file:
            file.write(",".join(_rows.COLUMNS).encode())
            for table in _rows.tables(blocks, text=_text):
                rows = map(",".join, zip(*map(_cells, table), strict=True))
                file.write(begin_row.join(["", *rows]).encode())
            file.write(b"\n")


def _text(value: Any) -> str | None:
    return None if value == "" or (found := _rows.text(value)) is None or "\0" in found else found


def _cells(column: Sequence[Any]) -> Sequence[str]:
    """Return the cells of a column, whose values are all strings or all integers, apart from nulls."""
    kinds = set(map(type, column))
    if int in kinds:  # the fastest way from integers to strings
        return msgspec.json.encode(column)[1:-1].decode().replace("null", "").split(",")
    cells = [value or "" for value in column] if NoneType in kinds else column
    text = "".join(cells)
    if not any(character in text for character in _SPECIAL):  # most columns need no quotes
        return cells
    quoted = {cell: _quoted(cell) for cell in set(cells)}
    return [quoted[cell] for cell in cells]


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if _QUOTED.search(cell) else cell
