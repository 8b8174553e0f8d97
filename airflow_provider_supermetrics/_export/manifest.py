"""What an export is to write, and the manifest of what it wrote.

The manifest is the last object of an export: where it exists, the window is complete, and can be checked.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from airflow_provider_supermetrics._api.calls import valid_connector_identifier, valid_integer
from airflow_provider_supermetrics._api.responses import RateLimit
from airflow_provider_supermetrics._api.statistics import LogStatistics
from airflow_provider_supermetrics._api.times import format_time
from airflow_provider_supermetrics._export.formats import FileFormat, Source
from airflow_provider_supermetrics._schedule import Window


@dataclass(frozen=True)
class ExportPlan:
    """One window of one connector's log, and the names of its objects.

    :param connector_identifier: the connector.
    :param team_id: its team.
    :param window: the time to export.
    :param file_format: the format of the parts.
    :param entries_per_file: entries in each part but the last.
    :raises InvalidRequest: for an identifier or a number that cannot be used.
    """

    connector_identifier: str
    team_id: int
    window: Window
    file_format: FileFormat
    entries_per_file: int

    def __post_init__(self) -> None:
        valid_connector_identifier(self.connector_identifier)
        valid_integer("entries_per_file", self.entries_per_file, 1)

    @property
    def source(self) -> Source:
        """Whose log is exported."""
        return Source(self.team_id, self.connector_identifier)

    @property
    def prefix(self) -> str:
        """The beginning of the names of all parts."""
        return f"{self.connector_identifier}-{self.window.slug}-"

    @property
    def manifest_name(self) -> str:
        """The name of the manifest."""
        return f"_manifest-{self.connector_identifier}-{self.window.slug}.json"

    @property
    def checkpoint_name(self) -> str:
        """The name of the checkpoint, which no glob for parts matches."""
        return f"_checkpoint-{self.connector_identifier}-{self.window.slug}.gz"

    def part_name(self, number: int) -> str:
        """The name of a part, counted from 0."""
        return f"{self.prefix}{number:05d}{self.file_format.suffix}"

    @property
    def fingerprint(self) -> dict[str, Any]:
        """All that distinguishes this export from another one, as plain JSON values."""
        return {
            "connector_identifier": self.connector_identifier,
            "team_id": self.team_id,
            "window": self.window.slug,
            "format": self.file_format.format,
            "format_version": self.file_format.version,
            "compression": self.file_format.compression,
            "entries_per_file": self.entries_per_file,
        }


@dataclass(frozen=True)
class ExportedObject:
    """One object.

    :param sha256: the digest of its bytes.
    :param lines_sha256: the digest of its entries as lines of JSON. It depends on neither the format nor the
        compressor, so a rerun knows from it that nothing has changed.
    :param first_log_time: the time of its oldest entry, as printed.
    :param last_log_time: the time of its newest entry, as printed.
    """

    name: str
    entries: int
    bytes: int
    sha256: str
    lines_sha256: str
    first_log_time: str
    last_log_time: str


@dataclass(frozen=True)
class Manifest:
    """The manifest, field by field as in its JSON.

    :param statistics: what the entries say in numbers.
    :param objects: the parts, newest first.
    :param requests: how many requests the export sent, in all its attempts, repeated ones included.
    :param rate_limit: the hourly request budget after the last response.
    """

    connector_identifier: str
    team_id: int
    start: str
    end: str
    entries: int
    bytes: int
    statistics: LogStatistics
    requests: int
    rate_limit: RateLimit | None
    format: str
    format_version: int
    compression: str | None
    objects: list[ExportedObject]
    complete: bool

    @classmethod
    def of(
        cls,
        plan: ExportPlan,
        objects: Sequence[ExportedObject],
        statistics: LogStatistics,
        requests: int,
        rate_limit: RateLimit | None,
    ) -> Manifest:
        """The manifest of an export that is complete."""
        return cls(
            connector_identifier=plan.connector_identifier,
            team_id=plan.team_id,
            start=format_time(plan.window.start),
            end=format_time(plan.window.end),
            entries=sum(item.entries for item in objects),
            bytes=sum(item.bytes for item in objects),
            statistics=statistics,
            requests=requests,
            rate_limit=rate_limit,
            format=plan.file_format.format,
            format_version=plan.file_format.version,
            compression=plan.file_format.compression,
            objects=list(objects),
            complete=True,
        )

    def to_json(self) -> builtins.bytes:
        """The bytes of the object."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    def summary(self, folder: str, plan: ExportPlan) -> dict[str, Any]:
        """The manifest without its lists of objects and hours: small, whatever the window contains.

        :param folder: the URL of the folder that contains the objects.
        """
        summary: dict[str, Any] = msgspec.to_builtins(self)
        for field in ("format", "format_version", "compression", "complete"):
            del summary[field]
        del summary["statistics"]["hours"]
        return {
            **summary,
            "objects": len(self.objects),
            "path": folder,
            "manifest": f"{folder.rstrip('/')}/{plan.manifest_name}",
            "complete": True,
        }


def listed_objects(manifest: bytes, plan: ExportPlan) -> list[ExportedObject] | None:
    """The objects that a manifest lists, or None where it is not one of this plan."""
    try:
        found = msgspec.json.decode(manifest, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    kind = plan.file_format
    planned = (plan.team_id, kind.format, kind.version, kind.compression)
    is_of_plan = (found.team_id, found.format, found.format_version, found.compression) == planned
    return found.objects if is_of_plan and found.complete else None
