"""How entries become the bytes of an object."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Protocol

from airflow_provider_supermetrics.exceptions import SupermetricsValidationError

# Level 6 of zlib: see `make bench`; the levels above cost more time than they save bytes.
_GZIP_LEVEL = 6

_FORMATS = ("jsonl",)
_SUFFIXES = {"gzip": ".gz", None: "", "none": ""}


class Writable(Protocol):
    """All that a format needs of a file."""

    def write(self, data: bytes, /) -> int:
        """Write all of ``data``."""


class JsonLines:
    """One JSON object a line, UTF-8.

    :param format: ``"jsonl"``.
    :param compression: ``"gzip"``, or ``"none"`` or None.
    :raises SupermetricsValidationError: for anything else.
    """

    def __init__(self, format: str, compression: str | None) -> None:
        if format not in _FORMATS:
            raise SupermetricsValidationError(f"format must be 'jsonl', not {format!r}")
        if compression not in _SUFFIXES:
            raise SupermetricsValidationError(f"compression must be 'gzip' or 'none', not {compression!r}")
        self.format = format
        self.compression = None if compression == "none" else compression
        self.suffix = f".{format}{_SUFFIXES[compression]}"

    @contextmanager
    def open(self, raw: BinaryIO) -> Iterator[Writable]:
        """A file for lines, over ``raw``, which stays open. The same lines give the same bytes."""
        if self.compression is None:
            yield raw
            return
        # Neither a name nor a time in the header, so that a rerun writes the same bytes.
        with gzip.GzipFile("", "wb", compresslevel=_GZIP_LEVEL, fileobj=raw, mtime=0) as file:
            yield file
