"""The clock of a soak: all its processes share one that is faster than the machine's."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

#: Where a soak's time begins.
ORIGIN = datetime(2026, 1, 1, tzinfo=timezone.utc)
_sleep, _sleep_async = time.sleep, asyncio.sleep


@dataclass(frozen=True)
class Clock:
    """Time since :data:`ORIGIN`, `speed` times as fast as real time.

    :param began: `time.monotonic()` at the origin. It is the same in all processes of a machine.
    """

    began: float
    speed: float

    def seconds(self) -> float:
        """Seconds since 1970."""
        return ORIGIN.timestamp() + (time.monotonic() - self.began) * self.speed

    def now(self) -> datetime:
        """The time."""
        return datetime.fromtimestamp(self.seconds(), timezone.utc)

    def sleep(self, seconds: float) -> None:
        """Sleep for so many seconds of this clock."""
        _sleep(max(0.0, seconds) / self.speed)

    def install(self) -> None:
        """Make it the clock of this process, for everything but the timeouts of connections."""
        from airflow.providers.standard.triggers import temporal

        async def sleep(seconds: float, result: Any = None) -> Any:
            return await _sleep_async(seconds / self.speed, result)

        time.time, time.sleep, asyncio.sleep = self.seconds, self.sleep, sleep
        temporal.timezone.utcnow = self.now  # Airflow's own clock
