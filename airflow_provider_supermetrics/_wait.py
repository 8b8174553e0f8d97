"""Waiting after an error: how long, and where.

Three places, by length. Inside the request (:class:`RequestWaits`): server errors, lost connections and a
short ``Retry-After``. Without occupying a worker slot (:func:`deferral_delay`): a longer one. Airflow's
retry: what is left; on Airflow 3.3 ``SupermetricsRetryPolicy`` gives it the same delay.
"""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Annotated, Any, Protocol, cast

import tenacity
from msgspec import Meta, ValidationError, convert

from airflow_provider_supermetrics._api.errors import InvalidRequest
from airflow_provider_supermetrics._api.responses import RateLimit
from airflow_provider_supermetrics._api.times import AwareTime
from airflow_provider_supermetrics.exceptions import SupermetricsError, SupermetricsRateLimitError

#: Airflow 3.3 can lose a try when a task comes back from a deferral within a heartbeat.
MIN_DEFERRAL_SECONDS = 15.0

# The API's page: Retry-After is at most a day.
_MAX_RETRY_AFTER = 86_400.0
# A 429 without Retry-After, and the reserve of the budget. The budget is per hour: a request within seconds
# only spends more of it.
_DEFAULT_RATE_LIMIT_DELAY = 300.0
_MAX_RATE_LIMIT_DELAY = 3600.0
# It is stored while a sensor waits.
_MAX_FAILURE_LENGTH = 1000


class Log(Protocol):
    """Both of Airflow's loggers, the one of the standard library and structlog's."""

    def warning(self, message: str, /, *args: Any) -> Any:
        """Log a warning."""


def utcnow() -> datetime:
    """The current time, by the one clock that all waiting uses."""
    return datetime.fromtimestamp(time.time(), timezone.utc)


def time_after(seconds: float, clock: Callable[[], datetime] = utcnow) -> datetime:
    """The time this many seconds from now; the last time that a datetime can hold where it is later."""
    try:
        return clock() + timedelta(seconds=seconds)
    except OverflowError:
        return datetime.max.replace(tzinfo=timezone.utc)


@dataclass(frozen=True)
class WaitPolicy:
    """How the waiting is shared between a request, the task around it and Airflow.

    :param max_inline_wait: the longest single wait inside a request, in seconds. For a longer one the
        task defers, reschedules or fails.
    :param max_attempts: how many times one request is sent at most.
    :param max_total_wait: the longest sum of waits inside one call of a hook, in seconds; reading all
        pages of a window is one call.
    :param backoff_initial: the wait after a first failure without ``Retry-After``, in seconds; it doubles
        with each further one. A 429 without it waits for five minutes at least, whatever this says.
    :param backoff_max: where the doubling ends, in seconds.
    :param rate_limit_reserve: requests of the hourly budget that are left to others; 0 for none.
    """

    max_inline_wait: float = 60.0
    max_attempts: int = 5
    max_total_wait: float = 600.0
    backoff_initial: float = 1.0
    backoff_max: float = 30.0
    rate_limit_reserve: int = 0

    def override(self, changes: Mapping[str, Any]) -> WaitPolicy:
        """The policy with some of its numbers replaced; strings that are numbers count as such.

        :raises InvalidRequest: for an unknown name, or what is not a number in its range.
        """
        values = asdict(self)
        for name, value in changes.items():
            if name not in values:
                raise InvalidRequest(f"there is no {name!r} in a wait policy, but {', '.join(values)}")
            kind, least = type(values[name]), 1 if name == "max_attempts" else 0
            bounded: Any = Annotated[kind, Meta(ge=least, le=sys.maxsize)]
            try:
                values[name] = convert(value, bounded, strict=False)
            except ValidationError:
                what = "an integer" if kind is int else "a number"
                raise InvalidRequest(f"{name} must be {what} of {least} or more") from None
        return WaitPolicy(**values)

    def inline_delay(
        self, error: SupermetricsError, *, attempts: int, waited: float, jitter: float
    ) -> float | None:
        """Seconds to wait inside the request before its next attempt, or None to give up.

        A ``Retry-After`` is obeyed to the second: not shortened and, where it is too long, not begun.

        :param attempts: how many times the request was sent, at least 1.
        :param waited: seconds waited so far in this call.
        :param jitter: a random number from 0 to 1, so that many clients do not return at once.
        """
        if not error.transient or attempts >= self.max_attempts:
            return None
        retry_after = error.retry_after
        if retry_after is not None and retry_after >= 1:
            # To the second; spread within it, unless that were the fraction too much.
            wait = max(retry_after, min(retry_after + jitter, self.max_inline_wait))
        elif retry_after is None and isinstance(error, SupermetricsRateLimitError):
            wait = default_rate_limit_delay(attempts) * (1 + jitter / 10)
        else:
            backoff = _doubled(self.backoff_initial, attempts, self.backoff_max)
            wait = max(backoff * (1 + jitter) / 2, retry_after or 0.0)
        if wait > self.max_inline_wait or waited + wait > self.max_total_wait:
            return None
        return wait


