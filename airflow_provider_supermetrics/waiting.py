"""Waiting outside of requests: when a task gives up its worker slot, and when Airflow tries again."""

from __future__ import annotations

import random
from typing import Any

from airflow_provider_supermetrics._compat import AirflowOptionalProviderFeatureException
from airflow_provider_supermetrics.exceptions import (
    SupermetricsError,
    SupermetricsRateLimitError,
    SupermetricsServerError,
)
from airflow_provider_supermetrics.protocol.retry import away_wait


def seconds_away(error: SupermetricsError, waits: int) -> float | None:
    """For how long to give up the worker slot after this error, or None where waiting is not the answer.

    :param waits: how many times in a row it has come to this, this time included.
    """
    if not isinstance(error, (SupermetricsRateLimitError, SupermetricsServerError)):
        return None
    if isinstance(error, SupermetricsServerError) and error.retry_after is None:
        return None  # broken for who knows how long: that is what a task's retries are for
    return away_wait(waits=waits, retry_after=error.retry_after, jitter=random.random())


def wait_as_named(operator: Any) -> None:
    """Give a task the retry policy that waits as the API names, unless it, or its DAG, has one."""
    # Not as an argument: a mapped task passes None for it, and default_args must count. Absent before 3.3.
    if getattr(operator, "retry_policy", "absent") is None:
        try:
            from airflow_provider_supermetrics.retry_policies.supermetrics import SupermetricsRetryPolicy
        except AirflowOptionalProviderFeatureException:
            return
        operator.retry_policy = SupermetricsRetryPolicy(backoff=None)
