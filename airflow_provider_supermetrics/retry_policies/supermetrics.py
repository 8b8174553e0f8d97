"""Retry policy: when Airflow retries a failed task (Airflow 3.3 and later)."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_provider_supermetrics._compat import AirflowOptionalProviderFeatureException

try:
    from airflow.sdk import RetryDecision, RetryPolicy
except ImportError:
    raise AirflowOptionalProviderFeatureException(
        "SupermetricsRetryPolicy needs Airflow 3.3 or later. On older versions, set deferrable=True, so that "
        "tasks wait until Retry-After has passed without using up a retry, or set retries and retry_delay."
    ) from None

from airflow_provider_supermetrics._wait import deferral_delay
from airflow_provider_supermetrics.exceptions import SupermetricsError, SupermetricsRateLimitError

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["SupermetricsRetryPolicy"]


class SupermetricsRetryPolicy(RetryPolicy):
    """
    Delay the next retry until ``Retry-After`` has passed, and do not retry where a retry cannot help.

    The sensor of this package, and its operators that send requests, use it by default, without
    ``backoff_initial``. The task's ``retries`` still sets the number of retries.

    :param max_delay: the longest delay. If ``Retry-After`` is longer, the task fails.
    :param backoff_initial: the delay after the first transient failure without ``Retry-After``; it doubles
        with each further failure. With None, the task's ``retry_delay`` applies.
    :param backoff_max: the maximum of the doubling delay.
    """

    def __init__(
        self,
        *,
        max_delay: timedelta = timedelta(days=1, minutes=5),
        backoff_initial: timedelta | None = timedelta(minutes=1),
        backoff_max: timedelta = timedelta(minutes=30),
    ) -> None:
        self.max_delay = max_delay
        self.backoff_initial = backoff_initial
        self.backoff_max = backoff_max

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,
        max_tries: int,  # noqa: ARG002  # RetryPolicy's signature
        context: Context | None = None,  # noqa: ARG002  # likewise
    ) -> RetryDecision:
        """Decide from the attributes of the error."""
        if not isinstance(exception, SupermetricsError):
            return RetryDecision.default()
        kind = type(exception).__name__
        if not exception.retryable:
            return RetryDecision.fail(reason=f"{kind}: not retryable")
        if exception.retry_after is not None or isinstance(exception, SupermetricsRateLimitError):
            seconds = deferral_delay(exception, waits=max(1, try_number), jitter=random.random())
            if seconds is None or seconds > self.max_delay.total_seconds():
                asked = timedelta(seconds=min(exception.retry_after or 0, 1e9))
                return RetryDecision.fail(reason=f"{kind}: Retry-After is {asked}")
            return RetryDecision.retry(timedelta(seconds=seconds), reason=f"{kind}: Retry-After")
        if self.backoff_initial is None or not exception.resumable:
            return RetryDecision.default()
        delay = min(self.backoff_initial * 2 ** min(max(0, try_number - 1), 20), self.backoff_max)
        return RetryDecision.retry(
            delay * (1 + random.random() / 10), reason=f"{kind}: transient error, backing off"
        )
