"""The arithmetic of waits."""

from __future__ import annotations

import re
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_supermetrics._api.errors import InvalidRequest
from airflow_provider_supermetrics._wait import (
    MIN_DEFERRAL_SECONDS,
    WaitPolicy,
    default_rate_limit_delay,
    deferral_delay,
)
from airflow_provider_supermetrics.exceptions import (
    SupermetricsConnectionError,
    SupermetricsError,
    SupermetricsRateLimitError,
    SupermetricsRequestError,
    SupermetricsResponseError,
    SupermetricsServerError,
)

pytestmark = pytest.mark.airflow_2


def failed(retry_after: float | None, rate_limited: bool) -> SupermetricsError:
    """An error after which waiting may help."""
    kind = SupermetricsRateLimitError if rate_limited else SupermetricsServerError
    return kind("failed", retry_after=retry_after)


POLICY = WaitPolicy(max_inline_wait=60, max_attempts=5, max_total_wait=100, backoff_initial=1, backoff_max=8)
PATIENT = WaitPolicy(max_inline_wait=2000, max_total_wait=2000)
POLICIES = st.builds(
    WaitPolicy,
    max_inline_wait=st.floats(0, 1e4),
    max_attempts=st.integers(1, 2000),
    max_total_wait=st.floats(0, 1e4),
    backoff_initial=st.floats(0, 100),
    backoff_max=st.floats(0, 1e4),
)


@pytest.mark.parametrize(
    ("policy", "attempts", "waited", "retry_after", "rate_limited", "jitter", "wait"),
    [
        (POLICY, 1, 0, None, False, 1, 1),
        (POLICY, 1, 0, None, False, 0, 0.5),
        (POLICY, 2, 1, None, False, 1, 2),
        (POLICY, 4, 7, None, False, 1, 8),
        (POLICY, 5, 15, None, False, 1, None),  # attempts used up
        (POLICY, 1, 0, 7, True, 0, 7),  # exactly Retry-After
        (POLICY, 1, 0, 7, False, 0.5, 7.5),  # jitter of up to a second
        (POLICY, 1, 0, 60, True, 1, 60),
        (POLICY, 1, 0, 61, True, 0, None),  # longer than max_inline_wait
        (POLICY, 2, 60, 41, True, 0, None),  # more than max_total_wait in all
        (POLICY, 1, 0, 0, True, 1, 1),  # a Retry-After of 0 does not shorten the backoff
        (POLICY, 1, 0, 0.9, False, 0, 0.9),
        (POLICY, 3, 0, 1, True, 0, 1),  # nor does one of a second lengthen it
        (POLICY, 1, 0, None, True, 0, None),  # the budget is per hour, and no Retry-After was given
        (PATIENT, 1, 0, None, True, 0, 300),
        (PATIENT, 2, 300, None, True, 1, 660),
        (PATIENT, 3, 900, None, True, 0, None),
    ],
)
def test_inline_wait(
    policy: WaitPolicy,
    attempts: int,
    waited: float,
    retry_after: float | None,
    rate_limited: bool,
    jitter: float,
    wait: float | None,
) -> None:
    """Doubling with jitter, Retry-After where there is one, and three bounds."""
    assert wait == policy.inline_delay(
        failed(retry_after, rate_limited), attempts=attempts, waited=waited, jitter=jitter
    )


@given(
    POLICIES,
    st.lists(st.tuples(st.none() | st.floats(0, 1e6), st.booleans(), st.floats(0, 1)), max_size=30),
)
def test_the_bounds_hold_for_any_policy(
    policy: WaitPolicy, failures: list[tuple[float | None, bool, float]]
) -> None:
    """No sum of waits exceeds its cap, no attempt its number, and no Retry-After is shortened."""
    waited, attempts = 0.0, 0
    for retry_after, rate_limited, jitter in failures:
        attempts += 1
        wait = policy.inline_delay(
            failed(retry_after, rate_limited), attempts=attempts, waited=waited, jitter=jitter
        )
        if wait is None:
            break
        assert 0 <= wait <= policy.max_inline_wait
        assert retry_after is None or retry_after <= wait
        assert retry_after is None or retry_after < 1 or wait <= retry_after + 1
        waited += wait
    assert attempts <= policy.max_attempts
    assert waited <= policy.max_total_wait


@given(st.integers(1, 10**6), st.none() | st.floats(0, 1e12), st.floats(0, 1))
def test_deferral_delay(waits: int, retry_after: float | None, jitter: float) -> None:
    """A deferral is never early, much too late or shorter than a heartbeat; an absurd time is refused."""
    wait = deferral_delay(failed(retry_after, rate_limited=True), waits=waits, jitter=jitter)
    if retry_after is not None and retry_after > 86_400:
        assert wait is None
        return
    assert wait is not None
    named = default_rate_limit_delay(waits) if retry_after is None else retry_after
    # A short Retry-After that is repeated becomes longer, up to an hour.
    least = MIN_DEFERRAL_SECONDS * 2 ** min(waits - 1, 10) if retry_after is not None else 0
    assert max(named, min(least, 3600)) <= wait <= max(named, min(least, 3600)) + 60


