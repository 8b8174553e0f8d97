"""Waiting is arithmetic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_supermetrics.protocol.retry import WaitPolicy

POLICY = WaitPolicy(
    max_inline_wait=60, max_attempts=5, max_total_wait=100, backoff_first=1, backoff_longest=8
)


@pytest.mark.parametrize(
    ("attempts", "waited", "retry_after", "jitter", "wait"),
    [
        (1, 0, None, 1, 1),
        (1, 0, None, 0, 0.5),
        (2, 1, None, 1, 2),
        (4, 7, None, 1, 8),
        (5, 15, None, 1, None),  # attempts used up
        (1, 0, 7, 0.5, 7),  # the API's word, to the second
        (1, 0, 60, 0, 60),
        (1, 0, 61, 0, None),  # too long: not begun
        (2, 60, 41, 0, None),  # too much in all
        (1, 0, 0, 1, 0),
    ],
)
def test_next_wait(
    attempts: int, waited: float, retry_after: float | None, jitter: float, wait: float | None
) -> None:
    """Doubling with jitter, the API's word where it gives one, and three bounds."""
    assert POLICY.next_wait(attempts=attempts, waited=waited, retry_after=retry_after, jitter=jitter) == wait


@given(
    st.builds(
        WaitPolicy,
        max_inline_wait=st.floats(0, 1e4),
        max_attempts=st.integers(1, 2000),
        max_total_wait=st.floats(0, 1e4),
        backoff_first=st.floats(0, 100),
        backoff_longest=st.floats(0, 1e4),
    ),
    st.lists(st.none() | st.floats(0, 1e6), max_size=30),
    st.floats(0, 1),
)
def test_the_bounds_hold_for_any_policy(
    policy: WaitPolicy, answers: list[float | None], jitter: float
) -> None:
    """No sum of waits exceeds its cap, no attempt its number, and no Retry-After is shortened."""
    waited, attempts = 0.0, 0
    for retry_after in answers:
        attempts += 1
        wait = policy.next_wait(attempts=attempts, waited=waited, retry_after=retry_after, jitter=jitter)
        if wait is None:
            break
        assert 0 <= wait <= policy.max_inline_wait
        assert retry_after is None or wait == retry_after
        waited += wait
    assert attempts <= policy.max_attempts
    assert waited <= policy.max_total_wait
