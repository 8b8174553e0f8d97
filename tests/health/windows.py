"""Windows whose manifests were read, without any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from airflow_provider_supermetrics._health.model import (
    Durations,
    ExportedWindow,
    Hour,
    WindowFacts,
    WindowStatistics,
)
from airflow_provider_supermetrics._schedule import Window
from tests.conftest import HOUR, START


def exported(
    start: datetime,
    length: timedelta = HOUR,
    *,
    entries: int = 100,
    errors: int = 0,
    p95: int = 900,
    hours: Sequence[Hour] = (),
    statuses: Mapping[str, int] | None = None,
    **parts: Any,
) -> ExportedWindow:
    """A window whose manifest was read."""
    statistics = WindowStatistics(
        errors,
        dict(statuses or {"200": entries - errors, "500": errors}),
        Durations(entries, 200, p95, p95) if entries else Durations(),
        tuple(hours),
    )
    facts = WindowFacts(parts.pop("team", 936506), entries, statistics)
    return ExportedWindow(
        parts.pop("connector", "T3S70"), Window(start, start + length), facts=facts, **parts
    )


def unread(first: int, end: int) -> list[ExportedWindow]:
    """The windows of some hours whose manifests were not read."""
    return [
        ExportedWindow("T3S70", Window(START + hour * HOUR, START + (hour + 1) * HOUR))
        for hour in range(first, end)
    ]


def hourly(first: int, end: int, **facts: Any) -> list[ExportedWindow]:
    """The windows of some hours, counted from the start of the tests."""
    return [exported(START + hour * HOUR, **facts) for hour in range(first, end)]
