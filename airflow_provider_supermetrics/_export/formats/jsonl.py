"""JSON Lines: each entry as the API sent it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO

from airflow_provider_supermetrics._export.formats.base import Source, TextFormat, compressed


class JsonLines(TextFormat):
    """One JSON object a line, UTF-8."""

    format = "jsonl"

    def write(self, raw: BinaryIO, blocks: Iterable[bytes], source: Source) -> None:  # noqa: ARG002  # it is no part of what the API sent
        """Write one part: see :class:`FileFormat`."""
        with compressed(raw, self.compression) as file:
            for block in blocks:
                file.write(block)
