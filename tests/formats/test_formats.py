"""What each format promises: the way back to the entries, one schema, the same bytes, clear refusals."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections import Counter
from typing import Any

import pyarrow
import pyarrow.compute
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_supermetrics._api.entry import encode
from airflow_provider_supermetrics._export.formats import Source, file_format
from airflow_provider_supermetrics.exceptions import SupermetricsValidationError
from tests.conftest import CONNECTOR, TEAM
from tests.support.any_json import fields, texts, values
from tests.support.table import COLUMNS, KINDS, ODD, ORDINARY, SOURCE, decompressed, entries_of, exact

pytestmark = pytest.mark.airflow_2

each_kind = pytest.mark.parametrize(("format", "compression"), [kind[:2] for kind in KINDS])
each_table = pytest.mark.parametrize("format", ["csv", "parquet"])
HERE = Source(TEAM, CONNECTOR)


def written(
    entries: list[dict[str, Any]],
    format: str,
    compression: str | None = "auto",
    block: int = 1000,
    source: Source = HERE,
) -> bytes:
    """An object of these entries."""
    lines = [encode(entry) for entry in entries]
    blocks = [b"\n".join(lines[i : i + block]) + b"\n" for i in range(0, len(lines), block)]
    raw = io.BytesIO()
    file_format(format, compression).write(raw, blocks, source)
    return raw.getvalue()


# Entries come back


any_entry = st.builds(
    lambda known, unknown: {**unknown, **known},
    st.fixed_dictionaries({}, optional=fields),
    st.dictionaries(texts | st.sampled_from(["extra", *SOURCE]), values, max_size=2),
)


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
@settings(deadline=None)  # the first Parquet file takes pyarrow's import
@given(entries=st.lists(any_entry, min_size=1, max_size=5))
def test_every_entry_comes_back(kind: str, entries: list[dict[str, Any]]) -> None:
    """Whatever JSON the API sends, even under names of the table: the row gives back only those fields."""
    back = entries_of(written(entries, kind, None), f".{kind}")
    # As JSON has them: two halves of a surrogate pair are one character there.
    assert exact(back) == exact([json.loads(encode(entry)) for entry in entries])


def columns_of(data: bytes, format: str) -> dict[str, str]:
    """The one row of an object, its values as text, empty where there are none."""
    if format == "csv":
        [row] = csv.DictReader(io.StringIO(data.decode(), newline=""))
        return row
    table = pyarrow.parquet.read_table(io.BytesIO(data))
    text = pyarrow.compute.strftime(table["log_time"], "%Y-%m-%dT%H:%M:%SZ")
    [row] = table.set_column(table.column_names.index("log_time"), "log_time", text).to_pylist()
    time = re.sub(r"(\.000)?000Z$", "Z", row["log_time"])
    return {name: "" if value is None else str(value) for name, value in row.items()} | {"log_time": time}


@each_table
@pytest.mark.parametrize(("change", "columns", "extra"), ODD, ids=lambda value: ascii(value)[:40])
def test_where_odd_values_go(
    format: str, change: dict[str, Any], columns: dict[str, Any], extra: dict[str, Any]
) -> None:
    """A value that fits its column is there, any other in `extra`; the time is always in its column."""
    row = columns_of(written([{**ORDINARY, **change}], format, None), format)
    expected = {**ORDINARY, **columns}
    assert {name: row[name] for name in ORDINARY} == {
        name: "" if value is None else str(value) for name, value in expected.items()
    }
    assert exact(json.loads(row["extra"] or "{}")) == exact(extra)


@each_table
def test_a_missing_field_is_no_null(format: str) -> None:
    """Both are null in the column; `extra` names the null that was sent."""
    row = columns_of(written([{"log_time": "2026-01-01T00:00:00Z", "status": None}], format, None), format)
    assert (row["status"], row["event"], row["extra"]) == ("", "", '{"status":null}')


def test_an_empty_text_in_csv() -> None:
    """An empty cell means no value, so an empty string is in `extra`; Parquet has it in its column."""
    entry = {**ORDINARY, "event": "", "request": "a\0b"}
    row = columns_of(written([entry], "csv", None), "csv")
    assert (row["event"], row["request"]) == ("", "")
    assert json.loads(row["extra"]) == {"event": "", "request": "a\0b"}
    assert columns_of(written([entry], "parquet", None), "parquet")["extra"] == ""


# Whose entries they are


sources = st.builds(Source, st.integers(1, 2**63 - 1), st.from_regex(r"[A-Za-z0-9_-]{1,100}", fullmatch=True))


@each_table
@settings(deadline=None)
@given(source=sources, count=st.sampled_from([1, 2, 4_999, 5_000, 5_001]))
def test_each_row_names_its_team_and_connector(format: str, source: Source, count: int) -> None:
    """In the first two columns, the same in each row of each batch, with their types."""
    data = written([{"log_time": "2026-01-01T00:00:00Z"}] * count, format, None, source=source)
    if format == "csv":
        rows = csv.DictReader(io.StringIO(data.decode(), newline=""))
        found = Counter((int(row["team_id"]), row["connector_identifier"]) for row in rows)
    else:
        table = pyarrow.parquet.read_table(io.BytesIO(data), columns=SOURCE)
        found = Counter(zip(*table.to_pydict().values(), strict=True))
    assert found == {source: count}


@each_table
def test_an_entry_with_fields_of_these_names(format: str) -> None:
    """The columns say whose log was exported; what the entry says is in `extra`."""
    row = columns_of(written([{**ORDINARY, "team_id": 7, "connector_identifier": "x"}], format, None), format)
    assert (row["team_id"], row["connector_identifier"]) == (str(TEAM), CONNECTOR)
    assert json.loads(row["extra"]) == {"team_id": 7, "connector_identifier": "x"}


def test_json_lines_contain_nothing_but_the_entries() -> None:
    """What the API sent."""
    assert written([ORDINARY], "jsonl", None) == encode(ORDINARY) + b"\n"


def test_the_first_columns_take_little_space() -> None:
    """Parquet has their value once for each row group, whatever its name is."""
    sizes = [len(written(MANY, "parquet", "none", source=Source(TEAM, name))) for name in ("a", "a" * 100)]
    assert sizes[1] - sizes[0] < 1000
    metadata = pyarrow.parquet.read_metadata(io.BytesIO(written(MANY, "parquet"))).row_group(0)
    columns = [metadata.column(number) for number in range(len(SOURCE))]
    assert [column.path_in_schema for column in columns] == SOURCE
    assert max(column.total_uncompressed_size for column in columns) < 200
    assert [column.statistics.min for column in columns] == [TEAM, CONNECTOR]


# Schema


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "=cmd|' /C calc'!A0"])
def test_a_cell_that_looks_like_a_formula_is_written_as_it_is(text: str) -> None:
    """As docs/formats.md says: it may not change the entry."""
    [row] = csv.DictReader(io.StringIO(written([{**ORDINARY, "event": text}], "csv", "none").decode()))
    assert row["event"] == text


def test_the_schema_of_parquet() -> None:
    """It is the same whatever the entries are, so files of all windows go together."""
    files = [written([entry], "parquet") for entry in ({"log_time": "2026-01-01"}, ORDINARY, {"id": 1})]
    [first, *others] = [pyarrow.parquet.read_schema(io.BytesIO(file)) for file in files]
    assert [(field.name, str(field.type)) for field in first] == [
        ("team_id", "int64"),
        ("connector_identifier", "string"),
        ("id", "string"),
        ("log_time", "timestamp[us, tz=UTC]"),
        ("status", "int16"),
        ("event", "string"),
        ("request", "string"),
        ("duration_ms", "int64"),
        ("request_id", "string"),
        ("extra", "string"),
    ]
    assert first.names == COLUMNS
    assert all(schema.equals(first, check_metadata=True) for schema in others)


def test_csv_is_quoted_as_rfc_4180_says() -> None:
    """A header, quotes where they are needed, doubled inside; LF after each row."""
    entry = {**ORDINARY, "event": 'say "hi", then\nleave', "request": "\r"}
    assert written([entry], "csv", None).decode() == (
        "team_id,connector_identifier,id,log_time,status,event,request,duration_ms,request_id,extra\n"
        f"{TEAM},{CONNECTOR},"
        '123-foo,2026-01-01T00:00:00Z,200,"say ""hi"", then\nleave","\r",253,'
        "8dc24bc2-8a17-4188-a509-217cb8799929,\n"
    )


# Bytes


MANY = [{**ORDINARY, "id": f"{number:06d}", "new": number % 7 or None} for number in range(12_345)]


@each_kind
def test_the_same_entries_are_the_same_bytes(format: str, compression: str | None) -> None:
    """However they arrive: a resumed export has one large block, another one many."""
    once = written(MANY, format, compression)
    assert written(MANY, format, compression, block=len(MANY)) == once
    assert written(MANY, format, compression, block=7) == once


def test_no_header_contains_a_time_or_a_name() -> None:
    """Nothing but the entries, and the name of the library, is in the bytes."""
    assert written(MANY, "jsonl", "gzip")[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
    metadata = pyarrow.parquet.read_metadata(io.BytesIO(written(MANY, "parquet")))
    assert metadata.created_by == f"parquet-cpp-arrow version {pyarrow.__version__}"
    assert metadata.metadata is None


def test_compression_inside_parquet() -> None:
    """It is zstd by default."""
    for compression, codec in [
        ("auto", "ZSTD"),
        ("snappy", "SNAPPY"),
        ("gzip", "GZIP"),
        ("none", "UNCOMPRESSED"),
    ]:
        metadata = pyarrow.parquet.read_metadata(io.BytesIO(written(MANY, "parquet", compression)))
        columns = [metadata.row_group(0).column(number) for number in range(metadata.num_columns)]
        assert {column.compression for column in columns} == {codec}


def test_text_is_the_same_under_each_compression() -> None:
    """Compression changes the bytes only."""
    plain = written(MANY, "csv", None)
    assert decompressed(written(MANY, "csv", "gzip"), ".csv.gz") == plain
    assert decompressed(written(MANY, "csv", "zstd"), ".csv.zst") == plain


def test_row_groups_bound_the_memory() -> None:
    """A large part has several."""
    metadata = pyarrow.parquet.read_metadata(io.BytesIO(written(MANY * 9, "parquet")))
    rows = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    assert rows == [100_000, len(MANY) * 9 - 100_000]


# Names


@pytest.mark.parametrize(("format", "compression", "suffix", "named"), KINDS)
def test_names(format: str, compression: str | None, suffix: str, named: str | None) -> None:
    """The suffix that readers know the format by; what "auto" means."""
    made = file_format(format, compression)
    assert (made.format, made.suffix, made.compression) == (format, suffix, named)


@pytest.mark.parametrize(
    ("format", "compression", "complaint"),
    [
        ("xml", "auto", "format must be 'jsonl', 'csv' or 'parquet', not 'xml'"),
        (None, "auto", "format must be 'jsonl', 'csv' or 'parquet', not None"),
        (["csv"], "auto", "format must be 'jsonl', 'csv' or 'parquet', not ['csv']"),
        (
            "jsonl",
            "rar",
            "compression must be 'auto', 'gzip', 'zstd' or 'none' with format 'jsonl', not 'rar'",
        ),
        (
            "csv",
            "snappy",
            "compression must be 'auto', 'gzip', 'zstd' or 'none' with format 'csv', not 'snappy'",
        ),
        (
            "parquet",
            "brotli",
            "compression must be 'auto', 'zstd', 'snappy', 'gzip' or 'none' with format 'parquet', not",
        ),
        ("csv", {}, "compression must be 'auto', 'gzip', 'zstd' or 'none' with format 'csv', not {}"),
    ],
)
def test_what_does_not_go_together_is_refused(format: Any, compression: Any, complaint: str) -> None:
    """The message lists what does."""
    with pytest.raises(SupermetricsValidationError, match=re.escape(complaint)):
        file_format(format, compression)


@pytest.mark.parametrize(
    ("library", "format", "compression", "extra"),
    [
        ("pyarrow", "parquet", "auto", "parquet"),
        ("zstandard", "jsonl", "zstd", "zstd"),
        ("zstandard", "csv", "zstd", "zstd"),
    ],
)
def test_a_missing_library_is_refused(
    monkeypatch: pytest.MonkeyPatch, library: str, format: str, compression: str, extra: str
) -> None:
    """The message says what to install; all else works without it."""
    monkeypatch.setitem(sys.modules, library, None)  # Python's own way to say that it is not there
    with pytest.raises(SupermetricsValidationError, match=re.escape(f"[{extra}]'")):
        file_format(format, compression)
    assert len(written(MANY, "jsonl")) and len(written(MANY, "csv"))
