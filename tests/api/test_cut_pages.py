"""Pages that a server cuts at any point: no entry is lost, and no page is refused unnecessarily."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_supermetrics._api.entry import Fields
from airflow_provider_supermetrics._api.errors import NoProgress
from airflow_provider_supermetrics._api.pager import LogPager
from tests.support.histories import MAX_PAGE, Outcome, drawn_history, outcome_of
from tests.support.model import ORIGIN, page_of
from tests.support.selection import examples

SECOND = timedelta(seconds=1)


def test_a_page_cut_once_within_the_oldest_second_of_the_history() -> None:
    """Of four pages of 2,300 entries, one per second, the third is cut among 5 more in the oldest second."""
    times = [ORIGIN - i * SECOND for i in range(2300)] + [ORIGIN - 2299 * SECOND] * 5
    history: list[Fields] = [
        {"id": str(i), "log_time": at.strftime("%Y-%m-%dT%H:%M:%SZ")} for i, at in enumerate(times)
    ]
    pager, got, requests = LogPager(), 0, 0
    while pager.next:
        requests += 1
        before = pager.next.before
        page = [e for e, at in zip(history, times, strict=True) if before is None or at < before]
        got += len(pager.receive(page_of(page[: 302 if requests == 3 else 1000])))
    assert got == 2305


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_page_cut_once_within_a_time_is_requested_again(length: int) -> None:
    """A page without the oldest entry read is a cut, and neither a gap nor the end."""
    ids = [str(i) for i in range(5)]
    page: list[Fields] = [{"id": i, "log_time": "2026-01-01T00:00:05Z"} for i in ids]
    older: Fields = {"id": "9", "log_time": "2026-01-01T00:00:01Z"}
    pager = LogPager(start=ORIGIN + 4 * SECOND)
    got = pager.receive(page_of(page))
    got += pager.receive(page_of(page[:length]))
    got += pager.receive(page_of([*page, older]))
    assert ([e.fields["id"] for e in got], pager.next) == (ids, None)


@settings(max_examples=examples(500), deadline=None)
@given(st.integers(0, 2**32))
def test_a_cut_page_with_new_entries_when_requested_again_is_read(seed: int) -> None:
    """With random cuts that leave a new entry, reading is complete, or refused if one time fills a page."""
    history = drawn_history(random.Random(seed), cuts_bring_more=True)
    outcome = outcome_of(history)
    assert outcome in (Outcome.COMPLETE, Outcome.FULL_TIME, Outcome.ALL_READ)


@settings(max_examples=examples(500), deadline=None)
@given(st.integers(0, 2**32))
def test_random_cuts_lose_nothing_silently(seed: int) -> None:
    """With any cuts, reading is complete, refused, or the one case that cannot be detected."""
    assert outcome_of(drawn_history(random.Random(seed))) is not Outcome.LOST


def test_a_time_that_fills_the_largest_page_is_refused() -> None:
    """A time that fills the largest page is refused; the property tests cover this with small pages."""
    page: list[Fields] = [{"id": str(i), "log_time": "2026-01-01T00:00:05Z"} for i in range(MAX_PAGE)]
    pager = LogPager(limit=MAX_PAGE, max_limit=MAX_PAGE)
    pager.receive(page_of(page))
    state = pager.state
    with pytest.raises(NoProgress):
        pager.receive(page_of(page))
    assert pager.state == state


def test_a_small_page_that_one_time_fills_below_it_is_requested_with_the_largest_limit() -> None:
    """Three entries at the oldest time, pages of two, an inclusive `before`, and a cut second page."""
    newer: Fields = {"id": "newer", "log_time": "2026-01-01T00:00:00.000003Z"}
    ties: list[Fields] = [{"id": str(i), "log_time": "2026-01-01T00:00:00.000000Z"} for i in range(3)]
    pager = LogPager(limit=2)
    got = pager.receive(page_of([newer, ties[0]]))
    got += pager.receive(page_of([ties[0]]))
    while pager.next:
        assert pager.next.before is not None
        page = ties if pager.next.before >= ORIGIN else []
        got += pager.receive(page_of(page[: pager.next.limit]))
    assert sorted(e.fields["id"] for e in got) == ["0", "1", "2", "newer"]


def test_a_cut_page_within_a_time_that_is_printed_more_coarsely() -> None:
    """With times of several precisions, the next request covers the whole second of the missing entry."""
    fine: Fields = {"id": "fine", "log_time": "2026-01-01T00:00:05.123Z"}
    coarse: list[Fields] = [{"id": i, "log_time": "2026-01-01T00:00:04Z"} for i in "xy"]
    pager = LogPager()
    pager.receive(page_of([fine, *coarse]))
    assert pager.receive(page_of(coarse[:1])) == []
    assert pager.next is not None
    assert pager.next.before == ORIGIN + 5 * SECOND


def test_a_page_below_the_oldest_time_that_repeats_it_and_goes_on() -> None:
    """With an inclusive server and microseconds, such a page proves that time complete, and is read."""
    entries: list[Fields] = [{"id": str(i), "log_time": f"2026-01-01T00:00:00.00000{i}Z"} for i in (5, 3)]
    pager = LogPager()
    pager.receive(page_of(entries[:1]))
    pager.receive(page_of(entries[:1]))
    assert [entry.fields["id"] for entry in pager.receive(page_of(entries))] == ["3"]
