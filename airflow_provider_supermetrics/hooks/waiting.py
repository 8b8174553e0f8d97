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


class Waiting:
    """The waits inside one call of a hook, over all its requests.

    :param policy: their limits.
    :param log: where each wait is told.
    """

    def __init__(self, policy: WaitPolicy, log: Log) -> None:
        self._policy = policy
        self._log = log
        self._waited = 0.0

    @property
    def options(self) -> dict[str, Any]:
        """Arguments for ``tenacity.Retrying`` and ``tenacity.AsyncRetrying``, for one request."""
        return {
            "retry": tenacity.retry_if_exception_type(_TRANSIENT),
            "wait": self._wait,
            # tenacity computes the wait first.
            "stop": lambda state: math.isinf(state.upcoming_sleep),
            "before_sleep": self._tell,
            "reraise": True,
        }

    def _wait(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        seconds = self._policy.inline_wait(
            attempts=state.attempt_number,
            waited=self._waited,
            retry_after=error.retry_after if isinstance(error, SupermetricsError) else None,
            rate_limited=isinstance(error, SupermetricsRateLimitError),
            jitter=random.random(),
        )
        return math.inf if seconds is None else seconds

    def _tell(self, state: tenacity.RetryCallState) -> None:
        self._waited += state.upcoming_sleep
        self._log.warning(
            "%s; asking again in %.1f s (attempt %d of %d)",
            _brief(state.outcome.exception() if state.outcome else None),
            state.upcoming_sleep,
            state.attempt_number + 1,
            self._policy.max_attempts,
        )


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
