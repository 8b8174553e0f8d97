"""Polls with a rolling threshold: what the sensor's counter and the event trigger's alarm report."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_supermetrics._api.alarm import Alarm, AlarmState
from airflow_provider_supermetrics._api.counter import CounterState, ErrorCounter
from airflow_provider_supermetrics._api.entry import Fields, LogEntry
from airflow_provider_supermetrics._api.errors import ContractViolation
from airflow_provider_supermetrics._api.filter import ErrorFilter
from airflow_provider_supermetrics._api.spans import Threshold
from airflow_provider_supermetrics._api.state import from_json, to_json
from airflow_provider_supermetrics._api.tail import LogTail, TailState
from tests.support.model import ORIGIN, Server, printed
from tests.support.rolling import count, episodes, first_of, hot
from tests.support.selection import examples

SECOND = timedelta(seconds=1)
OVERLAP = 10 * SECOND


def server() -> Server:
    """A log that has one old entry."""
    before: Fields = {"id": "before", "log_time": printed(ORIGIN - SECOND, "second"), "status": 200}
    return Server([(ORIGIN - SECOND, before)], False, "second", False, None, None, random.Random(1))


def log(source: Server, seconds: list[int], status: int = 500) -> None:
    """Let errors appear in the log, dated so many seconds after the origin."""
    for second in seconds:
        at = ORIGIN + second * SECOND
        number = f"e{len(source.entries)}"
        source.entries.append((at, {"id": number, "log_time": printed(at, "second"), "status": status}))


def second_of(entry: LogEntry | dict[str, Any]) -> int:
    """The time of an entry, in seconds after the origin."""
    if isinstance(entry, dict):
        printed_time = entry["log_time"]
        return int(printed_time[14:16]) * 60 + int(printed_time[17:19])
    return int((entry.time - ORIGIN) / SECOND)


def poll(source: Server, tail: LogTail | ErrorCounter, now: int, most: int | None = None) -> list[LogEntry]:
    """Poll once, or send the first requests of a poll only."""
    tail.begin_poll(ORIGIN + now * SECOND)
    found: list[LogEntry] = []
    while tail.next is not None:
        if most == 0:
            return found
        most = None if most is None else most - 1
        found += tail.receive(source.page(tail.next.before, tail.next.limit))
    tail.finish_poll(ORIGIN + now * SECOND)
    return found


# Arrivals between polls, each so much ahead of the newest entry, or behind it.
batches = st.lists(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 10)), max_size=25), min_size=1, max_size=5
)


def appear(source: Server, batch: list[tuple[int, int]], newest: int) -> None:
    """Let a batch appear, none of it later than the overlap allows."""
    log(source, [min(118, max(0, newest + ahead - behind)) for ahead, behind in batch])


@settings(max_examples=examples(300), deadline=None)
@given(
    made=batches,
    cuts=st.lists(st.none() | st.integers(0, 2), min_size=5, max_size=5),
    abandons=st.booleans(),
    least=st.integers(1, 6),
    within=st.integers(1, 20),
    lookback=st.booleans(),
    first_limit=st.sampled_from([1, 3, 100]),
)
def test_the_counter_is_that_of_all_entries(
    made: list[list[tuple[int, int]]],
    cuts: list[int | None],
    abandons: bool,
    least: int,
    within: int,
    lookback: bool,
    first_limit: int,
) -> None:
    """Whatever arrives late, interrupts a poll, or restarts the process."""
    source, threshold = server(), Threshold(least, within * SECOND)
    since = within if lookback else 0
    started = (ErrorFilter(), 7, threshold, ORIGIN + since * SECOND)
    counter = ErrorCounter(CounterState(TailState(ORIGIN, OVERLAP, first_limit)), *started)
    newest, now = 0, 120
    known: list[int] = []
    unfinished: list[int] = []
    for batch, cut in zip(made, cuts, strict=False):
        appear(source, batch, newest)
        now += 1
        unfinished += map(second_of, poll(source, counter, now, cut))
        if counter.next is not None and abandons:
            counter.abandon_poll()
            unfinished = []
        elif counter.next is None:
            known, unfinished = known + unfinished, []
        counter = ErrorCounter(from_json(to_json(counter.state), CounterState), *started)
        newest = max([newest, *known])
        in_order = sorted(known)
        reached = [
            index
            for index in range(len(known) - least + 1)
            if in_order[index + least - 1] >= since
            and in_order[index + least - 1] - in_order[index] <= within
        ]
        assert counter.is_reached == bool(reached)
        result = counter.result()
        if reached:
            expected = in_order[reached[0] :]
            assert result["since"] == printed(ORIGIN + expected[0] * SECOND, "second")
            assert result["matches"] == len(expected)
            assert [second_of(entry) for entry in result["entries"]] == expected[::-1][:7]
            assert counter.count >= least
            return
        assert (result["matches"], result["entries"]) == (0, [])
        assert counter.count < least


@settings(max_examples=examples(300), deadline=None)
@given(made=batches, least=st.integers(1, 6), within=st.integers(1, 20))
def test_the_alarm_is_that_of_all_entries(made: list[list[tuple[int, int]]], least: int, within: int) -> None:
    """One report for each poll in which the count has reached the threshold, none while it stays there."""
    source, threshold = server(), Threshold(least, within * SECOND)
    tail = LogTail(TailState(ORIGIN, OVERLAP))
    alarm = Alarm(AlarmState(), ErrorFilter(), threshold, 7)
    known: list[int] = []
    for now, batch in enumerate([*made, []], 120):
        appear(source, batch, max(known, default=0))
        before = tail.state
        new = poll(source, tail, now)
        reported = alarm.take(new, before, tail.state)
        earlier = hot(known, least, within)
        known += map(second_of, new)
        fresh = [part for part in episodes(hot(known, least, within)) if not earlier & set(part)]
        assert bool(reported) == bool(fresh)
        if reported:
            first = first_of(fresh[0], known, within, least)
            assert reported["matches"] == count(known, first)
            assert reported["since"] == printed(ORIGIN + first * SECOND, "second")
            newest = sorted((second for second in known if second >= first), reverse=True)
            assert [second_of(entry) for entry in reported["entries"]] == newest[:7]
        state = from_json(to_json(alarm.state), AlarmState)
        assert state == alarm.state
        assert len(state.matches.entries) <= 7
        alarm = Alarm(state, ErrorFilter(), threshold, 7)


def test_a_threshold_is_told_once_until_it_has_been_below_again() -> None:
    """And then again, with the errors of the span that reached it."""
    source = server()
    tail = LogTail(TailState(ORIGIN, OVERLAP))
    alarm = Alarm(AlarmState(), ErrorFilter(), Threshold(3, 20 * SECOND), 20)
    reports = []
    for second in (1, 2, 3, 10, 18, 35, 37, 38, 90):
        log(source, [second])
        log(source, [second], status=200)
        before = tail.state
        reports.append(alarm.take(poll(source, tail, 120), before, tail.state))
    assert [reported and reported["matches"] for reported in reports] == [
        *(None, None, 3, None, None, None, 3, None, None)
    ]
    assert reports[6] is not None
    assert [second_of(entry) for entry in reports[6]["entries"]] == [37, 35, 18]
    assert (reports[6]["since"], reports[6]["until"]) == ("2026-01-01T00:00:18Z", "2026-01-01T00:00:37Z")


def test_matches_add_up_without_a_span() -> None:
    """However far apart, until there are enough; a report has all since the one before."""
    source = server()
    tail = LogTail(TailState(ORIGIN, OVERLAP))
    alarm = Alarm(AlarmState(), ErrorFilter(), Threshold(3), 2)
    reports = []
    for seconds in ([1], [30], [], [60, 61], [70], [71], [72]):
        log(source, seconds)
        before = tail.state
        reports.append(alarm.take(poll(source, tail, 120), before, tail.state))
        alarm = Alarm(from_json(to_json(alarm.state), AlarmState), ErrorFilter(), Threshold(3), 2)
    assert [reported and reported["matches"] for reported in reports] == [*(None,) * 3, 4, None, None, 3]
    first, second = reports[3], reports[6]
    assert first is not None
    assert second is not None
    assert [second_of(entry) for entry in first["entries"]] == [61, 60]
    assert (first["since"], first["until"]) == ("2026-01-01T00:00:00Z", "2026-01-01T00:01:01Z")
    assert (second["since"], second["until"]) == ("2026-01-01T00:01:01Z", "2026-01-01T00:01:12Z")


def test_what_a_poll_without_a_span_forgets() -> None:
    """Times that no later span can hold are not kept."""
    source = server()
    counter = ErrorCounter(
        CounterState(TailState(ORIGIN, OVERLAP)), ErrorFilter(), 20, Threshold(3, 5 * SECOND)
    )
    assert counter.count == 0
    log(source, [1, 2, 50, 51])
    poll(source, counter, 120)
    assert counter.count == 2
    assert [cell.number for cell in counter.state.cells] == [10]
    counter.begin_poll(ORIGIN + 121 * SECOND)
    log(source, [60])
    counter.receive(source.page(None, 100))
    assert counter.state.pending_cells
    counter.abandon_poll()
    assert not counter.state.pending_cells
    assert counter.result() == {
        "matches": 0,
        "entries": [],
        "since": "2026-01-01T00:00:00Z",
        "until": "2026-01-01T00:00:51Z",
    }
    log(source, [49])
    poll(source, counter, 122)
    assert counter.is_reached
    assert counter.result()["matches"] == 4
    assert counter.result()["since"] == "2026-01-01T00:00:49Z"


def test_memory_is_bounded() -> None:
    """Of a thousand errors in a second, the times of twelve are kept; their number is exact."""
    source = server()
    counter = ErrorCounter(
        CounterState(TailState(ORIGIN, OVERLAP)), ErrorFilter(), 20, Threshold(6, timedelta(hours=1))
    )
    log(source, [5] * 900 + [7] * 900)
    poll(source, counter, 120)
    [cell] = counter.state.cells
    assert (len(cell.times), cell.others) == (12, 1788)
    assert counter.result()["matches"] == 1800
    assert len(str(to_json(counter.state.cells))) < 500


def test_a_state_of_an_earlier_version() -> None:
    """It has no times, and counts on."""
    stored = to_json(CounterState(TailState(ORIGIN, OVERLAP)))
    del stored["cells"], stored["pending_cells"]
    assert from_json(stored, CounterState) == CounterState(TailState(ORIGIN, OVERLAP))
    assert from_json({}, AlarmState) == AlarmState()
    for broken in ({"cells": 5}, {"cells": [{"number": 1}]}, {"matches": None}, [], None):
        with pytest.raises(ContractViolation):
            from_json(broken, AlarmState)
