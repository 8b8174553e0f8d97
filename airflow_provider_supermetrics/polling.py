"""When to look again: what sensors and triggers do after a look, whether it went well or not."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from airflow_provider_supermetrics.exceptions import (
    SupermetricsConnectionError,
    SupermetricsError,
    SupermetricsPaginationError,
    SupermetricsResponseError,
    SupermetricsServerError,
)
from airflow_provider_supermetrics.protocol.response import RateLimit
from airflow_provider_supermetrics.protocol.retry import stretched, unnamed_wait
from airflow_provider_supermetrics.waiting import seconds_away

#: Raised from within a walk, which cannot go on from there.
WITHIN_A_LOOK = (SupermetricsResponseError, SupermetricsPaginationError)
# What may pass by itself without the API naming a time.
_TRANSIENT = (SupermetricsServerError, SupermetricsConnectionError, SupermetricsResponseError)


def utcnow() -> datetime:
    """The current time, by the clock that the times between looks are counted with."""
    return datetime.fromtimestamp(time.time(), timezone.utc)


class Polling:
    """The pace of a watch.

    :param interval: seconds between looks.
    :param max_consecutive_failures: how many looks in a row may fail before the watch does.
    :param longest: where the interval doubles with each look, the longest one in seconds.
    """

    def __init__(self, interval: float, max_consecutive_failures: int, longest: float | None = None) -> None:
        self.interval = interval
        self.max_consecutive_failures = max_consecutive_failures
        self.failures = 0
        self.waits = 0
        #: Seconds for which nothing may be asked after the last look, whatever ends meanwhile.
        self.named = 0.0
        self._longest = longest
        self._looks = 0

    def after_success(self, rate_limit: RateLimit | None, reserve: int) -> float:
        """Seconds until the next look: more than the interval where the budget runs low.

        :param rate_limit: the budget as last told.
        :param reserve: how much of it is left to others.
        """
        self.failures, self.named = 0, 0.0
        self._looks += 1
        interval = self.interval
        if self._longest is not None:
            interval = max(interval, min(interval * 2.0 ** min(self._looks - 1, 60), self._longest))
        if rate_limit is None or rate_limit.remaining is None:
            return interval
        if reserve and rate_limit.remaining <= reserve:
            self.waits += 1
            self.named = unnamed_wait(self.waits) * (1 + random.random() / 20)
            return max(interval, self.named)
        self.waits = 0
        return stretched(interval, rate_limit.limit, rate_limit.remaining)

    def after_failure(self, error: SupermetricsError) -> float:
        """Seconds until the next look: as long as the API says, where it does.

        :raises SupermetricsError: ``error``, where the watch should end with it.
        """
        seconds = seconds_away(error, self.waits + 1)
        self.named = seconds or 0.0
        if seconds is not None:
            self.waits += 1
            return max(seconds, self.interval)
        self.failures += 1
        if not isinstance(error, _TRANSIENT) or self.failures >= self.max_consecutive_failures:
            self.failures = 0
            raise error
        return self.interval

    def to_state(self) -> dict[str, int]:
        """What a later one goes on with, as plain JSON values."""
        return {"failures": self.failures, "waits": self.waits, "looks": self._looks}

    def go_on(self, state: Mapping[str, Any]) -> None:
        """Go on with the :meth:`to_state` of an earlier one.

        :raises ValueError: where it is none.
        """
        try:
            self.failures, self.waits = int(state["failures"]), int(state["waits"])
            self._looks = int(state["looks"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"not the state of a polling: {error}") from None
