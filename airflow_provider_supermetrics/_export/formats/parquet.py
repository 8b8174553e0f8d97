"""Parquet: typed columns, compressed within the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO

from airflow_provider_supermetrics._api.entry import Fields
from airflow_provider_supermetrics._export.formats import rows as _rows
from airflow_provider_supermetrics._export.formats.base import FileFormat, Library

if TYPE_CHECKING:
    import pyarrow

# A whole row group is held in memory as Arrow data, but only a few rows at a time as Python objects.
_ROWS_PER_GROUP = 100_000
_ROWS_AT_ONCE = 5_000


class Parquet(FileFormat):
    """The columns of :mod:`rows`, with one schema for all files."""

    format = "parquet"
    compressions = ("zstd", "snappy", "gzip")
    suffix = ".parquet"
    library = Library("pyarrow", "parquet")

    def write(self, raw: BinaryIO, blocks: Iterable[bytes]) -> None:
        """Write one part: see :class:`FileFormat`."""
        import pyarrow
        from pyarrow.parquet import ParquetWriter

        schema = _schema()
        batches = _batches(_rows.entries(blocks), schema)
        with ParquetWriter(
            raw,
            schema,
            compression=self.compression or "none",
            # Values in the other columns rarely repeat.
            use_dictionary=["status", "event", "request", "duration_ms", "extra"],
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


def _batches(entries: Iterator[Fields], schema: pyarrow.Schema) -> Iterator[pyarrow.RecordBatch]:
    import pyarrow

    # Batches must not depend on how the blocks were cut, because pages inside the file end where batches do.
    while rows := list(map(_rows.row, islice(entries, _ROWS_AT_ONCE))):
        columns = zip(*rows, strict=True)
        arrays = [pyarrow.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
        yield pyarrow.RecordBatch.from_arrays(arrays, schema=schema)
