"""The request quota, in windows that begin with a request."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from typing import Literal

from dev.simulator.responses import Response, error_response


@dataclass(frozen=True)
class RateLimitWindow:
    """At most `requests` in `seconds`, counted from the first request of a window.

    `retry_after` is the form of the Retry-After header: an integer of seconds, an HTTP date, or no header.
    `clock` returns seconds, for virtual time; None uses the simulator's clock.
    """

    requests: int = 100
    seconds: float = 3600.0
    retry_after: Literal["seconds", "date", "none"] = "seconds"
    clock: Callable[[], float] | None = None


@dataclass(frozen=True)
class Usage:
    """The quota after a request; `wait` is the seconds until the window ends if it was refused."""

    limit: int
    remaining: int
    wait: float | None = None


class RateLimiter:
    """Count requests; without a window, refuse none and count down from 5000. Not thread-safe."""

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
        """Count a request, unless it is refused."""
        now, limit = self._clock(), self._window.requests
        if self._ends is None or now >= self._ends:
            self._ends, self._used = now + self._window.seconds, 0
        if self._used < limit:
            self._used += 1
        elif self._refuses:
            return Usage(limit, 0, wait=self._ends - now)
        return Usage(limit, limit - self._used)

    def refusal(self, wait: float) -> Response:
        """Return a 429 with a wait in seconds, rounded up so that no client returns too early."""
        headers = {}
        if self._window.retry_after == "seconds":
            headers["Retry-After"] = str(max(1, math.ceil(wait)))
        elif self._window.retry_after == "date":
            headers["Retry-After"] = formatdate(math.ceil(time.time() + wait), usegmt=True)
        return error_response(429, headers=headers)
