"""The receipt of an export: who sees it knows that the window is complete, and can check it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from airflow_provider_supermetrics.export.window import Window, format_utc


@dataclass(frozen=True)
class ExportedObject:
    """One object: ``first_log_time`` and ``last_log_time`` are its oldest and newest entry's, as printed."""

    name: str
    entries: int
    bytes: int
    sha256: str
    first_log_time: str
    last_log_time: str


@dataclass(frozen=True)
class Receipt:
    """What was exported. ``objects`` go from newest to oldest; ``requests`` counts repeated ones too."""

    connector_identifier: str
    team_id: int
    window: Window
    format: str
    compression: str | None
    requests: int
    objects: list[ExportedObject] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The object's name."""
        return receipt_name(self.connector_identifier, self.window)

    def to_json(self) -> bytes:
        """The object's bytes, the same for the same export."""
        document = {
            **self._facts(),
            "format": self.format,
            "compression": self.compression,
            "objects": [asdict(item) for item in self.objects],
            "complete": True,
        }
        return json.dumps(document, indent=2).encode() + b"\n"

    def summary(self, folder: str) -> dict[str, Any]:
        """The receipt without its list of objects: small, whatever the window holds."""
        return {
            **self._facts(),
            "objects": len(self.objects),
            "path": folder,
            "receipt": f"{folder.rstrip('/')}/{self.name}",
            "complete": True,
        }

    def _facts(self) -> dict[str, Any]:
        return {
            "connector_identifier": self.connector_identifier,
            "team_id": self.team_id,
            "start": format_utc(self.window.start),
            "end": format_utc(self.window.end),
            "entries": sum(item.entries for item in self.objects),
            "bytes": sum(item.bytes for item in self.objects),
            "requests": self.requests,
        }


def receipt_name(connector_identifier: str, window: Window) -> str:
    """The name of a window's receipt."""
    return f"_manifest-{connector_identifier}-{window.slug}.json"
