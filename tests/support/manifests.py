"""Manifests without exports, as the operator writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from airflow_provider_supermetrics._api.statistics import DurationStatistics, HourStatistics, LogStatistics
from airflow_provider_supermetrics._api.times import format_time
from airflow_provider_supermetrics._export.formats import file_format
from airflow_provider_supermetrics._export.manifest import ExportPlan, Manifest
from airflow_provider_supermetrics._schedule import Window
from tests.conftest import CONNECTOR, HOUR, TEAM


def manifest_of(
    start: datetime,
    length: timedelta = HOUR,
    *,
    connector: str = CONNECTOR,
    team: int = TEAM,
    entries: int = 100,
    errors: int = 0,
    p50: int | None = 200,
    p95: int | None = 900,
    hours: Sequence[tuple[datetime, int, int]] = (),
    statuses: Mapping[str, int] | None = None,
) -> tuple[str, bytes]:
    """The name of a window's manifest, and its bytes."""
    window = Window(start, start + length)
    plan = ExportPlan(connector, team, window, file_format("jsonl", "auto"), 1000)
    has_durations = bool(entries) and p50 is not None
    manifest = Manifest(
        connector_identifier=connector,
        team_id=team,
        start=format_time(window.start),
        end=format_time(window.end),
        entries=entries,
        bytes=0,
        statistics=LogStatistics(
            errors,
            dict(statuses if statuses is not None else {"200": entries - errors, "500": errors}),
            DurationStatistics(
                entries if has_durations else 0,
                p50 if has_durations else None,
                p95 if has_durations else None,
                3 * p95 if has_durations and p95 is not None else None,
            ),
            [HourStatistics(format_time(hour), *numbers) for hour, *numbers in hours],
        ),
        requests=3,
        rate_limit=None,
        format="jsonl",
        format_version=plan.file_format.version,
        compression="gzip",
        objects=[],
        complete=True,
    )
    return plan.manifest_name, manifest.to_json()


def write_manifest(folder: Path, start: datetime, length: timedelta = HOUR, **facts: Any) -> Path:
    """Write the manifest of a window into a folder."""
    name, data = manifest_of(start, length, **facts)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    return folder / name
