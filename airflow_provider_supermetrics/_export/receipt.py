"""The receipt of an export: who sees it knows that the window is complete, and can check it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from airflow_provider_supermetrics._api.responses import RateLimit
from airflow_provider_supermetrics._api.times import format_time
from airflow_provider_supermetrics._export.plan import ExportPlan


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
    """What was exported.

    :param plan: what was to be.
    :param objects: from newest to oldest.
    :param requests: how many it took, repeated and refused ones, and those of earlier tries included.
    :param rate_limit: the hourly budget as last told.
    """

    plan: ExportPlan
    objects: Sequence[ExportedObject]
    requests: int
    rate_limit: RateLimit | None = None

    def to_json(self) -> bytes:
        """The object's bytes."""
        document = {
            **self._facts(),
            "format": self.plan.file_format.format,
            "compression": self.plan.file_format.compression,
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
            "receipt": f"{folder.rstrip('/')}/{self.plan.receipt_name}",
            "complete": True,
        }

    def _facts(self) -> dict[str, Any]:
        return {
            "connector_identifier": self.plan.connector_identifier,
            "team_id": self.plan.team_id,
            "start": format_time(self.plan.window.start),
            "end": format_time(self.plan.window.end),
            "entries": sum(item.entries for item in self.objects),
            "bytes": sum(item.bytes for item in self.objects),
            "requests": self.requests,
            "rate_limit": asdict(self.rate_limit) if self.rate_limit else None,
        }


def objects_of(data: bytes, plan: ExportPlan) -> list[ExportedObject] | None:
    """The objects that a receipt lists, or None where it is not one of this plan."""
    try:
        document = json.loads(data)
        known = {**plan.facts, "complete": True}
        if any(document[name] != known[name] for name in ("team_id", "format", "compression", "complete")):
            return None
        return [ExportedObject(**item) for item in document["objects"]]
    except (ValueError, KeyError, TypeError):
        return None
