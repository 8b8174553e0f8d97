"""Pages that a server cuts anywhere, once or at random: nothing is lost, and nothing is refused too early."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_supermetrics.protocol.entries import Entry
from airflow_provider_supermetrics.protocol.errors import NoProgress
from airflow_provider_supermetrics.protocol.walk import LogWalk
from tests.support.histories import MAX_PAGE, Outcome, drawn_history, outcome_of
from tests.support.model import ORIGIN

SECOND = timedelta(seconds=1)


def test_a_page_cut_once_within_the_oldest_second_of_the_history() -> None:
    """2,300 entries, one a second, and 5 more in the oldest second: of four pages, the third is cut there."""
    times = [ORIGIN - i * SECOND for i in range(2300)] + [ORIGIN - 2299 * SECOND] * 5
    history: list[Entry] = [
        {"id": str(i), "log_time": at.strftime("%Y-%m-%dT%H:%M:%SZ")} for i, at in enumerate(times)
    ]
    walk, got, requests = LogWalk(), 0, 0
    while walk.next:
        requests += 1
        before = walk.next.before
        page = [e for e, at in zip(history, times, strict=True) if before is None or at < before]
        got += len(walk.receive(page[: 302 if requests == 3 else 1000]))
    assert got == 2305


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_page_cut_once_within_a_time_is_requested_again(length: int) -> None:
    """The oldest entry read may be missing from it: that is a cut, and neither a gap nor an end."""
    ids = [str(i) for i in range(5)]
    page: list[Entry] = [{"id": i, "log_time": "2026-01-01T00:00:05Z"} for i in ids]
    older: Entry = {"id": "9", "log_time": "2026-01-01T00:00:01Z"}
    walk = LogWalk(start=ORIGIN + 4 * SECOND)
    got = walk.receive(page)
    got += walk.receive(page[:length])
    got += walk.receive([*page, older])
    assert ([e["id"] for e in got], walk.next) == (ids, None)


@settings(max_examples=500, deadline=None)
@given(st.integers(0, 2**32))
def test_whatever_brings_more_when_asked_again_is_read(seed: int) -> None:
    """Random cuts, none of which brings nothing new: complete, or refused where one time fills a page."""
    history = drawn_history(random.Random(seed), cuts_bring_more=True)
    outcome = outcome_of(history)
    assert outcome in (Outcome.COMPLETE, Outcome.FULL_TIME, Outcome.ALL_READ)


@settings(max_examples=500, deadline=None)
@given(st.integers(0, 2**32))
def test_random_cuts_lose_nothing_silently(seed: int) -> None:
    """Any cuts: complete, refused, or the one case beyond proof."""
    assert outcome_of(drawn_history(random.Random(seed))) is not Outcome.LOST


def test_a_time_that_fills_the_largest_page_is_refused() -> None:
    """The property tests have such times: their largest page is small."""
    page: list[Entry] = [{"id": str(i), "log_time": "2026-01-01T00:00:05Z"} for i in range(MAX_PAGE)]
    walk = LogWalk(limit=MAX_PAGE, max_limit=MAX_PAGE)
    walk.receive(page)
    state = walk.to_state()
    with pytest.raises(NoProgress):
        walk.receive(page)
    assert walk.to_state() == state
