"""The pace of polling, by a clock and a jitter that are passed in."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
import tenacity

from airflow_provider_supermetrics._api.responses import RateLimit
from airflow_provider_supermetrics._wait import (
    Pace,
    PaceState,
    RequestWaits,
    WaitPolicy,
    is_scarce,
    set_default_retry_policy,
    time_after,
    utcnow,
)
from airflow_provider_supermetrics.exceptions import (
    SupermetricsConnectionError,
    SupermetricsError,
    SupermetricsRateLimitError,
    SupermetricsRequestError,
    SupermetricsServerError,
)

pytestmark = pytest.mark.airflow_2

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


def pace(longest: float | None = None, failures: int = 3) -> Pace:
    """A pace of one minute, without jitter, whose clock stands still."""
    return Pace(60, failures, longest, clock=lambda: NOW, jitter=lambda: 0.0)


@pytest.mark.parametrize(
    ("rate_limit", "seconds"),
    [
        (None, 60),
        (RateLimit(None, None), 60),
        (RateLimit(None, 5), 60),
        (RateLimit(3600, 360), 60),
        (RateLimit(3600, 36), 600),
        (RateLimit(3600, 0), 3600),
    ],
)
def test_a_low_budget_stretches_the_interval(rate_limit: RateLimit | None, seconds: float) -> None:
    """With less than a tenth of the budget left, the interval grows, to an hour at most."""
    one = pace()
    assert one.after_success(rate_limit, 0) == seconds
    assert one.state == PaceState(succeeded=1)


def test_the_reserve_is_a_rate_limit_without_retry_after() -> None:
    """At or below it, five minutes, then ten; a poll above it resets the count."""
    one = pace()
    assert one.after_success(RateLimit(3600, 1000), 1000) == 300
    assert one.state.not_before == NOW + timedelta(seconds=300)
    assert one.after_success(RateLimit(3600, 900), 1000) == 600
    assert one.after_success(RateLimit(3600, 1001), 1000) == 60
    assert one.state == PaceState(succeeded=3)


def test_an_interval_that_doubles_has_a_longest() -> None:
    """From the first poll on."""
    one = pace(longest=200)
    assert [one.after_success(None, 0) for _ in range(4)] == [60, 120, 200, 200]


def test_a_retry_after_is_the_next_poll() -> None:
    """Or the interval, where that is longer; it is no failure that counts."""
    one = pace(failures=1)
    assert one.after_failure(SupermetricsRateLimitError("429", retry_after=900)) == 900
    assert one.state == PaceState(waits=1, last_failure="429", not_before=NOW + timedelta(seconds=900))
    assert one.after_failure(SupermetricsRateLimitError("429", retry_after=20)) == 60
    assert one.state.waits == 2


def test_a_rate_limit_without_retry_after_doubles_the_wait() -> None:
    """Five minutes, then ten, then twenty, without an end to the polling."""
    one = pace(failures=1)
    refused = SupermetricsRateLimitError("429")
    assert [one.after_failure(refused) for _ in range(3)] == [300, 600, 1200]
    assert one.state.waits == 3


def test_failures_in_a_row_end_polling() -> None:
    """After the last one the count begins again, for whoever continues all the same."""
    one = pace()
    error = SupermetricsServerError("x" * 5000)
    assert [one.after_failure(error), one.after_failure(error)] == [60, 60]
    with pytest.raises(SupermetricsServerError):
        one.after_failure(error)
    assert one.state.failures == 0
    assert one.state.last_failure == "x" * 1000


@pytest.mark.parametrize(
    "error", [SupermetricsRequestError("401"), SupermetricsRateLimitError("429", retry_after=90_000)]
)
def test_a_permanent_error_ends_polling(error: SupermetricsError) -> None:
    """A refused request, or a Retry-After of more than a day, ends polling at once."""
    with pytest.raises(type(error)):
        pace().after_failure(error)


def test_less_than_a_tenth_is_scarce() -> None:
    """Less than a tenth of the hour's budget is scarce."""
    assert is_scarce(100, 9)
    assert not is_scarce(100, 10)


def test_times_from_now() -> None:
    """Times from now are in UTC, and at most the largest datetime."""
    assert utcnow().tzinfo is timezone.utc
    assert time_after(5, lambda: NOW) == NOW + timedelta(seconds=5)
    assert time_after(1e12) == datetime.max.replace(tzinfo=timezone.utc)


class Log:
    """Keeps the messages."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def warning(self, message: str, /, *args: Any) -> None:
        """Keep a warning."""
        self.lines.append(message % args)


def test_the_waits_inside_a_call_have_a_sum() -> None:
    """Over its requests; each is logged, and the error is raised where no more is left."""
    log, naps = Log(), list[float]()
    policy = WaitPolicy(max_attempts=3, max_total_wait=10, backoff_initial=4, backoff_max=4)
    waits = RequestWaits(policy, log, jitter=lambda: 1.0)
    errors = [
        SupermetricsConnectionError("lost"),
        SupermetricsServerError("long advice", status_code=503, code="BUSY", request_id="r1"),
        SupermetricsServerError("again", status_code=500),
    ]

    def failing() -> None:
        raise errors[min(len(naps), 2)]

    with pytest.raises(SupermetricsServerError, match="again"):
        tenacity.Retrying(sleep=naps.append, **waits.options)(failing)
    assert naps == [4, 4]
    assert log.lines == [
        "lost; retrying in 4.0 s (attempt 2 of 3)",
        "The API responded 503 BUSY (request id r1); retrying in 4.0 s (attempt 3 of 3)",
    ]
    # Another request of the same call has 2 s left, which is less than its first wait.
    with pytest.raises(SupermetricsServerError):
        tenacity.Retrying(sleep=naps.append, **waits.options)(failing)
    assert len(naps) == 2
    assert not math.isinf(sum(naps))


def test_a_retry_policy_that_is_set_stays() -> None:
    """A retry policy that is set is kept; where Airflow has no such policies, none is set."""
    own = object()
    for operator in (SimpleNamespace(retry_policy=own), SimpleNamespace()):
        before = vars(operator).copy()
        set_default_retry_policy(operator)
        assert vars(operator) == before


def test_the_default_retry_policy() -> None:
    """Where Airflow has such policies and the task has none."""
    # Retry policies came with Airflow 3.3.
    policies = pytest.importorskip("airflow.sdk.definitions.retry_policy")
    operator = SimpleNamespace(retry_policy=None)
    set_default_retry_policy(operator)
    assert isinstance(operator.retry_policy, policies.RetryPolicy)
