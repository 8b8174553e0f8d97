"""When Airflow should try again (Airflow 3.3 and later)."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_provider_supermetrics._compat import AirflowOptionalProviderFeatureException

try:
    from airflow.sdk import RetryDecision, RetryPolicy
except ImportError:
    raise AirflowOptionalProviderFeatureException(
        "SupermetricsRetryPolicy needs Airflow 3.3 or later. On older versions set deferrable=True, "
        "so that tasks wait as the API asks without a retry; or set retries and retry_delay."
    ) from None

from airflow_provider_supermetrics.exceptions import (
    SupermetricsConnectionError,
    SupermetricsError,
    SupermetricsRateLimitError,
    SupermetricsServerError,
    SupermetricsTokenError,
)
from airflow_provider_supermetrics.protocol.retry import away_wait

if TYPE_CHECKING:
    from airflow.sdk import Context


class SupermetricsRetryPolicy(RetryPolicy):
    """
    Let the next try begin when the API has named, and not at all where it cannot help.

    The operators and the sensor of this package have it by default, without a ``backoff``. How many
    tries there are is still the task's ``retries``.

    :param max_delay: the longest delay. Where the API names a longer one, the task fails, rather than
        ask early.
    :param backoff: the delay after a first failure for which no time was named; it doubles with each
        further one. None leaves it to the task's ``retry_delay``.
    :param backoff_longest: where the doubling ends.
    """

    def __init__(
        self,
        *,
        max_delay: timedelta = timedelta(days=1, minutes=5),
        backoff: timedelta | None = timedelta(minutes=1),
        backoff_longest: timedelta = timedelta(minutes=30),
    ) -> None:
        self.max_delay = max_delay
        self.backoff = backoff
        self.backoff_longest = backoff_longest

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,
        max_tries: int,  # noqa: ARG002  # RetryPolicy's signature
        context: Context | None = None,  # noqa: ARG002  # likewise
    ) -> RetryDecision:
        """Decide by what the error says should be done."""
        if not isinstance(exception, SupermetricsError):
            return RetryDecision.default()
        kind = type(exception).__name__
        if not exception.retryable:
            return RetryDecision.fail(reason=f"{kind}: another try would end the same")
        if exception.retry_after is not None or isinstance(exception, SupermetricsRateLimitError):
            seconds = away_wait(
                waits=max(1, try_number), retry_after=exception.retry_after, jitter=random.random()
            )
            if seconds is None or seconds > self.max_delay.total_seconds():
                asked = timedelta(seconds=min(exception.retry_after or 0, 1e9))
                return RetryDecision.fail(reason=f"{kind}: the API asks to wait for {asked}")
            return RetryDecision.retry(timedelta(seconds=seconds), reason=f"{kind}: as the API asks"[:500])
        if self.backoff is None or not isinstance(
            exception, (SupermetricsServerError, SupermetricsConnectionError, SupermetricsTokenError)
        ):
            return RetryDecision.default()
        delay = min(self.backoff * 2 ** min(max(0, try_number - 1), 20), self.backoff_longest)
        return RetryDecision.retry(delay * (1 + random.random() / 10), reason=f"{kind}: may pass")
