"""The request quota: windows that begin with a request."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from typing import Literal

from dev.simulator.answers import Answer, error_answer


@dataclass(frozen=True)
class RateLimitWindow:
    """At most `requests` in `seconds`, counted from a window's first request on.

    `retry_after` is the form of the Retry-After header: whole seconds, an HTTP date, or no header.
    `clock` gives seconds, for virtual time; None: the simulator's clock.
    """

    requests: int = 100
    seconds: float = 3600.0
    retry_after: Literal["seconds", "date", "none"] = "seconds"
    clock: Callable[[], float] | None = None


@dataclass(frozen=True)
class Usage:
    """The quota after one request; `wait`: seconds to the window's end, None if the request was within it."""

    limit: int
    remaining: int
    wait: float | None = None


class RateLimiter:
    """Counts requests. Without a window it refuses none and counts down from 5000. Not thread-safe."""

    def __init__(self, window: RateLimitWindow | None, clock: Callable[[], float]) -> None:
        self._window = window or RateLimitWindow(requests=5000, seconds=math.inf)
        self._clock = self._window.clock or clock
        self._refuses = window is not None
        self.reset()

    def reset(self) -> None:
        """Forget all requests."""
        self._ends: float | None = None
        self._used = 0

    def take(self) -> Usage:
        """Count one request; a refused one does not count."""
        now, limit = self._clock(), self._window.requests
        if self._ends is None or now >= self._ends:
            self._ends, self._used = now + self._window.seconds, 0
        if self._used < limit:
            self._used += 1
        elif self._refuses:
            return Usage(limit, 0, wait=self._ends - now)
        return Usage(limit, limit - self._used)

    def refusal(self, wait: float) -> Answer:
        """The 429 for a request that should wait so many seconds; rounded up, for nobody must be early."""
        headers = {}
        if self._window.retry_after == "seconds":
            headers["Retry-After"] = str(max(1, math.ceil(wait)))
        elif self._window.retry_after == "date":
            headers["Retry-After"] = formatdate(math.ceil(time.time() + wait), usegmt=True)
        return error_answer(429, headers=headers)