def deferral_delay(error: SupermetricsError, *, waits: int, jitter: float) -> float | None:
    """Seconds to defer or reschedule the task after this error, or None where waiting does not help.

    Never less than ``Retry-After``, and a little more, so that the tasks which were refused together do not
    return together.

    :param waits: how many times in a row the task has waited so, this time included; at least 1.
    :param jitter: a random number from 0 to 1.
    """
    if error.retry_after is None:
        if not isinstance(error, SupermetricsRateLimitError):
            return None  # broken for an unknown time: that is what a task's retries are for
        wait = default_rate_limit_delay(waits)
    elif error.retry_after > _MAX_RETRY_AFTER:
        return None
    else:
        # A moment that is given again and again is not to be believed.
        wait = max(error.retry_after, _doubled(MIN_DEFERRAL_SECONDS, waits, _MAX_RATE_LIMIT_DELAY))
    return wait + jitter * min(60.0, max(5.0, wait / 20))


def default_rate_limit_delay(refusals: int) -> float:
    """Seconds to wait after so many refusals in a row, at least 1, without ``Retry-After``."""
    return _doubled(_DEFAULT_RATE_LIMIT_DELAY, refusals, _MAX_RATE_LIMIT_DELAY)


class RequestWaits:
    """The waits inside one call of a hook, over all its requests, in tenacity's terms.

    :param policy: their limits.
    :param log: where each wait is logged.
    :param jitter: returns a random number from 0 to 1.
    """

    def __init__(self, policy: WaitPolicy, log: Log, jitter: Callable[[], float] = random.random) -> None:
        self._policy = policy
        self._log = log
        self._jitter = jitter
        self._waited = 0.0

    @property
    def options(self) -> dict[str, Any]:
        """Arguments for ``tenacity.Retrying`` and ``tenacity.AsyncRetrying``, for one request."""
        return {
            "retry": tenacity.retry_if_exception_type(SupermetricsError),
            "wait": self._wait,
            # tenacity computes the wait first.
            "stop": lambda state: math.isinf(state.upcoming_sleep),
            "before_sleep": self._report,
            "reraise": True,
        }

    def _wait(self, state: tenacity.RetryCallState) -> float:
        error = _error_of(state)
        seconds = self._policy.inline_delay(
            error, attempts=state.attempt_number, waited=self._waited, jitter=self._jitter()
        )
        return math.inf if seconds is None else seconds

    def _report(self, state: tenacity.RetryCallState) -> None:
        self._waited += state.upcoming_sleep
        error = _error_of(state)
        self._log.warning(
            "%s; retrying in %.1f s (attempt %d of %d)",
            _brief(error),
            state.upcoming_sleep,
            state.attempt_number + 1,
            self._policy.max_attempts,
        )


def _error_of(state: tenacity.RetryCallState) -> SupermetricsError:
    assert state.outcome is not None
    return cast("SupermetricsError", state.outcome.exception())  # others are not retried


def _brief(error: SupermetricsError) -> str:
    """Why a request is repeated, without the advice for one that has failed for good."""
    if error.status_code is None:
        return str(error)
    request_id = error.request_id and f"(request id {error.request_id})"
    parts = [f"The API responded {error.status_code}", error.code, request_id]
    return " ".join(part for part in parts if part)


