"""The bytes of a part: JSON Lines, CSV or Parquet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, BinaryIO, Final, Protocol

from airflow_provider_supermetrics._export.formats.csv import Csv
from airflow_provider_supermetrics._export.formats.jsonl import JsonLines
from airflow_provider_supermetrics._export.formats.parquet import Parquet
from airflow_provider_supermetrics.exceptions import SupermetricsValidationError


class FileFormat(Protocol):
    """A format of parts. With the same libraries, the same lines give the same bytes."""

    @property
    def format(self) -> str:
        """The name of the format."""

    @property
    def compression(self) -> str | None:
        """The name of the compression, or None."""

    @property
    def suffix(self) -> str:
        """The end of the names of parts."""

    def write(self, raw: BinaryIO, blocks: Iterable[bytes]) -> None:
        """Write one part.

        :param raw: the file to write to, which stays open.
        :param blocks: the entries as lines of JSON, oldest first; each block contains whole lines.
        """


_FORMATS: Final[Mapping[str, type[JsonLines | Csv | Parquet]]] = {
    "jsonl": JsonLines,
    "csv": Csv,
    "parquet": Parquet,
}


def file_format(format: str, compression: str | None) -> FileFormat:
    """The format with this name and compression.

    :param format: ``"jsonl"``, ``"csv"`` or ``"parquet"``.
    :param compression: ``"auto"`` for the format's default, ``"none"`` or None for none, or one that the
        format supports.
    :raises SupermetricsValidationError: for unknown names, names that cannot be combined, and where a library
        is missing.
    """
    if format not in tuple(_FORMATS):
        raise SupermetricsValidationError(f"format must be {_either(tuple(_FORMATS))}, not {format!r}")
    kind = _FORMATS[format]
    known = ("auto", *kind.compressions, "none")
    if compression is not None and compression not in known:
        raise SupermetricsValidationError(
            f"compression must be {_either(known)} with format {format!r}, not {compression!r}"
        )
    chosen = kind.compressions[0] if compression == "auto" else compression
    made = kind(None if chosen == "none" else chosen)
    if made.library is not None and find_spec(made.library.module) is None:
        raise SupermetricsValidationError(
            f"format {format!r} with compression {chosen!r} needs {made.library.module}, which is not "
            f"installed: pip install 'airflow-provider-supermetrics[{made.library.extra}]'"
        )
    return made


def _either(names: Sequence[Any]) -> str:
    *most, last = map(repr, names)
    return f"{', '.join(most)} or {last}"
