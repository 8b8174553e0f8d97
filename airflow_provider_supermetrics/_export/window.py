"""The time that an export covers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from airflow_provider_supermetrics._api.times import compact_time, format_time


@dataclass(frozen=True)
class Window:
    """The times ``start <= log_time < end``, in UTC."""

    start: datetime
    end: datetime

    def __str__(self) -> str:
        return f"[{format_time(self.start)}, {format_time(self.end)})"

    @property
    def slug(self) -> str:
        """The window as a part of object names, such as ``20260101T000000Z-20260101T010000Z``."""
        return f"{compact_time(self.start)}-{compact_time(self.end)}"

    def share_behind(self, oldest: datetime | None) -> float:
        """How much of the window has been read, from 0 to 1, after reading back to ``oldest``."""
        if oldest is None:
            return 0.0
        return min(1.0, max(0.0, (self.end - oldest) / (self.end - self.start)))
