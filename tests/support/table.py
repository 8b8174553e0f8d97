"""The documented way back from a row of CSV or Parquet to its entry; it shares no code with the package."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pyarrow.parquet
import zstandard

from dev.simulator import generate_entries
from tests.conftest import HOUR, START

#: The columns that an entry has no part in, and all columns.
SOURCE = ["team_id", "connector_identifier"]
COLUMNS = [*SOURCE, "id", "log_time", "status", "event", "request", "duration_ms", "request_id", "extra"]

# Format, compression, suffix, and the compression that a manifest names.
KINDS = [
    ("jsonl", "auto", ".jsonl.gz", "gzip"),
    ("jsonl", "gzip", ".jsonl.gz", "gzip"),
    ("jsonl", "zstd", ".jsonl.zst", "zstd"),
    ("jsonl", "none", ".jsonl", None),
    ("jsonl", None, ".jsonl", None),
    ("csv", "auto", ".csv.gz", "gzip"),
    ("csv", "gzip", ".csv.gz", "gzip"),
    ("csv", "zstd", ".csv.zst", "zstd"),
    ("csv", "none", ".csv", None),
    ("parquet", "auto", ".parquet", "zstd"),
    ("parquet", "zstd", ".parquet", "zstd"),
    ("parquet", "snappy", ".parquet", "snappy"),
    ("parquet", "gzip", ".parquet", "gzip"),
    ("parquet", None, ".parquet", None),
]

ORDINARY = {
    "id": "123-foo",
    "log_time": "2026-01-01T00:00:00Z",
    "status": 200,
    "event": "auth.token.refresh",
    "request": "POST /api/oauth/token_refresh",
    "duration_ms": 253,
    "request_id": "8dc24bc2-8a17-4188-a509-217cb8799929",
}

ODD: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    # What differs from the ordinary entry; its columns; its `extra`.
    ({"vendor": {"a": [1, None]}}, {}, {"vendor": {"a": [1, None]}}),
    ({"extra": "x"}, {}, {"extra": "x"}),
    ({"team_id": 7}, {}, {"team_id": 7}),
    ({"connector_identifier": None}, {}, {"connector_identifier": None}),
    ({"status": None}, {"status": None}, {"status": None}),
    ({"status": "200"}, {"status": None}, {"status": "200"}),
    ({"status": 200.0}, {"status": None}, {"status": 200.0}),
    ({"status": True}, {"status": None}, {"status": True}),
    ({"status": 40_000}, {"status": None}, {"status": 40_000}),
    ({"duration_ms": 2**31}, {"duration_ms": 2**31}, {}),
    ({"duration_ms": 2**70}, {"duration_ms": None}, {"duration_ms": 2**70}),
    ({"id": 7}, {"id": None}, {"id": 7}),
    ({"id": "007"}, {"id": "007"}, {}),
    ({"event": "\ud800"}, {"event": None}, {"event": "\ud800"}),
    ({"request": 'a,"b"\r\n\nc\r😀 \t'}, {"request": 'a,"b"\r\n\nc\r😀 \t'}, {}),
    ({"log_time": "2026-01-01T00:00:00.250Z"}, {"log_time": "2026-01-01T00:00:00.250Z"}, {}),
    *(
        ({"log_time": text}, {"log_time": column}, {"log_time": text})
        for text, column in [
            ("2026-01-01", "2026-01-01T00:00:00Z"),
            ("2026-01-01T00:00:00+00:00", "2026-01-01T00:00:00Z"),
            ("2026-01-01T02:00:00+02:00", "2026-01-01T00:00:00Z"),
            ("2026-01-01T00:00:00.25Z", "2026-01-01T00:00:00.250Z"),
            ("2026-01-01T00:00:00.123456789Z", "2026-01-01T00:00:00.123456Z"),
        ]
    ),
]


def rebuilt(row: Mapping[str, Any]) -> dict[str, Any]:
    """The entry of a row: its own columns that are not null, and over them what ``extra`` holds."""
    others = (*SOURCE, "extra")
    entry = {name: value for name, value in row.items() if value is not None and name not in others}
    if isinstance(entry.get("log_time"), datetime):
        entry["log_time"] = printed(entry["log_time"])
    return entry | json.loads(row["extra"] or "{}")


def printed(time: datetime) -> str:
    """A time in UTC with Z, and no, three or six digits of fraction."""
    text = time.replace(tzinfo=None).isoformat(timespec="microseconds")
    return (text.removesuffix("000").removesuffix(".000") if text.endswith("000") else text) + "Z"


def decompressed(data: bytes, suffix: str) -> bytes:
    """The bytes without the compression that the end of the name indicates."""
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
    whole = ("team_id", "status", "duration_ms")
    return {k: None if not v else int(v) if k in whole else v for k, v in row.items()}


def exact(value: Any) -> str:
    """Return a string that differs for values such as True, 1 and 1.0, which are equal."""
    return json.dumps(value, sort_keys=True)


def odd_log() -> list[dict[str, Any]]:
    """A log of three pages with an odd entry here and there, in the window's hour and the one after."""
    entries = generate_entries(count=3000, start=START, end=START + 2 * HOUR, seed=5)
    for number, (change, _, _) in enumerate(ODD):
        # Their own times are at the window's start: in the log, the API sorts them there.
        entries[number * 50] |= {"log_time": (START + timedelta(seconds=number)).isoformat(), **change}
    del entries[77]["event"]
    entries[78]["request"] = 'GET /\U0001f600?q="a,b"\r\n\n\tz\u2028'
    return entries
