"""When to look again: what sensors and triggers do after a look, whether it went well or not."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from airflow_provider_supermetrics.exceptions import (
    SupermetricsConnectionError,
    SupermetricsError,
    SupermetricsResponseError,
    SupermetricsServerError,
)
from airflow_provider_supermetrics.protocol.response import RateLimit
from airflow_provider_supermetrics.protocol.retry import stretched
from airflow_provider_supermetrics.waiting import seconds_away

# What may pass by itself without the API naming a time.
_TRANSIENT = (SupermetricsServerError, SupermetricsConnectionError, SupermetricsResponseError)


def utcnow() -> datetime:
    """The current time, by the clock that the times between looks are counted with."""
    return datetime.fromtimestamp(time.time(), timezone.utc)


class Polling:
    """The pace of a watch.

    :param interval: seconds between looks.
    :param max_consecutive_failures: how many looks in a row may fail before the watch does.
    """

    def __init__(self, interval: float, max_consecutive_failures: int) -> None:
        self.interval = interval
        self.max_consecutive_failures = max_consecutive_failures
        self.failures = 0
        self.waits = 0

    def after_success(self, rate_limit: RateLimit | None) -> float:
        """Seconds until the next look: more than the interval where the budget runs low."""
        self.failures = self.waits = 0
        if rate_limit is None:
            return self.interval
        return stretched(self.interval, rate_limit.limit, rate_limit.remaining)

    def after_failure(self, error: SupermetricsError) -> float:
        """Seconds until the next look: as long as the API says, where it does.

        :raises SupermetricsError: ``error``, where the watch should end with it.
        """
        seconds = seconds_away(error, self.waits + 1)
        if seconds is not None:
            self.waits += 1
            return max(seconds, self.interval)
        self.failures += 1
        if not isinstance(error, _TRANSIENT) or self.failures >= self.max_consecutive_failures:
            raise error
        return self.interval

    def to_state(self) -> dict[str, int]:
        """What a later one goes on with, as plain JSON values."""
        return {"failures": self.failures, "waits": self.waits}

    def go_on(self, state: Mapping[str, Any]) -> None:
        """Go on with the :meth:`to_state` of an earlier one.

        :raises ValueError: where it is none.
        """
        try:
            self.failures, self.waits = int(state["failures"]), int(state["waits"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"not the state of a polling: {error}") from None
