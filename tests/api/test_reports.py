"""Runs of a sensor that know each other's reports report each error once."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_supermetrics._api.counter import CounterState, ErrorCounter
from airflow_provider_supermetrics._api.filter import ErrorFilter
from airflow_provider_supermetrics._api.reports import Report, short_key, unreported
from airflow_provider_supermetrics._api.state import from_json, to_json
from airflow_provider_supermetrics._api.tail import TailState
from tests.support.model import ORIGIN, Server, page_of, printed
from tests.support.selection import examples

SECOND = timedelta(seconds=1)
OVERLAP = 10 * SECOND


def at(seconds: int) -> datetime:
    """Return a time."""
    return ORIGIN + seconds * SECOND


@dataclass
class Runs:
    """Runs of one task, one after the other, on a log that grows.

    :param late: entry -> (when it appears, when it happened, its status)
    """

    late: list[tuple[int, int, int]]
    lookback: timedelta
    reports: dict[str, tuple[Report, bool]] = field(default_factory=dict)
    results: dict[str, list[str]] = field(default_factory=dict)
    begun: int = 0

    def server(self, now: int) -> Server:
        """Return the log as it is at a time."""
        entries = [
            (at(time), {"id": f"e{number}", "log_time": printed(at(time), "second"), "status": status})
            for number, (appears, time, status) in enumerate(self.late)
            if appears <= now
        ]
        return Server(entries, True, "second", finer=False, cap=None, cuts=None, shuffled=random.Random(1))

    def run(self, name: str, polls: list[int], least: int, ends: str) -> None:
        """Run once: poll at these times until so many errors are found, then end in some way."""
        self.reports.pop(name, None)
        self.results.pop(name, None)
        known = tuple(report for report, stands in self.reports.values() if stands)
        since = unreported(known, at(polls[0]) - self.lookback)[0][0]
        state = CounterState(TailState(since, OVERLAP, first_limit=2), reports=known)
        for now in polls:
            counter = ErrorCounter(from_json(to_json(state), CounterState), ErrorFilter(), 1000)
            counter.begin_poll(at(now))
            source = self.server(now)
            while counter.next is not None:
                counter.receive(source.page(counter.next.before, counter.next.limit))
            counter.finish_poll(at(now))
            state = counter.state
            if counter.matches.count >= least:
                break
        if ends == "killed" or (report := counter.report()) is None:
            return
        is_success = counter.matches.count >= least and ends == "success"
        # What a task has stored stays, whatever becomes of the task.
        self.reports[name] = (report, is_success or not counter.matches.count)
        if is_success:
            self.results[name] = [entry["id"] for entry in counter.matches.entries]

    def reported(self) -> list[str]:
        """Return what all runs have reported, as their results are now."""
        return sorted(entry for result in self.results.values() for entry in result)


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[tuple[int, int, int]], list[tuple[Any, ...]], int]:
    """Draw a log, and what happens to the runs of a task that reads it."""
    length = 300
    late = draw(
        st.lists(
            st.tuples(st.integers(0, length), st.integers(0, 10), st.sampled_from([200, 500])),
            max_size=15,
        )
    )
    log = [(time + delay, time, status) for time, delay, status in late]
    moments = sorted(draw(st.lists(st.integers(0, length), min_size=1, max_size=8)))
    events = [
        (
            moment,
            draw(st.integers(0, 12)),
            draw(st.lists(st.integers(0, 25), max_size=3)),
            draw(st.integers(1, 3)),
            draw(st.sampled_from(["success", "success", "failed", "killed"])),
        )
        for moment in moments
    ]
    return log, events, draw(st.sampled_from([20, 100, 1000]))


@settings(max_examples=examples(400), deadline=None)
@given(histories())
def test_each_error_is_reported_once(history: tuple[list[Any], list[Any], int]) -> None:
    """Whatever runs fail, end without enough errors, or are cleared, and in whatever order they run."""
    log, events, lookback = history
    runs = Runs(log, lookback * SECOND)
    now = 0
    for moment, cleared, pauses, least, ends in events:
        # A number that has not run yet is a new run; any other one is cleared, and runs again.
        name = f"run {min(cleared, runs.begun)}"
        runs.begun = max(runs.begun, int(name.split()[1]) + 1)
        polls = [now := max(now, moment)]
        polls += [now := now + pause for pause in pauses]
        runs.run(name, polls, least, ends)
    now = max(now, 311)
    runs.run("last", [now], 1, "success")
    reported = runs.reported()
    assert len(reported) == len(set(reported)), "an error was reported twice"
    errors = {f"e{number}": time for number, (_, time, status) in enumerate(log) if status == 500}
    missed = {entry for entry, time in errors.items() if time >= now - lookback} - set(reported)
    assert not missed


LATE = (65, 58, 500)  # it appears when the first run has read what is newer


@pytest.mark.parametrize("polls", [[60], [60, 62], [30, 60]], ids=str)
def test_a_late_entry_and_one_of_the_same_second(polls: list[int]) -> None:
    """The next run finds them, and nothing that was reported; a third one finds nothing."""
    runs = Runs([(10, 10, 500), (20, 20, 200), (60, 60, 500), LATE, (66, 60, 500)], 1000 * SECOND)
    runs.run("first", polls, 2, "success")
    assert runs.results == {"first": ["e2", "e0"]}
    runs.run("second", [70, 90], 1, "success")
    assert sorted(runs.results["second"]) == ["e3", "e4"]
    runs.run("third", [100], 1, "success")
    assert "third" not in runs.results


@pytest.mark.parametrize(("ends", "least"), [("failed", 1), ("killed", 1), ("success", 5)], ids=str)
def test_a_run_that_has_reported_nothing(ends: str, least: int) -> None:
    """The next one finds its errors."""
    runs = Runs([(10, 10, 500), (20, 20, 500)], 1000 * SECOND)
    runs.run("first", [30], least, ends)
    runs.run("second", [40], 1, "success")
    assert runs.results == {"second": ["e1", "e0"]}


def test_runs_that_are_cleared() -> None:
    """Each takes its own report back, and no report of another run, even within its range of time."""
    runs = Runs([(10, 10, 500), (20, 20, 500), LATE, (66, 66, 500)], 1000 * SECOND)
    runs.run("first", [15], 1, "success")
    runs.run("second", [22], 1, "success")
    runs.run("third", [70], 1, "success")
    once = dict(runs.results)
    assert once == {"first": ["e0"], "second": ["e1"], "third": ["e3", "e2"]}
    for name in ("second", "first", "third", "second"):
        runs.run(name, [90], 1, "success")
        assert runs.results == once


def test_errors_beside_those_of_other_runs() -> None:
    """A run knows whether others have reported errors of the same time."""
    tail = TailState(ORIGIN, OVERLAP)
    for reports, is_rest in ((None, False), ((), False), ((Report(((ORIGIN, at(9)),)),), True)):
        assert ErrorCounter(CounterState(tail, reports=reports), ErrorFilter(), 10).is_rest == is_rest


def test_nothing_was_read() -> None:
    """An empty log leaves no report; nor does a poll that is dropped, nor a counter that counts all."""
    runs = Runs([], 1000 * SECOND)
    runs.run("first", [10], 1, "success")
    assert not runs.reports
    tail = TailState(at(0), OVERLAP)
    counter = ErrorCounter(CounterState(tail, reports=()), ErrorFilter(), 10)
    counter.begin_poll(at(1))
    counter.abandon_poll()
    assert counter.report() is None
    counter = ErrorCounter(CounterState(replace(tail, watermark=at(5))), ErrorFilter(), 10)
    assert counter.report() is None


def test_what_no_report_covers() -> None:
    """Ranges may overlap, and lie before the time from which they are asked for."""
    reports = [
        Report(((at(5), at(10)), (at(20), at(30)))),
        Report(((at(8), at(12)),)),
        Report(((at(0), at(1)),)),
        Report(()),
    ]
    assert unreported(reports, at(2), at(40)) == [(at(2), at(5)), (at(12), at(20)), (at(30), at(40))]
    assert unreported(reports, at(6), at(22)) == [(at(12), at(20))]
    assert unreported(reports, at(21), at(25)) == []
    assert unreported(reports, at(50))[0][0] == at(50)


@pytest.mark.parametrize("id", ["a", "x" * 300, "\ud800", None])
def test_any_key_is_short(id: str | None) -> None:
    """Whatever an entry has as its id."""
    [entry] = page_of([{"id": id, "log_time": "2026-01-01T00:00:00Z"}])
    assert len(short_key(entry)) == 16
