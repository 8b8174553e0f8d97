"""The bytes of a part: JSON Lines, CSV or Parquet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Final

from airflow_provider_supermetrics._export.formats.base import FileFormat, Source
from airflow_provider_supermetrics._export.formats.csv import Csv
from airflow_provider_supermetrics._export.formats.jsonl import JsonLines
from airflow_provider_supermetrics._export.formats.parquet import Parquet
from airflow_provider_supermetrics.exceptions import SupermetricsValidationError

__all__ = ["FileFormat", "Source", "file_format"]


_FORMATS: Final[Mapping[str, type[FileFormat]]] = {kind.format: kind for kind in (JsonLines, Csv, Parquet)}


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