def test_many_that_were_refused_together_do_not_return_together() -> None:
    """A hundred tasks, with jitters spread evenly, come in no fewer than sixty different seconds."""
    seconds = {
        int(deferral_delay(failed(3600, rate_limited=True), waits=1, jitter=i / 100) or 0) for i in range(100)
    }
    assert len(seconds) >= 60


def test_the_wait_without_retry_after_grows() -> None:
    """From minutes to the hour in which the budget comes back."""
    assert [default_rate_limit_delay(n) for n in (1, 2, 3, 4, 5, 6, 10**6)] == [
        300,
        600,
        1200,
        2400,
        3600,
        3600,
        3600,
    ]


@pytest.mark.parametrize(
    ("changes", "name", "value"),
    [
        ({"max_inline_wait": 5}, "max_inline_wait", 5.0),
        ({"max_inline_wait": "5.5"}, "max_inline_wait", 5.5),
        ({"max_attempts": "3"}, "max_attempts", 3),
        ({"rate_limit_reserve": 1000.0}, "rate_limit_reserve", 1000),
        ({"max_total_wait": 0}, "max_total_wait", 0.0),
    ],
)
def test_numbers_can_be_changed(changes: dict[str, Any], name: str, value: float) -> None:
    """Forms, URIs and templates pass strings; the other numbers stay."""
    changed = WaitPolicy(backoff_initial=7).override(changes)
    assert getattr(changed, name) == value
    assert type(getattr(changed, name)) is type(value)
    assert changed.backoff_initial == 7


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"max_wait": 5}, "no 'max_wait' in a wait policy, but max_inline_wait, max_attempts"),
        ({"max_attempts": 0}, "max_attempts must be an integer of 1 or more"),
        ({"max_attempts": 1.5}, "max_attempts must be an integer of 1 or more"),
        ({"max_attempts": "1.5"}, "max_attempts must be an integer"),
        ({"rate_limit_reserve": -1}, "rate_limit_reserve must be an integer of 0 or more"),
        ({"max_inline_wait": -0.1}, "max_inline_wait must be a number of 0 or more"),
        ({"max_inline_wait": True}, "max_inline_wait must be a number of 0 or more"),
        ({"max_inline_wait": None}, "max_inline_wait must be a number of 0 or more"),
        ({"max_inline_wait": "soon"}, "max_inline_wait must be a number"),
        ({"max_total_wait": float("inf")}, "max_total_wait must be a number"),
        ({"max_total_wait": float("nan")}, "max_total_wait must be a number"),
    ],
)
def test_an_invalid_policy(changes: dict[str, Any], complaint: str) -> None:
    """The message says which name, and what it should be."""
    with pytest.raises(InvalidRequest, match=complaint):
        WaitPolicy().override(changes)


@pytest.mark.parametrize("kind", [SupermetricsRequestError, SupermetricsResponseError, SupermetricsError])
def test_errors_that_waiting_does_not_resolve(kind: type[SupermetricsError]) -> None:
    """Errors that waiting does not resolve are not retried."""
    assert PATIENT.inline_delay(kind("refused"), attempts=1, waited=0, jitter=0) is None
    assert deferral_delay(kind("refused"), waits=1, jitter=0) is None


@pytest.mark.parametrize("kind", [SupermetricsServerError, SupermetricsConnectionError])
def test_a_task_does_not_defer_for_an_unknown_time(kind: type[SupermetricsError]) -> None:
    """Without Retry-After, only a rate limit has a time of its own: the budget is per hour."""
    assert deferral_delay(kind("failed"), waits=1, jitter=0) is None
    assert deferral_delay(SupermetricsServerError("busy", retry_after=100), waits=1, jitter=0) == 100
    assert deferral_delay(SupermetricsServerError("busy", retry_after=1), waits=1, jitter=0) == 15
    assert deferral_delay(SupermetricsServerError("busy", retry_after=86_400), waits=1, jitter=0) == 86_400
    assert deferral_delay(SupermetricsServerError("busy", retry_after=86_400.5), waits=1, jitter=0) is None
    assert deferral_delay(SupermetricsRateLimitError("spent"), waits=1, jitter=0) == 300


def test_the_documented_numbers(repository: Path) -> None:
    """The table in docs/limits.md has the defaults."""
    page = (repository / "docs" / "limits.md").read_text("utf-8").partition("## The numbers")[2]
    documented = {}
    for names, numbers in re.findall(r"^\| (`[^|]*`) \|[^|]*\| ([\d, ]+)[^|]*\|$", page, re.MULTILINE):
        documented |= zip(re.findall(r"`(\w+)`", names), map(float, numbers.split(", ")), strict=True)
    defaults = dict(zip((field.name for field in fields(WaitPolicy)), astuple(WaitPolicy()), strict=True))
    assert documented.items() >= defaults.items()
