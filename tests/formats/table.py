"""The documented way back from a row of CSV or Parquet to its entry; it shares no code with the package."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pyarrow.parquet
import zstandard

COLUMNS = ["id", "log_time", "status", "event", "request", "duration_ms", "request_id", "extra"]


def rebuilt(row: Mapping[str, Any]) -> dict[str, Any]:
    """The entry of a row: its columns that are not null, and over them what ``extra`` holds."""
    entry = {name: value for name, value in row.items() if value is not None and name != "extra"}
    if isinstance(entry.get("log_time"), datetime):
        entry["log_time"] = printed(entry["log_time"])
    return entry | json.loads(row["extra"] or "{}")


def printed(time: datetime) -> str:
    """A time in UTC with Z, and no, three or six digits of fraction."""
    text = time.replace(tzinfo=None).isoformat(timespec="microseconds")
    return (text.removesuffix("000").removesuffix(".000") if text.endswith("000") else text) + "Z"


def decompressed(data: bytes, suffix: str) -> bytes:
    """The bytes without the compression that the name's end tells."""
    if suffix.endswith(".gz"):
        return gzip.decompress(data)
    if suffix.endswith(".zst"):
        return zstandard.ZstdDecompressor().stream_reader(data).read()
    return data


def entries_of(data: bytes, suffix: str) -> list[dict[str, Any]]:
    """The entries of an object of any format."""
    if suffix == ".parquet":
        return [rebuilt(row) for row in pyarrow.parquet.read_table(io.BytesIO(data)).to_pylist()]
    text = decompressed(data, suffix).decode()
    if suffix.startswith(".jsonl"):
        return [json.loads(line) for line in text.split("\n")[:-1]]
    rows = csv.DictReader(io.StringIO(text, newline=""))
    assert rows.fieldnames == COLUMNS
    return [rebuilt(_typed(row)) for row in rows]


def _typed(row: dict[str, str]) -> dict[str, Any]:
    """A row of CSV with its types: an empty cell is no value."""
    whole = ("status", "duration_ms")
    return {k: None if not v else int(v) if k in whole else v for k, v in row.items()}
