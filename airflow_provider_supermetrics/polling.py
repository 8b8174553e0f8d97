"""The pace of polls: what sensors and triggers do after a poll, whether it succeeded or failed."""

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
    SupermetricsTokenError,
)
from airflow_provider_supermetrics.protocol.response import RateLimit
from airflow_provider_supermetrics.protocol.retry import stretched, unnamed_wait
from airflow_provider_supermetrics.protocol.text import one_line
from airflow_provider_supermetrics.waiting import seconds_away

#: Raised from within a walk, which cannot be resumed from there.
WITHIN_A_POLL = (SupermetricsResponseError, SupermetricsPaginationError)
_LONGEST_REASON = 300
# It is stored while a sensor waits.
_LONGEST_FAILURE = 1000
# What may pass by itself without a Retry-After.
_TRANSIENT = (
    SupermetricsServerError,
    SupermetricsConnectionError,
    SupermetricsTokenError,
    SupermetricsResponseError,
)


def utcnow() -> datetime:
    """The current time, by the clock that the times between polls are counted with."""
    return datetime.fromtimestamp(time.time(), timezone.utc)


def as_supermetrics_error(error: Exception, conn_id: str) -> SupermetricsError:
    """Return ``error``; for one that is not this provider's, one that names the Connection."""
    if isinstance(error, SupermetricsError):
        return error
    # Not quoted, because nobody has redacted it. Airflow masks the traceback that goes to the log.
    return SupermetricsError(
        f"Unexpected {type(error).__name__}: see its traceback in the log, and check Connection '{conn_id}'"
    )


def reason(error: Exception) -> str:
    """The kind and the message of an error that is not this provider's, in one short line."""
    return one_line(f"{type(error).__name__}: {error}", _LONGEST_REASON)


class Polling:
    """The pace of a watch.

    :param interval: seconds between polls.
    :param max_consecutive_failures: how many polls in a row may fail before the watch does.
    :param longest: where the interval doubles with each poll, the longest one in seconds.
    """

    def __init__(self, interval: float, max_consecutive_failures: int, longest: float | None = None) -> None:
        self.interval = interval
        self.max_consecutive_failures = max_consecutive_failures
        self.failures = 0
        self.waits = 0
        #: Seconds for which nothing may be requested after the last poll, whatever ends meanwhile.
        self.named = 0.0
        #: How many polls have succeeded.
        self.succeeded = 0
        #: Why the last poll failed, or None where it succeeded.
        self.last_failure: str | None = None
        self._longest = longest

    def after_success(self, rate_limit: RateLimit | None, reserve: int) -> float:
        """Seconds until the next poll: more than the interval where the budget runs low.

        :param rate_limit: the budget as last received.
        :param reserve: how much of it is left to others.
        """
        self.failures, self.named, self.last_failure = 0, 0.0, None
        self.succeeded += 1
        interval = self.interval
        if self._longest is not None:
            interval = max(interval, min(interval * 2.0 ** min(self.succeeded - 1, 60), self._longest))
        if rate_limit is None or rate_limit.remaining is None:
            return interval
        if reserve and rate_limit.remaining <= reserve:
            self.waits += 1
            self.named = unnamed_wait(self.waits) * (1 + random.random() / 20)
            return max(interval, self.named)
        self.waits = 0
        return stretched(interval, rate_limit.limit, rate_limit.remaining)

    def after_failure(self, error: SupermetricsError) -> float:
        """Seconds until the next poll: as long as the API says, where it does.

        :raises SupermetricsError: ``error``, where the watch should end with it.
        """
        self.last_failure = one_line(str(error), _LONGEST_FAILURE)
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

    def to_state(self) -> dict[str, Any]:
        """What :meth:`resume` takes, as plain JSON values."""
        return {
            "failures": self.failures,
            "waits": self.waits,
            "succeeded": self.succeeded,
            "last_failure": self.last_failure,
        }

    def resume(self, state: Mapping[str, Any]) -> None:
        """Continue from the :meth:`to_state` of an earlier one.

        :raises ValueError: where it is none.
        """
        try:
            self.failures, self.waits = int(state["failures"]), int(state["waits"])
            self.succeeded = int(state["succeeded"])
            self.last_failure = None if state["last_failure"] is None else str(state["last_failure"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"not the state of a polling: {error}") from None
