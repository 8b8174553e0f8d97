"""Parquet: typed columns, compressed within the file."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from functools import lru_cache
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Any, BinaryIO

from airflow_provider_supermetrics._api.times import MICROSECOND, parse_log_time
from airflow_provider_supermetrics._export.formats import rows as _rows
from airflow_provider_supermetrics._export.formats.base import FileFormat, Library, Source

if TYPE_CHECKING:
    import pyarrow

# A whole row group is held in memory as Arrow data, but only a few rows at a time as Python objects.
_ROWS_PER_GROUP = 100_000
_ROWS_AT_ONCE = 5_000
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Parquet(FileFormat):
    """The columns of :mod:`rows`, with one schema for all files."""

    format = "parquet"
    version = 2
    compressions = ("zstd", "snappy", "gzip")
    suffix = ".parquet"
    library = Library("pyarrow", "parquet")

    def write(self, raw: BinaryIO, blocks: Iterable[bytes], source: Source) -> None:
        """Write one part: see :class:`FileFormat`."""
        import pyarrow
        from pyarrow.parquet import ParquetWriter

        schema = _schema()
        constants = _constants(source, schema)
        # Not one for each block, because pages inside the file end where batches do.
        batches = (_record_batch(table, schema, constants) for table in _rows.tables(blocks, _ROWS_AT_ONCE))
        with ParquetWriter(
            raw,
            schema,
            compression=self.compression or "none",
            # Values in the other columns rarely repeat.
            use_dictionary=[*_rows.SOURCE, "status", "event", "request", "duration_ms", "extra"],
            # Arrow's schema would only repeat the file's own types under Arrow's names.
            store_schema=False,
        ) as writer:
            while group := list(islice(batches, _ROWS_PER_GROUP // _ROWS_AT_ONCE)):
                writer.write_table(pyarrow.Table.from_batches(group), row_group_size=_ROWS_PER_GROUP)


def _schema() -> pyarrow.Schema:
    import pyarrow

    time = pyarrow.timestamp("us", tz="UTC")
    return pyarrow.schema(
        [(name, time if kind == "timestamp" else kind) for name, kind in _rows.COLUMNS.items()]
    )


def _constants(source: Source, schema: pyarrow.Schema) -> list[pyarrow.Array]:
    """The columns that are the same in each row, of the length of the longest batch."""
    return [
        _array([value] * _ROWS_AT_ONCE, schema.field(name).type) for name, value in source._asdict().items()
    ]


def _record_batch(
    table: _rows.Table, schema: pyarrow.Schema, constants: Sequence[pyarrow.Array]
) -> pyarrow.RecordBatch:
    import pyarrow

    fields = list(schema)[len(constants) :]
    arrays = [_array(column, field.type) for column, field in zip(table, fields, strict=True)]
    first = [constant[: len(arrays[0])] for constant in constants]
    return pyarrow.RecordBatch.from_arrays([*first, *arrays], schema=schema)


def _array(column: Sequence[Any], type: pyarrow.DataType) -> pyarrow.Array:
    """Return the column, made from Arrow's buffers: validity bits, offsets of strings, values.

    ``pyarrow.array`` does the same, but imports pandas where that is installed, which takes 60 MB.
    """
    import pyarrow

    if pyarrow.types.is_string(type):
        texts = [value or "" for value in column]
        data = "".join(texts).encode()
        ends = accumulate(map(len, texts if data.isascii() else map(str.encode, texts)), initial=0)
        buffers = [array("i", ends), data]
    elif pyarrow.types.is_timestamp(type):
        buffers = [array("q", [0 if value is None else _microseconds(value) for value in column])]
    else:
        buffers = [array("h" if type.bit_width == 16 else "q", [value or 0 for value in column])]
    return pyarrow.Array.from_buffers(
        type, len(column), [_validity(column), *map(pyarrow.py_buffer, buffers)], column.count(None)
    )


def _validity(column: Sequence[Any]) -> pyarrow.Buffer | None:
    """Return a bit for each value, the first one in the lowest bit: whether it is not null."""
    import pyarrow

    if None not in column:
        return None
    bits = "".join(["0" if value is None else "1" for value in reversed(column)])
    return pyarrow.py_buffer(int(bits, 2).to_bytes(-(-len(column) // 8), "little"))


@lru_cache(maxsize=8192)
def _microseconds(time: str) -> int:
    return (parse_log_time(time).at - _EPOCH) // MICROSECOND
