"""A rolling threshold in bounded memory, compared with one that keeps every time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_supermetrics._api.errors import InvalidRequest
from airflow_provider_supermetrics._api.spans import Cell, RollingCount, Threshold, begin_of_spans
from airflow_provider_supermetrics._api.state import from_json, to_json
from tests.support.model import ORIGIN
from tests.support.rolling import count, episodes, first_of, hot
from tests.support.selection import examples

SECOND = timedelta(seconds=1)

seconds = st.lists(st.integers(0, 60), max_size=40)


def at(second: float) -> datetime:
    """So many seconds after the origin."""
    return ORIGIN + second * SECOND


@settings(max_examples=examples(300), deadline=None)
@given(batches=st.lists(seconds, max_size=5), least=st.integers(1, 6), within=st.integers(1, 30))
def test_episodes_are_those_of_all_times(batches: list[list[int]], least: int, within: int) -> None:
    """In whatever order the times come: the same episodes and counts, from a bounded number of times."""
    rolling = RollingCount(least, within * SECOND, ORIGIN)
    cells: Any = ()
    times: list[int] = []
    for batch in batches:
        known = hot(times, least, within)
        times += batch
        before, cells = cells, rolling.merged(cells, rolling.plus((), map(at, batch)))
        expected = episodes(hot(times, least, within))
        found = rolling.episodes(cells)
        assert [e.begin for e in found] == [at(moments[0]) for moments in expected]
        assert [e.last + within * SECOND for e in found] == [at(moments[-1]) for moments in expected]
        firsts = [first_of(moments, times, within, least) for moments in expected]
        assert [e.first for e in found] == [at(first) for first in firsts]
        new = next((i for i, moments in enumerate(expected) if not known & set(moments)), None)
        fresh = rolling.first_new(before, cells)
        assert (fresh and fresh.begin) == (None if new is None else at(expected[new][0]))
        if new is not None:
            assert fresh is not None
            assert fresh.matches == count(times, firsts[new])
        if found:
            assert found[0].matches == count(times, firsts[0])
        assert all(len(cell.times) <= 2 * least for cell in cells)
        assert from_json(to_json(cells), tuple[Cell, ...]) == cells


@settings(max_examples=examples(300), deadline=None)
@given(times=seconds, least=st.integers(1, 6), within=st.integers(1, 30))
def test_spans_that_end_at_a_time_or_later(times: list[int], least: int, within: int) -> None:
    """They may begin before it; nothing is counted that is older than the first of them."""
    rolling = RollingCount(least, within * SECOND, ORIGIN)
    cells = rolling.plus((), map(at, times))
    in_order = sorted(times)
    reached = [
        index
        for index in range(len(times) - least + 1)
        if in_order[index + least - 1] >= within and in_order[index + least - 1] - in_order[index] <= within
    ]
    found = rolling.episodes(cells, at(within))
    assert bool(found) == bool(reached)
    if found:
        assert found[0].first == at(in_order[reached[0]])
        assert found[0].matches == len(times) - reached[0]
    spans = [sum(time - within <= other <= time for other in times) for time in times if time >= within]
    most = rolling.most(cells, at(within))
    assert most == max(spans, default=0) if most < least else max(spans) >= least


@settings(max_examples=examples(200), deadline=None)
@given(
    times=seconds,
    later=seconds,
    low=st.integers(0, 60),
    least=st.integers(1, 6),
    within=st.integers(1, 30),
)
@example(times=[9], later=[0], low=10, least=2, within=10)
def test_old_cells_can_be_left_out(
    times: list[int], later: list[int], low: int, least: int, within: int
) -> None:
    """What is older than the span before all that may come changes no report."""
    rolling = RollingCount(least, within * SECOND, ORIGIN)
    cells = rolling.plus((), map(at, times))
    kept = rolling.since(cells, at(low))
    assert sum(len(cell.times) for cell in kept) <= 2 * least * ((60 - low) // within + 3)
    new = [at(low + second) for second in later]
    expected = rolling.first_new(cells, rolling.plus(cells, new))
    assert rolling.first_new(kept, rolling.plus(kept, new)) == expected


def test_three_before_the_hour_and_three_after_it() -> None:
    """That no fixed hour holds six does not hide them."""
    nine = datetime.fromisoformat("2026-01-01T09:00:00+00:00")
    minutes = [58, 58.5, 59, 62, 62.5, 63]
    rolling = RollingCount(6, timedelta(hours=1), nine)
    cells = rolling.plus((), [nine + timedelta(minutes=minute) for minute in minutes])
    [episode] = rolling.episodes(cells, nine + timedelta(hours=1))
    assert (episode.first, episode.matches) == (nine + timedelta(minutes=58), 6)
    assert rolling.most(cells) == 6
    assert rolling.episodes(cells[:1]) == []


def test_both_ends_of_a_span_count() -> None:
    """Two errors exactly an hour apart are within an hour; a microsecond more is too much."""
    hour, tick = timedelta(hours=1), timedelta(microseconds=1)
    rolling = RollingCount(2, hour, ORIGIN)
    assert rolling.episodes(rolling.plus((), [ORIGIN, ORIGIN + hour]))
    assert rolling.most(rolling.plus((), [ORIGIN, ORIGIN + hour])) == 2
    assert not rolling.episodes(rolling.plus((), [ORIGIN, ORIGIN + hour + tick]))
    # An episode ends when the first match of its last span is older than the span; then it can begin again.
    cells = rolling.plus((), [ORIGIN, ORIGIN + hour])
    assert rolling.first_new(cells, rolling.plus(cells, [ORIGIN + hour])) is None
    assert rolling.first_new(cells, rolling.plus(cells, [ORIGIN + 2 * hour])) is not None


def test_the_last_year_that_a_time_can_have() -> None:
    """The API may send it, and an hour later is no time."""
    last = datetime.max.replace(tzinfo=ORIGIN.tzinfo)
    rolling = RollingCount(2, timedelta(hours=1), ORIGIN)
    cells = rolling.plus((), [last, last])
    assert [e.begin for e in rolling.episodes(cells)] == [last]
    assert rolling.since(cells, last) == cells


def test_where_to_begin_to_read() -> None:
    """A span before the time that counts, as far as there is such a time."""
    hour = timedelta(hours=1)
    assert begin_of_spans(ORIGIN, None) == ORIGIN
    assert begin_of_spans(ORIGIN, hour) == ORIGIN - hour
    earliest = datetime.min.replace(tzinfo=ORIGIN.tzinfo)
    assert begin_of_spans(earliest + hour / 2, hour) == earliest


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"within": 3600},
            r"within must be a timedelta of more than 0 .*such as timedelta\(hours=1\), not 3600",
        ),
        ({"within": timedelta()}, "within must be a timedelta"),
        ({"within": timedelta(days=32)}, "within must be a timedelta of more than 0 and up to 31 days"),
        ({"min_matches": 0}, "min_matches must be an integer of 1 or more, not 0"),
        ({"min_matches": True}, "min_matches must be an integer of 1 or more, not True"),
        (
            {"min_matches": 1001, "within": timedelta(1)},
            "min_matches must be at most 1,000 together with within, not 1,001",
        ),
    ],
)
def test_thresholds_that_are_refused(arguments: dict[str, Any], message: str) -> None:
    """Each is a mistake, and the message says what to write."""
    with pytest.raises(InvalidRequest, match=f"^{message}"):
        Threshold.of(**arguments)


def test_thresholds_at_their_bounds() -> None:
    """The bounds themselves are allowed; without a span there is no upper one."""
    for within in (timedelta(microseconds=1), timedelta(days=31)):
        assert Threshold.of(1000, within) == Threshold(1000, within)
    assert Threshold.of(10**9) == Threshold(10**9, None)
    assert Threshold.of() == Threshold()


def test_times_between_those_that_are_kept() -> None:
    """They are counted where the first span begins before them, and not where it begins after them."""
    rolling = RollingCount(2, 10 * SECOND, ORIGIN)
    cells = rolling.merged(rolling.plus((), map(at, [1, 2, 3, 4])), rolling.plus((), map(at, [5, 9])))
    assert cells == (Cell(0, (at(1), at(2), at(5), at(9)), 2),)
    assert rolling.merged(cells, ()) == cells
    assert [(e.first, e.matches) for e in rolling.episodes(cells)] == [(at(1), 6)]
    later = rolling.plus(cells, [at(17)])
    assert rolling.first_new(cells, later) is not None
    assert [(e.first, e.matches) for e in rolling.episodes(later)] == [(at(1), 7), (at(9), 2)]
    assert [(e.first, e.matches) for e in rolling.episodes(later, at(10))] == [(at(9), 2)]
    assert (rolling.most(later), rolling.most(later, at(10))) == (4, 2)
    assert rolling.since(later, at(30)) == ()
