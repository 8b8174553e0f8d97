"""What an export is to write, and under which names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow_provider_supermetrics._export.formats import FileFormat
from airflow_provider_supermetrics._export.window import Window


@dataclass(frozen=True)
class ExportPlan:
    """One window of one connector.

    :param connector_identifier: whose logs.
    :param team_id: whose connector.
    :param window: which time.
    :param file_format: as what.
    :param entries_per_file: entries in each object but the last.
    """

    connector_identifier: str
    team_id: int
    window: Window
    file_format: FileFormat
    entries_per_file: int

    @property
    def prefix(self) -> str:
        """What the names of all parts begin with."""
        return f"{self.connector_identifier}-{self.window.slug}-"

    @property
    def receipt_name(self) -> str:
        """The name of the receipt."""
        return f"_manifest-{self.connector_identifier}-{self.window.slug}.json"

    @property
    def checkpoint_name(self) -> str:
        """The name of the checkpoint, which no glob for parts finds."""
        return f"_checkpoint-{self.connector_identifier}-{self.window.slug}.gz"

    def part_name(self, number: int) -> str:
        """The name of a part, counted from 0."""
        return f"{self.prefix}{number:05d}{self.file_format.suffix}"

    @property
    def facts(self) -> dict[str, Any]:
        """All that makes another export of it, as plain JSON values."""
        return {
            "connector_identifier": self.connector_identifier,
            "team_id": self.team_id,
            "window": self.window.slug,
            "format": self.file_format.format,
            "compression": self.file_format.compression,
            "entries_per_file": self.entries_per_file,
        }
