"""A :class:`WaitPolicy` in tenacity's terms: when to ask again, how long to wait, when to give up."""

from __future__ import annotations

import math
import random
from typing import Any, Protocol

import tenacity

from airflow_provider_supermetrics.exceptions import (
    SupermetricsConnectionError,
    SupermetricsError,
    SupermetricsRateLimitError,
    SupermetricsServerError,
)
from airflow_provider_supermetrics.protocol.retry import WaitPolicy

_TRANSIENT = (SupermetricsServerError, SupermetricsConnectionError, SupermetricsRateLimitError)


class Log(Protocol):
    """Both of Airflow's loggers, the one of the standard library and structlog's."""

    def warning(self, message: str, /, *args: Any) -> Any:
        """Tell what a person should know."""


def retrying_options(policy: WaitPolicy, log: Log) -> dict[str, Any]:
    """Arguments for ``tenacity.Retrying`` and ``tenacity.AsyncRetrying``.

    :param log: where each wait is told.
    """

    def wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        retry_after = error.retry_after if isinstance(error, SupermetricsError) else None
        if isinstance(error, SupermetricsRateLimitError) and retry_after is None:
            return math.inf  # the budget is per hour: asking again within seconds only spends more of it
        seconds = policy.next_wait(
            attempts=state.attempt_number,
            waited=state.idle_for,
            retry_after=retry_after,
            jitter=random.random(),
        )
        return math.inf if seconds is None else seconds

    def stop(state: tenacity.RetryCallState) -> bool:
        return math.isinf(state.upcoming_sleep)  # tenacity computes the wait first

    def tell(state: tenacity.RetryCallState) -> None:
        log.warning(
            "%s; asking again in %.1f s (attempt %d of %d)",
            _brief(state.outcome.exception() if state.outcome else None),
            state.upcoming_sleep,
            state.attempt_number + 1,
            policy.max_attempts,
        )

    return {
        "retry": tenacity.retry_if_exception_type(_TRANSIENT),
        "wait": wait,
        "stop": stop,
        "before_sleep": tell,
        "reraise": True,
    }


def _brief(error: BaseException | None) -> str:
    """Why a request is repeated, without the advice for one that has failed for good."""
    if not isinstance(error, SupermetricsError) or error.status_code is None:
        return str(error)
    parts = [
        f"The API answered {error.status_code}",
        error.code,
        error.request_id and f"(request id {error.request_id})",
    ]
    return " ".join(part for part in parts if part)