@dataclass(frozen=True)
class PaceState:
    """What a pace knows; msgspec makes JSON of it.

    :param failures: polls in a row that have failed.
    :param waits: waits in a row that the API asked for.
    :param succeeded: how many polls have succeeded.
    :param last_failure: why the last poll failed, or None where it succeeded.
    :param not_before: no request before this time, whatever ends meanwhile; None where any time will do.
    """

    failures: int = 0
    waits: int = 0
    succeeded: int = 0
    last_failure: str | None = None
    not_before: AwareTime | None = None


class Pace:
    """When to poll next: what sensors and triggers do after a poll, whether it succeeded or failed.

    :param interval: seconds between polls.
    :param max_consecutive_failures: how many polls in a row may fail before polling does.
    :param longest: where the interval doubles with each poll, the longest one in seconds.
    :param clock: returns the current time (aware).
    :param jitter: returns a random number from 0 to 1.
    """

    def __init__(
        self,
        interval: float,
        max_consecutive_failures: int,
        longest: float | None = None,
        *,
        clock: Callable[[], datetime] = utcnow,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.interval = interval
        self.max_consecutive_failures = max_consecutive_failures
        self.state = PaceState()
        self._longest = longest
        self._clock = clock
        self._jitter = jitter

    def after_success(self, rate_limit: RateLimit | None, reserve: int) -> float:
        """Seconds until the next poll: more than the interval where the budget runs low.

        :param rate_limit: the budget as last received.
        :param reserve: how much of it is left to others.
        """
        state, interval, not_before = self.state, self.interval, None
        if self._longest is not None:
            interval = max(interval, min(interval * 2.0 ** min(state.succeeded, 60), self._longest))
        waits = 0
        limit, remaining = (rate_limit.limit, rate_limit.remaining) if rate_limit else (None, None)
        if reserve and remaining is not None and remaining <= reserve:
            waits = state.waits + 1
            required = default_rate_limit_delay(waits) * (1 + self._jitter() / 20)
            interval, not_before = max(interval, required), time_after(required, self._clock)
        elif limit is not None and remaining is not None and is_scarce(limit, remaining):
            stretched = interval * limit / (10 * max(remaining, 1))
            interval = max(interval, min(stretched, _MAX_RATE_LIMIT_DELAY))
        self.state = PaceState(waits=waits, succeeded=state.succeeded + 1, not_before=not_before)
        return interval

    def after_failure(self, error: SupermetricsError) -> float:
        """Seconds until the next poll: as long as the API says, where it does.

        :raises SupermetricsError: ``error``, where polling should end with it.
        """
        state = replace(self.state, last_failure=str(error)[:_MAX_FAILURE_LENGTH], not_before=None)
        delay = deferral_delay(error, waits=state.waits + 1, jitter=self._jitter())
        if delay is not None:
            not_before = time_after(delay, self._clock)
            self.state = replace(state, waits=state.waits + 1, not_before=not_before)
            return max(delay, self.interval)
        self.state = replace(state, failures=state.failures + 1)
        is_final = not error.retryable or isinstance(error, SupermetricsRateLimitError)
        if is_final or self.state.failures >= self.max_consecutive_failures:
            self.state = replace(self.state, failures=0)
            raise error
        return self.interval


def is_scarce(limit: int, remaining: int) -> bool:
    """Whether less than a tenth of the hour's budget is left."""
    return remaining * 10 < limit


def set_default_retry_policy(operator: Any) -> None:
    """Set ``SupermetricsRetryPolicy`` as the default, unless the task or its DAG sets another one."""
    # Not as an argument: a mapped task passes None for it, and default_args must count. Absent before 3.3.
    if getattr(operator, "retry_policy", "absent") is None:
        from airflow_provider_supermetrics.retry_policies.supermetrics import SupermetricsRetryPolicy

        operator.retry_policy = SupermetricsRetryPolicy(backoff_initial=None)


def _doubled(first: float, times: int, longest: float) -> float:
    # The exponent is capped so that a large count cannot overflow a float.
    return min(first * 2.0 ** min(times - 1, 60), longest)
