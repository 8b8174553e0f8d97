"""CSV: a header, then one row for each entry."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any, BinaryIO

from airflow_provider_supermetrics._api.entry import Fields
from airflow_provider_supermetrics._api.times import format_time
from airflow_provider_supermetrics._export.formats import rows as _rows
from airflow_provider_supermetrics._export.formats.base import TextFormat, compressed

# Python's own csv module quotes a lone carriage return from 3.13 on only.
_QUOTED = re.compile(r'[",\r\n]')


class Csv(TextFormat):
    """The columns of :mod:`rows`, quoted as RFC 4180 requires, in UTF-8; lines end in a line feed.

    An empty cell means no value. So an empty string is in ``extra``, and so is one with a NUL, which many
    readers refuse.
    """

    format = "csv"

    def write(self, raw: BinaryIO, blocks: Iterable[bytes]) -> None:
        """Write one part: see :class:`FileFormat`."""
        with compressed(raw, self.compression) as file:
            file.write(",".join(_rows.COLUMNS).encode() + b"\n")
            for block in blocks:
                file.write("".join(map(_line, _rows.entries([block]))).encode())


def _line(entry: Fields) -> str:
    return ",".join(map(_cell, _rows.row(entry, _text))) + "\n"


def _text(value: Any) -> str | None:
    return None if value == "" or (found := _rows.text(value)) is None or "\0" in found else found


def _cell(value: str | int | datetime | None) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return format_time(value)
    if isinstance(value, str) and _QUOTED.search(value):
        return '"' + value.replace('"', '""') + '"'
    return str(value)
