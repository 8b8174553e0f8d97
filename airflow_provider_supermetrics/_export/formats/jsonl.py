"""JSON Lines: each entry as the API sent it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO, ClassVar

from airflow_provider_supermetrics._export.formats.compression import (
    COMPRESSIONS,
    SUFFIXES,
    compressed,
    library,
)


class JsonLines:
    """One JSON object a line, UTF-8.

    :param compression: one of ``compressions``, or None.
    """

    format: ClassVar = "jsonl"
    compressions: ClassVar = COMPRESSIONS

    def __init__(self, compression: str | None) -> None:
        self.compression = compression
        self.suffix = f".jsonl{SUFFIXES[compression]}"
        self.library = library(compression)

    def write(self, raw: BinaryIO, blocks: Iterable[bytes]) -> None:
        """Write one part: see :class:`FileFormat`."""
        with compressed(raw, self.compression) as file:
            for block in blocks:
                file.write(block)
